#include "node/etcdstart.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/check.h"
#include "core/kv/kv.h"
#include "io/file/file.h"
#include "io/tcp/tcp.h"
#include "node/slog.h"
#include "node/storage.h"

enum { STREAMS_MAX = 1000000 };

static const char CLIENT_URL[] = "http://localhost:2379", PEER_URL[] = "http://localhost:2380";

__attribute__((format(printf, 2, 3))) static enum err refuse(char *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, PARAM_WHY_MAX, format, args);
    va_end(args);
    return ERR_BAD_REQUEST;
}

static enum err set(struct params *p, enum etcd_flag f, const char *name, const char *value,
                    char *why)
{
    char where[128];
    snprintf(where, sizeof(where), "--%s", etcd_rows[f].name);
    return param_set(p, name, value, where, why);
}

/* ---- flags that are parameters ---- */

static enum err take_param(const struct etcd_given *g, enum etcd_flag f, struct params *p,
                           char *why)
{
    const struct etcd_row *row = &etcd_rows[f];
    char text[32];
    const char *value = g->value[f];
    int64_t ms = 0;
    bool yes = false;
    if (row->type == ETCD_TIME) {
        CHECK(etcdflag_duration(value, &ms)); /* it was checked when it was read */
        snprintf(text, sizeof(text), "%lld", (long long)ms);
        value = text;
    } else if (row->type == ETCD_BOOL) {
        CHECK(etcdflag_bool(value, &yes));
        value = yes ? "true" : "false";
    }
    return set(p, f, row->to, value, why);
}

static enum err take_row(const struct etcd_given *g, enum etcd_flag f, struct params *p, char *why)
{
    const struct etcd_row *row = &etcd_rows[f];
    bool yes = true;
    if (!g->value[f])
        return ERR_OK;
    if (row->use == ETCD_PARAM)
        return take_param(g, f, p, why);
    bool harmless = strcmp(g->value[f], row->to) == 0 ||
                    (row->type == ETCD_BOOL && etcdflag_bool(g->value[f], &yes) && !yes);
    if (row->use == ETCD_REFUSED && !harmless)
        return refuse(why, "--%s is refused: %s", row->name, row->text);
    return ERR_OK;
}

/* ---- addresses ---- */

/* "localhost" and "127.0.0.1" are the same place, as etcd finds out by asking. */
static bool same_url(const char *a, size_t a_len, const char *b, size_t b_len)
{
    char texts[2][PARAM_TEXT_MAX];
    struct tcp_address at[2];
    bool tls[2];
    snprintf(texts[0], sizeof(texts[0]), "%.*s", (int)a_len, a);
    snprintf(texts[1], sizeof(texts[1]), "%.*s", (int)b_len, b);
    for (int i = 0; i < 2; i++) {
        if (tcp_parse(texts[i], &at[i], &tls[i]) != ERR_OK)
            return false;
        if (strcmp(at[i].host, "localhost") == 0)
            strcpy(at[i].host, "127.0.0.1");
    }
    return tls[0] == tls[1] && strcmp(at[0].host, at[1].host) == 0 &&
           strcmp(at[0].port, at[1].port) == 0;
}

static bool is_url(const char *text)
{
    struct tcp_address a;
    const char *slashes = strstr(text, "://");
    bool local = strncmp(text, "unix:", 5) == 0 || strncmp(text, "unixs:", 6) == 0;
    bool net = strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0;
    return (local || (net && !strchr(slashes + 3, '/'))) && tcp_parse(text, &a, NULL) == ERR_OK;
}

/* A flag's list, without spaces, into a parameter. */
static enum err take_urls(const struct etcd_given *g, enum etcd_flag f, const char *otherwise,
                          char out[PARAM_TEXT_MAX], char *why)
{
    const char *given = g->value[f] ? g->value[f] : otherwise;
    size_t n = 0;
    for (const char *at = given; *at;) {
        char url[PARAM_TEXT_MAX];
        at += strspn(at, " ,");
        size_t len = strcspn(at, " ,");
        snprintf(url, sizeof(url), "%.*s", (int)len, at);
        at += len;
        if (!len)
            continue;
        if (!is_url(url))
            return refuse(why,
                          "--%s: \"%.300s\" is not http://host:port, https://host:port, "
                          "unix://path or unixs://path",
                          etcd_rows[f].name, url);
        n += (size_t)snprintf(out + n, PARAM_TEXT_MAX - n, "%s%s", n ? "," : "", url);
    }
    return ERR_OK;
}

/* ---- the cluster ---- */

/* What initial-cluster says: who begins (one URL a member, the first), our URLs, the others'. */
struct beginning {
    char all[PARAM_TEXT_MAX], own[PARAM_TEXT_MAX], others[PARAM_TEXT_MAX];
};

static void append(char *list, const char *text, size_t len)
{
    size_t n = strlen(list);
    snprintf(list + n, PARAM_TEXT_MAX - n, "%s%.*s", n ? "," : "", (int)len, text);
}

