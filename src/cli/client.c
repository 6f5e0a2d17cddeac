/* One blocking connection to the etcd door: HTTP/2 over a socket, over TLS when asked. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/check.h"
#include "cli/cli_int.h"
#include "io/tcp/tcp.h"
#include "io/tls/tls.h"
#include "wire/grpc/grpc.h"

enum { READ_BYTES = 64 << 10, MESSAGE_MAX = 1 << 30, DOWNLOAD_QUIET_S = 60 };

struct client {
    char endpoint[TCP_ADDRESS_MAX];
    char authority[TCP_ADDRESS_MAX]; /* of it */
    int fd;
    struct tls_context *tls_context;
    struct tls *tls;
    struct h2 *h2;
    struct h2_stream *stream;
    struct grpc_reader reader;
    struct buf in, wire, plain, text, given;
    const struct options *options;
    struct buf token;
    bool proven;      /* who we are, as far as the options say */
    struct span rest; /* of in, not yet cut into messages */
    int code;         /* grpc-status; -1: none yet */
    bool over;        /* the call has ended */
    bool whole;       /* and the server said so */
    int http;         /* status; 0: none yet */
};

/* ---- events ---- */

static void on_response(void *context, struct h2_stream *s, int status,
                        const struct http_header *headers, size_t n)
{
    struct client *c = context;
    (void)s;
    c->http = status;
    c->code = grpc_status(headers, n, &c->text);
    if (status != 200 && c->code < 0) {
        c->code = 14;
        buf_reset(&c->text);
        buf_format(&c->text, "the server answered HTTP %d; is it an etcd door?", status);
    }
}

static void on_data(void *context, struct h2_stream *s, struct span data)
{
    struct client *c = context;
    (void)s;
    buf_span(&c->in, data);
}

static void on_trailers(void *context, struct h2_stream *s, const struct http_header *headers,
                        size_t n)
{
    struct client *c = context;
    (void)s;
    c->code = grpc_status(headers, n, &c->text);
}

static void on_end(void *context, struct h2_stream *s)
{
    struct client *c = context;
    c->whole = c->stream == s;
}

static void on_close(void *context, struct h2_stream *s, uint32_t code)
{
    struct client *c = context;
    (void)code;
    if (c->stream == s) {
        c->stream = NULL;
        c->over = true;
    }
}

static const struct h2_events events = { .on_response = on_response,
                                         .on_data = on_data,
                                         .on_trailers = on_trailers,
                                         .on_end = on_end,
                                         .on_close = on_close };

/* ---- bytes ---- */

static bool send_all(struct client *c)
{
    h2_output(c->h2, c->tls ? &c->plain : &c->wire, SIZE_MAX);
    if (c->tls && c->plain.len) {
        if (tls_write(c->tls, buf_all(&c->plain), &c->wire) != ERR_OK)
            return false;
        buf_reset(&c->plain);
    }
    while (c->wire.len) {
        long n = tcp_write(c->fd, buf_all(&c->wire));
        if (n <= 0)
            return false;
        buf_consume(&c->wire, (size_t)n);
    }
    return true;
}

/* TCP_AGAIN when the time-out has passed, 0 or less when the server is gone. */
static long receive(struct client *c, struct buf *plain)
{
    static uint8_t bytes[READ_BYTES];
    bool ended = false;
    long n = tcp_read(c->fd, bytes, sizeof(bytes));
    if (n <= 0)
        return n;
    if (!c->tls)
        buf_put(plain, bytes, (size_t)n);
    else if (tls_feed(c->tls, span_of(bytes, (size_t)n), plain, &c->wire, &ended) != ERR_OK)
        return TCP_GONE;
    return n;
}

