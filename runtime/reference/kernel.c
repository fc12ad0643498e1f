// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The tables of all families, and what kernels share: operands, geometry of sliding windows, widening.
#include "kernel.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const struct systole_kernel *const families[] = {
#define SYSTOLE_KERNEL_TABLE(name) systole_##name##_kernels,
    SYSTOLE_KERNEL_FAMILIES(SYSTOLE_KERNEL_TABLE)
#undef SYSTOLE_KERNEL_TABLE
        NULL,
};

const struct systole_kernel *systole_kernel_find(const struct systole_graph *graph, uint32_t operator_index,
                                                 struct systole_diagnostic *diagnostic) {
    const struct systole_operator *op = &graph->operators[operator_index];
    struct systole_kernel_call call = {.graph = graph, .op = op, .operator_index = operator_index};
    const struct systole_tensor *input = systole_kernel_input(&call, 0);
    if (input == NULL || op->output_count == 0 || op->outputs[0] < 0) {
        systole_kernel_refuse(&call, diagnostic, "", "the operator lacks its first input or output");
        return NULL;
    }
    const struct systole_tensor *output = systole_kernel_output(&call);
    bool code_known = false;
    if (systole_operator_is_hybrid(graph, operator_index) && output->dtype == SYSTOLE_FLOAT32) {
        const struct systole_kernel *kernel = systole_hybrid_kernels;
        while (kernel->code != op->code) {
            kernel++; // the table has every code that is_hybrid knows
        }
        return kernel;
    }
    for (const struct systole_kernel *const *family = families; *family != NULL; family++) {
        for (const struct systole_kernel *kernel = *family; kernel->run != NULL; kernel++) {
            if (kernel->code == op->code) {
                code_known = true;
                if (kernel->input == input->dtype && kernel->output == output->dtype) {
                    return kernel;
                }
            }
        }
    }
    if (code_known) {
        systole_kernel_refuse(&call, diagnostic, "", "no kernel takes %s to %s", systole_dtype_name(input->dtype),
                              systole_dtype_name(output->dtype));
    } else {
        systole_kernel_refuse(&call, diagnostic, "", "there is no kernel for this operator");
    }
    return NULL;
}

void systole_kernel_release(const struct systole_kernel *kernel, struct systole_kernel_call *call) {
    if (call->state != NULL) {
        (kernel->release != NULL ? kernel->release : free)(call->state);
        call->state = NULL;
    }
}

const struct systole_tensor *systole_kernel_input(const struct systole_kernel_call *call, uint32_t i) {
    return i < call->op->input_count && call->op->inputs[i] >= 0 ? &call->graph->tensors[call->op->inputs[i]] : NULL;
}

const struct systole_tensor *systole_kernel_output(const struct systole_kernel_call *call) {
    return &call->graph->tensors[call->op->outputs[0]];
}

const uint8_t *systole_kernel_input_bytes(const struct systole_kernel_call *call, uint32_t i) {
    return i < call->op->input_count && call->op->inputs[i] >= 0 ? call->tensors[call->op->inputs[i]] : NULL;
}

uint8_t *systole_kernel_output_bytes(const struct systole_kernel_call *call) {
    return call->tensors[call->op->outputs[0]];
}

enum systole_status systole_kernel_refuse(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic,
                                          const char *hint, const char *format, ...) {
    char where[96];
    char what[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    snprintf(where, sizeof where, "operator %u %s", call->operator_index, systole_operator_name(call->op->code));
    return systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, where, hint, "%s", what);
}

enum systole_status systole_kernel_no_memory(const struct systole_kernel_call *call,
                                             struct systole_diagnostic *diagnostic) {
    char where[96];
    snprintf(where, sizeof where, "operator %u %s", call->operator_index, systole_operator_name(call->op->code));
    return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, where, "", "no memory for a kernel's buffers");
}

enum systole_status systole_kernel_state(struct systole_kernel_call *call, size_t size,
                                         struct systole_diagnostic *diagnostic) {
    call->state = calloc(1, size);
    return call->state != NULL ? SYSTOLE_OK : systole_kernel_no_memory(call, diagnostic);
}

bool systole_same_shape(const struct systole_tensor *a, const struct systole_tensor *b) {
    bool same = a->rank == b->rank;
    for (int32_t i = 0; same && i < a->rank; i++) {
        same = a->shape[i] == b->shape[i];
    }
    return same;
}

bool systole_same_quantisation(const struct systole_tensor *a, const struct systole_tensor *b) {
    const struct systole_quantisation *p = &a->quantisation, *q = &b->quantisation;
    if (p->count == 0 || q->count == 0) {
        return p->count == q->count;
    }
    // pooling.cc Prepare lets scales differ by less than a millionth.
    return p->count == 1 && q->count == 1 && p->zero_point[0] == q->zero_point[0] &&
           fabsf(p->scale[0] - q->scale[0]) <= 1.0e-6f;
}

// Extents are bounded so that (taps - 1) * dilation + stride + input stays within int32.
enum { LARGEST_STEP = 32767, LARGEST_EXTENT = 1 << 30 };

