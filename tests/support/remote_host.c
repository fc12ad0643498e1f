// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// usbredir is spoken by the library's other half, the one that QEMU uses; USB/IP by what its specification says.
#include "remote_host.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <usbredirparser.h>

#include "driver.h"
#include "usb_setup.h"

enum { PUMPS = 2000, IMPORT_BYTES = 320, REPLY_BYTES = 48, DEVICE_ID = 1 << 16 | 2, INTERRUPT_IN = 0x83 };

static bool is_usbip(const struct remote_host *host) {
    return host->protocol == &systole_usbip_protocol;
}

static struct remote_answer *add_answer(struct remote_host *host, uint64_t id, enum remote_status status, size_t actual,
                                        const uint8_t *bytes, size_t size) {
    struct remote_answer *answer = &host->answers[host->answer_count++ % REMOTE_ANSWERS];
    ck_assert_uint_le(size, sizeof answer->bytes);
    answer->id = id;
    answer->status = status;
    answer->actual = actual;
    if (size != 0) {
        memcpy(answer->bytes, bytes, size);
    }
    return answer;
}

const struct remote_answer *remote_answer(const struct remote_host *host, uint64_t id) {
    for (uint32_t i = 0; i < REMOTE_ANSWERS && i < host->answer_count; i++) {
        if (host->answers[i].id == id) {
            return &host->answers[i];
        }
    }
    return NULL;
}

void remote_send(struct remote_host *host, const void *bytes, size_t size) {
    const uint8_t *at = bytes;
    if (host->record != NULL && size != 0) {
        systole_byte_queue_append(host->record, bytes, size);
    }
    while (size != 0 && !host->ended) {
        size_t part = host->at_once != 0 && host->at_once < size ? host->at_once : size;
        host->ended = !host->protocol->receive(host->session, at, part);
        at += part;
        size -= part;
    }
}

// ---- USB/IP.

static uint32_t word(const struct remote_host *host, uint32_t index) {
    uint32_t value;
    memcpy(&value, host->from_server.bytes + host->from_server.start + 4 * index, sizeof value);
    return ntohl(value);
}

static bool import(struct remote_host *host) {
    static const uint8_t request[40] = {0x01, 0x11, 0x80, 0x03, 0, 0, 0, 0, '1', '-', '1'};
    remote_send(host, request, sizeof request);
    if (host->from_server.count != IMPORT_BYTES || word(host, 1) != 0) {
        return false;
    }
    ck_assert_uint_eq(word(host, 77) >> 16, 0x1209);
    host->product = (uint16_t)word(host, 77);
    systole_byte_queue_take(&host->from_server, IMPORT_BYTES);
    host->connected = true;
    return true;
}

static void send_submit(struct remote_host *host, uint64_t id, bool in, uint32_t endpoint, const uint8_t *setup,
                        const uint8_t *data, size_t size) {
    uint32_t words[10] = {
        htonl(1), htonl((uint32_t)id), htonl(DEVICE_ID), htonl(in), htonl(endpoint), 0, htonl((uint32_t)size), 0, 0, 0};
    const uint8_t none[8] = {0};
    remote_send(host, words, sizeof words);
    remote_send(host, setup != NULL ? setup : none, 8);
    if (!in) {
        remote_send(host, data, size);
    }
}

static enum remote_status status_of(int status) {
    return status == 0             ? REMOTE_DONE
           : status == -EPIPE      ? REMOTE_STALLED
           : status == -ECONNRESET ? REMOTE_CANCELLED
                                   : REMOTE_OTHER;
}

// Knows of each answer whether data follow by the id: those of transfers towards the host are odd.
static void take_replies(struct remote_host *host) {
    while (host->from_server.count >= REPLY_BYTES) {
        uint32_t id = word(host, 1);
        int status = (int)word(host, 5);
        size_t actual = word(host, 0) == 3 ? word(host, 6) : 0;
        size_t data = (id & 1) != 0 ? actual : 0;
        ck_assert(word(host, 0) == 3 || word(host, 0) == 4);
        ck_assert_uint_ge(host->from_server.count, REPLY_BYTES + data);
        const uint8_t *bytes = host->from_server.bytes + host->from_server.start + REPLY_BYTES;
        if (word(host, 0) == 4) { // the id is that of the unlinking, which is the transfer's and a bit
            id &= 0x7fffffff;
        }
        struct remote_answer *answer = add_answer(host, id, status_of(status), actual, bytes, data);
        if (answer->id == (host->interrupt.id & 0x7fffffff) && host->interrupt.id != 0) {
            host->interrupts++;
            host->interrupt = *answer;
        }
        systole_byte_queue_take(&host->from_server, REPLY_BYTES + data);
    }
}

