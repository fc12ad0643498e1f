// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "faulty_transport.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

// One transfer of the driver's and the one that stands for it inside.
struct faulty_proxy {
    struct systole_usb_transfer transfer; // first
    struct systole_usb_transfer *outer;
    struct faulty_transport *faulty;
    struct faulty_proxy *next;
    bool inside; // the inner transport has it
};

static struct faulty_transport *faulty(struct systole_transport *transport) {
    return (struct faulty_transport *)transport;
}

static void forget(struct faulty_proxy *proxy) {
    struct faulty_proxy **link = &proxy->faulty->proxies;
    while (*link != proxy) {
        link = &(*link)->next;
    }
    *link = proxy->next;
    proxy->faulty->outstanding--;
    free(proxy);
}

static void finish(struct faulty_proxy *proxy, enum systole_status status, size_t actual) {
    struct systole_usb_transfer *outer = proxy->outer;
    outer->status = status;
    outer->actual = actual;
    forget(proxy);
    outer->complete(outer);
}

static bool strikes(struct faulty_transport *this, uint8_t endpoint) {
    struct faulty_fault *fault = &this->fault;
    if (fault->kind == FAULTY_NONE || fault->endpoint != endpoint || fault->times == 0) {
        return false;
    }
    if (fault->skip != 0) {
        fault->skip--;
        return false;
    }
    fault->times--;
    this->happened++;
    return true;
}

static void note_frames(struct faulty_transport *this, const uint8_t *bytes, size_t size) {
    while (size != 0) {
        size_t moved = sizeof this->header - this->header_size;
        if (moved == 0) {
            moved = this->payload_left < size ? (size_t)this->payload_left : size;
            this->payload_left -= moved;
        } else {
            moved = moved < size ? moved : size;
            memcpy(this->header + this->header_size, bytes, moved);
            this->header_size += moved;
            if (this->header_size == sizeof this->header && this->frame_count < 256) {
                struct systole_frame_header *header = &this->frames[this->frame_count++];
                memcpy(header, this->header, sizeof *header);
                this->payload_left = header->kind == SYSTOLE_FRAME_READ ? 0 : ((uint64_t)header->length + 7) / 8 * 8;
            }
        }
        if (this->header_size == sizeof this->header && this->payload_left == 0) {
            this->header_size = 0;
        }
        bytes += moved;
        size -= moved;
    }
}

static void unplug(struct faulty_transport *this) {
    uint8_t none = 0;
    size_t actual;
    this->inner->functions->control(this->inner, 0x21, 0, 0, 1, &none, 0, 100, &actual); // power is lost: boot
    this->gone = true;
}

static void inner_complete(struct systole_usb_transfer *transfer) {
    struct faulty_proxy *proxy = (struct faulty_proxy *)transfer;
    struct faulty_transport *this = proxy->faulty;
    enum systole_status status = transfer->status;
    size_t actual = transfer->actual;
    proxy->inside = false;
    if (this->gone) {
        finish(proxy, SYSTOLE_DEVICE_GONE, 0);
        return;
    }
    if (status == SYSTOLE_OK && strikes(this, transfer->endpoint)) {
        switch (this->fault.kind) {
        case FAULTY_STALL:
            status = SYSTOLE_DEVICE_STALL;
            actual = 0;
            break;
        case FAULTY_BABBLE:
            status = SYSTOLE_DEVICE_PROTOCOL;
            break;
        case FAULTY_SHORT:
            actual -= actual < 8 ? actual : 8;
            break;
        case FAULTY_LOST:
            proxy->inside = true;
            this->inner->functions->submit(this->inner, transfer);
            return;
        case FAULTY_BYTE:
            transfer->buffer[this->fault.position] ^= 0xff;
            break;
        case FAULTY_SILENT:
            this->silent = true;
            return; // kept until the driver cancels it
        case FAULTY_UNPLUG:
        case FAULTY_GONE_FOREVER:
            unplug(this);
            status = SYSTOLE_DEVICE_GONE;
            actual = 0;
            break;
        default:
            break;
        }
    }
    finish(proxy, status, actual);
}

