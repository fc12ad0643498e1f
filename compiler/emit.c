// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// One command a piece, in the order of the operators (which is correct by itself), without tokens; schedule brings them
// into the order in which they run and adds those. Every command gets the box of the tensor that it writes.
#include <string.h>

#include "movement.h"

static const struct storage *storage_of(const struct segment_plan *segment, int32_t tensor) {
    return &segment->storages[ir_find_storage(segment, tensor)];
}

static const uint8_t window_opcodes[] = {
    [OPERATION_CONV] = SYSTOLE_OPCODE_CONV,         [OPERATION_DEPTHWISE] = SYSTOLE_OPCODE_DEPTHWISE,
    [OPERATION_MAX_POOL] = SYSTOLE_OPCODE_MAX_POOL, [OPERATION_AVERAGE_POOL] = SYSTOLE_OPCODE_AVERAGE_POOL,
    [OPERATION_SUM_POOL] = SYSTOLE_OPCODE_SUM_POOL, [OPERATION_MIN_POOL] = SYSTOLE_OPCODE_MIN_POOL,
};

// Pixel of the output tensor, counted linearly, at which a piece begins.
static uint32_t first_pixel(const struct operation *o, const struct piece *piece) {
    const struct window *w = &o->window;
    return (piece->image * w->output_height + piece->y0) * w->output_width + piece->x0;
}

static uint32_t block_rows(const struct compilation *c, uint32_t rows, uint32_t width) {
    uint32_t fit = c->target->accumulators / width;
    return ir_divide_up(rows, ir_divide_up(rows, fit));
}

static void emit_window(const struct compilation *c, const struct segment_plan *segment, const struct operation *o,
                        const struct piece *piece, struct systole_command *command) {
    const struct window *w = &o->window;
    const struct storage *in = storage_of(segment, o->inputs[0].tensor), *out = storage_of(segment, o->output.tensor);
    bool conv = o->kind == OPERATION_CONV;
    bool raw = o->kind == OPERATION_MAX_POOL || o->kind == OPERATION_MIN_POOL ||
               o->kind == OPERATION_AVERAGE_POOL; // these know no zero points
    uint32_t height = piece->y1 - piece->y0, width = piece->x1 - piece->x0;
    uint32_t row_pixels = w->row_pixels > 0 ? w->row_pixels : w->input_width;
    uint32_t image_pixels = w->row_pixels > 0 ? w->image_pixels : w->input_height * w->input_width;
    struct systole_window *b = &command->body.window;
    command->header.opcode = window_opcodes[o->kind];
    command->header.unit = conv ? SYSTOLE_UNIT_ARRAY : SYSTOLE_UNIT_DEPTHWISE;
    *b = (struct systole_window){
        .input_address = in->placement.address + ir_pixel_word(in, piece->image * image_pixels) +
                         (conv ? 0 : piece->t0 * in->placement.tile_stride),
        .input_row_stride = o->packed ? in->placement.row_stride : ir_pixel_stride(in, row_pixels),
        .input_tile_stride = in->placement.tile_stride,
        .input_pixel_stride = (uint16_t)(o->packed ? w->input_channels : in->placement.pixel_stride),
        .input_height = (uint16_t)w->input_height,
        .input_width = (uint16_t)w->input_width,
        .input_tiles = (uint16_t)(conv && !o->packed ? ir_divide_up(w->input_channels, c->target->columns) : 1),
        .origin_y = (int16_t)((int32_t)(piece->y0 * w->stride_y) - w->pad_top),
        .origin_x = (int16_t)((int32_t)(piece->x0 * w->stride_x) - w->pad_left),
        .kernel_height = (uint8_t)w->kernel_height,
        .kernel_width = (uint8_t)w->kernel_width,
        .stride_y = (uint8_t)w->stride_y,
        .stride_x = (uint8_t)w->stride_x,
        .dilation_y = (uint8_t)w->dilation_y,
        .dilation_x = (uint8_t)w->dilation_x,
        .segments = (uint8_t)(o->packed ? o->segments : 0),
        .segment_bytes = (uint8_t)(o->packed ? o->segment_bytes : 0),
        .output_address =
            out->placement.address + ir_pixel_word(out, first_pixel(o, piece)) + piece->t0 * out->placement.tile_stride,
        .output_row_stride = ir_pixel_stride(out, w->output_width),
        .output_tile_stride = out->placement.tile_stride,
        .output_pixel_stride = (uint16_t)out->placement.pixel_stride,
        .output_height = (uint16_t)height,
        .output_width = (uint16_t)width,
        .output_tiles = (uint16_t)(piece->t1 - piece->t0),
        .block_rows = (uint16_t)(conv ? block_rows(c, height, width) : 0),
        .tile_rows = (uint16_t)(conv ? o->tile_rows : 0),
        .input_zero_point = (int16_t)(raw ? 0 : o->inputs[0].zero_point),
        .weight_zero_point = (int16_t)o->weights.zero_point,
        .output_zero_point = (int16_t)(raw ? 0 : o->output.zero_point),
        .clamp_min = (int16_t)o->clamp_min,
        .clamp_max = (int16_t)o->clamp_max,
        .output_shift = (int16_t)(o->kind == OPERATION_SUM_POOL ? o->rescale.shift : 0),
        .output_multiplier = o->kind == OPERATION_SUM_POOL ? o->rescale.multiplier : 0,
    };
    if (o->stream_words > 0) {
        b->parameter_address =
            (uint32_t)SYSTOLE_REGION_PARAMETERS << 28 | (o->parameter_offset + piece->t0 * o->stream_words);
    }
    command->header.flags |= o->packed ? SYSTOLE_FLAG_PACKED : 0;
    command->header.flags |= o->weights.is_unsigned ? SYSTOLE_FLAG_WEIGHT_UNSIGNED : 0;
}

