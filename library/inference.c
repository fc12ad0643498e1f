// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Inferences of the public interface. Each is a session that goes on in steps. What the device does, the driver's poll
// brings on; what is the CPU's to do, and callbacks, wait in a list of the device's, so that they only ever run where
// the interface says they do.
#include <stdlib.h>
#include <string.h>

#include "library_state.h"

enum { POLL_MS = 10 };

static void wait_in_list(struct systole_inference *inference) {
    struct systole_device *device = inference->model->device;
    if (inference->is_waiting) {
        return;
    }
    inference->is_waiting = true;
    inference->next = NULL;
    if (device->waiting_first == NULL) {
        device->waiting_first = inference;
    } else {
        device->waiting_last->next = inference;
    }
    device->waiting_last = inference;
}

static void leave_list(struct systole_inference *inference) {
    struct systole_device *device = inference->model->device;
    struct systole_inference *previous = NULL, *at = device->waiting_first;
    while (at != NULL && at != inference) {
        previous = at;
        at = at->next;
    }
    if (at == NULL) {
        return;
    }
    *(previous == NULL ? &device->waiting_first : &previous->next) = at->next;
    if (device->waiting_last == at) {
        device->waiting_last = previous;
    }
    at->is_waiting = false;
}

static void stepped(void *context) {
    wait_in_list(context);
}

// ---- Life.

static const struct systole_graph *graph_of(const struct systole_inference *inference) {
    return &inference->model->graph;
}

enum systole_status systole_inference_create(struct systole_model *model, struct systole_inference **inference,
                                             struct systole_diagnostic *diagnostic) {
    const struct systole_graph *graph = &model->graph;
    *inference = NULL;
    struct systole_inference *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, graph->name, "", "no memory for an inference");
    }
    made->model = model;
    model->references++;
    made->given_inputs = calloc((size_t)graph->input_count + 1, sizeof(uint8_t *));
    made->given_outputs = calloc((size_t)graph->output_count + 1, sizeof(uint8_t *));
    enum systole_status status = SYSTOLE_OK;
    if (made->given_inputs == NULL || made->given_outputs == NULL) {
        status = systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, graph->name, "", "no memory for an inference");
    } else {
        bool cpu = model->loaded == NULL;
        struct systole_session_options options = {.driver = model->device->driver,
                                                  .kernels = model->device->kernels,
                                                  .threads = model->device->threads,
                                                  .lender = model->loaded,
                                                  .stepped = stepped,
                                                  .context = made};
        status = systole_session_create(cpu ? graph : NULL, cpu ? NULL : &model->program, &options, &made->session,
                                        diagnostic);
    }
    if (status != SYSTOLE_OK) {
        systole_inference_free(made);
        return status;
    }
    *inference = made;
    return SYSTOLE_OK;
}

void systole_inference_free(struct systole_inference *inference) {
    if (inference == NULL) {
        return;
    }
    if (inference->in_flight) {
        systole_session_cancel(inference->session);
    }
    leave_list(inference);
    systole_session_free(inference->session);
    free(inference->given_outputs);
    free(inference->given_inputs);
    model_release(inference->model);
    free(inference);
}

// ---- Inputs and outputs.

enum systole_status systole_inference_set_input(struct systole_inference *inference, uint32_t index, const void *bytes,
                                                size_t size) {
    const struct systole_graph *graph = graph_of(inference);
    if (inference->in_flight || index >= graph->input_count ||
        (bytes != NULL && size != graph->tensors[graph->inputs[index]].size)) {
        return SYSTOLE_BAD_ARGUMENT;
    }
    // Inputs are only read, in place.
    uint8_t *in_place = (uint8_t *)(uintptr_t)bytes;
    bool bound = systole_session_bind_input(inference->session, index, in_place);
    inference->given_inputs[index] = bound ? NULL : in_place;
    return SYSTOLE_OK;
}

enum systole_status systole_inference_set_output(struct systole_inference *inference, uint32_t index, void *bytes,
                                                 size_t size) {
    const struct systole_graph *graph = graph_of(inference);
    if (inference->in_flight || index >= graph->output_count ||
        (bytes != NULL && size != graph->tensors[graph->outputs[index]].size)) {
        return SYSTOLE_BAD_ARGUMENT;
    }
    bool bound = systole_session_bind_output(inference->session, index, bytes);
    inference->given_outputs[index] = bound ? NULL : bytes;
    return SYSTOLE_OK;
}

void *systole_inference_input(struct systole_inference *inference, uint32_t index, size_t *size) {
    uint8_t *bytes = systole_session_input(inference->session, index, size);
    return bytes != NULL && inference->given_inputs[index] != NULL ? inference->given_inputs[index] : bytes;
}

const void *systole_inference_output(struct systole_inference *inference, uint32_t index, size_t *size) {
    const uint8_t *bytes = systole_session_output(inference->session, index, size);
    return bytes != NULL && inference->given_outputs[index] != NULL ? inference->given_outputs[index] : bytes;
}

