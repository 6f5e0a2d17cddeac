/* confman: the words of the command line. `server` and `etcd` run a node, `snapshot status`,
 * `restore` and `import` work on a node's files; everything else is the client. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "cli/cli.h"
#include "node/node.h"

static bool is_called(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    return strcmp(slash ? slash + 1 : path, name) == 0;
}

static int docs(const char *what)
{
    if (strcmp(what, "cli") == 0)
        return cli_docs();
    int status = node_docs(what);
    return strcmp(what, "man") == 0 ? cli_man() : status;
}

int main(int argc, char **argv)
{
    if (argc > 0 && is_called(argv[0], "etcd"))
        return node_run_etcd(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "etcd") == 0)
        return node_run_etcd(argc - 2, argv + 2);
    if (argc > 1 && strcmp(argv[1], "server") == 0)
        return node_run(argc - 2, argv + 2);
    if (argc > 2 && strcmp(argv[1], "snapshot") == 0 &&
        (strcmp(argv[2], "status") == 0 || strcmp(argv[2], "restore") == 0))
        return node_snapshot(argc - 2, argv + 2);
    if (argc > 3 && strcmp(argv[1], "import") == 0 && strcmp(argv[2], "etcd") == 0 &&
        strcmp(argv[3], "--help") != 0)
        return node_import(argc - 3, argv + 3,
                           &(struct import_source){ cli_etcd_snapshot, cli_etcd_hash });
    if (argc > 2 && strcmp(argv[1], "docs") == 0)
        return docs(argv[2]);
    return cli_run(argc - 1, argv + 1);
}
