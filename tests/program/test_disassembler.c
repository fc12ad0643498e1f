// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sample_program.h"
#include "testing.h"

static char text[4096];

static const char *line_of(const struct systole_command *command, uint32_t index) {
    int wanted = systole_disassemble(command, index, text, sizeof text);
    ck_assert_int_eq(wanted, (int)strlen(text));
    ck_assert_ptr_null(strchr(text, '\n'));
    return text;
}

START_TEST(every_field_is_named) {
    struct systole_program program;
    sample_program(&program);
    for (uint32_t i = 0; i < SAMPLE_COMMANDS; i++) {
        const struct systole_command *command = &program.segments[0].commands[i];
        const struct systole_opcode_description *opcode = systole_describe_opcode(command->header.opcode);
        const char *line = line_of(command, i);
        ck_assert_ptr_nonnull(strstr(line, opcode->name));
        ck_assert_ptr_nonnull(strstr(line, systole_unit_name(command->header.unit)));
        for (uint32_t f = 0; f < systole_formats[opcode->format].count; f++) {
            char wanted[64];
            (void)snprintf(wanted, sizeof wanted, " %s=", systole_formats[opcode->format].fields[f].name);
            ck_assert_msg(strstr(line, wanted) != NULL, "no %s in %s", wanted, line);
        }
    }
    systole_program_free(&program);
}
END_TEST

START_TEST(values_flags_and_waits) {
    struct systole_program program;
    sample_program(&program);
    struct systole_command *command = &program.segments[0].commands[4];
    command->header.flags = SYSTOLE_FLAG_PACKED | SYSTOLE_FLAG_INPUT_UNSIGNED;
    command->header.wait3 = sample_wait(SYSTOLE_UNIT_LOAD, 77);
    command->body.window.origin_y = -3;
    const char *line = line_of(command, 12345);
    ck_assert_ptr_nonnull(strstr(line, "12345 depthwise   max_pool"));
    ck_assert_ptr_nonnull(strstr(line, " flags=input_unsigned|packed "));
    ck_assert_ptr_nonnull(strstr(line, " output_address=output+64 "));
    ck_assert_ptr_nonnull(strstr(line, " origin_y=-3 "));
    ck_assert_ptr_nonnull(strstr(line, " clamp_min=-128 "));
    ck_assert_ptr_nonnull(strstr(line, " wait0=array>=2"));
    ck_assert_ptr_nonnull(strstr(line, " wait3=load>=77"));
    ck_assert_ptr_null(strstr(line, "wait1"));
    systole_program_free(&program);
}
END_TEST

START_TEST(any_bytes_and_any_room) {
    uint32_t seed = 77;
    for (int round = 0; round < 5000; round++) {
        struct systole_command command;
        for (size_t i = 0; i < sizeof command; i++) {
            ((uint8_t *)&command)[i] = (uint8_t)testing_random(&seed);
        }
        const char *line = line_of(&command, testing_random(&seed));
        size_t room = testing_random(&seed) % 200;
        char *small = malloc(room + 1);
        ck_assert_ptr_nonnull(small);
        ck_assert_int_eq(systole_disassemble(&command, 1, NULL, 0), systole_disassemble(&command, 1, small, room));
        free(small);
        ck_assert_uint_gt(strlen(line), 10);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("disassembler");
    TCase *tests = tcase_create("all");
    tcase_add_test(tests, every_field_is_named);
    tcase_add_test(tests, values_flags_and_waits);
    tcase_add_test(tests, any_bytes_and_any_room);
    suite_add_tcase(suite, tests);
    return testing_run(suite, "program/disassembler");
}
