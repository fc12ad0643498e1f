// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Grows a graph by one operator at a time. Constants are made of zeros here; draw_weights.c gives them values.
#include "network_builder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void no_memory(struct zoo_network *network) {
    network->status =
        systole_fail(network->diagnostic, SYSTOLE_OUT_OF_MEMORY, network->graph.name, "", "no memory for the network");
}

// Room for one more element; false and a sticking failure without memory.
static bool grow(struct zoo_network *network, void **array, uint32_t count, size_t size) {
    void *larger = realloc(*array, (count + (size_t)1) * size);
    if (larger == NULL) {
        no_memory(network);
        return false;
    }
    *array = larger;
    memset((char *)larger + count * size, 0, size);
    return true;
}

static void *copy(struct zoo_network *network, const void *source, size_t size) {
    void *made = malloc(size > 0 ? size : 1);
    if (made == NULL) {
        no_memory(network);
    } else if (size > 0) {
        memcpy(made, source, size);
    }
    return made;
}

static int32_t add_tensor(struct zoo_network *network, const char *kind, enum systole_dtype dtype, int32_t rank,
                          const int32_t *shape) {
    struct systole_graph *graph = &network->graph;
    void *tensors = graph->tensors;
    bool good = network->status == SYSTOLE_OK && grow(network, &tensors, graph->tensor_count, sizeof *graph->tensors);
    graph->tensors = tensors;
    if (!good) {
        return 0;
    }
    char name[64];
    int length = snprintf(name, sizeof name, "%s%u", kind, graph->operator_count);
    struct systole_tensor *tensor = &graph->tensors[graph->tensor_count];
    tensor->dtype = dtype;
    tensor->rank = rank;
    tensor->size = systole_dtype_size(dtype);
    for (int32_t i = 0; i < rank; i++) {
        tensor->shape[i] = shape[i];
        tensor->size *= (size_t)shape[i];
    }
    tensor->name = copy(network, name, (size_t)length + 1);
    return (int32_t)graph->tensor_count++;
}

int32_t zoo_constant(struct zoo_network *network, const char *kind, enum systole_dtype dtype, int32_t rank,
                     const int32_t *shape, const void *data) {
    int32_t index = add_tensor(network, kind, dtype, rank, shape);
    if (network->status != SYSTOLE_OK) {
        return 0;
    }
    struct systole_tensor *tensor = &network->graph.tensors[index];
    tensor->data = calloc(1, tensor->size);
    if (tensor->data == NULL) {
        no_memory(network);
    } else if (data != NULL) {
        memcpy(tensor->data, data, tensor->size);
    }
    return index;
}

int32_t zoo_operator(struct zoo_network *network, int32_t code, const char *kind, uint32_t input_count,
                     const int32_t *inputs, int32_t rank, const int32_t *shape, struct systole_operator **op) {
    static _Thread_local struct systole_operator nowhere;
    struct systole_graph *graph = &network->graph;
    int32_t output = add_tensor(network, kind, SYSTOLE_FLOAT32, rank, shape);
    void *operators = graph->operators, *gains = network->gains;
    bool good =
        network->status == SYSTOLE_OK && grow(network, &operators, graph->operator_count, sizeof *graph->operators);
    graph->operators = operators;
    good = good && grow(network, &gains, graph->operator_count, sizeof *network->gains);
    network->gains = gains;
    if (op != NULL) {
        *op = &nowhere;
    }
    if (!good) {
        return 0;
    }
    network->gains[graph->operator_count] = 1.0f;
    struct systole_operator *made = &graph->operators[graph->operator_count++];
    made->code = code;
    made->version = 1;
    made->inputs = copy(network, inputs, input_count * sizeof *inputs);
    made->outputs = copy(network, &output, sizeof output);
    made->input_count = made->inputs != NULL ? input_count : 0;
    made->output_count = made->outputs != NULL ? 1 : 0;
    made->options.stride_h = made->options.stride_w = made->options.dilation_h = made->options.dilation_w = 1;
    if (op != NULL) {
        *op = made;
    }
    return output;
}

