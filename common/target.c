// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "target.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LARGEST_SCRATCHPAD (1u << 30)

// The numeric parameters in the order that defines a target's id, with the largest value that the capability
// registers and the command fields can express.
struct parameter {
    const char *name;
    size_t offset;
    uint32_t min, max;
    bool power_of_two;
};
static const struct parameter parameters[] = {
    {"cores", offsetof(struct systole_target, cores), 1, 1, false},
    {"rows", offsetof(struct systole_target, rows), 4, 64, true},
    {"columns", offsetof(struct systole_target, columns), 4, 64, true},
    {"taps", offsetof(struct systole_target, taps), 1, 16, false},
    {"scratchpad_bytes", offsetof(struct systole_target, scratchpad_bytes), 1, LARGEST_SCRATCHPAD, false},
    {"banks", offsetof(struct systole_target, banks), 8, 256, true},
    {"accumulators", offsetof(struct systole_target, accumulators), 16, 65535, false},
    {"weight_port_rows", offsetof(struct systole_target, weight_port_rows), 1, 64, true},
    {"link_millibytes_per_cycle", offsetof(struct systole_target, link_millibytes_per_cycle), 1, 65535, false},
    {"clock_hz", offsetof(struct systole_target, clock_hz), 1, UINT32_MAX, false},
};
#define PARAMETERS (sizeof parameters / sizeof parameters[0])

static uint32_t value_of(const struct systole_target *target, const struct parameter *parameter) {
    uint32_t value = 0;
    memcpy(&value, (const char *)target + parameter->offset, sizeof value);
    return value;
}

static bool is_power_of_two(uint32_t value) {
    return value != 0 && (value & (value - 1)) == 0;
}

enum systole_status systole_target_check(const struct systole_target *target, struct systole_diagnostic *diagnostic) {
    static const char *const hint = "docs/reference/targets.md lists the presets";
    for (size_t i = 0; i < PARAMETERS; i++) {
        const struct parameter *p = &parameters[i];
        uint32_t value = value_of(target, p);
        if (value < p->min || value > p->max) {
            return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, target->name, hint,
                                "target parameter %s is %u, must be %u to %u", p->name, value, p->min, p->max);
        }
        if (p->power_of_two && !is_power_of_two(value)) {
            return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, target->name, hint,
                                "target parameter %s is %u, must be a power of two", p->name, value);
        }
    }
    if (target->rows != target->columns) {
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, target->name, hint,
                            "target parameter rows is %u, must equal columns (%u)", target->rows, target->columns);
    }
    if (target->weight_port_rows > target->rows) {
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, target->name, hint,
                            "target parameter weight_port_rows is %u, must divide rows (%u)", target->weight_port_rows,
                            target->rows);
    }
    if (target->banks < target->weight_port_rows) {
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, target->name, hint,
                            "target parameter banks is %u, must be at least weight_port_rows (%u)", target->banks,
                            target->weight_port_rows);
    }
    uint32_t row = target->banks * target->columns;
    if (target->scratchpad_bytes % row != 0) {
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, target->name, hint,
                            "target parameter scratchpad_bytes is %u, must be a multiple of banks * columns (%u)",
                            target->scratchpad_bytes, row);
    }
    return SYSTOLE_OK;
}

uint32_t systole_crc32(uint32_t crc, const void *bytes, size_t size) {
    // Remainders of four bits, reflected polynomial 0xEDB88320.
    static const uint32_t remainders[16] = {
        0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
        0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
    };
    const uint8_t *at = bytes;
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= at[i];
        crc = (crc >> 4) ^ remainders[crc & 15];
        crc = (crc >> 4) ^ remainders[crc & 15];
    }
    return ~crc;
}

uint32_t systole_target_id(const struct systole_target *target) {
    uint32_t crc = 0;
    for (size_t i = 0; i < PARAMETERS; i++) {
        uint32_t value = value_of(target, &parameters[i]);
        const uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
                                  (uint8_t)(value >> 24)};
        crc = systole_crc32(crc, bytes, sizeof bytes);
    }
    return crc;
}

uint32_t systole_target_words(const struct systole_target *target) {
    return target->scratchpad_bytes / target->columns;
}

