// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "check_compile.h"

#include "simulate_program.h"
#include "target.h"
#include "testing.h"

#define ORDERS 4u

static void fill_inputs(const struct systole_graph *graph, struct systole_interpreter *reference, uint32_t seed) {
    uint32_t random = seed * 747796405u | 1u;
    for (uint32_t i = 0; i < graph->input_count; i++) {
        uint8_t *bytes = systole_interpreter_tensor(reference, graph->inputs[i]);
        for (size_t b = 0; b < graph->tensors[graph->inputs[i]].size; b++) {
            bytes[b] = (uint8_t)(testing_random(&random) >> 24);
        }
    }
}

void check_compile(const struct systole_graph *graph, const struct systole_target *target, uint32_t seed,
                   struct systole_program *program) {
    struct systole_program own;
    struct systole_program *made = program != NULL ? program : &own;
    struct systole_diagnostic diagnostic = {.what = ""};
    struct systole_interpreter *reference = NULL;
    enum systole_status status = systole_compile(graph, target, NULL, made, &diagnostic);
    ck_assert_msg(status == SYSTOLE_OK, "%s: compile: %s (%s)", graph->name, diagnostic.what, diagnostic.where);
    status = systole_interpreter_create(graph, NULL, &reference, &diagnostic);
    ck_assert_msg(status == SYSTOLE_OK, "%s: interpreter: %s", graph->name, diagnostic.what);
    fill_inputs(graph, reference, seed);
    ck_assert_int_eq(systole_interpreter_run(reference, &diagnostic), SYSTOLE_OK);
    for (uint32_t order = 0; order < ORDERS; order++) {
        status = simulate_program(graph, made, reference, order == 0 ? 0 : seed * ORDERS + order, &diagnostic);
        ck_assert_msg(status == SYSTOLE_OK, "%s, target %s, seed %u, order %u: %s", graph->name, target->name, seed,
                      order, diagnostic.what);
    }
    systole_interpreter_free(reference);
    if (program == NULL) {
        systole_program_free(&own);
    }
}

struct systole_target check_target(const char *name) {
    struct systole_target target;
    struct systole_diagnostic diagnostic;
    ck_assert_int_eq(systole_target_find(name, &target, &diagnostic), SYSTOLE_OK);
    return target;
}

struct systole_target check_small_target(uint32_t size, uint32_t taps, uint32_t port, uint32_t accumulators,
                                         uint32_t scratchpad_bytes) {
    struct systole_target target = check_target("systole16");
    snprintf(target.name, sizeof target.name, "test%u_%u_%u_%u", size, taps, port, accumulators);
    target.rows = target.columns = size;
    target.taps = taps;
    target.weight_port_rows = port;
    target.banks = 16;
    target.accumulators = accumulators;
    target.scratchpad_bytes = scratchpad_bytes;
    struct systole_diagnostic diagnostic = {.what = ""};
    ck_assert_msg(systole_target_check(&target, &diagnostic) == SYSTOLE_OK, "%s", diagnostic.what);
    return target;
}
