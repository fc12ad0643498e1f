// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Firmware is the command processor's table: which opcodes there are and which unit takes them, signed with version,
// target and CRC. It travels by Device Firmware Upgrade 1.1 in blocks of the size that the device's functional
// descriptor names.
#include "firmware.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "driver.h"
#include "target.h"
#include "usb_setup.h"

enum {
    CLASS_OUT = 0x21,
    CLASS_IN = 0xa1,
    STANDARD_IN = 0x80,
    DFU_DETACH = 0,
    DFU_DNLOAD = 1,
    DFU_GETSTATUS = 3,
    DFU_CLRSTATUS = 4,
    DFU_ABORT = 6,
    STATE_IDLE = 2,
    STATE_DNLOAD_SYNC = 3,
    STATE_DNLOAD_BUSY = 4,
    STATE_DNLOAD_IDLE = 5,
    STATE_MANIFEST_SYNC = 6,
    STATE_ERROR = 10,
    STATUS_VERIFY = 7,
    BOOT_INTERFACE = 0,
    RUNTIME_INTERFACE = 1,
    POLLS = 100, // of a device that says it is busy
    LONGEST_WAIT_MS = 1000,
};

enum systole_status systole_firmware_build(const struct systole_target *target, uint8_t **image, size_t *size) {
    enum { OPCODES = 256 };
    struct systole_firmware_header header = {
        .magic = SYSTOLE_FIRMWARE_MAGIC,
        .version = SYSTOLE_USB_FIRMWARE_VERSION,
        .target_id = systole_target_id(target),
        .length = OPCODES,
    };
    uint8_t *bytes = calloc(1, sizeof header + OPCODES);
    if (bytes == NULL) {
        return SYSTOLE_OUT_OF_MEMORY;
    }
    for (uint32_t opcode = 0; opcode < OPCODES; opcode++) {
        const struct systole_opcode_description *description = systole_describe_opcode(opcode);
        bytes[sizeof header + opcode] = (uint8_t)(description == NULL ? 0 : 0x80 | (description->unit & 15));
    }
    header.crc = systole_crc32(0, bytes + sizeof header, OPCODES);
    memcpy(bytes, &header, sizeof header);
    *image = bytes;
    *size = sizeof header + OPCODES;
    return SYSTOLE_OK;
}

static const char *status_text(uint8_t status) {
    static const char *const texts[16] = {
        "ok",
        "it is for another target",
        "it is not a firmware image of the right length",
        "it cannot be written",
        "memory cannot be erased",
        "memory is not erased",
        "programming failed",
        "its CRC is wrong",
        "it is too long or blocks came out of order",
        "a part of it is missing",
        "its version or its table is not one that the device can run",
        "vendor error",
        "the bus was reset",
        "the device was powered on",
        "unknown error",
        "the device stalled a request",
    };
    return texts[status < 16 ? status : 14];
}

// The block size that the functional descriptor of the configuration promises; 0: there is none.
static uint16_t find_block_size(const uint8_t *configuration, size_t size) {
    for (size_t i = 0; i + 2 <= size && configuration[i] >= 2; i += configuration[i]) {
        if (configuration[i + 1] == 0x21 && configuration[i] >= 7 && i + 7 <= size) {
            return (uint16_t)(configuration[i + 5] | configuration[i + 6] << 8);
        }
    }
    return 0;
}

// Asks until the device has done what it is at; *status and *state as told.
static enum systole_status get_status(struct systole_transport *transport, uint32_t timeout_ms, uint8_t *status,
                                      uint8_t *state) {
    for (uint32_t i = 0; i < POLLS; i++) {
        uint8_t answer[6];
        size_t actual = 0;
        enum systole_status result = transport->functions->control(transport, CLASS_IN, DFU_GETSTATUS, 0,
                                                                   BOOT_INTERFACE, answer, 6, timeout_ms, &actual);
        if (result != SYSTOLE_OK) {
            return result;
        }
        if (actual != sizeof answer) {
            return SYSTOLE_DEVICE_PROTOCOL;
        }
        *status = answer[0];
        *state = answer[4];
        if (*state != STATE_DNLOAD_SYNC && *state != STATE_DNLOAD_BUSY && *state != STATE_MANIFEST_SYNC) {
            return SYSTOLE_OK;
        }
        uint32_t wait_ms = (uint32_t)(answer[1] | answer[2] << 8 | answer[3] << 16);
        wait_ms = wait_ms < LONGEST_WAIT_MS ? wait_ms : LONGEST_WAIT_MS;
        struct timespec wait = {wait_ms / 1000, (long)(wait_ms % 1000) * 1000000L};
        nanosleep(&wait, NULL);
    }
    return SYSTOLE_DEVICE_TIMEOUT;
}

