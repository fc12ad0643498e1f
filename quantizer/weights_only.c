// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Dynamic range and float16: the graph stays as it is, its weights become smaller. Where a kernel of mixed types takes
// int8 weights (CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED) it reads them; everywhere else a DEQUANTIZE behind the
// constant, which runs once, gives float32 back. An operator that the kernels refuse that way keeps its constants.
#include "graph_edit.h"
#include "quantizer_state.h"

#include <stdlib.h>
#include <string.h>

#define SMALLEST_WEIGHTS 1024 // elements; smaller ones are not worth their scales

enum change { CHANGE_HYBRID, CHANGE_DEQUANTIZE, CHANGE_NONE };

struct shrinking {
    struct quantizer *q;
    enum change *changes;            // of each operator
    int32_t *reals, *small, *hybrid; // the result's tensors of each tensor: float32, by DEQUANTIZE, int8; -1
    struct systole_diagnostic reason;
};

static bool is_weights(const struct shrinking *s, const struct systole_operator *op, uint32_t k) {
    const struct systole_graph *graph = &s->q->graph;
    if (op->inputs[k] < 0) {
        return false;
    }
    const struct systole_tensor *tensor = &graph->tensors[op->inputs[k]];
    if (tensor->data == NULL || tensor->dtype != SYSTOLE_FLOAT32) {
        return false;
    }
    if (s->q->options->mode == SYSTOLE_QUANTIZE_FLOAT16) {
        return quantizer_fits_half(tensor);
    }
    struct quantizer_operands operands;
    bool is_bias = quantizer_operands_of(graph, op, &operands) && k == operands.bias_at;
    return !is_bias && systole_tensor_elements(tensor) >= SMALLEST_WEIGHTS;
}

static enum change wanted_change(const struct shrinking *s, const struct systole_operator *op) {
    struct quantizer_operands operands;
    bool hybrid = op->code == SYSTOLE_OP_CONV_2D || op->code == SYSTOLE_OP_DEPTHWISE_CONV_2D ||
                  op->code == SYSTOLE_OP_FULLY_CONNECTED;
    bool dynamic = s->q->options->mode == SYSTOLE_QUANTIZE_DYNAMIC_RANGE;
    if (dynamic && hybrid && quantizer_operands_of(&s->q->graph, op, &operands)) {
        return CHANGE_HYBRID;
    }
    return CHANGE_DEQUANTIZE;
}

static enum systole_status want_hybrid(struct shrinking *s, const struct systole_operator *op,
                                       const struct quantizer_operands *operands, int32_t *index) {
    struct quantizer *q = s->q;
    enum systole_status status = SYSTOLE_OK;
    if (s->hybrid[operands->weights] < 0) {
        bool per_channel = op->code != SYSTOLE_OP_FULLY_CONNECTED || q->options->fc_per_channel;
        status = quantizer_result_copy(q, operands->weights, &s->hybrid[operands->weights]);
        if (status == SYSTOLE_OK) {
            status = quantizer_int8_weights(&q->result.tensors[s->hybrid[operands->weights]], per_channel,
                                            operands->dimension, NULL, q->diagnostic);
        }
    }
    *index = s->hybrid[operands->weights];
    return status;
}

static enum systole_status want_real(struct shrinking *s, int32_t tensor, int32_t *index) {
    enum systole_status status =
        s->reals[tensor] < 0 ? quantizer_result_copy(s->q, tensor, &s->reals[tensor]) : SYSTOLE_OK;
    *index = s->reals[tensor];
    return status;
}

