// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// FULLY_CONNECTED in int8 per tensor and per channel (integer_ops/fully_connected.h), legacy uint8
// (reference/fully_connected.h) and float32. The input, whatever its rank, is read as rows of the weights' depth.
#include "eight_bit.h"
#include "fixed_point.h"

#include <stdlib.h>

struct fully_connected {
    size_t rows, depth, channels;
    struct systole_convolution_parameters parameters;
    float low, high;
};

static void release(void *state) {
    struct fully_connected *f = state;
    systole_convolution_parameters_free(&f->parameters);
    free(f);
}

static enum systole_status prepare(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *weights = systole_kernel_input(call, 1);
    const struct systole_tensor *output = systole_kernel_output(call);
    if (weights == NULL || weights->rank != 2 || weights->dtype != input->dtype) {
        return systole_kernel_refuse(call, diagnostic, "", "the weights are not two-dimensional %s",
                                     systole_dtype_name(input->dtype));
    }
    if (call->op->options.weights_format != 0) {
        return systole_kernel_refuse(call, diagnostic, "convert the model with plain weights",
                                     "the weights are in shuffled format %d", call->op->options.weights_format);
    }
    enum systole_status status = systole_kernel_state(call, sizeof(struct fully_connected), diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct fully_connected *f = call->state;
    f->channels = (size_t)weights->shape[0];
    f->depth = (size_t)weights->shape[1];
    f->rows = systole_tensor_elements(input) / f->depth;
    if (f->rows * f->depth != systole_tensor_elements(input) ||
        f->rows * f->channels != systole_tensor_elements(output)) {
        return systole_kernel_refuse(call, diagnostic, "", "weights of %zu x %zu do not fit %zu inputs and %zu outputs",
                                     f->channels, f->depth, systole_tensor_elements(input),
                                     systole_tensor_elements(output));
    }
    return systole_eight_bit_sums(call, 2, weights->shape[0], &f->low, &f->high, &f->parameters, diagnostic);
}

static int32_t dot(const int16_t *a, const int16_t *b, size_t count) {
    uint32_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (uint32_t)(a[i] * b[i]);
    }
    return (int32_t)sum;
}

static enum systole_status run_integer(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct fully_connected *f = call->state;
    const struct systole_convolution_parameters *p = &f->parameters;
    const struct systole_tensor *input = systole_kernel_input(call, 0), *filter = systole_kernel_input(call, 1);
    const int32_t *bias = (const int32_t *)(const void *)systole_kernel_input_bytes(call, 2);
    uint8_t *output = systole_kernel_output_bytes(call);
    int16_t *rows =
        systole_widen(systole_kernel_input_bytes(call, 0), input->dtype, p->input_zero_point, f->rows * f->depth);
    int16_t *weights =
        systole_widen(systole_kernel_input_bytes(call, 1), filter->dtype, p->weight_zero_point, f->channels * f->depth);
    enum systole_status status = SYSTOLE_OK;
    if (rows == NULL || weights == NULL) {
        status = systole_kernel_no_memory(call, diagnostic);
        goto out;
    }
    for (size_t r = 0; r < f->rows; r++) {
        for (size_t o = 0; o < f->channels; o++) {
            int32_t sum = dot(rows + r * f->depth, weights + o * f->depth, f->depth);
            sum = bias != NULL ? systole_wrapping_add(sum, bias[o]) : sum;
            int32_t scaled = systole_requantise(sum, p->multipliers[o].multiplier, p->multipliers[o].shift);
            *output++ =
                (uint8_t)systole_clamp(systole_wrapping_add(scaled, p->output_zero_point), p->clamp_min, p->clamp_max);
        }
    }
out:
    free(weights);
    free(rows);
    return status;
}

static enum systole_status run_float(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct fully_connected *f = call->state;
    const float *input = (const float *)(const void *)systole_kernel_input_bytes(call, 0);
    const float *weights = (const float *)(const void *)systole_kernel_input_bytes(call, 1);
    const float *bias = (const float *)(const void *)systole_kernel_input_bytes(call, 2);
    float *output = (float *)(void *)systole_kernel_output_bytes(call);
    for (size_t r = 0; r < f->rows; r++) {
        for (size_t o = 0; o < f->channels; o++) {
            float sum = 0.0f;
            for (size_t i = 0; i < f->depth; i++) {
                sum += input[r * f->depth + i] * weights[o * f->depth + i];
            }
            *output++ = systole_clamp_float(sum + (bias != NULL ? bias[o] : 0.0f), f->low, f->high);
        }
    }
    return SYSTOLE_OK;
}

const struct systole_kernel systole_fully_connected_kernels[] = {
    {SYSTOLE_OP_FULLY_CONNECTED, SYSTOLE_INT8, SYSTOLE_INT8, prepare, run_integer, release},
    {SYSTOLE_OP_FULLY_CONNECTED, SYSTOLE_UINT8, SYSTOLE_UINT8, prepare, run_integer, release},
    {SYSTOLE_OP_FULLY_CONNECTED, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare, run_float, release},
    {0},
};
