// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "simulate_program.h"

#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "testing.h"

struct simulation {
    const struct systole_graph *graph;
    const struct systole_program *program;
    struct systole_interpreter *reference, *tensors; // tensors: what this run has computed, as the host sees it
    uint8_t *memory, *host;                          // scratchpad, region host
    struct systole_region_window windows[SYSTOLE_REGIONS];
    uint32_t random;
    bool shuffle;
    struct systole_diagnostic *diagnostic;
};

static uint8_t *word_of(const struct simulation *s, uint32_t address) {
    uint32_t word = s->windows[address >> 28].base + (address & 0x0FFFFFFFu);
    uint8_t *memory = address >> 28 == SYSTOLE_REGION_HOST ? s->host : s->memory;
    return memory + (size_t)word * s->program->target.columns;
}

static enum systole_status place_regions(struct simulation *s, const struct systole_segment *segment) {
    uint32_t base = 0, banks = s->program->target.banks;
    memset(s->windows, 0, sizeof s->windows);
    free(s->host);
    s->host = calloc((size_t)segment->region_words[SYSTOLE_REGION_HOST] + 1, s->program->target.columns);
    s->windows[SYSTOLE_REGION_HOST].words = segment->region_words[SYSTOLE_REGION_HOST];
    for (uint32_t r = 0; r < SYSTOLE_REGION_HOST; r++) {
        s->windows[r] = (struct systole_region_window){base, segment->region_words[r]};
        base += (segment->region_words[r] + banks - 1) / banks * banks;
    }
    if ((uint64_t)base * s->program->target.columns > s->program->target.scratchpad_bytes) {
        return systole_fail(s->diagnostic, SYSTOLE_MISMATCH, s->graph->name, "", "regions beyond the scratchpad");
    }
    for (uint32_t i = 0; i < s->program->target.scratchpad_bytes; i += 4) {
        uint32_t bytes = testing_random(&s->random);
        memcpy(s->memory + i, &bytes, 4);
    }
    return SYSTOLE_OK;
}

static const struct systole_placement *find_placement(const struct systole_segment *segment, int32_t tensor) {
    for (uint32_t i = 0; i < segment->tensor_count; i++) {
        if (segment->tensors[i].tensor_index == tensor) {
            return &segment->tensors[i].placement;
        }
    }
    return NULL;
}

// Where a command writes a pixel of its box, counted in rows of `columns`, and a channel tile. Where such a row is
// wider than the command's, its output tiles are columns side by side.
static uint32_t written_word(const struct systole_command *command, uint32_t pixel, uint32_t columns, uint32_t tile) {
    if (systole_describe_opcode(command->header.opcode)->format == SYSTOLE_FORMAT_WINDOW) {
        const struct systole_window *w = &command->body.window;
        if (w->output_tiles > 1 && columns == (uint32_t)w->output_width * w->output_tiles) {
            tile = pixel % w->output_tiles;
            pixel /= w->output_tiles;
        }
        return w->output_address + tile * w->output_tile_stride + pixel / w->output_width * w->output_row_stride +
               pixel % w->output_width * w->output_pixel_stride;
    }
    const struct systole_elementwise *e = &command->body.elementwise;
    return e->output_address + tile * e->output_tile_stride + pixel / e->width * e->output_row_stride +
           pixel % e->width * e->output_pixel_stride;
}

