// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What the files of a session share: session.c (life and steps), session_segments.c (device segments),
// session_cycles.c (what they cost), verify.c (comparison with the CPU).
#ifndef SYSTOLE_SESSION_STATE_H
#define SYSTOLE_SESSION_STATE_H

#include "interpreter.h"
#include "session.h"

// A device segment with its words on the host's side.
struct session_segment {
    const struct systole_segment *segment;
    bool is_loaded; // by this session
    systole_loaded loaded;
    // Words of each; NULL where the dense tensor's bytes are the words' bytes, and go and come without a copy.
    uint8_t **input_words, **output_words;
    uint8_t **inputs, **outputs; // what the request is given: those, or tensors
    size_t *input_bytes, *output_bytes;
    struct systole_request request;
};

struct session_verification;

struct systole_session {
    const struct systole_graph *graph;     // what runs: borrowed, or `own`
    struct systole_graph own;              // read from the program
    const struct systole_program *program; // NULL: every operator runs on the CPU
    struct systole_session_options options;
    struct systole_interpreter *interpreter;
    bool *on_host; // tensors whose bytes the host has after an invocation
    struct session_segment *segments;
    struct session_verification *verification; // NULL: not asked for
    struct systole_session_cycles cycles;
    bool was_invoked;
    enum systole_session_stage stage;
    uint32_t step;        // of the program: the next, or that of the segment that runs
    uint64_t first_cycle; // of the device, before the first invocation
    enum systole_status status;
    struct systole_diagnostic diagnostic; // of the invocation
};

// session_segments.c
enum systole_status session_segments_create(struct systole_session *session, struct systole_diagnostic *diagnostic);
void session_segments_free(struct systole_session *session);
// Packs its inputs and submits it; `complete` is called from the driver's poll, with the session as context.
enum systole_status session_segment_submit(struct systole_session *session, uint32_t index,
                                           void (*complete)(struct systole_request *request));
// Unpacks its outputs when it is complete.
enum systole_status session_segment_finish(struct systole_session *session, uint32_t index);
// The device's cycle register; 0 when it cannot be read.
uint64_t session_device_cycle(const struct systole_session *session);
// Height, width and channels that a placement gives a tensor: the last axis, the one before it, the product of the
// rest. False: it is not of an 8-bit type, the sizes differ, or a stride leaves 28 bits.
bool session_placement_fits(const struct systole_tensor *tensor, const struct systole_placement *placement,
                            uint32_t columns);

// session_cycles.c: what an invocation's segments cost, added up as they end.
void session_cycles_begin(struct systole_session *session);
void session_cycles_add(struct systole_session *session, const struct session_segment *segment);
void session_cycles_clear(struct systole_session_cycles *cycles);

// verify.c. `graph` has every constant.
enum systole_status session_verification_create(struct systole_session *session, const struct systole_graph *graph,
                                                struct systole_diagnostic *diagnostic);
void session_verification_free(struct systole_session *session);
// Runs the CPU on the session's inputs; before the first step.
enum systole_status session_verification_begin(struct systole_session *session, struct systole_diagnostic *diagnostic);
// Around one segment: observes the device, then compares the outputs that came back.
void session_verification_watch(struct systole_session *session, uint32_t segment);
void session_verification_outputs(struct systole_session *session, uint32_t segment);
// SYSTOLE_MISMATCH with the first difference; after the last step.
enum systole_status session_verification_end(struct systole_session *session, struct systole_diagnostic *diagnostic);

// verify_views.c. Groups of a segment's tensors that share words; a number a tensor of the graph, placements likewise.
void session_verification_groups(const struct systole_graph *graph, const struct systole_segment *segment,
                                 uint32_t columns, const struct systole_placement *const *placements, uint32_t *groups);
// Channel tile, row and column of a word (address with its region) in a placement; false: it is not one of its words.
bool session_verification_locate(const struct systole_placement *placement, uint32_t columns, uint64_t word,
                                 uint32_t coordinates[3]);

#endif
