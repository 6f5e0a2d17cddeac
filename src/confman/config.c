/* What callers ask for and wait for: configs, and any request. */
#include <stdio.h>
#include <stdlib.h>
#include "base/version.h"
#include "confman/confman_int.h"
#include "wire/protobuf/protobuf.h"

const char *confman_code_name(enum confman_code code)
{
    static const char *const names[] = {
        "CONFMAN_OK",      "CONFMAN_NOT_FOUND", "CONFMAN_CONFLICT",    "CONFMAN_DENIED",
        "CONFMAN_LOGIN",   "CONFMAN_INVALID",   "CONFMAN_BUSY",        "CONFMAN_UNAVAILABLE",
        "CONFMAN_UNKNOWN", "CONFMAN_SERVER",    "CONFMAN_PROTOCOL",    "CONFMAN_TYPE",
        "CONFMAN_FILE",    "CONFMAN_NO_MEMORY", "CONFMAN_MISUSE",      "CONFMAN_BUG"
    };
    return (unsigned)code < sizeof(names) / sizeof(names[0]) ? names[code] : "CONFMAN_?";
}

const char *confman_version(void)
{
    return CONFMAN_VERSION;
}

void confman_config_free(struct confman_config *config)
{
    free(config); /* its texts stand behind it */
}

void confman_list_free(struct confman_list *list)
{
    for (size_t i = 0; list && i < list->count; i++)
        free((void *)(uintptr_t)list->configs[i]);
    free(list);
}

void confman_answer_free(struct confman_answer *answer)
{
    if (answer)
        explicit_bzero((void *)(uintptr_t)answer->body, answer->body_size);
    free(answer);
}

/* ---- for callers: one block of memory each ---- */

static char *put_text(char **at, struct span s)
{
    char *out = *at;
    if (s.len)
        memcpy(out, s.data, s.len);
    out[s.len] = 0;
    *at += s.len + 1;
    return out;
}

struct confman_config *config_make(const struct item *item)
{
    const struct span texts[] = { item->key, item->value, item->environment, item->updated_at,
                                  item->updated_by };
    size_t size = sizeof(struct confman_config);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        size += texts[i].len + 1;
    struct confman_config *out = malloc(size);
    if (!out)
        return NULL;
    char *at = (char *)(out + 1);
    *out = (struct confman_config){ .key = put_text(&at, item->key),
                                    .value_size = item->value.len,
                                    .type = item->type,
                                    .number = item->number,
                                    .truth = item->truth,
                                    .version = item->version,
                                    .revision = item->revision };
    out->value = put_text(&at, item->value);
    out->environment = put_text(&at, item->environment);
    out->updated_at = put_text(&at, item->updated_at);
    out->updated_by = put_text(&at, item->updated_by);
    return out;
}

bool config_list(const struct item *items, size_t n, int64_t revision, struct confman_list **out)
{
    struct confman_list *list = malloc(sizeof(*list) + (n + 1) * sizeof(struct confman_config *));
    if (!list)
        return false;
    const struct confman_config **at = (const struct confman_config **)(void *)(list + 1);
    *list = (struct confman_list){ .configs = at, .revision = revision };
    for (; list->count < n; list->count++) {
        at[list->count] = config_make(&items[list->count]);
        if (!at[list->count]) {
            confman_list_free(list);
            return false;
        }
    }
    *out = list;
    return true;
}

/* ---- one request ---- */

static struct rpc *ask(struct work *w, const char *method, const char *path)
{
    struct rpc *call = rpc_new(method);
    if (!call)
        error_set(w->error, CONFMAN_NO_MEMORY, "no memory");
    else
        buf_text(&call->path, path);
    return call;
}

/* True: the answer is in call, which is the caller's to free; else nothing is. */
static bool answered(struct work *w, struct rpc *call)
{
    if (!rpc_wait(w->c, call, w->error))
        return false;
    if (w->error->code == CONFMAN_OK)
        return true;
    rpc_free(call);
    return false;
}

struct requesting {
    struct work work;
    const char *method, *path, *body;
    size_t body_size;
    bool repeats;
    struct confman_answer **out;
};

