// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Published networks with random weights, so that hardware can be studied without downloading a model.
#ifndef SYSTOLE_ZOO_H
#define SYSTOLE_ZOO_H

#include "graph.h"

struct systole_zoo_entry {
    const char *name;
    const char *summary;
};
extern const struct systole_zoo_entry systole_zoo_entries[];
extern const uint32_t systole_zoo_count;

// The network in float32 or full-integer int8, ready for systole_graph_write. Every call gives the same graph. It runs
// the network on the CPU, once for float32 and some times more for int8. On failure *graph is empty.
enum systole_status systole_zoo_build(const char *name, bool is_float, struct systole_graph *graph,
                                      struct systole_diagnostic *diagnostic);
// Only its layers: float32, all weights 0.
enum systole_status systole_zoo_layers(const char *name, struct systole_graph *graph,
                                       struct systole_diagnostic *diagnostic);

#endif
