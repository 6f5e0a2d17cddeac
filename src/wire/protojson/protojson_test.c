#include "base/check.h"
#include "base/test.h"
#include "wire/protobuf/etcd_pb.h"
#include "wire/protojson/protojson.h"

/* JSON -> bytes -> the message as its own codec makes it -> JSON again. */
struct rig {
    struct alloc heap;
    struct arena arena;
    struct buf bytes, text;
    char why[JSONR_WHY_MAX];
};

static void rig_open(struct rig *r)
{
    *r = (struct rig){ 0 };
    alloc_heap(&r->heap);
    jsonr_use(&r->heap);
    arena_open(&r->arena, &r->heap);
    buf_open(&r->bytes, &r->heap);
    buf_open(&r->text, &r->heap);
}

static bool rig_close(struct rig *r)
{
    arena_close(&r->arena);
    buf_close(&r->bytes);
    buf_close(&r->text);
    return r->heap.used == 0;
}

static enum err read_text(struct rig *r, const struct pb_shape *shape, const char *json)
{
    buf_reset(&r->bytes);
    return protojson_read(shape, span_text(json), &r->bytes, r->why);
}

static struct span write_text(struct rig *r, const struct pb_shape *shape)
{
    struct jsonw w;
    buf_reset(&r->text);
    jsonw_open(&w, &r->text);
    protojson_write(shape, buf_all(&r->bytes), &w);
    return buf_all(&r->text);
}

#define BACK(rig, type, message)                                                                   \
    (pb_##type##_decode(buf_all(&(rig)->bytes), &(rig)->arena, message) == ERR_OK &&               \
     (buf_reset(&(rig)->bytes), pb_##type##_encode(message, &(rig)->bytes), true))

TEST(protojson_names_and_numbers)
{
    struct rig r;
    struct pb_range_request m;
    rig_open(&r);
    EXPECT(read_text(&r, &pb_range_request_shape,
                     "{\"key\":\"YQ==\",\"rangeEnd\":\"Yg\",\"limit\":\"12\",\"revision\":-3,"
                     "\"sort_order\":\"DESCEND\",\"sortTarget\":4,\"serializable\":true,"
                     "\"keys_only\":null,\"other\":{\"key\":1},\"max_mod_revision\":1e3}") ==
           ERR_OK);
    EXPECT(BACK(&r, range_request, &m));
    EXPECT(span_is(m.key, "a") && span_is(m.range_end, "b") && m.limit == 12 && m.revision == -3);
    EXPECT(m.sort_order == PB_RANGE_REQUEST_DESCEND && m.sort_target == PB_RANGE_REQUEST_VALUE);
    EXPECT(m.serializable && !m.keys_only && m.max_mod_revision == 1000);
    EXPECT(span_is(write_text(&r, &pb_range_request_shape),
                   "{\"key\":\"YQ==\",\"range_end\":\"Yg==\",\"limit\":\"12\",\"revision\":\"-3\","
                   "\"sort_order\":\"DESCEND\",\"sort_target\":\"VALUE\",\"serializable\":true,"
                   "\"max_mod_revision\":\"1000\"}"));
    EXPECT(rig_close(&r));
}

TEST(protojson_names_that_are_not_snake_case)
{
    struct rig r;
    struct pb_member m;
    rig_open(&r);
    EXPECT(read_text(&r, &pb_member_shape,
                     "{\"ID\":18446744073709551615,\"name\":\"\\u00e9\\\"\",\"peerURLs\":[\"a\","
                     "\"b\"],\"clientURLs\":[],\"isLearner\":true}") == ERR_OK);
    EXPECT(BACK(&r, member, &m) && m.id == UINT64_MAX && m.n_peer_urls == 2 && m.is_learner);
    EXPECT(span_is(write_text(&r, &pb_member_shape),
                   "{\"ID\":\"18446744073709551615\",\"name\":\"\xc3\xa9\\\"\","
                   "\"peerURLs\":[\"a\",\"b\"],\"isLearner\":true}"));
    EXPECT(rig_close(&r));
}

TEST(protojson_oneof_nested_and_packed)
{
    struct rig r;
    struct pb_txn_request m;
    struct pb_watch_request w;
    static const char text[] =
        "{\"compare\":[{\"result\":\"NOT_EQUAL\",\"target\":\"LEASE\",\"key\":\"YQ==\","
        "\"lease\":\"0\"}],\"success\":[{\"request_put\":{\"key\":\"YQ==\"}},"
        "{\"request_range\":{}},{}]}";
    rig_open(&r);
    EXPECT(read_text(&r, &pb_txn_request_shape, text) == ERR_OK && BACK(&r, txn_request, &m));
    EXPECT(m.n_compare == 1 && m.compare[0].which_target_union == 8 && m.n_success == 3);
    EXPECT(m.success[1].which_request == 1 && m.success[2].which_request == 0);
    EXPECT(span_is(write_text(&r, &pb_txn_request_shape), text));
    EXPECT(read_text(&r, &pb_watch_request_shape,
                     "{\"createRequest\":{\"filters\":[\"NOPUT\",1,7]}}") == ERR_OK);
    EXPECT(BACK(&r, watch_request, &w) && w.create_request->n_filters == 3);
    EXPECT(span_is(write_text(&r, &pb_watch_request_shape),
                   "{\"create_request\":{\"filters\":[\"NOPUT\",\"NODELETE\",7]}}"));
    EXPECT(rig_close(&r));
}

TEST(protojson_base64_of_both_kinds)
{
    static const struct {
        const char *text, *bytes; /* NULL: refused */
    } cases[] = { { "", "" },         { "/+8=", "\xff\xef" }, { "_-8", "\xff\xef" },
                  { "_-8=", "\xff\xef" }, { "/+8", "\xff\xef" },  { "_+8", NULL },
                  { "A", NULL },      { "YQ=", NULL },        { "YQ===", NULL },
                  { "Y Q=", NULL },   { "YR==", NULL },       { "====", NULL } };
    struct rig r;
    struct pb_put_request m;
    rig_open(&r);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char json[64];
        snprintf(json, sizeof(json), "{\"key\":\"%s\"}", cases[i].text);
        enum err e = read_text(&r, &pb_put_request_shape, json);
        EXPECT((e == ERR_OK) == (cases[i].bytes != NULL));
        if (e == ERR_OK)
            EXPECT(BACK(&r, put_request, &m) && span_is(m.key, cases[i].bytes));
    }
    EXPECT(rig_close(&r));
}

TEST(protojson_refusals)
{
    static const struct {
        const char *json, *why;
    } cases[] = {
        { "[]", "TxnRequest: must be an object" },
        { "{", "line 1" },
        { "{} {}", "line 1" },
        { "{\"compare\":{}}", "compare: must be an array" },
        { "{\"compare\":[null]}", "Compare: must be an object" },
        { "{\"compare\":[{\"key\":5}]}", "key: must be a string" },
        { "{\"compare\":[{\"version\":true}]}", "version: must be a whole number" },
        { "{\"compare\":[{\"version\":1.5}]}", "version: must be a whole number" },
        { "{\"compare\":[{\"version\":\"\"}]}", "version: must be a whole number" },
        { "{\"compare\":[{\"version\":\"-\"}]}", "version: must be a whole number" },
        { "{\"compare\":[{\"version\":\"1x\"}]}", "version: must be a whole number" },
        { "{\"compare\":[{\"version\":9223372036854775808}]}", "version: must be a whole number" },
        { "{\"compare\":[{\"version\":\"-9223372036854775809\"}]}", "version: must be" },
        { "{\"compare\":[{\"version\":\"99999999999999999999999\"}]}", "version: must be" },
        { "{\"compare\":[{\"version\":1e300}]}", "version: must be" },
        { "{\"compare\":[{\"result\":\"SAME\"}]}", "result: must be one of its names" },
        { "{\"compare\":[{\"result\":2147483648}]}", "result: must be one of its names" },
        { "{\"compare\":[{\"version\":1,\"lease\":1}]}", "lease: only one of these" },
        { "{\"compare\":[{\"range_end\":\"\",\"rangeEnd\":\"\"}]}", "range_end: is there under" },
        { "{\"success\":[{\"request_range\":{\"keys_only\":\"yes\"}}]}", "keys_only: must" },
    };
    struct rig r;
    rig_open(&r);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        EXPECT(read_text(&r, &pb_txn_request_shape, cases[i].json) == ERR_BODY_NOT_JSON);
        EXPECT(strncmp(r.why, cases[i].why, strlen(cases[i].why)) == 0);
    }
    EXPECT(read_text(&r, &pb_member_shape, "{\"ID\":-1}") == ERR_BODY_NOT_JSON);
    EXPECT(read_text(&r, &pb_lease_status_shape, "{\"ID\":-9223372036854775808}") == ERR_OK);
    EXPECT(rig_close(&r));
}

