// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED on shapes at the edges and at random, against sums written down
// element by element in 64 bits (or double) with every index computed from scratch.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph_builder.h"
#include "interpreter.h"
#include "naive_arithmetic.h"
#include "testing.h"

struct setup {
    int32_t code;
    enum systole_dtype dtype;
    int32_t batches, height, width, channels, outputs; // depthwise: outputs = channels * multiplier
    int32_t filter_h, filter_w, stride_h, stride_w, dilation_h, dilation_w;
    enum systole_padding padding;
    enum systole_activation activation;
    bool has_bias, per_channel;
    int32_t input_zero_point, weight_zero_point, output_zero_point;
    float input_scale, output_scale;
};

static int32_t random_byte(uint32_t *state, enum systole_dtype dtype) {
    return dtype == SYSTOLE_UINT8 ? testing_range(state, 0, 255) : testing_range(state, -128, 127);
}

// Random bytes, with the extremes more often than chance has them.
static void fill(uint32_t *state, const struct systole_tensor *tensor, uint8_t *bytes) {
    for (size_t i = 0; i < systole_tensor_elements(tensor); i++) {
        if (tensor->dtype == SYSTOLE_FLOAT32) {
            float value = (float)testing_range(state, -1000, 1000) / 512.0f;
            memcpy(bytes + 4 * i, &value, sizeof value);
        } else if (tensor->dtype == SYSTOLE_INT32) {
            int32_t value = testing_range(state, -20000, 20000);
            memcpy(bytes + 4 * i, &value, sizeof value);
        } else {
            int32_t choice = testing_range(state, 0, 7);
            bytes[i] = choice == 0   ? (tensor->dtype == SYSTOLE_UINT8 ? 0x00 : 0x80)
                       : choice == 1 ? (tensor->dtype == SYSTOLE_UINT8 ? 0xFF : 0x7F)
                                     : (uint8_t)testing_random(state);
        }
    }
}

static double element(const struct systole_tensor *tensor, const uint8_t *bytes, size_t i) {
    float real;
    int32_t whole;
    switch (tensor->dtype) {
    case SYSTOLE_FLOAT32:
        memcpy(&real, bytes + 4 * i, sizeof real);
        return (double)real;
    case SYSTOLE_INT32:
        memcpy(&whole, bytes + 4 * i, sizeof whole);
        return whole;
    case SYSTOLE_UINT8:
        return bytes[i];
    default:
        return (int8_t)bytes[i];
    }
}

static struct systole_graph build(const struct setup *s, uint32_t *state) {
    struct systole_graph graph = {0};
    bool is_float = s->dtype == SYSTOLE_FLOAT32, is_depthwise = s->code == SYSTOLE_OP_DEPTHWISE_CONV_2D;
    bool is_dense = s->code == SYSTOLE_OP_FULLY_CONNECTED;
    int32_t height = systole_output_extent(s->padding, s->height, s->filter_h, s->stride_h, s->dilation_h);
    int32_t width = systole_output_extent(s->padding, s->width, s->filter_w, s->stride_w, s->dilation_w);
    const int32_t input_shape[] = {s->batches, s->height, s->width, s->channels};
    const int32_t output_shape[] = {s->batches, height, width, s->outputs};
    const int32_t conv_shape[] = {s->outputs, s->filter_h, s->filter_w, s->channels};
    const int32_t depthwise_shape[] = {1, s->filter_h, s->filter_w, s->outputs};
    const int32_t dense_shape[] = {s->outputs, s->channels};
    int32_t input =
        graph_add_tensor(&graph, s->dtype, 4, input_shape, is_float ? 0 : s->input_scale, s->input_zero_point);
    int32_t weights = graph_add_tensor(&graph, s->dtype, is_dense ? 2 : 4,
                                       is_dense       ? dense_shape
                                       : is_depthwise ? depthwise_shape
                                                      : conv_shape,
                                       0, 0);
    int32_t bias = graph_add_tensor(&graph, is_float ? SYSTOLE_FLOAT32 : SYSTOLE_INT32, 1, &s->outputs, 0, 0);
    int32_t output =
        graph_add_tensor(&graph, s->dtype, 4, output_shape, is_float ? 0 : s->output_scale, s->output_zero_point);
    if (!is_float) {
        uint32_t scales = s->per_channel ? (uint32_t)s->outputs : 1;
        float *scale = calloc(scales, sizeof *scale);
        for (uint32_t i = 0; i < scales; i++) {
            scale[i] = (float)testing_range(state, 1, 4000) * 1.0e-5f;
        }
        graph_set_scales(&graph, weights, scales, scale, s->weight_zero_point, is_depthwise ? 3 : 0);
        free(scale);
    }
    uint8_t *bytes = malloc(graph.tensors[weights].size + graph.tensors[bias].size);
    fill(state, &graph.tensors[weights], bytes);
    graph_set_data(&graph, weights, bytes);
    fill(state, &graph.tensors[bias], bytes);
    graph_set_data(&graph, bias, bytes);
    free(bytes);
    const int32_t inputs[] = {input, weights, s->has_bias ? bias : -1};
    struct systole_operator *op = graph_add_operator(&graph, s->code, 3, inputs, output);
    op->options.stride_h = s->stride_h;
    op->options.stride_w = s->stride_w;
    op->options.dilation_h = s->dilation_h;
    op->options.dilation_w = s->dilation_w;
    op->options.padding = s->padding;
    op->options.activation = s->activation;
    op->options.depth_multiplier = is_depthwise ? s->outputs / s->channels : 0;
    graph_set_ends(&graph, 1, &input, 1, &output);
    return graph;
}

