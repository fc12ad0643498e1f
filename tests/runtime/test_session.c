// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Sessions on the CPU and on the functional model in process: published models against their goldens, a network built
// here on every preset, in the clock's order and in random ones; what verification must find; what must be refused.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"
#include "golden.h"
#include "graph_builder.h"
#include "in_process_driver.h"
#include "session.h"
#include "target.h"
#include "testing.h"

static int32_t random_constant(struct systole_graph *graph, enum systole_dtype dtype, int32_t rank,
                               const int32_t *shape, float scale, uint32_t *state) {
    int32_t tensor = graph_add_tensor(graph, dtype, rank, shape, scale, 0);
    size_t size = graph->tensors[tensor].size;
    uint8_t *bytes = malloc(size);
    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)testing_random(state);
    }
    for (size_t i = 0; dtype == SYSTOLE_INT32 && i < size; i += 4) {
        int32_t value = testing_range(state, -3000, 3000);
        memcpy(bytes + i, &value, sizeof value);
    }
    graph_set_data(graph, tensor, bytes);
    free(bytes);
    return tensor;
}

// 3x3 convolution of a picture, a depthwise one, a pointwise one, a residual addition, pooling, fully connected,
// softmax.
static struct systole_graph build_network(uint32_t seed) {
    uint32_t state = seed;
    struct systole_graph graph = {0};
    const int32_t picture[] = {1, 12, 10, 3}, map[] = {1, 6, 5, 21}, pooled[] = {1, 1, 1, 21}, scores[] = {1, 7};
    const int32_t conv[] = {21, 3, 3, 3}, depthwise[] = {1, 3, 3, 21}, pointwise[] = {21, 1, 1, 21}, dense[] = {7, 21};
    const int32_t channels = 21, classes = 7;
    int32_t input = graph_add_tensor(&graph, SYSTOLE_INT8, 4, picture, 0.02f, -3);
    int32_t a = graph_add_tensor(&graph, SYSTOLE_INT8, 4, map, 0.3f, -128);
    int32_t b = graph_add_tensor(&graph, SYSTOLE_INT8, 4, map, 0.7f, 5);
    int32_t c = graph_add_tensor(&graph, SYSTOLE_INT8, 4, map, 2.5f, -9);
    int32_t d = graph_add_tensor(&graph, SYSTOLE_INT8, 4, map, 2.0f, 11);
    int32_t e = graph_add_tensor(&graph, SYSTOLE_INT8, 4, pooled, 2.0f, 11);
    int32_t f = graph_add_tensor(&graph, SYSTOLE_INT8, 2, scores, 9.0f, 0);
    int32_t g = graph_add_tensor(&graph, SYSTOLE_INT8, 2, scores, 1.0f / 256.0f, -128);
    int32_t bias = random_constant(&graph, SYSTOLE_INT32, 1, &channels, 0, &state);
    int32_t bias2 = random_constant(&graph, SYSTOLE_INT32, 1, &classes, 0, &state);
    const int32_t conv_inputs[] = {input, random_constant(&graph, SYSTOLE_INT8, 4, conv, 0.01f, &state), bias};
    const int32_t depthwise_inputs[] = {a, random_constant(&graph, SYSTOLE_INT8, 4, depthwise, 0.01f, &state), bias};
    const int32_t pointwise_inputs[] = {b, random_constant(&graph, SYSTOLE_INT8, 4, pointwise, 0.01f, &state), bias};
    const int32_t add_inputs[] = {a, c};
    const int32_t dense_inputs[] = {e, random_constant(&graph, SYSTOLE_INT8, 2, dense, 0.01f, &state), bias2};