// The box that a command says it wrote, against the reference.
static enum systole_status compare_box(const struct simulation *s, const struct systole_segment *segment,
                                       uint32_t index) {
    const struct systole_command_info *info = &segment->info[index];
    const struct systole_placement *p = find_placement(segment, info->tensor_index);
    if (p == NULL) {
        return systole_fail(s->diagnostic, SYSTOLE_MISMATCH, s->graph->name, "", "command %u: tensor %d has no place",
                            index, info->tensor_index);
    }
    const uint8_t *expected = systole_interpreter_tensor(s->reference, info->tensor_index);
    uint32_t columns = s->program->target.columns;
    bool in_parts = p->address >> 28 >= SYSTOLE_REGION_HOST;
    for (uint32_t y = info->y0; y<info->y1; y += info->y_step> 1 ? info->y_step : 1) {
        for (uint32_t x = info->x0; x<info->x1; x += info->x_step> 1 ? info->x_step : 1) {
            for (uint32_t c = info->c0; c < info->c1; c++) {
                uint32_t word = p->address + c / columns * p->tile_stride + y * p->row_stride + x * p->pixel_stride;
                if (in_parts) {
                    uint32_t of_row = systole_box_columns(info);
                    uint32_t row = (y - info->y0) / (info->y_step > 1 ? info->y_step : 1);
                    uint32_t pixel = row * of_row + (x - info->x0) / (info->x_step > 1 ? info->x_step : 1);
                    word = written_word(&segment->commands[index], pixel, of_row, (c - info->c0) / columns);
                }
                uint8_t found = word_of(s, word)[c % columns];
                uint8_t wanted = expected[((size_t)y * p->width + x) * p->channels + c];
                if (found != wanted) {
                    return systole_fail(s->diagnostic, SYSTOLE_MISMATCH, s->graph->name, "",
                                        "operator %d tensor %d row %u column %u channel %u: %u, expected %u; "
                                        "command %u",
                                        info->operator_index, info->tensor_index, y, x, c, found, wanted, index);
                }
            }
        }
    }
    return SYSTOLE_OK;
}

static bool has_tokens(const struct systole_command *command, const uint32_t retired[SYSTOLE_UNITS]) {
    const uint32_t waits[SYSTOLE_WAITS] = {command->header.wait0, command->header.wait1, command->header.wait2,
                                           command->header.wait3};
    for (uint32_t i = 0; i < SYSTOLE_WAITS; i++) {
        if (retired[waits[i] >> 24 & 15] < (waits[i] & 0xFFFFFFu)) {
            return false;
        }
    }
    return true;
}

// The next command: each unit's oldest is a candidate when its tokens are there. UINT32_MAX: deadlock.
static uint32_t choose(struct simulation *s, const struct systole_segment *segment, const bool *done,
                       const uint32_t retired[SYSTOLE_UNITS]) {
    uint32_t candidates[SYSTOLE_UNITS], count = 0;
    bool seen[SYSTOLE_UNITS] = {false};
    for (uint32_t i = 0; i < segment->command_count; i++) {
        const struct systole_command *command = &segment->commands[i];
        if (done[i] || seen[command->header.unit]) {
            continue;
        }
        seen[command->header.unit] = true;
        if (has_tokens(command, retired)) {
            candidates[count++] = i;
        }
    }
    if (count == 0) {
        return UINT32_MAX;
    }
    return candidates[s->shuffle ? testing_random(&s->random) % count : 0];
}

// What the host and the link do for a load or store.
static void transfer(const struct simulation *s, const struct systole_segment *segment,
                     const struct systole_command *command) {
    const struct systole_transfer *t = &command->body.transfer;
    size_t columns = s->program->target.columns, bytes = t->words * columns;
    if (command->header.opcode == SYSTOLE_OPCODE_STORE) {
        memcpy(word_of(s, t->host_address), word_of(s, t->address), bytes);
    } else if (command->header.opcode == SYSTOLE_OPCODE_LOAD) {
        bool host = t->host_address >> 28 == SYSTOLE_REGION_HOST;
        memcpy(word_of(s, t->address),
               host ? word_of(s, t->host_address) : segment->parameters + (t->host_address & 0x0FFFFFFFu) * columns,
               bytes);
    }
}

static enum systole_status run_commands(struct simulation *s, const struct systole_segment *segment) {
    bool *done = calloc(segment->command_count, sizeof *done);
    uint32_t retired[SYSTOLE_UNITS] = {0};
    enum systole_status status = SYSTOLE_OK;
    for (uint32_t i = 0; i < segment->command_count && status == SYSTOLE_OK; i++) {
        uint32_t index = s->shuffle ? choose(s, segment, done, retired) : i, error = 0, detail = 0;
        if (index == UINT32_MAX || !has_tokens(&segment->commands[index], retired)) {
            status = systole_fail(s->diagnostic, SYSTOLE_MISMATCH, s->graph->name, "", "no command can start");
        } else if (!systole_execute_command(&s->program->target, &segment->commands[index], s->windows, s->memory,
                                            &error, &detail)) {
            status = systole_fail(s->diagnostic, SYSTOLE_MISMATCH, s->graph->name, "", "command %u: error %s at %u",
                                  index, systole_error_name(error), detail);
        } else {
            transfer(s, segment, &segment->commands[index]);
            done[index] = true;
            retired[segment->commands[index].header.unit]++;
            status = segment->info[index].tensor_index >= 0 ? compare_box(s, segment, index) : SYSTOLE_OK;
        }
    }
    free(done);
    return status;
}

