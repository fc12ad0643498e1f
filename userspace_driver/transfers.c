// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// All transfers of a device: those that wait for events and faults are posted again and again, those of frames come and
// go with them. Before anything of a device's state is forgotten, all are taken back.
#include <string.h>

#include "driver_state.h"

enum systole_status driver_submit(struct systole_driver *driver, struct driver_transfer *transfer, uint8_t *buffer,
                                  size_t length) {
    transfer->transfer.buffer = buffer;
    transfer->transfer.length = length;
    transfer->transfer.actual = 0;
    transfer->busy = true;
    enum systole_status status = driver->transport->functions->submit(driver->transport, &transfer->transfer);
    if (status != SYSTOLE_OK) {
        transfer->busy = false;
        driver_fail(driver, status, "plug the device in again", "a transfer on endpoint 0x%02x is not accepted",
                    transfer->transfer.endpoint);
    }
    return status;
}

// What every completion begins with.
bool driver_note_end(struct systole_driver *driver, struct driver_transfer *transfer) {
    const struct systole_usb_transfer *ended = &transfer->transfer;
    transfer->busy = false;
    if (driver->stopping) {
        return false;
    }
    if (ended->status != SYSTOLE_OK) {
        enum systole_status status = ended->status == SYSTOLE_CANCELLED ? SYSTOLE_DEVICE_GONE : ended->status;
        driver_fail(driver, status, "", "endpoint 0x%02x: %s", ended->endpoint, systole_status_name(ended->status));
        return false;
    }
    driver->progress_ms = systole_now_ms();
    return driver->failure == SYSTOLE_OK;
}

static void event_complete(struct systole_usb_transfer *ended) {
    struct systole_driver *driver = ended->context;
    struct systole_event event;
    if (!driver_note_end(driver, (struct driver_transfer *)ended)) {
        return;
    }
    if (ended->actual % sizeof event != 0) {
        driver_fail(driver, SYSTOLE_DEVICE_PROTOCOL, "", "events of %zu bytes", ended->actual);
    }
    for (size_t i = 0; i + sizeof event <= ended->actual && driver->failure == SYSTOLE_OK; i += sizeof event) {
        memcpy(&event, ended->buffer + i, sizeof event);
        driver_handle_event(driver, &event);
    }
    if (driver->failure == SYSTOLE_OK) {
        driver_submit(driver, (struct driver_transfer *)ended, ended->buffer, ended->length);
    }
}

static void fault_complete(struct systole_usb_transfer *ended) {
    struct systole_driver *driver = ended->context;
    uint64_t record[2];
    if (!driver_note_end(driver, (struct driver_transfer *)ended)) {
        return;
    }
    if (ended->actual != sizeof record) {
        driver_fail(driver, SYSTOLE_DEVICE_PROTOCOL, "", "a fault record of %zu bytes", ended->actual);
        return;
    }
    memcpy(record, ended->buffer, sizeof record);
    if ((record[0] & 255) == SYSTOLE_ERROR_NONE) { // nothing is wrong; a storm of them is
        driver->statistics.spurious++;
        if (++driver->spurious > DRIVER_SPURIOUS) {
            driver_fail(driver, SYSTOLE_DEVICE_PROTOCOL, "", "%u interrupts without a cause", driver->spurious);
        } else {
            driver_submit(driver, (struct driver_transfer *)ended, ended->buffer, ended->length);
        }
        return;
    }
    driver_fail_fault(driver, record[0] & 255, record[0] >> 8 & 255, (uint32_t)(record[0] >> 32), (uint32_t)record[1]);
}

// ---- All transfers.

static void prepare(struct systole_driver *driver, struct driver_transfer *transfer, uint8_t endpoint, uint8_t *buffer,
                    void (*complete)(struct systole_usb_transfer *)) {
    memset(transfer, 0, sizeof *transfer);
    transfer->transfer.endpoint = endpoint;
    transfer->own = buffer;
    transfer->transfer.complete = complete;
    transfer->transfer.context = driver;
}

enum systole_status driver_post_transfers(struct systole_driver *driver) {
    size_t chunk = driver->options.chunk_bytes;
    enum systole_status status = SYSTOLE_OK;
    driver->stopping = false;
    for (uint32_t i = 0; i < driver->options.queue_depth; i++) {
        uint8_t *buffers = driver->buffers + 2 * i * chunk;
        prepare(driver, &driver->out[i], SYSTOLE_USB_ENDPOINT_BULK_OUT, buffers, driver_frames_sent);
        prepare(driver, &driver->in[i], SYSTOLE_USB_ENDPOINT_BULK_IN, buffers + chunk, driver_answer_complete);
    }
    for (uint32_t i = 0; i < DRIVER_EVENT_TRANSFERS; i++) {
        prepare(driver, &driver->events[i], SYSTOLE_USB_ENDPOINT_EVENT_IN, driver->event_bytes[i], event_complete);
    }
    prepare(driver, &driver->fault, SYSTOLE_USB_ENDPOINT_INTERRUPT_IN, driver->fault_bytes, fault_complete);
    for (uint32_t i = 0; i < DRIVER_EVENT_TRANSFERS && status == SYSTOLE_OK; i++) {
        status = driver_submit(driver, &driver->events[i], driver->event_bytes[i], DRIVER_EVENT_BYTES);
    }
    return status == SYSTOLE_OK ? driver_submit(driver, &driver->fault, driver->fault_bytes, DRIVER_FAULT_BYTES)
                                : status;
}

static uint32_t cancel(struct systole_driver *driver, struct driver_transfer *transfer, bool ask) {
    if (transfer->busy && ask) {
        driver->transport->functions->cancel(driver->transport, &transfer->transfer);
    }
    return transfer->busy;
}

static uint32_t cancel_all(struct systole_driver *driver, bool ask) {
    uint32_t busy = cancel(driver, &driver->fault, ask);
    for (uint32_t i = 0; i < driver->options.queue_depth; i++) {
        busy += cancel(driver, &driver->out[i], ask) + cancel(driver, &driver->in[i], ask);
    }
    for (uint32_t i = 0; i < DRIVER_EVENT_TRANSFERS; i++) {
        busy += cancel(driver, &driver->events[i], ask);
    }
    return busy;
}

// Takes all transfers back, with a port reset if the transport does not give them otherwise.
void driver_stop_transfers(struct systole_driver *driver) {
    driver->stopping = true;
    for (uint32_t attempt = 0; attempt < 2 && cancel_all(driver, attempt == 0) != 0; attempt++) {
        uint64_t end = systole_now_ms() + (driver->options.silence_ms < 1000 ? driver->options.silence_ms : 1000);
        if (attempt == 1) {
            driver->transport->functions->reset(driver->transport);
        }
        while (cancel_all(driver, false) != 0 && systole_now_ms() < end) {
            driver->transport->functions->poll(driver->transport, 1);
        }
    }
}
