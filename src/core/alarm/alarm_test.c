#include "core/alarm/alarm.h"
#include "base/test.h"

static bool make(const struct alarm *list, size_t n, struct alarms *out)
{
    *out = (struct alarms){ .n = 0 };
    for (size_t i = 0; i < n; i++)
        if (alarm_raise(out, list[i]) != ERR_OK)
            return false;
    return true;
}

TEST(alarm_raise_and_drop)
{
    const struct alarm list[] = { { 7, ALARM_CORRUPT },
                                  { 9, ALARM_NOSPACE },
                                  { 2, ALARM_NOSPACE } };
    struct alarms a;
    EXPECT(make(list, 3, &a));
    EXPECT(alarm_raise(&a, list[1]) == ERR_OK && a.n == 3); /* it is raised already */
    EXPECT(a.items[0].member == 2 && a.items[1].member == 9 && a.items[2].member == 7);
    EXPECT(alarm_is(&a, list[0]) && !alarm_is(&a, (struct alarm){ 7, ALARM_NOSPACE }));
    EXPECT(alarm_drop(&a, list[1]) && !alarm_drop(&a, list[1]) && a.n == 2);
    EXPECT(alarm_any(&a, ALARM_NOSPACE) && alarm_any(&a, ALARM_CORRUPT));
    EXPECT(alarm_drop(&a, list[2]) && !alarm_any(&a, ALARM_NOSPACE) && alarm_any(&a, ALARM_NONE));
    EXPECT(alarm_drop(&a, list[0]) && !alarm_any(&a, ALARM_NONE));
}

TEST(alarm_bound)
{
    struct alarms a = { .n = 0 };
    for (uint64_t i = 0; i < ALARMS_MAX; i++)
        EXPECT(alarm_raise(&a, (struct alarm){ i, ALARM_NOSPACE }) == ERR_OK);
    EXPECT(alarm_raise(&a, (struct alarm){ 3, ALARM_NOSPACE }) == ERR_OK);
    EXPECT(alarm_raise(&a, (struct alarm){ 3, ALARM_CORRUPT }) == ERR_OVERLOADED);
    EXPECT(a.n == ALARMS_MAX && !alarm_any(&a, ALARM_CORRUPT));
}

TEST(alarm_save_and_load)
{
    const struct alarm list[] = { { 7, ALARM_CORRUPT }, { UINT64_MAX, ALARM_NOSPACE } };
    struct alarms a, b = { .n = 0 };
    struct alloc heap;
    struct buf out;
    alloc_heap(&heap);
    buf_open(&out, &heap);
    EXPECT(make(list, 2, &a));
    alarm_save(&a, &out);
    struct span in = buf_all(&out);
    EXPECT(out.len == 4 + 2 * 9 && alarm_load(&b, &in) == ERR_OK && in.len == 0);
    EXPECT(b.n == 2 && b.items[0].member == UINT64_MAX && b.items[1].type == ALARM_CORRUPT);
    for (size_t cut = 0; cut < out.len; cut++) {
        struct alarms c = { .n = 0 };
        in = span_of(out.data, cut);
        EXPECT(alarm_load(&c, &in) == ERR_CORRUPT);
    }
    const struct {
        size_t at;
        uint8_t byte;
    } bad[] = { { 3, 9 }, { 12, 0 }, { 12, 9 }, { 21, 1 } }; /* count, types, out of order */
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct alarms c = { .n = 0 };
        uint8_t kept = out.data[bad[i].at];
        out.data[bad[i].at] = bad[i].byte;
        in = buf_all(&out);
        EXPECT(alarm_load(&c, &in) == ERR_CORRUPT);
        out.data[bad[i].at] = kept;
    }
    buf_close(&out);
}
