// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What bounds each operator, and how long each tensor stays. A command's shape says how many cycles its unit needs for
// the multiplications and how many for the weights alone; the larger bounds it, unless the counters say that banks or
// the link held it up. Units that only move vectors (pooling, element-wise) are bound by activations. A tensor stays
// from the first command that writes it to the last that reads it; readers are found by the words that commands touch.
#include <stdlib.h>
#include <string.h>

#include "html.h"
#include "program/command_footprint.h"

static uint64_t divide_up(uint64_t a, uint64_t b) {
    return b > 0 ? (a + b - 1) / b : 0;
}

static void add_conv(const struct systole_target *target, const struct systole_command *command,
                     struct html_layer *layer) {
    const struct systole_window *w = &command->body.window;
    uint64_t reduction = (uint64_t)w->kernel_height * w->kernel_width * w->input_tiles;
    if ((command->header.flags & SYSTOLE_FLAG_PACKED) != 0) {
        reduction = divide_up(w->kernel_height, w->segments);
    }
    uint64_t tiles = reduction * w->output_tiles, blocks = divide_up(w->output_height, w->block_rows);
    layer->compute_cycles += tiles * w->output_height * w->output_width;
    layer->weight_cycles += blocks * (tiles * divide_up(w->tile_rows, target->weight_port_rows) +
                                      w->output_tiles * divide_up(12, target->weight_port_rows));
    layer->weight_bytes += blocks * tiles * w->tile_rows * target->columns;
}

static void add_command(const struct systole_target *target, const struct systole_command *command,
                        struct html_layer *layer) {
    const struct systole_window *w = &command->body.window;
    uint64_t taps = (uint64_t)w->kernel_height * w->kernel_width;
    switch (command->header.opcode) {
    case SYSTOLE_OPCODE_CONV:
        add_conv(target, command, layer);
        break;
    case SYSTOLE_OPCODE_DEPTHWISE:
        layer->compute_cycles +=
            (uint64_t)w->output_tiles * w->output_height * w->output_width * divide_up(taps, target->taps);
        layer->weight_cycles += w->output_tiles * (12 + taps);
        layer->weight_bytes += w->output_tiles * taps * target->columns;
        break;
    default:
        break;
    }
}

static uint64_t unit_work(const struct cli_measurement *m, uint32_t index, uint32_t unit) {
    const uint64_t *kinds = m->cycles->units[index][unit];
    return kinds[SYSTOLE_COUNTER_BUSY] + kinds[SYSTOLE_COUNTER_WAIT_MEMORY] + kinds[SYSTOLE_COUNTER_WAIT_LINK];
}

static void judge(const struct cli_measurement *m, uint32_t index, struct html_layer *layer) {
    const struct systole_target *target = &m->subject->program.target;
    const uint64_t(*units)[SYSTOLE_COUNTER_KINDS] = (const uint64_t(*)[SYSTOLE_COUNTER_KINDS])m->cycles->units[index];
    uint32_t unit = SYSTOLE_UNIT_LOAD;
    for (uint32_t u = 1; u < SYSTOLE_UNITS; u++) {
        unit = unit_work(m, index, u) > unit_work(m, index, unit) ? u : unit;
    }
    layer->unit = unit;
    layer->unit_cycles = unit_work(m, index, unit);
    uint64_t memory = units[unit][SYSTOLE_COUNTER_WAIT_MEMORY];
    bool multiplies = layer->compute_cycles > 0;
    if (unit == SYSTOLE_UNIT_LOAD || unit == SYSTOLE_UNIT_STORE) {
        layer->bound = HTML_LINK;
    } else if (!multiplies || memory * 4 > layer->unit_cycles) {
        layer->bound = HTML_ACTIVATIONS;
    } else {
        layer->bound = layer->weight_cycles > layer->compute_cycles ? HTML_WEIGHTS : HTML_COMPUTE;
    }
    uint64_t multipliers = unit == SYSTOLE_UNIT_ARRAY ? (uint64_t)target->rows * target->columns
                                                      : (uint64_t)target->taps * target->columns;
    if (multiplies && layer->unit_cycles > 0) {
        layer->utilisation = (double)layer->macs / ((double)multipliers * (double)layer->unit_cycles);
    }
}

static bool find_layers(struct html_analysis *a) {
    const struct cli_measurement *m = a->measurement;
    const struct systole_program *program = &m->subject->program;
    a->layer_count = m->cycles->operator_count;
    a->layers = calloc((size_t)a->layer_count + 1, sizeof *a->layers);
    if (a->layers == NULL) {
        return false;
    }
    for (uint32_t s = 0; s < program->segment_count; s++) {
        for (uint32_t c = 0; c < program->segments[s].command_count; c++) {
            int32_t owner = program->segments[s].info[c].operator_index;
            if (owner >= 0 && (uint32_t)owner < a->layer_count) {
                a->layers[owner].on_device = true;
                add_command(&program->target, &program->segments[s].commands[c], &a->layers[owner]);
            }
        }
    }
    for (uint32_t o = 0; o < a->layer_count; o++) {
        a->layers[o].cycles = m->cycles->operators[o];
        a->layers[o].macs = program->operators[o].macs;
        if (a->layers[o].on_device) {
            judge(m, o, &a->layers[o]);
        }
    }
    return true;
}

static bool overlap(uint64_t first, uint64_t words, uint64_t other, uint64_t other_words) {
    return first < other + other_words && other < first + words;
}

static bool lies_in(const struct html_lifetime *life, const struct systole_word_box *box,
                    const struct systole_region_window *windows) {
    return box->region < SYSTOLE_REGIONS && box->region == life->region &&
           overlap(life->word, life->words, (uint64_t)windows[box->region].base + box->offset,
                   box->last - box->offset + 1);
}

