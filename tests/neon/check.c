// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Runs the tests of one case one after another in this process.
#include "check.h"

#include "testing.h"

#include <string.h>

static TCase only_case;

Suite *suite_create(const char *name) {
    only_case.name = name;
    return &only_case;
}

TCase *tcase_create(const char *name) {
    only_case.name = name;
    return &only_case;
}

void tcase_set_timeout(TCase *tcase, double seconds) {
    (void)tcase;
    (void)seconds;
}

void tcase_add_loop_test(TCase *tcase, neon_test test, int first, int end) {
    ck_assert(tcase->count < (int)(sizeof tcase->tests / sizeof tcase->tests[0]));
    tcase->tests[tcase->count].test = test;
    tcase->tests[tcase->count].first = first;
    tcase->tests[tcase->count++].end = end;
}

void suite_add_tcase(Suite *suite, TCase *tcase) {
    ck_assert(suite == tcase);
}

int testing_run(Suite *suite, const char *name) {
    int passed = 0;
    for (int t = 0; t < suite->count; t++) {
        for (int i = suite->tests[t].first; i < suite->tests[t].end; i++) {
            suite->tests[t].test(i);
            passed++;
        }
    }
    printf("%s: %d passed, 0 failed, 0 skipped\n", name, passed);
    return 0;
}

uint32_t testing_random(uint32_t *state) {
    uint32_t x = *state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    *state = x;
    return x;
}

int32_t testing_range(uint32_t *state, int32_t low, int32_t high) {
    uint64_t span = (uint64_t)((int64_t)high - low) + 1;
    return (int32_t)(low + (int64_t)(testing_random(state) % span));
}
