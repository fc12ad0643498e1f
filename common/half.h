// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// IEEE 754 half precision by its bits, for hosts without such a type. Pure; any thread.
#ifndef SYSTOLE_HALF_H
#define SYSTOLE_HALF_H

#include <stdint.h>
#include <string.h>

// Exact: every half is a float.
static inline float systole_float_of_half(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = half >> 10 & 31u, fraction = half & 0x3ffu, bits;
    if (exponent == 0) { // zero or subnormal: fraction * 2^-24
        float value = (float)fraction * 0x1p-24f;
        memcpy(&bits, &value, sizeof bits);
        bits |= sign;
    } else {
        bits = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112u) << 23) | fraction << 13;
    }
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// Rounds to the nearest, ties to even; too large a number becomes infinite, what is not a number stays so.
static inline uint16_t systole_half_of_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return (uint16_t)(sign | 0x7e00u);
    }
    if (magnitude >= 0x477ff000u) { // 65520 and more round beyond 65504
        return (uint16_t)(sign | 0x7c00u);
    }
    // Below 2^-14 halves are multiples of 2^-24: the shift grows with what the exponent lacks.
    uint32_t exponent = magnitude >> 23;
    uint32_t significand = (magnitude & 0x7fffffu) | (exponent > 0 ? 0x800000u : 0);
    uint32_t shift = exponent >= 113 ? 13 : exponent >= 102 ? 126 - exponent : 32;
    if (shift >= 32) {
        return sign; // at most half of the smallest; a tie goes to zero
    }
    uint32_t rest = significand & ((1u << shift) - 1), half = 1u << (shift - 1), kept = significand >> shift;
    kept += rest > half || (rest == half && (kept & 1u)) ? 1 : 0; // may carry into the exponent, rightly
    return (uint16_t)(sign | (exponent >= 113 ? ((exponent - 113) << 10) + kept : kept));
}

#endif
