// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include <stdlib.h>
#include <string.h>

#include "sample_program.h"
#include "target.h"
#include "testing.h"

static struct systole_program program;
static uint8_t *bytes;
static size_t size;

static void set_up(void) {
    sample_program(&program);
    ck_assert_int_eq(systole_program_write(&program, &bytes, &size, NULL), SYSTOLE_OK);
}

static void tear_down(void) {
    systole_program_free(&program);
    free(bytes);
}

static void check_same_ios(const struct systole_segment_io *a, const struct systole_segment_io *b, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        const struct systole_placement *x = &a[i].placement;
        const struct systole_placement *y = &b[i].placement;
        ck_assert_int_eq(a[i].tensor_index, b[i].tensor_index);
        ck_assert_uint_eq(x->address, y->address);
        ck_assert_uint_eq(x->height, y->height);
        ck_assert_uint_eq(x->width, y->width);
        ck_assert_uint_eq(x->channels, y->channels);
        ck_assert_uint_eq(x->row_stride, y->row_stride);
        ck_assert_uint_eq(x->tile_stride, y->tile_stride);
        ck_assert_uint_eq(x->pixel_stride, y->pixel_stride);
        ck_assert_uint_eq(x->layout, y->layout);
        ck_assert_uint_eq(x->is_unsigned, y->is_unsigned);
    }
}

static void check_same_segment(const struct systole_segment *a, const struct systole_segment *b, uint32_t columns) {
    ck_assert_uint_eq(a->command_count, b->command_count);
    ck_assert_mem_eq(a->commands, b->commands, a->command_count * sizeof *a->commands);
    ck_assert_mem_eq(a->info, b->info, a->command_count * sizeof *a->info);
    ck_assert_uint_eq(a->parameter_words, b->parameter_words);
    ck_assert_mem_eq(a->parameters, b->parameters, (size_t)a->parameter_words * columns);
    ck_assert_mem_eq(a->region_words, b->region_words, sizeof a->region_words);
    ck_assert_uint_eq(a->input_count, b->input_count);
    ck_assert_uint_eq(a->output_count, b->output_count);
    ck_assert_uint_eq(a->tensor_count, b->tensor_count);
    check_same_ios(a->inputs, b->inputs, a->input_count);
    check_same_ios(a->outputs, b->outputs, a->output_count);
    check_same_ios(a->tensors, b->tensors, a->tensor_count);
    ck_assert_uint_eq(a->predicted_cycles, b->predicted_cycles);
    ck_assert_int_eq(a->resident, b->resident);
}

START_TEST(round_trip) {
    struct systole_program again;
    struct systole_diagnostic diagnostic = {"", "", ""};
    enum systole_status status = systole_program_read(bytes, size, "sample.systole", &again, &diagnostic);
    ck_assert_msg(status == SYSTOLE_OK, "%s", diagnostic.what);
    ck_assert_mem_eq(&program.target, &again.target, sizeof program.target);
    ck_assert_uint_eq(again.segment_count, program.segment_count);
    check_same_segment(&program.segments[0], &again.segments[0], program.target.columns);
    ck_assert_uint_eq(again.step_count, program.step_count);
    for (uint32_t i = 0; i < program.step_count; i++) {
        ck_assert_uint_eq(again.steps[i].place, program.steps[i].place);
        ck_assert_uint_eq(again.steps[i].index, program.steps[i].index);
    }
    ck_assert_uint_eq(again.operator_count, program.operator_count);
    ck_assert_mem_eq(again.operators, program.operators, program.operator_count * sizeof *program.operators);
    ck_assert_uint_eq(again.model_size, program.model_size);
    ck_assert_mem_eq(again.model, program.model, program.model_size);
    ck_assert_str_eq(again.model_name, program.model_name);

    uint8_t *second = NULL;
    size_t second_size = 0;
    ck_assert_int_eq(systole_program_write(&again, &second, &second_size, NULL), SYSTOLE_OK);
    ck_assert_uint_eq(second_size, size);
    ck_assert_mem_eq(second, bytes, size);
    free(second);
    systole_program_free(&again);
    systole_program_free(&again);
}
END_TEST

static enum systole_status read_anything(const uint8_t *from, size_t length, struct systole_diagnostic *diagnostic) {
    uint8_t *exact = malloc(length == 0 ? 1 : length);
    ck_assert_ptr_nonnull(exact);
    memcpy(exact, from, length);
    struct systole_program again;
    *diagnostic = (struct systole_diagnostic){"", "", ""};
    enum systole_status status = systole_program_read(exact, length, "x.systole", &again, diagnostic);
    free(exact);
    if (status != SYSTOLE_OK) {
        ck_assert(status == SYSTOLE_BAD_FILE || status == SYSTOLE_UNSUPPORTED);
        ck_assert_str_ne(diagnostic->what, "");
        ck_assert_str_eq(diagnostic->where, "x.systole");
        ck_assert_ptr_null(again.segments);
    }
    systole_program_free(&again);
    return status;
}

START_TEST(every_truncation_is_refused) {
    struct systole_diagnostic diagnostic;
    ck_assert_int_eq(read_anything(bytes, size, &diagnostic), SYSTOLE_OK);
    for (size_t length = 0; length < size; length++) {
        ck_assert_int_ne(read_anything(bytes, length, &diagnostic), SYSTOLE_OK);
    }
}
END_TEST

