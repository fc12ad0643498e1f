// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The cycle model: closed forms against sums over the walk they stand for, and what must hold of any schedule.
#include "cycle_model.h"

#include <stdlib.h>
#include <string.h>

#include "random_program.h"
#include "schedule.h"
#include "testing.h"

static uint64_t larger(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

// The array's walk, step by step: while a tile's pixels stream, the next tile's weights are loaded.
static uint64_t walk_conv(const struct systole_target *target, const struct systole_command *command) {
    const struct systole_window *w = &command->body.window;
    bool is_packed = (command->header.flags & SYSTOLE_FLAG_PACKED) != 0;
    uint32_t tiles = is_packed ? (uint32_t)(w->kernel_height + w->segments - 1) / w->segments
                               : (uint32_t)w->kernel_height * w->kernel_width * w->input_tiles;
    uint64_t cycles = SYSTOLE_TIMING_ARRAY_OVERHEAD, pixels_before = 0;
    for (uint32_t row = 0; row < w->output_height; row += w->block_rows) {
        uint32_t rows = w->output_height - row < w->block_rows ? w->output_height - row : w->block_rows;
        for (uint32_t nt = 0; nt < w->output_tiles; nt++) {
            for (uint32_t kt = 0; kt < tiles; kt++) {
                uint64_t words = w->tile_rows;
                uint64_t load = (words + target->weight_port_rows - 1) / target->weight_port_rows;
                load += kt == 0 ? (12 + target->weight_port_rows - 1) / target->weight_port_rows : 0;
                cycles += larger(pixels_before, load);
                pixels_before = (uint64_t)rows * w->output_width;
            }
        }
    }
    return cycles + pixels_before;
}

START_TEST(conv_is_its_walk) {
    for (uint32_t seed = 1; seed <= 40; seed++) {
        struct random_program program;
        const struct systole_target *target = &systole_presets[seed % SYSTOLE_PRESETS];
        ck_assert(random_program_make(&program, target, seed, 60, false, RANDOM_PROGRAM_ALL_UNITS));
        for (uint32_t i = 0; i < program.count; i++) {
            struct systole_command_cycles cycles = systole_command_cycles(target, &program.commands[i]);
            ck_assert_uint_ge(cycles.latency, cycles.occupancy);
            ck_assert_uint_ge(cycles.occupancy, 1);
            if (program.commands[i].header.opcode == SYSTOLE_OPCODE_CONV) {
                ck_assert_uint_eq(cycles.occupancy, walk_conv(target, &program.commands[i]));
            }
        }
        random_program_free(&program);
    }
}
END_TEST

// 14 x 14 pixels of 64 channels to 96, 1 x 1, on 16 x 16: 6 * 4 tiles of 196 pixels.
START_TEST(known_conv) {
    struct systole_command command;
    memset(&command, 0, sizeof command);
    command.header.opcode = SYSTOLE_OPCODE_CONV;
    command.body.window = (struct systole_window){.input_tiles = 4,
                                                  .kernel_height = 1,
                                                  .kernel_width = 1,
                                                  .output_height = 14,
                                                  .output_width = 14,
                                                  .output_tiles = 6,
                                                  .block_rows = 14,
                                                  .tile_rows = 16};
    uint64_t expected = SYSTOLE_TIMING_ARRAY_OVERHEAD + 7 + 24 * 196;
    ck_assert_uint_eq(systole_command_cycles(&systole_presets[0], &command).occupancy, expected);
    // A fully connected layer of one pixel is its weights: 4 cycles a tile, 7 with the record.
    command.body.window.output_height = command.body.window.output_width = command.body.window.block_rows = 1;
    expected = SYSTOLE_TIMING_ARRAY_OVERHEAD + 6 * (7 + 3 * 4) + 1;
    ck_assert_uint_eq(systole_command_cycles(&systole_presets[0], &command).occupancy, expected);
}
END_TEST

START_TEST(known_vectors) {
    struct systole_command command;
    memset(&command, 0, sizeof command);
    command.header.opcode = SYSTOLE_OPCODE_DEPTHWISE;
    command.body.window = (struct systole_window){
        .kernel_height = 3, .kernel_width = 3, .output_height = 10, .output_width = 10, .output_tiles = 2};
    // 9 taps in threes; the second tile's 21 words of parameters come behind the first tile's pixels.
    ck_assert_uint_eq(systole_command_cycles(&systole_presets[0], &command).occupancy,
                      SYSTOLE_TIMING_DEPTHWISE_OVERHEAD + 21 + 2 * 300);
    command.header.opcode = SYSTOLE_OPCODE_AVERAGE_POOL;
    struct systole_command_cycles cycles = systole_command_cycles(&systole_presets[2], &command);
    ck_assert_uint_eq(cycles.occupancy, SYSTOLE_TIMING_DEPTHWISE_OVERHEAD + 2 * 100);
    ck_assert_uint_eq(cycles.latency - cycles.occupancy,
                      SYSTOLE_TIMING_DEPTHWISE_FILL + SYSTOLE_TIMING_AVERAGE_FILL + 1);
    memset(&command, 0, sizeof command);
    command.header.opcode = SYSTOLE_OPCODE_ADD;
    command.body.elementwise = (struct systole_elementwise){.height = 5, .width = 7, .tiles = 3};
    ck_assert_uint_eq(systole_command_cycles(&systole_presets[0], &command).occupancy,
                      SYSTOLE_TIMING_ELEMENTWISE_OVERHEAD + 105);
}
END_TEST

static uint64_t end_of(const struct random_program *program, const uint64_t *end, uint32_t unit, uint32_t count) {
    for (uint32_t i = 0; i < program->count; i++) {
        if (program->commands[i].header.unit == unit && --count == 0) {
            return end[i];
        }
    }
    ck_abort_msg("token beyond the program");
}

// Alone, a command takes no less than its closed form. Only the array may be quicker: its loader runs ahead of pixels
// by more than the one tile of the form; but each vector takes its cycle.
START_TEST(closed_forms_are_lower_bounds) {
    for (uint32_t seed = 1; seed <= 40; seed++) {
        struct random_program program;
        const struct systole_target *target = &systole_presets[seed % SYSTOLE_PRESETS];
        ck_assert(random_program_make(&program, target, seed, 60, false, RANDOM_PROGRAM_ALL_UNITS));
        for (uint32_t i = 0; i < program.count; i++) {
            struct systole_command alone = program.commands[i];
            alone.header.wait0 = alone.header.wait1 = alone.header.wait2 = alone.header.wait3 = 0;
            uint64_t start, end;
            systole_schedule_cycles(target, &alone, 1, &start, &end, NULL);
            if (alone.header.opcode == SYSTOLE_OPCODE_CONV) {
                const struct systole_window *w = &alone.body.window;
                uint64_t pixels = (uint64_t)w->output_height * w->output_width * w->output_tiles;
                ck_assert_uint_ge(end - start, pixels + target->rows + target->columns);
            } else {
                ck_assert_uint_ge(end - start, systole_command_cycles(target, &alone).latency);
            }
        }
        random_program_free(&program);
    }
}
END_TEST

// Rows of 16 words in 16 banks, tiles a bank apart: nothing meets, and the closed form is exact.
START_TEST(without_conflicts_they_are_exact) {
    const struct systole_target *target = &systole_presets[0];
    struct systole_command command;
    uint64_t start, end;
    memset(&command, 0, sizeof command);
    command.header.opcode = SYSTOLE_OPCODE_CONV;
    command.header.unit = SYSTOLE_UNIT_ARRAY;
    command.body.window = (struct systole_window){.input_row_stride = 16,
                                                  .input_pixel_stride = 1,
                                                  .input_height = 16,
                                                  .input_width = 16,
                                                  .input_tiles = 1,
                                                  .kernel_height = 1,
                                                  .kernel_width = 1,
                                                  .stride_y = 1,
                                                  .stride_x = 1,
                                                  .dilation_y = 1,
                                                  .dilation_x = 1,
                                                  .output_address = 4096,
                                                  .output_row_stride = 16,
                                                  .output_pixel_stride = 1,
                                                  .output_height = 16,
                                                  .output_width = 16,
                                                  .output_tiles = 1,
                                                  .block_rows = 16,
                                                  .tile_rows = 16,
                                                  .parameter_address = 8192};
    systole_schedule_cycles(target, &command, 1, &start, &end, NULL);
    // docs/rtl.md: 3 + R + L to the first vector, 2N + 6 from the last to its write, which tokens see 2 cycles later.
    ck_assert_uint_eq(end - start, (3 + 3 + 4) + 255 + (32 + 6) + 2);
    ck_assert_uint_eq(end - start, systole_command_cycles(target, &command).latency);
    // Two taps that meet in a bank: one more cycle a word. Rows of 16 words under each other do, of 17 do not.
    command.header.opcode = SYSTOLE_OPCODE_MAX_POOL;
    command.header.unit = SYSTOLE_UNIT_DEPTHWISE;
    command.body.window.kernel_height = 2;
    command.body.window.output_height = 15;
    command.body.window.output_row_stride = 17;
    systole_schedule_cycles(target, &command, 1, &start, &end, NULL);
    ck_assert_uint_ge(end - start, 2 * 240);
    command.body.window.input_row_stride = 17;
    systole_schedule_cycles(target, &command, 1, &start, &end, NULL);
    ck_assert_uint_lt(end - start, 240 * 17 / 16 + 64);
}
END_TEST

// In order on each unit, no start before its tokens, room in the queues, every cycle counted once.
START_TEST(schedules_are_legal) {
    struct random_program program;
    const struct systole_target *target = &systole_presets[_i % (int)SYSTOLE_PRESETS];
    ck_assert(random_program_make(&program, target, 500 + (uint32_t)_i, 120, _i % 2 == 0, RANDOM_PROGRAM_ALL_UNITS));
    uint64_t *start = calloc(program.count, sizeof *start), *end = calloc(program.count, sizeof *end), last = 0;
    uint64_t counters[SYSTOLE_UNITS][SYSTOLE_COUNTER_KINDS];
    uint64_t total = systole_schedule_cycles(target, program.commands, program.count, start, end, counters);
    ck_assert_uint_eq(total, systole_schedule_cycles(target, program.commands, program.count, NULL, NULL, NULL));
    uint32_t previous[SYSTOLE_UNITS];
    memset(previous, 0xff, sizeof previous);
    for (uint32_t i = 0; i < program.count; i++) {
        const struct systole_command_header *header = &program.commands[i].header;
        const uint32_t waits[] = {header->wait0, header->wait1, header->wait2, header->wait3};
        ck_assert_uint_gt(end[i], start[i]);
        ck_assert_uint_ge(start[i], (i + 1) * systole_fetch_cycles(target));
        for (uint32_t k = 0; k < 4; k++) {
            if ((waits[k] & 0xffffff) != 0) {
                ck_assert_uint_ge(start[i], end_of(&program, end, waits[k] >> 24 & 15, waits[k] & 0xffffff));
            }
        }
        uint32_t before = previous[header->unit];
        if (before != UINT32_MAX) {
            ck_assert_uint_gt(end[i], end[before]);
            ck_assert_uint_gt(start[i], start[before]);
        }
        previous[header->unit] = i;
        last = larger(last, end[i]);
    }
    ck_assert_uint_eq(total, last + SYSTOLE_TIMING_COMPLETE);
    for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
        uint64_t sum = 0;
        for (uint32_t kind = 0; kind < SYSTOLE_COUNTER_KINDS; kind++) {
            sum += counters[u][kind];
        }
        ck_assert_uint_eq(sum, total);
    }
    free(end);
    free(start);
    random_program_free(&program);
}
END_TEST

