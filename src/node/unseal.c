/* How this node comes to the seal's key, and forgets it: from a file, from shares that people bring
 * one by one, or from another server that opens it (node/seal_transit.c). Each member does so by
 * itself: what opens secrets never goes from one to another. */
#include "node/secret_int.h"
#include "wire/json/json.h"

static const char *const type_names[] = {
    [SECRET_SEAL_SHAMIR] = "shamir", [SECRET_SEAL_TRANSIT] = "transit"
};

enum err seal_config(struct node *n, struct secret_seal *out)
{
    const struct kv_version *v = seal_stored(n, SPAN(SECRET_SEAL_CONFIG));
    *out = (struct secret_seal){ 0 };
    return v ? secret_seal_read(kv_value(v), out) : ERR_NOT_FOUND;
}

/* From now on clear texts may come through this process: what they were in is wiped when it is
 * given back, and nobody gets to see its memory. */
static void guard_memory(struct node *n)
{
    n->alloc.wipes = n->pool.alloc.wipes = n->json_alloc.wipes = true;
    cipher_no_dump();
}

static void add_key(struct node *n, const uint8_t key[CIPHER_KEY])
{
    struct secrets *s = n->secrets;
    CHECK(s->n_keys < SEAL_KEYS);
    guard_memory(n);
    memcpy(s->keys[s->n_keys], key, CIPHER_KEY);
    cipher_id(key, s->ids[s->n_keys]);
    s->n_keys++;
    s->look = true;
}

static bool read_files(struct node *n)
{
    const char *files[] = { n->params.seal_key_file, n->params.seal_key_file_previous };
    uint8_t key[CIPHER_KEY];
    char why[CIPHER_WHY_MAX];
    bool good = true;
    for (int i = 0; i < 2 && good && files[i][0]; i++) {
        good = cipher_key_file(files[i], key, why) == ERR_OK;
        if (good)
            add_key(n, key);
        else
            slog(SLOG_ERROR, "the key of the seal cannot be read", "error=%s", slog_quote(why));
    }
    cipher_wipe(key, sizeof(key));
    return good;
}

bool seal_take_file(struct node *n)
{
    return read_files(n) && n->secrets->n_keys;
}

bool secrets_open(struct node *n)
{
    n->secrets = cipher_pages(sizeof(*n->secrets));
    if (n->params.vault_listen[0] || n->params.seal_transit_address[0])
        guard_memory(n);
    return read_files(n) && transit_open(n);
}

void secrets_close(struct node *n)
{
    if (n->secrets)
        transit_close(n);
    if (n->secrets)
        cipher_pages_close(n->secrets, sizeof(*n->secrets));
    n->secrets = NULL;
}

static void forget_shares(struct secrets *s)
{
    cipher_wipe(s->shares, sizeof(s->shares));
    s->n_shares = 0;
}

void seal_forget(struct node *n)
{
    struct secrets *s = n->secrets;
    cipher_wipe(s->keys, sizeof(s->keys));
    cipher_wipe(s->ids, sizeof(s->ids));
    s->n_keys = 0;
    forget_shares(s);
    s->by_hand = false;
    s->look = true;
}

void secrets_turn(struct node *n)
{
    if (!n->secrets_came)
        return;
    n->secrets_came = false;
    cipher_wipe(n->read_buffer, READ_BYTES);
    if (n->output_spare.data)
        cipher_wipe(n->output_spare.data, n->output_spare.cap);
}

/* ---- by itself ---- */

static int64_t seen_now(struct node *n)
{
    int64_t a = seal_revision_of(seal_stored(n, SPAN(SECRET_SEAL)));
    int64_t b = seal_revision_of(seal_stored(n, SPAN(SECRET_SEAL_CONFIG)));
    return a > b ? a : b;
}

/* It is tried again, at once. */
static void seal_look(struct node *n)
{
    struct secrets *s = n->secrets;
    s->by_hand = false;
    s->look = true;
    if (s->transit) {
        s->transit->next_ms = 0;
        s->transit->delay_ms = SEAL_RETRY_MIN_MS;
    }
}

