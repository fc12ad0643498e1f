// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What fuses must compute the same as what does not, and must be gone; what cannot fuse must not.
#include <string.h>

#include "build_graph.h"
#include "check_compile.h"
#include "testing.h"

static const struct build_window conv3 = {
    .channels = 20,
    .height = 3,
    .width = 3,
    .stride_h = 2,
    .stride_w = 2,
    .dilation_h = 1,
    .dilation_w = 1,
    .padding = SYSTOLE_PADDING_VALID,
    .activation = SYSTOLE_ACTIVATION_RELU6,
    .has_bias = true,
    .per_channel = true,
};

static int32_t start(struct systole_graph *graph, enum systole_dtype dtype, int32_t batch, int32_t height,
                     int32_t width, int32_t channels) {
    return build_start(graph, "fuse", dtype, batch, height, width, channels);
}

static void expect(const struct systole_program *program, uint32_t operator_index, enum systole_place place,
                   const char *reason) {
    const struct systole_operator_info *info = &program->operators[operator_index];
    ck_assert_msg(info->place == place && strcmp(info->reason, reason) == 0, "operator %u: place %u, %s: %s",
                  operator_index, info->place, info->reason, info->detail);
}

static void finish(struct systole_graph *graph, struct systole_program *program) {
    systole_program_free(program);
    systole_graph_free(graph);
}

START_TEST(pad_becomes_padding) {
    for (uint32_t seed = 1; seed <= 24; seed++) {
        uint32_t random = seed * 77777u;
        struct systole_graph graph;
        struct systole_program program;
        int32_t input = start(&graph, SYSTOLE_INT8, 1 + (int32_t)(seed & 1), 9, 12, seed % 3 == 0 ? 3 : 18);
        int32_t top = testing_range(&random, 0, 4), left = testing_range(&random, 0, 4);
        int32_t padded =
            build_pad(&graph, input, top, testing_range(&random, 0, 4), left, testing_range(&random, 0, 4));
        struct build_window w = conv3;
        w.padding = seed % 4 == 0 ? SYSTOLE_PADDING_SAME : SYSTOLE_PADDING_VALID;
        build_output(&graph, build_conv(&graph, padded, &w, &random));
        if (seed % 3 != 0) { // a second reader
            w.channels = 18;
            build_output(&graph, build_depthwise(&graph, padded, &w, &random));
        }
        struct systole_target target = check_target(seed % 2 == 0 ? "systole16" : "systole32");
        check_compile(&graph, &target, seed, &program);
        expect(&program, 0, SYSTOLE_PLACE_DEVICE, "folded");
        ck_assert_uint_eq(program.segment_count, 1);
        finish(&graph, &program);
    }
}
END_TEST

// A pool does not know padding as zeros; a graph output must exist.
START_TEST(pad_that_must_exist) {
    struct systole_target target = check_target("systole16");
    struct systole_graph graph;
    struct systole_program program;
    uint32_t random = 5;
    int32_t input = start(&graph, SYSTOLE_INT8, 1, 9, 12, 18);
    build_output(&graph, build_pool(&graph, SYSTOLE_OP_MAX_POOL_2D, build_pad(&graph, input, 1, 1, 1, 1), &conv3));
    check_compile(&graph, &target, 1, &program);
    expect(&program, 0, SYSTOLE_PLACE_DEVICE, "");
    expect(&program, 1, SYSTOLE_PLACE_DEVICE, "");
    finish(&graph, &program);

    input = start(&graph, SYSTOLE_INT8, 1, 9, 12, 18);
    int32_t padded = build_pad(&graph, input, 1, 1, 1, 1);
    build_output(&graph, padded);
    build_output(&graph, build_conv(&graph, padded, &conv3, &random));
    check_compile(&graph, &target, 1, &program);
    expect(&program, 0, SYSTOLE_PLACE_DEVICE, "");
    finish(&graph, &program);
}
END_TEST

