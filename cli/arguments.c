// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// One table of options serves every subcommand; each names the ones it takes.
#include "cli.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANY_DEVICE "model, rtl, usb, usb:N, usb:BUS-PORT or usb:serial:TEXT; default model"

static const struct {
    uint64_t option;
    const char *name;
    int letter; // 0: none
    const char *argument, *help;
} table[] = {
    {CLI_OUTPUT, "output", 'o', "FILE", "where the result goes (default: beside the input)"},
    {CLI_TARGET, "target", 0, "NAME|FILE", "preset (`systole targets`) or description file; default systole16"},
    {CLI_DEVICE_OR_CPU, "device", 0, "DEVICE", "cpu, " ANY_DEVICE},
    {CLI_DEVICE, "device", 0, "DEVICE", ANY_DEVICE},
    {CLI_SIMULATED, "device", 0, "DEVICE", "model or rtl; default model"},
    {CLI_INPUT, "input", 0, "FILE",
     "raw tensor, .npy, PNG, JPEG or BMP (docs/formats.md), once for each input in order"},
    {CLI_MEAN, "mean", 0, "M[,M,M]", "a picture's pixel stands for (pixel - M) * S; default 0"},
    {CLI_SCALE, "scale", 0, "S[,S,S]",
     "a number or a fraction; default 1/255. Without --mean and --scale 8-bit inputs take 0..255 as their whole range"},
    {CLI_SEED, "seed", 0, "N", "reproducible random inputs; default 1"},
    {CLI_OUTPUT_DIR, "output-dir", 0, "DIR", "receives output0.bin, output1.bin ..."},
    {CLI_ALL_TENSORS, "all-tensors", 0, NULL, "also tensorINDEX.bin of every tensor (--device cpu)"},
    {CLI_REPEAT, "repeat", 0, "N", "run N times; the report has median, minimum and maximum"},
    {CLI_KERNELS, "kernels", 0, "NAME",
     "of the CPU: reference, c, avx2, avx512, neon, neon-dot or fastest, which environment SYSTOLE_KERNELS may name"},
    {CLI_THREADS, "threads", 0, "N", "of the CPU's fast kernels; default 1"},
    {CLI_REPORT, "report", 0, "FILE.json", "what was measured, as JSON"},
    {CLI_TRACE, "trace", 0, "FILE.json", "every command on its unit's track; Perfetto opens it (--device not cpu)"},
    {CLI_HTML, "html", 0, "FILE.html", "a page that explains the cycles (--device not cpu)"},
    {CLI_SHOW_OPERATIONS, "show-operations", 's', NULL, "print what runs where, and why"},
    {CLI_GOLDEN, "golden", 0, "CASE_DIR", "inputN.bin, outputN.bin and layers.tsv to hold CPU and device against"},
    {CLI_LABELS, "labels", 0, "FILE", "a class a line: count right answers over the samples of --input instead"},
    {CLI_LABELS, "against", 0, "MODEL.tflite", "with --labels: another model, on the CPU, and how often both agree"},
    {CLI_LABELS, "within", 0, "POINTS", "with --against: exit 1 if right more than POINTS percent less often than it"},
    {CLI_LABELS, "samples", 0, "N", "with --labels: only the first N"},
    {CLI_FAULTS, "faults", 0, "FILE", "make the simulated device misbehave by a script (docs/faults.md)"},
    {CLI_DUMP_WAVES, "dump-waves", 0, "FILE.fst",
     "waves of the command that wrote the first difference (--device rtl)"},
    {CLI_WAVES_COMMAND, "waves-command", 0, "[S:]N", "of command N of segment S (0) instead, different or not"},
    {CLI_SHARED, "shared", 0, NULL, "take turns with other programs that share the device (--device usb)"},
    {CLI_RECORD, "record", 0, "FILE", "USB traffic as pcap, for tshark and `systole replay` (--device not cpu)"},
    {CLI_SLURM, "slurm", 0, "FILE", "write a job array for Slurm instead of measuring"},
    {CLI_POINT, "point", 0, "N", "measure only that point, counted from 0"},
    {CLI_DUMP, "dump-passes", 0, "FILE", "what each pass of the compiler made"},
    {CLI_LISTEN, "listen", 0, "HOST:PORT",
     "where peers connect; default 127.0.0.1 and the protocol's own port; port 0: any"},
    {CLI_SOCKET, "socket", 0, "PATH", "listen on a Unix socket instead"},
    {CLI_DEVICES, "devices", 0, "N", "so many devices, with serial numbers of their own; default 1"},
    {CLI_MEMORY, "memory", 0, "BYTES", "of the scratchpad to march over; default all, of a simulated RTL 65536"},
    {CLI_EXECUTE, "execute", 'c', "COMMAND", "run that command; may be given again"},
    {CLI_FLOAT, "float", 0, NULL, "float32 instead of int8"},
    {CLI_QUANTIZE, "mode", 0, "MODE", "full-integer, dynamic-range or float16; without it only a recommendation"},
    {CLI_QUANTIZE, "representative", 0, "FILE|DIR",
     ".npy (sets first), .npz (an array an input) or a folder of pictures; may be given again for more"},
    {CLI_QUANTIZE, "calibration", 0, "RULE", "min-max (default), moving-average, percentile or mse"},
    {CLI_QUANTIZE, "io", 0, "TYPE", "of inputs and outputs: float32 (default), int8 or uint8; full-integer only"},
    {CLI_QUANTIZE, "input-scale", 0, "S,Z",
     "scale and zero point of int8 inputs, instead of those calibrated; full-integer only"},
    {CLI_QUANTIZE, "strict", 0, NULL, "refuse operators that would stay float32; full-integer only"},
    {CLI_QUANTIZE, "fc-per-channel", 0, NULL, "FULLY_CONNECTED weights with a scale for each output"},
    {CLI_QUANTIZE, "equalize", 0, NULL, "even out the ranges of channels between layers first"},
    {CLI_QUANTIZE, "bias-correction", 0, NULL, "biases take back the mean error of rounded weights; full-integer only"},
    {CLI_QUANTIZE, "hardware", 0, "KIND", "accelerator, microcontroller, cpu or gpu: what the recommendation is for"},
};
#define OPTIONS (sizeof table / sizeof table[0])

