// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What the device makes of each operator, for people; docs/operators.md is this table and that of the restrictions.
#include "compiler.h"
#include "ir.h"

static const struct systole_operator_form forms[] = {
    {"CONV_2D, FULLY_CONNECTED", "convolution on the array; strides, dilation, padding, fused RELUs"},
    {"DEPTHWISE_CONV_2D", "depthwise unit; with a channel multiplier or more than 256 taps the array"},
    {"TRANSPOSE_CONV", "a convolution for every phase of the stride, its outputs interleaved by strides"},
    {"AVERAGE_POOL_2D, MAX_POOL_2D", "pooling on the depthwise unit"},
    {"MEAN, SUM, REDUCE_MAX, REDUCE_MIN",
     "pooling over all of height, width, batch; sums over channels are a convolution of ones, the largest and the "
     "least moves of the channels that are compared"},
    {"ADD, SUB, MUL, MAXIMUM, MINIMUM, SQUARED_DIFFERENCE, PRELU", "element-wise unit, with broadcast by strides"},
    {"NOT_EQUAL, LESS, LESS_EQUAL, GREATER, GREATER_EQUAL",
     "the difference, or its square, clamped to 0 and 1 on the element-wise unit"},
    {"RELU, RELU6, RELU_N1_TO_1, QUANTIZE",
     "requantisation; QUANTIZE between int8 and uint8 is folded where it can be"},
    {"LOGISTIC, TANH, ELU, EXP, HARD_SWISH, LEAKY_RELU, ABS, NEG, SQRT, RSQRT, CAST, DEQUANTIZE",
     "a table of 256 bytes, also for chains with floats between bytes"},
    {"RESHAPE, SQUEEZE, EXPAND_DIMS", "another view without commands; moves where channels change"},
    {"PAD, PADV2", "padding of the convolutions behind it; copies and fills elsewhere"},
    {"CONCATENATION, PACK, UNPACK, SPLIT, SPLIT_V, SLICE, STRIDED_SLICE, MIRROR_PAD, TRANSPOSE, TILE, GATHER, "
     "GATHER_ND, "
     "SPACE_TO_DEPTH, DEPTH_TO_SPACE, SPACE_TO_BATCH_ND, BATCH_TO_SPACE_ND, RESIZE_NEAREST_NEIGHBOR",
     "nothing where whole tiles stay together (views); else strided copies; channels that change lanes by a "
     "convolution of ones and zeros"},
    {"RESIZE_BILINEAR",
     "depthwise convolutions of up to 2x2 taps, weights in a byte; uint8 where float32 is exact; copies of maps of one "
     "pixel or equal extents"},
};

uint32_t systole_operator_form_count(void) {
    return sizeof forms / sizeof forms[0];
}

const struct systole_operator_form *systole_operator_form(uint32_t index) {
    return index < systole_operator_form_count() ? &forms[index] : NULL;
}
