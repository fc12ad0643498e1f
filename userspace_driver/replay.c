// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The recording's order is kept: what was submitted before something had completed is submitted before that, what came
// behind it waits for it. So the device sees the conversation that it saw then, at whatever speed. Frames and fault
// records begin and end with transfers. How many events share a transfer is a matter of time, so those are compared as
// one string of bytes.
#include "replay.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "firmware.h"
#include "systole_spec.h"
#include "usb_capture.h"
#include "usb_setup.h"

enum {
    ADDRESSES = 128,
    MOST_FLIGHTS = 256,
    MOST_BYTES = 256 << 20, // of all that is in flight
    POLL_MS = 10,
    LOOK_MS = 50, // for a personality that may be there
    STANDARD_IN = 0x80,
    VENDOR_IN = 0xc0,
    PORT_REQUEST = 0x23,
    PORT_RESET = 4,
};

struct flight {
    struct systole_usb_transfer transfer; // first
    struct flight *next;
    uint64_t id;
    bool done;
};

// What the event endpoint brought and the recording has not named yet.
struct events {
    uint8_t *bytes;
    size_t size, room;
    uint32_t wanted, posted; // transfers in flight then, and now
};

struct replay {
    struct systole_transport *transport;
    const struct systole_replay_options *options;
    uint32_t silence_ms;
    struct systole_capture_reader reader;
    struct systole_replayed *told;
    struct systole_diagnostic *diagnostic;
    struct events events;
    struct flight *flights;
    uint32_t flight_count;
    uint64_t flight_bytes;
    bool ours[ADDRESSES]; // the recording saw one of our descriptors there
    bool attached;
};

static enum systole_status fail(const struct replay *this, enum systole_status status, const char *hint,
                                const char *format, ...) __attribute__((format(printf, 4, 5)));
static enum systole_status fail(const struct replay *this, enum systole_status status, const char *hint,
                                const char *format, ...) {
    char what[sizeof this->diagnostic->what], where[sizeof this->diagnostic->where];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(what, sizeof what, format, list);
    va_end(list);
    (void)snprintf(where, sizeof where, "%.200s, record %llu", this->reader.name,
                   (unsigned long long)this->reader.records - 1);
    return systole_fail(this->diagnostic, status, where, hint, "%s", what);
}

// ---- Comparing.

static enum systole_status recorded_status(int32_t number) {
    switch (number) {
    case 0:
    case -121: // EREMOTEIO: short, and that was not wanted
        return SYSTOLE_OK;
    case -2:   // ENOENT
    case -104: // ECONNRESET
        return SYSTOLE_CANCELLED;
    case -32: // EPIPE
        return SYSTOLE_DEVICE_STALL;
    case -19:  // ENODEV
    case -108: // ESHUTDOWN
        return SYSTOLE_DEVICE_GONE;
    case -110: // ETIMEDOUT
        return SYSTOLE_DEVICE_TIMEOUT;
    default:
        return SYSTOLE_DEVICE_PROTOCOL;
    }
}

static enum systole_status compare(const struct replay *this, const char *what, enum systole_status status,
                                   const uint8_t *bytes, size_t size, const struct systole_usb_record *recorded) {
    enum systole_status then = recorded_status(recorded->status);
    if (status != then) {
        return fail(this, SYSTOLE_MISMATCH, "", "%s: %s, recorded was %s", what, systole_status_name(status),
                    systole_status_name(then));
    }
    if (size != recorded->length) {
        return fail(this, SYSTOLE_MISMATCH, "", "%s: %zu bytes, recorded were %u", what, size, recorded->length);
    }
    bool in = (recorded->endpoint & 0x80) != 0;
    if (in && recorded->data_bytes != size) {
        return fail(this, SYSTOLE_BAD_FILE, "record with a larger snap length",
                    "%s: only %u of %zu bytes were recorded", what, recorded->data_bytes, size);
    }
    for (size_t i = 0; in && i < size; i++) {
        if (bytes[i] != recorded->data[i]) {
            return fail(this, SYSTOLE_MISMATCH, "", "%s: byte %zu of %zu is 0x%02x, recorded was 0x%02x", what, i, size,
                        bytes[i], recorded->data[i]);
        }
    }
    *(in ? &this->told->bytes_in : &this->told->bytes_out) += size;
    return SYSTOLE_OK;
}

// ---- Transfers.

