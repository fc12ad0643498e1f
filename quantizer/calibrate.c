// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Runs the float graph over the representative sets and observes every activation. For bias correction it also takes
// the mean of each input channel of the operators with weights.
#include "graph_edit.h"
#include "observer.h"

#include <stdlib.h>

struct calibration {
    struct quantizer *q;
    struct systole_interpreter *interpreter;
    struct observer *observers; // of each tensor
    double **sums;              // of each tensor's channels; NULL: not wanted
    uint8_t **inputs;           // of the graph
};

static bool is_activation(const struct systole_graph *graph, uint32_t t) {
    const struct systole_tensor *tensor = &graph->tensors[t];
    return tensor->dtype == SYSTOLE_FLOAT32 && tensor->data == NULL;
}

static size_t channels_of(const struct systole_tensor *tensor) {
    return tensor->rank > 0 ? (size_t)tensor->shape[tensor->rank - 1] : 1;
}

static enum systole_status begin(struct calibration *c) {
    const struct systole_graph *graph = &c->q->graph;
    c->observers = calloc(graph->tensor_count + (size_t)1, sizeof *c->observers);
    c->sums = calloc(graph->tensor_count + (size_t)1, sizeof *c->sums);
    c->inputs = calloc(graph->input_count + (size_t)1, sizeof *c->inputs);
    if (c->observers == NULL || c->sums == NULL || c->inputs == NULL) {
        return graph_edit_no_memory(graph->name, c->q->diagnostic);
    }
    for (uint32_t t = 0; t < graph->tensor_count; t++) {
        if (is_activation(graph, t) && !observer_begin(&c->observers[t], c->q->options->calibration)) {
            return graph_edit_no_memory(graph->name, c->q->diagnostic);
        }
    }
    for (uint32_t i = 0; c->q->options->bias_correction && i < graph->operator_count; i++) {
        struct quantizer_operands operands;
        if (quantizer_operands_of(graph, &graph->operators[i], &operands) && c->sums[operands.activation] == NULL) {
            c->sums[operands.activation] = calloc(channels_of(&graph->tensors[operands.activation]), sizeof **c->sums);
            if (c->sums[operands.activation] == NULL) {
                return graph_edit_no_memory(graph->name, c->q->diagnostic);
            }
        }
    }
    enum systole_status status = quantizer_interpreter(c->q, graph, &c->interpreter);
    for (uint32_t i = 0; status == SYSTOLE_OK && i < graph->input_count; i++) {
        c->inputs[i] = systole_interpreter_tensor(c->interpreter, graph->inputs[i]);
    }
    return status;
}

static enum systole_status observe(struct calibration *c, uint32_t set) {
    const struct systole_graph *graph = &c->q->graph;
    for (uint32_t t = 0; t < graph->tensor_count; t++) {
        if (!is_activation(graph, t)) {
            continue;
        }
        const float *values = (const float *)(const void *)systole_interpreter_tensor(c->interpreter, (int32_t)t);
        if (values == NULL) {
            return graph_edit_no_memory(graph->name, c->q->diagnostic);
        }
        enum systole_status status =
            quantizer_check_values(graph->name, &graph->tensors[t], values, set, c->q->diagnostic);
        if (status != SYSTOLE_OK) {
            return status;
        }
        size_t count = systole_tensor_elements(&graph->tensors[t]), channels = channels_of(&graph->tensors[t]);
        size_t rows = count / channels;
        observer_see(&c->observers[t], values, count);
        for (size_t i = 0; c->sums[t] != NULL && i < count; i++) {
            c->sums[t][i % channels] += (double)values[i] / (double)rows;
        }
    }
    return SYSTOLE_OK;
}

static enum systole_status run(struct calibration *c) {
    struct quantizer *q = c->q;
    for (uint32_t set = 0;; set++) {
        bool end = false;
        enum systole_status status =
            q->representative->read(q->representative->context, set, c->inputs, &end, q->diagnostic);
        if (status != SYSTOLE_OK || end) {
            q->report.samples = set;
            return status != SYSTOLE_OK || set > 0 ? status
                                                   : systole_fail(q->diagnostic, SYSTOLE_BAD_ARGUMENT, q->graph.name,
                                                                  "give some hundred inputs such as the model will see",
                                                                  "the representative data is empty");
        }
        systole_interpreter_reset_variables(c->interpreter);
        status = systole_interpreter_run(c->interpreter, q->diagnostic);
        if (status == SYSTOLE_OK) {
            status = observe(c, set);
        }
        if (status != SYSTOLE_OK) {
            return status;
        }
    }
}

static enum systole_status finish(struct calibration *c) {
    struct quantizer *q = c->q;
    double percentile = q->options->percentile > 0 ? q->options->percentile : 99.99;
    q->ranges = calloc(q->graph.tensor_count + (size_t)1, sizeof *q->ranges);
    if (q->ranges == NULL) {
        return graph_edit_no_memory(q->graph.name, q->diagnostic);
    }
    for (uint32_t t = 0; t < q->graph.tensor_count; t++) {
        const struct systole_tensor *tensor = &q->graph.tensors[t];
        if (is_activation(&q->graph, t)) {
            q->ranges[t] = observer_range(&c->observers[t], percentile);
        } else if (tensor->dtype == SYSTOLE_FLOAT32) {
            struct observer constant = {.calibration = SYSTOLE_CALIBRATION_MIN_MAX};
            observer_see(&constant, (const float *)(const void *)tensor->data, systole_tensor_elements(tensor));
            q->ranges[t] = observer_range(&constant, 100);
        }
        size_t channels = channels_of(tensor);
        for (size_t k = 0; c->sums[t] != NULL && k < channels; k++) {
            c->sums[t][k] /= q->report.samples;
        }
    }
    q->means = c->sums;
    c->sums = NULL;
    return SYSTOLE_OK;
}

enum systole_status quantizer_calibrate(struct quantizer *q) {
    struct calibration c = {.q = q};
    enum systole_status status = begin(&c);
    if (status == SYSTOLE_OK) {
        status = run(&c);
    }
    if (status == SYSTOLE_OK) {
        status = finish(&c);
    }
    systole_interpreter_free(c.interpreter);
    for (uint32_t t = 0; t < q->graph.tensor_count; t++) {
        if (c.observers != NULL) {
            observer_end(&c.observers[t]);
        }
        if (c.sums != NULL) {
            free(c.sums[t]);
        }
    }
    free(c.inputs);
    free(c.sums);
    free(c.observers);
    return status;
}
