// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Loops of the hybrid operators around their integer products, included by each set of microkernels so that the
// compiler makes vectors of its own instructions of them. Operations and their order are those of
// reference/hybrid_kernel.c, for each element, so that results are the same bits on every set. Clamping comes before
// rounding: the ends are whole numbers, which leaves the result as it is, and then a conversion to int32 truncates
// safely.
#ifndef SYSTOLE_HYBRID_LOOPS_H
#define SYSTOLE_HYBRID_LOOPS_H

#include "microkernels.h"

#include <string.h>

#if defined(__AVX512F__)
enum { HYBRID_LANES = 16 };
#elif defined(__AVX2__)
enum { HYBRID_LANES = 8 };
#else
enum { HYBRID_LANES = 4 };
#endif
typedef float hybrid_floats __attribute__((vector_size(4 * HYBRID_LANES)));
typedef int32_t hybrid_numbers __attribute__((vector_size(4 * HYBRID_LANES)));
#define HYBRID_SELECT(mask, a, b) (hybrid_floats)(((mask) & (hybrid_numbers)(a)) | (~(mask) & (hybrid_numbers)(b)))

// The next values, with zeros behind the last.
static inline void hybrid_load(const float *values, size_t left, hybrid_floats *loaded) {
    *loaded = (hybrid_floats){0};
    if (left >= HYBRID_LANES) {
        memcpy(loaded, values, sizeof *loaded);
    } else {
        memcpy(loaded, values, left * sizeof *values);
    }
}

static void hybrid_range(const float *values, size_t count, float *smallest, float *largest) {
    hybrid_floats low = {0}, high = {0};
    for (size_t i = 0; i < count; i += HYBRID_LANES) {
        hybrid_floats x;
        hybrid_load(values + i, count - i, &x);
        low = HYBRID_SELECT(x < low, x, low);
        high = HYBRID_SELECT(x > high, x, high);
    }
    *smallest = *largest = 0.0f;
    for (size_t k = 0; k < HYBRID_LANES; k++) {
        *smallest = low[k] < *smallest ? low[k] : *smallest;
        *largest = high[k] > *largest ? high[k] : *largest;
    }
}

static void hybrid_quantise(const float *restrict values, size_t count, float zero_point, float inverse, float low,
                            uint8_t *restrict bytes) {
    const hybrid_floats zeros = {0}, most = zeros + 127.0f, least = zeros + low, half = zeros + 0.5f;
    for (size_t i = 0; i < count; i += HYBRID_LANES) {
        hybrid_floats x;
        hybrid_load(values + i, count - i, &x);
        x = zero_point + x * inverse;
        x = HYBRID_SELECT(x >= least, x, least); // also what is not a number
        x = HYBRID_SELECT(x <= most, x, most);
        hybrid_numbers whole = __builtin_convertvector(x, hybrid_numbers);
        hybrid_floats rest = x - __builtin_convertvector(whole, hybrid_floats);
        whole = whole - (rest >= half) + (rest <= -half); // comparisons are 0 or -1
        size_t left = count - i < HYBRID_LANES ? count - i : HYBRID_LANES;
        for (size_t k = 0; k < left; k++) {
            bytes[i + k] = (uint8_t)whole[k];
        }
    }
}

static void hybrid_finish(const struct systole_hybrid_row *restrict row, const int32_t *restrict sums,
                          float *restrict output) {
    for (size_t i = 0; i < row->count; i++) {
        int32_t sum = (int32_t)((uint32_t)sums[i] - (uint32_t)row->zero_point * (uint32_t)row->column_sums[i]);
        float value = (float)sum * (row->scale * row->scales[i]) + row->bias[i];
        value = value < row->low ? row->low : value;
        output[i] = value > row->high ? row->high : value;
    }
}

#endif
