// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Operators on 8-bit tensors that are a function of one byte, as the 256 bytes they give; and the integers of
// element-wise operators of two tensors. Compiler and runtime share them: a table made here is what both compute.
#ifndef SYSTOLE_QUANTISED_TABLES_H
#define SYSTOLE_QUANTISED_TABLES_H

#include "quantised_parameters.h"

// Operators that map each element by itself: LOGISTIC, TANH, ELU, EXP, HARD_SWISH, LEAKY_RELU, RELU, RELU6,
// RELU_N1_TO_1, ABS, NEG, SQRT, RSQRT, QUANTIZE, DEQUANTIZE, CAST.
bool systole_operator_is_unary(int32_t code);

// What a chain of `count` unary operators, each reading the one before (a single one: count 1), makes of each byte of
// its 8-bit input; the last output is of 8 bits, between them there may be float32 or int32. table[byte] is the output
// byte.
enum systole_status systole_unary_table_derive(const struct systole_graph *graph, const uint32_t *operators,
                                               uint32_t count, uint8_t table[256],
                                               struct systole_diagnostic *diagnostic);

// A unary operator on float32.
float systole_unary_float(const struct systole_operator *op, float x);

// What CONCATENATION makes of each byte of its input `input`: the byte itself where scales agree, else uint8 is
// rescaled (ConcatenationWithScaling) and int8 refused.
enum systole_status systole_concatenation_table_derive(const struct systole_graph *graph, uint32_t operator_index,
                                                       uint32_t input, uint8_t table[256],
                                                       struct systole_diagnostic *diagnostic);

// The 8-bit element-wise operators of two inputs, d_k = q_k - zero point k, s_k = requantise(d_k << left_shift, input
// k):
//   ADD, SUB             clamp(requantise(s1 +- s2, output) + output_zero_point)
//   SQUARED_DIFFERENCE   clamp(requantise((s1 - s2)^2, output) + output_zero_point)
//   MUL                  clamp(requantise(d1 * d2, output) + output_zero_point); left_shift is 0, inputs are not used
//   LESS ... NOT_EQUAL   s1 compared with s2; output is not used
//   PRELU                clamp(requantise(d1, input) + output_zero_point) for d1 >= 0, else
//                        clamp(requantise(d1 * d2, output) + output_zero_point); left_shift is 0
//   MAXIMUM, MINIMUM     of the bytes as numbers; nothing but the clamp is used, the three tensors are quantised alike
enum systole_status systole_binary_parameters_derive(const struct systole_graph *graph, uint32_t operator_index,
                                                     struct systole_add_parameters *parameters,
                                                     struct systole_diagnostic *diagnostic);

#endif
