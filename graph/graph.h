// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A TensorFlow Lite model in memory. Only graph/ knows the file format.
#ifndef SYSTOLE_GRAPH_H
#define SYSTOLE_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dtype.h"
#include "status.h"

#define SYSTOLE_MAX_RANK 8

// Affine quantisation: real = scale[k] * (q - zero_point[k]); k indexes `dimension` when count > 1.
struct systole_quantisation {
    uint32_t count; // 0: not quantised
    float *scale;
    int64_t *zero_point; // `count` of each (a single zero point in a file is spread)
    int32_t dimension;
};

struct systole_tensor {
    char *name;
    enum systole_dtype dtype;
    int32_t rank;
    int32_t shape[SYSTOLE_MAX_RANK];
    struct systole_quantisation quantisation;
    uint8_t *data; // constant; NULL: computed, or a constant that was emptied
    size_t size;   // bytes by shape and type; of a constant STRING: of its data
    bool is_variable;
    bool was_constant; // emptied by systole_graph_write: no operator computes it, and nobody may ask for its data
};

enum systole_padding { SYSTOLE_PADDING_SAME = 0, SYSTOLE_PADDING_VALID = 1 };
enum systole_activation {
    SYSTOLE_ACTIVATION_NONE = 0,
    SYSTOLE_ACTIVATION_RELU = 1,
    SYSTOLE_ACTIVATION_RELU_N1_TO_1 = 2,
    SYSTOLE_ACTIVATION_RELU6 = 3,
    SYSTOLE_ACTIVATION_TANH = 4,
};

// Values are those of the format's enum BuiltinOperator, so that every operator of a file has its number; names come
// from systole_operator_name. Only those that Systole reads options of or runs are listed; the list grows.
#define SYSTOLE_OPERATOR_LIST(X)                                                                                       \
    X(ADD, 0)                                                                                                          \
    X(AVERAGE_POOL_2D, 1)                                                                                              \
    X(CONCATENATION, 2)                                                                                                \
    X(CONV_2D, 3)                                                                                                      \
    X(DEPTHWISE_CONV_2D, 4)                                                                                            \
    X(DEPTH_TO_SPACE, 5)                                                                                               \
    X(DEQUANTIZE, 6)                                                                                                   \
    X(FULLY_CONNECTED, 9)                                                                                              \
    X(L2_NORMALIZATION, 11)                                                                                            \
    X(LOGISTIC, 14)                                                                                                    \
    X(MAX_POOL_2D, 17)                                                                                                 \
    X(MUL, 18)                                                                                                         \
    X(RELU, 19)                                                                                                        \
    X(RELU_N1_TO_1, 20)                                                                                                \
    X(RELU6, 21)                                                                                                       \
    X(RESHAPE, 22)                                                                                                     \
    X(RESIZE_BILINEAR, 23)                                                                                             \
    X(SOFTMAX, 25)                                                                                                     \
    X(SPACE_TO_DEPTH, 26)                                                                                              \
    X(SVDF, 27)                                                                                                        \
    X(TANH, 28)                                                                                                        \
    X(PAD, 34)                                                                                                         \
    X(GATHER, 36)                                                                                                      \
    X(BATCH_TO_SPACE_ND, 37)                                                                                           \
    X(SPACE_TO_BATCH_ND, 38)                                                                                           \
    X(TRANSPOSE, 39)                                                                                                   \
    X(MEAN, 40)                                                                                                        \
    X(SUB, 41)                                                                                                         \
    X(DIV, 42)                                                                                                         \
    X(SQUEEZE, 43)                                                                                                     \
    X(UNIDIRECTIONAL_SEQUENCE_LSTM, 44)                                                                                \
    X(STRIDED_SLICE, 45)                                                                                               \
    X(EXP, 47)                                                                                                         \
    X(SPLIT, 49)                                                                                                       \
    X(LOG_SOFTMAX, 50)                                                                                                 \
    X(CAST, 53)                                                                                                        \
    X(PRELU, 54)                                                                                                       \
    X(MAXIMUM, 55)                                                                                                     \
    X(ARG_MAX, 56)                                                                                                     \
    X(MINIMUM, 57)                                                                                                     \
    X(LESS, 58)                                                                                                        \
    X(NEG, 59)                                                                                                         \
    X(PADV2, 60)                                                                                                       \
    X(GREATER, 61)                                                                                                     \
    X(GREATER_EQUAL, 62)                                                                                               \
    X(LESS_EQUAL, 63)                                                                                                  \
    X(SELECT, 64)                                                                                                      \
    X(SLICE, 65)                                                                                                       \
    X(TRANSPOSE_CONV, 67)                                                                                              \
    X(TILE, 69)                                                                                                        \
    X(EXPAND_DIMS, 70)                                                                                                 \
    X(EQUAL, 71)                                                                                                       \
    X(NOT_EQUAL, 72)                                                                                                   \
    X(SUM, 74)                                                                                                         \
    X(SQRT, 75)                                                                                                        \
    X(RSQRT, 76)                                                                                                       \
    X(SHAPE, 77)                                                                                                       \
    X(ARG_MIN, 79)                                                                                                     \
    X(REDUCE_MAX, 82)                                                                                                  \
    X(PACK, 83)                                                                                                        \
    X(UNPACK, 88)                                                                                                      \
    X(REDUCE_MIN, 89)                                                                                                  \
    X(FLOOR_DIV, 90)                                                                                                   \
    X(RESIZE_NEAREST_NEIGHBOR, 97)                                                                                     \
    X(LEAKY_RELU, 98)                                                                                                  \
    X(SQUARED_DIFFERENCE, 99)                                                                                          \
    X(MIRROR_PAD, 100)                                                                                                 \
    X(ABS, 101)                                                                                                        \
    X(SPLIT_V, 102)                                                                                                    \
    X(GATHER_ND, 107)                                                                                                  \
    X(ELU, 111)                                                                                                        \
    X(QUANTIZE, 114)                                                                                                   \
    X(HARD_SWISH, 117)                                                                                                 \
    X(SELECT_V2, 123)                                                                                                  \
    X(BATCH_MATMUL, 126)
