#include "node/etcdflag.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/check.h"
#include "base/test.h"
#include "node/etcdstart.h"
#include "node/slog.h"

static struct etcd_given g;
static char why[ETCD_WHY_MAX];

/* Words with spaces between them. */
static enum err read_words(const char *line)
{
    static char text[1024];
    char *argv[32], *rest = text;
    int n = 0;
    snprintf(text, sizeof(text), "%s", line);
    for (char *word; (word = strsep(&rest, " ")) != NULL;)
        argv[n++] = word;
    etcdflag_close(&g);
    return etcdflag_read(&g, n, argv, why);
}

static const char *value_of(enum etcd_flag f)
{
    return g.value[f] ? g.value[f] : "none";
}

TEST(etcdflag_every_row_is_sound)
{
    for (int i = 0; i < ETCD_FLAGS; i++) {
        const struct etcd_row *row = &etcd_rows[i];
        bool known = row->to[0] && param_exists(row->to);
        EXPECT(row->text[0] && (row->use != ETCD_PARAM || known));
        EXPECT(row->use != ETCD_OWN || known || !row->to[0]);
        for (int k = 0; k < i; k++)
            EXPECT(strcmp(etcd_rows[k].name, row->name) != 0);
    }
}

TEST(etcdflag_durations)
{
    static const struct {
        const char *text;
        int64_t ms; /* -1: none */
    } some[] = {
        { "0", 0 },       { "10m", 600000 }, { "1h30m", 5400000 }, { "1.5s", 1500 },
        { "100ms", 100 }, { "999us", 0 },    { "5000000ns", 5 },   { "", -1 },
        { "5", -1 },      { "m", -1 },       { "5x", -1 },         { "-5s", -1 },
        { "1h 2m", -1 },  { "1..5s", -1 },   { "inf", -1 },        { "9999999999999h", -1 }
    };
    for (size_t i = 0; i < sizeof(some) / sizeof(*some); i++) {
        int64_t ms;
        bool good = etcdflag_duration(some[i].text, &ms);
        EXPECT(good == (some[i].ms >= 0) && (!good || ms == some[i].ms));
    }
}

TEST(etcdflag_words)
{
    EXPECT(read_words("-name a --data-dir=b --client-cert-auth --auto-tls=F -snapshot-count 5") ==
           ERR_OK);
    EXPECT(strcmp(value_of(ETCD_FLAG_name), "a") == 0);
    EXPECT(strcmp(value_of(ETCD_FLAG_data_dir), "b") == 0);
    EXPECT(strcmp(value_of(ETCD_FLAG_client_cert_auth), "true") == 0);
    EXPECT(strcmp(value_of(ETCD_FLAG_auto_tls), "F") == 0);
    EXPECT(read_words("--experimental-watch-progress-notify-interval 5s") == ERR_OK);
    EXPECT(strcmp(value_of(ETCD_FLAG_watch_progress_notify_interval), "5s") == 0);
    EXPECT(read_words("--name=") == ERR_OK && !g.value[ETCD_FLAG_name]);
    static const struct {
        const char *line, *because;
    } bad[] = { { "word", "not a valid flag" },
                { "--auto-tls true", "not a valid flag" }, /* as in Go */
                { "--nam x", "did you mean --name?" },
                { "--name", "needs an argument" },
                { "--snapshot-count=1k", "a number" },
                { "--auto-tls=yes", "true or false" },
                { "--corrupt-check-time=5", "a time" },
                { "-", "not a valid flag" } };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        EXPECT(read_words(bad[i].line) == ERR_BAD_REQUEST && strstr(why, bad[i].because));
    EXPECT(read_words("--help --nonsense") == ERR_OK && g.help);
    EXPECT(read_words("-version") == ERR_OK && g.version);
    etcdflag_close(&g);
}

static enum err read_text(const char *text)
{
    char path[] = "/tmp/confman-etcd-XXXXXX", word[64];
    int fd = mkstemp(path);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0);
    snprintf(word, sizeof(word), "--config-file=%s", path);
    slog_level_set(SLOG_ERROR);
    enum err e = read_words(word);
    slog_level_set(SLOG_INFO);
    unlink(path);
    return e;
}

