// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The quantiser's rules one by one, on graphs of a few operators: what is folded, which scales tensors get, what stays
// float, how ranges follow from data, what equalisation and bias correction do to the numbers, which graphs and options
// are refused.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph_builder.h"
#include "half.h"
#include "interpreter.h"
#include "quantizer.h"
#include "testing.h"

struct sets {
    const struct systole_graph *graph;
    uint32_t count, seed;
    float low, high;
    float spike; // one value of the last set; 0: none
};

static enum systole_status read_set(void *context, uint32_t index, uint8_t *const *inputs, bool *end,
                                    struct systole_diagnostic *diagnostic) {
    const struct sets *sets = context;
    (void)diagnostic;
    *end = index >= sets->count;
    for (uint32_t i = 0; !*end && i < sets->graph->input_count; i++) {
        uint32_t state = sets->seed + index * 977 + i * 31 + 1;
        size_t count = systole_tensor_elements(&sets->graph->tensors[sets->graph->inputs[i]]);
        float *values = (float *)(void *)inputs[i];
        for (size_t k = 0; k < count; k++) {
            float unit = (float)(testing_random(&state) >> 8) / 16777215.0f;
            values[k] = sets->low + (sets->high - sets->low) * unit;
        }
        values[0] = sets->spike != 0.0f && index + 1 == sets->count ? sets->spike : values[0];
    }
    return SYSTOLE_OK;
}

static int32_t map_of(struct systole_graph *graph, int32_t height, int32_t width, int32_t channels) {
    const int32_t shape[] = {1, height, width, channels};
    return graph_add_tensor(graph, SYSTOLE_FLOAT32, 4, shape, 0, 0);
}

static int32_t constant_of(struct systole_graph *graph, int32_t rank, const int32_t *shape, float low, float high,
                           uint32_t seed) {
    int32_t tensor = graph_add_tensor(graph, SYSTOLE_FLOAT32, rank, shape, 0, 0);
    size_t count = systole_tensor_elements(&graph->tensors[tensor]);
    float *values = calloc(count, sizeof *values);
    ck_assert_ptr_nonnull(values);
    for (size_t i = 0; i < count; i++) {
        values[i] = low + (high - low) * (float)(testing_random(&seed) >> 8) / 16777215.0f;
    }
    graph_set_data(graph, tensor, values);
    free(values);
    return tensor;
}

static int32_t conv_of(struct systole_graph *graph, int32_t input, int32_t output, int32_t kernel, uint32_t seed) {
    int32_t inputs = graph->tensors[input].shape[3], outputs = graph->tensors[output].shape[3];
    const int32_t shape[] = {outputs, kernel, kernel, inputs};
    int32_t weights = constant_of(graph, 4, shape, -0.5f, 0.5f, seed);
    int32_t bias = constant_of(graph, 1, &outputs, -0.2f, 0.2f, seed + 1);
    const int32_t operands[] = {input, weights, bias};
    graph_add_operator(graph, SYSTOLE_OP_CONV_2D, 3, operands, output);
    return weights;
}

struct outcome {
    struct systole_graph graph;
    struct systole_quantize_report report;
    struct systole_diagnostic diagnostic;
    enum systole_status status;
};

static void quantize(const struct systole_graph *graph, const struct systole_quantize_options *options,
                     const struct sets *sets, struct outcome *outcome) {
    struct sets copy = sets != NULL ? *sets : (struct sets){.count = 0};
    struct systole_representative representative = {&copy, read_set};
    *outcome = (struct outcome){.status = SYSTOLE_OK};
    outcome->status = systole_quantize(graph, options, sets != NULL ? &representative : NULL, &outcome->graph,
                                       &outcome->report, &outcome->diagnostic);
    if (outcome->status == SYSTOLE_OK) { // what was made is written, read and understood by the kernels
        uint8_t *bytes = NULL;
        size_t size = 0;
        struct systole_graph again;
        struct systole_interpreter *interpreter = NULL;
        ck_assert_int_eq(systole_graph_write(&outcome->graph, NULL, &bytes, &size, &outcome->diagnostic), SYSTOLE_OK);
        ck_assert_msg(systole_graph_read(bytes, size, "again", &again, &outcome->diagnostic) == SYSTOLE_OK, "%s",
                      outcome->diagnostic.what);
        ck_assert_msg(systole_interpreter_create(&again, NULL, &interpreter, &outcome->diagnostic) == SYSTOLE_OK, "%s",
                      outcome->diagnostic.what);
        systole_interpreter_free(interpreter);
        systole_graph_free(&again);
        free(bytes);
    } else {
        ck_assert(outcome->diagnostic.what[0] != '\0' && outcome->graph.tensor_count == 0);
    }
}

