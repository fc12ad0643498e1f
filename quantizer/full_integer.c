// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// From a calibrated float graph to int8. Tensors that operators keep at one scale form groups (union-find), whose range
// is that of the members which such operators do not compute; a tensor with a given scale (SOFTMAX's output) shares its
// scale only with what is computed from it alone. Then operators are written in order: every float tensor may exist in
// int8, in float32 or both, and a reader that wants what does not exist yet gets a QUANTIZE or DEQUANTIZE before it.
// An operator that the CPU's kernels refuse in int8 stays float, and everything is written again.
#include "graph_edit.h"
#include "quantizer_state.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct shared_weights {
    int32_t origin, dimension, tensor;
};
struct conversion {
    struct quantizer *q;
    bool *is_integer;    // of each operator
    char (*reasons)[96]; // why not
    int32_t *group;      // of each tensor, towards its root
    bool *is_fixed;      // of roots
    bool *is_source;     // its range counts for the group
    struct quantizer_range *ranges;
    float *scales; // of roots
    int32_t *zero_points;
    int32_t *integers, *reals; // the result's tensors in int8, and as they were; -1
    struct shared_weights *weights;
    uint32_t weight_count;
};

static bool is_float(const struct systole_graph *graph, int32_t tensor) {
    return tensor >= 0 && graph->tensors[tensor].dtype == SYSTOLE_FLOAT32;
}

static bool touches_float(const struct systole_graph *graph, const struct systole_operator *op) {
    bool found = false;
    for (uint32_t k = 0; k < op->input_count; k++) {
        found = found || is_float(graph, op->inputs[k]);
    }
    for (uint32_t k = 0; k < op->output_count; k++) {
        found = found || is_float(graph, op->outputs[k]);
    }
    return found;
}

static int32_t root_of(struct conversion *c, int32_t tensor) {
    while (c->group[tensor] != tensor) {
        tensor = c->group[tensor] = c->group[c->group[tensor]];
    }
    return tensor;
}

static void unite(struct conversion *c, int32_t a, int32_t b) {
    int32_t from = root_of(c, a), to = root_of(c, b);
    if (c->is_fixed[from]) {
        int32_t swap = from;
        from = to;
        to = swap;
    }
    c->group[from] = to;
}

static struct quantizer_range widest(struct quantizer_range a, struct quantizer_range b) {
    return (struct quantizer_range){fmin(a.low, b.low), fmax(a.high, b.high)};
}

static bool same_fixed(struct conversion *c, int32_t a, int32_t b) {
    return c->scales[a] == c->scales[b] && c->zero_points[a] == c->zero_points[b];
}

// The groups of a scale-keeping operator's tensors. Inputs with given scales stay what they are and are requantised,
// unless all have the same.
static void join(struct conversion *c, const struct systole_operator *op) {
    const struct systole_graph *graph = &c->q->graph;
    int32_t first = -1, common = -1; // of the first output; of what decides the scale
    bool all_alike = true;
    for (uint32_t k = 0; k < op->output_count; k++) {
        if (is_float(graph, op->outputs[k])) {
            c->is_source[op->outputs[k]] = false;
            first = first < 0 ? op->outputs[k] : first;
            unite(c, op->outputs[k], first);
        }
    }
    if (first < 0) {
        return;
    }
    for (uint32_t k = 0; k < op->input_count; k++) {
        if (is_float(graph, op->inputs[k])) {
            int32_t root = root_of(c, op->inputs[k]);
            common = common < 0 ? root : common;
            all_alike = all_alike && c->is_fixed[root] && c->is_fixed[common] && same_fixed(c, root, common);
        }
    }
    if (common >= 0 && all_alike) {
        unite(c, first, common);
        return;
    }
    for (uint32_t k = 0; k < op->input_count; k++) {
        if (!is_float(graph, op->inputs[k])) {
            continue;
        }
        if (!c->is_fixed[root_of(c, op->inputs[k])]) {
            unite(c, op->inputs[k], first);
        } else {
            c->ranges[first] =
                c->is_source[first] ? widest(c->ranges[first], c->ranges[op->inputs[k]]) : c->ranges[op->inputs[k]];
            c->is_source[first] = true;
        }
    }
}

// Gives a tensor its scale, whatever was seen.
static void fix(struct conversion *c, int32_t tensor, float scale, int32_t zero_point) {
    c->is_fixed[tensor] = true;
    c->scales[tensor] = scale;
    c->zero_points[tensor] = zero_point;
    c->ranges[tensor] =
        (struct quantizer_range){(double)scale * (-128 - zero_point), (double)scale * (127 - zero_point)};
}

