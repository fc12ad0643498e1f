// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The JSON report; its keys are a contract, see docs/report.md.
#include "cli.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "target.h"

static json_t *tensor_json(const struct systole_tensor *tensor) {
    json_t *shape = json_array(), *scales = json_array(), *zero_points = json_array();
    for (int32_t i = 0; i < tensor->rank; i++) {
        json_array_append_new(shape, json_integer(tensor->shape[i]));
    }
    for (uint32_t i = 0; i < tensor->quantisation.count; i++) {
        json_array_append_new(scales, json_real((double)tensor->quantisation.scale[i]));
        json_array_append_new(zero_points, json_integer(tensor->quantisation.zero_point[i]));
    }
    return json_pack("{s:o, s:o, s:s, s:o, s:o}", "name", cli_json_text(tensor->name), "shape", shape, "dtype",
                     systole_dtype_name(tensor->dtype), "scale", scales, "zero_point", zero_points);
}

static json_t *tensors_json(const struct systole_graph *graph, const int32_t *indices, uint32_t count) {
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++) {
        json_array_append_new(list, tensor_json(&graph->tensors[indices[i]]));
    }
    return list;
}

// {unit: {kind: cycles}}
static json_t *counters_json(const uint64_t counters[SYSTOLE_UNITS][SYSTOLE_COUNTER_KINDS]) {
    json_t *units = json_object();
    for (uint32_t unit = 0; unit < SYSTOLE_UNITS; unit++) {
        json_t *kinds = json_object();
        for (uint32_t kind = 0; kind < SYSTOLE_COUNTER_KINDS; kind++) {
            json_object_set_new(kinds, systole_counter_name(kind), json_integer((json_int_t)counters[unit][kind]));
        }
        json_object_set_new(units, systole_unit_name(unit), kinds);
    }
    return units;
}

static json_t *operator_json(const struct cli_measurement *m, uint32_t index) {
    const struct systole_graph *graph = &m->subject->graph;
    const struct systole_operator *operation = &graph->operators[index];
    const struct systole_operator_info *info = m->cycles != NULL ? &m->subject->program.operators[index] : NULL;
    json_t *outputs = json_array();
    for (uint32_t k = 0; k < operation->output_count; k++) {
        json_array_append_new(outputs, json_integer(operation->outputs[k]));
    }
    bool on_device = info != NULL && info->place == SYSTOLE_PLACE_DEVICE;
    uint64_t cycles = m->cycles != NULL && m->cycles->operators != NULL && index < m->cycles->operator_count
                          ? m->cycles->operators[index]
                          : 0;
    json_t *json =
        json_pack("{s:i, s:s, s:s, s:s, s:s, s:o, s:I, s:I, s:I}", "index", (int)index, "name",
                  systole_operator_name(operation->code), "placement", on_device ? "device" : "cpu", "reason",
                  info != NULL ? info->reason : "requested", "detail", info != NULL ? info->detail : "", "outputs",
                  outputs, "macs", (json_int_t)systole_operator_macs(graph, index), "cycles", (json_int_t)cycles,
                  "predicted_cycles", (json_int_t)(info != NULL ? info->predicted_cycles : 0));
    if (m->operator_times != NULL) {
        const struct cli_operator_time *time = &m->operator_times[index];
        json_object_set_new(json, "kernel", json_string(time->is_fast ? "fast" : "reference"));
        json_object_set_new(json, "seconds",
                            json_pack("{s:f, s:f}", "min", time->best, "mean", time->sum / (double)m->repeat));
    }
    if (m->cycles != NULL && m->cycles->units != NULL && index < m->cycles->operator_count) {
        json_object_set_new(json, "units", counters_json(m->cycles->units[index]));
    }
    return json;
}

int cli_compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

bool cli_wall(const struct cli_measurement *m, double *median, double *least, double *most) {
    double *sorted = malloc(m->repeat * sizeof *sorted);
    if (sorted == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < m->repeat; i++) {
        sorted[i] = m->wall_seconds[i];
    }
    qsort(sorted, m->repeat, sizeof *sorted, cli_compare_doubles);
    uint32_t half = m->repeat / 2;
    *median = m->repeat % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
    *least = sorted[0];
    *most = sorted[m->repeat - 1];
    free(sorted);
    return true;
}

