/* /v1/subscribe: what is asked on a connection of subscriptions, and told there, as JSON.
 * push.def has all messages. */
#include "api/rest/draft.h"
#include "base/check.h"

/* ---- what a client says ---- */

static const struct {
    const char *name, *members;
} asks[PUSH_ASKS] = {
#define ASK(NAME, name, members, text) [PUSH_##NAME] = { name, members },
#define TELL(NAME, name, members, text)
#include "api/rest/push.def"
#undef ASK
#undef TELL
};

static const char *const tells[PUSH_TELLS] = {
#define ASK(NAME, name, members, text)
#define TELL(NAME, name, members, text) [PUSH_##NAME] = name,
#include "api/rest/push.def"
#undef ASK
#undef TELL
};

struct reading {
    struct arena *arena;
    const json_t *json;
    struct push_message *out;
    const char **detail;
    size_t wants; /* of key, prefix and flags */
};

static enum err refuse(struct reading *r, const char *detail)
{
    *r->detail = detail;
    return ERR_BAD_REQUEST;
}

/* Whether the list has the word; *must: without ?. */
static bool lists(const char *members, const char *word, bool *must)
{
    size_t len = strlen(word);
    for (const char *m = members; *m;) {
        size_t n = strcspn(m, " ");
        *must = m[n - 1] != '?';
        if (n - !*must == len && memcmp(m, word, len) == 0)
            return true;
        m += n;
        m += strspn(m, " ");
    }
    return false;
}

static enum err wrong_member(struct reading *r, const char *name, const char *why)
{
    struct buf b;
    buf_open(&b, r->arena->alloc);
    buf_format(&b, "/%.100s: %s; a %s has: %s", name, why, asks[r->out->ask].name,
               asks[r->out->ask].members);
    *r->detail = arena_text(r->arena, buf_all(&b));
    buf_close(&b);
    return ERR_BAD_REQUEST;
}

static struct span text_of(struct reading *r, const json_t *value)
{
    return arena_copy(r->arena, span_of(json_string_value(value), json_string_length(value)));
}

static enum err take_number(struct reading *r, const char *name, const json_t *value, bool *has,
                            int64_t *out)
{
    *has = json_is_integer(value);
    *out = *has ? json_integer_value(value) : -1;
    bool good = *out >= 0 && *out <= INT64_MAX - 1;
    return good ? ERR_OK : wrong_member(r, name, "must be a whole number, 0 or more");
}

static enum err take_labels(struct reading *r, const json_t *value)
{
    const char *name;
    json_t *own = json_incref((json_t *)(uintptr_t)value), *label;
    bool texts = json_is_object(value);
    if (texts)
        json_object_foreach(own, name, label)
        {
            texts = texts && json_is_string(label);
        }
    json_decref(own);
    char *text = arena_alloc(r->arena, DELIVERY_LABELS_MAX);
    size_t n = texts ? json_dumpb(value, text, DELIVERY_LABELS_MAX, JSON_COMPACT) : 0;
    if (!texts || n > DELIVERY_LABELS_MAX)
        return refuse(r, "/labels: must be an object of texts, 1024 bytes at most");
    r->out->labels = span_of(text, n);
    return ERR_OK;
}

static enum err take_want(struct reading *r, enum delivery_kind kind, struct span text)
{
    r->wants++;
    r->out->kind = (uint8_t)kind;
    r->out->text = text;
    return ERR_OK;
}

static enum err take_text(struct reading *r, const char *name, struct span text)
{
    struct push_message *m = r->out;
    if (strcmp(name, "key") == 0)
        return take_want(r, DELIVERY_KEY, text);
    if (strcmp(name, "prefix") == 0)
        return take_want(r, DELIVERY_PREFIX, text);
    if (strcmp(name, "flags") == 0)
        return take_want(r, DELIVERY_FLAGS, text);
    if (strcmp(name, "environment") == 0)
        m->environment = text;
    else if (strcmp(name, "client") == 0)
        m->client = text;
    else if (strcmp(name, "instance") == 0)
        m->instance = text;
    else if (strcmp(name, "error") == 0)
        m->error = text;
    else if (strcmp(name, "topic") == 0)
        return push_topic(text, m) ? ERR_OK
                                   : wrong_member(r, name, "must be drafts or deliveries");
    return ERR_OK;
}

