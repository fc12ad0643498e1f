// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// LSTM and SVDF: a sequence in two runs gives what it gives in one, resetting forgets it, integers stay near real
// numbers, and damaged operands are refused.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph_builder.h"
#include "interpreter.h"
#include "testing.h"

enum { BATCHES = 2, STEPS = 6, DEPTH = 5, UNITS = 7, LSTM_INPUTS = 24 };

struct weights {
    float input[4][UNITS * DEPTH], recurrent[4][UNITS * UNITS], bias[4][UNITS];
};

static const float weight_scale = 0.01f, input_scale = 0.02f, output_scale = 1.0f / 128.0f;
static const float cell_scale = 1.0f / 2048.0f;

static int32_t constant(struct systole_graph *graph, bool is_float, int32_t rank, const int32_t *shape, float scale,
                        bool is_bias, const float *values) {
    enum systole_dtype dtype = is_float ? SYSTOLE_FLOAT32 : is_bias ? SYSTOLE_INT32 : SYSTOLE_INT8;
    int32_t tensor = graph_add_tensor(graph, dtype, rank, shape, is_float ? 0.0f : scale, 0);
    size_t count = systole_tensor_elements(&graph->tensors[tensor]);
    int32_t *wide = malloc(count * sizeof *wide);
    int8_t *narrow = malloc(count);
    ck_assert(wide != NULL && narrow != NULL);
    for (size_t i = 0; i < count; i++) {
        long value = lroundf(values[i] / scale);
        wide[i] = (int32_t)value;
        narrow[i] = (int8_t)value;
    }
    graph_set_data(graph, tensor,
                   is_float  ? (const void *)values
                   : is_bias ? (const void *)wide
                             : (const void *)narrow);
    free(wide);
    free(narrow);
    return tensor;
}

// Inputs of a graph are laid out step by step (time_major).
static struct systole_graph lstm_graph(const struct weights *w, bool is_float, int32_t steps) {
    struct systole_graph graph = {0};
    const int32_t input_shape[] = {steps, BATCHES, DEPTH}, output_shape[] = {steps, BATCHES, UNITS};
    const int32_t input_weights[] = {UNITS, DEPTH}, recurrent_weights[] = {UNITS, UNITS}, units[] = {UNITS};
    const int32_t state[] = {BATCHES, UNITS};
    enum systole_dtype dtype = is_float ? SYSTOLE_FLOAT32 : SYSTOLE_INT8;
    int32_t inputs[LSTM_INPUTS];
    for (int i = 0; i < LSTM_INPUTS; i++) {
        inputs[i] = -1;
    }
    inputs[0] = graph_add_tensor(&graph, dtype, 3, input_shape, is_float ? 0.0f : input_scale, 0);
    for (int g = 0; g < 4; g++) {
        inputs[1 + g] = constant(&graph, is_float, 2, input_weights, weight_scale, false, w->input[g]);
        inputs[5 + g] = constant(&graph, is_float, 2, recurrent_weights, weight_scale, false, w->recurrent[g]);
        inputs[12 + g] = constant(&graph, is_float, 1, units, weight_scale * input_scale, true, w->bias[g]);
    }
    inputs[18] = graph_add_tensor(&graph, dtype, 2, state, is_float ? 0.0f : output_scale, 0);
    inputs[19] =
        graph_add_tensor(&graph, is_float ? SYSTOLE_FLOAT32 : SYSTOLE_INT16, 2, state, is_float ? 0.0f : cell_scale, 0);
    graph.tensors[inputs[18]].is_variable = graph.tensors[inputs[19]].is_variable = true;
    int32_t output = graph_add_tensor(&graph, dtype, 3, output_shape, is_float ? 0.0f : output_scale, 0);
    struct systole_operator *op =
        graph_add_operator(&graph, SYSTOLE_OP_UNIDIRECTIONAL_SEQUENCE_LSTM, LSTM_INPUTS, inputs, output);
    op->options.time_major = true;
    op->options.activation = SYSTOLE_ACTIVATION_TANH;
    graph_set_ends(&graph, 1, inputs, 1, &output);
    return graph;
}

static struct weights random_weights(uint32_t *state) {
    struct weights w;
    float *values = (float *)(void *)&w;
    for (size_t i = 0; i < sizeof w / sizeof *values; i++) {
        values[i] = (float)testing_range(state, -127, 127) * weight_scale;
    }
    return w;
}

