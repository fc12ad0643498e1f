// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "cli.h"

#include <string.h>

#include "target.h"

enum way { FUSE, USBREDIR, USBIP, WAYS };
static const char *const way_names[WAYS] = {[FUSE] = "fuse", [USBREDIR] = "usbredir", [USBIP] = "usbip"};

static enum systole_status serve(enum way way, struct systole_usb_device *const *devices,
                                 const struct cli_arguments *arguments, int *exit_status,
                                 struct systole_diagnostic *diagnostic) {
    struct systole_listen_address address = {arguments->listen, arguments->socket};
    *exit_status = 0;
    switch (way) {
    case USBREDIR:
        return systole_serve_usbredir(devices, arguments->devices, &address, diagnostic);
    case USBIP:
        return systole_serve_usbip(devices, arguments->devices, &address, diagnostic);
    default:
        return systole_serve_fuse(devices, arguments->devices, arguments->rest, exit_status, diagnostic);
    }
}

static int run(const struct cli_command *command, int argc, char **argv) {
    struct cli_arguments arguments;
    int exit_status;
    enum way way = FUSE;
    if (!cli_parse(command, argc, argv, &arguments, &exit_status)) {
        return exit_status;
    }
    while (way < WAYS && strcmp(arguments.positional[0], way_names[way]) != 0) {
        way++;
    }
    if (way == WAYS) {
        return cli_usage_error(command, "unknown way '%s'", arguments.positional[0]);
    }
    if (way == FUSE && (arguments.rest == NULL || arguments.rest[0] == NULL)) {
        return cli_usage_error(command, "a command to run with the device is missing behind --");
    }
    if (way == FUSE ? arguments.listen != NULL || arguments.socket != NULL : arguments.rest != NULL) {
        return cli_usage_error(command, way == FUSE ? "fuse does not listen: leave --listen and --socket out"
                                                    : "only fuse runs a command; peers connect to this one");
    }
    if (arguments.listen != NULL && arguments.socket != NULL) {
        return cli_usage_error(command, "--listen and --socket exclude each other");
    }
    struct systole_diagnostic diagnostic = {.what = ""};
    struct systole_target target;
    struct systole_usb_device *devices[CLI_MAX_DEVICES] = {NULL};
    enum systole_status status =
        systole_target_find(arguments.target != NULL ? arguments.target : "systole16", &target, &diagnostic);
    for (uint32_t i = 0; i < arguments.devices && status == SYSTOLE_OK; i++) {
        struct wiring_options wiring = {.faults = arguments.faults};
        status = wiring_create_device(arguments.device, &target, &wiring, &devices[i], &diagnostic);
        if (status == SYSTOLE_OK) {
            systole_usb_device_number(devices[i], i + 1);
        }
    }
    if (status == SYSTOLE_OK) {
        status = serve(way, devices, &arguments, &exit_status, &diagnostic);
    }
    for (uint32_t i = 0; i < arguments.devices; i++) {
        systole_usb_device_free(devices[i]);
    }
    return status == SYSTOLE_OK ? exit_status : cli_error(status, &diagnostic);
}

const struct cli_command cli_serve = {
    .name = "serve",
    .summary = "put simulated devices on a USB bus that other programs see",
    .usage = "fuse|usbredir|usbip [options] [-- COMMAND [ARGUMENTS]]",
    .help = "fuse -- COMMAND: runs COMMAND with the device on its USB bus, in a namespace of its own; an unmodified "
            "libusb finds it\n"
            "there. Exits with COMMAND's status. Needs /dev/fuse and root or user namespaces.\n"
            "usbredir: for QEMU (-device usb-redir); each connection is given a device that is free. Port 4000.\n"
            "usbip: for any Linux machine: `usbip attach -r HOST -b 1-1`, the second device 1-2 ... Port 3240.\n"
            "Both say `listening on ADDRESS` and end with SIGINT or SIGTERM. Whoever can connect has the device.\n",
    .options = CLI_SIMULATED | CLI_TARGET | CLI_FAULTS | CLI_LISTEN | CLI_SOCKET | CLI_DEVICES,
    .minimum = 1,
    .maximum = 1,
    .run = run,
};
