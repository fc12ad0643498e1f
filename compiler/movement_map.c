// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Where each element of an operator that only moves data comes from: for every output element the input and the
// element of it, or that it is filled. All such operators are this one map; what the device does with it is planned in
// movement_plan.c without knowing the operator.
#include <math.h>
#include <string.h>

#include "movement.h"

#define RANK SYSTOLE_MAX_RANK

// One output element on its way through an operator.
struct place {
    int64_t at[RANK]; // its coordinates, then those of the input
    uint32_t input;   // which of the operator's inputs
    bool filled;
};

struct walk {
    const struct compilation *c;
    const struct systole_operator *op;
    const struct systole_tensor *in, *out; // first data input
    uint32_t output;                       // which of the outputs
    int64_t first[RANK], second[RANK];     // numbers of the operator, an axis each
    int64_t axis, block, offset;
    const struct systole_tensor *indices; // GATHER, GATHER_ND
    bool (*step)(const struct walk *walk, struct place *place);
};

static const struct systole_tensor *input_of(const struct walk *w, uint32_t input) {
    return input < w->op->input_count && w->op->inputs[input] >= 0 ? &w->c->graph->tensors[w->op->inputs[input]] : NULL;
}

static bool read_index(const struct systole_tensor *tensor, size_t element, int64_t *value) {
    if (tensor == NULL || tensor->data == NULL || element >= systole_tensor_elements(tensor)) {
        return false;
    }
    if (tensor->dtype == SYSTOLE_INT64) {
        memcpy(value, tensor->data + 8 * element, 8);
        return true;
    }
    int32_t narrow = 0;
    if (tensor->dtype == SYSTOLE_INT32) {
        memcpy(&narrow, tensor->data + 4 * element, 4);
    }
    *value = narrow;
    return tensor->dtype == SYSTOLE_INT32;
}

// `count` numbers of a constant input from its element `from` on, `by` apart.
static bool read_indices(const struct walk *w, uint32_t input, size_t from, size_t by, size_t count, int64_t *values) {
    bool good = count <= RANK;
    for (size_t i = 0; i < count && good; i++) {
        good = read_index(input_of(w, input), from + i * by, &values[i]);
    }
    return good;
}

static bool normalise_axis(int64_t *axis, int32_t rank) {
    *axis += *axis < 0 ? rank : 0;
    return *axis >= 0 && *axis < rank;
}

// ---- The operators: from output coordinates to input coordinates.

static bool step_concatenation(const struct walk *w, struct place *p) {
    for (uint32_t k = 0; k < w->op->input_count; k++) {
        int32_t extent = input_of(w, k)->shape[w->axis];
        if (p->at[w->axis] < extent) {
            p->input = k;
            return true;
        }
        p->at[w->axis] -= extent;
    }
    return false;
}

static bool begin_concatenation(struct walk *w) {
    w->axis = w->op->options.axis;
    w->step = step_concatenation;
    bool good = normalise_axis(&w->axis, w->out->rank);
    for (uint32_t k = 0; k < w->op->input_count && good; k++) {
        good = input_of(w, k) != NULL && input_of(w, k)->rank == w->out->rank;
    }
    return good;
}

static bool step_pack(const struct walk *w, struct place *p) {
    p->input = (uint32_t)p->at[w->axis];
    for (int64_t i = w->axis; i + 1 < w->out->rank; i++) {
        p->at[i] = p->at[i + 1];
    }
    return p->input < w->op->input_count && input_of(w, p->input) != NULL;
}

static bool begin_pack(struct walk *w) {
    w->axis = w->op->options.axis;
    w->step = step_pack;
    return normalise_axis(&w->axis, w->out->rank) && w->in->rank + 1 == w->out->rank;
}

static bool step_unpack(const struct walk *w, struct place *p) {
    for (int64_t i = w->out->rank; i > w->axis; i--) {
        p->at[i] = p->at[i - 1];
    }
    p->at[w->axis] = w->output;
    return true;
}

static bool begin_unpack(struct walk *w) {
    w->axis = w->op->options.axis;
    w->step = step_unpack;
    return normalise_axis(&w->axis, w->in->rank) && w->in->rank == w->out->rank + 1;
}

