// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The boxes of an operator's commands cover its output exactly once, whatever has to be cut.
#include <stdlib.h>

#include "build_graph.h"
#include "check_compile.h"
#include "testing.h"

static void check_cover(const struct systole_graph *graph, const struct systole_program *program, int32_t tensor) {
    size_t elements = systole_tensor_elements(&graph->tensors[tensor]);
    uint8_t *covered = calloc(elements, 1);
    for (uint32_t s = 0; s < program->segment_count; s++) {
        const struct systole_segment *segment = &program->segments[s];
        const struct systole_placement *p = NULL;
        for (uint32_t i = 0; i < segment->tensor_count; i++) {
            p = segment->tensors[i].tensor_index == tensor ? &segment->tensors[i].placement : p;
        }
        for (uint32_t i = 0; i < segment->command_count; i++) {
            const struct systole_command_info *info = &segment->info[i];
            if (info->tensor_index != tensor) {
                continue;
            }
            ck_assert_ptr_nonnull(p);
            for (uint32_t y = info->y0; y < info->y1; y++) {
                for (uint32_t x = info->x0; x < info->x1; x++) {
                    for (uint32_t c = info->c0; c < info->c1; c++) {
                        covered[((size_t)y * p->width + x) * p->channels + c]++;
                    }
                }
            }
        }
    }
    for (size_t i = 0; i < elements; i++) {
        ck_assert_msg(covered[i] == 1, "element %zu is written %u times", i, covered[i]);
    }
    free(covered);
}

static void check_conv(const struct systole_target *target, int32_t batch, int32_t height, int32_t width, int32_t depth,
                       int32_t channels, int32_t kernel, int32_t stride, uint32_t least_commands) {
    struct systole_graph graph;
    struct systole_program program;
    uint32_t random = 99;
    build_graph(&graph, "tile");
    int32_t input = build_map(&graph, SYSTOLE_INT8, batch, height, width, depth);
    build_quantise(&graph, input, 0.05F, 4);
    build_input(&graph, input);
    struct build_window w = build_square(channels, kernel, stride);
    int32_t output = build_conv(&graph, input, &w, &random);
    build_output(&graph, output);
    check_compile(&graph, target, 1, &program);
    check_cover(&graph, &program, output);
    ck_assert_uint_ge(program.segments[0].command_count, least_commands);
    for (uint32_t i = 0; i < program.segments[0].command_count; i++) {
        const struct systole_window *c = &program.segments[0].commands[i].body.window;
        ck_assert_uint_le((uint32_t)c->block_rows * c->output_width, target->accumulators);
    }
    systole_program_free(&program);
    systole_graph_free(&graph);
}

// Rows wider than the accumulators; packed and tiled input.
START_TEST(wide_rows) {
    struct systole_target target = check_small_target(4, 3, 4, 16, 1u << 20);
    check_conv(&target, 1, 3, 50, 1, 9, 3, 1, 4);
    check_conv(&target, 2, 5, 37, 6, 9, 3, 2, 4);
    target = check_target("systole16");
    check_conv(&target, 1, 2, 1500, 3, 20, 3, 1, 3);
    check_conv(&target, 1, 2, 1500, 20, 3, 3, 1, 3);
}
END_TEST

// Blocks within a command; maps of one pixel; many channels on few pixels.
START_TEST(blocks_and_channels) {
    struct systole_target target = check_small_target(4, 3, 4, 100, 1u << 20);
    check_conv(&target, 1, 40, 30, 2, 7, 3, 1, 1);
    check_conv(&target, 1, 1, 1, 70, 90, 1, 1, 1);
    target = check_target("systole64");
    check_conv(&target, 3, 2, 2, 100, 300, 3, 1, 3);
}
END_TEST

// A fully connected layer whose output keeps rows, and images that are halves of the input.
START_TEST(fully_connected_boxes) {
    struct systole_target target = check_small_target(8, 3, 4, 16, 1u << 20);
    for (uint32_t i = 0; i < 2; i++) {
        struct systole_graph graph;
        struct systole_program program;
        uint32_t random = 7;
        build_graph(&graph, "fully connected");
        int32_t input = build_map(&graph, SYSTOLE_INT8, 2, 6, 7, 9);
        build_quantise(&graph, input, 0.05F, 4);
        build_input(&graph, input);
        int32_t output = build_fully_connected(&graph, input, i == 0 ? 9 : 3 * 7 * 9, 20, i == 0, &random);
        build_output(&graph, output);
        check_compile(&graph, &target, 1, &program);
        check_cover(&graph, &program, output);
        systole_program_free(&program);
        systole_graph_free(&graph);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("tile");
    TCase *tests = tcase_create("tile");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, wide_rows);
    tcase_add_test(tests, blocks_and_channels);
    tcase_add_test(tests, fully_connected_boxes);
    suite_add_tcase(suite, tests);
    return testing_run(suite, "compiler/tile");
}
