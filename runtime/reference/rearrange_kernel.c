// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Operators that only rearrange elements, all by one loop: one side (the dense one) is walked in order, and the place
// on the other side is a sum of one table entry for each axis. TRANSPOSE, SLICE, SPLIT, TILE and the like read so (the
// dense side is the output); CONCATENATION, PACK and SPACE_TO_BATCH_ND write so. Each axis' table says the operator's
// index arithmetic once; that the sums stay inside the other tensor is checked for all of them at the same place.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.h"
#include "quantised_tables.h"

struct part {
    uint32_t input, output; // operands' positions
    bool scatter;           // the dense side is the input
    int32_t rank;
    size_t shape[SYSTOLE_MAX_RANK];
    int64_t *table[SYSTOLE_MAX_RANK]; // elements
    int64_t origin;
    uint8_t *bytes; // what each byte becomes; NULL: itself
};

struct movement {
    size_t element; // bytes
    bool fill;      // the output with `fill_byte` first
    uint8_t fill_byte;
    uint32_t count;
    struct part *parts;
};

static void release(void *state) {
    struct movement *movement = state;
    for (uint32_t k = 0; k < movement->count; k++) {
        for (int32_t axis = 0; axis < SYSTOLE_MAX_RANK; axis++) {
            free(movement->parts[k].table[axis]);
        }
        free(movement->parts[k].bytes);
    }
    free(movement->parts);
    free(movement);
}

static const struct systole_tensor *output_of(const struct systole_kernel_call *call, uint32_t i) {
    return i < call->op->output_count && call->op->outputs[i] >= 0 ? &call->graph->tensors[call->op->outputs[i]] : NULL;
}

static void strides_of(const struct systole_tensor *tensor, int64_t strides[SYSTOLE_MAX_RANK]) {
    int64_t step = 1;
    for (int32_t axis = tensor->rank - 1; axis >= 0; axis--) {
        strides[axis] = step;
        step *= tensor->shape[axis];
    }
}

static void linear(struct part *part, int32_t axis, int64_t start, int64_t step) {
    for (size_t i = 0; i < part->shape[axis]; i++) {
        part->table[axis][i] = start + (int64_t)i * step;
    }
}

