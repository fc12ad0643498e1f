// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Constants from float32 to what the formats keep. Rounding is to the nearest, halves away from zero, in double.
#include "graph_edit.h"
#include "half.h"
#include "quantizer_state.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Smallest scales that are written: products of two, and of their inverses, stay normal floats.
#define SMALLEST_SCALE 1e-15
// A bias takes at most this much of its 32 bits, so that the sum it is added to has room.
#define LARGEST_BIAS 1073741824.0

static int32_t round_clamped(double value, double low, double high) {
    double rounded = round(value);
    return (int32_t)(rounded < low ? low : rounded > high ? high : rounded);
}

void quantizer_affine(struct quantizer_range range, float *scale, int32_t *zero_point) {
    double low = fmin(range.low, 0), high = fmax(range.high, 0);
    if (low == high) {
        *scale = 1.0f;
        *zero_point = 0;
        return;
    }
    *scale = (float)fmax((high - low) / 255, SMALLEST_SCALE);
    *zero_point = round_clamped(-128.0 - low / (double)*scale, -128, 127);
}

double quantizer_decibels(double signal, double noise) {
    if (noise == 0) {
        return INFINITY;
    }
    return signal == 0 ? -INFINITY : 10 * log10(signal / noise);
}

enum systole_status quantizer_check_values(const char *graph, const struct systole_tensor *tensor, const float *values,
                                           int64_t set, struct systole_diagnostic *diagnostic) {
    size_t count = systole_tensor_elements(tensor);
    for (size_t i = 0; i < count; i++) {
        if (!(fabsf(values[i]) <= (float)QUANTIZER_LARGEST)) { // also what is not a number
            char where[32] = "a constant";
            if (set >= 0) {
                (void)snprintf(where, sizeof where, "set %lld", (long long)set);
            }
            return systole_fail(diagnostic, SYSTOLE_BAD_FILE, graph,
                                set >= 0 ? "check the representative data, and --mean and --scale" : "train it again",
                                "%s: element %zu of tensor %.100s is %g, which no scale can hold", where, i,
                                tensor->name != NULL ? tensor->name : "", (double)values[i]);
        }
    }
    return SYSTOLE_OK;
}

static void replace(struct systole_tensor *tensor, enum systole_dtype dtype, void *bytes) {
    free(tensor->data);
    tensor->data = bytes;
    tensor->dtype = dtype;
    tensor->size = systole_tensor_elements(tensor) * systole_dtype_size(dtype);
}

// Which scale an element of a constant has.
struct channel_map {
    size_t inner, channels;
};
static struct channel_map channel_map_of(const struct systole_tensor *tensor, uint32_t scales, int32_t dimension) {
    struct channel_map map = {1, 1};
    if (scales > 1) {
        map.channels = scales;
        for (int32_t d = dimension + 1; d < tensor->rank; d++) {
            map.inner *= (size_t)tensor->shape[d];
        }
    }
    return map;
}
static size_t channel_of(const struct channel_map *map, size_t element) {
    return element / map->inner % map->channels;
}

enum systole_status quantizer_int8_weights(struct systole_tensor *tensor, bool per_channel, int32_t dimension,
                                           const double *smallest, struct systole_diagnostic *diagnostic) {
    const float *values = (const float *)(const void *)tensor->data;
    size_t count = systole_tensor_elements(tensor);
    uint32_t scales = per_channel ? (uint32_t)tensor->shape[dimension] : 1;
    struct channel_map map = channel_map_of(tensor, scales, dimension);
    float *scale = calloc(scales, sizeof *scale);
    int8_t *bytes = malloc(count > 0 ? count : 1);
    enum systole_status status = SYSTOLE_OK;
    if (scale == NULL || bytes == NULL) {
        status = graph_edit_no_memory(tensor->name, diagnostic);
        goto out;
    }
    for (size_t i = 0; i < count; i++) {
        size_t c = channel_of(&map, i);
        scale[c] = fmaxf(scale[c], fabsf(values[i]));
    }
    for (uint32_t c = 0; c < scales; c++) {
        double wanted = fmax((double)scale[c] / 127, smallest != NULL ? smallest[c] : 0);
        scale[c] = (float)fmax(wanted, SMALLEST_SCALE);
    }
    for (size_t i = 0; i < count; i++) {
        bytes[i] = (int8_t)round_clamped((double)values[i] / (double)scale[channel_of(&map, i)], -127, 127);
    }
    status = graph_edit_quantise(tensor, scales, scale, 0, per_channel ? dimension : 0, diagnostic);
    if (status == SYSTOLE_OK) {
        replace(tensor, SYSTOLE_INT8, bytes);
        bytes = NULL;
    }
out:
    free(bytes);
    free(scale);
    return status;
}

