// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The integer forms against their definitions in wide arithmetic.
#include "fixed_point.h"

#include <math.h>

#include "testing.h"

static const int32_t extremes[] = {INT32_MIN, INT32_MIN + 1, -(1 << 30), -65536,        -3,       -2, -1, 0, 1, 2,
                                   3,         65535,         1 << 30,    INT32_MAX - 1, INT32_MAX};
#define EXTREMES ((int)(sizeof extremes / sizeof extremes[0]))

// round(a * b / 2^31); a tie goes up, also below zero, since gemmlowp's (product + 1 - 2^30) / 2^31 truncates.
static int32_t reference_high_multiply(int32_t a, int32_t b) {
    __int128 product = (__int128)a * b;
    __int128 magnitude = product < 0 ? -product : product;
    __int128 rounded = (magnitude + ((__int128)1 << 30) - (product < 0)) >> 31;
    rounded = product < 0 ? -rounded : rounded;
    return rounded > INT32_MAX ? INT32_MAX : (int32_t)rounded;
}

static int32_t reference_divide(int32_t x, int32_t exponent) {
    int64_t magnitude = x < 0 ? -(int64_t)x : x;
    int64_t rounded = exponent == 0 ? magnitude : (magnitude + ((int64_t)1 << (exponent - 1))) >> exponent;
    return (int32_t)(x < 0 ? -rounded : rounded);
}

START_TEST(high_multiply) {
    uint32_t seed = 1;
    ck_assert_int_eq(systole_rounding_doubling_high_multiply(-(1 << 15), 1 << 15), 0);
    ck_assert_int_eq(systole_rounding_doubling_high_multiply(1 << 15, 1 << 15), 1);
    ck_assert_int_eq(systole_rounding_doubling_high_multiply(-(1 << 15), 3 << 15), -1);
    for (int i = 0; i < EXTREMES; i++) {
        for (int j = 0; j < EXTREMES; j++) {
            ck_assert_int_eq(systole_rounding_doubling_high_multiply(extremes[i], extremes[j]),
                             reference_high_multiply(extremes[i], extremes[j]));
        }
    }
    for (int i = 0; i < 100000; i++) {
        int32_t a = (int32_t)testing_random(&seed);
        int32_t b = (int32_t)testing_random(&seed);
        ck_assert_int_eq(systole_rounding_doubling_high_multiply(a, b), reference_high_multiply(a, b));
    }
}
END_TEST

START_TEST(divide_by_power_of_two) {
    uint32_t seed = 2;
    for (int exponent = 0; exponent < 32; exponent++) {
        for (int i = 0; i < EXTREMES; i++) {
            ck_assert_int_eq(systole_rounding_divide_by_power_of_two(extremes[i], exponent),
                             reference_divide(extremes[i], exponent));
        }
        for (int i = 0; i < 3000; i++) {
            int32_t x = (int32_t)testing_random(&seed) >> (testing_random(&seed) % 31);
            ck_assert_int_eq(systole_rounding_divide_by_power_of_two(x, exponent), reference_divide(x, exponent));
        }
    }
}
END_TEST

START_TEST(requantise_and_averages) {
    ck_assert_int_eq(systole_requantise(1000, 1 << 30, 0), 500);
    ck_assert_int_eq(systole_requantise(1000, 1 << 30, 1), 1000);
    ck_assert_int_eq(systole_requantise(-1001, 1 << 30, -1), -250);
    ck_assert_int_eq(systole_requantise(3, 1 << 30, 0), 2);
    ck_assert_int_eq(systole_requantise(INT32_MIN, 0, 0), 0);
    ck_assert_int_eq(systole_requantise(0x40000000, 1 << 30, 2), 0); // the left shift wraps
    ck_assert_int_eq(systole_rounding_average(7, 2), 4);
    ck_assert_int_eq(systole_rounding_average(-7, 2), -4);
    ck_assert_int_eq(systole_rounding_average(-1, 3), 0);
    ck_assert_int_eq(systole_rounding_average(0, 9), 0);
    ck_assert_int_eq(systole_wrapping_add(INT32_MAX, 1), INT32_MIN);
    ck_assert_int_eq(systole_clamp(300, -128, 127), 127);
    ck_assert_int_eq(systole_clamp(-300, -128, 127), -128);
}
END_TEST

static void check_multiplier(double real, int32_t multiplier, int32_t shift) {
    struct systole_multiplier m = systole_quantize_multiplier(real);
    ck_assert_int_eq(m.multiplier, multiplier);
    ck_assert_int_eq(m.shift, shift);
}

START_TEST(quantize_multiplier) {
    check_multiplier(0.0, 0, 0);
    check_multiplier(1.0, 1 << 30, 1);
    check_multiplier(0.5, 1 << 30, 0);
    check_multiplier(0.75, 3 << 29, 0);
    check_multiplier(ldexp(1.0, -32), 1 << 30, -31);
    check_multiplier(ldexp(1.0, -33), 0, 0);
    check_multiplier(ldexp(1.0, 29), 1 << 30, 30);
    check_multiplier(ldexp(1.0, 30), INT32_MAX, 30);
    check_multiplier(1.0 - ldexp(1.0, -40), 1 << 30, 1); // rounds up to the next power of two
    check_multiplier(-1.0, 0, 0);
    check_multiplier((double)NAN, 0, 0);
    uint32_t seed = 3;
    for (int i = 0; i < 10000; i++) {
        double real = ldexp(1.0 + testing_random(&seed) / 4294967296.0, testing_range(&seed, -30, 28));
        struct systole_multiplier m = systole_quantize_multiplier(real);
        ck_assert_int_ge(m.multiplier, 1 << 30);
        double back = ldexp(m.multiplier, m.shift - 31);
        ck_assert(fabs(back - real) <= real * ldexp(1.0, -31));
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("fixed_point");
    TCase *tests = tcase_create("all");
    tcase_add_test(tests, high_multiply);
    tcase_add_test(tests, divide_by_power_of_two);
    tcase_add_test(tests, requantise_and_averages);
    tcase_add_test(tests, quantize_multiplier);
    suite_add_tcase(suite, tests);
    return testing_run(suite, "common/fixed_point");
}
