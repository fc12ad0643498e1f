// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// DEPTHWISE_CONV_2D in int8 (integer_ops/depthwise_conv.h), legacy uint8 (reference/depthwiseconv_uint8.h) and
// float32. Output channel c * multiplier + m is input channel c under its own filter. Each output pixel keeps one sum
// a channel and adds tap after tap, so that the inner loop runs along the channels.
#include "eight_bit.h"
#include "fixed_point.h"

#include <stdlib.h>
#include <string.h>

struct depthwise {
    struct systole_kernel_window window;
    int32_t multiplier; // output channels an input channel
    struct systole_convolution_parameters parameters;
    float low, high;
};

static void release(void *state) {
    struct depthwise *d = state;
    systole_convolution_parameters_free(&d->parameters);
    free(d);
}

static enum systole_status prepare(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *weights = systole_kernel_input(call, 1);
    const struct systole_tensor *output = systole_kernel_output(call);
    if (weights == NULL || weights->rank != 4 || weights->dtype != input->dtype || weights->shape[0] != 1) {
        return systole_kernel_refuse(call, diagnostic, "", "the weights are not 1 x height x width x channels of %s",
                                     systole_dtype_name(input->dtype));
    }
    enum systole_status status = systole_kernel_state(call, sizeof(struct depthwise), diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct depthwise *d = call->state;
    status = systole_kernel_weighted_window_derive(call, &d->window, &d->multiplier, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    return systole_eight_bit_sums(call, 2, output->shape[3], &d->low, &d->high, &d->parameters, diagnostic);
}

// sums[c * multiplier + m] += source[c] * tap[c * multiplier + m]
static void add_tap(const int16_t *source, const int16_t *tap, int32_t channels, int32_t multiplier, uint32_t *sums) {
    if (multiplier == 1) {
        for (int32_t i = 0; i < channels; i++) {
            sums[i] += (uint32_t)(source[i] * tap[i]);
        }
        return;
    }
    for (int32_t i = 0; i < channels; i++) {
        for (int32_t m = 0; m < multiplier; m++) {
            *sums++ += (uint32_t)(source[i] * *tap++);
        }
    }
}

static void sum_pixel(const struct depthwise *d, const int16_t *map, const int16_t *weights, int32_t origin_y,
                      int32_t origin_x, uint32_t *sums) {
    const struct systole_kernel_window *w = &d->window;
    struct systole_tap_range y = systole_taps_inside(origin_y, w->filter_height, w->dilation_h, w->input_height);
    struct systole_tap_range x = systole_taps_inside(origin_x, w->filter_width, w->dilation_w, w->input_width);
    memset(sums, 0, (size_t)w->output_channels * sizeof *sums);
    for (int32_t ky = y.first; ky < y.end; ky++) {
        size_t line = (size_t)(origin_y + ky * w->dilation_h) * (size_t)w->input_width;
        for (int32_t kx = x.first; kx < x.end; kx++) {
            size_t pixel = line + (size_t)(origin_x + kx * w->dilation_w);
            size_t tap = (size_t)ky * (size_t)w->filter_width + (size_t)kx;
            add_tap(map + pixel * (size_t)w->input_channels, weights + tap * (size_t)w->output_channels,
                    w->input_channels, d->multiplier, sums);
        }
    }
}

static void requantise_pixel(const struct systole_convolution_parameters *p, const uint32_t *sums, const int32_t *bias,
                             uint8_t *output) {
    for (uint32_t o = 0; o < p->channels; o++) {
        int32_t sum = bias != NULL ? systole_wrapping_add((int32_t)sums[o], bias[o]) : (int32_t)sums[o];
        int32_t scaled = systole_requantise(sum, p->multipliers[o].multiplier, p->multipliers[o].shift);
        output[o] =
            (uint8_t)systole_clamp(systole_wrapping_add(scaled, p->output_zero_point), p->clamp_min, p->clamp_max);
    }
}

static enum systole_status run_integer(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct depthwise *d = call->state;
    const struct systole_kernel_window *w = &d->window;
    const struct systole_tensor *input = systole_kernel_input(call, 0), *filter = systole_kernel_input(call, 1);
    const int32_t *bias = (const int32_t *)(const void *)systole_kernel_input_bytes(call, 2);
    uint8_t *output = systole_kernel_output_bytes(call);
    size_t map_size = (size_t)w->input_height * (size_t)w->input_width * (size_t)w->input_channels;

    int16_t *maps = systole_widen(systole_kernel_input_bytes(call, 0), input->dtype, d->parameters.input_zero_point,
                                  systole_tensor_elements(input));
    int16_t *weights = systole_widen(systole_kernel_input_bytes(call, 1), filter->dtype,
                                     d->parameters.weight_zero_point, systole_tensor_elements(filter));
    uint32_t *sums = malloc((size_t)w->output_channels * sizeof *sums);
    enum systole_status status = SYSTOLE_OK;
    if (maps == NULL || weights == NULL || sums == NULL) {
        status = systole_kernel_no_memory(call, diagnostic);
        goto out;
    }
    for (int32_t b = 0; b < w->batches; b++) {
        for (int32_t y = 0; y < w->output_height; y++) {
            for (int32_t x = 0; x < w->output_width; x++) {
                sum_pixel(d, maps + (size_t)b * map_size, weights, y * w->stride_h - w->padding_top,
                          x * w->stride_w - w->padding_left, sums);
                requantise_pixel(&d->parameters, sums, bias, output);
                output += w->output_channels;
            }
        }
    }
out:
    free(sums);
    free(weights);
    free(maps);
    return status;
}

static float sum_float(const struct depthwise *d, const float *map, const float *weights, int32_t origin_y,
                       int32_t origin_x, int32_t channel) {
    const struct systole_kernel_window *w = &d->window;
    struct systole_tap_range y = systole_taps_inside(origin_y, w->filter_height, w->dilation_h, w->input_height);
    struct systole_tap_range x = systole_taps_inside(origin_x, w->filter_width, w->dilation_w, w->input_width);
    float sum = 0.0f;
    for (int32_t ky = y.first; ky < y.end; ky++) {
        size_t line = (size_t)(origin_y + ky * w->dilation_h) * (size_t)w->input_width;
        for (int32_t kx = x.first; kx < x.end; kx++) {
            size_t pixel = line + (size_t)(origin_x + kx * w->dilation_w);
            size_t tap = (size_t)ky * (size_t)w->filter_width + (size_t)kx;
            sum += map[pixel * (size_t)w->input_channels + (size_t)(channel / d->multiplier)] *
                   weights[tap * (size_t)w->output_channels + (size_t)channel];
        }
    }
    return sum;
}

static enum systole_status run_float(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct depthwise *d = call->state;
    const struct systole_kernel_window *w = &d->window;
    const float *maps = (const float *)(const void *)systole_kernel_input_bytes(call, 0);
    const float *weights = (const float *)(const void *)systole_kernel_input_bytes(call, 1);
    const float *bias = (const float *)(const void *)systole_kernel_input_bytes(call, 2);
    float *output = (float *)(void *)systole_kernel_output_bytes(call);
    size_t map_size = (size_t)w->input_height * (size_t)w->input_width * (size_t)w->input_channels;
    for (int32_t b = 0; b < w->batches; b++) {
        for (int32_t y = 0; y < w->output_height; y++) {
            for (int32_t x = 0; x < w->output_width; x++) {
                for (int32_t o = 0; o < w->output_channels; o++) {
                    float sum = sum_float(d, maps + (size_t)b * map_size, weights, y * w->stride_h - w->padding_top,
                                          x * w->stride_w - w->padding_left, o);
                    *output++ = systole_clamp_float(sum + (bias != NULL ? bias[o] : 0.0f), d->low, d->high);
                }
            }
        }
    }
    return SYSTOLE_OK;
}

const struct systole_kernel systole_depthwise_kernels[] = {
    {SYSTOLE_OP_DEPTHWISE_CONV_2D, SYSTOLE_INT8, SYSTOLE_INT8, prepare, run_integer, release},
    {SYSTOLE_OP_DEPTHWISE_CONV_2D, SYSTOLE_UINT8, SYSTOLE_UINT8, prepare, run_integer, release},
    {SYSTOLE_OP_DEPTHWISE_CONV_2D, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare, run_float, release},
    {0},
};
