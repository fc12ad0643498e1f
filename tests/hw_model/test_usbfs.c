// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The ioctls of usbfs without a file system in front: this process is the client, its own memory the client's.
#include "usbfs.h"

#include <errno.h>
#include <linux/usbdevice_fs.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "driver.h"
#include "testing.h"

enum { DFU_DNLOAD = 1, DFU_GETSTATUS = 3, DFU_DETACH = 0, WORDS = 4096 };

static struct systole_usb_device *device;
static struct systole_usbfs *usbfs;
static struct systole_usbfs_file *file;

static void set_up(void) {
    struct systole_accelerator *accelerator = NULL;
    ck_assert_int_eq(systole_functional_model_create(&systole_presets[0], 0, &accelerator, NULL), SYSTOLE_OK);
    device = systole_usb_device_create(accelerator, &systole_presets[0]);
    ck_assert_ptr_nonnull(device);
    usbfs = systole_usbfs_create(device);
    ck_assert_ptr_nonnull(usbfs);
    file = systole_usbfs_open(usbfs);
    ck_assert_ptr_nonnull(file);
}

static void tear_down(void) {
    systole_usbfs_free(usbfs); // closes what is open
    systole_usb_device_free(device);
}

static int do_ioctl(unsigned request, void *argument) {
    return systole_usbfs_ioctl(file, getpid(), request, (uint64_t)(uintptr_t)argument);
}

static int do_control(uint8_t type, uint8_t request, uint16_t value, uint16_t index, void *data, uint16_t length) {
    struct usbdevfs_ctrltransfer transfer = {type, request, value, index, length, 1000, data};
    return do_ioctl(USBDEVFS_CONTROL, &transfer);
}

static struct usbdevfs_urb bulk(uint8_t endpoint, void *buffer, int length) {
    return (struct usbdevfs_urb){
        .type = USBDEVFS_URB_TYPE_BULK, .endpoint = endpoint, .buffer = buffer, .buffer_length = length};
}

// Lets the device work until there is something to reap, and reaps it.
static struct usbdevfs_urb *reap(void) {
    void *reaped = NULL;
    for (int i = 0; i < 100000 && (systole_usbfs_events(file) & POLLOUT) == 0; i++) {
        (void)systole_usb_device_run(device);
        (void)systole_usbfs_move(usbfs);
    }
    ck_assert_int_eq(do_ioctl(USBDEVFS_REAPURBNDELAY, &reaped), 0);
    return reaped;
}

// Takes the device to its application, where a new file has to be opened.
static void load_firmware(void) {
    uint8_t *image = NULL;
    size_t size = 0;
    uint8_t status[6];
    uint16_t block = 0;
    ck_assert_int_eq(systole_firmware_build(&systole_presets[0], &image, &size), SYSTOLE_OK);
    for (size_t sent = 0; sent < size; sent += 1024, block++) {
        uint16_t length = (uint16_t)(size - sent < 1024 ? size - sent : 1024);
        ck_assert_int_eq(do_control(0x21, DFU_DNLOAD, block, 0, image + sent, length), length);
        ck_assert_int_eq(do_control(0xA1, DFU_GETSTATUS, 0, 0, status, 6), 6);
    }
    ck_assert_int_eq(do_control(0x21, DFU_DNLOAD, block, 0, NULL, 0), 0);
    ck_assert_int_eq(do_control(0xA1, DFU_GETSTATUS, 0, 0, status, 6), 6);
    free(image);
    ck_assert(systole_usbfs_reenumerated(usbfs));
    ck_assert(!systole_usbfs_reenumerated(usbfs));
    systole_usbfs_close(file);
    file = systole_usbfs_open(usbfs);
    ck_assert_ptr_nonnull(file);
}

