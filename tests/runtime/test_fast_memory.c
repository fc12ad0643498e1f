// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The planned block of memory: tensors that are alive together never overlap; whole models on shared memory give the
// reference's outputs on every instruction set; and nothing is allocated while they run, which the linker's wrapping of
// malloc and its kin lets this program count.
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fast/arena_plan.h"
#include "golden.h"
#include "interpreter.h"
#include "testing.h"

static atomic_uint allocations;

// The names that the linker's --wrap gives.
void *real_malloc(size_t size) __asm__("__real_malloc");
void *real_calloc(size_t count, size_t size) __asm__("__real_calloc");
void *real_realloc(void *memory, size_t size) __asm__("__real_realloc");
void *real_aligned_alloc(size_t alignment, size_t size) __asm__("__real_aligned_alloc");
void *wrap_malloc(size_t size) __asm__("__wrap_malloc");
void *wrap_calloc(size_t count, size_t size) __asm__("__wrap_calloc");
void *wrap_realloc(void *memory, size_t size) __asm__("__wrap_realloc");
void *wrap_aligned_alloc(size_t alignment, size_t size) __asm__("__wrap_aligned_alloc");

void *wrap_malloc(size_t size) {
    atomic_fetch_add(&allocations, 1);
    return real_malloc(size);
}
void *wrap_calloc(size_t count, size_t size) {
    atomic_fetch_add(&allocations, 1);
    return real_calloc(count, size);
}
void *wrap_realloc(void *memory, size_t size) {
    atomic_fetch_add(&allocations, 1);
    return real_realloc(memory, size);
}
void *wrap_aligned_alloc(size_t alignment, size_t size) {
    atomic_fetch_add(&allocations, 1);
    return real_aligned_alloc(alignment, size);
}

enum { LARGEST_ITEMS = 60 };

START_TEST(plans_do_not_overlap) {
    uint32_t state = 77;
    for (int trial = 0; trial < 500; trial++) {
        struct systole_arena_item items[LARGEST_ITEMS];
        uint32_t count = (uint32_t)testing_range(&state, 0, LARGEST_ITEMS);
        size_t sum = 0, total, peak = 0;
        for (uint32_t i = 0; i < count; i++) {
            items[i].first = (uint32_t)testing_range(&state, 0, 30);
            items[i].last = items[i].first + (uint32_t)testing_range(&state, 0, 8);
            items[i].size = testing_range(&state, 0, 9) == 0 ? 0 : (size_t)testing_range(&state, 1, 5000);
            sum += (items[i].size + 63) / 64 * 64;
        }
        ck_assert(systole_arena_plan(items, count, 64, &total));
        ck_assert_msg(total <= sum, "the plan is larger than all items in a row");
        for (uint32_t i = 0; i < count; i++) {
            size_t alive = 0;
            for (uint32_t k = 0; k < count; k++) {
                bool meet = items[i].size > 0 && items[k].size > 0 && items[i].first <= items[k].last &&
                            items[k].first <= items[i].last;
                bool overlap = items[i].offset < items[k].offset + items[k].size &&
                               items[k].offset < items[i].offset + items[i].size;
                ck_assert_msg(i == k || !meet || !overlap, "items %u and %u overlap", i, k);
                bool at_once = items[k].first <= items[i].first && items[i].first <= items[k].last;
                alive += at_once ? items[k].size : 0;
            }
            peak = alive > peak ? alive : peak;
            ck_assert(items[i].size == 0 || (items[i].offset % 64 == 0 && items[i].offset + items[i].size <= total));
        }
        ck_assert_uint_ge(total, peak);
    }
}
END_TEST

static const enum systole_kernel_level levels[] = {SYSTOLE_KERNELS_C, SYSTOLE_KERNELS_AVX2, SYSTOLE_KERNELS_AVX512,
                                                   SYSTOLE_KERNELS_NEON, SYSTOLE_KERNELS_NEON_DOT};
enum { LEVELS = sizeof levels / sizeof *levels };

static const struct {
    const char *name;
    bool allocates; // an operator without a fast kernel does
} models[] = {{"kws_int8", false},           {"resnet8_int8", false},   {"vww_96_int8", false},
              {"person_detect_int8", false}, {"ad01_int8", false},      {"str_ww_int8", false},
              {"resnet8_float", false},      {"ad01_float", false},     {"kws_dynamic", false},
              {"ad01_dynamic", false},       {"mnist_lstm_int8", true}, {"mobilenet_v1_025_128_uint8", false}};
