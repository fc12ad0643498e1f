// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Chains of operators on single elements, of any types between them, that become one table of bytes. Nothing but the
// last may be read from outside.
#include "ir.h"
#include "quantised_tables.h"

static bool is_read_once(const struct systole_graph *graph, int32_t tensor) {
    uint32_t readers = 0;
    for (uint32_t i = 0; i < graph->output_count; i++) {
        readers += graph->outputs[i] == tensor ? 2 : 0;
    }
    for (uint32_t i = 0; i < graph->operator_count; i++) {
        for (uint32_t k = 0; k < graph->operators[i].input_count; k++) {
            readers += graph->operators[i].inputs[k] == tensor ? 1 : 0;
        }
    }
    return readers == 1;
}

uint32_t chain_find(const struct systole_graph *graph, uint32_t last, uint32_t chain[IR_CHAIN_LIMIT]) {
    uint32_t reversed[IR_CHAIN_LIMIT], count = 0, at = last;
    for (;;) {
        const struct systole_operator *op = &graph->operators[at];
        if (!systole_operator_is_unary(op->code) || op->input_count < 1 || op->inputs[0] < 0 || op->output_count != 1 ||
            count == IR_CHAIN_LIMIT || (count == 0 && !ir_is_eight_bit(&graph->tensors[op->outputs[0]]))) {
            return 0;
        }
        reversed[count++] = at;
        if (ir_is_eight_bit(&graph->tensors[op->inputs[0]])) {
            break;
        }
        uint32_t producer = UINT32_MAX;
        for (uint32_t i = 0; i < at; i++) {
            if (graph->operators[i].output_count == 1 && graph->operators[i].outputs[0] == op->inputs[0]) {
                producer = i;
            }
        }
        if (producer == UINT32_MAX || !is_read_once(graph, op->inputs[0])) {
            return 0;
        }
        at = producer;
    }
    for (uint32_t i = 0; i < count; i++) {
        chain[i] = reversed[count - 1 - i];
    }
    return count;
}
