// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// SVDF in int8 (reference svdf.h EvalIntegerSVDF), with a state of int16 or int8 that keeps the last `memory` features
// of each filter: the state moves up by one, the new features enter at its end, the time weights sum it up, and each
// unit is the sum of its `rank` filters.
#include "eight_bit.h"
#include "fixed_point.h"
#include "sixteen_bit.h"

#include <string.h>

enum { FEATURE_WEIGHTS = 1, TIME_WEIGHTS = 2, BIAS = 3, STATE = 4 };

struct svdf {
    size_t batches, depth, filters, memory, rank, units;
    bool wide; // state and time weights of int16
    int32_t input_zero_point, output_zero_point;
    struct systole_multiplier feature, output;
};

static enum systole_status check_operands(const struct systole_kernel_call *call, struct svdf *svdf,
                                          struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *output = systole_kernel_output(call);
    const struct systole_tensor *features = systole_kernel_input(call, FEATURE_WEIGHTS);
    const struct systole_tensor *time = systole_kernel_input(call, TIME_WEIGHTS);
    const struct systole_tensor *state = systole_kernel_input(call, STATE);
    if (features == NULL || time == NULL || state == NULL || input->rank != 2 || output->rank != 2 ||
        features->rank != 2 || time->rank != 2 || features->dtype != SYSTOLE_INT8) {
        return systole_kernel_refuse(call, diagnostic, "", "input, weights and output are not matrices of int8");
    }
    svdf->batches = (size_t)input->shape[0];
    svdf->depth = (size_t)input->shape[1];
    svdf->filters = (size_t)features->shape[0];
    svdf->memory = (size_t)time->shape[1];
    svdf->units = (size_t)output->shape[1];
    svdf->wide = state->dtype == SYSTOLE_INT16;
    int32_t rank = call->op->options.svdf_rank;
    if (rank < 1 || svdf->filters != svdf->units * (size_t)rank || (size_t)features->shape[1] != svdf->depth ||
        (size_t)time->shape[0] != svdf->filters || output->shape[0] != input->shape[0]) {
        return systole_kernel_refuse(call, diagnostic, "", "weights of %zu filters do not make %zu units of rank %d",
                                     svdf->filters, svdf->units, rank);
    }
    svdf->rank = (size_t)rank;
    bool good = state->is_variable && state->data == NULL && time->dtype == state->dtype &&
                (svdf->wide || state->dtype == SYSTOLE_INT8) &&
                systole_tensor_elements(state) == svdf->batches * svdf->filters * svdf->memory;
    for (uint32_t i = 0; good && i < call->op->input_count; i++) {
        good = i == STATE || call->op->inputs[i] != call->op->inputs[STATE];
    }
    if (!good) {
        return systole_kernel_refuse(
            call, diagnostic, "", "the state is not a variable of %zu x %zu x %zu elements of the time weights' type",
            svdf->batches, svdf->filters, svdf->memory);
    }
    return systole_kernel_check_bias(call, BIAS, SYSTOLE_INT32, output->shape[1], diagnostic);
}

// A scale of int8 or int16 with zero point 0.
static enum systole_status symmetric(const struct systole_kernel_call *call, uint32_t place, const char *what,
                                     float *scale, struct systole_diagnostic *diagnostic) {
    int32_t zero_point = 0;
    const struct systole_tensor *tensor = systole_kernel_input(call, place);
    if (tensor->dtype == SYSTOLE_INT16) {
        return systole_kernel_symmetric_scale(call, tensor, what, scale, diagnostic);
    }
    enum systole_status status = systole_tensor_affine(call->graph, call->operator_index, call->op->inputs[place], what,
                                                       scale, &zero_point, diagnostic);
    if (status == SYSTOLE_OK && zero_point != 0) {
        status = systole_kernel_refuse(call, diagnostic, "", "the %s has zero point %d, not 0", what, zero_point);
    }
    return status;
}

