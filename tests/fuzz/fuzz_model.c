// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The model's reader; what reads is written and read again, compiled for a small target, and run on the CPU. What the
// compiler makes must pass the program's reader, so the verifier judges the compiler. Sizes are bounded to be quick.
#include "compiler.h"
#include "fuzz_input.h"
#include "graph.h"
#include "interpreter.h"
#include "small_graph.h"

enum { LARGEST_FILE = 1 << 16 };

static void write_again(const struct systole_graph *graph) {
    uint8_t *bytes = NULL;
    size_t size = 0;
    struct systole_graph again;
    struct systole_diagnostic diagnostic = {"", "", ""};
    if (systole_graph_write(graph, NULL, &bytes, &size, &diagnostic) == SYSTOLE_OK) {
        FUZZ_REQUIRE(systole_graph_read(bytes, size, "again", &again, &diagnostic) == SYSTOLE_OK, diagnostic.what);
        systole_graph_free(&again);
    }
    free(bytes);
}

static void compile(const struct systole_graph *graph) {
    struct systole_target target = systole_presets[0];
    struct systole_program program, again;
    struct systole_diagnostic diagnostic = {"", "", ""};
    target.scratchpad_bytes = 1u << 16;
    if (systole_compile(graph, &target, NULL, &program, &diagnostic) == SYSTOLE_OK) {
        uint8_t *bytes = NULL;
        size_t size = 0;
        FUZZ_REQUIRE(systole_program_write(&program, &bytes, &size, &diagnostic) == SYSTOLE_OK, diagnostic.what);
        FUZZ_REQUIRE(systole_program_read(bytes, size, "again", &again, &diagnostic) == SYSTOLE_OK, diagnostic.what);
        systole_program_free(&again);
        free(bytes);
    } else {
        FUZZ_REQUIRE(diagnostic.what[0] != '\0', "refused without a word");
    }
    systole_program_free(&program);
}

static void interpret(const struct systole_graph *graph) {
    struct systole_interpreter *interpreter = NULL;
    struct systole_diagnostic diagnostic = {"", "", ""};
    if (systole_interpreter_create(graph, NULL, &interpreter, &diagnostic) != SYSTOLE_OK) {
        FUZZ_REQUIRE(diagnostic.what[0] != '\0', "refused without a word");
        return;
    }
    uint32_t random = 1;
    for (uint32_t i = 0; i < graph->input_count; i++) {
        uint8_t *bytes = systole_interpreter_tensor(interpreter, graph->inputs[i]);
        const struct systole_tensor *tensor = &graph->tensors[graph->inputs[i]];
        for (size_t k = 0; k < tensor->size && tensor->data == NULL; k++) {
            random = random * 1664525u + 1013904223u;
            bytes[k] = (uint8_t)(random >> 24);
        }
        for (size_t k = 0; k < tensor->size && tensor->data == NULL && tensor->dtype == SYSTOLE_BOOL; k++) {
            bytes[k] &= 1;
        }
    }
    (void)systole_interpreter_run(interpreter, &diagnostic);
    systole_interpreter_free(interpreter);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct systole_graph graph;
    struct systole_diagnostic diagnostic = {"", "", ""};
    if (size > LARGEST_FILE) {
        return 0;
    }
    enum systole_status status = systole_graph_read(bytes, size, "model", &graph, &diagnostic);
    if (status != SYSTOLE_OK) {
        FUZZ_REQUIRE((status == SYSTOLE_BAD_FILE || status == SYSTOLE_UNSUPPORTED) && diagnostic.what[0] != '\0',
                     "refused without a word");
    } else if (fuzz_is_small(&graph)) {
        write_again(&graph);
        compile(&graph);
        interpret(&graph);
    }
    systole_graph_free(&graph);
    return 0;
}
