// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// CONV_2D in int8 (integer_ops/conv.h ConvPerChannel), legacy uint8 (reference/conv.h) and float32. Integer sums do
// not depend on their order, so each output pixel gathers its receptive field into one row of operands (padding is
// operand 0) and every output channel is a dot product of that row with its weights.
#include "eight_bit.h"
#include "fixed_point.h"

#include <stdlib.h>
#include <string.h>

struct convolution {
    struct systole_kernel_window window;
    struct systole_convolution_parameters parameters; // integer kernels
    float low, high;                                  // float kernel
};

static void release(void *state) {
    struct convolution *c = state;
    systole_convolution_parameters_free(&c->parameters);
    free(c);
}

static enum systole_status prepare(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *weights = systole_kernel_input(call, 1);
    const struct systole_tensor *output = systole_kernel_output(call);
    if (weights == NULL || weights->rank != 4 || weights->dtype != input->dtype) {
        return systole_kernel_refuse(call, diagnostic, "", "the weights are not four-dimensional %s",
                                     systole_dtype_name(input->dtype));
    }
    enum systole_status status = systole_kernel_state(call, sizeof(struct convolution), diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct convolution *c = call->state;
    int32_t none; // no multiplier
    status = systole_kernel_weighted_window_derive(call, &c->window, &none, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    return systole_eight_bit_sums(call, 2, output->shape[3], &c->low, &c->high, &c->parameters, diagnostic);
}

// Copies the operands under the window at (origin_y, origin_x) in the weights' order; those outside are 0.
static void gather(const struct systole_kernel_window *w, const int16_t *map, int32_t origin_y, int32_t origin_x,
                   int16_t *row) {
    size_t channels = (size_t)w->input_channels;
    struct systole_tap_range y = systole_taps_inside(origin_y, w->filter_height, w->dilation_h, w->input_height);
    struct systole_tap_range x = systole_taps_inside(origin_x, w->filter_width, w->dilation_w, w->input_width);
    if (y.end - y.first != w->filter_height || x.end - x.first != w->filter_width) {
        memset(row, 0, (size_t)w->filter_height * (size_t)w->filter_width * channels * sizeof *row);
    }
    for (int32_t ky = y.first; ky < y.end; ky++) {
        size_t line = (size_t)(origin_y + ky * w->dilation_h) * (size_t)w->input_width;
        for (int32_t kx = x.first; kx < x.end; kx++) {
            const int16_t *source = map + (line + (size_t)(origin_x + kx * w->dilation_w)) * channels;
            memcpy(row + ((size_t)ky * (size_t)w->filter_width + (size_t)kx) * channels, source,
                   channels * sizeof *row);
        }
    }
}

static int32_t dot(const int16_t *a, const int16_t *b, size_t count) {
    uint32_t sum = 0; // wraps, as an accumulator register does
    for (size_t i = 0; i < count; i++) {
        sum += (uint32_t)(a[i] * b[i]);
    }
    return (int32_t)sum;
}

static void convolve_pixel(const struct convolution *c, const int16_t *row, const int16_t *weights, size_t reduction,
                           const int32_t *bias, uint8_t *output) {
    const struct systole_convolution_parameters *p = &c->parameters;
    for (uint32_t o = 0; o < p->channels; o++) {
        int32_t sum = dot(row, weights + o * reduction, reduction);
        if (bias != NULL) {
            sum = systole_wrapping_add(sum, bias[o]);
        }
        int32_t scaled = systole_requantise(sum, p->multipliers[o].multiplier, p->multipliers[o].shift);
        output[o] =
            (uint8_t)systole_clamp(systole_wrapping_add(scaled, p->output_zero_point), p->clamp_min, p->clamp_max);
    }
}

static enum systole_status run_integer(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct convolution *c = call->state;
    const struct systole_kernel_window *w = &c->window;
    const struct systole_tensor *input = systole_kernel_input(call, 0), *filter = systole_kernel_input(call, 1);
    const int32_t *bias = (const int32_t *)(const void *)systole_kernel_input_bytes(call, 2);
    uint8_t *output = systole_kernel_output_bytes(call);
    size_t reduction = (size_t)w->filter_height * (size_t)w->filter_width * (size_t)w->input_channels;
    size_t map_size = (size_t)w->input_height * (size_t)w->input_width * (size_t)w->input_channels;

    int16_t *maps = systole_widen(systole_kernel_input_bytes(call, 0), input->dtype, c->parameters.input_zero_point,
                                  systole_tensor_elements(input));
    int16_t *weights = systole_widen(systole_kernel_input_bytes(call, 1), filter->dtype,
                                     c->parameters.weight_zero_point, systole_tensor_elements(filter));
    int16_t *row = calloc(reduction, sizeof *row);
    enum systole_status status = SYSTOLE_OK;
    if (maps == NULL || weights == NULL || row == NULL) {
        status = systole_kernel_no_memory(call, diagnostic);
        goto out;
    }
    for (int32_t b = 0; b < w->batches; b++) {
        for (int32_t y = 0; y < w->output_height; y++) {
            for (int32_t x = 0; x < w->output_width; x++) {
                gather(w, maps + (size_t)b * map_size, y * w->stride_h - w->padding_top,
                       x * w->stride_w - w->padding_left, row);
                convolve_pixel(c, row, weights, reduction, bias, output);
                output += w->output_channels;
            }
        }
    }
out:
    free(row);
    free(weights);
    free(maps);
    return status;
}

static float sum_float(const struct systole_kernel_window *w, const float *map, const float *weights, int32_t origin_y,
                       int32_t origin_x) {
    size_t channels = (size_t)w->input_channels;
    struct systole_tap_range y = systole_taps_inside(origin_y, w->filter_height, w->dilation_h, w->input_height);
    struct systole_tap_range x = systole_taps_inside(origin_x, w->filter_width, w->dilation_w, w->input_width);
    float sum = 0.0f;
    for (int32_t ky = y.first; ky < y.end; ky++) {
        size_t line = (size_t)(origin_y + ky * w->dilation_h) * (size_t)w->input_width;
        for (int32_t kx = x.first; kx < x.end; kx++) {
            const float *source = map + (line + (size_t)(origin_x + kx * w->dilation_w)) * channels;
            const float *tap = weights + ((size_t)ky * (size_t)w->filter_width + (size_t)kx) * channels;
            for (size_t i = 0; i < channels; i++) {
                sum += source[i] * tap[i];
            }
        }
    }
    return sum;
}

static enum systole_status run_float(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct convolution *c = call->state;
    const struct systole_kernel_window *w = &c->window;
    const float *maps = (const float *)(const void *)systole_kernel_input_bytes(call, 0);
    const float *weights = (const float *)(const void *)systole_kernel_input_bytes(call, 1);
    const float *bias = (const float *)(const void *)systole_kernel_input_bytes(call, 2);
    float *output = (float *)(void *)systole_kernel_output_bytes(call);
    size_t reduction = (size_t)w->filter_height * (size_t)w->filter_width * (size_t)w->input_channels;
    size_t map_size = (size_t)w->input_height * (size_t)w->input_width * (size_t)w->input_channels;
    for (int32_t b = 0; b < w->batches; b++) {
        for (int32_t y = 0; y < w->output_height; y++) {
            for (int32_t x = 0; x < w->output_width; x++) {
                for (int32_t o = 0; o < w->output_channels; o++) {
                    float sum = sum_float(w, maps + (size_t)b * map_size, weights + (size_t)o * reduction,
                                          y * w->stride_h - w->padding_top, x * w->stride_w - w->padding_left);
                    *output++ = systole_clamp_float(sum + (bias != NULL ? bias[o] : 0.0f), c->low, c->high);
                }
            }
        }
    }
    return SYSTOLE_OK;
}

const struct systole_kernel systole_convolution_kernels[] = {
    {SYSTOLE_OP_CONV_2D, SYSTOLE_INT8, SYSTOLE_INT8, prepare, run_integer, release},
    {SYSTOLE_OP_CONV_2D, SYSTOLE_UINT8, SYSTOLE_UINT8, prepare, run_integer, release},
    {SYSTOLE_OP_CONV_2D, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare, run_float, release},
    {0},
};