struct naive {
    const struct setup *s;
    const struct systole_tensor *input, *weights, *bias, *output;
    const uint8_t *input_bytes;
};

// The sum under one output element; channels and taps in plain loops, padding by comparing with the borders.
static double naive_sum(const struct naive *n, int32_t b, int32_t y, int32_t x, int32_t o) {
    const struct setup *s = n->s;
    bool is_depthwise = s->code == SYSTOLE_OP_DEPTHWISE_CONV_2D;
    int64_t top = 0, left = 0;
    if (s->padding == SYSTOLE_PADDING_SAME) {
        int64_t pad_h =
            ((int64_t)n->output->shape[1] - 1) * s->stride_h + (s->filter_h - 1) * s->dilation_h + 1 - s->height;
        int64_t pad_w =
            ((int64_t)n->output->shape[2] - 1) * s->stride_w + (s->filter_w - 1) * s->dilation_w + 1 - s->width;
        top = pad_h > 0 ? pad_h / 2 : 0;
        left = pad_w > 0 ? pad_w / 2 : 0;
    }
    double sum = 0;
    for (int64_t ky = 0; ky < s->filter_h; ky++) {
        for (int64_t kx = 0; kx < s->filter_w; kx++) {
            int64_t iy = y * s->stride_h + ky * s->dilation_h - top, ix = x * s->stride_w + kx * s->dilation_w - left;
            if (iy < 0 || iy >= s->height || ix < 0 || ix >= s->width) {
                continue;
            }
            for (int64_t c = 0; c < (is_depthwise ? 1 : s->channels); c++) {
                int64_t channel = is_depthwise ? o / (s->outputs / s->channels) : c;
                int64_t tap = is_depthwise ? (ky * s->filter_w + kx) * s->outputs + o
                                           : ((o * s->filter_h + ky) * s->filter_w + kx) * s->channels + c;
                double a = element(n->input, n->input_bytes,
                                   (size_t)(((b * s->height + iy) * s->width + ix) * s->channels + channel));
                double w = element(n->weights, n->weights->data, (size_t)tap);
                sum += (a - s->input_zero_point) * (w - s->weight_zero_point); // integers below 2^53: exact
            }
        }
    }
    return s->has_bias ? sum + element(n->bias, n->bias->data, (size_t)o) : sum;
}