// ---- usbredir.

static int read_server(void *context, uint8_t *bytes, int size) {
    struct remote_host *host = context;
    size_t got = host->parsed_left < (size_t)size ? host->parsed_left : (size_t)size;
    memcpy(bytes, host->parsed, got);
    host->parsed += got;
    host->parsed_left -= got;
    return (int)got;
}

static int write_server(void *context, uint8_t *bytes, int size) {
    struct remote_host *host = context;
    uint8_t *grown = realloc(host->to_server, host->to_server_size + (size_t)size);
    ck_assert_ptr_nonnull(grown);
    host->to_server = grown;
    memcpy(grown + host->to_server_size, bytes, (size_t)size);
    host->to_server_size += (size_t)size;
    return size;
}

static void log_message(void *context, int level, const char *message) {
    (void)context;
    ck_assert_msg(level > usbredirparser_error, "%s", message);
}

static void hello(void *context, struct usb_redir_hello_header *header) {
    (void)context;
    (void)header;
}

static void device_connect(void *context, struct usb_redir_device_connect_header *header) {
    struct remote_host *host = context;
    ck_assert_uint_eq(header->vendor_id, 0x1209);
    ck_assert_uint_eq(header->speed, usb_redir_speed_super);
    host->product = header->product_id;
    host->connected = true;
}

static void device_disconnect(void *context) { // the library acknowledges
    ((struct remote_host *)context)->connected = false;
}

static void interface_info(void *context, struct usb_redir_interface_info_header *header) {
    (void)context;
    ck_assert_uint_ge(header->interface_count, 1);
}

static void endpoint_info(void *context, struct usb_redir_ep_info_header *header) {
    (void)context;
    ck_assert_uint_eq(header->type[0], usb_redir_type_control);
}

static void configuration_status(void *context, uint64_t id, struct usb_redir_configuration_status_header *header) {
    (void)id;
    (void)context;
    ck_assert_uint_eq(header->status, usb_redir_success);
    ck_assert_uint_eq(header->configuration, 1);
}

static void interrupt_status(void *context, uint64_t id, struct usb_redir_interrupt_receiving_status_header *header) {
    (void)id;
    (void)context;
    ck_assert_uint_eq(header->status, usb_redir_success);
}

static enum remote_status status_of_packet(uint8_t status) {
    return status == usb_redir_success     ? REMOTE_DONE
           : status == usb_redir_stall     ? REMOTE_STALLED
           : status == usb_redir_cancelled ? REMOTE_CANCELLED
                                           : REMOTE_OTHER;
}

static void control_packet(void *context, uint64_t id, struct usb_redir_control_packet_header *header, uint8_t *data,
                           int size) {
    struct remote_host *host = context;
    (void)add_answer(host, id, status_of_packet(header->status), header->length, data, (size_t)size);
    usbredirparser_free_packet_data(host->parser, data);
}

static void bulk_packet(void *context, uint64_t id, struct usb_redir_bulk_packet_header *header, uint8_t *data,
                        int size) {
    struct remote_host *host = context;
    size_t actual = header->length | (size_t)header->length_high << 16;
    (void)add_answer(host, id, status_of_packet(header->status), actual, data, (size_t)size);
    usbredirparser_free_packet_data(host->parser, data);
}

static void interrupt_packet(void *context, uint64_t id, struct usb_redir_interrupt_packet_header *header,
                             uint8_t *data, int size) {
    struct remote_host *host = context;
    (void)id;
    host->interrupts++;
    host->interrupt.status = status_of_packet(header->status);
    host->interrupt.actual = header->length;
    if (size > 0) {
        memcpy(host->interrupt.bytes, data, (size_t)size);
    }
    usbredirparser_free_packet_data(host->parser, data);
}

static void send_packets(struct remote_host *host) {
    while (usbredirparser_has_data_to_write(host->parser) != 0) {
        ck_assert_int_eq(usbredirparser_do_write(host->parser), 0);
    }
    remote_send(host, host->to_server, host->to_server_size);
    host->to_server_size = 0;
}

