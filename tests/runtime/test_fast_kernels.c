// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Every fast kernel against the reference kernel of the same operator: integers and hybrid operators to the bit, floats
// within the order of their sums. Random shapes at the edges of tiles, strides, dilations, paddings, zero points,
// extreme bytes, biases and scales, on every instruction set that this processor has and on plain C, with one thread
// and several.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph_builder.h"
#include "interpreter.h"
#include "testing.h"

enum kind { INT8, UINT8, FLOAT, HYBRID, KINDS };
static const char *const kind_names[KINDS] = {"int8", "uint8", "float32", "hybrid"};

static const enum systole_kernel_level levels[] = {SYSTOLE_KERNELS_C, SYSTOLE_KERNELS_AVX2, SYSTOLE_KERNELS_AVX512,
                                                   SYSTOLE_KERNELS_NEON, SYSTOLE_KERNELS_NEON_DOT};
enum { LEVELS = sizeof levels / sizeof *levels, LARGEST_THREADS = 5 };

static enum systole_dtype dtype_of(enum kind kind) {
    return kind == INT8 ? SYSTOLE_INT8 : kind == UINT8 ? SYSTOLE_UINT8 : SYSTOLE_FLOAT32;
}

static void fill(uint32_t *state, const struct systole_tensor *tensor, uint8_t *bytes) {
    bool extremes = testing_range(state, 0, 3) == 0;
    for (size_t i = 0; i < systole_tensor_elements(tensor); i++) {
        if (tensor->dtype == SYSTOLE_FLOAT32) {
            float value = (float)testing_range(state, -1000, 1000) / 512.0f;
            memcpy(bytes + 4 * i, &value, sizeof value);
        } else {
            uint8_t low = tensor->dtype == SYSTOLE_UINT8 ? 0x00 : 0x80;
            int32_t choice = testing_range(state, 0, extremes ? 1 : 7);
            bytes[i] = choice == 0 ? low : choice == 1 ? (uint8_t)(low - 1) : (uint8_t)testing_random(state);
        }
    }
}

static void add_constant(struct systole_graph *graph, uint32_t *state, int32_t tensor) {
    uint8_t *bytes = malloc(graph->tensors[tensor].size + 1);
    fill(state, &graph->tensors[tensor], bytes);
    graph_set_data(graph, tensor, bytes);
    free(bytes);
}

static void add_bias(struct systole_graph *graph, uint32_t *state, int32_t tensor) {
    int32_t range = testing_range(state, 0, 9) == 0 ? INT32_MAX : 30000; // the first leaves the bounds of what is fused
    size_t count = systole_tensor_elements(&graph->tensors[tensor]);
    int32_t *values = malloc((count + 1) * sizeof *values);
    for (size_t i = 0; i < count; i++) {
        values[i] = testing_range(state, -range, range);
    }
    graph_set_data(graph, tensor, values);
    free(values);
}

// Scales that make shifts to both sides, and so small ones that their shift is out of the fused kernels' bounds.
static void add_scales(struct systole_graph *graph, uint32_t *state, int32_t tensor, uint32_t count, int64_t zero_point,
                       int32_t dimension) {
    float *scales = calloc(count, sizeof *scales);
    int32_t choice = testing_range(state, 0, 9);
    for (uint32_t i = 0; i < count; i++) {
        float base = (float)testing_range(state, 1, 4000) * 1.0e-5f;
        scales[i] = choice == 0 ? base * 100.0f : choice == 1 ? base * 1.0e-6f : base;
    }
    graph_set_scales(graph, tensor, count, scales, zero_point, dimension);
    free(scales);
}

static int32_t zero_point_of(uint32_t *state, enum kind kind) {
    int32_t low = kind == UINT8 ? 0 : -128, choice = testing_range(state, 0, 5);
    return choice == 0 ? low : choice == 1 ? low + 255 : testing_range(state, low, low + 255);
}

static int32_t random_channels(uint32_t *state) {
    static const int32_t edges[] = {1, 3, 7, 8, 15, 16, 17, 24, 31, 32, 33, 48, 49, 63, 64, 65, 96, 100};
    return edges[testing_range(state, 0, sizeof edges / sizeof *edges - 1)];
}

