// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What lies between convolutions: ADD of equal shapes, QUANTIZE between bytes as a table (or a flip of bits where that
// is what the table says), AVERAGE_POOL_2D and MAX_POOL_2D, MEAN over height and width. Sums are kept a row of channels
// at a time, so that the inner loops run along memory.
#include "fast_kernel.h"

#include "fixed_point.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK = 16384 };

// ---- ADD
struct add {
    struct systole_add_row row;
    float low, high;
    size_t count;
    bool is_float;
};

static struct systole_add_rescale rescale_of(struct systole_multiplier m, int32_t left) {
    return (struct systole_add_rescale){
        .multiplier = m.multiplier, .left = left + (m.shift > 0 ? m.shift : 0), .right = m.shift < 0 ? -m.shift : 0};
}

static enum systole_status prepare_add(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *a = systole_kernel_input(call, 0), *output = systole_kernel_output(call);
    if (!systole_same_shape(a, output) || !systole_same_shape(systole_kernel_input(call, 1), output)) {
        return systole_kernel_refuse(call, diagnostic, "", "operands are broadcast");
    }
    enum systole_status status = systole_kernel_state(call, sizeof(struct add), diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct add *add = call->state;
    add->count = systole_tensor_elements(output);
    add->is_float = a->dtype == SYSTOLE_FLOAT32;
    (void)systole_float_activation_range(call->op->options.activation, &add->low, &add->high);
    if (add->is_float) {
        return SYSTOLE_OK;
    }
    struct systole_add_parameters p;
    status = systole_add_parameters_derive(call->graph, call->operator_index, &p, diagnostic);
    add->row = (struct systole_add_row){.zero_point_a = p.input_zero_point,
                                        .zero_point_b = p.input2_zero_point,
                                        .zero_point = p.output_zero_point,
                                        .low = p.clamp_min,
                                        .high = p.clamp_max,
                                        .input_a = rescale_of(p.input, p.left_shift),
                                        .input_b = rescale_of(p.input2, p.left_shift),
                                        .sum = rescale_of(p.output, 0),
                                        .is_signed = a->dtype == SYSTOLE_INT8};
    if (add->row.input_a.left > 22 || add->row.input_b.left > 22 || add->row.sum.left > 8) {
        return systole_kernel_refuse(call, diagnostic, "", "rescaled operands may wrap");
    }
    return status;
}

static void add_chunk(void *context, uint32_t index, uint32_t thread) {
    (void)thread;
    const struct systole_kernel_call *call = context;
    const struct add *add = call->state;
    size_t first = (size_t)index * CHUNK, count = add->count - first < CHUNK ? add->count - first : CHUNK;
    if (!add->is_float) {
        struct systole_add_row row = add->row;
        row.a = systole_kernel_input_bytes(call, 0) + first;
        row.b = systole_kernel_input_bytes(call, 1) + first;
        row.output = systole_kernel_output_bytes(call) + first;
        row.count = count;
        call->fast->micro->add(&row);
        return;
    }
    const float *a = (const float *)(const void *)systole_kernel_input_bytes(call, 0) + first;
    const float *b = (const float *)(const void *)systole_kernel_input_bytes(call, 1) + first;
    float *output = (float *)(void *)systole_kernel_output_bytes(call) + first;
    for (size_t i = 0; i < count; i++) {
        output[i] = systole_clamp_float(a[i] + b[i], add->low, add->high);
    }
}

static enum systole_status run_add(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct add *add = call->state;
    struct systole_kernel_call copy = *call;
    systole_thread_pool_run(call->fast->pool, (uint32_t)((add->count + CHUNK - 1) / CHUNK), add_chunk, &copy);
    return SYSTOLE_OK;
}

// ---- QUANTIZE between bytes
struct table {
    uint8_t values[256];
    bool is_flip; // values[x] == (x ^ values[0])
};

static enum systole_status prepare_table(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    enum systole_status status = systole_kernel_state(call, sizeof(struct table), diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct table *table = call->state;
    struct systole_rescale_parameters p;
    status = systole_rescale_parameters_derive(call->graph, call->operator_index, &p, diagnostic);
    bool is_unsigned = systole_kernel_input(call, 0)->dtype == SYSTOLE_UINT8;
    table->is_flip = true;
    for (int32_t i = 0; i < 256 && status == SYSTOLE_OK; i++) {
        int32_t value = (is_unsigned ? i : (int8_t)i) - p.input_zero_point;
        int32_t scaled = systole_requantise(value, p.multiplier.multiplier, p.multiplier.shift);
        table->values[i] =
            (uint8_t)systole_clamp(systole_wrapping_add(scaled, p.output_zero_point), p.clamp_min, p.clamp_max);
        table->is_flip = table->is_flip && table->values[i] == (uint8_t)(i ^ table->values[0]);
    }
    return status;
}

static enum systole_status run_table(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct table *table = call->state;
    const uint8_t *restrict input = systole_kernel_input_bytes(call, 0);
    uint8_t *restrict output = systole_kernel_output_bytes(call);
    size_t count = systole_tensor_elements(systole_kernel_output(call));
    if (table->is_flip) {
        uint8_t flip = table->values[0];
        for (size_t i = 0; i < count; i++) {
            output[i] = input[i] ^ flip;
        }
    } else {
        for (size_t i = 0; i < count; i++) {
            output[i] = table->values[input[i]];
        }
    }
    return SYSTOLE_OK;
}

// ---- Sums of bytes over pixels
static void add_pixel(const uint8_t *restrict bytes, uint8_t flip, size_t channels, int32_t *restrict sums) {
    for (size_t c = 0; c < channels; c++) {
        sums[c] += bytes[c] ^ flip;
    }
}

// ---- Pools
struct pool {
    struct systole_kernel_window window;
    int32_t clamp_min, clamp_max;
    float low, high;
    size_t scratch;
    bool is_average;
    uint8_t flip; // orders int8 as unsigned bytes
};

static enum systole_status prepare_pool(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
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
    const struct systole_tensor *input = systole_kernel_input(call, 0);
    pool->is_average = call->op->code == SYSTOLE_OP_AVERAGE_POOL_2D;
    pool->flip = input->dtype == SYSTOLE_INT8 ? 0x80 : 0;
    (void)systole_float_activation_range(options->activation, &pool->low, &pool->high);
    if (input->dtype != SYSTOLE_FLOAT32) {
        systole_activation_range(systole_kernel_output(call), options->activation, &pool->clamp_min, &pool->clamp_max);
    }
    size_t used = 0;
    pool->scratch = systole_fast_scratch(call->fast, &used, (size_t)pool->window.input_channels * sizeof(int32_t),
                                         call->fast->threads);
    return SYSTOLE_OK;
}

struct field {
    int32_t y, x;
    struct systole_tap_range rows, columns;
};

static void pool_bytes(const struct pool *pool, const struct field *f, const uint8_t *map, int32_t *sums,
                       uint8_t *output) {
    const struct systole_kernel_window *w = &pool->window;
    size_t channels = (size_t)w->input_channels;
    memset(sums, 0, channels * sizeof *sums);
    for (int32_t ky = f->rows.first; ky < f->rows.end; ky++) {
        for (int32_t kx = f->columns.first; kx < f->columns.end; kx++) {
            const uint8_t *pixel =
                map + ((size_t)(f->y + ky) * (size_t)w->input_width + (size_t)(f->x + kx)) * channels;
            if (pool->is_average) {
                add_pixel(pixel, pool->flip, channels, sums);
                continue;
            }
            for (size_t c = 0; c < channels; c++) {
                int32_t value = pixel[c] ^ pool->flip;
                sums[c] = value > sums[c] ? value : sums[c];
            }
        }
    }
    int32_t taps = (f->rows.end - f->rows.first) * (f->columns.end - f->columns.first);
    for (size_t c = 0; c < channels; c++) {
        int32_t value =
            pool->is_average ? systole_rounding_average(sums[c] - taps * pool->flip, taps) : sums[c] - pool->flip;
        output[c] = (uint8_t)systole_clamp(value, pool->clamp_min, pool->clamp_max);
    }
}

static void pool_floats(const struct pool *pool, const struct field *f, const float *map, float *output) {
    const struct systole_kernel_window *w = &pool->window;
    size_t channels = (size_t)w->input_channels;
    bool first = true;
    for (int32_t ky = f->rows.first; ky < f->rows.end; ky++) {
        for (int32_t kx = f->columns.first; kx < f->columns.end; kx++, first = false) {
            const float *pixel = map + ((size_t)(f->y + ky) * (size_t)w->input_width + (size_t)(f->x + kx)) * channels;
            if (first) {
                memcpy(output, pixel, channels * sizeof *output);
            } else if (pool->is_average) {
                for (size_t c = 0; c < channels; c++) {
                    output[c] += pixel[c];
                }
            } else {
                for (size_t c = 0; c < channels; c++) {
                    output[c] = pixel[c] > output[c] ? pixel[c] : output[c];
                }
            }
        }
    }
    float taps = (float)((f->rows.end - f->rows.first) * (f->columns.end - f->columns.first));
    for (size_t c = 0; c < channels; c++) {
        output[c] = systole_clamp_float(pool->is_average ? output[c] / taps : output[c], pool->low, pool->high);
    }
}

static void pool_row(void *context, uint32_t index, uint32_t thread) {
    const struct systole_kernel_call *call = context;
    const struct pool *pool = call->state;
    const struct systole_kernel_window *w = &pool->window;
    size_t channels = (size_t)w->input_channels;
    int32_t *sums = (int32_t *)(void *)(call->fast->scratch + pool->scratch +
                                        thread * systole_round_up(channels * sizeof(int32_t), 64));
    size_t batch = index / (uint32_t)w->output_height,
           map = (size_t)w->input_height * (size_t)w->input_width * channels;
    struct field f = {.y = (int32_t)(index % (uint32_t)w->output_height) * w->stride_h - w->padding_top};
    f.rows = systole_taps_inside(f.y, w->filter_height, 1, w->input_height);
    for (int32_t x = 0; x < w->output_width; x++) {
        f.x = x * w->stride_w - w->padding_left;
        f.columns = systole_taps_inside(f.x, w->filter_width, 1, w->input_width);
        size_t output = ((size_t)index * (size_t)w->output_width + (size_t)x) * channels;
        if (systole_kernel_input(call, 0)->dtype == SYSTOLE_FLOAT32) {
            pool_floats(pool, &f, (const float *)(const void *)systole_kernel_input_bytes(call, 0) + batch * map,
                        (float *)(void *)systole_kernel_output_bytes(call) + output);
        } else {
            pool_bytes(pool, &f, systole_kernel_input_bytes(call, 0) + batch * map, sums,
                       systole_kernel_output_bytes(call) + output);
        }
    }
}

static enum systole_status run_pool(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct pool *pool = call->state;
    struct systole_kernel_call copy = *call;
    systole_thread_pool_run(call->fast->pool, (uint32_t)(pool->window.batches * pool->window.output_height), pool_row,
                            &copy);
    return SYSTOLE_OK;
}

// ---- MEAN over the two middle axes of four
struct mean {
    struct systole_rescale_parameters parameters;
    size_t batches, pixels, channels, scratch;
};

static enum systole_status prepare_mean(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0);
    bool axes[SYSTOLE_MAX_RANK];
    uint32_t count;
    enum systole_status status = systole_mean_axes(call->graph, call->operator_index, axes, &count, diagnostic);
    if (status == SYSTOLE_OK && (input->rank != 4 || axes[0] || !axes[1] || !axes[2] || axes[3] || count > 1u << 22)) {
        return systole_kernel_refuse(call, diagnostic, "", "the mean is not over height and width");
    }
    if (status == SYSTOLE_OK) {
        status = systole_kernel_state(call, sizeof(struct mean), diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct mean *mean = call->state;
    mean->batches = (size_t)input->shape[0];
    mean->pixels = count;
    mean->channels = (size_t)input->shape[3];
    size_t used = 0;
    mean->scratch = systole_fast_scratch(call->fast, &used, mean->channels * sizeof(int32_t), 1);
    return systole_rescale_parameters_derive(call->graph, call->operator_index, &mean->parameters, diagnostic);
}

static enum systole_status run_mean(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct mean *mean = call->state;
    const struct systole_rescale_parameters *p = &mean->parameters;
    const uint8_t *input = systole_kernel_input_bytes(call, 0);
    uint8_t *output = systole_kernel_output_bytes(call);
    int32_t *sums = (int32_t *)(void *)(call->fast->scratch + mean->scratch);
    uint8_t flip = systole_kernel_input(call, 0)->dtype == SYSTOLE_INT8 ? 0x80 : 0;
    int32_t zero = (int32_t)mean->pixels * (p->input_zero_point + flip);
    for (size_t b = 0; b < mean->batches; b++) {
        memset(sums, 0, mean->channels * sizeof *sums);
        for (size_t i = 0; i < mean->pixels; i++, input += mean->channels) {
            add_pixel(input, flip, mean->channels, sums);
        }
        for (size_t c = 0; c < mean->channels; c++) {
            int32_t scaled = systole_requantise(sums[c] - zero, p->multiplier.multiplier, p->multiplier.shift);
            *output++ =
                (uint8_t)systole_clamp(systole_wrapping_add(scaled, p->output_zero_point), p->clamp_min, p->clamp_max);
        }
    }
    return SYSTOLE_OK;
}

const struct systole_kernel systole_fast_elementwise_kernels[] = {
    {SYSTOLE_OP_ADD, SYSTOLE_INT8, SYSTOLE_INT8, prepare_add, run_add, NULL},
    {SYSTOLE_OP_ADD, SYSTOLE_UINT8, SYSTOLE_UINT8, prepare_add, run_add, NULL},
    {SYSTOLE_OP_ADD, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare_add, run_add, NULL},
    {SYSTOLE_OP_QUANTIZE, SYSTOLE_INT8, SYSTOLE_INT8, prepare_table, run_table, NULL},
    {SYSTOLE_OP_QUANTIZE, SYSTOLE_INT8, SYSTOLE_UINT8, prepare_table, run_table, NULL},
    {SYSTOLE_OP_QUANTIZE, SYSTOLE_UINT8, SYSTOLE_INT8, prepare_table, run_table, NULL},
    {SYSTOLE_OP_QUANTIZE, SYSTOLE_UINT8, SYSTOLE_UINT8, prepare_table, run_table, NULL},
    {SYSTOLE_OP_AVERAGE_POOL_2D, SYSTOLE_INT8, SYSTOLE_INT8, prepare_pool, run_pool, NULL},
    {SYSTOLE_OP_AVERAGE_POOL_2D, SYSTOLE_UINT8, SYSTOLE_UINT8, prepare_pool, run_pool, NULL},
    {SYSTOLE_OP_AVERAGE_POOL_2D, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare_pool, run_pool, NULL},
    {SYSTOLE_OP_MAX_POOL_2D, SYSTOLE_INT8, SYSTOLE_INT8, prepare_pool, run_pool, NULL},
    {SYSTOLE_OP_MAX_POOL_2D, SYSTOLE_UINT8, SYSTOLE_UINT8, prepare_pool, run_pool, NULL},
    {SYSTOLE_OP_MAX_POOL_2D, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare_pool, run_pool, NULL},
    {SYSTOLE_OP_MEAN, SYSTOLE_INT8, SYSTOLE_INT8, prepare_mean, run_mean, NULL},
    {SYSTOLE_OP_MEAN, SYSTOLE_UINT8, SYSTOLE_UINT8, prepare_mean, run_mean, NULL},
    {0},
};
