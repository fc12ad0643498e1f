// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Compiles a graph and holds what the program computes against the CPU's interpreter.
#ifndef SYSTOLE_CHECK_COMPILE_H
#define SYSTOLE_CHECK_COMPILE_H

#include "compiler.h"

// Random inputs by `seed`; commands in order and in some random token-legal orders. Fails the running Check test at the
// first difference. `program` may be NULL; else the caller frees it.
void check_compile(const struct systole_graph *graph, const struct systole_target *target, uint32_t seed,
                   struct systole_program *program);

struct systole_target check_target(const char *name);
// A small target: N rows and columns.
struct systole_target check_small_target(uint32_t size, uint32_t taps, uint32_t port, uint32_t accumulators,
                                         uint32_t scratchpad_bytes);

#endif
