// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// MODEL.tflite -> MODEL.systole
static char *default_output(const char *model) {
    size_t length = strlen(model);
    const char *extension = ".tflite";
    if (length > strlen(extension) && strcmp(model + length - strlen(extension), extension) == 0) {
        length -= strlen(extension);
    }
    char *path = malloc(length + sizeof ".systole");
    if (path != NULL) {
        (void)snprintf(path, length + sizeof ".systole", "%.*s.systole", (int)length, model);
    }
    return path;
}

static int run(const struct cli_command *command, int argc, char **argv) {
    struct cli_arguments arguments;
    int exit_status;
    if (!cli_parse(command, argc, argv, &arguments, &exit_status)) {
        return exit_status;
    }
    const char *model = arguments.positional[0];
    struct systole_diagnostic diagnostic = {.what = ""};
    struct cli_subject subject;
    uint8_t *bytes = NULL;
    char *chosen = NULL;
    size_t size;
    enum systole_status status = cli_subject_open(model, arguments.target, true, arguments.dump, &subject, &diagnostic);
    if (status != SYSTOLE_OK) {
        return cli_error(status, &diagnostic);
    }
    if (!subject.is_model) {
        status = systole_fail(&diagnostic, SYSTOLE_BAD_FILE, model, "give the .tflite", "is a compiled program");
        goto done;
    }
    status = systole_program_write(&subject.program, &bytes, &size, &diagnostic);
    if (status != SYSTOLE_OK) {
        goto done;
    }
    chosen = arguments.output != NULL ? NULL : default_output(model);
    const char *output = arguments.output != NULL ? arguments.output : chosen;
    if (output == NULL) {
        status = systole_fail(&diagnostic, SYSTOLE_OUT_OF_MEMORY, model, "", "no memory");
        goto done;
    }
    status = cli_write_file(output, bytes, size, &diagnostic);
    if (status == SYSTOLE_OK && arguments.report != NULL) {
        struct systole_session_cycles none = {.total = 0};
        struct cli_measurement measurement = {
            .model = subject.graph.name, .device = "none", .subject = &subject, .cycles = &none};
        status = cli_write_report(arguments.report, &measurement, &diagnostic);
    }
    if (status != SYSTOLE_OK) {
        goto done;
    }
    uint32_t commands = 0, words = 0, on_device = 0;
    uint64_t predicted = 0;
    for (uint32_t i = 0; i < subject.program.segment_count; i++) {
        commands += subject.program.segments[i].command_count;
        words += subject.program.segments[i].parameter_words;
        predicted += subject.program.segments[i].predicted_cycles;
    }
    for (uint32_t i = 0; i < subject.program.operator_count; i++) {
        on_device += subject.program.operators[i].place == SYSTOLE_PLACE_DEVICE;
    }
    printf("%s: target %s, %u of %u operators on the device in %u segments, %u commands (%u bytes), "
           "%llu bytes of parameters, %llu cycles predicted\n",
           output, subject.program.target.name, on_device, subject.program.operator_count,
           subject.program.segment_count, commands, commands * SYSTOLE_COMMAND_BYTES,
           (unsigned long long)words * subject.program.target.columns, (unsigned long long)predicted);
    if (arguments.show_operations) {
        cli_print_placement(&subject.program);
    }
done:
    free(chosen);
    free(bytes);
    cli_subject_close(&subject);
    return status == SYSTOLE_OK ? 0 : cli_error(status, &diagnostic);
}

const struct cli_command cli_compile = {
    .name = "compile",
    .summary = "a model into a program for a target",
    .usage = "MODEL.tflite [-o OUT.systole] [options]",
    .help =
        "Compiles a full-integer quantised TensorFlow Lite model. Operators that the device cannot run stay on the\n"
        "CPU; -s says which and why.\n",
    .options = CLI_OUTPUT | CLI_TARGET | CLI_SHOW_OPERATIONS | CLI_REPORT | CLI_DUMP,
    .minimum = 1,
    .maximum = 1,
    .run = run,
};
