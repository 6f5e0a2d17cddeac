/* vault: the words of HashiCorp Vault's HTTP API for what confman has of it, as pure translation:
 * the key-value engine version 2, tokens, AppRole and userpass logins, transit, the seal.
 *
 * A mount of key-value secrets is a namespace of confman's; "secret" is always there. Policies are
 * the roles of the user that a token stands for. Paths, members and texts of errors are those of
 * Vault's API documentation (developer.hashicorp.com/vault/api-docs); what is not offered is
 * refused, not passed over. Answers are JSON: {"data": ...} or {"errors": [...]}.
 *
 * Secrets are asked for as over REST (struct secret_ask); all else is the node's to do. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "api/rest/rest.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/span.h"
#include "core/bearer/bearer.h"
#include "core/secret/secret.h"
#include "wire/http/http.h"

enum vault_op {
#define VAULT(NAME, methods, path) VAULT_##NAME,
#include "api/vault/path.def"
#undef VAULT
    VAULT_OPS,
};

enum { VAULT_BATCH_MAX = 1000 }; /* texts of one transit request */

/* What stands in a body, of any request but those of secrets; texts in the arena. */
struct vault_body {
    struct span role_id, secret_id, password, token, accessor; /* of logins and tokens */
    struct span display_name, type;
    int64_t ttl_ms, max_ttl_ms, secret_id_ttl_ms, secret_id_uses; /* -1: nothing is said */
    int64_t uses;
    bool policies; /* some are asked for */
    int renewable;
    struct span plaintext, ciphertext; /* base64; "vault:vN:..." */
    const struct span *batch;          /* of batch_input: plaintexts, or ciphertexts */
    size_t n_batch;
    bool batched;
};

struct vault_call {
    enum vault_op op;
    struct span method;    /* as path.def has them */
    struct rest_call rest; /* what the core is asked, which says who may; rest.secret: of secrets */
    struct span name, more; /* of the path */
    bool head, standby_ok;  /* HEALTH */
    int64_t code[3];        /* HEALTH: what to say of sealed, uninitialized; 0: as usual */
    struct vault_body body;
};

/* Whether the path is one that the native door answers in Vault's words, too: of AppRoles. */
bool vault_takes(struct span path);

/* ERR_NOT_FOUND, ERR_METHOD_NOT_ALLOWED, ERR_BAD_REQUEST, ERR_BODY_NOT_JSON, ERR_BODY_TOO_LARGE,
 * ERR_MEDIA_TYPE; *detail (may be NULL) says what, for people. */
enum err vault_call(const struct http_request *http, struct arena *arena, struct vault_call *out,
                    const char **detail) MUST_CHECK;

/* {"errors": [...]}, with Vault's status and words where it has some. */
void vault_problem(enum err e, const char *detail, struct arena *arena, struct rest_answer *out);

/* The answer to one of secrets. What it wrote the data to is wiped, but the body. */
void vault_secret(const struct secret_answer *a, enum vault_op op, struct arena *arena,
                  struct rest_answer *out);

/* ---- what the node tells ---- */

struct vault_seal {
    bool initialized, sealed;
    const char *type;
    int64_t shares, threshold, progress;
    struct span cluster_name, cluster_id; /* "": not told while it is sealed */
    bool leads;
    struct span leader_url;
    int64_t now_ms;
};
void vault_health(const struct vault_call *c, const struct vault_seal *s, struct arena *arena,
                  struct rest_answer *out);
void vault_seal_status(const struct vault_seal *s, struct arena *arena, struct rest_answer *out);
void vault_leader(const struct vault_seal *s, struct arena *arena, struct rest_answer *out);

/* A token; text: empty but when it is given out. */
struct vault_token {
    const struct bearer_token *token;
    struct span text;
    const struct span *policies;
    size_t n_policies;
    int64_t now_ms;
    bool auth; /* a login's, renewal's or creation's answer; else a lookup's */
};
void vault_token(const struct vault_token *t, struct arena *arena, struct rest_answer *out);

void vault_role(const struct bearer_role *r, struct arena *arena, struct rest_answer *out);
/* One of {"name": text, ...}; values "": left out. */
struct vault_pair {
    const char *name;
    struct span text;
    int64_t number; /* text.data NULL: this */
};
void vault_data(const struct vault_pair *pairs, size_t n, struct arena *arena,
                struct rest_answer *out);
void vault_keys(const struct span *names, size_t n, struct arena *arena, struct rest_answer *out);
void vault_nothing(struct rest_answer *out); /* 204 */
/* transit: each text, or why there is none; batched: as batch_results. */
struct vault_result {
    const char *name; /* "ciphertext", "plaintext" */
    struct span text;
    int64_t key_version;
    enum err err;
};
void vault_results(const struct vault_result *r, size_t n, bool batched, struct arena *arena,
                   struct rest_answer *out);
/* transit: a key and its versions. */
void vault_key(struct span name, const struct secret_keys *keys, struct arena *arena,
               struct rest_answer *out);
