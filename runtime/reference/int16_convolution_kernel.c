// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// CONV_2D, DEPTHWISE_CONV_2D, TRANSPOSE_CONV and FULLY_CONNECTED of int16 activations with int8 weights
// (integer_ops/conv.h, depthwise_conv.h, transpose_conv.h, fully_connected.h). Sums are 64 bits wide and rescaled with
// one rounding when the bias is int64 or left out; a bias of int32 asks for sums of 32 bits and two roundings, as in 8
// bits.
#include "sixteen_bit.h"

#include <math.h>
#include <stdlib.h>

struct int16_convolution {
    struct systole_kernel_window window;
    size_t rows, depth;  // FULLY_CONNECTED
    int32_t multiplier;  // DEPTHWISE_CONV_2D: output channels an input channel
    uint32_t bias_place; // among the inputs
    size_t channels;
    bool is_narrow; // sums of 32 bits
    int32_t clamp_min, clamp_max;
    struct systole_multiplier *multipliers; // one a channel
};

static void release(void *state) {
    struct int16_convolution *c = state;
    free(c->multipliers);
    free(c);
}

static enum systole_status derive_multipliers(const struct systole_kernel_call *call, uint32_t input_place,
                                              int32_t channel_dimension, struct int16_convolution *c,
                                              struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *weights = systole_kernel_input(call, 1), *output = systole_kernel_output(call);
    const struct systole_quantisation *q = &weights->quantisation;
    float input_scale = 1.0f, output_scale = 1.0f;
    enum systole_status status = systole_kernel_symmetric_scale(call, systole_kernel_input(call, input_place), "input",
                                                                &input_scale, diagnostic);
    if (status == SYSTOLE_OK) {
        status = systole_kernel_symmetric_scale(call, output, "output", &output_scale, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    c->channels = (size_t)weights->shape[channel_dimension];
    if (q->count != 1 && (q->count != c->channels || q->dimension != channel_dimension)) {
        return systole_kernel_refuse(call, diagnostic, "",
                                     "the weights have neither one scale nor one for each output channel");
    }
    for (uint32_t i = 0; i < q->count; i++) {
        if (!isfinite(q->scale[i]) || !(q->scale[i] > 0.0f) || q->zero_point[i] != 0) {
            return systole_kernel_refuse(call, diagnostic, "",
                                         "scale or zero point %u of the weights is not positive or not 0", i);
        }
    }
    c->multipliers = calloc(c->channels + 1, sizeof *c->multipliers);
    if (c->multipliers == NULL) {
        return systole_kernel_no_memory(call, diagnostic);
    }
    bool float_product = call->op->code == SYSTOLE_OP_FULLY_CONNECTED && q->count == 1;
    for (size_t i = 0; i < c->channels; i++) {
        float scale = q->scale[q->count == 1 ? 0 : i];
        double product = float_product ? (double)(input_scale * scale) : (double)input_scale * (double)scale;
        c->multipliers[i] = systole_quantize_multiplier(product / (double)output_scale);
    }
    systole_activation_range(output, call->op->options.activation, &c->clamp_min, &c->clamp_max);
    return SYSTOLE_OK;
}

static enum systole_status check_common(const struct systole_kernel_call *call, uint32_t bias_place, int32_t channels,
                                        struct int16_convolution *c, struct systole_diagnostic *diagnostic) {
    float low, high;
    if (!systole_float_activation_range(call->op->options.activation, &low, &high)) {
        return systole_kernel_refuse(call, diagnostic, "", "this fused activation is not supported");
    }
    const struct systole_tensor *bias = systole_kernel_input(call, bias_place);
    c->bias_place = bias_place;
    c->is_narrow = bias != NULL && bias->dtype == SYSTOLE_INT32;
    return systole_kernel_check_bias(call, bias_place, c->is_narrow ? SYSTOLE_INT32 : SYSTOLE_INT64, channels,
                                     diagnostic);
}

static bool has_int8_weights(const struct systole_kernel_call *call, int32_t rank) {
    const struct systole_tensor *weights = systole_kernel_input(call, 1);
    return weights != NULL && weights->rank == rank && weights->dtype == SYSTOLE_INT8;
}

static enum systole_status prepare_window(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *output = systole_kernel_output(call);
    if (!has_int8_weights(call, 4)) {
        return systole_kernel_refuse(call, diagnostic, "", "the weights are not four-dimensional INT8");
    }
    enum systole_status status = systole_kernel_state(call, sizeof(struct int16_convolution), diagnostic);
    struct int16_convolution *c = call->state;
    if (status == SYSTOLE_OK) {
        status = systole_kernel_weighted_window_derive(call, &c->window, &c->multiplier, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    bool depthwise = call->op->code == SYSTOLE_OP_DEPTHWISE_CONV_2D;
    status = check_common(call, 2, output->shape[3], c, diagnostic);
    return status == SYSTOLE_OK ? derive_multipliers(call, 0, depthwise ? 3 : 0, c, diagnostic) : status;
}

static enum systole_status prepare_fully_connected(struct systole_kernel_call *call,
                                                   struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *weights = systole_kernel_input(call, 1);
    if (!has_int8_weights(call, 2) || call->op->options.weights_format != 0) {
        return systole_kernel_refuse(call, diagnostic, "convert the model with plain weights",
                                     "the weights are not a plain matrix of INT8");
    }
    enum systole_status status = systole_kernel_state(call, sizeof(struct int16_convolution), diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct int16_convolution *c = call->state;
    size_t elements = systole_tensor_elements(input), outputs = systole_tensor_elements(systole_kernel_output(call));
    c->depth = (size_t)weights->shape[1];
    c->rows = elements / c->depth;
    if (c->rows * c->depth != elements || c->rows * (size_t)weights->shape[0] != outputs) {
        return systole_kernel_refuse(call, diagnostic, "", "weights of %d x %d do not fit %zu inputs and %zu outputs",
                                     weights->shape[0], weights->shape[1], elements, outputs);
    }
    status = check_common(call, 2, weights->shape[0], c, diagnostic);
    return status == SYSTOLE_OK ? derive_multipliers(call, 0, 0, c, diagnostic) : status;
}

// The window of the convolution whose gradient this is: it slides over the output and makes the input.
static enum systole_status derive_transposed_window(const struct systole_kernel_call *call, struct int16_convolution *c,
                                                    struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 2), *weights = systole_kernel_input(call, 1);
    const struct systole_tensor *output = systole_kernel_output(call);
    const struct systole_options *o = &call->op->options;
    bool steps_good = o->stride_h >= 1 && o->stride_w >= 1 && o->stride_h <= INT16_MAX && o->stride_w <= INT16_MAX;
    if (input == NULL || input->dtype != SYSTOLE_INT16 || input->rank != 4 || output->rank != 4 || !steps_good ||
        output->shape[0] != input->shape[0] || output->shape[3] != weights->shape[0] ||
        input->shape[3] != weights->shape[3] || weights->shape[1] > INT16_MAX || weights->shape[2] > INT16_MAX) {
        return systole_kernel_refuse(call, diagnostic, "",
                                     "input, weights and output do not fit, or the strides %d x %d", o->stride_h,
                                     o->stride_w);
    }
    c->window = (struct systole_kernel_window){
        .batches = input->shape[0],
        .input_height = input->shape[1],
        .input_width = input->shape[2],
        .input_channels = input->shape[3],
        .output_height = output->shape[1],
        .output_width = output->shape[2],
        .output_channels = output->shape[3],
        .filter_height = weights->shape[1],
        .filter_width = weights->shape[2],
        .stride_h = o->stride_h,
        .stride_w = o->stride_w,
        .padding_top =
            systole_padding_before(o->padding, output->shape[1], weights->shape[1], o->stride_h, 1, input->shape[1]),
        .padding_left =
            systole_padding_before(o->padding, output->shape[2], weights->shape[2], o->stride_w, 1, input->shape[2]),
    };
    bool fits =
        systole_output_extent(o->padding, output->shape[1], weights->shape[1], o->stride_h, 1) == input->shape[1] &&
        systole_output_extent(o->padding, output->shape[2], weights->shape[2], o->stride_w, 1) == input->shape[2];
    return fits ? SYSTOLE_OK
                : systole_kernel_refuse(call, diagnostic, "",
                                        "an output of %d x %d does not come from an input of %d x %d", output->shape[1],
                                        output->shape[2], input->shape[1], input->shape[2]);
}

static enum systole_status prepare_transposed(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    if (!has_int8_weights(call, 4)) {
        return systole_kernel_refuse(call, diagnostic, "", "the weights are not four-dimensional INT8");
    }
    enum systole_status status = systole_kernel_state(call, sizeof(struct int16_convolution), diagnostic);
    struct int16_convolution *c = call->state;
    if (status == SYSTOLE_OK) {
        status = derive_transposed_window(call, c, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = check_common(call, 3, systole_kernel_output(call)->shape[3], c, diagnostic);
    }
    return status == SYSTOLE_OK ? derive_multipliers(call, 2, 0, c, diagnostic) : status;
}

static int16_t finish(const struct systole_kernel_call *call, int64_t sum, size_t channel) {
    const struct int16_convolution *c = call->state;
    const uint8_t *bias = systole_kernel_input_bytes(call, c->bias_place);
    struct systole_multiplier m = c->multipliers[channel];
    int32_t scaled;
    if (c->is_narrow) {
        int32_t narrow = systole_wrapping_add((int32_t)sum, ((const int32_t *)(const void *)bias)[channel]);
        scaled = systole_requantise(narrow, m.multiplier, m.shift);
    } else {
        uint64_t wide = bias != NULL ? (uint64_t)((const int64_t *)(const void *)bias)[channel] : 0;
        scaled = systole_requantise_wide((int64_t)((uint64_t)sum + wide), m);
    }
    return (int16_t)systole_clamp(scaled, c->clamp_min, c->clamp_max);
}

static int64_t dot(const int16_t *a, const int8_t *b, size_t count) {
    int64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

// Channel o of one output pixel.
static int64_t window_sum(const struct int16_convolution *c, const int16_t *map, const int8_t *weights,
                          int32_t origin_y, int32_t origin_x, size_t o) {
    const struct systole_kernel_window *w = &c->window;
    size_t channels = (size_t)w->input_channels, outputs = (size_t)w->output_channels;
    struct systole_tap_range y = systole_taps_inside(origin_y, w->filter_height, w->dilation_h, w->input_height);
    struct systole_tap_range x = systole_taps_inside(origin_x, w->filter_width, w->dilation_w, w->input_width);
    int64_t sum = 0;
    for (int32_t ky = y.first; ky < y.end; ky++) {
        size_t line = (size_t)(origin_y + ky * w->dilation_h) * (size_t)w->input_width;
        for (int32_t kx = x.first; kx < x.end; kx++) {
            const int16_t *pixel = map + (line + (size_t)(origin_x + kx * w->dilation_w)) * channels;
            size_t tap = (size_t)ky * (size_t)w->filter_width + (size_t)kx;
            if (c->multiplier > 0) {
                sum += pixel[o / (size_t)c->multiplier] * weights[tap * outputs + o];
            } else {
                size_t taps = (size_t)w->filter_height * (size_t)w->filter_width;
                sum += dot(pixel, weights + (o * taps + tap) * channels, channels);
            }
        }
    }
    return sum;
}

static enum systole_status run_window(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct int16_convolution *c = call->state;
    const struct systole_kernel_window *w = &c->window;
    const int16_t *maps = (const int16_t *)(const void *)systole_kernel_input_bytes(call, 0);
    const int8_t *weights = (const int8_t *)systole_kernel_input_bytes(call, 1);
    int16_t *output = (int16_t *)(void *)systole_kernel_output_bytes(call);
    size_t map_size = (size_t)w->input_height * (size_t)w->input_width * (size_t)w->input_channels;
    for (int32_t b = 0; b < w->batches; b++) {
        for (int32_t y = 0; y < w->output_height; y++) {
            for (int32_t x = 0; x < w->output_width; x++) {
                for (size_t o = 0; o < c->channels; o++) {
                    int64_t sum = window_sum(c, maps + (size_t)b * map_size, weights, y * w->stride_h - w->padding_top,
                                             x * w->stride_w - w->padding_left, o);
                    *output++ = finish(call, sum, o);
                }
            }
        }
    }
    return SYSTOLE_OK;
}

static enum systole_status run_fully_connected(const struct systole_kernel_call *call,
                                               struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct int16_convolution *c = call->state;
    const int16_t *input = (const int16_t *)(const void *)systole_kernel_input_bytes(call, 0);
    const int8_t *weights = (const int8_t *)systole_kernel_input_bytes(call, 1);
    int16_t *output = (int16_t *)(void *)systole_kernel_output_bytes(call);
    for (size_t r = 0; r < c->rows; r++) {
        for (size_t o = 0; o < c->channels; o++) {
            *output++ = finish(call, dot(input + r * c->depth, weights + o * c->depth, c->depth), o);
        }
    }
    return SYSTOLE_OK;
}

// Output pixel (y, x) gathers the input pixels (iy, ix) with iy * stride - padding + ky = y.
static int64_t transposed_sum(const struct int16_convolution *c, const int16_t *map, const int8_t *weights, int32_t y,
                              int32_t x, size_t o) {
    const struct systole_kernel_window *w = &c->window;
    size_t channels = (size_t)w->input_channels, taps = (size_t)w->filter_height * (size_t)w->filter_width;
    int64_t sum = 0;
    for (int32_t ky = 0; ky < w->filter_height; ky++) {
        int32_t at_y = y + w->padding_top - ky;
        if (at_y < 0 || at_y % w->stride_h != 0 || at_y / w->stride_h >= w->input_height) {
            continue;
        }
        for (int32_t kx = 0; kx < w->filter_width; kx++) {
            int32_t at_x = x + w->padding_left - kx;
            if (at_x < 0 || at_x % w->stride_w != 0 || at_x / w->stride_w >= w->input_width) {
                continue;
            }
            size_t pixel = (size_t)(at_y / w->stride_h) * (size_t)w->input_width + (size_t)(at_x / w->stride_w);
            size_t tap = (size_t)ky * (size_t)w->filter_width + (size_t)kx;
            sum += dot(map + pixel * channels, weights + (o * taps + tap) * channels, channels);
        }
    }
    return sum;
}

static enum systole_status run_transposed(const struct systole_kernel_call *call,
                                          struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct int16_convolution *c = call->state;
    const struct systole_kernel_window *w = &c->window;
    const int16_t *maps = (const int16_t *)(const void *)systole_kernel_input_bytes(call, 2);
    const int8_t *weights = (const int8_t *)systole_kernel_input_bytes(call, 1);
    int16_t *output = (int16_t *)(void *)systole_kernel_output_bytes(call);
    size_t map_size = (size_t)w->input_height * (size_t)w->input_width * (size_t)w->input_channels;
    for (int32_t b = 0; b < w->batches; b++) {
        for (int32_t y = 0; y < w->output_height; y++) {
            for (int32_t x = 0; x < w->output_width; x++) {
                for (size_t o = 0; o < c->channels; o++) {
                    *output++ = finish(call, transposed_sum(c, maps + (size_t)b * map_size, weights, y, x, o), o);
                }
            }
        }
    }
    return SYSTOLE_OK;
}

const struct systole_kernel systole_int16_convolution_kernels[] = {
    {SYSTOLE_OP_TRANSPOSE_CONV, SYSTOLE_INT32, SYSTOLE_INT16, prepare_transposed, run_transposed, release},
    {SYSTOLE_OP_CONV_2D, SYSTOLE_INT16, SYSTOLE_INT16, prepare_window, run_window, release},
    {SYSTOLE_OP_DEPTHWISE_CONV_2D, SYSTOLE_INT16, SYSTOLE_INT16, prepare_window, run_window, release},
    {SYSTOLE_OP_FULLY_CONNECTED, SYSTOLE_INT16, SYSTOLE_INT16, prepare_fully_connected, run_fully_connected, release},
    {0},
};
