// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The libusb transport on the virtual bus: what transport.h promises, against a device that stalls, stays silent,
// resets and becomes another one; then the driver on top of it.
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "driver.h"
#include "on_virtual_bus.h"
#include "sample_program.h"
#include "testing.h"

enum { DEADLINE_MS = 10000, VENDOR_IN = 0xC0, ENDPOINT_OUT = 0x02, CLASS_OUT = 0x21 };

static struct systole_transport *transport;

static void open_transport(void) {
    struct systole_diagnostic diagnostic = {"", "", ""};
    enum systole_status status = systole_libusb_open(0, &transport, &diagnostic);
    CLIENT_CHECK(status == SYSTOLE_OK, "%s", diagnostic.what);
    CLIENT_CHECK(strcmp(transport->name, "usb:1-1") == 0, "%s", transport->name);
}

// Firmware by the driver; the transport is then used without it.
static struct systole_driver *open_driver(void) {
    struct systole_driver *driver = NULL;
    struct systole_diagnostic diagnostic = {"", "", ""};
    uint8_t *firmware = NULL;
    size_t size = 0;
    open_transport();
    CLIENT_CHECK(systole_firmware_build(&systole_presets[0], &firmware, &size) == SYSTOLE_OK, "firmware");
    enum systole_status status =
        systole_driver_open(transport, &systole_presets[0], firmware, size, NULL, &driver, &diagnostic);
    CLIENT_CHECK(status == SYSTOLE_OK, "%s", diagnostic.what);
    free(firmware);
    return driver;
}

static void open_application(void) {
    systole_driver_close(open_driver());
    open_transport(); // firmware is in the device now
}

// By index, place and serial number; alone until closed.
static void open_by(void) {
    static const char *const good[] = {NULL, "0", "1-1", "serial:271570ba"};
    static const char *const bad[] = {"1", "", "x", "1-2", "1-1.1", "2-1", "serial:", "serial:f755aac", "0x"};
    struct systole_diagnostic diagnostic = {"", "", ""};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct systole_transport *second = NULL;
        enum systole_status status = systole_libusb_open_chosen(good[i], 0, &transport, &diagnostic);
        CLIENT_CHECK(status == SYSTOLE_OK, "%s: %s", good[i] == NULL ? "NULL" : good[i], diagnostic.what);
        status = systole_libusb_open_chosen("0", 0, &second, &diagnostic);
        CLIENT_CHECK(status == SYSTOLE_NO_DEVICE && second == NULL, "a second one: %s", systole_status_name(status));
        transport->functions->close(transport);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        enum systole_status status = systole_libusb_open_chosen(bad[i], 0, &transport, &diagnostic);
        CLIENT_CHECK(status == SYSTOLE_NO_DEVICE && transport == NULL, "%s: %s", bad[i], systole_status_name(status));
    }
}

static void mark(struct systole_usb_transfer *transfer) {
    ++*(int *)transfer->context;
}

static struct systole_usb_transfer make_transfer(uint8_t endpoint, void *buffer, size_t length, int *done) {
    return (struct systole_usb_transfer){
        .endpoint = endpoint, .buffer = buffer, .length = length, .complete = mark, .context = done};
}

static void submit(struct systole_usb_transfer *transfer) {
    enum systole_status status = transport->functions->submit(transport, transfer);
    CLIENT_CHECK(status == SYSTOLE_OK, "%s", systole_status_name(status));
}

static void poll_until(const int *done, int wanted) {
    uint64_t end = systole_now_ms() + DEADLINE_MS;
    while (*done < wanted && systole_now_ms() < end) {
        enum systole_status status = transport->functions->poll(transport, 50);
        CLIENT_CHECK(status == SYSTOLE_OK, "%s", systole_status_name(status));
    }
    CLIENT_CHECK(*done == wanted, "%d of %d transfers", *done, wanted);
}

static enum systole_status request(uint8_t type, uint8_t number, uint16_t value, uint16_t index, void *data,
                                   uint16_t length) {
    size_t actual = 0;
    enum systole_status status =
        transport->functions->control(transport, type, number, value, index, data, length, 1000, &actual);
    CLIENT_CHECK(status != SYSTOLE_OK || actual == length, "%zu of %u bytes", actual, length);
    return status;
}

