// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The conformance data through the compiler: every box of every command and all outputs equal the interpreter's, the
// outputs equal the goldens, programs are the same each time, within their sizes, and predicted within the goals.
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "build_graph.h"
#include "check_compile.h"
#include "golden.h"
#include "simulate_program.h"
#include "testing.h"

static const struct {
    const char *name;
    uint32_t cpu_operators; // softmax
    uint32_t segments;      // two: a QUANTIZE follows it
    uint64_t cycles16;      // most cycles at systole16 that may be predicted
} models[] = {
    {"resnet8_int8", 1, 1, 52500},
    {"kws_int8", 1, 1, 10800},
    {"vww_96_int8", 1, 1, 36000},
    {"ad01_int8", 0, 1, 6500},
    {"str_ww_int8", 1, 1, 4800},
    {"person_detect_int8", 1, 1, 36000},
    {"hello_world_int8", 0, 1, 400},
    {"mobilenet_v2_224_int8", 1, 2, 1250000},
    {"mobilenet_v1_025_128_uint8", 1, 1, 80000},
    {"mobilenet_v2_224_uint8", 1, 1, 1250000},
};
#define MODELS (sizeof models / sizeof models[0])

static bool read_model(const char *folder, struct systole_graph *graph) {
    char path[900];
    struct systole_diagnostic diagnostic;
    snprintf(path, sizeof path, "%s/model.tflite", folder);
    return systole_graph_read_file(path, graph, &diagnostic) == SYSTOLE_OK;
}

// Runs the reference on the case's inputs and holds its outputs against the goldens.
static struct systole_interpreter *run_reference(const struct systole_graph *graph, const char *folder) {
    struct systole_diagnostic diagnostic = {.what = ""};
    struct systole_interpreter *reference = NULL;
    ck_assert_msg(systole_interpreter_create(graph, NULL, &reference, &diagnostic) == SYSTOLE_OK, "%s: %s", folder,
                  diagnostic.what);
    for (uint32_t i = 0; i < graph->input_count; i++) {
        ck_assert(golden_read(folder, "input", i, systole_interpreter_tensor(reference, graph->inputs[i]),
                              graph->tensors[graph->inputs[i]].size));
    }
    ck_assert_int_eq(systole_interpreter_run(reference, &diagnostic), SYSTOLE_OK);
    for (uint32_t i = 0; i < graph->output_count; i++) {
        const struct systole_tensor *tensor = &graph->tensors[graph->outputs[i]];
        uint8_t *expected = malloc(tensor->size);
        size_t element = 0;
        ck_assert(golden_read(folder, "output", i, expected, tensor->size));
        ck_assert_msg(
            golden_equal(tensor, expected, systole_interpreter_tensor(reference, graph->outputs[i]), &element),
            "%s: output %u differs from the golden at %zu", folder, i, element);
        free(expected);
    }
    return reference;
}

static void simulate(const struct systole_graph *graph, const struct systole_program *program,
                     struct systole_interpreter *reference, uint32_t orders) {
    struct systole_diagnostic diagnostic = {.what = ""};
    for (uint32_t seed = 0; seed < orders; seed++) {
        ck_assert_msg(simulate_program(graph, program, reference, seed, &diagnostic) == SYSTOLE_OK, "%s, order %u: %s",
                      graph->name, seed, diagnostic.what);
    }
}

static void compile(const struct systole_graph *graph, const struct systole_target *target,
                    struct systole_program *program) {
    struct systole_diagnostic diagnostic = {.what = ""};
    ck_assert_msg(systole_compile(graph, target, NULL, program, &diagnostic) == SYSTOLE_OK, "%s: %s (%s)", graph->name,
                  diagnostic.what, diagnostic.where);
}

static const char *shared_or_skip(void) {
    const char *shared = testing_shared();
    if (shared == NULL) {
        testing_skip("no conformance data");
    }
    return shared;
}

