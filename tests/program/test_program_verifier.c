// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A legal program, and one change at a time that makes it illegal: the verifier must see it and name it.
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "program/command_footprint.h"
#include "sample_program.h"
#include "testing.h"

static struct systole_program program;
static struct systole_command *commands;
static struct systole_segment *segment;

static void set_up(void) {
    sample_program(&program);
    segment = &program.segments[0];
    commands = segment->commands;
}

static void tear_down(void) {
    systole_program_free(&program);
}

static void check_good(void) {
    struct systole_diagnostic diagnostic = {"", "", ""};
    enum systole_status status = systole_program_verify(&program, &diagnostic);
    ck_assert_msg(status == SYSTOLE_OK, "%s", diagnostic.what);
}

static void check_bad(const char *expected) {
    struct systole_diagnostic diagnostic = {"", "", ""};
    ck_assert_int_eq(systole_program_verify(&program, &diagnostic), SYSTOLE_BAD_FILE);
    ck_assert_msg(strstr(diagnostic.what, expected) != NULL, "'%s' does not say '%s'", diagnostic.what, expected);
    ck_assert_str_eq(diagnostic.where, "sample.tflite");
}

// Makes a change, expects the text, takes the change back.
#define BAD(lvalue, value, expected)                                                                                   \
    do {                                                                                                               \
        __typeof__(lvalue) saved = (lvalue);                                                                           \
        (lvalue) = (__typeof__(lvalue))(value);                                                                        \
        check_bad(expected);                                                                                           \
        (lvalue) = saved;                                                                                              \
        check_good();                                                                                                  \
    } while (0)

START_TEST(fields) {
    struct systole_window *conv = &commands[0].body.window;
    BAD(commands[0].header.opcode, 0, "command 0 (?, operator 0): field opcode is 0x00");
    BAD(commands[0].header.opcode, 0x55, "field opcode is 0x55");
    BAD(commands[0].header.unit, SYSTOLE_UNIT_LOAD, "field unit is load, must be array");
    BAD(commands[0].header.unit, 7, "field unit is 7");
    BAD(commands[0].header.core, 1, "field core");
    BAD(commands[0].header.reserved0, 1, "field reserved0");
    BAD(commands[0].header.flags, 0x80, "field flags");
    BAD(commands[3].body.bytes[103], 1, "command 3 (conv, operator 3): reserved byte 127");
    BAD(conv->output_tiles, 0, "field output_tiles is 0, must be 1 to 65535");
    BAD(conv->kernel_height, 0, "field kernel_height");
    BAD(conv->input_row_stride, 1 << 24, "field input_row_stride");
    BAD(conv->input_zero_point, 255, "field input_zero_point is 255, its bytes hold -128 to 127");
    BAD(conv->weight_zero_point, 200, "field weight_zero_point");
    BAD(conv->output_zero_point, 128, "field output_zero_point");
    BAD(conv->clamp_min, 128, "field clamp_min");
    BAD(conv->clamp_max, 200, "field clamp_max");
    BAD(conv->input_address, (uint32_t)SYSTOLE_REGION_HOST << 28, "field input_address lies in region host");
    BAD(conv->parameter_address, conv->parameter_address + 1, "field parameter_address is word 1");
    BAD(conv->segments, 1, "fields segments");
    BAD(commands[1].body.window.tile_rows, 4, "must be 0 except in conv");
    BAD(commands[1].header.flags, SYSTOLE_FLAG_PACKED, "flag packed");
    BAD(commands[2].header.flags, SYSTOLE_FLAG_PACKED, "flag packed");
    BAD(commands[2].body.elementwise.left_shift, 25, "field left_shift");
    BAD(commands[2].body.elementwise.input2_zero_point, 200, "field input2_zero_point");
}
END_TEST

START_TEST(array_limits) {
    struct systole_window *conv = &commands[0].body.window;
    BAD(conv->block_rows, 0, "field block_rows is 0");
    BAD(conv->block_rows, 65, "field block_rows is 65, with output_width 8 beyond the 512 accumulators");
    conv->block_rows = 64; // 512 sums: the last legal value
    check_good();
    BAD(conv->tile_rows, 0, "field tile_rows");
    BAD(conv->tile_rows, 6, "field tile_rows is 6, must be a multiple of 4");
    BAD(conv->tile_rows, 20, "field tile_rows");
    commands[1].body.window.kernel_width = 86; // 258 taps
    check_bad("at most 256 taps");
}
END_TEST

