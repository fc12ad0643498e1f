// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Post-training quantisation: a float32 graph in, a graph that integer hardware (or a smaller, faster CPU model) runs
// out, by TensorFlow's published 8-bit quantisation specification. docs/quantization.md says what each mode computes.
// Nothing here keeps state between calls; different calls may run on different threads. Every function works on
// untrusted graphs that systole_graph_read accepted.
#ifndef SYSTOLE_QUANTIZER_H
#define SYSTOLE_QUANTIZER_H

#include "fast/kernel_level.h"
#include "graph.h"

enum systole_quantize_mode {
    SYSTOLE_QUANTIZE_FULL_INTEGER,  // int8 weights and activations, int32 biases; needs representative data
    SYSTOLE_QUANTIZE_DYNAMIC_RANGE, // int8 weights; activations stay float32 and are quantised when they are used
    SYSTOLE_QUANTIZE_FLOAT16,       // half-precision weights, computed with in float32
};
const char *systole_quantize_mode_name(enum systole_quantize_mode mode); // "full-integer"

// How the range of an activation follows from what was seen.
enum systole_calibration {
    SYSTOLE_CALIBRATION_MIN_MAX,        // smallest and largest value of all sets
    SYSTOLE_CALIBRATION_MOVING_AVERAGE, // of each set's extremes, a new set weighing a tenth
    SYSTOLE_CALIBRATION_PERCENTILE,     // without the outermost values
    SYSTOLE_CALIBRATION_MSE,            // the clipping with the least squared error of quantised values
};
const char *systole_calibration_name(enum systole_calibration calibration); // "min-max"

// Representative inputs, one set at a time. `read` receives the place of each graph input (the input tensor's size in
// bytes, its type, dense, row-major) and fills all of them with set `index`, or says *end when there are no more.
// Indices count from 0 without gaps; they begin again at 0 for every pass over the data (there are at most two), and
// the same index must give the same values. Any status but SYSTOLE_OK ends quantisation with it.
struct systole_representative {
    void *context;
    enum systole_status (*read)(void *context, uint32_t index, uint8_t *const *inputs, bool *end,
                                struct systole_diagnostic *diagnostic);
};

struct systole_quantize_options {
    enum systole_quantize_mode mode;
    enum systole_calibration calibration;
    double percentile;        // of values kept by SYSTOLE_CALIBRATION_PERCENTILE, 50 to 100; 0: 99.99
    enum systole_dtype io;    // full-integer: type of the graph's float inputs and outputs; FLOAT32, INT8 or UINT8
    bool strict;              // full-integer: an operator without integer form is refused instead of left in float
    bool fc_per_channel;      // FULLY_CONNECTED weights with a scale for each output, not one
    bool equalize;            // cross-layer equalisation first
    bool bias_correction;     // full-integer: biases take back the mean error of rounded weights
    float input_scale;        // full-integer: of the graph's float inputs, given instead of calibrated; 0: calibrated
    int32_t input_zero_point; // with it; -128 to 127
    enum systole_kernel_level kernels; // that run the models; with SYSTOLE_KERNELS_REFERENCE the result is the same on
                                       // every machine, others' float sums differ in their last bits
    uint32_t threads;                  // of the fast kernels; 0: one
    uint32_t compare;                  // sets, from the first on, that layers' errors are measured with; 0: 16
    bool skip_comparison;              // layers' errors are not measured, which saves three runs a set
};

// Error of one operator of the result against float32, over the sets compared, in decibels: 10 log10 of the sum of
// squares of the float values by the sum of squares of the differences. INFINITY: no difference; NAN: not measured.
struct systole_layer_error {
    uint32_t operator_index; // in the result
    int32_t tensor;          // its first output, in the result
    double snr;              // with everything before it quantised, too
    double own_snr;          // this operator's alone: against the float operator on the same, already quantised, inputs
    double weight_snr;       // of its weights; NAN: it has none that were changed
};
enum systole_left_kind {
    SYSTOLE_LEFT_FLOAT,       // has no integer form: float32 with DEQUANTIZE and QUANTIZE around
    SYSTOLE_LEFT_DEQUANTIZED, // dynamic-range: has no kernel of mixed types, its weights are dequantised once
    SYSTOLE_LEFT_UNCHANGED,   // its weights stayed as they were
};
struct systole_left {
    uint32_t operator_index; // in the result
    enum systole_left_kind kind;
    char reason[96];
};
struct systole_quantize_report {
    uint32_t samples;                          // sets that calibration read
    uint32_t folded, equalized;                // operators that went into others; pairs of layers
    uint32_t corrected;                        // biases
    uint64_t float_bytes, bytes;               // constants of the source and of the result
    uint64_t float_weight_bytes, weight_bytes; // of those the float32 constants but for biases, and what they became
    uint32_t layer_count, left_count;
    struct systole_layer_error *layers; // in execution order
    struct systole_left *left;
};

// Quantises `source` (not changed) into *result, which the caller frees. The result is valid for systole_graph_write,
// its operators carry the versions that TensorFlow Lite asks for. Tensors keep the names of those they come from.
//   representative  needed by full-integer, refused if it has no set; the others measure errors with it, or may have
//   NULL
// SYSTOLE_UNSUPPORTED: the graph is quantised already, has operators that the CPU's kernels do not run, or one without
// integer form under `strict`. SYSTOLE_BAD_ARGUMENT: options out of range or that exclude each other, no set where sets
// are needed. SYSTOLE_BAD_FILE: a constant or an activation is not
// finite (the diagnostic names the tensor and the set). On failure *result and *report are empty.
enum systole_status systole_quantize(const struct systole_graph *source, const struct systole_quantize_options *options,
                                     const struct systole_representative *representative, struct systole_graph *result,
                                     struct systole_quantize_report *report, struct systole_diagnostic *diagnostic);
void systole_quantize_report_free(struct systole_quantize_report *report); // may be called twice

// Whether full-integer has an integer form for this operator of a float32 graph; false: with the reason (NULL: none
// wanted).
bool systole_quantize_has_integer_form(const struct systole_graph *graph, uint32_t operator_index, const char **reason);

#endif