static void end(struct outcome *outcome) {
    systole_quantize_report_free(&outcome->report);
    systole_graph_free(&outcome->graph);
}

static const struct systole_operator *find(const struct systole_graph *graph, int32_t code) {
    for (uint32_t i = 0; i < graph->operator_count; i++) {
        if (graph->operators[i].code == code) {
            return &graph->operators[i];
        }
    }
    ck_abort_msg("no %s", systole_operator_name(code));
}

static float scale_of(const struct systole_graph *graph, int32_t tensor) {
    ck_assert_uint_eq(graph->tensors[tensor].quantisation.count, 1);
    return graph->tensors[tensor].quantisation.scale[0];
}

static const struct systole_quantize_options integer = {.mode = SYSTOLE_QUANTIZE_FULL_INTEGER, .io = SYSTOLE_INT8};

// Weights in -127 .. 127 with a scale for each channel, biases at input scale * weight scale, 0 exact everywhere.
START_TEST(specification) {
    struct systole_graph graph = {0};
    int32_t input = map_of(&graph, 5, 6, 3), output = map_of(&graph, 5, 6, 4);
    conv_of(&graph, input, output, 3, 5);
    graph_set_ends(&graph, 1, &input, 1, &output);
    struct sets sets = {&graph, 20, 1, -0.5f, 2.0f, 0};
    struct outcome o;
    quantize(&graph, &integer, &sets, &o);
    ck_assert_int_eq(o.status, SYSTOLE_OK);
    const struct systole_operator *op = find(&o.graph, SYSTOLE_OP_CONV_2D);
    const struct systole_tensor *weights = &o.graph.tensors[op->inputs[1]], *bias = &o.graph.tensors[op->inputs[2]];
    const float *real = (const float *)(const void *)graph.tensors[graph.operators[0].inputs[1]].data;
    float input_scale = scale_of(&o.graph, op->inputs[0]);
    ck_assert_int_eq(op->version, 3);
    ck_assert_int_eq(o.graph.operator_count, 1);
    ck_assert(fabsf(input_scale - 2.5f / 255) < 1e-4f);
    ck_assert(weights->dtype == SYSTOLE_INT8 && weights->quantisation.count == 4 &&
              weights->quantisation.dimension == 0);
    ck_assert(bias->dtype == SYSTOLE_INT32 && bias->quantisation.count == 4);
    for (uint32_t c = 0; c < 4; c++) {
        float scale = weights->quantisation.scale[c];
        float largest = 0.0f;
        ck_assert_float_eq(bias->quantisation.scale[c], input_scale * scale);
        for (uint32_t k = 0; k < 27; k++) {
            float q = (float)(int8_t)weights->data[27 * c + k];
            ck_assert(fabsf(scale * q - real[27 * c + k]) <= 0.5001f * scale);
            largest = fmaxf(largest, fabsf(q));
        }
        ck_assert_float_eq(largest, 127.0f);
        ck_assert_int_eq(weights->quantisation.zero_point[c], 0);
    }
    ck_assert_double_gt(o.report.layers[0].snr, 30);
    ck_assert_double_gt(o.report.layers[0].weight_snr, 35);
    end(&o);
    systole_graph_free(&graph);
}
END_TEST

