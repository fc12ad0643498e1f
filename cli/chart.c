// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What a person looks at: a bar for each operator's cycles, a table of what runs where.
#include "cli.h"

#include <stdio.h>
#include <string.h>

#define BAR 40

void cli_format_shape(const struct systole_tensor *tensor, char *text, size_t size) {
    size_t used = 0;
    text[0] = '\0';
    for (int32_t i = 0; i < tensor->rank && used + 1 < size; i++) {
        int written = snprintf(text + used, size - used, i == 0 ? "%d" : "x%d", tensor->shape[i]);
        used += written > 0 ? (size_t)written : 0;
    }
    if (tensor->rank == 0) {
        (void)snprintf(text, size, "scalar");
    }
}

bool cli_holds_scores(const struct systole_tensor *tensor) {
    return tensor->dtype == SYSTOLE_INT8 || tensor->dtype == SYSTOLE_UINT8 || tensor->dtype == SYSTOLE_INT16 ||
           tensor->dtype == SYSTOLE_INT32 || tensor->dtype == SYSTOLE_FLOAT32;
}

double cli_stored_number(const struct systole_tensor *tensor, const uint8_t *bytes, size_t index) {
    size_t size = systole_dtype_size(tensor->dtype);
    const uint8_t *at = bytes + index * size;
    int64_t wide = 0;
    float real = 0;
    memcpy(&wide, at, size < sizeof wide ? size : sizeof wide);
    memcpy(&real, at, size < sizeof real ? size : sizeof real);
    switch (tensor->dtype) {
    case SYSTOLE_FLOAT32:
        return (double)real;
    case SYSTOLE_INT8:
        return (double)(int8_t)wide;
    case SYSTOLE_INT16:
        return (double)(int16_t)wide;
    case SYSTOLE_INT32:
        return (double)(int32_t)wide;
    default:
        return (double)wide;
    }
}

void cli_print_chart(const struct cli_measurement *m) {
    const struct systole_graph *graph = &m->subject->graph;
    const struct systole_program *program = &m->subject->program;
    uint64_t largest = 1;
    for (uint32_t i = 0; i < m->cycles->operator_count; i++) {
        largest = m->cycles->operators[i] > largest ? m->cycles->operators[i] : largest;
    }
    printf("%4s %-20s %-14s %10s %6s\n", "", "operator", "output", "cycles", "MAC/c");
    for (uint32_t i = 0; i < m->cycles->operator_count; i++) {
        const struct systole_operator *operation = &graph->operators[i];
        const struct systole_operator_info *info = &program->operators[i];
        char shape[64] = "";
        if (operation->output_count != 0) {
            cli_format_shape(&graph->tensors[operation->outputs[0]], shape, sizeof shape);
        }
        printf("%4u %-20s %-14s ", i, systole_operator_name(operation->code), shape);
        uint64_t cycles = m->cycles->operators[i];
        if (info->place == SYSTOLE_PLACE_CPU) {
            printf("%10s        on the CPU: %s\n", "-", info->reason);
            continue;
        }
        if (cycles == 0) {
            printf("%10d        %s\n", 0, info->reason[0] != '\0' ? info->reason : "hidden behind others");
            continue;
        }
        int length = (int)((cycles * BAR + largest - 1) / largest);
        printf("%10llu %6.1f ", (unsigned long long)cycles, (double)info->macs / (double)cycles);
        for (int k = 0; k < length; k++) {
            printf("#");
        }
        printf("\n");
    }
    printf("%4s %-20s %-14s %10llu\n", "", "total", "", (unsigned long long)m->cycles->total);
}

void cli_print_placement(const struct systole_program *program) {
    printf("%-24s %5s  %-8s %s\n", "operator", "count", "runs on", "reason");
    for (uint32_t i = 0; i < program->operator_count; i++) {
        const struct systole_operator_info *info = &program->operators[i];
        uint32_t count = 0;
        bool seen = false;
        for (uint32_t k = 0; k < program->operator_count; k++) {
            const struct systole_operator_info *other = &program->operators[k];
            if (strcmp(other->name, info->name) == 0 && other->place == info->place &&
                strcmp(other->reason, info->reason) == 0 &&
                (info->place == SYSTOLE_PLACE_DEVICE || strcmp(other->detail, info->detail) == 0)) {
                seen = seen || k < i;
                count++;
            }
        }
        if (!seen) {
            bool cpu = info->place == SYSTOLE_PLACE_CPU;
            printf("%-24s %5u  %-8s %s%s%s\n", info->name, count, cpu ? "cpu" : "device", info->reason,
                   cpu && info->detail[0] != '\0' ? ": " : "", cpu ? info->detail : "");
        }
    }
}
