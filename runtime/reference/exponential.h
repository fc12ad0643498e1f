// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// gemmlowp's fixed-point exponential and reciprocal, which SOFTMAX and LOG_SOFTMAX share. "Qm" is a signed 32-bit
// number with m integer bits: value = raw * 2^(m - 31). docs/numbers.md has the formats.
#ifndef SYSTOLE_EXPONENTIAL_H
#define SYSTOLE_EXPONENTIAL_H

#include "fixed_point.h"

enum { SYSTOLE_DIFFERENCE_INTEGER_BITS = 5, SYSTOLE_SUM_INTEGER_BITS = 12 };

int32_t systole_exponential(int32_t a);            // exp(a) in Q0 for a <= 0 in Q5
int32_t systole_reciprocal_of_one_plus(int32_t x); // 1 / (1 + x) in Q0 for x in [0, 1) in Q0

// exponent 0 to 30
static inline int32_t systole_shift_left_saturating(int32_t x, int32_t exponent) {
    int32_t limit = (1 << (31 - exponent)) - 1;
    return x > limit ? INT32_MAX : x < -limit ? INT32_MIN : (int32_t)((uint32_t)x << exponent);
}

#endif