static bool step_offset(const struct walk *w, struct place *p) {
    for (int32_t i = 0; i < w->in->rank; i++) {
        p->at[i] += w->first[i];
    }
    return true;
}

static bool begin_split(struct walk *w) {
    uint32_t axis_input = w->op->code == SYSTOLE_OP_SPLIT ? 0 : 2;
    if (!read_index(input_of(w, axis_input), 0, &w->axis) || !normalise_axis(&w->axis, w->in->rank)) {
        return false;
    }
    for (uint32_t o = 0; o < w->output; o++) {
        w->first[w->axis] += w->c->graph->tensors[w->op->outputs[o]].shape[w->axis];
    }
    w->step = step_offset;
    return w->in->rank == w->out->rank;
}

static bool begin_slice(struct walk *w) {
    w->step = step_offset;
    return w->in->rank == w->out->rank && read_indices(w, 1, 0, 1, (size_t)w->in->rank, w->first);
}

static bool step_strided_slice(const struct walk *w, struct place *p) {
    int64_t from[RANK] = {0};
    int32_t next = 0;
    for (int32_t i = 0; i < w->in->rank; i++) {
        bool removed = (w->op->options.shrink_axis_mask >> i & 1) != 0;
        from[i] = w->first[i] + (removed ? 0 : p->at[next++] * w->second[i]);
    }
    memcpy(p->at, from, sizeof from);
    return true;
}

static bool begin_strided_slice(struct walk *w) {
    const struct systole_options *o = &w->op->options;
    size_t rank = (size_t)w->in->rank;
    w->step = step_strided_slice;
    if (o->ellipsis_mask != 0 || o->new_axis_mask != 0 || !read_indices(w, 1, 0, 1, rank, w->first) ||
        !read_indices(w, 3, 0, 1, rank, w->second)) {
        return false;
    }
    int32_t kept = 0;
    for (size_t i = 0; i < rank; i++) {
        int64_t extent = w->in->shape[i];
        bool removed = (o->shrink_axis_mask >> i & 1) != 0;
        w->first[i] += w->first[i] < 0 ? extent : 0;
        int64_t high = w->second[i] < 0 ? extent - 1 : extent, low = w->second[i] < 0 ? -1 : 0;
        w->first[i] = w->first[i] < low ? low : w->first[i] > high ? high : w->first[i];
        if ((o->begin_mask >> i & 1) != 0 && !removed) {
            w->first[i] = w->second[i] < 0 ? extent - 1 : 0;
        }
        kept += removed ? 0 : 1;
    }
    return kept == w->out->rank;
}

static bool step_pad(const struct walk *w, struct place *p) {
    for (int32_t i = 0; i < w->in->rank; i++) {
        p->at[i] -= w->first[i];
        p->filled = p->filled || p->at[i] < 0 || p->at[i] >= w->in->shape[i];
    }
    return true;
}

static bool step_mirror(const struct walk *w, struct place *p) {
    for (int32_t i = 0; i < w->in->rank; i++) {
        int64_t at = p->at[i] - w->first[i], extent = w->in->shape[i];
        int64_t again = w->op->options.symmetric ? 0 : 1;
        at = at < 0 ? -at - 1 + again : at;
        p->at[i] = at >= extent ? 2 * extent - 1 - again - at : at;
    }
    return true;
}

static bool begin_pad(struct walk *w) {
    w->step = w->op->code == SYSTOLE_OP_MIRROR_PAD ? step_mirror : step_pad;
    return w->in->rank == w->out->rank && read_indices(w, 1, 0, 2, (size_t)w->in->rank, w->first);
}

static bool step_transpose(const struct walk *w, struct place *p) {
    int64_t from[RANK] = {0};
    for (int32_t i = 0; i < w->out->rank; i++) {
        from[w->first[i]] = p->at[i];
    }
    memcpy(p->at, from, sizeof from);
    return true;
}

