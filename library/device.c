// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Devices of the public interface: a driver, or nothing but the CPU.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "library_state.h"
#include "target.h"
#include "wiring.h"

#define DEFAULT_TARGET "systole16"

const char *systole_version(void) {
    return SYSTOLE_VERSION;
}

enum systole_status systole_device_find(systole_device_seen seen, void *context,
                                        struct systole_diagnostic *diagnostic) {
    struct systole_usb_listing *listings = NULL;
    uint32_t count = 0;
    enum systole_status status = systole_libusb_list(&listings, &count, diagnostic);
    for (uint32_t i = 0; status == SYSTOLE_OK && i < count; i++) {
        const struct systole_usb_listing *listing = &listings[i];
        struct systole_device_found found = {
            .name = listing->name,
            .serial = listing->serial,
            .trouble = listing->trouble,
            .is_application = listing->product == SYSTOLE_USB_APPLICATION_PRODUCT_ID,
            .in_use = listing->in_use,
            .target_id = listing->target_id,
            .speed_mbits = listing->speed_mbits,
        };
        seen(&found, context);
    }
    free(listings);
    return status;
}

// A caller's structure may be shorter (built against an older header) or longer than ours.
static struct systole_device_options read_options(const struct systole_device_options *given) {
    struct systole_device_options options;
    memset(&options, 0, sizeof options);
    if (given != NULL) {
        memcpy(&options, given, given->size < sizeof options ? given->size : sizeof options);
    }
    return options;
}

static enum systole_status open_driver(const char *name, const struct systole_device_options *options,
                                       struct systole_device *device, struct systole_diagnostic *diagnostic) {
    struct wiring_options wiring = {
        .driver = {.silence_ms = options->silence_ms,
                   .replays = options->no_replay ? SYSTOLE_NO_REPLAY : options->replays,
                   .queue_depth = options->queue_depth,
                   .chunk_bytes = options->chunk_bytes,
                   .trace_retirements = options->trace,
                   .shared = options->shared},
        .faults = options->faults,
    };
    enum systole_status status = SYSTOLE_OK;
    if (options->record != NULL) {
        status = systole_capture_create(options->record, &device->capture, diagnostic);
        wiring.record = device->capture;
    }
    if (status == SYSTOLE_OK) {
        status = wiring_open_driver(name, &device->target, &wiring, &device->driver, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        (void)snprintf(device->name, sizeof device->name, "%s", systole_driver_transport(device->driver)->name);
    }
    return status;
}

enum systole_status systole_device_open(const char *name, const struct systole_device_options *given,
                                        struct systole_device **device, struct systole_diagnostic *diagnostic) {
    struct systole_device_options options = read_options(given);
    *device = NULL;
    struct systole_device *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, name, "", "no memory for a device");
    }
    made->references = 1;
    made->kernels = SYSTOLE_KERNELS_FASTEST;
    made->threads = options.threads;
    enum systole_status status = SYSTOLE_OK;
    if (options.threads > SYSTOLE_LARGEST_THREADS) {
        status = systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, name, "", "%u threads are more than %d",
                              options.threads, SYSTOLE_LARGEST_THREADS);
    }
    if (status == SYSTOLE_OK && options.kernels != NULL) {
        status = systole_kernel_level_parse(options.kernels, &made->kernels, diagnostic);
    }
    status = status == SYSTOLE_OK ? systole_kernel_level_resolve(&made->kernels, diagnostic) : status;
    status = status != SYSTOLE_OK ? status
                                  : systole_target_find(options.target != NULL ? options.target : DEFAULT_TARGET,
                                                        &made->target, diagnostic);
    if (status == SYSTOLE_OK && strcmp(name, "cpu") != 0) {
        status = open_driver(name, &options, made, diagnostic);
    } else if (status == SYSTOLE_OK) {
        (void)snprintf(made->name, sizeof made->name, "cpu");
        if (options.faults != NULL || options.record != NULL) {
            status = systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, name, "open model, rtl or usb",
                                  "the CPU has no bus to disturb or record");
        }
    }
    if (status != SYSTOLE_OK) {
        device_release(made);
        return status;
    }
    *device = made;
    return SYSTOLE_OK;
}

void device_release(struct systole_device *device) {
    if (--device->references == 0) {
        systole_driver_close(device->driver);
        (void)systole_capture_close(device->capture, NULL);
        free(device);
    }
}

void systole_device_close(struct systole_device *device) {
    if (device != NULL) {
        device_release(device);
    }
}

const char *systole_device_name(const struct systole_device *device) {
    return device->name;
}

// Callbacks may close the device: it stays until the call that made them returns.
enum systole_status systole_device_poll(struct systole_device *device, uint32_t timeout_ms) {
    enum systole_status status = SYSTOLE_OK;
    device->references++;
    bool told = inferences_advance(device, false);
    if (device->driver != NULL) {
        status = systole_driver_poll(device->driver, told || device->waiting_first != NULL ? 0 : timeout_ms);
        if (!told) {
            (void)inferences_advance(device, false);
        }
    }
    device_release(device);
    return status;
}

int systole_device_descriptor(struct systole_device *device, uint32_t *timeout_ms) {
    int descriptor = -1;
    *timeout_ms = UINT32_MAX;
    if (device->driver != NULL) {
        descriptor = systole_driver_descriptor(device->driver, timeout_ms);
    }
    if (device->waiting_first != NULL) {
        *timeout_ms = 0;
    }
    return descriptor;
}

enum systole_status systole_device_reset(struct systole_device *device, struct systole_diagnostic *diagnostic) {
    enum systole_status status = SYSTOLE_OK;
    device->references++;
    if (device->driver != NULL) {
        status = systole_driver_reset(device->driver, diagnostic);
        (void)inferences_advance(device, true);
    }
    device_release(device);
    return status;
}

void systole_device_statistics(const struct systole_device *device, struct systole_device_statistics *statistics) {
    struct systole_driver_statistics driver;
    size_t room = statistics->size;
    memset(&driver, 0, sizeof driver);
    if (device->driver != NULL) {
        systole_driver_statistics(device->driver, &driver);
    }
    struct systole_device_statistics told = {
        .size = room,
        .recoveries = driver.recoveries,
        .failed_recoveries = driver.failed_recoveries,
        .uploads = driver.uploads,
        .evictions = driver.evictions,
        .direct_bytes = driver.direct_bytes,
        .copied_bytes = driver.copied_bytes,
        .last_failure = driver.last_failure,
        .recording_failed = device->capture != NULL && systole_capture_failed(device->capture),
    };
    memcpy(statistics, &told, room < sizeof told ? room : sizeof told);
}
