// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// RELU, RELU6 and RELU_N1_TO_1 as operators of their own: 8 bits rescale from the input's to the output's quantisation
// and clamp (activations.cc QuantizedReluX); float32 clamps.
#include "eight_bit.h"

static enum systole_status prepare_float(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    if (!systole_same_shape(systole_kernel_input(call, 0), systole_kernel_output(call))) {
        return systole_kernel_refuse(call, diagnostic, "", "input and output differ in shape");
    }
    return SYSTOLE_OK;
}

static enum systole_status run_float(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    enum systole_activation activation = call->op->code == SYSTOLE_OP_RELU    ? SYSTOLE_ACTIVATION_RELU
                                         : call->op->code == SYSTOLE_OP_RELU6 ? SYSTOLE_ACTIVATION_RELU6
                                                                              : SYSTOLE_ACTIVATION_RELU_N1_TO_1;
    float low, high;
    systole_float_activation_range(activation, &low, &high);
    const float *input = (const float *)(const void *)systole_kernel_input_bytes(call, 0);
    float *output = (float *)(void *)systole_kernel_output_bytes(call);
    size_t count = systole_tensor_elements(systole_kernel_input(call, 0));
    for (size_t i = 0; i < count; i++) {
        output[i] = systole_clamp_float(input[i], low, high);
    }
    return SYSTOLE_OK;
}

const struct systole_kernel systole_relu_kernels[] = {
    {SYSTOLE_OP_RELU, SYSTOLE_INT8, SYSTOLE_INT8, systole_rescale_prepare, systole_rescale_run, NULL},
    {SYSTOLE_OP_RELU, SYSTOLE_UINT8, SYSTOLE_UINT8, systole_rescale_prepare, systole_rescale_run, NULL},
    {SYSTOLE_OP_RELU, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare_float, run_float, NULL},
    {SYSTOLE_OP_RELU6, SYSTOLE_INT8, SYSTOLE_INT8, systole_rescale_prepare, systole_rescale_run, NULL},
    {SYSTOLE_OP_RELU6, SYSTOLE_UINT8, SYSTOLE_UINT8, systole_rescale_prepare, systole_rescale_run, NULL},
    {SYSTOLE_OP_RELU6, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare_float, run_float, NULL},
    {SYSTOLE_OP_RELU_N1_TO_1, SYSTOLE_INT8, SYSTOLE_INT8, systole_rescale_prepare, systole_rescale_run, NULL},
    {SYSTOLE_OP_RELU_N1_TO_1, SYSTOLE_UINT8, SYSTOLE_UINT8, systole_rescale_prepare, systole_rescale_run, NULL},
    {SYSTOLE_OP_RELU_N1_TO_1, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare_float, run_float, NULL},
    {0},
};
