/* Service accounts over REST: what a body says, and what is told of them: never what their secrets
 * are remembered by. */
#include "api/rest/rest_int.h"
#include "base/check.h"

static bool seconds(const json_t *body, const char *name, int64_t *out)
{
    const json_t *v = json_object_get(body, name);
    *out = json_integer_value(v);
    return !v || (json_is_integer(v) && *out >= 0 && *out <= REST_KEY_TTL_MAX_S);
}

enum err account_body(const json_t *body, struct access_ask *a, const char **detail)
{
    const json_t *disabled = json_object_get(body, "disabled");
    a->disabled = json_is_true(disabled);
    *detail = "ttl_s and grace_s are seconds, ten years at most; disabled is true or false";
    if (!seconds(body, "ttl_s", &a->ttl_s) || !seconds(body, "grace_s", &a->grace_s) ||
        (disabled && !json_is_boolean(disabled)))
        return ERR_BAD_REQUEST;
    *detail = NULL;
    return ERR_OK;
}

void account_request(const struct access_ask *a, struct arena *arena, struct request *out)
{
    bool all = a->verb == ACCESS_ACCOUNTS;
    struct span key = all ? SPAN(ACCOUNT_ROOT) : account_place(a->name, arena);
    out->range = (struct kv_range){ .key = key, .limit = REST_ACCOUNTS_MAX };
    if (all)
        out->range.range_end = kv_prefix_end(key, arena);
}

static void write_number(struct jsonw *w, const char *name, int64_t v)
{
    jsonw_name(w, name);
    jsonw_number(w, v);
}

static void write_account(struct jsonw *w, const struct kv_version *v, const struct auth *auth,
                          struct arena *arena)
{
    struct account a;
    struct auth_names roles = { NULL, 0 };
    struct span name = span_from(kv_key(v), sizeof(ACCOUNT_ROOT) - 1);
    struct span user = account_user(name, arena);
    bool good = account_read(kv_value(v), arena, &a) == ERR_OK;
    bool known = auth_user_roles(auth, user, arena, &roles) == ERR_OK;
    jsonw_object(w);
    jsonw_name(w, "name");
    jsonw_text(w, name);
    jsonw_name(w, "user");
    jsonw_text(w, user);
    jsonw_name(w, "disabled");
    jsonw_bool(w, !good || a.disabled);
    jsonw_name(w, "roles");
    jsonw_array(w);
    for (size_t i = 0; known && i < roles.n; i++)
        jsonw_text(w, roles.items[i]);
    jsonw_array_end(w);
    jsonw_name(w, "keys");
    jsonw_array(w);
    for (size_t i = 0; good && i < a.n; i++) {
        jsonw_object(w);
        jsonw_name(w, "id");
        jsonw_text(w, span_of(a.keys[i].id, ACCOUNT_ID));
        write_number(w, "created_at_ms", a.keys[i].created_ms);
        if (a.keys[i].expires_ms)
            write_number(w, "expires_at_ms", a.keys[i].expires_ms);
        jsonw_object_end(w);
    }
    jsonw_array_end(w);
    jsonw_object_end(w);
}

void rest_accounts(const struct rest_call *call, const struct kv_range_result *found,
                   const struct auth *auth, struct arena *arena, struct rest_answer *out)
{
    bool one = call->access->verb == ACCESS_ACCOUNT;
    struct buf b;
    struct jsonw w;
    if (one && !found->n) {
        rest_problem(ERR_NOT_FOUND, "there is no such service account", arena, out);
        return;
    }
    buf_open(&b, arena->alloc);
    jsonw_open(&w, &b);
    if (one) {
        write_account(&w, found->items[0], auth, arena);
    } else {
        jsonw_object(&w);
        jsonw_name(&w, "service_accounts");
        jsonw_array(&w);
        for (size_t i = 0; i < found->n; i++)
            write_account(&w, found->items[i], auth, arena);
        jsonw_array_end(&w);
        jsonw_object_end(&w);
    }
    body_of(out, 200, "application/json", &b, arena);
}
