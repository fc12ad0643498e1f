// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Every single-operator case of the conformance data on the CPU's kernels. A case that no kernel takes is counted and
// listed; for the operators and types of `required` that is a failure.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden.h"
#include "interpreter.h"
#include "testing.h"

static const struct {
    const char *operator_name, *types;
} required[] = {
    {"CONV_2D", "i8 u8 i16 f"},
    {"DEPTHWISE_CONV_2D", "i8 u8 i16 f"},
    {"FULLY_CONNECTED", "i8 u8 i16 f"},
    {"ADD", "i8 u8 i16 f"},
    {"AVERAGE_POOL_2D", "i8 u8 f"},
    {"MAX_POOL_2D", "i8 u8 f"},
    {"MEAN", "i8 u8 f"},
    {"QUANTIZE", "i8_i8 i8_u8 u8_i8 u8_u8 f_i8 f_u8 f_i16 i16_i16 i16_i8 i8_i16"},
    {"DEQUANTIZE", "i8 u8 i16"},
    {"PAD", "i8 u8 i16"},
    {"PADV2", "i8"},
    {"RESHAPE", "i8 u8"},
    {"SOFTMAX", "i8 u8 i16 f"},
    {"RELU", "i8 u8"},
    {"RELU6", "i8 u8"},
    {"RELU_N1_TO_1", "u8"},
    {"CHAIN", "i8 u8"},
    {"UNIDIRECTIONAL_SEQUENCE_LSTM", "i8"},
    {"SVDF", "i8"},
    {"BATCH_MATMUL", "i8"},
    {"LOG_SOFTMAX", "i8"},
    {"SUB", "i16 i8 u8"},
    {"MUL", "f i16 i8 u8"},
    {"LEAKY_RELU", "i16 i8"},
    {"ABS", "i16 i8"},
    {"LOGISTIC", "f i16 i8 u8"},
    {"TANH", "i16 i8"},
    {"TRANSPOSE_CONV", "i16 i8 u8"},
    {"MAXIMUM", "i8 u8"},
    {"MINIMUM", "i8 u8"},
    {"SQUARED_DIFFERENCE", "i8"},
    {"SUM", "i8"},
    {"REDUCE_MAX", "i8"},
    {"REDUCE_MIN", "i8"},
    {"PRELU", "i8"},
    {"HARD_SWISH", "i8 u8"},
    {"ELU", "i8"},
    {"EXP", "f i8"},
    {"L2_NORMALIZATION", "i8 u8"},
    {"CONCATENATION", "u8 f i8"},
    {"SPLIT", "i8 u8"},
    {"SPLIT_V", "i8"},
    {"SLICE", "i8 u8"},
    {"STRIDED_SLICE", "i16 i8 u8"},
    {"PACK", "i8 u8"},
    {"UNPACK", "i8 u8"},
    {"MIRROR_PAD", "i8"},
    {"TRANSPOSE", "f i16 i8 u8"},
    {"SQUEEZE", "i8"},
    {"EXPAND_DIMS", "i8"},
    {"SPACE_TO_DEPTH", "i8 u8"},
    {"DEPTH_TO_SPACE", "i8 u8"},
    {"SPACE_TO_BATCH_ND", "i8 u8"},
    {"BATCH_TO_SPACE_ND", "i8 u8"},
    {"TILE", "i8 u8"},
    {"GATHER", "i8 u8"},
    {"GATHER_ND", "i8 u8"},
    {"RESIZE_BILINEAR", "f i8 u8"},
    {"RESIZE_NEAREST_NEIGHBOR", "i8 u8"},
    {"ARG_MAX", "i8 u8"},
    {"ARG_MIN", "i8 u8"},
    {"CAST", "f_i8 i32_f i32_i8 i8_f i8_i32 u8_f u8_i32 u8_i8"},
    {"RSQRT", "i8"},
    {"LESS", "i8"},
    {"LESS_EQUAL", "i8"},
    {"GREATER", "i8"},
    {"GREATER_EQUAL", "i8"},
    {"EQUAL", "i8"},
    {"NOT_EQUAL", "i8"},
    {"SELECT_V2", "i8"},
};

static bool is_required(const char *operator_name, const char *type) {
    for (size_t i = 0; i < sizeof required / sizeof *required; i++) {
        if (strcmp(required[i].operator_name, operator_name) == 0) {
            char types[64], *rest = NULL;
            snprintf(types, sizeof types, "%s", required[i].types);
            for (char *t = strtok_r(types, " ", &rest); t != NULL; t = strtok_r(NULL, " ", &rest)) {
                if (strcmp(t, type) == 0) {
                    return true;
                }
            }
        }
    }
    return false;
}

enum outcome { PASSED, FAILED, UNSUPPORTED };

