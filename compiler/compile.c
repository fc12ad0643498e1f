// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The compiler's driver: its passes in order. When a segment does not fit, or an operator turns out not to be worth its
// way to the device, that is written down and the passes begin again; each time there is less to try, so this ends.
#include <stdlib.h>
#include <string.h>

#include "movement.h"
#include "spill.h"
#include "target.h"

// Ways to cut stripes that are tried.
static const struct scheme schemes[] = {
    {.stripe_pixels = 48, .stripes = 5, .most_stripes = 16, .channel_groups = 8},
    {.stripe_pixels = 64, .stripes = 4, .most_stripes = 8, .channel_groups = 4},
    {.stripe_pixels = 32, .stripes = 8, .most_stripes = 16, .channel_groups = 8},
    {.stripe_pixels = 0x7FFFFFFF, .stripes = 1, .most_stripes = 1, .channel_groups = 1},
    {.stripe_pixels = 0x7FFFFFFF, .stripes = 1, .most_stripes = 1, .channel_groups = 4},
    {.stripe_pixels = 24, .stripes = 3, .most_stripes = 4, .channel_groups = 16},
    {.stripe_pixels = 16, .stripes = 12, .most_stripes = 24, .channel_groups = 8},
    {.stripe_pixels = 96, .stripes = 8, .most_stripes = 24, .channel_groups = 3},
    {.stripe_pixels = 96, .stripes = 3, .most_stripes = 6, .channel_groups = 2},
    {.stripe_pixels = 144, .stripes = 6, .most_stripes = 12, .channel_groups = 6},
};
#define SCHEMES (sizeof schemes / sizeof schemes[0])
#define UNIFORM_SCHEMES 4u          // of these a segment begins with the best
#define REFINEMENT_LIMIT 40000000ul // pairs of commands and simulated cycles that refining may look at

// Words of the tensors that a cut before an operation would make cross the host.
static uint64_t crossing(const struct compilation *c, const struct segment_plan *segment, uint32_t position) {
    uint64_t words = 0;
    for (uint32_t s = 0; s < segment->storage_count; s++) {
        bool before = false, after = false;
        for (uint32_t i = 0; i < segment->operation_count; i++) {
            const struct operation *o = &c->operations[segment->operations[i]];
            bool uses = o->output.tensor == segment->storages[s].tensor;
            for (uint32_t k = 0; k < o->input_count; k++) {
                uses = uses || o->inputs[k].tensor == segment->storages[s].tensor;
            }
            before = before || (uses && i < position);
            after = after || (uses && i >= position);
        }
        words += before && after ? segment->storages[s].words : 0;
    }
    return words;
}

// About in the middle, where least is alive.
static uint32_t best_cut(const struct compilation *c, const struct segment_plan *segment) {
    uint32_t count = segment->operation_count, best = count / 2;
    for (uint32_t i = count / 3 + 1; i < count - count / 3; i++) {
        best = crossing(c, segment, i) < crossing(c, segment, best) ? i : best;
    }
    return best;
}

// Parameters of moves are always resident. Those that take much of the scratchpad should not keep others from running
// in stripes: the operator becomes a segment of its own. False: there is none.
static bool cut_around_parameters(struct compilation *c, const struct segment_plan *segment) {
    uint64_t most = systole_target_words(c->target) / 16;
    uint32_t position = UINT32_MAX;
    for (uint32_t i = 0; i < segment->operation_count && segment->operation_count > 1; i++) {
        uint64_t words = movement_place_parameters(c, &c->operations[segment->operations[i]], 0);
        if (words > most) {
            most = words;
            position = i;
        }
    }
    if (position == UINT32_MAX) {
        return false;
    }
    c->cut_before[segment->operations[position]] = true;
    if (position + 1 < segment->operation_count) {
        c->cut_before[segment->operations[position + 1]] = true;
    }
    return true;
}

// A segment that does not fit either is cut in the middle; an operator of which no row fits goes to the CPU.
static enum systole_status probe(struct compilation *c, struct segment_plan *segment) {
    uint32_t culprit = SPILL_NONE;
    uint64_t needed = 0;
    if (c->is_reordered) {
        c->keeps_order = c->again = true;
        return SYSTOLE_OK;
    }
    enum systole_status status = spill_probe(c, segment, &culprit, &needed);
    if (status != SYSTOLE_OK || segment->fits) {
        return status;
    }
    if (culprit != SPILL_NONE && cut_around_parameters(c, segment)) {
        // again without it
    } else if (culprit == SPILL_NONE && segment->operation_count > 1) {
        c->cut_before[segment->operations[best_cut(c, segment)]] = true;
    } else {
        uint32_t index = segment->operations[culprit != SPILL_NONE ? culprit : 0];
        c->evictions[index] = (struct eviction){"scratchpad", c->graph->operators[index].outputs[0], (int64_t)needed,
                                                systole_target_words(c->target)};
    }
    c->again = true;
    return SYSTOLE_OK;
}