uint32_t systole_target_multipliers(const struct systole_target *target) {
    return target->cores * target->columns * (target->rows + target->taps);
}

uint32_t systole_target_other_multipliers(const struct systole_target *target) {
    // A lane requantises once behind the array, once behind the depthwise unit and three times in the element-wise
    // unit (both inputs of an addition and its sum).
    return target->cores * target->columns * 5;
}

static bool is_target_name(const char *name) {
    if (name[0] == '\0' || strlen(name) >= sizeof((struct systole_target *)0)->name) {
        return false;
    }
    for (const char *c = name; *c != '\0'; c++) {
        if (!isalnum((unsigned char)*c) && strchr("_-.", *c) == NULL) {
            return false;
        }
    }
    return true;
}

// Fills *target from the file's keys. Everything that json_load gives is borrowed from `root`.
static enum systole_status read_keys(json_t *root, const char *path, struct systole_target *target,
                                     struct systole_diagnostic *diagnostic) {
    static const char *const hint = "copy one of spec/targets/*.json and change its numbers";
    if (!json_is_object(root)) {
        return systole_fail(diagnostic, SYSTOLE_BAD_FILE, path, hint, "target description is not a JSON object");
    }
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(root, key, value) {
        bool known = strcmp(key, "name") == 0;
        for (size_t i = 0; i < PARAMETERS && !known; i++) {
            known = strcmp(key, parameters[i].name) == 0;
        }
        if (!known) {
            return systole_fail(diagnostic, SYSTOLE_BAD_FILE, path, hint, "unknown target parameter '%.60s'", key);
        }
    }
    const char *name = json_string_value(json_object_get(root, "name"));
    if (name == NULL || !is_target_name(name)) {
        return systole_fail(diagnostic, SYSTOLE_BAD_FILE, path, hint,
                            "target parameter name must be a string of 1 to 63 letters, digits, '_', '-' or '.'");
    }
    (void)snprintf(target->name, sizeof target->name, "%s", name);
    for (size_t i = 0; i < PARAMETERS; i++) {
        const struct parameter *p = &parameters[i];
        value = json_object_get(root, p->name);
        if (value == NULL) {
            return systole_fail(diagnostic, SYSTOLE_BAD_FILE, path, hint, "target parameter %s is missing", p->name);
        }
        if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > UINT32_MAX) {
            return systole_fail(diagnostic, SYSTOLE_BAD_FILE, path, hint,
                                "target parameter %s must be a whole number of 32 bits", p->name);
        }
        uint32_t number = (uint32_t)json_integer_value(value);
        memcpy((char *)target + p->offset, &number, sizeof number);
    }
    return SYSTOLE_OK;
}

enum systole_status systole_target_find(const char *name_or_path, struct systole_target *target,
                                        struct systole_diagnostic *diagnostic) {
    for (size_t i = 0; i < SYSTOLE_PRESETS; i++) {
        if (strcmp(name_or_path, systole_presets[i].name) == 0) {
            *target = systole_presets[i];
            return SYSTOLE_OK;
        }
    }
    size_t length = strlen(name_or_path);
    bool is_path = strchr(name_or_path, '/') != NULL || access(name_or_path, F_OK) == 0 ||
                   (length > 5 && strcmp(name_or_path + length - 5, ".json") == 0);
    if (!is_path) {
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, name_or_path,
                            "`systole targets` lists the presets; a description file is named by its path",
                            "no such target");
    }
    json_error_t error;
    json_t *root = json_load_file(name_or_path, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL) {
        return systole_fail(diagnostic, SYSTOLE_BAD_FILE, name_or_path, "see spec/targets/ for examples",
                            "target description cannot be read: %s", error.text);
    }
    struct systole_target read;
    memset(&read, 0, sizeof read);
    enum systole_status status = read_keys(root, name_or_path, &read, diagnostic);
    if (status == SYSTOLE_OK) {
        struct systole_diagnostic cause;
        if (systole_target_check(&read, &cause) != SYSTOLE_OK) {
            status = systole_fail(diagnostic, SYSTOLE_BAD_FILE, name_or_path, cause.hint, "%s", cause.what);
        }
    }
    json_decref(root);
    if (status == SYSTOLE_OK) {
        *target = read;
    }
    return status;
}
