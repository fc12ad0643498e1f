// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Element-wise operators of several operands: where each operand's element lies for each of the output's. An operand's
// step along an axis where it has one element is 0.
#ifndef SYSTOLE_BROADCAST_H
#define SYSTOLE_BROADCAST_H

#include "kernel.h"

enum { SYSTOLE_LARGEST_OPERANDS = 3 };

struct systole_broadcast {
    uint32_t operands;
    int32_t rank;
    size_t shape[SYSTOLE_MAX_RANK];
    size_t steps[SYSTOLE_LARGEST_OPERANDS][SYSTOLE_MAX_RANK]; // elements
};

// The first `operands` inputs onto the output; refuses what does not broadcast to just its shape.
enum systole_status systole_broadcast_derive(const struct systole_kernel_call *call, uint32_t operands,
                                             struct systole_broadcast *broadcast,
                                             struct systole_diagnostic *diagnostic);

// Calls `row` for each row of the output (its last axis): offsets of the operands' first elements, the operands' steps
// along the row, the output's first element and the row's length.
void systole_broadcast_walk(const struct systole_broadcast *broadcast, const struct systole_kernel_call *call,
                            void (*row)(const struct systole_kernel_call *call, const size_t *offsets,
                                        const size_t *steps, size_t output, size_t count));

#endif
