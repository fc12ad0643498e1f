// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A group's cost in closed form. What its stripes need and move is measured once for each number of stripes and kept;
// parameters, which depend on what is resident and on the room that is left, are added each time. Fewest stripes are
// found by bisection: the more there are, the less memory they take.
#include "group_cost.h"

#include "movement.h"
#include "target.h"

#define HEIGHTS 40u        // of stripes, that are tried
#define COMMAND_CYCLES 60u // that a command's latency and tokens cost beside its work
#define WIDEST_COPY 65535u

// What a group needs and does in a number of stripes, parameters aside.
struct geometry {
    bool is_known, is_possible;
    uint64_t maps;              // words of its stripes at one time
    uint32_t *lives;            // one stripe: words at each operation
    uint64_t link_in, link_out; // words
    uint64_t units[3];          // cycles
    uint32_t commands, pieces;  // of stripes; of operations
};

static const struct spill_operation *spilled_at(const struct planner *p, uint32_t position) {
    return &p->segment->spill_operations[position];
}

static const struct operation *operation_at(const struct planner *p, uint32_t position) {
    return spilled_at(p, position)->operation;
}

// ---- Homes.

bool group_is_fixed(const struct planner *p, const struct storage *s) {
    return s->is_constant || ((s->is_input || s->is_output) && s->words <= p->whole_limit);
}

uint8_t group_home_of(const struct planner *p, uint32_t storage, uint32_t first, uint32_t last) {
    const struct storage *s = &p->segment->storages[storage];
    if (group_is_fixed(p, s)) {
        return HOME_FIXED;
    }
    if (s->is_input || s->is_output) {
        return HOME_HOST;
    }
    if (p->producer[storage] != SPILL_NONE && p->producer[storage] >= first && p->reader[storage] < last) {
        return HOME_STRIPES;
    }
    return s->words <= p->whole_limit ? HOME_WHOLE : HOME_HOST;
}

// Words of whole maps that exist while operations first .. last-1 run.
static uint64_t whole_words(const struct planner *p, uint32_t first, uint32_t last) {
    uint64_t words = 0;
    for (uint32_t i = 0; i < p->segment->storage_count; i++) {
        bool lives = p->producer[i] != SPILL_NONE && p->producer[i] < last && p->reader[i] >= first;
        if (lives && group_home_of(p, i, first, last) == HOME_WHOLE) {
            words += p->segment->storages[i].words;
        }
    }
    return words;
}

// ---- Cost of a group.

