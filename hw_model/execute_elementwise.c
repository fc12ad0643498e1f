// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The element-wise unit: arithmetic on one or two maps (TensorFlow Lite reference/integer_ops/add.h, mul.h,
// reference/prelu.h, squared_difference.cc and others), requantisation (reference/requantize.h) and tables, one word at
// a time, tile by tile, row by row.
#include "execute.h"
#include "program/command_footprint.h"

#define TABLE_BYTES 256u

static int32_t lane_operand(const uint8_t *word, uint32_t lane, uint16_t flags, uint16_t broadcast,
                            uint16_t is_unsigned, int32_t zero_point) {
    return systole_operand(word[(flags & broadcast) != 0 ? 0 : lane], (flags & is_unsigned) != 0, zero_point);
}

static int32_t square(int32_t difference) {
    int64_t low = ((difference & 0x3ffff) ^ 0x20000) - 0x20000; // 18 bits, signed
    return (int32_t)(uint32_t)(uint64_t)(low * low);
}

// What of two operands goes into requantisation.
static int32_t combine(const struct systole_elementwise *e, uint8_t opcode, int32_t a, int32_t b) {
    if (opcode == SYSTOLE_OPCODE_MUL) {
        return a * b;
    }
    if (opcode == SYSTOLE_OPCODE_PRELU) {
        return a < 0 ? systole_requantise(a * b, e->input2_multiplier, e->input2_shift)
                     : systole_requantise(a, e->input_multiplier, e->input_shift);
    }
    int32_t first = systole_requantise((int32_t)((uint32_t)a << e->left_shift), e->input_multiplier, e->input_shift);
    int32_t second = systole_requantise((int32_t)((uint32_t)b << e->left_shift), e->input2_multiplier, e->input2_shift);
    int32_t difference = (int32_t)((uint32_t)first - (uint32_t)second);
    switch (opcode) {
    case SYSTOLE_OPCODE_SUB:
        return difference;
    case SYSTOLE_OPCODE_MAXIMUM:
        return first > second ? first : second;
    case SYSTOLE_OPCODE_MINIMUM:
        return first < second ? first : second;
    case SYSTOLE_OPCODE_SQUARED_DIFFERENCE:
        return square(difference);
    default:
        return systole_wrapping_add(first, second);
    }
}

static void compute(const struct systole_command *command, uint32_t columns, const uint8_t *input,
                    const uint8_t *input2, const uint8_t *table, uint8_t *output) {
    const struct systole_elementwise *e = &command->body.elementwise;
    uint16_t flags = command->header.flags;
    uint8_t result[SYSTOLE_MAX_COLUMNS]; // the output may be the input's word
    for (uint32_t c = 0; c < columns; c++) {
        if (command->header.opcode == SYSTOLE_OPCODE_TABLE) {
            result[c] = table[input[(flags & SYSTOLE_FLAG_INPUT_LANE_BROADCAST) != 0 ? 0 : c]];
            continue;
        }
        int32_t value = lane_operand(input, c, flags, SYSTOLE_FLAG_INPUT_LANE_BROADCAST, SYSTOLE_FLAG_INPUT_UNSIGNED,
                                     e->input_zero_point);
        if (input2 != NULL) {
            int32_t value2 = lane_operand(input2, c, flags, SYSTOLE_FLAG_INPUT2_LANE_BROADCAST,
                                          SYSTOLE_FLAG_INPUT2_UNSIGNED, e->input2_zero_point);
            value = combine(e, command->header.opcode, value, value2);
        }
        value = systole_requantise(value, e->output_multiplier, e->output_shift);
        result[c] = systole_output_byte(value, e->output_zero_point, e->clamp_min, e->clamp_max);
    }
    for (uint32_t c = 0; c < columns; c++) {
        output[c] = result[c];
    }
}

static bool read_table(struct systole_execution *execution, const struct systole_place *place,
                       uint8_t table[TABLE_BYTES]) {
    uint32_t columns = execution->target->columns;
    for (uint32_t i = 0; i < TABLE_BYTES / columns; i++) {
        const uint8_t *word = systole_execution_read(execution, place, place->start + i);
        if (word == NULL) {
            return false;
        }
        for (uint32_t c = 0; c < columns; c++) {
            table[i * columns + c] = word[c];
        }
    }
    return true;
}

bool systole_execute_elementwise(struct systole_execution *execution) {
    const struct systole_command *command = execution->command;
    const struct systole_elementwise *e = &command->body.elementwise;
    bool has_second = systole_opcode_has_second_input(command->header.opcode);
    struct systole_place input_place = systole_execution_place(execution, e->input_address);
    struct systole_place input2_place = systole_execution_place(execution, e->input2_address);
    struct systole_place output_place = systole_execution_place(execution, e->output_address);
    uint8_t table[TABLE_BYTES] = {0};
    if (command->header.opcode == SYSTOLE_OPCODE_TABLE && !read_table(execution, &input2_place, table)) {
        return false;
    }
    for (uint32_t t = 0; t < e->tiles; t++) {
        for (uint32_t y = 0; y < e->height; y++) {
            uint32_t from = input_place.start + t * e->input_tile_stride + y * e->input_row_stride;
            uint32_t from2 = input2_place.start + t * e->input2_tile_stride + y * e->input2_row_stride;
            uint32_t to = output_place.start + t * e->output_tile_stride + y * e->output_row_stride;
            for (uint32_t x = 0; x < e->width; x++) {
                const uint8_t *input2 = NULL;
                const uint8_t *input =
                    systole_execution_read(execution, &input_place, from + x * e->input_pixel_stride);
                if (input != NULL && has_second) {
                    input2 = systole_execution_read(execution, &input2_place, from2 + x * e->input2_pixel_stride);
                }
                if (input == NULL || (has_second && input2 == NULL)) {
                    return false;
                }
                uint8_t *output = systole_execution_write(execution, &output_place, to + x * e->output_pixel_stride);
                if (output == NULL) {
                    return false;
                }
                compute(command, execution->target->columns, input, input2, table, output);
            }
        }
    }
    return true;
}
