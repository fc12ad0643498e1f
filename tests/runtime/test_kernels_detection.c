// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// TFLite_Detection_PostProcess on six boxes whose result can be told by hand, in both ways of suppression, and with
// options that are damaged byte by byte. The FlexBuffer is written here, all of it in words of four bytes.
#include <stdlib.h>
#include <string.h>

#include "detection_options.h"
#include "graph_builder.h"
#include "interpreter.h"
#include "testing.h"

enum { OPTIONS = 11, ANCHORS = 6, COLUMNS = 3, MOST = 3, FLEX_INT = 6, FLEX_FLOAT = 14, FLEX_MAP = 38 };

struct flex {
    uint8_t bytes[1024];
    uint32_t size;
};

static void put(struct flex *flex, const void *bytes, size_t size) {
    ck_assert_uint_le(flex->size + size, sizeof flex->bytes);
    memcpy(flex->bytes + flex->size, bytes, size);
    flex->size += (uint32_t)size;
}

static void put_word(struct flex *flex, uint32_t word) {
    put(flex, &word, sizeof word);
}

// Keys in the order of their bytes, as maps are searched by halves.
static struct flex write_options(int32_t per_class, bool regular, float score_threshold) {
    const struct {
        const char *key;
        bool is_float;
        int32_t number;
        float real;
    } options[OPTIONS] = {
        {"detections_per_class", false, per_class, 0.0f},
        {"h_scale", true, 0, 5.0f},
        {"max_classes_per_detection", false, 1, 0.0f},
        {"max_detections", false, MOST, 0.0f},
        {"nms_iou_threshold", true, 0, 0.5f},
        {"nms_score_threshold", true, 0, score_threshold},
        {"num_classes", false, 2, 0.0f},
        {"use_regular_nms", false, regular, 0.0f},
        {"w_scale", true, 0, 5.0f},
        {"x_scale", true, 0, 10.0f},
        {"y_scale", true, 0, 10.0f},
    };
    struct flex flex = {.size = 0};
    uint32_t keys[OPTIONS];
    for (int i = 0; i < OPTIONS; i++) {
        keys[i] = flex.size;
        put(&flex, options[i].key, strlen(options[i].key) + 1);
    }
    while (flex.size % 4 != 0) {
        put(&flex, "", 1);
    }
    put_word(&flex, OPTIONS);
    uint32_t key_vector = flex.size;
    for (int i = 0; i < OPTIONS; i++) {
        put_word(&flex, flex.size - keys[i]);
    }
    put_word(&flex, flex.size - key_vector);
    put_word(&flex, 4); // bytes of a key's offset
    put_word(&flex, OPTIONS);
    uint32_t map = flex.size;
    for (int i = 0; i < OPTIONS; i++) {
        put(&flex, options[i].is_float ? (const void *)&options[i].real : (const void *)&options[i].number, 4);
    }
    for (int i = 0; i < OPTIONS; i++) {
        uint8_t type = options[i].is_float ? FLEX_FLOAT : FLEX_INT;
        put(&flex, &type, 1);
    }
    while (flex.size % 4 != 0) {
        put(&flex, "", 1);
    }
    put_word(&flex, flex.size - map);
    const uint8_t root[] = {FLEX_MAP, 4};
    put(&flex, root, sizeof root);
    return flex;
}

static const float encodings[ANCHORS * 4] = {0, 0, 0, 0, 0, 1, 0, 0, 0, -1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0};
static const float scores[ANCHORS * COLUMNS] = {0, 0.9f,  0.8f,  0, 0.75f, 0.72f, 0, 0.6f, 0.5f,
                                                0, 0.93f, 0.95f, 0, 0.5f,  0.4f,  0, 0.3f, 0.2f};
static const float anchors[ANCHORS * 4] = {0.5f, 0.5f,  1, 1, 0.5f, 0.5f,  1, 1, 0.5f, 0.5f,   1, 1,
                                           0.5f, 10.5f, 1, 1, 0.5f, 10.5f, 1, 1, 0.5f, 100.5f, 1, 1};

static struct systole_graph build(const struct flex *flex) {
    struct systole_graph graph = {0};
    const int32_t box_shape[] = {1, ANCHORS, 4}, score_shape[] = {1, ANCHORS, COLUMNS}, anchor_shape[] = {ANCHORS, 4};
    const int32_t shapes[4][3] = {{1, MOST, 4}, {1, MOST, 0}, {1, MOST, 0}, {1, 0, 0}}, ranks[4] = {3, 2, 2, 1};
    int32_t inputs[3], outputs[4];
    inputs[0] = graph_add_tensor(&graph, SYSTOLE_FLOAT32, 3, box_shape, 0, 0);
    inputs[1] = graph_add_tensor(&graph, SYSTOLE_FLOAT32, 3, score_shape, 0, 0);
    inputs[2] = graph_add_tensor(&graph, SYSTOLE_FLOAT32, 2, anchor_shape, 0, 0);
    graph_set_data(&graph, inputs[2], anchors);
    for (int i = 0; i < 4; i++) {
        outputs[i] = graph_add_tensor(&graph, SYSTOLE_FLOAT32, ranks[i], shapes[i], 0, 0);
    }
    struct systole_operator *op = graph_add_operator(&graph, SYSTOLE_OP_CUSTOM, 3, inputs, outputs[0]);
    free(op->outputs);
    op->outputs = malloc(sizeof outputs);
    op->custom_name = strdup(SYSTOLE_DETECTION_OPERATOR);
    op->custom_options = malloc(flex->size + 1);
    ck_assert(op->outputs != NULL && op->custom_name != NULL && op->custom_options != NULL);
    memcpy(op->outputs, outputs, sizeof outputs);
    memcpy(op->custom_options, flex->bytes, flex->size);
    op->custom_options_size = flex->size;
    op->output_count = 4;
    graph_set_ends(&graph, 2, inputs, 4, outputs);
    return graph;
}

