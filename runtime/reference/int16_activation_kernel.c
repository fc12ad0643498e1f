// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// SOFTMAX of int16 (reference/softmax.h SoftmaxInt16): exp and 1 / (1 + x) come from tables of 512 straight lines.
// QUANTIZE from and to int16 (reference/requantize.h, reference/quantize.h). LOGISTIC and TANH (activations.cc),
// LEAKY_RELU (reference/leaky_relu.h) and ABS (elementwise.cc).
#include "quantised_parameters.h"
#include "sixteen_bit.h"

#include <math.h>

enum { LINES = 512 };

struct softmax {
    size_t rows, depth;
    struct systole_multiplier scale; // differences of 65535 mean exp(-10)
    int16_t exponential[LINES + 1], reciprocal[LINES + 1];
};

static double reciprocal_of_one_plus(double x) {
    return 1.0 / (1.0 + x);
}

static int16_t clamp_double(double x) {
    return (int16_t)(x < INT16_MIN ? INT16_MIN : x > INT16_MAX ? INT16_MAX : x);
}

// common.h gen_lut: each point is moved by half the error that the straight line has at its middle.
static void fill_table(double (*function)(double), double low, double high, int16_t *table) {
    double step = (high - low) / LINES;
    for (int i = 0; i < LINES; i++) {
        double value = round(function(low + i * step) * 32768.0);
        double line = round((function(low + (i + 1) * step) * 32768.0 + value) / 2.0);
        double middle = round(function(low + i * step + step / 2.0) * 32768.0);
        table[i] = clamp_double(value - round((line - middle) / 2.0));
    }
    table[LINES] = clamp_double(round(function(high) * 32768.0));
}

static int16_t look_up(const int16_t *table, int32_t x) {
    int32_t index = 256 + (x >> 7), offset = x & 0x7F;
    int32_t slope = (int16_t)(table[index + 1] - table[index]);
    return (int16_t)(table[index] + ((slope * offset + 64) >> 7));
}

