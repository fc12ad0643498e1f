// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// From scales to integers, as TensorFlow Lite's operators prepare themselves: which products are taken in double, which
// in float, and where the activation clamps. Each function names the routine it computes the same numbers as.
#include "quantised_parameters.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static enum systole_status refuse(struct systole_diagnostic *diagnostic, const struct systole_graph *graph,
                                  uint32_t operator_index, const char *what, const char *problem) {
    char where[64];
    snprintf(where, sizeof where, "operator %u %s", operator_index,
             systole_operator_name(graph->operators[operator_index].code));
    return systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, where, "quantise the model to 8 bits with scales", "%s %s",
                        what, problem);
}

static bool is_eight_bit(const struct systole_tensor *tensor) {
    return tensor->dtype == SYSTOLE_INT8 || tensor->dtype == SYSTOLE_UINT8;
}

static bool zero_point_in_range(const struct systole_tensor *tensor, int64_t zero_point) {
    return tensor->dtype == SYSTOLE_UINT8 ? zero_point >= 0 && zero_point <= 255
                                          : zero_point >= -128 && zero_point <= 127;
}

static bool scale_is_good(float scale) {
    return isfinite(scale) && scale > 0.0f;
}

enum systole_status systole_tensor_affine(const struct systole_graph *graph, uint32_t operator_index, int32_t tensor,
                                          const char *what, float *scale, int32_t *zero_point,
                                          struct systole_diagnostic *diagnostic) {
    if (tensor < 0) {
        return refuse(diagnostic, graph, operator_index, what, "is left out");
    }
    const struct systole_tensor *t = &graph->tensors[tensor];
    if (!is_eight_bit(t)) {
        return refuse(diagnostic, graph, operator_index, what, "is not of an 8-bit type");
    }
    if (t->quantisation.count != 1) {
        return refuse(diagnostic, graph, operator_index, what, "does not have exactly one scale");
    }
    if (!scale_is_good(t->quantisation.scale[0])) {
        return refuse(diagnostic, graph, operator_index, what, "has a scale that is not positive and finite");
    }
    if (!zero_point_in_range(t, t->quantisation.zero_point[0])) {
        return refuse(diagnostic, graph, operator_index, what, "has a zero point outside its type");
    }
    *scale = t->quantisation.scale[0];
    *zero_point = (int32_t)t->quantisation.zero_point[0];
    return SYSTOLE_OK;
}

static bool has_operands(const struct systole_operator *op, uint32_t inputs) {
    return op->input_count >= inputs && op->output_count >= 1;
}

// kernel_util.cc PopulateConvolutionQuantizationParams for int8: doubles throughout. Legacy uint8, and a fully
// connected layer with one weight scale: GetQuantizedConvolutionMultipler, whose product is a float.
static double effective_scale(float input, float weight, float output, bool float_product) {
    return float_product ? (double)(input * weight) / (double)output : (double)input * (double)weight / (double)output;
}

