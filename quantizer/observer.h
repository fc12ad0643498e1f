// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What calibration remembers of one activation, and the range that follows.
#ifndef SYSTOLE_OBSERVER_H
#define SYSTOLE_OBSERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quantizer_state.h"

struct observer {
    enum systole_calibration calibration;
    bool is_seen;
    double low, high; // by the calibration's rule
    double width;     // of a bin of the histogram, which is centred on 0
    uint64_t *bins;   // NULL: the calibration needs none
};

// A zeroed observer becomes one of this calibration. False: no memory.
bool observer_begin(struct observer *observer, enum systole_calibration calibration);
void observer_end(struct observer *observer); // may be called twice
// The finite values of one set.
void observer_see(struct observer *observer, const float *values, size_t count);
// Holds 0. `percentile` of values are inside, for that calibration.
struct quantizer_range observer_range(const struct observer *observer, double percentile);

#endif
