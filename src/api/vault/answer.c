/* Answers in Vault's form. */
#include "api/vault/vault.h"
#include "base/check.h"
#include "base/version.h"
#include "wire/json/json.h"

#define VAULT_VERSION "1.13.0" /* whose API we speak; some clients decide by it what they send */

struct answer {
    struct buf b;
    struct jsonw w;
    struct arena *arena;
};

static void begin(struct answer *a, struct arena *arena)
{
    a->arena = arena;
    buf_open(&a->b, arena->alloc);
    jsonw_open(&a->w, &a->b);
    jsonw_object(&a->w);
}

/* What clear text was written to is wiped. */
static void end(struct answer *a, int status, struct rest_answer *out)
{
    jsonw_object_end(&a->w);
    buf_u8(&a->b, '\n');
    *out = (struct rest_answer){ .status = status,
                                 .body = arena_copy(a->arena, buf_all(&a->b)),
                                 .header_count = 2 };
    out->headers[0] = (struct http_header){ SPAN("content-type"), SPAN("application/json") };
    out->headers[1] = (struct http_header){ SPAN("cache-control"), SPAN("no-store") };
    memset(a->b.data, 0, a->b.len);
    buf_close(&a->b);
}

static void number(struct jsonw *w, const char *name, int64_t v)
{
    jsonw_name(w, name);
    jsonw_number(w, v);
}

static void text(struct jsonw *w, const char *name, struct span s)
{
    jsonw_name(w, name);
    jsonw_text(w, s);
}

static void whether(struct jsonw *w, const char *name, bool v)
{
    jsonw_name(w, name);
    jsonw_bool(w, v);
}

static void nothing(struct jsonw *w, const char *name)
{
    jsonw_name(w, name);
    jsonw_raw(w, SPAN("null"));
}

static void time_or_none(struct jsonw *w, const char *name, int64_t ms)
{
    jsonw_name(w, name);
    if (ms)
        jsonw_time(w, ms);
    else
        jsonw_text(w, SPAN_NONE);
}

/* What every answer has around its data. */
static void envelope(struct jsonw *w)
{
    text(w, "request_id", SPAN_NONE);
    text(w, "lease_id", SPAN_NONE);
    whether(w, "renewable", false);
    number(w, "lease_duration", 0);
    nothing(w, "wrap_info");
    nothing(w, "warnings");
}

static void begin_data(struct answer *a, struct arena *arena)
{
    begin(a, arena);
    envelope(&a->w);
    nothing(&a->w, "auth");
    jsonw_name(&a->w, "data");
    jsonw_object(&a->w);
}

static void end_data(struct answer *a, struct rest_answer *out)
{
    jsonw_object_end(&a->w);
    end(a, 200, out);
}

void vault_nothing(struct rest_answer *out)
{
    *out = (struct rest_answer){ .status = 204 };
}

/* ---- problems ---- */

static const struct {
    enum err err;
    int status;
    const char *text; /* NULL: ours */
} words[] = {
    { ERR_SEALED, 503, "Vault is sealed" },
    { ERR_SECRET_NOT_FOUND, 404, "" },
    { ERR_NOT_FOUND, 404, NULL },
    { ERR_SECRET_VERSION, 400, "check-and-set parameter did not match the current version" },
    { ERR_PERMISSION_DENIED, 403, "permission denied" },
    { ERR_USER_EMPTY, 403, "permission denied" },
    { ERR_AUTH_TOKEN, 403, "permission denied" },
    { ERR_AUTH_OLD_REVISION, 403, "permission denied" },
    { ERR_USER_NOT_FOUND, 403, "permission denied" },
    { ERR_AUTH_FAILED, 400, "invalid username or password" },
    { ERR_METHOD_NOT_ALLOWED, 405, "unsupported operation" },
    { ERR_BODY_NOT_JSON, 400, "failed to parse JSON input" },
};

