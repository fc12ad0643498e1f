// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Every operator that is to run gets its kernel and is prepared when the interpreter is made; from then on running
// cannot fail but for memory. Tensors are allocated on first use and keep their bytes until the end, so that any of
// them may be looked at after a run.
#include "interpreter.h"

#include "reference/kernel.h"

#include <stdlib.h>
#include <string.h>

struct systole_interpreter {
    const struct systole_graph *graph;
    const struct systole_kernel **kernels; // one an operator; NULL: does not run here
    struct systole_kernel_call *calls;
    uint8_t **tensors; // bytes; constants point into the graph
    uint8_t **owned;   // those of them to free
};

// Variables begin as 0: in int8 that is the zero point (Subgraph ResetVariableTensors).
static void reset_variable(const struct systole_tensor *tensor, uint8_t *bytes) {
    bool has_zero_point = tensor->dtype == SYSTOLE_INT8 && tensor->quantisation.count > 0;
    memset(bytes, has_zero_point ? (uint8_t)tensor->quantisation.zero_point[0] : 0, tensor->size);
}

void systole_interpreter_reset_variables(struct systole_interpreter *interpreter) {
    for (uint32_t t = 0; t < interpreter->graph->tensor_count; t++) {
        if (interpreter->graph->tensors[t].is_variable && interpreter->owned[t] != NULL) {
            reset_variable(&interpreter->graph->tensors[t], interpreter->owned[t]);
        }
    }
}

uint8_t *systole_interpreter_tensor(struct systole_interpreter *interpreter, int32_t tensor) {
    if (tensor < 0 || (uint32_t)tensor >= interpreter->graph->tensor_count) {
        return NULL;
    }
    uint8_t **bytes = &interpreter->tensors[tensor];
    if (*bytes == NULL) {
        const struct systole_tensor *t = &interpreter->graph->tensors[tensor];
        *bytes = calloc(t->size > 0 ? t->size : 1, 1);
        interpreter->owned[tensor] = *bytes;
        if (*bytes != NULL && t->is_variable) {
            reset_variable(t, *bytes);
        }
    }
    return *bytes;
}

void systole_interpreter_bind(struct systole_interpreter *interpreter, int32_t tensor, uint8_t *bytes) {
    interpreter->tensors[tensor] = bytes != NULL ? bytes : interpreter->owned[tensor];
}

static enum systole_status no_memory(const struct systole_graph *graph, struct systole_diagnostic *diagnostic) {
    return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, graph->name, "", "no memory for the model's tensors");
}

// Tensors that the operator touches: no output may be a constant or one of its own inputs.
static enum systole_status bind_tensors(struct systole_interpreter *interpreter, const struct systole_kernel_call *call,
                                        struct systole_diagnostic *diagnostic) {
    const struct systole_operator *op = call->op;
    for (uint32_t i = 0; i < op->output_count; i++) {
        int32_t output = op->outputs[i];
        if (output < 0) {
            continue;
        }
        bool conflict = interpreter->graph->tensors[output].data != NULL;
        for (uint32_t k = 0; k < op->input_count; k++) {
            conflict = conflict || op->inputs[k] == output;
        }
        if (conflict) {
            return systole_kernel_refuse(call, diagnostic, "", "output tensor %d is a constant or also an input",
                                         output);
        }
        if (systole_interpreter_tensor(interpreter, output) == NULL) {
            return no_memory(interpreter->graph, diagnostic);
        }
    }
    for (uint32_t i = 0; i < op->input_count; i++) {
        if (op->inputs[i] >= 0 && systole_interpreter_tensor(interpreter, op->inputs[i]) == NULL) {
            return no_memory(interpreter->graph, diagnostic);
        }
    }
    return SYSTOLE_OK;
}

static enum systole_status prepare_operator(struct systole_interpreter *interpreter, uint32_t operator_index,
                                            struct systole_diagnostic *diagnostic) {
    const struct systole_kernel *kernel = systole_kernel_find(interpreter->graph, operator_index, diagnostic);
    if (kernel == NULL) {
        return SYSTOLE_UNSUPPORTED;
    }
    struct systole_kernel_call *call = &interpreter->calls[operator_index];
    interpreter->kernels[operator_index] = kernel;
    enum systole_status status = kernel->prepare(call, diagnostic);
    return status == SYSTOLE_OK ? bind_tensors(interpreter, call, diagnostic) : status;
}

