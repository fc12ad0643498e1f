// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// MEAN, SUM, REDUCE_MAX and REDUCE_MIN over any axes of up to four: a window that covers all that one output pixel
// sees. Without the channels it is a pool. Sums over channels are a convolution whose weights are ones; where the last
// dimension that is left becomes the channels of the output, the window covers that dimension, too, and an output
// channel has its ones where the position along it is its own. The largest and the least over channels are moves of the
// channels that are compared, merged. Sums are int32, rescaled once, as in TensorFlow Lite
// reference/reduce.h QuantizedMeanOrSum.
#include <string.h>

#include "ir.h"

#define WEIGHTS_LIMIT (UINT32_C(1) << 20) // bytes of ones and zeros that a reduction may take

enum axis { BATCH, HEIGHT, WIDTH, CHANNELS };

struct reduction {
    struct window window;
    bool reduces_channels;
    uint32_t shape[4];
    int32_t kept; // the axis that becomes the output's channels; -1: none, they are one
};

static bool is_sum(const struct systole_operator *op) {
    return op->code == SYSTOLE_OP_MEAN || op->code == SYSTOLE_OP_SUM;
}

// The window over the axes that `covered` names. Rows of several images are one image's where those are covered, too.
static bool set_window(const uint32_t shape[4], const bool covered[3], struct window *w) {
    uint32_t batch = shape[BATCH], height = shape[HEIGHT], width = shape[WIDTH];
    bool rows = covered[HEIGHT] || height == 1, columns = covered[WIDTH] || width == 1;
    *w = (struct window){
        .images = batch,
        .input_height = height,
        .input_width = width,
        .kernel_height = rows ? height : 1,
        .kernel_width = columns ? width : 1,
        .stride_y = 1,
        .stride_x = 1,
        .dilation_y = 1,
        .dilation_x = 1,
    };
    if (covered[BATCH] && batch > 1 && rows) {
        w->images = 1;
        w->input_height = w->kernel_height = batch * height;
    } else if (covered[BATCH] && batch > 1 && !columns) { // each pixel of the image by itself
        w->images = 1;
        w->input_height = w->kernel_height = batch;
        w->input_width = height * width;
    } else if (covered[BATCH] && batch > 1) { // each row of the image; the same row of another image is far behind it
        w->images = height;
        w->input_height = w->kernel_height = batch;
        w->image_pixels = width;
        w->row_pixels = height * width;
    }
    w->output_height = w->input_height - w->kernel_height + 1;
    w->output_width = w->input_width - w->kernel_width + 1;
    return w->kernel_height <= IR_WINDOW_LIMIT && w->kernel_width <= IR_WINDOW_LIMIT && w->images <= IR_IMAGES_LIMIT &&
           w->input_height <= IR_EXTENT_LIMIT && w->input_width <= IR_EXTENT_LIMIT;
}

// False: the device has no window for these axes. The axes have been checked.
static bool plan(const struct compilation *c, const struct systole_operator *op, struct reduction *r) {
    const struct systole_tensor *in = &c->graph->tensors[op->inputs[0]], *out = &c->graph->tensors[op->outputs[0]];
    bool axes[SYSTOLE_MAX_RANK], reduced[4] = {false, false, false, false};
    uint32_t count, outputs = 1;
    *r = (struct reduction){.shape = {1, 1, 1, 1}, .kept = -1};
    if (in->rank < 1 || in->rank > 4 ||
        systole_mean_axes(c->graph, (uint32_t)(op - c->graph->operators), axes, &count, NULL) != SYSTOLE_OK) {
        return false;
    }
    for (int32_t i = 0; i < in->rank; i++) {
        int32_t axis = 4 - in->rank + i;
        r->shape[axis] = (uint32_t)in->shape[i];
        reduced[axis] = axes[i];
        outputs *= axes[i] ? 1 : (uint32_t)in->shape[i];
        if (!axes[i] && !op->options.keep_dims) {
            r->kept = axis;
        }
    }
    uint32_t channels = ir_extents(out).channels;
    r->reduces_channels = reduced[CHANNELS] && (r->shape[CHANNELS] > 1 || channels != 1);
    r->kept = r->reduces_channels ? r->kept : -1;
    bool covered[3];
    for (int32_t axis = BATCH; axis < CHANNELS; axis++) {
        covered[axis] = reduced[axis] || (r->kept >= 0 && axis >= r->kept);
    }
    if (!set_window(r->shape, covered, &r->window) || systole_tensor_elements(out) != outputs) {
        return false;
    }
    struct window *w = &r->window;
    w->input_channels = r->shape[CHANNELS];
    w->output_channels = !r->reduces_channels ? r->shape[CHANNELS] : r->kept >= 0 ? r->shape[r->kept] : 1;
    uint64_t weights = (uint64_t)w->kernel_height * w->kernel_width * w->input_channels * w->output_channels;
    return w->output_channels == channels && (!r->reduces_channels || (is_sum(op) && weights <= WEIGHTS_LIMIT));
}

