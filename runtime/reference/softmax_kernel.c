// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// SOFTMAX over the last axis in int8, uint8 (reference/softmax.h with gemmlowp's fixed-point exponential and
// reciprocal) and float32. "Qm" below is a signed 32-bit number with m integer bits: value = raw * 2^(m - 31). The
// exponential is a Taylor polynomial on [-1/4, 0) times a product of exp(-2^k) for the bits of the rest; the
// reciprocal is three steps of Newton and Raphson. docs/numbers.md has the formats.
#include "eight_bit.h"
#include "fixed_point_functions.h"

#include <math.h>

enum { DIFFERENCE_INTEGER_BITS = 5, SUM_INTEGER_BITS = 12 };

struct softmax {
    size_t rows, depth;
    float beta;
    bool is_unsigned;
    struct systole_multiplier scale; // difference of inputs to Q5
    int32_t smallest_difference;     // below it the exponential is taken as 0
};

static enum systole_status prepare(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *output = systole_kernel_output(call);
    if (!systole_same_shape(input, output) || input->rank < 1) {
        return systole_kernel_refuse(call, diagnostic, "", "input and output differ in shape or have no axis");
    }
    enum systole_status status = systole_kernel_state(call, sizeof(struct softmax), diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct softmax *softmax = call->state;
    softmax->depth = (size_t)input->shape[input->rank - 1];
    softmax->rows = systole_tensor_elements(input) / softmax->depth;
    softmax->beta = call->op->options.beta;
    softmax->is_unsigned = input->dtype == SYSTOLE_UINT8;
    if (!isfinite(softmax->beta)) {
        return systole_kernel_refuse(call, diagnostic, "", "beta is not finite");
    }
    if (input->dtype == SYSTOLE_FLOAT32) {
        return SYSTOLE_OK;
    }
    struct systole_affine from, to;
    status = systole_eight_bit_ends(call, &from, &to, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    // softmax.cc: the output's format is fixed.
    if (fabs((double)to.scale - 1.0 / 256.0) > 0.001 / 256.0 || to.zero_point != (softmax->is_unsigned ? 0 : -128)) {
        return systole_kernel_refuse(call, diagnostic, "",
                                     "the output is not scaled by 1/256 from the type's least value");
    }
    // quantization_util.cc PreprocessSoftmaxScaling and CalculateInputRadius.
    double real = (double)softmax->beta * (double)from.scale * (double)(1 << (31 - DIFFERENCE_INTEGER_BITS));
    real = real < 2147483647.0 ? real : 2147483647.0;
    if (!(real > 1.0)) {
        return systole_kernel_refuse(call, diagnostic, "", "beta times the input's scale is not above 2^-26");
    }
    softmax->scale = systole_quantize_multiplier(real);
    double radius = (double)((1 << DIFFERENCE_INTEGER_BITS) - 1) * (double)(1 << (31 - DIFFERENCE_INTEGER_BITS)) /
                    (double)((int64_t)1 << softmax->scale.shift);
    softmax->smallest_difference = -(int32_t)floor(radius);
    return SYSTOLE_OK;
}

static void run_row(const struct softmax *softmax, const uint8_t *input, uint8_t *output) {
    int32_t flip = softmax->is_unsigned ? 0 : 0x80; // orders int8 bytes as unsigned ones; differences are the same
    int32_t largest = 0;
    for (size_t i = 0; i < softmax->depth; i++) {
        int32_t value = input[i] ^ flip;
        largest = value > largest ? value : largest;
    }
    int32_t exponentials[256]; // by difference
    uint32_t sum = 0;
    bool known[256] = {false};
    for (size_t i = 0; i < softmax->depth; i++) {
        int32_t difference = largest - (input[i] ^ flip);
        if (-difference < softmax->smallest_difference) {
            continue;
        }
        if (!known[difference]) {
            int32_t shifted = (int32_t)((uint32_t)-difference << softmax->scale.shift);
            exponentials[difference] = systole_fixed_exponential(
                systole_rounding_doubling_high_multiply(shifted, softmax->scale.multiplier), DIFFERENCE_INTEGER_BITS);
            known[difference] = true;
        }
        uint32_t term = (uint32_t)systole_rounding_divide_by_power_of_two(exponentials[difference], SUM_INTEGER_BITS);
        sum = sum + term < sum ? UINT32_MAX : sum + term;
    }
    int32_t headroom = __builtin_clz(sum); // the largest adds 2^19: never 0
    int32_t over_unit = SUM_INTEGER_BITS - headroom;
    int32_t inverse = systole_fixed_reciprocal_of_one_plus((int32_t)((sum << headroom) - 0x80000000u));
    for (size_t i = 0; i < softmax->depth; i++) {
        int32_t difference = largest - (input[i] ^ flip);
        int32_t value = 0;
        if (-difference >= softmax->smallest_difference && over_unit + 31 - 8 <= 31) {
            value = systole_rounding_divide_by_power_of_two(
                systole_rounding_doubling_high_multiply(inverse, exponentials[difference]), over_unit + 31 - 8);
        }
        output[i] = (uint8_t)(systole_clamp(value, 0, 255) ^ flip);
    }
}

static enum systole_status run_integer(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct softmax *softmax = call->state;
    const uint8_t *input = systole_kernel_input_bytes(call, 0);
    uint8_t *output = systole_kernel_output_bytes(call);
    for (size_t row = 0; row < softmax->rows; row++) {
        run_row(softmax, input + row * softmax->depth, output + row * softmax->depth);
    }
    return SYSTOLE_OK;
}

static enum systole_status run_float(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct softmax *softmax = call->state;
    const float *input = (const float *)(const void *)systole_kernel_input_bytes(call, 0);
    float *output = (float *)(void *)systole_kernel_output_bytes(call);
    for (size_t row = 0; row < softmax->rows; row++, input += softmax->depth, output += softmax->depth) {
        float largest = input[0];
        for (size_t i = 1; i < softmax->depth; i++) {
            largest = input[i] > largest ? input[i] : largest;
        }
        float sum = 0.0f;
        for (size_t i = 0; i < softmax->depth; i++) {
            output[i] = expf((input[i] - largest) * softmax->beta);
            sum += output[i];
        }
        for (size_t i = 0; i < softmax->depth; i++) {
            output[i] /= sum;
        }
    }
    return SYSTOLE_OK;
}

const struct systole_kernel systole_softmax_kernels[] = {
    {SYSTOLE_OP_SOFTMAX, SYSTOLE_INT8, SYSTOLE_INT8, prepare, run_integer, NULL},
    {SYSTOLE_OP_SOFTMAX, SYSTOLE_UINT8, SYSTOLE_UINT8, prepare, run_integer, NULL},
    {SYSTOLE_OP_SOFTMAX, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare, run_float, NULL},
    {0},
};