    struct systole_operator *op = graph_add_operator(&graph, SYSTOLE_OP_CONV_2D, 3, conv_inputs, a);
    op->options.stride_h = op->options.stride_w = 2;
    op->options.activation = SYSTOLE_ACTIVATION_RELU;
    op = graph_add_operator(&graph, SYSTOLE_OP_DEPTHWISE_CONV_2D, 3, depthwise_inputs, b);
    op->options.depth_multiplier = 1;
    graph_add_operator(&graph, SYSTOLE_OP_CONV_2D, 3, pointwise_inputs, c);
    graph_add_operator(&graph, SYSTOLE_OP_ADD, 2, add_inputs, d);
    op = graph_add_operator(&graph, SYSTOLE_OP_AVERAGE_POOL_2D, 1, &d, e);
    op->options.filter_h = op->options.stride_h = 6;
    op->options.filter_w = op->options.stride_w = 5;
    op->options.padding = SYSTOLE_PADDING_VALID;
    graph_add_operator(&graph, SYSTOLE_OP_FULLY_CONNECTED, 3, dense_inputs, f);
    graph_add_operator(&graph, SYSTOLE_OP_SOFTMAX, 1, &f, g);
    graph_set_ends(&graph, 1, &input, 1, &g);
    snprintf(graph.name, sizeof graph.name, "network");
    return graph;
}

static void compile(const struct systole_graph *graph, const struct systole_target *target,
                    struct systole_program *program) {
    struct systole_diagnostic diagnostic;
    struct systole_compile_options options = {0};
    ck_assert_msg(systole_compile(graph, target, &options, program, &diagnostic) == SYSTOLE_OK, "%s (%s)",
                  diagnostic.what, diagnostic.where);
}

static struct systole_session *open_session(const struct systole_graph *graph, const struct systole_program *program,
                                            struct systole_driver *driver, bool verify) {
    struct systole_diagnostic diagnostic;
    struct systole_session *session;
    struct systole_session_options options = {.driver = driver, .keep_tensors = true, .verify = verify};
    ck_assert_msg(systole_session_create(graph, program, &options, &session, &diagnostic) == SYSTOLE_OK, "%s (%s)",
                  diagnostic.what, diagnostic.where);
    return session;
}

static void invoke(struct systole_session *session) {
    struct systole_diagnostic diagnostic;
    ck_assert_msg(systole_session_invoke(session, &diagnostic) == SYSTOLE_OK, "%s (%s)", diagnostic.what,
                  diagnostic.where);
}

static void check_cycles(const struct systole_session *session) {
    const struct systole_session_cycles *cycles = systole_session_cycles(session);
    ck_assert_uint_gt(cycles->total, 0);
    ck_assert_uint_ge(cycles->cold, cycles->total);
    for (uint32_t unit = 0; unit < SYSTOLE_UNITS; unit++) {
        uint64_t sum = 0;
        for (uint32_t kind = 0; kind < SYSTOLE_COUNTER_KINDS; kind++) {
            sum += cycles->counters[unit][kind];
        }
        ck_assert_msg(sum == cycles->total, "counters of %s sum to %llu, not %llu", systole_unit_name(unit),
                      (unsigned long long)sum, (unsigned long long)cycles->total);
    }
    ck_assert_ptr_nonnull(cycles->operators);
    uint64_t sum = 0;
    for (uint32_t o = 0; o < cycles->operator_count; o++) {
        sum += cycles->operators[o];
    }
    ck_assert_uint_eq(sum, cycles->total);
}

// Every finding is equal or not on the device, and tensors were compared.
static void check_findings(const struct systole_session *session, const char *name) {
    uint32_t count, equal = 0;
    const struct systole_finding *findings = systole_session_findings(session, &count);
    for (uint32_t i = 0; i < count; i++) {
        ck_assert_int_ne(findings[i].kind, SYSTOLE_FINDING_DIFFERENT);
        equal += findings[i].kind == SYSTOLE_FINDING_EQUAL;
    }
    ck_assert_uint_gt(equal, 0);
    printf("%s: %u of %u tensors compared on the device, %llu cycles\n", name, equal, count,
           (unsigned long long)systole_session_cycles(session)->total);
}

static const char *const models[] = {"hello_world_int8",
                                     "kws_int8",
                                     "resnet8_int8",
                                     "vww_96_int8",
                                     "ad01_int8",
                                     "str_ww_int8",
                                     "person_detect_int8",
                                     "mobilenet_v1_025_128_uint8",
                                     "mobilenet_v2_224_uint8",
                                     "mobilenet_v2_224_int8"};

