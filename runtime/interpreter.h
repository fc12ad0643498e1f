// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The CPU's interpreter: runs a graph, or single operators of it, with the reference kernels that define what is right,
// or with fast ones where there are some (docs/cpu.md).
#ifndef SYSTOLE_INTERPRETER_H
#define SYSTOLE_INTERPRETER_H

#include "fast/kernel_level.h"
#include "graph.h"

struct systole_interpreter;

struct systole_interpreter_options {
    enum systole_kernel_level kernels; // fast kernels take what they can; the reference runs the rest
    uint32_t threads;                  // of the fast kernels, 1 to 64; 0: one. Results do not depend on it
    bool share_memory;                 // tensors whose lives do not meet share memory: only inputs, outputs and
                                       // constants may be looked at. Nothing is allocated while fast kernels run
    bool measure;                      // take the time of each operator
};

// Plans nothing and checks everything: kinds, types and shapes of operators marked in `run` (NULL: all) must be ones
// that the kernels know, else SYSTOLE_UNSUPPORTED naming the operator. The graph must outlive the interpreter.
enum systole_status systole_interpreter_create(const struct systole_graph *graph, const bool *run,
                                               struct systole_interpreter **interpreter,
                                               struct systole_diagnostic *diagnostic);
// The same with options (NULL: reference kernels, memory not shared).
enum systole_status systole_interpreter_create_with(const struct systole_graph *graph, const bool *run,
                                                    const struct systole_interpreter_options *options,
                                                    struct systole_interpreter **interpreter,
                                                    struct systole_diagnostic *diagnostic);
void systole_interpreter_free(struct systole_interpreter *interpreter);

// The tensor's bytes (dense, row-major, little endian); valid until free. Constants may only be read. NULL: no memory,
// no such tensor, or one that shares its memory.
uint8_t *systole_interpreter_tensor(struct systole_interpreter *interpreter, int32_t tensor);

// Puts a tensor's bytes, as many as it has, into the caller's memory from now on; NULL: its own again, as last written.
// Not a constant's, and not a variable's.
void systole_interpreter_bind(struct systole_interpreter *interpreter, int32_t tensor, uint8_t *bytes);

// Variable tensors (states of LSTM and SVDF) begin as 0 and keep their values from run to run; this makes them 0 again.
void systole_interpreter_reset_variables(struct systole_interpreter *interpreter);

enum systole_status systole_interpreter_run_operator(struct systole_interpreter *interpreter, uint32_t operator_index,
                                                     struct systole_diagnostic *diagnostic);
enum systole_status systole_interpreter_run(struct systole_interpreter *interpreter,
                                            struct systole_diagnostic *diagnostic);

// Seconds of an operator's last run under `measure`, and whether a fast kernel runs it. False: it does not run here.
bool systole_interpreter_operator_time(const struct systole_interpreter *interpreter, uint32_t operator_index,
                                       double *seconds, bool *is_fast);
// What the kernels resolved to.
enum systole_kernel_level systole_interpreter_kernels(const struct systole_interpreter *interpreter);
// Bytes of tensors, scratch and packed constants' surroundings: the block that was planned; 0 without share_memory.
size_t systole_interpreter_arena_size(const struct systole_interpreter *interpreter);

// Whether a kernel exists for this operator with these types; fills the diagnostic with the reason if not.
bool systole_interpreter_supports(const struct systole_graph *graph, uint32_t operator_index,
                                  struct systole_diagnostic *diagnostic);

#endif
