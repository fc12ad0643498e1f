// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Every restriction that a model can meet, by its stable code, with a tensor's name and a remedy in the text; and that
// what stays on the CPU leaves a program that still computes the right thing.
#include <stdlib.h>
#include <string.h>

#include "build_graph.h"
#include "check_compile.h"
#include "testing.h"

static struct build_window window(int32_t channels, int32_t size) {
    struct build_window w = build_square(channels, size, 1);
    w.per_channel = true;
    return w;
}

static int32_t start(struct systole_graph *graph, int32_t height, int32_t width, int32_t channels) {
    return build_start(graph, "restrictions", SYSTOLE_INT8, 1, height, width, channels);
}

// Compiles only: the first operator must be on the CPU for this reason. Takes the graph over.
static void expect(struct systole_graph *graph, const struct systole_target *target, const char *code) {
    struct systole_program program;
    struct systole_diagnostic diagnostic = {.what = ""};
    ck_assert_msg(systole_compile(graph, target, NULL, &program, &diagnostic) == SYSTOLE_OK, "%s: %s", code,
                  diagnostic.what);
    const struct systole_operator_info *info = &program.operators[0];
    ck_assert_msg(info->place == SYSTOLE_PLACE_CPU && strcmp(info->reason, code) == 0, "expected %s, is %s: %s", code,
                  info->reason, info->detail);
    ck_assert_int_eq(info->segment, -1);
    ck_assert_msg(strchr(info->detail, ':') != NULL, "%s", info->detail); // text: remedy
    ck_assert_uint_ge(program.step_count, 1);
    systole_program_free(&program);
    systole_graph_free(graph);
}

START_TEST(operators_and_types) {
    struct systole_target target = check_target("systole16");
    struct systole_graph graph;
    uint32_t random = 3;
    int32_t input = start(&graph, 5, 5, 4);
    build_output(&graph, build_softmax(&graph, input));
    expect(&graph, &target, "softmax");

    input = start(&graph, 5, 5, 4);
    int32_t output = build_map(&graph, SYSTOLE_INT8, 1, 5, 5, 4);
    build_quantise(&graph, output, 1.0F / 256.0F, -128);
    build_operator(&graph, SYSTOLE_OP_DIV, input, -1, -1, output);
    build_output(&graph, output);
    expect(&graph, &target, "operator");

    struct build_window w = window(6, 3);
    input = start(&graph, 5, 5, 4);
    build_output(&graph, build_conv(&graph, input, &w, &random));
    graph.operators[0].input_count = 1;
    expect(&graph, &target, "operands");

    input = start(&graph, 5, 5, 4);
    graph.tensors[input].dtype = SYSTOLE_FLOAT32;
    graph.tensors[input].size *= 4;
    build_output(&graph, build_requantise(&graph, input, SYSTOLE_INT8, 0.1F, 3));
    expect(&graph, &target, "type");

    input = start(&graph, 5, 5, 4);
    output = build_pool(&graph, SYSTOLE_OP_MAX_POOL_2D, input, &w);
    graph.tensors[output].dtype = SYSTOLE_UINT8;
    build_output(&graph, output);
    expect(&graph, &target, "types_differ");
}
END_TEST

START_TEST(quantisation_and_constants) {
    struct systole_target target = check_target("systole16");
    struct systole_graph graph;
    uint32_t random = 4;
    struct build_window w = window(6, 3);
    int32_t input = start(&graph, 5, 5, 4);
    int32_t output = build_conv(&graph, input, &w, &random);
    graph.tensors[output].quantisation.scale[0] = 0.0F;
    build_output(&graph, output);
    expect(&graph, &target, "quantisation");

    input = start(&graph, 5, 5, 4);
    build_output(&graph, build_conv(&graph, input, &w, &random));
    int32_t weights = graph.operators[0].inputs[1];
    build_input(&graph, weights);
    free(graph.tensors[weights].data);
    graph.tensors[weights].data = NULL;
    expect(&graph, &target, "weights_variable");

    input = start(&graph, 5, 5, 4);
    build_output(&graph, build_conv(&graph, input, &w, &random));
    graph.tensors[graph.operators[0].inputs[1]].quantisation.zero_point[2] = 1;
    expect(&graph, &target, "weights_quantisation");

    input = start(&graph, 5, 5, 4);
    build_output(&graph, build_conv(&graph, input, &w, &random));
    graph.tensors[graph.operators[0].inputs[2]].shape[0] = 5;
    expect(&graph, &target, "bias");

    const int32_t shape[4] = {1, 5, 5, 4};
    const uint8_t bytes[100] = {1, 2, 3};
    build_graph(&graph, "constant");
    input = build_constant(&graph, SYSTOLE_INT8, 4, shape, bytes);
    build_quantise(&graph, input, 0.1F, 0);
    build_output(&graph, build_requantise(&graph, input, SYSTOLE_INT8, 0.2F, 0));
    expect(&graph, &target, "constant");
}
END_TEST