// Shape of a tensor; a dummy after a failure.
static const int32_t *shape_of(const struct zoo_network *network, int32_t x) {
    static const int32_t none[SYSTOLE_MAX_RANK] = {1, 1, 1, 1, 1, 1, 1, 1};
    return network->status == SYSTOLE_OK ? network->graph.tensors[x].shape : none;
}

static int32_t rank_of(const struct zoo_network *network, int32_t x) {
    return network->status == SYSTOLE_OK ? network->graph.tensors[x].rank : 1;
}

int32_t zoo_channels(const struct zoo_network *network, int32_t x) {
    return shape_of(network, x)[rank_of(network, x) - 1];
}

int32_t zoo_input(struct zoo_network *network, int32_t rank, const int32_t *shape) {
    int32_t x = add_tensor(network, "input", SYSTOLE_FLOAT32, rank, shape);
    if (network->status == SYSTOLE_OK) {
        network->graph.inputs = copy(network, &x, sizeof x);
        network->graph.input_count = network->graph.inputs != NULL ? 1 : 0;
    }
    return x;
}

void zoo_output(struct zoo_network *network, int32_t x) {
    if (network->status == SYSTOLE_OK) {
        network->graph.outputs = copy(network, &x, sizeof x);
        network->graph.output_count = network->graph.outputs != NULL ? 1 : 0;
    }
}

static int32_t weighted(struct zoo_network *network, int32_t code, const char *kind, int32_t x, int32_t weights_rank,
                        const int32_t *weights_shape, int32_t rank, const int32_t *shape,
                        struct systole_operator **op) {
    int32_t weights = zoo_constant(network, "weights", SYSTOLE_FLOAT32, weights_rank, weights_shape, NULL);
    int32_t bias = zoo_constant(network, "bias", SYSTOLE_FLOAT32, 1, &shape[rank - 1], NULL);
    return zoo_operator(network, code, kind, 3, (int32_t[]){x, weights, bias}, rank, shape, op);
}

int32_t zoo_conv(struct zoo_network *network, int32_t x, int32_t channels, int32_t height, int32_t width,
                 int32_t stride, enum systole_activation activation) {
    const int32_t *in = shape_of(network, x);
    int32_t shape[4] = {in[0], (in[1] + stride - 1) / stride, (in[2] + stride - 1) / stride, channels};
    struct systole_operator *op;
    int32_t output =
        weighted(network, SYSTOLE_OP_CONV_2D, "conv", x, 4, (int32_t[]){channels, height, width, in[3]}, 4, shape, &op);
    op->options.stride_h = op->options.stride_w = stride;
    op->options.activation = activation;
    return output;
}

int32_t zoo_depthwise(struct zoo_network *network, int32_t x, int32_t size, int32_t stride,
                      enum systole_activation activation) {
    const int32_t *in = shape_of(network, x);
    int32_t shape[4] = {in[0], (in[1] + stride - 1) / stride, (in[2] + stride - 1) / stride, in[3]};
    struct systole_operator *op;
    int32_t output = weighted(network, SYSTOLE_OP_DEPTHWISE_CONV_2D, "depthwise", x, 4,
                              (int32_t[]){1, size, size, in[3]}, 4, shape, &op);
    op->options.stride_h = op->options.stride_w = stride;
    op->options.depth_multiplier = 1;
    op->options.activation = activation;
    return output;
}

int32_t zoo_fully_connected(struct zoo_network *network, int32_t x, int32_t units, enum systole_activation activation,
                            float gain) {
    int32_t shape[2] = {shape_of(network, x)[0], units};
    struct systole_operator *op;
    int32_t output = weighted(network, SYSTOLE_OP_FULLY_CONNECTED, "dense", x, 2,
                              (int32_t[]){units, zoo_channels(network, x)}, 2, shape, &op);
    op->options.activation = activation;
    if (network->status == SYSTOLE_OK) {
        network->gains[network->graph.operator_count - 1] = gain;
    }
    return output;
}

