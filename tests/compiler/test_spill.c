// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Networks on targets whose scratchpads are too small for them: stripes, loads and stores give the interpreter's
// tensors in every token-legal order, through the driver on the functional model, which verifies each command's box,
// and for a few on RTL. What verification counts must be all elements: nothing is computed twice or left out.
#include <stdlib.h>
#include <string.h>

#include "build_graph.h"
#include "check_compile.h"
#include "in_process_driver.h"
#include "session.h"
#include "testing.h"

static struct build_window window(int32_t channels, int32_t size, int32_t stride) {
    struct build_window w = build_square(channels, size, stride);
    w.activation = SYSTOLE_ACTIVATION_RELU6;
    w.per_channel = true;
    return w;
}

static const int32_t *shape_of(const struct systole_graph *graph, int32_t tensor) {
    return graph->tensors[tensor].shape;
}

// A window that the map is large enough for, of any kind.
static struct build_window random_window(const struct systole_graph *graph, int32_t tensor, uint32_t *random) {
    const int32_t *s = shape_of(graph, tensor);
    struct build_window w = window(testing_range(random, 1, 40), 1, 1);
    w.height = testing_range(random, 1, 5);
    w.width = testing_range(random, 1, 3);
    w.stride_h = testing_range(random, 1, 6) == 1 ? 3 : testing_range(random, 1, 2);
    w.stride_w = testing_range(random, 1, 2);
    w.dilation_h = w.stride_h == 1 && w.stride_w == 1 ? testing_range(random, 1, 3) : 1;
    w.dilation_w = w.dilation_h > 1 ? testing_range(random, 1, 2) : 1;
    bool fits = s[1] > (w.height - 1) * w.dilation_h + 1 && s[2] > (w.width - 1) * w.dilation_w + 1;
    w.padding = fits && testing_range(random, 0, 1) == 0 ? SYSTOLE_PADDING_VALID : SYSTOLE_PADDING_SAME;
    w.per_channel = testing_range(random, 0, 1) == 0;
    return w;
}

static int32_t add_requantised(struct systole_graph *graph, int32_t a, int32_t b, uint32_t *random) {
    const int32_t *s = shape_of(graph, a);
    const int32_t shape[4] = {s[0], s[1], s[2], s[3]};
    int32_t sum = build_add(graph, a, b, 4, shape, random);
    static const int32_t codes[] = {SYSTOLE_OP_ADD, SYSTOLE_OP_ADD, SYSTOLE_OP_MUL, SYSTOLE_OP_SUB};
    graph->operators[graph->operator_count - 1].code = codes[testing_range(random, 0, 3)];
    return sum;
}

static bool same_shape(const struct systole_graph *graph, int32_t a, int32_t b) {
    return memcmp(shape_of(graph, a), shape_of(graph, b), 4 * sizeof(int32_t)) == 0;
}

// A chain of operators; now and then one reads an older tensor, two are added, or an inner tensor is an output.
static int32_t add_operators(struct systole_graph *graph, int32_t tensor, uint32_t operators, uint32_t *random) {
    int32_t tensors[40];
    uint32_t count = 0;
    tensors[count++] = tensor;
    for (uint32_t i = 0; i < operators; i++) {
        if (testing_range(random, 0, 7) == 0) {
            tensor = tensors[testing_range(random, 0, (int32_t)count - 1)];
        }
        struct build_window w = random_window(graph, tensor, random);
        int32_t other = tensors[testing_range(random, 0, (int32_t)count - 1)];
        switch (testing_range(random, 0, 8)) {
        case 0:
        case 1:
            w.channels = shape_of(graph, tensor)[3];
            tensor = build_depthwise(graph, tensor, &w, random);
            break;
        case 2:
            w.dilation_h = w.dilation_w = 1;
            tensor = build_pool(graph,
                                testing_range(random, 0, 1) == 0 ? SYSTOLE_OP_MAX_POOL_2D : SYSTOLE_OP_AVERAGE_POOL_2D,
                                tensor, &w);
            break;
        case 3:
        case 4:
            if (same_shape(graph, tensor, other)) {
                tensor = add_requantised(graph, other, tensor, random);
                break;
            }
            w = window(testing_range(random, 1, 40), 1, 1);
            tensor = build_conv(graph, tensor, &w, random);
            break;
        case 5:
            tensor = build_pad(graph, tensor, testing_range(random, 0, 2), 2, 2, testing_range(random, 0, 2));
            w = window(testing_range(random, 1, 30), 3, 1);
            w.padding = SYSTOLE_PADDING_VALID;
            tensor = build_conv(graph, tensor, &w, random);
            break;
        default:
            tensor = build_conv(graph, tensor, &w, random);
        }
        if (testing_range(random, 0, 9) == 0) {
            build_output(graph, tensor);
        }
        tensors[count++] = tensor;
    }
    return tensor;
}

