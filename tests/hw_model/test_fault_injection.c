// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Fault scripts: what is read, what is refused, when a rule strikes.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault_injection.h"
#include "testing.h"

static struct systole_faults *parse(const char *script) {
    struct systole_diagnostic diagnostic = {"", "", ""};
    struct systole_faults *faults = NULL;
    ck_assert_msg(systole_faults_parse(script, strlen(script), "script", &faults, &diagnostic) == SYSTOLE_OK, "%s",
                  diagnostic.what);
    return faults;
}

START_TEST(refused) {
    static const char *const scripts[] = {
        "at",
        "at 1",
        "at 1 out",
        "at 0 out stall",
        "at x out stall",
        "at 99999999999 out stall",
        "every 0 in stall",
        "at 1 nowhere stall",
        "at 1 out explode",
        "at 1 out duplicate",
        "at 1 control lose",
        "at 1 in nak 7 8",
        "at 1 in nak forever",
        "at 1 in nak -1",
        "seed",
        "seed x",
        "sometimes 1 out stall",
        "# fine\n\nat 1 out stall # too\nat 1 out",
    };
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        struct systole_diagnostic diagnostic = {"", "", ""};
        struct systole_faults *faults = NULL;
        ck_assert_msg(systole_faults_parse(scripts[i], strlen(scripts[i]), "script", &faults, &diagnostic) ==
                          SYSTOLE_BAD_FILE,
                      "%s", scripts[i]);
        ck_assert_ptr_null(faults);
        ck_assert_ptr_nonnull(strstr(diagnostic.what, "line "));
    }
    struct systole_diagnostic diagnostic;
    struct systole_faults *faults;
    ck_assert_int_eq(systole_faults_parse("seed 1\0\n", 8, "script", &faults, &diagnostic), SYSTOLE_BAD_FILE);
    char *many = malloc(300 * 16 + 1);
    for (uint32_t i = 0; i < 300; i++) {
        memcpy(many + 16 * i, "at 1 out stall \n", 17);
    }
    ck_assert_int_eq(systole_faults_parse(many, strlen(many), "script", &faults, &diagnostic), SYSTOLE_BAD_FILE);
    free(many);
}
END_TEST

// Random bytes are refused or read, never more.
START_TEST(noise) {
    static const char *const words[] = {"at",    "every", "seed", "1",  "20", "out", "in",      "event",  "data",
                                        "stall", "any",   "nak",  "\n", "\n", "#",   "forever", "unplug", "\0"};
    uint32_t random = 5, read = 0;
    for (uint32_t i = 0; i < 20000; i++) {
        char script[200] = "";
        size_t size = 0;
        uint32_t count = (uint32_t)testing_range(&random, 0, 12);
        for (uint32_t k = 0; k < count; k++) {
            size += (size_t)snprintf(script + size, sizeof script - size, "%s ",
                                     words[testing_range(&random, 0, sizeof words / sizeof *words - 1)]);
        }
        struct systole_faults *faults = NULL;
        struct systole_diagnostic diagnostic;
        if (systole_faults_parse(script, size, "noise", &faults, &diagnostic) == SYSTOLE_OK) {
            read++;
            systole_faults_free(faults);
        }
    }
    ck_assert_uint_gt(read, 0);
}
END_TEST

