/* cli_int: what the files of cli share: the options, the connection, the output. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/span.h"
#include "cli/cli.h"
#include "wire/json/json.h"
#include "wire/protobuf/etcd_pb.h"

enum { EXIT_DONE = 0, EXIT_REFUSED = 1, EXIT_USAGE = 2, EXIT_UNREACHABLE = 3 };

enum { OPTIONS_LIST_MAX = 64 };
struct option_list { /* of an option that may be given many times */
    const char *items[OPTIONS_LIST_MAX];
    int n;
};

struct command;

struct options {
    const struct command *of; /* whose they are */
    const char *endpoint, *output, *cacert, *cert, *key;
    const char *range_end, *sort_by, *order;
    const char *peer, *data_dir;
    const char *user, *password_file, *token, *new_password_file;
    int64_t max_keys, max_bytes, rate, burst;
    const char *from_endpoint, *from_snapshot, *from_data_dir;
    const char *source_cacert, *source_cert, *source_key;
    const char *source_user, *source_password_file, *source_token;
    const char *source_prefix, *target_prefix, *mark;
    bool overwrite, until_caught_up;
    int64_t timeout, limit, revision, lease, nodes, base_port;
    bool insecure_skip_verify, prefix, from_key, keys_only, count_only, serializable;
    bool print_value_only, prev_kv, ignore_value, ignore_lease, progress, physical, once, keys;
    bool no_password;
    bool learner, source_insecure_skip_verify, etcd;
    bool help, json;
    const char *name_space, *version, *versions, *reason, *share_file;
    int64_t shares, threshold;
    bool renew;
    const char *to_environment, *change_log, *format, *by, *since, *until;
    int64_t from, to;
    bool dry_run, confirm, force, everything, nested, replace, partial, inherited, all_members;
    const char *args[34];
    int n_args;
    bool stream, own;
    const char *environment, *parent, *type, *verbs, *roles;
    int64_t key_ttl, grace;
    bool disabled;
    const char *client, *state;
    bool flags;
    int64_t ttl;
    struct option_list map, file, secret;
    const char *below, *on_change, *cache_file, *run_client;
    char **command; /* what stands behind "--", ended by NULL; NULL: nothing */
};

struct command {
    const char *name, *arguments, *options; /* options: names, separated by spaces */
    const char *text, *example;
    int args_min, args_max;
    int (*run)(const struct options *o, struct arena *arena);
};

const struct command *cli_command(int i); /* the table's i-th; NULL: there are no more */
size_t cli_summary(const char *text);     /* how much of a command's text says what it does */
size_t cli_alternative(const char *arguments); /* how long the first of "get KEY|list [KEY|-]" is */
/* The i-th of all options; *name NULL: not one of the command's. False: there are no more. */
bool options_at(int i, const struct command *c, const char **name, const char **value,
                const char **text);
/* Reads options of the command and the words between them. EXIT_DONE or EXIT_USAGE (then told). */
int options_read(const struct command *c, int argc, char **argv, struct options *out);
/* Of whom an import asks: those of `status`. */
int cli_source_options(int argc, char **argv, struct options *out);
void options_help(const struct command *c, bool markdown);
bool options_number(const char *text, int64_t *out);

