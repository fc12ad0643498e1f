// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Which rows a stripe needs. Going from the last operation of a group to the first, each stripe of an output says how
// far its inputs must have come (hi); the next row that a reader will compute says what must be kept of the stripe
// before (lo). So each row is computed, or loaded, exactly once. A buffer takes stripe behind stripe; when its end is
// reached the rows that are still needed are copied to its beginning.
#include "spill.h"

#include <string.h>

#include "movement.h"

// A map whose channel tiles lie one behind the other, as linear readers want it: rows of it are no run of words.
static bool is_planar(const struct storage *storage) {
    return storage->placement.tile_stride > storage->placement.row_stride;
}

uint32_t stripe_words(const struct storage *storage, uint32_t rows) {
    return rows == storage->placement.height ? storage->words : rows * storage->placement.row_stride;
}

bool stripe_is_elementwise(const struct operation *o) {
    return ir_is_pair(o->kind) || o->kind == OPERATION_REQUANTISE || o->kind == OPERATION_TABLE;
}

// Whether all that a move uses beside its inputs has the output's rows: the output and its own temporary.
static bool has_output_rows(const struct spill_operation *op) {
    uint32_t between = op->storage_count - op->input_count - op->output_count;
    return op->output_count == 1 && (between == 0 || (between == 1 && op->temporaries[1] == -1));
}

static bool can_cut(const struct segment_plan *segment, const struct spill_operation *op) {
    const struct operation *o = op->operation;
    const struct window *w = &o->window;
    if (!has_output_rows(op)) {
        return false;
    }
    const struct storage *out = &segment->storages[op->storages[op->input_count]];
    if (o->kind == OPERATION_MOVE) {
        bool keeps = !is_planar(out);
        for (uint32_t k = 0; k < op->input_count && keeps; k++) {
            keeps = movement_keeps_rows(o, (int32_t)k, segment->storages[op->storages[k]].placement.width);
        }
        return keeps;
    }
    if (!ir_is_window(o->kind) && !stripe_is_elementwise(o)) {
        return false;
    }
    bool can = w->images * w->output_height == out->placement.height && w->output_width == out->placement.width;
    for (uint32_t k = 0; k < op->input_count && can; k++) {
        const struct storage *in = &segment->storages[op->storages[k]];
        if (ir_is_window(o->kind)) {
            can = ir_sees_rows(w, in->placement.height, in->placement.width);
        } else {
            can = o->steps[k].row == 0 || o->steps[k].row == in->placement.width;
        }
    }
    return can && !is_planar(out);
}

bool stripe_operations(struct compilation *c, struct segment_plan *segment) {
    segment->spill_operations = ir_allocate(c, segment->operation_count, sizeof *segment->spill_operations);
    for (uint32_t i = 0; i < segment->operation_count && segment->spill_operations != NULL; i++) {
        const struct operation *o = &c->operations[segment->operations[i]];
        struct spill_operation *op = &segment->spill_operations[i];
        uint32_t outputs = ir_output_count(o), between = o->kind == OPERATION_MOVE ? outputs + o->input_count : 0;
        *op = (struct spill_operation){.operation = o, .input_count = o->input_count, .output_count = outputs};
        op->storages = ir_allocate(c, op->input_count + outputs + between, sizeof *op->storages);
        op->temporaries = ir_allocate(c, outputs + between, sizeof *op->temporaries);
        if (op->storages == NULL || op->temporaries == NULL) {
            return false;
        }
        for (uint32_t k = 0; k < o->input_count; k++) {
            op->storages[op->storage_count++] = ir_find_storage(segment, o->inputs[k].tensor);
        }
        for (uint32_t k = 0; k < outputs; k++) {
            op->storages[op->storage_count++] = ir_find_storage(segment, ir_output(o, k)->tensor);
        }
        for (uint32_t k = 0; k < between; k++) {
            int32_t number = -1 - (int32_t)k;
            if (o->temporaries[k].channels > 0) {
                op->temporaries[op->storage_count - op->input_count] = number;
                op->storages[op->storage_count++] = ir_find_storage(segment, ir_temporary_tensor(o, number));
            }
        }
        op->can_cut = can_cut(segment, op);
    }
    return segment->spill_operations != NULL;
}

