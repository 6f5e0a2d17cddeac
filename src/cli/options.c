#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "base/nearest.h"
#include "cli/cli_int.h"

enum kind { FLAG, TEXT, NUMBER, HEX, LIST };

static const struct option {
    const char *name, *value, *text;
    enum kind kind;
    size_t offset;
    const char *listed; /* by commands: the name, but where two options have one name */
} table[] = {
#define OPTION(name, field, kind, value, text) OPTION_OF(name, name, field, kind, value, text)
#define OPTION_OF(listed, name, field, kind, value, text)                                          \
    {                                                                                              \
        name, value, text, kind, offsetof(struct options, field), listed                           \
    }
    OPTION("endpoint", endpoint, TEXT, "HOST:PORT|unix:PATH,...",
           "servers to try in turn (CONFMAN_ENDPOINT)"),
    OPTION("output", output, TEXT, "table|json", "for people or for programs"),
    OPTION("timeout", timeout, NUMBER, "SECONDS", "how long to wait for the server (5)"),
    OPTION("cacert", cacert, TEXT, "FILE", "authorities to trust (PEM); makes it TLS"),
    OPTION("cert", cert, TEXT, "FILE", "certificate to show (PEM)"),
    OPTION("key", key, TEXT, "FILE", "its private key (PEM)"),
    OPTION("insecure-skip-tls-verify", insecure_skip_verify, FLAG, "", "TLS, but trust any server"),
    OPTION("user", user, TEXT, "NAME[:PASSWORD]",
           "who asks (CONFMAN_USER); without PASSWORD it is asked for"),
    OPTION("password-file", password_file, TEXT, "FILE",
           "the password of --user is its first line; - is standard input"),
    OPTION("token", token, TEXT, "TOKEN", "what a login was answered with (CONFMAN_TOKEN)"),
    OPTION("help", help, FLAG, "", "this text"),
    OPTION("prefix", prefix, FLAG, "", "all keys that begin with KEY"),
    OPTION_OF("run-prefix", "prefix", below, TEXT, "PREFIX", "only configs that begin so"),
    OPTION("map", map, LIST, "KEY=VARIABLE", "another name than the usual one; none: leave it out"),
    OPTION("file", file, LIST, "KEY=PATH", "write this config to a file, for its owner alone"),
    OPTION("secret", secret, LIST, "PATH#NAME=VARIABLE|/FILE",
           "a member of a secret; a file must be on a file system in memory"),
    OPTION("on-change", on_change, TEXT, "restart|signal:NAME|exec:COMMAND|none",
           "what to do when configs have changed (restart)"),
    OPTION_OF("run-client", "client", run_client, TEXT, "NAME",
              "who this is in confman deliveries (the program's name)"),
    OPTION("cache-file", cache_file, TEXT, "FILE",
           "keep the last known good here, and start from it when no server answers"),
    OPTION("from-key", from_key, FLAG, "", "KEY and all keys behind it"),
    OPTION("range-end", range_end, TEXT, "KEY", "all keys from KEY to before this one"),
    OPTION("limit", limit, NUMBER, "N", "at most this many"),
    OPTION("revision", revision, NUMBER, "N", "as of, or from, this revision"),
    OPTION("keys-only", keys_only, FLAG, "", "no values"),
    OPTION("count-only", count_only, FLAG, "", "only how many there are"),
    OPTION("sort-by", sort_by, TEXT, "key|version|create|mod|value", "what to sort by"),
    OPTION("order", order, TEXT, "ascend|descend", "which way"),
    OPTION("serializable", serializable, FLAG, "",
           "whatever the asked server has, without a check"),
    OPTION("print-value-only", print_value_only, FLAG, "", "no keys"),
    OPTION("lease", lease, HEX, "ID", "the lease the key hangs on"),
    OPTION("prev-kv", prev_kv, FLAG, "", "also what was there before"),
    OPTION("ignore-value", ignore_value, FLAG, "", "keep the value that is there"),
    OPTION("ignore-lease", ignore_lease, FLAG, "", "keep the lease that is there"),
    OPTION("progress", progress, FLAG, "", "also tell how far it is when nothing happens"),
    OPTION("physical", physical, FLAG, "", "wait until the memory is freed"),
    OPTION("stream", stream, FLAG, "", "in pieces, as they come: for ranges of any size"),
    OPTION("ttl", ttl, NUMBER, "SECONDS", "how long it is kept when this client is lost (60)"),
    OPTION("once", once, FLAG, "", "keep-alive: one renewal"),
    OPTION("peer", peer, TEXT, "HOST:PORT", "add, update: where the other members call it"),
    OPTION("learner", learner, FLAG, "", "add: without a vote, until it is promoted"),
    OPTION("nodes", nodes, NUMBER, "N", "how many (3)"),
    OPTION("data-dir", data_dir, TEXT, "DIR", "a directory for each below this one (data)"),
    OPTION("base-port", base_port, NUMBER, "PORT", "of the first one's clients (2379)"),
    OPTION("max-keys", max_keys, NUMBER, "N", "set: keys that may live below the prefix"),
    OPTION("max-bytes", max_bytes, NUMBER, "N", "set: bytes of their keys and values"),
    OPTION("rate", rate, NUMBER, "N", "set: requests a second, on each node"),
    OPTION("burst", burst, NUMBER, "N", "set: requests that may come at once (as many as rate)"),
    OPTION("roles", roles, TEXT, "NAME,...", "set: these roles and no others"),
    OPTION("disabled", disabled, FLAG, "", "set: none of its keys counts"),
    OPTION("key-ttl", key_ttl, NUMBER, "SECONDS",
           "key: it ends after so long (not by itself)"),
    OPTION("grace", grace, NUMBER, "SECONDS", "key rotate: how long those before still count (0)"),
    OPTION("namespace", name_space, TEXT, "NAME", "of secrets, with keys of its own (secret)"),
    OPTION("version", version, TEXT, "N",
           "get: this one; put: only if this is the newest, 0 if there is none"),
    OPTION("versions", versions, TEXT, "N,...", "delete (the newest), undelete, destroy: these"),
    OPTION("reason", reason, TEXT, "TEXT", "get: for the audit log"),
    OPTION("format", format, TEXT, "NAME",
           "of the file: json, yaml or env (as its name ends); of flags: flagd (when it is not "
           "said), launchdarkly, unleash, growthbook or goff"),
    OPTION("shares", shares, NUMBER, "N", "init, migrate: into how many the seal's key is cut (5)"),
    OPTION("threshold", threshold, NUMBER, "N", "init, migrate: so many of them open it (3)"),
    OPTION("renew", renew, FLAG, "", "init: in place of the seal that there is"),
    OPTION("share-file", share_file, TEXT, "FILE",
           "unseal: the share is its first line; - is standard input"),
    OPTION("etcd", etcd, FLAG, "", "save: as etcd's database, which etcdctl can restore"),
    OPTION("from-endpoint", from_endpoint, TEXT, "HOST:PORT,...", "a live etcd, asked in turn"),
    OPTION("from-snapshot", from_snapshot, TEXT, "FILE", "what etcdctl snapshot save wrote"),
    OPTION("from-data-dir", from_data_dir, TEXT, "DIR", "of an etcd that was stopped"),
    OPTION("source-prefix", source_prefix, TEXT, "PREFIX", "only keys that begin so"),
    OPTION("target-prefix", target_prefix, TEXT, "PREFIX", "what they begin with there (the same)"),
    OPTION("mark", mark, TEXT, "KEY", "where the target keeps how far it is (confman/mirror)"),
    OPTION("overwrite", overwrite, FLAG, "", "keys there that the source has not are deleted"),
    OPTION("until-caught-up", until_caught_up, FLAG, "",
           "end when all is there, and compare every key: for cut-over"),
    OPTION("source-cacert", source_cacert, TEXT, "FILE", "authorities to trust there (PEM)"),
    OPTION("source-cert", source_cert, TEXT, "FILE", "certificate to show there (PEM)"),
    OPTION("source-key", source_key, TEXT, "FILE", "its private key (PEM)"),
    OPTION("source-insecure-skip-tls-verify", source_insecure_skip_verify, FLAG, "",
           "TLS, but trust any server there"),
    OPTION("source-user", source_user, TEXT, "NAME[:PASSWORD]", "who asks there"),
    OPTION("source-password-file", source_password_file, TEXT, "FILE", "its password"),
    OPTION("source-token", source_token, TEXT, "TOKEN", "a token of the source's instead"),
    OPTION("no-password", no_password, FLAG, "", "add: may come with a certificate alone"),
    OPTION("new-password-file", new_password_file, TEXT, "FILE",
           "add, passwd: the new password is its first line; - is standard input"),
    OPTION("client", client, TEXT, "NAME", "only this one"),
    OPTION("state", state, TEXT, "running|behind|failed|silent|gone", "only those"),
    OPTION("flags", flags, FLAG, "", "of flags whose names begin with KEY"),
    OPTION("from", from, NUMBER, "N", "the revision that is compared (the newest)"),
    OPTION("to", to, NUMBER, "N", "with this one (the newest)"),
    OPTION("to-environment", to_environment, TEXT, "NAME", "with this environment (the same)"),
    OPTION("change-log", change_log, TEXT, "TEXT", "why: it is kept beside every change"),
    OPTION("dry-run", dry_run, FLAG, "", "tell what would change, and change nothing"),
    OPTION("confirm", confirm, FLAG, "", "also when a guard asks whether it is meant"),
    OPTION("force", force, FLAG, "", "also what others refer to"),
    OPTION("everything", everything, FLAG, "",
           "configs of all environments, what inherits from what, and flags"),
    OPTION("below", below, TEXT, "PREFIX", "what its names stand behind"),
    OPTION("nested", nested, FLAG, "", "objects in one another are keys with slashes"),
    OPTION("replace", replace, FLAG, "", "what the file does not have is deleted"),
    OPTION("partial", partial, FLAG, "",
           "in several transactions, when it is more than one takes; go on by doing it again"),
    OPTION("inherited", inherited, FLAG, "", "what the environment inherits, too"),
    OPTION_OF("draft-state", "state", state, TEXT, "NAME",
           "list: only open, scheduled, published, rejected or failed ones"),
    OPTION("by", by, TEXT, "USER", "only what this user did"),
    OPTION("since", since, TEXT, "TIME", "not before, as 2026-11-21T09:00:00Z"),
    OPTION("until", until, TEXT, "TIME", "before"),
    OPTION("all-members", all_members, FLAG, "", "ask every member of the cluster"),
    OPTION("environment", environment, TEXT, "NAME", "which one (default)"),
    OPTION("parent", parent, TEXT, "NAME", "set: which one it inherits from"),
    OPTION("verbs", verbs, TEXT, "VERB,...",
           "grant, revoke: read, write, approve, admin; of a namespace reveal, write, admin"),
    OPTION("own", own, FLAG, "", "without what is inherited from the environment's parents"),
    OPTION("type", type, TEXT, "string|number|boolean|json|bytes",
           "set: what the value is (string); all but string and bytes are given as JSON"),
    OPTION("keys", keys, FLAG, "", "timetolive: the keys that hang on it"),
};
enum { COUNT = sizeof(table) / sizeof(table[0]) };

