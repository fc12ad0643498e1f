// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Movement that is only addressing. A copy that takes a whole tensor into a part of its output (CONCATENATION, PACK,
// the inside of a PAD) needs no command when the tensor lies in that part from the beginning: its producer writes
// there. A copy that makes a whole output from a part of its input (SPLIT, SLICE, UNPACK, a RESHAPE of whole tiles)
// needs none when readers of the output are given the input's words. Either way one tensor is a *view* of another: its
// rows, columns and tiles are steps through the other's words. What views cannot express stays a command; of a
// concatenation, each input by itself.
#include <string.h>

#include "movement.h"

#define WIDEST_PIXEL 65535u // words from a pixel to the next that commands can name

// A pixel's way in another tensor.
struct step {
    uint32_t y, x;
};

static struct step step_of_pixels(const struct extents *extents, uint32_t pixels) {
    return pixels % extents->width == 0 ? (struct step){pixels / extents->width, 0} : (struct step){0, pixels};
}

struct pixel_box movement_source_box(const struct move *move) {
    return (struct pixel_box){move->from_pixel, move->rows, move->from_row, move->columns, move->from_column};
}

static uint32_t tiles_of(const struct compilation *c, const struct storage *s) {
    return ir_divide_up(s->extents.channels, c->target->columns);
}

// ---- What a copy says about its two tensors

// The input `part` as a part of the output `whole`; false: the copy does not take all of it in even steps.
static bool part_of_output(const struct compilation *c, const struct move *move, const struct storage *part,
                           struct storage_view *view) {
    const struct extents *e = &part->extents;
    uint32_t pixels = e->height * e->width, count = move->rows * move->columns;
    if (count != pixels || move->from_pixel != 0 || move->from_tile != 0 || move->tiles != tiles_of(c, part)) {
        return false;
    }
    struct step row = {move->to_row, 0}, column = {0, move->to_column}; // of the walk, in the whole
    uint32_t from_row = move->rows > 1 ? move->from_row : 0, from_column = move->columns > 1 ? move->from_column : 0;
    *view = (struct storage_view){.tile = move->to_tile, .y = move->to_y, .x = move->to_x};
    bool along_columns = from_column == 1 && move->columns >= e->width;
    if (e->width > 1) {
        if (!along_columns && !(from_row == 1 && move->rows >= e->width)) {
            return false;
        }
        view->column_y = along_columns ? 0 : row.y;
        view->column_x = along_columns ? column.x : 0;
    }
    if (e->height > 1) {
        if (from_row == e->width && move->rows >= e->height) {
            view->row_y = row.y;
        } else if (from_column == e->width && move->columns >= e->height) {
            view->row_x = column.x;
        } else if (move->rows == 1 && from_column == 1) {
            view->row_x = e->width * column.x;
        } else if (move->columns == 1 && from_row == 1) {
            view->row_y = e->width * row.y;
        } else {
            return false;
        }
    }
    return true;
}

// The output `part` as a part of the input `whole`.
static bool part_of_input(const struct compilation *c, const struct move *move, const struct storage *part,
                          const struct storage *whole, struct storage_view *view) {
    const struct extents *e = &part->extents;
    if (move->rows != e->height || move->columns != e->width || move->to_y != 0 || move->to_x != 0 ||
        move->to_tile != 0 || move->tiles != tiles_of(c, part) || (e->height > 1 && move->from_row == 0) ||
        (e->width > 1 && move->from_column == 0)) {
        return false;
    }
    struct pixel_box box = movement_source_box(move);
    *view = (struct storage_view){.tile = move->from_tile, .is_linear = !ir_is_box(&whole->extents, &box)};
    if (view->is_linear) {
        view->x = move->from_pixel;
        view->row_x = move->from_row;
        view->column_x = move->from_column;
        return true;
    }
    struct step row = step_of_pixels(&whole->extents, move->from_row);
    struct step column = step_of_pixels(&whole->extents, move->from_column);
    view->y = move->from_pixel / whole->extents.width;
    view->x = move->from_pixel % whole->extents.width;
    view->row_y = row.y;
    view->row_x = row.x;
    view->column_y = column.y;
    view->column_x = column.x;
    return true;
}

// ---- Which of them can be had

static uint32_t root_of(const struct segment_plan *segment, uint32_t storage) {
    while (segment->storages[storage].view != NULL) {
        storage = segment->storages[storage].view->parent;
    }
    return storage;
}