// The constant in its small form with a DEQUANTIZE behind it.
static enum systole_status want_small(struct shrinking *s, int32_t tensor, int32_t *index) {
    struct quantizer *q = s->q;
    bool half = q->options->mode == SYSTOLE_QUANTIZE_FLOAT16;
    enum systole_status status = SYSTOLE_OK;
    int32_t constant;
    if (s->small[tensor] < 0) {
        status = quantizer_result_copy(q, tensor, &constant);
        if (status == SYSTOLE_OK) {
            struct systole_tensor *copy = &q->result.tensors[constant];
            status = half ? quantizer_half(copy, q->diagnostic)
                          : quantizer_int8_weights(copy, false, 0, NULL, q->diagnostic);
        }
        if (status == SYSTOLE_OK) {
            status = quantizer_result_tensor(q, tensor, SYSTOLE_FLOAT32, "_dequantized", &s->small[tensor]);
        }
        if (status == SYSTOLE_OK) {
            status = quantizer_result_unary(q, SYSTOLE_OP_DEQUANTIZE, half ? 3 : 2, constant, s->small[tensor]);
        }
    }
    *index = s->small[tensor];
    return status;
}

static enum systole_status convert_inputs(struct shrinking *s, uint32_t operator_index, int32_t *inputs,
                                          bool *dequantized, bool *is_hybrid) {
    const struct systole_operator *op = &s->q->graph.operators[operator_index];
    enum change change = s->changes[operator_index];
    struct quantizer_operands operands;
    bool has_operands = quantizer_operands_of(&s->q->graph, op, &operands);
    enum systole_status status = SYSTOLE_OK;
    for (uint32_t k = 0; k < op->input_count && status == SYSTOLE_OK; k++) {
        bool weights = is_weights(s, op, k);
        if (op->inputs[k] < 0) {
            inputs[k] = -1;
        } else if (change == CHANGE_NONE || !weights) {
            status = want_real(s, op->inputs[k], &inputs[k]);
        } else if (change == CHANGE_HYBRID && has_operands && k == operands.weights_at) {
            status = want_hybrid(s, op, &operands, &inputs[k]);
            *is_hybrid = true;
        } else {
            status = want_small(s, op->inputs[k], &inputs[k]);
            *dequantized = true;
        }
    }
    return status;
}

// Mixed types came with these versions, asymmetric activations and scales a channel later.
static void set_hybrid_version(struct systole_operator *op, bool per_channel) {
    int32_t version = op->code == SYSTOLE_OP_CONV_2D ? 5 : op->code == SYSTOLE_OP_DEPTHWISE_CONV_2D ? 6 : 9;
    if (op->code == SYSTOLE_OP_FULLY_CONNECTED) {
        op->options.asymmetric_quantize_inputs = true;
        version = per_channel ? 12 : version;
    }
    op->version = version > op->version ? version : op->version;
}

static enum systole_status convert_operator(struct shrinking *s, uint32_t operator_index, bool *again) {
    struct quantizer *q = s->q;
    const struct systole_operator *op = &q->graph.operators[operator_index];
    bool dequantized = false, is_hybrid = false;
    int32_t *inputs = calloc(op->input_count + (size_t)1, sizeof *inputs);
    if (inputs == NULL) {
        return graph_edit_no_memory(q->graph.name, q->diagnostic);
    }
    enum systole_status status = convert_inputs(s, operator_index, inputs, &dequantized, &is_hybrid);
    for (uint32_t k = 0; k < op->output_count && status == SYSTOLE_OK; k++) {
        int32_t ignored;
        status = op->outputs[k] >= 0 ? want_real(s, op->outputs[k], &ignored) : SYSTOLE_OK;
    }
    for (uint32_t k = 0; k < op->intermediate_count && status == SYSTOLE_OK; k++) {
        int32_t ignored;
        status = op->intermediates[k] >= 0 ? want_real(s, op->intermediates[k], &ignored) : SYSTOLE_OK;
    }
    if (status == SYSTOLE_OK) {
        status = quantizer_result_operator(q, operator_index);
    }
    if (status == SYSTOLE_OK) {
        uint32_t index = q->result.operator_count - 1;
        struct systole_operator *made = &q->result.operators[index];
        memcpy(made->inputs, inputs, op->input_count * sizeof *inputs);
        for (uint32_t k = 0; k < op->output_count; k++) {
            made->outputs[k] = op->outputs[k] >= 0 ? s->reals[op->outputs[k]] : -1;
        }
        for (uint32_t k = 0; k < op->intermediate_count; k++) {
            made->intermediates[k] = op->intermediates[k] >= 0 ? s->reals[op->intermediates[k]] : -1;
        }
        if (is_hybrid) {
            set_hybrid_version(made, q->options->fc_per_channel);
        }
        enum change *change = &s->changes[operator_index];
        if ((is_hybrid || dequantized) && !systole_interpreter_supports(&q->result, index, &s->reason)) {
            *change = *change == CHANGE_HYBRID ? CHANGE_DEQUANTIZE : CHANGE_NONE;
            *again = true;
        } else if (dequantized && q->options->mode == SYSTOLE_QUANTIZE_DYNAMIC_RANGE) {
            status = quantizer_leave(q, index, SYSTOLE_LEFT_DEQUANTIZED, "no kernel of mixed types");
        } else if (*change == CHANGE_NONE) {
            status = quantizer_leave(q, index, SYSTOLE_LEFT_UNCHANGED, "its kernel wants float32 constants");
        }
    }
    free(inputs);
    return status;
}