static enum systole_status place_storages(struct compilation *c, struct segment_plan *segment) {
    enum systole_status status = pass_lay_out(c, segment);
    if (status == SYSTOLE_OK && !c->again) {
        status = pass_parameters(c, segment);
    }
    if (status == SYSTOLE_OK && !c->again) {
        status = pass_allocate(c, segment);
    }
    return status;
}

// Views may make tensors live longer: where the scratchpad is too small, moves are commands.
static enum systole_status plan_memory(struct compilation *c, struct segment_plan *segment) {
    enum systole_status status = views_find(c, segment);
    if (status == SYSTOLE_OK) {
        status = place_storages(c, segment);
    }
    if (status == SYSTOLE_OK && !c->again && !segment->fits && views_drop(c, segment)) {
        status = place_storages(c, segment);
    }
    if (status == SYSTOLE_OK && !c->again && !segment->fits) {
        status = probe(c, segment);
    }
    return status;
}

static enum systole_status plan_commands(struct compilation *c, struct segment_plan *segment) {
    enum systole_status status = pass_emit(c, segment);
    if (status == SYSTOLE_OK) {
        status = pass_schedule(c, segment);
    }
    return status == SYSTOLE_OK ? pass_estimate(c, segment) : status;
}

// The program is the last region whose size becomes known.
static bool program_fits(const struct compilation *c, struct segment_plan *segment) {
    uint64_t total = 0;
    segment->region_words[SYSTOLE_REGION_PROGRAM] =
        ir_divide_up(segment->command_count * SYSTOLE_COMMAND_BYTES, c->target->columns);
    for (uint32_t r = 0; r < SYSTOLE_REGIONS; r++) {
        total += ir_round_up(segment->region_words[r], c->target->banks);
    }
    return total <= systole_target_words(c->target);
}

static bool same_pieces(const struct segment_plan *a, const struct segment_plan *b) {
    bool same = a->piece_count == b->piece_count;
    for (uint32_t i = 0; i < a->piece_count && same; i++) {
        const struct piece *p = &a->pieces[i], *q = &b->pieces[i];
        same = p->operation == q->operation && p->move == q->move && p->image == q->image && p->y0 == q->y0 &&
               p->y1 == q->y1 && p->x0 == q->x0 && p->x1 == q->x1 && p->t0 == q->t0 && p->t1 == q->t1;
    }
    return same;
}

// Cuts operations first .. last-1 by a scheme; *best and their scheme change when that takes fewer cycles.
static enum systole_status try_scheme(struct compilation *c, const struct segment_plan *segment, uint32_t first,
                                      uint32_t last, const struct scheme *scheme, struct segment_plan *best,
                                      uint64_t *work) {
    struct segment_plan candidate = *segment;
    struct arena_mark mark = ir_mark(c);
    struct scheme *kept = ir_allocate(c, last - first, sizeof *kept);
    if (kept == NULL) {
        return ir_out_of_memory(c);
    }
    bool changes = false;
    for (uint32_t i = first; i < last; i++) {
        struct operation *o = &c->operations[segment->operations[i]];
        kept[i - first] = o->scheme;
        changes = changes || memcmp(&o->scheme, scheme, sizeof *scheme) != 0;
        o->scheme = *scheme;
    }
    candidate.before = best->cycles != UINT64_MAX ? best : NULL;
    enum systole_status status = changes ? pass_tile(c, &candidate) : SYSTOLE_OK;
    changes = changes && !same_pieces(&candidate, best);
    status = status == SYSTOLE_OK && changes ? plan_commands(c, &candidate) : status;
    *work += changes ? (uint64_t)candidate.command_count * candidate.command_count / 2 + candidate.replayed : 0;
    if (status == SYSTOLE_OK && changes && program_fits(c, &candidate) && candidate.cycles < best->cycles) {
        *best = candidate;
        best->before = NULL;
        return SYSTOLE_OK;
    }
    for (uint32_t i = first; i < last; i++) {
        c->operations[segment->operations[i]].scheme = kept[i - first];
    }
    ir_release(c, mark);
    return status;
}

// Behind the last of the operations from `first` on whose maps have one height.
static uint32_t stretch_end(const struct compilation *c, const struct segment_plan *segment, uint32_t first) {
    uint32_t height = c->operations[segment->operations[first]].window.output_height, i = first;
    while (i < segment->operation_count && c->operations[segment->operations[i]].window.output_height == height) {
        i++;
    }
    return i;
}

static enum systole_status choose_commands(struct compilation *c, struct segment_plan *segment);

// The commands themselves were too many for what memory is left.
static enum systole_status without_room(struct compilation *c, struct segment_plan *segment) {
    enum systole_status status = SYSTOLE_OK;
    segment->fits = false;
    if (views_drop(c, segment)) {
        status = place_storages(c, segment);
        if (status == SYSTOLE_OK && !c->again && segment->fits) {
            return choose_commands(c, segment);
        }
    }
    if (status == SYSTOLE_OK && !c->again) {
        status = probe(c, segment);
    }
    return status == SYSTOLE_OK && !c->again && segment->fits ? spill_segment(c, segment) : status;
}

