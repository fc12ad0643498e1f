// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What every test program shares: running a Check suite, skipping aloud, reproducible random numbers, conformance data.
#ifndef SYSTOLE_TESTING_H
#define SYSTOLE_TESTING_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>

// Runs the suite (a process a test; set time limits with tcase_set_timeout), prints what failed and was skipped, then
// "NAME: N passed, N failed, N skipped". Returns main's status.
int testing_run(Suite *suite, const char *name);

// Says why the current test cannot run here and counts it as skipped; return from the test afterwards.
void testing_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

// xorshift32; state must not be 0.
uint32_t testing_random(uint32_t *state);
int32_t testing_range(uint32_t *state, int32_t low, int32_t high); // inclusive

// Folder of the conformance data: $SYSTOLE_SHARED, or ../shared beside the project; NULL if there is none.
const char *testing_shared(void);

// Whole file, malloc'ed; NULL if it cannot be read.
uint8_t *testing_read_file(const char *path, size_t *size);

#endif