START_TEST(packed_limits) {
    // The same bytes as rows of one channel, eight to a row: a word a row.
    struct systole_window *conv = &commands[0].body.window;
    commands[0].header.flags = SYSTOLE_FLAG_PACKED;
    conv->input_row_stride = 1;
    conv->segments = 3;
    conv->segment_bytes = 3;
    check_good();
    BAD(conv->segments, 0, "segments and segment_bytes are 0 x 3");
    BAD(conv->segment_bytes, 6, "must fill 1 to 16 lanes");
    BAD(conv->input_tiles, 2, "must be 1 when packed");
    BAD(conv->dilation_x, 2, "must be 1 when packed");
    // Two words a row: rows of 17 bytes; 8 rows with a stride of 8 words end at word 57, and 63 is the last.
    conv->input_row_stride = 8;
    conv->input_width = 17;
    conv->stride_x = 3;
    check_good();
    BAD(conv->input_row_stride, 9, "field input_address reaches word 64 of region input, which has 64");
}
END_TEST

START_TEST(addresses) {
    struct systole_window *conv = &commands[0].body.window;
    struct systole_elementwise *add = &commands[2].body.elementwise;
    BAD(conv->input_address, conv->input_address + 1, "field input_address reaches word 64 of region input");
    BAD(conv->input_tiles, 2, "field input_address reaches word 127");
    BAD(conv->output_address, conv->output_address + 129, "field output_address reaches word 192");
    BAD(conv->parameter_address, conv->parameter_address + 56, "field parameter_address reaches word 211");
    BAD(conv->output_tiles, 2, "field parameter_address reaches word 311");
    BAD(conv->output_address, (uint32_t)SYSTOLE_REGION_PROGRAM << 28, "field output_address reaches word 63");
    BAD(conv->output_address, (uint32_t)SYSTOLE_REGION_PARAMETERS << 28, "writes region parameters");
    BAD(add->input2_row_stride, 26, "field input2_address reaches word 253");
    BAD(add->output_row_stride, 11, "field output_address reaches word 84");
    BAD(commands[4].body.window.output_row_stride, 5, "field output_address reaches word 82 of region output");
    conv->output_tile_stride = 0xFFFFFF; // one tile: never added
    check_good();
    add->input_row_stride = 0; // broadcast along an axis
    add->input_pixel_stride = 0;
    add->input2_tile_stride = 0;
    add->tiles = 1;
    check_good();
}
END_TEST

START_TEST(tokens) {
    BAD(commands[0].header.wait0, sample_wait(SYSTOLE_UNIT_ARRAY, 1), "waits for 1 commands of unit array, before it");
    BAD(commands[0].header.wait3, sample_wait(SYSTOLE_UNIT_DEPTHWISE, 1), "field wait3 waits for 1");
    BAD(commands[4].header.wait1, sample_wait(SYSTOLE_UNIT_ARRAY, 3),
        "waits for 3 commands of unit array, before it "
        "are only 2");
    BAD(commands[4].header.wait1, sample_wait((enum systole_unit)9, 1), "field wait1 names unit 9");
    BAD(commands[4].header.wait1, 1u << 28 | sample_wait(SYSTOLE_UNIT_ARRAY, 1), "of core 1");
    commands[4].header.wait2 = sample_wait(SYSTOLE_UNIT_DEPTHWISE, 1); // its own unit, earlier
    check_good();
}
END_TEST