static void completed(struct systole_usb_transfer *transfer) {
    ((struct flight *)transfer)->done = true;
}

static struct flight **find_flight(struct replay *this, uint64_t id) {
    struct flight **at = &this->flights;
    while (*at != NULL && (*at)->id != id) {
        at = &(*at)->next;
    }
    return at;
}

static void drop_flight(struct replay *this, struct flight **at) {
    struct flight *flight = *at;
    *at = flight->next;
    this->flight_count--;
    this->flight_bytes -= flight->transfer.length;
    free(flight->transfer.buffer);
    free(flight);
}

static bool wait_for(struct replay *this, const struct flight *flight) {
    uint64_t end = systole_now_ms() + this->silence_ms;
    while (!flight->done && systole_now_ms() < end) {
        (void)this->transport->functions->poll(this->transport, POLL_MS);
    }
    return flight->done;
}

// The completion of a record that was just read, if the file has it.
static bool find_answer(const struct replay *this, uint64_t id, struct systole_usb_record *answer) {
    struct systole_capture_reader ahead = this->reader;
    bool more = true;
    while (systole_capture_next(&ahead, answer, &more, NULL) == SYSTOLE_OK && more) {
        if (answer->id == id && answer->type != 'S') {
            return true;
        }
    }
    return false;
}

// Takes `data` out, NULL: in.
static enum systole_status add_flight(struct replay *this, uint64_t id, uint8_t endpoint, uint32_t length,
                                      const uint8_t *data) {
    if (this->flight_count == MOST_FLIGHTS || length > MOST_BYTES - this->flight_bytes) {
        return fail(this, SYSTOLE_BAD_FILE, "", "more is in flight than any driver would submit");
    }
    struct flight *flight = calloc(1, sizeof *flight);
    uint8_t *buffer = calloc(1, length == 0 ? 1 : length);
    if (flight == NULL || buffer == NULL) {
        free(flight);
        free(buffer);
        return fail(this, SYSTOLE_OUT_OF_MEMORY, "", "no memory for a transfer");
    }
    if (data != NULL) {
        memcpy(buffer, data, length);
    }
    *flight = (struct flight){
        .transfer = {.endpoint = endpoint, .buffer = buffer, .length = length, .complete = completed}, .id = id};
    struct flight **at = &this->flights;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = flight;
    this->flight_count++;
    this->flight_bytes += length;
    enum systole_status status = this->transport->functions->submit(this->transport, &flight->transfer);
    if (status != SYSTOLE_OK) {
        struct systole_usb_record answer;
        bool same = find_answer(this, id, &answer) && answer.type == 'E';
        drop_flight(this, at);
        return same ? SYSTOLE_OK
                    : fail(this, SYSTOLE_MISMATCH, "", "endpoint 0x%02x: the transfer is not accepted: %s", endpoint,
                           systole_status_name(status));
    }
    return SYSTOLE_OK;
}

static enum systole_status submit(struct replay *this, const struct systole_usb_record *record) {
    bool in = (record->endpoint & 0x80) != 0;
    if (!in && record->data_bytes != record->length) {
        return fail(this, SYSTOLE_BAD_FILE, "record with a larger snap length", "only %u of %u bytes were recorded",
                    record->data_bytes, record->length);
    }
    if (record->endpoint == SYSTOLE_USB_ENDPOINT_EVENT_IN && ++this->events.wanted <= this->events.posted) {
        return SYSTOLE_OK;
    }
    this->events.posted += record->endpoint == SYSTOLE_USB_ENDPOINT_EVENT_IN;
    return add_flight(this, record->id, record->endpoint, record->length, in ? NULL : record->data);
}

// ---- Events.

static struct flight **find_event_flight(struct replay *this, bool done) {
    struct flight **at = &this->flights;
    while (*at != NULL && ((*at)->transfer.endpoint != SYSTOLE_USB_ENDPOINT_EVENT_IN || (done && !(*at)->done))) {
        at = &(*at)->next;
    }
    return at;
}

static enum systole_status keep_events(struct replay *this, const uint8_t *bytes, size_t size) {
    struct events *events = &this->events;
    if (size == 0) {
        return SYSTOLE_OK;
    }
    if (size > events->room - events->size) {
        size_t room = 2 * (events->size + size);
        uint8_t *more = realloc(events->bytes, room);
        if (more == NULL) {
            return fail(this, SYSTOLE_OUT_OF_MEMORY, "", "no memory for events");
        }
        events->bytes = more;
        events->room = room;
    }
    memcpy(events->bytes + events->size, bytes, size);
    events->size += size;
    return SYSTOLE_OK;
}

