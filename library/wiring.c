// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "wiring.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault_injection.h"
#include "read_file.h"
#include "recording_transport.h"

static void tell_fault(void *context, const struct systole_fault_told *told) {
    (void)context;
    (void)fprintf(stderr, "systole: fault: %s at transfer %llu of %s\n", systole_fault_name(told->kind),
                  (unsigned long long)told->transfer, systole_fault_endpoint_name(told->endpoint));
}

static enum systole_status read_faults(const char *path, struct systole_faults **faults,
                                       struct systole_diagnostic *diagnostic) {
    uint8_t *script = NULL;
    size_t size = 0;
    enum systole_status status = systole_read_file(path, &script, &size, diagnostic);
    if (status == SYSTOLE_OK) {
        status = systole_faults_parse((const char *)script, size, path, faults, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        systole_faults_observe(*faults, tell_fault, NULL);
    }
    free(script);
    return status;
}

static enum systole_status create_accelerator(const char *name, const struct systole_target *target,
                                              const struct systole_waves *waves,
                                              struct systole_accelerator **accelerator,
                                              struct systole_diagnostic *diagnostic) {
    if (strcmp(name, "model") == 0) {
        return systole_functional_model_create(target, 0, accelerator, diagnostic);
    }
    if (strcmp(name, "rtl") == 0) {
        return waves != NULL ? systole_rtl_create_traced(target, waves, accelerator, diagnostic)
                             : systole_rtl_create(target, accelerator, diagnostic);
    }
    bool known = strcmp(name, "cpu") == 0 || strcmp(name, "usb") == 0 || strncmp(name, "usb:", 4) == 0;
    return known ? systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, name, "take model or rtl",
                                "is not a device that can be used here")
                 : systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, name,
                                "one of cpu, model, rtl, usb, usb:N, usb:BUS-PORT, usb:serial:TEXT", "unknown device");
}

enum systole_status wiring_create_device(const char *name, const struct systole_target *target,
                                         const struct wiring_options *options, struct systole_usb_device **device,
                                         struct systole_diagnostic *diagnostic) {
    struct systole_accelerator *accelerator = NULL;
    struct systole_faults *script = NULL;
    enum systole_status status =
        options->faults == NULL ? SYSTOLE_OK : read_faults(options->faults, &script, diagnostic);
    status = status == SYSTOLE_OK ? create_accelerator(name, target, options->waves, &accelerator, diagnostic) : status;
    if (status == SYSTOLE_OK && (*device = systole_usb_device_create(accelerator, target)) == NULL) {
        status = systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, name, "", "no memory for the device");
    }
    if (status != SYSTOLE_OK) {
        systole_faults_free(script);
        return status;
    }
    systole_usb_device_inject(*device, script);
    return SYSTOLE_OK;
}

static enum systole_status check_usb_choice(const char *name, const char *choice,
                                            struct systole_diagnostic *diagnostic) {
    bool number = *choice != '\0' && strlen(choice) <= 3 && strspn(choice, "0123456789") == strlen(choice);
    bool place = strchr(choice, '-') != NULL && strspn(choice, "0123456789-.") == strlen(choice);
    bool serial = strncmp(choice, "serial:", 7) == 0 && choice[7] != '\0';
    return number || place || serial
               ? SYSTOLE_OK
               : systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, name,
                              "usb:N (an index), usb:BUS-PORT (a place) or usb:serial:TEXT", "unknown device");
}

static enum systole_status open_transport(const char *name, const struct systole_target *target,
                                          const struct wiring_options *options, struct systole_transport **transport,
                                          struct systole_diagnostic *diagnostic) {
    bool usb = strcmp(name, "usb") == 0 || strncmp(name, "usb:", 4) == 0;
    if (options->faults != NULL && usb) {
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, name, "give --faults to `systole serve`",
                            "faults are made by the device, and this one is not in this process");
    }
    if (usb) {
        const char *choice = name[3] == '\0' ? "0" : name + 4;
        uint32_t silence_ms = options->driver.silence_ms == 0 ? SYSTOLE_SILENCE_MS : options->driver.silence_ms;
        uint32_t wait_ms = options->driver.shared ? silence_ms : 0;
        enum systole_status status = check_usb_choice(name, choice, diagnostic);
        return status == SYSTOLE_OK ? systole_libusb_open_chosen(choice, wait_ms, transport, diagnostic) : status;
    }
    struct systole_usb_device *device = NULL;
    enum systole_status status = wiring_create_device(name, target, options, &device, diagnostic);
    return status == SYSTOLE_OK
               ? systole_in_process_open(device, strcmp(name, "rtl") == 0 ? "rtl" : "model", transport, diagnostic)
               : status;
}

enum systole_status wiring_open_transport(const char *name, const struct systole_target *target,
                                          const struct wiring_options *options, struct systole_transport **transport,
                                          struct systole_diagnostic *diagnostic) {
    enum systole_status status = open_transport(name, target, options, transport, diagnostic);
    return status == SYSTOLE_OK && options->record != NULL
               ? systole_recording_open(*transport, options->record, transport, diagnostic)
               : status;
}

enum systole_status wiring_open_driver(const char *name, const struct systole_target *target,
                                       const struct wiring_options *options, struct systole_driver **driver,
                                       struct systole_diagnostic *diagnostic) {
    uint8_t *firmware = NULL;
    size_t size = 0;
    struct systole_transport *transport = NULL;
    enum systole_status status = systole_firmware_build(target, &firmware, &size);
    if (status != SYSTOLE_OK) {
        return systole_fail(diagnostic, status, name, "", "no memory for the firmware");
    }
    status = wiring_open_transport(name, target, options, &transport, diagnostic);
    if (status == SYSTOLE_OK) {
        status = systole_driver_open(transport, target, firmware, size, &options->driver, driver, diagnostic);
    }
    free(firmware);
    return status;
}
