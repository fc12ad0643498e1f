// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The result grows tensor by tensor, and what each comes from is written down beside it.
#include "graph_edit.h"
#include "quantizer_state.h"

#include <stdio.h>
#include <stdlib.h>

static enum systole_status note(struct quantizer *q, int32_t **origins, uint32_t count, int32_t origin) {
    int32_t *grown = realloc(*origins, count * sizeof *grown);
    if (grown == NULL) {
        return graph_edit_no_memory(q->graph.name, q->diagnostic);
    }
    *origins = grown;
    grown[count - 1] = origin;
    return SYSTOLE_OK;
}

enum systole_status quantizer_result_tensor(struct quantizer *q, int32_t origin, enum systole_dtype dtype,
                                            const char *suffix, int32_t *index) {
    enum systole_status status =
        graph_edit_add_tensor(&q->result, &q->graph.tensors[origin], dtype, suffix, index, q->diagnostic);
    return status == SYSTOLE_OK ? note(q, &q->tensor_origin, q->result.tensor_count, origin) : status;
}

enum systole_status quantizer_result_copy(struct quantizer *q, int32_t origin, int32_t *index) {
    enum systole_status status = graph_edit_copy_tensor(&q->result, &q->graph.tensors[origin], index, q->diagnostic);
    return status == SYSTOLE_OK ? note(q, &q->tensor_origin, q->result.tensor_count, origin) : status;
}

enum systole_status quantizer_result_operator(struct quantizer *q, uint32_t origin) {
    enum systole_status status = graph_edit_copy_operator(&q->result, &q->graph.operators[origin], q->diagnostic);
    return status == SYSTOLE_OK ? note(q, &q->operator_origin, q->result.operator_count, (int32_t)origin) : status;
}

enum systole_status quantizer_result_unary(struct quantizer *q, int32_t code, int32_t version, int32_t input,
                                           int32_t output) {
    enum systole_status status = graph_edit_add_unary(&q->result, code, version, input, output, q->diagnostic);
    return status == SYSTOLE_OK ? note(q, &q->operator_origin, q->result.operator_count, -1) : status;
}

enum systole_status quantizer_interpreter(struct quantizer *q, const struct systole_graph *graph,
                                          struct systole_interpreter **interpreter) {
    const struct systole_interpreter_options options = {.kernels = q->options->kernels, .threads = q->options->threads};
    return systole_interpreter_create_with(graph, NULL, &options, interpreter, q->diagnostic);
}

void quantizer_result_clear(struct quantizer *q) {
    systole_graph_free(&q->result);
    free(q->tensor_origin);
    free(q->operator_origin);
    free(q->report.left);
    q->tensor_origin = q->operator_origin = NULL;
    q->report.left = NULL;
    q->report.left_count = 0;
}

enum systole_status quantizer_leave(struct quantizer *q, uint32_t result_operator, enum systole_left_kind kind,
                                    const char *reason) {
    struct systole_left *left = realloc(q->report.left, (q->report.left_count + (size_t)1) * sizeof *left);
    if (left == NULL) {
        return graph_edit_no_memory(q->graph.name, q->diagnostic);
    }
    q->report.left = left;
    left += q->report.left_count++;
    *left = (struct systole_left){.operator_index = result_operator, .kind = kind};
    (void)snprintf(left->reason, sizeof left->reason, "%s", reason);
    return SYSTOLE_OK;
}
