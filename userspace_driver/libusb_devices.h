// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Finding Systole devices with libusb. A device is known by its place on the bus (bus and port numbers), which stays
// when it re-enumerates with another address and product id.
#ifndef SYSTOLE_LIBUSB_DEVICES_H
#define SYSTOLE_LIBUSB_DEVICES_H

#include <libusb.h>

#include "driver.h"

enum { SYSTOLE_LIBUSB_PORTS = 7 }; // longest way from a root hub

struct systole_libusb_place {
    uint8_t bus;
    uint8_t ports[SYSTOLE_LIBUSB_PORTS];
    int port_count;
};
struct systole_libusb_place systole_libusb_place_of(libusb_device *device);
bool systole_libusb_same_place(const struct systole_libusb_place *a, const struct systole_libusb_place *b);
void systole_libusb_name_place(const struct systole_libusb_place *place, char *name, size_t size); // "usb:1-2.4"

// Whether it is a Systole device; *product is its product id then.
bool systole_libusb_is_ours(libusb_device *device, uint16_t *product);

// All of ours in the order of their places, so that an index means the same device as long as none is plugged in or
// out. The count, or below 0 an error of libusb; free with systole_libusb_free_devices.
ssize_t systole_libusb_find_devices(libusb_context *context, libusb_device ***devices);
void systole_libusb_free_devices(libusb_device **devices, ssize_t count);

// choice: an index, a place ("1-2.4") or "serial:TEXT".
bool systole_libusb_is_chosen(libusb_device *device, uint32_t index, const char *choice);

#endif
