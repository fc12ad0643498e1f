// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Networks of several operators: every token-legal order gives the interpreter's tensors, no token is missing (the
// verifier and random orders say so) and none is superfluous (without it the verifier objects), units overlap, and
// memory that is used again, or is scarce, changes no result.
#include <stdlib.h>
#include <string.h>

#include "build_graph.h"
#include "check_compile.h"
#include "cycle_model.h"
#include "target.h"
#include "testing.h"

static struct build_window window(int32_t channels, int32_t size, int32_t stride) {
    struct build_window w = build_square(channels, size, stride);
    w.activation = SYSTOLE_ACTIVATION_RELU6;
    w.per_channel = true;
    return w;
}

// Inverted residual blocks as in MobileNetV2, then a mean and a classifier.
static void build_network(struct systole_graph *graph, int32_t size, uint32_t blocks, uint32_t seed) {
    uint32_t random = seed * 2654435761u | 1u;
    build_graph(graph, "network");
    int32_t tensor = build_map(graph, SYSTOLE_INT8, 1, size, size, 3);
    build_quantise(graph, tensor, 0.03F, -3);
    build_input(graph, tensor);
    struct build_window w = window(24, 3, 2);
    tensor = build_conv(graph, tensor, &w, &random);
    for (uint32_t i = 0; i < blocks; i++) {
        int32_t stride = testing_range(&random, 0, 2) == 0 ? 2 : 1, block_input = tensor;
        w = window(testing_range(&random, 3, 7) * 8, 1, 1);
        tensor = build_conv(graph, tensor, &w, &random);
        w.height = w.width = 3;
        w.stride_h = w.stride_w = stride;
        tensor = build_depthwise(graph, tensor, &w, &random);
        w = window(24, 1, 1);
        tensor = build_conv(graph, tensor, &w, &random);
        if (stride == 1) {
            const int32_t *s = graph->tensors[tensor].shape;
            const int32_t shape[4] = {s[0], s[1], s[2], s[3]};
            tensor = build_add(graph, block_input, tensor, 4, shape, &random);
        }
    }
    tensor = build_mean(graph, tensor, true, true, false, &random);
    build_output(graph, build_fully_connected(graph, tensor, 24, 10, false, &random));
}

START_TEST(networks_in_any_order) {
    struct systole_target targets[3] = {check_target("systole16"), check_target("systole64"),
                                        check_small_target(8, 2, 8, 64, 1u << 20)};
    for (uint32_t seed = 1; seed <= 18; seed++) {
        struct systole_graph graph;
        build_network(&graph, 18 + (int32_t)seed * 2, 2 + seed % 3, seed);
        check_compile(&graph, &targets[seed % 3], seed, NULL);
        systole_graph_free(&graph);
    }
}
END_TEST

static uint32_t *wait_of(struct systole_command *command, uint32_t wait) {
    return wait == 0   ? &command->header.wait0
           : wait == 1 ? &command->header.wait1
           : wait == 2 ? &command->header.wait2
                       : &command->header.wait3;
}

START_TEST(no_token_is_superfluous) {
    struct systole_target target = check_target("systole16");
    struct systole_graph graph;
    struct systole_program program;
    struct systole_diagnostic diagnostic;
    build_network(&graph, 40, 3, 5);
    check_compile(&graph, &target, 5, &program);
    struct systole_segment *segment = &program.segments[0];
    uint32_t tokens = 0;
    for (uint32_t i = 0; i < segment->command_count; i++) {
        for (uint32_t w = 0; w < SYSTOLE_WAITS; w++) {
            uint32_t *wait = wait_of(&segment->commands[i], w), kept = *wait;
            if (kept == 0) {
                continue;
            }
            tokens++;
            *wait = 0;
            ck_assert_msg(systole_program_verify(&program, &diagnostic) != SYSTOLE_OK,
                          "command %u does not need its wait %u", i, w);
            *wait = kept - 1; // one command less
            ck_assert_msg(systole_program_verify(&program, &diagnostic) != SYSTOLE_OK,
                          "command %u waits for too much in wait %u", i, w);
            *wait = kept;
        }
    }
    ck_assert_uint_gt(tokens, segment->command_count / 2);
    systole_program_free(&program);
    systole_graph_free(&graph);
}
END_TEST

START_TEST(units_overlap) {
    struct systole_target target = check_target("systole16");
    struct systole_graph graph;
    struct systole_program program;
    build_network(&graph, 60, 3, 7);
    check_compile(&graph, &target, 7, &program);
    const struct systole_segment *segment = &program.segments[0];
    uint64_t sum = 0, operators = 0, macs = 0;
    for (uint32_t i = 0; i < segment->command_count; i++) {
        uint64_t cycles = systole_command_cycles(&target, &segment->commands[i]).occupancy;
        sum += cycles;
        ck_assert_uint_le(segment->info[i].predicted_start, segment->info[i].predicted_end);
        ck_assert_uint_le(segment->info[i].predicted_end, segment->predicted_cycles);
    }
    ck_assert_uint_lt(segment->predicted_cycles, sum * 9 / 10);
    for (uint32_t i = 0; i < program.operator_count; i++) {
        macs += program.operators[i].macs;
        operators += program.operators[i].predicted_cycles;
    }
    ck_assert_uint_eq(operators, segment->predicted_cycles);
    ck_assert_uint_ge(segment->predicted_cycles, macs / systole_target_multipliers(&target));
    systole_program_free(&program);
    systole_graph_free(&graph);
}
END_TEST

// The smaller the scratchpad the more memory is used again, then the host keeps what does not fit, then segments are
// cut and operators leave; the results stay the same.
START_TEST(scarce_memory) {
    uint32_t segments = 0, loads = 0;
    for (uint32_t kilobytes = 256; kilobytes >= 8; kilobytes /= 2) {
        struct systole_target target = check_small_target(8, 3, 4, 128, kilobytes << 10);
        struct systole_graph graph;
        struct systole_program program;
        build_network(&graph, 36, 2, 3);
        check_compile(&graph, &target, kilobytes, &program);
        for (uint32_t s = 0; s < program.segment_count; s++) {
            uint64_t words = 0;
            for (uint32_t r = 0; r < SYSTOLE_REGION_HOST; r++) {
                words += program.segments[s].region_words[r];
            }
            ck_assert_uint_le(words * 8, kilobytes << 10);
            for (uint32_t i = 0; i < program.segments[s].command_count; i++) {
                loads += program.segments[s].commands[i].header.opcode == SYSTOLE_OPCODE_LOAD ? 1 : 0;
            }
        }
        segments = program.segment_count;
        if (kilobytes == 256) {
            ck_assert_uint_eq(segments, 1);
            ck_assert(program.segments[0].resident);
            ck_assert_uint_eq(loads, 0);
        }
        systole_program_free(&program);
        systole_graph_free(&graph);
    }
    ck_assert_uint_gt(loads, 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("schedule");
    TCase *tests = tcase_create("schedule");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, networks_in_any_order);
    tcase_add_test(tests, no_token_is_superfluous);
    tcase_add_test(tests, units_overlap);
    tcase_add_test(tests, scarce_memory);
    suite_add_tcase(suite, tests);
    return testing_run(suite, "compiler/schedule");
}
