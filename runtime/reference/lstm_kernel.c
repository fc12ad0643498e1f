// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// UNIDIRECTIONAL_SEQUENCE_LSTM of int8 with int16 cell (lstm_eval of the integer kernels) and of float32: four gates
// over the input and the last output, cell = forget * cell + input * candidate, output = gate * tanh(cell). The last
// output and the cell are variable tensors, which keep their values from one run to the next. Each batch has its own
// states, so a batch runs through all its steps before the next one.
#include "quantised_parameters.h"
#include "sixteen_bit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Places among the operator's inputs; each has four, in the order input, forget, cell, output gate.
enum { GATES = 4, INPUT_WEIGHTS = 1, RECURRENT_WEIGHTS = 5, PEEPHOLES = 9, BIASES = 12, PROJECTION = 16 };
enum { OUTPUT_STATE = 18, CELL_STATE = 19, NORMALISATION = 20 };
enum gate { GATE_INPUT, GATE_FORGET, GATE_CELL, GATE_OUTPUT };

struct lstm {
    size_t batches, steps, depth, units;
    size_t batch_stride, step_stride; // in rows of the input and the output
    float cell_clip;                  // of float32; 0: none
    int32_t input_zero_point, output_zero_point;
    struct systole_multiplier input[GATES], recurrent[GATES]; // to 2^-12
    struct systole_multiplier forget_cell, input_cell;        // products to the cell's scale
    struct systole_multiplier hidden;
    int32_t tanh_multiplier, tanh_shift; // of the cell
    int16_t quantised_clip;              // 0: none
};

static bool is_matrix(const struct systole_tensor *t, enum systole_dtype dtype, size_t rows, size_t columns) {
    return t != NULL && t->dtype == dtype && t->rank == 2 && (size_t)t->shape[0] == rows &&
           (size_t)t->shape[1] == columns;
}

static enum systole_status check_state(const struct systole_kernel_call *call, uint32_t place, enum systole_dtype dtype,
                                       const struct lstm *lstm, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *state = systole_kernel_input(call, place);
    bool good = state != NULL && state->is_variable && state->data == NULL && state->dtype == dtype &&
                systole_tensor_elements(state) == lstm->batches * lstm->units;
    for (uint32_t i = 0; good && i < call->op->input_count; i++) {
        good = i == place || call->op->inputs[i] != call->op->inputs[place];
    }
    return good ? SYSTOLE_OK
                : systole_kernel_refuse(call, diagnostic, "", "input %u is not a variable of %zu x %zu %s of its own",
                                        place, lstm->batches, lstm->units, systole_dtype_name(dtype));
}

static enum systole_status check_operands(const struct systole_kernel_call *call, struct lstm *lstm,
                                          struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *output = systole_kernel_output(call);
    bool is_float = input->dtype == SYSTOLE_FLOAT32;
    if (input->rank != 3 || output->rank != 3 || input->shape[0] != output->shape[0] ||
        input->shape[1] != output->shape[1]) {
        return systole_kernel_refuse(call, diagnostic, "", "input and output are not sequences of the same length");
    }
    for (uint32_t i = PEEPHOLES; i < call->op->input_count; i++) {
        bool is_extra = i < BIASES || i == PROJECTION || i == PROJECTION + 1 || i >= NORMALISATION;
        if (is_extra && systole_kernel_input(call, i) != NULL) {
            return systole_kernel_refuse(call, diagnostic, "export the model with plain LSTM cells",
                                         "peepholes, projection and layer normalisation (input %u) are not supported",
                                         i);
        }
    }
    if (call->op->options.activation != SYSTOLE_ACTIVATION_TANH) {
        return systole_kernel_refuse(call, diagnostic, "", "the cell's activation is not tanh");
    }
    bool time_major = call->op->options.time_major;
    lstm->steps = (size_t)input->shape[time_major ? 0 : 1];
    lstm->batches = (size_t)input->shape[time_major ? 1 : 0];
    lstm->batch_stride = time_major ? 1 : lstm->steps;
    lstm->step_stride = time_major ? lstm->batches : 1;
    lstm->depth = (size_t)input->shape[2];
    lstm->units = (size_t)output->shape[2];
    for (uint32_t g = 0; g < GATES; g++) {
        if (!is_matrix(systole_kernel_input(call, INPUT_WEIGHTS + g), input->dtype, lstm->units, lstm->depth) ||
            !is_matrix(systole_kernel_input(call, RECURRENT_WEIGHTS + g), input->dtype, lstm->units, lstm->units) ||
            systole_kernel_input(call, BIASES + g) == NULL) {
            return systole_kernel_refuse(call, diagnostic, "export the model with plain LSTM cells",
                                         "gate %u lacks weights or bias, or they are not of %zu x %zu elements", g,
                                         lstm->units, lstm->depth);
        }
        enum systole_status status = systole_kernel_check_bias(
            call, BIASES + g, is_float ? SYSTOLE_FLOAT32 : SYSTOLE_INT32, output->shape[2], diagnostic);
        if (status != SYSTOLE_OK) {
            return status;
        }
    }
    enum systole_status status = check_state(call, OUTPUT_STATE, input->dtype, lstm, diagnostic);
    if (status == SYSTOLE_OK) {
        status = check_state(call, CELL_STATE, is_float ? SYSTOLE_FLOAT32 : SYSTOLE_INT16, lstm, diagnostic);
    }
    return status;
}

