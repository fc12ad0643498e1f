// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The exponential is a Taylor polynomial on [-1/4, 0) times a product of exp(-2^k) for the bits of the rest; the
// reciprocal is three steps of Newton and Raphson.
#include "exponential.h"

// exp(a) for a in [-1/4, 0), both Q0 (exp_on_interval_between_negative_one_quarter_and_0_excl).
static int32_t exponential_near_zero(int32_t a) {
    const int32_t exp_of_minus_eighth = 1895147668, third = 715827883;
    int32_t x = a + (1 << 28); // around -1/8
    int32_t x2 = systole_rounding_doubling_high_multiply(x, x), x3 = systole_rounding_doubling_high_multiply(x2, x),
            x4 = systole_rounding_doubling_high_multiply(x2, x2);
    int32_t x4_over_4 = systole_rounding_divide_by_power_of_two(x4, 2);
    int32_t rest =
        systole_rounding_divide_by_power_of_two(systole_rounding_doubling_high_multiply(x4_over_4 + x3, third) + x2, 1);
    return exp_of_minus_eighth + systole_rounding_doubling_high_multiply(exp_of_minus_eighth, x + rest);
}

// exp(a) in Q0 for a <= 0 in Q5 (exp_on_negative_values).
int32_t systole_exponential(int32_t a) {
    static const int32_t factors[] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
    const int32_t fraction_bits = 31 - SYSTOLE_DIFFERENCE_INTEGER_BITS,
                  quarter = 1 << (31 - SYSTOLE_DIFFERENCE_INTEGER_BITS - 2);
    if (a == 0) {
        return INT32_MAX;
    }
    int32_t fine = (a & (quarter - 1)) - quarter;
    int32_t result = exponential_near_zero(systole_shift_left_saturating(fine, SYSTOLE_DIFFERENCE_INTEGER_BITS));
    int32_t remainder = systole_wrapping_add(fine, (int32_t)(0u - (uint32_t)a));
    for (int32_t k = -2; k < SYSTOLE_DIFFERENCE_INTEGER_BITS; k++) { // exp(-2^k)
        if ((remainder & (int32_t)(1u << (fraction_bits + k))) != 0) {
            result = systole_rounding_doubling_high_multiply(result, factors[k + 2]);
        }
    }
    return result;
}

// 1 / (1 + x) in Q0 for x in [0, 1) in Q0 (one_over_one_plus_x_for_x_in_0_1).
int32_t systole_reciprocal_of_one_plus(int32_t x) {
    const int32_t one_q2 = 1 << 29;
    int32_t half_denominator = (int32_t)(((int64_t)x + INT32_MAX + 1) / 2);
    int32_t estimate =
        1515870810 + systole_rounding_doubling_high_multiply(half_denominator, -1010580540); // 48/17 - 32/17 * d, Q2
    for (int i = 0; i < 3; i++) {
        int32_t error = one_q2 - systole_rounding_doubling_high_multiply(half_denominator, estimate);
        estimate += systole_shift_left_saturating(systole_rounding_doubling_high_multiply(estimate, error), 2);
    }
    return systole_shift_left_saturating(estimate, 1);
}
