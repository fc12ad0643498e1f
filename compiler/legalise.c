// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Operators become operations of the device: windows, pixel steps, weights, rescalings. What a row of the table of
// restrictions forbids stays on the CPU. Fully connected layers are convolutions whose kernel is all that one output
// sees; a depthwise convolution of one channel is a convolution, and one that the depthwise unit cannot do (a channel
// multiplier, too many taps) is a convolution whose weights between other channels are zero.
#include <string.h>

#include "ir.h"

static const struct systole_tensor *tensor_of(const struct compilation *c, int32_t index) {
    return &c->graph->tensors[index];
}

static struct operand operand_of(const struct compilation *c, int32_t tensor, int32_t zero_point) {
    return (struct operand){tensor, zero_point, tensor_of(c, tensor)->dtype == SYSTOLE_UINT8};
}

bool legalise_fully_connected(const struct extents *input, const struct extents *output, uint32_t depth,
                              struct window *window) {
    *window = (struct window){
        .images = 1,
        .input_height = 1,
        .input_channels = input->channels,
        .output_height = 1,
        .output_width = 1,
        .output_channels = output->channels,
        .kernel_height = 1,
        .kernel_width = 1,
        .stride_y = 1,
        .stride_x = 1,
        .dilation_y = 1,
        .dilation_x = 1,
    };
    if (input->channels == depth) { // every pixel by itself
        window->input_height = window->output_height = output->height;
        window->input_width = window->output_width = output->width;
        return (uint64_t)input->height * input->width == (uint64_t)output->height * output->width;
    }
    uint64_t row = (uint64_t)input->width * input->channels;
    if (depth % row != 0 || input->height % (depth / row) != 0) {
        return false;
    }
    window->kernel_height = window->input_height = (uint32_t)(depth / row);
    window->kernel_width = window->input_width = input->width;
    window->images = input->height / window->kernel_height;
    return window->kernel_height <= IR_WINDOW_LIMIT && window->kernel_width <= IR_WINDOW_LIMIT &&
           window->images <= IR_IMAGES_LIMIT && window->images == (uint64_t)output->height * output->width;
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
        (void)legalise_fully_connected(&in, &out, (uint32_t)filter->shape[1],
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

// Rescale parameters are the same for MEAN, QUANTIZE and RELU.
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

static enum systole_status legalise_mean(struct compilation *c, struct operation *operation) {
    const struct systole_operator *op = &c->graph->operators[operation->index];
    const struct systole_tensor *in = tensor_of(c, op->inputs[0]);
    bool axes[SYSTOLE_MAX_RANK], reduced[4] = {false, false, false, false};
    uint32_t shape[4] = {1, 1, 1, 1}, count;
    enum systole_status status = systole_mean_axes(c->graph, operation->index, axes, &count, c->diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    for (int32_t i = 0; i < in->rank; i++) {
        shape[4 - in->rank + i] = (uint32_t)in->shape[i];
        reduced[4 - in->rank + i] = axes[i];
    }
    operation->kind = OPERATION_SUM_POOL;
    operation->window = (struct window){
        .images = shape[0],
        .input_height = shape[1],
        .input_width = shape[2],
        .input_channels = shape[3],
        .output_height = reduced[1] ? 1 : shape[1],
        .output_width = reduced[2] ? 1 : shape[2],
        .output_channels = shape[3],
        .kernel_height = reduced[1] ? shape[1] : 1,
        .kernel_width = reduced[2] ? shape[2] : 1,
        .stride_y = 1,
        .stride_x = 1,
        .dilation_y = 1,
        .dilation_x = 1,
    };
    return set_rescale(c, operation);
}

static enum systole_status legalise_elementwise(struct compilation *c, struct operation *operation) {
    const struct systole_operator *op = &c->graph->operators[operation->index];
    struct extents e = ir_extents(tensor_of(c, op->outputs[0]));
    operation->kind = OPERATION_REQUANTISE;
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
    return set_rescale(c, operation);
}

static uint32_t dimension(const struct systole_tensor *tensor, int32_t axis_from_last) {
    return axis_from_last < tensor->rank ? (uint32_t)tensor->shape[tensor->rank - 1 - axis_from_last] : 1;
}

static enum systole_status legalise_add(struct compilation *c, struct operation *operation) {
    const struct systole_operator *op = &c->graph->operators[operation->index];
    struct systole_add_parameters p;
    enum systole_status status = systole_add_parameters_derive(c->graph, operation->index, &p, c->diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    const struct systole_tensor *out = tensor_of(c, op->outputs[0]);
    operation->kind = OPERATION_ADD;
    operation->input_count = 2;
    operation->inputs[0] = operand_of(c, op->inputs[0], p.input_zero_point);
    operation->inputs[1] = operand_of(c, op->inputs[1], p.input2_zero_point);
    operation->output = operand_of(c, op->outputs[0], p.output_zero_point);
    operation->input_rescale[0] = p.input;
    operation->input_rescale[1] = p.input2;
    operation->rescale = p.output;
    operation->left_shift = p.left_shift;
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
    return SYSTOLE_OK;
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
        return legalise_mean(c, operation);
    case SYSTOLE_OP_ADD:
        return legalise_add(c, operation);
    case SYSTOLE_OP_RESHAPE:
    case SYSTOLE_OP_PAD:
    case SYSTOLE_OP_PADV2:
        operation->kind = op->code == SYSTOLE_OP_RESHAPE ? OPERATION_RESHAPE : OPERATION_PAD;
        operation->inputs[0] = operand_of(c, op->inputs[0], 0);
        operation->output = operand_of(c, op->outputs[0], 0);
        return SYSTOLE_OK;
    default: // QUANTIZE and RELUs, by the restrictions
        return legalise_elementwise(c, operation);
    }
}

enum systole_status pass_legalise(struct compilation *c) {
    for (uint32_t i = 0; i < c->graph->operator_count; i++) {
        c->operations[i] = (struct operation){.index = i, .segment = -1};
        if (!restrictions_forbid(c, &c->operations[i])) {
            enum systole_status status = legalise(c, &c->operations[i]);
            if (status != SYSTOLE_OK) {
                return status;
            }
        }
    }
    dump_operations(c, "legalise");
    return SYSTOLE_OK;
}
