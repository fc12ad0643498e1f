// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The usbredir protocol from the device's side, the one that QEMU's device usb-redir connects to. The library
// usbredirparser takes packets apart and puts them together; here stands what they mean. QEMU sets addresses itself and
// turns configurations, interfaces and interrupt endpoints into messages of their own: an interrupt endpoint is started
// once, and what it has to say is then sent without being asked for.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <usbredirfilter.h>
#include <usbredirparser.h>

#include "bus_server.h"
#include "usb_descriptors.h"
#include "usb_setup.h"

enum {
    ENDPOINT_PLACES = 32,
    INTERFACE_PLACES = 32,
    CONTROL_PACKET = 512,
    INTERRUPT_BYTES = 64,
};
// Transfers that the peer did not number: one for each interrupt endpoint.
#define INTERRUPT_ID(endpoint) (UINT64_MAX - (endpoint))

struct session {
    struct systole_usb_port *port;
    struct usbredirparser *parser;
    struct systole_byte_queue *out;
    const uint8_t *input;
    size_t input_left;
    bool greeted;          // the peer said hello
    bool connected;        // the peer was told of a device
    bool awaits_ack;       // the peer has not acknowledged yet that it is gone
    bool broken;           // the connection cannot go on
    uint64_t interrupt_id; // number of the next interrupt packet
};

static int read_input(void *context, uint8_t *bytes, int size) {
    struct session *session = context;
    size_t got = session->input_left < (size_t)size ? session->input_left : (size_t)size;
    memcpy(bytes, session->input, got);
    session->input += got;
    session->input_left -= got;
    return (int)got;
}

static int write_output(void *context, uint8_t *bytes, int size) {
    struct session *session = context;
    systole_byte_queue_append(session->out, bytes, (size_t)size);
    return session->out->failed ? -1 : size;
}

static void log_message(void *context, int level, const char *message) {
    (void)context;
    if (level <= usbredirparser_error) {
        (void)fprintf(stderr, "systole: usbredir: %s\n", message);
    }
}

// ---- What the device is.

static uint32_t place_of(uint8_t endpoint) {
    return (endpoint & 15u) + ((endpoint & 0x80u) != 0 ? 16u : 0);
}

static void describe(const struct session *session, struct usb_redir_interface_info_header *interfaces,
                     struct usb_redir_ep_info_header *endpoints) {
    uint8_t bytes[2 * SYSTOLE_USB_DESCRIPTOR_LIMIT];
    size_t size = systole_usb_descriptors(session->port->device, bytes, sizeof bytes), at = 0;
    const uint8_t *descriptor;
    memset(interfaces, 0, sizeof *interfaces);
    memset(endpoints, 0, sizeof *endpoints);
    memset(endpoints->type, usb_redir_type_invalid, sizeof endpoints->type);
    for (uint32_t i = 0; i < ENDPOINT_PLACES; i += 16) {
        endpoints->type[i] = usb_redir_type_control;
        endpoints->max_packet_size[i] = CONTROL_PACKET;
    }
    while ((descriptor = systole_usb_next_descriptor(bytes, size, &at)) != NULL) {
        uint32_t count = interfaces->interface_count;
        if (descriptor[1] == SYSTOLE_USB_DESCRIPTOR_INTERFACE && descriptor[0] >= 9 && count < INTERFACE_PLACES) {
            interfaces->interface[count] = descriptor[2];
            interfaces->interface_class[count] = descriptor[5];
            interfaces->interface_subclass[count] = descriptor[6];
            interfaces->interface_protocol[count] = descriptor[7];
            interfaces->interface_count++;
        } else if (descriptor[1] == SYSTOLE_USB_DESCRIPTOR_ENDPOINT && descriptor[0] >= 7 && count != 0) {
            uint32_t place = place_of(descriptor[2]);
            endpoints->type[place] = descriptor[3] & 3;
            endpoints->max_packet_size[place] = (uint16_t)(descriptor[4] | descriptor[5] << 8);
            endpoints->interval[place] = descriptor[6];
            endpoints->interface[place] = interfaces->interface[count - 1];
        }
    }
}

static void send_descriptions(struct session *session) {
    struct usb_redir_interface_info_header interfaces;
    struct usb_redir_ep_info_header endpoints;
    describe(session, &interfaces, &endpoints);
    usbredirparser_send_interface_info(session->parser, &interfaces);
    usbredirparser_send_ep_info(session->parser, &endpoints);
}