static enum systole_status control(struct systole_transport *transport, uint8_t request_type, uint8_t request,
                                   uint16_t value, uint16_t index, uint8_t *data, uint16_t length, uint32_t timeout_ms,
                                   size_t *actual) {
    struct faulty_transport *this = faulty(transport);
    *actual = 0;
    if (this->gone) {
        return SYSTOLE_DEVICE_GONE;
    }
    if (request_type == 0x40 && request == SYSTOLE_USB_REQUEST_DEVICE_RESET) {
        this->resets++;
        this->silent = false;
        this->header_size = 0;
        this->payload_left = 0;
    }
    this->detaches += request_type == 0x21 && request == 0 && index == 1;
    return this->inner->functions->control(this->inner, request_type, request, value, index, data, length, timeout_ms,
                                           actual);
}

static enum systole_status submit(struct systole_transport *transport, struct systole_usb_transfer *transfer) {
    struct faulty_transport *this = faulty(transport);
    struct faulty_proxy *proxy;
    if (this->gone) {
        return SYSTOLE_DEVICE_GONE;
    }
    proxy = calloc(1, sizeof *proxy);
    if (proxy == NULL) {
        abort();
    }
    proxy->transfer = *transfer;
    proxy->transfer.complete = inner_complete;
    proxy->outer = transfer;
    proxy->faulty = this;
    proxy->next = this->proxies;
    this->proxies = proxy;
    this->outstanding++;
    if (transfer->endpoint == SYSTOLE_USB_ENDPOINT_BULK_OUT) {
        note_frames(this, transfer->buffer, transfer->length);
        if (this->fault.kind == FAULTY_BYTE && strikes(this, transfer->endpoint)) {
            transfer->buffer[this->fault.position] ^= 0xff;
        }
    }
    proxy->inside = true;
    enum systole_status status = this->inner->functions->submit(this->inner, &proxy->transfer);
    if (status != SYSTOLE_OK) {
        forget(proxy);
    }
    return status;
}

static enum systole_status cancel(struct systole_transport *transport, struct systole_usb_transfer *transfer) {
    struct faulty_transport *this = faulty(transport);
    this->silent = false;
    for (struct faulty_proxy *proxy = this->proxies; proxy != NULL; proxy = proxy->next) {
        if (proxy->outer == transfer) {
            if (!proxy->inside) {
                finish(proxy, SYSTOLE_CANCELLED, 0);
                return SYSTOLE_OK;
            }
            return this->inner->functions->cancel(this->inner, &proxy->transfer);
        }
    }
    return SYSTOLE_OK;
}

static enum systole_status poll(struct systole_transport *transport, uint32_t timeout_ms) {
    struct faulty_transport *this = faulty(transport);
    if (this->silent) {
        struct timespec rest = {0, 1000000};
        nanosleep(&rest, NULL);
        return SYSTOLE_OK;
    }
    return this->inner->functions->poll(this->inner, timeout_ms);
}

static enum systole_status attach(struct systole_transport *transport, uint16_t product_id, uint32_t timeout_ms) {
    struct faulty_transport *this = faulty(transport);
    if (this->gone && this->fault.kind == FAULTY_GONE_FOREVER) {
        return SYSTOLE_DEVICE_TIMEOUT;
    }
    enum systole_status status = this->inner->functions->attach(this->inner, product_id, timeout_ms);
    this->gone = this->gone && status != SYSTOLE_OK;
    return status;
}

static enum systole_status reset(struct systole_transport *transport) {
    struct faulty_transport *this = faulty(transport);
    this->silent = false;
    return this->gone ? SYSTOLE_DEVICE_GONE : this->inner->functions->reset(this->inner);
}

static void close(struct systole_transport *transport) {
    struct faulty_transport *this = faulty(transport);
    this->inner->functions->close(this->inner);
    for (struct faulty_proxy *proxy = this->proxies, *next; proxy != NULL; proxy = next) {
        next = proxy->next;
        free(proxy);
    }
    free(this);
}

static void simulation(struct systole_transport *transport, uint64_t *cycles, double *seconds) {
    faulty(transport)->inner->functions->simulation(faulty(transport)->inner, cycles, seconds);
}

struct faulty_transport *faulty_transport_create(struct systole_transport *inner) {
    static const struct systole_transport_functions functions = {
        .control = control,
        .submit = submit,
        .cancel = cancel,
        .poll = poll,
        .attach = attach,
        .reset = reset,
        .close = close,
        .simulation = simulation,
    };
    struct faulty_transport *this = calloc(1, sizeof *this);
    if (this == NULL) {
        abort();
    }
    this->transport.functions = &functions;
    this->transport.name = "faulty";
    this->inner = inner;
    return this;
}