static void print_usage(const struct cli_command *command) {
    printf("usage: systole %s %s\n\n%s\n", command->name, command->usage, command->help);
    for (size_t i = 0; i < OPTIONS; i++) {
        if (command->options & table[i].option) {
            char left[64];
            (void)snprintf(left, sizeof left, "%s--%s%s%s",
                           table[i].letter == 'o'   ? "-o, "
                           : table[i].letter == 'c' ? "-c, "
                           : table[i].letter        ? "-s, "
                                                    : "",
                           table[i].name, table[i].argument ? " " : "", table[i].argument ? table[i].argument : "");
            printf("  %-26s %s\n", left, table[i].help);
        }
    }
}

int cli_error(enum systole_status status, const struct systole_diagnostic *diagnostic) {
    fflush(stdout);
    fprintf(stderr, "systole: error: %s", diagnostic->what);
    if (diagnostic->where[0] != '\0') {
        fprintf(stderr, " (%s)", diagnostic->where);
    }
    if (diagnostic->hint[0] != '\0') {
        fprintf(stderr, ": %s", diagnostic->hint);
    }
    fprintf(stderr, "\n");
    return systole_exit_code(status);
}

int cli_usage_error(const struct cli_command *command, const char *format, ...) {
    struct systole_diagnostic diagnostic = {.hint = ""};
    va_list list;
    va_start(list, format);
    (void)vsnprintf(diagnostic.what, sizeof diagnostic.what, format, list);
    va_end(list);
    (void)snprintf(diagnostic.where, sizeof diagnostic.where, "systole %s", command->name);
    (void)snprintf(diagnostic.hint, sizeof diagnostic.hint, "see `systole %s --help`", command->name);
    return cli_error(SYSTOLE_BAD_ARGUMENT, &diagnostic);
}

