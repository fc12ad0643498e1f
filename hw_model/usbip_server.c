// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// USB/IP, protocol version 1.1.1 (Documentation/usb/usbip_protocol.rst of Linux), from the side that has the devices. A
// connection either asks for the list of devices and ends, or imports one and then carries its URBs. All numbers are
// big endian. The protocol knows no way to tell that a device became another one: as with one that is pulled out, the
// connection ends, and the host attaches again.
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus_server.h"
#include "usb_descriptors.h"

enum {
    VERSION = 0x0111,
    REQUEST_LIST = 0x8005,
    REQUEST_IMPORT = 0x8003,
    REPLY_LIST = 0x0005,
    REPLY_IMPORT = 0x0003,
    STATUS_OK = 0,
    STATUS_NOT_AVAILABLE = 1,
    STATUS_BUSY = 2,
    STATUS_NO_DEVICE = 4,
    OPERATION_BYTES = 8,
    BUS_ID_BYTES = 32,
    PATH_BYTES = 256,
    INTERFACES = 8,
    COMMAND_BYTES = 48,
    COMMAND_WORDS = COMMAND_BYTES / 4,
    COMMAND_SUBMIT = 1,
    COMMAND_UNLINK = 2,
    REPLY_SUBMIT = 3,
    REPLY_UNLINK = 4,
    SPEED_SUPER = 5, // enum usb_device_speed of Linux
    BUS_NUMBER = 1,
    FIRST_DEVICE_NUMBER = 2, // 1 is the root hub
    NOT_ISOCHRONOUS = -1,
    FLAG_SHORT_NOT_OK = 1, // transfer_flags
};

enum state { OPERATION, BUS_ID, COMMAND, DATA };

struct session {
    struct systole_bus *bus;
    struct systole_byte_queue *out;
    struct systole_usb_port *port; // imported; NULL: none yet
    uint32_t device_id;
    bool ending;
    enum state state;
    uint8_t header[COMMAND_BYTES];
    size_t have; // bytes of the header, or of what the transfer carries
    struct systole_port_transfer *carried;
};

static void append_word(struct session *session, uint32_t value) {
    value = htonl(value);
    systole_byte_queue_append(session->out, &value, sizeof value);
}

static uint32_t word(const struct session *session, uint32_t index) {
    uint32_t value;
    memcpy(&value, session->header + 4 * index, sizeof value);
    return ntohl(value);
}

// ---- Finding devices.

static void name_device(uint32_t index, char name[BUS_ID_BYTES]) {
    memset(name, 0, BUS_ID_BYTES);
    (void)snprintf(name, BUS_ID_BYTES, "%u-%u", (unsigned)BUS_NUMBER, index + 1);
}

static bool is_free(const struct systole_usb_port *port) {
    return port->user.complete == NULL && systole_usb_device_present(port->device);
}

// struct usbip_usb_device; `interfaces` receives what follows it in a list. Returns how many there are.
static uint32_t append_device(struct session *session, uint32_t index, uint8_t interfaces[INTERFACES][4]) {
    uint8_t descriptors[2 * SYSTOLE_USB_DESCRIPTOR_LIMIT] = {0};
    char path[PATH_BYTES] = "", name[BUS_ID_BYTES];
    uint32_t count = 0;
    size_t size = systole_usb_descriptors(session->bus->ports[index].device, descriptors, sizeof descriptors), at = 0;
    const uint8_t *descriptor;
    while ((descriptor = systole_usb_next_descriptor(descriptors, size, &at)) != NULL) {
        if (descriptor[1] == SYSTOLE_USB_DESCRIPTOR_INTERFACE && descriptor[0] >= 9 && count < INTERFACES) {
            memcpy(interfaces[count], descriptor + 5, 3); // class, subclass, protocol
            interfaces[count++][3] = 0;
        }
    }
    name_device(index, name);
    (void)snprintf(path, sizeof path, "/sys/devices/systole/usb%u/%s", (unsigned)BUS_NUMBER, name);
    systole_byte_queue_append(session->out, path, sizeof path);
    systole_byte_queue_append(session->out, name, sizeof name);
    append_word(session, BUS_NUMBER);
    append_word(session, FIRST_DEVICE_NUMBER + index);
    append_word(session, SPEED_SUPER);
    const uint8_t numbers[12] = {
        descriptors[9],
        descriptors[8],
        descriptors[11],
        descriptors[10], // vendor, product
        descriptors[13],
        descriptors[12], // release
        descriptors[4],
        descriptors[5],
        descriptors[6], // class, subclass, protocol
        1,
        descriptors[17],
        (uint8_t)count, // configuration now, all, interfaces
    };
    systole_byte_queue_append(session->out, numbers, sizeof numbers);
    return count;
}

