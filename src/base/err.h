/* err: how the world or a caller can make us fail, in one table: HTTP status, gRPC code and
 * text. */
#pragma once

enum err {
#define ERR(name, http, grpc, text) ERR_##name,
#include "base/err.def"
#undef ERR
    ERR_COUNT
};

#define MUST_CHECK __attribute__((warn_unused_result))

const char *err_text(enum err e);
const char *err_code(enum err e); /* the stable name, lower case: "key_empty" */
int err_http(enum err e);
int err_grpc(enum err e);