enum { MODELS = sizeof models / sizeof *models };

static void fill_inputs(const struct systole_graph *graph, struct systole_interpreter *interpreter) {
    uint32_t state = 5;
    for (uint32_t i = 0; i < graph->input_count; i++) {
        const struct systole_tensor *tensor = &graph->tensors[graph->inputs[i]];
        uint8_t *bytes = systole_interpreter_tensor(interpreter, graph->inputs[i]);
        for (size_t k = 0; k < systole_tensor_elements(tensor); k++) {
            if (tensor->dtype == SYSTOLE_FLOAT32) {
                float value = (float)testing_range(&state, -1000, 1000) / 1000.0f;
                memcpy(bytes + 4 * k, &value, sizeof value);
            } else {
                bytes[k] = (uint8_t)(testing_random(&state) >> 24);
            }
        }
    }
}

static void check_level(const char *name, const struct systole_graph *graph, struct systole_interpreter *reference,
                        enum systole_kernel_level level, bool allocates) {
    struct systole_diagnostic diagnostic;
    for (uint32_t threads = 1; threads <= 3; threads += 2) {
        struct systole_interpreter *fast;
        const struct systole_interpreter_options options = {.kernels = level, .threads = threads, .share_memory = true};
        ck_assert_msg(systole_interpreter_create_with(graph, NULL, &options, &fast, &diagnostic) == SYSTOLE_OK,
                      "%s: %s", name, diagnostic.what);
        fill_inputs(graph, fast);
        for (int run = 0; run < 2; run++) {
            systole_interpreter_reset_variables(fast);
            unsigned before = atomic_load(&allocations);
            enum systole_status status = systole_interpreter_run(fast, &diagnostic);
            unsigned made = atomic_load(&allocations) - before; // before Check allocates
            ck_assert_int_eq(status, SYSTOLE_OK);
            ck_assert_msg(allocates || made == 0, "%s, %s: %u allocations in a run", name,
                          systole_kernel_level_name(level), made);
            for (uint32_t i = 0; i < graph->output_count; i++) {
                const struct systole_tensor *tensor = &graph->tensors[graph->outputs[i]];
                size_t element = 0;
                ck_assert_msg(golden_equal(tensor, systole_interpreter_tensor(reference, graph->outputs[i]),
                                           systole_interpreter_tensor(fast, graph->outputs[i]), &element),
                              "%s, %s, %u threads: output %u differs first at element %zu", name,
                              systole_kernel_level_name(level), threads, i, element);
            }
        }
        ck_assert_uint_gt(systole_interpreter_arena_size(fast), 0);
        systole_interpreter_free(fast);
    }
}

START_TEST(models_share_memory) {
    const char *shared = testing_shared();
    char path[512];
    struct systole_graph graph;
    struct systole_diagnostic diagnostic;
    struct systole_interpreter *reference = NULL;
    if (shared == NULL) {
        testing_skip("%s: there is no ../shared", models[_i].name);
        return;
    }
    snprintf(path, sizeof path, "%s/models/%s/model.tflite", shared, models[_i].name);
    ck_assert_msg(systole_graph_read_file(path, &graph, &diagnostic) == SYSTOLE_OK, "%s", diagnostic.what);
    unsigned before = atomic_load(&allocations);
    ck_assert_int_eq(systole_interpreter_create(&graph, NULL, &reference, &diagnostic), SYSTOLE_OK);
    ck_assert_msg(atomic_load(&allocations) > before, "allocations are not counted");
    fill_inputs(&graph, reference);
    ck_assert_int_eq(systole_interpreter_run(reference, &diagnostic), SYSTOLE_OK);
    for (int l = 0; l < LEVELS; l++) {
        if (systole_kernel_level_available(levels[l])) {
            check_level(models[_i].name, &graph, reference, levels[l], models[_i].allocates);
        }
    }
    systole_interpreter_free(reference);
    systole_graph_free(&graph);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("fast memory");
    TCase *test = tcase_create("fast memory");
    tcase_set_timeout(test, 120);
    tcase_add_test(test, plans_do_not_overlap);
    tcase_add_loop_test(test, models_share_memory, 0, MODELS);
    suite_add_tcase(suite, test);
    return testing_run(suite, "runtime/test_fast_memory");
}
