/* node: one server: connections, calls, the pump that takes writes through raft and the disk,
 * upkeep. */
#pragma once
#include <stdint.h>

/* `confman server ...`: argv without the program's name and that word. Runs until SIGTERM or
 * SIGINT; the exit status of the process: 0 stopped cleanly, 1 could not start or go on, 2 wrong
 * parameters. */
int node_run(int argc, char **argv);

/* `confman etcd ...`, or started by the name etcd: argv without those words. As node_run; 1 also
 * when the flags do not fit one another, as etcd has it. */
int node_run_etcd(int argc, char **argv);

/* `confman snapshot status FILE [--output json]`, and `confman snapshot restore FILE` with
 * parameters of the server: argv from "status" or "restore" on. 0; 1: refused; 2: wrong usage. */
int node_snapshot(int argc, char **argv);

/* How a live etcd is asked; main.c gives what the client has for it (cli/cli.h). */
struct import_source {
    int (*snapshot)(int argc, char **argv, const char *path);
    int (*hash)(int argc, char **argv, int64_t revision, uint32_t *hash, int64_t *compacted);
};

/* `confman import etcd`, where from, and parameters of the server: argv from behind "etcd". 0; 1:
 * refused; 2: wrong usage; or what source says. */
int node_import(int argc, char **argv, const struct import_source *source);

/* docs/reference and the man page, on standard output: "parameters", "metrics", "man". 2:
 * unknown. */
int node_docs(const char *what);
