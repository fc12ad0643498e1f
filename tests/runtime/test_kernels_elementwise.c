// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// ADD, pooling, MEAN, QUANTIZE, RELU, PAD and SOFTMAX at random and at their edges, against naive computations: real
// numbers for what is approximate by nature, the exact definition said in another way for what is exact.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph_builder.h"
#include "interpreter.h"
#include "naive_arithmetic.h"
#include "testing.h"

static int32_t low_of(enum systole_dtype dtype) {
    return dtype == SYSTOLE_UINT8 ? 0 : -128;
}

static int32_t random_value(uint32_t *state, enum systole_dtype dtype) {
    int32_t choice = testing_range(state, 0, 9), low = low_of(dtype);
    return choice == 0 ? low : choice == 1 ? low + 255 : testing_range(state, low, low + 255);
}

static float random_scale(uint32_t *state) {
    return (float)testing_range(state, 1, 5000) * 1.0e-4f;
}

static int32_t value(enum systole_dtype dtype, const uint8_t *bytes, size_t i) {
    return dtype == SYSTOLE_UINT8 ? bytes[i] : (int8_t)bytes[i];
}

// Runs a graph of one operator on random bytes in its inputs. The caller frees the interpreter.
static struct systole_interpreter *run(const struct systole_graph *graph, uint32_t *state) {
    struct systole_diagnostic diagnostic;
    struct systole_interpreter *interpreter;
    ck_assert_msg(systole_interpreter_create(graph, NULL, &interpreter, &diagnostic) == SYSTOLE_OK, "%s (%s)",
                  diagnostic.what, diagnostic.where);
    for (uint32_t i = 0; i < graph->input_count; i++) {
        uint8_t *bytes = systole_interpreter_tensor(interpreter, graph->inputs[i]);
        for (size_t k = 0; k < graph->tensors[graph->inputs[i]].size; k++) {
            bytes[k] = (uint8_t)random_value(state, graph->tensors[graph->inputs[i]].dtype);
        }
    }
    ck_assert_int_eq(systole_interpreter_run(interpreter, &diagnostic), SYSTOLE_OK);
    return interpreter;
}

static const enum systole_dtype dtypes[] = {SYSTOLE_INT8, SYSTOLE_UINT8};

// Index of the element of a broadcast operand that belongs to output coordinates.
static size_t broadcast_index(const struct systole_tensor *operand, const struct systole_tensor *output,
                              const int32_t *at) {
    size_t index = 0;
    for (int32_t i = 0; i < operand->rank; i++) {
        int32_t coordinate = at[output->rank - operand->rank + i];
        index = index * (size_t)operand->shape[i] + (size_t)(operand->shape[i] == 1 ? 0 : coordinate);
    }
    return index;
}

static bool next(const struct systole_tensor *tensor, int32_t *at) {
    for (int32_t axis = tensor->rank - 1; axis >= 0; axis--) {
        if (++at[axis] < tensor->shape[axis]) {
            return true;
        }
        at[axis] = 0;
    }
    return false;
}