static void check_integer(const struct naive *n, double sum, int32_t o, double found, const char *what) {
    const struct setup *s = n->s;
    float weight = n->weights->quantisation.scale[s->per_channel ? o : 0];
    bool float_product = s->dtype == SYSTOLE_UINT8 || (s->code == SYSTOLE_OP_FULLY_CONNECTED && !s->per_channel);
    double product = float_product ? (double)(s->input_scale * weight) : (double)s->input_scale * (double)weight;
    int64_t value = naive_requantise((int64_t)sum, product / (double)s->output_scale) + s->output_zero_point;
    int64_t low = s->dtype == SYSTOLE_UINT8 ? 0 : -128, high = low + 255;
    if (s->activation == SYSTOLE_ACTIVATION_RELU || s->activation == SYSTOLE_ACTIVATION_RELU6) {
        low = low > s->output_zero_point ? low : s->output_zero_point;
    }
    if (s->activation == SYSTOLE_ACTIVATION_RELU6) {
        int64_t six = s->output_zero_point + (int64_t)roundf(6.0f / s->output_scale);
        high = high < six ? high : six;
    }
    ck_assert_msg((double)naive_clamp(value, low, high) == found, "%s: expected %lld, found %g (sum %g)", what,
                  (long long)naive_clamp(value, low, high), found, sum);
}

static void check(const struct setup *s, uint32_t *state) {
    struct systole_diagnostic diagnostic;
    struct systole_interpreter *interpreter;
    struct systole_graph graph = build(s, state);
    ck_assert_msg(systole_interpreter_create(&graph, NULL, &interpreter, &diagnostic) == SYSTOLE_OK, "%s (%s)",
                  diagnostic.what, diagnostic.where);
    uint8_t *input = systole_interpreter_tensor(interpreter, 0);
    fill(state, &graph.tensors[0], input);
    ck_assert_int_eq(systole_interpreter_run(interpreter, &diagnostic), SYSTOLE_OK);
    const uint8_t *output = systole_interpreter_tensor(interpreter, 3);
    struct naive n = {s, &graph.tensors[0], &graph.tensors[1], &graph.tensors[2], &graph.tensors[3], input};
    size_t i = 0;
    for (int32_t b = 0; b < s->batches; b++) {
        for (int32_t y = 0; y < n.output->shape[1]; y++) {
            for (int32_t x = 0; x < n.output->shape[2]; x++) {
                for (int32_t o = 0; o < s->outputs; o++, i++) {
                    char what[160];
                    snprintf(what, sizeof what, "%s %s, input %dx%dx%d, filter %dx%d, at (%d, %d, %d, %d)",
                             systole_operator_name(s->code), systole_dtype_name(s->dtype), s->height, s->width,
                             s->channels, s->filter_h, s->filter_w, b, y, x, o);
                    double sum = naive_sum(&n, b, y, x, o), found = element(n.output, output, i);
                    if (s->dtype != SYSTOLE_FLOAT32) {
                        check_integer(&n, sum, o, found, what);
                        continue;
                    }
                    double low = s->activation == SYSTOLE_ACTIVATION_NONE ? -INFINITY : 0;
                    double high = s->activation == SYSTOLE_ACTIVATION_RELU6 ? 6 : INFINITY;
                    double expected = sum < low ? low : sum > high ? high : sum;
                    ck_assert_msg(fabs(expected - found) <= 1e-3, "%s: expected %g, found %g", what, expected, found);
                }
            }
        }
    }
    systole_interpreter_free(interpreter);
    systole_graph_free(&graph);
}