// CONV_2D, MUL, ADD, RELU become one operator that computes the same.
START_TEST(batch_normalisation) {
    struct systole_graph graph = {0};
    int32_t input = map_of(&graph, 4, 4, 3), maps[4], channels = 5;
    for (int i = 0; i < 4; i++) {
        maps[i] = map_of(&graph, 4, 4, channels);
    }
    conv_of(&graph, input, maps[0], 3, 9);
    const int32_t factors[] = {maps[0], constant_of(&graph, 1, &channels, 0.2f, 3.0f, 4)};
    const int32_t terms[] = {constant_of(&graph, 1, &channels, -1.0f, 1.0f, 6), maps[1]};
    graph_add_operator(&graph, SYSTOLE_OP_MUL, 2, factors, maps[1]);
    graph_add_operator(&graph, SYSTOLE_OP_ADD, 2, terms, maps[2]);
    graph_add_operator(&graph, SYSTOLE_OP_RELU, 1, &maps[2], maps[3]);
    graph_set_ends(&graph, 1, &input, 1, &maps[3]);
    struct sets sets = {&graph, 20, 3, -1.0f, 1.0f, 0};
    struct outcome o;
    quantize(&graph, &integer, &sets, &o);
    ck_assert_int_eq(o.status, SYSTOLE_OK);
    ck_assert_uint_eq(o.report.folded, 3);
    ck_assert_uint_eq(o.graph.operator_count, 1);
    ck_assert_int_eq(o.graph.operators[0].options.activation, SYSTOLE_ACTIVATION_RELU);
    end(&o);
    // With halves what is left differs from the graph as it was by their rounding alone.
    struct systole_quantize_options half = {.mode = SYSTOLE_QUANTIZE_FLOAT16};
    struct systole_interpreter *before, *after;
    quantize(&graph, &half, NULL, &o);
    ck_assert_int_eq(o.status, SYSTOLE_OK);
    ck_assert_int_eq(systole_interpreter_create(&graph, NULL, &before, &o.diagnostic), SYSTOLE_OK);
    ck_assert_int_eq(systole_interpreter_create(&o.graph, NULL, &after, &o.diagnostic), SYSTOLE_OK);
    bool over = false;
    uint8_t *places[] = {systole_interpreter_tensor(before, input)};
    read_set(&sets, 0, places, &over, NULL);
    memcpy(systole_interpreter_tensor(after, o.graph.inputs[0]), places[0], graph.tensors[input].size);
    ck_assert_int_eq(systole_interpreter_run(before, &o.diagnostic), SYSTOLE_OK);
    ck_assert_int_eq(systole_interpreter_run(after, &o.diagnostic), SYSTOLE_OK);
    const float *x = (const float *)(const void *)systole_interpreter_tensor(before, maps[3]);
    const float *y = (const float *)(const void *)systole_interpreter_tensor(after, o.graph.outputs[0]);
    for (size_t i = 0; i < systole_tensor_elements(&graph.tensors[maps[3]]); i++) {
        ck_assert_float_eq_tol(x[i], y[i], 1e-2f);
    }
    systole_interpreter_free(after);
    systole_interpreter_free(before);
    end(&o);
    systole_graph_free(&graph);
}
END_TEST

// CONCATENATION of a map and a LOGISTIC: one scale for all, and the LOGISTIC keeps 1/256 before a QUANTIZE. Pools keep
// their input's scale whatever they see.
START_TEST(same_scales) {
    struct systole_graph graph = {0};
    int32_t input = map_of(&graph, 4, 4, 2), logistic = map_of(&graph, 4, 4, 2), joined = map_of(&graph, 4, 4, 4);
    int32_t pooled = map_of(&graph, 2, 2, 4);
    const int32_t both[] = {input, logistic};
    graph_add_operator(&graph, SYSTOLE_OP_LOGISTIC, 1, &input, logistic);
    graph_add_operator(&graph, SYSTOLE_OP_CONCATENATION, 2, both, joined)->options.axis = 3;
    struct systole_operator *pool = graph_add_operator(&graph, SYSTOLE_OP_AVERAGE_POOL_2D, 1, &joined, pooled);
    pool->options.filter_h = pool->options.filter_w = pool->options.stride_h = pool->options.stride_w = 2;
    pool->options.padding = SYSTOLE_PADDING_VALID;
    graph_set_ends(&graph, 1, &input, 1, &pooled);
    struct sets sets = {&graph, 10, 3, -6.0f, 6.0f, 0};
    struct outcome o;
    quantize(&graph, &integer, &sets, &o);
    ck_assert_int_eq(o.status, SYSTOLE_OK);
    const struct systole_operator *join = find(&o.graph, SYSTOLE_OP_CONCATENATION);
    const struct systole_operator *sigmoid = find(&o.graph, SYSTOLE_OP_LOGISTIC);
    float scale = scale_of(&o.graph, join->outputs[0]);
    ck_assert_float_eq(scale_of(&o.graph, sigmoid->outputs[0]), 1.0f / 256);
    ck_assert_int_eq(o.graph.tensors[sigmoid->outputs[0]].quantisation.zero_point[0], -128);
    ck_assert_int_eq(find(&o.graph, SYSTOLE_OP_QUANTIZE)->inputs[0], sigmoid->outputs[0]);
    ck_assert_int_eq(find(&o.graph, SYSTOLE_OP_QUANTIZE)->outputs[0], join->inputs[1]);
    ck_assert_float_eq(scale_of(&o.graph, join->inputs[0]), scale);
    ck_assert_float_eq(scale_of(&o.graph, join->inputs[1]), scale);
    ck_assert_float_eq(scale_of(&o.graph, o.graph.outputs[0]), scale);
    ck_assert_float_eq_tol(scale, 12.0f / 255, 1e-3f);
    end(&o);
    systole_graph_free(&graph);
}
END_TEST

