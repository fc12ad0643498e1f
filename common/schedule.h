// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The clock of a run: fetch, the units' queues, tokens and retirement, in steps that a caller drives. Computing units
// go cycle by cycle (unit_model.h), loads and stores by the link's rate. The compiler's estimate
// (systole_schedule_cycles) and the functional model both run on it. At one instant: retire, then start, then fetch;
// then advance to systole_schedule_next at most.
#ifndef SYSTOLE_SCHEDULE_H
#define SYSTOLE_SCHEDULE_H

#include <stdbool.h>

#include "systole_spec.h"
#include "unit_model.h"

#define SYSTOLE_NEVER UINT64_MAX

struct systole_scheduled {
    struct systole_command command;
    uint32_t index;
    uint64_t ready; // earliest start
    uint64_t start, end;
};

struct systole_schedule_unit {
    struct systole_scheduled queue[SYSTOLE_TIMING_QUEUE_DEPTH + 1]; // the head beside the queue
    uint32_t queue_head, queue_count;
    struct systole_scheduled inside[SYSTOLE_TIMING_IN_FLIGHT]; // started, not retired; end SYSTOLE_NEVER: not known
    uint32_t inside_head, inside_count;
    uint64_t free; // the unit takes the next command, as far as it is no matter of struct systole_unit_model
    bool tokens;   // the head's are all there
    uint32_t retired;
    uint64_t link_cycles; // of the transfer inside
};

struct systole_schedule {
    const struct systole_target *target;
    uint64_t now;               // since the doorbell
    uint64_t fetch;             // the next command may enter its queue; SYSTOLE_NEVER: not known
    uint64_t link_in, link_out; // the static link is taken until then
    bool link_open;             // a load's end comes from outside (systole_schedule_finish), not from the link's rate
    struct systole_schedule_unit units[SYSTOLE_UNITS];
    uint64_t counters[SYSTOLE_UNITS][SYSTOLE_COUNTER_KINDS];
    struct systole_unit_model model;
};

void systole_schedule_begin(struct systole_schedule *schedule, const struct systole_target *target, bool link_open);

// The next command that retires now, if any; the caller takes its effects from here.
bool systole_schedule_retire(struct systole_schedule *schedule, struct systole_scheduled *retired, uint32_t *unit);
// The next command that starts now, if any. Units in `blocked` (bit mask) start nothing.
bool systole_schedule_start(struct systole_schedule *schedule, uint32_t blocked, struct systole_scheduled *started,
                            uint32_t *unit);
// True when this unit's head would start now if it is not blocked.
bool systole_schedule_startable(const struct systole_schedule *schedule, uint32_t unit);
// True when fetch may give a command to this unit now.
bool systole_schedule_room(const struct systole_schedule *schedule, uint32_t unit);
void systole_schedule_fetch(struct systole_schedule *schedule, const struct systole_command *command, uint32_t index);
// The load that is inside has its last word.
void systole_schedule_finish(struct systole_schedule *schedule, uint32_t unit);
// The next instant at which retire or start may find something; SYSTOLE_NEVER if none is known.
uint64_t systole_schedule_next(const struct systole_schedule *schedule);
// Moves the clock; nothing may be due in between. Every cycle of every unit is counted as one kind.
void systole_schedule_advance(struct systole_schedule *schedule, uint64_t to);

// A replay (systole_schedule_cycles) between two commands. It is that of every program that begins with the commands
// fetched; those still in queues and units must live as long as it does.
struct systole_schedule_state {
    struct systole_schedule schedule;
    uint32_t fetched, retired;
};
struct systole_schedule_states {
    struct systole_schedule_state *states; // room for `most`
    uint32_t count, most;
};
// systole_schedule_cycles from a state on (NULL: from the beginning; what retired before has no start and end). Gives
// up and returns SYSTOLE_NEVER where the total would be above `limit`. `states` (may be NULL) receives some of its own.
uint64_t systole_schedule_resume(const struct systole_target *target, const struct systole_command *commands,
                                 uint32_t count, const struct systole_schedule_state *from, uint64_t limit,
                                 uint64_t *start, uint64_t *end, struct systole_schedule_states *states,
                                 uint64_t counters[SYSTOLE_UNITS][SYSTOLE_COUNTER_KINDS]);

bool systole_schedule_tokens(const uint32_t retired[SYSTOLE_UNITS], const struct systole_target *target,
                             const struct systole_command *command);
// Cycles from a command to the next through fetch.
uint64_t systole_fetch_cycles(const struct systole_target *target);

#endif
