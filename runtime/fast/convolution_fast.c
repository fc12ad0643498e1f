// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// CONV_2D and FULLY_CONNECTED of int8, uint8, float32 and the hybrid kind, as products of rows with a packed matrix. A
// pointwise convolution with stride 1 and a fully connected layer read the input where it lies; others copy the windows
// of a few output pixels into rows first.
#include "matrix.h"

#include <stdlib.h>
#include <string.h>

enum kind { INTEGER, FLOAT, HYBRID };

struct dense {
    struct systole_kernel_window window; // CONV_2D
    bool is_window;                      // windows are gathered
    enum kind kind;
    size_t rows;
    struct systole_matrix matrix;
    struct systole_convolution_parameters parameters;
    struct systole_packed_rescale rescale;
    float low, high;
    size_t matrix_scratch;
    // Hybrid: quantised bytes and scales in scratch, by batch.
    size_t bytes_scratch, scales_scratch, batches, batch_size;
    bool is_asymmetric;
    float *hybrid_columns; // scales of the weights, then bias
};

// One invocation, for what is called back.
struct invocation {
    const struct dense *dense;
    const struct systole_kernel_call *call;
    const uint8_t *input; // bytes or floats; hybrid: the quantised bytes
    const struct systole_hybrid_scale *scales;
    float *output;
};

static void release(void *state) {
    struct dense *d = state;
    systole_packed_rescale_free(&d->rescale);
    systole_matrix_free(&d->matrix);
    systole_convolution_parameters_free(&d->parameters);
    free(d->hybrid_columns);
    free(d);
}

static void copy_bytes(uint8_t *to, const uint8_t *from, size_t count) {
    if (count >= 16) {
        size_t i = 0;
        for (; i + 16 <= count; i += 16) {
            memcpy(to + i, from + i, 16);
        }
        memcpy(to + count - 16, from + count - 16, 16);
    } else if (count >= 8) {
        memcpy(to, from, 8);
        memcpy(to + count - 8, from + count - 8, 8);
    } else if (count >= 4) {
        memcpy(to, from, 4);
        memcpy(to + count - 4, from + count - 4, 4);
    } else {
        for (size_t i = 0; i < count; i++) {
            to[i] = from[i];
        }
    }
}

// The window at (origin_y, origin_x) of one map as a row of elements of `element` bytes; outside it is `fill`.
static void copy_window(const struct systole_kernel_window *w, const uint8_t *map, int32_t origin_y, int32_t origin_x,
                        size_t element, uint8_t fill, uint8_t *row) {
    size_t pixel = (size_t)w->input_channels * element, line = (size_t)w->filter_width * pixel;
    struct systole_tap_range y = {0, w->filter_height}, x = {0, w->filter_width};
    if (origin_y < 0 || origin_x < 0 || (int64_t)origin_y + (w->filter_height - 1) * w->dilation_h >= w->input_height ||
        (int64_t)origin_x + (w->filter_width - 1) * w->dilation_w >= w->input_width) {
        y = systole_taps_inside(origin_y, w->filter_height, w->dilation_h, w->input_height);
        x = systole_taps_inside(origin_x, w->filter_width, w->dilation_w, w->input_width);
        memset(row, fill, (size_t)w->filter_height * line);
    }
    for (int32_t ky = y.first; ky < y.end; ky++) {
        const uint8_t *source = map + ((size_t)(origin_y + ky * w->dilation_h) * (size_t)w->input_width +
                                       (size_t)(origin_x + x.first * w->dilation_w)) *
                                          pixel;
        uint8_t *target = row + (size_t)ky * line + (size_t)x.first * pixel;
        if (w->dilation_w == 1) {
            copy_bytes(target, source, (size_t)(x.end - x.first) * pixel);
            continue;
        }
        for (int32_t kx = x.first; kx < x.end; kx++) {
            copy_bytes(target, source, pixel);
            target += pixel;
            source += (size_t)w->dilation_w * pixel;
        }
    }
}

static uint8_t fill_of(const struct invocation *v, size_t batch) {
    return v->dense->kind == FLOAT    ? 0
           : v->dense->kind == HYBRID ? (uint8_t)v->scales[batch].zero_point
                                      : (uint8_t)v->dense->parameters.input_zero_point;
}