static void run(const struct systole_graph *graph, struct systole_interpreter *interpreter) {
    struct systole_diagnostic diagnostic;
    memcpy(systole_interpreter_tensor(interpreter, graph->inputs[0]), encodings, sizeof encodings);
    memcpy(systole_interpreter_tensor(interpreter, graph->inputs[1]), scores, sizeof scores);
    ck_assert_int_eq(systole_interpreter_run(interpreter, &diagnostic), SYSTOLE_OK);
}

static void check(const struct flex *flex, int32_t count, const float *boxes, const float *classes,
                  const float *expected_scores) {
    struct systole_diagnostic diagnostic;
    struct systole_interpreter *interpreter;
    struct systole_graph graph = build(flex);
    ck_assert_msg(systole_interpreter_create(&graph, NULL, &interpreter, &diagnostic) == SYSTOLE_OK, "%s (%s)",
                  diagnostic.what, diagnostic.where);
    run(&graph, interpreter);
    const float *found[4];
    for (int i = 0; i < 4; i++) {
        found[i] = (const float *)(const void *)systole_interpreter_tensor(interpreter, graph.outputs[i]);
    }
    ck_assert_int_eq((int32_t)found[3][0], count);
    for (int i = 0; i < MOST; i++) {
        for (int k = 0; k < 4; k++) {
            ck_assert_float_eq_tol(found[0][4 * i + k], boxes[4 * i + k], 1e-5f);
        }
        ck_assert_float_eq(found[1][i], classes[i]);
        ck_assert_float_eq(found[2][i], expected_scores[i]);
    }
    systole_interpreter_free(interpreter);
    systole_graph_free(&graph);
}

// Boxes 1 and 2 overlap box 0 by 0.9 / 1.1, box 4 likewise box 3; box 5 is alone.
START_TEST(fast) {
    struct flex flex = write_options(100, false, 0.0f);
    check(&flex, 3, (const float[]){0, 10, 1, 11, 0, 0, 1, 1, 0, 100, 1, 101}, (const float[]){1, 0, 0},
          (const float[]){0.95f, 0.9f, 0.3f});
}
END_TEST

START_TEST(fast_above_threshold) {
    struct flex flex = write_options(100, false, 0.4f);
    check(&flex, 2, (const float[]){0, 10, 1, 11, 0, 0, 1, 1, 0, 0, 0, 0}, (const float[]){1, 0, 0},
          (const float[]){0.95f, 0.9f, 0.0f});
}
END_TEST

START_TEST(regular) {
    struct flex flex = write_options(100, true, 0.0f);
    check(&flex, 3, (const float[]){0, 10, 1, 11, 0, 10, 1, 11, 0, 0, 1, 1}, (const float[]){1, 0, 0},
          (const float[]){0.95f, 0.93f, 0.9f});
}
END_TEST

START_TEST(regular_one_a_class) {
    struct flex flex = write_options(1, true, 0.0f);
    check(&flex, 2, (const float[]){0, 10, 1, 11, 0, 10, 1, 11, 0, 0, 0, 0}, (const float[]){1, 0, 0},
          (const float[]){0.95f, 0.93f, 0.0f});
}
END_TEST

START_TEST(damaged_options) {
    uint32_t state = 0xDE7EC701u, refused = 0;
    for (int trial = 0; trial < 4000; trial++) {
        struct flex flex = write_options(100, trial % 2 == 0, 0.0f);
        if (trial % 3 == 0) {
            flex.size = (uint32_t)testing_range(&state, 0, (int32_t)flex.size - 1);
        } else {
            int32_t at = testing_range(&state, 0, (int32_t)flex.size - 1);
            flex.bytes[at] = (uint8_t)testing_random(&state);
        }
        struct systole_graph graph = build(&flex);
        struct systole_diagnostic diagnostic;
        struct systole_interpreter *interpreter = NULL;
        enum systole_status status = systole_interpreter_create(&graph, NULL, &interpreter, &diagnostic);
        ck_assert(status == SYSTOLE_OK || status == SYSTOLE_UNSUPPORTED);
        refused += status == SYSTOLE_UNSUPPORTED;
        if (status == SYSTOLE_OK) {
            run(&graph, interpreter);
        }
        systole_interpreter_free(interpreter);
        systole_graph_free(&graph);
    }
    ck_assert_uint_gt(refused, 1000);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kernels_detection");
    TCase *cases = tcase_create("cases");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, fast);
    tcase_add_test(cases, fast_above_threshold);
    tcase_add_test(cases, regular);
    tcase_add_test(cases, regular_one_a_class);
    tcase_add_test(cases, damaged_options);
    suite_add_tcase(suite, cases);
    return testing_run(suite, "runtime/test_kernels_detection");
}