// PADV2 with another byte than the zero point is no padding.
START_TEST(pad_with_another_byte) {
    struct systole_target target = check_target("systole16");
    const int8_t values[2] = {-11, 5};
    for (uint32_t i = 0; i < 2; i++) {
        struct systole_graph graph;
        struct systole_program program;
        uint32_t random = 9;
        int32_t input = start(&graph, SYSTOLE_INT8, 1, 9, 12, 18), one = 1;
        int32_t padded = build_pad(&graph, input, 2, 1, 0, 3);
        int32_t value = build_constant(&graph, SYSTOLE_INT8, 1, &one, &values[i]);
        build_quantise(&graph, value, 0.03F, -11);
        struct systole_operator *pad = &graph.operators[0];
        pad->code = SYSTOLE_OP_PADV2;
        pad->inputs[2] = value;
        pad->input_count = 3;
        build_output(&graph, build_conv(&graph, padded, &conv3, &random));
        check_compile(&graph, &target, 1, &program);
        expect(&program, 0, SYSTOLE_PLACE_DEVICE, i == 0 ? "folded" : "");
        finish(&graph, &program);
    }
}
END_TEST

// uint8 to int8 before convolutions and an addition, int8 to uint8 behind: no command for any of them.
START_TEST(sign_flips) {
    struct systole_target target = check_target("systole16");
    struct systole_graph graph;
    struct systole_program program;
    uint32_t random = 11;
    int32_t input = start(&graph, SYSTOLE_UINT8, 1, 10, 10, 20);
    int32_t flipped = build_requantise(&graph, input, SYSTOLE_INT8, 0.03F, 117 - 128);
    struct build_window w = conv3;
    w.stride_h = w.stride_w = 1;
    w.padding = SYSTOLE_PADDING_SAME;
    int32_t conv = build_conv(&graph, flipped, &w, &random);
    const int32_t shape[4] = {1, 10, 10, 20};
    int32_t sum = build_add(&graph, conv, flipped, 4, shape, &random);
    const struct systole_quantisation *q = &graph.tensors[sum].quantisation;
    build_output(&graph, build_requantise(&graph, sum, SYSTOLE_UINT8, q->scale[0], (int32_t)q->zero_point[0] + 128));
    check_compile(&graph, &target, 1, &program);
    expect(&program, 0, SYSTOLE_PLACE_DEVICE, "folded");
    expect(&program, 3, SYSTOLE_PLACE_DEVICE, "folded");
    for (uint32_t i = 0; i < program.segments[0].command_count; i++) {
        ck_assert_uint_ne(program.segments[0].commands[i].header.opcode, SYSTOLE_OPCODE_REQUANTISE);
    }
    finish(&graph, &program);
}
END_TEST

// Pools carry raw bytes, another scale is a real change, an output of both types needs both.
START_TEST(sign_flips_that_need_a_command) {
    struct systole_target target = check_target("systole16");
    struct systole_graph graph;
    struct systole_program program;
    uint32_t random = 13;
    int32_t input = start(&graph, SYSTOLE_UINT8, 1, 10, 10, 20);
    int32_t flipped = build_requantise(&graph, input, SYSTOLE_INT8, 0.03F, 117 - 128);
    build_output(&graph, build_pool(&graph, SYSTOLE_OP_AVERAGE_POOL_2D, flipped, &conv3));
    check_compile(&graph, &target, 1, &program);
    expect(&program, 0, SYSTOLE_PLACE_DEVICE, "");
    finish(&graph, &program);

    input = start(&graph, SYSTOLE_UINT8, 1, 10, 10, 20);
    flipped = build_requantise(&graph, input, SYSTOLE_INT8, 0.04F, 117 - 128);
    build_output(&graph, build_conv(&graph, flipped, &conv3, &random));
    check_compile(&graph, &target, 1, &program);
    expect(&program, 0, SYSTOLE_PLACE_DEVICE, "");
    finish(&graph, &program);

    input = start(&graph, SYSTOLE_UINT8, 1, 10, 10, 20);
    int32_t conv = build_conv(&graph, input, &conv3, &random);
    const struct systole_quantisation *q = &graph.tensors[conv].quantisation;
    build_output(&graph, conv);
    build_output(&graph, build_requantise(&graph, conv, SYSTOLE_INT8, q->scale[0], (int32_t)q->zero_point[0] - 128));
    check_compile(&graph, &target, 1, &program);
    expect(&program, 1, SYSTOLE_PLACE_DEVICE, "");
    finish(&graph, &program);
}
END_TEST

