// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// AVX-512 with VNNI. vpdpbusd adds four products of unsigned by signed bytes to each 32-bit lane. A tile is 8 rows by
// three vectors of 16 columns: 24 sums, three vectors of weights, one broadcast operand and a constant fit the 32
// registers, and each operand that is loaded serves three products. Depthwise: bytes of four taps are interleaved by
// unpacking inside 128-bit lanes, so that sums come out in another order than channels; weights and parameters are
// packed in that order, and packing the results inside lanes puts it right again.
#include "microkernels.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__) &&                 \
    defined(__AVX512VNNI__)
#include <immintrin.h>
#include <string.h>

#include "hybrid_loops.h"

#define ALWAYS static inline __attribute__((always_inline))

static __mmask16 first16(uint32_t count) {
    return (__mmask16)((1u << count) - 1);
}
static __mmask64 first64(size_t count) {
    return count >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << count) - 1;
}

// The intrinsic, but that the compiler sees the sum change in place: with the intrinsic gcc 12 keeps a copy of every
// sum on the stack.
ALWAYS __m512i add_products(__m512i sum, __m512i unsigned_bytes, __m512i signed_bytes) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(unsigned_bytes), "v"(signed_bytes));
    return sum;
}

struct rescale {
    __m512i multiplier, multiplier_odd, left, right, sign, nudge_even, nudge_odd;
};
ALWAYS struct rescale load_rescale(const struct systole_requantiser *q, size_t i) {
    struct rescale s;
    s.multiplier = _mm512_loadu_si512(q->multiplier + i);
    s.multiplier_odd = _mm512_srli_epi64(s.multiplier, 32);
    s.left = _mm512_loadu_si512(q->left + i);
    s.right = _mm512_loadu_si512(q->right + i);
    s.sign = _mm512_loadu_si512(q->sign + i);
    s.nudge_even = _mm512_loadu_si512(q->nudge + i);
    s.nudge_odd = _mm512_loadu_si512(q->nudge + i + 8);
    return s;
}

// The upper halves of 64-bit products are the rounded results, shifted and less their signs.
ALWAYS __m512i apply_rescale(const struct rescale *s, __m512i sum) {
    __m512i x = _mm512_sllv_epi32(sum, s->left);
    __m512i even = _mm512_add_epi64(_mm512_mul_epi32(x, s->multiplier), s->nudge_even);
    __m512i odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(x, 32), s->multiplier_odd), s->nudge_odd);
    __m512i high = _mm512_mask_shuffle_epi32(odd, 0x5555, even, (_MM_PERM_ENUM)0xF5);
    return _mm512_srav_epi32(_mm512_sub_epi32(high, _mm512_srlv_epi32(sum, s->sign)), s->right);
}

ALWAYS void finish_tile(const struct systole_gemm_tile *t, __m512i sums[][3], const int rows, const int vectors) {
    const struct systole_requantiser *q = t->requantiser;
    if (q == NULL) {
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) {
            uint32_t columns = t->columns - 16 * (uint32_t)v < 16 ? t->columns - 16 * (uint32_t)v : 16;
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) {
                _mm512_mask_storeu_epi32(t->sums + (size_t)r * t->output_stride + 16 * v, first16(columns), sums[r][v]);
            }
        }
        return;
    }
    const __m128i low = _mm_set1_epi8((char)q->low), high = _mm_set1_epi8((char)q->high),
                  back = _mm_set1_epi8((char)q->flip);
    const bool plain = q->low == -128 && q->high == 127 && q->flip == 0;
#pragma GCC unroll 3
    for (int v = 0; v < vectors; v++) {
        const struct rescale s = load_rescale(q, t->position + 16 * (size_t)v);
        uint32_t columns = t->columns - 16 * (uint32_t)v;
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            __m128i bytes = _mm512_cvtsepi32_epi8(apply_rescale(&s, sums[r][v]));
            if (!plain) {
                bytes = _mm_xor_si128(_mm_min_epi8(_mm_max_epi8(bytes, low), high), back);
            }
            uint8_t *output = t->output + (size_t)r * t->output_stride + 16 * v;
            if (columns >= 16) {
                _mm_storeu_si128((__m128i *)(void *)output, bytes);
            } else {
                _mm_mask_storeu_epi8(output, first16(columns), bytes);
            }
        }
    }
}