static void take_packets(struct remote_host *host) {
    while (host->from_server.count != 0) {
        // What the parser answers goes out afterwards.
        size_t size = host->from_server.count;
        host->parsed = host->from_server.bytes + host->from_server.start;
        host->parsed_left = size;
        while (host->parsed_left != 0) {
            ck_assert_int_eq(usbredirparser_do_read(host->parser), 0);
        }
        systole_byte_queue_take(&host->from_server, size);
        send_packets(host);
    }
}

static void begin_parser(struct remote_host *host) {
    uint32_t capabilities[USB_REDIR_CAPS_SIZE] = {0};
    struct usbredirparser *parser = host->parser = usbredirparser_create();
    ck_assert_ptr_nonnull(parser);
    parser->priv = host;
    parser->log_func = log_message;
    parser->read_func = read_server;
    parser->write_func = write_server;
    parser->hello_func = hello;
    parser->device_connect_func = device_connect;
    parser->device_disconnect_func = device_disconnect;
    parser->interface_info_func = interface_info;
    parser->ep_info_func = endpoint_info;
    parser->configuration_status_func = configuration_status;
    parser->interrupt_receiving_status_func = interrupt_status;
    parser->control_packet_func = control_packet;
    parser->bulk_packet_func = bulk_packet;
    parser->interrupt_packet_func = interrupt_packet;
    usbredirparser_caps_set_cap(capabilities, usb_redir_cap_connect_device_version);
    usbredirparser_caps_set_cap(capabilities, usb_redir_cap_device_disconnect_ack);
    usbredirparser_caps_set_cap(capabilities, usb_redir_cap_ep_info_max_packet_size);
    usbredirparser_caps_set_cap(capabilities, usb_redir_cap_64bits_ids);
    usbredirparser_caps_set_cap(capabilities, usb_redir_cap_32bits_bulk_length);
    usbredirparser_init(parser, "test", capabilities, USB_REDIR_CAPS_SIZE, 0);
}

// ---- Either.

bool remote_open(struct remote_host *host, const struct systole_bus_protocol *protocol, struct systole_bus *bus) {
    struct systole_byte_queue *record = host->record;
    memset(host, 0, sizeof *host);
    host->record = record;
    host->protocol = protocol;
    host->bus = bus;
    host->session = protocol->open(bus, &host->from_server);
    if (host->session == NULL) {
        return false;
    }
    if (is_usbip(host)) {
        return import(host);
    }
    begin_parser(host);
    send_packets(host);
    remote_pump(host);
    return host->connected;
}

void remote_close(struct remote_host *host) {
    if (host->session != NULL) {
        host->protocol->close(host->session);
    }
    if (host->parser != NULL) {
        usbredirparser_destroy(host->parser);
    }
    free(host->to_server);
    systole_byte_queue_free(&host->from_server);
    host->session = NULL;
}

void remote_pump(struct remote_host *host) {
    for (uint32_t i = 0; i < PUMPS; i++) {
        bool busy = false;
        for (uint32_t k = 0; k < host->bus->count; k++) {
            busy = systole_usb_port_run(&host->bus->ports[k]) || busy;
        }
        host->ended = !host->protocol->advance(host->session) || host->ended;
        busy = host->from_server.count != 0 || busy;
        if (is_usbip(host)) {
            take_replies(host);
        } else {
            take_packets(host);
        }
        if (!busy) {
            break;
        }
    }
}

static uint64_t new_id(struct remote_host *host, bool in) {
    host->next_id += 2;
    return host->next_id | in;
}

uint64_t remote_control(struct remote_host *host, const uint8_t setup[8], const uint8_t *data) {
    bool in = (setup[0] & 0x80) != 0;
    uint64_t id = new_id(host, in);
    uint16_t length = (uint16_t)(setup[6] | setup[7] << 8);
    if (is_usbip(host)) {
        send_submit(host, id, in, 0, setup, data, length);
    } else {
        struct usb_redir_control_packet_header header = {
            .endpoint = in ? 0x80 : 0,
            .request = setup[1],
            .requesttype = setup[0],
            .value = (uint16_t)(setup[2] | setup[3] << 8),
            .index = (uint16_t)(setup[4] | setup[5] << 8),
            .length = length,
        };
        uint8_t bytes[1024];
        if (!in && length != 0) {
            ck_assert_uint_le(length, sizeof bytes);
            memcpy(bytes, data, length);
        }
        usbredirparser_send_control_packet(host->parser, id, &header, in ? NULL : bytes, in ? 0 : length);
        send_packets(host);
    }
    remote_pump(host);
    return id;
}

