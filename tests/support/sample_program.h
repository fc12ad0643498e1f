// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A small legal program for systole16, made by hand: convolution, depthwise, addition, pointwise convolution, pooling.
#ifndef SYSTOLE_SAMPLE_PROGRAM_H
#define SYSTOLE_SAMPLE_PROGRAM_H

#include "program/program.h"

#define SAMPLE_COMMANDS 5u

void sample_program(struct systole_program *program); // systole_program_free

// A token.
uint32_t sample_wait(enum systole_unit unit, uint32_t count);

#endif
