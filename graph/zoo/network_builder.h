// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Networks written as tables of layers. Each function adds one operator in float32 and returns the tensor it computes.
// The first failure sticks in `status`; what is added afterwards is ignored, so that networks need no checks.
#ifndef SYSTOLE_NETWORK_BUILDER_H
#define SYSTOLE_NETWORK_BUILDER_H

#include "graph.h"

struct zoo_network {
    struct systole_graph graph;
    float *gains; // of each operator with weights: standard deviation of its outputs before the activation
    enum systole_status status;
    struct systole_diagnostic *diagnostic;
};

// ---- Layers. Shapes are batch, height, width, channels; windows are padded SAME.
int32_t zoo_input(struct zoo_network *network, int32_t rank, const int32_t *shape);
int32_t zoo_conv(struct zoo_network *network, int32_t x, int32_t channels, int32_t height, int32_t width,
                 int32_t stride, enum systole_activation activation);
int32_t zoo_depthwise(struct zoo_network *network, int32_t x, int32_t size, int32_t stride,
                      enum systole_activation activation);
// On the rows of a matrix; `gain` as in struct zoo_network.
int32_t zoo_fully_connected(struct zoo_network *network, int32_t x, int32_t units, enum systole_activation activation,
                            float gain);
int32_t zoo_add(struct zoo_network *network, int32_t a, int32_t b, enum systole_activation activation);
int32_t zoo_concatenate(struct zoo_network *network, uint32_t count, const int32_t *maps); // along the last axis
int32_t zoo_max_pool(struct zoo_network *network, int32_t x, int32_t size, int32_t stride);
int32_t zoo_average_pool(struct zoo_network *network, int32_t x); // of the whole map, as a matrix of one row
int32_t zoo_mean(struct zoo_network *network, int32_t x);         // the same by MEAN
int32_t zoo_softmax(struct zoo_network *network, int32_t x);
int32_t zoo_reshape(struct zoo_network *network, int32_t x, int32_t rank, const int32_t *shape);
void zoo_output(struct zoo_network *network, int32_t x);

// ---- For the layers above and those of single networks
int32_t zoo_channels(const struct zoo_network *network, int32_t x); // extent of the last axis
// A constant tensor of zeros, or with a copy of `data`.
int32_t zoo_constant(struct zoo_network *network, const char *kind, enum systole_dtype dtype, int32_t rank,
                     const int32_t *shape, const void *data);
// An operator with one float output and default options; returns the output and, in *op (may be NULL), the operator,
// valid until the next one is added. After a failure *op is a place nobody reads.
int32_t zoo_operator(struct zoo_network *network, int32_t code, const char *kind, uint32_t input_count,
                     const int32_t *inputs, int32_t rank, const int32_t *shape, struct systole_operator **op);
void zoo_network_free(struct zoo_network *network); // all but a graph that was moved out

// ---- From layers to models
// Fills weights and biases.
void zoo_draw_weights(struct zoo_network *network);
// Random input for the network of this name, -1 to 1. The same set has the same values every time.
void zoo_draw_input(const char *name, uint32_t set, float *values, size_t count);

// ---- Networks
void zoo_mobilenet_v1(struct zoo_network *network);
void zoo_mobilenet_v2(struct zoo_network *network);
void zoo_mobilenet_v3_edgetpu(struct zoo_network *network);
void zoo_efficientnet_lite0(struct zoo_network *network);
void zoo_resnet8(struct zoo_network *network);
void zoo_resnet18(struct zoo_network *network);
void zoo_resnet50(struct zoo_network *network);
void zoo_ds_cnn(struct zoo_network *network);
void zoo_inception_v1(struct zoo_network *network);
void zoo_transformer_block(struct zoo_network *network);

#endif
