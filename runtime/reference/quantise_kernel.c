// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// QUANTIZE between 8-bit types (reference/requantize.h) and from float32 (reference/quantize.h AffineQuantize);
// DEQUANTIZE of 8- and 16-bit types (reference/dequantize.h) and of float16.
#include "eight_bit.h"
#include "half.h"

#include <math.h>

static enum systole_status prepare_affine(struct systole_kernel_call *call, const struct systole_tensor *quantised,
                                          int32_t tensor, struct systole_diagnostic *diagnostic) {
    if (!systole_same_shape(systole_kernel_input(call, 0), systole_kernel_output(call))) {
        return systole_kernel_refuse(call, diagnostic, "", "input and output differ in shape");
    }
    enum systole_status status = systole_kernel_state(call, sizeof(struct systole_affine), diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct systole_affine *affine = call->state;
    if (quantised->dtype != SYSTOLE_INT16) {
        return systole_tensor_affine(call->graph, call->operator_index, tensor, "quantised tensor", &affine->scale,
                                     &affine->zero_point, diagnostic);
    }
    const struct systole_quantisation *q = &quantised->quantisation;
    if (q->count != 1 || !isfinite(q->scale[0]) || q->scale[0] <= 0.0f || q->zero_point[0] < INT16_MIN ||
        q->zero_point[0] > INT16_MAX) {
        return systole_kernel_refuse(call, diagnostic, "", "the int16 tensor does not have one scale and zero point");
    }
    affine->scale = q->scale[0];
    affine->zero_point = (int32_t)q->zero_point[0];
    return SYSTOLE_OK;
}

static enum systole_status prepare_quantise(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    return prepare_affine(call, systole_kernel_output(call), call->op->outputs[0], diagnostic);
}

static enum systole_status run_quantise(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct systole_affine *affine = call->state;
    const struct systole_tensor *tensor = systole_kernel_output(call);
    const float *input = (const float *)(const void *)systole_kernel_input_bytes(call, 0);
    uint8_t *output = systole_kernel_output_bytes(call);
    size_t count = systole_tensor_elements(tensor);
    double low = tensor->dtype == SYSTOLE_UINT8 ? 0.0 : -128.0, high = tensor->dtype == SYSTOLE_UINT8 ? 255.0 : 127.0;
    for (size_t i = 0; i < count; i++) {
        double value = (double)roundf(input[i] / affine->scale) + affine->zero_point;
        value = value >= low ? value : low; // also for what is not a number
        value = value <= high ? value : high;
        output[i] = (uint8_t)(int32_t)value;
    }
    return SYSTOLE_OK;
}

static enum systole_status prepare_dequantise(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    return prepare_affine(call, systole_kernel_input(call, 0), call->op->inputs[0], diagnostic);
}

static enum systole_status run_dequantise(const struct systole_kernel_call *call,
                                          struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct systole_affine *affine = call->state;
    const struct systole_tensor *tensor = systole_kernel_input(call, 0);
    const uint8_t *input = systole_kernel_input_bytes(call, 0);
    const int16_t *wide = (const int16_t *)(const void *)input;
    float *output = (float *)(void *)systole_kernel_output_bytes(call);
    size_t count = systole_tensor_elements(tensor);
    for (size_t i = 0; i < count; i++) {
        int32_t value = tensor->dtype == SYSTOLE_UINT8  ? input[i]
                        : tensor->dtype == SYSTOLE_INT8 ? (int8_t)input[i]
                                                        : wide[i];
        output[i] = (float)((double)affine->scale * (double)(value - affine->zero_point));
    }
    return SYSTOLE_OK;
}

static enum systole_status prepare_half(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    if (!systole_same_shape(systole_kernel_input(call, 0), systole_kernel_output(call))) {
        return systole_kernel_refuse(call, diagnostic, "", "input and output differ in shape");
    }
    return SYSTOLE_OK;
}

static enum systole_status run_half(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const uint16_t *input = (const uint16_t *)(const void *)systole_kernel_input_bytes(call, 0);
    float *output = (float *)(void *)systole_kernel_output_bytes(call);
    size_t count = systole_tensor_elements(systole_kernel_input(call, 0));
    for (size_t i = 0; i < count; i++) {
        output[i] = systole_float_of_half(input[i]);
    }
    return SYSTOLE_OK;
}

const struct systole_kernel systole_quantise_kernels[] = {
    {SYSTOLE_OP_QUANTIZE, SYSTOLE_INT8, SYSTOLE_INT8, systole_rescale_prepare, systole_rescale_run, NULL},
    {SYSTOLE_OP_QUANTIZE, SYSTOLE_INT8, SYSTOLE_UINT8, systole_rescale_prepare, systole_rescale_run, NULL},
    {SYSTOLE_OP_QUANTIZE, SYSTOLE_UINT8, SYSTOLE_INT8, systole_rescale_prepare, systole_rescale_run, NULL},
    {SYSTOLE_OP_QUANTIZE, SYSTOLE_UINT8, SYSTOLE_UINT8, systole_rescale_prepare, systole_rescale_run, NULL},
    {SYSTOLE_OP_QUANTIZE, SYSTOLE_FLOAT32, SYSTOLE_INT8, prepare_quantise, run_quantise, NULL},
    {SYSTOLE_OP_QUANTIZE, SYSTOLE_FLOAT32, SYSTOLE_UINT8, prepare_quantise, run_quantise, NULL},
    {SYSTOLE_OP_DEQUANTIZE, SYSTOLE_INT8, SYSTOLE_FLOAT32, prepare_dequantise, run_dequantise, NULL},
    {SYSTOLE_OP_DEQUANTIZE, SYSTOLE_UINT8, SYSTOLE_FLOAT32, prepare_dequantise, run_dequantise, NULL},
    {SYSTOLE_OP_DEQUANTIZE, SYSTOLE_INT16, SYSTOLE_FLOAT32, prepare_dequantise, run_dequantise, NULL},
    {SYSTOLE_OP_DEQUANTIZE, SYSTOLE_FLOAT16, SYSTOLE_FLOAT32, prepare_half, run_half, NULL},
    {0},
};
