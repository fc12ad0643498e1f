// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// ADD in int8 and uint8 (integer_ops/add.h AddElementwise) and float32, with broadcasting of any rank: an operand's
// stride along an axis where it has one element is 0.
#include "fixed_point.h"
#include "kernel.h"
#include "quantised_parameters.h"

struct add {
    int32_t rank;
    size_t shape[SYSTOLE_MAX_RANK];
    size_t stride1[SYSTOLE_MAX_RANK], stride2[SYSTOLE_MAX_RANK];
    struct systole_add_parameters parameters;
    float low, high;
};

// Strides of an operand in the output's axes; false: it does not broadcast to the output.
static bool strides_of(const struct systole_tensor *operand, const struct systole_tensor *output, size_t *strides) {
    size_t step = 1;
    if (operand->rank > output->rank) {
        return false;
    }
    for (int32_t i = 1; i <= output->rank; i++) {
        int32_t extent = i <= operand->rank ? operand->shape[operand->rank - i] : 1;
        if (extent != 1 && extent != output->shape[output->rank - i]) {
            return false;
        }
        strides[output->rank - i] = extent == 1 ? 0 : step;
        step *= (size_t)extent;
    }
    return true;
}

static enum systole_status prepare(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *a = systole_kernel_input(call, 0), *b = systole_kernel_input(call, 1);
    const struct systole_tensor *output = systole_kernel_output(call);
    if (b == NULL || b->dtype != a->dtype) {
        return systole_kernel_refuse(call, diagnostic, "", "the two inputs are not both %s",
                                     systole_dtype_name(a->dtype));
    }
    enum systole_status status = systole_kernel_state(call, sizeof(struct add), diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct add *add = call->state;
    add->rank = output->rank;
    for (int32_t i = 0; i < output->rank; i++) {
        add->shape[i] = (size_t)output->shape[i];
    }
    bool fits = strides_of(a, output, add->stride1) && strides_of(b, output, add->stride2);
    // The output is no larger than what its inputs span.
    for (int32_t i = 0; fits && i < output->rank; i++) {
        fits = add->shape[i] == 1 || add->stride1[i] != 0 || add->stride2[i] != 0;
    }
    if (!fits) {
        return systole_kernel_refuse(call, diagnostic, "", "the inputs do not broadcast to the output's shape");
    }
    if (!systole_float_activation_range(call->op->options.activation, &add->low, &add->high)) {
        return systole_kernel_refuse(call, diagnostic, "", "this fused activation is not supported");
    }
    if (a->dtype == SYSTOLE_FLOAT32) {
        return SYSTOLE_OK;
    }
    return systole_add_parameters_derive(call->graph, call->operator_index, &add->parameters, diagnostic);
}

// Walks the output's rows (its last axis) and calls `row` with the offsets of the operands' first elements.
static void walk(const struct add *add, const struct systole_kernel_call *call,
                 void (*row)(const struct add *add, const struct systole_kernel_call *call, size_t offset1,
                             size_t offset2, size_t output, size_t count)) {
    size_t index[SYSTOLE_MAX_RANK] = {0};
    size_t offset1 = 0, offset2 = 0, output = 0;
    size_t count = add->rank > 0 ? add->shape[add->rank - 1] : 1;
    for (;;) {
        row(add, call, offset1, offset2, output, count);
        output += count;
        int32_t axis = add->rank - 2;
        for (; axis >= 0; axis--) {
            offset1 += add->stride1[axis];
            offset2 += add->stride2[axis];
            if (++index[axis] < add->shape[axis]) {
                break;
            }
            offset1 -= add->stride1[axis] * add->shape[axis];
            offset2 -= add->stride2[axis] * add->shape[axis];
            index[axis] = 0;
        }
        if (axis < 0) {
            return;
        }
    }
}

static int32_t byte_value(uint8_t byte, bool is_unsigned) {
    return is_unsigned ? byte : (int8_t)byte;
}

static void row_integer(const struct add *add, const struct systole_kernel_call *call, size_t offset1, size_t offset2,
                        size_t output_offset, size_t count) {
    const struct systole_add_parameters *p = &add->parameters;
    const uint8_t *a = systole_kernel_input_bytes(call, 0) + offset1;
    const uint8_t *b = systole_kernel_input_bytes(call, 1) + offset2;
    uint8_t *output = systole_kernel_output_bytes(call) + output_offset;
    bool is_unsigned = systole_kernel_input(call, 0)->dtype == SYSTOLE_UINT8;
    size_t step1 = add->rank > 0 ? add->stride1[add->rank - 1] : 0;
    size_t step2 = add->rank > 0 ? add->stride2[add->rank - 1] : 0;
    for (size_t i = 0; i < count; i++) {
        int32_t x = (byte_value(a[i * step1], is_unsigned) - p->input_zero_point) * (1 << p->left_shift);
        int32_t y = (byte_value(b[i * step2], is_unsigned) - p->input2_zero_point) * (1 << p->left_shift);
        int32_t sum = systole_wrapping_add(systole_requantise(x, p->input.multiplier, p->input.shift),
                                           systole_requantise(y, p->input2.multiplier, p->input2.shift));
        int32_t scaled = systole_requantise(sum, p->output.multiplier, p->output.shift);
        output[i] =
            (uint8_t)systole_clamp(systole_wrapping_add(scaled, p->output_zero_point), p->clamp_min, p->clamp_max);
    }
}

static void row_float(const struct add *add, const struct systole_kernel_call *call, size_t offset1, size_t offset2,
                      size_t output_offset, size_t count) {
    const float *a = (const float *)(const void *)systole_kernel_input_bytes(call, 0) + offset1;
    const float *b = (const float *)(const void *)systole_kernel_input_bytes(call, 1) + offset2;
    float *output = (float *)(void *)systole_kernel_output_bytes(call) + output_offset;
    size_t step1 = add->rank > 0 ? add->stride1[add->rank - 1] : 0;
    size_t step2 = add->rank > 0 ? add->stride2[add->rank - 1] : 0;
    for (size_t i = 0; i < count; i++) {
        output[i] = systole_clamp_float(a[i * step1] + b[i * step2], add->low, add->high);
    }
}

static enum systole_status run_integer(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    walk(call->state, call, row_integer);
    return SYSTOLE_OK;
}

static enum systole_status run_float(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    walk(call->state, call, row_float);
    return SYSTOLE_OK;
}

const struct systole_kernel systole_add_kernels[] = {
    {SYSTOLE_OP_ADD, SYSTOLE_INT8, SYSTOLE_INT8, prepare, run_integer, NULL},
    {SYSTOLE_OP_ADD, SYSTOLE_UINT8, SYSTOLE_UINT8, prepare, run_integer, NULL},
    {SYSTOLE_OP_ADD, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare, run_float, NULL},
    {0},
};
