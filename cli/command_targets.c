// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "cli.h"

#include <stdio.h>

#include "target.h"

static void print_target(const struct systole_target *t) {
    printf("%-12s id %08x  cores %u  array %ux%u  taps %u  scratchpad %u KiB in %u banks  accumulators %u  "
           "weight port %u rows  link %.1f bytes/cycle  clock %u MHz  multipliers %u\n",
           t->name, systole_target_id(t), t->cores, t->rows, t->columns, t->taps, t->scratchpad_bytes / 1024, t->banks,
           t->accumulators, t->weight_port_rows, (double)t->link_millibytes_per_cycle / 1000, t->clock_hz / 1000000,
           systole_target_multipliers(t));
}

static int run(const struct cli_command *command, int argc, char **argv) {
    struct cli_arguments arguments;
    int exit_status;
    if (!cli_parse(command, argc, argv, &arguments, &exit_status)) {
        return exit_status;
    }
    if (arguments.positional_count == 0) {
        for (uint32_t i = 0; i < SYSTOLE_PRESETS; i++) {
            print_target(&systole_presets[i]);
        }
        return 0;
    }
    struct systole_diagnostic diagnostic = {.what = ""};
    struct systole_target target;
    enum systole_status status = systole_target_find(arguments.positional[0], &target, &diagnostic);
    if (status != SYSTOLE_OK) {
        return cli_error(status, &diagnostic);
    }
    print_target(&target);
    return 0;
}

const struct cli_command cli_targets = {
    .name = "targets",
    .summary = "the presets, or one target, with their parameters",
    .usage = "[NAME|FILE.json]",
    .help = "Parameters are explained in docs/reference/targets.md.\n",
    .options = 0,
    .minimum = 0,
    .maximum = 1,
    .run = run,
};
