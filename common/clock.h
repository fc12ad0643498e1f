// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Milliseconds of a clock that nobody sets, for deadlines.
#ifndef SYSTOLE_CLOCK_H
#define SYSTOLE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t systole_now_ms(void) {
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

#endif