static enum systole_status affine(const struct systole_kernel_call *call, uint32_t place, const char *what,
                                  float *scale, int32_t *zero_point, struct systole_diagnostic *diagnostic) {
    return systole_tensor_affine(call->graph, call->operator_index, call->op->inputs[place], what, scale, zero_point,
                                 diagnostic);
}

// Gates are computed in units of 2^-12, their activations in units of 2^-15.
static enum systole_status derive_gate(const struct systole_kernel_call *call, uint32_t gate, float input_scale,
                                       float state_scale, struct lstm *lstm, struct systole_diagnostic *diagnostic) {
    float input_weight = 1.0f, recurrent_weight = 1.0f;
    int32_t input_zero_point = 0, recurrent_zero_point = 0;
    enum systole_status status =
        affine(call, INPUT_WEIGHTS + gate, "weights", &input_weight, &input_zero_point, diagnostic);
    if (status == SYSTOLE_OK) {
        status = affine(call, RECURRENT_WEIGHTS + gate, "recurrent weights", &recurrent_weight, &recurrent_zero_point,
                        diagnostic);
    }
    if (status == SYSTOLE_OK && (input_zero_point != 0 || recurrent_zero_point != 0)) {
        status = systole_kernel_refuse(call, diagnostic, "", "the weights have a zero point other than 0");
    }
    lstm->input[gate] = systole_quantize_multiplier((double)(input_weight * input_scale) * 4096.0);
    lstm->recurrent[gate] = systole_quantize_multiplier((double)(recurrent_weight * state_scale) * 4096.0);
    return status;
}

