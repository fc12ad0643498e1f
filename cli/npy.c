// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// NumPy's .npy files, versions 1 to 3 (numpy.lib.format): a magic, two bytes of version, the length of the header
// (2 bytes in version 1, 4 after), the header - a Python dictionary with 'descr', 'fortran_order' and 'shape' - and the
// elements. The header is read by a scanner that knows just those forms and never leaves its bytes.
#include "inputs.h"

#include <stdio.h>
#include <string.h>

#define MAX_DESCRIPTION 8

static const uint8_t magic[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};

bool cli_is_npy(const uint8_t *data, size_t length) {
    return length >= sizeof magic && memcmp(data, magic, sizeof magic) == 0;
}

struct scanner {
    const char *at, *end;
};

struct header {
    bool has_description, has_order, has_shape;
    char description[MAX_DESCRIPTION];
    bool fortran_order;
    int32_t rank; // without leading ones
    uint64_t shape[SYSTOLE_MAX_RANK];
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

static bool take_shape(struct scanner *s, struct header *header) {
    if (!take(s, '(')) {
        return false;
    }
    header->rank = 0;
    while (!take(s, ')')) {
        uint64_t dimension;
        if (!take_dimension(s, &dimension)) {
            return false;
        }
        if (dimension != 1 || header->rank != 0) {
            if (header->rank == SYSTOLE_MAX_RANK) {
                return false;
            }
            header->shape[header->rank++] = dimension;
        }
        if (!take(s, ',')) {
            return take(s, ')');
        }
    }
    return true;
}

static bool take_header(struct scanner *s, struct header *header) {
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
            seen = &header->has_description;
            good = take_string(s, header->description, sizeof header->description);
        } else if (strcmp(key, "fortran_order") == 0) {
            seen = &header->has_order;
            header->fortran_order = take_word(s, "True");
            good = header->fortran_order || take_word(s, "False");
        } else if (strcmp(key, "shape") == 0) {
            seen = &header->has_shape;
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
    return s->at == s->end && header->has_description && header->has_order && header->has_shape;
}

// Finds header and elements.
static enum systole_status open_npy(const struct cli_input_file *file, struct header *header, size_t *begin,
                                    struct systole_diagnostic *diagnostic) {
    const uint8_t *data = file->data;
    if (file->length < 10 || data[6] < 1 || data[6] > 3 || data[7] != 0) {
        return systole_fail(diagnostic, SYSTOLE_BAD_FILE, file->path, "write it with numpy.save",
                            "not an .npy file of version 1.0, 2.0 or 3.0");
    }
    size_t prefix = data[6] == 1 ? 10 : 12;
    uint64_t size = data[8] | (uint64_t)data[9] << 8;
    if (data[6] != 1) {
        size = file->length < prefix ? UINT64_MAX : size | (uint64_t)data[10] << 16 | (uint64_t)data[11] << 24;
    }
    if (file->length < prefix || size > file->length - prefix) {
        return systole_fail(diagnostic, SYSTOLE_BAD_FILE, file->path, "was it cut?",
                            "the .npy header is longer than the file");
    }
    struct scanner scanner = {(const char *)data + prefix, (const char *)data + prefix + size};
    if (!take_header(&scanner, header)) {
        return systole_fail(diagnostic, SYSTOLE_BAD_FILE, file->path, "write an array of plain numbers with numpy.save",
                            "the .npy header cannot be understood at byte %zu",
                            (size_t)(scanner.at - (const char *)data));
    }
    *begin = prefix + (size_t)size;
    return SYSTOLE_OK;
}

static const char *description_of(enum systole_dtype dtype) {
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

// Single bytes have no order: '<u1' is '|u1'.
static bool same_description(const char *a, const char *b) {
    return strcmp(a, b) == 0 || (strlen(a) == 3 && strcmp(a + 1, b + 1) == 0 && a[2] == '1' && strchr("<>=|", a[0]));
}

static enum systole_status check_shape(const struct cli_input_file *file, const struct header *header,
                                       struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *tensor = file->tensor;
    int32_t first = 0;
    while (first < tensor->rank && tensor->shape[first] == 1) {
        first++;
    }
    bool same = header->rank == tensor->rank - first;
    for (int32_t i = 0; same && i < header->rank; i++) {
        same = header->shape[i] == (uint64_t)tensor->shape[first + i];
    }
    if (same) {
        return SYSTOLE_OK;
    }
    char wanted[64], found[128];
    size_t used = 0;
    cli_format_shape(tensor, wanted, sizeof wanted);
    (void)snprintf(found, sizeof found, "a single element");
    for (int32_t i = 0; i < header->rank; i++) {
        used += (size_t)snprintf(found + used, sizeof found - used, "%s%llu", i > 0 ? "x" : "",
                                 (unsigned long long)header->shape[i]);
    }
    return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, file->path, "shapes must be equal up to leading ones",
                        "input %s is %s, the array is %s", tensor->name, wanted, found);
}

enum systole_status cli_read_npy(const struct cli_input_file *file, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *tensor = file->tensor;
    struct header header = {.rank = 0};
    size_t begin = 0;
    enum systole_status status = open_npy(file, &header, &begin, diagnostic);
    if (status == SYSTOLE_OK) {
        status = check_shape(file, &header, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    if (header.fortran_order && header.rank > 1) {
        return systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, file->path, "save numpy.ascontiguousarray(array)",
                            "the array is in Fortran's order, columns first");
    }
    bool same = same_description(header.description, description_of(tensor->dtype));
    bool real = same_description(header.description, "<f4");
    bool byte = same_description(header.description, "|u1");
    if (!same && !real && !byte) {
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, file->path, "convert it with array.astype first",
                            "input %s is %s: it takes '%s', or '<f4' or '|u1' to convert, the array is '%s'",
                            tensor->name, systole_dtype_name(tensor->dtype), description_of(tensor->dtype),
                            header.description);
    }
    size_t elements = systole_tensor_elements(tensor);
    size_t size = same ? tensor->size : real ? elements * sizeof(float) : elements;
    if (file->length - begin != size) {
        return systole_fail(diagnostic, SYSTOLE_BAD_FILE, file->path, "was it cut?",
                            "%zu bytes follow the .npy header, its array has %zu", file->length - begin, size);
    }
    bool normalised = file->normalisation->mean_count != 0 || file->normalisation->scale_count != 0;
    if (byte && (!same || normalised)) {
        if (tensor->dtype != SYSTOLE_INT8 && !normalised) {
            return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, file->path, "say so with --mean and --scale",
                                "bytes have no one meaning for input %s, which is %s", tensor->name,
                                systole_dtype_name(tensor->dtype));
        }
        uint32_t channels = tensor->rank > 0 ? (uint32_t)tensor->shape[tensor->rank - 1] : 1;
        return cli_store_pixels(file, file->data + begin, channels > 0 ? channels : 1, diagnostic);
    }
    if (!same) {
        return cli_store_floats(file, file->data + begin, diagnostic);
    }
    memcpy(file->bytes, file->data + begin, size);
    return SYSTOLE_OK;
}
