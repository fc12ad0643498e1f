// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// ADD in int8 and uint8 (integer_ops/add.h AddElementwise) and float32, with broadcasting of any rank.
#include "broadcast.h"
#include "fixed_point.h"
#include "quantised_parameters.h"

struct add {
    struct systole_broadcast broadcast;
    struct systole_add_parameters parameters;
    float low, high;
};

static enum systole_status prepare(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *a = systole_kernel_input(call, 0), *b = systole_kernel_input(call, 1);
    if (b == NULL || b->dtype != a->dtype) {
        return systole_kernel_refuse(call, diagnostic, "", "the two inputs are not both %s",
                                     systole_dtype_name(a->dtype));
    }
    enum systole_status status = systole_kernel_state(call, sizeof(struct add), diagnostic);
    struct add *add = call->state;
    if (status == SYSTOLE_OK) {
        status = systole_broadcast_derive(call, 2, &add->broadcast, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    if (!systole_float_activation_range(call->op->options.activation, &add->low, &add->high)) {
        return systole_kernel_refuse(call, diagnostic, "", "this fused activation is not supported");
    }
    if (a->dtype == SYSTOLE_FLOAT32) {
        return SYSTOLE_OK;
    }
    return systole_add_parameters_derive(call->graph, call->operator_index, &add->parameters, diagnostic);
}

static int32_t byte_value(uint8_t byte, bool is_unsigned) {
    return is_unsigned ? byte : (int8_t)byte;
}

static void row_integer(const struct systole_kernel_call *call, const size_t *offsets, const size_t *steps,
                        size_t output_offset, size_t count) {
    const struct systole_add_parameters *p = &((const struct add *)call->state)->parameters;
    const uint8_t *a = systole_kernel_input_bytes(call, 0) + offsets[0];
    const uint8_t *b = systole_kernel_input_bytes(call, 1) + offsets[1];
    uint8_t *output = systole_kernel_output_bytes(call) + output_offset;
    bool is_unsigned = systole_kernel_input(call, 0)->dtype == SYSTOLE_UINT8;
    for (size_t i = 0; i < count; i++) {
        int32_t x = (byte_value(a[i * steps[0]], is_unsigned) - p->input_zero_point) * (1 << p->left_shift);
        int32_t y = (byte_value(b[i * steps[1]], is_unsigned) - p->input2_zero_point) * (1 << p->left_shift);
        int32_t sum = systole_wrapping_add(systole_requantise(x, p->input.multiplier, p->input.shift),
                                           systole_requantise(y, p->input2.multiplier, p->input2.shift));
        int32_t scaled = systole_requantise(sum, p->output.multiplier, p->output.shift);
        output[i] =
            (uint8_t)systole_clamp(systole_wrapping_add(scaled, p->output_zero_point), p->clamp_min, p->clamp_max);
    }
}

static void row_float(const struct systole_kernel_call *call, const size_t *offsets, const size_t *steps,
                      size_t output_offset, size_t count) {
    const struct add *add = call->state;
    const float *a = (const float *)(const void *)systole_kernel_input_bytes(call, 0) + offsets[0];
    const float *b = (const float *)(const void *)systole_kernel_input_bytes(call, 1) + offsets[1];
    float *output = (float *)(void *)systole_kernel_output_bytes(call) + output_offset;
    for (size_t i = 0; i < count; i++) {
        output[i] = systole_clamp_float(a[i * steps[0]] + b[i * steps[1]], add->low, add->high);
    }
}

static enum systole_status run_integer(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    systole_broadcast_walk(&((const struct add *)call->state)->broadcast, call, row_integer);
    return SYSTOLE_OK;
}

static enum systole_status run_float(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    systole_broadcast_walk(&((const struct add *)call->state)->broadcast, call, row_float);
    return SYSTOLE_OK;
}

const struct systole_kernel systole_add_kernels[] = {
    {SYSTOLE_OP_ADD, SYSTOLE_INT8, SYSTOLE_INT8, prepare, run_integer, NULL},
    {SYSTOLE_OP_ADD, SYSTOLE_UINT8, SYSTOLE_UINT8, prepare, run_integer, NULL},
    {SYSTOLE_OP_ADD, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare, run_float, NULL},
    {0},
};