// Tells the peer of the device, when there is one and the peer is ready to hear of it.
static void connect_device(struct session *session) {
    uint8_t bytes[2 * SYSTOLE_USB_DESCRIPTOR_LIMIT] = {0};
    if (!session->greeted || session->connected || session->awaits_ack ||
        !systole_usb_device_present(session->port->device)) {
        return;
    }
    (void)systole_usb_descriptors(session->port->device, bytes, sizeof bytes);
    struct usb_redir_device_connect_header device = {
        .speed = usb_redir_speed_super,
        .device_class = bytes[4],
        .device_subclass = bytes[5],
        .device_protocol = bytes[6],
        .vendor_id = SYSTOLE_USB_VENDOR_ID,
        .product_id = systole_usb_product(session->port->device),
        .device_version_bcd = (uint16_t)(bytes[12] | bytes[13] << 8),
    };
    send_descriptions(session);
    usbredirparser_send_device_connect(session->parser, &device);
    session->connected = true;
}

static void device_changed(void *context) {
    struct session *session = context;
    if (session->connected) {
        usbredirparser_send_device_disconnect(session->parser);
        session->connected = false;
        session->awaits_ack = usbredirparser_peer_has_cap(session->parser, usb_redir_cap_device_disconnect_ack) != 0;
    }
    connect_device(session);
}

// ---- Transfers.

static uint8_t status_of(enum systole_port_result result) {
    switch (result) {
    case SYSTOLE_PORT_DONE:
        return usb_redir_success;
    case SYSTOLE_PORT_STALL:
        return usb_redir_stall;
    case SYSTOLE_PORT_BABBLE:
        return usb_redir_babble;
    case SYSTOLE_PORT_CANCELLED:
        return usb_redir_cancelled;
    case SYSTOLE_PORT_GONE:
        break;
    }
    return usb_redir_ioerror;
}

static void answer_control(struct session *session, const struct systole_port_transfer *transfer, uint8_t status) {
    bool in = (transfer->setup[0] & 0x80) != 0;
    struct usb_redir_control_packet_header header = {
        .endpoint = in ? 0x80 : 0,
        .request = transfer->setup[1],
        .requesttype = transfer->setup[0],
        .status = status,
        .value = (uint16_t)(transfer->setup[2] | transfer->setup[3] << 8),
        .index = (uint16_t)(transfer->setup[4] | transfer->setup[5] << 8),
        .length = (uint16_t)transfer->moved,
    };
    usbredirparser_send_control_packet(session->parser, transfer->id, &header, in ? transfer->buffer : NULL,
                                       in ? (int)transfer->moved : 0);
}

static void answer_bulk(struct session *session, const struct systole_port_transfer *transfer, uint8_t status) {
    bool in = (transfer->endpoint & 0x80) != 0;
    struct usb_redir_bulk_packet_header header = {
        .endpoint = transfer->endpoint,
        .status = status,
        .length = (uint16_t)transfer->moved,
        .length_high = (uint16_t)(transfer->moved >> 16),
    };
    usbredirparser_send_bulk_packet(session->parser, transfer->id, &header, in ? transfer->buffer : NULL,
                                    in ? (int)transfer->moved : 0);
}

static void watch_interrupt(struct session *session, uint8_t endpoint) {
    struct systole_port_transfer *transfer =
        systole_port_transfer_create(INTERRUPT_ID(endpoint), endpoint, NULL, INTERRUPT_BYTES);
    if (transfer == NULL || !systole_usb_port_submit(session->port, transfer)) {
        systole_port_transfer_free(transfer); // watched already
    }
}

// An interrupt endpoint that had something to say goes on; one that stalled waits until it is started again.
static void tell_interrupt(struct session *session, const struct systole_port_transfer *transfer,
                           enum systole_port_result result) {
    struct usb_redir_interrupt_packet_header header = {
        .endpoint = transfer->endpoint, .status = status_of(result), .length = (uint16_t)transfer->moved};
    if (result == SYSTOLE_PORT_CANCELLED) {
        return;
    }
    usbredirparser_send_interrupt_packet(session->parser, session->interrupt_id++, &header, transfer->buffer,
                                         (int)transfer->moved);
    if (result == SYSTOLE_PORT_DONE) {
        watch_interrupt(session, transfer->endpoint);
    }
}

