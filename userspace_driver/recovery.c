// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// How a device becomes usable, and usable again. After a failure nothing of its state is trusted: transfers are taken
// back, the accelerator is reset, the device goes to its boot personality and gets firmware, program and parameters as
// if it had just been plugged in; then the requests run again.
#include <string.h>

#include "driver_state.h"
#include "firmware.h"
#include "target.h"
#include "usb_setup.h"

enum {
    STANDARD_IN = 0x80,
    ENDPOINT_OUT = 0x02,
    VENDOR_OUT = 0x40,
    ATTEMPTS = 3,
    IDLE_FAILURES = 3,
};

static enum systole_status get_product(struct systole_driver *driver, uint16_t *product) {
    uint8_t descriptor[18];
    enum systole_status status =
        driver_control(driver, STANDARD_IN, SYSTOLE_USB_GET_DESCRIPTOR, 0x100, 0, descriptor, sizeof descriptor);
    *product = (uint16_t)(descriptor[10] | descriptor[11] << 8);
    if (status == SYSTOLE_OK && (descriptor[8] | descriptor[9] << 8) != SYSTOLE_USB_VENDOR_ID) {
        return SYSTOLE_DEVICE_PROTOCOL;
    }
    return status;
}

// Which personality is on the bus; looks for a device that has left it until the deadline.
static enum systole_status find_personality(struct systole_driver *driver, uint64_t end_ms, uint16_t *product) {
    const struct systole_transport_functions *functions = driver->transport->functions;
    enum systole_status status = get_product(driver, product);
    if (status != SYSTOLE_OK && status != SYSTOLE_DEVICE_GONE && functions->reset(driver->transport) == SYSTOLE_OK) {
        status = get_product(driver, product);
    }
    bool tried = false;
    while (status != SYSTOLE_OK && (!tried || systole_now_ms() < end_ms)) {
        uint64_t now = systole_now_ms();
        uint32_t wait = now >= end_ms ? 0 : end_ms - now < 50 ? (uint32_t)(end_ms - now) : 50;
        tried = true;
        if (functions->attach(driver->transport, SYSTOLE_USB_APPLICATION_PRODUCT_ID, wait) == SYSTOLE_OK ||
            functions->attach(driver->transport, SYSTOLE_USB_BOOT_PRODUCT_ID, wait) == SYSTOLE_OK) {
            status = get_product(driver, product);
        } else {
            functions->poll(driver->transport, 1);
        }
    }
    return status;
}

enum systole_status driver_reset_accelerator(struct systole_driver *driver) {
    return driver_control(driver, VENDOR_OUT, SYSTOLE_USB_REQUEST_DEVICE_RESET, 0, 0, NULL, 0);
}

enum systole_status driver_clear_halts(struct systole_driver *driver) {
    static const uint8_t endpoints[] = {SYSTOLE_USB_ENDPOINT_BULK_OUT, SYSTOLE_USB_ENDPOINT_BULK_IN,
                                        SYSTOLE_USB_ENDPOINT_EVENT_IN, SYSTOLE_USB_ENDPOINT_INTERRUPT_IN};
    enum systole_status status = SYSTOLE_OK;
    for (uint32_t i = 0; i < sizeof endpoints && status == SYSTOLE_OK; i++) {
        status = driver_control(driver, ENDPOINT_OUT, SYSTOLE_USB_CLEAR_FEATURE, 0, endpoints[i], NULL, 0);
    }
    return status;
}

