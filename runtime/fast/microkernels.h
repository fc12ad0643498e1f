// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The innermost loops of the fast kernels, written once for each instruction set: plain C, AVX2, AVX-512 with VNNI,
// NEON. A set is a table of functions with the shapes of its tiles; what packs weights and walks over maps is the same
// for all and lives in the other files of this folder. Integers come to the same bits whatever the set; floats may
// differ in the order of their sums. Everything here is pure: no allocation, no state, any thread.
//
// Operands of integer products come in two forms. *Bytes*: activations as unsigned bytes (int8 is read with its top bit
// flipped, that is plus 128), weights as signed bytes (uint8 less 128); what zero points add is folded into the bias,
// and into a term a row when weights have a zero point. *Widened*: both as int16 with their zero points subtracted.
#ifndef SYSTOLE_MICROKERNELS_H
#define SYSTOLE_MICROKERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Double rounding to a byte, exact to the bit (docs/cpu.md argues it) as long as |sum| << left stays below 2^30. Arrays
// are by packed position: a channel's place in the order in which a set keeps sums.
struct systole_requantiser {
    const int32_t *multiplier;
    const int32_t *left;  // bits, one more where `doubled` is set
    const int32_t *right; // bits
    const int32_t *sign; // logical shift of the sum that leaves what negative numbers round less by: 31, or 32 for none
    const int64_t *nudge; // roundings and zero point under the 32 bits that stay; of each vector the even lanes first
    int32_t zero_point, low, high; // of the output as a signed byte
    uint8_t flip;                  // 0x80: the output is uint8
};

// sums[r][n] = bias[n] + row_terms[r] + sum over k of rows[r][k] * weights[k][n], for one panel of columns.
struct systole_gemm_tile {
    const uint8_t *rows; // bytes, or int16 where the set is widened; may be read up to `groups` whole groups
    size_t row_stride;   // bytes
    uint32_t row_count;  // 1 .. rows
    uint32_t vectors;    // of columns: 1 .. vectors
    size_t groups;
    const uint8_t *weights;   // [groups][vectors * width][group], bytes or int16
    const int32_t *bias;      // vectors * width
    const int32_t *row_terms; // NULL: none
    uint8_t flip;             // of the activations
    uint32_t columns;         // of these are written
    // Either bytes, requantised, with the panel's first column at `position`; or sums.
    const struct systole_requantiser *requantiser;
    size_t position;
    uint8_t *output;
    int32_t *sums;
    size_t output_stride; // elements
};

// A row of output pixels of a depthwise convolution; the taps of pixel x begin at taps[x * tap_step], each is a pixel's
// first channel. Taps beyond the window exist, too, up to a whole group, and have weight 0.
struct systole_depthwise_row {
    const uint8_t *const *taps;
    size_t tap_step, groups, pixels, channels;
    const uint8_t *weights;                        // [block][groups][position][group], bytes or int16
    const int32_t *bias;                           // by position
    int32_t input_zero_point;                      // where widened
    int32_t weight_zero_point;                     // else; times the sum of the taps, subtracted
    bool is_signed;                                // the activations
    const struct systole_requantiser *requantiser; // NULL: sums, in the order of channels
    uint8_t *output;
    int32_t *sums;
};

struct systole_float_tile {
    const float *rows;
    size_t row_stride; // elements
    uint32_t row_count, vectors, columns;
    size_t depth;
    const float *weights; // [depth][vectors * float_width]
    const float *bias;
    float low, high;
    float *output;
    size_t output_stride;
};

struct systole_float_depthwise_row {
    const float *const *taps;
    size_t tap_step, tap_count, pixels, channels;
    const float *weights; // [tap][channels]
    const float *bias;
    float low, high;
    float *output;
};

// ADD of 8 bits without broadcasting: numbers less their zero points, each rescaled, summed, rescaled.
struct systole_add_rescale {
    int32_t multiplier, left, right;
};
struct systole_add_row {
    const uint8_t *a, *b;
    uint8_t *output;
    size_t count;
    int32_t zero_point_a, zero_point_b, zero_point, low, high; // `low` and `high` as numbers of the output's type
    struct systole_add_rescale input_a, input_b, sum;
    bool is_signed;
};

// A hybrid operator's sums to floats: (sum - zero_point * column sum) * (scale * scales[i]) + bias, clamped.
struct systole_hybrid_row {
    size_t count;
    int32_t zero_point;
    float scale, low, high;
    const int32_t *column_sums;
    const float *scales, *bias; // one a column; no bias: -0, which changes no value
};

struct systole_microkernels {
    const char *name;
    uint32_t lanes; // between even and odd halves of `nudge`; 1: one after the other
    bool widened, doubled;
    // A tile: rows, vectors of columns, columns of a vector; consecutive k that a column takes at once.
    uint32_t rows, vectors, width, group;
    void (*gemm)(const struct systole_gemm_tile *tile);
    void (*widen)(const uint8_t *bytes, size_t count, bool is_signed, int32_t zero_point, int16_t *operands);
    bool depthwise_widened;
    uint32_t depthwise_block, depthwise_group; // channels and taps at once
    const uint8_t *depthwise_order;            // position in a block to channel; NULL: the same
    void (*depthwise)(const struct systole_depthwise_row *row);
    uint32_t float_rows, float_vectors, float_width;
    void (*gemm_float)(const struct systole_float_tile *tile);
    void (*depthwise_float)(const struct systole_float_depthwise_row *row);
    void (*add)(const struct systole_add_row *row);
    void (*range)(const float *values, size_t count, float *smallest, float *largest); // and 0
    // round(zero_point + values * inverse) from `low` to 127
    void (*quantise)(const float *restrict values, size_t count, float zero_point, float inverse, float low,
                     uint8_t *restrict bytes);
    void (*finish)(const struct systole_hybrid_row *restrict row, const int32_t *restrict sums, float *restrict output);
};

// NULL where the compiler was not told of the instruction set.
extern const struct systole_microkernels *const systole_microkernels_c,
    *const systole_microkernels_avx2, *const systole_microkernels_avx512, *const systole_microkernels_neon,
                                                                              *const systole_microkernels_neon_dot;

enum { SYSTOLE_LARGEST_TILE_ROWS = 16, SYSTOLE_LARGEST_TILE_COLUMNS = 64 };

#endif