static bool parse_number(const char *text, uint32_t minimum, uint32_t *value) {
    char *end;
    errno = 0;
    unsigned long parsed = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || parsed < minimum || parsed > UINT32_MAX) {
        return false;
    }
    *value = (uint32_t)parsed;
    return true;
}

// N or SEGMENT:N, both as `systole disassemble` counts them.
static bool parse_command_name(const char *text, uint32_t *segment, uint32_t *number) {
    char first[16] = "0";
    const char *colon = strchr(text, ':');
    if (colon != NULL && (size_t)(colon - text) < sizeof first) {
        memcpy(first, text, (size_t)(colon - text));
        first[colon - text] = '\0';
    }
    return (colon == NULL || (size_t)(colon - text) < sizeof first) && parse_number(first, 0, segment) &&
           parse_number(colon == NULL ? text : colon + 1, 0, number);
}

// Numbers or fractions such as 1/127.5, divided by commas.
static bool parse_channels(const char *text, double *values, uint32_t *count) {
    for (*count = 0; *count < CLI_MAX_CHANNELS; text++) {
        char *end;
        double value = strtod(text, &end), divisor = 1;
        if (end == text) {
            return false;
        }
        if (*end == '/') {
            text = end + 1;
            divisor = strtod(text, &end);
        }
        if (end == text || divisor == 0 || !isfinite(value / divisor)) {
            return false;
        }
        values[(*count)++] = value / divisor;
        if (*end != ',') {
            return *end == '\0';
        }
        text = end;
    }
    return false;
}

static bool parse_labels(const struct cli_command *command, const char *name, const char *value,
                         struct cli_arguments *arguments) {
    if (strcmp(name, "labels") == 0) {
        arguments->labels = value;
    } else if (strcmp(name, "against") == 0) {
        arguments->against = value;
    } else if (strcmp(name, "samples") == 0) {
        if (!parse_number(value, 1, &arguments->samples)) {
            (void)cli_usage_error(command, "--samples wants a number from 1 on, not '%s'", value);
            return false;
        }
    } else {
        char *end;
        arguments->within = strtod(value, &end);
        arguments->within_given = true;
        if (end == value || *end != '\0' || !(arguments->within >= 0 && arguments->within <= 100)) {
            (void)cli_usage_error(command, "--within wants points from 0 to 100, not '%s'", value);
            return false;
        }
    }
    return true;
}

static bool parse_quantize(const struct cli_command *command, const char *name, const char *value,
                           struct cli_quantize_arguments *arguments) {
    const struct {
        const char *name, **value;
    } texts[] = {{"mode", &arguments->mode},
                 {"calibration", &arguments->calibration},
                 {"io", &arguments->io},
                 {"hardware", &arguments->hardware}};
    const struct {
        const char *name;
        bool *value;
    } flags[] = {{"strict", &arguments->strict},
                 {"fc-per-channel", &arguments->fc_per_channel},
                 {"equalize", &arguments->equalize},
                 {"bias-correction", &arguments->bias_correction}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (strcmp(name, texts[i].name) == 0) {
            *texts[i].value = value;
            return true;
        }
    }
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (strcmp(name, flags[i].name) == 0) {
            *flags[i].value = true;
            return true;
        }
    }
    if (strcmp(name, "input-scale") == 0) {
        bool good = parse_channels(value, arguments->input_scale, &arguments->input_scale_count) &&
                    arguments->input_scale_count == 2 && arguments->input_scale[0] > 0 &&
                    arguments->input_scale[1] == trunc(arguments->input_scale[1]) &&
                    fabs(arguments->input_scale[1]) <= 128;
        if (!good) {
            (void)cli_usage_error(command, "--input-scale wants a scale and a zero point (1/16,0), not '%s'", value);
        }
        return good;
    }
    if (arguments->representative_count == CLI_MAX_INPUTS) {
        (void)cli_usage_error(command, "more than %d files of representative data", CLI_MAX_INPUTS);
        return false;
    }
    arguments->representative[arguments->representative_count++] = value;
    return true;
}

