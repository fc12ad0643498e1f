// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// TRANSPOSE_CONV (TensorFlow Lite reference/transpose_conv.h) by phases. Output rows stride*j + p meet every stride-th
// kernel row only, columns likewise, so the outputs of a phase are an ordinary convolution of stride 1 with a part of
// the kernel, turned around, and strides of the output put them where they belong. No zero is inserted and multiplied:
// the array does as many multiplications as there are. A phase that the kernel does not reach (it is smaller than the
// stride) is the bias alone: one tap of weight zero. Phases are moves (movement.h): their rows stripe like those.
#include <string.h>

#include "movement.h"

// The part of a kernel that one phase of an axis sees: taps first, first - stride ...
struct axis_phase {
    uint32_t taps, first; // taps 0: none
    int32_t origin;       // input position of the first tap for output 0 of the phase
};

static struct axis_phase phase_of(int32_t phase, int32_t padding, int32_t stride, int32_t kernel) {
    int32_t least = (phase + padding) % stride, base = (phase + padding) / stride;
    if (least >= kernel) {
        return (struct axis_phase){0, 0, 0};
    }
    int32_t taps = (kernel - least + stride - 1) / stride;
    return (struct axis_phase){(uint32_t)taps, (uint32_t)(least + stride * (taps - 1)), base - (taps - 1)};
}

static int32_t padding_of(const struct systole_options *o, int32_t output, int32_t kernel, int32_t stride) {
    return systole_padding_before(o->padding, output, kernel, stride, 1,
                                  systole_output_extent(o->padding, output, kernel, stride, 1));
}

static uint32_t outputs_of(int32_t extent, int32_t phase, int32_t stride) {
    return extent > phase ? ir_divide_up((uint32_t)(extent - phase), (uint32_t)stride) : 0;
}

static bool derive(struct compilation *c, struct operation *o) {
    const struct systole_operator *op = &c->graph->operators[o->index];
    const struct systole_tensor *filter = &c->graph->tensors[op->inputs[1]];
    struct systole_convolution_parameters p;
    if (systole_convolution_parameters_derive(c->graph, o->index, &p, c->diagnostic) != SYSTOLE_OK) {
        return false;
    }
    o->weights = (struct weights){
        .data = filter->data,
        .bias = op->input_count > 3 && op->inputs[3] >= 0 ? c->graph->tensors[op->inputs[3]].data : NULL,
        .is_unsigned = filter->dtype == SYSTOLE_UINT8,
        .multiplier = 1,
        .zero_point = p.weight_zero_point,
        .rescale = ir_allocate(c, p.channels, sizeof *o->weights.rescale),
    };
    if (o->weights.rescale != NULL) {
        memcpy(o->weights.rescale, p.multipliers, p.channels * sizeof *p.multipliers);
    }
    o->inputs[0].zero_point = p.input_zero_point;
    o->output.zero_point = p.output_zero_point;
    o->clamp_min = p.clamp_min;
    o->clamp_max = p.clamp_max;
    systole_convolution_parameters_free(&p);
    return o->weights.rescale != NULL;
}