ALWAYS void gemm_tile(const struct systole_gemm_tile *t, const int rows, const int vectors) {
    __m512i sums[8][3];
    const uint8_t *operand[8];
    const __m512i flip = _mm512_set1_epi8((char)t->flip);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        operand[r] = t->rows + (size_t)r * t->row_stride;
        __m512i term = _mm512_set1_epi32(t->row_terms != NULL ? t->row_terms[r] : 0);
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) {
            sums[r][v] = _mm512_add_epi32(_mm512_loadu_si512(t->bias + 16 * v), term);
        }
    }
    const uint8_t *weights = t->weights;
    for (size_t k = 0; k < 4 * t->groups; k += 4) {
        __m512i w[3];
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) {
            w[v] = _mm512_loadu_si512(weights + 64 * v);
        }
        weights += 64 * vectors;
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            int32_t four;
            memcpy(&four, operand[r] + k, sizeof four);
            __m512i a = _mm512_xor_si512(_mm512_set1_epi32(four), flip);
#pragma GCC unroll 3
            for (int v = 0; v < vectors; v++) {
                sums[r][v] = add_products(sums[r][v], a, w[v]);
            }
        }
    }
    finish_tile(t, sums, rows, vectors);
}

// A single row (a fully connected layer of one batch) has few sums, which would wait for one another: four sets of
// them.
ALWAYS void gemm_row(const struct systole_gemm_tile *t, const int vectors) {
    __m512i sums[4][3];
    const __m512i flip = _mm512_set1_epi8((char)t->flip);
    const __m512i term = _mm512_set1_epi32(t->row_terms != NULL ? t->row_terms[0] : 0);
#pragma GCC unroll 3
    for (int v = 0; v < vectors; v++) {
        sums[0][v] = _mm512_add_epi32(_mm512_loadu_si512(t->bias + 16 * v), term);
        sums[1][v] = sums[2][v] = sums[3][v] = _mm512_setzero_si512();
    }
    const uint8_t *weights = t->weights, *operand = t->rows;
    size_t k = 0;
    for (; k + 4 <= t->groups; k += 4) {
#pragma GCC unroll 4
        for (int s = 0; s < 4; s++, operand += 4) {
            int32_t four;
            memcpy(&four, operand, sizeof four);
            __m512i a = _mm512_xor_si512(_mm512_set1_epi32(four), flip);
#pragma GCC unroll 3
            for (int v = 0; v < vectors; v++, weights += 64) {
                sums[s][v] = add_products(sums[s][v], a, _mm512_loadu_si512(weights));
            }
        }
    }
    for (; k < t->groups; k++, operand += 4) {
        int32_t four;
        memcpy(&four, operand, sizeof four);
        __m512i a = _mm512_xor_si512(_mm512_set1_epi32(four), flip);
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++, weights += 64) {
            sums[0][v] = add_products(sums[0][v], a, _mm512_loadu_si512(weights));
        }
    }
    __m512i row[1][3];
#pragma GCC unroll 3
    for (int v = 0; v < vectors; v++) {
        row[0][v] =
            _mm512_add_epi32(_mm512_add_epi32(sums[0][v], sums[1][v]), _mm512_add_epi32(sums[2][v], sums[3][v]));
    }
    finish_tile(t, row, 1, vectors);
}

#define GEMM_CASE(r, v)                                                                                                \
    case (r)*4 + (v):                                                                                                  \
        gemm_tile(t, r, v);                                                                                            \
        break;
#define GEMM_ROWS(r) GEMM_CASE(r, 1) GEMM_CASE(r, 2) GEMM_CASE(r, 3)
static void gemm(const struct systole_gemm_tile *t) {
    switch (t->row_count * 4 + t->vectors) {
    case 1 * 4 + 1:
        gemm_row(t, 1);
        break;
    case 1 * 4 + 2:
        gemm_row(t, 2);
        break;
    case 1 * 4 + 3:
        gemm_row(t, 3);
        break;
        GEMM_ROWS(2)
        GEMM_ROWS(3)
        GEMM_ROWS(4)
        GEMM_ROWS(5)
        GEMM_ROWS(6)
        GEMM_ROWS(7)
        GEMM_ROWS(8)
    default:
        break;
    }
}

