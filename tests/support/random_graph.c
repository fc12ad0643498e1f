// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A graph grows by steps. Each takes any tensor that suits its operator, so that chains, branches and tensors with
// several readers come about by themselves; what nobody reads in the end is an output, as are some others.
#include "random_graph.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "build_graph.h"
#include "graph_builder.h"
#include "testing.h"

#define ELEMENTS 6000

static const struct {
    random_graph_step *step;
    int32_t code;
    uint32_t weight;
} steps[] = {
    {random_graph_window, SYSTOLE_OP_CONV_2D, 30},
    {random_graph_window, SYSTOLE_OP_DEPTHWISE_CONV_2D, 22},
    {random_graph_window, SYSTOLE_OP_AVERAGE_POOL_2D, 8},
    {random_graph_window, SYSTOLE_OP_MAX_POOL_2D, 8},
    {random_graph_shared_convolution, SYSTOLE_OP_CONV_2D, 4},
    {random_graph_fully_connected, SYSTOLE_OP_FULLY_CONNECTED, 10},
    {random_graph_transpose_convolution, SYSTOLE_OP_TRANSPOSE_CONV, 5},
    {random_graph_binary, SYSTOLE_OP_ADD, 16},
    {random_graph_binary, SYSTOLE_OP_SUB, 4},
    {random_graph_binary, SYSTOLE_OP_MUL, 5},
    {random_graph_binary, SYSTOLE_OP_SQUARED_DIFFERENCE, 3},
    {random_graph_binary, SYSTOLE_OP_PRELU, 3},
    {random_graph_same_scale_binary, SYSTOLE_OP_MAXIMUM, 3},
    {random_graph_same_scale_binary, SYSTOLE_OP_MINIMUM, 3},
    {random_graph_compare, SYSTOLE_OP_LESS, 1},
    {random_graph_compare, SYSTOLE_OP_LESS_EQUAL, 1},
    {random_graph_compare, SYSTOLE_OP_GREATER, 1},
    {random_graph_compare, SYSTOLE_OP_GREATER_EQUAL, 1},
    {random_graph_compare, SYSTOLE_OP_EQUAL, 1},
    {random_graph_compare, SYSTOLE_OP_NOT_EQUAL, 1},
    {random_graph_unary, SYSTOLE_OP_RELU, 4},
    {random_graph_unary, SYSTOLE_OP_RELU6, 4},
    {random_graph_unary, SYSTOLE_OP_RELU_N1_TO_1, 3},
    {random_graph_unary, SYSTOLE_OP_ELU, 2},
    {random_graph_unary, SYSTOLE_OP_EXP, 2},
    {random_graph_unary, SYSTOLE_OP_HARD_SWISH, 3},
    {random_graph_unary, SYSTOLE_OP_LEAKY_RELU, 3},
    {random_graph_unary, SYSTOLE_OP_ABS, 2},
    {random_graph_unary, SYSTOLE_OP_RSQRT, 2},
    {random_graph_fixed_unary, SYSTOLE_OP_LOGISTIC, 3},
    {random_graph_fixed_unary, SYSTOLE_OP_TANH, 3},
    {random_graph_fixed_unary, SYSTOLE_OP_SOFTMAX, 4},
    {random_graph_fixed_unary, SYSTOLE_OP_LOG_SOFTMAX, 2},
    {random_graph_fixed_unary, SYSTOLE_OP_L2_NORMALIZATION, 2},
    {random_graph_float_chain, SYSTOLE_OP_SQRT, 2},
    {random_graph_float_chain, SYSTOLE_OP_NEG, 2},
    {random_graph_float_chain, SYSTOLE_OP_CAST, 1},
    {random_graph_quantise, SYSTOLE_OP_QUANTIZE, 8},
    {random_graph_reduce, SYSTOLE_OP_MEAN, 8},
    {random_graph_reduce, SYSTOLE_OP_SUM, 3},
    {random_graph_reduce, SYSTOLE_OP_REDUCE_MAX, 3},
    {random_graph_reduce, SYSTOLE_OP_REDUCE_MIN, 3},
    {random_graph_matmul, SYSTOLE_OP_BATCH_MATMUL, 3},
    {random_graph_svdf, SYSTOLE_OP_SVDF, 3},
    {random_graph_best, SYSTOLE_OP_ARG_MAX, 2},
    {random_graph_best, SYSTOLE_OP_ARG_MIN, 1},
    {random_graph_reshape, SYSTOLE_OP_RESHAPE, 6},
    {random_graph_reshape, SYSTOLE_OP_SQUEEZE, 2},
    {random_graph_reshape, SYSTOLE_OP_EXPAND_DIMS, 2},
    {random_graph_pad, SYSTOLE_OP_PAD, 8},
    {random_graph_pad, SYSTOLE_OP_PADV2, 3},
    {random_graph_pad, SYSTOLE_OP_MIRROR_PAD, 3},
    {random_graph_transpose, SYSTOLE_OP_TRANSPOSE, 3},
    {random_graph_slice, SYSTOLE_OP_SLICE, 3},
    {random_graph_strided_slice, SYSTOLE_OP_STRIDED_SLICE, 4},
    {random_graph_split, SYSTOLE_OP_SPLIT, 3},
    {random_graph_split, SYSTOLE_OP_SPLIT_V, 3},
    {random_graph_unpack, SYSTOLE_OP_UNPACK, 4},
    {random_graph_join, SYSTOLE_OP_CONCATENATION, 6},
    {random_graph_join, SYSTOLE_OP_PACK, 2},
    {random_graph_depth, SYSTOLE_OP_SPACE_TO_DEPTH, 8},
    {random_graph_depth, SYSTOLE_OP_DEPTH_TO_SPACE, 10},
    {random_graph_batch, SYSTOLE_OP_SPACE_TO_BATCH_ND, 3},
    {random_graph_batch, SYSTOLE_OP_BATCH_TO_SPACE_ND, 14},
    {random_graph_tile, SYSTOLE_OP_TILE, 2},
    {random_graph_resize, SYSTOLE_OP_RESIZE_BILINEAR, 3},
    {random_graph_resize, SYSTOLE_OP_RESIZE_NEAREST_NEIGHBOR, 3},
    {random_graph_gather, SYSTOLE_OP_GATHER, 3},
    {random_graph_gather, SYSTOLE_OP_GATHER_ND, 2},
    {random_graph_shape, SYSTOLE_OP_SHAPE, 1},
};

