// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "cli.h"

#include <string.h>

#include "target.h"

static int run(const struct cli_command *command, int argc, char **argv) {
    struct cli_arguments arguments;
    int exit_status;
    if (!cli_parse(command, argc, argv, &arguments, &exit_status)) {
        return exit_status;
    }
    if (strcmp(arguments.positional[0], "fuse") != 0) {
        return cli_usage_error(command, "unknown way '%s'", arguments.positional[0]);
    }
    if (arguments.rest == NULL || arguments.rest[0] == NULL) {
        return cli_usage_error(command, "a command to run with the device is missing behind --");
    }
    struct systole_diagnostic diagnostic = {.what = ""};
    struct systole_target target;
    struct systole_usb_device *device = NULL;
    enum systole_status status =
        systole_target_find(arguments.target != NULL ? arguments.target : "systole16", &target, &diagnostic);
    if (status == SYSTOLE_OK) {
        struct wiring_options wiring = {.faults = arguments.faults};
        status = wiring_create_device(arguments.device, &target, &wiring, &device, &diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = systole_serve_fuse(device, arguments.rest, &exit_status, &diagnostic);
        systole_usb_device_free(device);
    }
    return status == SYSTOLE_OK ? exit_status : cli_error(status, &diagnostic);
}

const struct cli_command cli_serve = {
    .name = "serve",
    .summary = "put a simulated device on a USB bus that other programs see",
    .usage = "fuse [--device model|rtl] [--target NAME|FILE] [--faults FILE] -- COMMAND [ARGUMENTS]",
    .help =
        "fuse: runs COMMAND with the device on its USB bus, in a namespace of its own; an unmodified libusb finds it\n"
        "there. Exits with COMMAND's status. Needs /dev/fuse and root or user namespaces.\n",
    .options = CLI_DEVICE | CLI_TARGET | CLI_FAULTS,
    .minimum = 1,
    .maximum = 1,
    .run = run,
};
