// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Recordings: any bytes are read to their end or refused with a reason, and replayed against a bus that answers all
// with zeros, at once, but for vendor and product in a descriptor. Nothing stays in flight.
#include "fuzz_input.h"
#include "replay.h"
#include "systole_spec.h"
#include "usb_capture.h"

enum { CONFIGURATION = 27 };

struct bus {
    struct systole_transport transport; // first
    struct systole_usb_transfer *first; // in flight, linked by transport_detail
    uint16_t product;
};

static enum systole_status control(struct systole_transport *transport, uint8_t request_type, uint8_t request,
                                   uint16_t value, uint16_t index, uint8_t *data, uint16_t length, uint32_t timeout_ms,
                                   size_t *actual) {
    const struct bus *bus = (const struct bus *)transport;
    (void)index, (void)timeout_ms;
    bool in = (request_type & 0x80) != 0;
    *actual = in && length > CONFIGURATION ? CONFIGURATION : length; // only that descriptor is asked for in excess
    if ((request_type & 0x80) != 0 && length != 0) {
        memset(data, 0, length);
    }
    if (request_type == 0x80 && request == 6 && value == 0x100 && length >= 12) {
        data[8] = SYSTOLE_USB_VENDOR_ID & 255;
        data[9] = SYSTOLE_USB_VENDOR_ID >> 8;
        data[10] = (uint8_t)bus->product;
    }
    return SYSTOLE_OK;
}

static enum systole_status submit(struct systole_transport *transport, struct systole_usb_transfer *transfer) {
    struct bus *bus = (struct bus *)transport;
    transfer->transport_detail = bus->first;
    bus->first = transfer;
    return transfer->length % 7 == 3 ? (bus->first = transfer->transport_detail, SYSTOLE_DEVICE_GONE) : SYSTOLE_OK;
}

static enum systole_status cancel(struct systole_transport *transport, struct systole_usb_transfer *transfer) {
    (void)transport;
    transfer->status = SYSTOLE_CANCELLED;
    return SYSTOLE_OK;
}

static enum systole_status poll(struct systole_transport *transport, uint32_t timeout_ms) {
    struct bus *bus = (struct bus *)transport;
    (void)timeout_ms;
    while (bus->first != NULL) {
        struct systole_usb_transfer *transfer = bus->first;
        bus->first = transfer->transport_detail;
        transfer->actual = transfer->length;
        if (transfer->length != 0) { // the whole buffer is there
            memset(transfer->buffer, 0, transfer->length);
        }
        transfer->complete(transfer);
    }
    return SYSTOLE_OK;
}

static enum systole_status attach(struct systole_transport *transport, uint16_t product_id, uint32_t timeout_ms) {
    (void)timeout_ms;
    ((struct bus *)transport)->product = product_id;
    return product_id != 0 ? SYSTOLE_OK : SYSTOLE_DEVICE_GONE;
}

static enum systole_status reset(struct systole_transport *transport) {
    (void)transport;
    return SYSTOLE_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static const struct systole_transport_functions functions = {
        .control = control, .submit = submit, .cancel = cancel, .poll = poll, .attach = attach, .reset = reset};
    struct bus bus = {.transport = {.functions = &functions, .name = "zeros"}};
    struct systole_diagnostic diagnostic = {"", "", ""};
    struct systole_capture_reader reader;
    struct systole_usb_record record;
    bool more = systole_capture_open(bytes, size, "capture", &reader, &diagnostic) == SYSTOLE_OK;
    while (more && systole_capture_next(&reader, &record, &more, &diagnostic) == SYSTOLE_OK && more) {
        FUZZ_REQUIRE(record.data >= bytes && record.data + record.data_bytes <= bytes + size, "data outside the file");
    }
    struct systole_replay_options options = {.silence_ms = 1};
    struct systole_replayed replayed;
    enum systole_status status =
        systole_replay(bytes, size, "capture", &bus.transport, &options, &replayed, &diagnostic);
    FUZZ_REQUIRE(status == SYSTOLE_OK || diagnostic.what[0] != '\0', "refused without a word");
    FUZZ_REQUIRE(bus.first == NULL, "something is still in flight");
    return 0;
}
