// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Cuts the map of an operator that moves data into moves. Pixels whose channels come from the same channels of equally
// many source pixels have one pattern. The pixels of a pattern are covered with boxes of constant steps, in the output
// and in every source. For each box, tiles that are whole tiles of one source are copied, tiles of nothing but filling
// are filled, and what is left is a MOVE_LANES a source; those behind the first go to a temporary and are merged.
#include <string.h>

#include "movement.h"

#define PATTERNS_LIMIT 64u
#define SOURCES_LIMIT 32u // of a pattern
#define STEPS_LIMIT 16u   // steps of boxes that are tried

struct pattern {
    uint32_t pixel;                        // one that has it
    uint32_t sources;                      // source pixels
    uint32_t first_channel[SOURCES_LIMIT]; // the first channel of each
    bool has_lanes;                        // needs a MOVE_LANES
};

struct plan {
    struct compilation *c;
    struct operation *operation;
    uint32_t output; // which
    int32_t to;      // it, or a temporary
    bool is_final;   // what is moved there stays so
    const struct movement_source *map;
    struct extents out;
    uint32_t lanes; // columns of the target
    uint32_t *input_channels;
    struct pattern *patterns;
    uint32_t pattern_count;
    uint8_t *pattern_of, *done; // one a pixel
    bool failed;                // no memory
};

struct box {
    uint32_t y, x, rows, columns, row_step, column_step;
};

static const struct movement_source *source_of(const struct plan *plan, uint32_t pixel, uint32_t channel) {
    return &plan->map[(size_t)pixel * plan->out.channels + channel];
}

static uint32_t source_pixel(const struct plan *plan, const struct movement_source *source) {
    return (uint32_t)source->element / plan->input_channels[source->input];
}

static uint32_t source_channel(const struct plan *plan, const struct movement_source *source) {
    return (uint32_t)source->element % plan->input_channels[source->input];
}

// Which of a pattern's source pixels channel `channel` of a pixel comes from; `sources`: none so far.
static uint32_t which_source(const struct plan *plan, const struct pattern *pattern, uint32_t pixel, uint32_t channel) {
    const struct movement_source *s = source_of(plan, pixel, channel);
    for (uint32_t i = pattern->sources; i-- > 0;) {
        const struct movement_source *other = source_of(plan, pixel, pattern->first_channel[i]);
        if (other->input == s->input && source_pixel(plan, other) == source_pixel(plan, s)) {
            return i;
        }
    }
    return pattern->sources;
}

static bool has_pattern(const struct plan *plan, const struct pattern *pattern, uint32_t pixel) {
    for (uint32_t c = 0; c < plan->out.channels; c++) {
        const struct movement_source *a = source_of(plan, pattern->pixel, c), *b = source_of(plan, pixel, c);
        if (a->input != b->input) {
            return false;
        }
        if (a->input >= 0 &&
            (source_channel(plan, a) != source_channel(plan, b) ||
             which_source(plan, pattern, pattern->pixel, c) != which_source(plan, pattern, pixel, c))) {
            return false;
        }
    }
    return true;
}

// What a tile of the pattern's pixels is.
enum tile_kind { TILE_FILL, TILE_COPY, TILE_LANES };

static enum tile_kind tile_kind(const struct plan *plan, const struct pattern *pattern, uint32_t tile, uint32_t *source,
                                uint32_t *from_tile) {
    uint32_t first = tile * plan->lanes, last = first + plan->lanes;
    last = last < plan->out.channels ? last : plan->out.channels;
    const struct movement_source *begin = source_of(plan, pattern->pixel, first);
    *source = *from_tile = 0;
    if (begin->input >= 0) {
        *source = which_source(plan, pattern, pattern->pixel, first);
        *from_tile = source_channel(plan, begin) / plan->lanes;
    }
    for (uint32_t c = first; c < last; c++) {
        const struct movement_source *s = source_of(plan, pattern->pixel, c);
        if ((s->input < 0) != (begin->input < 0)) {
            return TILE_LANES;
        }
        if (s->input >= 0 && (which_source(plan, pattern, pattern->pixel, c) != *source ||
                              source_channel(plan, s) != *from_tile * plan->lanes + c - first)) {
            return TILE_LANES;
        }
    }
    return begin->input < 0 ? TILE_FILL : TILE_COPY;
}