TEST(protojson_depth_is_bounded)
{
    struct rig r;
    struct buf json;
    rig_open(&r);
    for (int levels = PROTOJSON_DEPTH_MAX / 2 - 1; levels <= PROTOJSON_DEPTH_MAX / 2; levels++) {
        buf_open(&json, &r.heap); /* each level is two messages: the transaction and the op */
        for (int i = 0; i < levels; i++)
            buf_text(&json, "{\"success\":[{\"request_txn\":");
        buf_text(&json, "{}");
        for (int i = 0; i < levels; i++)
            buf_text(&json, "}]}");
        buf_u8(&json, 0);
        enum err e = read_text(&r, &pb_txn_request_shape, (const char *)json.data);
        EXPECT(e == (levels < PROTOJSON_DEPTH_MAX / 2 ? ERR_OK : ERR_BODY_NOT_JSON));
        struct pb_txn_request m;
        if (e == ERR_OK)
            EXPECT(BACK(&r, txn_request, &m));
        buf_close(&json);
    }
    EXPECT(strcmp(r.why, "TxnRequest: is nested too deep") == 0);
    EXPECT(rig_close(&r));
}

TEST(protojson_long_numbers_in_strings_stay)
{
    struct rig r;
    struct pb_status_response m;
    rig_open(&r);
    EXPECT(read_text(&r, &pb_status_response_shape,
                     "{\"version\":\"\\\"12345678901234567890\",\"dbSize\":1234567890123456789,"
                     "\"leader\":12345678901234567890,\"errors\":[\"-12345678901234567890\"]}") ==
           ERR_OK);
    EXPECT(BACK(&r, status_response, &m) && m.leader == 12345678901234567890u);
    EXPECT(span_is(m.version, "\"12345678901234567890") && m.db_size == 1234567890123456789);
    EXPECT(m.n_errors == 1 && span_is(m.errors[0], "-12345678901234567890"));
    EXPECT(rig_close(&r));
}
