// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The USB device at the level of requests and transfers, in front of a scripted accelerator.
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "driver.h"
#include "scripted_accelerator.h"
#include "target.h"
#include "testing.h"
#include "usb_setup.h"

static struct systole_usb_device *device;
static struct scripted_accelerator *accelerator;
static const struct systole_target *target;
static uint32_t destroyed;

static void setup(void) {
    target = &systole_presets[0];
    destroyed = 0;
    accelerator = scripted_accelerator_create(target);
    accelerator->destroyed_counter = &destroyed;
    device = systole_usb_device_create(&accelerator->accelerator, target);
    ck_assert_ptr_nonnull(device);
}

static void teardown(void) {
    systole_usb_device_free(device);
    ck_assert_uint_eq(destroyed, 1);
}

static bool control(uint8_t type, uint8_t request, uint16_t value, uint16_t index, void *data, uint16_t length,
                    size_t *actual) {
    uint8_t setup_bytes[SYSTOLE_USB_SETUP_BYTES];
    systole_usb_setup(setup_bytes, type, request, value, index, length);
    size_t moved = 99;
    uint8_t none;
    enum systole_usb_result result = systole_usb_control(device, setup_bytes, data == NULL ? &none : data, &moved);
    if (actual != NULL) {
        *actual = moved;
    }
    ck_assert(result == SYSTOLE_USB_DONE || result == SYSTOLE_USB_STALL);
    return result == SYSTOLE_USB_DONE;
}

static void get_status(uint8_t *status, uint8_t *state) {
    uint8_t bytes[6];
    size_t actual;
    ck_assert(control(0xa1, 3, 0, 0, bytes, 6, &actual));
    ck_assert_uint_eq(actual, 6);
    *status = bytes[0];
    *state = bytes[4];
}

static void download(const uint8_t *image, size_t size, size_t block, uint8_t *status, uint8_t *state) {
    uint16_t number = 0;
    for (size_t i = 0; i < size; i += block, number++) {
        uint8_t bytes[1024];
        size_t length = size - i < block ? size - i : block;
        memcpy(bytes, image + i, length);
        ck_assert(control(0x21, 1, number, 0, bytes, (uint16_t)length, NULL));
        get_status(status, state);
        ck_assert_uint_eq(*status, 0);
        ck_assert_uint_eq(*state, 5);
    }
    ck_assert(control(0x21, 1, number, 0, NULL, 0, NULL));
    get_status(status, state);
}

static void become_application(void) {
    uint8_t *image, status, state;
    size_t size;
    ck_assert_int_eq(systole_firmware_build(target, &image, &size), SYSTOLE_OK);
    download(image, size, 100, &status, &state);
    free(image);
    ck_assert_uint_eq(status, 0);
    ck_assert_uint_eq(state, 7);
    ck_assert(systole_usb_device_reenumerates(device));
    ck_assert(!systole_usb_device_reenumerates(device));
    ck_assert(control(0x00, 9, 1, 0, NULL, 0, NULL));
}

START_TEST(good_firmware_starts_the_application) {
    uint8_t *image;
    size_t size;
    ck_assert_uint_eq(systole_usb_product(device), SYSTOLE_USB_BOOT_PRODUCT_ID);
    become_application();
    ck_assert_uint_eq(systole_usb_product(device), SYSTOLE_USB_APPLICATION_PRODUCT_ID);
    ck_assert_int_eq(systole_firmware_build(target, &image, &size), SYSTOLE_OK);
    ck_assert_uint_eq(size, sizeof(struct systole_firmware_header) + 256);
    ck_assert_mem_eq((uint8_t *)&accelerator->registers[SYSTOLE_REGISTER_COMMAND_TABLE / 8], image + 24, 256);
    ck_assert_uint_eq(image[24 + SYSTOLE_OPCODE_CONV], 0x80 | SYSTOLE_UNIT_ARRAY);
    ck_assert_uint_eq(image[24 + SYSTOLE_OPCODE_NOP], 0x80 | SYSTOLE_UNIT_ANY);
    ck_assert_uint_eq(image[24], 0);
    ck_assert_uint_eq(accelerator->registers[SYSTOLE_REGISTER_CONTROL / 8], 5);
    free(image);
}
END_TEST

