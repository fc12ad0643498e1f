// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The USB controller in front of an accelerator, at the level of transfers. It knows two personalities: boot, which
// takes firmware by DFU, and application, which passes registers, streams, events and faults through. The only thing it
// knows about frames is where one ends on bulk IN: there the transfer ends, too, with a short packet, or with an empty
// one when the frame was a whole number of packets. docs/usb.md tells the whole conversation.
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "device.h"
#include "dfu.h"
#include "fault_injection.h"
#include "target.h"
#include "usb_descriptors.h"

enum {
    REQUEST_GET_STATUS = 0,
    REQUEST_CLEAR_FEATURE = 1,
    REQUEST_SET_FEATURE = 3,
    REQUEST_SET_ADDRESS = 5,
    REQUEST_GET_DESCRIPTOR = 6,
    REQUEST_GET_CONFIGURATION = 8,
    REQUEST_SET_CONFIGURATION = 9,
    REQUEST_GET_INTERFACE = 10,
    REQUEST_SET_INTERFACE = 11,
    REQUEST_SET_SEL = 48,
    REQUEST_SET_ISOCH_DELAY = 49,
    FEATURE_ENDPOINT_HALT = 0,
    FEATURE_FUNCTION_SUSPEND = 0,
    FEATURE_U1_ENABLE = 48,
    FEATURE_U2_ENABLE = 49,
    FEATURE_LTM_ENABLE = 50,
    RECIPIENT_DEVICE = 0,
    RECIPIENT_INTERFACE = 1,
    RECIPIENT_ENDPOINT = 2,
    CONTROL_START_WITH_INTERRUPT = 1 | 4,
    SLICE_CYCLES = 1024,
    NAK_MS = 50, // faults without an argument
    UNPLUGGED_MS = 20,
    LOST_BYTES = 8,
    PARITY_WORDS = 1024, // the driver fills the scratchpad from the bottom
};

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
};