int32_t zoo_add(struct zoo_network *network, int32_t a, int32_t b, enum systole_activation activation) {
    int32_t shape[SYSTOLE_MAX_RANK];
    memcpy(shape, shape_of(network, a), sizeof shape);
    struct systole_operator *op;
    int32_t output =
        zoo_operator(network, SYSTOLE_OP_ADD, "add", 2, (int32_t[]){a, b}, rank_of(network, a), shape, &op);
    op->options.activation = activation;
    return output;
}

int32_t zoo_concatenate(struct zoo_network *network, uint32_t count, const int32_t *maps) {
    int32_t shape[SYSTOLE_MAX_RANK];
    memcpy(shape, shape_of(network, maps[0]), sizeof shape);
    int32_t rank = rank_of(network, maps[0]);
    for (uint32_t i = 1; i < count; i++) {
        shape[rank - 1] += zoo_channels(network, maps[i]);
    }
    struct systole_operator *op;
    int32_t output = zoo_operator(network, SYSTOLE_OP_CONCATENATION, "concat", count, maps, rank, shape, &op);
    op->options.axis = rank - 1;
    return output;
}

int32_t zoo_max_pool(struct zoo_network *network, int32_t x, int32_t size, int32_t stride) {
    const int32_t *in = shape_of(network, x);
    int32_t shape[4] = {in[0], (in[1] + stride - 1) / stride, (in[2] + stride - 1) / stride, in[3]};
    struct systole_operator *op;
    int32_t output = zoo_operator(network, SYSTOLE_OP_MAX_POOL_2D, "max_pool", 1, &x, 4, shape, &op);
    op->options.stride_h = op->options.stride_w = stride;
    op->options.filter_h = op->options.filter_w = size;
    return output;
}

int32_t zoo_average_pool(struct zoo_network *network, int32_t x) {
    const int32_t *in = shape_of(network, x);
    int32_t height = in[1], width = in[2];
    int32_t shape[4] = {in[0], 1, 1, in[3]};
    struct systole_operator *op;
    int32_t pooled = zoo_operator(network, SYSTOLE_OP_AVERAGE_POOL_2D, "average_pool", 1, &x, 4, shape, &op);
    op->options.padding = SYSTOLE_PADDING_VALID;
    op->options.stride_h = op->options.filter_h = height;
    op->options.stride_w = op->options.filter_w = width;
    return zoo_reshape(network, pooled, 2, (int32_t[]){shape[0], shape[3]});
}

int32_t zoo_mean(struct zoo_network *network, int32_t x) {
    const int32_t *in = shape_of(network, x);
    int32_t shape[2] = {in[0], in[3]};
    int32_t axes = zoo_constant(network, "axes", SYSTOLE_INT32, 1, (int32_t[]){2}, (int32_t[]){1, 2});
    return zoo_operator(network, SYSTOLE_OP_MEAN, "mean", 2, (int32_t[]){x, axes}, 2, shape, NULL);
}

int32_t zoo_softmax(struct zoo_network *network, int32_t x) {
    int32_t shape[SYSTOLE_MAX_RANK];
    memcpy(shape, shape_of(network, x), sizeof shape);
    struct systole_operator *op;
    int32_t output = zoo_operator(network, SYSTOLE_OP_SOFTMAX, "softmax", 1, &x, rank_of(network, x), shape, &op);
    op->options.beta = 1.0f;
    return output;
}

int32_t zoo_reshape(struct zoo_network *network, int32_t x, int32_t rank, const int32_t *shape) {
    int32_t wanted = zoo_constant(network, "shape", SYSTOLE_INT32, 1, &rank, shape);
    struct systole_operator *op;
    int32_t output = zoo_operator(network, SYSTOLE_OP_RESHAPE, "reshape", 2, (int32_t[]){x, wanted}, rank, shape, &op);
    op->options.new_rank = rank;
    memcpy(op->options.new_shape, shape, (size_t)rank * sizeof *shape);
    return output;
}

void zoo_network_free(struct zoo_network *network) {
    free(network->gains);
    systole_graph_free(&network->graph);
    network->gains = NULL;
}
