/* What a write must hold: the schemas of the configs that it puts, and that schemas and guards
 * which it puts are such. Whatever route made the transaction, this looks at what it would do. */
#include "api/rest/change.h"
#include "base/check.h"
#include "wire/protobuf/protobuf.h"

struct checking {
    const struct rest_world *world;
    const struct rest_leave *leave;
    const struct kv *kv;
    struct arena *arena; /* of the request: what is told */
    struct arena *scratch;
    struct rest_faults *faults;
    uint64_t steps; /* of schemas, so far */
    enum err err;   /* the first */
    bool schemas, guards; /* there are some */
    struct guard_counts deleted;
    struct resolving resolving;
    struct seen seen; /* by references */
    struct arena kept; /* of rounds, which are opened when they are needed */
    struct rounds *rounds;
    struct missed missed;
};

/* ---- faults ---- */

void faults_add(struct rest_faults *f, const struct rest_fault *fault, struct arena *arena)
{
    if (!f->items)
        f->items = ARENA_ARRAY(arena, struct rest_fault, REST_FAULTS_MAX);
    f->more = f->more || f->n == REST_FAULTS_MAX;
    if (f->n < REST_FAULTS_MAX)
        f->items[f->n++] = *fault;
}

enum err member_fault(struct rest_faults *faults, const char *member, const char *why,
                      struct arena *arena, const char **detail)
{
    struct rest_fault fault = { .message = span_text(why) };
    struct buf b;
    buf_open(&b, arena->alloc);
    jdoc_pointer_token(span_text(member), &b);
    fault.pointer = arena_copy(arena, buf_all(&b));
    if (!faults->n) {
        buf_format(&b, ": %s", why);
        *detail = arena_text(arena, buf_all(&b));
    }
    buf_close(&b);
    faults_add(faults, &fault, arena);
    return ERR_BAD_REQUEST;
}

static void add_fault(struct checking *c, enum err e, const struct rest_fault *fault)
{
    c->err = c->err == ERR_OK ? e : c->err;
    faults_add(c->faults, fault, c->arena);
}

static void fault_write(struct jsonw *w, const struct rest_fault *f)
{
    const struct {
        const char *name;
        struct span text;
        bool there;
    } members[] = { { "environment", f->environment, f->key.len > 0 },
                    { "key", f->key, f->key.len > 0 },
                    { "pointer", f->pointer, true },
                    { f->by, f->name, f->by != NULL },
                    { "schema_pointer", f->schema_pointer, f->by && f->schema_pointer.data },
                    { "detail", f->message, true } };
    jsonw_object(w);
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        if (!members[i].there)
            continue;
        jsonw_name(w, members[i].name);
        jsonw_text(w, members[i].text);
    }
    jsonw_object_end(w);
}

void faults_write(struct jsonw *w, const struct rest_faults *faults)
{
    jsonw_name(w, "errors");
    jsonw_array(w);
    for (size_t i = 0; i < faults->n; i++)
        fault_write(w, &faults->items[i]);
    jsonw_array_end(w);
    if (faults->more) {
        jsonw_name(w, "more");
        jsonw_bool(w, true);
    }
}

void faults_answer(enum err e, const char *detail, const struct rest_faults *faults,
                   struct arena *arena, struct rest_answer *out)
{
    struct buf b;
    struct jsonw w;
    problem_begin(&w, &b, e, detail, arena);
    faults_write(&w, faults);
    problem_end(&w, &b, e, detail, arena, out);
}

void rest_refusal(const struct rest_call *call, enum err e, const char *detail,
                  struct arena *arena, struct rest_answer *out)
{
    if (call->faults.n)
        faults_answer(e, detail, &call->faults, arena, out);
    else
        rest_problem(e, detail, arena, out);
}

/* ---- values by their schemas ---- */