/* Whether a space-separated list has the word. */
static bool lists(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = list; (at = strstr(at, word)) != NULL; at += n)
        if ((at == list || at[-1] == ' ') && (at[n] == ' ' || at[n] == 0))
            return true;
    return false;
}

static const struct option *find(const struct command *c, const char *name, size_t len)
{
    for (int i = 0; i < COUNT; i++)
        if (strlen(table[i].name) == len && strncmp(table[i].name, name, len) == 0 &&
            lists(c->options, table[i].listed))
            return &table[i];
    return NULL;
}

bool options_at(int i, const struct command *c, const char **name, const char **value,
                const char **text)
{
    if (i == COUNT)
        return false;
    *name = lists(c->options, table[i].listed) ? table[i].name : NULL;
    *value = table[i].value;
    *text = table[i].text;
    return true;
}

static int unknown(const struct command *c, const char *word)
{
    const char *names[COUNT];
    char given[128];
    size_t n = 0;
    snprintf(given, sizeof(given), "%.*s", (int)strcspn(word + 2, "="), word + 2);
    for (int i = 0; i < COUNT; i++)
        if (lists(c->options, table[i].listed))
            names[n++] = table[i].name;
    const char *near = nearest_word(given, names, n);
    return near ? cli_complain(EXIT_USAGE, "%s: unknown option --%s; did you mean --%s?", c->name,
                               given, near)
                : cli_complain(EXIT_USAGE, "%s: unknown option --%s; see confman %s --help",
                               c->name, given, c->name);
}