static void build_random(struct systole_graph *graph, uint32_t seed) {
    uint32_t random = seed * 2654435761u | 1u;
    build_graph(graph, "spilling");
    int32_t images = testing_range(&random, 0, 3) == 0 ? 2 : 1, channels = testing_range(&random, 1, 20);
    int32_t height = testing_range(&random, 9, 40), width = testing_range(&random, 5, 30);
    int32_t tensor = build_map(graph, testing_range(&random, 0, 1) == 0 ? SYSTOLE_INT8 : SYSTOLE_UINT8, images, height,
                               width, channels);
    bool is_unsigned = graph->tensors[tensor].dtype == SYSTOLE_UINT8;
    build_quantise(graph, tensor, 0.03F, is_unsigned ? 125 : -3);
    build_input(graph, tensor);
    if (is_unsigned) {
        tensor = build_requantise(graph, tensor, SYSTOLE_INT8, 0.03F, -3);
    }
    tensor = add_operators(graph, tensor, (uint32_t)testing_range(&random, 1, 12), &random);
    const int32_t *s = shape_of(graph, tensor);
    if (s[0] == 1 && testing_range(&random, 0, 2) == 0) {
        channels = s[3];
        tensor = build_mean(graph, tensor, true, true, false, &random);
        tensor = build_fully_connected(graph, tensor, channels, testing_range(&random, 1, 70), false, &random);
    }
    build_output(graph, tensor);
}

struct seen {
    uint32_t loads, stores, segments, device, cpu;
};

static void count(const struct systole_program *program, struct seen *seen) {
    for (uint32_t s = 0; s < program->segment_count; s++) {
        for (uint32_t i = 0; i < program->segments[s].command_count; i++) {
            uint32_t opcode = program->segments[s].commands[i].header.opcode;
            seen->loads += opcode == SYSTOLE_OPCODE_LOAD;
            seen->stores += opcode == SYSTOLE_OPCODE_STORE;
        }
    }
    seen->segments += program->segment_count;
    for (uint32_t o = 0; o < program->operator_count; o++) {
        bool cpu = program->operators[o].place == SYSTOLE_PLACE_CPU;
        seen->cpu += cpu;
        seen->device += !cpu;
        ck_assert_msg(!cpu || strcmp(program->operators[o].reason, "scratchpad") == 0 ||
                          strcmp(program->operators[o].reason, "small_island") == 0 ||
                          strcmp(program->operators[o].reason, "pad_not_folded") == 0 ||
                          strcmp(program->operators[o].reason, "too_many_images") == 0,
                      "operator %u is on the CPU: %s: %s", o, program->operators[o].reason,
                      program->operators[o].detail);
    }
}

// Twice through the driver, which keeps region host by itself each time.
static void run_verified(const struct systole_graph *graph, const struct systole_program *program, uint32_t seed,
                         struct systole_driver *driver) {
    struct systole_diagnostic diagnostic = {.what = ""};
    struct systole_session *session = NULL;
    struct systole_session_options options = {.driver = driver, .verify = true};
    ck_assert_msg(systole_session_create(graph, program, &options, &session, &diagnostic) == SYSTOLE_OK, "%s",
                  diagnostic.what);
    uint32_t random = seed | 1u;
    for (uint32_t run = 0; run < 2; run++) {
        for (uint32_t i = 0; i < graph->input_count; i++) {
            size_t size;
            uint8_t *input = systole_session_input(session, i, &size);
            for (size_t b = 0; b < size; b++) {
                input[b] = (uint8_t)(testing_random(&random) >> 24);
            }
        }
        enum systole_status status = systole_session_invoke(session, &diagnostic);
        ck_assert_msg(status == SYSTOLE_OK, "seed %u: %s (%s)", seed, diagnostic.what, diagnostic.where);
    }
    systole_session_free(session);
}

static void check_random(uint32_t first, uint32_t last, struct seen *seen) {
    for (uint32_t seed = first; seed <= last; seed++) {
        static const uint32_t kilobytes[] = {6, 8, 12, 16, 24, 32, 48};
        uint32_t bytes = kilobytes[seed % 7] << 10, size = seed % 3 == 0 ? 4 : seed % 3 == 1 ? 8 : 16;
        struct systole_target target = check_small_target(size, 1 + seed % 3, 4, 128, bytes);
        target.link_millibytes_per_cycle = seed % 2 == 0 ? 800 : 4000;
        struct systole_graph graph;
        struct systole_program program;
        build_random(&graph, seed);
        check_compile(&graph, &target, seed, &program);
        count(&program, seen);
        struct systole_driver *driver = in_process_driver(&target, seed % 4 == 0 ? 0 : seed, true);
        run_verified(&graph, &program, seed, driver);
        systole_driver_close(driver);
        systole_program_free(&program);
        systole_graph_free(&graph);
    }
}

START_TEST(random_networks) {
    struct seen seen = {0};
    check_random((uint32_t)_i * 25 + 1, (uint32_t)_i * 25 + 25, &seen);
    printf("%u loads, %u stores, %u segments, %u operators on the device, %u on the CPU\n", seen.loads, seen.stores,
           seen.segments, seen.device, seen.cpu);
    ck_assert_uint_gt(seen.loads, 50);
    ck_assert_uint_gt(seen.stores, 10);
    ck_assert_uint_gt(seen.device, 2 * seen.cpu);
}
END_TEST

