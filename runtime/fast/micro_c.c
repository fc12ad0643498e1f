// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The microkernels in plain C, for any processor: loops of constant length over widened operands, which compilers turn
// into whatever vectors the baseline has.
#include "microkernels.h"

#include "fixed_point.h"
#include "hybrid_loops.h"

#include <string.h>

enum { ROWS = 4, COLUMNS = 8, BLOCK = 16 };

static uint8_t requantise(const struct systole_requantiser *q, size_t i, int32_t sum) {
    int64_t product = (int64_t)(int32_t)((uint32_t)sum << q->left[i]) * q->multiplier[i] + q->nudge[i];
    int32_t rounded = (int32_t)(product >> 32) - (int32_t)((uint64_t)(uint32_t)sum >> q->sign[i]);
    return (uint8_t)(systole_clamp(rounded >> q->right[i], q->low, q->high) ^ q->flip);
}

static void gemm(const struct systole_gemm_tile *t) {
    int32_t sums[ROWS][COLUMNS];
    for (uint32_t r = 0; r < t->row_count; r++) {
        for (uint32_t n = 0; n < COLUMNS; n++) {
            sums[r][n] = systole_wrapping_add(t->bias[n], t->row_terms != NULL ? t->row_terms[r] : 0);
        }
    }
    const int16_t *weights = (const int16_t *)(const void *)t->weights;
    for (size_t k = 0; k < t->groups; k++, weights += COLUMNS) {
        for (uint32_t r = 0; r < t->row_count; r++) {
            int32_t a = ((const int16_t *)(const void *)(t->rows + r * t->row_stride))[k];
            for (uint32_t n = 0; n < COLUMNS; n++) {
                sums[r][n] = systole_wrapping_add(sums[r][n], a * weights[n]);
            }
        }
    }
    for (uint32_t r = 0; r < t->row_count; r++) {
        if (t->requantiser == NULL) {
            memcpy(t->sums + r * t->output_stride, sums[r], t->columns * sizeof(int32_t));
            continue;
        }
        for (uint32_t n = 0; n < t->columns; n++) {
            t->output[r * t->output_stride + n] = requantise(t->requantiser, t->position + n, sums[r][n]);
        }
    }
}

static void widen(const uint8_t *bytes, size_t count, bool is_signed, int32_t zero_point, int16_t *operands) {
    uint8_t flip = is_signed ? 0x80 : 0;
    int16_t zero = (int16_t)(zero_point + flip);
    for (size_t i = 0; i < count; i++) {
        operands[i] = (int16_t)((bytes[i] ^ flip) - zero);
    }
}

static void depthwise_pixel(const struct systole_depthwise_row *row, const uint8_t *const *taps, size_t channel,
                            size_t pixel) {
    size_t left = row->channels - channel, count = left < BLOCK ? left : BLOCK;
    const int16_t *weights = (const int16_t *)(const void *)row->weights + channel * row->groups;
    uint8_t flip = row->is_signed ? 0x80 : 0;
    int32_t zero_point = row->input_zero_point + flip;
    int32_t sums[BLOCK];
    memcpy(sums, row->bias + channel, sizeof sums);
    for (size_t i = 0; i < row->groups; i++, weights += BLOCK) {
        const uint8_t *tap = taps[i] + channel;
        for (size_t c = 0; c < count; c++) {
            sums[c] = systole_wrapping_add(sums[c], ((tap[c] ^ flip) - zero_point) * weights[c]);
        }
    }
    if (row->requantiser == NULL) {
        memcpy(row->sums + pixel * row->channels + channel, sums, count * sizeof *sums);
        return;
    }
    for (size_t c = 0; c < count; c++) {
        row->output[pixel * row->channels + channel + c] = requantise(row->requantiser, channel + c, sums[c]);
    }
}

static void depthwise(const struct systole_depthwise_row *row) {
    for (size_t channel = 0; channel < row->channels; channel += BLOCK) {
        for (size_t pixel = 0; pixel < row->pixels; pixel++) {
            depthwise_pixel(row, row->taps + pixel * row->tap_step, channel, pixel);
        }
    }
}

static float clamp_float(float x, float low, float high) {
    return x < low ? low : x > high ? high : x;
}

static void gemm_float(const struct systole_float_tile *t) {
    float sums[ROWS][COLUMNS];
    for (uint32_t r = 0; r < t->row_count; r++) {
        memcpy(sums[r], t->bias, sizeof sums[r]);
    }
    const float *weights = t->weights;
    for (size_t k = 0; k < t->depth; k++, weights += COLUMNS) {
        for (uint32_t r = 0; r < t->row_count; r++) {
            float a = t->rows[r * t->row_stride + k];
            for (uint32_t n = 0; n < COLUMNS; n++) {
                sums[r][n] += a * weights[n];
            }
        }
    }
    for (uint32_t r = 0; r < t->row_count; r++) {
        for (uint32_t n = 0; n < t->columns; n++) {
            t->output[r * t->output_stride + n] = clamp_float(sums[r][n], t->low, t->high);
        }
    }
}

static void depthwise_float(const struct systole_float_depthwise_row *row) {
    for (size_t pixel = 0; pixel < row->pixels; pixel++) {
        const float *const *taps = row->taps + pixel * row->tap_step;
        float *output = row->output + pixel * row->channels;
        memcpy(output, row->bias, row->channels * sizeof *output);
        for (size_t i = 0; i < row->tap_count; i++) {
            const float *tap = taps[i], *weights = row->weights + i * row->channels;
            for (size_t c = 0; c < row->channels; c++) {
                output[c] += tap[c] * weights[c];
            }
        }
        for (size_t c = 0; c < row->channels; c++) {
            output[c] = clamp_float(output[c], row->low, row->high);
        }
    }
}

static int32_t rescale(int32_t x, const struct systole_add_rescale *s) {
    int32_t shifted = (int32_t)((uint32_t)x << s->left);
    return systole_rounding_divide_by_power_of_two(systole_rounding_doubling_high_multiply(shifted, s->multiplier),
                                                   s->right);
}

static void add(const struct systole_add_row *row) {
    for (size_t i = 0; i < row->count; i++) {
        int32_t a = row->is_signed ? (int8_t)row->a[i] : row->a[i], b = row->is_signed ? (int8_t)row->b[i] : row->b[i];
        int32_t sum = systole_wrapping_add(rescale(a - row->zero_point_a, &row->input_a),
                                           rescale(b - row->zero_point_b, &row->input_b));
        row->output[i] =
            (uint8_t)systole_clamp(systole_wrapping_add(rescale(sum, &row->sum), row->zero_point), row->low, row->high);
    }
}

static const struct systole_microkernels table = {
    .name = "c",
    .lanes = 1,
    .widened = true,
    .doubled = true,
    .rows = ROWS,
    .vectors = 1,
    .width = COLUMNS,
    .group = 1,
    .gemm = gemm,
    .widen = widen,
    .depthwise_widened = true,
    .depthwise_block = BLOCK,
    .depthwise_group = 1,
    .depthwise = depthwise,
    .float_rows = ROWS,
    .float_vectors = 1,
    .float_width = COLUMNS,
    .gemm_float = gemm_float,
    .depthwise_float = depthwise_float,
    .add = add,
    .range = hybrid_range,
    .quantise = hybrid_quantise,
    .finish = hybrid_finish,
};
const struct systole_microkernels *const systole_microkernels_c = &table;