/* The seal is another one than this node knew: of before a restart, or somebody has changed it. */
static void changed(struct node *n)
{
    struct secrets *s = n->secrets;
    struct secret_seal config;
    struct buf why;
    enum err e = seal_config(n, &config);
    bool of_file = e == ERR_NOT_FOUND;
    bool of_transit = e == ERR_OK && config.type == SECRET_SEAL_TRANSIT;
    if (!s->by_hand && !seal_is_open(n) && of_file && n->params.seal_key_file[0]) {
        seal_forget(n);
        (void)seal_take_file(n);
    }
    if (!s->by_hand)
        seal_look(n);
    if (seal_is_open(n)) {
        if (s->transit && !of_transit)
            slog(SLOG_INFO,
                 "seal-transit-address is set, and the seal is another one: "
                 "confman seal migrate transit",
                 "type=%s", of_file ? "static" : "shamir");
        return;
    }
    buf_open(&why, &n->alloc);
    seal_waits(n, &why);
    if (why.len)
        slog(SLOG_WARN, "secrets are sealed on this node", "waits_for=%s",
             slog_quote(arena_text(&n->turn, buf_all(&why))));
    buf_close(&why);
}

void seal_turn(struct node *n)
{
    struct secrets *s = n->secrets;
    int64_t revision = kv_revision(n->machine.kv);
    if ((revision == s->looked && !s->look) || n->stopping || transfer_loading(n))
        return;
    s->looked = revision;
    int64_t seen = seen_now(n);
    if (seen != s->seen) {
        s->seen = seen;
        changed(n);
        s->look = true;
    }
    if (s->look)
        s->sealed = seal_stored(n, SPAN(SECRET_SEAL)) && !seal_is_open(n);
    s->look = false;
    if (s->transit)
        transit_turn(n);
}

void seal_sweep(struct node *n)
{
    if (n->secrets->transit && !n->stopping)
        transit_sweep(n);
}

/* ---- state ---- */

bool seal_is_sealed(const struct node *n)
{
    return n->secrets->sealed;
}

static void file_waits(struct node *n, struct buf *out)
{
    if (!seal_stored(n, SPAN(SECRET_SEAL))) {
        if (n->secrets->transit)
            buf_text(out, "whoever leads, who makes a seal with the transit");
        else if (!n->params.seal_key_file[0])
            buf_text(out, "a seal: start the members with seal-key-file or seal-transit-address, "
                          "or confman seal init");
    } else if (!n->params.seal_key_file[0]) {
        buf_text(out, "the key file that seals: start this member with seal-key-file");
    } else {
        buf_text(out, "another key than that of seal-key-file, which does not open this seal: give "
                      "the one that does, as seal-key-file or seal-key-file-previous");
    }
}

void seal_waits(struct node *n, struct buf *out)
{
    const struct secrets *s = n->secrets;
    struct secret_seal config;
    enum err e = seal_config(n, &config);
    if (seal_is_open(n))
        return;
    if (s->by_hand)
        buf_text(out, "somebody who unseals it again: confman seal unseal");
    else if (e == ERR_NOT_FOUND)
        file_waits(n, out);
    else if (e != ERR_OK)
        buf_format(out, "a seal that can be read: %s", err_text(e));
    else if (config.type == SECRET_SEAL_SHAMIR)
        buf_format(out, "%lld of %lld shares: confman seal unseal",
                   (long long)config.threshold - (long long)s->n_shares, (long long)config.shares);
    else if (!s->transit)
        buf_text(out, "the transit that seals: start this member with seal-transit-address, "
                      "seal-transit-key and seal-transit-token-file");
    else if (s->transit->why[0])
        buf_format(out, "the transit that seals: %s", s->transit->why);
    else
        buf_format(out, "the transit that seals, at %s", n->params.seal_transit_address);
}

static struct span waits_text(struct node *n)
{
    struct buf b;
    buf_open(&b, &n->alloc);
    seal_waits(n, &b);
    struct span out = arena_copy(&n->turn, buf_all(&b));
    buf_close(&b);
    return out;
}

