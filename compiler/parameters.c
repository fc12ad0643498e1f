// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The parameter streams of a segment: for each output tile its channel record (bias, multiplier, shift), then its
// weights in the order in which the array, or the depthwise unit, reads them. What no weight exists for is the weight
// zero point. Constant operands of element-wise operations follow as feature maps.
#include <string.h>

#include "movement.h"
#include "target.h"

#define MOST_WORDS 0x0FFFFFFFu // that an address can name

static void put_int32(uint8_t *bytes, int32_t value) {
    for (uint32_t i = 0; i < 4; i++) {
        bytes[i] = (uint8_t)((uint32_t)value >> (8 * i));
    }
}

static void put_record(const struct compilation *c, const struct operation *o, uint32_t tile, uint8_t *bytes) {
    uint32_t columns = c->target->columns;
    for (uint32_t lane = 0; lane < columns; lane++) {
        uint32_t channel = tile * columns + lane;
        if (channel < o->window.output_channels) {
            if (o->weights.bias != NULL) {
                memcpy(bytes + 4 * lane, o->weights.bias + 4 * (size_t)channel, 4); // little endian on both sides
            }
            put_int32(bytes + 4 * (columns + lane), o->weights.rescale[channel].multiplier);
            put_int32(bytes + 4 * (2 * columns + lane), o->weights.rescale[channel].shift);
        }
    }
}

// The weight of a tap between an input and an output channel.
static uint8_t weight(const struct operation *o, uint32_t output, uint32_t ky, uint32_t kx, uint32_t input) {
    const struct window *w = &o->window;
    size_t tap = (size_t)ky * w->kernel_width + kx;
    if (!o->weights.is_depthwise) {
        size_t taps = (size_t)w->kernel_height * w->kernel_width;
        return o->weights.data[((size_t)output * taps + tap) * w->input_channels + input];
    }
    if (output / o->weights.multiplier != input) {
        return (uint8_t)o->weights.zero_point;
    }
    return o->weights.data[tap * w->output_channels + output];
}

// Which tap and input channel lies under a row of a reduction tile; false: none.
static bool row_source(const struct compilation *c, const struct operation *o, uint32_t tile, uint32_t row,
                       uint32_t *ky, uint32_t *kx, uint32_t *input) {
    const struct window *w = &o->window;
    if (o->packed) {
        *ky = tile * o->segments + row / o->segment_bytes;
        *kx = row % o->segment_bytes / w->input_channels;
        *input = row % o->segment_bytes % w->input_channels;
        return row < o->segments * o->segment_bytes && *ky < w->kernel_height;
    }
    uint32_t input_tiles = ir_divide_up(w->input_channels, c->target->columns), tap = tile / input_tiles;
    *ky = tap / w->kernel_width;
    *kx = tap % w->kernel_width;
    *input = tile % input_tiles * c->target->columns + row;
    return *input < w->input_channels;
}

static void put_conv_tile(const struct compilation *c, const struct operation *o, uint32_t tile, uint8_t *bytes) {
    uint32_t columns = c->target->columns;
    put_record(c, o, tile, bytes);
    bytes += (size_t)IR_RECORD_WORDS * columns;
    memset(bytes, (uint8_t)o->weights.zero_point, (size_t)o->reduction_tiles * o->tile_rows * columns);
    for (uint32_t kt = 0; kt < o->reduction_tiles; kt++) {
        for (uint32_t row = 0; row < o->tile_rows; row++, bytes += columns) {
            uint32_t ky, kx, input;
            if (!row_source(c, o, kt, row, &ky, &kx, &input)) {
                continue;
            }
            for (uint32_t lane = 0; lane < columns && tile * columns + lane < o->window.output_channels; lane++) {
                bytes[lane] = weight(o, tile * columns + lane, ky, kx, input);
            }
        }
    }
}

