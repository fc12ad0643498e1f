// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// aarch64 without dot products: operands widened to int16, smlal by a lane; a tile is 4 rows by 8 columns.
#include "microkernels.h"

#if defined(__aarch64__)
#include "micro_neon.h"

static void gemm(const struct systole_gemm_tile *t) {
    int32x4_t sums[4][2];
    const int16_t *operand[4];
    for (uint32_t r = 0; r < 4; r++) { // a tile of fewer rows computes its first again
        uint32_t row = r < t->row_count ? r : 0;
        const int32x4_t term = vdupq_n_s32(t->row_terms != NULL ? t->row_terms[row] : 0);
        operand[r] = (const int16_t *)(const void *)(t->rows + row * t->row_stride);
        sums[r][0] = vaddq_s32(vld1q_s32(t->bias), term);
        sums[r][1] = vaddq_s32(vld1q_s32(t->bias + 4), term);
    }
    const int16_t *weights = (const int16_t *)(const void *)t->weights;
    for (size_t k = 0; k < t->groups; k++, weights += 8) {
        const int16x8_t w = vld1q_s16(weights);
        for (uint32_t r = 0; r < 4; r++) {
            sums[r][0] = vmlal_n_s16(sums[r][0], vget_low_s16(w), operand[r][k]);
            sums[r][1] = vmlal_n_s16(sums[r][1], vget_high_s16(w), operand[r][k]);
        }
    }
    for (uint32_t r = 0; r < t->row_count; r++) {
        finish_eight(t, r, 0, sums[r][0], sums[r][1]);
    }
}

static const struct systole_microkernels table = {
    .name = "neon", .widened = true, .rows = 4, .vectors = 1, .group = 1, .gemm = gemm, NEON_SHARED};
const struct systole_microkernels *const systole_microkernels_neon = &table;
#else
const struct systole_microkernels *const systole_microkernels_neon = NULL;
#endif
