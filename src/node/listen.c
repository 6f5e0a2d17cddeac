/* Where clients come in: addresses, what each answers, certificates. */
#include <stdio.h>
#include "base/check.h"
#include "io/file/file.h"
#include "node/node_int.h"
#include "node/peers.h"

enum { HOSTS_MAX = 32, DAYS_A_YEAR = 365 };

static bool refuse(const char *message, const char *why)
{
    slog(SLOG_ERROR, message, "error=%s", slog_quote(why));
    return false;
}

bool listen_secure(const char *url, bool otherwise)
{
    if (strncmp(url, "https://", 8) == 0 || strncmp(url, "unixs:", 6) == 0)
        return true;
    return strncmp(url, "http://", 7) != 0 && strncmp(url, "unix:", 5) != 0 && otherwise;
}

/* ---- certificates ---- */

static bool make_folder(const struct params *p, const char *kind, char *path)
{
    const char *const below[] = { "", "/fixtures", "/fixtures/", kind };
    size_t len = (size_t)snprintf(path, PARAM_TEXT_MAX, "%.3000s", p->data_dir);
    for (int i = 0; i < 3; i++) {
        snprintf(path + len, PARAM_TEXT_MAX - len, "%s%s", below[i], i == 2 ? below[3] : "");
        if (file_make_dir(path) != ERR_OK)
            return refuse("a directory for certificates cannot be made", file_why());
    }
    return true;
}

bool listen_self_signed(const struct params *p, const char *kind, const char *addresses,
                        char *cert_file, char *key_file)
{
    char folder[PARAM_TEXT_MAX], list[PARAM_TEXT_MAX], *rest = list, why[TLS_WHY_MAX];
    struct tcp_address found[HOSTS_MAX];
    const char *hosts[HOSTS_MAX];
    size_t n = 0;
    if (!make_folder(p, kind, folder))
        return false;
    snprintf(list, sizeof(list), "%s", addresses);
    for (char *one; n < HOSTS_MAX && (one = strsep(&rest, ",")) != NULL;)
        if (tcp_parse(one, &found[n], NULL) == ERR_OK && found[n].port[0]) {
            hosts[n] = found[n].host;
            n++;
        }
    snprintf(cert_file, PARAM_TEXT_MAX, "%.4000s/cert.pem", folder);
    snprintf(key_file, PARAM_TEXT_MAX, "%.4000s/key.pem", folder);
    if (tls_self_signed(cert_file, key_file, hosts, n, p->self_signed_cert_validity * DAYS_A_YEAR,
                        why) != ERR_OK)
        return refuse("a certificate cannot be made", why);
    return true;
}

/* What of a client's certificate its user is. */
static bool read_name(const char *text, enum tls_name *out)
{
    static const char *const names[TLS_NAMES] = { "cn", "uri", "dns", "email" };
    enum tls_name i = TLS_NAME_CN;
    while (i < TLS_NAMES && strcmp(text, names[i]) != 0)
        i++;
    *out = i;
    return i < TLS_NAMES;
}

bool listen_open_tls(struct node *n)
{
    char why[TLS_WHY_MAX];
    enum tls_name named_by;
    struct params *p = &n->params;
    if (!read_name(p->client_cert_user, &named_by))
        return refuse("client-cert-user", "it is cn, uri, dns or email");
    if (p->auto_tls && !p->cert_file[0] && !p->key_file[0] &&
        !listen_self_signed(p, "client", p->listen, p->cert_file, p->key_file))
        return false;
    if (!p->cert_file[0] != !p->key_file[0])
        return refuse("TLS", "cert-file and key-file go together: give both or neither");
    bool asks = p->trusted_ca_file[0] || p->client_cert_auth;
    if (!p->cert_file[0])
        return asks ? refuse("TLS", "trusted-ca-file and client-cert-auth need cert-file and "
                                    "key-file")
                    : true;
    if (!asks && (p->client_crl_file[0] || p->client_cert_allowed_cn[0] ||
                  p->client_cert_allowed_hostname[0] || named_by != TLS_NAME_CN))
        return refuse("TLS", "client-crl-file, client-cert-allowed-... and client-cert-user need "
                             "trusted-ca-file: clients are not asked for certificates");
    struct tls_options o = { .cert_file = p->cert_file,
                             .key_file = p->key_file,
                             .ca_file = p->trusted_ca_file,
                             .crl_file = p->client_crl_file,
                             .allowed_cn = p->client_cert_allowed_cn,
                             .allowed_hostname = p->client_cert_allowed_hostname,
                             .ciphers = p->cipher_suites,
                             .version_min = p->tls_min_version,
                             .version_max = p->tls_max_version,
                             .ask = p->client_cert_auth,
                             .named_by = named_by };
    return tls_context_open(&o, &n->tls, why) == ERR_OK ? true : refuse("TLS", why);
}