// DIV has no int8 form: it stays float between DEQUANTIZE and QUANTIZE, or is refused.
START_TEST(left_in_float) {
    struct systole_graph graph = {0};
    int32_t input = map_of(&graph, 4, 4, 2), made = map_of(&graph, 4, 4, 2), divided = map_of(&graph, 4, 4, 2);
    int32_t last = map_of(&graph, 4, 4, 3), one = 1;
    conv_of(&graph, input, made, 1, 2);
    const int32_t operands[] = {made, constant_of(&graph, 1, &one, 2.0f, 2.0f, 1)};
    graph_add_operator(&graph, SYSTOLE_OP_DIV, 2, operands, divided);
    conv_of(&graph, divided, last, 1, 4);
    graph_set_ends(&graph, 1, &input, 1, &last);
    struct sets sets = {&graph, 10, 3, -1.0f, 1.0f, 0};
    struct systole_quantize_options options = integer;
    struct outcome o;
    quantize(&graph, &options, &sets, &o);
    ck_assert_int_eq(o.status, SYSTOLE_OK);
    static const int32_t codes[] = {SYSTOLE_OP_CONV_2D, SYSTOLE_OP_DEQUANTIZE, SYSTOLE_OP_DIV, SYSTOLE_OP_QUANTIZE,
                                    SYSTOLE_OP_CONV_2D};
    ck_assert_uint_eq(o.graph.operator_count, 5);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(o.graph.operators[i].code, codes[i]);
    }
    ck_assert_uint_eq(o.report.left_count, 1);
    ck_assert(o.report.left[0].operator_index == 2 && o.report.left[0].kind == SYSTOLE_LEFT_FLOAT);
    end(&o);
    options.strict = true;
    quantize(&graph, &options, &sets, &o);
    ck_assert_int_eq(o.status, SYSTOLE_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(o.diagnostic.where, "DIV"));
    systole_graph_free(&graph);
}
END_TEST

// One value far away: min-max follows it, the others do not.
START_TEST(calibrations) {
    struct systole_graph graph = {0};
    int32_t input = map_of(&graph, 8, 8, 4), output = map_of(&graph, 8, 8, 4);
    graph_add_operator(&graph, SYSTOLE_OP_RELU, 1, &input, output);
    graph_set_ends(&graph, 1, &input, 1, &output);
    struct sets sets = {&graph, 100, 3, -1.0f, 1.0f, 100.0f};
    float scales[4];
    for (int rule = 0; rule < 4; rule++) {
        struct systole_quantize_options options = integer;
        struct outcome o;
        options.calibration = (enum systole_calibration)rule;
        quantize(&graph, &options, &sets, &o);
        ck_assert_int_eq(o.status, SYSTOLE_OK);
        ck_assert_uint_eq(o.report.samples, 100);
        scales[rule] = scale_of(&o.graph, o.graph.inputs[0]);
        end(&o);
    }
    ck_assert_float_eq_tol(scales[SYSTOLE_CALIBRATION_MIN_MAX], 101.0f / 255, 1e-3f);
    // The last set weighs a tenth: 1 + (100 - 1) / 10 and 1 below.
    ck_assert_float_eq_tol(scales[SYSTOLE_CALIBRATION_MOVING_AVERAGE], 11.9f / 255, 1e-3f);
    ck_assert_float_eq_tol(scales[SYSTOLE_CALIBRATION_PERCENTILE], 2.0f / 255, 1e-3f);
    ck_assert_float_lt(scales[SYSTOLE_CALIBRATION_MSE], scales[SYSTOLE_CALIBRATION_MIN_MAX]);
    systole_graph_free(&graph);
}
END_TEST

