// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Movement that needs no command: what lies in whose words, and that the bytes are still right.
#include <string.h>

#include "build_graph.h"
#include "check_compile.h"
#include "testing.h"

static int32_t start(struct systole_graph *graph, int32_t height, int32_t width, int32_t channels) {
    return build_start(graph, "view", SYSTOLE_INT8, 1, height, width, channels);
}

// A tensor with another's quantisation.
static int32_t like(struct systole_graph *graph, int32_t other, int32_t height, int32_t width, int32_t channels) {
    int32_t made = build_map(graph, SYSTOLE_INT8, 1, height, width, channels);
    const struct systole_quantisation *q = &graph->tensors[other].quantisation;
    build_quantise(graph, made, q->scale[0], (int32_t)q->zero_point[0]);
    return made;
}

static int32_t conv(struct systole_graph *graph, int32_t input, int32_t channels, int32_t kernel, uint32_t *random) {
    struct build_window w = build_square(channels, kernel, 1);
    int32_t made = build_conv(graph, input, &w, random);
    build_quantise(graph, made, 0.05F, 3);
    return made;
}

static int32_t join(struct systole_graph *graph, int32_t a, int32_t b, int32_t axis) {
    const struct systole_tensor *left = &graph->tensors[a], *right = &graph->tensors[b];
    int32_t shape[4];
    memcpy(shape, left->shape, sizeof shape);
    shape[axis] += right->shape[axis];
    int32_t made = like(graph, a, shape[1], shape[2], shape[3]);
    build_operator(graph, SYSTOLE_OP_CONCATENATION, a, b, -1, made)->options.axis = axis;
    return made;
}

static int32_t slice(struct systole_graph *graph, int32_t from, const int32_t begin[4], const int32_t size[4]) {
    const int32_t four = 4;
    int32_t made = like(graph, from, size[1], size[2], size[3]);
    int32_t first = build_constant(graph, SYSTOLE_INT32, 1, &four, begin);
    int32_t extents = build_constant(graph, SYSTOLE_INT32, 1, &four, size);
    build_operator(graph, SYSTOLE_OP_SLICE, from, first, extents, made);
    return made;
}

static uint32_t commands_of(const struct systole_program *program, int32_t operator_index) {
    uint32_t count = 0;
    for (uint32_t s = 0; s < program->segment_count; s++) {
        for (uint32_t i = 0; i < program->segments[s].command_count; i++) {
            count += program->segments[s].info[i].operator_index == operator_index ? 1 : 0;
        }
    }
    return count;
}

static const struct systole_placement *placement_of(const struct systole_program *program, int32_t tensor) {
    for (uint32_t i = 0; i < program->segments[0].tensor_count; i++) {
        if (program->segments[0].tensors[i].tensor_index == tensor) {
            return &program->segments[0].tensors[i].placement;
        }
    }
    ck_abort_msg("tensor %d is not on the device", tensor);
    return NULL;
}

static void compile(struct systole_graph *graph, struct systole_program *program) {
    struct systole_target target = check_target("systole16");
    check_compile(graph, &target, 5, program);
}

static void is_free(const struct systole_program *program, int32_t operator_index, bool expected) {
    const struct systole_operator_info *info = &program->operators[operator_index];
    ck_assert_int_eq(info->place, SYSTOLE_PLACE_DEVICE);
    ck_assert_str_eq(info->reason, expected ? "folded" : "");
    ck_assert_int_eq(commands_of(program, operator_index) == 0, expected);
    ck_assert_int_eq(info->predicted_cycles == 0 || !expected, true);
}

// Both convolutions write into the concatenation; on channels, height and width.
START_TEST(concatenation) {
    for (int32_t axis = 1; axis <= 3; axis++) {
        struct systole_graph graph;
        struct systole_program program;
        uint32_t random = 6;
        int32_t input = start(&graph, 9, 7, 12);
        int32_t a = conv(&graph, input, 32, 1, &random), b = conv(&graph, input, axis == 3 ? 20 : 32, 3, &random);
        int32_t joined = join(&graph, a, b, axis);
        build_output(&graph, conv(&graph, joined, 8, 3, &random));
        compile(&graph, &program);
        is_free(&program, 2, true);
        const struct systole_placement *whole = placement_of(&program, joined), *part = placement_of(&program, b);
        ck_assert_uint_eq(placement_of(&program, a)->address, whole->address);
        uint32_t steps[4] = {0, 9 * whole->row_stride, 7, 2 * whole->tile_stride};
        ck_assert_uint_eq(part->address, whole->address + steps[axis]);
        ck_assert_uint_eq(part->row_stride, whole->row_stride);
        systole_program_free(&program);
        systole_graph_free(&graph);
    }
}
END_TEST

// 12 channels and 20: lanes would have to move. The output itself may be what the host reads.
START_TEST(lanes_that_do_not_align) {
    struct systole_graph graph;
    struct systole_program program;
    uint32_t random = 7;
    int32_t input = start(&graph, 5, 6, 16);
    int32_t a = conv(&graph, input, 12, 1, &random), b = conv(&graph, input, 20, 3, &random);
    build_output(&graph, join(&graph, a, b, 3));
    compile(&graph, &program);
    is_free(&program, 2, false);
    systole_program_free(&program);
    systole_graph_free(&graph);
}
END_TEST

