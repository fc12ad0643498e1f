// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// One command on one memory: checks of fields, windows and parity, and the way to the units' arithmetic.
// Addresses are sums modulo 2^32; each access is compared with its window as hardware does it, word by word, which
// costs nothing beside the lanes' arithmetic.
#include <string.h>

#include "device.h"
#include "execute.h"

struct systole_place systole_execution_place(const struct systole_execution *execution, uint32_t address) {
    uint32_t region = address >> 28;
    struct systole_place place = {address & 0x0fffffffu, 0, 0};
    if (region < SYSTOLE_REGIONS) {
        place.base = execution->windows[region].base;
        place.words = execution->windows[region].words;
        place.start += place.base;
    }
    return place;
}

static bool reachable(struct systole_execution *execution, const struct systole_place *place, uint32_t address) {
    if (address - place->base >= place->words || address >= execution->memory_words) {
        execution->error = SYSTOLE_ERROR_REGION;
        execution->detail = address;
        return false;
    }
    return true;
}

const uint8_t *systole_execution_read(struct systole_execution *execution, const struct systole_place *place,
                                      uint32_t address) {
    if (!reachable(execution, place, address)) {
        return NULL;
    }
    if (execution->flipped != NULL && execution->flipped[address]) {
        execution->error = SYSTOLE_ERROR_PARITY;
        execution->detail = address;
        return NULL;
    }
    return execution->memory + (size_t)address * execution->target->columns;
}

uint8_t *systole_execution_write(struct systole_execution *execution, const struct systole_place *place,
                                 uint32_t address) {
    if (!reachable(execution, place, address)) {
        return NULL;
    }
    if (execution->flipped != NULL) {
        execution->flipped[address] = 0;
    }
    return execution->memory + (size_t)address * execution->target->columns;
}

static int32_t little_endian_32(const uint8_t *bytes) {
    return (int32_t)((uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
                     (uint32_t)bytes[3] << 24);
}

// Bits 5:0 of the shift's word, signed; its negation is cut to 5 bits, so that -32 shifts nothing.
static int32_t record_shift(int32_t word) {
    int32_t shift = ((word & 63) ^ 32) - 32;
    return shift == -32 ? 0 : shift;
}

bool systole_execution_read_record(struct systole_execution *execution, const struct systole_place *place,
                                   uint32_t address, struct systole_channel_record *record) {
    uint32_t columns = execution->target->columns;
    uint8_t bytes[SYSTOLE_RECORD_WORDS * SYSTOLE_MAX_COLUMNS];
    for (uint32_t i = 0; i < SYSTOLE_RECORD_WORDS; i++) {
        const uint8_t *word = systole_execution_read(execution, place, address + i);
        if (word == NULL) {
            return false;
        }
        memcpy(bytes + i * columns, word, columns);
    }
    for (uint32_t lane = 0; lane < columns; lane++) {
        record->bias[lane] = little_endian_32(bytes + 4 * lane);
        record->multiplier[lane] = little_endian_32(bytes + 4 * (columns + lane));
        record->shift[lane] = record_shift(little_endian_32(bytes + 4 * (2 * columns + lane)));
    }
    return true;
}

static int64_t field_value(const struct systole_command *command, const struct systole_field *field) {
    uint8_t bytes[SYSTOLE_COMMAND_BYTES];
    memcpy(bytes, command, sizeof bytes);
    uint64_t value = 0;
    for (uint32_t i = 0; i < field->bytes; i++) {
        value |= (uint64_t)bytes[field->offset + i] << (8 * i);
    }
    if (field->is_signed && field->bytes != 0 && (value >> (8 * field->bytes - 1)) != 0) {
        return (int64_t)value - ((int64_t)1 << (8 * field->bytes));
    }
    return (int64_t)value;
}

static bool fields_in_bounds(const struct systole_command *command, const struct systole_field *fields,
                             uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        int64_t value = field_value(command, &fields[i]);
        if (value < fields[i].min || value > fields[i].max) {
            return false;
        }
    }
    return true;
}

