// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The 8-bit quantisation specification's rows: what each operator asks of its tensors, and the operator version with
// which TensorFlow Lite took int8 (its table of versions).
#include "quantizer_state.h"

static const struct quantizer_rule rules[] = {
    {SYSTOLE_OP_CONV_2D, QUANTIZER_WEIGHTS, 3, 0, 0},
    {SYSTOLE_OP_DEPTHWISE_CONV_2D, QUANTIZER_WEIGHTS, 3, 0, 0},
    {SYSTOLE_OP_FULLY_CONNECTED, QUANTIZER_WEIGHTS, 4, 0, 0},
    {SYSTOLE_OP_TRANSPOSE_CONV, QUANTIZER_WEIGHTS, 2, 0, 0},

    {SYSTOLE_OP_ADD, QUANTIZER_FREE, 2, 0, 0},
    {SYSTOLE_OP_SUB, QUANTIZER_FREE, 2, 0, 0},
    {SYSTOLE_OP_MUL, QUANTIZER_FREE, 2, 0, 0},
    {SYSTOLE_OP_SQUARED_DIFFERENCE, QUANTIZER_FREE, 2, 0, 0},
    {SYSTOLE_OP_MEAN, QUANTIZER_FREE, 2, 0, 0},
    {SYSTOLE_OP_SUM, QUANTIZER_FREE, 2, 0, 0},
    {SYSTOLE_OP_PRELU, QUANTIZER_FREE, 1, 0, 0},
    {SYSTOLE_OP_LEAKY_RELU, QUANTIZER_FREE, 2, 0, 0},
    {SYSTOLE_OP_RELU, QUANTIZER_FREE, 2, 0, 0},
    {SYSTOLE_OP_RELU6, QUANTIZER_FREE, 2, 0, 0},
    {SYSTOLE_OP_RELU_N1_TO_1, QUANTIZER_FREE, 1, 0, 0},
    {SYSTOLE_OP_ELU, QUANTIZER_FREE, 1, 0, 0},
    {SYSTOLE_OP_EXP, QUANTIZER_FREE, 2, 0, 0},
    {SYSTOLE_OP_HARD_SWISH, QUANTIZER_FREE, 1, 0, 0},
    {SYSTOLE_OP_ABS, QUANTIZER_FREE, 2, 0, 0},
    {SYSTOLE_OP_RSQRT, QUANTIZER_FREE, 2, 0, 0},
    {SYSTOLE_OP_BATCH_MATMUL, QUANTIZER_FREE, 2, 0, 0},

    {SYSTOLE_OP_AVERAGE_POOL_2D, QUANTIZER_SAME_SCALE, 2, 0, 0},
    {SYSTOLE_OP_MAX_POOL_2D, QUANTIZER_SAME_SCALE, 2, 0, 0},
    {SYSTOLE_OP_CONCATENATION, QUANTIZER_SAME_SCALE, 2, 0, 0},
    {SYSTOLE_OP_MAXIMUM, QUANTIZER_SAME_SCALE, 2, 0, 0},
    {SYSTOLE_OP_MINIMUM, QUANTIZER_SAME_SCALE, 2, 0, 0},
    {SYSTOLE_OP_REDUCE_MAX, QUANTIZER_SAME_SCALE, 2, 0, 0},
    {SYSTOLE_OP_REDUCE_MIN, QUANTIZER_SAME_SCALE, 2, 0, 0},
    {SYSTOLE_OP_RESHAPE, QUANTIZER_SAME_SCALE, 1, 0, 0},
    {SYSTOLE_OP_SQUEEZE, QUANTIZER_SAME_SCALE, 1, 0, 0},
    {SYSTOLE_OP_EXPAND_DIMS, QUANTIZER_SAME_SCALE, 1, 0, 0},
    {SYSTOLE_OP_PAD, QUANTIZER_SAME_SCALE, 2, 0, 0},
    {SYSTOLE_OP_PADV2, QUANTIZER_SAME_SCALE, 2, 0, 0},
    {SYSTOLE_OP_MIRROR_PAD, QUANTIZER_SAME_SCALE, 2, 0, 0},
    {SYSTOLE_OP_SLICE, QUANTIZER_SAME_SCALE, 2, 0, 0},
    {SYSTOLE_OP_STRIDED_SLICE, QUANTIZER_SAME_SCALE, 2, 0, 0},
    {SYSTOLE_OP_SPLIT, QUANTIZER_SAME_SCALE, 2, 0, 0},
    {SYSTOLE_OP_SPLIT_V, QUANTIZER_SAME_SCALE, 2, 0, 0},
    {SYSTOLE_OP_TRANSPOSE, QUANTIZER_SAME_SCALE, 2, 0, 0},
    {SYSTOLE_OP_TILE, QUANTIZER_SAME_SCALE, 3, 0, 0},
    {SYSTOLE_OP_GATHER, QUANTIZER_SAME_SCALE, 2, 0, 0},
    {SYSTOLE_OP_GATHER_ND, QUANTIZER_SAME_SCALE, 1, 0, 0},
    {SYSTOLE_OP_PACK, QUANTIZER_SAME_SCALE, 2, 0, 0},
    {SYSTOLE_OP_UNPACK, QUANTIZER_SAME_SCALE, 2, 0, 0},
    {SYSTOLE_OP_SPACE_TO_DEPTH, QUANTIZER_SAME_SCALE, 2, 0, 0},
    {SYSTOLE_OP_DEPTH_TO_SPACE, QUANTIZER_SAME_SCALE, 1, 0, 0},
    {SYSTOLE_OP_SPACE_TO_BATCH_ND, QUANTIZER_SAME_SCALE, 2, 0, 0},
    {SYSTOLE_OP_BATCH_TO_SPACE_ND, QUANTIZER_SAME_SCALE, 2, 0, 0},
    {SYSTOLE_OP_RESIZE_BILINEAR, QUANTIZER_SAME_SCALE, 2, 0, 0},
    {SYSTOLE_OP_RESIZE_NEAREST_NEIGHBOR, QUANTIZER_SAME_SCALE, 2, 0, 0},
    {SYSTOLE_OP_SELECT, QUANTIZER_SAME_SCALE, 2, 0, 0},
    {SYSTOLE_OP_SELECT_V2, QUANTIZER_SAME_SCALE, 1, 0, 0},

    {SYSTOLE_OP_SOFTMAX, QUANTIZER_FIXED, 2, 1.0f / 256, -128},
    {SYSTOLE_OP_LOGISTIC, QUANTIZER_FIXED, 2, 1.0f / 256, -128},
    {SYSTOLE_OP_TANH, QUANTIZER_FIXED, 2, 1.0f / 128, 0},
    {SYSTOLE_OP_L2_NORMALIZATION, QUANTIZER_FIXED, 2, 1.0f / 128, 0},
    {SYSTOLE_OP_LOG_SOFTMAX, QUANTIZER_FIXED, 2, 16.0f / 256, 127},

    {SYSTOLE_OP_ARG_MAX, QUANTIZER_READS, 2, 0, 0},
    {SYSTOLE_OP_ARG_MIN, QUANTIZER_READS, 2, 0, 0},
    {SYSTOLE_OP_SHAPE, QUANTIZER_READS, 1, 0, 0},
    {SYSTOLE_OP_LESS, QUANTIZER_READS, 2, 0, 0},
    {SYSTOLE_OP_LESS_EQUAL, QUANTIZER_READS, 2, 0, 0},
    {SYSTOLE_OP_GREATER, QUANTIZER_READS, 2, 0, 0},
    {SYSTOLE_OP_GREATER_EQUAL, QUANTIZER_READS, 2, 0, 0},
    {SYSTOLE_OP_EQUAL, QUANTIZER_READS, 2, 0, 0},
    {SYSTOLE_OP_NOT_EQUAL, QUANTIZER_READS, 2, 0, 0},
};