bool transpose_convolution_plan(struct compilation *c, struct operation *o) {
    const struct systole_operator *op = &c->graph->operators[o->index];
    const struct systole_tensor *filter = &c->graph->tensors[op->inputs[1]];
    const struct systole_tensor *in = &c->graph->tensors[op->inputs[2]], *out = &c->graph->tensors[op->outputs[0]];
    int32_t sy = op->options.stride_h, sx = op->options.stride_w, ky = filter->shape[1], kx = filter->shape[2];
    int32_t top = padding_of(&op->options, out->shape[1], ky, sy);
    int32_t left = padding_of(&op->options, out->shape[2], kx, sx);
    uint32_t tiles = ir_divide_up((uint32_t)out->shape[3], c->target->columns);
    if ((int64_t)sy * sx * in->shape[0] > IR_MOVES_LIMIT || !derive(c, o)) {
        return false;
    }
    o->phases = ir_allocate(c, (size_t)sy * (size_t)sx, sizeof *o->phases);
    o->phase_count = 0;
    for (int32_t i = 0; i < sy * sx && o->phases != NULL; i++) {
        int32_t py = i / sx, px = i % sx;
        uint32_t rows = outputs_of(out->shape[1], py, sy), columns = outputs_of(out->shape[2], px, sx);
        struct axis_phase y = phase_of(py, top, sy, ky), x = phase_of(px, left, sx, kx);
        if (rows == 0 || columns == 0) {
            continue;
        }
        bool none = y.taps == 0 || x.taps == 0;
        o->phases[o->phase_count++] = (struct phase){
            .rows = none ? 1 : y.taps,
            .columns = none ? 1 : x.taps,
            .has_weights = !none,
            .first_y = y.first,
            .first_x = x.first,
            .origin_y = none ? 0 : y.origin,
            .origin_x = none ? 0 : x.origin,
            .image_height = (uint32_t)in->shape[1],
            .image_width = (uint32_t)in->shape[2],
        };
        for (int32_t image = 0; image < in->shape[0]; image++) {
            o->moves[o->move_count++] = (struct move){
                .kind = MOVE_CONV,
                .rows = rows,
                .columns = columns,
                .tiles = tiles,
                .from_pixel = (uint32_t)(image * in->shape[1] * in->shape[2]),
                .from_row = (uint32_t)in->shape[2],
                .from_column = 1,
                .to_y = (uint32_t)(image * out->shape[1] + py),
                .to_x = (uint32_t)px,
                .to_row = (uint32_t)sy,
                .to_column = (uint32_t)sx,
                .table = -1,
                .phase = o->phase_count - 1,
                .is_final = true,
            };
        }
    }
    return o->phases != NULL;
}

void transpose_convolution_rows(const struct phase *phase, uint32_t i0, uint32_t i1, uint32_t *lo, uint32_t *hi) {
    int64_t height = phase->image_height, begin = phase->origin_y + (int64_t)i0;
    int64_t end = phase->origin_y + (int64_t)i1 - 1 + phase->rows;
    *lo = (uint32_t)(begin < 0 ? 0 : begin > height ? height : begin);
    *hi = (uint32_t)(end < 0 ? 0 : end > height ? height : end);
    if (*lo >= *hi) { // only padding: any row will do
        *lo = *hi > 0 ? *hi - 1 : 0;
        *hi = *lo + 1;
    }
}

// ---- Parameters

static uint32_t tile_rows(const struct compilation *c, const struct operation *o) {
    uint32_t lanes = o->window.input_channels < c->target->rows ? o->window.input_channels : c->target->rows;
    return ir_round_up(lanes, c->target->weight_port_rows);
}

static uint32_t reductions(const struct compilation *c, const struct operation *o, const struct phase *phase) {
    return phase->rows * phase->columns * ir_divide_up(o->window.input_channels, c->target->columns);
}

uint64_t transpose_convolution_words(const struct compilation *c, const struct operation *o,
                                     const struct phase *phase) {
    uint64_t tile = IR_RECORD_WORDS + (uint64_t)reductions(c, o, phase) * tile_rows(c, o);
    uint64_t words = tile * ir_divide_up(o->window.output_channels, c->target->columns);
    uint64_t port = c->target->weight_port_rows;
    return (words + port - 1) / port * port;
}

uint64_t transpose_convolution_cycles(const struct compilation *c, const struct operation *o, const struct move *move,
                                      uint32_t rows) {
    uint64_t pixels = (uint64_t)rows * move->columns, load = tile_rows(c, o) / c->target->weight_port_rows;
    return (pixels > load || pixels == 0 ? pixels : load) * move->tiles * reductions(c, o, &o->phases[move->phase]);
}

static void put_int32(uint8_t *bytes, int32_t value) {
    for (uint32_t i = 0; i < 4; i++) {
        bytes[i] = (uint8_t)((uint32_t)value >> (8 * i));
    }
}

