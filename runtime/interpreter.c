// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Every operator that is to run gets its kernel and is prepared when the interpreter is made; from then on running
// cannot fail but for memory of reference kernels. The reference kernel is always prepared first, for it checks the
// operator; a fast one that takes the operator then stands in for it. Tensors are allocated on their own and keep their
// bytes, so that any of them may be looked at after a run, or they lie in one block where those that are never alive
// together share memory. DEQUANTIZE of a constant runs once, when the interpreter is made: its result is a constant.
#include "interpreter.h"

#include "fast/arena_plan.h"
#include "fast/fast_kernel.h"
#include "reference/kernel.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

// Kernels may read some bytes beyond a tensor's end.
enum { SLACK = 64 };

struct systole_interpreter {
    const struct systole_graph *graph;
    struct systole_interpreter_options options;
    const struct systole_kernel **kernels; // one an operator; NULL: does not run here
    struct systole_kernel_call *calls;
    uint8_t **tensors;   // bytes; constants point into the graph
    uint8_t **owned;     // those of them to free
    uint8_t **home;      // where each that is no constant lies unless it is bound elsewhere
    uint8_t **constants; // what does not change from run to run
    bool *is_folded;     // operators that ran when the interpreter was made
    double *seconds;     // of the last run of each operator
    uint8_t *arena;      // with share_memory
    size_t arena_size;
    struct systole_fast_context fast;
};

// Variables begin as 0: in int8 that is the zero point (Subgraph ResetVariableTensors).
static void reset_variable(const struct systole_tensor *tensor, uint8_t *bytes) {
    bool has_zero_point = tensor->dtype == SYSTOLE_INT8 && tensor->quantisation.count > 0;
    memset(bytes, has_zero_point ? (uint8_t)tensor->quantisation.zero_point[0] : 0, tensor->size);
}

void systole_interpreter_reset_variables(struct systole_interpreter *interpreter) {
    for (uint32_t t = 0; t < interpreter->graph->tensor_count; t++) {
        if (interpreter->graph->tensors[t].is_variable && interpreter->tensors[t] != NULL &&
            interpreter->graph->tensors[t].data == NULL) {
            reset_variable(&interpreter->graph->tensors[t], interpreter->tensors[t]);
        }
    }
}

static uint8_t *tensor_memory(struct systole_interpreter *interpreter, int32_t tensor) {
    if (tensor < 0 || (uint32_t)tensor >= interpreter->graph->tensor_count) {
        return NULL;
    }
    uint8_t **bytes = &interpreter->tensors[tensor];
    if (*bytes == NULL) {
        const struct systole_tensor *t = &interpreter->graph->tensors[tensor];
        *bytes = systole_aligned_alloc(t->size + SLACK);
        interpreter->owned[tensor] = interpreter->home[tensor] = *bytes;
        if (*bytes != NULL && t->is_variable) {
            reset_variable(t, *bytes);
        }
    }
    return *bytes;
}

static bool is_end(const struct systole_graph *graph, int32_t tensor) {
    bool found = false;
    for (uint32_t i = 0; i < graph->input_count; i++) {
        found = found || graph->inputs[i] == tensor;
    }
    for (uint32_t i = 0; i < graph->output_count; i++) {
        found = found || graph->outputs[i] == tensor;
    }
    return found;
}

uint8_t *systole_interpreter_tensor(struct systole_interpreter *interpreter, int32_t tensor) {
    if (tensor < 0 || (uint32_t)tensor >= interpreter->graph->tensor_count) {
        return NULL;
    }
    if (!interpreter->options.share_memory) {
        return tensor_memory(interpreter, tensor);
    }
    bool is_kept = interpreter->constants[tensor] != NULL || is_end(interpreter->graph, tensor);
    return is_kept ? interpreter->tensors[tensor] : NULL;
}

void systole_interpreter_bind(struct systole_interpreter *interpreter, int32_t tensor, uint8_t *bytes) {
    interpreter->tensors[tensor] = bytes != NULL ? bytes : interpreter->home[tensor];
}

static enum systole_status no_memory(const struct systole_graph *graph, struct systole_diagnostic *diagnostic) {
    return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, graph->name, "", "no memory for the model's tensors");
}

