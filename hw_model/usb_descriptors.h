// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Descriptors of both personalities, as a SuperSpeed device has them (USB 3.2, chapter 9; DFU 1.1, section 4).
#ifndef SYSTOLE_USB_DESCRIPTORS_H
#define SYSTOLE_USB_DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SYSTOLE_USB_DESCRIPTOR_DEVICE = 1,
    SYSTOLE_USB_DESCRIPTOR_CONFIGURATION = 2,
    SYSTOLE_USB_DESCRIPTOR_STRING = 3,
    SYSTOLE_USB_DESCRIPTOR_INTERFACE = 4,
    SYSTOLE_USB_DESCRIPTOR_ENDPOINT = 5,
    SYSTOLE_USB_DESCRIPTOR_BOS = 15,
    SYSTOLE_USB_DESCRIPTOR_DFU = 0x21,
    SYSTOLE_USB_VENDOR_INTERFACE = 0,  // application
    SYSTOLE_USB_RUNTIME_INTERFACE = 1, // application: DFU detach
    SYSTOLE_USB_BOOT_INTERFACE = 0,    // boot: DFU
    SYSTOLE_USB_BLOCK_BYTES = 1024,    // largest DFU block
    SYSTOLE_USB_DESCRIPTOR_LIMIT = 256,
};

struct systole_usb_identity {
    uint32_t target_id, number; // they make the serial number
};

// Writes one descriptor and returns its size; 0: there is none of that type and index.
size_t systole_usb_describe(bool application, const struct systole_usb_identity *identity, uint8_t type, uint8_t index,
                            uint8_t bytes[SYSTOLE_USB_DESCRIPTOR_LIMIT]);

// The whole descriptor at *at, which moves behind it; NULL: there is none any more. Begin with *at = 0.
const uint8_t *systole_usb_next_descriptor(const uint8_t *bytes, size_t size, size_t *at);

#endif
