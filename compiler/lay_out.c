// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// How each tensor of a segment lies in memory, and how each convolution walks it. An input with few channels is packed
// when that saves reduction tiles: several kernel rows fill the array's rows. Everything else is tiled. Rows that
// ports read side by side (the segments of a packed convolution, taps of several kernel rows) get a stride that puts
// them into different banks.
#include "movement.h"
#include "target.h"

#define MOST_WORDS 0x0FFFFFFFu // that an address can name

// Kernel rows in one reduction tile if the operation's input is packed; 0: it cannot be.
static uint32_t packed_segments(const struct compilation *c, const struct operation *o) {
    const struct window *w = &o->window;
    uint32_t bytes = w->kernel_width * w->input_channels;
    if (o->kind != OPERATION_CONV || w->dilation_x != 1 || bytes > c->target->rows || bytes > 64) {
        return 0;
    }
    uint32_t segments = c->target->rows / bytes;
    segments = segments > 4 ? 4 : segments;
    return segments > w->kernel_height ? w->kernel_height : segments;
}

static uint32_t tiled_reductions(const struct compilation *c, const struct operation *o) {
    const struct window *w = &o->window;
    return w->kernel_height * w->kernel_width * ir_divide_up(w->input_channels, c->target->columns);
}

static bool should_pack(const struct compilation *c, const struct segment_plan *segment, const struct storage *s) {
    if (!s->is_input || s->is_output || s->linear) {
        return false;
    }
    uint64_t packed = 0, tiled = 0;
    for (uint32_t i = 0; i < segment->operation_count; i++) {
        const struct operation *o = &c->operations[segment->operations[i]];
        for (uint32_t k = 0; k < o->input_count; k++) {
            if (o->inputs[k].tensor != s->tensor) {
                continue;
            }
            uint32_t segments = packed_segments(c, o);
            if (segments == 0) {
                return false;
            }
            packed += ir_divide_up(o->window.kernel_height, segments);
            tiled += tiled_reductions(c, o);
        }
    }
    return packed < tiled;
}

// Whether rows 0, step, 2*step ... (count of them, each `span` words read at once) fall into different banks.
static bool rows_clash(uint32_t row_stride, uint32_t step, uint32_t count, uint32_t span, uint32_t banks) {
    for (uint32_t i = 1; i < count; i++) {
        uint32_t distance = (uint32_t)((uint64_t)i * step * row_stride % banks);
        if (distance < span || banks - distance < span) {
            return true;
        }
    }
    return false;
}

// Largest demand on a storage's rows among its readers: rows read at once and words of each.
uint32_t lay_out_spread_rows(const struct compilation *c, const struct segment_plan *segment, const struct storage *s,
                             uint32_t stride) {
    uint32_t banks = c->target->banks;
    for (uint32_t attempt = 0; attempt < banks; attempt++) {
        bool clash = false;
        for (uint32_t i = 0; i < segment->operation_count; i++) {
            const struct operation *o = &c->operations[segment->operations[i]];
            const struct window *w = &o->window;
            if (!ir_is_window(o->kind) || !views_line_up(segment, o->inputs[0].tensor, s)) {
                continue;
            }
            if (o->kind == OPERATION_CONV && s->placement.layout == SYSTOLE_LAYOUT_PACKED) {
                clash = clash || rows_clash(stride, w->dilation_y, packed_segments(c, o), stride > 1 ? 2 : 1, banks);
            } else if (ir_is_window(o->kind) && o->kind != OPERATION_CONV && c->target->taps > w->kernel_width) {
                uint32_t rows = ir_divide_up(c->target->taps, w->kernel_width);
                rows = rows > w->kernel_height ? w->kernel_height : rows;
                uint32_t span = (w->kernel_width - 1) * w->dilation_x + 1;
                bool possible = rows * span <= banks;
                clash = clash || (possible && rows_clash(stride, w->dilation_y, rows, span, banks));
            }
        }
        if (!clash) {
            return stride;
        }
        stride++;
    }
    return stride - banks;
}