struct systole_usb_device {
    struct systole_accelerator *accelerator;
    uint32_t target_id;
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

struct setup {
    uint8_t type, request;
    uint16_t value, index, length;
};

static const uint8_t addresses[ENDPOINTS] = {SYSTOLE_USB_ENDPOINT_BULK_OUT, SYSTOLE_USB_ENDPOINT_BULK_IN,
                                             SYSTOLE_USB_ENDPOINT_EVENT_IN, SYSTOLE_USB_ENDPOINT_INTERRUPT_IN};

static enum endpoint find_endpoint(uint16_t address) {
    enum endpoint endpoint = BULK_OUT;
    while (endpoint < ENDPOINTS && addresses[endpoint] != address) {
        endpoint++;
    }
    return endpoint;
}

static void forget_frame(struct systole_usb_device *device) {
    device->header_size = device->header_given = 0;
    device->payload_left = device->frame_given = 0;
}

static void empty_endpoints(struct systole_usb_device *device) {
    forget_frame(device);
    device->empty_packet = false;
    device->interrupt_told = false;
    device->trouble.silent = device->trouble.spurious = device->trouble.repeats = false;
    device->trouble.out_header_size = 0;
    device->trouble.out_left = 0;
}

static void reset_accelerator(struct systole_usb_device *device) {
    device->accelerator->functions->reset(device->accelerator);
    empty_endpoints(device);
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
    systole_dfu_reset(&device->dfu);
    return device;
}

void systole_usb_device_free(struct systole_usb_device *device) {
    if (device != NULL) {
        systole_faults_free(device->trouble.faults);
        device->accelerator->functions->destroy(device->accelerator);
        free(device);
    }
}

// Becomes the other personality, as a device that was plugged in again.
static void reenumerate(struct systole_usb_device *device, bool application) {
    device->application = application;
    device->reenumerates = true;
    device->configuration = 0;
    device->link_features = 0;
    memset(device->halted, 0, sizeof device->halted);
    systole_dfu_reset(&device->dfu);
    reset_accelerator(device);
}

static void start_firmware(struct systole_usb_device *device) {
    const struct systole_accelerator_functions *functions = device->accelerator->functions;
    const uint8_t *table = systole_dfu_table(&device->dfu);
    functions->reset(device->accelerator);
    for (uint32_t i = 0; i < SYSTOLE_DFU_OPCODES / 8; i++) {
        uint64_t entries = 0;
        for (uint32_t k = 8; k-- > 0;) {
            entries = entries << 8 | table[8 * i + k];
        }
        functions->write_register(device->accelerator, SYSTOLE_REGISTER_COMMAND_TABLE + 8 * i, entries);
    }
    reenumerate(device, true);
    functions->write_register(device->accelerator, SYSTOLE_REGISTER_CONTROL, CONTROL_START_WITH_INTERRUPT);
}

static void stop_firmware(struct systole_usb_device *device) {
    device->accelerator->functions->write_register(device->accelerator, SYSTOLE_REGISTER_CONTROL, 0);
    reenumerate(device, false);
}

// ---- Faults: what each does to the device.

static uint64_t now_ms(void) {
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

void systole_usb_device_inject(struct systole_usb_device *device, struct systole_faults *faults) {
    systole_faults_free(device->trouble.faults);
    device->trouble.faults = faults;
}

bool systole_usb_device_present(const struct systole_usb_device *device) {
    return !device->trouble.absent;
}

static void unplug(struct systole_usb_device *device, uint32_t ms) {
    stop_firmware(device);
    device->trouble.hanging = false;
    device->trouble.absent = true;
    device->trouble.back_ms = ms == SYSTOLE_FAULT_FOREVER ? UINT64_MAX : now_ms() + (ms == 0 ? UNPLUGGED_MS : ms);
}

static bool is_quiet(const struct systole_usb_device *device, enum systole_fault_endpoint endpoint) {
    const struct trouble *trouble = &device->trouble;
    bool silent = trouble->silent && endpoint != SYSTOLE_FAULT_CONTROL;
    return trouble->absent || trouble->hanging || silent ||
           (trouble->nak_until_ms[endpoint] != 0 && now_ms() < trouble->nak_until_ms[endpoint]);
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
        trouble->nak_until_ms[endpoint] = now_ms() + (ms == 0 ? NAK_MS : ms);
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

// ---- Control requests. Each answers false to stall, or true with *actual bytes moved.

static bool answer(const struct setup *setup, uint8_t *data, size_t *actual, const void *bytes, size_t size) {
    *actual = size < setup->length ? size : setup->length;
    memcpy(data, bytes, *actual);
    return true;
}

static const struct systole_register_description *find_register(uint32_t address) {
    for (uint32_t i = 0; i < systole_register_count; i++) {
        const struct systole_register_description *found = &systole_registers[i];
        uint32_t count = found->count == 0 ? 1 : found->count;
        if (address >= found->offset && address < found->offset + 8 * count) {
            return address % 8 == 0 ? found : NULL;
        }
    }
    return NULL;
}

static bool vendor_request(struct systole_usb_device *device, const struct setup *setup, uint8_t *data,
                           size_t *actual) {
    struct systole_accelerator *accelerator = device->accelerator;
    uint32_t address = (uint32_t)setup->index << 16 | setup->value;
    const struct systole_register_description *description = find_register(address);
    bool in = (setup->type & 0x80) != 0;
    if (!device->application || (setup->type & 0x1f) != RECIPIENT_DEVICE) {
        return false;
    }
    switch (setup->request) {
    case SYSTOLE_USB_REQUEST_READ_REGISTER: {
        if (!in || description == NULL) {
            return false;
        }
        uint64_t value = accelerator->functions->read_register(accelerator, address);
        return answer(setup, data, actual, &value, sizeof value);
    }
    case SYSTOLE_USB_REQUEST_WRITE_REGISTER: {
        uint64_t value = 0;
        if (in || description == NULL || strcmp(description->access, "ro") == 0 ||
            (setup->length != 4 && setup->length != 8)) {
            return false;
        }
        memcpy(&value, data, setup->length);
        accelerator->functions->write_register(accelerator, address, value);
        *actual = setup->length;
        return true;
    }
    case SYSTOLE_USB_REQUEST_DEVICE_RESET:
        if (in || setup->length != 0) {
            return false;
        }
        reset_accelerator(device);
        return true;
    default:
        return false;
    }
}

static bool class_request(struct systole_usb_device *device, const struct setup *setup, uint8_t *data, size_t *actual) {
    bool in = (setup->type & 0x80) != 0;
    if ((setup->type & 0x1f) != RECIPIENT_INTERFACE) {
        return false;
    }
    if (!device->application) {
        bool wants_in = setup->request == SYSTOLE_DFU_GETSTATUS || setup->request == SYSTOLE_DFU_GETSTATE ||
                        setup->request == SYSTOLE_DFU_UPLOAD;
        bool manifested = false;
        bool done = setup->index == SYSTOLE_USB_BOOT_INTERFACE && in == wants_in &&
                    systole_dfu_request(&device->dfu, device->target_id, setup->request, setup->value, data,
                                        setup->length, actual, &manifested);
        if (manifested) {
            start_firmware(device);
        }
        return done;
    }
    if (setup->index != SYSTOLE_USB_RUNTIME_INTERFACE) {
        return false;
    }
    static const uint8_t idle[6] = {SYSTOLE_DFU_STATUS_OK, 0, 0, 0, SYSTOLE_DFU_STATE_APP_IDLE, 0};
    switch (setup->request) {
    case SYSTOLE_DFU_DETACH:
        if (in || setup->length != 0) {
            return false;
        }
        stop_firmware(device);
        return true;
    case SYSTOLE_DFU_GETSTATUS:
        return in && answer(setup, data, actual, idle, sizeof idle);
    case SYSTOLE_DFU_GETSTATE:
        return in && answer(setup, data, actual, idle + 4, 1);
    default:
        return false;
    }
}

static uint8_t interface_count(const struct systole_usb_device *device) {
    return device->configuration == 0 ? 0 : device->application ? 2 : 1;
}

static bool endpoint_exists(const struct systole_usb_device *device, uint16_t address) {
    return address == 0 || address == 0x80 ||
           (device->application && device->configuration != 0 && find_endpoint(address) != ENDPOINTS);
}

static bool set_feature(struct systole_usb_device *device, const struct setup *setup, bool set) {
    switch (setup->type & 0x1f) {
    case RECIPIENT_DEVICE:
        if (setup->value < FEATURE_U1_ENABLE || setup->value > FEATURE_LTM_ENABLE || device->configuration == 0) {
            return false;
        }
        uint8_t bit = (uint8_t)(1u << (setup->value - FEATURE_U1_ENABLE));
        device->link_features = (uint8_t)(set ? device->link_features | bit : device->link_features & ~bit);
        return true;
    case RECIPIENT_INTERFACE: // the high byte carries suspend options
        return setup->value == FEATURE_FUNCTION_SUSPEND && (setup->index & 0xff) < interface_count(device);
    case RECIPIENT_ENDPOINT:
        if (setup->value != FEATURE_ENDPOINT_HALT || !endpoint_exists(device, setup->index)) {
            return false;
        }
        if ((setup->index & 0x7f) != 0) {
            device->halted[find_endpoint(setup->index)] = set;
        }
        return true;
    default:
        return false;
    }
}

static bool get_status(struct systole_usb_device *device, const struct setup *setup, uint8_t *data, size_t *actual) {
    uint8_t status[2] = {0, 0};
    switch (setup->type & 0x1f) {
    case RECIPIENT_DEVICE:
        status[0] = (uint8_t)(device->link_features << 2);
        break;
    case RECIPIENT_INTERFACE:
        if (setup->index >= interface_count(device)) {
            return false;
        }
        break;
    case RECIPIENT_ENDPOINT:
        if (!endpoint_exists(device, setup->index)) {
            return false;
        }
        status[0] = (setup->index & 0x7f) != 0 && device->halted[find_endpoint(setup->index)];
        break;
    default:
        return false;
    }
    return answer(setup, data, actual, status, sizeof status);
}

static bool set_configuration(struct systole_usb_device *device, uint16_t value) {
    if (value > 1) {
        return false;
    }
    device->configuration = (uint8_t)value;
    memset(device->halted, 0, sizeof device->halted);
    return true;
}

static bool standard_request(struct systole_usb_device *device, const struct setup *setup, uint8_t *data,
                             size_t *actual) {
    uint8_t bytes[SYSTOLE_USB_DESCRIPTOR_LIMIT];
    uint8_t recipient = setup->type & 0x1f;
    bool in = (setup->type & 0x80) != 0;
    if (in) {
        switch (setup->request) {
        case REQUEST_GET_STATUS:
            return get_status(device, setup, data, actual);
        case REQUEST_GET_DESCRIPTOR: {
            size_t size = systole_usb_describe(device->application, device->target_id, (uint8_t)(setup->value >> 8),
                                               (uint8_t)setup->value, bytes);
            return recipient <= RECIPIENT_INTERFACE && size != 0 && answer(setup, data, actual, bytes, size);
        }
        case REQUEST_GET_CONFIGURATION:
            return recipient == RECIPIENT_DEVICE && answer(setup, data, actual, &device->configuration, 1);
        case REQUEST_GET_INTERFACE:
            bytes[0] = 0;
            return recipient == RECIPIENT_INTERFACE && setup->index < interface_count(device) &&
                   answer(setup, data, actual, bytes, 1);
        default:
            return false;
        }
    }
    *actual = setup->length;
    switch (setup->request) {
    case REQUEST_CLEAR_FEATURE:
    case REQUEST_SET_FEATURE:
        return setup->length == 0 && set_feature(device, setup, setup->request == REQUEST_SET_FEATURE);
    case REQUEST_SET_ADDRESS:
    case REQUEST_SET_ISOCH_DELAY:
        return recipient == RECIPIENT_DEVICE && setup->length == 0;
    case REQUEST_SET_SEL:
        return recipient == RECIPIENT_DEVICE && setup->length == 6;
    case REQUEST_SET_CONFIGURATION:
        return recipient == RECIPIENT_DEVICE && setup->length == 0 && set_configuration(device, setup->value);
    case REQUEST_SET_INTERFACE:
        return recipient == RECIPIENT_INTERFACE && setup->length == 0 && setup->value == 0 &&
               setup->index < interface_count(device);
    default:
        return false;
    }
}

static enum systole_usb_result answer_control(struct systole_usb_device *device, const uint8_t *setup_bytes,
                                              uint8_t *data, size_t *actual) {
    struct setup setup = {
        .type = setup_bytes[0],
        .request = setup_bytes[1],
        .value = (uint16_t)(setup_bytes[2] | setup_bytes[3] << 8),
        .index = (uint16_t)(setup_bytes[4] | setup_bytes[5] << 8),
        .length = (uint16_t)(setup_bytes[6] | setup_bytes[7] << 8),
    };
    bool done = false;
    *actual = 0;
    switch (setup.type & 0x60) {
    case 0x00:
        done = standard_request(device, &setup, data, actual);
        break;
    case 0x20:
        done = class_request(device, &setup, data, actual);
        break;
    case 0x40:
        done = vendor_request(device, &setup, data, actual);
        break;
    default:
        break;
    }
    if (!done) {
        *actual = 0;
    }
    return done ? SYSTOLE_USB_DONE : SYSTOLE_USB_STALL;
}

// A block of firmware whose checksum will not be right.
static enum systole_usb_result answer_refusing(struct systole_usb_device *device, const uint8_t *setup,
                                               const uint8_t *data, size_t length, size_t *actual) {
    uint8_t block[SYSTOLE_USB_BLOCK_BYTES];
    (void)systole_faults_strike(device->trouble.faults, SYSTOLE_FAULT_CONTROL);
    memcpy(block, data, length);
    block[length - 1] ^= 1;
    return answer_control(device, setup, block, actual);
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
                                                          : answer_control(device, setup, data, actual);
    }
    if (result != SYSTOLE_USB_NAK || device->trouble.absent) {
        systole_faults_end(device->trouble.faults, SYSTOLE_FAULT_CONTROL);
    }
    return result;
}

// ---- Endpoints.

static bool open_endpoint(const struct systole_usb_device *device, uint8_t address, enum endpoint *endpoint) {
    *endpoint = find_endpoint(address);
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
                trouble->out_left = payload ? ((uint64_t)header.length + 7) & ~(uint64_t)7 : 0;
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
    if (result == SYSTOLE_USB_STALL || *actual == size) {
        systole_faults_end(device->trouble.faults, SYSTOLE_FAULT_OUT);
    }
    return result;
}

static void begin_frame(struct systole_usb_device *device) {
    struct systole_frame_header header;
    memcpy(&header, device->header, sizeof header);
    device->payload_left = ((uint64_t)header.length + 7) & ~(uint64_t)7;
    enum systole_fault_kind kind = systole_faults_begin(device->trouble.faults, SYSTOLE_FAULT_IN);
    if (kind == SYSTOLE_FAULT_CORRUPT || kind == SYSTOLE_FAULT_WRONG_TAG || kind == SYSTOLE_FAULT_LENGTH) {
        (void)systole_faults_strike(device->trouble.faults, SYSTOLE_FAULT_IN);
        header.magic ^= kind == SYSTOLE_FAULT_CORRUPT ? 0x10 : 0;
        header.tag ^= kind == SYSTOLE_FAULT_WRONG_TAG ? 1 : 0;
        header.length = kind == SYSTOLE_FAULT_LENGTH ? UINT32_MAX - 15 : header.length;
        memcpy(device->header, &header, sizeof header);
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
    enum endpoint endpoint = find_endpoint(address);
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
    device->configuration = 0;
    device->link_features = 0;
    memset(device->halted, 0, sizeof device->halted);
    systole_dfu_reset(&device->dfu);
    reset_accelerator(device);
}

bool systole_usb_device_reenumerates(struct systole_usb_device *device) {
    if (device->trouble.absent && now_ms() >= device->trouble.back_ms) {
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
    uint8_t all[2 * SYSTOLE_USB_DESCRIPTOR_LIMIT];
    size_t total = systole_usb_describe(device->application, device->target_id, SYSTOLE_USB_DESCRIPTOR_DEVICE, 0, all);
    total += systole_usb_describe(device->application, device->target_id, SYSTOLE_USB_DESCRIPTOR_CONFIGURATION, 0,
                                  all + total);
    total = total < size ? total : size;
    memcpy(bytes, all, total);
    return total;
}

struct systole_accelerator *systole_usb_accelerator(struct systole_usb_device *device) {
    return device->accelerator;
}
