// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "build_graph.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

static void *grow(void *list, uint32_t count, size_t size) {
    void *bigger = realloc(list, (count + 1) * size);
    ck_assert_ptr_nonnull(bigger);
    memset((uint8_t *)bigger + count * size, 0, size);
    return bigger;
}

void build_graph(struct systole_graph *graph, const char *name) {
    memset(graph, 0, sizeof *graph);
    snprintf(graph->name, sizeof graph->name, "%s", name);
}

int32_t build_tensor(struct systole_graph *graph, enum systole_dtype dtype, int32_t rank, const int32_t *shape) {
    int32_t own[SYSTOLE_MAX_RANK]; // the shape may be another tensor's, which moves
    memcpy(own, shape, (size_t)rank * sizeof *shape);
    graph->tensors = grow(graph->tensors, graph->tensor_count, sizeof *graph->tensors);
    struct systole_tensor *tensor = &graph->tensors[graph->tensor_count];
    char name[32];
    snprintf(name, sizeof name, "t%u", graph->tensor_count);
    tensor->name = strdup(name);
    tensor->dtype = dtype;
    tensor->rank = rank;
    memcpy(tensor->shape, own, (size_t)rank * sizeof *shape);
    tensor->size = systole_tensor_elements(tensor) * systole_dtype_size(dtype);
    return (int32_t)graph->tensor_count++;
}

int32_t build_map(struct systole_graph *graph, enum systole_dtype dtype, int32_t batch, int32_t height, int32_t width,
                  int32_t channels) {
    const int32_t shape[4] = {batch, height, width, channels};
    return build_tensor(graph, dtype, 4, shape);
}

int32_t build_constant(struct systole_graph *graph, enum systole_dtype dtype, int32_t rank, const int32_t *shape,
                       const void *data) {
    int32_t index = build_tensor(graph, dtype, rank, shape);
    struct systole_tensor *tensor = &graph->tensors[index];
    tensor->data = malloc(tensor->size);
    memcpy(tensor->data, data, tensor->size);
    return index;
}

static void quantise_axis(struct systole_graph *graph, int32_t tensor, uint32_t count, int32_t dimension) {
    struct systole_quantisation *q = &graph->tensors[tensor].quantisation;
    free(q->scale);
    free(q->zero_point);
    q->count = count;
    q->dimension = dimension;
    q->scale = calloc(count, sizeof *q->scale);
    q->zero_point = calloc(count, sizeof *q->zero_point);
}

void build_quantise(struct systole_graph *graph, int32_t tensor, float scale, int32_t zero_point) {
    quantise_axis(graph, tensor, 1, 0);
    graph->tensors[tensor].quantisation.scale[0] = scale;
    graph->tensors[tensor].quantisation.zero_point[0] = zero_point;
}

void build_input(struct systole_graph *graph, int32_t tensor) {
    graph->inputs = grow(graph->inputs, graph->input_count, sizeof *graph->inputs);
    graph->inputs[graph->input_count++] = tensor;
}

int32_t build_start(struct systole_graph *graph, const char *name, enum systole_dtype dtype, int32_t batch,
                    int32_t height, int32_t width, int32_t channels) {
    build_graph(graph, name);
    int32_t input = build_map(graph, dtype, batch, height, width, channels);
    build_quantise(graph, input, 0.03F, dtype == SYSTOLE_UINT8 ? 117 : -11);
    build_input(graph, input);
    return input;
}

void build_output(struct systole_graph *graph, int32_t tensor) {
    graph->outputs = grow(graph->outputs, graph->output_count, sizeof *graph->outputs);
    graph->outputs[graph->output_count++] = tensor;
}