START_TEST(at_the_nth) {
    struct systole_faults *faults = parse("at 3 in short\nat 2 data lose\n");
    ck_assert_int_eq(systole_faults_begin(faults, SYSTOLE_FAULT_IN), SYSTOLE_FAULT_NONE);
    ck_assert_int_eq(systole_faults_begin(faults, SYSTOLE_FAULT_IN), SYSTOLE_FAULT_NONE); // the same transfer
    systole_faults_end(faults, SYSTOLE_FAULT_IN);
    ck_assert_int_eq(systole_faults_begin(faults, SYSTOLE_FAULT_OUT), SYSTOLE_FAULT_LOSE); // the second of them all
    ck_assert_uint_eq(systole_faults_strike(faults, SYSTOLE_FAULT_OUT), 0);
    ck_assert_int_eq(systole_faults_begin(faults, SYSTOLE_FAULT_OUT), SYSTOLE_FAULT_NONE);
    ck_assert_int_eq(systole_faults_begin(faults, SYSTOLE_FAULT_IN), SYSTOLE_FAULT_NONE);
    systole_faults_end(faults, SYSTOLE_FAULT_IN);
    ck_assert_int_eq(systole_faults_begin(faults, SYSTOLE_FAULT_IN), SYSTOLE_FAULT_SHORT);
    systole_faults_end(faults, SYSTOLE_FAULT_IN);
    ck_assert_int_eq(systole_faults_begin(faults, SYSTOLE_FAULT_IN), SYSTOLE_FAULT_SHORT); // it found no chance
    systole_faults_strike(faults, SYSTOLE_FAULT_IN);
    systole_faults_free(faults);
}
END_TEST

START_TEST(at_random) {
    uint32_t first[1000];
    for (uint32_t round = 0; round < 2; round++) {
        struct systole_faults *faults = parse("seed 9\nevery 20 in any\n");
        uint32_t count = 0, kinds = 0;
        for (uint32_t i = 0; i < 1000; i++) {
            enum systole_fault_kind kind = systole_faults_begin(faults, SYSTOLE_FAULT_IN);
            if (kind != SYSTOLE_FAULT_NONE) {
                ck_assert(systole_fault_applies(kind, SYSTOLE_FAULT_IN));
                systole_faults_strike(faults, SYSTOLE_FAULT_IN);
                count++;
                kinds |= 1u << kind;
            }
            ck_assert(round == 0 || first[i] == kind); // the seed decides
            first[i] = kind;
            systole_faults_end(faults, SYSTOLE_FAULT_IN);
        }
        ck_assert_uint_gt(count, 25);
        ck_assert_uint_lt(count, 90);
        ck_assert_int_gt(__builtin_popcount(kinds), 8);
        systole_faults_free(faults);
    }
}
END_TEST

// What nobody can notice is only there when it is asked for.
START_TEST(silent_ones) {
    struct systole_faults *faults = parse("seed 3\nevery 1 out any\n");
    for (uint32_t i = 0; i < 1000; i++) {
        ck_assert(!systole_fault_is_silent(systole_faults_begin(faults, SYSTOLE_FAULT_OUT)));
        systole_faults_strike(faults, SYSTOLE_FAULT_OUT);
        systole_faults_end(faults, SYSTOLE_FAULT_OUT);
    }
    systole_faults_free(faults);
    faults = parse("at 2 out flip 77\n");
    ck_assert_int_eq(systole_faults_begin(faults, SYSTOLE_FAULT_OUT), SYSTOLE_FAULT_NONE);
    systole_faults_end(faults, SYSTOLE_FAULT_OUT);
    ck_assert_int_eq(systole_faults_begin(faults, SYSTOLE_FAULT_OUT), SYSTOLE_FAULT_FLIP);
    ck_assert_uint_eq(systole_faults_argument(faults, SYSTOLE_FAULT_OUT), 77);
    ck_assert(systole_fault_is_silent(SYSTOLE_FAULT_FLIP));
    systole_faults_free(faults);
}
END_TEST

START_TEST(no_script) {
    ck_assert_int_eq(systole_faults_begin(NULL, SYSTOLE_FAULT_OUT), SYSTOLE_FAULT_NONE);
    systole_faults_end(NULL, SYSTOLE_FAULT_OUT);
    systole_faults_free(NULL);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("fault_injection");
    TCase *cases = tcase_create("cases");
    tcase_add_test(cases, refused);
    tcase_add_test(cases, noise);
    tcase_add_test(cases, at_the_nth);
    tcase_add_test(cases, at_random);
    tcase_add_test(cases, silent_ones);
    tcase_add_test(cases, no_script);
    suite_add_tcase(suite, cases);
    return testing_run(suite, "hw_model/test_fault_injection");
}