enum err value_tree(struct span value, uint8_t type, struct arena *arena, struct jdoc **out,
                    struct jdoc_fault *fault)
{
    if (type == KV_NUMBER || type == KV_BOOLEAN || type == KV_JSON)
        return jdoc_read(value, arena, out, fault);
    struct jdoc *text = ARENA_NEW(arena, struct jdoc);
    text->type = JDOC_STRING;
    text->text = value;
    if (!pb_utf8(value)) { /* as it is shown */
        struct buf b;
        buf_open(&b, arena->alloc);
        jsonw_base64(value, false, &b);
        text->text = arena_copy(arena, buf_all(&b));
        buf_close(&b);
    }
    *out = text;
    return ERR_OK;
}

struct config {
    struct span full, environment, key; /* full: in the store */
    struct span value;
    uint8_t type;
    struct jdoc *tree; /* NULL: not read yet */
};

static bool read_tree(struct checking *c, struct config *config)
{
    struct jdoc_fault fault = { "it is too large", 0 };
    if (config->tree)
        return true;
    if (value_tree(config->value, config->type, c->scratch, &config->tree, &fault) == ERR_OK)
        return true;
    struct rest_fault f = { .environment = config->environment,
                            .key = config->key,
                            .message = span_text(fault.why) };
    add_fault(c, ERR_SCHEMA_VIOLATED, &f);
    return false;
}

/* False: nothing more can be told. */
static bool check_one(struct checking *c, struct config *config, struct span name,
                      const struct schema *schema)
{
    struct rest_fault f = { .environment = config->environment,
                            .key = config->key,
                            .by = "schema",
                            .name = arena_copy(c->arena, name),
                            .message = SPAN("what stands under this name is not a schema") };
    if (!schema) {
        add_fault(c, ERR_SCHEMA_INVALID, &f);
        return true;
    }
    if (!read_tree(c, config))
        return false;
    struct schema_report *report = ARENA_NEW(c->scratch, struct schema_report);
    report->arena = c->arena;
    report->steps = c->steps;
    enum err e = schema_validate(schema, config->tree, report);
    c->steps = report->steps;
    for (size_t i = 0; i < report->n; i++) {
        f.pointer = report->items[i].pointer;
        f.schema_pointer = report->items[i].schema_pointer;
        f.message = report->items[i].message;
        add_fault(c, e, &f);
    }
    c->faults->more = c->faults->more || report->more;
    if (e == ERR_SCHEMA_STEPS) {
        c->err = e;
        f.pointer = f.schema_pointer = SPAN_NONE;
        f.message = span_text(err_text(e));
        add_fault(c, e, &f);
    }
    return e != ERR_SCHEMA_STEPS && !c->faults->more;
}

/* What now stands under the key, to those who inherit it too. */
static bool check_rounds(struct checking *c, const struct config *config)
{
    struct span by;
    if (!c->rounds)
        c->rounds = rounds_open(c->kv, c->resolving.txn, &c->kept, &c->seen);
    enum err e = rounds_look(c->rounds, config->environment, config->key, &by);
    if (e == ERR_OK)
        return true;
    struct buf b;
    buf_open(&b, c->scratch->alloc);
    buf_text(&b, e == ERR_CYCLE ? "it would lead back to itself, as environment "
                                : "its references are too many to follow, as environment ");
    buf_span(&b, by);
    buf_text(&b, " sees it");
    struct rest_fault f = { .environment = config->environment,
                            .key = config->key,
                            .message = arena_copy(c->arena, buf_all(&b)) };
    buf_close(&b);
    add_fault(c, e, &f);
    return false;
}

/* Judged is what those who read it get, with references resolved; but secrets stay closed. */
static bool check_references(struct checking *c, struct config *config)
{
    struct resolving *r = &c->resolving;
    r->arena = c->scratch;
    r->pointer = SPAN_NONE;
    if (!resolve_wanted(config->value))
        return true;
    enum err e = resolve(r, config->full, config->environment, config->value, config->type,
                         &config->value);
    if (e == ERR_OK)
        return check_rounds(c, config);
    struct rest_fault f = { .environment = config->environment,
                            .key = config->key,
                            .pointer = arena_copy(c->arena, r->pointer),
                            .message = arena_copy(c->arena, span_text(r->detail)) };
    add_fault(c, e, &f);
    return false;
}

