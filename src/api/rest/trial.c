/* Would a value be taken by a schema? Both come with the request, neither is stored. */
#include "api/rest/change.h"
#include "api/rest/rest_int.h"
#include "base/check.h"

struct trial {
    struct span schema, value;
    uint8_t type; /* enum kv_type */
};

static enum err read_members(const struct jdoc *body, struct arena *arena,
                             struct rest_call *call, const char **detail)
{
    struct trial *t = call->trial;
    struct buf b;
    const char *member, *why;
    bool object = jdoc_is(body, JDOC_OBJECT);
    const struct jdoc *schema = object ? jdoc_member(body, SPAN("schema")) : NULL;
    const struct jdoc *value = object ? jdoc_member(body, SPAN("value")) : NULL;
    *detail = "the body is {\"schema\": ..., \"value\": ...}, with \"type\" or without";
    if (!schema || !value)
        return ERR_BAD_REQUEST;
    buf_open(&b, arena->alloc);
    jdoc_write(schema, &b);
    t->schema = arena_copy(arena, buf_all(&b));
    buf_close(&b);
    const struct jdoc *type = jdoc_member(body, SPAN("type"));
    if (change_value(value, type, arena, &t->value, &t->type, &member, &why))
        return ERR_OK;
    return member_fault(&call->faults, member, why, arena, detail);
}

enum err trial_read(struct span text, struct arena *arena, struct rest_call *call,
                    const char **detail)
{
    struct jdoc *body;
    struct jdoc_fault fault = { "it is too large", 0 };
    call->trial = ARENA_NEW(arena, struct trial);
    enum err e = jdoc_read(text, arena, &body, &fault);
    *detail = fault.why;
    return e == ERR_OK ? read_members(body, arena, call, detail) : e;
}

static void tell(enum err e, const struct schema_report *report, const char *detail,
                 struct span name, struct arena *arena, struct rest_answer *out)
{
    struct rest_faults faults = { .more = report->more };
    for (size_t i = 0; i < report->n; i++) {
        struct rest_fault f = { .by = e == ERR_SCHEMA_INVALID ? NULL : "schema",
                                .name = name,
                                .pointer = report->items[i].pointer,
                                .schema_pointer = report->items[i].schema_pointer,
                                .message = report->items[i].message };
        faults_add(&faults, &f, arena);
    }
    faults_answer(e, detail, &faults, arena, out);
}

void trial_answer(const struct rest_call *call, struct arena *arena, struct rest_answer *out)
{
    const struct trial *t = call->trial;
    struct schema_report *report = ARENA_NEW(arena, struct schema_report);
    struct jdoc *tree;
    struct jdoc_fault fault;
    report->arena = arena;
    enum err e = schema_text_check(call->world->schemas, t->schema, report);
    if (e != ERR_OK) {
        tell(e, report, err_text(e), call->key, arena, out);
        return;
    }
    e = value_tree(t->value, t->type, arena, &tree, &fault);
    CHECK(e == ERR_OK); /* it was read as that */
    *report = (struct schema_report){ .arena = arena };
    struct schema *schema = schema_make(call->world->schemas, t->schema);
    CHECK(schema);
    e = schema_validate(schema, tree, report);
    schema_free(schema);
    if (e != ERR_OK) {
        tell(e, report, err_text(e), call->key, arena, out);
        return;
    }
    struct buf b;
    struct jsonw w;
    buf_open(&b, arena->alloc);
    jsonw_open(&w, &b);
    jsonw_object(&w);
    jsonw_name(&w, "valid");
    jsonw_bool(&w, true);
    jsonw_object_end(&w);
    body_of(out, 200, "application/json", &b, arena);
}
