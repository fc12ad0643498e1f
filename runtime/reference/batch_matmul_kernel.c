// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// BATCH_MATMUL in int8 (reference/batch_matmul.h) and float32: matrices in the last two axes, the axes before them
// broadcast, either operand transposed by option.
#include "fixed_point.h"
#include "kernel.h"
#include "quantised_parameters.h"

struct batch_matmul {
    size_t rows, depth, columns;
    size_t row_step_x, depth_step_x, depth_step_y, column_step_y;
    int32_t batch_rank;
    size_t batch_shape[SYSTOLE_MAX_RANK], batch_step_x[SYSTOLE_MAX_RANK], batch_step_y[SYSTOLE_MAX_RANK];
    int32_t zero_point_x, zero_point_y, output_zero_point;
    struct systole_multiplier multiplier;
};

// Steps of an operand along the output's batch axes; false: it does not broadcast to them.
static bool batch_steps(const struct systole_tensor *operand, const struct systole_tensor *output, size_t *steps) {
    size_t step = (size_t)operand->shape[operand->rank - 1] * (size_t)operand->shape[operand->rank - 2];
    for (int32_t i = 3; i <= output->rank; i++) {
        int32_t extent = i <= operand->rank ? operand->shape[operand->rank - i] : 1;
        if (extent != 1 && extent != output->shape[output->rank - i]) {
            return false;
        }
        steps[output->rank - i] = extent == 1 ? 0 : step;
        step *= (size_t)extent;
    }
    return true;
}

static enum systole_status derive_shapes(const struct systole_kernel_call *call, struct batch_matmul *m,
                                         struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *x = systole_kernel_input(call, 0), *y = systole_kernel_input(call, 1);
    const struct systole_tensor *output = systole_kernel_output(call);
    const struct systole_options *o = &call->op->options;
    if (y == NULL || y->dtype != x->dtype || x->rank < 2 || y->rank < 2 || output->rank < x->rank ||
        output->rank < y->rank) {
        return systole_kernel_refuse(call, diagnostic, "", "the operands are not two batches of %s matrices",
                                     systole_dtype_name(x->dtype));
    }
    size_t x_columns = (size_t)x->shape[x->rank - 1], y_columns = (size_t)y->shape[y->rank - 1];
    m->rows = (size_t)x->shape[x->rank - (o->adjoint_x ? 1 : 2)];
    m->depth = (size_t)x->shape[x->rank - (o->adjoint_x ? 2 : 1)];
    m->columns = (size_t)y->shape[y->rank - (o->adjoint_y ? 2 : 1)];
    m->row_step_x = o->adjoint_x ? 1 : x_columns;
    m->depth_step_x = o->adjoint_x ? x_columns : 1;
    m->depth_step_y = o->adjoint_y ? 1 : y_columns;
    m->column_step_y = o->adjoint_y ? y_columns : 1;
    bool fits = (size_t)y->shape[y->rank - (o->adjoint_y ? 1 : 2)] == m->depth &&
                (size_t)output->shape[output->rank - 2] == m->rows &&
                (size_t)output->shape[output->rank - 1] == m->columns && batch_steps(x, output, m->batch_step_x) &&
                batch_steps(y, output, m->batch_step_y);
    m->batch_rank = output->rank - 2;
    for (int32_t i = 0; fits && i < m->batch_rank; i++) { // the output is no larger than what its inputs span
        m->batch_shape[i] = (size_t)output->shape[i];
        fits = m->batch_shape[i] == 1 || m->batch_step_x[i] != 0 || m->batch_step_y[i] != 0;
    }
    return fits ? SYSTOLE_OK
                : systole_kernel_refuse(call, diagnostic, "", "the matrices' shapes do not give the output's");
}

