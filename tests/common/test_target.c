// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "testing.h"

START_TEST(presets_are_found_and_legal) {
    for (size_t i = 0; i < SYSTOLE_PRESETS; i++) {
        struct systole_target target;
        ck_assert_int_eq(systole_target_find(systole_presets[i].name, &target, NULL), SYSTOLE_OK);
        ck_assert_int_eq(systole_target_check(&target, NULL), SYSTOLE_OK);
        ck_assert_int_eq(memcmp(&target, &systole_presets[i], sizeof target), 0);
    }
}
END_TEST

START_TEST(identities_are_those_of_the_reference_page) {
    // docs/reference/targets.md; the generator computes them independently.
    ck_assert_uint_eq(systole_target_id(&systole_presets[0]), 0x271570ba);
    ck_assert_uint_eq(systole_target_id(&systole_presets[1]), 0xff2e6a4d);
    ck_assert_uint_eq(systole_target_id(&systole_presets[2]), 0x934b508b);
    struct systole_target renamed = systole_presets[0];
    strcpy(renamed.name, "other");
    ck_assert_uint_eq(systole_target_id(&renamed), 0x271570ba);
}
END_TEST

START_TEST(crc_check_value) {
    ck_assert_uint_eq(systole_crc32(0, "123456789", 9), 0xCBF43926);
    ck_assert_uint_eq(systole_crc32(systole_crc32(0, "1234", 4), "56789", 5), 0xCBF43926);
    ck_assert_uint_eq(systole_crc32(0, "", 0), 0);
}
END_TEST

START_TEST(derived_numbers) {
    ck_assert_uint_eq(systole_target_words(&systole_presets[0]), 8388608 / 16);
    ck_assert_uint_eq(systole_target_multipliers(&systole_presets[0]), 16 * 16 + 16 * 3);
    ck_assert_uint_eq(systole_target_multipliers(&systole_presets[2]), 64 * 64 + 64 * 9);
    ck_assert_uint_eq(systole_target_other_multipliers(&systole_presets[0]), 16 * 5);
}
END_TEST

static void check_refused(const struct systole_target *target, const char *parameter) {
    struct systole_diagnostic diagnostic;
    ck_assert_int_eq(systole_target_check(target, &diagnostic), SYSTOLE_BAD_ARGUMENT);
    ck_assert_msg(strstr(diagnostic.what, parameter) != NULL, "'%s' does not name %s", diagnostic.what, parameter);
}

