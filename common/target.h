// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Targets: presets and description files. struct systole_target is in spec/gen/systole_spec.h.
#ifndef SYSTOLE_TARGET_H
#define SYSTOLE_TARGET_H

#include "status.h"
#include "systole_spec.h"

// Resolves a preset's name or the path of a JSON file with the keys of spec/targets/*.json (all required; unknown
// ones refused) and checks it. Unknown name: SYSTOLE_BAD_ARGUMENT; unreadable or invalid file: SYSTOLE_BAD_FILE.
enum systole_status systole_target_find(const char *name_or_path, struct systole_target *target,
                                        struct systole_diagnostic *diagnostic);

// rows = columns = a power of two from 4 to 64, weight_port_rows a power of two that divides rows, banks a power of
// two that is at least weight_port_rows and 8, cores 1, taps 1 to 16, accumulators 16 to 65,535, scratchpad a multiple
// of banks * columns up to 1 GiB ...: SYSTOLE_BAD_ARGUMENT and a text that names the parameter.
enum systole_status systole_target_check(const struct systole_target *target, struct systole_diagnostic *diagnostic);

// CRC-32 (IEEE) of the parameters in their order, 32-bit little endian; the name does not count.
uint32_t systole_target_id(const struct systole_target *target);
uint32_t systole_crc32(uint32_t crc, const void *bytes, size_t size); // start with 0

// Words of `columns` bytes in the scratchpad.
uint32_t systole_target_words(const struct systole_target *target);

// Multipliers that do a network's multiply-accumulates (arrays and depthwise taps), and the others (requantisation).
uint32_t systole_target_multipliers(const struct systole_target *target);
uint32_t systole_target_other_multipliers(const struct systole_target *target);

#endif
