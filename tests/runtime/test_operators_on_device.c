// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The single-operator cases of the conformance data compiled for a preset and run on the functional model in process,
// every tensor verified, outputs against the goldens. Prints by operator how many cases the device ran and why it did
// not run the others; int8 cases of `on_device` must run there.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"
#include "golden.h"
#include "in_process_driver.h"
#include "session.h"
#include "testing.h"

// Operators that a device runs whatever an int8 case's parameters are.
static const char *const on_device[] = {"CONV_2D",
                                        "DEPTHWISE_CONV_2D",
                                        "FULLY_CONNECTED",
                                        "TRANSPOSE_CONV",
                                        "ADD",
                                        "MAX_POOL_2D",
                                        "AVERAGE_POOL_2D",
                                        "RELU",
                                        "RELU6",
                                        "SUB",
                                        "MUL",
                                        "MAXIMUM",
                                        "MINIMUM",
                                        "SQUARED_DIFFERENCE",
                                        "PRELU",
                                        "LOGISTIC",
                                        "TANH",
                                        "ELU",
                                        "EXP",
                                        "HARD_SWISH",
                                        "LEAKY_RELU",
                                        "ABS",
                                        "RSQRT",
                                        "RELU_N1_TO_1",
                                        "MEAN",
                                        "NOT_EQUAL",
                                        "LESS",
                                        "LESS_EQUAL",
                                        "GREATER",
                                        "GREATER_EQUAL",
                                        "SUM",
                                        "CONCATENATION",
                                        "SPLIT",
                                        "SPLIT_V",
                                        "SLICE",
                                        "STRIDED_SLICE",
                                        "PACK",
                                        "UNPACK",
                                        "PAD",
                                        "PADV2",
                                        "MIRROR_PAD",
                                        "SPACE_TO_DEPTH",
                                        "DEPTH_TO_SPACE",
                                        "SPACE_TO_BATCH_ND",
                                        "BATCH_TO_SPACE_ND",
                                        "TILE",
                                        "GATHER",
                                        "GATHER_ND",
                                        "RESIZE_NEAREST_NEIGHBOR"};
// Others whose cases run, there or on the CPU.
static const char *const anywhere[] = {"QUANTIZE",        "RESHAPE",    "SQUEEZE",    "EXPAND_DIMS", "TRANSPOSE",
                                       "RESIZE_BILINEAR", "REDUCE_MAX", "REDUCE_MIN", "SOFTMAX",     "CHAIN"};

static bool is_one_of(const char *name, const char *const *names, size_t count) {
    bool found = false;
    for (size_t i = 0; i < count; i++) {
        found = found || strcmp(name, names[i]) == 0;
    }
    return found;
}

struct result {
    bool passed;
    uint32_t operators, device_operators;
    char reason[300]; // of the first operator on the CPU
};

static void count_places(const struct systole_program *program, struct result *result) {
    for (uint32_t o = 0; o < program->operator_count; o++) {
        const struct systole_operator_info *info = &program->operators[o];
        result->operators++;
        if (info->place == SYSTOLE_PLACE_DEVICE) {
            result->device_operators++;
        } else if (result->reason[0] == '\0') {
            snprintf(result->reason, sizeof result->reason, "%s: %.200s", info->reason, info->detail);
        }
    }
}

static bool run_session(const char *folder, const struct systole_graph *graph, struct systole_session *session) {
    struct systole_diagnostic diagnostic = {.what = ""};
    size_t size, element = 0;
    for (uint32_t i = 0; i < graph->input_count; i++) {
        uint8_t *input = systole_session_input(session, i, &size);
        if (!golden_read(folder, "input", i, input, size)) {
            printf("%s: input %u cannot be read\n", folder, i);
            return false;
        }
    }
    if (systole_session_invoke(session, &diagnostic) != SYSTOLE_OK) {
        printf("%s: %s (%s)\n", folder, diagnostic.what, diagnostic.where);
        return false;
    }
    bool equal = true;
    for (uint32_t i = 0; i < graph->output_count; i++) {
        const uint8_t *output = systole_session_output(session, i, &size);
        uint8_t *expected = malloc(size);
        if (expected == NULL || !golden_read(folder, "output", i, expected, size) ||
            !golden_equal(&graph->tensors[graph->outputs[i]], expected, output, &element)) {
            printf("%s: output %u differs first at element %zu\n", folder, i, element);
            equal = false;
        }
        free(expected);
    }
    return equal;
}

