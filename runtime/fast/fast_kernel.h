// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What a fast kernel is: a struct systole_kernel (reference/kernel.h) whose prepare also packs constants, and whose
// call carries a context. It stands in for the reference kernel where that accepts the operator and the fast one does,
// too; a refusal (SYSTOLE_UNSUPPORTED) leaves the operator to the reference. Integer results are those of the reference
// to the bit, hybrid ones, too; floats agree within the order of summation. `run` allocates nothing.
#ifndef SYSTOLE_FAST_KERNEL_H
#define SYSTOLE_FAST_KERNEL_H

#include "microkernels.h"
#include "quantised_parameters.h"
#include "reference/kernel.h"
#include "thread_pool.h"

struct systole_fast_context {
    const struct systole_microkernels *micro;
    struct systole_thread_pool *pool;
    uint32_t threads;
    uint8_t *const *constants; // bytes of tensors that do not change; NULL: computed
    size_t scratch_size;       // prepare raises it to what one run needs
    uint8_t *scratch;          // 64-byte aligned; only valid in run
};

// NULL: there is none for this operator and its types.
const struct systole_kernel *systole_fast_kernel_find(const struct systole_graph *graph, uint32_t operator_index);

// Hybrid operators are among the float32 ones.
extern const struct systole_kernel systole_fast_convolution_kernels[], systole_fast_depthwise_kernels[],
    systole_fast_elementwise_kernels[];

// ---- Memory
void *systole_aligned_alloc(size_t size); // 64-byte aligned, zeroed, whole lines; free with free
static inline size_t systole_round_up(size_t x, size_t step) {
    return (x + step - 1) / step * step;
}
// Room for `size` bytes and one for each thread behind what scratch has so far: returns the offset of the first;
// thread t's lies t * systole_round_up(size, 64) further.
size_t systole_fast_scratch(struct systole_fast_context *context, size_t *used, size_t size, uint32_t copies);

// ---- Integer parameters by packed position
struct systole_packed_rescale {
    struct systole_requantiser requantiser;
    int32_t *memory;
    int64_t *nudge;
    const struct systole_multiplier *multipliers; // borrowed; where sums may leave the bounds
    int32_t output_zero_point, clamp_min, clamp_max;
    bool is_bounded; // the requantiser may be used
};
// channel_of[position] below parameters->channels, or UINT32_MAX for none; largest_sum: bound of |sum| over all
// channels.
enum systole_status systole_packed_rescale_make(const struct systole_kernel_call *call,
                                                const struct systole_convolution_parameters *parameters,
                                                const uint32_t *channel_of, size_t positions, uint64_t largest_sum,
                                                struct systole_packed_rescale *packed,
                                                struct systole_diagnostic *diagnostic);
void systole_packed_rescale_free(struct systole_packed_rescale *packed);
// One row of sums to bytes as the reference does it, for sums of any size.
void systole_rescale_sums(const struct systole_packed_rescale *packed, const int32_t *sums, uint32_t first,
                          uint32_t count, uint8_t *output);

// ---- Activations of hybrid operators, as hybrid_kernel.c quantises them, but that the zero point stays in.
struct systole_hybrid_scale {
    float scale;
    int32_t zero_point;
};
struct systole_hybrid_scale systole_hybrid_quantise(const struct systole_microkernels *micro, const float *values,
                                                    size_t count, bool is_asymmetric, uint8_t *bytes);
// Scales of the weights, one a column, then the bias; to be freed.
enum systole_status systole_hybrid_columns_make(const struct systole_kernel_call *call, size_t columns,
                                                float **scales_and_bias, struct systole_diagnostic *diagnostic);

#endif
