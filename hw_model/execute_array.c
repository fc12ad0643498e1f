// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// `conv`: a convolution or a fully connected layer as the systolic array does it (TensorFlow Lite
// reference/integer_ops/conv.h, ConvPerChannel). The walk is the array's with one difference that no result shows:
// pixels are taken in chunks that fit in cache, whatever block_rows says.
#include <string.h>

#include "execute.h"

#define CHUNK 128u

struct array {
    struct systole_execution *execution;
    const struct systole_window *w;
    struct systole_place input, output, parameters;
    uint32_t columns, reduction_tiles;
    bool is_packed, input_unsigned, weight_unsigned;
    int16_t weights[SYSTOLE_MAX_COLUMNS][SYSTOLE_MAX_COLUMNS];
    int32_t sums[CHUNK][SYSTOLE_MAX_COLUMNS];
};

// sums[c] += operands[r] * weights[r][c]. A constant number of columns lets the compiler use vectors.
static inline __attribute__((always_inline)) void multiply(int32_t *restrict sums, const int16_t *operands,
                                                           const int16_t weights[][SYSTOLE_MAX_COLUMNS], uint32_t rows,
                                                           uint32_t columns) {
    for (uint32_t r = 0; r < rows; r++) {
        int16_t operand = operands[r];
        if (operand != 0) {
            for (uint32_t c = 0; c < columns; c++) {
                sums[c] = systole_wrapping_add(sums[c], operand * weights[r][c]);
            }
        }
    }
}

static void multiply_columns(int32_t *restrict sums, const int16_t *operands,
                             const int16_t weights[][SYSTOLE_MAX_COLUMNS], uint32_t rows, uint32_t columns) {
    switch (columns) {
    case 4:
        multiply(sums, operands, weights, rows, 4);
        break;
    case 8:
        multiply(sums, operands, weights, rows, 8);
        break;
    case 16:
        multiply(sums, operands, weights, rows, 16);
        break;
    case 32:
        multiply(sums, operands, weights, rows, 32);
        break;
    case 64:
        multiply(sums, operands, weights, rows, 64);
        break;
    default:
        multiply(sums, operands, weights, rows, columns);
        break;
    }
}

static bool load_weights(struct array *a, uint32_t address) {
    for (uint32_t r = 0; r < a->w->tile_rows; r++) {
        const uint8_t *word = systole_execution_read(a->execution, &a->parameters, address + r);
        if (word == NULL) {
            return false;
        }
        for (uint32_t c = 0; c < a->columns; c++) {
            a->weights[r][c] = (int16_t)systole_operand(word[c], a->weight_unsigned, a->w->weight_zero_point);
        }
    }
    return true;
}

// The operand vector of a pixel and a reduction tile of a tiled map; *any is false when all of it is padding.
static bool gather_tiled(struct array *a, uint32_t oy, uint32_t ox, uint32_t kt, int16_t *operands, bool *any) {
    const struct systole_window *w = a->w;
    uint32_t tile = kt % w->input_tiles, tap = kt / w->input_tiles;
    int32_t y = w->origin_y + (int32_t)(oy * w->stride_y) + (int32_t)(tap / w->kernel_width) * w->dilation_y;
    int32_t x = w->origin_x + (int32_t)(ox * w->stride_x) + (int32_t)(tap % w->kernel_width) * w->dilation_x;
    *any = y >= 0 && y < w->input_height && x >= 0 && x < w->input_width;
    if (!*any) {
        return true;
    }
    uint32_t address = a->input.start + tile * w->input_tile_stride + (uint32_t)y * w->input_row_stride +
                       (uint32_t)x * w->input_pixel_stride;
    const uint8_t *word = systole_execution_read(a->execution, &a->input, address);
    if (word == NULL) {
        return false;
    }
    for (uint32_t r = 0; r < w->tile_rows; r++) {
        operands[r] = (int16_t)systole_operand(word[r], a->input_unsigned, w->input_zero_point);
    }
    return true;
}

