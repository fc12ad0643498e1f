// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// RESIZE_BILINEAR of int8 (TensorFlow Lite reference/resize_bilinear.h, the version in integers): a row of the output
// is w0*in[y0] + w1*in[y1] with weights in 1/1024, a column likewise, and the sum of four products is rounded once,
// half away from zero. Rows and columns with the same weights whose sources go on evenly are one class; each pair of
// classes is a depthwise command with one to four taps that writes every so many rows and columns. Weights are reduced
// to the smallest power of two that holds them exactly and doubled: the multiplier 1/2 then rounds nothing, and the
// shift behind it rounds as the reference does. Weights that do not fit their byte so are the CPU's.
#include "movement.h"

#define AXIS_CLASSES 32u
#define LARGEST_WEIGHT 127u

// Output positions first, first + step, ... (count) with sources from, from + 1*by, ...
struct axis_class {
    uint32_t first, step, count, from, by;
    uint32_t taps, weights[2]; // of from and from + 1
};

struct axis {
    struct axis_class classes[AXIS_CLASSES];
    uint32_t count, denominator; // of the weights
};

struct source_of_position {
    uint32_t from, taps, weights[2]; // in 1/1024
};

static int32_t limit(int32_t value, int32_t low, int32_t high) {
    return value < low ? low : value > high ? high : value;
}

static struct source_of_position source_at(int32_t position, int32_t input, int32_t output,
                                           const struct systole_options *options) {
    int32_t scale = ((1 << 10) * input + output / 2) / output;
    if (options->align_corners && output > 1) {
        scale = ((1 << 10) * (input - 1) + (output - 1) / 2) / (output - 1);
    }
    int32_t scaled = options->half_pixel_centers ? position * scale + scale / 2 - (1 << 9) : position * scale;
    int32_t lower = limit(scaled / (1 << 10), 0, input - 1);
    int32_t upper = limit((scaled + (1 << 10) - 1) / (1 << 10), 0, input - 1);
    int32_t weight = scaled - (lower << 10);
    struct source_of_position source = {(uint32_t)lower, 1, {1024, 0}};
    if (upper != lower && weight > 0) {
        source = (struct source_of_position){(uint32_t)lower, 2, {(uint32_t)(1024 - weight), (uint32_t)weight}};
    }
    return source;
}

static bool alike(const struct source_of_position *a, const struct source_of_position *b) {
    return a->taps == b->taps && a->weights[0] == b->weights[0] && a->weights[1] == b->weights[1];
}

// Positions from `first` on, `step` apart, that go on as the first two do.
static uint32_t run(const struct source_of_position *sources, const bool *done, uint32_t count, uint32_t first,
                    uint32_t step) {
    uint32_t length = 1, next = first + step;
    for (; next < count && !done[next] && alike(&sources[next], &sources[first]); next += step, length++) {
        if (sources[next].from < sources[next - step].from ||
            sources[next].from - sources[next - step].from != sources[first + step].from - sources[first].from) {
            break;
        }
    }
    return length;
}

// False: too many classes.
static bool find_classes(struct compilation *c, struct axis *axis, int32_t input, int32_t output,
                         const struct systole_options *options) {
    uint32_t count = (uint32_t)output, common = 1024;
    struct source_of_position *sources = ir_allocate(c, count, sizeof *sources);
    bool *done = ir_allocate(c, count, sizeof *done);
    if (sources == NULL || done == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        sources[i] = source_at((int32_t)i, input, output, options);
        while (sources[i].weights[0] % common != 0 || sources[i].weights[1] % common != 0) {
            common /= 2;
        }
    }
    axis->denominator = 1024 / common;
    axis->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (done[i]) {
            continue;
        }
        if (axis->count == AXIS_CLASSES) {
            return false;
        }
        struct axis_class *class = &axis->classes[axis->count++];
        *class = (struct axis_class){.first = i, .step = 1, .count = 1, .from = sources[i].from, .by = 1};
        for (uint32_t step = 1; step <= 16; step++) {
            uint32_t length = run(sources, done, count, i, step);
            bool can = length == 1 || sources[i + step].from - sources[i].from <= IR_WINDOW_LIMIT;
            if (length > class->count && can && sources[i + step].from > sources[i].from) {
                class->count = length;
                class->step = step;
                class->by = sources[i + step].from - sources[i].from;
            }
        }
        class->taps = sources[i].taps;
        class->weights[0] = sources[i].weights[0] / common;
        class->weights[1] = sources[i].weights[1] / common;
        for (uint32_t k = 0; k < class->count; k++) {
            done[i + k * class->step] = true;
        }
    }
    return true;
}

