// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// DEPTHWISE_CONV_2D of int8, uint8, float32 and the hybrid kind. A row of output pixels is given to the microkernel as
// pointers to the pixels under its taps, column of the input by column, so that neighbouring outputs share them; what
// is outside the map points to a pixel of zero points. With a channel multiplier the input is first spread to the
// output's channels.
#include "fast_kernel.h"

#include <stdlib.h>
#include <string.h>

enum kind { INTEGER, FLOAT, HYBRID };

struct depthwise {
    struct systole_kernel_window window;
    enum kind kind;
    size_t multiplier, channels, positions;
    size_t taps, groups, taps_read; // taps_read: up to whole groups
    struct systole_convolution_parameters parameters;
    struct systole_packed_rescale rescale;
    uint8_t *weights; // integers: packed; floats: [tap][channel], columns first
    int32_t *bias;
    float *float_bias;
    int32_t *channel_sums; // of the weights, in the order of channels
    int32_t weight_zero_point;
    float low, high;
    uint8_t *outside; // a pixel; hybrid: in scratch, one a batch
    size_t columns;   // pointers a row is made of, in columns of filter_height; 0: a window each output
    size_t pointers, pointer_scratch, sums_scratch, spread_scratch, bytes_scratch, scales_scratch, outside_scratch;
    size_t batch_size;
    float *hybrid_columns; // scales of the weights, then bias
};

static void release(void *state) {
    struct depthwise *d = state;
    systole_packed_rescale_free(&d->rescale);
    systole_convolution_parameters_free(&d->parameters);
    free(d->hybrid_columns);
    free(d->outside);
    free(d->channel_sums);
    free(d->float_bias);
    free(d->bias);
    free(d->weights);
    free(d);
}

struct invocation {
    const struct depthwise *dense;
    const struct systole_kernel_call *call;
    const uint8_t *map; // with all output channels
    const struct systole_hybrid_scale *scales;
    size_t element, pixel; // bytes
};

static const uint8_t *tap_at(const struct invocation *v, const uint8_t *map, const uint8_t *outside, int32_t y,
                             int32_t x) {
    const struct systole_kernel_window *w = &v->dense->window;
    bool inside = y >= 0 && y < w->input_height && x >= 0 && x < w->input_width;
    return inside ? map + ((size_t)y * (size_t)w->input_width + (size_t)x) * v->pixel : outside;
}

// Pointers for output row y; a tap is filter_height * column + row in the order of the packed weights.
static void point_row(const struct invocation *v, const uint8_t *map, const uint8_t *outside, int32_t y,
                      const uint8_t **pointers) {
    const struct depthwise *d = v->dense;
    const struct systole_kernel_window *w = &d->window;
    int32_t origin_y = y * w->stride_h - w->padding_top;
    size_t p = 0;
    if (d->columns > 0) {
        for (int32_t column = 0; column < (int32_t)d->columns; column++) {
            for (int32_t ky = 0; ky < w->filter_height; ky++) {
                pointers[p++] = tap_at(v, map, outside, origin_y + ky * w->dilation_h, column - w->padding_left);
            }
        }
    } else {
        for (int32_t x = 0; x < w->output_width; x++) {
            for (int32_t kx = 0; kx < w->filter_width; kx++) {
                for (int32_t ky = 0; ky < w->filter_height; ky++) {
                    pointers[p++] = tap_at(v, map, outside, origin_y + ky * w->dilation_h,
                                           x * w->stride_w - w->padding_left + kx * w->dilation_w);
                }
            }
            for (size_t t = d->taps; t < d->taps_read; t++) {
                pointers[p++] = outside;
            }
        }
    }
    while (p < d->pointers) {
        pointers[p++] = outside;
    }
}

static void finish_hybrid(const struct invocation *v, const int32_t *sums, size_t batch, float *output) {
    const struct depthwise *d = v->dense;
    const struct systole_microkernels *micro = v->call->fast->micro;
    const struct systole_hybrid_scale *s = &v->scales[batch];
    const struct systole_hybrid_row row = {.count = d->channels,
                                           .zero_point = s->zero_point + (micro->depthwise_widened ? 0 : 128),
                                           .scale = s->scale,
                                           .low = d->low,
                                           .high = d->high,
                                           .column_sums = d->channel_sums,
                                           .scales = d->hybrid_columns,
                                           .bias = d->hybrid_columns + d->channels};
    for (size_t x = 0; x < (size_t)d->window.output_width; x++) {
        micro->finish(&row, sums + x * d->channels, output + x * d->channels);
    }
}

