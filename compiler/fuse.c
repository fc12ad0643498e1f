// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Operators that need no command. Operators are visited from the last to the first, so that what reads a tensor is
// already in its final form; each fold rewrites the operands of its neighbours:
// - PAD before convolutions becomes their padding (both are operand zero);
// - QUANTIZE between int8 and uint8 of the same scale, zero points 128 apart, is the same bytes with the top bit
// turned:
//   the neighbour reads, or writes, the other signedness;
// - RESHAPE of what the device made leaves the bytes where they are: readers with the same channels count pixels
//   linearly, a fully connected layer becomes a convolution over the whole map, the host sees dense bytes anyway.
#include <string.h>

#include "ir.h"

static const struct systole_tensor *tensor_of(const struct compilation *c, int32_t index) {
    return &c->graph->tensors[index];
}

static void fold(struct operation *operation, const char *detail) {
    operation->state = STATE_FOLDED;
    (void)snprintf(operation->reason, sizeof operation->reason, "folded");
    (void)snprintf(operation->detail, sizeof operation->detail, "%s", detail);
}

static void leave(const struct compilation *c, struct operation *operation, const char *code) {
    restrictions_apply(c, operation, &(struct eviction){code, operation->output.tensor, 0, 0});
}

// Whether the host will want a tensor, by itself or as a folded RESHAPE shows it.
static bool host_wants(const struct compilation *c, int32_t tensor) {
    bool result = ir_host_reads(c, tensor);
    for (uint32_t i = 0; i < c->graph->operator_count && !result; i++) {
        const struct operation *o = &c->operations[i];
        result = o->state == STATE_FOLDED && o->kind == OPERATION_RESHAPE && o->inputs[0].tensor == tensor &&
                 host_wants(c, o->output.tensor);
    }
    return result;
}

// ---- PAD

// Rows before and columns before, of pads {before, after} an axis. False when the amounts are not constant, or other
// axes than height and width are padded.
static bool pad_amounts(const struct compilation *c, const struct systole_operator *op, int32_t *top, int32_t *left) {
    const struct systole_tensor *in = tensor_of(c, op->inputs[0]), *out = tensor_of(c, op->outputs[0]);
    const struct systole_tensor *pads = tensor_of(c, op->inputs[1]);
    int64_t amounts[4][2];
    if (in->rank != 4 || out->rank != 4 || pads->data == NULL || systole_tensor_elements(pads) != 8 ||
        (pads->dtype != SYSTOLE_INT32 && pads->dtype != SYSTOLE_INT64)) {
        return false;
    }
    for (uint32_t i = 0; i < 8; i++) {
        if (pads->dtype == SYSTOLE_INT64) {
            memcpy(&amounts[i / 2][i % 2], pads->data + 8 * i, 8);
        } else {
            int32_t narrow;
            memcpy(&narrow, pads->data + 4 * i, 4);
            amounts[i / 2][i % 2] = narrow;
        }
    }
    for (uint32_t axis = 0; axis < 4; axis++) {
        const int64_t *a = amounts[axis];
        bool is_spatial = axis == 1 || axis == 2;
        if (a[0] < 0 || a[1] < 0 || a[0] > IR_EXTENT_LIMIT || (!is_spatial && a[0] + a[1] != 0) ||
            in->shape[axis] + a[0] + a[1] != out->shape[axis]) {
            return false;
        }
    }
    *top = (int32_t)amounts[1][0];
    *left = (int32_t)amounts[2][0];
    return true;
}

// PADV2 names its byte; PAD's is the output's zero point.
static bool pads_with_zero_point(const struct compilation *c, const struct systole_operator *op) {
    if (op->code == SYSTOLE_OP_PAD) {
        return true;
    }
    if (op->input_count < 3 || op->inputs[2] < 0) {
        return false;
    }
    const struct systole_tensor *out = tensor_of(c, op->outputs[0]), *value = tensor_of(c, op->inputs[2]);
    if (value->data == NULL || value->dtype != out->dtype || systole_tensor_elements(value) != 1 ||
        out->quantisation.count != 1) {
        return false;
    }
    int32_t byte = value->dtype == SYSTOLE_INT8 ? (int8_t)value->data[0] : value->data[0];
    return byte == out->quantisation.zero_point[0];
}

