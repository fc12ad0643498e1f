// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Frames to bytes and back. Outgoing frames wait in a list and are cut into transfers as those become free. Incoming
// transfers are posted again and again; what they bring is held against what was asked for: reads in their order, and
// the store commands of the running program in theirs. A transfer that is not full must end with a frame.
#include <stdlib.h>
#include <string.h>

#include "driver_state.h"

// ---- Out.

static struct driver_frame *append_frame(struct systole_driver *driver, struct systole_frame_header header,
                                         const struct driver_request *request) {
    struct driver_frame *frame = calloc(1, sizeof *frame);
    if (frame == NULL) {
        driver_fail(driver, SYSTOLE_OUT_OF_MEMORY, "", "no memory for a frame");
        return NULL;
    }
    header.magic = SYSTOLE_FRAME_MAGIC;
    frame->header = header;
    frame->request = request;
    if (driver->frames_first == NULL) {
        driver->frames_first = frame;
    } else {
        driver->frames_last->next = frame;
    }
    driver->frames_last = frame;
    return frame;
}

bool driver_queue_frame(struct systole_driver *driver, struct systole_frame_header header, const uint8_t *payload,
                        size_t bytes, const struct driver_request *request) {
    struct driver_frame *frame = append_frame(driver, header, request);
    if (frame == NULL) {
        return false;
    }
    frame->payload = payload;
    frame->payload_bytes = bytes;
    return true;
}

bool driver_queue_launch(struct systole_driver *driver, const struct systole_launch_descriptor *launch,
                         const struct driver_request *request) {
    struct systole_frame_header header = {.kind = SYSTOLE_FRAME_RUN, .tag = launch->token, .length = sizeof *launch};
    struct driver_frame *frame = append_frame(driver, header, request);
    if (frame == NULL) {
        return false;
    }
    frame->launch = *launch;
    frame->payload = (const uint8_t *)&frame->launch;
    frame->payload_bytes = sizeof frame->launch;
    return true;
}

bool driver_queue_read(struct systole_driver *driver, uint32_t address, uint32_t bytes, uint8_t *target,
                       struct driver_request *request) {
    struct driver_read *read = calloc(1, sizeof *read);
    if (read == NULL) {
        driver_fail(driver, SYSTOLE_OUT_OF_MEMORY, "", "no memory for a read");
        return false;
    }
    *read = (struct driver_read){NULL, driver->next_tag++, address, bytes, target, request};
    if (driver->reads_first == NULL) {
        driver->reads_first = read;
    } else {
        driver->reads_last->next = read;
    }
    driver->reads_last = read;
    struct systole_frame_header header = {.kind = SYSTOLE_FRAME_READ,
                                          .flags = SYSTOLE_FRAME_FLAG_AFTER_RUN,
                                          .tag = read->tag,
                                          .address = address,
                                          .length = bytes};
    return driver_queue_frame(driver, header, NULL, 0, request);
}

bool driver_has_frames_of(const struct systole_driver *driver, const struct driver_request *request) {
    const struct driver_frame *frame = driver->frames_first;
    while (frame != NULL && frame->request != request) {
        frame = frame->next;
    }
    return frame != NULL;
}

// Copies bytes [from, from + room) of a region of `size` bytes that begins at `start` of the frame.
static size_t copy_part(uint8_t *bytes, size_t room, size_t from, size_t start, const uint8_t *part, size_t size) {
    if (from < start || from >= start + size) {
        return 0;
    }
    size_t left = start + size - from, moved = left < room ? left : room;
    if (part == NULL) {
        memset(bytes, 0, moved);
    } else {
        memcpy(bytes, part + (from - start), moved);
    }
    return moved;
}

static size_t take_bytes(struct systole_driver *driver, uint8_t *bytes, size_t room) {
    size_t filled = 0;
    struct driver_frame *frame;
    while (filled < room && (frame = driver->frames_first) != NULL) {
        size_t header = sizeof frame->header, padding = (8 - frame->payload_bytes % 8) % 8;
        size_t total = header + frame->payload_bytes + padding;
        size_t moved = 1;
        while (moved != 0 && filled < room && frame->sent < total) {
            uint8_t *to = bytes + filled;
            size_t left = room - filled;
            moved = copy_part(to, left, frame->sent, 0, (const uint8_t *)&frame->header, header);
            moved += moved != 0 ? 0 : copy_part(to, left, frame->sent, header, frame->payload, frame->payload_bytes);
            moved += moved != 0 ? 0 : copy_part(to, left, frame->sent, header + frame->payload_bytes, NULL, padding);
            frame->sent += moved;
            filled += moved;
        }
        if (frame->sent == total) {
            driver->frames_first = frame->next;
            free(frame);
        }
    }
    return filled;
}