static struct systole_interpreter *create(const struct systole_graph *graph) {
    struct systole_diagnostic diagnostic;
    struct systole_interpreter *interpreter;
    ck_assert_msg(systole_interpreter_create(graph, NULL, &interpreter, &diagnostic) == SYSTOLE_OK, "%s (%s)",
                  diagnostic.what, diagnostic.where);
    return interpreter;
}

static void run(const struct systole_graph *graph, struct systole_interpreter *interpreter, const uint8_t *input,
                uint8_t *output) {
    struct systole_diagnostic diagnostic;
    memcpy(systole_interpreter_tensor(interpreter, graph->inputs[0]), input, graph->tensors[graph->inputs[0]].size);
    ck_assert_int_eq(systole_interpreter_run(interpreter, &diagnostic), SYSTOLE_OK);
    memcpy(output, systole_interpreter_tensor(interpreter, graph->outputs[0]), graph->tensors[graph->outputs[0]].size);
}

START_TEST(lstm_in_two_runs) {
    bool is_float = _i == 1;
    size_t element = is_float ? sizeof(float) : 1;
    uint32_t state = 0x157A0001u;
    struct weights w = random_weights(&state);
    struct systole_graph whole = lstm_graph(&w, is_float, STEPS), half = lstm_graph(&w, is_float, STEPS / 2);
    struct systole_interpreter *at_once = create(&whole), *in_two = create(&half);
    float input[STEPS * BATCHES * DEPTH];
    float expected[STEPS * BATCHES * UNITS], found[STEPS * BATCHES * UNITS];
    for (size_t i = 0; i < sizeof input / sizeof *input; i++) {
        int32_t value = testing_range(&state, -127, 127);
        if (is_float) {
            input[i] = (float)value * input_scale;
        } else {
            ((int8_t *)(void *)input)[i] = (int8_t)value;
        }
    }
    const uint8_t *bytes = (const uint8_t *)(const void *)input;
    uint8_t *to = (uint8_t *)(void *)found;
    size_t half_input = STEPS / 2 * BATCHES * DEPTH * element, half_output = STEPS / 2 * BATCHES * UNITS * element;
    for (int trial = 0; trial < 2; trial++) {
        run(&whole, at_once, bytes, (uint8_t *)(void *)expected);
        run(&half, in_two, bytes, to);
        run(&half, in_two, bytes + half_input, to + half_output);
        ck_assert_mem_eq(expected, found, 2 * half_output);
        run(&half, in_two, bytes, to);
        ck_assert_mem_ne(expected, found, half_output); // a state was there
        systole_interpreter_reset_variables(at_once);
        systole_interpreter_reset_variables(in_two);
    }
    systole_interpreter_free(in_two);
    systole_interpreter_free(at_once);
    systole_graph_free(&half);
    systole_graph_free(&whole);
}
END_TEST

START_TEST(lstm_integers_near_reals) {
    uint32_t state = 0x157A0002u;
    for (int trial = 0; trial < 20; trial++) {
        struct weights w = random_weights(&state);
        struct systole_graph integer = lstm_graph(&w, false, STEPS), real = lstm_graph(&w, true, STEPS);
        struct systole_interpreter *a = create(&integer), *b = create(&real);
        int8_t input[STEPS * BATCHES * DEPTH], found[STEPS * BATCHES * UNITS];
        float values[STEPS * BATCHES * DEPTH], expected[STEPS * BATCHES * UNITS];
        for (size_t i = 0; i < sizeof input; i++) {
            input[i] = (int8_t)testing_range(&state, -127, 127);
            values[i] = (float)input[i] * input_scale;
        }
        run(&integer, a, (const uint8_t *)input, (uint8_t *)found);
        run(&real, b, (const uint8_t *)(const void *)values, (uint8_t *)(void *)expected);
        for (size_t i = 0; i < sizeof found; i++) {
            ck_assert_float_le(fabsf((float)found[i] * output_scale - expected[i]), 0.06f);
        }
        systole_interpreter_free(b);
        systole_interpreter_free(a);
        systole_graph_free(&real);
        systole_graph_free(&integer);
    }
}
END_TEST

