// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Wires a device, a transport and the driver together by the name a user gave.
#include "cli.h"

#include <stdlib.h>
#include <string.h>

static enum systole_status create_accelerator(const char *name, const struct systole_target *target,
                                              struct systole_accelerator **accelerator,
                                              struct systole_diagnostic *diagnostic) {
    if (strcmp(name, "model") == 0) {
        return systole_functional_model_create(target, 0, accelerator, diagnostic);
    }
    if (strcmp(name, "rtl") == 0) {
        return systole_rtl_create(target, accelerator, diagnostic);
    }
    return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, name, "one of cpu, model, rtl, usb, usb:N", "unknown device");
}

enum systole_status cli_usb_device_open(const char *name, const struct systole_target *target,
                                        struct systole_usb_device **device, struct systole_diagnostic *diagnostic) {
    struct systole_accelerator *accelerator = NULL;
    enum systole_status status = create_accelerator(name, target, &accelerator, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    *device = systole_usb_device_create(accelerator, target);
    return *device != NULL ? SYSTOLE_OK
                           : systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, name, "", "no memory for the device");
}

static enum systole_status open_transport(const char *name, const struct systole_target *target,
                                          struct systole_transport **transport, struct systole_diagnostic *diagnostic) {
    if (strcmp(name, "usb") == 0) {
        return systole_libusb_open(0, transport, diagnostic);
    }
    if (strncmp(name, "usb:", 4) == 0) {
        char *end;
        unsigned long index = strtoul(name + 4, &end, 10);
        if (end == name + 4 || *end != '\0' || index > 255) {
            return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, name, "usb:N with N from 0 to 255", "unknown device");
        }
        return systole_libusb_open((uint32_t)index, transport, diagnostic);
    }
    struct systole_usb_device *device = NULL;
    enum systole_status status = cli_usb_device_open(name, target, &device, diagnostic);
    return status == SYSTOLE_OK ? systole_in_process_open(device, name, transport, diagnostic) : status;
}

enum systole_status cli_driver_open(const char *name, const struct systole_target *target, bool trace,
                                    struct systole_driver **driver, struct systole_diagnostic *diagnostic) {
    uint8_t *firmware = NULL;
    size_t size = 0;
    struct systole_transport *transport = NULL;
    enum systole_status status = systole_firmware_build(target, &firmware, &size);
    if (status != SYSTOLE_OK) {
        return systole_fail(diagnostic, status, name, "", "no memory for the firmware");
    }
    status = open_transport(name, target, &transport, diagnostic);
    if (status == SYSTOLE_OK) {
        struct systole_driver_options options = {.trace_retirements = trace};
        status = systole_driver_open(transport, target, firmware, size, &options, driver, diagnostic);
    }
    free(firmware);
    return status;
}