/* One round of sending what waits and reading what comes. */
static int turn(struct client *c, bool for_ever)
{
    struct buf plain;
    if (!send_all(c))
        return cli_complain(EXIT_UNREACHABLE, "%s: the connection broke", c->endpoint);
    if (c->over)
        return EXIT_DONE;
    buf_open(&plain, &cli_heap);
    long n = receive(c, &plain);
    enum err e = n > 0 && plain.len ? h2_feed(c->h2, buf_all(&plain)) : ERR_OK;
    buf_close(&plain);
    if (n == TCP_AGAIN)
        return for_ever ? EXIT_DONE
                        : cli_complain(EXIT_UNREACHABLE, "%s: no answer in time; see --timeout",
                                       c->endpoint);
    if (n <= 0 || e != ERR_OK)
        return cli_complain(EXIT_UNREACHABLE, "%s: the connection broke", c->endpoint);
    return EXIT_DONE;
}

/* ---- opening ---- */

static bool shake_hands(struct client *c, char *why)
{
    bool ok = tls_start(c->tls, &c->wire) == ERR_OK;
    while (ok && !tls_ready(c->tls)) {
        struct buf none;
        buf_open(&none, &cli_heap);
        while (ok && c->wire.len) {
            long n = tcp_write(c->fd, buf_all(&c->wire));
            ok = n > 0;
            if (ok)
                buf_consume(&c->wire, (size_t)n);
        }
        ok = ok && receive(c, &none) > 0;
        buf_close(&none);
    }
    if (!ok)
        snprintf(why, TCP_WHY_MAX, "TLS: %s", tls_why(c->tls));
    return ok;
}

static bool open_one(struct client *c, const struct options *o, const char *endpoint, char *why)
{
    struct tcp_address a;
    bool https;
    snprintf(c->endpoint, sizeof(c->endpoint), "%s", endpoint);
    if (tcp_parse(endpoint, &a, &https) != ERR_OK) {
        snprintf(why, TCP_WHY_MAX, "is not HOST:PORT or unix:PATH");
        return false;
    }
    bool v6 = strchr(a.host, ':') != NULL;
    snprintf(c->authority, sizeof(c->authority), v6 ? "[%s]%s%s" : "%s%s%s",
             a.port[0] && a.host[0] ? a.host : "localhost", a.port[0] ? ":" : "", a.port);
    if (!a.host[0])
        snprintf(a.host, sizeof(a.host), "127.0.0.1");
    if (tcp_connect(&a, o->timeout * 1000, &c->fd, why) != ERR_OK)
        return false;
    if (!https && !o->cacert && !o->insecure_skip_verify)
        return true;
    struct tls_options t = { .cert_file = o->cert,
                             .key_file = o->key,
                             .ca_file = o->cacert,
                             .client = true,
                             .skip_verify = o->insecure_skip_verify };
    if (tls_context_open(&t, &c->tls_context, why) == ERR_OK) {
        c->tls = tls_open(c->tls_context, a.port[0] ? a.host : "localhost");
        if (shake_hands(c, why))
            return true;
        tls_close(c->tls);
        tls_context_close(c->tls_context);
        c->tls = NULL;
        c->tls_context = NULL;
    }
    tcp_close(c->fd);
    return false;
}

struct client *client_open(const struct options *o)
{
    char list[1024], why[TCP_WHY_MAX + TLS_WHY_MAX], *rest = list;
    struct client *c = mem_zero(&cli_heap, sizeof(*c));
    struct h2_limits limits;
    bool connected = false;
    buf_open(&c->in, &cli_heap);
    buf_open(&c->wire, &cli_heap);
    buf_open(&c->plain, &cli_heap);
    buf_open(&c->text, &cli_heap);
    buf_open(&c->given, &cli_heap);
    buf_open(&c->token, &cli_heap);
    c->options = o;
    grpc_reader_open(&c->reader, &cli_heap);
    snprintf(list, sizeof(list), "%s", o->endpoint);
    for (char *one; !connected && (one = strsep(&rest, ",")) != NULL;) {
        connected = open_one(c, o, one, why);
        if (!connected)
            cli_complain(EXIT_UNREACHABLE, "%s: cannot connect: %s", one, why);
    }
    if (connected) {
        h2_limits_default(&limits);
        c->h2 = h2_open(&cli_heap, H2_CLIENT, &limits, &events, c);
        return c;
    }
    c->fd = -1;
    client_close(c);
    return NULL;
}

