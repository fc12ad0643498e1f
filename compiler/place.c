// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Which operators run on the device in one go. Stretches of operators between two that stay on the CPU are segments,
// and so are the parts of one that had to be cut because it did not fit. Operators need not keep their order: a branch
// that waits for nothing on the CPU may run with what comes before the CPU's operators, or wait for what comes behind
// them (sequence.c), when that costs less for launches and for what crosses the link. A segment whose way costs more
// than the CPU would take is sent there.
#include "ir.h"

#define CPU_MACS 4u // multiplications of a core of the host in a cycle of the device, roughly

static bool made_in(const struct compilation *c, int32_t tensor, const struct segment_plan *segment) {
    bool made = false;
    for (uint32_t i = 0; i < segment->operation_count; i++) {
        made = made || ir_writes(&c->operations[segment->operations[i]], tensor);
    }
    return made;
}

// Segments and steps in order of execution.
static enum systole_status cut(struct compilation *c) {
    uint32_t count = c->graph->operator_count, sequence_count = 0;
    struct sequence_entry *sequence = ir_allocate(c, count, sizeof *sequence);
    c->segments = ir_allocate(c, count, sizeof *c->segments);
    c->steps = ir_allocate(c, count, sizeof *c->steps);
    if (count > 0 && (c->segments == NULL || c->steps == NULL || sequence == NULL)) {
        return ir_out_of_memory(c);
    }
    enum systole_status status = sequence_operators(c, sequence, &sequence_count);
    c->segment_count = c->step_count = 0;
    for (uint32_t i = 0; i < sequence_count && status == SYSTOLE_OK; i++) {
        uint32_t index = sequence[i].operator_index;
        if (sequence[i].segment < 0) {
            c->steps[c->step_count++] = (struct systole_step){SYSTOLE_PLACE_CPU, index};
            continue;
        }
        struct segment_plan *segment = &c->segments[sequence[i].segment];
        if ((uint32_t)sequence[i].segment == c->segment_count) {
            *segment = (struct segment_plan){
                .index = c->segment_count,
                .operations = ir_allocate(c, count, sizeof *segment->operations),
            };
            if (segment->operations == NULL) {
                return ir_out_of_memory(c);
            }
            c->steps[c->step_count++] = (struct systole_step){SYSTOLE_PLACE_DEVICE, c->segment_count++};
        }
        c->operations[index].segment = sequence[i].segment;
        segment->operations[segment->operation_count++] = index;
    }
    return status;
}

// What the CPU would take for a segment, and its launch and transfers, in cycles of the device.
static void weigh(const struct compilation *c, const struct segment_plan *segment, uint64_t *cpu, uint64_t *way) {
    uint64_t computed = 0, moved = 0, macs = 0;
    for (uint32_t i = 0; i < segment->operation_count; i++) {
        const struct operation *o = &c->operations[segment->operations[i]];
        macs += systole_operator_macs(c->graph, o->index);
        for (uint32_t k = 0; k < o->input_count; k++) {
            int32_t tensor = o->inputs[k].tensor;
            bool outside = c->graph->tensors[tensor].data == NULL && !made_in(c, tensor, segment);
            moved += outside ? systole_tensor_elements(&c->graph->tensors[tensor]) : 0;
        }
        for (uint32_t k = 0; k < ir_output_count(o); k++) {
            int32_t tensor = ir_output(o, k)->tensor;
            uint64_t elements = systole_tensor_elements(&c->graph->tensors[tensor]);
            computed += elements;
            moved += ir_host_reads(c, tensor) ? elements : 0;
        }
    }
    *cpu = macs / CPU_MACS + computed * 5 / 8;
    *way = sequence_way(c->target, moved);
}

// Whether an operator on the CPU waits for what the segment makes. Outputs of the model go to the host anyway.
static bool cpu_waits_for(const struct compilation *c, const struct segment_plan *segment) {
    bool waits = false;
    for (uint32_t i = 0; i < segment->operation_count; i++) {
        const struct operation *o = &c->operations[segment->operations[i]];
        for (uint32_t k = 0; k < ir_output_count(o); k++) {
            waits = waits || ir_cpu_reads(c, ir_output(o, k)->tensor);
        }
    }
    return waits;
}

// The segment with most multiplications stays where it is, whatever its way costs.
static void evict_islands(struct compilation *c) {
    uint64_t most = 0;
    uint32_t largest = UINT32_MAX;
    for (uint32_t s = 0; s < c->segment_count; s++) {
        uint64_t macs = 0;
        for (uint32_t i = 0; i < c->segments[s].operation_count; i++) {
            macs += systole_operator_macs(c->graph, c->segments[s].operations[i]);
        }
        if (macs > most) {
            most = macs;
            largest = s;
        }
    }
    for (uint32_t s = 0; s < c->segment_count && largest != UINT32_MAX; s++) {
        const struct segment_plan *segment = &c->segments[s];
        uint64_t cpu, way;
        weigh(c, segment, &cpu, &way);
        bool stays = s == largest || cpu >= way || !cpu_waits_for(c, segment);
        for (uint32_t i = 0; i < segment->operation_count && !stays; i++) {
            uint32_t index = segment->operations[i];
            c->evictions[index] = (struct eviction){"small_island", c->graph->operators[index].outputs[0],
                                                    way > INT64_MAX ? INT64_MAX : (int64_t)way, (int64_t)cpu};
            c->again = true;
        }
    }
}

