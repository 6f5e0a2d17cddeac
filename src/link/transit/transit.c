#include "link/transit/transit.h"
#include <stdio.h>
#include "base/check.h"
#include "wire/jdoc/jdoc.h"
#include "wire/json/json.h"

static const struct op {
    const char *path; /* behind /v1/; %s: mount, and key */
    bool posts, has_secret;
    const char *name; /* in what people read */
} ops[TRANSIT_OPS] = {
    [TRANSIT_ENCRYPT] = { "encrypt", true, true, "encrypt" },
    [TRANSIT_DECRYPT] = { "decrypt", true, false, "decrypt" },
    [TRANSIT_LOGIN] = { "auth/approle/login", true, true, "the AppRole's login" },
    [TRANSIT_LOOKUP] = { "auth/token/lookup-self", false, false, "the token's lookup" },
    [TRANSIT_RENEW] = { "auth/token/renew-self", true, false, "the token's renewal" },
    [TRANSIT_REVOKE] = { "auth/token/revoke-self", true, false, "the token's end" },
};

/* ---- what may be said ---- */

static bool is_word(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

/* Parts of words with a slash between; a part of dots alone would lead elsewhere. */
static bool is_path(struct span s, bool slashes)
{
    size_t part = 0, dots = 0;
    for (size_t i = 0; i < s.len; i++) {
        bool slash = s.data[i] == '/';
        if (slash ? !slashes || part == dots : !is_word(s.data[i]))
            return false;
        dots = slash ? 0 : dots + (s.data[i] == '.');
        part = slash ? 0 : part + 1;
    }
    return part > dots && s.len <= TRANSIT_NAME_MAX;
}

bool transit_key_good(struct span name)
{
    return is_path(name, false);
}

bool transit_mount_good(struct span mount)
{
    return is_path(mount, true);
}

static bool is_printable(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] <= ' ' || s.data[i] >= 0x7f)
            return false;
    return s.len > 0;
}

bool transit_token_good(struct span token)
{
    return token.len <= TRANSIT_TOKEN_MAX && is_printable(token);
}

/* The number, and behind it a colon and more; 0: it is not so. */
static int64_t read_version(struct span s)
{
    static const size_t at = sizeof("vault:v") - 1;
    int64_t number = 0;
    size_t i = at;
    if (!span_starts(s, SPAN("vault:v")))
        return 0;
    for (; i < s.len && s.data[i] >= '0' && s.data[i] <= '9' && i < at + 9; i++)
        number = number * 10 + (s.data[i] - '0');
    return i + 1 < s.len && s.data[i] == ':' ? number : 0;
}

bool transit_ciphertext_good(struct span text)
{
    return text.len <= TRANSIT_CIPHERTEXT_MAX && is_printable(text) && read_version(text) > 0;
}

int64_t transit_version(struct span ciphertext)
{
    CHECK(transit_ciphertext_good(ciphertext));
    return read_version(ciphertext);
}

/* ---- requests ---- */

void transit_url(enum transit_op op, const char *address, const char *mount, const char *key,
                 struct buf *out)
{
    size_t len = strlen(address);
    while (len && address[len - 1] == '/')
        len--;
    buf_put(out, address, len);
    if (op == TRANSIT_ENCRYPT || op == TRANSIT_DECRYPT)
        buf_format(out, "/v1/%s/%s/%s", mount, ops[op].path, key);
    else
        buf_format(out, "/v1/%s", ops[op].path);
}

bool transit_posts(enum transit_op op)
{
    return ops[op].posts;
}

static void member(struct jsonw *w, const char *name, struct span text)
{
    jsonw_name(w, name);
    jsonw_text(w, text);
}

/* Its memory was sized before, so that no part of the key is left behind by one that grew. */
static void plaintext(struct jsonw *w, struct span key)
{
    struct buf text;
    buf_open(&text, w->out->alloc);
    jsonw_base64(key, false, &text);
    member(w, "plaintext", buf_all(&text));
    mem_wipe(text.data, text.cap);
    buf_close(&text);
}

void transit_body(enum transit_op op, struct span first, struct span second, struct buf *out)
{
    struct jsonw w;
    (void)buf_room(out, 4 * (first.len + second.len) + 100);
    jsonw_open(&w, out);
    jsonw_object(&w);
    if (op == TRANSIT_ENCRYPT)
        plaintext(&w, first);
    else if (op == TRANSIT_DECRYPT)
        member(&w, "ciphertext", first);
    if (op == TRANSIT_LOGIN) {
        member(&w, "role_id", first);
        member(&w, "secret_id", second);
    }
    jsonw_object_end(&w);
}

/* ---- answers ---- */

static const struct hint {
    int status;
    const char *text;
} hints[] = {
    { 400, "it refuses the request" },
    { 401, "it does not know who asks" },
    { 403, "the token is unknown or has ended, or its policies do not allow this" },
    { 404, "there is no such engine, or no such key" },
    { 405, "it does not know the request: is this a server of Vault's API?" },
    { 412, "it is behind the others of its cluster" },
    { 429, "it is asked too often" },
    { 500, "it failed" },
    { 502, "what it needs does not answer" },
    { 503, "it is sealed, or does not serve now" },
};

