// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Simplifies the float graph before anything is measured: operators on constants alone are computed; MUL, ADD and SUB
// by a constant a channel behind a convolution (batch normalisation that the exporter left) go into its weights and
// bias; RELUs of their own go into the operator before them.
#include "graph_edit.h"
#include "quantizer_state.h"

#include <stdlib.h>
#include <string.h>

#define LARGEST_FOLDED ((size_t)1 << 24) // bytes; what constants would become must not make the model much larger

static bool all_constant(const struct systole_graph *graph, const struct systole_operator *op) {
    if (op->code == SYSTOLE_OP_CUSTOM || op->input_count == 0 || op->intermediate_count > 0) {
        return false;
    }
    for (uint32_t k = 0; k < op->input_count; k++) {
        if (op->inputs[k] >= 0 && graph->tensors[op->inputs[k]].data == NULL) {
            return false;
        }
    }
    for (uint32_t k = 0; k < op->output_count; k++) {
        if (op->outputs[k] < 0 || graph->tensors[op->outputs[k]].data != NULL ||
            graph->tensors[op->outputs[k]].is_variable || graph->tensors[op->outputs[k]].size > LARGEST_FOLDED) {
            return false;
        }
    }
    return op->output_count > 0;
}

// Operators that cannot be computed stay, and calibration says why.
static enum systole_status fold_constant(struct quantizer *q, uint32_t operator_index, bool *run, bool *removed) {
    struct systole_graph *graph = &q->graph;
    const struct systole_operator *op = &graph->operators[operator_index];
    struct systole_interpreter *interpreter = NULL;
    struct systole_diagnostic ignored;
    enum systole_status status = SYSTOLE_OK;
    run[operator_index] = true;
    if (systole_interpreter_create(graph, run, &interpreter, &ignored) == SYSTOLE_OK &&
        systole_interpreter_run_operator(interpreter, operator_index, &ignored) == SYSTOLE_OK) {
        removed[operator_index] = true;
        for (uint32_t k = 0; k < op->output_count && status == SYSTOLE_OK; k++) {
            struct systole_tensor *output = &graph->tensors[op->outputs[k]];
            uint8_t *data = malloc(output->size > 0 ? output->size : 1);
            if (data == NULL) {
                status = graph_edit_no_memory(graph->name, q->diagnostic);
            } else {
                memcpy(data, systole_interpreter_tensor(interpreter, op->outputs[k]), output->size);
            }
            free(output->data); // twice the same output
            output->data = data;
        }
    }
    run[operator_index] = false;
    systole_interpreter_free(interpreter);
    return status;
}

// Makes operand `at` a constant that only this operator reads; of `channels` zeros where there is none.
static enum systole_status own_operand(struct quantizer *q, uint32_t operator_index, uint32_t at, int32_t channels) {
    struct systole_graph *graph = &q->graph;
    struct systole_operator *op = &graph->operators[operator_index];
    enum systole_status status = SYSTOLE_OK;
    if (op->input_count <= at) {
        int32_t *inputs = realloc(op->inputs, (at + (size_t)1) * sizeof *inputs);
        if (inputs == NULL) {
            return graph_edit_no_memory(graph->name, q->diagnostic);
        }
        op->inputs = inputs;
        while (op->input_count <= at) {
            inputs[op->input_count++] = -1;
        }
    }
    if (op->inputs[at] < 0) {
        struct systole_tensor bias = {.name = graph->tensors[op->outputs[0]].name, .rank = 1, .shape = {channels}};
        int32_t index = -1;
        status = graph_edit_add_tensor(graph, &bias, SYSTOLE_FLOAT32, "_bias", &index, q->diagnostic);
        if (status == SYSTOLE_OK) {
            graph->tensors[index].data = calloc(graph->tensors[index].size, 1); // 0.0f
            status = graph->tensors[index].data != NULL ? SYSTOLE_OK : graph_edit_no_memory(graph->name, q->diagnostic);
            op->inputs[at] = index;
        }
    } else if (graph_edit_readers(graph, op->inputs[at]) > 1) {
        status = graph_edit_copy_tensor(graph, &graph->tensors[op->inputs[at]], &op->inputs[at], q->diagnostic);
    }
    return status;
}

