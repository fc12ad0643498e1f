// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Percentile and least squares need the distribution. Its histogram has a fixed number of bins around 0; when a value
// falls outside, the bins become twice as wide and neighbours are added up, so that one pass over the data is enough.
// The first set decides the width that it begins with.
//
// The least squares search takes the error of rounding inside a clipping as scale^2 / 12 and that of clipping as the
// square of the distance to the bound; both bounds move in turns over fractions of what was seen.
#include "observer.h"

#include <math.h>
#include <stdlib.h>

enum { BINS = 4096, MIDDLE = BINS / 2, STEPS = 64, ROUNDS = 2 };
#define NEW_SET 0.1 // weight of a new set in the moving average

bool observer_begin(struct observer *observer, enum systole_calibration calibration) {
    *observer = (struct observer){.calibration = calibration};
    if (calibration == SYSTOLE_CALIBRATION_PERCENTILE || calibration == SYSTOLE_CALIBRATION_MSE) {
        observer->bins = calloc(BINS, sizeof *observer->bins);
        return observer->bins != NULL;
    }
    return true;
}

void observer_end(struct observer *observer) {
    free(observer->bins);
    observer->bins = NULL;
}

static void widen(struct observer *observer) {
    uint64_t *bins = observer->bins;
    for (int32_t k = 0; k < MIDDLE / 2; k++) { // outwards from the middle, which stays where it is
        bins[MIDDLE + k] = bins[MIDDLE + 2 * k] + bins[MIDDLE + 2 * k + 1];
        bins[MIDDLE - 1 - k] = bins[MIDDLE - 1 - 2 * k] + bins[MIDDLE - 2 - 2 * k];
    }
    for (int32_t k = MIDDLE / 2; k < MIDDLE; k++) {
        bins[MIDDLE + k] = bins[MIDDLE - 1 - k] = 0;
    }
    observer->width *= 2;
}

static void count_values(struct observer *observer, const float *values, size_t count, double low, double high) {
    double largest = fmax(-low, high);
    if (largest == 0 && observer->width == 0) {
        observer->bins[MIDDLE] += count; // zeros stay in the bin above the middle, whatever its width becomes
        return;
    }
    if (observer->width == 0) {
        observer->width = fmax(largest / (MIDDLE - 1), 1e-30);
    }
    while (largest >= observer->width * (MIDDLE - 1)) {
        widen(observer);
    }
    for (size_t i = 0; i < count; i++) {
        observer->bins[MIDDLE + (int32_t)floor((double)values[i] / observer->width)]++;
    }
}

void observer_see(struct observer *observer, const float *values, size_t count) {
    float smallest = 0.0f, largest = 0.0f;
    for (size_t i = 0; i < count; i++) {
        smallest = values[i] < smallest ? values[i] : smallest;
        largest = values[i] > largest ? values[i] : largest;
    }
    double low = (double)smallest, high = (double)largest;
    if (observer->bins != NULL) {
        count_values(observer, values, count, low, high);
    }
    if (!observer->is_seen) {
        observer->low = low;
        observer->high = high;
    } else if (observer->calibration == SYSTOLE_CALIBRATION_MOVING_AVERAGE) {
        observer->low += NEW_SET * (low - observer->low);
        observer->high += NEW_SET * (high - observer->high);
    } else {
        observer->low = fmin(observer->low, low);
        observer->high = fmax(observer->high, high);
    }
    observer->is_seen = true;
}

// As many values as `percentile` leaves out are cut off, half of them at each end.
static struct quantizer_range cut_tails(const struct observer *observer, double percentile) {
    uint64_t total = 0;
    for (int32_t k = 0; k < BINS; k++) {
        total += observer->bins[k];
    }
    double tail = (double)total * (100.0 - percentile) / 200.0;
    int32_t first = 0, last = BINS - 1;
    double below = (double)observer->bins[first], above = (double)observer->bins[last];
    while (first < MIDDLE && below <= tail) {
        below += (double)observer->bins[++first];
    }
    while (last >= MIDDLE && above <= tail) {
        above += (double)observer->bins[--last];
    }
    double low = (first - MIDDLE) * observer->width, high = (last + 1 - MIDDLE) * observer->width;
    return (struct quantizer_range){fmax(observer->low, low), fmin(observer->high, high)};
}

static double squared_error(const struct observer *observer, double low, double high) {
    double step = (high - low) / 255, error = 0;
    for (int32_t k = 0; k < BINS; k++) {
        if (observer->bins[k] != 0) {
            double value = (k - MIDDLE + 0.5) * observer->width;
            double outside = value < low ? low - value : value > high ? value - high : 0;
            error += (double)observer->bins[k] * (outside > 0 ? outside * outside : step * step / 12);
        }
    }
    return error;
}

static struct quantizer_range least_squares(const struct observer *observer) {
    struct quantizer_range best = {observer->low, observer->high};
    double least = squared_error(observer, best.low, best.high);
    for (int32_t round = 0; round < ROUNDS; round++) {
        for (int32_t side = 0; side < 2; side++) {
            struct quantizer_range tried = best;
            for (int32_t k = STEPS; k > 0; k--) {
                *(side == 0 ? &tried.high : &tried.low) = (side == 0 ? observer->high : observer->low) * k / STEPS;
                double error = squared_error(observer, tried.low, tried.high);
                if (error < least) {
                    least = error;
                    best = tried;
                }
            }
        }
    }
    return best;
}

struct quantizer_range observer_range(const struct observer *observer, double percentile) {
    struct quantizer_range seen = {observer->low, observer->high};
    if (seen.low == seen.high || observer->bins == NULL) {
        return seen;
    }
    return observer->calibration == SYSTOLE_CALIBRATION_MSE ? least_squares(observer) : cut_tails(observer, percentile);
}