uint64_t remote_transfer(struct remote_host *host, uint8_t endpoint, const uint8_t *data, size_t size) {
    bool in = (endpoint & 0x80) != 0;
    uint64_t id = new_id(host, in);
    if (is_usbip(host)) {
        send_submit(host, id, in, endpoint & 15u, NULL, data, size);
    } else {
        struct usb_redir_bulk_packet_header header = {
            .endpoint = endpoint, .length = (uint16_t)size, .length_high = (uint16_t)(size >> 16)};
        uint8_t *bytes = in ? NULL : malloc(size);
        if (bytes != NULL) {
            memcpy(bytes, data, size);
        }
        usbredirparser_send_bulk_packet(host->parser, id, &header, bytes, in ? 0 : (int)size);
        free(bytes);
        send_packets(host);
    }
    remote_pump(host);
    return id;
}

void remote_cancel(struct remote_host *host, uint64_t id) {
    if (is_usbip(host)) {
        uint32_t words[12] = {htonl(2), htonl((uint32_t)id | 0x80000000), htonl(DEVICE_ID), 0, 0, htonl((uint32_t)id)};
        remote_send(host, words, sizeof words);
    } else {
        usbredirparser_send_cancel_data_packet(host->parser, id);
        send_packets(host);
    }
    remote_pump(host);
}

void remote_configure(struct remote_host *host) {
    if (is_usbip(host)) {
        static const uint8_t setup[8] = {0, 9, 1};
        const struct remote_answer *answer = remote_answer(host, remote_control(host, setup, NULL));
        ck_assert_ptr_nonnull(answer);
        ck_assert_int_eq(answer->status, REMOTE_DONE);
    } else {
        struct usb_redir_set_configuration_header header = {.configuration = 1};
        usbredirparser_send_set_configuration(host->parser, 1, &header);
        send_packets(host);
        remote_pump(host);
    }
}

void remote_watch_interrupt(struct remote_host *host) {
    if (is_usbip(host)) {
        host->interrupt.id = host->next_id + 3; // of the next one
        ck_assert_uint_eq(remote_transfer(host, INTERRUPT_IN, NULL, 64), host->interrupt.id);
    } else {
        struct usb_redir_start_interrupt_receiving_header header = {.endpoint = INTERRUPT_IN};
        usbredirparser_send_start_interrupt_receiving(host->parser, 1, &header);
        send_packets(host);
        remote_pump(host);
    }
}

const struct remote_answer *remote_ask(struct remote_host *host, uint8_t type, uint8_t request, uint16_t value,
                                       uint16_t index, uint16_t length, const uint8_t *data) {
    uint8_t bytes[SYSTOLE_USB_SETUP_BYTES];
    systole_usb_setup(bytes, type, request, value, index, length);
    return remote_answer(host, remote_control(host, bytes, data));
}

static void check_done(const struct remote_answer *answer, size_t actual) {
    ck_assert_ptr_nonnull(answer);
    ck_assert_int_eq(answer->status, REMOTE_DONE);
    ck_assert_uint_eq(answer->actual, actual);
}

void remote_load_firmware(struct remote_host *host, const struct systole_target *target) {
    enum { BLOCK = 512 };
    uint8_t *image = NULL;
    size_t size = 0, at_once = host->at_once;
    uint16_t block = 0;
    ck_assert_int_eq(systole_firmware_build(target, &image, &size), SYSTOLE_OK);
    for (size_t at = 0; at < size; at += BLOCK, block++) {
        uint16_t part = (uint16_t)(size - at < BLOCK ? size - at : BLOCK);
        check_done(remote_ask(host, 0x21, 1, block, 0, part, image + at), part);
        check_done(remote_ask(host, 0xa1, 3, 0, 0, 6, NULL), 6);
    }
    free(image);
    check_done(remote_ask(host, 0x21, 1, block, 0, 0, NULL), 0);
    check_done(remote_ask(host, 0xa1, 3, 0, 0, 6, NULL), 6); // told before the device goes
    if (is_usbip(host)) {
        ck_assert(host->ended);
        struct systole_bus *bus = host->bus;
        remote_close(host);
        ck_assert(remote_open(host, &systole_usbip_protocol, bus));
        host->at_once = at_once;
    }
    ck_assert(!host->ended);
    ck_assert(host->connected);
    ck_assert_uint_eq(host->product, SYSTOLE_USB_APPLICATION_PRODUCT_ID);
    remote_configure(host);
}
