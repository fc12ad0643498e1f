// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// One command's execution, shared by the units of the functional model: the memory it sees and its first error.
// docs/architecture.md, "To the bit", is what these functions compute.
#ifndef SYSTOLE_EXECUTE_H
#define SYSTOLE_EXECUTE_H

#include <stdbool.h>

#include "fixed_point.h"
#include "systole_spec.h"

#define SYSTOLE_MAX_COLUMNS 64u
#define SYSTOLE_RECORD_WORDS 12u

struct systole_execution {
    const struct systole_target *target;
    const struct systole_command *command;
    const struct systole_region_window *windows; // SYSTOLE_REGIONS
    uint8_t *memory;
    uint8_t *flipped; // one byte a word, not 0: stored with wrong parity; NULL: memory without parity
    uint32_t memory_words;
    uint32_t error, detail;
};

// An address of a command resolved: where it begins and what it may touch, in absolute words.
struct systole_place {
    uint32_t start, base, words;
};
struct systole_place systole_execution_place(const struct systole_execution *execution, uint32_t address);

// The word for reading or writing; NULL when it is outside the window or its parity is wrong (the error is set).
const uint8_t *systole_execution_read(struct systole_execution *execution, const struct systole_place *place,
                                      uint32_t address);
uint8_t *systole_execution_write(struct systole_execution *execution, const struct systole_place *place,
                                 uint32_t address);

// What fetch checks of a command beyond opcode and unit: bounds of every field and what holds between fields.
bool systole_command_fields_good(const struct systole_target *target, const struct systole_command *command);

// Executes any command but load and store, which only touch windows here. False: error and detail are set.
bool systole_execution_run(struct systole_execution *execution);
bool systole_execute_conv(struct systole_execution *execution);
bool systole_execute_window(struct systole_execution *execution); // depthwise and pooling
bool systole_execute_elementwise(struct systole_execution *execution);

// A channel record as the requantisers hold it.
struct systole_channel_record {
    int32_t bias[SYSTOLE_MAX_COLUMNS], multiplier[SYSTOLE_MAX_COLUMNS], shift[SYSTOLE_MAX_COLUMNS];
};
bool systole_execution_read_record(struct systole_execution *execution, const struct systole_place *place,
                                   uint32_t address, struct systole_channel_record *record);

// Operands are 9 bits, two's complement; a difference beyond them wraps.
static inline int32_t systole_operand(uint8_t byte, bool is_unsigned, int32_t zero_point) {
    int32_t difference = (is_unsigned ? (int32_t)byte : (int32_t)(int8_t)byte) - zero_point;
    return ((difference + 256) & 511) - 256;
}

// What follows every rescaling: zero point, clamp, the low 8 bits.
static inline uint8_t systole_output_byte(int32_t value, int32_t zero_point, int32_t low, int32_t high) {
    return (uint8_t)systole_clamp(systole_wrapping_add(value, zero_point), low, high);
}

#endif