// Channels a thousand times apart between two layers: one scale for the map loses the small ones, equalisation does
// not.
START_TEST(equalisation) {
    struct systole_graph graph = {0};
    int32_t input = map_of(&graph, 4, 4, 4), middle = map_of(&graph, 4, 4, 8), output = map_of(&graph, 4, 4, 4);
    int32_t first = conv_of(&graph, input, middle, 1, 2), second = conv_of(&graph, middle, output, 1, 5);
    float *w1 = (float *)(void *)graph.tensors[first].data, *w2 = (float *)(void *)graph.tensors[second].data;
    float *bias = (float *)(void *)graph.tensors[graph.operators[0].inputs[2]].data;
    for (int c = 0; c < 8; c++) {
        float factor = c % 2 == 0 ? 30.0f : 0.03f;
        bias[c] *= factor;
        for (int k = 0; k < 4; k++) {
            w1[4 * c + k] *= factor;
            w2[8 * k + c] /= factor;
        }
    }
    graph.operators[0].options.activation = SYSTOLE_ACTIVATION_RELU;
    graph_set_ends(&graph, 1, &input, 1, &output);
    struct sets sets = {&graph, 30, 3, -1.0f, 1.0f, 0};
    struct systole_quantize_options options = integer;
    struct outcome plain, even;
    quantize(&graph, &options, &sets, &plain);
    options.equalize = true;
    quantize(&graph, &options, &sets, &even);
    ck_assert(plain.status == SYSTOLE_OK && even.status == SYSTOLE_OK);
    ck_assert_uint_eq(even.report.equalized, 1);
    ck_assert_double_gt(even.report.layers[1].snr, plain.report.layers[1].snr + 10);
    end(&even);
    end(&plain);
    systole_graph_free(&graph);
}
END_TEST

// Inputs with a mean and coarse weights (one scale for outputs of very different size): the outputs' mean error
// shrinks.
START_TEST(bias_correction) {
    struct systole_graph graph = {0};
    const int32_t in[] = {1, 256}, out[] = {1, 8}, shape[] = {8, 256}, units = 8;
    int32_t input = graph_add_tensor(&graph, SYSTOLE_FLOAT32, 2, in, 0, 0);
    int32_t output = graph_add_tensor(&graph, SYSTOLE_FLOAT32, 2, out, 0, 0);
    const int32_t operands[] = {input, constant_of(&graph, 2, shape, -0.1f, 0.1f, 3),
                                constant_of(&graph, 1, &units, -1.0f, 1.0f, 8)};
    ((float *)(void *)graph.tensors[operands[1]].data)[0] = 8.0f;
    graph_add_operator(&graph, SYSTOLE_OP_FULLY_CONNECTED, 3, operands, output);
    graph_set_ends(&graph, 1, &input, 1, &output);
    struct sets sets = {&graph, 50, 3, 0.5f, 1.0f, 0};
    struct systole_quantize_options options = integer;
    struct outcome plain, corrected;
    quantize(&graph, &options, &sets, &plain);
    options.bias_correction = true;
    quantize(&graph, &options, &sets, &corrected);
    ck_assert(plain.status == SYSTOLE_OK && corrected.status == SYSTOLE_OK);
    ck_assert_uint_eq(corrected.report.corrected, 1);
    ck_assert_double_gt(corrected.report.layers[0].snr, plain.report.layers[0].snr + 3);
    end(&corrected);
    end(&plain);
    systole_graph_free(&graph);
}
END_TEST

