// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Arrays grow by one: graphs have hundreds of tensors, and who edits them does so once.
#include "graph_edit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum systole_status graph_edit_no_memory(const char *name, struct systole_diagnostic *diagnostic) {
    return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, name, "", "no memory to quantise the model");
}

static void *duplicate(const void *bytes, size_t size) {
    void *copy = malloc(size > 0 ? size : 1);
    if (copy != NULL && size > 0) {
        memcpy(copy, bytes, size);
    }
    return copy;
}

// Room for one more tensor, zeroed and counted.
static struct systole_tensor *append_tensor(struct systole_graph *graph) {
    struct systole_tensor *tensors = realloc(graph->tensors, (graph->tensor_count + (size_t)1) * sizeof *tensors);
    if (tensors == NULL) {
        return NULL;
    }
    graph->tensors = tensors;
    tensors[graph->tensor_count] = (struct systole_tensor){0};
    return &tensors[graph->tensor_count++];
}

static struct systole_operator *append_operator(struct systole_graph *graph) {
    struct systole_operator *operators =
        realloc(graph->operators, (graph->operator_count + (size_t)1) * sizeof *operators);
    if (operators == NULL) {
        return NULL;
    }
    graph->operators = operators;
    operators[graph->operator_count] = (struct systole_operator){0};
    return &operators[graph->operator_count++];
}

enum systole_status graph_edit_add_tensor(struct systole_graph *graph, const struct systole_tensor *like,
                                          enum systole_dtype dtype, const char *suffix, int32_t *index,
                                          struct systole_diagnostic *diagnostic) {
    struct systole_tensor model = *like; // `like` may lie in the array that grows
    size_t length = model.name != NULL ? strlen(model.name) : 0, size = length + strlen(suffix) + 1;
    char *name = malloc(size);
    struct systole_tensor *tensor = name != NULL ? append_tensor(graph) : NULL;
    if (tensor == NULL) {
        free(name);
        return graph_edit_no_memory(graph->name, diagnostic);
    }
    (void)snprintf(name, size, "%s%s", model.name != NULL ? model.name : "", suffix);
    tensor->name = name;
    tensor->dtype = dtype;
    tensor->rank = model.rank;
    memcpy(tensor->shape, model.shape, sizeof tensor->shape);
    tensor->size = systole_tensor_elements(&model) * systole_dtype_size(dtype);
    tensor->is_variable = model.is_variable;
    *index = (int32_t)graph->tensor_count - 1;
    return SYSTOLE_OK;
}

enum systole_status graph_edit_quantise(struct systole_tensor *tensor, uint32_t count, const float *scales,
                                        int64_t zero_point, int32_t dimension, struct systole_diagnostic *diagnostic) {
    struct systole_quantisation *q = &tensor->quantisation;
    float *scale = duplicate(scales, count * sizeof *scale);
    int64_t *zero_points = malloc(count * sizeof *zero_points);
    if (scale == NULL || zero_points == NULL) {
        free(zero_points);
        free(scale);
        return graph_edit_no_memory(tensor->name != NULL ? tensor->name : "", diagnostic);
    }
    for (uint32_t i = 0; i < count; i++) {
        zero_points[i] = zero_point;
    }
    free(q->scale);
    free(q->zero_point);
    *q = (struct systole_quantisation){count, scale, zero_points, dimension};
    return SYSTOLE_OK;
}

