// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The zoo: layers give the published counts; files are the same every time and read back; int8 maps neither saturate
// nor vanish; small networks compile to what the CPU computes.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_compile.h"
#include "interpreter.h"
#include "testing.h"
#include "zoo.h"

// Multiply-accumulates and parameters in millions, as published. How publications round and count batch
// normalisation differs: `tolerance` in percent.
static const struct {
    const char *name;
    double macs, parameters, tolerance;
    int32_t outputs; // extent of the last axis
} published[] = {
    {"resnet8", 12.5, 0.078, 0.6, 10},
    {"ds_cnn", 2.66, 0.0226, 0.6, 12},
    {"transformer_block", 109.05, 0.7898, 0.6, 256},
    {"mobilenet_v1", 569, 4.2, 0.6, 1000},
    {"mobilenet_v2", 300, 3.5, 0.6, 1000},
    {"mobilenet_v3_edgetpu", 990, 4.0, 2, 1000},
    {"efficientnet_lite0", 400, 4.7, 4, 1000},
    {"resnet18", 1810, 11.7, 0.6, 1000},
    {"resnet50", 4100, 25.6, 0.6, 1000},
    {"inception_v1", 1580, 7.0, 0.6, 1000},
};
#define PUBLISHED ((int)(sizeof published / sizeof published[0]))
#define SMALL 3 // the first ones, quick enough to be built and run each time

static void require(enum systole_status status, const struct systole_diagnostic *diagnostic) {
    ck_assert_msg(status == SYSTOLE_OK, "%s (%s): %s", diagnostic->what, diagnostic->where, diagnostic->hint);
}

START_TEST(layers_are_those_published) {
    struct systole_diagnostic diagnostic = {.what = ""};
    struct systole_graph graph;
    require(systole_zoo_layers(published[_i].name, &graph, &diagnostic), &diagnostic);
    double macs = 0, parameters = 0;
    for (uint32_t i = 0; i < graph.operator_count; i++) {
        macs += (double)systole_operator_macs(&graph, i) * 1e-6;
    }
    for (uint32_t t = 0; t < graph.tensor_count; t++) {
        if (graph.tensors[t].data != NULL && graph.tensors[t].dtype == SYSTOLE_FLOAT32) {
            parameters += (double)systole_tensor_elements(&graph.tensors[t]) * 1e-6;
        }
    }
    ck_assert_double_le(fabs(macs / published[_i].macs - 1) * 100, published[_i].tolerance);
    ck_assert_double_le(fabs(parameters / published[_i].parameters - 1) * 100, published[_i].tolerance + 0.5);
    const struct systole_tensor *output = &graph.tensors[graph.outputs[0]];
    ck_assert_int_eq(output->rank, 2);
    ck_assert_int_eq(output->shape[1], published[_i].outputs);
    systole_graph_free(&graph);
}
END_TEST

static void write_network(const char *name, bool is_float, uint8_t **bytes, size_t *size) {
    struct systole_diagnostic diagnostic = {.what = ""};
    struct systole_graph graph;
    require(systole_zoo_build(name, is_float, &graph, &diagnostic), &diagnostic);
    require(systole_graph_write(&graph, NULL, bytes, size, &diagnostic), &diagnostic);
    systole_graph_free(&graph);
}

START_TEST(files_read_back_and_repeat) {
    for (int is_float = 0; is_float < 2; is_float++) {
        struct systole_diagnostic diagnostic = {.what = ""};
        uint8_t *first = NULL, *second = NULL, *third = NULL;
        size_t first_size, second_size, third_size;
        struct systole_graph graph;
        write_network(published[_i].name, is_float != 0, &first, &first_size);
        write_network(published[_i].name, is_float != 0, &second, &second_size);
        ck_assert_uint_eq(first_size, second_size);
        ck_assert_mem_eq(first, second, first_size);
        require(systole_graph_read(first, first_size, published[_i].name, &graph, &diagnostic), &diagnostic);
        enum systole_dtype type = is_float ? SYSTOLE_FLOAT32 : SYSTOLE_INT8;
        ck_assert_int_eq(graph.tensors[graph.inputs[0]].dtype, type);
        ck_assert_int_eq(graph.tensors[graph.outputs[0]].dtype, type);
        for (uint32_t i = 0; i < graph.operator_count; i++) {
            ck_assert(systole_interpreter_supports(&graph, i, &diagnostic));
        }
        // What was read is all that was written.
        (void)snprintf(graph.name, sizeof graph.name, "%s", published[_i].name);
        require(systole_graph_write(&graph, NULL, &third, &third_size, &diagnostic), &diagnostic);
        ck_assert_uint_eq(first_size, third_size);
        ck_assert_mem_eq(first, third, first_size);
        systole_graph_free(&graph);
        free(third);
        free(second);
        free(first);
    }
}
END_TEST

