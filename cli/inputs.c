// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "cli.h"

#include <stdlib.h>
#include <string.h>

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

enum systole_status cli_fill_inputs(struct systole_session *session, const char *const *files, uint32_t count,
                                    uint32_t seed, struct systole_diagnostic *diagnostic) {
    const struct systole_graph *graph = systole_session_graph(session);
    if (count != 0 && count != graph->input_count) {
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, graph->name, "give --input once for each",
                            "the model has %u inputs, %u were given", graph->input_count, count);
    }
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
        enum systole_status status = cli_read_file(files[i], &data, &length, diagnostic);
        if (status != SYSTOLE_OK) {
            return status;
        }
        if (length != size) {
            free(data);
            char shape[64];
            cli_format_shape(tensor, shape, sizeof shape);
            return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, files[i], "give the raw little-endian tensor",
                                "input %u (%s, %s %s) takes %zu bytes, the file has %zu", i, tensor->name,
                                systole_dtype_name(tensor->dtype), shape, size, length);
        }
        memcpy(bytes, data, size);
        free(data);
    }
    return SYSTOLE_OK;
}