static void tell_missed(void *context, enum link_kind kind, struct span key,
                        struct span environment, struct span name)
{
    struct checking *c = context;
    struct rest_fault f = { .environment = c->missed.environment,
                            .key = arena_copy(c->arena, c->missed.name) };
    missed_fault(c->world, kind, key, environment, name, c->arena, &f);
    add_fault(c, ERR_REFERRED, &f);
}

/* What others refer to stays, unless it is meant. now: what stands there. */
static void check_taken(struct checking *c, struct span key, struct span after)
{
    const struct kv_version *now = kv_get(c->kv, key, 0);
    enum link_kind kind;
    struct span environment, name;
    if (c->leave->forced || !now || !link_of_key(key, &kind, &environment, &name))
        return;
    c->missed.scratch = c->scratch;
    if (kind == LINK_RULE)
        missed_rules(&c->missed, environment, kv_value(now), after);
    else
        missed_look(&c->missed, kind, environment, name);
}

static bool check_config(struct checking *c, struct config *config)
{
    struct rule_walk walk = { .key = config->key };
    if (!check_references(c, config))
        return true; /* the others may still be told */
    while (c->schemas && rule_next(&walk)) {
        const struct kv_version *v = rule_at(c->kv, REST_SCHEMAS, walk.name, c->scratch);
        if (v && !check_one(c, config, walk.name, compiled_get(c->world->schemas, v)))
            return false;
    }
    return true;
}

/* ---- what becomes a rule ---- */

static void check_count(struct checking *c, const char *root, struct span key)
{
    struct rest_fault f = { .message = span_text(err_text(ERR_RULES_TOO_MANY)) };
    if (!kv_get(c->kv, key, 0) && rule_count(c->kv, root, c->scratch) >= REST_RULES_MAX)
        add_fault(c, ERR_RULES_TOO_MANY, &f);
}

static void check_schema(struct checking *c, const struct kv_put *put)
{
    struct schema_report *report = ARENA_NEW(c->scratch, struct schema_report);
    report->arena = c->arena;
    check_count(c, REST_SCHEMAS, put->key);
    enum err e = schema_text_check(c->world->schemas, put->value, report);
    for (size_t i = 0; i < report->n; i++) {
        struct rest_fault f = { .pointer = report->items[i].pointer,
                                .message = report->items[i].message };
        add_fault(c, e, &f);
    }
    c->faults->more = c->faults->more || report->more;
    c->err = c->err == ERR_OK ? e : c->err;
}

static void tell_guard(void *context, struct span pointer, const char *why)
{
    struct rest_fault f = { .pointer = pointer, .message = span_text(why) };
    add_fault(context, ERR_GUARD_INVALID, &f);
}

static void check_guard(struct checking *c, const struct kv_put *put)
{
    struct guard any;
    check_count(c, REST_GUARDS, put->key);
    if (!guard_read(put->value, c->arena, &any, tell_guard, c))
        CHECK(c->err != ERR_OK);
}

/* ---- configs by their guards ---- */

static void not_a_guard(void *context, struct span pointer, const char *why)
{
    (void)context, (void)pointer, (void)why;
}

static void guard_one(struct checking *c, const struct config *config, bool deletes,
                      struct span name, const struct kv_version *v)
{
    struct guard g;
    struct rest_fault f = { .environment = config->environment,
                            .key = config->key,
                            .by = "guard",
                            .name = arena_copy(c->arena, name) };
    if (!guard_read(kv_value(v), c->arena, &g, not_a_guard, NULL)) {
        f.message = SPAN("what stands under this name is not a guard");
        add_fault(c, ERR_GUARD_INVALID, &f);
        return;
    }
    if (!guard_is_of(&g, config->environment))
        return;
    f.message = span_text(err_text(ERR_GUARD_SIZE));
    if (!deletes && g.value_bytes_max >= 0 && (int64_t)config->value.len > g.value_bytes_max)
        add_fault(c, ERR_GUARD_SIZE, &f);
    f.message = span_text(err_text(ERR_GUARD_APPROVALS));
    if (g.approvals > c->leave->approvals)
        add_fault(c, ERR_GUARD_APPROVALS, &f);
    if (deletes && g.deleted_percent_max >= 0 && !c->leave->confirmed)
        guard_deletes(&c->deleted, &g, config->environment, f.name, c->arena);
}

