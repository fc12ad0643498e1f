// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Transcendental functions in gemmlowp's fixed point, to the bit as TensorFlow Lite's reference kernels use them. "Qm"
// is a signed 32-bit number with m integer bits: value = raw * 2^(m - 31). docs/numbers.md has the formats and bounds.
#ifndef SYSTOLE_FIXED_POINT_FUNCTIONS_H
#define SYSTOLE_FIXED_POINT_FUNCTIONS_H

#include <stdint.h>

#include "fixed_point.h"

// exp(a) in Q0 for a <= 0 in Q`integer_bits`, which is at most 5 (exp_on_negative_values). Q6 needs a clamp first.
int32_t systole_fixed_exponential(int32_t a, int32_t integer_bits);
// 1 / (1 + x) in Q0 for x in [0, 1) in Q0 (one_over_one_plus_x_for_x_in_0_1).
int32_t systole_fixed_reciprocal_of_one_plus(int32_t x);
// logistic(a) and tanh(a) in Q0 of a in Q`integer_bits`, at most 5 and 4.
int32_t systole_fixed_logistic(int32_t a, int32_t integer_bits);
int32_t systole_fixed_tanh(int32_t a, int32_t integer_bits);
// 1 / sqrt(x) as a multiplier for x >= 0; 0 counts as 1 (GetInvSqrtQuantizedMultiplierExp). The shift is at most 0.
struct systole_multiplier systole_inverse_square_root(int32_t x);
// gemmlowp SaturatingRoundingMultiplyByPOT with an exponent of 0 to 30.
int32_t systole_saturating_shift_left(int32_t x, int32_t exponent);

// requantise with a shift of any size: beyond 31 to the right nothing is left.
static inline int32_t systole_requantise_far(int32_t x, int32_t multiplier, int32_t shift) {
    return shift < -31 ? 0 : systole_requantise(x, multiplier, shift);
}

#endif
