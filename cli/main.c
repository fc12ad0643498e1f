// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The `systole` command: one subcommand a file, wired together here.
#include "cli.h"

#include <stdio.h>
#include <string.h>

#include "systole.h"

static const struct cli_command *const commands[] = {
    &cli_compile, &cli_run,       &cli_verify, &cli_inspect, &cli_disassemble, &cli_targets,  &cli_devices, &cli_serve,
    &cli_replay,  &cli_operators, &cli_sweep,  &cli_zoo,     &cli_quantize,    &cli_selftest, &cli_debug,
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static void print_help(void) {
    printf("systole: compiles full-integer TensorFlow Lite models for a systolic accelerator and runs them on it.\n\n"
           "usage: systole COMMAND [ARGUMENTS]\n\n");
    for (size_t i = 0; i < COMMANDS; i++) {
        printf("  %-12s %s\n", commands[i]->name, commands[i]->summary);
    }
    printf(
        "\n`systole COMMAND --help` tells more; `systole --version` the version.\n"
        "Exit status: 0 success; 1 a comparison failed; 2 bad usage, bad input or unsupported; 3 the device failed.\n");
}

int main(int argc, char **argv) {
    if (argc < 2) {
        print_help();
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_help();
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("systole " SYSTOLE_VERSION "\n");
        return 0;
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(argv[1], commands[i]->name) == 0) {
            int status = commands[i]->run(commands[i], argc - 1, argv + 1);
            if (fflush(stdout) != 0) {
                struct systole_diagnostic diagnostic;
                systole_fail(&diagnostic, SYSTOLE_BAD_FILE, "stdout", "is the disk full?", "results cannot be written");
                return cli_error(SYSTOLE_BAD_FILE, &diagnostic);
            }
            return status;
        }
    }
    struct systole_diagnostic diagnostic;
    systole_fail(&diagnostic, SYSTOLE_BAD_ARGUMENT, argv[1], "`systole --help` lists them", "unknown command");
    return cli_error(SYSTOLE_BAD_ARGUMENT, &diagnostic);
}
