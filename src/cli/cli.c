#include "cli/cli.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "base/nearest.h"
#include "base/version.h"
#include "cli/cli_int.h"

struct alloc cli_heap;

#define COMMON                                                                                     \
    "endpoint output timeout cacert cert key insecure-skip-tls-verify user password-file token "   \
    "help"
#define SOURCE                                                                                     \
    "source-cacert source-cert source-key source-insecure-skip-tls-verify source-user "            \
    "source-password-file source-token"
#define RANGE "prefix from-key range-end"

static const struct command commands[] = {
    { "put", "KEY [VALUE|-]", "lease prev-kv ignore-value ignore-lease " COMMON,
      "write a key; - or no value reads it from standard input", "confman put greeting hello", 1, 2,
      run_put },
    { "get", "KEY",
      RANGE " limit revision keys-only count-only sort-by order serializable print-value-only "
            "stream " COMMON,
      "read a key or a range; exit status 1 when there is nothing", "confman get --prefix app/", 1,
      1, run_get },
    { "del", "KEY", RANGE " prev-kv " COMMON, "delete a key or a range; prints how many there were",
      "confman del --prefix app/old/", 1, 1, run_del },
    { "watch", "KEY", RANGE " revision prev-kv progress " COMMON,
      "print changes as they happen, resuming by itself, until interrupted",
      "confman watch --prefix app/ --revision 42", 1, 1, run_watch },
    { "txn", "[FILE]", COMMON,
      "run a transaction: compares, an empty line, operations when they hold, an empty line, "
      "operations when not; from FILE or standard input",
      "printf 'mod(\"k\") = \"0\"\\n\\nput k first\\n\\nget k\\n' | confman txn", 0, 1, run_txn },
    { "lease", "grant TTL|revoke ID|keep-alive ID|timetolive ID|list", "once keys " COMMON,
      "leases: TTL in seconds, IDs in hexadecimal", "confman lease grant 60", 1, 2, run_lease },
    { "member", "list|add NAME|remove ID|promote ID|update ID|lead ID", "peer learner " COMMON,
      "the cluster's members: IDs in hexadecimal, as list prints them; lead hands leadership over",
      "confman member add n4 --peer 10.0.0.4:2380 --learner", 1, 2, run_member },
    { "cluster", "up", "nodes data-dir base-port help",
      "start a cluster on this machine for trying out, until interrupted: clients on base-port, "
      "+2, +4..., members on the ports between",
      "confman cluster up --nodes 3 --data-dir /tmp/cluster --base-port 2379", 1, 1, run_cluster },
    { "snapshot", "save FILE|status FILE|restore FILE", "etcd " COMMON,
      "backups: save all of the store at one revision; status tells what a file has, and checks "
      "it; restore makes a data directory of a new cluster, with the server's --data-dir, --name, "
      "--initial-cluster, --initial-cluster-token, once for each member",
      "confman snapshot save backup.snap", 2, 2, run_snapshot },
    { "config", "get KEY|set KEY VALUE|list [PREFIX]|delete KEY|history KEY",
      "environment own revision type force " COMMON,
      "configs of an environment, with what they inherit; history has the versions that the store "
      "still keeps, newest first",
      "confman config set app/timeout 30 --type number --environment prod", 1, 3, run_config },
    { "environment", "list|get NAME|set NAME|delete NAME", "parent " COMMON,
      "environments, and which one each inherits from: a config that one does not have is its "
      "parent's; set without --parent: from none; delete forgets the parent, and no config",
      "confman environment set prod --parent base", 1, 2, run_environment },
    { "deliveries", "[KEY]", "prefix flags environment client state limit " COMMON,
      "which clients that subscribe (/v1/subscribe) run which revision, on all members, and what "
      "they could not use",
      "confman deliveries --prefix billing/ --environment prod --state failed", 0, 1,
      run_deliveries },
    { "quota", "set prefix PREFIX|set user NAME|list|delete prefix PREFIX|delete user NAME",
      "max-keys max-bytes rate burst " COMMON,
      "bounds of what a prefix of keys, or a user, may use: they hold on every node at once; set "
      "takes the place of what was set before",
      "confman quota set prefix team-a/ --max-keys 10000 --max-bytes 100000000 --rate 500", 1, 3,
      run_quota },
    { "run", "-- COMMAND...",
      "environment run-prefix map file secret namespace on-change cache-file run-client " COMMON,
      "start a program with the configs of an environment as variables (key app/db-host below "
      "--prefix app/ is DB_HOST) or files, and start it again, or tell it, when they have changed; "
      "signals are passed on, and the exit status is the program's",
      "confman run --environment prod --prefix app/ --cache-file /var/cache/app -- ./server", 0, 0,
      run_run },
    { "secret",
      "get PATH|put PATH NAME=VALUE...|list [PATH]|versions PATH|delete PATH|undelete PATH|"
      "destroy PATH|remove PATH|configure [PATH] NAME=VALUE...|rotate",
      "namespace version versions reason force " COMMON,
      "secrets, sealed before they are stored; put takes NAME=VALUE, NAME=- (standard input is the "
      "value) or - (it is a JSON object); delete can be undone, destroy and remove (all versions) "
      "cannot; rotate makes a new key for the namespace, and what is in it is sealed by it anew; "
      "configure sets max_versions, delete_after_s, check_required, and for a namespace "
      "reason_required",
      "confman secret put db/password value=hunter2", 1, 34, run_secret },
    { "schema",
      "get NAME|set NAME [FILE|-]|list|delete NAME|check NAME [FILE|-]", COMMON,
      "JSON Schemas that configs must hold, in every environment; NAME is a config's key, or a "
      "prefix of keys that ends with a slash; set and check tell how many of the values that stand "
      "already are not so, and check writes nothing",
      "confman schema set app/ app.schema.json", 1, 3, run_schema },
    { "guard", "get NAME|set NAME [FILE|-]|list|delete NAME", COMMON,
      "how configs may be changed: an object of max_value_bytes, max_deleted_percent, approvals, "
      "author_may_approve, environments; NAME as for schema",
      "echo '{\"max_deleted_percent\": 20}' | confman guard set app/ -", 1, 3, run_guard },
    { "flag",
      "list|get NAME|set NAME [DEFINITION|-]|delete NAME|eval NAME [MEMBER=VALUE...]|"
      "explain NAME [MEMBER=VALUE...]|enable NAME|disable NAME|import [FILE|-]",
      "environment own format dry-run force " COMMON,
      "feature flags of an environment; eval and explain tell what somebody gets who is known by "
      "members such as targetingKey=ann (a value that is JSON is taken so); import takes a file of "
      "flagd's, or another system's export, so that nobody changes sides",
      "confman flag explain new-checkout targetingKey=user-7 email=a@example.com", 1, 34,
      run_flag },
    { "seal", "status|init|unseal|seal|rotate|rewrap|migrate KIND",
      "shares threshold renew share-file " COMMON,
      "whether this server has the key that opens secrets; init cuts a new one into shares, unseal "
      "takes one of them, seal forgets the key, rotate makes a new root key, rewrap has the seal's "
      "key sealed by the transit's newest key, migrate goes over to another kind of seal: transit, "
      "static (a key file) or shamir (shares)",
      "confman seal init --shares 5 --threshold 3", 1, 2, run_seal },
    { "approle", "list|put NAME|get NAME|role-id NAME|secret-id NAME|delete NAME", "ttl " COMMON,
      "what programs log in with at the door for Vault's clients, as the user of that name",
      "confman approle secret-id billing", 1, 2, run_approle },
    { "diff", "[KEY]", "prefix from to environment to-environment " COMMON,
      "what differs between two revisions of a config, or of all below a prefix, or between two "
      "environments",
      "confman diff app/ --prefix --environment staging --to-environment prod", 0, 1, run_diff },
    { "rollback", "REVISION [KEY...]",
      "prefix everything environment change-log dry-run confirm force " COMMON,
      "configs as they were at a revision, written anew as one transaction: these keys, all below "
      "a prefix, or everything",
      "confman rollback 120 app/ --prefix --environment prod --dry-run", 1, 34, run_rollback },
    { "export", "[PREFIX]", "format environment inherited revision " COMMON,
      "configs as a file of YAML (or JSON, or NAME=\"value\" lines), on standard output; names "
      "are told behind the prefix",
      "confman export app/ --environment prod > app.yaml", 0, 1, run_export },
    { "draft",
      "list|propose FILE|show ID|edit ID FILE|comment ID TEXT|approve ID [TEXT]|"
      "reject ID [TEXT]|publish ID|schedule ID TIME|cancel ID|delete ID",
      "draft-state environment confirm force " COMMON,
      "changes that are proposed, reviewed, and published as one transaction, now or at a time; "
      "FILE is {\"title\", \"change_log\", \"changes\"} as JSON, - is standard input",
      "confman draft schedule 17 2026-12-01T04:00:00Z", 1, 3, run_draft },
    { "audit", "[PREFIX]", "by since until limit all-members " COMMON,
      "who changed which keys, newest first, as the audit log of the server has it: lines of JSON; "
      "keys of configs begin with confman/config/",
      "confman audit confman/config/prod/ --by ann --since 2026-11-20T00:00:00Z", 0, 1,
      run_audit },
    { "import", "FILE|etcd",
      "format below environment nested replace partial change-log dry-run confirm force "
      "from-endpoint from-snapshot from-data-dir " SOURCE " " COMMON,
      "bring in configs of a YAML, JSON or .env file, as one transaction; or (import etcd) "
      "make a data directory of all that an etcd has, with its revisions: from a live one, its "
      "snapshot, or its data directory; with the server's --data-dir, --name, "
      "--initial-cluster, --initial-cluster-token. For a cluster take a snapshot once, and import "
      "it once for each member",
      "confman import app.yaml --below app/ --environment prod --dry-run", 1, 1, run_import },
    { "auth", "enable|disable|status", COMMON,
      "whether requests are asked who makes them; enable wants a user root that has the role root",
      "confman auth enable", 1, 1, run_auth },
    { "user",
      "add NAME|delete NAME|get NAME|list|passwd NAME|grant-role NAME ROLE|revoke-role NAME ROLE",
      "no-password new-password-file " COMMON,
      "who may ask: add and passwd take the password from NAME:PASSWORD, --new-password-file, or "
      "ask for it",
      "confman user add ann --user root", 1, 3, run_user },
    { "role",
      "add NAME|delete NAME|get NAME|list|grant-permission NAME RIGHT KEY|"
      "revoke-permission NAME KEY|grant NAME [PREFIX]|revoke NAME [PREFIX]",
      RANGE " environment namespace verbs " COMMON,
      "what those may do who have the role: permissions are of keys, to read, write or "
      "readwrite; grants, with --verbs, of the configs and flags of an environment, or the secrets "
      "of a namespace, below PREFIX",
      "confman role grant dev app/ --environment prod --verbs read,write", 1, 4, run_role },
    { "service-account",
      "list|show NAME|set NAME|delete NAME|key add NAME|key rotate NAME|key revoke NAME ID",
      "roles disabled key-ttl grace " COMMON,
      "programs that prove who they are by a key, which key add and key rotate print this once; "
      "set makes the account, or says anew which roles it has: the user service:NAME",
      "confman service-account set ci --roles dev && confman service-account key add ci "
      "--key-ttl 7776000", 1, 4, run_account },
    { "login", "", COMMON,
      "log in, and keep the session for the commands that follow: by a page of the issuer that the "
      "server names, or, with --user, by a password",
      "confman login --user ann", 0, 0, run_login },
    { "logout", "", COMMON, "end that session, and forget it", "confman logout", 0, 0, run_logout },
    { "whoami", "", COMMON, "whom the server takes you for, and your roles",
      "confman whoami --output json", 0, 0, run_whoami },
    { "mirror", "SOURCE",
      "source-prefix target-prefix mark overwrite until-caught-up " SOURCE " " COMMON,
      "keep keys of another etcd v3 server (HOST:PORT) the same here, each of its revisions in one "
      "transaction, until interrupted; goes on where it was. Revisions are the target's own; "
      "leases stay at the source",
      "confman mirror 10.0.0.1:2379 --endpoint 127.0.0.1:2379 --until-caught-up", 1, 1,
      run_mirror },
    { "lock", "NAME [-- COMMAND...]", "ttl " COMMON,
      "wait for the lock of that name and hold it while COMMAND runs, or until interrupted; prints "
      "its key; the exit status is COMMAND's. A holder that is lost loses it after --ttl",
      "confman lock nightly -- ./backup.sh", 1, 1, run_lock },
    { "elect", "NAME [VALUE]", "ttl " COMMON,
      "stand for election and lead until interrupted: prints key and value when elected; without "
      "VALUE, print who leads, and each change of it",
      "confman elect scheduler host-7", 1, 2, run_elect },
    { "alarm", "list|disarm", COMMON,
      "what has been raised (NOSPACE, CORRUPT), and by which member; disarm ends all of them",
      "confman alarm list", 1, 1, run_alarm },
    { "defrag", "", COMMON,
      "a confman server has nothing to do for it: what compaction frees goes back by itself; "
      "any other etcd v3 server defragments",
      "confman defrag", 0, 0, run_defrag },
    { "hash", "", "revision " COMMON,
      "hashes to compare servers by: of all keys and their versions up to --revision (HashKV), and "
      "of everything (Hash: only among members of one cluster)",
      "confman hash --revision 42", 0, 0, run_hash },
    { "status", "", COMMON, "version, revision, sizes and leader of the server",
      "confman status --output json", 0, 0, run_status },
    { "compact", "REVISION", "physical " COMMON, "forget what is older than a revision",
      "confman compact 1000", 1, 1, run_compact },
    { "completion", "bash|zsh|fish", "help",
      "what completes the words of commands in a shell, to be read at its start",
      "source <(confman completion bash)", 1, 1, run_completion },
};
enum { COUNT = sizeof(commands) / sizeof(commands[0]) };