// ---- Clients.

static void opens(void) {
    struct systole_transport *second = NULL;
    struct systole_diagnostic diagnostic = {"", "", ""};
    uint8_t descriptor[18];
    open_transport();
    CLIENT_CHECK(request(0x80, 6, 0x100, 0, descriptor, 18) == SYSTOLE_OK, "descriptor");
    CLIENT_CHECK(descriptor[10] == SYSTOLE_USB_BOOT_PRODUCT_ID, "%u", descriptor[10]);
    CLIENT_CHECK(transport->functions->peek == NULL && transport->functions->observe == NULL, "not in process");
    // Only one may have it, and there is only one.
    CLIENT_CHECK(systole_libusb_open(0, &second, &diagnostic) == SYSTOLE_NO_DEVICE, "opened twice");
    CLIENT_CHECK(strstr(diagnostic.hint, "another program") != NULL && second == NULL, "%s", diagnostic.hint);
    CLIENT_CHECK(systole_libusb_open(1, &second, &diagnostic) == SYSTOLE_NO_DEVICE, "a second device");
    // Already there, and not there: both within their time.
    CLIENT_CHECK(transport->functions->attach(transport, SYSTOLE_USB_BOOT_PRODUCT_ID, 0) == SYSTOLE_OK, "attach");
    uint64_t start = systole_now_ms();
    CLIENT_CHECK(transport->functions->attach(transport, SYSTOLE_USB_APPLICATION_PRODUCT_ID, 200) ==
                     SYSTOLE_DEVICE_GONE,
                 "attach");
    CLIENT_CHECK(systole_now_ms() - start >= 200 && systole_now_ms() - start < 2000, "%llu ms",
                 (unsigned long long)(systole_now_ms() - start));
    CLIENT_CHECK(request(0x80, 6, 0x100, 0, descriptor, 18) == SYSTOLE_OK, "still attached");
    transport->functions->close(transport);
    open_transport();
    transport->functions->close(transport);
}

static void moves_bytes(void) {
    enum { LENGTH = 1 << 20 };
    static uint8_t out[sizeof(struct systole_frame_header) + LENGTH];
    static uint8_t in[4][LENGTH / 2];
    struct systole_frame_header header = {.magic = SYSTOLE_FRAME_MAGIC, .kind = SYSTOLE_FRAME_WRITE, .length = LENGTH};
    struct systole_frame_header read = {
        .magic = SYSTOLE_FRAME_MAGIC, .kind = SYSTOLE_FRAME_READ, .tag = 9, .length = LENGTH};
    struct systole_usb_transfer transfers[6];
    int done = 0;
    open_application();
    for (size_t i = 0; i < sizeof out; i++) {
        out[i] = (uint8_t)(i * 2654435761u >> 13);
    }
    memcpy(out, &header, sizeof header);
    // The answer's buffers first, then what it answers.
    for (int i = 0; i < 4; i++) {
        transfers[i] = make_transfer(SYSTOLE_USB_ENDPOINT_BULK_IN, in[i], LENGTH / 2, &done);
        submit(&transfers[i]);
    }
    transfers[4] = make_transfer(SYSTOLE_USB_ENDPOINT_BULK_OUT, out, sizeof out, &done);
    transfers[5] = make_transfer(SYSTOLE_USB_ENDPOINT_BULK_OUT, (uint8_t *)&read, sizeof read, &done);
    submit(&transfers[4]);
    submit(&transfers[5]);
    poll_until(&done, 5); // two full buffers, the rest of the frame, and both frames out
    CLIENT_CHECK(transfers[4].actual == sizeof out && transfers[5].actual == sizeof read, "out");
    CLIENT_CHECK(transfers[0].actual == LENGTH / 2 && transfers[1].actual == LENGTH / 2, "in");
    CLIENT_CHECK(transfers[2].actual == sizeof header, "%zu", transfers[2].actual);
    CLIENT_CHECK(memcmp(in[0] + sizeof header, out + sizeof header, LENGTH / 2 - sizeof header) == 0, "first half");
    CLIENT_CHECK(memcmp(in[1], out + LENGTH / 2, LENGTH / 2) == 0, "second half");
    CLIENT_CHECK(memcmp(in[2], out + LENGTH, sizeof header) == 0, "end");

    // The last one is cancelled; polling in silence takes its time and no more.
    uint64_t start = systole_now_ms();
    CLIENT_CHECK(transport->functions->poll(transport, 100) == SYSTOLE_OK && done == 5, "poll");
    CLIENT_CHECK(systole_now_ms() - start < 2000, "poll took %llu ms", (unsigned long long)(systole_now_ms() - start));
    CLIENT_CHECK(transport->functions->cancel(transport, &transfers[3]) == SYSTOLE_OK, "cancel");
    CLIENT_CHECK(done == 5, "completed outside poll");
    poll_until(&done, 6);
    CLIENT_CHECK(transfers[3].status == SYSTOLE_CANCELLED && transfers[3].actual == 0, "%s",
                 systole_status_name(transfers[3].status));
    CLIENT_CHECK(transport->functions->cancel(transport, &transfers[3]) == SYSTOLE_OK, "cancel again");
    transport->functions->close(transport);
}