static bool begin_transpose(struct walk *w) {
    w->step = step_transpose;
    bool good = w->in->rank == w->out->rank && read_indices(w, 1, 0, 1, (size_t)w->out->rank, w->first);
    for (int32_t i = 0; i < w->out->rank && good; i++) {
        good = normalise_axis(&w->first[i], w->in->rank);
    }
    return good;
}

static bool step_tile(const struct walk *w, struct place *p) {
    for (int32_t i = 0; i < w->in->rank; i++) {
        p->at[i] %= w->in->shape[i];
    }
    return true;
}

static bool begin_tile(struct walk *w) {
    w->step = step_tile;
    return w->in->rank == w->out->rank;
}

static bool step_space_to_depth(const struct walk *w, struct place *p) {
    int64_t channels = w->in->shape[3], offset = p->at[3] / channels;
    p->at[1] = p->at[1] * w->block + offset / w->block;
    p->at[2] = p->at[2] * w->block + offset % w->block;
    p->at[3] %= channels;
    return true;
}

static bool step_depth_to_space(const struct walk *w, struct place *p) {
    p->at[3] += (p->at[1] % w->block * w->block + p->at[2] % w->block) * w->out->shape[3];
    p->at[1] /= w->block;
    p->at[2] /= w->block;
    return true;
}

static bool begin_depth(struct walk *w) {
    w->block = w->op->options.block_size;
    w->step = w->op->code == SYSTOLE_OP_SPACE_TO_DEPTH ? step_space_to_depth : step_depth_to_space;
    return w->block > 0 && w->in->rank == 4 && w->out->rank == 4;
}

// Blocks in `second`, pads or crops before in `first`; `axis` holds the number of spatial axes.
static bool begin_batch(struct walk *w) {
    const struct systole_tensor *block = input_of(w, 1);
    w->axis = block != NULL ? (int64_t)systole_tensor_elements(block) : 0;
    bool good = w->axis > 0 && w->axis < w->in->rank && w->in->rank == w->out->rank &&
                read_indices(w, 1, 0, 1, (size_t)w->axis, w->second) &&
                read_indices(w, 2, 0, 2, (size_t)w->axis, w->first);
    for (int64_t i = 0; i < w->axis && good; i++) {
        good = w->second[i] > 0;
    }
    return good;
}

static bool step_space_to_batch(const struct walk *w, struct place *p) {
    int64_t phase = p->at[0] / w->in->shape[0];
    p->at[0] %= w->in->shape[0];
    for (int64_t i = w->axis; i-- > 0;) {
        int64_t at = p->at[1 + i] * w->second[i] + phase % w->second[i] - w->first[i];
        phase /= w->second[i];
        p->filled = p->filled || at < 0 || at >= w->in->shape[1 + i];
        p->at[1 + i] = at;
    }
    return true;
}

static bool step_batch_to_space(const struct walk *w, struct place *p) {
    int64_t phase = 0;
    for (int64_t i = 0; i < w->axis; i++) {
        int64_t at = p->at[1 + i] + w->first[i];
        phase = phase * w->second[i] + at % w->second[i];
        p->at[1 + i] = at / w->second[i];
    }
    p->at[0] += phase * w->out->shape[0];
    return true;
}

static bool step_gather(const struct walk *w, struct place *p) {
    int64_t index, element = 0;
    int32_t batch = w->op->options.batch_dims, own = w->indices->rank - batch; // axes that the indices put in
    for (int32_t i = 0; i < w->indices->rank; i++) {
        int64_t at = i < batch ? p->at[i] : p->at[w->axis + i - batch];
        element = element * w->indices->shape[i] + at;
    }
    int64_t from[RANK] = {0};
    for (int32_t i = 0; i < w->in->rank; i++) {
        from[i] = i < w->axis ? p->at[i] : i > w->axis ? p->at[i + own - 1] : 0;
    }
    if (!read_index(w->indices, (size_t)element, &index)) {
        return false;
    }
    from[w->axis] = index;
    memcpy(p->at, from, sizeof from);
    return true;
}

