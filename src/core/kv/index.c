/* Linear hashing (Litwin): the table is many small open-addressing tables, and as keys come they
 * are split one after the other. No single insertion moves more than a segment, however many keys
 * there are, and no choice of keys makes the directory larger than their number asks for. */
#include "core/kv/kv_int.h"
#include "base/hash.h"

enum {
    SEGMENT_KEYS = 512, /* on the average, before another one is made */
    SEGMENT_CAP_MIN = 16,
    TAG_SHIFT = 48,
    AHEAD = 8, /* keys asked for from memory before their turn */
};

static const uint64_t ADDRESS = ((uint64_t)1 << TAG_SHIFT) - 1;

static uint64_t hash_of(const struct kv_index *x, struct span key)
{
    /* Where the table lies is its seed: nobody outside can make keys that collide. The seed moves
     * no result, for nothing walks the table. */
    return hash_bytes(key, (uint64_t)(uintptr_t)x);
}

static uint64_t tag_of(uint64_t hash)
{
    return hash >> TAG_SHIFT << TAG_SHIFT;
}

static struct kv_key *key_of(uint64_t slot)
{
    return (struct kv_key *)(uintptr_t)(slot & ADDRESS);
}

static size_t home(const struct kv_segment *s, uint64_t hash)
{
    return (size_t)(hash >> 24) & (s->cap - 1);
}

static struct kv_segment *segment_of(const struct kv_index *x, uint64_t hash)
{
    size_t mask = ((size_t)2 << (63 - __builtin_clzll(x->n_segments))) - 1;
    size_t i = (size_t)hash & mask;
    if (i >= x->n_segments)
        i &= mask >> 1;
    return &x->segments[i];
}

void kv_index_open(struct kv_index *x, struct alloc *alloc)
{
    *x = (struct kv_index){ .alloc = alloc, .n_segments = 1, .cap_segments = 1 };
    x->segments = mem_zero(alloc, sizeof(*x->segments));
}

static void slots_free(struct kv_index *x, struct kv_segment *s)
{
    mem_free(x->alloc, s->slots, s->cap * sizeof(*s->slots));
    *s = (struct kv_segment){ 0 };
}

void kv_index_close(struct kv_index *x)
{
    for (size_t i = 0; i < x->n_segments; i++)
        slots_free(x, &x->segments[i]);
    mem_free(x->alloc, x->segments, x->cap_segments * sizeof(*x->segments));
    *x = (struct kv_index){ .alloc = x->alloc };
}

static void place(struct kv_segment *s, uint64_t hash, uint64_t slot)
{
    size_t i = home(s, hash);
    while (s->slots[i])
        i = (i + 1) & (s->cap - 1);
    s->slots[i] = slot;
    s->n++;
}

static bool is_full(const struct kv_segment *s)
{
    return ((uint64_t)s->n + 1) * 4 > (uint64_t)s->cap * 3;
}

static void slots_new(struct kv_index *x, struct kv_segment *s, uint32_t n)
{
    uint32_t cap = SEGMENT_CAP_MIN;
    while ((uint64_t)cap * 3 < ((uint64_t)n + 1) * 4)
        cap *= 2;
    *s = (struct kv_segment){ .cap = cap };
    s->slots = mem_zero(x->alloc, cap * sizeof(*s->slots));
}

/* Puts every key of old where it now belongs, and gives its slots back. */
static void spread(struct kv_index *x, struct kv_segment *old)
{
    uint32_t mask = old->cap - 1;
    for (uint32_t i = 0; i < old->cap; i++) {
        uint64_t slot = old->slots[i];
        __builtin_prefetch(key_of(old->slots[(i + AHEAD) & mask]));
        if (!slot)
            continue;
        uint64_t hash = hash_of(x, key_span(key_of(slot)));
        struct kv_segment *s = segment_of(x, hash);
        if (is_full(s))
            UNREACHABLE("segments are made large enough for what is spread");
        place(s, hash, slot);
    }
    slots_free(x, old);
}

static void segment_resize(struct kv_index *x, struct kv_segment *s)
{
    struct kv_segment old = *s;
    slots_new(x, s, old.n + 1);
    spread(x, &old);
}

