// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "graph_builder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

static void *copy(const void *source, size_t size) {
    void *made = malloc(size > 0 ? size : 1);
    ck_assert_ptr_nonnull(made);
    if (size > 0) {
        memcpy(made, source, size);
    }
    return made;
}

int32_t graph_add_tensor(struct systole_graph *graph, enum systole_dtype dtype, int32_t rank, const int32_t *shape,
                         float scale, int64_t zero_point) {
    struct systole_tensor *tensors = realloc(graph->tensors, (graph->tensor_count + 1) * sizeof *tensors);
    ck_assert_ptr_nonnull(tensors);
    graph->tensors = tensors;
    struct systole_tensor *tensor = &tensors[graph->tensor_count];
    *tensor = (struct systole_tensor){.dtype = dtype, .rank = rank, .size = systole_dtype_size(dtype)};
    char name[32];
    int length = snprintf(name, sizeof name, "tensor%u", graph->tensor_count);
    tensor->name = copy(name, (size_t)length + 1);
    for (int32_t i = 0; i < rank; i++) {
        tensor->shape[i] = shape[i];
        tensor->size *= (size_t)shape[i];
    }
    int32_t index = (int32_t)graph->tensor_count++;
    if (scale > 0.0f) {
        graph_set_scales(graph, index, 1, &scale, zero_point, 0);
    }
    return index;
}

void graph_set_scales(struct systole_graph *graph, int32_t tensor, uint32_t count, const float *scales,
                      int64_t zero_point, int32_t dimension) {
    struct systole_quantisation *q = &graph->tensors[tensor].quantisation;
    free(q->scale);
    free(q->zero_point);
    q->count = count;
    q->dimension = dimension;
    q->scale = copy(scales, count * sizeof *scales);
    q->zero_point = calloc(count, sizeof *q->zero_point);
    ck_assert_ptr_nonnull(q->zero_point);
    for (uint32_t i = 0; i < count; i++) {
        q->zero_point[i] = zero_point;
    }
}

void graph_set_data(struct systole_graph *graph, int32_t tensor, const void *data) {
    free(graph->tensors[tensor].data);
    graph->tensors[tensor].data = copy(data, graph->tensors[tensor].size);
}

struct systole_operator *graph_add_operator(struct systole_graph *graph, int32_t code, uint32_t input_count,
                                            const int32_t *inputs, int32_t output) {
    struct systole_operator *operators = realloc(graph->operators, (graph->operator_count + 1) * sizeof *operators);
    ck_assert_ptr_nonnull(operators);
    graph->operators = operators;
    struct systole_operator *op = &operators[graph->operator_count++];
    *op = (struct systole_operator){
        .code = code,
        .version = 1,
        .inputs = copy(inputs, input_count * sizeof *inputs),
        .outputs = copy(&output, sizeof output),
        .input_count = input_count,
        .output_count = 1,
        .options = {.stride_h = 1, .stride_w = 1, .dilation_h = 1, .dilation_w = 1, .beta = 1.0f},
    };
    return op;
}

void graph_set_ends(struct systole_graph *graph, uint32_t input_count, const int32_t *inputs, uint32_t output_count,
                    const int32_t *outputs) {
    free(graph->inputs);
    free(graph->outputs);
    graph->inputs = copy(inputs, input_count * sizeof *inputs);
    graph->outputs = copy(outputs, output_count * sizeof *outputs);
    graph->input_count = input_count;
    graph->output_count = output_count;
}
