// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Frames in. The driver knows what will come: the data frames of the reads it has sent, in their order, and the frames
// of the store commands of the program that runs, in theirs. A frame begins a transfer and ends one that is not full,
// so each takes a known number of transfers, and exactly those are asked for. Where the order of all frames is known (a
// program without stores) and a frame is large, its first packet, with the header, goes to a buffer of the driver's,
// the whole packets behind it straight to where the data belongs, and what is left to a buffer again. Should other
// bytes come than were expected there, they are looked at where they lie, and refused.
#include <stdlib.h>
#include <string.h>

#include "driver_state.h"

enum { PACKET = SYSTOLE_USB_PACKET_BYTES, HEADER = sizeof(struct systole_frame_header) };

// ---- What is expected.

static bool expect(struct systole_driver *driver, size_t length, size_t count, uint8_t *target) {
    if (count == 0 || length == 0) {
        return true;
    }
    struct driver_arrival *arrival = malloc(sizeof *arrival);
    if (arrival == NULL) {
        driver_fail(driver, SYSTOLE_OUT_OF_MEMORY, "", "no memory for an answer");
        return false;
    }
    *arrival = (struct driver_arrival){NULL, length, count, target};
    if (driver->arrivals_first == NULL) {
        driver->arrivals_first = arrival;
    } else {
        driver->arrivals_last->next = arrival;
    }
    driver->arrivals_last = arrival;
    return true;
}

static size_t whole_frame(size_t payload) {
    return HEADER + (payload + 7) / 8 * 8;
}

// In buffers that are all of one size frames may come in any order.
static bool expect_anywhere(struct systole_driver *driver, size_t payload) {
    size_t chunk = driver->options.chunk_bytes;
    return expect(driver, chunk, whole_frame(payload) / chunk + 1, NULL);
}

bool driver_expect_stores(struct systole_driver *driver, const struct driver_loaded *loaded) {
    bool expected = true;
    for (uint32_t i = 0; i < loaded->store_count && expected; i++) {
        expected = expect_anywhere(driver, (size_t)loaded->stores[i].words * driver->target.columns);
    }
    return expected;
}

bool driver_expect_data(struct systole_driver *driver, const struct driver_read *read) {
    size_t chunk = driver->options.chunk_bytes, frame = whole_frame(read->bytes), first = PACKET - HEADER;
    if (driver->loaded[read->request->loaded].store_count != 0) { // the last of them may come behind this
        return expect_anywhere(driver, read->bytes);
    }
    size_t direct = read->useful < DRIVER_DIRECT_BYTES ? 0 : (read->useful - first) / PACKET * PACKET;
    if (direct == 0 || frame - PACKET - direct >= PACKET) {
        return expect(driver, chunk, frame / chunk, NULL) &&
               expect(driver, (frame % chunk / PACKET + 1) * PACKET, 1, NULL);
    }
    return expect(driver, PACKET, 1, NULL) && expect(driver, chunk, direct / chunk, read->target + first) &&
           expect(driver, direct % chunk, 1, read->target + first + direct / chunk * chunk) &&
           expect(driver, PACKET, 1, NULL);
}

void driver_ask_answers(struct systole_driver *driver) {
    for (uint32_t i = 0; i < driver->options.queue_depth && driver->failure == SYSTOLE_OK && !driver->stopping; i++) {
        struct driver_transfer *transfer = &driver->in[i];
        struct driver_arrival *arrival = driver->arrivals_first;
        if (transfer->busy || arrival == NULL) {
            continue;
        }
        uint8_t *buffer = arrival->target == NULL ? transfer->own : arrival->target;
        size_t length = arrival->length;
        arrival->target = arrival->target == NULL ? NULL : arrival->target + length;
        if (--arrival->count == 0) {
            driver->arrivals_first = arrival->next;
            free(arrival);
        }
        driver_submit(driver, transfer, buffer, length);
    }
}

void driver_forget_answers(struct systole_driver *driver) {
    while (driver->arrivals_first != NULL) {
        struct driver_arrival *arrival = driver->arrivals_first;
        driver->arrivals_first = arrival->next;
        free(arrival);
    }
    driver->in_header_bytes = 0;
}

// ---- What comes. True: it is fine.

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
    driver->in_useful = read->useful;
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
    driver->in_useful = header->length;
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
            size_t useful = driver->in_useful < moved ? (size_t)driver->in_useful : moved;
            if (driver->in_target == bytes) {
                driver->statistics.direct_bytes += useful;
            } else if (useful != 0) { // it may lie in memory that a frame was expected in which did not come
                memmove(driver->in_target, bytes, useful);
                driver->statistics.copied_bytes += useful;
            }
            driver->in_target += useful;
            driver->in_useful -= useful;
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

void driver_answer_complete(struct systole_usb_transfer *ended) {
    struct systole_driver *driver = ended->context;
    if (!driver_note_end(driver, (struct driver_transfer *)ended) ||
        !take_answer(driver, ended->buffer, ended->actual)) {
        return;
    }
    if (ended->actual < ended->length && driver->in_header_bytes != 0) {
        driver_fail(driver, SYSTOLE_DEVICE_PROTOCOL, "", "a transfer ended inside a frame, %llu bytes too early",
                    (unsigned long long)driver->in_padded);
        return;
    }
    driver_ask_answers(driver);
}
