// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What a command alone costs on its unit, in closed form: where no two requests meet in a bank; and what a program
// costs on the clock of schedule.h, which knows every bank. Constants that do not follow from the target are in
// spec/timing.toml.
#include "cycle_model.h"

#include "schedule.h"

// Occupancy ends behind the last request, which the fills count from.
#define DRAIN (SYSTOLE_TIMING_RETIREMENT - 1)

static uint64_t divide_up(uint64_t a, uint64_t b) {
    return (a + b - 1) / b;
}

static uint64_t larger(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

// A tile's pixels stream while the next tile's weights are loaded, so each step costs the longer of the two; the first
// load of a command has nothing to hide behind.
static struct systole_command_cycles conv_cycles(const struct systole_target *target,
                                                 const struct systole_command *command) {
    const struct systole_window *w = &command->body.window;
    uint64_t reduction_tiles = (uint64_t)w->kernel_height * w->kernel_width * w->input_tiles;
    if ((command->header.flags & SYSTOLE_FLAG_PACKED) != 0 && w->segments > 0) {
        reduction_tiles = divide_up(w->kernel_height, w->segments);
    }
    uint64_t load = divide_up(w->tile_rows, target->weight_port_rows);
    uint64_t load_record = load + divide_up(12, target->weight_port_rows);
    uint64_t block_rows = larger(w->block_rows, 1);
    uint64_t blocks = divide_up(w->output_height, block_rows);
    uint64_t inner = w->output_tiles * (reduction_tiles - 1);
    uint64_t outer = w->output_tiles;
    uint64_t cycles = SYSTOLE_TIMING_ARRAY_OVERHEAD + load_record;
    uint64_t pixels = block_rows * w->output_width;
    uint64_t last = (w->output_height - (blocks - 1) * block_rows) * w->output_width;
    // Blocks but the last one, each followed by the load of the next block's first tile; then the last, followed by
    // none.
    cycles += (blocks - 1) * (inner * larger(pixels, load) + outer * larger(pixels, load_record));
    cycles += inner * larger(last, load) + (outer - 1) * larger(last, load_record) + last;
    return (struct systole_command_cycles){cycles,
                                           cycles + target->rows + target->columns + SYSTOLE_TIMING_ARRAY_FILL + DRAIN};
}

static struct systole_command_cycles window_cycles(const struct systole_target *target,
                                                   const struct systole_command *command) {
    const struct systole_window *w = &command->body.window;
    uint64_t taps = (uint64_t)w->kernel_height * w->kernel_width;
    uint64_t tile = (uint64_t)w->output_height * w->output_width * divide_up(taps, target->taps);
    uint64_t cycles = SYSTOLE_TIMING_DEPTHWISE_OVERHEAD;
    uint64_t fill = SYSTOLE_TIMING_DEPTHWISE_FILL + DRAIN;
    if (command->header.opcode == SYSTOLE_OPCODE_DEPTHWISE) {
        uint64_t parameters = 12 + taps; // one word a cycle, the next tile's behind this one's pixels
        cycles += parameters + (w->output_tiles - 1u) * larger(tile, parameters) + tile;
    } else {
        cycles += w->output_tiles * tile;
        fill += command->header.opcode == SYSTOLE_OPCODE_SUM_POOL ? 0 : SYSTOLE_TIMING_AVERAGE_FILL;
    }
    return (struct systole_command_cycles){cycles, cycles + fill};
}

struct systole_command_cycles systole_command_cycles(const struct systole_target *target,
                                                     const struct systole_command *command) {
    struct systole_command_cycles result = {SYSTOLE_TIMING_NOP, SYSTOLE_TIMING_NOP};
    switch (command->header.opcode) {
    case SYSTOLE_OPCODE_LOAD:
    case SYSTOLE_OPCODE_STORE:
        result.occupancy = SYSTOLE_TIMING_TRANSFER_OVERHEAD + (uint64_t)command->body.transfer.words;
        result.latency = result.occupancy;
        break;
    case SYSTOLE_OPCODE_CONV:
        result = conv_cycles(target, command);
        break;
    case SYSTOLE_OPCODE_DEPTHWISE:
    case SYSTOLE_OPCODE_MAX_POOL:
    case SYSTOLE_OPCODE_AVERAGE_POOL:
    case SYSTOLE_OPCODE_SUM_POOL:
    case SYSTOLE_OPCODE_MIN_POOL:
        result = window_cycles(target, command);
        break;
    case SYSTOLE_OPCODE_ADD:
    case SYSTOLE_OPCODE_REQUANTISE:
    case SYSTOLE_OPCODE_SUB:
    case SYSTOLE_OPCODE_MUL:
    case SYSTOLE_OPCODE_MAXIMUM:
    case SYSTOLE_OPCODE_MINIMUM:
    case SYSTOLE_OPCODE_SQUARED_DIFFERENCE:
    case SYSTOLE_OPCODE_PRELU:
    case SYSTOLE_OPCODE_TABLE: {
        const struct systole_elementwise *e = &command->body.elementwise;
        result.occupancy = SYSTOLE_TIMING_ELEMENTWISE_OVERHEAD + (uint64_t)e->tiles * e->height * e->width;
        if (command->header.opcode == SYSTOLE_OPCODE_TABLE) {
            result.occupancy += 256 / target->columns; // the table's words
        }
        result.latency = result.occupancy + SYSTOLE_TIMING_ELEMENTWISE_FILL + DRAIN;
        break;
    }
    default:
        break;
    }
    return result;
}

// Keeps the state when as many commands have been fetched as the next of `most` equal parts has.
static void save_state(struct systole_schedule_states *states, const struct systole_schedule_state *state,
                       uint32_t count) {
    if (states != NULL && states->count < states->most &&
        (uint64_t)state->fetched * states->most >= (uint64_t)count * states->count) {
        states->states[states->count++] = *state;
    }
}

uint64_t systole_schedule_resume(const struct systole_target *target, const struct systole_command *commands,
                                 uint32_t count, const struct systole_schedule_state *from, uint64_t limit,
                                 uint64_t *start, uint64_t *end, struct systole_schedule_states *states,
                                 uint64_t counters[SYSTOLE_UNITS][SYSTOLE_COUNTER_KINDS]) {
    struct systole_schedule_state state;
    struct systole_schedule *schedule = &state.schedule;
    struct systole_scheduled entry;
    uint32_t unit;
    if (from != NULL) {
        state = *from;
    } else {
        systole_schedule_begin(schedule, target, false);
        state.fetched = state.retired = 0;
    }
    while (state.retired < count) {
        save_state(states, &state, count);
        while (systole_schedule_retire(schedule, &entry, &unit)) {
            if (start != NULL) {
                start[entry.index] = entry.start;
            }
            if (end != NULL) {
                end[entry.index] = entry.end;
            }
            state.retired++;
        }
        while (systole_schedule_start(schedule, 0, &entry, &unit)) {
        }
        if (state.fetched < count && systole_schedule_room(schedule, commands[state.fetched].header.unit)) {
            systole_schedule_fetch(schedule, &commands[state.fetched], state.fetched);
            state.fetched++;
        }
        uint64_t next = systole_schedule_next(schedule);
        if (state.fetched < count && schedule->fetch > schedule->now && schedule->fetch < next) {
            next = schedule->fetch;
        }
        if (next == SYSTOLE_NEVER || state.retired == count) {
            break; // all retired; or a wait that can never be, which the verifier refuses
        }
        if (next >= limit) {
            return SYSTOLE_NEVER;
        }
        systole_schedule_advance(schedule, next);
    }
    systole_schedule_advance(schedule, schedule->now + SYSTOLE_TIMING_COMPLETE);
    for (uint32_t u = 0; counters != NULL && u < SYSTOLE_UNITS; u++) {
        for (uint32_t kind = 0; kind < SYSTOLE_COUNTER_KINDS; kind++) {
            counters[u][kind] = schedule->counters[u][kind];
        }
    }
    return schedule->now;
}

uint64_t systole_schedule_cycles(const struct systole_target *target, const struct systole_command *commands,
                                 uint32_t count, uint64_t *start, uint64_t *end,
                                 uint64_t counters[SYSTOLE_UNITS][SYSTOLE_COUNTER_KINDS]) {
    return systole_schedule_resume(target, commands, count, NULL, SYSTOLE_NEVER, start, end, NULL, counters);
}