// A flattened map into a fully connected layer; a reshape whose result only the host reads; one behind another.
START_TEST(reshapes) {
    struct systole_target target = check_target("systole16");
    struct systole_graph graph;
    struct systole_program program;
    uint32_t random = 17;
    int32_t input = start(&graph, SYSTOLE_INT8, 1, 10, 12, 5);
    int32_t conv = build_conv(&graph, input, &conv3, &random); // 4 x 5 x 20
    int32_t flat = build_reshape(&graph, conv, 2, (const int32_t[]){1, 400});
    int32_t again = build_reshape(&graph, flat, 3, (const int32_t[]){1, 1, 400});
    int32_t full = build_fully_connected(&graph, again, 400, 30, false, &random);
    build_output(&graph, build_softmax(&graph, build_reshape(&graph, full, 3, (const int32_t[]){5, 3, 2})));
    check_compile(&graph, &target, 1, &program);
    expect(&program, 1, SYSTOLE_PLACE_DEVICE, "folded");
    expect(&program, 2, SYSTOLE_PLACE_DEVICE, "folded");
    expect(&program, 3, SYSTOLE_PLACE_DEVICE, "");
    expect(&program, 4, SYSTOLE_PLACE_DEVICE, "folded");
    expect(&program, 5, SYSTOLE_PLACE_CPU, "softmax");
    ck_assert_uint_eq(program.segment_count, 1);
    finish(&graph, &program);
}
END_TEST

// The same channels under other rows and columns: pixels are counted linearly.
START_TEST(reshape_of_rows) {
    for (uint32_t i = 0; i < 2; i++) {
        struct systole_target target = check_target(i == 0 ? "systole16" : "systole64");
        struct systole_graph graph;
        struct systole_program program;
        uint32_t random = 19;
        int32_t input = start(&graph, SYSTOLE_INT8, 1, 9, 25, 5);
        int32_t conv = build_conv(&graph, input, &conv3, &random); // 4 x 12 x 20
        int32_t other = build_reshape(&graph, conv, 4, (const int32_t[]){1, 8, 6, 20});
        struct build_window w = conv3;
        build_output(&graph, build_depthwise(&graph, other, &w, &random));
        build_output(&graph, build_conv(&graph, other, &w, &random));
        check_compile(&graph, &target, 1, &program);
        expect(&program, 1, SYSTOLE_PLACE_DEVICE, "folded");
        finish(&graph, &program);
    }
}
END_TEST

START_TEST(reshapes_on_the_host) {
    struct systole_target target = check_target("systole16");
    struct systole_graph graph;
    struct systole_program program;
    uint32_t random = 23;
    int32_t input = start(&graph, SYSTOLE_INT8, 1, 9, 25, 6);
    int32_t first = build_reshape(&graph, input, 4, (const int32_t[]){1, 25, 9, 6});
    int32_t conv = build_conv(&graph, first, &conv3, &random); // 12 x 4 x 20
    int32_t other = build_reshape(&graph, conv, 4, (const int32_t[]){1, 12, 8, 10});
    build_output(&graph, build_conv(&graph, other, &conv3, &random));
    check_compile(&graph, &target, 1, &program);
    expect(&program, 0, SYSTOLE_PLACE_CPU, "reshape_on_host");
    expect(&program, 2, SYSTOLE_PLACE_DEVICE, ""); // moves channels
    ck_assert_uint_eq(program.segment_count, 1);
    finish(&graph, &program);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("fuse");
    TCase *tests = tcase_create("fuse");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, pad_becomes_padding);
    tcase_add_test(tests, pad_that_must_exist);
    tcase_add_test(tests, pad_with_another_byte);
    tcase_add_test(tests, sign_flips);
    tcase_add_test(tests, sign_flips_that_need_a_command);
    tcase_add_test(tests, reshapes);
    tcase_add_test(tests, reshape_of_rows);
    tcase_add_test(tests, reshapes_on_the_host);
    suite_add_tcase(suite, tests);
    return testing_run(suite, "compiler/fuse");
}
