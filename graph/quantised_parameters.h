// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What an operator's quantised tensors come to in integers: zero points, multipliers, clamps. Compiler and runtime both
// derive them here, so that the device and the CPU compute with the same numbers. docs/numbers.md says why they are so.
// Every function checks what it reads: quantisation that is missing, not positive, or a zero point outside the
// tensor's type gives SYSTOLE_UNSUPPORTED and a diagnostic that names the tensor. Constants' data is only read by
// systole_mean_axes; everything else works on a graph whose constants were emptied.
#ifndef SYSTOLE_QUANTISED_PARAMETERS_H
#define SYSTOLE_QUANTISED_PARAMETERS_H

#include "fixed_point.h"
#include "graph.h"

// CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED: clamp(requantise(sum + bias, multipliers[channel]) + output_zero_point).
struct systole_convolution_parameters {
    int32_t input_zero_point, weight_zero_point, output_zero_point;
    int32_t clamp_min, clamp_max;
    uint32_t channels;                      // of the output
    struct systole_multiplier *multipliers; // one a channel
};
enum systole_status systole_convolution_parameters_derive(const struct systole_graph *graph, uint32_t operator_index,
                                                          struct systole_convolution_parameters *parameters,
                                                          struct systole_diagnostic *diagnostic);
void systole_convolution_parameters_free(struct systole_convolution_parameters *parameters); // may be called twice

// ADD: s1 = requantise((a - zp1) << left_shift, input_multiplier), s2 likewise,
// clamp(requantise(s1 + s2, output_multiplier) + output_zero_point).
struct systole_add_parameters {
    int32_t input_zero_point, input2_zero_point, output_zero_point;
    int32_t clamp_min, clamp_max, left_shift;
    struct systole_multiplier input, input2, output;
};
enum systole_status systole_add_parameters_derive(const struct systole_graph *graph, uint32_t operator_index,
                                                  struct systole_add_parameters *parameters,
                                                  struct systole_diagnostic *diagnostic);

// QUANTIZE between 8-bit types, RELU, RELU6, RELU_N1_TO_1, MEAN, SUM:
// clamp(requantise(q - input_zero_point, multiplier) + output_zero_point); MEAN, SUM: of the sum of (q -
// input_zero_point).
struct systole_rescale_parameters {
    int32_t input_zero_point, output_zero_point;
    int32_t clamp_min, clamp_max;
    struct systole_multiplier multiplier;
};
enum systole_status systole_rescale_parameters_derive(const struct systole_graph *graph, uint32_t operator_index,
                                                      struct systole_rescale_parameters *parameters,
                                                      struct systole_diagnostic *diagnostic);

// MEAN, SUM, REDUCE_MAX, REDUCE_MIN: which axes of the input are reduced, and over how many elements. The second input
// must be a constant.
enum systole_status systole_mean_axes(const struct systole_graph *graph, uint32_t operator_index,
                                      bool axes[SYSTOLE_MAX_RANK], uint32_t *count,
                                      struct systole_diagnostic *diagnostic);

// The one scale and zero point of an 8-bit tensor, checked. `what` names its part in messages: "input".
enum systole_status systole_tensor_affine(const struct systole_graph *graph, uint32_t operator_index, int32_t tensor,
                                          const char *what, float *scale, int32_t *zero_point,
                                          struct systole_diagnostic *diagnostic);

#endif