void transpose_convolution_put(const struct compilation *c, const struct operation *o, const struct phase *phase,
                               uint8_t *bytes) {
    const struct systole_operator *op = &c->graph->operators[o->index];
    const struct systole_tensor *filter = &c->graph->tensors[op->inputs[1]];
    uint32_t columns = c->target->columns, rows = tile_rows(c, o), channels = o->window.input_channels;
    uint32_t input_tiles = ir_divide_up(channels, columns), outputs = o->window.output_channels;
    size_t kernel_width = (size_t)filter->shape[2], taps = (size_t)filter->shape[1] * kernel_width;
    for (uint32_t first = 0; first < outputs; first += columns) {
        uint32_t lanes = outputs - first < columns ? outputs - first : columns;
        for (uint32_t lane = 0; lane < lanes; lane++) {
            if (o->weights.bias != NULL) {
                memcpy(bytes + 4 * lane, o->weights.bias + 4 * (size_t)(first + lane), 4);
            }
            put_int32(bytes + 4 * (columns + lane), o->weights.rescale[first + lane].multiplier);
            put_int32(bytes + 4 * (2 * columns + lane), o->weights.rescale[first + lane].shift);
        }
        bytes += (size_t)IR_RECORD_WORDS * columns;
        memset(bytes, (uint8_t)o->weights.zero_point, (size_t)reductions(c, o, phase) * rows * columns);
        for (uint32_t i = 0; i < reductions(c, o, phase) * rows; i++, bytes += columns) {
            uint32_t tap = i / rows / input_tiles, input = i / rows % input_tiles * columns + i % rows;
            if (!phase->has_weights || input >= channels) {
                continue;
            }
            uint32_t ky = phase->first_y - tap / phase->columns * (uint32_t)op->options.stride_h;
            uint32_t kx = phase->first_x - tap % phase->columns * (uint32_t)op->options.stride_w;
            for (uint32_t lane = 0; lane < lanes; lane++) {
                size_t weight = ((first + lane) * taps + ky * kernel_width + kx) * channels + input;
                bytes[lane] = o->weights.data[weight];
            }
        }
    }
}

// ---- Commands

void transpose_convolution_emit(const struct compilation *c, const struct operation *o, const struct piece *piece,
                                const struct storage *source, struct systole_command *command) {
    const struct move *move = piece->move;
    const struct phase *phase = &o->phases[move->phase];
    const struct systole_placement *p = &source->placement;
    uint32_t height = piece->y1 - piece->y0, width = piece->x1 - piece->x0, lo, hi;
    uint32_t fit = c->target->accumulators / width;
    transpose_convolution_rows(phase, piece->y0, piece->y1, &lo, &hi);
    command->header.opcode = SYSTOLE_OPCODE_CONV;
    command->header.unit = SYSTOLE_UNIT_ARRAY;
    command->header.flags = (uint16_t)((o->inputs[0].is_unsigned ? SYSTOLE_FLAG_INPUT_UNSIGNED : 0) |
                                       (o->weights.is_unsigned ? SYSTOLE_FLAG_WEIGHT_UNSIGNED : 0) |
                                       (o->output.is_unsigned ? SYSTOLE_FLAG_OUTPUT_UNSIGNED : 0));
    command->body.window = (struct systole_window){
        .input_address = p->address + ir_pixel_word(source, move->from_pixel + lo * phase->image_width),
        .input_row_stride = ir_pixel_stride(source, phase->image_width),
        .input_tile_stride = p->tile_stride,
        .input_pixel_stride = (uint16_t)p->pixel_stride,
        .input_height = (uint16_t)(hi - lo),
        .input_width = (uint16_t)phase->image_width,
        .input_tiles = (uint16_t)ir_divide_up(o->window.input_channels, c->target->columns),
        .origin_y = (int16_t)(phase->origin_y + (int32_t)piece->y0 - (int32_t)lo),
        .origin_x = (int16_t)(phase->origin_x + (int32_t)piece->x0),
        .kernel_height = (uint8_t)phase->rows,
        .kernel_width = (uint8_t)phase->columns,
        .stride_y = 1,
        .stride_x = 1,
        .dilation_y = 1,
        .dilation_x = 1,
        .output_height = (uint16_t)height,
        .output_width = (uint16_t)width,
        .output_tiles = (uint16_t)move->tiles,
        .block_rows = (uint16_t)ir_divide_up(height, ir_divide_up(height, fit)),
        .tile_rows = (uint16_t)tile_rows(c, o),
        .parameter_address = (uint32_t)SYSTOLE_REGION_PARAMETERS << 28 | phase->parameter_offset,
        .input_zero_point = (int16_t)o->inputs[0].zero_point,
        .weight_zero_point = (int16_t)o->weights.zero_point,
        .output_zero_point = (int16_t)o->output.zero_point,
        .clamp_min = (int16_t)o->clamp_min,
        .clamp_max = (int16_t)o->clamp_max,
    };
}