static void transfer_complete(void *context, struct systole_port_transfer *transfer, enum systole_port_result result) {
    struct session *session = context;
    if (result != SYSTOLE_PORT_GONE) { // of those that went with the device the peer knows
        if (transfer->id == INTERRUPT_ID(transfer->endpoint)) {
            tell_interrupt(session, transfer, result);
        } else if ((transfer->endpoint & 0x7f) == 0) {
            answer_control(session, transfer, status_of(result));
        } else {
            answer_bulk(session, transfer, status_of(result));
        }
    }
    systole_port_transfer_free(transfer);
}

// data is the parser's and given back.
static void submit(struct session *session, uint64_t id, uint8_t endpoint, const uint8_t *setup, size_t size,
                   uint8_t *data, int data_size) {
    struct systole_port_transfer *transfer = NULL;
    if (session->connected) {
        transfer = systole_port_transfer_create(id, endpoint, setup, size);
        if (transfer != NULL && data_size > 0) {
            memcpy(transfer->buffer, data, (size_t)data_size < size ? (size_t)data_size : size);
        }
        if (transfer == NULL || !systole_usb_port_submit(session->port, transfer)) {
            systole_port_transfer_free(transfer);
            session->broken = true;
        }
    }
    usbredirparser_free_packet_data(session->parser, data);
}

// A standard request that the peer sends as a message of its own; below 0: refused.
static int request_now(struct session *session, uint8_t type, uint8_t request, uint16_t value, uint16_t index) {
    uint8_t setup[SYSTOLE_USB_SETUP_BYTES];
    uint8_t answer = 0;
    size_t actual = 0;
    systole_usb_setup(setup, type, request, value, index, (type & 0x80) != 0 ? 1 : 0);
    return systole_usb_control(session->port->device, setup, &answer, &actual) == SYSTOLE_USB_DONE ? answer : -1;
}

// ---- What the peer says.

static void hello(void *context, struct usb_redir_hello_header *header) {
    struct session *session = context;
    (void)header;
    session->greeted = true;
    connect_device(session);
}

static void reset(void *context) {
    struct session *session = context;
    if (session->connected) {
        systole_usb_port_reset(session->port);
    }
}

static void set_configuration(void *context, uint64_t id, struct usb_redir_set_configuration_header *header) {
    struct session *session = context;
    struct usb_redir_configuration_status_header status = {.status = usb_redir_success,
                                                           .configuration = header->configuration};
    if (request_now(session, 0, SYSTOLE_USB_SET_CONFIGURATION, header->configuration, 0) < 0) {
        status.status = usb_redir_stall;
    }
    send_descriptions(session);
    usbredirparser_send_configuration_status(session->parser, id, &status);
}

static void get_configuration(void *context, uint64_t id) {
    struct session *session = context;
    int value = request_now(session, 0x80, SYSTOLE_USB_GET_CONFIGURATION, 0, 0);
    struct usb_redir_configuration_status_header status = {.status = value < 0 ? usb_redir_stall : usb_redir_success,
                                                           .configuration = (uint8_t)(value < 0 ? 0 : value)};
    usbredirparser_send_configuration_status(session->parser, id, &status);
}

static void set_alternate(void *context, uint64_t id, struct usb_redir_set_alt_setting_header *header) {
    struct session *session = context;
    struct usb_redir_alt_setting_status_header status = {
        .status = usb_redir_success, .interface = header->interface, .alt = header->alt};
    if (request_now(session, 1, SYSTOLE_USB_SET_INTERFACE, header->alt, header->interface) < 0) {
        status.status = usb_redir_stall;
    }
    send_descriptions(session);
    usbredirparser_send_alt_setting_status(session->parser, id, &status);
}

static void get_alternate(void *context, uint64_t id, struct usb_redir_get_alt_setting_header *header) {
    struct session *session = context;
    int value = request_now(session, 0x81, SYSTOLE_USB_GET_INTERFACE, 0, header->interface);
    struct usb_redir_alt_setting_status_header status = {.status = value < 0 ? usb_redir_stall : usb_redir_success,
                                                         .interface = header->interface,
                                                         .alt = (uint8_t)(value < 0 ? 0 : value)};
    usbredirparser_send_alt_setting_status(session->parser, id, &status);
}

