// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Inferences of a model on a device that a fault script disturbs: each must be right or end with a typed error, and
// the device must be usable again. Used by a short test and by `make soak`.
#ifndef SYSTOLE_FAULT_SOAK_H
#define SYSTOLE_FAULT_SOAK_H

#include "driver.h"
#include "fault_injection.h"

enum { SOAK_STATUSES = SYSTOLE_CANCELLED + 1 };

struct soak_options {
    const char *model;  // .tflite
    const char *device; // model, rtl, or usb (the fault script is the server's then)
    const char *target; // name of a preset
    const char *script; // text of a fault script, or NULL
    uint32_t inferences, seed;
    uint32_t silence_ms, replays;
    uint32_t threads; // that take turns at the device; 0: one
};

struct soak_result {
    uint32_t right, wrong, lost; // lost: the device did not come back
    uint32_t errors[SOAK_STATUSES];
    uint32_t faults[SYSTOLE_FAULT_KINDS];
    struct systole_driver_statistics statistics;
    double longest_ms, median_ms;      // of one inference, detection and recovery included
    double fault_ms;                   // the inference in which the first fault happened
    enum systole_status first_failure; // what the driver took that fault for; OK: it did not matter
    struct systole_diagnostic first_diagnostic;
    uint32_t first_recovery_ms;
    long early_kb, end_kb; // resident memory after a quarter and at the end
    uint64_t transfers;    // at the last fault, of its endpoint
};

// SYSTOLE_OK: it could be run; see the result for what came of it.
enum systole_status soak_run(const struct soak_options *options, struct soak_result *result,
                             struct systole_diagnostic *diagnostic);

#endif
