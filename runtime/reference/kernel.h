// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What a reference kernel is. A family of operators is one file that exports a table of kernels; kernel.c knows all
// tables. `prepare` checks everything about the operator once (shapes, types, quantisation) and derives its numbers,
// so that `run` need not look again: whatever passes prepare cannot make run read or write outside its tensors.
#ifndef SYSTOLE_KERNEL_H
#define SYSTOLE_KERNEL_H

#include "graph.h"

struct systole_fast_context;

// An operator of a graph with what its kernel made of it.
struct systole_kernel_call {
    const struct systole_graph *graph;
    const struct systole_operator *op;
    uint32_t operator_index;
    uint8_t *const *tensors; // bytes of each tensor of the graph; only valid in run. Inputs are written only when they
                             // are variables
    void *state;             // from prepare
    struct systole_fast_context *fast; // of fast kernels (fast/fast_kernel.h); NULL for those of the reference
};

struct systole_kernel {
    int32_t code;
    enum systole_dtype input, output; // types of the first input and the first output
    enum systole_status (*prepare)(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic);
    enum systole_status (*run)(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic);
    void (*release)(void *state); // NULL: free
};

// The kernel for an operator by its code and types; NULL and the reason when there is none. Operators without a first
// input or output have none.
const struct systole_kernel *systole_kernel_find(const struct systole_graph *graph, uint32_t operator_index,
                                                 struct systole_diagnostic *diagnostic);
void systole_kernel_release(const struct systole_kernel *kernel, struct systole_kernel_call *call);

// Each family is a table systole_NAME_kernels, which ends with an entry whose run is NULL.
#define SYSTOLE_KERNEL_FAMILIES(X)                                                                                     \
    X(convolution)                                                                                                     \
    X(depthwise)                                                                                                       \
    X(fully_connected)                                                                                                 \
    X(add)                                                                                                             \
    X(pool)                                                                                                            \
    X(mean)                                                                                                            \
    X(quantise)                                                                                                        \
    X(movement)                                                                                                        \
    X(softmax)                                                                                                         \
    X(relu)                                                                                                            \
    X(int16_convolution)                                                                                               \
    X(int16_activation)                                                                                                \
    X(int16_arithmetic)                                                                                                \
    X(lstm)                                                                                                            \
    X(svdf)                                                                                                            \
    X(batch_matmul)                                                                                                    \
    X(log_softmax)                                                                                                     \
    X(detection)                                                                                                       \
    X(binary)                                                                                                          \
    X(unary)                                                                                                           \
    X(rearrange)                                                                                                       \
    X(index)                                                                                                           \
    X(resize)                                                                                                          \
    X(transpose_convolution)
#define SYSTOLE_KERNEL_TABLE(name) extern const struct systole_kernel systole_##name##_kernels[];
SYSTOLE_KERNEL_FAMILIES(SYSTOLE_KERNEL_TABLE)
#undef SYSTOLE_KERNEL_TABLE
// For operators that systole_operator_is_hybrid; in no family, since first input and output are those of float kernels.
extern const struct systole_kernel systole_hybrid_kernels[];

// The i-th operand; NULL when it was left out.
const struct systole_tensor *systole_kernel_input(const struct systole_kernel_call *call, uint32_t i);
const struct systole_tensor *systole_kernel_output(const struct systole_kernel_call *call);
const uint8_t *systole_kernel_input_bytes(const struct systole_kernel_call *call, uint32_t i); // NULL: left out
uint8_t *systole_kernel_output_bytes(const struct systole_kernel_call *call);

// SYSTOLE_UNSUPPORTED with the operator's number and name as the place.
enum systole_status systole_kernel_refuse(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic,
                                          const char *hint, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
enum systole_status systole_kernel_no_memory(const struct systole_kernel_call *call,
                                             struct systole_diagnostic *diagnostic);

// Zeroed state of `size` bytes in call->state.
enum systole_status systole_kernel_state(struct systole_kernel_call *call, size_t size,
                                         struct systole_diagnostic *diagnostic);

bool systole_same_shape(const struct systole_tensor *a, const struct systole_tensor *b);
// The first input's and the output's scale and zero point agree (both unquantised counts as agreeing).
bool systole_same_quantisation(const struct systole_tensor *a, const struct systole_tensor *b);

// A window that slides over a map of batches x height x width x channels.
struct systole_kernel_window {
    int32_t batches, input_height, input_width, input_channels;
    int32_t output_height, output_width, output_channels;
    int32_t filter_height, filter_width, stride_h, stride_w, dilation_h, dilation_w;
    int32_t padding_top, padding_left;
};
// Fills all but the channels' relation from the operator's options and shapes, and checks that the output's extents
// are what TensorFlow Lite computes.
enum systole_status systole_kernel_window_derive(const struct systole_kernel_call *call, int32_t filter_height,
                                                 int32_t filter_width, struct systole_kernel_window *window,
                                                 struct systole_diagnostic *diagnostic);
// The same for CONV_2D and DEPTHWISE_CONV_2D with weights of four dimensions at input 1, whose channels must fit.
// *multiplier: output channels an input channel of a depthwise one, else 0.
enum systole_status systole_kernel_weighted_window_derive(const struct systole_kernel_call *call,
                                                          struct systole_kernel_window *window, int32_t *multiplier,
                                                          struct systole_diagnostic *diagnostic);
// Taps of one axis that lie inside the input: first <= k < end.
struct systole_tap_range {
    int32_t first, end;
};
struct systole_tap_range systole_taps_inside(int32_t origin, int32_t taps, int32_t dilation, int32_t extent);

// Bias: absent, or one element of the type a channel.
enum systole_status systole_kernel_check_bias(const struct systole_kernel_call *call, uint32_t i,
                                              enum systole_dtype dtype, int32_t channels,
                                              struct systole_diagnostic *diagnostic);

// The operands that enter the arithmetic: byte - zero_point, as int16 (9 bits are enough). malloc'ed; NULL: no memory.
int16_t *systole_widen(const uint8_t *bytes, enum systole_dtype dtype, int32_t zero_point, size_t count);

// The range of a fused activation in float32; false for those that have no such range.
bool systole_float_activation_range(enum systole_activation activation, float *low, float *high);
static inline float systole_clamp_float(float x, float low, float high) {
    return x < low ? low : x > high ? high : x;
}

#endif
