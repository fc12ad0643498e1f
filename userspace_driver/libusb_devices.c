// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "libusb_devices.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST_SERIAL = 128, CONTROL_MS = 1000 };

struct systole_libusb_place systole_libusb_place_of(libusb_device *device) {
    struct systole_libusb_place place = {.bus = libusb_get_bus_number(device)};
    int count = libusb_get_port_numbers(device, place.ports, SYSTOLE_LIBUSB_PORTS);
    place.port_count = count < 0 ? 0 : count;
    return place;
}

bool systole_libusb_same_place(const struct systole_libusb_place *a, const struct systole_libusb_place *b) {
    return a->bus == b->bus && a->port_count == b->port_count && memcmp(a->ports, b->ports, (size_t)a->port_count) == 0;
}

void systole_libusb_name_place(const struct systole_libusb_place *place, char *name, size_t size) {
    int length = snprintf(name, size, "usb:%u", place->bus);
    for (int i = 0; i < place->port_count && length > 0 && (size_t)length < size; i++) {
        length += snprintf(name + length, size - (size_t)length, "%c%u", i == 0 ? '-' : '.', place->ports[i]);
    }
}

bool systole_libusb_is_ours(libusb_device *device, uint16_t *product) {
    struct libusb_device_descriptor descriptor;
    if (libusb_get_device_descriptor(device, &descriptor) != LIBUSB_SUCCESS ||
        descriptor.idVendor != SYSTOLE_USB_VENDOR_ID) {
        return false;
    }
    *product = descriptor.idProduct;
    return *product == SYSTOLE_USB_BOOT_PRODUCT_ID || *product == SYSTOLE_USB_APPLICATION_PRODUCT_ID;
}

// By bus, then by the ports from the root hub on; bytes that are not there are 0.
static int compare_places(const void *a, const void *b) {
    struct systole_libusb_place left = systole_libusb_place_of(*(libusb_device *const *)a);
    struct systole_libusb_place right = systole_libusb_place_of(*(libusb_device *const *)b);
    return left.bus != right.bus ? (int)left.bus - (int)right.bus : memcmp(left.ports, right.ports, sizeof left.ports);
}

ssize_t systole_libusb_find_devices(libusb_context *context, libusb_device ***devices) {
    ssize_t ours = 0;
    ssize_t count = libusb_get_device_list(context, devices);
    if (count < 0) {
        *devices = NULL;
        return count;
    }
    for (ssize_t i = 0; i < count; i++) {
        uint16_t product = 0;
        if (systole_libusb_is_ours((*devices)[i], &product)) {
            (*devices)[ours++] = (*devices)[i];
        } else {
            libusb_unref_device((*devices)[i]);
        }
    }
    (*devices)[ours] = NULL;
    qsort(*devices, (size_t)ours, sizeof(libusb_device *), compare_places);
    return ours;
}

void systole_libusb_free_devices(libusb_device **devices, ssize_t count) {
    if (count >= 0) {
        libusb_free_device_list(devices, 1);
    }
}

// ---- Choosing.

static void read_serial(libusb_device_handle *handle, char *serial, size_t size) {
    struct libusb_device_descriptor descriptor;
    unsigned char text[LONGEST_SERIAL] = "";
    int length = -1;
    if (libusb_get_device_descriptor(libusb_get_device(handle), &descriptor) == LIBUSB_SUCCESS &&
        descriptor.iSerialNumber != 0) {
        length = libusb_get_string_descriptor_ascii(handle, descriptor.iSerialNumber, text, sizeof text);
    }
    (void)snprintf(serial, size, "%s", length > 0 ? (const char *)text : "");
}

static bool has_serial(libusb_device *device, const char *wanted) {
    libusb_device_handle *handle = NULL;
    char serial[LONGEST_SERIAL] = "";
    if (libusb_open(device, &handle) == LIBUSB_SUCCESS) {
        read_serial(handle, serial, sizeof serial);
        libusb_close(handle);
    }
    return serial[0] != '\0' && strcmp(serial, wanted) == 0;
}

