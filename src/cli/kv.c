#include <string.h>
#include "base/check.h"
#include "cli/cli_int.h"

#define BEGIN_JSON(w, b, header)                                                                   \
    buf_open(&b, &cli_heap);                                                                       \
    jsonw_open(&w, &b);                                                                            \
    jsonw_object(&w);                                                                              \
    write_header_json(&w, header)

#define END_JSON(w, b)                                                                             \
    jsonw_object_end(&w);                                                                          \
    print_json(&b)

static int bad_answer(void)
{
    return cli_complain(EXIT_UNREACHABLE, "the answer makes no sense: is this an etcd v3 server?");
}

static struct span read_input(struct arena *arena)
{
    struct buf b;
    buf_open(&b, arena->alloc);
    for (size_t n = 1; n > 0; b.len += n)
        n = fread(buf_room(&b, 4096), 1, 4096, stdin);
    struct span out = arena_copy(arena, buf_all(&b));
    buf_close(&b);
    return out;
}

/* ---- put ---- */

int run_put(const struct options *o, struct arena *arena)
{
    struct pb_put_request m = { .key = span_text(o->args[0]),
                                .lease = o->lease,
                                .prev_kv = o->prev_kv,
                                .ignore_value = o->ignore_value,
                                .ignore_lease = o->ignore_lease };
    bool from_input = o->n_args < 2 || strcmp(o->args[1], "-") == 0;
    if (!o->ignore_value)
        m.value = from_input ? read_input(arena) : span_text(o->args[1]);
    struct buf request, b;
    struct span answer;
    buf_open(&request, &cli_heap);
    pb_put_request_encode(&m, &request);
    int status = call_once(o, "/etcdserverpb.KV/Put", &request, arena, &answer);
    buf_close(&request);
    if (status != EXIT_DONE)
        return status;
    struct pb_put_response r;
    struct jsonw w;
    if (pb_put_response_decode(answer, arena, &r) != ERR_OK)
        return bad_answer();
    if (!o->json) {
        puts("OK");
        if (r.prev_kv)
            print_pair(r.prev_kv, false, false);
        return EXIT_DONE;
    }
    BEGIN_JSON(w, b, r.header);
    if (r.prev_kv) {
        jsonw_name(&w, "prev_kv");
        write_pair_json(&w, r.prev_kv, true);
    }
    END_JSON(w, b);
    return EXIT_DONE;
}

/* ---- get ---- */

/* The word's place in a list separated by '|', -1 when it is not there. */
static int place_of(const char *word, const char *list)
{
    size_t n = strlen(word);
    for (int i = 0;; i++) {
        size_t len = strcspn(list, "|");
        if (len == n && strncmp(list, word, n) == 0)
            return i;
        if (!list[len])
            return -1;
        list += len + 1;
    }
}

bool get_request(const struct options *o, struct span key, struct arena *arena,
                 struct pb_range_request *out)
{
    *out = (struct pb_range_request){ .limit = o->limit,
                                      .revision = o->revision,
                                      .serializable = o->serializable,
                                      .keys_only = o->keys_only,
                                      .count_only = o->count_only };
    out->sort_target = o->sort_by ? place_of(o->sort_by, "key|version|create|mod|value") : 0;
    out->sort_order = o->order ? place_of(o->order, "none|ascend|descend") : o->sort_by ? 1 : 0;
    out->range_end = range_end_of(o, &key, arena);
    out->key = key;
    if (out->sort_target < 0)
        cli_complain(EXIT_USAGE, "--sort-by must be key, version, create, mod or value");
    else if (out->sort_order < 0)
        cli_complain(EXIT_USAGE, "--order must be ascend or descend");
    return out->sort_target >= 0 && out->sort_order >= 0;
}

void write_range_json(struct jsonw *w, const struct pb_range_response *r, bool keys_only)
{
    jsonw_name(w, "kvs");
    jsonw_array(w);
    for (size_t i = 0; i < r->n_kvs; i++)
        write_pair_json(w, &r->kvs[i], !keys_only);
    jsonw_array_end(w);
    jsonw_name(w, "count");
    jsonw_number(w, r->count);
    jsonw_name(w, "more");
    jsonw_bool(w, r->more);
}

void print_range(const struct options *o, const struct pb_range_response *r)
{
    if (o->count_only)
        printf("%lld\n", (long long)r->count);
    for (size_t i = 0; i < r->n_kvs; i++)
        print_pair(&r->kvs[i], o->print_value_only, o->keys_only);
}

/* One object a pair in JSON: nothing is kept. */
static void print_piece(const struct options *o, const struct pb_range_response *r)
{
    if (!o->json)
        print_range(o, r);
    for (size_t i = 0; i < r->n_kvs && o->json; i++) {
        struct buf b;
        struct jsonw w;
        buf_open(&b, &cli_heap);
        jsonw_open(&w, &b);
        write_pair_json(&w, &r->kvs[i], !o->keys_only);
        print_json(&b);
    }
}

static int get_stream(const struct options *o, const struct buf *request)
{
    struct client *c = client_open(o);
    struct span message;
    struct arena arena;
    bool found = false;
    if (!c)
        return EXIT_UNREACHABLE;
    arena_open(&arena, &cli_heap);
    int status = client_ask(c, "/etcdserverpb.KV/RangeStream", request);
    while (status == EXIT_DONE) {
        struct pb_range_stream_response m;
        status = client_next(c, false, &message);
        if (status != EXIT_DONE || !message.data)
            break;
        if (pb_range_stream_response_decode(message, &arena, &m) != ERR_OK || !m.range_response) {
            status = bad_answer();
        } else {
            struct options piece = *o;
            piece.count_only = o->count_only && m.range_response->header; /* the last one has it */
            print_piece(&piece, m.range_response);
            found = found || m.range_response->n_kvs || m.range_response->count;
        }
        arena_reset(&arena);
    }
    arena_close(&arena);
    client_close(c);
    return status == EXIT_DONE && !found ? EXIT_REFUSED : status;
}

