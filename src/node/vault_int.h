/* vault_int: what the files of the door for Vault's clients share. */
#pragma once
#include "node/secret_int.h"
#include "node/vault.h"

/* The write that the call waits for; w->answer or a token is given when it is done. */
void vault_write(struct call *call, const struct change *c, bool by_node);
void vault_answer(struct call *call, const struct rest_answer *a);

/* Each does all of the operations of its subject. */
void vault_tokens(struct call *call);
void vault_roles(struct call *call);
void vault_transit(struct call *call);
/* A token for user, made now; also writes what c has. */
void vault_give_token(struct call *call, struct change *c, struct bearer_token token,
                      int64_t ttl_ms);
/* The token that was given: its answer. */
void vault_token_given(struct call *call);
/* base64 of random bytes, after a prefix; in the call's arena. */
struct span vault_random_text(struct call *call, const char *prefix);
void vault_hash(struct span text, uint8_t hash[BEARER_HASH]);