/* Tells what the word that stands first wants behind it, or which words there are. EXIT_USAGE. */
int cli_usage(const struct options *o);
int cli_complain(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- the connection: one call at a time, blocking ---- */

struct client;

/* Tries the endpoints in turn. NULL: none answers; then it was told on standard error. */
struct client *client_open(const struct options *o);
void client_close(struct client *c);

/* The exit status; response (in c's memory until the next call) is the answer's message. */
int client_call(struct client *c, const char *path, const struct buf *request,
                struct span *response);

/* A stream: begin, send any number of messages, take what comes. */
int client_begin(struct client *c, const char *path);
int client_send(struct client *c, const struct buf *message);
/* The same for one message that all is asked with; answers by client_next. */
int client_ask(struct client *c, const char *path, const struct buf *request);
/* Waits for the next message, also beyond the time-out when for_ever. EXIT_DONE with an empty
 * *message.data: the server ended the stream well. */
int client_next(struct client *c, bool for_ever, struct span *message);

/* GET path; what comes is given away as it comes, until take fails. */
int client_download(struct client *c, const char *path, int (*take)(void *, struct span),
                    void *context);

/* A request of the REST door, and the answer's body (in c's memory until the next call). */
int client_http(struct client *c, const char *method, const char *path, struct span body,
                struct span *answer);

/* ---- door.c: the same, with paths and JSON seen to ---- */

/* Appends text as a word of a path or query; those of plain_too stay as they are. */
void path_add(struct buf *b, const char *text, const char *plain_too);
void path_query(struct buf *b, const char *name, const char *value); /* value NULL: nothing */
/* *out: the answer's text, in the arena. path may be used no more. */
int door_text(const struct options *o, const char *method, struct buf *path, struct span body,
              struct arena *arena, struct span *out);
/* *out: the answer, to be given to json_decref; NULL when --output json had it printed, or it
 * is empty. path may be used no more. */
int door_ask(const struct options *o, const char *method, struct buf *path, struct span body,
             json_t **out);
/* The same, whatever --output says. */
int door_read(const struct options *o, const char *method, struct buf *path, struct span body,
              json_t **out);
void path_number(struct buf *b, const char *name, int64_t value); /* 0: nothing */
void door_json(struct buf *b, const json_t *value);
/* Appends what a file has; "-": standard input. EXIT_USAGE, told. */
enum { DOOR_FILE_MAX = 8 << 20 /* bytes */ };
int door_file(const char *name, struct buf *out);
void print_changes(const json_t *answer); /* its items, as people read them */

struct span client_token(const struct client *c); /* what the login was answered with, or "" */

/* ---- who we are ---- */

/* The token that `confman login` has kept for the endpoint, appended; false: there is none. */
bool session_token(const struct options *o, struct buf *out);

/* The user and password that the options name, read once; "" no user. EXIT_USAGE: no password can
 * be had (then told). */
int credentials_read(const struct options *o, struct span *user, struct span *password);
/* A password from the first line of a file ("-": standard input), or, without one, asked for on the
 * terminal without being shown, twice if so. EXIT_USAGE, told. */
int credentials_password(const char *file, const char *prompt, bool twice, struct buf *out);

/* Opens, calls, decodes nothing: EXIT_DONE and the response copied into the arena. */
int call_once(const struct options *o, const char *path, const struct buf *request,
              struct arena *arena, struct span *response);

/* ---- a command with its configs (run.c) ---- */

struct confman_list;
struct confman;

/* What the command gets: made anew of all there is, and compared. */
struct rendered {
    struct buf variables; /* "NAME=value", each ended by NUL */
    struct buf files;     /* path, NUL, length (8 bytes), value */
    size_t n_variables;
};
void rendered_open(struct rendered *r);
void rendered_close(struct rendered *r); /* wiped */
bool rendered_same(const struct rendered *a, const struct rendered *b);
/* EXIT_USAGE: two configs would have one name, or a value is none for a variable; told. */
int render_configs(const struct options *o, const struct confman_list *list, struct rendered *r);
int render_secrets(const struct options *o, struct confman *c, struct rendered *r);
/* Ours and these; in the arena. */
char **rendered_environment(const struct rendered *r, struct arena *arena);
int rendered_write(const struct rendered *r); /* the files */

/* ---- output ---- */

extern struct alloc cli_heap;

void write_pair_json(struct jsonw *w, const struct pb_key_value *kv, bool value);
void write_bytes_json(struct jsonw *w, const char *name, struct span bytes);
void write_header_json(struct jsonw *w, const struct pb_response_header *h);
void print_json(struct buf *b); /* with a newline; b is closed */
/* To standard output; false: it cannot be written. */
bool write_bytes(struct span s);
void print_bytes(struct span s);
void print_pair(const struct pb_key_value *kv, bool value_only, bool keys_only);

/* The end of the range that the options ask for; "" for one key. *key may be changed. */
struct span range_end_of(const struct options *o, struct span *key, struct arena *arena);

/* ---- commands ---- */

int run_put(const struct options *o, struct arena *arena);
int run_diff(const struct options *o, struct arena *arena);
int run_rollback(const struct options *o, struct arena *arena);
int run_export(const struct options *o, struct arena *arena);
int run_draft(const struct options *o, struct arena *arena);
int run_audit(const struct options *o, struct arena *arena);
int run_get(const struct options *o, struct arena *arena);
int run_del(const struct options *o, struct arena *arena);
int run_watch(const struct options *o, struct arena *arena);
int run_txn(const struct options *o, struct arena *arena);
int run_lease(const struct options *o, struct arena *arena);
int run_member(const struct options *o, struct arena *arena);
int run_cluster(const struct options *o, struct arena *arena);
int run_snapshot(const struct options *o, struct arena *arena);
int run_config(const struct options *o, struct arena *arena);
int run_environment(const struct options *o, struct arena *arena);
int run_run(const struct options *o, struct arena *arena);
int run_secret(const struct options *o, struct arena *arena);
int run_seal(const struct options *o, struct arena *arena);
int run_schema(const struct options *o, struct arena *arena);
int run_guard(const struct options *o, struct arena *arena);
int run_flag(const struct options *o, struct arena *arena);
/* Of another system's export: flags by name, in our form, into flags, and what they share into
 * *shared (NULL: nothing). How many could not be taken over, each told why; < 0: none, told why. */
int flag_convert(const char *format, const json_t *file, json_t *flags, json_t **shared);
int run_deliveries(const struct options *o, struct arena *arena);
int run_approle(const struct options *o, struct arena *arena);
int run_quota(const struct options *o, struct arena *arena);
int run_mirror(const struct options *o, struct arena *arena);
int run_import(const struct options *o, struct arena *arena);
int run_auth(const struct options *o, struct arena *arena);
int run_user(const struct options *o, struct arena *arena);
int run_role(const struct options *o, struct arena *arena);
int run_account(const struct options *o, struct arena *arena);
void cli_words(struct jsonw *w, const char *list); /* "a,b" as a list of texts */
int cli_grant(const struct options *o); /* `role grant` and `role revoke` */
int run_login(const struct options *o, struct arena *arena);
int run_logout(const struct options *o, struct arena *arena);
int run_whoami(const struct options *o, struct arena *arena);
int run_alarm(const struct options *o, struct arena *arena);
int run_defrag(const struct options *o, struct arena *arena);
int run_hash(const struct options *o, struct arena *arena);
int run_lock(const struct options *o, struct arena *arena);
int run_elect(const struct options *o, struct arena *arena);
int run_status(const struct options *o, struct arena *arena);
int run_completion(const struct options *o, struct arena *arena);
int run_compact(const struct options *o, struct arena *arena);
bool get_request(const struct options *o, struct span key, struct arena *arena,
                 struct pb_range_request *out); /* false: a bad --sort-by or --order, told */
void write_range_json(struct jsonw *w, const struct pb_range_response *r, bool keys_only);
void print_range(const struct options *o, const struct pb_range_response *r);
