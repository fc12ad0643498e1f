// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Registers by name with their fields, words of the scratchpad by region, the units' queues, commands.
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "debugger.h"
#include "target.h"

void debugger_tell(struct debugger *d, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    printf("error: ");
    (void)vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
    d->has_errors = true;
}

bool debugger_number(const char *text, uint64_t limit, uint64_t *value) {
    char *end = NULL;
    if (text == NULL || *text < '0' || *text > '9') {
        return false;
    }
    *value = strtoull(text, &end, 0);
    return *end == '\0' && *value <= limit;
}

static bool read_register(struct debugger *d, uint32_t address, uint64_t *value) {
    enum systole_status status = systole_driver_read_register(d->driver, address, value);
    return status == SYSTOLE_OK ||
           debugger_complain(d, "the register at 0x%03x cannot be read: %s", address, systole_status_name(status));
}

static uint64_t field_value(const struct systole_register_field *field, uint64_t value) {
    value >>= field->low;
    return field->width == 64 ? value : value & ((UINT64_C(1) << field->width) - 1);
}

// What a number stands for, where it stands for something.
static void print_meaning(const struct systole_register_description *r, const char *field, uint64_t value) {
    if (r->offset == SYSTOLE_REGISTER_ERROR && strcmp(field, "error") == 0) {
        printf(" (%s)", systole_error_name((uint32_t)value));
    } else if (r->offset == SYSTOLE_REGISTER_ERROR && strcmp(field, "unit") == 0 && value < SYSTOLE_UNITS) {
        printf(" (%s)", systole_unit_name((uint32_t)value));
    }
}

static bool show_register(struct debugger *d, const struct systole_register_description *r, uint32_t index) {
    uint64_t value;
    if (!read_register(d, r->offset + 8 * index, &value)) {
        return false;
    }
    printf("0x%03x %s", r->offset + 8 * index, r->name);
    if (r->count > 1) {
        printf("[%u]", index);
    }
    printf(" = 0x%016" PRIx64, value);
    if (r->offset == SYSTOLE_REGISTER_COUNTERS) {
        printf("  %s %s %" PRIu64, systole_unit_name(index / SYSTOLE_COUNTER_KINDS),
               systole_counter_name(index % SYSTOLE_COUNTER_KINDS), value);
    } else if (r->offset == SYSTOLE_REGISTER_UNIT_STATE) {
        printf("  %s:", systole_unit_name(index));
    }
    for (uint32_t f = 0; f < r->field_count && r->fields[f].width < 64; f++) {
        uint64_t part = field_value(&r->fields[f], value);
        printf("  %s=%" PRIu64, r->fields[f].name, part);
        print_meaning(r, r->fields[f].name, part);
    }
    printf("\n");
    return true;
}

// NAME or NAME[N]; *index: all of them when there is no N.
static const struct systole_register_description *find_register(const char *name, uint32_t *index, bool *is_one) {
    size_t length = strcspn(name, "[");
    uint64_t number = 0;
    *is_one = name[length] == '[';
    if (*is_one) {
        char *end = NULL;
        number = strtoull(name + length + 1, &end, 0);
        if (end == name + length + 1 || strcmp(end, "]") != 0) {
            return NULL;
        }
    }
    for (uint32_t i = 0; i < systole_register_count; i++) {
        const struct systole_register_description *r = &systole_registers[i];
        if (strlen(r->name) == length && strncmp(r->name, name, length) == 0 && number < r->count) {
            *index = (uint32_t)number;
            *is_one = *is_one || r->count == 1;
            return r;
        }
    }
    return NULL;
}

