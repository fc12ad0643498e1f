// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Requests on endpoint 0: USB's own, firmware download and registers; and the change of personality that follows from
// some of them. Each request answers false to stall, or true with *actual bytes moved.
#include <string.h>

#include "target.h"
#include "usb_controller.h"
#include "usb_descriptors.h"
#include "usb_setup.h"

enum {
    FEATURE_ENDPOINT_HALT = 0,
    FEATURE_FUNCTION_SUSPEND = 0,
    FEATURE_U1_ENABLE = 48,
    FEATURE_U2_ENABLE = 49,
    FEATURE_LTM_ENABLE = 50,
    RECIPIENT_DEVICE = 0,
    RECIPIENT_INTERFACE = 1,
    RECIPIENT_ENDPOINT = 2,
};

struct setup {
    uint8_t type, request;
    uint16_t value, index, length;
};

static const uint8_t addresses[ENDPOINTS] = {SYSTOLE_USB_ENDPOINT_BULK_OUT, SYSTOLE_USB_ENDPOINT_BULK_IN,
                                             SYSTOLE_USB_ENDPOINT_EVENT_IN, SYSTOLE_USB_ENDPOINT_INTERRUPT_IN};

enum endpoint systole_usb_find_endpoint(uint16_t address) {
    enum endpoint endpoint = BULK_OUT;
    while (endpoint < ENDPOINTS && addresses[endpoint] != address) {
        endpoint++;
    }
    return endpoint;
}

// Becomes the other personality, as a device that was plugged in again.
static void reenumerate(struct systole_usb_device *device, bool application) {
    device->application = application;
    device->reenumerates = true;
    systole_usb_begin_anew(device);
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
    functions->write_register(device->accelerator, SYSTOLE_REGISTER_CONTROL,
                              SYSTOLE_CONTROL_START | SYSTOLE_CONTROL_INTERRUPT_ENABLE);
}

void systole_usb_stop_firmware(struct systole_usb_device *device) {
    device->accelerator->functions->write_register(device->accelerator, SYSTOLE_REGISTER_CONTROL, 0);
    reenumerate(device, false);
}

static bool answer(const struct setup *setup, uint8_t *data, size_t *actual, const void *bytes, size_t size) {
    *actual = size < setup->length ? size : setup->length;
    memcpy(data, bytes, *actual);
    return true;
}

static const struct systole_register_description *find_register(uint32_t address) {
    for (uint32_t i = 0; i < systole_register_count; i++) {
        const struct systole_register_description *found = &systole_registers[i];
        if (address >= found->offset && address < found->offset + 8 * found->count) {
            return address % 8 == 0 ? found : NULL;
        }
    }
    return NULL;
}

static uint64_t with_stuck_bits(struct systole_usb_device *device, uint32_t address, uint64_t value) {
    struct systole_accelerator *accelerator = device->accelerator;
    uint32_t data = address - SYSTOLE_REGISTER_DEBUG_DATA;
    if (address >= SYSTOLE_REGISTER_DEBUG_DATA && data < device->columns) { // a piece of a word of memory
        uint64_t word = accelerator->functions->read_register(accelerator, SYSTOLE_REGISTER_DEBUG_ADDRESS);
        uint8_t bytes[sizeof value];
        memcpy(bytes, &value, sizeof bytes);
        systole_faults_stuck_memory(device->trouble.faults, device->columns, (uint32_t)word, data, bytes, sizeof bytes);
        memcpy(&value, bytes, sizeof value);
    }
    return systole_faults_stuck_register(device->trouble.faults, address, value);
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
        if (device->trouble.faults != NULL) {
            value = with_stuck_bits(device, address, value);
        }
        return answer(setup, data, actual, &value, sizeof value);
    }
    case SYSTOLE_USB_REQUEST_WRITE_REGISTER: {
        uint64_t value = 0;
        if (in || description == NULL || description->access == SYSTOLE_ACCESS_RO ||
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
        systole_usb_reset_accelerator(device);
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
        systole_usb_stop_firmware(device);
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
           (device->application && device->configuration != 0 && systole_usb_find_endpoint(address) != ENDPOINTS);
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
            device->halted[systole_usb_find_endpoint(setup->index)] = set;
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
        status[0] = (setup->index & 0x7f) != 0 && device->halted[systole_usb_find_endpoint(setup->index)];
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
        case SYSTOLE_USB_GET_STATUS:
            return get_status(device, setup, data, actual);
        case SYSTOLE_USB_GET_DESCRIPTOR: {
            struct systole_usb_identity identity = {device->target_id, device->number};
            size_t size = systole_usb_describe(device->application, &identity, (uint8_t)(setup->value >> 8),
                                               (uint8_t)setup->value, bytes);
            return recipient <= RECIPIENT_INTERFACE && size != 0 && answer(setup, data, actual, bytes, size);
        }
        case SYSTOLE_USB_GET_CONFIGURATION:
            return recipient == RECIPIENT_DEVICE && answer(setup, data, actual, &device->configuration, 1);
        case SYSTOLE_USB_GET_INTERFACE:
            bytes[0] = 0;
            return recipient == RECIPIENT_INTERFACE && setup->index < interface_count(device) &&
                   answer(setup, data, actual, bytes, 1);
        default:
            return false;
        }
    }
    *actual = setup->length;
    switch (setup->request) {
    case SYSTOLE_USB_CLEAR_FEATURE:
    case SYSTOLE_USB_SET_FEATURE:
        return setup->length == 0 && set_feature(device, setup, setup->request == SYSTOLE_USB_SET_FEATURE);
    case SYSTOLE_USB_SET_ADDRESS:
    case SYSTOLE_USB_SET_ISOCH_DELAY:
        return recipient == RECIPIENT_DEVICE && setup->length == 0;
    case SYSTOLE_USB_SET_SEL:
        return recipient == RECIPIENT_DEVICE && setup->length == 6;
    case SYSTOLE_USB_SET_CONFIGURATION:
        return recipient == RECIPIENT_DEVICE && setup->length == 0 && set_configuration(device, setup->value);
    case SYSTOLE_USB_SET_INTERFACE:
        return recipient == RECIPIENT_INTERFACE && setup->length == 0 && setup->value == 0 &&
               setup->index < interface_count(device);
    default:
        return false;
    }
}

enum systole_usb_result systole_usb_answer_control(struct systole_usb_device *device, const uint8_t *setup_bytes,
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
