// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Bring-up is the driver's; transfers are the probe's own: one OUT and one IN at a time, an event and an interrupt
// always posted.
#include "probe.h"

#include <stdlib.h>
#include <string.h>

#include "driver_state.h"

enum {
    FRAME_LIMIT = 1 << 20, // bytes of payload
    PACKET = SYSTOLE_USB_PACKET_BYTES,
    BUFFER = FRAME_LIMIT + 2 * PACKET,
    EVENTS = 256,
    INTERRUPTS = 16,
    POLL_MS = 10,
    CANCEL_MS = 1000,
};

struct posted {
    struct systole_usb_transfer transfer;
    bool busy;
};

struct systole_probe {
    struct systole_driver driver; // of which only bring-up and registers are used
    struct posted out, in, event, interrupt;
    uint8_t *out_buffer, *in_buffer;
    uint8_t event_buffer[DRIVER_EVENT_BYTES], interrupt_buffer[DRIVER_FAULT_BYTES];
    struct systole_event events[EVENTS];
    uint64_t interrupts[INTERRUPTS][2];
    uint32_t event_count, interrupt_count;
    enum systole_status failure; // of what is always posted
    uint32_t next_tag;
};

static void ended(struct systole_usb_transfer *transfer) {
    struct posted *posted = (struct posted *)transfer;
    posted->busy = false;
}

static enum systole_status post(struct systole_probe *probe, struct posted *posted, uint8_t endpoint, uint8_t *buffer,
                                size_t length, void (*complete)(struct systole_usb_transfer *)) {
    if (posted->busy) { // the transport did not give it back
        return SYSTOLE_DEVICE_TIMEOUT;
    }
    posted->transfer = (struct systole_usb_transfer){
        .endpoint = endpoint, .buffer = buffer, .length = length, .complete = complete, .context = probe};
    posted->busy = true;
    enum systole_status status = probe->driver.transport->functions->submit(probe->driver.transport, &posted->transfer);
    posted->busy = status == SYSTOLE_OK;
    return status;
}

static void event_ended(struct systole_usb_transfer *transfer);
static void interrupt_ended(struct systole_usb_transfer *transfer);

static enum systole_status post_event(struct systole_probe *probe) {
    return post(probe, &probe->event, SYSTOLE_USB_ENDPOINT_EVENT_IN, probe->event_buffer, sizeof probe->event_buffer,
                event_ended);
}

static enum systole_status post_interrupt(struct systole_probe *probe) {
    return post(probe, &probe->interrupt, SYSTOLE_USB_ENDPOINT_INTERRUPT_IN, probe->interrupt_buffer,
                sizeof probe->interrupt_buffer, interrupt_ended);
}

static void event_ended(struct systole_usb_transfer *transfer) {
    struct systole_probe *probe = transfer->context;
    probe->event.busy = false;
    if (transfer->status == SYSTOLE_CANCELLED) {
        return;
    }
    probe->failure = transfer->status != SYSTOLE_OK ? transfer->status : probe->failure;
    if (transfer->actual % sizeof probe->events[0] != 0) {
        probe->failure = SYSTOLE_DEVICE_PROTOCOL;
    }
    for (size_t at = 0; at + sizeof probe->events[0] <= transfer->actual && probe->event_count < EVENTS;
         at += sizeof probe->events[0]) {
        memcpy(&probe->events[probe->event_count++], transfer->buffer + at, sizeof probe->events[0]);
    }
    if (probe->failure == SYSTOLE_OK) {
        probe->failure = post_event(probe);
    }
}

static void interrupt_ended(struct systole_usb_transfer *transfer) {
    struct systole_probe *probe = transfer->context;
    probe->interrupt.busy = false;
    if (transfer->status == SYSTOLE_CANCELLED) {
        return;
    }
    probe->failure = transfer->status != SYSTOLE_OK ? transfer->status : probe->failure;
    if (transfer->status == SYSTOLE_OK && transfer->actual != sizeof probe->interrupts[0]) {
        probe->failure = SYSTOLE_DEVICE_PROTOCOL;
    } else if (transfer->status == SYSTOLE_OK && probe->interrupt_count < INTERRUPTS) {
        memcpy(probe->interrupts[probe->interrupt_count++], transfer->buffer, sizeof probe->interrupts[0]);
    }
    if (probe->failure == SYSTOLE_OK) {
        probe->failure = post_interrupt(probe);
    }
}

