// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Debugs a model on a device: in this process or over USB, by the debug registers alone. Commands come from a
// file, then from -c, without either from standard input, in the form that users of gdb know.
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "debugger.h"
#include "wiring.h"

#define SOURCES 8
#define LINE 512

static volatile sig_atomic_t interrupted;

// Where commands come from, the innermost last.
static struct {
    const char *const *commands;
    uint32_t command_count, next;
    FILE *files[SOURCES];
    uint32_t file_count;
    bool reads_stdin;
} source;

static bool next_line(char *line, size_t size) {
    while (source.file_count != 0) {
        if (fgets(line, (int)size, source.files[source.file_count - 1]) != NULL) {
            return true;
        }
        (void)fclose(source.files[--source.file_count]);
    }
    if (source.next < source.command_count) {
        (void)snprintf(line, size, "%s", source.commands[source.next++]);
        return true;
    }
    if (source.reads_stdin && isatty(STDIN_FILENO)) {
        printf("(systole) ");
        (void)fflush(stdout);
    }
    return source.reads_stdin && fgets(line, (int)size, stdin) != NULL;
}

enum debugger_next debugger_read_commands(struct debugger *d) {
    char line[LINE];
    enum debugger_next next = DEBUGGER_READ;
    while (next == DEBUGGER_READ) {
        bool shown = source.file_count == 0 && source.next == source.command_count && isatty(STDIN_FILENO);
        if (!next_line(line, sizeof line)) {
            (void)snprintf(line, sizeof line, "quit");
        } else if (!shown && line[strspn(line, " \t\r\n")] != '\0' && line[strspn(line, " \t")] != '#') {
            printf("(systole) %.*s\n", (int)strcspn(line, "\r\n"), line); // so that a log can be read
        }
        interrupted = 0;
        next = debugger_execute(d, line);
        (void)fflush(stdout);
    }
    return next;
}

void debugger_source(struct debugger *d, const char *path) {
    if (source.file_count == SOURCES) {
        debugger_tell(d, "%s: too many files within files", path);
        return;
    }
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        debugger_tell(d, "%s cannot be read: %s", path, strerror(errno));
        return;
    }
    source.files[source.file_count++] = file;
}

bool debugger_compare_outputs(struct debugger *d) {
    bool equal = true;
    if (d->is_running || d->segment == NULL) {
        return debugger_complain(d, "the outputs are there when the inference has ended");
    }
    if (!debugger_prepare_reference(d)) {
        return false;
    }
    for (uint32_t i = 0; i < d->graph->output_count && equal; i++) {
        size_t size, expected_size;
        const uint8_t *found = systole_session_output(d->session, i, &size);
        const uint8_t *expected = systole_session_output(d->reference, i, &expected_size);
        equal = size == expected_size && memcmp(found, expected, size) == 0;
    }
    if (!equal) {
        return debugger_complain(d, "the outputs differ from the CPU's");
    }
    printf("%u outputs equal to the CPU's\n", d->graph->output_count);
    return true;
}

// One inference. The hooks of the driver read commands meanwhile.
static void run_inference(struct debugger *d) {
    struct systole_diagnostic diagnostic = {.what = ""};
    d->has_failed = false;
    systole_session_begin(d->session);
    enum systole_session_stage stage;
    while ((stage = systole_session_stage(d->session)) != SYSTOLE_SESSION_ENDED) {
        if (stage == SYSTOLE_SESSION_AT_CPU) {
            d->is_running = false;
            systole_session_advance(d->session);
        } else {
            (void)systole_driver_poll(d->driver, 10);
        }
        if (interrupted != 0) {
            debugger_hold(d);
        }
    }
    d->is_running = d->has_failed = d->is_interrupted = d->step_operator = false;
    d->steps = 0;
    enum systole_status status = systole_session_end(d->session, &diagnostic);
    if (d->segment != NULL) {
        (void)debugger_look(d);
    }
    if (status != SYSTOLE_OK) {
        debugger_tell(d, "the inference has failed: %s", diagnostic.what);
        return;
    }
    const struct systole_session_cycles *cycles = systole_session_cycles(d->session);
    printf("the inference has ended after %llu cycles\n", cycles != NULL ? (unsigned long long)cycles->total : 0);
}