static enum systole_status write_ends(struct shrinking *s, const int32_t *tensors, uint32_t count, int32_t **ends,
                                      uint32_t *written) {
    *ends = calloc(count + (size_t)1, sizeof **ends);
    enum systole_status status = SYSTOLE_OK;
    if (*ends == NULL) {
        return graph_edit_no_memory(s->q->graph.name, s->q->diagnostic);
    }
    for (uint32_t i = 0; i < count && status == SYSTOLE_OK; i++) {
        status = want_real(s, tensors[i], &(*ends)[i]);
        *written = i + 1;
    }
    return status;
}

static enum systole_status write_result(struct shrinking *s, bool *again) {
    struct quantizer *q = s->q;
    const struct systole_graph *graph = &q->graph;
    quantizer_result_clear(q);
    *again = false;
    memcpy(q->result.name, graph->name, sizeof q->result.name);
    for (uint32_t t = 0; t < graph->tensor_count; t++) {
        s->reals[t] = s->small[t] = s->hybrid[t] = -1;
    }
    enum systole_status status =
        write_ends(s, graph->inputs, graph->input_count, &q->result.inputs, &q->result.input_count);
    for (uint32_t i = 0; i < graph->operator_count && status == SYSTOLE_OK; i++) {
        status = convert_operator(s, i, again);
    }
    return status == SYSTOLE_OK
               ? write_ends(s, graph->outputs, graph->output_count, &q->result.outputs, &q->result.output_count)
               : status;
}

enum systole_status quantizer_weights_only(struct quantizer *q) {
    size_t tensors = q->graph.tensor_count + (size_t)1;
    struct shrinking s = {.q = q};
    enum systole_status status = SYSTOLE_OK;
    s.changes = calloc(q->graph.operator_count + (size_t)1, sizeof *s.changes);
    s.reals = calloc(tensors, sizeof *s.reals);
    s.small = calloc(tensors, sizeof *s.small);
    s.hybrid = calloc(tensors, sizeof *s.hybrid);
    if (s.changes == NULL || s.reals == NULL || s.small == NULL || s.hybrid == NULL) {
        status = graph_edit_no_memory(q->graph.name, q->diagnostic);
        goto out;
    }
    for (uint32_t i = 0; i < q->graph.operator_count; i++) {
        s.changes[i] = wanted_change(&s, &q->graph.operators[i]);
    }
    bool again = true;
    while (again && status == SYSTOLE_OK) { // ends: each time an operator is changed less
        status = write_result(&s, &again);
    }
out:
    free(s.hybrid);
    free(s.small);
    free(s.reals);
    free(s.changes);
    return status;
}
