// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What the kernels with int16 activations share. Their tensors are symmetric: zero point 0.
#ifndef SYSTOLE_SIXTEEN_BIT_H
#define SYSTOLE_SIXTEEN_BIT_H

#include "fixed_point.h"
#include "kernel.h"

// The one scale of an int16 tensor with zero point 0; anything else is refused. `what` names its part: "input".
enum systole_status systole_kernel_symmetric_scale(const struct systole_kernel_call *call,
                                                   const struct systole_tensor *tensor, const char *what, float *scale,
                                                   struct systole_diagnostic *diagnostic);

// common.cc MultiplyByQuantizedMultiplier of a 64-bit x: the significand is rounded to 15 bits and rounding happens
// once. Exact for |x| < 2^47.
int32_t systole_requantise_wide(int64_t x, struct systole_multiplier multiplier);

// The nearest power of two's exponent when the scale is one to within a thousandth of the exponent (CheckedLog2).
bool systole_power_of_two(float scale, int32_t *exponent);

// Q0.15 of sigmoid(x) and tanh(x) for (x * multiplier rounded >> shift) in units of 1 / 12288
// (integer_ops/logistic.h, integer_ops/tanh.h). multiplier is at most 32767, shift at most 30.
int16_t systole_sigmoid16(int16_t x, int32_t multiplier, int32_t shift);
int16_t systole_tanh16(int16_t x, int32_t multiplier, int32_t shift);

static inline int16_t systole_saturate16(int32_t x) {
    return (int16_t)systole_clamp(x, INT16_MIN, INT16_MAX);
}

#endif
