/* Flags, evaluated on the caller's thread from what the live copy holds. */
#include <stdio.h>
#include <stdlib.h>
#include "confman/confman_int.h"

enum { ATTRIBUTES_MAX = 64 };

struct asking {
    struct confman_copy *copy;
    struct span name;
    const struct confman_attribute *attributes;
    size_t count;
    const struct part *part;
    void *scratch;
    struct flag_result result;
    enum confman_code code;
    const char *error; /* OpenFeature's word */
};

/* What is put into the caller's variable. */
struct wanted {
    enum confman_type type;
    int *truth;
    double *number;
    char *text;
    size_t text_size;
};

static const struct flag *find(void *user, struct span name)
{
    const struct part *p = user;
    long at = part_flag(p, name);
    return at < 0 ? NULL : p->flags[at];
}

/* False: it is none that can be given. */
static bool take_attribute(const struct confman_attribute *a, struct arena *arena,
                           struct fval_member *out)
{
    char why[FLAG_WHY_MAX];
    if (!a->name)
        return false;
    out->name = span_text(a->name);
    out->raw = SPAN_NONE;
    switch (a->type) {
    case CONFMAN_NUMBER:
        out->value = (struct fval){ .type = FVAL_NUMBER, .number = a->number };
        return a->number - a->number == 0;
    case CONFMAN_BOOLEAN:
        out->value = (struct fval){ .type = a->truth ? FVAL_TRUE : FVAL_FALSE };
        return true;
    case CONFMAN_STRING:
        if (!a->text || strlen(a->text) > FLAG_BYTES_MAX)
            return false;
        out->value = (struct fval){ .type = FVAL_TEXT,
                                    .n = (uint32_t)strlen(a->text),
                                    .text = (const uint8_t *)a->text };
        return true;
    case CONFMAN_JSON:
        return a->text && fval_read(span_text(a->text), arena, &out->value, why) == ERR_OK;
    case CONFMAN_BYTES:
    default:
        return false;
    }
}

static void evaluate(void *context)
{
    struct asking *a = context;
    struct fval_member members[ATTRIBUTES_MAX];
    struct fval values = { .type = FVAL_OBJECT, .n = (uint32_t)a->count, .members = members };
    struct alloc alloc;
    struct arena arena;
    long at = part_flag(a->part, a->name);
    const struct flag *flag = at < 0 ? NULL : a->part->flags[at];
    if (!flag) {
        a->code = at < 0 ? CONFMAN_NOT_FOUND : CONFMAN_INVALID;
        a->error = at < 0 ? "FLAG_NOT_FOUND" : "PARSE_ERROR";
        return;
    }
    alloc_heap(&alloc);
    arena_open(&arena, &alloc); /* takes memory when JSON is read, not before */
    for (size_t i = 0; i < a->count && a->code == CONFMAN_OK; i++)
        if (!take_attribute(&a->attributes[i], &arena, &members[i])) {
            a->code = CONFMAN_INVALID;
            a->error = "INVALID_CONTEXT";
        }
    if (a->code == CONFMAN_OK) {
        struct flag_context c = { .values = &values,
                                  .environment = span_text(a->copy->environment),
                                  .now_ms = loop_wall_now_ms(),
                                  .find = find,
                                  .user = (void *)(uintptr_t)a->part,
                                  .scratch = a->scratch };
        flag_evaluate(flag, &c, &a->result);
    }
    arena_close(&arena);
}

/* ---- the result ---- */

static enum confman_code mismatch(struct asking *a)
{
    a->error = "TYPE_MISMATCH";
    return CONFMAN_TYPE;
}

static enum confman_code put_text(struct asking *a, const struct wanted *w)
{
    struct span value = a->result.value;
    struct span text = value;
    struct alloc alloc;
    struct arena arena;
    struct fval v;
    char why[FLAG_WHY_MAX];
    bool string = value.data[0] == '"';
    if (w->type == CONFMAN_STRING && !string)
        return mismatch(a);
    alloc_heap(&alloc);
    arena_open(&arena, &alloc);
    if (w->type == CONFMAN_STRING && fval_read(value, &arena, &v, why) == ERR_OK)
        text = fval_span(&v);
    enum confman_code code = CONFMAN_OK;
    if (text.len < w->text_size && !memchr(text.data, 0, text.len)) {
        memcpy(w->text, text.data, text.len);
        w->text[text.len] = 0;
    } else {
        a->error = "GENERAL";
        code = CONFMAN_INVALID;
    }
    arena_close(&arena);
    return code;
}

