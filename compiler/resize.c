// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// RESIZE_BILINEAR (TensorFlow Lite reference/resize_bilinear.h). int8, the version in integers: a row of the output
// is w0*in[y0] + w1*in[y1] with weights in 1/1024, a column likewise, and the sum of four products is rounded once,
// half away from zero. uint8 is defined in float32; where all positions are multiples of 1/1024 its float arithmetic
// is exact, and the same integers, rounded half up, give its bytes. Rows and columns with the same weights whose
// sources go on evenly are one class; each pair of classes is a depthwise command with one to four taps that writes
// every so many rows and columns. Classes of neighbouring columns, one for each column of a period, are a band: one
// command whose output tiles are those columns, each with its own weights. Weights are reduced to the smallest power
// of two that holds them exactly. Those that do not fit their byte so are the CPU's.
#include <math.h>
#include <string.h>

#include "movement.h"

#define AXIS_CLASSES 64u
#define LARGEST_WEIGHT 255u
#define BAND_COLUMNS 4u // most taps of a band in a row
#define ONE 1024        // of weights

// Output positions first, first + step, ... (count) with sources from, from + 1*by, ...
struct axis_class {
    uint32_t first, step, count, from, by;
    uint32_t taps, weights[2]; // of from and from + 1
};

struct axis {
    struct axis_class classes[AXIS_CLASSES];
    uint32_t count;
};

struct source_of_position {
    uint32_t from, taps, weights[2]; // in 1/1024
};

// Classes of neighbouring columns, `phases` of them; 1: a class by itself.
struct band {
    const struct axis_class *classes;
    uint32_t phases, from, columns; // first source column, columns of the window
};

static int32_t limit(int32_t value, int32_t low, int32_t high) {
    return value < low ? low : value > high ? high : value;
}

static struct source_of_position source_fixed(int32_t position, int32_t input, int32_t output,
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

// False: the weight is no multiple of 1/1024, and float32 may round.
static bool source_real(int32_t position, int32_t input, int32_t output, const struct systole_options *options,
                        struct source_of_position *source) {
    bool corners = options->align_corners && output > 1;
    float scale = corners ? (float)(input - 1) / (float)(output - 1) : (float)input / (float)output;
    float at = options->half_pixel_centers ? ((float)position + 0.5f) * scale - 0.5f : (float)position * scale;
    int32_t lower = limit((int32_t)floorf(at), 0, input - 1), upper = limit((int32_t)ceilf(at), 0, input - 1);
    float weight = (at - (float)lower) * (float)ONE;
    *source = (struct source_of_position){(uint32_t)lower, 1, {ONE, 0}};
    if (upper != lower && weight > 0.0f) {
        *source = (struct source_of_position){
            (uint32_t)lower, 2, {(uint32_t)(ONE - (int32_t)weight), (uint32_t)(int32_t)weight}};
    }
    return weight == floorf(weight);
}

static bool source_at(enum systole_dtype dtype, int32_t position, int32_t input, int32_t output,
                      const struct systole_options *options, struct source_of_position *source) {
    if (dtype == SYSTOLE_UINT8) {
        return source_real(position, input, output, options, source);
    }
    *source = source_fixed(position, input, output, options);
    return true;
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

// False: too many classes, or positions that are not exact.
static bool find_classes(struct compilation *c, struct axis *axis, const struct systole_operator *op, uint32_t of) {
    const struct systole_tensor *in = &c->graph->tensors[op->inputs[0]], *out = &c->graph->tensors[op->outputs[0]];
    uint32_t count = (uint32_t)out->shape[of];
    struct source_of_position *sources = ir_allocate(c, count, sizeof *sources);
    bool *done = ir_allocate(c, count, sizeof *done), exact = true;
    if (sources == NULL || done == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        exact = source_at(out->dtype, (int32_t)i, in->shape[of], out->shape[of], &op->options, &sources[i]) && exact;
    }
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
            if (length > class->count && can &&
                (sources[i + step].from > sources[i].from || (of == 1 && sources[i].taps == 1))) { // rows may stay
                class->count = length;
                class->step = step;
                class->by = sources[i + step].from - sources[i].from;
            }
        }
        class->taps = sources[i].taps;
        class->weights[0] = sources[i].weights[0];
        class->weights[1] = sources[i].weights[1];
        for (uint32_t k = 0; k < class->count; k++) {
            done[i + k * class->step] = true;
        }
    }
    return exact;
}

