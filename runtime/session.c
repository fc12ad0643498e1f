// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A session is an interpreter for the operators that stay on the CPU, and the segments that run on the device. Dense
// tensors on the host are the interpreter's; an invocation goes through the program's steps, and every step leaves its
// outputs there.
#include <stdlib.h>
#include <string.h>

#include "session_state.h"
#include "target.h"

enum { POLL_MS = 10 };

// Whether a constant that the operator reads was left out of the file.
static bool lacks_constant(const struct systole_graph *graph, const bool *computed, uint32_t operator_index) {
    const struct systole_operator *op = &graph->operators[operator_index];
    for (uint32_t i = 0; i < op->input_count; i++) {
        int32_t t = op->inputs[i];
        if (t >= 0 && graph->tensors[t].data == NULL && !computed[t] && !graph->tensors[t].is_variable) {
            return true;
        }
    }
    return false;
}

// Tensors that are inputs of the graph or outputs of an operator. NULL: no memory.
static bool *computed_tensors(const struct systole_graph *graph) {
    bool *computed = calloc((size_t)graph->tensor_count + 1, sizeof *computed);
    if (computed == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < graph->input_count; i++) {
        computed[graph->inputs[i]] = true;
    }
    for (uint32_t o = 0; o < graph->operator_count; o++) {
        for (uint32_t i = 0; i < graph->operators[o].output_count; i++) {
            if (graph->operators[o].outputs[i] >= 0) {
                computed[graph->operators[o].outputs[i]] = true;
            }
        }
    }
    return computed;
}

// Operators marked in `run` (NULL: all) must have their constants.
static enum systole_status check_constants(const struct systole_graph *graph, const bool *run,
                                           struct systole_diagnostic *diagnostic) {
    bool *computed = computed_tensors(graph);
    if (computed == NULL) {
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, graph->name, "", "no memory for a session");
    }
    enum systole_status status = SYSTOLE_OK;
    for (uint32_t o = 0; o < graph->operator_count && status == SYSTOLE_OK; o++) {
        if ((run == NULL || run[o]) && lacks_constant(graph, computed, o)) {
            status = systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, graph->name, "give the model itself",
                                  "operator %u %s would run on the CPU, but the program does not hold its constants", o,
                                  systole_operator_name(graph->operators[o].code));
        }
    }
    free(computed);
    return status;
}

// The model a program was made from and a graph given beside it must be the same but for constants' data.
static enum systole_status check_same_model(const struct systole_graph *a, const struct systole_graph *b,
                                            struct systole_diagnostic *diagnostic) {
    bool same = a->tensor_count == b->tensor_count && a->operator_count == b->operator_count &&
                a->input_count == b->input_count && a->output_count == b->output_count;
    for (uint32_t t = 0; same && t < a->tensor_count; t++) {
        same = a->tensors[t].dtype == b->tensors[t].dtype && a->tensors[t].size == b->tensors[t].size;
    }
    for (uint32_t o = 0; same && o < a->operator_count; o++) {
        same = a->operators[o].code == b->operators[o].code;
    }
    same = same && memcmp(a->inputs, b->inputs, a->input_count * sizeof *a->inputs) == 0 &&
           memcmp(a->outputs, b->outputs, a->output_count * sizeof *a->outputs) == 0;
    return same ? SYSTOLE_OK
                : systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, b->name, "give the model that the program was made of",
                               "the program was compiled from another model");
}

static enum systole_status check_inputs(const struct systole_graph *graph, struct systole_diagnostic *diagnostic) {
    for (uint32_t i = 0; i < graph->input_count; i++) {
        if (graph->inputs[i] < 0 || graph->tensors[graph->inputs[i]].data != NULL) {
            return systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, graph->name, "", "input %u of the model is a constant",
                                i);
        }
    }
    return SYSTOLE_OK;
}