static bool names(const char *all, const char *entry, size_t name_len)
{
    for (const char *at = all; *at; at += strcspn(at, ","), at += *at == ',')
        if (strncmp(at, entry, name_len + 1) == 0) /* with its "=" */
            return true;
    return false;
}

static enum err take_beginning(const char *text, const char *name, struct beginning *b, char *why)
{
    *b = (struct beginning){ .all = "" };
    for (const char *at = text; *at;) {
        at += strspn(at, " ,");
        size_t len = strcspn(at, " ,"), name_len = strcspn(at, "=");
        if (!len)
            break;
        if (name_len == 0 || name_len >= len)
            return refuse(why, "--initial-cluster: \"%.*s\" is not name=url", (int)len, at);
        bool ours = strlen(name) == name_len && strncmp(at, name, name_len) == 0;
        append(ours ? b->own : b->others, at + name_len + 1, len - name_len - 1);
        if (names(b->all, at, name_len))
            slog(SLOG_WARN, "a member has several peer URLs: its first one is used", "url=%s",
                 slog_quote(at));
        else
            append(b->all, at, len);
        at += len;
    }
    return ERR_OK;
}

static bool has_url(const char *list, const char *url, size_t len)
{
    for (const char *at = list; *at; at += *at == ',') {
        size_t n = strcspn(at, ",");
        if (same_url(at, n, url, len))
            return true;
        at += n;
    }
    return false;
}

static bool has_all(const char *list, const char *urls)
{
    for (const char *at = urls; *at; at += *at == ',') {
        size_t n = strcspn(at, ",");
        if (!has_url(list, at, n))
            return false;
        at += n;
    }
    return true;
}

/* What etcd insists on before it begins or joins a cluster; not when there is data already. */
static enum err check_beginning(const struct etcd_given *g, const struct params *p,
                                const struct beginning *b, const char *advertised, bool join,
                                char *why)
{
    if (!b->own[0])
        return refuse(why,
                      "couldn't find local name \"%.200s\" in the initial cluster configuration",
                      p->name);
    bool same = has_all(b->own, advertised) && has_all(advertised, b->own);
    if (g->value[ETCD_FLAG_initial_advertise_peer_urls] && !same)
        return refuse(why,
                      "--initial-cluster has %.200s=%.300s but --initial-advertise-peer-urls is "
                      "%.300s: they must be the same",
                      p->name, b->own, advertised);
    if (join && !b->others[0])
        return refuse(why, "--initial-cluster-state existing: --initial-cluster names no other "
                           "member to ask");
    return ERR_OK;
}

static enum err take_cluster(const struct etcd_given *g, struct params *p, bool exists, char *why)
{
    static struct beginning b;
    char advertised[PARAM_TEXT_MAX] = "", whole[PARAM_TEXT_MAX] = "";
    const char *state = g->value[ETCD_FLAG_initial_cluster_state];
    const char *cluster = g->value[ETCD_FLAG_initial_cluster];
    enum etcd_flag f = ETCD_FLAG_initial_advertise_peer_urls;
    bool join = state && strcmp(state, "existing") == 0;
    if (state && !join && strcmp(state, "new") != 0)
        return refuse(why, "--initial-cluster-state must be new or existing, not \"%.100s\"",
                      state);
    enum err e = take_urls(g, f, PEER_URL, advertised, why);
    if (e != ERR_OK)
        return e;
    for (const char *at = advertised; !cluster && *at; at += *at == ',') {
        char one[PARAM_TEXT_MAX];
        size_t n = strcspn(at, ",");
        snprintf(one, sizeof(one), "%.200s=%.*s", p->name, (int)(n < 3000 ? n : 3000), at);
        append(whole, one, strlen(one));
        at += n;
    }
    e = take_beginning(cluster ? cluster : whole, p->name, &b, why);
    if (e == ERR_OK)
        e = check_beginning(g, p, &b, advertised, join, why);
    if (e != ERR_OK && exists) /* the membership is on disk; where we are called may be new */
        return g->value[f] ? set(p, f, "advertise-peer", advertised, why) : ERR_OK;
    if (e != ERR_OK)
        return e;
    const char *own = g->value[f] ? advertised : b.own;
    if (g->value[f] || cluster) /* the first one */
        snprintf(p->advertise_peer, sizeof(p->advertise_peer), "%.*s", (int)strcspn(own, ","), own);
    return join ? set(p, ETCD_FLAG_initial_cluster_state, "join", b.others, why)
                : set(p, ETCD_FLAG_initial_cluster, "initial-cluster", b.all, why);
}

/* ---- what etcd has in its directory ---- */

static void see(void *context, const char *name)
{
    bool *found = context;
    *found = *found || strcmp(name, "member") == 0;
}

static enum err look_at_data(const struct params *p, bool *exists, char *why)
{
    bool of_etcd = false;
    if (storage_exists(p->data_dir, exists) != ERR_OK)
        return refuse(why, "the data directory cannot be opened: %.500s", file_why());
    enum err e = file_list(p->data_dir, see, &of_etcd);
    if (e == ERR_OK && of_etcd && !*exists)
        return refuse(
            why,
            "the data directory %.300s is etcd's own, and its files are not confman's: "
            "nothing of it would be seen; give another --data-dir, and take the data over "
            "from the running etcd or its snapshot",
            p->data_dir);
    return ERR_OK;
}