enum systole_status systole_kernel_window_derive(const struct systole_kernel_call *call, int32_t filter_height,
                                                 int32_t filter_width, struct systole_kernel_window *window,
                                                 struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *output = systole_kernel_output(call);
    const struct systole_options *options = &call->op->options;
    if (input->rank != 4 || output->rank != 4) {
        return systole_kernel_refuse(call, diagnostic, "", "input and output must have four dimensions");
    }
    const int32_t steps[] = {filter_height,     filter_width,        options->stride_h,
                             options->stride_w, options->dilation_h, options->dilation_w};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        if (steps[i] < 1 || steps[i] > LARGEST_STEP) {
            return systole_kernel_refuse(call, diagnostic, "",
                                         "a filter extent, stride or dilation of %d is outside 1 to %d", steps[i],
                                         LARGEST_STEP);
        }
    }
    if (input->shape[1] > LARGEST_EXTENT || input->shape[2] > LARGEST_EXTENT) {
        return systole_kernel_refuse(call, diagnostic, "", "the input's height or width exceeds %d", LARGEST_EXTENT);
    }
    *window = (struct systole_kernel_window){
        .batches = input->shape[0],
        .input_height = input->shape[1],
        .input_width = input->shape[2],
        .input_channels = input->shape[3],
        .output_height = output->shape[1],
        .output_width = output->shape[2],
        .output_channels = output->shape[3],
        .filter_height = filter_height,
        .filter_width = filter_width,
        .stride_h = options->stride_h,
        .stride_w = options->stride_w,
        .dilation_h = options->dilation_h,
        .dilation_w = options->dilation_w,
    };
    int32_t height =
        systole_output_extent(options->padding, input->shape[1], filter_height, options->stride_h, options->dilation_h);
    int32_t width =
        systole_output_extent(options->padding, input->shape[2], filter_width, options->stride_w, options->dilation_w);
    if (output->shape[0] != input->shape[0] || output->shape[1] != height || output->shape[2] != width) {
        return systole_kernel_refuse(call, diagnostic, "", "the output is %dx%dx%d, the window gives %dx%dx%d",
                                     output->shape[0], output->shape[1], output->shape[2], input->shape[0], height,
                                     width);
    }
    window->padding_top = systole_padding_before(options->padding, input->shape[1], filter_height, options->stride_h,
                                                 options->dilation_h, height);
    window->padding_left = systole_padding_before(options->padding, input->shape[2], filter_width, options->stride_w,
                                                  options->dilation_w, width);
    return SYSTOLE_OK;
}

enum systole_status systole_kernel_weighted_window_derive(const struct systole_kernel_call *call,
                                                          struct systole_kernel_window *window, int32_t *multiplier,
                                                          struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *weights = systole_kernel_input(call, 1);
    const struct systole_tensor *output = systole_kernel_output(call);
    bool depthwise = call->op->code == SYSTOLE_OP_DEPTHWISE_CONV_2D;
    enum systole_status status =
        systole_kernel_window_derive(call, weights->shape[1], weights->shape[2], window, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    bool fits = depthwise ? weights->shape[0] == 1 && output->shape[3] == weights->shape[3] &&
                                output->shape[3] % input->shape[3] == 0
                          : output->shape[3] == weights->shape[0] && input->shape[3] == weights->shape[3];
    if (!fits) {
        return systole_kernel_refuse(call, diagnostic, depthwise ? "" : "grouped convolutions are not supported",
                                     "weights of %d x %d channels do not fit an input of %d and an output of %d",
                                     weights->shape[0], weights->shape[3], input->shape[3], output->shape[3]);
    }
    *multiplier = depthwise ? output->shape[3] / input->shape[3] : 0;
    return SYSTOLE_OK;
}

struct systole_tap_range systole_taps_inside(int32_t origin, int32_t taps, int32_t dilation, int32_t extent) {
    int64_t first = origin >= 0 ? 0 : (-(int64_t)origin + dilation - 1) / dilation;
    int64_t end = origin >= extent ? 0 : ((int64_t)extent - origin + dilation - 1) / dilation;
    end = end < taps ? end : taps;
    first = first < end ? first : end;
    return (struct systole_tap_range){(int32_t)first, (int32_t)end};
}

enum systole_status systole_kernel_check_bias(const struct systole_kernel_call *call, uint32_t i,
                                              enum systole_dtype dtype, int32_t channels,
                                              struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *bias = systole_kernel_input(call, i);
    if (bias != NULL && (bias->dtype != dtype || systole_tensor_elements(bias) != (size_t)channels)) {
        return systole_kernel_refuse(call, diagnostic, "", "the bias is not %d elements of %s", channels,
                                     systole_dtype_name(dtype));
    }
    return SYSTOLE_OK;
}

int16_t *systole_widen(const uint8_t *bytes, enum systole_dtype dtype, int32_t zero_point, size_t count) {
    int16_t *operands = malloc((count > 0 ? count : 1) * sizeof *operands);
    if (operands == NULL) {
        return NULL;
    }
    if (dtype == SYSTOLE_UINT8) {
        for (size_t i = 0; i < count; i++) {
            operands[i] = (int16_t)(bytes[i] - zero_point);
        }
    } else {
        for (size_t i = 0; i < count; i++) {
            operands[i] = (int16_t)((int8_t)bytes[i] - zero_point);
        }
    }
    return operands;
}

bool systole_float_activation_range(enum systole_activation activation, float *low, float *high) {
    *low = -INFINITY;
    *high = INFINITY;
    switch (activation) {
    case SYSTOLE_ACTIVATION_NONE:
        return true;
    case SYSTOLE_ACTIVATION_RELU:
        *low = 0.0f;
        return true;
    case SYSTOLE_ACTIVATION_RELU6:
        *low = 0.0f;
        *high = 6.0f;
        return true;
    case SYSTOLE_ACTIVATION_RELU_N1_TO_1:
        *low = -1.0f;
        *high = 1.0f;
        return true;
    default:
        return false;
    }
}
