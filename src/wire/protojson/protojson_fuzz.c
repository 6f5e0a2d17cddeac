/* Any text, read as any message of the contract: what is taken is a message that its own codec
 * takes; as that makes it, it is written as JSON that says the same again. The first byte chooses
 * the message. */
#include "base/check.h"
#include "wire/protobuf/etcd_pb.h"
#include "wire/protojson/protojson.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct one {
    struct alloc heap;
    struct arena arena;
    struct buf first, again;
};

#define SETTLE(shape)                                                                              \
    static void settle_##shape(struct one *o)                                                      \
    {                                                                                              \
        struct pb_##shape m;                                                                       \
        CHECK(pb_##shape##_decode(buf_all(&o->first), &o->arena, &m) == ERR_OK);                   \
        pb_##shape##_encode(&m, &o->again);                                                        \
    }
SETTLE(range_request)
SETTLE(txn_request)
SETTLE(txn_response)
SETTLE(watch_request)
SETTLE(watch_response)
SETTLE(lease_time_to_live_response)
SETTLE(member_list_response)
SETTLE(status_response)

static const struct {
    const struct pb_shape *shape;
    void (*settle)(struct one *o); /* first -> again */
} shapes[] = {
#define ROW(shape) { &pb_##shape##_shape, settle_##shape },
    ROW(range_request)
    ROW(txn_request)
    ROW(txn_response)
    ROW(watch_request)
    ROW(watch_response)
    ROW(lease_time_to_live_response)
    ROW(member_list_response)
    ROW(status_response)
};

static void round_trip(struct one *o, size_t which)
{
    char why[JSONR_WHY_MAX];
    struct jsonw w;
    struct buf text;
    shapes[which].settle(o);
    buf_open(&text, &o->heap);
    jsonw_open(&w, &text);
    protojson_write(shapes[which].shape, buf_all(&o->again), &w);
    buf_reset(&o->first);
    CHECK(protojson_read(shapes[which].shape, buf_all(&text), &o->first, why) == ERR_OK);
    struct span settled = arena_copy(&o->arena, buf_all(&o->again));
    buf_reset(&o->again);
    shapes[which].settle(o);
    CHECK(span_equal(buf_all(&o->again), settled));
    buf_close(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct one o;
    char why[JSONR_WHY_MAX] = { 0 };
    if (!size)
        return 0;
    size_t which = data[0] % (sizeof(shapes) / sizeof(shapes[0]));
    struct span rest = span_of(data + 1, size - 1);
    alloc_heap(&o.heap);
    jsonr_use(&o.heap);
    arena_open(&o.arena, &o.heap);
    buf_open(&o.first, &o.heap);
    buf_open(&o.again, &o.heap);
    while (rest.len) {
        struct span text = jsonr_first(&rest);
        buf_reset(&o.first);
        buf_reset(&o.again);
        if (text.len && protojson_read(shapes[which].shape, text, &o.first, why) == ERR_OK)
            round_trip(&o, which);
    }
    arena_close(&o.arena);
    buf_close(&o.first);
    buf_close(&o.again);
    CHECK(o.heap.used == 0);
    return 0;
}
