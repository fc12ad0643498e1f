// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// "Dynamic range" CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED: activations and bias of float32, weights of int8
// (conv.cc EvalHybrid and EvalHybridPerChannel, depthwise_conv.cc, fully_connected.cc). Each batch, in a fully
// connected layer each row, is quantised by its own range when it arrives (portable_tensor_utils.cc); sums are integers
// and are scaled back by activation scale * weight scale.
#include "kernel.h"

#include <math.h>
#include <stdlib.h>

struct hybrid {
    struct systole_kernel_window window; // not of FULLY_CONNECTED
    size_t batches, batch_size;          // what is quantised together
    size_t depth, channels;              // FULLY_CONNECTED
    int32_t multiplier;                  // DEPTHWISE_CONV_2D: output channels an input channel
    bool is_asymmetric;
    float low, high;
};

static enum systole_status check_weights(const struct systole_kernel_call *call, int32_t rank, int32_t dimension,
                                         struct hybrid *h, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *weights = systole_kernel_input(call, 1);
    const struct systole_quantisation *q = &weights->quantisation;
    if (weights->rank != rank) {
        return systole_kernel_refuse(call, diagnostic, "", "the weights have %d dimensions, not %d", weights->rank,
                                     rank);
    }
    if (q->count != 1 && (q->count != (uint32_t)weights->shape[dimension] || q->dimension != dimension)) {
        return systole_kernel_refuse(call, diagnostic, "",
                                     "the weights have neither one scale nor one for each output channel");
    }
    for (uint32_t i = 0; i < q->count; i++) {
        if (!isfinite(q->scale[i]) || !(q->scale[i] > 0.0f) || q->zero_point[i] != 0) {
            return systole_kernel_refuse(call, diagnostic, "",
                                         "scale or zero point %u of the weights is not positive or not 0", i);
        }
    }
    if (!systole_float_activation_range(call->op->options.activation, &h->low, &h->high)) {
        return systole_kernel_refuse(call, diagnostic, "", "this fused activation is not supported");
    }
    return systole_kernel_check_bias(call, 2, SYSTOLE_FLOAT32, weights->shape[dimension], diagnostic);
}