static void interrupt(int signal_number) {
    (void)signal_number;
    interrupted = 1;
}

static enum systole_status open_all(struct debugger *d, const struct cli_arguments *arguments,
                                    const struct cli_subject *subject, const struct systole_debugger *hooks,
                                    struct systole_diagnostic *diagnostic) {
    struct wiring_options wiring = {.driver = {.debugger = hooks}, .faults = arguments->faults};
    enum systole_status status =
        wiring_open_driver(arguments->device, &subject->program.target, &wiring, &d->driver, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct systole_session_options options = {.driver = d->driver};
    status = systole_session_create(NULL, &subject->program, &options, &d->session, diagnostic);
    if (status == SYSTOLE_OK && subject->is_model) {
        struct systole_session_options on_cpu = {.keep_tensors = true};
        status = systole_session_create(&subject->graph, NULL, &on_cpu, &d->reference, diagnostic);
    }
    return status == SYSTOLE_OK ? cli_fill_inputs(d->session, arguments->inputs, arguments->input_count,
                                                  arguments->seed, &arguments->normalisation, diagnostic)
                                : status;
}

static int run(const struct cli_command *command, int argc, char **argv) {
    struct cli_arguments arguments;
    int exit_status;
    if (!cli_parse(command, argc, argv, &arguments, &exit_status)) {
        return exit_status;
    }
    struct systole_diagnostic diagnostic = {.what = ""};
    struct cli_subject subject;
    struct systole_debugger hooks;
    enum systole_status status =
        cli_subject_open(arguments.positional[0], arguments.target, true, NULL, &subject, &diagnostic);
    if (status != SYSTOLE_OK) {
        return cli_error(status, &diagnostic);
    }
    struct debugger d = {.program = &subject.program, .graph = &subject.graph};
    source.commands = arguments.executes;
    source.command_count = arguments.execute_count;
    source.reads_stdin = arguments.execute_count == 0 && arguments.positional_count < 2;
    debugger_hooks(&d, &hooks);
    status = open_all(&d, &arguments, &subject, &hooks, &diagnostic);
    if (status == SYSTOLE_OK) {
        struct sigaction action = {.sa_handler = interrupt, .sa_flags = SA_RESTART};
        (void)sigemptyset(&action.sa_mask);
        (void)sigaction(SIGINT, &action, NULL);
        for (int i = arguments.positional_count; i-- > 1;) {
            debugger_source(&d, arguments.positional[i]);
        }
        while (!d.quits && debugger_read_commands(&d) == DEBUGGER_RUN) {
            run_inference(&d);
        }
        if (d.has_errors) {
            status = systole_fail(&diagnostic, SYSTOLE_MISMATCH, arguments.positional[0], "the log above says which",
                                  "a command of the debugger has failed");
        }
    }
    while (source.file_count != 0) {
        (void)fclose(source.files[--source.file_count]);
    }
    systole_session_free(d.reference);
    systole_session_free(d.session);
    systole_driver_close(d.driver);
    cli_subject_close(&subject);
    return status == SYSTOLE_OK ? 0 : cli_error(status, &diagnostic);
}

const struct cli_command cli_debug = {
    .name = "debug",
    .summary = "runs a model command by command: breakpoints, registers, memory, tensors",
    .usage = "MODEL [SCRIPT] [--device model|rtl|usb[:N]] [-c COMMAND]...",
    .help = "Holds the device before commands or operators by its debug registers and shows what is there, in the\n"
            "compiler's names. Commands come from SCRIPT, then from -c, or from standard input; `help` lists them.\n"
            "Exit status 1 when one of them failed. docs/bring-up.md has a session.\n",
    .options = CLI_TARGET | CLI_DEVICE | CLI_INPUT | CLI_MEAN | CLI_SCALE | CLI_SEED | CLI_FAULTS | CLI_EXECUTE,
    .minimum = 1,
    .maximum = 2,
    .run = run,
};
