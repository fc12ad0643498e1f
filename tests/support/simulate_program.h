// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Runs a program without a device: its commands on plain memory, its CPU operators by the interpreter.
#ifndef SYSTOLE_SIMULATE_PROGRAM_H
#define SYSTOLE_SIMULATE_PROGRAM_H

#include "interpreter.h"
#include "program/program.h"

// `reference` has run the whole graph: it gives the inputs, and what every command must write into its box and what the
// outputs must be. order_seed 0: commands in the program's order; otherwise a random one that the tokens allow.
// Memory begins with random bytes. The first difference: SYSTOLE_MISMATCH and a diagnostic.
enum systole_status simulate_program(const struct systole_graph *graph, const struct systole_program *program,
                                     struct systole_interpreter *reference, uint32_t order_seed,
                                     struct systole_diagnostic *diagnostic);

#endif
