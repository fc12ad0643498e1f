// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The table of layers, the worst of them with what to try, and the same as JSON; the decision between modes.
#include "quantize_report.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WORST = 3, FEW_SAMPLES = 100 };
#define GOOD_ENOUGH 30.0 // dB of a layer alone; better ones are not worth advice

static const char *const left_names[] = {"float32", "dequantized", "unchanged"};
static const char *const left_texts[] = {
    "stay float32, with DEQUANTIZE and QUANTIZE around",
    "have no kernel of mixed types: their weights are dequantised once, when the model is loaded",
    "keep their float32 weights",
};

static void format_decibels(double value, char text[16]) {
    if (isnan(value)) {
        (void)snprintf(text, 16, "-");
    } else if (isinf(value)) {
        (void)snprintf(text, 16, value > 0 ? "exact" : "lost");
    } else {
        (void)snprintf(text, 16, "%.1f", value);
    }
}

static void print_layer(const struct cli_quantized *quantized, const struct systole_layer_error *layer) {
    const struct systole_operator *op = &quantized->result->operators[layer->operator_index];
    const char *name = quantized->result->tensors[layer->tensor].name;
    char snr[16], own[16], weights[16];
    format_decibels(layer->snr, snr);
    format_decibels(layer->own_snr, own);
    format_decibels(layer->weight_snr, weights);
    printf("  %4u  %-28.28s %8s %8s %8s  %.60s\n", layer->operator_index, systole_operator_name(op->code), snr, own,
           weights, name != NULL ? name : "");
}

static void print_advice(const struct cli_quantized *quantized, const struct systole_layer_error *layer) {
    const struct systole_operator *op = &quantized->result->operators[layer->operator_index];
    const struct systole_quantize_options *o = quantized->options;
    bool weights = !isnan(layer->weight_snr) && layer->weight_snr < layer->own_snr + 3;
    if (weights && op->code == SYSTOLE_OP_FULLY_CONNECTED && !o->fc_per_channel) {
        printf("    its weights lose the most: try --fc-per-channel%s\n", o->equalize ? "" : ", or --equalize");
    } else if (weights) {
        printf("    its weights lose the most: try %s\n",
               o->equalize ? "to keep this layer in float32" : "--equalize, then --bias-correction");
    } else if (o->calibration == SYSTOLE_CALIBRATION_MIN_MAX) {
        printf("    its activations lose the most: try --calibration mse or percentile%s\n",
               o->equalize ? "" : ", or --equalize");
    } else {
        printf("    its activations lose the most: try --calibration min-max, or more representative data\n");
    }
}

// Those that lose most by themselves, the worst first.
static void print_worst(const struct cli_quantized *quantized) {
    const struct systole_quantize_report *report = quantized->report;
    double bound = -INFINITY;
    uint32_t last = UINT32_MAX;
    bool any = false;
    for (uint32_t k = 0; k < WORST; k++) {
        uint32_t worst = UINT32_MAX;
        for (uint32_t i = 0; i < report->layer_count; i++) {
            double own = report->layers[i].own_snr;
            bool behind = last == UINT32_MAX || own > bound || (own == bound && i > last);
            if (own < (double)INFINITY && behind && (worst == UINT32_MAX || own < report->layers[worst].own_snr)) {
                worst = i;
            }
        }
        if (worst == UINT32_MAX) {
            break;
        }
        if (!any) {
            printf("layers that lose most by themselves:\n");
        }
        any = true;
        bound = report->layers[worst].own_snr;
        last = worst;
        print_layer(quantized, &report->layers[worst]);
        if (quantized->options->mode == SYSTOLE_QUANTIZE_FULL_INTEGER && bound < GOOD_ENOUGH) {
            print_advice(quantized, &report->layers[worst]);
        }
    }
    if (!any && report->samples > 0) {
        printf("no layer loses anything\n");
    }
}

static double times(uint64_t before, uint64_t after) {
    return after > 0 ? (double)before / (double)after : 0;
}

void cli_print_quantized(const struct cli_quantized *quantized) {
    const struct systole_quantize_report *report = quantized->report;
    printf("%s: %s\n", quantized->output, systole_quantize_mode_name(quantized->options->mode));
    printf("weights %llu bytes, %.2f times smaller (with biases and shapes %.2f); file %zu bytes, %.2f times smaller\n",
           (unsigned long long)report->weight_bytes, times(report->float_weight_bytes, report->weight_bytes),
           times(report->float_bytes, report->bytes), quantized->output_size,
           times(quantized->source_size, quantized->output_size));
    if (report->folded + report->equalized + report->corrected > 0) {
        printf("%u operators folded into others, %u pairs of layers equalised, %u biases corrected\n", report->folded,
               report->equalized, report->corrected);
    }
    printf("\nsignal-to-noise ratio against float32 in dB: of what came so far, of the layer alone, of its weights\n"
           "  %4s  %-28s %8s %8s %8s  %s\n",
           "", "operator", "so far", "alone", "weights", "output");
    for (uint32_t i = 0; i < report->layer_count; i++) {
        print_layer(quantized, &report->layers[i]);
    }
    if (report->samples == 0) {
        printf("layers were not measured: that needs --representative\n");
    }
    print_worst(quantized);
    if (report->samples > 0 && report->samples < FEW_SAMPLES &&
        quantized->options->mode == SYSTOLE_QUANTIZE_FULL_INTEGER) {
        printf("only %u sets were seen: a hundred or more make better ranges\n", report->samples);
    }
    for (uint32_t kind = 0; kind < sizeof left_texts / sizeof left_texts[0]; kind++) {
        bool any = false;
        for (uint32_t i = 0; i < report->left_count; i++) {
            const struct systole_left *left = &report->left[i];
            if ((uint32_t)left->kind == kind) {
                printf("%s%s\n", any ? "" : "\noperators that ", any ? "" : left_texts[kind]);
                printf("  %4u  %-28.28s %s\n", left->operator_index,
                       systole_operator_name(quantized->result->operators[left->operator_index].code), left->reason);
                any = true;
            }
        }
    }
}

