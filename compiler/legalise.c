// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Operators become operations of the device: windows, pixel steps, weights, rescalings. What a row of the table of
// restrictions forbids stays on the CPU. Fully connected layers are convolutions whose kernel is all that one output
// sees; a depthwise convolution of one channel is a convolution, and one that the depthwise unit cannot do (a channel
// multiplier, too many taps) is a convolution whose weights between other channels are zero.
#include <string.h>

#include "movement.h"
#include "quantised_tables.h"

static const struct systole_tensor *tensor_of(const struct compilation *c, int32_t index) {
    return &c->graph->tensors[index];
}

static struct operand operand_of(const struct compilation *c, int32_t tensor, int32_t zero_point) {
    return (struct operand){tensor, zero_point, tensor_of(c, tensor)->dtype == SYSTOLE_UINT8};
}

static void set_window(const struct compilation *c, struct operation *operation, uint32_t kernel_height,
                       uint32_t kernel_width) {
    const struct systole_operator *op = &c->graph->operators[operation->index];
    const struct systole_tensor *in = tensor_of(c, op->inputs[0]), *out = tensor_of(c, op->outputs[0]);
    const struct systole_options *o = &op->options;
    bool pool = op->code == SYSTOLE_OP_AVERAGE_POOL_2D || op->code == SYSTOLE_OP_MAX_POOL_2D;
    int32_t dilation_h = pool ? 1 : o->dilation_h, dilation_w = pool ? 1 : o->dilation_w;
    operation->window = (struct window){
        .images = (uint32_t)in->shape[0],
        .input_height = (uint32_t)in->shape[1],
        .input_width = (uint32_t)in->shape[2],
        .input_channels = (uint32_t)in->shape[3],
        .output_height = (uint32_t)out->shape[1],
        .output_width = (uint32_t)out->shape[2],
        .output_channels = (uint32_t)out->shape[3],
        .kernel_height = kernel_height,
        .kernel_width = kernel_width,
        .stride_y = (uint32_t)o->stride_h,
        .stride_x = (uint32_t)o->stride_w,
        .dilation_y = (uint32_t)dilation_h,
        .dilation_x = (uint32_t)dilation_w,
        .pad_top = systole_padding_before(o->padding, in->shape[1], (int32_t)kernel_height, o->stride_h, dilation_h,
                                          out->shape[1]),
        .pad_left = systole_padding_before(o->padding, in->shape[2], (int32_t)kernel_width, o->stride_w, dilation_w,
                                           out->shape[2]),
    };
}

