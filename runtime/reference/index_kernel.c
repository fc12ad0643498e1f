// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Operators that make or follow indices: ARG_MAX and ARG_MIN (the first of equals), GATHER, GATHER_ND. Indices may be
// computed, so that they are held against their axis when the operator runs.
#include <string.h>

#include "kernel.h"

static int64_t index_at(const struct systole_tensor *tensor, const uint8_t *bytes, size_t i) {
    return tensor->dtype == SYSTOLE_INT64 ? ((const int64_t *)(const void *)bytes)[i]
                                          : ((const int32_t *)(const void *)bytes)[i];
}

static bool is_index(const struct systole_tensor *tensor) {
    return tensor != NULL && (tensor->dtype == SYSTOLE_INT32 || tensor->dtype == SYSTOLE_INT64);
}

static size_t product(const struct systole_tensor *tensor, int32_t first, int32_t end) {
    size_t elements = 1;
    for (int32_t axis = first; axis < end; axis++) {
        elements *= (size_t)tensor->shape[axis];
    }
    return elements;
}

// GATHER: outer x index x inner copies of one axis; GATHER_ND: one copy an index tuple.
struct gather {
    size_t batches, outer, extent, picks, inner; // inner in bytes
    int32_t depth;                               // GATHER_ND: axes of a tuple
    size_t steps[SYSTOLE_MAX_RANK];              // bytes
};