START_TEST(add_broadcasts) {
    uint32_t state = 0xADD00001u;
    for (int trial = 0; trial < 200; trial++) {
        enum systole_dtype dtype = dtypes[trial % 2];
        int32_t rank = testing_range(&state, 0, 6), shape[8], shapes[2][8], ranks[2];
        for (int32_t i = 0; i < rank; i++) {
            shape[i] = testing_range(&state, 1, 4);
        }
        for (int k = 0; k < 2; k++) {
            ranks[k] = k == 0 ? rank : testing_range(&state, 0, rank); // the first spans the output
            for (int32_t i = 0; i < ranks[k]; i++) {
                int32_t extent = shape[rank - ranks[k] + i];
                shapes[k][i] = k == 0 || testing_range(&state, 0, 1) == 0 ? extent : 1;
            }
        }
        bool swapped = testing_range(&state, 0, 1) == 0;
        struct systole_graph graph = {0};
        int32_t inputs[2];
        float scales[3];
        int32_t zero_points[3];
        for (int k = 0; k < 3; k++) {
            scales[k] = random_scale(&state);
            zero_points[k] = random_value(&state, dtype);
        }
        for (int k = 0; k < 2; k++) {
            int source = swapped ? 1 - k : k;
            inputs[k] = graph_add_tensor(&graph, dtype, ranks[source], shapes[source], scales[k], zero_points[k]);
        }
        int32_t output = graph_add_tensor(&graph, dtype, rank, shape, scales[2], zero_points[2]);
        graph_add_operator(&graph, SYSTOLE_OP_ADD, 2, inputs, output)->options.activation =
            trial % 3 == 0 ? SYSTOLE_ACTIVATION_RELU : SYSTOLE_ACTIVATION_NONE;
        graph_set_ends(&graph, 2, inputs, 1, &output);
        struct systole_interpreter *interpreter = run(&graph, &state);
        const struct systole_tensor *t = &graph.tensors[output];
        double twice = 2 * (double)(scales[0] > scales[1] ? scales[0] : scales[1]);
        int32_t at[8] = {0};
        size_t i = 0;
        do {
            int64_t sum = 0;
            for (int k = 0; k < 2; k++) {
                size_t index = broadcast_index(&graph.tensors[inputs[k]], t, at);
                int64_t a = value(dtype, systole_interpreter_tensor(interpreter, inputs[k]), index) - zero_points[k];
                sum += naive_requantise(a * 1048576, (double)scales[k] / twice);
            }
            int64_t expected = naive_requantise(sum, twice / (1048576.0 * (double)scales[2])) + zero_points[2];
            int64_t low = trial % 3 == 0 ? zero_points[2] : low_of(dtype);
            expected = naive_clamp(expected, low, low_of(dtype) + 255);
            ck_assert_int_eq(value(dtype, systole_interpreter_tensor(interpreter, output), i), expected);
            i++;
        } while (next(t, at));
        ck_assert_uint_eq(i, systole_tensor_elements(t));
        systole_interpreter_free(interpreter);
        systole_graph_free(&graph);
    }
}
END_TEST

// Pools of all sizes, in real numbers: the exact average rounded half away from zero.
START_TEST(pools) {
    uint32_t state = 0x90010001u;
    for (int trial = 0; trial < 200; trial++) {
        enum systole_dtype dtype = dtypes[trial % 2];
        bool average = trial % 4 < 2;
        int32_t filter_h = testing_range(&state, 1, 6), filter_w = testing_range(&state, 1, 6);
        int32_t stride_h = testing_range(&state, 1, 7), stride_w = testing_range(&state, 1, 7);
        int32_t input_shape[] = {testing_range(&state, 1, 2), testing_range(&state, 6, 13),
                                 testing_range(&state, 6, 13), testing_range(&state, 1, 18)};
        enum systole_padding padding = trial % 3 == 0 ? SYSTOLE_PADDING_VALID : SYSTOLE_PADDING_SAME;
        int32_t height = systole_output_extent(padding, input_shape[1], filter_h, stride_h, 1);
        int32_t width = systole_output_extent(padding, input_shape[2], filter_w, stride_w, 1);
        int32_t output_shape[] = {input_shape[0], height, width, input_shape[3]};
        int32_t zero_point = random_value(&state, dtype);
        struct systole_graph graph = {0};
        int32_t input = graph_add_tensor(&graph, dtype, 4, input_shape, 0.25f, zero_point);
        int32_t output = graph_add_tensor(&graph, dtype, 4, output_shape, 0.25f, zero_point);
        struct systole_operator *op = graph_add_operator(
            &graph, average ? SYSTOLE_OP_AVERAGE_POOL_2D : SYSTOLE_OP_MAX_POOL_2D, 1, &input, output);
        op->options.filter_h = filter_h;
        op->options.filter_w = filter_w;
        op->options.stride_h = stride_h;
        op->options.stride_w = stride_w;
        op->options.padding = padding;
        graph_set_ends(&graph, 1, &input, 1, &output);
        struct systole_interpreter *interpreter = run(&graph, &state);
        const uint8_t *in = systole_interpreter_tensor(interpreter, input);
        const uint8_t *out = systole_interpreter_tensor(interpreter, output);
        int32_t top = systole_padding_before(padding, input_shape[1], filter_h, stride_h, 1, height);
        int32_t left = systole_padding_before(padding, input_shape[2], filter_w, stride_w, 1, width);
        int32_t at[8] = {0};
        size_t i = 0;
        do {
            double sum = 0, count = 0, largest = -1000;
            for (int32_t y = at[1] * stride_h - top; y < at[1] * stride_h - top + filter_h; y++) {
                for (int32_t x = at[2] * stride_w - left; x < at[2] * stride_w - left + filter_w; x++) {
                    if (y >= 0 && y < input_shape[1] && x >= 0 && x < input_shape[2]) {
                        int32_t index = ((at[0] * input_shape[1] + y) * input_shape[2] + x) * input_shape[3] + at[3];
                        double v = in[index] - (dtype == SYSTOLE_INT8 && in[index] > 127 ? 256 : 0);
                        sum += v;
                        count++;
                        largest = v > largest ? v : largest;
                    }
                }
            }
            ck_assert(count > 0);
            ck_assert_int_eq(value(dtype, out, i), (int64_t)(average ? round(sum / count) : largest));
            i++;
        } while (next(&graph.tensors[output], at));
        systole_interpreter_free(interpreter);
        systole_graph_free(&graph);
    }
}
END_TEST

