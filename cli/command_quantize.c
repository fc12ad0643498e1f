// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// `systole quantize`: a float32 model becomes one of integers. Nothing is written before all of it is known.
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "quantize_report.h"
#include "samples.h"

// Index of `text` among names up to NULL; -1: none.
static int find(const char *text, const char *const *names) {
    for (int i = 0; names[i] != NULL; i++) {
        if (strcmp(text, names[i]) == 0) {
            return i;
        }
    }
    return -1;
}

static bool parse_options(const struct cli_command *command, const struct cli_quantize_arguments *a,
                          struct systole_quantize_options *options) {
    static const char *const modes[] = {"full-integer", "dynamic-range", "float16", NULL};
    static const char *const calibrations[] = {"min-max", "moving-average", "percentile", "mse", NULL};
    static const char *const types[] = {"float32", "int8", "uint8", NULL};
    static const char *const kinds[] = {"accelerator", "microcontroller", "cpu", "gpu", NULL};
    static const enum systole_dtype dtypes[] = {SYSTOLE_FLOAT32, SYSTOLE_INT8, SYSTOLE_UINT8};
    int mode = find(a->mode != NULL ? a->mode : modes[0], modes);
    int calibration = find(a->calibration != NULL ? a->calibration : calibrations[0], calibrations);
    int type = find(a->io != NULL ? a->io : types[0], types);
    if (mode < 0) {
        (void)cli_usage_error(command, "--mode is full-integer, dynamic-range or float16, not '%s'", a->mode);
    } else if (calibration < 0) {
        (void)cli_usage_error(command, "--calibration is min-max, moving-average, percentile or mse, not '%s'",
                              a->calibration);
    } else if (type < 0) {
        (void)cli_usage_error(command, "--io is float32, int8 or uint8, not '%s'", a->io);
    } else if (a->hardware != NULL && find(a->hardware, kinds) < 0) {
        (void)cli_usage_error(command, "--hardware is accelerator, microcontroller, cpu or gpu, not '%s'", a->hardware);
    } else {
        *options = (struct systole_quantize_options){
            .mode = (enum systole_quantize_mode)mode,
            .calibration = (enum systole_calibration)calibration,
            .io = dtypes[type],
            .input_scale = a->input_scale_count == 2 ? (float)a->input_scale[0] : 0.0f,
            .input_zero_point = a->input_scale_count == 2 ? (int32_t)a->input_scale[1] : 0,
            .strict = a->strict,
            .fc_per_channel = a->fc_per_channel,
            .equalize = a->equalize,
            .bias_correction = a->bias_correction,
        };
        return true;
    }
    return false;
}

// Other formats that people have at hand, by what they look like.
static enum systole_status read_source(const char *path, struct systole_graph *graph, size_t *size,
                                       struct systole_diagnostic *diagnostic) {
    struct stat status_of;
    const char *dot = strrchr(path, '.');
    bool saved = (stat(path, &status_of) == 0 && S_ISDIR(status_of.st_mode)) ||
                 (dot != NULL && (strcmp(dot, ".pb") == 0 || strcmp(dot, ".h5") == 0 || strcmp(dot, ".keras") == 0));
    if (saved) {
        return systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, path,
                            "convert it in Python: tf.lite.TFLiteConverter.from_saved_model(DIR).convert(), or "
                            "from_keras_model(model), gives the bytes of a .tflite",
                            "a SavedModel or Keras file cannot be read, only a float32 .tflite");
    }
    uint8_t *bytes = NULL;
    enum systole_status status = systole_read_file(path, &bytes, size, diagnostic);
    if (status == SYSTOLE_OK) {
        status = systole_graph_read(bytes, *size, path, graph, diagnostic);
    }
    free(bytes);
    return status;
}

