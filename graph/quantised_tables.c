// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Each function of a byte is computed as the TensorFlow Lite kernel named at it computes one element.
#include "quantised_tables.h"

#include <math.h>
#include <stdio.h>

#include "fixed_point_functions.h"

// One operator's affine ends.
struct ends {
    const struct systole_operator *op;
    float input_scale, output_scale;
    int32_t input_zero_point, output_zero_point;
    bool input_unsigned, output_unsigned;
};

static enum systole_status refuse(struct systole_diagnostic *diagnostic, const struct systole_graph *graph,
                                  uint32_t operator_index, const char *hint, const char *problem) {
    char where[64];
    snprintf(where, sizeof where, "operator %u %s", operator_index,
             systole_operator_name(graph->operators[operator_index].code));
    return systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, where, hint, "%s", problem);
}

static int32_t byte_value(uint32_t byte, bool is_unsigned) {
    return is_unsigned ? (int32_t)byte : (int8_t)byte;
}

static uint8_t saturate(int64_t value, bool is_unsigned) {
    int64_t low = is_unsigned ? 0 : INT8_MIN, high = is_unsigned ? UINT8_MAX : INT8_MAX;
    return (uint8_t)(value < low ? low : value > high ? high : value);
}

// A float to the nearest integer (ties away from zero) far inside int64; what is not a number counts as 0.
static int64_t to_integer(float x) {
    return x != x ? 0 : x < -1.0e9f ? -1000000000 : x > 1.0e9f ? 1000000000 : (int64_t)roundf(x);
}

bool systole_operator_is_unary(int32_t code) {
    switch (code) {
    case SYSTOLE_OP_LOGISTIC:
    case SYSTOLE_OP_TANH:
    case SYSTOLE_OP_ELU:
    case SYSTOLE_OP_EXP:
    case SYSTOLE_OP_HARD_SWISH:
    case SYSTOLE_OP_LEAKY_RELU:
    case SYSTOLE_OP_RELU:
    case SYSTOLE_OP_RELU6:
    case SYSTOLE_OP_RELU_N1_TO_1:
    case SYSTOLE_OP_ABS:
    case SYSTOLE_OP_NEG:
    case SYSTOLE_OP_SQRT:
    case SYSTOLE_OP_RSQRT:
    case SYSTOLE_OP_QUANTIZE:
    case SYSTOLE_OP_DEQUANTIZE:
    case SYSTOLE_OP_CAST:
        return true;
    default:
        return false;
    }
}

static float clamp_float(float x, float low, float high) {
    return x < low ? low : x > high ? high : x;
}

float systole_unary_float(const struct systole_operator *op, float x) {
    switch (op->code) {
    case SYSTOLE_OP_LOGISTIC:
        return 1.0f / (1.0f + expf(-x));
    case SYSTOLE_OP_TANH:
        return tanhf(x);
    case SYSTOLE_OP_ELU:
        return x < 0.0f ? expm1f(x) : x;
    case SYSTOLE_OP_EXP:
        return expf(x);
    case SYSTOLE_OP_HARD_SWISH:
        return x * clamp_float(x + 3.0f, 0.0f, 6.0f) / 6.0f;
    case SYSTOLE_OP_LEAKY_RELU:
        return x > 0.0f ? x : x * op->options.alpha;
    case SYSTOLE_OP_RELU:
        return x < 0.0f ? 0.0f : x;
    case SYSTOLE_OP_RELU6:
        return clamp_float(x, 0.0f, 6.0f);
    case SYSTOLE_OP_RELU_N1_TO_1:
        return clamp_float(x, -1.0f, 1.0f);
    case SYSTOLE_OP_ABS:
        return fabsf(x);
    case SYSTOLE_OP_NEG:
        return -x;
    case SYSTOLE_OP_SQRT:
        return sqrtf(x);
    case SYSTOLE_OP_RSQRT:
        return 1.0f / sqrtf(x);
    default:
        return x;
    }
}

// LUTPopulate (kernels/internal/common.h): through float32.
static uint8_t through_float(const struct ends *e, int32_t q) {
    float inverse = 1.0f / e->output_scale;
    float real = e->input_scale * (float)(q - e->input_zero_point);
    float steps = roundf(systole_unary_float(e->op, real) * inverse) + (float)e->output_zero_point;
    return saturate(to_integer(steps), e->output_unsigned);
}