static enum outcome run_graph(const char *folder, const struct systole_graph *graph,
                              struct systole_interpreter *interpreter) {
    struct systole_diagnostic diagnostic;
    for (uint32_t i = 0; i < graph->input_count; i++) {
        if (!golden_read(folder, "input", i, systole_interpreter_tensor(interpreter, graph->inputs[i]),
                         graph->tensors[graph->inputs[i]].size)) {
            printf("%s: input %u cannot be read\n", folder, i);
            return FAILED;
        }
    }
    if (systole_interpreter_run(interpreter, &diagnostic) != SYSTOLE_OK) {
        printf("%s: %s\n", folder, diagnostic.what);
        return FAILED;
    }
    enum outcome outcome = PASSED;
    for (uint32_t i = 0; i < graph->output_count; i++) {
        const struct systole_tensor *tensor = &graph->tensors[graph->outputs[i]];
        uint8_t *expected = malloc(tensor->size);
        size_t element = 0;
        if (!golden_read(folder, "output", i, expected, tensor->size)) {
            printf("%s: output %u cannot be read\n", folder, i);
            outcome = FAILED;
        } else if (!golden_equal(tensor, expected, systole_interpreter_tensor(interpreter, graph->outputs[i]),
                                 &element)) {
            printf("%s: output %u differs first at element %zu\n", folder, i, element);
            outcome = FAILED;
        }
        free(expected);
    }
    return outcome;
}

static enum outcome run_case(const char *name) {
    struct systole_diagnostic diagnostic;
    struct systole_graph graph;
    struct systole_interpreter *interpreter = NULL;
    char folder[512], path[600];
    snprintf(folder, sizeof folder, "%s/operators/%s", testing_shared(), name);
    snprintf(path, sizeof path, "%s/model.tflite", folder);
    enum systole_status status = systole_graph_read_file(path, &graph, &diagnostic);
    if (status == SYSTOLE_OK) {
        status = systole_interpreter_create(&graph, NULL, &interpreter, &diagnostic);
    }
    enum outcome outcome = status == SYSTOLE_UNSUPPORTED ? UNSUPPORTED : FAILED;
    if (status == SYSTOLE_OK) {
        outcome = run_graph(folder, &graph, interpreter);
    } else {
        printf("%s: %s (%s)\n", name, diagnostic.what, diagnostic.where);
    }
    systole_interpreter_free(interpreter);
    systole_graph_free(&graph);
    return outcome;
}

struct tally {
    char operator_name[48], type[16];
    uint32_t counts[3];
};

static struct tally *tally_of(struct tally *tallies, uint32_t *count, const char *operator_name, const char *type) {
    for (uint32_t i = 0; i < *count; i++) {
        if (strcmp(tallies[i].operator_name, operator_name) == 0 && strcmp(tallies[i].type, type) == 0) {
            return &tallies[i];
        }
    }
    ck_assert_uint_lt(*count, 512);
    struct tally *tally = &tallies[(*count)++];
    snprintf(tally->operator_name, sizeof tally->operator_name, "%s", operator_name);
    snprintf(tally->type, sizeof tally->type, "%s", type);
    return tally;
}

START_TEST(every_case) {
    char path[512], line[1024];
    if (testing_shared() == NULL) {
        testing_skip("the conformance operators are not there");
        return;
    }
    snprintf(path, sizeof path, "%s/operators/index.tsv", testing_shared());
    FILE *index = fopen(path, "r");
    if (index == NULL) {
        testing_skip("%s: not there", path);
        return;
    }
    static struct tally tallies[512];
    uint32_t count = 0, total[3] = {0}, missing = 0;
    ck_assert(fgets(line, sizeof line, index) != NULL); // headings
    while (fgets(line, sizeof line, index) != NULL) {
        char name[64], operator_name[48], type[16];
        ck_assert_int_eq(sscanf(line, "%63s\t%47s\t%15s", name, operator_name, type), 3);
        enum outcome outcome = run_case(name);
        tally_of(tallies, &count, operator_name, type)->counts[outcome]++;
        total[outcome]++;
        missing += outcome == UNSUPPORTED && is_required(operator_name, type);
    }
    fclose(index);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t *c = tallies[i].counts;
        printf("%-28s %-8s %2u passed, %u failed, %u not supported\n", tallies[i].operator_name, tallies[i].type,
               c[PASSED], c[FAILED], c[UNSUPPORTED]);
    }
    printf("all operators: %u passed, %u failed, %u not supported (%u of them required)\n", total[PASSED],
           total[FAILED], total[UNSUPPORTED], missing);
    ck_assert_uint_gt(total[PASSED], 0);
    ck_assert_uint_eq(total[FAILED], 0);
    ck_assert_uint_eq(missing, 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("operators");
    TCase *cases = tcase_create("cases");
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, every_case);
    suite_add_tcase(suite, cases);
    return testing_run(suite, "runtime/test_operators");
}
