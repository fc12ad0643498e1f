// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Inputs from files of any kind (docs/formats.md), or drawn by a seed.
#include "inputs.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

// xorshift32; a byte is the top 8 bits of the next state.
static uint8_t next_byte(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return (uint8_t)(*state >> 24);
}

static void fill_random(const struct systole_tensor *tensor, uint32_t input, uint32_t seed, uint8_t *bytes,
                        size_t size) {
    uint32_t state = seed ^ (input * 0x9E3779B9u);
    state = state == 0 ? 1 : state;
    size_t element = systole_dtype_size(tensor->dtype);
    if (tensor->dtype == SYSTOLE_FLOAT32) {
        for (size_t i = 0; i + sizeof(float) <= size; i += sizeof(float)) {
            float value = (float)((double)next_byte(&state) / 255.0 * 2.0 - 1.0);
            memcpy(bytes + i, &value, sizeof value);
        }
        return;
    }
    // int8, uint8 and int16 take a random byte for each of their own; wider integers one for all.
    size_t drawn = element <= 2 ? element : 1;
    memset(bytes, 0, size);
    for (size_t i = 0; i + element <= size; i += element) {
        for (size_t k = 0; k < drawn; k++) {
            bytes[i + k] = next_byte(&state);
        }
    }
}

static bool has_extension(const char *path) {
    static const char *const extensions[] = {".npy", ".png", ".jpg", ".jpeg", ".bmp"};
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot != NULL && i < sizeof extensions / sizeof extensions[0]; i++) {
        if (strcasecmp(dot, extensions[i]) == 0) {
            return true;
        }
    }
    return false;
}

// A raw tensor may begin with anything, so that a file of just its size is one unless its name says otherwise.
enum systole_status cli_fill_from_file(const struct cli_input_file *file, uint32_t input, bool *normalised,
                                       struct systole_diagnostic *diagnostic) {
    size_t size = file->tensor->size;
    if (file->length != size || has_extension(file->path)) {
        if (cli_is_npy(file->data, file->length)) {
            *normalised = true;
            return cli_read_npy(file, diagnostic);
        }
        if (cli_is_picture(file->data, file->length)) {
            *normalised = true;
            return cli_read_picture(file, diagnostic);
        }
    }
    if (file->length != size) {
        char shape[64];
        cli_format_shape(file->tensor, shape, sizeof shape);
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, file->path,
                            "give the raw little-endian tensor, an .npy file or a PNG, JPEG or BMP picture",
                            "input %u (%s, %s %s) takes %zu bytes, the file has %zu", input, file->tensor->name,
                            systole_dtype_name(file->tensor->dtype), shape, size, file->length);
    }
    memcpy(file->bytes, file->data, size);
    return SYSTOLE_OK;
}

enum systole_status cli_fill_inputs(struct systole_session *session, const char *const *files, uint32_t count,
                                    uint32_t seed, const struct cli_normalisation *normalisation,
                                    struct systole_diagnostic *diagnostic) {
    const struct systole_graph *graph = systole_session_graph(session);
    if (count != 0 && count != graph->input_count) {
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, graph->name, "give --input once for each",
                            "the model has %u inputs, %u were given", graph->input_count, count);
    }
    bool normalised = false;
    for (uint32_t i = 0; i < graph->input_count; i++) {
        const struct systole_tensor *tensor = &graph->tensors[graph->inputs[i]];
        size_t size;
        uint8_t *bytes = systole_session_input(session, i, &size);
        if (count == 0) {
            fill_random(tensor, i, seed, bytes, size);
            continue;
        }
        uint8_t *data;
        size_t length;
        enum systole_status status = systole_read_file(files[i], &data, &length, diagnostic);
        if (status == SYSTOLE_OK) {
            struct cli_input_file file = {files[i], data, length, tensor, normalisation, bytes};
            status = cli_fill_from_file(&file, i, &normalised, diagnostic);
            free(data);
        }
        if (status != SYSTOLE_OK) {
            return status;
        }
    }
    if (!normalised && (normalisation->mean_count != 0 || normalisation->scale_count != 0)) {
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, graph->name, "leave them out, or give pictures",
                            "--mean and --scale are for pictures and .npy files, and no input is one");
    }
    return SYSTOLE_OK;
}
