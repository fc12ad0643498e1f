// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A driver on the functional model in this process, ready to load segments.
#ifndef SYSTOLE_IN_PROCESS_DRIVER_H
#define SYSTOLE_IN_PROCESS_DRIVER_H

#include "driver.h"

// order_seed as in systole_functional_model_create. Fails the test when anything does.
struct systole_driver *in_process_driver(const struct systole_target *target, uint64_t order_seed,
                                         bool trace_retirements);

#endif
