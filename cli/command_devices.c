// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Lists what libusb sees, in either personality.
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>

static void print_device(uint32_t index, const struct systole_usb_listing *device) {
    bool application = device->product == SYSTOLE_USB_APPLICATION_PRODUCT_ID;
    printf("usb:%u  %s  %04x:%04x  %s", index, device->name, SYSTOLE_USB_VENDOR_ID, device->product,
           application ? "application" : "boot (waits for firmware)");
    if (device->speed_mbits != 0) {
        printf("  %u Mbit/s", device->speed_mbits);
    }
    if (device->trouble[0] != '\0') {
        printf("  cannot be opened: %s\n", device->trouble);
        return;
    }
    if (device->serial[0] != '\0') {
        printf("  serial %s", device->serial);
    }
    if (application) {
        printf("  target id %08x", device->target_id);
    }
    printf("%s\n", device->in_use ? "  in use" : "");
}

static int run(const struct cli_command *command, int argc, char **argv) {
    struct cli_arguments arguments;
    int exit_status;
    if (!cli_parse(command, argc, argv, &arguments, &exit_status)) {
        return exit_status;
    }
    struct systole_diagnostic diagnostic = {.what = ""};
    struct systole_usb_listing *devices = NULL;
    uint32_t count = 0;
    enum systole_status status = systole_libusb_list(&devices, &count, &diagnostic);
    if (status != SYSTOLE_OK) {
        return cli_error(status, &diagnostic);
    }
    for (uint32_t i = 0; i < count; i++) {
        print_device(i, &devices[i]);
    }
    if (count == 0) {
        printf("no device on USB; `--device model` and `--device rtl` need none\n");
    }
    free(devices);
    return 0;
}

const struct cli_command cli_devices = {
    .name = "devices",
    .summary = "the devices on USB",
    .usage = "",
    .help =
        "Lists every Systole device that libusb sees, as boot or as application personality, also those that other\n"
        "programs use. What stands in the first two columns is a name for --device, and so is usb:serial:SERIAL.\n",
    .options = 0,
    .minimum = 0,
    .maximum = 0,
    .run = run,
};
