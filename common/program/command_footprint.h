// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Which words a command reads and writes, of the scratchpad and of region host. The compiler puts tokens between
// commands that touch the same words; the verifier checks that it did. Both ask here.
#ifndef SYSTOLE_COMMAND_FOOTPRINT_H
#define SYSTOLE_COMMAND_FOOTPRINT_H

#include <stdbool.h>

#include "systole_spec.h"

// The words offset + i*stride[0] + j*stride[1] + k*stride[2] of a region, each index below its count. The counts are
// at least 1. Of rows and columns that a walk leaves out between those it visits, all are named.
struct systole_word_box {
    uint32_t region;
    uint32_t offset; // word in the region
    uint32_t count[3], stride[3];
    uint64_t last; // largest word offset in the box
    bool is_write;
    const char *field; // the command's address field
};

#define SYSTOLE_FOOTPRINT_BOXES 4
struct systole_footprint {
    struct systole_word_box boxes[SYSTOLE_FOOTPRINT_BOXES];
    uint32_t count;
};

// Any 128 bytes are a command here: unknown opcodes touch nothing, and no field makes this overflow or run long.
void systole_command_footprint(const struct systole_target *target, const struct systole_command *command,
                               struct systole_footprint *footprint);

// Whether two boxes share a word. Exact, except that tangled strides may count as sharing.
bool systole_boxes_overlap(const struct systole_word_box *a, const struct systole_word_box *b);

// Whether `later` must wait for `earlier` to retire: it reads what that writes or writes what that reads or writes.
// Commands of one unit access memory in order, but are pipelined: there only a read of what was written counts.
bool systole_footprints_conflict(const struct systole_footprint *earlier, const struct systole_footprint *later,
                                 bool same_unit);

// Whether an element-wise opcode reads a second map.
static inline bool systole_opcode_has_second_input(uint32_t opcode) {
    return opcode == SYSTOLE_OPCODE_ADD || (opcode >= SYSTOLE_OPCODE_SUB && opcode <= SYSTOLE_OPCODE_PRELU);
}

// Words of the parameter stream of a conv or depthwise command (docs/architecture.md); 0 for others.
uint64_t systole_command_parameter_words(const struct systole_target *target, const struct systole_command *command);

// Rows (or columns) of an input that a window touches along one axis: the first and last inside 0 .. input-1. False:
// none, all is padding.
bool systole_window_extent(int64_t origin, uint32_t outputs, int64_t stride, uint32_t taps, int64_t dilation,
                           int64_t input, int64_t *first, int64_t *last);

#endif
