// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Addresses. Inputs and outputs of a segment lie one behind the other in regions of their own; tensors between
// operations share region activations: largest first, each into the smallest gap between those that live at the same
// time. At first a tensor keeps its words for some operations longer than it lives, so that operations that overlap
// do not wait for each other's memory; less so when the scratchpad is too small for that. Views (view.c) have no words
// of their own; what has an output of the segment as a view lies in region output as a whole.
#include <string.h>

#include "ir.h"
#include "target.h"

#define LONGEST_GRACE 3u   // operations in flight at the same time
#define USUAL_COMMANDS 16u // of one operation, for the size of the program before it is there

struct slot {
    uint32_t storage, offset;
};

static bool live_together(const struct storage *a, const struct storage *b, uint32_t grace) {
    return a->first_operation <= b->last_operation + grace && b->first_operation <= a->last_operation + grace;
}

// The smallest gap that holds `words` between the placed storages that live together with `s`. `placed` is sorted by
// offset.
static uint32_t best_gap(const struct segment_plan *segment, const struct slot *placed, uint32_t count,
                         const struct storage *s, uint32_t grace) {
    uint32_t end = 0, best = UINT32_MAX, best_size = UINT32_MAX;
    for (uint32_t i = 0; i < count; i++) {
        const struct storage *other = &segment->storages[placed[i].storage];
        if (!live_together(s, other, grace)) {
            continue;
        }
        if (placed[i].offset > end && placed[i].offset - end >= s->words && placed[i].offset - end < best_size) {
            best = end;
            best_size = placed[i].offset - end;
        }
        uint32_t other_end = placed[i].offset + other->words;
        end = other_end > end ? other_end : end;
    }
    return best != UINT32_MAX ? best : end;
}

// Places all; returns the words needed, UINT32_MAX when that is beyond `limit`.
static uint32_t place_all(struct segment_plan *segment, const uint32_t *order, uint32_t count, struct slot *placed,
                          uint32_t grace, uint32_t limit) {
    uint32_t needed = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct storage *s = &segment->storages[order[i]];
        uint32_t offset = best_gap(segment, placed, i, s, grace);
        if (offset > limit || s->words > limit - offset) {
            return UINT32_MAX;
        }
        needed = offset + s->words > needed ? offset + s->words : needed;
        s->placement.address = (uint32_t)SYSTOLE_REGION_ACTIVATIONS << 28 | offset;
        uint32_t at = i;
        for (; at > 0 && placed[at - 1].offset > offset; at--) {
            placed[at] = placed[at - 1];
        }
        placed[at] = (struct slot){order[i], offset};
    }
    return needed;
}

// Storages between operations, largest first.
static uint32_t sort_by_size(const struct segment_plan *segment, uint32_t *order) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < segment->storage_count; i++) {
        const struct storage *s = &segment->storages[i];
        if (s->is_input || s->in_output || s->is_constant || s->view != NULL) {
            continue;
        }
        uint32_t at = count++;
        for (; at > 0 && segment->storages[order[at - 1]].words < s->words; at--) {
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
    return count;
}

static uint64_t place_edges(struct segment_plan *segment, uint32_t banks) {
    uint64_t words[2] = {0, 0};
    for (uint32_t i = 0; i < segment->storage_count; i++) {
        struct storage *s = &segment->storages[i];
        if ((s->is_input || s->in_output) && s->view == NULL) {
            uint32_t out = s->in_output ? 1 : 0;
            uint32_t region = out ? SYSTOLE_REGION_OUTPUT : SYSTOLE_REGION_INPUT;
            s->placement.address = region << 28 | (uint32_t)words[out];
            words[out] += ir_round_up(s->words, banks);
        }
    }
    segment->region_words[SYSTOLE_REGION_INPUT] = (uint32_t)words[0];
    segment->region_words[SYSTOLE_REGION_OUTPUT] = (uint32_t)words[1];
    return words[0] + words[1];
}

enum systole_status pass_allocate(struct compilation *c, struct segment_plan *segment) {
    uint32_t *order = ir_allocate(c, segment->storage_count, sizeof *order);
    struct slot *placed = ir_allocate(c, segment->storage_count, sizeof *placed);
    if (order == NULL || placed == NULL) {
        return ir_out_of_memory(c);
    }
    uint32_t total = systole_target_words(c->target), banks = c->target->banks;
    memset(segment->region_words, 0, sizeof segment->region_words);
    // Regions begin at whole rounds of banks; commands are counted when they are there.
    uint64_t used = place_edges(segment, banks) + segment->parameter_words + 8ull * banks;
    uint32_t reserve = segment->operation_count * (USUAL_COMMANDS * SYSTOLE_COMMAND_BYTES / c->target->columns);
    segment->region_words[SYSTOLE_REGION_PARAMETERS] = segment->parameter_words;
    segment->fits = false;
    if (used >= total) {
        return SYSTOLE_OK;
    }
    uint32_t count = sort_by_size(segment, order), limit = total - (uint32_t)used;
    for (uint32_t grace = LONGEST_GRACE + 1; grace-- > 0 && !segment->fits;) {
        uint32_t room = grace == 0 || reserve > limit ? limit : limit - reserve;
        uint32_t needed = place_all(segment, order, count, placed, grace, room);
        segment->fits = needed != UINT32_MAX;
        segment->region_words[SYSTOLE_REGION_ACTIVATIONS] = segment->fits ? needed : 0;
    }
    views_place(segment);
    dump_storages(c, segment, "allocate");
    return SYSTOLE_OK;
}
