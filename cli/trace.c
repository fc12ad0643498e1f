// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The Chrome trace-event file (docs/report.md): a track for the operators, one for each unit, and for each unit how its
// cycles divide. A cycle is shown as a microsecond, so that the viewer's clock counts cycles. Slices of a track must
// not overlap; units are pipelined and take a command before the one before it has retired, so a slice ends where the
// next begins, and `retired` among its arguments tells when the last write was done.
#include "cli.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define PROCESS 1
#define OPERATORS_TRACK 1
#define UNIT_TRACK(unit) (2 + (int)(unit))

static void add(json_t *events, json_t *event) {
    json_array_append_new(events, event);
}

static void name_tracks(json_t *events, const struct cli_measurement *m) {
    char name[192];
    (void)snprintf(name, sizeof name, "%s on %s (%s)", m->model, m->subject->program.target.name, m->device);
    add(events, json_pack("{s:s, s:s, s:i, s:{s:o}}", "ph", "M", "name", "process_name", "pid", PROCESS, "args", "name",
                          cli_json_text(name)));
    for (int track = OPERATORS_TRACK; track < UNIT_TRACK(SYSTOLE_UNITS); track++) {
        const char *text =
            track == OPERATORS_TRACK ? "operators" : systole_unit_name((uint32_t)(track - UNIT_TRACK(0)));
        add(events, json_pack("{s:s, s:s, s:i, s:i, s:{s:s}}", "ph", "M", "name", "thread_name", "pid", PROCESS, "tid",
                              track, "args", "name", text));
        add(events, json_pack("{s:s, s:s, s:i, s:i, s:{s:i}}", "ph", "M", "name", "thread_sort_index", "pid", PROCESS,
                              "tid", track, "args", "sort_index", track));
    }
}

static void slice_name(const struct systole_graph *graph, int32_t operator_index, char *name, size_t size) {
    if (operator_index >= 0 && (uint32_t)operator_index < graph->operator_count) {
        (void)snprintf(name, size, "%d %s", operator_index,
                       systole_operator_name(graph->operators[operator_index].code));
    } else {
        (void)snprintf(name, size, "no operator");
    }
}

// When each operator was the oldest that had not retired.
static void add_operators(json_t *events, const struct cli_measurement *m) {
    uint64_t now = 0;
    for (uint32_t o = 0; o < m->cycles->operator_count; o++) {
        uint64_t cycles = m->cycles->operators[o];
        if (cycles > 0) {
            char name[80];
            slice_name(&m->subject->graph, (int32_t)o, name, sizeof name);
            add(events, json_pack("{s:s, s:s, s:s, s:i, s:i, s:I, s:I, s:{s:i, s:I}}", "ph", "X", "name", name, "cat",
                                  "operator", "pid", PROCESS, "tid", OPERATORS_TRACK, "ts", (json_int_t)now, "dur",
                                  (json_int_t)cycles, "args", "operator", (int)o, "macs",
                                  (json_int_t)m->subject->program.operators[o].macs));
        }
        now += cycles;
    }
}

static json_t *arguments_json(const struct cli_measurement *m, const struct systole_traced *traced) {
    const struct systole_graph *graph = &m->subject->graph;
    const struct systole_segment *segment = &m->subject->program.segments[traced->segment];
    const struct systole_command_info *info = &segment->info[traced->command];
    const struct systole_opcode_description *opcode =
        systole_describe_opcode(segment->commands[traced->command].header.opcode);
    bool writes = info->tensor_index >= 0 && (uint32_t)info->tensor_index < graph->tensor_count;
    json_t *counters = json_object();
    for (uint32_t kind = 0; kind < SYSTOLE_COUNTER_KINDS; kind++) {
        json_object_set_new(counters, systole_counter_name(kind), json_integer(traced->counters[kind]));
    }
    return json_pack("{s:i, s:i, s:s, s:i, s:i, s:s, s:{s:[i,i], s:[i,i], s:[i,i]}, s:I, s:[i,i], s:o}", "segment",
                     (int)traced->segment, "command", (int)traced->command, "opcode",
                     opcode != NULL ? opcode->name : "", "operator", info->operator_index, "tensor", info->tensor_index,
                     "tensor_name", writes ? graph->tensors[info->tensor_index].name : "", "box", "y", (int)info->y0,
                     (int)info->y1, "x", (int)info->x0, (int)info->x1, "c", (int)info->c0, (int)info->c1, "retired",
                     (json_int_t)traced->end, "predicted", (int)info->predicted_start, (int)info->predicted_end,
                     "counters", counters);
}

static void add_unit(json_t *events, const struct cli_measurement *m, uint32_t unit) {
    const struct systole_session_cycles *cycles = m->cycles;
    char counter[32];
    (void)snprintf(counter, sizeof counter, "%s %%", systole_unit_name(unit));
    uint64_t since = 0;
    for (uint32_t i = 0; i < cycles->trace_count; i++) {
        const struct systole_traced *traced = &cycles->trace[i];
        if (traced->unit != unit) {
            continue;
        }
        uint64_t end = traced->end;
        for (uint32_t k = i + 1; k < cycles->trace_count; k++) {
            if (cycles->trace[k].unit == unit) {
                end = cycles->trace[k].start < end ? cycles->trace[k].start : end;
                break;
            }
        }
        end = end < traced->start ? traced->start : end;
        char name[80];
        slice_name(&m->subject->graph,
                   m->subject->program.segments[traced->segment].info[traced->command].operator_index, name,
                   sizeof name);
        add(events, json_pack("{s:s, s:s, s:s, s:i, s:i, s:I, s:I, s:o}", "ph", "X", "name", name, "cat", "command",
                              "pid", PROCESS, "tid", UNIT_TRACK(unit), "ts", (json_int_t)traced->start, "dur",
                              (json_int_t)(end - traced->start), "args", arguments_json(m, traced)));
        uint64_t sum = 0;
        json_t *shares = json_object();
        for (uint32_t kind = 0; kind < SYSTOLE_COUNTER_KINDS; kind++) {
            sum += traced->counters[kind];
        }
        for (uint32_t kind = 0; kind < SYSTOLE_COUNTER_KINDS; kind++) {
            double share = sum > 0 ? 100.0 * traced->counters[kind] / (double)sum : 0;
            json_object_set_new(shares, systole_counter_name(kind), json_real(share));
        }
        if (sum > 0) {
            add(events, json_pack("{s:s, s:s, s:i, s:I, s:o}", "ph", "C", "name", counter, "pid", PROCESS, "ts",
                                  (json_int_t)since, "args", shares));
        } else {
            json_decref(shares);
        }
        since = traced->end;
    }
}

enum systole_status cli_write_trace(const char *path, const struct cli_measurement *m,
                                    struct systole_diagnostic *diagnostic) {
    if (m->cycles->trace == NULL) {
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, path, "", "no memory for the trace");
    }
    json_t *events = json_array();
    name_tracks(events, m);
    add_operators(events, m);
    for (uint32_t unit = 0; unit < SYSTOLE_UNITS; unit++) {
        add_unit(events, m, unit);
    }
    json_t *trace = json_pack("{s:o, s:s, s:{s:o, s:o, s:s, s:I, s:s}}", "traceEvents", events, "displayTimeUnit", "ns",
                              "otherData", "model", cli_json_text(m->model), "target",
                              cli_json_text(m->subject->program.target.name), "device", m->device, "cycles",
                              (json_int_t)m->cycles->total, "time_unit", "1 us is 1 cycle");
    enum systole_status status = cli_write_json(path, trace, diagnostic);
    json_decref(trace);
    return status;
}
