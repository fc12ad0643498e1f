// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Ranges and bytes of activations that meet int8 weights (portable_tensor_utils.cc), with the operations of
// reference/hybrid_kernel.c in their order, so that the bytes are the same. Clamping comes before rounding: the ends
// are whole numbers, which leaves the result as it is, and then a conversion to int32 truncates safely.
#include "fast_kernel.h"

#include <math.h>

static inline int32_t quantise(float x, float low, float high) {
    x = x >= low ? x : low; // also what is not a number
    x = x <= high ? x : high;
    int32_t whole = (int32_t)x;
    float rest = x - (float)whole;
    return whole + (rest >= 0.5f ? 1 : 0) - (rest <= -0.5f ? 1 : 0);
}

static struct systole_hybrid_scale quantise_symmetric(const float *values, size_t count, uint8_t *bytes) {
    float range = 0.0f;
    for (size_t i = 0; i < count; i++) {
        range = fabsf(values[i]) > range ? fabsf(values[i]) : range;
    }
    float inverse = range > 0.0f ? 127.0f / range : 0.0f;
    for (size_t i = 0; i < count; i++) {
        bytes[i] = (uint8_t)quantise(values[i] * inverse, -127.0f, 127.0f);
    }
    return (struct systole_hybrid_scale){.scale = range > 0.0f ? range / 127.0f : 1.0f};
}

static struct systole_hybrid_scale quantise_asymmetric(const float *values, size_t count, uint8_t *bytes) {
    float smallest = 0.0f, largest = 0.0f;
    for (size_t i = 0; i < count; i++) {
        smallest = values[i] < smallest ? values[i] : smallest;
        largest = values[i] > largest ? values[i] : largest;
    }
    double scale = ((double)largest - (double)smallest) / 255.0;
    double least = -128.0 - (double)smallest / scale, most = 127.0 - (double)largest / scale;
    bool from_least = 128.0 + fabs((double)smallest / scale) < 127.0 + fabs((double)largest / scale);
    float zero_point = (float)quantise((float)(from_least ? least : most), -128.0f, 127.0f);
    float inverse = 1.0f / (float)scale;
    if (!(scale > 0.0) || !isfinite(inverse)) {
        scale = 1.0;
        zero_point = 0.0f;
        inverse = 0.0f;
    }
    for (size_t i = 0; i < count; i++) {
        bytes[i] = (uint8_t)quantise(zero_point + values[i] * inverse, -128.0f, 127.0f);
    }
    return (struct systole_hybrid_scale){.scale = (float)scale, .zero_point = (int32_t)zero_point};
}

struct systole_hybrid_scale systole_hybrid_quantise(const float *values, size_t count, bool is_asymmetric,
                                                    uint8_t *bytes) {
    return is_asymmetric ? quantise_asymmetric(values, count, bytes) : quantise_symmetric(values, count, bytes);
}
