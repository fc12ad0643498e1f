// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Transfers wait in one list in the order of their submission; of each endpoint only the oldest moves. One is taken out
// of the list before its user hears of it, so that the user may submit in turn.
#include "usb_port.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TURN_NS = 100000 }; // how long a busy device runs before its host is looked at

struct systole_port_transfer *systole_port_transfer_create(uint64_t id, uint8_t endpoint, const uint8_t setup[8],
                                                           size_t size) {
    struct systole_port_transfer *transfer = calloc(1, sizeof *transfer);
    if (transfer == NULL) {
        return NULL;
    }
    transfer->id = id;
    transfer->endpoint = endpoint;
    transfer->size = size;
    size_t room = size;
    if (setup != NULL) {
        size_t length = (size_t)(setup[6] | setup[7] << 8);
        memcpy(transfer->setup, setup, sizeof transfer->setup);
        room = length > size ? length : size;
    }
    transfer->buffer = setup != NULL ? calloc(1, room + 1) : malloc(room + 1);
    if (transfer->buffer == NULL) {
        free(transfer);
        return NULL;
    }
    return transfer;
}

void systole_port_transfer_free(struct systole_port_transfer *transfer) {
    if (transfer != NULL) {
        free(transfer->buffer);
        free(transfer);
    }
}

// Takes the transfer out of the list.
static void complete(struct systole_usb_port *port, struct systole_port_transfer **at,
                     enum systole_port_result result) {
    struct systole_port_transfer *transfer = *at;
    *at = transfer->next;
    transfer->next = NULL;
    port->waiting_bytes -= transfer->size;
    port->waiting_count--;
    port->user.complete(port->user.context, transfer, result);
}

static void complete_all(struct systole_usb_port *port) {
    while (port->waiting != NULL) {
        complete(port, &port->waiting, SYSTOLE_PORT_GONE);
    }
}

bool systole_usb_port_take(struct systole_usb_port *port, const struct systole_port_user *user) {
    if (port->user.complete != NULL) {
        return false;
    }
    (void)systole_usb_device_reenumerates(port->device); // what it was before this host
    if (!systole_usb_device_present(port->device)) {
        return false;
    }
    port->user = *user;
    systole_usb_device_bus_reset(port->device);
    return true;
}

void systole_usb_port_leave(struct systole_usb_port *port) {
    complete_all(port);
    port->user = (struct systole_port_user){NULL, NULL, NULL};
}

bool systole_usb_port_submit(struct systole_usb_port *port, struct systole_port_transfer *transfer) {
    struct systole_port_transfer **at = &port->waiting;
    if (port->waiting_count == SYSTOLE_PORT_MOST_TRANSFERS || transfer->size > SYSTOLE_PORT_LARGEST_TRANSFER ||
        port->waiting_bytes + transfer->size > SYSTOLE_PORT_LARGEST_QUEUE) {
        return false;
    }
    for (; *at != NULL; at = &(*at)->next) {
        if ((*at)->id == transfer->id) {
            return false;
        }
    }
    *at = transfer;
    transfer->next = NULL;
    port->waiting_bytes += transfer->size;
    port->waiting_count++;
    return true;
}

bool systole_usb_port_cancel(struct systole_usb_port *port, uint64_t id) {
    for (struct systole_port_transfer **at = &port->waiting; *at != NULL; at = &(*at)->next) {
        if ((*at)->id == id) {
            complete(port, at, SYSTOLE_PORT_CANCELLED);
            return true;
        }
    }
    return false;
}

void systole_usb_port_reset(struct systole_usb_port *port) {
    complete_all(port);
    systole_usb_device_bus_reset(port->device);
}

// One step of the oldest transfer of an endpoint; true: it is complete with *result.
static bool step(struct systole_usb_device *device, struct systole_port_transfer *transfer,
                 enum systole_port_result *result) {
    size_t actual = 0;
    bool short_packet = false;
    bool control = (transfer->endpoint & 0x7f) == 0;
    uint8_t *bytes = transfer->buffer + transfer->moved;
    size_t left = transfer->size - transfer->moved;
    enum systole_usb_result moved = SYSTOLE_USB_STALL;
    if (control) {
        moved = systole_usb_control(device, transfer->setup, transfer->buffer, &actual);
        actual = actual < transfer->size ? actual : transfer->size;
    } else if ((transfer->endpoint & 0x80) != 0) {
        moved = systole_usb_in(device, transfer->endpoint, bytes, left, &actual, &short_packet);
    } else {
        moved = systole_usb_out(device, transfer->endpoint, bytes, left, &actual);
    }
    transfer->moved += actual;
    switch (moved) {
    case SYSTOLE_USB_STALL:
        *result = SYSTOLE_PORT_STALL;
        return true;
    case SYSTOLE_USB_BABBLE:
        *result = SYSTOLE_PORT_BABBLE;
        return true;
    case SYSTOLE_USB_NAK:
        return false;
    case SYSTOLE_USB_DONE:
        break;
    }
    *result = SYSTOLE_PORT_DONE;
    return control || short_packet || transfer->moved == transfer->size;
}

static void notice_change(struct systole_usb_port *port) {
    if (systole_usb_device_reenumerates(port->device)) {
        complete_all(port);
        if (port->user.changed != NULL) {
            port->user.changed(port->user.context);
        }
    }
}

bool systole_usb_port_move(struct systole_usb_port *port) {
    bool completed = false;
    uint32_t blocked = 0; // endpoints whose oldest transfer waits: OUT in the low half, IN in the high one
    struct systole_port_transfer **at = &port->waiting;
    while (*at != NULL) {
        struct systole_port_transfer *transfer = *at;
        uint32_t number = transfer->endpoint & 15u;
        uint32_t endpoint = 1u << (number + (number != 0 && (transfer->endpoint & 0x80u) != 0 ? 16 : 0));
        size_t before = transfer->moved;
        enum systole_port_result result;
        if ((blocked & endpoint) != 0) {
            at = &transfer->next;
        } else if (step(port->device, transfer, &result)) {
            complete(port, at, result);
            completed = true;
            if (number == 0) { // it may have become another device, for which the rest is not meant
                break;
            }
        } else if (transfer->moved == before) {
            blocked |= endpoint;
            at = &transfer->next;
        }
    }
    notice_change(port);
    return completed;
}

static int64_t now_ns(void) {
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

bool systole_usb_port_run(struct systole_usb_port *port) {
    int64_t end = now_ns() + TURN_NS;
    bool completed = systole_usb_port_move(port);
    bool busy = completed;
    while (!completed && now_ns() < end && systole_usb_device_run(port->device)) {
        busy = true;
        completed = systole_usb_port_move(port);
    }
    return busy;
}