// Takes what a transfer brought, and posts it again as long as the recording has as many in flight.
static enum systole_status take_events(struct replay *this, struct flight **at, enum systole_status *ended) {
    const struct systole_usb_transfer *transfer = &(*at)->transfer;
    uint64_t id = (*at)->id;
    uint32_t length = (uint32_t)transfer->length;
    enum systole_status status = keep_events(this, transfer->buffer, transfer->actual);
    *ended = transfer->status;
    drop_flight(this, at);
    this->events.posted--;
    if (status == SYSTOLE_OK && *ended == SYSTOLE_OK && this->events.posted < this->events.wanted) {
        this->events.posted++;
        status = add_flight(this, id, SYSTOLE_USB_ENDPOINT_EVENT_IN, length, NULL);
    }
    return status;
}

static enum systole_status complete_events(struct replay *this, const struct systole_usb_record *record) {
    struct events *events = &this->events;
    enum systole_status then = recorded_status(record->status), ended = SYSTOLE_OK, status = SYSTOLE_OK;
    uint64_t end = systole_now_ms() + this->silence_ms;
    if (events->wanted == 0) {
        return SYSTOLE_OK; // submitted before the recording began
    }
    while (status == SYSTOLE_OK && ended == SYSTOLE_OK &&
           (then == SYSTOLE_OK ? events->size < record->length : events->posted >= events->wanted)) {
        struct flight **at = find_event_flight(this, true);
        struct flight *any = *find_event_flight(this, false);
        if (*at != NULL) {
            status = take_events(this, at, &ended);
        } else if (any == NULL || systole_now_ms() >= end) {
            return fail(this, SYSTOLE_MISMATCH, "",
                        "endpoint 0x%02x: %zu bytes of events within %u ms, recorded were %u", record->endpoint,
                        events->size, this->silence_ms, record->length);
        } else {
            if (then == SYSTOLE_CANCELLED) {
                (void)this->transport->functions->cancel(this->transport, &any->transfer);
            }
            (void)this->transport->functions->poll(this->transport, POLL_MS);
        }
    }
    events->wanted--;
    if (status != SYSTOLE_OK) {
        return status;
    }
    this->told->transfers++;
    bool enough = then == SYSTOLE_OK && events->size >= record->length;
    const char *what = "endpoint 0x82";
    status = compare(this, what,
                     enough                ? SYSTOLE_OK
                     : ended == SYSTOLE_OK ? then
                                           : ended,
                     events->bytes, enough ? record->length : 0, record);
    if (status == SYSTOLE_OK && enough && record->length != 0) {
        events->size -= record->length;
        memmove(events->bytes, events->bytes + record->length, events->size);
    }
    return status;
}

static enum systole_status complete(struct replay *this, const struct systole_usb_record *record) {
    if (record->endpoint == SYSTOLE_USB_ENDPOINT_EVENT_IN && record->type == 'C') {
        return complete_events(this, record);
    }
    struct flight **at = find_flight(this, record->id), *flight = *at;
    if (flight == NULL) {
        return SYSTOLE_OK; // a control request's, or submitted before the recording began
    }
    char what[64];
    (void)snprintf(what, sizeof what, "endpoint 0x%02x", flight->transfer.endpoint);
    if (record->type == 'E') {
        return fail(this, SYSTOLE_MISMATCH, "", "%s: the transfer is accepted, recorded was that it is not", what);
    }
    if (recorded_status(record->status) == SYSTOLE_CANCELLED && !flight->done) {
        (void)this->transport->functions->cancel(this->transport, &flight->transfer);
    }
    if (!wait_for(this, flight)) {
        return fail(this, SYSTOLE_MISMATCH, "", "%s: no answer within %u ms, recorded were %u bytes", what,
                    this->silence_ms, record->length);
    }
    enum systole_status status =
        compare(this, what, flight->transfer.status, flight->transfer.buffer, flight->transfer.actual, record);
    this->told->transfers++;
    drop_flight(this, at);
    return status;
}