// A wait that can never be ends the replay instead of hanging it.
START_TEST(impossible_waits_end) {
    struct systole_command commands[3];
    memset(commands, 0, sizeof commands);
    for (uint32_t i = 0; i < 3; i++) {
        commands[i].header.opcode = SYSTOLE_OPCODE_NOP;
        commands[i].header.unit = (uint8_t)i;
        commands[i].header.wait0 = (i + 1) % 3 << 24 | 1;
    }
    ck_assert_uint_lt(systole_schedule_cycles(&systole_presets[0], commands, 3, NULL, NULL, NULL), 1000);
    ck_assert_uint_eq(systole_schedule_cycles(&systole_presets[0], commands, 0, NULL, NULL, NULL),
                      SYSTOLE_TIMING_COMPLETE);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cycle_model");
    TCase *cycles = tcase_create("cycles");
    tcase_set_timeout(cycles, 60);
    tcase_add_test(cycles, conv_is_its_walk);
    tcase_add_test(cycles, known_conv);
    tcase_add_test(cycles, known_vectors);
    tcase_add_test(cycles, closed_forms_are_lower_bounds);
    tcase_add_test(cycles, without_conflicts_they_are_exact);
    tcase_add_loop_test(cycles, schedules_are_legal, 0, 30);
    tcase_add_test(cycles, impossible_waits_end);
    suite_add_tcase(suite, cycles);
    return testing_run(suite, "common/test_cycle_model");
}