// CONV_2D, DEPTHWISE_CONV_2D or FULLY_CONNECTED with random everything.
static struct systole_graph build_weighted(uint32_t *state, int32_t code, enum kind kind) {
    static const enum systole_activation activations[] = {SYSTOLE_ACTIVATION_NONE, SYSTOLE_ACTIVATION_RELU,
                                                          SYSTOLE_ACTIVATION_RELU6, SYSTOLE_ACTIVATION_RELU_N1_TO_1};
    struct systole_graph graph = {0};
    bool is_dense = code == SYSTOLE_OP_FULLY_CONNECTED, is_depthwise = code == SYSTOLE_OP_DEPTHWISE_CONV_2D;
    bool is_point = is_dense || (code == SYSTOLE_OP_CONV_2D && testing_range(state, 0, 1) == 0);
    bool is_integer = kind == INT8 || kind == UINT8;
    int32_t filter_h = is_point ? 1 : testing_range(state, 1, 5), filter_w = is_point ? 1 : testing_range(state, 1, 5);
    if (!is_point && testing_range(state, 0, 1) == 0) {
        filter_h = filter_w = 3;
    }
    int32_t stride_h = is_dense || testing_range(state, 0, 1) == 0 ? 1 : testing_range(state, 1, 3);
    int32_t stride_w = is_dense || testing_range(state, 0, 1) == 0 ? stride_h : testing_range(state, 1, 3);
    int32_t dilation_h = is_point ? 1 : testing_range(state, 0, 3) == 0 ? 2 : 1;
    int32_t dilation_w = is_point ? 1 : testing_range(state, 0, 3) == 0 ? 3 : 1;
    enum systole_padding padding = testing_range(state, 0, 1) == 0 ? SYSTOLE_PADDING_SAME : SYSTOLE_PADDING_VALID;
    int32_t height = (filter_h - 1) * dilation_h + testing_range(state, 1, 6);
    int32_t width = (filter_w - 1) * dilation_w + testing_range(state, 1, 13);
    int32_t channels = random_channels(state), batches = testing_range(state, 0, 3) == 0 ? 3 : 1;
    int32_t multiplier = is_depthwise && testing_range(state, 0, 3) == 0 ? testing_range(state, 2, 5) : 1;
    int32_t outputs = is_depthwise ? channels * multiplier : random_channels(state);
    int32_t out_h = systole_output_extent(padding, height, filter_h, stride_h, dilation_h);
    int32_t out_w = systole_output_extent(padding, width, filter_w, stride_w, dilation_w);
    enum systole_dtype dtype = dtype_of(kind), weight_type = kind == HYBRID ? SYSTOLE_INT8 : dtype;
    const int32_t input_shape[] = {batches, height, width, channels}, output_shape[] = {batches, out_h, out_w, outputs};
    const int32_t conv_shape[] = {outputs, filter_h, filter_w, channels};
    const int32_t depthwise_shape[] = {1, filter_h, filter_w, outputs}, dense_shape[] = {outputs, channels};
    int32_t input = graph_add_tensor(&graph, dtype, 4, input_shape, is_integer ? 0.02f : 0, zero_point_of(state, kind));
    int32_t weights = graph_add_tensor(&graph, weight_type, is_dense ? 2 : 4,
                                       is_dense       ? dense_shape
                                       : is_depthwise ? depthwise_shape
                                                      : conv_shape,
                                       0, 0);
    int32_t bias = graph_add_tensor(&graph, is_integer ? SYSTOLE_INT32 : SYSTOLE_FLOAT32, 1, &outputs, 0, 0);
    int32_t output =
        graph_add_tensor(&graph, dtype, 4, output_shape, is_integer ? 0.001f * (float)testing_range(state, 1, 400) : 0,
                         zero_point_of(state, kind));
    if (kind != FLOAT) {
        bool per_channel = kind != UINT8 && testing_range(state, 0, 3) != 0;
        add_scales(&graph, state, weights, per_channel ? (uint32_t)outputs : 1,
                   kind == UINT8 ? zero_point_of(state, kind) : 0, is_depthwise ? 3 : 0);
    }
    add_constant(&graph, state, weights);
    if (is_integer) {
        add_bias(&graph, state, bias);
    } else {
        add_constant(&graph, state, bias);
    }
    const int32_t inputs[] = {input, weights, testing_range(state, 0, 3) == 0 ? -1 : bias};
    struct systole_operator *op = graph_add_operator(&graph, code, 3, inputs, output);
    op->options.stride_h = stride_h;
    op->options.stride_w = stride_w;
    op->options.dilation_h = dilation_h;
    op->options.dilation_w = dilation_w;
    op->options.padding = padding;
    op->options.activation = activations[testing_range(state, 0, 3)];
    op->options.depth_multiplier = is_depthwise ? multiplier : 0;
    op->options.asymmetric_quantize_inputs = testing_range(state, 0, 1) == 0;
    graph_set_ends(&graph, 1, &input, 1, &output);
    return graph;
}

