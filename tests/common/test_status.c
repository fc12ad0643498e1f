// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "status.h"

#include <string.h>

#include "testing.h"

START_TEST(exit_codes_are_the_contract) {
    ck_assert_int_eq(systole_exit_code(SYSTOLE_OK), 0);
    ck_assert_int_eq(systole_exit_code(SYSTOLE_MISMATCH), 1);
    for (int status = SYSTOLE_BAD_ARGUMENT; status <= SYSTOLE_OUT_OF_MEMORY; status++) {
        ck_assert_int_eq(systole_exit_code((enum systole_status)status), 2);
    }
    for (int status = SYSTOLE_NO_DEVICE; status <= SYSTOLE_CANCELLED; status++) {
        ck_assert_int_eq(systole_exit_code((enum systole_status)status), 3);
    }
}
END_TEST

START_TEST(every_status_has_its_own_name) {
    for (int a = SYSTOLE_OK; a <= SYSTOLE_CANCELLED; a++) {
        ck_assert_str_ne(systole_status_name((enum systole_status)a), "unknown status");
        for (int b = SYSTOLE_OK; b < a; b++) {
            ck_assert_str_ne(systole_status_name((enum systole_status)a), systole_status_name((enum systole_status)b));
        }
    }
}
END_TEST

START_TEST(failures_fill_the_diagnostic) {
    struct systole_diagnostic diagnostic;
    ck_assert_int_eq(systole_fail(&diagnostic, SYSTOLE_BAD_FILE, "here", "do that", "no operator %d", 7),
                     SYSTOLE_BAD_FILE);
    ck_assert_str_eq(diagnostic.what, "no operator 7");
    ck_assert_str_eq(diagnostic.where, "here");
    ck_assert_str_eq(diagnostic.hint, "do that");
    ck_assert_int_eq(systole_fail(NULL, SYSTOLE_UNSUPPORTED, NULL, NULL, "nothing"), SYSTOLE_UNSUPPORTED);
}
END_TEST

START_TEST(a_failure_may_wrap_its_own_text) {
    struct systole_diagnostic diagnostic;
    (void)systole_fail(&diagnostic, SYSTOLE_BAD_FILE, "here", "hint", "cause");
    (void)systole_fail(&diagnostic, SYSTOLE_BAD_FILE, diagnostic.where, diagnostic.hint, "outer: %s", diagnostic.what);
    ck_assert_str_eq(diagnostic.what, "outer: cause");
    ck_assert_str_eq(diagnostic.where, "here");
    ck_assert_str_eq(diagnostic.hint, "hint");
}
END_TEST

START_TEST(long_texts_are_cut) {
    char text[1000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    struct systole_diagnostic diagnostic;
    (void)systole_fail(&diagnostic, SYSTOLE_BAD_FILE, text, text, "%s", text);
    ck_assert_uint_eq(strlen(diagnostic.what), sizeof diagnostic.what - 1);
    ck_assert_uint_eq(strlen(diagnostic.where), sizeof diagnostic.where - 1);
    ck_assert_uint_eq(strlen(diagnostic.hint), sizeof diagnostic.hint - 1);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("status");
    TCase *tests = tcase_create("all");
    tcase_add_test(tests, exit_codes_are_the_contract);
    tcase_add_test(tests, every_status_has_its_own_name);
    tcase_add_test(tests, failures_fill_the_diagnostic);
    tcase_add_test(tests, a_failure_may_wrap_its_own_text);
    tcase_add_test(tests, long_texts_are_cut);
    suite_add_tcase(suite, tests);
    return testing_run(suite, "common/status");
}