static enum systole_status write_result(const struct cli_arguments *arguments, struct cli_quantized *quantized,
                                        struct systole_diagnostic *diagnostic) {
    uint8_t *bytes = NULL;
    enum systole_status status =
        systole_graph_write(quantized->result, NULL, &bytes, &quantized->output_size, diagnostic);
    if (status == SYSTOLE_OK) {
        status = cli_write_file(arguments->output, bytes, quantized->output_size, diagnostic);
    }
    free(bytes);
    if (status == SYSTOLE_OK && arguments->report != NULL) {
        status = cli_write_quantized(arguments->report, quantized, diagnostic);
        if (status != SYSTOLE_OK) {
            (void)unlink(arguments->output);
        }
    }
    if (status == SYSTOLE_OK) {
        cli_print_quantized(quantized);
    }
    return status;
}

static int run(const struct cli_command *command, int argc, char **argv) {
    struct cli_arguments arguments;
    struct systole_quantize_options options;
    int exit_status;
    if (!cli_parse(command, argc, argv, &arguments, &exit_status)) {
        return exit_status;
    }
    const struct cli_quantize_arguments *a = &arguments.quantize;
    if (!parse_options(command, a, &options)) {
        return 2;
    }
    if (a->mode != NULL && arguments.output == NULL) {
        return cli_usage_error(command, "where does the result go? -o OUT.tflite");
    }
    if (a->mode == NULL && (arguments.output != NULL || arguments.report != NULL)) {
        return cli_usage_error(command, "nothing is written without --mode (alone it recommends one)");
    }
    struct systole_diagnostic diagnostic = {.what = ""};
    struct systole_graph source = {0}, result = {0};
    struct systole_quantize_report report = {0};
    struct cli_samples data = {.source_count = 0};
    struct cli_quantized quantized = {.source = arguments.positional[0],
                                      .output = arguments.output,
                                      .options = &options,
                                      .result = &result,
                                      .report = &report};
    enum systole_status status = read_source(arguments.positional[0], &source, &quantized.source_size, &diagnostic);
    if (status == SYSTOLE_OK) {
        status = cli_samples_open(&data, a->representative, a->representative_count, &source, &arguments.normalisation,
                                  &diagnostic);
    }
    if (status == SYSTOLE_OK && a->mode == NULL) {
        cli_print_decision(arguments.positional[0], &source, a->hardware, data.sets);
    } else if (status == SYSTOLE_OK) {
        options.threads = arguments.threads;
        status = cli_kernels(&arguments, SYSTOLE_KERNELS_FASTEST, &options.kernels, &diagnostic);
    }
    if (status == SYSTOLE_OK && a->mode != NULL) {
        struct systole_representative representative = {&data, cli_samples_read};
        status = systole_quantize(&source, &options, a->representative_count > 0 ? &representative : NULL, &result,
                                  &report, &diagnostic);
        if (status == SYSTOLE_OK) {
            status = write_result(&arguments, &quantized, &diagnostic);
        }
    }
    systole_quantize_report_free(&report);
    systole_graph_free(&result);
    cli_samples_close(&data);
    systole_graph_free(&source);
    return status == SYSTOLE_OK ? 0 : cli_error(status, &diagnostic);
}

const struct cli_command cli_quantize = {
    .name = "quantize",
    .summary = "a float32 .tflite to int8, dynamic-range or float16",
    .usage = "FLOAT.tflite -o OUT.tflite --mode MODE [--representative FILE|DIR]... [options]",
    .help =
        "Post-training quantisation by TensorFlow's 8-bit specification; docs/quantization.md tells what each mode\n"
        "does. Prints each layer's signal-to-noise ratio against float32, the worst layers and what to try. Without\n"
        "--mode it asks the questions that decide between the modes and recommends one; nothing is written then.\n",
    .options = CLI_OUTPUT | CLI_QUANTIZE | CLI_MEAN | CLI_SCALE | CLI_REPORT | CLI_KERNELS | CLI_THREADS,
    .minimum = 1,
    .maximum = 1,
    .run = run,
};
