// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// LOG_SOFTMAX over the last axis in int8 (integer_ops/log_softmax.h) and float32: the difference to the row's largest
// element minus the logarithm of the sum of exponentials, all in fixed point. The logarithm (log_softmax's
// log_x_for_x_greater_than_or_equal_to_1) takes the nearer of two powers of two around x, one of them through the
// square root of a half, and a rational approximation of what is left.
#include "eight_bit.h"
#include "fixed_point_functions.h"

#include <math.h>

enum { DIFFERENCE_INTEGER_BITS = 5, SUM_INTEGER_BITS = 12, OUTPUT_INTEGER_BITS = 4, OUTPUT_ZERO_POINT = 127 };

struct log_softmax {
    size_t rows, depth;
    struct systole_multiplier scale;   // difference of inputs to Q5
    struct systole_multiplier inverse; // and back
    int32_t smallest_difference;
};

static enum systole_status prepare(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *output = systole_kernel_output(call);
    if (!systole_same_shape(input, output) || input->rank < 1) {
        return systole_kernel_refuse(call, diagnostic, "", "input and output differ in shape or have no axis");
    }
    enum systole_status status = systole_kernel_state(call, sizeof(struct log_softmax), diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct log_softmax *l = call->state;
    l->depth = (size_t)input->shape[input->rank - 1];
    l->rows = systole_tensor_elements(input) / l->depth;
    if (input->dtype == SYSTOLE_FLOAT32) {
        return SYSTOLE_OK;
    }
    struct systole_affine from, to;
    status = systole_eight_bit_ends(call, &from, &to, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    if (to.scale != 16.0f / 256.0f || to.zero_point != OUTPUT_ZERO_POINT) {
        return systole_kernel_refuse(call, diagnostic, "", "the output is not scaled by 1/16 from zero point 127");
    }
    if (l->depth >= 1u << SUM_INTEGER_BITS) {
        return systole_kernel_refuse(call, diagnostic, "", "%zu elements a row are more than %d", l->depth,
                                     (1 << SUM_INTEGER_BITS) - 1);
    }
    // quantization_util.cc PreprocessLogSoftmaxScalingExp and CalculateInputRadius.
    const int32_t fraction_bits = 31 - DIFFERENCE_INTEGER_BITS;
    double real = (double)from.scale * (double)(1 << fraction_bits);
    real = real < 2147483647.0 ? real : 2147483647.0;
    if (!(real > 1.0)) {
        return systole_kernel_refuse(call, diagnostic, "", "the input's scale is not above 2^-26");
    }
    l->scale = systole_quantize_multiplier(real);
    l->inverse = systole_quantize_multiplier(ldexp(1.0, 31 - l->scale.shift) / (double)l->scale.multiplier);
    double radius = (double)((1 << DIFFERENCE_INTEGER_BITS) - 1) * (double)(1 << fraction_bits) /
                    (double)((int64_t)1 << l->scale.shift);
    l->smallest_difference = -(int32_t)floor(radius);
    return SYSTOLE_OK;
}

static int32_t multiply(int32_t a, int32_t b) {
    return systole_rounding_doubling_high_multiply(a, b);
}

static int32_t half_sum(int32_t a, int32_t b) { // half away from zero
    int64_t sum = (int64_t)a + b;
    return (int32_t)((sum + (sum >= 0 ? 1 : -1)) / 2);
}

static int32_t leading_zeros(int32_t x) {
    return x == 0 ? 32 : __builtin_clz((uint32_t)x);
}

static int32_t saturating_sum(int32_t a, int32_t b) {
    int64_t sum = (int64_t)a + b;
    return sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : (int32_t)sum;
}

// log(x) in Q5 for x >= 1 in Q12. One integer bit more is kept on the way.
static int32_t logarithm(int32_t x) {
    const int32_t log_2 = 1488522236, fourth_root_of_half = 1805811301, root_of_half = 1518500250;
    const int32_t alpha_n = 117049297, alpha_d = 127690142, alpha_i = 1057819769, alpha_f = 638450708;
    const int32_t wide_bits = DIFFERENCE_INTEGER_BITS + 1, quarter = (1 << 29) >> wide_bits;
    int32_t headroom_a = leading_zeros(x) - 1; // x * 2^headroom_a is in [1/2, 1)
    int32_t reduced_a =
        systole_saturating_shift_left(multiply(systole_saturating_shift_left(x, headroom_a), root_of_half), 1);
    int32_t power_a =
        saturating_sum(systole_saturating_shift_left(SUM_INTEGER_BITS - headroom_a - 1, 31 - wide_bits), quarter);
    int32_t headroom_b = leading_zeros(multiply(x, root_of_half)) - 1;
    int32_t reduced_b = systole_saturating_shift_left(x, headroom_b);
    int32_t power_b =
        saturating_sum(systole_saturating_shift_left(SUM_INTEGER_BITS - headroom_b, 31 - wide_bits), -quarter);
    int32_t r = reduced_a < reduced_b ? reduced_a : reduced_b;
    int32_t power = power_a > power_b ? power_a : power_b;

    int32_t p = half_sum(r, fourth_root_of_half);
    int32_t q = systole_wrapping_add(r - fourth_root_of_half, r - fourth_root_of_half);
    int32_t square = multiply(q, q);
    int32_t numerator = systole_wrapping_add(multiply(q, r), multiply(multiply(q, square), alpha_n));
    int32_t sum = systole_wrapping_add(systole_wrapping_add(alpha_i, q), multiply(alpha_d, square));
    int32_t denominator_minus_one = systole_wrapping_add(multiply(p, sum), multiply(alpha_f, q));
    int32_t inverse = systole_fixed_reciprocal_of_one_plus(denominator_minus_one);
    int32_t scaled = systole_rounding_divide_by_power_of_two(numerator, wide_bits);
    return systole_saturating_shift_left(systole_wrapping_add(multiply(power, log_2), multiply(scaled, inverse)), 1);
}

static int32_t scaled_difference(const struct log_softmax *l, int32_t difference) {
    return systole_requantise(difference, l->scale.multiplier, l->scale.shift);
}

static void run_row(const struct log_softmax *l, const int8_t *input, int8_t *output) {
    int32_t largest = INT8_MIN;
    for (size_t i = 0; i < l->depth; i++) {
        largest = input[i] > largest ? input[i] : largest;
    }
    int32_t sum = 0; // each term is at most 2^19
    for (size_t i = 0; i < l->depth; i++) {
        int32_t difference = input[i] - largest;
        if (difference >= l->smallest_difference) {
            sum += systole_rounding_divide_by_power_of_two(
                systole_fixed_exponential(scaled_difference(l, difference), DIFFERENCE_INTEGER_BITS), SUM_INTEGER_BITS);
        }
    }
    int32_t log_of_sum = logarithm(sum);
    int32_t lowest =
        systole_requantise(systole_wrapping_add(log_of_sum, INT32_MIN), l->inverse.multiplier, l->inverse.shift);
    lowest = lowest > l->smallest_difference - 1 ? lowest : l->smallest_difference - 1;
    for (size_t i = 0; i < l->depth; i++) {
        int32_t difference = input[i] - largest, value = INT8_MIN;
        if (difference > lowest) {
            value = systole_rounding_divide_by_power_of_two(
                        systole_wrapping_add(scaled_difference(l, difference), -log_of_sum),
                        31 - DIFFERENCE_INTEGER_BITS - OUTPUT_INTEGER_BITS) +
                    OUTPUT_ZERO_POINT;
        }
        output[i] = (int8_t)systole_clamp(value, INT8_MIN, INT8_MAX);
    }
}

static enum systole_status run_integer(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct log_softmax *l = call->state;
    const int8_t *input = (const int8_t *)systole_kernel_input_bytes(call, 0);
    int8_t *output = (int8_t *)systole_kernel_output_bytes(call);
    for (size_t row = 0; row < l->rows; row++) {
        run_row(l, input + row * l->depth, output + row * l->depth);
    }
    return SYSTOLE_OK;
}

static enum systole_status run_float(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct log_softmax *l = call->state;
    const float *input = (const float *)(const void *)systole_kernel_input_bytes(call, 0);
    float *output = (float *)(void *)systole_kernel_output_bytes(call);
    for (size_t row = 0; row < l->rows; row++, input += l->depth, output += l->depth) {
        float largest = input[0], sum = 0.0f;
        for (size_t i = 1; i < l->depth; i++) {
            largest = input[i] > largest ? input[i] : largest;
        }
        for (size_t i = 0; i < l->depth; i++) {
            sum += expf(input[i] - largest);
        }
        for (size_t i = 0; i < l->depth; i++) {
            output[i] = input[i] - largest - logf(sum);
        }
    }
    return SYSTOLE_OK;
}

const struct systole_kernel systole_log_softmax_kernels[] = {
    {SYSTOLE_OP_LOG_SOFTMAX, SYSTOLE_INT8, SYSTOLE_INT8, prepare, run_integer, NULL},
    {SYSTOLE_OP_LOG_SOFTMAX, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare, run_float, NULL},
    {0},
};