// The same line of the windows of `count` neighbouring pixels. Short lines of common lengths, those of first layers,
// are copied by moves of constant size.
static void copy_lines(uint8_t *to, size_t to_step, const uint8_t *from, size_t from_step, size_t count, size_t bytes) {
#define COPY_LINES(size)                                                                                               \
    case (size):                                                                                                       \
        for (size_t i = 0; i < count; i++) {                                                                           \
            memcpy(to + i * to_step, from + i * from_step, (size));                                                    \
        }                                                                                                              \
        break;
    switch (bytes) {
        COPY_LINES(3)
        COPY_LINES(4)
        COPY_LINES(9)
        COPY_LINES(12)
        COPY_LINES(16)
        COPY_LINES(36)
    default:
        for (size_t i = 0; i < count; i++) {
            copy_bytes(to + i * to_step, from + i * from_step, bytes);
        }
    }
#undef COPY_LINES
}

// Output columns whose windows lie inside the map from left to right: first <= x < end.
static struct systole_tap_range columns_inside(const struct systole_kernel_window *w) {
    int32_t first = (w->padding_left + w->stride_w - 1) / w->stride_w;
    int64_t room = (int64_t)w->input_width - 1 - (int64_t)(w->filter_width - 1) * w->dilation_w + w->padding_left;
    int32_t end = room < 0 ? 0 : (int32_t)(room / w->stride_w) + 1;
    end = end < w->output_width ? end : w->output_width;
    return (struct systole_tap_range){first, end > first ? end : first};
}

static void copy_windows(const struct invocation *v, size_t first, size_t count, uint8_t *rows, size_t stride,
                         size_t element) {
    const struct systole_kernel_window *w = &v->dense->window;
    size_t area = (size_t)w->output_height * (size_t)w->output_width, pixel = (size_t)w->input_channels * element;
    size_t line = (size_t)w->filter_width * pixel, map_size = (size_t)w->input_height * (size_t)w->input_width * pixel;
    const struct systole_tap_range inside = columns_inside(w);
    size_t batch = first / area;
    int32_t y = (int32_t)(first % area / (size_t)w->output_width), x = (int32_t)(first % (size_t)w->output_width);
    for (size_t i = 0; i < count;) {
        const uint8_t *map = v->input + batch * map_size;
        int32_t top = y * w->stride_h - w->padding_top, run = 1;
        bool rows_inside = top >= 0 && (int64_t)top + (int64_t)(w->filter_height - 1) * w->dilation_h < w->input_height;
        if (rows_inside && w->dilation_w == 1 && x >= inside.first && x < inside.end) {
            run = (size_t)(inside.end - x) < count - i ? inside.end - x : (int32_t)(count - i);
            size_t column = (size_t)(x * w->stride_w - w->padding_left);
            for (int32_t ky = 0; ky < w->filter_height; ky++) {
                const uint8_t *source =
                    map + ((size_t)(top + ky * w->dilation_h) * (size_t)w->input_width + column) * pixel;
                copy_lines(rows + (size_t)ky * line, stride, source, (size_t)w->stride_w * pixel, (size_t)run, line);
            }
        } else {
            copy_window(w, map, top, x * w->stride_w - w->padding_left, element, fill_of(v, batch), rows);
        }
        i += (size_t)run;
        rows += (size_t)run * stride;
        x += run;
        if (x == w->output_width) {
            x = 0;
            if (++y == w->output_height) {
                y = 0;
                batch++;
            }
        }
    }
}

static void widen_rows(const struct invocation *v, size_t first, size_t count, uint8_t *room, size_t stride) {
    const struct dense *d = v->dense;
    size_t depth = d->matrix.depth;
    bool is_signed = d->kind == HYBRID || systole_kernel_input(v->call, 0)->dtype == SYSTOLE_INT8;
    int32_t zero_point = d->kind == HYBRID ? 0 : d->parameters.input_zero_point;
    if (d->is_window) { // into the second half of each row, which is read before the first half's words reach it
        copy_windows(v, first, count, room + stride - depth, stride, 1);
    }
    for (size_t i = 0; i < count; i++) {
        uint8_t *row = room + i * stride;
        const uint8_t *bytes = d->is_window ? row + stride - depth : v->input + (first + i) * depth;
        v->call->fast->micro->widen(bytes, depth, is_signed, zero_point, (int16_t *)(void *)row);
        memset(row + 2 * depth, 0, stride - 2 * depth);
    }
}

static const uint8_t *gather_floats(const void *owner, size_t first, size_t count, uint8_t *room, size_t *stride) {
    const struct invocation *v = owner;
    *stride = v->dense->matrix.depth * sizeof(float);
    if (!v->dense->is_window) {
        return v->input + first * *stride;
    }
    copy_windows(v, first, count, room, *stride, sizeof(float));
    return room;
}

