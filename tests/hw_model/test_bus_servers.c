// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// usbredir and USB/IP as byte machines: a host that speaks each brings the device through its life, and one that
// speaks nonsense is left alone.
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "fault_injection.h"
#include "remote_host.h"
#include "target.h"
#include "testing.h"

enum { DEVICES = 2, PAYLOAD = 8192, HEADER = 16 };

static const struct systole_bus_protocol *const ways[] = {&systole_usbredir_protocol, &systole_usbip_protocol};
static struct systole_usb_port ports[DEVICES];
static struct systole_bus bus = {ports, DEVICES};
static struct remote_host host, other;

static void setup(void) {
    for (uint32_t i = 0; i < DEVICES; i++) {
        struct systole_accelerator *accelerator = NULL;
        ck_assert_int_eq(systole_functional_model_create(&systole_presets[0], 0, &accelerator, NULL), SYSTOLE_OK);
        ports[i] = (struct systole_usb_port){.device = systole_usb_device_create(accelerator, &systole_presets[0])};
        ck_assert_ptr_nonnull(ports[i].device);
        systole_usb_device_number(ports[i].device, i + 1);
    }
    memset(&host, 0, sizeof host);
    memset(&other, 0, sizeof other);
}

static void teardown(void) {
    remote_close(&host);
    remote_close(&other);
    for (uint32_t i = 0; i < DEVICES; i++) {
        ck_assert_ptr_null(ports[i].waiting);
        ck_assert_uint_eq(ports[i].waiting_bytes, 0);
        systole_usb_device_free(ports[i].device);
    }
}

static const struct remote_answer *ask(uint8_t type, uint8_t request, uint16_t value, uint16_t index, uint16_t length,
                                       const uint8_t *data) {
    return remote_ask(&host, type, request, value, index, length, data);
}

static void expect(const struct remote_answer *answer, enum remote_status status, size_t actual) {
    ck_assert_ptr_nonnull(answer);
    ck_assert_int_eq(answer->status, status);
    ck_assert_uint_eq(answer->actual, actual);
}

static void load_firmware(void) {
    remote_load_firmware(&host, &systole_presets[0]);
}

static void begin(int way, size_t at_once) {
    ck_assert(remote_open(&host, ways[way], &bus));
    host.at_once = at_once;
    ck_assert_uint_eq(host.product, SYSTOLE_USB_BOOT_PRODUCT_ID);
}

static void fill_frame(uint8_t *frame, uint8_t kind, uint32_t length) {
    struct systole_frame_header header = {SYSTOLE_FRAME_MAGIC, kind, 0, 77, 0, length};
    memcpy(frame, &header, sizeof header);
}

// What is written into the scratchpad is read back, by a transfer that waits for it already.
static void exchange(void) {
    static uint8_t frame[HEADER + PAYLOAD];
    uint8_t question[HEADER];
    uint32_t state = 5;
    for (uint32_t i = HEADER; i < sizeof frame; i++) {
        frame[i] = (uint8_t)testing_random(&state);
    }
    fill_frame(frame, SYSTOLE_FRAME_WRITE, PAYLOAD);
    fill_frame(question, SYSTOLE_FRAME_READ, PAYLOAD);
    uint64_t in = remote_transfer(&host, SYSTOLE_USB_ENDPOINT_BULK_IN, NULL, 65536);
    uint64_t out = remote_transfer(&host, SYSTOLE_USB_ENDPOINT_BULK_OUT, frame, sizeof frame);
    ck_assert_ptr_null(remote_answer(&host, in));
    expect(remote_answer(&host, out), REMOTE_DONE, sizeof frame);
    expect(remote_answer(&host, remote_transfer(&host, SYSTOLE_USB_ENDPOINT_BULK_OUT, question, sizeof question)),
           REMOTE_DONE, sizeof question);
    expect(remote_answer(&host, in), REMOTE_DONE, sizeof frame);
    ck_assert_mem_eq(remote_answer(&host, in)->bytes + HEADER, frame + HEADER, PAYLOAD);
}