// Makes room for `count` parts from tensors of the same type; each begins as a plain copy by the other side's strides.
static enum systole_status begin(struct systole_kernel_call *call, uint32_t count, struct movement **out,
                                 struct systole_diagnostic *diagnostic) {
    enum systole_status status = systole_kernel_state(call, sizeof(struct movement), diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct movement *movement = call->state;
    *out = movement;
    movement->parts = calloc((size_t)count + 1, sizeof *movement->parts);
    if (movement->parts == NULL) {
        return systole_kernel_no_memory(call, diagnostic);
    }
    movement->count = count;
    movement->element = systole_dtype_size(systole_kernel_output(call)->dtype);
    return SYSTOLE_OK;
}

static enum systole_status begin_part(const struct systole_kernel_call *call, struct part *part, uint32_t input,
                                      uint32_t output, bool scatter, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *from = systole_kernel_input(call, input), *to = output_of(call, output);
    if (from == NULL || to == NULL || from->dtype != to->dtype || from->size == 0 || to->size == 0) {
        return systole_kernel_refuse(call, diagnostic, "", "an input or output is missing, empty or of another type");
    }
    if (!systole_same_quantisation(from, to) && !(call->op->code == SYSTOLE_OP_CONCATENATION)) {
        return systole_kernel_refuse(call, diagnostic, "", "input and output do not share one scale and zero point");
    }
    const struct systole_tensor *dense = scatter ? from : to;
    part->input = input;
    part->output = output;
    part->scatter = scatter;
    part->rank = dense->rank;
    for (int32_t axis = 0; axis < dense->rank; axis++) {
        part->shape[axis] = (size_t)dense->shape[axis];
        part->table[axis] = calloc(part->shape[axis], sizeof *part->table[axis]);
        if (part->table[axis] == NULL) {
            return systole_kernel_no_memory(call, diagnostic);
        }
    }
    return SYSTOLE_OK;
}

static enum systole_status begin_one(struct systole_kernel_call *call, uint32_t input, bool scatter,
                                     struct movement **movement, struct systole_diagnostic *diagnostic) {
    enum systole_status status = begin(call, 1, movement, diagnostic);
    return status == SYSTOLE_OK ? begin_part(call, &(*movement)->parts[0], input, 0, scatter, diagnostic) : status;
}

// Every sum of table entries lies inside the other side.
static enum systole_status finish(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct movement *movement = call->state;
    for (uint32_t k = 0; k < movement->count; k++) {
        const struct part *part = &movement->parts[k];
        const struct systole_tensor *other =
            part->scatter ? output_of(call, part->output) : systole_kernel_input(call, part->input);
        int64_t least = part->origin, most = least;
        for (int32_t axis = 0; axis < part->rank; axis++) {
            int64_t low = part->table[axis][0], high = low;
            for (size_t i = 1; i < part->shape[axis]; i++) {
                int64_t value = part->table[axis][i];
                low = value < low ? value : low;
                high = value > high ? value : high;
            }
            least += low;
            most += high;
        }
        if (least < 0 || most >= (int64_t)systole_tensor_elements(other)) {
            return systole_kernel_refuse(call, diagnostic, "", "elements would lie outside tensor %s", other->name);
        }
    }
    return SYSTOLE_OK;
}

static void copy_row(const struct movement *movement, const struct part *part, const uint8_t *from, uint8_t *to,
                     size_t dense, int64_t other) {
    size_t count = part->rank > 0 ? part->shape[part->rank - 1] : 1, element = movement->element;
    const int64_t *table = part->rank > 0 ? part->table[part->rank - 1] : NULL;
    for (size_t i = 0; i < count; i++) {
        size_t far = (size_t)(other + (table != NULL ? table[i] : 0)), near = dense + i;
        size_t source = part->scatter ? near : far, target = part->scatter ? far : near;
        if (part->bytes != NULL) {
            to[target] = part->bytes[from[source]];
        } else if (element == 1) {
            to[target] = from[source];
        } else {
            memcpy(to + target * element, from + source * element, element);
        }
    }
}

static enum systole_status run(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct movement *movement = call->state;
    if (movement->fill) {
        memset(systole_kernel_output_bytes(call), movement->fill_byte, systole_kernel_output(call)->size);
    }
    for (uint32_t k = 0; k < movement->count; k++) {
        const struct part *part = &movement->parts[k];
        const uint8_t *from = systole_kernel_input_bytes(call, part->input);
        uint8_t *to = call->tensors[call->op->outputs[part->output]];
        size_t index[SYSTOLE_MAX_RANK] = {0}, dense = 0;
        int32_t last = part->rank - 1, axis;
        do {
            int64_t other = part->origin;
            for (axis = 0; axis < last; axis++) {
                other += part->table[axis][index[axis]];
            }
            copy_row(movement, part, from, to, dense, other);
            dense += part->rank > 0 ? part->shape[last] : 1;
            for (axis = last - 1; axis >= 0 && ++index[axis] == part->shape[axis]; axis--) {
                index[axis] = 0;
            }
        } while (axis >= 0);
    }
    return SYSTOLE_OK;
}

// The integers of a constant operand, at most `limit`.
static enum systole_status constants(const struct systole_kernel_call *call, uint32_t input, int64_t *values,
                                     int32_t limit, int32_t *count, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *tensor = systole_kernel_input(call, input);
    if (tensor == NULL || tensor->data == NULL || (tensor->dtype != SYSTOLE_INT32 && tensor->dtype != SYSTOLE_INT64) ||
        systole_tensor_elements(tensor) > (size_t)limit) {
        return systole_kernel_refuse(call, diagnostic, "make it a constant in the model",
                                     "input %u is not a constant of at most %d integers", input, limit);
    }
    *count = (int32_t)systole_tensor_elements(tensor);
    for (int32_t i = 0; i < *count; i++) {
        values[i] = tensor->dtype == SYSTOLE_INT32 ? ((const int32_t *)(const void *)tensor->data)[i]
                                                   : ((const int64_t *)(const void *)tensor->data)[i];
        if (values[i] < INT32_MIN || values[i] > INT32_MAX) {
            return systole_kernel_refuse(call, diagnostic, "", "input %u has an integer beyond 32 bits", input);
        }
    }
    return SYSTOLE_OK;
}

static enum systole_status refuse_shape(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    return systole_kernel_refuse(call, diagnostic, "", "shapes and parameters do not agree");
}

// Input and output of one rank from `low` to `high`.
static bool ranks_agree(const struct systole_kernel_call *call, int32_t low, int32_t high) {
    int32_t rank = systole_kernel_input(call, 0)->rank;
    return rank == systole_kernel_output(call)->rank && rank >= low && rank <= high;
}

static enum systole_status prepare_transpose(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *output = systole_kernel_output(call);
    struct movement *movement;
    int64_t permutation[SYSTOLE_MAX_RANK], strides[SYSTOLE_MAX_RANK];
    int32_t count = 0;
    enum systole_status status = begin_one(call, 0, false, &movement, diagnostic);
    if (status == SYSTOLE_OK) {
        status = constants(call, 1, permutation, SYSTOLE_MAX_RANK, &count, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    bool used[SYSTOLE_MAX_RANK] = {false};
    bool fits = count == input->rank && ranks_agree(call, 0, SYSTOLE_MAX_RANK);
    strides_of(input, strides);
    for (int32_t axis = 0; fits && axis < count; axis++) {
        int64_t from = permutation[axis] < 0 ? permutation[axis] + count : permutation[axis];
        fits = from >= 0 && from < count && !used[from] && input->shape[from] == output->shape[axis];
        if (fits) {
            used[from] = true;
            linear(&movement->parts[0], axis, 0, strides[from]);
        }
    }
    return fits ? finish(call, diagnostic) : refuse_shape(call, diagnostic);
}

static enum systole_status prepare_slice(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *output = systole_kernel_output(call);
    struct movement *movement;
    int64_t start[SYSTOLE_MAX_RANK], size[SYSTOLE_MAX_RANK], strides[SYSTOLE_MAX_RANK];
    int32_t starts = 0, sizes = 0;
    enum systole_status status = begin_one(call, 0, false, &movement, diagnostic);
    if (status == SYSTOLE_OK) {
        status = constants(call, 1, start, SYSTOLE_MAX_RANK, &starts, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = constants(call, 2, size, SYSTOLE_MAX_RANK, &sizes, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    bool fits = starts == input->rank && sizes == input->rank && ranks_agree(call, 0, SYSTOLE_MAX_RANK);
    strides_of(input, strides);
    for (int32_t axis = 0; fits && axis < input->rank; axis++) {
        int64_t extent = size[axis] == -1 ? input->shape[axis] - start[axis] : size[axis];
        fits = start[axis] >= 0 && extent == output->shape[axis] && start[axis] + extent <= input->shape[axis];
        linear(&movement->parts[0], axis, start[axis] * strides[axis], strides[axis]);
    }
    return fits ? finish(call, diagnostic) : refuse_shape(call, diagnostic);
}

struct range {
    int64_t start, step, count;
};

// strided_slice_logic.h StridedSliceStartForAxis and StridedSliceEndForAxis.
static struct range axis_range(const struct systole_options *options, int32_t axis, int64_t extent, int64_t start,
                               int64_t end, int64_t step) {
    bool shrink = (options->shrink_axis_mask >> axis & 1) != 0;
    int64_t low = step > 0 ? 0 : -1, high = step > 0 ? extent : extent - 1;
    end += options->offset ? start : 0;
    start += start < 0 ? extent : 0;
    end += end < 0 ? extent : 0;
    if ((options->begin_mask >> axis & 1) != 0) {
        start = step > 0 ? 0 : extent - 1;
    }
    if ((options->end_mask >> axis & 1) != 0) {
        end = step > 0 ? extent : -1;
    }
    start = start < low ? low : start > high ? high : start;
    end = end < low ? low : end > high ? high : end;
    int64_t span = step > 0 ? end - start : start - end, pace = step > 0 ? step : -step;
    int64_t count = shrink ? (start >= 0 && start < extent ? 1 : 0) : span > 0 ? (span + pace - 1) / pace : 0;
    return (struct range){start, step, count};
}

static enum systole_status prepare_strided_slice(struct systole_kernel_call *call,
                                                 struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *output = systole_kernel_output(call);
    const struct systole_options *options = &call->op->options;
    struct movement *movement;
    int64_t values[3][SYSTOLE_MAX_RANK], strides[SYSTOLE_MAX_RANK];
    int32_t counts[3] = {0};
    enum systole_status status = begin_one(call, 0, false, &movement, diagnostic);
    for (uint32_t k = 0; k < 3 && status == SYSTOLE_OK; k++) {
        status = constants(call, k + 1, values[k], SYSTOLE_MAX_RANK, &counts[k], diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    if (options->ellipsis_mask != 0 || options->new_axis_mask != 0) {
        return systole_kernel_refuse(call, diagnostic, "name every axis and reshape behind it",
                                     "an ellipsis or a new axis is not supported");
    }
    bool fits = counts[0] == counts[1] && counts[0] == counts[2] && counts[0] <= input->rank;
    int32_t to = 0;
    strides_of(input, strides);
    for (int32_t axis = 0; fits && axis < input->rank; axis++) {
        struct range range = {0, 1, input->shape[axis]};
        bool shrink = axis < counts[0] && (options->shrink_axis_mask >> axis & 1) != 0;
        if (axis < counts[0]) {
            fits = values[2][axis] != 0;
            range = axis_range(options, axis, input->shape[axis], values[0][axis], values[1][axis], values[2][axis]);
        }
        if (shrink) {
            fits = fits && range.count == 1;
            movement->parts[0].origin += range.start * strides[axis];
            continue;
        }
        fits = fits && to < output->rank && range.count == output->shape[to] && range.count > 0;
        if (fits) {
            linear(&movement->parts[0], to, range.start * strides[axis], range.step * strides[axis]);
            to++;
        }
    }
    return fits && to == output->rank ? finish(call, diagnostic) : refuse_shape(call, diagnostic);
}

// The axis of SPLIT, SPLIT_V, CONCATENATION, PACK and UNPACK; -1: there is no such axis.
static int32_t axis_inside(int64_t axis, int32_t rank) {
    axis += axis < 0 ? rank : 0;
    return axis >= 0 && axis < rank ? (int32_t)axis : -1;
}

// One part along `axis` of `whole`, which the part's own tensor fills from `at`; its tensor's other axes are the
// whole's, and it lacks the axis when `drops` is set (PACK, UNPACK).
static bool part_along(struct part *part, const struct systole_tensor *whole, int32_t axis, int64_t at, bool drops) {
    int64_t strides[SYSTOLE_MAX_RANK];
    strides_of(whole, strides);
    if (part->rank != whole->rank - (drops ? 1 : 0)) {
        return false;
    }
    for (int32_t i = 0; i < part->rank; i++) {
        int32_t on = drops && i >= axis ? i + 1 : i;
        bool along = !drops && on == axis;
        if (along ? at + (int64_t)part->shape[i] > whole->shape[on] : (int32_t)part->shape[i] != whole->shape[on]) {
            return false;
        }
        linear(part, i, 0, strides[on]);
    }
    part->origin = at * strides[axis];
    return at < whole->shape[axis];
}

// SPLIT (axis, whole), SPLIT_V (whole, sizes, axis), UNPACK (whole): each output is a part.
static enum systole_status prepare_split(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    int32_t code = call->op->code, count = 0;
    uint32_t data = code == SYSTOLE_OP_SPLIT ? 1 : 0, outputs = call->op->output_count;
    const struct systole_tensor *whole = systole_kernel_input(call, data);
    struct movement *movement;
    int64_t value = call->op->options.axis;
    enum systole_status status = begin(call, outputs, &movement, diagnostic);
    if (status == SYSTOLE_OK && code != SYSTOLE_OP_UNPACK) {
        status = constants(call, code == SYSTOLE_OP_SPLIT ? 0 : 2, &value, 1, &count, diagnostic);
        if (status == SYSTOLE_OK && count != 1) {
            status = refuse_shape(call, diagnostic);
        }
    }
    for (uint32_t k = 0; k < outputs && status == SYSTOLE_OK; k++) {
        status = begin_part(call, &movement->parts[k], data, k, false, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    int32_t axis = axis_inside(value, whole->rank);
    bool fits = axis >= 0, drops = code == SYSTOLE_OP_UNPACK;
    int64_t at = 0;
    for (uint32_t k = 0; k < outputs && fits; k++) {
        struct part *part = &movement->parts[k];
        fits = part_along(part, whole, axis, at, drops) &&
               (code != SYSTOLE_OP_SPLIT || part->shape[axis] == movement->parts[0].shape[axis]);
        at += drops ? 1 : fits ? (int64_t)part->shape[axis] : 0;
    }
    return fits && at == whole->shape[axis] ? finish(call, diagnostic) : refuse_shape(call, diagnostic);
}

// CONCATENATION and PACK: each input is a part.
static enum systole_status prepare_join(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *whole = systole_kernel_output(call);
    bool drops = call->op->code == SYSTOLE_OP_PACK;
    struct movement *movement;
    enum systole_status status = begin(call, call->op->input_count, &movement, diagnostic);
    int32_t axis = axis_inside(call->op->options.axis, whole->rank);
    if (status == SYSTOLE_OK && call->op->options.activation != SYSTOLE_ACTIVATION_NONE) {
        status = systole_kernel_refuse(call, diagnostic, "", "a fused activation is not supported");
    }
    bool fits = axis >= 0;
    int64_t at = 0;
    for (uint32_t k = 0; k < call->op->input_count && status == SYSTOLE_OK && fits; k++) {
        struct part *part = &movement->parts[k];
        status = begin_part(call, part, k, 0, true, diagnostic);
        if (status != SYSTOLE_OK) {
            break;
        }
        fits = part_along(part, whole, axis, at, drops);
        at += drops ? 1 : fits ? (int64_t)part->shape[axis] : 0;
        if (fits && !drops && (whole->dtype == SYSTOLE_UINT8 || whole->dtype == SYSTOLE_INT8) &&
            whole->quantisation.count > 0) {
            part->bytes = malloc(256);
            status = part->bytes == NULL ? systole_kernel_no_memory(call, diagnostic)
                                         : systole_concatenation_table_derive(call->graph, call->operator_index, k,
                                                                              part->bytes, diagnostic);
        }
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    return fits && at == whole->shape[axis] ? finish(call, diagnostic) : refuse_shape(call, diagnostic);
}

static enum systole_status prepare_depth(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *output = systole_kernel_output(call);
    bool to_depth = call->op->code == SYSTOLE_OP_SPACE_TO_DEPTH;
    // SPACE_TO_DEPTH reads what DEPTH_TO_SPACE writes: the deep side's pixels hold blocks of the wide one.
    const struct systole_tensor *deep = to_depth ? output : input, *wide = to_depth ? input : output;
    int64_t block = call->op->options.block_size, strides[SYSTOLE_MAX_RANK];
    struct movement *movement;
    enum systole_status status = begin_one(call, 0, to_depth, &movement, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    if (!ranks_agree(call, 4, 4) || block < 1 || block > 32767 || deep->shape[0] != wide->shape[0] ||
        deep->shape[1] * block != wide->shape[1] || deep->shape[2] * block != wide->shape[2] ||
        deep->shape[3] != wide->shape[3] * block * block) {
        return refuse_shape(call, diagnostic);
    }
    struct part *part = &movement->parts[0]; // dense: the wide side
    strides_of(deep, strides);
    linear(part, 0, 0, strides[0]);
    linear(part, 3, 0, 1);
    for (int32_t axis = 1; axis <= 2; axis++) {
        int64_t within = (axis == 1 ? block : 1) * wide->shape[3];
        for (int32_t i = 0; i < wide->shape[axis]; i++) {
            part->table[axis][i] = i / block * strides[axis] + i % block * within;
        }
    }
    return finish(call, diagnostic);
}

// The wide side is dense; batches of the other side are the offsets in a block, outermost, times the wide batches.
static enum systole_status prepare_batch(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *output = systole_kernel_output(call);
    bool to_batch = call->op->code == SYSTOLE_OP_SPACE_TO_BATCH_ND;
    const struct systole_tensor *wide = to_batch ? input : output, *narrow = to_batch ? output : input;
    int64_t block[SYSTOLE_MAX_RANK], edges[2 * SYSTOLE_MAX_RANK], strides[SYSTOLE_MAX_RANK];
    int32_t blocks = 0, edge_count = 0;
    struct movement *movement;
    enum systole_status status = begin_one(call, 0, to_batch, &movement, diagnostic);
    if (status == SYSTOLE_OK) {
        status = constants(call, 1, block, SYSTOLE_MAX_RANK, &blocks, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = constants(call, 2, edges, 2 * SYSTOLE_MAX_RANK, &edge_count, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    bool fits = edge_count == 2 * blocks && ranks_agree(call, blocks + 1, SYSTOLE_MAX_RANK);
    struct part *part = &movement->parts[0];
    int64_t batches = fits ? wide->shape[0] : 1;
    strides_of(narrow, strides);
    for (int32_t axis = wide->rank - 1; fits && axis > blocks; axis--) {
        fits = wide->shape[axis] == narrow->shape[axis];
        linear(part, axis, 0, strides[axis]);
    }
    for (int32_t axis = blocks; fits && axis >= 1; axis--) {
        int64_t size = block[axis - 1], before = edges[2 * axis - 2], after = edges[2 * axis - 1];
        fits = size >= 1 && size <= narrow->shape[0] && before >= 0 && after >= 0 &&
               before + after + wide->shape[axis] == narrow->shape[axis] * size && batches <= narrow->shape[0];
        for (int32_t i = 0; fits && i < wide->shape[axis]; i++) {
            int64_t at = i + before;
            part->table[axis][i] = at / size * strides[axis] + at % size * batches * strides[0];
        }
        batches *= fits ? size : 1;
        movement->fill = movement->fill || (to_batch && before + after > 0);
    }
    if (!fits || batches != narrow->shape[0]) {
        return refuse_shape(call, diagnostic);
    }
    linear(part, 0, 0, strides[0]);
    if (output->quantisation.count == 1 && movement->element == 1) {
        movement->fill_byte = (uint8_t)output->quantisation.zero_point[0];
    }
    return finish(call, diagnostic);
}

static enum systole_status prepare_tile(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *output = systole_kernel_output(call);
    struct movement *movement;
    int64_t multiples[SYSTOLE_MAX_RANK], strides[SYSTOLE_MAX_RANK];
    int32_t count = 0;
    enum systole_status status = begin_one(call, 0, false, &movement, diagnostic);
    if (status == SYSTOLE_OK) {
        status = constants(call, 1, multiples, SYSTOLE_MAX_RANK, &count, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    bool fits = count == input->rank && ranks_agree(call, 0, SYSTOLE_MAX_RANK);
    strides_of(input, strides);
    for (int32_t axis = 0; fits && axis < count; axis++) {
        fits = multiples[axis] * input->shape[axis] == output->shape[axis];
        for (int32_t i = 0; fits && i < output->shape[axis]; i++) {
            movement->parts[0].table[axis][i] = i % input->shape[axis] * strides[axis];
        }
    }
    return fits ? finish(call, diagnostic) : refuse_shape(call, diagnostic);
}

static enum systole_status prepare_mirror(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *output = systole_kernel_output(call);
    int64_t edges[2 * SYSTOLE_MAX_RANK], strides[SYSTOLE_MAX_RANK], edge = call->op->options.symmetric ? 0 : 1;
    struct movement *movement;
    int32_t count = 0;
    enum systole_status status = begin_one(call, 0, false, &movement, diagnostic);
    if (status == SYSTOLE_OK) {
        status = constants(call, 1, edges, 2 * SYSTOLE_MAX_RANK, &count, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    bool fits = count == 2 * input->rank && ranks_agree(call, 0, SYSTOLE_MAX_RANK);
    strides_of(input, strides);
    for (int32_t axis = 0; fits && axis < input->rank; axis++) {
        int64_t before = edges[2 * axis], after = edges[2 * axis + 1], extent = input->shape[axis];
        fits = before >= 0 && after >= 0 && before <= extent - edge && after <= extent - edge &&
               before + after + extent == output->shape[axis];
        for (int32_t i = 0; fits && i < output->shape[axis]; i++) {
            int64_t at = i - before;
            at = at < 0 ? edge - 1 - at : at >= extent ? 2 * extent - 1 - edge - at : at;
            movement->parts[0].table[axis][i] = at * strides[axis];
        }
    }
    return fits ? finish(call, diagnostic) : refuse_shape(call, diagnostic);
}

// reference/resize_nearest_neighbor.h GetNearestNeighbor.
static int64_t nearest(const struct systole_options *options, int32_t i, int32_t input, int32_t output) {
    bool corners = options->align_corners && output > 1;
    float scale = corners ? (float)(input - 1) / (float)(output - 1) : (float)input / (float)output;
    float at = ((float)i + (options->half_pixel_centers ? 0.5f : 0.0f)) * scale;
    int64_t place = (int64_t)(options->align_corners ? roundf(at) : floorf(at));
    return place > input - 1 ? input - 1 : place < 0 ? 0 : place;
}

static enum systole_status prepare_nearest(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *output = systole_kernel_output(call);
    int64_t size[2] = {0}, strides[SYSTOLE_MAX_RANK] = {0};
    struct movement *movement;
    int32_t count = 0;
    enum systole_status status = begin_one(call, 0, false, &movement, diagnostic);
    if (status == SYSTOLE_OK) {
        status = constants(call, 1, size, 2, &count, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    if (count != 2 || !ranks_agree(call, 4, 4) || size[0] != output->shape[1] || size[1] != output->shape[2] ||
        input->shape[0] != output->shape[0] || input->shape[3] != output->shape[3]) {
        return refuse_shape(call, diagnostic);
    }
    struct part *part = &movement->parts[0];
    strides_of(input, strides);
    linear(part, 0, 0, strides[0]);
    linear(part, 3, 0, 1);
    for (int32_t axis = 1; axis <= 2; axis++) {
        for (int32_t i = 0; i < output->shape[axis]; i++) {
            // The reason: begin_one made a table for each of the output's axes, and ranks_agree says that they are
            // four, which the analyser does not put together. NOLINTNEXTLINE(clang-analyzer-core.NullDereference)
            part->table[axis][i] =
                nearest(&call->op->options, i, input->shape[axis], output->shape[axis]) * strides[axis];
        }
    }
    return finish(call, diagnostic);
}

#define MOVES(name, type, prepare)                                                                                     \
    { SYSTOLE_OP_##name, SYSTOLE_##type, SYSTOLE_##type, prepare, run, release }
#define MOVES_ALL(name, prepare)                                                                                       \
    MOVES(name, INT8, prepare), MOVES(name, UINT8, prepare), MOVES(name, INT16, prepare), MOVES(name, INT32, prepare), \
        MOVES(name, INT64, prepare), MOVES(name, FLOAT32, prepare), MOVES(name, BOOL, prepare)
#define SPLITS(type)                                                                                                   \
    { SYSTOLE_OP_SPLIT, SYSTOLE_INT32, SYSTOLE_##type, prepare_split, run, release }
const struct systole_kernel systole_rearrange_kernels[] = {
    MOVES_ALL(TRANSPOSE, prepare_transpose),
    MOVES_ALL(SLICE, prepare_slice),
    MOVES_ALL(STRIDED_SLICE, prepare_strided_slice),
    SPLITS(INT8),
    SPLITS(UINT8),
    SPLITS(INT16),
    SPLITS(INT32),
    SPLITS(FLOAT32),
    MOVES_ALL(SPLIT_V, prepare_split),
    MOVES_ALL(UNPACK, prepare_split),
    MOVES_ALL(CONCATENATION, prepare_join),
    MOVES_ALL(PACK, prepare_join),
    MOVES_ALL(SPACE_TO_DEPTH, prepare_depth),
    MOVES_ALL(DEPTH_TO_SPACE, prepare_depth),
    MOVES_ALL(SPACE_TO_BATCH_ND, prepare_batch),
    MOVES_ALL(BATCH_TO_SPACE_ND, prepare_batch),
    MOVES_ALL(TILE, prepare_tile),
    MOVES_ALL(MIRROR_PAD, prepare_mirror),
    MOVES_ALL(RESIZE_NEAREST_NEIGHBOR, prepare_nearest),
    {0},
};
