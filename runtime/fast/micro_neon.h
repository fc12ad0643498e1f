// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What both sets for aarch64 share: rescaling, depthwise, floats, ADD. vqrdmulh is the reference's rounding doubling
// high multiplication; vrshl rounds halves up, which taking one from negative sums first turns into away from zero.
// Included by micro_neon.c and micro_neon_dot.c alone.
#ifndef SYSTOLE_MICRO_NEON_H
#define SYSTOLE_MICRO_NEON_H

#include <arm_neon.h>
#include <string.h>

#include "hybrid_loops.h"
#include "microkernels.h"

#define ALWAYS static inline __attribute__((always_inline))

// Four sums to bytes in 32-bit lanes.
ALWAYS int32x4_t rescale_four(const struct systole_requantiser *q, size_t i, int32x4_t sum) {
    int32x4_t x = vqrdmulhq_s32(vshlq_s32(sum, vld1q_s32(q->left + i)), vld1q_s32(q->multiplier + i));
    uint32x4_t sign = vshlq_u32(vreinterpretq_u32_s32(sum), vnegq_s32(vld1q_s32(q->sign + i)));
    x = vsubq_s32(x, vreinterpretq_s32_u32(sign));
    x = vrshlq_s32(x, vnegq_s32(vld1q_s32(q->right + i)));
    x = vaddq_s32(x, vdupq_n_s32(q->zero_point));
    return vminq_s32(vmaxq_s32(x, vdupq_n_s32(q->low)), vdupq_n_s32(q->high));
}

ALWAYS uint8x8_t rescale_eight(const struct systole_requantiser *q, size_t i, int32x4_t first, int32x4_t second) {
    int16x8_t words = vcombine_s16(vmovn_s32(rescale_four(q, i, first)), vmovn_s32(rescale_four(q, i + 4, second)));
    return veor_u8(vreinterpret_u8_s8(vmovn_s16(words)), vdup_n_u8(q->flip));
}

static inline void store_eight(uint8_t *output, uint8x8_t bytes, size_t count) {
    if (count >= 8) {
        vst1_u8(output, bytes);
    } else {
        uint8_t all[8] = {0};
        vst1_u8(all, bytes);
        memcpy(output, all, count);
    }
}

// A tile's row of eight columns.
ALWAYS void finish_eight(const struct systole_gemm_tile *t, uint32_t r, uint32_t column, int32x4_t first,
                         int32x4_t second) {
    if (column >= t->columns) {
        return;
    }
    size_t count = t->columns - column < 8 ? t->columns - column : 8, place = r * t->output_stride + column;
    if (t->requantiser == NULL) {
        int32_t all[8] = {0};
        vst1q_s32(all, first);
        vst1q_s32(all + 4, second);
        memcpy(t->sums + place, all, count * sizeof *all);
        return;
    }
    store_eight(t->output + place, rescale_eight(t->requantiser, t->position + column, first, second), count);
}

static void neon_widen(const uint8_t *bytes, size_t count, bool is_signed, int32_t zero_point, int16_t *operands) {
    const int16x8_t zero = vdupq_n_s16((int16_t)zero_point);
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        uint8x8_t eight = vld1_u8(bytes + i);
        int16x8_t wide = is_signed ? vmovl_s8(vreinterpret_s8_u8(eight)) : vreinterpretq_s16_u16(vmovl_u8(eight));
        vst1q_s16(operands + i, vsubq_s16(wide, zero));
    }
    for (; i < count; i++) {
        operands[i] = (int16_t)((is_signed ? (int8_t)bytes[i] : bytes[i]) - zero_point);
    }
}

static void neon_depthwise(const struct systole_depthwise_row *row) {
    const int16x8_t zero = vdupq_n_s16((int16_t)row->input_zero_point);
    for (size_t channel = 0; channel < row->channels; channel += 8) {
        size_t left = row->channels - channel, count = left < 8 ? left : 8;
        for (size_t pixel = 0; pixel < row->pixels; pixel++) {
            const uint8_t *const *taps = row->taps + pixel * row->tap_step;
            const int16_t *weights = (const int16_t *)(const void *)row->weights + channel * row->groups;
            int32x4_t low = vld1q_s32(row->bias + channel), high = vld1q_s32(row->bias + channel + 4);
            for (size_t g = 0; g < row->groups; g++, weights += 8) {
                uint8_t all[8] = {0};
                const uint8_t *tap = taps[g] + channel;
                if (count < 8) {
                    memcpy(all, tap, count);
                    tap = all;
                }
                uint8x8_t bytes = vld1_u8(tap);
                int16x8_t a =
                    row->is_signed ? vmovl_s8(vreinterpret_s8_u8(bytes)) : vreinterpretq_s16_u16(vmovl_u8(bytes));
                a = vsubq_s16(a, zero);
                int16x8_t w = vld1q_s16(weights);
                low = vmlal_s16(low, vget_low_s16(a), vget_low_s16(w));
                high = vmlal_s16(high, vget_high_s16(a), vget_high_s16(w));
            }
            size_t place = pixel * row->channels + channel;
            if (row->requantiser == NULL) {
                int32_t all[8] = {0};
                vst1q_s32(all, low);
                vst1q_s32(all + 4, high);
                memcpy(row->sums + place, all, count * sizeof *all);
            } else {
                store_eight(row->output + place, rescale_eight(row->requantiser, channel, low, high), count);
            }
        }
    }
}

