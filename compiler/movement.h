// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Operators that only move data: a map from output elements to input elements (movement_map.c), cut into moves, each of
// which is one command or several stripes of one (movement_plan.c), and their commands (movement_emit.c). Where the
// maps do not fit, movement_stripe.c says what a stripe of the output takes.
#ifndef SYSTOLE_MOVEMENT_H
#define SYSTOLE_MOVEMENT_H

#include "ir.h"

// The input (of those that carry data) and its element; input -1: filled.
struct movement_source {
    int32_t input, element;
};

enum move_kind {
    MOVE_COPY,  // words as they are, or through a table
    MOVE_FILL,  // one value
    MOVE_LANES, // channels to other lanes: a convolution whose weights are ones and zeros
    MOVE_BLEND, // a weighted sum of up to two rows and some columns: a depthwise convolution
    MOVE_CONV,  // a phase of a TRANSPOSE_CONV
    MOVE_MERGE, // the larger of result and temporary: brings together what several MOVE_LANES made
};

// What a MOVE_LANES does with channels. Lanes that it does not fill get the type's least value, so that others can be
// merged in.
struct lane_map {
    uint32_t output_tile, output_tiles, input_tile, input_tiles, tile_rows;
    int32_t *source; // per lane of the output tiles: channel of the input, counted from input_tile; -1: none
    int32_t *value;  // where there is none: what it is filled with
    uint32_t parameter_offset;
};

// What a MOVE_BLEND weighs with, one set of rows x columns taps for each output tile of its command.
struct blend {
    uint32_t rows, columns, tiles, row_pixels; // pixels from a row of the source to the next
    uint8_t *weights, *shifts;                 // a tile's weights sum to 1 << shift
    uint32_t parameter_offset;
};

// The outputs of a TRANSPOSE_CONV that lie `stride` apart: a convolution of stride 1 with a part of the kernel, from
// its last tap back. Origin: of the window of output 0, in the input image.
struct phase {
    uint32_t rows, columns, first_y, first_x; // taps, and where in the kernel the first is
    int32_t origin_y, origin_x;
    uint32_t image_height, image_width;
    bool has_weights; // else one tap of weight zero
    uint32_t parameter_offset;
};

// Rows x columns x tiles of words. Pixels of the source are counted linearly over its tensor.
struct move {
    enum move_kind kind;
    int32_t from; // an input; negative: temporary -1 - from
    int32_t to;   // an output; negative: temporary
    uint32_t rows, columns, tiles;
    uint32_t from_pixel, from_row, from_column, from_tile; // first, and pixels from a row or column to the next
    uint32_t to_y, to_x, to_row, to_column, to_tile;       // rows, and columns, likewise
    int32_t value;                                         // MOVE_FILL
    int32_t table;                                         // MOVE_COPY; -1: none
    uint32_t lanes;                                        // MOVE_LANES: which lane_map
    uint32_t blend;                                        // MOVE_BLEND: which blend
    uint32_t phase;                                        // MOVE_CONV: which phase
    uint32_t phases;  // MOVE_BLEND: above 1, the command's output tiles are as many neighbouring columns
    bool takes_least; // MOVE_MERGE: the smaller instead
    bool is_final;    // after it the box of the output is complete
    bool is_view;     // needs no command: source and target share words (view.c)
};

uint32_t movement_data_input(const struct systole_operator *op);
// Cuts the operation's map into moves. *possible false: it cannot be, or takes too many.
// The same for RESIZE_BILINEAR (resize.c), into the operation's `moves`; resize_copies: it only copies pixels.
bool resize_copies(const struct compilation *c, const struct systole_operator *op);
// Whether the definition in float32 (uint8) rounds nothing before the end.
bool resize_is_exact(const struct compilation *c, const struct systole_operator *op);
bool resize_plan(struct compilation *c, struct operation *operation);
enum systole_status movement_plan(struct compilation *c, struct operation *operation, bool *possible);
// One source an element of an output. False: the operator cannot be expressed so.
bool movement_map(const struct compilation *c, uint32_t operator_index, uint32_t output, struct movement_source *map);

// TRANSPOSE_CONV (transpose_convolution.c): its phases and moves, false: too many. Input rows of an image that rows
// i0 .. i1-1 of a phase read. Words of a phase's parameters and their bytes; cycles on the array; the command but for
// its output's address and strides.
bool transpose_convolution_plan(struct compilation *c, struct operation *operation);
void transpose_convolution_rows(const struct phase *phase, uint32_t i0, uint32_t i1, uint32_t *lo, uint32_t *hi);
uint64_t transpose_convolution_words(const struct compilation *c, const struct operation *o, const struct phase *phase);
void transpose_convolution_put(const struct compilation *c, const struct operation *o, const struct phase *phase,
                               uint8_t *bytes);
uint64_t transpose_convolution_cycles(const struct compilation *c, const struct operation *o, const struct move *move,
                                      uint32_t rows);
void transpose_convolution_emit(const struct compilation *c, const struct operation *o, const struct piece *piece,
                                const struct storage *source, struct systole_command *command);

// REDUCE_MAX and REDUCE_MIN over channels: maps one behind the other, of the first elements that are compared along the
// axes, of the second ...: as many sources as the input has elements. False: the output is not what is left.
bool movement_reduced_maps(const struct compilation *c, uint32_t operator_index, const bool axes[SYSTOLE_MAX_RANK],
                           struct movement_source *maps);

// The pixels of its source that a move visits.
struct pixel_box movement_source_box(const struct move *move);
// Whether no move needs a command.
bool movement_is_free(const struct operation *operation);
// The pieces of all moves, in order; returns their number (pieces NULL: only that).
uint32_t movement_pieces(const struct compilation *c, const struct operation *o, uint32_t position,
                         struct piece *pieces);
// Columns of a piece of a move.
uint32_t movement_piece_columns(const struct compilation *c, const struct move *move);
// Stripes (movement_stripe.c). Whether all that is moved from `from` (as in struct move) lies in rows of `width`
// pixels.
bool movement_keeps_rows(const struct operation *o, int32_t from, uint32_t width);
// Rows of an input of that width that rows r0 .. r1-1 of the output need; none: 0 to 0.
void movement_needs(const struct operation *o, uint32_t input, uint32_t width, uint32_t r0, uint32_t r1, uint32_t *lo,
                    uint32_t *hi);
// The pieces that write those rows, in order; returns their number (pieces NULL: only that).
uint32_t movement_stripe_pieces(const struct compilation *c, const struct operation *o, uint32_t position, uint32_t r0,
                                uint32_t r1, struct piece *pieces);
// Adds their cycles on the array, the depthwise and the element-wise unit.
void movement_add_work(const struct compilation *c, const struct operation *o, uint32_t r0, uint32_t r1,
                       uint64_t units[3]);
// Tables and lane maps: their offsets from `words` on (returns the words behind), and their bytes.
uint64_t movement_place_parameters(const struct compilation *c, struct operation *o, uint64_t words);
void movement_put_parameters(const struct compilation *c, const struct operation *o, uint8_t *parameters);
void movement_emit(const struct compilation *c, const struct segment_plan *segment, const struct operation *o,
                   const struct piece *piece, struct systole_command *command, struct systole_command_info *info);

#endif