// A fully connected layer whose weights stream and whose images lie side by side in its output, not in rows.
// Maps larger than the scratchpad: by interpolation, then borders around it and a concatenation of rows:
// moves run in stripes like everything else.
START_TEST(moves_in_stripes) {
    struct systole_graph graph;
    struct systole_program program;
    enum systole_dtype dtype = _i % 2 == 0 ? SYSTOLE_UINT8 : SYSTOLE_INT8;
    bool corners = _i < 2;
    build_graph(&graph, "moves");
    bool centers = _i >= 4;
    int32_t size[2] = {corners   ? 65
                       : centers ? 20
                                 : 40,
                       corners   ? 49
                       : centers ? 16
                                 : 32},
            two[1] = {2}, pairs[2] = {4, 2};
    const int32_t edges[8] = {0, 0, 1, 2, 3, 0, 0, 0};
    int32_t input = build_map(&graph, dtype, 1, 5, 4, 21), resized = build_map(&graph, dtype, 1, size[0], size[1], 21);
    int32_t padded = build_map(&graph, dtype, 1, size[0] + 3, size[1] + 3, 21);
    int32_t joined = build_map(&graph, dtype, 1, size[0] * 2 + 6, size[1] + 3, 21);
    const int32_t maps[4] = {input, resized, padded, joined};
    for (uint32_t i = 0; i < 4; i++) {
        build_quantise(&graph, maps[i], 0.1F, 5);
    }
    build_input(&graph, input);
    struct systole_operator *op = build_operator(&graph, SYSTOLE_OP_RESIZE_BILINEAR, input,
                                                 build_constant(&graph, SYSTOLE_INT32, 1, two, size), -1, resized);
    op->options.align_corners = corners;
    op->options.half_pixel_centers = centers;
    (void)build_operator(&graph, SYSTOLE_OP_PAD, resized, build_constant(&graph, SYSTOLE_INT32, 2, pairs, edges), -1,
                         padded);
    op = build_operator(&graph, SYSTOLE_OP_CONCATENATION, padded, padded, -1, joined);
    op->options.axis = 1;
    build_output(&graph, joined);
    struct systole_target target = check_small_target(8, 3, 4, 64, centers ? 32768 : 131072);
    check_compile(&graph, &target, (uint32_t)_i + 1, &program);
    for (uint32_t i = 0; i < program.operator_count; i++) {
        ck_assert_msg(program.operators[i].place == SYSTOLE_PLACE_DEVICE, "operator %u: %s", i,
                      program.operators[i].detail);
    }
    systole_program_free(&program);
    systole_graph_free(&graph);
}
END_TEST

// Channels that change lanes go through a temporary, whose rows are those of the output.
START_TEST(lanes_in_stripes) {
    struct systole_graph graph;
    struct systole_program program;
    enum systole_dtype dtype = _i % 2 == 0 ? SYSTOLE_UINT8 : SYSTOLE_INT8;
    build_graph(&graph, "lanes");
    const int32_t maps[3] = {build_map(&graph, dtype, 1, 40, 30, 5), build_map(&graph, dtype, 1, 40, 30, 13),
                             build_map(&graph, dtype, 1, 40, 30, 18)};
    for (uint32_t i = 0; i < 3; i++) {
        build_quantise(&graph, maps[i], 0.1F, 5);
    }
    build_input(&graph, maps[0]);
    build_input(&graph, maps[1]);
    build_operator(&graph, SYSTOLE_OP_CONCATENATION, maps[0], maps[1], -1, maps[2])->options.axis = 3;
    build_output(&graph, maps[2]);
    struct systole_target target = check_small_target(8, 3, 4, 64, 32768);
    check_compile(&graph, &target, (uint32_t)_i + 1, &program);
    ck_assert_msg(program.operators[0].place == SYSTOLE_PLACE_DEVICE, "%s", program.operators[0].detail);
    systole_program_free(&program);
    systole_graph_free(&graph);
}
END_TEST

START_TEST(images_side_by_side) {
    struct systole_graph graph;
    uint32_t random = 67;
    build_graph(&graph, "images");
    int32_t input = build_map(&graph, SYSTOLE_INT8, 2, 10, 9, 9);
    build_quantise(&graph, input, 0.05F, 3);
    build_input(&graph, input);
    build_output(&graph, build_fully_connected(&graph, input, 810, 20, false, &random));
    struct systole_target target = check_small_target(4, 3, 4, 32, 16384);
    check_compile(&graph, &target, 1, NULL);
    systole_graph_free(&graph);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("spill");
    TCase *tests = tcase_create("spill");
    tcase_set_timeout(tests, 240);
    tcase_add_loop_test(tests, random_networks, 0, 6);
    tcase_add_loop_test(tests, moves_in_stripes, 0, 6);
    tcase_add_loop_test(tests, lanes_in_stripes, 0, 2);
    tcase_add_test(tests, images_side_by_side);
    suite_add_tcase(suite, tests);
    return testing_run(suite, "compiler/spill");
}
