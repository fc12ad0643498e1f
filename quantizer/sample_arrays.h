// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Sets of inputs in NumPy's files: an .npy with the sets of a model's only input, one behind the other, or an .npz
// with an array for each input under its name.
#ifndef SYSTOLE_SAMPLE_ARRAYS_H
#define SYSTOLE_SAMPLE_ARRAYS_H

#include "npy_header.h"

// What a byte means: (byte - mean) * scale, one number or one for each index of the last axis; counts 0: not given, and
// a mean of 0 or a scale of 1/255 is taken.
struct sample_meaning {
    uint32_t mean_count, scale_count;
    const double *mean, *scale;
};
float sample_real_of_byte(const struct sample_meaning *meaning, uint8_t byte, size_t channel);

struct sample_array {
    char *name; // "" in an .npy
    uint8_t *bytes;
    size_t size;
    struct npy_header header;
    uint64_t sets; // from sample_arrays_bind
};
struct sample_arrays {
    struct sample_array *arrays;
    uint32_t count;
    uint32_t *of_input; // array of each graph input; NULL before sample_arrays_bind
    uint32_t sets;
};

bool sample_arrays_is_npz(const uint8_t *data, size_t length);
// Reads untrusted bytes into an empty struct; `data` is copied. Deflated and stored members of an .npz are read, at
// most 2 GiB of them. SYSTOLE_BAD_FILE with a diagnostic otherwise.
enum systole_status sample_arrays_read(const char *name, const uint8_t *data, size_t length,
                                       struct sample_arrays *arrays, struct systole_diagnostic *diagnostic);
void sample_arrays_free(struct sample_arrays *arrays); // may be called twice
// Finds the array of each input of the graph and how many sets there are, the same in all. An array's last extents are
// the input's without leading ones; those before count sets. Types are the input's own, or for float32 and quantised
// inputs also float32, float64, float16 and, with a meaning, uint8. SYSTOLE_BAD_ARGUMENT names what does not fit.
enum systole_status sample_arrays_bind(const char *name, struct sample_arrays *arrays,
                                       const struct systole_graph *graph, const struct sample_meaning *meaning,
                                       struct systole_diagnostic *diagnostic);
// Fills the inputs with set `index`, which is below `sets`. The graph is that of bind.
void sample_arrays_get(const struct sample_arrays *arrays, const struct systole_graph *graph,
                       const struct sample_meaning *meaning, uint32_t index, uint8_t *const *inputs);

#endif