static bool find_patterns(struct plan *plan) {
    uint32_t pixels = plan->out.height * plan->out.width;
    for (uint32_t p = 0; p < pixels; p++) {
        uint32_t i =
            p > 0 && has_pattern(plan, &plan->patterns[plan->pattern_of[p - 1]], p) ? plan->pattern_of[p - 1] : 0;
        while (i < plan->pattern_count && !has_pattern(plan, &plan->patterns[i], p)) {
            i++;
        }
        if (i == PATTERNS_LIMIT) {
            return false;
        }
        plan->pattern_of[p] = (uint8_t)i;
        if (i < plan->pattern_count) {
            continue;
        }
        struct pattern *pattern = &plan->patterns[plan->pattern_count++];
        pattern->pixel = p;
        for (uint32_t c = 0; c < plan->out.channels; c++) {
            if (source_of(plan, p, c)->input >= 0 && which_source(plan, pattern, p, c) == pattern->sources) {
                if (pattern->sources == SOURCES_LIMIT) {
                    return false;
                }
                pattern->first_channel[pattern->sources++] = c;
            }
        }
        uint32_t source, from_tile;
        for (uint32_t t = 0; t < ir_divide_up(plan->out.channels, plan->lanes); t++) {
            pattern->has_lanes = pattern->has_lanes || tile_kind(plan, pattern, t, &source, &from_tile) == TILE_LANES;
        }
    }
    return true;
}

// Pixels that a source goes on between two pixels of a pattern.
static int64_t advance(const struct plan *plan, const struct pattern *pattern, uint32_t source, uint32_t from,
                       uint32_t to) {
    uint32_t channel = pattern->first_channel[source];
    return (int64_t)source_pixel(plan, source_of(plan, to, channel)) -
           source_pixel(plan, source_of(plan, from, channel));
}

static bool is_open(const struct plan *plan, uint32_t pattern, uint32_t y, uint32_t x) {
    uint32_t pixel = y * plan->out.width + x;
    return plan->pattern_of[pixel] == pattern && plan->done[pixel] == 0;
}

// Whether pixel `next` lies behind `last` as the second of the box lies behind its first.
static bool follows(const struct plan *plan, const struct pattern *pattern, uint32_t first, uint32_t second,
                    uint32_t last, uint32_t next, int64_t least) {
    for (uint32_t s = 0; s < pattern->sources; s++) {
        int64_t step = advance(plan, pattern, s, first, second);
        if (step < least || step > (int64_t)UINT16_MAX || advance(plan, pattern, s, last, next) != step) {
            return false;
        }
    }
    return true;
}

static uint32_t run_of_columns(const struct plan *plan, uint32_t index, const struct box *box, uint32_t step) {
    const struct pattern *pattern = &plan->patterns[index];
    uint32_t first = box->y * plan->out.width + box->x, count = 1;
    for (uint32_t x = box->x + step; x < plan->out.width && is_open(plan, index, box->y, x); x += step, count++) {
        uint32_t pixel = box->y * plan->out.width + x;
        if (!follows(plan, pattern, first, first + step, pixel - step, pixel, pattern->has_lanes ? 1 : 0)) {
            break;
        }
    }
    return count;
}

static uint32_t run_of_rows(const struct plan *plan, uint32_t index, const struct box *box, uint32_t step) {
    const struct pattern *pattern = &plan->patterns[index];
    uint32_t width = plan->out.width, count = 1;
    for (uint32_t y = box->y + step; y < plan->out.height; y += step, count++) {
        for (uint32_t i = 0; i < box->columns; i++) {
            uint32_t x = box->x + i * box->column_step, first = box->y * width + x, pixel = y * width + x;
            if (!is_open(plan, index, y, x) ||
                !follows(plan, pattern, first, first + step * width, pixel - step * width, pixel, 0)) {
                return count;
            }
            uint32_t row = y * width + box->x; // and within its row as the first row
            for (uint32_t s = 0; s < pattern->sources; s++) {
                if (advance(plan, pattern, s, row, pixel) !=
                    advance(plan, pattern, s, box->y * width + box->x, first)) {
                    return count;
                }
            }
        }
    }
    return count;
}

static struct box grow(struct plan *plan, uint32_t y, uint32_t x) {
    uint32_t index = plan->pattern_of[y * plan->out.width + x];
    struct box box = {y, x, 1, 1, 1, 1};
    for (uint32_t step = 1; step <= STEPS_LIMIT && x + step < plan->out.width; step++) {
        uint32_t columns = run_of_columns(plan, index, &box, step);
        if (columns > box.columns) {
            box.columns = columns;
            box.column_step = step;
        }
    }
    for (uint32_t step = 1; step <= STEPS_LIMIT && y + step < plan->out.height; step++) {
        uint32_t rows = run_of_rows(plan, index, &box, step);
        if (rows > box.rows) {
            box.rows = rows;
            box.row_step = step;
        }
    }
    for (uint32_t r = 0; r < box.rows; r++) {
        for (uint32_t i = 0; i < box.columns; i++) {
            plan->done[(y + r * box.row_step) * plan->out.width + x + i * box.column_step] = 1;
        }
    }
    return box;
}

