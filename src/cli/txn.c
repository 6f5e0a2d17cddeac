/* Transactions as text: compares, an empty line, operations, an empty line, operations. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/check.h"
#include "base/vec.h"
#include "cli/cli_int.h"

enum { WORDS_MAX = 16, LINE_MAX_BYTES = 2 << 20 };

struct text_txn {
    struct arena *arena;
    VEC(struct pb_compare) compares;
    VEC(struct pb_request_op) ops[2];
};

static int bad(int line, const char *what)
{
    return cli_complain(EXIT_USAGE, "txn: line %d: %s", line, what);
}

/* The next word off the line: bare, or in double quotes with \" \\ \n. NULL: none, or no end. */
static const char *next_word(char **line)
{
    char *in = *line + strspn(*line, " \t"), *out = in, *word = in;
    if (!*in)
        return NULL;
    if (*in != '"') {
        in += strcspn(in, " \t");
        *line = *in ? in + 1 : in;
        *in = 0;
        return word;
    }
    word = out = ++in;
    for (; *in && *in != '"'; in++) {
        if (*in == '\\' && in[1]) {
            in++;
            *out++ = *in == 'n' ? '\n' : *in;
        } else {
            *out++ = *in;
        }
    }
    if (!*in)
        return NULL;
    *line = in + 1;
    *out = 0;
    return word;
}

/* ---- compares: mod("key") = "3" ---- */

static int read_compare(struct text_txn *t, char *line, int number)
{
    static const char *const targets[] = { "version", "create", "mod", "value", "lease" };
    static const char *const results[] = { "=", ">", "<", "!=" };
    static const uint32_t fields[] = { 4, 5, 6, 7, 8 };
    struct pb_compare c = { 0 };
    char *open = strchr(line, '('), *rest = open ? open + 1 : line;
    if (!open)
        return bad(number, "a compare looks like mod(\"key\") = \"3\"");
    *open = 0;
    int target = -1, result = -1;
    const char *name = line + strspn(line, " \t");
    for (int i = 0; i < 5; i++)
        if (strcmp(name, targets[i]) == 0)
            target = i;
    if (rest[0] != '"') { /* a bare key ends at the parenthesis */
        char *close = strchr(rest, ')');
        if (close)
            *close = ' ';
    }
    const char *key = next_word(&rest);
    rest += strspn(rest, ") \t");
    const char *sign = next_word(&rest), *value = next_word(&rest);
    for (int i = 0; i < 4; i++)
        if (sign && strcmp(sign, results[i]) == 0)
            result = i;
    if (target < 0)
        return bad(number, "compares are of version, create, mod, value or lease");
    if (!key || result < 0 || !value)
        return bad(number, "a compare looks like mod(\"key\") = \"3\", with =, !=, < or >");
    c.key = span_text(key);
    c.target = target;
    c.result = result;
    c.which_target_union = fields[target];
    if (target == 3)
        c.value = span_text(value);
    int64_t n = 0;
    errno = 0;
    if (target == 4)
        n = (int64_t)strtoull(value, NULL, 16);
    else if (target != 3 && !options_number(value, &n))
        return bad(number, "this compare wants a number");
    int64_t *numbers[] = { &c.version, &c.create_revision, &c.mod_revision, NULL, &c.lease };
    if (numbers[target])
        *numbers[target] = n;
    VEC_PUSH(&t->compares, &cli_heap, c);
    return EXIT_DONE;
}

/* ---- operations: put k v, get k --prefix, del k ---- */

static int make_op(struct text_txn *t, const char *verb, const struct options *o, int branch,
                   int number)
{
    struct pb_request_op op = { 0 };
    struct span key = span_text(o->args[0]);
    if (strcmp(verb, "put") == 0) {
        op.which_request = 2;
        op.request_put = ARENA_NEW(t->arena, struct pb_put_request);
        if (o->n_args < 2 && !o->ignore_value)
            return bad(number, "put wants a key and a value");
        *op.request_put = (struct pb_put_request){ .key = key,
                                                   .lease = o->lease,
                                                   .prev_kv = o->prev_kv,
                                                   .ignore_value = o->ignore_value,
                                                   .ignore_lease = o->ignore_lease };
        op.request_put->value = o->n_args > 1 ? span_text(o->args[1]) : SPAN_NONE;
    } else if (strcmp(verb, "get") == 0) {
        op.which_request = 1;
        op.request_range = ARENA_NEW(t->arena, struct pb_range_request);
        if (!get_request(o, key, t->arena, op.request_range))
            return EXIT_USAGE;
    } else {
        op.which_request = 3;
        op.request_delete_range = ARENA_NEW(t->arena, struct pb_delete_range_request);
        op.request_delete_range->range_end = range_end_of(o, &key, t->arena);
        op.request_delete_range->key = key;
        op.request_delete_range->prev_kv = o->prev_kv;
    }
    VEC_PUSH(&t->ops[branch], &cli_heap, op);
    return EXIT_DONE;
}