static bool conv_good(const struct systole_target *target, const struct systole_command *command) {
    const struct systole_window *w = &command->body.window;
    bool good = w->tile_rows > 0 && w->tile_rows <= target->rows && w->tile_rows % target->weight_port_rows == 0 &&
                w->block_rows > 0 && (uint32_t)w->block_rows * w->output_width <= target->accumulators;
    if ((command->header.flags & SYSTOLE_FLAG_PACKED) != 0) {
        good =
            good && w->segments > 0 && w->segment_bytes > 0 && (uint32_t)w->segments * w->segment_bytes <= w->tile_rows;
    }
    return good;
}

bool systole_command_fields_good(const struct systole_target *target, const struct systole_command *command) {
    const struct systole_opcode_description *opcode = systole_describe_opcode(command->header.opcode);
    if (opcode == NULL || command->header.core >= target->cores ||
        !fields_in_bounds(command, systole_header_fields, systole_header_field_count) ||
        !fields_in_bounds(command, systole_formats[opcode->format].fields, systole_formats[opcode->format].count)) {
        return false;
    }
    switch (command->header.opcode) {
    case SYSTOLE_OPCODE_CONV:
        return conv_good(target, command);
    case SYSTOLE_OPCODE_DEPTHWISE:
        return (uint32_t)command->body.window.kernel_height * command->body.window.kernel_width <= 256;
    default:
        return true;
    }
}

// Load and store: the words they name, in order.
static bool touch_transfer(struct systole_execution *execution) {
    const struct systole_transfer *transfer = &execution->command->body.transfer;
    struct systole_place place = systole_execution_place(execution, transfer->address);
    for (uint32_t i = 0; i < transfer->words; i++) {
        if (!reachable(execution, &place, place.start + i)) {
            return false;
        }
    }
    return true;
}

bool systole_execution_run(struct systole_execution *execution) {
    if (!systole_command_fields_good(execution->target, execution->command)) {
        bool known = systole_describe_opcode(execution->command->header.opcode) != NULL;
        execution->error = known ? SYSTOLE_ERROR_FIELD : SYSTOLE_ERROR_OPCODE;
        execution->detail = execution->command->header.opcode;
        return false;
    }
    switch (execution->command->header.opcode) {
    case SYSTOLE_OPCODE_LOAD:
    case SYSTOLE_OPCODE_STORE:
        return touch_transfer(execution);
    case SYSTOLE_OPCODE_CONV:
        return systole_execute_conv(execution);
    case SYSTOLE_OPCODE_DEPTHWISE:
    case SYSTOLE_OPCODE_MAX_POOL:
    case SYSTOLE_OPCODE_AVERAGE_POOL:
    case SYSTOLE_OPCODE_SUM_POOL:
    case SYSTOLE_OPCODE_MIN_POOL:
        return systole_execute_window(execution);
    case SYSTOLE_OPCODE_ADD:
    case SYSTOLE_OPCODE_REQUANTISE:
    case SYSTOLE_OPCODE_SUB:
    case SYSTOLE_OPCODE_MUL:
    case SYSTOLE_OPCODE_MAXIMUM:
    case SYSTOLE_OPCODE_MINIMUM:
    case SYSTOLE_OPCODE_SQUARED_DIFFERENCE:
    case SYSTOLE_OPCODE_PRELU:
    case SYSTOLE_OPCODE_TABLE:
        return systole_execute_elementwise(execution);
    default:
        return true; // nop
    }
}

bool systole_execute_command(const struct systole_target *target, const struct systole_command *command,
                             const struct systole_region_window windows[SYSTOLE_REGIONS], uint8_t *memory,
                             uint32_t *error, uint32_t *detail) {
    struct systole_execution execution = {
        .target = target,
        .command = command,
        .windows = windows,
        .memory = memory,
        .memory_words = target->scratchpad_bytes / target->columns,
    };
    bool done = systole_execution_run(&execution);
    if (!done) {
        *error = execution.error;
        *detail = execution.detail;
    }
    return done;
}