// Rounded twice: to whole numbers by the high product, then by a shift of at least one, so within 3/4 of the real mean.
START_TEST(means) {
    uint32_t state = 0x3EA70001u;
    for (int trial = 0; trial < 200; trial++) {
        enum systole_dtype dtype = dtypes[trial % 2];
        int32_t rank = testing_range(&state, 1, 5), shape[8], out_shape[8], axes[8], axis_count = 0, out_rank = 0;
        bool reduced[8] = {false}, keep = testing_range(&state, 0, 1) == 0;
        double count = 1;
        for (int32_t i = 0; i < rank; i++) {
            shape[i] = testing_range(&state, 1, 6);
            reduced[i] = testing_range(&state, 0, 1) == 0;
            if (reduced[i]) {
                axes[axis_count++] = testing_range(&state, 0, 1) == 0 ? i : i - rank;
                count *= shape[i];
            }
            if (!reduced[i] || keep) {
                out_shape[out_rank++] = reduced[i] ? 1 : shape[i];
            }
        }
        if (axis_count == 0) {
            continue;
        }
        float scales[] = {random_scale(&state), random_scale(&state)};
        int32_t zero_points[] = {random_value(&state, dtype), random_value(&state, dtype)};
        struct systole_graph graph = {0};
        int32_t inputs[] = {graph_add_tensor(&graph, dtype, rank, shape, scales[0], zero_points[0]),
                            graph_add_tensor(&graph, SYSTOLE_INT32, 1, &axis_count, 0, 0)};
        int32_t output = graph_add_tensor(&graph, dtype, out_rank, out_shape, scales[1], zero_points[1]);
        graph_set_data(&graph, inputs[1], axes);
        graph_add_operator(&graph, SYSTOLE_OP_MEAN, 2, inputs, output)->options.keep_dims = keep;
        graph_set_ends(&graph, 1, inputs, 1, &output);
        struct systole_interpreter *interpreter = run(&graph, &state);
        size_t outputs = systole_tensor_elements(&graph.tensors[output]);
        double *sums = calloc(outputs, sizeof *sums);
        int32_t at[8] = {0};
        size_t i = 0;
        do {
            size_t index = 0;
            for (int32_t axis = 0; axis < rank; axis++) {
                index = reduced[axis] ? index : index * (size_t)shape[axis] + (size_t)at[axis];
            }
            sums[index] += value(dtype, systole_interpreter_tensor(interpreter, inputs[0]), i++) - zero_points[0];
        } while (next(&graph.tensors[inputs[0]], at));
        for (i = 0; i < outputs; i++) {
            double real = sums[i] / count * (double)scales[0] / (double)scales[1] + zero_points[1];
            double clamped = real < low_of(dtype)         ? low_of(dtype)
                             : real > low_of(dtype) + 255 ? low_of(dtype) + 255
                                                          : real;
            double found = value(dtype, systole_interpreter_tensor(interpreter, output), i);
            ck_assert_msg(fabs(found - clamped) <= 0.7501, "expected %g, found %g", clamped, found);
        }
        free(sums);
        systole_interpreter_free(interpreter);
        systole_graph_free(&graph);
    }
}
END_TEST