static uint64_t most(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

// Rows r0 .. r1-1 of the output.
static void add_work(const struct planner *p, const struct operation *o, uint32_t r0, uint32_t r1, uint64_t units[3]) {
    const struct systole_target *t = p->c->target;
    const struct window *w = &o->window;
    if (o->kind == OPERATION_MOVE) {
        movement_add_work(p->c, o, r0, r1, units);
        return;
    }
    uint64_t pixels = (uint64_t)(r1 - r0) * w->output_width, tiles = ir_divide_up(w->output_channels, t->columns);
    if (o->kind == OPERATION_CONV) {
        units[0] += tiles * o->reduction_tiles * most(pixels, o->tile_rows / t->weight_port_rows);
    } else if (ir_is_window(o->kind)) {
        uint64_t taps = (uint64_t)w->kernel_height * w->kernel_width;
        units[1] += tiles * most(pixels * ((taps + t->taps - 1) / t->taps), o->stream_words);
    } else {
        units[2] += tiles * pixels;
    }
}

static uint64_t link_cycles(const struct planner *p, uint64_t words) {
    return words * p->c->target->columns * 1000 / p->c->target->link_millibytes_per_cycle;
}

static bool uses(const struct planner *p, uint32_t position, uint32_t storage) {
    const struct spill_operation *op = spilled_at(p, position);
    bool result = false;
    for (uint32_t k = 0; k < op->storage_count; k++) {
        result = result || op->storages[k] == storage;
    }
    return result;
}

// One stripe: maps live from the first to the last operation of the group that uses them.
static void add_lives(const struct planner *p, uint32_t first, uint32_t last, const struct stripe_rows *rows,
                      struct geometry *g) {
    uint32_t begin = last, end = first;
    for (uint32_t i = first; i < last; i++) {
        if (uses(p, i, rows->storage)) {
            begin = i < begin ? i : begin;
            end = i;
        }
    }
    for (uint32_t i = begin; i <= end; i++) {
        g->lives[i - first] += stripe_words(&p->segment->storages[rows->storage], rows->hi[0]);
    }
}

// Several: the buffer, and copies when its end is reached, as stream.c makes them.
static void add_stripes(const struct planner *p, const struct stripe_rows *rows, uint32_t stripes, bool is_lean,
                        struct geometry *g) {
    const struct storage *s = &p->segment->storages[rows->storage];
    uint32_t capacity = stripe_capacity(p->segment, rows, stripes, is_lean), row0 = 0;
    for (uint32_t i = 0; i < stripes; i++) {
        uint32_t before = stripe_before(rows->hi, i), lo = rows->lo[i];
        if (rows->hi[i] == before || rows->hi[i] - row0 <= capacity) {
            continue;
        }
        if (lo < before) {
            g->is_possible = g->is_possible && s->placement.row_stride <= WIDEST_COPY;
            g->units[2] += (uint64_t)(before - lo) * s->placement.row_stride;
            g->commands += ir_divide_up(before - lo, lo - row0);
        }
        row0 = lo;
    }
    g->maps += stripe_words(s, capacity);
}

static void measure(const struct planner *p, uint32_t first, uint32_t last, bool is_lean,
                    const struct stripe_shape *shape, struct geometry *g) {
    for (uint32_t k = 0; k < shape->count; k++) {
        const struct stripe_rows *rows = &shape->rows[k];
        const struct storage *s = &p->segment->storages[rows->storage];
        uint8_t home = group_home_of(p, rows->storage, first, last);
        if (home != HOME_STRIPES && home != HOME_HOST) {
            continue;
        }
        if (g->lives != NULL) {
            add_lives(p, first, last, rows, g);
        } else {
            add_stripes(p, rows, shape->stripes, is_lean && home == HOME_STRIPES, g);
        }
        for (uint32_t i = 0; i < shape->stripes && home == HOME_HOST; i++) {
            uint32_t fresh = rows->hi[i] - stripe_before(rows->hi, i);
            *(rows->is_made ? &g->link_out : &g->link_in) += fresh > 0 ? stripe_words(s, fresh) : 0;
            g->commands += fresh > 0 ? 1 : 0;
        }
    }
    for (uint32_t i = first; i < last; i++) {
        const struct spill_operation *op = spilled_at(p, i);
        const struct stripe_rows *out = stripe_find(shape, op->storages[op->input_count]);
        for (uint32_t s = 0; s < shape->stripes; s++) {
            uint32_t before = stripe_before(out->hi, s), r0 = op->can_cut ? before : 0;
            uint32_t r1 = op->can_cut || op->operation->kind != OPERATION_MOVE ? out->hi[s] : UINT32_MAX;
            if (out->hi[s] > before) {
                add_work(p, op->operation, r0, r1, g->units);
                g->pieces += op->operation->kind == OPERATION_MOVE
                                 ? movement_stripe_pieces(p->c, op->operation, i, r0, r1, NULL)
                             : shape->stripes == 1 ? 4
                                                   : 1;
            }
        }
    }
}

// Stripes for the k-th height that is tried; 0: there are no more.
static uint32_t stripes_of(uint32_t rows, uint32_t k) {
    uint32_t height = rows;
    for (uint32_t i = 0; i < k && height > 0; i++) {
        uint32_t stripes = ir_divide_up(rows, height);
        while (height > 0 && ir_divide_up(rows, height) == stripes) {
            height = height > 8 ? height * 4 / 5 : height - 1;
        }
    }
    return height > 0 ? ir_divide_up(rows, height) : 0;
}

static const struct geometry *geometry_of(struct planner *p, uint32_t first, uint32_t last, uint32_t k,
                                          uint32_t stripes, bool is_lean) {
    if (p->known == NULL || p->known_limit != p->whole_limit) {
        p->known = ir_allocate(p->c, p->segment->operation_count, LONGEST_GROUP * sizeof *p->known);
        p->known_limit = p->whole_limit;
    }
    if (p->known == NULL) {
        return NULL;
    }
    struct known_group *of_group = &p->known[(size_t)first * LONGEST_GROUP + (last - first - 1)];
    if (of_group->heights == NULL) {
        of_group->heights = ir_allocate(p->c, 2 * HEIGHTS, sizeof *of_group->heights);
    }
    if (of_group->heights == NULL) {
        return NULL;
    }
    struct geometry *g = &of_group->heights[2 * k + (is_lean ? 1 : 0)];
    if (!g->is_known) {
        g->is_known = true;
        g->lives = stripes == 1 ? ir_allocate(p->c, last - first, sizeof *g->lives) : NULL;
        struct arena_mark mark = ir_mark(p->c);
        struct stripe_shape shape;
        g->is_possible =
            (stripes > 1 || g->lives != NULL) && stripe_shape(p->c, p->segment, first, last, stripes, &shape);
        if (g->is_possible) {
            measure(p, first, last, is_lean, &shape, g);
        }
        ir_release(p->c, mark);
    }
    return g;
}

// A single operation may load its parameters again for each stripe.
bool group_holds(const struct planner *p, uint32_t first, uint32_t last, uint32_t stripes, uint32_t position) {
    const struct operation *o = operation_at(p, position);
    return stripes > 1 && o->streamed && (last - first > 1 || stripe_parameter_words(p->c, o) <= p->budget / 2);
}

static struct estimate estimate_group(struct planner *p, uint32_t first, uint32_t last, uint32_t k, uint32_t stripes,
                                      bool is_lean) {
    struct estimate e = {.stripes = stripes, .is_lean = is_lean};
    const struct geometry *g = geometry_of(p, first, last, k, stripes, is_lean);
    if (g == NULL || !g->is_possible) {
        e.memory = UINT32_MAX;
        return e;
    }
    uint64_t link_in = g->link_in, pieces = g->pieces;
    e.memory = g->maps;
    e.commands = g->commands;
    for (uint32_t i = first; i < last; i++) {
        const struct operation *o = operation_at(p, i);
        uint64_t all = o->streamed ? stripe_parameter_words(p->c, o) : 0, words = all;
        if (o->streamed && !group_holds(p, first, last, stripes, i)) {
            uint32_t tiles = ir_divide_up(o->window.output_channels, p->c->target->columns);
            uint32_t chunk = stripe_chunk_tiles(p->c, o, p->chunk_words), chunks = ir_divide_up(tiles, chunk);
            words = all < 2ull * chunk * o->stream_words ? all : 2ull * chunk * o->stream_words;
            e.commands += (uint64_t)chunks * stripes;
            pieces = stripes > 1 ? pieces * chunks : pieces;
            link_in += all * stripes;
        } else {
            e.commands += o->streamed ? 1 : 0;
            link_in += all;
        }
        e.memory = stripes == 1 ? most(e.memory, g->lives[i - first] + words) : e.memory + words;
    }
    e.memory += whole_words(p, first, last);
    e.fits = e.memory <= p->budget;
    e.commands += pieces;
    e.link_in = link_cycles(p, link_in);
    e.link_out = link_cycles(p, g->link_out);
    uint64_t sum = g->units[0] + g->units[1] + g->units[2];
    uint64_t largest = most(g->units[0], most(g->units[1], g->units[2]));
    e.cycles = largest + (sum - largest) / (is_lean ? 1 : 4) + e.commands * COMMAND_CYCLES; // lean ones hardly overlap
    e.local = most(e.cycles, most(link_cycles(p, g->link_in), e.link_out));
    return e;
}

uint64_t group_cost_of(const struct estimate *e) {
    return e->cycles + e->link_in + e->link_out;
}

// The fewest stripes with which a group fits: the more, the less memory.
static struct estimate fewest_stripes(struct planner *p, uint32_t first, uint32_t last, uint32_t rows, bool is_lean) {
    uint32_t low = 1, high = 1;
    while (high + 1 < HEIGHTS && stripes_of(rows, high + 1) > 0) {
        high++;
    }
    if (stripes_of(rows, high) == 0) {
        return (struct estimate){.memory = UINT32_MAX};
    }
    struct estimate best = estimate_group(p, first, last, high, stripes_of(rows, high), is_lean);
    while (best.fits && low < high) {
        uint32_t middle = (low + high) / 2;
        struct estimate e = estimate_group(p, first, last, middle, stripes_of(rows, middle), is_lean);
        if (e.fits) {
            high = middle;
            best = e;
        } else {
            low = middle + 1;
        }
    }
    return best;
}

struct estimate group_estimate(struct planner *p, uint32_t first, uint32_t last) {
    bool can_cut = true;
    for (uint32_t i = first; i < last; i++) {
        can_cut = can_cut && spilled_at(p, i)->can_cut;
    }
    const struct spill_operation *op = spilled_at(p, last - 1);
    uint32_t rows = p->segment->storages[op->storages[op->input_count]].placement.height;
    struct estimate best = estimate_group(p, first, last, 0, 1, false);
    if (best.fits || !can_cut) {
        return best;
    }
    best = fewest_stripes(p, first, last, rows, false);
    struct estimate lean = fewest_stripes(p, first, last, rows, true);
    return lean.fits && (!best.fits || group_cost_of(&lean) < group_cost_of(&best)) ? lean : best.fits ? best : lean;
}
