// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "schedule.h"

#include <string.h>

#include "cycle_model.h"

#define DEPTH (SYSTOLE_TIMING_QUEUE_DEPTH + 1) // the head beside the queue
#define FLIGHT SYSTOLE_TIMING_IN_FLIGHT

uint64_t systole_fetch_cycles(const struct systole_target *target) {
    return (SYSTOLE_COMMAND_BYTES + target->columns - 1) / target->columns + SYSTOLE_TIMING_FETCH_OVERHEAD;
}

void systole_schedule_begin(struct systole_schedule *schedule, const struct systole_target *target, bool link_open) {
    memset(schedule, 0, sizeof *schedule);
    schedule->target = target;
    systole_unit_model_begin(&schedule->model, target);
    schedule->fetch = SYSTOLE_NEVER;
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

// After a retirement or a change of a head.
static void look_at_tokens(struct systole_schedule *schedule) {
    uint32_t retired[SYSTOLE_UNITS];
    for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
        retired[u] = schedule->units[u].retired;
    }
    for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
        struct systole_schedule_unit *unit = &schedule->units[u];
        unit->tokens = unit->queue_count > 0 &&
                       systole_schedule_tokens(retired, schedule->target, &unit->queue[unit->queue_head].command);
    }
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
            from->inside_head = (from->inside_head + 1) % FLIGHT;
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
            look_at_tokens(schedule);
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
static void time_command(struct systole_schedule *schedule, uint32_t u, struct systole_scheduled *entry) {
    struct systole_schedule_unit *unit = &schedule->units[u];
    uint32_t opcode = entry->command.header.opcode;
    entry->start = schedule->now;
    if (opcode == SYSTOLE_OPCODE_NOP) {
        entry->end = unit->free = schedule->now + SYSTOLE_TIMING_NOP;
    } else if (!is_transfer(&entry->command)) {
        entry->end = SYSTOLE_NEVER; // the unit will say
        systole_unit_model_accept(&schedule->model, u, &entry->command);
    } else {
        uint64_t bytes = (uint64_t)entry->command.body.transfer.words * schedule->target->columns;
        uint64_t end = schedule->now + systole_command_cycles(schedule->target, &entry->command).latency;
        bytes += sizeof(struct systole_frame_header);
        if (opcode == SYSTOLE_OPCODE_STORE) {
            schedule->link_out = link_end(schedule, schedule->link_out, bytes);
            end = later(end, schedule->link_out);
        } else if (schedule->link_open) {
            end = SYSTOLE_NEVER;
        } else {
            schedule->link_in = link_end(schedule, schedule->link_in, bytes);
            end = later(end, schedule->link_in);
        }
        entry->end = unit->free = end;
    }
}

bool systole_schedule_startable(const struct systole_schedule *schedule, uint32_t unit) {
    const struct systole_schedule_unit *at = &schedule->units[unit];
    if (!at->tokens || at->inside_count == FLIGHT || at->free > schedule->now ||
        at->queue[at->queue_head].ready > schedule->now) {
        return false;
    }
    const struct systole_command *head = &at->queue[at->queue_head].command;
    if (head->header.opcode == SYSTOLE_OPCODE_NOP) {
        return at->inside_count == 0;
    }
    return is_transfer(head) || systole_unit_model_ready(&schedule->model, unit);
}

bool systole_schedule_start(struct systole_schedule *schedule, uint32_t blocked, struct systole_scheduled *started,
                            uint32_t *unit) {
    for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
        struct systole_schedule_unit *to = &schedule->units[u];
        if ((blocked >> u & 1) != 0 || !systole_schedule_startable(schedule, u)) {
            continue;
        }
        struct systole_scheduled *entry = &to->inside[(to->inside_head + to->inside_count) % FLIGHT];
        *entry = to->queue[to->queue_head];
        to->queue_head = (to->queue_head + 1) % DEPTH;
        to->queue_count--;
        time_command(schedule, u, entry);
        to->inside_count++;
        look_at_tokens(schedule);
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
    entry->ready = schedule->now + SYSTOLE_TIMING_QUEUE;
    to->queue_count++;
    systole_unit_model_take_fetched(&schedule->model);
    schedule->fetch = systole_unit_model_fetched(&schedule->model);
    look_at_tokens(schedule);
}

void systole_schedule_finish(struct systole_schedule *schedule, uint32_t unit) {
    struct systole_schedule_unit *at = &schedule->units[unit];
    if (at->inside_count > 0) {
        uint64_t end = later(at->inside[at->inside_head].start + SYSTOLE_TIMING_TRANSFER_OVERHEAD, schedule->now + 1);
        at->inside[at->inside_head].end = at->free = end;
    }
}

uint64_t systole_schedule_next(const struct systole_schedule *schedule) {
    if (!systole_unit_model_quiet(&schedule->model)) {
        return schedule->now + 1;
    }
    uint64_t next = SYSTOLE_NEVER;
    for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
        const struct systole_schedule_unit *unit = &schedule->units[u];
        if (unit->inside_count > 0 && unit->inside[unit->inside_head].end < next) {
            next = unit->inside[unit->inside_head].end;
        }
        if (unit->queue_count > 0 && unit->inside_count < FLIGHT) {
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
        return unit->tokens ? SYSTOLE_COUNTER_WAIT_LINK : SYSTOLE_COUNTER_WAIT_DEPENDENCY;
    }
    return SYSTOLE_COUNTER_IDLE;
}

static void count(struct systole_schedule *schedule, const uint32_t kinds[SYSTOLE_UNITS], uint64_t cycles) {
    for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
        uint32_t kind = kinds[u];
        if (kind == SYSTOLE_COUNTER_BUSY && (schedule->model.stalled >> u & 1) != 0) {
            kind = SYSTOLE_COUNTER_WAIT_MEMORY;
        }
        schedule->counters[u][kind] += cycles;
        if (kind == SYSTOLE_COUNTER_WAIT_LINK && schedule->units[u].inside_count > 0) {
            schedule->units[u].link_cycles += cycles;
        }
    }
}

// The units whose last word was written: the oldest command that is not known to end retires with the next cycle.
static void note_retirements(struct systole_schedule *schedule) {
    for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
        struct systole_schedule_unit *unit = &schedule->units[u];
        for (uint32_t i = 0; (schedule->model.retiring >> u & 1) != 0 && i < unit->inside_count; i++) {
            struct systole_scheduled *entry = &unit->inside[(unit->inside_head + i) % FLIGHT];
            if (entry->end == SYSTOLE_NEVER) {
                entry->end = schedule->now + SYSTOLE_TIMING_RETIREMENT;
                break;
            }
        }
    }
}

void systole_schedule_advance(struct systole_schedule *schedule, uint64_t to) {
    uint32_t kinds[SYSTOLE_UNITS];
    for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
        kinds[u] = counter_kind(schedule, &schedule->units[u]);
    }
    while (schedule->now < to) {
        uint64_t cycles = 1;
        if (systole_unit_model_quiet(&schedule->model)) {
            cycles = to - schedule->now;
            schedule->model.now = to;
            schedule->model.stalled = 0;
        } else {
            systole_unit_model_step(&schedule->model);
            if (schedule->model.retiring != 0) {
                note_retirements(schedule);
            }
        }
        count(schedule, kinds, cycles);
        schedule->now += cycles;
    }
    schedule->fetch = systole_unit_model_fetched(&schedule->model);
}