int32_t random_graph_range(struct random_graph *r, int32_t low, int32_t high) {
    return testing_range(&r->random, low, high);
}

bool random_graph_one_in(struct random_graph *r, int32_t n) {
    return testing_range(&r->random, 1, n) == 1;
}

const struct systole_tensor *random_graph_tensor(const struct random_graph *r, int32_t tensor) {
    return &r->graph->tensors[tensor];
}

float random_graph_scale(const struct random_graph *r, int32_t tensor) {
    return r->graph->tensors[tensor].quantisation.scale[0];
}

bool random_graph_fits(int32_t rank, const int32_t *shape) {
    int64_t elements = 1;
    for (int32_t i = 0; i < rank; i++) {
        elements *= shape[i];
        if (shape[i] < 1 || elements > ELEMENTS) {
            return false;
        }
    }
    return true;
}

int32_t random_graph_pick(struct random_graph *r, int32_t low_rank, int32_t high_rank) {
    int32_t found = -1, seen = 0;
    for (uint32_t t = 0; t < r->graph->tensor_count; t++) {
        const struct systole_tensor *tensor = &r->graph->tensors[t];
        bool eight_bit = tensor->dtype == SYSTOLE_INT8 || tensor->dtype == SYSTOLE_UINT8;
        if (eight_bit && tensor->data == NULL && !tensor->is_variable && tensor->quantisation.count == 1 &&
            tensor->rank >= low_rank && tensor->rank <= high_rank) {
            seen += 1 + seen / 2; // those that came last are likelier
            found = found < 0 || random_graph_range(r, 1, seen) > seen * 2 / 3 ? (int32_t)t : found;
            seen = seen > 100 ? 100 : seen;
        }
    }
    return found;
}

