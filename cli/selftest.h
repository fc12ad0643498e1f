// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What the steps of `systole selftest` share. A step looks at the device through a probe, says what it found in
// `detail`, and returns whether all was well; command_selftest.c runs them in order and resets the device after each.
#ifndef SYSTOLE_SELFTEST_H
#define SYSTOLE_SELFTEST_H

#include <stdbool.h>

#include "device.h"
#include "probe.h"

struct selftest {
    struct systole_probe *probe;
    const struct systole_target *target;
    uint32_t words;       // of the scratchpad
    uint32_t march_words; // of which the memory's steps look at so many
    uint32_t seed;
    uint32_t token;            // of the run since the last reset; 0: none
    uint8_t *bytes, *expected; // 1 MiB each, for steps
    char detail[512];
    enum systole_status status; // of the bus, when a step could not go on
};

#define SELFTEST_BYTES (1u << 20)

// Says what was found; false, so that a step can return it.
bool selftest_found(struct selftest *test, const char *format, ...) __attribute__((format(printf, 2, 3)));
// The bus or the device did not do it: what was tried, and the status.
bool selftest_failed(struct selftest *test, enum systole_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool selftest_write(struct selftest *test, uint32_t word, const void *bytes, uint32_t words);
bool selftest_read(struct selftest *test, uint32_t word, void *bytes, uint32_t words);
bool selftest_write_image(struct selftest *test, const uint8_t *image, uint32_t words); // from word 0 on, in pieces
bool selftest_read_register(struct selftest *test, uint32_t address, uint64_t *value);
bool selftest_write_register(struct selftest *test, uint32_t address, uint64_t value);
bool selftest_reset(struct selftest *test);
// Expects the device to have stopped with this error; unit SYSTOLE_UNIT_ANY and command UINT32_MAX: whichever.
bool selftest_expect_fault(struct selftest *test, const char *what, uint32_t error, uint32_t unit, uint32_t command,
                           uint32_t detail);
// Compares; names the first word and bit that differ.
bool selftest_compare(struct selftest *test, const char *what, uint32_t first_word, const uint8_t *expected,
                      const uint8_t *found, size_t bytes);
uint32_t selftest_random(uint32_t *state);

// selftest_registers.c
bool selftest_capabilities(struct selftest *test);
bool selftest_reset_values(struct selftest *test);
bool selftest_read_only(struct selftest *test);
bool selftest_walking_ones(struct selftest *test);
bool selftest_holes(struct selftest *test);
// selftest_memory.c
bool selftest_memory_addresses(struct selftest *test);
bool selftest_memory_march(struct selftest *test);
bool selftest_memory_parity(struct selftest *test);
// selftest_link.c
bool selftest_loopback(struct selftest *test);
bool selftest_bandwidth_out(struct selftest *test);
bool selftest_bandwidth_in(struct selftest *test);
bool selftest_interrupt(struct selftest *test);
bool selftest_hostile_frames(struct selftest *test);
// selftest_units.c
bool selftest_unit_load(struct selftest *test);
bool selftest_unit_store(struct selftest *test);
bool selftest_unit_array(struct selftest *test);
bool selftest_unit_depthwise(struct selftest *test);
bool selftest_unit_elementwise(struct selftest *test);
bool selftest_units_together(struct selftest *test);
// selftest_runs.c
bool selftest_counters(struct selftest *test);
bool selftest_regions(struct selftest *test);
bool selftest_watchdog(struct selftest *test);
bool selftest_breakpoints(struct selftest *test);

#endif