static void guard_config(struct checking *c, const struct config *config, bool deletes)
{
    struct rule_walk walk = { .key = config->key };
    while (rule_next(&walk)) {
        const struct kv_version *v = rule_at(c->kv, REST_GUARDS, walk.name, c->scratch);
        if (v)
            guard_one(c, config, deletes, walk.name, v);
    }
}

static void check_deleted(struct checking *c)
{
    for (size_t i = 0; i < c->deleted.n; i++) {
        struct rest_fault f = { .by = "guard" };
        const char *why;
        if (!guard_exceeded(&c->deleted, i, c->kv, c->arena, &f.environment, &f.name, &why))
            continue;
        f.message = span_text(why);
        add_fault(c, ERR_GUARD_DELETES, &f);
    }
}

/* ---- a transaction ---- */

/* Holds as long as no rule below root is written after what is seen now. One compare for all of
 * them, so that a rule which comes to be is noticed too; how many there may be bounds its cost. */
static struct kv_compare unchanged(const struct kv *kv, const char *root, struct arena *arena)
{
    struct kv_compare out = { .key = span_text(root),
                              .target = KV_IF_MOD,
                              .result = KV_IF_LESS,
                              .number = kv_revision(kv) + 1 };
    out.range_end = kv_prefix_end(out.key, arena);
    return out;
}

static enum err add_guards(struct checking *c, struct kv_txn *txn, struct kv_txn *guards)
{
    size_t n = txn->n_compares, more = 0;
    struct kv_compare *all = ARENA_ARRAY(c->arena, struct kv_compare, KV_OPS_MAX);
    if (n + REST_GUARDS_MAX > KV_OPS_MAX)
        return ERR_TOO_MANY_OPS;
    if (n)
        memcpy(all, txn->compares, n * sizeof(*all));
    all[n] = unchanged(c->kv, REST_SCHEMAS, c->arena);
    all[n + 1] = unchanged(c->kv, REST_GUARDS, c->arena);
    if (!seen_guards(&c->seen, c->world, c->kv, all + n + REST_GUARDS_MAX,
                     KV_OPS_MAX - n - REST_GUARDS_MAX, &more)) {
        struct rest_fault f = { .message = SPAN("what it refers to is too much to be watched while "
                                                "it is written: write fewer configs at once") };
        add_fault(c, ERR_REFERENCE_LIMIT, &f);
        return c->err;
    }
    *guards = (struct kv_txn){ .compares = &all[n], .n_compares = REST_GUARDS_MAX + more };
    txn->compares = all;
    txn->n_compares = n + guards->n_compares;
    return ERR_OK;
}

/* Routes delete configs one by one, never by range. False: nothing more can be told. */
static bool check_change(struct checking *c, struct span key, struct span value, uint8_t type,
                         bool deletes)
{
    struct config config = { .full = key, .value = value, .type = type };
    config_split(key, &config.environment, &config.key);
    if (c->guards)
        guard_config(c, &config, deletes);
    if (deletes && !c->leave->forced)
        (void)check_rounds(c, &config); /* of what stands above */
    return deletes || check_config(c, &config);
}