static int read_op(struct text_txn *t, char *line, int branch, int number)
{
    static const struct command verbs[] = {
        { "put", "KEY VALUE", "lease prev-kv ignore-value ignore-lease", "", "", 1, 2, NULL },
        { "get", "KEY",
          "prefix from-key range-end limit revision keys-only count-only sort-by order", "", "", 1,
          1, NULL },
        { "del", "KEY", "prefix from-key range-end prev-kv", "", "", 1, 1, NULL },
    };
    char *words[WORDS_MAX];
    int n = 0;
    const char *verb = next_word(&line);
    for (const char *word; n < WORDS_MAX && (word = next_word(&line)) != NULL;)
        words[n++] = (char *)(uintptr_t)word;
    for (size_t i = 0; verb && i < 3; i++) {
        struct options o;
        if (strcmp(verb, verbs[i].name) != 0)
            continue;
        int status = options_read(&verbs[i], n, words, &o);
        return status == EXIT_DONE ? make_op(t, verb, &o, branch, number) : status;
    }
    return bad(number, "operations are put, get and del");
}

static int read_text(struct text_txn *t, FILE *in)
{
    char *line = NULL;
    size_t room = 0;
    int part = 0, number = 0, status = EXIT_DONE;
    while (status == EXIT_DONE && getline(&line, &room, in) >= 0) {
        number++;
        line[strcspn(line, "\r\n")] = 0;
        char *kept = arena_text(t->arena, span_text(line));
        if (!line[strspn(line, " \t")])
            part++;
        else if (part == 0)
            status = read_compare(t, kept, number);
        else if (part <= 2)
            status = read_op(t, kept, part - 1, number);
        else
            status = bad(number, "there are three parts at most, with empty lines between them");
    }
    free(line);
    return status;
}

/* ---- the answer ---- */

static void print_response(const struct pb_response_op *r)
{
    if (r->which_response == 1)
        for (size_t i = 0; i < r->response_range->n_kvs; i++)
            print_pair(&r->response_range->kvs[i], false, false);
    else if (r->which_response == 2)
        puts("OK");
    else if (r->which_response == 3)
        printf("%lld\n", (long long)r->response_delete_range->deleted);
}

static void write_response(struct jsonw *w, const struct pb_response_op *r)
{
    jsonw_object(w);
    if (r->which_response == 1) {
        write_range_json(w, r->response_range, false);
    } else if (r->which_response == 2) {
        jsonw_name(w, "put");
        jsonw_bool(w, true);
    } else if (r->which_response == 3) {
        jsonw_name(w, "deleted");
        jsonw_number(w, r->response_delete_range->deleted);
    }
    jsonw_object_end(w);
}

static void show(const struct options *o, const struct pb_txn_response *r)
{
    struct buf b;
    struct jsonw w;
    if (!o->json) {
        puts(r->succeeded ? "SUCCESS" : "FAILURE");
        for (size_t i = 0; i < r->n_responses; i++)
            print_response(&r->responses[i]);
        return;
    }
    buf_open(&b, &cli_heap);
    jsonw_open(&w, &b);
    jsonw_object(&w);
    write_header_json(&w, r->header);
    jsonw_name(&w, "succeeded");
    jsonw_bool(&w, r->succeeded);
    jsonw_name(&w, "responses");
    jsonw_array(&w);
    for (size_t i = 0; i < r->n_responses; i++)
        write_response(&w, &r->responses[i]);
    jsonw_array_end(&w);
    jsonw_object_end(&w);
    print_json(&b);
}

static int send_txn(const struct options *o, struct text_txn *t)
{
    struct pb_txn_request m = { .compare = t->compares.items,
                                .n_compare = t->compares.n,
                                .success = t->ops[0].items,
                                .n_success = t->ops[0].n,
                                .failure = t->ops[1].items,
                                .n_failure = t->ops[1].n };
    struct pb_txn_response r;
    struct buf request;
    struct span answer;
    buf_open(&request, &cli_heap);
    pb_txn_request_encode(&m, &request);
    int status = call_once(o, "/etcdserverpb.KV/Txn", &request, t->arena, &answer);
    buf_close(&request);
    if (status == EXIT_DONE && pb_txn_response_decode(answer, t->arena, &r) == ERR_OK)
        show(o, &r);
    return status;
}

int run_txn(const struct options *o, struct arena *arena)
{
    struct text_txn t = { .arena = arena };
    FILE *in = o->n_args ? fopen(o->args[0], "r") : stdin;
    if (!in)
        return cli_complain(EXIT_USAGE, "txn: %s: %s", o->args[0], strerror(errno));
    int status = read_text(&t, in);
    if (in != stdin)
        fclose(in);
    if (status == EXIT_DONE)
        status = send_txn(o, &t);
    VEC_CLOSE(&t.compares, &cli_heap);
    VEC_CLOSE(&t.ops[0], &cli_heap);
    VEC_CLOSE(&t.ops[1], &cli_heap);
    return status;
}
