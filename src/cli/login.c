/* `confman login`, `logout`, `whoami`: a session with a server, kept in a file that only its owner
 * reads; every other command uses it when nothing else says who asks. With an issuer it is the
 * authorization code flow of a native program: PKCE, and an address of this machine to come back to
 * (RFC 8252). */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/check.h"
#include "cli/cli_int.h"
#include "io/cipher/cipher.h"
#include "io/fetch/fetch.h"
#include "io/tcp/tcp.h"
#include "wire/http/http.h"
#include "wire/oidc/oidc.h"

enum {
    PATH_BYTES = 4096,
    SESSIONS_BYTES_MAX = 1 << 20,
    LOGIN_WAIT_MS = 300 * 1000, /* for the browser to come back */
    HEAD_BYTES_MAX = 16384,
    DOCUMENT_BYTES_MAX = 256 << 10,
};

/* ---- the file: a line for each server: endpoint, blank, token ---- */

static bool sessions_path(char path[PATH_BYTES], bool make)
{
    const char *named = getenv("CONFMAN_SESSIONS"), *base = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");
    if (named && named[0])
        return snprintf(path, PATH_BYTES, "%s", named) < PATH_BYTES;
    if (!(base && base[0]) && !(home && home[0]))
        return false;
    bool own = base && base[0];
    int n = snprintf(path, PATH_BYTES, "%s%s", own ? base : home, own ? "" : "/.config");
    if (n + 20 >= PATH_BYTES)
        return false;
    if (make)
        (void)mkdir(path, 0700); /* what fails shows when the file is written */
    strcat(path, "/confman");
    if (make)
        (void)mkdir(path, 0700);
    strcat(path, "/sessions");
    return true;
}

static void read_sessions(const char *path, struct buf *out)
{
    char part[4096];
    size_t n;
    FILE *f = fopen(path, "r");
    while (f && (n = fread(part, 1, sizeof(part), f)) > 0 && out->len < SESSIONS_BYTES_MAX)
        buf_put(out, part, n);
    if (f)
        fclose(f);
}

/* The line of this endpoint; *token: what stands in it. */
static bool find_line(struct span all, const char *endpoint, struct span *line, struct span *token)
{
    while (all.len) {
        const uint8_t *end = memchr(all.data, '\n', all.len);
        size_t len = end ? (size_t)(end - all.data) : all.len;
        const uint8_t *blank = len ? memchr(all.data, ' ', len) : NULL;
        *line = span_of(all.data, len + (end != NULL));
        if (blank && span_is(span_of(all.data, (size_t)(blank - all.data)), endpoint)) {
            *token = span_from(span_of(all.data, len), (size_t)(blank - all.data) + 1);
            return token->len > 0;
        }
        all = span_from(all, line->len);
    }
    return false;
}

bool session_token(const struct options *o, struct buf *out)
{
    char path[PATH_BYTES];
    struct buf all;
    struct span line, token;
    if (!sessions_path(path, false))
        return false;
    buf_open(&all, &cli_heap);
    read_sessions(path, &all);
    bool found = find_line(buf_all(&all), o->endpoint, &line, &token);
    if (found)
        buf_span(out, token);
    if (all.data)
        explicit_bzero(all.data, all.cap);
    buf_close(&all);
    return found;
}

