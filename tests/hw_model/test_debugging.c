// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The debug registers at the accelerator's boundary, of the functional model and of the RTL: a random program is held
// at many commands, all before them have retired, nothing moves meanwhile; and then it ends as if it had not been held.
#include <stdlib.h>
#include <string.h>

#include "frames.h"
#include "random_program.h"
#include "testing.h"

#define COMMANDS 40u
#define COMPUTING (1u << SYSTOLE_UNIT_ARRAY | 1u << SYSTOLE_UNIT_DEPTHWISE | 1u << SYSTOLE_UNIT_ELEMENTWISE)

static const struct systole_target *target;
static struct systole_accelerator *accelerator;
static struct random_program program;

static uint64_t read_register(uint32_t address) {
    return accelerator->functions->read_register(accelerator, address);
}

static void write_register(uint32_t address, uint64_t value) {
    accelerator->functions->write_register(accelerator, address, value);
}

static bool create(bool is_rtl) {
    struct systole_diagnostic diagnostic = {.what = ""};
    target = &systole_presets[0];
    enum systole_status status = is_rtl ? systole_rtl_create(target, &accelerator, &diagnostic)
                                        : systole_functional_model_create(target, 0, &accelerator, &diagnostic);
    if (is_rtl && status == SYSTOLE_UNSUPPORTED) {
        testing_skip("debugging on %s: %s", target->name, diagnostic.what);
        return false;
    }
    ck_assert_msg(status == SYSTOLE_OK, "%s", diagnostic.what);
    frames_start(accelerator);
    ck_assert(random_program_make(&program, target, 77, COMMANDS, true, COMPUTING));
    ck_assert(frames_write(accelerator, 0, program.image, program.image_words * target->columns));
    return true;
}

static void destroy(void) {
    random_program_free(&program);
    accelerator->functions->destroy(accelerator);
}

// Memory as the program leaves it, command by command.
static uint8_t *execute_before(uint32_t end) {
    uint8_t *memory = calloc(1, target->scratchpad_bytes);
    ck_assert_ptr_nonnull(memory);
    memcpy(memory, program.image, (size_t)program.image_words * target->columns);
    for (uint32_t i = 0; i < end; i++) {
        uint32_t error, detail;
        ck_assert(
            systole_execute_command(target, &program.commands[i], program.launch.regions, memory, &error, &detail));
    }
    return memory;
}

static void check_memory(uint32_t end) {
    uint8_t *expected = execute_before(end), *found = malloc((size_t)program.image_words * target->columns);
    ck_assert_ptr_nonnull(found);
    accelerator->functions->peek(accelerator, 0, program.image_words, found);
    ck_assert_mem_eq(found, expected, (size_t)program.image_words * target->columns);
    free(found);
    free(expected);
}

static void run_until_still(void) {
    uint64_t state = 0;
    for (uint32_t looks = 0; looks < 1000 && (state & SYSTOLE_DEBUG_STATE_STILL) == 0; looks++) {
        accelerator->functions->run(accelerator, 5000);
        state = read_register(SYSTOLE_REGISTER_DEBUG_STATE);
    }
    ck_assert_msg((state & SYSTOLE_DEBUG_STATE_STILL) != 0, "debug_state is 0x%llx", (unsigned long long)state);
}

START_TEST(memory_is_that_of_all_commands_before) {
    struct systole_event event;
    if (!create(_i != 0)) {
        return;
    }
    ck_assert(frames_run(accelerator, &program.launch)); // without a debugger
    ck_assert(frames_event(accelerator, &event, 10000000));
    check_memory(program.count);
    uint64_t straight = event.cycle;
    ck_assert(frames_write(accelerator, 0, program.image, program.image_words * target->columns));
    write_register(SYSTOLE_REGISTER_DEBUG_CONTROL, SYSTOLE_DEBUG_CONTROL_HOLD);
    ck_assert(frames_run(accelerator, &program.launch));
    for (uint32_t i = 0; i < program.count; i++) {
        run_until_still();
        ck_assert_uint_eq(read_register(SYSTOLE_REGISTER_DEBUG_STATE) >> 32, i);
        if (i % 7 == 3) { // nothing moves, whatever time passes
            uint64_t cycles = read_register(SYSTOLE_REGISTER_RUN_CYCLES);
            check_memory(i);
            accelerator->functions->run(accelerator, 5000);
            ck_assert_uint_eq(read_register(SYSTOLE_REGISTER_RUN_CYCLES), cycles);
        }
        write_register(SYSTOLE_REGISTER_DEBUG_CONTROL, SYSTOLE_DEBUG_CONTROL_GO | SYSTOLE_DEBUG_CONTROL_HOLD);
    }
    ck_assert(frames_event(accelerator, &event, 10000000));
    ck_assert_uint_eq(event.kind, SYSTOLE_EVENT_KIND_RUN_COMPLETE);
    ck_assert_uint_gt(event.cycle, straight);
    check_memory(program.count);
    // Off again, nothing is left of it.
    write_register(SYSTOLE_REGISTER_DEBUG_CONTROL, 0);
    ck_assert(frames_write(accelerator, 0, program.image, program.image_words * target->columns));
    ck_assert(frames_run(accelerator, &program.launch));
    ck_assert(frames_event(accelerator, &event, 10000000));
    ck_assert_uint_eq(event.cycle, straight);
    destroy();
}
END_TEST

