// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Runs of the selftest: what the device counts, what it refuses, when it gives up, where it stops for a debugger.
#include <inttypes.h>
#include <string.h>

#include "random_program.h"
#include "selftest.h"

#define COMMANDS 8u
#define PROGRAM_WORD 64u
#define DATA_WORDS 32u // in front of the program

// Puts the commands behind the data and gives every region but the program the first DATA_WORDS words.
static bool place(struct selftest *test, const struct systole_command *commands, uint32_t count,
                  struct systole_launch_descriptor *launch) {
    uint32_t columns = test->target->columns, words = (uint32_t)(count * sizeof *commands / columns);
    *launch = (struct systole_launch_descriptor){.token = selftest_random(&test->seed), .commands = count};
    for (uint32_t r = 0; r < SYSTOLE_REGIONS; r++) {
        launch->regions[r] = (struct systole_region_window){0, DATA_WORDS};
    }
    launch->regions[SYSTOLE_REGION_PROGRAM] = (struct systole_region_window){PROGRAM_WORD, words};
    memset(test->expected, 0, (size_t)DATA_WORDS * columns);
    return selftest_write(test, 0, test->expected, DATA_WORDS) && selftest_write(test, PROGRAM_WORD, commands, words);
}

static bool launch_it(struct selftest *test, const struct systole_launch_descriptor *launch) {
    enum systole_status status = systole_probe_launch(test->probe, launch, NULL, 0);
    test->token = launch->token;
    return status == SYSTOLE_OK || selftest_failed(test, status, "a launch");
}

static bool await_end(struct selftest *test, uint32_t token, uint64_t *cycles) {
    struct systole_event event;
    enum systole_status status = systole_probe_event(test->probe, &event);
    if (status != SYSTOLE_OK) {
        return selftest_failed(test, status, "the end of a run");
    }
    *cycles = event.cycle;
    return (event.kind == SYSTOLE_EVENT_KIND_RUN_COMPLETE && event.token == token) ||
           selftest_found(test, "event %u, error %s, run %u; expected run_complete of run %u", event.kind,
                          systole_error_name(event.error), event.token, token);
}

static bool count_units(struct selftest *test, const struct systole_command *commands, uint32_t count) {
    for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
        uint64_t state, retired = 0;
        for (uint32_t i = 0; i < count; i++) {
            retired += commands[i].header.unit == u;
        }
        if (!selftest_read_register(test, SYSTOLE_REGISTER_UNIT_STATE + 8 * u, &state)) {
            return false;
        }
        if (state != retired) {
            return selftest_found(test, "unit_state[%u] (%s) at 0x%03x is 0x%" PRIx64 ", expected %" PRIu64 " retired",
                                  u, systole_unit_name(u), SYSTOLE_REGISTER_UNIT_STATE + 8 * u, state, retired);
        }
    }
    return true;
}

static bool check_counters(struct selftest *test, const struct random_program *program) {
    uint64_t cycles = 0, run_cycles, busy = 0;
    if (!selftest_write_image(test, program->image, program->image_words) || !launch_it(test, &program->launch) ||
        !await_end(test, program->launch.token, &cycles) ||
        !selftest_read_register(test, SYSTOLE_REGISTER_RUN_CYCLES, &run_cycles)) {
        return false;
    }
    if (run_cycles != cycles) {
        return selftest_found(test, "run_cycles at 0x%03x is %" PRIu64 ", the event said %" PRIu64,
                              SYSTOLE_REGISTER_RUN_CYCLES, run_cycles, cycles);
    }
    for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
        uint64_t sum = 0;
        for (uint32_t k = 0; k < SYSTOLE_COUNTER_KINDS; k++) {
            uint64_t value;
            uint32_t address = SYSTOLE_REGISTER_COUNTERS + 8 * (SYSTOLE_COUNTER_KINDS * u + k);
            if (!selftest_read_register(test, address, &value)) {
                return false;
            }
            sum += value;
            busy += k == SYSTOLE_COUNTER_BUSY ? value : 0;
        }
        if (sum != cycles) {
            return selftest_found(test, "counters of unit %s from 0x%03x sum to %" PRIu64 " of %" PRIu64 " cycles",
                                  systole_unit_name(u), SYSTOLE_REGISTER_COUNTERS + 8 * SYSTOLE_COUNTER_KINDS * u, sum,
                                  cycles);
        }
    }
    if (busy == 0) {
        return selftest_found(test, "no unit was ever busy");
    }
    selftest_found(test, "%u commands, %" PRIu64 " cycles, the sum for each unit", program->count, cycles);
    return count_units(test, program->commands, program->count);
}

bool selftest_counters(struct selftest *test) {
    struct random_program program;
    const uint32_t units = 1u << SYSTOLE_UNIT_ARRAY | 1u << SYSTOLE_UNIT_DEPTHWISE | 1u << SYSTOLE_UNIT_ELEMENTWISE;
    if (!random_program_make(&program, test->target, selftest_random(&test->seed), COMMANDS, true, units)) {
        return selftest_found(test, "no memory, or the scratchpad is too small for the program of this step");
    }
    bool good = check_counters(test, &program);
    random_program_free(&program);
    return good;
}

