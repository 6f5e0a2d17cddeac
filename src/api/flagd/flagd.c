#include "api/flagd/flagd_int.h"
#include "base/check.h"

enum { NAME_MAX_BYTES = 100, ENVIRONMENT_MAX_BYTES = 50 };

/* gRPC's codes. */
enum { FINE = 0, UNKNOWN = 2, WRONG_TYPE = 3, NOT_THERE = 5, TOO_MUCH = 8, BROKEN = 15 };

/* ---- what is asked ---- */

static const struct {
    const char *name;
    enum flagd_ask ask;
} asks[] = {
    { "ResolveAll", FLAGD_ALL },       { "ResolveBoolean", FLAGD_BOOLEAN },
    { "ResolveString", FLAGD_STRING }, { "ResolveFloat", FLAGD_FLOAT },
    { "ResolveInt", FLAGD_INT },       { "ResolveObject", FLAGD_OBJECT },
    { "EventStream", FLAGD_EVENTS },   { "SyncFlags", FLAGD_SYNC },
    { "FetchAllFlags", FLAGD_FETCH },  { "GetMetadata", FLAGD_METADATA },
};

static enum flagd_ask ask_of(const struct etcd_method *method)
{
    for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++)
        if (strcmp(method->name, asks[i].name) == 0)
            return asks[i].ask;
    UNREACHABLE("a method of flagd");
}

void flagd_head(const struct http_request *head, struct arena *arena, struct flagd_call *out)
{
    struct span value;
    *out = (struct flagd_call){ .environment = SPAN("default") };
    if (http_header_find(head, "flagd-selector", &value))
        out->selector = arena_copy(arena, value);
    if (http_header_find(head, "x-confman-environment", &value))
        out->environment = arena_copy(arena, value);
}

static bool is_name(struct span s, size_t max)
{
    if (!s.len || s.len > max)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] <= 0x20 || s.data[i] == 0x7f || s.data[i] == '/')
            return false;
    return true;
}

/* flagd knows selectors by source too; here flags have none. */
static enum err read_selector(struct flagd_call *c, struct span own)
{
    struct span s = c->selector.len ? c->selector : own;
    if (s.len)
        c->environment = s;
    if (span_starts(s, SPAN("flagSetId=")))
        c->environment = span_from(s, sizeof("flagSetId=") - 1);
    bool other = c->environment.len && memchr(c->environment.data, '=', c->environment.len);
    return !other && is_name(c->environment, ENVIRONMENT_MAX_BYTES) ? ERR_OK : ERR_BAD_REQUEST;
}

/* A read of one flag, or the count of all. */
static void ask_range(struct flagd_call *c, bool all, struct arena *arena)
{
    struct span key = flagset_key(arena, c->environment, all ? SPAN_NONE : c->name);
    c->request = (struct request){ .type = REQUEST_RANGE, .serializable = true };
    c->request.range = (struct kv_range){ .key = key, .count_only = all };
    if (all)
        c->request.range.range_end = kv_prefix_end(key, arena);
}

static struct request watch_of(struct span key, struct span end)
{
    struct request r = { .type = REQUEST_WATCH_ADD };
    r.watch = (struct watch_request){ .key = key, .range_end = end };
    return r;
}

static void ask_watch(struct flagd_call *c, struct arena *arena)
{
    struct span key = flagset_key(arena, c->environment, SPAN_NONE);
    c->request = watch_of(key, kv_prefix_end(key, arena));
}

/* Each level's flags, and what they share. */
static void look_for_streams(struct flagd_call *c, struct arena *arena)
{
    c->also = ARENA_ARRAY(arena, struct request, 2 * c->n_levels);
    c->n_also = 0;
    for (size_t i = 0; i < c->n_levels; i++) {
        struct span key = flagset_key(arena, c->levels[i], SPAN_NONE);
        if (i)
            c->also[c->n_also++] = watch_of(key, kv_prefix_end(key, arena));
        c->also[c->n_also++] = watch_of(flagset_shared_key(arena, c->levels[i]), SPAN_NONE);
    }
}

/* All levels may be read, or nothing is told of all of them. */
static void look_for_all(struct flagd_call *c, struct arena *arena)
{
    struct kv_op *ops = ARENA_ARRAY(arena, struct kv_op, c->n_levels);
    for (size_t i = 0; i < c->n_levels; i++) {
        struct span key = flagset_key(arena, c->levels[i], SPAN_NONE);
        ops[i].type = KV_OP_RANGE;
        ops[i].range = (struct kv_range){ .key = key, .count_only = true };
        ops[i].range.range_end = kv_prefix_end(key, arena);
    }
    c->request = (struct request){ .type = REQUEST_TXN, .serializable = true };
    c->request.txn = (struct kv_txn){ .success = ops, .n_success = c->n_levels };
}

