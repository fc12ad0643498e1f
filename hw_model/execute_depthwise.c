// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The depthwise unit: a window slides over each channel tile by itself (TensorFlow Lite
// reference/integer_ops/depthwise_conv.h and pooling.h; sum_pool is what mean.h computes over height and width).
// Each output word is a fold over the taps that lie inside the input, lane by lane.
#include <string.h>

#include "execute.h"

struct depthwise {
    struct systole_execution *execution;
    const struct systole_window *w;
    struct systole_place input, output, parameters;
    uint32_t columns, taps;
    uint8_t opcode;
    bool input_unsigned, weight_unsigned;
    struct systole_channel_record record;
    int16_t weights[256][SYSTOLE_MAX_COLUMNS];
};

static bool load_parameters(struct depthwise *d, uint32_t tile) {
    uint32_t port = d->execution->target->weight_port_rows;
    uint32_t tile_words = (SYSTOLE_RECORD_WORDS + d->taps + port - 1) / port * port;
    uint32_t stream = d->parameters.start + tile * tile_words;
    if (!systole_execution_read_record(d->execution, &d->parameters, stream, &d->record)) {
        return false;
    }
    for (uint32_t k = 0; k < d->taps; k++) {
        const uint8_t *word = systole_execution_read(d->execution, &d->parameters, stream + SYSTOLE_RECORD_WORDS + k);
        if (word == NULL) {
            return false;
        }
        for (uint32_t c = 0; c < d->columns; c++) {
            d->weights[k][c] = (int16_t)systole_operand(word[c], d->weight_unsigned, d->w->weight_zero_point);
        }
    }
    return true;
}

static void fold_tap(const struct depthwise *d, uint32_t k, const uint8_t *word, int32_t *sums) {
    bool is_unsigned = d->input_unsigned;
    int32_t zero_point = d->w->input_zero_point;
    switch (d->opcode) {
    case SYSTOLE_OPCODE_DEPTHWISE:
        for (uint32_t c = 0; c < d->columns; c++) {
            int32_t product = systole_operand(word[c], is_unsigned, zero_point) * d->weights[k][c];
            sums[c] = systole_wrapping_add(sums[c], product);
        }
        break;
    case SYSTOLE_OPCODE_SUM_POOL:
        for (uint32_t c = 0; c < d->columns; c++) {
            sums[c] = systole_wrapping_add(sums[c], systole_operand(word[c], is_unsigned, zero_point));
        }
        break;
    case SYSTOLE_OPCODE_AVERAGE_POOL:
        for (uint32_t c = 0; c < d->columns; c++) {
            sums[c] += is_unsigned ? (int32_t)word[c] : (int32_t)(int8_t)word[c];
        }
        break;
    case SYSTOLE_OPCODE_MIN_POOL:
        for (uint32_t c = 0; c < d->columns; c++) {
            int32_t value = is_unsigned ? (int32_t)word[c] : (int32_t)(int8_t)word[c];
            sums[c] = value < sums[c] ? value : sums[c];
        }
        break;
    default:
        for (uint32_t c = 0; c < d->columns; c++) {
            int32_t value = is_unsigned ? (int32_t)word[c] : (int32_t)(int8_t)word[c];
            sums[c] = value > sums[c] ? value : sums[c];
        }
        break;
    }
}

static void finish_word(const struct depthwise *d, uint32_t inside, const int32_t *sums, uint8_t *word) {
    const struct systole_window *w = d->w;
    for (uint32_t c = 0; c < d->columns; c++) {
        int32_t value = sums[c], zero_point = 0;
        if (d->opcode == SYSTOLE_OPCODE_DEPTHWISE) {
            value = systole_requantise(systole_wrapping_add(value, d->record.bias[c]), d->record.multiplier[c],
                                       d->record.shift[c]);
            zero_point = w->output_zero_point;
        } else if (d->opcode == SYSTOLE_OPCODE_SUM_POOL) {
            value = systole_requantise(value, w->output_multiplier, w->output_shift);
            zero_point = w->output_zero_point;
        } else if (d->opcode == SYSTOLE_OPCODE_AVERAGE_POOL) {
            value = inside == 0 ? 0 : systole_rounding_average(value, (int32_t)inside);
        }
        word[c] = systole_output_byte(value, zero_point, w->clamp_min, w->clamp_max);
    }
}

static bool compute_word(struct depthwise *d, uint32_t tile, uint32_t oy, uint32_t ox) {
    const struct systole_window *w = d->w;
    int32_t sums[SYSTOLE_MAX_COLUMNS] = {0};
    uint32_t inside = 0;
    if (d->opcode == SYSTOLE_OPCODE_MAX_POOL || d->opcode == SYSTOLE_OPCODE_MIN_POOL) {
        int32_t high = d->input_unsigned ? 255 : 127, low = high - 255;
        for (uint32_t c = 0; c < d->columns; c++) {
            sums[c] = d->opcode == SYSTOLE_OPCODE_MAX_POOL ? low : high;
        }
    }
    int32_t top = w->origin_y + (int32_t)(oy * w->stride_y), left = w->origin_x + (int32_t)(ox * w->stride_x);
    for (uint32_t ky = 0; ky < w->kernel_height; ky++) {
        int32_t y = top + (int32_t)(ky * w->dilation_y);
        if (y < 0 || y >= w->input_height) {
            continue;
        }
        for (uint32_t kx = 0; kx < w->kernel_width; kx++) {
            int32_t x = left + (int32_t)(kx * w->dilation_x);
            if (x < 0 || x >= w->input_width) {
                continue;
            }
            uint32_t address = d->input.start + tile * w->input_tile_stride + (uint32_t)y * w->input_row_stride +
                               (uint32_t)x * w->input_pixel_stride;
            const uint8_t *word = systole_execution_read(d->execution, &d->input, address);
            if (word == NULL) {
                return false;
            }
            fold_tap(d, ky * w->kernel_width + kx, word, sums);
            inside++;
        }
    }
    uint8_t *word = systole_execution_write(d->execution, &d->output,
                                            d->output.start + tile * w->output_tile_stride + oy * w->output_row_stride +
                                                ox * w->output_pixel_stride);
    if (word == NULL) {
        return false;
    }
    finish_word(d, inside, sums, word);
    return true;
}

bool systole_execute_window(struct systole_execution *execution) {
    const struct systole_window *w = &execution->command->body.window;
    uint16_t flags = execution->command->header.flags;
    struct depthwise d = {
        .execution = execution,
        .w = w,
        .input = systole_execution_place(execution, w->input_address),
        .output = systole_execution_place(execution, w->output_address),
        .parameters = systole_execution_place(execution, w->parameter_address),
        .columns = execution->target->columns,
        .taps = (uint32_t)w->kernel_height * w->kernel_width,
        .opcode = execution->command->header.opcode,
        .input_unsigned = (flags & SYSTOLE_FLAG_INPUT_UNSIGNED) != 0,
        .weight_unsigned = (flags & SYSTOLE_FLAG_WEIGHT_UNSIGNED) != 0,
    };
    for (uint32_t tile = 0; tile < w->output_tiles; tile++) {
        if (d.opcode == SYSTOLE_OPCODE_DEPTHWISE && !load_parameters(&d, tile)) {
            return false;
        }
        for (uint32_t oy = 0; oy < w->output_height; oy++) {
            for (uint32_t ox = 0; ox < w->output_width; ox++) {
                if (!compute_word(&d, tile, oy, ox)) {
                    return false;
                }
            }
        }
    }
    return true;
}
