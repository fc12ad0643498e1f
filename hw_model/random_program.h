// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Random valid programs for the accelerator: commands of all units over shared slots of memory, with the tokens that
// their hazards need and no more (but for random ones). Made from a seed; used to compare implementations, by tests and
// by `systole selftest`.
#ifndef SYSTOLE_RANDOM_PROGRAM_H
#define SYSTOLE_RANDOM_PROGRAM_H

#include "systole_spec.h"

#include <stdbool.h>

struct random_program {
    struct systole_command *commands;
    uint32_t count;
    struct systole_launch_descriptor launch;
    uint8_t *image; // words 0 .. image_words-1 of the scratchpad before the run; program included
    uint32_t image_words;
    uint8_t *stream; // what the loads take, in order
    uint32_t stream_words, store_words;
    uint32_t *output_word, *output_words; // a command: absolute slot that holds all it writes
};

// `is_strict`: writers of a slot are ordered by tokens even when they share a unit, so that a slot is quiet when its
// command retires. `units`: a bit for each unit that gets commands. False: no memory, or the scratchpad is too small.
bool random_program_make(struct random_program *program, const struct systole_target *target, uint32_t seed,
                         uint32_t commands, bool is_strict, uint32_t units);
#define RANDOM_PROGRAM_ALL_UNITS ((1u << SYSTOLE_UNITS) - 1)
void random_program_free(struct random_program *program);

#endif
