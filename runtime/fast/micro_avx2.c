// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// AVX2 with FMA. Products of unsigned by signed bytes saturate there, so operands are widened to int16 and vpmaddwd
// adds two exact products to a 32-bit lane. A tile of integers is 4 rows by two vectors of 8 columns, one of floats 6
// rows: sums, weights, a broadcast operand and a product fit the 16 registers. Depthwise takes 16 channels and two taps
// at a time; unpacking inside 128-bit lanes pairs them, which orders sums otherwise than channels, and packing undoes
// it.
#include "microkernels.h"

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#include <string.h>

#include "hybrid_loops.h"

#define ALWAYS static inline __attribute__((always_inline))

struct rescale {
    __m256i multiplier, multiplier_odd, left, right, sign, nudge_even, nudge_odd;
};
ALWAYS __m256i load(const void *from) {
    return _mm256_loadu_si256((const __m256i *)from);
}
ALWAYS void store(void *to, __m256i value) {
    _mm256_storeu_si256((__m256i *)to, value);
}
ALWAYS struct rescale load_rescale(const struct systole_requantiser *q, size_t i) {
    struct rescale s;
    s.multiplier = load(q->multiplier + i);
    s.multiplier_odd = _mm256_srli_epi64(s.multiplier, 32);
    s.left = load(q->left + i);
    s.right = load(q->right + i);
    s.sign = load(q->sign + i);
    s.nudge_even = load(q->nudge + i);
    s.nudge_odd = load(q->nudge + i + 4);
    return s;
}

ALWAYS __m256i apply_rescale(const struct rescale *s, __m256i sum) {
    __m256i x = _mm256_sllv_epi32(sum, s->left);
    __m256i even = _mm256_add_epi64(_mm256_mul_epi32(x, s->multiplier), s->nudge_even);
    __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(x, 32), s->multiplier_odd), s->nudge_odd);
    __m256i high = _mm256_blend_epi32(_mm256_shuffle_epi32(even, 0xF5), odd, 0xAA);
    return _mm256_srav_epi32(_mm256_sub_epi32(high, _mm256_srlv_epi32(sum, s->sign)), s->right);
}

ALWAYS __m128i clamp_bytes(const struct systole_requantiser *q, __m128i bytes) {
    bytes = _mm_min_epi8(_mm_max_epi8(bytes, _mm_set1_epi8((char)q->low)), _mm_set1_epi8((char)q->high));
    return _mm_xor_si128(bytes, _mm_set1_epi8((char)q->flip));
}

// Sixteen sums in the order of two vectors to bytes.
ALWAYS __m128i pack_in_order(__m256i a, __m256i b) {
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xD8);
    return _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

static void store_bytes(uint8_t *output, __m128i bytes, uint32_t count) {
    if (count >= 16) {
        _mm_storeu_si128((__m128i *)(void *)output, bytes);
    } else if (count == 8) {
        _mm_storel_epi64((__m128i *)(void *)output, bytes);
    } else {
        uint8_t all[16];
        _mm_storeu_si128((__m128i *)(void *)all, bytes);
        memcpy(output, all, count);
    }
}

ALWAYS void gemm_tile(const struct systole_gemm_tile *t, const int rows, const int vectors) {
    __m256i sums[4][2];
    const uint8_t *operand[4];
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
        operand[r] = t->rows + (size_t)r * t->row_stride;
        __m256i term = _mm256_set1_epi32(t->row_terms != NULL ? t->row_terms[r] : 0);
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            sums[r][v] = _mm256_add_epi32(load(t->bias + 8 * v), term);
        }
    }
    const uint8_t *weights = t->weights;
    for (size_t k = 0; k < 4 * t->groups; k += 4) {
        __m256i w[2];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            w[v] = load(weights + 32 * v);
        }
        weights += 32 * vectors;
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
            int32_t pair;
            memcpy(&pair, operand[r] + k, sizeof pair);
            __m256i a = _mm256_set1_epi32(pair);
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++) {
                sums[r][v] = _mm256_add_epi32(sums[r][v], _mm256_madd_epi16(a, w[v]));
            }
        }
    }
    const struct systole_requantiser *q = t->requantiser;
    if (q == NULL) {
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
            int32_t all[16] = {0};
            store(all, sums[r][0]);
            store(all + 8, sums[r][vectors - 1]);
            memcpy(t->sums + (size_t)r * t->output_stride, all, t->columns * sizeof *all);
        }
        return;
    }
    const struct rescale first = load_rescale(q, t->position);
    const struct rescale second = vectors == 2 ? load_rescale(q, t->position + 8) : first;
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
        __m256i a = apply_rescale(&first, sums[r][0]);
        __m256i b = vectors == 2 ? apply_rescale(&second, sums[r][vectors - 1]) : a;
        store_bytes(t->output + (size_t)r * t->output_stride, clamp_bytes(q, pack_in_order(a, b)), t->columns);
    }
}

