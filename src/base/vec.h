/* vec: a growing array of anything. VEC(struct thing) v = {0}; VEC_PUSH(&v, alloc, thing); */
#pragma once
#include "base/alloc.h"

#define VEC(type)                                                                                  \
    struct {                                                                                       \
        type *items;                                                                               \
        size_t n, cap;                                                                             \
    }

#define VEC_RESERVE(v, alloc, want)                                                                \
    do {                                                                                           \
        if ((v)->cap < (want)) {                                                                   \
            size_t cap_ = (v)->cap ? (v)->cap * 2 : 8;                                             \
            while (cap_ < (want))                                                                  \
                cap_ *= 2;                                                                         \
            (v)->items = mem_resize(alloc, (v)->items, (v)->cap * sizeof(*(v)->items),             \
                                    cap_ * sizeof(*(v)->items));                                   \
            (v)->cap = cap_;                                                                       \
        }                                                                                          \
    } while (0)

#define VEC_PUSH(v, alloc, item)                                                                   \
    do {                                                                                           \
        VEC_RESERVE(v, alloc, (v)->n + 1);                                                         \
        (v)->items[(v)->n++] = (item);                                                             \
    } while (0)

#define VEC_CLOSE(v, alloc)                                                                        \
    do {                                                                                           \
        mem_free(alloc, (v)->items, (v)->cap * sizeof(*(v)->items));                               \
        (v)->items = NULL;                                                                         \
        (v)->n = (v)->cap = 0;                                                                     \
    } while (0)