static struct result run_case(const char *name, const struct systole_target *target, uint64_t order_seed) {
    struct result result = {.passed = false};
    struct systole_diagnostic diagnostic = {.what = ""};
    struct systole_graph graph = {0};
    struct systole_program program = {0};
    struct systole_session *session = NULL;
    struct systole_driver *driver = NULL;
    struct systole_compile_options options = {0};
    char folder[512], path[600];
    snprintf(folder, sizeof folder, "%s/operators/%s", testing_shared(), name);
    snprintf(path, sizeof path, "%s/model.tflite", folder);
    enum systole_status status = systole_graph_read_file(path, &graph, &diagnostic);
    if (status == SYSTOLE_OK) {
        status = systole_compile(&graph, target, &options, &program, &diagnostic);
    }
    if (status == SYSTOLE_OK) {
        count_places(&program, &result);
        status = systole_program_verify(&program, &diagnostic);
    }
    if (status == SYSTOLE_OK) {
        driver = in_process_driver(target, order_seed, true);
        struct systole_session_options on_model = {.driver = driver, .verify = true};
        status = systole_session_create(&graph, &program, &on_model, &session, &diagnostic);
    }
    if (status == SYSTOLE_OK) {
        result.passed = run_session(folder, &graph, session);
    } else {
        printf("%s: %s (%s)\n", name, diagnostic.what, diagnostic.where);
    }
    systole_session_free(session);
    systole_driver_close(driver);
    systole_program_free(&program);
    systole_graph_free(&graph);
    return result;
}

struct tally {
    char name[64];
    uint32_t cases, device, failed;
};

START_TEST(every_case) {
    const struct systole_target *target = &systole_presets[_i];
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
    struct tally tallies[160];
    uint32_t count = 0, failed = 0, missing = 0, cases = 0, device = 0;
    while (fgets(line, sizeof line, index) != NULL) {
        char name[64], operator_name[40], type[16];
        ck_assert_int_eq(sscanf(line, "%63s\t%39s\t%15s", name, operator_name, type), 3);
        bool must =
            is_one_of(operator_name, on_device, sizeof on_device / sizeof *on_device) && strcmp(type, "i8") == 0;
        bool known = must || is_one_of(operator_name, on_device, sizeof on_device / sizeof *on_device) ||
                     is_one_of(operator_name, anywhere, sizeof anywhere / sizeof *anywhere);
        if (!known || strstr(type, "i16") != NULL) {
            continue;
        }
        struct result result = run_case(name, target, cases % 3);
        char key[64];
        snprintf(key, sizeof key, "%s %s", operator_name, type);
        if (count == 0 || strcmp(tallies[count - 1].name, key) != 0) { // the index is sorted
            ck_assert_uint_lt(count, 160);
            tallies[count] = (struct tally){.cases = 0};
            snprintf(tallies[count++].name, sizeof tallies[0].name, "%s", key);
        }
        bool ran = result.device_operators > 0;
        tallies[count - 1].cases++;
        tallies[count - 1].device += ran;
        tallies[count - 1].failed += !result.passed;
        cases++;
        device += ran;
        failed += !result.passed;
        if (result.device_operators < result.operators) {
            printf("%s: %u of %u operators on the device (%s)\n", name, result.device_operators, result.operators,
                   result.reason);
        }
        if (must && result.device_operators < result.operators) {
            missing++;
        }
    }
    fclose(index);
    for (uint32_t i = 0; i < count; i++) {
        printf("%-28s %2u cases, %2u on the device, %u failed\n", tallies[i].name, tallies[i].cases, tallies[i].device,
               tallies[i].failed);
    }
    printf("%s: %u cases, %u on the device, %u failed, %u not where they must be\n", target->name, cases, device,
           failed, missing);
    ck_assert_uint_gt(device, 0);
    ck_assert_uint_eq(failed, 0);
    ck_assert_uint_eq(missing, 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("operators_on_device");
    TCase *cases = tcase_create("cases");
    tcase_set_timeout(cases, 240);
    tcase_add_loop_test(cases, every_case, 0, (int)SYSTOLE_PRESETS);
    suite_add_tcase(suite, cases);
    return testing_run(suite, "runtime/test_operators_on_device");
}