// Small tensors stay; TRANSPOSE_CONV gets its weights by DEQUANTIZE; FULLY_CONNECTED reads int8.
START_TEST(dynamic_range) {
    struct systole_graph graph = {0};
    const int32_t in[] = {1, 64}, mid[] = {1, 32}, shape[] = {32, 64}, square[] = {1, 4, 4, 2}, units = 32;
    const int32_t filter[] = {16, 8, 8, 2}, sizes[] = {1, 8, 8, 16}, four = 4;
    int32_t input = graph_add_tensor(&graph, SYSTOLE_FLOAT32, 2, in, 0, 0);
    int32_t middle = graph_add_tensor(&graph, SYSTOLE_FLOAT32, 2, mid, 0, 0);
    int32_t folded = graph_add_tensor(&graph, SYSTOLE_FLOAT32, 4, square, 0, 0);
    int32_t output = graph_add_tensor(&graph, SYSTOLE_FLOAT32, 4, sizes, 0, 0);
    int32_t extents = graph_add_tensor(&graph, SYSTOLE_INT32, 1, &four, 0, 0);
    graph_set_data(&graph, extents, sizes);
    const int32_t operands[] = {input, constant_of(&graph, 2, shape, -0.1f, 0.1f, 3),
                                constant_of(&graph, 1, &units, -1.0f, 1.0f, 8)};
    graph_add_operator(&graph, SYSTOLE_OP_FULLY_CONNECTED, 3, operands, middle);
    struct systole_operator *reshape = graph_add_operator(&graph, SYSTOLE_OP_RESHAPE, 1, &middle, folded);
    reshape->options.new_rank = 4;
    memcpy(reshape->options.new_shape, square, sizeof square);
    const int32_t deconvolution[] = {extents, constant_of(&graph, 4, filter, -0.1f, 0.1f, 3), folded};
    struct systole_operator *op = graph_add_operator(&graph, SYSTOLE_OP_TRANSPOSE_CONV, 3, deconvolution, output);
    op->options.stride_h = op->options.stride_w = 2;
    graph_set_ends(&graph, 1, &input, 1, &output);
    struct sets sets = {&graph, 10, 3, -1.0f, 1.0f, 0};
    const struct systole_quantize_options options = {.mode = SYSTOLE_QUANTIZE_DYNAMIC_RANGE};
    struct outcome o;
    quantize(&graph, &options, &sets, &o);
    ck_assert_int_eq(o.status, SYSTOLE_OK);
    const struct systole_operator *fc = find(&o.graph, SYSTOLE_OP_FULLY_CONNECTED);
    ck_assert_int_eq(o.graph.tensors[fc->inputs[1]].dtype, SYSTOLE_INT8);
    ck_assert_int_eq(o.graph.tensors[fc->inputs[2]].dtype, SYSTOLE_FLOAT32);
    ck_assert(fc->options.asymmetric_quantize_inputs && fc->version == 9);
    ck_assert_uint_eq(o.report.left_count, 1);
    ck_assert_int_eq(o.report.left[0].kind, SYSTOLE_LEFT_DEQUANTIZED);
    ck_assert_int_eq(find(&o.graph, SYSTOLE_OP_DEQUANTIZE)->outputs[0],
                     find(&o.graph, SYSTOLE_OP_TRANSPOSE_CONV)->inputs[1]);
    ck_assert_double_gt(o.report.layers[o.report.layer_count - 1].snr, 30);
    end(&o);
    systole_graph_free(&graph);
}
END_TEST

// Weights that are all 0 under a bias; a bias far larger than what the weights reach; a range of zero width.
START_TEST(extremes) {
    for (int kind = 0; kind < 3; kind++) {
        struct systole_graph graph = {0};
        int32_t input = map_of(&graph, 2, 2, 2), output = map_of(&graph, 2, 2, 3);
        int32_t weights = conv_of(&graph, input, output, 1, 5);
        float *bias = (float *)(void *)graph.tensors[graph.operators[0].inputs[2]].data;
        for (int i = 0; kind < 2 && i < 6; i++) {
            ((float *)(void *)graph.tensors[weights].data)[i] *= kind == 0 ? 0.0f : 1e-9f;
        }
        bias[1] = kind == 1 ? 1000.0f : bias[1];
        graph_set_ends(&graph, 1, &input, 1, &output);
        struct sets sets = {&graph, 5, 3, kind == 2 ? 0.0f : -1.0f, kind == 2 ? 0.0f : 1.0f, 0};
        struct outcome o;
        quantize(&graph, &integer, &sets, &o);
        ck_assert_int_eq(o.status, SYSTOLE_OK);
        ck_assert_double_gt(o.report.layers[0].snr, 35);
        end(&o);
        systole_graph_free(&graph);
    }
}
END_TEST