bool reduce_is_possible(const struct compilation *c, const struct systole_operator *op) {
    struct reduction r;
    return plan(c, op, &r) || reduce_is_movement(c, op);
}

bool reduce_is_movement(const struct compilation *c, const struct systole_operator *op) {
    struct reduction r;
    return (op->code == SYSTOLE_OP_REDUCE_MAX || op->code == SYSTOLE_OP_REDUCE_MIN) && !plan(c, op, &r) &&
           r.reduces_channels;
}

// Whether the taps in a row and column of the window belong to an output channel.
static bool belongs(const struct reduction *r, uint32_t ky, uint32_t kx, uint32_t output) {
    uint32_t height = r->shape[HEIGHT];
    switch (r->kept) {
    case BATCH:
        return ky / height == output;
    case HEIGHT:
        return ky % height == output;
    case WIDTH:
        return kx == output;
    default:
        return true;
    }
}

static bool set_ones(struct compilation *c, struct operation *o, const struct reduction *r) {
    const struct window *w = &r->window;
    size_t taps = (size_t)w->kernel_height * w->kernel_width;
    uint8_t *ones = ir_allocate(c, taps * w->output_channels, w->input_channels);
    o->weights = (struct weights){.data = ones, .multiplier = 1};
    o->weights.rescale = ir_allocate(c, w->output_channels, sizeof *o->weights.rescale);
    if (ones == NULL || o->weights.rescale == NULL) {
        return false;
    }
    for (uint32_t output = 0; output < w->output_channels; output++) {
        o->weights.rescale[output] = o->rescale;
        for (size_t tap = 0; tap < taps; tap++) {
            bool one = belongs(r, (uint32_t)(tap / w->kernel_width), (uint32_t)(tap % w->kernel_width), output);
            memset(ones + (output * taps + tap) * w->input_channels, one ? 1 : 0, w->input_channels);
        }
    }
    return true;
}

enum systole_status reduce_legalise(struct compilation *c, struct operation *o) {
    const struct systole_operator *op = &c->graph->operators[o->index];
    const struct systole_tensor *in = &c->graph->tensors[op->inputs[0]], *out = &c->graph->tensors[op->outputs[0]];
    struct reduction r;
    (void)plan(c, op, &r); // the restrictions have checked it
    o->window = r.window;
    o->inputs[0] = (struct operand){op->inputs[0], 0, in->dtype == SYSTOLE_UINT8};
    o->output = (struct operand){op->outputs[0], 0, out->dtype == SYSTOLE_UINT8};
    if (!is_sum(op)) { // bytes as they are
        o->kind = op->code == SYSTOLE_OP_REDUCE_MAX ? OPERATION_MAX_POOL : OPERATION_MIN_POOL;
        systole_activation_range(out, SYSTOLE_ACTIVATION_NONE, &o->clamp_min, &o->clamp_max);
        return SYSTOLE_OK;
    }
    struct systole_rescale_parameters p;
    enum systole_status status = systole_rescale_parameters_derive(c->graph, o->index, &p, c->diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    o->kind = r.reduces_channels ? OPERATION_CONV : OPERATION_SUM_POOL;
    o->inputs[0].zero_point = p.input_zero_point;
    o->output.zero_point = p.output_zero_point;
    o->rescale = p.multiplier;
    o->clamp_min = p.clamp_min;
    o->clamp_max = p.clamp_max;
    return !r.reduces_channels || set_ones(c, o, &r) ? SYSTOLE_OK : ir_out_of_memory(c);
}