int cli_complain(int status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("confman: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return status;
}

static const struct command *find(const char *name)
{
    for (int i = 0; i < COUNT; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

const struct command *cli_command(int i)
{
    return i < COUNT ? &commands[i] : NULL;
}

size_t cli_summary(const char *text)
{
    enum { LONG = 60 }; /* bytes, beyond which a lesser pause will do */
    size_t n = 0;
    while (text[n] && text[n] != ';' && strncmp(text + n, ": ", 2) != 0 &&
           strncmp(text + n, ". ", 2) != 0 &&
           (n < LONG || (text[n] != ',' && strncmp(text + n, " (", 2) != 0)))
        n++;
    return n;
}

size_t cli_alternative(const char *arguments)
{
    size_t n = 0;
    for (bool open = false; arguments[n] && (open || arguments[n] != '|'); n++)
        open = arguments[n] == '[' || (open && arguments[n] != ']');
    return n;
}

int cli_usage(const struct options *o)
{
    const char *verb = o->n_args ? o->args[0] : "";
    size_t n = strlen(verb);
    for (const char *at = o->of->arguments; n && *at;) {
        size_t len = cli_alternative(at);
        if (len >= n && strncmp(at, verb, n) == 0 && (len == n || at[n] == ' '))
            return cli_complain(EXIT_USAGE, "%s %s: wants %.*s; see confman %s --help",
                                o->of->name, verb, len > n ? (int)(len - n - 1) : 7,
                                len > n ? at + n + 1 : "nothing", o->of->name);
        at += len + (at[len] == '|');
    }
    return cli_complain(EXIT_USAGE, "%s: \"%s\" is none of %s; see confman %s --help",
                        o->of->name, verb, o->of->arguments, o->of->name);
}

static int help(void)
{
    printf("confman: configuration, coordination and discovery in one server\n\n"
           "  confman server        run a node\n"
           "  confman etcd          the same, told by etcd's flags and variables\n");
    for (int i = 0; i < COUNT; i++)
        printf("  confman %-13s %.*s\n", commands[i].name, (int)cli_summary(commands[i].text),
               commands[i].text);
    printf(
        "  confman version       what this is\n\n"
        "confman COMMAND --help tells all of it, and an example. Every command takes --endpoint\n"
        "HOST:PORT (or CONFMAN_ENDPOINT; 127.0.0.1:2379 when neither is there), --output json,\n"
        "--timeout SECONDS, --user NAME. Exit status: 0 done, 1 refused or not found, 2 wrong\n"
        "usage, 3 the server cannot be reached or did not answer in time.\n");
    return EXIT_DONE;
}

static int unknown(const char *name)
{
    enum { MORE = 4 };
    const char *names[COUNT + MORE] = { "server", "etcd", "help", "version" };
    for (int i = 0; i < COUNT; i++)
        names[i + MORE] = commands[i].name;
    const char *near = nearest_word(name, names, COUNT + MORE);
    return near ? cli_complain(EXIT_USAGE, "unknown command \"%s\"; did you mean \"%s\"?", name,
                               near)
                : cli_complain(EXIT_USAGE, "unknown command \"%s\"; see confman help", name);
}

static int run(const struct command *c, int argc, char **argv)
{
    struct options o;
    struct arena arena;
    int status = options_read(c, argc, argv, &o);
    if (status != EXIT_DONE)
        return status;
    if (o.help) {
        options_help(c, false);
        return EXIT_DONE;
    }
    arena_open(&arena, &cli_heap);
    status = c->run(&o, &arena);
    arena_close(&arena);
    if (fflush(stdout) != 0)
        return cli_complain(EXIT_REFUSED, "standard output cannot be written");
    return status;
}

int cli_source_options(int argc, char **argv, struct options *out)
{
    return options_read(find("status"), argc, argv, out);
}

int cli_run(int argc, char **argv)
{
    alloc_heap(&cli_heap);
    jsonr_use(&cli_heap);
    if (argc == 0 || strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0)
        return help();
    if (strcmp(argv[0], "version") == 0 || strcmp(argv[0], "--version") == 0) {
        printf("confman %s\n", CONFMAN_VERSION);
        return EXIT_DONE;
    }
    bool wants_help = strcmp(argv[0], "help") == 0;
    if (wants_help && argc == 1)
        return help();
    const struct command *c = find(wants_help ? argv[1] : argv[0]);
    if (!c)
        return unknown(wants_help ? argv[1] : argv[0]);
    if (wants_help) {
        options_help(c, false);
        return EXIT_DONE;
    }
    return run(c, argc - 1, argv + 1);
}

int cli_docs(void)
{
    printf("# Command line\n\nMade from the table in `src/cli/cli.c` by `make docs`. put, get, "
           "del, watch, txn, lease, member, auth, user, role (but its grants), mirror, lock, "
           "elect, alarm, defrag, hash, status and compact speak to the etcd door, so they work "
           "against any etcd v3 server; the others want a confman.\n\n"
           "Exit status: 0 done, 1 refused or not found, 2 wrong usage, 3 the server cannot be "
           "reached or did not answer in time. In JSON, keys and values are strings when they are "
           "UTF-8, else `{\"base64\": ...}`.\n");
    for (int i = 0; i < COUNT; i++)
        options_help(&commands[i], true);
    return EXIT_DONE;
}

/* Text of a manual page: hyphens that are typed, and no requests (man(7)). */
static void roff(const char *text)
{
    for (; *text; text++) {
        if (*text == '-')
            fputs("\\-", stdout);
        else if (*text == '\\')
            fputs("\\e", stdout);
        else
            putchar(*text);
    }
}

int cli_man(void)
{
    printf(".SH COMMANDS\nEach tells its options by \\fB\\-\\-help\\fR.\n");
    for (int i = 0; i < COUNT; i++) {
        printf(".TP\n\\fBconfman %s\\fR ", commands[i].name);
        roff(commands[i].arguments);
        putchar('\n');
        roff(commands[i].text);
        printf(".\n");
    }
    return EXIT_DONE;
}
