#include <string.h>
#include "wire/bbolt/bbolt_int.h"

static uint16_t get_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t get_u64(const uint8_t *p)
{
    return (uint64_t)get_u32(p) | (uint64_t)get_u32(p + 4) << 32;
}

/* ---- the heads ---- */

static enum err read_meta(struct span file, uint64_t at, struct bbolt *db, uint64_t *transaction)
{
    if (at > file.len || file.len - at < PAGE_HEAD + META_BYTES)
        return ERR_CORRUPT;
    const uint8_t *p = file.data + at + PAGE_HEAD;
    if (get_u32(p) != META_MAGIC || get_u64(p + META_BYTES - 8) != meta_checksum(p))
        return ERR_CORRUPT;
    if (get_u32(p + 4) != META_VERSION)
        return ERR_FORMAT;
    db->file = file;
    db->page_bytes = get_u32(p + 8);
    db->root = get_u64(p + 16);
    db->pages = get_u64(p + 40);
    *transaction = get_u64(p + 48);
    bool ok = db->page_bytes >= 512 && db->page_bytes <= 65536 &&
              (db->page_bytes & (db->page_bytes - 1)) == 0 &&
              db->pages <= file.len / db->page_bytes && db->root < db->pages;
    return ok ? ERR_OK : ERR_CORRUPT;
}

enum err bbolt_open(struct bbolt *db, struct span file)
{
    struct bbolt other;
    uint64_t first = 0, second = 0;
    enum err e = read_meta(file, 0, db, &first), e2 = ERR_CORRUPT;
    uint64_t from = e == ERR_OK ? db->page_bytes : 512, to = e == ERR_OK ? from : 65536;
    for (uint64_t at = from; at <= to && e2 == ERR_CORRUPT; at *= 2) {
        e2 = read_meta(file, at, &other, &second);
        if (e2 == ERR_OK && other.page_bytes != at)
            e2 = ERR_CORRUPT;
    }
    if (e2 == ERR_OK && (e != ERR_OK || second > first)) {
        *db = other;
        return ERR_OK;
    }
    return e == ERR_CORRUPT && e2 == ERR_FORMAT ? e2 : e;
}

/* ---- pages ---- */

static enum err push(struct bbolt_cursor *c, struct span page)
{
    uint16_t flags = get_u16(page.data + 8);
    bool leaf = flags == PAGE_LEAF;
    uint32_t n = get_u16(page.data + 10);
    if ((!leaf && flags != PAGE_BRANCH) || c->depth == BBOLT_DEPTH_MAX ||
        n * (size_t)LEAF_ITEM > page.len - PAGE_HEAD)
        return ERR_CORRUPT;
    c->path[c->depth].page = page;
    c->path[c->depth].at = 0;
    c->path[c->depth].n = n;
    c->path[c->depth].leaf = leaf;
    c->depth++;
    return ERR_OK;
}

static enum err push_page(struct bbolt_cursor *c, uint64_t number)
{
    const struct bbolt *db = c->db;
    if (number < META_PAGES || number >= db->pages || c->visited++ >= db->pages)
        return ERR_CORRUPT;
    const uint8_t *p = db->file.data + number * db->page_bytes;
    uint64_t more = get_u32(p + 12);
    if (get_u64(p) != number || more >= db->pages - number)
        return ERR_CORRUPT;
    return push(c, span_of(p, (size_t)((more + 1) * db->page_bytes)));
}

/* size bytes at a place that is told from an item on. */
static bool part(struct span page, size_t item, uint32_t place, uint64_t size, struct span *out)
{
    uint64_t at = (uint64_t)item + place;
    if (at > page.len || size > page.len - at)
        return false;
    *out = span_of(page.data + at, (size_t)size);
    return true;
}

/* ---- walking ---- */

/* Keys rise along the whole walk: no page is worth coming to twice. */
static bool rises(struct bbolt_cursor *c, struct span key)
{
    bool ok = key.len > 0 && (!c->any || span_compare(c->last, key) < 0);
    c->any = true;
    c->last = key;
    return ok;
}

static enum err next(struct bbolt_cursor *c, uint32_t *flags, struct span *key, struct span *value)
{
    while (c->depth) {
        uint32_t top = c->depth - 1, at = c->path[top].at;
        struct span page = c->path[top].page, both;
        if (at == c->path[top].n) {
            c->depth--;
            continue;
        }
        c->path[top].at++;
        size_t item = PAGE_HEAD + (size_t)at * LEAF_ITEM;
        const uint8_t *p = page.data + item;
        if (!c->path[top].leaf) {
            enum err e = push_page(c, get_u64(p + 8));
            if (e != ERR_OK)
                return e;
            continue;
        }
        uint32_t key_size = get_u32(p + 8);
        if (!part(page, item, get_u32(p + 4), (uint64_t)key_size + get_u32(p + 12), &both))
            return ERR_CORRUPT;
        *flags = get_u32(p);
        *key = span_of(both.data, key_size);
        *value = span_from(both, key_size);
        return rises(c, *key) ? ERR_OK : ERR_CORRUPT;
    }
    return ERR_END;
}

enum err bbolt_next(struct bbolt_cursor *c, struct span *key, struct span *value)
{
    uint32_t flags;
    enum err e = next(c, &flags, key, value);
    return e == ERR_OK && flags != 0 ? ERR_CORRUPT : e;
}

/* The bucket's own tree: elsewhere, or, being small, right behind its head. */
static enum err enter(const struct bbolt *db, struct span head, struct bbolt_cursor *out)
{
    *out = (struct bbolt_cursor){ .db = db };
    if (head.len < BUCKET_HEAD)
        return ERR_CORRUPT;
    uint64_t root = get_u64(head.data);
    if (root)
        return push_page(out, root);
    head = span_from(head, BUCKET_HEAD);
    return head.len < PAGE_HEAD ? ERR_CORRUPT : push(out, head);
}

enum err bbolt_bucket(const struct bbolt *db, struct span name, struct bbolt_cursor *out)
{
    struct bbolt_cursor c = { .db = db };
    struct span key, value;
    uint32_t flags;
    enum err e = push_page(&c, db->root);
    while (e == ERR_OK) {
        e = next(&c, &flags, &key, &value);
        if (e == ERR_OK && flags == ITEM_BUCKET && span_equal(key, name))
            return enter(db, value, out);
    }
    return e == ERR_END ? ERR_NOT_FOUND : e;
}