static void run_integer_row(const struct invocation *v, const uint8_t *const *taps, size_t tap_step, uint32_t thread,
                            size_t batch, size_t first_pixel) {
    const struct depthwise *d = v->dense;
    struct systole_fast_context *context = v->call->fast;
    size_t pixels = (size_t)d->window.output_width, sums_size = pixels * d->channels * sizeof(int32_t);
    int32_t *sums = (int32_t *)(void *)(context->scratch + d->sums_scratch + thread * systole_round_up(sums_size, 64));
    bool direct = d->kind == INTEGER && d->rescale.is_bounded;
    uint8_t *output = systole_kernel_output_bytes(v->call);
    struct systole_depthwise_row row = {
        .taps = taps,
        .tap_step = tap_step,
        .groups = d->groups,
        .pixels = pixels,
        .channels = d->channels,
        .weights = d->weights,
        .bias = d->bias,
        .input_zero_point = d->kind == HYBRID ? 0 : d->parameters.input_zero_point,
        .weight_zero_point = d->weight_zero_point,
        .is_signed = d->kind == HYBRID || systole_kernel_input(v->call, 0)->dtype == SYSTOLE_INT8,
        .requantiser = direct ? &d->rescale.requantiser : NULL,
        .output = direct ? output + first_pixel * d->channels : NULL,
        .sums = sums,
    };
    context->micro->depthwise(&row);
    if (d->kind == HYBRID) {
        finish_hybrid(v, sums, batch, (float *)(void *)output + first_pixel * d->channels);
    } else if (!direct) {
        for (size_t x = 0; x < pixels; x++) {
            systole_rescale_sums(&d->rescale, sums + x * d->channels, 0, (uint32_t)d->channels,
                                 output + (first_pixel + x) * d->channels);
        }
    }
}

// Lines of the input that the next row of outputs reads and this one does not. The map may be larger than the caches
// near the processor, and its rows are read side by side, which prefetchers do not follow well.
static void fetch_next(const struct invocation *v, const uint8_t *map, int32_t y) {
    const struct systole_kernel_window *w = &v->dense->window;
    int64_t end = (int64_t)(y + 1) * w->stride_h - w->padding_top + (int64_t)(w->filter_height - 1) * w->dilation_h + 1;
    int64_t first = end - (w->stride_h < w->filter_height ? w->stride_h : w->filter_height);
    first = first > 0 ? first : 0;
    end = end < w->input_height ? end : w->input_height;
    size_t row = (size_t)w->input_width * v->pixel;
    for (size_t byte = (size_t)first * row; first < end && byte < (size_t)end * row; byte += 64) {
        __builtin_prefetch(map + byte, 0, 2);
    }
}

static void run_row(void *context, uint32_t index, uint32_t thread) {
    const struct invocation *v = context;
    const struct depthwise *d = v->dense;
    const struct systole_kernel_window *w = &d->window;
    uint8_t *scratch = v->call->fast->scratch;
    size_t batch = index / (uint32_t)w->output_height, pixels = (size_t)w->output_width;
    int32_t y = (int32_t)(index % (uint32_t)w->output_height);
    const uint8_t **pointers =
        (const uint8_t **)(void *)(scratch + d->pointer_scratch +
                                   thread * systole_round_up(d->pointers * sizeof *pointers, 64));
    const uint8_t *map = v->map + batch * (size_t)w->input_height * (size_t)w->input_width * v->pixel;
    const uint8_t *outside = d->kind == HYBRID ? scratch + d->outside_scratch + batch * d->channels : d->outside;
    point_row(v, map, outside, y, pointers);
    fetch_next(v, map, y);
    size_t tap_step = d->columns > 0 ? (size_t)w->stride_w * (size_t)w->filter_height : d->taps_read;
    if (d->kind != FLOAT) {
        run_integer_row(v, pointers, tap_step, thread, batch, index * pixels);
        return;
    }
    struct systole_float_depthwise_row row = {
        .taps = (const float *const *)(const void *)pointers,
        .tap_step = tap_step,
        .tap_count = d->taps,
        .pixels = pixels,
        .channels = d->channels,
        .weights = (const float *)(const void *)d->weights,
        .bias = d->float_bias,
        .low = d->low,
        .high = d->high,
        .output = (float *)(void *)systole_kernel_output_bytes(v->call) + index * pixels * d->channels,
    };
    v->call->fast->micro->depthwise_float(&row);
}