/* What would make two requests of one, or none. */
static bool is_target(const char *text)
{
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p == 0x7f)
            return false;
    return text[0] == '/';
}

static bool is_method(const char *text)
{
    size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    return n && n < 16 && !text[n];
}

static void do_request(void *context)
{
    struct requesting *r = context;
    struct work *w = &r->work;
    if (!r->method || !r->path || !is_target(r->path) || !is_method(r->method)) {
        error_set(w->error, CONFMAN_MISUSE, "a method in capitals, and a path that begins with /");
        return;
    }
    struct rpc *call = ask(w, r->method, r->path);
    if (!call)
        return;
    buf_put(&call->body, r->body, r->body ? r->body_size : 0);
    call->writes = strcmp(r->method, "GET") != 0 && strcmp(r->method, "HEAD") != 0;
    call->repeats = r->repeats;
    if (!answered(w, call))
        return;
    struct confman_answer *a = malloc(sizeof(*a) + call->in.len + 1);
    if (a) {
        char *body = (char *)(a + 1);
        if (call->in.len)
            memcpy(body, call->in.data, call->in.len);
        body[call->in.len] = 0;
        *a = (struct confman_answer){ call->http, body, call->in.len };
        *r->out = a;
    } else {
        error_set(w->error, CONFMAN_NO_MEMORY, "no memory");
    }
    rpc_free(call);
}

enum confman_code confman_request(struct confman *c, const char *method, const char *path,
                                  const char *body, size_t body_size, int repeat,
                                  struct confman_answer **out, struct confman_error *error)
{
    struct requesting r = { .method = method,
                            .path = path,
                            .body = body,
                            .body_size = body_size,
                            .repeats = repeat != 0,
                            .out = out };
    if (!out)
        return error_set(error, CONFMAN_MISUSE, "out is NULL");
    *out = NULL;
    return work_run(&r.work, c, error, do_request);
}

/* ---- reading ---- */

struct reading {
    struct work work;
    const char *environment, *key;
    struct confman_config **one;
    struct confman_list **list;
};

static void path_of(struct buf *b, const char *key, const char *environment)
{
    buf_text(b, "/v1/config");
    if (key) {
        buf_u8(b, '/');
        path_escape(b, key);
    }
    buf_text(b, "?environment=");
    path_escape(b, environment ? environment : "default");
}

/* CONFMAN_OK: *out is in arena. */
static void read_one(struct work *w, const char *environment, const char *key, bool linear,
                     struct arena *arena, struct item *out)
{
    struct rpc *call = ask(w, "GET", "");
    if (!call)
        return;
    path_of(&call->path, key, environment);
    if (linear)
        buf_text(&call->path, "&consistency=linearizable");
    if (!answered(w, call))
        return;
    if (!decode_one(arena_copy(arena, buf_all(&call->in)), arena, out))
        error_set(w->error, CONFMAN_PROTOCOL, "the answer makes no sense: is it a confman server?");
    rpc_free(call);
}

static void do_get(void *context)
{
    struct reading *r = context;
    struct arena arena;
    struct alloc alloc;
    struct item item;
    alloc_heap(&alloc);
    arena_open(&arena, &alloc);
    read_one(&r->work, r->environment, r->key, false, &arena, &item);
    if (r->work.error->code == CONFMAN_OK) {
        *r->one = config_make(&item);
        if (!*r->one)
            error_set(r->work.error, CONFMAN_NO_MEMORY, "no memory");
    }
    arena_close(&arena);
}

enum confman_code confman_get(struct confman *c, const char *environment, const char *key,
                              struct confman_config **out, struct confman_error *error)
{
    struct reading r = { .environment = environment, .key = key, .one = out };
    if (!key || !key[0] || !out)
        return error_set(error, CONFMAN_MISUSE, "key or out is NULL or empty");
    *out = NULL;
    return work_run(&r.work, c, error, do_get);
}