// False: a weight does not fit.
static bool set_weights(struct blend *blend, const struct axis_class *y, const struct axis_class *x,
                        uint32_t denominator) {
    uint32_t products[4] = {0, 0, 0, 0}, any = 0;
    for (uint32_t i = 0; i < y->taps * x->taps; i++) {
        products[i] = y->weights[i / x->taps] * x->weights[i % x->taps];
        any |= products[i];
    }
    for (; any % 2 == 0 && denominator > 1; any /= 2, denominator /= 2) {
        for (uint32_t i = 0; i < 4; i++) {
            products[i] /= 2;
        }
    }
    for (uint32_t i = 0; i < 4; i++) {
        if (2 * products[i] > LARGEST_WEIGHT) {
            return false;
        }
        blend->weights[i] = (uint8_t)(2 * products[i]);
    }
    for (blend->shift = 0; denominator >> blend->shift > 1;) {
        blend->shift++;
    }
    return true;
}

static bool add_blend(struct operation *o, const struct compilation *c, const struct axis_class *y,
                      const struct axis_class *x, uint32_t image, const struct systole_tensor *in, uint32_t out_height,
                      uint32_t denominator) {
    if (o->move_count == IR_MOVES_LIMIT) {
        return false;
    }
    uint32_t width = (uint32_t)in->shape[2], channels = (uint32_t)in->shape[3];
    struct move *move = &o->moves[o->move_count++];
    *move = (struct move){
        .kind = MOVE_BLEND,
        .rows = y->count,
        .columns = x->count,
        .tiles = ir_divide_up(channels, c->target->columns),
        .from_pixel = image * (uint32_t)in->shape[1] * width + y->from * width + x->from,
        .from_row = y->by * width,
        .from_column = x->by,
        .to_y = image * out_height + y->first,
        .to_x = x->first,
        .to_row = y->step,
        .to_column = x->step,
        .table = -1,
        .is_final = true,
        .blend = {.rows = y->taps, .columns = x->taps, .row_pixels = width},
    };
    return set_weights(&move->blend, y, x, denominator);
}

bool resize_plan(struct compilation *c, struct operation *operation) {
    const struct systole_operator *op = &c->graph->operators[operation->index];
    const struct systole_tensor *in = &c->graph->tensors[op->inputs[0]], *out = &c->graph->tensors[op->outputs[0]];
    struct axis *axes = ir_allocate(c, 2, sizeof *axes);
    if (axes == NULL || in->rank != 4 || out->rank != 4 ||
        !find_classes(c, &axes[0], in->shape[1], out->shape[1], &op->options) ||
        !find_classes(c, &axes[1], in->shape[2], out->shape[2], &op->options)) {
        return false;
    }
    uint32_t denominator = axes[0].denominator * axes[1].denominator;
    for (uint32_t y = 0; y < axes[0].count; y++) {
        for (uint32_t x = 0; x < axes[1].count; x++) {
            for (int32_t image = 0; image < in->shape[0]; image++) {
                if (!add_blend(operation, c, &axes[0].classes[y], &axes[1].classes[x], (uint32_t)image, in,
                               (uint32_t)out->shape[1], denominator)) {
                    return false;
                }
            }
        }
    }
    return true;
}

bool resize_copies(const struct compilation *c, const struct systole_operator *op) {
    const struct systole_tensor *in = &c->graph->tensors[op->inputs[0]], *out = &c->graph->tensors[op->outputs[0]];
    bool copies = in->rank == 4 && out->rank == 4;
    for (uint32_t axis = 1; axis < 3 && copies; axis++) {
        copies = in->shape[axis] == 1 || in->shape[axis] == out->shape[axis];
    }
    return copies;
}
