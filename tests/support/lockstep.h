// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A random program on an accelerator, followed command by command: what retires is executed once more by
// systole_execute_command on a memory of one's own, and the words it wrote are compared at that very cycle.
#ifndef SYSTOLE_LOCKSTEP_H
#define SYSTOLE_LOCKSTEP_H

#include "device.h"
#include "random_program.h"

struct lockstep {
    const struct systole_target *target;
    const struct random_program *program;
    struct systole_accelerator *accelerator;
    uint8_t *memory;       // what it should be
    uint8_t *expected_out; // store frames that should have come
    uint8_t *out;          // that have come
    uint32_t out_size, expected_out_size;
    uint32_t next_stream, retired;
    uint64_t cycles;
    char failure[256]; // empty: equal
};

// Uploads the program, runs it, compares: at each retirement (only if the program is strict), stores, and at the end
// the image. The accelerator is started and idle. Returns failure[0] == 0.
bool lockstep_run(struct lockstep *lockstep, const struct systole_target *target, const struct random_program *program,
                  struct systole_accelerator *accelerator, bool is_strict);
void lockstep_free(struct lockstep *lockstep);

#endif