// The segment whose command makes a tensor; -1: none.
static int32_t producer_segment(const struct compilation *c, int32_t tensor) {
    for (uint32_t i = 0; i < c->graph->operator_count; i++) {
        if (ir_writes(&c->operations[i], tensor)) {
            return c->operations[i].segment;
        }
    }
    return -1;
}

static bool other_segment_reads(const struct compilation *c, int32_t tensor, int32_t segment) {
    for (uint32_t i = 0; i < c->graph->operator_count; i++) {
        const struct operation *o = &c->operations[i];
        for (uint32_t k = 0; k < o->input_count && o->state == STATE_RUN && o->segment != segment; k++) {
            if (o->inputs[k].tensor == tensor) {
                return true;
            }
        }
    }
    return false;
}

static void add_storage(const struct compilation *c, struct segment_plan *segment, const struct operand *operand,
                        bool is_input, bool is_constant) {
    uint32_t found = ir_find_storage(segment, operand->tensor);
    if (found != UINT32_MAX) {
        return;
    }
    struct storage *s = &segment->storages[segment->storage_count];
    *s = (struct storage){.tensor = operand->tensor, .is_input = is_input, .is_constant = is_constant};
    s->extents = ir_extents(&c->graph->tensors[operand->tensor]);
    s->placement.is_unsigned = operand->is_unsigned;
    if (is_input) {
        segment->inputs[segment->input_count++] = (struct segment_io){operand->tensor, segment->storage_count};
    }
    segment->storage_count++;
}

// Storages of what a move keeps between its commands.
static void add_temporaries(struct segment_plan *segment, const struct operation *o) {
    uint32_t count = o->kind == OPERATION_MOVE ? ir_output_count(o) + o->input_count : 0;
    for (uint32_t i = 0; i < count; i++) {
        if (o->temporaries[i].channels > 0) {
            segment->storages[segment->storage_count++] = (struct storage){
                .tensor = ir_temporary_tensor(o, -1 - (int32_t)i),
                .extents = o->temporaries[i],
            };
        }
    }
}

static enum systole_status connect(struct compilation *c, struct segment_plan *segment) {
    int32_t index = (int32_t)segment->index;
    uint32_t most = 0;
    for (uint32_t i = 0; i < segment->operation_count; i++) {
        const struct operation *o = &c->operations[segment->operations[i]];
        most += 2 * (o->input_count + ir_output_count(o)); // and temporaries
    }
    segment->storages = ir_allocate(c, most, sizeof *segment->storages);
    segment->inputs = ir_allocate(c, most, sizeof *segment->inputs);
    segment->outputs = ir_allocate(c, most + c->graph->operator_count, sizeof *segment->outputs);
    if (segment->storages == NULL || segment->inputs == NULL || segment->outputs == NULL) {
        return ir_out_of_memory(c);
    }
    for (uint32_t i = 0; i < segment->operation_count; i++) {
        const struct operation *o = &c->operations[segment->operations[i]];
        for (uint32_t k = 0; k < o->input_count; k++) {
            bool is_constant = c->graph->tensors[o->inputs[k].tensor].data != NULL;
            bool is_inside = producer_segment(c, o->inputs[k].tensor) == index;
            add_storage(c, segment, &o->inputs[k], !is_inside && !is_constant, is_constant);
        }
        for (uint32_t k = 0; k < ir_output_count(o); k++) {
            add_storage(c, segment, ir_output(o, k), false, false);
        }
        add_temporaries(segment, o);
    }
    for (uint32_t s = 0; s < segment->storage_count; s++) {
        int32_t tensor = segment->storages[s].tensor;
        if (producer_segment(c, tensor) == index &&
            (ir_host_reads(c, tensor) || other_segment_reads(c, tensor, index))) {
            segment->outputs[segment->output_count++] = (struct segment_io){tensor, s};
            segment->storages[s].is_output = true;
        }
    }
    for (uint32_t i = 0; i < c->graph->operator_count; i++) { // what the host sees through folded RESHAPEs
        struct operation *o = &c->operations[i];
        if (o->state == STATE_FOLDED && o->kind == OPERATION_RESHAPE && ir_host_reads(c, o->output.tensor)) {
            uint32_t s = ir_find_storage(segment, ir_root(c, o->output.tensor));
            if (s != UINT32_MAX && producer_segment(c, segment->storages[s].tensor) == index) {
                segment->outputs[segment->output_count++] = (struct segment_io){o->output.tensor, s};
                segment->storages[s].is_output = true;
            }
        }
    }
    return SYSTOLE_OK;
}

// Folded operators are counted with the segment of their neighbours.
static void place_folded(struct compilation *c) {
    for (uint32_t i = 0; i < c->graph->operator_count; i++) {
        struct operation *o = &c->operations[i];
        if (o->state != STATE_FOLDED) {
            continue;
        }
        o->segment = producer_segment(c, ir_root(c, o->inputs[0].tensor));
        for (uint32_t k = i; k < c->graph->operator_count && o->segment < 0; k++) {
            o->segment = c->operations[k].state == STATE_RUN ? c->operations[k].segment : -1;
        }
        for (uint32_t k = i; k-- > 0 && o->segment < 0;) {
            o->segment = c->operations[k].state == STATE_RUN ? c->operations[k].segment : -1;
        }
    }
}

enum systole_status pass_place(struct compilation *c) {
    enum systole_status status = cut(c);
    if (status != SYSTOLE_OK) {
        return status;
    }
    evict_islands(c);
    for (uint32_t s = 0; s < c->segment_count && status == SYSTOLE_OK && !c->again; s++) {
        status = connect(c, &c->segments[s]);
    }
    place_folded(c);
    dump_operations(c, "place");
    return status;
}