// null: not measured; the strings "exact" and "lost" are the infinities.
static json_t *decibels_json(double value) {
    return isnan(value)                ? json_null()
           : value == (double)INFINITY ? json_string("exact")
           : isinf(value)              ? json_string("lost")
                                       : json_real(value);
}

enum systole_status cli_write_quantized(const char *path, const struct cli_quantized *quantized,
                                        struct systole_diagnostic *diagnostic) {
    const struct systole_quantize_report *report = quantized->report;
    const struct systole_graph *result = quantized->result;
    json_t *layers = json_array(), *left = json_array();
    for (uint32_t i = 0; i < report->layer_count; i++) {
        const struct systole_layer_error *layer = &report->layers[i];
        json_array_append_new(
            layers,
            json_pack(
                "{s:I, s:s, s:o, s:o, s:o, s:o}", "operator", (json_int_t)layer->operator_index, "name",
                systole_operator_name(result->operators[layer->operator_index].code), "tensor",
                cli_json_text(result->tensors[layer->tensor].name != NULL ? result->tensors[layer->tensor].name : ""),
                "snr_db", decibels_json(layer->snr), "own_snr_db", decibels_json(layer->own_snr), "weight_snr_db",
                decibels_json(layer->weight_snr)));
    }
    for (uint32_t i = 0; i < report->left_count; i++) {
        json_array_append_new(
            left, json_pack("{s:I, s:s, s:s, s:o}", "operator", (json_int_t)report->left[i].operator_index, "name",
                            systole_operator_name(result->operators[report->left[i].operator_index].code), "left",
                            left_names[report->left[i].kind], "reason", cli_json_text(report->left[i].reason)));
    }
    json_t *value = json_pack(
        "{s:o, s:o, s:s, s:s, s:I, s:I, s:I, s:I, s:{s:I, s:I}, s:{s:I, s:I}, s:{s:I, s:I}, s:o, s:o}", "source",
        cli_json_text(quantized->source), "output", cli_json_text(quantized->output), "mode",
        systole_quantize_mode_name(quantized->options->mode), "calibration",
        systole_calibration_name(quantized->options->calibration), "samples", (json_int_t)report->samples, "folded",
        (json_int_t)report->folded, "equalized", (json_int_t)report->equalized, "corrected",
        (json_int_t)report->corrected, "weight_bytes", "float", (json_int_t)report->float_weight_bytes, "quantized",
        (json_int_t)report->weight_bytes, "constant_bytes", "float", (json_int_t)report->float_bytes, "quantized",
        (json_int_t)report->bytes, "file_bytes", "float", (json_int_t)quantized->source_size, "quantized",
        (json_int_t)quantized->output_size, "layers", layers, "left", left);
    enum systole_status status = cli_write_json(path, value, diagnostic);
    json_decref(value);
    return status;
}

void cli_print_decision(const char *path, const struct systole_graph *graph, const char *hardware, uint64_t sets) {
    uint64_t weights = 0;
    uint32_t missing = 0;
    for (uint32_t t = 0; t < graph->tensor_count; t++) {
        const struct systole_tensor *tensor = &graph->tensors[t];
        weights += tensor->data != NULL && tensor->dtype == SYSTOLE_FLOAT32 ? tensor->size : 0;
    }
    for (uint32_t i = 0; i < graph->operator_count; i++) {
        missing += !systole_quantize_has_integer_form(graph, i, NULL);
    }
    bool cpu = hardware != NULL && strcmp(hardware, "cpu") == 0, gpu = hardware != NULL && strcmp(hardware, "gpu") == 0;
    printf("%s: %u operators, %llu bytes of float32 weights\n\n", path, graph->operator_count,
           (unsigned long long)weights);
    printf("1. Which hardware will run it?  %s\n"
           "     accelerator, microcontroller  integers only: full-integer\n"
           "     cpu                           full-integer is the fastest, dynamic-range needs no data\n"
           "     gpu                           float16\n",
           hardware != NULL ? hardware : "not said (--hardware): an accelerator is assumed");
    printf("2. Is there representative data?  ");
    if (sets > 0) {
        printf("%llu sets%s\n", (unsigned long long)sets, sets < FEW_SAMPLES ? "; a hundred or more are better" : "");
    } else {
        printf("none given (--representative): full-integer needs some hundred inputs\n");
    }
    printf("3. Do the operators have integer forms?  %u of %u\n", graph->operator_count - missing,
           graph->operator_count);
    for (uint32_t i = 0; i < graph->operator_count; i++) {
        const char *reason = NULL;
        if (!systole_quantize_has_integer_form(graph, i, &reason)) {
            printf("     %4u  %-28s %s\n", i, systole_operator_name(graph->operators[i].code), reason);
        }
    }
    const char *mode = gpu ? "float16" : cpu && sets == 0 ? "dynamic-range" : "full-integer";
    printf("\nrecommended: --mode %s%s\n", mode,
           gpu || cpu         ? ""
           : hardware != NULL ? " --io int8 --strict"
                              : " --io int8");
    if (sets == 0 && !gpu && !cpu) {
        printf("Collect representative inputs first; until then --mode dynamic-range makes the model smaller for the "
               "CPU.\n");
    }
}
