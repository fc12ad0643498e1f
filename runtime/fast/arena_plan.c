// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Greedy by size (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020): items in the
// order of their sizes, each into the first gap between the placed ones that are alive with it.
#include "arena_plan.h"

#include <stdlib.h>

static const struct systole_arena_item *by_size(const void *a) {
    return *(struct systole_arena_item *const *)a;
}

static int larger_first(const void *a, const void *b) {
    const struct systole_arena_item *x = by_size(a), *y = by_size(b);
    if (x->size != y->size) {
        return x->size > y->size ? -1 : 1;
    }
    return x < y ? -1 : x > y;
}

static int lower_first(const void *a, const void *b) {
    const struct systole_arena_item *x = by_size(a), *y = by_size(b);
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static size_t round_up(size_t x, size_t step) {
    return (x + step - 1) / step * step;
}

bool systole_arena_plan(struct systole_arena_item *items, uint32_t count, size_t alignment, size_t *total) {
    *total = 0;
    struct systole_arena_item **order = malloc(((size_t)count + 1) * sizeof(struct systole_arena_item *));
    struct systole_arena_item **alive = malloc(((size_t)count + 1) * sizeof(struct systole_arena_item *));
    bool made = order != NULL && alive != NULL;
    uint32_t placed = 0;
    for (uint32_t i = 0; made && i < count; i++) {
        order[i] = &items[i];
    }
    if (made && count > 0) {
        qsort(order, count, sizeof(struct systole_arena_item *), larger_first);
    }
    for (uint32_t i = 0; made && i < count && order[i]->size > 0; i++) {
        struct systole_arena_item *item = order[i];
        uint32_t neighbours = 0;
        for (uint32_t k = 0; k < placed; k++) {
            if (order[k]->first <= item->last && item->first <= order[k]->last) {
                alive[neighbours++] = order[k];
            }
        }
        if (neighbours > 0) {
            qsort(alive, neighbours, sizeof(struct systole_arena_item *), lower_first);
        }
        item->offset = 0;
        for (uint32_t k = 0; k < neighbours && item->offset + item->size > alive[k]->offset; k++) {
            size_t end = round_up(alive[k]->offset + alive[k]->size, alignment);
            item->offset = end > item->offset ? end : item->offset;
        }
        *total = item->offset + item->size > *total ? item->offset + item->size : *total;
        placed++;
    }
    free(alive);
    free(order);
    return made;
}
