// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// TRANSPOSE_CONV in int8 (integer_ops/transpose_conv.h), legacy uint8 and float32 (reference/transpose_conv.h): each
// input pixel adds its products with the whole filter to the output pixels around stride times its place. Operands:
// the output's shape, weights (output channels first), input, bias.
#include <stdlib.h>

#include "eight_bit.h"
#include "fixed_point.h"

struct transpose {
    int32_t padding_top, padding_left;
    struct systole_convolution_parameters parameters;
    float low, high;
};

static void release(void *state) {
    struct transpose *t = state;
    systole_convolution_parameters_free(&t->parameters);
    free(t);
}

static enum systole_status prepare(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *weights = systole_kernel_input(call, 1), *input = systole_kernel_input(call, 2);
    const struct systole_tensor *output = systole_kernel_output(call);
    const struct systole_options *options = &call->op->options;
    if (weights == NULL || input == NULL || weights->rank != 4 || input->rank != 4 || output->rank != 4 ||
        weights->dtype != output->dtype || input->dtype != output->dtype || input->size == 0 || output->size == 0 ||
        input->shape[0] != output->shape[0] || weights->shape[0] != output->shape[3] ||
        weights->shape[3] != input->shape[3]) {
        return systole_kernel_refuse(call, diagnostic, "", "types or shapes of input, weights and output do not agree");
    }
    for (int32_t axis = 1; axis <= 2; axis++) {
        int32_t stride = axis == 1 ? options->stride_h : options->stride_w;
        if (stride < 1 || stride > 32767 || weights->shape[axis] < 1 || weights->shape[axis] > 32767 ||
            (int64_t)input->shape[axis] * stride > 1 << 30 || output->shape[axis] > 1 << 30) {
            return systole_kernel_refuse(call, diagnostic, "", "a stride or extent is too large");
        }
    }
    enum systole_status status = systole_kernel_state(call, sizeof(struct transpose), diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct transpose *t = call->state;
    int32_t height = systole_output_extent(options->padding, output->shape[1], weights->shape[1], options->stride_h, 1);
    int32_t width = systole_output_extent(options->padding, output->shape[2], weights->shape[2], options->stride_w, 1);
    t->padding_top =
        systole_padding_before(options->padding, output->shape[1], weights->shape[1], options->stride_h, 1, height);
    t->padding_left =
        systole_padding_before(options->padding, output->shape[2], weights->shape[2], options->stride_w, 1, width);
    return systole_eight_bit_sums(call, 3, output->shape[3], &t->low, &t->high, &t->parameters, diagnostic);
}

// Calls `add` for each pair of an input pixel and an output pixel that meet, with the tap between them.
static void walk(const struct systole_kernel_call *call, void *context,
                 void (*add)(void *context, size_t input, size_t output, size_t tap)) {
    const struct transpose *t = call->state;
    const struct systole_tensor *weights = systole_kernel_input(call, 1), *input = systole_kernel_input(call, 2);
    const struct systole_tensor *output = systole_kernel_output(call);
    size_t pixel = 0;
    for (size_t batch = 0; batch < (size_t)input->shape[0]; batch++) {
        for (int32_t y = 0; y < input->shape[1]; y++) {
            for (int32_t x = 0; x < input->shape[2]; x++, pixel++) {
                int32_t top = y * call->op->options.stride_h - t->padding_top;
                int32_t left = x * call->op->options.stride_w - t->padding_left;
                struct systole_tap_range rows = systole_taps_inside(top, weights->shape[1], 1, output->shape[1]);
                struct systole_tap_range columns = systole_taps_inside(left, weights->shape[2], 1, output->shape[2]);
                for (int32_t ky = rows.first; ky < rows.end; ky++) {
                    for (int32_t kx = columns.first; kx < columns.end; kx++) {
                        size_t row = batch * (size_t)output->shape[1] + (size_t)(top + ky);
                        add(context, pixel, row * (size_t)output->shape[2] + (size_t)(left + kx),
                            (size_t)ky * (size_t)weights->shape[2] + (size_t)kx);
                    }
                }
            }
        }
    }
}

struct sums {
    size_t depth, channels, taps; // input and output channels, taps of the filter
    const int16_t *values, *weights;
    const float *reals, *real_weights;
    uint32_t *sums;
    float *real_sums;
};

static void add_integer(void *context, size_t input, size_t output, size_t tap) {
    struct sums *s = context;
    for (size_t c = 0; c < s->channels; c++) {
        const int16_t *a = s->values + input * s->depth, *b = s->weights + (c * s->taps + tap) * s->depth;
        uint32_t sum = 0;
        for (size_t k = 0; k < s->depth; k++) {
            sum += (uint32_t)(a[k] * b[k]);
        }
        s->sums[output * s->channels + c] += sum;
    }
}

static void add_float(void *context, size_t input, size_t output, size_t tap) {
    struct sums *s = context;
    for (size_t c = 0; c < s->channels; c++) {
        const float *a = s->reals + input * s->depth, *b = s->real_weights + (c * s->taps + tap) * s->depth;
        for (size_t k = 0; k < s->depth; k++) {
            s->real_sums[output * s->channels + c] += a[k] * b[k];
        }
    }
}

static struct sums sums_of(const struct systole_kernel_call *call) {
    const struct systole_tensor *weights = systole_kernel_input(call, 1);
    return (struct sums){.depth = (size_t)weights->shape[3],
                         .channels = (size_t)weights->shape[0],
                         .taps = (size_t)weights->shape[1] * (size_t)weights->shape[2]};
}

static enum systole_status run_integer(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct transpose *t = call->state;
    const struct systole_convolution_parameters *p = &t->parameters;
    const struct systole_tensor *weights = systole_kernel_input(call, 1), *input = systole_kernel_input(call, 2);
    const int32_t *bias = (const int32_t *)(const void *)systole_kernel_input_bytes(call, 3);
    uint8_t *output = systole_kernel_output_bytes(call);
    size_t count = systole_tensor_elements(systole_kernel_output(call));
    enum systole_status status = SYSTOLE_OK;
    int16_t *a = systole_widen(systole_kernel_input_bytes(call, 2), input->dtype, p->input_zero_point,
                               systole_tensor_elements(input));
    int16_t *b = systole_widen(systole_kernel_input_bytes(call, 1), weights->dtype, p->weight_zero_point,
                               systole_tensor_elements(weights));
    uint32_t *sums = calloc(count, sizeof *sums);
    if (a == NULL || b == NULL || sums == NULL) {
        status = systole_kernel_no_memory(call, diagnostic);
        goto out;
    }
    struct sums s = sums_of(call);
    s.values = a;
    s.weights = b;
    s.sums = sums;
    walk(call, &s, add_integer);
    for (size_t i = 0; i < count; i++) {
        size_t c = i % s.channels;
        int32_t sum = systole_wrapping_add((int32_t)sums[i], bias != NULL ? bias[c] : 0);
        int32_t scaled = systole_requantise(sum, p->multipliers[c].multiplier, p->multipliers[c].shift);
        output[i] =
            (uint8_t)systole_clamp(systole_wrapping_add(scaled, p->output_zero_point), p->clamp_min, p->clamp_max);
    }
out:
    free(sums);
    free(b);
    free(a);
    return status;
}

static enum systole_status run_float(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct transpose *t = call->state;
    const float *bias = (const float *)(const void *)systole_kernel_input_bytes(call, 3);
    size_t count = systole_tensor_elements(systole_kernel_output(call));
    struct sums s = sums_of(call);
    s.reals = (const float *)(const void *)systole_kernel_input_bytes(call, 2);
    s.real_weights = (const float *)(const void *)systole_kernel_input_bytes(call, 1);
    s.real_sums = (float *)(void *)systole_kernel_output_bytes(call);
    for (size_t i = 0; i < count; i++) {
        s.real_sums[i] = bias != NULL ? bias[i % s.channels] : 0.0f;
    }
    walk(call, &s, add_float);
    for (size_t i = 0; i < count; i++) {
        s.real_sums[i] = systole_clamp_float(s.real_sums[i], t->low, t->high);
    }
    return SYSTOLE_OK;
}

const struct systole_kernel systole_transpose_convolution_kernels[] = {
    {SYSTOLE_OP_TRANSPOSE_CONV, SYSTOLE_INT32, SYSTOLE_INT8, prepare, run_integer, release},
    {SYSTOLE_OP_TRANSPOSE_CONV, SYSTOLE_INT32, SYSTOLE_UINT8, prepare, run_integer, release},
    {SYSTOLE_OP_TRANSPOSE_CONV, SYSTOLE_INT32, SYSTOLE_FLOAT32, prepare, run_float, release},
    {0},
};