void flagd_look(struct flagd_call *c, struct flagset *set, struct arena *arena)
{
    size_t level;
    c->n_levels = flagset_levels(set);
    for (size_t i = 0; i < c->n_levels; i++)
        c->levels[i] = arena_copy(arena, flagset_level(set, i));
    if (c->ask == FLAGD_SYNC || c->ask == FLAGD_EVENTS)
        look_for_streams(c, arena);
    else if (c->ask >= FLAGD_BOOLEAN && c->ask <= FLAGD_OBJECT &&
             flagset_find(set, c->name, &level))
        c->request.range.key = flagset_key(arena, c->levels[level], c->name);
    else if (c->n_levels > 1 && (c->ask == FLAGD_ALL || c->ask == FLAGD_FETCH))
        look_for_all(c, arena);
}

static enum err decode_one(struct flagd_call *c, struct span message, struct arena *arena)
{
    struct pb_resolve_boolean_request m; /* as those for the other types */
    enum err e = pb_resolve_boolean_request_decode(message, arena, &m);
    if (e == ERR_OK)
        e = struct_read(m.context, arena, &c->context);
    if (e == ERR_OK)
        e = read_selector(c, SPAN_NONE);
    c->name = m.flag_key;
    ask_range(c, false, arena);
    return e;
}

static enum err decode_all(struct flagd_call *c, struct span message, struct arena *arena)
{
    struct pb_resolve_all_request m;
    enum err e = pb_resolve_all_request_decode(message, arena, &m);
    if (e == ERR_OK)
        e = struct_read(m.context, arena, &c->context);
    return e == ERR_OK ? read_selector(c, SPAN_NONE) : e;
}

static enum err decode_sync(struct flagd_call *c, struct span message, struct arena *arena)
{
    struct pb_sync_flags_request m; /* as of FetchAllFlags */
    enum err e = pb_sync_flags_request_decode(message, arena, &m);
    return e == ERR_OK ? read_selector(c, arena_copy(arena, m.selector)) : e;
}

static enum err decode_nothing(struct flagd_call *c, struct span message, struct arena *arena)
{
    struct pb_event_stream_request m;
    enum err e = pb_event_stream_request_decode(message, arena, &m);
    return e == ERR_OK ? read_selector(c, SPAN_NONE) : e;
}

enum err flagd_decode(const struct etcd_method *method, struct span message, struct arena *arena,
                      struct flagd_call *c)
{
    enum err e;
    c->ask = ask_of(method);
    c->context = (struct fval){ .type = FVAL_OBJECT };
    if (message.len > FLAGD_MESSAGE_MAX)
        return ERR_MESSAGE_TOO_LARGE;
    if (c->ask >= FLAGD_BOOLEAN && c->ask <= FLAGD_OBJECT)
        return decode_one(c, message, arena);
    if (c->ask == FLAGD_ALL)
        e = decode_all(c, message, arena);
    else if (c->ask == FLAGD_SYNC || c->ask == FLAGD_FETCH)
        e = decode_sync(c, message, arena);
    else
        e = decode_nothing(c, message, arena);
    if (c->ask == FLAGD_SYNC || c->ask == FLAGD_EVENTS)
        ask_watch(c, arena);
    else
        ask_range(c, true, arena);
    return e;
}

/* ---- answers ---- */

struct answering {
    struct arena *arena;
    struct buf *out;
    const char **text;
};

static int refuse(const char **text, int code, const char *why)
{
    *text = why;
    return code;
}

static int failed(const struct flag_result *r, const char **text)
{
    return refuse(text, r->error == FLAG_PARSE ? BROKEN : UNKNOWN, r->detail);
}

/* JSON of ours, read before it was kept; null when there is none. */
static struct fval value_read(struct span json, struct arena *arena)
{
    char why[FLAG_WHY_MAX];
    struct fval v = { .type = FVAL_NULL };
    if (json.len && fval_read(json, arena, &v, why) != ERR_OK)
        v = (struct fval){ .type = FVAL_NULL };
    return v;
}

static struct pb_struct *metadata_of(const struct flag_result *r, struct arena *arena)
{
    struct fval v = value_read(r->metadata, arena);
    return struct_of(&v, arena);
}

