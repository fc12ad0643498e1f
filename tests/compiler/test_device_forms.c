// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Operators whose form on the device is not their own: resizes by classes of rows and columns, reductions as pools,
// convolutions of ones and merged moves, transposed convolutions by phases. Over edge shapes, against the interpreter;
// all must be placed on the device.
#include <stdlib.h>

#include "build_graph.h"
#include "check_compile.h"
#include "testing.h"

static enum systole_dtype dtype_of(int i) {
    return i % 2 == 0 ? SYSTOLE_INT8 : SYSTOLE_UINT8;
}

static void start(struct systole_graph *graph, enum systole_dtype dtype, const int32_t shape[4]) {
    build_graph(graph, "form");
    build_quantise(graph, build_tensor(graph, dtype, 4, shape), 0.05F, dtype == SYSTOLE_UINT8 ? 131 : -7);
    build_input(graph, 0);
}

static void check(struct systole_graph *graph, const struct systole_target *target, uint32_t seed) {
    struct systole_program program;
    check_compile(graph, target, seed, &program);
    ck_assert_msg(program.operators[0].place == SYSTOLE_PLACE_DEVICE, "seed %u: %s", seed, program.operators[0].detail);
    systole_program_free(&program);
    systole_graph_free(graph);
}

static int32_t integers(struct systole_graph *graph, int32_t count, const int32_t *values) {
    return build_constant(graph, SYSTOLE_INT32, 1, &count, values);
}

enum coordinates { PLAIN, CORNERS, CENTERS };
static const struct {
    enum coordinates coordinates;
    int32_t in[4], out[2];
} resizes[] = {
    {CORNERS, {1, 3, 3, 21}, {33, 33}}, // 16 columns in a band, and one behind
    {CORNERS, {2, 5, 2, 3}, {9, 9}},    // 2 and 8
    {CORNERS, {1, 1, 4, 1}, {1, 13}},   // 4 in one row
    {CORNERS, {1, 2, 1, 17}, {17, 5}},  // 16 rows of one column
    {CORNERS, {1, 3, 2, 40}, {5, 3}},   // bands not worth their commands
    {PLAIN, {1, 3, 4, 5}, {12, 16}},    // clamped at the end
    {PLAIN, {1, 4, 8, 3}, {2, 2}},      // smaller
    {PLAIN, {2, 2, 2, 18}, {16, 4}},    {PLAIN, {1, 6, 4, 3}, {3, 8}},
    {CENTERS, {1, 3, 5, 19}, {6, 10}}, // clamped at both ends
    {CENTERS, {1, 4, 3, 2}, {16, 12}},  {CENTERS, {1, 8, 8, 16}, {4, 4}},
    {CENTERS, {3, 2, 3, 7}, {4, 3}},
};

START_TEST(resize) {
    const struct systole_target targets[2] = {check_target("systole16"), check_small_target(4, 3, 4, 32, 65536)};
    for (uint32_t i = 0; i < sizeof resizes / sizeof resizes[0]; i++) {
        struct systole_graph graph;
        const int32_t *in = resizes[i].in, out[4] = {in[0], resizes[i].out[0], resizes[i].out[1], in[3]};
        start(&graph, dtype_of(_i), in);
        int32_t output = build_tensor(&graph, dtype_of(_i), 4, out), size = integers(&graph, 2, resizes[i].out);
        build_quantise(&graph, output, 0.05F, dtype_of(_i) == SYSTOLE_UINT8 ? 131 : -7);
        struct systole_operator *op = build_operator(&graph, SYSTOLE_OP_RESIZE_BILINEAR, 0, size, -1, output);
        op->options.align_corners = resizes[i].coordinates == CORNERS;
        op->options.half_pixel_centers = resizes[i].coordinates == CENTERS;
        build_output(&graph, output);
        check(&graph, &targets[_i / 2], i + 1);
    }
}
END_TEST