void vault_problem(enum err e, const char *detail, struct arena *arena, struct rest_answer *out)
{
    struct answer a;
    int status = err_http(e);
    const char *said = detail ? detail : err_text(e);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (words[i].err == e) {
            status = words[i].status;
            said = words[i].text && !detail ? words[i].text : said;
        }
    begin(&a, arena);
    jsonw_name(&a.w, "errors");
    jsonw_array(&a.w);
    if (said[0])
        jsonw_text(&a.w, span_text(said));
    jsonw_array_end(&a.w);
    end(&a, status, out);
}

static unsigned digit_of(uint8_t c)
{
    return c <= '9' ? c - (unsigned)'0' : c - (unsigned)'a' + 10;
}

/* Bytes that came as hexadecimal digits. */
static void write_base64(struct jsonw *w, struct span hex)
{
    struct buf bytes, text;
    buf_open(&bytes, w->out->alloc);
    buf_open(&text, w->out->alloc);
    for (size_t i = 0; i + 1 < hex.len; i += 2)
        buf_u8(&bytes, (uint8_t)(digit_of(hex.data[i]) << 4 | digit_of(hex.data[i + 1])));
    jsonw_base64(buf_all(&bytes), false, &text);
    jsonw_text(w, buf_all(&text));
    memset(bytes.data, 0, bytes.len);
    memset(text.data, 0, text.len);
    buf_close(&bytes);
    buf_close(&text);
}

/* ---- secrets ---- */

static void write_custom(struct jsonw *w, struct span custom)
{
    jsonw_name(w, "custom_metadata");
    jsonw_raw(w, custom.len ? custom : SPAN("null"));
}

static void write_version(struct jsonw *w, const struct secret_version *v)
{
    time_or_none(w, "created_time", v->created_ms);
    time_or_none(w, "deletion_time", v->deleted_ms);
    whether(w, "destroyed", v->destroyed);
}

static void write_metadata(struct jsonw *w, const struct secret_answer *a)
{
    jsonw_name(w, "metadata");
    jsonw_object(w);
    write_version(w, a->version);
    number(w, "version", a->version->number);
    write_custom(w, a->secret->custom);
    jsonw_object_end(w);
}

/* As Go writes durations. */
static void write_after(struct jsonw *w, int64_t ms)
{
    uint8_t room[64];
    struct buf b = { .data = room, .cap = sizeof(room) };
    int64_t s = ms / 1000;
    if (s >= 3600)
        buf_format(&b, "%lldh", (long long)(s / 3600));
    if (s >= 60)
        buf_format(&b, "%lldm", (long long)(s / 60 % 60));
    buf_format(&b, "%llds", (long long)(s % 60));
    text(w, "delete_version_after", buf_all(&b));
}

static void write_versions(struct jsonw *w, const struct secret *s)
{
    uint8_t room[32];
    whether(w, "cas_required", s->check_required);
    time_or_none(w, "created_time", s->created_ms);
    number(w, "current_version", s->current);
    write_custom(w, s->custom);
    write_after(w, s->delete_after_ms);
    number(w, "max_versions", s->versions_max);
    number(w, "oldest_version", s->n && s->versions[0].number > 1 ? s->versions[0].number : 0);
    time_or_none(w, "updated_time", s->updated_ms);
    jsonw_name(w, "versions");
    jsonw_object(w);
    for (size_t i = 0; i < s->n; i++) {
        struct buf b = { .data = room, .cap = sizeof(room) };
        buf_format(&b, "%lld", (long long)s->versions[i].number);
        buf_u8(&b, 0);
        jsonw_name(w, (const char *)room);
        jsonw_object(w);
        write_version(w, &s->versions[i]);
        jsonw_object_end(w);
    }
    jsonw_object_end(w);
}

static void write_settings(struct jsonw *w, const struct secret_settings *s)
{
    whether(w, "cas_required", s->check_required);
    write_after(w, s->delete_after_ms);
    number(w, "max_versions", s->versions_max);
}

/* Names alone, objects as deep as they are asked for; what is deeper is told by nothing. */
static json_t *keys_of(json_t *value, int64_t depth)
{
    const char *name;
    json_t *inner, *out;
    if (!json_is_object(value) || !depth)
        return json_null();
    out = json_object();
    json_object_foreach(value, name, inner)
        json_object_set_new(out, name, keys_of(inner, depth - 1));
    return out;
}

