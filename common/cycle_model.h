// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// One cycle model for the compiler's estimates and the functional model's clock. Its unit timings follow rtl/; what it
// predicts is compared with what RTL measures by a test.
#ifndef SYSTOLE_CYCLE_MODEL_H
#define SYSTOLE_CYCLE_MODEL_H

#include "systole_spec.h"

// Cycles of one command on its unit when nothing disturbs it and no two of its requests meet in a bank.
struct systole_command_cycles {
    uint64_t occupancy; // until the unit can begin the next command
    uint64_t latency;   // until the command retires; at least occupancy
};
struct systole_command_cycles systole_command_cycles(const struct systole_target *target,
                                                     const struct systole_command *command);

// Replays a program's in-order queues and tokens. `start` and `end` (each `count` long, may be NULL) receive the cycle
// at which a command begins and retires; returns the total, doorbell to run_complete. `busy` etc. per unit and kind
// may be NULL. Commands must have passed systole_program_verify.
uint64_t systole_schedule_cycles(const struct systole_target *target, const struct systole_command *commands,
                                 uint32_t count, uint64_t *start, uint64_t *end,
                                 uint64_t counters[SYSTOLE_UNITS][SYSTOLE_COUNTER_KINDS]);

#endif