START_TEST(files_differ_in_their_weights) {
    struct systole_diagnostic diagnostic = {.what = ""};
    struct systole_graph graph;
    require(systole_zoo_build("resnet8", true, &graph, &diagnostic), &diagnostic);
    const uint8_t *previous = NULL;
    for (uint32_t i = 0; i < graph.operator_count; i++) {
        if (graph.operators[i].code == SYSTOLE_OP_CONV_2D) {
            const uint8_t *weights = graph.tensors[graph.operators[i].inputs[1]].data;
            ck_assert(previous == NULL || memcmp(previous, weights, 64) != 0);
            previous = weights;
        }
    }
    ck_assert_ptr_nonnull(previous);
    systole_graph_free(&graph);
}
END_TEST

struct histogram {
    size_t count[256]; // by value + 128
    size_t total, distinct;
    double deviation;
};

static struct histogram histogram_of(const uint8_t *bytes, size_t total) {
    struct histogram h = {.total = total};
    double sum = 0, squares = 0;
    for (size_t i = 0; i < total; i++) {
        int32_t value = (bytes[i] ^ 0x80) - 128;
        h.count[value + 128]++;
        sum += value;
        squares += value * value;
    }
    for (int v = 0; v < 256; v++) {
        h.distinct += h.count[v] > 0;
    }
    double mean = sum / (double)total;
    h.deviation = sqrt(squares / (double)total - mean * mean);
    return h;
}

// On input other than that of calibration.
START_TEST(maps_neither_saturate_nor_vanish) {
    struct systole_diagnostic diagnostic = {.what = ""};
    struct systole_graph graph;
    struct systole_interpreter *interpreter;
    require(systole_zoo_build(published[_i].name, false, &graph, &diagnostic), &diagnostic);
    require(systole_interpreter_create(&graph, NULL, &interpreter, &diagnostic), &diagnostic);
    uint8_t *input = systole_interpreter_tensor(interpreter, graph.inputs[0]);
    uint32_t state = 77;
    for (size_t i = 0; i < graph.tensors[graph.inputs[0]].size; i++) {
        input[i] = (uint8_t)testing_random(&state);
    }
    require(systole_interpreter_run(interpreter, &diagnostic), &diagnostic);
    for (uint32_t i = 0; i < graph.operator_count; i++) {
        const struct systole_operator *op = &graph.operators[i];
        const struct systole_tensor *output = &graph.tensors[op->outputs[0]];
        struct histogram h = histogram_of(systole_interpreter_tensor(interpreter, op->outputs[0]), output->size);
        bool rectified = output->quantisation.zero_point[0] == -128;
        const char *name = output->name;
        if (op->code == SYSTOLE_OP_SOFTMAX) {
            ck_assert_msg(h.count[0] < h.total || h.distinct > 1, "%s is all zero", name);
            continue;
        }
        ck_assert_msg(h.distinct >= (h.total >= 1000 ? 64U : h.total / 4), "%s: %zu values", name, h.distinct);
        ck_assert_msg(h.deviation >= 6, "%s: deviation %f", name, h.deviation);
        ck_assert_msg(h.count[255] * 50 <= h.total || h.total < 100, "%s: %zu of %zu are 127", name, h.count[255],
                      h.total);
        ck_assert_msg(h.count[0] * (rectified ? 4 : 50) <= h.total * (rectified ? 3 : 1) || h.total < 100,
                      "%s: %zu of %zu are -128", name, h.count[0], h.total);
    }
    systole_interpreter_free(interpreter);
    systole_graph_free(&graph);
}
END_TEST

