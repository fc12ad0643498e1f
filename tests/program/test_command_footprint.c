// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The footprint against the walk itself: every word that the loops of docs/architecture.md touch is listed one by one.
#include "program/command_footprint.h"

#include <stdlib.h>
#include <string.h>

#include "target.h"
#include "testing.h"

#define WORDS 4096

static bool box_holds(const struct systole_word_box *box, uint32_t word) {
    for (uint32_t i = 0; i < box->count[0]; i++) {
        for (uint32_t j = 0; j < box->count[1]; j++) {
            for (uint32_t k = 0; k < box->count[2]; k++) {
                if (box->offset + i * box->stride[0] + j * box->stride[1] + k * box->stride[2] == word) {
                    return true;
                }
            }
        }
    }
    return false;
}

// Marks the words that a window's input walk reads, element by element.
static void walk_input(const struct systole_target *target, const struct systole_command *command, bool *touched) {
    const struct systole_window *w = &command->body.window;
    bool packed = (command->header.flags & SYSTOLE_FLAG_PACKED) != 0;
    uint32_t tiles = command->header.opcode == SYSTOLE_OPCODE_CONV ? w->input_tiles : w->output_tiles;
    int taps_x = packed ? w->segment_bytes : w->kernel_width;
    for (int oy = 0; oy < w->output_height; oy++) {
        for (int ox = 0; ox < w->output_width; ox++) {
            for (int ky = 0; ky < w->kernel_height; ky++) {
                int y = w->origin_y + oy * w->stride_y + ky * w->dilation_y;
                for (int tap = 0; y >= 0 && y < w->input_height && tap < taps_x; tap++) {
                    uint32_t row = (w->input_address & 0x0FFFFFFF) + (uint32_t)y * w->input_row_stride;
                    if (packed) {
                        int byte = (w->origin_x + ox * w->stride_x) * w->input_pixel_stride + tap;
                        if (byte >= 0 && byte < w->input_width * w->input_pixel_stride) {
                            touched[row + (uint32_t)byte / target->columns] = true;
                        }
                        continue;
                    }
                    int x = w->origin_x + ox * w->stride_x + tap * w->dilation_x;
                    for (uint32_t t = 0; x >= 0 && x < w->input_width && t < tiles; t++) {
                        touched[row + (uint32_t)x * w->input_pixel_stride + t * w->input_tile_stride] = true;
                    }
                }
            }
        }
    }
}

static void random_window(uint32_t *seed, struct systole_command *command) {
    memset(command, 0, sizeof *command);
    struct systole_window *w = &command->body.window;
    bool packed = testing_range(seed, 0, 3) == 0;
    command->header.opcode = packed || testing_range(seed, 0, 1) ? SYSTOLE_OPCODE_CONV : SYSTOLE_OPCODE_DEPTHWISE;
    command->header.flags = packed ? SYSTOLE_FLAG_PACKED : 0;
    w->input_height = (uint16_t)testing_range(seed, 1, 9);
    w->input_width = (uint16_t)testing_range(seed, 1, 9);
    w->input_tiles = packed ? 1 : (uint16_t)testing_range(seed, 1, 3);
    w->input_pixel_stride = (uint16_t)testing_range(seed, 1, 5);
    w->input_row_stride = (uint32_t)testing_range(seed, 0, 60);
    w->input_tile_stride = (uint32_t)testing_range(seed, 0, 600);
    w->input_address = (uint32_t)SYSTOLE_REGION_INPUT << 28 | (uint32_t)testing_range(seed, 0, 100);
    w->origin_y = (int16_t)testing_range(seed, -12, 10);
    w->origin_x = (int16_t)testing_range(seed, -12, 10);
    w->kernel_height = (uint8_t)testing_range(seed, 1, 4);
    w->kernel_width = (uint8_t)testing_range(seed, 1, 4);
    w->stride_y = (uint8_t)testing_range(seed, 1, 4);
    w->stride_x = (uint8_t)testing_range(seed, 1, 4);
    w->dilation_y = (uint8_t)testing_range(seed, 1, 3);
    w->dilation_x = packed ? 1 : (uint8_t)testing_range(seed, 1, 3);
    w->segments = packed ? (uint8_t)testing_range(seed, 1, 4) : 0;
    w->segment_bytes = packed ? (uint8_t)testing_range(seed, 1, 16) : 0;
    w->output_height = (uint16_t)testing_range(seed, 1, 6);
    w->output_width = (uint16_t)testing_range(seed, 1, 6);
    w->output_tiles = (uint16_t)testing_range(seed, 1, 3);
    w->output_pixel_stride = 1;
    w->output_row_stride = 8;
    w->output_tile_stride = 64;
    w->output_address = (uint32_t)SYSTOLE_REGION_OUTPUT << 28;
    w->parameter_address = (uint32_t)SYSTOLE_REGION_PARAMETERS << 28;
    w->tile_rows = 16;
    w->block_rows = 1;
}

