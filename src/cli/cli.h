/* cli: the client commands, over the etcd door: they work against any etcd v3 server. */
#pragma once
#include <stdint.h>

/* argv without the program's name. The exit status: 0 done, 1 refused or not found, 2 wrong usage,
 * 3 the server cannot be reached or did not answer in time. */
int cli_run(int argc, char **argv);

/* What an import asks a live etcd for. argv: options of `confman status`. The same exit status;
 * what went wrong is told on standard error. snapshot writes the database to a new file, hash fills
 * in HashKV at a revision and what is compacted. */
int cli_etcd_snapshot(int argc, char **argv, const char *path);
int cli_etcd_hash(int argc, char **argv, int64_t revision, uint32_t *hash, int64_t *compacted);

int cli_docs(void); /* docs/reference/cli.md, on standard output */
int cli_man(void);  /* the commands' part of the manual page */
