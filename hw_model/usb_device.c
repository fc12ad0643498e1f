// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The USB controller in front of an accelerator, at the level of transfers. It knows two personalities: boot, which
// takes firmware by DFU, and application, which passes registers, streams, events and faults through. The only thing it
// knows about frames is where one ends on bulk IN: there the transfer ends, too, with a short packet, or with an empty
// one when the frame was a whole number of packets. docs/usb.md tells the whole conversation.
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "target.h"
#include "usb_controller.h"
#include "usb_descriptors.h"

enum {
    SLICE_CYCLES = 1024,
    NAK_MS = 50, // faults without an argument
    UNPLUGGED_MS = 20,
    LOST_BYTES = 8,
    PARITY_WORDS = 1024, // the driver fills the scratchpad from the bottom
};

static void forget_frame(struct systole_usb_device *device) {
    device->header_size = device->header_given = 0;
    device->payload_left = device->frame_given = 0;
}

// Bytes of a frame behind its header.
static uint64_t padded(uint32_t length) {
    return ((uint64_t)length + 7) & ~(uint64_t)7;
}

static void empty_endpoints(struct systole_usb_device *device) {
    forget_frame(device);
    device->empty_packet = false;
    device->interrupt_told = false;
    device->trouble.silent = device->trouble.spurious = device->trouble.repeats = false;
    device->trouble.out_header_size = 0;
    device->trouble.out_left = 0;
    device->trouble.out_moved = 0;
}

void systole_usb_reset_accelerator(struct systole_usb_device *device) {
    device->accelerator->functions->reset(device->accelerator);
    empty_endpoints(device);
}

void systole_usb_begin_anew(struct systole_usb_device *device) {
    device->configuration = 0;
    device->link_features = 0;
    memset(device->halted, 0, sizeof device->halted);
    systole_dfu_reset(&device->dfu);
    systole_usb_reset_accelerator(device);
}

struct systole_usb_device *systole_usb_device_create(struct systole_accelerator *accelerator,
                                                     const struct systole_target *target) {
    struct systole_usb_device *device = calloc(1, sizeof *device);
    if (device == NULL) {
        accelerator->functions->destroy(accelerator);
        return NULL;
    }
    device->accelerator = accelerator;
    device->target_id = systole_target_id(target);
    device->columns = target->columns;
    systole_dfu_reset(&device->dfu);
    return device;
}

void systole_usb_device_number(struct systole_usb_device *device, uint32_t number) {
    device->number = number;
}

void systole_usb_device_free(struct systole_usb_device *device) {
    if (device != NULL) {
        systole_faults_free(device->trouble.faults);
        device->accelerator->functions->destroy(device->accelerator);
        free(device);
    }
}

// ---- Faults: what each does to the device.

void systole_usb_device_inject(struct systole_usb_device *device, struct systole_faults *faults) {
    systole_faults_free(device->trouble.faults);
    device->trouble.faults = faults;
}

bool systole_usb_device_present(const struct systole_usb_device *device) {
    return !device->trouble.absent;
}

static void unplug(struct systole_usb_device *device, uint32_t ms) {
    systole_usb_stop_firmware(device);
    device->trouble.hanging = false;
    device->trouble.absent = true;
    device->trouble.back_ms =
        ms == SYSTOLE_FAULT_FOREVER ? UINT64_MAX : systole_now_ms() + (ms == 0 ? UNPLUGGED_MS : ms);
}

static bool is_quiet(const struct systole_usb_device *device, enum systole_fault_endpoint endpoint) {
    const struct trouble *trouble = &device->trouble;
    bool silent = trouble->silent && endpoint != SYSTOLE_FAULT_CONTROL;
    return trouble->absent || trouble->hanging || silent ||
           (trouble->nak_until_ms[endpoint] != 0 && systole_now_ms() < trouble->nak_until_ms[endpoint]);
}