static void mark_live(struct segment_plan *segment, int32_t tensor, uint32_t position) {
    struct storage *s = &segment->storages[ir_find_storage(segment, tensor)];
    s->first_operation = position < s->first_operation ? position : s->first_operation;
    s->last_operation = position > s->last_operation ? position : s->last_operation;
}

static void find_lives(const struct compilation *c, struct segment_plan *segment) {
    for (uint32_t s = 0; s < segment->storage_count; s++) {
        struct storage *storage = &segment->storages[s];
        bool resides = storage->is_input || storage->is_output || storage->is_constant;
        storage->first_operation = resides ? 0 : UINT32_MAX;
        storage->last_operation = resides && segment->operation_count > 0 ? segment->operation_count - 1 : 0;
        storage->in_output = storage->is_output;
    }
    for (uint32_t i = 0; i < segment->operation_count; i++) {
        const struct operation *o = &c->operations[segment->operations[i]];
        for (uint32_t k = 0; k < o->input_count; k++) {
            mark_live(segment, o->inputs[k].tensor, i);
        }
        for (uint32_t k = 0; k < ir_output_count(o); k++) {
            mark_live(segment, ir_output(o, k)->tensor, i);
        }
        for (uint32_t k = 0; o->kind == OPERATION_MOVE && k < ir_output_count(o) + o->input_count; k++) {
            if (o->temporaries[k].channels > 0) {
                mark_live(segment, ir_temporary_tensor(o, -1 - (int32_t)k), i);
            }
        }
    }
}

// Whether an operation's view of a tensor has the tensor's own rows.
static bool same_rows(uint32_t images, uint32_t height, uint32_t width, const struct extents *e) {
    return width == e->width && images * height == e->height;
}

// Whether rows of an element-wise operand are rows of its tensor.
static bool keeps_rows(const struct window *w, const struct pixel_steps *steps, const struct extents *e) {
    bool rows = steps->row % e->width == 0 && steps->image % e->width == 0;
    return rows && (uint64_t)(w->output_width - 1) * steps->column < e->width;
}

// Whether an operation counts the pixels of an input across rows. Storages without views have no gaps between rows as
// soon as anything but a window reads them: only windows gain from those.
static bool counts_input(const struct operation *o, uint32_t k, const struct storage *s, bool exactly) {
    const struct window *w = &o->window;
    if (ir_is_window(o->kind)) {
        return !ir_sees_rows(w, s->extents.height, s->extents.width);
    }
    if (!exactly) {
        return true;
    }
    if (o->kind != OPERATION_MOVE) {
        return !keeps_rows(w, &o->steps[k], &s->extents);
    }
    for (uint32_t m = 0; m < o->move_count; m++) {
        const struct move *move = &o->moves[m];
        struct pixel_box box = movement_source_box(move);
        bool is_window = move->kind == MOVE_BLEND || move->kind == MOVE_CONV;
        if (move->from == (int32_t)k && !move->is_view && (is_window || !ir_is_box(&s->extents, &box))) {
            return true;
        }
    }
    return false;
}

static void find_linear(const struct compilation *c, struct segment_plan *segment) {
    for (uint32_t s = 0; s < segment->storage_count; s++) {
        struct storage *storage = &segment->storages[s];
        storage->linear = false;
        bool has_views = storage->view != NULL;
        for (uint32_t k = 0; k < segment->storage_count && !has_views; k++) {
            has_views = segment->storages[k].view != NULL && segment->storages[k].view->parent == s;
        }
        for (uint32_t i = 0; i < segment->operation_count; i++) {
            const struct operation *o = &c->operations[segment->operations[i]];
            const struct window *w = &o->window;
            for (uint32_t k = 0; k < o->input_count; k++) {
                storage->linear = storage->linear ||
                                  (o->inputs[k].tensor == storage->tensor && counts_input(o, k, storage, has_views));
            }
            bool counts_output = o->kind != OPERATION_MOVE && o->output.tensor == storage->tensor &&
                                 !same_rows(w->images, w->output_height, w->output_width, &storage->extents);
            storage->linear = storage->linear || counts_output;
        }
    }
    views_share_rows(segment);
}

