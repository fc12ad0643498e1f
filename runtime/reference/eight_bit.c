// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Arithmetic and checks that several kernels on 8-bit tensors have in common.
#include "eight_bit.h"

#include "fixed_point.h"

enum systole_status systole_eight_bit_ends(const struct systole_kernel_call *call, struct systole_affine *input,
                                           struct systole_affine *output, struct systole_diagnostic *diagnostic) {
    *input = *output = (struct systole_affine){1.0f, 0};
    enum systole_status status = systole_tensor_affine(call->graph, call->operator_index, call->op->inputs[0], "input",
                                                       &input->scale, &input->zero_point, diagnostic);
    return status != SYSTOLE_OK ? status
                                : systole_tensor_affine(call->graph, call->operator_index, call->op->outputs[0],
                                                        "output", &output->scale, &output->zero_point, diagnostic);
}

enum systole_status systole_eight_bit_sums(const struct systole_kernel_call *call, uint32_t bias_place,
                                           int32_t channels, float *low, float *high,
                                           struct systole_convolution_parameters *parameters,
                                           struct systole_diagnostic *diagnostic) {
    enum systole_dtype dtype = systole_kernel_output(call)->dtype;
    bool is_float = dtype == SYSTOLE_FLOAT32;
    enum systole_status status =
        systole_kernel_check_bias(call, bias_place, is_float ? SYSTOLE_FLOAT32 : SYSTOLE_INT32, channels, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    if (!systole_float_activation_range(call->op->options.activation, low, high)) {
        return systole_kernel_refuse(call, diagnostic, "", "this fused activation is not supported");
    }
    if (is_float) {
        return SYSTOLE_OK;
    }
    if (dtype == SYSTOLE_UINT8 && systole_kernel_input(call, 1)->quantisation.count != 1) {
        return systole_kernel_refuse(call, diagnostic, "", "uint8 weights have more than one scale");
    }
    return systole_convolution_parameters_derive(call->graph, call->operator_index, parameters, diagnostic);
}

enum systole_status systole_rescale_prepare(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    if (!systole_same_shape(systole_kernel_input(call, 0), systole_kernel_output(call))) {
        return systole_kernel_refuse(call, diagnostic, "", "input and output differ in shape");
    }
    enum systole_status status = systole_kernel_state(call, sizeof(struct systole_rescale_parameters), diagnostic);
    if (status == SYSTOLE_OK) {
        status = systole_rescale_parameters_derive(call->graph, call->operator_index, call->state, diagnostic);
    }
    return status;
}

enum systole_status systole_rescale_run(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
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