// Whether the host reads a storage, or one that is a view of it.
static bool leaves(const struct segment_plan *segment, uint32_t storage) {
    for (uint32_t s = 0; s < segment->storage_count; s++) {
        for (uint32_t at = s; segment->storages[s].is_output; at = segment->storages[at].view->parent) {
            if (at == storage) {
                return true;
            }
            if (segment->storages[at].view == NULL) {
                break;
            }
        }
    }
    return false;
}

// What has no other place, and whose new place is of this run: inputs may be overwritten while it goes on.
static bool may_be_part(const struct segment_plan *segment, uint32_t part, uint32_t whole) {
    const struct storage *s = &segment->storages[part];
    uint32_t root = root_of(segment, whole);
    const struct storage *r = &segment->storages[root];
    return s->view == NULL && !s->is_input && !s->is_constant && root != part && !r->is_constant &&
           !(r->is_input && leaves(segment, part));
}

static enum systole_status make_view(struct compilation *c, struct segment_plan *segment, struct move *move,
                                     uint32_t part, uint32_t whole, const struct storage_view *view) {
    struct storage *s = &segment->storages[part];
    s->view = ir_allocate(c, 1, sizeof *s->view);
    if (s->view == NULL) {
        return ir_out_of_memory(c);
    }
    *s->view = *view;
    s->view->parent = whole;
    s->view->move = move;
    move->is_view = true;
    return SYSTOLE_OK;
}

static enum systole_status view_move(struct compilation *c, struct segment_plan *segment, const struct operation *o,
                                     struct move *move) {
    struct storage_view view;
    bool stays = move->is_final; // a reduction merges others into what it has copied
    if (move->kind != MOVE_COPY || !stays || move->table >= 0 || move->from < 0 || move->to < 0) {
        return SYSTOLE_OK;
    }
    uint32_t from = ir_find_storage(segment, o->inputs[move->from].tensor);
    uint32_t to = ir_find_storage(segment, ir_output(o, (uint32_t)move->to)->tensor);
    if (may_be_part(segment, to, from) &&
        part_of_input(c, move, &segment->storages[to], &segment->storages[from], &view)) {
        return make_view(c, segment, move, to, from, &view);
    }
    if (may_be_part(segment, from, to) && part_of_output(c, move, &segment->storages[from], &view)) {
        return make_view(c, segment, move, from, to, &view);
    }
    return SYSTOLE_OK;
}

static void report(const struct compilation *c, const struct segment_plan *segment) {
    for (uint32_t i = 0; i < segment->operation_count; i++) {
        struct operation *o = &c->operations[segment->operations[i]];
        if (o->kind == OPERATION_MOVE) {
            bool is_free = movement_is_free(o);
            (void)snprintf(o->reason, sizeof o->reason, "%s", is_free ? "folded" : "");
            (void)snprintf(o->detail, sizeof o->detail, "%s", is_free ? "its neighbours address the same words" : "");
        }
    }
}

enum systole_status views_find(struct compilation *c, struct segment_plan *segment) {
    enum systole_status status = SYSTOLE_OK;
    for (uint32_t i = 0; i < segment->operation_count; i++) {
        struct operation *o = &c->operations[segment->operations[i]];
        for (uint32_t k = 0; k < o->move_count && status == SYSTOLE_OK; k++) {
            status = view_move(c, segment, o, &o->moves[k]);
        }
    }
    report(c, segment);
    return status;
}

static void drop(struct storage *s) {
    s->view->move->is_view = false;
    s->view = NULL;
}

bool views_drop(const struct compilation *c, struct segment_plan *segment) {
    bool any = false;
    for (uint32_t s = 0; s < segment->storage_count; s++) {
        if (segment->storages[s].view != NULL) {
            drop(&segment->storages[s]);
            any = true;
        }
    }
    report(c, segment);
    return any;
}

// ---- Lives and layouts

bool views_line_up(const struct segment_plan *segment, int32_t tensor, const struct storage *whole) {
    const struct storage *s = &segment->storages[ir_find_storage(segment, tensor)];
    while (s != whole && s->view != NULL && s->view->row_y == 1 && s->view->row_x == 0 && s->view->column_y == 0) {
        s = &segment->storages[s->view->parent];
    }
    return s == whole;
}

void views_share_lives(struct segment_plan *segment) {
    for (uint32_t s = 0; s < segment->storage_count; s++) {
        const struct storage *part = &segment->storages[s];
        struct storage *root = &segment->storages[root_of(segment, s)];
        root->in_output = root->in_output || part->is_output;
        root->first_operation =
            part->first_operation < root->first_operation ? part->first_operation : root->first_operation;
        root->last_operation =
            part->last_operation > root->last_operation ? part->last_operation : root->last_operation;
    }
}