// Position 16 v + 4 L + i of 64 is channel 16 L + 4 v + i.
#define QUAD(l, v) 16 * (l) + 4 * (v), 16 * (l) + 4 * (v) + 1, 16 * (l) + 4 * (v) + 2, 16 * (l) + 4 * (v) + 3
#define VECTOR(v) QUAD(0, v), QUAD(1, v), QUAD(2, v), QUAD(3, v)
static const uint8_t order[64] = {VECTOR(0), VECTOR(1), VECTOR(2), VECTOR(3)};

// One pixel, or two pixels of at most 32 channels side by side, for 64 positions.
ALWAYS __m512i load_tap(const uint8_t *const *taps, size_t tap_step, size_t channel, __mmask64 mask, const bool pair,
                        __m512i flip) {
    __m512i bytes;
    if (pair) {
        __m256i a = _mm256_maskz_loadu_epi8((__mmask32)mask, taps[0] + channel);
        __m256i b = _mm256_maskz_loadu_epi8((__mmask32)mask, taps[tap_step] + channel);
        bytes = _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1);
    } else {
        bytes = _mm512_maskz_loadu_epi8(mask, taps[0] + channel);
    }
    return _mm512_xor_si512(bytes, flip);
}

// The next four taps as four vectors of four bytes a channel.
ALWAYS void interleave_taps(const uint8_t *const *taps, size_t tap_step, size_t channel, __mmask64 mask,
                            const bool pair, __m512i flip, __m512i quads[4]) {
    __m512i t0 = load_tap(taps, tap_step, channel, mask, pair, flip);
    __m512i t1 = load_tap(taps + 1, tap_step, channel, mask, pair, flip);
    __m512i t2 = load_tap(taps + 2, tap_step, channel, mask, pair, flip);
    __m512i t3 = load_tap(taps + 3, tap_step, channel, mask, pair, flip);
    __m512i low01 = _mm512_unpacklo_epi8(t0, t1), high01 = _mm512_unpackhi_epi8(t0, t1);
    __m512i low23 = _mm512_unpacklo_epi8(t2, t3), high23 = _mm512_unpackhi_epi8(t2, t3);
    quads[0] = _mm512_unpacklo_epi16(low01, low23);
    quads[1] = _mm512_unpackhi_epi16(low01, low23);
    quads[2] = _mm512_unpacklo_epi16(high01, high23);
    quads[3] = _mm512_unpackhi_epi16(high01, high23);
}

ALWAYS void store_sums(const __m512i sums[4], int32_t *to, int32_t *second, size_t count, const bool pair) {
    int32_t ordered[64] = {0};
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++) {
        int32_t lanes[16];
        _mm512_storeu_si512(lanes, sums[v]);
        for (int l = 0; l < 4; l++) {
            memcpy(ordered + 16 * l + 4 * v, lanes + 4 * l, 4 * sizeof *lanes);
        }
    }
    memcpy(to, ordered, count * sizeof *ordered);
    if (pair) {
        memcpy(second, ordered + 32, count * sizeof *ordered);
    }
}

ALWAYS void store_pixels(const struct systole_requantiser *q, const __m512i scaled[4], uint8_t *output, uint8_t *second,
                         size_t count, __mmask64 mask, const bool pair) {
    __m512i bytes =
        _mm512_packs_epi16(_mm512_packs_epi32(scaled[0], scaled[1]), _mm512_packs_epi32(scaled[2], scaled[3]));
    bytes = _mm512_max_epi8(bytes, _mm512_set1_epi8((char)q->low));
    bytes = _mm512_min_epi8(bytes, _mm512_set1_epi8((char)q->high));
    bytes = _mm512_xor_si512(bytes, _mm512_set1_epi8((char)q->flip));
    if (pair) {
        __m256i low = _mm512_castsi512_si256(bytes), high = _mm512_extracti64x4_epi64(bytes, 1);
        if (count == 32) {
            _mm256_storeu_si256((__m256i *)(void *)output, low);
            _mm256_storeu_si256((__m256i *)(void *)second, high);
        } else {
            _mm256_mask_storeu_epi8(output, (__mmask32)mask, low);
            _mm256_mask_storeu_epi8(second, (__mmask32)mask, high);
        }
    } else if (count == 64) {
        _mm512_storeu_si512(output, bytes);
    } else {
        _mm512_mask_storeu_epi8(output, mask, bytes);
    }
}