static void meets_refusals(void) {
    uint8_t in[1024];
    uint64_t identity = 0;
    int done = 0;
    open_application();
    CLIENT_CHECK(request(VENDOR_IN, 99, 0, 0, in, 8) == SYSTOLE_DEVICE_STALL, "unknown request");
    CLIENT_CHECK(request(VENDOR_IN, 1, SYSTOLE_REGISTER_IDENTITY, 0, &identity, 8) == SYSTOLE_OK, "register");
    CLIENT_CHECK((uint32_t)identity == SYSTOLE_IDENTITY, "%llx", (unsigned long long)identity);
    // A halted endpoint.
    struct systole_usb_transfer transfer = make_transfer(SYSTOLE_USB_ENDPOINT_EVENT_IN, in, sizeof in, &done);
    CLIENT_CHECK(request(ENDPOINT_OUT, 3, 0, SYSTOLE_USB_ENDPOINT_EVENT_IN, NULL, 0) == SYSTOLE_OK, "halt");
    submit(&transfer);
    poll_until(&done, 1);
    CLIENT_CHECK(transfer.status == SYSTOLE_DEVICE_STALL, "%s", systole_status_name(transfer.status));
    CLIENT_CHECK(request(ENDPOINT_OUT, 1, 0, SYSTOLE_USB_ENDPOINT_EVENT_IN, NULL, 0) == SYSTOLE_OK, "clear halt");
    // An endpoint that is not there.
    struct systole_usb_transfer wrong = make_transfer(0x85, in, sizeof in, &done);
    CLIENT_CHECK(transport->functions->submit(transport, &wrong) != SYSTOLE_OK, "submitted to nowhere");
    // A port reset takes back what waits, and the device goes on.
    submit(&transfer);
    CLIENT_CHECK(transport->functions->reset(transport) == SYSTOLE_OK, "reset");
    CLIENT_CHECK(done == 1, "completed outside poll");
    poll_until(&done, 2);
    CLIENT_CHECK(transfer.status == SYSTOLE_CANCELLED, "%s", systole_status_name(transfer.status));
    CLIENT_CHECK(request(VENDOR_IN, 1, SYSTOLE_REGISTER_IDENTITY, 0, &identity, 8) == SYSTOLE_OK, "after a reset");
    // A bad frame: the fault comes on the interrupt endpoint.
    struct systole_frame_header bad = {.magic = 1};
    struct systole_usb_transfer fault = make_transfer(SYSTOLE_USB_ENDPOINT_INTERRUPT_IN, in, 64, &done);
    struct systole_usb_transfer frame =
        make_transfer(SYSTOLE_USB_ENDPOINT_BULK_OUT, (uint8_t *)&bad, sizeof bad, &done);
    submit(&fault);
    submit(&frame);
    poll_until(&done, 4);
    CLIENT_CHECK(fault.status == SYSTOLE_OK && fault.actual == 16 && in[0] == SYSTOLE_ERROR_FRAME_MAGIC, "%s, %zu",
                 systole_status_name(fault.status), fault.actual);
    transport->functions->close(transport);
}