static void resign(uint8_t *image) {
    struct systole_firmware_header header;
    memcpy(&header, image, sizeof header);
    header.crc = systole_crc32(0, image + sizeof header, 256);
    memcpy(image, &header, sizeof header);
}

START_TEST(bad_firmware_is_refused) {
    enum { MAGIC, VERSION, TARGET, LENGTH, CRC, SHORT, STUB, LONG, RESERVED, ENTRY, OPCODE_ZERO, CASES };
    static const uint8_t expected[CASES] = {2, 10, 1, 2, 7, 9, 9, 2, 2, 10, 10};
    for (int i = 0; i < CASES; i++) {
        uint8_t *image, status, state, longer[281];
        size_t size;
        ck_assert_int_eq(systole_firmware_build(target, &image, &size), SYSTOLE_OK);
        memset(longer, 0, sizeof longer);
        memcpy(longer, image, size);
        free(image);
        switch (i) {
        case MAGIC:
            longer[0] ^= 1;
            break;
        case VERSION:
            longer[6] ^= 2;
            break;
        case TARGET:
            longer[8] ^= 1;
            break;
        case LENGTH:
            longer[12] ^= 1;
            break;
        case CRC:
            longer[200] ^= 1;
            break;
        case SHORT:
            size--;
            break;
        case STUB:
            size = 7;
            break;
        case LONG:
            size++;
            break;
        case RESERVED:
            longer[20] = 1;
            break;
        case ENTRY:
            longer[24 + 0x99] = 0x87;
            resign(longer);
            break;
        default:
            longer[24] = 0x80;
            resign(longer);
            break;
        }
        download(longer, size, 128, &status, &state);
        ck_assert_msg(status == expected[i] && state == 10, "case %d: status %d, state %d", i, status, state);
        ck_assert(!systole_usb_device_reenumerates(device));
        ck_assert_uint_eq(systole_usb_product(device), SYSTOLE_USB_BOOT_PRODUCT_ID);
        ck_assert_uint_eq(accelerator->registers[SYSTOLE_REGISTER_CONTROL / 8], 0);
        ck_assert(control(0x21, 4, 0, 0, NULL, 0, NULL));
    }
    become_application();
}
END_TEST

START_TEST(dfu_keeps_to_its_state_machine) {
    uint8_t bytes[1100] = {0}, status, state;
    size_t actual;
    ck_assert(!control(0x21, 1, 0, 0, NULL, 0, NULL)); // nothing was downloaded
    get_status(&status, &state);
    ck_assert_uint_eq(status, 15);
    ck_assert_uint_eq(state, 10);
    ck_assert(!control(0x21, 6, 0, 0, NULL, 0, NULL)); // abort in dfuERROR
    ck_assert(control(0x21, 4, 0, 0, NULL, 0, NULL));
    ck_assert(control(0xa1, 5, 0, 0, bytes, 1, &actual));
    ck_assert_uint_eq(actual, 1);
    ck_assert_uint_eq(bytes[0], 2);
    ck_assert(!control(0xa1, 2, 0, 0, bytes, 64, NULL)); // upload
    ck_assert(control(0x21, 4, 0, 0, NULL, 0, NULL));
    ck_assert(!control(0x21, 1, 0, 0, bytes, 1025, NULL)); // longer than a block
    ck_assert(control(0x21, 4, 0, 0, NULL, 0, NULL));
    ck_assert(control(0x21, 1, 0, 0, bytes, 64, NULL));
    ck_assert(!control(0x21, 1, 1, 0, bytes, 64, NULL)); // without GETSTATUS between
    ck_assert(control(0x21, 4, 0, 0, NULL, 0, NULL));
    ck_assert(control(0x21, 1, 0, 0, bytes, 64, NULL));
    get_status(&status, &state);
    ck_assert(control(0x21, 1, 2, 0, bytes, 64, NULL)); // a block is missing
    get_status(&status, &state);
    ck_assert_uint_eq(status, 8);
    ck_assert(control(0x21, 4, 0, 0, NULL, 0, NULL));
    for (uint16_t i = 0; i < 5; i++) { // beyond the memory for it
        ck_assert(control(0x21, 1, i, 0, bytes, 1024, NULL));
        get_status(&status, &state);
        ck_assert_uint_eq(status, i < 4 ? 0 : 8);
    }
    ck_assert(control(0x21, 4, 0, 0, NULL, 0, NULL));
    ck_assert(control(0x21, 1, 0, 0, bytes, 64, NULL));
    get_status(&status, &state);
    ck_assert(control(0x21, 6, 0, 0, NULL, 0, NULL)); // abort
    get_status(&status, &state);
    ck_assert_uint_eq(state, 2);
    ck_assert(!control(0x21, 1, 0, 1, bytes, 64, NULL)); // no such interface
    become_application();
}
END_TEST

