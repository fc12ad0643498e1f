// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// ADD of int16 with general scales (integer_ops/add.h): as in 8 bits, with a left shift of 15. Operands broadcast.
#include "sixteen_bit.h"

enum { LEFT_SHIFT = 15 };

struct arithmetic {
    int32_t rank;
    size_t shape[SYSTOLE_MAX_RANK], steps[2][SYSTOLE_MAX_RANK];
    struct systole_multiplier inputs[2], output;
    int32_t clamp_min, clamp_max;
};

// Steps of an operand along the output's axes; false: it does not broadcast to them.
static bool steps_of(const struct systole_tensor *operand, const struct systole_tensor *output, size_t *steps) {
    size_t step = 1;
    for (int32_t i = 1; i <= output->rank; i++) {
        int32_t extent = i <= operand->rank ? operand->shape[operand->rank - i] : 1;
        if (extent != 1 && extent != output->shape[output->rank - i]) {
            return false;
        }
        steps[output->rank - i] = extent == 1 ? 0 : step;
        step *= (size_t)extent;
    }
    return operand->rank <= output->rank;
}

static enum systole_status derive_broadcast(const struct systole_kernel_call *call, struct arithmetic *a,
                                            struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *output = systole_kernel_output(call);
    a->rank = output->rank;
    bool fits = true;
    for (uint32_t k = 0; k < 2; k++) {
        fits = fits && steps_of(systole_kernel_input(call, k), output, a->steps[k]);
    }
    for (int32_t i = 0; fits && i < a->rank; i++) { // the output is no larger than what its inputs span
        a->shape[i] = (size_t)output->shape[i];
        fits = a->shape[i] == 1 || a->steps[0][i] != 0 || a->steps[1][i] != 0;
    }
    return fits ? SYSTOLE_OK
                : systole_kernel_refuse(call, diagnostic, "", "the inputs do not broadcast to the output's shape");
}

static enum systole_status prepare(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *b = systole_kernel_input(call, 1), *output = systole_kernel_output(call);
    if (b == NULL || b->dtype != SYSTOLE_INT16) {
        return systole_kernel_refuse(call, diagnostic, "", "the two inputs are not both INT16");
    }
    enum systole_status status = systole_kernel_state(call, sizeof(struct arithmetic), diagnostic);
    struct arithmetic *a = call->state;
    if (status == SYSTOLE_OK) {
        status = derive_broadcast(call, a, diagnostic);
    }
    float scale[2] = {1.0f, 1.0f}, output_scale = 1.0f, low, high;
    for (uint32_t k = 0; k < 2 && status == SYSTOLE_OK; k++) {
        status = systole_kernel_symmetric_scale(call, systole_kernel_input(call, k), "input", &scale[k], diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = systole_kernel_symmetric_scale(call, output, "output", &output_scale, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    if (!systole_float_activation_range(call->op->options.activation, &low, &high)) {
        return systole_kernel_refuse(call, diagnostic, "", "this fused activation is not supported");
    }
    systole_activation_range(output, call->op->options.activation, &a->clamp_min, &a->clamp_max);
    float larger = scale[0] > scale[1] ? scale[0] : scale[1];
    double twice = 2.0 * (double)larger;
    for (int k = 0; k < 2; k++) {
        a->inputs[k] = systole_quantize_multiplier((double)scale[k] / twice);
    }
    a->output = systole_quantize_multiplier(twice / ((double)(1 << LEFT_SHIFT) * (double)output_scale));
    return SYSTOLE_OK;
}

static int32_t combine(const struct arithmetic *a, int32_t x, int32_t y) {
    int32_t s1 = systole_requantise(x * (1 << LEFT_SHIFT), a->inputs[0].multiplier, a->inputs[0].shift);
    int32_t s2 = systole_requantise(y * (1 << LEFT_SHIFT), a->inputs[1].multiplier, a->inputs[1].shift);
    return systole_requantise(systole_wrapping_add(s1, s2), a->output.multiplier, a->output.shift);
}

static enum systole_status run(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct arithmetic *a = call->state;
    const int16_t *x = (const int16_t *)(const void *)systole_kernel_input_bytes(call, 0);
    const int16_t *y = (const int16_t *)(const void *)systole_kernel_input_bytes(call, 1);
    int16_t *output = (int16_t *)(void *)systole_kernel_output_bytes(call);
    size_t count = systole_tensor_elements(systole_kernel_output(call));
    for (size_t i = 0; i < count; i++) {
        size_t rest = i, offset_x = 0, offset_y = 0;
        for (int32_t axis = a->rank - 1; axis >= 0; axis--) {
            offset_x += rest % a->shape[axis] * a->steps[0][axis];
            offset_y += rest % a->shape[axis] * a->steps[1][axis];
            rest /= a->shape[axis];
        }
        output[i] = (int16_t)systole_clamp(combine(a, x[offset_x], y[offset_y]), a->clamp_min, a->clamp_max);
    }
    return SYSTOLE_OK;
}

const struct systole_kernel systole_int16_arithmetic_kernels[] = {
    {SYSTOLE_OP_ADD, SYSTOLE_INT16, SYSTOLE_INT16, prepare, run, NULL},
    {0},
};