static void write_subkeys(struct jsonw *w, const struct secret_answer *a)
{
    char why[JSONR_WHY_MAX];
    json_t *data;
    struct buf b;
    buf_open(&b, w->out->alloc);
    enum err e = jsonr_read(a->data.len ? a->data : SPAN("{}"), &data, why);
    CHECK(e == ERR_OK); /* it was JSON when it was sealed */
    json_t *keys = keys_of(data, a->ask->depth ? a->ask->depth : JSONR_DEPTH_MAX);
    jsonr_write(keys, &b);
    jsonw_name(w, "subkeys");
    jsonw_raw(w, a->data.len ? buf_all(&b) : SPAN("null"));
    json_decref(keys);
    json_decref(data);
    buf_close(&b);
}

static void write_mount(struct jsonw *w)
{
    text(w, "type", SPAN("kv"));
    text(w, "description", SPAN_NONE);
    text(w, "accessor", SPAN("kv_confman"));
    whether(w, "local", false);
    whether(w, "seal_wrap", false);
    whether(w, "external_entropy_access", false);
    jsonw_name(w, "options");
    jsonw_raw(w, SPAN("{\"version\":\"2\"}"));
    jsonw_name(w, "config");
    jsonw_raw(w, SPAN("{\"default_lease_ttl\":0,\"max_lease_ttl\":0,\"force_no_cache\":false}"));
}

static void write_mounts(struct jsonw *w, const struct secret_answer *a)
{
    for (size_t i = 0; i < a->n_names; i++) {
        struct buf b;
        buf_open(&b, w->out->alloc);
        buf_span(&b, a->names[i]);
        buf_put(&b, "/", 2);
        jsonw_name(w, (const char *)b.data);
        jsonw_object(w);
        write_mount(w);
        jsonw_object_end(w);
        buf_close(&b);
    }
}

/* Vault tells them in "data" and beside it. */
static void mounts(const struct secret_answer *a, struct arena *arena, struct rest_answer *out)
{
    struct answer x;
    begin(&x, arena);
    envelope(&x.w);
    nothing(&x.w, "auth");
    write_mounts(&x.w, a);
    jsonw_name(&x.w, "data");
    jsonw_object(&x.w);
    write_mounts(&x.w, a);
    end_data(&x, out);
}

/* A version that is deleted or destroyed is told of, as what is not there. */
static void data(const struct secret_answer *a, struct arena *arena, struct rest_answer *out)
{
    struct answer x;
    bool there = a->data.len > 0;
    begin_data(&x, arena);
    if (a->ask->verb == SECRET_SUBKEYS) {
        write_subkeys(&x.w, a);
    } else {
        jsonw_name(&x.w, "data");
        jsonw_raw(&x.w, there ? a->data : SPAN("null"));
    }
    write_metadata(&x.w, a);
    end_data(&x, out);
    out->status = there ? 200 : 404;
}

static void written(const struct secret_answer *a, struct arena *arena, struct rest_answer *out)
{
    struct answer x;
    begin_data(&x, arena);
    write_version(&x.w, a->version);
    number(&x.w, "version", a->version->number);
    write_custom(&x.w, a->secret->custom);
    end_data(&x, out);
}

static void settings(const struct secret_answer *a, enum vault_op op, struct arena *arena,
                     struct rest_answer *out)
{
    struct answer x;
    struct buf b;
    begin_data(&x, arena);
    if (op == VAULT_CONFIG) {
        write_settings(&x.w, a->settings);
    } else {
        buf_open(&b, arena->alloc);
        buf_span(&b, a->ask->name_space);
        buf_u8(&b, '/');
        write_mount(&x.w);
        text(&x.w, "path", buf_all(&b));
        buf_close(&b);
    }
    end_data(&x, out);
}

