// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "cli.h"

#include <stdio.h>
#include <string.h>

static void print_tensor(const struct systole_graph *graph, int32_t index, const char *role) {
    const struct systole_tensor *tensor = &graph->tensors[index];
    const struct systole_quantisation *q = &tensor->quantisation;
    char shape[64];
    cli_format_shape(tensor, shape, sizeof shape);
    printf("  %-9s %4d  %-8s %-18s", role, index, systole_dtype_name(tensor->dtype), shape);
    if (q->count == 1) {
        printf(" scale %-12g zero point %-4lld", (double)q->scale[0], (long long)q->zero_point[0]);
    } else if (q->count > 1) {
        printf(" %u scales on axis %d%*s", q->count, q->dimension, 12, "");
    } else {
        printf(" %-35s", "");
    }
    printf("  %s\n", tensor->name);
}

static void print_graph(const struct cli_subject *subject) {
    const struct systole_graph *graph = &subject->graph;
    uint64_t macs = 0;
    for (uint32_t i = 0; i < graph->operator_count; i++) {
        macs += systole_operator_macs(graph, i);
    }
    printf("%s: %u operators, %u tensors, %llu multiply-accumulates\n", graph->name, graph->operator_count,
           graph->tensor_count, (unsigned long long)macs);
    for (uint32_t i = 0; i < graph->input_count; i++) {
        print_tensor(graph, graph->inputs[i], "input");
    }
    for (uint32_t i = 0; i < graph->output_count; i++) {
        print_tensor(graph, graph->outputs[i], "output");
    }
    for (uint32_t i = 0; i < graph->operator_count; i++) {
        const struct systole_operator *operation = &graph->operators[i];
        printf("%4u %s", i, systole_operator_name(operation->code));
        if (subject->has_program) {
            const struct systole_operator_info *info = &subject->program.operators[i];
            bool cpu = info->place == SYSTOLE_PLACE_CPU;
            printf("  [%s%s%s%s%s]", cpu ? "cpu" : "device", info->reason[0] != '\0' ? ": " : "", info->reason,
                   cpu && info->detail[0] != '\0' ? ": " : "", cpu ? info->detail : "");
        }
        printf("\n");
        for (uint32_t k = 0; k < operation->input_count; k++) {
            if (operation->inputs[k] >= 0) {
                int32_t t = operation->inputs[k];
                print_tensor(graph, t, graph->tensors[t].data != NULL ? "constant" : "reads");
            }
        }
        for (uint32_t k = 0; k < operation->output_count; k++) {
            print_tensor(graph, operation->outputs[k], "writes");
        }
    }
}

static void print_memory_map(const struct cli_subject *subject) {
    const struct systole_program *program = &subject->program;
    uint32_t columns = program->target.columns;
    for (uint32_t s = 0; s < program->segment_count; s++) {
        const struct systole_segment *segment = &program->segments[s];
        printf("segment %u: %u commands, %llu cycles predicted%s\n", s, segment->command_count,
               (unsigned long long)segment->predicted_cycles, segment->resident ? "" : ", not resident");
        for (uint32_t r = 0; r < SYSTOLE_REGIONS; r++) {
            if (segment->region_words[r] != 0) {
                printf("  region %-12s %8u words %10llu bytes\n", systole_region_name(r), segment->region_words[r],
                       (unsigned long long)segment->region_words[r] * columns);
            }
        }
        for (uint32_t t = 0; t < segment->tensor_count; t++) {
            const struct systole_placement *p = &segment->tensors[t].placement;
            int32_t index = segment->tensors[t].tensor_index;
            const char *name =
                index >= 0 && (uint32_t)index < subject->graph.tensor_count ? subject->graph.tensors[index].name : "";
            printf("  tensor %4d  %-11s +%-7u %ux%ux%u %s, strides row %u tile %u pixel %u  %s\n", index,
                   systole_region_name(p->address >> 28), p->address & 0x0fffffffu, p->height, p->width, p->channels,
                   p->layout == SYSTOLE_LAYOUT_PACKED ? "packed" : "tiled", p->row_stride, p->tile_stride,
                   p->pixel_stride, name);
        }
    }
}

static int run(const struct cli_command *command, int argc, char **argv) {
    struct cli_arguments arguments;
    int exit_status;
    if (!cli_parse(command, argc, argv, &arguments, &exit_status)) {
        return exit_status;
    }
    struct systole_diagnostic diagnostic = {.what = ""};
    struct cli_subject subject;
    enum systole_status status =
        cli_subject_open(arguments.positional[0], arguments.target, true, NULL, &subject, &diagnostic);
    if (status == SYSTOLE_UNSUPPORTED) {
        // What cannot be compiled can still be looked at.
        (void)cli_error(status, &diagnostic);
        status = cli_subject_open(arguments.positional[0], arguments.target, false, NULL, &subject, &diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return cli_error(status, &diagnostic);
    }
    if (subject.has_program) {
        printf("target %s\n", subject.program.target.name);
    }
    print_graph(&subject);
    if (subject.has_program) {
        print_memory_map(&subject);
    }
    cli_subject_close(&subject);
    return 0;
}

const struct cli_command cli_inspect = {
    .name = "inspect",
    .summary = "tensors, scales, operators, placement and memory map",
    .usage = "MODEL.tflite|PROGRAM.systole [options]",
    .help = "Prints what a model or a program holds; a model is compiled first, to show what would run where.\n",
    .options = CLI_TARGET,
    .minimum = 1,
    .maximum = 1,
    .run = run,
};
