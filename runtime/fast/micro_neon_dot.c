// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// aarch64 with the dot products of Armv8.2: sdot adds four products of signed bytes to a 32-bit lane. A tile is 8 rows
// by 8 columns. Activations are unsigned bytes to what packs the weights (microkernels.h); here they are made signed
// again, and the 128 that is missing of each comes back with the sums of the weights, which a product with 128 gives:
// as two products with 64, for 128 is no signed byte.
#include "microkernels.h"

#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)
#include "micro_neon.h"

enum { ROWS = 8 };

static void gemm(const struct systole_gemm_tile *t) {
    int32x4_t sums[ROWS][2];
    int32x4_t first = vld1q_s32(t->bias), second = vld1q_s32(t->bias + 4);
    const int8x16_t half = vdupq_n_s8(64), flip = vdupq_n_s8((int8_t)(t->flip ^ 0x80));
    const int8_t *weights = (const int8_t *)t->weights;
    for (size_t k = 0; k < t->groups; k++) {
        const int8x16_t w0 = vld1q_s8(weights + 32 * k), w1 = vld1q_s8(weights + 32 * k + 16);
        first = vdotq_s32(vdotq_s32(first, w0, half), w0, half);
        second = vdotq_s32(vdotq_s32(second, w1, half), w1, half);
    }
    const uint8_t *operand[ROWS];
    for (uint32_t r = 0; r < ROWS; r++) { // a tile of fewer rows computes its first again
        uint32_t row = r < t->row_count ? r : 0;
        const int32x4_t term = vdupq_n_s32(t->row_terms != NULL ? t->row_terms[row] : 0);
        operand[r] = t->rows + row * t->row_stride;
        sums[r][0] = vaddq_s32(first, term);
        sums[r][1] = vaddq_s32(second, term);
    }
    for (size_t k = 0; k < 4 * t->groups; k += 4, weights += 32) {
        const int8x16_t w0 = vld1q_s8(weights), w1 = vld1q_s8(weights + 16);
        for (uint32_t r = 0; r < ROWS; r++) {
            int32_t four;
            memcpy(&four, operand[r] + k, sizeof four);
            const int8x16_t a = veorq_s8(vreinterpretq_s8_s32(vdupq_n_s32(four)), flip);
            sums[r][0] = vdotq_s32(sums[r][0], w0, a);
            sums[r][1] = vdotq_s32(sums[r][1], w1, a);
        }
    }
    for (uint32_t r = 0; r < t->row_count; r++) {
        finish_eight(t, r, 0, sums[r][0], sums[r][1]);
    }
}

static const struct systole_microkernels table = {
    .name = "neon-dot", .widened = false, .rows = ROWS, .vectors = 1, .group = 4, .gemm = gemm, NEON_SHARED};
const struct systole_microkernels *const systole_microkernels_neon_dot = &table;
#else
const struct systole_microkernels *const systole_microkernels_neon_dot = NULL;
#endif
