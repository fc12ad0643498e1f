// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The order of a segment's commands and the tokens between them. Emit's order is correct by itself; which pairs in it
// touch the same words says what must stay in order. A simulation of the units then takes, again and again, the
// command that can start first (the oldest among equals, from a window of a few operators), so that operators overlap
// and the units' queues are in the order of time. Tokens: one count a unit says all; counts that earlier waits of the
// same unit, or another wait of the same command, already imply are left out (vector clocks).
#include <string.h>

#include "cycle_model.h"
#include "ir.h"
#include "program/command_footprint.h"

#define WINDOW 4u // operators from which commands may start at the same time, where the segment says nothing else

enum relation {
    RELATION_NONE,
    RELATION_ORDER, // same unit: to stay in order is enough
    RELATION_TOKEN, // the earlier one must have retired
};

struct node {
    struct systole_footprint footprint;
    struct systole_command_cycles cycles;
    uint32_t operation; // position in the segment
    uint32_t blockers;  // earlier commands not yet taken
    uint64_t ready;     // when what it waits for has retired
    bool taken;
    uint32_t sequence;             // of its unit, from 1
    uint32_t known[SYSTOLE_UNITS]; // commands of each unit that have retired when it starts
};

struct graph_of_commands {
    struct node *nodes;
    uint8_t *relations; // of pair (earlier, later): later * (later - 1) / 2 + earlier
    uint32_t *order;
    uint32_t count;
};

static uint8_t *relation(const struct graph_of_commands *g, uint32_t earlier, uint32_t later) {
    return &g->relations[(size_t)later * (later - 1) / 2 + earlier];
}

static void relate(const struct segment_plan *segment, struct graph_of_commands *g) {
    for (uint32_t later = 1; later < g->count; later++) {
        struct node *b = &g->nodes[later];
        for (uint32_t earlier = 0; earlier < later; earlier++) {
            const struct node *a = &g->nodes[earlier];
            bool apart = a->operation == b->operation && segment->pieces[later].move == NULL;
            if (apart || !systole_footprints_conflict(&a->footprint, &b->footprint, false)) {
                continue; // boxes of one operator are disjoint, and it does not read what it writes; moves are
                          // otherwise
            }
            bool same_unit = segment->commands[earlier].header.unit == segment->commands[later].header.unit;
            bool token = !same_unit || systole_footprints_conflict(&a->footprint, &b->footprint, true);
            *relation(g, earlier, later) = token ? RELATION_TOKEN : RELATION_ORDER;
            b->blockers++;
        }
    }
}

// The command of the window that can start first.
static uint32_t choose(const struct segment_plan *segment, const struct graph_of_commands *g, uint32_t oldest,
                       const uint64_t free[SYSTOLE_UNITS]) {
    uint32_t reach = segment->reach > 0 ? segment->reach : WINDOW;
    uint32_t load_reach = segment->load_reach > reach ? segment->load_reach : reach;
    uint32_t best = UINT32_MAX, last = g->nodes[oldest].operation + reach;
    uint32_t last_load = g->nodes[oldest].operation + load_reach;
    uint64_t best_start = UINT64_MAX;
    for (uint32_t i = oldest; i < g->count && g->nodes[i].operation < last_load; i++) {
        const struct node *n = &g->nodes[i];
        uint32_t unit = segment->commands[i].header.unit;
        if (n->taken || n->blockers > 0 || (n->operation >= last && unit != SYSTOLE_UNIT_LOAD)) {
            continue;
        }
        uint64_t unit_free = free[unit];
        uint64_t start = n->ready > unit_free ? n->ready : unit_free;
        if (start < best_start) {
            best = i;
            best_start = start;
        }
    }
    return best;
}

static void order(const struct segment_plan *segment, struct graph_of_commands *g) {
    uint64_t free[SYSTOLE_UNITS] = {0};
    uint32_t oldest = 0;
    for (uint32_t k = 0; k < g->count; k++) {
        while (g->nodes[oldest].taken) {
            oldest++;
        }
        uint32_t chosen = choose(segment, g, oldest, free); // the oldest itself is never blocked
        struct node *n = &g->nodes[chosen];
        uint32_t unit = segment->commands[chosen].header.unit;
        uint64_t start = n->ready > free[unit] ? n->ready : free[unit];
        n->taken = true;
        free[unit] = start + n->cycles.occupancy;
        g->order[k] = chosen;
        for (uint32_t later = chosen + 1; later < g->count; later++) {
            uint8_t kind = *relation(g, chosen, later);
            if (kind != RELATION_NONE) {
                struct node *b = &g->nodes[later];
                b->blockers--;
                uint64_t end = start + (kind == RELATION_TOKEN ? n->cycles.latency : 0);
                b->ready = end > b->ready ? end : b->ready;
            }
        }
    }
}

static void merge(uint32_t known[SYSTOLE_UNITS], const uint32_t other[SYSTOLE_UNITS]) {
    for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
        known[u] = other[u] > known[u] ? other[u] : known[u];
    }
}

