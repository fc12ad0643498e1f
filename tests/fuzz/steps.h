// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Inputs of the harnesses that act in steps: a byte for the kind, then what that kind takes.
#ifndef SYSTOLE_FUZZ_STEPS_H
#define SYSTOLE_FUZZ_STEPS_H

#include "systole_spec.h"

enum step_kind {
    STEP_RAW,      // size:2, bytes
    STEP_WRITE,    // flags:1, address:2, length:2, payload
    STEP_READ,     // flags:1, address:2, length:2
    STEP_LAUNCH,   // flags:1, ignored:2, descriptor
    STEP_STREAM,   // as WRITE
    STEP_REGISTER, // address:2, value:4
    STEP_RUN,      // cycles:2
    STEP_RESET,
    STEP_KINDS,
};

enum usb_step_kind {
    USB_STEP_CONTROL,  // setup:8, data that it takes
    USB_STEP_OUT,      // endpoint:1, size:2, bytes
    USB_STEP_IN,       // endpoint:1, size:2
    USB_STEP_FIRMWARE, // size:2, image, which is signed for the target; configured afterwards
    USB_STEP_RUN,
    USB_STEP_BUS_RESET,
    USB_STEP_DESCRIPTORS, // size:1
    USB_STEP_FAULTS,      // size:1, script
    USB_STEP_KINDS,
};

enum usbfs_step_kind { // each: file:1 behind the kind
    USBFS_STEP_IOCTL,  // request:1, place:2, its structure
    USBFS_STEP_FILL,   // place:2, size:2, bytes
    USBFS_STEP_OPEN,
    USBFS_STEP_CLOSE,
    USBFS_STEP_RUN,
    USBFS_STEP_KINDS,
};

// Small enough to make one for each input.
static inline struct systole_target steps_target(void) {
    struct systole_target target = systole_presets[0];
    target.scratchpad_bytes = 1u << 17;
    return target;
}

#endif
