// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A device at a port whose host is somewhere else: transfers wait here, each endpoint's in the order of submission,
// until the device has moved them. The servers that speak a protocol of USB over a network stand on this, and the
// virtual usbfs.
#ifndef SYSTOLE_USB_PORT_H
#define SYSTOLE_USB_PORT_H

#include "device.h"

enum {
    SYSTOLE_PORT_LARGEST_TRANSFER = 64 << 20,
    SYSTOLE_PORT_MOST_TRANSFERS = 4096,
};
#define SYSTOLE_PORT_LARGEST_QUEUE ((size_t)256 << 20) // bytes of all transfers that wait

enum systole_port_result {
    SYSTOLE_PORT_DONE,
    SYSTOLE_PORT_STALL,
    SYSTOLE_PORT_BABBLE,
    SYSTOLE_PORT_CANCELLED,
    SYSTOLE_PORT_GONE, // the device was reset, unplugged, or became another one; or the host left
};

// malloc'ed by the user of the port, with its buffer; both are the port's until `complete`.
struct systole_port_transfer {
    struct systole_port_transfer *next; // the port's
    uint64_t id;                        // one of a kind among those that wait
    uint8_t endpoint;                   // bit 7: towards the host; number 0: a control transfer
    uint8_t setup[8];                   // of a control transfer
    uint32_t flags;                     // the user's
    void *context;                      // the user's
    uint8_t *buffer;                    // size bytes; a control transfer's has room for wLength at least
    size_t size, moved;
};

struct systole_port_user {
    // The transfer is the user's again, to be freed with systole_port_transfer_free.
    void (*complete)(void *context, struct systole_port_transfer *transfer, enum systole_port_result result);
    // The device became another one, was unplugged or plugged in: see systole_usb_device_present. All transfers have
    // been completed as GONE.
    void (*changed)(void *context);
    void *context;
};

struct systole_usb_port {
    struct systole_usb_device *device; // not the port's
    struct systole_port_user user;     // complete NULL: nobody is there
    struct systole_port_transfer *waiting;
    size_t waiting_bytes;
    uint32_t waiting_count;
};

// NULL: no memory. setup NULL: not a control transfer, and the buffer's bytes have no value yet; else the buffer is
// zeros, wLength of them if that is more than size.
struct systole_port_transfer *systole_port_transfer_create(uint64_t id, uint8_t endpoint, const uint8_t setup[8],
                                                           size_t size);
void systole_port_transfer_free(struct systole_port_transfer *transfer);

// Connects a host: the device is reset as one that is plugged in. False: another host has it, or it is not there.
bool systole_usb_port_take(struct systole_usb_port *port, const struct systole_port_user *user);
void systole_usb_port_leave(struct systole_usb_port *port); // completes what waits as GONE
// False: too much waits already, or the id does; the transfer stays the caller's.
bool systole_usb_port_submit(struct systole_usb_port *port, struct systole_port_transfer *transfer);
bool systole_usb_port_cancel(struct systole_usb_port *port, uint64_t id); // false: no such transfer waits
void systole_usb_port_reset(struct systole_usb_port *port);               // what waits is completed as GONE
// Moves what can be moved without letting the device work; true: something was completed.
bool systole_usb_port_move(struct systole_usb_port *port);
// Lets transfers and device work until a transfer is complete, nothing is left to do or the turn is over; false: it
// was idle.
bool systole_usb_port_run(struct systole_usb_port *port);

#endif
