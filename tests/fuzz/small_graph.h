// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Graphs that are quick to compile and run, so that a fuzzer sees many.
#ifndef SYSTOLE_SMALL_GRAPH_H
#define SYSTOLE_SMALL_GRAPH_H

#include "graph.h"

enum { FUZZ_MOST_OPERATORS = 24, FUZZ_MOST_BYTES = 1 << 18, FUZZ_MOST_WORK = 1 << 17 };

// Multiply-accumulates, and what poolings do instead: the compiler's cycle model takes time in proportion.
static inline uint64_t fuzz_work_of(const struct systole_graph *graph, uint32_t index) {
    const struct systole_operator *op = &graph->operators[index];
    bool pools = op->code == SYSTOLE_OP_AVERAGE_POOL_2D || op->code == SYSTOLE_OP_MAX_POOL_2D;
    uint64_t elements = pools && op->output_count > 0 && op->outputs[0] >= 0
                            ? systole_tensor_elements(&graph->tensors[op->outputs[0]])
                            : 0;
    uint64_t window = (uint64_t)op->options.filter_h * (uint64_t)op->options.filter_w;
    return systole_operator_macs(graph, index) + elements * window;
}

static inline bool fuzz_is_small(const struct systole_graph *graph) {
    size_t bytes = 0;
    uint64_t work = 0;
    for (uint32_t i = 0; i < graph->tensor_count && bytes <= FUZZ_MOST_BYTES; i++) {
        bytes += graph->tensors[i].size;
    }
    for (uint32_t i = 0; i < graph->operator_count && work <= FUZZ_MOST_WORK; i++) {
        work += fuzz_work_of(graph, i);
    }
    return graph->operator_count <= FUZZ_MOST_OPERATORS && bytes <= FUZZ_MOST_BYTES && work <= FUZZ_MOST_WORK;
}

#endif