START_TEST(hazards_between_units) {
    // Read after write, each through a different pair of units.
    BAD(commands[1].header.wait0, 0, "command 1 (depthwise, operator 1): touches words of command 0 (unit array)");
    BAD(commands[2].header.wait0, sample_wait(SYSTOLE_UNIT_ARRAY, 1), "touches words of command 1 (unit depthwise)");
    BAD(commands[2].header.wait0, 0, "command 2 (add");
    BAD(commands[3].header.wait0, sample_wait(SYSTOLE_UNIT_ELEMENTWISE, 0), "command 3 (conv");
    BAD(commands[4].header.wait0, sample_wait(SYSTOLE_UNIT_ARRAY, 1), "touches words of command 3");
    // Write after read: the second convolution over the first map, which the addition still reads.
    commands[3].body.window.output_address = (uint32_t)SYSTOLE_REGION_ACTIVATIONS << 28;
    commands[4].body.window.input_address = (uint32_t)SYSTOLE_REGION_ACTIVATIONS << 28;
    segment->tensors[2].placement.address = (uint32_t)SYSTOLE_REGION_ACTIVATIONS << 28;
    check_bad("command 3 (conv, operator 3): touches words of command 2 (unit elementwise)");
    commands[3].header.wait1 = sample_wait(SYSTOLE_UNIT_ELEMENTWISE, 1);
    check_good();
    // Write after write: the pooling over the addition's result.
    commands[4].body.window.output_address = (uint32_t)SYSTOLE_REGION_OUTPUT << 28;
    commands[4].header.wait0 = sample_wait(SYSTOLE_UNIT_ARRAY, 2);
    check_good(); // ordered through the convolution, which waited for the addition
    commands[3].header.wait1 = 0;
    commands[3].body.window.output_address = (uint32_t)SYSTOLE_REGION_ACTIVATIONS << 28 | 128;
    commands[4].body.window.input_address = (uint32_t)SYSTOLE_REGION_ACTIVATIONS << 28 | 128;
    check_bad("command 4 (max_pool, operator 4): touches words of command 2 (unit elementwise)");
}
END_TEST

START_TEST(hazards_of_one_unit) {
    // The second convolution reads what the first wrote: it needs a token of its own unit.
    commands[3].body.window.input_address = (uint32_t)SYSTOLE_REGION_ACTIVATIONS << 28;
    commands[3].header.wait0 = 0;
    check_bad("command 3 (conv, operator 3): touches words of command 0 (unit array)");
    commands[3].header.wait2 = sample_wait(SYSTOLE_UNIT_ARRAY, 1);
    check_good();
    commands[3].header.wait2 = sample_wait(SYSTOLE_UNIT_DEPTHWISE, 1); // says the same: it waited for the array
    check_good();
}
END_TEST

START_TEST(hazards_within_a_command) {
    BAD(commands[0].body.window.input_address, (uint32_t)SYSTOLE_REGION_ACTIVATIONS << 28,
        "field output_address writes words that input_address still reads");
    struct systole_elementwise *add = &commands[2].body.elementwise;
    BAD(add->output_address, add->input_address + 1, "field output_address writes words that input");
    add->output_address = add->input_address; // in place, word for word
    check_good();
    add->input_row_stride = 0; // but not over an operand that is read again
    check_bad("field output_address writes words that input_address still reads");
}
END_TEST

START_TEST(transfers) {
    struct systole_command *load = &commands[0];
    memset(load, 0, sizeof *load);
    load->header.opcode = SYSTOLE_OPCODE_LOAD;
    load->header.unit = SYSTOLE_UNIT_LOAD;
    load->body.transfer.address = (uint32_t)SYSTOLE_REGION_ACTIVATIONS << 28;
    load->body.transfer.words = 64;
    load->body.transfer.host_address = (uint32_t)SYSTOLE_REGION_PARAMETERS << 28;
    commands[1].header.wait0 = sample_wait(SYSTOLE_UNIT_LOAD, 1);
    commands[4].header.wait0 = sample_wait(SYSTOLE_UNIT_ARRAY, 1);
    check_good();
    BAD(load->body.transfer.words, 0, "field words");
    BAD(load->body.transfer.words, 193, "field address reaches word 192");
    BAD(load->body.transfer.host_address, load->body.transfer.host_address + 145, "reaches word 208 on the host");
    BAD(load->body.transfer.host_address, (uint32_t)SYSTOLE_REGION_INPUT << 28, "field host_address lies in region");
    BAD(load->body.transfer.host_address, (uint32_t)SYSTOLE_REGION_HOST << 28, "which keeps 0");
    BAD(load->body.transfer.address, (uint32_t)SYSTOLE_REGION_PROGRAM << 28, "region program");
    segment->region_words[SYSTOLE_REGION_HOST] = 64;
    load->body.transfer.host_address = (uint32_t)SYSTOLE_REGION_HOST << 28;
    check_good();
}
END_TEST