START_TEST(every_flipped_bit_is_refused) {
    struct systole_diagnostic diagnostic;
    for (size_t bit = 0; bit < 8 * size; bit += 3) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_msg(read_anything(bytes, size, &diagnostic) != SYSTOLE_OK, "bit %zu", bit);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}
END_TEST

// Where the file keeps its CRC: the only place that holds its value.
static size_t crc_place(void) {
    for (size_t at = 8; at + 4 <= size; at += 4) {
        uint32_t value = 0;
        uint8_t zero[4] = {0, 0, 0, 0};
        memcpy(&value, bytes + at, 4);
        uint32_t crc = systole_crc32(0, bytes, at);
        crc = systole_crc32(crc, zero, 4);
        crc = systole_crc32(crc, bytes + at + 4, size - at - 4);
        if (value == crc) {
            return at;
        }
    }
    ck_abort_msg("no CRC in the file");
    return 0;
}

// Damage with a CRC that fits, as an attacker would make it: only the checks behind the CRC are left.
START_TEST(damage_behind_the_crc) {
    struct systole_diagnostic diagnostic;
    size_t crc_at = crc_place();
    uint32_t seed = 1234;
    static const uint32_t values[] = {0, 1, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x10000, 4, 255};
    int refused = 0;
    for (int round = 0; round < 20000; round++) {
        size_t at = testing_random(&seed) % (size - 4);
        uint8_t saved[4];
        uint8_t saved_crc[4];
        uint32_t value = values[testing_random(&seed) % 8];
        memcpy(saved_crc, bytes + crc_at, 4);
        memcpy(saved, bytes + at, 4);
        if (round % 2 == 0) {
            bytes[at] ^= (uint8_t)(1u << testing_random(&seed) % 8);
        } else {
            memcpy(bytes + at, &value, 4);
        }
        memset(bytes + crc_at, 0, 4);
        uint32_t crc = systole_crc32(0, bytes, size);
        memcpy(bytes + crc_at, &crc, 4);
        refused += read_anything(bytes, size, &diagnostic) != SYSTOLE_OK;
        memcpy(bytes + crc_at, saved_crc, 4);
        memcpy(bytes + at, saved, 4);
    }
    ck_assert_int_gt(refused, 1000);
    ck_assert_int_eq(read_anything(bytes, size, &diagnostic), SYSTOLE_OK);
}
END_TEST

START_TEST(a_bad_program_is_named) {
    struct systole_diagnostic diagnostic;
    program.segments[0].commands[3].body.window.stride_x = 0;
    uint8_t *bad = NULL;
    size_t bad_size = 0;
    ck_assert_int_eq(systole_program_write(&program, &bad, &bad_size, NULL), SYSTOLE_OK);
    ck_assert_int_eq(read_anything(bad, bad_size, &diagnostic), SYSTOLE_BAD_FILE);
    ck_assert_msg(strstr(diagnostic.what, "segment 0: command 3 (conv, operator 3): field stride_x is 0") != NULL, "%s",
                  diagnostic.what);
    free(bad);
}
END_TEST

// What another version means by its fields is not guessed, even where the bytes are in order.
START_TEST(another_version) {
    struct systole_diagnostic diagnostic;
    uint32_t root = 0;
    int32_t table = 0;
    uint16_t field = 0; // the first of the root
    memcpy(&root, bytes, sizeof root);
    memcpy(&table, bytes + root, sizeof table);
    memcpy(&field, bytes + (int64_t)root - table + 4, sizeof field);
    ck_assert_uint_eq(bytes[root + field], SYSTOLE_PROGRAM_VERSION);
    bytes[root + field]--;
    ck_assert_int_eq(read_anything(bytes, size, &diagnostic), SYSTOLE_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(diagnostic.what, "version"));
    ck_assert_str_eq(diagnostic.hint, "compile the model again");
}
END_TEST

START_TEST(foreign_files) {
    struct systole_diagnostic diagnostic;
    static const uint8_t model[32] = {28, 0, 0, 0, 'T', 'F', 'L', '3'};
    ck_assert_int_eq(read_anything(model, sizeof model, &diagnostic), SYSTOLE_BAD_FILE);
    ck_assert_str_eq(diagnostic.what, "not a compiled Systole program");
    uint8_t noise[512];
    uint32_t seed = 6;
    for (int round = 0; round < 2000; round++) {
        for (size_t i = 0; i < sizeof noise; i++) {
            noise[i] = (uint8_t)testing_random(&seed);
        }
        noise[1] = noise[2] = noise[3] = 0;
        memcpy(noise + 4, "SYS1", 4);
        ck_assert_int_eq(read_anything(noise, (size_t)testing_range(&seed, 0, sizeof noise), &diagnostic),
                         SYSTOLE_BAD_FILE);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("program_container");
    TCase *tests = tcase_create("all");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, round_trip);
    tcase_add_test(tests, every_truncation_is_refused);
    tcase_add_test(tests, every_flipped_bit_is_refused);
    tcase_add_test(tests, damage_behind_the_crc);
    tcase_add_test(tests, a_bad_program_is_named);
    tcase_add_test(tests, another_version);
    tcase_add_test(tests, foreign_files);
    suite_add_tcase(suite, tests);
    return testing_run(suite, "program/program_container");
}