static enum systole_status prepare_best(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *axis = systole_kernel_input(call, 1);
    const struct systole_tensor *output = systole_kernel_output(call);
    if (!is_index(axis) || axis->data == NULL || systole_tensor_elements(axis) != 1) {
        return systole_kernel_refuse(call, diagnostic, "", "the axis is not a constant integer");
    }
    int64_t at = index_at(axis, axis->data, 0);
    at += at < 0 ? input->rank : 0;
    if (at < 0 || at >= input->rank) {
        return systole_kernel_refuse(call, diagnostic, "", "the input has no axis %lld", (long long)at);
    }
    enum systole_status status = systole_kernel_state(call, sizeof(struct gather), diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct gather *g = call->state;
    g->outer = product(input, 0, (int32_t)at);
    g->extent = (size_t)input->shape[at];
    g->inner = product(input, (int32_t)at + 1, input->rank);
    if (systole_tensor_elements(output) != g->outer * g->inner) {
        return systole_kernel_refuse(call, diagnostic, "", "the output's shape is not the input's without the axis");
    }
    return SYSTOLE_OK;
}

static float element_at(enum systole_dtype dtype, const uint8_t *bytes, size_t i) {
    return dtype == SYSTOLE_UINT8  ? (float)bytes[i]
           : dtype == SYSTOLE_INT8 ? (float)(int8_t)bytes[i]
                                   : ((const float *)(const void *)bytes)[i];
}

static enum systole_status run_best(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct gather *g = call->state;
    enum systole_dtype dtype = systole_kernel_input(call, 0)->dtype;
    const uint8_t *input = systole_kernel_input_bytes(call, 0);
    uint8_t *output = systole_kernel_output_bytes(call);
    bool largest = call->op->code == SYSTOLE_OP_ARG_MAX, wide = systole_kernel_output(call)->dtype == SYSTOLE_INT64;
    for (size_t o = 0; o < g->outer * g->inner; o++) {
        size_t first = o / g->inner * g->extent * g->inner + o % g->inner, best = 0;
        float value = element_at(dtype, input, first);
        for (size_t i = 1; i < g->extent; i++) {
            float next = element_at(dtype, input, first + i * g->inner);
            if (largest ? next > value : next < value) {
                value = next;
                best = i;
            }
        }
        if (wide) {
            ((int64_t *)(void *)output)[o] = (int64_t)best;
        } else {
            ((int32_t *)(void *)output)[o] = (int32_t)best;
        }
    }
    return SYSTOLE_OK;
}

static enum systole_status begin_gather(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *output = systole_kernel_output(call);
    if (!is_index(systole_kernel_input(call, 1))) {
        return systole_kernel_refuse(call, diagnostic, "", "the indices are not int32 or int64");
    }
    if (!systole_same_quantisation(input, output) || input->size == 0 || output->size == 0) {
        return systole_kernel_refuse(call, diagnostic, "",
                                     "input and output are empty or do not share one scale and zero point");
    }
    return systole_kernel_state(call, sizeof(struct gather), diagnostic);
}

static enum systole_status prepare_gather(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *indices = systole_kernel_input(call, 1);
    const struct systole_options *options = &call->op->options;
    enum systole_status status = begin_gather(call, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct gather *g = call->state;
    int64_t axis = (int64_t)options->axis + (options->axis < 0 ? input->rank : 0);
    int64_t batch = (int64_t)options->batch_dims + (options->batch_dims < 0 ? indices->rank : 0);
    bool fits = batch >= 0 && batch <= axis && axis < input->rank && batch <= indices->rank;
    for (int32_t i = 0; fits && i < batch; i++) {
        fits = input->shape[i] == indices->shape[i];
    }
    if (fits) {
        g->batches = product(input, 0, (int32_t)batch);
        g->outer = product(input, (int32_t)batch, (int32_t)axis);
        g->extent = (size_t)input->shape[axis];
        g->picks = product(indices, (int32_t)batch, indices->rank);
        g->inner = product(input, (int32_t)axis + 1, input->rank) * systole_dtype_size(input->dtype);
        double bytes = (double)g->batches * (double)g->outer * (double)g->picks * (double)g->inner;
        fits = bytes == (double)systole_kernel_output(call)->size;
    }
    return fits ? SYSTOLE_OK : systole_kernel_refuse(call, diagnostic, "", "axis, batch axes and shapes do not agree");
}

static enum systole_status run_gather(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct gather *g = call->state;
    const struct systole_tensor *indices = systole_kernel_input(call, 1);
    const uint8_t *input = systole_kernel_input_bytes(call, 0), *at = systole_kernel_input_bytes(call, 1);
    uint8_t *output = systole_kernel_output_bytes(call);
    for (size_t row = 0; row < g->batches * g->outer; row++) {
        for (size_t i = 0; i < g->picks; i++) {
            int64_t pick = index_at(indices, at, row / g->outer * g->picks + i);
            if (pick < 0 || pick >= (int64_t)g->extent) {
                return systole_kernel_refuse(call, diagnostic, "", "index %lld is outside 0 to %zu", (long long)pick,
                                             g->extent - 1);
            }
            memcpy(output + (row * g->picks + i) * g->inner, input + (row * g->extent + (size_t)pick) * g->inner,
                   g->inner);
        }
    }
    return SYSTOLE_OK;
}

static enum systole_status prepare_gather_nd(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *indices = systole_kernel_input(call, 1);
    enum systole_status status = begin_gather(call, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct gather *g = call->state;
    bool fits = indices->rank >= 1 && indices->shape[indices->rank - 1] >= 1 &&
                indices->shape[indices->rank - 1] <= input->rank;
    if (fits) {
        g->depth = indices->shape[indices->rank - 1];
        g->picks = product(indices, 0, indices->rank - 1);
        g->inner = product(input, g->depth, input->rank) * systole_dtype_size(input->dtype);
        size_t step = g->inner;
        for (int32_t axis = g->depth - 1; axis >= 0; axis--) {
            g->steps[axis] = step;
            step *= (size_t)input->shape[axis];
        }
        fits = (double)g->picks * (double)g->inner == (double)systole_kernel_output(call)->size;
    }
    return fits ? SYSTOLE_OK : systole_kernel_refuse(call, diagnostic, "", "indices and shapes do not agree");
}

static enum systole_status run_gather_nd(const struct systole_kernel_call *call,
                                         struct systole_diagnostic *diagnostic) {
    const struct gather *g = call->state;
    const struct systole_tensor *input = systole_kernel_input(call, 0), *indices = systole_kernel_input(call, 1);
    const uint8_t *from = systole_kernel_input_bytes(call, 0), *at = systole_kernel_input_bytes(call, 1);
    for (size_t i = 0; i < g->picks; i++) {
        size_t offset = 0;
        for (int32_t axis = 0; axis < g->depth; axis++) {
            int64_t pick = index_at(indices, at, i * (size_t)g->depth + (size_t)axis);
            if (pick < 0 || pick >= input->shape[axis]) {
                return systole_kernel_refuse(call, diagnostic, "", "index %lld is outside axis %d of %d elements",
                                             (long long)pick, axis, input->shape[axis]);
            }
            offset += (size_t)pick * g->steps[axis];
        }
        memcpy(systole_kernel_output_bytes(call) + i * g->inner, from + offset, g->inner);
    }
    return SYSTOLE_OK;
}

#define BEST(name, type)                                                                                               \
    {SYSTOLE_OP_##name, SYSTOLE_##type, SYSTOLE_INT32, prepare_best, run_best, NULL}, {                                \
        SYSTOLE_OP_##name, SYSTOLE_##type, SYSTOLE_INT64, prepare_best, run_best, NULL                                 \
    }
#define GATHERS(type)                                                                                                  \
    {SYSTOLE_OP_GATHER, SYSTOLE_##type, SYSTOLE_##type, prepare_gather, run_gather, NULL}, {                           \
        SYSTOLE_OP_GATHER_ND, SYSTOLE_##type, SYSTOLE_##type, prepare_gather_nd, run_gather_nd, NULL                   \
    }
const struct systole_kernel systole_index_kernels[] = {
    BEST(ARG_MAX, INT8),
    BEST(ARG_MAX, UINT8),
    BEST(ARG_MAX, FLOAT32),
    BEST(ARG_MIN, INT8),
    BEST(ARG_MIN, UINT8),
    BEST(ARG_MIN, FLOAT32),
    GATHERS(INT8),
    GATHERS(UINT8),
    GATHERS(INT16),
    GATHERS(INT32),
    GATHERS(INT64),
    GATHERS(FLOAT32),
    {0},
};