void client_close(struct client *c)
{
    if (c->h2)
        h2_close(c->h2);
    if (c->tls)
        tls_close(c->tls);
    if (c->tls_context)
        tls_context_close(c->tls_context);
    if (c->fd >= 0)
        tcp_close(c->fd);
    buf_close(&c->in);
    buf_close(&c->wire);
    buf_close(&c->plain);
    buf_close(&c->text);
    buf_close(&c->given);
    buf_close(&c->token);
    grpc_reader_close(&c->reader);
    mem_free(&cli_heap, c, sizeof(*c));
}

/* ---- calls ---- */

static void clear(struct client *c)
{
    c->code = -1;
    c->http = 0;
    c->over = c->whole = false;
    c->rest = SPAN_NONE;
    buf_reset(&c->in);
    buf_reset(&c->text);
}

static int ended(struct client *c, struct span *message)
{
    *message = SPAN_NONE;
    if (c->code == 0)
        return EXIT_DONE;
    if (c->code < 0)
        return cli_complain(EXIT_UNREACHABLE, "%s: the call was cut off", c->endpoint);
    int status = c->code == 14 || c->code == 4 ? EXIT_UNREACHABLE : EXIT_REFUSED;
    return cli_complain(status, "%.*s", (int)c->text.len, (const char *)c->text.data);
}

/* A login's answer is a token; with authentication off none is needed, as for etcd's clients. */
static int take_token(struct client *c)
{
    struct pb_authenticate_response r;
    struct span message = SPAN_NONE;
    struct arena arena;
    bool got;
    if (c->code == 9 && span_is(buf_all(&c->text), err_text(ERR_AUTH_NOT_ENABLED)))
        return EXIT_DONE;
    if (c->code != 0)
        return ended(c, &message);
    c->rest = buf_all(&c->in);
    arena_open(&arena, &cli_heap);
    bool ok = grpc_reader_next(&c->reader, &c->rest, MESSAGE_MAX, &message, &got) == ERR_OK &&
              got && pb_authenticate_response_decode(message, &arena, &r) == ERR_OK;
    if (ok)
        buf_span(&c->token, r.token);
    arena_close(&arena);
    return ok ? EXIT_DONE
              : cli_complain(EXIT_UNREACHABLE, "%s: an answer that makes no sense", c->endpoint);
}

struct span client_token(const struct client *c)
{
    return buf_all(&c->token);
}

/* Before the first call: who we are. */
static int prove(struct client *c)
{
    struct buf request;
    struct pb_authenticate_request r = { .name = SPAN_NONE };
    if (c->proven)
        return EXIT_DONE;
    c->proven = true;
    if (c->options->token) {
        buf_text(&c->token, c->options->token);
        return EXIT_DONE;
    }
    if (!c->options->user && session_token(c->options, &c->token))
        return EXIT_DONE;
    int status = credentials_read(c->options, &r.name, &r.password);
    if (status != EXIT_DONE || !r.name.len)
        return status;
    buf_open(&request, &cli_heap);
    pb_authenticate_request_encode(&r, &request);
    status = client_ask(c, "/etcdserverpb.Auth/Authenticate", &request);
    explicit_bzero(request.data, request.cap);
    buf_close(&request);
    while (!c->over && status == EXIT_DONE)
        status = turn(c, false);
    return status == EXIT_DONE ? take_token(c) : status;
}

int client_begin(struct client *c, const char *path)
{
    int status = prove(c);
    if (status != EXIT_DONE)
        return status;
    clear(c);
    c->stream = grpc_request(c->h2, span_text(c->authority), span_text(path), c->tls != NULL,
                             buf_all(&c->token));
    return c->stream ? EXIT_DONE
                     : cli_complain(EXIT_UNREACHABLE, "%s: takes no more calls", c->endpoint);
}

