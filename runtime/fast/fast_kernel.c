// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Tables of the fast kernels, and what they share.
//
// The requantiser: let x = sum << left and e = right. The reference computes r = floor((x * m + 2^30) / 2^31), then
// r / 2^e rounded half away from zero, which is (r + h - [r < 0]) >> e with h = 2^(e-1), or r where e is 0. Where the
// sum is negative and r is 0, h - 1 and h give 0 alike, so the sum's sign serves. Zero point z comes last:
// (r + h + z * 2^e - [sum < 0]) >> e. All that is added to r fits under the same division: with x doubled,
// r + h + z * 2^e = (2 x m + 2^31 + (h + z * 2^e) * 2^32) >> 32, the upper half of a 64-bit number.
// Nothing overflows when |x| < 2^30, e <= 21 and |z| <= 128: |r| + h + |z| * 2^e < 2^30 + 2^20 + 2^28.
#include "fast_kernel.h"

#include <stdlib.h>
#include <string.h>

static const struct systole_kernel *const tables[] = {systole_fast_convolution_kernels, systole_fast_depthwise_kernels,
                                                      systole_fast_elementwise_kernels, NULL};

const struct systole_kernel *systole_fast_kernel_find(const struct systole_graph *graph, uint32_t operator_index) {
    const struct systole_operator *op = &graph->operators[operator_index];
    if (op->input_count == 0 || op->inputs[0] < 0 || op->output_count == 0 || op->outputs[0] < 0) {
        return NULL;
    }
    enum systole_dtype input = graph->tensors[op->inputs[0]].dtype, output = graph->tensors[op->outputs[0]].dtype;
    for (size_t t = 0; tables[t] != NULL; t++) {
        for (const struct systole_kernel *kernel = tables[t]; kernel->run != NULL; kernel++) {
            if (kernel->code == op->code && kernel->input == input && kernel->output == output) {
                return kernel;
            }
        }
    }
    return NULL;
}

void *systole_aligned_alloc(size_t size) {
    size_t whole = systole_round_up(size > 0 ? size : 1, 64);
    void *memory = whole < size ? NULL : aligned_alloc(64, whole);
    if (memory != NULL) {
        memset(memory, 0, whole);
    }
    return memory;
}

size_t systole_fast_scratch(struct systole_fast_context *context, size_t *used, size_t size, uint32_t copies) {
    size_t offset = *used;
    *used += systole_round_up(size, 64) * copies;
    if (*used > context->scratch_size) {
        context->scratch_size = *used;
    }
    return offset;
}

enum { LARGEST_RIGHT = 21 };

static void pack_position(struct systole_packed_rescale *packed, const struct systole_microkernels *micro,
                          size_t position, struct systole_multiplier m, int32_t zero_point) {
    size_t positions = (size_t)(packed->requantiser.left - packed->requantiser.multiplier);
    int32_t *column = packed->memory + position;
    int32_t right = m.shift < 0 ? -m.shift : 0;
    int64_t half = right > 0 ? (int64_t)1 << (right - 1) : 0;
    column[0] = m.multiplier;
    column[positions] = (m.shift > 0 ? m.shift : 0) + (micro->doubled ? 1 : 0);
    column[2 * positions] = right;
    column[3 * positions] = right > 0 ? 31 : 32;
    size_t lane = position % micro->lanes, place = lane % 2 == 0 ? lane / 2 : micro->lanes / 2 + lane / 2;
    packed->nudge[position - lane + place] =
        ((int64_t)1 << 31) + (half + (int64_t)zero_point * ((int64_t)1 << right)) * ((int64_t)1 << 32);
}

enum systole_status systole_packed_rescale_make(const struct systole_kernel_call *call,
                                                const struct systole_convolution_parameters *parameters,
                                                const uint32_t *channel_of, size_t positions, uint64_t largest_sum,
                                                struct systole_packed_rescale *packed,
                                                struct systole_diagnostic *diagnostic) {
    const struct systole_microkernels *micro = call->fast->micro;
    int32_t flip = systole_kernel_output(call)->dtype == SYSTOLE_UINT8 ? 0x80 : 0;
    int32_t zero_point = parameters->output_zero_point - flip;
    *packed = (struct systole_packed_rescale){.multipliers = parameters->multipliers,
                                              .output_zero_point = parameters->output_zero_point,
                                              .clamp_min = parameters->clamp_min,
                                              .clamp_max = parameters->clamp_max};
    packed->memory = systole_aligned_alloc(4 * positions * sizeof *packed->memory);
    packed->nudge = systole_aligned_alloc(positions * sizeof *packed->nudge);
    if (packed->memory == NULL || packed->nudge == NULL) {
        return systole_kernel_no_memory(call, diagnostic);
    }
    packed->requantiser = (struct systole_requantiser){
        .multiplier = packed->memory,
        .left = packed->memory + positions,
        .right = packed->memory + 2 * positions,
        .sign = packed->memory + 3 * positions,
        .nudge = packed->nudge,
        .zero_point = zero_point,
        .low = parameters->clamp_min - flip,
        .high = parameters->clamp_max - flip,
        .flip = (uint8_t)flip,
    };
    packed->is_bounded = true;
    for (size_t i = 0; i < positions; i++) {
        if (channel_of[i] == UINT32_MAX) {
            continue;
        }
        struct systole_multiplier m = parameters->multipliers[channel_of[i]];
        if (m.shift > 29 || m.shift < -LARGEST_RIGHT || (largest_sum << (m.shift > 0 ? m.shift : 0)) >> 30 != 0) {
            packed->is_bounded = false;
            return SYSTOLE_OK;
        }
        pack_position(packed, micro, i, m, zero_point);
    }
    return SYSTOLE_OK;
}

void systole_packed_rescale_free(struct systole_packed_rescale *packed) {
    free(packed->nudge);
    free(packed->memory);
    packed->nudge = NULL;
    packed->memory = NULL;
}

void systole_rescale_sums(const struct systole_packed_rescale *packed, const int32_t *sums, uint32_t first,
                          uint32_t count, uint8_t *output) {
    for (uint32_t i = 0; i < count; i++) {
        struct systole_multiplier m = packed->multipliers[first + i];
        int32_t scaled = systole_requantise(sums[i], m.multiplier, m.shift);
        output[i] = (uint8_t)systole_clamp(systole_wrapping_add(scaled, packed->output_zero_point), packed->clamp_min,
                                           packed->clamp_max);
    }
}
