// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The exponential is a Taylor polynomial on [-1/4, 0) times a product of exp(-2^k) for the bits of the rest; quotients
// and the inverse root are a few steps of Newton and Raphson.
#include "fixed_point_functions.h"

static int32_t multiply(int32_t a, int32_t b) {
    return systole_rounding_doubling_high_multiply(a, b);
}

static int32_t wrapping_subtract(int32_t a, int32_t b) {
    return (int32_t)((uint32_t)a - (uint32_t)b);
}

int32_t systole_saturating_shift_left(int32_t x, int32_t exponent) {
    int32_t limit = (int32_t)((1u << (31 - exponent)) - 1u);
    return x > limit ? INT32_MAX : x < -limit ? INT32_MIN : (int32_t)((uint32_t)x << exponent);
}

// exp(a) for a in [-1/4, 0), both Q0 (exp_on_interval_between_negative_one_quarter_and_0_excl).
static int32_t exponential_near_zero(int32_t a) {
    const int32_t exp_of_minus_eighth = 1895147668, third = 715827883;
    int32_t x = a + (1 << 28); // around -1/8
    int32_t x2 = multiply(x, x), x3 = multiply(x2, x), x4 = multiply(x2, x2);
    int32_t x4_over_4 = systole_rounding_divide_by_power_of_two(x4, 2);
    int32_t rest = systole_rounding_divide_by_power_of_two(multiply(x4_over_4 + x3, third) + x2, 1);
    return exp_of_minus_eighth + multiply(exp_of_minus_eighth, x + rest);
}

int32_t systole_fixed_exponential(int32_t a, int32_t integer_bits) {
    static const int32_t factors[] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
    const int32_t fraction_bits = 31 - integer_bits, quarter = 1 << (fraction_bits - 2);
    if (a == 0) {
        return INT32_MAX;
    }
    int32_t fine = (a & (quarter - 1)) - quarter;
    int32_t result = exponential_near_zero(systole_saturating_shift_left(fine, integer_bits));
    int32_t remainder = wrapping_subtract(fine, a);
    for (int32_t k = -2; k < integer_bits; k++) { // exp(-2^k)
        if ((remainder & (int32_t)(1u << (fraction_bits + k))) != 0) {
            result = multiply(result, factors[k + 2]);
        }
    }
    return result;
}

// 1 / d in Q2 for d in [1/2, 1) given as (1 + x) / 2 with x in Q0.
static int32_t inverse_of_half_sum(int32_t x) {
    const int32_t one_q2 = 1 << 29;
    int32_t half_denominator = (int32_t)(((int64_t)x + INT32_MAX + 1) / 2);
    int32_t estimate = 1515870810 + multiply(half_denominator, -1010580540); // 48/17 - 32/17 * d, Q2
    for (int i = 0; i < 3; i++) {
        int32_t error = one_q2 - multiply(half_denominator, estimate);
        estimate += systole_saturating_shift_left(multiply(estimate, error), 2);
    }
    return estimate;
}

int32_t systole_fixed_reciprocal_of_one_plus(int32_t x) {
    return systole_saturating_shift_left(inverse_of_half_sum(x), 1);
}

int32_t systole_fixed_logistic(int32_t a, int32_t integer_bits) {
    if (a == 0) {
        return 1 << 30;
    }
    int32_t magnitude = a > 0 ? a : wrapping_subtract(0, a);
    int32_t positive =
        systole_fixed_reciprocal_of_one_plus(systole_fixed_exponential(wrapping_subtract(0, magnitude), integer_bits));
    return a > 0 ? positive : INT32_MAX - positive;
}

int32_t systole_fixed_tanh(int32_t a, int32_t integer_bits) {
    if (a == 0) {
        return 0;
    }
    int32_t negative = a < 0 ? a : wrapping_subtract(0, a);
    // exp(2a) is exp of the same bits with one more integer bit; (1 - e) / (1 + e) = 2 / (1 + e) - 1.
    int32_t e = systole_fixed_exponential(negative, integer_bits + 1);
    int32_t tanh = systole_saturating_shift_left(wrapping_subtract(inverse_of_half_sum(e), 1 << 29), 2);
    return a < 0 ? wrapping_subtract(0, tanh) : tanh;
}

struct systole_multiplier systole_inverse_square_root(int32_t x) {
    const int32_t half_three = (1 << 28) + (1 << 27), half_root_of_two = 1518500250;
    if (x <= 1) {
        return (struct systole_multiplier){INT32_MAX, 0};
    }
    int32_t right = 11;
    for (; x >= 1 << 29; right++) {
        x /= 4;
    }
    int32_t pairs = (__builtin_clz((uint32_t)x) - 1) / 2 - 1;
    right -= pairs;
    x <<= 2 * pairs; // in [2^27, 2^29)
    int32_t half_input = systole_rounding_divide_by_power_of_two(x >> 1, 1);
    int32_t root = 1 << 28; // 1 in Q3
    for (int i = 0; i < 5; i++) {
        int32_t cube = systole_saturating_shift_left(multiply(multiply(root, root), root), 6);
        int32_t next = wrapping_subtract(multiply(half_three, root), multiply(half_input, cube));
        root = systole_saturating_shift_left(next, 3);
    }
    root = multiply(root, half_root_of_two);
    if (right < 0) {
        root = (int32_t)((uint32_t)root << -right);
        right = 0;
    }
    return (struct systole_multiplier){root, -right};
}
