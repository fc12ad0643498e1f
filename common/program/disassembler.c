// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "command_checker.h"
#include "program.h"

static const char *const flag_names[] = {"input_unsigned",       "input2_unsigned", "output_unsigned",
                                         "weight_unsigned",      "packed",          "input_lane_broadcast",
                                         "input2_lane_broadcast"};
_Static_assert(SYSTOLE_FLAG_INPUT2_LANE_BROADCAST == 1 << (sizeof flag_names / sizeof flag_names[0] - 1),
               "every flag has its name here");

struct line {
    char *text;
    size_t size;
    int length; // wanted
};

static void __attribute__((format(printf, 2, 3))) put(struct line *line, const char *format, ...) {
    size_t used = (size_t)line->length < line->size ? (size_t)line->length : line->size;
    va_list arguments;
    va_start(arguments, format);
    int wanted = vsnprintf(line->size > used ? line->text + used : NULL, line->size - used, format, arguments);
    va_end(arguments);
    line->length += wanted > 0 ? wanted : 0;
}

int systole_disassemble(const struct systole_command *command, uint32_t index, char *text, size_t size) {
    struct line line = {text, size, 0};
    const struct systole_command_header *header = &command->header;
    const struct systole_opcode_description *opcode = systole_describe_opcode(header->opcode);
    if (opcode == NULL) {
        put(&line, "%5u %-11s opcode_0x%02x", index, systole_unit_name(header->unit), header->opcode);
    } else {
        put(&line, "%5u %-11s %-12s", index, systole_unit_name(header->unit), opcode->name);
    }
    put(&line, " core=%u operator_index=%u", header->core, header->operator_index);
    put(&line, " flags=");
    const char *separator = "";
    for (uint32_t bit = 0; bit < 16; bit++) {
        if ((header->flags >> bit & 1) == 0) {
            continue;
        }
        if (bit < sizeof flag_names / sizeof flag_names[0]) {
            put(&line, "%s%s", separator, flag_names[bit]);
        } else {
            put(&line, "%sbit_%u", separator, bit);
        }
        separator = "|";
    }
    put(&line, "%s", separator[0] == '\0' ? "0" : "");
    const struct systole_format_description *format = opcode == NULL ? NULL : &systole_formats[opcode->format];
    for (uint32_t i = 0; format != NULL && i < format->count; i++) {
        const struct systole_field *field = &format->fields[i];
        int64_t value = systole_field_value(command, field);
        if (field->is_address) {
            put(&line, " %s=%s+%u", field->name, systole_region_name((uint32_t)value >> 28),
                (uint32_t)value & 0x0FFFFFFFu);
        } else {
            put(&line, " %s=%lld", field->name, (long long)value);
        }
    }
    const uint32_t waits[SYSTOLE_WAITS] = {header->wait0, header->wait1, header->wait2, header->wait3};
    for (uint32_t i = 0; i < SYSTOLE_WAITS; i++) {
        uint32_t core = waits[i] >> 28;
        uint32_t count = waits[i] & 0x00FFFFFFu;
        if (count == 0) {
            continue;
        }
        put(&line, " wait%u=", i);
        if (core != 0) {
            put(&line, "core%u.", core);
        }
        put(&line, "%s>=%u", systole_unit_name(waits[i] >> 24 & 15u), count);
    }
    return line.length;
}
