#include "base/err.h"
#include <ctype.h>
#include "base/check.h"

static const struct {
    const char *name, *text;
    int http, grpc;
} table[] = {
#define ERR(name, http, grpc, text) { #name, text, http, grpc },
#include "base/err.def"
#undef ERR
};

const char *err_text(enum err e)
{
    CHECK(e < ERR_COUNT);
    return table[e].text;
}

/* Made lower once, here; a race writes the same bytes. */
const char *err_code(enum err e)
{
    static char lower[ERR_COUNT][32];
    CHECK(e < ERR_COUNT);
    for (int i = 0; table[e].name[i]; i++) {
        CHECK(i < 31);
        lower[e][i] = (char)tolower((unsigned char)table[e].name[i]);
    }
    return lower[e];
}

int err_http(enum err e)
{
    CHECK(e < ERR_COUNT);
    return table[e].http;
}

int err_grpc(enum err e)
{
    CHECK(e < ERR_COUNT);
    return table[e].grpc;
}