static void form_groups(struct conversion *c) {
    const struct systole_graph *graph = &c->q->graph;
    for (uint32_t t = 0; t < graph->tensor_count; t++) {
        c->group[t] = (int32_t)t;
        c->is_fixed[t] = false;
        c->is_source[t] = true;
        c->ranges[t] = c->q->ranges[t];
    }
    for (uint32_t i = 0; c->q->options->input_scale > 0 && i < graph->input_count; i++) {
        if (is_float(graph, graph->inputs[i])) {
            fix(c, graph->inputs[i], c->q->options->input_scale, c->q->options->input_zero_point);
        }
    }
    for (uint32_t i = 0; i < graph->operator_count; i++) {
        const struct systole_operator *op = &graph->operators[i];
        const struct quantizer_rule *rule = c->is_integer[i] ? quantizer_rule_of(op->code) : NULL;
        if (rule != NULL && rule->form == QUANTIZER_FIXED && op->output_count > 0 && op->outputs[0] >= 0) {
            fix(c, op->outputs[0], rule->scale, rule->zero_point);
        } else if (rule != NULL && rule->form == QUANTIZER_SAME_SCALE) {
            join(c, op);
        }
    }
    for (uint32_t t = 0; t < graph->tensor_count; t++) {
        int32_t root = root_of(c, (int32_t)t);
        if (c->is_source[t] && root != (int32_t)t) {
            c->ranges[root] = c->is_source[root] ? widest(c->ranges[root], c->ranges[t]) : c->ranges[t];
            c->is_source[root] = true;
        }
    }
    for (uint32_t t = 0; t < graph->tensor_count; t++) {
        if (c->group[t] == (int32_t)t && !c->is_fixed[t]) {
            quantizer_affine(c->ranges[t], &c->scales[t], &c->zero_points[t]);
        }
    }
}

// ---- Tensors of the result

static enum systole_status set_scale(struct conversion *c, int32_t index, float scale, int32_t zero_point) {
    return graph_edit_quantise(&c->q->result.tensors[index], 1, &scale, zero_point, 0, c->q->diagnostic);
}

static enum systole_status add_integer(struct conversion *c, int32_t tensor, const char *suffix) {
    int32_t root = root_of(c, tensor);
    enum systole_status status = quantizer_result_tensor(c->q, tensor, SYSTOLE_INT8, suffix, &c->integers[tensor]);
    return status == SYSTOLE_OK ? set_scale(c, c->integers[tensor], c->scales[root], c->zero_points[root]) : status;
}

// The tensor as it was: a copy, or by DEQUANTIZE.
static enum systole_status want_real(struct conversion *c, int32_t tensor, int32_t *index) {
    struct quantizer *q = c->q;
    enum systole_status status = SYSTOLE_OK;
    if (c->reals[tensor] < 0 && c->integers[tensor] >= 0 && q->graph.tensors[tensor].data == NULL) {
        status = quantizer_result_tensor(q, tensor, SYSTOLE_FLOAT32, "_dequantized", &c->reals[tensor]);
        if (status == SYSTOLE_OK) {
            status = quantizer_result_unary(q, SYSTOLE_OP_DEQUANTIZE, 2, c->integers[tensor], c->reals[tensor]);
        }
    } else if (c->reals[tensor] < 0) {
        status = quantizer_result_copy(q, tensor, &c->reals[tensor]);
    }
    *index = c->reals[tensor];
    return status;
}

static enum systole_status want_integer(struct conversion *c, int32_t tensor, int32_t *index) {
    struct quantizer *q = c->q;
    int32_t root = root_of(c, tensor);
    enum systole_status status = SYSTOLE_OK;
    if (c->integers[tensor] < 0 && q->graph.tensors[tensor].data != NULL) {
        status = quantizer_result_copy(q, tensor, &c->integers[tensor]);
        if (status == SYSTOLE_OK) {
            status = quantizer_int8_constant(&q->result.tensors[c->integers[tensor]], c->scales[root],
                                             c->zero_points[root], q->diagnostic);
        }
    } else if (c->integers[tensor] < 0) {
        int32_t real;
        status = want_real(c, tensor, &real);
        if (status == SYSTOLE_OK) {
            status = add_integer(c, tensor, "_quantized");
        }
        if (status == SYSTOLE_OK) {
            status = quantizer_result_unary(q, SYSTOLE_OP_QUANTIZE, 1, real, c->integers[tensor]);
        }
    }
    *index = c->integers[tensor];
    return status;
}

