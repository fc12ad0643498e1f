// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// From the finished representation to the program that leaves the compiler: everything is copied out of the arena.
#include <stdlib.h>
#include <string.h>

#include "ir.h"
#include "target.h"

// Copies to malloc'ed memory; an empty copy is NULL and no failure.
static bool copy(void **to, const void *from, size_t count, size_t size) {
    *to = NULL;
    if (count == 0) {
        return true;
    }
    *to = malloc(count * size);
    if (*to != NULL) {
        memcpy(*to, from, count * size);
    }
    return *to != NULL;
}

static bool assemble_ios(const struct segment_plan *plan, const struct segment_io *from, uint32_t count,
                         struct systole_segment_io **to) {
    *to = NULL;
    if (count == 0) {
        return true;
    }
    *to = calloc(count, sizeof **to);
    for (uint32_t i = 0; i < count && *to != NULL; i++) {
        (*to)[i] = (struct systole_segment_io){from[i].tensor, plan->storages[from[i].storage].placement};
    }
    return *to != NULL;
}

// What commands write, and the other views that the host reads.
static bool assemble_tensors(const struct segment_plan *plan, struct systole_segment *segment) {
    segment->tensors = calloc(plan->storage_count + plan->output_count, sizeof *segment->tensors);
    if (segment->tensors == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < plan->storage_count; i++) {
        const struct storage *s = &plan->storages[i];
        if (!s->is_input && !s->is_constant && s->tensor >= 0) {
            segment->tensors[segment->tensor_count++] = (struct systole_segment_io){s->tensor, s->placement};
        }
    }
    for (uint32_t i = 0; i < plan->output_count; i++) {
        const struct storage *s = &plan->storages[plan->outputs[i].storage];
        if (plan->outputs[i].tensor != s->tensor) {
            segment->tensors[segment->tensor_count++] =
                (struct systole_segment_io){plan->outputs[i].tensor, s->placement};
        }
    }
    return true;
}

static bool assemble_segment(const struct compilation *c, const struct segment_plan *plan,
                             struct systole_segment *segment) {
    void *commands, *info, *parameters;
    bool ok = copy(&commands, plan->commands, plan->command_count, sizeof *plan->commands);
    segment->commands = commands;
    ok = copy(&info, plan->info, plan->command_count, sizeof *plan->info) && ok;
    segment->info = info;
    ok = copy(&parameters, plan->parameters, plan->parameter_words, c->target->columns) && ok;
    segment->parameters = parameters;
    segment->command_count = plan->command_count;
    segment->parameter_words = plan->parameter_words;
    memcpy(segment->region_words, plan->region_words, sizeof segment->region_words);
    ok = assemble_ios(plan, plan->inputs, plan->input_count, &segment->inputs) && ok;
    segment->input_count = plan->input_count;
    ok = assemble_ios(plan, plan->outputs, plan->output_count, &segment->outputs) && ok;
    segment->output_count = plan->output_count;
    ok = assemble_tensors(plan, segment) && ok;
    segment->predicted_cycles = plan->cycles;
    return ok;
}

// Whether program and parameters of all segments fit beside the activations of the largest.
static bool all_resident(const struct compilation *c) {
    uint64_t kept = 0, largest = 0, banks = c->target->banks;
    for (uint32_t s = 0; s < c->segment_count; s++) {
        if (c->segments[s].parameter_words > c->segments[s].region_words[SYSTOLE_REGION_PARAMETERS]) {
            return false;
        }
        const uint32_t *words = c->segments[s].region_words;
        kept += words[SYSTOLE_REGION_PROGRAM] + words[SYSTOLE_REGION_PARAMETERS] + 2 * banks;
        uint64_t moving = (uint64_t)words[SYSTOLE_REGION_ACTIVATIONS] + words[SYSTOLE_REGION_INPUT] +
                          words[SYSTOLE_REGION_OUTPUT] + 3 * banks;
        largest = moving > largest ? moving : largest;
    }
    return kept + largest <= systole_target_words(c->target);
}

// Each cycle belongs to the oldest operator that has not retired, what follows the last one to the last.
static void attribute_cycles(const struct segment_plan *plan, struct systole_operator_info *operators) {
    uint64_t before = 0;
    for (uint32_t i = 0; i < plan->operation_count; i++) {
        uint64_t end = i + 1 == plan->operation_count ? plan->cycles : before;
        for (uint32_t k = 0; k < plan->command_count; k++) {
            bool own = plan->info[k].operator_index == (int32_t)plan->operations[i];
            end = own && plan->info[k].predicted_end > end ? plan->info[k].predicted_end : end;
        }
        operators[plan->operations[i]].predicted_cycles = end - before;
        before = end;
    }
}

static bool assemble_operators(const struct compilation *c, struct systole_program *program) {
    uint32_t count = c->graph->operator_count;
    program->operator_count = count;
    program->operators = calloc(count > 0 ? count : 1, sizeof *program->operators);
    if (program->operators == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct systole_operator_info *info = &program->operators[i];
        const struct operation *o = &c->operations[i];
        (void)snprintf(info->name, sizeof info->name, "%s", systole_operator_name(c->graph->operators[i].code));
        info->place = o->state == STATE_CPU ? SYSTOLE_PLACE_CPU : SYSTOLE_PLACE_DEVICE;
        info->segment = o->segment;
        memcpy(info->reason, o->reason, sizeof info->reason);
        memcpy(info->detail, o->detail, sizeof info->detail);
        info->macs = systole_operator_macs(c->graph, i);
    }
    for (uint32_t s = 0; s < c->segment_count; s++) {
        attribute_cycles(&c->segments[s], program->operators);
    }
    return true;
}

// The graph for the runtime: only the host's constants keep their data.
static enum systole_status assemble_model(struct compilation *c, struct systole_program *program) {
    bool *keep = ir_allocate(c, c->graph->tensor_count, sizeof *keep);
    if (keep == NULL && c->graph->tensor_count > 0) {
        return ir_out_of_memory(c);
    }
    for (uint32_t t = 0; t < c->graph->tensor_count; t++) {
        keep[t] = ir_host_reads(c, (int32_t)t);
    }
    return systole_graph_write(c->graph, keep, &program->model, &program->model_size, c->diagnostic);
}

enum systole_status pass_assemble(struct compilation *c, struct systole_program *program) {
    void *steps;
    program->target = *c->target;
    (void)snprintf(program->model_name, sizeof program->model_name, "%s", c->graph->name);
    program->segments = calloc(c->segment_count > 0 ? c->segment_count : 1, sizeof *program->segments);
    bool ok = copy(&steps, c->steps, c->step_count, sizeof *c->steps) && program->segments != NULL;
    program->steps = steps;
    program->step_count = c->step_count;
    for (uint32_t s = 0; s < c->segment_count && ok; s++) {
        program->segment_count = s + 1;
        ok = assemble_segment(c, &c->segments[s], &program->segments[s]);
        program->segments[s].resident = all_resident(c);
    }
    ok = ok && assemble_operators(c, program);
    return ok ? assemble_model(c, program) : ir_out_of_memory(c);
}
