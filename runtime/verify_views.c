// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Tensors that share words. An operator that only moves data may have no command: then its result lies in the words of
// what it reads, or what it reads in those of its result, and a command that writes a box of one has written a part of
// the other. An operator's input and output are alive together, so that words which they share are the same elements.
#include "session_state.h"

#include "program/command_footprint.h"

static bool is_whole(const struct systole_placement *p) {
    return p != NULL && p->layout == SYSTOLE_LAYOUT_TILED && p->address >> 28 < SYSTOLE_REGION_HOST;
}

static bool share_words(const struct systole_placement *a, const struct systole_placement *b, uint32_t columns) {
    const struct systole_placement *placements[2] = {a, b};
    struct systole_word_box boxes[2];
    if (!is_whole(a) || !is_whole(b)) {
        return false;
    }
    for (uint32_t i = 0; i < 2; i++) {
        const struct systole_placement *p = placements[i];
        uint32_t offset = p->address & 0x0FFFFFFFu;
        boxes[i] = (struct systole_word_box){
            .region = p->address >> 28,
            .offset = offset,
            .count = {(p->channels + columns - 1) / columns, p->height, p->width},
            .stride = {p->tile_stride, p->row_stride, p->pixel_stride},
            .last = (uint64_t)offset + systole_placement_words(p, columns) - 1,
        };
    }
    return systole_boxes_overlap(&boxes[0], &boxes[1]);
}

static void join(const struct systole_segment *segment, uint32_t *groups, int32_t a, int32_t b) {
    uint32_t from = groups[b], to = groups[a];
    for (uint32_t i = 0; i < segment->tensor_count && from != to; i++) {
        uint32_t *group = &groups[segment->tensors[i].tensor_index];
        *group = *group == from ? to : *group;
    }
}

// The tensor whose words an operator reads: where its operand has none, what operators without commands made it of.
static int32_t placed_source(const struct systole_graph *graph, const struct systole_placement *const *placements,
                             int32_t tensor) {
    for (uint32_t o = graph->operator_count; o-- > 0 && tensor >= 0 && placements[tensor] == NULL;) {
        const struct systole_operator *op = &graph->operators[o];
        if (op->output_count == 1 && op->outputs[0] == tensor) {
            tensor = op->input_count > 0 ? op->inputs[0] : -1;
        }
    }
    return tensor;
}

void session_verification_groups(const struct systole_graph *graph, const struct systole_segment *segment,
                                 uint32_t columns, const struct systole_placement *const *placements,
                                 uint32_t *groups) {
    for (uint32_t i = 0; i < segment->tensor_count; i++) {
        groups[segment->tensors[i].tensor_index] = i;
    }
    for (uint32_t o = 0; o < graph->operator_count; o++) {
        const struct systole_operator *op = &graph->operators[o];
        for (uint32_t i = 0; i < op->output_count; i++) {
            for (uint32_t k = 0; k < op->input_count; k++) {
                int32_t in = placed_source(graph, placements, op->inputs[k]), out = op->outputs[i];
                if (in >= 0 && out >= 0 && share_words(placements[in], placements[out], columns)) {
                    join(segment, groups, in, out);
                }
            }
        }
    }
}

bool session_verification_locate(const struct systole_placement *p, uint32_t columns, uint64_t word,
                                 uint32_t coordinates[3]) {
    uint32_t strides[3] = {p->tile_stride, p->row_stride, p->pixel_stride};
    uint32_t counts[3] = {(p->channels + columns - 1) / columns, p->height, p->width};
    if (word < p->address) {
        return false;
    }
    uint64_t left = word - p->address;
    bool done[3] = {false, false, false};
    for (uint32_t round = 0; round < 3; round++) { // the largest stride first
        uint32_t at = 3;
        for (uint32_t i = 0; i < 3; i++) {
            at = !done[i] && (at == 3 || strides[i] > strides[at]) ? i : at;
        }
        uint64_t most = counts[at] - 1, count = strides[at] > 0 && most > 0 ? left / strides[at] : 0;
        coordinates[at] = (uint32_t)(count < most ? count : most);
        left -= (uint64_t)coordinates[at] * strides[at];
        done[at] = true;
    }
    return left == 0;
}