// Address and strides of an element-wise operand: row, tile and pixel.
static uint32_t walk_operand(const struct segment_plan *segment, const struct operation *o, uint32_t operand,
                             const struct piece *piece, uint32_t strides[3]) {
    const struct storage *s = storage_of(segment, o->inputs[operand].tensor);
    const struct pixel_steps *steps = &o->steps[operand];
    uint32_t tile = steps->lane_broadcast ? 0 : piece->t0;
    strides[0] = steps->row == 0 ? 0 : ir_pixel_stride(s, steps->row);
    strides[1] = steps->lane_broadcast ? 0 : s->placement.tile_stride;
    strides[2] = steps->column == 0 ? 0 : s->placement.pixel_stride;
    return s->placement.address +
           ir_pixel_word(s, piece->image * steps->image + piece->y0 * steps->row + piece->x0 * steps->column) +
           tile * s->placement.tile_stride;
}

static const uint8_t elementwise_opcodes[] = {
    [OPERATION_ADD] = SYSTOLE_OPCODE_ADD,         [OPERATION_SUB] = SYSTOLE_OPCODE_SUB,
    [OPERATION_MUL] = SYSTOLE_OPCODE_MUL,         [OPERATION_MAXIMUM] = SYSTOLE_OPCODE_MAXIMUM,
    [OPERATION_MINIMUM] = SYSTOLE_OPCODE_MINIMUM, [OPERATION_SQUARED_DIFFERENCE] = SYSTOLE_OPCODE_SQUARED_DIFFERENCE,
    [OPERATION_PRELU] = SYSTOLE_OPCODE_PRELU,     [OPERATION_REQUANTISE] = SYSTOLE_OPCODE_REQUANTISE,
    [OPERATION_TABLE] = SYSTOLE_OPCODE_TABLE,
};

