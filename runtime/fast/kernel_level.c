// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "kernel_level.h"

#include "microkernels.h"

#include <stdlib.h>
#include <string.h>
#if defined(__aarch64__)
#include <sys/auxv.h>
#define HWCAP_DOT_PRODUCT (1ul << 20) // asm/hwcap.h HWCAP_ASIMDDP
#endif

static const char *const names[SYSTOLE_KERNEL_LEVELS] = {"reference", "fastest", "c",       "avx2",
                                                         "avx512",    "neon",    "neon-dot"};

const char *systole_kernel_level_name(enum systole_kernel_level level) {
    return level < SYSTOLE_KERNEL_LEVELS ? names[level] : "?";
}

enum systole_status systole_kernel_level_parse(const char *name, enum systole_kernel_level *level,
                                               struct systole_diagnostic *diagnostic) {
    for (int i = 0; i < SYSTOLE_KERNEL_LEVELS; i++) {
        if (strcmp(name, names[i]) == 0) {
            *level = (enum systole_kernel_level)i;
            return SYSTOLE_OK;
        }
    }
    return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, name,
                        "take one of reference, fastest, c, avx2, avx512, neon, neon-dot",
                        "there are no kernels of that name");
}

const struct systole_microkernels *systole_kernel_level_microkernels(enum systole_kernel_level level) {
    switch (level) {
    case SYSTOLE_KERNELS_C:
        return systole_microkernels_c;
    case SYSTOLE_KERNELS_AVX2:
        return systole_microkernels_avx2;
    case SYSTOLE_KERNELS_AVX512:
        return systole_microkernels_avx512;
    case SYSTOLE_KERNELS_NEON:
        return systole_microkernels_neon;
    case SYSTOLE_KERNELS_NEON_DOT:
        return systole_microkernels_neon_dot;
    default:
        return NULL;
    }
}

static bool processor_has(enum systole_kernel_level level) {
    switch (level) {
#if defined(__x86_64__)
    case SYSTOLE_KERNELS_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case SYSTOLE_KERNELS_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#elif defined(__aarch64__)
    case SYSTOLE_KERNELS_NEON:
        return true;
    case SYSTOLE_KERNELS_NEON_DOT:
        return (getauxval(AT_HWCAP) & HWCAP_DOT_PRODUCT) != 0;
#endif
    case SYSTOLE_KERNELS_REFERENCE:
    case SYSTOLE_KERNELS_FASTEST:
    case SYSTOLE_KERNELS_C:
        return true;
    default:
        return false;
    }
}

bool systole_kernel_level_available(enum systole_kernel_level level) {
    bool in_build = level == SYSTOLE_KERNELS_REFERENCE || level == SYSTOLE_KERNELS_FASTEST ||
                    systole_kernel_level_microkernels(level) != NULL;
    return in_build && processor_has(level);
}

enum systole_status systole_kernel_level_resolve(enum systole_kernel_level *level,
                                                 struct systole_diagnostic *diagnostic) {
    if (*level == SYSTOLE_KERNELS_FASTEST) {
        const char *named = getenv("SYSTOLE_KERNELS");
        if (named != NULL && *named != '\0') {
            enum systole_status status = systole_kernel_level_parse(named, level, diagnostic);
            if (status != SYSTOLE_OK) {
                return status;
            }
        }
    }
    if (*level == SYSTOLE_KERNELS_FASTEST) {
        static const enum systole_kernel_level fastest_first[] = {SYSTOLE_KERNELS_AVX512, SYSTOLE_KERNELS_AVX2,
                                                                  SYSTOLE_KERNELS_NEON_DOT, SYSTOLE_KERNELS_NEON,
                                                                  SYSTOLE_KERNELS_C};
        size_t i = 0;
        while (!systole_kernel_level_available(fastest_first[i])) {
            i++; // plain C always is
        }
        *level = fastest_first[i];
    }
    if (!systole_kernel_level_available(*level)) {
        return systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, systole_kernel_level_name(*level), "choose fastest or c",
                            "this processor, or this build, does not have those kernels");
    }
    return SYSTOLE_OK;
}
