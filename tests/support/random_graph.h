// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Random valid graphs of 8-bit operators, small enough to run in milliseconds: chains and branches, several inputs and
// outputs, operators that a device runs between those that only a CPU does. Made from a seed, the same each time.
#ifndef SYSTOLE_RANDOM_GRAPH_H
#define SYSTOLE_RANDOM_GRAPH_H

#include "graph.h"

// *graph is overwritten; systole_graph_free ends it. At most `operators` steps, each of one to three operators.
void random_graph_make(struct systole_graph *graph, uint32_t seed, uint32_t operators);
// Bytes for an input: uniform, of few values, or at the type's ends.
void random_graph_fill(uint8_t *bytes, size_t size, uint32_t *random);

// ---- Between random_graph.c (choice) and the files of operators.
struct random_graph {
    struct systole_graph *graph;
    uint32_t random; // state of testing_random
};
// Adds one step or, where no tensor suits, nothing: false.
typedef bool random_graph_step(struct random_graph *r, int32_t code);
random_graph_step random_graph_window, random_graph_shared_convolution, random_graph_fully_connected,
    random_graph_transpose_convolution, random_graph_binary, random_graph_compare, random_graph_same_scale_binary,
    random_graph_unary, random_graph_fixed_unary, random_graph_float_chain, random_graph_reduce, random_graph_quantise,
    random_graph_matmul, random_graph_svdf, random_graph_best;
random_graph_step random_graph_reshape, random_graph_pad, random_graph_transpose, random_graph_slice,
    random_graph_strided_slice, random_graph_split, random_graph_unpack, random_graph_join, random_graph_depth,
    random_graph_batch, random_graph_tile, random_graph_resize, random_graph_gather, random_graph_shape;

int32_t random_graph_range(struct random_graph *r, int32_t low, int32_t high);
bool random_graph_one_in(struct random_graph *r, int32_t n);
// A computed 8-bit tensor of such a rank and at least one element; -1: there is none.
int32_t random_graph_pick(struct random_graph *r, int32_t low_rank, int32_t high_rank);
const struct systole_tensor *random_graph_tensor(const struct random_graph *r, int32_t tensor);
// New tensors: with the quantisation of another; with a scale near `scale`; of given numbers.
int32_t random_graph_like(struct random_graph *r, int32_t tensor, int32_t rank, const int32_t *shape);
int32_t random_graph_scaled(struct random_graph *r, enum systole_dtype dtype, int32_t rank, const int32_t *shape,
                            float scale);
int32_t random_graph_exact(struct random_graph *r, enum systole_dtype dtype, int32_t rank, const int32_t *shape,
                           float scale, int32_t zero_point);
// Makes a tensor a constant of random elements.
void random_graph_fix(struct random_graph *r, int32_t tensor);
// An int32 constant, sometimes one that is there already.
int32_t random_graph_integers(struct random_graph *r, int32_t rank, const int32_t *shape, const int32_t *values);
int32_t random_graph_vector(struct random_graph *r, int32_t count, const int32_t *values);
struct systole_operator *random_graph_operator(struct random_graph *r, int32_t code, uint32_t input_count,
                                               const int32_t *inputs, uint32_t output_count, const int32_t *outputs);
float random_graph_scale(const struct random_graph *r, int32_t tensor);
bool random_graph_fits(int32_t rank, const int32_t *shape); // no more elements than a tensor may have

#endif