START_TEST(enumeration) {
    uint8_t descriptor[18];
    uint32_t capabilities = 0;
    ck_assert_int_eq(do_ioctl(USBDEVFS_GET_CAPABILITIES, &capabilities), 0);
    ck_assert_uint_ne(capabilities & USBDEVFS_CAP_REAP_AFTER_DISCONNECT, 0);
    ck_assert_uint_eq(capabilities & USBDEVFS_CAP_BULK_CONTINUATION, 0);
    ck_assert_int_eq(do_ioctl(USBDEVFS_GET_SPEED, NULL), 5);
    ck_assert_int_eq(do_control(0x80, 6, 0x100, 0, descriptor, sizeof descriptor), 18);
    ck_assert_uint_eq((unsigned)(descriptor[8] | descriptor[9] << 8), SYSTOLE_USB_VENDOR_ID);
    ck_assert_uint_eq((unsigned)(descriptor[10] | descriptor[11] << 8), SYSTOLE_USB_BOOT_PRODUCT_ID);
    ck_assert_int_eq(do_control(0x80, 8, 0, 0, descriptor, 1), 1);
    ck_assert_uint_eq(descriptor[0], 1); // configured
    ck_assert_int_eq(do_control(0xC0, 1, 0, 0, descriptor, 8), -EPIPE);
    ck_assert_int_eq(do_ioctl(0x12345678, NULL), -ENOTTY);
    ck_assert_int_eq(systole_usbfs_events(file), 0);
}
END_TEST

START_TEST(claims) {
    struct systole_usbfs_file *first = file;
    struct systole_usbfs_file *second = systole_usbfs_open(usbfs);
    unsigned zero = 0;
    unsigned nine = 9;
    struct usbdevfs_getdriver driver = {.interface = 0};
    ck_assert_int_eq(do_ioctl(USBDEVFS_CLAIMINTERFACE, &nine), -ENOENT);
    ck_assert_int_eq(do_ioctl(USBDEVFS_RELEASEINTERFACE, &zero), -EINVAL);
    ck_assert_int_eq(do_ioctl(USBDEVFS_GETDRIVER, &driver), -ENODATA);
    ck_assert_int_eq(do_ioctl(USBDEVFS_CLAIMINTERFACE, &zero), 0);
    ck_assert_int_eq(do_ioctl(USBDEVFS_CLAIMINTERFACE, &zero), 0);
    ck_assert_int_eq(do_ioctl(USBDEVFS_GETDRIVER, &driver), 0);
    ck_assert_str_eq(driver.driver, "usbfs");
    unsigned one = 1;
    ck_assert_int_eq(do_ioctl(USBDEVFS_SETCONFIGURATION, &one), -EBUSY);
    file = second;
    ck_assert_int_eq(do_ioctl(USBDEVFS_CLAIMINTERFACE, &zero), -EBUSY);
    ck_assert_int_eq(do_ioctl(USBDEVFS_RELEASEINTERFACE, &zero), -EINVAL);
    systole_usbfs_close(first);
    ck_assert_int_eq(do_ioctl(USBDEVFS_CLAIMINTERFACE, &zero), 0);
    ck_assert_int_eq(do_ioctl(USBDEVFS_RELEASEINTERFACE, &zero), 0);
    ck_assert_int_eq(do_ioctl(USBDEVFS_SETCONFIGURATION, &one), 0);
}
END_TEST

