// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// AVERAGE_POOL_2D and MAX_POOL_2D in int8 (integer_ops/pooling.h), uint8 and float32 (reference/pooling.h). Both work
// on raw values: input and output share scale and zero point. An average divides by the taps that lie inside.
#include "fixed_point.h"
#include "kernel.h"

#include <stdlib.h>

struct pool {
    struct systole_kernel_window window;
    int32_t clamp_min, clamp_max;
    float low, high;
};

static enum systole_status prepare(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *output = systole_kernel_output(call);
    const struct systole_options *options = &call->op->options;
    enum systole_status status = systole_kernel_state(call, sizeof(struct pool), diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct pool *pool = call->state;
    status = systole_kernel_window_derive(call, options->filter_h, options->filter_w, &pool->window, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    if (input->shape[3] != output->shape[3] || options->dilation_h != 1 || options->dilation_w != 1) {
        return systole_kernel_refuse(call, diagnostic, "", "pooling keeps the channels and has no dilation");
    }
    if ((int64_t)options->filter_h * options->filter_w > INT32_MAX / 255) {
        return systole_kernel_refuse(call, diagnostic, "", "a window of %d x %d overflows a 32-bit sum",
                                     options->filter_h, options->filter_w);
    }
    if (!systole_float_activation_range(options->activation, &pool->low, &pool->high)) {
        return systole_kernel_refuse(call, diagnostic, "", "this fused activation is not supported");
    }
    if (input->dtype == SYSTOLE_FLOAT32) {
        return SYSTOLE_OK;
    }
    if (!systole_same_quantisation(input, output) || output->quantisation.count != 1) {
        return systole_kernel_refuse(call, diagnostic, "", "input and output do not share one scale and zero point");
    }
    systole_activation_range(output, options->activation, &pool->clamp_min, &pool->clamp_max);
    return SYSTOLE_OK;
}

// The part of the input under one output pixel.
struct field {
    int32_t y, x; // of tap (0, 0)
    struct systole_tap_range rows, columns;
};

static struct field field_of(const struct systole_kernel_window *w, int32_t output_y, int32_t output_x) {
    struct field field = {.y = output_y * w->stride_h - w->padding_top, .x = output_x * w->stride_w - w->padding_left};
    field.rows = systole_taps_inside(field.y, w->filter_height, 1, w->input_height);
    field.columns = systole_taps_inside(field.x, w->filter_width, 1, w->input_width);
    return field;
}

static void reduce_integer(const struct systole_kernel_window *w, const struct field *field, const int16_t *map,
                           bool average, int32_t *results) {
    int32_t channels = w->input_channels;
    for (int32_t c = 0; c < channels; c++) {
        results[c] = average ? 0 : INT16_MIN;
    }
    for (int32_t ky = field->rows.first; ky < field->rows.end; ky++) {
        for (int32_t kx = field->columns.first; kx < field->columns.end; kx++) {
            size_t pixel = (size_t)(field->y + ky) * (size_t)w->input_width + (size_t)(field->x + kx);
            const int16_t *source = map + pixel * (size_t)channels;
            if (average) {
                for (int32_t c = 0; c < channels; c++) {
                    results[c] += source[c];
                }
            } else {
                for (int32_t c = 0; c < channels; c++) {
                    results[c] = source[c] > results[c] ? source[c] : results[c];
                }
            }
        }
    }
}

static enum systole_status run_integer(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct pool *pool = call->state;
    const struct systole_kernel_window *w = &pool->window;
    const struct systole_tensor *input = systole_kernel_input(call, 0);
    bool average = call->op->code == SYSTOLE_OP_AVERAGE_POOL_2D;
    uint8_t *output = systole_kernel_output_bytes(call);
    size_t map_size = (size_t)w->input_height * (size_t)w->input_width * (size_t)w->input_channels;
    int16_t *maps = systole_widen(systole_kernel_input_bytes(call, 0), input->dtype, 0, systole_tensor_elements(input));
    int32_t *results = malloc((size_t)w->input_channels * sizeof *results);
    enum systole_status status = SYSTOLE_OK;
    if (maps == NULL || results == NULL) {
        status = systole_kernel_no_memory(call, diagnostic);
        goto out;
    }
    for (int32_t b = 0; b < w->batches; b++) {
        for (int32_t y = 0; y < w->output_height; y++) {
            for (int32_t x = 0; x < w->output_width; x++) {
                struct field field = field_of(w, y, x);
                int32_t taps = (field.rows.end - field.rows.first) * (field.columns.end - field.columns.first);
                reduce_integer(w, &field, maps + (size_t)b * map_size, average, results);
                for (int32_t c = 0; c < w->input_channels; c++) {
                    int32_t value = average ? systole_rounding_average(results[c], taps) : results[c];
                    *output++ = (uint8_t)systole_clamp(value, pool->clamp_min, pool->clamp_max);
                }
            }
        }
    }
out:
    free(results);
    free(maps);
    return status;
}

static float reduce_float(const struct systole_kernel_window *w, const struct field *field, const float *map,
                          bool average, int32_t channel) {
    float result = 0.0f;
    bool first = true;
    for (int32_t ky = field->rows.first; ky < field->rows.end; ky++) {
        for (int32_t kx = field->columns.first; kx < field->columns.end; kx++) {
            size_t pixel = (size_t)(field->y + ky) * (size_t)w->input_width + (size_t)(field->x + kx);
            float value = map[pixel * (size_t)w->input_channels + (size_t)channel];
            if (average) {
                result += value;
            } else if (first || value > result) {
                result = value;
            }
            first = false;
        }
    }
    return result;
}

static enum systole_status run_float(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct pool *pool = call->state;
    const struct systole_kernel_window *w = &pool->window;
    bool average = call->op->code == SYSTOLE_OP_AVERAGE_POOL_2D;
    const float *maps = (const float *)(const void *)systole_kernel_input_bytes(call, 0);
    float *output = (float *)(void *)systole_kernel_output_bytes(call);
    size_t map_size = (size_t)w->input_height * (size_t)w->input_width * (size_t)w->input_channels;
    for (int32_t b = 0; b < w->batches; b++) {
        for (int32_t y = 0; y < w->output_height; y++) {
            for (int32_t x = 0; x < w->output_width; x++) {
                struct field field = field_of(w, y, x);
                int32_t taps = (field.rows.end - field.rows.first) * (field.columns.end - field.columns.first);
                for (int32_t c = 0; c < w->input_channels; c++) {
                    float value = reduce_float(w, &field, maps + (size_t)b * map_size, average, c);
                    value = average ? value / (float)taps : value;
                    *output++ = systole_clamp_float(value, pool->low, pool->high);
                }
            }
        }
    }
    return SYSTOLE_OK;
}

const struct systole_kernel systole_pool_kernels[] = {
    {SYSTOLE_OP_AVERAGE_POOL_2D, SYSTOLE_INT8, SYSTOLE_INT8, prepare, run_integer, NULL},
    {SYSTOLE_OP_AVERAGE_POOL_2D, SYSTOLE_UINT8, SYSTOLE_UINT8, prepare, run_integer, NULL},
    {SYSTOLE_OP_AVERAGE_POOL_2D, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare, run_float, NULL},
    {SYSTOLE_OP_MAX_POOL_2D, SYSTOLE_INT8, SYSTOLE_INT8, prepare, run_integer, NULL},
    {SYSTOLE_OP_MAX_POOL_2D, SYSTOLE_UINT8, SYSTOLE_UINT8, prepare, run_integer, NULL},
    {SYSTOLE_OP_MAX_POOL_2D, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare, run_float, NULL},
    {0},
};
