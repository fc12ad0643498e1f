// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Golden tensors of the conformance data: hashes, files inputN.bin and outputN.bin, layers.tsv, tolerance of floats.
#ifndef SYSTOLE_GOLDEN_H
#define SYSTOLE_GOLDEN_H

#include "graph.h"

uint64_t golden_hash(const uint8_t *bytes, size_t size); // FNV-1a, 64 bits

// FOLDER/KINDn.bin into `bytes` of the tensor's size; false when it is missing or of another size.
bool golden_read(const char *folder, const char *kind, uint32_t n, uint8_t *bytes, size_t size);

// Integers to the bit, floats within 1e-5 of the expected tensor's largest magnitude. Not equal: *element says where.
bool golden_equal(const struct systole_tensor *tensor, const uint8_t *expected, const uint8_t *found, size_t *element);

// Signal to noise of float32 elements in dB; infinite when they are equal.
double golden_ratio_db(const uint8_t *expected, const uint8_t *found, size_t elements);

// The lines of FOLDER/layers.tsv in order; `layer` returns false to stop. False when there is no such file.
bool golden_layers(const char *folder,
                   bool (*layer)(void *context, int32_t op, int32_t tensor, size_t bytes, uint64_t hash),
                   void *context);

#endif
