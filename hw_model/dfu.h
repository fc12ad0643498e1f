// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The boot personality's firmware upgrade: the state machine of Device Firmware Upgrade 1.1 (USB-IF, 2004), appendix A,
// and the checks of a firmware image.
#ifndef SYSTOLE_DFU_H
#define SYSTOLE_DFU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum systole_dfu_request {
    SYSTOLE_DFU_DETACH = 0,
    SYSTOLE_DFU_DNLOAD = 1,
    SYSTOLE_DFU_UPLOAD = 2,
    SYSTOLE_DFU_GETSTATUS = 3,
    SYSTOLE_DFU_CLRSTATUS = 4,
    SYSTOLE_DFU_GETSTATE = 5,
    SYSTOLE_DFU_ABORT = 6,
};

enum systole_dfu_state {
    SYSTOLE_DFU_STATE_APP_IDLE = 0,
    SYSTOLE_DFU_STATE_IDLE = 2,
    SYSTOLE_DFU_STATE_DNLOAD_SYNC = 3,
    SYSTOLE_DFU_STATE_DNLOAD_IDLE = 5,
    SYSTOLE_DFU_STATE_MANIFEST_SYNC = 6,
    SYSTOLE_DFU_STATE_MANIFEST = 7,
    SYSTOLE_DFU_STATE_ERROR = 10,
};

enum systole_dfu_status {
    SYSTOLE_DFU_STATUS_OK = 0x00,
    SYSTOLE_DFU_STATUS_TARGET = 0x01,   // for another target
    SYSTOLE_DFU_STATUS_FILE = 0x02,     // not a firmware image, or one of wrong length
    SYSTOLE_DFU_STATUS_VERIFY = 0x07,   // wrong CRC
    SYSTOLE_DFU_STATUS_ADDRESS = 0x08,  // longer than the memory for it, or blocks out of order
    SYSTOLE_DFU_STATUS_NOTDONE = 0x09,  // ended before all of it was there
    SYSTOLE_DFU_STATUS_FIRMWARE = 0x0a, // a version or a table that this device cannot run
    SYSTOLE_DFU_STATUS_STALLED = 0x0f,  // a request that the state does not allow
};

enum { SYSTOLE_DFU_OPCODES = 256, SYSTOLE_DFU_IMAGE_LIMIT = 4096 };

struct systole_dfu {
    uint8_t state, status;
    uint16_t next_block;
    size_t size;
    uint8_t image[SYSTOLE_DFU_IMAGE_LIMIT];
};

void systole_dfu_reset(struct systole_dfu *dfu);

// A class request on the DFU interface in DFU mode. `data`: length bytes in or out. False: stall. When a good image has
// been manifested, *manifested is set: its opcode table is at systole_dfu_table.
bool systole_dfu_request(struct systole_dfu *dfu, uint32_t target_id, uint8_t request, uint16_t value, uint8_t *data,
                         uint16_t length, size_t *actual, bool *manifested);
const uint8_t *systole_dfu_table(const struct systole_dfu *dfu);

// What is wrong with an image; SYSTOLE_DFU_STATUS_OK when nothing is.
enum systole_dfu_status systole_dfu_check(const uint8_t *image, size_t size, uint32_t target_id);

#endif
