#include "core/alarm/alarm.h"
#include <string.h>
#include "base/check.h"

static bool before(struct alarm a, struct alarm b)
{
    return a.type != b.type ? a.type < b.type : a.member < b.member;
}

static bool same(struct alarm a, struct alarm b)
{
    return a.type == b.type && a.member == b.member;
}

/* Where it stands, or would. */
static size_t place(const struct alarms *a, struct alarm which)
{
    size_t i = 0;
    while (i < a->n && before(a->items[i], which))
        i++;
    return i;
}

bool alarm_is(const struct alarms *a, struct alarm which)
{
    size_t i = place(a, which);
    return i < a->n && same(a->items[i], which);
}

enum err alarm_raise(struct alarms *a, struct alarm which)
{
    size_t i = place(a, which);
    CHECK(which.type > ALARM_NONE && which.type < ALARM_TYPES);
    if (i < a->n && same(a->items[i], which))
        return ERR_OK;
    if (a->n == ALARMS_MAX)
        return ERR_OVERLOADED;
    memmove(a->items + i + 1, a->items + i, (a->n - i) * sizeof(which));
    a->items[i] = which;
    a->n++;
    a->raised[which.type]++;
    return ERR_OK;
}

bool alarm_drop(struct alarms *a, struct alarm which)
{
    size_t i = place(a, which);
    if (i == a->n || !same(a->items[i], which))
        return false;
    a->n--;
    memmove(a->items + i, a->items + i + 1, (a->n - i) * sizeof(which));
    a->raised[which.type]--;
    return true;
}

bool alarm_any(const struct alarms *a, enum alarm_type type)
{
    return (type == ALARM_NONE ? a->n : a->raised[type]) > 0;
}

const char *alarm_name(enum alarm_type type)
{
    static const char *const names[ALARM_TYPES] = { "NONE", "NOSPACE", "CORRUPT" };
    CHECK(type < ALARM_TYPES);
    return names[type];
}

void alarm_save(const struct alarms *a, struct buf *out)
{
    buf_u32(out, (uint32_t)a->n);
    for (size_t i = 0; i < a->n; i++) {
        buf_u64(out, a->items[i].member);
        buf_u8(out, (uint8_t)a->items[i].type);
    }
}

enum err alarm_load(struct alarms *a, struct span *in)
{
    uint32_t count;
    CHECK(a->n == 0);
    if (!span_u32(in, &count) || count > ALARMS_MAX)
        return ERR_CORRUPT;
    for (uint32_t i = 0; i < count; i++) {
        struct alarm one;
        uint8_t type;
        if (!span_u64(in, &one.member) || !span_u8(in, &type) || type == ALARM_NONE ||
            type >= ALARM_TYPES)
            return ERR_CORRUPT;
        one.type = type;
        if (a->n && !before(a->items[a->n - 1], one))
            return ERR_CORRUPT; /* in another order than save's */
        enum err e = alarm_raise(a, one);
        CHECK(e == ERR_OK);
    }
    return ERR_OK;
}
