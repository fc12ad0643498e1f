// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Strange but readable graphs: whatever a graph's shapes, types, quantisation, options and operands are, making an
// interpreter either refuses it with a diagnostic or gives one that runs inside its tensors (the sanitised run of the
// tests sees to the latter).
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph_builder.h"
#include "interpreter.h"
#include "testing.h"

static const int32_t codes[] = {
    SYSTOLE_OP_ADD,         SYSTOLE_OP_AVERAGE_POOL_2D,
    SYSTOLE_OP_CONV_2D,     SYSTOLE_OP_DEPTHWISE_CONV_2D,
    SYSTOLE_OP_DEQUANTIZE,  SYSTOLE_OP_FULLY_CONNECTED,
    SYSTOLE_OP_RELU,        SYSTOLE_OP_RELU6,
    SYSTOLE_OP_MAX_POOL_2D, SYSTOLE_OP_RESHAPE,
    SYSTOLE_OP_SOFTMAX,     SYSTOLE_OP_PAD,
    SYSTOLE_OP_PADV2,       SYSTOLE_OP_MEAN,
    SYSTOLE_OP_QUANTIZE,    SYSTOLE_OP_SUB,
    SYSTOLE_OP_MUL,         SYSTOLE_OP_LOGISTIC,
    SYSTOLE_OP_TANH,        SYSTOLE_OP_LEAKY_RELU,
    SYSTOLE_OP_ABS,         SYSTOLE_OP_BATCH_MATMUL,
    SYSTOLE_OP_LOG_SOFTMAX, SYSTOLE_OP_MAXIMUM,
    SYSTOLE_OP_MINIMUM,     SYSTOLE_OP_SQUARED_DIFFERENCE,
    SYSTOLE_OP_PRELU,       SYSTOLE_OP_DIV,
    SYSTOLE_OP_FLOOR_DIV,   SYSTOLE_OP_RELU_N1_TO_1,
    SYSTOLE_OP_HARD_SWISH,  SYSTOLE_OP_ELU,
    SYSTOLE_OP_EXP,         SYSTOLE_OP_NEG,
    SYSTOLE_OP_SQRT,        SYSTOLE_OP_RSQRT,
    SYSTOLE_OP_CAST,        SYSTOLE_OP_SPLIT_V,
    SYSTOLE_OP_SQUEEZE,     SYSTOLE_OP_EXPAND_DIMS,
};
enum { CODES = sizeof codes / sizeof *codes };

static enum systole_dtype random_dtype(uint32_t *state) {
    static const enum systole_dtype dtypes[] = {SYSTOLE_INT8,  SYSTOLE_INT8,  SYSTOLE_INT8,    SYSTOLE_UINT8,
                                                SYSTOLE_UINT8, SYSTOLE_INT32, SYSTOLE_FLOAT32, SYSTOLE_INT16};
    return dtypes[testing_range(state, 0, 7)];
}

static float random_scale(uint32_t *state) {
    static const float strange[] = {NAN, INFINITY, -1.0f, 1.0e-38f, 1.0e38f, 1.0e-44f};
    int32_t choice = testing_range(state, 0, 30);
    return choice < 6 ? strange[choice] : choice < 20 ? 0.5f : (float)testing_range(state, 1, 1000) * 1.0e-3f;
}

static int32_t random_tensor(struct systole_graph *graph, uint32_t *state, int32_t like) {
    int32_t shape[SYSTOLE_MAX_RANK], rank = testing_range(state, 0, 9) == 0 ? testing_range(state, 0, 8) : 4;
    enum systole_dtype dtype = random_dtype(state);
    for (int32_t i = 0; i < rank; i++) {
        shape[i] = testing_range(state, 1, 3);
    }
    if (like >= 0 && testing_range(state, 0, 3) != 0) {
        dtype = graph->tensors[like].dtype;
        rank = graph->tensors[like].rank;
        memcpy(shape, graph->tensors[like].shape, sizeof shape);
    }
    int32_t tensor = graph_add_tensor(graph, dtype, rank, shape, 0, 0);
    uint32_t scales = testing_range(state, 0, 9) == 0 ? (uint32_t)testing_range(state, 0, 3) : 1;
    float scale[3] = {random_scale(state), random_scale(state), random_scale(state)};
    int32_t zero_point = testing_range(state, 0, 19) == 0 ? testing_range(state, -1000, 1000) : 0;
    if (scales > 0) {
        graph_set_scales(graph, tensor, scales, scale, zero_point, testing_range(state, 0, 3));
    }
    return tensor;
}

static void random_constant(struct systole_graph *graph, uint32_t *state, int32_t tensor) {
    size_t size = graph->tensors[tensor].size;
    uint8_t *bytes = malloc(size);
    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = testing_range(state, 0, 3) == 0 ? (uint8_t)testing_random(state) : 0;
    }
    graph_set_data(graph, tensor, bytes);
    free(bytes);
}

static int32_t random_step(uint32_t *state) {
    static const int32_t strange[] = {0, -1, INT32_MIN, INT32_MAX, 32768, 65536};
    int32_t choice = testing_range(state, 0, 60);
    return choice < 6 ? strange[choice] : testing_range(state, 1, 2);
}