START_TEST(segments_and_steps) {
    BAD(segment->region_words[SYSTOLE_REGION_PROGRAM], 39, "region program has 39 words for 5 commands");
    BAD(segment->region_words[SYSTOLE_REGION_PARAMETERS], 207, "region parameters has 207 words for 208");
    BAD(segment->region_words[SYSTOLE_REGION_ACTIVATIONS], 524288, "its regions need");
    BAD(segment->outputs[1].placement.row_stride, 6, "output 1 (tensor 5) reaches outside region output");
    BAD(segment->outputs[0].placement.height, 0, "placement that is none");
    BAD(segment->inputs[0].placement.layout, 2, "placement that is none");
    BAD(segment->inputs[0].placement.channels, 0xFFFFFFFF, "outside region input");
    segment->inputs[0].placement.tile_stride = 0xFFFFFFFF; // one tile: not used
    check_good();
}
END_TEST

START_TEST(boxes_of_commands) {
    BAD(segment->info[0].tensor_index, 77, "writes tensor 77");
    BAD(segment->info[0].y1, 9, "writes a box outside tensor 1");
    BAD(segment->info[4].c1, 17, "writes a box outside tensor 5");
    BAD(segment->info[4].x0, 5, "writes a box outside tensor 5");
    segment->info[0].tensor_index = -1;
    check_good();
    BAD(program.steps[1].index, 6, "step 1 runs operator 6");
    BAD(program.steps[0].index, 1, "step 0 runs segment 1");
    BAD(program.steps[0].place, 2, "step 0");
    BAD(program.operators[2].segment, 1, "operator 2 is in segment 1");
    BAD(program.target.taps, 0, "taps");
}
END_TEST

// Every program of random tokens is judged as by the plain definition: the order is the transitive closure of waits
// and of starts in a unit's order, computed edge by edge.
#define RANDOM_COMMANDS 12u

static bool reference_is_ordered(const bool retired_before_start[RANDOM_COMMANDS][RANDOM_COMMANDS],
                                 const struct systole_footprint *footprints) {
    for (uint32_t later = 0; later < RANDOM_COMMANDS; later++) {
        for (uint32_t earlier = 0; earlier < later; earlier++) {
            bool same = commands[earlier].header.unit == commands[later].header.unit;
            if (!retired_before_start[earlier][later] &&
                systole_footprints_conflict(&footprints[earlier], &footprints[later], same)) {
                return false;
            }
        }
    }
    return true;
}

