// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The result beside the float graph, operator by operator, on some sets of the representative data. Three runs: the
// float graph; the result; and each float operator alone on the values that the result's operator read, which tells
// what one operator adds to the error from what came to it.
#include "graph_edit.h"
#include "quantizer_state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct sums {
    double signal, noise, own_signal, own_noise;
};
struct comparison {
    struct quantizer *q;
    struct systole_interpreter *real, *result, *alone;
    uint8_t **inputs;  // of the float graph
    struct sums *sums; // of each operator of the result
};

static float value_of(const struct systole_tensor *tensor, const uint8_t *bytes, size_t i) {
    float scale = tensor->quantisation.count > 0 ? tensor->quantisation.scale[0] : 1.0f;
    int64_t zero_point = tensor->quantisation.count > 0 ? tensor->quantisation.zero_point[0] : 0;
    switch (tensor->dtype) {
    case SYSTOLE_INT8:
        return scale * (float)((int8_t)bytes[i] - zero_point);
    case SYSTOLE_UINT8:
        return scale * (float)(bytes[i] - zero_point);
    default: // float32: the result's activations have no other types
        return ((const float *)(const void *)bytes)[i];
    }
}

static void quantise_input(const struct systole_tensor *tensor, const uint8_t *values, uint8_t *bytes) {
    if (tensor->dtype == SYSTOLE_FLOAT32 || tensor->quantisation.count == 0) {
        memcpy(bytes, values, tensor->size);
        return;
    }
    for (size_t i = 0; i < tensor->size; i++) {
        systole_tensor_store_real(tensor, ((const float *)(const void *)values)[i], i, bytes);
    }
}

// Gives the lone float operator what the result's operator reads.
static void hand_over(struct comparison *c, const struct systole_operator *from, const struct systole_operator *to) {
    for (uint32_t k = 0; k < to->input_count; k++) {
        if (to->inputs[k] < 0 || from->inputs[k] < 0) {
            continue;
        }
        const struct systole_tensor *real = &c->q->graph.tensors[to->inputs[k]];
        const struct systole_tensor *tensor = &c->q->result.tensors[from->inputs[k]];
        if (real->data != NULL || real->is_variable) {
            continue;
        }
        const uint8_t *bytes = systole_interpreter_tensor(c->result, from->inputs[k]);
        uint8_t *place = systole_interpreter_tensor(c->alone, to->inputs[k]);
        if (real->dtype != SYSTOLE_FLOAT32) {
            memcpy(place, bytes, real->size);
            continue;
        }
        size_t count = systole_tensor_elements(real);
        for (size_t i = 0; i < count; i++) {
            ((float *)(void *)place)[i] = value_of(tensor, bytes, i);
        }
    }
}

static enum systole_status measure(struct comparison *c, uint32_t operator_index) {
    struct quantizer *q = c->q;
    const struct systole_operator *made = &q->result.operators[operator_index];
    uint32_t origin = (uint32_t)q->operator_origin[operator_index];
    const struct systole_operator *op = &q->graph.operators[origin];
    int32_t output = op->outputs[0];
    if (output < 0 || q->graph.tensors[output].dtype != SYSTOLE_FLOAT32) {
        return SYSTOLE_OK;
    }
    const uint8_t *found = systole_interpreter_tensor(c->result, made->outputs[0]);
    const float *real = (const float *)(const void *)systole_interpreter_tensor(c->real, output);
    hand_over(c, made, op);
    enum systole_status status = systole_interpreter_run_operator(c->alone, origin, q->diagnostic);
    const float *own = (const float *)(const void *)systole_interpreter_tensor(c->alone, output);
    struct sums *sums = &c->sums[operator_index];
    size_t count = systole_tensor_elements(&q->graph.tensors[output]);
    for (size_t i = 0; i < count && status == SYSTOLE_OK; i++) {
        double value = (double)value_of(&q->result.tensors[made->outputs[0]], found, i), expected = (double)real[i];
        sums->signal += expected * expected;
        sums->noise += (expected - value) * (expected - value);
        sums->own_signal += (double)own[i] * (double)own[i];
        sums->own_noise += ((double)own[i] - value) * ((double)own[i] - value);
    }
    return status;
}

static enum systole_status run_set(struct comparison *c) {
    struct quantizer *q = c->q;
    systole_interpreter_reset_variables(c->real);
    systole_interpreter_reset_variables(c->result);
    systole_interpreter_reset_variables(c->alone);
    for (uint32_t i = 0; i < q->graph.input_count; i++) {
        int32_t tensor = q->result.inputs[i];
        quantise_input(&q->result.tensors[tensor], c->inputs[i], systole_interpreter_tensor(c->result, tensor));
    }
    enum systole_status status = systole_interpreter_run(c->real, q->diagnostic);
    for (uint32_t i = 0; i < q->result.operator_count && status == SYSTOLE_OK; i++) {
        status = systole_interpreter_run_operator(c->result, i, q->diagnostic);
        if (status == SYSTOLE_OK && q->operator_origin[i] >= 0) {
            status = measure(c, i);
        }
    }
    return status;
}

