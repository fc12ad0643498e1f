// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Cross-layer equalisation (Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction"):
// where one layer's output goes to one other layer alone, channel c of the first may be divided by s[c] and the
// second's weights for it multiplied, without a change of what both compute - as long as the activation between them is
// none or RELU. s[c] = sqrt(r1 / r2) of the largest weights r1 that make the channel and r2 that read it gives both the
// same range. Pairs overlap, so that it is done in rounds.
#include "graph_edit.h"
#include "quantizer_state.h"

#include <math.h>
#include <stdlib.h>

enum { ROUNDS = 20 };

struct layer {
    const struct systole_operator *op;
    struct quantizer_operands operands;
};

// Channel of the input that weight i multiplies.
static size_t input_channel(const struct systole_graph *graph, const struct layer *layer, size_t i, size_t channels) {
    const struct systole_tensor *weights = &graph->tensors[layer->operands.weights];
    if (layer->op->code == SYSTOLE_OP_DEPTHWISE_CONV_2D) {
        size_t outputs = (size_t)weights->shape[weights->rank - 1];
        return i % outputs / (outputs / channels);
    }
    return i % channels;
}

static size_t output_channel(const struct systole_graph *graph, const struct layer *layer, size_t i) {
    const struct systole_tensor *weights = &graph->tensors[layer->operands.weights];
    size_t outputs = (size_t)weights->shape[layer->operands.dimension];
    return layer->operands.dimension == 0 ? i / (systole_tensor_elements(weights) / outputs) : i % outputs;
}

static bool read_alone(const struct systole_graph *graph, const struct layer *layer) {
    return graph_edit_readers(graph, layer->operands.weights) == 1 &&
           (layer->operands.bias < 0 || graph_edit_readers(graph, layer->operands.bias) == 1);
}

// Whether operator `second` alone reads what `first` makes, channel by channel.
static bool is_pair(const struct systole_graph *graph, const struct layer *first, const struct layer *second) {
    int32_t between = first->op->outputs[0];
    const struct systole_tensor *map = &graph->tensors[between];
    const struct systole_tensor *w1 = &graph->tensors[first->operands.weights];
    const struct systole_tensor *w2 = &graph->tensors[second->operands.weights];
    int32_t channels = w1->shape[first->operands.dimension];
    enum systole_activation activation = first->op->options.activation;
    bool depthwise = second->op->code == SYSTOLE_OP_DEPTHWISE_CONV_2D;
    return second->operands.activation == between && graph_edit_readers(graph, between) == 1 &&
           (activation == SYSTOLE_ACTIVATION_NONE || activation == SYSTOLE_ACTIVATION_RELU) &&
           first->op->code != SYSTOLE_OP_TRANSPOSE_CONV && second->op->code != SYSTOLE_OP_TRANSPOSE_CONV &&
           map->rank > 0 && map->shape[map->rank - 1] == channels && read_alone(graph, first) &&
           read_alone(graph, second) &&
           (depthwise ? w2->shape[w2->rank - 1] % channels == 0 : w2->shape[w2->rank - 1] == channels);
}

static void equalize_pair(struct systole_graph *graph, const struct layer *first, const struct layer *second,
                          double *makes, double *reads, size_t channels) {
    float *w1 = (float *)(void *)graph->tensors[first->operands.weights].data;
    float *w2 = (float *)(void *)graph->tensors[second->operands.weights].data;
    size_t n1 = systole_tensor_elements(&graph->tensors[first->operands.weights]);
    size_t n2 = systole_tensor_elements(&graph->tensors[second->operands.weights]);
    for (size_t c = 0; c < channels; c++) {
        makes[c] = reads[c] = 0;
    }
    for (size_t i = 0; i < n1; i++) {
        double *r = &makes[output_channel(graph, first, i)];
        *r = fmax(*r, fabs((double)w1[i]));
    }
    for (size_t i = 0; i < n2; i++) {
        double *r = &reads[input_channel(graph, second, i, channels)];
        *r = fmax(*r, fabs((double)w2[i]));
    }
    for (size_t c = 0; c < channels; c++) { // makes becomes s; a channel without weights stays
        double s = sqrt(makes[c] / reads[c]);
        makes[c] = isfinite(s) && s > 1e-6 && s < 1e6 ? s : 1;
    }
    for (size_t i = 0; i < n1; i++) {
        w1[i] = (float)((double)w1[i] / makes[output_channel(graph, first, i)]);
    }
    float *bias = first->operands.bias >= 0 ? (float *)(void *)graph->tensors[first->operands.bias].data : NULL;
    for (size_t c = 0; bias != NULL && c < channels; c++) {
        bias[c] = (float)((double)bias[c] / makes[c]);
    }
    for (size_t i = 0; i < n2; i++) {
        w2[i] = (float)((double)w2[i] * makes[input_channel(graph, second, i, channels)]);
    }
}

enum systole_status quantizer_equalize(struct quantizer *q) {
    struct systole_graph *graph = &q->graph;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t pairs = 0;
        for (uint32_t i = 0; i < graph->operator_count; i++) {
            struct layer first = {.op = &graph->operators[i]}, second;
            bool found = quantizer_operands_of(graph, first.op, &first.operands);
            for (uint32_t k = i + 1; found && k < graph->operator_count; k++) {
                second.op = &graph->operators[k];
                if (!quantizer_operands_of(graph, second.op, &second.operands) || !is_pair(graph, &first, &second)) {
                    continue;
                }
                size_t channels = (size_t)graph->tensors[first.operands.weights].shape[first.operands.dimension];
                double *ranges = calloc(channels, 2 * sizeof *ranges);
                if (ranges == NULL) {
                    return graph_edit_no_memory(graph->name, q->diagnostic);
                }
                equalize_pair(graph, &first, &second, ranges, ranges + channels, channels);
                free(ranges);
                pairs++;
                break;
            }
        }
        q->report.equalized = pairs;
    }
    return SYSTOLE_OK;
}