START_TEST(shapes_and_windows) {
    struct systole_target target = check_target("systole16");
    struct systole_graph graph;
    uint32_t random = 5;
    struct build_window w = window(6, 3);
    int32_t input = start(&graph, 5, 5, 4);
    int32_t output = build_conv(&graph, input, &w, &random);
    graph.tensors[output].rank = 3;
    build_output(&graph, output);
    expect(&graph, &target, "rank");

    input = start(&graph, 5, 5, 4);
    output = build_conv(&graph, input, &w, &random);
    graph.tensors[output].shape[1] = 4;
    build_output(&graph, output);
    expect(&graph, &target, "shape");

    input = start(&graph, 5, 5, 4);
    output = build_conv(&graph, input, &w, &random);
    graph.tensors[graph.operators[0].inputs[1]].shape[3] = 2;
    build_output(&graph, output);
    expect(&graph, &target, "grouped_convolution");

    input = start(&graph, 5, 5, 4);
    w.activation = SYSTOLE_ACTIVATION_TANH;
    build_output(&graph, build_conv(&graph, input, &w, &random));
    expect(&graph, &target, "activation");

    input = start(&graph, 5, 300, 4);
    w = window(6, 3);
    w.width = 256;
    build_output(&graph, build_conv(&graph, input, &w, &random));
    expect(&graph, &target, "window");

    input = start(&graph, 1, 40000, 1);
    build_output(&graph, build_requantise(&graph, input, SYSTOLE_INT8, 0.1F, 3));
    expect(&graph, &target, "extent");

    build_graph(&graph, "batch");
    input = build_map(&graph, SYSTOLE_INT8, 65, 2, 2, 2);
    build_quantise(&graph, input, 0.03F, -11);
    build_input(&graph, input);
    w = window(6, 1);
    build_output(&graph, build_conv(&graph, input, &w, &random));
    expect(&graph, &target, "batch");
}
END_TEST

START_TEST(operators_own) {
    struct systole_target target = check_target("systole16");
    struct systole_graph graph;
    uint32_t random = 6;
    int32_t input = start(&graph, 6, 5, 4);
    build_output(&graph, build_fully_connected(&graph, input, 60, 7, false, &random)); // 2 outputs: halves of a map
    struct systole_program program;
    check_compile(&graph, &target, 1, &program);
    ck_assert_uint_eq(program.operators[0].place, SYSTOLE_PLACE_DEVICE);
    systole_program_free(&program);
    systole_graph_free(&graph);

    input = start(&graph, 6, 5, 4);
    build_output(&graph, build_fully_connected(&graph, input, 10, 7, false, &random)); // half a row
    expect(&graph, &target, "fully_connected_shape");

    build_graph(&graph, "broadcast");
    const int32_t large[5] = {2, 2, 2, 2, 3}, small[5] = {2, 1, 2, 1, 3};
    int32_t a = build_tensor(&graph, SYSTOLE_INT8, 5, large), b = build_tensor(&graph, SYSTOLE_INT8, 5, small);
    build_quantise(&graph, a, 0.1F, 0);
    build_quantise(&graph, b, 0.1F, 0);
    build_input(&graph, a);
    build_input(&graph, b);
    build_output(&graph, build_add(&graph, a, b, 5, large, &random));
    expect(&graph, &target, "broadcast");

    input = start(&graph, 6, 5, 4);
    const int32_t shape[4] = {1, 6, 5, 4};
    int32_t output = build_add(&graph, input, input, 4, shape, &random);
    graph.tensors[output].quantisation.scale[0] = 1e-9F;
    build_output(&graph, output);
    expect(&graph, &target, "add_scale");

    input = start(&graph, 300, 5, 4);
    build_output(&graph, build_mean(&graph, input, true, true, true, &random));
    expect(&graph, &target, "mean_axes");
}
END_TEST

// What does not fit even row by row; the rest of the model runs around it.
START_TEST(scratchpad) {
    struct systole_target target = check_small_target(4, 1, 4, 16, 1u << 12);
    struct systole_graph graph;
    struct systole_program program;
    uint32_t random = 7;
    int32_t input = start(&graph, 20, 20, 8);
    struct build_window w = window(40, 3);
    w.padding = SYSTOLE_PADDING_VALID;
    int32_t wide = build_conv(&graph, input, &w, &random);
    w.stride_h = w.stride_w = 6;
    w.channels = 4;
    w.height = w.width = 1;
    int32_t pooled = build_pool(&graph, SYSTOLE_OP_MAX_POOL_2D, wide, &w);
    build_output(&graph, build_conv(&graph, pooled, &w, &random));
    check_compile(&graph, &target, 1, &program);
    ck_assert_str_eq(program.operators[0].reason, "scratchpad");
    ck_assert_uint_eq(program.operators[2].place, SYSTOLE_PLACE_DEVICE);
    systole_program_free(&program);
    systole_graph_free(&graph);
}
END_TEST

// A small operator between two on the CPU would only cost transfers; the model's output leaves the device anyway.
START_TEST(small_island) {
    struct systole_target target = check_target("systole16");
    struct systole_graph graph;
    struct systole_program program;
    uint32_t random = 8;
    int32_t input = start(&graph, 6, 5, 4);
    struct build_window w = window(10, 3);
    int32_t softmax = build_softmax(&graph, build_conv(&graph, input, &w, &random));
    int32_t island = build_requantise(&graph, softmax, SYSTOLE_INT8, 1.0F / 128.0F, -100);
    softmax = build_softmax(&graph, island);
    build_output(&graph, build_requantise(&graph, softmax, SYSTOLE_UINT8, 1.0F / 256.0F, 0));
    check_compile(&graph, &target, 1, &program);
    ck_assert_str_eq(program.operators[2].reason, "small_island");
    ck_assert_uint_eq(program.operators[4].place, SYSTOLE_PLACE_DEVICE);
    ck_assert_uint_eq(program.segment_count, 2);
    ck_assert_uint_eq(program.step_count, 5);
    systole_program_free(&program);
    systole_graph_free(&graph);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("restrictions");
    TCase *tests = tcase_create("restrictions");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, operators_and_types);
    tcase_add_test(tests, quantisation_and_constants);
    tcase_add_test(tests, shapes_and_windows);
    tcase_add_test(tests, operators_own);
    tcase_add_test(tests, scratchpad);
    tcase_add_test(tests, small_island);
    suite_add_tcase(suite, tests);
    return testing_run(suite, "compiler/restrictions");
}
