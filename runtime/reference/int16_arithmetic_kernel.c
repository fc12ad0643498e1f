// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// ADD and SUB of int16 with general scales (integer_ops/add.h, reference/sub.h): as in 8 bits, with a left shift of 15;
// SUB divides its scales in float32. MUL (integer_ops/mul.h). Operands broadcast.
#include "broadcast.h"
#include "sixteen_bit.h"

enum { LEFT_SHIFT = 15 };

struct arithmetic {
    struct systole_broadcast broadcast;
    int32_t code;
    struct systole_multiplier inputs[2], output; // of inputs: ADD, SUB
    int32_t clamp_min, clamp_max;
};

static void derive_multipliers(struct arithmetic *a, const float *scale, float output) {
    float twice = 2.0f * (scale[0] > scale[1] ? scale[0] : scale[1]);
    if (a->code == SYSTOLE_OP_MUL) {
        a->output = systole_quantize_multiplier((double)scale[0] * (double)scale[1] / (double)output);
        return;
    }
    bool is_float = a->code == SYSTOLE_OP_SUB;
    for (int k = 0; k < 2; k++) {
        double real = is_float ? (double)(scale[k] / twice) : (double)scale[k] / (double)twice;
        a->inputs[k] = systole_quantize_multiplier(real);
    }
    double real = is_float ? (double)(twice / ((float)(1 << LEFT_SHIFT) * output))
                           : (double)twice / ((double)(1 << LEFT_SHIFT) * (double)output);
    a->output = systole_quantize_multiplier(real);
}

static enum systole_status prepare(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *b = systole_kernel_input(call, 1), *output = systole_kernel_output(call);
    if (b == NULL || b->dtype != SYSTOLE_INT16) {
        return systole_kernel_refuse(call, diagnostic, "", "the two inputs are not both INT16");
    }
    enum systole_status status = systole_kernel_state(call, sizeof(struct arithmetic), diagnostic);
    struct arithmetic *a = call->state;
    if (status == SYSTOLE_OK) {
        status = systole_broadcast_derive(call, 2, &a->broadcast, diagnostic);
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
    a->code = call->op->code;
    derive_multipliers(a, scale, output_scale);
    return SYSTOLE_OK;
}

static int32_t combine(const struct arithmetic *a, int32_t x, int32_t y) {
    if (a->code == SYSTOLE_OP_MUL) {
        return systole_requantise(x * y, a->output.multiplier, a->output.shift);
    }
    int32_t s1 = systole_requantise(x * (1 << LEFT_SHIFT), a->inputs[0].multiplier, a->inputs[0].shift);
    int32_t s2 = systole_requantise(y * (1 << LEFT_SHIFT), a->inputs[1].multiplier, a->inputs[1].shift);
    s2 = a->code == SYSTOLE_OP_SUB ? -s2 : s2;
    return systole_requantise(systole_wrapping_add(s1, s2), a->output.multiplier, a->output.shift);
}

static void run_row(const struct systole_kernel_call *call, const size_t *offsets, const size_t *steps, size_t first,
                    size_t count) {
    const struct arithmetic *a = call->state;
    const int16_t *x = (const int16_t *)(const void *)systole_kernel_input_bytes(call, 0) + offsets[0];
    const int16_t *y = (const int16_t *)(const void *)systole_kernel_input_bytes(call, 1) + offsets[1];
    int16_t *output = (int16_t *)(void *)systole_kernel_output_bytes(call) + first;
    for (size_t i = 0; i < count; i++) {
        output[i] = (int16_t)systole_clamp(combine(a, x[i * steps[0]], y[i * steps[1]]), a->clamp_min, a->clamp_max);
    }
}

static enum systole_status run(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct arithmetic *a = call->state;
    systole_broadcast_walk(&a->broadcast, call, run_row);
    return SYSTOLE_OK;
}

const struct systole_kernel systole_int16_arithmetic_kernels[] = {
    {SYSTOLE_OP_ADD, SYSTOLE_INT16, SYSTOLE_INT16, prepare, run, NULL},
    {SYSTOLE_OP_SUB, SYSTOLE_INT16, SYSTOLE_INT16, prepare, run, NULL},
    {SYSTOLE_OP_MUL, SYSTOLE_INT16, SYSTOLE_INT16, prepare, run, NULL},
    {0},
};
