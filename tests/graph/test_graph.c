// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "graph.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

START_TEST(extents_follow_tensorflow) {
    ck_assert_int_eq(systole_output_extent(SYSTOLE_PADDING_SAME, 224, 3, 2, 1), 112);
    ck_assert_int_eq(systole_padding_before(SYSTOLE_PADDING_SAME, 224, 3, 2, 1, 112), 0);
    ck_assert_int_eq(systole_output_extent(SYSTOLE_PADDING_SAME, 49, 10, 2, 1), 25);
    ck_assert_int_eq(systole_padding_before(SYSTOLE_PADDING_SAME, 49, 10, 2, 1, 25), 4);
    ck_assert_int_eq(systole_output_extent(SYSTOLE_PADDING_SAME, 7, 3, 1, 2), 7);
    ck_assert_int_eq(systole_padding_before(SYSTOLE_PADDING_SAME, 7, 3, 1, 2, 7), 2);
    ck_assert_int_eq(systole_output_extent(SYSTOLE_PADDING_VALID, 7, 3, 2, 1), 3);
    ck_assert_int_eq(systole_output_extent(SYSTOLE_PADDING_VALID, 7, 3, 1, 3), 1);
    ck_assert_int_eq(systole_output_extent(SYSTOLE_PADDING_VALID, 2, 3, 1, 1), 0);
    ck_assert_int_eq(systole_padding_before(SYSTOLE_PADDING_VALID, 7, 3, 2, 1, 3), 0);
}
END_TEST

static void check_range(enum systole_dtype dtype, float scale, int64_t zero_point, enum systole_activation activation,
                        int32_t low, int32_t high) {
    struct systole_tensor tensor = {.dtype = dtype, .quantisation = {1, &scale, &zero_point, 0}};
    int32_t found_low = 0;
    int32_t found_high = 0;
    systole_activation_range(&tensor, activation, &found_low, &found_high);
    ck_assert_int_eq(found_low, low);
    ck_assert_int_eq(found_high, high);
}

START_TEST(activation_ranges) {
    check_range(SYSTOLE_INT8, 0.1F, -10, SYSTOLE_ACTIVATION_NONE, -128, 127);
    check_range(SYSTOLE_INT8, 0.1F, -10, SYSTOLE_ACTIVATION_RELU, -10, 127);
    check_range(SYSTOLE_INT8, 0.1F, -10, SYSTOLE_ACTIVATION_RELU6, -10, 50);
    check_range(SYSTOLE_INT8, 0.1F, -128, SYSTOLE_ACTIVATION_RELU_N1_TO_1, -128, -118);
    check_range(SYSTOLE_UINT8, 0.0235F, 0, SYSTOLE_ACTIVATION_RELU6, 0, 255);
    check_range(SYSTOLE_UINT8, 0.1F, 5, SYSTOLE_ACTIVATION_RELU, 5, 255);
    check_range(SYSTOLE_INT16, 1e-9F, 0, SYSTOLE_ACTIVATION_RELU6, 0, 32767);
}
END_TEST

START_TEST(names) {
    ck_assert_str_eq(systole_operator_name(SYSTOLE_OP_CONV_2D), "CONV_2D");
    ck_assert_str_eq(systole_operator_name(126), "BATCH_MATMUL");
    ck_assert_str_eq(systole_operator_name(777), "OPERATOR_777");
    ck_assert_str_eq(systole_operator_name(-1), "OPERATOR_-1");
#define CHECK_NAME(name, value) ck_assert_str_eq(systole_operator_name(value), #name);
    SYSTOLE_OPERATOR_LIST(CHECK_NAME)
#undef CHECK_NAME
    ck_assert_str_eq(systole_dtype_name(SYSTOLE_INT8), "INT8");
    ck_assert_uint_eq(systole_dtype_size(SYSTOLE_INT64), 8);
    ck_assert_uint_eq(systole_dtype_size(SYSTOLE_STRING), 0);
}
END_TEST

static const char *const models[] = {
    "ad01_int8",
    "ad01_float",
    "hello_world_int8",
    "hello_world_float",
    "kws_int8",
    "mnist_lstm_int8",
    "person_detect_int8",
    "resnet8_int8",
    "resnet8_float",
    "str_ww_int8",
    "vww_96_int8",
    "vww_96_float",
    "split_concat_uint8",
    "mobilenet_v2_224_int8",
    "mobilenet_v2_224_uint8",
    "mobilenet_v1_025_128_uint8",
    "movenet_lightning_int8",
    "deeplabv3_mnv2_dm05_uint8",
    "mnist_lstm_float",
};
#define MODELS ((int)(sizeof models / sizeof models[0]))