/* Whole, and one that 64 bits hold. */
static bool whole(double v)
{
    return v >= -9223372036854775808.0 && v < 9223372036854775808.0 && (double)(int64_t)v == v;
}

static bool fits(enum flagd_ask ask, const struct fval *v)
{
    switch (ask) {
    case FLAGD_BOOLEAN:
        return v->type == FVAL_TRUE || v->type == FVAL_FALSE;
    case FLAGD_STRING:
        return v->type == FVAL_TEXT;
    case FLAGD_FLOAT:
        return v->type == FVAL_NUMBER;
    case FLAGD_INT:
        return v->type == FVAL_NUMBER && whole(v->number);
    case FLAGD_OBJECT:
        return v->type == FVAL_OBJECT;
    case FLAGD_ALL:
    case FLAGD_EVENTS:
    case FLAGD_SYNC:
    case FLAGD_FETCH:
    case FLAGD_METADATA:
        break;
    }
    return false;
}

#define RESPOND(kind, the_value)                                                                   \
    do {                                                                                           \
        struct pb_v2_resolve_##kind##_response m = { .value = (the_value) };                       \
        m.has_value = there;                                                                       \
        m.reason = reason;                                                                         \
        m.has_variant = there;                                                                     \
        m.variant = r->variant;                                                                    \
        m.metadata = metadata;                                                                     \
        pb_v2_resolve_##kind##_response_encode(&m, a->out);                                        \
    } while (0)

static int respond(const struct answering *a, enum flagd_ask ask, const struct flag_result *r)
{
    struct fval v = value_read(r->value, a->arena);
    bool there = r->value.len > 0;
    struct span reason = span_text(flag_reason_text(r->reason));
    struct pb_struct *metadata = metadata_of(r, a->arena);
    if (there && !fits(ask, &v))
        return refuse(a->text, WRONG_TYPE, "the flag's value is of another type");
    if (ask == FLAGD_BOOLEAN) {
        RESPOND(boolean, v.type == FVAL_TRUE);
    } else if (ask == FLAGD_STRING) {
        RESPOND(string, fval_span(&v));
    } else if (ask == FLAGD_FLOAT) {
        RESPOND(float, there ? v.number : 0);
    } else if (ask == FLAGD_INT) {
        RESPOND(int, there ? (int64_t)v.number : 0);
    } else {
        struct pb_v2_resolve_object_response m = { .value = there ? struct_of(&v, a->arena) : NULL,
                                                   .reason = reason,
                                                   .has_variant = there,
                                                   .variant = r->variant,
                                                   .metadata = metadata };
        pb_v2_resolve_object_response_encode(&m, a->out);
    }
    return FINE;
}

/* ResolveAll has no word for lists, nor for flags that fail: they are left out. */
static bool any_of(const struct flag_result *r, struct arena *arena, struct pb_any_flag *out)
{
    enum { BOOL = 3, TEXT, NUMBER, OBJECT };
    struct fval v = value_read(r->value, arena);
    if (r->reason == FLAG_FAILED || v.type == FVAL_LIST)
        return false;
    *out = (struct pb_any_flag){ .reason = span_text(flag_reason_text(r->reason)),
                                 .variant = r->variant,
                                 .metadata = metadata_of(r, arena) };
    if (v.type == FVAL_TRUE || v.type == FVAL_FALSE) {
        out->which_value = BOOL;
        out->bool_value = v.type == FVAL_TRUE;
    } else if (v.type == FVAL_TEXT) {
        out->which_value = TEXT;
        out->string_value = fval_span(&v);
    } else if (v.type == FVAL_NUMBER) {
        out->which_value = NUMBER;
        out->double_value = v.number;
    } else if (v.type == FVAL_OBJECT) {
        out->which_value = OBJECT;
        out->object_value = struct_of(&v, arena);
    }
    return true;
}

static int respond_all(const struct answering *a, struct flagset *set, struct flag_context *c)
{
    struct pb_resolve_all_response m = { .metadata = NULL };
    size_t count = flagset_count(set);
    int64_t steps = FLAG_ALL_STEPS_MAX;
    c->steps = &steps;
    m.flags = ARENA_ARRAY(a->arena, struct pb_resolve_all_response_flags_entry, count + 1);
    for (size_t i = 0; i < count; i++) {
        struct flag_result r;
        struct pb_any_flag *any = ARENA_NEW(a->arena, struct pb_any_flag);
        flagset_evaluate(set, i, c, &r);
        if (!any_of(&r, a->arena, any))
            continue;
        m.flags[m.n_flags].key = flagset_name(set, i);
        m.flags[m.n_flags++].value = any;
    }
    if (flagset_over(set) || pb_resolve_all_response_size(&m) > FLAGD_ANSWER_MAX)
        return refuse(a->text, TOO_MUCH, err_text(ERR_ANSWER_TOO_LARGE));
    pb_resolve_all_response_encode(&m, a->out);
    return FINE;
}