enum systole_operator_code {
#define SYSTOLE_OPERATOR_VALUE(name, value) SYSTOLE_OP_##name = value,
    SYSTOLE_OPERATOR_LIST(SYSTOLE_OPERATOR_VALUE)
#undef SYSTOLE_OPERATOR_VALUE
        SYSTOLE_OP_CUSTOM = 32,
};

// Options of all operators in one struct; those that an operator does not have are 0 (dilation and stride: 1).
struct systole_options {
    int32_t stride_h, stride_w, dilation_h, dilation_w;
    int32_t filter_h, filter_w; // pooling
    int32_t depth_multiplier;
    enum systole_padding padding;
    enum systole_activation activation;
    bool keep_dims;                         // reductions, FULLY_CONNECTED keep_num_dims
    int32_t weights_format;                 // FULLY_CONNECTED; 0: plain
    bool asymmetric_quantize_inputs;        // hybrid FULLY_CONNECTED, BATCH_MATMUL, SVDF, LSTM
    bool pot_scale_int16;                   // ADD, SUB of int16: scales are powers of two
    float beta;                             // SOFTMAX
    float alpha;                            // LEAKY_RELU
    int32_t axis;                           // CONCATENATION, GATHER, PACK, UNPACK
    int32_t count;                          // SPLIT, SPLIT_V, UNPACK: outputs; PACK: inputs
    int32_t batch_dims;                     // GATHER
    int32_t block_size;                     // SPACE_TO_DEPTH, DEPTH_TO_SPACE
    bool align_corners, half_pixel_centers; // RESIZE_BILINEAR, RESIZE_NEAREST_NEIGHBOR
    bool symmetric;                         // MIRROR_PAD; false: reflect
    int32_t begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask; // STRIDED_SLICE, a bit an axis
    bool offset;                         // STRIDED_SLICE: the end counts from the begin
    enum systole_dtype input_type;       // CAST
    enum systole_dtype output_type;      // CAST, ARG_MAX, ARG_MIN, SHAPE
    int32_t new_shape[SYSTOLE_MAX_RANK]; // RESHAPE; SQUEEZE: the axes to remove
    int32_t new_rank;                    // RESHAPE 0: the second input tells; SQUEEZE 0: all of extent 1
    int32_t svdf_rank;
    bool adjoint_x, adjoint_y;  // BATCH_MATMUL
    bool time_major;            // UNIDIRECTIONAL_SEQUENCE_LSTM
    float cell_clip, proj_clip; // of the same; 0: none
};

