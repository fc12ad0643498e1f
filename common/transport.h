// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The way from the driver to a device: one table of functions. hw_model and the libusb transport each fill one;
// cli (or a user) hands it to the driver. Modelled on USB: control, bulk and interrupt transfers, asynchronous.
#ifndef SYSTOLE_TRANSPORT_H
#define SYSTOLE_TRANSPORT_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

struct systole_transport;

// The longest wait for a sign of life of a device, where the user names none.
enum { SYSTOLE_SILENCE_MS = 10000 };

// One transfer on a bulk or interrupt endpoint. The caller owns it and its buffer until `complete` is called or the
// transport is closed. Direction is bit 7 of the endpoint, as in USB.
struct systole_usb_transfer {
    uint8_t endpoint;
    uint8_t *buffer;
    size_t length;
    size_t actual;              // bytes moved, set before `complete`
    enum systole_status status; // OK, CANCELLED, DEVICE_STALL, DEVICE_GONE, DEVICE_PROTOCOL (babble)
    void (*complete)(struct systole_usb_transfer *transfer);
    void *context;          // the submitter's
    void *transport_detail; // the transport's
};

// What an in-process device tells when a command retires, at that very cycle, before anything else runs.
// `peek` reads scratchpad words; only in-process transports have this.
struct systole_retirement {
    uint32_t token, command, unit;
    uint64_t cycle; // since the doorbell
};
struct systole_observer {
    void (*retired)(void *context, const struct systole_retirement *retirement);
    void *context;
};

struct systole_transport_functions {
    // Blocking control transfer on endpoint 0 (requests of spec/framing.toml and standard ones), wall-time limit.
    // `data` is read or written by the direction bit of request_type; returns bytes moved through *actual.
    enum systole_status (*control)(struct systole_transport *transport, uint8_t request_type, uint8_t request,
                                   uint16_t value, uint16_t index, uint8_t *data, uint16_t length, uint32_t timeout_ms,
                                   size_t *actual);
    // Queues a transfer; never blocks. On failure `complete` is not called.
    enum systole_status (*submit)(struct systole_transport *transport, struct systole_usb_transfer *transfer);
    // Asks for a transfer to end early; it still completes through poll, with SYSTOLE_CANCELLED unless it was quicker.
    enum systole_status (*cancel)(struct systole_transport *transport, struct systole_usb_transfer *transfer);
    // Runs the device or waits for it, at most timeout_ms, calling `complete` from this thread. Returns OK also when
    // nothing happened. An in-process device simulates a bounded slice of cycles a call.
    enum systole_status (*poll)(struct systole_transport *transport, uint32_t timeout_ms);
    // Waits until the device is there with this product id (it re-enumerates after firmware) and attaches to it.
    enum systole_status (*attach)(struct systole_transport *transport, uint16_t product_id, uint32_t timeout_ms);
    // USB port reset; endpoints are emptied, outstanding transfers complete with SYSTOLE_CANCELLED.
    enum systole_status (*reset)(struct systole_transport *transport);
    void (*close)(struct systole_transport *transport);
    // A descriptor, the transport's own, that is readable when poll has something to do. May be NULL.
    int (*descriptor)(struct systole_transport *transport);

    // Gives the device to others, without forgetting which one it is; all transfers are back. Then only claim and close
    // may be called. NULL, both: nobody else can have it.
    enum systole_status (*release)(struct systole_transport *transport);
    // Waits until nobody else has it. It may be in any state, and in either personality. SYSTOLE_NO_DEVICE: somebody
    // has had it all the time; SYSTOLE_DEVICE_GONE: it is not there.
    enum systole_status (*claim)(struct systole_transport *transport, uint32_t timeout_ms);

    // In-process devices only; NULL elsewhere.
    void (*observe)(struct systole_transport *transport, const struct systole_observer *observer);
    enum systole_status (*peek)(struct systole_transport *transport, uint32_t word, uint32_t words, uint8_t *bytes);
    // Cycles and seconds spent simulating since open, for simulated_cycles_per_second.
    void (*simulation)(struct systole_transport *transport, uint64_t *cycles, double *seconds);
};

struct systole_transport {
    const struct systole_transport_functions *functions;
    const char *name; // "model", "rtl", "usb:1-1" ...
};

#endif