static enum systole_status run(struct comparison *c) {
    struct quantizer *q = c->q;
    uint32_t sets = q->options->compare > 0 ? q->options->compare : 16;
    enum systole_status status = quantizer_interpreter(q, &q->graph, &c->real);
    if (status == SYSTOLE_OK) {
        status = quantizer_interpreter(q, &q->graph, &c->alone);
    }
    if (status == SYSTOLE_OK) {
        status = quantizer_interpreter(q, &q->result, &c->result);
    }
    for (uint32_t i = 0; i < q->graph.input_count && status == SYSTOLE_OK; i++) {
        c->inputs[i] = systole_interpreter_tensor(c->real, q->graph.inputs[i]);
    }
    bool end = false;
    for (uint32_t set = 0; set < sets && status == SYSTOLE_OK; set++) {
        status = q->representative->read(q->representative->context, set, c->inputs, &end, q->diagnostic);
        if (status != SYSTOLE_OK || end) {
            break;
        }
        for (uint32_t i = 0; i < q->graph.input_count && status == SYSTOLE_OK; i++) {
            const struct systole_tensor *tensor = &q->graph.tensors[q->graph.inputs[i]];
            if (tensor->dtype == SYSTOLE_FLOAT32) {
                status = quantizer_check_values(q->graph.name, tensor, (const float *)(const void *)c->inputs[i], set,
                                                q->diagnostic);
            }
        }
        if (status == SYSTOLE_OK) {
            status = run_set(c);
        }
        q->report.samples = q->report.samples > set ? q->report.samples : set + 1;
    }
    return status;
}

// Of what operand `weights_at` became; through the DEQUANTIZE behind it, where there is one.
static double weight_snr(const struct quantizer *q, uint32_t operator_index) {
    const struct systole_operator *op = &q->graph.operators[q->operator_origin[operator_index]];
    struct quantizer_operands operands;
    if (!quantizer_operands_of(&q->graph, op, &operands)) {
        return NAN;
    }
    int32_t tensor = q->result.operators[operator_index].inputs[operands.weights_at];
    int32_t producer = tensor >= 0 ? graph_edit_producer(&q->result, tensor) : -1;
    if (producer >= 0) {
        tensor = q->result.operators[producer].inputs[0];
    }
    const struct systole_tensor *weights = tensor >= 0 ? &q->result.tensors[tensor] : NULL;
    bool changed = weights != NULL && weights->data != NULL &&
                   (weights->dtype == SYSTOLE_INT8 || weights->dtype == SYSTOLE_FLOAT16);
    return changed ? quantizer_constant_snr(&q->graph.tensors[operands.weights], weights) : NAN;
}

enum systole_status quantizer_compare(struct quantizer *q) {
    struct comparison c = {.q = q};
    struct systole_quantize_report *report = &q->report;
    enum systole_status status = SYSTOLE_OK;
    c.inputs = calloc(q->graph.input_count + (size_t)1, sizeof *c.inputs);
    c.sums = calloc(q->result.operator_count + (size_t)1, sizeof *c.sums);
    report->layers = calloc(q->result.operator_count + (size_t)1, sizeof *report->layers);
    if (c.inputs == NULL || c.sums == NULL || report->layers == NULL) {
        status = graph_edit_no_memory(q->graph.name, q->diagnostic);
        goto out;
    }
    if (q->representative != NULL && !q->options->skip_comparison) {
        status = run(&c);
    }
    for (uint32_t i = 0; i < q->result.operator_count && status == SYSTOLE_OK; i++) {
        if (q->operator_origin[i] < 0) {
            continue;
        }
        const struct sums *s = &c.sums[i];
        bool measured = s->signal > 0 || s->noise > 0;
        bool alone = s->own_signal > 0 || s->own_noise > 0;
        report->layers[report->layer_count++] = (struct systole_layer_error){
            .operator_index = i,
            .tensor = q->result.operators[i].outputs[0],
            .snr = measured ? quantizer_decibels(s->signal, s->noise) : NAN,
            .own_snr = alone ? quantizer_decibels(s->own_signal, s->own_noise) : NAN,
            .weight_snr = weight_snr(q, i),
        };
    }
out:
    systole_interpreter_free(c.result);
    systole_interpreter_free(c.alone);
    systole_interpreter_free(c.real);
    free(c.sums);
    free(c.inputs);
    return status;
}