START_TEST(addresses_outside_the_client) {
    unsigned zero = 0;
    char gap = 0;
    struct usbdevfs_urb urb = bulk(0x01, &gap, 1);
    load_firmware();
    ck_assert_int_eq(do_ioctl(USBDEVFS_GET_CAPABILITIES, NULL), -EFAULT);
    ck_assert_int_eq(do_ioctl(USBDEVFS_CLAIMINTERFACE, (void *)(uintptr_t)16), -EFAULT);
    ck_assert_int_eq(do_ioctl(USBDEVFS_SUBMITURB, (void *)(uintptr_t)-4096), -EFAULT);
    ck_assert_int_eq(do_control(0x80, 6, 0x100, 0, (void *)(uintptr_t)16, 18), -EFAULT);
    ck_assert_int_eq(do_ioctl(USBDEVFS_CLAIMINTERFACE, &zero), 0);
    urb.buffer = (void *)(uintptr_t)16;
    ck_assert_int_eq(do_ioctl(USBDEVFS_SUBMITURB, &urb), -EFAULT);
    urb = bulk(0x01, &gap, -1);
    ck_assert_int_eq(do_ioctl(USBDEVFS_SUBMITURB, &urb), -EINVAL);
    urb = bulk(0x01, &gap, (64 << 20) + 1);
    ck_assert_int_eq(do_ioctl(USBDEVFS_SUBMITURB, &urb), -EINVAL);
    urb = bulk(0x05, &gap, 1);
    ck_assert_int_eq(do_ioctl(USBDEVFS_SUBMITURB, &urb), -ENOENT);
    urb = bulk(0x80, &gap, 1);
    ck_assert_int_eq(do_ioctl(USBDEVFS_SUBMITURB, &urb), -ENOENT);
    urb.type = USBDEVFS_URB_TYPE_ISO;
    ck_assert_int_eq(do_ioctl(USBDEVFS_SUBMITURB, &urb), -EINVAL);
    uint8_t setup[8] = {0x80, 6, 0, 1, 0, 0, 18, 0};
    urb = (struct usbdevfs_urb){.type = USBDEVFS_URB_TYPE_CONTROL, .buffer = setup, .buffer_length = 8};
    ck_assert_int_eq(do_ioctl(USBDEVFS_SUBMITURB, &urb), -EINVAL); // no room for the 18 bytes
    urb.buffer_length = 4;
    ck_assert_int_eq(do_ioctl(USBDEVFS_SUBMITURB, &urb), -EINVAL);
}
END_TEST

START_TEST(control_transfers_are_reaped) {
    uint8_t bytes[8 + 64] = {0x80, 6, 0, 1, 0, 0, 64, 0};
    struct usbdevfs_urb urb = {
        .type = USBDEVFS_URB_TYPE_CONTROL, .buffer = bytes, .buffer_length = sizeof bytes, .usercontext = &urb};
    ck_assert_int_eq(do_ioctl(USBDEVFS_REAPURBNDELAY, &urb), -EAGAIN);
    ck_assert_int_eq(do_ioctl(USBDEVFS_SUBMITURB, &urb), 0);
    ck_assert_ptr_eq(reap(), &urb);
    ck_assert_int_eq(urb.status, 0);
    ck_assert_int_eq(urb.actual_length, 18);
    ck_assert_uint_eq(bytes[8], 18);
    ck_assert_ptr_eq(urb.usercontext, &urb);
    bytes[1] = 99;
    ck_assert_int_eq(do_ioctl(USBDEVFS_SUBMITURB, &urb), 0);
    ck_assert_ptr_eq(reap(), &urb);
    ck_assert_int_eq(urb.status, -EPIPE);
}
END_TEST

// A write frame with `WORDS` words and a read frame for the same, and the answer.
START_TEST(bulk_transfers) {
    static uint8_t out[sizeof(struct systole_frame_header) + WORDS * 16];
    static uint8_t in[sizeof(struct systole_frame_header) + WORDS * 16 + 1024];
    struct systole_frame_header header = {
        .magic = SYSTOLE_FRAME_MAGIC, .kind = SYSTOLE_FRAME_WRITE, .tag = 1, .address = 100, .length = WORDS * 16};
    load_firmware();
    for (size_t i = 0; i < sizeof out; i++) {
        out[i] = (uint8_t)(i * 31 >> 3);
    }
    memcpy(out, &header, sizeof header);
    struct usbdevfs_urb read_urb = bulk(SYSTOLE_USB_ENDPOINT_BULK_IN, in, sizeof in);
    struct usbdevfs_urb write_urb = bulk(SYSTOLE_USB_ENDPOINT_BULK_OUT, out, sizeof out);
    ck_assert_int_eq(do_ioctl(USBDEVFS_SUBMITURB, &read_urb), 0);
    ck_assert_int_eq(do_ioctl(USBDEVFS_SUBMITURB, &write_urb), 0);
    ck_assert_ptr_eq(reap(), &write_urb);
    ck_assert_int_eq(write_urb.status, 0);
    ck_assert_int_eq(write_urb.actual_length, (int)sizeof out);
    header.kind = SYSTOLE_FRAME_READ;
    header.tag = 77;
    write_urb = bulk(SYSTOLE_USB_ENDPOINT_BULK_OUT, &header, sizeof header);
    ck_assert_int_eq(do_ioctl(USBDEVFS_SUBMITURB, &write_urb), 0);
    ck_assert_ptr_eq(reap(), &write_urb);
    ck_assert_ptr_eq(reap(), &read_urb);
    ck_assert_int_eq(read_urb.status, 0);
    ck_assert_int_eq(read_urb.actual_length, (int)sizeof out);
    struct systole_frame_header answer;
    memcpy(&answer, in, sizeof answer);
    ck_assert_uint_eq(answer.kind, SYSTOLE_FRAME_DATA);
    ck_assert_uint_eq(answer.tag, 77);
    ck_assert_mem_eq(in + sizeof answer, out + sizeof header, WORDS * 16);
}
END_TEST