/* All pages are of the first one's revision: their token says so. */
static void read_pages(struct reading *r, struct arena *arena, struct item **items, size_t *n,
                       int64_t *revision)
{
    struct page page = { .next = SPAN_NONE };
    size_t room = 0;
    do {
        struct rpc *call = ask(&r->work, "GET", "");
        if (!call)
            return;
        path_of(&call->path, NULL, r->environment);
        buf_format(&call->path, "&limit=%d&prefix=", (int)PAGE);
        path_escape(&call->path, r->key ? r->key : "");
        if (page.next.len) {
            buf_text(&call->path, "&page_token=");
            path_escape(&call->path, arena_text(arena, page.next));
        }
        if (!answered(&r->work, call))
            return;
        bool ok = decode_page(arena_copy(arena, buf_all(&call->in)), arena, &page) &&
                  *n + page.n <= CONFIGS_MAX && (page.n || !page.next.len);
        rpc_free(call);
        if (!ok) {
            error_set(r->work.error, CONFMAN_PROTOCOL, "the answer makes no sense, or has no end");
            return;
        }
        if (*n + page.n > room) {
            room = 2 * (*n + page.n);
            struct item *more = ARENA_ARRAY(arena, struct item, room);
            if (*n)
                memcpy(more, *items, *n * sizeof(*more));
            *items = more;
        }
        if (page.n)
            memcpy(*items + *n, page.items, page.n * sizeof(**items));
        *n += page.n;
        *revision = page.revision;
    } while (page.next.len);
}

static void do_list(void *context)
{
    struct reading *r = context;
    struct arena arena;
    struct alloc alloc;
    struct item *items = NULL;
    size_t n = 0;
    int64_t revision = 0;
    alloc_heap(&alloc);
    arena_open(&arena, &alloc);
    read_pages(r, &arena, &items, &n, &revision);
    if (r->work.error->code == CONFMAN_OK && !config_list(items, n, revision, r->list))
        error_set(r->work.error, CONFMAN_NO_MEMORY, "no memory");
    arena_close(&arena);
}

enum confman_code confman_list(struct confman *c, const char *environment, const char *prefix,
                               struct confman_list **out, struct confman_error *error)
{
    struct reading r = { .environment = environment, .key = prefix, .list = out };
    if (!out)
        return error_set(error, CONFMAN_MISUSE, "out is NULL");
    *out = NULL;
    return work_run(&r.work, c, error, do_list);
}

/* ---- writing ---- */

struct writing {
    struct work work;
    const char *environment, *key;
    enum confman_type type;
    struct span value;
    bool deletes;
    int64_t if_version, *version;
};

static const char *const type_names[] = { "string", "number", "boolean", "json", "bytes" };

static void put_base64(struct span s, struct buf *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < s.len; i += 3) {
        size_t left = s.len - i;
        uint32_t bits = (uint32_t)s.data[i] << 16 | (left > 1 ? (uint32_t)s.data[i + 1] << 8 : 0) |
                        (left > 2 ? s.data[i + 2] : 0);
        buf_u8(out, (uint8_t)digits[bits >> 18]);
        buf_u8(out, (uint8_t)digits[bits >> 12 & 63]);
        buf_u8(out, left > 1 ? (uint8_t)digits[bits >> 6 & 63] : '=');
        buf_u8(out, left > 2 ? (uint8_t)digits[bits & 63] : '=');
    }
}

/* False: it is not of its type, and error says so. */
static bool put_body(struct writing *p, struct buf *out)
{
    struct alloc alloc;
    struct arena arena;
    struct jdoc *v;
    struct jdoc_fault fault;
    alloc_heap(&alloc);
    arena_open(&arena, &alloc);
    bool ok = true;
    buf_text(out, "{\"value\":");
    if (p->type == CONFMAN_STRING) {
        ok = pb_utf8(p->value);
        jdoc_write_text(p->value, out);
    } else if (p->type == CONFMAN_BYTES) {
        buf_u8(out, '"');
        put_base64(p->value, out);
        buf_u8(out, '"');
    } else {
        ok = jdoc_read(p->value, &arena, &v, &fault) == ERR_OK &&
             (p->type != CONFMAN_NUMBER || v->type == JDOC_NUMBER) &&
             (p->type != CONFMAN_BOOLEAN || v->type == JDOC_BOOL);
        buf_span(out, p->value);
    }
    buf_format(out, ",\"type\":\"%s\"}", type_names[p->type]);
    arena_close(&arena);
    if (!ok)
        error_set(p->work.error, CONFMAN_INVALID, "the value is no %s", type_names[p->type]);
    return ok;
}