bool debugger_show_registers(struct debugger *d, const char *name) {
    bool good = true;
    if (name == NULL) { // those of many are asked for by name
        for (uint32_t i = 0; i < systole_register_count && good; i++) {
            const struct systole_register_description *r = &systole_registers[i];
            for (uint32_t k = 0; k < r->count && good && r->count <= 5; k++) {
                good = show_register(d, r, k);
            }
        }
        return good;
    }
    uint32_t index = 0;
    bool is_one;
    const struct systole_register_description *r = find_register(name, &index, &is_one);
    if (r == NULL) {
        return debugger_complain(d, "no register is called %s; `registers` lists them", name);
    }
    for (uint32_t k = is_one ? index : 0; k < (is_one ? index + 1 : r->count) && good; k++) {
        good = show_register(d, r, k);
    }
    return good;
}

bool debugger_set_register(struct debugger *d, const char *name, const char *text) {
    uint32_t index = 0;
    bool is_one;
    uint64_t value;
    const struct systole_register_description *r = find_register(name, &index, &is_one);
    if (r == NULL || !is_one) {
        return debugger_complain(d, "no register is called %s; `registers` lists them", name);
    }
    if (!debugger_number(text, UINT64_MAX, &value)) {
        return debugger_complain(d, "%s is no number", text);
    }
    enum systole_status status = systole_driver_write_register(d->driver, r->offset + 8 * index, value);
    if (status != SYSTOLE_OK) {
        return debugger_complain(d, "%s at 0x%03x cannot be written: %s", name, r->offset + 8 * index,
                                 r->access == SYSTOLE_ACCESS_RO ? "it is read-only" : systole_status_name(status));
    }
    return true;
}

// WORD, or REGION:OFFSET of the run.
static bool find_word(struct debugger *d, const char *place, uint64_t *word) {
    uint64_t words = systole_target_words(&d->program->target);
    const char *colon = strchr(place, ':');
    if (colon == NULL) {
        return debugger_number(place, words - 1, word) ||
               debugger_complain(d, "%s is no word of the scratchpad, which has %" PRIu64, place, words);
    }
    for (uint32_t r = 0; r < SYSTOLE_REGIONS; r++) {
        const char *name = systole_region_name(r);
        if (strlen(name) == (size_t)(colon - place) && strncmp(name, place, (size_t)(colon - place)) == 0) {
            if (d->segment == NULL) {
                return debugger_complain(d, "regions have no place before the first run");
            }
            if (!debugger_number(colon + 1, UINT32_MAX, word) || *word >= d->windows[r].words) {
                return debugger_complain(d, "region %s has %u words", name, d->windows[r].words);
            }
            *word += d->windows[r].base;
            return true;
        }
    }
    return debugger_complain(d, "no region is called so: %s", place);
}

bool debugger_show_memory(struct debugger *d, const char *place, const char *count_text) {
    uint32_t columns = d->program->target.columns, words = systole_target_words(&d->program->target);
    uint64_t word, count = 1;
    if (!find_word(d, place, &word)) {
        return false;
    }
    if (count_text != NULL && !debugger_number(count_text, 65536, &count)) {
        return debugger_complain(d, "%s is no number of words up to 65536", count_text);
    }
    for (uint64_t i = 0; i < count && word + i < words; i++) {
        uint8_t bytes[64];
        bool parity = false;
        enum systole_status status = systole_driver_peek(d->driver, (uint32_t)(word + i), bytes, &parity);
        if (status != SYSTOLE_OK) {
            return debugger_complain(d, "word %" PRIu64 " cannot be read: %s", word + i, systole_status_name(status));
        }
        printf("%8" PRIu64 ":", word + i);
        for (uint32_t b = 0; b < columns; b++) {
            printf("%s%02x", b % 8 == 0 ? " " : "", bytes[b]);
        }
        printf("%s\n", parity ? "  wrong parity" : "");
    }
    return true;
}

bool debugger_look(struct debugger *d) {
    for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
        uint64_t state;
        if (!read_register(d, SYSTOLE_REGISTER_UNIT_STATE + 8 * u, &state)) {
            return false;
        }
        d->retired[u] = state & 0xffffff;
    }
    return true;
}