static enum systole_status derive(const struct systole_kernel_call *call, struct svdf *svdf,
                                  struct systole_diagnostic *diagnostic) {
    struct systole_affine from, to;
    float features = 1.0f, time = 1.0f, state = 1.0f;
    enum systole_status status = systole_eight_bit_ends(call, &from, &to, diagnostic);
    svdf->input_zero_point = from.zero_point;
    svdf->output_zero_point = to.zero_point;
    if (status == SYSTOLE_OK) {
        status = symmetric(call, FEATURE_WEIGHTS, "feature weights", &features, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = symmetric(call, TIME_WEIGHTS, "time weights", &time, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = symmetric(call, STATE, "state", &state, diagnostic);
    }
    svdf->feature = systole_quantize_multiplier((double)(from.scale * features / state));
    svdf->output = systole_quantize_multiplier((double)(state * time / to.scale));
    return status;
}

static enum systole_status prepare(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    enum systole_status status = systole_kernel_state(call, sizeof(struct svdf), diagnostic);
    struct svdf *svdf = call->state;
    if (status == SYSTOLE_OK) {
        status = check_operands(call, svdf, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = derive(call, svdf, diagnostic);
    }
    enum systole_activation activation = call->op->options.activation;
    // The reference clamps to the type alone, which is RELU when 0 is the least value.
    bool known = activation == SYSTOLE_ACTIVATION_NONE ||
                 (activation == SYSTOLE_ACTIVATION_RELU && svdf != NULL && svdf->output_zero_point == INT8_MIN);
    if (status == SYSTOLE_OK && !known) {
        status = systole_kernel_refuse(call, diagnostic, "", "the fused activation is not RELU from zero point -128");
    }
    return status;
}

static int32_t state_value(const struct svdf *svdf, const uint8_t *bytes, size_t i) {
    return svdf->wide ? ((const int16_t *)(const void *)bytes)[i] : (int8_t)bytes[i];
}

static int32_t feature(const struct svdf *svdf, const int8_t *input, const int8_t *weights) {
    uint32_t sum = 0;
    for (size_t i = 0; i < svdf->depth; i++) {
        sum += (uint32_t)(weights[i] * (input[i] - svdf->input_zero_point));
    }
    return systole_requantise((int32_t)sum, svdf->feature.multiplier, svdf->feature.shift);
}

static enum systole_status run(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct svdf *svdf = call->state;
    const int8_t *input = (const int8_t *)systole_kernel_input_bytes(call, 0);
    const int8_t *features = (const int8_t *)systole_kernel_input_bytes(call, FEATURE_WEIGHTS);
    const uint8_t *time = systole_kernel_input_bytes(call, TIME_WEIGHTS);
    const int32_t *bias = (const int32_t *)(const void *)systole_kernel_input_bytes(call, BIAS);
    int8_t *output = (int8_t *)systole_kernel_output_bytes(call);
    uint8_t *state = call->tensors[call->op->inputs[STATE]];
    size_t element = svdf->wide ? sizeof(int16_t) : sizeof(int8_t);
    for (size_t b = 0; b < svdf->batches; b++) {
        for (size_t u = 0; u < svdf->units; u++) {
            uint32_t sum = bias != NULL ? (uint32_t)bias[u] : 0;
            for (size_t f = u * svdf->rank; f < (u + 1) * svdf->rank; f++) {
                uint8_t *memory = state + (b * svdf->filters + f) * svdf->memory * element;
                size_t last = svdf->memory - 1;
                memmove(memory, memory + element, last * element);
                int32_t value = feature(svdf, input + b * svdf->depth, features + f * svdf->depth);
                if (svdf->wide) {
                    ((int16_t *)(void *)memory)[last] = systole_saturate16(value);
                } else {
                    ((int8_t *)memory)[last] = (int8_t)systole_clamp(value, INT8_MIN, INT8_MAX);
                }
                for (size_t m = 0; m < svdf->memory; m++) {
                    sum += (uint32_t)(state_value(svdf, memory, m) *
                                      state_value(svdf, time + f * svdf->memory * element, m));
                }
            }
            int32_t scaled = systole_requantise((int32_t)sum, svdf->output.multiplier, svdf->output.shift);
            *output++ =
                (int8_t)systole_clamp(systole_wrapping_add(scaled, svdf->output_zero_point), INT8_MIN, INT8_MAX);
        }
    }
    return SYSTOLE_OK;
}

const struct systole_kernel systole_svdf_kernels[] = {
    {SYSTOLE_OP_SVDF, SYSTOLE_INT8, SYSTOLE_INT8, prepare, run, NULL},
    {0},
};