static json_t *wall_json(const struct cli_measurement *m) {
    double median, least, most;
    return cli_wall(m, &median, &least, &most)
               ? json_pack("{s:f, s:f, s:f}", "median", median, "min", least, "max", most)
               : NULL;
}

// What only the CPU has.
static void add_cpu(json_t *report, const struct cli_measurement *m, uint64_t macs) {
    double median = 0, least = 0, most = 0;
    (void)cli_wall(m, &median, &least, &most);
    json_object_set_new(report, "kernels", json_string(systole_kernel_level_name(systole_session_kernels(m->session))));
    json_object_set_new(report, "threads", json_integer(m->threads));
    json_object_set_new(report, "arena_bytes", json_integer((json_int_t)systole_session_arena_size(m->session)));
    json_object_set_new(report, "gmacs_per_second", json_real(median > 0 ? (double)macs / median * 1.0e-9 : 0));
}

// What only a device has.
static void add_device(json_t *report, const struct cli_measurement *m, uint64_t macs) {
    const struct systole_program *program = &m->subject->program;
    uint64_t predicted = 0, device_macs = 0;
    bool resident = true;
    for (uint32_t i = 0; i < program->segment_count; i++) {
        predicted += program->segments[i].predicted_cycles;
        resident = resident && program->segments[i].resident;
    }
    for (uint32_t i = 0; i < program->operator_count; i++) {
        device_macs += program->operators[i].place == SYSTOLE_PLACE_DEVICE ? program->operators[i].macs : 0;
    }
    uint32_t multipliers = systole_target_multipliers(&program->target);
    double available = (double)multipliers * (double)m->cycles->total;
    json_object_set_new(report, "resident", json_boolean(resident));
    json_object_set_new(report, "cycles",
                        json_pack("{s:I, s:I, s:I}", "total", (json_int_t)m->cycles->total, "cold",
                                  (json_int_t)m->cycles->cold, "predicted", (json_int_t)predicted));
    json_object_set_new(report, "counters", counters_json(m->cycles->counters));
    json_object_set_new(report, "multipliers", json_integer(multipliers));
    json_object_set_new(report, "other_multipliers", json_integer(systole_target_other_multipliers(&program->target)));
    json_object_set_new(report, "utilization",
                        json_real(available > 0 ? (double)(device_macs == 0 ? macs : device_macs) / available : 0));
}

enum systole_status cli_write_report(const char *path, const struct cli_measurement *m,
                                     struct systole_diagnostic *diagnostic) {
    const struct systole_graph *graph = &m->subject->graph;
    uint64_t macs = 0;
    json_t *operators = json_array();
    for (uint32_t i = 0; i < graph->operator_count; i++) {
        macs += systole_operator_macs(graph, i);
        json_array_append_new(operators, operator_json(m, i));
    }
    json_t *report = json_object();
    json_object_set_new(report, "target",
                        m->subject->has_program ? cli_json_text(m->subject->program.target.name) : json_null());
    json_object_set_new(report, "device", json_string(m->device));
    json_object_set_new(report, "model", cli_json_text(m->model));
    json_object_set_new(report, "inputs", tensors_json(graph, graph->inputs, graph->input_count));
    json_object_set_new(report, "outputs", tensors_json(graph, graph->outputs, graph->output_count));
    json_object_set_new(report, "macs", json_integer((json_int_t)macs));
    if (m->cycles != NULL) {
        add_device(report, m, macs);
    }
    if (m->operator_times != NULL) {
        add_cpu(report, m, macs);
    }
    if (m->repeat != 0) {
        json_object_set_new(report, "wall_seconds", wall_json(m));
    }
    if (m->simulated_cycles_per_second > 0) {
        json_object_set_new(report, "simulated_cycles_per_second", json_real(m->simulated_cycles_per_second));
    }
    json_object_set_new(report, "operators", operators);
    enum systole_status status = cli_write_json(path, report, diagnostic);
    json_decref(report);
    return status;
}