// Every set of axes, dropped and kept.
START_TEST(reduction) {
    const int32_t codes[4] = {SYSTOLE_OP_MEAN, SYSTOLE_OP_SUM, SYSTOLE_OP_REDUCE_MAX, SYSTOLE_OP_REDUCE_MIN};
    const int32_t shapes[3][4] = {{2, 2, 3, 7}, {1, 2, 3, 18}, {2, 3, 1, 1}};
    const struct systole_target target = check_small_target(8, 3, 4, 64, 262144);
    for (uint32_t set = 1; set < 16; set++) {
        for (uint32_t k = 0; k < 6; k++) {
            const int32_t *shape = shapes[k / 2];
            struct systole_graph graph;
            int32_t axes[4], out[4], count = 0, rank = 0;
            bool keeps = k % 2 == 0;
            for (int32_t axis = 0; axis < 4; axis++) {
                bool reduced = (set >> axis & 1) != 0;
                if (reduced) {
                    axes[count++] = axis;
                }
                if (!reduced || keeps) {
                    out[rank++] = reduced ? 1 : shape[axis];
                }
            }
            start(&graph, dtype_of(_i), shape);
            int32_t output = build_tensor(&graph, dtype_of(_i), rank, out), over = integers(&graph, count, axes);
            bool same = _i / 2 >= 2;
            build_quantise(&graph, output, same ? 0.05F : 0.11F, dtype_of(_i) == SYSTOLE_UINT8 ? 131 : -7);
            build_operator(&graph, codes[_i / 2], 0, over, -1, output)->options.keep_dims = keeps;
            build_output(&graph, output);
            check(&graph, &target, set * 8 + k);
        }
    }
}
END_TEST

static int32_t output_extent(bool same, int32_t extent, int32_t stride, int32_t kernel) {
    int32_t beyond = kernel > stride ? kernel - stride : 0;
    return extent * stride + (same ? 0 : beyond);
}

START_TEST(transpose_convolution) {
    const struct systole_target targets[2] = {check_target("systole16"), check_small_target(4, 2, 4, 16, 65536)};
    uint32_t random = 77;
    for (int32_t kernel = 1; kernel < 6; kernel++) {
        for (int32_t k = 0; k < 8; k++) {
            int32_t stride = 1 + k / 2, across = 1 + (kernel + k) % 3;
            bool same = k % 2 == 0;
            const int32_t in[4] = {1 + kernel % 2, 3, 1 + k, 1 + 5 * (k % 4)};
            const int32_t filter[4] = {1 + 3 * kernel, kernel, 1 + k % 4, in[3]};
            const int32_t out[4] = {in[0], output_extent(same, in[1], stride, filter[1]),
                                    output_extent(same, in[2], across, filter[2]), filter[0]};
            struct systole_graph graph;
            bool legacy = dtype_of(_i) == SYSTOLE_UINT8;
            start(&graph, dtype_of(_i), in);
            int32_t weights = build_tensor(&graph, dtype_of(_i), 4, filter);
            struct systole_tensor *w = &graph.tensors[weights];
            w->data = malloc(w->size);
            for (size_t b = 0; b < w->size; b++) {
                uint8_t byte = (uint8_t)testing_random(&random);
                w->data[b] = !legacy && byte == 0x80 ? 0x81 : byte; // int8 weights are symmetric
            }
            build_quantise(&graph, weights, 0.01F, legacy ? 140 : 0);
            int32_t shape = integers(&graph, 4, out), output = build_tensor(&graph, dtype_of(_i), 4, out);
            build_quantise(&graph, output, 0.2F, legacy ? 120 : 5);
            build_operator(&graph, SYSTOLE_OP_TRANSPOSE_CONV, shape, weights, 0, output);
            struct systole_options *o = &graph.operators[0].options;
            o->stride_h = stride;
            o->stride_w = across;
            o->padding = same ? SYSTOLE_PADDING_SAME : SYSTOLE_PADDING_VALID;
            o->activation = k % 3 == 0 ? SYSTOLE_ACTIVATION_RELU : SYSTOLE_ACTIVATION_NONE;
            build_output(&graph, output);
            check(&graph, &targets[_i / 2], (uint32_t)(kernel * 8 + k));
        }
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("device_forms");
    TCase *tests = tcase_create("device_forms");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, resize, 0, 4);
    tcase_add_loop_test(tests, reduction, 0, 8);
    tcase_add_loop_test(tests, transpose_convolution, 0, 4);
    suite_add_tcase(suite, tests);
    return testing_run(suite, "compiler/device_forms");
}