static struct systole_graph random_graph(uint32_t *state, int32_t code) {
    struct systole_graph graph = {0};
    int32_t inputs[4], count = testing_range(state, 1, 4);
    inputs[0] = random_tensor(&graph, state, -1);
    for (int32_t i = 1; i < count; i++) {
        inputs[i] = testing_range(state, 0, 19) == 0 ? -1 : random_tensor(&graph, state, inputs[0]);
        if (inputs[i] >= 0 && i == 1 &&
            (code == SYSTOLE_OP_MEAN || code == SYSTOLE_OP_PAD || code == SYSTOLE_OP_PADV2)) {
            int32_t shape[] = {graph.tensors[inputs[0]].rank, 2};
            inputs[i] = graph_add_tensor(&graph, SYSTOLE_INT32, code == SYSTOLE_OP_MEAN ? 1 : 2, shape, 0, 0);
        }
        if (inputs[i] >= 0 && i == 2) {
            int32_t channels = graph.tensors[inputs[0]].rank > 3 ? graph.tensors[inputs[0]].shape[3] : 1;
            bool value = code == SYSTOLE_OP_PADV2;
            inputs[i] = graph_add_tensor(&graph, value ? graph.tensors[inputs[0]].dtype : SYSTOLE_INT32, value ? 0 : 1,
                                         &channels, 0, 0);
        }
        if (inputs[i] >= 0 && testing_range(state, 0, 7) != 0) {
            random_constant(&graph, state, inputs[i]);
        }
    }
    if (code == SYSTOLE_OP_PADV2 && testing_range(state, 0, 1) == 0) { // no padding at all, or it hardly ever fits
        uint8_t *zeros = calloc(graph.tensor_count * 16u, 8);
        ck_assert_ptr_nonnull(zeros);
        for (int32_t i = 1; i < count; i++) {
            if (inputs[i] >= 0) {
                graph_set_data(&graph, inputs[i], zeros);
            }
        }
        free(zeros);
    }
    int32_t output = testing_range(state, 0, 29) == 0 ? inputs[0] : random_tensor(&graph, state, inputs[0]);
    struct systole_operator *op = graph_add_operator(&graph, code, (uint32_t)count, inputs, output);
    op->options = (struct systole_options){
        .stride_h = random_step(state),
        .stride_w = random_step(state),
        .dilation_h = random_step(state),
        .dilation_w = random_step(state),
        .filter_h = random_step(state),
        .filter_w = random_step(state),
        .padding = testing_range(state, 0, 1) == 0 ? SYSTOLE_PADDING_SAME : SYSTOLE_PADDING_VALID,
        .activation = testing_range(state, 0, 9) == 0 ? SYSTOLE_ACTIVATION_TANH : SYSTOLE_ACTIVATION_RELU,
        .keep_dims = testing_range(state, 0, 1) == 0,
        .weights_format = testing_range(state, 0, 9) == 0,
        .beta = testing_range(state, 0, 9) == 0 ? NAN : 1.0f,
    };
    if (testing_range(state, 0, 1) == 0) { // often plain, so that much of it runs
        op->options.stride_h = op->options.stride_w = op->options.dilation_h = op->options.dilation_w = 1;
        op->options.filter_h = op->options.filter_w = 1;
    }
    graph_set_ends(&graph, 1, inputs, 1, &output);
    return graph;
}

START_TEST(strange_graphs) {
    uint32_t state = 0xBAD60000u + (uint32_t)_i;
    uint32_t ran = 0, refused = 0;
    for (int trial = 0; trial < 3000; trial++) {
        struct systole_graph graph = random_graph(&state, codes[_i]);
        struct systole_diagnostic diagnostic = {.what = ""};
        struct systole_interpreter *interpreter = NULL;
        enum systole_status status = systole_interpreter_create(&graph, NULL, &interpreter, &diagnostic);
        if (status == SYSTOLE_OK) {
            uint8_t *input = systole_interpreter_tensor(interpreter, graph.inputs[0]);
            for (size_t i = 0; graph.tensors[graph.inputs[0]].data == NULL && i < graph.tensors[0].size; i++) {
                input[i] = (uint8_t)testing_random(&state);
            }
            ck_assert_int_eq(systole_interpreter_run(interpreter, &diagnostic), SYSTOLE_OK);
            ck_assert(systole_interpreter_supports(&graph, 0, &diagnostic));
            ran++;
        } else {
            ck_assert_int_eq(status, SYSTOLE_UNSUPPORTED);
            ck_assert_ptr_null(interpreter);
            ck_assert_ptr_nonnull(strstr(diagnostic.where, systole_operator_name(codes[_i])));
            ck_assert_uint_gt(strlen(diagnostic.what), 0);
            refused++;
        }
        systole_interpreter_free(interpreter);
        systole_graph_free(&graph);
    }
    ck_assert_msg(ran > 0 && refused > 0, "%s: %u ran, %u were refused", systole_operator_name(codes[_i]), ran,
                  refused);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kernels_refusal");
    TCase *graphs = tcase_create("graphs");
    tcase_set_timeout(graphs, 120);
    tcase_add_loop_test(graphs, strange_graphs, 0, CODES);
    suite_add_tcase(suite, graphs);
    return testing_run(suite, "runtime/test_kernels_refusal");
}