// Faults that are the same on all endpoints. True: the transfer does not move, *result is the answer.
static bool strike(struct systole_usb_device *device, enum systole_fault_endpoint endpoint,
                   enum systole_fault_kind kind, enum systole_usb_result *result) {
    struct trouble *trouble = &device->trouble;
    struct systole_accelerator *accelerator = device->accelerator;
    *result = SYSTOLE_USB_NAK;
    switch (kind) {
    case SYSTOLE_FAULT_STALL:
        (void)systole_faults_strike(trouble->faults, endpoint);
        if (endpoint != SYSTOLE_FAULT_CONTROL) {
            device->halted[endpoint] = true;
        }
        *result = SYSTOLE_USB_STALL;
        return true;
    case SYSTOLE_FAULT_BABBLE:
        (void)systole_faults_strike(trouble->faults, endpoint);
        *result = SYSTOLE_USB_BABBLE;
        return true;
    case SYSTOLE_FAULT_SILENCE:
        (void)systole_faults_strike(trouble->faults, endpoint);
        trouble->silent = true;
        return true;
    case SYSTOLE_FAULT_HANG:
        (void)systole_faults_strike(trouble->faults, endpoint);
        trouble->hanging = true;
        return true;
    case SYSTOLE_FAULT_NAK: {
        uint32_t ms = systole_faults_strike(trouble->faults, endpoint);
        trouble->nak_until_ms[endpoint] = systole_now_ms() + (ms == 0 ? NAK_MS : ms);
        return endpoint == SYSTOLE_FAULT_OUT || endpoint == SYSTOLE_FAULT_CONTROL; // what came in is not kept back
    }
    case SYSTOLE_FAULT_UNPLUG:
        unplug(device, systole_faults_strike(trouble->faults, endpoint));
        return true;
    case SYSTOLE_FAULT_SPURIOUS:
        (void)systole_faults_strike(trouble->faults, endpoint);
        trouble->spurious = true;
        return false;
    case SYSTOLE_FAULT_PARITY: {
        uint32_t word = systole_faults_strike(trouble->faults, endpoint);
        word = word == 0 ? systole_faults_random(trouble->faults, PARITY_WORDS) : word;
        accelerator->functions->write_register(accelerator, SYSTOLE_REGISTER_PARITY_FLIP, word);
        return false;
    }
    default:
        return false;
    }
}

// A block of firmware whose checksum will not be right.
static enum systole_usb_result answer_refusing(struct systole_usb_device *device, const uint8_t *setup,
                                               const uint8_t *data, size_t length, size_t *actual) {
    uint8_t block[SYSTOLE_USB_BLOCK_BYTES];
    (void)systole_faults_strike(device->trouble.faults, SYSTOLE_FAULT_CONTROL);
    memcpy(block, data, length);
    block[length - 1] ^= 1;
    return systole_usb_answer_control(device, setup, block, actual);
}

enum systole_usb_result systole_usb_control(struct systole_usb_device *device, const uint8_t *setup, uint8_t *data,
                                            size_t *actual) {
    enum systole_fault_kind kind = systole_faults_begin(device->trouble.faults, SYSTOLE_FAULT_CONTROL);
    enum systole_usb_result result = SYSTOLE_USB_NAK;
    size_t length = (size_t)(setup[6] | setup[7] << 8);
    bool download = setup[0] == 0x21 && setup[1] == SYSTOLE_DFU_DNLOAD && !device->application && length != 0 &&
                    length <= SYSTOLE_USB_BLOCK_BYTES;
    *actual = 0;
    if (is_quiet(device, SYSTOLE_FAULT_CONTROL)) {
        return SYSTOLE_USB_NAK;
    }
    if (kind == SYSTOLE_FAULT_NONE || !strike(device, SYSTOLE_FAULT_CONTROL, kind, &result)) {
        result = kind == SYSTOLE_FAULT_REFUSE && download ? answer_refusing(device, setup, data, length, actual)
                                                          : systole_usb_answer_control(device, setup, data, actual);
    }
    if (result != SYSTOLE_USB_NAK || device->trouble.absent) {
        systole_faults_end(device->trouble.faults, SYSTOLE_FAULT_CONTROL);
    }
    return result;
}

// ---- Endpoints.

static bool open_endpoint(const struct systole_usb_device *device, uint8_t address, enum endpoint *endpoint) {
    *endpoint = systole_usb_find_endpoint(address);
    return device->application && device->configuration != 0 && *endpoint != ENDPOINTS && !device->halted[*endpoint];
}