const struct quantizer_rule *quantizer_rule_of(int32_t code) {
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (rules[i].code == code) {
            return &rules[i];
        }
    }
    return NULL;
}

static bool is_constant(const struct systole_graph *graph, int32_t tensor) {
    return tensor >= 0 && graph->tensors[tensor].data != NULL;
}

bool quantizer_operands_of(const struct systole_graph *graph, const struct systole_operator *op,
                           struct quantizer_operands *operands) {
    const struct quantizer_rule *rule = quantizer_rule_of(op->code);
    if (rule == NULL || rule->form != QUANTIZER_WEIGHTS) {
        return false;
    }
    uint32_t activation_at = op->code == SYSTOLE_OP_TRANSPOSE_CONV ? 2 : 0;
    *operands = (struct quantizer_operands){.weights_at = 1, .bias_at = activation_at == 0 ? 2 : 3, .bias = -1};
    if (op->input_count <= activation_at || op->input_count < 2 || op->output_count < 1 ||
        op->inputs[activation_at] < 0 || op->inputs[1] < 0 || op->outputs[0] < 0) {
        return false;
    }
    operands->activation = op->inputs[activation_at];
    operands->weights = op->inputs[1];
    if (op->input_count > operands->bias_at) {
        operands->bias = op->inputs[operands->bias_at];
    }
    const struct systole_tensor *weights = &graph->tensors[operands->weights];
    operands->dimension = op->code == SYSTOLE_OP_DEPTHWISE_CONV_2D ? weights->rank - 1 : 0;
    bool is_float = graph->tensors[operands->activation].dtype == SYSTOLE_FLOAT32 &&
                    graph->tensors[op->outputs[0]].dtype == SYSTOLE_FLOAT32 && weights->dtype == SYSTOLE_FLOAT32 &&
                    (operands->bias < 0 || graph->tensors[operands->bias].dtype == SYSTOLE_FLOAT32);
    return is_float && is_constant(graph, operands->weights) && weights->rank > 0 &&
           (operands->bias < 0 ||
            (is_constant(graph, operands->bias) &&
             systole_tensor_elements(&graph->tensors[operands->bias]) == (size_t)weights->shape[operands->dimension]));
}

static const char *refusal(const struct systole_graph *graph, const struct systole_operator *op) {
    const struct quantizer_rule *rule = quantizer_rule_of(op->code);
    struct quantizer_operands operands;
    if (rule == NULL) {
        return "the operator has no int8 form";
    }
    if (op->options.activation > SYSTOLE_ACTIVATION_RELU6) {
        return "its fused activation has no int8 form";
    }
    if (rule->form == QUANTIZER_WEIGHTS && !quantizer_operands_of(graph, op, &operands)) {
        return "its weights or its bias are not constant";
    }
    return NULL;
}

bool systole_quantize_has_integer_form(const struct systole_graph *graph, uint32_t operator_index,
                                       const char **reason) {
    const char *text = refusal(graph, &graph->operators[operator_index]);
    if (reason != NULL) {
        *reason = text;
    }
    return text == NULL;
}