static enum systole_status fuse_pad(struct compilation *c, struct operation *pad) {
    const struct systole_operator *op = &c->graph->operators[pad->index];
    int32_t top = 0, left = 0;
    bool can = pad_amounts(c, op, &top, &left) && pads_with_zero_point(c, op) && !host_wants(c, pad->output.tensor);
    const struct systole_tensor *in = tensor_of(c, pad->inputs[0].tensor);
    uint32_t readers = 0;
    for (uint32_t i = pad->index + 1; i < c->graph->operator_count && can; i++) {
        const struct operation *o = &c->operations[i];
        if (ir_reads(o, pad->output.tensor)) {
            int32_t code = c->graph->operators[i].code;
            can = o->state == STATE_RUN && (code == SYSTOLE_OP_CONV_2D || code == SYSTOLE_OP_DEPTHWISE_CONV_2D) &&
                  o->window.input_height == (uint32_t)tensor_of(c, pad->output.tensor)->shape[1] &&
                  o->window.input_width == (uint32_t)tensor_of(c, pad->output.tensor)->shape[2] &&
                  o->window.pad_top + top <= (int32_t)IR_EXTENT_LIMIT &&
                  o->window.pad_left + left <= (int32_t)IR_EXTENT_LIMIT;
            readers++;
        }
    }
    if (!can || readers == 0) {
        return legalise_movement(c, pad);
    }
    for (uint32_t i = pad->index + 1; i < c->graph->operator_count; i++) {
        struct operation *o = &c->operations[i];
        if (ir_reads(o, pad->output.tensor)) {
            o->inputs[0].tensor = pad->inputs[0].tensor;
            o->window.input_height = (uint32_t)in->shape[1];
            o->window.input_width = (uint32_t)in->shape[2];
            o->window.pad_top += top;
            o->window.pad_left += left;
        }
    }
    fold(pad, "padding of the convolutions that follow");
    return SYSTOLE_OK;
}

// ---- QUANTIZE

// Others work on raw bytes and would carry the turned bit on.
static bool knows_zero_point(const struct operation *operation) {
    return operation->kind != OPERATION_MAX_POOL && operation->kind != OPERATION_MIN_POOL &&
           operation->kind != OPERATION_AVERAGE_POOL && operation->kind != OPERATION_MAXIMUM &&
           operation->kind != OPERATION_MINIMUM && operation->kind != OPERATION_TABLE &&
           operation->kind != OPERATION_MOVE && operation->kind != OPERATION_RESHAPE &&
           operation->kind != OPERATION_PAD;
}

static bool is_sign_flip(const struct compilation *c, const struct operation *quantize) {
    const struct operand *in = &quantize->inputs[0], *out = &quantize->output;
    return in->is_unsigned != out->is_unsigned &&
           tensor_of(c, in->tensor)->quantisation.scale[0] == tensor_of(c, out->tensor)->quantisation.scale[0] &&
           in->zero_point - out->zero_point == (in->is_unsigned ? 128 : -128);
}

static bool fold_into_readers(struct compilation *c, struct operation *quantize) {
    int32_t tensor = quantize->output.tensor;
    uint32_t count = c->graph->operator_count, readers = 0;
    if (host_wants(c, tensor)) {
        return false;
    }
    for (uint32_t i = quantize->index + 1; i < count; i++) {
        const struct operation *o = &c->operations[i];
        if (o->state == STATE_RUN && ir_reads(o, tensor)) {
            if (!knows_zero_point(o)) {
                return false;
            }
            readers++;
        }
    }
    for (uint32_t i = quantize->index + 1; i < count; i++) {
        struct operation *o = &c->operations[i];
        for (uint32_t k = 0; k < o->input_count && o->state == STATE_RUN; k++) {
            if (o->inputs[k].tensor == tensor) {
                o->inputs[k] = quantize->inputs[0];
            }
        }
    }
    return readers > 0;
}