START_TEST(input_box_is_the_walk_and_its_extremes_are_touched) {
    const struct systole_target *target = &systole_presets[0];
    uint32_t seed = 20231;
    for (int round = 0; round < 3000; round++) {
        struct systole_command command;
        struct systole_footprint footprint;
        static bool touched[WORDS];
        memset(touched, 0, sizeof touched);
        random_window(&seed, &command);
        walk_input(target, &command, touched);
        systole_command_footprint(target, &command, &footprint);
        const struct systole_word_box *box = &footprint.boxes[0];
        bool reads = !box->is_write && box->region == SYSTOLE_REGION_INPUT;
        uint32_t first = 0;
        uint32_t last = 0;
        bool any = false;
        for (uint32_t word = 0; word < WORDS; word++) {
            if (touched[word]) {
                ck_assert(reads);
                ck_assert(box_holds(box, word));
                first = any ? first : word;
                last = word;
                any = true;
            }
        }
        ck_assert_int_eq(any, reads);
        if (any) {
            ck_assert_uint_eq(box->offset, first);
            ck_assert_uint_eq(box->last, last);
        }
    }
}
END_TEST

static void random_box(uint32_t *seed, struct systole_word_box *box, bool tidy, const struct systole_word_box *like) {
    memset(box, 0, sizeof *box);
    box->offset = (uint32_t)testing_range(seed, 0, 150);
    box->last = box->offset;
    for (int i = 0; i < 3; i++) {
        box->count[i] = (uint32_t)testing_range(seed, 1, 5);
        box->stride[i] = like != NULL ? like->stride[i]
                         : tidy       ? (uint32_t)(i == 0   ? 1
                                                   : i == 1 ? testing_range(seed, 5, 9)
                                                            : testing_range(seed, 45, 60))
                                      : (uint32_t)testing_range(seed, 0, 40);
        box->last += (uint64_t)(box->count[i] - 1) * box->stride[i];
    }
}

START_TEST(overlap_is_exact) {
    uint32_t seed = 7;
    int shared = 0;
    for (int round = 0; round < 20000; round++) {
        struct systole_word_box a;
        struct systole_word_box b;
        bool tidy = round % 3 != 0;
        random_box(&seed, &a, tidy, NULL);
        random_box(&seed, &b, tidy, round % 2 ? &a : NULL);
        bool expected = false;
        for (uint32_t word = b.offset; word <= b.last && !expected; word++) {
            expected = box_holds(&b, word) && box_holds(&a, word);
        }
        ck_assert_int_eq(systole_boxes_overlap(&a, &b), expected);
        ck_assert_int_eq(systole_boxes_overlap(&b, &a), expected);
        shared += expected;
        b.region = 1;
        ck_assert(!systole_boxes_overlap(&a, &b));
    }
    ck_assert_int_gt(shared, 1000);
    ck_assert_int_lt(shared, 19000);
}
END_TEST

