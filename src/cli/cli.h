/* cli: the client commands, over the etcd door: they work against any etcd v3 server. */
#pragma once

/* argv without the program's name. The exit status: 0 done, 1 refused or not found, 2 wrong usage,
 * 3 the server cannot be reached or did not answer in time. */
int cli_run(int argc, char **argv);

int cli_docs(void); /* docs/reference/cli.md, on standard output */
