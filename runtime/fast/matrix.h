// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Products of rows of activations with a constant matrix: what pointwise convolutions and fully connected layers are,
// and other convolutions once their windows are gathered into rows. Weights are packed into panels of a few vectors of
// columns, so that a microkernel reads them from front to back.
#ifndef SYSTOLE_MATRIX_H
#define SYSTOLE_MATRIX_H

#include "fast_kernel.h"

struct systole_panel {
    uint32_t column, columns, vectors;
    size_t offset; // bytes into `weights`
};

struct systole_matrix {
    bool is_float;
    size_t depth, groups, columns, positions; // positions: columns up to whole vectors
    uint32_t panel_count;
    struct systole_panel *panels;
    uint8_t *weights;
    size_t weight_size;
    int32_t *bias;          // integers: with what the zero points add
    float *float_bias;      // floats
    int32_t *column_sums;   // of the weights as packed
    int32_t row_zero_point; // weights' zero point as packed: times a row's sum of bytes, subtracted; 0: nothing
};

// weights[column][depth]; bias: NULL or one a column. Integer matrices: `input_zero_point` of activations; 0 bias and
// input_zero_point as 0 bytes (`is_hybrid`) leave both to the caller.
enum systole_status systole_matrix_make_integer(const struct systole_kernel_call *call, const uint8_t *weights,
                                                bool is_unsigned, int32_t weight_zero_point, int32_t input_zero_point,
                                                const int32_t *bias, size_t columns, size_t depth, bool is_hybrid,
                                                struct systole_matrix *matrix, struct systole_diagnostic *diagnostic);
enum systole_status systole_matrix_make_float(const struct systole_kernel_call *call, const float *weights,
                                              const float *bias, size_t columns, size_t depth,
                                              struct systole_matrix *matrix, struct systole_diagnostic *diagnostic);
void systole_matrix_free(struct systole_matrix *matrix);

// Rows from `first` on: bytes (as they are; widened sets: int16 less zero points), or floats. `room` has
// systole_matrix_row_size bytes for each of `count` rows; rows may lie elsewhere, too.
typedef const uint8_t *systole_gather_rows(const void *owner, size_t first, size_t count, uint8_t *room,
                                           size_t *stride);
size_t systole_matrix_row_size(const struct systole_matrix *matrix, const struct systole_microkernels *micro);

struct systole_matrix_job {
    const struct systole_matrix *matrix;
    struct systole_fast_context *context;
    size_t rows;
    systole_gather_rows *gather;
    const void *owner;
    size_t scratch; // offset of what systole_matrix_scratch reserved
    bool is_signed; // activations
    // Exactly one of three kinds of result, each row of `columns` elements behind the other:
    const struct systole_packed_rescale *rescale; // bytes
    float low, high;                              // float matrices
    void (*finish)(const void *owner, const int32_t *sums, size_t row, uint32_t column, uint32_t count); // else
    uint8_t *output;
};
// Reserves scratch; returns its offset.
size_t systole_matrix_scratch(struct systole_fast_context *context, const struct systole_matrix *matrix, size_t rows,
                              size_t *used);
void systole_matrix_run(const struct systole_matrix_job *job);

#endif