/* *configs: it changes one. */
static bool check_op(struct checking *c, const struct kv_op *op, bool *configs)
{
    bool deletes = op->type == KV_OP_DELETE;
    struct span key = deletes ? op->del.key : op->put.key;
    if (op->type != KV_OP_PUT && !deletes)
        return true;
    if (deletes || span_starts(key, SPAN(REST_FLAGSETS)))
        check_taken(c, key, deletes ? SPAN_NONE : op->put.value);
    if (span_starts(key, SPAN(REST_SCHEMAS)) && !deletes)
        check_schema(c, &op->put);
    if (span_starts(key, SPAN(REST_GUARDS)) && !deletes)
        check_guard(c, &op->put);
    if (!span_starts(key, SPAN(REST_CONFIGS)))
        return true;
    *configs = true;
    return check_change(c, key, deletes ? SPAN_NONE : op->put.value, deletes ? 0 : op->put.type,
                        deletes);
}

enum err rest_check_txn(const struct rest_world *world, const struct rest_leave *leave,
                        const struct kv *kv, struct kv_txn *txn, struct arena *arena,
                        struct kv_txn *guards, struct rest_faults *faults)
{
    struct arena scratch;
    struct checking c = { .world = world, .leave = leave, .kv = kv, .arena = arena,
                          .scratch = &scratch, .faults = faults };
    c.seen.arena = arena;
    c.missed = (struct missed){ .world = world, .kv = kv, .txn = txn, .tell = tell_missed,
                                .context = &c };
    c.resolving = (struct resolving){ .world = world, .kv = kv, .txn = txn, .seen = &c.seen };
    bool configs = false, go_on = true;
    arena_open(&scratch, arena->alloc);
    arena_open(&c.kept, arena->alloc);
    c.schemas = rule_count(kv, REST_SCHEMAS, &scratch) > 0;
    c.guards = rule_count(kv, REST_GUARDS, &scratch) > 0;
    for (size_t i = 0; i < txn->n_success && go_on; i++) {
        go_on = check_op(&c, &txn->success[i], &configs);
        arena_reset(&scratch);
    }
    check_deleted(&c);
    arena_close(&scratch);
    arena_close(&c.kept);
    return c.err == ERR_OK && configs ? add_guards(&c, txn, guards) : c.err;
}

bool rest_check(struct rest_call *call, const struct kv *kv, struct arena *arena,
                struct rest_answer *refusal)
{
    struct request *r = &call->request;
    struct rest_faults faults = { 0 };
    const struct rest_world *world = call->world;
    CHECK(world);
    if (r->type != REQUEST_TXN && call->dry_run) {
        rest_problem(ERR_NOT_BUILT, "this has no dry run", arena, refusal);
        return false;
    }
    if (r->type != REQUEST_TXN)
        return true;
    call->asked = *r;
    call->guards = (struct kv_txn){ 0 };
    enum err e =
        rest_check_txn(world, &call->leave, kv, &r->txn, arena, &call->guards, &faults);
    bool dry = call->dry_run || (call->change && call->change->dry_run);
    if (e == ERR_OK && !dry)
        return true;
    enum err may = world->permits ? world->permits(world->context, r) : ERR_OK;
    if (may == ERR_OK && e == ERR_OK && world->would)
        may = world->would(world->context, r);
    if (may != ERR_OK) /* then nothing is told about schemas */
        rest_problem(may, NULL, arena, refusal);
    else if (e != ERR_OK)
        faults_answer(e, NULL, &faults, arena, refusal);
    else if (call->change)
        change_plan_answer(call->change, kv, arena, refusal);
    else
        dry_answer(call, kv, arena, refusal);
    return false;
}

bool rest_again(struct rest_call *call, const struct kv *kv, const struct reply *reply)
{
    if (reply->err != ERR_OK || reply->type != REQUEST_TXN || reply->txn.succeeded ||
        kv_compares_hold(kv, &call->guards))
        return false;
    call->request = call->asked;
    return true;
}

/* ---- what a new schema finds ---- */

enum {
    REPORT_VALUES_MAX = 1000,       /* looked at */
    REPORT_ENVIRONMENTS_MAX = 200,
    REPORT_BYTES_MAX = 4 << 20,     /* of values */
    REPORT_EXAMPLES_MAX = 10,
};

