// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Sets of inputs from files: representative data for systole_quantize, a data set for `systole verify --labels`.
#ifndef SYSTOLE_CLI_SAMPLES_H
#define SYSTOLE_CLI_SAMPLES_H

#include "cli.h"
#include "quantizer.h"
#include "sample_arrays.h"

// A file of arrays, or a folder with one set a file.
struct cli_sample_source {
    const char *path;
    struct sample_arrays arrays; // none in a folder
    char **files;                // of a folder, by name
    uint32_t sets;
};
struct cli_samples {
    const struct systole_graph *graph; // borrowed
    const struct cli_normalisation *normalisation;
    struct sample_meaning meaning;
    struct cli_sample_source sources[CLI_MAX_INPUTS];
    uint32_t source_count;
    uint64_t sets;
};
// Opens all paths; sets follow one another in their order. Shapes and types of arrays are checked here, pictures when
// they are read. Nothing is left open after a failure.
enum systole_status cli_samples_open(struct cli_samples *samples, const char *const *paths, uint32_t count,
                                     const struct systole_graph *graph, const struct cli_normalisation *normalisation,
                                     struct systole_diagnostic *diagnostic);
void cli_samples_close(struct cli_samples *samples);
// Fills the inputs with set `index`, or sets *end. It is systole_representative's read; context is the struct above.
enum systole_status cli_samples_read(void *context, uint32_t index, uint8_t *const *inputs, bool *end,
                                     struct systole_diagnostic *diagnostic);

#endif