// One tensor twice: the second time it is copied. A part is an output, too, and goes to another reader.
START_TEST(parts_that_others_read) {
    struct systole_graph graph;
    struct systole_program program;
    uint32_t random = 8;
    int32_t input = start(&graph, 6, 6, 16);
    int32_t a = conv(&graph, input, 16, 3, &random);
    int32_t twice = join(&graph, a, a, 3);
    build_output(&graph, conv(&graph, twice, 16, 1, &random));
    build_output(&graph, conv(&graph, a, 24, 3, &random));
    build_output(&graph, a);
    compile(&graph, &program);
    is_free(&program, 1, false);
    ck_assert_uint_eq(placement_of(&program, a)->address, placement_of(&program, twice)->address);
    systole_program_free(&program);
    systole_graph_free(&graph);
}
END_TEST

// Slices of what the device made, and of the input; a concatenation in a concatenation.
START_TEST(slices) {
    static const struct {
        int32_t begin[4], size[4];
        bool expected;
    } cases[] = {
        {{0, 2, 0, 0}, {1, 5, 8, 48}, true},  {{0, 0, 3, 0}, {1, 8, 4, 48}, true},
        {{0, 1, 1, 16}, {1, 6, 6, 32}, true}, {{0, 0, 0, 16}, {1, 8, 8, 20}, true},
        {{0, 0, 0, 8}, {1, 8, 8, 16}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int from_input = 0; from_input < 2; from_input++) {
            struct systole_graph graph;
            struct systole_program program;
            uint32_t random = 9;
            int32_t input = start(&graph, 8, 8, 48);
            int32_t from = from_input ? input : conv(&graph, input, 48, 1, &random);
            int32_t part = slice(&graph, from, cases[i].begin, cases[i].size);
            build_output(&graph, conv(&graph, part, 8, 3, &random));
            struct build_window pool = build_square(cases[i].size[3], 2, 1);
            build_output(&graph, build_pool(&graph, SYSTOLE_OP_MAX_POOL_2D, part, &pool));
            compile(&graph, &program);
            is_free(&program, from_input ? 0 : 1, cases[i].expected);
            systole_program_free(&program);
            systole_graph_free(&graph);
        }
    }
}
END_TEST

START_TEST(concatenations_in_each_other) {
    struct systole_graph graph;
    struct systole_program program;
    uint32_t random = 10;
    int32_t input = start(&graph, 6, 5, 16);
    int32_t a = conv(&graph, input, 16, 3, &random);
    int32_t first = join(&graph, a, conv(&graph, a, 16, 3, &random), 3);
    int32_t second = join(&graph, first, conv(&graph, first, 16, 3, &random), 3);
    int32_t third = join(&graph, second, conv(&graph, second, 16, 3, &random), 3);
    build_output(&graph, conv(&graph, third, 10, 1, &random));
    compile(&graph, &program);
    is_free(&program, 2, true);
    is_free(&program, 4, true);
    is_free(&program, 6, true);
    ck_assert_uint_eq(placement_of(&program, a)->address, placement_of(&program, third)->address);
    systole_program_free(&program);
    systole_graph_free(&graph);
}
END_TEST

// The host may write the next input while the device runs: an input is copied. What the host reads of an input too.
START_TEST(inputs_stay_apart) {
    struct systole_graph graph;
    struct systole_program program;
    uint32_t random = 11;
    int32_t input = start(&graph, 6, 5, 32);
    build_quantise(&graph, input, 0.05F, 3);
    build_output(&graph, conv(&graph, join(&graph, input, conv(&graph, input, 16, 3, &random), 3), 8, 1, &random));
    build_output(&graph, slice(&graph, input, (int32_t[]){0, 0, 0, 16}, (int32_t[]){1, 6, 5, 16}));
    compile(&graph, &program);
    is_free(&program, 1, false);
    is_free(&program, 3, false);
    systole_program_free(&program);
    systole_graph_free(&graph);
}
END_TEST

// A reduction over channels folds map after map into a copy of the first: that copy must stay one.
START_TEST(copies_that_are_written_again) {
    struct systole_graph graph;
    struct systole_program program;
    uint32_t random = 12;
    const int32_t one = 1, axis = 3;
    int32_t from = conv(&graph, start(&graph, 5, 4, 16), 8, 1, &random);
    int32_t least = like(&graph, from, 5, 4, 1);
    int32_t axes = build_constant(&graph, SYSTOLE_INT32, 1, &one, &axis);
    build_operator(&graph, SYSTOLE_OP_REDUCE_MIN, from, axes, -1, least)->options.keep_dims = true;
    build_output(&graph, least);
    build_output(&graph, conv(&graph, from, 16, 1, &random));
    compile(&graph, &program);
    is_free(&program, 1, false);
    ck_assert_uint_ne(placement_of(&program, from)->address, placement_of(&program, least)->address);
    systole_program_free(&program);
    systole_graph_free(&graph);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("view");
    TCase *cases = tcase_create("view");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, concatenation);
    tcase_add_test(cases, lanes_that_do_not_align);
    tcase_add_test(cases, parts_that_others_read);
    tcase_add_test(cases, slices);
    tcase_add_test(cases, concatenations_in_each_other);
    tcase_add_test(cases, inputs_stay_apart);
    tcase_add_test(cases, copies_that_are_written_again);
    suite_add_tcase(suite, cases);
    return testing_run(suite, "compiler/view");
}