struct finding {
    struct checking checking;
    struct span name;
    size_t looked, broken, bytes;
    bool complete;
};

static bool may_read(struct checking *c, const struct kv_range *range)
{
    struct request r = { .type = REQUEST_RANGE, .range = *range };
    return !c->world->permits || c->world->permits(c->world->context, &r) == ERR_OK;
}

static void look_at(struct finding *f, const struct kv_version *v, const struct schema *schema)
{
    struct checking *c = &f->checking;
    struct rest_faults *faults = c->faults;
    struct config config = { .value = kv_value(v), .type = v->type };
    size_t before = faults->n;
    config_split(kv_key(v), &config.environment, &config.key);
    c->err = ERR_OK;
    f->looked++;
    f->bytes += v->value_size;
    if (!check_one(c, &config, f->name, schema) && c->err == ERR_SCHEMA_STEPS)
        f->complete = false;
    f->broken += c->err != ERR_OK;
    faults->n = c->err == ERR_OK || before == REPORT_EXAMPLES_MAX ? before : before + 1;
    faults->more = false;
    arena_reset(c->scratch);
}

static void look_in(struct finding *f, struct span environment, const struct schema *schema)
{
    struct checking *c = &f->checking;
    bool prefix = !f->name.len || f->name.data[f->name.len - 1] == '/';
    struct kv_range range = { .key = config_key(c->arena, environment, f->name),
                              .limit = (int64_t)(REPORT_VALUES_MAX - f->looked) + 1 };
    struct kv_range_result found;
    if (prefix)
        range.range_end = kv_prefix_end(range.key, c->arena);
    if (!may_read(c, &range)) {
        f->complete = false;
        return;
    }
    enum err e = kv_range(c->kv, &range, c->arena, &found);
    CHECK(e == ERR_OK);
    for (size_t i = 0; i < found.n && f->complete; i++) {
        if (f->looked == REPORT_VALUES_MAX || f->bytes > REPORT_BYTES_MAX)
            f->complete = false;
        else
            look_at(f, found.items[i], schema);
    }
}

/* From one environment that has configs to the next. */
static void look_around(struct finding *f, const struct schema *schema)
{
    struct checking *c = &f->checking;
    struct kv_range r = { .key = SPAN(REST_CONFIGS), .limit = 1, .keys_only = true };
    struct kv_range_result found;
    r.range_end = kv_prefix_end(r.key, c->arena);
    for (int i = 0; f->complete; i++) {
        struct span environment, key;
        enum err e = kv_range(c->kv, &r, c->arena, &found);
        CHECK(e == ERR_OK);
        if (!found.n)
            return;
        config_split(kv_key(found.items[0]), &environment, &key);
        if (i == REPORT_ENVIRONMENTS_MAX)
            f->complete = false;
        else
            look_in(f, environment, schema);
        r.key = kv_prefix_end(config_key(c->arena, environment, SPAN_NONE), c->arena);
    }
}

void schema_report_write(const struct rest_call *call, const struct kv *kv,
                         struct span text, struct arena *arena, struct jsonw *w)
{
    struct arena scratch;
    struct rest_faults faults = { 0 };
    struct finding f = { .checking = { .world = call->world,
                                      .kv = kv,
                                      .arena = arena,
                                      .scratch = &scratch,
                                      .faults = &faults },
                         .name = call->key,
                         .complete = true };
    arena_open(&scratch, arena->alloc);
    struct schema *schema = schema_make(call->world->schemas, text);
    if (schema)
        look_around(&f, schema);
    schema_free(schema);
    arena_close(&scratch);
    jsonw_name(w, "values");
    jsonw_object(w);
    jsonw_name(w, "checked");
    jsonw_number(w, (int64_t)f.looked);
    jsonw_name(w, "broken");
    jsonw_number(w, (int64_t)f.broken);
    jsonw_name(w, "complete");
    jsonw_bool(w, f.complete);
    faults_write(w, &faults);
    jsonw_object_end(w);
}