// Marks the operators that steps leave to the CPU.
static enum systole_status read_steps(const struct systole_program *program, const struct systole_graph *graph,
                                      bool *run, struct systole_diagnostic *diagnostic) {
    if (program->operator_count != graph->operator_count) {
        return systole_fail(diagnostic, SYSTOLE_BAD_FILE, program->model_name, "compile the model again",
                            "the program tells of %u operators, its model has %u", program->operator_count,
                            graph->operator_count);
    }
    for (uint32_t i = 0; i < program->step_count; i++) {
        const struct systole_step *step = &program->steps[i];
        bool on_device = step->place == SYSTOLE_PLACE_DEVICE;
        if (step->index >= (on_device ? program->segment_count : graph->operator_count)) {
            return systole_fail(diagnostic, SYSTOLE_BAD_FILE, program->model_name, "compile the model again",
                                "step %u names %s %u, which does not exist", i, on_device ? "segment" : "operator",
                                step->index);
        }
        if (!on_device) {
            run[step->index] = true;
        }
    }
    return SYSTOLE_OK;
}

// Which tensors have bytes on the host once everything has run.
static void mark_host_tensors(struct systole_session *session, const bool *run) {
    const struct systole_graph *graph = session->graph;
    for (uint32_t t = 0; t < graph->tensor_count; t++) {
        session->on_host[t] = graph->tensors[t].data != NULL;
    }
    for (uint32_t i = 0; i < graph->input_count; i++) {
        session->on_host[graph->inputs[i]] = true;
    }
    for (uint32_t o = 0; o < graph->operator_count; o++) {
        for (uint32_t i = 0; (run == NULL || run[o]) && i < graph->operators[o].output_count; i++) {
            if (graph->operators[o].outputs[i] >= 0) {
                session->on_host[graph->operators[o].outputs[i]] = true;
            }
        }
    }
    for (uint32_t s = 0; session->segments != NULL && s < session->program->segment_count; s++) {
        const struct systole_segment *segment = session->segments[s].segment;
        for (uint32_t i = 0; i < segment->output_count; i++) {
            session->on_host[segment->outputs[i].tensor_index] = true;
        }
    }
}

// Device cycles between two readings; a device that was reset or does not answer tells nothing.
static uint64_t elapsed(uint64_t before, uint64_t after) {
    return after > before ? after - before : 0;
}

static struct systole_interpreter_options interpreter_options(const struct systole_session *session) {
    return (struct systole_interpreter_options){
        .kernels = session->options.kernels, .threads = session->options.threads, .measure = session->options.measure};
}