enum systole_status systole_interpreter_create(const struct systole_graph *graph, const bool *run,
                                               struct systole_interpreter **interpreter,
                                               struct systole_diagnostic *diagnostic) {
    *interpreter = NULL;
    struct systole_interpreter *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return no_memory(graph, diagnostic);
    }
    made->graph = graph;
    made->kernels = calloc((size_t)graph->operator_count + 1, sizeof(const struct systole_kernel *));
    made->calls = calloc((size_t)graph->operator_count + 1, sizeof *made->calls);
    made->tensors = calloc((size_t)graph->tensor_count + 1, sizeof *made->tensors);
    made->owned = calloc((size_t)graph->tensor_count + 1, sizeof *made->owned);
    enum systole_status status = SYSTOLE_OK;
    if (made->kernels == NULL || made->calls == NULL || made->tensors == NULL || made->owned == NULL) {
        status = no_memory(graph, diagnostic);
        goto out;
    }
    for (uint32_t t = 0; t < graph->tensor_count; t++) {
        made->tensors[t] = graph->tensors[t].data;
    }
    for (uint32_t i = 0; i < graph->operator_count; i++) {
        made->calls[i] = (struct systole_kernel_call){
            .graph = graph, .op = &graph->operators[i], .operator_index = i, .tensors = made->tensors};
        if (run == NULL || run[i]) {
            status = prepare_operator(made, i, diagnostic);
            if (status != SYSTOLE_OK) {
                goto out;
            }
        }
    }
    for (uint32_t i = 0; i < graph->input_count + graph->output_count; i++) {
        int32_t tensor = i < graph->input_count ? graph->inputs[i] : graph->outputs[i - graph->input_count];
        if (systole_interpreter_tensor(made, tensor) == NULL) {
            status = no_memory(graph, diagnostic);
            goto out;
        }
    }
    *interpreter = made;
    return SYSTOLE_OK;
out:
    systole_interpreter_free(made);
    return status;
}

void systole_interpreter_free(struct systole_interpreter *interpreter) {
    if (interpreter == NULL) {
        return;
    }
    const struct systole_graph *graph = interpreter->graph;
    for (uint32_t i = 0; interpreter->kernels != NULL && interpreter->calls != NULL && i < graph->operator_count; i++) {
        if (interpreter->kernels[i] != NULL) {
            systole_kernel_release(interpreter->kernels[i], &interpreter->calls[i]);
        }
    }
    for (uint32_t t = 0; interpreter->owned != NULL && t < graph->tensor_count; t++) {
        free(interpreter->owned[t]);
    }
    free(interpreter->owned);
    free(interpreter->tensors);
    free(interpreter->calls);
    free(interpreter->kernels);
    free(interpreter);
}

enum systole_status systole_interpreter_run_operator(struct systole_interpreter *interpreter, uint32_t operator_index,
                                                     struct systole_diagnostic *diagnostic) {
    if (operator_index >= interpreter->graph->operator_count || interpreter->kernels[operator_index] == NULL) {
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, interpreter->graph->name, "",
                            "operator %u does not run on the CPU here", operator_index);
    }
    return interpreter->kernels[operator_index]->run(&interpreter->calls[operator_index], diagnostic);
}

enum systole_status systole_interpreter_run(struct systole_interpreter *interpreter,
                                            struct systole_diagnostic *diagnostic) {
    enum systole_status status = SYSTOLE_OK;
    for (uint32_t i = 0; status == SYSTOLE_OK && i < interpreter->graph->operator_count; i++) {
        if (interpreter->kernels[i] != NULL) {
            status = systole_interpreter_run_operator(interpreter, i, diagnostic);
        }
    }
    return status;
}

bool systole_interpreter_supports(const struct systole_graph *graph, uint32_t operator_index,
                                  struct systole_diagnostic *diagnostic) {
    const struct systole_kernel *kernel = systole_kernel_find(graph, operator_index, diagnostic);
    if (kernel == NULL) {
        return false;
    }
    struct systole_kernel_call call = {
        .graph = graph, .op = &graph->operators[operator_index], .operator_index = operator_index};
    enum systole_status status = kernel->prepare(&call, diagnostic);
    systole_kernel_release(kernel, &call);
    return status == SYSTOLE_OK;
}
