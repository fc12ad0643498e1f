// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Compares what the cycle model predicts of a model's program with what a device measures: the total, the units'
// counters, each operator, and with --commands each command. Inputs are zeros: no cycle depends on a value.
//
// A command's end depends on all that came before it, so next to both ends stands its service: from when it could
// have begun, by the *measured* retirement of what its tokens name and of the command before it in its unit (less the
// drain of that one's pipeline, which a successor does not wait for), to its own retirement. A command whose service
// is not what the model says is mispredicted itself; the others are only late.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"
#include "cycle_model.h"
#include "device.h"
#include "driver.h"
#include "graph.h"
#include "target.h"

struct measurement {
    const struct systole_segment *segment;
    const struct systole_request *request;
    uint64_t *start, *end; // predicted
    uint64_t *measured;    // ends
    uint64_t predicted_total;
    uint64_t predicted[SYSTOLE_UNITS][SYSTOLE_COUNTER_KINDS];
};

static void retired(void *context, const struct systole_retirement *retirement) {
    const struct measurement *m = context;
    if (retirement->token == m->request->token && retirement->command < m->segment->command_count) {
        m->measured[retirement->command] = retirement->cycle;
    }
}

static uint64_t larger(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

// For each command how long it took by measured ends.
static void find_services(const struct systole_target *target, const struct measurement *m, uint64_t *service) {
    uint32_t *retired_at[SYSTOLE_UNITS] = {NULL}, counts[SYSTOLE_UNITS] = {0};
    for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
        retired_at[u] = calloc(m->segment->command_count + 1u, sizeof *retired_at[u]);
    }
    for (uint32_t i = 0; i < m->segment->command_count; i++) {
        const struct systole_command *command = &m->segment->commands[i];
        const struct systole_command_header *h = &command->header;
        const uint32_t waits[SYSTOLE_WAITS] = {h->wait0, h->wait1, h->wait2, h->wait3};
        uint64_t ready = 0;
        for (uint32_t w = 0; w < SYSTOLE_WAITS; w++) {
            uint32_t unit = waits[w] >> 24 & 15, count = waits[w] & 0xffffffu;
            if (count != 0 && unit < SYSTOLE_UNITS && count <= counts[unit]) {
                ready = larger(ready, m->measured[retired_at[unit][count - 1]]);
            }
        }
        uint32_t unit = h->unit;
        if (counts[unit] > 0) {
            uint32_t before = retired_at[unit][counts[unit] - 1];
            struct systole_command_cycles c = systole_command_cycles(target, &m->segment->commands[before]);
            uint64_t drain = c.latency - c.occupancy;
            ready = larger(ready, m->measured[before] > drain ? m->measured[before] - drain : 0);
        }
        service[i] = m->measured[i] > ready ? m->measured[i] - ready : 0;
        retired_at[unit][counts[unit]++] = i;
    }
    for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
        free(retired_at[u]);
    }
}

// Each cycle belongs to the oldest operator that has not retired with its last command.
static void attribute(const struct systole_segment *segment, const uint64_t *end, uint64_t *cycles, uint32_t count) {
    uint64_t before = 0;
    uint64_t *last = calloc(count, sizeof *last);
    for (uint32_t i = 0; last != NULL && i < segment->command_count; i++) {
        int32_t o = segment->info[i].operator_index;
        if (o >= 0 && (uint32_t)o < count) {
            last[o] = larger(last[o], end[i]);
        }
    }
    for (uint32_t o = 0; last != NULL && o < count; o++) {
        cycles[o] = last[o] > before ? last[o] - before : 0;
        before = larger(before, last[o]);
    }
    free(last);
}

static double percent(uint64_t predicted, uint64_t measured) {
    return measured == 0 ? 0 : 100.0 * ((double)predicted - (double)measured) / (double)measured;
}

