// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Random single operators on several targets: the device's answer is the interpreter's, in every box and order, and
// each ran on the device.
#include <stdlib.h>

#include "build_graph.h"
#include "check_compile.h"
#include "testing.h"

#define TARGETS 5u
static struct systole_target targets[TARGETS];

static void make_targets(void) {
    targets[0] = check_target("systole16");
    targets[1] = check_target("systole32");
    targets[2] = check_target("systole64");
    targets[3] = check_small_target(4, 1, 4, 16, 1u << 21);
    targets[4] = check_small_target(8, 7, 8, 40, 1u << 21);
}

static enum systole_dtype random_dtype(uint32_t *random) {
    return testing_range(random, 0, 2) == 0 ? SYSTOLE_UINT8 : SYSTOLE_INT8;
}

static int32_t random_zero_point(enum systole_dtype dtype, uint32_t *random) {
    return testing_range(random, -128, 127) + (dtype == SYSTOLE_UINT8 ? 128 : 0);
}

static int32_t pick(uint32_t *random, const int32_t *values, int32_t count) {
    return values[testing_range(random, 0, count - 1)];
}

static int32_t random_channels(uint32_t *random) {
    static const int32_t channels[] = {1, 2, 3, 4, 5, 8, 15, 16, 17, 24, 33, 64, 70};
    return pick(random, channels, (int32_t)(sizeof channels / sizeof channels[0]));
}

static int32_t random_input(struct systole_graph *graph, int32_t channels, uint32_t *random) {
    enum systole_dtype dtype = random_dtype(random);
    int32_t batch = testing_range(random, 0, 3) == 0 ? testing_range(random, 2, 3) : 1;
    int32_t input =
        build_map(graph, dtype, batch, testing_range(random, 1, 20), testing_range(random, 1, 20), channels);
    build_quantise(graph, input, (float)testing_range(random, 1, 1000) / 5000.0F, random_zero_point(dtype, random));
    build_input(graph, input);
    return input;
}

// A window that leaves at least one output.
static struct build_window random_window(const struct systole_graph *graph, int32_t input, uint32_t *random) {
    const struct systole_tensor *in = &graph->tensors[input];
    struct build_window w = {
        .channels = random_channels(random),
        .height = testing_range(random, 1, 5),
        .width = testing_range(random, 1, 5),
        .stride_h = testing_range(random, 1, 3),
        .stride_w = testing_range(random, 1, 3),
        .dilation_h = testing_range(random, 0, 3) == 0 ? 2 : 1,
        .dilation_w = testing_range(random, 0, 3) == 0 ? 2 : 1,
        .padding = testing_range(random, 0, 1) == 0 ? SYSTOLE_PADDING_SAME : SYSTOLE_PADDING_VALID,
        .activation = (enum systole_activation)testing_range(random, 0, 3),
        .has_bias = testing_range(random, 0, 3) != 0,
        .per_channel = testing_range(random, 0, 1) == 0,
    };
    if ((w.height - 1) * w.dilation_h >= in->shape[1] || (w.width - 1) * w.dilation_w >= in->shape[2]) {
        w.padding = SYSTOLE_PADDING_SAME;
    }
    return w;
}

static void check_single(struct systole_graph *graph, int32_t output, uint32_t seed) {
    struct systole_program program;
    build_output(graph, output);
    check_compile(graph, &targets[seed % TARGETS], seed, &program);
    ck_assert_msg(program.operators[0].place == SYSTOLE_PLACE_DEVICE, "seed %u: %s: %s", seed,
                  program.operators[0].reason, program.operators[0].detail);
    systole_program_free(&program);
    systole_graph_free(graph);
}

START_TEST(convolutions) {
    make_targets();
    for (uint32_t seed = 1; seed <= 120; seed++) {
        uint32_t random = seed * 2246822519u;
        struct systole_graph graph;
        build_graph(&graph, "conv");
        int32_t input = random_input(&graph, random_channels(&random), &random);
        struct build_window w = random_window(&graph, input, &random);
        check_single(&graph, build_conv(&graph, input, &w, &random), seed);
    }
}
END_TEST

START_TEST(depthwise_convolutions) {
    make_targets();
    for (uint32_t seed = 1; seed <= 120; seed++) {
        uint32_t random = seed * 3266489917u;
        struct systole_graph graph;
        build_graph(&graph, "depthwise");
        int32_t input = random_input(&graph, random_channels(&random), &random);
        struct build_window w = random_window(&graph, input, &random);
        int32_t multiplier = testing_range(&random, 0, 2) == 0 ? testing_range(&random, 2, 8) : 1;
        w.channels = graph.tensors[input].shape[3] * multiplier;
        if (w.channels <= 64 && testing_range(&random, 0, 5) == 0) { // more taps than the depthwise unit has
            w.height = 17;
            w.width = 16;
            w.padding = SYSTOLE_PADDING_SAME;
        }
        check_single(&graph, build_depthwise(&graph, input, &w, &random), seed);
    }
}
END_TEST

START_TEST(fully_connected_layers) {
    make_targets();
    for (uint32_t seed = 1; seed <= 80; seed++) {
        uint32_t random = seed * 668265263u;
        struct systole_graph graph;
        build_graph(&graph, "fully connected");
        int32_t input = random_input(&graph, random_channels(&random), &random);
        const int32_t *shape = graph.tensors[input].shape;
        bool pixelwise = testing_range(&random, 0, 1) == 0;
        int32_t depth = pixelwise ? shape[3] : shape[1] * shape[2] * shape[3];
        bool keep = pixelwise && testing_range(&random, 0, 1) == 0;
        int32_t units = random_channels(&random);
        check_single(&graph, build_fully_connected(&graph, input, depth, units, keep, &random), seed);
    }
}
END_TEST

