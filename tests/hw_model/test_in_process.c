// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The in-process transport in front of a scripted accelerator: queues, cancellation, leaving the bus, determinism.
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "driver.h"
#include "scripted_accelerator.h"
#include "testing.h"

static struct systole_transport *transport;
static struct scripted_accelerator *accelerator;
static uint32_t completed, order[16];

static enum systole_status control(uint8_t type, uint8_t request, uint16_t value, uint16_t index, void *data,
                                   uint16_t length) {
    size_t actual = 0;
    return transport->functions->control(transport, type, request, value, index, data, length, 100, &actual);
}

static void bring_up(void) {
    uint8_t *image, status[6];
    size_t size;
    ck_assert_int_eq(systole_firmware_build(&systole_presets[0], &image, &size), SYSTOLE_OK);
    ck_assert_int_eq(control(0x21, 1, 0, 0, image, (uint16_t)size), SYSTOLE_OK);
    ck_assert_int_eq(control(0xa1, 3, 0, 0, status, 6), SYSTOLE_OK);
    ck_assert_int_eq(control(0x21, 1, 1, 0, NULL, 0), SYSTOLE_OK);
    ck_assert_int_eq(control(0xa1, 3, 0, 0, status, 6), SYSTOLE_OK);
    free(image);
    ck_assert_int_eq(control(0xa1, 3, 0, 0, status, 6), SYSTOLE_DEVICE_GONE); // until it is attached to again
    ck_assert_int_eq(transport->functions->attach(transport, SYSTOLE_USB_BOOT_PRODUCT_ID, 1), SYSTOLE_DEVICE_TIMEOUT);
    ck_assert_int_eq(transport->functions->attach(transport, SYSTOLE_USB_APPLICATION_PRODUCT_ID, 1), SYSTOLE_OK);
}

static void setup(void) {
    struct systole_diagnostic diagnostic;
    completed = 0;
    accelerator = scripted_accelerator_create(&systole_presets[0]);
    struct systole_usb_device *device = systole_usb_device_create(&accelerator->accelerator, &systole_presets[0]);
    ck_assert_ptr_nonnull(device);
    ck_assert_int_eq(systole_in_process_open(device, "scripted", &transport, &diagnostic), SYSTOLE_OK);
    bring_up();
}

static void teardown(void) {
    transport->functions->close(transport);
}

static void note(struct systole_usb_transfer *transfer) {
    order[completed++ % 16] = *(uint32_t *)transfer->context;
}

static uint32_t numbers[8] = {0, 1, 2, 3, 4, 5, 6, 7};

static struct systole_usb_transfer make_transfer(uint8_t endpoint, uint8_t *buffer, size_t length, uint32_t number) {
    return (struct systole_usb_transfer){
        .endpoint = endpoint, .buffer = buffer, .length = length, .complete = note, .context = &numbers[number]};
}

static void submit(struct systole_usb_transfer *transfer) {
    ck_assert_int_eq(transport->functions->submit(transport, transfer), SYSTOLE_OK);
}

START_TEST(transfers_of_an_endpoint_keep_their_order) {
    uint8_t bytes[4][64];
    struct systole_usb_transfer out[4];
    memset(bytes, 7, sizeof bytes);
    accelerator->push_room = 100;
    for (uint32_t i = 0; i < 4; i++) {
        out[i] = make_transfer(SYSTOLE_USB_ENDPOINT_BULK_OUT, bytes[i], 64, i);
        submit(&out[i]);
    }
    ck_assert_uint_eq(completed, 0); // submitting moves nothing
    transport->functions->poll(transport, 0);
    ck_assert_uint_eq(completed, 1);
    ck_assert_uint_eq(accelerator->pushed_size, 100);
    transport->functions->cancel(transport, &out[2]);
    accelerator->push_room = 1000;
    transport->functions->poll(transport, 0);
    ck_assert_uint_eq(completed, 4);
    ck_assert_int_eq(out[1].status, SYSTOLE_OK);
    ck_assert_int_eq(out[2].status, SYSTOLE_CANCELLED);
    ck_assert_int_eq(out[3].status, SYSTOLE_OK);
    ck_assert_uint_eq(accelerator->pushed_size, 3 * 64);
    ck_assert_uint_eq(order[1], 2); // what was cancelled comes first
    ck_assert_uint_eq(order[2], 1);
    ck_assert_uint_eq(order[3], 3);
}
END_TEST

