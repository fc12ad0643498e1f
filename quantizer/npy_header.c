// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// NumPy's .npy files, versions 1 to 3 (numpy.lib.format): a magic, two bytes of version, the length of the header
// (2 bytes in version 1, 4 after), the header - a Python dictionary with 'descr', 'fortran_order' and 'shape' - and the
// elements. The header is read by a scanner that knows just those forms and never leaves its bytes.
#include "npy_header.h"

#include <stdio.h>
#include <string.h>

static const uint8_t magic[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};

bool npy_begins(const uint8_t *data, size_t length) {
    return length >= sizeof magic && memcmp(data, magic, sizeof magic) == 0;
}

struct scanner {
    const char *at, *end;
};

static void skip_blanks(struct scanner *s) {
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\t' || *s->at == '\r')) {
        s->at++;
    }
}

static bool take(struct scanner *s, char c) {
    skip_blanks(s);
    if (s->at < s->end && *s->at == c) {
        s->at++;
        return true;
    }
    return false;
}

static bool take_word(struct scanner *s, const char *word) {
    skip_blanks(s);
    size_t length = strlen(word);
    if ((size_t)(s->end - s->at) >= length && memcmp(s->at, word, length) == 0) {
        s->at += length;
        return true;
    }
    return false;
}

static bool take_string(struct scanner *s, char *text, size_t size) {
    char quote = '\'';
    if (!take(s, quote)) {
        quote = '"';
        if (!take(s, quote)) {
            return false;
        }
    }
    size_t length = 0;
    while (s->at < s->end && *s->at != quote) {
        if (length + 1 >= size || *s->at < ' ' || *s->at == '\\') {
            return false;
        }
        text[length++] = *s->at++;
    }
    text[length] = '\0';
    return take(s, quote);
}

static bool take_dimension(struct scanner *s, uint64_t *value) {
    skip_blanks(s);
    const char *first = s->at;
    *value = 0;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9') {
        *value = *value * 10 + (uint64_t)(*s->at++ - '0');
        if (*value > INT32_MAX) {
            return false;
        }
    }
    bool found = s->at != first;
    (void)take(s, 'L'); // Python 2
    return found;
}

static bool take_shape(struct scanner *s, struct npy_header *header) {
    if (!take(s, '(')) {
        return false;
    }
    header->rank = 0;
    while (!take(s, ')')) {
        uint64_t dimension;
        if (!take_dimension(s, &dimension)) {
            return false;
        }
        if (header->rank == NPY_MAX_RANK) {
            return false;
        }
        header->shape[header->rank++] = dimension;
        if (!take(s, ',')) {
            return take(s, ')');
        }
    }
    return true;
}

static bool take_header(struct scanner *s, struct npy_header *header, bool *columns_first) {
    bool has_description = false, has_order = false, has_shape = false;
    if (!take(s, '{')) {
        return false;
    }
    while (!take(s, '}')) {
        char key[16];
        if (!take_string(s, key, sizeof key) || !take(s, ':')) {
            return false;
        }
        bool *seen, good;
        if (strcmp(key, "descr") == 0) {
            seen = &has_description;
            good = take_string(s, header->description, sizeof header->description);
        } else if (strcmp(key, "fortran_order") == 0) {
            seen = &has_order;
            *columns_first = take_word(s, "True");
            good = *columns_first || take_word(s, "False");
        } else if (strcmp(key, "shape") == 0) {
            seen = &has_shape;
            good = take_shape(s, header);
        } else {
            return false;
        }
        if (!good || *seen) {
            return false;
        }
        *seen = true;
        if (!take(s, ',')) {
            if (!take(s, '}')) {
                return false;
            }
            break;
        }
    }
    skip_blanks(s);
    return s->at == s->end && has_description && has_order && has_shape;
}

enum systole_status npy_open(const char *name, const uint8_t *data, size_t length, struct npy_header *header,
                             struct systole_diagnostic *diagnostic) {
    *header = (struct npy_header){.rank = 0};
    if (!npy_begins(data, length) || length < 10 || data[6] < 1 || data[6] > 3 || data[7] != 0) {
        return systole_fail(diagnostic, SYSTOLE_BAD_FILE, name, "write it with numpy.save",
                            "not an .npy file of version 1.0, 2.0 or 3.0");
    }
    size_t prefix = data[6] == 1 ? 10 : 12;
    uint64_t size = data[8] | (uint64_t)data[9] << 8;
    if (data[6] != 1) {
        size = length < prefix ? UINT64_MAX : size | (uint64_t)data[10] << 16 | (uint64_t)data[11] << 24;
    }
    if (length < prefix || size > length - prefix) {
        return systole_fail(diagnostic, SYSTOLE_BAD_FILE, name, "was it cut?",
                            "the .npy header is longer than the file");
    }
    struct scanner scanner = {(const char *)data + prefix, (const char *)data + prefix + size};
    bool columns_first = false;
    if (!take_header(&scanner, header, &columns_first)) {
        return systole_fail(diagnostic, SYSTOLE_BAD_FILE, name, "write an array of plain numbers with numpy.save",
                            "the .npy header cannot be understood at byte %zu",
                            (size_t)(scanner.at - (const char *)data));
    }
    if (columns_first && header->rank > 1) {
        return systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, name, "save numpy.ascontiguousarray(array)",
                            "the array is in Fortran's order, columns first");
    }
    header->begin = prefix + (size_t)size;
    return SYSTOLE_OK;
}

const char *npy_description_of(enum systole_dtype dtype) {
    switch (dtype) {
    case SYSTOLE_FLOAT32:
        return "<f4";
    case SYSTOLE_FLOAT16:
        return "<f2";
    case SYSTOLE_INT32:
        return "<i4";
    case SYSTOLE_UINT8:
        return "|u1";
    case SYSTOLE_INT64:
        return "<i8";
    case SYSTOLE_BOOL:
        return "|b1";
    case SYSTOLE_INT16:
        return "<i2";
    case SYSTOLE_INT8:
        return "|i1";
    default:
        return "";
    }
}

bool npy_same_description(const char *a, const char *b) {
    return strcmp(a, b) == 0 || (strlen(a) == 3 && strcmp(a + 1, b + 1) == 0 && a[2] == '1' && strchr("<>=|", a[0]));
}

void npy_format_shape(const struct npy_header *header, char *text, size_t size) {
    size_t used = 0;
    (void)snprintf(text, size, "a single element");
    for (int32_t i = 0; i < header->rank && used + 1 < size; i++) {
        int written =
            snprintf(text + used, size - used, "%s%llu", i > 0 ? "x" : "", (unsigned long long)header->shape[i]);
        used += written > 0 ? (size_t)written : 0;
    }
}
