// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What `systole quantize` tells about its result.
#ifndef SYSTOLE_CLI_QUANTIZE_REPORT_H
#define SYSTOLE_CLI_QUANTIZE_REPORT_H

#include "cli.h"
#include "quantizer.h"

struct cli_quantized {
    const char *source, *output; // paths
    size_t source_size, output_size;
    const struct systole_quantize_options *options;
    const struct systole_graph *result;
    const struct systole_quantize_report *report;
};
void cli_print_quantized(const struct cli_quantized *quantized);
enum systole_status cli_write_quantized(const char *path, const struct cli_quantized *quantized,
                                        struct systole_diagnostic *diagnostic);
// The way to a mode, and the one recommended. hardware: NULL when it was not said. sets: of representative data.
void cli_print_decision(const char *path, const struct systole_graph *graph, const char *hardware, uint64_t sets);

#endif