// What could not be bound is copied before and after a run.
static void copy_inputs(struct systole_inference *inference) {
    for (uint32_t i = 0; i < graph_of(inference)->input_count; i++) {
        size_t size = 0;
        uint8_t *bytes = systole_session_input(inference->session, i, &size);
        if (inference->given_inputs[i] != NULL) {
            memcpy(bytes, inference->given_inputs[i], size);
        }
    }
}

static void copy_outputs(struct systole_inference *inference) {
    for (uint32_t i = 0; i < graph_of(inference)->output_count; i++) {
        size_t size = 0;
        const uint8_t *bytes = systole_session_output(inference->session, i, &size);
        if (inference->given_outputs[i] != NULL) {
            memcpy(inference->given_outputs[i], bytes, size);
        }
    }
}

// ---- Runs.

static void tell(struct systole_inference *inference) {
    inference->status = systole_session_end(inference->session, &inference->diagnostic);
    inference->in_flight = false;
    if (inference->status == SYSTOLE_OK) {
        copy_outputs(inference);
    }
    if (inference->complete != NULL) {
        inference->complete(inference, inference->context); // may free it
    }
}

bool inferences_advance(struct systole_device *device, bool all) {
    bool told = false;
    uint32_t count = 0; // what callbacks add is for the next call
    for (const struct systole_inference *at = device->waiting_first; at != NULL; at = at->next) {
        count++;
    }
    while (count-- != 0 && device->waiting_first != NULL && (all || !told)) {
        struct systole_inference *inference = device->waiting_first;
        leave_list(inference);
        systole_session_advance(inference->session);
        if (systole_session_stage(inference->session) == SYSTOLE_SESSION_ENDED) {
            told = true;
            tell(inference);
        }
    }
    return told;
}

static enum systole_status begin(struct systole_inference *inference, struct systole_diagnostic *diagnostic) {
    if (inference->in_flight) {
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, graph_of(inference)->name,
                            "wait for it, or make another inference", "the inference is in flight already");
    }
    inference->in_flight = true;
    copy_inputs(inference);
    systole_session_begin(inference->session);
    if (systole_session_wants_device(inference->session)) {
        systole_session_advance(inference->session); // as far as the device
    }
    if (systole_session_stage(inference->session) != SYSTOLE_SESSION_AT_DEVICE) {
        wait_in_list(inference);
    }
    return SYSTOLE_OK;
}

enum systole_status systole_inference_submit(struct systole_inference *inference, systole_inference_complete complete,
                                             void *context, struct systole_diagnostic *diagnostic) {
    enum systole_status status = begin(inference, diagnostic);
    if (status == SYSTOLE_OK) {
        inference->complete = complete;
        inference->context = context;
    }
    return status;
}

enum systole_status systole_inference_invoke(struct systole_inference *inference,
                                             struct systole_diagnostic *diagnostic) {
    struct systole_device *device = inference->model->device;
    enum systole_status status = systole_inference_submit(inference, NULL, NULL, diagnostic);
    while (status == SYSTOLE_OK && inference->in_flight) {
        (void)systole_device_poll(device, POLL_MS);
    }
    return status == SYSTOLE_OK ? systole_inference_status(inference, diagnostic) : status;
}

bool systole_inference_in_flight(const struct systole_inference *inference) {
    return inference->in_flight;
}

void systole_inference_cancel(struct systole_inference *inference) {
    struct systole_device *device = inference->model->device;
    if (!inference->in_flight) {
        return;
    }
    device->references++;
    systole_session_cancel(inference->session); // others may have ended, too
    leave_list(inference);
    tell(inference);
    device_release(device);
}

enum systole_status systole_inference_status(const struct systole_inference *inference,
                                             struct systole_diagnostic *diagnostic) {
    if (inference->status != SYSTOLE_OK && diagnostic != NULL) {
        *diagnostic = inference->diagnostic;
    }
    return inference->status;
}

enum systole_status systole_inference_reset_states(struct systole_inference *inference) {
    if (inference->in_flight) {
        return SYSTOLE_BAD_ARGUMENT;
    }
    systole_session_reset_states(inference->session);
    return SYSTOLE_OK;
}

uint64_t systole_inference_cycles(const struct systole_inference *inference) {
    return systole_session_cycles(inference->session)->total;
}

enum systole_status systole_inference_operator_cycles(const struct systole_inference *inference, uint32_t index,
                                                      uint64_t *cycles) {
    const struct systole_session_cycles *all = systole_session_cycles(inference->session);
    if (index >= graph_of(inference)->operator_count) {
        return SYSTOLE_BAD_ARGUMENT;
    }
    if (all->operators == NULL) {
        return SYSTOLE_UNSUPPORTED;
    }
    *cycles = all->operators[index];
    return SYSTOLE_OK;
}
