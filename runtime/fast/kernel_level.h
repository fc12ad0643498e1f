// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Which kernels the CPU's interpreter runs: the reference, or the fast ones with one of their instruction sets.
#ifndef SYSTOLE_KERNEL_LEVEL_H
#define SYSTOLE_KERNEL_LEVEL_H

#include <stdbool.h>

#include "status.h"

enum systole_kernel_level {
    SYSTOLE_KERNELS_REFERENCE,
    SYSTOLE_KERNELS_FASTEST, // what this processor has; environment SYSTOLE_KERNELS names another
    SYSTOLE_KERNELS_C,
    SYSTOLE_KERNELS_AVX2,   // with FMA
    SYSTOLE_KERNELS_AVX512, // F, BW, VL, DQ and VNNI
    SYSTOLE_KERNELS_NEON,
    SYSTOLE_KERNELS_NEON_DOT, // with the dot products of Armv8.2
    SYSTOLE_KERNEL_LEVELS,
};

enum { SYSTOLE_LARGEST_THREADS = 64 };

const char *systole_kernel_level_name(enum systole_kernel_level level); // "avx512"
// SYSTOLE_BAD_ARGUMENT when there is no such name.
enum systole_status systole_kernel_level_parse(const char *name, enum systole_kernel_level *level,
                                               struct systole_diagnostic *diagnostic);
// Whether this build and this processor have it.
bool systole_kernel_level_available(enum systole_kernel_level level);
// FASTEST to what it stands for here; a level that is not there is refused with SYSTOLE_UNSUPPORTED.
enum systole_status systole_kernel_level_resolve(enum systole_kernel_level *level,
                                                 struct systole_diagnostic *diagnostic);

struct systole_microkernels;
// NULL: the reference, or not in this build.
const struct systole_microkernels *systole_kernel_level_microkernels(enum systole_kernel_level level);

#endif
