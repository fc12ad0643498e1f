// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A run: launch, fetch with its checks, retirement with its effects, watchdog. A command's effects are taken at its
// retirement; with correct tokens nothing can see the difference. With an order seed, commands run one after the other
// in a random order among those whose tokens allow it, as late and as far apart as the queues permit.
#include <string.h>

#include "functional_model.h"

static uint32_t launch_fault(const struct systole_functional_model *model,
                             const struct systole_launch_descriptor *launch) {
    for (uint32_t i = 0; i < SYSTOLE_REGIONS; i++) {
        if ((uint64_t)launch->regions[i].base + launch->regions[i].words > model->memory_words) {
            return i;
        }
    }
    uint64_t bytes = (uint64_t)launch->regions[SYSTOLE_REGION_PROGRAM].words * model->target.columns;
    bool good = launch->commands > 0 && bytes >= (uint64_t)launch->commands * SYSTOLE_COMMAND_BYTES;
    return good ? SYSTOLE_REGIONS + 1 : SYSTOLE_REGIONS;
}

void systole_functional_launch(struct systole_functional_model *model) {
    const struct systole_launch_descriptor *launch = &model->parser.descriptor;
    uint32_t bad = launch_fault(model, launch);
    if (bad <= SYSTOLE_REGIONS) {
        systole_functional_fault(model, SYSTOLE_ERROR_LAUNCH, SYSTOLE_UNIT_NONE, 0, 0, bad);
        return;
    }
    model->launch = *launch;
    if (model->launch.watchdog_cycles == 0) {
        model->launch.watchdog_cycles = SYSTOLE_DEFAULT_WATCHDOG_CYCLES;
    }
    systole_schedule_begin(&model->schedule, &model->target, true);
    model->running = true;
    model->fetched_valid = false;
    model->fetch_index = model->retired = 0;
    model->last_retired = 0;
    model->complete = SYSTOLE_NEVER;
    model->load_open = false;
    systole_functional_debug_launch(model);
}

// The next command from memory, checked. False: there is none, or an error.
static bool fetch(struct systole_functional_model *model) {
    uint32_t columns = model->target.columns;
    if (model->fetched_valid || model->fetch_index == model->launch.commands) {
        return model->fetched_valid;
    }
    size_t first = (size_t)model->launch.regions[SYSTOLE_REGION_PROGRAM].base * columns +
                   (size_t)model->fetch_index * SYSTOLE_COMMAND_BYTES;
    for (size_t byte = first; byte < first + SYSTOLE_COMMAND_BYTES; byte += columns) {
        if (model->flipped[byte / columns]) {
            systole_functional_fault(model, SYSTOLE_ERROR_PARITY, SYSTOLE_UNIT_NONE, 0, model->fetch_index,
                                     (uint32_t)(byte / columns));
            return false;
        }
    }
    struct systole_command *command = &model->fetched;
    memcpy(command, model->memory + first, sizeof *command);
    if (!systole_functional_debug_pass(model, model->fetch_index, command->header.operator_index)) {
        return false;
    }
    uint32_t opcode = command->header.opcode, unit = command->header.unit;
    uint32_t entry = (uint32_t)(model->command_table[opcode / 8] >> (opcode % 8 * 8)) & 0xff;
    bool known = systole_describe_opcode(opcode) != NULL && (entry & 0x80) != 0 && unit < SYSTOLE_UNITS &&
                 ((entry & 15) == SYSTOLE_UNIT_ANY || (entry & 15) == unit);
    if (!known || !systole_command_fields_good(&model->target, command)) {
        systole_functional_fault(model, known ? SYSTOLE_ERROR_FIELD : SYSTOLE_ERROR_OPCODE, SYSTOLE_UNIT_NONE, 0,
                                 model->fetch_index, opcode);
        return false;
    }
    model->fetched_valid = true;
    return true;
}

static struct systole_execution execution_of(struct systole_functional_model *model,
                                             const struct systole_command *command) {
    return (struct systole_execution){
        .target = &model->target,
        .command = command,
        .windows = model->launch.regions,
        .memory = model->memory,
        .flipped = model->flipped,
        .memory_words = model->memory_words,
    };
}