START_TEST(short_transfers_may_be_errors) {
    uint8_t in[4096];
    struct systole_frame_header header = {
        .magic = SYSTOLE_FRAME_MAGIC, .kind = SYSTOLE_FRAME_READ, .tag = 1, .address = 0, .length = 16};
    load_firmware();
    struct usbdevfs_urb read_urb = bulk(SYSTOLE_USB_ENDPOINT_BULK_IN, in, sizeof in);
    struct usbdevfs_urb write_urb = bulk(SYSTOLE_USB_ENDPOINT_BULK_OUT, &header, sizeof header);
    read_urb.flags = USBDEVFS_URB_SHORT_NOT_OK;
    ck_assert_int_eq(do_ioctl(USBDEVFS_SUBMITURB, &write_urb), 0);
    ck_assert_int_eq(do_ioctl(USBDEVFS_SUBMITURB, &read_urb), 0);
    ck_assert_ptr_eq(reap(), &write_urb);
    ck_assert_ptr_eq(reap(), &read_urb);
    ck_assert_int_eq(read_urb.status, -EREMOTEIO);
    ck_assert_int_eq(read_urb.actual_length, 32);
}
END_TEST

START_TEST(discard_and_release) {
    uint8_t in[64];
    unsigned zero = 0;
    load_firmware();
    struct usbdevfs_urb a = bulk(SYSTOLE_USB_ENDPOINT_EVENT_IN, in, sizeof in);
    struct usbdevfs_urb b = a;
    ck_assert_int_eq(do_ioctl(USBDEVFS_DISCARDURB, &a), -EINVAL);
    ck_assert_int_eq(do_ioctl(USBDEVFS_SUBMITURB, &a), 0);
    ck_assert_int_eq(do_ioctl(USBDEVFS_SUBMITURB, &b), 0);
    ck_assert_int_eq(do_ioctl(USBDEVFS_DISCARDURB, &b), 0);
    ck_assert_int_eq(do_ioctl(USBDEVFS_DISCARDURB, &b), -EINVAL);
    ck_assert_ptr_eq(reap(), &b);
    ck_assert_int_eq(b.status, -ENOENT);
    ck_assert_int_eq(do_ioctl(USBDEVFS_RELEASEINTERFACE, &zero), 0); // it was claimed by the first transfer
    ck_assert_ptr_eq(reap(), &a);
    ck_assert_int_eq(a.status, -ENOENT);
}
END_TEST

START_TEST(halted_endpoints_stall) {
    uint8_t in[64];
    unsigned endpoint = SYSTOLE_USB_ENDPOINT_EVENT_IN;
    load_firmware();
    struct usbdevfs_urb urb = bulk(SYSTOLE_USB_ENDPOINT_EVENT_IN, in, sizeof in);
    ck_assert_int_eq(do_control(0x02, 3, 0, SYSTOLE_USB_ENDPOINT_EVENT_IN, NULL, 0), 0);
    ck_assert_int_eq(do_ioctl(USBDEVFS_SUBMITURB, &urb), 0);
    ck_assert_ptr_eq(reap(), &urb);
    ck_assert_int_eq(urb.status, -EPIPE);
    ck_assert_int_eq(do_ioctl(USBDEVFS_CLEAR_HALT, &endpoint), 0);
    ck_assert_int_eq(do_ioctl(USBDEVFS_SUBMITURB, &urb), 0);
    ck_assert_int_eq(do_ioctl(USBDEVFS_REAPURBNDELAY, &urb), -EAGAIN);
    ck_assert_int_eq(do_ioctl(USBDEVFS_DISCARDURB, &urb), 0);
    endpoint = 0x05;
    ck_assert_int_eq(do_ioctl(USBDEVFS_CLEAR_HALT, &endpoint), -EPIPE);
    ck_assert_int_eq(do_ioctl(USBDEVFS_RESETEP, &endpoint), -ENOENT);
}
END_TEST