enum systole_status systole_probe_poll(struct systole_probe *probe) {
    enum systole_status status = probe->driver.transport->functions->poll(probe->driver.transport, POLL_MS);
    return status != SYSTOLE_OK ? status : probe->failure;
}

// Waits until the transfer is back; takes it back when nothing happens for the silence.
static enum systole_status await(struct systole_probe *probe, struct posted *posted) {
    uint64_t end = systole_now_ms() + probe->driver.options.silence_ms;
    enum systole_status status = SYSTOLE_OK;
    while (posted->busy && status == SYSTOLE_OK) {
        status = systole_now_ms() < end ? systole_probe_poll(probe) : SYSTOLE_DEVICE_TIMEOUT;
    }
    if (!posted->busy) {
        return posted->transfer.status;
    }
    probe->driver.transport->functions->cancel(probe->driver.transport, &posted->transfer);
    end = systole_now_ms() + CANCEL_MS;
    while (posted->busy && systole_now_ms() < end) {
        (void)probe->driver.transport->functions->poll(probe->driver.transport, 1);
    }
    return status;
}

enum systole_status systole_probe_open(struct systole_transport *transport, const struct systole_target *target,
                                       const uint8_t *firmware, size_t size, uint32_t silence_ms,
                                       struct systole_probe **probe, struct systole_diagnostic *diagnostic) {
    struct systole_probe *made = calloc(1, sizeof *made);
    *probe = NULL;
    if (made == NULL) {
        transport->functions->close(transport);
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, transport->name, "", "no memory for a probe");
    }
    made->driver.transport = transport;
    made->driver.target = *target;
    made->driver.options.silence_ms = silence_ms;
    made->driver.firmware = malloc(size == 0 ? 1 : size);
    made->out_buffer = malloc(BUFFER);
    made->in_buffer = malloc(BUFFER);
    made->next_tag = 1;
    enum systole_status status = SYSTOLE_OK;
    if (made->driver.firmware == NULL || made->out_buffer == NULL || made->in_buffer == NULL) {
        status = systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, transport->name, "", "no memory for a probe");
    } else {
        memcpy(made->driver.firmware, firmware, size);
        made->driver.firmware_size = size;
        status = driver_bring_up(&made->driver, false, diagnostic);
    }
    if (status == SYSTOLE_OK && (status = systole_probe_reset(made)) != SYSTOLE_OK) {
        (void)systole_fail(diagnostic, status, transport->name, "plug the device in again",
                           "the device cannot be reset: %s", systole_status_name(status));
    }
    if (status != SYSTOLE_OK) {
        systole_probe_close(made);
        return status;
    }
    *probe = made;
    return SYSTOLE_OK;
}

static void take_back(struct systole_probe *probe) {
    struct posted *all[] = {&probe->out, &probe->in, &probe->event, &probe->interrupt};
    const struct systole_transport_functions *functions = probe->driver.transport->functions;
    uint64_t end = systole_now_ms() + CANCEL_MS;
    bool busy = false;
    for (uint32_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (all[i]->busy) {
            (void)functions->cancel(probe->driver.transport, &all[i]->transfer);
            busy = true;
        }
    }
    while (busy && systole_now_ms() < end) {
        (void)functions->poll(probe->driver.transport, 1);
        busy = probe->out.busy || probe->in.busy || probe->event.busy || probe->interrupt.busy;
    }
    if (busy) {
        (void)functions->reset(probe->driver.transport);
        (void)functions->poll(probe->driver.transport, 1);
    }
}

