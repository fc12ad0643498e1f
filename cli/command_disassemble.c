// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "cli.h"

#include <stdio.h>

static int run(const struct cli_command *command, int argc, char **argv) {
    struct cli_arguments arguments;
    int exit_status;
    if (!cli_parse(command, argc, argv, &arguments, &exit_status)) {
        return exit_status;
    }
    struct systole_diagnostic diagnostic = {.what = ""};
    struct cli_subject subject;
    enum systole_status status = cli_subject_open(arguments.positional[0], NULL, false, NULL, &subject, &diagnostic);
    if (status == SYSTOLE_OK && !subject.has_program) {
        cli_subject_close(&subject);
        status = systole_fail(&diagnostic, SYSTOLE_BAD_FILE, arguments.positional[0], "`systole compile` it first",
                              "is a model, not a program");
    }
    if (status != SYSTOLE_OK) {
        return cli_error(status, &diagnostic);
    }
    for (uint32_t s = 0; s < subject.program.segment_count; s++) {
        const struct systole_segment *segment = &subject.program.segments[s];
        printf("segment %u target %s commands %u\n", s, subject.program.target.name, segment->command_count);
        for (uint32_t i = 0; i < segment->command_count; i++) {
            char text[4096];
            (void)systole_disassemble(&segment->commands[i], i, text, sizeof text);
            const struct systole_command_info *info = &segment->info[i];
            printf("%s", text);
            if (info->tensor_index >= 0) {
                printf("  ; operator %d tensor %d [%u:%u, %u:%u, %u:%u]", info->operator_index, info->tensor_index,
                       info->y0, info->y1, info->x0, info->x1, info->c0, info->c1);
            }
            printf("\n");
        }
    }
    cli_subject_close(&subject);
    return 0;
}

const struct cli_command cli_disassemble = {
    .name = "disassemble",
    .summary = "every command of a program by name, with its fields",
    .usage = "PROGRAM.systole",
    .help =
        "One line a command; behind the semicolon the box of the tensor that it writes (rows, columns, channels).\n",
    .options = 0,
    .minimum = 1,
    .maximum = 1,
    .run = run,
};