TEST(etcdflag_file)
{
    EXPECT(
        read_text("name: a\ndata-dir: ~\nwal-dir:\nwatch-progress-notify-interval: 600000000000\n"
                  "cipher-suites: [X, 'Y']\nlog-outputs:\n- stderr\n- f\nwhat: [1, {a: b}]\n"
                  "client-transport-security:\n  cert-file: c\n  allowed-cn: [p, q]\n"
                  "  allowed-hostname: h\npeer-transport-security:\n  cert-file: pc\n"
                  "  client-cert-file: pcc\n  client-cert-auth: true\n  allowed-cn: r\n"
                  "  skip-client-san-verification: true\n"
                  "other:\n  deep:\n    name: x\nauto-tls: true\n") == ERR_BAD_REQUEST);
    EXPECT(strstr(why, "no configuration")); /* a map in a list */
    EXPECT(
        read_text("name: a\ndata-dir: ~\nwal-dir:\nwatch-progress-notify-interval: 600000000000\n"
                  "cipher-suites: [X, 'Y']\nlog-outputs:\n- stderr\n- f\nwhat: [1, 2]\n"
                  "client-transport-security:\n  cert-file: c\n  allowed-cn: [p, q]\n"
                  "  allowed-hostname: h\npeer-transport-security:\n  cert-file: pc\n"
                  "  client-cert-file: pcc\n  client-cert-auth: true\n  allowed-cn: r\n"
                  "  skip-client-san-verification: true\n"
                  "other:\n  deep:\n    name: x\nauto-tls: true\n") == ERR_OK);
    static const struct {
        enum etcd_flag flag;
        const char *value;
    } want[] = { { ETCD_FLAG_name, "a" },
                 { ETCD_FLAG_data_dir, "none" },
                 { ETCD_FLAG_wal_dir, "none" },
                 { ETCD_FLAG_watch_progress_notify_interval, "600000000000ns" },
                 { ETCD_FLAG_cipher_suites, "X,Y" },
                 { ETCD_FLAG_log_outputs, "stderr,f" },
                 { ETCD_FLAG_cert_file, "c" },
                 { ETCD_FLAG_client_cert_allowed_cn, "p,q" },
                 { ETCD_FLAG_client_cert_allowed_hostname, "h" },
                 { ETCD_FLAG_peer_cert_file, "pc" },
                 { ETCD_FLAG_peer_client_cert_file, "pcc" },
                 { ETCD_FLAG_peer_client_cert_auth, "true" },
                 { ETCD_FLAG_peer_cert_allowed_cn, "r" },
                 { ETCD_FLAG_peer_skip_client_san_verification, "true" },
                 { ETCD_FLAG_auto_tls, "true" } };
    for (size_t i = 0; i < sizeof(want) / sizeof(*want); i++)
        EXPECT(strcmp(value_of(want[i].flag), want[i].value) == 0);
    EXPECT(read_text("auto-tls: perhaps\n") == ERR_BAD_REQUEST && strstr(why, ":1: invalid value"));
    EXPECT(read_text("- a\n") == ERR_BAD_REQUEST && read_text("a: &x 1\nb: *x\n") != ERR_OK);
    EXPECT(read_text("{\"name\": \"j\", \"auto-tls\": false}") == ERR_OK); /* JSON is YAML */
    EXPECT(read_text("a: [\n") == ERR_BAD_REQUEST && read_text("just text\n") != ERR_OK);
    EXPECT(read_words("--config-file=/nowhere/x") == ERR_BAD_REQUEST && strstr(why, "No such"));
    etcdflag_close(&g);
}

TEST(etcdstart_what_begins)
{
    static struct params p;
    static const struct {
        const char *line, *cluster, *join, *peer;
    } table[] = {
        { "--name=a", "a=http://localhost:2380", "", "" },
        { "--name=a --initial-advertise-peer-urls=http://h:1,http://h:2", "a=http://h:1", "",
          "http://h:1" },
        { "--name=a --initial-cluster=b=http://b:1,a=http://h:1,a=http://h:2",
          "b=http://b:1,a=http://h:1", "", "http://h:1" },
        { "--name=a --initial-cluster-state=existing --initial-cluster=a=http://h:1,b=http://b:1",
          "", "http://b:1", "http://h:1" },
    };
    slog_level_set(SLOG_ERROR);
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        EXPECT(read_words(table[i].line) == ERR_OK && etcdstart_params(&g, &p, why) == ERR_OK);
        EXPECT(strcmp(p.initial_cluster, table[i].cluster) == 0);
        EXPECT(strcmp(p.join, table[i].join) == 0 && strcmp(p.advertise_peer, table[i].peer) == 0);
        EXPECT(strcmp(p.listen, "http://localhost:2379") == 0 && strcmp(p.data_dir, "a.etcd") == 0);
    }
    slog_level_set(SLOG_INFO);
    EXPECT(read_words("--max-concurrent-streams=4294967295 --quota-backend-bytes=0") == ERR_OK);
    EXPECT(etcdstart_params(&g, &p, why) == ERR_OK && p.streams_max == 1000000);
    EXPECT(p.quota_backend_bytes == 0);
    EXPECT(strcmp(p.cors, "*") == 0 && strcmp(p.host_whitelist, "*") == 0);
    EXPECT(read_words("--cors=http://a --host-whitelist=a.example") == ERR_OK);
    EXPECT(etcdstart_params(&g, &p, why) == ERR_OK && strcmp(p.cors, "http://a") == 0);
    EXPECT(strcmp(p.host_whitelist, "a.example") == 0);
    etcdflag_close(&g);
}
