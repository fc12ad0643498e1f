// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// SOFTMAX over the last axis in int8, uint8 (reference/softmax.h with gemmlowp's fixed-point exponential and
// reciprocal) and float32. "Qm" below is a signed 32-bit number with m integer bits: value = raw * 2^(m - 31). The
// exponential is a Taylor polynomial on [-1/4, 0) times a product of exp(-2^k) for the bits of the rest; the
// reciprocal is three steps of Newton and Raphson. docs/numbers.md has the formats.
#include "fixed_point.h"
#include "kernel.h"
#include "quantised_parameters.h"

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
    float input_scale = 1.0f, output_scale = 1.0f;
    int32_t input_zero_point = 0, output_zero_point = 0;
    status = systole_tensor_affine(call->graph, call->operator_index, call->op->inputs[0], "input", &input_scale,
                                   &input_zero_point, diagnostic);
    if (status == SYSTOLE_OK) {
        status = systole_tensor_affine(call->graph, call->operator_index, call->op->outputs[0], "output", &output_scale,
                                       &output_zero_point, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    // softmax.cc: the output's format is fixed.
    if (fabs((double)output_scale - 1.0 / 256.0) > 0.001 / 256.0 ||
        output_zero_point != (softmax->is_unsigned ? 0 : -128)) {
        return systole_kernel_refuse(call, diagnostic, "",
                                     "the output is not scaled by 1/256 from the type's least value");
    }
    // quantization_util.cc PreprocessSoftmaxScaling and CalculateInputRadius.
    double real = (double)softmax->beta * (double)input_scale * (double)(1 << (31 - DIFFERENCE_INTEGER_BITS));
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

static int32_t multiply(int32_t a, int32_t b) {
    return systole_rounding_doubling_high_multiply(a, b);
}

static int32_t shift_left_saturating(int32_t x, int32_t exponent) {
    int32_t limit = (1 << (31 - exponent)) - 1;
    return x > limit ? INT32_MAX : x < -limit ? INT32_MIN : (int32_t)((uint32_t)x << exponent);
}

// exp(a) for a in [-1/4, 0), both Q0 (exp_on_interval_between_negative_one_quarter_and_0_excl).
static int32_t exponential_near_zero(int32_t a) {
    const int32_t exp_of_minus_eighth = 1895147668, third = 715827883;
    int32_t x = a + (1 << 28); // around -1/8
    int32_t x2 = multiply(x, x), x3 = multiply(x2, x), x4 = multiply(x2, x2);
    int32_t x4_over_4 = systole_rounding_divide_by_power_of_two(x4, 2);
    int32_t rest = systole_rounding_divide_by_power_of_two(multiply(x4_over_4 + x3, third) + x2, 1);
    return exp_of_minus_eighth + multiply(exp_of_minus_eighth, x + rest);
}

// exp(a) in Q0 for a <= 0 in Q5 (exp_on_negative_values).
static int32_t exponential(int32_t a) {
    static const int32_t factors[] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
    const int32_t fraction_bits = 31 - DIFFERENCE_INTEGER_BITS, quarter = 1 << (31 - DIFFERENCE_INTEGER_BITS - 2);
    if (a == 0) {
        return INT32_MAX;
    }
    int32_t fine = (a & (quarter - 1)) - quarter;
    int32_t result = exponential_near_zero(shift_left_saturating(fine, DIFFERENCE_INTEGER_BITS));
    int32_t remainder = systole_wrapping_add(fine, (int32_t)(0u - (uint32_t)a));
    for (int32_t k = -2; k < DIFFERENCE_INTEGER_BITS; k++) { // exp(-2^k)
        if ((remainder & (int32_t)(1u << (fraction_bits + k))) != 0) {
            result = multiply(result, factors[k + 2]);
        }
    }
    return result;
}

// 1 / (1 + x) in Q0 for x in [0, 1) in Q0 (one_over_one_plus_x_for_x_in_0_1).
static int32_t reciprocal_of_one_plus(int32_t x) {
    const int32_t one_q2 = 1 << 29;
    int32_t half_denominator = (int32_t)(((int64_t)x + INT32_MAX + 1) / 2);
    int32_t estimate = 1515870810 + multiply(half_denominator, -1010580540); // 48/17 - 32/17 * d, Q2
    for (int i = 0; i < 3; i++) {
        int32_t error = one_q2 - multiply(half_denominator, estimate);
        estimate += shift_left_saturating(multiply(estimate, error), 2);
    }
    return shift_left_saturating(estimate, 1);
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
            exponentials[difference] = exponential(multiply(shifted, softmax->scale.multiplier));
            known[difference] = true;
        }
        uint32_t term = (uint32_t)systole_rounding_divide_by_power_of_two(exponentials[difference], SUM_INTEGER_BITS);
        sum = sum + term < sum ? UINT32_MAX : sum + term;
    }
    int32_t headroom = __builtin_clz(sum); // the largest adds 2^19: never 0
    int32_t over_unit = SUM_INTEGER_BITS - headroom;
    int32_t inverse = reciprocal_of_one_plus((int32_t)((sum << headroom) - 0x80000000u));
    for (size_t i = 0; i < softmax->depth; i++) {
        int32_t difference = largest - (input[i] ^ flip);
        int32_t value = 0;
        if (-difference >= softmax->smallest_difference && over_unit + 31 - 8 <= 31) {
            value = systole_rounding_divide_by_power_of_two(multiply(inverse, exponentials[difference]),
                                                            over_unit + 31 - 8);
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