static enum systole_status derive_integer(const struct systole_kernel_call *call, struct lstm *lstm,
                                          struct systole_diagnostic *diagnostic) {
    float input_scale = 1.0f, state_scale = 1.0f, output_scale = 1.0f, cell_scale = 1.0f;
    int32_t output_zero_point = 0, exponent = 0;
    enum systole_status status = affine(call, 0, "input", &input_scale, &lstm->input_zero_point, diagnostic);
    if (status == SYSTOLE_OK) {
        status = affine(call, OUTPUT_STATE, "output state", &state_scale, &lstm->output_zero_point, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = systole_tensor_affine(call->graph, call->operator_index, call->op->outputs[0], "output", &output_scale,
                                       &output_zero_point, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = systole_kernel_symmetric_scale(call, systole_kernel_input(call, CELL_STATE), "cell state", &cell_scale,
                                                diagnostic);
    }
    for (uint32_t g = 0; g < GATES && status == SYSTOLE_OK; g++) {
        status = derive_gate(call, g, input_scale, state_scale, lstm, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    if (fabsf(output_scale - state_scale) > 1e-6f * state_scale || output_zero_point != lstm->output_zero_point) {
        return systole_kernel_refuse(call, diagnostic, "", "output and output state differ in scale or zero point");
    }
    if (!systole_power_of_two(cell_scale, &exponent) || exponent < -30 || exponent > -9) {
        return systole_kernel_refuse(call, diagnostic, "", "the cell's scale is not a power of two below 2^-8");
    }
    lstm->forget_cell = systole_quantize_multiplier(ldexp(1.0, -15));
    lstm->input_cell = systole_quantize_multiplier(ldexp(1.0, -30 - exponent));
    lstm->hidden = systole_quantize_multiplier(ldexp(1.0, -30) / (double)state_scale);
    int32_t left = 12 + exponent;
    lstm->tanh_multiplier = left >= 0 ? 3 << left : 3;
    lstm->tanh_shift = left >= 0 ? 0 : -left;
    if (call->op->options.cell_clip > 0.0f) {
        float clip = call->op->options.cell_clip / cell_scale;
        lstm->quantised_clip = (int16_t)(clip < 32767.0f ? clip : 32767.0f);
    }
    return SYSTOLE_OK;
}

static enum systole_status prepare(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    enum systole_status status = systole_kernel_state(call, sizeof(struct lstm), diagnostic);
    struct lstm *lstm = call->state;
    if (status == SYSTOLE_OK) {
        status = check_operands(call, lstm, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        lstm->cell_clip = call->op->options.cell_clip;
        if (!isfinite(lstm->cell_clip)) {
            status = systole_kernel_refuse(call, diagnostic, "", "the cell's clip is not finite");
        }
    }
    if (status == SYSTOLE_OK && systole_kernel_input(call, 0)->dtype == SYSTOLE_INT8) {
        status = derive_integer(call, lstm, diagnostic);
    }
    return status;
}

static int16_t weighted_sum(const int8_t *weights, const int8_t *values, size_t count, int32_t zero_point, int32_t bias,
                            struct systole_multiplier multiplier) {
    uint32_t sum = (uint32_t)bias;
    for (size_t i = 0; i < count; i++) {
        sum += (uint32_t)(weights[i] * (values[i] - zero_point));
    }
    return systole_saturate16(systole_requantise((int32_t)sum, multiplier.multiplier, multiplier.shift));
}

static int16_t product(int16_t a, int16_t b, struct systole_multiplier multiplier) {
    return systole_saturate16(systole_requantise(a * b, multiplier.multiplier, multiplier.shift));
}

static void step_integer(const struct systole_kernel_call *call, const int8_t *input, int8_t *output_state,
                         int16_t *cell, int8_t *output) {
    const struct lstm *lstm = call->state;
    for (size_t u = 0; u < lstm->units; u++) {
        int16_t gates[GATES];
        for (uint32_t g = 0; g < GATES; g++) {
            const int8_t *weights = (const int8_t *)systole_kernel_input_bytes(call, INPUT_WEIGHTS + g);
            const int8_t *recurrent = (const int8_t *)systole_kernel_input_bytes(call, RECURRENT_WEIGHTS + g);
            const int32_t *bias = (const int32_t *)(const void *)systole_kernel_input_bytes(call, BIASES + g);
            int32_t sum = weighted_sum(weights + u * lstm->depth, input, lstm->depth, lstm->input_zero_point, bias[u],
                                       lstm->input[g]) +
                          weighted_sum(recurrent + u * lstm->units, output_state, lstm->units, lstm->output_zero_point,
                                       0, lstm->recurrent[g]);
            int16_t x = systole_saturate16(sum);
            gates[g] = g == GATE_CELL ? systole_tanh16(x, 3, 0) : systole_sigmoid16(x, 3, 0);
        }
        int16_t next = systole_saturate16(product(gates[GATE_FORGET], cell[u], lstm->forget_cell) +
                                          product(gates[GATE_INPUT], gates[GATE_CELL], lstm->input_cell));
        if (lstm->quantised_clip > 0) {
            next = (int16_t)systole_clamp(next, -lstm->quantised_clip, lstm->quantised_clip);
        }
        cell[u] = next;
        int16_t squashed = systole_tanh16(next, lstm->tanh_multiplier, lstm->tanh_shift);
        int32_t hidden = systole_requantise(gates[GATE_OUTPUT] * squashed, lstm->hidden.multiplier, lstm->hidden.shift);
        output[u] = (int8_t)systole_clamp(systole_wrapping_add(hidden, lstm->output_zero_point), INT8_MIN, INT8_MAX);
    }
    memcpy(output_state, output, lstm->units);
}

static float sigmoid(float x) {
    return 1.0f / (1.0f + expf(-x));
}

static float weighted_sum_float(const float *weights, const float *values, size_t count) {
    float sum = 0.0f;
    for (size_t i = 0; i < count; i++) {
        sum += weights[i] * values[i];
    }
    return sum;
}

static const float *floats(const struct systole_kernel_call *call, uint32_t place) {
    return (const float *)(const void *)systole_kernel_input_bytes(call, place);
}

static void step_float(const struct systole_kernel_call *call, const float *input, float *output_state, float *cell,
                       float *output) {
    const struct lstm *lstm = call->state;
    for (size_t u = 0; u < lstm->units; u++) {
        float gates[GATES];
        for (uint32_t g = 0; g < GATES; g++) {
            float sum =
                floats(call, BIASES + g)[u] +
                weighted_sum_float(floats(call, INPUT_WEIGHTS + g) + u * lstm->depth, input, lstm->depth) +
                weighted_sum_float(floats(call, RECURRENT_WEIGHTS + g) + u * lstm->units, output_state, lstm->units);
            gates[g] = g == GATE_CELL ? tanhf(sum) : sigmoid(sum);
        }
        cell[u] = gates[GATE_FORGET] * cell[u] + gates[GATE_INPUT] * gates[GATE_CELL];
        if (lstm->cell_clip > 0.0f) {
            cell[u] = systole_clamp_float(cell[u], -lstm->cell_clip, lstm->cell_clip);
        }
        output[u] = gates[GATE_OUTPUT] * tanhf(cell[u]);
    }
    memcpy(output_state, output, lstm->units * sizeof *output);
}

static enum systole_status run(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct lstm *lstm = call->state;
    bool is_float = systole_kernel_input(call, 0)->dtype == SYSTOLE_FLOAT32;
    size_t element = is_float ? sizeof(float) : sizeof(int8_t);
    size_t cell_element = is_float ? sizeof(float) : sizeof(int16_t);
    const uint8_t *input = systole_kernel_input_bytes(call, 0);
    uint8_t *output = systole_kernel_output_bytes(call);
    for (size_t b = 0; b < lstm->batches; b++) {
        uint8_t *output_state = call->tensors[call->op->inputs[OUTPUT_STATE]] + b * lstm->units * element;
        uint8_t *cell = call->tensors[call->op->inputs[CELL_STATE]] + b * lstm->units * cell_element;
        for (size_t s = 0; s < lstm->steps; s++) {
            size_t row = b * lstm->batch_stride + s * lstm->step_stride;
            const uint8_t *x = input + row * lstm->depth * element;
            uint8_t *y = output + row * lstm->units * element;
            if (is_float) {
                step_float(call, (const float *)(const void *)x, (float *)(void *)output_state, (float *)(void *)cell,
                           (float *)(void *)y);
            } else {
                step_integer(call, (const int8_t *)x, (int8_t *)output_state, (int16_t *)(void *)cell, (int8_t *)y);
            }
        }
    }
    return SYSTOLE_OK;
}

const struct systole_kernel systole_lstm_kernels[] = {
    {SYSTOLE_OP_UNIDIRECTIONAL_SEQUENCE_LSTM, SYSTOLE_INT8, SYSTOLE_INT8, prepare, run, NULL},
    {SYSTOLE_OP_UNIDIRECTIONAL_SEQUENCE_LSTM, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare, run, NULL},
    {0},
};