static void spread_bytes(const uint8_t *from, size_t pixels, size_t channels, size_t multiplier, uint8_t *to) {
    for (size_t i = 0; i < pixels * channels; i++) {
        for (size_t m = 0; m < multiplier; m++) {
            *to++ = from[i];
        }
    }
}

static void spread_floats(const float *from, size_t pixels, size_t channels, size_t multiplier, float *to) {
    for (size_t i = 0; i < pixels * channels; i++) {
        for (size_t m = 0; m < multiplier; m++) {
            *to++ = from[i];
        }
    }
}

static void quantise_batches(const struct systole_kernel_call *call, const struct depthwise *d, uint8_t *bytes,
                             struct systole_hybrid_scale *scales) {
    const float *input = (const float *)(const void *)systole_kernel_input_bytes(call, 0);
    for (size_t b = 0; b < (size_t)d->window.batches; b++) {
        scales[b] = systole_hybrid_quantise(call->fast->micro, input + b * d->batch_size, d->batch_size, true,
                                            bytes + b * d->batch_size);
        memset(call->fast->scratch + d->outside_scratch + b * d->channels, (uint8_t)scales[b].zero_point, d->channels);
    }
}

static enum systole_status run(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct depthwise *d = call->state;
    const struct systole_kernel_window *w = &d->window;
    uint8_t *scratch = call->fast->scratch;
    struct systole_hybrid_scale *scales = (struct systole_hybrid_scale *)(void *)(scratch + d->scales_scratch);
    struct invocation v = {.dense = d,
                           .call = call,
                           .map = systole_kernel_input_bytes(call, 0),
                           .scales = scales,
                           .element = d->kind == FLOAT ? sizeof(float) : 1};
    v.pixel = d->channels * v.element;
    if (d->kind == HYBRID) {
        quantise_batches(call, d, scratch + d->bytes_scratch, scales);
        v.map = scratch + d->bytes_scratch;
    }
    if (d->multiplier > 1) {
        size_t pixels = (size_t)w->batches * (size_t)w->input_height * (size_t)w->input_width;
        uint8_t *spread = scratch + d->spread_scratch;
        if (d->kind == FLOAT) {
            spread_floats((const float *)(const void *)v.map, pixels, (size_t)w->input_channels, d->multiplier,
                          (float *)(void *)spread);
        } else {
            spread_bytes(v.map, pixels, (size_t)w->input_channels, d->multiplier, spread);
        }
        v.map = spread;
    }
    systole_thread_pool_run(call->fast->pool, (uint32_t)w->batches * (uint32_t)w->output_height, run_row, &v);
    return SYSTOLE_OK;
}

// ---- Preparation; the reference kernel has accepted the operator.
// The weights are [row][column][channel]; tap t of the pointers is row t % height, column t / height.
static size_t tap_source(const struct depthwise *d, size_t tap) {
    size_t height = (size_t)d->window.filter_height, width = (size_t)d->window.filter_width;
    return (tap % height * width + tap / height) * d->channels;
}

static enum systole_status make_float(struct systole_kernel_call *call, struct depthwise *d, const float *weights,
                                      const float *bias, struct systole_diagnostic *diagnostic) {
    d->weights = systole_aligned_alloc(d->taps * d->channels * sizeof(float));
    d->float_bias = systole_aligned_alloc(d->channels * sizeof(float));
    d->outside = systole_aligned_alloc(d->channels * sizeof(float));
    if (d->weights == NULL || d->float_bias == NULL || d->outside == NULL) {
        return systole_kernel_no_memory(call, diagnostic);
    }
    float *packed = (float *)(void *)d->weights;
    for (size_t t = 0; t < d->taps; t++) {
        memcpy(packed + t * d->channels, weights + tap_source(d, t), d->channels * sizeof(float));
    }
    if (bias != NULL) {
        memcpy(d->float_bias, bias, d->channels * sizeof(float));
    }
    return SYSTOLE_OK;
}

// Where channels lie: in blocks, each in the set's order. A block of at most half its channels is there twice, so that
// two pixels may share a vector.
static void order_channels(const struct depthwise *d, const struct systole_microkernels *micro, uint32_t *channel_of) {
    size_t block = micro->depthwise_block;
    for (size_t i = 0; i < d->positions; i++) {
        size_t first = i / block * block, left = d->channels - first;
        size_t place = micro->depthwise_order != NULL ? micro->depthwise_order[i % block] : i % block;
        if (left <= block / 2) {
            place %= block / 2;
        }
        channel_of[i] = place < left ? (uint32_t)(first + place) : UINT32_MAX;
    }
}

