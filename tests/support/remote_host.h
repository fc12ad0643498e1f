// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The other end of the bus servers' protocols, without sockets: a host that enumerates nothing by itself and says only
// what a test tells it to.
#ifndef SYSTOLE_REMOTE_HOST_H
#define SYSTOLE_REMOTE_HOST_H

#include "bus_server.h"

enum { REMOTE_ANSWERS = 16, REMOTE_ANSWER_BYTES = 70000 };

enum remote_status { REMOTE_DONE, REMOTE_STALLED, REMOTE_CANCELLED, REMOTE_OTHER };
struct remote_answer {
    uint64_t id;
    enum remote_status status;
    size_t actual;
    uint8_t bytes[REMOTE_ANSWER_BYTES];
};

struct remote_host {
    const struct systole_bus_protocol *protocol;
    struct systole_bus *bus;
    struct systole_byte_queue from_server;
    struct systole_byte_queue *record; // receives all that is sent, over all connections; NULL: nobody wants it
    void *session;
    bool ended;       // by the server
    bool connected;   // it has told of a device
    size_t at_once;   // bytes that the server gets at once; 0: all
    uint16_t product; // of that device
    uint64_t next_id;
    struct usbredirparser *parser; // of usbredir
    uint8_t *to_server;            // of usbredir: what its parser wants to send
    size_t to_server_size;
    const uint8_t *parsed;
    size_t parsed_left;
    uint32_t interrupts; // packets that came unasked for
    struct remote_answer interrupt;
    struct remote_answer answers[REMOTE_ANSWERS]; // the latest, by id
    uint32_t answer_count;
};

// Opens a connection to a server of `protocol` and its first free device; false: it was refused.
bool remote_open(struct remote_host *host, const struct systole_bus_protocol *protocol, struct systole_bus *bus);
void remote_close(struct remote_host *host);
// Raw bytes.
void remote_send(struct remote_host *host, const void *bytes, size_t size);
// Lets devices and servers work until nothing moves any more; answers are taken in.
void remote_pump(struct remote_host *host);

// Each returns the transfer's id. size: of data, or the room for what comes in.
uint64_t remote_control(struct remote_host *host, const uint8_t setup[8], const uint8_t *data);
uint64_t remote_transfer(struct remote_host *host, uint8_t endpoint, const uint8_t *data, size_t size);
void remote_cancel(struct remote_host *host, uint64_t id);
void remote_configure(struct remote_host *host); // SET_CONFIGURATION(1), the protocol's way
void remote_watch_interrupt(struct remote_host *host);
// A control request and the answer to it; NULL: none came.
const struct remote_answer *remote_ask(struct remote_host *host, uint8_t type, uint8_t request, uint16_t value,
                                       uint16_t index, uint16_t length, const uint8_t *data);
// The boot personality gets its firmware, becomes the application and is configured; over USB/IP on a new connection.
void remote_load_firmware(struct remote_host *host, const struct systole_target *target);
const struct remote_answer *remote_answer(const struct remote_host *host, uint64_t id); // NULL: none yet

#endif
