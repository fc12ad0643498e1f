// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What the files of `systole debug` share. debugger.c reads commands and lets the device go on, debugger_show.c shows
// registers, memory and units, debugger_tensors.c tensors in the compiler's names.
#ifndef SYSTOLE_DEBUGGER_H
#define SYSTOLE_DEBUGGER_H

#include <stdio.h>

#include "cli.h"
#include "driver.h"
#include "session.h"

#define DEBUGGER_WORDS 16u // of a command line

struct debugger_breakpoint {
    bool is_used, on_operator;
    uint32_t segment, index; // command of the segment, or operator of the model
};

struct debugger {
    const struct systole_program *program;
    const struct systole_graph *graph;
    struct systole_driver *driver;
    struct systole_session *session;
    struct systole_session *reference; // on the CPU, all its tensors kept; NULL: the program has no constants
    bool reference_is_fresh;
    struct debugger_breakpoint breakpoints[SYSTOLE_BREAKPOINT_COUNT];
    // The run that is held, has failed, or is over (then the last one); segment NULL: none yet.
    const struct systole_segment *segment;
    uint32_t segment_index;
    struct systole_region_window windows[SYSTOLE_REGIONS];
    uint32_t token;
    bool is_running;     // between its doorbell and its end
    bool has_failed;     // and is going to be reset
    bool is_interrupted; // the user wants it to be held
    uint32_t held;       // the command before which it is still
    uint64_t retired[SYSTOLE_UNITS];
    // How it goes on.
    uint64_t steps;     // commands that are still to pass one by one
    bool step_operator; // until the operator changes
    int32_t last_operator;
    bool quits;      // nothing holds any more
    bool has_errors; // a command failed: the exit status says so
};

enum debugger_next {
    DEBUGGER_READ,   // another command
    DEBUGGER_RUN,    // an inference
    DEBUGGER_RESUME, // the run that is held, or has failed, goes on
    DEBUGGER_QUIT,
};

// debugger.c
enum debugger_next debugger_execute(struct debugger *d, char *line);
// What the driver calls (systole_driver_options).
void debugger_hooks(struct debugger *d, struct systole_debugger *hooks);
// The user wants the run to be held as soon as it can be.
void debugger_hold(struct debugger *d);

// command_debug.c
// Reads and executes commands until one of them is more than READ; the end of all commands is QUIT.
enum debugger_next debugger_read_commands(struct debugger *d);
void debugger_source(struct debugger *d, const char *path);
bool debugger_compare_outputs(struct debugger *d);

// debugger_show.c
bool debugger_show_registers(struct debugger *d, const char *name);
bool debugger_set_register(struct debugger *d, const char *name, const char *value);
bool debugger_show_memory(struct debugger *d, const char *place, const char *count);
bool debugger_show_units(struct debugger *d);
bool debugger_list(struct debugger *d, const char *first, const char *count);
void debugger_print_command(const struct debugger *d, uint32_t index, const char *mark);
// How many commands of each unit have retired, into d->retired.
bool debugger_look(struct debugger *d);
// An error of a command: printed, remembered; false, so that a command can return it.
void debugger_tell(struct debugger *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define debugger_complain(...) (debugger_tell(__VA_ARGS__), false)
bool debugger_number(const char *text, uint64_t limit, uint64_t *value);

// debugger_tensors.c
bool debugger_show_tensors(struct debugger *d);
bool debugger_print_tensor(struct debugger *d, const char *name);
bool debugger_dump_tensor(struct debugger *d, const char *name, const char *path);
bool debugger_prepare_reference(struct debugger *d); // d->reference has run with the same inputs
bool debugger_compare_tensor(struct debugger *d, const char *name);
// What one command wrote (NULL: the last before the held one), where it wrote it.
bool debugger_compare_box(struct debugger *d, const char *command);
// Which operator a breakpoint means: an index, or the name of the tensor that it makes. False: none, complained.
bool debugger_find_operator(struct debugger *d, const char *name, uint32_t *index);
bool debugger_has_retired(const struct debugger *d, uint32_t command);

#endif
