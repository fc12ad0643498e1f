// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Predicted cycles of a scheduled segment: the cycle model replays its queues and tokens.
#include "cycle_model.h"
#include "ir.h"

enum systole_status pass_estimate(struct compilation *c, struct segment_plan *segment) {
    uint64_t *start = ir_allocate(c, segment->command_count, sizeof *start);
    uint64_t *end = ir_allocate(c, segment->command_count, sizeof *end);
    if (start == NULL || end == NULL) {
        return ir_out_of_memory(c);
    }
    segment->cycles = systole_schedule_cycles(c->target, segment->commands, segment->command_count, start, end, NULL);
    for (uint32_t i = 0; i < segment->command_count; i++) {
        segment->info[i].predicted_start = start[i] > UINT32_MAX ? UINT32_MAX : (uint32_t)start[i];
        segment->info[i].predicted_end = end[i] > UINT32_MAX ? UINT32_MAX : (uint32_t)end[i];
    }
    dump_cycles(c, segment, "estimate");
    return SYSTOLE_OK;
}