static enum systole_usb_result take_out(struct systole_usb_device *device, const uint8_t *bytes, size_t size,
                                        size_t *actual) {
    *actual = size == 0 ? 0 : device->accelerator->functions->push_stream(device->accelerator, bytes, size);
    return size != 0 && *actual == 0 ? SYSTOLE_USB_NAK : SYSTOLE_USB_DONE;
}

// Keeps track of where frames begin.
static void note_out(struct trouble *trouble, const uint8_t *bytes, size_t size) {
    struct systole_frame_header header;
    while (size != 0) {
        size_t moved = trouble->out_left < size ? (size_t)trouble->out_left : size;
        if (moved == 0) {
            moved = sizeof trouble->out_header - trouble->out_header_size;
            moved = moved < size ? moved : size;
            memcpy(trouble->out_header + trouble->out_header_size, bytes, moved);
            trouble->out_header_size += moved;
            if (trouble->out_header_size == sizeof header) {
                memcpy(&header, trouble->out_header, sizeof header);
                bool payload = header.kind != SYSTOLE_FRAME_READ;
                trouble->out_left = payload ? padded(header.length) : 0;
                trouble->out_header_size = 0;
            }
        } else {
            trouble->out_left -= moved;
        }
        bytes += moved;
        size -= moved;
    }
}

// The header that begins here, damaged.
static enum systole_usb_result take_damaged(struct systole_usb_device *device, enum systole_fault_kind kind,
                                            const uint8_t *bytes, size_t *actual) {
    struct systole_frame_header header;
    uint8_t damaged[sizeof header];
    memcpy(&header, bytes, sizeof header);
    if (kind == SYSTOLE_FAULT_LENGTH) {
        header.length = UINT32_MAX - 15;
    } else {
        header.magic ^= 0x10;
    }
    memcpy(damaged, &header, sizeof header);
    enum systole_usb_result result = take_out(device, damaged, sizeof damaged, actual);
    if (*actual == sizeof damaged || (*actual != 0 && kind == SYSTOLE_FAULT_CORRUPT)) {
        (void)systole_faults_strike(device->trouble.faults, SYSTOLE_FAULT_OUT);
    }
    return result;
}

// Byte by byte up to the one that changes: bulk OUT may take a part.
static enum systole_usb_result take_flipped(struct systole_usb_device *device, const uint8_t *bytes, size_t size,
                                            size_t *actual) {
    uint64_t before = systole_faults_argument(device->trouble.faults, SYSTOLE_FAULT_OUT);
    if (device->trouble.out_moved > before) { // not in this transfer
        return take_out(device, bytes, size, actual);
    }
    before -= device->trouble.out_moved;
    if (before != 0) {
        return take_out(device, bytes, before < size ? (size_t)before : size, actual);
    }
    uint8_t flipped = bytes[0] ^ 0x40;
    enum systole_usb_result result = take_out(device, &flipped, 1, actual);
    if (*actual == 1) {
        (void)systole_faults_strike(device->trouble.faults, SYSTOLE_FAULT_OUT);
    }
    return result;
}

static enum systole_usb_result take_out_with_faults(struct systole_usb_device *device, const uint8_t *bytes,
                                                    size_t size, size_t *actual) {
    struct trouble *trouble = &device->trouble;
    enum systole_fault_kind kind = systole_faults_begin(trouble->faults, SYSTOLE_FAULT_OUT);
    enum systole_usb_result result = SYSTOLE_USB_DONE;
    bool at_header = trouble->out_left == 0 && trouble->out_header_size == 0;
    if (kind == SYSTOLE_FAULT_UNPLUG) {
        (void)take_out(device, bytes, size / 2, actual); // in the middle
        *actual = 0;
    }
    if (kind != SYSTOLE_FAULT_NONE && strike(device, SYSTOLE_FAULT_OUT, kind, &result)) {
        return result;
    }
    if (kind == SYSTOLE_FAULT_LOSE || (kind == SYSTOLE_FAULT_SHORT && size > LOST_BYTES)) {
        (void)systole_faults_strike(trouble->faults, SYSTOLE_FAULT_OUT);
        *actual = kind == SYSTOLE_FAULT_LOSE ? size : LOST_BYTES;
    } else if ((kind == SYSTOLE_FAULT_CORRUPT || kind == SYSTOLE_FAULT_LENGTH) && at_header &&
               size >= sizeof trouble->out_header) {
        result = take_damaged(device, kind, bytes, actual);
    } else if (kind == SYSTOLE_FAULT_FLIP && size != 0) {
        result = take_flipped(device, bytes, size, actual);
    } else {
        result = take_out(device, bytes, size, actual);
    }
    note_out(trouble, bytes, *actual);
    return result;
}

