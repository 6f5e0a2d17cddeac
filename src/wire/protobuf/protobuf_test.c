#include "base/test.h"
#include "base/prng.h"
#include "wire/protobuf/etcd_pb.h"

static struct alloc heap;

static struct arena *fresh(void)
{
    static struct arena a;
    alloc_heap(&heap);
    arena_open(&a, &heap);
    return &a;
}

TEST(protobuf_varint_sizes)
{
    for (int bit = 0; bit < 64; bit++) {
        uint8_t room[10];
        uint64_t v = UINT64_C(1) << bit;
        EXPECT((size_t)(pb_put_varint(room, v) - room) == pb_varint_size(v));
        EXPECT((size_t)(pb_put_varint(room, v - 1) - room) == pb_varint_size(v - 1));
    }
}

TEST(protobuf_put_request_bytes)
{
    struct arena *a = fresh();
    /* protoc --encode: key "k" value "v" lease -1 prev_kv true */
    struct span bytes =
        SPAN("\x0a\x01k\x12\x01v\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x20\x01");
    struct pb_put_request r;
    EXPECT(pb_put_request_decode(bytes, a, &r) == ERR_OK);
    EXPECT(span_is(r.key, "k") && span_is(r.value, "v") && r.lease == -1 && r.prev_kv);
    struct buf out;
    buf_open(&out, &heap);
    pb_put_request_encode(&r, &out);
    EXPECT(span_equal(buf_all(&out), bytes));
    buf_close(&out);
    arena_close(a);
    EXPECT(heap.used == 0);
}

TEST(protobuf_nested_txn_comes_back)
{
    struct arena *a = fresh();
    struct pb_range_request get = { .key = SPAN("a"), .limit = 3 };
    struct pb_request_op op = { .which_request = 1, .request_range = &get };
    struct pb_txn_request inner = { .success = &op, .n_success = 1 };
    struct pb_request_op ops[2] = { { .which_request = 4, .request_txn = &inner }, op };
    struct pb_compare c = {
        .which_target_union = 7, .value = SPAN("x"), .target = 3, .key = SPAN("k")
    };
    struct pb_txn_request txn = { .compare = &c, .n_compare = 1, .success = ops, .n_success = 2 };
    struct buf out, again;
    buf_open(&out, &heap);
    buf_open(&again, &heap);
    pb_txn_request_encode(&txn, &out);
    struct pb_txn_request back;
    EXPECT(pb_txn_request_decode(buf_all(&out), a, &back) == ERR_OK);
    EXPECT(back.n_success == 2 && back.success[0].which_request == 4);
    EXPECT(back.success[0].request_txn->success[0].request_range->limit == 3);
    EXPECT(back.compare[0].which_target_union == 7 && span_is(back.compare[0].value, "x"));
    pb_txn_request_encode(&back, &again);
    EXPECT(span_equal(buf_all(&out), buf_all(&again)));
    for (size_t cut = 1; cut < out.len; cut++) { /* cut anywhere: an answer, never a crash */
        enum err e = pb_txn_request_decode(span_of(out.data, cut), a, &back);
        EXPECT(e == ERR_OK || e == ERR_MESSAGE_MALFORMED);
    }
    buf_close(&out);
    buf_close(&again);
    arena_close(a);
    EXPECT(heap.used == 0);
}

TEST(protobuf_refuses)
{
    struct arena *a = fresh();
    struct pb_put_request put;
    struct pb_member_list_response list;
    struct pb_watch_create_request watch;
    EXPECT(pb_put_request_decode(SPAN("\x0a\x05k"), a, &put) == ERR_MESSAGE_MALFORMED);
    EXPECT(pb_put_request_decode(SPAN("\x08\x01"), a, &put) ==
           ERR_MESSAGE_MALFORMED); /* wire type */
    EXPECT(pb_put_request_decode(SPAN("\x0b\x0c"), a, &put) == ERR_MESSAGE_MALFORMED); /* group */
    EXPECT(pb_put_request_decode(SPAN("\x00\x00"), a, &put) == ERR_MESSAGE_MALFORMED); /* field 0 */
    EXPECT(pb_put_request_decode(SPAN("\xba\x06\x02hi"), a, &put) == ERR_OK);          /* unknown */
    EXPECT(pb_member_list_response_decode(SPAN("\x12\x04\x12\x02\xc3\x28"), a, &list) ==
           ERR_MESSAGE_MALFORMED); /* not UTF-8 */
    EXPECT(pb_watch_create_request_decode(SPAN("\x2a\x02\x00\x01\x28\x01"), a, &watch) == ERR_OK);
    EXPECT(watch.n_filters == 3 && watch.filters[1] == 1 && watch.filters[2] == 1);
    arena_close(a);
}

TEST(protobuf_depth_is_bounded)
{
    struct arena *a = fresh();
    uint8_t bytes[4096];
    size_t len = 0;
    while (len + 12 < sizeof(bytes)) { /* success { request_txn { success { ... */
        uint8_t room[sizeof(bytes)];
        uint8_t *p = pb_put_bytes(room, 4 << 3 | 2, span_of(bytes, len));
        len = (size_t)(pb_put_bytes(bytes, 2 << 3 | 2, span_of(room, (size_t)(p - room))) - bytes);
    }
    struct pb_txn_request txn;
    EXPECT(pb_txn_request_decode(span_of(bytes, len), a, &txn) == ERR_MESSAGE_MALFORMED);
    arena_close(a);
}

TEST(protobuf_utf8)
{
    EXPECT(pb_utf8(SPAN("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")));
    EXPECT(!pb_utf8(SPAN("\xc0\xaf")) && !pb_utf8(SPAN("\xed\xa0\x80")) && !pb_utf8(SPAN("\x80")));
    EXPECT(!pb_utf8(SPAN("\xf4\x90\x80\x80")) && !pb_utf8(SPAN("\xe2\x82")));
}
