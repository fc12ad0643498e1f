// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "build_graph.h"
#include "graph.h"
#include "testing.h"

static const char *const files[] = {
    "models/ad01_int8",
    "models/kws_int8",
    "models/resnet8_int8",
    "models/resnet8_float",
    "models/vww_96_int8",
    "models/str_ww_int8",
    "models/person_detect_int8",
    "models/mobilenet_v2_224_int8",
    "operators/MEAN_i8_0",
    "operators/RESHAPE_i8_0",
    "operators/PAD_i8_0",
    "operators/CONCATENATION_i8_0",
    "operators/SOFTMAX_f_0",
    "operators/QUANTIZE_i8_i8_0",
    "operators/ABS_i8_0",
    "operators/MAX_POOL_2D_i8_0",
    "models/mnist_lstm_int8",
    "models/mnist_lstm_float",
    "operators/SVDF_i8_0",
    "operators/BATCH_MATMUL_i8_1",
    "operators/LOG_SOFTMAX_i8_0",
    "operators/TRANSPOSE_CONV_i8_0",
    "operators/SUB_u8_0",
    "operators/SQUEEZE_i8_2",
    "operators/CAST_i8_f_0",
    "operators/L2_NORMALIZATION_i8_0",
    "operators/RESIZE_BILINEAR_i8_1",
    "operators/RESIZE_NEAREST_NEIGHBOR_i8_1",
    "operators/SPACE_TO_DEPTH_i8_0",
    "operators/DEPTH_TO_SPACE_i8_0",
    "operators/GATHER_i8_2",
    "operators/STRIDED_SLICE_i8_6",
    "operators/SPLIT_i8_0",
    "operators/SPLIT_V_i8_0",
    "operators/ARG_MAX_i8_0",
    "operators/ARG_MIN_i8_0",
    "operators/PACK_i8_1",
    "operators/UNPACK_i8_2",
    "operators/LEAKY_RELU_i8_0",
    "operators/MIRROR_PAD_i8_1",
    "operators/SUM_i8_1",
    "operators/REDUCE_MAX_i8_1",
    "operators/REDUCE_MIN_i8_0",
    "operators/HARD_SWISH_i8_0",
    "operators/SELECT_V2_i8_0",
    "models/movenet_lightning_int8",
    "models/deeplabv3_mnv2_dm05_uint8",
};
#define FILES ((int)(sizeof files / sizeof files[0]))

static bool read_model(int index, struct systole_graph *graph) {
    char path[512];
    struct systole_diagnostic diagnostic;
    if (testing_shared() == NULL) {
        testing_skip("no conformance models in ../shared");
        return false;
    }
    (void)snprintf(path, sizeof path, "%s/%s/model.tflite", testing_shared(), files[index]);
    enum systole_status status = systole_graph_read_file(path, graph, &diagnostic);
    ck_assert_msg(status == SYSTOLE_OK, "%s: %s", path, diagnostic.what);
    return true;
}

static void check_same(const struct systole_graph *a, const struct systole_graph *b, const bool *keep) {
    ck_assert_uint_eq(a->tensor_count, b->tensor_count);
    ck_assert_uint_eq(a->operator_count, b->operator_count);
    ck_assert_uint_eq(a->input_count, b->input_count);
    ck_assert_uint_eq(a->output_count, b->output_count);
    ck_assert_mem_eq(a->inputs, b->inputs, a->input_count * sizeof *a->inputs);
    ck_assert_mem_eq(a->outputs, b->outputs, a->output_count * sizeof *a->outputs);
    ck_assert_str_eq(a->name, b->name);
    for (uint32_t t = 0; t < a->tensor_count; t++) {
        const struct systole_tensor *x = &a->tensors[t];
        const struct systole_tensor *y = &b->tensors[t];
        ck_assert_str_eq(x->name, y->name);
        ck_assert_int_eq(x->dtype, y->dtype);
        ck_assert_int_eq(x->rank, y->rank);
        ck_assert_mem_eq(x->shape, y->shape, sizeof x->shape);
        ck_assert_uint_eq(x->size, y->size);
        ck_assert_int_eq(x->is_variable, y->is_variable);
        ck_assert_uint_eq(x->quantisation.count, y->quantisation.count);
        if (x->quantisation.count > 0) {
            ck_assert_int_eq(x->quantisation.dimension, y->quantisation.dimension);
            ck_assert_mem_eq(x->quantisation.scale, y->quantisation.scale, x->quantisation.count * sizeof(float));
            ck_assert_mem_eq(x->quantisation.zero_point, y->quantisation.zero_point,
                             x->quantisation.count * sizeof(int64_t));
        }
        if (x->data == NULL || (keep != NULL && !keep[t])) {
            ck_assert_ptr_null(y->data);
        } else {
            ck_assert_ptr_nonnull(y->data);
            ck_assert_mem_eq(x->data, y->data, x->size);
        }
    }
    for (uint32_t i = 0; i < a->operator_count; i++) {
        const struct systole_operator *x = &a->operators[i];
        const struct systole_operator *y = &b->operators[i];
        ck_assert_int_eq(x->code, y->code);
        ck_assert_int_eq(x->version, y->version);
        ck_assert_uint_eq(x->input_count, y->input_count);
        ck_assert_uint_eq(x->output_count, y->output_count);
        ck_assert_mem_eq(x->inputs, y->inputs, x->input_count * sizeof *x->inputs);
        ck_assert_mem_eq(x->outputs, y->outputs, x->output_count * sizeof *x->outputs);
        ck_assert_mem_eq(&x->options, &y->options, sizeof x->options);
        ck_assert_uint_eq(x->intermediate_count, y->intermediate_count);
        ck_assert_mem_eq(x->intermediates, y->intermediates, x->intermediate_count * sizeof *x->intermediates);
    }
}

