// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "command_checker.h"

#include <stdarg.h>
#include <stdio.h>

#include "command_footprint.h"

#define LARGEST_DEPTHWISE_KERNEL 256u
#define SCRATCHPAD_REGIONS 5u

int64_t systole_field_value(const struct systole_command *command, const struct systole_field *field) {
    const uint8_t *bytes = (const uint8_t *)command + field->offset;
    uint32_t value = 0;
    for (uint32_t i = 0; i < field->bytes; i++) {
        value |= (uint32_t)bytes[i] << (8 * i);
    }
    if (field->is_signed) {
        return field->bytes == 1 ? (int8_t)value : field->bytes == 2 ? (int16_t)value : (int32_t)value;
    }
    return value;
}

struct reason {
    char *text;
    size_t size;
};

static bool refuse(const struct reason *reason, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool refuse(const struct reason *reason, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(reason->text, reason->size, format, arguments);
    va_end(arguments);
    return false;
}

static bool check_fields(const struct systole_command *command, const struct systole_field *fields, uint32_t count,
                         const struct reason *reason) {
    for (uint32_t i = 0; i < count; i++) {
        int64_t value = systole_field_value(command, &fields[i]);
        if (value < fields[i].min || value > fields[i].max) {
            return refuse(reason, "field %s is %lld, must be %lld to %lld", fields[i].name, (long long)value,
                          (long long)fields[i].min, (long long)fields[i].max);
        }
        if (fields[i].is_address && (uint64_t)value >> 28 >= SCRATCHPAD_REGIONS) {
            return refuse(reason, "field %s lies in region %s, which is not in the scratchpad", fields[i].name,
                          systole_region_name((uint32_t)value >> 28));
        }
    }
    return true;
}

// Operands are 9 bits: a zero point must be a value of the byte it is subtracted from or added to.
static bool check_byte(const char *name, int32_t value, bool is_unsigned, const struct reason *reason) {
    int32_t low = is_unsigned ? 0 : -128;
    int32_t high = is_unsigned ? 255 : 127;
    if (value < low || value > high) {
        return refuse(reason, "field %s is %d, its bytes hold %d to %d", name, value, low, high);
    }
    return true;
}

static bool check_output(const struct systole_command *command, int32_t zero_point, int32_t clamp_min,
                         int32_t clamp_max, const struct reason *reason) {
    bool is_unsigned = (command->header.flags & SYSTOLE_FLAG_OUTPUT_UNSIGNED) != 0;
    if (clamp_min > clamp_max) {
        return refuse(reason, "field clamp_min is %d, above clamp_max %d", clamp_min, clamp_max);
    }
    return check_byte("output_zero_point", zero_point, is_unsigned, reason) &&
           check_byte("clamp_min", clamp_min, is_unsigned, reason) &&
           check_byte("clamp_max", clamp_max, is_unsigned, reason);
}

static bool check_conv(const struct systole_target *target, const struct systole_command *command,
                       const struct reason *reason) {
    const struct systole_window *w = &command->body.window;
    bool packed = (command->header.flags & SYSTOLE_FLAG_PACKED) != 0;
    if (w->block_rows == 0 || (uint32_t)w->block_rows * w->output_width > target->accumulators) {
        return refuse(reason, "field block_rows is %u, with output_width %u beyond the %u accumulators", w->block_rows,
                      w->output_width, target->accumulators);
    }
    if (w->tile_rows == 0 || w->tile_rows > target->rows || w->tile_rows % target->weight_port_rows != 0) {
        return refuse(reason, "field tile_rows is %u, must be a multiple of %u up to %u", w->tile_rows,
                      target->weight_port_rows, target->rows);
    }
    if (packed) {
        if (w->segments == 0 || w->segment_bytes == 0 || (uint32_t)w->segments * w->segment_bytes > target->rows) {
            return refuse(reason, "fields segments and segment_bytes are %u x %u, must fill 1 to %u lanes", w->segments,
                          w->segment_bytes, target->rows);
        }
        if (w->dilation_x != 1 || w->input_tiles != 1) {
            return refuse(reason, "fields dilation_x and input_tiles are %u and %u, must be 1 when packed",
                          w->dilation_x, w->input_tiles);
        }
    } else if (w->segments != 0 || w->segment_bytes != 0) {
        return refuse(reason, "fields segments and segment_bytes are %u and %u, must be 0 unless packed", w->segments,
                      w->segment_bytes);
    }
    return true;
}

static bool check_window(const struct systole_target *target, const struct systole_command *command,
                         const struct reason *reason) {
    const struct systole_window *w = &command->body.window;
    uint32_t opcode = command->header.opcode;
    uint32_t flags = command->header.flags;
    bool has_parameters = opcode == SYSTOLE_OPCODE_CONV || opcode == SYSTOLE_OPCODE_DEPTHWISE;
    if (has_parameters && (w->parameter_address & 0x0FFFFFFFu) % target->weight_port_rows != 0) {
        return refuse(reason, "field parameter_address is word %u, must be a multiple of %u",
                      w->parameter_address & 0x0FFFFFFFu, target->weight_port_rows);
    }
    if (opcode == SYSTOLE_OPCODE_CONV) {
        if (!check_conv(target, command, reason)) {
            return false;
        }
    } else {
        if ((flags & SYSTOLE_FLAG_PACKED) != 0) {
            return refuse(reason, "flag packed is set, only conv knows it");
        }
        if (w->block_rows != 0 || w->tile_rows != 0 || w->segments != 0 || w->segment_bytes != 0) {
            return refuse(reason, "fields block_rows, tile_rows, segments and segment_bytes must be 0 except in conv");
        }
    }
    if (opcode == SYSTOLE_OPCODE_DEPTHWISE && (uint32_t)w->kernel_height * w->kernel_width > LARGEST_DEPTHWISE_KERNEL) {
        return refuse(reason, "fields kernel_height and kernel_width are %u x %u, at most %u taps are held",
                      w->kernel_height, w->kernel_width, LARGEST_DEPTHWISE_KERNEL);
    }
    bool subtracts = has_parameters || opcode == SYSTOLE_OPCODE_SUM_POOL;
    if (subtracts &&
        !check_byte("input_zero_point", w->input_zero_point, (flags & SYSTOLE_FLAG_INPUT_UNSIGNED) != 0, reason)) {
        return false;
    }
    if (has_parameters &&
        !check_byte("weight_zero_point", w->weight_zero_point, (flags & SYSTOLE_FLAG_WEIGHT_UNSIGNED) != 0, reason)) {
        return false;
    }
    return check_output(command, w->output_zero_point, w->clamp_min, w->clamp_max, reason);
}

static bool check_elementwise(const struct systole_command *command, const struct reason *reason) {
    const struct systole_elementwise *e = &command->body.elementwise;
    uint32_t flags = command->header.flags;
    if ((flags & SYSTOLE_FLAG_PACKED) != 0) {
        return refuse(reason, "flag packed is set, only conv knows it");
    }
    if (!check_byte("input_zero_point", e->input_zero_point, (flags & SYSTOLE_FLAG_INPUT_UNSIGNED) != 0, reason)) {
        return false;
    }
    if (systole_opcode_has_second_input(command->header.opcode) &&
        !check_byte("input2_zero_point", e->input2_zero_point, (flags & SYSTOLE_FLAG_INPUT2_UNSIGNED) != 0, reason)) {
        return false;
    }
    return check_output(command, e->output_zero_point, e->clamp_min, e->clamp_max, reason);
}

bool systole_command_check(const struct systole_target *target, const struct systole_command *command, char *text,
                           size_t size) {
    const struct reason reason = {text, size};
    const struct systole_command_header *header = &command->header;
    const struct systole_opcode_description *opcode = systole_describe_opcode(header->opcode);
    if (opcode == NULL) {
        return refuse(&reason, "field opcode is 0x%02x, which is unknown", header->opcode);
    }
    if (!check_fields(command, systole_header_fields, systole_header_field_count, &reason)) {
        return false;
    }
    if (header->core >= target->cores) {
        return refuse(&reason, "field core is %u, the target has %u", header->core, target->cores);
    }
    if (opcode->unit != SYSTOLE_UNIT_ANY && opcode->unit != header->unit) {
        return refuse(&reason, "field unit is %s, must be %s", systole_unit_name(header->unit),
                      systole_unit_name(opcode->unit));
    }
    const struct systole_format_description *format = &systole_formats[opcode->format];
    if (!check_fields(command, format->fields, format->count, &reason)) {
        return false;
    }
    for (uint32_t at = format->end; at < SYSTOLE_COMMAND_BYTES; at++) {
        if (((const uint8_t *)command)[at] != 0) {
            return refuse(&reason, "reserved byte %u is 0x%02x, must be 0", at, ((const uint8_t *)command)[at]);
        }
    }
    switch (opcode->format) {
    case SYSTOLE_FORMAT_WINDOW:
        return check_window(target, command, &reason);
    case SYSTOLE_FORMAT_ELEMENTWISE:
        return check_elementwise(command, &reason);
    default:
        return true;
    }
}
