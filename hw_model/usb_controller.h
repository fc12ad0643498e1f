// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What the two halves of the USB controller share: usb_control.c answers requests on endpoint 0 and changes
// personality, usb_device.c moves the other endpoints' bytes and lets faults happen. Nobody else includes this.
#ifndef SYSTOLE_USB_CONTROLLER_H
#define SYSTOLE_USB_CONTROLLER_H

#include "device.h"
#include "dfu.h"
#include "fault_injection.h"

// In the order of enum systole_fault_endpoint.
enum endpoint { BULK_OUT, BULK_IN, EVENT_IN, INTERRUPT_IN, ENDPOINTS };

// What faults have made of the device.
struct trouble {
    struct systole_faults *faults; // NULL: none ever
    bool absent, hanging, silent;
    bool spurious; // an interrupt without a cause is owed
    bool repeats;  // so is `repeated`
    struct systole_event repeated;
    uint64_t back_ms, nak_until_ms[SYSTOLE_FAULT_ENDPOINTS];
    uint8_t out_header[sizeof(struct systole_frame_header)]; // where frames begin on bulk OUT
    size_t out_header_size;
    uint64_t out_left;
    uint64_t out_moved; // bytes of the transfer that is on its way
};

struct systole_usb_device {
    struct systole_accelerator *accelerator;
    uint32_t target_id, number, columns;
    bool application, reenumerates, interrupt_told;
    uint8_t configuration;
    uint8_t link_features; // U1, U2, latency tolerance messages
    bool halted[ENDPOINTS];
    struct systole_dfu dfu;
    // Bulk IN: the frame that is on its way.
    uint8_t header[sizeof(struct systole_frame_header)];
    size_t header_size;    // gathered
    size_t header_given;   // of those
    uint64_t payload_left; // with padding
    uint64_t frame_given;
    bool empty_packet; // owed behind a frame of whole packets
    struct trouble trouble;
};

// ENDPOINTS: no such address.
enum endpoint systole_usb_find_endpoint(uint16_t address);
// Accelerator and endpoints begin anew; personality and configuration stay.
void systole_usb_reset_accelerator(struct systole_usb_device *device);
// The same, and no longer configured: a device that was plugged in. The personality stays.
void systole_usb_begin_anew(struct systole_usb_device *device);
// Back to the boot personality.
void systole_usb_stop_firmware(struct systole_usb_device *device);
// setup: 8 bytes; data: wLength bytes in or out; DONE with *actual bytes moved, or STALL.
enum systole_usb_result systole_usb_answer_control(struct systole_usb_device *device, const uint8_t *setup,
                                                   uint8_t *data, size_t *actual);

#endif
