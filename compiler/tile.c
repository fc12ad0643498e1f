// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Cuts each operation's output into boxes, one a command. Rows are cut into stripes, so that what follows can begin
// before all is there; where a stripe would have fewer pixels than loading a weight tile takes cycles the map stays
// whole and is cut by channel tiles instead. Rows wider than the accumulators are cut in columns.
#include "movement.h"

struct cuts {
    uint32_t rows, columns, tiles; // of a piece
};

static uint32_t least(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

static uint32_t most(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}

// Equal parts of at most `part`.
static uint32_t even_part(uint32_t whole, uint32_t part) {
    return ir_divide_up(whole, ir_divide_up(whole, part));
}

static struct cuts cut(const struct compilation *c, const struct operation *o) {
    const struct scheme *scheme = &o->scheme;
    const struct window *w = &o->window;
    uint32_t height = w->output_height, width = w->output_width;
    uint32_t tiles = ir_divide_up(w->output_channels, c->target->columns);
    struct cuts cuts = {height, width, tiles};
    if (o->kind == OPERATION_CONV) {
        cuts.columns = even_part(width, c->target->accumulators);
    }
    uint32_t load = o->tile_rows / c->target->weight_port_rows; // 0 without weights of the array
    uint32_t rows = least(ir_divide_up(scheme->stripe_pixels, width), ir_divide_up(height, scheme->stripes));
    rows = least(height, most(most(rows, ir_divide_up(height, scheme->most_stripes)), 1));
    if (rows < height && rows * width >= load) {
        cuts.rows = ir_divide_up(height, height / rows);
        return cuts;
    }
    cuts.tiles = ir_divide_up(tiles, scheme->channel_groups);
    while (cuts.tiles < tiles && cuts.tiles * o->stream_words % c->target->weight_port_rows != 0) {
        cuts.tiles++; // a stream begins at whole rounds of the weight port
    }
    return cuts;
}

static uint32_t piece_count(const struct compilation *c, const struct operation *o, const struct cuts *cuts) {
    const struct window *w = &o->window;
    return w->images * ir_divide_up(w->output_height, cuts->rows) * ir_divide_up(w->output_width, cuts->columns) *
           ir_divide_up(ir_divide_up(w->output_channels, c->target->columns), cuts->tiles);
}

static void add_pieces(const struct compilation *c, struct segment_plan *segment, uint32_t position,
                       const struct cuts *cuts) {
    const struct window *w = &c->operations[segment->operations[position]].window;
    uint32_t tiles = ir_divide_up(w->output_channels, c->target->columns);
    for (uint32_t image = 0; image < w->images; image++) {
        for (uint32_t y = 0; y < w->output_height; y += cuts->rows) {
            for (uint32_t x = 0; x < w->output_width; x += cuts->columns) {
                for (uint32_t t = 0; t < tiles; t += cuts->tiles) {
                    segment->pieces[segment->piece_count++] = (struct piece){
                        .operation = position,
                        .image = image,
                        .y0 = y,
                        .y1 = least(y + cuts->rows, w->output_height),
                        .x0 = x,
                        .x1 = least(x + cuts->columns, w->output_width),
                        .t0 = t,
                        .t1 = least(t + cuts->tiles, tiles),
                    };
                }
            }
        }
    }
}

enum systole_status pass_tile(struct compilation *c, struct segment_plan *segment) {
    struct cuts *cuts = ir_allocate(c, segment->operation_count, sizeof *cuts);
    if (cuts == NULL) {
        return ir_out_of_memory(c);
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < segment->operation_count; i++) {
        const struct operation *o = &c->operations[segment->operations[i]];
        if (o->kind == OPERATION_MOVE) {
            count += movement_pieces(c, o, i, NULL);
            continue;
        }
        cuts[i] = cut(c, o);
        count += piece_count(c, o, &cuts[i]);
    }
    segment->pieces = ir_allocate(c, count, sizeof *segment->pieces);
    if (segment->pieces == NULL) {
        return ir_out_of_memory(c);
    }
    segment->piece_count = 0;
    for (uint32_t i = 0; i < segment->operation_count; i++) {
        const struct operation *o = &c->operations[segment->operations[i]];
        if (o->kind == OPERATION_MOVE) {
            segment->piece_count += movement_pieces(c, o, i, segment->pieces + segment->piece_count);
            continue;
        }
        add_pieces(c, segment, i, &cuts[i]);
    }
    dump_pieces(c, segment, "tile");
    return SYSTOLE_OK;
}