static struct systole_graph build_add(uint32_t *state, enum kind kind) {
    struct systole_graph graph = {0};
    const int32_t shape[] = {1, testing_range(state, 1, 60), testing_range(state, 1, 9), random_channels(state)};
    bool is_integer = kind != FLOAT;
    int32_t tensors[3];
    for (int i = 0; i < 3; i++) {
        float scale = is_integer ? 0.001f * (float)testing_range(state, 1, 400) : 0;
        tensors[i] = graph_add_tensor(&graph, dtype_of(kind), 4, shape, scale, zero_point_of(state, kind));
    }
    graph_add_operator(&graph, SYSTOLE_OP_ADD, 2, tensors, tensors[2])->options.activation =
        testing_range(state, 0, 1) == 0 ? SYSTOLE_ACTIVATION_RELU : SYSTOLE_ACTIVATION_NONE;
    graph_set_ends(&graph, 2, tensors, 1, &tensors[2]);
    return graph;
}

static struct systole_graph build_pool(uint32_t *state, int32_t code, enum kind kind) {
    struct systole_graph graph = {0};
    int32_t filter_h = testing_range(state, 1, 4), filter_w = testing_range(state, 1, 4);
    int32_t stride_h = testing_range(state, 1, 3), stride_w = testing_range(state, 1, 3);
    enum systole_padding padding = testing_range(state, 0, 1) == 0 ? SYSTOLE_PADDING_SAME : SYSTOLE_PADDING_VALID;
    const int32_t shape[] = {testing_range(state, 1, 2), filter_h + testing_range(state, 0, 7),
                             filter_w + testing_range(state, 0, 7), random_channels(state)};
    const int32_t output_shape[] = {shape[0], systole_output_extent(padding, shape[1], filter_h, stride_h, 1),
                                    systole_output_extent(padding, shape[2], filter_w, stride_w, 1), shape[3]};
    float scale = kind == FLOAT ? 0 : 0.05f;
    int32_t zero_point = zero_point_of(state, kind);
    int32_t input = graph_add_tensor(&graph, dtype_of(kind), 4, shape, scale, zero_point);
    int32_t output = graph_add_tensor(&graph, dtype_of(kind), 4, output_shape, scale, zero_point);
    struct systole_operator *op = graph_add_operator(&graph, code, 1, &input, output);
    op->options.filter_h = filter_h;
    op->options.filter_w = filter_w;
    op->options.stride_h = stride_h;
    op->options.stride_w = stride_w;
    op->options.padding = padding;
    op->options.activation = testing_range(state, 0, 1) == 0 ? SYSTOLE_ACTIVATION_RELU6 : SYSTOLE_ACTIVATION_NONE;
    graph_set_ends(&graph, 1, &input, 1, &output);
    return graph;
}

static struct systole_graph build_mean(uint32_t *state, enum kind kind) {
    struct systole_graph graph = {0};
    const int32_t shape[] = {testing_range(state, 1, 3), testing_range(state, 1, 9), testing_range(state, 1, 9),
                             random_channels(state)};
    const int32_t output_shape[] = {shape[0], shape[3]}, axes_shape = 2, axes[] = {1, 2};
    int32_t inputs[2];
    inputs[0] = graph_add_tensor(&graph, dtype_of(kind), 4, shape, 0.02f, zero_point_of(state, kind));
    inputs[1] = graph_add_tensor(&graph, SYSTOLE_INT32, 1, &axes_shape, 0, 0);
    graph_set_data(&graph, inputs[1], axes);
    int32_t output = graph_add_tensor(&graph, dtype_of(kind), 2, output_shape,
                                      0.001f * (float)testing_range(state, 5, 100), zero_point_of(state, kind));
    graph_add_operator(&graph, SYSTOLE_OP_MEAN, 2, inputs, output);
    graph_set_ends(&graph, 1, inputs, 1, &output);
    return graph;
}

