// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Published float32 models, quantised here, beside their published int8 twins: on inputs drawn over the twin's input
// range, 200 to calibrate and 64 others to measure, the tensor before SOFTMAX may have a signal-to-noise ratio at most
// 1 dB below the twin's. Prints a row of a table for each model and mode; $SYSTOLE_QUANTIZED_FOLDER receives the files.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "interpreter.h"
#include "quantizer.h"
#include "testing.h"

enum { CALIBRATE = 200, MEASURE = 64 };
static const char *const names[] = {"ad01", "resnet8", "vww_96"};
#define MODELS ((int)(sizeof names / sizeof names[0]))

struct source {
    struct systole_graph graph; // float32
    float scale;                // of the inputs that are drawn
    int32_t zero_point;
    uint32_t seed, sets;
};

static void draw(const struct source *source, uint32_t set, float *values, size_t count) {
    uint32_t state = (source->seed ^ ((set + 1) * 0x9E3779B9u)) | 1;
    for (size_t i = 0; i < count; i++) {
        int32_t byte = (int32_t)(testing_random(&state) >> 24) - 128;
        values[i] = source->scale * (float)(byte - source->zero_point);
    }
}

static enum systole_status read_set(void *context, uint32_t index, uint8_t *const *inputs, bool *end,
                                    struct systole_diagnostic *diagnostic) {
    const struct source *source = context;
    (void)diagnostic;
    if (index >= source->sets) {
        *end = true;
        return SYSTOLE_OK;
    }
    draw(source, index, (float *)(void *)inputs[0],
         systole_tensor_elements(&source->graph.tensors[source->graph.inputs[0]]));
    return SYSTOLE_OK;
}

static char *path_of(const char *name, const char *kind) {
    char *path = malloc(512);
    ck_assert_ptr_nonnull(path);
    (void)snprintf(path, 512, "%s/models/%s_%s/model.tflite", testing_shared(), name, kind);
    return path;
}

static size_t read_graph(const char *name, const char *kind, struct systole_graph *graph) {
    struct systole_diagnostic diagnostic;
    char *path = path_of(name, kind);
    size_t size = 0;
    uint8_t *bytes = testing_read_file(path, &size);
    ck_assert_msg(bytes != NULL && systole_graph_read(bytes, size, path, graph, &diagnostic) == SYSTOLE_OK, "%s", path);
    free(bytes);
    free(path);
    return size;
}

// What goes into SOFTMAX, or the output itself.
static int32_t measured_tensor(const struct systole_graph *graph) {
    int32_t tensor = graph->outputs[0];
    for (uint32_t i = graph->operator_count; i-- > 0;) {
        const struct systole_operator *op = &graph->operators[i];
        bool passes =
            op->code == SYSTOLE_OP_SOFTMAX || op->code == SYSTOLE_OP_DEQUANTIZE || op->code == SYSTOLE_OP_QUANTIZE;
        if (op->outputs[0] == tensor && passes) {
            tensor = op->inputs[0];
        }
    }
    return tensor;
}

struct candidate {
    const struct systole_graph *graph;
    struct systole_interpreter *interpreter;
    int32_t tensor;
    double signal, noise;
};

static void open_candidate(struct candidate *candidate, const struct systole_graph *graph) {
    struct systole_diagnostic diagnostic;
    *candidate = (struct candidate){.graph = graph, .tensor = measured_tensor(graph)};
    const struct systole_interpreter_options options = {.kernels = SYSTOLE_KERNELS_FASTEST};
    ck_assert_msg(systole_interpreter_create_with(graph, NULL, &options, &candidate->interpreter, &diagnostic) ==
                      SYSTOLE_OK,
                  "%s (%s)", diagnostic.what, diagnostic.where);
}

static void run_candidate(struct candidate *candidate, const float *values) {
    const struct systole_tensor *tensor = &candidate->graph->tensors[candidate->graph->inputs[0]];
    uint8_t *bytes = systole_interpreter_tensor(candidate->interpreter, candidate->graph->inputs[0]);
    size_t count = systole_tensor_elements(tensor);
    if (tensor->dtype == SYSTOLE_FLOAT32) {
        memcpy(bytes, values, count * sizeof *values);
    }
    for (size_t i = 0; tensor->dtype == SYSTOLE_INT8 && i < count; i++) {
        systole_tensor_store_real(tensor, values[i], i, bytes);
    }
    struct systole_diagnostic diagnostic;
    ck_assert_int_eq(systole_interpreter_run(candidate->interpreter, &diagnostic), SYSTOLE_OK);
}

static double value_of(const struct candidate *candidate, size_t i) {
    const struct systole_tensor *tensor = &candidate->graph->tensors[candidate->tensor];
    const uint8_t *bytes = systole_interpreter_tensor(candidate->interpreter, candidate->tensor);
    return tensor->dtype == SYSTOLE_FLOAT32 ? (double)((const float *)(const void *)bytes)[i]
                                            : (double)tensor->quantisation.scale[0] *
                                                  (double)((int8_t)bytes[i] - tensor->quantisation.zero_point[0]);
}

static double decibels(const struct candidate *candidate) {
    return 10 * log10(candidate->signal / candidate->noise);
}

