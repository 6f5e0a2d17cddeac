/* Any request at the door for Vault's clients: "METHOD target" on a line, then headers, an empty
 * line, and the body. It is refused in words of JSON, or asks for what a request may ask. */
#include "api/vault/vault.h"
#include "base/check.h"
#include "wire/json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEADERS_MAX = 8 };

/* Up to the byte, which goes too; all when there is none. */
static struct span cut(struct span *s, int byte)
{
    const uint8_t *at = s->len ? memchr(s->data, byte, s->len) : NULL;
    struct span out = at ? span_of(s->data, (size_t)(at - s->data)) : *s;
    *s = span_from(*s, out.len + (at != NULL));
    return out;
}

static void is_json(const struct rest_answer *a)
{
    char why[JSONR_WHY_MAX];
    json_t *value;
    CHECK(a->status >= 200 && a->status < 600);
    CHECK(jsonr_read(a->body, &value, why) == ERR_OK);
    json_decref(value);
}

static void refused(enum err e, const char *detail, struct arena *arena)
{
    struct rest_answer a;
    vault_problem(e, detail, arena, &a);
    is_json(&a);
}

static void asked(const struct vault_call *c, struct arena *arena)
{
    const struct secret_ask *a = c->rest.secret;
    const struct request *r = &c->rest.request;
    CHECK(c->op < VAULT_OPS && c->method.len);
    CHECK(c->op <= VAULT_LEADER || r->type != REQUEST_NONE);
    if (r->type == REQUEST_RANGE)
        CHECK(span_starts(r->range.key, SPAN("confman/")));
    if (!a)
        return;
    CHECK(a->data.len <= SECRET_DATA_MAX || a->verb == SECRET_UNSEAL);
    CHECK(a->n_numbers <= SECRET_VERSIONS_MAX && a->custom.len <= SECRET_CUSTOM_MAX);
    if (a->verb == SECRET_GET) {
        struct secret s = { .current = 1, .n = 1 };
        struct secret_answer answer = {
            .ask = a, .secret = &s, .version = &s.versions[0], .data = SPAN("{\"a\":{\"b\":1}}")
        };
        struct rest_answer out;
        vault_secret(&answer, c->op, arena, &out);
        is_json(&out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_header headers[HEADERS_MAX];
    struct http_request r = { .headers = headers };
    struct span s = span_of(data, size), line = cut(&s, '\n');
    struct alloc heap;
    struct arena arena;
    struct vault_call call;
    const char *detail;
    alloc_heap(&heap);
    jsonr_use(&heap);
    arena_open(&arena, &heap);
    r.method = cut(&line, ' ');
    http_target(line, &r.path, &r.query);
    while ((line = cut(&s, '\n')).len && r.header_count < HEADERS_MAX) {
        struct span name = cut(&line, ':');
        headers[r.header_count++] = (struct http_header){ name, http_trim(line) };
    }
    r.body = s;
    enum err e = vault_call(&r, &arena, &call, &detail);
    if (e == ERR_OK)
        asked(&call, &arena);
    else
        refused(e, detail, &arena);
    arena_close(&arena);
    CHECK(heap.used == 0);
    return 0;
}