START_TEST(boot_then_application_then_data) {
    begin(_i, 0);
    const struct remote_answer *descriptor = ask(0x80, 6, 0x0100, 0, 18, NULL);
    expect(descriptor, REMOTE_DONE, 18);
    ck_assert_uint_eq(descriptor->bytes[10], SYSTOLE_USB_BOOT_PRODUCT_ID);
    expect(ask(0x80, 6, 0x0900, 0, 18, NULL), REMOTE_STALLED, 0);
    expect(ask(0x80, 6, 0x0200, 0, 9, NULL), REMOTE_DONE, 9);
    load_firmware();
    const struct remote_answer *identity = ask(0xc0, SYSTOLE_USB_REQUEST_READ_REGISTER, 0, 0, 8, NULL);
    expect(identity, REMOTE_DONE, 8);
    ck_assert_mem_eq(identity->bytes, "TSYS", 4);
    exchange();
}
END_TEST

START_TEST(bytes_in_any_portions) {
    begin(_i, 7);
    load_firmware();
    exchange();
}
END_TEST

START_TEST(cancelled_and_halted) {
    begin(_i, 0);
    load_firmware();
    uint64_t first = remote_transfer(&host, SYSTOLE_USB_ENDPOINT_BULK_IN, NULL, 1024);
    uint64_t second = remote_transfer(&host, SYSTOLE_USB_ENDPOINT_BULK_IN, NULL, 1024);
    ck_assert_ptr_null(remote_answer(&host, first));
    remote_cancel(&host, second);
    expect(remote_answer(&host, second), REMOTE_CANCELLED, 0);
    ck_assert_ptr_null(remote_answer(&host, first));
    remote_cancel(&host, first);
    expect(remote_answer(&host, first), REMOTE_CANCELLED, 0);
    // SET_FEATURE(ENDPOINT_HALT), and cleared again.
    static const uint8_t byte[8] = {0};
    expect(ask(0x02, 3, 0, SYSTOLE_USB_ENDPOINT_BULK_OUT, 0, NULL), REMOTE_DONE, 0);
    expect(remote_answer(&host, remote_transfer(&host, SYSTOLE_USB_ENDPOINT_BULK_OUT, byte, sizeof byte)),
           REMOTE_STALLED, 0);
    expect(ask(0x02, 1, 0, SYSTOLE_USB_ENDPOINT_BULK_OUT, 0, NULL), REMOTE_DONE, 0);
    exchange();
    // An endpoint that the device does not have.
    expect(remote_answer(&host, remote_transfer(&host, 0x85, NULL, 64)), REMOTE_STALLED, 0);
}
END_TEST

START_TEST(interrupt_tells_of_an_error) {
    uint8_t nonsense[HEADER] = {1, 2, 3};
    begin(_i, 0);
    load_firmware();
    remote_watch_interrupt(&host);
    ck_assert_uint_eq(host.interrupts, 0);
    (void)remote_transfer(&host, SYSTOLE_USB_ENDPOINT_BULK_OUT, nonsense, sizeof nonsense);
    ck_assert_uint_eq(host.interrupts, 1);
    ck_assert_int_eq(host.interrupt.status, REMOTE_DONE);
    ck_assert_uint_eq(host.interrupt.actual, 16);
    ck_assert_uint_eq(host.interrupt.bytes[0], SYSTOLE_ERROR_FRAME_MAGIC);
}
END_TEST

START_TEST(each_host_its_own_device) {
    begin(_i, 0);
    if (ways[_i] == &systole_usbip_protocol) {
        ck_assert(!remote_open(&other, ways[_i], &bus)); // the same name
        ck_assert_uint_eq(other.from_server.count, 8);
        ck_assert(other.ended);
    } else {
        ck_assert(remote_open(&other, ways[_i], &bus)); // the second device
        ck_assert_ptr_nonnull(ports[1].user.complete);
        struct systole_byte_queue out = {NULL, 0, 0, 0, false};
        ck_assert_ptr_null(ways[_i]->open(&bus, &out));
    }
    load_firmware();
    exchange();
    remote_close(&host); // and another host finds the application
    ck_assert(remote_open(&host, ways[_i], &bus));
    ck_assert_uint_eq(host.product, SYSTOLE_USB_APPLICATION_PRODUCT_ID);
}
END_TEST