void views_share_rows(struct segment_plan *segment) {
    for (uint32_t s = 0; s < segment->storage_count; s++) {
        struct storage *part = &segment->storages[s];
        if (part->view != NULL) {
            struct storage *root = &segment->storages[root_of(segment, s)];
            root->linear = root->linear || part->linear || part->view->is_linear;
        }
    }
}

static bool has_no_gaps(const struct systole_placement *p) {
    return p->height == 1 || p->row_stride == p->width * p->pixel_stride;
}

// Whether no two elements of a placement share a word, and the strides are like digits: that keeps what touches the
// same words exact.
static bool is_nested(const struct systole_placement *p, uint32_t tiles) {
    uint64_t strides[3] = {p->tile_stride, p->row_stride, p->pixel_stride};
    uint64_t counts[3] = {tiles, p->height, p->width}, reach = 0;
    for (uint32_t round = 0; round < 3; round++) {
        uint32_t least = 3;
        for (uint32_t i = 0; i < 3; i++) {
            least = counts[i] > 1 && (least == 3 || strides[i] < strides[least]) ? i : least;
        }
        if (least == 3) {
            break;
        }
        if (strides[least] <= reach) {
            return false;
        }
        reach += (counts[least] - 1) * strides[least];
        counts[least] = 1;
    }
    return true;
}

// The strides of a view whose parent has its own. False: commands cannot follow them.
static bool derive(const struct compilation *c, const struct segment_plan *segment, struct storage *s) {
    const struct storage_view *v = s->view;
    const struct systole_placement *p = &segment->storages[v->parent].placement;
    struct systole_placement *q = &s->placement;
    uint64_t row = (uint64_t)v->row_y * p->row_stride + (uint64_t)v->row_x * p->pixel_stride;
    uint64_t column = (uint64_t)v->column_y * p->row_stride + (uint64_t)v->column_x * p->pixel_stride;
    const struct extents *e = &s->extents;
    if (e->width == 1) {
        column = e->height == 1 ? 1 : row;
    }
    if (e->height == 1) {
        row = column * e->width;
    }
    if (row > IR_STRIDE_LIMIT || column > WIDEST_PIXEL || (v->is_linear && !has_no_gaps(p))) {
        return false;
    }
    *q = (struct systole_placement){
        .height = e->height,
        .width = e->width,
        .channels = e->channels,
        .row_stride = (uint32_t)row,
        .tile_stride = p->tile_stride,
        .pixel_stride = (uint32_t)column,
        .layout = SYSTOLE_LAYOUT_TILED,
        .is_unsigned = q->is_unsigned,
    };
    s->words = 0; // none of its own
    return is_nested(q, tiles_of(c, s)) && (!s->linear || has_no_gaps(q));
}

static uint32_t depth(const struct segment_plan *segment, uint32_t storage) {
    uint32_t result = 0;
    for (; segment->storages[storage].view != NULL; storage = segment->storages[storage].view->parent) {
        result++;
    }
    return result;
}

// Parents before their parts.
static uint32_t next_depth(const struct segment_plan *segment, uint32_t above) {
    uint32_t next = UINT32_MAX;
    for (uint32_t s = 0; s < segment->storage_count; s++) {
        uint32_t d = depth(segment, s);
        next = d > above && d < next ? d : next;
    }
    return next;
}

bool views_lay_out(const struct compilation *c, struct segment_plan *segment) {
    for (uint32_t d = next_depth(segment, 0); d != UINT32_MAX; d = next_depth(segment, d)) {
        for (uint32_t s = 0; s < segment->storage_count; s++) {
            if (depth(segment, s) == d && !derive(c, segment, &segment->storages[s])) {
                drop(&segment->storages[s]);
                report(c, segment);
                return false;
            }
        }
    }
    return true;
}

void views_place(struct segment_plan *segment) {
    for (uint32_t d = next_depth(segment, 0); d != UINT32_MAX; d = next_depth(segment, d)) {
        for (uint32_t s = 0; s < segment->storage_count; s++) {
            if (depth(segment, s) == d) {
                const struct storage_view *v = segment->storages[s].view;
                const struct systole_placement *p = &segment->storages[v->parent].placement;
                segment->storages[s].placement.address =
                    p->address + v->tile * p->tile_stride + v->y * p->row_stride + v->x * p->pixel_stride;
            }
        }
    }
}