// ---- Moves of a box

static struct move *add_move(struct plan *plan, const struct box *box, enum move_kind kind, uint32_t tile,
                             uint32_t tiles) {
    struct operation *o = plan->operation;
    if (o->move_count == IR_MOVES_LIMIT) {
        return NULL;
    }
    struct move *move = &o->moves[o->move_count++];
    *move = (struct move){
        .kind = kind,
        .to = plan->to,
        .rows = box->rows,
        .columns = box->columns,
        .tiles = tiles,
        .to_y = box->y,
        .to_x = box->x,
        .to_row = box->row_step,
        .to_column = box->column_step,
        .to_tile = tile,
        .table = -1,
        .is_final = plan->is_final,
    };
    return move;
}

static void set_source(const struct plan *plan, const struct pattern *pattern, const struct box *box, uint32_t source,
                       struct move *move) {
    uint32_t first = box->y * plan->out.width + box->x;
    const struct movement_source *s = source_of(plan, first, pattern->first_channel[source]);
    move->from = s->input;
    move->from_pixel = source_pixel(plan, s);
    if (box->columns > 1) {
        move->from_column = (uint32_t)advance(plan, pattern, source, first, first + box->column_step);
    }
    if (box->rows > 1) {
        move->from_row = (uint32_t)advance(plan, pattern, source, first, first + box->row_step * plan->out.width);
    }
}

// The map of lanes of one source of a pattern; `fills`: it also fills.
static uint32_t lanes_of(struct plan *plan, const struct pattern *pattern, uint32_t source, uint32_t tile,
                         uint32_t tiles, bool fills) {
    struct operation *o = plan->operation;
    uint32_t channels = plan->input_channels[source_of(plan, pattern->pixel, pattern->first_channel[source])->input];
    struct lane_map map = {.output_tile = tile, .output_tiles = tiles, .input_tile = UINT32_MAX};
    map.source = ir_allocate(plan->c, (size_t)tiles * plan->lanes, sizeof *map.source);
    map.value = ir_allocate(plan->c, (size_t)tiles * plan->lanes, sizeof *map.value);
    if (map.source == NULL || map.value == NULL) {
        plan->failed = true;
        return 0;
    }
    int32_t least = o->output.is_unsigned ? 0 : -128;
    uint32_t last_tile = 0;
    for (uint32_t lane = 0; lane < tiles * plan->lanes; lane++) {
        uint32_t channel = tile * plan->lanes + lane;
        map.source[lane] = -1;
        map.value[lane] = least;
        if (channel >= plan->out.channels) {
            continue;
        }
        const struct movement_source *s = source_of(plan, pattern->pixel, channel);
        if (s->input < 0) {
            map.value[lane] = fills ? o->fill : least;
        } else if (which_source(plan, pattern, pattern->pixel, channel) == source) {
            uint32_t from = source_channel(plan, s);
            map.source[lane] = (int32_t)from;
            map.input_tile = from / plan->lanes < map.input_tile ? from / plan->lanes : map.input_tile;
            last_tile = from / plan->lanes > last_tile ? from / plan->lanes : last_tile;
        }
    }
    for (uint32_t lane = 0; lane < tiles * plan->lanes; lane++) {
        map.source[lane] -= map.source[lane] >= 0 ? (int32_t)(map.input_tile * plan->lanes) : 0;
    }
    map.input_tiles = last_tile - map.input_tile + 1;
    uint32_t behind = channels - map.input_tile * plan->lanes;
    map.tile_rows = ir_round_up(behind < plan->lanes ? behind : plan->lanes, plan->c->target->weight_port_rows);
    for (uint32_t i = 0; i < o->lane_map_count; i++) { // several boxes of a pattern share theirs
        const struct lane_map *have = &o->lane_maps[i];
        if (have->output_tile == tile && have->output_tiles == tiles && have->input_tile == map.input_tile &&
            have->input_tiles == map.input_tiles && have->tile_rows == map.tile_rows &&
            memcmp(have->source, map.source, (size_t)tiles * plan->lanes * sizeof *map.source) == 0 &&
            memcmp(have->value, map.value, (size_t)tiles * plan->lanes * sizeof *map.value) == 0) {
            return i;
        }
    }
    o->lane_maps[o->lane_map_count] = map;
    return o->lane_map_count++;
}

