// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The one place where devices in software, transports and the driver meet: opens a device by the name that a user gave.
#ifndef SYSTOLE_WIRING_H
#define SYSTOLE_WIRING_H

#include "device.h"
#include "driver.h"
#include "usb_capture.h"

struct wiring_options {
    struct systole_driver_options driver;
    const char *faults; // file with a fault script (docs/faults.md) for a device in this process; NULL: none
    struct systole_capture *record;    // receives all traffic, borrowed until the transport is closed; NULL: none
    const struct systole_waves *waves; // what an RTL in this process writes (device.h); NULL: none
};

// name: model, rtl, usb, usb:N, usb:BUS-PORT or usb:serial:TEXT. The target is that of the device in software, and what
// a device on USB is held against.
enum systole_status wiring_open_driver(const char *name, const struct systole_target *target,
                                       const struct wiring_options *options, struct systole_driver **driver,
                                       struct systole_diagnostic *diagnostic);
enum systole_status wiring_open_transport(const char *name, const struct systole_target *target,
                                          const struct wiring_options *options, struct systole_transport **transport,
                                          struct systole_diagnostic *diagnostic);
// name: model or rtl.
enum systole_status wiring_create_device(const char *name, const struct systole_target *target,
                                         const struct wiring_options *options, struct systole_usb_device **device,
                                         struct systole_diagnostic *diagnostic);

#endif
