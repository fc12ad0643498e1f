// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Weights that behave like trained ones. All are random; then the network runs once, operator by operator, on random
// input, and each operator with weights is rescaled as batch normalisation would: every output channel gets a mean and
// a deviation near those that the next layer wants, folded into weights and bias, and the computed map is corrected in
// place before the next operator reads it. Without this, activations of deep random networks vanish or become the same
// everywhere.
#include "network_builder.h"

#include <math.h>
#include <stdlib.h>

#include "interpreter.h"

#define FEWEST_SAMPLES 8        // a channel with fewer is rescaled as its whole map is
#define SMALLEST_DEVIATION 0.05 // of a channel, of that of the map

// splitmix64.
static uint64_t draw(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static float uniform(uint64_t *state) { // -1 .. 1
    return (float)((int32_t)(draw(state) >> 40) - (1 << 23)) / (float)(1 << 23);
}

// Nearly normal, deviation 1: the sum of twelve bytes' worth of uniform numbers, without a library's logarithm.
static float normal(uint64_t *state) {
    int32_t sum = 0;
    for (int32_t k = 0; k < 2; k++) {
        uint64_t bits = draw(state);
        for (int32_t i = 0; i < 6; i++) {
            sum += (int32_t)(bits >> (10 * i) & 1023) * 2 - 1023;
        }
    }
    return (float)sum / 2047.0f; // twelve terms, each of variance (1024^2 - 1) / 3
}

// State of a generator of its own for each name.
static uint64_t seed_of(const char *name) {
    uint64_t state = 0;
    for (const char *c = name; *c != '\0'; c++) {
        state = (state ^ (uint8_t)*c) * 0x100000001b3u;
    }
    return state;
}

static void fill(struct systole_tensor *tensor, uint64_t *state, float (*draw_value)(uint64_t *)) {
    float *values = (float *)(void *)tensor->data;
    size_t count = systole_tensor_elements(tensor);
    for (size_t i = 0; i < count; i++) {
        values[i] = draw_value(state);
    }
}

void zoo_draw_input(const char *name, uint32_t set, float *values, size_t count) {
    // Splitmix64 of the set's number is far from every state that the weights were drawn with.
    uint64_t number = set, state = seed_of(name) ^ draw(&number);
    for (size_t i = 0; i < count; i++) {
        values[i] = uniform(&state);
    }
}

struct statistics {
    double sum, squares, count;
};

static double mean(const struct statistics *s) {
    return s->sum / s->count;
}

static double deviation(const struct statistics *s) {
    double variance = s->squares / s->count - mean(s) * mean(s);
    return variance > 0 ? sqrt(variance) : 0;
}

static float activate(float value, enum systole_activation activation) {
    if (activation != SYSTOLE_ACTIVATION_NONE && value < 0.0f) {
        return 0.0f;
    }
    return activation == SYSTOLE_ACTIVATION_RELU6 && value > 6.0f ? 6.0f : value;
}

// Rescales the operator's weights and bias and its computed map by channel, then applies the activation to the map.
static void normalise(struct zoo_network *network, const struct systole_operator *op, float gain,
                      enum systole_activation activation, uint64_t *state, float *map,
                      struct statistics *statistics /* of each channel */) {
    const struct systole_graph *graph = &network->graph;
    const struct systole_tensor *output = &graph->tensors[op->outputs[0]];
    float *weights = (float *)(void *)graph->tensors[op->inputs[1]].data;
    float *bias = (float *)(void *)graph->tensors[op->inputs[2]].data;
    size_t channels = (size_t)output->shape[output->rank - 1];
    size_t rows = systole_tensor_elements(output) / channels;
    size_t taps = systole_tensor_elements(&graph->tensors[op->inputs[1]]) / channels;
    struct statistics whole = {.count = 0};
    for (size_t c = 0; c < channels; c++) {
        statistics[c] = (struct statistics){.count = (double)rows};
        for (size_t r = 0; r < rows; r++) {
            double value = (double)map[r * channels + c];
            statistics[c].sum += value;
            statistics[c].squares += value * value;
        }
        whole.sum += statistics[c].sum;
        whole.squares += statistics[c].squares;
        whole.count += (double)rows;
    }
    for (size_t c = 0; c < channels; c++) {
        float wanted_deviation = gain * (1.0f + 0.5f * uniform(state));
        float wanted_mean = gain * 0.25f * normal(state);
        const struct statistics *s = rows >= FEWEST_SAMPLES ? &statistics[c] : &whole;
        double least = deviation(&whole) * SMALLEST_DEVIATION;
        double width = deviation(s) > least ? deviation(s) : least;
        float factor = width > 0 ? (float)((double)wanted_deviation / width) : 1.0f;
        bias[c] = wanted_mean - (float)(mean(s) * (double)factor);
        for (size_t k = 0; k < taps; k++) {
            // A depthwise filter's channels are its last axis, the others' their first.
            weights[op->code == SYSTOLE_OP_DEPTHWISE_CONV_2D ? k * channels + c : c * taps + k] *= factor;
        }
        for (size_t r = 0; r < rows; r++) {
            float *value = &map[r * channels + c];
            *value = activate(*value * factor + bias[c], activation);
        }
    }
}

static bool has_weights(const struct systole_operator *op) {
    return op->code == SYSTOLE_OP_CONV_2D || op->code == SYSTOLE_OP_DEPTHWISE_CONV_2D ||
           op->code == SYSTOLE_OP_FULLY_CONNECTED;
}

static enum systole_status no_memory(const struct zoo_network *network) {
    return systole_fail(network->diagnostic, SYSTOLE_OUT_OF_MEMORY, network->graph.name, "",
                        "no memory to draw the network's weights");
}

// Runs the network on random input and rescales operators with weights on the way; they have no activation in the
// graph meanwhile. `statistics` has room for the widest map's channels.
static enum systole_status run(struct zoo_network *network, const enum systole_activation *activations,
                               struct statistics *statistics, uint64_t *state) {
    const struct systole_graph *graph = &network->graph;
    struct systole_interpreter *interpreter = NULL;
    enum systole_status status = systole_interpreter_create(graph, NULL, &interpreter, network->diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct systole_tensor input = graph->tensors[graph->inputs[0]];
    input.data = systole_interpreter_tensor(interpreter, graph->inputs[0]);
    fill(&input, state, uniform);
    for (uint32_t i = 0; i < graph->operator_count && status == SYSTOLE_OK; i++) {
        const struct systole_operator *op = &graph->operators[i];
        status = systole_interpreter_run_operator(interpreter, i, network->diagnostic);
        if (status == SYSTOLE_OK && has_weights(op)) {
            float *map = (float *)(void *)systole_interpreter_tensor(interpreter, op->outputs[0]);
            normalise(network, op, network->gains[i], activations[i], state, map, statistics);
        }
    }
    systole_interpreter_free(interpreter);
    return status;
}

static void set_activations(struct systole_graph *graph, const enum systole_activation *activations) {
    for (uint32_t i = 0; i < graph->operator_count; i++) {
        if (has_weights(&graph->operators[i])) {
            graph->operators[i].options.activation = activations != NULL ? activations[i] : SYSTOLE_ACTIVATION_NONE;
        }
    }
}

void zoo_draw_weights(struct zoo_network *network) {
    struct systole_graph *graph = &network->graph;
    uint64_t state = seed_of(graph->name);
    size_t widest = 1;
    enum systole_activation *activations = NULL;
    struct statistics *statistics = NULL;
    if (network->status != SYSTOLE_OK) {
        return;
    }
    activations = calloc(graph->operator_count + (size_t)1, sizeof *activations);
    if (activations == NULL) {
        network->status = no_memory(network);
        goto done;
    }
    for (uint32_t i = 0; i < graph->operator_count; i++) {
        const struct systole_operator *op = &graph->operators[i];
        activations[i] = op->options.activation;
        if (has_weights(op)) {
            size_t channels = systole_tensor_elements(&graph->tensors[op->inputs[2]]);
            fill(&graph->tensors[op->inputs[1]], &state, normal);
            widest = channels > widest ? channels : widest;
        }
    }
    statistics = calloc(widest, sizeof *statistics);
    if (statistics == NULL) {
        network->status = no_memory(network);
        goto done;
    }
    set_activations(graph, NULL);
    network->status = run(network, activations, statistics, &state);
    set_activations(graph, activations);
done:
    free(statistics);
    free(activations);
}
