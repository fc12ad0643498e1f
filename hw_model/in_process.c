// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The transport straight into a device in software: transfers wait in one queue an endpoint, and poll alternates
// between moving bytes and letting the accelerator run. The slices are counted in cycles, so the same calls meet the
// same device state every time; wall time only decides when poll returns.
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "device.h"
#include "usb_setup.h"

enum {
    COMPLETIONS = 64, // a poll, about: who submits again what failed must not keep it forever
    ENDPOINTS = 4,
};

struct queue {
    struct systole_usb_transfer *first, *last;
};

struct in_process {
    struct systole_transport transport; // first
    struct systole_usb_device *device;
    struct queue queues[ENDPOINTS];
    struct queue ended; // cancelled or failed, waiting for poll
    bool attached;
    int descriptor; // always readable: the device runs only in poll
    uint64_t cycles;
    double seconds;
};

static const uint8_t addresses[ENDPOINTS] = {SYSTOLE_USB_ENDPOINT_BULK_OUT, SYSTOLE_USB_ENDPOINT_BULK_IN,
                                             SYSTOLE_USB_ENDPOINT_EVENT_IN, SYSTOLE_USB_ENDPOINT_INTERRUPT_IN};

static struct in_process *in_process(struct systole_transport *transport) {
    return (struct in_process *)transport;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void rest_ms(long ms) {
    struct timespec rest = {0, ms * 1000000};
    nanosleep(&rest, NULL);
}

// transport_detail links the transfers of a queue.
static void append(struct queue *queue, struct systole_usb_transfer *transfer) {
    transfer->transport_detail = NULL;
    if (queue->first == NULL) {
        queue->first = transfer;
    } else {
        queue->last->transport_detail = transfer;
    }
    queue->last = transfer;
}

static struct systole_usb_transfer *take(struct queue *queue) {
    struct systole_usb_transfer *transfer = queue->first;
    if (transfer != NULL) {
        queue->first = transfer->transport_detail;
    }
    return transfer;
}

static void end_all(struct in_process *this, enum systole_status status) {
    for (uint32_t i = 0; i < ENDPOINTS; i++) {
        for (struct systole_usb_transfer *transfer; (transfer = take(&this->queues[i])) != NULL;) {
            transfer->status = status;
            append(&this->ended, transfer);
        }
    }
}

static void configure(struct in_process *this) {
    uint8_t setup[SYSTOLE_USB_SETUP_BYTES], none = 0;
    systole_usb_setup(setup, 0, SYSTOLE_USB_SET_CONFIGURATION, 1, 0, 0);
    size_t actual;
    systole_usb_control(this->device, setup, &none, &actual);
    this->attached = true;
}

static void notice_reenumeration(struct in_process *this) {
    if (systole_usb_device_reenumerates(this->device)) {
        this->attached = false;
        end_all(this, SYSTOLE_DEVICE_GONE);
    }
}

static enum systole_status control(struct systole_transport *transport, uint8_t request_type, uint8_t request,
                                   uint16_t value, uint16_t index, uint8_t *data, uint16_t length, uint32_t timeout_ms,
                                   size_t *actual) {
    struct in_process *this = in_process(transport);
    uint8_t none = 0;
    double end = now() + 1e-3 * (double)timeout_ms;
    *actual = 0;
    notice_reenumeration(this);
    if (!this->attached) {
        return SYSTOLE_DEVICE_GONE;
    }
    uint8_t setup[SYSTOLE_USB_SETUP_BYTES];
    systole_usb_setup(setup, request_type, request, value, index, length);
    enum systole_usb_result result = systole_usb_control(this->device, setup, data == NULL ? &none : data, actual);
    while (result == SYSTOLE_USB_NAK && systole_usb_device_present(this->device) && now() < end) {
        rest_ms(1);
        result = systole_usb_control(this->device, setup, data == NULL ? &none : data, actual);
    }
    bool gone = result == SYSTOLE_USB_NAK && !systole_usb_device_present(this->device);
    notice_reenumeration(this);
    return result == SYSTOLE_USB_DONE    ? SYSTOLE_OK
           : gone                        ? SYSTOLE_DEVICE_GONE
           : result == SYSTOLE_USB_NAK   ? SYSTOLE_DEVICE_TIMEOUT
           : result == SYSTOLE_USB_STALL ? SYSTOLE_DEVICE_STALL
                                         : SYSTOLE_DEVICE_PROTOCOL;
}

static enum systole_status submit(struct systole_transport *transport, struct systole_usb_transfer *transfer) {
    struct in_process *this = in_process(transport);
    if (!this->attached) {
        return SYSTOLE_DEVICE_GONE;
    }
    for (uint32_t i = 0; i < ENDPOINTS; i++) {
        if (addresses[i] == transfer->endpoint) {
            transfer->actual = 0;
            transfer->status = SYSTOLE_OK;
            append(&this->queues[i], transfer);
            return SYSTOLE_OK;
        }
    }
    return SYSTOLE_BAD_ARGUMENT;
}

static enum systole_status cancel(struct systole_transport *transport, struct systole_usb_transfer *transfer) {
    struct in_process *this = in_process(transport);
    for (uint32_t i = 0; i < ENDPOINTS; i++) {
        struct queue kept = {NULL, NULL};
        for (struct systole_usb_transfer *other; (other = take(&this->queues[i])) != NULL;) {
            if (other == transfer) {
                transfer->status = SYSTOLE_CANCELLED;
            }
            append(other == transfer ? &this->ended : &kept, other);
        }
        this->queues[i] = kept;
    }
    return SYSTOLE_OK;
}

// Moves what can be moved on one endpoint; true: a transfer is complete and was taken from the queue.
static struct systole_usb_transfer *move(struct in_process *this, struct queue *queue) {
    struct systole_usb_transfer *transfer = queue->first;
    while (transfer != NULL) {
        uint8_t *bytes = transfer->buffer + transfer->actual;
        size_t left = transfer->length - transfer->actual, actual = 0;
        bool short_packet = false;
        enum systole_usb_result result =
            (transfer->endpoint & 0x80) != 0
                ? systole_usb_in(this->device, transfer->endpoint, bytes, left, &actual, &short_packet)
                : systole_usb_out(this->device, transfer->endpoint, bytes, left, &actual);
        transfer->actual += actual;
        if (result == SYSTOLE_USB_STALL || result == SYSTOLE_USB_BABBLE) {
            transfer->status = result == SYSTOLE_USB_STALL ? SYSTOLE_DEVICE_STALL : SYSTOLE_DEVICE_PROTOCOL;
            return take(queue);
        }
        if (result == SYSTOLE_USB_NAK) {
            return NULL;
        }
        if (short_packet || transfer->actual == transfer->length) {
            return take(queue);
        }
    }
    return NULL;
}

// Completes all that can be completed now; returns how many.
static uint32_t complete_ready(struct in_process *this) {
    uint32_t completed = 0;
    bool again = true;
    while (again && completed < COMPLETIONS) {
        again = false;
        notice_reenumeration(this);
        for (struct systole_usb_transfer *transfer; (transfer = take(&this->ended)) != NULL;) {
            completed++;
            transfer->complete(transfer);
        }
        for (uint32_t i = 0; i < ENDPOINTS && this->attached; i++) {
            struct systole_usb_transfer *transfer = move(this, &this->queues[i]);
            if (transfer != NULL) {
                again = true;
                completed++;
                transfer->complete(transfer);
            }
        }
        again = again || this->ended.first != NULL;
    }
    return completed;
}

static enum systole_status poll(struct systole_transport *transport, uint32_t timeout_ms) {
    struct in_process *this = in_process(transport);
    double end = now() + 1e-3 * (double)timeout_ms;
    bool alive = true;
    while (complete_ready(this) == 0 && alive) {
        double before = now();
        uint64_t cycle = systole_usb_accelerator(this->device)->functions->cycle(systole_usb_accelerator(this->device));
        alive = systole_usb_device_run(this->device);
        double after = now();
        this->cycles +=
            systole_usb_accelerator(this->device)->functions->cycle(systole_usb_accelerator(this->device)) - cycle;
        this->seconds += after - before;
        if (after >= end) {
            complete_ready(this);
            break;
        }
        if (!alive && timeout_ms != 0) { // nothing will happen by itself: let the caller's clock advance
            rest_ms(timeout_ms < 2 ? timeout_ms : 2);
        }
    }
    return SYSTOLE_OK;
}

static enum systole_status attach(struct systole_transport *transport, uint16_t product_id, uint32_t timeout_ms) {
    struct in_process *this = in_process(transport);
    double end = now() + 1e-3 * (double)timeout_ms;
    notice_reenumeration(this);
    while (!systole_usb_device_present(this->device) && now() < end) { // unplugged by a fault
        rest_ms(1);
        notice_reenumeration(this);
    }
    if (!systole_usb_device_present(this->device) || systole_usb_product(this->device) != product_id) {
        return SYSTOLE_DEVICE_TIMEOUT; // what is there now does not become another
    }
    configure(this);
    return SYSTOLE_OK;
}

static enum systole_status reset(struct systole_transport *transport) {
    struct in_process *this = in_process(transport);
    if (!this->attached) {
        return SYSTOLE_DEVICE_GONE;
    }
    systole_usb_device_bus_reset(this->device);
    end_all(this, SYSTOLE_CANCELLED);
    configure(this);
    return SYSTOLE_OK;
}

static void close_transport(struct systole_transport *transport) {
    if (transport != NULL) {
        systole_usb_device_free(in_process(transport)->device);
        if (in_process(transport)->descriptor >= 0) {
            (void)close(in_process(transport)->descriptor);
        }
        free(transport);
    }
}

static int descriptor(struct systole_transport *transport) {
    return in_process(transport)->descriptor;
}

static void observe(struct systole_transport *transport, const struct systole_observer *observer) {
    struct systole_accelerator *accelerator = systole_usb_accelerator(in_process(transport)->device);
    accelerator->functions->observe(accelerator, observer);
}

static enum systole_status peek(struct systole_transport *transport, uint32_t word, uint32_t words, uint8_t *bytes) {
    struct systole_accelerator *accelerator = systole_usb_accelerator(in_process(transport)->device);
    accelerator->functions->peek(accelerator, word, words, bytes);
    return SYSTOLE_OK;
}

static void simulation(struct systole_transport *transport, uint64_t *cycles, double *seconds) {
    *cycles = in_process(transport)->cycles;
    *seconds = in_process(transport)->seconds;
}

enum systole_status systole_in_process_open(struct systole_usb_device *device, const char *name,
                                            struct systole_transport **transport,
                                            struct systole_diagnostic *diagnostic) {
    static const struct systole_transport_functions functions = {
        .control = control,
        .submit = submit,
        .cancel = cancel,
        .poll = poll,
        .attach = attach,
        .reset = reset,
        .close = close_transport,
        .descriptor = descriptor,
        .observe = observe,
        .peek = peek,
        .simulation = simulation,
    };
    struct in_process *this = calloc(1, sizeof *this);
    if (this == NULL) {
        systole_usb_device_free(device);
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, name, "", "no memory for the transport");
    }
    this->transport.functions = &functions;
    this->transport.name = name;
    this->device = device;
    this->descriptor = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    systole_usb_device_reenumerates(device); // whatever was before, this is a first plug
    configure(this);
    *transport = &this->transport;
    return SYSTOLE_OK;
}