int run_get(const struct options *o, struct arena *arena)
{
    struct pb_range_request m;
    struct pb_range_response r;
    struct buf request, b;
    struct span answer;
    struct jsonw w;
    if (!get_request(o, span_text(o->args[0]), arena, &m))
        return EXIT_USAGE;
    buf_open(&request, &cli_heap);
    pb_range_request_encode(&m, &request);
    if (o->stream) {
        int streamed = get_stream(o, &request);
        buf_close(&request);
        return streamed;
    }
    int status = call_once(o, "/etcdserverpb.KV/Range", &request, arena, &answer);
    buf_close(&request);
    if (status != EXIT_DONE)
        return status;
    if (pb_range_response_decode(answer, arena, &r) != ERR_OK)
        return bad_answer();
    if (o->json) {
        BEGIN_JSON(w, b, r.header);
        write_range_json(&w, &r, o->keys_only);
        END_JSON(w, b);
    } else {
        print_range(o, &r);
    }
    return r.count > 0 ? EXIT_DONE : EXIT_REFUSED;
}

/* ---- del ---- */

int run_del(const struct options *o, struct arena *arena)
{
    struct span key = span_text(o->args[0]), end = range_end_of(o, &key, arena), answer;
    struct pb_delete_range_request m = { .key = key, .range_end = end, .prev_kv = o->prev_kv };
    struct pb_delete_range_response r;
    struct buf request, b;
    struct jsonw w;
    buf_open(&request, &cli_heap);
    pb_delete_range_request_encode(&m, &request);
    int status = call_once(o, "/etcdserverpb.KV/DeleteRange", &request, arena, &answer);
    buf_close(&request);
    if (status != EXIT_DONE)
        return status;
    if (pb_delete_range_response_decode(answer, arena, &r) != ERR_OK)
        return bad_answer();
    if (!o->json) {
        printf("%lld\n", (long long)r.deleted);
        for (size_t i = 0; i < r.n_prev_kvs; i++)
            print_pair(&r.prev_kvs[i], false, false);
        return EXIT_DONE;
    }
    BEGIN_JSON(w, b, r.header);
    jsonw_name(&w, "deleted");
    jsonw_number(&w, r.deleted);
    jsonw_name(&w, "prev_kvs");
    jsonw_array(&w);
    for (size_t i = 0; i < r.n_prev_kvs; i++)
        write_pair_json(&w, &r.prev_kvs[i], true);
    jsonw_array_end(&w);
    END_JSON(w, b);
    return EXIT_DONE;
}

/* ---- status and compact ---- */

int run_status(const struct options *o, struct arena *arena)
{
    struct pb_status_response r;
    struct buf nothing, b;
    struct span answer;
    struct jsonw w;
    buf_open(&nothing, &cli_heap);
    int status = call_once(o, "/etcdserverpb.Maintenance/Status", &nothing, arena, &answer);
    if (status != EXIT_DONE)
        return status;
    if (pb_status_response_decode(answer, arena, &r) != ERR_OK)
        return bad_answer();
    const struct {
        const char *name;
        int64_t value;
    } rows[] = { { "revision", r.header ? r.header->revision : 0 },
                 { "raft_term", (int64_t)r.raft_term },
                 { "raft_index", (int64_t)r.raft_index },
                 { "raft_applied_index", (int64_t)r.raft_applied_index },
                 { "store_bytes", r.db_size },
                 { "live_bytes", r.db_size_in_use } };
    size_t n = sizeof(rows) / sizeof(rows[0]);
    if (!o->json) {
        printf("%-20s %.*s\n%-20s %llx\n%-20s %llx\n", "version", (int)r.version.len,
               (const char *)r.version.data, "member",
               (unsigned long long)(r.header ? r.header->member_id : 0), "leader",
               (unsigned long long)r.leader);
        for (size_t i = 0; i < n; i++)
            printf("%-20s %lld\n", rows[i].name, (long long)rows[i].value);
        for (size_t i = 0; i < r.n_errors; i++)
            printf("%-20s %.*s\n", "error", (int)r.errors[i].len, (const char *)r.errors[i].data);
        return EXIT_DONE;
    }
    BEGIN_JSON(w, b, r.header);
    write_bytes_json(&w, "version", r.version);
    for (size_t i = 0; i < n; i++) {
        jsonw_name(&w, rows[i].name);
        jsonw_number(&w, rows[i].value);
    }
    END_JSON(w, b);
    return EXIT_DONE;
}

int run_compact(const struct options *o, struct arena *arena)
{
    struct pb_compaction_request m = { .physical = o->physical };
    struct pb_compaction_response r;
    struct buf request, b;
    struct span answer;
    struct jsonw w;
    if (!options_number(o->args[0], &m.revision))
        return cli_complain(EXIT_USAGE, "compact: \"%s\" is not a revision", o->args[0]);
    buf_open(&request, &cli_heap);
    pb_compaction_request_encode(&m, &request);
    int status = call_once(o, "/etcdserverpb.KV/Compact", &request, arena, &answer);
    buf_close(&request);
    if (status != EXIT_DONE)
        return status;
    if (pb_compaction_response_decode(answer, arena, &r) != ERR_OK)
        return bad_answer();
    if (!o->json) {
        printf("compacted revision %lld\n", (long long)m.revision);
        return EXIT_DONE;
    }
    BEGIN_JSON(w, b, r.header);
    END_JSON(w, b);
    return EXIT_DONE;
}
