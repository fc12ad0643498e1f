// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A calibrated float32 network as TensorFlow Lite's full-integer quantisation has it (its quantisation specification):
// activations int8 with one scale, convolutions' weights int8 with a scale a channel and zero point 0, fully connected
// ones with a single scale, biases int32 of scale input * weights. Operators that only move or compare values have
// equal scales on both sides, so that tensors fall into groups with one range; SOFTMAX gives 1/256 and -128.
#include "network_builder.h"

#include <math.h>
#include <stdlib.h>

static void no_memory(struct zoo_network *network) {
    network->status = systole_fail(network->diagnostic, SYSTOLE_OUT_OF_MEMORY, network->graph.name, "",
                                   "no memory to quantise the network");
}

static int32_t group_of(int32_t *group, int32_t tensor) {
    while (group[tensor] != tensor) {
        tensor = group[tensor] = group[group[tensor]];
    }
    return tensor;
}

static bool keeps_scale(int32_t code) {
    return code == SYSTOLE_OP_RESHAPE || code == SYSTOLE_OP_MAX_POOL_2D || code == SYSTOLE_OP_AVERAGE_POOL_2D ||
           code == SYSTOLE_OP_CONCATENATION || code == SYSTOLE_OP_TRANSPOSE;
}

// Joins the groups of a scale-keeping operator's float operands, with their ranges.
static void join(struct zoo_network *network, const struct systole_operator *op, int32_t *group) {
    for (uint32_t i = 0; i < op->input_count; i++) {
        if (network->graph.tensors[op->inputs[i]].dtype == SYSTOLE_FLOAT32) {
            int32_t from = group_of(group, op->inputs[i]), to = group_of(group, op->outputs[0]);
            struct zoo_range a = network->ranges[from], b = network->ranges[to];
            network->ranges[to] = (struct zoo_range){a.low < b.low ? a.low : b.low, a.high > b.high ? a.high : b.high};
            group[from] = to;
        }
    }
}

static bool set_scales(struct zoo_network *network, struct systole_tensor *tensor, uint32_t count, int32_t dimension) {
    struct systole_quantisation *q = &tensor->quantisation;
    q->scale = calloc(count, sizeof *q->scale);
    q->zero_point = calloc(count, sizeof *q->zero_point);
    q->dimension = dimension;
    if (q->scale == NULL || q->zero_point == NULL) {
        no_memory(network);
        return false;
    }
    q->count = count;
    return true;
}

static int32_t round_clamped(double value, int32_t low, int32_t high) {
    double rounded = round(value);
    return rounded < low ? low : rounded > high ? high : (int32_t)rounded;
}

// Scale and zero point of a range that holds zero; constants' values with them.
static void quantise_tensor(struct zoo_network *network, struct systole_tensor *tensor, struct zoo_range range) {
    if (!set_scales(network, tensor, 1, 0)) {
        return;
    }
    float width = range.high - range.low;
    float scale = width > 0.0f ? width / 255.0f : 1.0f;
    int32_t zero_point = round_clamped(-128.0 - (double)range.low / (double)scale, -128, 127);
    size_t count = systole_tensor_elements(tensor);
    tensor->quantisation.scale[0] = scale;
    tensor->quantisation.zero_point[0] = zero_point;
    tensor->dtype = SYSTOLE_INT8;
    tensor->size = count;
    if (tensor->data != NULL) {
        const float *values = (const float *)(const void *)tensor->data;
        uint8_t *bytes = calloc(count, 1);
        if (bytes == NULL) {
            no_memory(network);
            return;
        }
        for (size_t i = 0; i < count; i++) {
            bytes[i] = (uint8_t)round_clamped((double)values[i] / (double)scale + zero_point, -128, 127);
        }
        free(tensor->data);
        tensor->data = bytes;
    }
}