// One thing about one operand is damaged: whatever it is, the graph is refused or runs inside its tensors.
START_TEST(lstm_damaged) {
    uint32_t state = 0x157A0003u;
    struct weights w = random_weights(&state);
    uint32_t refused = 0;
    for (int trial = 0; trial < 400; trial++) {
        struct systole_graph graph = lstm_graph(&w, trial % 2 == 0, STEPS);
        struct systole_operator *op = &graph.operators[0];
        struct systole_diagnostic diagnostic;
        struct systole_interpreter *interpreter = NULL;
        int32_t place = testing_range(&state, 0, LSTM_INPUTS - 1);
        struct systole_tensor *tensor = op->inputs[place] >= 0 ? &graph.tensors[op->inputs[place]] : NULL;
        switch (testing_range(&state, 0, 5)) {
        case 0:
            op->inputs[place] = -1;
            break;
        case 1:
            op->inputs[place] = op->inputs[testing_range(&state, 0, 8)];
            break;
        case 2:
            op->input_count = (uint32_t)place;
            break;
        case 3:
            if (tensor != NULL) {
                tensor->is_variable = !tensor->is_variable;
            }
            break;
        case 4:
            if (tensor != NULL && tensor->quantisation.count > 0) {
                tensor->quantisation.scale[0] = testing_range(&state, 0, 1) == 0 ? NAN : 1.0e30f;
            }
            break;
        default:
            if (tensor != NULL) {
                tensor->rank = testing_range(&state, 0, 1);
            }
            break;
        }
        enum systole_status status = systole_interpreter_create(&graph, NULL, &interpreter, &diagnostic);
        ck_assert(status == SYSTOLE_OK || status == SYSTOLE_UNSUPPORTED);
        refused += status == SYSTOLE_UNSUPPORTED;
        if (status == SYSTOLE_OK) {
            ck_assert_int_eq(systole_interpreter_run(interpreter, &diagnostic), SYSTOLE_OK);
        }
        systole_interpreter_free(interpreter);
        systole_graph_free(&graph);
    }
    ck_assert_uint_gt(refused, 100);
}
END_TEST

// A filter of weight 1 over a memory of three sums up the last three inputs.
START_TEST(svdf_remembers) {
    enum { MEMORY = 3, RUNS = 7 };
    struct systole_graph graph = {0};
    const int32_t one[] = {1, 1}, time[] = {1, MEMORY}, units[] = {1};
    const int8_t feature = 1;
    const int16_t weights[MEMORY] = {1, 1, 1};
    const int32_t bias = 5;
    int32_t inputs[5];
    inputs[0] = graph_add_tensor(&graph, SYSTOLE_INT8, 2, one, 1.0f, 3);
    inputs[1] = graph_add_tensor(&graph, SYSTOLE_INT8, 2, one, 1.0f, 0);
    inputs[2] = graph_add_tensor(&graph, SYSTOLE_INT16, 2, time, 1.0f, 0);
    inputs[3] = graph_add_tensor(&graph, SYSTOLE_INT32, 1, units, 1.0f, 0);
    inputs[4] = graph_add_tensor(&graph, SYSTOLE_INT16, 2, time, 1.0f, 0);
    graph_set_data(&graph, inputs[1], &feature);
    graph_set_data(&graph, inputs[2], weights);
    graph_set_data(&graph, inputs[3], &bias);
    graph.tensors[inputs[4]].is_variable = true;
    int32_t output = graph_add_tensor(&graph, SYSTOLE_INT8, 2, one, 1.0f, -2);
    graph_add_operator(&graph, SYSTOLE_OP_SVDF, 5, inputs, output)->options.svdf_rank = 1;
    graph_set_ends(&graph, 1, inputs, 1, &output);
    struct systole_interpreter *interpreter = create(&graph);
    uint8_t found;
    for (int i = 0; i < RUNS; i++) {
        const uint8_t input = (uint8_t)(3 + i); // real value i
        int32_t sum = i + (i >= 1 ? i - 1 : 0) + (i >= 2 ? i - 2 : 0);
        run(&graph, interpreter, &input, &found);
        ck_assert_int_eq((int8_t)found, sum + bias - 2);
    }
    systole_interpreter_free(interpreter);
    systole_graph_free(&graph);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kernels_stateful");
    TCase *cases = tcase_create("cases");
    tcase_set_timeout(cases, 60);
    tcase_add_loop_test(cases, lstm_in_two_runs, 0, 2);
    tcase_add_test(cases, lstm_integers_near_reals);
    tcase_add_test(cases, lstm_damaged);
    tcase_add_test(cases, svdf_remembers);
    suite_add_tcase(suite, cases);
    return testing_run(suite, "runtime/test_kernels_stateful");
}
