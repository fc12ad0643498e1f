// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Segments and what crosses between them and the host.
#include <string.h>

#include "build_graph.h"
#include "check_compile.h"
#include "testing.h"

static const struct build_window conv = {
    .channels = 12,
    .height = 3,
    .width = 3,
    .stride_h = 1,
    .stride_w = 1,
    .dilation_h = 1,
    .dilation_w = 1,
    .padding = SYSTOLE_PADDING_SAME,
    .has_bias = true,
};

static int32_t start(struct systole_graph *graph, int32_t channels) {
    return build_start(graph, "place", SYSTOLE_INT8, 1, 8, 7, channels);
}

static void check(struct systole_graph *graph, uint32_t segments, uint32_t steps) {
    struct systole_target target = check_target("systole16");
    struct systole_program program;
    check_compile(graph, &target, 1, &program);
    ck_assert_uint_eq(program.segment_count, segments);
    ck_assert_uint_eq(program.step_count, steps);
    for (uint32_t i = 0; i < program.operator_count; i++) {
        bool device = program.operators[i].place == SYSTOLE_PLACE_DEVICE;
        ck_assert_int_eq(program.operators[i].segment >= 0, device);
        ck_assert_int_eq(program.operators[i].reason[0] != 0, !device);
    }
    systole_program_free(&program);
    systole_graph_free(graph);
}

// Device, CPU, device; the first segment's tensor goes to both the CPU and the second segment.
START_TEST(around_the_cpu) {
    struct systole_graph graph;
    uint32_t random = 3;
    int32_t input = start(&graph, 3);
    int32_t first = build_conv(&graph, input, &conv, &random);
    int32_t host = build_softmax(&graph, first);
    int32_t second = build_conv(&graph, host, &conv, &random);
    const int32_t shape[4] = {1, 8, 7, 12};
    build_output(&graph, build_add(&graph, first, second, 4, shape, &random));
    build_output(&graph, first);
    struct systole_target target = check_target("systole16");
    struct systole_program program;
    check_compile(&graph, &target, 1, &program);
    ck_assert_uint_eq(program.segment_count, 2);
    ck_assert_uint_eq(program.step_count, 3);
    ck_assert_uint_eq(program.segments[0].output_count, 1);
    ck_assert_uint_eq(program.segments[1].input_count, 2);
    systole_program_free(&program);
    systole_graph_free(&graph);
}
END_TEST

START_TEST(one_tensor_twice) {
    struct systole_graph graph;
    uint32_t random = 4;
    int32_t input = start(&graph, 20);
    const int32_t shape[4] = {1, 8, 7, 20};
    int32_t sum = build_add(&graph, input, input, 4, shape, &random);
    build_output(&graph, build_conv(&graph, sum, &conv, &random));
    struct systole_target target = check_target("systole16");
    check_compile(&graph, &target, 1, NULL);
    systole_graph_free(&graph);
}
END_TEST

// Several inputs and outputs; an output that later operators read; an operator whose result nobody reads.
START_TEST(many_edges) {
    struct systole_graph graph;
    uint32_t random = 5;
    int32_t input = start(&graph, 3);
    int32_t other = build_map(&graph, SYSTOLE_INT8, 1, 8, 7, 12);
    build_quantise(&graph, other, 0.04F, 17);
    build_input(&graph, other);
    int32_t a = build_conv(&graph, input, &conv, &random);
    (void)build_conv(&graph, a, &conv, &random);
    const int32_t shape[4] = {1, 8, 7, 12};
    int32_t b = build_add(&graph, a, other, 4, shape, &random);
    int32_t c = build_conv(&graph, b, &conv, &random);
    build_output(&graph, c);
    build_output(&graph, b);
    check(&graph, 1, 1);
}
END_TEST

// Two branches with an operator of the CPU in each, one behind the other in the graph: their convolutions run together.
START_TEST(branches_together) {
    struct systole_graph graph;
    uint32_t random = 6;
    int32_t input = start(&graph, 3);
    int32_t left = build_softmax(&graph, build_conv(&graph, input, &conv, &random));
    int32_t right = build_softmax(&graph, build_conv(&graph, input, &conv, &random));
    const int32_t shape[4] = {1, 8, 7, 12};
    int32_t a = build_conv(&graph, left, &conv, &random), b = build_conv(&graph, right, &conv, &random);
    build_output(&graph, build_add(&graph, a, b, 4, shape, &random));
    struct systole_target target = check_target("systole16");
    struct systole_program program;
    check_compile(&graph, &target, 1, &program);
    ck_assert_uint_eq(program.segment_count, 2); // in the graph's order: 3
    ck_assert_int_eq(program.operators[0].segment, 0);
    ck_assert_int_eq(program.operators[2].segment, 0);
    const struct systole_step wanted[4] = {
        {SYSTOLE_PLACE_DEVICE, 0}, {SYSTOLE_PLACE_CPU, 1}, {SYSTOLE_PLACE_CPU, 3}, {SYSTOLE_PLACE_DEVICE, 1}};
    ck_assert_uint_eq(program.step_count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_uint_eq(program.steps[i].place, wanted[i].place);
        ck_assert_uint_eq(program.steps[i].index, wanted[i].index);
    }
    systole_program_free(&program);
    systole_graph_free(&graph);
}
END_TEST

// Small convolutions between operators of the CPU: the link takes longer than the CPU. The large one stays.
START_TEST(not_worth_their_way) {
    struct systole_graph graph;
    uint32_t random = 7;
    int32_t input = start(&graph, 16);
    struct build_window small = conv;
    small.channels = 2;
    small.height = small.width = 1;
    int32_t tensor = build_conv(&graph, input, &conv, &random);
    for (int i = 0; i < 3; i++) {
        tensor = build_conv(&graph, build_softmax(&graph, tensor), &small, &random);
    }
    build_output(&graph, build_softmax(&graph, tensor));
    struct systole_target target = check_target("systole16");
    struct systole_program program;
    check_compile(&graph, &target, 1, &program);
    ck_assert_uint_eq(program.segment_count, 1);
    for (uint32_t i = 2; i < 7; i += 2) {
        ck_assert_uint_eq(program.operators[i].place, SYSTOLE_PLACE_CPU);
        ck_assert_str_eq(program.operators[i].reason, "small_island");
    }
    systole_program_free(&program);
    systole_graph_free(&graph);
}
END_TEST

// All on the CPU is a program, too.
START_TEST(nothing_for_the_device) {
    struct systole_graph graph;
    int32_t input = start(&graph, 3);
    build_output(&graph, build_softmax(&graph, input));
    check(&graph, 0, 1);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("place");
    TCase *tests = tcase_create("place");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, around_the_cpu);
    tcase_add_test(tests, one_tensor_twice);
    tcase_add_test(tests, many_edges);
    tcase_add_test(tests, branches_together);
    tcase_add_test(tests, not_worth_their_way);
    tcase_add_test(tests, nothing_for_the_device);
    suite_add_tcase(suite, tests);
    return testing_run(suite, "compiler/place");
}