struct systole_operator {
    int32_t code; // BuiltinOperator
    int32_t version;
    char *custom_name; // of a custom operator, else NULL
    int32_t *inputs;   // tensor indices; -1: an optional input left out
    int32_t *outputs;
    int32_t *intermediates; // tensors that carry only a quantisation (an LSTM's); they may have no elements
    uint32_t input_count, output_count, intermediate_count;
    struct systole_options options;
    uint8_t options_type;    // the format's BuiltinOptions number; 0: none
    bool options_unknown;    // it carries something that `options` cannot hold; systole_graph_write refuses it
    uint8_t *custom_options; // of a custom operator, as they stand in the file
    size_t custom_options_size;
};

// One subgraph (the first); others are refused as unsupported.
struct systole_graph {
    struct systole_tensor *tensors;
    struct systole_operator *operators; // in execution order
    int32_t *inputs, *outputs;
    uint32_t tensor_count, operator_count, input_count, output_count;
    char name[128];
};

// Reads untrusted bytes: FlatBuffers' verifier, then every index, shape (all dimensions of a tensor that is used at
// least 1, product below 2^31 bytes), buffer size and quantisation vector is checked, so that who uses a graph need
// not. Number, ranks and shapes of an operator's tensors are the operator's own business. Operators must be in an
// executable order. `name` is used in diagnostics. On failure *graph is empty. Every pointer in a graph is malloc'ed on
// its own.
enum systole_status systole_graph_read(const uint8_t *bytes, size_t size, const char *name, struct systole_graph *graph,
                                       struct systole_diagnostic *diagnostic);
enum systole_status systole_graph_read_file(const char *path, struct systole_graph *graph,
                                            struct systole_diagnostic *diagnostic);
// Writes a .tflite to malloc'ed bytes, the same for the same graph. keep[t] false: a constant tensor's data is left out
// (NULL keeps all). Reading such a file again gives the tensor data NULL and was_constant.
enum systole_status systole_graph_write(const struct systole_graph *graph, const bool *keep, uint8_t **bytes,
                                        size_t *size, struct systole_diagnostic *diagnostic);
void systole_graph_free(struct systole_graph *graph); // members only; may be called twice
// The members of one that is taken out of its graph; it is not to be used again.
void systole_operator_free(struct systole_operator *op);
void systole_tensor_free(struct systole_tensor *tensor);

const char *systole_operator_name(int32_t code); // "CONV_2D"; beyond the format's list: "OPERATOR_777"
size_t systole_tensor_elements(const struct systole_tensor *tensor);
// Whether one scale and zero point make real numbers of the tensor's 8 or 16 bit values.
bool systole_tensor_takes_reals(const struct systole_tensor *tensor);
// Quantises `value` (not NaN) into element `index` of the tensor's bytes, as TensorFlow Lite's QUANTIZE does
// (reference/quantize.h): to the nearest, halves away from zero, in float32; then the zero point, then the type's
// range.
void systole_tensor_store_real(const struct systole_tensor *tensor, float value, size_t index, uint8_t *bytes);
// Output size and padding before of SAME / VALID (TensorFlow's rule), for one axis.
int32_t systole_output_extent(enum systole_padding padding, int32_t input, int32_t filter, int32_t stride,
                              int32_t dilation);
int32_t systole_padding_before(enum systole_padding padding, int32_t input, int32_t filter, int32_t stride,
                               int32_t dilation, int32_t output);
// Float activations with int8 weights ("dynamic range"): quantised at run time, per batch.
bool systole_operator_is_hybrid(const struct systole_graph *graph, uint32_t operator_index);
bool systole_graph_is_hybrid(const struct systole_graph *graph); // it has such an operator
// Multiply-accumulates of an operator (convolutions, fully connected, BATCH_MATMUL; 0 for others).
uint64_t systole_operator_macs(const struct systole_graph *graph, uint32_t operator_index);
// Smallest and largest quantised output under a fused activation (CalculateActivationRangeQuantized).
void systole_activation_range(const struct systole_tensor *output, enum systole_activation activation, int32_t *low,
                              int32_t *high);

#endif
