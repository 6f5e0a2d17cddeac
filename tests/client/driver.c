/* libconfman by hand: reads commands, one a line, and answers each with a line.
 *
 *   get ENV KEY | put ENV KEY TYPE IF_VERSION VALUE | delete ENV KEY IF_VERSION | list ENV PREFIX
 *   request METHOD PATH REPEAT [BODY]
 *   copy ENV PREFIX FLAGS [FILE] | wait STATE MS | state | cget KEY | clist PREFIX | uncopy
 *   flag boolean|number|string|json NAME [ATTRIBUTE=VALUE...] | fork | misuse
 *   token TEXT | report REVISION [PROBLEM]
 *   stress THREADS ROUNDS | speed NAME ROUNDS [ATTRIBUTE=VALUE...]
 *
 * Environment: CONFMAN_ENDPOINT, DRIVER_USER, DRIVER_PASSWORD, DRIVER_TOKEN, DRIVER_CA,
 * DRIVER_TIMEOUT_MS, DRIVER_STAY, DRIVER_CLIENT, DRIVER_INSTANCE; DRIVER_OWN_LOOP: no thread;
 * DRIVER_REPORTS: nothing is acknowledged by itself; DRIVER_PROBLEM: what on_change reports. */
#include <confman.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORDS = 12 };

static struct confman *client;
static struct confman_copy *copy;
static int in_callback, changes;

static void answer(enum confman_code code, const struct confman_error *e)
{
    printf("%s%s%s\n", confman_code_name(code), e && code ? " " : "", e && code ? e->text : "");
}

static void show(const struct confman_config *k)
{
    printf("CONFMAN_OK %s %d %lld %s %s\n", k->key, (int)k->type, (long long)k->version,
           k->environment, k->value);
}

static void show_list(const struct confman_list *list)
{
    printf("CONFMAN_OK %zu", list->count);
    for (size_t i = 0; i < list->count && i < 20; i++)
        printf(" %s=%s", list->configs[i]->key, list->configs[i]->value);
    printf("\n");
}

static void do_get(char **w)
{
    struct confman_error e;
    struct confman_config *k;
    enum confman_code code = confman_get(client, w[1], w[2], &k, &e);
    if (code != CONFMAN_OK) {
        answer(code, &e);
        return;
    }
    show(k);
    confman_config_free(k);
}

static void do_put(char **w)
{
    struct confman_error e;
    int64_t version = -1;
    enum confman_code code = confman_put(client, w[1], w[2], (enum confman_type)atoi(w[3]), w[5],
                                         strlen(w[5]), atoll(w[4]), &version, &e);
    if (code != CONFMAN_OK)
        printf("%s %lld %s\n", confman_code_name(code), (long long)e.version, e.text);
    else
        printf("CONFMAN_OK %lld\n", (long long)version);
}

static void do_delete(char **w)
{
    struct confman_error e;
    answer(confman_delete(client, w[1], w[2], atoll(w[3]), &e), &e);
}

static void do_list(char **w)
{
    struct confman_error e;
    struct confman_list *list;
    enum confman_code code = confman_list(client, w[1], w[2], &list, &e);
    if (code != CONFMAN_OK) {
        answer(code, &e);
        return;
    }
    show_list(list);
    confman_list_free(list);
}

static void do_request(char **w)
{
    struct confman_error e;
    struct confman_answer *a;
    enum confman_code code = confman_request(client, w[1], w[2], w[4], w[4] ? strlen(w[4]) : 0,
                                             atoi(w[3]), &a, &e);
    if (code != CONFMAN_OK) {
        printf("%s %d %s %s\n", confman_code_name(code), e.http, e.reason, e.text);
        return;
    }
    printf("CONFMAN_OK %d %.200s\n", a->http, a->body);
    confman_answer_free(a);
}

/* What waits must refuse here, not hang. */
static void on_change(void *context, struct confman_copy *which)
{
    struct confman_config *k;
    struct confman_error e;
    (void)context;
    changes++;
    in_callback = (int)confman_get(client, "default", "x", &k, &e);
    if (getenv("DRIVER_PROBLEM") &&
        confman_report(which, confman_copy_revision(which), getenv("DRIVER_PROBLEM")))
        abort();
}

static void do_copy(char **w)
{
    struct confman_copy_options o = CONFMAN_COPY_OPTIONS;
    struct confman_error e;
    o.environment = w[1];
    o.prefix = strcmp(w[2], "-") ? w[2] : "";
    o.flags = atoi(w[3]);
    o.cache_file = w[4];
    o.on_change = on_change;
    o.reports = getenv("DRIVER_REPORTS") != NULL;
    enum confman_code code = confman_copy_open(client, &o, &copy, &e);
    printf("%s %s%s%s\n", confman_code_name(code), confman_code_name(e.code), e.code ? " " : "",
           e.text);
}

static void do_wait(char **w)
{
    struct confman_error e;
    answer(confman_copy_wait(copy, (enum confman_state)atoi(w[1]), atoi(w[2]), &e), &e);
}