bool options_number(const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    *out = v;
    return !errno && *text && !*end;
}

static bool set(const struct option *o, struct options *out, const char *value)
{
    void *field = (char *)out + o->offset;
    struct option_list *list;
    char *end;
    switch (o->kind) {
    case FLAG:
        *(bool *)field = strcmp(value, "true") == 0;
        return *(bool *)field || strcmp(value, "false") == 0;
    case TEXT:
        *(const char **)field = value;
        return true;
    case LIST:
        list = field;
        if (list->n == OPTIONS_LIST_MAX)
            return false;
        list->items[list->n++] = value;
        return true;
    case NUMBER:
        return options_number(value, field) && *(int64_t *)field >= 0;
    case HEX:
        errno = 0;
        *(int64_t *)field = (int64_t)strtoull(value, &end, 16);
        return !errno && *value && !*end;
    }
    return false;
}

static int check(const struct command *c, struct options *out)
{
    if (out->help)
        return EXIT_DONE;
    if (out->n_args < c->args_min)
        return cli_complain(EXIT_USAGE, "%s: wants %s; see confman %s --help", c->name,
                            c->arguments, c->name);
    out->json = strcmp(out->output, "json") == 0;
    if (!out->json && strcmp(out->output, "table") != 0)
        return cli_complain(EXIT_USAGE, "--output must be table or json, not \"%s\"", out->output);
    if (out->prefix + out->from_key + (out->range_end != NULL) > 1)
        return cli_complain(EXIT_USAGE, "--prefix, --from-key and --range-end exclude each other");
    return EXIT_DONE;
}

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