static uint64_t pack_integer(struct depthwise *d, const struct systole_microkernels *micro, const uint8_t *weights,
                             bool is_unsigned, int32_t zero_point, int32_t packed_input, const int32_t *bias,
                             const uint32_t *channel_of) {
    size_t block = micro->depthwise_block, group = micro->depthwise_group;
    int32_t packed_zero_point = is_unsigned ? zero_point - 128 : zero_point;
    uint64_t largest = 0;
    for (size_t i = 0; i < d->positions; i++) {
        if (channel_of[i] == UINT32_MAX) {
            continue;
        }
        size_t c = channel_of[i];
        uint32_t sum = 0;
        uint64_t magnitude = bias != NULL ? (uint64_t)llabs((long long)bias[c]) : 0;
        for (size_t t = 0; t < d->taps; t++) {
            uint8_t byte = weights[tap_source(d, t) + c];
            int32_t w = is_unsigned ? byte : (int8_t)byte;
            size_t place = (i / block * d->groups * block + t / group * block + i % block) * group + t % group;
            int32_t kept = micro->depthwise_widened ? w - zero_point : is_unsigned ? w - 128 : w;
            if (micro->depthwise_widened) {
                ((int16_t *)(void *)d->weights)[place] = (int16_t)kept;
            } else {
                d->weights[place] = (uint8_t)kept;
            }
            sum += (uint32_t)kept;
            magnitude += 255 * (uint64_t)abs(w - zero_point);
        }
        d->channel_sums[c] = (int32_t)sum;
        uint32_t start = bias != NULL ? (uint32_t)bias[c] : 0;
        if (!micro->depthwise_widened) {
            start -= (uint32_t)packed_input * sum;
            start += (uint32_t)d->taps_read * (uint32_t)packed_input * (uint32_t)packed_zero_point;
        }
        d->bias[i] = (int32_t)start;
        largest = magnitude > largest ? magnitude : largest;
    }
    d->weight_zero_point = micro->depthwise_widened ? 0 : packed_zero_point;
    return largest;
}

// Taps beyond the window have weight 0, but with a zero point their bytes count: then they are pointed outside, and
// count as taps of the window that are.
static enum systole_status make_integer(struct systole_kernel_call *call, struct depthwise *d, const uint8_t *weights,
                                        const int32_t *bias, struct systole_diagnostic *diagnostic) {
    const struct systole_microkernels *micro = call->fast->micro;
    const struct systole_convolution_parameters *p = &d->parameters;
    bool is_unsigned = systole_kernel_input(call, 1)->dtype == SYSTOLE_UINT8;
    if (d->kind == INTEGER) {
        enum systole_status status =
            systole_convolution_parameters_derive(call->graph, call->operator_index, &d->parameters, diagnostic);
        if (status != SYSTOLE_OK) {
            return status;
        }
    }
    d->groups = (d->taps + micro->depthwise_group - 1) / micro->depthwise_group;
    d->taps_read = d->groups * micro->depthwise_group;
    d->positions = systole_round_up(d->channels, micro->depthwise_block);
    d->weights = systole_aligned_alloc(d->positions * d->groups * micro->depthwise_group *
                                       (micro->depthwise_widened ? sizeof(int16_t) : 1));
    d->bias = systole_aligned_alloc(d->positions * sizeof *d->bias);
    d->channel_sums = systole_aligned_alloc(d->channels * sizeof *d->channel_sums);
    d->outside = systole_aligned_alloc(d->channels);
    uint32_t *channel_of = malloc(d->positions * sizeof *channel_of);
    enum systole_status status = SYSTOLE_OK;
    if (d->weights == NULL || d->bias == NULL || d->channel_sums == NULL || d->outside == NULL || channel_of == NULL) {
        status = systole_kernel_no_memory(call, diagnostic);
        goto out;
    }
    memset(d->outside, (uint8_t)p->input_zero_point, d->channels);
    order_channels(d, micro, channel_of);
    int32_t packed_input =
        d->kind == HYBRID ? 0 : p->input_zero_point + (systole_kernel_input(call, 0)->dtype == SYSTOLE_INT8 ? 128 : 0);
    uint64_t largest = pack_integer(d, micro, weights, is_unsigned, d->kind == HYBRID ? 0 : p->weight_zero_point,
                                    packed_input, d->kind == HYBRID ? NULL : bias, channel_of);
    if (d->kind == INTEGER) {
        status = systole_packed_rescale_make(call, p, channel_of, d->positions, largest, &d->rescale, diagnostic);
    } else {
        status = systole_hybrid_columns_make(call, d->channels, &d->hybrid_columns, diagnostic);
    }
out:
    free(channel_of);
    return status;
}

