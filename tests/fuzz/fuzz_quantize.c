// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Float models through the quantiser. Two bytes choose mode and options, the rest is the model. Two sets of random
// inputs are its data.
#include "fuzz_input.h"
#include "interpreter.h"
#include "quantizer.h"
#include "small_graph.h"

static enum systole_status read_set(void *context, uint32_t index, uint8_t *const *inputs, bool *end,
                                    struct systole_diagnostic *diagnostic) {
    const struct systole_graph *graph = context;
    uint32_t random = index + 1;
    (void)diagnostic;
    *end = index >= 2;
    for (uint32_t i = 0; !*end && i < graph->input_count; i++) {
        const struct systole_tensor *tensor = &graph->tensors[graph->inputs[i]];
        size_t count = tensor->data == NULL ? tensor->size : 0;
        for (size_t k = 0; k < count; k++) {
            random = random * 1664525u + 1013904223u;
            inputs[i][k] = tensor->dtype == SYSTOLE_BOOL ? random >> 31 : (uint8_t)(random >> 24);
        }
        for (size_t k = 0; tensor->dtype == SYSTOLE_FLOAT32 && k < count / sizeof(float); k++) {
            float value = (float)((int8_t)inputs[i][4 * k]) * 0.01f;
            memcpy(inputs[i] + k * sizeof value, &value, sizeof value);
        }
    }
    return SYSTOLE_OK;
}

// What was made must be a model.
static void use(const struct systole_graph *result) {
    struct systole_diagnostic diagnostic = {"", "", ""};
    struct systole_interpreter *interpreter = NULL;
    struct systole_graph again;
    uint8_t *bytes = NULL;
    size_t size = 0;
    FUZZ_REQUIRE(systole_interpreter_create(result, NULL, &interpreter, &diagnostic) == SYSTOLE_OK, diagnostic.what);
    (void)systole_interpreter_run(interpreter, &diagnostic);
    systole_interpreter_free(interpreter);
    if (systole_graph_write(result, NULL, &bytes, &size, &diagnostic) == SYSTOLE_OK) {
        FUZZ_REQUIRE(systole_graph_read(bytes, size, "again", &again, &diagnostic) == SYSTOLE_OK, diagnostic.what);
        systole_graph_free(&again);
    }
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static const enum systole_dtype types[] = {SYSTOLE_FLOAT32, SYSTOLE_INT8, SYSTOLE_UINT8, SYSTOLE_FLOAT32};
    struct fuzz_input input = {bytes, size};
    uint32_t mode = fuzz_number(&input, 1), choice = fuzz_number(&input, 1);
    bool integer = mode % 3 == 0;
    const struct systole_quantize_options options = {
        .mode = (enum systole_quantize_mode)(mode % 3),
        .calibration = (enum systole_calibration)(choice & 3),
        .io = integer ? types[choice >> 2 & 3] : SYSTOLE_FLOAT32,
        .fc_per_channel = (choice & 16) != 0,
        .equalize = (choice & 32) != 0,
        .bias_correction = integer && (choice & 64) != 0,
        .strict = integer && (choice & 128) != 0,
        .input_scale = integer && mode >= 128 ? 0.0625f : 0.0f,
        .compare = 1,
    };
    struct systole_graph graph, result;
    struct systole_quantize_report report;
    struct systole_diagnostic diagnostic = {"", "", ""};
    if (systole_graph_read(input.bytes, input.left, "model", &graph, &diagnostic) == SYSTOLE_OK &&
        fuzz_is_small(&graph)) {
        const struct systole_representative data = {&graph, read_set};
        if (systole_quantize(&graph, &options, &data, &result, &report, &diagnostic) == SYSTOLE_OK) {
            use(&result);
        } else {
            FUZZ_REQUIRE(diagnostic.what[0] != '\0' && result.tensor_count == 0, "refused without a word");
        }
        systole_quantize_report_free(&report);
        systole_graph_free(&result);
    }
    systole_graph_free(&graph);
    return 0;
}