struct systole_operator *build_operator(struct systole_graph *graph, int32_t code, int32_t input, int32_t input2,
                                        int32_t input3, int32_t output) {
    graph->operators = grow(graph->operators, graph->operator_count, sizeof *graph->operators);
    struct systole_operator *op = &graph->operators[graph->operator_count++];
    op->code = code;
    op->version = 1;
    op->input_count = input2 < 0 ? 1 : input3 < 0 ? 2 : 3;
    op->inputs = calloc(3, sizeof *op->inputs);
    op->outputs = calloc(1, sizeof *op->outputs);
    op->inputs[0] = input;
    op->inputs[1] = input2;
    op->inputs[2] = input3;
    op->output_count = 1;
    op->outputs[0] = output;
    op->options = (struct systole_options){.stride_h = 1, .stride_w = 1, .dilation_h = 1, .dilation_w = 1};
    return op;
}

static int32_t random_zero_point(enum systole_dtype dtype, uint32_t *random) {
    int32_t low = dtype == SYSTOLE_UINT8 ? 0 : -128;
    int32_t edge = testing_range(random, 0, 5);
    return edge == 0 ? low : edge == 1 ? low + 255 : testing_range(random, low, low + 255);
}

// Weights of the shape, with scales such that a sum of `depth` products comes to about the output's range.
static int32_t random_weights(struct systole_graph *graph, int32_t input, int32_t rank, const int32_t *shape,
                              int32_t channel_dimension, bool per_channel, uint32_t *random) {
    enum systole_dtype dtype = graph->tensors[input].dtype;
    size_t count = 1;
    for (int32_t i = 0; i < rank; i++) {
        count *= (size_t)shape[i];
    }
    uint8_t *data = malloc(count);
    for (size_t i = 0; i < count; i++) {
        data[i] = (uint8_t)(testing_random(random) >> 24);
        data[i] = dtype == SYSTOLE_INT8 && data[i] == 128 ? 129 : data[i];
    }
    int32_t tensor = build_constant(graph, dtype, rank, shape, data);
    free(data);
    bool spread = per_channel && dtype == SYSTOLE_INT8;
    uint32_t scales = spread ? (uint32_t)shape[channel_dimension] : 1;
    quantise_axis(graph, tensor, scales, channel_dimension);
    for (uint32_t i = 0; i < scales; i++) {
        graph->tensors[tensor].quantisation.scale[i] = (float)testing_range(random, 10, 90) / 10000.0F;
    }
    if (dtype == SYSTOLE_UINT8) {
        graph->tensors[tensor].quantisation.zero_point[0] = random_zero_point(dtype, random);
    }
    return tensor;
}

static int32_t random_bias(struct systole_graph *graph, int32_t channels, uint32_t *random) {
    int32_t *values = malloc((size_t)channels * sizeof *values);
    for (int32_t i = 0; i < channels; i++) {
        values[i] = testing_range(random, -20000, 20000);
    }
    int32_t tensor = build_constant(graph, SYSTOLE_INT32, 1, &channels, values);
    free(values);
    return tensor;
}

static void quantise_output(struct systole_graph *graph, int32_t input, int32_t output, int32_t depth,
                            uint32_t *random) {
    float scale = graph->tensors[input].quantisation.scale[0] * 0.005F * sqrtf((float)depth) *
                  (float)testing_range(random, 20, 120);
    build_quantise(graph, output, scale, random_zero_point(graph->tensors[output].dtype, random));
}

static int32_t build_window(struct systole_graph *graph, int32_t code, int32_t input, int32_t weights, int32_t bias,
                            const struct build_window *w, int32_t channels) {
    const struct systole_tensor *in = &graph->tensors[input];
    int32_t height = systole_output_extent(w->padding, in->shape[1], w->height, w->stride_h, w->dilation_h);
    int32_t width = systole_output_extent(w->padding, in->shape[2], w->width, w->stride_w, w->dilation_w);
    int32_t output = build_map(graph, in->dtype, in->shape[0], height, width, channels);
    struct systole_operator *op = build_operator(graph, code, input, weights, bias, output);
    op->options.stride_h = w->stride_h;
    op->options.stride_w = w->stride_w;
    op->options.dilation_h = w->dilation_h;
    op->options.dilation_w = w->dilation_w;
    op->options.filter_h = w->height;
    op->options.filter_w = w->width;
    op->options.padding = w->padding;
    op->options.activation = w->activation;
    return output;
}

