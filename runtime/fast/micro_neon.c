// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "microkernels.h"

const struct systole_microkernels *const systole_microkernels_neon = NULL;
const struct systole_microkernels *const systole_microkernels_neon_dot = NULL;
