/* Any bytes as the record of a secret, and as keys: what is read is written and read the same. */
#include "base/check.h"
#include "core/secret/secret.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct secret s, again;
    struct secret_keys keys, keys_again;
    struct secret_settings settings;
    struct secret_seal seal;
    struct alloc heap;
    struct arena arena;
    struct buf out;
    alloc_heap(&heap);
    arena_open(&arena, &heap);
    buf_open(&out, &heap);
    if (secret_read(span_of(data, size), &s) == ERR_OK) {
        secret_write(&s, &out);
        CHECK(secret_read(buf_all(&out), &again) == ERR_OK);
        CHECK(again.n == s.n && again.current == s.current && out.len <= size + 2);
    }
    buf_reset(&out);
    if (secret_settings_read(span_of(data, size), &settings) == ERR_OK) {
        secret_settings_write(&settings, &out);
        CHECK(out.len <= size);
    }
    buf_reset(&out);
    if (secret_seal_read(span_of(data, size), &seal) == ERR_OK) {
        secret_seal_write(&seal, &out);
        CHECK(span_equal(buf_all(&out), span_of(data, size)));
    }
    buf_reset(&out);
    if (secret_keys_read(span_of(data, size), &arena, &keys) == ERR_OK) {
        secret_keys_write(&keys, &out);
        CHECK(secret_keys_read(buf_all(&out), &arena, &keys_again) == ERR_OK);
        CHECK(keys_again.n == keys.n && out.len <= size);
    }
    buf_close(&out);
    arena_close(&arena);
    CHECK(heap.used == 0);
    return 0;
}