// reference/integer_ops/logistic.h and tanh.h: Q4 in, 8 bits out of Q0.
static uint8_t sigmoid(const struct ends *e, struct systole_multiplier scale, int32_t radius, int32_t q) {
    int32_t input = q - e->input_zero_point;
    bool is_tanh = e->op->code == SYSTOLE_OP_TANH;
    if (input <= -radius || input >= radius) {
        return saturate(input < 0 ? INT32_MIN : INT32_MAX, e->output_unsigned);
    }
    int32_t q4 = systole_requantise(input, scale.multiplier, scale.shift);
    int32_t q0 = is_tanh ? systole_fixed_tanh(q4, 4) : systole_fixed_logistic(q4, 4);
    int32_t value = systole_rounding_divide_by_power_of_two(q0, is_tanh ? 24 : 23);
    return saturate(value + e->output_zero_point, e->output_unsigned);
}

static enum systole_status sigmoid_table(const struct systole_graph *graph, uint32_t operator_index,
                                         const struct ends *e, uint8_t table[256],
                                         struct systole_diagnostic *diagnostic) {
    bool is_tanh = e->op->code == SYSTOLE_OP_TANH;
    double expected = is_tanh ? 1.0 / 128.0 : 1.0 / 256.0;
    int32_t zero_point = (is_tanh ? 0 : -128) + (e->output_unsigned ? 128 : 0);
    if (fabs((double)e->output_scale - expected) > expected * 1.0e-3 || e->output_zero_point != zero_point) {
        return refuse(diagnostic, graph, operator_index, "convert the model with a current converter",
                      is_tanh ? "the output is not scaled by 1/128 around the type's middle"
                              : "the output is not scaled by 1/256 from the type's least value");
    }
    double real = (double)e->input_scale * (double)(1 << 27);
    struct systole_multiplier scale = systole_quantize_multiplier(real);
    // CalculateInputRadius with 4 integer bits.
    double radius = floor(15.0 * (double)(1 << 27) / exp2((double)scale.shift));
    int32_t bound = radius > 100000.0 ? 100000 : (int32_t)radius;
    for (uint32_t byte = 0; byte < 256; byte++) {
        int32_t q = byte_value(byte, e->input_unsigned);
        table[byte] = e->input_unsigned ? through_float(e, q) : sigmoid(e, scale, bound, q);
    }
    return SYSTOLE_OK;
}

static int32_t clamp16(int64_t x) {
    return x < INT16_MIN ? INT16_MIN : x > INT16_MAX ? INT16_MAX : (int32_t)x;
}

static int32_t rounding_multiply16(int32_t a, int32_t b) {
    if (a == INT16_MIN && b == INT16_MIN) {
        return INT16_MAX;
    }
    int32_t product = a * b;
    return (product + (product >= 0 ? 1 << 14 : 1 - (1 << 14))) / (1 << 15);
}

static int32_t multiplier16(struct systole_multiplier m) {
    return m.multiplier >= INT32_MAX - (1 << 15) ? INT16_MAX : (m.multiplier + (1 << 15)) >> 16;
}

// reference/hard_swish.h HardSwish: 16-bit intermediates.
static enum systole_status hard_swish_table(const struct systole_graph *graph, uint32_t operator_index,
                                            const struct ends *e, uint8_t table[256],
                                            struct systole_diagnostic *diagnostic) {
    float fine_scale = (1.0f / 128.0f) * e->input_scale;
    struct systole_multiplier output = systole_quantize_multiplier((double)(fine_scale / e->output_scale));
    struct systole_multiplier relu = systole_quantize_multiplier((double)(fine_scale / (3.0f / 32768.0f)));
    if (output.shift > 0) {
        return refuse(diagnostic, graph, operator_index, "", "the output's scale is below 1/128 of the input's");
    }
    int32_t output16 = multiplier16(output), relu16 = multiplier16(relu);
    for (uint32_t byte = 0; byte < 256; byte++) {
        int32_t fine = (byte_value(byte, e->input_unsigned) - e->input_zero_point) * 128;
        int32_t scaled = rounding_multiply16(fine, output16);
        int32_t gate = fine;
        if (relu.shift > 0) {
            gate = clamp16((int64_t)gate * ((int64_t)1 << (relu.shift - 1)));
        }
        gate = rounding_multiply16(gate, relu16);
        if (relu.shift > 0) {
            gate = clamp16((int64_t)gate * 2);
        } else {
            gate = systole_rounding_divide_by_power_of_two(gate, -relu.shift);
        }
        gate = (gate + (1 << 15)) >> 1; // -1 .. 1 to 0 .. 1
        int32_t product = gate * scaled / (1 << 15);
        int32_t value = systole_rounding_divide_by_power_of_two(product, -output.shift) + e->output_zero_point;
        table[byte] = saturate(value, e->output_unsigned);
    }
    return SYSTOLE_OK;
}