// All that is still in flight comes back before its memory goes.
static void take_back(struct replay *this) {
    uint64_t end = systole_now_ms() + this->silence_ms;
    for (struct flight *flight = this->flights; flight != NULL; flight = flight->next) {
        if (!flight->done) {
            (void)this->transport->functions->cancel(this->transport, &flight->transfer);
        }
    }
    bool was_reset = false;
    while (this->flights != NULL) {
        if (this->flights->done) {
            drop_flight(this, &this->flights);
            continue;
        }
        bool is_late = systole_now_ms() >= end;
        if (is_late && !was_reset) { // ends every transfer
            (void)this->transport->functions->reset(this->transport);
            was_reset = true;
            end = systole_now_ms() + this->silence_ms;
        } else if (is_late) {
            break; // the transport does not keep its contract: rather lose the memory than write to somebody else's
        }
        (void)this->transport->functions->poll(this->transport, POLL_MS);
    }
}

// ---- The device.

static const char *personality(uint16_t product) {
    return product == SYSTOLE_USB_BOOT_PRODUCT_ID ? "boot" : "application";
}

// The device at the beginning may be of the other personality.
static enum systole_status change_personality(struct replay *this, uint16_t product) {
    struct systole_transport *transport = this->transport;
    const struct systole_transport_functions *functions = transport->functions;
    bool boot = product == SYSTOLE_USB_BOOT_PRODUCT_ID;
    enum systole_status status =
        functions->attach(transport, boot ? SYSTOLE_USB_APPLICATION_PRODUCT_ID : SYSTOLE_USB_BOOT_PRODUCT_ID, LOOK_MS);
    if (status == SYSTOLE_OK && boot) {
        status = systole_firmware_detach(transport, this->silence_ms);
    } else if (status == SYSTOLE_OK) {
        status = systole_firmware_download(transport, this->options->firmware, this->options->firmware_size,
                                           this->silence_ms, this->diagnostic);
    }
    return status == SYSTOLE_OK ? functions->attach(transport, product, this->silence_ms) : status;
}

static enum systole_status attach(struct replay *this, uint16_t product) {
    enum systole_status status =
        this->transport->functions->attach(this->transport, product, this->attached ? this->silence_ms : LOOK_MS);
    if (status != SYSTOLE_OK && !this->attached) {
        status = change_personality(this, product);
    }
    if (status == SYSTOLE_OK) {
        this->attached = true;
        return SYSTOLE_OK;
    }
    return fail(this, this->attached ? SYSTOLE_MISMATCH : status, "",
                "no device in %s personality, recorded was one: %s", personality(product), systole_status_name(status));
}

static bool asks_descriptor(const struct systole_usb_record *record) {
    return record->setup[0] == STANDARD_IN && record->setup[1] == SYSTOLE_USB_GET_DESCRIPTOR && record->setup[2] == 0 &&
           record->setup[3] == 1;
}

// The first look at a new address: whose is it?
static enum systole_status meet(struct replay *this, const struct systole_usb_record *record) {
    struct systole_usb_record answer;
    if (!asks_descriptor(record) || !find_answer(this, record->id, &answer) || answer.data_bytes < 12) {
        return SYSTOLE_OK;
    }
    unsigned vendor = answer.data[8] | (unsigned)answer.data[9] << 8,
             product = answer.data[10] | (unsigned)answer.data[11] << 8;
    if (vendor != SYSTOLE_USB_VENDOR_ID ||
        (product != SYSTOLE_USB_BOOT_PRODUCT_ID && product != SYSTOLE_USB_APPLICATION_PRODUCT_ID)) {
        return SYSTOLE_OK;
    }
    this->ours[record->device % ADDRESSES] = true;
    return attach(this, (uint16_t)product);
}

static bool tells_time(const struct systole_usb_record *record) {
    uint32_t address = record->setup[2] | (uint32_t)record->setup[3] << 8 | (uint32_t)record->setup[4] << 16;
    return record->setup[0] == VENDOR_IN && record->setup[1] == SYSTOLE_USB_REQUEST_READ_REGISTER &&
           (address == SYSTOLE_REGISTER_STATUS || address == SYSTOLE_REGISTER_CYCLE ||
            address == SYSTOLE_REGISTER_RUN_CYCLES);
}

