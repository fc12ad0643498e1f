// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What only moves elements: RESHAPE, SQUEEZE and EXPAND_DIMS, which copy, and PAD / PADV2 (reference/pad.h), which fill
// with the zero point, with 0 in float, or with the value given. Elements are copied as bytes of their size, whatever
// their type.
#include "kernel.h"

#include <string.h>

static enum systole_status prepare_reshape(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *output = systole_kernel_output(call);
    if (systole_tensor_elements(input) != systole_tensor_elements(output) || input->size != output->size) {
        return systole_kernel_refuse(call, diagnostic, "", "%zu elements cannot be reshaped to %zu",
                                     systole_tensor_elements(input), systole_tensor_elements(output));
    }
    return SYSTOLE_OK;
}

static enum systole_status run_reshape(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    memmove(systole_kernel_output_bytes(call), systole_kernel_input_bytes(call, 0), systole_kernel_output(call)->size);
    return SYSTOLE_OK;
}

struct pad {
    size_t element;                  // bytes
    size_t inner;                    // elements of a row, the last axis
    size_t rows;                     // of the input
    size_t stride[SYSTOLE_MAX_RANK]; // elements of the output
    size_t shape[SYSTOLE_MAX_RANK];  // of the input
    size_t origin;                   // first element in the output
    int32_t rank;
    uint8_t fill[8];
};

static bool read_padding(const struct systole_tensor *paddings, size_t i, int64_t *value) {
    if (paddings->dtype == SYSTOLE_INT32) {
        *value = ((const int32_t *)(const void *)paddings->data)[i];
    } else {
        *value = ((const int64_t *)(const void *)paddings->data)[i];
    }
    return *value >= 0 && *value <= INT32_MAX;
}

static enum systole_status fill_value(const struct systole_kernel_call *call, struct pad *pad,
                                      struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0);
    const struct systole_tensor *value = systole_kernel_input(call, 2);
    if (call->op->code == SYSTOLE_OP_PADV2) {
        if (value == NULL || value->data == NULL || value->dtype != input->dtype ||
            systole_tensor_elements(value) != 1) {
            return systole_kernel_refuse(call, diagnostic, "", "the value to pad with is not one constant of type %s",
                                         systole_dtype_name(input->dtype));
        }
        memcpy(pad->fill, value->data, pad->element);
    } else if (input->dtype == SYSTOLE_INT8 || input->dtype == SYSTOLE_UINT8) {
        const struct systole_quantisation *q = &systole_kernel_output(call)->quantisation;
        pad->fill[0] = q->count == 0 ? 0 : (uint8_t)q->zero_point[0];
    }
    return SYSTOLE_OK;
}

