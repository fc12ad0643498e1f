// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The order in which operators run. That of the graph is always possible; others take, in turn, all operators of the
// device that wait for nothing, then all of the CPU, beginning with either. Each order is charged for its segments'
// launches and for every tensor that crosses the link, once into each segment that reads it; the cheapest is taken, the
// graph's own among equals. Operators with state keep the graph's order, and so do all when a segment that came about
// by reordering does not fit into the scratchpad whole.
#include "ir.h"

#define LAUNCH 1000ull // cycles from the host to a segment and back, roughly

struct order {
    struct sequence_entry *entries;
    uint32_t count;
    int32_t segments;
};

uint64_t sequence_way(const struct systole_target *target, uint64_t bytes) {
    return LAUNCH + bytes * 1000 / target->link_millibytes_per_cycle;
}

static bool has_state(const struct compilation *c) {
    for (uint32_t t = 0; t < c->graph->tensor_count; t++) {
        if (c->graph->tensors[t].is_variable) {
            return true;
        }
    }
    return false;
}

// Adds an operator; `fresh`: a segment begins with it.
static void append(const struct compilation *c, struct order *order, uint32_t index, bool fresh) {
    bool on_device = c->operations[index].state == STATE_RUN;
    if (c->operations[index].state == STATE_FOLDED) {
        return; // it is where its neighbours are
    }
    order->segments += on_device && fresh ? 1 : 0;
    order->entries[order->count++] = (struct sequence_entry){index, on_device ? order->segments - 1 : -1};
}

static void order_of_graph(const struct compilation *c, struct order *order) {
    bool fresh = true;
    for (uint32_t i = 0; i < c->graph->operator_count; i++) {
        fresh = fresh || c->operations[i].state == STATE_CPU || c->cut_before[i];
        append(c, order, i, fresh);
        fresh = fresh && c->operations[i].state != STATE_RUN;
    }
}

static bool is_ready(const struct compilation *c, const int32_t *producers, const bool *done, uint32_t index) {
    const struct systole_operator *op = &c->graph->operators[index];
    for (uint32_t k = 0; k < op->input_count; k++) {
        int32_t producer = op->inputs[k] >= 0 ? producers[op->inputs[k]] : -1;
        if (producer >= 0 && !done[producer]) {
            return false;
        }
    }
    return true;
}

// In turn all that can run at one place; producers lie before their readers in the graph, so that one round finds them.
static void order_in_turns(const struct compilation *c, const int32_t *producers, bool *done, bool device_first,
                           struct order *order) {
    uint32_t count = c->graph->operator_count, left = count;
    for (uint32_t i = 0; i < count; i++) {
        done[i] = false;
    }
    for (bool on_device = device_first; left > 0; on_device = !on_device) {
        bool fresh = true;
        for (uint32_t i = 0; i < count; i++) {
            enum operation_state state = c->operations[i].state;
            if (done[i] || (state != STATE_FOLDED && (state == STATE_RUN) != on_device) ||
                !is_ready(c, producers, done, i)) {
                continue;
            }
            fresh = fresh || c->cut_before[i];
            append(c, order, i, fresh);
            fresh = fresh && state != STATE_RUN;
            done[i] = true;
            left--;
        }
    }
}

// Launches and transfers. `segment_of` and `seen` hold one number a tensor: who makes it, who has read it last.
static uint64_t cost(const struct compilation *c, const struct order *order, int32_t *segment_of, int32_t *seen) {
    uint64_t bytes = 0;
    for (uint32_t t = 0; t < c->graph->tensor_count; t++) {
        segment_of[t] = seen[t] = -1;
    }
    for (uint32_t i = 0; i < order->count; i++) {
        const struct operation *o = &c->operations[order->entries[i].operator_index];
        for (uint32_t k = 0; order->entries[i].segment >= 0 && k < ir_output_count(o); k++) {
            segment_of[ir_output(o, k)->tensor] = order->entries[i].segment;
        }
    }
    for (uint32_t i = 0; i < order->count; i++) {
        const struct operation *o = &c->operations[order->entries[i].operator_index];
        int32_t segment = order->entries[i].segment;
        for (uint32_t k = 0; segment >= 0 && k < o->input_count; k++) {
            int32_t t = o->inputs[k].tensor;
            const struct systole_tensor *tensor = &c->graph->tensors[t];
            if (tensor->data != NULL || segment_of[t] == segment || seen[t] == segment) {
                continue;
            }
            // Into this segment; out of the one that made it, if nobody else had it on the host.
            bytes += tensor->size;
            bytes += seen[t] < 0 && segment_of[t] >= 0 && !ir_host_reads(c, t) ? tensor->size : 0;
            seen[t] = segment;
        }
    }
    return bytes * 1000 / c->target->link_millibytes_per_cycle + (uint64_t)order->segments * sequence_way(c->target, 0);
}

enum systole_status sequence_operators(struct compilation *c, struct sequence_entry *sequence, uint32_t *count) {
    uint32_t operators = c->graph->operator_count, tensors = c->graph->tensor_count;
    int32_t *producers = ir_allocate(c, tensors + 1, sizeof *producers);
    int32_t *segment_of = ir_allocate(c, tensors + 1, sizeof *segment_of);
    int32_t *seen = ir_allocate(c, tensors + 1, sizeof *seen);
    bool *done = ir_allocate(c, operators + 1, sizeof *done);
    struct sequence_entry *other = ir_allocate(c, operators + 1, sizeof *other);
    if (producers == NULL || segment_of == NULL || seen == NULL || done == NULL || other == NULL) {
        return ir_out_of_memory(c);
    }
    struct order best = {.entries = sequence};
    order_of_graph(c, &best);
    *count = best.count;
    c->is_reordered = false;
    if (best.segments < 2 || c->keeps_order || has_state(c)) {
        return SYSTOLE_OK;
    }
    for (uint32_t t = 0; t < tensors; t++) {
        producers[t] = -1;
    }
    for (uint32_t i = 0; i < operators; i++) {
        const struct systole_operator *op = &c->graph->operators[i];
        for (uint32_t k = 0; k < op->output_count; k++) {
            if (op->outputs[k] >= 0) {
                producers[op->outputs[k]] = (int32_t)i;
            }
        }
    }
    uint64_t least = cost(c, &best, segment_of, seen);
    for (uint32_t device_first = 0; device_first < 2; device_first++) {
        struct order order = {.entries = other};
        order_in_turns(c, producers, done, device_first == 1, &order);
        uint64_t cycles = cost(c, &order, segment_of, seen);
        if (cycles < least) {
            least = cycles;
            c->is_reordered = true;
            for (uint32_t i = 0; i < order.count; i++) {
                sequence[i] = other[i];
            }
        }
    }
    return SYSTOLE_OK;
}
