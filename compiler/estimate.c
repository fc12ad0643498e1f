// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Predicted cycles of a scheduled segment: the cycle model replays its queues and tokens. Another plan of the same
// segment mostly begins with the same commands: the replay goes on from where they end, and stops when it takes longer.
#include <string.h>

#include "ir.h"
#include "schedule.h"

#define STATES 24u // that a replay keeps

// The last state of the plan before that these commands share; their times are taken from there.
static const struct systole_schedule_state *shared_state(const struct segment_plan *segment, uint64_t *start,
                                                         uint64_t *end) {
    const struct segment_plan *before = segment->before;
    const struct systole_schedule_state *state = NULL;
    if (before == NULL || before->states == NULL) {
        return NULL;
    }
    uint32_t shared = 0, count = segment->command_count;
    count = before->command_count < count ? before->command_count : count;
    while (shared < count && memcmp((const uint8_t *)&segment->commands[shared],
                                    (const uint8_t *)&before->commands[shared], SYSTOLE_COMMAND_BYTES) == 0) {
        shared++;
    }
    for (uint32_t i = 0; i < before->states->count; i++) {
        bool fits = before->states->states[i].fetched <= shared && before->states->states[i].fetched < count;
        state = fits ? &before->states->states[i] : state;
    }
    for (uint32_t i = 0; state != NULL && i < state->fetched; i++) {
        start[i] = before->info[i].predicted_start;
        end[i] = before->info[i].predicted_end;
    }
    return state;
}

// States of the plan before that still hold are this one's, too.
static struct systole_schedule_states *begin_states(struct compilation *c, const struct segment_plan *segment,
                                                    const struct systole_schedule_state *from) {
    struct systole_schedule_states *states = ir_allocate(c, 1, sizeof *states);
    struct systole_schedule_state *room = ir_allocate(c, STATES, sizeof *room);
    if (states == NULL || room == NULL) {
        return NULL;
    }
    *states = (struct systole_schedule_states){.states = room, .most = STATES};
    for (uint32_t i = 0; from != NULL && segment->before != NULL && &segment->before->states->states[i] <= from; i++) {
        states->states[states->count++] = segment->before->states->states[i];
    }
    return states;
}

enum systole_status pass_estimate(struct compilation *c, struct segment_plan *segment) {
    uint64_t *start = ir_allocate(c, segment->command_count, sizeof *start);
    uint64_t *end = ir_allocate(c, segment->command_count, sizeof *end);
    if (start == NULL || end == NULL) {
        return ir_out_of_memory(c);
    }
    const struct systole_schedule_state *from = shared_state(segment, start, end);
    uint64_t limit = segment->before != NULL ? segment->before->cycles : SYSTOLE_NEVER;
    segment->states = begin_states(c, segment, from);
    if (segment->states == NULL) {
        return ir_out_of_memory(c);
    }
    segment->cycles = systole_schedule_resume(c->target, segment->commands, segment->command_count, from, limit, start,
                                              end, segment->states, NULL);
    uint64_t last = segment->cycles < limit ? segment->cycles : limit;
    segment->replayed = last - (from != NULL ? from->schedule.now : 0);
    for (uint32_t i = 0; i < segment->command_count; i++) {
        segment->info[i].predicted_start = start[i] > UINT32_MAX ? UINT32_MAX : (uint32_t)start[i];
        segment->info[i].predicted_end = end[i] > UINT32_MAX ? UINT32_MAX : (uint32_t)end[i];
    }
    dump_cycles(c, segment, "estimate");
    return SYSTOLE_OK;
}
