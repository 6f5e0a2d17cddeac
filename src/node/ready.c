/* When a node begins to serve: what is told then, to those who read the log and to systemd. */
#include "io/process/process.h"
#include "node/node_int.h"

/* Whether all members know where we are called. */
static bool is_published(const struct node *n)
{
    const struct member *m = cluster_member(n, n->header.member_id);
    return n->cluster.foreign || /* then nobody writes it down */
           (m && span_is(m->info.name, n->params.name) &&
            span_is(m->info.client_url, n->client_url));
}

/* Tools that start etcd wait for these lines (etcd's embed/serve.go, etcdserver/server.go). */
void ready_turn(struct node *n)
{
    const char *why;
    if (n->told_ready || n->stopping || !small_ready(n, &why) || !is_published(n))
        return;
    n->told_ready = true;
    slog(SLOG_INFO, "published local member to cluster through raft",
         "local-member-id=%llx name=%s client-urls=%s cluster-id=%llx",
         (unsigned long long)n->header.member_id, slog_quote(n->params.name),
         slog_quote(n->client_url), (unsigned long long)n->header.cluster_id);
    slog(SLOG_INFO, "enabled capabilities for version",
         "cluster-version=\"" ETCD_CLUSTER_VERSION "\"");
    slog(SLOG_INFO, "ready to serve client requests", "revision=%lld",
         (long long)kv_revision(n->machine.kv));
    process_notify("READY=1");
}
