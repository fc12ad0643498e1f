// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "usb_capture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    FILE_HEADER = 24,
    PACKET_HEADER = 16,
    USBMON_HEADER = 64,
    LINK_TYPE = 220,         // LINKTYPE_USB_LINUX_MMAPPED
    SNAP_LENGTH = 128 << 20, // what libpcap takes of this link type
    MAGIC = 0xa1b2c3d4,      // microseconds
    MAGIC_NANOSECONDS = 0xa1b23c4d,
    // Places in usbmon's header.
    AT_TYPE = 8,
    AT_TRANSFER = 9,
    AT_ENDPOINT = 10,
    AT_DEVICE = 11,
    AT_BUS = 12,
    AT_NO_SETUP = 14,
    AT_NO_DATA = 15,
    AT_SECONDS = 16,
    AT_MICROSECONDS = 24,
    AT_STATUS = 28,
    AT_LENGTH = 32,
    AT_CAPTURED = 36,
    AT_SETUP = 40,
};

// ---- Writing, little endian wherever it is written.

struct systole_capture {
    FILE *file;
    char *path;
    bool failed;
    int reason;
};

static void put(uint8_t *bytes, uint64_t value, uint32_t size) {
    for (uint32_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(value >> 8 * i);
    }
}

static void write_bytes(struct systole_capture *capture, const void *bytes, size_t size) {
    if (!capture->failed && size != 0 && fwrite(bytes, 1, size, capture->file) != size) {
        capture->failed = true;
        capture->reason = errno;
    }
}

enum systole_status systole_capture_create(const char *path, struct systole_capture **capture,
                                           struct systole_diagnostic *diagnostic) {
    uint8_t header[FILE_HEADER] = {0};
    *capture = NULL;
    struct systole_capture *made = calloc(1, sizeof *made);
    char *copy = strdup(path);
    FILE *file = made == NULL || copy == NULL ? NULL : fopen(path, "wb");
    if (file == NULL) {
        enum systole_status status =
            made == NULL || copy == NULL
                ? systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, path, "", "no memory for a recording")
                : systole_fail(diagnostic, SYSTOLE_BAD_FILE, path, "check the path", "cannot be written: %s",
                               strerror(errno));
        free(copy);
        free(made);
        return status;
    }
    made->file = file;
    made->path = copy;
    put(header, MAGIC, 4);
    put(header + 4, 2, 2); // version 2.4
    put(header + 6, 4, 2);
    put(header + 16, SNAP_LENGTH, 4);
    put(header + 20, LINK_TYPE, 4);
    write_bytes(made, header, sizeof header);
    *capture = made;
    return SYSTOLE_OK;
}

void systole_capture_write(struct systole_capture *capture, const struct systole_usb_record *record) {
    uint8_t bytes[PACKET_HEADER + USBMON_HEADER] = {0}, *usbmon = bytes + PACKET_HEADER;
    struct timespec now;
    bool in = (record->endpoint & 0x80) != 0;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    uint64_t microseconds = (uint64_t)now.tv_nsec / 1000;
    uint32_t size = USBMON_HEADER + record->data_bytes;
    put(bytes, (uint64_t)now.tv_sec, 4);
    put(bytes + 4, microseconds, 4);
    put(bytes + 8, size, 4);
    put(bytes + 12, size, 4);
    put(usbmon, record->id, 8);
    usbmon[AT_TYPE] = (uint8_t)record->type;
    usbmon[AT_TRANSFER] = record->transfer;
    usbmon[AT_ENDPOINT] = record->endpoint;
    usbmon[AT_DEVICE] = record->device;
    put(usbmon + AT_BUS, record->bus, 2);
    usbmon[AT_NO_SETUP] = record->has_setup ? 0 : '-';
    usbmon[AT_NO_DATA] = record->data_bytes != 0 ? 0 : in ? '<' : '>';
    put(usbmon + AT_SECONDS, (uint64_t)now.tv_sec, 8);
    put(usbmon + AT_MICROSECONDS, microseconds, 4);
    put(usbmon + AT_STATUS, (uint32_t)record->status, 4);
    put(usbmon + AT_LENGTH, record->length, 4);
    put(usbmon + AT_CAPTURED, record->data_bytes, 4);
    if (record->has_setup) {
        memcpy(usbmon + AT_SETUP, record->setup, sizeof record->setup);
    }
    write_bytes(capture, bytes, sizeof bytes);
    write_bytes(capture, record->data, record->data_bytes);
}