START_TEST(pools_and_means) {
    make_targets();
    for (uint32_t seed = 1; seed <= 120; seed++) {
        uint32_t random = seed * 374761393u;
        struct systole_graph graph;
        build_graph(&graph, "pool");
        int32_t input = random_input(&graph, random_channels(&random), &random), output;
        struct build_window w = random_window(&graph, input, &random);
        w.dilation_h = w.dilation_w = 1;
        int32_t kind = testing_range(&random, 0, 2);
        if (kind == 2) {
            int32_t axes = testing_range(&random, 1, 3);
            output =
                build_mean(&graph, input, (axes & 1) != 0, (axes & 2) != 0, testing_range(&random, 0, 1) == 0, &random);
        } else {
            if (w.height > graph.tensors[input].shape[1] || w.width > graph.tensors[input].shape[2]) {
                w.padding = SYSTOLE_PADDING_SAME;
            }
            output = build_pool(&graph, kind == 0 ? SYSTOLE_OP_MAX_POOL_2D : SYSTOLE_OP_AVERAGE_POOL_2D, input, &w);
        }
        check_single(&graph, output, seed);
    }
}
END_TEST

// Operands of ADD: each axis of each is the output's or 1; the second may have fewer dimensions or be a constant.
START_TEST(additions) {
    make_targets();
    for (uint32_t seed = 1; seed <= 120; seed++) {
        uint32_t random = seed * 1274126177u;
        struct systole_graph graph;
        build_graph(&graph, "add");
        int32_t rank = testing_range(&random, 1, 4), shape[4], shapes[2][4];
        for (int32_t i = 0; i < rank; i++) {
            shape[i] = i == rank - 1 ? random_channels(&random) : testing_range(&random, 1, 7);
            int32_t broadcast = testing_range(&random, 0, 5);
            shapes[0][i] = broadcast == 0 ? 1 : shape[i];
            shapes[1][i] = broadcast == 1 ? 1 : shape[i];
        }
        int32_t skip = testing_range(&random, 0, 3) == 0 ? testing_range(&random, 0, rank - 1) : 0;
        enum systole_dtype dtype = random_dtype(&random);
        int32_t a = build_tensor(&graph, dtype, rank, shapes[0]);
        build_quantise(&graph, a, 0.05F, random_zero_point(dtype, &random));
        build_input(&graph, a);
        int32_t b;
        for (int32_t i = 0; i < skip; i++) { // dimensions that the second operand does not have
            shapes[0][i] = shape[i] = graph.tensors[a].shape[i];
        }
        if (testing_range(&random, 0, 3) == 0) {
            uint8_t data[7 * 7 * 7 * 70];
            for (size_t i = 0; i < sizeof data; i++) {
                data[i] = (uint8_t)(testing_random(&random) >> 24);
            }
            b = build_constant(&graph, dtype, rank - skip, shapes[1] + skip, data);
        } else {
            b = build_tensor(&graph, dtype, rank - skip, shapes[1] + skip);
            build_input(&graph, b);
        }
        build_quantise(&graph, b, (float)testing_range(&random, 1, 100) / 500.0F, random_zero_point(dtype, &random));
        check_single(&graph, build_add(&graph, a, b, rank, shape, &random), seed);
    }
}
END_TEST

START_TEST(requantisations) {
    make_targets();
    for (uint32_t seed = 1; seed <= 60; seed++) {
        uint32_t random = seed * 974634777u;
        struct systole_graph graph;
        build_graph(&graph, "quantize");
        int32_t input = random_input(&graph, random_channels(&random), &random);
        enum systole_dtype dtype = random_dtype(&random);
        float scale = graph.tensors[input].quantisation.scale[0] * (float)testing_range(&random, 20, 300) / 100.0F;
        int32_t output = build_requantise(&graph, input, dtype, scale, random_zero_point(dtype, &random));
        check_single(&graph, output, seed);
    }
}
END_TEST

// The mean over a last dimension of one element: the output's channels are what was the width.
START_TEST(mean_of_one_channel) {
    make_targets();
    struct systole_graph graph;
    const int32_t shape[3] = {1, 1, 3}, axis = 3, one = 1;
    build_graph(&graph, "mean");
    int32_t input = build_map(&graph, SYSTOLE_INT8, 1, 1, 3, 1);
    build_quantise(&graph, input, 0.05F, 3);
    build_input(&graph, input);
    int32_t axes = build_constant(&graph, SYSTOLE_INT32, 1, &one, &axis);
    int32_t output = build_tensor(&graph, SYSTOLE_INT8, 3, shape);
    build_quantise(&graph, output, 0.03F, -5);
    build_operator(&graph, SYSTOLE_OP_MEAN, input, axes, -1, output);
    build_output(&graph, output);
    check_compile(&graph, &targets[0], 1, NULL);
    systole_graph_free(&graph);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("legalise");
    TCase *tests = tcase_create("random operators");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, convolutions);
    tcase_add_test(tests, depthwise_convolutions);
    tcase_add_test(tests, fully_connected_layers);
    tcase_add_test(tests, pools_and_means);
    tcase_add_test(tests, additions);
    tcase_add_test(tests, requantisations);
    tcase_add_test(tests, mean_of_one_channel);
    suite_add_tcase(suite, tests);
    return testing_run(suite, "compiler/legalise");
}