START_TEST(conformance_models) {
    static const char *const names[] = {"systole16", "systole32", "systole64"};
    const char *shared = shared_or_skip();
    for (size_t m = 0; m < MODELS && shared != NULL; m++) {
        char folder[512], golden[560];
        struct systole_graph graph;
        snprintf(folder, sizeof folder, "%s/models/%s", shared, models[m].name);
        snprintf(golden, sizeof golden, "%s/seed1", folder);
        ck_assert_msg(read_model(folder, &graph), "%s cannot be read", folder);
        struct systole_interpreter *reference = run_reference(&graph, golden);
        for (uint32_t t = 0; t < 3; t++) {
            struct systole_target target = check_target(names[t]);
            struct systole_program program;
            compile(&graph, &target, &program);
            simulate(&graph, &program, reference, 2);
            uint32_t on_cpu = 0;
            for (uint32_t i = 0; i < program.operator_count; i++) {
                on_cpu += program.operators[i].place == SYSTOLE_PLACE_CPU;
            }
            ck_assert_msg(on_cpu == models[m].cpu_operators, "%s: %u operators on the CPU", models[m].name, on_cpu);
            ck_assert_uint_eq(program.segment_count, models[m].segments);
            ck_assert(program.segments[0].resident);
            ck_assert_uint_le(program.segments[0].command_count, 1000);
            uint64_t cycles = program.segments[0].predicted_cycles;
            ck_assert_msg(t > 0 || cycles <= models[m].cycles16, "%s: %llu cycles predicted", models[m].name,
                          (unsigned long long)cycles);
            systole_program_free(&program);
        }
        systole_interpreter_free(reference);
        systole_graph_free(&graph);
    }
}
END_TEST

// Operators whose 8-bit cases must be on the device, whatever their parameters.
static bool must_be_on_device(const char *name) {
    static const char *const operators[] = {
        "CONV_2D_", "DEPTHWISE_CONV_2D_", "FULLY_CONNECTED_", "ADD_", "AVERAGE_POOL_2D_", "MAX_POOL_2D_", "RELU_",
        "RELU6_"};
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++) {
        if (strncmp(name, operators[i], strlen(operators[i])) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_case(const char *name) {
    static const char *const others[] = {"MEAN_", "QUANTIZE_", "PAD_", "PADV2_", "RESHAPE_", "SOFTMAX_", "CHAIN_"};
    if (strstr(name, "_i16") != NULL || strstr(name, "_f_") != NULL ||
        (strstr(name, "_i8") == NULL && strstr(name, "_u8") == NULL)) {
        return false;
    }
    bool result = must_be_on_device(name);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        result = result || strncmp(name, others[i], strlen(others[i])) == 0;
    }
    return result;
}

START_TEST(single_operators) {
    const char *shared = shared_or_skip();
    char folder[512], path[800];
    uint32_t cases = 0, on_device = 0;
    if (shared == NULL) {
        return;
    }
    snprintf(folder, sizeof folder, "%s/operators", shared);
    DIR *directory = opendir(folder);
    ck_assert_ptr_nonnull(directory);
    struct systole_target target = check_target("systole16");
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        struct systole_graph graph;
        struct systole_program program;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (!is_case(entry->d_name) || !read_model(path, &graph)) {
            continue;
        }
        struct systole_interpreter *reference = run_reference(&graph, path);
        compile(&graph, &target, &program);
        simulate(&graph, &program, reference, 3);
        cases++;
        on_device += program.operators[0].place == SYSTOLE_PLACE_DEVICE;
        ck_assert_msg(!must_be_on_device(entry->d_name) || program.operators[0].place == SYSTOLE_PLACE_DEVICE, "%s: %s",
                      entry->d_name, program.operators[0].detail);
        systole_program_free(&program);
        systole_interpreter_free(reference);
        systole_graph_free(&graph);
    }
    closedir(directory);
    printf("%u cases of single operators, %u on the device\n", cases, on_device);
    ck_assert_uint_ge(on_device, 100);
}
END_TEST

START_TEST(same_bytes_each_time) {
    const char *shared = shared_or_skip();
    struct systole_target target = check_target("systole16");
    for (size_t m = 0; m < MODELS && shared != NULL; m++) {
        char folder[512];
        struct systole_graph graph;
        uint8_t *bytes[2];
        size_t sizes[2];
        snprintf(folder, sizeof folder, "%s/models/%s", shared, models[m].name);
        ck_assert(read_model(folder, &graph));
        for (uint32_t i = 0; i < 2; i++) {
            struct systole_program program;
            struct systole_diagnostic diagnostic;
            compile(&graph, &target, &program);
            ck_assert_int_eq(systole_program_write(&program, &bytes[i], &sizes[i], &diagnostic), SYSTOLE_OK);
            systole_program_free(&program);
        }
        ck_assert_uint_eq(sizes[0], sizes[1]);
        ck_assert_int_eq(memcmp(bytes[0], bytes[1], sizes[0]), 0);
        free(bytes[0]);
        free(bytes[1]);
        systole_graph_free(&graph);
    }
}
END_TEST