static struct systole_graph build_quantise(uint32_t *state) {
    struct systole_graph graph = {0};
    enum kind from = testing_range(state, 0, 1) == 0 ? INT8 : UINT8,
              to = testing_range(state, 0, 1) == 0 ? INT8 : UINT8;
    const int32_t shape[] = {1, 1, 7, testing_range(state, 1, 70)};
    bool is_flip = testing_range(state, 0, 1) == 0;
    int32_t zero_point = zero_point_of(state, from);
    int32_t flipped = from == to ? zero_point : from == UINT8 ? zero_point - 128 : zero_point + 128;
    int32_t input = graph_add_tensor(&graph, dtype_of(from), 4, shape, 0.05f, zero_point);
    int32_t output = graph_add_tensor(&graph, dtype_of(to), 4, shape, is_flip ? 0.05f : 0.03f,
                                      is_flip ? flipped : zero_point_of(state, to));
    graph_add_operator(&graph, SYSTOLE_OP_QUANTIZE, 1, &input, output);
    graph_set_ends(&graph, 1, &input, 1, &output);
    return graph;
}

static void check_output(const struct systole_tensor *tensor, const uint8_t *expected, const uint8_t *found, bool exact,
                         const char *what) {
    if (exact) {
        for (size_t i = 0; i < tensor->size; i++) {
            ck_assert_msg(expected[i] == found[i], "%s: byte %zu of %zu is %02x, expected %02x", what, i, tensor->size,
                          found[i], expected[i]);
        }
        return;
    }
    const float *a = (const float *)(const void *)expected, *b = (const float *)(const void *)found;
    for (size_t i = 0; i < systole_tensor_elements(tensor); i++) {
        float tolerance = 1.0e-4f + 1.0e-5f * fabsf(a[i]);
        ck_assert_msg(fabsf(a[i] - b[i]) <= tolerance, "%s: element %zu is %g, expected %g", what, i, (double)b[i],
                      (double)a[i]);
    }
}

static void check_graph(const struct systole_graph *graph, uint32_t *state, bool exact, const char *what) {
    struct systole_diagnostic diagnostic;
    struct systole_interpreter *reference, *fast;
    ck_assert_msg(systole_interpreter_create(graph, NULL, &reference, &diagnostic) == SYSTOLE_OK, "%s: %s", what,
                  diagnostic.what);
    for (uint32_t i = 0; i < graph->input_count; i++) {
        fill(state, &graph->tensors[graph->inputs[i]], systole_interpreter_tensor(reference, graph->inputs[i]));
    }
    ck_assert_int_eq(systole_interpreter_run(reference, &diagnostic), SYSTOLE_OK);
    const uint8_t *expected = systole_interpreter_tensor(reference, graph->outputs[0]);
    for (int l = 0; l < LEVELS; l++) {
        if (!systole_kernel_level_available(levels[l])) {
            continue;
        }
        struct systole_interpreter_options options = {
            .kernels = levels[l],
            .threads = testing_range(state, 0, 2) == 0 ? (uint32_t)testing_range(state, 2, LARGEST_THREADS) : 1,
            .share_memory = testing_range(state, 0, 1) == 0};
        char text[256];
        snprintf(text, sizeof text, "%s, %s, %u threads", what, systole_kernel_level_name(levels[l]), options.threads);
        ck_assert_msg(systole_interpreter_create_with(graph, NULL, &options, &fast, &diagnostic) == SYSTOLE_OK,
                      "%s: %s", text, diagnostic.what);
        double seconds;
        bool is_fast = false;
        ck_assert(systole_interpreter_operator_time(fast, 0, &seconds, &is_fast));
        ck_assert_msg(is_fast, "%s: the reference kernel runs", text);
        for (int run = 0; run < 2; run++) { // the second finds what the first left in the scratch memory
            for (uint32_t i = 0; i < graph->input_count; i++) {
                memcpy(systole_interpreter_tensor(fast, graph->inputs[i]),
                       systole_interpreter_tensor(reference, graph->inputs[i]), graph->tensors[graph->inputs[i]].size);
            }
            ck_assert_int_eq(systole_interpreter_run(fast, &diagnostic), SYSTOLE_OK);
            check_output(&graph->tensors[graph->outputs[0]], expected,
                         systole_interpreter_tensor(fast, graph->outputs[0]), exact, text);
        }
        systole_interpreter_free(fast);
    }
    systole_interpreter_free(reference);
}