enum systole_status graph_edit_copy_tensor(struct systole_graph *graph, const struct systole_tensor *tensor,
                                           int32_t *index, struct systole_diagnostic *diagnostic) {
    struct systole_tensor model = *tensor;
    enum systole_status status = graph_edit_add_tensor(graph, &model, model.dtype, "", index, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct systole_tensor *copy = &graph->tensors[graph->tensor_count - 1];
    const struct systole_quantisation *q = &model.quantisation;
    copy->size = model.size; // of a string by its data
    copy->was_constant = model.was_constant;
    if (model.data != NULL) {
        copy->data = duplicate(model.data, model.size);
        if (copy->data == NULL) {
            return graph_edit_no_memory(graph->name, diagnostic);
        }
    }
    if (q->count == 0) {
        return SYSTOLE_OK;
    }
    status = graph_edit_quantise(copy, q->count, q->scale, 0, q->dimension, diagnostic);
    if (status == SYSTOLE_OK) {
        memcpy(copy->quantisation.zero_point, q->zero_point, q->count * sizeof *q->zero_point);
    }
    return status;
}

enum systole_status graph_edit_copy_operator(struct systole_graph *graph, const struct systole_operator *op,
                                             struct systole_diagnostic *diagnostic) {
    struct systole_operator model = *op;
    struct systole_operator *copy = append_operator(graph);
    if (copy == NULL) {
        return graph_edit_no_memory(graph->name, diagnostic);
    }
    copy->inputs = duplicate(model.inputs, model.input_count * sizeof *model.inputs);
    copy->outputs = duplicate(model.outputs, model.output_count * sizeof *model.outputs);
    copy->intermediates = duplicate(model.intermediates, model.intermediate_count * sizeof *model.intermediates);
    copy->custom_name = model.custom_name != NULL ? duplicate(model.custom_name, strlen(model.custom_name) + 1) : NULL;
    copy->custom_options =
        model.custom_options != NULL ? duplicate(model.custom_options, model.custom_options_size) : NULL;
    if (copy->inputs == NULL || copy->outputs == NULL || copy->intermediates == NULL ||
        (model.custom_name != NULL && copy->custom_name == NULL) ||
        (model.custom_options != NULL && copy->custom_options == NULL)) {
        return graph_edit_no_memory(graph->name, diagnostic);
    }
    model.inputs = copy->inputs;
    model.outputs = copy->outputs;
    model.intermediates = copy->intermediates;
    model.custom_name = copy->custom_name;
    model.custom_options = copy->custom_options;
    *copy = model;
    return SYSTOLE_OK;
}

enum systole_status graph_edit_add_unary(struct systole_graph *graph, int32_t code, int32_t version, int32_t input,
                                         int32_t output, struct systole_diagnostic *diagnostic) {
    struct systole_operator *op = append_operator(graph);
    if (op == NULL) {
        return graph_edit_no_memory(graph->name, diagnostic);
    }
    op->code = code;
    op->version = version;
    op->options.stride_h = op->options.stride_w = op->options.dilation_h = op->options.dilation_w = 1;
    op->inputs = duplicate(&input, sizeof input);
    op->outputs = duplicate(&output, sizeof output);
    if (op->inputs == NULL || op->outputs == NULL) {
        return graph_edit_no_memory(graph->name, diagnostic);
    }
    op->input_count = op->output_count = 1;
    return SYSTOLE_OK;
}

enum systole_status graph_edit_clone(const struct systole_graph *source, struct systole_graph *copy,
                                     struct systole_diagnostic *diagnostic) {
    *copy = (struct systole_graph){0};
    memcpy(copy->name, source->name, sizeof copy->name);
    enum systole_status status = SYSTOLE_OK;
    int32_t index = -1;
    for (uint32_t t = 0; t < source->tensor_count && status == SYSTOLE_OK; t++) {
        status = graph_edit_copy_tensor(copy, &source->tensors[t], &index, diagnostic);
    }
    for (uint32_t i = 0; i < source->operator_count && status == SYSTOLE_OK; i++) {
        status = graph_edit_copy_operator(copy, &source->operators[i], diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    copy->inputs = duplicate(source->inputs, source->input_count * sizeof *source->inputs);
    copy->outputs = duplicate(source->outputs, source->output_count * sizeof *source->outputs);
    if (copy->inputs == NULL || copy->outputs == NULL) {
        return graph_edit_no_memory(source->name, diagnostic);
    }
    copy->input_count = source->input_count;
    copy->output_count = source->output_count;
    return SYSTOLE_OK;
}

uint32_t graph_edit_readers(const struct systole_graph *graph, int32_t tensor) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < graph->operator_count; i++) {
        for (uint32_t k = 0; k < graph->operators[i].input_count; k++) {
            count += graph->operators[i].inputs[k] == tensor;
        }
    }
    for (uint32_t i = 0; i < graph->output_count; i++) {
        count += graph->outputs[i] == tensor;
    }
    return count;
}

int32_t graph_edit_producer(const struct systole_graph *graph, int32_t tensor) {
    for (uint32_t i = 0; i < graph->operator_count; i++) {
        for (uint32_t k = 0; k < graph->operators[i].output_count; k++) {
            if (graph->operators[i].outputs[k] == tensor) {
                return (int32_t)i;
            }
        }
    }
    return -1;
}

static void mark(const int32_t *tensors, uint32_t count, int32_t *moved) {
    for (uint32_t i = 0; i < count; i++) {
        if (tensors[i] >= 0) {
            moved[tensors[i]] = 1;
        }
    }
}

static void renumber(int32_t *tensors, uint32_t count, const int32_t *moved) {
    for (uint32_t i = 0; i < count; i++) {
        tensors[i] = tensors[i] >= 0 ? moved[tensors[i]] : -1;
    }
}

enum systole_status graph_edit_remove(struct systole_graph *graph, const bool *operators,
                                      struct systole_diagnostic *diagnostic) {
    int32_t *map = calloc(graph->tensor_count + (size_t)1, sizeof *map);
    if (map == NULL) {
        return graph_edit_no_memory(graph->name, diagnostic);
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < graph->operator_count; i++) {
        if (!operators[i]) { // those to go gather behind those that stay
            struct systole_operator stays = graph->operators[i];
            graph->operators[i] = graph->operators[kept];
            graph->operators[kept++] = stays;
        }
    }
    const uint32_t all = graph->operator_count;
    graph->operator_count = kept;
    for (uint32_t i = 0; i < kept; i++) {
        const struct systole_operator *op = &graph->operators[i];
        mark(op->inputs, op->input_count, map);
        mark(op->outputs, op->output_count, map);
        mark(op->intermediates, op->intermediate_count, map);
    }
    mark(graph->inputs, graph->input_count, map);
    mark(graph->outputs, graph->output_count, map);
    kept = 0;
    for (uint32_t t = 0; t < graph->tensor_count; t++) {
        bool keep = map[t] != 0;
        map[t] = keep ? (int32_t)kept : -1;
        if (keep) {
            graph->tensors[kept++] = graph->tensors[t];
        } else {
            systole_tensor_free(&graph->tensors[t]);
        }
    }
    graph->tensor_count = kept;
    for (uint32_t i = 0; i < graph->operator_count; i++) {
        const struct systole_operator *op = &graph->operators[i];
        renumber(op->inputs, op->input_count, map);
        renumber(op->outputs, op->output_count, map);
        renumber(op->intermediates, op->intermediate_count, map);
    }
    renumber(graph->inputs, graph->input_count, map);
    renumber(graph->outputs, graph->output_count, map);
    for (uint32_t i = graph->operator_count; i < all; i++) {
        systole_operator_free(&graph->operators[i]);
    }
    free(map);
    return SYSTOLE_OK;
}