// Whether float32 computes the positions and the sums without rounding (uint8).
bool resize_is_exact(const struct compilation *c, const struct systole_operator *op) {
    const struct systole_tensor *in = &c->graph->tensors[op->inputs[0]], *out = &c->graph->tensors[op->outputs[0]];
    bool exact = in->rank == 4 && out->rank == 4;
    for (uint32_t axis = 1; axis < 3 && exact; axis++) {
        for (int32_t i = 0; i < out->shape[axis] && exact; i++) {
            struct source_of_position source;
            exact = source_real(i, in->shape[axis], out->shape[axis], &op->options, &source);
        }
    }
    return exact;
}

// ---- Bands

// The class of an axis that begins at a position with this step; NULL: none.
static struct axis_class *class_from(struct axis *axis, uint32_t first, uint32_t step) {
    for (uint32_t i = 0; i < axis->count; i++) {
        if (axis->classes[i].first == first && axis->classes[i].step == step) {
            return &axis->classes[i];
        }
    }
    return NULL;
}

// The class as the first of a band over a whole period; what the band's classes have more than the shortest of them
// become classes of their own.
static struct band band_of(struct axis *axis, uint32_t index, struct axis_class *classes) {
    struct axis_class *first = &axis->classes[index];
    struct band band = {classes, 1, first->from, first->taps};
    uint32_t phases = first->step, low = first->from, high = 0, count = first->count;
    classes[0] = *first;
    bool whole = first->count > 1 && phases > 1 && axis->count + phases <= AXIS_CLASSES;
    for (uint32_t p = 0; p < phases && whole; p++) {
        const struct axis_class *next = class_from(axis, first->first + p, phases);
        whole = next != NULL && next->by == first->by && next->count > 0;
        if (whole) {
            classes[p] = *next;
            low = next->from < low ? next->from : low;
            high = next->from + next->taps > high ? next->from + next->taps : high;
            count = next->count < count ? next->count : count;
        }
    }
    if (!whole || high - low > BAND_COLUMNS) {
        classes[0] = *first;
        first->count = 0; // taken
        return band;
    }
    for (uint32_t p = 0; p < phases; p++) {
        struct axis_class *next = class_from(axis, classes[p].first, phases), rest = *next;
        rest.first += count * rest.step;
        rest.from += count * rest.by;
        rest.count -= count;
        if (rest.count > 0) {
            axis->classes[axis->count++] = rest;
        }
        next->count = 0;
        classes[p].count = count;
    }
    return (struct band){classes, phases, low, high - low};
}

// All classes of an axis as bands; those of several columns only where that makes fewer commands than `tiles` for each.
static struct band *find_bands(struct compilation *c, struct axis *axis, uint32_t tiles, uint32_t *count) {
    struct band *bands = ir_allocate(c, AXIS_CLASSES, sizeof *bands);
    *count = 0;
    for (uint32_t i = 0; i < axis->count && bands != NULL; i++) {
        struct axis_class *class = &axis->classes[i];
        if (class->count == 0) {
            continue;
        }
        struct axis_class *classes = ir_allocate(c, AXIS_CLASSES, sizeof *classes);
        if (classes == NULL) {
            return NULL;
        }
        if (class->step > tiles) {
            bands[(*count)++] = band_of(axis, i, classes);
        } else {
            classes[0] = *class;
            bands[(*count)++] = (struct band){classes, 1, class->from, class->taps};
        }
    }
    return bands;
}

// ---- Moves

// False: a weight does not fit.
static bool set_weights(const struct axis_class *y, const struct axis_class *x, uint32_t before, uint32_t columns,
                        uint8_t *weights, uint8_t *shift) {
    uint32_t products[4] = {0, 0, 0, 0}, any = 0, taps = y->taps * x->taps;
    for (uint32_t i = 0; i < taps; i++) {
        products[i] = y->weights[i / x->taps] * x->weights[i % x->taps];
        any |= products[i];
    }
    for (*shift = 20; any % 2 == 0 && *shift > 0; any /= 2) {
        (*shift)--;
        for (uint32_t i = 0; i < taps; i++) {
            products[i] /= 2;
        }
    }
    bool fits = true;
    for (uint32_t i = 0; i < taps; i++) {
        fits = fits && products[i] <= LARGEST_WEIGHT;
        weights[i / x->taps * columns + before + i % x->taps] = (uint8_t)products[i];
    }
    return fits;
}

