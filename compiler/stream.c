// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The commands of a plan (spill.h). Group by group and stripe by stripe: loads of what the stripe reads from the host,
// copies of rows that are still needed where a buffer ends, its operations, stores of what the host keeps. Everything
// that is not whole in the scratchpad lies in buffers; a buffer is used from one command to another, and those that
// are not used at the same time may share words. A buffer takes the words that have been free for longest, so that
// loads can run ahead of the commands that need them; where that does not fit, the largest buffers choose first.
#include "spill.h"

#include <string.h>

#include "movement.h"
#include "target.h"

#define BLOCK_PIXELS 48u // of a piece of a map that need not be cut
#define BLOCKS 4u        // such pieces of a map
#define REACH 96u        // commands among which the order may change
#define LOAD_REACH 1024u // and by which loads may run ahead

enum draft_kind { DRAFT_LOAD, DRAFT_STORE, DRAFT_COPY, DRAFT_COMPUTE };

// Rows of a storage in a buffer; SPILL_NONE: it is whole where its placement says.
struct view {
    uint32_t buffer, row0, row1;
};

struct draft {
    enum draft_kind kind;
    uint32_t operation; // position in the segment
    // Computation:
    struct piece piece;
    const struct view *views;            // of the operation's storages
    uint32_t parameters, parameter_tile; // buffer and the first tile in it
    // Others: `words` from `word` of a buffer on, and where they come from or go to.
    uint32_t buffer, word, words, from, from_word, host_address, rows;
};

struct buffer {
    uint32_t words, first, last, offset; // first and last draft that use it
    bool is_long;                        // placed before the others
};

struct stream {
    struct compilation *c;
    struct segment_plan *segment;
    const struct spill_plan *plan;
    struct draft *drafts;
    struct buffer *buffers;
    uint32_t draft_count, draft_room, buffer_count, buffer_room;
    uint32_t *whole;     // buffer of a storage at home in the scratchpad
    struct view *stripe; // of a storage, now
    uint32_t *held;      // buffer with all parameters of an operation of the group, SPILL_NONE: not loaded
    bool failed;         // no memory
};

// ---- Drafts and buffers.

static void *grow(struct stream *t, void *old, uint32_t count, uint32_t *room, size_t size) {
    if (count < *room) {
        return old;
    }
    uint32_t more = *room * 2 + 64;
    void *made = ir_allocate(t->c, more, size);
    if (made != NULL && count > 0) {
        memcpy(made, old, count * size);
    }
    *room = more;
    t->failed = t->failed || made == NULL;
    return made;
}

static uint32_t add_buffer(struct stream *t, uint32_t words, bool is_long) {
    struct buffer *buffers = grow(t, t->buffers, t->buffer_count, &t->buffer_room, sizeof *buffers);
    if (buffers == NULL) {
        return SPILL_NONE;
    }
    t->buffers = buffers;
    buffers[t->buffer_count] = (struct buffer){words, UINT32_MAX, 0, 0, is_long};
    return t->buffer_count++;
}

static void use(struct stream *t, uint32_t buffer) {
    if (buffer < t->buffer_count && t->buffers != NULL && !t->failed) {
        struct buffer *b = &t->buffers[buffer];
        b->first = b->first < t->draft_count ? b->first : t->draft_count;
        b->last = t->draft_count;
    }
}

static const struct spill_operation *spilled_at(const struct stream *t, uint32_t position) {
    return &t->segment->spill_operations[position];
}

static const struct operation *operation_at(const struct stream *t, uint32_t position) {
    return spilled_at(t, position)->operation;
}

static void add_draft(struct stream *t, const struct draft *draft) {
    struct draft *drafts = grow(t, t->drafts, t->draft_count, &t->draft_room, sizeof *drafts);
    if (drafts == NULL || t->failed) {
        t->failed = true;
        return;
    }
    t->drafts = drafts;
    drafts[t->draft_count] = *draft;
    if (draft->kind == DRAFT_COMPUTE) {
        for (uint32_t k = 0; k < spilled_at(t, draft->operation)->storage_count; k++) {
            use(t, draft->views[k].buffer);
        }
        use(t, draft->parameters);
    } else {
        use(t, draft->buffer);
        use(t, draft->from);
    }
    t->draft_count++;
}

// ---- Stripes of storages.

static bool in_stripes(const struct stream *t, uint32_t storage) {
    uint8_t home = t->plan->homes[storage];
    return home == HOME_STRIPES || home == HOME_HOST;
}