// The only reader of a tensor; -1: there are several, or it leaves the graph.
static int32_t only_reader(const struct systole_graph *graph, int32_t tensor) {
    if (graph_edit_readers(graph, tensor) != 1) {
        return -1;
    }
    for (uint32_t i = 0; i < graph->operator_count; i++) {
        for (uint32_t k = 0; k < graph->operators[i].input_count; k++) {
            if (graph->operators[i].inputs[k] == tensor) {
                return (int32_t)i;
            }
        }
    }
    return -1;
}

static bool same_shape(const struct systole_tensor *a, const struct systole_tensor *b) {
    return a->rank == b->rank && memcmp(a->shape, b->shape, sizeof *a->shape * (size_t)a->rank) == 0;
}

// The constant operand of MUL, ADD or SUB, one value or one a channel; NULL: it is none.
static const struct systole_tensor *affine_operand(const struct systole_graph *graph, const struct systole_operator *op,
                                                   int32_t tensor, int32_t channels) {
    if ((op->code != SYSTOLE_OP_MUL && op->code != SYSTOLE_OP_ADD && op->code != SYSTOLE_OP_SUB) ||
        op->input_count != 2 || op->output_count != 1 || op->inputs[0] < 0 || op->inputs[1] < 0 || op->outputs[0] < 0) {
        return NULL;
    }
    bool first = op->inputs[0] == tensor;
    const struct systole_tensor *constant = &graph->tensors[op->inputs[first ? 1 : 0]];
    size_t count = systole_tensor_elements(constant);
    bool fits = constant->data != NULL && constant->dtype == SYSTOLE_FLOAT32 &&
                (count == 1 || (count == (size_t)channels && constant->shape[constant->rank - 1] == channels)) &&
                same_shape(&graph->tensors[tensor], &graph->tensors[op->outputs[0]]);
    return fits && (first || op->code != SYSTOLE_OP_SUB) ? constant : NULL;
}