START_TEST(frames_and_registers_read_a_held_run) {
    uint8_t word[64], *expected;
    if (!create(_i != 0)) {
        return;
    }
    uint32_t words[] = {0, 17, 2559, program.image_words - 1};
    write_register(SYSTOLE_REGISTER_BREAKPOINT + 8, SYSTOLE_BREAKPOINT_ON_COMMAND | 20);
    ck_assert(frames_run(accelerator, &program.launch));
    run_until_still();
    expected = execute_before(20);
    for (uint32_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        const uint8_t *should = expected + (size_t)words[i] * target->columns;
        ck_assert(frames_read(accelerator, 0, i, words[i], word, target->columns));
        ck_assert_mem_eq(word, should, target->columns);
        write_register(SYSTOLE_REGISTER_DEBUG_ADDRESS, words[i]);
        while ((read_register(SYSTOLE_REGISTER_DEBUG_STATE) & SYSTOLE_DEBUG_STATE_READING) != 0) {
        }
        for (uint32_t at = 0; at < target->columns; at += 8) {
            uint64_t value = read_register(SYSTOLE_REGISTER_DEBUG_DATA + at), piece;
            memcpy(&piece, should + at, sizeof piece);
            ck_assert_uint_eq(value, piece);
        }
    }
    free(expected);
    // A reset ends the run and forgets breakpoints.
    accelerator->functions->reset(accelerator);
    ck_assert_uint_eq(read_register(SYSTOLE_REGISTER_DEBUG_STATE), 0);
    ck_assert_uint_eq(read_register(SYSTOLE_REGISTER_BREAKPOINT + 8), 0);
    destroy();
}
END_TEST

// What fetch would refuse is held before it is refused.
START_TEST(a_bad_command_is_held_first) {
    struct systole_event event;
    if (!create(_i != 0)) {
        return;
    }
    struct systole_command bad = {.header = {.opcode = 0xee}};
    uint32_t word = program.launch.regions[SYSTOLE_REGION_PROGRAM].base + 5 * SYSTOLE_COMMAND_BYTES / target->columns;
    ck_assert(frames_write(accelerator, word, &bad, sizeof bad));
    write_register(SYSTOLE_REGISTER_BREAKPOINT, SYSTOLE_BREAKPOINT_ON_COMMAND | 5);
    ck_assert(frames_run(accelerator, &program.launch));
    run_until_still();
    ck_assert_uint_eq(read_register(SYSTOLE_REGISTER_ERROR), 0);
    write_register(SYSTOLE_REGISTER_DEBUG_CONTROL, SYSTOLE_DEBUG_CONTROL_GO);
    ck_assert(frames_event(accelerator, &event, 100000));
    ck_assert_uint_eq(event.error, SYSTOLE_ERROR_OPCODE);
    ck_assert_uint_eq(event.command, 5);
    destroy();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("debugging");
    TCase *all = tcase_create("all");
    tcase_set_timeout(all, 120);
    tcase_add_loop_test(all, memory_is_that_of_all_commands_before, 0, 2);
    tcase_add_loop_test(all, frames_and_registers_read_a_held_run, 0, 2);
    tcase_add_loop_test(all, a_bad_command_is_held_first, 0, 2);
    suite_add_tcase(suite, all);
    return testing_run(suite, "hw_model/test_debugging");
}