static void reserve_scratch(struct systole_kernel_call *call, struct depthwise *d) {
    const struct systole_kernel_window *w = &d->window;
    struct systole_fast_context *context = call->fast;
    size_t used = 0;
    size_t input_bytes = (size_t)w->batches * d->batch_size;
    size_t span = ((size_t)w->output_width - 1) * (size_t)w->stride_w + (size_t)w->filter_width;
    bool has_extra = d->weight_zero_point != 0 && d->taps_read > d->taps;
    // Windows that overlap share columns; with dilation, or where extra taps must be outside, each has its own.
    d->columns = w->dilation_w == 1 && w->stride_w <= w->filter_width && !has_extra ? span : 0;
    d->pointers =
        d->columns > 0 ? span * (size_t)w->filter_height + d->taps_read : (size_t)w->output_width * d->taps_read;
    d->pointer_scratch = systole_fast_scratch(context, &used, d->pointers * sizeof(uint8_t *), context->threads);
    if (d->kind == HYBRID || (d->kind == INTEGER && !d->rescale.is_bounded)) {
        d->sums_scratch = systole_fast_scratch(context, &used, (size_t)w->output_width * d->channels * sizeof(int32_t),
                                               context->threads);
    }
    if (d->multiplier > 1) {
        d->spread_scratch = systole_fast_scratch(
            context, &used, input_bytes * d->multiplier * (d->kind == FLOAT ? sizeof(float) : 1), 1);
    }
    if (d->kind == HYBRID) {
        d->bytes_scratch = systole_fast_scratch(context, &used, input_bytes, 1);
        d->scales_scratch =
            systole_fast_scratch(context, &used, (size_t)w->batches * sizeof(struct systole_hybrid_scale), 1);
        d->outside_scratch = systole_fast_scratch(context, &used, (size_t)w->batches * d->channels, 1);
    }
}

static enum systole_status prepare(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *weights = systole_kernel_input(call, 1);
    const int32_t bias_index = call->op->input_count > 2 ? call->op->inputs[2] : -1;
    const uint8_t *weight_bytes = call->fast->constants[call->op->inputs[1]];
    const uint8_t *bias = bias_index >= 0 ? call->fast->constants[bias_index] : NULL;
    if (weight_bytes == NULL || (bias_index >= 0 && bias == NULL)) {
        return systole_kernel_refuse(call, diagnostic, "", "weights or bias are not constants");
    }
    enum systole_status status = systole_kernel_state(call, sizeof(struct depthwise), diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct depthwise *d = call->state;
    struct systole_kernel_window *w = &d->window;
    status = systole_kernel_window_derive(call, weights->shape[1], weights->shape[2], w, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    d->kind = input->dtype != SYSTOLE_FLOAT32 ? INTEGER : weights->dtype == SYSTOLE_INT8 ? HYBRID : FLOAT;
    d->channels = (size_t)w->output_channels;
    d->multiplier = d->channels / (size_t)w->input_channels;
    d->taps = (size_t)w->filter_height * (size_t)w->filter_width;
    d->taps_read = d->taps;
    d->batch_size = (size_t)w->input_height * (size_t)w->input_width * (size_t)w->input_channels;
    (void)systole_float_activation_range(call->op->options.activation, &d->low, &d->high);
    status = d->kind == FLOAT ? make_float(call, d, (const float *)(const void *)weight_bytes,
                                           (const float *)(const void *)bias, diagnostic)
                              : make_integer(call, d, weight_bytes, (const int32_t *)(const void *)bias, diagnostic);
    if (status == SYSTOLE_OK) {
        reserve_scratch(call, d);
    }
    return status;
}

const struct systole_kernel systole_fast_depthwise_kernels[] = {
    {SYSTOLE_OP_DEPTHWISE_CONV_2D, SYSTOLE_INT8, SYSTOLE_INT8, prepare, run, release},
    {SYSTOLE_OP_DEPTHWISE_CONV_2D, SYSTOLE_UINT8, SYSTOLE_UINT8, prepare, run, release},
    {SYSTOLE_OP_DEPTHWISE_CONV_2D, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare, run, release},
    {0},
};