static void do_state(char **w)
{
    (void)w;
    printf("CONFMAN_OK %d %lld %lld %s\n", (int)confman_copy_state(copy),
           (long long)confman_copy_changes(copy), (long long)confman_copy_revision(copy),
           changes ? confman_code_name((enum confman_code)in_callback) : "-");
}

static void do_cget(char **w)
{
    struct confman_config *k;
    enum confman_code code = confman_copy_get(copy, w[1], &k);
    if (code != CONFMAN_OK) {
        answer(code, NULL);
        return;
    }
    show(k);
    confman_config_free(k);
}

static void do_clist(char **w)
{
    struct confman_list *list;
    enum confman_code code = confman_copy_list(copy, w[1], &list);
    if (code != CONFMAN_OK) {
        answer(code, NULL);
        return;
    }
    show_list(list);
    confman_list_free(list);
}

static void do_token(char **w)
{
    struct confman_error e;
    answer(confman_token(client, w[1], &e), &e);
}

static void do_report(char **w)
{
    int64_t revision = strcmp(w[1], "now") ? atoll(w[1]) : confman_copy_revision(copy);
    answer(confman_report(copy, revision, w[2]), NULL);
}

static void do_uncopy(char **w)
{
    (void)w;
    confman_copy_close(copy);
    copy = NULL;
    answer(CONFMAN_OK, NULL);
}

static size_t attributes_of(char **w, struct confman_attribute *out)
{
    size_t n = 0;
    for (; *w; w++, n++) {
        char *equals = strchr(*w, '=');
        *equals = 0;
        out[n] = (struct confman_attribute){ *w, CONFMAN_STRING, equals + 1, 0, 0 };
        if (equals[1] == '{' || equals[1] == '[')
            out[n].type = CONFMAN_JSON;
    }
    return n;
}

static void do_flag(char **w)
{
    struct confman_attribute a[WORDS];
    struct confman_detail d;
    char text[200] = "own";
    int truth = -1;
    double number = -1;
    enum confman_code code;
    size_t n = attributes_of(w + 3, a);
    if (strcmp(w[1], "boolean") == 0) {
        code = confman_flag_boolean(copy, w[2], a, n, &truth, &d);
        snprintf(text, sizeof(text), "%d", truth);
    } else if (strcmp(w[1], "number") == 0) {
        code = confman_flag_number(copy, w[2], a, n, &number, &d);
        snprintf(text, sizeof(text), "%g", number);
    } else if (strcmp(w[1], "json") == 0) {
        code = confman_flag_json(copy, w[2], a, n, text, sizeof(text), &d);
    } else {
        code = confman_flag_string(copy, w[2], a, n, text, sizeof(text), &d);
    }
    printf("%s %s %s %s %s\n", confman_code_name(code), text, d.variant[0] ? d.variant : "-",
           d.reason, d.error);
}

static void do_fork(char **w)
{
    struct confman_config *k;
    int status = 0;
    (void)w;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit((int)confman_get(client, "default", "x", &k, NULL));
    waitpid(child, &status, 0);
    answer((enum confman_code)WEXITSTATUS(status), NULL);
}

static void do_misuse(char **w)
{
    struct confman_config *k;
    int good = confman_get(NULL, NULL, "k", &k, NULL) == CONFMAN_MISUSE;
    (void)w;
    good += confman_get(client, NULL, NULL, &k, NULL) == CONFMAN_MISUSE;
    good += confman_get(client, NULL, "k", NULL, NULL) == CONFMAN_MISUSE;
    good += confman_put(client, NULL, "k", (enum confman_type)9, "v", 1, 0, NULL, NULL) ==
            CONFMAN_MISUSE;
    good += confman_put(client, NULL, "k", CONFMAN_JSON, "{", 1, 0, NULL, NULL) ==
            CONFMAN_INVALID;
    good += confman_put(client, NULL, "k", CONFMAN_STRING, "\xff", 1, 0, NULL, NULL) ==
            CONFMAN_INVALID;
    good += confman_flag_boolean(copy, "f", NULL, 3, &good, NULL) == CONFMAN_MISUSE;
    good += confman_report(NULL, 1, NULL) == CONFMAN_MISUSE;
    good += confman_step(NULL, NULL) == CONFMAN_MISUSE && confman_fd(NULL) == -1;
    good += confman_fd(client) == -1 && confman_timeout_ms(client) == -1 &&
            confman_step(client, NULL) == CONFMAN_MISUSE;
    confman_close(NULL);
    confman_copy_close(NULL);
    confman_config_free(NULL);
    confman_list_free(NULL);
    confman_answer_free(NULL);
    printf("CONFMAN_OK %d\n", good);
}

/* ---- many threads ---- */

struct stress {
    pthread_t thread;
    int id, rounds, wrong;
};

