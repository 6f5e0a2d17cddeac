#include <string.h>
#include "base/check.h"
#include "wire/bbolt/bbolt_int.h"

static const uint8_t zeros[BBOLT_PAGE_BYTES];

static uint64_t pages_for(size_t bytes)
{
    return (bytes + BBOLT_PAGE_BYTES - 1) / BBOLT_PAGE_BYTES;
}

static void page_head(struct buf *out, uint64_t number, uint16_t flags, size_t n, uint64_t pages)
{
    CHECK(n < UINT16_MAX && pages - 1 <= UINT32_MAX);
    buf_u64(out, number);
    buf_u8(out, (uint8_t)flags);
    buf_u8(out, (uint8_t)(flags >> 8));
    buf_u8(out, (uint8_t)n);
    buf_u8(out, (uint8_t)(n >> 8));
    buf_u32(out, (uint32_t)(pages - 1));
}

static void pad(struct buf *out, size_t bytes)
{
    buf_put(out, zeros, (size_t)(pages_for(bytes) * BBOLT_PAGE_BYTES - bytes));
}

/* ---- the front: two heads and an empty list of free pages ---- */

static void write_meta(struct bbolt_writer *w, uint64_t number)
{
    struct buf *out = w->out;
    page_head(out, number, PAGE_META, 0, 1);
    size_t start = out->len;
    buf_u32(out, META_MAGIC);
    buf_u32(out, META_VERSION);
    buf_u32(out, BBOLT_PAGE_BYTES);
    buf_u32(out, 0);
    buf_u64(out, w->size.root);
    buf_u64(out, 0);
    buf_u64(out, META_PAGES);
    buf_u64(out, w->size.pages);
    buf_u64(out, number); /* the transaction: that of page 1 counts */
    buf_u64(out, meta_checksum(out->data + start));
    pad(out, PAGE_HEAD + META_BYTES);
}

void bbolt_write_begin(struct bbolt_writer *w, struct alloc *alloc, struct buf *out,
                       const struct bbolt_size *size)
{
    *w = (struct bbolt_writer){ .alloc = alloc, .out = out };
    buf_open(&w->data, alloc);
    buf_open(&w->keys, alloc);
    if (out) {
        w->size = *size;
        write_meta(w, 0);
        write_meta(w, 1);
        page_head(out, META_PAGES, PAGE_FREELIST, 0, 1);
        pad(out, PAGE_HEAD);
    }
    w->size.pages = META_PAGES + 1;
}

/* ---- pages of a bucket ---- */

static uint64_t take_pages(struct bbolt_writer *w, size_t bytes)
{
    uint64_t number = w->size.pages;
    w->size.pages += pages_for(bytes);
    return number;
}

/* The leaf at hand is whole. flags: of its items. */
static uint64_t write_leaf(struct bbolt_writer *w, uint32_t flags)
{
    size_t n = w->items.n, place = LEAF_ITEM * n, bytes = PAGE_HEAD + place + w->bytes;
    uint64_t number = take_pages(w, bytes);
    if (w->out) {
        page_head(w->out, number, PAGE_LEAF, n, pages_for(bytes));
        for (size_t i = 0; i < n; i++) {
            const struct bbolt_item *item = &w->items.items[i];
            buf_u32(w->out, flags);
            buf_u32(w->out, (uint32_t)place);
            buf_u32(w->out, item->key_size);
            buf_u32(w->out, item->value_size);
            place = place - LEAF_ITEM + item->key_size + item->value_size;
        }
        buf_span(w->out, buf_all(&w->data));
        pad(w->out, bytes);
    }
    w->items.n = 0;
    w->bytes = 0;
    buf_reset(&w->data);
    if (w->level.n)
        w->level.items[w->level.n - 1].number = number;
    return number;
}