static enum systole_status send(struct systole_transport *transport, uint8_t request, uint16_t value, uint8_t *data,
                                uint16_t length, uint32_t timeout_ms) {
    size_t actual = 0;
    enum systole_status status = transport->functions->control(transport, CLASS_OUT, request, value, BOOT_INTERFACE,
                                                               data, length, timeout_ms, &actual);
    return status == SYSTOLE_OK && actual != length ? SYSTOLE_DEVICE_PROTOCOL : status;
}

// Whatever the device was at, it is idle afterwards.
static enum systole_status become_idle(struct systole_transport *transport, uint32_t timeout_ms) {
    uint8_t status = 0, state = 0;
    enum systole_status result = get_status(transport, timeout_ms, &status, &state);
    if (result == SYSTOLE_OK && state != STATE_IDLE) {
        result = send(transport, state == STATE_ERROR ? DFU_CLRSTATUS : DFU_ABORT, 0, NULL, 0, timeout_ms);
    }
    return result;
}

static enum systole_status send_image(struct systole_transport *transport, const uint8_t *image, size_t size,
                                      uint16_t block_size, uint32_t timeout_ms, uint8_t *dfu_status) {
    uint8_t *block = malloc(block_size);
    enum systole_status result = block == NULL ? SYSTOLE_OUT_OF_MEMORY : become_idle(transport, timeout_ms);
    uint16_t number = 0;
    bool last = false;
    for (size_t sent = 0; result == SYSTOLE_OK && !last; number++) {
        size_t length = size - sent < block_size ? size - sent : block_size;
        uint8_t state = 0;
        last = length == 0; // an empty block ends the image
        memcpy(block, image + sent, length);
        sent += length;
        result = send(transport, DFU_DNLOAD, number, block, (uint16_t)length, timeout_ms);
        if (result == SYSTOLE_OK) {
            result = get_status(transport, timeout_ms, dfu_status, &state);
        }
        if (result == SYSTOLE_OK && state == STATE_ERROR) {
            result = *dfu_status == STATUS_VERIFY ? SYSTOLE_DEVICE_PROTOCOL : SYSTOLE_DEVICE_MISMATCH;
        } else if (result == SYSTOLE_OK && !last && state != STATE_DNLOAD_IDLE) {
            result = SYSTOLE_DEVICE_PROTOCOL;
        }
    }
    free(block);
    return result;
}

enum systole_status systole_firmware_download(struct systole_transport *transport, const uint8_t *image, size_t size,
                                              uint32_t timeout_ms, struct systole_diagnostic *diagnostic) {
    uint8_t configuration[256], dfu_status = 0;
    size_t actual = 0;
    enum systole_status result =
        transport->functions->control(transport, STANDARD_IN, SYSTOLE_USB_GET_DESCRIPTOR, 0x200, 0, configuration,
                                      sizeof configuration, timeout_ms, &actual);
    if (result == SYSTOLE_OK) {
        uint16_t block_size = find_block_size(configuration, actual < sizeof configuration ? actual : 0);
        result = block_size == 0 ? SYSTOLE_DEVICE_PROTOCOL
                                 : send_image(transport, image, size, block_size, timeout_ms, &dfu_status);
    }
    if (result == SYSTOLE_OK) {
        return result;
    }
    return dfu_status != 0
               ? systole_fail(diagnostic, result, transport->name, "use the firmware of this device's target",
                              "the device refuses the firmware: %s", status_text(dfu_status))
               : systole_fail(diagnostic, result, transport->name, "plug the device in again",
                              "sending firmware failed: %s", systole_status_name(result));
}

enum systole_status systole_firmware_detach(struct systole_transport *transport, uint32_t timeout_ms) {
    size_t actual = 0;
    return transport->functions->control(transport, CLASS_OUT, DFU_DETACH, 1000, RUNTIME_INTERFACE, NULL, 0, timeout_ms,
                                         &actual);
}
