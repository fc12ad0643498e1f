// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "recording_transport.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "systole_spec.h"
#include "usb_setup.h"

enum {
    FIRST_ADDRESS = 2,
    LAST_ADDRESS = 127,
    ROOT_HUB = 1,
    IN_PROGRESS = -115,
    STANDARD_IN = 0x80,
    DEVICE_DESCRIPTOR = 0x0100,
    DESCRIPTOR_MS = 1000,
    PORT_REQUEST = 0x23, // SetPortFeature of a hub: USB 2.0, 11.24.2.13
    PORT_RESET = 4,
};

// A transfer of the caller's and the one that stands for it inside.
struct proxy {
    struct systole_usb_transfer transfer; // first
    struct systole_usb_transfer *outer;
    struct recording *recording;
    struct proxy *next;
    uint64_t id;
    uint8_t device;
};

struct recording {
    struct systole_transport transport; // first
    struct systole_transport_functions functions;
    struct systole_transport *inner;
    struct systole_capture *capture;
    struct proxy *proxies;
    uint64_t next_id;
    uint16_t bus;
    uint8_t device;
};

static struct recording *recording(struct systole_transport *transport) {
    return (struct recording *)transport;
}

// Linux's error numbers, as usbmon shows them.
static int32_t number_of(enum systole_status status) {
    switch (status) {
    case SYSTOLE_OK:
        return 0;
    case SYSTOLE_CANCELLED:
        return -2; // ENOENT
    case SYSTOLE_DEVICE_STALL:
        return -32; // EPIPE
    case SYSTOLE_DEVICE_GONE:
        return -108; // ESHUTDOWN
    case SYSTOLE_DEVICE_TIMEOUT:
        return -110; // ETIMEDOUT
    case SYSTOLE_OUT_OF_MEMORY:
        return -12; // ENOMEM
    default:
        return -71; // EPROTO
    }
}

static uint8_t transfer_type(uint8_t endpoint) {
    return endpoint == SYSTOLE_USB_ENDPOINT_INTERRUPT_IN ? SYSTOLE_USB_INTERRUPT : SYSTOLE_USB_BULK;
}

// ---- Control.

static uint64_t record_setup(struct recording *this, uint8_t device, const uint8_t *setup, const uint8_t *data) {
    bool in = (setup[0] & 0x80) != 0;
    uint32_t length = setup[6] | (uint32_t)setup[7] << 8;
    struct systole_usb_record record = {.id = this->next_id++,
                                        .type = 'S',
                                        .transfer = SYSTOLE_USB_CONTROL,
                                        .endpoint = in ? 0x80 : 0,
                                        .device = device,
                                        .bus = this->bus,
                                        .has_setup = true,
                                        .status = IN_PROGRESS,
                                        .length = length,
                                        .data_bytes = in ? 0 : length,
                                        .data = data};
    memcpy(record.setup, setup, sizeof record.setup);
    systole_capture_write(this->capture, &record);
    return record.id;
}

static void record_answer(struct recording *this, uint64_t id, uint8_t device, bool in, enum systole_status status,
                          const uint8_t *data, size_t actual) {
    struct systole_usb_record record = {.id = id,
                                        .type = 'C',
                                        .transfer = SYSTOLE_USB_CONTROL,
                                        .endpoint = in ? 0x80 : 0,
                                        .device = device,
                                        .bus = this->bus,
                                        .status = number_of(status),
                                        .length = (uint32_t)actual,
                                        .data_bytes = in ? (uint32_t)actual : 0,
                                        .data = data};
    systole_capture_write(this->capture, &record);
}

static enum systole_status control(struct systole_transport *transport, uint8_t request_type, uint8_t request,
                                   uint16_t value, uint16_t index, uint8_t *data, uint16_t length, uint32_t timeout_ms,
                                   size_t *actual) {
    struct recording *this = recording(transport);
    uint8_t setup[SYSTOLE_USB_SETUP_BYTES];
    systole_usb_setup(setup, request_type, request, value, index, length);
    uint64_t id = record_setup(this, this->device, setup, data);
    enum systole_status status = this->inner->functions->control(this->inner, request_type, request, value, index, data,
                                                                 length, timeout_ms, actual);
    record_answer(this, id, this->device, (request_type & 0x80) != 0, status, data, *actual);
    return status;
}