static enum systole_status submit(struct systole_driver *driver, struct driver_transfer *transfer, size_t length) {
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

void driver_send_frames(struct systole_driver *driver) {
    for (uint32_t i = 0; i < driver->options.queue_depth && driver->failure == SYSTOLE_OK && !driver->stopping; i++) {
        struct driver_transfer *transfer = &driver->out[i];
        if (!transfer->busy && driver->frames_first != NULL) {
            submit(driver, transfer, take_bytes(driver, transfer->transfer.buffer, driver->options.chunk_bytes));
        }
    }
}

// ---- In. True: what came is fine.

static bool note_end(struct systole_driver *driver, struct driver_transfer *transfer) {
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
    driver->progress_ms = driver_now_ms();
    return driver->failure == SYSTOLE_OK;
}

static void out_complete(struct systole_usb_transfer *ended) {
    struct systole_driver *driver = ended->context;
    if (note_end(driver, (struct driver_transfer *)ended) && ended->actual != ended->length) {
        driver_fail(driver, SYSTOLE_DEVICE_PROTOCOL, "", "the device took %zu of %zu bytes", ended->actual,
                    ended->length);
    }
    driver_send_frames(driver);
}

static bool begin_data(struct systole_driver *driver, const struct systole_frame_header *header) {
    const struct driver_read *read = driver->reads_first;
    if (read == NULL || read->tag != header->tag || read->address != header->address || read->bytes != header->length) {
        driver_fail(driver, SYSTOLE_DEVICE_PROTOCOL, "",
                    "data frame with tag %u, address %u, %u bytes; expected %u, %u, %u", header->tag, header->address,
                    header->length, read == NULL ? 0 : read->tag, read == NULL ? 0 : read->address,
                    read == NULL ? 0 : read->bytes);
        return false;
    }
    driver->in_target = read->target;
    return true;
}

static bool begin_store(struct systole_driver *driver, const struct systole_frame_header *header) {
    struct driver_request *request = driver->first;
    uint32_t columns = driver->target.columns;
    if (request == NULL || request->phase != DRIVER_RUNNING || request->request->token != header->tag) {
        driver_fail(driver, SYSTOLE_DEVICE_PROTOCOL, "", "store frame of run %u, which is not running", header->tag);
        return false;
    }
    const struct driver_loaded *loaded = &driver->loaded[request->loaded];
    const struct driver_exchange *store = &loaded->stores[request->stores_received];
    if (request->stores_received == loaded->store_count || store->host_address != header->address ||
        (uint64_t)store->words * columns != header->length) {
        driver_fail(driver, SYSTOLE_DEVICE_PROTOCOL, "",
                    "store frame %u of address 0x%08x with %u bytes is not expected", request->stores_received,
                    header->address, header->length);
        return false;
    }
    driver->in_target = request->host + (size_t)(header->address & 0x0fffffffu) * columns;
    return true;
}

static bool begin_frame(struct systole_driver *driver) {
    const struct systole_frame_header *header = &driver->in_header;
    driver->in_payload = header->length;
    driver->in_padded = ((uint64_t)header->length + 7) / 8 * 8;
    if (header->magic != SYSTOLE_FRAME_MAGIC ||
        (header->kind != SYSTOLE_FRAME_DATA && header->kind != SYSTOLE_FRAME_STORE)) {
        driver_fail(driver, SYSTOLE_DEVICE_PROTOCOL, "", "a frame with magic 0x%04x and kind %u came", header->magic,
                    header->kind);
        return false;
    }
    return header->kind == SYSTOLE_FRAME_DATA ? begin_data(driver, header) : begin_store(driver, header);
}

static void end_frame(struct systole_driver *driver) {
    driver->in_header_bytes = 0;
    if (driver->in_header.kind == SYSTOLE_FRAME_STORE) {
        driver->first->stores_received++;
        return;
    }
    struct driver_read *read = driver->reads_first;
    driver->reads_first = read->next;
    read->request->outputs_pending--;
    free(read);
}

static bool take_answer(struct systole_driver *driver, const uint8_t *bytes, size_t size) {
    while (size != 0) {
        size_t moved;
        if (driver->in_header_bytes < sizeof driver->in_header) {
            moved = sizeof driver->in_header - driver->in_header_bytes;
            moved = moved < size ? moved : size;
            memcpy((uint8_t *)&driver->in_header + driver->in_header_bytes, bytes, moved);
            driver->in_header_bytes += moved;
            if (driver->in_header_bytes == sizeof driver->in_header && !begin_frame(driver)) {
                return false;
            }
        } else {
            moved = driver->in_padded < size ? (size_t)driver->in_padded : size;
            size_t useful = driver->in_payload < moved ? (size_t)driver->in_payload : moved;
            memcpy(driver->in_target, bytes, useful);
            driver->in_target += useful;
            driver->in_payload -= useful;
            driver->in_padded -= moved;
        }
        if (driver->in_header_bytes == sizeof driver->in_header && driver->in_padded == 0) {
            end_frame(driver);
        }
        bytes += moved;
        size -= moved;
    }
    return true;
}

static void in_complete(struct systole_usb_transfer *ended) {
    struct systole_driver *driver = ended->context;
    if (!note_end(driver, (struct driver_transfer *)ended) || !take_answer(driver, ended->buffer, ended->actual)) {
        return;
    }
    if (ended->actual < ended->length && driver->in_header_bytes != 0) {
        driver_fail(driver, SYSTOLE_DEVICE_PROTOCOL, "", "a transfer ended inside a frame, %llu bytes too early",
                    (unsigned long long)driver->in_padded);
        return;
    }
    submit(driver, (struct driver_transfer *)ended, ended->length);
}

static void event_complete(struct systole_usb_transfer *ended) {
    struct systole_driver *driver = ended->context;
    struct systole_event event;
    if (!note_end(driver, (struct driver_transfer *)ended)) {
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
        submit(driver, (struct driver_transfer *)ended, ended->length);
    }
}

static void fault_complete(struct systole_usb_transfer *ended) {
    struct systole_driver *driver = ended->context;
    uint64_t record[2];
    if (!note_end(driver, (struct driver_transfer *)ended)) {
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
            submit(driver, (struct driver_transfer *)ended, ended->length);
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
    transfer->transfer.buffer = buffer;
    transfer->transfer.complete = complete;
    transfer->transfer.context = driver;
}

enum systole_status driver_post_transfers(struct systole_driver *driver) {
    size_t chunk = driver->options.chunk_bytes;
    enum systole_status status = SYSTOLE_OK;
    driver->stopping = false;
    for (uint32_t i = 0; i < driver->options.queue_depth; i++) {
        uint8_t *buffers = driver->buffers + 2 * i * chunk;
        prepare(driver, &driver->out[i], SYSTOLE_USB_ENDPOINT_BULK_OUT, buffers, out_complete);
        prepare(driver, &driver->in[i], SYSTOLE_USB_ENDPOINT_BULK_IN, buffers + chunk, in_complete);
    }
    for (uint32_t i = 0; i < DRIVER_EVENT_TRANSFERS; i++) {
        prepare(driver, &driver->events[i], SYSTOLE_USB_ENDPOINT_EVENT_IN, driver->event_bytes[i], event_complete);
    }
    prepare(driver, &driver->fault, SYSTOLE_USB_ENDPOINT_INTERRUPT_IN, driver->fault_bytes, fault_complete);
    for (uint32_t i = 0; i < driver->options.queue_depth && status == SYSTOLE_OK; i++) {
        status = submit(driver, &driver->in[i], chunk);
    }
    for (uint32_t i = 0; i < DRIVER_EVENT_TRANSFERS && status == SYSTOLE_OK; i++) {
        status = submit(driver, &driver->events[i], DRIVER_EVENT_BYTES);
    }
    return status == SYSTOLE_OK ? submit(driver, &driver->fault, DRIVER_FAULT_BYTES) : status;
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
        uint64_t end = driver_now_ms() + (driver->options.silence_ms < 1000 ? driver->options.silence_ms : 1000);
        if (attempt == 1) {
            driver->transport->functions->reset(driver->transport);
        }
        while (cancel_all(driver, false) != 0 && driver_now_ms() < end) {
            driver->transport->functions->poll(driver->transport, 1);
        }
    }
}

void driver_forget_frames(struct systole_driver *driver) {
    while (driver->frames_first != NULL) {
        struct driver_frame *frame = driver->frames_first;
        driver->frames_first = frame->next;
        free(frame);
    }
    while (driver->reads_first != NULL) {
        struct driver_read *read = driver->reads_first;
        driver->reads_first = read->next;
        free(read);
    }
    driver->in_header_bytes = 0;
}