static void describe(const struct systole_graph *graph, uint32_t seed, enum kind kind, char *text, size_t size) {
    const struct systole_operator *op = &graph->operators[0];
    const int32_t *in = graph->tensors[op->inputs[0]].shape, *out = graph->tensors[op->outputs[0]].shape;
    snprintf(text, size, "%s %s seed %u, %dx%dx%dx%d to %dx%dx%dx%d, strides %d %d, dilations %d %d, %s",
             systole_operator_name(op->code), kind_names[kind], seed, in[0], in[1], in[2], in[3], out[0], out[1],
             out[2], out[3], op->options.stride_h, op->options.stride_w, op->options.dilation_h, op->options.dilation_w,
             op->options.padding == SYSTOLE_PADDING_SAME ? "same" : "valid");
}

static const int32_t weighted[] = {SYSTOLE_OP_CONV_2D, SYSTOLE_OP_DEPTHWISE_CONV_2D, SYSTOLE_OP_FULLY_CONNECTED};

START_TEST(operators_with_weights_are_the_reference) {
    enum kind kind = (enum kind)(_i / 3);
    int trials = getenv("SYSTOLE_TEST_ALL") != NULL ? 1500 : getenv("SYSTOLE_SANITIZED") != NULL ? 6 : 16;
    for (int trial = 0; trial < trials; trial++) {
        uint32_t seed = (uint32_t)(1 + trial + 100000 * _i), state = seed;
        struct systole_graph graph = build_weighted(&state, weighted[_i % 3], kind);
        char text[200];
        describe(&graph, seed, kind, text, sizeof text);
        check_graph(&graph, &state, kind != FLOAT, text);
        systole_graph_free(&graph);
    }
}
END_TEST

START_TEST(operators_between_are_the_reference) {
    enum kind kind = (enum kind)_i;
    for (int trial = 0; trial < 12; trial++) {
        uint32_t seed = (uint32_t)(7 + trial + 1000 * _i), state = seed;
        for (int which = 0; which < 5; which++) {
            if (kind == FLOAT && which >= 3) {
                break;
            }
            struct systole_graph graph = which == 0   ? build_add(&state, kind)
                                         : which == 1 ? build_pool(&state, SYSTOLE_OP_AVERAGE_POOL_2D, kind)
                                         : which == 2 ? build_pool(&state, SYSTOLE_OP_MAX_POOL_2D, kind)
                                         : which == 3 ? build_mean(&state, kind)
                                                      : build_quantise(&state);
            char text[200];
            describe(&graph, seed, kind, text, sizeof text);
            check_graph(&graph, &state, kind != FLOAT, text);
            systole_graph_free(&graph);
        }
    }
}
END_TEST