// Makes room for a storage's new rows behind those that the buffer has. At its end what is kept goes to the beginning,
// in as many copies as it takes for none to read what it writes.
static void open_stripe(struct stream *t, uint32_t position, const struct stripe_rows *rows,
                        const struct spill_group *group, uint32_t s) {
    const struct storage *storage = &t->segment->storages[rows->storage];
    struct view *now = &t->stripe[rows->storage];
    uint32_t lo = rows->lo[s], hi = rows->hi[s], before = stripe_before(rows->hi, s);
    uint32_t row_words = storage->placement.row_stride;
    bool is_lean = group->is_lean && t->plan->homes[rows->storage] == HOME_STRIPES;
    uint32_t capacity = stripe_capacity(t->segment, rows, group->stripes, is_lean);
    if (now->buffer == SPILL_NONE) {
        *now = (struct view){add_buffer(t, stripe_words(storage, capacity), false), lo, hi};
        return;
    }
    uint32_t shift = lo - now->row0;
    bool moves = hi - now->row0 > capacity;
    for (uint32_t row = lo; row < before && moves; row += shift) {
        add_draft(t, &(struct draft){
                         .kind = DRAFT_COPY,
                         .operation = position,
                         .buffer = now->buffer,
                         .word = (row - lo) * row_words,
                         .from = now->buffer,
                         .from_word = (row - now->row0) * row_words,
                         .rows = before - row < shift ? before - row : shift,
                         .words = row_words,
                     });
    }
    now->row0 = moves ? lo : now->row0;
    now->row1 = hi;
}

static uint32_t host_address(const struct storage *storage, uint32_t row) {
    return storage->placement.address + row * storage->placement.row_stride;
}

static void move_rows(struct stream *t, enum draft_kind kind, uint32_t position, const struct stripe_rows *rows,
                      uint32_t s) {
    const struct storage *storage = &t->segment->storages[rows->storage];
    uint32_t before = stripe_before(rows->hi, s), row_words = storage->placement.row_stride;
    add_draft(t, &(struct draft){
                     .kind = kind,
                     .operation = position,
                     .buffer = t->stripe[rows->storage].buffer,
                     .word = (before - t->stripe[rows->storage].row0) * row_words,
                     .words = stripe_words(storage, rows->hi[s] - before),
                     .from = SPILL_NONE,
                     .host_address = host_address(storage, before),
                 });
}

// ---- Operations.

static uint32_t load_parameters(struct stream *t, uint32_t position, uint32_t t0, uint32_t t1, bool is_long) {
    const struct operation *o = operation_at(t, position);
    uint32_t words = (t1 - t0) * o->stream_words;
    uint32_t buffer = add_buffer(t, words, is_long);
    add_draft(
        t, &(struct draft){
               .kind = DRAFT_LOAD,
               .operation = position,
               .buffer = buffer,
               .words = words,
               .from = SPILL_NONE,
               .host_address = (uint32_t)SYSTOLE_REGION_PARAMETERS << 28 | (o->parameter_offset + t0 * o->stream_words),
           });
    return buffer;
}