#define GEMM_CASE(r, v)                                                                                                \
    case (r)*4 + (v):                                                                                                  \
        gemm_tile(t, r, v);                                                                                            \
        break;
static void gemm(const struct systole_gemm_tile *t) {
    switch (t->row_count * 4 + t->vectors) {
        GEMM_CASE(1, 1)
        GEMM_CASE(1, 2)
        GEMM_CASE(2, 1)
        GEMM_CASE(2, 2)
        GEMM_CASE(3, 1)
        GEMM_CASE(3, 2)
        GEMM_CASE(4, 1)
        GEMM_CASE(4, 2)
    default:
        break;
    }
}

static void widen(const uint8_t *bytes, size_t count, bool is_signed, int32_t zero_point, int16_t *operands) {
    const __m256i zero = _mm256_set1_epi16((int16_t)zero_point);
    size_t i = 0;
    for (; i + 16 <= count; i += 16) {
        __m128i sixteen = _mm_loadu_si128((const __m128i *)(const void *)(bytes + i));
        __m256i wide = is_signed ? _mm256_cvtepi8_epi16(sixteen) : _mm256_cvtepu8_epi16(sixteen);
        store(operands + i, _mm256_sub_epi16(wide, zero));
    }
    for (; i < count; i++) {
        operands[i] = (int16_t)((is_signed ? (int8_t)bytes[i] : bytes[i]) - zero_point);
    }
}

// Position 8 v + 4 L + i of 16 is channel 8 L + 4 v + i.
static const uint8_t order[16] = {0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15};

ALWAYS __m256i load_tap(const uint8_t *tap, size_t count, bool is_signed, __m256i zero) {
    __m128i bytes;
    if (count == 16) {
        bytes = _mm_loadu_si128((const __m128i *)(const void *)tap);
    } else {
        uint8_t all[16] = {0};
        memcpy(all, tap, count);
        bytes = _mm_loadu_si128((const __m128i *)(const void *)all);
    }
    return _mm256_sub_epi16(is_signed ? _mm256_cvtepi8_epi16(bytes) : _mm256_cvtepu8_epi16(bytes), zero);
}

ALWAYS void depthwise_pixel(const struct systole_depthwise_row *row, size_t channel, size_t count, size_t groups,
                            size_t pixel) {
    const uint8_t *const *taps = row->taps + pixel * row->tap_step;
    const __m256i zero = _mm256_set1_epi16((int16_t)row->input_zero_point);
    const int16_t *weights = (const int16_t *)(const void *)row->weights + channel * 2 * row->groups;
    __m256i low = load(row->bias + channel), high = load(row->bias + channel + 8);
    for (size_t g = 0; g < groups; g++, weights += 32) {
        __m256i a = load_tap(taps[2 * g] + channel, count, row->is_signed, zero);
        __m256i b = load_tap(taps[2 * g + 1] + channel, count, row->is_signed, zero);
        low = _mm256_add_epi32(low, _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), load(weights)));
        high = _mm256_add_epi32(high, _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), load(weights + 16)));
    }
    const struct systole_requantiser *q = row->requantiser;
    if (q == NULL) {
        int32_t all[16] = {0};
        store(all, _mm256_permute2x128_si256(low, high, 0x20));
        store(all + 8, _mm256_permute2x128_si256(low, high, 0x31));
        memcpy(row->sums + pixel * row->channels + channel, all, count * sizeof *all);
        return;
    }
    const struct rescale first = load_rescale(q, channel), second = load_rescale(q, channel + 8);
    __m256i words = _mm256_packs_epi32(apply_rescale(&first, low), apply_rescale(&second, high));
    __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    store_bytes(row->output + pixel * row->channels + channel, clamp_bytes(q, bytes), (uint32_t)count);
}

