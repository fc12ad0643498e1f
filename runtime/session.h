// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A session runs a model on the CPU, or a program on a device: what the command line uses, and the library's public
// interface (systole.h) is made of. Sessions of one driver belong to the driver's thread.
#ifndef SYSTOLE_SESSION_H
#define SYSTOLE_SESSION_H

#include "driver.h"
#include "fast/kernel_level.h"
#include "graph.h"

struct systole_session;

// Where device segments run. NULL driver: on the CPU.
struct systole_session_options {
    struct systole_driver *driver;     // borrowed
    bool keep_tensors;                 // CPU: keep every tensor for systole_session_tensor
    enum systole_kernel_level kernels; // of what runs on the CPU; 0: the reference
    uint32_t threads;                  // of fast kernels; 0: one
    bool measure;                      // CPU: take the time of each operator
    bool verify;                       // compare every tensor that exists on an in-process device, box by box, as its
                                       // commands retire, with the CPU's; over USB outputs of segments only
    // A session of the same program and driver, which outlives this one: what it loaded is used here, too.
    const struct systole_session *lender;
    // Called from the driver's poll when a segment of an invocation in steps has ended (below); may be NULL.
    void (*stepped)(void *context);
    void *context;
};

// A .tflite graph on the CPU alone (program NULL), or a program. Both are borrowed. With a program the graph is read
// from program->model; `graph` then gives the constants that the program does not hold (needed by verify), or NULL.
enum systole_status systole_session_create(const struct systole_graph *graph, const struct systole_program *program,
                                           const struct systole_session_options *options,
                                           struct systole_session **session, struct systole_diagnostic *diagnostic);
void systole_session_free(struct systole_session *session);

const struct systole_graph *systole_session_graph(const struct systole_session *session);
// Bytes of a graph input to be filled before, or of a graph output to be read after, an invocation.
uint8_t *systole_session_input(struct systole_session *session, uint32_t input, size_t *size);
const uint8_t *systole_session_output(struct systole_session *session, uint32_t output, size_t *size);
const uint8_t *systole_session_tensor(struct systole_session *session, int32_t tensor, size_t *size);
// Seconds of an operator in the last invocation, with `measure`, and whether a fast kernel ran it. False: the CPU did
// not.
bool systole_session_operator_time(const struct systole_session *session, uint32_t operator_index, double *seconds,
                                   bool *is_fast);
// What `kernels` resolved to, and the bytes that the tensors share on the CPU (0: each has its own).
enum systole_kernel_level systole_session_kernels(const struct systole_session *session);
size_t systole_session_arena_size(const struct systole_session *session);

// Runs once. With `verify`, SYSTOLE_MISMATCH when a tensor differs; the first difference is in the diagnostic and all
// in the findings.
enum systole_status systole_session_invoke(struct systole_session *session, struct systole_diagnostic *diagnostic);

// Variable tensors (states of LSTM and SVDF) become zero again. Not during an invocation.
void systole_session_reset_states(struct systole_session *session);

// The same in steps, for several sessions at a time. After `begin` the invocation is AT_CPU, AT_DEVICE or ENDED. AT_CPU
// (the next step is the CPU's, or a segment that can be submitted): `advance` goes on as far as it can without waiting.
// AT_DEVICE: systole_driver_poll brings it on. ENDED: `end` gives the result, once. A session must not be freed
// AT_DEVICE: `cancel` it first, which ends it with SYSTOLE_CANCELLED.
enum systole_session_stage { SYSTOLE_SESSION_ENDED, SYSTOLE_SESSION_AT_CPU, SYSTOLE_SESSION_AT_DEVICE };
void systole_session_begin(struct systole_session *session);
enum systole_session_stage systole_session_stage(const struct systole_session *session);
bool systole_session_wants_device(const struct systole_session *session); // AT_CPU, and the next step is a segment
void systole_session_advance(struct systole_session *session);
void systole_session_cancel(struct systole_session *session);
enum systole_status systole_session_end(struct systole_session *session, struct systole_diagnostic *diagnostic);

// From now on the bytes of an input or output are the caller's (NULL: the session's own again): read or written in
// place until the next call. False: the tensor is already another's (a constant, a variable, an input that is also an
// output), or fast kernels read it, which may go some bytes beyond; use systole_session_input or _output. Not during an
// invocation.
bool systole_session_bind_input(struct systole_session *session, uint32_t input, uint8_t *bytes);
bool systole_session_bind_output(struct systole_session *session, uint32_t output, uint8_t *bytes);

// What verification saw of one tensor.
enum systole_finding_kind { SYSTOLE_FINDING_EQUAL, SYSTOLE_FINDING_DIFFERENT, SYSTOLE_FINDING_NOT_ON_DEVICE };
struct systole_finding {
    int32_t tensor, operator_index;
    uint8_t kind;
    uint64_t element; // first difference, index in the dense tensor
    int32_t expected, found;
    // The command that wrote it, and the cycle since the run's doorbell at which it retired; has_command false: found
    // in what came back from the device (all that there is over USB), or never written.
    bool has_command;
    int32_t segment;
    uint32_t command;
    uint64_t cycle;
};
const struct systole_finding *systole_session_findings(const struct systole_session *session, uint32_t *count);

// One command of the last invocation, in the order of retirement.
struct systole_traced {
    uint32_t segment, command, unit;
    uint64_t start, end; // its unit took it; its last write was done. Segments follow one another without a gap
    uint32_t token;      // of the run
    uint64_t launched;   // when the run's doorbell rang
    uint32_t counters[SYSTOLE_COUNTER_KINDS]; // of its unit since the one before it retired there
};

// Device cycles of the last invocation: sums over segments.
struct systole_session_cycles {
    uint64_t total, cold; // cold: first invocation, from an empty device to the last byte out; 0 if not known
    uint64_t counters[SYSTOLE_UNITS][SYSTOLE_COUNTER_KINDS];
    uint64_t *operators; // one an operator of the model: cycles in which it was the oldest not yet retired; may be NULL
    uint64_t (*units)[SYSTOLE_UNITS][SYSTOLE_COUNTER_KINDS]; // the counters by operator; NULL with `operators`
    struct systole_traced *trace;                            // NULL with `operators`
    uint32_t trace_count;
    uint32_t operator_count;
};
const struct systole_session_cycles *systole_session_cycles(const struct systole_session *session);
// Where a segment's regions lay in its last run, in absolute words; NULL: there is no such segment.
const struct systole_region_window *systole_session_windows(const struct systole_session *session, uint32_t segment);

#endif
