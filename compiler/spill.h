// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Segments that do not fit into the scratchpad. Their operations run in groups of consecutive ones; a group is computed
// stripe by stripe, and what only its own operations read never is whole. What crosses the border of a group is whole
// in the scratchpad or lies in region host; parameters that are not resident are loaded when their turn comes.
#ifndef SYSTOLE_SPILL_H
#define SYSTOLE_SPILL_H

#include "ir.h"

// An operation with the storages that it reads and writes.
struct spill_operation {
    const struct operation *operation;
    uint32_t *storages; // of its inputs in order, then of its outputs, then what it uses between them
    uint32_t input_count, output_count, storage_count;
    int32_t *temporaries; // of a move: for each storage behind the inputs, its number in moves; outputs 0
    bool can_cut;         // rows of the output can be computed apart
};

enum spill_home {
    HOME_STRIPES, // never whole: stripes of the group that makes and reads it
    HOME_WHOLE,   // in the scratchpad from its producer to its last reader
    HOME_HOST,    // in region host; stripes of it in the scratchpad
    HOME_FIXED,   // in the scratchpad all the time: regions input, output, parameters
};

struct spill_group {
    uint32_t first, last; // positions of its operations in the segment; `last` is behind
    uint32_t stripes;     // 1: all maps whole
    bool is_lean;         // buffers hold one stripe, not two (those that the link fills or empties always two)
    bool *holds;          // one an operation: its parameters stay from the first stripe to the last
};

struct spill_plan {
    struct spill_group *groups;
    uint32_t group_count;
    uint8_t *homes;       // enum spill_home, one a storage
    uint32_t chunk_words; // a load of parameters is not larger if it can be cut
};

// Which rows of a storage a group needs, stripe by stripe. Rows are counted over all images.
struct stripe_rows {
    uint32_t storage;
    bool is_made;      // by the group
    uint32_t *lo, *hi; // stripe s holds rows lo[s] .. hi[s]-1; those from hi[s-1] on are new in it
};
struct stripe_shape {
    uint32_t stripes;
    struct stripe_rows *rows;
    uint32_t count;
};

// stripe.c: geometry.
#define SPILL_NONE UINT32_MAX
bool stripe_is_elementwise(const struct operation *o);
// Fills segment->spill_operations; the storages are laid out. False: no memory.
bool stripe_operations(struct compilation *c, struct segment_plan *segment);
// Rows of an input that output rows r0 .. r1-1 read.
void stripe_needs(const struct segment_plan *segment, const struct spill_operation *op, uint32_t input, uint32_t r0,
                  uint32_t r1, uint32_t *lo, uint32_t *hi);
// The rows of all storages of operations first .. last-1; false: no memory.
bool stripe_shape(struct compilation *c, const struct segment_plan *segment, uint32_t first, uint32_t last,
                  uint32_t stripes, struct stripe_shape *shape);
const struct stripe_rows *stripe_find(const struct stripe_shape *shape, uint32_t storage);
// Rows that the buffer of stripes has.
uint32_t stripe_capacity(const struct segment_plan *segment, const struct stripe_rows *rows, uint32_t stripes,
                         bool is_lean);
uint32_t stripe_before(const uint32_t *rows, uint32_t stripe); // rows[stripe - 1], 0 for the first
uint32_t stripe_words(const struct storage *storage, uint32_t rows);
uint32_t stripe_parameter_words(const struct compilation *c, const struct operation *o); // all tiles
uint32_t stripe_chunk_tiles(const struct compilation *c, const struct operation *o, uint32_t chunk_words);

// spill.c
// Whether a segment can be done at all: segment->fits. If not, *culprit is the position of an operation that does not
// fit alone, with the words that it needs, or SPILL_NONE.
enum systole_status spill_probe(struct compilation *c, struct segment_plan *segment, uint32_t *culprit,
                                uint64_t *needed);
// Plans it well and makes its commands with tokens and cycles, and its parameters.
enum systole_status spill_segment(struct compilation *c, struct segment_plan *segment);

// stream.c: a plan's commands in an order that is right by itself, memory for what they use, the commands.
// Sizes of regions parameters, input, output and host are known; *fits: the rest was enough for program and maps.
enum systole_status stream_segment(struct compilation *c, struct segment_plan *segment, const struct spill_plan *plan,
                                   bool *fits);

#endif