static enum systole_status fold_affine(struct quantizer *q, uint32_t convolution, bool *removed, bool *folded) {
    struct systole_graph *graph = &q->graph;
    const struct systole_operator *op = &graph->operators[convolution];
    struct quantizer_operands operands;
    *folded = false;
    if (!quantizer_operands_of(graph, op, &operands) || op->options.activation != SYSTOLE_ACTIVATION_NONE) {
        return SYSTOLE_OK;
    }
    int32_t tensor = op->outputs[0], channels = graph->tensors[operands.weights].shape[operands.dimension];
    int32_t reader = only_reader(graph, tensor);
    const struct systole_tensor *output = &graph->tensors[tensor];
    if (reader < 0 || output->rank < 1 || output->shape[output->rank - 1] != channels ||
        affine_operand(graph, &graph->operators[reader], tensor, channels) == NULL) {
        return SYSTOLE_OK;
    }
    const struct systole_operator *affine = &graph->operators[reader];
    enum systole_status status = own_operand(q, convolution, operands.weights_at, channels);
    if (status == SYSTOLE_OK) {
        status = own_operand(q, convolution, operands.bias_at, channels);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    const struct systole_tensor *constant = affine_operand(graph, affine, tensor, channels);
    const float *values = (const float *)(const void *)constant->data;
    size_t step = systole_tensor_elements(constant) == 1 ? 0 : 1;
    struct systole_tensor *weights = &graph->tensors[op->inputs[operands.weights_at]];
    float *bias = (float *)(void *)graph->tensors[op->inputs[operands.bias_at]].data;
    float *w = (float *)(void *)weights->data;
    size_t count = systole_tensor_elements(weights), inner = count / (size_t)channels;
    for (size_t i = 0; affine->code == SYSTOLE_OP_MUL && i < count; i++) {
        w[i] *= values[step * (operands.dimension == 0 ? i / inner : i % (size_t)channels)];
    }
    for (size_t c = 0; c < (size_t)channels; c++) {
        float value = values[step * c];
        bias[c] = affine->code == SYSTOLE_OP_MUL   ? bias[c] * value
                  : affine->code == SYSTOLE_OP_ADD ? bias[c] + value
                                                   : bias[c] - value;
    }
    graph->operators[convolution].options.activation = affine->options.activation;
    op->outputs[0] = affine->outputs[0];
    removed[reader] = true;
    affine->inputs[0] = affine->inputs[1] = affine->outputs[0] = -1; // read no more
    *folded = true;
    q->report.folded++;
    return SYSTOLE_OK;
}

static void fold_activation(struct quantizer *q, uint32_t operator_index, bool *removed) {
    struct systole_graph *graph = &q->graph;
    struct systole_operator *op = &graph->operators[operator_index];
    bool takes = op->code == SYSTOLE_OP_CONV_2D || op->code == SYSTOLE_OP_DEPTHWISE_CONV_2D ||
                 op->code == SYSTOLE_OP_FULLY_CONNECTED || op->code == SYSTOLE_OP_ADD || op->code == SYSTOLE_OP_SUB ||
                 op->code == SYSTOLE_OP_MUL;
    if (!takes || removed[operator_index] || op->options.activation != SYSTOLE_ACTIVATION_NONE ||
        op->output_count != 1 || op->outputs[0] < 0 || graph->tensors[op->outputs[0]].dtype != SYSTOLE_FLOAT32) {
        return;
    }
    int32_t reader = only_reader(graph, op->outputs[0]);
    const struct systole_operator *relu = reader >= 0 ? &graph->operators[reader] : NULL;
    if (relu == NULL || relu->input_count != 1 || relu->output_count != 1 || relu->outputs[0] < 0 ||
        !same_shape(&graph->tensors[op->outputs[0]], &graph->tensors[relu->outputs[0]])) {
        return;
    }
    switch (relu->code) {
    case SYSTOLE_OP_RELU:
        op->options.activation = SYSTOLE_ACTIVATION_RELU;
        break;
    case SYSTOLE_OP_RELU6:
        op->options.activation = SYSTOLE_ACTIVATION_RELU6;
        break;
    case SYSTOLE_OP_RELU_N1_TO_1:
        op->options.activation = SYSTOLE_ACTIVATION_RELU_N1_TO_1;
        break;
    default:
        return;
    }
    op->outputs[0] = relu->outputs[0];
    removed[reader] = true;
    relu->inputs[0] = relu->outputs[0] = -1;
    q->report.folded++;
}

enum systole_status quantizer_fold(struct quantizer *q) {
    struct systole_graph *graph = &q->graph;
    bool *removed = calloc(graph->operator_count + (size_t)1, sizeof *removed);
    bool *run = calloc(graph->operator_count + (size_t)1, sizeof *run);
    enum systole_status status = SYSTOLE_OK;
    if (removed == NULL || run == NULL) {
        status = graph_edit_no_memory(graph->name, q->diagnostic);
        goto out;
    }
    for (uint32_t i = 0; i < graph->operator_count && status == SYSTOLE_OK; i++) {
        if (all_constant(graph, &graph->operators[i])) {
            status = fold_constant(q, i, run, removed);
        }
    }
    for (uint32_t i = 0; i < graph->operator_count && status == SYSTOLE_OK; i++) {
        bool folded = !removed[i];
        while (folded && status == SYSTOLE_OK) {
            status = fold_affine(q, i, removed, &folded);
        }
        if (status == SYSTOLE_OK) {
            fold_activation(q, i, removed);
        }
    }
    if (status == SYSTOLE_OK) {
        status = graph_edit_remove(graph, removed, q->diagnostic);
    }
out:
    free(run);
    free(removed);
    return status;
}