bool cli_parse(const struct cli_command *command, int argc, char **argv, struct cli_arguments *arguments,
               int *exit_status) {
    struct option options[OPTIONS + 2];
    char letters[2 * OPTIONS + 4] = ":h";
    size_t count = 0;
    for (size_t i = 0; i < OPTIONS; i++) {
        if (command->options & table[i].option) {
            options[count++] =
                (struct option){table[i].name, table[i].argument ? required_argument : no_argument, NULL, 256 + (int)i};
            if (table[i].letter != 0) {
                size_t n = strlen(letters);
                letters[n] = (char)table[i].letter;
                letters[n + 1] = table[i].argument ? ':' : '\0';
                letters[n + 2] = '\0';
            }
        }
    }
    options[count++] = (struct option){"help", no_argument, NULL, 'h'};
    options[count] = (struct option){NULL, 0, NULL, 0};
    *arguments = (struct cli_arguments){.device = "model", .seed = 1, .repeat = 1, .devices = 1, .threads = 1};
    *exit_status = 2;
    // What stands behind `--` belongs to another program and is not reordered.
    int mine = argc;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            mine = i;
            arguments->rest = argv + i + 1;
            break;
        }
    }
    optind = 0; // glibc: start afresh
    opterr = 0;
    int chosen;
    while ((chosen = getopt_long(mine, argv, letters, options, NULL)) != -1) {
        if (chosen == 'h') {
            print_usage(command);
            *exit_status = 0;
            return false;
        }
        if (chosen == '?' || chosen == ':') {
            (void)cli_usage_error(command, chosen == '?' ? "unknown option %s" : "option %s needs an argument",
                                  argv[optind - 1]);
            return false;
        }
        uint64_t option = CLI_OUTPUT;
        const char *name = "";
        for (size_t i = 0; i < OPTIONS; i++) {
            if (chosen == 256 + (int)i || chosen == table[i].letter) {
                option = table[i].option;
                name = table[i].name;
            }
        }
        switch (option) {
        case CLI_OUTPUT:
            arguments->output = optarg;
            break;
        case CLI_TARGET:
            arguments->target = optarg;
            break;
        case CLI_DEVICE_OR_CPU:
        case CLI_DEVICE:
        case CLI_SIMULATED:
            arguments->device = optarg;
            break;
        case CLI_INPUT:
            if (arguments->input_count == CLI_MAX_INPUTS) {
                (void)cli_usage_error(command, "more than %d inputs", CLI_MAX_INPUTS);
                return false;
            }
            arguments->inputs[arguments->input_count++] = optarg;
            break;
        case CLI_MEAN:
            if (!parse_channels(optarg, arguments->normalisation.mean, &arguments->normalisation.mean_count)) {
                (void)cli_usage_error(command, "--mean wants a number, or one for each channel (1,2,3), not '%s'",
                                      optarg);
                return false;
            }
            break;
        case CLI_SCALE:
            if (!parse_channels(optarg, arguments->normalisation.scale, &arguments->normalisation.scale_count)) {
                (void)cli_usage_error(command,
                                      "--scale wants a number or a fraction (1/255), or one for each channel, "
                                      "not '%s'",
                                      optarg);
                return false;
            }
            break;
        case CLI_SEED:
            arguments->seed_given = true;
            if (!parse_number(optarg, 0, &arguments->seed)) {
                (void)cli_usage_error(command, "--seed wants a number from 0 to 4294967295, not '%s'", optarg);
                return false;
            }
            break;
        case CLI_OUTPUT_DIR:
            arguments->output_dir = optarg;
            break;
        case CLI_ALL_TENSORS:
            arguments->all_tensors = true;
            break;
        case CLI_REPEAT:
            if (!parse_number(optarg, 1, &arguments->repeat) || arguments->repeat > 1000000) {
                (void)cli_usage_error(command, "--repeat wants a number from 1 to 1000000, not '%s'", optarg);
                return false;
            }
            break;
        case CLI_KERNELS:
            arguments->kernels = optarg;
            break;
        case CLI_THREADS:
            if (!parse_number(optarg, 1, &arguments->threads) || arguments->threads > SYSTOLE_LARGEST_THREADS) {
                (void)cli_usage_error(command, "--threads wants a number from 1 to %d, not '%s'",
                                      SYSTOLE_LARGEST_THREADS, optarg);
                return false;
            }
            break;
        case CLI_REPORT:
            arguments->report = optarg;
            break;
        case CLI_SHOW_OPERATIONS:
            arguments->show_operations = true;
            break;
        case CLI_GOLDEN:
            arguments->golden = optarg;
            break;
        case CLI_FAULTS:
            arguments->faults = optarg;
            break;
        case CLI_TRACE:
            arguments->trace = optarg;
            break;
        case CLI_HTML:
            arguments->html = optarg;
            break;
        case CLI_DUMP_WAVES:
            arguments->waves = optarg;
            break;
        case CLI_WAVES_COMMAND:
            arguments->waves_command_given = true;
            if (!parse_command_name(optarg, &arguments->waves_segment, &arguments->waves_command)) {
                (void)cli_usage_error(command, "--waves-command wants N or SEGMENT:N, not '%s'", optarg);
                return false;
            }
            break;
        case CLI_SHARED:
            arguments->shared = true;
            break;
        case CLI_RECORD:
            arguments->record = optarg;
            break;
        case CLI_SLURM:
            arguments->slurm = optarg;
            break;
        case CLI_POINT:
            arguments->point_given = true;
            if (!parse_number(optarg, 0, &arguments->point)) {
                (void)cli_usage_error(command, "--point wants a number, not '%s'", optarg);
                return false;
            }
            break;
        case CLI_DUMP:
            arguments->dump = optarg;
            break;
        case CLI_LISTEN:
            arguments->listen = optarg;
            break;
        case CLI_SOCKET:
            arguments->socket = optarg;
            break;
        case CLI_DEVICES:
            if (!parse_number(optarg, 1, &arguments->devices) || arguments->devices > CLI_MAX_DEVICES) {
                (void)cli_usage_error(command, "--devices wants a number from 1 to %d, not '%s'", CLI_MAX_DEVICES,
                                      optarg);
                return false;
            }
            break;
        case CLI_MEMORY:
            if (!parse_number(optarg, 1, &arguments->memory)) {
                (void)cli_usage_error(command, "--memory wants a number of bytes, not '%s'", optarg);
                return false;
            }
            break;
        case CLI_EXECUTE:
            if (arguments->execute_count == CLI_MAX_INPUTS) {
                (void)cli_usage_error(command, "more than %d commands; give a file", CLI_MAX_INPUTS);
                return false;
            }
            arguments->executes[arguments->execute_count++] = optarg;
            break;
        case CLI_FLOAT:
            arguments->is_float = true;
            break;
        case CLI_LABELS:
            if (!parse_labels(command, name, optarg, arguments)) {
                return false;
            }
            break;
        case CLI_QUANTIZE:
            if (!parse_quantize(command, name, optarg, &arguments->quantize)) {
                return false;
            }
            break;
        }
    }
    arguments->positional_count = mine - optind;
    if (arguments->positional_count < command->minimum || arguments->positional_count > command->maximum) {
        (void)cli_usage_error(command, arguments->positional_count < command->minimum ? "an argument is missing"
                                                                                      : "too many arguments");
        return false;
    }
    for (int i = 0; i < arguments->positional_count; i++) {
        arguments->positional[i] = argv[optind + i];
    }
    if (arguments->input_count != 0 && (arguments->seed_given || arguments->golden != NULL)) {
        (void)cli_usage_error(command, "--input, --seed and --golden exclude each other");
        return false;
    }
    return true;
}