// ---- Transfers.

static void record_transfer(const struct proxy *proxy, char type) {
    const struct recording *this = proxy->recording;
    const struct systole_usb_transfer *transfer = &proxy->transfer;
    bool in = (transfer->endpoint & 0x80) != 0, submitted = type == 'S';
    size_t length = submitted ? transfer->length : transfer->actual;
    struct systole_usb_record record = {.id = proxy->id,
                                        .type = type,
                                        .transfer = transfer_type(transfer->endpoint),
                                        .endpoint = transfer->endpoint,
                                        .device = proxy->device,
                                        .bus = this->bus,
                                        .status = submitted ? IN_PROGRESS : number_of(transfer->status),
                                        .length = (uint32_t)length,
                                        .data_bytes = in != submitted ? (uint32_t)length : 0,
                                        .data = transfer->buffer};
    systole_capture_write(this->capture, &record);
}

static void forget(struct proxy *proxy) {
    struct proxy **at = &proxy->recording->proxies;
    while (*at != proxy) {
        at = &(*at)->next;
    }
    *at = proxy->next;
    free(proxy);
}

static void complete(struct systole_usb_transfer *ended) {
    struct proxy *proxy = (struct proxy *)ended;
    struct systole_usb_transfer *outer = proxy->outer;
    record_transfer(proxy, 'C');
    outer->actual = ended->actual;
    outer->status = ended->status;
    outer->transport_detail = NULL;
    forget(proxy);
    outer->complete(outer);
}

static enum systole_status submit(struct systole_transport *transport, struct systole_usb_transfer *transfer) {
    struct recording *this = recording(transport);
    struct proxy *proxy = calloc(1, sizeof *proxy);
    if (proxy == NULL) {
        return SYSTOLE_OUT_OF_MEMORY;
    }
    *proxy = (struct proxy){.transfer = {.endpoint = transfer->endpoint,
                                         .buffer = transfer->buffer,
                                         .length = transfer->length,
                                         .complete = complete},
                            .outer = transfer,
                            .recording = this,
                            .next = this->proxies,
                            .id = this->next_id++,
                            .device = this->device};
    this->proxies = proxy;
    record_transfer(proxy, 'S');
    transfer->actual = 0;
    transfer->status = SYSTOLE_OK;
    enum systole_status status = this->inner->functions->submit(this->inner, &proxy->transfer);
    if (status != SYSTOLE_OK) {
        proxy->transfer.status = status;
        record_transfer(proxy, 'E');
        forget(proxy);
        return status;
    }
    transfer->transport_detail = proxy;
    return SYSTOLE_OK;
}

static enum systole_status cancel(struct systole_transport *transport, struct systole_usb_transfer *transfer) {
    struct recording *this = recording(transport);
    struct proxy *proxy = this->proxies;
    while (proxy != NULL && proxy->outer != transfer) {
        proxy = proxy->next;
    }
    return proxy == NULL ? SYSTOLE_OK : this->inner->functions->cancel(this->inner, &proxy->transfer);
}

static enum systole_status poll(struct systole_transport *transport, uint32_t timeout_ms) {
    struct recording *this = recording(transport);
    return this->inner->functions->poll(this->inner, timeout_ms);
}

// ---- The device comes and goes.

static void ask_descriptor(struct recording *this) {
    uint8_t descriptor[18];
    size_t actual = 0;
    this->device = this->device == LAST_ADDRESS ? FIRST_ADDRESS : (uint8_t)(this->device + 1);
    (void)control(&this->transport, STANDARD_IN, SYSTOLE_USB_GET_DESCRIPTOR, DEVICE_DESCRIPTOR, 0, descriptor,
                  sizeof descriptor, DESCRIPTOR_MS, &actual);
}