/* As many of the level below, from first on, as one page takes. */
static size_t write_branch(struct bbolt_writer *w, size_t first, size_t end, uint64_t *number)
{
    const struct bbolt_page *below = w->level.items + first;
    size_t n = 0, bytes = PAGE_HEAD;
    while (first + n < end &&
           (n < 2 || bytes + BRANCH_ITEM + below[n].key_size <= BBOLT_PAGE_BYTES))
        bytes += BRANCH_ITEM + below[n++].key_size;
    *number = take_pages(w, bytes);
    if (!w->out)
        return n;
    page_head(w->out, *number, PAGE_BRANCH, n, pages_for(bytes));
    size_t place = BRANCH_ITEM * n;
    for (size_t i = 0; i < n; i++) {
        buf_u32(w->out, (uint32_t)place);
        buf_u32(w->out, below[i].key_size);
        buf_u64(w->out, below[i].number);
        place = place - BRANCH_ITEM + below[i].key_size;
    }
    for (size_t i = 0; i < n; i++)
        buf_put(w->out, w->keys.data + below[i].key_at, below[i].key_size);
    pad(w->out, bytes);
    return n;
}

/* Levels of branch pages, until one page is above all; its number. */
static uint64_t write_branches(struct bbolt_writer *w)
{
    while (w->level.n > 1) {
        size_t end = w->level.n, made = 0;
        for (size_t first = 0; first < end; made++) {
            struct bbolt_page above = w->level.items[first];
            first += write_branch(w, first, end, &above.number);
            w->level.items[made] = above; /* never in front of what is still to be read */
        }
        w->level.n = made;
    }
    return w->level.items[0].number;
}

static uint64_t end_tree(struct bbolt_writer *w, uint32_t flags)
{
    uint64_t root = 0;
    if (w->items.n || !w->level.n)
        root = write_leaf(w, flags);
    if (w->level.n)
        root = write_branches(w);
    w->level.n = 0;
    buf_reset(&w->keys);
    return root;
}

static void add(struct bbolt_writer *w, struct span key, struct span value, uint32_t flags)
{
    CHECK(key.len > 0 && key.len <= UINT16_MAX && value.len <= INT32_MAX);
    size_t more = LEAF_ITEM + key.len + value.len;
    if (w->items.n && PAGE_HEAD + LEAF_ITEM * w->items.n + w->bytes + more > BBOLT_PAGE_BYTES)
        write_leaf(w, flags);
    if (!w->items.n) {
        struct bbolt_page page = { 0, w->keys.len, (uint32_t)key.len };
        VEC_PUSH(&w->level, w->alloc, page);
        buf_span(&w->keys, key);
    }
    struct bbolt_item item = { (uint32_t)key.len, (uint32_t)value.len };
    VEC_PUSH(&w->items, w->alloc, item);
    w->bytes += key.len + value.len;
    if (w->out) {
        buf_span(&w->data, key);
        buf_span(&w->data, value);
    }
}

void bbolt_write(struct bbolt_writer *w, struct span key, struct span value)
{
    add(w, key, value, 0);
}

void bbolt_write_bucket(struct bbolt_writer *w, const char *name)
{
    size_t i = w->n_buckets++;
    CHECK(i < BBOLT_BUCKETS_MAX && strlen(name) < BBOLT_NAME_MAX);
    CHECK(i == 0 || strcmp(w->buckets[i - 1].name, name) < 0);
    strcpy(w->buckets[i].name, name);
    w->buckets[i].root = end_tree(w, 0);
}

void bbolt_write_cancel(struct bbolt_writer *w)
{
    VEC_CLOSE(&w->items, w->alloc);
    VEC_CLOSE(&w->level, w->alloc);
    buf_close(&w->data);
    buf_close(&w->keys);
}

struct bbolt_size bbolt_write_end(struct bbolt_writer *w)
{
    struct bbolt_size told = w->size;
    CHECK(!w->items.n && !w->level.n);
    for (size_t i = 0; i < w->n_buckets; i++) {
        uint8_t head[BUCKET_HEAD] = { 0 };
        for (int k = 0; k < 8; k++)
            head[k] = (uint8_t)(w->buckets[i].root >> 8 * k);
        add(w, span_text(w->buckets[i].name), span_of(head, BUCKET_HEAD), ITEM_BUCKET);
    }
    w->size.root = end_tree(w, ITEM_BUCKET);
    CHECK(!w->out || told.root == w->size.root);
    bbolt_write_cancel(w);
    return w->size;
}
