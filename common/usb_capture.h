// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// USB traffic in files: pcap with the link type USB_LINUX_MMAPPED (220), as Linux's usbmon gives it and tshark reads
// it. A record tells that a transfer was submitted or has completed; see Documentation/usb/usbmon.rst of the kernel,
// struct mon_bin_hdr.
#ifndef SYSTOLE_USB_CAPTURE_H
#define SYSTOLE_USB_CAPTURE_H

#include <stdint.h>

#include "status.h"

enum systole_usb_transfer_type {
    SYSTOLE_USB_ISOCHRONOUS,
    SYSTOLE_USB_INTERRUPT,
    SYSTOLE_USB_CONTROL,
    SYSTOLE_USB_BULK
};

struct systole_usb_record {
    uint64_t id;      // the same for submission and completion
    char type;        // 'S' submitted, 'C' complete, 'E' could not be submitted
    uint8_t transfer; // enum systole_usb_transfer_type
    uint8_t endpoint; // direction in bit 7
    uint8_t device;   // address on the bus
    uint16_t bus;
    bool has_setup;
    uint8_t setup[8];
    int32_t status;      // 0, or a negative error number of Linux; -115 when submitted
    uint32_t length;     // asked for, or moved
    uint32_t data_bytes; // that are in the file
    const uint8_t *data;
};

// ---- Writing. One thread; the caller closes it.
struct systole_capture;
enum systole_status systole_capture_create(const char *path, struct systole_capture **capture,
                                           struct systole_diagnostic *diagnostic);
void systole_capture_write(struct systole_capture *capture, const struct systole_usb_record *record); // now
bool systole_capture_failed(const struct systole_capture *capture); // something could not be written
// NULL is fine. SYSTOLE_BAD_FILE: something could not be written.
enum systole_status systole_capture_close(struct systole_capture *capture, struct systole_diagnostic *diagnostic);

// ---- Reading bytes from outside, of either byte order. The bytes are borrowed; records point into them.
struct systole_capture_reader {
    const uint8_t *bytes;
    size_t size, at;
    const char *name;
    bool swapped;
    uint64_t records; // read so far
};
// SYSTOLE_BAD_FILE: no pcap of that link type.
enum systole_status systole_capture_open(const uint8_t *bytes, size_t size, const char *name,
                                         struct systole_capture_reader *reader, struct systole_diagnostic *diagnostic);
// *more false: there is none left. SYSTOLE_BAD_FILE: it ends inside a record, or its lengths contradict each other.
enum systole_status systole_capture_next(struct systole_capture_reader *reader, struct systole_usb_record *record,
                                         bool *more, struct systole_diagnostic *diagnostic);

#endif