static int32_t any_zero_point(struct random_graph *r, enum systole_dtype dtype) {
    int32_t low = dtype == SYSTOLE_UINT8 ? 0 : -128, kind = random_graph_range(r, 0, 6);
    return kind == 0 ? low : kind == 1 ? low + 255 : kind == 2 ? low + 128 : random_graph_range(r, low, low + 255);
}

int32_t random_graph_exact(struct random_graph *r, enum systole_dtype dtype, int32_t rank, const int32_t *shape,
                           float scale, int32_t zero_point) {
    int32_t tensor = build_tensor(r->graph, dtype, rank, shape);
    build_quantise(r->graph, tensor, scale, zero_point);
    return tensor;
}

int32_t random_graph_like(struct random_graph *r, int32_t tensor, int32_t rank, const int32_t *shape) {
    const struct systole_tensor *other = random_graph_tensor(r, tensor);
    return random_graph_exact(r, other->dtype, rank, shape, other->quantisation.scale[0],
                              (int32_t)other->quantisation.zero_point[0]);
}

int32_t random_graph_scaled(struct random_graph *r, enum systole_dtype dtype, int32_t rank, const int32_t *shape,
                            float scale) {
    float factor = (float)random_graph_range(r, 30, 200) / 100.0F;
    if (random_graph_one_in(r, 12)) { // far off: left shifts and saturation, or nothing left
        factor = ldexpf(factor, random_graph_range(r, -10, 8));
    }
    scale *= factor;
    scale = scale < 1.0e-4F ? 1.0e-4F : scale > 1.0e3F ? 1.0e3F : scale;
    return random_graph_exact(r, dtype, rank, shape, scale, any_zero_point(r, dtype));
}

void random_graph_fill(uint8_t *bytes, size_t size, uint32_t *random) {
    uint32_t kind = testing_random(random) >> 8;
    for (size_t i = 0; i < size; i++) {
        uint32_t byte = testing_random(random) >> 24;
        bytes[i] = (uint8_t)(kind % 8 == 0 ? 126 + byte % 4 : kind % 8 == 1 ? (byte % 2 == 0 ? 0 : 255) : byte);
    }
}

void random_graph_fix(struct random_graph *r, int32_t tensor) {
    struct systole_tensor *t = &r->graph->tensors[tensor];
    t->data = malloc(t->size);
    ck_assert_ptr_nonnull(t->data);
    random_graph_fill(t->data, t->size, &r->random);
}

int32_t random_graph_integers(struct random_graph *r, int32_t rank, const int32_t *shape, const int32_t *values) {
    size_t count = 1;
    for (int32_t i = 0; i < rank; i++) {
        count *= (size_t)shape[i];
    }
    for (uint32_t t = 0; t < r->graph->tensor_count; t++) {
        const struct systole_tensor *other = &r->graph->tensors[t];
        if (other->data != NULL && other->dtype == SYSTOLE_INT32 && other->rank == rank &&
            memcmp(other->shape, shape, (size_t)rank * sizeof *shape) == 0 &&
            memcmp(other->data, values, count * sizeof *values) == 0 && !random_graph_one_in(r, 3)) {
            return (int32_t)t;
        }
    }
    return build_constant(r->graph, SYSTOLE_INT32, rank, shape, values);
}

int32_t random_graph_vector(struct random_graph *r, int32_t count, const int32_t *values) {
    return random_graph_integers(r, 1, &count, values);
}