START_TEST(round_trip) {
    struct systole_graph graph;
    struct systole_graph again;
    struct systole_diagnostic diagnostic;
    if (!read_model(_i, &graph)) {
        return;
    }
    uint8_t *bytes[2] = {NULL, NULL};
    size_t size[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        enum systole_status status = systole_graph_write(&graph, NULL, &bytes[i], &size[i], &diagnostic);
        ck_assert_msg(status == SYSTOLE_OK, "%s", diagnostic.what);
    }
    ck_assert_uint_eq(size[0], size[1]);
    ck_assert_mem_eq(bytes[0], bytes[1], size[0]);
    ck_assert_int_eq(systole_graph_read(bytes[0], size[0], "again", &again, &diagnostic), SYSTOLE_OK);
    check_same(&graph, &again, NULL);
    systole_graph_free(&again);
    systole_graph_free(&graph);
    free(bytes[0]);
    free(bytes[1]);
}
END_TEST

START_TEST(emptied) {
    struct systole_graph graph;
    struct systole_graph again;
    struct systole_graph third;
    struct systole_diagnostic diagnostic;
    if (!read_model(_i, &graph)) {
        return;
    }
    bool *keep = calloc(graph.tensor_count, sizeof *keep);
    ck_assert_ptr_nonnull(keep);
    size_t left_out = 0;
    for (uint32_t t = 0; t < graph.tensor_count; t++) {
        keep[t] = t % 2 == 0;
        left_out += graph.tensors[t].data != NULL && !keep[t] ? graph.tensors[t].size : 0;
    }
    uint8_t *full = NULL;
    uint8_t *bytes = NULL;
    size_t full_size = 0;
    size_t size = 0;
    ck_assert_int_eq(systole_graph_write(&graph, NULL, &full, &full_size, &diagnostic), SYSTOLE_OK);
    ck_assert_int_eq(systole_graph_write(&graph, keep, &bytes, &size, &diagnostic), SYSTOLE_OK);
    if (left_out > 1000) {
        ck_assert_uint_lt(size, full_size - left_out + 1000);
    }
    enum systole_status status = systole_graph_read(bytes, size, "emptied", &again, &diagnostic);
    ck_assert_msg(status == SYSTOLE_OK, "%s", diagnostic.what);
    check_same(&graph, &again, keep);
    for (uint32_t t = 0; t < graph.tensor_count; t++) {
        // A constant that nobody reads may lose the mark; one that is read keeps it.
        ck_assert(!again.tensors[t].was_constant || (graph.tensors[t].data != NULL && !keep[t]));
    }
    free(bytes);
    // An emptied model written once more stays readable.
    ck_assert_int_eq(systole_graph_write(&again, NULL, &bytes, &size, &diagnostic), SYSTOLE_OK);
    ck_assert_int_eq(systole_graph_read(bytes, size, "third", &third, &diagnostic), SYSTOLE_OK);
    check_same(&again, &third, NULL);
    systole_graph_free(&third);
    systole_graph_free(&again);
    systole_graph_free(&graph);
    free(bytes);
    free(full);
    free(keep);
}
END_TEST

