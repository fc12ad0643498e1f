// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// MEAN over any axes in int8, uint8 (reference/reduce.h QuantizedMeanOrSum: the division is folded into the
// multiplier) and float32 (Mean); SUM, REDUCE_MAX and REDUCE_MIN likewise. One pass over the input adds each element to
// the sum it belongs to.
#include "fixed_point.h"
#include "kernel.h"
#include "quantised_parameters.h"

#include <stdlib.h>
#include <string.h>

struct mean {
    int32_t rank;
    size_t shape[SYSTOLE_MAX_RANK];
    size_t stride[SYSTOLE_MAX_RANK]; // of the output; 0 along a reduced axis
    uint32_t count;                  // elements of one mean
    struct systole_rescale_parameters parameters;
};

static enum systole_status prepare(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *output = systole_kernel_output(call);
    enum systole_status status = systole_kernel_state(call, sizeof(struct mean), diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct mean *mean = call->state;
    bool axes[SYSTOLE_MAX_RANK];
    status = systole_mean_axes(call->graph, call->operator_index, axes, &mean->count, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    mean->rank = input->rank;
    size_t step = 1;
    int32_t axis_out = output->rank;
    bool fits = true;
    for (int32_t axis = input->rank - 1; axis >= 0; axis--) {
        mean->shape[axis] = (size_t)input->shape[axis];
        int32_t extent = axes[axis] ? 1 : input->shape[axis];
        if (!axes[axis] || call->op->options.keep_dims) {
            axis_out--;
            fits = fits && axis_out >= 0 && output->shape[axis_out] == extent;
        }
        mean->stride[axis] = axes[axis] ? 0 : step;
        step *= (size_t)extent;
    }
    if (!fits || axis_out != 0) {
        return systole_kernel_refuse(call, diagnostic, "", "the output's shape is not the input's without its axes");
    }
    if (call->op->code == SYSTOLE_OP_REDUCE_MAX || call->op->code == SYSTOLE_OP_REDUCE_MIN) {
        return systole_same_quantisation(input, output)
                   ? SYSTOLE_OK
                   : systole_kernel_refuse(call, diagnostic, "",
                                           "input and output do not share one scale and zero point");
    }
    if (input->dtype == SYSTOLE_FLOAT32) {
        return SYSTOLE_OK;
    }
    return systole_rescale_parameters_derive(call->graph, call->operator_index, &mean->parameters, diagnostic);
}

// Walks the input's rows (its last axis); `sums` is indexed like the output.
static bool next_row(const struct mean *mean, size_t *index, size_t *output) {
    int32_t axis = mean->rank - 2;
    for (; axis >= 0; axis--) {
        *output += mean->stride[axis];
        if (++index[axis] < mean->shape[axis]) {
            return true;
        }
        *output -= mean->stride[axis] * mean->shape[axis];
        index[axis] = 0;
    }
    return false;
}

static enum systole_status run_integer(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct mean *mean = call->state;
    const struct systole_rescale_parameters *p = &mean->parameters;
    const struct systole_tensor *input = systole_kernel_input(call, 0);
    size_t outputs = systole_tensor_elements(systole_kernel_output(call));
    uint8_t *output = systole_kernel_output_bytes(call);
    int16_t *values = systole_widen(systole_kernel_input_bytes(call, 0), input->dtype, p->input_zero_point,
                                    systole_tensor_elements(input));
    uint32_t *sums = calloc(outputs, sizeof *sums);
    enum systole_status status = SYSTOLE_OK;
    if (values == NULL || sums == NULL) {
        status = systole_kernel_no_memory(call, diagnostic);
        goto out;
    }
    size_t index[SYSTOLE_MAX_RANK] = {0};
    size_t offset = 0, count = mean->rank > 0 ? mean->shape[mean->rank - 1] : 1;
    size_t step = mean->rank > 0 ? mean->stride[mean->rank - 1] : 0;
    const int16_t *row = values;
    do {
        for (size_t i = 0; i < count; i++) {
            uint32_t *sum = &sums[offset + i * step];
            *sum = (uint32_t)systole_wrapping_add((int32_t)*sum, row[i]);
        }
        row += count;
    } while (next_row(mean, index, &offset));
    for (size_t i = 0; i < outputs; i++) {
        int32_t scaled = systole_requantise((int32_t)sums[i], p->multiplier.multiplier, p->multiplier.shift);
        output[i] =
            (uint8_t)systole_clamp(systole_wrapping_add(scaled, p->output_zero_point), p->clamp_min, p->clamp_max);
    }
out:
    free(sums);
    free(values);
    return status;
}

static enum systole_status run_float(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct mean *mean = call->state;
    size_t outputs = systole_tensor_elements(systole_kernel_output(call));
    const float *row = (const float *)(const void *)systole_kernel_input_bytes(call, 0);
    float *output = (float *)(void *)systole_kernel_output_bytes(call);
    for (size_t i = 0; i < outputs; i++) {
        output[i] = 0.0f;
    }
    size_t index[SYSTOLE_MAX_RANK] = {0};
    size_t offset = 0, count = mean->rank > 0 ? mean->shape[mean->rank - 1] : 1;
    size_t step = mean->rank > 0 ? mean->stride[mean->rank - 1] : 0;
    do {
        for (size_t i = 0; i < count; i++) {
            output[offset + i * step] += row[i];
        }
        row += count;
    } while (next_row(mean, index, &offset));
    for (size_t i = 0; i < outputs; i++) {
        output[i] /= call->op->code == SYSTOLE_OP_MEAN ? (float)mean->count : 1.0f;
    }
    return SYSTOLE_OK;
}

static float number_at(enum systole_dtype dtype, const uint8_t *bytes, size_t i) {
    return dtype == SYSTOLE_UINT8  ? (float)bytes[i]
           : dtype == SYSTOLE_INT8 ? (float)(int8_t)bytes[i]
                                   : ((const float *)(const void *)bytes)[i];
}

static enum systole_status run_extreme(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct mean *mean = call->state;
    enum systole_dtype dtype = systole_kernel_input(call, 0)->dtype;
    size_t element = systole_dtype_size(dtype), outputs = systole_tensor_elements(systole_kernel_output(call));
    const uint8_t *row = systole_kernel_input_bytes(call, 0);
    uint8_t *output = systole_kernel_output_bytes(call);
    bool *seen = calloc(outputs, sizeof *seen);
    if (seen == NULL) {
        return systole_kernel_no_memory(call, diagnostic);
    }
    size_t index[SYSTOLE_MAX_RANK] = {0};
    size_t offset = 0, count = mean->rank > 0 ? mean->shape[mean->rank - 1] : 1;
    size_t step = mean->rank > 0 ? mean->stride[mean->rank - 1] : 0;
    do {
        for (size_t i = 0; i < count; i++) {
            size_t o = offset + i * step;
            float next = number_at(dtype, row, i), best = number_at(dtype, output, o);
            if (!seen[o] || (call->op->code == SYSTOLE_OP_REDUCE_MAX ? next > best : next < best)) {
                memcpy(output + o * element, row + i * element, element);
                seen[o] = true;
            }
        }
        row += count * element;
    } while (next_row(mean, index, &offset));
    free(seen);
    return SYSTOLE_OK;
}

const struct systole_kernel systole_mean_kernels[] = {
    {SYSTOLE_OP_MEAN, SYSTOLE_INT8, SYSTOLE_INT8, prepare, run_integer, NULL},
    {SYSTOLE_OP_MEAN, SYSTOLE_UINT8, SYSTOLE_UINT8, prepare, run_integer, NULL},
    {SYSTOLE_OP_MEAN, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare, run_float, NULL},
    {SYSTOLE_OP_SUM, SYSTOLE_INT8, SYSTOLE_INT8, prepare, run_integer, NULL},
    {SYSTOLE_OP_SUM, SYSTOLE_UINT8, SYSTOLE_UINT8, prepare, run_integer, NULL},
    {SYSTOLE_OP_SUM, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare, run_float, NULL},
    {SYSTOLE_OP_REDUCE_MAX, SYSTOLE_INT8, SYSTOLE_INT8, prepare, run_extreme, NULL},
    {SYSTOLE_OP_REDUCE_MAX, SYSTOLE_UINT8, SYSTOLE_UINT8, prepare, run_extreme, NULL},
    {SYSTOLE_OP_REDUCE_MAX, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare, run_extreme, NULL},
    {SYSTOLE_OP_REDUCE_MIN, SYSTOLE_INT8, SYSTOLE_INT8, prepare, run_extreme, NULL},
    {SYSTOLE_OP_REDUCE_MIN, SYSTOLE_UINT8, SYSTOLE_UINT8, prepare, run_extreme, NULL},
    {SYSTOLE_OP_REDUCE_MIN, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare, run_extreme, NULL},
    {0},
};