START_TEST(published_model) {
    char folder[512], path[512];
    if (testing_shared() == NULL) {
        testing_skip("%s: the conformance models are not there", models[_i]);
        return;
    }
    snprintf(path, sizeof path, "%s/models/%s/model.tflite", testing_shared(), models[_i]);
    struct systole_diagnostic diagnostic;
    struct systole_graph graph;
    enum systole_status status = systole_graph_read_file(path, &graph, &diagnostic);
    if (status != SYSTOLE_OK) {
        testing_skip("%s: %s", path, diagnostic.what);
        return;
    }
    struct systole_program program;
    compile(&graph, &systole_presets[0], &program);
    struct systole_driver *driver = in_process_driver(&systole_presets[0], 0, true);
    struct systole_session *session = open_session(&graph, &program, driver, true);
    for (int seed = 1; seed <= 2; seed++) {
        snprintf(folder, sizeof folder, "%s/models/%s/seed%d", testing_shared(), models[_i], seed);
        for (uint32_t i = 0; i < graph.input_count; i++) {
            size_t size;
            uint8_t *input = systole_session_input(session, i, &size);
            ck_assert(golden_read(folder, "input", i, input, size));
        }
        invoke(session);
        for (uint32_t i = 0; i < graph.output_count; i++) {
            size_t size, element;
            const uint8_t *output = systole_session_output(session, i, &size);
            uint8_t *expected = malloc(size);
            ck_assert(golden_read(folder, "output", i, expected, size));
            ck_assert_msg(golden_equal(&graph.tensors[graph.outputs[i]], expected, output, &element),
                          "%s: output %u differs first at %zu", folder, i, element);
            free(expected);
        }
        check_cycles(session);
        check_findings(session, folder);
    }
    systole_session_free(session);
    systole_driver_close(driver);
    systole_program_free(&program);
    systole_graph_free(&graph);
}
END_TEST

static void fill_inputs(struct systole_session *session, uint32_t seed) {
    uint32_t state = seed;
    size_t size;
    uint8_t *input = systole_session_input(session, 0, &size);
    for (size_t i = 0; i < size; i++) {
        input[i] = (uint8_t)testing_random(&state);
    }
}

// The network built here, on every preset, in the clock's order and two others that the tokens allow.
START_TEST(built_network) {
    const struct systole_target *target = &systole_presets[_i / 3];
    struct systole_graph graph = build_network(0xB01D0000u + (uint32_t)_i);
    struct systole_program program;
    compile(&graph, target, &program);
    struct systole_driver *driver = in_process_driver(target, (uint64_t)(_i % 3), true);
    struct systole_session *reference = open_session(&graph, NULL, NULL, false);
    struct systole_session *session = open_session(&graph, &program, driver, true);
    uint64_t total = 0;
    for (uint32_t round = 1; round <= 3; round++) {
        size_t size, expected_size;
        fill_inputs(reference, round);
        fill_inputs(session, round);
        invoke(reference);
        invoke(session);
        const uint8_t *expected = systole_session_output(reference, 0, &expected_size);
        const uint8_t *found = systole_session_output(session, 0, &size);
        ck_assert_uint_eq(size, expected_size);
        ck_assert_mem_eq(expected, found, size);
        check_findings(session, target->name);
        if (_i % 3 == 0) {
            check_cycles(session);
            ck_assert(round == 1 || systole_session_cycles(session)->total == total);
            total = systole_session_cycles(session)->total;
        }
    }
    systole_session_free(session);
    systole_session_free(reference);
    systole_driver_close(driver);
    systole_program_free(&program);
    systole_graph_free(&graph);
}
END_TEST

// Two convolutions with a softmax between them, which the CPU computes.
static struct systole_graph build_interrupted(void) {
    uint32_t state = 0x1A7E0000u;
    struct systole_graph graph = {0};
    const int32_t map[] = {1, 3, 3, 48}, filter[] = {48, 3, 3, 48};
    int32_t tensors[4];
    for (int i = 0; i < 4; i++) {
        tensors[i] = graph_add_tensor(&graph, SYSTOLE_INT8, 4, map, i == 2 ? 1.0f / 256.0f : 0.2f, i == 2 ? -128 : 7);
    }
    const int32_t first[] = {tensors[0], random_constant(&graph, SYSTOLE_INT8, 4, filter, 0.002f, &state)};
    const int32_t second[] = {tensors[2], random_constant(&graph, SYSTOLE_INT8, 4, filter, 0.02f, &state)};
    graph_add_operator(&graph, SYSTOLE_OP_CONV_2D, 2, first, tensors[1]);
    graph_add_operator(&graph, SYSTOLE_OP_SOFTMAX, 1, &tensors[1], tensors[2]);
    graph_add_operator(&graph, SYSTOLE_OP_CONV_2D, 2, second, tensors[3]);
    graph_set_ends(&graph, 1, &tensors[0], 1, &tensors[3]);
    snprintf(graph.name, sizeof graph.name, "interrupted");
    return graph;
}