START_TEST(detach_goes_back_to_boot) {
    uint8_t byte = 9;
    size_t actual;
    become_application();
    ck_assert(control(0xa1, 5, 0, 1, &byte, 1, &actual));
    ck_assert_uint_eq(byte, 0); // appIDLE
    ck_assert(!control(0x21, 0, 0, 0, NULL, 0, NULL));
    ck_assert(control(0x21, 0, 0, 1, NULL, 0, NULL));
    ck_assert(systole_usb_device_reenumerates(device));
    ck_assert_uint_eq(systole_usb_product(device), SYSTOLE_USB_BOOT_PRODUCT_ID);
    ck_assert_uint_eq(accelerator->registers[SYSTOLE_REGISTER_CONTROL / 8], 0);
    become_application();
}
END_TEST

// Walks a configuration: lengths add up, interfaces and endpoints are as many as promised.
static void check_configuration(const uint8_t *bytes, size_t size, uint32_t interfaces, uint32_t endpoints) {
    uint32_t seen_interfaces = 0, seen_endpoints = 0;
    ck_assert_uint_eq((size_t)(bytes[2] | bytes[3] << 8), size);
    for (size_t i = 0; i < size; i += bytes[i]) {
        ck_assert_uint_ge(bytes[i], 2);
        ck_assert_uint_le(i + bytes[i], size);
        seen_interfaces += bytes[i + 1] == 4;
        if (bytes[i + 1] == 5) {
            seen_endpoints++;
            ck_assert_uint_eq(bytes[i + 7], 6); // a SuperSpeed companion follows
            ck_assert_uint_eq(bytes[i + 8], 0x30);
        }
    }
    ck_assert_uint_eq(bytes[4], interfaces);
    ck_assert_uint_eq(seen_interfaces, interfaces);
    ck_assert_uint_eq(seen_endpoints, endpoints);
}

START_TEST(descriptors_are_well_formed) {
    uint8_t bytes[256], all[512];
    size_t actual;
    for (int application = 0; application < 2; application++) {
        ck_assert(control(0x80, 6, 0x100, 0, bytes, 64, &actual));
        ck_assert_uint_eq(actual, 18);
        ck_assert_int_eq(bytes[8] | bytes[9] << 8, SYSTOLE_USB_VENDOR_ID);
        ck_assert_int_eq(bytes[10] | bytes[11] << 8, systole_usb_product(device));
        ck_assert(control(0x80, 6, 0x100, 0, bytes, 8, &actual));
        ck_assert_uint_eq(actual, 8);
        ck_assert(control(0x80, 6, 0x200, 0, bytes, 255, &actual));
        check_configuration(bytes, actual, application ? 2 : 1, application ? 4 : 0);
        size_t total = systole_usb_descriptors(device, all, sizeof all);
        ck_assert_uint_eq(total, 18 + actual);
        ck_assert_mem_eq(all + 18, bytes, actual);
        ck_assert_uint_eq(systole_usb_descriptors(device, all, 20), 20);
        ck_assert(control(0x80, 6, 0xf00, 0, bytes, 255, &actual));
        ck_assert_uint_eq(actual, (size_t)(bytes[2] | bytes[3] << 8));
        for (uint16_t i = 0; i < 4; i++) {
            ck_assert(control(0x80, 6, (uint16_t)(0x300 + i), 0x409, bytes, 255, &actual));
            ck_assert_uint_eq(actual, bytes[0]);
        }
        ck_assert(!control(0x80, 6, 0x304, 0x409, bytes, 255, &actual));
        ck_assert(!control(0x80, 6, 0x600, 0, bytes, 10, &actual)); // no qualifier at SuperSpeed
        ck_assert(!control(0x80, 6, 0x201, 0, bytes, 255, &actual));
        if (!application) {
            become_application();
        }
    }
}
END_TEST