/* Not the texts of others: this page asks nobody who they are. */
void seal_health(struct node *n, struct buf *out)
{
    struct secret_seal config;
    enum err e = seal_config(n, &config);
    if (seal_is_open(n) || (!seal_stored(n, SPAN(SECRET_SEAL)) && !n->secrets->transit))
        return;
    buf_format(out, "secrets: sealed, by %s\n",
               e == ERR_NOT_FOUND ? "a key file" : e == ERR_OK ? type_names[config.type] : "?");
    if (n->secrets->transit && !n->secrets->by_hand)
        buf_format(out, "transit: %s, status %d\n",
                   n->secrets->transit->why[0] ? "tried again" : "asked",
                   n->secrets->transit->status);
}


void seal_state(struct node *n, struct secret_answer *out)
{
    struct secret_seal config;
    struct secret_keys roots;
    uint8_t root[CIPHER_KEY];
    enum err e = seal_root(n, NULL, root);
    cipher_wipe(root, sizeof(root));
    *out = (struct secret_answer){
        .sealed = e != ERR_OK && e != ERR_NOT_FOUND,
        .initialized = seal_stored(n, SPAN(SECRET_SEAL)) != NULL || n->secrets->n_keys,
        .seal_type =
            n->secrets->n_keys || seal_stored(n, SPAN(SECRET_SEAL)) ? "static" : "none",
        .progress = (int64_t)n->secrets->n_shares,
    };
    if (seal_config(n, &config) == ERR_OK) {
        out->seal_type = type_names[config.type];
        out->shares = config.shares;
        out->threshold = config.threshold;
        if (config.type == SECRET_SEAL_TRANSIT && transit_ciphertext_good(config.sealed))
            out->transit_key = transit_version(config.sealed);
    }
    out->waits_for = waits_text(n);
    if (seal_keys_at(n, SPAN(SECRET_SEAL), &roots) == ERR_OK)
        out->root_keys = (int64_t)roots.n;
    rewrap_state(n, out);
}

/* ---- shares ---- */

/* Whether the seal's key is one that this node has not got yet, and now has. */
static bool take_key(struct node *n, const struct secret_seal *config,
                     const uint8_t key[CIPHER_KEY])
{
    uint8_t id[CIPHER_ID];
    cipher_id(key, id);
    if (memcmp(id, config->id, CIPHER_ID) != 0)
        return false;
    if (n->secrets->n_keys == SEAL_KEYS)
        n->secrets->n_keys--;
    add_key(n, key);
    slog(SLOG_INFO, "secrets are unsealed", "type=%s", type_names[config->type]);
    return true;
}

enum err seal_take_key(struct node *n, const uint8_t key[CIPHER_KEY])
{
    struct secret_seal config;
    enum err e = seal_config(n, &config);
    return e == ERR_OK && !take_key(n, &config, key) ? ERR_SHARE : e;
}

/* A share as hexadecimal or base64. */
static bool read_share(struct node *n, struct span text, uint8_t out[SECRET_SHARE_BYTES])
{
    struct buf b;
    buf_open(&b, &n->alloc);
    if (text.len == (size_t)2 * SECRET_SHARE_BYTES) {
        for (size_t i = 0; i < text.len; i++) {
            uint8_t c = http_lower(text.data[i]);
            uint8_t digit = (uint8_t)(c >= '0' && c <= '9'   ? c - '0'
                                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                                             : 16);
            if (digit == 16)
                break;
            if (i % 2)
                b.data[b.len - 1] |= digit;
            else
                buf_u8(&b, (uint8_t)(digit << 4));
        }
    } else if (!jsonr_base64_any(text, &b)) {
        buf_reset(&b);
    }
    bool good = b.len == SECRET_SHARE_BYTES && b.data[SECRET_KEY_BYTES] != 0;
    if (good)
        memcpy(out, b.data, SECRET_SHARE_BYTES);
    cipher_wipe(b.data, b.len);
    buf_close(&b);
    return good;
}