START_TEST(reset_ends_transfers) {
    uint8_t in[64];
    uint8_t configuration = 0;
    load_firmware();
    struct usbdevfs_urb urb = bulk(SYSTOLE_USB_ENDPOINT_EVENT_IN, in, sizeof in);
    ck_assert_int_eq(do_ioctl(USBDEVFS_SUBMITURB, &urb), 0);
    ck_assert_int_eq(do_ioctl(USBDEVFS_RESET, NULL), 0);
    ck_assert_ptr_eq(reap(), &urb);
    ck_assert_int_eq(urb.status, -ENOENT);
    ck_assert_int_eq(do_control(0x80, 8, 0, 0, &configuration, 1), 1);
    ck_assert_uint_eq(configuration, 1);
    ck_assert(!systole_usbfs_reenumerated(usbfs));
}
END_TEST

START_TEST(reenumeration_disconnects) {
    uint8_t in[64];
    uint8_t setup[8] = {0x21, DFU_DETACH, 0xE8, 3, 1, 0, 0, 0};
    load_firmware();
    struct usbdevfs_urb waiting = bulk(SYSTOLE_USB_ENDPOINT_EVENT_IN, in, sizeof in);
    struct usbdevfs_urb detach = {.type = USBDEVFS_URB_TYPE_CONTROL, .buffer = setup, .buffer_length = 8};
    void *reaped = NULL;
    ck_assert_int_eq(do_ioctl(USBDEVFS_SUBMITURB, &waiting), 0);
    ck_assert_int_eq(do_ioctl(USBDEVFS_SUBMITURB, &detach), 0);
    ck_assert(systole_usbfs_reenumerated(usbfs));
    ck_assert_int_eq(systole_usbfs_events(file), POLLOUT | POLLERR | POLLHUP);
    ck_assert_int_eq(do_control(0x80, 6, 0x100, 0, in, 18), -ENODEV);
    ck_assert_int_eq(do_ioctl(USBDEVFS_SUBMITURB, &waiting), -ENODEV);
    // What was in flight is still given back, the request that did it with success.
    ck_assert_ptr_eq(reap(), &detach);
    ck_assert_int_eq(detach.status, 0);
    ck_assert_ptr_eq(reap(), &waiting);
    ck_assert_int_eq(waiting.status, -ESHUTDOWN);
    ck_assert_int_eq(do_ioctl(USBDEVFS_REAPURBNDELAY, &reaped), -ENODEV);
    ck_assert_int_eq(systole_usbfs_events(file), POLLERR | POLLHUP);
    systole_usbfs_close(file);
    file = systole_usbfs_open(usbfs);
    ck_assert_int_eq(do_control(0x80, 6, 0x100, 0, in, 18), 18);
    ck_assert_uint_eq(in[10], SYSTOLE_USB_BOOT_PRODUCT_ID);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("usbfs");
    TCase *tests = tcase_create("all");
    tcase_set_timeout(tests, 30);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, enumeration);
    tcase_add_test(tests, claims);
    tcase_add_test(tests, addresses_outside_the_client);
    tcase_add_test(tests, control_transfers_are_reaped);
    tcase_add_test(tests, bulk_transfers);
    tcase_add_test(tests, short_transfers_may_be_errors);
    tcase_add_test(tests, discard_and_release);
    tcase_add_test(tests, halted_endpoints_stall);
    tcase_add_test(tests, reset_ends_transfers);
    tcase_add_test(tests, reenumeration_disconnects);
    suite_add_tcase(suite, tests);
    return testing_run(suite, "hw_model/usbfs");
}