static struct systole_multiplier signed_multiplier(float real) {
    struct systole_multiplier m = systole_quantize_multiplier(fabs((double)real));
    m.multiplier = real < 0.0f ? -m.multiplier : m.multiplier;
    return m;
}

static int32_t scaled_by(int32_t x, struct systole_multiplier m) {
    return systole_requantise(x, m.multiplier, m.shift);
}

// reference/leaky_relu.h QuantizeLeakyRelu; elementwise.cc AbsEvalQuantized; both from float32 quotients.
static void slopes_table(const struct ends *e, uint8_t table[256]) {
    float alpha = e->op->code == SYSTOLE_OP_LEAKY_RELU ? e->op->options.alpha : -1.0f; // ABS
    struct systole_multiplier positive = signed_multiplier(e->input_scale / e->output_scale);
    struct systole_multiplier negative = signed_multiplier(e->input_scale * alpha / e->output_scale);
    for (uint32_t byte = 0; byte < 256; byte++) {
        int32_t value = byte_value(byte, e->input_unsigned) - e->input_zero_point;
        int32_t scaled = e->op->code == SYSTOLE_OP_ABS ? scaled_by(value < 0 ? -value : value, positive)
                                                       : scaled_by(value, value >= 0 ? positive : negative);
        table[byte] = saturate((int64_t)scaled + e->output_zero_point, e->output_unsigned);
    }
}

// elementwise.cc RsqrtEvalQuantized. It stops at negative numbers; here they give the largest output, as 0 does.
static void inverse_root_table(const struct ends *e, uint8_t table[256]) {
    enum { SHIFT = 20 };
    struct systole_multiplier m = systole_quantize_multiplier(1.0 / (double)(sqrtf(e->input_scale) * e->output_scale));
    for (uint32_t byte = 0; byte < 256; byte++) {
        int32_t value = byte_value(byte, e->input_unsigned) - e->input_zero_point;
        if (value <= 0) {
            table[byte] = saturate(INT32_MAX, e->output_unsigned);
            continue;
        }
        struct systole_multiplier root = systole_inverse_square_root(value);
        int32_t data = systole_requantise(1, root.multiplier, root.shift + SHIFT);
        int32_t scaled = systole_requantise_far(data, m.multiplier, m.shift - SHIFT);
        table[byte] = saturate((int64_t)scaled + e->output_zero_point, e->output_unsigned);
    }
}

static enum systole_status rescale_table(const struct systole_graph *graph, uint32_t operator_index,
                                         const struct ends *e, uint8_t table[256],
                                         struct systole_diagnostic *diagnostic) {
    struct systole_rescale_parameters p;
    enum systole_status status = systole_rescale_parameters_derive(graph, operator_index, &p, diagnostic);
    for (uint32_t byte = 0; byte < 256 && status == SYSTOLE_OK; byte++) {
        int32_t scaled = scaled_by(byte_value(byte, e->input_unsigned) - p.input_zero_point, p.multiplier);
        table[byte] =
            (uint8_t)systole_clamp(systole_wrapping_add(scaled, p.output_zero_point), p.clamp_min, p.clamp_max);
    }
    return status;
}

