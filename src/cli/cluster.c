/* `confman cluster up`: several servers on this machine, for trying out. */
#include <string.h>
#include "cli/cli_int.h"
#include "io/file/file.h"
#include "io/process/process.h"

enum { NODES_MAX = 9, PORT_MAX = 65535 };

struct up {
    const char *dir;
    int64_t n, port;
    int ids[NODES_MAX + 1];
    int64_t running;
};

static int start(struct up *u, int64_t i)
{
    char name[8], dir[1024], log[1100], client[32], peer[32], all[NODES_MAX * 32] = "";
    for (int64_t k = 1; k <= u->n; k++)
        snprintf(all + strlen(all), sizeof(all) - strlen(all), "%sn%d=127.0.0.1:%d",
                 k > 1 ? "," : "", (int)k, (int)(u->port + 2 * k - 1));
    snprintf(name, sizeof(name), "n%d", (int)i);
    snprintf(dir, sizeof(dir), "%.900s/%s", u->dir, name);
    snprintf(log, sizeof(log), "%s.log", dir);
    snprintf(client, sizeof(client), "127.0.0.1:%d", (int)(u->port + 2 * (i - 1)));
    snprintf(peer, sizeof(peer), "127.0.0.1:%d", (int)(u->port + 2 * i - 1));
    char *argv[] = { "confman", "server",   "--name",         name,   "--data-dir",        dir,
                     "--listen", client, "--listen-peers", peer, "--initial-cluster", all,
                     NULL };
    if (process_start(argv, log, &u->ids[i]) != ERR_OK)
        return cli_complain(EXIT_REFUSED, "cluster up: %s cannot be started (log: %s)", name, log);
    u->running++;
    printf("%s  clients %-16s members %-16s log %s\n", name, client, peer, log);
    return EXIT_DONE;
}

static void end_all(const struct up *u)
{
    for (int64_t i = 1; i <= u->n; i++)
        if (u->ids[i] > 0)
            process_end(u->ids[i]);
}

/* Until interrupted, or all have ended by themselves. */
static int watch(struct up *u)
{
    bool stopping = false;
    int status = EXIT_DONE, how, id;
    while (u->running > 0 && (id = process_wait(&how)) >= 0) {
        if (id == 0) {
            puts("stopping");
            stopping = true;
            end_all(u);
            continue;
        }
        for (int64_t i = 1; i <= u->n; i++) {
            if (u->ids[i] != id)
                continue;
            u->ids[i] = 0;
            u->running--;
            if (!stopping)
                status = cli_complain(EXIT_REFUSED, "n%d ended with status %d; see %s/n%d.log",
                                      (int)i, how, u->dir, (int)i);
        }
        fflush(stdout);
    }
    return status;
}

int run_cluster(const struct options *o, struct arena *arena)
{
    struct up u = { .dir = o->data_dir ? o->data_dir : "data",
                    .n = o->nodes ? o->nodes : 3,
                    .port = o->base_port ? o->base_port : 2379 };
    int status = EXIT_DONE;
    (void)arena;
    if (strcmp(o->args[0], "up") != 0)
        return cli_complain(EXIT_USAGE, "cluster: \"%s\" is not up", o->args[0]);
    if (u.n < 1 || u.n > NODES_MAX)
        return cli_complain(EXIT_USAGE, "cluster up: --nodes from 1 to %d", NODES_MAX);
    if (u.port + 2 * u.n - 1 > PORT_MAX)
        return cli_complain(EXIT_USAGE, "cluster up: --base-port is too high");
    if (strlen(u.dir) > 900 || file_make_dir(u.dir) != ERR_OK)
        return cli_complain(EXIT_REFUSED, "cluster up: %s cannot be made: %s", u.dir, file_why());
    for (int64_t i = 1; i <= u.n && status == EXIT_DONE; i++)
        status = start(&u, i);
    if (status != EXIT_DONE)
        end_all(&u);
    else
        printf("try: confman member list --endpoint 127.0.0.1:%d\n"
               "     confman put greeting hello --endpoint 127.0.0.1:%d\n"
               "     confman get greeting --endpoint 127.0.0.1:%d\n"
               "interrupt to stop\n",
               (int)u.port, (int)u.port, (int)(u.port + 2 * (u.n - 1)));
    fflush(stdout);
    int ended = watch(&u);
    return status != EXIT_DONE ? status : ended;
}
