/* The parameters of a node in the world. */
#include <stdio.h>
#include "base/check.h"
#include "node/param.h"
#include "world.h"

enum { TEXT_BYTES = 512, ARGS_MAX = 16, CLIENT_PORT = 2379, PEER_PORT = 2380 };

void world_params(const struct host *h, struct params *out, char *why)
{
    char name[TEXT_BYTES], listen[TEXT_BYTES], peers[TEXT_BYTES], all[TEXT_BYTES] = "";
    char join[TEXT_BYTES] = "";
    char *args[ARGS_MAX];
    int n = 0;
    size_t len = 0, join_len = 0;
    snprintf(name, sizeof(name), "--name=%s", h->name);
    snprintf(listen, sizeof(listen), "--listen=%s:%d", h->address, CLIENT_PORT);
    snprintf(peers, sizeof(peers), "--listen-peers=%s:%d", h->address, PEER_PORT);
    args[n++] = name;
    args[n++] = listen;
    for (int i = 0; i < n_nodes && n_nodes > 1; i++)
        len += (size_t)snprintf(all + len, sizeof(all) - len, "%s%s=%s:%d",
                                i ? "," : "--initial-cluster=", hosts[i].name, hosts[i].address,
                                PEER_PORT);
    for (int i = 0; i < n_nodes && h->joins; i++)
        if (i != h->number)
            join_len += (size_t)snprintf(join + join_len, sizeof(join) - join_len, "%s%s:%d",
                                         join_len ? "," : "--join=", hosts[i].address, PEER_PORT);
    if (n_nodes > 1) {
        args[n++] = peers;
        args[n++] = h->joins ? join : all;
    }
    enum err e = param_read(out, n, args, why);
    if (e != ERR_OK)
        violated("parameters: %s", why);
    out->checkpoint_log_bytes = setup.checkpoint_bytes;
    out->checkpoint_log_percent = setup.checkpoint_percent;
    out->raft_keep_bytes = setup.keep_bytes;
    out->watch_queue_bytes = setup.watch_queue_bytes;
    out->leader_lease_ms = setup.leader_lease_ms;
}