// The tensor at the scale of another's group.
static enum systole_status want_at_scale(struct conversion *c, int32_t tensor, int32_t like, int32_t *index) {
    int32_t root = root_of(c, like), from;
    enum systole_status status = want_integer(c, tensor, &from);
    *index = from;
    if (status != SYSTOLE_OK || same_fixed(c, root_of(c, tensor), root)) {
        return status;
    }
    status = quantizer_result_tensor(c->q, tensor, SYSTOLE_INT8, "_rescaled", index);
    if (status == SYSTOLE_OK) {
        status = set_scale(c, *index, c->scales[root], c->zero_points[root]);
    }
    return status == SYSTOLE_OK ? quantizer_result_unary(c->q, SYSTOLE_OP_QUANTIZE, 1, from, *index) : status;
}

// ---- Operators with weights

// Scales so that the biases stay within their integers.
static void bound_scales(const struct systole_tensor *bias, float input_scale, uint32_t scales, double *smallest) {
    const float *values = bias != NULL ? (const float *)(const void *)bias->data : NULL;
    size_t count = bias != NULL ? systole_tensor_elements(bias) : 0;
    for (uint32_t c = 0; c < scales; c++) {
        smallest[c] = 0;
    }
    for (size_t i = 0; i < count; i++) {
        double *s = &smallest[scales <= 1 ? 0 : i % scales];
        *s = fmax(*s, fabs((double)values[i]) / ((double)input_scale * 0x1p30));
    }
}

static enum systole_status want_weights(struct conversion *c, const struct quantizer_operands *operands,
                                        bool per_channel, float input_scale, int32_t *index) {
    struct quantizer *q = c->q;
    const struct systole_tensor *weights = &q->graph.tensors[operands->weights];
    const struct systole_tensor *bias = operands->bias >= 0 ? &q->graph.tensors[operands->bias] : NULL;
    uint32_t scales = per_channel ? (uint32_t)weights->shape[operands->dimension] : 1;
    double *smallest = calloc(scales, sizeof *smallest);
    struct shared_weights *grown = realloc(c->weights, (c->weight_count + (size_t)1) * sizeof *grown);
    c->weights = grown != NULL ? grown : c->weights;
    if (smallest == NULL || grown == NULL) {
        free(smallest);
        return graph_edit_no_memory(q->graph.name, q->diagnostic);
    }
    bound_scales(bias, input_scale, scales, smallest);
    for (uint32_t i = 0; i < c->weight_count; i++) {
        const struct systole_quantisation *shared = &q->result.tensors[c->weights[i].tensor].quantisation;
        bool fits = c->weights[i].origin == operands->weights && shared->count == scales &&
                    (scales == 1 || c->weights[i].dimension == operands->dimension);
        for (uint32_t k = 0; fits && k < scales; k++) {
            fits = (double)shared->scale[k] >= smallest[k];
        }
        if (fits) {
            *index = c->weights[i].tensor;
            free(smallest);
            return SYSTOLE_OK;
        }
    }
    enum systole_status status = quantizer_result_copy(q, operands->weights, index);
    if (status == SYSTOLE_OK) {
        status = quantizer_int8_weights(&q->result.tensors[*index], per_channel, operands->dimension, smallest,
                                        q->diagnostic);
    }
    free(smallest);
    c->weights[c->weight_count++] = (struct shared_weights){operands->weights, operands->dimension, *index};
    return status;
}

// What rounding the weights adds to each output on average (Nagel et al., "Data-Free Quantization Through Weight
// Equalization and Bias Correction"), from the mean of each input channel; taken off the float bias.
static void correct_bias(struct conversion *c, const struct systole_operator *op,
                         const struct quantizer_operands *operands, int32_t weights, float *bias) {
    const struct systole_tensor *real = &c->q->graph.tensors[operands->weights];
    const struct systole_tensor *rounded = &c->q->result.tensors[weights];
    const struct systole_quantisation *q = &rounded->quantisation;
    const float *values = (const float *)(const void *)real->data;
    const double *means = c->q->means[operands->activation];
    const struct systole_tensor *input = &c->q->graph.tensors[operands->activation];
    size_t inputs = input->rank > 0 ? (size_t)input->shape[input->rank - 1] : 1;
    size_t outputs = (size_t)real->shape[operands->dimension], count = systole_tensor_elements(real);
    size_t taps = count / outputs, multiplier = outputs / inputs;
    bool depthwise = op->code == SYSTOLE_OP_DEPTHWISE_CONV_2D;
    for (size_t i = 0; i < count; i++) {
        size_t output = depthwise ? i % outputs : i / taps;
        size_t channel = depthwise ? output / (multiplier > 0 ? multiplier : 1) : i;
        double scale = (double)q->scale[q->count == 1 ? 0 : output];
        double error = scale * (double)(int8_t)rounded->data[i] - (double)values[i];
        bias[output] -= (float)(error * means[channel % inputs]);
    }
}

