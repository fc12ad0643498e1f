// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What the files of the quantiser share. quantize.c runs them in order: fold.c and equalize.c change the float graph,
// calibrate.c measures it, full_integer.c or weights_only.c writes the result, compare_layers.c holds both side by
// side.
#ifndef SYSTOLE_QUANTIZER_STATE_H
#define SYSTOLE_QUANTIZER_STATE_H

#include "interpreter.h"
#include "quantizer.h"

#define QUANTIZER_LARGEST 1e18 // magnitude of values that scales and their products hold in float32

struct quantizer_range {
    double low, high; // low <= 0 <= high once an activation was seen or a constant read
};

struct quantizer {
    const struct systole_quantize_options *options;
    const struct systole_representative *representative; // NULL: none
    struct systole_diagnostic *diagnostic;
    struct systole_graph graph;     // float32
    struct quantizer_range *ranges; // of its tensors; NULL before calibration
    double **means;                 // of a tensor's last axis, for bias correction; members NULL where not wanted
    struct systole_graph result;
    int32_t *tensor_origin;   // of each tensor of the result: the graph's tensor whose values it has; -1: none
    int32_t *operator_origin; // of each operator: the graph's operator that it computes; -1: none
    struct systole_quantize_report report;
};

// ---- What the formats know of an operator (operator_forms.c)
enum quantizer_form {
    QUANTIZER_NO_FORM,    // stays float
    QUANTIZER_WEIGHTS,    // activation, weights and bias: a convolution of some kind
    QUANTIZER_FREE,       // every tensor has a scale of its own
    QUANTIZER_SAME_SCALE, // all float tensors have one scale
    QUANTIZER_FIXED,      // the output's scale is given
    QUANTIZER_READS,      // reads 8 bits, writes none
};
struct quantizer_rule {
    int32_t code;
    enum quantizer_form form;
    int32_t version;    // first one with int8 operands
    float scale;        // QUANTIZER_FIXED
    int32_t zero_point; // the same
};
const struct quantizer_rule *quantizer_rule_of(int32_t code); // NULL: none
// Places of a QUANTIZER_WEIGHTS operator's operands; bias -1 when it is left out.
struct quantizer_operands {
    int32_t activation, weights, bias; // tensors
    uint32_t weights_at, bias_at;      // indices into op->inputs
    int32_t dimension;                 // of the weights, along which output channels lie
};
bool quantizer_operands_of(const struct systole_graph *graph, const struct systole_operator *op,
                           struct quantizer_operands *operands);

// ---- Passes
enum systole_status quantizer_fold(struct quantizer *q);
enum systole_status quantizer_equalize(struct quantizer *q);
enum systole_status quantizer_calibrate(struct quantizer *q);
enum systole_status quantizer_full_integer(struct quantizer *q);
enum systole_status quantizer_weights_only(struct quantizer *q);
enum systole_status quantizer_compare(struct quantizer *q);

// ---- Constants (quantize_constants.c). `tensor` is one of the result with float32 data, and is replaced in place.
// int8, symmetric in [-127, 127], one scale or one for each index of `dimension`. `smallest` (NULL: none) are lower
// bounds of the scales.
enum systole_status quantizer_int8_weights(struct systole_tensor *tensor, bool per_channel, int32_t dimension,
                                           const double *smallest, struct systole_diagnostic *diagnostic);
// int32 with scale input_scale * weights' scales.
enum systole_status quantizer_int32_bias(struct systole_tensor *tensor, float input_scale,
                                         const struct systole_quantisation *weights,
                                         struct systole_diagnostic *diagnostic);
// int8 with one scale and zero point.
enum systole_status quantizer_int8_constant(struct systole_tensor *tensor, float scale, int32_t zero_point,
                                            struct systole_diagnostic *diagnostic);
bool quantizer_fits_half(const struct systole_tensor *tensor); // no value overflows
enum systole_status quantizer_half(struct systole_tensor *tensor, struct systole_diagnostic *diagnostic);
// The nearest int8 scale and zero point of a range that holds 0.
void quantizer_affine(struct quantizer_range range, float *scale, int32_t *zero_point);
// 10 log10(signal / noise).
double quantizer_decibels(double signal, double noise);
// Of a constant's values by float32 ones of the same shape.
double quantizer_constant_snr(const struct systole_tensor *real, const struct systole_tensor *quantised);
// Finite and at most QUANTIZER_LARGEST, else SYSTOLE_BAD_FILE naming the tensor.
enum systole_status quantizer_check_values(const char *graph, const struct systole_tensor *tensor, const float *values,
                                           int64_t set /* -1: a constant */, struct systole_diagnostic *diagnostic);

// An interpreter with the options' kernels, whose tensors can all be looked at.
enum systole_status quantizer_interpreter(struct quantizer *q, const struct systole_graph *graph,
                                          struct systole_interpreter **interpreter);

// ---- Growing the result
enum systole_status quantizer_result_tensor(struct quantizer *q, int32_t origin, enum systole_dtype dtype,
                                            const char *suffix, int32_t *index);
enum systole_status quantizer_result_copy(struct quantizer *q, int32_t origin, int32_t *index); // with data
enum systole_status quantizer_result_operator(struct quantizer *q, uint32_t origin);
enum systole_status quantizer_result_unary(struct quantizer *q, int32_t code, int32_t version, int32_t input,
                                           int32_t output);
void quantizer_result_clear(struct quantizer *q);
enum systole_status quantizer_leave(struct quantizer *q, uint32_t result_operator, enum systole_left_kind kind,
                                    const char *reason);

#endif