// No output of an operator may be a constant or one of its own inputs. Without shared memory its tensors are allocated.
static enum systole_status bind_tensors(struct systole_interpreter *interpreter, const struct systole_kernel_call *call,
                                        struct systole_diagnostic *diagnostic) {
    const struct systole_operator *op = call->op;
    bool is_shared = interpreter->options.share_memory;
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
        if (!is_shared && tensor_memory(interpreter, output) == NULL) {
            return no_memory(interpreter->graph, diagnostic);
        }
    }
    for (uint32_t i = 0; i < op->input_count; i++) {
        if (!is_shared && op->inputs[i] >= 0 && tensor_memory(interpreter, op->inputs[i]) == NULL) {
            return no_memory(interpreter->graph, diagnostic);
        }
    }
    return SYSTOLE_OK;
}

// A fast kernel instead of the prepared reference kernel, where there is one that takes the operator.
static enum systole_status prepare_fast(struct systole_interpreter *interpreter, uint32_t operator_index,
                                        struct systole_diagnostic *diagnostic) {
    const struct systole_kernel *kernel = systole_fast_kernel_find(interpreter->graph, operator_index);
    if (kernel == NULL) {
        return SYSTOLE_OK;
    }
    struct systole_kernel_call *call = &interpreter->calls[operator_index], fast = *call;
    fast.fast = &interpreter->fast;
    fast.state = NULL;
    enum systole_status status = kernel->prepare(&fast, diagnostic);
    if (status != SYSTOLE_OK) {
        systole_kernel_release(kernel, &fast);
        return status == SYSTOLE_UNSUPPORTED ? SYSTOLE_OK : status;
    }
    systole_kernel_release(interpreter->kernels[operator_index], call);
    interpreter->kernels[operator_index] = kernel;
    *call = fast;
    return SYSTOLE_OK;
}