void listen_refresh(struct node *n, struct tls_context *c, const char *which)
{
    char why[TLS_WHY_MAX];
    bool again;
    enum err e = c ? tls_context_refresh(c, &again, why) : ERR_OK;
    if (e != ERR_OK) {
        n->metrics.tls_reload_errors++;
        slog(SLOG_WARN, "changed certificates cannot be used: those from before stay",
             "of=%s error=%s", which, slog_quote(why));
    } else if (c && again) {
        n->metrics.tls_reloads++;
        slog(SLOG_INFO, "read changed certificates", "of=%s", which);
    }
}

void listen_sweep(struct node *n)
{
    listen_refresh(n, n->tls, "clients");
    peers_sweep(n);
}

/* ---- addresses ---- */

static void tell_url(struct node *n, const struct tcp_address *a, const struct listener *l)
{
    bool v6 = strchr(a->host, ':') != NULL;
    if (n->client_url[0] || !(l->serves & SERVES_GRPC))
        return;
    if (!a->port[0])
        snprintf(n->client_url, sizeof(n->client_url), "%s://%s", l->tls ? "unixs" : "unix",
                 a->host);
    else
        snprintf(n->client_url, sizeof(n->client_url), "%s://%s%s%s:%u", l->tls ? "https" : "http",
                 v6 ? "[" : "", a->host[0] ? a->host : "localhost", v6 ? "]" : "", tcp_port(l->fd));
}

/* What others reach asks them who they are: by certificate or, with auth enabled, by user. */
static bool safe(const struct node *n, const char *text, bool tls)
{
    const struct params *p = &n->params;
    if (tls && (p->trusted_ca_file[0] || p->client_cert_auth || n->auth_asked))
        return true;
    if (!p->allow_insecure_listen)
        return refuse("listen: not a loopback address, and nobody is asked who it is; give "
                      "cert-file and key-file, and trusted-ca-file or, first, "
                      "`confman auth enable` on a loopback address; or allow-insecure-listen",
                      text);
    slog(SLOG_WARN, "serving client traffic insecurely; this is strongly discouraged!",
         "address=%s", slog_quote(text));
    return true;
}

static bool open_one(struct node *n, const char *text, unsigned serves)
{
    struct tcp_address a;
    char why[TCP_WHY_MAX];
    struct listener l = { .node = n, .tls = listen_secure(text, n->tls != NULL), .serves = serves };
    if (tcp_parse(text, &a, NULL) != ERR_OK)
        return refuse("listen: not host:port", text);
    l.local = !a.port[0];
    if (l.tls && !n->tls)
        return refuse("listen: https needs cert-file and key-file, or auto-tls", text);
    bool near = tcp_is_loopback(&a);
    if (!near && !n->access.hosts[0])
        n->access.hosts = "*"; /* it has names that we cannot know */
    if (!near && !safe(n, text, l.tls))
        return false;
    if (tcp_listen(&a, &l.fd, why) != ERR_OK)
        return refuse("cannot listen", why);
    struct listener *kept = mem_zero(&n->alloc, sizeof(*kept));
    *kept = l;
    VEC_PUSH(&n->listeners, &n->alloc, kept);
    loop_watch(n->loop, l.fd, LOOP_READ, conn_accept, kept);
    tell_url(n, &a, kept);
    slog(SLOG_INFO, "listening", "host=%s port=%u tls=%s serves=%s%s%s", slog_quote(a.host),
         tcp_port(l.fd), l.tls ? "true" : "false", serves & SERVES_GRPC ? "grpc" : "",
         serves & SERVES_GRPC && serves & SERVES_HTTP ? "+" : "",
         serves & SERVES_HTTP     ? "http"
         : serves == SERVES_SMALL ? "metrics"
         : serves == SERVES_VAULT ? "vault"
                                  : "");
    return true;
}

static bool open_list(struct node *n, const char *addresses, unsigned serves)
{
    char list[PARAM_TEXT_MAX], *rest = list;
    snprintf(list, sizeof(list), "%s", addresses);
    for (char *one; addresses[0] && (one = strsep(&rest, ",")) != NULL;)
        if (!open_one(n, one, serves))
            return false;
    return true;
}

bool listen_open(struct node *n)
{
    const struct params *p = &n->params;
    unsigned all = SERVES_GRPC | SERVES_HTTP | SERVES_SMALL;
    if (strlen(p->advertise_client) > PEER_URL_MAX)
        return refuse("advertise-client: too long", p->advertise_client);
    snprintf(n->client_url, sizeof(n->client_url), "%.*s", PEER_URL_MAX, p->advertise_client);
    return open_list(n, p->listen, p->listen_http[0] ? SERVES_GRPC : all) &&
           open_list(n, p->listen_http, SERVES_HTTP | SERVES_SMALL) &&
           open_list(n, p->listen_metrics, SERVES_SMALL) &&
           open_list(n, p->vault_listen, SERVES_VAULT);
}

void listen_close(struct node *n)
{
    for (size_t i = 0; i < n->listeners.n; i++) {
        struct listener *l = n->listeners.items[i];
        loop_unwatch(n->loop, l->fd);
        tcp_unlisten(l->fd);
        mem_free(&n->alloc, l, sizeof(*l));
    }
    n->listeners.n = 0;
}