struct systole_operator *random_graph_operator(struct random_graph *r, int32_t code, uint32_t input_count,
                                               const int32_t *inputs, uint32_t output_count, const int32_t *outputs) {
    struct systole_operator *op = graph_add_operator(r->graph, code, input_count, inputs, outputs[0]);
    free(op->outputs);
    op->outputs = malloc(output_count * sizeof *outputs);
    ck_assert_ptr_nonnull(op->outputs);
    memcpy(op->outputs, outputs, output_count * sizeof *outputs);
    op->output_count = output_count;
    return op;
}

static void add_input(struct random_graph *r) {
    static const int32_t channels[] = {1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 20, 24, 32, 33, 48};
    int32_t shape[4] = {random_graph_one_in(r, 6) ? random_graph_range(r, 2, 4) : 1, 1, 1, 1};
    int32_t rank = random_graph_one_in(r, 5) ? random_graph_range(r, 1, 3) : 4;
    do {
        for (int32_t i = 1; i < 3; i++) {
            shape[i] = random_graph_one_in(r, 6) ? 1 : random_graph_range(r, 1, 14);
        }
        shape[3] = channels[random_graph_range(r, 0, (int32_t)(sizeof channels / sizeof *channels) - 1)];
    } while (!random_graph_fits(4, shape));
    enum systole_dtype dtype = r->graph->input_count > 0 && !random_graph_one_in(r, 5) ? r->graph->tensors[0].dtype
                               : random_graph_one_in(r, 3)                             ? SYSTOLE_UINT8
                                                                                       : SYSTOLE_INT8;
    int32_t tensor = random_graph_scaled(r, dtype, rank, shape + 4 - rank, 0.05F);
    build_input(r->graph, tensor);
}

static void choose_outputs(struct random_graph *r) {
    for (uint32_t o = 0; o < r->graph->operator_count; o++) {
        for (uint32_t k = 0; k < r->graph->operators[o].output_count; k++) {
            int32_t tensor = r->graph->operators[o].outputs[k];
            bool is_read = false;
            for (uint32_t p = 0; p < r->graph->operator_count; p++) {
                for (uint32_t i = 0; i < r->graph->operators[p].input_count; i++) {
                    is_read = is_read || r->graph->operators[p].inputs[i] == tensor;
                }
            }
            if (!is_read || random_graph_one_in(r, 12)) {
                build_output(r->graph, tensor);
            }
        }
    }
}

void random_graph_make(struct systole_graph *graph, uint32_t seed, uint32_t operators) {
    char name[32];
    (void)snprintf(name, sizeof name, "random%u", seed);
    build_graph(graph, name);
    // Seeds that follow one another give states that do not.
    struct random_graph r = {graph, (seed + 1u) * 2654435761u | 1u};
    for (uint32_t i = 0; i < 8; i++) {
        (void)testing_random(&r.random);
    }
    int32_t inputs = random_graph_one_in(&r, 3) ? random_graph_range(&r, 2, 3) : 1;
    for (int32_t i = 0; i < inputs; i++) {
        add_input(&r);
    }
    uint32_t total = 0, wanted = (uint32_t)random_graph_range(&r, 1, (int32_t)operators);
    for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
        total += steps[s].weight;
    }
    // Half of the graphs are mostly of what a device runs.
    bool is_mixed = random_graph_one_in(&r, 2);
    for (uint32_t made = 0, tried = 0; made < wanted && tried < 2000; tried++) {
        uint32_t choice = (uint32_t)random_graph_range(&r, 0, (int32_t)total - 1);
        size_t s = 0;
        while (choice >= steps[s].weight) {
            choice -= steps[s++].weight;
        }
        if ((is_mixed || steps[s].weight >= 8 || random_graph_one_in(&r, 10)) && steps[s].step(&r, steps[s].code)) {
            made++;
        }
    }
    choose_outputs(&r);
}