static void depthwise(const struct systole_depthwise_row *row) {
    for (size_t channel = 0; channel < row->channels; channel += 16) {
        size_t left = row->channels - channel;
        for (size_t pixel = 0; pixel < row->pixels; pixel++) {
            if (left >= 16) {
                depthwise_pixel(row, channel, 16, row->groups, pixel);
            } else {
                depthwise_pixel(row, channel, left, row->groups, pixel);
            }
        }
    }
}

ALWAYS __m256 clamp_floats(__m256 x, float low, float high) {
    return _mm256_min_ps(_mm256_set1_ps(high), _mm256_max_ps(_mm256_set1_ps(low), x));
}

ALWAYS void float_tile(const struct systole_float_tile *t, const int rows, const int vectors) {
    __m256 sums[6][2];
    const float *operand[6];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        operand[r] = t->rows + (size_t)r * t->row_stride;
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            sums[r][v] = _mm256_loadu_ps(t->bias + 8 * v);
        }
    }
    const float *weights = t->weights;
    for (size_t k = 0; k < t->depth; k++) {
        __m256 w[2];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            w[v] = _mm256_loadu_ps(weights + 8 * v);
        }
        weights += 8 * vectors;
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            __m256 a = _mm256_set1_ps(operand[r][k]);
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++) {
                sums[r][v] = _mm256_fmadd_ps(a, w[v], sums[r][v]);
            }
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        float *output = t->output + (size_t)r * t->output_stride;
        float all[16] = {0};
        bool whole = t->columns == 8 * (uint32_t)vectors;
        float *to = whole ? output : all;
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            _mm256_storeu_ps(to + 8 * v, clamp_floats(sums[r][v], t->low, t->high));
        }
        if (!whole) {
            memcpy(output, all, t->columns * sizeof *all);
        }
    }
}

#define FLOAT_CASE(r, v)                                                                                               \
    case (r)*4 + (v):                                                                                                  \
        float_tile(t, r, v);                                                                                           \
        break;
static void gemm_float(const struct systole_float_tile *t) {
    switch (t->row_count * 4 + t->vectors) {
        FLOAT_CASE(1, 1)
        FLOAT_CASE(1, 2)
        FLOAT_CASE(2, 1)
        FLOAT_CASE(2, 2)
        FLOAT_CASE(3, 1)
        FLOAT_CASE(3, 2)
        FLOAT_CASE(4, 1)
        FLOAT_CASE(4, 2)
        FLOAT_CASE(5, 1)
        FLOAT_CASE(5, 2)
        FLOAT_CASE(6, 1)
        FLOAT_CASE(6, 2)
    default:
        break;
    }
}

static void depthwise_float(const struct systole_float_depthwise_row *row) {
    for (size_t channel = 0; channel < row->channels; channel += 8) {
        size_t left = row->channels - channel;
        int32_t lanes[8];
        for (int i = 0; i < 8; i++) {
            lanes[i] = (size_t)i < left ? -1 : 0;
        }
        const __m256i mask = load(lanes);
        const __m256 bias = _mm256_maskload_ps(row->bias + channel, mask);
        for (size_t pixel = 0; pixel < row->pixels; pixel++) {
            const float *const *taps = row->taps + pixel * row->tap_step;
            float *output = row->output + pixel * row->channels + channel;
            __m256 sum = bias;
            if (left >= 8) {
                for (size_t i = 0; i < row->tap_count; i++) {
                    sum = _mm256_fmadd_ps(_mm256_loadu_ps(taps[i] + channel),
                                          _mm256_loadu_ps(row->weights + i * row->channels + channel), sum);
                }
                _mm256_storeu_ps(output, clamp_floats(sum, row->low, row->high));
            } else {
                for (size_t i = 0; i < row->tap_count; i++) {
                    sum = _mm256_fmadd_ps(_mm256_maskload_ps(taps[i] + channel, mask),
                                          _mm256_maskload_ps(row->weights + i * row->channels + channel, mask), sum);
                }
                _mm256_maskstore_ps(output, mask, clamp_floats(sum, row->low, row->high));
            }
        }
    }
}

