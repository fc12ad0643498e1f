// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Operators of one element: 8 bits by the table of graph/quantised_tables.h, float32 by its function; L2_NORMALIZATION
// (reference/l2normalization.h and integer_ops/l2normalization.h), which looks at a row; CAST (cast.cc); SHAPE.
#include <math.h>
#include <string.h>

#include "eight_bit.h"
#include "fixed_point_functions.h"
#include "quantised_tables.h"

static enum systole_status check_shapes(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    return systole_same_shape(systole_kernel_input(call, 0), systole_kernel_output(call))
               ? SYSTOLE_OK
               : systole_kernel_refuse(call, diagnostic, "", "input and output differ in shape");
}

static enum systole_status prepare_table(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    enum systole_status status = check_shapes(call, diagnostic);
    if (status == SYSTOLE_OK) {
        status = systole_kernel_state(call, 256, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = systole_unary_table_derive(call->graph, &call->operator_index, 1, call->state, diagnostic);
    }
    return status;
}

static enum systole_status run_table(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const uint8_t *table = call->state, *input = systole_kernel_input_bytes(call, 0);
    uint8_t *output = systole_kernel_output_bytes(call);
    for (size_t i = 0; i < systole_kernel_output(call)->size; i++) {
        output[i] = table[input[i]];
    }
    return SYSTOLE_OK;
}

static enum systole_status prepare_float(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    return check_shapes(call, diagnostic);
}

static enum systole_status run_float(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const float *input = (const float *)(const void *)systole_kernel_input_bytes(call, 0);
    float *output = (float *)(void *)systole_kernel_output_bytes(call);
    size_t count = systole_tensor_elements(systole_kernel_output(call));
    for (size_t i = 0; i < count; i++) {
        output[i] = systole_unary_float(call->op, input[i]);
    }
    return SYSTOLE_OK;
}

static double read_element(const uint8_t *bytes, enum systole_dtype dtype, size_t i) {
    switch (dtype) {
    case SYSTOLE_INT8:
        return (double)((const int8_t *)bytes)[i];
    case SYSTOLE_INT16:
        return (double)((const int16_t *)(const void *)bytes)[i];
    case SYSTOLE_INT32:
        return (double)((const int32_t *)(const void *)bytes)[i];
    case SYSTOLE_FLOAT32:
        return (double)((const float *)(const void *)bytes)[i];
    default: // UINT8, BOOL
        return (double)bytes[i];
    }
}

// static_cast; float beyond int32 saturates, where C says nothing, and what is not a number gives 0.
static void write_element(uint8_t *bytes, enum systole_dtype dtype, size_t i, double value) {
    double whole = value != value ? 0.0 : value < -2147483648.0 ? -2147483648.0 : value;
    int32_t integer = (int32_t)(whole > 2147483647.0 ? 2147483647.0 : whole);
    switch (dtype) {
    case SYSTOLE_BOOL:
        bytes[i] = value != 0.0;
        break;
    case SYSTOLE_INT16:
        ((int16_t *)(void *)bytes)[i] = (int16_t)integer;
        break;
    case SYSTOLE_INT32:
        ((int32_t *)(void *)bytes)[i] = integer;
        break;
    case SYSTOLE_FLOAT32:
        ((float *)(void *)bytes)[i] = (float)value;
        break;
    default: // INT8, UINT8
        bytes[i] = (uint8_t)integer;
        break;
    }
}

static enum systole_status run_cast(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct systole_tensor *input = systole_kernel_input(call, 0), *output = systole_kernel_output(call);
    const uint8_t *from = systole_kernel_input_bytes(call, 0);
    uint8_t *to = systole_kernel_output_bytes(call);
    size_t count = systole_tensor_elements(output);
    for (size_t i = 0; i < count; i++) {
        if (input->dtype == SYSTOLE_INT64) { // a double does not hold all of them
            int64_t wide = ((const int64_t *)(const void *)from)[i];
            if (output->dtype == SYSTOLE_FLOAT32) {
                ((float *)(void *)to)[i] = (float)wide;
            } else {
                write_element(to, output->dtype, i, (double)(int32_t)(uint32_t)(uint64_t)wide);
            }
        } else if (output->dtype == SYSTOLE_INT64) {
            double value = read_element(from, input->dtype, i);
            double bounded = value != value ? 0.0 : value < -9.2e18 ? -9.2e18 : value > 9.2e18 ? 9.2e18 : value;
            ((int64_t *)(void *)to)[i] = (int64_t)bounded;
        } else {
            write_element(to, output->dtype, i, read_element(from, input->dtype, i));
        }
    }
    return SYSTOLE_OK;
}

struct normalisation {
    size_t depth, rows;
    int32_t zero_point;
};

static enum systole_status prepare_normalisation(struct systole_kernel_call *call,
                                                 struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0);
    enum systole_status status = check_shapes(call, diagnostic);
    if (status == SYSTOLE_OK && (input->rank < 1 || call->op->options.activation != SYSTOLE_ACTIVATION_NONE)) {
        status = systole_kernel_refuse(call, diagnostic, "", "the input has no axis or an activation is fused");
    }
    if (status == SYSTOLE_OK) {
        status = systole_kernel_state(call, sizeof(struct normalisation), diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct normalisation *n = call->state;
    n->depth = (size_t)input->shape[input->rank - 1];
    n->rows = systole_tensor_elements(input) / n->depth;
    if (input->dtype == SYSTOLE_FLOAT32) {
        return SYSTOLE_OK;
    }
    struct systole_affine from, to;
    status = systole_eight_bit_ends(call, &from, &to, diagnostic);
    n->zero_point = from.zero_point;
    if (status == SYSTOLE_OK && (fabs((double)to.scale - 1.0 / 128.0) > 0.001 / 128.0 ||
                                 to.zero_point != (input->dtype == SYSTOLE_UINT8 ? 128 : 0))) {
        status =
            systole_kernel_refuse(call, diagnostic, "", "the output is not scaled by 1/128 around the type's middle");
    }
    return status;
}

static enum systole_status run_normalisation(const struct systole_kernel_call *call,
                                             struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct normalisation *n = call->state;
    const uint8_t *input = systole_kernel_input_bytes(call, 0);
    uint8_t *output = systole_kernel_output_bytes(call);
    bool is_unsigned = systole_kernel_input(call, 0)->dtype == SYSTOLE_UINT8;
    for (size_t row = 0; row < n->rows; row++, input += n->depth, output += n->depth) {
        int32_t sum = 0;
        for (size_t i = 0; i < n->depth; i++) {
            int32_t x = (is_unsigned ? input[i] : (int8_t)input[i]) - n->zero_point;
            sum = systole_wrapping_add(sum, x * x);
        }
        struct systole_multiplier root = systole_inverse_square_root(sum);
        for (size_t i = 0; i < n->depth; i++) {
            int32_t x = (is_unsigned ? input[i] : (int8_t)input[i]) - n->zero_point;
            // uint8 scales by 128 before, int8 behind the high product.
            int32_t y = is_unsigned ? systole_requantise(128 * x, root.multiplier, root.shift) + 128
                                    : systole_requantise(x, root.multiplier, root.shift + 7);
            output[i] = (uint8_t)systole_clamp(y, is_unsigned ? 0 : -128, is_unsigned ? 255 : 127);
        }
    }
    return SYSTOLE_OK;
}

static enum systole_status run_normalisation_float(const struct systole_kernel_call *call,
                                                   struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct normalisation *n = call->state;
    const float *input = (const float *)(const void *)systole_kernel_input_bytes(call, 0);
    float *output = (float *)(void *)systole_kernel_output_bytes(call);
    for (size_t row = 0; row < n->rows; row++, input += n->depth, output += n->depth) {
        float sum = 0.0f;
        for (size_t i = 0; i < n->depth; i++) {
            sum += input[i] * input[i];
        }
        float norm = sqrtf(sum) > 1.0e-6f ? sqrtf(sum) : 1.0e-6f;
        for (size_t i = 0; i < n->depth; i++) {
            output[i] = input[i] / norm;
        }
    }
    return SYSTOLE_OK;
}

static enum systole_status prepare_shape(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *output = systole_kernel_output(call);
    if (output->rank != 1 || output->shape[0] != systole_kernel_input(call, 0)->rank) {
        return systole_kernel_refuse(call, diagnostic, "", "the output has not one element for each axis");
    }
    return SYSTOLE_OK;
}

static enum systole_status run_shape(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct systole_tensor *input = systole_kernel_input(call, 0);
    uint8_t *output = systole_kernel_output_bytes(call);
    for (int32_t i = 0; i < input->rank; i++) {
        if (systole_kernel_output(call)->dtype == SYSTOLE_INT64) {
            ((int64_t *)(void *)output)[i] = input->shape[i];
        } else {
            ((int32_t *)(void *)output)[i] = input->shape[i];
        }
    }
    return SYSTOLE_OK;
}

#define BY_TABLE(name)                                                                                                 \
    {SYSTOLE_OP_##name, SYSTOLE_INT8, SYSTOLE_INT8, prepare_table, run_table, NULL}, {                                 \
        SYSTOLE_OP_##name, SYSTOLE_UINT8, SYSTOLE_UINT8, prepare_table, run_table, NULL                                \
    }
#define BY_FUNCTION(name)                                                                                              \
    { SYSTOLE_OP_##name, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare_float, run_float, NULL }
#define CASTS(from, to)                                                                                                \
    { SYSTOLE_OP_CAST, SYSTOLE_##from, SYSTOLE_##to, check_cast, run_cast, NULL }
#define CASTS_FROM(from)                                                                                               \
    CASTS(from, INT8), CASTS(from, UINT8), CASTS(from, INT16), CASTS(from, INT32), CASTS(from, INT64),                 \
        CASTS(from, FLOAT32), CASTS(from, BOOL)
#define SHAPES(from)                                                                                                   \
    {SYSTOLE_OP_SHAPE, SYSTOLE_##from, SYSTOLE_INT32, prepare_shape, run_shape, NULL}, {                               \
        SYSTOLE_OP_SHAPE, SYSTOLE_##from, SYSTOLE_INT64, prepare_shape, run_shape, NULL                                \
    }

static enum systole_status check_cast(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    return check_shapes(call, diagnostic);
}

const struct systole_kernel systole_unary_kernels[] = {
    BY_TABLE(LOGISTIC),
    BY_FUNCTION(LOGISTIC),
    BY_TABLE(TANH),
    BY_FUNCTION(TANH),
    BY_TABLE(ELU),
    BY_FUNCTION(ELU),
    BY_TABLE(EXP),
    BY_FUNCTION(EXP),
    BY_TABLE(HARD_SWISH),
    BY_FUNCTION(HARD_SWISH),
    BY_TABLE(LEAKY_RELU),
    BY_FUNCTION(LEAKY_RELU),
    BY_TABLE(ABS),
    BY_FUNCTION(ABS),
    BY_TABLE(RSQRT),
    BY_FUNCTION(RSQRT),
    BY_FUNCTION(SQRT),
    BY_FUNCTION(NEG),
    CASTS_FROM(INT8),
    CASTS_FROM(UINT8),
    CASTS_FROM(INT16),
    CASTS_FROM(INT32),
    CASTS_FROM(INT64),
    CASTS_FROM(FLOAT32),
    CASTS_FROM(BOOL),
    {SYSTOLE_OP_L2_NORMALIZATION, SYSTOLE_INT8, SYSTOLE_INT8, prepare_normalisation, run_normalisation, NULL},
    {SYSTOLE_OP_L2_NORMALIZATION, SYSTOLE_UINT8, SYSTOLE_UINT8, prepare_normalisation, run_normalisation, NULL},
    {SYSTOLE_OP_L2_NORMALIZATION, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare_normalisation, run_normalisation_float,
     NULL},
    SHAPES(INT8),
    SHAPES(UINT8),
    SHAPES(INT16),
    SHAPES(INT32),
    SHAPES(FLOAT32),
    {0},
};