static enum systole_status create_on_cpu(struct systole_session *session, struct systole_diagnostic *diagnostic) {
    enum systole_status status = check_constants(session->graph, NULL, diagnostic);
    if (status == SYSTOLE_OK) {
        struct systole_interpreter_options options = interpreter_options(session);
        options.share_memory = options.kernels != SYSTOLE_KERNELS_REFERENCE && !session->options.keep_tensors;
        status = systole_interpreter_create_with(session->graph, NULL, &options, &session->interpreter, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        mark_host_tensors(session, NULL);
    }
    return status;
}

static enum systole_status check_device_target(const struct systole_session *session,
                                               struct systole_diagnostic *diagnostic) {
    uint64_t found = 0;
    uint32_t expected = systole_target_id(&session->program->target);
    enum systole_status status =
        systole_driver_read_register(session->options.driver, SYSTOLE_REGISTER_TARGET_ID, &found);
    if (status != SYSTOLE_OK) {
        return systole_fail(diagnostic, status, "register target_id", "reset the device", "the device does not answer");
    }
    if ((uint32_t)found != expected) {
        return systole_fail(diagnostic, SYSTOLE_DEVICE_MISMATCH, session->program->target.name,
                            "compile the model for the device's target",
                            "the program is for target %08x, the device is %08x", expected, (uint32_t)found);
    }
    return SYSTOLE_OK;
}

static enum systole_status create_on_device(struct systole_session *session, const struct systole_graph *given,
                                            struct systole_diagnostic *diagnostic) {
    const struct systole_graph *graph = session->graph;
    uint64_t before = 0;
    bool *run = calloc((size_t)graph->operator_count + 1, sizeof *run);
    if (run == NULL) {
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, graph->name, "", "no memory for a session");
    }
    systole_driver_hold(session->options.driver);
    enum systole_status status = systole_driver_claim(session->options.driver, diagnostic);
    if (status == SYSTOLE_OK) {
        status = read_steps(session->program, graph, run, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = check_constants(graph, run, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        const struct systole_interpreter_options options = interpreter_options(session);
        status = systole_interpreter_create_with(graph, run, &options, &session->interpreter, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = check_device_target(session, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        before = session_device_cycle(session);
        status = session_segments_create(session, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        session->cycles.cold = elapsed(before, session_device_cycle(session)); // the first invocation adds its own
        mark_host_tensors(session, run);
        session->cycles.operator_count = graph->operator_count;
    }
    if (status == SYSTOLE_OK && session->options.verify) {
        const struct systole_graph *complete = given != NULL ? given : graph;
        status = check_constants(complete, NULL, diagnostic);
        if (status == SYSTOLE_OK) {
            status = session_verification_create(session, complete, diagnostic);
        }
    }
    systole_driver_let_go(session->options.driver);
    free(run);
    return status;
}

enum systole_status systole_session_create(const struct systole_graph *graph, const struct systole_program *program,
                                           const struct systole_session_options *options,
                                           struct systole_session **session, struct systole_diagnostic *diagnostic) {
    *session = NULL;
    if (graph == NULL && program == NULL) {
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, "", "", "a session needs a model or a program");
    }
    struct systole_session *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, "", "", "no memory for a session");
    }
    if (options != NULL) {
        made->options = *options;
    }
    enum systole_status status = SYSTOLE_OK;
    made->graph = graph;
    if (program != NULL) {
        status = systole_graph_read(program->model, program->model_size, program->model_name, &made->own, diagnostic);
        if (status == SYSTOLE_OK && graph != NULL) {
            status = check_same_model(&made->own, graph, diagnostic);
        }
        if (made->options.driver != NULL) {
            made->program = program;
            made->graph = &made->own;
        } else if (graph == NULL) {
            made->graph = &made->own;
        }
    }
    if (status == SYSTOLE_OK) {
        status = check_inputs(made->graph, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        made->on_host = calloc((size_t)made->graph->tensor_count + 1, sizeof *made->on_host);
        status = made->on_host == NULL
                     ? systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, made->graph->name, "", "no memory for a session")
                 : made->program != NULL ? create_on_device(made, graph, diagnostic)
                                         : create_on_cpu(made, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        systole_session_free(made);
        return status;
    }
    *session = made;
    return SYSTOLE_OK;
}

void systole_session_free(struct systole_session *session) {
    if (session == NULL) {
        return;
    }
    session_verification_free(session);
    session_segments_free(session);
    session_cycles_clear(&session->cycles);
    free(session->on_host);
    systole_interpreter_free(session->interpreter);
    systole_graph_free(&session->own);
    free(session);
}

const struct systole_graph *systole_session_graph(const struct systole_session *session) {
    return session->graph;
}

const uint8_t *systole_session_tensor(struct systole_session *session, int32_t tensor, size_t *size) {
    *size = 0;
    if (tensor < 0 || (uint32_t)tensor >= session->graph->tensor_count || !session->on_host[tensor]) {
        return NULL;
    }
    const uint8_t *bytes = systole_interpreter_tensor(session->interpreter, tensor);
    *size = bytes != NULL ? session->graph->tensors[tensor].size : 0;
    return bytes;
}

bool systole_session_operator_time(const struct systole_session *session, uint32_t operator_index, double *seconds,
                                   bool *is_fast) {
    return systole_interpreter_operator_time(session->interpreter, operator_index, seconds, is_fast);
}

enum systole_kernel_level systole_session_kernels(const struct systole_session *session) {
    return systole_interpreter_kernels(session->interpreter);
}

size_t systole_session_arena_size(const struct systole_session *session) {
    return systole_interpreter_arena_size(session->interpreter);
}

uint8_t *systole_session_input(struct systole_session *session, uint32_t input, size_t *size) {
    *size = 0;
    if (input >= session->graph->input_count) {
        return NULL;
    }
    *size = session->graph->tensors[session->graph->inputs[input]].size;
    return systole_interpreter_tensor(session->interpreter, session->graph->inputs[input]);
}

const uint8_t *systole_session_output(struct systole_session *session, uint32_t output, size_t *size) {
    *size = 0;
    if (output >= session->graph->output_count) {
        return NULL;
    }
    *size = session->graph->tensors[session->graph->outputs[output]].size;
    return systole_interpreter_tensor(session->interpreter, session->graph->outputs[output]);
}

const struct systole_session_cycles *systole_session_cycles(const struct systole_session *session) {
    return &session->cycles;
}

// ---- Invocations.

static void end_invocation(struct systole_session *session, enum systole_status status) {
    struct systole_session_cycles *cycles = &session->cycles;
    session->stage = SYSTOLE_SESSION_ENDED;
    if (session->program != NULL && !session->was_invoked && session->first_cycle == UINT64_MAX) {
        cycles->cold = 0; // others had the device meanwhile
        session->was_invoked = true;
    }
    if (session->program != NULL && !session->was_invoked) {
        cycles->cold =
            status == SYSTOLE_OK ? cycles->cold + elapsed(session->first_cycle, session_device_cycle(session)) : 0;
        session->was_invoked = true;
    }
    if (status == SYSTOLE_OK && session->verification != NULL) {
        status = session_verification_end(session, &session->diagnostic);
    }
    session->status = status;
    if (session->program != NULL) {
        systole_driver_let_go(session->options.driver);
    }
}

// The step at hand is done: the next one, or the end.
static void next_step(struct systole_session *session, enum systole_status status) {
    session->stage = SYSTOLE_SESSION_AT_CPU;
    if (status != SYSTOLE_OK || ++session->step == session->program->step_count) {
        end_invocation(session, status);
    }
}

static void segment_complete(struct systole_request *request) {
    struct systole_session *session = request->context;
    uint32_t segment = session->program->steps[session->step].index;
    enum systole_status status = session_segment_finish(session, segment);
    if (status == SYSTOLE_OK && session->verification != NULL) {
        session_verification_outputs(session, segment);
    }
    next_step(session, status);
    if (session->options.stepped != NULL) {
        session->options.stepped(session->options.context);
    }
}

void systole_session_begin(struct systole_session *session) {
    enum systole_status status = SYSTOLE_OK;
    memset(&session->diagnostic, 0, sizeof session->diagnostic);
    session->step = 0;
    session->stage = SYSTOLE_SESSION_AT_CPU;
    if (session->program == NULL) {
        return;
    }
    systole_driver_hold(session->options.driver); // all segments in one go
    session_cycles_begin(session);
    if (session->verification != NULL) {
        status = session_verification_begin(session, &session->diagnostic);
    }
    session->first_cycle = session->was_invoked                                  ? 0
                           : systole_driver_is_released(session->options.driver) ? UINT64_MAX
                                                                                 : session_device_cycle(session);
    if (status != SYSTOLE_OK || session->program->step_count == 0) {
        end_invocation(session, status);
    }
}

void systole_session_reset_states(struct systole_session *session) {
    systole_interpreter_reset_variables(session->interpreter);
}

bool systole_session_wants_device(const struct systole_session *session) {
    return session->stage == SYSTOLE_SESSION_AT_CPU && session->program != NULL &&
           session->program->steps[session->step].place == SYSTOLE_PLACE_DEVICE;
}

void systole_session_advance(struct systole_session *session) {
    if (session->stage == SYSTOLE_SESSION_AT_CPU && session->program == NULL) {
        end_invocation(session, systole_interpreter_run(session->interpreter, &session->diagnostic));
    }
    while (session->stage == SYSTOLE_SESSION_AT_CPU) {
        const struct systole_step *step = &session->program->steps[session->step];
        if (step->place != SYSTOLE_PLACE_DEVICE) {
            next_step(session,
                      systole_interpreter_run_operator(session->interpreter, step->index, &session->diagnostic));
            continue;
        }
        if (session->verification != NULL) {
            session_verification_watch(session, step->index);
        }
        session->stage = SYSTOLE_SESSION_AT_DEVICE;
        enum systole_status status = session_segment_submit(session, step->index, segment_complete);
        if (status != SYSTOLE_OK) {
            next_step(session, status);
        }
    }
}

void systole_session_cancel(struct systole_session *session) {
    if (session->stage == SYSTOLE_SESSION_AT_DEVICE) { // its completion ends the invocation
        uint32_t segment = session->program->steps[session->step].index;
        (void)systole_driver_cancel(session->options.driver, &session->segments[segment].request);
    }
    if (session->stage == SYSTOLE_SESSION_AT_CPU) {
        end_invocation(session, systole_fail(&session->diagnostic, SYSTOLE_CANCELLED, session->graph->name, "",
                                             "cancelled by the caller"));
    }
}

enum systole_session_stage systole_session_stage(const struct systole_session *session) {
    return session->stage;
}

enum systole_status systole_session_end(struct systole_session *session, struct systole_diagnostic *diagnostic) {
    if (session->status != SYSTOLE_OK && diagnostic != NULL) {
        *diagnostic = session->diagnostic;
    }
    return session->status;
}

enum systole_status systole_session_invoke(struct systole_session *session, struct systole_diagnostic *diagnostic) {
    systole_session_begin(session);
    while (session->stage != SYSTOLE_SESSION_ENDED) {
        if (session->stage == SYSTOLE_SESSION_AT_CPU) {
            systole_session_advance(session);
        } else {
            (void)systole_driver_poll(session->options.driver, POLL_MS);
        }
    }
    return systole_session_end(session, diagnostic);
}

// ---- The caller's memory.

static bool is_computed_or_input(const struct systole_graph *graph, int32_t tensor) {
    return graph->tensors[tensor].data == NULL && !graph->tensors[tensor].is_variable;
}

// Fast kernels read some bytes beyond a tensor's end, so what they read must lie in the interpreter's memory.
static bool is_read_by_fast_kernels(const struct systole_session *session, int32_t tensor) {
    const struct systole_graph *graph = session->graph;
    bool is_read = false;
    if (session->options.kernels == SYSTOLE_KERNELS_REFERENCE) {
        return false;
    }
    uint32_t steps = session->program == NULL ? graph->operator_count : session->program->step_count;
    for (uint32_t s = 0; s < steps && !is_read; s++) {
        uint32_t o = session->program == NULL ? s : session->program->steps[s].index;
        bool cpu = session->program == NULL || session->program->steps[s].place != SYSTOLE_PLACE_DEVICE;
        for (uint32_t i = 0; cpu && i < graph->operators[o].input_count; i++) {
            is_read = is_read || graph->operators[o].inputs[i] == tensor;
        }
    }
    return is_read;
}

bool systole_session_bind_input(struct systole_session *session, uint32_t input, uint8_t *bytes) {
    const struct systole_graph *graph = session->graph;
    if (input >= graph->input_count || !is_computed_or_input(graph, graph->inputs[input]) ||
        is_read_by_fast_kernels(session, graph->inputs[input])) {
        return false;
    }
    for (uint32_t i = 0; i < input; i++) {
        if (graph->inputs[i] == graph->inputs[input]) {
            return false;
        }
    }
    systole_interpreter_bind(session->interpreter, graph->inputs[input], bytes);
    return true;
}

bool systole_session_bind_output(struct systole_session *session, uint32_t output, uint8_t *bytes) {
    const struct systole_graph *graph = session->graph;
    if (output >= graph->output_count || !is_computed_or_input(graph, graph->outputs[output]) ||
        is_read_by_fast_kernels(session, graph->outputs[output])) {
        return false;
    }
    for (uint32_t i = 0; i < graph->input_count; i++) {
        if (graph->inputs[i] == graph->outputs[output]) {
            return false;
        }
    }
    for (uint32_t i = 0; i < output; i++) {
        if (graph->outputs[i] == graph->outputs[output]) {
            return false;
        }
    }
    systole_interpreter_bind(session->interpreter, graph->outputs[output], bytes);
    return true;
}