// Two segments in a scratchpad that holds both, and in one that holds either.
START_TEST(segments_take_turns) {
    struct systole_target target = systole_presets[0];
    target.scratchpad_bytes = _i == 0 ? 128 * 1024 : 32 * 1024;
    struct systole_graph graph = build_interrupted();
    struct systole_program program;
    compile(&graph, &target, &program);
    ck_assert_uint_eq(program.segment_count, 2);
    struct systole_driver *driver = in_process_driver(&target, 0, true);
    struct systole_session *reference = open_session(&graph, NULL, NULL, false);
    struct systole_session *session = open_session(&graph, &program, driver, true);
    for (uint32_t round = 1; round <= 3; round++) {
        size_t size;
        fill_inputs(reference, round);
        fill_inputs(session, round);
        invoke(reference);
        invoke(session);
        const uint8_t *expected = systole_session_output(reference, 0, &size);
        ck_assert_mem_eq(expected, systole_session_output(session, 0, &size), size);
        check_findings(session, "two segments");
        check_cycles(session);
        ck_assert_uint_eq(systole_session_cycles(session)->operators[1], 0); // the CPU adds nothing
    }
    systole_session_free(session);
    systole_session_free(reference);
    systole_driver_close(driver);
    systole_program_free(&program);
    systole_graph_free(&graph);
}
END_TEST

// A program whose parameters were damaged: verification names the first operator that computes something else.
START_TEST(damage_is_found) {
    struct systole_graph graph = build_network(0xDA3A6E00u);
    struct systole_program program;
    compile(&graph, &systole_presets[0], &program);
    ck_assert_uint_ge(program.segment_count, 1);
    struct systole_segment *segment = &program.segments[0];
    size_t bytes = (size_t)segment->parameter_words * program.target.columns;
    for (size_t i = 0; i < bytes; i++) {
        segment->parameters[i] ^= 1;
    }
    struct systole_driver *driver = in_process_driver(&systole_presets[0], 0, true);
    struct systole_session *session = open_session(&graph, &program, driver, true);
    struct systole_diagnostic diagnostic = {.what = ""};
    fill_inputs(session, 77);
    ck_assert_int_eq(systole_session_invoke(session, &diagnostic), SYSTOLE_MISMATCH);
    ck_assert_ptr_nonnull(strstr(diagnostic.where, "operator 0 CONV_2D"));
    uint32_t count;
    const struct systole_finding *findings = systole_session_findings(session, &count);
    ck_assert_uint_gt(count, 0);
    ck_assert_int_eq(findings[0].kind, SYSTOLE_FINDING_DIFFERENT);
    ck_assert_int_eq(findings[0].operator_index, 0);
    ck_assert_int_ne(findings[0].expected, findings[0].found);
    ck_assert_uint_gt(findings[0].cycle, 0);
    ck_assert_int_eq(program.segments[0].info[findings[0].command].operator_index, 0);
    systole_session_free(session);
    systole_driver_close(driver);
    systole_program_free(&program);
    systole_graph_free(&graph);
}
END_TEST

static void check_refused(const struct systole_graph *graph, const struct systole_program *program,
                          const struct systole_session_options *options, enum systole_status expected) {
    struct systole_diagnostic diagnostic = {.what = ""};
    struct systole_session *session;
    ck_assert_int_eq(systole_session_create(graph, program, options, &session, &diagnostic), expected);
    ck_assert_ptr_null(session);
    ck_assert_uint_gt(strlen(diagnostic.what), 0);
}