static void unit_fault(struct systole_functional_model *model, const struct systole_execution *execution,
                       uint32_t index) {
    systole_functional_fault(model, execution->error, execution->command->header.unit, execution->command->header.core,
                             index, execution->detail);
}

static bool send_store(struct systole_functional_model *model, struct systole_execution *execution) {
    const struct systole_transfer *transfer = &execution->command->body.transfer;
    struct systole_place place = systole_execution_place(execution, transfer->address);
    for (uint32_t i = 0; i < transfer->words; i++) {
        if (systole_execution_read(execution, &place, place.start + i) == NULL) {
            return false;
        }
    }
    size_t columns = model->target.columns;
    uint32_t length = transfer->words * model->target.columns;
    systole_functional_put_header(model, SYSTOLE_FRAME_STORE, model->launch.token, transfer->host_address, length);
    systole_functional_put_bytes(model, model->memory + place.start * columns, transfer->words * columns);
    systole_functional_put_padding(model, length);
    // The clock has already counted the link's time for these bytes.
    model->out_credit += ((uint64_t)length + sizeof(struct systole_frame_header)) * 1000;
    return true;
}

static bool take_effects(struct systole_functional_model *model, const struct systole_scheduled *entry) {
    struct systole_execution execution = execution_of(model, &entry->command);
    bool done = true;
    if (entry->command.header.opcode == SYSTOLE_OPCODE_STORE) {
        done = send_store(model, &execution);
    } else if (entry->command.header.opcode != SYSTOLE_OPCODE_LOAD) {
        done = systole_execution_run(&execution);
    }
    if (!done) {
        unit_fault(model, &execution, entry->index);
    }
    return done;
}

static void retire(struct systole_functional_model *model, const struct systole_scheduled *entry, uint32_t unit) {
    if (!take_effects(model, entry)) {
        return;
    }
    model->retired++;
    model->last_retired = model->schedule.now;
    if (model->retired == model->launch.commands) {
        model->complete = model->schedule.now + SYSTOLE_TIMING_COMPLETE;
    }
    if ((model->launch.flags & 1) != 0) {
        struct systole_event event = {
            .kind = SYSTOLE_EVENT_KIND_RETIRED,
            .unit = (uint8_t)unit,
            .token = model->launch.token,
            .command = entry->index,
            .cycle = model->schedule.now,
            .start = entry->start,
        };
        for (uint32_t kind = 0; kind < SYSTOLE_COUNTER_KINDS; kind++) {
            event.counters[kind] = (uint32_t)model->schedule.counters[unit][kind];
        }
        systole_functional_event(model, &event);
    }
    if (model->observer.retired != NULL) {
        struct systole_retirement retirement = {model->launch.token, entry->index, unit, model->schedule.now};
        model->observer.retired(model->observer.context, &retirement);
    }
}

static void complete(struct systole_functional_model *model) {
    systole_functional_event(model, &(struct systole_event){
                                        .kind = SYSTOLE_EVENT_KIND_RUN_COMPLETE,
                                        .unit = SYSTOLE_UNIT_NONE,
                                        .token = model->launch.token,
                                        .command = model->launch.commands,
                                        .cycle = model->schedule.now,
                                    });
    model->running = false;
}

static uint32_t random_below(struct systole_functional_model *model, uint32_t count) {
    model->random ^= model->random << 13;
    model->random ^= model->random >> 7;
    model->random ^= model->random << 17;
    return (uint32_t)((model->random >> 32) % count);
}

// Which units may not start: those the stream out holds up, and with a seed all but one.
static uint32_t blocked_units(struct systole_functional_model *model) {
    const uint32_t all = (1u << SYSTOLE_UNITS) - 1;
    uint32_t blocked = systole_functional_out_room(model) ? 0 : 1u << SYSTOLE_UNIT_STORE;
    if (model->random == 0) {
        return blocked;
    }
    bool fetching = model->fetch_index < model->launch.commands && !model->halted &&
                    (!model->fetched_valid ||
                     model->schedule.units[model->fetched.header.unit].queue_count < SYSTOLE_TIMING_QUEUE_DEPTH);
    uint32_t candidates[SYSTOLE_UNITS], count = 0;
    for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
        if (u != SYSTOLE_UNIT_LOAD && model->schedule.units[u].inside_count > 0) {
            fetching = true; // one after the other; a load may wait for its stream meanwhile
        }
        if ((blocked >> u & 1) == 0 && systole_schedule_startable(&model->schedule, u)) {
            candidates[count++] = u;
        }
    }
    return fetching || count == 0 ? all : all & ~(1u << candidates[random_below(model, count)]);
}