/* ---- the rest ---- */

static enum err take_log(const struct etcd_given *g, struct params *p, char *why)
{
    static const struct {
        const char *etcd, *here;
    } words[] = { { "default", "stderr" }, { "systemd/journal", "stderr" },
                  { "console", "text" },   { "dpanic", "error" },
                  { "panic", "error" },    { "fatal", "error" },
                  { "warning", "warn" } };
    const struct {
        enum etcd_flag flag;
        const char *otherwise;
    } flags[] = { { ETCD_FLAG_log_level, "info" },
                  { ETCD_FLAG_log_format, "json" },
                  { ETCD_FLAG_log_outputs, "stderr" } };
    for (int i = 0; i < 3; i++) {
        const char *value = g->value[flags[i].flag];
        value = value ? value : flags[i].otherwise;
        for (size_t k = 0; k < sizeof(words) / sizeof(words[0]); k++)
            value = strcmp(value, words[k].etcd) == 0 ? words[k].here : value;
        enum err e = set(p, flags[i].flag, etcd_rows[flags[i].flag].to, value, why);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

static enum err take_limits(const struct etcd_given *g, struct params *p, char *why)
{
    const char *ops = g->value[ETCD_FLAG_max_txn_ops];
    const char *streams = g->value[ETCD_FLAG_max_concurrent_streams];
    const char *quota = g->value[ETCD_FLAG_quota_backend_bytes];
    if (ops && strtoll(ops, NULL, 10) > KV_OPS_MAX)
        return refuse(why, "--max-txn-ops is refused: a transaction has at most %d operations",
                      KV_OPS_MAX);
    int64_t n = quota ? strtoll(quota, NULL, 10) : 0;
    if (n > 0) {
        enum err e = set(p, ETCD_FLAG_quota_backend_bytes, "quota-backend-bytes", quota, why);
        if (e != ERR_OK)
            return e;
    }
    if (!streams)
        return ERR_OK;
    n = strtoll(streams, NULL, 10);
    p->streams_max = n > STREAMS_MAX || n <= 0 ? STREAMS_MAX : n; /* etcd's 0 is no limit */
    return ERR_OK;
}

static enum err take_own(const struct etcd_given *g, struct params *p, char *why)
{
    const char *name = g->value[ETCD_FLAG_name], *dir = g->value[ETCD_FLAG_data_dir];
    bool exists = false;
    /* Who writes http:// before an address means it; etcd warns, and so do we. */
    p->allow_insecure_listen = true;
    enum err e = set(p, ETCD_FLAG_name, "name", name ? name : "default", why);
    if (e == ERR_OK && dir)
        e = set(p, ETCD_FLAG_data_dir, "data-dir", dir, why);
    else if (e == ERR_OK)
        snprintf(p->data_dir, sizeof(p->data_dir), "%.4000s.etcd", p->name);
    if (e == ERR_OK && g->value[ETCD_FLAG_listen_client_urls] &&
        !g->value[ETCD_FLAG_advertise_client_urls] && !g->file)
        return refuse(why, "--advertise-client-urls is required when --listen-client-urls is set "
                           "explicitly");
    if (e == ERR_OK)
        e = take_urls(g, ETCD_FLAG_listen_client_urls, CLIENT_URL, p->listen, why);
    if (e == ERR_OK)
        e = take_urls(g, ETCD_FLAG_listen_peer_urls, PEER_URL, p->listen_peers, why);
    if (e == ERR_OK)
        e = take_urls(g, ETCD_FLAG_advertise_client_urls, CLIENT_URL, p->advertise_client, why);
    if (e == ERR_OK)
        e = look_at_data(p, &exists, why);
    if (e == ERR_OK)
        e = take_cluster(g, p, exists, why);
    if (e == ERR_OK)
        e = take_log(g, p, why);
    return e == ERR_OK ? take_limits(g, p, why) : e;
}

enum err etcdstart_params(const struct etcd_given *g, struct params *p, char *why)
{
    enum err e = param_begin(p, why);
    snprintf(p->initial_cluster_token, sizeof(p->initial_cluster_token), "etcd-cluster");
    for (size_t i = 0; i < 2; i++) { /* etcd lets every page and every name in */
        char *list = i ? p->cors : p->host_whitelist;
        if (!list[0])
            snprintf(list, PARAM_TEXT_MAX, "*");
    }
    for (int i = 0; i < ETCD_FLAGS && e == ERR_OK; i++)
        e = take_row(g, (enum etcd_flag)i, p, why);
    return e == ERR_OK ? take_own(g, p, why) : e;
}

void etcdstart_tell(const struct etcd_given *g)
{
    for (int i = 0; i < ETCD_FLAGS; i++)
        if (g->value[i] && etcd_rows[i].use == ETCD_IGNORED)
            slog(SLOG_INFO, "a flag of etcd's without meaning here: ignored", "flag=%s why=%s",
                 etcd_rows[i].name, slog_quote(etcd_rows[i].text));
}