static void append_operation(struct session *session, uint32_t code, uint32_t status) {
    append_word(session, (uint32_t)VERSION << 16 | code);
    append_word(session, status);
}

static void list_devices(struct session *session) {
    uint32_t count = 0;
    uint8_t interfaces[INTERFACES][4];
    for (uint32_t i = 0; i < session->bus->count; i++) {
        count += is_free(&session->bus->ports[i]);
    }
    append_operation(session, REPLY_LIST, STATUS_OK);
    append_word(session, count);
    for (uint32_t i = 0; i < session->bus->count; i++) {
        if (is_free(&session->bus->ports[i])) {
            uint32_t interface_count = append_device(session, i, interfaces);
            systole_byte_queue_append(session->out, interfaces, 4 * (size_t)interface_count);
        }
    }
}

// ---- Transfers.

static void append_zeros(struct session *session, uint32_t words) {
    for (uint32_t i = 0; i < words; i++) {
        append_word(session, 0);
    }
}

static void append_reply(struct session *session, uint32_t command, uint32_t number, int status) {
    append_word(session, command);
    append_word(session, number);
    append_zeros(session, 3); // device, direction, endpoint: not in replies
    append_word(session, (uint32_t)status);
}

static int status_of(const struct systole_port_transfer *transfer, enum systole_port_result result) {
    bool in = (transfer->endpoint & 0x80) != 0;
    switch (result) {
    case SYSTOLE_PORT_DONE:
        return in && transfer->moved < transfer->size && (transfer->flags & FLAG_SHORT_NOT_OK) != 0 ? -EREMOTEIO : 0;
    case SYSTOLE_PORT_STALL:
        return -EPIPE;
    case SYSTOLE_PORT_BABBLE:
        return -EOVERFLOW;
    case SYSTOLE_PORT_CANCELLED:
        return -ECONNRESET;
    case SYSTOLE_PORT_GONE:
        break;
    }
    return -ESHUTDOWN;
}

static void transfer_complete(void *context, struct systole_port_transfer *transfer, enum systole_port_result result) {
    struct session *session = context;
    if (result != SYSTOLE_PORT_CANCELLED) { // the unlinking is answered instead
        append_reply(session, REPLY_SUBMIT, (uint32_t)transfer->id, status_of(transfer, result));
        append_word(session, (uint32_t)transfer->moved);
        append_zeros(session, 5); // start frame, packets, errors, padding
        if ((transfer->endpoint & 0x80) != 0) {
            systole_byte_queue_append(session->out, transfer->buffer, transfer->moved);
        }
    }
    systole_port_transfer_free(transfer);
}

static void device_changed(void *context) {
    ((struct session *)context)->ending = true;
}

static void submit(struct session *session) {
    struct systole_port_transfer *transfer = session->carried;
    session->carried = NULL;
    session->state = COMMAND;
    if (!systole_usb_port_submit(session->port, transfer)) {
        systole_port_transfer_free(transfer);
        session->ending = true;
    }
}

static void take_submit(struct session *session) {
    uint32_t direction = word(session, 3), endpoint = word(session, 4), size = word(session, 6);
    int32_t packets = (int32_t)word(session, 8);
    const uint8_t *setup = endpoint == 0 ? session->header + 40 : NULL;
    if (direction > 1 || endpoint > 15 || size > SYSTOLE_PORT_LARGEST_TRANSFER ||
        (packets != 0 && packets != NOT_ISOCHRONOUS)) {
        session->ending = true;
        return;
    }
    uint8_t address = (uint8_t)(endpoint | direction << 7);
    session->carried = systole_port_transfer_create(word(session, 1), address, setup, size);
    if (session->carried == NULL) {
        session->ending = true;
        return;
    }
    session->carried->flags = word(session, 5);
    session->state = DATA;
    if (direction != 0 || size == 0) {
        submit(session);
    }
}