static enum systole_status control(struct replay *this, const struct systole_usb_record *record) {
    static uint8_t none;
    const uint8_t *setup = record->setup;
    struct systole_usb_record answer;
    uint16_t length = (uint16_t)(setup[6] | setup[7] << 8);
    bool in = (setup[0] & 0x80) != 0;
    size_t actual = 0;
    char what[64];
    if (!find_answer(this, record->id, &answer)) {
        return SYSTOLE_OK; // the recording ends here
    }
    if (!in && record->data_bytes != length) {
        return fail(this, SYSTOLE_BAD_FILE, "record with a larger snap length", "only %u of %u bytes were recorded",
                    record->data_bytes, length);
    }
    uint8_t *data = calloc(1, (size_t)length + 1);
    if (data == NULL) {
        return fail(this, SYSTOLE_OUT_OF_MEMORY, "", "no memory for a request");
    }
    if (!in) {
        memcpy(data, record->data, length);
    }
    enum systole_status status = this->transport->functions->control(
        this->transport, setup[0], setup[1], (uint16_t)(setup[2] | setup[3] << 8), (uint16_t)(setup[4] | setup[5] << 8),
        length == 0 ? &none : data, length, this->silence_ms, &actual);
    (void)snprintf(what, sizeof what, "request %02x %02x value 0x%04x index 0x%04x", setup[0], setup[1],
                   (unsigned)(setup[2] | setup[3] << 8), (unsigned)(setup[4] | setup[5] << 8));
    if (in && tells_time(record)) {
        this->told->clocks++;
        status = SYSTOLE_OK;
    } else {
        answer.endpoint = in ? 0x80 : 0;
        status = compare(this, what, status, data, actual, &answer);
        this->told->controls++;
    }
    free(data);
    return status;
}

static enum systole_status replay_record(struct replay *this, const struct systole_usb_record *record) {
    uint8_t address = record->device % ADDRESSES;
    bool is_control = record->transfer == SYSTOLE_USB_CONTROL;
    enum systole_status status = SYSTOLE_OK;
    if (record->type == 'S' && is_control && record->has_setup) {
        if (record->setup[0] == PORT_REQUEST && record->setup[1] == SYSTOLE_USB_SET_FEATURE &&
            record->setup[2] == PORT_RESET && this->attached) {
            (void)this->transport->functions->reset(this->transport);
            return SYSTOLE_OK;
        }
        if (!this->ours[address]) {
            status = meet(this, record);
        }
        if (status == SYSTOLE_OK && this->ours[address]) {
            return control(this, record);
        }
    } else if (this->ours[address] && !is_control &&
               (record->transfer == SYSTOLE_USB_BULK || record->transfer == SYSTOLE_USB_INTERRUPT)) {
        return record->type == 'S' ? submit(this, record) : complete(this, record);
    }
    this->told->others += !this->ours[address];
    return status;
}

enum systole_status systole_replay(const uint8_t *bytes, size_t size, const char *name,
                                   struct systole_transport *transport, const struct systole_replay_options *options,
                                   struct systole_replayed *replayed, struct systole_diagnostic *diagnostic) {
    struct systole_diagnostic unused = {"", "", ""};
    struct replay this = {.transport = transport,
                          .options = options,
                          .silence_ms = options->silence_ms == 0 ? SYSTOLE_SILENCE_MS : options->silence_ms,
                          .told = replayed,
                          .diagnostic = diagnostic == NULL ? &unused : diagnostic};
    memset(replayed, 0, sizeof *replayed);
    enum systole_status status = systole_capture_open(bytes, size, name, &this.reader, this.diagnostic);
    bool more = status == SYSTOLE_OK;
    while (more) {
        struct systole_usb_record record;
        status = systole_capture_next(&this.reader, &record, &more, this.diagnostic);
        if (status == SYSTOLE_OK && more) {
            status = replay_record(&this, &record);
        }
        more = more && status == SYSTOLE_OK;
    }
    if (status == SYSTOLE_OK && this.events.size != 0) {
        status = fail(&this, SYSTOLE_MISMATCH, "", "endpoint 0x82: %zu bytes of events more than were recorded",
                      this.events.size);
    }
    take_back(&this);
    free(this.events.bytes);
    replayed->records = this.reader.records;
    if (status == SYSTOLE_OK && !this.attached) {
        return systole_fail(diagnostic, SYSTOLE_BAD_FILE, name, "`systole run --record FILE` makes them",
                            "it has no Systole device that enumerates");
    }
    return status;
}
