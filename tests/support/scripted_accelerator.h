// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// An accelerator without arithmetic: a register file, bytes that were pushed, bytes and events to be pulled. Tests of
// the USB side look into it.
#ifndef SYSTOLE_SCRIPTED_ACCELERATOR_H
#define SYSTOLE_SCRIPTED_ACCELERATOR_H

#include "device.h"

struct scripted_accelerator {
    struct systole_accelerator accelerator; // first
    uint64_t registers[256];                // by address / 8
    uint8_t pushed[65536], pulled[65536];
    size_t pushed_size, push_room, pulled_size, pulled_given;
    struct systole_event events[8];
    uint32_t event_count, event_given;
    bool interrupt;
    uint32_t resets, destroyed;
    uint64_t cycle;
    uint32_t busy_slices;        // runs until it is idle
    uint32_t *destroyed_counter; // may be NULL
};

struct scripted_accelerator *scripted_accelerator_create(const struct systole_target *target);

#endif
