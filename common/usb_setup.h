// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Setup packets of control transfers and the standard requests (USB 2.0, sections 9.3 and 9.4; 3.2 for the last two).
#ifndef SYSTOLE_USB_SETUP_H
#define SYSTOLE_USB_SETUP_H

#include <stdint.h>

enum {
    SYSTOLE_USB_SETUP_BYTES = 8,
    SYSTOLE_USB_GET_STATUS = 0,
    SYSTOLE_USB_CLEAR_FEATURE = 1,
    SYSTOLE_USB_SET_FEATURE = 3,
    SYSTOLE_USB_SET_ADDRESS = 5,
    SYSTOLE_USB_GET_DESCRIPTOR = 6,
    SYSTOLE_USB_GET_CONFIGURATION = 8,
    SYSTOLE_USB_SET_CONFIGURATION = 9,
    SYSTOLE_USB_GET_INTERFACE = 10,
    SYSTOLE_USB_SET_INTERFACE = 11,
    SYSTOLE_USB_SET_SEL = 48,
    SYSTOLE_USB_SET_ISOCH_DELAY = 49,
};

// The bytes of bmRequestType, bRequest, wValue, wIndex and wLength; the numbers are little endian.
static inline void systole_usb_setup(uint8_t setup[SYSTOLE_USB_SETUP_BYTES], uint8_t type, uint8_t request,
                                     uint16_t value, uint16_t index, uint16_t length) {
    setup[0] = type;
    setup[1] = request;
    setup[2] = (uint8_t)(value & 255);
    setup[3] = (uint8_t)(value >> 8);
    setup[4] = (uint8_t)(index & 255);
    setup[5] = (uint8_t)(index >> 8);
    setup[6] = (uint8_t)(length & 255);
    setup[7] = (uint8_t)(length >> 8);
}

#endif