static bool begin_gather(struct walk *w) {
    const struct systole_options *o = &w->op->options;
    w->indices = input_of(w, 1);
    w->axis = o->axis;
    w->step = step_gather;
    return w->indices != NULL && w->indices->data != NULL && normalise_axis(&w->axis, w->in->rank) &&
           o->batch_dims >= 0 && o->batch_dims <= w->axis && o->batch_dims <= w->indices->rank &&
           w->out->rank == w->in->rank + w->indices->rank - o->batch_dims - 1;
}

static bool step_gather_nd(const struct walk *w, struct place *p) {
    int64_t element = 0, from[RANK] = {0};
    int32_t outer = w->indices->rank - 1, depth = w->indices->shape[outer];
    for (int32_t i = 0; i < outer; i++) {
        element = element * w->indices->shape[i] + p->at[i];
    }
    for (int32_t i = 0; i < w->in->rank; i++) {
        if (i >= depth) {
            from[i] = p->at[outer + i - depth];
        } else if (!read_index(w->indices, (size_t)(element * depth + i), &from[i])) {
            return false;
        }
    }
    memcpy(p->at, from, sizeof from);
    return true;
}

static bool begin_gather_nd(struct walk *w) {
    w->indices = input_of(w, 1);
    w->step = step_gather_nd;
    if (w->indices == NULL || w->indices->data == NULL || w->indices->rank < 1) {
        return false;
    }
    int32_t depth = w->indices->shape[w->indices->rank - 1];
    return depth <= w->in->rank && w->out->rank == w->indices->rank - 1 + w->in->rank - depth;
}

// TensorFlow Lite reference/resize_nearest_neighbor.h, in its float32.
static int64_t nearest(int64_t at, int32_t input, int32_t output, bool align_corners, bool half_pixel_centers) {
    float scale = align_corners && output > 1 ? (float)(input - 1) / (float)(output - 1) : (float)input / (float)output;
    float offset = half_pixel_centers ? 0.5f : 0.0f;
    float position = ((float)at + offset) * scale;
    int64_t from = (int64_t)(align_corners ? roundf(position) : floorf(position));
    from = from > input - 1 ? input - 1 : from;
    return from < 0 ? 0 : from;
}

static bool step_nearest(const struct walk *w, struct place *p) {
    const struct systole_options *o = &w->op->options;
    for (uint32_t i = 1; i < 3; i++) {
        p->at[i] = nearest(p->at[i], w->in->shape[i], w->out->shape[i], o->align_corners, o->half_pixel_centers);
    }
    return true;
}

// RESIZE_BILINEAR of maps that have the output's extents or 1 (resize_copies).
static bool step_copies(const struct walk *w, struct place *p) {
    for (uint32_t i = 1; i < 3; i++) {
        p->at[i] = w->in->shape[i] == 1 ? 0 : p->at[i];
    }
    return true;
}

static bool begin_nearest(struct walk *w) {
    w->step = step_nearest;
    return w->in->rank == 4 && w->out->rank == 4;
}

static bool begin(struct walk *w) {
    switch (w->op->code) {
    case SYSTOLE_OP_CONCATENATION:
        return begin_concatenation(w);
    case SYSTOLE_OP_PACK:
        return begin_pack(w);
    case SYSTOLE_OP_UNPACK:
        return begin_unpack(w);
    case SYSTOLE_OP_SPLIT:
    case SYSTOLE_OP_SPLIT_V:
        return begin_split(w);
    case SYSTOLE_OP_SLICE:
        return begin_slice(w);
    case SYSTOLE_OP_STRIDED_SLICE:
        return begin_strided_slice(w);
    case SYSTOLE_OP_PAD:
    case SYSTOLE_OP_PADV2:
    case SYSTOLE_OP_MIRROR_PAD:
        return begin_pad(w);
    case SYSTOLE_OP_TRANSPOSE:
        return begin_transpose(w);
    case SYSTOLE_OP_TILE:
        return begin_tile(w);
    case SYSTOLE_OP_SPACE_TO_DEPTH:
    case SYSTOLE_OP_DEPTH_TO_SPACE:
        return begin_depth(w);
    case SYSTOLE_OP_SPACE_TO_BATCH_ND:
        w->step = step_space_to_batch;
        return begin_batch(w);
    case SYSTOLE_OP_BATCH_TO_SPACE_ND:
        w->step = step_batch_to_space;
        return begin_batch(w);
    case SYSTOLE_OP_GATHER:
        return begin_gather(w);
    case SYSTOLE_OP_GATHER_ND:
        return begin_gather_nd(w);
    case SYSTOLE_OP_RESIZE_NEAREST_NEIGHBOR:
        return begin_nearest(w);
    case SYSTOLE_OP_RESIZE_BILINEAR:
        w->step = step_copies;
        return resize_copies(w->c, w->op);
    default: // RESHAPE, SQUEEZE, EXPAND_DIMS: the same elements
        return systole_tensor_elements(w->in) == systole_tensor_elements(w->out);
    }
}