static struct setup random_setup(uint32_t *state, int32_t code, enum systole_dtype dtype) {
    static const enum systole_activation activations[] = {SYSTOLE_ACTIVATION_NONE, SYSTOLE_ACTIVATION_RELU,
                                                          SYSTOLE_ACTIVATION_RELU6};
    struct setup s = {
        .code = code,
        .dtype = dtype,
        .batches = testing_range(state, 1, 2),
        .height = testing_range(state, 1, 9),
        .width = testing_range(state, 1, 9),
        .channels = testing_range(state, 1, 19),
        .filter_h = testing_range(state, 1, 4),
        .filter_w = testing_range(state, 1, 4),
        .stride_h = testing_range(state, 1, 3),
        .stride_w = testing_range(state, 1, 3),
        .dilation_h = testing_range(state, 1, 3),
        .dilation_w = testing_range(state, 1, 3),
        .padding = testing_range(state, 0, 1) == 0 ? SYSTOLE_PADDING_SAME : SYSTOLE_PADDING_VALID,
        .activation = activations[testing_range(state, 0, 2)],
        .has_bias = testing_range(state, 0, 3) != 0,
        .per_channel = dtype == SYSTOLE_INT8 && testing_range(state, 0, 3) != 0,
        .input_zero_point = random_byte(state, dtype),
        .weight_zero_point = dtype == SYSTOLE_UINT8 ? random_byte(state, dtype) : 0,
        .output_zero_point = random_byte(state, dtype),
        .input_scale = (float)testing_range(state, 1, 1000) * 1.0e-4f,
        .output_scale = (float)testing_range(state, 1, 1000) * 1.0e-3f,
    };
    s.outputs =
        code == SYSTOLE_OP_DEPTHWISE_CONV_2D ? s.channels * testing_range(state, 1, 3) : testing_range(state, 1, 20);
    if (code == SYSTOLE_OP_FULLY_CONNECTED) {
        s.filter_h = s.filter_w = s.stride_h = s.stride_w = s.dilation_h = s.dilation_w = 1;
    }
    if (s.padding == SYSTOLE_PADDING_VALID &&
        ((s.filter_h - 1) * s.dilation_h >= s.height || (s.filter_w - 1) * s.dilation_w >= s.width)) {
        s.padding = SYSTOLE_PADDING_SAME;
    }
    if (dtype == SYSTOLE_FLOAT32) {
        s.input_zero_point = s.output_zero_point = 0;
    }
    return s;
}

static const int32_t codes[] = {SYSTOLE_OP_CONV_2D, SYSTOLE_OP_DEPTHWISE_CONV_2D, SYSTOLE_OP_FULLY_CONNECTED};
static const enum systole_dtype dtypes[] = {SYSTOLE_INT8, SYSTOLE_UINT8, SYSTOLE_FLOAT32};

START_TEST(random_shapes) {
    uint32_t state = 0x5EED0000u + (uint32_t)_i;
    for (int i = 0; i < 60; i++) {
        struct setup s = random_setup(&state, codes[_i / 3], dtypes[_i % 3]);
        check(&s, &state);
    }
}
END_TEST

// One element everywhere; filters larger than the map; strides beyond it; many channels; a deep row whose sum is the
// largest that operands can give.
START_TEST(edge_shapes) {
    uint32_t state = 0xED6E0000u + (uint32_t)_i;
    for (int i = 0; i < 7; i++) {
        struct setup s = random_setup(&state, codes[_i / 3], dtypes[_i % 3]);
        s.padding = SYSTOLE_PADDING_SAME;
        if (i == 0) {
            s.height = s.width = s.channels = s.outputs = s.filter_h = s.filter_w = 1;
        } else if (i == 1 && s.code != SYSTOLE_OP_FULLY_CONNECTED) {
            s.height = s.width = 2;
            s.filter_h = 7;
            s.filter_w = 11;
        } else if (i == 2 && s.code != SYSTOLE_OP_FULLY_CONNECTED) {
            s.stride_h = 40;
            s.stride_w = 50;
        } else if (i == 3) {
            s.channels = 130;
            s.outputs = s.code == SYSTOLE_OP_DEPTHWISE_CONV_2D ? 260 : 65;
        } else if (i == 4 && s.code != SYSTOLE_OP_FULLY_CONNECTED) {
            s.dilation_h = 100;
            s.filter_h = 3;
        } else if (i == 5) {
            s.height = 1;
            s.width = 33;
            s.filter_h = 1;
            s.dilation_h = 1;
        } else if (s.code != SYSTOLE_OP_DEPTHWISE_CONV_2D) {
            s.height = s.width = s.filter_h = s.filter_w = 1;
            s.channels = 20000;
            s.outputs = 2;
            s.output_scale = 200.0f;
        }
        if (s.code == SYSTOLE_OP_DEPTHWISE_CONV_2D && s.outputs % s.channels != 0) {
            s.outputs = s.channels;
        }
        check(&s, &state);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kernels_convolution");
    TCase *shapes = tcase_create("shapes");
    tcase_set_timeout(shapes, 60);
    tcase_add_loop_test(shapes, random_shapes, 0, 9);
    tcase_add_loop_test(shapes, edge_shapes, 0, 9);
    suite_add_tcase(suite, shapes);
    return testing_run(suite, "runtime/test_kernels_convolution");
}
