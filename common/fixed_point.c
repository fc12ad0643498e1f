// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "fixed_point.h"

#include <math.h>

struct systole_multiplier systole_quantize_multiplier(double real) {
    struct systole_multiplier result = {0, 0};
    // Scales are positive and finite where they come from files that were checked; anything else rescales to nothing.
    if (!(real > 0.0) || !isfinite(real)) {
        return result;
    }
    int exponent = 0;
    double significand = frexp(real, &exponent);
    int64_t fixed = llround(significand * 2147483648.0);
    if (fixed == (int64_t)1 << 31) {
        fixed /= 2;
        exponent++;
    }
    if (exponent < -31) {
        return result;
    }
    if (exponent > 30) {
        exponent = 30;
        fixed = INT32_MAX;
    }
    result.multiplier = (int32_t)fixed;
    result.shift = exponent;
    return result;
}

struct systole_multiplier systole_mean_multiplier(double real, uint32_t count) {
    struct systole_multiplier result = systole_quantize_multiplier(real);
    int32_t fold = 0; // floor(log2(count)): the quotient keeps at least 30 significant bits
    while (fold < 31 && (uint64_t)2 << fold <= count) {
        fold++;
    }
    if (fold > 31 + result.shift) {
        fold = 31 + result.shift;
    }
    result.multiplier = (int32_t)(((int64_t)result.multiplier << fold) / count);
    result.shift -= fold;
    return result;
}
