// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Graphs made in a test, tensor by tensor. Start with a zeroed struct systole_graph; systole_graph_free ends it.
// Running out of memory fails the test.
#ifndef SYSTOLE_GRAPH_BUILDER_H
#define SYSTOLE_GRAPH_BUILDER_H

#include "graph.h"

// A computed tensor; quantised when scale is above 0. Returns its index.
int32_t graph_add_tensor(struct systole_graph *graph, enum systole_dtype dtype, int32_t rank, const int32_t *shape,
                         float scale, int64_t zero_point);
// Gives a tensor `count` scales along `dimension`, all with one zero point.
void graph_set_scales(struct systole_graph *graph, int32_t tensor, uint32_t count, const float *scales,
                      int64_t zero_point, int32_t dimension);
// Makes a tensor a constant with a copy of its bytes.
void graph_set_data(struct systole_graph *graph, int32_t tensor, const void *data);

// An operator with options at their defaults (strides and dilations 1), to be set by the caller. The pointer is valid
// until the next operator is added.
struct systole_operator *graph_add_operator(struct systole_graph *graph, int32_t code, uint32_t input_count,
                                            const int32_t *inputs, int32_t output);
void graph_set_ends(struct systole_graph *graph, uint32_t input_count, const int32_t *inputs, uint32_t output_count,
                    const int32_t *outputs);

#endif
