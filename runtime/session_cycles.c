// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Whose each cycle is. A run's total: every cycle belongs to the oldest operator that has not retired; an operator has
// retired with the last of its commands. A unit's cycles: a record of retirement carries the unit's five counters, so
// that what it counted between two retirements belongs to the operator of the second one; what is left behind the
// unit's last command, all of it idle, belongs to the operators that those cycles of the total belong to. So operators
// sum to the total, and operators' units to the counters. Nothing here is estimated.
#include <stdlib.h>
#include <string.h>

#include "session_state.h"

const struct systole_region_window *systole_session_windows(const struct systole_session *session, uint32_t segment) {
    bool exists = session->segments != NULL && segment < session->program->segment_count;
    return exists ? session->segments[segment].request.windows : NULL;
}

void session_cycles_clear(struct systole_session_cycles *cycles) {
    free(cycles->operators);
    free(cycles->units);
    free(cycles->trace);
    cycles->operators = NULL;
    cycles->units = NULL;
    cycles->trace = NULL;
    cycles->trace_count = 0;
}

void session_cycles_begin(struct systole_session *session) {
    struct systole_session_cycles *cycles = &session->cycles;
    const struct systole_program *program = session->program;
    size_t commands = 0;
    for (uint32_t i = 0; i < program->step_count; i++) {
        const struct systole_step *step = &program->steps[i];
        commands += step->place == SYSTOLE_PLACE_DEVICE ? program->segments[step->index].command_count : 0;
    }
    session_cycles_clear(cycles);
    cycles->total = 0;
    memset(cycles->counters, 0, sizeof cycles->counters);
    cycles->operators = calloc((size_t)cycles->operator_count + 1, sizeof *cycles->operators);
    cycles->units = calloc((size_t)cycles->operator_count + 1, sizeof *cycles->units);
    cycles->trace = calloc(commands + 1, sizeof *cycles->trace);
}

static int32_t owner_of(const struct systole_session *session, const struct systole_segment *segment,
                        uint32_t command) {
    int32_t owner = command < segment->command_count ? segment->info[command].operator_index : -1;
    return owner >= 0 && (uint32_t)owner < session->cycles.operator_count ? owner : -1;
}

// ends[o]: when operator o has retired, and all before it. Operators that have no command end with their predecessor.
// Returns the last operator that has one, -1: none.
static int64_t find_ends(const struct systole_session *session, const struct session_segment *segment, uint64_t *ends) {
    const struct systole_request *request = &segment->request;
    int64_t last = -1;
    for (uint32_t i = 0; i < request->retired_count; i++) {
        int32_t owner = owner_of(session, segment->segment, request->retired[i].command);
        if (owner >= 0) {
            uint64_t cycle = request->retired[i].cycle;
            ends[owner] = cycle > ends[owner] ? cycle : ends[owner];
            last = owner > last ? owner : last;
        }
    }
    uint64_t now = 0;
    for (int64_t o = 0; o <= last; o++) {
        uint64_t end = o == last || ends[o] > request->cycles ? request->cycles : ends[o];
        now = end > now ? end : now;
        ends[o] = now;
    }
    return last;
}

// Cycles of one kind from `from` to the end of the run, to those whose cycles of the total they are.
static void share_out(struct systole_session *session, const uint64_t *ends, int64_t last, uint32_t unit, uint32_t kind,
                      uint64_t from, uint64_t count) {
    for (int64_t o = 0; o <= last && count > 0; o++) {
        if (ends[o] > from) {
            uint64_t part = o == last || ends[o] - from > count ? count : ends[o] - from;
            session->cycles.units[o][unit][kind] += part;
            from = ends[o];
            count -= part;
        }
    }
}

static void add_units(struct systole_session *session, const struct session_segment *segment, const uint64_t *ends,
                      int64_t last) {
    const struct systole_request *request = &segment->request;
    struct systole_session_cycles *cycles = &session->cycles;
    uint64_t counted[SYSTOLE_UNITS][SYSTOLE_COUNTER_KINDS] = {{0}}, until[SYSTOLE_UNITS] = {0};
    for (uint32_t i = 0; i < request->retired_count; i++) {
        const struct systole_retired *retired = &request->retired[i];
        uint32_t unit = retired->unit;
        int32_t owner = owner_of(session, segment->segment, retired->command);
        struct systole_traced *traced = &cycles->trace[cycles->trace_count++];
        *traced = (struct systole_traced){
            .segment = (uint32_t)(segment - session->segments),
            .command = retired->command,
            .unit = unit,
            .start = cycles->total + retired->start,
            .end = cycles->total + retired->cycle,
            .token = request->token,
            .launched = cycles->total,
        };
        for (uint32_t kind = 0; kind < SYSTOLE_COUNTER_KINDS; kind++) {
            uint32_t since = retired->counters[kind] - (uint32_t)counted[unit][kind];
            counted[unit][kind] += since;
            traced->counters[kind] = since;
            cycles->units[owner >= 0 ? owner : last][unit][kind] += since;
        }
        until[unit] = retired->cycle;
    }
    for (uint32_t unit = 0; unit < SYSTOLE_UNITS; unit++) {
        for (uint32_t kind = 0; kind < SYSTOLE_COUNTER_KINDS; kind++) {
            uint64_t rest = request->counters[unit][kind] - counted[unit][kind];
            share_out(session, ends, last, unit, kind, until[unit], rest);
        }
    }
}

void session_cycles_add(struct systole_session *session, const struct session_segment *segment) {
    const struct systole_request *request = &segment->request;
    struct systole_session_cycles *cycles = &session->cycles;
    uint64_t *ends = calloc((size_t)cycles->operator_count + 1, sizeof *ends);
    if (request->retired == NULL || ends == NULL || cycles->operators == NULL || cycles->units == NULL ||
        cycles->trace == NULL) { // not traced
        session_cycles_clear(cycles);
    } else {
        int64_t last = find_ends(session, segment, ends);
        for (int64_t o = 0; o <= last; o++) {
            cycles->operators[o] += ends[o] - (o > 0 ? ends[o - 1] : 0);
        }
        if (last >= 0) {
            add_units(session, segment, ends, last);
        }
    }
    cycles->total += request->cycles;
    for (uint32_t unit = 0; unit < SYSTOLE_UNITS; unit++) {
        for (uint32_t kind = 0; kind < SYSTOLE_COUNTER_KINDS; kind++) {
            cycles->counters[unit][kind] += request->counters[unit][kind];
        }
    }
    free(ends);
}