// fixed_point.h systole_requantise in each lane.
ALWAYS __m256i requantise(__m256i x, const struct systole_add_rescale *s) {
    const __m256i multiplier = _mm256_set1_epi32(s->multiplier), nudge = _mm256_set1_epi64x((int64_t)1 << 30);
    x = _mm256_sll_epi32(x, _mm_cvtsi32_si128(s->left));
    __m256i even = _mm256_srli_epi64(_mm256_add_epi64(_mm256_mul_epi32(x, multiplier), nudge), 31);
    __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(x, 32), multiplier), nudge);
    __m256i r = _mm256_blend_epi32(even, _mm256_add_epi64(odd, odd), 0xAA);
    const __m256i mask = _mm256_set1_epi32((int32_t)(((int64_t)1 << s->right) - 1));
    __m256i threshold = _mm256_add_epi32(_mm256_srli_epi32(mask, 1), _mm256_srli_epi32(r, 31));
    __m256i up = _mm256_cmpgt_epi32(_mm256_and_si256(r, mask), threshold);
    return _mm256_sub_epi32(_mm256_sra_epi32(r, _mm_cvtsi32_si128(s->right)), up);
}

ALWAYS __m256i add_eight(const struct systole_add_row *row, __m128i a, __m128i b) {
    __m256i x = row->is_signed ? _mm256_cvtepi8_epi32(a) : _mm256_cvtepu8_epi32(a);
    __m256i y = row->is_signed ? _mm256_cvtepi8_epi32(b) : _mm256_cvtepu8_epi32(b);
    x = requantise(_mm256_sub_epi32(x, _mm256_set1_epi32(row->zero_point_a)), &row->input_a);
    y = requantise(_mm256_sub_epi32(y, _mm256_set1_epi32(row->zero_point_b)), &row->input_b);
    __m256i sum = requantise(_mm256_add_epi32(x, y), &row->sum);
    sum = _mm256_add_epi32(sum, _mm256_set1_epi32(row->zero_point));
    sum = _mm256_min_epi32(_mm256_max_epi32(sum, _mm256_set1_epi32(row->low)), _mm256_set1_epi32(row->high));
    return sum;
}

static void add(const struct systole_add_row *row) {
    const __m256i byte = _mm256_set1_epi32(0xFF); // the low bytes of clamped numbers, whatever the type
    for (size_t i = 0; i < row->count; i += 8) {
        size_t left = row->count - i;
        uint8_t a[8] = {0}, b[8] = {0};
        memcpy(a, row->a + i, left < 8 ? left : 8);
        memcpy(b, row->b + i, left < 8 ? left : 8);
        __m256i sum = _mm256_and_si256(add_eight(row, _mm_loadl_epi64((const __m128i *)(const void *)a),
                                                 _mm_loadl_epi64((const __m128i *)(const void *)b)),
                                       byte);
        __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(sum, sum), 0xD8);
        __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_castsi256_si128(words));
        store_bytes(row->output + i, bytes, left < 8 ? (uint32_t)left : 8);
    }
}

static const struct systole_microkernels table = {
    .name = "avx2",
    .lanes = 8,
    .widened = true,
    .doubled = true,
    .rows = 4,
    .vectors = 2,
    .width = 8,
    .group = 2,
    .gemm = gemm,
    .widen = widen,
    .depthwise_widened = true,
    .depthwise_block = 16,
    .depthwise_group = 2,
    .depthwise_order = order,
    .depthwise = depthwise,
    .float_rows = 6,
    .float_vectors = 2,
    .float_width = 8,
    .gemm_float = gemm_float,
    .depthwise_float = depthwise_float,
    .add = add,
    .range = hybrid_range,
    .quantise = hybrid_quantise,
    .finish = hybrid_finish,
};
const struct systole_microkernels *const systole_microkernels_avx2 = &table;
#else
const struct systole_microkernels *const systole_microkernels_avx2 = NULL;
#endif