static enum systole_status legalise_weighted(struct compilation *c, struct operation *operation) {
    const struct systole_operator *op = &c->graph->operators[operation->index];
    const struct systole_tensor *filter = tensor_of(c, op->inputs[1]);
    struct systole_convolution_parameters parameters;
    enum systole_status status =
        systole_convolution_parameters_derive(c->graph, operation->index, &parameters, c->diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct weights *weights = &operation->weights;
    weights->rescale = ir_allocate(c, parameters.channels, sizeof *weights->rescale);
    if (weights->rescale == NULL) {
        systole_convolution_parameters_free(&parameters);
        return ir_out_of_memory(c);
    }
    memcpy(weights->rescale, parameters.multipliers, parameters.channels * sizeof *weights->rescale);
    systole_convolution_parameters_free(&parameters);
    weights->data = filter->data;
    weights->bias = op->input_count > 2 && op->inputs[2] >= 0 ? tensor_of(c, op->inputs[2])->data : NULL;
    weights->is_unsigned = filter->dtype == SYSTOLE_UINT8;
    weights->zero_point = parameters.weight_zero_point;
    weights->is_depthwise = op->code == SYSTOLE_OP_DEPTHWISE_CONV_2D;
    weights->multiplier = 1;
    operation->clamp_min = parameters.clamp_min;
    operation->clamp_max = parameters.clamp_max;
    operation->inputs[0] = operand_of(c, op->inputs[0], parameters.input_zero_point);
    operation->output = operand_of(c, op->outputs[0], parameters.output_zero_point);
    operation->kind = OPERATION_CONV;
    if (op->code == SYSTOLE_OP_FULLY_CONNECTED) {
        struct extents in = ir_extents(tensor_of(c, op->inputs[0])), out = ir_extents(tensor_of(c, op->outputs[0]));
        (void)ir_fully_connected_window(&in, &out, (uint32_t)filter->shape[1],
                                        &operation->window); // the restrictions have checked it
        return SYSTOLE_OK;
    }
    uint32_t height = (uint32_t)filter->shape[1], width = (uint32_t)filter->shape[2];
    set_window(c, operation, height, width);
    if (weights->is_depthwise) {
        const struct window *w = &operation->window;
        weights->multiplier = w->output_channels / w->input_channels;
        if (weights->multiplier == 1 && w->input_channels > 1 && height * width <= IR_DEPTHWISE_TAPS) {
            operation->kind = OPERATION_DEPTHWISE;
        }
    }
    return SYSTOLE_OK;
}

static enum systole_status legalise_pool(struct compilation *c, struct operation *operation) {
    const struct systole_operator *op = &c->graph->operators[operation->index];
    bool average = op->code == SYSTOLE_OP_AVERAGE_POOL_2D;
    operation->kind = average ? OPERATION_AVERAGE_POOL : OPERATION_MAX_POOL;
    set_window(c, operation, (uint32_t)op->options.filter_h, (uint32_t)op->options.filter_w);
    operation->inputs[0] = operand_of(c, op->inputs[0], 0);
    operation->output = operand_of(c, op->outputs[0], 0);
    systole_activation_range(tensor_of(c, op->outputs[0]), op->options.activation, &operation->clamp_min,
                             &operation->clamp_max);
    return SYSTOLE_OK;
}

// Rescale parameters are the same for QUANTIZE and RELU.
static enum systole_status set_rescale(struct compilation *c, struct operation *operation) {
    const struct systole_operator *op = &c->graph->operators[operation->index];
    struct systole_rescale_parameters p;
    enum systole_status status = systole_rescale_parameters_derive(c->graph, operation->index, &p, c->diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    operation->inputs[0] = operand_of(c, op->inputs[0], p.input_zero_point);
    operation->output = operand_of(c, op->outputs[0], p.output_zero_point);
    operation->rescale = p.multiplier;
    operation->clamp_min = p.clamp_min;
    operation->clamp_max = p.clamp_max;
    return SYSTOLE_OK;
}

// An element-wise operation on the whole of one map.
static void set_whole_map(const struct compilation *c, struct operation *operation) {
    const struct systole_operator *op = &c->graph->operators[operation->index];
    struct extents e = ir_extents(tensor_of(c, op->outputs[0]));
    operation->window = (struct window){
        .images = 1,
        .input_height = e.height,
        .input_width = e.width,
        .input_channels = e.channels,
        .output_height = e.height,
        .output_width = e.width,
        .output_channels = e.channels,
    };
    operation->steps[0] = (struct pixel_steps){0, e.width, 1, false};
}

static enum systole_status legalise_rescale(struct compilation *c, struct operation *operation) {
    operation->kind = OPERATION_REQUANTISE;
    set_whole_map(c, operation);
    return set_rescale(c, operation);
}

static enum systole_status add_table(struct compilation *c, struct operation *operation, uint32_t count) {
    operation->tables = ir_allocate(c, count, sizeof *operation->tables);
    operation->table_count = operation->tables != NULL ? count : 0;
    return operation->tables != NULL ? SYSTOLE_OK : ir_out_of_memory(c);
}

// A chain of operators on single elements that ends with this one (its first reads bytes) is a table.
static enum systole_status legalise_table(struct compilation *c, struct operation *operation) {
    uint32_t chain[IR_CHAIN_LIMIT] = {0}, count = chain_find(c->graph, operation->index, chain);
    operation->kind = OPERATION_TABLE;
    set_whole_map(c, operation);
    operation->inputs[0] = operand_of(c, c->graph->operators[chain[0]].inputs[0], 0);
    operation->output = operand_of(c, c->graph->operators[operation->index].outputs[0], 0);
    operation->clamp_min = operation->output.is_unsigned ? 0 : -128;
    operation->clamp_max = operation->clamp_min + 255;
    enum systole_status status = add_table(c, operation, 1);
    return status != SYSTOLE_OK
               ? status
               : systole_unary_table_derive(c->graph, chain, count, operation->tables[0].bytes, c->diagnostic);
}

static uint32_t dimension(const struct systole_tensor *tensor, int32_t axis_from_last) {
    return axis_from_last < tensor->rank ? (uint32_t)tensor->shape[tensor->rank - 1 - axis_from_last] : 1;
}

static enum operation_kind pair_kind(int32_t code) {
    switch (code) {
    case SYSTOLE_OP_ADD:
        return OPERATION_ADD;
    case SYSTOLE_OP_SUB:
    case SYSTOLE_OP_LESS:
    case SYSTOLE_OP_LESS_EQUAL:
    case SYSTOLE_OP_GREATER:
    case SYSTOLE_OP_GREATER_EQUAL:
        return OPERATION_SUB;
    case SYSTOLE_OP_MUL:
        return OPERATION_MUL;
    case SYSTOLE_OP_MAXIMUM:
        return OPERATION_MAXIMUM;
    case SYSTOLE_OP_MINIMUM:
        return OPERATION_MINIMUM;
    case SYSTOLE_OP_SQUARED_DIFFERENCE:
    case SYSTOLE_OP_NOT_EQUAL:
        return OPERATION_SQUARED_DIFFERENCE;
    default:
        return OPERATION_PRELU;
    }
}

static const struct systole_multiplier one = {0x40000000, 1};

// Comparisons are the difference, or its square, clamped to 0 and 1. A multiplier of 1 - 2^-31 keeps what is 0 and what
// is not. LESS is GREATER with the operands in the other order; where equality counts, 1 is added.
static void set_comparison(int32_t code, struct operation *o) {
    o->rescale = (struct systole_multiplier){0x7FFFFFFF, 0};
    o->output.zero_point = code == SYSTOLE_OP_LESS_EQUAL || code == SYSTOLE_OP_GREATER_EQUAL ? 1 : 0;
    o->clamp_min = 0;
    o->clamp_max = 1;
    if (code == SYSTOLE_OP_LESS || code == SYSTOLE_OP_LESS_EQUAL) {
        struct operand input = o->inputs[0];
        struct systole_multiplier rescale = o->input_rescale[0];
        struct pixel_steps steps = o->steps[0];
        o->inputs[0] = o->inputs[1];
        o->inputs[1] = input;
        o->input_rescale[0] = o->input_rescale[1];
        o->input_rescale[1] = rescale;
        o->steps[0] = o->steps[1];
        o->steps[1] = steps;
    }
}

static enum systole_status legalise_pair(struct compilation *c, struct operation *operation) {
    const struct systole_operator *op = &c->graph->operators[operation->index];
    struct systole_add_parameters p;
    enum systole_status status = systole_binary_parameters_derive(c->graph, operation->index, &p, c->diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    const struct systole_tensor *out = tensor_of(c, op->outputs[0]);
    bool raw = op->code == SYSTOLE_OP_MAXIMUM || op->code == SYSTOLE_OP_MINIMUM; // bytes as numbers
    operation->kind = pair_kind(op->code);
    operation->input_count = 2;
    operation->inputs[0] = operand_of(c, op->inputs[0], raw ? 0 : p.input_zero_point);
    operation->inputs[1] = operand_of(c, op->inputs[1], raw ? 0 : p.input2_zero_point);
    operation->output = operand_of(c, op->outputs[0], raw ? 0 : p.output_zero_point);
    operation->input_rescale[0] = raw ? one : p.input;
    operation->input_rescale[1] = raw ? one : p.input2;
    operation->rescale = raw ? one : p.output;
    operation->left_shift = raw ? 0 : p.left_shift;
    if (operation->kind == OPERATION_PRELU) { // the output's multiplier is that of the products
        operation->input_rescale[1] = p.output;
        operation->rescale = one;
    } else if (operation->kind == OPERATION_MUL) {
        operation->input_rescale[0] = operation->input_rescale[1] = one; // not used
    }
    operation->clamp_min = p.clamp_min;
    operation->clamp_max = p.clamp_max;
    bool broadcast = false;
    for (uint32_t i = 0; i < 2; i++) {
        broadcast = broadcast || systole_tensor_elements(tensor_of(c, op->inputs[i])) != systole_tensor_elements(out);
    }
    // Without broadcast the batch is only more rows; with it each image has commands of its own.
    struct extents e = ir_extents(out);
    struct window *w = &operation->window;
    w->images = broadcast ? dimension(out, 3) : 1;
    w->output_height = w->input_height = e.height / w->images;
    w->output_width = w->input_width = e.width;
    w->output_channels = w->input_channels = e.channels;
    for (uint32_t i = 0; i < 2; i++) {
        const struct systole_tensor *in = tensor_of(c, op->inputs[i]);
        struct pixel_steps *s = &operation->steps[i];
        uint32_t width = dimension(in, 1), height = broadcast ? dimension(in, 2) : e.height;
        s->column = width > 1 ? 1 : 0;
        s->row = height > 1 ? width : 0;
        s->image = broadcast && dimension(in, 3) > 1 ? height * width : 0;
        s->lane_broadcast = dimension(in, 0) == 1 && e.channels > 1;
    }
    if (restrictions_is_comparison(op)) {
        set_comparison(op->code, operation);
    }
    return SYSTOLE_OK;
}

// What a move fills with: PADV2 names it, others fill with zero. False: it is not constant.
static bool fill_value(const struct compilation *c, const struct systole_operator *op, int32_t *value) {
    const struct systole_tensor *out = tensor_of(c, op->outputs[0]);
    *value = out->quantisation.count > 0 ? (int32_t)out->quantisation.zero_point[0] : 0;
    if (op->code != SYSTOLE_OP_PADV2) {
        return true;
    }
    const struct systole_tensor *named = op->input_count > 2 && op->inputs[2] >= 0 ? tensor_of(c, op->inputs[2]) : NULL;
    if (named == NULL || named->data == NULL || named->dtype != out->dtype || systole_tensor_elements(named) != 1) {
        return false;
    }
    *value = named->dtype == SYSTOLE_INT8 ? (int8_t)named->data[0] : named->data[0];
    return true;
}

// CONCATENATION of different scales: a table for each input that needs one.
static enum systole_status add_concatenation_tables(struct compilation *c, struct operation *operation) {
    enum systole_status status = add_table(c, operation, operation->input_count);
    bool any = false;
    for (uint32_t i = 0; i < operation->input_count && status == SYSTOLE_OK && operation->tables != NULL; i++) {
        uint8_t *bytes = operation->tables[i].bytes;
        status = systole_concatenation_table_derive(c->graph, operation->index, i, bytes, c->diagnostic);
        for (uint32_t b = 0; b < 256; b++) {
            any = any || bytes[b] != b;
        }
    }
    operation->table_count = any ? operation->table_count : 0;
    return status;
}

enum systole_status legalise_movement(struct compilation *c, struct operation *operation) {
    const struct systole_operator *op = &c->graph->operators[operation->index];
    uint32_t data = movement_data_input(op);
    bool possible;
    operation->kind = OPERATION_MOVE;
    operation->input_count = op->code == SYSTOLE_OP_CONCATENATION || op->code == SYSTOLE_OP_PACK ? op->input_count : 1;
    operation->more_output_count = op->output_count - 1;
    operation->more_outputs = ir_allocate(c, op->output_count, sizeof *operation->more_outputs);
    uint32_t temporaries = op->output_count + operation->input_count;
    operation->temporaries = ir_allocate(c, temporaries, sizeof *operation->temporaries);
    if (operation->more_outputs == NULL || operation->temporaries == NULL) {
        return ir_out_of_memory(c);
    }
    operation->first_temporary = -2 - c->temporary_count; // the others below it
    c->temporary_count += (int32_t)temporaries;
    for (uint32_t i = 0; i < operation->input_count; i++) {
        operation->inputs[i] = operand_of(c, op->inputs[data + i], 0);
    }
    operation->output = operand_of(c, op->outputs[0], 0);
    for (uint32_t i = 1; i < op->output_count; i++) {
        operation->more_outputs[i - 1] = operand_of(c, op->outputs[i], 0);
    }
    struct extents e = ir_extents(tensor_of(c, op->outputs[0]));
    operation->window = (struct window){
        .images = 1,
        .input_height = 1,
        .input_width = 1,
        .input_channels = ir_extents(tensor_of(c, op->inputs[data])).channels,
        .output_height = e.height,
        .output_width = e.width,
        .output_channels = e.channels,
    };
    if (!fill_value(c, op, &operation->fill)) {
        restrictions_apply(c, operation, &(struct eviction){"fill_variable", op->outputs[0], 0, 0});
        return SYSTOLE_OK;
    }
    enum systole_status status =
        op->code == SYSTOLE_OP_CONCATENATION ? add_concatenation_tables(c, operation) : SYSTOLE_OK;
    status = status == SYSTOLE_OK ? movement_plan(c, operation, &possible) : status;
    if (status == SYSTOLE_OK && !possible) {
        bool reduces = op->code == SYSTOLE_OP_REDUCE_MAX || op->code == SYSTOLE_OP_REDUCE_MIN;
        const char *code = op->code == SYSTOLE_OP_RESIZE_BILINEAR ? "resize_ratio" : reduces ? "mean_axes" : "movement";
        restrictions_apply(c, operation, &(struct eviction){code, op->outputs[0], 0, 0});
    }
    return status;
}

static enum systole_status legalise(struct compilation *c, struct operation *operation) {
    const struct systole_operator *op = &c->graph->operators[operation->index];
    operation->state = STATE_RUN;
    operation->segment = -1;
    operation->input_count = 1;
    switch (op->code) {
    case SYSTOLE_OP_CONV_2D:
    case SYSTOLE_OP_DEPTHWISE_CONV_2D:
    case SYSTOLE_OP_FULLY_CONNECTED:
        return legalise_weighted(c, operation);
    case SYSTOLE_OP_AVERAGE_POOL_2D:
    case SYSTOLE_OP_MAX_POOL_2D:
        return legalise_pool(c, operation);
    case SYSTOLE_OP_MEAN:
    case SYSTOLE_OP_SUM:
    case SYSTOLE_OP_REDUCE_MAX:
    case SYSTOLE_OP_REDUCE_MIN:
        return reduce_is_movement(c, op) ? legalise_movement(c, operation) : reduce_legalise(c, operation);
    case SYSTOLE_OP_RESHAPE:
    case SYSTOLE_OP_SQUEEZE:
    case SYSTOLE_OP_EXPAND_DIMS:
    case SYSTOLE_OP_PAD:
    case SYSTOLE_OP_PADV2:
        operation->kind =
            op->code == SYSTOLE_OP_PAD || op->code == SYSTOLE_OP_PADV2 ? OPERATION_PAD : OPERATION_RESHAPE;
        operation->inputs[0] = operand_of(c, op->inputs[0], 0);
        operation->output = operand_of(c, op->outputs[0], 0);
        return SYSTOLE_OK;
    case SYSTOLE_OP_RELU:
    case SYSTOLE_OP_RELU6:
    case SYSTOLE_OP_RELU_N1_TO_1:
    case SYSTOLE_OP_QUANTIZE:
        if (ir_is_eight_bit(tensor_of(c, op->inputs[0]))) {
            return legalise_rescale(c, operation);
        }
        break;
    default:
        break;
    }
    if (restrictions_is_pair(op)) {
        return legalise_pair(c, operation);
    }
    return systole_operator_is_unary(op->code) ? legalise_table(c, operation) : legalise_movement(c, operation);
}

// The operators of a chain but its last are part of the last one's table.
static void fold_chain(struct compilation *c, uint32_t last) {
    uint32_t chain[IR_CHAIN_LIMIT], count = chain_find(c->graph, last, chain);
    struct operation probe = {.index = last};
    if (count < 2 || restrictions_forbid(c, &probe)) {
        return;
    }
    for (uint32_t i = 0; i + 1 < count; i++) {
        struct operation *o = &c->operations[chain[i]];
        o->state = STATE_FOLDED;
        o->inputs[0].tensor = c->graph->operators[chain[0]].inputs[0];
        (void)snprintf(o->reason, sizeof o->reason, "fused");
        (void)snprintf(o->detail, sizeof o->detail, "part of the table of operator %u", last);
    }
}

enum systole_status pass_legalise(struct compilation *c) {
    for (uint32_t i = 0; i < c->graph->operator_count; i++) {
        uint32_t inputs = c->graph->operators[i].input_count;
        c->operations[i] = (struct operation){
            .index = i,
            .segment = -1,
            .inputs = ir_allocate(c, inputs > 2 ? inputs : 2, sizeof *c->operations[i].inputs),
        };
        if (c->operations[i].inputs == NULL) {
            return ir_out_of_memory(c);
        }
    }
    c->temporary_count = 0;
    for (uint32_t i = 0; i < c->graph->operator_count; i++) {
        fold_chain(c, i);
    }
    for (uint32_t i = 0; i < c->graph->operator_count; i++) {
        if (c->operations[i].state != STATE_FOLDED && !restrictions_forbid(c, &c->operations[i])) {
            enum systole_status status = legalise(c, &c->operations[i]);
            if (status != SYSTOLE_OK) {
                return status;
            }
        }
    }
    dump_operations(c, "legalise");
    return SYSTOLE_OK;
}
