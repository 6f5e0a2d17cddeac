/* Numbers as they were written, compared and divided exactly. */
#include "base/check.h"
#include "wire/jdoc/jdoc.h"

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

struct jdoc_decimal jdoc_decimal(struct span number)
{
    struct jdoc_decimal out = { 0 };
    const uint8_t *p = number.data, *end = p + number.len, *first = NULL, *last = NULL;
    int64_t before = 0, zeros = 0, written = 0; /* digits before the point; 0s after the last */
    bool negative = p < end && *p == '-', point = false;
    for (p += negative; p < end && (is_digit(*p) || *p == '.'); p++) {
        if (*p == '.') {
            point = true;
            continue;
        }
        if (*p != '0') {
            first = first ? first : p;
            last = p;
            zeros = 0;
        } else if (first) {
            zeros++;
        }
        written += first != NULL;
        if (!point)
            before += first != NULL;
        else if (!first)
            before--;
    }
    if (!first)
        return out;
    if (p < end) { /* e */
        int64_t e = 0;
        bool below = *++p == '-';
        p += *p == '-' || *p == '+';
        for (; p < end; p++)
            e = e * 10 + (*p - '0');
        before += below ? -e : e;
    }
    out.negative = negative;
    out.digits = span_of(first, (size_t)(last - first) + 1);
    out.count = (uint32_t)(written - zeros);
    out.exponent = before;
    return out;
}

/* The next digit, -1 at the end. */
static int next(struct span *digits)
{
    if (digits->len && digits->data[0] == '.')
        *digits = span_from(*digits, 1);
    if (!digits->len)
        return -1;
    int d = digits->data[0] - '0';
    *digits = span_from(*digits, 1);
    return d;
}

static int compare_size(struct jdoc_decimal a, struct jdoc_decimal b)
{
    if (!a.count || !b.count)
        return (a.count > 0) - (b.count > 0);
    if (a.exponent != b.exponent)
        return a.exponent < b.exponent ? -1 : 1;
    for (;;) {
        int x = next(&a.digits), y = next(&b.digits);
        if (x != y)
            return x < y ? -1 : 1;
        if (x < 0)
            return 0;
    }
}

int jdoc_decimal_compare(struct jdoc_decimal a, struct jdoc_decimal b)
{
    if (a.negative != b.negative)
        return a.negative ? -1 : 1;
    return a.negative ? compare_size(b, a) : compare_size(a, b);
}

bool jdoc_decimal_whole(struct jdoc_decimal d)
{
    return d.exponent >= (int64_t)d.count;
}

bool jdoc_decimal_count(struct jdoc_decimal d, int64_t *out)
{
    *out = 0;
    if (d.negative || !jdoc_decimal_whole(d))
        return false;
    if (d.exponent > 18) {
        *out = INT64_MAX;
        return true;
    }
    for (int64_t i = 0; i < d.exponent; i++) {
        int digit = next(&d.digits);
        *out = *out * 10 + (digit > 0 ? digit : 0);
    }
    return true;
}

static uint64_t times(uint64_t a, uint64_t b, uint64_t modulus)
{
    return (uint64_t)((unsigned __int128)a * b % modulus);
}

bool jdoc_decimal_multiple(struct jdoc_decimal value, struct jdoc_decimal by)
{
    uint64_t divisor = 0, rest = 0, power = 10;
    CHECK(by.count > 0 && by.count <= JDOC_DIVISOR_DIGITS && !by.negative);
    if (!value.count)
        return true;
    /* value = V * 10^a, by = D * 10^b, V and D whole and no multiples of ten. If a < b, D * 10^(b -
     * a) is a multiple of ten, and V is not one of it. Else D has to divide V * 10^(a - b). */
    int64_t shift = (value.exponent - (int64_t)value.count) - (by.exponent - (int64_t)by.count);
    if (shift < 0)
        return false;
    for (int d = next(&by.digits); d >= 0; d = next(&by.digits))
        divisor = divisor * 10 + (uint64_t)d;
    for (int d = next(&value.digits); d >= 0; d = next(&value.digits))
        rest = (times(rest, 10, divisor) + (uint64_t)d) % divisor;
    for (power %= divisor; shift; shift >>= 1) {
        if (shift & 1)
            rest = times(rest, power, divisor);
        power = times(power, power, divisor);
    }
    return rest == 0;
}