enum systole_status systole_convolution_parameters_derive(const struct systole_graph *graph, uint32_t operator_index,
                                                          struct systole_convolution_parameters *parameters,
                                                          struct systole_diagnostic *diagnostic) {
    *parameters = (struct systole_convolution_parameters){0};
    const struct systole_operator *op = &graph->operators[operator_index];
    uint32_t first = op->code == SYSTOLE_OP_TRANSPOSE_CONV ? 2 : 0; // behind the output's shape and the weights
    if (!has_operands(op, first == 2 ? 3 : 2) || op->inputs[1] < 0) {
        return refuse(diagnostic, graph, operator_index, "operator", "lacks an input or output");
    }
    float input_scale = 1.0f, output_scale = 1.0f;
    enum systole_status status = systole_tensor_affine(graph, operator_index, op->inputs[first], "input", &input_scale,
                                                       &parameters->input_zero_point, diagnostic);
    if (status == SYSTOLE_OK) {
        status = systole_tensor_affine(graph, operator_index, op->outputs[0], "output", &output_scale,
                                       &parameters->output_zero_point, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    const struct systole_tensor *input = &graph->tensors[op->inputs[first]];
    const struct systole_tensor *weights = &graph->tensors[op->inputs[1]];
    const struct systole_tensor *output = &graph->tensors[op->outputs[0]];
    const struct systole_quantisation *q = &weights->quantisation;
    int32_t dimension = op->code == SYSTOLE_OP_DEPTHWISE_CONV_2D ? weights->rank - 1 : 0;
    if (!is_eight_bit(weights) || weights->rank < 1) {
        return refuse(diagnostic, graph, operator_index, "weights", "are not of an 8-bit type");
    }
    uint32_t channels = (uint32_t)weights->shape[dimension];
    if (q->count != 1 && (q->count != channels || q->dimension != dimension)) {
        return refuse(diagnostic, graph, operator_index, "weights",
                      "have neither one scale nor one for each output channel");
    }
    for (uint32_t c = 0; c < q->count; c++) {
        if (!scale_is_good(q->scale[c])) {
            return refuse(diagnostic, graph, operator_index, "weights", "have a scale that is not positive and finite");
        }
        if (!zero_point_in_range(weights, q->zero_point[c]) || q->zero_point[c] != q->zero_point[0]) {
            return refuse(diagnostic, graph, operator_index, "weights",
                          "have zero points outside their type or different ones");
        }
    }
    // integer_ops/conv.h knows no zero point of int8 weights; its fully connected sibling does.
    if (weights->dtype == SYSTOLE_INT8 && q->zero_point[0] != 0 && op->code != SYSTOLE_OP_FULLY_CONNECTED) {
        return refuse(diagnostic, graph, operator_index, "weights", "are int8 with a zero point other than 0");
    }
    parameters->weight_zero_point = (int32_t)q->zero_point[0];
    parameters->channels = channels;
    parameters->multipliers = calloc((size_t)channels + 1, sizeof *parameters->multipliers);
    if (parameters->multipliers == NULL) {
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, "", "", "no memory for %u multipliers", channels);
    }
    bool float_product = input->dtype == SYSTOLE_UINT8 || (op->code == SYSTOLE_OP_FULLY_CONNECTED && q->count == 1);
    for (uint32_t c = 0; c < channels; c++) {
        float weight_scale = q->scale[q->count == 1 ? 0 : c];
        parameters->multipliers[c] =
            systole_quantize_multiplier(effective_scale(input_scale, weight_scale, output_scale, float_product));
    }
    systole_activation_range(output, op->options.activation, &parameters->clamp_min, &parameters->clamp_max);
    return SYSTOLE_OK;
}

void systole_convolution_parameters_free(struct systole_convolution_parameters *parameters) {
    free(parameters->multipliers);
    parameters->multipliers = NULL;
}

// add.cc PrepareGeneralSub / Prepare for 8 bits: both inputs are brought to twice the larger scale.
enum systole_status systole_add_parameters_derive(const struct systole_graph *graph, uint32_t operator_index,
                                                  struct systole_add_parameters *parameters,
                                                  struct systole_diagnostic *diagnostic) {
    *parameters = (struct systole_add_parameters){.left_shift = 20};
    const struct systole_operator *op = &graph->operators[operator_index];
    if (!has_operands(op, 2)) {
        return refuse(diagnostic, graph, operator_index, "operator", "lacks an input or output");
    }
    float scale1 = 1.0f, scale2 = 1.0f, output_scale = 1.0f;
    enum systole_status status = systole_tensor_affine(graph, operator_index, op->inputs[0], "first input", &scale1,
                                                       &parameters->input_zero_point, diagnostic);
    if (status == SYSTOLE_OK) {
        status = systole_tensor_affine(graph, operator_index, op->inputs[1], "second input", &scale2,
                                       &parameters->input2_zero_point, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = systole_tensor_affine(graph, operator_index, op->outputs[0], "output", &output_scale,
                                       &parameters->output_zero_point, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    double twice_largest = 2.0 * (double)(scale1 > scale2 ? scale1 : scale2);
    parameters->input = systole_quantize_multiplier((double)scale1 / twice_largest);
    parameters->input2 = systole_quantize_multiplier((double)scale2 / twice_largest);
    parameters->output =
        systole_quantize_multiplier(twice_largest / ((double)(1 << parameters->left_shift) * (double)output_scale));
    systole_activation_range(&graph->tensors[op->outputs[0]], op->options.activation, &parameters->clamp_min,
                             &parameters->clamp_max);
    return SYSTOLE_OK;
}

enum systole_status systole_mean_axes(const struct systole_graph *graph, uint32_t operator_index,
                                      bool axes[SYSTOLE_MAX_RANK], uint32_t *count,
                                      struct systole_diagnostic *diagnostic) {
    const struct systole_operator *op = &graph->operators[operator_index];
    if (!has_operands(op, 2) || op->inputs[0] < 0 || op->inputs[1] < 0) {
        return refuse(diagnostic, graph, operator_index, "operator", "lacks an input or output");
    }
    const struct systole_tensor *input = &graph->tensors[op->inputs[0]];
    const struct systole_tensor *axis = &graph->tensors[op->inputs[1]];
    if (axis->dtype != SYSTOLE_INT32 || axis->data == NULL) {
        return refuse(diagnostic, graph, operator_index, "axes", "are not a constant of type int32");
    }
    const int32_t *values = (const int32_t *)(const void *)axis->data;
    uint64_t product = 1;
    for (int i = 0; i < SYSTOLE_MAX_RANK; i++) {
        axes[i] = false;
    }
    for (size_t i = 0; i < systole_tensor_elements(axis); i++) {
        int64_t a = values[i] < 0 ? (int64_t)values[i] + input->rank : values[i];
        if (a < 0 || a >= input->rank) {
            return refuse(diagnostic, graph, operator_index, "axes", "are not all axes of the input");
        }
        product *= axes[a] ? 1 : (uint64_t)input->shape[a];
        axes[a] = true;
    }
    *count = (uint32_t)product; // at most the input's elements, below 2^31
    return SYSTOLE_OK;
}

enum systole_status systole_rescale_parameters_derive(const struct systole_graph *graph, uint32_t operator_index,
                                                      struct systole_rescale_parameters *parameters,
                                                      struct systole_diagnostic *diagnostic) {
    *parameters = (struct systole_rescale_parameters){0};
    const struct systole_operator *op = &graph->operators[operator_index];
    if (!has_operands(op, 1)) {
        return refuse(diagnostic, graph, operator_index, "operator", "lacks an input or output");
    }
    float input_scale = 1.0f, output_scale = 1.0f;
    enum systole_status status = systole_tensor_affine(graph, operator_index, op->inputs[0], "input", &input_scale,
                                                       &parameters->input_zero_point, diagnostic);
    if (status == SYSTOLE_OK) {
        status = systole_tensor_affine(graph, operator_index, op->outputs[0], "output", &output_scale,
                                       &parameters->output_zero_point, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    double real = (double)input_scale / (double)output_scale;
    enum systole_activation activation = SYSTOLE_ACTIVATION_NONE;
    if (op->code == SYSTOLE_OP_MEAN || op->code == SYSTOLE_OP_SUM) {
        bool axes[SYSTOLE_MAX_RANK];
        uint32_t count = 1;
        status = systole_mean_axes(graph, operator_index, axes, &count, diagnostic);
        if (status != SYSTOLE_OK) {
            return status;
        }
        parameters->multiplier = systole_mean_multiplier(real, op->code == SYSTOLE_OP_MEAN ? count : 1);
    } else if (op->code == SYSTOLE_OP_QUANTIZE) { // quantize.cc: double
        parameters->multiplier = systole_quantize_multiplier(real);
    } else { // activations.cc ReluPrepare divides floats
        parameters->multiplier = systole_quantize_multiplier((double)(input_scale / output_scale));
        activation = op->code == SYSTOLE_OP_RELU6          ? SYSTOLE_ACTIVATION_RELU6
                     : op->code == SYSTOLE_OP_RELU_N1_TO_1 ? SYSTOLE_ACTIVATION_RELU_N1_TO_1
                                                           : SYSTOLE_ACTIVATION_RELU;
    }
    systole_activation_range(&graph->tensors[op->outputs[0]], activation, &parameters->clamp_min,
                             &parameters->clamp_max);
    return SYSTOLE_OK;
}