void systole_probe_close(struct systole_probe *probe) {
    if (probe == NULL) {
        return;
    }
    take_back(probe);
    probe->driver.transport->functions->close(probe->driver.transport);
    free(probe->in_buffer);
    free(probe->out_buffer);
    free(probe->driver.firmware);
    free(probe);
}

struct systole_transport *systole_probe_transport(struct systole_probe *probe) {
    return probe->driver.transport;
}

enum systole_status systole_probe_read_register(struct systole_probe *probe, uint32_t address, uint64_t *value) {
    return systole_driver_read_register(&probe->driver, address, value);
}

enum systole_status systole_probe_write_register(struct systole_probe *probe, uint32_t address, uint64_t value) {
    return systole_driver_write_register(&probe->driver, address, value);
}

enum systole_status systole_probe_reset(struct systole_probe *probe) {
    take_back(probe);
    enum systole_status status = driver_reset_accelerator(&probe->driver);
    // A device that does not answer may do so after a port reset.
    if (status != SYSTOLE_OK && status != SYSTOLE_DEVICE_GONE &&
        probe->driver.transport->functions->reset(probe->driver.transport) == SYSTOLE_OK) {
        status = driver_reset_accelerator(&probe->driver);
    }
    status = status == SYSTOLE_OK ? driver_clear_halts(&probe->driver) : status;
    probe->event_count = probe->interrupt_count = 0;
    probe->failure = SYSTOLE_OK;
    status = status == SYSTOLE_OK ? post_event(probe) : status;
    return status == SYSTOLE_OK ? post_interrupt(probe) : status;
}

// Appends a frame to what is going to be sent.
static size_t put_frame(struct systole_probe *probe, size_t at, const struct systole_frame_header *header,
                        const void *payload, size_t bytes) {
    size_t padded = (bytes + 7) / 8 * 8;
    memcpy(probe->out_buffer + at, header, sizeof *header);
    at += sizeof *header;
    if (bytes != 0) {
        memcpy(probe->out_buffer + at, payload, bytes);
        memset(probe->out_buffer + at + bytes, 0, padded - bytes);
    }
    return at + padded;
}

static enum systole_status send_out(struct systole_probe *probe, size_t size) {
    enum systole_status status =
        post(probe, &probe->out, SYSTOLE_USB_ENDPOINT_BULK_OUT, probe->out_buffer, size, ended);
    return status == SYSTOLE_OK ? await(probe, &probe->out) : status;
}

enum systole_status systole_probe_send(struct systole_probe *probe, const struct systole_frame_header *header,
                                       const void *payload, size_t bytes) {
    return bytes > FRAME_LIMIT ? SYSTOLE_BAD_ARGUMENT : send_out(probe, put_frame(probe, 0, header, payload, bytes));
}

enum systole_status systole_probe_receive(struct systole_probe *probe, struct systole_frame_header *header,
                                          void *payload, size_t capacity) {
    // With room for a packet more than the frame has, the transfer ends with the frame.
    size_t length = (sizeof *header + capacity + 7) / PACKET * PACKET + 2 * (size_t)PACKET;
    if (capacity > FRAME_LIMIT) {
        return SYSTOLE_BAD_ARGUMENT;
    }
    length = length < BUFFER ? length : BUFFER;
    enum systole_status status = post(probe, &probe->in, SYSTOLE_USB_ENDPOINT_BULK_IN, probe->in_buffer, length, ended);
    status = status == SYSTOLE_OK ? await(probe, &probe->in) : status;
    if (status != SYSTOLE_OK) {
        return status;
    }
    size_t got = probe->in.transfer.actual;
    if (got < sizeof *header) {
        return SYSTOLE_DEVICE_PROTOCOL;
    }
    memcpy(header, probe->in_buffer, sizeof *header);
    if (header->length > capacity || got != sizeof *header + ((size_t)header->length + 7) / 8 * 8) {
        return SYSTOLE_DEVICE_PROTOCOL;
    }
    memcpy(payload, probe->in_buffer + sizeof *header, header->length);
    return SYSTOLE_OK;
}

