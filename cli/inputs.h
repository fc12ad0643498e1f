// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What the readers of input files share (docs/formats.md).
#ifndef SYSTOLE_CLI_INPUTS_H
#define SYSTOLE_CLI_INPUTS_H

#include "cli.h"

// A file in memory and the input that it is for.
struct cli_input_file {
    const char *path;
    const uint8_t *data;
    size_t length;
    const struct systole_tensor *tensor;
    const struct cli_normalisation *normalisation;
    uint8_t *bytes; // receives tensor->size bytes
};

// Of any kind, for input number `input`; *normalised: the normalisation had a meaning for it.
enum systole_status cli_fill_from_file(const struct cli_input_file *file, uint32_t input, bool *normalised,
                                       struct systole_diagnostic *diagnostic);
bool cli_is_npy(const uint8_t *data, size_t length);
enum systole_status cli_read_npy(const struct cli_input_file *file, struct systole_diagnostic *diagnostic);
bool cli_is_picture(const uint8_t *data, size_t length);
enum systole_status cli_read_picture(const struct cli_input_file *file, struct systole_diagnostic *diagnostic);

// Pixels, `channels` to a place, as many as the tensor has elements, in the tensor's type.
enum systole_status cli_store_pixels(const struct cli_input_file *file, const uint8_t *pixels, uint32_t channels,
                                     struct systole_diagnostic *diagnostic);
// float32 values, unaligned, as many as the tensor has elements, quantised.
enum systole_status cli_store_floats(const struct cli_input_file *file, const uint8_t *values,
                                     struct systole_diagnostic *diagnostic);

#endif
