#include "core/kv/kv_int.h"

void kv_queue_open(struct kv_queue *q, struct alloc *alloc)
{
    *q = (struct kv_queue){ .alloc = alloc };
}

void kv_queue_close(struct kv_queue *q)
{
    for (size_t i = 0; i < q->n_chunks; i++)
        mem_free(q->alloc, q->chunks[q->first + i], QUEUE_CHUNK * sizeof(struct kv_version *));
    mem_free(q->alloc, q->chunks, q->cap_chunks * sizeof(*q->chunks));
    *q = (struct kv_queue){ .alloc = q->alloc };
}

static void add_chunk(struct kv_queue *q)
{
    if (q->first + q->n_chunks == q->cap_chunks && q->first > q->cap_chunks / 2) {
        memmove(q->chunks, q->chunks + q->first, q->n_chunks * sizeof(*q->chunks));
        q->first = 0;
    } else if (q->first + q->n_chunks == q->cap_chunks) {
        size_t cap = q->cap_chunks ? q->cap_chunks * 2 : 8;
        q->chunks = mem_resize(q->alloc, q->chunks, q->cap_chunks * sizeof(*q->chunks),
                               cap * sizeof(*q->chunks));
        q->cap_chunks = cap;
    }
    q->chunks[q->first + q->n_chunks++] =
        mem_alloc(q->alloc, QUEUE_CHUNK * sizeof(struct kv_version *));
}

void kv_queue_push(struct kv_queue *q, struct kv_version *v)
{
    if (q->head + q->n == q->n_chunks * QUEUE_CHUNK)
        add_chunk(q);
    q->n++;
    *kv_queue_at(q, q->n - 1) = v;
}

void kv_queue_pop(struct kv_queue *q)
{
    CHECK(q->n > 0);
    q->n--;
    if (++q->head < QUEUE_CHUNK)
        return;
    mem_free(q->alloc, q->chunks[q->first], QUEUE_CHUNK * sizeof(struct kv_version *));
    q->first++;
    q->n_chunks--;
    q->head = 0;
    if (q->n_chunks == 0) {
        mem_free(q->alloc, q->chunks, q->cap_chunks * sizeof(*q->chunks));
        *q = (struct kv_queue){ .alloc = q->alloc };
    }
}

size_t kv_queue_find(const struct kv_queue *q, int64_t revision, uint32_t sub)
{
    size_t low = 0, high = q->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct kv_version *v = *kv_queue_at(q, middle);
        if (v->mod_revision < revision || (v->mod_revision == revision && v->sub < sub))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
