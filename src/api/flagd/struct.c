/* google.protobuf.Struct, which is how flagd's messages carry JSON. */
#include "api/flagd/flagd_int.h"

enum { KIND_NULL = 1, KIND_NUMBER, KIND_TEXT, KIND_BOOL, KIND_STRUCT, KIND_LIST };

struct reading {
    struct arena *arena;
    size_t values;
};

static enum err read_struct(struct reading *r, const struct pb_struct *m, struct fval *out);

static enum err read_value(struct reading *r, const struct pb_value *m, struct fval *out)
{
    enum err e = ERR_OK;
    *out = (struct fval){ .type = FVAL_NULL };
    if (++r->values > FLAG_VALUES_MAX)
        return ERR_MESSAGE_TOO_LARGE;
    if (!m)
        return ERR_OK;
    if (m->which_kind == KIND_NUMBER && m->number_value - m->number_value == 0) {
        out->type = FVAL_NUMBER;
        out->number = m->number_value;
    } else if (m->which_kind == KIND_TEXT) {
        *out = (struct fval){ .type = FVAL_TEXT,
                              .n = (uint32_t)m->string_value.len,
                              .text = m->string_value.data };
    } else if (m->which_kind == KIND_BOOL) {
        out->type = m->bool_value ? FVAL_TRUE : FVAL_FALSE;
    } else if (m->which_kind == KIND_STRUCT && m->struct_value) {
        return read_struct(r, m->struct_value, out);
    } else if (m->which_kind == KIND_LIST && m->list_value) {
        const struct pb_list_value *list = m->list_value;
        struct fval *items = ARENA_ARRAY(r->arena, struct fval, list->n_values + 1);
        for (size_t i = 0; e == ERR_OK && i < list->n_values; i++)
            e = read_value(r, &list->values[i], &items[i]);
        *out = (struct fval){ .type = FVAL_LIST, .n = (uint32_t)list->n_values, .items = items };
    }
    return e;
}

static enum err read_struct(struct reading *r, const struct pb_struct *m, struct fval *out)
{
    enum err e = ERR_OK;
    struct fval_member *members = ARENA_ARRAY(r->arena, struct fval_member, m->n_fields + 1);
    for (size_t i = 0; e == ERR_OK && i < m->n_fields; i++) {
        members[i].name = m->fields[i].key;
        e = read_value(r, m->fields[i].value, &members[i].value);
    }
    *out = (struct fval){ .type = FVAL_OBJECT, .n = (uint32_t)m->n_fields, .members = members };
    return e;
}

enum err struct_read(const struct pb_struct *m, struct arena *arena, struct fval *out)
{
    struct reading r = { arena, 0 };
    *out = (struct fval){ .type = FVAL_OBJECT };
    return m ? read_struct(&r, m, out) : ERR_OK;
}

static void value_of(const struct fval *v, struct arena *arena, struct pb_value *out)
{
    *out = (struct pb_value){ .which_kind = KIND_NULL };
    if (v->type == FVAL_NUMBER) {
        out->which_kind = KIND_NUMBER;
        out->number_value = v->number;
    } else if (v->type == FVAL_TEXT) {
        out->which_kind = KIND_TEXT;
        out->string_value = fval_span(v);
    } else if (v->type == FVAL_TRUE || v->type == FVAL_FALSE) {
        out->which_kind = KIND_BOOL;
        out->bool_value = v->type == FVAL_TRUE;
    } else if (v->type == FVAL_OBJECT) {
        out->which_kind = KIND_STRUCT;
        out->struct_value = struct_of(v, arena);
    } else if (v->type == FVAL_LIST) {
        struct pb_list_value *list = ARENA_NEW(arena, struct pb_list_value);
        list->values = ARENA_ARRAY(arena, struct pb_value, v->n + 1);
        list->n_values = v->n;
        for (uint32_t i = 0; i < v->n; i++)
            value_of(&v->items[i], arena, &list->values[i]);
        out->which_kind = KIND_LIST;
        out->list_value = list;
    }
}

struct pb_struct *struct_of(const struct fval *object, struct arena *arena)
{
    struct pb_struct *m = ARENA_NEW(arena, struct pb_struct);
    if (object->type != FVAL_OBJECT)
        return m;
    m->n_fields = object->n;
    m->fields = ARENA_ARRAY(arena, struct pb_struct_fields_entry, object->n + 1);
    for (uint32_t i = 0; i < object->n; i++) {
        m->fields[i].key = object->members[i].name;
        m->fields[i].value = ARENA_NEW(arena, struct pb_value);
        value_of(&object->members[i].value, arena, m->fields[i].value);
    }
    return m;
}
