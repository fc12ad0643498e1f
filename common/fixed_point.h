// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The exact integer arithmetic of TensorFlow Lite's reference kernels, shared by compiler, runtime and functional
// model. docs/numbers.md argues the bounds. Everything here is pure and may be called from any thread.
#ifndef SYSTOLE_FIXED_POINT_H
#define SYSTOLE_FIXED_POINT_H

#include <stdint.h>

// A real multiplier as a Q31 significand in [2^30, 2^31) and a power of two: value = multiplier * 2^(shift - 31).
struct systole_multiplier {
    int32_t multiplier;
    int32_t shift; // > 0: left, < 0: right
};

// TensorFlow Lite QuantizeMultiplier (kernels/internal/quantization_util.cc). 0 gives {0, 0}; a shift below -31
// gives {0, 0}; above 30 saturates to {INT32_MAX, 30}.
struct systole_multiplier systole_quantize_multiplier(double real);

// The multiplier of a mean over `count` elements (at least 1): `real` is input scale / output scale, and 1 / count is
// folded into the significand, truncating, as reduce.h QuantizedMeanOrSum does. The output is
// requantise(sum of (q - input zero point)) + output zero point. The shift stays within -31 .. 30.
struct systole_multiplier systole_mean_multiplier(double real, uint32_t count);

// gemmlowp SaturatingRoundingDoublingHighMul: round(a * b / 2^31), ties up, saturating only
// INT32_MIN * INT32_MIN.
static inline int32_t systole_rounding_doubling_high_multiply(int32_t a, int32_t b) {
    if (a == INT32_MIN && b == INT32_MIN) {
        return INT32_MAX;
    }
    int64_t product = (int64_t)a * (int64_t)b;
    int64_t nudge = product >= 0 ? (1 << 30) : 1 - (1 << 30);
    return (int32_t)((product + nudge) / ((int64_t)1 << 31));
}

// gemmlowp RoundingDivideByPOT, exponent 0 to 31: round half away from zero.
static inline int32_t systole_rounding_divide_by_power_of_two(int32_t x, int32_t exponent) {
    int32_t mask = (int32_t)(((int64_t)1 << exponent) - 1);
    int32_t remainder = x & mask;
    int32_t threshold = (mask >> 1) + (x < 0 ? 1 : 0);
    return (x >> exponent) + (remainder > threshold ? 1 : 0);
}

// TensorFlow Lite MultiplyByQuantizedMultiplier, double rounding. The left shift wraps modulo 2^32, as hardware does.
static inline int32_t systole_requantise(int32_t x, int32_t multiplier, int32_t shift) {
    int32_t left = shift > 0 ? shift : 0;
    int32_t right = shift > 0 ? 0 : -shift;
    int32_t shifted = (int32_t)((uint32_t)x << left);
    return systole_rounding_divide_by_power_of_two(systole_rounding_doubling_high_multiply(shifted, multiplier), right);
}

static inline int32_t systole_clamp(int32_t x, int32_t low, int32_t high) {
    return x < low ? low : x > high ? high : x;
}

// 32-bit wrapping sum, as an accumulator register does.
static inline int32_t systole_wrapping_add(int32_t a, int32_t b) {
    return (int32_t)((uint32_t)a + (uint32_t)b);
}

// Division of an average: round half away from zero; count > 0. (reference/integer_ops/pooling.h)
static inline int32_t systole_rounding_average(int32_t sum, int32_t count) {
    return sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
}

#endif