static enum systole_status check_capabilities(struct systole_driver *driver, struct systole_diagnostic *diagnostic) {
    uint64_t identity = 0, id = 0, shape = 0, memory = 0;
    uint32_t wanted = systole_target_id(&driver->target);
    enum systole_status status = systole_driver_read_register(driver, SYSTOLE_REGISTER_IDENTITY, &identity);
    status = status == SYSTOLE_OK ? systole_driver_read_register(driver, SYSTOLE_REGISTER_TARGET_ID, &id) : status;
    status = status == SYSTOLE_OK ? systole_driver_read_register(driver, SYSTOLE_REGISTER_ARRAY_SHAPE, &shape) : status;
    status =
        status == SYSTOLE_OK ? systole_driver_read_register(driver, SYSTOLE_REGISTER_MEMORY_SHAPE, &memory) : status;
    if (status != SYSTOLE_OK) {
        return systole_fail(diagnostic, status, driver->transport->name, "", "capability registers cannot be read: %s",
                            systole_status_name(status));
    }
    if ((uint32_t)identity != SYSTOLE_IDENTITY) {
        return systole_fail(diagnostic, SYSTOLE_DEVICE_MISMATCH, driver->transport->name, "use another device",
                            "identity 0x%08x is not that of a Systole device", (unsigned)identity);
    }
    if ((uint32_t)id != wanted) {
        return systole_fail(diagnostic, SYSTOLE_DEVICE_MISMATCH, driver->transport->name,
                            "compile for the device's target, or choose it with --target",
                            "the device is of target %08x (%ux%u, %u bytes), asked for was %08x (%s, %ux%u, %u bytes)",
                            (unsigned)id, (unsigned)(shape & 0xffff), (unsigned)(shape >> 16 & 0xffff),
                            (unsigned)memory, wanted, driver->target.name, driver->target.rows, driver->target.columns,
                            driver->target.scratchpad_bytes);
    }
    return SYSTOLE_OK;
}

// *firmware_again is cleared once the device was seen in boot: what comes up after that is fresh.
static enum systole_status bring_up_once(struct systole_driver *driver, bool *firmware_again, uint64_t end_ms,
                                         struct systole_diagnostic *diagnostic) {
    const struct systole_transport_functions *functions = driver->transport->functions;
    uint32_t silence = driver->options.silence_ms;
    uint16_t product = 0;
    uint64_t state = 0;
    enum systole_status status = find_personality(driver, end_ms, &product);
    if (status == SYSTOLE_OK && product == SYSTOLE_USB_APPLICATION_PRODUCT_ID) {
        status = driver_reset_accelerator(driver);
        status = status == SYSTOLE_OK ? systole_driver_read_register(driver, SYSTOLE_REGISTER_STATUS, &state) : status;
        if (status == SYSTOLE_OK && (*firmware_again || (state & SYSTOLE_STATUS_STARTED) == 0)) {
            status = systole_firmware_detach(driver->transport, silence);
            status = status == SYSTOLE_OK ? functions->attach(driver->transport, SYSTOLE_USB_BOOT_PRODUCT_ID, silence)
                                          : status;
            product = SYSTOLE_USB_BOOT_PRODUCT_ID;
        }
    }
    if (status == SYSTOLE_OK && product == SYSTOLE_USB_BOOT_PRODUCT_ID) {
        *firmware_again = false;
        status =
            systole_firmware_download(driver->transport, driver->firmware, driver->firmware_size, silence, diagnostic);
        if (status != SYSTOLE_OK) {
            return status;
        }
        status = functions->attach(driver->transport, SYSTOLE_USB_APPLICATION_PRODUCT_ID, silence);
    }
    if (status != SYSTOLE_OK) {
        return systole_fail(diagnostic, status, driver->transport->name, "plug the device in again",
                            "the device does not come up: %s", systole_status_name(status));
    }
    status = check_capabilities(driver, diagnostic);
    return status == SYSTOLE_OK ? driver_clear_halts(driver) : status;
}

enum systole_status driver_bring_up(struct systole_driver *driver, bool firmware_again,
                                    struct systole_diagnostic *diagnostic) {
    uint64_t end_ms = systole_now_ms() + driver->options.silence_ms;
    enum systole_status status = SYSTOLE_DEVICE_GONE;
    for (uint32_t i = 0; i < ATTEMPTS && status != SYSTOLE_OK && status != SYSTOLE_DEVICE_MISMATCH; i++) {
        struct systole_diagnostic problem = {"", "", ""};
        status = bring_up_once(driver, &firmware_again, end_ms, &problem);
        if (status != SYSTOLE_OK) {
            driver->statistics.last_failure = status;
            driver->statistics.last_diagnostic = problem;
            if (diagnostic != NULL) {
                *diagnostic = problem;
            }
        }
        if (systole_now_ms() >= end_ms) {
            break;
        }
    }
    return status;
}