struct build_window build_square(int32_t channels, int32_t size, int32_t stride) {
    return (struct build_window){
        .channels = channels,
        .height = size,
        .width = size,
        .stride_h = stride,
        .stride_w = stride,
        .dilation_h = 1,
        .dilation_w = 1,
        .padding = SYSTOLE_PADDING_SAME,
        .has_bias = true,
    };
}

int32_t build_conv(struct systole_graph *graph, int32_t input, const struct build_window *window, uint32_t *random) {
    int32_t depth = graph->tensors[input].shape[3];
    const int32_t shape[4] = {window->channels, window->height, window->width, depth};
    int32_t weights = random_weights(graph, input, 4, shape, 0, window->per_channel, random);
    int32_t bias = window->has_bias ? random_bias(graph, window->channels, random) : -1;
    int32_t output = build_window(graph, SYSTOLE_OP_CONV_2D, input, weights, bias, window, window->channels);
    quantise_output(graph, input, output, depth * window->height * window->width, random);
    return output;
}

int32_t build_depthwise(struct systole_graph *graph, int32_t input, const struct build_window *window,
                        uint32_t *random) {
    const int32_t shape[4] = {1, window->height, window->width, window->channels};
    int32_t weights = random_weights(graph, input, 4, shape, 3, window->per_channel, random);
    int32_t bias = window->has_bias ? random_bias(graph, window->channels, random) : -1;
    int32_t output = build_window(graph, SYSTOLE_OP_DEPTHWISE_CONV_2D, input, weights, bias, window, window->channels);
    graph->operators[graph->operator_count - 1].options.depth_multiplier =
        window->channels / graph->tensors[input].shape[3];
    quantise_output(graph, input, output, window->height * window->width, random);
    return output;
}

int32_t build_fully_connected(struct systole_graph *graph, int32_t input, int32_t depth, int32_t units, bool keep_dims,
                              uint32_t *random) {
    const int32_t shape[2] = {units, depth};
    int32_t weights = random_weights(graph, input, 2, shape, 0, false, random);
    int32_t bias = random_bias(graph, units, random);
    const struct systole_tensor *in = &graph->tensors[input];
    int32_t rank = keep_dims ? in->rank : 2, output_shape[SYSTOLE_MAX_RANK];
    memcpy(output_shape, in->shape, sizeof output_shape);
    if (!keep_dims) {
        output_shape[0] = (int32_t)(systole_tensor_elements(in) / (size_t)depth);
    }
    output_shape[rank - 1] = units;
    int32_t output = build_tensor(graph, in->dtype, rank, output_shape);
    build_operator(graph, SYSTOLE_OP_FULLY_CONNECTED, input, weights, bias, output)->options.keep_dims = keep_dims;
    quantise_output(graph, input, output, depth, random);
    return output;
}

int32_t build_pool(struct systole_graph *graph, int32_t code, int32_t input, const struct build_window *window) {
    int32_t output = build_window(graph, code, input, -1, -1, window, graph->tensors[input].shape[3]);
    const struct systole_quantisation *q = &graph->tensors[input].quantisation;
    build_quantise(graph, output, q->scale[0], (int32_t)q->zero_point[0]);
    return output;
}

int32_t build_add(struct systole_graph *graph, int32_t a, int32_t b, int32_t rank, const int32_t *shape,
                  uint32_t *random) {
    int32_t output = build_tensor(graph, graph->tensors[a].dtype, rank, shape);
    build_operator(graph, SYSTOLE_OP_ADD, a, b, -1, output);
    float scale = graph->tensors[a].quantisation.scale[0] + graph->tensors[b].quantisation.scale[0];
    build_quantise(graph, output, scale * (float)testing_range(random, 50, 100) / 100.0F,
                   random_zero_point(graph->tensors[output].dtype, random));
    return output;
}

