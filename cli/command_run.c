// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static enum systole_status write_tensor(const char *folder, const char *kind, int index, const uint8_t *bytes,
                                        size_t size, struct systole_diagnostic *diagnostic) {
    char name[32];
    (void)snprintf(name, sizeof name, "%s%d.bin", kind, index);
    char *path = cli_join(folder, name);
    enum systole_status status = path != NULL
                                     ? cli_write_file(path, bytes, size, diagnostic)
                                     : systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, folder, "", "no memory");
    free(path);
    return status;
}

static enum systole_status write_outputs(struct systole_session *session, const struct cli_arguments *arguments,
                                         struct systole_diagnostic *diagnostic) {
    const struct systole_graph *graph = systole_session_graph(session);
    if (mkdir(arguments->output_dir, 0777) != 0 && errno != EEXIST) {
        return systole_fail(diagnostic, SYSTOLE_BAD_FILE, arguments->output_dir, "check the path",
                            "the folder cannot be made: %s", strerror(errno));
    }
    enum systole_status status = SYSTOLE_OK;
    for (uint32_t i = 0; i < graph->output_count && status == SYSTOLE_OK; i++) {
        size_t size;
        const uint8_t *bytes = systole_session_output(session, i, &size);
        status = write_tensor(arguments->output_dir, "output", (int)i, bytes, size, diagnostic);
    }
    for (uint32_t t = 0; arguments->all_tensors && t < graph->tensor_count && status == SYSTOLE_OK; t++) {
        size_t size;
        const uint8_t *bytes =
            graph->tensors[t].data == NULL ? systole_session_tensor(session, (int32_t)t, &size) : NULL;
        if (bytes != NULL) {
            status = write_tensor(arguments->output_dir, "tensor", (int)t, bytes, size, diagnostic);
        }
    }
    return status;
}

// The first values of an output, and for a vector of scores its largest.
static void print_output(const struct systole_graph *graph, uint32_t output, const uint8_t *bytes) {
    const struct systole_tensor *tensor = &graph->tensors[graph->outputs[output]];
    size_t elements = systole_tensor_elements(tensor);
    char shape[64];
    cli_format_shape(tensor, shape, sizeof shape);
    printf("output %u  %s  %s %s ", output, tensor->name, systole_dtype_name(tensor->dtype), shape);
    double best = 0;
    size_t best_index = 0;
    bool known = cli_holds_scores(tensor);
    for (size_t i = 0; i < elements && known; i++) {
        double value = cli_stored_number(tensor, bytes, i);
        if (i == 0 || value > best) {
            best = value;
            best_index = i;
        }
        if (i < 10) {
            printf(" %g", value);
        }
    }
    if (known && elements > 1) {
        printf("%s  largest at %zu: %g", elements > 10 ? " ..." : "", best_index, best);
    }
    printf("\n");
}

static void add_times(const struct systole_session *session, uint32_t operators, struct cli_operator_time *times) {
    for (uint32_t i = 0; times != NULL && i < operators; i++) {
        double seconds = 0;
        if (systole_session_operator_time(session, i, &seconds, &times[i].is_fast)) {
            times[i].best = times[i].sum == 0 || seconds < times[i].best ? seconds : times[i].best;
            times[i].sum += seconds;
        }
    }
}

static enum systole_status measure(struct systole_session *session, struct systole_driver *driver,
                                   const struct cli_arguments *arguments, const struct cli_subject *subject,
                                   double *wall, struct cli_operator_time *times,
                                   struct systole_diagnostic *diagnostic) {
    uint64_t cycles_before = 0, cycles_after = 0;
    double seconds_before = 0, seconds_after = 0;
    struct systole_transport *transport = driver != NULL ? systole_driver_transport(driver) : NULL;
    bool simulated = transport != NULL && transport->functions->simulation != NULL;
    if (simulated) {
        transport->functions->simulation(transport, &cycles_before, &seconds_before);
    }
    for (uint32_t i = 0; i < arguments->repeat; i++) {
        double start = cli_seconds();
        enum systole_status status = systole_session_invoke(session, diagnostic);
        wall[i] = cli_seconds() - start;
        add_times(session, subject->graph.operator_count, times);
        if (status != SYSTOLE_OK) {
            return status;
        }
    }
    if (simulated) {
        transport->functions->simulation(transport, &cycles_after, &seconds_after);
    }
    double seconds = seconds_after - seconds_before;
    struct cli_measurement measurement = {
        .model = subject->graph.name,
        .path = arguments->positional[0],
        .device = arguments->device,
        .subject = subject,
        .session = session,
        .cycles = driver != NULL ? systole_session_cycles(session) : NULL,
        .wall_seconds = wall,
        .repeat = arguments->repeat,
        .simulated_cycles_per_second = seconds > 0 ? (double)(cycles_after - cycles_before) / seconds : 0,
        .operator_times = times,
        .threads = arguments->threads,
    };
    if (times != NULL && arguments->repeat > 1) {
        cli_print_cpu(&measurement);
    }
    if (arguments->show_operations && subject->has_program) {
        cli_print_placement(&subject->program);
    }
    if (measurement.cycles != NULL && measurement.cycles->operators != NULL) {
        cli_print_chart(&measurement);
    }
    enum systole_status status = SYSTOLE_OK;
    if (arguments->report != NULL) {
        status = cli_write_report(arguments->report, &measurement, diagnostic);
    }
    if (status == SYSTOLE_OK && arguments->trace != NULL) {
        status = cli_write_trace(arguments->trace, &measurement, diagnostic);
    }
    if (status == SYSTOLE_OK && arguments->html != NULL) {
        status = cli_write_html(arguments->html, &measurement, diagnostic);
    }
    return status;
}