static bool is_interrupt(const struct session *session, uint8_t endpoint) {
    struct usb_redir_interface_info_header interfaces;
    struct usb_redir_ep_info_header endpoints;
    describe(session, &interfaces, &endpoints);
    return (endpoint & 0x80) != 0 && endpoints.type[place_of(endpoint)] == usb_redir_type_interrupt;
}

static void start_interrupt(void *context, uint64_t id, struct usb_redir_start_interrupt_receiving_header *header) {
    struct session *session = context;
    bool right = session->connected && is_interrupt(session, header->endpoint);
    struct usb_redir_interrupt_receiving_status_header status = {.status = right ? usb_redir_success : usb_redir_inval,
                                                                 .endpoint = header->endpoint};
    usbredirparser_send_interrupt_receiving_status(session->parser, id, &status);
    if (right) {
        watch_interrupt(session, header->endpoint);
    }
}

static void stop_interrupt(void *context, uint64_t id, struct usb_redir_stop_interrupt_receiving_header *header) {
    struct session *session = context;
    struct usb_redir_interrupt_receiving_status_header status = {.status = usb_redir_success,
                                                                 .endpoint = header->endpoint};
    (void)systole_usb_port_cancel(session->port, INTERRUPT_ID(header->endpoint));
    usbredirparser_send_interrupt_receiving_status(session->parser, id, &status);
}

static void cancel(void *context, uint64_t id) {
    struct session *session = context;
    (void)systole_usb_port_cancel(session->port, id); // not found: its answer is on the way
}

static void control_packet(void *context, uint64_t id, struct usb_redir_control_packet_header *header, uint8_t *data,
                           int data_size) {
    uint8_t setup[SYSTOLE_USB_SETUP_BYTES];
    systole_usb_setup(setup, header->requesttype, header->request, header->value, header->index, header->length);
    submit(context, id, header->requesttype & 0x80, setup, header->length, data, data_size);
}

static void bulk_packet(void *context, uint64_t id, struct usb_redir_bulk_packet_header *header, uint8_t *data,
                        int data_size) {
    struct session *session = context;
    size_t size = header->length | (size_t)header->length_high << 16;
    bool out = (header->endpoint & 0x80) == 0;
    if ((header->endpoint & 0x0f) == 0 || (header->endpoint & 0x70) != 0 || (out && (size_t)data_size != size)) {
        usbredirparser_free_packet_data(session->parser, data);
        session->broken = true;
        return;
    }
    submit(session, id, header->endpoint, NULL, size, data, data_size);
}

static void acknowledge_disconnect(void *context) {
    struct session *session = context;
    session->awaits_ack = false;
    connect_device(session);
}

static void reject(void *context) { // by a filter of the peer's
    ((struct session *)context)->broken = true;
}

static void take_filter(void *context, struct usbredirfilter_rule *rules, int count) {
    (void)context;
    (void)count;
    usbredirfilter_free(rules);
}

// ---- What this device does not have.

static void start_isochronous(void *context, uint64_t id, struct usb_redir_start_iso_stream_header *header) {
    struct usb_redir_iso_stream_status_header status = {.status = usb_redir_inval, .endpoint = header->endpoint};
    usbredirparser_send_iso_stream_status(((struct session *)context)->parser, id, &status);
}

static void stop_isochronous(void *context, uint64_t id, struct usb_redir_stop_iso_stream_header *header) {
    struct usb_redir_iso_stream_status_header status = {.status = usb_redir_inval, .endpoint = header->endpoint};
    usbredirparser_send_iso_stream_status(((struct session *)context)->parser, id, &status);
}

static void allocate_streams(void *context, uint64_t id, struct usb_redir_alloc_bulk_streams_header *header) {
    (void)id;
    (void)header;
    ((struct session *)context)->broken = true; // these four: without having been offered
}

static void free_streams(void *context, uint64_t id, struct usb_redir_free_bulk_streams_header *header) {
    (void)id;
    (void)header;
    ((struct session *)context)->broken = true;
}

static void start_bulk(void *context, uint64_t id, struct usb_redir_start_bulk_receiving_header *header) {
    (void)id;
    (void)header;
    ((struct session *)context)->broken = true;
}

static void stop_bulk(void *context, uint64_t id, struct usb_redir_stop_bulk_receiving_header *header) {
    (void)id;
    (void)header;
    ((struct session *)context)->broken = true;
}

