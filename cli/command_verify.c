// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Holds a device against the CPU runtime, tensor by tensor, and both against golden results where there are some.
#include "accuracy.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Fills the session's inputs from the case's inputN.bin.
static enum systole_status golden_inputs(struct systole_session *session, const char *folder,
                                         struct systole_diagnostic *diagnostic) {
    const struct systole_graph *graph = systole_session_graph(session);
    const struct cli_normalisation as_they_are = {.mean_count = 0};
    const char *paths[CLI_MAX_INPUTS] = {NULL};
    char *owned[CLI_MAX_INPUTS] = {NULL};
    if (graph->input_count > CLI_MAX_INPUTS) {
        return systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, folder, "", "more than %d inputs", CLI_MAX_INPUTS);
    }
    enum systole_status status = SYSTOLE_OK;
    for (uint32_t i = 0; i < graph->input_count && status == SYSTOLE_OK; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "input%u.bin", i);
        paths[i] = owned[i] = cli_join(folder, name);
        if (owned[i] == NULL) {
            status = systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, folder, "", "no memory");
        }
    }
    if (status == SYSTOLE_OK) {
        status = cli_fill_inputs(session, paths, graph->input_count, 0, &as_they_are, diagnostic);
    }
    for (uint32_t i = 0; i < CLI_MAX_INPUTS; i++) {
        free(owned[i]);
    }
    return status;
}

static enum systole_status fill(struct systole_session *session, const struct cli_arguments *arguments,
                                struct systole_diagnostic *diagnostic) {
    return arguments->golden != NULL ? golden_inputs(session, arguments->golden, diagnostic)
                                     : cli_fill_inputs(session, arguments->inputs, arguments->input_count,
                                                       arguments->seed, &arguments->normalisation, diagnostic);
}

// Integers must be equal; a float may be off by 1e-5 of the tensor's largest magnitude. Returns the first element that
// differs, or SIZE_MAX.
static size_t first_difference(const struct systole_tensor *tensor, const uint8_t *expected, const uint8_t *found,
                               size_t size) {
    if (tensor->dtype != SYSTOLE_FLOAT32) {
        size_t element = systole_dtype_size(tensor->dtype);
        for (size_t i = 0; i < size; i++) {
            if (expected[i] != found[i]) {
                return i / (element == 0 ? 1 : element);
            }
        }
        return SIZE_MAX;
    }
    float largest = 0, a, b;
    for (size_t i = 0; i + sizeof a <= size; i += sizeof a) {
        memcpy(&a, expected + i, sizeof a);
        largest = fabsf(a) > largest ? fabsf(a) : largest;
    }
    for (size_t i = 0; i + sizeof a <= size; i += sizeof a) {
        memcpy(&a, expected + i, sizeof a);
        memcpy(&b, found + i, sizeof b);
        if (!(fabsf(a - b) <= 1e-5f * largest)) {
            return i / sizeof a;
        }
    }
    return SIZE_MAX;
}

// ": expected A, found B" of one element.
static const char *both_values(const struct systole_tensor *tensor, const uint8_t *expected, const uint8_t *found,
                               size_t element, char text[96]) {
    (void)snprintf(text, 96, "expected %.9g, found %.9g", cli_stored_number(tensor, expected, element),
                   cli_stored_number(tensor, found, element));
    return text;
}

// Hybrid kernels quantise activations as they come, each implementation in its own way: there is no result to be equal
// to, and 30 dB of signal to noise is asked for.
static const double hybrid_ratio_db = 30.0;

static double signal_to_noise_db(const uint8_t *expected, const uint8_t *found, size_t size) {
    double signal = 0, noise = 0;
    float a, b;
    for (size_t i = 0; i + sizeof a <= size; i += sizeof a) {
        memcpy(&a, expected + i, sizeof a);
        memcpy(&b, found + i, sizeof b);
        signal += (double)a * (double)a;
        noise += ((double)a - (double)b) * ((double)a - (double)b);
    }
    return noise > 0 ? 10.0 * log10(signal / noise) : noise == 0 ? (double)INFINITY : (double)NAN;
}

