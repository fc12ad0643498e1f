// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Moves in stripes: which of a move's rows lie among some rows of the output, which rows of the source those read, and
// what they cost. A move can be cut so when each of its rows lies in one row of the source, and goes on by whole ones.
#include "movement.h"

static uint32_t least(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

// Rows i0 .. i1-1 of the move write rows r0 .. r1-1 of its target.
static void rows_between(const struct move *move, uint32_t r0, uint32_t r1, uint32_t *i0, uint32_t *i1) {
    *i0 = r0 > move->to_y ? ir_divide_up(r0 - move->to_y, move->to_row) : 0;
    *i1 = r1 > move->to_y ? ir_divide_up(r1 - move->to_y, move->to_row) : 0;
    *i1 = least(*i1, move->rows);
    *i0 = least(*i0, *i1);
}

bool movement_keeps_rows(const struct operation *o, int32_t from, uint32_t width) {
    bool keeps = true;
    for (uint32_t i = 0; i < o->move_count; i++) {
        const struct move *move = &o->moves[i];
        if (move->kind == MOVE_FILL || move->kind == MOVE_MERGE || move->from != from) {
            continue;
        }
        uint64_t last = move->from_pixel % width + (uint64_t)(move->columns - 1) * move->from_column;
        bool rows = move->rows == 1 || move->from_row % width == 0;
        if (move->kind == MOVE_BLEND) {
            const struct blend *blend = &o->blends[move->blend];
            last += blend->columns - 1;
            rows = rows && blend->row_pixels == width;
        } else if (move->kind == MOVE_CONV) { // windows end at the image
            last = 0;
            rows = o->phases[move->phase].image_width == width;
        }
        keeps = keeps && rows && last < width;
    }
    return keeps;
}

void movement_needs(const struct operation *o, uint32_t input, uint32_t width, uint32_t r0, uint32_t r1, uint32_t *lo,
                    uint32_t *hi) {
    uint32_t first = UINT32_MAX, behind = 0;
    for (uint32_t i = 0; i < o->move_count; i++) {
        const struct move *move = &o->moves[i];
        uint32_t i0, i1, taps = move->kind == MOVE_BLEND ? o->blends[move->blend].rows : 1;
        rows_between(move, r0, r1, &i0, &i1);
        if (i0 < i1 && move->kind != MOVE_FILL && move->from == (int32_t)input) {
            uint32_t begin = (move->from_pixel + i0 * move->from_row) / width;
            uint32_t end = (move->from_pixel + (i1 - 1) * move->from_row) / width + taps;
            if (move->kind == MOVE_CONV) {
                transpose_convolution_rows(&o->phases[move->phase], i0, i1, &begin, &end);
                begin += move->from_pixel / width;
                end += move->from_pixel / width;
            }
            first = least(first, begin);
            behind = behind > end ? behind : end;
        }
    }
    *lo = behind > 0 ? first : 0;
    *hi = behind;
}

uint32_t movement_stripe_pieces(const struct compilation *c, const struct operation *o, uint32_t position, uint32_t r0,
                                uint32_t r1, struct piece *pieces) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < o->move_count; i++) {
        const struct move *move = &o->moves[i];
        uint32_t i0, i1, columns = movement_piece_columns(c, move);
        rows_between(move, r0, r1, &i0, &i1);
        for (uint32_t x = 0; x < move->columns && i0 < i1; x += columns, count++) {
            if (pieces != NULL) {
                pieces[count] = (struct piece){
                    .operation = position,
                    .move = move,
                    .y0 = i0,
                    .y1 = i1,
                    .x0 = x,
                    .x1 = least(x + columns, move->columns),
                    .t1 = move->tiles,
                };
            }
        }
    }
    return count;
}

void movement_add_work(const struct compilation *c, const struct operation *o, uint32_t r0, uint32_t r1,
                       uint64_t units[3]) {
    for (uint32_t i = 0; i < o->move_count; i++) {
        const struct move *move = &o->moves[i];
        uint32_t i0, i1;
        rows_between(move, r0, r1, &i0, &i1);
        uint64_t pixels = (uint64_t)(i1 - i0) * move->columns;
        if (move->kind == MOVE_LANES) {
            units[0] += pixels * move->tiles * o->lane_maps[move->lanes].input_tiles;
        } else if (move->kind == MOVE_CONV) {
            units[0] += transpose_convolution_cycles(c, o, move, i1 - i0);
        } else if (move->kind == MOVE_BLEND) {
            const struct blend *blend = &o->blends[move->blend];
            units[1] += pixels * blend->tiles * ir_divide_up(blend->rows * blend->columns, c->target->taps);
        } else {
            units[2] += pixels * move->tiles;
        }
    }
}
