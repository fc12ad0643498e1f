// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Offsets for tensors that live at different times in one block of memory.
#ifndef SYSTOLE_ARENA_PLAN_H
#define SYSTOLE_ARENA_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct systole_arena_item {
    size_t size;          // bytes; 0: needs no place
    uint32_t first, last; // steps at which it is alive, inclusive
    size_t offset;        // the plan: a multiple of `alignment`
};

// Items whose lives meet do not overlap. Largest first, each at the lowest offset that is free. *total is the block's
// size. False: no memory for the plan.
bool systole_arena_plan(struct systole_arena_item *items, uint32_t count, size_t alignment, size_t *total);

#endif
