// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Frames out. They wait in a list and are cut into transfers as those become free: headers and small payloads are
// gathered in buffers of the driver's, large payloads leave from where they lie, in transfers of their own.
#include <stdlib.h>
#include <string.h>

#include "driver_state.h"

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

bool driver_queue_read(struct systole_driver *driver, uint32_t address, uint32_t bytes, uint8_t *target, size_t room,
                       struct driver_request *request) {
    struct driver_read *read = calloc(1, sizeof *read);
    if (read == NULL) {
        driver_fail(driver, SYSTOLE_OUT_OF_MEMORY, "", "no memory for a read");
        return false;
    }
    uint32_t useful = room < bytes ? (uint32_t)room : bytes;
    *read = (struct driver_read){NULL, driver->next_tag++, address, bytes, useful, target, request};
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
    return driver_expect_data(driver, read) && driver_queue_frame(driver, header, NULL, 0, request);
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

static size_t frame_bytes(const struct driver_frame *frame) {
    return sizeof frame->header + ((size_t)frame->header.length + 7) / 8 * 8 * (frame->payload != NULL);
}

// How much of the first frame's payload can go from where it lies, now.
static size_t direct_bytes(const struct driver_frame *frame) {
    size_t header = sizeof frame->header;
    size_t left = frame->sent < header || frame->sent > header + frame->payload_bytes
                      ? 0
                      : header + frame->payload_bytes - frame->sent;
    return left >= DRIVER_DIRECT_BYTES ? left : 0;
}

static void drop_sent(struct systole_driver *driver) {
    struct driver_frame *frame = driver->frames_first;
    if (frame->sent == frame_bytes(frame)) {
        driver->frames_first = frame->next;
        free(frame);
    }
}

// Gathers headers and small payloads, up to a large one.
static size_t take_bytes(struct systole_driver *driver, uint8_t *bytes, size_t room) {
    size_t filled = 0;
    struct driver_frame *frame;
    while (filled < room && (frame = driver->frames_first) != NULL && direct_bytes(frame) == 0) {
        size_t header = sizeof frame->header, total = frame_bytes(frame), end = header + frame->payload_bytes;
        size_t moved = 1;
        while (moved != 0 && filled < room && frame->sent < total && direct_bytes(frame) == 0) {
            uint8_t *to = bytes + filled;
            size_t left = room - filled;
            moved = copy_part(to, left, frame->sent, 0, (const uint8_t *)&frame->header, header);
            moved += moved != 0 ? 0 : copy_part(to, left, frame->sent, header, frame->payload, frame->payload_bytes);
            moved += moved != 0 ? 0 : copy_part(to, left, frame->sent, end, NULL, total - end);
            frame->sent += moved;
            filled += moved;
        }
        drop_sent(driver);
    }
    return filled;
}

static void send_payload(struct systole_driver *driver, struct driver_transfer *transfer) {
    struct driver_frame *frame = driver->frames_first;
    size_t length = direct_bytes(frame), from = frame->sent - sizeof frame->header;
    length = length < driver->options.chunk_bytes ? length : driver->options.chunk_bytes;
    frame->sent += length;
    transfer->request = frame->request;
    driver->statistics.direct_bytes += length;
    // A transfer out only reads its buffer.
    uint8_t *bytes = (uint8_t *)(uintptr_t)(frame->payload + from);
    drop_sent(driver);
    driver_submit(driver, transfer, bytes, length);
}

void driver_send_frames(struct systole_driver *driver) {
    for (uint32_t i = 0; i < driver->options.queue_depth && driver->failure == SYSTOLE_OK && !driver->stopping; i++) {
        struct driver_transfer *transfer = &driver->out[i];
        if (transfer->busy || driver->frames_first == NULL) {
            continue;
        }
        if (direct_bytes(driver->frames_first) != 0) {
            send_payload(driver, transfer);
        } else {
            size_t length = take_bytes(driver, transfer->own, driver->options.chunk_bytes);
            driver->statistics.copied_bytes += length;
            driver_submit(driver, transfer, transfer->own, length);
        }
    }
    driver_ask_answers(driver);
}

void driver_frames_sent(struct systole_usb_transfer *ended) {
    struct systole_driver *driver = ended->context;
    if (driver_note_end(driver, (struct driver_transfer *)ended) && ended->actual != ended->length) {
        driver_fail(driver, SYSTOLE_DEVICE_PROTOCOL, "", "the device took %zu of %zu bytes", ended->actual,
                    ended->length);
    }
    driver_send_frames(driver);
}

bool driver_is_lent(const struct systole_driver *driver, const struct driver_request *request) {
    bool lent = false;
    for (uint32_t i = 0; i < driver->options.queue_depth; i++) {
        const struct driver_transfer *out = &driver->out[i];
        lent = lent || (out->busy && out->transfer.buffer != out->own && out->request == request);
    }
    return lent;
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
    driver_forget_answers(driver);
}
