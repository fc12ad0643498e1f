// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// RELU, RELU6 and RELU_N1_TO_1 as operators of their own: 8 bits rescale from the input's to the output's quantisation
// and clamp (activations.cc QuantizedReluX); float32 clamps.
#include "fixed_point.h"
#include "kernel.h"
#include "quantised_parameters.h"

static enum systole_status prepare(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    if (!systole_same_shape(systole_kernel_input(call, 0), systole_kernel_output(call))) {
        return systole_kernel_refuse(call, diagnostic, "", "input and output differ in shape");
    }
    if (systole_kernel_output(call)->dtype == SYSTOLE_FLOAT32) {
        return SYSTOLE_OK;
    }
    enum systole_status status = systole_kernel_state(call, sizeof(struct systole_rescale_parameters), diagnostic);
    if (status == SYSTOLE_OK) {
        status = systole_rescale_parameters_derive(call->graph, call->operator_index, call->state, diagnostic);
    }
    return status;
}

static enum systole_status run_integer(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct systole_rescale_parameters *p = call->state;
    const struct systole_tensor *tensor = systole_kernel_input(call, 0);
    const uint8_t *input = systole_kernel_input_bytes(call, 0);
    uint8_t *output = systole_kernel_output_bytes(call);
    size_t count = systole_tensor_elements(tensor);
    bool is_unsigned = tensor->dtype == SYSTOLE_UINT8;
    for (size_t i = 0; i < count; i++) {
        int32_t value = (is_unsigned ? input[i] : (int8_t)input[i]) - p->input_zero_point;
        int32_t scaled = systole_requantise(value, p->multiplier.multiplier, p->multiplier.shift);
        output[i] =
            (uint8_t)systole_clamp(systole_wrapping_add(scaled, p->output_zero_point), p->clamp_min, p->clamp_max);
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
    {SYSTOLE_OP_RELU, SYSTOLE_INT8, SYSTOLE_INT8, prepare, run_integer, NULL},
    {SYSTOLE_OP_RELU, SYSTOLE_UINT8, SYSTOLE_UINT8, prepare, run_integer, NULL},
    {SYSTOLE_OP_RELU, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare, run_float, NULL},
    {SYSTOLE_OP_RELU6, SYSTOLE_INT8, SYSTOLE_INT8, prepare, run_integer, NULL},
    {SYSTOLE_OP_RELU6, SYSTOLE_UINT8, SYSTOLE_UINT8, prepare, run_integer, NULL},
    {SYSTOLE_OP_RELU6, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare, run_float, NULL},
    {SYSTOLE_OP_RELU_N1_TO_1, SYSTOLE_INT8, SYSTOLE_INT8, prepare, run_integer, NULL},
    {SYSTOLE_OP_RELU_N1_TO_1, SYSTOLE_UINT8, SYSTOLE_UINT8, prepare, run_integer, NULL},
    {SYSTOLE_OP_RELU_N1_TO_1, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare, run_float, NULL},
    {0},
};
