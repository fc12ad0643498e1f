// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Which inputs are packed and how, and in which banks their rows lie.
#include "build_graph.h"
#include "check_compile.h"
#include "testing.h"

struct packing {
    int32_t width, channels, kernel_h, kernel_w, stride, dilation;
    bool packed;
    uint32_t segments, segment_bytes, tile_rows;
};

static void check_packing(const char *target_name, const struct packing *expected) {
    struct systole_target target = check_target(target_name);
    struct systole_graph graph;
    struct systole_program program;
    uint32_t random = 3;
    int32_t input = build_start(&graph, "packing", SYSTOLE_INT8, 2, 13, expected->width, expected->channels);
    struct build_window w = build_square(20, expected->kernel_h, expected->stride);
    w.width = expected->kernel_w;
    w.dilation_w = expected->dilation;
    build_output(&graph, build_conv(&graph, input, &w, &random));
    check_compile(&graph, &target, 1, &program);
    const struct systole_command *command = &program.segments[0].commands[0];
    bool packed = (command->header.flags & SYSTOLE_FLAG_PACKED) != 0;
    ck_assert_int_eq(packed, expected->packed);
    ck_assert_uint_eq(program.segments[0].inputs[0].placement.layout,
                      packed ? SYSTOLE_LAYOUT_PACKED : SYSTOLE_LAYOUT_TILED);
    ck_assert_uint_eq(command->body.window.segments, expected->segments);
    ck_assert_uint_eq(command->body.window.segment_bytes, expected->segment_bytes);
    ck_assert_uint_eq(command->body.window.tile_rows, expected->tile_rows);
    systole_program_free(&program);
    systole_graph_free(&graph);
}

START_TEST(inputs_of_few_channels) {
    static const struct packing cases[] = {
        {30, 3, 3, 3, 2, 1, true, 1, 9, 12},   // 3 kernel rows, one a tile
        {30, 1, 3, 3, 2, 1, true, 3, 3, 12},   // all in one tile
        {10, 1, 10, 4, 2, 1, true, 4, 4, 16},  // four of ten
        {30, 3, 3, 3, 1, 2, false, 0, 0, 4},   // bytes of a kernel row are not contiguous
        {30, 6, 3, 3, 1, 1, false, 0, 0, 8},   // 18 lanes
        {30, 16, 1, 1, 1, 1, false, 0, 0, 16}, // nothing to gain
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_packing("systole16", &cases[i]);
    }
    static const struct packing wide = {30, 3, 3, 3, 2, 1, true, 3, 9, 28};
    check_packing("systole32", &wide);
    check_packing("systole64", &wide);
}
END_TEST

// Rows that the segments of a packed convolution read at once lie in different banks.
START_TEST(rows_in_different_banks) {
    struct systole_target target = check_target("systole64");
    for (int32_t width = 8; width < 400; width += 37) {
        struct systole_graph graph;
        struct systole_program program;
        uint32_t random = 3;
        int32_t input = build_start(&graph, "banks", SYSTOLE_INT8, 1, 6, width, 3);
        struct build_window w = build_square(4, 3, 1);
        w.per_channel = true;
        build_output(&graph, build_conv(&graph, input, &w, &random));
        check_compile(&graph, &target, 1, &program);
        uint32_t stride = program.segments[0].inputs[0].placement.row_stride, span = stride > 1 ? 2 : 1;
        for (uint32_t rows = 1; rows < 3; rows++) {
            uint32_t distance = rows * stride % target.banks;
            ck_assert_msg(distance >= span && target.banks - distance >= span, "width %d: row stride %u", width,
                          stride);
        }
        systole_program_free(&program);
        systole_graph_free(&graph);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("lay_out");
    TCase *tests = tcase_create("lay_out");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, inputs_of_few_channels);
    tcase_add_test(tests, rows_in_different_banks);
    suite_add_tcase(suite, tests);
    return testing_run(suite, "compiler/lay_out");
}