static enum systole_status prepare(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    enum systole_status status = systole_kernel_state(call, sizeof(struct batch_matmul), diagnostic);
    struct batch_matmul *m = call->state;
    if (status == SYSTOLE_OK) {
        status = derive_shapes(call, m, diagnostic);
    }
    if (status != SYSTOLE_OK || systole_kernel_input(call, 0)->dtype == SYSTOLE_FLOAT32) {
        return status;
    }
    float x = 1.0f, y = 1.0f, output = 1.0f;
    status = systole_tensor_affine(call->graph, call->operator_index, call->op->inputs[0], "first input", &x,
                                   &m->zero_point_x, diagnostic);
    if (status == SYSTOLE_OK) {
        status = systole_tensor_affine(call->graph, call->operator_index, call->op->inputs[1], "second input", &y,
                                       &m->zero_point_y, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = systole_tensor_affine(call->graph, call->operator_index, call->op->outputs[0], "output", &output,
                                       &m->output_zero_point, diagnostic);
    }
    m->multiplier = systole_quantize_multiplier((double)(x * y) / (double)output);
    return status;
}

static void multiply_integer(const struct batch_matmul *m, const uint8_t *x, const uint8_t *y, uint8_t *output) {
    const int8_t *a = (const int8_t *)x, *b = (const int8_t *)y;
    for (size_t r = 0; r < m->rows; r++) {
        for (size_t c = 0; c < m->columns; c++) {
            uint32_t sum = 0;
            for (size_t k = 0; k < m->depth; k++) {
                sum += (uint32_t)((a[r * m->row_step_x + k * m->depth_step_x] - m->zero_point_x) *
                                  (b[k * m->depth_step_y + c * m->column_step_y] - m->zero_point_y));
            }
            int32_t scaled = systole_requantise((int32_t)sum, m->multiplier.multiplier, m->multiplier.shift);
            *output++ = (uint8_t)systole_clamp(systole_wrapping_add(scaled, m->output_zero_point), INT8_MIN, INT8_MAX);
        }
    }
}

static void multiply_float(const struct batch_matmul *m, const uint8_t *x, const uint8_t *y, uint8_t *output) {
    const float *a = (const float *)(const void *)x, *b = (const float *)(const void *)y;
    float *sums = (float *)(void *)output;
    for (size_t r = 0; r < m->rows; r++) {
        for (size_t c = 0; c < m->columns; c++) {
            float sum = 0.0f;
            for (size_t k = 0; k < m->depth; k++) {
                sum += a[r * m->row_step_x + k * m->depth_step_x] * b[k * m->depth_step_y + c * m->column_step_y];
            }
            *sums++ = sum;
        }
    }
}

static enum systole_status run(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct batch_matmul *m = call->state;
    const struct systole_tensor *output = systole_kernel_output(call);
    const uint8_t *x = systole_kernel_input_bytes(call, 0), *y = systole_kernel_input_bytes(call, 1);
    uint8_t *bytes = systole_kernel_output_bytes(call);
    size_t element = systole_dtype_size(output->dtype);
    size_t matrix = m->rows * m->columns * element;
    for (size_t batch = 0; batch * matrix < output->size; batch++) {
        size_t rest = batch, offset_x = 0, offset_y = 0;
        for (int32_t axis = m->batch_rank - 1; axis >= 0; axis--) {
            offset_x += rest % m->batch_shape[axis] * m->batch_step_x[axis];
            offset_y += rest % m->batch_shape[axis] * m->batch_step_y[axis];
            rest /= m->batch_shape[axis];
        }
        (output->dtype == SYSTOLE_FLOAT32 ? multiply_float : multiply_integer)(
            m, x + offset_x * element, y + offset_y * element, bytes + batch * matrix);
    }
    return SYSTOLE_OK;
}

const struct systole_kernel systole_batch_matmul_kernels[] = {
    {SYSTOLE_OP_BATCH_MATMUL, SYSTOLE_INT8, SYSTOLE_INT8, prepare, run, NULL},
    {SYSTOLE_OP_BATCH_MATMUL, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare, run, NULL},
    {0},
};
