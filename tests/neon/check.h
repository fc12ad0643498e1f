// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// As much of Check's interface as a test needs that is built for another processor, for which Debian has a C library
// but no Check without a foreign architecture. The first failure ends the program.
#ifndef CHECK_H // Check's own guard: whoever has read one does not read the other
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>

typedef void (*neon_test)(int);
typedef struct {
    const char *name;
    struct {
        neon_test test;
        int first, end;
    } tests[32];
    int count;
} TCase;
typedef TCase Suite; // of one case

#define START_TEST(name) static void name(int _i __attribute__((unused)))
#define END_TEST

#define ck_assert_msg(condition, ...)                                                                                  \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            printf("%s:%d: ", __FILE__, __LINE__);                                                                     \
            printf(__VA_ARGS__);                                                                                       \
            printf("\n");                                                                                              \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)
#define ck_assert(condition) ck_assert_msg(condition, "%s does not hold", #condition)
#define ck_assert_int_eq(a, b) ck_assert_msg((long long)(a) == (long long)(b), "%s is not %s", #a, #b)
#define ck_assert_ptr_nonnull(a) ck_assert_msg((a) != NULL, "%s is NULL", #a)

Suite *suite_create(const char *name);
TCase *tcase_create(const char *name);
void tcase_set_timeout(TCase *tcase, double seconds); // the caller of the program sets one
void tcase_add_loop_test(TCase *tcase, neon_test test, int first, int end);
#define tcase_add_test(tcase, test) tcase_add_loop_test(tcase, test, 0, 1)
void suite_add_tcase(Suite *suite, TCase *tcase);

#endif