// The same of a packed map: each segment is a stretch of bytes of one input row.
static bool gather_packed(struct array *a, uint32_t oy, uint32_t ox, uint32_t kt, int16_t *operands, bool *any) {
    const struct systole_window *w = a->w;
    int64_t row_bytes = (int64_t)w->input_width * w->input_pixel_stride;
    int64_t first = (int64_t)(w->origin_x + (int32_t)(ox * w->stride_x)) * w->input_pixel_stride;
    memset(operands, 0, w->tile_rows * sizeof *operands);
    *any = false;
    for (uint32_t s = 0; s < w->segments; s++) {
        uint32_t ky = kt * w->segments + s;
        int32_t y = w->origin_y + (int32_t)(oy * w->stride_y) + (int32_t)(ky * w->dilation_y);
        if (ky >= w->kernel_height || y < 0 || y >= w->input_height) {
            continue;
        }
        uint32_t row = a->input.start + (uint32_t)y * w->input_row_stride;
        const uint8_t *word = NULL;
        int64_t word_index = -1;
        for (int32_t b = 0; b < w->segment_bytes; b++) {
            int64_t byte = first + b;
            if (byte < 0 || byte >= row_bytes) {
                continue;
            }
            if (word == NULL || word_index != byte / a->columns) {
                word_index = byte / a->columns;
                word = systole_execution_read(a->execution, &a->input, row + (uint32_t)word_index);
                if (word == NULL) {
                    return false;
                }
            }
            operands[s * w->segment_bytes + (uint32_t)b] =
                (int16_t)systole_operand(word[byte % a->columns], a->input_unsigned, w->input_zero_point);
            *any = true;
        }
    }
    return true;
}

static bool finish_chunk(struct array *a, uint32_t nt, uint32_t first, uint32_t pixels,
                         const struct systole_channel_record *record) {
    const struct systole_window *w = a->w;
    for (uint32_t p = 0; p < pixels; p++) {
        uint32_t oy = (first + p) / w->output_width, ox = (first + p) % w->output_width;
        uint8_t *word = systole_execution_write(a->execution, &a->output,
                                                a->output.start + nt * w->output_tile_stride +
                                                    oy * w->output_row_stride + ox * w->output_pixel_stride);
        if (word == NULL) {
            return false;
        }
        for (uint32_t c = 0; c < a->columns; c++) {
            int32_t value = systole_requantise(systole_wrapping_add(a->sums[p][c], record->bias[c]),
                                               record->multiplier[c], record->shift[c]);
            word[c] = systole_output_byte(value, w->output_zero_point, w->clamp_min, w->clamp_max);
        }
    }
    return true;
}

static bool compute_chunk(struct array *a, uint32_t nt, uint32_t first, uint32_t pixels) {
    const struct systole_window *w = a->w;
    struct systole_channel_record record;
    int16_t operands[SYSTOLE_MAX_COLUMNS];
    uint32_t stream = a->parameters.start + nt * (SYSTOLE_RECORD_WORDS + a->reduction_tiles * w->tile_rows);
    if (!systole_execution_read_record(a->execution, &a->parameters, stream, &record)) {
        return false;
    }
    memset(a->sums, 0, sizeof a->sums[0] * pixels);
    for (uint32_t kt = 0; kt < a->reduction_tiles; kt++) {
        if (!load_weights(a, stream + SYSTOLE_RECORD_WORDS + kt * w->tile_rows)) {
            return false;
        }
        for (uint32_t p = 0; p < pixels; p++) {
            uint32_t oy = (first + p) / w->output_width, ox = (first + p) % w->output_width;
            bool any = false;
            if (!(a->is_packed ? gather_packed : gather_tiled)(a, oy, ox, kt, operands, &any)) {
                return false;
            }
            if (any) {
                multiply_columns(a->sums[p], operands, (const int16_t(*)[SYSTOLE_MAX_COLUMNS])a->weights, w->tile_rows,
                                 a->columns);
            }
        }
    }
    return finish_chunk(a, nt, first, pixels, &record);
}

bool systole_execute_conv(struct systole_execution *execution) {
    const struct systole_window *w = &execution->command->body.window;
    uint16_t flags = execution->command->header.flags;
    struct array a = {
        .execution = execution,
        .w = w,
        .input = systole_execution_place(execution, w->input_address),
        .output = systole_execution_place(execution, w->output_address),
        .parameters = systole_execution_place(execution, w->parameter_address),
        .columns = execution->target->columns,
        .is_packed = (flags & SYSTOLE_FLAG_PACKED) != 0,
        .input_unsigned = (flags & SYSTOLE_FLAG_INPUT_UNSIGNED) != 0,
        .weight_unsigned = (flags & SYSTOLE_FLAG_WEIGHT_UNSIGNED) != 0,
    };
    a.reduction_tiles = a.is_packed ? ((uint32_t)w->kernel_height + w->segments - 1) / w->segments
                                    : (uint32_t)w->kernel_height * w->kernel_width * w->input_tiles;
    uint32_t pixels = (uint32_t)w->output_height * w->output_width;
    for (uint32_t nt = 0; nt < w->output_tiles; nt++) {
        for (uint32_t first = 0; first < pixels; first += CHUNK) {
            uint32_t count = pixels - first < CHUNK ? pixels - first : CHUNK;
            if (!compute_chunk(&a, nt, first, count)) {
                return false;
            }
        }
    }
    return true;
}
