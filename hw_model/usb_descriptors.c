// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "usb_descriptors.h"

#include <stdio.h>
#include <string.h>

#include "systole_spec.h"

#define LOW(x) ((uint8_t)((x)&0xff))
#define HIGH(x) ((uint8_t)(((x) >> 8) & 0xff))
#define DFU_FUNCTIONAL                                                                                                 \
    9, SYSTOLE_USB_DESCRIPTOR_DFU, 0x09 /* download, will detach */, LOW(1000), HIGH(1000),                            \
        LOW(SYSTOLE_USB_BLOCK_BYTES), HIGH(SYSTOLE_USB_BLOCK_BYTES), 0x10, 0x01
// An endpoint with its SuperSpeed companion. kind 2: bulk, 3: interrupt.
#define ENDPOINT(address, kind, packet, interval, burst, bytes_per_interval)                                           \
    7, 5, LOW(address), kind, LOW(packet), HIGH(packet), interval, 6, 0x30, burst, 0, LOW(bytes_per_interval),         \
        HIGH(bytes_per_interval)

static const uint8_t boot_configuration[] = {
    9,
    2,
    27,
    0,
    1,
    1,
    0,
    0x80,
    112, // one interface, 896 mA
    9,
    4,
    SYSTOLE_USB_BOOT_INTERFACE,
    0,
    0,
    0xfe,
    0x01,
    0x02,
    0, // application specific, DFU, DFU mode
    DFU_FUNCTIONAL,
};

static const uint8_t application_configuration[] = {
    9,
    2,
    88,
    0,
    2,
    1,
    0,
    0x80,
    112, //
    9,
    4,
    SYSTOLE_USB_VENDOR_INTERFACE,
    0,
    4,
    0xff,
    0x00,
    0x00,
    0, //
    ENDPOINT(SYSTOLE_USB_ENDPOINT_BULK_OUT, 2, SYSTOLE_USB_PACKET_BYTES, 0, 15, 0),
    ENDPOINT(SYSTOLE_USB_ENDPOINT_BULK_IN, 2, SYSTOLE_USB_PACKET_BYTES, 0, 15, 0),
    ENDPOINT(SYSTOLE_USB_ENDPOINT_EVENT_IN, 2, SYSTOLE_USB_PACKET_BYTES, 0, 0, 0),
    ENDPOINT(SYSTOLE_USB_ENDPOINT_INTERRUPT_IN, 3, 64, 4, 0, 64),
    9,
    4,
    SYSTOLE_USB_RUNTIME_INTERFACE,
    0,
    0,
    0xfe,
    0x01,
    0x01,
    0, // DFU, run time
    DFU_FUNCTIONAL,
};
_Static_assert(sizeof boot_configuration == 27, "total length of the boot configuration");
_Static_assert(sizeof application_configuration == 9 + 9 + 4 * 13 + 9 + 9, "application configuration");
_Static_assert(sizeof application_configuration == 88, "total length of the application configuration");

static const uint8_t object_store[] = {
    5,  15, 22, 0, 2,                       //
    7,  16, 2,  2, 0, 0, 0,                 // USB 2.0 extension: link power management
    10, 16, 3,  0, 8, 0, 3, 10, 0xff, 0x07, // SuperSpeed: 5 Gbit/s only, exit latencies
};

static size_t copy(uint8_t *bytes, const uint8_t *from, size_t size) {
    memcpy(bytes, from, size);
    return size;
}

static size_t describe_device(bool application, uint8_t *bytes) {
    uint16_t product = application ? SYSTOLE_USB_APPLICATION_PRODUCT_ID : SYSTOLE_USB_BOOT_PRODUCT_ID;
    uint8_t descriptor[18] = {
        18,
        SYSTOLE_USB_DESCRIPTOR_DEVICE,
        0x00,
        0x03, // USB 3.0
        0,
        0,
        0, // class: each interface its own
        9, // packets of 2^9 on endpoint 0
        LOW(SYSTOLE_USB_VENDOR_ID),
        HIGH(SYSTOLE_USB_VENDOR_ID),
        LOW(product),
        HIGH(product),
        0x00,
        0x01, // release 1.0
        1,
        2,
        3, // manufacturer, product, serial number
        1,
    };
    return copy(bytes, descriptor, sizeof descriptor);
}

static size_t describe_string(bool application, const struct systole_usb_identity *identity, uint8_t index,
                              uint8_t *bytes) {
    char serial[20];
    const char *text = NULL;
    size_t size = 0;
    switch (index) {
    case 0: {
        static const uint8_t languages[4] = {4, SYSTOLE_USB_DESCRIPTOR_STRING, 0x09, 0x04}; // English
        return copy(bytes, languages, sizeof languages);
    }
    case 1:
        text = "Systole";
        break;
    case 2:
        text = application ? "Systole accelerator" : "Systole accelerator, boot";
        break;
    case 3:
        if (identity->number <= 1) {
            (void)snprintf(serial, sizeof serial, "%08x", identity->target_id);
        } else {
            (void)snprintf(serial, sizeof serial, "%08x-%u", identity->target_id, identity->number);
        }
        text = serial;
        break;
    default:
        return 0;
    }
    size = 2;
    for (; *text != 0; text++) {
        bytes[size++] = (uint8_t)*text;
        bytes[size++] = 0;
    }
    bytes[0] = (uint8_t)size;
    bytes[1] = SYSTOLE_USB_DESCRIPTOR_STRING;
    return size;
}

size_t systole_usb_describe(bool application, const struct systole_usb_identity *identity, uint8_t type, uint8_t index,
                            uint8_t bytes[SYSTOLE_USB_DESCRIPTOR_LIMIT]) {
    switch (type) {
    case SYSTOLE_USB_DESCRIPTOR_DEVICE:
        return index != 0 ? 0 : describe_device(application, bytes);
    case SYSTOLE_USB_DESCRIPTOR_CONFIGURATION:
        if (index != 0) {
            return 0;
        }
        return application ? copy(bytes, application_configuration, sizeof application_configuration)
                           : copy(bytes, boot_configuration, sizeof boot_configuration);
    case SYSTOLE_USB_DESCRIPTOR_STRING:
        return describe_string(application, identity, index, bytes);
    case SYSTOLE_USB_DESCRIPTOR_BOS:
        return index != 0 ? 0 : copy(bytes, object_store, sizeof object_store);
    case SYSTOLE_USB_DESCRIPTOR_DFU: {
        static const uint8_t functional[] = {DFU_FUNCTIONAL};
        return index != 0 ? 0 : copy(bytes, functional, sizeof functional);
    }
    default:
        return 0;
    }
}

const uint8_t *systole_usb_next_descriptor(const uint8_t *bytes, size_t size, size_t *at) {
    const uint8_t *descriptor = bytes + *at;
    if (size - *at < 2 || descriptor[0] < 2 || descriptor[0] > size - *at) {
        return NULL;
    }
    *at += descriptor[0];
    return descriptor;
}