static enum systole_status await_count(struct systole_probe *probe, const uint32_t *count) {
    uint64_t end = systole_now_ms() + probe->driver.options.silence_ms;
    enum systole_status status = SYSTOLE_OK;
    while (*count == 0 && status == SYSTOLE_OK) {
        status = systole_now_ms() < end ? systole_probe_poll(probe) : SYSTOLE_DEVICE_TIMEOUT;
    }
    return *count != 0 ? SYSTOLE_OK : status;
}

enum systole_status systole_probe_event(struct systole_probe *probe, struct systole_event *event) {
    enum systole_status status = await_count(probe, &probe->event_count);
    if (status == SYSTOLE_OK) {
        *event = probe->events[0];
        probe->event_count--;
        memmove(&probe->events[0], &probe->events[1], probe->event_count * sizeof probe->events[0]);
    }
    return status;
}

uint32_t systole_probe_events_left(const struct systole_probe *probe) {
    return probe->event_count;
}

enum systole_status systole_probe_interrupt(struct systole_probe *probe, uint64_t record[2]) {
    enum systole_status status = await_count(probe, &probe->interrupt_count);
    if (status == SYSTOLE_OK) {
        memcpy(record, probe->interrupts[0], sizeof probe->interrupts[0]);
        probe->interrupt_count--;
        memmove(&probe->interrupts[0], &probe->interrupts[1], probe->interrupt_count * sizeof probe->interrupts[0]);
    }
    return status;
}

enum systole_status systole_probe_write(struct systole_probe *probe, uint32_t word, const void *bytes, uint32_t words) {
    size_t size = (size_t)words * probe->driver.target.columns;
    struct systole_frame_header header = {.magic = SYSTOLE_FRAME_MAGIC,
                                          .kind = SYSTOLE_FRAME_WRITE,
                                          .tag = probe->next_tag++,
                                          .address = word,
                                          .length = (uint32_t)size};
    return systole_probe_send(probe, &header, bytes, size);
}

enum systole_status systole_probe_read(struct systole_probe *probe, uint32_t word, void *bytes, uint32_t words) {
    size_t size = (size_t)words * probe->driver.target.columns;
    struct systole_frame_header header = {.magic = SYSTOLE_FRAME_MAGIC,
                                          .kind = SYSTOLE_FRAME_READ,
                                          .tag = probe->next_tag++,
                                          .address = word,
                                          .length = (uint32_t)size};
    struct systole_frame_header answer;
    if (size > FRAME_LIMIT) {
        return SYSTOLE_BAD_ARGUMENT;
    }
    enum systole_status status = systole_probe_send(probe, &header, NULL, 0);
    status = status == SYSTOLE_OK ? systole_probe_receive(probe, &answer, bytes, size) : status;
    if (status == SYSTOLE_OK && (answer.magic != SYSTOLE_FRAME_MAGIC || answer.kind != SYSTOLE_FRAME_DATA ||
                                 answer.tag != header.tag || answer.address != word || answer.length != size)) {
        return SYSTOLE_DEVICE_PROTOCOL;
    }
    return status;
}

enum systole_status systole_probe_launch(struct systole_probe *probe, const struct systole_launch_descriptor *launch,
                                         const void *stream, size_t bytes) {
    struct systole_frame_header header = {
        .magic = SYSTOLE_FRAME_MAGIC, .kind = SYSTOLE_FRAME_RUN, .tag = launch->token, .length = sizeof *launch};
    if (bytes > FRAME_LIMIT) {
        return SYSTOLE_BAD_ARGUMENT;
    }
    size_t size = put_frame(probe, 0, &header, launch, sizeof *launch);
    if (bytes != 0) {
        header.kind = SYSTOLE_FRAME_STREAM;
        header.length = (uint32_t)bytes;
        size = put_frame(probe, size, &header, stream, bytes);
    }
    return send_out(probe, size);
}

enum systole_status systole_probe_peek(struct systole_probe *probe, uint32_t word, uint8_t *bytes, bool *parity_wrong) {
    return systole_driver_peek(&probe->driver, word, bytes, parity_wrong);
}
