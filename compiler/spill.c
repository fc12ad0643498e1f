// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Plans for segments that do not fit (spill.h). What may stay is tried in several sizes: how large a map may be to be
// whole in the scratchpad between groups, how many words of parameters are resident. For each the cheapest way to cut
// the operations into groups is found by dynamic programming over the places where a group may end: a group takes the
// fewest stripes with which its maps fit, and costs the cycles of its units and of the link. Of the plans that look
// best the commands are made, and the cycle model decides.
#include "group_cost.h"

#include <string.h>

#include "movement.h"
#include "target.h"

#define PLANS_TRIED 6u          // of which commands are made
#define PAIR_BUDGET 24000000ull // pairs of commands that may be looked at on the way
#define SHRINKS 4u

static const struct spill_operation *spilled_at(const struct planner *p, uint32_t position) {
    return &p->segment->spill_operations[position];
}

static const struct operation *operation_at(const struct planner *p, uint32_t position) {
    return spilled_at(p, position)->operation;
}

// ---- Groups of a segment.

static uint64_t most(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

static uint64_t total_cost(const struct estimate *sum) {
    uint64_t link = most(sum->link_in, sum->link_out);
    return most(sum->local, link) + (sum->local < link ? sum->local : link) / 4;
}

struct path {
    bool reached;
    uint32_t from;
    struct estimate group, sum;
};

// No groups: some operation does not fit by itself.
static enum systole_status cut_groups(struct planner *p, struct spill_plan *plan, struct estimate *sum) {
    uint32_t count = p->segment->operation_count;
    struct path *paths = ir_allocate(p->c, count + 1, sizeof *paths);
    plan->group_count = 0;
    plan->groups = ir_allocate(p->c, count, sizeof *plan->groups);
    plan->homes = ir_allocate(p->c, p->segment->storage_count, sizeof *plan->homes);
    if (paths == NULL || plan->groups == NULL || plan->homes == NULL) {
        return ir_out_of_memory(p->c);
    }
    paths[0].reached = true;
    for (uint32_t first = 0; first < count; first++) {
        for (uint32_t last = first + 1; paths[first].reached && last <= count && last - first <= LONGEST_GROUP;
             last++) {
            struct estimate e = group_estimate(p, first, last);
            if (!e.fits && last - first > 3) {
                break; // longer ones need more
            }
            if (!e.fits) {
                continue;
            }
            struct path next = {.reached = true, .from = first, .group = e, .sum = paths[first].sum};
            next.sum.cycles += e.cycles;
            next.sum.local += e.local;
            next.sum.link_in += e.link_in;
            next.sum.link_out += e.link_out;
            next.sum.commands += e.commands;
            if (!paths[last].reached || group_cost_of(&next.sum) < group_cost_of(&paths[last].sum)) {
                paths[last] = next;
            }
        }
    }
    if (!paths[count].reached) {
        return SYSTOLE_OK;
    }
    *sum = paths[count].sum;
    for (uint32_t at = count; at > 0; at = paths[at].from) {
        plan->group_count++;
    }
    for (uint32_t at = count, g = plan->group_count; at > 0; at = paths[at].from) {
        struct spill_group *group = &plan->groups[--g];
        *group = (struct spill_group){.first = paths[at].from,
                                      .last = at,
                                      .stripes = paths[at].group.stripes,
                                      .is_lean = paths[at].group.is_lean};
        group->holds = ir_allocate(p->c, at - group->first, sizeof *group->holds);
        if (group->holds == NULL) {
            return ir_out_of_memory(p->c);
        }
        for (uint32_t i = group->first; i < at; i++) {
            group->holds[i - group->first] = group_holds(p, group->first, at, group->stripes, i);
        }
        for (uint32_t s = 0; s < p->segment->storage_count; s++) {
            bool inside = p->producer[s] != SPILL_NONE && p->producer[s] >= group->first && p->producer[s] < at;
            plan->homes[s] = inside ? group_home_of(p, s, group->first, at) : plan->homes[s];
        }
    }
    for (uint32_t s = 0; s < p->segment->storage_count; s++) {
        plan->homes[s] = p->producer[s] == SPILL_NONE ? group_home_of(p, s, 0, 0) : plan->homes[s];
    }
    plan->chunk_words = p->chunk_words;
    return SYSTOLE_OK;
}

// ---- Layouts and parameters.

static bool is_packed(const struct storage *s) {
    return s->placement.layout == SYSTOLE_LAYOUT_PACKED;
}

// Whether an operation's view of a storage has the storage's own rows.
static bool keeps_rows(const struct spill_operation *op, uint32_t k, const struct systole_placement *q) {
    const struct operation *o = op->operation;
    const struct window *w = &o->window;
    bool window = ir_is_window(o->kind), is_output = k >= op->input_count;
    if (o->kind == OPERATION_MOVE) { // what it writes it counts in rows; behind the outputs are temporaries
        int32_t from = k < op->input_count ? (int32_t)k : op->temporaries[k - op->input_count];
        return (k >= op->input_count && from >= 0) || movement_keeps_rows(o, from, q->width);
    }
    if (!window && !stripe_is_elementwise(o)) {
        return false;
    }
    if (is_output) {
        return w->images * w->output_height == q->height && w->output_width == q->width;
    }
    if (window) {
        return ir_sees_rows(w, q->height, q->width);
    }
    const struct pixel_steps *steps = &o->steps[k];
    return (steps->row == 0 || steps->row == q->width) && steps->image % q->width == 0;
}

static bool is_linear(const struct planner *p, uint32_t storage) {
    bool linear = false;
    for (uint32_t i = 0; i < p->segment->operation_count; i++) {
        const struct spill_operation *op = spilled_at(p, i);
        for (uint32_t k = 0; k < op->storage_count; k++) {
            linear =
                linear || (op->storages[k] == storage && !keeps_rows(op, k, &p->segment->storages[storage].placement));
        }
    }
    return linear;
}

// Rows with all their channel tiles one behind the other, so that rows are a run of words.
static void lay_out_rows(const struct planner *p) {
    for (uint32_t i = 0; i < p->segment->storage_count; i++) {
        struct storage *s = &p->segment->storages[i];
        struct systole_placement *q = &s->placement;
        uint32_t tiles = ir_divide_up(q->channels, p->c->target->columns);
        bool linear = is_linear(p, i);
        if (is_packed(s)) {
            continue;
        }
        if (linear && tiles > 1) {
            q->row_stride = q->width;
            q->tile_stride = q->height * q->width;
            s->words = tiles * q->tile_stride;
            continue;
        }
        uint32_t row = linear ? q->width : lay_out_spread_rows(p->c, p->segment, s, tiles * q->width);
        q->row_stride = row;
        q->tile_stride = tiles == 1 ? row : q->width;
        s->words = q->height * row;
    }
    for (uint32_t i = 0; i < p->segment->storage_count; i++) {
        if (is_packed(&p->segment->storages[i])) {
            p->segment->storages[i].placement.tile_stride = p->segment->storages[i].placement.row_stride;
        }
    }
}

static void find_users(const struct planner *p) {
    for (uint32_t i = 0; i < p->segment->storage_count; i++) {
        p->producer[i] = SPILL_NONE;
        p->reader[i] = 0;
    }
    for (uint32_t i = 0; i < p->segment->operation_count; i++) {
        const struct spill_operation *op = spilled_at(p, i);
        for (uint32_t k = 0; k < op->storage_count; k++) {
            uint32_t storage = op->storages[k];
            bool makes = k >= op->input_count && p->producer[storage] == SPILL_NONE;
            p->producer[storage] = makes ? i : p->producer[storage];
            p->reader[storage] = i;
        }
    }
}

// The last operations have most parameters and least to do meanwhile: theirs stay.
static void choose_residents(const struct planner *p) {
    uint32_t left = p->resident_words;
    for (uint32_t i = p->segment->operation_count; i-- > 0;) {
        struct operation *o = &p->c->operations[p->segment->operations[i]];
        uint32_t words = ir_round_up(stripe_parameter_words(p->c, o), p->c->target->weight_port_rows);
        o->streamed = o->stream_words > 0 && words > left;
        left -= o->stream_words > 0 && !o->streamed ? words : 0;
    }
}

// Regions input, output and host.
static void place_fixed(struct planner *p) {
    uint64_t words[SYSTOLE_REGIONS] = {0};
    uint32_t banks = p->c->target->banks;
    for (uint32_t i = 0; i < p->segment->storage_count; i++) {
        struct storage *s = &p->segment->storages[i];
        if (s->is_constant) {
            continue;
        }
        // Whether a map between operations goes to the host is decided later; room there costs nothing.
        uint32_t region = !group_is_fixed(p, s) ? SYSTOLE_REGION_HOST
                          : s->is_output        ? SYSTOLE_REGION_OUTPUT
                                                : SYSTOLE_REGION_INPUT;
        s->placement.address = region << 28 | (uint32_t)words[region];
        words[region] += ir_round_up(s->words, banks);
    }
    for (uint32_t r = SYSTOLE_REGION_INPUT; r <= SYSTOLE_REGION_HOST; r++) {
        p->segment->region_words[r] = words[r] > 0x0FFFFFFFu ? 0x0FFFFFFFu : (uint32_t)words[r];
    }
    p->fixed_words = p->segment->region_words[SYSTOLE_REGION_INPUT] + p->segment->region_words[SYSTOLE_REGION_OUTPUT];
}

// ---- Search.

static const uint32_t sixteenths_whole[] = {8, 6, 4, 2, 1, 0}; // of the scratchpad
static const uint32_t sixteenths_resident[] = {0, 2, 4, 6, 8, 9, 10, 11, 12};
enum { WHOLE = sizeof sixteenths_whole / 4, RESIDENT = sizeof sixteenths_resident / 4 };

struct option {
    uint32_t whole_limit, resident_words;
    uint64_t cost; // UINT64_MAX: it does not fit
    uint64_t commands;
};

static void set_option(struct planner *p, const struct option *option, uint64_t commands, uint32_t shrink) {
    struct segment_plan *segment = p->segment;
    uint32_t total = systole_target_words(p->c->target), banks = p->c->target->banks;
    p->whole_limit = option->whole_limit;
    p->resident_words = option->resident_words;
    memset(segment->region_words, 0, sizeof segment->region_words);
    choose_residents(p);
    parameters_assign(p->c, segment);
    place_fixed(p);
    uint64_t program = commands * SYSTOLE_COMMAND_BYTES / p->c->target->columns;
    uint64_t used = program + p->fixed_words + segment->region_words[SYSTOLE_REGION_PARAMETERS] + 8ull * banks;
    p->budget = used < total ? (uint32_t)(total - used) : 0;
    p->budget -= p->budget / 12 * shrink;
    p->chunk_words = p->budget / 8;
}

// The groups of an option with room for as many commands as they take.
static enum systole_status plan_option(struct planner *p, struct option *option, uint32_t shrink,
                                       struct spill_plan *plan) {
    struct estimate sum = {0};
    uint64_t commands = option->commands > 0 ? option->commands : 4ull * p->segment->operation_count;
    enum systole_status status = SYSTOLE_OK;
    option->cost = UINT64_MAX;
    for (uint32_t attempt = 0; attempt < 4 && status == SYSTOLE_OK; attempt++) {
        set_option(p, option, commands, shrink);
        status = cut_groups(p, plan, &sum);
        if (status != SYSTOLE_OK || plan->group_count == 0) {
            return status;
        }
        if (sum.commands <= commands) {
            option->cost = total_cost(&sum);
            option->commands = commands;
            return status;
        }
        commands = sum.commands + sum.commands / 16;
    }
    return status;
}

static void dump_plan(struct planner *p, const struct option *option, const struct spill_plan *plan,
                      const struct segment_plan *candidate, bool fits) {
    FILE *to = p->c->dump;
    fprintf(to, "== spill, segment %u: maps of %u words stay whole, %u words of parameters resident\n",
            p->segment->index, option->whole_limit, p->segment->region_words[SYSTOLE_REGION_PARAMETERS]);
    for (uint32_t g = 0; g < plan->group_count; g++) {
        const struct spill_group *group = &plan->groups[g];
        struct estimate e = group_estimate(p, group->first, group->last);
        fprintf(to, "operators %u..%u: %u %sstripes, %llu words, %llu cycles, link %llu in, %llu out, %llu commands\n",
                p->segment->operations[group->first], p->segment->operations[group->last - 1], group->stripes,
                group->is_lean ? "lean " : "", (unsigned long long)e.memory, (unsigned long long)e.cycles,
                (unsigned long long)e.link_in, (unsigned long long)e.link_out, (unsigned long long)e.commands);
    }
    if (fits) {
        fprintf(to, "%u commands, %llu cycles, planned %llu\n", candidate->command_count,
                (unsigned long long)candidate->cycles, (unsigned long long)option->cost);
    } else {
        fprintf(to, "does not fit\n");
    }
}

static enum systole_status copy_storages(const struct planner *p, struct segment_plan *candidate) {
    candidate->storages = ir_allocate(p->c, candidate->storage_count, sizeof *candidate->storages);
    if (candidate->storages == NULL) {
        return ir_out_of_memory(p->c);
    }
    memcpy(candidate->storages, p->segment->storages, candidate->storage_count * sizeof *candidate->storages);
    return SYSTOLE_OK;
}

static enum systole_status try_option(struct planner *p, struct option *option, struct segment_plan *best,
                                      bool *streamed, uint64_t *pairs) {
    struct spill_plan plan;
    bool fits = false;
    enum systole_status status = SYSTOLE_OK;
    struct segment_plan candidate = *p->segment;
    for (uint32_t shrink = 0; shrink < SHRINKS && status == SYSTOLE_OK && !fits; shrink++) {
        status = plan_option(p, option, shrink, &plan);
        if (status != SYSTOLE_OK || plan.group_count == 0) {
            return status;
        }
        candidate = *p->segment;
        status = copy_storages(p, &candidate);
        status = status == SYSTOLE_OK ? stream_segment(p->c, &candidate, &plan, &fits) : status;
    }
    if (status == SYSTOLE_OK && fits) {
        status = pass_schedule(p->c, &candidate);
        *pairs += (uint64_t)candidate.command_count * candidate.command_count / 2;
    }
    if (status == SYSTOLE_OK && fits) {
        status = pass_estimate(p->c, &candidate);
    }
    if (status == SYSTOLE_OK && p->c->dump != NULL) {
        dump_plan(p, option, &plan, &candidate, fits);
    }
    if (status == SYSTOLE_OK && fits && candidate.cycles < best->cycles) {
        *best = candidate;
        for (uint32_t i = 0; i < candidate.operation_count; i++) {
            streamed[i] = operation_at(p, i)->streamed;
        }
    }
    return status;
}

static void sort_options(struct option *options, uint32_t count) {
    for (uint32_t i = 1; i < count; i++) {
        struct option moved = options[i];
        uint32_t at = i;
        for (; at > 0 && options[at - 1].cost > moved.cost; at--) {
            options[at] = options[at - 1];
        }
        options[at] = moved;
    }
}

// An operation that does not fit even if it is all there is.
static void find_culprit(struct planner *p, uint32_t *culprit, uint64_t *needed) {
    *culprit = SPILL_NONE;
    for (uint32_t i = 0; i < p->segment->operation_count && *culprit == SPILL_NONE; i++) {
        struct estimate e = {.commands = 4};
        uint64_t commands = 0;
        while (commands < e.commands && *culprit == SPILL_NONE) {
            commands = e.commands;
            set_option(p, &(struct option){0, 0, 0, 0}, commands, 1);
            e = group_estimate(p, i, i + 1);
            if (!e.fits) {
                *culprit = i;
                *needed = e.memory + systole_target_words(p->c->target) - p->budget;
            }
        }
    }
}

// Whether an option's commands and buffers fit, without making it better.
static enum systole_status probe_option(struct planner *p, struct option *option, bool *fits) {
    struct spill_plan plan;
    struct segment_plan candidate;
    enum systole_status status = SYSTOLE_OK;
    *fits = false;
    for (uint32_t shrink = 0; shrink < SHRINKS && status == SYSTOLE_OK && !*fits; shrink++) {
        status = plan_option(p, option, shrink, &plan);
        if (status == SYSTOLE_OK && plan.group_count == 0) {
            break;
        }
        candidate = *p->segment;
        status = status == SYSTOLE_OK ? copy_storages(p, &candidate) : status;
        status = status == SYSTOLE_OK ? stream_segment(p->c, &candidate, &plan, fits) : status;
    }
    return status;
}

static enum systole_status begin(struct planner *p) {
    p->producer = ir_allocate(p->c, p->segment->storage_count, sizeof *p->producer);
    p->reader = ir_allocate(p->c, p->segment->storage_count, sizeof *p->reader);
    if (p->producer == NULL || p->reader == NULL || !stripe_operations(p->c, p->segment)) {
        return ir_out_of_memory(p->c);
    }
    lay_out_rows(p);
    if (!stripe_operations(p->c, p->segment)) { // what can be cut depends on the layout
        return ir_out_of_memory(p->c);
    }
    find_users(p);
    return SYSTOLE_OK;
}

static struct option option_of(const struct planner *p, uint32_t index) {
    uint32_t total = systole_target_words(p->c->target);
    return (struct option){.whole_limit = total / 16 * sixteenths_whole[index / RESIDENT],
                           .resident_words = total / 16 * sixteenths_resident[index % RESIDENT]};
}

enum systole_status spill_probe(struct compilation *c, struct segment_plan *segment, uint32_t *culprit,
                                uint64_t *needed) {
    struct planner p = {.c = c, .segment = segment};
    enum systole_status status = begin(&p);
    segment->spills = true;
    for (uint32_t i = WHOLE * RESIDENT; i > 0 && status == SYSTOLE_OK && !segment->fits; i -= RESIDENT) {
        struct option option = option_of(&p, i - RESIDENT);
        status = probe_option(&p, &option, &segment->fits);
    }
    if (status == SYSTOLE_OK && !segment->fits) {
        find_culprit(&p, culprit, needed);
    }
    return status;
}

enum systole_status spill_segment(struct compilation *c, struct segment_plan *segment) {
    struct option options[WHOLE * RESIDENT];
    struct planner p = {.c = c, .segment = segment};
    bool *streamed = ir_allocate(c, segment->operation_count, sizeof *streamed);
    uint32_t count = 0;
    enum systole_status status = streamed != NULL ? begin(&p) : ir_out_of_memory(c);
    segment->fits = false;
    for (uint32_t i = 0; i < WHOLE * RESIDENT && status == SYSTOLE_OK; i++) {
        struct spill_plan plan;
        options[count] = option_of(&p, i);
        status = plan_option(&p, &options[count], 0, &plan);
        bool again = options[count].cost == UINT64_MAX;
        for (uint32_t k = 0; k < count && !again; k++) { // what costs the same most likely is the same
            again = options[k].cost == options[count].cost && options[k].commands == options[count].commands;
        }
        count += again ? 0 : 1;
    }
    sort_options(options, count);
    struct segment_plan best = {.cycles = UINT64_MAX};
    uint64_t pairs = 0;
    for (uint32_t i = 0; i < count && status == SYSTOLE_OK; i++) {
        if (best.cycles == UINT64_MAX || (i < PLANS_TRIED && pairs < PAIR_BUDGET)) {
            status = try_option(&p, &options[i], &best, streamed, &pairs);
        }
    }
    for (uint32_t i = WHOLE * RESIDENT; i > 0 && status == SYSTOLE_OK && best.cycles == UINT64_MAX; i -= RESIDENT) {
        options[0] = option_of(&p, i - RESIDENT); // what the probe found
        status = try_option(&p, &options[0], &best, streamed, &pairs);
    }
    if (status != SYSTOLE_OK || best.cycles == UINT64_MAX) {
        return status != SYSTOLE_OK ? status : ir_internal_error(c, segment->operations[0], "a plan is lost");
    }
    *segment = best;
    segment->fits = true;
    for (uint32_t i = 0; i < segment->operation_count; i++) {
        c->operations[segment->operations[i]].streamed = streamed[i];
    }
    parameters_assign(c, segment);
    return parameters_fill(c, segment);
}
