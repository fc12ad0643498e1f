// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Device segments: resident from the session's beginning as far as the scratchpad holds them; where it does not, the
// others make room when one is needed.
#include <stdlib.h>
#include <string.h>

#include "session_state.h"

bool session_placement_fits(const struct systole_tensor *tensor, const struct systole_placement *placement,
                            uint32_t columns) {
    const struct systole_placement *p = placement;
    bool bytes = tensor->dtype == SYSTOLE_INT8 || tensor->dtype == SYSTOLE_UINT8 || tensor->dtype == SYSTOLE_BOOL;
    if (!bytes || p->height == 0 || p->width == 0 || p->channels == 0) {
        return false;
    }
    uint64_t row = (uint64_t)p->width * p->channels;
    const uint64_t limit = (uint64_t)1 << 28;
    if (row > tensor->size || row * p->height != tensor->size) {
        return false;
    }
    uint64_t tiles = (p->channels + columns - 1) / columns;
    uint64_t end = (uint64_t)(p->height - 1) * p->row_stride;
    if (p->layout == SYSTOLE_LAYOUT_PACKED) {
        end += (row + columns - 1) / columns;
    } else {
        end += (tiles - 1) * p->tile_stride + (uint64_t)(p->width - 1) * p->pixel_stride + 1;
    }
    return p->row_stride <= limit && p->tile_stride <= limit && p->pixel_stride <= limit && end <= limit;
}

// Buffers for the words of each tensor that crosses the segment's border, where the tensor's own bytes do not serve.
static enum systole_status make_words(const struct systole_session *session, const struct systole_segment_io *io,
                                      uint32_t count, uint8_t ***words, uint8_t ***given, size_t **sizes,
                                      struct systole_diagnostic *diagnostic) {
    const struct systole_graph *graph = session->graph;
    uint32_t columns = session->program->target.columns;
    *words = calloc((size_t)count + 1, sizeof **words);
    *given = calloc((size_t)count + 1, sizeof **given);
    *sizes = calloc((size_t)count + 1, sizeof **sizes);
    if (*words == NULL || *given == NULL || *sizes == NULL) {
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, graph->name, "", "no memory for a segment");
    }
    for (uint32_t i = 0; i < count; i++) {
        if (io[i].tensor_index < 0 || (uint32_t)io[i].tensor_index >= graph->tensor_count ||
            !session_placement_fits(&graph->tensors[io[i].tensor_index], &io[i].placement, columns)) {
            return systole_fail(diagnostic, SYSTOLE_BAD_FILE, session->program->model_name, "compile the model again",
                                "the program places tensor %d, which its model does not have in that shape",
                                io[i].tensor_index);
        }
        bool dense = systole_placement_is_dense(&io[i].placement, columns);
        (*sizes)[i] = dense ? graph->tensors[io[i].tensor_index].size
                            : (size_t)systole_placement_words(&io[i].placement, columns) * columns;
        (*words)[i] = dense ? NULL : calloc((*sizes)[i], 1);
        if ((!dense && (*words)[i] == NULL) ||
            systole_interpreter_tensor(session->interpreter, io[i].tensor_index) == NULL) {
            return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, graph->name, "", "no memory for tensor %d",
                                io[i].tensor_index);
        }
    }
    return SYSTOLE_OK;
}

static void free_words(uint8_t **words, uint8_t **given, size_t *sizes, uint32_t count) {
    for (uint32_t i = 0; words != NULL && i < count; i++) {
        free(words[i]);
    }
    free(words);
    free(given);
    free(sizes);
}