START_TEST(refusals) {
    struct systole_graph graph = build_network(0x4EF05E00u), other = build_network(0x4EF05E01u);
    struct systole_program program;
    compile(&graph, &systole_presets[1], &program);
    struct systole_driver *driver = in_process_driver(&systole_presets[0], 0, true);
    struct systole_session_options on_device = {.driver = driver}, on_cpu = {0};

    check_refused(NULL, NULL, &on_cpu, SYSTOLE_BAD_ARGUMENT);
    check_refused(&graph, &program, &on_device, SYSTOLE_DEVICE_MISMATCH); // another target's program
    check_refused(NULL, &program, &on_cpu, SYSTOLE_BAD_ARGUMENT);         // it does not hold the device's constants
    other.tensors[0].size++;
    check_refused(&other, &program, &on_cpu, SYSTOLE_BAD_ARGUMENT); // not the model that it was made of
    other.tensors[0].size--;
    graph.operators[2].code = SYSTOLE_OP_LOGISTIC;
    check_refused(&graph, NULL, &on_cpu, SYSTOLE_UNSUPPORTED);
    graph.operators[2].code = SYSTOLE_OP_CONV_2D;

    systole_program_free(&program);
    compile(&graph, &systole_presets[0], &program);
    struct systole_session_options verifying = {.driver = driver, .verify = true};
    check_refused(NULL, &program, &verifying, SYSTOLE_BAD_ARGUMENT);
    struct systole_step saved = program.steps[0];
    program.steps[0].index = 1000;
    check_refused(&graph, &program, &on_device, SYSTOLE_BAD_FILE);
    program.steps[0] = saved;
    program.segments[0].inputs[0].placement.width++;
    check_refused(&graph, &program, &on_device, SYSTOLE_BAD_FILE);
    program.segments[0].inputs[0].placement.width--;
    program.segments[0].outputs[0].tensor_index = -5;
    check_refused(&graph, &program, &on_device, SYSTOLE_BAD_FILE);

    systole_driver_close(driver);
    systole_program_free(&program);
    systole_graph_free(&other);
    systole_graph_free(&graph);
}
END_TEST

// Tensors of a CPU session can all be looked at; of a device session only those that reach the host.
START_TEST(tensors_on_the_host) {
    struct systole_graph graph = build_network(0x7E450000u);
    struct systole_program program;
    compile(&graph, &systole_presets[0], &program);
    struct systole_driver *driver = in_process_driver(&systole_presets[0], 0, false);
    struct systole_session *cpu = open_session(&graph, &program, NULL, false); // no driver: all on the CPU
    struct systole_session *device = open_session(NULL, &program, driver, false);
    size_t size;
    fill_inputs(cpu, 5);
    fill_inputs(device, 5);
    invoke(cpu);
    invoke(device);
    ck_assert_ptr_null(systole_session_cycles(device)->operators); // not traced
    ck_assert_uint_gt(systole_session_cycles(device)->total, 0);
    for (uint32_t t = 0; t < graph.tensor_count; t++) {
        const uint8_t *expected = systole_session_tensor(cpu, (int32_t)t, &size);
        ck_assert_ptr_nonnull(expected);
        ck_assert_uint_eq(size, graph.tensors[t].size);
        const uint8_t *found = systole_session_tensor(device, (int32_t)t, &size);
        if (found != NULL && graph.tensors[t].data == NULL) {
            ck_assert_mem_eq(expected, found, size);
        }
    }
    ck_assert_ptr_null(systole_session_tensor(cpu, -1, &size));
    ck_assert_ptr_null(systole_session_tensor(cpu, (int32_t)graph.tensor_count, &size));
    ck_assert_ptr_null(systole_session_input(cpu, 1, &size));
    ck_assert_ptr_null(systole_session_output(cpu, 1, &size));
    systole_session_free(device);
    systole_session_free(cpu);
    systole_driver_close(driver);
    systole_program_free(&program);
    systole_graph_free(&graph);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("session");
    TCase *sessions = tcase_create("sessions");
    tcase_set_timeout(sessions, 120);
    tcase_add_loop_test(sessions, published_model, 0, sizeof models / sizeof *models);
    tcase_add_loop_test(sessions, built_network, 0, 9);
    tcase_add_loop_test(sessions, segments_take_turns, 0, 2);
    tcase_add_test(sessions, damage_is_found);
    tcase_add_test(sessions, refusals);
    tcase_add_test(sessions, tensors_on_the_host);
    suite_add_tcase(suite, sessions);
    return testing_run(suite, "runtime/test_session");
}