/* What stands behind "--": a command of the user's; false: more words. */
static bool take_command(const struct command *c, char **rest, struct options *out)
{
    if (!strstr(c->arguments, "-- COMMAND"))
        return false;
    out->command = rest[0] ? rest : NULL;
    return true;
}

int options_read(const struct command *c, int argc, char **argv, struct options *out)
{
    const char *endpoint = variable("CONFMAN_ENDPOINT");
    *out = (struct options){ .of = c, .output = "table", .timeout = 5 };
    out->endpoint = endpoint ? endpoint : "127.0.0.1:2379";
    out->user = variable("CONFMAN_USER");
    out->token = variable("CONFMAN_TOKEN");
    bool only_words = false;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (!only_words && strcmp(word, "--") == 0) {
            if (take_command(c, argv + i + 1, out))
                break;
            only_words = true;
            continue;
        }
        if (only_words || strncmp(word, "--", 2) != 0) {
            if (out->n_args == c->args_max)
                return cli_complain(EXIT_USAGE, "%s: \"%s\" is one word too many; it takes %s",
                                    c->name, word, c->arguments[0] ? c->arguments : "none");
            out->args[out->n_args++] = word;
            continue;
        }
        const char *equals = strchr(word, '=');
        size_t len = equals ? (size_t)(equals - word) - 2 : strlen(word) - 2;
        const struct option *o = find(c, word + 2, len);
        if (!o)
            return unknown(c, word);
        const char *value = equals ? equals + 1 : o->kind == FLAG ? "true" : NULL;
        if (!value && i + 1 < argc)
            value = argv[++i];
        if (!value || !set(o, out, value))
            return cli_complain(EXIT_USAGE, "--%s wants %s", o->name,
                                o->kind == FLAG ? "true or false" : o->value);
    }
    return check(c, out);
}

void options_help(const struct command *c, bool markdown)
{
    printf(markdown ? "\n## confman %s %s\n\n%s.\n\n    %s\n\n" : "confman %s %s\n  %s\n\n  %s\n\n",
           c->name, c->arguments, c->text, c->example);
    for (int i = 0; i < COUNT; i++)
        if (lists(c->options, table[i].listed))
            printf(markdown ? "- `--%s%s%s`: %s\n" : "  --%s%s%s\n      %s\n", table[i].name,
                   table[i].value[0] ? " " : "", table[i].value, table[i].text);
}
