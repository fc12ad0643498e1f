// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What stands before the elements of an .npy file.
#ifndef SYSTOLE_NPY_HEADER_H
#define SYSTOLE_NPY_HEADER_H

#include "graph.h"

#define NPY_MAX_RANK 32
#define NPY_MAX_DESCRIPTION 8

struct npy_header {
    char description[NPY_MAX_DESCRIPTION]; // of an element: "<f4"
    int32_t rank;
    uint64_t shape[NPY_MAX_RANK]; // each at most INT32_MAX
    size_t begin;                 // of the elements, in bytes
};

bool npy_begins(const uint8_t *data, size_t length);
// Reads untrusted bytes; how many elements follow is the caller's business. `name` is used in diagnostics. Arrays in
// Fortran's order are SYSTOLE_UNSUPPORTED.
enum systole_status npy_open(const char *name, const uint8_t *data, size_t length, struct npy_header *header,
                             struct systole_diagnostic *diagnostic);
const char *npy_description_of(enum systole_dtype dtype);                        // "": none
void npy_format_shape(const struct npy_header *header, char *text, size_t size); // "200x32x32x3"
bool npy_same_description(const char *a, const char *b); // single bytes have no order: '<u1' is '|u1'

#endif