static int64_t clamp(int64_t value, int64_t high) {
    return value < 0 ? 0 : value > high ? high : value;
}

void stripe_needs(const struct segment_plan *segment, const struct spill_operation *op, uint32_t input, uint32_t r0,
                  uint32_t r1, uint32_t *lo, uint32_t *hi) {
    const struct operation *o = op->operation;
    const struct window *w = &o->window;
    const struct storage *in = &segment->storages[op->storages[input]];
    *lo = 0;
    *hi = in->placement.height;
    if (r0 >= r1) {
        *lo = *hi = 0;
    } else if (!op->can_cut) {
        return;
    } else if (o->kind == OPERATION_MOVE) {
        movement_needs(o, input, in->placement.width, r0, r1, lo, hi);
    } else if (ir_is_window(o->kind)) {
        int64_t height = w->input_height;
        uint32_t first = r0 / w->output_height, last = (r1 - 1) / w->output_height;
        int64_t begin = (int64_t)(r0 % w->output_height) * w->stride_y - w->pad_top;
        int64_t end = (int64_t)((r1 - 1) % w->output_height) * w->stride_y - w->pad_top +
                      (int64_t)(w->kernel_height - 1) * w->dilation_y + 1;
        *lo = first * w->input_height + (uint32_t)clamp(begin, height);
        *hi = last * w->input_height + (uint32_t)clamp(end, height);
        if (*lo >= *hi) { // only padding: any row will do
            *lo = *hi > 0 ? *hi - 1 : 0;
            *hi = *lo + 1;
        }
    } else {
        const struct pixel_steps *s = &o->steps[input];
        if (s->row != 0 && (w->images == 1 || s->image == w->output_height * s->row)) {
            *lo = r0;
            *hi = r1;
        }
    }
}

const struct stripe_rows *stripe_find(const struct stripe_shape *shape, uint32_t storage) {
    for (uint32_t i = 0; i < shape->count; i++) {
        if (shape->rows[i].storage == storage) {
            return &shape->rows[i];
        }
    }
    return NULL;
}

uint32_t stripe_before(const uint32_t *rows, uint32_t stripe) {
    return stripe > 0 ? rows[stripe - 1] : 0;
}

static struct stripe_rows *add_rows(struct compilation *c, struct stripe_shape *shape, uint32_t storage) {
    for (uint32_t i = 0; i < shape->count; i++) {
        if (shape->rows[i].storage == storage) {
            return &shape->rows[i];
        }
    }
    struct stripe_rows *rows = &shape->rows[shape->count];
    rows->storage = storage;
    rows->lo = ir_allocate(c, shape->stripes, sizeof *rows->lo);
    rows->hi = ir_allocate(c, shape->stripes, sizeof *rows->hi);
    if (rows->lo == NULL || rows->hi == NULL) {
        return NULL;
    }
    shape->count++;
    return rows;
}

// How far an input must have come, and what of it must be kept, for one reader whose output is `out`.
static void widen(const struct segment_plan *segment, const struct spill_operation *op, uint32_t input,
                  const struct stripe_rows *out, struct stripe_rows *in) {
    uint32_t height = segment->storages[out->storage].placement.height, stripes = 0, lo, hi;
    bool planar = is_planar(&segment->storages[in->storage]);
    while (stripes == 0 || out->hi[stripes - 1] < height) {
        stripes++; // the last of them completes the output
    }
    for (uint32_t s = 0; s < stripes; s++) {
        stripe_needs(segment, op, input, 0, out->hi[s], &lo, &hi);
        hi = planar && hi > 0 ? segment->storages[in->storage].placement.height : hi;
        in->hi[s] = hi > in->hi[s] ? hi : in->hi[s];
        uint32_t next = stripe_before(out->hi, s); // sources of moves may come in any order
        stripe_needs(segment, op, input, next, op->operation->kind == OPERATION_MOVE ? height : next + 1, &lo, &hi);
        lo = planar ? 0 : lo < hi ? lo : in->lo[s];
        in->lo[s] = lo < in->lo[s] ? lo : in->lo[s];
    }
}