// Half-precision weights: DEQUANTIZE of a constant runs once, when the interpreter is made, and the layer behind it is
// fast.
START_TEST(halves_are_widened_once) {
    static const uint16_t halves[] = {0x3C00, 0xC000, 0x3555, 0x0400, 0x7BFF, 0x0001}; // 1, -2, about 1/3, 2^-14 ...
    static const float values[] = {1.0f, -2.0f, 0x1.554p-2f, 0x1p-14f, 65504.0f, 0x1p-24f};
    enum { DEPTH = 2, UNITS = 3 };
    struct systole_graph graph = {0};
    struct systole_diagnostic diagnostic;
    const int32_t weight_shape[] = {UNITS, DEPTH}, input_shape[] = {1, DEPTH}, output_shape[] = {1, UNITS};
    int32_t stored = graph_add_tensor(&graph, SYSTOLE_FLOAT16, 2, weight_shape, 0, 0);
    int32_t weights = graph_add_tensor(&graph, SYSTOLE_FLOAT32, 2, weight_shape, 0, 0);
    int32_t input = graph_add_tensor(&graph, SYSTOLE_FLOAT32, 2, input_shape, 0, 0);
    int32_t output = graph_add_tensor(&graph, SYSTOLE_FLOAT32, 2, output_shape, 0, 0);
    graph_set_data(&graph, stored, halves);
    graph_add_operator(&graph, SYSTOLE_OP_DEQUANTIZE, 1, &stored, weights);
    const int32_t inputs[] = {input, weights, -1};
    graph_add_operator(&graph, SYSTOLE_OP_FULLY_CONNECTED, 3, inputs, output);
    graph_set_ends(&graph, 1, &input, 1, &output);
    for (int l = -1; l < LEVELS; l++) {
        struct systole_interpreter *interpreter;
        struct systole_interpreter_options options = {.kernels = l < 0 ? SYSTOLE_KERNELS_REFERENCE : levels[l],
                                                      .share_memory = l % 2 == 0};
        if (!systole_kernel_level_available(options.kernels)) {
            continue;
        }
        ck_assert_msg(systole_interpreter_create_with(&graph, NULL, &options, &interpreter, &diagnostic) == SYSTOLE_OK,
                      "%s", diagnostic.what);
        const float *widened = (const float *)(const void *)systole_interpreter_tensor(interpreter, weights);
        for (int i = 0; i < DEPTH * UNITS; i++) { // before anything ran
            ck_assert_msg(widened[i] == values[i], "half %04x is %a, expected %a", (unsigned)halves[i],
                          (double)widened[i], (double)values[i]);
        }
        double seconds;
        bool is_fast = false;
        ck_assert(systole_interpreter_operator_time(interpreter, 1, &seconds, &is_fast));
        ck_assert(is_fast == (l >= 0));
        const float ones[DEPTH] = {1.0f, 1.0f};
        memcpy(systole_interpreter_tensor(interpreter, input), ones, sizeof ones);
        ck_assert_int_eq(systole_interpreter_run(interpreter, &diagnostic), SYSTOLE_OK);
        const float *sums = (const float *)(const void *)systole_interpreter_tensor(interpreter, output);
        for (int i = 0; i < UNITS; i++) {
            float expected = values[2 * i] + values[2 * i + 1];
            ck_assert_msg(sums[i] == expected, "sum %d is %a, expected %a", i, (double)sums[i], (double)expected);
        }
        systole_interpreter_free(interpreter);
    }
    systole_graph_free(&graph);
}
END_TEST

START_TEST(levels_have_names) {
    struct systole_diagnostic diagnostic;
    enum systole_kernel_level level;
    for (int i = 0; i < SYSTOLE_KERNEL_LEVELS; i++) {
        const char *name = systole_kernel_level_name((enum systole_kernel_level)i);
        ck_assert_int_eq(systole_kernel_level_parse(name, &level, &diagnostic), SYSTOLE_OK);
        ck_assert_int_eq(level, i);
    }
    ck_assert_int_eq(systole_kernel_level_parse("sse9", &level, &diagnostic), SYSTOLE_BAD_ARGUMENT);
    setenv("SYSTOLE_KERNELS", "c", 1);
    level = SYSTOLE_KERNELS_FASTEST;
    ck_assert_int_eq(systole_kernel_level_resolve(&level, &diagnostic), SYSTOLE_OK);
    ck_assert_int_eq(level, SYSTOLE_KERNELS_C);
    level = SYSTOLE_KERNELS_REFERENCE; // what is named in the program is not the environment's business
    ck_assert_int_eq(systole_kernel_level_resolve(&level, &diagnostic), SYSTOLE_OK);
    ck_assert_int_eq(level, SYSTOLE_KERNELS_REFERENCE);
    setenv("SYSTOLE_KERNELS", "sse9", 1);
    level = SYSTOLE_KERNELS_FASTEST;
    ck_assert_int_eq(systole_kernel_level_resolve(&level, &diagnostic), SYSTOLE_BAD_ARGUMENT);
    unsetenv("SYSTOLE_KERNELS");
#if defined(__x86_64__)
    level = SYSTOLE_KERNELS_NEON;
#else
    level = SYSTOLE_KERNELS_AVX2;
#endif
    ck_assert_int_eq(systole_kernel_level_resolve(&level, &diagnostic), SYSTOLE_UNSUPPORTED);
    printf("kernels here:");
    for (int i = 0; i < LEVELS; i++) {
        printf("%s%s", systole_kernel_level_available(levels[i]) ? " " : " not ", systole_kernel_level_name(levels[i]));
    }
    printf("\n");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("fast kernels");
    TCase *test = tcase_create("fast kernels");
    tcase_set_timeout(test, 300);
    tcase_add_loop_test(test, operators_with_weights_are_the_reference, 0, 3 * KINDS);
    tcase_add_loop_test(test, operators_between_are_the_reference, 0, HYBRID);
    tcase_add_test(test, halves_are_widened_once);
    tcase_add_test(test, levels_have_names);
    suite_add_tcase(suite, test);
    return testing_run(suite, "runtime/test_fast_kernels");
}