// DEQUANTIZE of a constant; the result stays.
static enum systole_status fold(struct systole_interpreter *interpreter, uint32_t operator_index,
                                struct systole_diagnostic *diagnostic) {
    struct systole_kernel_call *call = &interpreter->calls[operator_index];
    int32_t input = call->op->inputs[0], output = call->op->outputs[0];
    if (call->op->code != SYSTOLE_OP_DEQUANTIZE || interpreter->constants[input] == NULL ||
        is_end(interpreter->graph, output)) {
        return SYSTOLE_OK;
    }
    if (tensor_memory(interpreter, output) == NULL) {
        return no_memory(interpreter->graph, diagnostic);
    }
    enum systole_status status = interpreter->kernels[operator_index]->run(call, diagnostic);
    interpreter->constants[output] = interpreter->tensors[output];
    interpreter->is_folded[operator_index] = status == SYSTOLE_OK;
    return status;
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
    if (status == SYSTOLE_OK) {
        status = bind_tensors(interpreter, call, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = fold(interpreter, operator_index, diagnostic);
    }
    if (status == SYSTOLE_OK && interpreter->fast.micro != NULL && !interpreter->is_folded[operator_index]) {
        status = prepare_fast(interpreter, operator_index, diagnostic);
    }
    return status;
}

static void extend_life(struct systole_arena_item *item, bool *is_used, uint32_t step) {
    item->first = *is_used && item->first < step ? item->first : step;
    item->last = *is_used && item->last > step ? item->last : step;
    *is_used = true;
}

// A tensor lives from the operator that writes it to the last that reads it; the model's inputs and outputs, variables,
// and what nobody here writes, always.
static void plan_lives(const struct systole_interpreter *interpreter, struct systole_arena_item *items, bool *is_used) {
    const struct systole_graph *graph = interpreter->graph;
    for (uint32_t o = 0; o < graph->operator_count; o++) {
        const struct systole_operator *op = &graph->operators[o];
        bool runs = interpreter->kernels[o] != NULL && !interpreter->is_folded[o];
        for (uint32_t i = 0; runs && i < op->output_count; i++) {
            if (op->outputs[i] >= 0) {
                extend_life(&items[op->outputs[i]], &is_used[op->outputs[i]], o);
            }
        }
        for (uint32_t i = 0; runs && i < op->input_count; i++) {
            int32_t t = op->inputs[i];
            if (t >= 0 && !is_used[t]) {
                extend_life(&items[t], &is_used[t], 0);
                extend_life(&items[t], &is_used[t], graph->operator_count);
            } else if (t >= 0) {
                extend_life(&items[t], &is_used[t], o);
            }
        }
    }
    for (uint32_t t = 0; t < graph->tensor_count; t++) {
        if (is_end(graph, (int32_t)t) || (is_used[t] && graph->tensors[t].is_variable)) {
            extend_life(&items[t], &is_used[t], 0);
            extend_life(&items[t], &is_used[t], graph->operator_count);
        }
        items[t].size = is_used[t] && interpreter->tensors[t] == NULL ? graph->tensors[t].size + SLACK : 0;
    }
}

static enum systole_status share_memory(struct systole_interpreter *interpreter,
                                        struct systole_diagnostic *diagnostic) {
    const struct systole_graph *graph = interpreter->graph;
    struct systole_arena_item *items = calloc((size_t)graph->tensor_count + 1, sizeof *items);
    bool *is_used = calloc((size_t)graph->tensor_count + 1, sizeof *is_used);
    enum systole_status status = SYSTOLE_OK;
    if (items == NULL || is_used == NULL) {
        status = no_memory(graph, diagnostic);
        goto out;
    }
    plan_lives(interpreter, items, is_used);
    if (systole_arena_plan(items, graph->tensor_count, SLACK, &interpreter->arena_size)) {
        interpreter->arena = systole_aligned_alloc(interpreter->arena_size);
    }
    if (interpreter->arena == NULL) {
        status = no_memory(graph, diagnostic);
        goto out;
    }
    for (uint32_t t = 0; t < graph->tensor_count; t++) {
        if (items[t].size > 0) {
            interpreter->tensors[t] = interpreter->home[t] = interpreter->arena + items[t].offset;
            if (graph->tensors[t].is_variable) {
                reset_variable(&graph->tensors[t], interpreter->tensors[t]);
            }
        }
    }
out:
    free(is_used);
    free(items);
    return status;
}

static enum systole_status allocate(struct systole_interpreter *made, struct systole_diagnostic *diagnostic) {
    const struct systole_graph *graph = made->graph;
    if (made->options.share_memory) {
        return share_memory(made, diagnostic);
    }
    for (uint32_t i = 0; i < graph->input_count + graph->output_count; i++) {
        int32_t tensor = i < graph->input_count ? graph->inputs[i] : graph->outputs[i - graph->input_count];
        if (tensor_memory(made, tensor) == NULL) {
            return no_memory(graph, diagnostic);
        }
    }
    return SYSTOLE_OK;
}

static enum systole_status begin_fast(struct systole_interpreter *made, struct systole_diagnostic *diagnostic) {
    enum systole_status status = systole_kernel_level_resolve(&made->options.kernels, diagnostic);
    if (status != SYSTOLE_OK || made->options.kernels == SYSTOLE_KERNELS_REFERENCE) {
        return status;
    }
    made->fast.pool = systole_thread_pool_create(made->options.threads);
    if (made->fast.pool == NULL) {
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, made->graph->name, "take fewer threads",
                            "%u threads cannot be made", made->options.threads);
    }
    made->fast.threads = systole_thread_pool_threads(made->fast.pool);
    made->fast.constants = made->constants;
    made->fast.micro = systole_kernel_level_microkernels(made->options.kernels);
    return SYSTOLE_OK;
}

enum systole_status systole_interpreter_create(const struct systole_graph *graph, const bool *run,
                                               struct systole_interpreter **interpreter,
                                               struct systole_diagnostic *diagnostic) {
    return systole_interpreter_create_with(graph, run, NULL, interpreter, diagnostic);
}