// The n-th command of a unit, or `command_count`.
static uint32_t command_of_unit(const struct debugger *d, uint32_t unit, uint64_t n) {
    uint32_t i = 0;
    while (i < d->segment->command_count && (d->segment->commands[i].header.unit != unit || n-- != 0)) {
        i++;
    }
    return i;
}

bool debugger_show_units(struct debugger *d) {
    if (d->segment == NULL) {
        return debugger_complain(d, "nothing has run yet");
    }
    printf("unit         retired   of  queued  inside  tokens   next\n");
    for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
        uint64_t state;
        if (!read_register(d, SYSTOLE_REGISTER_UNIT_STATE + 8 * u, &state)) {
            return false;
        }
        uint32_t all = 0, inside = (uint32_t)(state >> 32 & 0xff), queued = (uint32_t)(state >> 24 & 0xff);
        for (uint32_t i = 0; i < d->segment->command_count; i++) {
            all += d->segment->commands[i].header.unit == u;
        }
        uint32_t next = command_of_unit(d, u, (state & 0xffffff) + inside);
        printf("%-11s %8u %4u %7u %7u  %-8s", systole_unit_name(u), (uint32_t)(state & 0xffffff), all, queued, inside,
               (state & SYSTOLE_UNIT_STATE_WAITING) != 0 ? "missing"
               : queued != 0                             ? "there"
                                                         : "-");
        if (next == d->segment->command_count) {
            printf(" -\n");
            continue;
        }
        const struct systole_command_header *h = &d->segment->commands[next].header;
        const struct systole_opcode_description *opcode = systole_describe_opcode(h->opcode);
        printf(" command %u %s, operator %d", next, opcode != NULL ? opcode->name : "?",
               d->segment->info[next].operator_index);
        const uint32_t waits[] = {h->wait0, h->wait1, h->wait2, h->wait3};
        for (uint32_t w = 0; w < SYSTOLE_WAITS; w++) {
            uint64_t other;
            uint32_t unit = waits[w] >> 24 & 15;
            if ((waits[w] & 0xffffff) != 0 && unit < SYSTOLE_UNITS &&
                read_register(d, SYSTOLE_REGISTER_UNIT_STATE + 8 * unit, &other)) {
                printf(", %s %u>=%u", systole_unit_name(unit), (uint32_t)(other & 0xffffff), waits[w] & 0xffffff);
            }
        }
        printf("\n");
    }
    return true;
}

void debugger_print_command(const struct debugger *d, uint32_t index, const char *mark) {
    char text[4096];
    const struct systole_command_info *info = &d->segment->info[index];
    (void)systole_disassemble(&d->segment->commands[index], index, text, sizeof text);
    printf("%s%s", mark, text);
    if (info->tensor_index >= 0 && (uint32_t)info->tensor_index < d->graph->tensor_count) {
        printf("  ; operator %d, %s [%u:%u, %u:%u, %u:%u]", info->operator_index,
               d->graph->tensors[info->tensor_index].name, info->y0, info->y1, info->x0, info->x1, info->c0, info->c1);
    }
    printf("\n");
}

bool debugger_list(struct debugger *d, const char *first_text, const char *count_text) {
    uint64_t first = d->is_running && d->held > 2 ? d->held - 2 : 0, count = 5;
    if (d->segment == NULL) {
        return debugger_complain(d, "nothing has run yet; `systole disassemble` shows whole programs");
    }
    if ((first_text != NULL && !debugger_number(first_text, d->segment->command_count - 1, &first)) ||
        (count_text != NULL && !debugger_number(count_text, UINT32_MAX, &count))) {
        return debugger_complain(d, "list [FIRST [COUNT]]: the segment has commands 0 to %u",
                                 d->segment->command_count - 1);
    }
    for (uint64_t i = first; i < first + count && i < d->segment->command_count; i++) {
        bool here = d->is_running && i == d->held;
        debugger_print_command(d, (uint32_t)i, here ? "=> " : debugger_has_retired(d, (uint32_t)i) ? " * " : "   ");
    }
    return true;
}