static void survives_reenumeration(void) {
    uint8_t in[1024];
    uint8_t descriptor[18];
    int done = 0;
    open_application();
    struct systole_usb_transfer transfer = make_transfer(SYSTOLE_USB_ENDPOINT_EVENT_IN, in, sizeof in, &done);
    submit(&transfer);
    CLIENT_CHECK(request(CLASS_OUT, 0, 1000, 1, NULL, 0) == SYSTOLE_OK, "detach");
    poll_until(&done, 1);
    CLIENT_CHECK(transfer.status == SYSTOLE_DEVICE_GONE, "%s", systole_status_name(transfer.status));
    CLIENT_CHECK(request(0x80, 6, 0x100, 0, descriptor, 18) == SYSTOLE_DEVICE_GONE, "control without a device");
    CLIENT_CHECK(transport->functions->submit(transport, &transfer) == SYSTOLE_DEVICE_GONE, "submitted to nobody");
    CLIENT_CHECK(transport->functions->reset(transport) == SYSTOLE_DEVICE_GONE, "reset without a device");
    CLIENT_CHECK(transport->functions->attach(transport, SYSTOLE_USB_BOOT_PRODUCT_ID, 5000) == SYSTOLE_OK, "attach");
    CLIENT_CHECK(request(0x80, 6, 0x100, 0, descriptor, 18) == SYSTOLE_OK, "control");
    CLIENT_CHECK(descriptor[10] == SYSTOLE_USB_BOOT_PRODUCT_ID, "%u", descriptor[10]);
    CLIENT_CHECK(transport->functions->poll(transport, 0) == SYSTOLE_OK && done == 1, "told twice");
    transport->functions->close(transport);
}

// Closing with transfers in flight: they are not told, and nothing of them is touched afterwards.
static void closes_in_flight(void) {
    int done = 0;
    open_application();
    for (int round = 0; round < 3; round++) {
        struct systole_usb_transfer transfers[8];
        uint8_t *buffers = calloc(8, 4096);
        CLIENT_CHECK(buffers != NULL, "memory");
        for (int i = 0; i < 8; i++) {
            uint8_t endpoint = i % 2 ? SYSTOLE_USB_ENDPOINT_EVENT_IN : SYSTOLE_USB_ENDPOINT_BULK_IN;
            transfers[i] = make_transfer(endpoint, buffers + 4096 * i, 4096, &done);
            submit(&transfers[i]);
        }
        transport->functions->close(transport);
        free(buffers);
        CLIENT_CHECK(done == 0, "%d were told", done);
        open_transport();
    }
    transport->functions->close(transport);
}

// The driver over USB: the sample program, twice, the second time after a reset of everything.
static void runs_a_program(void) {
    struct systole_program program;
    sample_program(&program);
    const struct systole_segment *segment = &program.segments[0];
    struct systole_driver *driver = open_driver();
    struct systole_diagnostic diagnostic = {"", "", ""};
    systole_loaded loaded = 0;
    enum systole_status status = systole_driver_load(driver, segment, &loaded, &diagnostic);
    CLIENT_CHECK(status == SYSTOLE_OK, "%s", diagnostic.what);
    static uint8_t input[64 * 16];
    static uint8_t outputs[2][2][64 * 16];
    for (size_t i = 0; i < sizeof input; i++) {
        input[i] = (uint8_t)(i * 37);
    }
    for (int round = 0; round < 2; round++) {
        const uint8_t *in[] = {input};
        uint8_t *out[] = {outputs[round][0], outputs[round][1]};
        struct systole_request request = {.inputs = in, .outputs = out};
        status = systole_driver_submit(driver, loaded, &request);
        CLIENT_CHECK(status == SYSTOLE_OK, "%s", systole_status_name(status));
        status = systole_driver_wait(driver, &request);
        CLIENT_CHECK(status == SYSTOLE_OK, "%s", request.diagnostic.what);
        CLIENT_CHECK(request.cycles > 100, "%llu cycles", (unsigned long long)request.cycles);
        systole_request_clear(&request);
        if (round == 0) {
            status = systole_driver_reset(driver, &diagnostic);
            CLIENT_CHECK(status == SYSTOLE_OK, "%s", diagnostic.what);
        }
    }
    CLIENT_CHECK(memcmp(outputs[0], outputs[1], sizeof outputs[0]) == 0, "another result after a reset");
    systole_driver_close(driver);
    systole_program_free(&program);
}