START_TEST(unplugged_and_replugged) {
    static const char script[] = "at 1 out unplug 1";
    uint8_t frame[HEADER] = {0};
    struct systole_faults *faults = NULL;
    ck_assert_int_eq(systole_faults_parse(script, sizeof script - 1, "script", &faults, NULL), SYSTOLE_OK);
    systole_usb_device_inject(ports[0].device, faults);
    begin(_i, 0);
    load_firmware();
    uint64_t in = remote_transfer(&host, SYSTOLE_USB_ENDPOINT_BULK_IN, NULL, 1024);
    (void)remote_transfer(&host, SYSTOLE_USB_ENDPOINT_BULK_OUT, frame, sizeof frame);
    for (uint32_t i = 0; i < 100000 && !host.ended && (host.product != SYSTOLE_USB_BOOT_PRODUCT_ID || !host.connected);
         i++) {
        remote_pump(&host);
    }
    if (ways[_i] == &systole_usbip_protocol) {
        ck_assert(host.ended);
        expect(remote_answer(&host, in), REMOTE_OTHER, 0); // -ESHUTDOWN
        remote_close(&host);
        while (!systole_usb_device_present(ports[0].device)) {
            (void)systole_usb_port_run(&ports[0]);
        }
        ck_assert(remote_open(&host, ways[_i], &bus));
    }
    ck_assert(!host.ended);
    ck_assert_uint_eq(host.product, SYSTOLE_USB_BOOT_PRODUCT_ID);
    load_firmware();
    exchange();
}
END_TEST

// ---- USB/IP's own.

static void connect_raw(const void *bytes, size_t size) {
    remote_close(&host);
    memset(&host, 0, sizeof host);
    host.protocol = &systole_usbip_protocol;
    host.bus = &bus;
    host.session = host.protocol->open(&bus, &host.from_server);
    ck_assert_ptr_nonnull(host.session);
    remote_send(&host, bytes, size);
}

START_TEST(usbip_list) {
    static const uint8_t request[8] = {0x01, 0x11, 0x80, 0x05};
    connect_raw(request, sizeof request);
    const uint8_t *reply = host.from_server.bytes + host.from_server.start;
    ck_assert(host.ended);
    ck_assert_uint_eq(host.from_server.count, 12 + 2 * (312 + 4)); // boot has one interface
    ck_assert_mem_eq(reply, "\x01\x11\x00\x05\0\0\0\0\0\0\0\x02", 12);
    ck_assert_str_eq((const char *)reply + 12 + 256, "1-1");
    ck_assert_str_eq((const char *)reply + 12 + 316 + 256, "1-2");
    ck_assert_mem_eq(reply + 12 + 300, "\x12\x09\x00\x01\x01\x00", 6);
    ck_assert_mem_eq(reply + 12 + 312, "\xfe\x01\x02", 3);
}
END_TEST

START_TEST(usbip_import_tells_of_all_interfaces) {
    static const uint8_t question[40] = {0x01, 0x11, 0x80, 0x03, 0, 0, 0, 0, '1', '-', '1'};
    ck_assert(remote_open(&host, &systole_usbip_protocol, &bus));
    load_firmware();
    connect_raw(question, sizeof question);
    ck_assert(!host.ended);
    ck_assert_uint_eq(host.from_server.count, 8 + 312);
    ck_assert_mem_eq(host.from_server.bytes, "\x01\x11\x00\x03\0\0\0\0", 8);
    ck_assert_mem_eq(host.from_server.bytes + 8 + 300, "\x12\x09\x00\x02", 4);
    ck_assert_uint_eq(host.from_server.bytes[8 + 311], 2); // the accelerator's and the one for DFU
}
END_TEST