// Signal and noise of each candidate against the float model, on inputs that calibration did not see.
static void measure(struct source *source, struct candidate *candidates, uint32_t count) {
    size_t elements = systole_tensor_elements(&source->graph.tensors[source->graph.inputs[0]]);
    float *values = calloc(elements + 1, sizeof *values);
    struct candidate real;
    ck_assert_ptr_nonnull(values);
    open_candidate(&real, &source->graph);
    source->seed = 77777;
    for (uint32_t set = 0; set < MEASURE; set++) {
        draw(source, set, values, elements);
        run_candidate(&real, values);
        for (uint32_t k = 0; k < count; k++) {
            run_candidate(&candidates[k], values);
            size_t outputs = systole_tensor_elements(&source->graph.tensors[real.tensor]);
            for (size_t i = 0; i < outputs; i++) {
                double expected = value_of(&real, i), difference = expected - value_of(&candidates[k], i);
                candidates[k].signal += expected * expected;
                candidates[k].noise += difference * difference;
            }
        }
    }
    systole_interpreter_free(real.interpreter);
    free(values);
}

static size_t write_model(const struct systole_graph *graph, const char *name, const char *mode) {
    uint8_t *bytes = NULL;
    size_t size = 0;
    struct systole_diagnostic diagnostic;
    struct systole_graph again;
    ck_assert_msg(systole_graph_write(graph, NULL, &bytes, &size, &diagnostic) == SYSTOLE_OK, "%s", diagnostic.what);
    ck_assert_msg(systole_graph_read(bytes, size, "again", &again, &diagnostic) == SYSTOLE_OK, "%s", diagnostic.what);
    systole_graph_free(&again);
    const char *folder = getenv("SYSTOLE_QUANTIZED_FOLDER");
    if (folder != NULL) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s/%s_%s.tflite", folder, name, mode);
        FILE *file = fopen(path, "wb");
        ck_assert_msg(file != NULL && fwrite(bytes, 1, size, file) == size && fclose(file) == 0, "%s", path);
    }
    free(bytes);
    return size;
}

// SNR that float results must at least have with int8 weights and activations quantised by the batch, and with halves.
#define DYNAMIC_DECIBELS 24.0
#define HALF_DECIBELS 50.0

START_TEST(like_the_twin) {
    const char *name = names[_i];
    if (testing_shared() == NULL) {
        testing_skip("no conformance models");
        return;
    }
    struct source source = {.seed = 1, .sets = CALIBRATE};
    struct systole_graph twin, results[3];
    size_t float_size = read_graph(name, "float", &source.graph), twin_size = read_graph(name, "int8", &twin);
    const struct systole_tensor *input = &twin.tensors[twin.inputs[0]];
    source.scale = input->quantisation.scale[0];
    source.zero_point = (int32_t)input->quantisation.zero_point[0];

    struct systole_representative representative = {&source, read_set};
    struct systole_quantize_report reports[3];
    struct systole_diagnostic diagnostic = {.what = ""};
    struct candidate candidates[4];
    size_t sizes[3];
    for (int mode = 0; mode < 3; mode++) {
        struct systole_quantize_options options = {.mode = (enum systole_quantize_mode)mode,
                                                   .kernels = SYSTOLE_KERNELS_FASTEST,
                                                   .io = mode == SYSTOLE_QUANTIZE_FULL_INTEGER ? SYSTOLE_INT8
                                                                                               : SYSTOLE_FLOAT32};
        ck_assert_msg(systole_quantize(&source.graph, &options, &representative, &results[mode], &reports[mode],
                                       &diagnostic) == SYSTOLE_OK,
                      "%s (%s)", diagnostic.what, diagnostic.where);
        ck_assert_uint_eq(reports[mode].left_count, 0);
        sizes[mode] = write_model(&results[mode], name, systole_quantize_mode_name(options.mode));
        open_candidate(&candidates[mode], &results[mode]);
    }
    open_candidate(&candidates[3], &twin);
    measure(&source, candidates, 4);
    double twin_snr = decibels(&candidates[3]);
    printf("| %s | published int8 | | %.2f | %.1f |\n", name, (double)float_size / (double)twin_size, twin_snr);
    for (int mode = 0; mode < 3; mode++) {
        double smaller = (double)reports[mode].float_weight_bytes / (double)reports[mode].weight_bytes;
        double snr = decibels(&candidates[mode]);
        printf("| %s | %s | %.2f | %.2f | %.1f |\n", name, systole_quantize_mode_name((enum systole_quantize_mode)mode),
               smaller, (double)float_size / (double)sizes[mode], snr);
        ck_assert_double_ge(smaller, mode == SYSTOLE_QUANTIZE_FLOAT16 ? 1.9 : 3.7);
        ck_assert_double_ge(snr, mode == SYSTOLE_QUANTIZE_FULL_INTEGER    ? twin_snr - 1
                                 : mode == SYSTOLE_QUANTIZE_DYNAMIC_RANGE ? DYNAMIC_DECIBELS
                                                                          : HALF_DECIBELS);
    }
    double ratio = (double)sizes[0] / (double)twin_size;
    ck_assert_msg(ratio > 0.9 && ratio < 1.05, "%zu bytes, the twin has %zu", sizes[0], twin_size);
    systole_interpreter_free(candidates[3].interpreter);
    for (int mode = 0; mode < 3; mode++) {
        systole_interpreter_free(candidates[mode].interpreter);
        systole_quantize_report_free(&reports[mode]);
        systole_graph_free(&results[mode]);
    }
    systole_graph_free(&twin);
    systole_graph_free(&source.graph);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("published_models");
    TCase *models = tcase_create("models");
    tcase_set_timeout(models, 240);
    tcase_add_loop_test(models, like_the_twin, 0, MODELS);
    suite_add_tcase(suite, models);
    return testing_run(suite, "quantizer/test_published_models");
}