static void check_tensors(const struct systole_graph *graph, const int32_t *indices, uint32_t count, json_t *list) {
    ck_assert_uint_eq(count, json_array_size(list));
    for (uint32_t i = 0; i < count; i++) {
        json_t *entry = json_array_get(list, i);
        const struct systole_tensor *tensor = &graph->tensors[indices[i]];
        ck_assert_int_eq(indices[i], json_integer_value(json_object_get(entry, "index")));
        ck_assert_str_eq(tensor->name, json_string_value(json_object_get(entry, "name")));
        ck_assert_str_eq(systole_dtype_name(tensor->dtype), json_string_value(json_object_get(entry, "dtype")));
        json_t *shape = json_object_get(entry, "shape");
        ck_assert_uint_eq((size_t)tensor->rank, json_array_size(shape));
        for (int32_t d = 0; d < tensor->rank; d++) {
            ck_assert_int_eq(tensor->shape[d], json_integer_value(json_array_get(shape, (size_t)d)));
        }
        json_t *scale = json_object_get(entry, "scale");
        ck_assert_uint_eq(tensor->quantisation.count, json_array_size(scale));
        for (uint32_t k = 0; k < tensor->quantisation.count; k++) {
            double expected = json_number_value(json_array_get(scale, k));
            ck_assert_double_eq_tol(tensor->quantisation.scale[k], expected, 1e-6 * expected);
            ck_assert_int_eq(tensor->quantisation.zero_point[k],
                             json_integer_value(json_array_get(json_object_get(entry, "zero_point"), k)));
        }
    }
}

// Real models against what an independent tool says of them.
START_TEST(real_models_read_as_described) {
    if (testing_shared() == NULL) {
        testing_skip("no conformance models in ../shared");
        return;
    }
    char path[512];
    (void)snprintf(path, sizeof path, "%s/models/%s/model.tflite", testing_shared(), models[_i]);
    struct systole_graph graph;
    struct systole_diagnostic diagnostic;
    enum systole_status status = systole_graph_read_file(path, &graph, &diagnostic);
    ck_assert_msg(status == SYSTOLE_OK, "%s: %s", path, diagnostic.what);
    (void)snprintf(path, sizeof path, "%s/models/%s/model.json", testing_shared(), models[_i]);
    json_t *description = json_load_file(path, 0, NULL);
    ck_assert_ptr_nonnull(description);
    check_tensors(&graph, graph.inputs, graph.input_count, json_object_get(description, "inputs"));
    check_tensors(&graph, graph.outputs, graph.output_count, json_object_get(description, "outputs"));
    json_t *operators = json_object_get(description, "operators");
    ck_assert_uint_eq(graph.operator_count, json_array_size(operators));
    for (uint32_t i = 0; i < graph.operator_count; i++) {
        json_t *entry = json_array_get(operators, i);
        ck_assert_str_eq(systole_operator_name(graph.operators[i].code),
                         json_string_value(json_object_get(entry, "name")));
        ck_assert_int_eq(graph.operators[i].outputs[0],
                         json_integer_value(json_array_get(json_object_get(entry, "outputs"), 0)));
        if (graph.operators[i].code != 44) { // the LSTM's are not counted
            ck_assert_uint_eq(systole_operator_macs(&graph, i),
                              (uint64_t)json_integer_value(json_object_get(entry, "macs")));
        }
    }
    json_decref(description);
    systole_graph_free(&graph);
    systole_graph_free(&graph);
}
END_TEST

START_TEST(missing_files) {
    struct systole_graph graph;
    struct systole_diagnostic diagnostic;
    ck_assert_int_eq(systole_graph_read_file("/nonexistent/m.tflite", &graph, &diagnostic), SYSTOLE_BAD_FILE);
    ck_assert_str_eq(diagnostic.where, "/nonexistent/m.tflite");
    ck_assert_uint_eq(graph.tensor_count, 0);
    ck_assert_int_eq(systole_graph_read_file("/tmp", &graph, &diagnostic), SYSTOLE_BAD_FILE);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("graph");
    TCase *tests = tcase_create("all");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, extents_follow_tensorflow);
    tcase_add_test(tests, activation_ranges);
    tcase_add_test(tests, names);
    tcase_add_loop_test(tests, real_models_read_as_described, 0, MODELS);
    tcase_add_test(tests, missing_files);
    suite_add_tcase(suite, tests);
    return testing_run(suite, "graph/graph");
}