static int respond_document(const struct answering *a, struct flagset *set)
{
    struct pb_fetch_all_flags_response m;
    if (flagset_document(set, &m.flag_configuration) != ERR_OK)
        return refuse(a->text, TOO_MUCH, err_text(ERR_ANSWER_TOO_LARGE));
    pb_fetch_all_flags_response_encode(&m, a->out);
    return FINE;
}

static int respond_metadata(const struct answering *a, struct span environment)
{
    struct fval_member id = {
        SPAN("flagSetId"),
        SPAN_NONE,
        { .type = FVAL_TEXT, .n = (uint32_t)environment.len, .text = environment.data }
    };
    struct fval all = { .type = FVAL_OBJECT, .n = 1, .members = &id };
    struct pb_get_metadata_response m = { .metadata = struct_of(&all, a->arena) };
    pb_get_metadata_response_encode(&m, a->out);
    return FINE;
}

int flagd_answer(const struct flagd_call *call, struct flagset *set, int64_t now_ms,
                 struct arena *arena, struct buf *out, const char **text)
{
    struct answering a = { arena, out, text };
    struct flag_context c = { .values = &call->context, .now_ms = now_ms };
    struct flag_result r;
    *text = "";
    if (call->ask == FLAGD_ALL)
        return respond_all(&a, set, &c);
    if (call->ask == FLAGD_FETCH)
        return respond_document(&a, set);
    if (call->ask == FLAGD_METADATA)
        return respond_metadata(&a, call->environment);
    if (!is_name(call->name, NAME_MAX_BYTES) || !flagset_evaluate_named(set, call->name, &c, &r))
        return refuse(text, NOT_THERE, err_text(ERR_FLAG_NOT_FOUND));
    return r.reason == FLAG_FAILED ? failed(&r, text) : respond(&a, call->ask, &r);
}

/* ---- streams ---- */

void flagd_ready(struct buf *out)
{
    struct pb_event_stream_response m = { .type = SPAN("provider_ready") };
    pb_event_stream_response_encode(&m, out);
}

static struct fval text_of(struct span s)
{
    return (struct fval){ .type = FVAL_TEXT, .n = (uint32_t)s.len, .text = s.data };
}

/* {"flags": {name: {"type", "source", "flagKey"}}}; a change of what they share names none. */
void flagd_events(const struct watch_batch *batch, struct arena *arena, struct buf *out)
{
    struct fval_member *flags = ARENA_ARRAY(arena, struct fval_member, batch->n + 1);
    struct fval all = { .type = FVAL_OBJECT, .members = flags };
    struct fval_member data = { SPAN("flags"), SPAN_NONE, { .type = FVAL_NULL } };
    struct fval whole_data = { .type = FVAL_OBJECT, .n = 1, .members = &data };
    for (size_t i = 0; i < batch->n; i++) {
        const struct kv_version *v = batch->changes[i]->now;
        struct span environment, name;
        if (!flagset_key_split(kv_key(v), &environment, &name))
            continue;
        struct fval_member *words = ARENA_ARRAY(arena, struct fval_member, 3);
        struct span type = v->tombstone ? SPAN("delete") : SPAN("write");
        words[0] = (struct fval_member){ SPAN("type"), SPAN_NONE, text_of(type) };
        words[1] = (struct fval_member){ SPAN("source"), SPAN_NONE, text_of(SPAN("confman")) };
        words[2] = (struct fval_member){ SPAN("flagKey"), SPAN_NONE, text_of(name) };
        flags[all.n++] = (struct fval_member){ name,
                                               SPAN_NONE,
                                               { .type = FVAL_OBJECT, .n = 3, .members = words } };
    }
    data.value = all;
    struct pb_event_stream_response m = { .type = SPAN("configuration_change"),
                                          .data = struct_of(&whole_data, arena) };
    pb_event_stream_response_encode(&m, out);
}

void flagd_sync(struct span document, struct buf *out)
{
    struct pb_sync_flags_response m = { .flag_configuration = document };
    pb_sync_flags_response_encode(&m, out);
}