// `vectors` pixels, or pairs of pixels, at once: what is loaded of weights and parameters serves them all.
ALWAYS void depthwise_pixels(const struct systole_depthwise_row *row, size_t channel, const uint8_t *weights,
                             size_t groups, size_t count, __mmask64 mask, const bool pair, const bool has_zero_point,
                             size_t pixel, const int vectors) {
    const __m512i flip = _mm512_set1_epi8(row->is_signed ? (char)0x80 : 0), ones = _mm512_set1_epi8(1);
    const size_t wide = pair ? 2 : 1;
    __m512i sums[2][4], totals[2][4];
#pragma GCC unroll 2
    for (int p = 0; p < vectors; p++) {
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) {
            sums[p][v] = _mm512_loadu_si512(row->bias + 16 * v);
            totals[p][v] = _mm512_setzero_si512();
        }
    }
    for (size_t g = 0; g < groups; g++, weights += 256) {
#pragma GCC unroll 2
        for (int p = 0; p < vectors; p++) {
            __m512i quads[4];
            const uint8_t *const *taps = row->taps + (pixel + wide * (size_t)p) * row->tap_step + 4 * g;
            interleave_taps(taps, row->tap_step, channel, mask, pair, flip, quads);
#pragma GCC unroll 4
            for (int v = 0; v < 4; v++) {
                sums[p][v] = add_products(sums[p][v], quads[v], _mm512_loadu_si512(weights + 64 * v));
                if (has_zero_point) {
                    totals[p][v] = add_products(totals[p][v], quads[v], ones);
                }
            }
        }
    }
    if (has_zero_point) {
        const __m512i zero_point = _mm512_set1_epi32(row->weight_zero_point);
        for (int p = 0; p < vectors; p++) {
#pragma GCC unroll 4
            for (int v = 0; v < 4; v++) {
                sums[p][v] = _mm512_sub_epi32(sums[p][v], _mm512_mullo_epi32(totals[p][v], zero_point));
            }
        }
    }
    const struct systole_requantiser *q = row->requantiser;
    if (q != NULL) {
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) {
            const struct rescale s = load_rescale(q, 16 * (size_t)v);
#pragma GCC unroll 2
            for (int p = 0; p < vectors; p++) {
                sums[p][v] = apply_rescale(&s, sums[p][v]);
            }
        }
    }
#pragma GCC unroll 2
    for (int p = 0; p < vectors; p++) {
        size_t place = (pixel + wide * (size_t)p) * row->channels + channel;
        if (q == NULL) {
            store_sums(sums[p], row->sums + place, row->sums + place + row->channels, count, pair);
        } else {
            store_pixels(q, sums[p], row->output + place, row->output + place + row->channels, count, mask, pair);
        }
    }
}

ALWAYS void depthwise_block(const struct systole_depthwise_row *row, size_t channel, size_t groups,
                            const bool has_zero_point) {
    size_t left = row->channels - channel, count = left < 64 ? left : 64, pixel = 0;
    const uint8_t *weights = row->weights + channel * 4 * row->groups;
    struct systole_depthwise_row block = *row;
    struct systole_requantiser q;
    if (row->requantiser != NULL) {
        q = *row->requantiser;
        q.multiplier += channel;
        q.left += channel;
        q.right += channel;
        q.sign += channel;
        q.nudge += channel;
        block.requantiser = &q;
    }
    block.bias += channel;
    const __mmask64 mask = first64(count);
    if (count <= 32) { // weights and parameters of such a block are there twice
        for (; !has_zero_point && pixel + 4 <= row->pixels; pixel += 4) {
            depthwise_pixels(&block, channel, weights, groups, count, mask, true, has_zero_point, pixel, 2);
        }
        for (; pixel + 2 <= row->pixels; pixel += 2) {
            depthwise_pixels(&block, channel, weights, groups, count, mask, true, has_zero_point, pixel, 1);
        }
    }
    for (; !has_zero_point && pixel + 2 <= row->pixels; pixel += 2) {
        depthwise_pixels(&block, channel, weights, groups, count, mask, false, has_zero_point, pixel, 2);
    }
    for (; pixel < row->pixels; pixel++) {
        depthwise_pixels(&block, channel, weights, groups, count, mask, false, has_zero_point, pixel, 1);
    }
}

// Pixels that are taken at once through all blocks of channels, an even number: what their taps touch stays in the
// first-level cache, and memory is read almost in its order.
static size_t pixels_at_once(size_t channels) {
    size_t pixels = 8192 / channels / 2 * 2;
    return pixels > 8 ? pixels : 8;
}