enum systole_usb_result systole_usb_out(struct systole_usb_device *device, uint8_t address, const uint8_t *bytes,
                                        size_t size, size_t *actual) {
    enum endpoint endpoint;
    enum systole_usb_result result;
    *actual = 0;
    if (device->trouble.faults == NULL) {
        return open_endpoint(device, address, &endpoint) && endpoint == BULK_OUT ? take_out(device, bytes, size, actual)
                                                                                 : SYSTOLE_USB_STALL;
    }
    if (is_quiet(device, SYSTOLE_FAULT_OUT)) {
        return SYSTOLE_USB_NAK;
    }
    if (!open_endpoint(device, address, &endpoint) || endpoint != BULK_OUT) {
        return SYSTOLE_USB_STALL;
    }
    result = take_out_with_faults(device, bytes, size, actual);
    device->trouble.out_moved += *actual;
    if (result == SYSTOLE_USB_STALL || *actual == size) {
        device->trouble.out_moved = 0;
        systole_faults_end(device->trouble.faults, SYSTOLE_FAULT_OUT);
    }
    return result;
}

static void begin_frame(struct systole_usb_device *device) {
    struct systole_frame_header header;
    memcpy(&header, device->header, sizeof header);
    device->payload_left = padded(header.length);
    enum systole_fault_kind kind = systole_faults_begin(device->trouble.faults, SYSTOLE_FAULT_IN);
    if (kind == SYSTOLE_FAULT_CORRUPT || kind == SYSTOLE_FAULT_WRONG_TAG || kind == SYSTOLE_FAULT_LENGTH) {
        (void)systole_faults_strike(device->trouble.faults, SYSTOLE_FAULT_IN);
        header.magic ^= kind == SYSTOLE_FAULT_CORRUPT ? 0x10 : 0;
        header.tag ^= kind == SYSTOLE_FAULT_WRONG_TAG ? 1 : 0;
        header.length = kind == SYSTOLE_FAULT_LENGTH ? UINT32_MAX - 15 : header.length;
        memcpy(device->header, &header, sizeof header);
    }
}

// Payload of a data frame, as memory with stuck bits would have it.
static void stick(const struct systole_usb_device *device, uint8_t *bytes, size_t size) {
    struct systole_frame_header header;
    memcpy(&header, device->header, sizeof header);
    if (device->trouble.faults != NULL && header.kind == SYSTOLE_FRAME_DATA) {
        systole_faults_stuck_memory(device->trouble.faults, device->columns, header.address,
                                    padded(header.length) - device->payload_left, bytes, size);
    }
}

static enum systole_usb_result bulk_in(struct systole_usb_device *device, uint8_t *bytes, size_t size, size_t *actual,
                                       bool *short_packet) {
    struct systole_accelerator *accelerator = device->accelerator;
    size_t given = 0;
    if (device->empty_packet) {
        device->empty_packet = false;
        *short_packet = true;
        return SYSTOLE_USB_DONE;
    }
    while (given < size) {
        size_t moved = 0;
        if (device->header_size < sizeof device->header) {
            size_t got = accelerator->functions->pull_stream(accelerator, device->header + device->header_size,
                                                             sizeof device->header - device->header_size);
            device->header_size += got;
            if (device->header_size < sizeof device->header) {
                break;
            }
            begin_frame(device);
        }
        size_t header_left = sizeof device->header - device->header_given;
        if (header_left != 0) {
            moved = header_left < size - given ? header_left : size - given;
            memcpy(bytes + given, device->header + device->header_given, moved);
            device->header_given += moved;
        } else {
            size_t wanted = device->payload_left < size - given ? (size_t)device->payload_left : size - given;
            moved = wanted == 0 ? 0 : accelerator->functions->pull_stream(accelerator, bytes + given, wanted);
            stick(device, bytes + given, moved);
            device->payload_left -= moved;
            if (wanted != 0 && moved == 0) {
                break;
            }
        }
        given += moved;
        device->frame_given += moved;
        if (device->header_given == sizeof device->header && device->payload_left == 0) {
            bool whole_packets = device->frame_given % SYSTOLE_USB_PACKET_BYTES == 0;
            *short_packet = given < size;
            device->empty_packet = whole_packets && given == size;
            forget_frame(device);
            break;
        }
    }
    *actual = given;
    return given == 0 && size != 0 ? SYSTOLE_USB_NAK : SYSTOLE_USB_DONE;
}

