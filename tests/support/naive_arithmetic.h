// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The device's arithmetic said again in another way: extended floating point with 64-bit significands, in which every
// product of two 32-bit numbers is exact, instead of shifts and masks.
#ifndef SYSTOLE_NAIVE_ARITHMETIC_H
#define SYSTOLE_NAIVE_ARITHMETIC_H

#include <math.h>
#include <stdint.h>

// The real multiplier that (multiplier, shift) stands for, split as the definition rounds it: high product with ties
// upwards, then a division by a power of two with ties away from zero.
static inline int64_t naive_requantise(int64_t x, double real) {
    int exponent;
    double significand = frexp(real, &exponent);
    long double multiplier = roundl((long double)significand * 2147483648.0L);
    if (multiplier == 2147483648.0L) {
        multiplier /= 2;
        exponent++;
    }
    if (exponent < -31) {
        return 0;
    }
    long double shifted = exponent > 0 ? ldexpl((long double)x, exponent) : (long double)x;
    long double high = floorl(shifted * multiplier / 2147483648.0L + 0.5L);
    return (int64_t)(exponent < 0 ? roundl(ldexpl(high, exponent)) : high);
}

static inline int64_t naive_clamp(int64_t x, int64_t low, int64_t high) {
    return x < low ? low : x > high ? high : x;
}

#endif