START_TEST(int8_follows_float) {
    struct systole_diagnostic diagnostic = {.what = ""};
    struct systole_graph graphs[2];
    struct systole_interpreter *interpreters[2];
    for (int k = 0; k < 2; k++) {
        require(systole_zoo_build(published[_i].name, k == 1, &graphs[k], &diagnostic), &diagnostic);
        require(systole_interpreter_create(&graphs[k], NULL, &interpreters[k], &diagnostic), &diagnostic);
    }
    const struct systole_tensor *input = &graphs[0].tensors[graphs[0].inputs[0]];
    uint8_t *integers = systole_interpreter_tensor(interpreters[0], graphs[0].inputs[0]);
    float *reals = (float *)(void *)systole_interpreter_tensor(interpreters[1], graphs[1].inputs[0]);
    uint32_t state = 5;
    for (size_t i = 0; i < input->size; i++) {
        integers[i] = (uint8_t)testing_random(&state);
        reals[i] = input->quantisation.scale[0] * (float)((int8_t)integers[i] - input->quantisation.zero_point[0]);
    }
    ck_assert_uint_eq(graphs[0].operator_count, graphs[1].operator_count);
    for (uint32_t i = 0; i < graphs[0].operator_count; i++) {
        int32_t t = graphs[0].operators[i].outputs[0];
        ck_assert_int_eq(graphs[0].operators[i].code, graphs[1].operators[i].code);
        const struct systole_tensor *output = &graphs[0].tensors[t];
        for (int k = 0; k < 2; k++) {
            require(systole_interpreter_run_operator(interpreters[k], i, &diagnostic), &diagnostic);
        }
        integers = systole_interpreter_tensor(interpreters[0], t);
        reals = (float *)(void *)systole_interpreter_tensor(interpreters[1], graphs[1].operators[i].outputs[0]);
        double error = 0;
        for (size_t e = 0; e < output->size; e++) {
            double real = (double)output->quantisation.scale[0] *
                          ((int8_t)integers[e] - (double)output->quantisation.zero_point[0]);
            error += (real - (double)reals[e]) * (real - (double)reals[e]);
        }
        // In steps of the int8 output; errors of earlier layers add up.
        double steps = sqrt(error / (double)output->size) / (double)output->quantisation.scale[0];
        ck_assert_msg(steps < 10, "%s: %f steps", output->name, steps);
    }
    for (int k = 0; k < 2; k++) {
        systole_interpreter_free(interpreters[k]);
        systole_graph_free(&graphs[k]);
    }
}
END_TEST

START_TEST(small_networks_compile) {
    struct systole_diagnostic diagnostic = {.what = ""};
    struct systole_graph graph;
    struct systole_target target = check_target("systole16");
    require(systole_zoo_build(published[_i].name, false, &graph, &diagnostic), &diagnostic);
    check_compile(&graph, &target, 9, NULL);
    systole_graph_free(&graph);
}
END_TEST

START_TEST(an_unknown_network_is_refused) {
    struct systole_diagnostic diagnostic = {.what = ""};
    struct systole_graph graph;
    ck_assert_int_eq(systole_zoo_build("alexnet", false, &graph, &diagnostic), SYSTOLE_BAD_ARGUMENT);
    ck_assert_str_eq(diagnostic.where, "alexnet");
    ck_assert_uint_eq(graph.tensor_count, 0);
    ck_assert_int_eq(systole_zoo_layers("", &graph, NULL), SYSTOLE_BAD_ARGUMENT);
}
END_TEST

START_TEST(every_entry_is_tested) {
    ck_assert_uint_eq(systole_zoo_count, PUBLISHED);
    for (uint32_t i = 0; i < systole_zoo_count; i++) {
        int k = 0;
        while (k < PUBLISHED && strcmp(published[k].name, systole_zoo_entries[i].name) != 0) {
            k++;
        }
        ck_assert_msg(k < PUBLISHED, "%s", systole_zoo_entries[i].name);
    }
}
END_TEST

int main(void) {
    // Large networks take minutes under a sanitiser; `make test-all` builds them, too.
    int built = getenv("SYSTOLE_TEST_ALL") != NULL ? PUBLISHED : SMALL;
    Suite *suite = suite_create("zoo");
    TCase *tcase = tcase_create("zoo");
    tcase_set_timeout(tcase, 300);
    tcase_add_loop_test(tcase, layers_are_those_published, 0, PUBLISHED);
    tcase_add_loop_test(tcase, files_read_back_and_repeat, 0, built);
    tcase_add_loop_test(tcase, maps_neither_saturate_nor_vanish, 0, built);
    tcase_add_loop_test(tcase, small_networks_compile, 0, SMALL);
    tcase_add_test(tcase, files_differ_in_their_weights);
    tcase_add_loop_test(tcase, int8_follows_float, 0, SMALL);
    tcase_add_test(tcase, an_unknown_network_is_refused);
    tcase_add_test(tcase, every_entry_is_tested);
    suite_add_tcase(suite, tcase);
    return testing_run(suite, "graph/test_zoo");
}
