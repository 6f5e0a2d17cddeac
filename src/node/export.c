#include "node/export.h"
#include <openssl/evp.h>
#include <stdlib.h>
#include "base/check.h"
#include "base/vec.h"
#include "core/machine/machine.h"
#include "io/file/file.h"
#include "link/etcdfile/etcdfile.h"

enum { WINDOW_BYTES = 16 << 10, SLACK_BYTES = 128, COUNT_STEP = 100000, HASH_BYTES = 32 };

/* A version, and where in the checkpoint's file it and its key stand. */
struct place {
    int64_t revision;
    uint64_t key_at;
    uint64_t at : 63, deletion : 1;
    uint32_t sub;
    uint32_t size; /* of the value in the database, which has the key too */
};

struct export
{
    struct alloc alloc;
    struct storage_load load;
    struct machine m; /* all but the store */
    char why[STORAGE_WHY_MAX];
    enum { READING, COUNTING, WRITING, HASHING, ENDED } phase;
    int64_t compact_revision;
    bool store;     /* its pieces have begun: they are the last but one */
    struct buf key; /* of the version at hand */
    uint64_t key_at;
    VEC(struct place) places;
    size_t next; /* of places */
    struct bbolt_writer writer;
    bool writer_open;
    struct bbolt_size size;
    uint64_t written;
    struct buf out, value, window;
    uint64_t window_at;
    EVP_MD_CTX *hash;
};

enum err export_open(struct storage *s, struct export **out)
{
    struct alloc heap;
    alloc_heap(&heap);
    struct export *x = mem_zero(&heap, sizeof(*x));
    enum err e = storage_load_newest(s, &x->load, x->why);
    if (e != ERR_OK) {
        mem_free(&heap, x, sizeof(*x));
        return e;
    }
    x->alloc = heap;
    machine_open(&x->m, &x->alloc);
    buf_open(&x->key, &x->alloc);
    buf_open(&x->out, &x->alloc);
    buf_open(&x->value, &x->alloc);
    buf_open(&x->window, &x->alloc);
    x->hash = EVP_MD_CTX_new();
    CHECK(x->hash && EVP_DigestInit_ex(x->hash, EVP_sha256(), NULL) == 1);
    *out = x;
    return ERR_OK;
}

void export_close(struct export *x)
{
    if (x->writer_open)
        bbolt_write_cancel(&x->writer);
    VEC_CLOSE(&x->places, &x->alloc);
    buf_close(&x->key);
    buf_close(&x->out);
    buf_close(&x->value);
    buf_close(&x->window);
    machine_close(&x->m);
    storage_load_close(&x->load);
    EVP_MD_CTX_free(x->hash);
    struct alloc heap = x->alloc;
    mem_free(&heap, x, sizeof(*x));
    CHECK(heap.used == 0);
}

/* ---- reading ---- */

static void note(struct export *x, const struct kv_record *r, uint64_t at)
{
    struct place p = { .revision = r->mod_revision,
                       .key_at = x->key_at,
                       .at = at & UINT64_MAX >> 1,
                       .deletion = r->letter == 'T',
                       .sub = r->sub,
                       .size = (uint32_t)etcdfile_value_size(buf_all(&x->key), r) };
    VEC_PUSH(&x->places, &x->alloc, p);
}

static enum err read_store(struct export *x, struct span records)
{
    struct span whole = records;
    uint64_t start = x->load.offset - whole.len;
    while (records.len) {
        uint64_t at = start + (uint64_t)(records.data - whole.data);
        struct kv_record r;
        enum err e = kv_record_read(&records, &r);
        if (e != ERR_OK)
            return e;
        if (r.letter == 'B') {
            x->compact_revision = r.compact;
        } else if (r.letter == 'K') {
            buf_reset(&x->key);
            buf_span(&x->key, r.bytes);
            x->key_at = at;
        } else if (r.letter == 'V' || r.letter == 'T') {
            note(x, &r, at);
        }
    }
    return ERR_OK;
}

static int in_order(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->revision != y->revision)
        return x->revision < y->revision ? -1 : 1;
    return (x->sub > y->sub) - (x->sub < y->sub);
}

/* out NULL: only to count. */
static void begin_pass(struct export *x, struct buf *out)
{
    bbolt_write_begin(&x->writer, &x->alloc, out, &x->size);
    x->writer_open = true;
    etcdfile_write_front(&x->writer, &x->m, &x->alloc);
    x->next = 0;
}

static struct bbolt_size end_pass(struct export *x)
{
    bbolt_write_bucket(&x->writer, "key");
    etcdfile_write_back(&x->writer, &x->m, x->compact_revision, &x->alloc);
    x->writer_open = false;
    return bbolt_write_end(&x->writer);
}