// The tensors a box reads: of those that share words, the youngest.
static void note_read(struct html_analysis *a, uint32_t first, const struct systole_word_box *box,
                      const struct systole_region_window *windows, const struct systole_traced *traced) {
    for (uint32_t i = first; i < a->lifetime_count; i++) {
        struct html_lifetime *life = &a->lifetimes[i];
        bool read = life->from <= traced->start && lies_in(life, box, windows);
        for (uint32_t k = first; k < a->lifetime_count && read; k++) {
            const struct html_lifetime *other = &a->lifetimes[k];
            read = !(k != i && other->from > life->from && other->from <= traced->start &&
                     overlap(other->word, other->words, life->word, life->words) && lies_in(other, box, windows));
        }
        if (read && traced->end > life->to) {
            life->to = traced->end;
        }
    }
}

static void find_segment_lifetimes(struct html_analysis *a, uint32_t s) {
    const struct cli_measurement *m = a->measurement;
    const struct systole_segment *segment = &m->subject->program.segments[s];
    const struct systole_target *target = &m->subject->program.target;
    const struct systole_region_window *windows = systole_session_windows(m->session, s);
    const uint32_t first = a->lifetime_count;
    uint64_t begin = UINT64_MAX, end = 0;
    for (uint32_t i = 0; i < m->cycles->trace_count; i++) {
        if (m->cycles->trace[i].segment == s) {
            begin = m->cycles->trace[i].start < begin ? m->cycles->trace[i].start : begin;
            end = m->cycles->trace[i].end > end ? m->cycles->trace[i].end : end;
        }
    }
    for (uint32_t t = 0; t < segment->tensor_count + segment->input_count; t++) {
        bool is_input = t >= segment->tensor_count;
        const struct systole_segment_io *io =
            is_input ? &segment->inputs[t - segment->tensor_count] : &segment->tensors[t];
        uint32_t region = io->placement.address >> 28;
        struct html_lifetime *life = &a->lifetimes[a->lifetime_count];
        *life = (struct html_lifetime){
            .tensor = io->tensor_index,
            .segment = s,
            .region = region,
            .words = systole_placement_words(&io->placement, target->columns),
            .from = is_input ? begin : UINT64_MAX,
        };
        bool known = false;
        for (uint32_t k = first; k < a->lifetime_count; k++) {
            known = known || a->lifetimes[k].tensor == life->tensor;
        }
        if (region < SYSTOLE_REGIONS && !known) {
            life->word = windows[region].base + (io->placement.address & 0x0fffffffu);
            a->lifetime_count++;
        }
    }
    for (uint32_t i = 0; i < m->cycles->trace_count; i++) {
        const struct systole_traced *traced = &m->cycles->trace[i];
        int32_t tensor = traced->segment == s ? segment->info[traced->command].tensor_index : -1;
        for (uint32_t k = first; k < a->lifetime_count && tensor >= 0; k++) {
            struct html_lifetime *life = &a->lifetimes[k];
            if (life->tensor == tensor) {
                life->from = traced->start < life->from ? traced->start : life->from;
                life->to = traced->end > life->to ? traced->end : life->to;
            }
        }
    }
    for (uint32_t i = 0; i < m->cycles->trace_count; i++) {
        const struct systole_traced *traced = &m->cycles->trace[i];
        if (traced->segment != s) {
            continue;
        }
        struct systole_footprint footprint;
        systole_command_footprint(target, &segment->commands[traced->command], &footprint);
        for (uint32_t b = 0; b < footprint.count; b++) {
            if (!footprint.boxes[b].is_write) {
                note_read(a, first, &footprint.boxes[b], windows, traced);
            }
        }
    }
    for (uint32_t k = first; k < a->lifetime_count; k++) {
        for (uint32_t o = 0; o < segment->output_count; o++) {
            if (segment->outputs[o].tensor_index == a->lifetimes[k].tensor) {
                a->lifetimes[k].to = end;
            }
        }
    }
}

static bool find_lifetimes(struct html_analysis *a) {
    const struct systole_program *program = &a->measurement->subject->program;
    size_t count = 1;
    for (uint32_t s = 0; s < program->segment_count; s++) {
        count += program->segments[s].tensor_count + program->segments[s].input_count;
    }
    a->lifetimes = calloc(count, sizeof *a->lifetimes);
    if (a->lifetimes == NULL) {
        return false;
    }
    for (uint32_t s = 0; s < program->segment_count; s++) {
        if (systole_session_windows(a->measurement->session, s) != NULL) {
            find_segment_lifetimes(a, s);
        }
    }
    uint32_t kept = 0; // those that nothing ever wrote were folded away
    for (uint32_t i = 0; i < a->lifetime_count; i++) {
        if (a->lifetimes[i].from < a->lifetimes[i].to) {
            a->lifetimes[kept++] = a->lifetimes[i];
        }
    }
    a->lifetime_count = kept;
    for (uint32_t i = 0; i < kept; i++) {
        uint64_t words = 0;
        for (uint32_t k = 0; k < kept; k++) {
            const struct html_lifetime *other = &a->lifetimes[k];
            bool alive = other->from <= a->lifetimes[i].from && a->lifetimes[i].from < other->to;
            words += alive ? other->words : 0;
        }
        a->peak_words = words > a->peak_words ? words : a->peak_words;
    }
    return true;
}

bool html_analyse(const struct cli_measurement *measurement, struct html_analysis *analysis) {
    *analysis = (struct html_analysis){.measurement = measurement};
    return find_layers(analysis) && find_lifetimes(analysis);
}

void html_analysis_free(struct html_analysis *analysis) {
    free(analysis->layers);
    free(analysis->lifetimes);
}
