// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The element-wise unit: quantised addition (TensorFlow Lite reference/integer_ops/add.h) and requantisation
// (reference/requantize.h), one word at a time, tile by tile, row by row.
#include "execute.h"

static int32_t lane_operand(const uint8_t *word, uint32_t lane, uint16_t flags, uint16_t broadcast,
                            uint16_t is_unsigned, int32_t zero_point) {
    return systole_operand(word[(flags & broadcast) != 0 ? 0 : lane], (flags & is_unsigned) != 0, zero_point);
}

static void compute(const struct systole_elementwise *e, uint16_t flags, uint32_t columns, const uint8_t *input,
                    const uint8_t *input2, uint8_t *output) {
    uint8_t result[SYSTOLE_MAX_COLUMNS]; // the output may be the input's word
    for (uint32_t c = 0; c < columns; c++) {
        int32_t value = lane_operand(input, c, flags, SYSTOLE_FLAG_INPUT_LANE_BROADCAST, SYSTOLE_FLAG_INPUT_UNSIGNED,
                                     e->input_zero_point);
        if (input2 != NULL) {
            int32_t value2 = lane_operand(input2, c, flags, SYSTOLE_FLAG_INPUT2_LANE_BROADCAST,
                                          SYSTOLE_FLAG_INPUT2_UNSIGNED, e->input2_zero_point);
            int32_t shifted = (int32_t)((uint32_t)value << e->left_shift);
            int32_t shifted2 = (int32_t)((uint32_t)value2 << e->left_shift);
            value = systole_wrapping_add(systole_requantise(shifted, e->input_multiplier, e->input_shift),
                                         systole_requantise(shifted2, e->input2_multiplier, e->input2_shift));
        }
        value = systole_requantise(value, e->output_multiplier, e->output_shift);
        result[c] = systole_output_byte(value, e->output_zero_point, e->clamp_min, e->clamp_max);
    }
    for (uint32_t c = 0; c < columns; c++) {
        output[c] = result[c];
    }
}

bool systole_execute_elementwise(struct systole_execution *execution) {
    const struct systole_elementwise *e = &execution->command->body.elementwise;
    bool is_add = execution->command->header.opcode == SYSTOLE_OPCODE_ADD;
    struct systole_place input_place = systole_execution_place(execution, e->input_address);
    struct systole_place input2_place = systole_execution_place(execution, e->input2_address);
    struct systole_place output_place = systole_execution_place(execution, e->output_address);
    for (uint32_t t = 0; t < e->tiles; t++) {
        for (uint32_t y = 0; y < e->height; y++) {
            uint32_t from = input_place.start + t * e->input_tile_stride + y * e->input_row_stride;
            uint32_t from2 = input2_place.start + t * e->input2_tile_stride + y * e->input2_row_stride;
            uint32_t to = output_place.start + t * e->output_tile_stride + y * e->output_row_stride;
            for (uint32_t x = 0; x < e->width; x++) {
                const uint8_t *input2 = NULL;
                const uint8_t *input =
                    systole_execution_read(execution, &input_place, from + x * e->input_pixel_stride);
                if (input != NULL && is_add) {
                    input2 = systole_execution_read(execution, &input2_place, from2 + x * e->input2_pixel_stride);
                }
                if (input == NULL || (is_add && input2 == NULL)) {
                    return false;
                }
                uint8_t *output = systole_execution_write(execution, &output_place, to + x * e->output_pixel_stride);
                if (output == NULL) {
                    return false;
                }
                compute(e, execution->command->header.flags, execution->target->columns, input, input2, output);
            }
        }
    }
    return true;
}