int client_send(struct client *c, const struct buf *message)
{
    if (!c->stream)
        return EXIT_DONE; /* it has ended: client_next tells how */
    struct buf *out = h2_write_begin(c->stream);
    size_t start = grpc_message_begin(out);
    buf_span(out, buf_all(message));
    grpc_message_end(out, start);
    h2_write_end(c->stream, false);
    return send_all(c) ? EXIT_DONE
                       : cli_complain(EXIT_UNREACHABLE, "%s: the connection broke", c->endpoint);
}

int client_next(struct client *c, bool for_ever, struct span *message)
{
    for (;;) {
        bool got;
        size_t before = c->in.len;
        c->rest = buf_all(&c->in);
        enum err e = grpc_reader_next(&c->reader, &c->rest, MESSAGE_MAX, message, &got);
        if (e != ERR_OK)
            return cli_complain(EXIT_UNREACHABLE, "%s: a message that makes no sense", c->endpoint);
        if (got) {
            buf_reset(&c->given); /* the reader may point into in */
            buf_span(&c->given, *message);
            buf_consume(&c->in, before - c->rest.len);
            *message = buf_all(&c->given);
            return EXIT_DONE;
        }
        buf_consume(&c->in, before - c->rest.len);
        if (c->over)
            return ended(c, message);
        int status = turn(c, for_ever);
        if (status != EXIT_DONE)
            return status;
    }
}

int client_ask(struct client *c, const char *path, const struct buf *request)
{
    int status = client_begin(c, path);
    if (status != EXIT_DONE)
        return status;
    struct buf *out = h2_write_begin(c->stream);
    size_t start = grpc_message_begin(out);
    buf_span(out, buf_all(request));
    grpc_message_end(out, start);
    h2_write_end(c->stream, true);
    return EXIT_DONE;
}

int client_call(struct client *c, const char *path, const struct buf *request,
                struct span *response)
{
    int status = client_ask(c, path, request);
    while (!c->over && status == EXIT_DONE)
        status = turn(c, false);
    if (status == EXIT_DONE && c->code != 0)
        status = ended(c, response);
    if (status != EXIT_DONE)
        return status;
    c->rest = buf_all(&c->in);
    bool got;
    enum err e = grpc_reader_next(&c->reader, &c->rest, MESSAGE_MAX, response, &got);
    return e == ERR_OK && got
               ? EXIT_DONE
               : cli_complain(EXIT_UNREACHABLE, "%s: an answer that makes no sense", c->endpoint);
}

static int download(struct client *c, int (*take)(void *, struct span), void *context)
{
    int status = EXIT_DONE;
    time_t heard = time(NULL);
    while (status == EXIT_DONE && !c->over) {
        status = turn(c, true);
        if (c->in.len)
            heard = time(NULL);
        if (status == EXIT_DONE && time(NULL) - heard > DOWNLOAD_QUIET_S)
            return cli_complain(EXIT_UNREACHABLE, "%s: nothing more came", c->endpoint);
        if (c->http != 200) /* why not */
            continue;
        if (status == EXIT_DONE && c->in.len)
            status = take(context, buf_all(&c->in));
        buf_reset(&c->in);
    }
    return status;
}

static int begin_http(struct client *c, const char *method, const char *path, bool over)
{
    struct buf bearer;
    int status = prove(c);
    if (status != EXIT_DONE)
        return status;
    buf_open(&bearer, &cli_heap);
    buf_text(&bearer, "Bearer ");
    buf_span(&bearer, buf_all(&c->token));
    const struct http_header headers[] = {
        { SPAN(":method"), span_text(method) },
        { SPAN(":scheme"), span_text(c->tls ? "https" : "http") },
        { SPAN(":authority"), span_text(c->authority) },
        { SPAN(":path"), span_text(path) },
        { SPAN("authorization"), buf_all(&bearer) },
    };
    clear(c);
    c->stream =
        h2_request(c->h2, headers, sizeof(headers) / sizeof(headers[0]) - !c->token.len, over);
    buf_close(&bearer);
    return c->stream ? EXIT_DONE
                     : cli_complain(EXIT_UNREACHABLE, "%s: takes no more calls", c->endpoint);
}