START_TEST(random_tokens) {
    static const enum systole_unit units[] = {SYSTOLE_UNIT_LOAD, SYSTOLE_UNIT_STORE, SYSTOLE_UNIT_ELEMENTWISE};
    free(segment->commands);
    free(segment->info);
    segment->info = NULL;
    segment->command_count = RANDOM_COMMANDS;
    commands = segment->commands = calloc(RANDOM_COMMANDS, sizeof *commands);
    ck_assert_ptr_nonnull(commands);
    segment->region_words[SYSTOLE_REGION_PROGRAM] = RANDOM_COMMANDS * 8;
    segment->region_words[SYSTOLE_REGION_HOST] = 64;
    uint32_t seed = 31;
    int good = 0;
    int bad = 0;
    for (int round = 0; round < 20000; round++) {
        struct systole_footprint footprints[RANDOM_COMMANDS];
        bool before[RANDOM_COMMANDS][RANDOM_COMMANDS] = {{false}};
        uint32_t queued[SYSTOLE_UNITS] = {0};
        uint32_t place[RANDOM_COMMANDS] = {0};
        int density = testing_range(&seed, 0, 3);
        memset(commands, 0, RANDOM_COMMANDS * sizeof *commands);
        for (uint32_t i = 0; i < RANDOM_COMMANDS; i++) {
            enum systole_unit unit = units[testing_random(&seed) % 3];
            struct systole_command *command = &commands[i];
            command->header.unit = (uint8_t)unit;
            if (unit == SYSTOLE_UNIT_ELEMENTWISE) {
                command->header.opcode = SYSTOLE_OPCODE_REQUANTISE;
                command->body.elementwise = (struct systole_elementwise){
                    .input_address = (uint32_t)SYSTOLE_REGION_ACTIVATIONS << 28 | testing_random(&seed) % 24,
                    .output_address = (uint32_t)SYSTOLE_REGION_ACTIVATIONS << 28 | (32 + testing_random(&seed) % 24),
                    .input_pixel_stride = 1,
                    .output_pixel_stride = 1,
                    .height = 1,
                    .width = 2,
                    .tiles = 1};
            } else {
                command->header.opcode = unit == SYSTOLE_UNIT_LOAD ? SYSTOLE_OPCODE_LOAD : SYSTOLE_OPCODE_STORE;
                command->body.transfer.address =
                    (uint32_t)SYSTOLE_REGION_ACTIVATIONS << 28 | testing_random(&seed) % 56;
                command->body.transfer.words = 2;
                command->body.transfer.host_address = (uint32_t)SYSTOLE_REGION_HOST << 28;
            }
            uint32_t *waits[] = {&command->header.wait0, &command->header.wait1};
            for (int w = 0; w < 2; w++) {
                enum systole_unit on = units[testing_random(&seed) % 3];
                if (queued[on] > 0 && testing_range(&seed, 0, 3) < density) {
                    uint32_t count = queued[on] - testing_random(&seed) % 2 * (queued[on] > 1);
                    *waits[w] = sample_wait(on, count);
                    for (uint32_t j = 0; j < i; j++) {
                        if (commands[j].header.unit == on && place[j] < count) {
                            before[j][i] = true;
                        }
                    }
                }
            }
            place[i] = queued[unit]++;
            systole_command_footprint(&program.target, command, &footprints[i]);
        }
        // a retired before b starts, and b starts no later than c (c waited for b, or the same unit's later command).
        for (bool changed = true; changed;) {
            changed = false;
            for (uint32_t c = 0; c < RANDOM_COMMANDS; c++) {
                for (uint32_t b = 0; b < c; b++) {
                    bool starts_first = before[b][c] || commands[b].header.unit == commands[c].header.unit;
                    for (uint32_t a = 0; starts_first && a < b; a++) {
                        changed = changed || (before[a][b] && !before[a][c]);
                        before[a][c] = before[a][c] || before[a][b];
                    }
                }
            }
        }
        bool ordered = reference_is_ordered(before, footprints);
        ck_assert_int_eq(systole_program_verify(&program, NULL) == SYSTOLE_OK, ordered);
        good += ordered;
        bad += !ordered;
    }
    ck_assert_int_gt(good, 100);
    ck_assert_int_gt(bad, 100);
}
END_TEST

START_TEST(two_thousand_commands_are_quick) {
    const uint32_t count = 2000;
    struct systole_command prototype[2];
    memcpy(prototype, commands, sizeof prototype);
    free(segment->commands);
    free(segment->info);
    segment->info = NULL;
    commands = segment->commands = calloc(count, sizeof *commands);
    ck_assert_ptr_nonnull(commands);
    segment->command_count = count;
    segment->region_words[SYSTOLE_REGION_PROGRAM] = count * 8;
    segment->region_words[SYSTOLE_REGION_ACTIVATIONS] = count * 64;
    for (uint32_t i = 0; i < count; i++) {
        // Nothing orders them and nothing has to: each works on words of its own.
        commands[i] = prototype[i % 2];
        commands[i].header.wait0 = 0;
        commands[i].body.window.input_address = (uint32_t)SYSTOLE_REGION_INPUT << 28;
        commands[i].body.window.output_address = (uint32_t)SYSTOLE_REGION_ACTIVATIONS << 28 | i * 64;
    }
    clock_t start = clock();
    check_good();
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    ck_assert_msg(seconds < 5, "%g s", seconds);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("program_verifier");
    TCase *tests = tcase_create("all");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, fields);
    tcase_add_test(tests, array_limits);
    tcase_add_test(tests, packed_limits);
    tcase_add_test(tests, addresses);
    tcase_add_test(tests, tokens);
    tcase_add_test(tests, hazards_between_units);
    tcase_add_test(tests, hazards_of_one_unit);
    tcase_add_test(tests, hazards_within_a_command);
    tcase_add_test(tests, transfers);
    tcase_add_test(tests, segments_and_steps);
    tcase_add_test(tests, boxes_of_commands);
    tcase_add_test(tests, random_tokens);
    tcase_add_test(tests, two_thousand_commands_are_quick);
    suite_add_tcase(suite, tests);
    return testing_run(suite, "program/program_verifier");
}