static struct systole_command copy_command(uint32_t columns, uint32_t from, uint32_t to) {
    (void)columns;
    struct systole_command command = {.header = {.opcode = SYSTOLE_OPCODE_TABLE, .unit = SYSTOLE_UNIT_ELEMENTWISE}};
    struct systole_elementwise *e = &command.body.elementwise;
    e->input_address = (uint32_t)SYSTOLE_REGION_INPUT << 28 | from;
    e->input2_address = (uint32_t)SYSTOLE_REGION_PARAMETERS << 28;
    e->output_address = (uint32_t)SYSTOLE_REGION_OUTPUT << 28 | to;
    e->input_pixel_stride = e->output_pixel_stride = e->height = e->width = e->tiles = 1;
    return command;
}

static struct systole_command transfer_command(uint32_t opcode, uint32_t unit, uint32_t region, uint32_t from,
                                               uint32_t words) {
    struct systole_command command = {.header = {.opcode = (uint8_t)opcode, .unit = (uint8_t)unit}};
    command.body.transfer = (struct systole_transfer){region << 28 | from, words, SYSTOLE_REGION_HOST << 28};
    return command;
}

bool selftest_regions(struct selftest *test) {
    const uint32_t columns = test->target->columns;
    struct systole_command commands[] = {
        {.header = {.opcode = SYSTOLE_OPCODE_NOP, .unit = SYSTOLE_UNIT_LOAD}},
        copy_command(columns, 0, DATA_WORDS),
    };
    const struct {
        const char *what;
        struct systole_command command;
        uint32_t detail;
    } reaches[] = {
        {"an output behind region output", copy_command(columns, 0, DATA_WORDS), DATA_WORDS},
        {"an input behind region input", copy_command(columns, DATA_WORDS + 5, 0), DATA_WORDS + 5},
        {"a store from region 9", transfer_command(SYSTOLE_OPCODE_STORE, SYSTOLE_UNIT_STORE, 9, 3, 1), 3},
        {"a load behind region activations",
         transfer_command(SYSTOLE_OPCODE_LOAD, SYSTOLE_UNIT_LOAD, SYSTOLE_REGION_ACTIVATIONS, DATA_WORDS, 2),
         DATA_WORDS},
    };
    struct systole_launch_descriptor launch;
    uint32_t tried = 0;
    for (uint32_t r = 0; r < SYSTOLE_REGIONS; r++, tried++) { // windows that the scratchpad does not hold
        if (!place(test, commands, 1, &launch)) {
            return false;
        }
        launch.regions[r] = (struct systole_region_window){test->words - 1, r % 2 == 0 ? 2 : UINT32_MAX};
        launch.token = 0; // such a run does not begin
        if (!launch_it(test, &launch) ||
            !selftest_expect_fault(test, "a window behind the scratchpad", SYSTOLE_ERROR_LAUNCH, SYSTOLE_UNIT_NONE, 0,
                                   r) ||
            !selftest_reset(test)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < sizeof reaches / sizeof reaches[0]; i++, tried++) {
        commands[1] = reaches[i].command;
        if (!place(test, commands, 2, &launch) || !launch_it(test, &launch) ||
            !selftest_expect_fault(test, reaches[i].what, SYSTOLE_ERROR_REGION, reaches[i].command.header.unit, 1,
                                   reaches[i].detail) ||
            !selftest_reset(test)) {
            return false;
        }
    }
    selftest_found(test, "%u ways out of a region refused", tried);
    return true;
}

bool selftest_watchdog(struct selftest *test) {
    static const uint32_t limits[] = {1000, 4321, 20000};
    // The second waits for a store that nobody asked for.
    struct systole_command commands[] = {
        {.header = {.opcode = SYSTOLE_OPCODE_NOP, .unit = SYSTOLE_UNIT_ARRAY}},
        {.header = {.opcode = SYSTOLE_OPCODE_NOP, .unit = SYSTOLE_UNIT_ARRAY, .wait0 = SYSTOLE_UNIT_STORE << 24 | 1}},
    };
    for (uint32_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        struct systole_launch_descriptor launch;
        uint64_t cycles;
        if (!place(test, commands, 2, &launch)) {
            return false;
        }
        launch.watchdog_cycles = limits[i];
        if (!launch_it(test, &launch) ||
            !selftest_expect_fault(test, "a token that never comes", SYSTOLE_ERROR_WATCHDOG, SYSTOLE_UNIT_NONE, 1,
                                   limits[i]) ||
            !selftest_read_register(test, SYSTOLE_REGISTER_RUN_CYCLES, &cycles)) {
            return false;
        }
        if (cycles < limits[i] || cycles > limits[i] + 200) {
            return selftest_found(test, "the watchdog of %u cycles fired after %" PRIu64, limits[i], cycles);
        }
        if (!selftest_reset(test)) {
            return false;
        }
    }
    selftest_found(test, "%zu runs without an end, each stopped on time", sizeof limits / sizeof limits[0]);
    return true;
}

// Waits until the device is still before a command.
static bool await_hold(struct selftest *test, uint32_t command, uint32_t matched) {
    uint64_t state = 0;
    for (uint32_t looks = 0; looks < 100 && (state & SYSTOLE_DEBUG_STATE_STILL) == 0; looks++) {
        enum systole_status status = systole_probe_poll(test->probe);
        if (status != SYSTOLE_OK) {
            return selftest_failed(test, status, "waiting for a breakpoint");
        }
        if (!selftest_read_register(test, SYSTOLE_REGISTER_DEBUG_STATE, &state)) {
            return false;
        }
    }
    uint64_t expected = (uint64_t)command << 32 | matched << 8 | SYSTOLE_DEBUG_STATE_HELD | SYSTOLE_DEBUG_STATE_STILL;
    return state == expected || selftest_found(test,
                                               "debug_state at 0x%03x is 0x%016" PRIx64 ", expected 0x%016" PRIx64
                                               ": held before command %u by breakpoints 0x%x",
                                               SYSTOLE_REGISTER_DEBUG_STATE, state, expected, command, matched);
}

static bool write_debug(struct selftest *test, uint32_t address, uint64_t value) {
    return selftest_write_register(test, address, value);
}

// The run's clock stands, units are empty, memory can be read both ways.
static bool look_around(struct selftest *test, const struct systole_command *commands, uint32_t held) {
    uint64_t before, after;
    uint8_t word[64];
    bool parity;
    if (!selftest_read_register(test, SYSTOLE_REGISTER_RUN_CYCLES, &before) || !count_units(test, commands, held) ||
        !selftest_read(test, PROGRAM_WORD, test->bytes, 1)) {
        return false;
    }
    enum systole_status status = systole_probe_peek(test->probe, PROGRAM_WORD, word, &parity);
    if (status != SYSTOLE_OK) {
        return selftest_failed(test, status, "a word by the debug registers");
    }
    if (!selftest_read_register(test, SYSTOLE_REGISTER_RUN_CYCLES, &after)) {
        return false;
    }
    if (parity || before != after) {
        return selftest_found(
            test, parity ? "debug_data: word %u has the wrong parity" : "the run's clock goes on before command %u",
            parity ? PROGRAM_WORD : held);
    }
    return selftest_compare(test, "debug_data", PROGRAM_WORD, test->bytes, word, test->target->columns);
}

bool selftest_breakpoints(struct selftest *test) {
    static const uint8_t units[] = {0, 4, 2, 3, 1, 4, 2, 0};
    struct systole_command commands[COMMANDS];
    struct systole_launch_descriptor launch;
    uint64_t cycles;
    memset(commands, 0, sizeof commands);
    for (uint32_t i = 0; i < COMMANDS; i++) {
        commands[i].header.opcode = SYSTOLE_OPCODE_NOP;
        commands[i].header.unit = units[i];
        commands[i].header.operator_index = (uint16_t)(i / 2); // 0 0 1 1 2 2 3 3
    }
    const uint64_t on_command = SYSTOLE_BREAKPOINT_ON_COMMAND | 3;
    const uint64_t on_operator = SYSTOLE_BREAKPOINT_ON_OPERATOR | UINT64_C(2) << 32;
    bool good =
        place(test, commands, COMMANDS, &launch) && write_debug(test, SYSTOLE_REGISTER_BREAKPOINT, on_command) &&
        write_debug(test, SYSTOLE_REGISTER_BREAKPOINT + 16, on_operator) && launch_it(test, &launch) &&
        await_hold(test, 3, 1) && look_around(test, commands, 3) &&
        write_debug(test, SYSTOLE_REGISTER_DEBUG_CONTROL, SYSTOLE_DEBUG_CONTROL_GO) && await_hold(test, 4, 4) &&
        look_around(test, commands, 4) &&
        write_debug(test, SYSTOLE_REGISTER_DEBUG_CONTROL, SYSTOLE_DEBUG_CONTROL_GO | SYSTOLE_DEBUG_CONTROL_HOLD) &&
        await_hold(test, 5, 0) && // a step; operator 2 goes on and does not match again
        write_debug(test, SYSTOLE_REGISTER_DEBUG_CONTROL, SYSTOLE_DEBUG_CONTROL_GO | SYSTOLE_DEBUG_CONTROL_HOLD) &&
        await_hold(test, 6, 0) && look_around(test, commands, 6) &&
        write_debug(test, SYSTOLE_REGISTER_DEBUG_CONTROL, 0) && await_end(test, launch.token, &cycles) &&
        count_units(test, commands, COMMANDS);
    if (good) {
        selftest_found(test, "held by command, by operator, by steps; went on to the end");
    }
    return good;
}