static enum systole_status want_bias(struct conversion *c, const struct systole_operator *op,
                                     const struct quantizer_operands *operands, int32_t weights, float input_scale,
                                     int32_t *index) {
    struct quantizer *q = c->q;
    *index = -1;
    if (operands->bias < 0) {
        return SYSTOLE_OK;
    }
    enum systole_status status = quantizer_result_copy(q, operands->bias, index);
    if (status == SYSTOLE_OK) {
        struct systole_tensor *bias = &q->result.tensors[*index];
        if (q->options->bias_correction && q->means[operands->activation] != NULL) {
            correct_bias(c, op, operands, weights, (float *)(void *)bias->data);
            q->report.corrected++;
        }
        status = quantizer_int32_bias(bias, input_scale, &q->result.tensors[weights].quantisation, q->diagnostic);
    }
    return status;
}

static int32_t version_of(const struct systole_operator *op, const struct quantizer_rule *rule, bool per_channel) {
    int32_t version = rule->version;
    if (op->code == SYSTOLE_OP_FULLY_CONNECTED) {
        version = per_channel ? 12 : op->options.keep_dims ? 5 : version;
    }
    if (op->code == SYSTOLE_OP_TRANSPOSE_CONV && op->input_count > 3) {
        version = 3;
    }
    if ((op->code == SYSTOLE_OP_RESIZE_BILINEAR || op->code == SYSTOLE_OP_RESIZE_NEAREST_NEIGHBOR) &&
        op->options.half_pixel_centers) {
        version = 3;
    }
    return version > op->version ? version : op->version;
}

// ---- Operators of the result

static enum systole_status convert_inputs(struct conversion *c, uint32_t operator_index, int32_t *inputs) {
    struct quantizer *q = c->q;
    const struct systole_operator *op = &q->graph.operators[operator_index];
    const struct quantizer_rule *rule = c->is_integer[operator_index] ? quantizer_rule_of(op->code) : NULL;
    struct quantizer_operands operands;
    bool has_weights = rule != NULL && quantizer_operands_of(&q->graph, op, &operands);
    enum systole_status status = SYSTOLE_OK;
    for (uint32_t k = 0; k < op->input_count && status == SYSTOLE_OK; k++) {
        int32_t tensor = op->inputs[k];
        if (tensor < 0) {
            inputs[k] = -1;
        } else if (rule == NULL || !is_float(&q->graph, tensor)) {
            status = want_real(c, tensor, &inputs[k]);
        } else if (has_weights && (k == operands.weights_at || k == operands.bias_at)) {
            inputs[k] = -1; // below
        } else if (rule->form == QUANTIZER_SAME_SCALE) {
            status = want_at_scale(c, tensor, op->outputs[0], &inputs[k]);
        } else {
            status = want_integer(c, tensor, &inputs[k]);
        }
    }
    if (status == SYSTOLE_OK && has_weights) {
        bool per_channel = op->code != SYSTOLE_OP_FULLY_CONNECTED || q->options->fc_per_channel;
        float input_scale = c->scales[root_of(c, operands.activation)];
        status = want_weights(c, &operands, per_channel, input_scale, &inputs[operands.weights_at]);
        if (status == SYSTOLE_OK && op->input_count > operands.bias_at) {
            status = want_bias(c, op, &operands, inputs[operands.weights_at], input_scale, &inputs[operands.bias_at]);
        }
    }
    return status;
}