static void take_command(struct session *session) {
    if (word(session, 2) != session->device_id) {
        session->ending = true;
        return;
    }
    switch (word(session, 0)) {
    case COMMAND_SUBMIT:
        take_submit(session);
        break;
    case COMMAND_UNLINK: {
        bool found = systole_usb_port_cancel(session->port, word(session, 5));
        append_reply(session, REPLY_UNLINK, word(session, 1), found ? -ECONNRESET : 0);
        append_zeros(session, 6);
        break;
    }
    default:
        session->ending = true;
        break;
    }
}

static void import(struct session *session) {
    char name[BUS_ID_BYTES];
    uint8_t interfaces[INTERFACES][4];
    struct systole_port_user user = {transfer_complete, device_changed, session};
    for (uint32_t i = 0; i < session->bus->count; i++) {
        name_device(i, name);
        if (strncmp(name, (const char *)session->header, sizeof name) != 0) {
            continue;
        }
        if (!systole_usb_port_take(&session->bus->ports[i], &user)) {
            append_operation(session, REPLY_IMPORT,
                             session->bus->ports[i].user.complete != NULL ? STATUS_BUSY : STATUS_NO_DEVICE);
            session->ending = true;
            return;
        }
        session->port = &session->bus->ports[i];
        session->device_id = (uint32_t)BUS_NUMBER << 16 | (FIRST_DEVICE_NUMBER + i);
        session->state = COMMAND;
        append_operation(session, REPLY_IMPORT, STATUS_OK);
        (void)append_device(session, i, interfaces);
        return;
    }
    append_operation(session, REPLY_IMPORT, STATUS_NO_DEVICE);
    session->ending = true;
}

static void take_operation(struct session *session) {
    uint32_t version = word(session, 0) >> 16, code = word(session, 0) & 0xffff;
    session->ending = true; // unless a device is to be imported
    if (code != REQUEST_LIST && code != REQUEST_IMPORT) {
        return;
    }
    if (version != VERSION) {
        append_operation(session, code & 0x7fff, STATUS_NOT_AVAILABLE);
    } else if (code == REQUEST_LIST) {
        list_devices(session);
    } else {
        session->ending = false;
        session->state = BUS_ID;
    }
}

// ---- The session.

static void *open_session(struct systole_bus *bus, struct systole_byte_queue *out) {
    struct session *session = calloc(1, sizeof *session);
    if (session != NULL) {
        session->bus = bus;
        session->out = out;
    }
    return session;
}

static void close_session(void *context) {
    struct session *session = context;
    if (session->port != NULL) {
        systole_usb_port_leave(session->port);
    }
    systole_port_transfer_free(session->carried);
    free(session);
}

static bool receive(void *context, const uint8_t *bytes, size_t size) {
    static const size_t header_bytes[] = {
        [OPERATION] = OPERATION_BYTES, [BUS_ID] = BUS_ID_BYTES, [COMMAND] = COMMAND_BYTES};
    struct session *session = context;
    while (size != 0 && !session->ending) {
        bool data = session->state == DATA;
        uint8_t *to = data ? session->carried->buffer : session->header;
        size_t wanted = (data ? session->carried->size : header_bytes[session->state]) - session->have;
        size_t taken = wanted < size ? wanted : size;
        memcpy(to + session->have, bytes, taken);
        session->have += taken;
        bytes += taken;
        size -= taken;
        if (taken != wanted) {
            break;
        }
        session->have = 0;
        switch (session->state) {
        case OPERATION:
            take_operation(session);
            break;
        case BUS_ID:
            import(session);
            break;
        case COMMAND:
            take_command(session);
            break;
        case DATA:
            submit(session);
            break;
        }
    }
    return !session->ending;
}

static bool advance(void *context) {
    return !((struct session *)context)->ending;
}

const struct systole_bus_protocol systole_usbip_protocol = {
    .name = "usbip",
    .open = open_session,
    .receive = receive,
    .advance = advance,
    .close = close_session,
};