static const char *opcode_name(uint32_t opcode) {
    const struct systole_opcode_description *description = systole_describe_opcode(opcode);
    return description != NULL ? description->name : "unknown";
}

static void print_commands(const struct systole_target *target, const struct measurement *m, const uint64_t *service) {
    printf(
        "command unit        opcode       operator  predicted start      end  measured end     late  service model\n");
    for (uint32_t i = 0; i < m->segment->command_count; i++) {
        const struct systole_command *command = &m->segment->commands[i];
        struct systole_command_cycles c = systole_command_cycles(target, command);
        printf("%7u %-11s %-12s %8d %16llu %8llu %13llu %8lld %8llu %5llu\n", i,
               systole_unit_name(command->header.unit), opcode_name(command->header.opcode),
               m->segment->info[i].operator_index, (unsigned long long)m->start[i], (unsigned long long)m->end[i],
               (unsigned long long)m->measured[i], (long long)(m->measured[i] - m->end[i]),
               (unsigned long long)service[i], (unsigned long long)c.latency);
    }
}

static void print_operators(const struct systole_program *program, const struct measurement *m,
                            const uint64_t *service) {
    uint32_t count = program->operator_count;
    uint64_t *predicted = calloc(count, sizeof *predicted), *measured = calloc(count, sizeof *measured);
    uint64_t *services = calloc(count, sizeof *services), *costs = calloc(count, sizeof *costs);
    uint32_t *commands = calloc(count, sizeof *commands);
    if (predicted != NULL && measured != NULL && services != NULL && costs != NULL && commands != NULL) {
        attribute(m->segment, m->end, predicted, count);
        attribute(m->segment, m->measured, measured, count);
        for (uint32_t i = 0; i < m->segment->command_count; i++) {
            int32_t o = m->segment->info[i].operator_index;
            if (o >= 0 && (uint32_t)o < count) {
                commands[o]++;
                services[o] += service[i];
                costs[o] += systole_command_cycles(&program->target, &m->segment->commands[i]).latency;
            }
        }
        printf("operator                       commands predicted  measured  difference   service     model\n");
        for (uint32_t o = 0; o < count; o++) {
            if (commands[o] > 0) {
                printf("%8u %-22s %8u %9llu %9llu %+11lld %9llu %9llu\n", o, program->operators[o].name, commands[o],
                       (unsigned long long)predicted[o], (unsigned long long)measured[o],
                       (long long)(predicted[o] - measured[o]), (unsigned long long)services[o],
                       (unsigned long long)costs[o]);
            }
        }
    }
    free(predicted);
    free(measured);
    free(services);
    free(costs);
    free(commands);
}

static void print_counters(const struct measurement *m) {
    printf("unit       ");
    for (uint32_t kind = 0; kind < SYSTOLE_COUNTER_KINDS; kind++) {
        printf(" %20s", systole_counter_name(kind));
    }
    printf("   (predicted/measured)\n");
    for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
        printf("%-11s", systole_unit_name(u));
        for (uint32_t kind = 0; kind < SYSTOLE_COUNTER_KINDS; kind++) {
            printf(" %9llu/%10llu", (unsigned long long)m->predicted[u][kind],
                   (unsigned long long)m->request->counters[u][kind]);
        }
        printf("\n");
    }
}