bool push_topic(struct span word, struct push_message *out)
{
    out->topic = span_is(word, "drafts") ? PUSH_OF_DRAFTS : PUSH_OF_DELIVERIES;
    return out->topic == PUSH_OF_DRAFTS || span_is(word, "deliveries");
}

static enum err take_member(struct reading *r, const char *name, const json_t *value)
{
    struct push_message *m = r->out;
    bool has;
    if (strcmp(name, "type") == 0)
        return ERR_OK;
    if (!lists(asks[m->ask].members, name, &has))
        return wrong_member(r, name, "unknown member");
    if (strcmp(name, "id") == 0)
        return take_number(r, name, value, &m->has_id, &m->id);
    if (strcmp(name, "revision") == 0)
        return take_number(r, name, value, &m->has_revision, &m->revision);
    if (strcmp(name, "runs") == 0)
        return take_number(r, name, value, &m->has_runs, &m->runs);
    if (strcmp(name, "labels") == 0)
        return take_labels(r, value);
    if (strcmp(name, "own") == 0) {
        m->own = json_is_true(value);
        return json_is_boolean(value) ? ERR_OK : wrong_member(r, name, "must be true or false");
    }
    if (!json_is_string(value))
        return wrong_member(r, name, "must be a text");
    return take_text(r, name, text_of(r, value));
}

/* What no member shows alone. */
static enum err check(struct reading *r)
{
    struct push_message *m = r->out;
    bool long_name = m->client.len > DELIVERY_NAME_MAX || m->instance.len > DELIVERY_NAME_MAX;
    if ((m->ask == PUSH_HELLO && !m->client.len) || long_name)
        return refuse(r, "/client and /instance: names have 1 to 128 bytes");
    if (m->ask == PUSH_SUBSCRIBE && m->client.len && m->topic != PUSH_OF_DELIVERIES)
        return refuse(r, "/client: belongs to topic deliveries; a client names itself with hello");
    const char *why = m->ask == PUSH_SUBSCRIBE ? push_wants(m, r->wants) : NULL;
    return why ? refuse(r, why) : ERR_OK;
}

/* All drafts are one thing, whoever asks for them. */
static const char *wants_drafts(struct push_message *m, size_t wants)
{
    if (wants)
        return "drafts are told of all together: without key, prefix and flags";
    m->kind = DELIVERY_DRAFTS;
    m->environment = SPAN_NONE;
    m->own = true;
    return NULL;
}

const char *push_wants(struct push_message *m, size_t wants)
{
    m->has_text = wants > 0;
    if (!environment_name(m->environment))
        return REST_ENVIRONMENT_RULE;
    if (m->topic == PUSH_OF_DRAFTS)
        return wants_drafts(m, wants);
    if (wants > 1 || (!wants && m->topic == PUSH_OF_CONFIGS))
        return "give one of key, prefix and flags (an empty prefix is everything)";
    if (m->text.len > REST_KEY_MAX)
        return "a key is not longer than 256 bytes";
    return wants && m->kind == DELIVERY_KEY && !m->text.len ? "/key: is empty" : NULL;
}

static enum err read_ask(struct reading *r)
{
    const json_t *type = json_object_get(r->json, "type");
    struct span name = json_is_string(type) ? text_of(r, type) : SPAN_NONE;
    for (int i = 0; i < PUSH_ASKS; i++)
        if (span_is(name, asks[i].name)) {
            r->out->ask = (enum push_ask)i;
            return ERR_OK;
        }
    return refuse(r, "/type: must be hello, subscribe, unsubscribe, ack or ping");
}