enum systole_status systole_interpreter_create_with(const struct systole_graph *graph, const bool *run,
                                                    const struct systole_interpreter_options *options,
                                                    struct systole_interpreter **interpreter,
                                                    struct systole_diagnostic *diagnostic) {
    *interpreter = NULL;
    struct systole_interpreter *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return no_memory(graph, diagnostic);
    }
    made->graph = graph;
    if (options != NULL) {
        made->options = *options;
    }
    made->kernels = calloc((size_t)graph->operator_count + 1, sizeof(const struct systole_kernel *));
    made->calls = calloc((size_t)graph->operator_count + 1, sizeof *made->calls);
    made->tensors = calloc((size_t)graph->tensor_count + 1, sizeof *made->tensors);
    made->owned = calloc((size_t)graph->tensor_count + 1, sizeof *made->owned);
    made->home = calloc((size_t)graph->tensor_count + 1, sizeof *made->home);
    made->constants = calloc((size_t)graph->tensor_count + 1, sizeof *made->constants);
    made->is_folded = calloc((size_t)graph->operator_count + 1, sizeof *made->is_folded);
    made->seconds = calloc((size_t)graph->operator_count + 1, sizeof *made->seconds);
    enum systole_status status = SYSTOLE_OK;
    if (made->kernels == NULL || made->calls == NULL || made->tensors == NULL || made->owned == NULL ||
        made->home == NULL || made->constants == NULL || made->is_folded == NULL || made->seconds == NULL) {
        status = no_memory(graph, diagnostic);
        goto out;
    }
    for (uint32_t t = 0; t < graph->tensor_count; t++) {
        made->tensors[t] = made->constants[t] = graph->tensors[t].data;
    }
    status = begin_fast(made, diagnostic);
    for (uint32_t i = 0; status == SYSTOLE_OK && i < graph->operator_count; i++) {
        made->calls[i] = (struct systole_kernel_call){
            .graph = graph, .op = &graph->operators[i], .operator_index = i, .tensors = made->tensors};
        if (run == NULL || run[i]) {
            status = prepare_operator(made, i, diagnostic);
        }
    }
    if (status == SYSTOLE_OK) {
        status = allocate(made, diagnostic);
    }
    if (status == SYSTOLE_OK && made->fast.scratch_size > 0) {
        made->fast.scratch = systole_aligned_alloc(made->fast.scratch_size);
        status = made->fast.scratch == NULL ? no_memory(graph, diagnostic) : SYSTOLE_OK;
    }
    if (status != SYSTOLE_OK) {
        goto out;
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
    free(interpreter->fast.scratch);
    free(interpreter->arena);
    systole_thread_pool_free(interpreter->fast.pool);
    free(interpreter->seconds);
    free(interpreter->is_folded);
    free(interpreter->constants);
    free(interpreter->home);
    free(interpreter->owned);
    free(interpreter->tensors);
    free(interpreter->calls);
    free(interpreter->kernels);
    free(interpreter);
}

static double now(void) {
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1.0e-9 * (double)time.tv_nsec;
}

bool systole_interpreter_operator_time(const struct systole_interpreter *interpreter, uint32_t operator_index,
                                       double *seconds, bool *is_fast) {
    if (operator_index >= interpreter->graph->operator_count || interpreter->kernels[operator_index] == NULL) {
        return false;
    }
    *seconds = interpreter->seconds[operator_index];
    *is_fast = interpreter->calls[operator_index].fast != NULL || interpreter->is_folded[operator_index];
    return true;
}

enum systole_kernel_level systole_interpreter_kernels(const struct systole_interpreter *interpreter) {
    return interpreter->options.kernels;
}

size_t systole_interpreter_arena_size(const struct systole_interpreter *interpreter) {
    return interpreter->arena_size;
}

enum systole_status systole_interpreter_run_operator(struct systole_interpreter *interpreter, uint32_t operator_index,
                                                     struct systole_diagnostic *diagnostic) {
    if (operator_index >= interpreter->graph->operator_count || interpreter->kernels[operator_index] == NULL) {
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, interpreter->graph->name, "",
                            "operator %u does not run on the CPU here", operator_index);
    }
    if (interpreter->is_folded[operator_index]) {
        return SYSTOLE_OK;
    }
    double start = interpreter->options.measure ? now() : 0.0;
    enum systole_status status =
        interpreter->kernels[operator_index]->run(&interpreter->calls[operator_index], diagnostic);
    interpreter->seconds[operator_index] = interpreter->options.measure ? now() - start : 0.0;
    return status;
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