static const char *hint_of(int status)
{
    for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++)
        if (hints[i].status == status)
            return hints[i].text;
    return status >= 300 && status < 400
               ? "it sends us elsewhere, which is not followed: name the one that answers"
               : "no answer of Vault's API";
}

enum { WORDS_MAX = 160 };

/* The first of its errors, in characters that leave a line a line; "": none. */
static void words_of(const struct jdoc *root, char out[WORDS_MAX + 1])
{
    const struct jdoc *errors = root ? jdoc_member(root, SPAN("errors")) : NULL;
    size_t n = 0;
    if (errors && jdoc_is(errors, JDOC_ARRAY) && errors->n &&
        jdoc_is(&errors->items[0], JDOC_STRING)) {
        struct span s = errors->items[0].text;
        for (size_t i = 0; i < s.len && n < WORDS_MAX; i++) {
            uint8_t c = s.data[i];
            bool plain = c >= ' ' && c < 0x7f;
            if (plain || (n && out[n - 1] != ' '))
                out[n++] = plain ? (char)c : ' ';
        }
    }
    while (n && out[n - 1] == ' ')
        n--;
    out[n] = 0;
}

static enum err refused(enum transit_op op, int status, const struct jdoc *root, char *why)
{
    char words[WORDS_MAX + 1] = "";
    if (!ops[op].has_secret)
        words_of(root, words);
    snprintf(why, TRANSIT_WHY_MAX, "%s: HTTP status %d: %s%s%s", ops[op].name, status,
             hint_of(status), words[0] ? ": " : "", words);
    return ERR_TRANSIT;
}

static enum err wrong(enum transit_op op, const char *what, char *why)
{
    snprintf(why, TRANSIT_WHY_MAX, "%s: %s", ops[op].name, what);
    return ERR_TRANSIT;
}

static struct span text_at(const struct jdoc *object, const char *name)
{
    const struct jdoc *v = object ? jdoc_member(object, span_text(name)) : NULL;
    return v && jdoc_is(v, JDOC_STRING) ? v->text : SPAN_NONE;
}

/* -1: it is not there, or no whole number. */
static int64_t number_at(const struct jdoc *object, const char *name)
{
    int64_t out;
    const struct jdoc *v = object ? jdoc_member(object, span_text(name)) : NULL;
    return v && jdoc_is(v, JDOC_NUMBER) && jdoc_decimal_count(jdoc_decimal(v->text), &out) ? out
                                                                                           : -1;
}

static enum err take_key(struct span text, struct arena *arena, struct transit_answer *out,
                         char *why)
{
    struct buf b;
    buf_open(&b, arena->alloc);
    bool good = jsonr_base64(text, false, &b) && b.len == TRANSIT_KEY_BYTES;
    if (good)
        memcpy(out->key, b.data, TRANSIT_KEY_BYTES);
    mem_wipe(b.data, b.cap);
    buf_close(&b);
    return good ? ERR_OK : wrong(TRANSIT_DECRYPT, "it gave no key of 32 bytes", why);
}

static enum err take_token(enum transit_op op, const struct jdoc *object, const char *ttl,
                           struct transit_answer *out, char *why)
{
    const struct jdoc *renewable = object ? jdoc_member(object, SPAN("renewable")) : NULL;
    out->ttl_s = number_at(object, ttl);
    out->renewable = renewable && jdoc_is(renewable, JDOC_BOOL) && renewable->truth;
    return out->ttl_s >= 0 ? ERR_OK : wrong(op, "it does not say how long the token lasts", why);
}

enum err transit_read(enum transit_op op, int status, struct span body, struct arena *arena,
                      struct transit_answer *out, char *why)
{
    struct jdoc *root = NULL;
    struct jdoc_fault fault;
    *out = (struct transit_answer){ .ttl_s = 0 };
    if (op == TRANSIT_REVOKE && status == 204)
        return ERR_OK;
    bool good = body.len <= TRANSIT_ANSWER_MAX && jdoc_read(body, arena, &root, &fault) == ERR_OK &&
                jdoc_is(root, JDOC_OBJECT);
    if (status != 200)
        return refused(op, status, good ? root : NULL, why);
    if (!good)
        return wrong(op, "its answer is no JSON object", why);
    const struct jdoc *data = jdoc_member(root, SPAN("data")),
                      *auth = jdoc_member(root, SPAN("auth"));
    data = data && jdoc_is(data, JDOC_OBJECT) ? data : NULL;
    auth = auth && jdoc_is(auth, JDOC_OBJECT) ? auth : NULL;
    switch (op) {
    case TRANSIT_ENCRYPT:
        out->text = text_at(data, "ciphertext");
        return transit_ciphertext_good(out->text)
                   ? ERR_OK
                   : wrong(op, "it gave no ciphertext (vault:v1:...)", why);
    case TRANSIT_DECRYPT:
        return take_key(text_at(data, "plaintext"), arena, out, why);
    case TRANSIT_LOGIN:
        out->text = text_at(auth, "client_token");
        return transit_token_good(out->text) ? ERR_OK : wrong(op, "it gave no token", why);
    case TRANSIT_LOOKUP:
        return take_token(op, data, "ttl", out, why);
    case TRANSIT_RENEW:
        return take_token(op, auth, "lease_duration", out, why);
    case TRANSIT_REVOKE:
        return ERR_OK;
    case TRANSIT_OPS:
    default:
        UNREACHABLE("an operation");
    }
}