static enum err read_members(struct reading *r, json_t *json)
{
    const char *name;
    json_t *value;
    enum err e = read_ask(r);
    if (e != ERR_OK)
        return e;
    json_object_foreach(json, name, value)
    {
        e = take_member(r, name, value);
        if (e != ERR_OK)
            return e;
    }
    for (const char *m = asks[r->out->ask].members; *m;) {
        char word[16] = { 0 };
        size_t n = strcspn(m, " ");
        CHECK(n < sizeof(word));
        memcpy(word, m, n);
        if (word[n - 1] != '?' && !json_object_get(json, word))
            return wrong_member(r, word, "is missing");
        m += n;
        m += strspn(m, " ");
    }
    return check(r);
}

enum err rest_push_read(struct span text, struct arena *arena, struct push_message *out,
                        const char **detail)
{
    char *why = arena_alloc(arena, JSONR_WHY_MAX);
    json_t *json;
    *out = (struct push_message){ .environment = SPAN("default") };
    *detail = NULL;
    enum err e = jsonr_read(text, &json, why);
    if (e != ERR_OK) {
        *detail = e == ERR_BODY_NOT_JSON ? why : NULL;
        return e;
    }
    struct reading r = { .arena = arena, .json = json, .out = out, .detail = detail };
    e = json_is_object(json) ? read_members(&r, json)
                             : refuse(&r, "a message is an object: {\"type\": ...}");
    json_decref(json);
    return e;
}

/* ---- where things stand in the key space ---- */

#define FLAG_ROOT "confman/flag/"
#define FLAGSET_ROOT "confman/flagset/"

static struct span join(struct arena *arena, const char *root, struct span environment,
                        const char *slash, struct span text)
{
    struct buf b;
    buf_open(&b, arena->alloc);
    buf_text(&b, root);
    buf_span(&b, environment);
    buf_text(&b, slash);
    buf_span(&b, text);
    struct span out = arena_copy(arena, buf_all(&b));
    buf_close(&b);
    return out;
}

size_t rest_push_levels(const struct kv *kv, const struct delivery_scope *s, int64_t revision,
                        struct arena *arena, struct span *out)
{
    out[0] = s->environment;
    return s->own ? 1 : environment_chain(kv, s->environment, revision, arena, out);
}

size_t rest_push_ranges(const struct delivery_scope *s, struct arena *arena, struct push_range *out)
{
    size_t n = 0;
    bool flags = s->kind == DELIVERY_FLAGS;
    if (s->kind == DELIVERY_DRAFTS) {
        out[0] = (struct push_range){ SPAN(DRAFTS), SPAN("confman/draft0") };
        return 1;
    }
    for (size_t i = 0; i < s->n_levels; i++) {
        struct span key = join(arena, flags ? FLAG_ROOT : REST_CONFIGS, s->levels[i], "/", s->text);
        bool one = s->kind == DELIVERY_KEY;
        out[n++] = (struct push_range){ key, one ? SPAN_NONE : kv_prefix_end(key, arena) };
    }
    for (size_t i = 0; i < s->n_levels && flags; i++) /* behind those of flags: fewer may do */
        out[n++] = (struct push_range){ join(arena, FLAGSET_ROOT, s->levels[i], "", SPAN_NONE),
                                        SPAN_NONE };
    return n;
}

struct push_range rest_push_whole(const struct delivery_scope *s)
{
    CHECK(s->kind != DELIVERY_DRAFTS); /* that is one range */
    if (s->kind == DELIVERY_FLAGS)
        return (struct push_range){ SPAN("confman/flag"), SPAN("confman/flah") };
    return (struct push_range){ SPAN(REST_CONFIGS), SPAN("confman/config0") };
}

bool rest_push_of_environments(struct span key)
{
    return span_starts(key, SPAN(REST_ENVIRONMENTS));
}

struct push_range rest_push_environments(void)
{
    return (struct push_range){ SPAN(REST_ENVIRONMENTS), SPAN("confman/env0") };
}

/* ---- what changed for a scope: of a key that several of its environments have, the nearest one
 * counts ---- */

static size_t level_of(const struct delivery_scope *s, struct span environment)
{
    size_t i = 0;
    while (i < s->n_levels && !span_equal(s->levels[i], environment))
        i++;
    return i;
}