START_TEST(refusals) {
    struct systole_graph graph = {0};
    int32_t input = map_of(&graph, 2, 2, 2), output = map_of(&graph, 2, 2, 3);
    int32_t weights = conv_of(&graph, input, output, 1, 5);
    graph_set_ends(&graph, 1, &input, 1, &output);
    struct sets sets = {&graph, 5, 3, -1.0f, 1.0f, 0}, none = {&graph, 0, 3, -1.0f, 1.0f, 0};
    struct sets infinite = {&graph, 5, 3, -1.0f, 1.0f, INFINITY};
    struct systole_quantize_options options = integer;
    struct outcome o;
    quantize(&graph, &options, NULL, &o);
    ck_assert_int_eq(o.status, SYSTOLE_BAD_ARGUMENT);
    quantize(&graph, &options, &none, &o);
    ck_assert_int_eq(o.status, SYSTOLE_BAD_ARGUMENT);
    quantize(&graph, &options, &infinite, &o);
    ck_assert_int_eq(o.status, SYSTOLE_BAD_FILE);
    options.mode = SYSTOLE_QUANTIZE_FLOAT16; // integer ends without integers
    quantize(&graph, &options, NULL, &o);
    ck_assert_int_eq(o.status, SYSTOLE_BAD_ARGUMENT);
    options = integer;
    options.percentile = 20;
    quantize(&graph, &options, &sets, &o);
    ck_assert_int_eq(o.status, SYSTOLE_BAD_ARGUMENT);
    ((float *)(void *)graph.tensors[weights].data)[2] = NAN;
    quantize(&graph, &integer, &sets, &o);
    ck_assert_int_eq(o.status, SYSTOLE_BAD_FILE);
    ck_assert_ptr_nonnull(strstr(o.diagnostic.what, "constant"));
    systole_graph_free(&graph);
}
END_TEST

// All halves are floats, and floats round to the nearest of them.
START_TEST(halves) {
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        float value = systole_float_of_half((uint16_t)bits);
        if (!isnan(value)) {
            ck_assert_uint_eq(systole_half_of_float(value), bits);
        }
        // Between two neighbours: to the even one.
        if ((bits & 0x7fff) < 0x7bff) {
            float next = systole_float_of_half((uint16_t)(bits + 1)), middle = value + (next - value) / 2;
            ck_assert_uint_eq(systole_half_of_float(middle), bits + (bits & 1));
            ck_assert_uint_eq(systole_half_of_float(nextafterf(middle, value)), bits);
            ck_assert_uint_eq(systole_half_of_float(nextafterf(middle, next)), bits + 1);
        }
    }
    ck_assert_uint_eq(systole_half_of_float(65519.0f), 0x7bff);
    ck_assert_uint_eq(systole_half_of_float(65520.0f), 0x7c00);
    ck_assert_uint_eq(systole_half_of_float(-1e30f), 0xfc00);
    ck_assert_uint_eq(systole_half_of_float(NAN) & 0x7e00, 0x7e00);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("quantizer");
    TCase *rules = tcase_create("rules");
    tcase_set_timeout(rules, 60);
    tcase_add_test(rules, specification);
    tcase_add_test(rules, batch_normalisation);
    tcase_add_test(rules, same_scales);
    tcase_add_test(rules, left_in_float);
    tcase_add_test(rules, calibrations);
    tcase_add_test(rules, equalisation);
    tcase_add_test(rules, bias_correction);
    tcase_add_test(rules, dynamic_range);
    tcase_add_test(rules, extremes);
    tcase_add_test(rules, refusals);
    tcase_add_test(rules, halves);
    suite_add_tcase(suite, rules);
    return testing_run(suite, "quantizer/test_quantizer");
}