START_TEST(each_limit_is_named) {
    const struct systole_target good = systole_presets[0];
#define REFUSED(field, value)                                                                                          \
    do {                                                                                                               \
        struct systole_target bad = good;                                                                              \
        bad.field = (value);                                                                                           \
        check_refused(&bad, #field);                                                                                   \
    } while (0)
    REFUSED(cores, 0);
    REFUSED(cores, 2);
    REFUSED(rows, 2);
    REFUSED(rows, 24);
    REFUSED(rows, 128);
    REFUSED(rows, 32);
    REFUSED(columns, 48);
    REFUSED(taps, 0);
    REFUSED(taps, 17);
    REFUSED(banks, 4);
    REFUSED(banks, 12);
    REFUSED(accumulators, 15);
    REFUSED(accumulators, 65536);
    REFUSED(weight_port_rows, 0);
    REFUSED(weight_port_rows, 3);
    REFUSED(weight_port_rows, 32);
    REFUSED(scratchpad_bytes, 0);
    REFUSED(scratchpad_bytes, 8388608 + 16);
    REFUSED(scratchpad_bytes, (1u << 30) + 256);
    REFUSED(link_millibytes_per_cycle, 0);
    REFUSED(link_millibytes_per_cycle, 65536);
    REFUSED(clock_hz, 0);
#undef REFUSED
}
END_TEST

static const char good_file[] = "{\"name\": \"mine\", \"cores\": 1, \"rows\": 8, \"columns\": 8, \"taps\": 5,"
                                "\"scratchpad_bytes\": 65536, \"banks\": 8, \"accumulators\": 64,"
                                "\"weight_port_rows\": 2, \"link_millibytes_per_cycle\": 500,"
                                "\"clock_hz\": 1000000}";

static enum systole_status find_in_file(const char *text, struct systole_target *target,
                                        struct systole_diagnostic *diagnostic) {
    char path[] = "/tmp/systole_target_XXXXXX";
    int descriptor = mkstemp(path);
    ck_assert_int_ge(descriptor, 0);
    ck_assert_int_eq(write(descriptor, text, strlen(text)), (ssize_t)strlen(text));
    close(descriptor);
    enum systole_status status = systole_target_find(path, target, diagnostic);
    unlink(path);
    return status;
}

START_TEST(files_are_read) {
    struct systole_target target;
    ck_assert_int_eq(find_in_file(good_file, &target, NULL), SYSTOLE_OK);
    ck_assert_str_eq(target.name, "mine");
    ck_assert_uint_eq(target.rows, 8);
    ck_assert_uint_eq(target.clock_hz, 1000000);
}
END_TEST

// The good file with one piece of text replaced.
static void check_bad_file(const char *from, const char *to, const char *expected) {
    char text[1024];
    const char *at = strstr(good_file, from);
    ck_assert_ptr_nonnull(at);
    (void)snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good_file), good_file, to, at + strlen(from));
    struct systole_target target;
    struct systole_diagnostic diagnostic;
    ck_assert_int_eq(find_in_file(text, &target, &diagnostic), SYSTOLE_BAD_FILE);
    ck_assert_msg(strstr(diagnostic.what, expected) != NULL, "'%s' does not say '%s'", diagnostic.what, expected);
    ck_assert_ptr_nonnull(strstr(diagnostic.where, "/tmp/systole_target_"));
}

START_TEST(bad_files_are_refused) {
    check_bad_file("\"taps\": 5,", "", "taps is missing");
    check_bad_file("\"taps\": 5,", "\"taps\": 5, \"speed\": 9,", "'speed'");
    check_bad_file("\"taps\": 5,", "\"taps\": 5, \"taps\": 6,", "duplicate");
    check_bad_file("\"taps\": 5,", "\"taps\": 5.5,", "taps must be a whole number");
    check_bad_file("\"taps\": 5,", "\"taps\": -5,", "taps must be a whole number");
    check_bad_file("\"taps\": 5,", "\"taps\": 99999999999,", "taps must be a whole number");
    check_bad_file("\"taps\": 5,", "\"taps\": 50,", "taps is 50");
    check_bad_file("\"mine\"", "\"no spaces\"", "name");
    check_bad_file("\"mine\"", "7", "name");
    check_bad_file("{", "[", "cannot be read");
    check_bad_file(good_file, "[1, 2]", "not a JSON object");
    check_bad_file(good_file, "", "cannot be read");
}
END_TEST

START_TEST(unknown_names) {
    struct systole_target target;
    struct systole_diagnostic diagnostic;
    ck_assert_int_eq(systole_target_find("systole17", &target, &diagnostic), SYSTOLE_BAD_ARGUMENT);
    ck_assert_str_eq(diagnostic.where, "systole17");
    ck_assert_int_eq(systole_target_find("", &target, &diagnostic), SYSTOLE_BAD_ARGUMENT);
    ck_assert_int_eq(systole_target_find("/nonexistent/target.json", &target, &diagnostic), SYSTOLE_BAD_FILE);
    ck_assert_int_eq(systole_target_find("/tmp", &target, &diagnostic), SYSTOLE_BAD_FILE);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("target");
    TCase *tests = tcase_create("all");
    tcase_add_test(tests, presets_are_found_and_legal);
    tcase_add_test(tests, identities_are_those_of_the_reference_page);
    tcase_add_test(tests, crc_check_value);
    tcase_add_test(tests, derived_numbers);
    tcase_add_test(tests, each_limit_is_named);
    tcase_add_test(tests, files_are_read);
    tcase_add_test(tests, bad_files_are_refused);
    tcase_add_test(tests, unknown_names);
    suite_add_tcase(suite, tests);
    return testing_run(suite, "common/target");
}