START_TEST(stalls_and_unknown_endpoints) {
    uint8_t bytes[64];
    struct systole_usb_transfer in = make_transfer(SYSTOLE_USB_ENDPOINT_BULK_IN, bytes, 64, 0);
    struct systole_usb_transfer nowhere = make_transfer(0x87, bytes, 64, 1);
    ck_assert_int_eq(transport->functions->submit(transport, &nowhere), SYSTOLE_BAD_ARGUMENT);
    ck_assert_int_eq(control(0x02, 3, 0, SYSTOLE_USB_ENDPOINT_BULK_IN, NULL, 0), SYSTOLE_OK); // halt
    submit(&in);
    transport->functions->poll(transport, 0);
    ck_assert_uint_eq(completed, 1);
    ck_assert_int_eq(in.status, SYSTOLE_DEVICE_STALL);
    ck_assert_int_eq(control(0x02, 1, 0, SYSTOLE_USB_ENDPOINT_BULK_IN, NULL, 0), SYSTOLE_OK);
    submit(&in);
    transport->functions->poll(transport, 1);
    ck_assert_uint_eq(completed, 1);
    ck_assert_int_eq(control(0xc0, 9, 0, 0, bytes, 8), SYSTOLE_DEVICE_STALL);
}
END_TEST

START_TEST(a_device_that_leaves_takes_its_transfers_along) {
    uint8_t bytes[64];
    struct systole_usb_transfer in = make_transfer(SYSTOLE_USB_ENDPOINT_BULK_IN, bytes, 64, 0);
    struct systole_usb_transfer event = make_transfer(SYSTOLE_USB_ENDPOINT_EVENT_IN, bytes, 64, 1);
    submit(&in);
    ck_assert_int_eq(transport->functions->reset(transport), SYSTOLE_OK);
    ck_assert_uint_eq(completed, 0);
    transport->functions->poll(transport, 0);
    ck_assert_uint_eq(completed, 1);
    ck_assert_int_eq(in.status, SYSTOLE_CANCELLED);
    submit(&in);
    submit(&event);
    ck_assert_int_eq(control(0x21, 0, 0, 1, NULL, 0), SYSTOLE_OK); // detach
    ck_assert_int_eq(transport->functions->submit(transport, &in), SYSTOLE_DEVICE_GONE);
    ck_assert_int_eq(transport->functions->reset(transport), SYSTOLE_DEVICE_GONE);
    transport->functions->poll(transport, 0);
    ck_assert_uint_eq(completed, 3);
    ck_assert_int_eq(in.status, SYSTOLE_DEVICE_GONE);
    ck_assert_int_eq(event.status, SYSTOLE_DEVICE_GONE);
    ck_assert_int_eq(transport->functions->attach(transport, SYSTOLE_USB_BOOT_PRODUCT_ID, 1), SYSTOLE_OK);
    bring_up();
}
END_TEST

static void submit_again(struct systole_usb_transfer *transfer) {
    completed++;
    submit(transfer);
}

START_TEST(poll_returns_from_a_device_that_always_stalls) {
    uint8_t bytes[64];
    struct systole_usb_transfer in = make_transfer(SYSTOLE_USB_ENDPOINT_BULK_IN, bytes, 64, 0);
    in.complete = submit_again;
    ck_assert_int_eq(control(0x02, 3, 0, SYSTOLE_USB_ENDPOINT_BULK_IN, NULL, 0), SYSTOLE_OK);
    submit(&in);
    transport->functions->poll(transport, 1000);
    ck_assert_uint_gt(completed, 1);
    ck_assert_uint_lt(completed, 1000);
}
END_TEST

static uint64_t run_slices(uint32_t seed) {
    uint64_t cycles;
    double seconds;
    accelerator->busy_slices = seed;
    for (uint32_t i = 0; i < 100; i++) {
        transport->functions->poll(transport, 0);
    }
    transport->functions->simulation(transport, &cycles, &seconds);
    ck_assert(seconds >= 0);
    return cycles;
}

START_TEST(slices_are_counted_in_cycles) {
    uint64_t first = run_slices(3);
    ck_assert_uint_gt(first, 0);
    ck_assert_uint_eq(run_slices(3), 2 * first); // whatever the wall clock does
}
END_TEST

int main(void) {
    Suite *suite = suite_create("in_process");
    TCase *tests = tcase_create("in_process");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, transfers_of_an_endpoint_keep_their_order);
    tcase_add_test(tests, stalls_and_unknown_endpoints);
    tcase_add_test(tests, a_device_that_leaves_takes_its_transfers_along);
    tcase_add_test(tests, poll_returns_from_a_device_that_always_stalls);
    tcase_add_test(tests, slices_are_counted_in_cycles);
    suite_add_tcase(suite, tests);
    return testing_run(suite, "in_process");
}