START_TEST(standard_requests) {
    uint8_t bytes[8];
    size_t actual, moved;
    bool short_packet;
    become_application();
    ck_assert(control(0x80, 8, 0, 0, bytes, 1, &actual));
    ck_assert_uint_eq(bytes[0], 1);
    ck_assert(!control(0x00, 9, 2, 0, NULL, 0, NULL));
    ck_assert(control(0x80, 0, 0, 0, bytes, 2, &actual));
    ck_assert_uint_eq(actual, 2);
    ck_assert(control(0x02, 3, 0, 0x81, NULL, 0, NULL)); // halt
    ck_assert(control(0x82, 0, 0, 0x81, bytes, 2, &actual));
    ck_assert_uint_eq(bytes[0], 1);
    ck_assert_int_eq(systole_usb_in(device, 0x81, bytes, 8, &moved, &short_packet), SYSTOLE_USB_STALL);
    ck_assert(control(0x02, 1, 0, 0x81, NULL, 0, NULL));
    ck_assert_int_eq(systole_usb_in(device, 0x81, bytes, 8, &moved, &short_packet), SYSTOLE_USB_NAK);
    ck_assert(!control(0x02, 1, 0, 0x85, NULL, 0, NULL));
    ck_assert(!control(0x82, 0, 0, 0x04, bytes, 2, NULL));
    ck_assert(control(0x81, 10, 0, 0, bytes, 1, &actual));
    ck_assert(!control(0x81, 10, 0, 2, bytes, 1, &actual));
    ck_assert(control(0x01, 11, 0, 1, NULL, 0, NULL));
    ck_assert(!control(0x01, 11, 1, 0, NULL, 0, NULL));
    ck_assert(control(0x00, 48, 0, 0, bytes, 6, NULL));
    ck_assert(!control(0x80, 12, 0, 0, bytes, 2, NULL));
    ck_assert(control(0x00, 9, 0, 0, NULL, 0, NULL)); // not configured: no endpoints
    ck_assert_int_eq(systole_usb_out(device, 0x01, bytes, 8, &moved), SYSTOLE_USB_STALL);
    systole_usb_device_bus_reset(device);
    ck_assert_uint_eq(systole_usb_product(device), SYSTOLE_USB_APPLICATION_PRODUCT_ID);
}
END_TEST