// Returns the words of the storage, which may be more than there can be.
static uint64_t lay_out_storage(const struct compilation *c, const struct segment_plan *segment, struct storage *s) {
    struct extents e = s->extents;
    struct systole_placement *p = &s->placement;
    p->height = e.height;
    p->width = e.width;
    p->channels = e.channels;
    p->pixel_stride = 1;
    uint32_t tiles;
    if (should_pack(c, segment, s)) {
        p->layout = SYSTOLE_LAYOUT_PACKED;
        p->row_stride = lay_out_spread_rows(c, segment, s, ir_divide_up(e.width * e.channels, c->target->columns));
        tiles = 1;
    } else {
        p->layout = SYSTOLE_LAYOUT_TILED;
        p->row_stride = s->linear || s->tensor < 0 ? e.width : lay_out_spread_rows(c, segment, s, e.width);
        tiles = ir_divide_up(e.channels, c->target->columns);
    }
    uint64_t words = (uint64_t)e.height * p->row_stride * tiles;
    p->tile_stride = e.height * p->row_stride;
    s->words = (uint32_t)words;
    return words;
}

// Returns the words of the operation's parameters, which may be more than there can be.
static uint64_t lay_out_parameters(const struct compilation *c, const struct segment_plan *segment,
                                   struct operation *o) {
    const struct window *w = &o->window;
    const struct systole_target *t = c->target;
    uint64_t words = 0;
    if (o->kind == OPERATION_DEPTHWISE) {
        words = ir_round_up(IR_RECORD_WORDS + w->kernel_height * w->kernel_width, t->weight_port_rows);
    } else if (o->kind == OPERATION_CONV) {
        const struct storage *s = &segment->storages[ir_find_storage(segment, o->inputs[0].tensor)];
        o->packed = s->placement.layout == SYSTOLE_LAYOUT_PACKED;
        uint32_t lanes = w->input_channels < t->rows ? w->input_channels : t->rows;
        o->reduction_tiles = tiled_reductions(c, o);
        if (o->packed) {
            o->segments = packed_segments(c, o);
            o->segment_bytes = w->kernel_width * w->input_channels;
            o->reduction_tiles = ir_divide_up(w->kernel_height, o->segments);
            lanes = o->segments * o->segment_bytes;
        }
        o->tile_rows = ir_round_up(lanes, t->weight_port_rows);
        words = IR_RECORD_WORDS + (uint64_t)o->reduction_tiles * o->tile_rows;
    }
    o->stream_words = words > UINT32_MAX ? UINT32_MAX : (uint32_t)words;
    return words * ir_divide_up(w->output_channels, t->columns);
}

// What addresses cannot name.
static void evict(struct compilation *c, uint32_t operator_index, int32_t tensor, uint64_t words) {
    if (words > MOST_WORDS) {
        c->evictions[operator_index] = (struct eviction){"scratchpad", tensor, (int64_t)words, MOST_WORDS};
        c->again = true;
    }
}

enum systole_status pass_lay_out(struct compilation *c, struct segment_plan *segment) {
    uint64_t *words = ir_allocate(c, segment->storage_count, sizeof *words);
    if (words == NULL) {
        return ir_out_of_memory(c);
    }
    do {
        find_lives(c, segment);
        views_share_lives(segment);
        find_linear(c, segment);
        for (uint32_t i = 0; i < segment->storage_count; i++) {
            if (segment->storages[i].view == NULL) {
                words[i] = lay_out_storage(c, segment, &segment->storages[i]);
            }
        }
    } while (!views_lay_out(c, segment));
    for (uint32_t i = 0; i < segment->storage_count; i++) {
        const struct storage *s = &segment->storages[i];
        for (uint32_t k = 0; k < segment->operation_count; k++) {
            const struct operation *o = &c->operations[segment->operations[k]];
            if (ir_reads(o, s->tensor) || ir_writes(o, s->tensor)) {
                evict(c, o->index, s->tensor, words[i]);
            }
        }
    }
    for (uint32_t i = 0; i < segment->operation_count && !c->again; i++) {
        struct operation *o = &c->operations[segment->operations[i]];
        evict(c, o->index, o->output.tensor, lay_out_parameters(c, segment, o));
    }
    dump_storages(c, segment, "lay_out");
    return SYSTOLE_OK;
}