/* What is wrong and where, but for what the headline has said already. */
static void complain_of_errors(const json_t *errors, const char *headline)
{
    size_t i;
    json_t *one;
    json_array_foreach(errors, i, one)
    {
        const char *at = json_string_value(json_object_get(one, "pointer"));
        const char *what = json_string_value(json_object_get(one, "detail"));
        size_t n = at ? strlen(at) : 0;
        bool told = at && what && strncmp(headline, at, n) == 0 &&
                    strncmp(headline + n, ": ", 2) == 0 && strcmp(headline + n + 2, what) == 0;
        if (what && !told)
            fprintf(stderr, "  %s: %s\n", at ? at : "", what);
    }
}

/* What the problem says (RFC 9457), the door for Vault's clients ({"errors": [...]}), or all of an
 * answer that is neither. A list with nothing in it is 404 without errors there: that is done. */
static int complain_of_problem(int http, struct span *answer)
{
    char why[JSONR_WHY_MAX];
    json_t *json = NULL;
    if (jsonr_read(*answer, &json, why) != ERR_OK)
        return cli_complain(EXIT_REFUSED, "the server answered HTTP %d: %.*s", http,
                            (int)answer->len, (const char *)answer->data);
    const json_t *errors = json_object_get(json, "errors");
    const char *detail = json_string_value(json_object_get(json, "detail"));
    int status = EXIT_DONE;
    if (!detail)
        detail = json_string_value(json_array_get(errors, 0));
    if (detail)
        status = cli_complain(EXIT_REFUSED, "%s", detail);
    else if (http == 404 && json_is_array(errors) && !json_array_size(errors))
        *answer = SPAN("{}");
    else
        status = cli_complain(EXIT_REFUSED, "the server answered HTTP %d: %.*s", http,
                              (int)answer->len, (const char *)answer->data);
    if (detail)
        complain_of_errors(errors, detail);
    json_decref(json);
    return status;
}

int client_http(struct client *c, const char *method, const char *path, struct span body,
                struct span *answer)
{
    int status = begin_http(c, method, path, !body.len);
    if (status != EXIT_DONE)
        return status;
    if (body.len)
        h2_write(c->stream, body, true);
    while (status == EXIT_DONE && !c->over)
        status = turn(c, false);
    if (status != EXIT_DONE)
        return status;
    if (!c->whole)
        return cli_complain(EXIT_UNREACHABLE, "%s: the answer was cut off", c->endpoint);
    *answer = buf_all(&c->in);
    return c->http < 300 ? EXIT_DONE : complain_of_problem(c->http, answer);
}

int client_download(struct client *c, const char *path, int (*take)(void *, struct span),
                    void *context)
{
    int status = begin_http(c, "GET", path, true);
    if (status == EXIT_DONE)
        status = download(c, take, context);
    if (status != EXIT_DONE)
        return status;
    struct span answer = buf_all(&c->in);
    if (c->http != 200 && c->http != 0)
        return complain_of_problem(c->http, &answer);
    return c->whole ? EXIT_DONE
                    : cli_complain(EXIT_UNREACHABLE, "%s: the answer was cut off", c->endpoint);
}

int call_once(const struct options *o, const char *path, const struct buf *request,
              struct arena *arena, struct span *response)
{
    struct client *c = client_open(o);
    if (!c)
        return EXIT_UNREACHABLE;
    int status = client_call(c, path, request, response);
    if (status == EXIT_DONE)
        *response = arena_copy(arena, *response);
    client_close(c);
    return status;
}
