// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// One encoder block of a transformer (arXiv 1706.03762, section 3) in the dimensions of the published miniature BERT:
// width 256, 4 heads, 1024 inside the feed-forward part; a sequence of 128 vectors. Normalisation comes after each
// residual, the activation is RELU, and there are neither masks nor embeddings. Layer normalisation is spelled out in
// the operators that converters make of it.
#include "network_builder.h"

#include <math.h>

enum { LENGTH = 128, WIDTH = 256, HEADS = 4, HEAD_WIDTH = WIDTH / HEADS, INNER = 1024 };
#define NONE SYSTOLE_ACTIVATION_NONE

static const int32_t rows_shape[] = {LENGTH, WIDTH};
static const int32_t heads_shape[] = {1, HEADS, LENGTH, HEAD_WIDTH};
static const int32_t split_shape[] = {1, LENGTH, HEADS, HEAD_WIDTH};

static int32_t binary(struct zoo_network *network, int32_t code, const char *kind, int32_t a, int32_t b,
                      const int32_t shape[2]) {
    return zoo_operator(network, code, kind, 2, (int32_t[]){a, b}, 2, shape, NULL);
}

// Exchanges the axes of sequence and heads.
static int32_t transpose(struct zoo_network *network, int32_t x, const int32_t shape[4]) {
    int32_t order = zoo_constant(network, "order", SYSTOLE_INT32, 1, (int32_t[]){4}, (int32_t[]){0, 2, 1, 3});
    return zoo_operator(network, SYSTOLE_OP_TRANSPOSE, "transpose", 2, (int32_t[]){x, order}, 4, shape, NULL);
}

static int32_t heads_of(struct zoo_network *network, int32_t x, float gain) {
    int32_t projected = zoo_fully_connected(network, x, WIDTH, NONE, gain);
    return transpose(network, zoo_reshape(network, projected, 4, split_shape), heads_shape);
}

static int32_t multiply_matrices(struct zoo_network *network, int32_t a, int32_t b, bool transpose_b, int32_t columns) {
    struct systole_operator *op;
    int32_t product = zoo_operator(network, SYSTOLE_OP_BATCH_MATMUL, "matmul", 2, (int32_t[]){a, b}, 4,
                                   (int32_t[]){1, HEADS, LENGTH, columns}, &op);
    op->options.adjoint_y = transpose_b;
    return product;
}

// Scores are divided by the root of the heads' width within the queries' weights.
static int32_t attention(struct zoo_network *network, int32_t x) {
    int32_t queries = heads_of(network, x, 1.0f / sqrtf((float)HEAD_WIDTH));
    int32_t keys = heads_of(network, x, 1.0f);
    int32_t values = heads_of(network, x, 1.0f);
    int32_t weights = zoo_softmax(network, multiply_matrices(network, queries, keys, true, LENGTH));
    int32_t context = transpose(network, multiply_matrices(network, weights, values, false, HEAD_WIDTH), split_shape);
    return zoo_fully_connected(network, zoo_reshape(network, context, 2, rows_shape), WIDTH, NONE, 1.0f);
}

static int32_t mean_of_rows(struct zoo_network *network, int32_t x, const int32_t shape[2]) {
    int32_t axis = zoo_constant(network, "axis", SYSTOLE_INT32, 1, (int32_t[]){1}, (int32_t[]){1});
    struct systole_operator *op;
    int32_t output = zoo_operator(network, SYSTOLE_OP_MEAN, "mean", 2, (int32_t[]){x, axis}, 2, shape, &op);
    op->options.keep_dims = true;
    return output;
}

static int32_t layer_norm(struct zoo_network *network, int32_t x) {
    static const int32_t column[] = {LENGTH, 1};
    float factors[WIDTH], offsets[WIDTH], epsilon = 1e-3f;
    for (int32_t i = 0; i < WIDTH; i++) { // spread evenly, in an order that mixes neighbours
        factors[i] = 0.75f + 0.5f * (float)(i * 37 % WIDTH) / (float)WIDTH;
        offsets[i] = -0.25f + 0.5f * (float)(i * 91 % WIDTH) / (float)WIDTH;
    }
    int32_t mean = mean_of_rows(network, x, column);
    int32_t centred = binary(network, SYSTOLE_OP_SUB, "sub", x, mean, rows_shape);
    int32_t squares = binary(network, SYSTOLE_OP_SQUARED_DIFFERENCE, "squared_difference", x, mean, rows_shape);
    int32_t variance = mean_of_rows(network, squares, column);
    int32_t small = zoo_constant(network, "epsilon", SYSTOLE_FLOAT32, 1, (int32_t[]){1}, &epsilon);
    int32_t above_zero = binary(network, SYSTOLE_OP_ADD, "add", variance, small, column);
    int32_t inverse = zoo_operator(network, SYSTOLE_OP_RSQRT, "rsqrt", 1, &above_zero, 2, column, NULL);
    int32_t normal = binary(network, SYSTOLE_OP_MUL, "mul", centred, inverse, rows_shape);
    int32_t factor = zoo_constant(network, "factor", SYSTOLE_FLOAT32, 1, (int32_t[]){WIDTH}, factors);
    int32_t offset = zoo_constant(network, "offset", SYSTOLE_FLOAT32, 1, (int32_t[]){WIDTH}, offsets);
    int32_t scaled = binary(network, SYSTOLE_OP_MUL, "mul", normal, factor, rows_shape);
    return binary(network, SYSTOLE_OP_ADD, "add", scaled, offset, rows_shape);
}

void zoo_transformer_block(struct zoo_network *network) {
    int32_t x = zoo_input(network, 2, rows_shape);
    x = layer_norm(network, zoo_add(network, x, attention(network, x), NONE));
    int32_t inner = zoo_fully_connected(network, x, INNER, SYSTOLE_ACTIVATION_RELU, 1.0f);
    int32_t y = zoo_fully_connected(network, inner, WIDTH, NONE, 1.0f);
    zoo_output(network, layer_norm(network, zoo_add(network, x, y, NONE)));
}