static bool wants(const struct delivery_scope *s, struct span text)
{
    return s->kind == DELIVERY_KEY ? span_equal(text, s->text) : span_starts(text, s->text);
}

/* The version that counts since a change of this key, and which level has it; NULL: none does any
 * more. False: the change is none for this scope. root: REST_CONFIGS, FLAG_ROOT. */
static bool effective(const struct kv *kv, const struct delivery_scope *s, const char *root,
                      const struct kv_version *now, struct arena *arena, struct span *key,
                      const struct kv_version **out, size_t *from)
{
    if (!span_starts(kv_key(now), span_text(root)))
        return false;
    struct span rest = span_from(kv_key(now), strlen(root));
    const uint8_t *slash = rest.len ? memchr(rest.data, '/', rest.len) : NULL;
    struct span environment = span_of(rest.data, slash ? (size_t)(slash - rest.data) : rest.len);
    *key = span_from(rest, environment.len + (slash != NULL));
    size_t level = *from = level_of(s, environment);
    if (level == s->n_levels || !wants(s, *key))
        return false;
    for (size_t i = 0; i < level; i++)
        if (kv_get(kv, join(arena, root, s->levels[i], "/", *key), now->mod_revision))
            return false;
    *out = now->tombstone ? NULL : now;
    for (size_t i = level + 1; i < s->n_levels && !*out; i++) {
        *out = kv_get(kv, join(arena, root, s->levels[i], "/", *key), now->mod_revision);
        *from = i;
    }
    return true;
}

static void gone_write(struct jsonw *w, const char *member, struct span name,
                       struct span environment)
{
    jsonw_object(w);
    jsonw_name(w, member);
    jsonw_text(w, name);
    jsonw_name(w, "environment");
    jsonw_text(w, environment);
    jsonw_name(w, "deleted");
    jsonw_bool(w, true);
    jsonw_object_end(w);
}

static bool config_change(struct jsonw *w, const struct kv *kv, const struct delivery_scope *s,
                          const struct kv_version *now, struct arena *arena)
{
    const struct kv_version *v;
    struct span key;
    size_t from;
    if (!effective(kv, s, REST_CONFIGS, now, arena, &key, &v, &from))
        return false;
    if (v)
        item_write(w, kv, v, s->environment);
    else
        gone_write(w, "key", key, s->environment);
    return true;
}

/* What flags share is told of wherever it stands: rules of all levels come together. */
static bool flag_change(struct jsonw *w, const struct kv *kv, const struct delivery_scope *s,
                        const struct kv_version *now, struct arena *arena)
{
    const struct kv_version *v = now->tombstone ? NULL : now;
    struct span name = SPAN("$evaluators"), key = kv_key(now);
    size_t from = s->n_levels;
    if (span_starts(key, SPAN(FLAGSET_ROOT)))
        from = level_of(s, span_from(key, sizeof(FLAGSET_ROOT) - 1));
    if (from == s->n_levels && !effective(kv, s, FLAG_ROOT, now, arena, &name, &v, &from))
        return false;
    if (!v) {
        gone_write(w, "flag", name, s->environment);
        return true;
    }
    jsonw_object(w);
    jsonw_name(w, "flag");
    jsonw_text(w, name);
    jsonw_name(w, "environment");
    jsonw_text(w, s->environment);
    if (from) {
        jsonw_name(w, "from");
        jsonw_text(w, s->levels[from]);
    }
    flag_definition_write(w, v);
    jsonw_object_end(w);
    return true;
}

/* Keys of one draft stand together: it is told once. */
static bool draft_change(struct jsonw *w, const struct kv_version *now, int64_t *before)
{
    struct span digits = span_from(kv_key(now), sizeof(DRAFTS) - 1);
    const uint8_t *slash = digits.len ? memchr(digits.data, '/', digits.len) : NULL;
    int64_t id;
    digits = slash ? span_of(digits.data, (size_t)(slash - digits.data)) : digits;
    if (!number_read(digits, &id) || id == *before)
        return false;
    *before = id;
    jsonw_object(w);
    jsonw_name(w, "draft");
    jsonw_number(w, id);
    if (now->tombstone && !slash) {
        jsonw_name(w, "deleted");
        jsonw_bool(w, true);
    }
    jsonw_object_end(w);
    return true;
}

