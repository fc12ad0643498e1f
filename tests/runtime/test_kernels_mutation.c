// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Strange but readable graphs that are nearly right: each single-operator conformance model with one to three things
// changed (an extent, a rank, a type, constants, an option, an operand left out). The interpreter refuses it with a
// diagnostic, when it is made or, where indices are computed, when it runs; or it runs inside its tensors.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "interpreter.h"
#include "testing.h"

static void resize(struct systole_tensor *tensor) {
    size_t size = systole_tensor_elements(tensor) * systole_dtype_size(tensor->dtype);
    if (tensor->data != NULL) {
        uint8_t *data = calloc(size > 0 ? size : 1, 1);
        ck_assert_ptr_nonnull(data);
        memcpy(data, tensor->data, size < tensor->size ? size : tensor->size);
        free(tensor->data);
        tensor->data = data;
    }
    tensor->size = size;
}

static void mutate_tensor(struct systole_tensor *tensor, uint32_t *state) {
    static const enum systole_dtype dtypes[] = {SYSTOLE_INT8,  SYSTOLE_UINT8,   SYSTOLE_INT16, SYSTOLE_INT32,
                                                SYSTOLE_INT64, SYSTOLE_FLOAT32, SYSTOLE_BOOL};
    static const int32_t integers[] = {0, 1, -1, 2, -2, 3, 100, INT32_MAX, INT32_MIN};
    switch (testing_range(state, 0, 5)) {
    case 0:
        if (tensor->rank > 0) {
            tensor->shape[testing_range(state, 0, tensor->rank - 1)] =
                testing_range(state, 1, 6); // the reader lets no empty tensor through
        }
        break;
    case 1:
        tensor->rank = testing_range(state, 0, 8);
        for (int32_t i = 0; i < SYSTOLE_MAX_RANK; i++) {
            tensor->shape[i] = tensor->shape[i] < 1 ? 1 : tensor->shape[i] > 40 ? 40 : tensor->shape[i];
        }
        while (systole_tensor_elements(tensor) > 100000) {
            tensor->rank--;
        }
        break;
    case 2:
        tensor->dtype = dtypes[testing_range(state, 0, 6)];
        break;
    case 3:
        if (tensor->quantisation.count > 0) {
            tensor->quantisation.zero_point[0] = testing_range(state, -300, 300);
            tensor->quantisation.scale[0] *= testing_range(state, 0, 1) == 0 ? 1.0e-9f : 1.0e9f;
        }
        break;
    default: // a constant's integer, or a bit
        if (tensor->data != NULL && tensor->size >= 4) {
            size_t at = (size_t)testing_range(state, 0, (int32_t)(tensor->size / 4) - 1);
            memcpy(tensor->data + 4 * at, &integers[testing_range(state, 0, 8)], 4);
        }
        break;
    }
    resize(tensor);
}

static void mutate_operator(struct systole_operator *op, uint32_t *state) {
    struct systole_options *o = &op->options;
    int32_t value = testing_range(state, -9, 9);
    switch (testing_range(state, 0, 9)) {
    case 0:
        o->axis = value;
        break;
    case 1:
        o->block_size = value;
        break;
    case 2:
        o->batch_dims = value;
        break;
    case 3:
        o->begin_mask = o->end_mask = value;
        break;
    case 4:
        o->shrink_axis_mask = value;
        break;
    case 5:
        o->symmetric = !o->symmetric;
        o->align_corners = !o->align_corners;
        break;
    case 6:
        o->half_pixel_centers = !o->half_pixel_centers;
        o->keep_dims = !o->keep_dims;
        break;
    case 7:
        o->stride_h = o->stride_w = value;
        break;
    case 8:
        o->padding = o->padding == SYSTOLE_PADDING_SAME ? SYSTOLE_PADDING_VALID : SYSTOLE_PADDING_SAME;
        break;
    default:
        op->input_count -= op->input_count > 1;
        break;
    }
}

// Returns whether it ran to its end.
static bool try_graph(const struct systole_graph *graph, const char *name, uint32_t *state) {
    struct systole_diagnostic diagnostic = {.what = ""};
    struct systole_interpreter *interpreter = NULL;
    enum systole_status status = systole_interpreter_create(graph, NULL, &interpreter, &diagnostic);
    if (status == SYSTOLE_OK) {
        for (uint32_t i = 0; i < graph->input_count; i++) {
            uint8_t *input = systole_interpreter_tensor(interpreter, graph->inputs[i]);
            for (size_t k = 0; k < graph->tensors[graph->inputs[i]].size; k++) {
                input[k] = (uint8_t)testing_random(state);
            }
        }
        status = systole_interpreter_run(interpreter, &diagnostic);
    }
    if (status != SYSTOLE_OK) {
        ck_assert_msg(status == SYSTOLE_UNSUPPORTED && diagnostic.what[0] != 0, "%s: status %d, \"%s\"", name, status,
                      diagnostic.what);
    }
    systole_interpreter_free(interpreter);
    return status == SYSTOLE_OK;
}

START_TEST(nearly_right) {
    enum { TRIALS = 40 };
    char path[600], line[1024];
    if (testing_shared() == NULL) {
        testing_skip("the conformance operators are not there");
        return;
    }
    snprintf(path, sizeof path, "%s/operators/index.tsv", testing_shared());
    FILE *index = fopen(path, "r");
    ck_assert_ptr_nonnull(index);
    ck_assert(fgets(line, sizeof line, index) != NULL); // headings
    uint32_t state = 0x3A7E0001u, ran = 0, refused = 0;
    while (fgets(line, sizeof line, index) != NULL) {
        char name[64];
        ck_assert_int_eq(sscanf(line, "%63s", name), 1);
        snprintf(path, sizeof path, "%s/operators/%s/model.tflite", testing_shared(), name);
        for (uint32_t trial = 0; trial < TRIALS; trial++) {
            struct systole_graph graph;
            ck_assert_int_eq(systole_graph_read_file(path, &graph, NULL), SYSTOLE_OK);
            for (int32_t n = testing_range(&state, 1, 3); n > 0; n--) {
                if (testing_range(&state, 0, 2) == 0) {
                    int32_t last = (int32_t)graph.operator_count - 1;
                    mutate_operator(&graph.operators[testing_range(&state, 0, last)], &state);
                } else {
                    int32_t last = (int32_t)graph.tensor_count - 1;
                    mutate_tensor(&graph.tensors[testing_range(&state, 0, last)], &state);
                }
            }
            if (try_graph(&graph, name, &state)) {
                ran++;
            } else {
                refused++;
            }
            systole_graph_free(&graph);
        }
    }
    fclose(index);
    printf("nearly right: %u ran, %u were refused\n", ran, refused);
    ck_assert_uint_gt(ran, 1000);
    ck_assert_uint_gt(refused, 1000);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kernels_mutation");
    TCase *cases = tcase_create("graphs");
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, nearly_right);
    suite_add_tcase(suite, cases);
    return testing_run(suite, "runtime/test_kernels_mutation");
}