bool systole_libusb_is_chosen(libusb_device *device, uint32_t index, const char *choice) {
    struct systole_libusb_place place = systole_libusb_place_of(device);
    char name[SYSTOLE_USB_NAME_BYTES];
    char *end;
    if (strncmp(choice, "serial:", 7) == 0) {
        return has_serial(device, choice + 7);
    }
    if (strchr(choice, '-') != NULL) {
        systole_libusb_name_place(&place, name, sizeof name);
        return strcmp(name + 4, choice) == 0; // behind "usb:"
    }
    unsigned long wanted = strtoul(choice, &end, 10);
    return end != choice && *end == '\0' && wanted == index;
}

// ---- Listing.

static uint32_t speed_of(libusb_device *device) {
    switch (libusb_get_device_speed(device)) {
    case LIBUSB_SPEED_FULL:
        return 12;
    case LIBUSB_SPEED_HIGH:
        return 480;
    case LIBUSB_SPEED_SUPER:
        return 5000;
    case LIBUSB_SPEED_SUPER_PLUS:
        return 10000;
    default:
        return 0;
    }
}

// Asks the device itself, without disturbing who uses it.
static void ask_device(libusb_device_handle *handle, struct systole_usb_listing *listing) {
    uint8_t value[8] = {0};
    read_serial(handle, listing->serial, sizeof listing->serial);
    if (listing->product == SYSTOLE_USB_APPLICATION_PRODUCT_ID &&
        libusb_control_transfer(handle, 0xc0, SYSTOLE_USB_REQUEST_READ_REGISTER, SYSTOLE_REGISTER_TARGET_ID, 0, value,
                                sizeof value, CONTROL_MS) == (int)sizeof value) {
        listing->target_id = value[0] | (uint32_t)value[1] << 8 | (uint32_t)value[2] << 16 | (uint32_t)value[3] << 24;
    }
    listing->in_use = libusb_claim_interface(handle, 0) == LIBUSB_ERROR_BUSY;
    if (!listing->in_use) {
        (void)libusb_release_interface(handle, 0);
    }
}

static void describe(libusb_device *device, struct systole_usb_listing *listing) {
    struct systole_libusb_place place = systole_libusb_place_of(device);
    libusb_device_handle *handle = NULL;
    *listing = (struct systole_usb_listing){.speed_mbits = speed_of(device)};
    (void)systole_libusb_is_ours(device, &listing->product);
    systole_libusb_name_place(&place, listing->name, sizeof listing->name);
    int error = libusb_open(device, &handle);
    if (error == LIBUSB_SUCCESS) {
        ask_device(handle, listing);
        libusb_close(handle);
    } else {
        (void)snprintf(listing->trouble, sizeof listing->trouble, "%s", libusb_strerror(error));
    }
}

enum systole_status systole_libusb_list(struct systole_usb_listing **listings, uint32_t *count,
                                        struct systole_diagnostic *diagnostic) {
    libusb_context *context = NULL;
    libusb_device **devices = NULL;
    *listings = NULL;
    *count = 0;
    int error = libusb_init(&context);
    if (error != LIBUSB_SUCCESS) {
        return systole_fail(diagnostic, SYSTOLE_NO_DEVICE, "", "see that /dev/bus/usb is there",
                            "libusb does not start: %s", libusb_strerror(error));
    }
    enum systole_status status = SYSTOLE_OK;
    ssize_t found = systole_libusb_find_devices(context, &devices);
    struct systole_usb_listing *made = found > 0 ? calloc((size_t)found, sizeof *made) : NULL;
    if (made != NULL) {
        for (ssize_t i = 0; i < found; i++) {
            describe(devices[i], &made[i]);
        }
        *listings = made;
        *count = (uint32_t)found;
    } else if (found > 0) {
        status = systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, "", "", "no memory for a list of devices");
    } else if (found < 0) {
        status = systole_fail(diagnostic, SYSTOLE_NO_DEVICE, "", "see that /dev/bus/usb is there",
                              "the devices on USB cannot be listed: %s", libusb_strerror((int)found));
    }
    systole_libusb_free_devices(devices, found);
    libusb_exit(context);
    return status;
}
