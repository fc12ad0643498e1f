// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What a run on the CPU took: the repetitions, and each operator in the best of its times.
#include "cli.h"

#include <stdio.h>

enum systole_status cli_kernels(const struct cli_arguments *arguments, enum systole_kernel_level otherwise,
                                enum systole_kernel_level *level, struct systole_diagnostic *diagnostic) {
    enum systole_status status = SYSTOLE_OK;
    *level = otherwise;
    if (arguments->kernels != NULL) {
        status = systole_kernel_level_parse(arguments->kernels, level, diagnostic);
    }
    return status == SYSTOLE_OK ? systole_kernel_level_resolve(level, diagnostic) : status;
}

static double rate(uint64_t macs, double seconds) {
    return seconds > 0 ? (double)macs / seconds * 1.0e-9 : 0;
}

void cli_print_cpu(const struct cli_measurement *m) {
    const struct systole_graph *graph = &m->subject->graph;
    double median, least, most;
    uint64_t macs = 0;
    if (!cli_wall(m, &median, &least, &most)) {
        return;
    }
    printf("  op %-24s %12s %9s %9s %8s  kernel\n", "", "MACs", "best us", "mean us", "GMAC/s");
    for (uint32_t i = 0; i < graph->operator_count; i++) {
        const struct cli_operator_time *time = &m->operator_times[i];
        uint64_t own = systole_operator_macs(graph, i);
        macs += own;
        printf("%4u %-24s %12llu %9.1f %9.1f ", i, systole_operator_name(graph->operators[i].code),
               (unsigned long long)own, 1.0e6 * time->best, 1.0e6 * time->sum / (double)m->repeat);
        if (own > 0) {
            printf("%8.1f", rate(own, time->best));
        } else {
            printf("%8s", "-");
        }
        printf("  %s\n", time->is_fast ? "fast" : "reference");
    }
    printf("%u runs, %u thread%s, kernels %s: median %.3f ms, %.3f to %.3f ms, %.1f GMAC/s\n", m->repeat, m->threads,
           m->threads == 1 ? "" : "s", systole_kernel_level_name(systole_session_kernels(m->session)), 1.0e3 * median,
           1.0e3 * least, 1.0e3 * most, rate(macs, median));
}
