// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Changing graphs: copies, new tensors and operators, removal of what nobody uses. All return SYSTOLE_OUT_OF_MEMORY
// with a diagnostic when memory ends; the graph stays valid for systole_graph_free.
#ifndef SYSTOLE_GRAPH_EDIT_H
#define SYSTOLE_GRAPH_EDIT_H

#include "graph.h"

enum systole_status graph_edit_no_memory(const char *name, struct systole_diagnostic *diagnostic);
// A copy of everything into an empty graph.
enum systole_status graph_edit_clone(const struct systole_graph *source, struct systole_graph *copy,
                                     struct systole_diagnostic *diagnostic);
// A copy of a tensor, of another type when `dtype` differs, without data and quantisation; name + suffix.
enum systole_status graph_edit_add_tensor(struct systole_graph *graph, const struct systole_tensor *like,
                                          enum systole_dtype dtype, const char *suffix, int32_t *index,
                                          struct systole_diagnostic *diagnostic);
// A whole copy of a tensor, with data and quantisation.
enum systole_status graph_edit_copy_tensor(struct systole_graph *graph, const struct systole_tensor *tensor,
                                           int32_t *index, struct systole_diagnostic *diagnostic);
// A copy of an operator with its operands' numbers as they are, at the end.
enum systole_status graph_edit_copy_operator(struct systole_graph *graph, const struct systole_operator *op,
                                             struct systole_diagnostic *diagnostic);
// An operator with one input and one output and no options but their type, at the end.
enum systole_status graph_edit_add_unary(struct systole_graph *graph, int32_t code, int32_t version, int32_t input,
                                         int32_t output, struct systole_diagnostic *diagnostic);
// `count` scales, all with one zero point.
enum systole_status graph_edit_quantise(struct systole_tensor *tensor, uint32_t count, const float *scales,
                                        int64_t zero_point, int32_t dimension, struct systole_diagnostic *diagnostic);
// Takes marked operators out, then tensors that no operator and no end of the graph uses; order stays.
enum systole_status graph_edit_remove(struct systole_graph *graph, const bool *operators,
                                      struct systole_diagnostic *diagnostic);
// Operators that read it, once for each operand, and graph outputs that are it.
uint32_t graph_edit_readers(const struct systole_graph *graph, int32_t tensor);
// The operator that computes it; -1: none.
int32_t graph_edit_producer(const struct systole_graph *graph, int32_t tensor);

#endif