static void put_condition(struct writing *p, struct buf *path)
{
    if (p->if_version > 0)
        buf_format(path, "&version=%lld", (long long)p->if_version);
    else if (p->if_version == CONFMAN_ABSENT)
        buf_text(path, "&version=0");
}

/* A repeated write was refused: was it the first try that changed what is there? What was asked
 * for is there, one version on: it was, or another wrote the very same. */
static void settle(struct writing *p)
{
    struct arena arena;
    struct alloc alloc;
    struct item item = { 0 };
    struct confman_error refused = *p->work.error;
    alloc_heap(&alloc);
    arena_open(&arena, &alloc);
    *p->work.error = (struct confman_error){ .code = CONFMAN_OK };
    read_one(&p->work, p->environment, p->key, true, &arena, &item);
    const char *own = p->environment ? p->environment : "default";
    bool there = p->work.error->code == CONFMAN_OK && span_is(item.environment, own);
    bool gone = p->work.error->code == CONFMAN_NOT_FOUND ||
                (p->work.error->code == CONFMAN_OK && !there);
    if (p->deletes ? gone
                   : there && item.version == p->if_version + 1 &&
                         (item.type == p->type || p->type == CONFMAN_BYTES) &&
                         span_equal(item.value, p->value)) {
        *p->work.error = (struct confman_error){ .code = CONFMAN_OK };
        if (p->version)
            *p->version = item.version;
    } else if (there && item.version == p->if_version) {
        *p->work.error = refused;
    } else {
        error_set(p->work.error, CONFMAN_UNKNOWN,
             "the write was sent and no answer came; the config has changed since");
        p->work.error->version = refused.version;
    }
    arena_close(&arena);
}

static void do_write(void *context)
{
    struct writing *p = context;
    struct work *w = &p->work;
    struct rpc *call = ask(w, p->deletes ? "DELETE" : "PUT", "");
    struct alloc alloc;
    struct arena arena;
    struct item item;
    if (!call)
        return;
    path_of(&call->path, p->key, p->environment);
    put_condition(p, &call->path);
    call->writes = true;
    call->repeats = p->if_version >= 0;
    call->present = p->if_version == CONFMAN_PRESENT;
    if (!p->deletes && !put_body(p, &call->body)) {
        rpc_free(call);
        return;
    }
    if (!rpc_wait(w->c, call, w->error))
        return;
    if (call->doubt && call->repeats &&
        (w->error->code == CONFMAN_CONFLICT || w->error->code == CONFMAN_NOT_FOUND)) {
        rpc_free(call);
        settle(p);
        return;
    }
    alloc_heap(&alloc);
    arena_open(&arena, &alloc);
    if (w->error->code == CONFMAN_OK && !p->deletes) {
        if (!decode_one(buf_all(&call->in), &arena, &item))
            error_set(w->error, CONFMAN_PROTOCOL, "it was written, and the answer makes no sense");
        else if (p->version)
            *p->version = item.version;
    }
    arena_close(&arena);
    rpc_free(call);
}

enum confman_code confman_put(struct confman *c, const char *environment, const char *key,
                              enum confman_type type, const char *value, size_t value_size,
                              int64_t if_version, int64_t *version, struct confman_error *error)
{
    struct writing p = { .environment = environment,
                         .key = key,
                         .type = type,
                         .value = span_of(value, value ? value_size : 0),
                         .if_version = if_version,
                         .version = version };
    if (!key || !key[0] || (unsigned)type > CONFMAN_BYTES || (!value && value_size))
        return error_set(error, CONFMAN_MISUSE, "key or value is NULL, or there is no such type");
    return work_run(&p.work, c, error, do_write);
}

enum confman_code confman_delete(struct confman *c, const char *environment, const char *key,
                                 int64_t if_version, struct confman_error *error)
{
    struct writing p = {
        .environment = environment, .key = key, .deletes = true, .if_version = if_version
    };
    if (!key || !key[0])
        return error_set(error, CONFMAN_MISUSE, "key is NULL or empty");
    return work_run(&p.work, c, error, do_write);
}
