// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Small graphs made in memory. Quantisation is chosen so that outputs neither vanish nor all saturate.
#ifndef SYSTOLE_BUILD_GRAPH_H
#define SYSTOLE_BUILD_GRAPH_H

#include "graph.h"

// An empty graph; what follows adds to it. systole_graph_free releases all.
void build_graph(struct systole_graph *graph, const char *name);
// The same with one 8-bit map for an input, quantised; returns that.
int32_t build_start(struct systole_graph *graph, const char *name, enum systole_dtype dtype, int32_t batch,
                    int32_t height, int32_t width, int32_t channels);

int32_t build_tensor(struct systole_graph *graph, enum systole_dtype dtype, int32_t rank, const int32_t *shape);
int32_t build_map(struct systole_graph *graph, enum systole_dtype dtype, int32_t batch, int32_t height, int32_t width,
                  int32_t channels);
int32_t build_constant(struct systole_graph *graph, enum systole_dtype dtype, int32_t rank, const int32_t *shape,
                       const void *data);
void build_quantise(struct systole_graph *graph, int32_t tensor, float scale, int32_t zero_point);
void build_input(struct systole_graph *graph, int32_t tensor);
void build_output(struct systole_graph *graph, int32_t tensor);
// input2, input3: -1 for none.
struct systole_operator *build_operator(struct systole_graph *graph, int32_t code, int32_t input, int32_t input2,
                                        int32_t input3, int32_t output);

// Convolutions with random weights and bias on a quantised input; return the output tensor, quantised.
struct build_window {
    int32_t channels, height, width; // of the output; of the kernel
    int32_t stride_h, stride_w, dilation_h, dilation_w;
    enum systole_padding padding;
    enum systole_activation activation;
    bool has_bias, per_channel;
};
// A square kernel with the same stride both ways, padding SAME, no activation, a bias, one scale.
struct build_window build_square(int32_t channels, int32_t size, int32_t stride);
int32_t build_conv(struct systole_graph *graph, int32_t input, const struct build_window *window, uint32_t *random);
int32_t build_depthwise(struct systole_graph *graph, int32_t input, const struct build_window *window,
                        uint32_t *random); // channels: a multiple of the input's
int32_t build_fully_connected(struct systole_graph *graph, int32_t input, int32_t depth, int32_t units, bool keep_dims,
                              uint32_t *random);
int32_t build_pool(struct systole_graph *graph, int32_t code, int32_t input, const struct build_window *window);
int32_t build_add(struct systole_graph *graph, int32_t a, int32_t b, int32_t rank, const int32_t *shape,
                  uint32_t *random);
int32_t build_reshape(struct systole_graph *graph, int32_t input, int32_t rank, const int32_t *shape);
int32_t build_pad(struct systole_graph *graph, int32_t input, int32_t top, int32_t bottom, int32_t left, int32_t right);
int32_t build_mean(struct systole_graph *graph, int32_t input, bool over_height, bool over_width, bool keep_dims,
                   uint32_t *random);
int32_t build_requantise(struct systole_graph *graph, int32_t input, enum systole_dtype dtype, float scale,
                         int32_t zero_point);
int32_t build_softmax(struct systole_graph *graph, int32_t input);

#endif