static void quantise_weights(struct zoo_network *network, struct systole_tensor *weights, uint32_t channels,
                             bool per_channel, bool channels_last) {
    const float *values = (const float *)(const void *)weights->data;
    size_t count = systole_tensor_elements(weights);
    size_t taps = count / channels;
    uint8_t *bytes = calloc(count, 1);
    if (bytes == NULL) {
        no_memory(network);
        return;
    }
    if (!set_scales(network, weights, per_channel ? channels : 1, channels_last ? weights->rank - 1 : 0)) {
        free(bytes);
        return;
    }
    float *scale = weights->quantisation.scale;
    for (size_t i = 0; i < count; i++) {
        size_t c = !per_channel ? 0 : channels_last ? i % channels : i / taps;
        scale[c] = fmaxf(scale[c], fabsf(values[i]) / 127.0f);
    }
    for (uint32_t c = 0; c < weights->quantisation.count; c++) {
        scale[c] = scale[c] > 0.0f ? scale[c] : 1.0f;
    }
    for (size_t i = 0; i < count; i++) {
        size_t c = !per_channel ? 0 : channels_last ? i % channels : i / taps;
        bytes[i] = (uint8_t)round_clamped((double)values[i] / (double)scale[c], -127, 127);
    }
    free(weights->data);
    weights->data = bytes;
    weights->dtype = SYSTOLE_INT8;
    weights->size = count;
}

static void quantise_bias(struct zoo_network *network, struct systole_tensor *bias, float input_scale,
                          const struct systole_quantisation *weights) {
    if (!set_scales(network, bias, weights->count, 0)) {
        return;
    }
    float *values = (float *)(void *)bias->data;
    int32_t *integers = (int32_t *)(void *)bias->data; // of the same size: in place, through `real`
    for (uint32_t c = 0; c < weights->count; c++) {
        bias->quantisation.scale[c] = input_scale * weights->scale[c];
    }
    for (int32_t c = 0; c < bias->shape[0]; c++) {
        double real = (double)values[c];
        double scale = (double)bias->quantisation.scale[weights->count == 1 ? 0 : c];
        integers[c] = round_clamped(real / scale, INT32_MIN, INT32_MAX);
    }
    bias->dtype = SYSTOLE_INT32;
}

// First version of each operator with int8 operands (the format's table of versions).
static int32_t int8_version(int32_t code) {
    switch (code) {
    case SYSTOLE_OP_CONV_2D:
    case SYSTOLE_OP_DEPTHWISE_CONV_2D:
        return 3;
    case SYSTOLE_OP_FULLY_CONNECTED:
        return 4;
    case SYSTOLE_OP_RESHAPE:
        return 1;
    default:
        return 2;
    }
}

void zoo_quantise(struct zoo_network *network) {
    struct systole_graph *graph = &network->graph;
    int32_t *group = calloc(graph->tensor_count + (size_t)1, sizeof *group);
    bool *is_parameter = calloc(graph->tensor_count + (size_t)1, sizeof *is_parameter);
    if (group == NULL || is_parameter == NULL) {
        no_memory(network);
        goto done;
    }
    for (uint32_t t = 0; t < graph->tensor_count; t++) {
        group[t] = (int32_t)t;
    }
    for (uint32_t i = 0; i < graph->operator_count; i++) {
        struct systole_operator *op = &graph->operators[i];
        op->version = int8_version(op->code);
        if (zoo_has_weights(op)) {
            is_parameter[op->inputs[1]] = is_parameter[op->inputs[2]] = true;
        } else if (keeps_scale(op->code)) {
            join(network, op, group);
        } else if (op->code == SYSTOLE_OP_SOFTMAX) {
            network->ranges[op->outputs[0]] = (struct zoo_range){0.0f, 255.0f / 256.0f};
        }
    }
    for (uint32_t t = 0; network->status == SYSTOLE_OK && t < graph->tensor_count; t++) {
        if (graph->tensors[t].dtype == SYSTOLE_FLOAT32 && !is_parameter[t]) {
            quantise_tensor(network, &graph->tensors[t], network->ranges[group_of(group, (int32_t)t)]);
        }
    }
    for (uint32_t i = 0; network->status == SYSTOLE_OK && i < graph->operator_count; i++) {
        const struct systole_operator *op = &graph->operators[i];
        if (zoo_has_weights(op)) {
            struct systole_tensor *weights = &graph->tensors[op->inputs[1]], *bias = &graph->tensors[op->inputs[2]];
            quantise_weights(network, weights, (uint32_t)bias->shape[0], op->code != SYSTOLE_OP_FULLY_CONNECTED,
                             op->code == SYSTOLE_OP_DEPTHWISE_CONV_2D);
            if (network->status == SYSTOLE_OK) {
                quantise_bias(network, bias, graph->tensors[op->inputs[0]].quantisation.scale[0],
                              &weights->quantisation);
            }
        }
    }
done:
    free(is_parameter);
    free(group);
}