static enum systole_status compare_golden(const struct systole_graph *graph, uint32_t output, const char *who,
                                          const char *path, const uint8_t *golden, const uint8_t *found, size_t size,
                                          struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *tensor = &graph->tensors[graph->outputs[output]];
    if (tensor->dtype == SYSTOLE_FLOAT32 && systole_graph_is_hybrid(graph)) {
        double ratio = signal_to_noise_db(golden, found, size);
        return ratio >= hybrid_ratio_db
                   ? SYSTOLE_OK
                   : systole_fail(diagnostic, SYSTOLE_MISMATCH, path, "",
                                  "output %u (%s) of the %s agrees with the golden to %.1f dB, not to %.0f", output,
                                  tensor->name, who, ratio, hybrid_ratio_db);
    }
    char values[96];
    size_t element = first_difference(tensor, golden, found, size);
    return element == SIZE_MAX
               ? SYSTOLE_OK
               : systole_fail(diagnostic, SYSTOLE_MISMATCH, path, "",
                              "output %u (%.40s) of the %s differs from the golden at element %zu: %s", output,
                              tensor->name, who, element, both_values(tensor, golden, found, element, values));
}

static enum systole_status golden_outputs(struct systole_session *session, const char *who, const char *folder,
                                          struct systole_diagnostic *diagnostic) {
    const struct systole_graph *graph = systole_session_graph(session);
    for (uint32_t i = 0; i < graph->output_count; i++) {
        char name[32];
        size_t size, length;
        uint8_t *golden;
        const uint8_t *found = systole_session_output(session, i, &size);
        (void)snprintf(name, sizeof name, "output%u.bin", i);
        char *path = cli_join(folder, name);
        if (path == NULL) {
            return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, folder, "", "no memory");
        }
        enum systole_status status = systole_read_file(path, &golden, &length, diagnostic);
        if (status == SYSTOLE_OK && length != size) {
            status = systole_fail(diagnostic, SYSTOLE_BAD_FILE, path, "is it the case of this model?",
                                  "has %zu bytes, the output %zu", length, size);
        }
        if (status == SYSTOLE_OK) {
            status = compare_golden(graph, i, who, path, golden, found, size, diagnostic);
        }
        free(golden);
        free(path);
        if (status != SYSTOLE_OK) {
            return status;
        }
    }
    return SYSTOLE_OK;
}