enum systole_status session_segments_create(struct systole_session *session, struct systole_diagnostic *diagnostic) {
    const struct systole_program *program = session->program;
    const struct systole_session *lender = session->options.lender;
    session->segments = calloc((size_t)program->segment_count + 1, sizeof *session->segments);
    if (session->segments == NULL) {
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, session->graph->name, "", "no memory for segments");
    }
    for (uint32_t s = 0; s < program->segment_count; s++) {
        session->segments[s].segment = &program->segments[s];
    }
    enum systole_status status = SYSTOLE_OK;
    for (uint32_t s = 0; s < program->segment_count && status == SYSTOLE_OK; s++) {
        struct session_segment *made = &session->segments[s];
        const struct systole_segment *segment = made->segment;
        status = make_words(session, segment->inputs, segment->input_count, &made->input_words, &made->inputs,
                            &made->input_bytes, diagnostic);
        if (status == SYSTOLE_OK) {
            status = make_words(session, segment->outputs, segment->output_count, &made->output_words, &made->outputs,
                                &made->output_bytes, diagnostic);
        }
    }
    for (uint32_t s = 0; s < program->segment_count && status == SYSTOLE_OK; s++) {
        struct session_segment *made = &session->segments[s];
        if (lender != NULL) {
            made->loaded = lender->segments[s].loaded;
        } else {
            status = systole_driver_load(session->options.driver, made->segment, &made->loaded, diagnostic);
            made->is_loaded = status == SYSTOLE_OK;
        }
    }
    return status;
}

void session_segments_free(struct systole_session *session) {
    for (uint32_t s = 0; session->segments != NULL && s < session->program->segment_count; s++) {
        struct session_segment *segment = &session->segments[s];
        if (segment->is_loaded) {
            systole_driver_unload(session->options.driver, segment->loaded);
        }
        systole_request_clear(&segment->request);
        free_words(segment->input_words, segment->inputs, segment->input_bytes, segment->segment->input_count);
        free_words(segment->output_words, segment->outputs, segment->output_bytes, segment->segment->output_count);
    }
    free(session->segments);
    session->segments = NULL;
}

uint64_t session_device_cycle(const struct systole_session *session) {
    uint64_t cycle = 0;
    if (systole_driver_read_register(session->options.driver, SYSTOLE_REGISTER_CYCLE, &cycle) != SYSTOLE_OK) {
        return 0;
    }
    return cycle;
}

// What the request is given: the words of their own, or the tensor's bytes, wherever those are now.
static void give(struct systole_session *session, const struct systole_segment_io *io, uint32_t count, uint8_t **words,
                 uint8_t **given) {
    for (uint32_t i = 0; i < count; i++) {
        given[i] = words[i] != NULL ? words[i] : systole_interpreter_tensor(session->interpreter, io[i].tensor_index);
    }
}

enum systole_status session_segment_submit(struct systole_session *session, uint32_t index,
                                           void (*complete)(struct systole_request *request)) {
    struct session_segment *segment = &session->segments[index];
    const struct systole_segment *s = segment->segment;
    uint32_t columns = session->program->target.columns;
    give(session, s->inputs, s->input_count, segment->input_words, segment->inputs);
    give(session, s->outputs, s->output_count, segment->output_words, segment->outputs);
    for (uint32_t i = 0; i < s->input_count; i++) {
        if (segment->input_words[i] != NULL) {
            systole_placement_pack(&s->inputs[i].placement, columns,
                                   systole_interpreter_tensor(session->interpreter, s->inputs[i].tensor_index),
                                   segment->input_words[i]);
        }
    }
    systole_request_clear(&segment->request);
    segment->request = (struct systole_request){
        .inputs = (const uint8_t *const *)segment->inputs,
        .outputs = segment->outputs,
        .input_bytes = segment->input_bytes,
        .output_bytes = segment->output_bytes,
        .complete = complete,
        .context = session,
    };
    enum systole_status status = systole_driver_submit(session->options.driver, segment->loaded, &segment->request);
    return status == SYSTOLE_OK
               ? status
               : systole_fail(&session->diagnostic, status, session->program->model_name, "reset the device",
                              "segment %u could not be submitted: %s", index, systole_status_name(status));
}

enum systole_status session_segment_finish(struct systole_session *session, uint32_t index) {
    struct session_segment *segment = &session->segments[index];
    const struct systole_segment *s = segment->segment;
    if (segment->request.status != SYSTOLE_OK) {
        session->diagnostic = segment->request.diagnostic;
        return segment->request.status;
    }
    for (uint32_t i = 0; i < s->output_count; i++) {
        if (segment->output_words[i] != NULL) {
            systole_placement_unpack(&s->outputs[i].placement, session->program->target.columns,
                                     segment->output_words[i],
                                     systole_interpreter_tensor(session->interpreter, s->outputs[i].tensor_index));
        }
    }
    session_cycles_add(session, segment);
    return SYSTOLE_OK;
}