static void emit_elementwise(const struct segment_plan *segment, const struct operation *o, const struct piece *piece,
                             struct systole_command *command) {
    const struct storage *out = storage_of(segment, o->output.tensor);
    bool pair = ir_is_pair(o->kind);
    uint32_t strides[2][3] = {{0, 0, 0}, {0, 0, 0}}, addresses[2] = {0, 0};
    for (uint32_t k = 0; k < o->input_count; k++) {
        addresses[k] = walk_operand(segment, o, k, piece, strides[k]);
    }
    if (o->kind == OPERATION_TABLE) {
        addresses[1] = (uint32_t)SYSTOLE_REGION_PARAMETERS << 28 | o->tables[0].parameter_offset;
    }
    command->header.opcode = elementwise_opcodes[o->kind];
    command->header.unit = SYSTOLE_UNIT_ELEMENTWISE;
    command->body.elementwise = (struct systole_elementwise){
        .input_address = addresses[0],
        .input_row_stride = strides[0][0],
        .input_tile_stride = strides[0][1],
        .input2_address = addresses[1],
        .input2_row_stride = strides[1][0],
        .input2_tile_stride = strides[1][1],
        .output_address =
            out->placement.address + ir_pixel_word(out, first_pixel(o, piece)) + piece->t0 * out->placement.tile_stride,
        .output_row_stride = ir_pixel_stride(out, o->window.output_width),
        .output_tile_stride = out->placement.tile_stride,
        .input_pixel_stride = (uint16_t)strides[0][2],
        .input2_pixel_stride = (uint16_t)strides[1][2],
        .output_pixel_stride = (uint16_t)out->placement.pixel_stride,
        .height = (uint16_t)(piece->y1 - piece->y0),
        .width = (uint16_t)(piece->x1 - piece->x0),
        .tiles = (uint16_t)(piece->t1 - piece->t0),
        .input_zero_point = (int16_t)o->inputs[0].zero_point,
        .input2_zero_point = (int16_t)(pair ? o->inputs[1].zero_point : 0),
        .output_zero_point = (int16_t)o->output.zero_point,
        .clamp_min = (int16_t)o->clamp_min,
        .clamp_max = (int16_t)o->clamp_max,
        .left_shift = (uint16_t)o->left_shift,
        .input_multiplier = o->input_rescale[0].multiplier,
        .input2_multiplier = o->input_rescale[1].multiplier,
        .output_multiplier = o->rescale.multiplier,
        .input_shift = (int16_t)o->input_rescale[0].shift,
        .input2_shift = (int16_t)o->input_rescale[1].shift,
        .output_shift = (int16_t)o->rescale.shift,
    };
    command->header.flags |= o->steps[0].lane_broadcast ? SYSTOLE_FLAG_INPUT_LANE_BROADCAST : 0;
    command->header.flags |= o->steps[1].lane_broadcast ? SYSTOLE_FLAG_INPUT2_LANE_BROADCAST : 0;
    command->header.flags |= pair && o->inputs[1].is_unsigned ? SYSTOLE_FLAG_INPUT2_UNSIGNED : 0;
}

// The box of the output tensor, whose rows may be others than the operation's; false: it is no box there.
static bool describe(const struct compilation *c, const struct segment_plan *segment, const struct operation *o,
                     const struct piece *piece, struct systole_command_info *info) {
    const struct systole_placement *p = &storage_of(segment, o->output.tensor)->placement;
    uint32_t first = first_pixel(o, piece), columns = c->target->columns;
    uint32_t height = piece->y1 - piece->y0, width = piece->x1 - piece->x0;
    if (o->window.output_width != p->width && (height == 1 || width == o->window.output_width)) {
        uint32_t run = height * width;
        height = run % p->width == 0 && first % p->width == 0 ? run / p->width : 1;
        width = run / height;
    }
    info->operator_index = (int32_t)o->index;
    info->tensor_index = o->output.tensor;
    info->y0 = first / p->width;
    info->y1 = info->y0 + height;
    info->x0 = first % p->width;
    info->x1 = info->x0 + width;
    info->c0 = piece->t0 * columns;
    info->c1 = piece->t1 * columns < p->channels ? piece->t1 * columns : p->channels;
    return info->x1 <= p->width && info->y1 <= p->height;
}

bool emit_piece(const struct compilation *c, const struct segment_plan *segment, const struct piece *piece,
                struct systole_command *command, struct systole_command_info *info) {
    const struct operation *o = &c->operations[segment->operations[piece->operation]];
    if (piece->move != NULL) {
        movement_emit(c, segment, o, piece, command, info);
        return true;
    }
    command->header.operator_index = (uint16_t)o->index;
    command->header.flags = (uint16_t)((o->inputs[0].is_unsigned ? SYSTOLE_FLAG_INPUT_UNSIGNED : 0) |
                                       (o->output.is_unsigned ? SYSTOLE_FLAG_OUTPUT_UNSIGNED : 0));
    if (ir_is_window(o->kind)) {
        emit_window(c, segment, o, piece, command);
    } else {
        emit_elementwise(segment, o, piece, command);
    }
    return describe(c, segment, o, piece, info);
}

enum systole_status pass_emit(struct compilation *c, struct segment_plan *segment) {
    segment->commands = ir_allocate(c, segment->piece_count, sizeof *segment->commands);
    segment->info = ir_allocate(c, segment->piece_count, sizeof *segment->info);
    if (segment->commands == NULL || segment->info == NULL) {
        return ir_out_of_memory(c);
    }
    segment->command_count = segment->piece_count;
    for (uint32_t i = 0; i < segment->piece_count; i++) {
        const struct piece *piece = &segment->pieces[i];
        if (!emit_piece(c, segment, piece, &segment->commands[i], &segment->info[i])) {
            return ir_internal_error(c, segment->operations[piece->operation], "a piece is no box of its tensor");
        }
    }
    dump_commands(c, segment, "emit");
    return SYSTOLE_OK;
}