// Runs one segment on zeros.
static enum systole_status measure(struct systole_driver *driver, const struct systole_target *target,
                                   struct measurement *m, struct systole_request *request,
                                   struct systole_diagnostic *diagnostic) {
    const struct systole_segment *segment = m->segment;
    enum systole_status status = SYSTOLE_OUT_OF_MEMORY;
    systole_loaded loaded;
    bool is_loaded = false;
    uint8_t **inputs = calloc(segment->input_count + 1u, sizeof *inputs);
    uint8_t **outputs = calloc(segment->output_count + 1u, sizeof *outputs);
    if (inputs == NULL || outputs == NULL) {
        goto done;
    }
    for (uint32_t i = 0; i < segment->input_count; i++) {
        uint32_t words = systole_placement_words(&segment->inputs[i].placement, target->columns);
        inputs[i] = calloc(words, target->columns);
        if (inputs[i] == NULL) {
            goto done;
        }
    }
    for (uint32_t i = 0; i < segment->output_count; i++) {
        uint32_t words = systole_placement_words(&segment->outputs[i].placement, target->columns);
        outputs[i] = calloc(words, target->columns);
        if (outputs[i] == NULL) {
            goto done;
        }
    }
    status = systole_driver_load(driver, segment, &loaded, diagnostic);
    is_loaded = status == SYSTOLE_OK;
    request->inputs = (const uint8_t *const *)inputs;
    request->outputs = outputs;
    if (status == SYSTOLE_OK) {
        status = systole_driver_submit(driver, loaded, request);
    }
    if (status == SYSTOLE_OK) {
        status = systole_driver_wait(driver, request);
    }
    if (is_loaded && status != SYSTOLE_OK) {
        *diagnostic = request->diagnostic;
    }
done:
    if (is_loaded) {
        systole_driver_unload(driver, loaded);
    }
    for (uint32_t i = 0; inputs != NULL && i < segment->input_count; i++) {
        free(inputs[i]);
    }
    for (uint32_t i = 0; outputs != NULL && i < segment->output_count; i++) {
        free(outputs[i]);
    }
    free(inputs);
    free(outputs);
    return status;
}

static enum systole_status open_driver(const char *name, const struct systole_target *target,
                                       struct systole_driver **driver, struct systole_diagnostic *diagnostic) {
    struct systole_accelerator *accelerator;
    struct systole_transport *transport;
    uint8_t *firmware;
    size_t size;
    enum systole_status status = strcmp(name, "rtl") == 0
                                     ? systole_rtl_create(target, &accelerator, diagnostic)
                                     : systole_functional_model_create(target, 0, &accelerator, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct systole_usb_device *device = systole_usb_device_create(accelerator, target);
    if (device == NULL) {
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, name, "", "no memory for the device");
    }
    status = systole_in_process_open(device, name, &transport, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    status = systole_firmware_build(target, &firmware, &size);
    if (status != SYSTOLE_OK) {
        transport->functions->close(transport);
        return systole_fail(diagnostic, status, name, "", "no memory for the firmware");
    }
    struct systole_driver_options options = {0};
    status = systole_driver_open(transport, target, firmware, size, &options, driver, diagnostic);
    free(firmware);
    return status;
}

static enum systole_status compare_segment(struct systole_driver *driver, const struct systole_program *program,
                                           uint32_t index, bool commands, bool quiet, uint64_t totals[2],
                                           struct systole_diagnostic *diagnostic) {
    const struct systole_segment *segment = &program->segments[index];
    struct systole_request request = {0};
    size_t count = segment->command_count + 1u;
    struct measurement m = {
        .segment = segment,
        .request = &request,
        .start = calloc(count, sizeof *m.start),
        .end = calloc(count, sizeof *m.end),
        .measured = calloc(count, sizeof *m.measured),
    };
    uint64_t *service = calloc(count, sizeof *service);
    enum systole_status status = SYSTOLE_OUT_OF_MEMORY;
    if (m.start != NULL && m.end != NULL && m.measured != NULL && service != NULL) {
        m.predicted_total = systole_schedule_cycles(&program->target, segment->commands, segment->command_count,
                                                    m.start, m.end, m.predicted);
        struct systole_transport *transport = systole_driver_transport(driver);
        struct systole_observer observer = {retired, &m};
        transport->functions->observe(transport, &observer);
        status = measure(driver, &program->target, &m, &request, diagnostic);
        transport->functions->observe(transport, NULL);
    }
    if (status == SYSTOLE_OK) {
        find_services(&program->target, &m, service);
        if (commands) {
            print_commands(&program->target, &m, service);
        }
        if (!quiet) {
            print_operators(program, &m, service);
            print_counters(&m);
        }
        totals[0] += m.predicted_total;
        totals[1] += request.cycles;
    }
    systole_request_clear(&request);
    free(m.start);
    free(m.end);
    free(m.measured);
    free(service);
    return status;
}

static uint8_t *read_all(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return NULL;
    }
    long length = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    uint8_t *bytes = length > 0 ? malloc((size_t)length) : NULL;
    rewind(file);
    if (bytes != NULL && fread(bytes, 1, (size_t)length, file) != (size_t)length) {
        free(bytes);
        bytes = NULL;
    }
    fclose(file);
    *size = (size_t)length;
    return bytes;
}