static uint32_t least(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

// Rows of the output (over all images) and channel tiles, cut at images, and in columns where the accumulators end.
static void add_pieces(struct stream *t, struct draft *draft, uint32_t r0, uint32_t r1, uint32_t block) {
    const struct operation *o = operation_at(t, draft->operation);
    const struct window *w = &o->window;
    uint32_t width = w->output_width;
    if (o->kind == OPERATION_CONV) {
        width = ir_divide_up(width, ir_divide_up(width, t->c->target->accumulators));
    }
    for (uint32_t r = r0; r < r1;) {
        uint32_t y = r % w->output_height, rows = least(least(block, r1 - r), w->output_height - y);
        for (uint32_t x = 0; x < w->output_width; x += width) {
            draft->piece.image = r / w->output_height;
            draft->piece.y0 = y;
            draft->piece.y1 = y + rows;
            draft->piece.x0 = x;
            draft->piece.x1 = least(x + width, w->output_width);
            add_draft(t, draft);
        }
        r += rows;
    }
}

// Rows of one piece of a map that is computed whole.
static uint32_t block_of(const struct stream *t, const struct operation *o) {
    const struct window *w = &o->window;
    uint32_t load = o->tile_rows / t->c->target->weight_port_rows;
    uint32_t pixels = w->output_width * w->output_height, blocks = least(BLOCKS, pixels / BLOCK_PIXELS);
    uint32_t rows = blocks > 0 ? ir_divide_up(w->output_height, blocks) : w->output_height;
    return rows * w->output_width < load ? w->output_height : rows;
}

static struct view *views_of(struct stream *t, uint32_t position) {
    const struct spill_operation *op = spilled_at(t, position);
    struct view *views = ir_allocate(t->c, op->storage_count, sizeof *views);
    for (uint32_t k = 0; k < op->storage_count && views != NULL; k++) {
        views[k] = t->stripe[op->storages[k]];
    }
    t->failed = t->failed || views == NULL;
    return views;
}

static void compute_moves(struct stream *t, uint32_t position, uint32_t r0, uint32_t r1) {
    const struct operation *o = operation_at(t, position);
    uint32_t count = movement_stripe_pieces(t->c, o, position, r0, r1, NULL);
    struct piece *pieces = ir_allocate(t->c, count, sizeof *pieces);
    struct draft draft = {.kind = DRAFT_COMPUTE, .operation = position, .parameters = SPILL_NONE};
    draft.views = views_of(t, position);
    if (pieces == NULL || draft.views == NULL) {
        t->failed = true;
        return;
    }
    (void)movement_stripe_pieces(t->c, o, position, r0, r1, pieces);
    for (uint32_t i = 0; i < count; i++) {
        draft.piece = pieces[i];
        add_draft(t, &draft);
    }
}

static void compute(struct stream *t, const struct spill_group *group, uint32_t position, uint32_t r0, uint32_t r1) {
    const struct operation *o = operation_at(t, position);
    uint32_t tiles = ir_divide_up(o->window.output_channels, t->c->target->columns), chunk = tiles;
    uint32_t block = o->window.output_height;
    bool holds = group->holds[position - group->first];
    struct draft draft = {.kind = DRAFT_COMPUTE, .operation = position, .parameters = SPILL_NONE};
    draft.piece.operation = position;
    draft.views = views_of(t, position);
    if (draft.views == NULL) {
        return;
    }
    if (group->stripes == 1) {
        block = block_of(t, o);
    }
    if (o->streamed && !holds) {
        chunk = stripe_chunk_tiles(t->c, o, t->plan->chunk_words);
    } else if (group->stripes == 1 && block == o->window.output_height && !o->streamed) {
        chunk = stripe_chunk_tiles(t->c, o, ir_divide_up(tiles, BLOCKS) * o->stream_words);
    }
    for (uint32_t t0 = 0; t0 < tiles; t0 += chunk) {
        draft.piece.t0 = t0;
        draft.piece.t1 = least(t0 + chunk, tiles);
        if (o->streamed && holds) {
            if (t->held[position] == SPILL_NONE) {
                t->held[position] = load_parameters(t, position, 0, tiles, group->stripes > 1);
            }
            draft.parameters = t->held[position];
        } else if (o->streamed) {
            draft.parameters = load_parameters(t, position, t0, draft.piece.t1, false);
            draft.parameter_tile = t0;
        }
        add_pieces(t, &draft, r0, r1, block);
    }
}

// ---- Groups.

// The stripe of each storage of an operation; loads of those that come from the host.
static void open_stripes(struct stream *t, const struct spill_group *group, uint32_t position,
                         const struct stripe_shape *shape, uint32_t s) {
    const struct spill_operation *op = spilled_at(t, position);
    for (uint32_t k = 0; k < op->storage_count; k++) {
        const struct stripe_rows *rows = stripe_find(shape, op->storages[k]);
        const struct view *now = &t->stripe[rows->storage];
        bool is_there = now->buffer != SPILL_NONE && now->row1 == rows->hi[s];
        if (rows->hi[s] > stripe_before(rows->hi, s) && in_stripes(t, rows->storage) && !is_there &&
            rows->is_made == (k >= op->input_count)) {
            open_stripe(t, position, rows, group, s);
            if (!rows->is_made) {
                move_rows(t, DRAFT_LOAD, position, rows, s);
            }
        }
    }
}

static void draft_stripe(struct stream *t, const struct spill_group *group, const struct stripe_shape *shape,
                         uint32_t s) {
    for (uint32_t i = group->first; i < group->last; i++) {
        const struct spill_operation *op = spilled_at(t, i);
        const struct stripe_rows *out = stripe_find(shape, op->storages[op->input_count]);
        uint32_t before = stripe_before(out->hi, s);
        open_stripes(t, group, i, shape, s);
        if (out->hi[s] == before) {
            continue;
        }
        // What is not cut is computed whole; its images may lie otherwise than in rows.
        const struct window *w = &op->operation->window;
        if (op->operation->kind == OPERATION_MOVE) {
            compute_moves(t, i, op->can_cut ? before : 0, op->can_cut ? out->hi[s] : UINT32_MAX);
        } else {
            compute(t, group, i, op->can_cut ? before : 0, op->can_cut ? out->hi[s] : w->images * w->output_height);
        }
        for (uint32_t k = op->input_count; k < op->input_count + op->output_count; k++) {
            if (t->plan->homes[op->storages[k]] == HOME_HOST) {
                move_rows(t, DRAFT_STORE, i, stripe_find(shape, op->storages[k]), s);
            }
        }
    }
}

static void draft_group(struct stream *t, const struct spill_group *group) {
    struct stripe_shape shape;
    if (!stripe_shape(t->c, t->segment, group->first, group->last, group->stripes, &shape)) {
        t->failed = true;
        return;
    }
    for (uint32_t i = 0; i < shape.count; i++) {
        uint32_t storage = shape.rows[i].storage, home = t->plan->homes[storage];
        if (home == HOME_WHOLE && t->whole[storage] == SPILL_NONE) {
            t->whole[storage] = add_buffer(t, t->segment->storages[storage].words, true);
        }
        uint32_t buffer = home == HOME_WHOLE ? t->whole[storage] : SPILL_NONE;
        t->stripe[storage] = (struct view){buffer, 0, t->segment->storages[storage].placement.height};
    }
    for (uint32_t s = 0; s < group->stripes && !t->failed; s++) {
        draft_stripe(t, group, &shape, s);
    }
}

// ---- Memory.

struct ground {
    uint32_t *placed; // buffers
    uint32_t count, limit, align, end;
};

static bool live_together(const struct buffer *a, const struct buffer *b) {
    return a->first <= b->last && b->first <= a->last;
}

static bool share_words(const struct buffer *a, uint32_t offset, uint32_t words) {
    return a->offset < offset + words && offset < a->offset + a->words;
}

// Whether a buffer may lie at an offset, and when what lay there before was last used.
static bool may_lie(const struct stream *t, const struct ground *g, const struct buffer *b, uint32_t offset,
                    uint32_t *last_use) {
    *last_use = 0;
    if (offset > g->limit || b->words > g->limit - offset) {
        return false;
    }
    for (uint32_t i = 0; i < g->count; i++) {
        const struct buffer *other = &t->buffers[g->placed[i]];
        if (!share_words(other, offset, b->words)) {
            continue;
        }
        if (live_together(other, b)) {
            return false;
        }
        if (other->last < b->first && other->last + 1 > *last_use) {
            *last_use = other->last + 1;
        }
    }
    return true;
}

// Lowest free place, or the one that has been free for longest.
static bool place(struct stream *t, struct ground *g, uint32_t index, bool oldest) {
    struct buffer *b = &t->buffers[index];
    uint32_t best = UINT32_MAX, best_use = UINT32_MAX;
    for (uint32_t i = 0; i <= g->count; i++) {
        const struct buffer *other = i > 0 ? &t->buffers[g->placed[i - 1]] : NULL;
        uint32_t offset = other != NULL ? ir_round_up(other->offset + other->words, g->align) : 0, last_use;
        bool better = oldest ? true : offset < best;
        if (better && may_lie(t, g, b, offset, &last_use)) {
            if (!oldest || last_use < best_use || (last_use == best_use && offset < best)) {
                best = offset;
                best_use = last_use;
            }
        }
    }
    if (best == UINT32_MAX) {
        return false;
    }
    b->offset = best;
    g->placed[g->count++] = index;
    g->end = best + b->words > g->end ? best + b->words : g->end;
    return true;
}

// Long ones first, largest first; the others in the order of their use, or largest first, too.
static void sort(const struct stream *t, uint32_t *order, bool by_time) {
    for (uint32_t i = 0; i < t->buffer_count; i++) {
        const struct buffer *b = &t->buffers[i];
        uint32_t at = i;
        for (; at > 0; at--) {
            const struct buffer *other = &t->buffers[order[at - 1]];
            bool before = b->is_long != other->is_long ? b->is_long
                          : by_time && !b->is_long     ? b->first < other->first
                                                       : b->words > other->words;
            if (!before) {
                break;
            }
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
}

static bool place_all(struct stream *t, uint32_t limit, bool by_time, uint32_t *end) {
    uint32_t *order = ir_allocate(t->c, t->buffer_count, sizeof *order), banks = t->c->target->banks;
    uint32_t port = t->c->target->weight_port_rows;
    struct ground g = {.placed = ir_allocate(t->c, t->buffer_count, sizeof *g.placed), .limit = limit};
    g.align = banks % port == 0 ? banks : banks * port;
    if (order == NULL || g.placed == NULL) {
        t->failed = true;
        return false;
    }
    sort(t, order, by_time);
    for (uint32_t i = 0; i < t->buffer_count; i++) {
        if (!place(t, &g, order[i], by_time && !t->buffers[order[i]].is_long)) {
            return false;
        }
    }
    *end = g.end;
    return true;
}

static bool allocate(struct stream *t) {
    struct segment_plan *segment = t->segment;
    uint32_t banks = t->c->target->banks, end = 0;
    uint64_t total = systole_target_words(t->c->target), used = 0;
    segment->region_words[SYSTOLE_REGION_PROGRAM] =
        ir_divide_up(t->draft_count * SYSTOLE_COMMAND_BYTES, t->c->target->columns);
    segment->region_words[SYSTOLE_REGION_ACTIVATIONS] = 0;
    for (uint32_t r = 0; r < SYSTOLE_REGION_HOST; r++) {
        used += ir_round_up(segment->region_words[r], banks);
    }
    if (used >= total) {
        return false;
    }
    uint32_t limit = (uint32_t)(total - used) / banks * banks;
    if (!place_all(t, limit, true, &end) && !place_all(t, limit, false, &end)) {
        return false;
    }
    segment->region_words[SYSTOLE_REGION_ACTIVATIONS] = end;
    return true;
}

// ---- Commands.

static uint32_t word_of(const struct stream *t, uint32_t buffer, uint32_t word) {
    return (uint32_t)SYSTOLE_REGION_ACTIVATIONS << 28 | (t->buffers[buffer].offset + word);
}

static void emit_transfer(const struct stream *t, const struct draft *d, struct systole_command *command) {
    command->header.opcode = d->kind == DRAFT_LOAD ? SYSTOLE_OPCODE_LOAD : SYSTOLE_OPCODE_STORE;
    command->header.unit = d->kind == DRAFT_LOAD ? SYSTOLE_UNIT_LOAD : SYSTOLE_UNIT_STORE;
    command->body.transfer = (struct systole_transfer){word_of(t, d->buffer, d->word), d->words, d->host_address};
}

// Bytes as they are: the multiplier is one, nothing is clamped.
static void emit_copy(const struct stream *t, const struct draft *d, struct systole_command *command) {
    command->header.opcode = SYSTOLE_OPCODE_REQUANTISE;
    command->header.unit = SYSTOLE_UNIT_ELEMENTWISE;
    command->body.elementwise = (struct systole_elementwise){
        .input_address = word_of(t, d->from, d->from_word),
        .input_row_stride = d->words,
        .output_address = word_of(t, d->buffer, d->word),
        .output_row_stride = d->words,
        .input_pixel_stride = 1,
        .output_pixel_stride = 1,
        .height = (uint16_t)d->rows,
        .width = (uint16_t)d->words,
        .tiles = 1,
        .clamp_min = -128,
        .clamp_max = 127,
        .output_multiplier = 1 << 30,
        .output_shift = 1,
    };
}

// Row 0 of a storage if it lay before the rows that the buffer has; sums with rows inside are right modulo 2^32.
static uint32_t address_of_row_0(const struct stream *t, const struct storage *storage, const struct view *view) {
    return word_of(t, view->buffer, 0) - view->row0 * storage->placement.row_stride;
}

// The unit must see no rows but those in the buffer: the others are padding, and are not needed.
static void narrow_window(const struct stream *t, const struct draft *d, struct systole_command *command) {
    const struct operation *o = operation_at(t, d->operation);
    const struct view *view = &d->views[0];
    struct systole_window *w = &command->body.window;
    uint32_t first = d->piece.image * o->window.input_height, last = first + o->window.input_height;
    uint32_t row0 = view->row0 > first ? view->row0 : first, row1 = view->row1 < last ? view->row1 : last;
    w->input_address += (row0 - first) * w->input_row_stride;
    w->origin_y = (int16_t)(w->origin_y - (int32_t)(row0 - first));
    w->input_height = (uint16_t)(row1 - row0);
}

static bool emit_compute(struct stream *t, const struct draft *d, struct systole_command *command,
                         struct systole_command_info *info) {
    const struct operation *o = operation_at(t, d->operation);
    const struct spill_operation *op = spilled_at(t, d->operation);
    for (uint32_t k = 0; k < op->storage_count; k++) {
        struct storage *storage = &t->segment->storages[op->storages[k]];
        if (d->views[k].buffer != SPILL_NONE) {
            storage->placement.address = address_of_row_0(t, storage, &d->views[k]);
        }
    }
    bool is_box = emit_piece(t->c, t->segment, &d->piece, command, info);
    if (ir_is_window(o->kind)) {
        if (d->views[0].buffer != SPILL_NONE && op->can_cut) {
            narrow_window(t, d, command);
        }
        if (d->parameters != SPILL_NONE) {
            command->body.window.parameter_address =
                word_of(t, d->parameters, (d->piece.t0 - d->parameter_tile) * o->stream_words);
        }
    }
    return is_box;
}

// The storages' placements as the program will tell them.
static void place_homes(const struct stream *t) {
    for (uint32_t i = 0; i < t->segment->storage_count; i++) {
        struct systole_placement *p = &t->segment->storages[i].placement;
        if (t->plan->homes[i] == HOME_STRIPES) {
            p->address = SYSTOLE_PLACED_IN_PARTS;
        } else if (t->plan->homes[i] == HOME_WHOLE && t->whole[i] != SPILL_NONE) {
            p->address = word_of(t, t->whole[i], 0);
        }
    }
}

static enum systole_status emit(struct stream *t) {
    struct segment_plan *segment = t->segment;
    uint32_t count = t->draft_count;
    segment->commands = ir_allocate(t->c, count, sizeof *segment->commands);
    segment->info = ir_allocate(t->c, count, sizeof *segment->info);
    segment->pieces = ir_allocate(t->c, count, sizeof *segment->pieces);
    uint32_t *addresses = ir_allocate(t->c, segment->storage_count, sizeof *addresses);
    if (segment->commands == NULL || segment->info == NULL || segment->pieces == NULL || addresses == NULL) {
        return ir_out_of_memory(t->c);
    }
    segment->command_count = segment->piece_count = count;
    for (uint32_t i = 0; i < count; i++) {
        const struct draft *d = &t->drafts[i];
        uint32_t index = segment->operations[d->operation];
        struct systole_command *command = &segment->commands[i];
        command->header.operator_index = (uint16_t)index;
        segment->info[i] = (struct systole_command_info){.operator_index = (int32_t)index, .tensor_index = -1};
        if (d->kind == DRAFT_COMPUTE) {
            for (uint32_t s = 0; s < segment->storage_count; s++) {
                addresses[s] = segment->storages[s].placement.address;
            }
            if (!emit_compute(t, d, command, &segment->info[i])) {
                return ir_internal_error(t->c, index, "a piece is no box of its tensor");
            }
            for (uint32_t s = 0; s < segment->storage_count; s++) {
                segment->storages[s].placement.address = addresses[s];
            }
        } else if (d->kind == DRAFT_COPY) {
            emit_copy(t, d, command);
        } else {
            emit_transfer(t, d, command);
        }
        segment->pieces[i] = d->piece;
        segment->pieces[i].operation = i; // each for itself: schedule looks at all pairs
    }
    place_homes(t);
    segment->reach = REACH;
    segment->load_reach = LOAD_REACH;
    dump_commands(t->c, segment, "emit");
    return SYSTOLE_OK;
}

enum systole_status stream_segment(struct compilation *c, struct segment_plan *segment, const struct spill_plan *plan,
                                   bool *fits) {
    struct stream t = {
        .c = c,
        .segment = segment,
        .plan = plan,
        .whole = ir_allocate(c, segment->storage_count, sizeof *t.whole),
        .stripe = ir_allocate(c, segment->storage_count, sizeof *t.stripe),
        .held = ir_allocate(c, segment->operation_count, sizeof *t.held),
    };
    *fits = false;
    if (t.whole == NULL || t.stripe == NULL || t.held == NULL) {
        return ir_out_of_memory(c);
    }
    memset(t.whole, 0xFF, segment->storage_count * sizeof *t.whole); // SPILL_NONE
    memset(t.held, 0xFF, segment->operation_count * sizeof *t.held);
    for (uint32_t g = 0; g < plan->group_count && !t.failed; g++) {
        draft_group(&t, &plan->groups[g]);
    }
    *fits = !t.failed && allocate(&t);
    if (t.failed) {
        return ir_out_of_memory(c);
    }
    return *fits ? emit(&t) : SYSTOLE_OK;
}