static enum systole_status prepare_softmax(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *output = systole_kernel_output(call);
    if (!systole_same_shape(input, output) || input->rank < 1) {
        return systole_kernel_refuse(call, diagnostic, "", "input and output differ in shape or have no axis");
    }
    enum systole_status status = systole_kernel_state(call, sizeof(struct softmax), diagnostic);
    float input_scale = 1.0f, output_scale = 1.0f;
    if (status == SYSTOLE_OK) {
        status = systole_kernel_symmetric_scale(call, input, "input", &input_scale, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = systole_kernel_symmetric_scale(call, output, "output", &output_scale, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    if (fabsf(output_scale - 1.0f / 32768.0f) > 0.001f / 32768.0f) {
        return systole_kernel_refuse(call, diagnostic, "", "the output is not scaled by 1/32768");
    }
    struct softmax *softmax = call->state;
    softmax->depth = (size_t)input->shape[input->rank - 1];
    softmax->rows = systole_tensor_elements(input) / softmax->depth;
    double real = (double)(input_scale * call->op->options.beta) / (10.0 / 65535.0);
    if (!(real > 0.0) || !(real < 65536.0) || softmax->depth > 65535) {
        return systole_kernel_refuse(call, diagnostic, "",
                                     "%zu elements a row, or beta times the input's scale is not between 0 and 10",
                                     softmax->depth);
    }
    softmax->scale = systole_quantize_multiplier(real);
    fill_table(exp, -10.0, 0.0, softmax->exponential);
    fill_table(reciprocal_of_one_plus, 0.0, 1.0, softmax->reciprocal);
    return SYSTOLE_OK;
}

static int32_t exponential(const struct softmax *softmax, int32_t difference) {
    // The product saturates before the reference's would overflow: 2^15 already means exp(-10).
    double real = (double)difference * (double)softmax->scale.multiplier * ldexp(1.0, softmax->scale.shift - 31);
    int32_t scaled =
        real < -131072.0 ? -131072 : systole_requantise(difference, softmax->scale.multiplier, softmax->scale.shift);
    return look_up(softmax->exponential, systole_clamp(scaled + 32767, INT16_MIN, INT16_MAX));
}

static void softmax_row(const struct softmax *softmax, const int16_t *input, int16_t *output) {
    int32_t largest = INT16_MIN, sum = 0;
    for (size_t i = 0; i < softmax->depth; i++) {
        largest = input[i] > largest ? input[i] : largest;
    }
    for (size_t i = 0; i < softmax->depth; i++) {
        output[i] = (int16_t)exponential(softmax, input[i] - largest);
        sum += output[i];
    }
    int32_t headroom = __builtin_clz((uint32_t)sum); // the largest alone adds almost 2^15
    int32_t shifted = (int32_t)((((int64_t)sum << (headroom - 1)) + (1 << 13)) >> 14);
    int32_t x = systole_clamp(shifted - (1 << 15) - (1 << 16), INT16_MIN, INT16_MAX);
    int64_t reciprocal = look_up(softmax->reciprocal, x);
    int32_t shift = 31 - headroom;
    for (size_t i = 0; i < softmax->depth; i++) {
        int64_t value = (output[i] * reciprocal + ((int64_t)1 << (shift - 1))) >> shift;
        output[i] = (int16_t)(value < 0 ? 0 : value > INT16_MAX ? INT16_MAX : value);
    }
}

static enum systole_status run_softmax(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct softmax *softmax = call->state;
    const int16_t *input = (const int16_t *)(const void *)systole_kernel_input_bytes(call, 0);
    int16_t *output = (int16_t *)(void *)systole_kernel_output_bytes(call);
    for (size_t row = 0; row < softmax->rows; row++) {
        softmax_row(softmax, input + row * softmax->depth, output + row * softmax->depth);
    }
    return SYSTOLE_OK;
}

struct affine {
    float scale;
    int32_t zero_point;
};

struct quantise {
    struct affine input, output;
    struct systole_multiplier multiplier;
    int32_t low, high;
};

static enum systole_status read_affine(const struct systole_kernel_call *call, const struct systole_tensor *tensor,
                                       int32_t index, const char *what, struct affine *affine,
                                       struct systole_diagnostic *diagnostic) {
    if (tensor->dtype == SYSTOLE_INT16) { // AffineQuantize and Requantize take any zero point; converters write 0
        affine->zero_point = 0;
        return systole_kernel_symmetric_scale(call, tensor, what, &affine->scale, diagnostic);
    }
    return systole_tensor_affine(call->graph, call->operator_index, index, what, &affine->scale, &affine->zero_point,
                                 diagnostic);
}

static enum systole_status prepare_quantise(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *output = systole_kernel_output(call);
    if (!systole_same_shape(input, output)) {
        return systole_kernel_refuse(call, diagnostic, "", "input and output differ in shape");
    }
    enum systole_status status = systole_kernel_state(call, sizeof(struct quantise), diagnostic);
    struct quantise *q = call->state;
    if (status == SYSTOLE_OK) {
        status = read_affine(call, output, call->op->outputs[0], "output", &q->output, diagnostic);
    }
    if (status == SYSTOLE_OK && input->dtype != SYSTOLE_FLOAT32) {
        status = read_affine(call, input, call->op->inputs[0], "input", &q->input, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        q->multiplier = systole_quantize_multiplier((double)q->input.scale / (double)q->output.scale);
        systole_activation_range(output, SYSTOLE_ACTIVATION_NONE, &q->low, &q->high);
    }
    return status;
}

static int32_t read_value(enum systole_dtype dtype, const uint8_t *bytes, size_t i) {
    return dtype == SYSTOLE_INT16   ? ((const int16_t *)(const void *)bytes)[i]
           : dtype == SYSTOLE_UINT8 ? bytes[i]
                                    : (int8_t)bytes[i];
}

static enum systole_status run_quantise(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct quantise *q = call->state;
    enum systole_dtype from = systole_kernel_input(call, 0)->dtype, to = systole_kernel_output(call)->dtype;
    const uint8_t *input = systole_kernel_input_bytes(call, 0);
    uint8_t *output = systole_kernel_output_bytes(call);
    size_t count = systole_tensor_elements(systole_kernel_output(call));
    for (size_t i = 0; i < count; i++) {
        int32_t value;
        if (from == SYSTOLE_FLOAT32) {
            double real = (double)roundf(((const float *)(const void *)input)[i] / q->output.scale);
            value = !(real >= q->low) ? q->low : real > q->high ? q->high : (int32_t)real; // also what is no number
        } else {
            int32_t scaled = systole_requantise(read_value(from, input, i) - q->input.zero_point,
                                                q->multiplier.multiplier, q->multiplier.shift);
            value = systole_clamp(systole_wrapping_add(scaled, q->output.zero_point), q->low, q->high);
        }
        if (to == SYSTOLE_INT16) {
            ((int16_t *)(void *)output)[i] = (int16_t)value;
        } else {
            output[i] = (uint8_t)value;
        }
    }
    return SYSTOLE_OK;
}

struct unary {
    int32_t multiplier, shift;                    // LOGISTIC, TANH: input to the table's steps
    struct systole_multiplier positive, negative; // LEAKY_RELU, ABS
};

static struct systole_multiplier signed_multiplier(float real) {
    struct systole_multiplier m = systole_quantize_multiplier(fabs((double)real));
    m.multiplier = real < 0.0f ? -m.multiplier : m.multiplier;
    return m;
}

// activations.cc SigmoidPrepare and TanhPrepare: scales that are the right power of two need no multiplier.
static enum systole_status derive_table_steps(const struct systole_kernel_call *call, float input_scale,
                                              float output_scale, struct unary *u,
                                              struct systole_diagnostic *diagnostic) {
    int32_t exponent = 0, output_exponent = 0;
    if (!systole_power_of_two(output_scale, &output_exponent) || output_exponent != -15) {
        return systole_kernel_refuse(call, diagnostic, "", "the output is not scaled by 2^-15");
    }
    bool is_power = systole_power_of_two(input_scale, &exponent);
    int32_t left = exponent + 12;
    if (is_power && (left == 0 || (left == 1 && call->op->code == SYSTOLE_OP_TANH))) {
        u->multiplier = 3 << left;
        return SYSTOLE_OK;
    }
    double real = (double)input_scale * 4096.0 * 3.0;
    while (real <= 32767.0 / 2.0 && u->shift <= 30) {
        u->shift++;
        real *= 2.0;
    }
    if (real > 32767.0 || u->shift > 30) {
        return systole_kernel_refuse(call, diagnostic, "", "the input's scale %g is beyond what the table takes",
                                     (double)input_scale);
    }
    u->multiplier = (int32_t)real;
    return SYSTOLE_OK;
}

static enum systole_status prepare_unary(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *output = systole_kernel_output(call);
    if (!systole_same_shape(input, output)) {
        return systole_kernel_refuse(call, diagnostic, "", "input and output differ in shape");
    }
    enum systole_status status = systole_kernel_state(call, sizeof(struct unary), diagnostic);
    float input_scale = 1.0f, output_scale = 1.0f, alpha = call->op->options.alpha;
    if (status == SYSTOLE_OK) {
        status = systole_kernel_symmetric_scale(call, input, "input", &input_scale, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = systole_kernel_symmetric_scale(call, output, "output", &output_scale, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct unary *u = call->state;
    if (call->op->code == SYSTOLE_OP_LOGISTIC || call->op->code == SYSTOLE_OP_TANH) {
        return derive_table_steps(call, input_scale, output_scale, u, diagnostic);
    }
    if (!isfinite(alpha)) {
        return systole_kernel_refuse(call, diagnostic, "", "alpha is not finite");
    }
    u->positive = signed_multiplier(input_scale / output_scale);
    u->negative = signed_multiplier(input_scale * alpha / output_scale);
    return SYSTOLE_OK;
}

static enum systole_status run_unary(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct unary *u = call->state;
    const int16_t *input = (const int16_t *)(const void *)systole_kernel_input_bytes(call, 0);
    int16_t *output = (int16_t *)(void *)systole_kernel_output_bytes(call);
    size_t count = systole_tensor_elements(systole_kernel_output(call));
    for (size_t i = 0; i < count; i++) {
        int32_t x = input[i];
        struct systole_multiplier slope = x >= 0 ? u->positive : u->negative;
        switch (call->op->code) {
        case SYSTOLE_OP_LOGISTIC:
            output[i] = systole_sigmoid16(input[i], u->multiplier, u->shift);
            break;
        case SYSTOLE_OP_TANH:
            output[i] = systole_tanh16(input[i], u->multiplier, u->shift);
            break;
        case SYSTOLE_OP_ABS:
            x = x < 0 ? -x : x;
            slope = u->positive;
            // fallthrough
        default:
            output[i] = systole_saturate16(systole_requantise(x, slope.multiplier, slope.shift));
            break;
        }
    }
    return SYSTOLE_OK;
}

const struct systole_kernel systole_int16_activation_kernels[] = {
    {SYSTOLE_OP_LOGISTIC, SYSTOLE_INT16, SYSTOLE_INT16, prepare_unary, run_unary, NULL},
    {SYSTOLE_OP_TANH, SYSTOLE_INT16, SYSTOLE_INT16, prepare_unary, run_unary, NULL},
    {SYSTOLE_OP_LEAKY_RELU, SYSTOLE_INT16, SYSTOLE_INT16, prepare_unary, run_unary, NULL},
    {SYSTOLE_OP_ABS, SYSTOLE_INT16, SYSTOLE_INT16, prepare_unary, run_unary, NULL},
    {SYSTOLE_OP_SOFTMAX, SYSTOLE_INT16, SYSTOLE_INT16, prepare_softmax, run_softmax, NULL},
    {SYSTOLE_OP_QUANTIZE, SYSTOLE_INT16, SYSTOLE_INT16, prepare_quantise, run_quantise, NULL},
    {SYSTOLE_OP_QUANTIZE, SYSTOLE_INT16, SYSTOLE_INT8, prepare_quantise, run_quantise, NULL},
    {SYSTOLE_OP_QUANTIZE, SYSTOLE_INT16, SYSTOLE_UINT8, prepare_quantise, run_quantise, NULL},
    {SYSTOLE_OP_QUANTIZE, SYSTOLE_INT8, SYSTOLE_INT16, prepare_quantise, run_quantise, NULL},
    {SYSTOLE_OP_QUANTIZE, SYSTOLE_UINT8, SYSTOLE_INT16, prepare_quantise, run_quantise, NULL},
    {SYSTOLE_OP_QUANTIZE, SYSTOLE_FLOAT32, SYSTOLE_INT16, prepare_quantise, run_quantise, NULL},
    {0},
};