static void isochronous_packet(void *context, uint64_t id, struct usb_redir_iso_packet_header *header, uint8_t *data,
                               int data_size) {
    (void)id;
    (void)header;
    (void)data_size;
    usbredirparser_free_packet_data(((struct session *)context)->parser, data);
}

static void interrupt_packet(void *context, uint64_t id, struct usb_redir_interrupt_packet_header *header,
                             uint8_t *data, int data_size) {
    struct usb_redir_interrupt_packet_header answer = {
        .endpoint = header->endpoint, .status = usb_redir_stall, .length = 0};
    (void)data_size;
    usbredirparser_send_interrupt_packet(((struct session *)context)->parser, id, &answer, NULL, 0);
    usbredirparser_free_packet_data(((struct session *)context)->parser, data);
}

// ---- The session.

static void begin_parser(struct session *session) {
    static const int offered[] = {
        usb_redir_cap_connect_device_version,  usb_redir_cap_filter,     usb_redir_cap_device_disconnect_ack,
        usb_redir_cap_ep_info_max_packet_size, usb_redir_cap_64bits_ids, usb_redir_cap_32bits_bulk_length};
    uint32_t capabilities[USB_REDIR_CAPS_SIZE] = {0};
    struct usbredirparser *parser = session->parser;
    parser->priv = session;
    parser->log_func = log_message;
    parser->read_func = read_input;
    parser->write_func = write_output;
    parser->hello_func = hello;
    parser->reset_func = reset;
    parser->set_configuration_func = set_configuration;
    parser->get_configuration_func = get_configuration;
    parser->set_alt_setting_func = set_alternate;
    parser->get_alt_setting_func = get_alternate;
    parser->start_iso_stream_func = start_isochronous;
    parser->stop_iso_stream_func = stop_isochronous;
    parser->start_interrupt_receiving_func = start_interrupt;
    parser->stop_interrupt_receiving_func = stop_interrupt;
    parser->alloc_bulk_streams_func = allocate_streams;
    parser->free_bulk_streams_func = free_streams;
    parser->cancel_data_packet_func = cancel;
    parser->filter_reject_func = reject;
    parser->filter_filter_func = take_filter;
    parser->device_disconnect_ack_func = acknowledge_disconnect;
    parser->start_bulk_receiving_func = start_bulk;
    parser->stop_bulk_receiving_func = stop_bulk;
    parser->control_packet_func = control_packet;
    parser->bulk_packet_func = bulk_packet;
    parser->iso_packet_func = isochronous_packet;
    parser->interrupt_packet_func = interrupt_packet;
    for (size_t i = 0; i < sizeof offered / sizeof offered[0]; i++) {
        usbredirparser_caps_set_cap(capabilities, offered[i]);
    }
    usbredirparser_init(parser, "systole", capabilities, USB_REDIR_CAPS_SIZE, usbredirparser_fl_usb_host);
}

static bool send_packets(struct session *session) {
    return (usbredirparser_has_data_to_write(session->parser) == 0 || usbredirparser_do_write(session->parser) == 0) &&
           !session->broken;
}

static void close_session(void *context) {
    struct session *session = context;
    systole_usb_port_leave(session->port);
    usbredirparser_destroy(session->parser);
    free(session);
}

static void *open_session(struct systole_bus *bus, struct systole_byte_queue *out) {
    struct session *session = calloc(1, sizeof *session);
    struct systole_port_user user = {transfer_complete, device_changed, session};
    if (session == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < bus->count && session->port == NULL; i++) {
        session->port = systole_usb_port_take(&bus->ports[i], &user) ? &bus->ports[i] : NULL;
    }
    session->parser = session->port == NULL ? NULL : usbredirparser_create();
    if (session->parser == NULL) {
        if (session->port != NULL) {
            systole_usb_port_leave(session->port);
        }
        free(session);
        return NULL;
    }
    session->out = out;
    begin_parser(session);
    return session;
}

static bool receive(void *context, const uint8_t *bytes, size_t size) {
    struct session *session = context;
    session->input = bytes;
    session->input_left = size;
    while (session->input_left != 0 && !session->broken) {
        if (usbredirparser_do_read(session->parser) < 0) {
            session->broken = true;
        }
    }
    return send_packets(session);
}

static bool advance(void *context) {
    return send_packets(context);
}

const struct systole_bus_protocol systole_usbredir_protocol = {
    .name = "usbredir",
    .open = open_session,
    .receive = receive,
    .advance = advance,
    .close = close_session,
};