START_TEST(usbip_refusals) {
    static const struct {
        uint8_t bytes[40];
        size_t size, reply;
        uint8_t status;
    } cases[] = {
        {{0x01, 0x11, 0x80, 0x03, 0, 0, 0, 0, '1', '-', '9'}, 40, 8, 4},      // no such device
        {{0x01, 0x11, 0x80, 0x03, 0, 0, 0, 0, '1', '-', '1', 'x'}, 40, 8, 4}, //
        {{0x01, 0x06, 0x80, 0x05}, 8, 8, 1},                                  // another version
        {{0x01, 0x11, 0x12, 0x34}, 8, 0, 0},                                  // unknown operation
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        connect_raw(cases[i].bytes, cases[i].size);
        ck_assert(host.ended);
        ck_assert_uint_eq(host.from_server.count, cases[i].reply);
        if (cases[i].reply != 0) {
            ck_assert_uint_eq(host.from_server.bytes[7], cases[i].status);
        }
    }
}
END_TEST

START_TEST(usbip_hostile_commands) {
    static const uint32_t commands[][12] = {
        {1, 1, 0x10003, 0, 1, 0, 8},              // another device's id
        {1, 1, 0x10002, 0, 1, 0, 0xffffffff},     // no such length
        {1, 1, 0x10002, 0, 1, 0, (64 << 20) + 1}, // longer than allowed
        {1, 1, 0x10002, 2, 1, 0, 8},              // no direction
        {1, 1, 0x10002, 1, 16, 0, 8},             // no endpoint
        {1, 1, 0x10002, 1, 1, 0, 8, 0, 3},        // isochronous
        {7, 1, 0x10002, 0, 0, 0, 0},              // no command
        {3, 1, 0x10002, 0, 0, 0, 0},              // a reply
    };
    uint32_t words[12];
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        remote_close(&host);
        ck_assert(remote_open(&host, &systole_usbip_protocol, &bus));
        for (uint32_t k = 0; k < 12; k++) {
            words[k] = htonl(commands[i][k]);
        }
        remote_send(&host, words, sizeof words);
        ck_assert_msg(host.ended, "command %zu", i);
    }
    // A number that is in use, and a connection that ends within its data.
    remote_close(&host);
    ck_assert(remote_open(&host, &systole_usbip_protocol, &bus));
    remote_configure(&host);
    uint32_t in[12] = {htonl(1), htonl(9), htonl(0x10002), htonl(1), htonl(0), 0, htonl(8)};
    ((uint8_t *)in)[40] = 0xc0;
    remote_send(&host, in, sizeof in);
    ck_assert(!host.ended);
    remote_send(&host, in, sizeof in);
    ck_assert(host.ended);
    remote_close(&host);
    ck_assert(remote_open(&host, &systole_usbip_protocol, &bus));
    uint32_t out[12] = {htonl(1), htonl(9), htonl(0x10002), htonl(0), htonl(1), 0, htonl(100000)};
    remote_send(&host, out, sizeof out);
    remote_send(&host, in, sizeof in);
    ck_assert(!host.ended);
}
END_TEST

START_TEST(usbip_unlink_of_what_is_complete) {
    ck_assert(remote_open(&host, &systole_usbip_protocol, &bus));
    remote_cancel(&host, 1001);
    expect(remote_answer(&host, 1001), REMOTE_DONE, 0);
}
END_TEST

static Suite *suite(void) {
    Suite *made = suite_create("bus_servers");
    TCase *both = tcase_create("both");
    tcase_add_checked_fixture(both, setup, teardown);
    tcase_set_timeout(both, 30);
    tcase_add_loop_test(both, boot_then_application_then_data, 0, 2);
    tcase_add_loop_test(both, bytes_in_any_portions, 0, 2);
    tcase_add_loop_test(both, cancelled_and_halted, 0, 2);
    tcase_add_loop_test(both, interrupt_tells_of_an_error, 0, 2);
    tcase_add_loop_test(both, each_host_its_own_device, 0, 2);
    tcase_add_loop_test(both, unplugged_and_replugged, 0, 2);
    tcase_add_test(both, usbip_list);
    tcase_add_test(both, usbip_import_tells_of_all_interfaces);
    tcase_add_test(both, usbip_refusals);
    tcase_add_test(both, usbip_hostile_commands);
    tcase_add_test(both, usbip_unlink_of_what_is_complete);
    suite_add_tcase(made, both);
    return made;
}

int main(void) {
    return testing_run(suite(), "hw_model/test_bus_servers");
}
