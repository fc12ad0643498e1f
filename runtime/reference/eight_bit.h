// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What the kernels on 8-bit tensors share.
#ifndef SYSTOLE_EIGHT_BIT_H
#define SYSTOLE_EIGHT_BIT_H

#include "kernel.h"
#include "quantised_parameters.h"

struct systole_affine {
    float scale;
    int32_t zero_point;
};
// Of the first input and the first output, each one scale.
enum systole_status systole_eight_bit_ends(const struct systole_kernel_call *call, struct systole_affine *input,
                                           struct systole_affine *output, struct systole_diagnostic *diagnostic);

// What sums of products need beside their shapes, for input 1 as weights and input `bias_place` as bias of `channels`
// elements: bias, weights and activation are checked; the activation's range in float32, and for 8-bit outputs the
// multipliers.
enum systole_status systole_eight_bit_sums(const struct systole_kernel_call *call, uint32_t bias_place,
                                           int32_t channels, float *low, float *high,
                                           struct systole_convolution_parameters *parameters,
                                           struct systole_diagnostic *diagnostic);

// From the input's scale to the output's, clamped (reference/requantize.h); the state is systole_rescale_parameters.
enum systole_status systole_rescale_prepare(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic);
enum systole_status systole_rescale_run(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic);

#endif