static enum systole_status prepare_pad(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *output = systole_kernel_output(call);
    const struct systole_tensor *paddings = systole_kernel_input(call, 1);
    if (paddings == NULL || paddings->data == NULL ||
        (paddings->dtype != SYSTOLE_INT32 && paddings->dtype != SYSTOLE_INT64) ||
        systole_tensor_elements(paddings) != 2 * (size_t)input->rank || input->rank != output->rank) {
        return systole_kernel_refuse(call, diagnostic, "", "the paddings are not a constant of two integers an axis");
    }
    if (!systole_same_quantisation(input, output)) {
        return systole_kernel_refuse(call, diagnostic, "", "input and output do not share one scale and zero point");
    }
    enum systole_status status = systole_kernel_state(call, sizeof(struct pad), diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct pad *pad = call->state;
    pad->rank = input->rank;
    pad->element = systole_dtype_size(input->dtype);
    size_t step = 1;
    for (int32_t axis = input->rank - 1; axis >= 0; axis--) {
        int64_t before, after;
        if (!read_padding(paddings, 2 * (size_t)axis, &before) ||
            !read_padding(paddings, 2 * (size_t)axis + 1, &after) ||
            before + after + input->shape[axis] != output->shape[axis]) {
            return systole_kernel_refuse(call, diagnostic, "", "axis %d of the output is not the padded input's", axis);
        }
        pad->shape[axis] = (size_t)input->shape[axis];
        pad->stride[axis] = step;
        pad->origin += (size_t)before * step;
        step *= (size_t)output->shape[axis];
    }
    pad->inner = pad->rank > 0 ? pad->shape[pad->rank - 1] : 1;
    pad->rows = systole_tensor_elements(input) / pad->inner;
    return fill_value(call, pad, diagnostic);
}

static enum systole_status run_pad(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct pad *pad = call->state;
    const uint8_t *input = systole_kernel_input_bytes(call, 0);
    uint8_t *output = systole_kernel_output_bytes(call);
    size_t size = systole_kernel_output(call)->size;
    if (pad->element == 1) {
        memset(output, pad->fill[0], size);
    } else {
        for (size_t i = 0; i < size; i += pad->element) {
            memcpy(output + i, pad->fill, pad->element);
        }
    }
    size_t index[SYSTOLE_MAX_RANK] = {0};
    size_t offset = pad->origin;
    for (size_t row = 0; row < pad->rows; row++) {
        memcpy(output + offset * pad->element, input + row * pad->inner * pad->element, pad->inner * pad->element);
        for (int32_t axis = pad->rank - 2; axis >= 0; axis--) {
            offset += pad->stride[axis];
            if (++index[axis] < pad->shape[axis]) {
                break;
            }
            offset -= pad->stride[axis] * pad->shape[axis];
            index[axis] = 0;
        }
    }
    return SYSTOLE_OK;
}

#define MOVES(code, prepare, run, type)                                                                                \
    { code, type, type, prepare, run, NULL }
const struct systole_kernel systole_movement_kernels[] = {
    MOVES(SYSTOLE_OP_RESHAPE, prepare_reshape, run_reshape, SYSTOLE_INT8),
    MOVES(SYSTOLE_OP_RESHAPE, prepare_reshape, run_reshape, SYSTOLE_UINT8),
    MOVES(SYSTOLE_OP_RESHAPE, prepare_reshape, run_reshape, SYSTOLE_INT16),
    MOVES(SYSTOLE_OP_RESHAPE, prepare_reshape, run_reshape, SYSTOLE_INT32),
    MOVES(SYSTOLE_OP_RESHAPE, prepare_reshape, run_reshape, SYSTOLE_FLOAT32),
    MOVES(SYSTOLE_OP_RESHAPE, prepare_reshape, run_reshape, SYSTOLE_INT64),
    MOVES(SYSTOLE_OP_RESHAPE, prepare_reshape, run_reshape, SYSTOLE_BOOL),
    MOVES(SYSTOLE_OP_SQUEEZE, prepare_reshape, run_reshape, SYSTOLE_INT8),
    MOVES(SYSTOLE_OP_SQUEEZE, prepare_reshape, run_reshape, SYSTOLE_UINT8),
    MOVES(SYSTOLE_OP_SQUEEZE, prepare_reshape, run_reshape, SYSTOLE_INT16),
    MOVES(SYSTOLE_OP_SQUEEZE, prepare_reshape, run_reshape, SYSTOLE_INT32),
    MOVES(SYSTOLE_OP_SQUEEZE, prepare_reshape, run_reshape, SYSTOLE_INT64),
    MOVES(SYSTOLE_OP_SQUEEZE, prepare_reshape, run_reshape, SYSTOLE_FLOAT32),
    MOVES(SYSTOLE_OP_SQUEEZE, prepare_reshape, run_reshape, SYSTOLE_BOOL),
    MOVES(SYSTOLE_OP_EXPAND_DIMS, prepare_reshape, run_reshape, SYSTOLE_INT8),
    MOVES(SYSTOLE_OP_EXPAND_DIMS, prepare_reshape, run_reshape, SYSTOLE_UINT8),
    MOVES(SYSTOLE_OP_EXPAND_DIMS, prepare_reshape, run_reshape, SYSTOLE_INT16),
    MOVES(SYSTOLE_OP_EXPAND_DIMS, prepare_reshape, run_reshape, SYSTOLE_INT32),
    MOVES(SYSTOLE_OP_EXPAND_DIMS, prepare_reshape, run_reshape, SYSTOLE_INT64),
    MOVES(SYSTOLE_OP_EXPAND_DIMS, prepare_reshape, run_reshape, SYSTOLE_FLOAT32),
    MOVES(SYSTOLE_OP_EXPAND_DIMS, prepare_reshape, run_reshape, SYSTOLE_BOOL),
    MOVES(SYSTOLE_OP_PAD, prepare_pad, run_pad, SYSTOLE_INT8),
    MOVES(SYSTOLE_OP_PAD, prepare_pad, run_pad, SYSTOLE_UINT8),
    MOVES(SYSTOLE_OP_PAD, prepare_pad, run_pad, SYSTOLE_INT16),
    MOVES(SYSTOLE_OP_PAD, prepare_pad, run_pad, SYSTOLE_FLOAT32),
    MOVES(SYSTOLE_OP_PADV2, prepare_pad, run_pad, SYSTOLE_INT8),
    MOVES(SYSTOLE_OP_PADV2, prepare_pad, run_pad, SYSTOLE_UINT8),
    MOVES(SYSTOLE_OP_PADV2, prepare_pad, run_pad, SYSTOLE_FLOAT32),
    {0},
};
