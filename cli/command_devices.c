// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Lists what libusb sees, in either personality.
#include "cli.h"

#include <stdio.h>

#define MAXIMUM_DEVICES 128
#define CONTROL_MS 1000

static void print_device(uint32_t index, struct systole_transport *transport) {
    uint8_t descriptor[18] = {0};
    size_t actual = 0;
    enum systole_status status = transport->functions->control(transport, 0x80, 6, 0x0100, 0, descriptor,
                                                               sizeof descriptor, CONTROL_MS, &actual);
    if (status != SYSTOLE_OK || actual != sizeof descriptor) {
        printf("usb:%u  %s  does not answer: %s\n", index, transport->name, systole_status_name(status));
        return;
    }
    unsigned vendor = descriptor[8] | (unsigned)descriptor[9] << 8;
    unsigned product = descriptor[10] | (unsigned)descriptor[11] << 8;
    bool application = product == SYSTOLE_USB_APPLICATION_PRODUCT_ID;
    printf("usb:%u  %s  %04x:%04x  %s", index, transport->name, vendor, product,
           application ? "application" : "boot (waits for firmware)");
    uint8_t value[8] = {0};
    if (application &&
        transport->functions->control(transport, 0xc0, SYSTOLE_USB_REQUEST_READ_REGISTER, SYSTOLE_REGISTER_TARGET_ID, 0,
                                      value, sizeof value, CONTROL_MS, &actual) == SYSTOLE_OK &&
        actual == sizeof value) {
        printf("  target id %02x%02x%02x%02x", value[3], value[2], value[1], value[0]);
    }
    printf("\n");
}

static int run(const struct cli_command *command, int argc, char **argv) {
    struct cli_arguments arguments;
    int exit_status;
    if (!cli_parse(command, argc, argv, &arguments, &exit_status)) {
        return exit_status;
    }
    struct systole_diagnostic diagnostic = {.what = ""};
    for (uint32_t i = 0; i < MAXIMUM_DEVICES; i++) {
        struct systole_transport *transport = NULL;
        enum systole_status status = systole_libusb_open(i, &transport, &diagnostic);
        if (status == SYSTOLE_NO_DEVICE) {
            if (i == 0) {
                printf("no device on USB; `--device model` and `--device rtl` need none\n");
            }
            return 0;
        }
        if (status != SYSTOLE_OK) {
            return cli_error(status, &diagnostic);
        }
        print_device(i, transport);
        transport->functions->close(transport);
    }
    return 0;
}

const struct cli_command cli_devices = {
    .name = "devices",
    .summary = "the devices on USB",
    .usage = "",
    .help = "Lists every Systole device that libusb sees, as boot or as application personality.\n",
    .options = 0,
    .minimum = 0,
    .maximum = 0,
    .run = run,
};