// The operand that may not be a number passes, as in the reference.
ALWAYS float32x4_t clamp_four(float32x4_t x, float low, float high) {
    const float32x4_t least = vdupq_n_f32(low), most = vdupq_n_f32(high);
    x = vbslq_f32(vcltq_f32(x, least), least, x);
    return vbslq_f32(vcgtq_f32(x, most), most, x);
}

static void neon_gemm_float(const struct systole_float_tile *t) {
    float32x4_t sums[4][2];
    for (uint32_t r = 0; r < 4; r++) {
        sums[r][0] = vld1q_f32(t->bias);
        sums[r][1] = vld1q_f32(t->bias + 4);
    }
    const float *operand[4];
    for (uint32_t r = 0; r < 4; r++) { // a tile of fewer rows computes its first again
        operand[r] = t->rows + (r < t->row_count ? r : 0) * t->row_stride;
    }
    const float *weights = t->weights;
    for (size_t k = 0; k < t->depth; k++, weights += 8) {
        const float32x4_t w0 = vld1q_f32(weights), w1 = vld1q_f32(weights + 4);
        for (uint32_t r = 0; r < 4; r++) {
            const float32x4_t a = vdupq_n_f32(operand[r][k]);
            sums[r][0] = vfmaq_f32(sums[r][0], a, w0);
            sums[r][1] = vfmaq_f32(sums[r][1], a, w1);
        }
    }
    for (uint32_t r = 0; r < t->row_count; r++) {
        float all[8] = {0};
        vst1q_f32(all, clamp_four(sums[r][0], t->low, t->high));
        vst1q_f32(all + 4, clamp_four(sums[r][1], t->low, t->high));
        memcpy(t->output + r * t->output_stride, all, t->columns * sizeof *all);
    }
}

static void neon_depthwise_float(const struct systole_float_depthwise_row *row) {
    for (size_t pixel = 0; pixel < row->pixels; pixel++) {
        const float *const *taps = row->taps + pixel * row->tap_step;
        float *output = row->output + pixel * row->channels;
        size_t channel = 0;
        for (; channel + 4 <= row->channels; channel += 4) {
            float32x4_t sum = vld1q_f32(row->bias + channel);
            for (size_t i = 0; i < row->tap_count; i++) {
                sum =
                    vfmaq_f32(sum, vld1q_f32(taps[i] + channel), vld1q_f32(row->weights + i * row->channels + channel));
            }
            vst1q_f32(output + channel, clamp_four(sum, row->low, row->high));
        }
        for (; channel < row->channels; channel++) {
            float sum = row->bias[channel];
            for (size_t i = 0; i < row->tap_count; i++) {
                sum += taps[i][channel] * row->weights[i * row->channels + channel];
            }
            sum = sum < row->low ? row->low : sum;
            output[channel] = sum > row->high ? row->high : sum;
        }
    }
}

// fixed_point.h systole_requantise in each lane.
ALWAYS int32x4_t requantise(int32x4_t x, const struct systole_add_rescale *s) {
    x = vqrdmulhq_s32(vshlq_s32(x, vdupq_n_s32(s->left)), vdupq_n_s32(s->multiplier));
    if (s->right > 0) {
        x = vaddq_s32(x, vshrq_n_s32(x, 31));
        x = vrshlq_s32(x, vdupq_n_s32(-s->right));
    }
    return x;
}

ALWAYS int32x4_t add_four(const struct systole_add_row *row, int16x4_t a, int16x4_t b) {
    int32x4_t x = requantise(vsubq_s32(vmovl_s16(a), vdupq_n_s32(row->zero_point_a)), &row->input_a);
    int32x4_t y = requantise(vsubq_s32(vmovl_s16(b), vdupq_n_s32(row->zero_point_b)), &row->input_b);
    int32x4_t sum = vaddq_s32(requantise(vaddq_s32(x, y), &row->sum), vdupq_n_s32(row->zero_point));
    return vminq_s32(vmaxq_s32(sum, vdupq_n_s32(row->low)), vdupq_n_s32(row->high));
}

static void neon_add(const struct systole_add_row *row) {
    for (size_t i = 0; i < row->count; i += 8) {
        size_t left = row->count - i < 8 ? row->count - i : 8;
        uint8_t a[8] = {0}, b[8] = {0};
        int16_t wide_a[8], wide_b[8];
        memcpy(a, row->a + i, left);
        memcpy(b, row->b + i, left);
        neon_widen(a, 8, row->is_signed, 0, wide_a);
        neon_widen(b, 8, row->is_signed, 0, wide_b);
        int32x4_t low = add_four(row, vld1_s16(wide_a), vld1_s16(wide_b));
        int32x4_t high = add_four(row, vld1_s16(wide_a + 4), vld1_s16(wide_b + 4));
        int8x8_t bytes = vmovn_s16(vcombine_s16(vmovn_s32(low), vmovn_s32(high)));
        store_eight(row->output + i, vreinterpret_u8_s8(bytes), left);
    }
}

#define NEON_SHARED                                                                                                    \
    .lanes = 1, .doubled = false, .width = 8, .widen = neon_widen, .depthwise_widened = true, .depthwise_block = 8,    \
    .depthwise_group = 1, .depthwise = neon_depthwise, .float_rows = 4, .float_vectors = 1, .float_width = 8,          \
    .gemm_float = neon_gemm_float, .depthwise_float = neon_depthwise_float, .add = neon_add, .range = hybrid_range,    \
    .quantise = hybrid_quantise, .finish = hybrid_finish

#endif