static const uint8_t *gather_bytes(const void *owner, size_t first, size_t count, uint8_t *room, size_t *stride) {
    const struct invocation *v = owner;
    const struct dense *d = v->dense;
    *stride = systole_matrix_row_size(&d->matrix, v->call->fast->micro);
    if (v->call->fast->micro->widened) {
        widen_rows(v, first, count, room, *stride);
        return room;
    }
    if (d->is_window) {
        copy_windows(v, first, count, room, *stride, 1);
        return room;
    }
    if (d->matrix.depth == *stride) {
        return v->input + first * *stride;
    }
    for (size_t i = 0; i < count; i++) {
        copy_bytes(room + i * *stride, v->input + (first + i) * d->matrix.depth, d->matrix.depth);
    }
    return room;
}

// A hybrid row's sums, less what the zero point added, times both scales.
static void finish_hybrid(const void *owner, const int32_t *sums, size_t row, uint32_t column, uint32_t count) {
    const struct invocation *v = owner;
    const struct dense *d = v->dense;
    const struct systole_microkernels *micro = v->call->fast->micro;
    const struct systole_hybrid_scale *s = &v->scales[d->batches == d->rows ? row : row / (d->rows / d->batches)];
    const struct systole_hybrid_row hybrid = {.count = count,
                                              .zero_point = s->zero_point + (micro->widened ? 0 : 128),
                                              .scale = s->scale,
                                              .low = d->low,
                                              .high = d->high,
                                              .column_sums = d->matrix.column_sums + column,
                                              .scales = d->hybrid_columns + column,
                                              .bias = d->hybrid_columns + d->matrix.columns + column};
    micro->finish(&hybrid, sums, v->output + row * d->matrix.columns + column);
}

static enum systole_status run(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct dense *d = call->state;
    struct systole_fast_context *context = call->fast;
    struct systole_hybrid_scale *scales = (struct systole_hybrid_scale *)(void *)(context->scratch + d->scales_scratch);
    struct invocation v = {.dense = d,
                           .call = call,
                           .input = systole_kernel_input_bytes(call, 0),
                           .scales = scales,
                           .output = (float *)(void *)systole_kernel_output_bytes(call)};
    if (d->kind == HYBRID) {
        uint8_t *bytes = context->scratch + d->bytes_scratch;
        for (size_t b = 0; b < d->batches; b++) {
            scales[b] =
                systole_hybrid_quantise(context->micro, (const float *)(const void *)v.input + b * d->batch_size,
                                        d->batch_size, d->is_asymmetric, bytes + b * d->batch_size);
        }
        v.input = bytes;
    }
    struct systole_matrix_job job = {
        .matrix = &d->matrix,
        .context = context,
        .rows = d->rows,
        .gather = d->kind == FLOAT ? gather_floats : gather_bytes,
        .owner = &v,
        .scratch = d->matrix_scratch,
        .is_signed = d->kind == HYBRID || systole_kernel_input(call, 0)->dtype == SYSTOLE_INT8,
        .rescale = d->kind == INTEGER ? &d->rescale : NULL,
        .low = d->low,
        .high = d->high,
        .finish = d->kind == HYBRID ? finish_hybrid : NULL,
        .output = systole_kernel_output_bytes(call),
    };
    systole_matrix_run(&job);
    return SYSTOLE_OK;
}