START_TEST(quick_enough) {
    const char *shared = shared_or_skip();
    if (shared == NULL || getenv("SYSTOLE_SANITIZED") != NULL) {
        return;
    }
    char folder[512];
    struct systole_graph graph;
    struct systole_program program;
    struct systole_target target = check_target("systole16");
    snprintf(folder, sizeof folder, "%s/models/mobilenet_v2_224_int8", shared);
    ck_assert(read_model(folder, &graph));
    clock_t begin = clock();
    compile(&graph, &target, &program);
    ck_assert_int_lt((clock() - begin) / CLOCKS_PER_SEC, 3);
    systole_program_free(&program);
    systole_graph_free(&graph);
}
END_TEST

// The model inside a program keeps the host's constants only, and cannot be compiled again.
START_TEST(model_inside_the_program) {
    struct systole_target target = check_target("systole16");
    struct systole_graph graph, inside;
    struct systole_program program;
    struct systole_diagnostic diagnostic;
    uint32_t random = 3;
    build_graph(&graph, "inside");
    int32_t input = build_map(&graph, SYSTOLE_INT8, 1, 4, 4, 8);
    build_quantise(&graph, input, 0.05F, 4);
    build_input(&graph, input);
    int32_t full = build_fully_connected(&graph, input, 128, 10, false, &random);
    build_output(&graph, build_softmax(&graph, full));
    compile(&graph, &target, &program);
    ck_assert_str_eq(program.model_name, "inside");
    ck_assert_int_eq(systole_graph_read(program.model, program.model_size, "inside", &inside, &diagnostic), SYSTOLE_OK);
    int32_t weights = graph.operators[0].inputs[1];
    ck_assert_ptr_null(inside.tensors[weights].data);
    ck_assert_uint_eq(inside.operator_count, 2);
    struct systole_program again;
    ck_assert_int_eq(systole_compile(&inside, &target, NULL, &again, &diagnostic), SYSTOLE_UNSUPPORTED);
    ck_assert_uint_eq(again.segment_count, 0);
    systole_program_free(&program);
    systole_graph_free(&inside);
    systole_graph_free(&graph);
}
END_TEST

// Dumps name every pass; without operators there is nothing to do.
START_TEST(dumps_and_empty_graphs) {
    struct systole_target target = check_target("systole16");
    struct systole_graph graph;
    struct systole_program program;
    struct systole_diagnostic diagnostic = {.what = ""};
    uint32_t random = 3;
    char *text = NULL;
    size_t size = 0;
    build_graph(&graph, "dump");
    int32_t input = build_map(&graph, SYSTOLE_INT8, 1, 4, 4, 8);
    build_quantise(&graph, input, 0.05F, 4);
    build_input(&graph, input);
    build_output(&graph, build_fully_connected(&graph, input, 128, 10, false, &random));
    struct systole_compile_options options = {.dump = open_memstream(&text, &size)};
    ck_assert_int_eq(systole_compile(&graph, &target, &options, &program, &diagnostic), SYSTOLE_OK);
    fclose(options.dump);
    static const char *const expected[] = {"== legalise", "== fuse", "== place",    "== lay_out", "== allocate",
                                           "== tile",     "== emit", "== schedule", "== estimate"};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        ck_assert_msg(strstr(text, expected[i]) != NULL, "no %s in\n%s", expected[i], text);
    }
    free(text);
    systole_program_free(&program);
    systole_graph_free(&graph);

    build_graph(&graph, "empty");
    input = build_map(&graph, SYSTOLE_INT8, 1, 4, 4, 8);
    build_input(&graph, input);
    build_output(&graph, input);
    ck_assert_msg(systole_compile(&graph, &target, NULL, &program, &diagnostic) == SYSTOLE_OK, "%s", diagnostic.what);
    ck_assert_uint_eq(program.step_count, 0);
    systole_program_free(&program);
    systole_graph_free(&graph);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("compile");
    TCase *tests = tcase_create("compile");
    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, conformance_models);
    tcase_add_test(tests, single_operators);
    tcase_add_test(tests, same_bytes_each_time);
    tcase_add_test(tests, quick_enough);
    tcase_add_test(tests, model_inside_the_program);
    tcase_add_test(tests, dumps_and_empty_graphs);
    suite_add_tcase(suite, tests);
    return testing_run(suite, "compiler/compile");
}