static enum systole_status run_segment(struct simulation *s, const struct systole_segment *segment) {
    enum systole_status status = place_regions(s, segment);
    if (status != SYSTOLE_OK) {
        return status;
    }
    uint32_t columns = s->program->target.columns;
    if (segment->parameter_words > 0) {
        memcpy(word_of(s, (uint32_t)SYSTOLE_REGION_PARAMETERS << 28), segment->parameters,
               (size_t)segment->region_words[SYSTOLE_REGION_PARAMETERS] * columns);
    }
    for (uint32_t i = 0; i < segment->input_count; i++) {
        const struct systole_segment_io *io = &segment->inputs[i];
        systole_placement_pack(&io->placement, columns, systole_interpreter_tensor(s->tensors, io->tensor_index),
                               word_of(s, io->placement.address));
    }
    status = run_commands(s, segment);
    for (uint32_t i = 0; i < segment->output_count && status == SYSTOLE_OK; i++) {
        const struct systole_segment_io *io = &segment->outputs[i];
        systole_placement_unpack(&io->placement, columns, word_of(s, io->placement.address),
                                 systole_interpreter_tensor(s->tensors, io->tensor_index));
    }
    return status;
}

static enum systole_status compare_outputs(const struct simulation *s) {
    for (uint32_t i = 0; i < s->graph->output_count; i++) {
        int32_t tensor = s->graph->outputs[i];
        if (memcmp(systole_interpreter_tensor(s->tensors, tensor), systole_interpreter_tensor(s->reference, tensor),
                   s->graph->tensors[tensor].size) != 0) {
            return systole_fail(s->diagnostic, SYSTOLE_MISMATCH, s->graph->name, "", "output %u differs", i);
        }
    }
    return SYSTOLE_OK;
}

enum systole_status simulate_program(const struct systole_graph *graph, const struct systole_program *program,
                                     struct systole_interpreter *reference, uint32_t order_seed,
                                     struct systole_diagnostic *diagnostic) {
    struct simulation s = {
        .graph = graph,
        .program = program,
        .reference = reference,
        .memory = malloc(program->target.scratchpad_bytes),
        .random = order_seed * 2654435761u | 1u,
        .shuffle = order_seed != 0,
        .diagnostic = diagnostic,
    };
    bool *on_cpu = calloc((size_t)graph->operator_count + 1, sizeof *on_cpu);
    for (uint32_t i = 0; i < program->step_count; i++) {
        if (program->steps[i].place == SYSTOLE_PLACE_CPU) {
            on_cpu[program->steps[i].index] = true;
        }
    }
    enum systole_status status = systole_interpreter_create(graph, on_cpu, &s.tensors, diagnostic);
    for (uint32_t i = 0; i < graph->input_count && status == SYSTOLE_OK; i++) {
        memcpy(systole_interpreter_tensor(s.tensors, graph->inputs[i]),
               systole_interpreter_tensor(reference, graph->inputs[i]), graph->tensors[graph->inputs[i]].size);
    }
    for (uint32_t i = 0; i < program->step_count && status == SYSTOLE_OK; i++) {
        const struct systole_step *step = &program->steps[i];
        status = step->place == SYSTOLE_PLACE_DEVICE
                     ? run_segment(&s, &program->segments[step->index])
                     : systole_interpreter_run_operator(s.tensors, step->index, diagnostic);
    }
    status = status == SYSTOLE_OK ? compare_outputs(&s) : status;
    systole_interpreter_free(s.tensors);
    free(on_cpu);
    free(s.host);
    free(s.memory);
    return status;
}