static enum err read_piece(struct export *x)
{
    struct span piece, records;
    enum err e = storage_load_next(&x->load, &piece, x->why);
    if (e == ERR_END) {
        qsort(x->places.items, x->places.n, sizeof(*x->places.items), in_order);
        begin_pass(x, NULL);
        x->phase = COUNTING;
        return ERR_OK;
    }
    if (e != ERR_OK)
        return e;
    if (!machine_piece_store(piece, &records))
        return x->store ? ERR_OK : machine_load(&x->m, piece);
    x->store = true;
    return read_store(x, records);
}

/* ---- counting ---- */

static void count_some(struct export *x)
{
    struct kv_record r = { .letter = 'V' };
    uint8_t revision[ETCDFILE_REVISION_MAX];
    for (size_t n = 0; n < COUNT_STEP && x->next < x->places.n; n++, x->next++) {
        const struct place *p = &x->places.items[x->next];
        r.mod_revision = p->revision;
        r.sub = p->sub;
        r.letter = p->deletion ? 'T' : 'V';
        bbolt_write(&x->writer, etcdfile_revision(&r, revision), span_of(NULL, p->size));
    }
    if (x->next < x->places.n)
        return;
    x->size = end_pass(x);
    x->phase = WRITING;
}

/* ---- writing ---- */

/* want bytes of the file, or as many as there are, from at on. */
static enum err look(struct export *x, uint64_t at, uint64_t want, struct span *out)
{
    uint64_t end = x->window_at + x->window.len;
    if (want > x->load.size - at)
        want = x->load.size - at;
    if (at < x->window_at || at + want > end) {
        uint64_t n = want > WINDOW_BYTES ? want : WINDOW_BYTES;
        if (n > x->load.size - at)
            n = x->load.size - at;
        buf_shrink(&x->window, WINDOW_BYTES);
        enum err e = file_read(x->load.file, at, buf_room(&x->window, (size_t)n), (size_t)n);
        if (e != ERR_OK)
            return e;
        x->window.len = (size_t)n;
        x->window_at = at;
    }
    *out = span_from(buf_all(&x->window), (size_t)(at - x->window_at));
    return ERR_OK;
}

static enum err write_place(struct export *x, const struct place *p)
{
    struct span bytes;
    struct kv_record key, version;
    uint8_t revision[ETCDFILE_REVISION_MAX];
    enum err e = look(x, p->key_at, (uint64_t)p->size + SLACK_BYTES, &bytes);
    if (e == ERR_OK)
        e = kv_record_read(&bytes, &key);
    if (e == ERR_OK) {
        buf_reset(&x->key);
        buf_span(&x->key, key.bytes);
        e = look(x, p->at, (uint64_t)p->size + SLACK_BYTES, &bytes);
    }
    if (e == ERR_OK)
        e = kv_record_read(&bytes, &version);
    if (e != ERR_OK)
        return e;
    if (etcdfile_value_size(buf_all(&x->key), &version) != p->size)
        return ERR_CORRUPT; /* it was something else before */
    buf_reset(&x->value);
    etcdfile_value(buf_all(&x->key), &version, &x->value);
    bbolt_write(&x->writer, etcdfile_revision(&version, revision), buf_all(&x->value));
    return ERR_OK;
}

static enum err write_some(struct export *x)
{
    enum err e = ERR_OK;
    if (!x->writer_open)
        begin_pass(x, &x->out);
    while (e == ERR_OK && x->next < x->places.n && x->out.len < EXPORT_STEP_BYTES)
        e = write_place(x, &x->places.items[x->next++]);
    if (e == ERR_OK && x->next == x->places.n) {
        end_pass(x);
        x->phase = HASHING;
    }
    CHECK(EVP_DigestUpdate(x->hash, x->out.data, x->out.len) == 1);
    x->written += x->out.len;
    return e;
}

static void write_hash(struct export *x)
{
    CHECK(export_left(x) == 0);
    CHECK(EVP_DigestFinal_ex(x->hash, buf_room(&x->out, HASH_BYTES), NULL) == 1);
    x->out.len += HASH_BYTES;
    x->phase = ENDED;
}

enum err export_step(struct export *x, struct span *out)
{
    enum err e = ERR_OK;
    buf_shrink(&x->out, 2 * EXPORT_STEP_BYTES);
    switch (x->phase) {
    case READING:
        e = read_piece(x);
        break;
    case COUNTING:
        count_some(x);
        break;
    case WRITING:
        e = write_some(x);
        break;
    case HASHING:
        write_hash(x);
        break;
    case ENDED:
        e = ERR_END;
        break;
    }
    *out = buf_all(&x->out);
    return e;
}

uint64_t export_left(const struct export *x)
{
    return x->size.pages * BBOLT_PAGE_BYTES - x->written;
}

uint64_t export_index(const struct export *x)
{
    return x->load.index;
}