// What a command needs to have retired, by unit, and which command that is.
static void find_needs(const struct segment_plan *segment, const struct graph_of_commands *g, uint32_t index,
                       uint32_t needs[SYSTOLE_UNITS], uint32_t commands[SYSTOLE_UNITS]) {
    for (uint32_t earlier = 0; earlier < index; earlier++) {
        uint32_t unit = segment->commands[earlier].header.unit;
        if (*relation(g, earlier, index) == RELATION_TOKEN && g->nodes[earlier].sequence > needs[unit]) {
            needs[unit] = g->nodes[earlier].sequence;
            commands[unit] = earlier;
        }
    }
}

static enum systole_status add_tokens(const struct compilation *c, struct segment_plan *segment,
                                      struct graph_of_commands *g) {
    uint32_t sequences[SYSTOLE_UNITS] = {0}, started[SYSTOLE_UNITS][SYSTOLE_UNITS] = {{0}};
    for (uint32_t k = 0; k < g->count; k++) {
        uint32_t index = g->order[k], unit = segment->commands[index].header.unit;
        uint32_t needs[SYSTOLE_UNITS] = {0}, commands[SYSTOLE_UNITS] = {0}, waits[SYSTOLE_WAITS] = {0}, count = 0;
        struct node *n = &g->nodes[index];
        find_needs(segment, g, index, needs, commands);
        memcpy(n->known, started[unit], sizeof n->known); // what the command before it in its queue knew
        for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
            bool implied = needs[u] <= n->known[u];
            for (uint32_t v = 0; v < SYSTOLE_UNITS && !implied; v++) {
                implied = v != u && needs[v] > 0 && g->nodes[commands[v]].known[u] >= needs[u];
            }
            if (implied) {
                continue;
            }
            if (count == SYSTOLE_WAITS) {
                return ir_internal_error(c, segment->commands[index].header.operator_index, "too many tokens");
            }
            waits[count++] = u << 24 | needs[u]; // core 0
        }
        for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
            if (needs[u] > 0) {
                n->known[u] = needs[u] > n->known[u] ? needs[u] : n->known[u];
                merge(n->known, g->nodes[commands[u]].known);
            }
        }
        memcpy(started[unit], n->known, sizeof n->known);
        n->sequence = ++sequences[unit];
        struct systole_command_header *header = &segment->commands[index].header;
        header->wait0 = waits[0];
        header->wait1 = waits[1];
        header->wait2 = waits[2];
        header->wait3 = waits[3];
    }
    return SYSTOLE_OK;
}

static enum systole_status sort_commands(struct compilation *c, struct segment_plan *segment,
                                         const struct graph_of_commands *g) {
    struct systole_command *commands = ir_allocate(c, g->count, sizeof *commands);
    struct systole_command_info *info = ir_allocate(c, g->count, sizeof *info);
    if (commands == NULL || info == NULL) {
        return ir_out_of_memory(c);
    }
    for (uint32_t k = 0; k < g->count; k++) {
        commands[k] = segment->commands[g->order[k]];
        info[k] = segment->info[g->order[k]];
    }
    segment->commands = commands;
    segment->info = info;
    return SYSTOLE_OK;
}

// Transfers take as long as the link does.
static struct systole_command_cycles cycles_of(const struct compilation *c, const struct systole_command *command) {
    struct systole_command_cycles cycles = systole_command_cycles(c->target, command);
    if (command->header.unit == SYSTOLE_UNIT_LOAD || command->header.unit == SYSTOLE_UNIT_STORE) {
        uint64_t bytes = (uint64_t)command->body.transfer.words * c->target->columns;
        uint64_t link = bytes * 1000 / c->target->link_millibytes_per_cycle;
        cycles.occupancy = cycles.occupancy > link ? cycles.occupancy : link;
        cycles.latency = cycles.latency > link ? cycles.latency : link;
    }
    return cycles;
}

enum systole_status pass_schedule(struct compilation *c, struct segment_plan *segment) {
    uint32_t count = segment->command_count;
    struct graph_of_commands g = {
        .nodes = ir_allocate(c, count, sizeof *g.nodes),
        .relations = ir_allocate(c, (size_t)count * (count + 1) / 2, 1),
        .order = ir_allocate(c, count, sizeof *g.order),
        .count = count,
    };
    if (g.nodes == NULL || g.relations == NULL || g.order == NULL) {
        return ir_out_of_memory(c);
    }
    for (uint32_t i = 0; i < count; i++) {
        g.nodes[i].operation = segment->pieces[i].operation;
        g.nodes[i].cycles = cycles_of(c, &segment->commands[i]);
        systole_command_footprint(c->target, &segment->commands[i], &g.nodes[i].footprint);
    }
    relate(segment, &g);
    order(segment, &g);
    enum systole_status status = add_tokens(c, segment, &g);
    if (status == SYSTOLE_OK) {
        status = sort_commands(c, segment, &g);
    }
    if (status == SYSTOLE_OK) {
        dump_commands(c, segment, "schedule");
    }
    return status;
}