START_TEST(rescales) {
    uint32_t state = 0x4E5C0001u;
    static const int32_t codes[] = {SYSTOLE_OP_QUANTIZE, SYSTOLE_OP_RELU, SYSTOLE_OP_RELU6};
    for (int trial = 0; trial < 120; trial++) {
        int32_t code = codes[trial % 3], count = 300;
        enum systole_dtype in_type = dtypes[trial / 3 % 2];
        enum systole_dtype out_type = code == SYSTOLE_OP_QUANTIZE ? dtypes[trial / 6 % 2] : in_type;
        float scales[] = {random_scale(&state), random_scale(&state)};
        if (trial % 5 == 0) { // powers of two: both roundings meet exact ties
            scales[0] = 0.25f;
            scales[1] = ldexpf(0.25f, testing_range(&state, -2, 4));
        }
        int32_t zero_points[] = {random_value(&state, in_type), random_value(&state, out_type)};
        struct systole_graph graph = {0};
        int32_t input = graph_add_tensor(&graph, in_type, 1, &count, scales[0], zero_points[0]);
        int32_t output = graph_add_tensor(&graph, out_type, 1, &count, scales[1], zero_points[1]);
        graph_add_operator(&graph, code, 1, &input, output);
        graph_set_ends(&graph, 1, &input, 1, &output);
        struct systole_interpreter *interpreter = run(&graph, &state);
        double real =
            code == SYSTOLE_OP_QUANTIZE ? (double)scales[0] / (double)scales[1] : (double)(scales[0] / scales[1]);
        int64_t low = low_of(out_type), high = low + 255;
        if (code != SYSTOLE_OP_QUANTIZE) {
            low = zero_points[1];
        }
        if (code == SYSTOLE_OP_RELU6) {
            int64_t six = zero_points[1] + (int64_t)roundf(6.0f / scales[1]);
            high = high < six ? high : six;
        }
        for (int32_t i = 0; i < count; i++) {
            int64_t x = value(in_type, systole_interpreter_tensor(interpreter, input), (size_t)i) - zero_points[0];
            int64_t expected = naive_clamp(naive_requantise(x, real) + zero_points[1], low, high);
            ck_assert_int_eq(value(out_type, systole_interpreter_tensor(interpreter, output), (size_t)i), expected);
        }
        systole_interpreter_free(interpreter);
        systole_graph_free(&graph);
    }
}
END_TEST

START_TEST(floats_quantise) {
    const float inputs[] = {0.0f, 0.25f, -0.25f, 0.75f, 1.0e30f, -1.0e30f, INFINITY, -INFINITY, NAN, 63.5f, -64.0f};
    const int32_t expected[] = {3, 4, 2, 5, 127, -128, 127, -128, -128, 127, -125}; // scale 0.5, ties away from zero
    int32_t count = sizeof inputs / sizeof *inputs;
    struct systole_graph graph = {0};
    int32_t input = graph_add_tensor(&graph, SYSTOLE_FLOAT32, 1, &count, 0, 0);
    int32_t output = graph_add_tensor(&graph, SYSTOLE_INT8, 1, &count, 0.5f, 3);
    graph_add_operator(&graph, SYSTOLE_OP_QUANTIZE, 1, &input, output);
    graph_set_ends(&graph, 1, &input, 1, &output);
    struct systole_diagnostic diagnostic;
    struct systole_interpreter *interpreter;
    ck_assert_int_eq(systole_interpreter_create(&graph, NULL, &interpreter, &diagnostic), SYSTOLE_OK);
    memcpy(systole_interpreter_tensor(interpreter, input), inputs, sizeof inputs);
    ck_assert_int_eq(systole_interpreter_run(interpreter, &diagnostic), SYSTOLE_OK);
    for (int32_t i = 0; i < count; i++) {
        ck_assert_int_eq(value(SYSTOLE_INT8, systole_interpreter_tensor(interpreter, output), (size_t)i), expected[i]);
    }
    systole_interpreter_free(interpreter);
    systole_graph_free(&graph);
}
END_TEST