uint32_t movement_data_input(const struct systole_operator *op) {
    return op->code == SYSTOLE_OP_SPLIT ? 1 : op->code == SYSTOLE_OP_TRANSPOSE_CONV ? 2 : 0;
}

// The element that coordinates name; false: outside.
static bool element_at(const struct systole_tensor *tensor, const int64_t at[RANK], int32_t *element) {
    int64_t result = 0;
    for (int32_t i = 0; i < tensor->rank; i++) {
        if (at[i] < 0 || at[i] >= tensor->shape[i]) {
            return false;
        }
        result = result * tensor->shape[i] + at[i];
    }
    *element = (int32_t)result;
    return true;
}

bool movement_map(const struct compilation *c, uint32_t operator_index, uint32_t output, struct movement_source *map) {
    const struct systole_operator *op = &c->graph->operators[operator_index];
    uint32_t data = movement_data_input(op);
    struct walk w = {.c = c, .op = op, .output = output};
    w.in = input_of(&w, data);
    w.out = &c->graph->tensors[op->outputs[output]];
    if (w.in == NULL || !begin(&w)) {
        return false;
    }
    int64_t at[RANK] = {0};
    size_t count = systole_tensor_elements(w.out);
    for (size_t i = 0; i < count; i++) {
        if (w.step == NULL) {
            map[i] = (struct movement_source){0, (int32_t)i};
            continue;
        }
        struct place place = {.input = data};
        memcpy(place.at, at, sizeof at);
        map[i] = (struct movement_source){-1, 0};
        if (!w.step(&w, &place)) {
            return false;
        }
        if (!place.filled) {
            int32_t element;
            if (!element_at(input_of(&w, place.input), place.at, &element)) {
                return false;
            }
            map[i] = (struct movement_source){(int32_t)(place.input - data), element};
        }
        for (int32_t axis = w.out->rank; axis-- > 0 && ++at[axis] == w.out->shape[axis];) {
            at[axis] = 0;
        }
    }
    return true;
}

bool movement_reduced_maps(const struct compilation *c, uint32_t operator_index, const bool axes[SYSTOLE_MAX_RANK],
                           struct movement_source *maps) {
    const struct systole_operator *op = &c->graph->operators[operator_index];
    const struct systole_tensor *in = &c->graph->tensors[op->inputs[0]];
    size_t elements = systole_tensor_elements(in),
           outputs = systole_tensor_elements(&c->graph->tensors[op->outputs[0]]);
    size_t kept = 1;
    for (int32_t axis = 0; axis < in->rank; axis++) {
        kept *= axes[axis] ? 1 : (size_t)in->shape[axis];
    }
    for (size_t i = 0; i < elements && kept == outputs; i++) {
        size_t left = i, output = 0, compared = 0, output_step = 1, compared_step = 1;
        for (int32_t axis = in->rank; axis-- > 0;) {
            size_t extent = (size_t)in->shape[axis], at = left % extent;
            left /= extent;
            *(axes[axis] ? &compared : &output) += at * (axes[axis] ? compared_step : output_step);
            *(axes[axis] ? &compared_step : &output_step) *= extent;
        }
        maps[compared * outputs + output] = (struct movement_source){0, (int32_t)i};
    }
    return kept == outputs;
}