void vault_keys(const struct span *names, size_t n, struct arena *arena, struct rest_answer *out)
{
    struct answer x;
    if (!n) {
        vault_problem(ERR_SECRET_NOT_FOUND, NULL, arena, out);
        return;
    }
    begin_data(&x, arena);
    jsonw_name(&x.w, "keys");
    jsonw_array(&x.w);
    for (size_t i = 0; i < n; i++)
        jsonw_text(&x.w, names[i]);
    jsonw_array_end(&x.w);
    end_data(&x, out);
}

static void versions(const struct secret_answer *a, struct arena *arena, struct rest_answer *out)
{
    struct answer x;
    begin_data(&x, arena);
    write_versions(&x.w, a->secret);
    end_data(&x, out);
}

/* sys/init: whether there is a seal, or the shares of the one that was made. No token comes with
 * them: who may do what is asked as everywhere. */
static void seal_made(const struct secret_answer *a, struct arena *arena, struct rest_answer *out)
{
    struct answer x;
    begin(&x, arena);
    if (a->ask->verb == SECRET_STATUS) {
        whether(&x.w, "initialized", a->initialized);
        end(&x, 200, out);
        return;
    }
    jsonw_name(&x.w, "keys");
    jsonw_array(&x.w);
    for (size_t i = 0; i < a->n_names; i++)
        jsonw_text(&x.w, a->names[i]);
    jsonw_array_end(&x.w);
    jsonw_name(&x.w, "keys_base64");
    jsonw_array(&x.w);
    for (size_t i = 0; i < a->n_names; i++)
        write_base64(&x.w, a->names[i]);
    jsonw_array_end(&x.w);
    text(&x.w, "root_token", SPAN_NONE);
    end(&x, 200, out);
}

static void seal_told(const struct secret_answer *a, struct arena *arena, struct rest_answer *out)
{
    struct vault_seal s = { .initialized = a->initialized,
                            .sealed = a->sealed,
                            .type = a->seal_type,
                            .shares = a->shares,
                            .threshold = a->threshold,
                            .progress = a->progress };
    vault_seal_status(&s, arena, out);
}

void vault_secret(const struct secret_answer *a, enum vault_op op, struct arena *arena,
                  struct rest_answer *out)
{
    enum secret_verb verb = a->ask->verb;
    if (verb == SECRET_GET || verb == SECRET_SUBKEYS)
        data(a, arena, out);
    else if (verb == SECRET_PUT || verb == SECRET_PATCH)
        written(a, arena, out);
    else if (verb == SECRET_VERSIONS)
        versions(a, arena, out);
    else if (verb == SECRET_LIST)
        vault_keys(a->names, a->n_names, arena, out);
    else if (verb == SECRET_NAMESPACES)
        mounts(a, arena, out);
    else if (verb == SECRET_SETTINGS_GET)
        settings(a, op, arena, out);
    else if (verb == SECRET_STATUS || verb == SECRET_INIT)
        seal_made(a, arena, out);
    else if (verb == SECRET_UNSEAL)
        seal_told(a, arena, out);
    else
        vault_nothing(out);
}

/* ---- the server ---- */

static void write_cluster(struct jsonw *w, const struct vault_seal *s)
{
    if (s->sealed || !s->cluster_id.len)
        return;
    text(w, "cluster_name", s->cluster_name);
    text(w, "cluster_id", s->cluster_id);
}

/* Every member answers everything: none is a standby. */
void vault_health(const struct vault_call *c, const struct vault_seal *s, struct arena *arena,
                  struct rest_answer *out)
{
    struct answer x;
    int status = !s->initialized ? 501 : s->sealed ? 503 : 200;
    if (s->sealed && s->initialized && c->code[0])
        status = (int)c->code[0];
    if (!s->initialized && c->code[1])
        status = (int)c->code[1];
    begin(&x, arena);
    whether(&x.w, "initialized", s->initialized);
    whether(&x.w, "sealed", s->sealed);
    whether(&x.w, "standby", false);
    whether(&x.w, "performance_standby", false);
    text(&x.w, "replication_performance_mode", SPAN("disabled"));
    text(&x.w, "replication_dr_mode", SPAN("disabled"));
    number(&x.w, "server_time_utc", s->now_ms / 1000);
    text(&x.w, "version", SPAN(VAULT_VERSION "+confman." CONFMAN_VERSION));
    write_cluster(&x.w, s);
    end(&x, status, out);
}