static int run(const struct cli_command *command, int argc, char **argv) {
    struct cli_arguments arguments;
    int exit_status;
    if (!cli_parse(command, argc, argv, &arguments, &exit_status)) {
        return exit_status;
    }
    bool cpu = strcmp(arguments.device, "cpu") == 0;
    if (arguments.all_tensors && (!cpu || arguments.output_dir == NULL)) {
        return cli_usage_error(command, "--all-tensors needs --device cpu and --output-dir");
    }
    if (cpu &&
        (arguments.trace != NULL || arguments.html != NULL || arguments.record != NULL || arguments.faults != NULL)) {
        return cli_usage_error(command, "--trace, --html, --record and --faults need a device, not the CPU");
    }
    struct systole_diagnostic diagnostic = {.what = ""};
    struct cli_subject subject;
    struct systole_driver *driver = NULL;
    struct systole_session *session = NULL;
    struct systole_capture *capture = NULL;
    double *wall = NULL;
    struct cli_operator_time *times = NULL;
    enum systole_kernel_level kernels = SYSTOLE_KERNELS_REFERENCE;
    enum systole_status status =
        cli_subject_open(arguments.positional[0], arguments.target, !cpu, NULL, &subject, &diagnostic);
    if (status != SYSTOLE_OK) {
        return cli_error(status, &diagnostic);
    }
    if (cpu && !subject.is_model) {
        status = systole_fail(&diagnostic, SYSTOLE_UNSUPPORTED, arguments.positional[0], "give the .tflite",
                              "a program holds no constants for the CPU");
        goto done;
    }
    wall = calloc(arguments.repeat, sizeof *wall);
    times = cpu ? calloc((size_t)subject.graph.operator_count + 1, sizeof *times) : NULL;
    if (wall == NULL || (cpu && times == NULL)) {
        status = systole_fail(&diagnostic, SYSTOLE_OUT_OF_MEMORY, "--repeat", "", "no memory");
        goto done;
    }
    if (!cpu) {
        if (arguments.record != NULL) {
            status = systole_capture_create(arguments.record, &capture, &diagnostic);
        }
        struct wiring_options wiring = {.driver = {.trace_retirements = true, .shared = arguments.shared},
                                        .faults = arguments.faults,
                                        .record = capture};
        if (status == SYSTOLE_OK) {
            status = wiring_open_driver(arguments.device, &subject.program.target, &wiring, &driver, &diagnostic);
        }
        if (status != SYSTOLE_OK) {
            goto done;
        }
    }
    status = cli_kernels(&arguments, SYSTOLE_KERNELS_FASTEST, &kernels, &diagnostic);
    struct systole_session_options options = {.driver = driver,
                                              .keep_tensors = arguments.all_tensors,
                                              .kernels = kernels,
                                              .threads = arguments.threads,
                                              .measure = cpu};
    if (status == SYSTOLE_OK) {
        status = systole_session_create(cpu ? &subject.graph : NULL, cpu ? NULL : &subject.program, &options, &session,
                                        &diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = cli_fill_inputs(session, arguments.inputs, arguments.input_count, arguments.seed,
                                 &arguments.normalisation, &diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = measure(session, driver, &arguments, &subject, wall, times, &diagnostic);
    }
    if (status == SYSTOLE_OK && arguments.output_dir != NULL) {
        status = write_outputs(session, &arguments, &diagnostic);
    }
    for (uint32_t i = 0; status == SYSTOLE_OK && i < subject.graph.output_count; i++) {
        size_t size;
        print_output(&subject.graph, i, systole_session_output(session, i, &size));
    }
done:
    systole_session_free(session);
    systole_driver_close(driver);
    struct systole_diagnostic unwritten;
    if (systole_capture_close(capture, &unwritten) != SYSTOLE_OK && status == SYSTOLE_OK) {
        status = SYSTOLE_BAD_FILE;
        diagnostic = unwritten;
    }
    free(times);
    free(wall);
    cli_subject_close(&subject);
    return status == SYSTOLE_OK ? 0 : cli_error(status, &diagnostic);
}

const struct cli_command cli_run = {
    .name = "run",
    .summary = "a model or a program on the CPU or a device",
    .usage = "MODEL.tflite|PROGRAM.systole [options]",
    .help = "Runs once (or --repeat times) and prints outputs and, on a device, the cycles of each operator; with "
            "--repeat on\n"
            "the CPU the time of each.\n",
    .options = CLI_DEVICE_OR_CPU | CLI_TARGET | CLI_INPUT | CLI_MEAN | CLI_SCALE | CLI_SEED | CLI_OUTPUT_DIR |
               CLI_ALL_TENSORS | CLI_REPEAT | CLI_REPORT | CLI_TRACE | CLI_HTML | CLI_SHOW_OPERATIONS | CLI_FAULTS |
               CLI_RECORD | CLI_KERNELS | CLI_THREADS | CLI_SHARED,
    .minimum = 1,
    .maximum = 1,
    .run = run,
};