static enum systole_status convert_operator(struct conversion *c, uint32_t operator_index) {
    struct quantizer *q = c->q;
    const struct systole_operator *op = &q->graph.operators[operator_index];
    const struct quantizer_rule *rule = c->is_integer[operator_index] ? quantizer_rule_of(op->code) : NULL;
    int32_t *inputs = calloc(op->input_count + (size_t)1, sizeof *inputs);
    if (inputs == NULL) {
        return graph_edit_no_memory(q->graph.name, q->diagnostic);
    }
    enum systole_status status = convert_inputs(c, operator_index, inputs);
    for (uint32_t k = 0; k < op->output_count && status == SYSTOLE_OK; k++) {
        int32_t tensor = op->outputs[k];
        if (tensor >= 0 && rule != NULL && is_float(&q->graph, tensor)) {
            status = add_integer(c, tensor, "");
        } else if (tensor >= 0) {
            status = quantizer_result_copy(q, tensor, &c->reals[tensor]);
        }
    }
    if (status == SYSTOLE_OK) {
        status = quantizer_result_operator(q, operator_index);
    }
    for (uint32_t k = 0; k < op->intermediate_count && status == SYSTOLE_OK; k++) {
        int32_t *intermediate = &q->result.operators[q->result.operator_count - 1].intermediates[k];
        status = *intermediate >= 0 ? want_real(c, *intermediate, intermediate) : SYSTOLE_OK;
    }
    if (status == SYSTOLE_OK) {
        struct systole_operator *made = &q->result.operators[q->result.operator_count - 1];
        memcpy(made->inputs, inputs, op->input_count * sizeof *inputs);
        for (uint32_t k = 0; k < op->output_count; k++) {
            int32_t tensor = op->outputs[k];
            bool integer = tensor >= 0 && rule != NULL && is_float(&q->graph, tensor);
            made->outputs[k] = tensor < 0 ? -1 : integer ? c->integers[tensor] : c->reals[tensor];
        }
        made->version = rule != NULL ? version_of(op, rule, q->options->fc_per_channel) : op->version;
        if (rule == NULL && touches_float(&q->graph, op)) {
            status = quantizer_leave(q, q->result.operator_count - 1, SYSTOLE_LEFT_FLOAT, c->reasons[operator_index]);
        }
    }
    free(inputs);
    return status;
}

// uint8 beside int8: the same scale, zero points 128 apart.
static enum systole_status add_unsigned(struct conversion *c, int32_t tensor, int32_t *index) {
    int32_t root = root_of(c, tensor);
    enum systole_status status = quantizer_result_tensor(c->q, tensor, SYSTOLE_UINT8, "_uint8", index);
    return status == SYSTOLE_OK ? set_scale(c, *index, c->scales[root], c->zero_points[root] + 128) : status;
}

static enum systole_status write_inputs(struct conversion *c) {
    struct quantizer *q = c->q;
    enum systole_status status = SYSTOLE_OK;
    q->result.inputs = calloc(q->graph.input_count + (size_t)1, sizeof *q->result.inputs);
    if (q->result.inputs == NULL) {
        return graph_edit_no_memory(q->graph.name, q->diagnostic);
    }
    for (uint32_t i = 0; i < q->graph.input_count && status == SYSTOLE_OK; i++) {
        int32_t tensor = q->graph.inputs[i], *index = &q->result.inputs[i];
        if (q->options->io == SYSTOLE_FLOAT32 || !is_float(&q->graph, tensor) ||
            q->graph.tensors[tensor].data != NULL) {
            status = want_real(c, tensor, index);
        } else if (q->options->io == SYSTOLE_INT8) {
            status = c->integers[tensor] < 0 ? add_integer(c, tensor, "") : SYSTOLE_OK;
            *index = c->integers[tensor];
        } else {
            status = add_unsigned(c, tensor, index);
            if (status == SYSTOLE_OK) {
                status = add_integer(c, tensor, "_int8");
            }
            if (status == SYSTOLE_OK) {
                status = quantizer_result_unary(q, SYSTOLE_OP_QUANTIZE, 1, *index, c->integers[tensor]);
            }
        }
        q->result.input_count = i + 1;
    }
    return status;
}

static enum systole_status write_outputs(struct conversion *c) {
    struct quantizer *q = c->q;
    enum systole_status status = SYSTOLE_OK;
    q->result.outputs = calloc(q->graph.output_count + (size_t)1, sizeof *q->result.outputs);
    if (q->result.outputs == NULL) {
        return graph_edit_no_memory(q->graph.name, q->diagnostic);
    }
    for (uint32_t i = 0; i < q->graph.output_count && status == SYSTOLE_OK; i++) {
        int32_t tensor = q->graph.outputs[i], *index = &q->result.outputs[i];
        if (q->options->io == SYSTOLE_FLOAT32 || !is_float(&q->graph, tensor)) {
            status = want_real(c, tensor, index);
        } else {
            status = want_integer(c, tensor, index);
        }
        if (status == SYSTOLE_OK && q->options->io == SYSTOLE_UINT8 && is_float(&q->graph, tensor)) {
            int32_t from = *index;
            status = add_unsigned(c, tensor, index);
            if (status == SYSTOLE_OK) {
                status = quantizer_result_unary(q, SYSTOLE_OP_QUANTIZE, 1, from, *index);
            }
        }
        q->result.output_count = i + 1;
    }
    return status;
}

