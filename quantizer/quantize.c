// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The order of the passes, and what is checked before them.
#include "graph_edit.h"
#include "quantizer_state.h"

#include <stdlib.h>

const char *systole_quantize_mode_name(enum systole_quantize_mode mode) {
    switch (mode) {
    case SYSTOLE_QUANTIZE_FULL_INTEGER:
        return "full-integer";
    case SYSTOLE_QUANTIZE_DYNAMIC_RANGE:
        return "dynamic-range";
    case SYSTOLE_QUANTIZE_FLOAT16:
        return "float16";
    }
    return "unknown";
}

const char *systole_calibration_name(enum systole_calibration calibration) {
    switch (calibration) {
    case SYSTOLE_CALIBRATION_MIN_MAX:
        return "min-max";
    case SYSTOLE_CALIBRATION_MOVING_AVERAGE:
        return "moving-average";
    case SYSTOLE_CALIBRATION_PERCENTILE:
        return "percentile";
    case SYSTOLE_CALIBRATION_MSE:
        return "mse";
    }
    return "unknown";
}

static enum systole_status check_options(const struct quantizer *q, const char *name) {
    const struct systole_quantize_options *o = q->options;
    bool integer = o->mode == SYSTOLE_QUANTIZE_FULL_INTEGER;
    if (integer && (q->representative == NULL || q->representative->read == NULL)) {
        return systole_fail(q->diagnostic, SYSTOLE_BAD_ARGUMENT, name,
                            "give some hundred inputs such as the model will see, or choose dynamic-range",
                            "full-integer quantisation needs representative data: activations have no ranges without");
    }
    if (o->io != SYSTOLE_FLOAT32 && o->io != SYSTOLE_INT8 && o->io != SYSTOLE_UINT8) {
        return systole_fail(q->diagnostic, SYSTOLE_BAD_ARGUMENT, name, "float32, int8 or uint8",
                            "inputs and outputs cannot be %s", systole_dtype_name(o->io));
    }
    if (!integer && (o->io != SYSTOLE_FLOAT32 || o->strict || o->bias_correction)) {
        return systole_fail(q->diagnostic, SYSTOLE_BAD_ARGUMENT, name, "leave them out, or choose full-integer",
                            "integer inputs and outputs, strictness and bias correction are for full-integer only");
    }
    bool given = o->input_scale != 0 || o->input_zero_point != 0;
    if (given && (!integer || !(o->input_scale >= 1e-15f && o->input_scale <= 1e15f) || o->input_zero_point < -128 ||
                  o->input_zero_point > 127)) {
        return systole_fail(q->diagnostic, SYSTOLE_BAD_ARGUMENT, name,
                            "a positive scale, a zero point from -128 to 127, and full-integer",
                            "inputs cannot have scale %g and zero point %d", (double)o->input_scale,
                            o->input_zero_point);
    }
    if (!(o->percentile == 0 || (o->percentile >= 50 && o->percentile <= 100))) {
        return systole_fail(q->diagnostic, SYSTOLE_BAD_ARGUMENT, name, "50 to 100", "the percentile is %g",
                            o->percentile);
    }
    return SYSTOLE_OK;
}

static enum systole_status check_source(const struct quantizer *q, const struct systole_graph *source) {
    bool any_float = false;
    for (uint32_t t = 0; t < source->tensor_count; t++) {
        const struct systole_tensor *tensor = &source->tensors[t];
        bool quantised =
            tensor->quantisation.count > 0 && (tensor->dtype == SYSTOLE_INT8 || tensor->dtype == SYSTOLE_UINT8 ||
                                               tensor->dtype == SYSTOLE_INT16 || tensor->dtype == SYSTOLE_INT32);
        if (quantised) {
            return systole_fail(
                q->diagnostic, SYSTOLE_UNSUPPORTED, source->name, "give the float32 model it was made of",
                "the model is quantised already: tensor %.100s is %s", tensor->name, systole_dtype_name(tensor->dtype));
        }
        if (tensor->was_constant) {
            return systole_fail(q->diagnostic, SYSTOLE_UNSUPPORTED, source->name, "give the model itself",
                                "the model's constants were taken out: tensor %.100s has no data", tensor->name);
        }
        any_float = any_float || tensor->dtype == SYSTOLE_FLOAT32;
    }
    return any_float ? SYSTOLE_OK
                     : systole_fail(q->diagnostic, SYSTOLE_UNSUPPORTED, source->name, "give a float32 model",
                                    "the model has no float32 tensor: there is nothing to quantise");
}

