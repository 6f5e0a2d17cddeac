/* The pages that are made from tables: docs/reference/ and docs/confman.1, by `make docs`. */
#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "base/version.h"
#include "node/etcdflag.h"
#include "node/metric.h"
#include "node/node.h"
#include "node/param.h"

static void rest(void)
{
    printf("# REST\n\nMade from `src/api/rest/route.def` by `make docs`; how to use it: "
           "[the guide](../guide.md).\n\n| methods | path | what |\n|---|---|---|\n");
#define ROUTE(NAME, methods, path, text) printf("| %s | `%s` | %s |\n", methods, path, text);
#include "api/rest/route.def"
#undef ROUTE
}

static void errors(void)
{
    printf("# Errors\n\nMade from `src/base/err.def` by `make docs`. `code` is the stable name in "
           "a REST problem; gRPC clients get the number and the text.\n\n"
           "| code | HTTP | gRPC | text |\n|---|---|---|---|\n");
    for (enum err e = ERR_OK + 1; e < ERR_COUNT; e++)
        printf("| `%s` | %d | %d | %s |\n", err_code(e), err_http(e), err_grpc(e), err_text(e));
}

static void peer(void)
{
    printf("# What members say to each other\n\nMade from `src/link/peer/peer.def` by `make docs`; "
           "how they say it: [formats/peer.md](../formats/peer.md).\n\n"
           "| type | name | what | fields |\n|---|---|---|---|\n");
#define U8(x) " " #x " u8,"
#define FLAG(x) " " #x " flag,"
#define ID(x) " " #x " id,"
#define NUMBER(x) " " #x " number,"
#define SIGNED(x) " " #x " signed,"
#define BYTES(x, max) " " #x " bytes,"
#define TEXT(x, max) " " #x " text,"
#define CODE(x) " " #x " error,"
#define MESSAGE(x) " a raft message,"
#define REFUSAL(number, NAME, name, text)
#define FRAME(number, NAME, name, text, fields)                                                    \
    printf("| %d | %s | %s |%.*s |\n", number, #NAME, text, (int)sizeof(fields) - 2, fields);
#include "link/peer/peer.def"
#undef FRAME
#undef REFUSAL
#define FRAME(number, NAME, name, text, fields)
#define REFUSAL(number, NAME, name, text) printf("| %d | %s | %s |\n", number, #name, text);
    printf("\n## Reasons of REFUSE\n| reason | name | what |\n|---|---|---|\n");
#include "link/peer/peer.def"
#undef FRAME
#undef REFUSAL
}

static void push(void)
{
    printf("# Messages of /v1/subscribe\n\nMade from `src/api/rest/push.def` by `make docs`; how "
           "to use them: [push.md](../push.md). Each is one JSON object with a member `type` and "
           "those named here; `?` may be left out.\n");
#define ASK(NAME, name, members, text) printf("| `%s` | %s | %s |\n", name, members, text);
#define TELL(NAME, name, members, text)
    printf("\n## A client says\n| type | members | meaning |\n|---|---|---|\n");
#include "api/rest/push.def"
#undef ASK
#undef TELL
#define ASK(NAME, name, members, text)
#define TELL(NAME, name, members, text) printf("| `%s` | %s | %s |\n", name, members, text);
    printf("\n## The server says\n| type | members | meaning |\n|---|---|---|\n");
#include "api/rest/push.def"
#undef ASK
#undef TELL
}

static void man(void)
{
    printf(".TH CONFMAN 1 \"\" \"confman " CONFMAN_VERSION "\"\n"
           ".SH NAME\nconfman \\- configuration, coordination and discovery in one server\n"
           ".SH SYNOPSIS\n\\fBconfman server\\fR [\\fIparameters\\fR]\n.br\n"
           "\\fBconfman\\fR \\fIcommand\\fR [\\fIoptions\\fR]\n"
           ".SH DESCRIPTION\n\\fBconfman server\\fR runs a node: a durable, revisioned store that "
           "speaks etcd's v3 gRPC API and a REST API on one port. The other commands are its "
           "client; \\fBconfman help\\fR lists them.\n"
           ".SH PARAMETERS OF THE SERVER\nEach may also stand in the YAML file (\\fBname: "
           "value\\fR) or in the environment (\\fBCONFMAN_NAME\\fR). Flags are stronger than the "
           "environment, that than the file.\n");
    param_man();
    printf(".SH EXIT STATUS\nOf the server: 0 stopped cleanly, 1 it could not start or go on, 2 "
           "wrong parameters. Of the client: 0 done, 1 refused or not found, 2 wrong usage, 3 the "
           "server cannot be reached or did not answer in time.\n");
}

int node_docs(const char *what)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } pages[] = { { "parameters", param_markdown },
                  { "metrics", metric_markdown },
                  { "rest", rest },
                  { "errors", errors },
                  { "peer", peer },
                  { "push", push },
                  { "etcd-flags", etcdflag_markdown },
                  { "man", man } };
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
        if (strcmp(pages[i].name, what) == 0) {
            pages[i].print();
            return 0;
        }
    return 2;
}
