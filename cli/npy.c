// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// NumPy's .npy files as one input (quantizer/npy_header.c reads their headers).
#include "inputs.h"
#include "npy_header.h"

#include <stdio.h>
#include <string.h>

bool cli_is_npy(const uint8_t *data, size_t length) {
    return npy_begins(data, length);
}

static enum systole_status check_shape(const struct cli_input_file *file, const struct npy_header *header,
                                       struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *tensor = file->tensor;
    int32_t first = 0, skipped = 0;
    while (first < tensor->rank && tensor->shape[first] == 1) {
        first++;
    }
    while (skipped < header->rank && header->shape[skipped] == 1) {
        skipped++;
    }
    bool same = header->rank - skipped == tensor->rank - first;
    for (int32_t i = 0; same && i < header->rank - skipped; i++) {
        same = header->shape[skipped + i] == (uint64_t)tensor->shape[first + i];
    }
    if (same) {
        return SYSTOLE_OK;
    }
    char wanted[64], found[128];
    cli_format_shape(tensor, wanted, sizeof wanted);
    npy_format_shape(header, found, sizeof found);
    return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, file->path, "shapes must be equal up to leading ones",
                        "input %s is %s, the array is %s", tensor->name, wanted, found);
}

enum systole_status cli_read_npy(const struct cli_input_file *file, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *tensor = file->tensor;
    struct npy_header header;
    enum systole_status status = npy_open(file->path, file->data, file->length, &header, diagnostic);
    if (status == SYSTOLE_OK) {
        status = check_shape(file, &header, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    bool same = npy_same_description(header.description, npy_description_of(tensor->dtype));
    bool real = npy_same_description(header.description, "<f4");
    bool byte = npy_same_description(header.description, "|u1");
    if (!same && !real && !byte) {
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, file->path, "convert it with array.astype first",
                            "input %s is %s: it takes '%s', or '<f4' or '|u1' to convert, the array is '%s'",
                            tensor->name, systole_dtype_name(tensor->dtype), npy_description_of(tensor->dtype),
                            header.description);
    }
    size_t elements = systole_tensor_elements(tensor);
    size_t size = same ? tensor->size : real ? elements * sizeof(float) : elements;
    if (file->length - header.begin != size) {
        return systole_fail(diagnostic, SYSTOLE_BAD_FILE, file->path, "was it cut?",
                            "%zu bytes follow the .npy header, its array has %zu", file->length - header.begin, size);
    }
    bool normalised = file->normalisation->mean_count != 0 || file->normalisation->scale_count != 0;
    if (byte && (!same || normalised)) {
        if (tensor->dtype != SYSTOLE_INT8 && !normalised) {
            return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, file->path, "say so with --mean and --scale",
                                "bytes have no one meaning for input %s, which is %s", tensor->name,
                                systole_dtype_name(tensor->dtype));
        }
        uint32_t channels = tensor->rank > 0 ? (uint32_t)tensor->shape[tensor->rank - 1] : 1;
        return cli_store_pixels(file, file->data + header.begin, channels > 0 ? channels : 1, diagnostic);
    }
    if (!same) {
        return cli_store_floats(file, file->data + header.begin, diagnostic);
    }
    memcpy(file->bytes, file->data + header.begin, size);
    return SYSTOLE_OK;
}