/* The segment that the newest one was split from. */
static size_t parent_of(size_t i)
{
    return i & ~((size_t)1 << (63 - __builtin_clzll(i)));
}

static void split(struct kv_index *x)
{
    if (x->n_segments == x->cap_segments) {
        x->segments = mem_resize(x->alloc, x->segments, x->cap_segments * sizeof(*x->segments),
                                 2 * x->cap_segments * sizeof(*x->segments));
        x->cap_segments *= 2;
    }
    size_t i = x->n_segments++;
    struct kv_segment *from = &x->segments[parent_of(i)], old = *from;
    x->segments[i] = (struct kv_segment){ 0 };
    if (!old.n) {
        slots_free(x, from);
        slots_new(x, from, 0);
        slots_new(x, &x->segments[i], 0);
        return;
    }
    uint32_t moving = 0; /* so that both come out in their right size at once */
    for (uint32_t j = 0; j < old.cap; j++)
        if (old.slots[j]) {
            uint64_t hash = hash_of(x, key_span(key_of(old.slots[j])));
            moving += segment_of(x, hash) == &x->segments[i];
        }
    slots_new(x, from, old.n - moving);
    slots_new(x, &x->segments[i], moving);
    spread(x, &old);
}

/* The newest segment goes back into the one it was split from. */
static void join(struct kv_index *x)
{
    size_t i = --x->n_segments;
    struct kv_segment *into = &x->segments[parent_of(i)];
    struct kv_segment a = *into, b = x->segments[i];
    slots_new(x, into, a.n + b.n);
    if (a.slots)
        spread(x, &a);
    if (b.slots)
        spread(x, &b);
}

struct kv_key *kv_index_get(const struct kv_index *x, struct span key)
{
    uint64_t hash = hash_of(x, key), tag = tag_of(hash);
    const struct kv_segment *s = segment_of(x, hash);
    if (!s->n)
        return NULL;
    for (size_t i = home(s, hash); s->slots[i]; i = (i + 1) & (s->cap - 1))
        if ((s->slots[i] & ~ADDRESS) == tag && span_equal(key_span(key_of(s->slots[i])), key))
            return key_of(s->slots[i]);
    return NULL;
}

void kv_index_add(struct kv_index *x, struct kv_key *key)
{
    uint64_t address = (uint64_t)(uintptr_t)key;
    CHECK((address & ~ADDRESS) == 0);
    if (x->n + 1 > x->n_segments * SEGMENT_KEYS)
        split(x);
    uint64_t hash = hash_of(x, key_span(key));
    struct kv_segment *s = segment_of(x, hash);
    if (is_full(s)) {
        if (s->slots)
            segment_resize(x, s);
        else
            slots_new(x, s, 1);
    }
    place(s, hash, tag_of(hash) | address);
    x->n++;
}

static void close_hole(const struct kv_index *x, struct kv_segment *s, size_t hole)
{
    size_t mask = s->cap - 1;
    /* Knuth 6.4 R: move back what would no longer be found past the hole. */
    for (size_t i = (hole + 1) & mask; s->slots[i]; i = (i + 1) & mask) {
        size_t h = home(s, hash_of(x, key_span(key_of(s->slots[i]))));
        if (((i - h) & mask) >= ((i - hole) & mask)) {
            s->slots[hole] = s->slots[i];
            hole = i;
        }
    }
    s->slots[hole] = 0;
}

void kv_index_remove(struct kv_index *x, const struct kv_key *key)
{
    uint64_t hash = hash_of(x, key_span(key));
    struct kv_segment *s = segment_of(x, hash);
    CHECK(s->n > 0);
    size_t i = home(s, hash);
    while (key_of(s->slots[i]) != key) {
        CHECK(s->slots[i] != 0);
        i = (i + 1) & (s->cap - 1);
    }
    close_hole(x, s, i);
    s->n--;
    x->n--;
    if (x->n_segments > 1 && x->n < (x->n_segments - 1) * (SEGMENT_KEYS / 2))
        join(x);
}