// The weights of a class of rows and a band of columns; `tiles` copies where it has one phase. False: they do not fit.
static bool add_blend(struct compilation *c, struct operation *o, const struct axis_class *y, const struct band *x,
                      uint32_t tiles) {
    if (o->blend_count == IR_MOVES_LIMIT) {
        return false;
    }
    struct blend *blend = &o->blends[o->blend_count++];
    *blend = (struct blend){.rows = y->taps, .columns = x->columns, .tiles = x->phases > 1 ? x->phases : tiles};
    blend->row_pixels = (uint32_t)c->graph->tensors[c->graph->operators[o->index].inputs[0]].shape[2];
    size_t taps = (size_t)blend->rows * blend->columns;
    blend->weights = ir_allocate(c, blend->tiles, taps);
    blend->shifts = ir_allocate(c, blend->tiles, 1);
    bool fits = blend->weights != NULL && blend->shifts != NULL;
    for (uint32_t t = 0; t < blend->tiles && fits; t++) {
        const struct axis_class *class = &x->classes[x->phases > 1 ? t : 0];
        fits = set_weights(y, class, class->from - x->from, x->columns, blend->weights + t * taps, &blend->shifts[t]);
    }
    return fits;
}

static bool add_move(struct operation *o, const struct move *move) {
    if (o->move_count == IR_MOVES_LIMIT) {
        return false;
    }
    o->moves[o->move_count++] = *move;
    return true;
}

// The moves of a class of rows and a band of columns in one image; their blend is the last one.
static bool add_moves(struct operation *o, const struct axis_class *y, const struct band *x, uint32_t image,
                      const struct systole_tensor *in, uint32_t out_height, uint32_t tiles) {
    uint32_t width = (uint32_t)in->shape[2];
    struct move move = {
        .kind = MOVE_BLEND,
        .rows = y->count,
        .columns = x->classes[0].count,
        .tiles = tiles,
        .from_pixel = (image * (uint32_t)in->shape[1] + y->from) * width + x->from,
        .from_row = y->by * width,
        .from_column = x->classes[0].by,
        .to_y = image * out_height + y->first,
        .to_x = x->classes[0].first,
        .to_row = y->step,
        .to_column = x->classes[0].step,
        .table = -1,
        .blend = o->blend_count - 1,
        .phases = x->phases,
        .is_final = true,
    };
    bool room = true;
    for (uint32_t t = 0; t < tiles && x->phases > 1 && room; t++) {
        move.tiles = 1;
        move.from_tile = move.to_tile = t;
        room = add_move(o, &move);
    }
    return room && (x->phases > 1 || add_move(o, &move));
}

bool resize_plan(struct compilation *c, struct operation *operation) {
    const struct systole_operator *op = &c->graph->operators[operation->index];
    const struct systole_tensor *in = &c->graph->tensors[op->inputs[0]], *out = &c->graph->tensors[op->outputs[0]];
    struct axis *axes = ir_allocate(c, 2, sizeof *axes);
    operation->blends = ir_allocate(c, IR_MOVES_LIMIT, sizeof *operation->blends);
    operation->blend_count = 0;
    if (axes == NULL || operation->blends == NULL || in->rank != 4 || out->rank != 4 ||
        !find_classes(c, &axes[0], op, 1) || !find_classes(c, &axes[1], op, 2)) {
        return false;
    }
    uint32_t tiles = ir_divide_up((uint32_t)in->shape[3], c->target->columns), bands;
    const struct band *band = find_bands(c, &axes[1], tiles, &bands);
    bool room = band != NULL;
    for (uint32_t y = 0; y < axes[0].count; y++) {
        for (uint32_t x = 0; x < bands && room; x++) {
            room = add_blend(c, operation, &axes[0].classes[y], &band[x], tiles);
            for (int32_t image = 0; image < in->shape[0] && room; image++) {
                room = add_moves(operation, &axes[0].classes[y], &band[x], (uint32_t)image, in, (uint32_t)out->shape[1],
                                 tiles);
            }
        }
    }
    return room;
}

bool resize_copies(const struct compilation *c, const struct systole_operator *op) {
    const struct systole_tensor *in = &c->graph->tensors[op->inputs[0]], *out = &c->graph->tensors[op->outputs[0]];
    bool copies = in->rank == 4 && out->rank == 4;
    for (uint32_t axis = 1; axis < 3 && copies; axis++) {
        copies = in->shape[axis] == 1 || in->shape[axis] == out->shape[axis];
    }
    return copies;
}