static enum err add_share(struct node *n, const struct secret_seal *config, struct span text)
{
    struct secrets *s = n->secrets;
    uint8_t share[SECRET_SHARE_BYTES], key[CIPHER_KEY];
    if (!read_share(n, text, share))
        return ERR_SHARE;
    for (size_t i = 0; i < s->n_shares; i++)
        if (s->shares[i][SECRET_KEY_BYTES] == share[SECRET_KEY_BYTES])
            return ERR_OK; /* it has come before */
    memcpy(s->shares[s->n_shares++], share, sizeof(share));
    cipher_wipe(share, sizeof(share));
    if (s->n_shares < (size_t)config->threshold)
        return ERR_OK;
    secret_join((const uint8_t(*)[SECRET_SHARE_BYTES])s->shares, s->n_shares, key);
    bool good = take_key(n, config, key);
    cipher_wipe(key, sizeof(key));
    forget_shares(s);
    return good ? ERR_OK : ERR_SHARE;
}

enum err seal_unseal(struct node *n, const struct secret_ask *a)
{
    struct secret_seal config;
    struct secret_answer now;
    enum err e = seal_config(n, &config);
    if (a->reset)
        forget_shares(n->secrets);
    seal_state(n, &now);
    if (e == ERR_NOT_FOUND && n->params.seal_key_file[0] && now.sealed) {
        seal_forget(n);
        return read_files(n) && seal_is_open(n) ? ERR_OK : ERR_SEALED;
    }
    if (e != ERR_OK || !now.sealed || (a->reset && !a->data.len))
        return e == ERR_NOT_FOUND ? ERR_SEAL_NONE : e;
    if (config.type == SECRET_SEAL_TRANSIT) {
        seal_look(n);
        return ERR_OK;
    }
    return add_share(n, &config, a->data);
}

/* ---- a new seal ---- */

static void make_shares(struct node *n, const struct secret_ask *a, const uint8_t key[CIPHER_KEY],
                        struct span *texts)
{
    uint8_t out[SECRET_SHARES_MAX][SECRET_SHARE_BYTES];
    uint8_t random[SECRET_SHARES_MAX * SECRET_KEY_BYTES];
    cipher_random(random, sizeof(random));
    secret_split(key, (size_t)a->shares, (size_t)a->threshold, random, out);
    for (size_t i = 0; i < (size_t)a->shares; i++) {
        struct buf b;
        buf_open(&b, &n->alloc);
        for (size_t k = 0; k < SECRET_SHARE_BYTES; k++)
            buf_format(&b, "%02x", out[i][k]);
        texts[i] = arena_copy(&n->turn, buf_all(&b));
        cipher_wipe(b.data, b.len);
        buf_close(&b);
    }
    cipher_wipe(random, sizeof(random));
    cipher_wipe(out, sizeof(out));
}

/* The key waits with the call until what it seals is written. */
enum err seal_init(struct call *call, const struct secret_ask *a, uint8_t made[CIPHER_KEY])
{
    struct node *n = call->node;
    struct secret_seal config = { .type = SECRET_SEAL_SHAMIR,
                                  .shares = a->shares,
                                  .threshold = a->threshold };
    struct change c = { 0 };
    struct buf b;
    if (seal_stored(n, SPAN(SECRET_SEAL)) && !a->renew)
        return ERR_SEAL_THERE;
    cipher_random(made, CIPHER_KEY);
    cipher_id(made, config.id);
    enum err e = seal_put_roots(n, &c, made);
    if (e != ERR_OK)
        return e;
    buf_open(&b, &n->alloc);
    secret_seal_write(&config, &b);
    change_if_same(n, &c, SPAN(SECRET_SEAL_CONFIG));
    change_put(n, &c, SPAN(SECRET_SEAL_CONFIG), &b);
    change_propose(call, &c, false);
    return ERR_OK;
}

/* It is written: this node has the key, whoever asked the shares. */
void seal_made(struct node *n, const struct secret_ask *a, uint8_t made[CIPHER_KEY],
               struct secret_answer *out)
{
    struct secret_seal config;
    struct span *texts = ARENA_ARRAY(&n->turn, struct span, SECRET_SHARES_MAX);
    seal_forget(n);
    if (seal_config(n, &config) != ERR_OK || !take_key(n, &config, made))
        slog(SLOG_WARN, "another seal was made at once", "type=shamir");
    make_shares(n, a, made, texts);
    cipher_wipe(made, CIPHER_KEY);
    seal_state(n, out);
    out->names = texts;
    out->n_names = (size_t)a->shares;
}