void vault_seal_status(const struct vault_seal *s, struct arena *arena, struct rest_answer *out)
{
    struct answer x;
    begin(&x, arena);
    text(&x.w, "type", span_text(s->type));
    whether(&x.w, "initialized", s->initialized);
    whether(&x.w, "sealed", s->sealed);
    number(&x.w, "t", s->threshold);
    number(&x.w, "n", s->shares);
    number(&x.w, "progress", s->progress);
    text(&x.w, "nonce", SPAN_NONE);
    text(&x.w, "version", SPAN(VAULT_VERSION "+confman." CONFMAN_VERSION));
    text(&x.w, "build_date", SPAN_NONE);
    whether(&x.w, "migration", false);
    whether(&x.w, "recovery_seal", false);
    text(&x.w, "storage_type", SPAN("confman"));
    write_cluster(&x.w, s);
    end(&x, 200, out);
}

void vault_leader(const struct vault_seal *s, struct arena *arena, struct rest_answer *out)
{
    struct answer x;
    begin(&x, arena);
    whether(&x.w, "ha_enabled", true);
    whether(&x.w, "is_self", s->leads);
    text(&x.w, "leader_address", s->leader_url);
    text(&x.w, "leader_cluster_address", SPAN_NONE);
    whether(&x.w, "performance_standby", false);
    end(&x, 200, out);
}

/* ---- tokens and roles ---- */

static void write_policies(struct jsonw *w, const char *name, const struct vault_token *t)
{
    jsonw_name(w, name);
    jsonw_array(w);
    for (size_t i = 0; i < t->n_policies; i++)
        jsonw_text(w, t->policies[i]);
    jsonw_array_end(w);
}

static void write_auth(struct jsonw *w, const struct vault_token *t)
{
    const struct bearer_token *b = t->token;
    jsonw_name(w, "auth");
    jsonw_object(w);
    text(w, "client_token", t->text);
    text(w, "accessor", b->accessor);
    write_policies(w, "policies", t);
    write_policies(w, "token_policies", t);
    jsonw_name(w, "metadata");
    jsonw_object(w);
    text(w, "username", b->user);
    jsonw_object_end(w);
    number(w, "lease_duration", b->expires_ms ? (b->expires_ms - t->now_ms + 500) / 1000 : 0);
    whether(w, "renewable", b->renewable);
    text(w, "entity_id", SPAN_NONE);
    text(w, "token_type", SPAN("service"));
    whether(w, "orphan", true);
    nothing(w, "mfa_requirement");
    number(w, "num_uses", 0);
    jsonw_object_end(w);
}

static void write_lookup(struct jsonw *w, const struct vault_token *t)
{
    const struct bearer_token *b = t->token;
    text(w, "id", t->text);
    text(w, "accessor", b->accessor);
    number(w, "creation_time", b->created_ms / 1000);
    number(w, "creation_ttl", b->ttl_ms / 1000);
    text(w, "display_name", b->display);
    text(w, "entity_id", SPAN_NONE);
    jsonw_name(w, "expire_time");
    if (b->expires_ms)
        jsonw_time(w, b->expires_ms);
    else
        jsonw_raw(w, SPAN("null"));
    number(w, "explicit_max_ttl", b->max_ms ? (b->max_ms - b->created_ms) / 1000 : 0);
    time_or_none(w, "issue_time", b->created_ms);
    jsonw_name(w, "meta");
    jsonw_object(w);
    text(w, "username", b->user);
    jsonw_object_end(w);
    number(w, "num_uses", 0);
    whether(w, "orphan", true);
    text(w, "path", b->path);
    write_policies(w, "policies", t);
    whether(w, "renewable", b->renewable);
    number(w, "ttl", b->expires_ms ? (b->expires_ms - t->now_ms + 500) / 1000 : 0);
    text(w, "type", SPAN("service"));
}