static enum systole_usb_result event_in(struct systole_usb_device *device, uint8_t *bytes, size_t size, size_t *actual,
                                        bool *short_packet) {
    struct systole_event event;
    size_t given = 0;
    if (device->trouble.repeats && size >= sizeof event) {
        device->trouble.repeats = false;
        memcpy(bytes, &device->trouble.repeated, sizeof event);
        given = sizeof event;
    }
    while (size - given >= sizeof event && device->accelerator->functions->pull_event(device->accelerator, &event)) {
        memcpy(bytes + given, &event, sizeof event);
        given += sizeof event;
    }
    *actual = given;
    *short_packet = given != 0 && given < size;
    return given == 0 ? SYSTOLE_USB_NAK : SYSTOLE_USB_DONE;
}

// The registers error and error_detail, once for each time the interrupt rises.
static enum systole_usb_result interrupt_in(struct systole_usb_device *device, uint8_t *bytes, size_t size,
                                            size_t *actual, bool *short_packet) {
    struct systole_accelerator *accelerator = device->accelerator;
    bool raised = accelerator->functions->interrupt(accelerator);
    device->interrupt_told = device->interrupt_told && raised;
    if (!raised && device->trouble.spurious) {
        *actual = size < 2 * sizeof(uint64_t) ? size : 2 * sizeof(uint64_t);
        memset(bytes, 0, *actual);
        *short_packet = *actual < size;
        device->trouble.spurious = false;
        return SYSTOLE_USB_DONE;
    }
    if (!raised || device->interrupt_told) {
        return SYSTOLE_USB_NAK;
    }
    uint64_t record[2] = {accelerator->functions->read_register(accelerator, SYSTOLE_REGISTER_ERROR),
                          accelerator->functions->read_register(accelerator, SYSTOLE_REGISTER_ERROR_DETAIL)};
    *actual = size < sizeof record ? size : sizeof record;
    memcpy(bytes, record, *actual);
    *short_packet = *actual < size;
    device->interrupt_told = true;
    return SYSTOLE_USB_DONE;
}

static enum systole_usb_result give_in(struct systole_usb_device *device, enum endpoint endpoint, uint8_t *bytes,
                                       size_t size, size_t *actual, bool *short_packet) {
    switch (endpoint) {
    case BULK_IN:
        return bulk_in(device, bytes, size, actual, short_packet);
    case EVENT_IN:
        return event_in(device, bytes, size, actual, short_packet);
    case INTERRUPT_IN:
        return interrupt_in(device, bytes, size, actual, short_packet);
    default:
        return SYSTOLE_USB_STALL;
    }
}

// What came is on its way to the host; the fault that waited for it happens.
static enum systole_usb_result damage_in(struct systole_usb_device *device, enum endpoint endpoint,
                                         enum systole_fault_kind kind, uint8_t *bytes, size_t *actual,
                                         bool *short_packet) {
    struct trouble *trouble = &device->trouble;
    enum systole_fault_endpoint place = (enum systole_fault_endpoint)endpoint;
    enum systole_usb_result result;
    bool event = endpoint == EVENT_IN;
    if (strike(device, place, kind, &result)) {
        *actual = 0;
        *short_packet = false;
        return result;
    }
    if (kind == SYSTOLE_FAULT_LOSE) {
        (void)systole_faults_strike(trouble->faults, place);
        *actual = 0;
        *short_packet = false;
        return SYSTOLE_USB_NAK;
    }
    if (kind == SYSTOLE_FAULT_SHORT && *actual > LOST_BYTES) {
        (void)systole_faults_strike(trouble->faults, place);
        *actual -= LOST_BYTES;
        *short_packet = true;
    } else if (kind == SYSTOLE_FAULT_CORRUPT && event) {
        (void)systole_faults_strike(trouble->faults, place);
        bytes[offsetof(struct systole_event, token) + 2] ^= 0x40;
    } else if (kind == SYSTOLE_FAULT_DUPLICATE && event) {
        (void)systole_faults_strike(trouble->faults, place);
        memcpy(&trouble->repeated, bytes, sizeof trouble->repeated);
        trouble->repeats = true;
    }
    return SYSTOLE_USB_DONE;
}