enum systole_status quantizer_int32_bias(struct systole_tensor *tensor, float input_scale,
                                         const struct systole_quantisation *weights,
                                         struct systole_diagnostic *diagnostic) {
    const float *values = (const float *)(const void *)tensor->data;
    size_t count = systole_tensor_elements(tensor);
    float *scale = malloc(weights->count * sizeof *scale);
    int32_t *integers = malloc((count > 0 ? count : 1) * sizeof *integers);
    enum systole_status status = SYSTOLE_OK;
    if (scale == NULL || integers == NULL) {
        status = graph_edit_no_memory(tensor->name, diagnostic);
        goto out;
    }
    for (uint32_t c = 0; c < weights->count; c++) {
        scale[c] = input_scale * weights->scale[c];
    }
    for (size_t i = 0; i < count; i++) {
        double real = (double)values[i] / (double)scale[weights->count == 1 ? 0 : i % weights->count];
        integers[i] = round_clamped(real, -LARGEST_BIAS, LARGEST_BIAS);
    }
    status = graph_edit_quantise(tensor, weights->count, scale, 0, 0, diagnostic);
    if (status == SYSTOLE_OK) {
        replace(tensor, SYSTOLE_INT32, integers);
        integers = NULL;
    }
out:
    free(integers);
    free(scale);
    return status;
}

enum systole_status quantizer_int8_constant(struct systole_tensor *tensor, float scale, int32_t zero_point,
                                            struct systole_diagnostic *diagnostic) {
    const float *values = (const float *)(const void *)tensor->data;
    size_t count = systole_tensor_elements(tensor);
    int8_t *bytes = malloc(count > 0 ? count : 1);
    if (bytes == NULL) {
        return graph_edit_no_memory(tensor->name, diagnostic);
    }
    for (size_t i = 0; i < count; i++) {
        bytes[i] = (int8_t)round_clamped((double)values[i] / (double)scale + zero_point, -128, 127);
    }
    replace(tensor, SYSTOLE_INT8, bytes);
    return graph_edit_quantise(tensor, 1, &scale, zero_point, 0, diagnostic);
}

bool quantizer_fits_half(const struct systole_tensor *tensor) {
    const float *values = (const float *)(const void *)tensor->data;
    size_t count = systole_tensor_elements(tensor);
    for (size_t i = 0; i < count; i++) {
        if (!(fabsf(values[i]) < 65520.0f)) {
            return false;
        }
    }
    return true;
}

enum systole_status quantizer_half(struct systole_tensor *tensor, struct systole_diagnostic *diagnostic) {
    const float *values = (const float *)(const void *)tensor->data;
    size_t count = systole_tensor_elements(tensor);
    uint16_t *halves = malloc((count > 0 ? count : 1) * sizeof *halves);
    if (halves == NULL) {
        return graph_edit_no_memory(tensor->name, diagnostic);
    }
    for (size_t i = 0; i < count; i++) {
        halves[i] = systole_half_of_float(values[i]);
    }
    replace(tensor, SYSTOLE_FLOAT16, halves);
    return SYSTOLE_OK;
}

double quantizer_constant_snr(const struct systole_tensor *real, const struct systole_tensor *quantised) {
    const float *values = (const float *)(const void *)real->data;
    const struct systole_quantisation *q = &quantised->quantisation;
    size_t count = systole_tensor_elements(real);
    struct channel_map map = channel_map_of(quantised, q->count, q->dimension);
    double signal = 0, noise = 0;
    for (size_t i = 0; i < count; i++) {
        double value = (double)values[i], found;
        if (quantised->dtype == SYSTOLE_FLOAT16) {
            found = (double)systole_float_of_half(((const uint16_t *)(const void *)quantised->data)[i]);
        } else {
            size_t c = channel_of(&map, i);
            found = (double)q->scale[c] * (double)((int64_t)(int8_t)quantised->data[i] - q->zero_point[c]);
        }
        signal += value * value;
        noise += (value - found) * (value - found);
    }
    return quantizer_decibels(signal, noise);
}