static void settle(struct stripe_rows *rows, uint32_t stripes) {
    for (uint32_t s = 0; s < stripes; s++) {
        uint32_t before = stripe_before(rows->hi, s);
        rows->hi[s] = rows->hi[s] > before ? rows->hi[s] : before;
        rows->lo[s] = rows->lo[s] < before ? rows->lo[s] : before;
    }
}

bool stripe_shape(struct compilation *c, const struct segment_plan *segment, uint32_t first, uint32_t last,
                  uint32_t stripes, struct stripe_shape *shape) {
    uint32_t most = 1;
    for (uint32_t i = first; i < last; i++) {
        most += segment->spill_operations[i].storage_count;
    }
    *shape = (struct stripe_shape){.stripes = stripes, .rows = ir_allocate(c, most, sizeof *shape->rows)};
    if (shape->rows == NULL) {
        return false;
    }
    for (uint32_t i = first; i < last; i++) {
        const struct spill_operation *op = &segment->spill_operations[i];
        for (uint32_t k = 0; k < op->storage_count; k++) {
            struct stripe_rows *rows = add_rows(c, shape, op->storages[k]);
            if (rows == NULL) {
                return false;
            }
            rows->is_made = rows->is_made || k >= op->input_count;
            memset(rows->lo, 0xFF, stripes * sizeof *rows->lo);
        }
    }
    for (uint32_t i = last; i-- > first;) {
        const struct spill_operation *op = &segment->spill_operations[i];
        for (uint32_t k = op->input_count; k < op->storage_count; k++) {
            struct stripe_rows *out = add_rows(c, shape, op->storages[k]);
            uint32_t height = segment->storages[out->storage].placement.height;
            bool is_read = false;
            if (op->can_cut && k > op->input_count) { // a move's temporary goes with its output
                memcpy(out->hi, add_rows(c, shape, op->storages[op->input_count])->hi, stripes * sizeof *out->hi);
                continue;
            }
            for (uint32_t s = 0; s < stripes; s++) {
                is_read = is_read || out->hi[s] > 0;
            }
            for (uint32_t s = 0; s < stripes && !is_read; s++) {
                out->hi[s] = (uint32_t)(((uint64_t)height * (s + 1) + stripes - 1) / stripes);
            }
            out->hi[stripes - 1] = height; // rows that nobody reads are computed, too
            settle(out, stripes);
            for (uint32_t n = 0; n < op->input_count; n++) {
                widen(segment, op, n, out, add_rows(c, shape, op->storages[n]));
            }
        }
    }
    for (uint32_t i = 0; i < shape->count; i++) {
        settle(&shape->rows[i], stripes);
    }
    return true;
}

uint32_t stripe_capacity(const struct segment_plan *segment, const struct stripe_rows *rows, uint32_t stripes,
                         bool is_lean) {
    uint32_t largest = 0, height = segment->storages[rows->storage].placement.height;
    for (uint32_t s = 0; s < stripes; s++) {
        bool is_new = rows->hi[s] > stripe_before(rows->hi, s);
        largest = is_new && rows->hi[s] - rows->lo[s] > largest ? rows->hi[s] - rows->lo[s] : largest;
    }
    largest = is_lean ? largest : 2 * largest;
    return largest < height ? largest : height;
}

uint32_t stripe_parameter_words(const struct compilation *c, const struct operation *o) {
    return o->stream_words * ir_divide_up(o->window.output_channels, c->target->columns);
}

uint32_t stripe_chunk_tiles(const struct compilation *c, const struct operation *o, uint32_t chunk_words) {
    uint32_t tiles = ir_divide_up(o->window.output_channels, c->target->columns), port = c->target->weight_port_rows;
    if (o->stream_words == 0) {
        return tiles;
    }
    uint32_t chunk = chunk_words / o->stream_words;
    chunk = chunk < 1 ? 1 : chunk > tiles ? tiles : chunk;
    chunk = ir_divide_up(tiles, ir_divide_up(tiles, chunk));
    while (!o->streamed && chunk < tiles && chunk * o->stream_words % port != 0) {
        chunk++; // a stream begins at whole rounds of the weight port
    }
    return chunk;
}
