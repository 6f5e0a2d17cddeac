/* Any bytes as messages of any method, one after the other against one store: refused or done, and
 * answered in messages that read back. A message is the method's number, two bytes of length (low
 * first), and its bytes. */
#include <stdlib.h>
#include "api/etcd/drive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool next(struct span *s, const struct etcd_method **method, struct span *message)
{
    uint8_t number, low, high;
    if (!span_u8(s, &number) || !span_u8(s, &low) || !span_u8(s, &high) ||
        !span_take(s, (size_t)low | (size_t)high << 8, message))
        return false;
    *method = etcd_method_at(number % etcd_method_count());
    if (etcd_method_of_flagd(*method))
        *method = etcd_method_at(0); /* theirs are another target's */
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span s = span_of(data, size), message;
    const struct etcd_method *method;
    struct drive d;
    const char *text;
    drive_open(&d);
    while (next(&s, &method, &message)) {
        enum err e = drive_call(&d, method, message);
        int code = etcd_status(e, &text);
        if (code < 0 || code > 16 || (e != ERR_OK && !*text))
            abort();
        while (kv_compact_step(d.m.kv, 100))
            ;
        arena_reset(&d.arena);
    }
    if (!drive_close(&d))
        abort();
    return 0;
}