START_TEST(parameter_streams) {
    struct systole_target target = systole_presets[0];
    struct systole_command command;
    memset(&command, 0, sizeof command);
    struct systole_window *w = &command.body.window;
    w->kernel_height = 3;
    w->kernel_width = 5;
    w->input_tiles = 2;
    w->output_tiles = 4;
    w->tile_rows = 16;
    command.header.opcode = SYSTOLE_OPCODE_CONV;
    ck_assert_uint_eq(systole_command_parameter_words(&target, &command), 4 * (12 + 30 * 16));
    command.header.flags = SYSTOLE_FLAG_PACKED;
    w->segments = 2;
    ck_assert_uint_eq(systole_command_parameter_words(&target, &command), 4 * (12 + 2 * 16));
    command.header.opcode = SYSTOLE_OPCODE_DEPTHWISE;
    ck_assert_uint_eq(systole_command_parameter_words(&target, &command), 4 * 28);
    target.weight_port_rows = 16;
    ck_assert_uint_eq(systole_command_parameter_words(&target, &command), 4 * 32);
    command.header.opcode = SYSTOLE_OPCODE_MAX_POOL;
    ck_assert_uint_eq(systole_command_parameter_words(&target, &command), 0);
}
END_TEST

START_TEST(conflicts_between_and_within_units) {
    const struct systole_target *target = &systole_presets[0];
    struct systole_command load;
    struct systole_command store;
    struct systole_footprint writes;
    struct systole_footprint reads;
    memset(&load, 0, sizeof load);
    load.header.opcode = SYSTOLE_OPCODE_LOAD;
    load.body.transfer.address = (uint32_t)SYSTOLE_REGION_ACTIVATIONS << 28 | 10;
    load.body.transfer.words = 5;
    store = load;
    store.header.opcode = SYSTOLE_OPCODE_STORE;
    systole_command_footprint(target, &load, &writes);
    systole_command_footprint(target, &store, &reads);
    ck_assert(systole_footprints_conflict(&writes, &reads, false));
    ck_assert(systole_footprints_conflict(&reads, &writes, false));
    ck_assert(systole_footprints_conflict(&writes, &writes, false));
    ck_assert(!systole_footprints_conflict(&reads, &reads, false));
    ck_assert(systole_footprints_conflict(&writes, &reads, true));
    ck_assert(!systole_footprints_conflict(&reads, &writes, true));
    ck_assert(!systole_footprints_conflict(&writes, &writes, true));
    store.body.transfer.address += 5;
    systole_command_footprint(target, &store, &reads);
    ck_assert(!systole_footprints_conflict(&writes, &reads, false));
}
END_TEST

START_TEST(any_bytes_are_a_command) {
    uint32_t seed = 99;
    for (int round = 0; round < 20000; round++) {
        struct systole_command command;
        struct systole_command other;
        struct systole_footprint footprint;
        struct systole_footprint second;
        static const uint8_t opcodes[] = {0x01, 0x10, 0x11, 0x20, 0x30, 0x31, 0x32, 0x33, 0x40, 0x41, 0x77};
        for (size_t i = 0; i < sizeof command; i++) {
            ((uint8_t *)&command)[i] = (uint8_t)testing_random(&seed);
            ((uint8_t *)&other)[i] = (uint8_t)testing_random(&seed);
        }
        command.header.opcode = opcodes[testing_random(&seed) % sizeof opcodes];
        other.header.opcode = opcodes[testing_random(&seed) % sizeof opcodes];
        if (round % 4 == 0) {
            memset(&command.body, round % 8 == 0 ? 0 : 0xFF, sizeof command.body);
        }
        systole_command_footprint(&systole_presets[round % 3], &command, &footprint);
        systole_command_footprint(&systole_presets[round % 3], &other, &second);
        ck_assert_uint_le(footprint.count, SYSTOLE_FOOTPRINT_BOXES);
        for (uint32_t i = 0; i < footprint.count; i++) {
            ck_assert_uint_ge(footprint.boxes[i].last, footprint.boxes[i].offset);
        }
        (void)systole_footprints_conflict(&footprint, &second, false);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("command_footprint");
    TCase *tests = tcase_create("all");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, input_box_is_the_walk_and_its_extremes_are_touched);
    tcase_add_test(tests, overlap_is_exact);
    tcase_add_test(tests, parameter_streams);
    tcase_add_test(tests, conflicts_between_and_within_units);
    tcase_add_test(tests, any_bytes_are_a_command);
    suite_add_tcase(suite, tests);
    return testing_run(suite, "program/command_footprint");
}