static enum systole_status prepare_window(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *weights = systole_kernel_input(call, 1);
    bool depthwise = call->op->code == SYSTOLE_OP_DEPTHWISE_CONV_2D;
    enum systole_status status = systole_kernel_state(call, sizeof(struct hybrid), diagnostic);
    struct hybrid *h = call->state;
    if (status == SYSTOLE_OK) {
        status = check_weights(call, 4, depthwise ? 3 : 0, h, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = systole_kernel_weighted_window_derive(call, &h->window, &h->multiplier, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    h->is_asymmetric = depthwise || weights->quantisation.count > 1;
    h->batches = (size_t)input->shape[0];
    h->batch_size = systole_tensor_elements(input) / h->batches;
    return SYSTOLE_OK;
}

static enum systole_status prepare_fully_connected(struct systole_kernel_call *call,
                                                   struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *weights = systole_kernel_input(call, 1);
    enum systole_status status = systole_kernel_state(call, sizeof(struct hybrid), diagnostic);
    struct hybrid *h = call->state;
    if (status == SYSTOLE_OK) {
        status = check_weights(call, 2, 0, h, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    if (call->op->options.weights_format != 0) {
        return systole_kernel_refuse(call, diagnostic, "convert the model with plain weights",
                                     "the weights are in shuffled format %d", call->op->options.weights_format);
    }
    size_t elements = systole_tensor_elements(input), outputs = systole_tensor_elements(systole_kernel_output(call));
    h->channels = (size_t)weights->shape[0];
    h->depth = h->batch_size = (size_t)weights->shape[1];
    h->batches = elements / h->depth;
    h->is_asymmetric = call->op->options.asymmetric_quantize_inputs;
    if (h->batches * h->depth != elements || h->batches * h->channels != outputs) {
        return systole_kernel_refuse(call, diagnostic, "", "weights of %zu x %zu do not fit %zu inputs and %zu outputs",
                                     h->channels, h->depth, elements, outputs);
    }
    return SYSTOLE_OK;
}

static int16_t quantise(float x, float low, float high) {
    float steps = roundf(x);
    return (int16_t)(!(steps >= low) ? low : steps > high ? high : steps); // also what is not a number
}

static float quantise_symmetric(const float *values, size_t count, int16_t *operands) {
    float range = 0.0f;
    for (size_t i = 0; i < count; i++) {
        range = fabsf(values[i]) > range ? fabsf(values[i]) : range;
    }
    float inverse = range > 0.0f ? 127.0f / range : 0.0f;
    for (size_t i = 0; i < count; i++) {
        operands[i] = quantise(values[i] * inverse, -127.0f, 127.0f);
    }
    return range > 0.0f ? range / 127.0f : 1.0f;
}

static float quantise_asymmetric(const float *values, size_t count, int16_t *operands) {
    float smallest = 0.0f, largest = 0.0f;
    for (size_t i = 0; i < count; i++) {
        smallest = values[i] < smallest ? values[i] : smallest;
        largest = values[i] > largest ? values[i] : largest;
    }
    double scale = ((double)largest - (double)smallest) / 255.0;
    double least = -128.0 - (double)smallest / scale, most = 127.0 - (double)largest / scale;
    // Of the two zero points that the ends ask for the one with the smaller rounding error.
    bool from_least = 128.0 + fabs((double)smallest / scale) < 127.0 + fabs((double)largest / scale);
    float zero_point = quantise((float)(from_least ? least : most), -128.0f, 127.0f);
    float inverse = 1.0f / (float)scale;
    if (!(scale > 0.0) || !isfinite(inverse)) {
        scale = 1.0;
        zero_point = 0.0f;
        inverse = 0.0f;
    }
    for (size_t i = 0; i < count; i++) {
        operands[i] = (int16_t)(quantise(zero_point + values[i] * inverse, -128.0f, 127.0f) - (int16_t)zero_point);
    }
    return (float)scale;
}

static int32_t dot(const int16_t *a, const int8_t *b, size_t count) {
    uint32_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (uint32_t)(a[i] * b[i]);
    }
    return (int32_t)sum;
}

static float finish(const struct systole_kernel_call *call, int32_t sum, float scale, size_t channel) {
    const struct hybrid *h = call->state;
    const struct systole_quantisation *q = &systole_kernel_input(call, 1)->quantisation;
    const float *bias = (const float *)(const void *)systole_kernel_input_bytes(call, 2);
    float value = (float)sum * (scale * q->scale[q->count == 1 ? 0 : channel]);
    return systole_clamp_float(bias != NULL ? value + bias[channel] : value, h->low, h->high);
}

// Channel o of one output pixel.
static int32_t window_sum(const struct hybrid *h, const int16_t *map, const int8_t *weights, int32_t origin_y,
                          int32_t origin_x, size_t o) {
    const struct systole_kernel_window *w = &h->window;
    size_t channels = (size_t)w->input_channels, outputs = (size_t)w->output_channels;
    size_t taps = (size_t)w->filter_height * (size_t)w->filter_width;
    struct systole_tap_range y = systole_taps_inside(origin_y, w->filter_height, w->dilation_h, w->input_height);
    struct systole_tap_range x = systole_taps_inside(origin_x, w->filter_width, w->dilation_w, w->input_width);
    uint32_t sum = 0;
    for (int32_t ky = y.first; ky < y.end; ky++) {
        size_t line = (size_t)(origin_y + ky * w->dilation_h) * (size_t)w->input_width;
        for (int32_t kx = x.first; kx < x.end; kx++) {
            const int16_t *pixel = map + (line + (size_t)(origin_x + kx * w->dilation_w)) * channels;
            size_t tap = (size_t)ky * (size_t)w->filter_width + (size_t)kx;
            sum += h->multiplier > 0 ? (uint32_t)(pixel[o / (size_t)h->multiplier] * weights[tap * outputs + o])
                                     : (uint32_t)dot(pixel, weights + (o * taps + tap) * channels, channels);
        }
    }
    return (int32_t)sum;
}

static void run_map(const struct systole_kernel_call *call, const int16_t *map, float scale, float *output) {
    const struct hybrid *h = call->state;
    const struct systole_kernel_window *w = &h->window;
    const int8_t *weights = (const int8_t *)systole_kernel_input_bytes(call, 1);
    for (int32_t y = 0; y < w->output_height; y++) {
        for (int32_t x = 0; x < w->output_width; x++) {
            for (size_t o = 0; o < (size_t)w->output_channels; o++) {
                int32_t sum =
                    window_sum(h, map, weights, y * w->stride_h - w->padding_top, x * w->stride_w - w->padding_left, o);
                *output++ = finish(call, sum, scale, o);
            }
        }
    }
}

static void run_row(const struct systole_kernel_call *call, const int16_t *row, float scale, float *output) {
    const struct hybrid *h = call->state;
    const int8_t *weights = (const int8_t *)systole_kernel_input_bytes(call, 1);
    for (size_t o = 0; o < h->channels; o++) {
        output[o] = finish(call, dot(row, weights + o * h->depth, h->depth), scale, o);
    }
}

static enum systole_status run(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct hybrid *h = call->state;
    const float *input = (const float *)(const void *)systole_kernel_input_bytes(call, 0);
    float *output = (float *)(void *)systole_kernel_output_bytes(call);
    size_t output_size = systole_tensor_elements(systole_kernel_output(call)) / h->batches;
    int16_t *operands = calloc(h->batch_size + 1, sizeof *operands);
    if (operands == NULL) {
        return systole_kernel_no_memory(call, diagnostic);
    }
    for (size_t b = 0; b < h->batches; b++) {
        const float *values = input + b * h->batch_size;
        float scale = h->is_asymmetric ? quantise_asymmetric(values, h->batch_size, operands)
                                       : quantise_symmetric(values, h->batch_size, operands);
        (call->op->code == SYSTOLE_OP_FULLY_CONNECTED ? run_row : run_map)(call, operands, scale,
                                                                           output + b * output_size);
    }
    free(operands);
    return SYSTOLE_OK;
}

const struct systole_kernel systole_hybrid_kernels[] = {
    {SYSTOLE_OP_CONV_2D, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare_window, run, NULL},
    {SYSTOLE_OP_DEPTHWISE_CONV_2D, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare_window, run, NULL},
    {SYSTOLE_OP_FULLY_CONNECTED, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare_fully_connected, run, NULL},
    {0},
};
