// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What the subcommands share: arguments, files, models and programs, devices, inputs, reports.
#ifndef SYSTOLE_CLI_H
#define SYSTOLE_CLI_H

#include "device.h"
#include "driver.h"
#include "graph.h"
#include "program/program.h"
#include "read_file.h"
#include "session.h"
#include "wiring.h"

// ---- Subcommands: each returns the process's exit status.
struct cli_command {
    const char *name;
    const char *summary;  // one line of `systole --help`
    const char *usage;    // after the name
    const char *help;     // what `--help` prints below the usage
    uint64_t options;     // bits CLI_...
    int minimum, maximum; // positional arguments
    int (*run)(const struct cli_command *command, int argc, char **argv);
};
extern const struct cli_command cli_compile, cli_run, cli_verify, cli_inspect, cli_disassemble, cli_targets,
    cli_devices, cli_serve, cli_replay, cli_operators, cli_sweep, cli_zoo, cli_quantize, cli_selftest, cli_debug;

// ---- Arguments
// One bit an option of arguments.c's table.
#define CLI_OUTPUT (UINT64_C(1) << 0)
#define CLI_TARGET (UINT64_C(1) << 1)
#define CLI_DEVICE (UINT64_C(1) << 2) // --device, or one of CLI_DEVICE_OR_CPU and CLI_SIMULATED
#define CLI_INPUT (UINT64_C(1) << 3)
#define CLI_SEED (UINT64_C(1) << 4)
#define CLI_OUTPUT_DIR (UINT64_C(1) << 5)
#define CLI_ALL_TENSORS (UINT64_C(1) << 6)
#define CLI_REPEAT (UINT64_C(1) << 7)
#define CLI_REPORT (UINT64_C(1) << 8)
#define CLI_SHOW_OPERATIONS (UINT64_C(1) << 9)
#define CLI_GOLDEN (UINT64_C(1) << 10)
#define CLI_DUMP (UINT64_C(1) << 11)
#define CLI_FLOAT (UINT64_C(1) << 12)
#define CLI_FAULTS (UINT64_C(1) << 13)
#define CLI_TRACE (UINT64_C(1) << 14)
#define CLI_HTML (UINT64_C(1) << 15)
#define CLI_SLURM (UINT64_C(1) << 16)
#define CLI_POINT (UINT64_C(1) << 17)
#define CLI_MEAN (UINT64_C(1) << 18)
#define CLI_SCALE (UINT64_C(1) << 19)
#define CLI_DUMP_WAVES (UINT64_C(1) << 20)
#define CLI_WAVES_COMMAND (UINT64_C(1) << 21)
#define CLI_LISTEN (UINT64_C(1) << 22)
#define CLI_SOCKET (UINT64_C(1) << 23)
#define CLI_DEVICES (UINT64_C(1) << 24)
#define CLI_RECORD (UINT64_C(1) << 25)
#define CLI_KERNELS (UINT64_C(1) << 26)
#define CLI_THREADS (UINT64_C(1) << 27)
#define CLI_SHARED (UINT64_C(1) << 28)
#define CLI_MEMORY (UINT64_C(1) << 29)
#define CLI_QUANTIZE (UINT64_C(1) << 30) // those of `systole quantize`
#define CLI_LABELS (UINT64_C(1) << 31)   // those of `systole verify --labels`
#define CLI_EXECUTE (UINT64_C(1) << 32)
#define CLI_DEVICE_OR_CPU (UINT64_C(1) << 33)
#define CLI_SIMULATED (UINT64_C(1) << 34)
#define CLI_MAX_INPUTS 64
#define CLI_MAX_DEVICES 16
#define CLI_MAX_CHANNELS 8
// What a pixel means to the model: (pixel - mean) * scale, one number or one for each channel; counts 0: not given.
struct cli_normalisation {
    uint32_t mean_count, scale_count;
    double mean[CLI_MAX_CHANNELS], scale[CLI_MAX_CHANNELS];
};
struct cli_quantize_arguments {
    const char *mode, *io, *calibration, *hardware; // NULL: not given
    const char *representative[CLI_MAX_INPUTS];
    uint32_t representative_count;
    double input_scale[CLI_MAX_CHANNELS]; // scale and zero point
    uint32_t input_scale_count;
    bool strict, fc_per_channel, equalize, bias_correction;
};
struct cli_arguments {
    const char *positional[4];
    int positional_count;
    char **rest; // behind `--`; NULL: none
    const char *output, *target, *device, *output_dir, *report, *golden, *dump, *faults, *trace, *html, *slurm, *waves;
    const char *listen, *socket, *record;
    const char *inputs[CLI_MAX_INPUTS];
    uint32_t input_count;
    struct cli_normalisation normalisation;
    struct cli_quantize_arguments quantize;
    const char *kernels; // NULL: not given
    const char *labels, *against;
    double within;
    uint32_t samples; // 0: all
    bool within_given;
    uint32_t threads;
    uint32_t seed, repeat, point, devices, waves_segment, waves_command, memory;
    const char *executes[CLI_MAX_INPUTS];
    uint32_t execute_count;
    bool seed_given, point_given, waves_command_given, all_tensors, show_operations, is_float, shared;
};
// False: the process ends now with *exit_status (help was printed, or the usage was wrong and said so).
bool cli_parse(const struct cli_command *command, int argc, char **argv, struct cli_arguments *arguments,
               int *exit_status);

