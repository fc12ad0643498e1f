// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "schedule.h"

#include <string.h>

#include "cycle_model.h"

#define DEPTH SYSTOLE_TIMING_QUEUE_DEPTH

uint64_t systole_fetch_cycles(const struct systole_target *target) {
    return (SYSTOLE_COMMAND_BYTES + target->columns - 1) / target->columns + SYSTOLE_TIMING_FETCH_OVERHEAD;
}

void systole_schedule_begin(struct systole_schedule *schedule, const struct systole_target *target, bool link_open) {
    memset(schedule, 0, sizeof *schedule);
    schedule->target = target;
    schedule->fetch = systole_fetch_cycles(target);
    schedule->link_open = link_open;
}

bool systole_schedule_tokens(const uint32_t retired[SYSTOLE_UNITS], const struct systole_target *target,
                             const struct systole_command *command) {
    const uint32_t waits[SYSTOLE_WAITS] = {command->header.wait0, command->header.wait1, command->header.wait2,
                                           command->header.wait3};
    for (uint32_t i = 0; i < SYSTOLE_WAITS; i++) {
        uint32_t core = waits[i] >> 28, unit = waits[i] >> 24 & 15, count = waits[i] & 0xffffffu;
        if (count != 0 && (core >= target->cores || unit >= SYSTOLE_UNITS || retired[unit] < count)) {
            return false;
        }
    }
    return true;
}

static bool head_has_tokens(const struct systole_schedule *schedule, const struct systole_schedule_unit *unit) {
    uint32_t retired[SYSTOLE_UNITS];
    for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
        retired[u] = schedule->units[u].retired;
    }
    return systole_schedule_tokens(retired, schedule->target, &unit->queue[unit->queue_head].command);
}

static bool is_transfer(const struct systole_command *command) {
    return command->header.opcode == SYSTOLE_OPCODE_LOAD || command->header.opcode == SYSTOLE_OPCODE_STORE;
}

bool systole_schedule_retire(struct systole_schedule *schedule, struct systole_scheduled *retired, uint32_t *unit) {
    for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
        struct systole_schedule_unit *from = &schedule->units[u];
        if (from->inside_count > 0 && from->inside[from->inside_head].end <= schedule->now) {
            *retired = from->inside[from->inside_head];
            *unit = u;
            from->inside_head = (from->inside_head + 1) % DEPTH;
            from->inside_count--;
            from->retired++;
            if (is_transfer(&retired->command)) {
                // A word a cycle is work, what is beyond it the link's.
                uint64_t words = retired->command.body.transfer.words;
                uint64_t busy = words < from->link_cycles ? words : from->link_cycles;
                schedule->counters[u][SYSTOLE_COUNTER_WAIT_LINK] -= busy;
                schedule->counters[u][SYSTOLE_COUNTER_BUSY] += busy;
                from->link_cycles = 0;
            }
            return true;
        }
    }
    return false;
}

// When the link, taken since `from`, has moved that many bytes.
static uint64_t link_end(const struct systole_schedule *schedule, uint64_t from, uint64_t bytes) {
    uint64_t begin = from > schedule->now ? from : schedule->now;
    uint64_t rate = schedule->target->link_millibytes_per_cycle;
    return begin + (bytes * 1000 + rate - 1) / rate;
}

