// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A recorded session as a test of a device.
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>

#include "replay.h"
#include "target.h"

static int run(const struct cli_command *command, int argc, char **argv) {
    struct cli_arguments arguments;
    int exit_status;
    if (!cli_parse(command, argc, argv, &arguments, &exit_status)) {
        return exit_status;
    }
    const char *path = arguments.positional[0];
    struct systole_diagnostic diagnostic = {.what = ""};
    struct systole_target target;
    struct systole_transport *transport = NULL;
    struct systole_replayed replayed = {.records = 0};
    uint8_t *bytes = NULL, *firmware = NULL;
    size_t size = 0, firmware_size = 0;
    struct wiring_options wiring = {.faults = arguments.faults};
    enum systole_status status = systole_read_file(path, &bytes, &size, &diagnostic);
    if (status == SYSTOLE_OK) {
        status = systole_target_find(arguments.target != NULL ? arguments.target : "systole16", &target, &diagnostic);
    }
    if (status == SYSTOLE_OK && systole_firmware_build(&target, &firmware, &firmware_size) != SYSTOLE_OK) {
        status = systole_fail(&diagnostic, SYSTOLE_OUT_OF_MEMORY, path, "", "no memory for the firmware");
    }
    if (status == SYSTOLE_OK) {
        status = wiring_open_transport(arguments.device, &target, &wiring, &transport, &diagnostic);
    }
    if (status == SYSTOLE_OK) {
        struct systole_replay_options options = {.firmware = firmware, .firmware_size = firmware_size};
        status = systole_replay(bytes, size, path, transport, &options, &replayed, &diagnostic);
        transport->functions->close(transport);
    }
    if (status == SYSTOLE_OK || status == SYSTOLE_MISMATCH) {
        printf("%s: %s: %llu control requests and %llu transfers, %llu bytes out and %llu in are as recorded; %llu "
               "reads of "
               "clocks not compared\n",
               arguments.device, path, (unsigned long long)replayed.controls, (unsigned long long)replayed.transfers,
               (unsigned long long)replayed.bytes_out, (unsigned long long)replayed.bytes_in,
               (unsigned long long)replayed.clocks);
    }
    if (status == SYSTOLE_OK && replayed.others != 0) {
        printf("%llu records of other devices were left out\n", (unsigned long long)replayed.others);
    }
    free(firmware);
    free(bytes);
    return status == SYSTOLE_OK ? 0 : cli_error(status, &diagnostic);
}

const struct cli_command cli_replay = {
    .name = "replay",
    .summary = "a recorded session against a device, byte for byte",
    .usage = "RECORDING.pcap [options]",
    .help =
        "Sends what `systole run --record` recorded to a device and compares all that comes back. Exit 1 at the first\n"
        "difference, which is named with its record. Registers that tell the time (status, cycle, run_cycles) are "
        "read\n"
        "and not compared. --faults must be those of the recording, and what the RTL did replays with --device rtl.\n",
    .options = CLI_DEVICE | CLI_TARGET | CLI_FAULTS,
    .minimum = 1,
    .maximum = 1,
    .run = run,
};
