// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "dfu.h"

#include <string.h>

#include "systole_spec.h"
#include "target.h"
#include "usb_descriptors.h"

void systole_dfu_reset(struct systole_dfu *dfu) {
    memset(dfu, 0, sizeof *dfu);
    dfu->state = SYSTOLE_DFU_STATE_IDLE;
}

enum systole_dfu_status systole_dfu_check(const uint8_t *image, size_t size, uint32_t target_id) {
    struct systole_firmware_header header;
    if (size < sizeof header) {
        return SYSTOLE_DFU_STATUS_NOTDONE;
    }
    memcpy(&header, image, sizeof header);
    if (header.magic != SYSTOLE_FIRMWARE_MAGIC || header.reserved != 0) {
        return SYSTOLE_DFU_STATUS_FILE;
    }
    if (header.version >> 16 != SYSTOLE_USB_FIRMWARE_VERSION >> 16) {
        return SYSTOLE_DFU_STATUS_FIRMWARE;
    }
    if (header.target_id != target_id) {
        return SYSTOLE_DFU_STATUS_TARGET;
    }
    if (header.length != SYSTOLE_DFU_OPCODES) {
        return SYSTOLE_DFU_STATUS_FILE;
    }
    if (size < sizeof header + SYSTOLE_DFU_OPCODES) {
        return SYSTOLE_DFU_STATUS_NOTDONE;
    }
    if (size > sizeof header + SYSTOLE_DFU_OPCODES) {
        return SYSTOLE_DFU_STATUS_FILE;
    }
    const uint8_t *table = image + sizeof header;
    if (systole_crc32(0, table, SYSTOLE_DFU_OPCODES) != header.crc) {
        return SYSTOLE_DFU_STATUS_VERIFY;
    }
    // Bits 6:4 mean nothing and are zero; opcode 0 is refused everywhere; units are those that exist.
    for (uint32_t opcode = 0; opcode < SYSTOLE_DFU_OPCODES; opcode++) {
        uint8_t entry = table[opcode], unit = entry & 15;
        bool valid = (entry & 0x80) != 0;
        if ((entry & 0x70) != 0 || (!valid && entry != 0) || (valid && opcode == 0) ||
            (valid && unit >= SYSTOLE_UNITS && unit != SYSTOLE_UNIT_ANY)) {
            return SYSTOLE_DFU_STATUS_FIRMWARE;
        }
    }
    return SYSTOLE_DFU_STATUS_OK;
}

const uint8_t *systole_dfu_table(const struct systole_dfu *dfu) {
    return dfu->image + sizeof(struct systole_firmware_header);
}

static void fail(struct systole_dfu *dfu, enum systole_dfu_status status) {
    dfu->state = SYSTOLE_DFU_STATE_ERROR;
    dfu->status = (uint8_t)status;
}

static bool download(struct systole_dfu *dfu, uint16_t block, const uint8_t *data, uint16_t length) {
    bool idle = dfu->state == SYSTOLE_DFU_STATE_IDLE;
    if ((!idle && dfu->state != SYSTOLE_DFU_STATE_DNLOAD_IDLE) || (idle && length == 0) ||
        length > SYSTOLE_USB_BLOCK_BYTES) {
        fail(dfu, SYSTOLE_DFU_STATUS_STALLED);
        return false;
    }
    if (idle) {
        dfu->size = 0;
        dfu->next_block = block;
    }
    if (length == 0) {
        dfu->state = SYSTOLE_DFU_STATE_MANIFEST_SYNC;
        return true;
    }
    dfu->state = SYSTOLE_DFU_STATE_DNLOAD_SYNC;
    if (block != dfu->next_block || dfu->size + length > sizeof dfu->image) {
        fail(dfu, SYSTOLE_DFU_STATUS_ADDRESS); // told by the GETSTATUS that follows
        return true;
    }
    memcpy(dfu->image + dfu->size, data, length);
    dfu->size += length;
    dfu->next_block++;
    return true;
}

static void get_status(struct systole_dfu *dfu, uint32_t target_id, uint8_t answer[6], bool *manifested) {
    if (dfu->state == SYSTOLE_DFU_STATE_DNLOAD_SYNC) {
        dfu->state = SYSTOLE_DFU_STATE_DNLOAD_IDLE;
    } else if (dfu->state == SYSTOLE_DFU_STATE_MANIFEST_SYNC) {
        enum systole_dfu_status found = systole_dfu_check(dfu->image, dfu->size, target_id);
        if (found != SYSTOLE_DFU_STATUS_OK) {
            fail(dfu, found);
        } else {
            dfu->state = SYSTOLE_DFU_STATE_MANIFEST;
            *manifested = true;
        }
    }
    memset(answer, 0, 6);
    answer[0] = dfu->status;
    answer[1] = *manifested ? 1 : 0; // milliseconds until the next GETSTATUS, 24 bits
    answer[4] = dfu->state;
}

bool systole_dfu_request(struct systole_dfu *dfu, uint32_t target_id, uint8_t request, uint16_t value, uint8_t *data,
                         uint16_t length, size_t *actual, bool *manifested) {
    uint8_t answer[6];
    size_t size = 0;
    switch (request) {
    case SYSTOLE_DFU_DNLOAD:
        *actual = length;
        return download(dfu, value, data, length);
    case SYSTOLE_DFU_GETSTATUS:
        get_status(dfu, target_id, answer, manifested);
        size = sizeof answer;
        break;
    case SYSTOLE_DFU_GETSTATE:
        answer[0] = dfu->state;
        size = 1;
        break;
    case SYSTOLE_DFU_CLRSTATUS:
        if (dfu->state != SYSTOLE_DFU_STATE_ERROR) {
            fail(dfu, SYSTOLE_DFU_STATUS_STALLED);
            return false;
        }
        systole_dfu_reset(dfu);
        break;
    case SYSTOLE_DFU_ABORT:
        if (dfu->state == SYSTOLE_DFU_STATE_ERROR) {
            return false;
        }
        systole_dfu_reset(dfu);
        break;
    default: // there is nothing to upload
        fail(dfu, SYSTOLE_DFU_STATUS_STALLED);
        return false;
    }
    *actual = size < length ? size : length;
    memcpy(data, answer, *actual);
    return true;
}