// An input whose bytes go through a table goes there as a whole, once, before its lanes are moved. False: too many
// moves.
static bool look_up_first(struct plan *plan, struct move *move) {
    struct operation *o = plan->operation;
    uint32_t input = (uint32_t)move->from, index = ir_output_count(o) + input;
    const struct systole_operator *op = &plan->c->graph->operators[o->index];
    struct extents e = ir_extents(&plan->c->graph->tensors[op->inputs[movement_data_input(op) + input]]);
    bool is_first = o->temporaries[index].channels == 0;
    int32_t temporary = ir_temporary(o, index, &e);
    if (is_first) {
        struct move lanes = *move;
        struct box all = {0, 0, e.height, e.width, 1, 1};
        *move = (struct move){.kind = MOVE_COPY}; // takes its place
        o->move_count--;
        struct move *copy = add_move(plan, &all, MOVE_COPY, 0, ir_divide_up(e.channels, plan->lanes));
        copy->from = (int32_t)input;
        copy->from_row = e.width;
        copy->from_column = 1;
        copy->to = temporary;
        copy->table = (int32_t)input;
        copy->is_final = false;
        if (o->move_count == IR_MOVES_LIMIT) {
            return false;
        }
        move = &o->moves[o->move_count++];
        *move = lanes;
    }
    move->from = temporary;
    return true;
}

static bool move_lanes(struct plan *plan, const struct pattern *pattern, const struct box *box, uint32_t tile,
                       uint32_t tiles) {
    struct move *before = NULL;
    for (uint32_t s = 0; s < pattern->sources; s++) {
        bool touches = false;
        for (uint32_t c = tile * plan->lanes; c < (tile + tiles) * plan->lanes && c < plan->out.channels; c++) {
            touches = touches || (source_of(plan, pattern->pixel, c)->input >= 0 &&
                                  which_source(plan, pattern, pattern->pixel, c) == s);
        }
        if (!touches) {
            continue;
        }
        struct move *move = add_move(plan, box, MOVE_LANES, tile, tiles);
        if (move == NULL) {
            return false;
        }
        set_source(plan, pattern, box, s, move);
        if (plan->operation->table_count > 0) {
            if (!look_up_first(plan, move)) {
                return false;
            }
            move = &plan->operation->moves[plan->operation->move_count - 1];
        }
        move->lanes = lanes_of(plan, pattern, s, tile, tiles, before == NULL);
        move->from_tile = plan->operation->lane_maps[move->lanes].input_tile;
        if (before != NULL) {
            before->is_final = move->is_final = false;
            move->to = ir_temporary(plan->operation, plan->output, &plan->out);
            struct move *merge = add_move(plan, box, MOVE_MERGE, tile, tiles);
            if (merge == NULL) {
                return false;
            }
            merge->from = move->to;
            before = merge;
        } else {
            before = move;
        }
    }
    return true;
}

static bool move_box(struct plan *plan, const struct box *box) {
    const struct pattern *pattern = &plan->patterns[plan->pattern_of[box->y * plan->out.width + box->x]];
    uint32_t tiles = ir_divide_up(plan->out.channels, plan->lanes);
    for (uint32_t t = 0; t < tiles;) {
        uint32_t source, from_tile, next_source, next_tile, end = t + 1;
        enum tile_kind kind = tile_kind(plan, pattern, t, &source, &from_tile);
        while (end < tiles && tile_kind(plan, pattern, end, &next_source, &next_tile) == kind &&
               (kind != TILE_COPY || (next_source == source && next_tile == from_tile + end - t))) {
            end++;
        }
        if (kind == TILE_LANES) {
            if (!move_lanes(plan, pattern, box, t, end - t)) {
                return false;
            }
        } else {
            struct move *move = add_move(plan, box, kind == TILE_COPY ? MOVE_COPY : MOVE_FILL, t, end - t);
            if (move == NULL) {
                return false;
            }
            move->value = plan->operation->fill;
            if (kind == TILE_COPY) {
                set_source(plan, pattern, box, source, move);
                move->from_tile = from_tile;
                move->table = plan->operation->table_count > 0 ? move->from : -1;
            }
        }
        t = end;
    }
    return true;
}

static bool plan_output(struct plan *plan) {
    uint32_t pixels = plan->out.height * plan->out.width;
    if (!find_patterns(plan)) {
        return false;
    }
    for (uint32_t p = 0; p < pixels; p++) {
        if (plan->done[p] == 0) {
            struct box box = grow(plan, p / plan->out.width, p % plan->out.width);
            if (!move_box(plan, &box)) {
                return false;
            }
        }
    }
    return true;
}