int32_t build_reshape(struct systole_graph *graph, int32_t input, int32_t rank, const int32_t *shape) {
    int32_t wanted = build_constant(graph, SYSTOLE_INT32, 1, &rank, shape);
    int32_t output = build_tensor(graph, graph->tensors[input].dtype, rank, shape);
    const struct systole_quantisation *q = &graph->tensors[input].quantisation;
    build_quantise(graph, output, q->scale[0], (int32_t)q->zero_point[0]);
    struct systole_operator *op = build_operator(graph, SYSTOLE_OP_RESHAPE, input, wanted, -1, output);
    memcpy(op->options.new_shape, shape, (size_t)rank * sizeof *shape);
    op->options.new_rank = rank;
    return output;
}

int32_t build_pad(struct systole_graph *graph, int32_t input, int32_t top, int32_t bottom, int32_t left,
                  int32_t right) {
    const int32_t amounts[8] = {0, 0, top, bottom, left, right, 0, 0}, shape[2] = {4, 2};
    int32_t pads = build_constant(graph, SYSTOLE_INT32, 2, shape, amounts);
    const struct systole_tensor *in = &graph->tensors[input];
    int32_t output = build_map(graph, in->dtype, in->shape[0], in->shape[1] + top + bottom, in->shape[2] + left + right,
                               in->shape[3]);
    const struct systole_quantisation *q = &graph->tensors[input].quantisation;
    build_quantise(graph, output, q->scale[0], (int32_t)q->zero_point[0]);
    build_operator(graph, SYSTOLE_OP_PAD, input, pads, -1, output);
    return output;
}

int32_t build_mean(struct systole_graph *graph, int32_t input, bool over_height, bool over_width, bool keep_dims,
                   uint32_t *random) {
    int32_t axes[2], count = 0, shape[4], rank = 0;
    for (int32_t i = 0; i < 4; i++) {
        bool reduced = (i == 1 && over_height) || (i == 2 && over_width);
        if (reduced) {
            axes[count++] = i;
        }
        if (!reduced || keep_dims) {
            shape[rank++] = reduced ? 1 : graph->tensors[input].shape[i];
        }
    }
    int32_t constant = build_constant(graph, SYSTOLE_INT32, 1, &count, axes);
    int32_t output = build_tensor(graph, graph->tensors[input].dtype, rank, shape);
    build_operator(graph, SYSTOLE_OP_MEAN, input, constant, -1, output)->options.keep_dims = keep_dims;
    build_quantise(graph, output,
                   graph->tensors[input].quantisation.scale[0] * (float)testing_range(random, 20, 150) / 100.0F,
                   random_zero_point(graph->tensors[output].dtype, random));
    return output;
}

int32_t build_requantise(struct systole_graph *graph, int32_t input, enum systole_dtype dtype, float scale,
                         int32_t zero_point) {
    int32_t output = build_tensor(graph, dtype, graph->tensors[input].rank, graph->tensors[input].shape);
    build_quantise(graph, output, scale, zero_point);
    build_operator(graph, SYSTOLE_OP_QUANTIZE, input, -1, -1, output);
    return output;
}

int32_t build_softmax(struct systole_graph *graph, int32_t input) {
    int32_t output =
        build_tensor(graph, graph->tensors[input].dtype, graph->tensors[input].rank, graph->tensors[input].shape);
    build_quantise(graph, output, 1.0F / 256.0F, graph->tensors[output].dtype == SYSTOLE_UINT8 ? 0 : -128);
    build_operator(graph, SYSTOLE_OP_SOFTMAX, input, -1, -1, output)->options.beta = 1.0F;
    return output;
}