static void depthwise(const struct systole_depthwise_row *row) {
    size_t step = pixels_at_once(row->channels);
    for (size_t pixel = 0; pixel < row->pixels; pixel += step) {
        struct systole_depthwise_row part = *row;
        part.taps += pixel * row->tap_step;
        part.pixels = row->pixels - pixel < step ? row->pixels - pixel : step;
        part.output = row->output != NULL ? row->output + pixel * row->channels : NULL;
        part.sums = row->sums != NULL ? row->sums + pixel * row->channels : NULL;
        for (size_t channel = 0; channel < row->channels; channel += 64) {
            if (row->weight_zero_point != 0) {
                depthwise_block(&part, channel, row->groups, true);
            } else if (row->groups == 3) {
                depthwise_block(&part, channel, 3, false);
            } else {
                depthwise_block(&part, channel, row->groups, false);
            }
        }
    }
}

ALWAYS void float_tile(const struct systole_float_tile *t, const int rows, const int vectors) {
    __m512 sums[8][3];
    const float *operand[8];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        operand[r] = t->rows + (size_t)r * t->row_stride;
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) {
            sums[r][v] = _mm512_loadu_ps(t->bias + 16 * v);
        }
    }
    const float *weights = t->weights;
    for (size_t k = 0; k < t->depth; k++) {
        __m512 w[3];
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) {
            w[v] = _mm512_loadu_ps(weights + 16 * v);
        }
        weights += 16 * vectors;
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            __m512 a = _mm512_set1_ps(operand[r][k]);
#pragma GCC unroll 3
            for (int v = 0; v < vectors; v++) {
                sums[r][v] = _mm512_fmadd_ps(a, w[v], sums[r][v]);
            }
        }
    }
    const __m512 low = _mm512_set1_ps(t->low), high = _mm512_set1_ps(t->high);
#pragma GCC unroll 3
    for (int v = 0; v < vectors; v++) {
        uint32_t columns = t->columns - 16 * (uint32_t)v;
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            float *output = t->output + (size_t)r * t->output_stride + 16 * v;
            // The operand that may not be a number stands second: it passes, as comparisons let it in the reference.
            __m512 clamped = _mm512_min_ps(high, _mm512_max_ps(low, sums[r][v]));
            if (columns >= 16) {
                _mm512_storeu_ps(output, clamped);
            } else {
                _mm512_mask_storeu_ps(output, first16(columns), clamped);
            }
        }
    }
}

#define FLOAT_CASE(r, v)                                                                                               \
    case (r)*4 + (v):                                                                                                  \
        float_tile(t, r, v);                                                                                           \
        break;
#define FLOAT_ROWS(r) FLOAT_CASE(r, 1) FLOAT_CASE(r, 2) FLOAT_CASE(r, 3)
static void gemm_float(const struct systole_float_tile *t) {
    switch (t->row_count * 4 + t->vectors) {
        FLOAT_ROWS(1)
        FLOAT_ROWS(2)
        FLOAT_ROWS(3)
        FLOAT_ROWS(4)
        FLOAT_ROWS(5)
        FLOAT_ROWS(6)
        FLOAT_ROWS(7)
        FLOAT_ROWS(8)
    default:
        break;
    }
}

ALWAYS void depthwise_float_channels(const struct systole_float_depthwise_row *row, size_t channel, __mmask16 mask,
                                     size_t taps) {
    const __m512 low = _mm512_set1_ps(row->low), high = _mm512_set1_ps(row->high);
    const __m512 bias = _mm512_maskz_loadu_ps(mask, row->bias + channel);
    for (size_t pixel = 0; pixel < row->pixels; pixel++) {
        const float *const *tap = row->taps + pixel * row->tap_step;
        __m512 sum = bias;
#pragma GCC unroll 9
        for (size_t i = 0; i < taps; i++) {
            sum = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, tap[i] + channel),
                                  _mm512_maskz_loadu_ps(mask, row->weights + i * row->channels + channel), sum);
        }
        _mm512_mask_storeu_ps(row->output + pixel * row->channels + channel, mask,
                              _mm512_min_ps(high, _mm512_max_ps(low, sum)));
    }
}