static void *stress_one(void *context)
{
    struct stress *s = context;
    char key[64], value[64];
    for (int i = 0; i < s->rounds; i++) {
        struct confman_config *k = NULL;
        int64_t version = 0;
        int n = snprintf(value, sizeof(value), "%d-%d", s->id, i);
        snprintf(key, sizeof(key), "stress/%d", s->id);
        if (confman_put(client, "default", key, CONFMAN_STRING, value, (size_t)n, CONFMAN_ANY,
                        &version, NULL) != CONFMAN_OK ||
            confman_get(client, "default", key, &k, NULL) != CONFMAN_OK ||
            strcmp(k->value, value) != 0 || k->version != version)
            s->wrong++;
        confman_config_free(k);
        if (copy) {
            struct confman_list *list = NULL;
            if (confman_copy_list(copy, NULL, &list) != CONFMAN_OK)
                s->wrong++;
            confman_list_free(list);
        }
    }
    return NULL;
}

static void do_stress(char **w)
{
    enum { MOST = 64 };
    static struct stress all[MOST];
    int threads = atoi(w[1]), wrong = 0;
    for (int i = 0; i < threads && i < MOST; i++) {
        all[i] = (struct stress){ .id = i, .rounds = atoi(w[2]) };
        pthread_create(&all[i].thread, NULL, stress_one, &all[i]);
    }
    for (int i = 0; i < threads && i < MOST; i++) {
        pthread_join(all[i].thread, NULL);
        wrong += all[i].wrong;
    }
    printf("CONFMAN_OK %d\n", wrong);
}

static void do_speed(char **w)
{
    struct confman_attribute a[WORDS];
    size_t n = attributes_of(w + 3, a);
    struct timespec from, to;
    int rounds = atoi(w[2]), truth = 0, failed = 0;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int i = 0; i < rounds; i++)
        failed += confman_flag_boolean(copy, w[1], a, n, &truth, NULL) != CONFMAN_OK;
    clock_gettime(CLOCK_MONOTONIC, &to);
    double ns = (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
    printf("CONFMAN_OK %.0f ns %d\n", ns / rounds, failed);
}

/* ---- lines ---- */

static void run(char **w, int n)
{
    static const struct {
        const char *name;
        int words;
        void (*run)(char **w);
    } commands[] = { { "get", 3, do_get },         { "put", 6, do_put },
                     { "delete", 4, do_delete },   { "list", 3, do_list },
                     { "request", 4, do_request }, { "copy", 4, do_copy },
                     { "wait", 3, do_wait },       { "state", 1, do_state },
                     { "cget", 2, do_cget },       { "clist", 2, do_clist },
                     { "token", 2, do_token },      { "report", 2, do_report },
                     { "uncopy", 1, do_uncopy },   { "flag", 3, do_flag },
                     { "fork", 1, do_fork },       { "misuse", 1, do_misuse },
                     { "stress", 3, do_stress },   { "speed", 3, do_speed } };
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (n >= commands[i].words && strcmp(w[0], commands[i].name) == 0) {
            commands[i].run(w);
            return;
        }
    printf("driver: no such command\n");
}

/* Without a thread the client works when it is called: until there is a line. */
static void step_until_line(void)
{
    if (!getenv("DRIVER_OWN_LOOP"))
        return;
    struct pollfd ready[] = { { confman_fd(client), POLLIN, 0 }, { 0, POLLIN, 0 } };
    fflush(stdout);
    while (poll(ready, 2, confman_timeout_ms(client)) >= 0 && !ready[1].revents)
        if (confman_step(client, NULL) != CONFMAN_OK)
            return;
}

int main(void)
{
    struct confman_options o = CONFMAN_OPTIONS;
    struct confman_error e;
    char line[4096];
    o.endpoints = getenv("CONFMAN_ENDPOINT");
    o.user = getenv("DRIVER_USER");
    o.password = getenv("DRIVER_PASSWORD");
    o.token = getenv("DRIVER_TOKEN");
    o.ca_file = getenv("DRIVER_CA");
    o.stay = getenv("DRIVER_STAY") != NULL;
    o.client = getenv("DRIVER_CLIENT");
    o.instance = getenv("DRIVER_INSTANCE");
    o.own_loop = getenv("DRIVER_OWN_LOOP") != NULL;
    setvbuf(stdin, NULL, _IONBF, 0); /* so that poll tells of a line */
    o.timeout_ms = getenv("DRIVER_TIMEOUT_MS") ? atoi(getenv("DRIVER_TIMEOUT_MS")) : 0;
    if (confman_open(&o, &client, &e) != CONFMAN_OK) {
        answer(e.code, &e);
        return 1;
    }
    while (step_until_line(), fgets(line, sizeof(line), stdin)) {
        char *words[WORDS + 1] = { NULL }, *rest = line;
        int n = 0;
        line[strcspn(line, "\n")] = 0;
        for (char *w; n < WORDS && (w = strtok_r(rest, " ", &rest)) != NULL;)
            words[n++] = w;
        if (n)
            run(words, n);
        fflush(stdout);
    }
    confman_copy_close(copy);
    confman_close(client);
    return 0;
}
