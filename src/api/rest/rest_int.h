/* rest_int: what the files of api/rest share. */
#pragma once
#include "api/rest/rest.h"
#include "wire/json/json.h"

enum rest_route {
#define ROUTE(NAME, methods, path, text) ROUTE_##NAME,
#include "api/rest/route.def"
#undef ROUTE
};

/* Where the configs of the one environment of this build stand in the key space. */
#define REST_ROOT "confman/config/default/"

/* The body of a PUT: the bytes to store and their type. ERR_BODY_NOT_JSON, ERR_BAD_REQUEST. */
enum err value_read(struct span body, struct arena *arena, struct span *value, uint8_t *type,
                    const char **detail);

/* Quotas: what PUT and DELETE ask, and the answer's body. ERR_BAD_REQUEST, ERR_BODY_NOT_JSON. */
#define QUOTA_PREFIXES "/v1/quotas/prefix/"
#define QUOTA_USERS "/v1/quotas/user/"
enum err quota_read(const struct http_request *http, struct arena *arena, struct rest_call *call,
                    const char **detail) MUST_CHECK;
void quota_write(const struct rest_call *call, const struct reply *reply, struct jsonw *w);

/* One config as a JSON object. */
void item_write(struct jsonw *w, const struct kv *kv, const struct kv_version *v);

bool number_read(struct span text, int64_t *out); /* decimal, not negative */
struct span page_token(int64_t revision, struct span last_key, struct arena *arena);
bool page_token_read(struct span token, struct arena *arena, int64_t *revision, struct span *last);