static enum systole_status check_constants(const struct quantizer *q) {
    enum systole_status status = SYSTOLE_OK;
    for (uint32_t t = 0; t < q->graph.tensor_count && status == SYSTOLE_OK; t++) {
        const struct systole_tensor *tensor = &q->graph.tensors[t];
        if (tensor->dtype == SYSTOLE_FLOAT32 && tensor->data != NULL) {
            status = quantizer_check_values(q->graph.name, tensor, (const float *)(const void *)tensor->data, -1,
                                            q->diagnostic);
        }
    }
    return status;
}

static bool is_bias(const struct systole_graph *graph, int32_t tensor) {
    struct quantizer_operands operands;
    for (uint32_t i = 0; i < graph->operator_count; i++) {
        if (quantizer_operands_of(graph, &graph->operators[i], &operands) && operands.bias == tensor) {
            return true;
        }
    }
    return false;
}

static bool is_weight(const struct systole_graph *graph, int32_t tensor) {
    return tensor >= 0 && graph->tensors[tensor].data != NULL && graph->tensors[tensor].dtype == SYSTOLE_FLOAT32 &&
           !is_bias(graph, tensor);
}

static void count_bytes(struct quantizer *q, const struct systole_graph *source) {
    struct systole_quantize_report *report = &q->report;
    for (uint32_t t = 0; t < source->tensor_count; t++) {
        const struct systole_tensor *tensor = &source->tensors[t];
        report->float_bytes += tensor->data != NULL ? tensor->size : 0;
        report->float_weight_bytes += is_weight(source, (int32_t)t) ? tensor->size : 0;
    }
    for (uint32_t t = 0; t < q->result.tensor_count; t++) {
        const struct systole_tensor *tensor = &q->result.tensors[t];
        bool was_weight = tensor->data != NULL && is_weight(&q->graph, q->tensor_origin[t]);
        report->bytes += tensor->data != NULL ? tensor->size : 0;
        report->weight_bytes += was_weight ? tensor->size : 0;
    }
}

static enum systole_status run_passes(struct quantizer *q, const struct systole_graph *source) {
    enum systole_status status = graph_edit_clone(source, &q->graph, q->diagnostic);
    if (status == SYSTOLE_OK) {
        status = quantizer_fold(q);
    }
    if (status == SYSTOLE_OK) {
        status = check_constants(q);
    }
    if (status == SYSTOLE_OK && q->options->equalize) {
        status = quantizer_equalize(q);
        if (status == SYSTOLE_OK) {
            status = check_constants(q);
        }
    }
    if (status == SYSTOLE_OK && q->options->mode == SYSTOLE_QUANTIZE_FULL_INTEGER) {
        status = quantizer_calibrate(q);
        return status == SYSTOLE_OK ? quantizer_full_integer(q) : status;
    }
    return status == SYSTOLE_OK ? quantizer_weights_only(q) : status;
}

enum systole_status systole_quantize(const struct systole_graph *source, const struct systole_quantize_options *options,
                                     const struct systole_representative *representative, struct systole_graph *result,
                                     struct systole_quantize_report *report, struct systole_diagnostic *diagnostic) {
    struct quantizer q = {.options = options, .representative = representative, .diagnostic = diagnostic};
    *result = (struct systole_graph){0};
    *report = (struct systole_quantize_report){0};
    enum systole_status status = check_options(&q, source->name);
    if (status == SYSTOLE_OK) {
        status = check_source(&q, source);
    }
    if (status == SYSTOLE_OK) {
        status = run_passes(&q, source);
    }
    if (status == SYSTOLE_OK) {
        status = quantizer_compare(&q);
    }
    if (status == SYSTOLE_OK) {
        count_bytes(&q, source);
        *result = q.result;
        *report = q.report;
        q.result = (struct systole_graph){0};
        q.report = (struct systole_quantize_report){0};
    }
    quantizer_result_clear(&q);
    systole_quantize_report_free(&q.report);
    for (uint32_t t = 0; q.means != NULL && t < q.graph.tensor_count; t++) {
        free(q.means[t]);
    }
    free(q.means);
    free(q.ranges);
    systole_graph_free(&q.graph);
    return status;
}

void systole_quantize_report_free(struct systole_quantize_report *report) {
    free(report->left);
    free(report->layers);
    *report = (struct systole_quantize_report){0};
}