START_TEST(vendor_requests) {
    uint64_t value = 0x1122334455667788;
    uint32_t half = 7;
    size_t actual;
    ck_assert(!control(0xc0, 1, 0, 0, &value, 8, NULL)); // not in boot
    become_application();
    ck_assert(control(0x40, 2, SYSTOLE_REGISTER_PARITY_FLIP, 0, &value, 8, &actual));
    ck_assert_uint_eq(actual, 8);
    value = 0;
    ck_assert(control(0xc0, 1, SYSTOLE_REGISTER_PARITY_FLIP, 0, &value, 8, &actual));
    ck_assert_uint_eq(value, 0x1122334455667788);
    ck_assert(control(0x40, 2, SYSTOLE_REGISTER_PARITY_FLIP, 0, &half, 4, &actual));
    ck_assert(control(0xc0, 1, SYSTOLE_REGISTER_PARITY_FLIP, 0, &value, 8, &actual));
    ck_assert_uint_eq(value, 7);
    ck_assert(!control(0x40, 2, SYSTOLE_REGISTER_STATUS, 0, &value, 8, NULL)); // read only
    ck_assert(!control(0x40, 2, SYSTOLE_REGISTER_PARITY_FLIP, 0, &value, 6, NULL));
    ck_assert(!control(0xc0, 1, 0x28, 0, &value, 8, NULL)); // a hole
    ck_assert(!control(0xc0, 1, 0x44, 0, &value, 8, NULL)); // not aligned
    ck_assert(!control(0xc0, 1, SYSTOLE_REGISTER_COUNTERS + 8 * 25, 0, &value, 8, NULL));
    ck_assert(control(0xc0, 1, SYSTOLE_REGISTER_COUNTERS + 8 * 24, 0, &value, 8, NULL));
    ck_assert(!control(0xc0, 1, 0, 1, &value, 8, NULL)); // address 0x10000
    uint32_t resets = accelerator->resets;
    ck_assert(control(0x40, 3, 0, 0, NULL, 0, NULL));
    ck_assert_uint_eq(accelerator->resets, resets + 1);
    ck_assert(!control(0x40, 4, 0, 0, NULL, 0, NULL));
    ck_assert(!control(0xc0, 3, 0, 0, &value, 8, NULL));
}
END_TEST

static void add_frame(uint32_t tag, uint32_t length) {
    struct systole_frame_header header = {SYSTOLE_FRAME_MAGIC, SYSTOLE_FRAME_DATA, 0, tag, 5, length};
    memcpy(accelerator->pulled + accelerator->pulled_size, &header, sizeof header);
    accelerator->pulled_size += sizeof header;
    for (uint32_t i = 0; i < (length + 7) / 8 * 8; i++) {
        accelerator->pulled[accelerator->pulled_size++] = (uint8_t)(tag + i);
    }
}

START_TEST(a_frame_ends_its_transfer) {
    uint8_t bytes[4096];
    size_t actual;
    bool short_packet;
    become_application();
    add_frame(1, 12);           // 32 bytes with header and padding
    add_frame(2, 1024 - 16);    // one packet exactly
    add_frame(3, 2 * 1024 + 8); // three packets, the last short
    ck_assert_int_eq(systole_usb_in(device, 0x81, bytes, 1024, &actual, &short_packet), SYSTOLE_USB_DONE);
    ck_assert_uint_eq(actual, 32);
    ck_assert(short_packet);
    ck_assert_int_eq(systole_usb_in(device, 0x81, bytes, 1024, &actual, &short_packet), SYSTOLE_USB_DONE);
    ck_assert_uint_eq(actual, 1024);
    ck_assert(!short_packet);
    ck_assert_int_eq(systole_usb_in(device, 0x81, bytes, 1024, &actual, &short_packet), SYSTOLE_USB_DONE);
    ck_assert_uint_eq(actual, 0); // the empty packet that says so
    ck_assert(short_packet);
    ck_assert_int_eq(systole_usb_in(device, 0x81, bytes, 2048, &actual, &short_packet), SYSTOLE_USB_DONE);
    ck_assert_uint_eq(actual, 2048);
    ck_assert(!short_packet);
    ck_assert_int_eq(systole_usb_in(device, 0x81, bytes, 2048, &actual, &short_packet), SYSTOLE_USB_DONE);
    ck_assert_uint_eq(actual, 24);
    ck_assert(short_packet);
    ck_assert_int_eq(systole_usb_in(device, 0x81, bytes, 2048, &actual, &short_packet), SYSTOLE_USB_NAK);
    add_frame(4, 1024 - 16); // a larger buffer: no empty packet
    ck_assert_int_eq(systole_usb_in(device, 0x81, bytes, 2048, &actual, &short_packet), SYSTOLE_USB_DONE);
    ck_assert_uint_eq(actual, 1024);
    ck_assert(short_packet);
    ck_assert_int_eq(systole_usb_in(device, 0x81, bytes, 2048, &actual, &short_packet), SYSTOLE_USB_NAK);
}
END_TEST