bool systole_capture_failed(const struct systole_capture *capture) {
    return capture->failed;
}

enum systole_status systole_capture_close(struct systole_capture *capture, struct systole_diagnostic *diagnostic) {
    enum systole_status status = SYSTOLE_OK;
    if (capture == NULL) {
        return status;
    }
    if (fclose(capture->file) != 0 && !capture->failed) {
        capture->failed = true;
        capture->reason = errno;
    }
    if (capture->failed) {
        status = systole_fail(diagnostic, SYSTOLE_BAD_FILE, capture->path, "is the disk full?",
                              "the recording cannot be written: %s", strerror(capture->reason));
    }
    free(capture->path);
    free(capture);
    return status;
}

// ---- Reading.

static uint64_t get(const struct systole_capture_reader *reader, size_t at, uint32_t size) {
    uint64_t value = 0;
    for (uint32_t i = 0; i < size; i++) {
        uint64_t byte = reader->bytes[at + i];
        value |= byte << 8 * (reader->swapped ? size - 1 - i : i);
    }
    return value;
}

enum systole_status systole_capture_open(const uint8_t *bytes, size_t size, const char *name,
                                         struct systole_capture_reader *reader, struct systole_diagnostic *diagnostic) {
    *reader = (struct systole_capture_reader){.bytes = bytes, .size = size, .at = FILE_HEADER, .name = name};
    bool known = false;
    for (uint32_t i = 0; i < 2 && size >= FILE_HEADER && !known; i++) {
        reader->swapped = i == 1;
        uint32_t magic = (uint32_t)get(reader, 0, 4);
        known = magic == MAGIC || magic == MAGIC_NANOSECONDS;
    }
    if (!known) {
        return systole_fail(diagnostic, SYSTOLE_BAD_FILE, name, "`systole run --record FILE` makes them",
                            "is no recording in pcap format");
    }
    uint32_t link = (uint32_t)get(reader, 20, 4) & 0xffff; // the upper half tells of check sequences
    if (link != LINK_TYPE) {
        return systole_fail(diagnostic, SYSTOLE_BAD_FILE, name, "record with usbmon's mapped interface",
                            "its link type is %u, not USB_LINUX_MMAPPED (%u)", link, (unsigned)LINK_TYPE);
    }
    return SYSTOLE_OK;
}

enum systole_status systole_capture_next(struct systole_capture_reader *reader, struct systole_usb_record *record,
                                         bool *more, struct systole_diagnostic *diagnostic) {
    size_t left = reader->size - reader->at, at = reader->at + PACKET_HEADER;
    *more = left != 0;
    if (left == 0) {
        return SYSTOLE_OK;
    }
    uint64_t packet = left < PACKET_HEADER ? 0 : get(reader, reader->at + 8, 4);
    if (left < PACKET_HEADER || packet > left - PACKET_HEADER) {
        return systole_fail(diagnostic, SYSTOLE_BAD_FILE, reader->name, "was it cut?", "ends inside record %llu",
                            (unsigned long long)reader->records);
    }
    uint64_t captured = packet < USBMON_HEADER ? 0 : get(reader, at + AT_CAPTURED, 4);
    if (packet < USBMON_HEADER || captured > packet - USBMON_HEADER) {
        return systole_fail(diagnostic, SYSTOLE_BAD_FILE, reader->name, "record with a larger snap length",
                            "record %llu has %llu bytes, less than its data", (unsigned long long)reader->records,
                            (unsigned long long)packet);
    }
    *record = (struct systole_usb_record){
        .id = get(reader, at, 8),
        .type = (char)reader->bytes[at + AT_TYPE],
        .transfer = reader->bytes[at + AT_TRANSFER],
        .endpoint = reader->bytes[at + AT_ENDPOINT],
        .device = reader->bytes[at + AT_DEVICE],
        .bus = (uint16_t)get(reader, at + AT_BUS, 2),
        .has_setup = reader->bytes[at + AT_NO_SETUP] == 0,
        .status = (int32_t)(uint32_t)get(reader, at + AT_STATUS, 4),
        .length = (uint32_t)get(reader, at + AT_LENGTH, 4),
        .data_bytes = (uint32_t)captured,
        // Isochronous descriptors would stand before the data; Systole devices have none.
        .data = reader->bytes + at + USBMON_HEADER,
    };
    memcpy(record->setup, reader->bytes + at + AT_SETUP, sizeof record->setup);
    reader->at = at + (size_t)packet;
    reader->records++;
    return SYSTOLE_OK;
}