// A .tflite is compiled; a .systole is taken as it is, so that a change of the cycle model can be seen by itself.
static enum systole_status open_program(const char *path, const char *target_name, struct systole_program *program,
                                        struct systole_diagnostic *diagnostic) {
    size_t size, length = strlen(path);
    uint8_t *bytes = read_all(path, &size);
    enum systole_status status;
    if (bytes == NULL) {
        return systole_fail(diagnostic, SYSTOLE_BAD_FILE, path, "check the path", "cannot be read");
    }
    if (length > 8 && strcmp(path + length - 8, ".systole") == 0) {
        status = systole_program_read(bytes, size, path, program, diagnostic);
    } else {
        struct systole_target target;
        struct systole_graph graph = {0};
        status = systole_target_find(target_name, &target, diagnostic);
        if (status == SYSTOLE_OK) {
            status = systole_graph_read(bytes, size, path, &graph, diagnostic);
        }
        if (status == SYSTOLE_OK) {
            status = systole_compile(&graph, &target, NULL, program, diagnostic);
        }
        systole_graph_free(&graph);
    }
    free(bytes);
    return status;
}

int main(int argc, char **argv) {
    const char *device = "rtl", *target = "systole16", *path = NULL;
    bool commands = false, quiet = false, bad = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--commands") == 0) {
            commands = true;
        } else if (strcmp(argv[i], "--quiet") == 0) {
            quiet = true;
        } else if (strcmp(argv[i], "--device") == 0 && i + 1 < argc) {
            device = argv[++i];
        } else if (strcmp(argv[i], "--target") == 0 && i + 1 < argc) {
            target = argv[++i];
        } else if (argv[i][0] != '-' && path == NULL) {
            path = argv[i];
        } else {
            bad = true;
        }
    }
    if (bad || path == NULL) {
        fprintf(stderr, "usage: predicted_vs_measured MODEL.tflite|PROGRAM.systole [--target T] [--device rtl|model] "
                        "[--commands] [--quiet]\n");
        return 2;
    }
    struct systole_diagnostic diagnostic = {.what = ""};
    struct systole_program program = {0};
    struct systole_driver *driver = NULL;
    uint64_t totals[2] = {0, 0};
    enum systole_status status = open_program(path, target, &program, &diagnostic);
    if (status == SYSTOLE_OK) {
        status = open_driver(device, &program.target, &driver, &diagnostic);
    }
    for (uint32_t s = 0; s < program.segment_count && status == SYSTOLE_OK; s++) {
        status = compare_segment(driver, &program, s, commands, quiet, totals, &diagnostic);
    }
    if (status == SYSTOLE_OK) {
        printf("%s %s predicted %llu measured %llu %+.2f%%\n", path, program.target.name, (unsigned long long)totals[0],
               (unsigned long long)totals[1], percent(totals[0], totals[1]));
    } else {
        fprintf(stderr, "%s: %s; %s\n", diagnostic.where, diagnostic.what, diagnostic.hint);
    }
    systole_driver_close(driver);
    systole_program_free(&program);
    return status == SYSTOLE_OK ? 0 : 1;
}