// Prints `systole: error: WHAT (WHERE): HINT` on stderr and returns the exit status.
int cli_error(enum systole_status status, const struct systole_diagnostic *diagnostic);
int cli_usage_error(const struct cli_command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

// ---- Files
// Writes beside the path and renames, so that no partial file is ever seen.
enum systole_status cli_write_file(const char *path, const void *bytes, size_t size,
                                   struct systole_diagnostic *diagnostic);
char *cli_join(const char *folder, const char *name); // malloc'ed "folder/name"

// ---- What is run: a model, a program, or both
struct cli_subject {
    struct systole_graph graph; // of the model, or of the graph inside the program
    struct systole_program program;
    bool is_model;    // the file was a .tflite
    bool has_program; // compiled or read
};
// Reads a .tflite (and compiles it for `target`, if `compile`) or a .systole (refused if `target` is given and is
// another). `dump`: file that receives what each pass made, or NULL.
enum systole_status cli_subject_open(const char *path, const char *target, bool compile, const char *dump,
                                     struct cli_subject *subject, struct systole_diagnostic *diagnostic);
// A .tflite compiled for a target that is no preset and no file.
enum systole_status cli_subject_compile(const char *path, const struct systole_target *target,
                                        struct cli_subject *subject, struct systole_diagnostic *diagnostic);
void cli_subject_close(struct cli_subject *subject);

// ---- Inputs
// From files (count must be that of the graph's inputs), else by the seed's rule; both in docs/formats.md.
enum systole_status cli_fill_inputs(struct systole_session *session, const char *const *files, uint32_t count,
                                    uint32_t seed, const struct cli_normalisation *normalisation,
                                    struct systole_diagnostic *diagnostic);

// ---- Results
struct cli_measurement {
    const char *model, *device;
    const char *path; // as it was given
    const struct cli_subject *subject;
    const struct systole_session *session;       // NULL: nothing ran
    const struct systole_session_cycles *cycles; // NULL: CPU
    const double *wall_seconds;                  // of each repetition
    uint32_t repeat;
    double simulated_cycles_per_second;             // 0: nothing was simulated
    const struct cli_operator_time *operator_times; // CPU: one an operator; NULL: not measured
    uint32_t threads;                               // CPU
};
struct cli_operator_time {
    double best, sum; // seconds over the repetitions
    bool is_fast;
};
// Median, smallest and largest of the repetitions; false: no memory.
bool cli_wall(const struct cli_measurement *measurement, double *median, double *least, double *most);
void cli_print_cpu(const struct cli_measurement *measurement); // repetitions, and time and GMAC/s of each operator
// --kernels, or `otherwise`, as what it stands for here.
enum systole_status cli_kernels(const struct cli_arguments *arguments, enum systole_kernel_level otherwise,
                                enum systole_kernel_level *level, struct systole_diagnostic *diagnostic);
enum systole_status cli_write_report(const char *path, const struct cli_measurement *measurement,
                                     struct systole_diagnostic *diagnostic);
struct json_t;
struct json_t *cli_json_text(const char *text); // a string; what is not UTF-8 becomes U+FFFD
enum systole_status cli_write_json(const char *path, const struct json_t *value, struct systole_diagnostic *diagnostic);
// Both need a measurement with a trace.
enum systole_status cli_write_trace(const char *path, const struct cli_measurement *measurement,
                                    struct systole_diagnostic *diagnostic);
enum systole_status cli_write_html(const char *path, const struct cli_measurement *measurement,
                                   struct systole_diagnostic *diagnostic);
void cli_print_chart(const struct cli_measurement *measurement); // cycles of each operator, with bars
void cli_print_placement(const struct systole_program *program); // operator, count, placement, reason
void cli_format_shape(const struct systole_tensor *tensor, char *text, size_t size);
bool cli_holds_scores(const struct systole_tensor *tensor); // of 8 to 32 bit integers, or float32
// Element `index` of the tensor's bytes: the number that is stored, without scale and zero point.
double cli_stored_number(const struct systole_tensor *tensor, const uint8_t *bytes, size_t index);
uint64_t cli_fnv1a(const uint8_t *bytes, size_t size);
double cli_seconds(void);                              // monotonic
int cli_compare_doubles(const void *a, const void *b); // for qsort

#endif