static bool transfers_are_back(const struct systole_driver *driver) {
    bool busy = driver->fault.busy;
    for (uint32_t i = 0; i < driver->options.queue_depth; i++) {
        busy = busy || driver->in[i].busy || driver->out[i].busy;
    }
    for (uint32_t i = 0; i < DRIVER_EVENT_TRANSFERS; i++) {
        busy = busy || driver->events[i].busy;
    }
    return !busy;
}

enum systole_status driver_recover(struct systole_driver *driver, struct driver_request *culprit,
                                   enum systole_status status, const struct systole_diagnostic *diagnostic) {
    struct systole_diagnostic problem = {"", "", ""};
    uint64_t start = systole_now_ms();
    driver->ready = false;
    driver_stop_transfers(driver);
    driver_forget_frames(driver);
    for (uint32_t i = 0; i < driver->loaded_count; i++) {
        driver->loaded[i].uploaded = false;
    }
    for (struct driver_request *request = driver->first; request != NULL; request = request->next) {
        request->phase = DRIVER_QUEUED;
    }
    if (culprit != NULL) {
        driver_finish(driver, culprit, status, diagnostic);
    }
    driver->failure = SYSTOLE_OK;
    enum systole_status result =
        transfers_are_back(driver)
            ? driver_bring_up(driver, true, &problem)
            : systole_fail(&problem, SYSTOLE_DEVICE_GONE, driver->transport->name, "plug the device in again",
                           "the transport does not give transfers back");
    if (result == SYSTOLE_OK) {
        result = driver_post_transfers(driver);
    }
    driver->ready = result == SYSTOLE_OK;
    while (!driver->ready && driver->first != NULL) {
        driver_finish(driver, driver->first, result, &problem);
    }
    driver->progress_ms = driver->checked_ms = systole_now_ms();
    driver->statistics.recoveries += driver->ready;
    driver->statistics.failed_recoveries += !driver->ready;
    driver->statistics.last_recovery_ms = (uint32_t)(driver->progress_ms - start);
    return result;
}

static bool may_retry(const struct systole_driver *driver) {
    switch (driver->failure) {
    case SYSTOLE_DEVICE_STALL:
    case SYSTOLE_DEVICE_TIMEOUT:
    case SYSTOLE_DEVICE_PROTOCOL:
    case SYSTOLE_DEVICE_GONE:
        return true;
    case SYSTOLE_DEVICE_FAULT: // what was damaged on its way or in memory; the program itself stays as it is
        return driver->fault_code <= SYSTOLE_ERROR_NOT_STARTED || driver->fault_code == SYSTOLE_ERROR_PARITY ||
               driver->fault_code == SYSTOLE_ERROR_STREAM;
    default:
        return false;
    }
}

void driver_handle_failure(struct systole_driver *driver) {
    struct driver_request *head = driver->first;
    struct systole_diagnostic diagnostic = driver->failure_diagnostic;
    enum systole_status status = driver->failure;
    driver_debug_failed(driver, &diagnostic);
    bool retry = may_retry(driver) && head != NULL && driver->options.debugger == NULL &&
                 head->attempts++ < driver->options.replays;
    driver->statistics.last_failure = status;
    driver->statistics.last_diagnostic = diagnostic;
    driver->spurious = 0;
    driver->idle_failures += head == NULL;
    if (driver->idle_failures > IDLE_FAILURES) { // nobody asks for anything and it fails still: leave it alone
        driver->ready = false;
        driver_stop_transfers(driver);
        return;
    }
    driver_recover(driver, retry ? NULL : head, status, &diagnostic);
}