// A graph that was never a file: one custom operator.
START_TEST(custom_operators_keep_their_options) {
    static int32_t input = 0;
    static int32_t output = 1;
    static char name[] = "mine";
    static uint8_t options[] = {1, 2, 3, 250};
    struct systole_tensor tensors[2] = {
        {.name = NULL, .dtype = SYSTOLE_FLOAT32, .rank = 1, .shape = {3}, .size = 12},
        {.name = name, .dtype = SYSTOLE_INT64, .rank = 0, .size = 8},
    };
    struct systole_operator op = {.code = SYSTOLE_OP_CUSTOM,
                                  .version = 2,
                                  .custom_name = name,
                                  .inputs = &input,
                                  .outputs = &output,
                                  .input_count = 1,
                                  .output_count = 1,
                                  .custom_options = options,
                                  .custom_options_size = sizeof options};
    struct systole_graph graph = {.tensors = tensors,
                                  .operators = &op,
                                  .inputs = &input,
                                  .outputs = &output,
                                  .tensor_count = 2,
                                  .operator_count = 1,
                                  .input_count = 1,
                                  .output_count = 1};
    struct systole_graph again;
    uint8_t *bytes = NULL;
    size_t size = 0;
    ck_assert_int_eq(systole_graph_write(&graph, NULL, &bytes, &size, NULL), SYSTOLE_OK);
    ck_assert_int_eq(systole_graph_read(bytes, size, "custom", &again, NULL), SYSTOLE_OK);
    ck_assert_str_eq(again.operators[0].custom_name, "mine");
    ck_assert_int_eq(again.operators[0].version, 2);
    ck_assert_uint_eq(again.operators[0].custom_options_size, sizeof options);
    ck_assert_mem_eq(again.operators[0].custom_options, options, sizeof options);
    systole_graph_free(&again);
    free(bytes);

    // The same with an operand that nobody computes, and with options that cannot be written.
    input = 1;
    output = 0;
    graph.input_count = 0;
    struct systole_diagnostic diagnostic;
    ck_assert_int_eq(systole_graph_write(&graph, NULL, &bytes, &size, NULL), SYSTOLE_OK);
    ck_assert_int_eq(systole_graph_read(bytes, size, "custom", &again, &diagnostic), SYSTOLE_BAD_FILE);
    ck_assert_ptr_nonnull(strstr(diagnostic.what, "operator 0 (CUSTOM) reads tensor 1"));
    free(bytes);
    op.options_unknown = true;
    ck_assert_int_eq(systole_graph_write(&graph, NULL, &bytes, &size, &diagnostic), SYSTOLE_UNSUPPORTED);
    ck_assert_ptr_null(bytes);
}
END_TEST

START_TEST(names_have_no_control_characters) {
    struct systole_graph graph, again;
    struct systole_diagnostic diagnostic;
    uint8_t *bytes = NULL;
    size_t size = 0;
    build_graph(&graph, "two\nlines");
    int32_t input = build_map(&graph, SYSTOLE_INT8, 1, 1, 1, 1), output = build_map(&graph, SYSTOLE_INT8, 1, 1, 1, 1);
    build_input(&graph, input);
    build_output(&graph, output);
    (void)build_operator(&graph, SYSTOLE_OP_ABS, input, -1, -1, output);
    free(graph.tensors[0].name);
    graph.tensors[0].name = strdup("\x1b[31mr\xc3\xb6t\x7f");
    ck_assert_int_eq(systole_graph_write(&graph, NULL, &bytes, &size, &diagnostic), SYSTOLE_OK);
    ck_assert_int_eq(systole_graph_read(bytes, size, "names", &again, &diagnostic), SYSTOLE_OK);
    ck_assert_str_eq(again.name, "two?lines");
    ck_assert_str_eq(again.tensors[0].name, "?[31mr\xc3\xb6t?");
    systole_graph_free(&again);
    systole_graph_free(&graph);
    free(bytes);
}
END_TEST

// An option of type enum in a file may have any value, and must not be one in memory.
START_TEST(options_name_known_types) {
    struct systole_graph graph, again;
    struct systole_diagnostic diagnostic;
    uint8_t *bytes = NULL;
    size_t size = 0;
    build_graph(&graph, "types");
    int32_t input = build_map(&graph, SYSTOLE_INT8, 1, 1, 1, 1), output = build_map(&graph, SYSTOLE_INT8, 1, 1, 1, 1);
    build_input(&graph, input);
    build_output(&graph, output);
    struct systole_operator *op = build_operator(&graph, SYSTOLE_OP_CAST, input, -1, -1, output);
    op->options_type = 37; // CastOptions
    op->options.input_type = SYSTOLE_INT8;
    op->options.output_type = 11; // COMPLEX128
    ck_assert_int_eq(systole_graph_write(&graph, NULL, &bytes, &size, &diagnostic), SYSTOLE_OK);
    ck_assert_int_eq(systole_graph_read(bytes, size, "types", &again, &diagnostic), SYSTOLE_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(diagnostic.what, "element type"));
    free(bytes);
    op->options.output_type = SYSTOLE_INT8;
    ck_assert_int_eq(systole_graph_write(&graph, NULL, &bytes, &size, &diagnostic), SYSTOLE_OK);
    ck_assert_int_eq(systole_graph_read(bytes, size, "types", &again, &diagnostic), SYSTOLE_OK);
    systole_graph_free(&again);
    systole_graph_free(&graph);
    free(bytes);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("graph_writer");
    TCase *tests = tcase_create("all");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, round_trip, 0, FILES);
    tcase_add_loop_test(tests, emptied, 0, FILES);
    tcase_add_test(tests, custom_operators_keep_their_options);
    tcase_add_test(tests, names_have_no_control_characters);
    tcase_add_test(tests, options_name_known_types);
    suite_add_tcase(suite, tests);
    return testing_run(suite, "graph/graph_writer");
}