static bool replace_file(const char *path, struct span text)
{
    char fresh[PATH_BYTES + 8];
    snprintf(fresh, sizeof(fresh), "%s.new", path);
    (void)unlink(fresh);
    int fd = open(fresh, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write(fd, text.data, text.len) == (ssize_t)text.len;
    if (fd >= 0)
        ok = close(fd) == 0 && ok;
    return ok && rename(fresh, path) == 0;
}

/* token empty: the session is forgotten. */
static int keep_session(const struct options *o, struct span token)
{
    char path[PATH_BYTES];
    struct buf all, next;
    struct span line, old;
    if (!sessions_path(path, true))
        return cli_complain(EXIT_REFUSED, "there is no HOME to keep the session in");
    buf_open(&all, &cli_heap);
    buf_open(&next, &cli_heap);
    read_sessions(path, &all);
    struct span rest = buf_all(&all);
    if (find_line(rest, o->endpoint, &line, &old)) {
        size_t at = (size_t)(line.data - rest.data);
        buf_span(&next, span_of(rest.data, at));
        buf_span(&next, span_from(rest, at + line.len));
    } else {
        buf_span(&next, rest);
    }
    if (token.len) {
        buf_format(&next, "%s ", o->endpoint);
        buf_span(&next, token);
        buf_u8(&next, '\n');
    }
    bool ok = replace_file(path, buf_all(&next));
    if (next.data)
        explicit_bzero(next.data, next.cap);
    buf_close(&all);
    buf_close(&next);
    return ok ? EXIT_DONE
              : cli_complain(EXIT_REFUSED, "%s cannot be written: %s", path, strerror(errno));
}

/* ---- the issuer ---- */

struct flow {
    const struct options *o;
    struct arena *arena;
    const char *issuer, *client, *scopes; /* as the server tells */
    struct oidc_discovery discovery;
    struct buf state, verifier, back;
    int listener;
};

static int ask_issuer(const char *url, const char *form, struct buf *body)
{
    struct fetch f = { .url = url,
                       .form = form,
                       .timeout_ms = 10000,
                       .bytes_max = DOCUMENT_BYTES_MAX,
                       .body = body };
    if (fetch_do(&f) != ERR_OK)
        return cli_complain(EXIT_UNREACHABLE, "the issuer: %s", f.why);
    if (f.status != 200)
        return cli_complain(EXIT_REFUSED, "the issuer answered HTTP %d: %.*s", f.status,
                            (int)(body->len < 400 ? body->len : 400), (const char *)body->data);
    return EXIT_DONE;
}

static int discover(struct flow *f)
{
    struct buf url, body;
    size_t len = strlen(f->issuer);
    buf_open(&url, &cli_heap);
    buf_open(&body, &cli_heap);
    buf_put(&url, f->issuer, len && f->issuer[len - 1] == '/' ? len - 1 : len);
    buf_text(&url, "/.well-known/openid-configuration");
    buf_u8(&url, 0);
    int status = ask_issuer((const char *)url.data, NULL, &body);
    if (status == EXIT_DONE &&
        (oidc_discovery_read(buf_all(&body), f->arena, &f->discovery) != ERR_OK ||
         !f->discovery.login_url.len || !f->discovery.token_url.len))
        status = cli_complain(EXIT_REFUSED, "the issuer tells of no login");
    buf_close(&url);
    buf_close(&body);
    return status;
}

static void random_text(struct buf *out)
{
    uint8_t bytes[32];
    cipher_random(bytes, sizeof(bytes));
    jsonw_base64(span_of(bytes, sizeof(bytes)), true, out);
}

static void pair(struct buf *out, const char *name, struct span value)
{
    buf_format(out, "&%s=", name);
    fetch_escape(value, out);
}

static void print_url(struct flow *f)
{
    uint8_t hash[32];
    struct buf url, challenge;
    struct span base = f->discovery.login_url;
    CHECK(EVP_Digest(f->verifier.data, f->verifier.len, hash, NULL, EVP_sha256(), NULL) == 1);
    buf_open(&url, &cli_heap);
    buf_open(&challenge, &cli_heap);
    jsonw_base64(span_of(hash, sizeof(hash)), true, &challenge);
    buf_span(&url, base);
    buf_text(&url, memchr(base.data, '?', base.len) ? "&response_type=code"
                                                    : "?response_type=code");
    pair(&url, "client_id", span_text(f->client));
    pair(&url, "redirect_uri", buf_all(&f->back));
    pair(&url, "scope", span_text(f->scopes));
    pair(&url, "state", buf_all(&f->state));
    pair(&url, "nonce", buf_all(&f->state));
    pair(&url, "code_challenge", buf_all(&challenge));
    pair(&url, "code_challenge_method", SPAN("S256"));
    fprintf(stderr, "Open this page to log in:\n%.*s\n", (int)url.len, (const char *)url.data);
    fflush(stderr);
    buf_close(&url);
    buf_close(&challenge);
}

/* The code in "GET /callback?code=...&state=... HTTP/1.1"; false: it is something else. */
static bool read_code(struct flow *f, struct span head, struct span *code)
{
    struct span path, query, state;
    bool has_code, has_state;
    const uint8_t *end = head.len > 4 ? memchr(head.data + 4, ' ', head.len - 4) : NULL;
    if (!end || !span_starts(head, SPAN("GET ")))
        return false;
    http_target(span_of(head.data + 4, (size_t)(end - head.data) - 4), &path, &query);
    return span_is(path, "/callback") &&
           http_query(query, "code", f->arena, code, &has_code) == ERR_OK &&
           http_query(query, "state", f->arena, &state, &has_state) == ERR_OK && has_code &&
           has_state && span_equal(state, buf_all(&f->state));
}

/* One connection of a browser. True: it brought the code. */
static bool serve_one(struct flow *f, int fd, struct span *code)
{
    char head[HEAD_BYTES_MAX];
    size_t len = 0;
    struct pollfd p = { .fd = fd, .events = POLLIN };
    while (len < sizeof(head) && poll(&p, 1, 5000) > 0) {
        long n = tcp_read(fd, head + len, sizeof(head) - len);
        if (n <= 0 && n != TCP_AGAIN)
            break;
        len += n > 0 ? (size_t)n : 0;
        if (memmem(head, len, "\r\n\r\n", 4))
            break;
    }
    bool good = read_code(f, span_of(head, len), code);
    static const char yes[] = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n"
                              "\r\nYou are logged in. This page may be closed.\n";
    static const char no[] = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: "
                             "close\r\n\r\nThis is not the login that was begun.\n";
    (void)tcp_write(fd, good ? SPAN(yes) : SPAN(no));
    tcp_close(fd);
    return good;
}

static int wait_for_code(struct flow *f, struct span *code)
{
    struct pollfd p = { .fd = f->listener, .events = POLLIN };
    while (poll(&p, 1, LOGIN_WAIT_MS) > 0) {
        int fd = tcp_accept(f->listener);
        if (fd >= 0 && serve_one(f, fd, code))
            return EXIT_DONE;
    }
    return cli_complain(EXIT_UNREACHABLE, "nobody came back from the issuer's page");
}

static int exchange(struct flow *f, struct span code, struct span *token)
{
    struct buf form, body;
    buf_open(&form, &cli_heap);
    buf_open(&body, &cli_heap);
    buf_text(&form, "grant_type=authorization_code");
    pair(&form, "code", code);
    pair(&form, "redirect_uri", buf_all(&f->back));
    pair(&form, "client_id", span_text(f->client));
    pair(&form, "code_verifier", buf_all(&f->verifier));
    buf_u8(&form, 0);
    int status = ask_issuer(arena_text(f->arena, f->discovery.token_url), (const char *)form.data,
                            &body);
    if (status == EXIT_DONE && oidc_answer_read(buf_all(&body), f->arena, token) != ERR_OK)
        status = cli_complain(EXIT_REFUSED, "the issuer gave no id_token");
    buf_close(&form);
    buf_close(&body);
    return status;
}

static int begin_flow(struct flow *f)
{
    struct tcp_address here = { .host = "127.0.0.1", .port = "0" };
    char why[TCP_WHY_MAX];
    int status = discover(f);
    if (status != EXIT_DONE)
        return status;
    if (tcp_listen(&here, &f->listener, why) != ERR_OK)
        return cli_complain(EXIT_REFUSED, "%s", why);
    random_text(&f->state);
    random_text(&f->verifier);
    buf_format(&f->back, "http://127.0.0.1:%u/callback", (unsigned)tcp_port(f->listener));
    print_url(f);
    return EXIT_DONE;
}

static int login_by_issuer(const struct options *o, const json_t *method, struct arena *arena,
                           struct span *token)
{
    struct flow f = { .o = o, .arena = arena, .listener = -1 };
    struct span code;
    f.issuer = json_string_value(json_object_get(method, "issuer"));
    f.client = json_string_value(json_object_get(method, "client_id"));
    f.scopes = json_string_value(json_object_get(method, "scopes"));
    if (!f.issuer || !f.client || !f.scopes)
        return cli_complain(EXIT_UNREACHABLE, "the answer makes no sense");
    fetch_prepare();
    buf_open(&f.state, &cli_heap);
    buf_open(&f.verifier, &cli_heap);
    buf_open(&f.back, &cli_heap);
    int status = begin_flow(&f);
    if (status == EXIT_DONE)
        status = wait_for_code(&f, &code);
    if (status == EXIT_DONE)
        status = exchange(&f, code, token);
    if (f.listener >= 0)
        tcp_close(f.listener);
    buf_close(&f.state);
    buf_close(&f.verifier);
    buf_close(&f.back);
    return status;
}

/* ---- commands ---- */

static int ask(const struct options *o, const char *method, const char *path, json_t **out)
{
    char why[JSONR_WHY_MAX];
    struct span answer;
    struct client *c = client_open(o);
    *out = NULL;
    if (!c)
        return EXIT_UNREACHABLE;
    int status = client_http(c, method, path, SPAN_NONE, &answer);
    if (status == EXIT_DONE && jsonr_read(answer, out, why) != ERR_OK)
        status = cli_complain(EXIT_UNREACHABLE, "the answer makes no sense");
    client_close(c);
    return status;
}

static const json_t *method_of(const json_t *ways, const char *type)
{
    const json_t *one;
    size_t i;
    json_array_foreach(json_object_get(ways, "methods"), i, one)
    {
        const char *name = json_string_value(json_object_get(one, "type"));
        if (name && strcmp(name, type) == 0)
            return one;
    }
    return NULL;
}

static int login_by_password(const struct options *o, struct arena *arena, struct span *token)
{
    struct span answer;
    struct client *c = client_open(o);
    if (!c)
        return EXIT_UNREACHABLE;
    int status = client_http(c, "GET", "/v1/me", SPAN_NONE, &answer); /* logs in before */
    *token = arena_copy(arena, client_token(c));
    client_close(c);
    if (status != EXIT_DONE)
        return status;
    return token->len ? EXIT_DONE
                      : cli_complain(EXIT_REFUSED, "authentication is not enabled: there is "
                                                   "nothing to log in to");
}

int run_login(const struct options *o, struct arena *arena)
{
    struct options nobody = *o;
    struct span token = SPAN_NONE;
    json_t *ways = NULL;
    int status = EXIT_DONE;
    nobody.user = NULL;
    nobody.token = "";
    if (o->user) {
        status = login_by_password(o, arena, &token);
    } else {
        status = ask(&nobody, "GET", "/v1/login", &ways);
        const json_t *oidc = method_of(ways, "oidc");
        if (status == EXIT_DONE && !oidc)
            status = cli_complain(EXIT_USAGE, "login: this server has no issuer of logins; give "
                                              "--user NAME");
        if (status == EXIT_DONE)
            status = login_by_issuer(o, oidc, arena, &token);
    }
    json_decref(ways);
    if (status == EXIT_DONE)
        status = keep_session(o, token);
    nobody.token = NULL; /* but the session's */
    return status == EXIT_DONE ? run_whoami(&nobody, arena) : status;
}

int run_logout(const struct options *o, struct arena *arena)
{
    json_t *answer;
    (void)arena;
    int status = ask(o, "POST", "/v1/logout", &answer);
    json_decref(answer);
    int kept = keep_session(o, SPAN_NONE); /* also when the server is away */
    return status == EXIT_DONE ? kept : status;
}

static int put_text(const char *text, size_t len, void *unused)
{
    (void)unused;
    return fwrite(text, 1, len, stdout) == len ? 0 : -1;
}

int run_whoami(const struct options *o, struct arena *arena)
{
    json_t *me, *role;
    size_t i;
    (void)arena;
    int status = ask(o, "GET", "/v1/me", &me);
    const char *user = json_string_value(json_object_get(me, "user"));
    if (status == EXIT_DONE && o->json) {
        json_dump_callback(me, put_text, NULL, JSON_COMPACT);
        putchar('\n');
    } else if (status == EXIT_DONE) {
        bool asked = json_is_true(json_object_get(me, "authentication"));
        printf("user:  %s\n", user ? user : asked ? "-" : "- (authentication is not enabled)");
        json_array_foreach(json_object_get(me, "roles"), i, role)
        {
            printf("role:  %s\n", json_string_value(json_object_get(role, "name")));
        }
    }
    json_decref(me);
    return status;
}
