/* Any bytes as the answer to any operation, with any status: no crash, no leak; what is taken is
 * what it has to be, and why something is not is one line. */
#include "base/check.h"
#include "link/transit/transit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = { 200, 200, 200, 200, 204, 307, 400, 403, 503, 0, -1 };
    struct transit_answer a;
    struct alloc heap;
    struct arena arena;
    char why[TRANSIT_WHY_MAX] = "";
    if (size < 2)
        return 0;
    enum transit_op op = (enum transit_op)(data[0] % TRANSIT_OPS);
    int status = statuses[data[1] % (sizeof(statuses) / sizeof(statuses[0]))];
    alloc_heap(&heap);
    arena_open(&arena, &heap);
    if (transit_read(op, status, span_of(data + 2, size - 2), &arena, &a, why) == ERR_OK) {
        CHECK(op != TRANSIT_ENCRYPT || transit_version(a.text) > 0);
        CHECK(op != TRANSIT_LOGIN || transit_token_good(a.text));
        CHECK(a.ttl_s >= 0 && !why[0]);
    } else {
        CHECK(why[0] && strlen(why) < TRANSIT_WHY_MAX && !strchr(why, '\n'));
    }
    arena_close(&arena);
    CHECK(heap.used == 0);
    return 0;
}