static void put_depthwise_tile(const struct compilation *c, const struct operation *o, uint32_t tile, uint8_t *bytes) {
    uint32_t columns = c->target->columns, taps = o->window.kernel_height * o->window.kernel_width;
    put_record(c, o, tile, bytes);
    bytes += (size_t)IR_RECORD_WORDS * columns;
    memset(bytes, (uint8_t)o->weights.zero_point, (size_t)taps * columns);
    for (uint32_t tap = 0; tap < taps; tap++, bytes += columns) {
        for (uint32_t lane = 0; lane < columns && tile * columns + lane < o->window.output_channels; lane++) {
            bytes[lane] = o->weights.data[(size_t)tap * o->window.output_channels + tile * columns + lane];
        }
    }
}

static void put_operation(const struct compilation *c, const struct operation *o, uint8_t *parameters) {
    uint32_t tiles = ir_divide_up(o->window.output_channels, c->target->columns);
    for (uint32_t tile = 0; tile < tiles; tile++) {
        uint8_t *bytes =
            parameters + ((size_t)o->parameter_offset + (size_t)tile * o->stream_words) * c->target->columns;
        if (o->kind == OPERATION_CONV) {
            put_conv_tile(c, o, tile, bytes);
        } else {
            put_depthwise_tile(c, o, tile, bytes);
        }
    }
}

void parameters_assign(struct compilation *c, struct segment_plan *segment) {
    uint32_t align = c->target->weight_port_rows, columns = c->target->columns;
    uint64_t words = 0;
    for (uint32_t streamed = 0; streamed < 2; streamed++) {
        for (uint32_t i = 0; i < segment->operation_count; i++) {
            struct operation *o = &c->operations[segment->operations[i]];
            if (o->stream_words > 0 && o->streamed == (streamed == 1)) {
                o->parameter_offset = (uint32_t)words;
                words += ir_round_up(o->stream_words * ir_divide_up(o->window.output_channels, columns), align);
            }
        }
        for (uint32_t i = 0; i < segment->operation_count && streamed == 0; i++) {
            words = movement_place_parameters(c, &c->operations[segment->operations[i]], words);
        }
        for (uint32_t i = 0; i < segment->storage_count && streamed == 0; i++) {
            struct storage *s = &segment->storages[i];
            if (s->is_constant) {
                s->placement.address = (uint32_t)SYSTOLE_REGION_PARAMETERS << 28 | (uint32_t)words;
                words += s->words;
            }
        }
        if (streamed == 0) {
            segment->region_words[SYSTOLE_REGION_PARAMETERS] = words > MOST_WORDS ? MOST_WORDS : (uint32_t)words;
        }
    }
    segment->parameter_words = words > MOST_WORDS ? MOST_WORDS : (uint32_t)words;
}

enum systole_status parameters_fill(struct compilation *c, struct segment_plan *segment) {
    uint32_t columns = c->target->columns;
    segment->parameters = NULL;
    if (segment->parameter_words == 0) {
        return SYSTOLE_OK;
    }
    segment->parameters = ir_allocate(c, segment->parameter_words, columns);
    if (segment->parameters == NULL) {
        return ir_out_of_memory(c);
    }
    for (uint32_t i = 0; i < segment->operation_count; i++) {
        const struct operation *o = &c->operations[segment->operations[i]];
        if (o->stream_words > 0) {
            put_operation(c, o, segment->parameters);
        }
        movement_put_parameters(c, o, segment->parameters);
    }
    for (uint32_t i = 0; i < segment->storage_count; i++) {
        const struct storage *s = &segment->storages[i];
        if (s->is_constant) {
            uint32_t offset = s->placement.address & 0xFFFFFFFu;
            systole_placement_pack(&s->placement, columns, c->graph->tensors[s->tensor].data,
                                   segment->parameters + (size_t)offset * columns);
        }
    }
    return SYSTOLE_OK;
}

enum systole_status pass_parameters(struct compilation *c, struct segment_plan *segment) {
    parameters_assign(c, segment);
    segment->parameters = NULL;
    // Else allocate will see that they do not fit.
    return segment->parameter_words <= systole_target_words(c->target) ? parameters_fill(c, segment) : SYSTOLE_OK;
}
