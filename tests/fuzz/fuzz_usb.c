// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The USB device: control requests, both personalities, firmware by DFU, endpoints, faults. An input is a list of steps
// (steps.h). What comes back is held against what USB allows: never more bytes than were asked for.
#include "device.h"
#include "fault_injection.h"
#include "fuzz_input.h"
#include "steps.h"
#include "target.h"
#include "usb_setup.h"

enum { MOST_STEPS = 64, BLOCK = 1024 };

// Buffers are as large as the transfer, so that a sanitiser sees the smallest overrun.
static uint8_t *buffer_of(size_t size) {
    uint8_t *buffer = calloc(size == 0 ? 1 : size, 1);
    FUZZ_REQUIRE(buffer != NULL, "no memory");
    return buffer;
}

static void control(struct systole_usb_device *device, const uint8_t setup[8], const uint8_t *bytes, size_t size) {
    size_t length = (size_t)setup[6] | (size_t)setup[7] << 8, actual = 0;
    uint8_t *data = buffer_of(length);
    if ((setup[0] & 0x80) == 0 && size > 0) {
        memcpy(data, bytes, size < length ? size : length);
    }
    enum systole_usb_result result = systole_usb_control(device, setup, data, &actual);
    FUZZ_REQUIRE(result != SYSTOLE_USB_DONE || actual <= length, "more than was asked for");
    free(data);
}

static void request(struct systole_usb_device *device, uint8_t type, uint8_t code, uint16_t value, const uint8_t *bytes,
                    size_t size) {
    uint8_t setup[SYSTOLE_USB_SETUP_BYTES];
    systole_usb_setup(setup, type, code, value, 0, (uint16_t)size);
    control(device, setup, bytes, size);
}

static void send_firmware(struct systole_usb_device *device, const struct systole_target *target,
                          struct fuzz_input *input) {
    size_t size = 0;
    const uint8_t *from = fuzz_take(input, fuzz_number(input, 2), &size);
    uint8_t *image = buffer_of(size);
    struct systole_firmware_header header;
    if (size > 0) {
        memcpy(image, from, size);
    }
    if (size >= sizeof header) {
        memcpy(&header, image, sizeof header);
        header.target_id = systole_target_id(target);
        header.crc = systole_crc32(0, image + sizeof header, size - sizeof header);
        memcpy(image, &header, sizeof header);
    }
    uint16_t block = 0;
    for (size_t at = 0; at < size; at += BLOCK, block++) {
        request(device, 0x21, 1, block, image + at, size - at < BLOCK ? size - at : BLOCK);
        request(device, 0xa1, 3, 0, NULL, 6);
    }
    request(device, 0x21, 1, block, NULL, 0);
    request(device, 0xa1, 3, 0, NULL, 6);
    (void)systole_usb_device_reenumerates(device);
    request(device, 0x00, 9, 1, NULL, 0);
    free(image);
}

static void out(struct systole_usb_device *device, struct fuzz_input *input) {
    uint8_t endpoint = (uint8_t)fuzz_number(input, 1);
    size_t size = 0, actual = 0;
    const uint8_t *from = fuzz_take(input, fuzz_number(input, 2), &size);
    uint8_t *data = buffer_of(size);
    if (size > 0) {
        memcpy(data, from, size);
    }
    enum systole_usb_result result = systole_usb_out(device, endpoint, data, size, &actual);
    FUZZ_REQUIRE(result != SYSTOLE_USB_DONE || actual <= size, "more taken than there was");
    free(data);
}

static void in(struct systole_usb_device *device, struct fuzz_input *input) {
    uint8_t endpoint = (uint8_t)fuzz_number(input, 1);
    size_t size = fuzz_number(input, 2), actual = 0;
    bool short_packet = false;
    uint8_t *data = buffer_of(size);
    enum systole_usb_result result = systole_usb_in(device, endpoint, data, size, &actual, &short_packet);
    FUZZ_REQUIRE(result != SYSTOLE_USB_DONE || actual <= size, "more than was asked for");
    free(data);
}

static void inject(struct systole_usb_device *device, struct fuzz_input *input) {
    size_t size = 0;
    const uint8_t *script = fuzz_take(input, fuzz_number(input, 1), &size);
    struct systole_faults *faults = NULL;
    if (systole_faults_parse((const char *)script, size, "script", &faults, NULL) == SYSTOLE_OK) {
        systole_usb_device_inject(device, faults);
    }
}

static void step(struct systole_usb_device *device, const struct systole_target *target, struct fuzz_input *input) {
    size_t taken = 0;
    switch (fuzz_number(input, 1) % USB_STEP_KINDS) {
    case USB_STEP_CONTROL: {
        uint8_t setup[8] = {0};
        const uint8_t *from = fuzz_take(input, sizeof setup, &taken);
        if (taken > 0) {
            memcpy(setup, from, taken);
        }
        size_t length = (setup[0] & 0x80) != 0 ? 0 : (size_t)setup[6] | (size_t)setup[7] << 8;
        from = fuzz_take(input, length, &taken);
        control(device, setup, from, taken);
        break;
    }
    case USB_STEP_OUT:
        out(device, input);
        break;
    case USB_STEP_IN:
        in(device, input);
        break;
    case USB_STEP_FIRMWARE:
        send_firmware(device, target, input);
        break;
    case USB_STEP_RUN:
        (void)systole_usb_device_run(device);
        break;
    case USB_STEP_BUS_RESET:
        systole_usb_device_bus_reset(device);
        break;
    case USB_STEP_DESCRIPTORS: {
        size_t size = fuzz_number(input, 1);
        uint8_t *bytes = buffer_of(size);
        (void)systole_usb_descriptors(device, bytes, size);
        free(bytes);
        break;
    }
    default:
        inject(device, input);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct fuzz_input input = {bytes, size};
    struct systole_target target = steps_target();
    struct systole_accelerator *accelerator = NULL;
    struct systole_diagnostic diagnostic = {"", "", ""};
    FUZZ_REQUIRE(systole_functional_model_create(&target, 0, &accelerator, &diagnostic) == SYSTOLE_OK, diagnostic.what);
    struct systole_usb_device *device = systole_usb_device_create(accelerator, &target);
    FUZZ_REQUIRE(device != NULL, "no memory");
    for (uint32_t i = 0; i < MOST_STEPS && input.left > 0; i++) {
        step(device, &target, &input);
        (void)systole_usb_device_reenumerates(device);
        (void)systole_usb_device_present(device);
        uint16_t product = systole_usb_product(device);
        FUZZ_REQUIRE(product == SYSTOLE_USB_BOOT_PRODUCT_ID || product == SYSTOLE_USB_APPLICATION_PRODUCT_ID,
                     "neither personality");
    }
    systole_usb_device_free(device);
    return 0;
}