// The map to plan, as pixels of the output.
static bool set_map(struct plan *plan, const struct movement_source *map) {
    uint32_t pixels = plan->out.height * plan->out.width;
    plan->map = map;
    plan->pattern_count = 0;
    plan->patterns = ir_allocate(plan->c, PATTERNS_LIMIT, sizeof *plan->patterns);
    plan->pattern_of = ir_allocate(plan->c, pixels, 1);
    plan->done = ir_allocate(plan->c, pixels, 1);
    plan->failed = plan->patterns == NULL || plan->pattern_of == NULL || plan->done == NULL;
    return !plan->failed;
}

// The first map goes to the output, each of the others to a temporary, from where it is merged in.
static bool plan_reduction(struct plan *plan) {
    struct operation *o = plan->operation;
    const struct systole_operator *op = &plan->c->graph->operators[o->index];
    size_t elements = systole_tensor_elements(&plan->c->graph->tensors[op->inputs[0]]);
    bool axes[SYSTOLE_MAX_RANK];
    uint32_t count;
    if (systole_mean_axes(plan->c->graph, o->index, axes, &count, NULL) != SYSTOLE_OK || count > IR_MOVES_LIMIT / 2) {
        return false;
    }
    struct movement_source *maps = ir_allocate(plan->c, elements, sizeof *maps);
    plan->failed = maps == NULL;
    if (plan->failed || !movement_reduced_maps(plan->c, o->index, axes, maps)) {
        return false;
    }
    struct box all = {0, 0, plan->out.height, plan->out.width, 1, 1};
    bool possible = true;
    for (uint32_t i = 0; i < count && possible; i++) {
        plan->to = i == 0 ? 0 : ir_temporary(o, ir_output_count(o), &plan->out);
        plan->is_final = count == 1;
        possible = set_map(plan, maps + i * (elements / count)) && plan_output(plan);
        int32_t from = plan->to;
        if (i > 0 && possible) {
            plan->to = 0;
            plan->is_final = i + 1 == count;
            struct move *merge = add_move(plan, &all, MOVE_MERGE, 0, ir_divide_up(plan->out.channels, plan->lanes));
            possible = merge != NULL;
            if (possible) {
                merge->from = from;
                merge->takes_least = op->code == SYSTOLE_OP_REDUCE_MIN;
            }
        }
    }
    return possible;
}

enum systole_status movement_plan(struct compilation *c, struct operation *operation, bool *possible) {
    const struct systole_operator *op = &c->graph->operators[operation->index];
    struct plan plan = {.c = c, .operation = operation, .lanes = c->target->columns};
    *possible = plan.lanes > 0;
    if (!*possible) {
        return SYSTOLE_OK;
    }
    operation->move_count = operation->lane_map_count = 0;
    operation->moves = ir_allocate(c, IR_MOVES_LIMIT, sizeof *operation->moves);
    operation->lane_maps = ir_allocate(c, IR_MOVES_LIMIT, sizeof *operation->lane_maps);
    plan.input_channels = ir_allocate(c, operation->input_count, sizeof *plan.input_channels);
    if (operation->moves == NULL || operation->lane_maps == NULL || plan.input_channels == NULL) {
        return ir_out_of_memory(c);
    }
    for (uint32_t i = 0; i < operation->input_count; i++) {
        plan.input_channels[i] = ir_extents(&c->graph->tensors[op->inputs[movement_data_input(op) + i]]).channels;
    }
    if (op->code == SYSTOLE_OP_TRANSPOSE_CONV) {
        *possible = transpose_convolution_plan(c, operation);
        return SYSTOLE_OK;
    }
    if (op->code == SYSTOLE_OP_RESIZE_BILINEAR && !resize_copies(c, op)) {
        *possible = resize_plan(c, operation);
        return SYSTOLE_OK;
    }
    for (uint32_t i = 0; i < op->output_count && *possible; i++) {
        const struct systole_tensor *out = &c->graph->tensors[op->outputs[i]];
        plan.output = i;
        plan.to = (int32_t)i;
        plan.is_final = true;
        plan.out = ir_extents(out);
        if (op->code == SYSTOLE_OP_REDUCE_MAX || op->code == SYSTOLE_OP_REDUCE_MIN) {
            *possible = plan_reduction(&plan);
            break;
        }
        struct movement_source *map = ir_allocate(c, systole_tensor_elements(out), sizeof *map);
        if (map == NULL || !set_map(&plan, map)) {
            return ir_out_of_memory(c);
        }
        *possible = movement_map(c, operation->index, i, map) && plan_output(&plan);
    }
    return plan.failed ? ir_out_of_memory(c) : SYSTOLE_OK;
}