static bool fold_into_producer(struct compilation *c, const struct operation *quantize) {
    int32_t tensor = quantize->inputs[0].tensor;
    if (host_wants(c, tensor)) {
        return false;
    }
    struct operation *producer = NULL;
    for (uint32_t i = 0; i < c->graph->operator_count; i++) {
        struct operation *o = &c->operations[i];
        if (o != quantize && o->state == STATE_RUN && ir_reads(o, tensor)) {
            return false;
        }
        if (i < quantize->index && ir_writes(o, tensor)) {
            producer = o;
        }
    }
    if (producer == NULL || !knows_zero_point(producer)) {
        return false;
    }
    int32_t turn = quantize->output.zero_point - producer->output.zero_point;
    producer->output = quantize->output;
    producer->clamp_min += turn;
    producer->clamp_max += turn;
    return true;
}

static void fuse_quantize(struct compilation *c, struct operation *quantize) {
    if (is_sign_flip(c, quantize)) {
        if (fold_into_readers(c, quantize)) {
            fold(quantize, "what follows reads the other signedness");
        } else if (fold_into_producer(c, quantize)) {
            fold(quantize, "what comes before writes the other signedness");
        }
    }
}

// ---- RESHAPE

// The operation of the device that makes a tensor, through RESHAPEs.
static const struct operation *device_producer(const struct compilation *c, int32_t tensor) {
    for (uint32_t i = c->graph->operator_count; i-- > 0;) {
        const struct operation *o = &c->operations[i];
        if (ir_writes(o, tensor)) {
            if (o->kind == OPERATION_RESHAPE) {
                tensor = o->inputs[0].tensor;
            } else {
                return o->kind == OPERATION_PAD ? NULL : o;
            }
        }
    }
    return NULL;
}

// The window that a reader of the reshaped tensor has on the tensor before; false: it cannot read that.
static bool window_before(const struct compilation *c, const struct operation *reader, const struct extents *before,
                          const struct extents *after, struct window *window) {
    const struct systole_operator *op = &c->graph->operators[reader->index];
    *window = reader->window;
    if (op->code == SYSTOLE_OP_FULLY_CONNECTED) {
        const struct systole_tensor *weights = tensor_of(c, op->inputs[1]);
        struct extents output = ir_extents(tensor_of(c, op->outputs[0]));
        return ir_fully_connected_window(before, &output, (uint32_t)weights->shape[1], window);
    }
    return before->channels == after->channels;
}

static enum systole_status fuse_reshape(struct compilation *c, struct operation *reshape) {
    int32_t from = reshape->inputs[0].tensor, to = reshape->output.tensor;
    if (device_producer(c, from) == NULL) {
        leave(c, reshape, "reshape_on_host");
        return SYSTOLE_OK;
    }
    struct extents before = ir_extents(tensor_of(c, from)), after = ir_extents(tensor_of(c, to));
    struct window window;
    for (uint32_t i = reshape->index + 1; i < c->graph->operator_count; i++) {
        if (c->operations[i].state == STATE_RUN && ir_reads(&c->operations[i], to) &&
            !window_before(c, &c->operations[i], &before, &after, &window)) {
            return legalise_movement(c, reshape);
        }
    }
    for (uint32_t i = reshape->index + 1; i < c->graph->operator_count; i++) {
        struct operation *o = &c->operations[i];
        if (o->state != STATE_RUN || !ir_reads(o, to)) {
            continue;
        }
        (void)window_before(c, o, &before, &after, &o->window);
        for (uint32_t k = 0; k < o->input_count; k++) {
            o->inputs[k].tensor = o->inputs[k].tensor == to ? from : o->inputs[k].tensor;
        }
    }
    fold(reshape, "another view of the same bytes");
    return SYSTOLE_OK;
}

enum systole_status pass_fuse(struct compilation *c) {
    enum systole_status status = SYSTOLE_OK;
    for (uint32_t i = c->graph->operator_count; i-- > 0 && status == SYSTOLE_OK;) {
        struct operation *o = &c->operations[i];
        if (o->state != STATE_RUN) {
            continue;
        }
        if (o->kind == OPERATION_PAD) {
            status = fuse_pad(c, o);
        } else if (o->kind == OPERATION_RESHAPE) {
            status = fuse_reshape(c, o);
        } else if (c->graph->operators[i].code == SYSTOLE_OP_QUANTIZE && o->kind == OPERATION_REQUANTISE) {
            fuse_quantize(c, o);
        }
    }
    dump_operations(c, "fuse");
    return status;
}