void vault_token(const struct vault_token *t, struct arena *arena, struct rest_answer *out)
{
    struct answer x;
    if (!t->auth) {
        begin_data(&x, arena);
        write_lookup(&x.w, t);
        end_data(&x, out);
        return;
    }
    begin(&x, arena);
    envelope(&x.w);
    nothing(&x.w, "data");
    write_auth(&x.w, t);
    end(&x, 200, out);
}

void vault_role(const struct bearer_role *r, struct arena *arena, struct rest_answer *out)
{
    struct answer x;
    begin_data(&x, arena);
    whether(&x.w, "bind_secret_id", true);
    whether(&x.w, "local_secret_ids", false);
    nothing(&x.w, "secret_id_bound_cidrs");
    number(&x.w, "secret_id_num_uses", r->secret_id_uses);
    number(&x.w, "secret_id_ttl", r->secret_id_ttl_ms / 1000);
    number(&x.w, "token_ttl", r->token_ttl_ms / 1000);
    number(&x.w, "token_max_ttl", r->token_max_ttl_ms / 1000);
    number(&x.w, "token_num_uses", 0);
    text(&x.w, "token_type", SPAN("default"));
    jsonw_name(&x.w, "token_policies");
    jsonw_raw(&x.w, SPAN("[]"));
    end_data(&x, out);
}

void vault_data(const struct vault_pair *pairs, size_t n, struct arena *arena,
                struct rest_answer *out)
{
    struct answer x;
    begin_data(&x, arena);
    for (size_t i = 0; i < n; i++)
        if (pairs[i].text.data)
            text(&x.w, pairs[i].name, pairs[i].text);
        else
            number(&x.w, pairs[i].name, pairs[i].number);
    end_data(&x, out);
}

/* ---- transit ---- */

static void write_result(struct jsonw *w, const struct vault_result *r)
{
    if (r->err != ERR_OK) {
        text(w, "error", span_text(err_text(r->err)));
        return;
    }
    text(w, r->name, r->text);
    if (r->key_version)
        number(w, "key_version", r->key_version);
}

void vault_results(const struct vault_result *r, size_t n, bool batched, struct arena *arena,
                   struct rest_answer *out)
{
    struct answer x;
    bool failed = false;
    begin_data(&x, arena);
    if (batched) {
        jsonw_name(&x.w, "batch_results");
        jsonw_array(&x.w);
    }
    for (size_t i = 0; i < n; i++) {
        if (batched)
            jsonw_object(&x.w);
        write_result(&x.w, &r[i]);
        if (batched)
            jsonw_object_end(&x.w);
        failed = failed || r[i].err != ERR_OK;
    }
    if (batched)
        jsonw_array_end(&x.w);
    end_data(&x, out);
    out->status = failed ? 400 : 200;
}

void vault_key(struct span name, const struct secret_keys *keys, struct arena *arena,
               struct rest_answer *out)
{
    struct answer x;
    uint8_t room[32];
    begin_data(&x, arena);
    text(&x.w, "name", name);
    text(&x.w, "type", SPAN("aes256-gcm96"));
    number(&x.w, "latest_version", keys->items[keys->n - 1].number);
    number(&x.w, "min_decryption_version", keys->items[0].number);
    number(&x.w, "min_encryption_version", 0);
    whether(&x.w, "deletion_allowed", true);
    whether(&x.w, "exportable", false);
    whether(&x.w, "derived", false);
    whether(&x.w, "supports_encryption", true);
    whether(&x.w, "supports_decryption", true);
    whether(&x.w, "supports_signing", false);
    jsonw_name(&x.w, "keys");
    jsonw_object(&x.w);
    for (size_t i = 0; i < keys->n; i++) {
        struct buf b = { .data = room, .cap = sizeof(room) };
        buf_format(&b, "%lld", (long long)keys->items[i].number);
        buf_u8(&b, 0);
        number(&x.w, (const char *)room, keys->items[i].created_ms / 1000);
    }
    jsonw_object_end(&x.w);
    end_data(&x, out);
}