START_TEST(pads) {
    uint32_t state = 0x9AD00001u;
    for (int trial = 0; trial < 100; trial++) {
        int32_t rank = testing_range(&state, 1, 6), shape[8], out_shape[8], paddings[16], two[] = {rank, 2};
        for (int32_t i = 0; i < rank; i++) {
            shape[i] = testing_range(&state, 1, 4);
            paddings[2 * i] = testing_range(&state, 0, 3);
            paddings[2 * i + 1] = testing_range(&state, 0, 3);
            out_shape[i] = shape[i] + paddings[2 * i] + paddings[2 * i + 1];
        }
        int32_t zero_point = random_value(&state, SYSTOLE_INT8);
        struct systole_graph graph = {0};
        int32_t inputs[] = {graph_add_tensor(&graph, SYSTOLE_INT8, rank, shape, 0.5f, zero_point),
                            graph_add_tensor(&graph, SYSTOLE_INT32, 2, two, 0, 0)};
        int32_t output = graph_add_tensor(&graph, SYSTOLE_INT8, rank, out_shape, 0.5f, zero_point);
        graph_set_data(&graph, inputs[1], paddings);
        graph_add_operator(&graph, SYSTOLE_OP_PAD, 2, inputs, output);
        graph_set_ends(&graph, 1, inputs, 1, &output);
        struct systole_interpreter *interpreter = run(&graph, &state);
        int32_t at[8] = {0};
        size_t i = 0;
        do {
            size_t index = 0;
            bool inside = true;
            for (int32_t axis = 0; axis < rank; axis++) {
                int32_t k = at[axis] - paddings[2 * axis];
                inside = inside && k >= 0 && k < shape[axis];
                index = index * (size_t)shape[axis] + (size_t)(k < 0 ? 0 : k);
            }
            int32_t expected =
                inside ? value(SYSTOLE_INT8, systole_interpreter_tensor(interpreter, inputs[0]), index) : zero_point;
            ck_assert_int_eq(value(SYSTOLE_INT8, systole_interpreter_tensor(interpreter, output), i++), expected);
        } while (next(&graph.tensors[output], at));
        systole_interpreter_free(interpreter);
        systole_graph_free(&graph);
    }
}
END_TEST

// The fixed-point softmax stays within one step of the real one, at every depth and steepness.
START_TEST(softmaxes) {
    uint32_t state = 0x50F70001u;
    static const int32_t depths[] = {1, 2, 3, 10, 33, 255, 1000, 5000, 20000};
    for (int trial = 0; trial < 90; trial++) {
        enum systole_dtype dtype = dtypes[trial % 2];
        int32_t shape[] = {testing_range(&state, 1, 3), depths[trial / 2 % 9]};
        float scale = trial % 5 == 0 ? 50.0f : random_scale(&state);
        struct systole_graph graph = {0};
        int32_t input = graph_add_tensor(&graph, dtype, 2, shape, scale, random_value(&state, dtype));
        int32_t output = graph_add_tensor(&graph, dtype, 2, shape, 1.0f / 256.0f, low_of(dtype));
        graph_add_operator(&graph, SYSTOLE_OP_SOFTMAX, 1, &input, output);
        graph_set_ends(&graph, 1, &input, 1, &output);
        struct systole_interpreter *interpreter = run(&graph, &state);
        const uint8_t *in = systole_interpreter_tensor(interpreter, input);
        const uint8_t *out = systole_interpreter_tensor(interpreter, output);
        for (int32_t row = 0; row < shape[0]; row++, in += shape[1], out += shape[1]) {
            double sum = 0;
            for (int32_t i = 0; i < shape[1]; i++) {
                sum += exp(value(dtype, in, (size_t)i) * (double)scale);
            }
            for (int32_t i = 0; i < shape[1] && isfinite(sum) && sum > 0; i++) {
                double real = 256 * exp(value(dtype, in, (size_t)i) * (double)scale) / sum;
                double found = value(dtype, out, (size_t)i) - low_of(dtype);
                ck_assert_msg(fabs(found - (real > 255 ? 255 : real)) <= 1.0, "depth %d: expected %g, found %g",
                              shape[1], real, found);
            }
        }
        systole_interpreter_free(interpreter);
        systole_graph_free(&graph);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kernels_elementwise");
    TCase *kernels = tcase_create("kernels");
    tcase_set_timeout(kernels, 60);
    tcase_add_test(kernels, add_broadcasts);
    tcase_add_test(kernels, pools);
    tcase_add_test(kernels, means);
    tcase_add_test(kernels, rescales);
    tcase_add_test(kernels, floats_quantise);
    tcase_add_test(kernels, pads);
    tcase_add_test(kernels, softmaxes);
    suite_add_tcase(suite, kernels);
    return testing_run(suite, "runtime/test_kernels_elementwise");
}