// All operations alike, then stretches of them, then single ones by themselves, as long as that is cheap.
static enum systole_status choose_commands(struct compilation *c, struct segment_plan *segment) {
    struct segment_plan best = {.cycles = UINT64_MAX};
    enum systole_status status = SYSTOLE_OK;
    uint64_t work = 0;
    FILE *dump = c->dump; // only what is chosen is worth reading
    c->dump = NULL;
    for (size_t i = 0; i < UNIFORM_SCHEMES && status == SYSTOLE_OK; i++) {
        status = try_scheme(c, segment, 0, segment->operation_count, &schemes[i], &best, &work);
    }
    if (status == SYSTOLE_OK && best.cycles == UINT64_MAX) {
        c->dump = dump;
        return without_room(c, segment);
    }
    for (uint32_t round = 0; round < 3; round++) { // stretches, then single operations, twice
        for (uint32_t first = 0; first < segment->operation_count && status == SYSTOLE_OK;) {
            uint32_t last = round == 0 ? stretch_end(c, segment, first) : first + 1;
            for (size_t i = 0; i < SCHEMES && status == SYSTOLE_OK && work < REFINEMENT_LIMIT; i++) {
                status = try_scheme(c, segment, first, last, &schemes[i], &best, &work);
            }
            first = last;
        }
    }
    c->dump = dump;
    if (status == SYSTOLE_OK && dump != NULL) {
        struct segment_plan shown = *segment;
        status = pass_tile(c, &shown);
        status = status == SYSTOLE_OK ? plan_commands(c, &shown) : status;
    }
    if (status == SYSTOLE_OK) {
        *segment = best;
    }
    return status;
}

static enum systole_status run_passes(struct compilation *c) {
    c->again = false;
    enum systole_status status = pass_legalise(c);
    if (status == SYSTOLE_OK) {
        status = pass_fuse(c);
    }
    if (status == SYSTOLE_OK) {
        status = pass_place(c);
    }
    for (uint32_t s = 0; s < c->segment_count && status == SYSTOLE_OK && !c->again; s++) {
        status = plan_memory(c, &c->segments[s]);
    }
    for (uint32_t s = 0; s < c->segment_count && status == SYSTOLE_OK && !c->again; s++) {
        status = c->segments[s].spills ? spill_segment(c, &c->segments[s]) : choose_commands(c, &c->segments[s]);
    }
    return status;
}

// The graph inside a program lacks what the device holds and cannot be compiled again.
static enum systole_status check_constants(const struct systole_graph *graph, struct systole_diagnostic *diagnostic) {
    for (uint32_t t = 0; t < graph->tensor_count; t++) {
        if (graph->tensors[t].was_constant && graph->tensors[t].data == NULL) {
            return systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, graph->name, "compile the original model",
                                "the constant tensor %u was left out", t);
        }
    }
    return SYSTOLE_OK;
}

enum systole_status systole_compile(const struct systole_graph *graph, const struct systole_target *target,
                                    const struct systole_compile_options *options, struct systole_program *program,
                                    struct systole_diagnostic *diagnostic) {
    *program = (struct systole_program){0};
    struct compilation c = {
        .graph = graph,
        .target = target,
        .dump = options != NULL ? options->dump : NULL,
        .diagnostic = diagnostic,
    };
    uint32_t count = graph->operator_count;
    enum systole_status status = systole_target_check(target, diagnostic);
    if (status == SYSTOLE_OK && count > UINT16_MAX) {
        status = systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, graph->name, "split the model",
                              "%u operators, commands can name %u", count, UINT16_MAX);
    }
    if (status == SYSTOLE_OK) {
        status = check_constants(graph, diagnostic);
    }
    c.operations = status == SYSTOLE_OK ? ir_allocate(&c, count + 1, sizeof *c.operations) : NULL;
    c.evictions = status == SYSTOLE_OK ? ir_allocate(&c, count + 1, sizeof *c.evictions) : NULL;
    c.cut_before = status == SYSTOLE_OK ? ir_allocate(&c, count + 1, sizeof *c.cut_before) : NULL;
    if (status == SYSTOLE_OK && (c.operations == NULL || c.evictions == NULL || c.cut_before == NULL)) {
        status = ir_out_of_memory(&c);
    }
    if (status == SYSTOLE_OK) {
        do {
            status = run_passes(&c);
        } while (status == SYSTOLE_OK && c.again);
    }
    if (status == SYSTOLE_OK) {
        status = pass_assemble(&c, program);
    }
    if (status == SYSTOLE_OK) {
        struct systole_diagnostic found;
        status = systole_program_verify(program, &found);
        if (status != SYSTOLE_OK) {
            status = systole_fail(diagnostic, status, found.where,
                                  "this is an error of the compiler: please report it with the model",
                                  "the compiled program is not valid: %.200s", found.what);
        }
    }
    if (status != SYSTOLE_OK) {
        systole_program_free(program);
    }
    ir_free(&c);
    return status;
}