// Writes everything; *again when an operator turned out not to run in int8 and was marked.
static enum systole_status write_result(struct conversion *c, bool *again) {
    struct quantizer *q = c->q;
    quantizer_result_clear(q);
    q->report.corrected = 0;
    c->weight_count = 0;
    *again = false;
    memcpy(q->result.name, q->graph.name, sizeof q->result.name);
    form_groups(c);
    for (uint32_t t = 0; t < q->graph.tensor_count; t++) {
        c->integers[t] = c->reals[t] = -1;
    }
    enum systole_status status = write_inputs(c);
    for (uint32_t i = 0; i < q->graph.operator_count && status == SYSTOLE_OK; i++) {
        status = convert_operator(c, i);
        struct systole_diagnostic reason = {.what = ""};
        if (status == SYSTOLE_OK && c->is_integer[i] &&
            !systole_interpreter_supports(&q->result, q->result.operator_count - 1, &reason)) {
            c->is_integer[i] = false;
            *again = true;
            (void)snprintf(c->reasons[i], sizeof c->reasons[i], "%.95s", reason.what);
        }
    }
    return status == SYSTOLE_OK ? write_outputs(c) : status;
}

static enum systole_status refuse_strictly(const struct conversion *c) {
    const struct systole_graph *graph = &c->q->graph;
    for (uint32_t i = 0; i < graph->operator_count; i++) {
        if (!c->is_integer[i] && touches_float(graph, &graph->operators[i])) {
            char where[64];
            (void)snprintf(where, sizeof where, "operator %u %s", i, systole_operator_name(graph->operators[i].code));
            return systole_fail(c->q->diagnostic, SYSTOLE_UNSUPPORTED, where,
                                "without --strict it stays float32 on the CPU", "no integer form: %s", c->reasons[i]);
        }
    }
    return SYSTOLE_OK;
}

enum systole_status quantizer_full_integer(struct quantizer *q) {
    const struct systole_graph *graph = &q->graph;
    size_t tensors = graph->tensor_count + (size_t)1, operators = graph->operator_count + (size_t)1;
    struct conversion c = {.q = q};
    enum systole_status status = SYSTOLE_OK;
    c.is_integer = calloc(operators, sizeof *c.is_integer);
    c.reasons = calloc(operators, sizeof *c.reasons);
    c.group = calloc(tensors, sizeof *c.group);
    c.is_fixed = calloc(tensors, sizeof *c.is_fixed);
    c.is_source = calloc(tensors, sizeof *c.is_source);
    c.ranges = calloc(tensors, sizeof *c.ranges);
    c.scales = calloc(tensors, sizeof *c.scales);
    c.zero_points = calloc(tensors, sizeof *c.zero_points);
    c.integers = calloc(tensors, sizeof *c.integers);
    c.reals = calloc(tensors, sizeof *c.reals);
    if (c.is_integer == NULL || c.reasons == NULL || c.group == NULL || c.is_fixed == NULL || c.is_source == NULL ||
        c.ranges == NULL || c.scales == NULL || c.zero_points == NULL || c.integers == NULL || c.reals == NULL) {
        status = graph_edit_no_memory(graph->name, q->diagnostic);
        goto out;
    }
    for (uint32_t i = 0; i < graph->operator_count; i++) {
        const char *reason = NULL;
        c.is_integer[i] =
            touches_float(graph, &graph->operators[i]) && systole_quantize_has_integer_form(graph, i, &reason);
        (void)snprintf(c.reasons[i], sizeof c.reasons[i], "%s", reason != NULL ? reason : "");
    }
    bool again = true;
    while (again && status == SYSTOLE_OK) { // ends: each time one operator more is float
        status = write_result(&c, &again);
    }
    if (status == SYSTOLE_OK && q->options->strict) {
        status = refuse_strictly(&c);
    }
out:
    free(c.weights);
    free(c.reals);
    free(c.integers);
    free(c.zero_points);
    free(c.scales);
    free(c.ranges);
    free(c.is_source);
    free(c.is_fixed);
    free(c.group);
    free(c.reasons);
    free(c.is_integer);
    return status;
}