// An operator from 8 bits to 8 bits other than CAST.
static enum systole_status byte_table(const struct systole_graph *graph, uint32_t operator_index, uint8_t table[256],
                                      struct systole_diagnostic *diagnostic) {
    struct ends e = {.op = &graph->operators[operator_index]};
    const struct systole_operator *op = e.op;
    enum systole_status status = systole_tensor_affine(graph, operator_index, op->inputs[0], "input", &e.input_scale,
                                                       &e.input_zero_point, diagnostic);
    if (status == SYSTOLE_OK) {
        status = systole_tensor_affine(graph, operator_index, op->outputs[0], "output", &e.output_scale,
                                       &e.output_zero_point, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    e.input_unsigned = graph->tensors[op->inputs[0]].dtype == SYSTOLE_UINT8;
    e.output_unsigned = graph->tensors[op->outputs[0]].dtype == SYSTOLE_UINT8;
    if (e.input_unsigned != e.output_unsigned && op->code != SYSTOLE_OP_QUANTIZE) {
        return refuse(diagnostic, graph, operator_index, "", "input and output are of different types");
    }
    switch (op->code) {
    case SYSTOLE_OP_LOGISTIC:
    case SYSTOLE_OP_TANH:
        return sigmoid_table(graph, operator_index, &e, table, diagnostic);
    case SYSTOLE_OP_HARD_SWISH:
        return hard_swish_table(graph, operator_index, &e, table, diagnostic);
    case SYSTOLE_OP_LEAKY_RELU:
        if (!isfinite(op->options.alpha)) {
            return refuse(diagnostic, graph, operator_index, "", "alpha is not finite");
        }
        slopes_table(&e, table);
        return SYSTOLE_OK;
    case SYSTOLE_OP_ABS:
        slopes_table(&e, table);
        return SYSTOLE_OK;
    case SYSTOLE_OP_RSQRT:
        inverse_root_table(&e, table);
        return SYSTOLE_OK;
    case SYSTOLE_OP_RELU:
    case SYSTOLE_OP_RELU6:
    case SYSTOLE_OP_RELU_N1_TO_1:
    case SYSTOLE_OP_QUANTIZE:
        return rescale_table(graph, operator_index, &e, table, diagnostic);
    case SYSTOLE_OP_ELU:
    case SYSTOLE_OP_EXP:
        for (uint32_t byte = 0; byte < 256; byte++) {
            table[byte] = through_float(&e, byte_value(byte, e.input_unsigned));
        }
        return SYSTOLE_OK;
    default:
        return refuse(diagnostic, graph, operator_index, "", "the operator is not defined in 8 bits");
    }
}

static bool is_eight_bit(enum systole_dtype dtype) {
    return dtype == SYSTOLE_INT8 || dtype == SYSTOLE_UINT8;
}

// static_cast of cast.cc, saturating where C leaves it undefined.
static double cast_to(double x, enum systole_dtype dtype) {
    if (dtype == SYSTOLE_FLOAT32) {
        return (double)(float)x;
    }
    if (x != x) {
        return 0.0;
    }
    x = trunc(x < -2147483648.0 ? -2147483648.0 : x > 2147483647.0 ? 2147483647.0 : x);
    return dtype == SYSTOLE_INT8    ? (double)(int8_t)(int32_t)x
           : dtype == SYSTOLE_UINT8 ? (double)(uint8_t)(int32_t)x
                                    : x;
}

// One operator of a chain on the values of 256 elements.
static enum systole_status map_values(const struct systole_graph *graph, uint32_t operator_index, double values[256],
                                      struct systole_diagnostic *diagnostic) {
    const struct systole_operator *op = &graph->operators[operator_index];
    enum systole_dtype input = graph->tensors[op->inputs[0]].dtype, output = graph->tensors[op->outputs[0]].dtype;
    if (op->code == SYSTOLE_OP_CAST) {
        bool known = is_eight_bit(input) || input == SYSTOLE_INT32 || input == SYSTOLE_FLOAT32;
        if (!known || !(is_eight_bit(output) || output == SYSTOLE_INT32 || output == SYSTOLE_FLOAT32)) {
            return refuse(diagnostic, graph, operator_index, "", "a cast between these types has no table");
        }
        for (uint32_t i = 0; i < 256; i++) {
            values[i] = cast_to(values[i], output);
        }
        return SYSTOLE_OK;
    }
    if (is_eight_bit(input) && is_eight_bit(output)) {
        uint8_t table[256];
        enum systole_status status = byte_table(graph, operator_index, table, diagnostic);
        for (uint32_t i = 0; i < 256 && status == SYSTOLE_OK; i++) {
            values[i] = byte_value(table[(uint8_t)(int32_t)values[i]], output == SYSTOLE_UINT8);
        }
        return status;
    }
    float scale = 1.0f;
    int32_t zero_point = 0;
    if (op->code == SYSTOLE_OP_DEQUANTIZE && is_eight_bit(input) && output == SYSTOLE_FLOAT32) {
        enum systole_status status =
            systole_tensor_affine(graph, operator_index, op->inputs[0], "input", &scale, &zero_point, diagnostic);
        for (uint32_t i = 0; i < 256; i++) {
            values[i] = (double)(float)((double)scale * (values[i] - zero_point));
        }
        return status;
    }
    if (op->code == SYSTOLE_OP_QUANTIZE && input == SYSTOLE_FLOAT32 && is_eight_bit(output)) {
        enum systole_status status =
            systole_tensor_affine(graph, operator_index, op->outputs[0], "output", &scale, &zero_point, diagnostic);
        bool is_unsigned = output == SYSTOLE_UINT8;
        for (uint32_t i = 0; i < 256; i++) {
            float steps = (float)values[i] / scale;
            steps = steps != steps ? -1.0e9f : steps;
            values[i] = byte_value(saturate(to_integer(steps) + zero_point, is_unsigned), is_unsigned);
        }
        return status;
    }
    if (input != SYSTOLE_FLOAT32 || output != SYSTOLE_FLOAT32 || op->code == SYSTOLE_OP_QUANTIZE ||
        op->code == SYSTOLE_OP_DEQUANTIZE) {
        return refuse(diagnostic, graph, operator_index, "", "the operator is not defined between these types");
    }
    for (uint32_t i = 0; i < 256; i++) {
        values[i] = (double)systole_unary_float(op, (float)values[i]);
    }
    return SYSTOLE_OK;
}

enum systole_status systole_unary_table_derive(const struct systole_graph *graph, const uint32_t *operators,
                                               uint32_t count, uint8_t table[256],
                                               struct systole_diagnostic *diagnostic) {
    double values[256];
    enum systole_dtype dtype = SYSTOLE_FLOAT32;
    for (uint32_t k = 0; k < count; k++) {
        const struct systole_operator *op = &graph->operators[operators[k]];
        bool linked = op->input_count >= 1 && op->output_count >= 1 && op->inputs[0] >= 0 && op->outputs[0] >= 0 &&
                      (k == 0 || op->inputs[0] == graph->operators[operators[k - 1]].outputs[0]);
        if (!linked || !systole_operator_is_unary(op->code)) {
            return refuse(diagnostic, graph, operators[k], "", "the operators are not a chain of unary ones");
        }
        dtype = graph->tensors[op->inputs[0]].dtype;
        if (k == 0 && !is_eight_bit(dtype)) {
            return refuse(diagnostic, graph, operators[k], "", "the input is not of an 8-bit type");
        }
        for (uint32_t byte = 0; k == 0 && byte < 256; byte++) {
            values[byte] = byte_value(byte, dtype == SYSTOLE_UINT8);
        }
        enum systole_status status = map_values(graph, operators[k], values, diagnostic);
        if (status != SYSTOLE_OK) {
            return status;
        }
        dtype = graph->tensors[op->outputs[0]].dtype;
    }
    if (count == 0 || !is_eight_bit(dtype)) {
        return systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, graph->name, "",
                            "the chain does not end in an 8-bit type");
    }
    for (uint32_t byte = 0; byte < 256; byte++) {
        table[byte] = (uint8_t)(int32_t)values[byte];
    }
    return SYSTOLE_OK;
}

enum systole_status systole_concatenation_table_derive(const struct systole_graph *graph, uint32_t operator_index,
                                                       uint32_t input, uint8_t table[256],
                                                       struct systole_diagnostic *diagnostic) {
    const struct systole_operator *op = &graph->operators[operator_index];
    float input_scale = 1.0f, output_scale = 1.0f;
    int32_t input_zero_point = 0, output_zero_point = 0;
    if (input >= op->input_count || op->output_count < 1) {
        return refuse(diagnostic, graph, operator_index, "", "the operator lacks an input or output");
    }
    enum systole_status status = systole_tensor_affine(graph, operator_index, op->inputs[input], "input", &input_scale,
                                                       &input_zero_point, diagnostic);
    if (status == SYSTOLE_OK) {
        status = systole_tensor_affine(graph, operator_index, op->outputs[0], "output", &output_scale,
                                       &output_zero_point, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    bool same = input_scale == output_scale && input_zero_point == output_zero_point;
    if (!same && graph->tensors[op->outputs[0]].dtype != SYSTOLE_UINT8) {
        return refuse(diagnostic, graph, operator_index, "requantise the inputs to the output's scale",
                      "int8 inputs do not have the output's scale and zero point");
    }
    float scale = input_scale * (1.0f / output_scale);
    float bias = (float)-input_zero_point * scale;
    for (uint32_t byte = 0; byte < 256; byte++) {
        table[byte] = same ? (uint8_t)byte : saturate(to_integer((float)byte * scale + bias) + output_zero_point, true);
    }
    return SYSTOLE_OK;
}

static enum systole_status binary_ends(const struct systole_graph *graph, uint32_t operator_index,
                                       struct systole_add_parameters *p, float scales[3],
                                       struct systole_diagnostic *diagnostic) {
    const struct systole_operator *op = &graph->operators[operator_index];
    if (op->input_count < 2 || op->output_count < 1) {
        return refuse(diagnostic, graph, operator_index, "", "the operator lacks an input or output");
    }
    enum systole_status status = systole_tensor_affine(graph, operator_index, op->inputs[0], "first input", &scales[0],
                                                       &p->input_zero_point, diagnostic);
    if (status == SYSTOLE_OK) {
        status = systole_tensor_affine(graph, operator_index, op->inputs[1], "second input", &scales[1],
                                       &p->input2_zero_point, diagnostic);
    }
    if (status == SYSTOLE_OK && graph->tensors[op->outputs[0]].dtype != SYSTOLE_BOOL) {
        status = systole_tensor_affine(graph, operator_index, op->outputs[0], "output", &scales[2],
                                       &p->output_zero_point, diagnostic);
    }
    systole_activation_range(&graph->tensors[op->outputs[0]], op->options.activation, &p->clamp_min, &p->clamp_max);
    return status;
}

enum systole_status systole_binary_parameters_derive(const struct systole_graph *graph, uint32_t operator_index,
                                                     struct systole_add_parameters *parameters,
                                                     struct systole_diagnostic *diagnostic) {
    int32_t code = graph->operators[operator_index].code;
    if (code == SYSTOLE_OP_ADD || code == SYSTOLE_OP_SUB) {
        return systole_add_parameters_derive(graph, operator_index, parameters, diagnostic);
    }
    struct systole_add_parameters *p = parameters;
    *p = (struct systole_add_parameters){0};
    float scales[3] = {1.0f, 1.0f, 1.0f};
    enum systole_status status = binary_ends(graph, operator_index, p, scales, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    double first = (double)scales[0], second = (double)scales[1], output = (double)scales[2];
    switch (code) {
    case SYSTOLE_OP_MUL:
        p->output = systole_quantize_multiplier(first * second / output);
        break;
    case SYSTOLE_OP_PRELU:
        p->input = systole_quantize_multiplier(first / output);
        p->output = systole_quantize_multiplier(first * second / output);
        break;
    case SYSTOLE_OP_SQUARED_DIFFERENCE: {
        double twice_largest = 2.0 * (first > second ? first : second);
        p->left_shift = 7;
        p->input = systole_quantize_multiplier(first / twice_largest);
        p->input2 = systole_quantize_multiplier(second / twice_largest);
        p->output = systole_quantize_multiplier(twice_largest * twice_largest / ((double)(1 << 14) * output));
        break;
    }
    case SYSTOLE_OP_MAXIMUM:
    case SYSTOLE_OP_MINIMUM:
        if (scales[0] != scales[2] || scales[1] != scales[2] || p->input_zero_point != p->output_zero_point ||
            p->input2_zero_point != p->output_zero_point) {
            return refuse(diagnostic, graph, operator_index, "quantise inputs and output alike",
                          "inputs and output do not share one scale and zero point");
        }
        break;
    case SYSTOLE_OP_LESS:
    case SYSTOLE_OP_LESS_EQUAL:
    case SYSTOLE_OP_GREATER:
    case SYSTOLE_OP_GREATER_EQUAL:
    case SYSTOLE_OP_EQUAL:
    case SYSTOLE_OP_NOT_EQUAL:
        p->left_shift = 8;
        p->input = systole_quantize_multiplier(first);
        p->input2 = systole_quantize_multiplier(second);
        break;
    default:
        return refuse(diagnostic, graph, operator_index, "", "the operator does not combine two 8-bit tensors");
    }
    return SYSTOLE_OK;
}