// An event loop: only the descriptor says when to look.
static void waits_on_a_descriptor(void) {
    struct systole_program program;
    sample_program(&program);
    struct systole_driver *driver = open_driver();
    struct systole_diagnostic diagnostic = {"", "", ""};
    systole_loaded loaded = 0;
    static uint8_t input[64 * 16], outputs[2][64 * 16];
    const uint8_t *in[] = {input};
    uint8_t *out[] = {outputs[0], outputs[1]};
    uint32_t timeout = 0;
    int descriptor = systole_driver_descriptor(driver, &timeout);
    CLIENT_CHECK(descriptor >= 0 && timeout == UINT32_MAX, "%d, %u", descriptor, timeout);
    CLIENT_CHECK(systole_driver_load(driver, &program.segments[0], &loaded, &diagnostic) == SYSTOLE_OK, "%s",
                 diagnostic.what);
    for (int round = 0; round < 20; round++) {
        struct systole_request request = {.inputs = in, .outputs = out};
        uint64_t end = systole_now_ms() + DEADLINE_MS;
        int woken = 0;
        CLIENT_CHECK(systole_driver_submit(driver, loaded, &request) == SYSTOLE_OK, "submit");
        while (request.detail != NULL && systole_now_ms() < end) {
            CLIENT_CHECK(systole_driver_descriptor(driver, &timeout) == descriptor && timeout <= 1000, "%u", timeout);
            struct pollfd ready = {.fd = descriptor, .events = POLLIN};
            woken += poll(&ready, 1, (int)timeout);
            (void)systole_driver_poll(driver, 0);
        }
        CLIENT_CHECK(request.detail == NULL && request.status == SYSTOLE_OK, "%s", request.diagnostic.what);
        CLIENT_CHECK(woken > 0, "never woken");
        systole_request_clear(&request);
    }
    systole_driver_close(driver);
    systole_program_free(&program);
}

static const struct bus_client clients[] = {
    {"opens", opens},
    {"open_by", open_by},
    {"moves_bytes", moves_bytes},
    {"meets_refusals", meets_refusals},
    {"survives_reenumeration", survives_reenumeration},
    {"closes_in_flight", closes_in_flight},
    {"runs_a_program", runs_a_program},
    {"waits_on_a_descriptor", waits_on_a_descriptor},
    {NULL, NULL},
};

START_TEST(client) {
    on_virtual_bus(clients[_i].name);
}
END_TEST

// Also on a machine without a bus.
START_TEST(no_device) {
    struct systole_transport *none = NULL;
    struct systole_diagnostic diagnostic = {"", "", ""};
    ck_assert_int_eq(systole_libusb_open(1000, &none, &diagnostic), SYSTOLE_NO_DEVICE);
    ck_assert_ptr_null(none);
    ck_assert_str_ne(diagnostic.what, "");
    ck_assert_str_ne(diagnostic.hint, "");
}
END_TEST

int main(int argc, char **argv) {
    int status = 0;
    if (is_bus_client(argc, argv, clients, &status)) {
        return status;
    }
    Suite *suite = suite_create("libusb_transport");
    TCase *tests = tcase_create("all");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, client, 0, sizeof clients / sizeof clients[0] - 1);
    tcase_add_test(tests, no_device);
    suite_add_tcase(suite, tests);
    return testing_run(suite, "userspace_driver/libusb_transport");
}