// Each line of layers.tsv: operator, name, tensor, bytes, FNV-1a. Only integer tensors are held against it.
static enum systole_status golden_layers(struct systole_session *session, const char *folder, uint32_t *compared,
                                         struct systole_diagnostic *diagnostic) {
    const struct systole_graph *graph = systole_session_graph(session);
    char *path = cli_join(folder, "layers.tsv");
    FILE *file = path != NULL ? fopen(path, "r") : NULL;
    enum systole_status status = SYSTOLE_OK;
    char line[512];
    *compared = 0;
    while (file != NULL && status == SYSTOLE_OK && fgets(line, sizeof line, file) != NULL) {
        uint32_t operator_index;
        int32_t tensor;
        char name[64];
        size_t bytes, size = 0;
        uint64_t hash;
        if (line[0] == '#' || sscanf(line, "%" SCNu32 "\t%63[^\t]\t%" SCNd32 "\t%zu\t%" SCNx64, &operator_index, name,
                                     &tensor, &bytes, &hash) != 5) {
            continue;
        }
        if (operator_index >= graph->operator_count || tensor < 0 || (uint32_t)tensor >= graph->tensor_count) {
            status = systole_fail(diagnostic, SYSTOLE_BAD_FILE, path, "is it the case of this model?",
                                  "operator %u or tensor %d does not exist", operator_index, tensor);
            break;
        }
        if (graph->tensors[tensor].dtype == SYSTOLE_FLOAT32) {
            continue;
        }
        const uint8_t *found = systole_session_tensor(session, tensor, &size);
        if (found == NULL || size != bytes || cli_fnv1a(found, size) != hash) {
            status = systole_fail(diagnostic, SYSTOLE_MISMATCH, path, "",
                                  "the CPU differs from the golden first at operator %u (%s), tensor %d (%s)",
                                  operator_index, name, tensor, graph->tensors[tensor].name);
        }
        (*compared)++;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    free(path);
    return status;
}

static enum systole_status verify_cpu(const struct cli_subject *subject, const struct cli_arguments *arguments,
                                      struct systole_session **session, struct systole_diagnostic *diagnostic) {
    struct systole_session_options options = {.driver = NULL, .keep_tensors = true, .threads = arguments->threads};
    enum systole_status status = cli_kernels(arguments, SYSTOLE_KERNELS_REFERENCE, &options.kernels, diagnostic);
    if (status == SYSTOLE_OK) {
        status = systole_session_create(&subject->graph, NULL, &options, session, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = fill(*session, arguments, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = systole_session_invoke(*session, diagnostic);
    }
    if (status == SYSTOLE_OK && arguments->golden != NULL) {
        uint32_t layers;
        status = golden_layers(*session, arguments->golden, &layers, diagnostic);
        if (status == SYSTOLE_OK) {
            status = golden_outputs(*session, "CPU", arguments->golden, diagnostic);
        }
        if (status == SYSTOLE_OK) {
            printf("cpu: %u layers and %u outputs %s the golden\n", layers, subject->graph.output_count,
                   systole_graph_is_hybrid(&subject->graph) ? "within 30 dB of" : "equal to");
        }
    }
    return status;
}

static void print_findings(struct systole_session *session, const char *device) {
    uint32_t count, equal = 0, different = 0, absent = 0;
    const struct systole_finding *findings = systole_session_findings(session, &count);
    for (uint32_t i = 0; i < count; i++) {
        equal += findings[i].kind == SYSTOLE_FINDING_EQUAL;
        different += findings[i].kind == SYSTOLE_FINDING_DIFFERENT;
        absent += findings[i].kind == SYSTOLE_FINDING_NOT_ON_DEVICE;
    }
    printf("%s: %u tensors equal to the CPU's, %u different, %u not on the device\n", device, equal, different, absent);
    const struct systole_graph *graph = systole_session_graph(session);
    for (uint32_t i = 0; i < count; i++) {
        const struct systole_finding *f = &findings[i];
        const char *name = f->tensor >= 0 ? graph->tensors[f->tensor].name : "?";
        const char *code = systole_operator_name(graph->operators[f->operator_index].code);
        if (f->kind == SYSTOLE_FINDING_NOT_ON_DEVICE) {
            printf("  not on the device: tensor %d (%s) of operator %d\n", f->tensor, name, f->operator_index);
        } else if (f->kind == SYSTOLE_FINDING_DIFFERENT && f->segment < 0) {
            printf("  different: operator %d (%s), tensor %d (%s): only %llu elements were written\n",
                   f->operator_index, code, f->tensor, name, (unsigned long long)f->element);
        } else if (f->kind == SYSTOLE_FINDING_DIFFERENT) {
            printf("  different: operator %d (%s), tensor %d (%s), element %llu: expected %d, found %d; segment %d",
                   f->operator_index, code, f->tensor, name, (unsigned long long)f->element, f->expected, f->found,
                   f->segment);
            if (f->has_command) {
                printf(", command %u, cycle %llu", f->command, (unsigned long long)f->cycle);
            }
            printf("\n");
        }
    }
}

// The session, run once with everything compared; SYSTOLE_MISMATCH leaves it usable, any other failure too (may be
// NULL).
static enum systole_status run_compared(const struct cli_subject *subject, const struct cli_arguments *arguments,
                                        struct systole_driver *driver, struct systole_session **session,
                                        struct systole_diagnostic *diagnostic) {
    struct systole_session_options options = {.driver = driver, .verify = true};
    enum systole_status status =
        systole_session_create(&subject->graph, &subject->program, &options, session, diagnostic);
    if (status == SYSTOLE_OK) {
        status = fill(*session, arguments, diagnostic);
    }
    return status == SYSTOLE_OK ? systole_session_invoke(*session, diagnostic) : status;
}

// ---- Waves of one command: the whole is run again, as it was, on the model that can write them; it writes this
// window.

enum { WAVES_MARGIN = 16 }; // cycles on both sides

static const struct systole_traced *find_traced(const struct systole_session *session, uint32_t segment,
                                                uint32_t command) {
    const struct systole_session_cycles *cycles = systole_session_cycles(session);
    for (uint32_t i = 0; i < cycles->trace_count; i++) {
        if (cycles->trace[i].segment == segment && cycles->trace[i].command == command) {
            return &cycles->trace[i];
        }
    }
    return NULL;
}

// The command that was asked for, or that of the first difference. NULL with SYSTOLE_OK: nothing differs.
static enum systole_status choose_command(struct systole_session *session, const struct cli_arguments *arguments,
                                          const struct systole_traced **chosen, struct systole_diagnostic *diagnostic) {
    uint32_t count, segment = arguments->waves_segment, command = arguments->waves_command;
    *chosen = NULL;
    if (!arguments->waves_command_given) {
        const struct systole_finding *findings = systole_session_findings(session, &count);
        uint32_t i = 0;
        while (i < count && !(findings[i].kind == SYSTOLE_FINDING_DIFFERENT && findings[i].has_command)) {
            i++;
        }
        if (i == count) {
            return SYSTOLE_OK;
        }
        segment = (uint32_t)findings[i].segment;
        command = findings[i].command;
    }
    *chosen = find_traced(session, segment, command);
    return *chosen != NULL ? SYSTOLE_OK
                           : systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, "--waves-command",
                                          "`systole disassemble` lists the commands",
                                          "no command %u of segment %u has retired", command, segment);
}

// Without the model that writes waves nothing is begun.
static enum systole_status can_write_waves(const struct cli_subject *subject, struct systole_diagnostic *diagnostic) {
    const struct systole_waves never = {.path = "", .first = 1, .last = 0};
    struct systole_accelerator *accelerator = NULL;
    enum systole_status status = systole_rtl_create_traced(&subject->program.target, &never, &accelerator, diagnostic);
    if (status == SYSTOLE_OK) {
        accelerator->functions->destroy(accelerator);
    }
    return status;
}

static enum systole_status write_waves(const struct cli_subject *subject, const struct cli_arguments *arguments,
                                       const struct systole_traced *traced, const char *partial,
                                       struct systole_diagnostic *diagnostic) {
    struct systole_driver *driver = NULL;
    struct systole_session *session = NULL;
    uint64_t first = traced->start - traced->launched, last = traced->end - traced->launched;
    const struct systole_waves waves = {.path = partial,
                                        .token = traced->token,
                                        .first = first > WAVES_MARGIN ? first - WAVES_MARGIN : 0,
                                        .last = last + WAVES_MARGIN};
    const struct wiring_options wiring = {
        .driver = {.trace_retirements = true}, .faults = arguments->faults, .waves = &waves};
    enum systole_status status =
        wiring_open_driver(arguments->device, &subject->program.target, &wiring, &driver, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    status = run_compared(subject, arguments, driver, &session, diagnostic);
    const struct systole_traced *again =
        session != NULL ? find_traced(session, traced->segment, traced->command) : NULL;
    bool same = again != NULL && again->token == traced->token && again->start - again->launched == first &&
                again->end - again->launched == last;
    if (status == SYSTOLE_MISMATCH) {
        status = SYSTOLE_OK; // as before
    }
    if (status == SYSTOLE_OK && !same) {
        status = systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, arguments->waves, "try again without timing faults",
                              "command %u of segment %u was not at cycles %llu to %llu when all was run again",
                              traced->command, traced->segment, (unsigned long long)first, (unsigned long long)last);
    }
    systole_session_free(session);
    systole_driver_close(driver); // ends the file
    if (status == SYSTOLE_OK && rename(partial, arguments->waves) != 0) {
        status = systole_fail(diagnostic, SYSTOLE_BAD_FILE, arguments->waves, "check the folder and the disk",
                              "the waves could not be written");
    }
    if (status == SYSTOLE_OK) {
        printf("%s: command %u of segment %u, cycles %llu to %llu and %d on either side; 10 ns a cycle\n",
               arguments->waves, traced->command, traced->segment, (unsigned long long)first, (unsigned long long)last,
               WAVES_MARGIN);
    }
    return status;
}

static enum systole_status dump_waves(struct systole_session *session, const struct cli_subject *subject,
                                      const struct cli_arguments *arguments, struct systole_diagnostic *diagnostic) {
    const struct systole_traced *traced;
    enum systole_status status = choose_command(session, arguments, &traced, diagnostic);
    if (status != SYSTOLE_OK || traced == NULL) {
        if (status == SYSTOLE_OK) {
            printf("no waves: nothing differs, and no --waves-command was given\n");
        }
        return status;
    }
    size_t size = strlen(arguments->waves) + 16;
    char *partial = malloc(size);
    if (partial == NULL) {
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, arguments->waves, "", "no memory");
    }
    (void)snprintf(partial, size, "%s.partial", arguments->waves);
    status = write_waves(subject, arguments, traced, partial, diagnostic);
    (void)remove(partial);
    free(partial);
    return status;
}

static enum systole_status compare_outputs(const struct cli_subject *subject, struct systole_session *reference,
                                           struct systole_session *session, struct systole_diagnostic *diagnostic) {
    for (uint32_t i = 0; i < subject->graph.output_count; i++) {
        size_t size, length;
        const uint8_t *expected = systole_session_output(reference, i, &size);
        const uint8_t *found = systole_session_output(session, i, &length);
        const struct systole_tensor *tensor = &subject->graph.tensors[subject->graph.outputs[i]];
        size_t element = size == length ? first_difference(tensor, expected, found, size) : 0;
        if (element != SIZE_MAX) {
            char values[96] = "the sizes differ";
            return systole_fail(diagnostic, SYSTOLE_MISMATCH, subject->graph.name, "",
                                "output %u (%.40s) differs from the CPU's at element %zu: %s", i, tensor->name, element,
                                size == length ? both_values(tensor, expected, found, element, values) : values);
        }
    }
    return SYSTOLE_OK;
}

static enum systole_status verify_device(const struct cli_subject *subject, const struct cli_arguments *arguments,
                                         struct systole_session *reference, struct systole_diagnostic *diagnostic) {
    struct systole_driver *driver = NULL;
    struct systole_session *session = NULL;
    enum systole_status status = arguments->waves != NULL ? can_write_waves(subject, diagnostic) : SYSTOLE_OK;
    if (status == SYSTOLE_OK) {
        const struct wiring_options wiring = {.driver = {.trace_retirements = true}, .faults = arguments->faults};
        status = wiring_open_driver(arguments->device, &subject->program.target, &wiring, &driver, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    status = run_compared(subject, arguments, driver, &session, diagnostic);
    bool has_run = status == SYSTOLE_OK || status == SYSTOLE_MISMATCH;
    if (has_run) {
        print_findings(session, arguments->device);
    }
    if (status == SYSTOLE_OK && arguments->golden != NULL) {
        status = golden_outputs(session, arguments->device, arguments->golden, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = compare_outputs(subject, reference, session, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        printf("%s: %u outputs equal%s; %llu cycles\n", arguments->device, subject->graph.output_count,
               arguments->golden != NULL ? " to the golden and the CPU's" : " to the CPU's",
               (unsigned long long)systole_session_cycles(session)->total);
    }
    if (has_run && arguments->waves != NULL) {
        struct systole_diagnostic failure = {.what = ""};
        enum systole_status dumped = dump_waves(session, subject, arguments, &failure);
        if (dumped != SYSTOLE_OK) {
            status = dumped;
            *diagnostic = failure;
        }
    }
    systole_session_free(session);
    systole_driver_close(driver);
    return status;
}

static int run(const struct cli_command *command, int argc, char **argv) {
    struct cli_arguments arguments;
    int exit_status;
    if (!cli_parse(command, argc, argv, &arguments, &exit_status)) {
        return exit_status;
    }
    if (arguments.golden != NULL &&
        (arguments.seed_given || arguments.normalisation.mean_count != 0 || arguments.normalisation.scale_count != 0)) {
        return cli_usage_error(command, "--golden brings its inputs: no --seed, --mean or --scale");
    }
    if (arguments.waves_command_given && arguments.waves == NULL) {
        return cli_usage_error(command, "--waves-command needs --dump-waves");
    }
    if (arguments.waves != NULL && strcmp(arguments.device, "rtl") != 0) {
        return cli_usage_error(command, "--dump-waves needs --device rtl");
    }
    bool cpu = strcmp(arguments.device, "cpu") == 0;
    if (cpu && arguments.faults != NULL) {
        return cli_usage_error(command, "--faults needs a device, not the CPU");
    }
    struct systole_diagnostic diagnostic = {.what = ""};
    struct cli_subject subject;
    struct systole_session *reference = NULL;
    if (arguments.labels != NULL) {
        if (arguments.golden != NULL || arguments.waves != NULL || arguments.seed_given) {
            return cli_usage_error(command, "--labels excludes --golden, --seed and --dump-waves");
        }
        if (arguments.input_count == 0) {
            return cli_usage_error(command, "--labels needs the samples: --input FILE");
        }
        if (arguments.within_given && arguments.against == NULL) {
            return cli_usage_error(command, "--within needs --against");
        }
        enum systole_status counted = cli_verify_accuracy(&arguments, &diagnostic);
        return counted == SYSTOLE_OK ? 0 : cli_error(counted, &diagnostic);
    }
    if (arguments.against != NULL || arguments.within_given || arguments.samples != 0 || arguments.report != NULL) {
        return cli_usage_error(command, "--against, --within, --samples and --report go with --labels");
    }
    enum systole_status status =
        cli_subject_open(arguments.positional[0], arguments.target, !cpu, NULL, &subject, &diagnostic);
    if (status != SYSTOLE_OK) {
        return cli_error(status, &diagnostic);
    }
    if (!subject.is_model) {
        status = systole_fail(&diagnostic, SYSTOLE_BAD_FILE, arguments.positional[0], "give the .tflite",
                              "verify compares with the CPU, which needs the model's constants");
    }
    if (status == SYSTOLE_OK) {
        status = verify_cpu(&subject, &arguments, &reference, &diagnostic);
    }
    if (status == SYSTOLE_OK && !cpu) {
        status = verify_device(&subject, &arguments, reference, &diagnostic);
    }
    if (status == SYSTOLE_OK && cpu && arguments.golden == NULL) {
        printf("cpu: ran; give --golden to compare it with something\n");
    }
    systole_session_free(reference);
    cli_subject_close(&subject);
    return status == SYSTOLE_OK ? 0 : cli_error(status, &diagnostic);
}

const struct cli_command cli_verify = {
    .name = "verify",
    .summary = "hold a device against the CPU, and both against golden results",
    .usage = "MODEL.tflite [options]",
    .help =
        "Runs the program that `systole run` runs. In process every tensor that exists on the device is compared at\n"
        "the moment its commands retire; over USB the outputs are. Exit 1 when anything differs: each tensor that "
        "does\n"
        "is named with operator, element, both values, command and cycle. --dump-waves shows that command at work; it\n"
        "needs `make rtl-trace TARGET=FILE`.\n"
        "Equal means to the bit, in floats within 1e-5 of the output's largest magnitude. A model with dynamic range\n"
        "operators (float activations, int8 weights) must agree with its golden to 30 dB of signal to noise.\n"
        "The CPU's side computes with the reference kernels; --kernels holds others against the same.\n"
        "With --labels the samples of --input (.npy with samples first, .npz, or a folder of pictures; real values "
        "where\n"
        "they are float) are classified: how often the right class is the best, and among the best five.\n",
    .options = CLI_DEVICE_OR_CPU | CLI_TARGET | CLI_INPUT | CLI_MEAN | CLI_SCALE | CLI_SEED | CLI_GOLDEN | CLI_FAULTS |
               CLI_KERNELS | CLI_THREADS | CLI_DUMP_WAVES | CLI_WAVES_COMMAND | CLI_LABELS | CLI_REPORT,
    .minimum = 1,
    .maximum = 1,
    .run = run,
};
