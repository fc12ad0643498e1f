// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Devices behind a listening socket. A protocol is a machine of bytes: what a peer sends goes in, what it is answered
// comes out, and it knows nothing of sockets; so tests and fuzzers drive it as the server does.
#ifndef SYSTOLE_BUS_SERVER_H
#define SYSTOLE_BUS_SERVER_H

#include "usb_port.h"

// Bytes on their way to a peer.
struct systole_byte_queue {
    uint8_t *bytes;
    size_t start, count, capacity;
    bool failed; // there was no memory: the connection is of no use any more
};
void systole_byte_queue_append(struct systole_byte_queue *queue, const void *bytes, size_t size);
void systole_byte_queue_take(struct systole_byte_queue *queue, size_t size); // forgets that many from the front
void systole_byte_queue_free(struct systole_byte_queue *queue);

struct systole_bus {
    struct systole_usb_port *ports;
    uint32_t count;
};

struct systole_bus_protocol {
    const char *name;
    // A peer has come. NULL: it cannot be served (no memory, no device is free). bus and out outlive the session.
    void *(*open)(struct systole_bus *bus, struct systole_byte_queue *out);
    // Bytes came from the peer. False: end the connection, when what stands in `out` is sent.
    bool (*receive)(void *session, const uint8_t *bytes, size_t size);
    // Devices have worked. False: as above.
    bool (*advance)(void *session);
    void (*close)(void *session);
};
extern const struct systole_bus_protocol systole_usbredir_protocol, systole_usbip_protocol;

#endif