START_TEST(streams_events_and_faults_pass_through) {
    uint8_t bytes[128];
    size_t actual;
    bool short_packet;
    become_application();
    accelerator->push_room = 10;
    ck_assert_int_eq(systole_usb_out(device, 0x01, bytes, 64, &actual), SYSTOLE_USB_DONE);
    ck_assert_uint_eq(actual, 10);
    ck_assert_int_eq(systole_usb_out(device, 0x01, bytes, 54, &actual), SYSTOLE_USB_NAK);
    ck_assert_int_eq(systole_usb_out(device, 0x81, bytes, 1, &actual), SYSTOLE_USB_STALL);
    accelerator->events[0].kind = SYSTOLE_EVENT_KIND_RUN_COMPLETE;
    accelerator->event_count = 1;
    ck_assert_int_eq(systole_usb_in(device, 0x82, bytes, 128, &actual, &short_packet), SYSTOLE_USB_DONE);
    ck_assert_uint_eq(actual, sizeof(struct systole_event));
    ck_assert(short_packet);
    ck_assert_int_eq(systole_usb_in(device, 0x82, bytes, 64, &actual, &short_packet), SYSTOLE_USB_NAK);
    ck_assert_int_eq(systole_usb_in(device, 0x83, bytes, 64, &actual, &short_packet), SYSTOLE_USB_NAK);
    accelerator->interrupt = true;
    accelerator->registers[SYSTOLE_REGISTER_ERROR / 8] = 9;
    ck_assert_int_eq(systole_usb_in(device, 0x83, bytes, 64, &actual, &short_packet), SYSTOLE_USB_DONE);
    ck_assert_uint_eq(actual, 16);
    ck_assert_uint_eq(bytes[0], 9);
    ck_assert_int_eq(systole_usb_in(device, 0x83, bytes, 64, &actual, &short_packet), SYSTOLE_USB_NAK); // told once
    ck_assert(control(0x40, 3, 0, 0, NULL, 0, NULL));
    accelerator->interrupt = true;
    ck_assert_int_eq(systole_usb_in(device, 0x83, bytes, 64, &actual, &short_packet), SYSTOLE_USB_DONE);
}
END_TEST

START_TEST(no_request_crashes) {
    uint32_t state = 7;
    uint8_t data[65536] = {0};
    for (int i = 0; i < 200000; i++) {
        uint8_t setup_bytes[8];
        for (int k = 0; k < 8; k++) {
            uint32_t random = testing_random(&state);
            setup_bytes[k] = (uint8_t)((random & 0x300) != 0 ? random % 12 : random);
        }
        setup_bytes[0] = (uint8_t)(testing_random(&state) % 4 | (testing_random(&state) % 8) << 5);
        size_t actual = 0, length = (size_t)(setup_bytes[6] | setup_bytes[7] << 8);
        systole_usb_control(device, setup_bytes, data, &actual);
        ck_assert_uint_le(actual, length);
        if (i == 100000 && systole_usb_product(device) == SYSTOLE_USB_BOOT_PRODUCT_ID) {
            systole_usb_device_bus_reset(device);
            become_application();
        }
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("usb_device");
    TCase *tests = tcase_create("usb_device");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, good_firmware_starts_the_application);
    tcase_add_test(tests, bad_firmware_is_refused);
    tcase_add_test(tests, dfu_keeps_to_its_state_machine);
    tcase_add_test(tests, detach_goes_back_to_boot);
    tcase_add_test(tests, descriptors_are_well_formed);
    tcase_add_test(tests, standard_requests);
    tcase_add_test(tests, vendor_requests);
    tcase_add_test(tests, a_frame_ends_its_transfer);
    tcase_add_test(tests, streams_events_and_faults_pass_through);
    tcase_add_test(tests, no_request_crashes);
    suite_add_tcase(suite, tests);
    return testing_run(suite, "usb_device");
}