static enum confman_code put_result(struct asking *a, const struct wanted *w)
{
    struct span value = a->result.value;
    char text[64];
    if (a->result.reason == FLAG_FAILED) {
        a->error = flag_error_text(a->result.error);
        return CONFMAN_INVALID;
    }
    if (!value.len)
        return CONFMAN_OK; /* the caller's own default holds */
    if (w->type == CONFMAN_BOOLEAN) {
        if (value.data[0] != 't' && value.data[0] != 'f')
            return mismatch(a);
        *w->truth = value.data[0] == 't';
        return CONFMAN_OK;
    }
    if (w->type == CONFMAN_NUMBER) {
        bool number = value.data[0] == '-' || (value.data[0] >= '0' && value.data[0] <= '9');
        if (!number || value.len >= sizeof(text))
            return mismatch(a);
        memcpy(text, value.data, value.len);
        text[value.len] = 0;
        *w->number = strtod(text, NULL);
        return CONFMAN_OK;
    }
    return put_text(a, w);
}

static void put_detail(const struct asking *a, struct confman_detail *out)
{
    size_t n = a->result.variant.len < sizeof(out->variant) - 1 ? a->result.variant.len
                                                                 : sizeof(out->variant) - 1;
    if (n)
        memcpy(out->variant, a->result.variant.data, n);
    out->variant[n] = 0;
    snprintf(out->reason, sizeof(out->reason), "%s",
             a->error ? "ERROR" : flag_reason_text(a->result.reason));
    snprintf(out->error, sizeof(out->error), "%s", a->error ? a->error : "");
}

struct both {
    struct asking *a;
    const struct wanted *w;
};

static void work(void *context)
{
    struct both *b = context;
    evaluate(b->a);
    if (b->a->code == CONFMAN_OK)
        b->a->code = put_result(b->a, b->w);
}

/* The flags as they are, and room to work in. */
static bool begin(struct asking *a)
{
    struct confman_copy *copy = a->copy;
    monitor_enter(copy->client->monitor);
    struct part *p = copy->flags;
    if (p) {
        p->refs++;
        a->scratch = copy->n_scratch ? copy->scratch[--copy->n_scratch] : NULL;
    }
    monitor_leave(copy->client->monitor);
    a->part = p;
    if (p && !a->scratch)
        a->scratch = malloc(FLAG_SCRATCH_BYTES);
    return p != NULL;
}

static void finish(struct asking *a)
{
    struct confman_copy *copy = a->copy;
    struct part *p = (struct part *)(uintptr_t)a->part;
    void *spare = a->scratch;
    monitor_enter(copy->client->monitor);
    bool last = --p->refs == 0;
    if (spare && copy->n_scratch < SCRATCHES) {
        copy->scratch[copy->n_scratch++] = spare;
        spare = NULL;
    }
    monitor_leave(copy->client->monitor);
    free(spare);
    if (last)
        part_close(p);
}

static enum confman_code flag_ask(struct confman_copy *copy, const char *name,
                                  const struct confman_attribute *attributes, size_t count,
                                  const struct wanted *w, struct confman_detail *detail)
{
    struct check_catch bug;
    if (!copy || !name || (count && !attributes) || count > ATTRIBUTES_MAX)
        return CONFMAN_MISUSE;
    struct asking a = {
        .copy = copy, .name = span_text(name), .attributes = attributes, .count = count
    };
    if (!begin(&a)) {
        a.code = CONFMAN_UNAVAILABLE;
        a.error = "PROVIDER_NOT_READY";
    } else {
        struct both b = { &a, w };
        if (!a.scratch) {
            a.code = CONFMAN_NO_MEMORY;
            a.error = "GENERAL";
        } else if (check_caught(work, &b, &bug)) {
            a.code = CONFMAN_BUG;
            a.error = "GENERAL";
        }
    }
    if (detail)
        put_detail(&a, detail);
    if (a.part)
        finish(&a);
    return a.code;
}

enum confman_code confman_flag_boolean(struct confman_copy *copy, const char *name,
                                       const struct confman_attribute *attributes, size_t count,
                                       int *out, struct confman_detail *detail)
{
    struct wanted w = { .type = CONFMAN_BOOLEAN, .truth = out };
    return out ? flag_ask(copy, name, attributes, count, &w, detail) : CONFMAN_MISUSE;
}

enum confman_code confman_flag_number(struct confman_copy *copy, const char *name,
                                      const struct confman_attribute *attributes, size_t count,
                                      double *out, struct confman_detail *detail)
{
    struct wanted w = { .type = CONFMAN_NUMBER, .number = out };
    return out ? flag_ask(copy, name, attributes, count, &w, detail) : CONFMAN_MISUSE;
}

enum confman_code confman_flag_string(struct confman_copy *copy, const char *name,
                                      const struct confman_attribute *attributes, size_t count,
                                      char *out, size_t out_size, struct confman_detail *detail)
{
    struct wanted w = { .type = CONFMAN_STRING, .text = out, .text_size = out_size };
    return out ? flag_ask(copy, name, attributes, count, &w, detail) : CONFMAN_MISUSE;
}

enum confman_code confman_flag_json(struct confman_copy *copy, const char *name,
                                    const struct confman_attribute *attributes, size_t count,
                                    char *out, size_t out_size, struct confman_detail *detail)
{
    struct wanted w = { .type = CONFMAN_JSON, .text = out, .text_size = out_size };
    return out ? flag_ask(copy, name, attributes, count, &w, detail) : CONFMAN_MISUSE;
}
