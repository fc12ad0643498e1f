// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Ranges and bytes of activations that meet int8 weights (portable_tensor_utils.cc), with the operations of
// reference/hybrid_kernel.c in their order, so that the bytes are the same.
#include "fast_kernel.h"

#include <math.h>

static struct systole_hybrid_scale quantise_symmetric(const struct systole_microkernels *micro, const float *values,
                                                      size_t count, uint8_t *bytes) {
    float smallest, largest;
    micro->range(values, count, &smallest, &largest);
    float range = -smallest > largest ? -smallest : largest;
    float inverse = range > 0.0f ? 127.0f / range : 0.0f;
    // Adding -0 changes no value.
    micro->quantise(values, count, -0.0f, inverse, -127.0f, bytes);
    return (struct systole_hybrid_scale){.scale = range > 0.0f ? range / 127.0f : 1.0f};
}

static struct systole_hybrid_scale quantise_asymmetric(const struct systole_microkernels *micro, const float *values,
                                                       size_t count, uint8_t *bytes) {
    float smallest, largest;
    micro->range(values, count, &smallest, &largest);
    double scale = ((double)largest - (double)smallest) / 255.0;
    double least = -128.0 - (double)smallest / scale, most = 127.0 - (double)largest / scale;
    bool from_least = 128.0 + fabs((double)smallest / scale) < 127.0 + fabs((double)largest / scale);
    float steps = roundf((float)(from_least ? least : most));
    float zero_point = !(steps >= -128.0f) ? -128.0f : steps > 127.0f ? 127.0f : steps;
    float inverse = 1.0f / (float)scale;
    if (!(scale > 0.0) || !isfinite(inverse)) {
        scale = 1.0;
        zero_point = 0.0f;
        inverse = 0.0f;
    }
    micro->quantise(values, count, zero_point, inverse, -128.0f, bytes);
    return (struct systole_hybrid_scale){.scale = (float)scale, .zero_point = (int32_t)zero_point};
}

struct systole_hybrid_scale systole_hybrid_quantise(const struct systole_microkernels *micro, const float *values,
                                                    size_t count, bool is_asymmetric, uint8_t *bytes) {
    return (is_asymmetric ? quantise_asymmetric : quantise_symmetric)(micro, values, count, bytes);
}

enum systole_status systole_hybrid_columns_make(const struct systole_kernel_call *call, size_t columns,
                                                float **scales_and_bias, struct systole_diagnostic *diagnostic) {
    const struct systole_quantisation *q = &systole_kernel_input(call, 1)->quantisation;
    const int32_t index = call->op->input_count > 2 ? call->op->inputs[2] : -1;
    const float *bias = index >= 0 ? (const float *)(const void *)call->fast->constants[index] : NULL;
    float *made = systole_aligned_alloc(2 * columns * sizeof *made);
    if (made == NULL) {
        return systole_kernel_no_memory(call, diagnostic);
    }
    for (size_t i = 0; i < columns; i++) {
        made[i] = q->scale[q->count == 1 ? 0 : i];
        made[columns + i] = bias != NULL ? bias[i] : -0.0f;
    }
    *scales_and_bias = made;
    return SYSTOLE_OK;
}