enum systole_usb_result systole_usb_in(struct systole_usb_device *device, uint8_t address, uint8_t *bytes, size_t size,
                                       size_t *actual, bool *short_packet) {
    struct systole_faults *faults = device->trouble.faults;
    enum endpoint endpoint = systole_usb_find_endpoint(address);
    enum systole_fault_endpoint place = (enum systole_fault_endpoint)endpoint;
    enum systole_usb_result result;
    *actual = 0;
    *short_packet = false;
    if (faults != NULL && endpoint != ENDPOINTS && is_quiet(device, place)) {
        return SYSTOLE_USB_NAK;
    }
    if (!open_endpoint(device, address, &endpoint)) {
        return SYSTOLE_USB_STALL;
    }
    if (faults == NULL) {
        return give_in(device, endpoint, bytes, size, actual, short_packet);
    }
    enum systole_fault_kind kind = systole_faults_begin(faults, place);
    if (kind == SYSTOLE_FAULT_STALL && endpoint == INTERRUPT_IN) { // nothing may ever come
        (void)strike(device, place, kind, &result);
        systole_faults_end(faults, place);
        return result;
    }
    result = give_in(device, endpoint, bytes, size, actual, short_packet);
    // bulk_in has used a fault that belongs to a header.
    if (result == SYSTOLE_USB_DONE && *actual != 0 && (kind = systole_faults_begin(faults, place)) != 0) {
        result = damage_in(device, endpoint, kind, bytes, actual, short_packet);
    }
    if (result == SYSTOLE_USB_STALL || result == SYSTOLE_USB_BABBLE ||
        (result == SYSTOLE_USB_DONE && (*short_packet || *actual == size))) {
        systole_faults_end(faults, place);
    }
    return result;
}

bool systole_usb_device_run(struct systole_usb_device *device) {
    struct systole_accelerator *accelerator = device->accelerator;
    if (device->trouble.hanging || accelerator->functions->idle(accelerator)) {
        return false;
    }
    uint64_t slice = accelerator->functions->slice_cycles;
    accelerator->functions->run(accelerator, slice == 0 ? SLICE_CYCLES : slice);
    return true;
}

// A port reset keeps the personality, as it does for every USB device; all else begins anew.
void systole_usb_device_bus_reset(struct systole_usb_device *device) {
    device->trouble.hanging = false;
    systole_usb_begin_anew(device);
}

bool systole_usb_device_reenumerates(struct systole_usb_device *device) {
    if (device->trouble.absent && systole_now_ms() >= device->trouble.back_ms) {
        device->trouble.absent = false;
        device->reenumerates = true;
    }
    bool told = device->reenumerates;
    device->reenumerates = false;
    return told;
}

uint16_t systole_usb_product(const struct systole_usb_device *device) {
    return device->application ? SYSTOLE_USB_APPLICATION_PRODUCT_ID : SYSTOLE_USB_BOOT_PRODUCT_ID;
}

size_t systole_usb_descriptors(const struct systole_usb_device *device, uint8_t *bytes, size_t size) {
    struct systole_usb_identity identity = {device->target_id, device->number};
    uint8_t all[2 * SYSTOLE_USB_DESCRIPTOR_LIMIT];
    size_t total = systole_usb_describe(device->application, &identity, SYSTOLE_USB_DESCRIPTOR_DEVICE, 0, all);
    total += systole_usb_describe(device->application, &identity, SYSTOLE_USB_DESCRIPTOR_CONFIGURATION, 0, all + total);
    total = total < size ? total : size;
    memcpy(bytes, all, total);
    return total;
}

struct systole_accelerator *systole_usb_accelerator(struct systole_usb_device *device) {
    return device->accelerator;
}
