// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Graph in, program out.
#ifndef SYSTOLE_COMPILER_H
#define SYSTOLE_COMPILER_H

#include <stdio.h>

#include "graph.h"
#include "program/program.h"

struct systole_compile_options {
    FILE *dump; // each pass prints what it made; NULL: none
};

// Compiles for a target. The same graph, target and options give the same program. Operators that the device cannot
// run stay on the CPU with a reason; SYSTOLE_UNSUPPORTED only when the CPU runtime has no kernel either, or something
// cannot be made to fit. The graph is only read. On failure *program is empty; else systole_program_free.
enum systole_status systole_compile(const struct systole_graph *graph, const struct systole_target *target,
                                    const struct systole_compile_options *options, struct systole_program *program,
                                    struct systole_diagnostic *diagnostic);

// The tables for people: operators and what the device makes of them; reasons for the CPU, false behind the last.
struct systole_operator_form {
    const char *operators, *form;
};
uint32_t systole_operator_form_count(void);
const struct systole_operator_form *systole_operator_form(uint32_t index);
struct systole_restriction_text {
    const char *code, *text, *remedy;
};
bool systole_restriction_describe(uint32_t index, struct systole_restriction_text *text);

#endif