bool rest_push_changes(const struct kv *kv, const struct delivery_scope *s,
                       const struct kv_change *const *changes, size_t n, struct arena *arena,
                       struct buf *out)
{
    struct jsonw w;
    int64_t draft = -1;
    bool any = false;
    CHECK(n > 0);
    jsonw_open(&w, out);
    buf_format(out, "\"revision\":%lld,\"changes\":", (long long)changes[0]->now->mod_revision);
    jsonw_array(&w);
    for (size_t i = 0; i < n; i++) {
        const struct kv_version *now = changes[i]->now;
        any = (s->kind == DELIVERY_DRAFTS  ? draft_change(&w, now, &draft)
               : s->kind == DELIVERY_FLAGS ? flag_change(&w, kv, s, now, arena)
                                           : config_change(&w, kv, s, now, arena)) ||
              any;
    }
    jsonw_array_end(&w);
    buf_u8(out, '}');
    return any;
}

void rest_push_head(enum push_tell tell, int64_t id, struct buf *out)
{
    buf_format(out, "{\"type\":\"%s\",\"id\":%lld,", tells[tell], (long long)id);
}

/* ---- what else the server says ---- */

static void open_tell(struct jsonw *w, enum push_tell tell, const int64_t *id, struct buf *out)
{
    jsonw_open(w, out);
    jsonw_object(w);
    jsonw_name(w, "type");
    jsonw_text(w, span_text(tells[tell]));
    if (id) {
        jsonw_name(w, "id");
        jsonw_number(w, *id);
    }
}

const char *rest_push_name(enum push_tell tell)
{
    return tells[tell];
}

void rest_push_tell(enum push_tell tell, const int64_t *id, const int64_t *revision,
                    struct buf *out)
{
    struct jsonw w;
    open_tell(&w, tell, id, out);
    if (revision) {
        jsonw_name(&w, "revision");
        jsonw_number(&w, *revision);
    }
    jsonw_object_end(&w);
}

void rest_push_refused(enum push_tell tell, const int64_t *id, enum err e, const char *detail,
                       struct buf *out)
{
    struct jsonw w;
    open_tell(&w, tell, id, out);
    if (tell == PUSH_ERROR) {
        jsonw_name(&w, "code");
        jsonw_text(&w, span_text(err_code(e)));
    }
    jsonw_name(&w, "detail");
    jsonw_text(&w, span_text(detail ? detail : err_text(e)));
    jsonw_object_end(&w);
}

static void places_write(struct jsonw *w, const struct push_place *p)
{
    jsonw_name(w, "reconnect_ms");
    jsonw_number(w, p->reconnect_ms);
    jsonw_name(w, "endpoints");
    jsonw_array(w);
    for (size_t i = 0; i < p->n; i++)
        jsonw_text(w, p->endpoints[i]);
    jsonw_array_end(w);
}

void rest_push_welcome(int64_t revision, uint64_t member, const char *stream, int64_t ping_ms,
                       const struct push_place *p, struct buf *out)
{
    struct jsonw w;
    open_tell(&w, PUSH_WELCOME, NULL, out);
    jsonw_name(&w, "revision");
    jsonw_number(&w, revision);
    write_id(&w, "member", member);
    if (stream) {
        jsonw_name(&w, "stream");
        jsonw_text(&w, span_text(stream));
    }
    jsonw_name(&w, "ping_ms");
    jsonw_number(&w, ping_ms);
    places_write(&w, p);
    jsonw_object_end(&w);
}

void rest_push_goodbye(const struct push_place *p, struct buf *out)
{
    struct jsonw w;
    open_tell(&w, PUSH_GOODBYE, NULL, out);
    places_write(&w, p);
    jsonw_object_end(&w);
}