bool systole_functional_step(struct systole_functional_model *model) {
    struct systole_scheduled entry;
    uint32_t unit;
    bool moved = false;
    if (!model->running) {
        return false;
    }
    if (model->schedule.now >= model->complete) {
        complete(model);
        return true;
    }
    while (!model->halted && model->event_count < SYSTOLE_EVENT_COUNT &&
           systole_schedule_retire(&model->schedule, &entry, &unit)) {
        retire(model, &entry, unit);
        moved = true;
    }
    while (!model->halted && systole_schedule_start(&model->schedule, blocked_units(model), &entry, &unit)) {
        if (entry.command.header.opcode == SYSTOLE_OPCODE_LOAD) {
            struct systole_execution execution = execution_of(model, &entry.command);
            if (!systole_execution_run(&execution)) { // its whole range, before the first word
                unit_fault(model, &execution, entry.index);
                break;
            }
            model->load_open = true;
            model->load_done = 0;
        }
        moved = true;
    }
    if (!model->halted && model->schedule.fetch <= model->schedule.now && fetch(model) &&
        systole_schedule_room(&model->schedule, model->fetched.header.unit)) {
        systole_schedule_fetch(&model->schedule, &model->fetched, model->fetch_index);
        model->fetched_valid = false;
        model->fetch_index++;
        moved = true;
    }
    if (!model->halted && model->complete == SYSTOLE_NEVER &&
        model->schedule.now - model->last_retired >= model->launch.watchdog_cycles) {
        systole_functional_fault(model, SYSTOLE_ERROR_WATCHDOG, SYSTOLE_UNIT_NONE, 0, model->retired,
                                 model->launch.watchdog_cycles);
    }
    return moved;
}

uint64_t systole_functional_run_next(const struct systole_functional_model *model) {
    const struct systole_schedule *schedule = &model->schedule;
    if (!model->running || systole_functional_debug_still(model)) {
        return SYSTOLE_NEVER;
    }
    if (model->complete != SYSTOLE_NEVER) {
        return model->complete - schedule->now;
    }
    uint64_t next = systole_schedule_next(schedule);
    uint64_t watchdog = model->last_retired + model->launch.watchdog_cycles;
    if (model->fetch_index < model->launch.commands && schedule->fetch > schedule->now && schedule->fetch < next) {
        next = schedule->fetch;
    }
    next = watchdog < next ? watchdog : next;
    return next - schedule->now;
}

uint32_t systole_functional_load_wants(const struct systole_functional_model *model) {
    const struct systole_schedule_unit *unit = &model->schedule.units[SYSTOLE_UNIT_LOAD];
    return model->running && model->load_open
               ? unit->inside[unit->inside_head].command.body.transfer.words - model->load_done
               : 0;
}

void systole_functional_load_word(struct systole_functional_model *model, const uint8_t *word) {
    const struct systole_schedule_unit *unit = &model->schedule.units[SYSTOLE_UNIT_LOAD];
    const struct systole_scheduled *entry = &unit->inside[unit->inside_head];
    struct systole_execution execution = execution_of(model, &entry->command);
    struct systole_place place = systole_execution_place(&execution, entry->command.body.transfer.address);
    uint8_t *to = systole_execution_write(&execution, &place, place.start + model->load_done);
    if (to == NULL) {
        unit_fault(model, &execution, entry->index);
        return;
    }
    memcpy(to, word, model->target.columns);
    model->load_done++;
    if (model->load_done == entry->command.body.transfer.words) {
        model->load_open = false;
        systole_schedule_finish(&model->schedule, SYSTOLE_UNIT_LOAD);
    }
}
