// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// From pixels and real numbers to the values of an input.
#include "inputs.h"

#include <math.h>
#include <string.h>

#include "sample_arrays.h"

static enum systole_status not_quantised(const struct cli_input_file *file, const char *what,
                                         struct systole_diagnostic *diagnostic) {
    return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, file->path, "give the tensor's own bytes",
                        "%s cannot become input %s: it is %s without a scale of its own to quantise by", what,
                        file->tensor->name, systole_dtype_name(file->tensor->dtype));
}

enum systole_status cli_store_floats(const struct cli_input_file *file, const uint8_t *values,
                                     struct systole_diagnostic *diagnostic) {
    if (!systole_tensor_takes_reals(file->tensor)) {
        return not_quantised(file, "real numbers", diagnostic);
    }
    size_t count = systole_tensor_elements(file->tensor);
    for (size_t i = 0; i < count; i++) {
        float value;
        memcpy(&value, values + sizeof value * i, sizeof value);
        if (isnan(value)) {
            return systole_fail(diagnostic, SYSTOLE_BAD_FILE, file->path, "an integer input holds numbers only",
                                "element %zu is not a number", i);
        }
        systole_tensor_store_real(file->tensor, value, i, file->bytes);
    }
    return SYSTOLE_OK;
}

static enum systole_status check_count(const struct cli_input_file *file, const char *option, uint32_t count,
                                       uint32_t channels, struct systole_diagnostic *diagnostic) {
    return count <= 1 || count == channels
               ? SYSTOLE_OK
               : systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, file->path, "give one number, or one for each channel",
                              "%s has %u numbers, input %s has %u channels", option, count, file->tensor->name,
                              channels);
}

enum systole_status cli_store_pixels(const struct cli_input_file *file, const uint8_t *pixels, uint32_t channels,
                                     struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *tensor = file->tensor;
    const struct cli_normalisation *normalisation = file->normalisation;
    size_t count = systole_tensor_elements(tensor);
    bool given = normalisation->mean_count != 0 || normalisation->scale_count != 0;
    if (!given && (tensor->dtype == SYSTOLE_UINT8 || tensor->dtype == SYSTOLE_INT8)) {
        // The whole range of pixels onto the whole range of the type, whatever the model calls it.
        for (size_t i = 0; i < count; i++) {
            file->bytes[i] = (uint8_t)(tensor->dtype == SYSTOLE_INT8 ? pixels[i] ^ 0x80u : pixels[i]);
        }
        return SYSTOLE_OK;
    }
    if (tensor->dtype != SYSTOLE_FLOAT32 && !systole_tensor_takes_reals(tensor)) {
        return not_quantised(file, "pixels", diagnostic);
    }
    enum systole_status status = check_count(file, "--mean", normalisation->mean_count, channels, diagnostic);
    if (status == SYSTOLE_OK) {
        status = check_count(file, "--scale", normalisation->scale_count, channels, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    const struct sample_meaning meaning = {normalisation->mean_count, normalisation->scale_count, normalisation->mean,
                                           normalisation->scale};
    for (size_t i = 0; i < count; i++) {
        float value = sample_real_of_byte(&meaning, pixels[i], i % channels);
        if (tensor->dtype == SYSTOLE_FLOAT32) {
            memcpy(file->bytes + sizeof value * i, &value, sizeof value);
        } else {
            systole_tensor_store_real(tensor, value, i, file->bytes);
        }
    }
    return SYSTOLE_OK;
}