// Weights of many channels do not stay in the first-level cache: there several pixels share what is loaded of them.
// Otherwise pixel after pixel reads memory in its order.
static void depthwise_float(const struct systole_float_depthwise_row *row) {
    size_t step = row->tap_count * row->channels > 4096 ? 8 : 1;
    for (size_t pixel = 0; pixel < row->pixels; pixel += step) {
        struct systole_float_depthwise_row part = *row;
        part.taps += pixel * row->tap_step;
        part.pixels = row->pixels - pixel < step ? row->pixels - pixel : step;
        part.output += pixel * row->channels;
        for (size_t channel = 0; channel < row->channels; channel += 16) {
            size_t left = row->channels - channel;
            if (left >= 16 && row->tap_count == 9) {
                depthwise_float_channels(&part, channel, 0xFFFF, 9);
            } else {
                depthwise_float_channels(&part, channel, first16(left < 16 ? (uint32_t)left : 16), row->tap_count);
            }
        }
    }
}

// fixed_point.h systole_requantise in each lane, for any operands but INT32_MIN under a left shift.
ALWAYS __m512i requantise(__m512i x, const struct systole_add_rescale *s) {
    const __m512i multiplier = _mm512_set1_epi32(s->multiplier), nudge = _mm512_set1_epi64((int64_t)1 << 30);
    x = _mm512_sll_epi32(x, _mm_cvtsi32_si128(s->left));
    __m512i even = _mm512_srli_epi64(_mm512_add_epi64(_mm512_mul_epi32(x, multiplier), nudge), 31);
    __m512i odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(x, 32), multiplier), nudge);
    __m512i r = _mm512_mask_blend_epi32(0xAAAA, even, _mm512_add_epi64(odd, odd));
    const __m512i mask = _mm512_set1_epi32((int32_t)(((int64_t)1 << s->right) - 1));
    __m512i threshold = _mm512_add_epi32(_mm512_srli_epi32(mask, 1), _mm512_srli_epi32(r, 31));
    __mmask16 up = _mm512_cmpgt_epi32_mask(_mm512_and_si512(r, mask), threshold);
    r = _mm512_sra_epi32(r, _mm_cvtsi32_si128(s->right));
    return _mm512_mask_add_epi32(r, up, r, _mm512_set1_epi32(1));
}

static void add(const struct systole_add_row *row) {
    const __m512i zero_a = _mm512_set1_epi32(row->zero_point_a), zero_b = _mm512_set1_epi32(row->zero_point_b);
    const __m512i zero = _mm512_set1_epi32(row->zero_point), low = _mm512_set1_epi32(row->low),
                  high = _mm512_set1_epi32(row->high);
    for (size_t i = 0; i < row->count; i += 16) {
        size_t left = row->count - i;
        __mmask16 mask = first16(left < 16 ? (uint32_t)left : 16);
        __m128i a = _mm_maskz_loadu_epi8(mask, row->a + i), b = _mm_maskz_loadu_epi8(mask, row->b + i);
        __m512i x = row->is_signed ? _mm512_cvtepi8_epi32(a) : _mm512_cvtepu8_epi32(a);
        __m512i y = row->is_signed ? _mm512_cvtepi8_epi32(b) : _mm512_cvtepu8_epi32(b);
        x = requantise(_mm512_sub_epi32(x, zero_a), &row->input_a);
        y = requantise(_mm512_sub_epi32(y, zero_b), &row->input_b);
        __m512i sum = _mm512_add_epi32(requantise(_mm512_add_epi32(x, y), &row->sum), zero);
        sum = _mm512_min_epi32(_mm512_max_epi32(sum, low), high);
        _mm_mask_storeu_epi8(row->output + i, mask, _mm512_cvtepi32_epi8(sum));
    }
}

static const struct systole_microkernels table = {
    .name = "avx512",
    .lanes = 16,
    .widened = false,
    .doubled = true,
    .rows = 8,
    .vectors = 3,
    .width = 16,
    .group = 4,
    .gemm = gemm,
    .depthwise_block = 64,
    .depthwise_group = 4,
    .depthwise_order = order,
    .depthwise = depthwise,
    .float_rows = 8,
    .float_vectors = 3,
    .float_width = 16,
    .gemm_float = gemm_float,
    .depthwise_float = depthwise_float,
    .add = add,
    .range = hybrid_range,
    .quantise = hybrid_quantise,
    .finish = hybrid_finish,
};
const struct systole_microkernels *const systole_microkernels_avx512 = &table;
#else
const struct systole_microkernels *const systole_microkernels_avx512 = NULL;
#endif