static uint64_t later(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

// Start of one command: until when it holds its unit, and when it retires.
static void time_command(struct systole_schedule *schedule, struct systole_schedule_unit *unit,
                         struct systole_scheduled *entry) {
    struct systole_command_cycles cycles = systole_command_cycles(schedule->target, &entry->command);
    entry->start = schedule->now;
    entry->end = schedule->now + cycles.latency;
    unit->free = schedule->now + cycles.occupancy;
    uint64_t bytes = (uint64_t)entry->command.body.transfer.words * schedule->target->columns;
    if (entry->command.header.opcode == SYSTOLE_OPCODE_LOAD) {
        if (schedule->link_open) {
            entry->end = SYSTOLE_NEVER;
        } else {
            schedule->link_in = link_end(schedule, schedule->link_in, bytes + sizeof(struct systole_frame_header));
            entry->end = later(entry->end, schedule->link_in);
        }
        unit->free = entry->end;
    } else if (entry->command.header.opcode == SYSTOLE_OPCODE_STORE) {
        schedule->link_out = link_end(schedule, schedule->link_out, bytes + sizeof(struct systole_frame_header));
        entry->end = unit->free = later(entry->end, schedule->link_out);
    }
    if (unit->inside_count > 0) {
        uint64_t previous = unit->inside[(unit->inside_head + unit->inside_count - 1) % DEPTH].end;
        entry->end = entry->end > previous ? entry->end : previous + 1;
    }
}

bool systole_schedule_startable(const struct systole_schedule *schedule, uint32_t unit) {
    const struct systole_schedule_unit *at = &schedule->units[unit];
    return at->queue_count > 0 && at->inside_count < DEPTH && at->free <= schedule->now &&
           at->queue[at->queue_head].ready <= schedule->now && head_has_tokens(schedule, at);
}

bool systole_schedule_start(struct systole_schedule *schedule, uint32_t blocked, struct systole_scheduled *started,
                            uint32_t *unit) {
    for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
        struct systole_schedule_unit *to = &schedule->units[u];
        if ((blocked >> u & 1) != 0 || !systole_schedule_startable(schedule, u)) {
            continue;
        }
        struct systole_scheduled *entry = &to->inside[(to->inside_head + to->inside_count) % DEPTH];
        *entry = to->queue[to->queue_head];
        to->queue_head = (to->queue_head + 1) % DEPTH;
        to->queue_count--;
        time_command(schedule, to, entry);
        to->inside_count++;
        *started = *entry;
        *unit = u;
        return true;
    }
    return false;
}

bool systole_schedule_room(const struct systole_schedule *schedule, uint32_t unit) {
    return schedule->fetch <= schedule->now && schedule->units[unit].queue_count < DEPTH;
}

void systole_schedule_fetch(struct systole_schedule *schedule, const struct systole_command *command, uint32_t index) {
    struct systole_schedule_unit *to = &schedule->units[command->header.unit];
    struct systole_scheduled *entry = &to->queue[(to->queue_head + to->queue_count) % DEPTH];
    entry->command = *command;
    entry->index = index;
    entry->ready = schedule->now + 1;
    to->queue_count++;
    schedule->fetch = schedule->now + systole_fetch_cycles(schedule->target);
}

void systole_schedule_finish(struct systole_schedule *schedule, uint32_t unit) {
    struct systole_schedule_unit *at = &schedule->units[unit];
    if (at->inside_count > 0) {
        uint64_t end = later(at->inside[at->inside_head].start + SYSTOLE_TIMING_TRANSFER_OVERHEAD, schedule->now + 1);
        at->inside[at->inside_head].end = at->free = end;
    }
}

uint64_t systole_schedule_next(const struct systole_schedule *schedule) {
    uint64_t next = SYSTOLE_NEVER;
    for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
        const struct systole_schedule_unit *unit = &schedule->units[u];
        if (unit->inside_count > 0 && unit->inside[unit->inside_head].end < next) {
            next = unit->inside[unit->inside_head].end;
        }
        if (unit->queue_count > 0 && unit->inside_count < DEPTH) {
            uint64_t start = later(unit->free, unit->queue[unit->queue_head].ready);
            if (start > schedule->now && start < next) {
                next = start;
            }
        }
    }
    return next;
}

static uint32_t counter_kind(const struct systole_schedule *schedule, const struct systole_schedule_unit *unit) {
    if (unit->inside_count > 0) {
        return is_transfer(&unit->inside[unit->inside_head].command) ? SYSTOLE_COUNTER_WAIT_LINK : SYSTOLE_COUNTER_BUSY;
    }
    if (unit->queue_count > 0 && unit->queue[unit->queue_head].ready <= schedule->now) {
        // The head's tokens are there only when something outside keeps it: the stream to the host is full.
        return head_has_tokens(schedule, unit) ? SYSTOLE_COUNTER_WAIT_LINK : SYSTOLE_COUNTER_WAIT_DEPENDENCY;
    }
    return SYSTOLE_COUNTER_IDLE;
}

void systole_schedule_advance(struct systole_schedule *schedule, uint64_t to) {
    uint64_t cycles = to - schedule->now;
    for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
        uint32_t kind = counter_kind(schedule, &schedule->units[u]);
        schedule->counters[u][kind] += cycles;
        if (kind == SYSTOLE_COUNTER_WAIT_LINK && schedule->units[u].inside_count > 0) {
            schedule->units[u].link_cycles += cycles;
        }
    }
    schedule->now = to;
}