static enum systole_status attach(struct systole_transport *transport, uint16_t product_id, uint32_t timeout_ms) {
    struct recording *this = recording(transport);
    enum systole_status status = this->inner->functions->attach(this->inner, product_id, timeout_ms);
    if (status == SYSTOLE_OK) {
        ask_descriptor(this);
    }
    return status;
}

static enum systole_status reset(struct systole_transport *transport) {
    struct recording *this = recording(transport);
    uint8_t setup[SYSTOLE_USB_SETUP_BYTES];
    systole_usb_setup(setup, PORT_REQUEST, SYSTOLE_USB_SET_FEATURE, PORT_RESET, 1, 0);
    uint64_t id = record_setup(this, ROOT_HUB, setup, NULL);
    enum systole_status status = this->inner->functions->reset(this->inner);
    record_answer(this, id, ROOT_HUB, false, status, NULL, 0);
    return status;
}

static enum systole_status release(struct systole_transport *transport) {
    struct recording *this = recording(transport);
    return this->inner->functions->release(this->inner);
}

static enum systole_status claim(struct systole_transport *transport, uint32_t timeout_ms) {
    struct recording *this = recording(transport);
    enum systole_status status = this->inner->functions->claim(this->inner, timeout_ms);
    if (status == SYSTOLE_OK) {
        ask_descriptor(this);
    }
    return status;
}

static void close_transport(struct systole_transport *transport) {
    struct recording *this = recording(transport);
    this->inner->functions->close(this->inner); // takes all transfers back, untold
    struct proxy *proxy;
    while ((proxy = this->proxies) != NULL) {
        this->proxies = proxy->next;
        proxy->transfer.status = SYSTOLE_CANCELLED;
        proxy->transfer.actual = 0;
        record_transfer(proxy, 'C');
        free(proxy);
    }
    free(this);
}

static int descriptor(struct systole_transport *transport) {
    struct recording *this = recording(transport);
    return this->inner->functions->descriptor(this->inner);
}

static void observe(struct systole_transport *transport, const struct systole_observer *observer) {
    struct recording *this = recording(transport);
    this->inner->functions->observe(this->inner, observer);
}

static enum systole_status peek(struct systole_transport *transport, uint32_t word, uint32_t words, uint8_t *bytes) {
    struct recording *this = recording(transport);
    return this->inner->functions->peek(this->inner, word, words, bytes);
}

static void simulation(struct systole_transport *transport, uint64_t *cycles, double *seconds) {
    struct recording *this = recording(transport);
    this->inner->functions->simulation(this->inner, cycles, seconds);
}

enum systole_status systole_recording_open(struct systole_transport *inner, struct systole_capture *capture,
                                           struct systole_transport **transport,
                                           struct systole_diagnostic *diagnostic) {
    const struct systole_transport_functions *has = inner->functions;
    struct recording *this = calloc(1, sizeof *this);
    *transport = NULL;
    if (this == NULL) {
        has->close(inner);
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, "", "", "no memory for a recording");
    }
    this->functions = (struct systole_transport_functions){
        .control = control,
        .submit = submit,
        .cancel = cancel,
        .poll = poll,
        .attach = attach,
        .reset = reset,
        .close = close_transport,
        .descriptor = has->descriptor == NULL ? NULL : descriptor,
        .release = has->release == NULL ? NULL : release,
        .claim = has->claim == NULL ? NULL : claim,
        .observe = has->observe == NULL ? NULL : observe,
        .peek = has->peek == NULL ? NULL : peek,
        .simulation = has->simulation == NULL ? NULL : simulation,
    };
    this->transport = (struct systole_transport){.functions = &this->functions, .name = inner->name};
    this->inner = inner;
    this->capture = capture;
    this->next_id = 1;
    this->device = FIRST_ADDRESS - 1;
    unsigned bus = 1;
    this->bus = sscanf(inner->name, "usb:%u-", &bus) == 1 && bus <= UINT16_MAX ? (uint16_t)bus : 1;
    ask_descriptor(this);
    *transport = &this->transport;
    return SYSTOLE_OK;
}
