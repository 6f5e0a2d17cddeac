#include "base/crc.h"
#include <stdbool.h>
#include <string.h>
#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

static uint32_t table_step(uint32_t crc, uint8_t c)
{
    crc ^= c;
    for (int i = 0; i < 8; i++)
        crc = crc & 1 ? (crc >> 1) ^ 0x82f63b78u : crc >> 1;
    return crc;
}

static uint32_t plain(uint32_t crc, const uint8_t *p, size_t len)
{
    static uint32_t table[256];
    static bool made;
    if (!__atomic_load_n(&made, __ATOMIC_ACQUIRE)) {
        /* Two threads may both fill it: with the same numbers. */
        for (unsigned i = 0; i < 256; i++)
            __atomic_store_n(&table[i], table_step(0, (uint8_t)i), __ATOMIC_RELAXED);
        __atomic_store_n(&made, true, __ATOMIC_RELEASE);
    }
    while (len--)
        crc = table[(crc ^ *p++) & 0xff] ^ (crc >> 8);
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t fast(uint32_t crc, const uint8_t *p, size_t len)
{
    uint64_t wide = crc;
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        wide = _mm_crc32_u64(wide, word);
    }
    crc = (uint32_t)wide;
    while (len--)
        crc = _mm_crc32_u8(crc, *p++);
    return crc;
}
#endif

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return ~fast(~crc, p, len);
#endif
    return ~plain(~crc, p, len);
}
