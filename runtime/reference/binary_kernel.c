// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Element-wise operators of two inputs that broadcast: SUB, MUL, MAXIMUM, MINIMUM, SQUARED_DIFFERENCE and PRELU in 8
// bits (graph/quantised_tables.h says the arithmetic), they and DIV, FLOOR_DIV in float32, some in int32; comparisons
// of all of them; and SELECT, which copies.
#include <math.h>
#include <string.h>

#include "broadcast.h"
#include "quantised_tables.h"

struct binary {
    struct systole_broadcast broadcast;
    struct systole_add_parameters parameters;
    float low, high;
};

static bool is_comparison(int32_t code) {
    return code == SYSTOLE_OP_LESS || code == SYSTOLE_OP_LESS_EQUAL || code == SYSTOLE_OP_GREATER ||
           code == SYSTOLE_OP_GREATER_EQUAL || code == SYSTOLE_OP_EQUAL || code == SYSTOLE_OP_NOT_EQUAL;
}

static enum systole_status prepare(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *a = systole_kernel_input(call, 0), *b = systole_kernel_input(call, 1);
    if (b == NULL || b->dtype != a->dtype) {
        return systole_kernel_refuse(call, diagnostic, "", "the two inputs are not both %s",
                                     systole_dtype_name(a->dtype));
    }
    enum systole_status status = systole_kernel_state(call, sizeof(struct binary), diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct binary *binary = call->state;
    status = systole_broadcast_derive(call, 2, &binary->broadcast, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    enum systole_activation activation = call->op->options.activation;
    if (!systole_float_activation_range(activation, &binary->low, &binary->high) ||
        (a->dtype == SYSTOLE_INT32 && activation != SYSTOLE_ACTIVATION_NONE)) {
        return systole_kernel_refuse(call, diagnostic, "", "this fused activation is not supported");
    }
    if (a->dtype != SYSTOLE_INT8 && a->dtype != SYSTOLE_UINT8) {
        return SYSTOLE_OK;
    }
    return systole_binary_parameters_derive(call->graph, call->operator_index, &binary->parameters, diagnostic);
}

static int32_t scaled(int32_t x, struct systole_multiplier m) {
    return systole_requantise(x, m.multiplier, m.shift);
}

static bool compare(int32_t code, int32_t order) { // order: sign of a - b
    switch (code) {
    case SYSTOLE_OP_LESS:
        return order < 0;
    case SYSTOLE_OP_LESS_EQUAL:
        return order <= 0;
    case SYSTOLE_OP_GREATER:
        return order > 0;
    case SYSTOLE_OP_GREATER_EQUAL:
        return order >= 0;
    case SYSTOLE_OP_EQUAL:
        return order == 0;
    default:
        return order != 0;
    }
}

// The output's value before its zero point and clamp; comparisons: the order of the two.
static int32_t combine(int32_t code, const struct systole_add_parameters *p, int32_t a, int32_t b) {
    int32_t x = a - p->input_zero_point, y = b - p->input2_zero_point;
    switch (code) {
    case SYSTOLE_OP_MUL:
        return scaled(x * y, p->output);
    case SYSTOLE_OP_PRELU:
        return x >= 0 ? scaled(x, p->input) : scaled(x * y, p->output);
    default:
        break;
    }
    int32_t s1 = scaled(x * (1 << p->left_shift), p->input), s2 = scaled(y * (1 << p->left_shift), p->input2);
    if (is_comparison(code)) {
        return s1 < s2 ? -1 : s1 > s2;
    }
    int32_t difference = (int32_t)((uint32_t)s1 - (uint32_t)s2);
    if (code == SYSTOLE_OP_SQUARED_DIFFERENCE) {
        difference = (int32_t)((uint32_t)difference * (uint32_t)difference);
    }
    return scaled(difference, p->output);
}

static void row_eight_bit(const struct systole_kernel_call *call, const size_t *offsets, const size_t *steps,
                          size_t output_offset, size_t count) {
    const struct binary *binary = call->state;
    const struct systole_add_parameters *p = &binary->parameters;
    const uint8_t *a = systole_kernel_input_bytes(call, 0) + offsets[0];
    const uint8_t *b = systole_kernel_input_bytes(call, 1) + offsets[1];
    uint8_t *output = systole_kernel_output_bytes(call) + output_offset;
    int32_t code = call->op->code;
    bool is_unsigned = systole_kernel_input(call, 0)->dtype == SYSTOLE_UINT8, decides = is_comparison(code);
    for (size_t i = 0; i < count; i++) {
        int32_t x = is_unsigned ? a[i * steps[0]] : (int8_t)a[i * steps[0]];
        int32_t y = is_unsigned ? b[i * steps[1]] : (int8_t)b[i * steps[1]];
        if (code == SYSTOLE_OP_MAXIMUM || code == SYSTOLE_OP_MINIMUM) {
            output[i] = (uint8_t)((code == SYSTOLE_OP_MAXIMUM) == (x > y) ? x : y);
            continue;
        }
        int32_t value = combine(code, p, x, y);
        output[i] = decides ? compare(code, value)
                            : (uint8_t)systole_clamp(systole_wrapping_add(value, p->output_zero_point), p->clamp_min,
                                                     p->clamp_max);
    }
}

static float combine_float(int32_t code, float x, float y) {
    switch (code) {
    case SYSTOLE_OP_SUB:
        return x - y;
    case SYSTOLE_OP_MUL:
        return x * y;
    case SYSTOLE_OP_DIV:
        return x / y;
    case SYSTOLE_OP_FLOOR_DIV:
        return floorf(x / y);
    case SYSTOLE_OP_MAXIMUM:
        return x > y ? x : y;
    case SYSTOLE_OP_MINIMUM:
        return x < y ? x : y;
    case SYSTOLE_OP_PRELU:
        return x >= 0.0f ? x : x * y;
    default: // SQUARED_DIFFERENCE
        return (x - y) * (x - y);
    }
}

static void row_float(const struct systole_kernel_call *call, const size_t *offsets, const size_t *steps,
                      size_t output_offset, size_t count) {
    const struct binary *binary = call->state;
    const float *a = (const float *)(const void *)systole_kernel_input_bytes(call, 0) + offsets[0];
    const float *b = (const float *)(const void *)systole_kernel_input_bytes(call, 1) + offsets[1];
    uint8_t *output = systole_kernel_output_bytes(call);
    for (size_t i = 0; i < count; i++) {
        float x = a[i * steps[0]], y = b[i * steps[1]];
        if (is_comparison(call->op->code)) { // what is not a number is only unequal
            bool unordered = isunordered(x, y);
            output[output_offset + i] =
                unordered ? call->op->code == SYSTOLE_OP_NOT_EQUAL : compare(call->op->code, x < y ? -1 : x > y);
        } else {
            ((float *)(void *)output)[output_offset + i] =
                systole_clamp_float(combine_float(call->op->code, x, y), binary->low, binary->high);
        }
    }
}

// int32 arithmetic wraps; division by zero was refused before.
static int32_t combine_int32(int32_t code, int32_t x, int32_t y) {
    switch (code) {
    case SYSTOLE_OP_SUB:
        return (int32_t)((uint32_t)x - (uint32_t)y);
    case SYSTOLE_OP_MUL:
        return (int32_t)((uint32_t)x * (uint32_t)y);
    case SYSTOLE_OP_ADD:
        return systole_wrapping_add(x, y);
    case SYSTOLE_OP_MAXIMUM:
        return x > y ? x : y;
    case SYSTOLE_OP_MINIMUM:
        return x < y ? x : y;
    case SYSTOLE_OP_SQUARED_DIFFERENCE: {
        uint32_t difference = (uint32_t)x - (uint32_t)y;
        return (int32_t)(difference * difference);
    }
    default: { // DIV, FLOOR_DIV
        int64_t quotient = (int64_t)x / y;
        bool inexact = quotient * y != x, negative = (x < 0) != (y < 0);
        return (int32_t)(code == SYSTOLE_OP_FLOOR_DIV && inexact && negative ? quotient - 1 : quotient);
    }
    }
}

static void row_int32(const struct systole_kernel_call *call, const size_t *offsets, const size_t *steps,
                      size_t output_offset, size_t count) {
    const int32_t *a = (const int32_t *)(const void *)systole_kernel_input_bytes(call, 0) + offsets[0];
    const int32_t *b = (const int32_t *)(const void *)systole_kernel_input_bytes(call, 1) + offsets[1];
    uint8_t *output = systole_kernel_output_bytes(call);
    for (size_t i = 0; i < count; i++) {
        int32_t x = a[i * steps[0]], y = b[i * steps[1]];
        if (is_comparison(call->op->code)) {
            output[output_offset + i] = compare(call->op->code, x < y ? -1 : x > y);
        } else {
            ((int32_t *)(void *)output)[output_offset + i] = combine_int32(call->op->code, x, y);
        }
    }
}

static enum systole_status run(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct binary *binary = call->state;
    enum systole_dtype dtype = systole_kernel_input(call, 0)->dtype;
    if (dtype == SYSTOLE_INT32 && (call->op->code == SYSTOLE_OP_DIV || call->op->code == SYSTOLE_OP_FLOOR_DIV)) {
        const int32_t *b = (const int32_t *)(const void *)systole_kernel_input_bytes(call, 1);
        for (size_t i = 0; i < systole_tensor_elements(systole_kernel_input(call, 1)); i++) {
            if (b[i] == 0) {
                return systole_kernel_refuse(call, diagnostic, "", "division by zero at element %zu", i);
            }
        }
    }
    systole_broadcast_walk(&binary->broadcast, call,
                           dtype == SYSTOLE_FLOAT32 ? row_float
                           : dtype == SYSTOLE_INT32 ? row_int32
                                                    : row_eight_bit);
    return SYSTOLE_OK;
}

static enum systole_status prepare_select(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *a = systole_kernel_input(call, 1), *b = systole_kernel_input(call, 2);
    const struct systole_tensor *output = systole_kernel_output(call);
    if (a == NULL || b == NULL || a->dtype != output->dtype || b->dtype != output->dtype) {
        return systole_kernel_refuse(call, diagnostic, "", "the values are not both %s",
                                     systole_dtype_name(output->dtype));
    }
    if (!systole_same_quantisation(a, output) || !systole_same_quantisation(b, output)) {
        return systole_kernel_refuse(call, diagnostic, "", "values and output do not share one scale and zero point");
    }
    enum systole_status status = systole_kernel_state(call, sizeof(struct binary), diagnostic);
    struct binary *binary = call->state;
    return status == SYSTOLE_OK ? systole_broadcast_derive(call, 3, &binary->broadcast, diagnostic) : status;
}

static void row_select(const struct systole_kernel_call *call, const size_t *offsets, const size_t *steps,
                       size_t output_offset, size_t count) {
    size_t element = systole_dtype_size(systole_kernel_output(call)->dtype);
    const uint8_t *condition = systole_kernel_input_bytes(call, 0) + offsets[0];
    uint8_t *output = systole_kernel_output_bytes(call) + output_offset * element;
    for (size_t i = 0; i < count; i++) {
        uint32_t k = condition[i * steps[0]] != 0 ? 1 : 2;
        memcpy(output + i * element, systole_kernel_input_bytes(call, k) + (offsets[k] + i * steps[k]) * element,
               element);
    }
}

static enum systole_status run_select(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct binary *binary = call->state;
    systole_broadcast_walk(&binary->broadcast, call, row_select);
    return SYSTOLE_OK;
}

#define ONE(name, type)                                                                                                \
    { SYSTOLE_OP_##name, SYSTOLE_##type, SYSTOLE_##type, prepare, run, NULL }
#define EIGHT_BIT(name) ONE(name, INT8), ONE(name, UINT8)
#define COMPARES(name)                                                                                                 \
    {SYSTOLE_OP_##name, SYSTOLE_INT8, SYSTOLE_BOOL, prepare, run, NULL},                                               \
        {SYSTOLE_OP_##name, SYSTOLE_UINT8, SYSTOLE_BOOL, prepare, run, NULL},                                          \
        {SYSTOLE_OP_##name, SYSTOLE_INT32, SYSTOLE_BOOL, prepare, run, NULL}, {                                        \
        SYSTOLE_OP_##name, SYSTOLE_FLOAT32, SYSTOLE_BOOL, prepare, run, NULL                                           \
    }
#define SELECTS(type)                                                                                                  \
    {SYSTOLE_OP_SELECT, SYSTOLE_BOOL, SYSTOLE_##type, prepare_select, run_select, NULL}, {                             \
        SYSTOLE_OP_SELECT_V2, SYSTOLE_BOOL, SYSTOLE_##type, prepare_select, run_select, NULL                           \
    }
const struct systole_kernel systole_binary_kernels[] = {
    EIGHT_BIT(SUB),
    ONE(SUB, FLOAT32),
    ONE(SUB, INT32),
    ONE(ADD, INT32),
    EIGHT_BIT(MUL),
    ONE(MUL, FLOAT32),
    ONE(MUL, INT32),
    EIGHT_BIT(MAXIMUM),
    ONE(MAXIMUM, FLOAT32),
    ONE(MAXIMUM, INT32),
    EIGHT_BIT(MINIMUM),
    ONE(MINIMUM, FLOAT32),
    ONE(MINIMUM, INT32),
    EIGHT_BIT(SQUARED_DIFFERENCE),
    ONE(SQUARED_DIFFERENCE, FLOAT32),
    ONE(SQUARED_DIFFERENCE, INT32),
    EIGHT_BIT(PRELU),
    ONE(PRELU, FLOAT32),
    ONE(DIV, FLOAT32),
    ONE(DIV, INT32),
    ONE(FLOOR_DIV, FLOAT32),
    ONE(FLOOR_DIV, INT32),
    COMPARES(LESS),
    COMPARES(LESS_EQUAL),
    COMPARES(GREATER),
    COMPARES(GREATER_EQUAL),
    COMPARES(EQUAL),
    COMPARES(NOT_EQUAL),
    SELECTS(INT8),
    SELECTS(UINT8),
    SELECTS(INT16),
    SELECTS(INT32),
    SELECTS(INT64),
    SELECTS(FLOAT32),
    {0},
};