// ---- Preparation; the reference kernel has accepted the operator.
static enum systole_status make_integer(struct systole_kernel_call *call, struct dense *d, const uint8_t *weights,
                                        const int32_t *bias, size_t columns, size_t depth,
                                        struct systole_diagnostic *diagnostic) {
    enum systole_status status =
        systole_convolution_parameters_derive(call->graph, call->operator_index, &d->parameters, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    const struct systole_convolution_parameters *p = &d->parameters;
    bool is_unsigned = systole_kernel_input(call, 1)->dtype == SYSTOLE_UINT8;
    status = systole_matrix_make_integer(call, weights, is_unsigned, p->weight_zero_point, p->input_zero_point, bias,
                                         columns, depth, false, &d->matrix, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    uint64_t largest = 0; // |sum| of any channel
    for (size_t n = 0; n < columns; n++) {
        uint64_t sum = bias != NULL ? (uint64_t)llabs((long long)bias[n]) : 0;
        for (size_t k = 0; k < depth; k++) {
            int32_t w = is_unsigned ? weights[n * depth + k] : (int8_t)weights[n * depth + k];
            sum += 255 * (uint64_t)abs(w - p->weight_zero_point);
        }
        largest = sum > largest ? sum : largest;
    }
    uint32_t *channel_of = malloc(d->matrix.positions * sizeof *channel_of);
    if (channel_of == NULL) {
        return systole_kernel_no_memory(call, diagnostic);
    }
    for (size_t i = 0; i < d->matrix.positions; i++) {
        channel_of[i] = i < columns ? (uint32_t)i : UINT32_MAX;
    }
    status = systole_packed_rescale_make(call, p, channel_of, d->matrix.positions, largest, &d->rescale, diagnostic);
    free(channel_of);
    return status;
}

static enum systole_status make_matrix(struct systole_kernel_call *call, struct dense *d, size_t columns, size_t depth,
                                       struct systole_diagnostic *diagnostic) {
    struct systole_fast_context *context = call->fast;
    const int32_t bias_index = call->op->input_count > 2 ? call->op->inputs[2] : -1;
    const uint8_t *weights = context->constants[call->op->inputs[1]];
    const uint8_t *bias = bias_index >= 0 ? context->constants[bias_index] : NULL;
    if (weights == NULL || (bias_index >= 0 && bias == NULL)) {
        return systole_kernel_refuse(call, diagnostic, "", "weights or bias are not constants");
    }
    enum systole_status status =
        d->kind == FLOAT
            ? systole_matrix_make_float(call, (const float *)(const void *)weights, (const float *)(const void *)bias,
                                        columns, depth, &d->matrix, diagnostic)
        : d->kind == HYBRID
            ? systole_matrix_make_integer(call, weights, false, 0, 0, NULL, columns, depth, true, &d->matrix,
                                          diagnostic)
            : make_integer(call, d, weights, (const int32_t *)(const void *)bias, columns, depth, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    (void)systole_float_activation_range(call->op->options.activation, &d->low, &d->high);
    size_t used = 0;
    d->matrix_scratch = systole_matrix_scratch(context, &d->matrix, d->rows, &used);
    if (d->kind == HYBRID) {
        status = systole_hybrid_columns_make(call, columns, &d->hybrid_columns, diagnostic);
        d->bytes_scratch = systole_fast_scratch(context, &used, d->batches * d->batch_size, 1);
        d->scales_scratch = systole_fast_scratch(context, &used, d->batches * sizeof(struct systole_hybrid_scale), 1);
    }
    return status;
}

static enum kind kind_of(const struct systole_kernel_call *call) {
    return systole_kernel_input(call, 0)->dtype != SYSTOLE_FLOAT32 ? INTEGER
           : systole_kernel_input(call, 1)->dtype == SYSTOLE_INT8  ? HYBRID
                                                                   : FLOAT;
}

static enum systole_status prepare_convolution(struct systole_kernel_call *call,
                                               struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *weights = systole_kernel_input(call, 1);
    enum systole_status status = systole_kernel_state(call, sizeof(struct dense), diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct dense *d = call->state;
    struct systole_kernel_window *w = &d->window;
    status = systole_kernel_window_derive(call, weights->shape[1], weights->shape[2], w, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    d->kind = kind_of(call);
    d->is_window = w->filter_height != 1 || w->filter_width != 1 || w->stride_h != 1 || w->stride_w != 1;
    d->batches = (size_t)w->batches;
    d->batch_size = systole_tensor_elements(input) / d->batches;
    d->is_asymmetric = weights->quantisation.count > 1;
    d->rows = d->batches * (size_t)w->output_height * (size_t)w->output_width;
    size_t depth = (size_t)w->filter_height * (size_t)w->filter_width * (size_t)w->input_channels;
    return make_matrix(call, d, (size_t)w->output_channels, depth, diagnostic);
}

static enum systole_status prepare_fully_connected(struct systole_kernel_call *call,
                                                   struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *weights = systole_kernel_input(call, 1);
    enum systole_status status = systole_kernel_state(call, sizeof(struct dense), diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct dense *d = call->state;
    size_t depth = (size_t)weights->shape[1];
    d->kind = kind_of(call);
    d->rows = d->batches = systole_tensor_elements(systole_kernel_input(call, 0)) / depth;
    d->batch_size = depth;
    d->is_asymmetric = call->op->options.asymmetric_quantize_inputs;
    return make_matrix(call, d, (size_t)weights->shape[0], depth, diagnostic);
}

const struct systole_kernel systole_fast_convolution_kernels[] = {
    {SYSTOLE_OP_CONV_2D, SYSTOLE_INT8, SYSTOLE_INT8, prepare_convolution, run, release},
    {SYSTOLE_OP_CONV_2D, SYSTOLE_UINT8, SYSTOLE_UINT8, prepare_convolution, run, release},
    {SYSTOLE_OP_CONV_2D, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare_convolution, run, release},
    {SYSTOLE_OP_FULLY_CONNECTED, SYSTOLE_INT8, SYSTOLE_INT8, prepare_fully_connected, run, release},
    {SYSTOLE_OP_FULLY_CONNECTED, SYSTOLE_UINT8, SYSTOLE_UINT8, prepare_fully_connected, run, release},
    {SYSTOLE_OP_FULLY_CONNECTED, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare_fully_connected, run, release},
    {0},
};
