// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Moves as commands: copies are requantisations by one or tables, fills are requantisations whose clamp leaves one
// value, lanes are convolutions of one tap. Bytes keep their meaning: no zero points but the least value of the type.
#include <string.h>

#include "movement.h"
#include "target.h"

#define ONE 0x40000000 // in Q31 with a shift of 1: 1.0

static const struct storage *storage_of(const struct segment_plan *segment, int32_t tensor) {
    return &segment->storages[ir_find_storage(segment, tensor)];
}

static const struct storage *source_storage(const struct segment_plan *segment, const struct operation *o,
                                            const struct move *move) {
    return storage_of(segment, move->from >= 0 ? o->inputs[move->from].tensor : ir_temporary_tensor(o, move->from));
}

static const struct storage *target_storage(const struct segment_plan *segment, const struct operation *o,
                                            const struct move *move) {
    return storage_of(segment,
                      move->to >= 0 ? ir_output(o, (uint32_t)move->to)->tensor : ir_temporary_tensor(o, move->to));
}

// ---- Pieces

static uint32_t least(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

uint32_t movement_piece_columns(const struct compilation *c, const struct move *move) {
    bool accumulates = move->kind == MOVE_LANES || move->kind == MOVE_CONV;
    return accumulates ? ir_divide_up(move->columns, ir_divide_up(move->columns, c->target->accumulators))
                       : move->columns;
}

// Rows and columns of a piece of a move: a few stripes where there is much to do.
static void cut(const struct compilation *c, const struct operation *o, const struct move *move, uint32_t *rows,
                uint32_t *columns) {
    uint32_t words = move->rows * move->columns * move->tiles;
    uint32_t stripes = least(least(o->scheme.stripes, ir_divide_up(words, 256)), move->rows);
    *rows = ir_divide_up(move->rows, stripes > 0 ? stripes : 1);
    *columns = movement_piece_columns(c, move);
}

bool movement_is_free(const struct operation *operation) {
    uint32_t i = 0;
    while (i < operation->move_count && operation->moves[i].is_view) {
        i++;
    }
    return operation->kind == OPERATION_MOVE && i == operation->move_count;
}

uint32_t movement_pieces(const struct compilation *c, const struct operation *o, uint32_t position,
                         struct piece *pieces) {
    uint32_t count = 0, rows, columns;
    for (uint32_t i = 0; i < o->move_count; i++) {
        const struct move *move = &o->moves[i];
        if (move->is_view) {
            continue;
        }
        cut(c, o, move, &rows, &columns);
        for (uint32_t y = 0; y < move->rows; y += rows) {
            for (uint32_t x = 0; x < move->columns; x += columns) {
                if (pieces != NULL) {
                    pieces[count] = (struct piece){
                        .operation = position,
                        .move = move,
                        .y0 = y,
                        .y1 = least(y + rows, move->rows),
                        .x0 = x,
                        .x1 = least(x + columns, move->columns),
                        .t1 = move->tiles,
                    };
                }
                count++;
            }
        }
    }
    return count;
}

// ---- Parameters

static uint32_t stream_words(const struct lane_map *map) {
    return IR_RECORD_WORDS + map->input_tiles * map->tile_rows;
}

static uint32_t blend_words(const struct compilation *c, const struct blend *blend) { // of a tile
    return ir_round_up(IR_RECORD_WORDS + blend->rows * blend->columns, c->target->weight_port_rows);
}

uint64_t movement_place_parameters(const struct compilation *c, struct operation *o, uint64_t words) {
    for (uint32_t i = 0; i < o->table_count; i++) {
        o->tables[i].parameter_offset = (uint32_t)words;
        words += ir_round_up(256 / c->target->columns, c->target->weight_port_rows);
    }
    for (uint32_t i = 0; i < o->blend_count; i++) {
        o->blends[i].parameter_offset = (uint32_t)words;
        words += (uint64_t)blend_words(c, &o->blends[i]) * o->blends[i].tiles;
    }
    for (uint32_t i = 0; i < o->phase_count; i++) {
        o->phases[i].parameter_offset = (uint32_t)words;
        words += transpose_convolution_words(c, o, &o->phases[i]);
    }
    for (uint32_t i = 0; i < o->lane_map_count; i++) {
        struct lane_map *map = &o->lane_maps[i];
        map->parameter_offset = (uint32_t)words;
        words += ir_round_up(stream_words(map) * map->output_tiles, c->target->weight_port_rows);
    }
    return words;
}

static void put_int32(uint8_t *bytes, int32_t value) {
    for (uint32_t i = 0; i < 4; i++) {
        bytes[i] = (uint8_t)((uint32_t)value >> (8 * i));
    }
}

static void put_lane_map(const struct compilation *c, const struct operation *o, const struct lane_map *map,
                         uint8_t *bytes) {
    uint32_t columns = c->target->columns;
    int32_t lowest = o->output.is_unsigned ? 0 : -128;
    for (uint32_t lane = 0; lane < map->output_tiles * columns; lane++) {
        uint8_t *stream = bytes + (size_t)(lane / columns) * stream_words(map) * columns;
        uint32_t at = lane % columns;
        put_int32(stream + 4 * at, map->source[lane] < 0 ? map->value[lane] - lowest : 0);
        put_int32(stream + 4 * (columns + at), ONE);
        put_int32(stream + 4 * (2 * columns + at), 1);
        if (map->source[lane] >= 0) {
            uint32_t tile = (uint32_t)map->source[lane] / columns, row = (uint32_t)map->source[lane] % columns;
            stream[(size_t)(IR_RECORD_WORDS + tile * map->tile_rows + row) * columns + at] = 1;
        }
    }
}

// A multiplier of 2^-shift and the least bit more: what lies between two numbers goes away from zero, and nothing else
// comes so near to that (shift is at most 9, a sum below 2^17).
static void put_blend(const struct compilation *c, const struct blend *blend, uint8_t *bytes) {
    uint32_t columns = c->target->columns, taps = blend->rows * blend->columns;
    for (uint32_t tile = 0; tile < blend->tiles; tile++, bytes += (size_t)blend_words(c, blend) * columns) {
        uint32_t shift = blend->shifts[tile];
        for (uint32_t lane = 0; lane < columns; lane++) {
            put_int32(bytes + 4 * (columns + lane), shift == 0 ? ONE : (int32_t)((UINT32_C(1) << (31 - shift)) + 1));
            put_int32(bytes + 4 * (2 * columns + lane), shift == 0 ? 1 : 0);
            for (uint32_t tap = 0; tap < taps; tap++) {
                bytes[(size_t)(IR_RECORD_WORDS + tap) * columns + lane] = blend->weights[tile * taps + tap];
            }
        }
    }
}

void movement_put_parameters(const struct compilation *c, const struct operation *o, uint8_t *parameters) {
    for (uint32_t i = 0; i < o->blend_count; i++) {
        put_blend(c, &o->blends[i], parameters + (size_t)o->blends[i].parameter_offset * c->target->columns);
    }
    for (uint32_t i = 0; i < o->phase_count; i++) {
        transpose_convolution_put(c, o, &o->phases[i],
                                  parameters + (size_t)o->phases[i].parameter_offset * c->target->columns);
    }
    for (uint32_t i = 0; i < o->table_count; i++) {
        memcpy(parameters + (size_t)o->tables[i].parameter_offset * c->target->columns, o->tables[i].bytes, 256);
    }
    for (uint32_t i = 0; i < o->lane_map_count; i++) {
        put_lane_map(c, o, &o->lane_maps[i],
                     parameters + (size_t)o->lane_maps[i].parameter_offset * c->target->columns);
    }
}

// ---- Commands

struct place {
    uint32_t address, row, column, tile; // strides
};

static struct place source_place(const struct segment_plan *segment, const struct operation *o,
                                 const struct piece *piece) {
    const struct move *move = piece->move;
    const struct storage *s = source_storage(segment, o, move);
    const struct systole_placement *p = &s->placement;
    uint32_t pixel = move->from_pixel + piece->y0 * move->from_row + piece->x0 * move->from_column;
    return (struct place){p->address + move->from_tile * p->tile_stride + ir_pixel_word(s, pixel),
                          ir_pixel_stride(s, move->from_row), ir_pixel_stride(s, move->from_column), p->tile_stride};
}

static struct place target_place(const struct storage *s, const struct piece *piece) {
    const struct move *move = piece->move;
    const struct systole_placement *p = &s->placement;
    uint32_t y = move->to_y + piece->y0 * move->to_row, x = move->to_x + piece->x0 * move->to_column;
    return (struct place){p->address + move->to_tile * p->tile_stride + y * p->row_stride + x * p->pixel_stride,
                          move->to_row * p->row_stride, move->to_column * p->pixel_stride, p->tile_stride};
}

static void emit_lanes(const struct compilation *c, const struct operation *o, const struct piece *piece,
                       const struct place *from, const struct place *to, struct systole_command *command) {
    const struct lane_map *map = &o->lane_maps[piece->move->lanes];
    uint32_t height = piece->y1 - piece->y0, width = piece->x1 - piece->x0;
    uint32_t fit = c->target->accumulators / width;
    bool is_unsigned = o->output.is_unsigned;
    command->header.opcode = SYSTOLE_OPCODE_CONV;
    command->header.unit = SYSTOLE_UNIT_ARRAY;
    command->body.window = (struct systole_window){
        .input_address = from->address,
        .input_row_stride = from->row,
        .input_tile_stride = from->tile,
        .input_pixel_stride = (uint16_t)(from->column > 0 ? from->column : 1),
        .input_height = (uint16_t)height,
        .input_width = (uint16_t)width,
        .input_tiles = (uint16_t)map->input_tiles,
        .kernel_height = 1,
        .kernel_width = 1,
        .stride_y = 1,
        .stride_x = 1,
        .dilation_y = 1,
        .dilation_x = 1,
        .output_address = to->address,
        .output_row_stride = to->row,
        .output_tile_stride = to->tile,
        .output_pixel_stride = (uint16_t)to->column,
        .output_height = (uint16_t)height,
        .output_width = (uint16_t)width,
        .output_tiles = (uint16_t)map->output_tiles,
        .block_rows = (uint16_t)ir_divide_up(height, ir_divide_up(height, fit)),
        .tile_rows = (uint16_t)map->tile_rows,
        .parameter_address = (uint32_t)SYSTOLE_REGION_PARAMETERS << 28 | map->parameter_offset,
        .input_zero_point = (int16_t)(is_unsigned ? 0 : -128),
        .output_zero_point = (int16_t)(is_unsigned ? 0 : -128),
        .clamp_min = (int16_t)(is_unsigned ? 0 : -128),
        .clamp_max = (int16_t)(is_unsigned ? 255 : 127),
    };
}

static void emit_blend(const struct segment_plan *segment, const struct operation *o, const struct piece *piece,
                       const struct place *from, const struct place *to, struct systole_command *command) {
    const struct move *move = piece->move;
    const struct blend *blend = &o->blends[move->blend];
    const struct storage *source = source_storage(segment, o, move);
    uint32_t height = piece->y1 - piece->y0, width = piece->x1 - piece->x0;
    uint32_t stride_y = move->from_row / blend->row_pixels, stride_x = move->from_column;
    uint32_t row = ir_pixel_stride(source, blend->row_pixels);
    bool phases = move->phases > 1;
    if (stride_y == 0) { // the same row again and again, one tap
        stride_y = 1;
        row = 0;
    }
    command->header.opcode = SYSTOLE_OPCODE_DEPTHWISE;
    command->header.unit = SYSTOLE_UNIT_DEPTHWISE;
    command->header.flags |= SYSTOLE_FLAG_WEIGHT_UNSIGNED;
    command->body.window = (struct systole_window){
        .input_address = from->address,
        .input_row_stride = row,
        .input_tile_stride = phases ? 0 : from->tile,
        .input_pixel_stride = (uint16_t)source->placement.pixel_stride,
        .input_height = (uint16_t)((height - 1) * stride_y + blend->rows),
        .input_width = (uint16_t)((width - 1) * stride_x + blend->columns),
        .input_tiles = 1,
        .kernel_height = (uint8_t)blend->rows,
        .kernel_width = (uint8_t)blend->columns,
        .stride_y = (uint8_t)stride_y,
        .stride_x = (uint8_t)stride_x,
        .dilation_y = 1,
        .dilation_x = 1,
        .output_address = to->address,
        .output_row_stride = to->row,
        .output_tile_stride = phases ? to->column / move->to_column : to->tile,
        .output_pixel_stride = (uint16_t)to->column,
        .output_height = (uint16_t)height,
        .output_width = (uint16_t)width,
        .output_tiles = (uint16_t)blend->tiles,
        .parameter_address = (uint32_t)SYSTOLE_REGION_PARAMETERS << 28 | blend->parameter_offset,
        .clamp_min = (int16_t)(o->output.is_unsigned ? 0 : -128),
        .clamp_max = (int16_t)(o->output.is_unsigned ? 255 : 127),
    };
}

static void emit_words(const struct segment_plan *segment, const struct operation *o, const struct piece *piece,
                       const struct place *from, const struct place *to, struct systole_command *command) {
    const struct move *move = piece->move;
    bool is_unsigned = o->output.is_unsigned, fill = move->kind == MOVE_FILL;
    struct systole_elementwise *e = &command->body.elementwise;
    command->header.opcode = move->table >= 0 ? SYSTOLE_OPCODE_TABLE : SYSTOLE_OPCODE_REQUANTISE;
    command->header.unit = SYSTOLE_UNIT_ELEMENTWISE;
    *e = (struct systole_elementwise){
        .input_address = fill ? (uint32_t)SYSTOLE_REGION_PROGRAM << 28 : from->address, // any word that is there
        .input_row_stride = fill ? 0 : from->row,
        .input_tile_stride = fill ? 0 : from->tile,
        .output_address = to->address,
        .output_row_stride = to->row,
        .output_tile_stride = to->tile,
        .input_pixel_stride = (uint16_t)(fill ? 0 : from->column),
        .output_pixel_stride = (uint16_t)to->column,
        .height = (uint16_t)(piece->y1 - piece->y0),
        .width = (uint16_t)(piece->x1 - piece->x0),
        .tiles = (uint16_t)move->tiles,
        .clamp_min = (int16_t)(fill          ? move->value
                               : is_unsigned ? 0
                                             : -128),
        .clamp_max = (int16_t)(fill          ? move->value
                               : is_unsigned ? 255
                                             : 127),
        .output_multiplier = ONE,
        .output_shift = 1,
    };
    if (move->table >= 0) {
        e->input2_address = (uint32_t)SYSTOLE_REGION_PARAMETERS << 28 | o->tables[move->table].parameter_offset;
    }
    if (move->kind == MOVE_MERGE) { // of the result with the temporary
        struct place other = target_place(source_storage(segment, o, move), piece);
        command->header.opcode = move->takes_least ? SYSTOLE_OPCODE_MINIMUM : SYSTOLE_OPCODE_MAXIMUM;
        command->header.flags |= is_unsigned ? SYSTOLE_FLAG_INPUT2_UNSIGNED : 0;
        e->input_address = to->address;
        e->input_row_stride = to->row;
        e->input_tile_stride = to->tile;
        e->input_pixel_stride = (uint16_t)to->column;
        e->input2_address = other.address;
        e->input2_row_stride = other.row;
        e->input2_tile_stride = other.tile;
        e->input2_pixel_stride = (uint16_t)other.column;
        e->input_multiplier = e->input2_multiplier = ONE;
        e->input_shift = e->input2_shift = 1;
    }
}

void movement_emit(const struct compilation *c, const struct segment_plan *segment, const struct operation *o,
                   const struct piece *piece, struct systole_command *command, struct systole_command_info *info) {
    const struct move *move = piece->move;
    const struct storage *target = target_storage(segment, o, move);
    command->header.operator_index = (uint16_t)o->index;
    struct place from = source_place(segment, o, piece), to = target_place(target, piece);
    command->header.flags =
        (uint16_t)(o->output.is_unsigned ? SYSTOLE_FLAG_INPUT_UNSIGNED | SYSTOLE_FLAG_OUTPUT_UNSIGNED : 0);
    if (move->kind == MOVE_CONV) {
        transpose_convolution_emit(c, o, piece, source_storage(segment, o, move), command);
        command->body.window.output_address = to.address;
        command->body.window.output_row_stride = to.row;
        command->body.window.output_tile_stride = to.tile;
        command->body.window.output_pixel_stride = (uint16_t)to.column;
    } else if (move->kind == MOVE_LANES) {
        emit_lanes(c, o, piece, &from, &to, command);
    } else if (move->kind == MOVE_BLEND) {
        emit_blend(segment, o, piece, &from, &to, command);
    } else {
        emit_words(segment, o, piece, &from, &to, command);
    }
    uint32_t columns = c->target->columns, last = (move->to_tile + move->tiles) * columns;
    *info = (struct systole_command_info){
        .operator_index = (int32_t)o->index,
        .tensor_index = move->is_final && move->to >= 0 ? target->tensor : -1,
        .y0 = move->to_y + piece->y0 * move->to_row,
        .x0 = move->to_x + piece->x0 * move->to_column,
        .c0 = move->to_tile * columns,
        .c1 = last < target->placement.channels ? last : target->placement.channels,
        .y_step = move->to_row,
        .x_step = move->phases > 1 ? 1 : move->to_column,
    };
    info->y1 = info->y0 + (piece->y1 - piece->y0 - 1) * move->to_row + 1;
    info->x1 = info->x0 + (piece->x1 - piece->x0 - 1) * move->to_column + (move->phases > 1 ? move->phases : 1);
}
