// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The steps of a random graph that move elements: outputs have their inputs' quantisation.
#include <string.h>

#include "build_graph.h"
#include "random_graph.h"

bool random_graph_reshape(struct random_graph *r, int32_t code) {
    int32_t input = random_graph_pick(r, 1, 5), out[SYSTOLE_MAX_RANK], rank = 0, axes[SYSTOLE_MAX_RANK], count = 0;
    if (input < 0) {
        return false;
    }
    struct systole_tensor in = *random_graph_tensor(r, input);
    uint32_t input_count = 1;
    int32_t inputs[2] = {input, -1};
    if (code == SYSTOLE_OP_SQUEEZE) {
        for (int32_t i = 0; i < in.rank; i++) {
            if (in.shape[i] == 1 && (count == 0 || random_graph_one_in(r, 2))) {
                axes[count++] = i;
            } else {
                out[rank++] = in.shape[i];
            }
        }
        if (count == 0 || rank == 0) {
            return false;
        }
    } else if (code == SYSTOLE_OP_EXPAND_DIMS) {
        int32_t axis = random_graph_range(r, 0, in.rank);
        for (int32_t i = 0; i <= in.rank; i++) {
            out[rank++] = i == axis ? 1 : in.shape[i < axis ? i : i - 1];
        }
        inputs[input_count++] = random_graph_vector(r, 1, &axis);
    } else { // factors out of the elements, smallest first and last what is left
        int32_t left = (int32_t)systole_tensor_elements(&in), wanted = random_graph_range(r, 1, 4);
        bool keeps = random_graph_one_in(r, 2);
        int32_t last = keeps ? in.shape[in.rank - 1] : 1;
        left /= last;
        while (rank < wanted - 1) {
            int32_t factor = random_graph_range(r, 1, 12);
            while (left % factor != 0) {
                factor--;
            }
            out[rank++] = factor;
            left /= factor;
        }
        out[rank++] = left;
        if (keeps) {
            out[rank++] = last;
        }
        memcpy(axes, out, sizeof out);
        count = rank;
        if (random_graph_one_in(r, 2)) {
            axes[random_graph_range(r, 0, rank - 1)] = -1;
        }
        inputs[input_count++] = random_graph_vector(r, rank, axes);
    }
    int32_t output = random_graph_like(r, input, rank, out);
    struct systole_operator *op = random_graph_operator(r, code, input_count, inputs, 1, &output);
    if (code != SYSTOLE_OP_EXPAND_DIMS) {
        memcpy(op->options.new_shape, axes, (size_t)count * sizeof *axes);
        op->options.new_rank = count;
    }
    return true;
}

bool random_graph_pad(struct random_graph *r, int32_t code) {
    int32_t input = random_graph_pick(r, 1, 5), edges[2 * SYSTOLE_MAX_RANK], out[SYSTOLE_MAX_RANK];
    if (input < 0) {
        return false;
    }
    struct systole_tensor in = *random_graph_tensor(r, input);
    bool symmetric = random_graph_one_in(r, 2), is_plane = in.rank == 4 && !random_graph_one_in(r, 4);
    for (int32_t i = 0; i < in.rank; i++) {
        for (int32_t side = 0; side < 2; side++) {
            int32_t most = code == SYSTOLE_OP_MIRROR_PAD ? in.shape[i] - (symmetric ? 0 : 1) : 3;
            bool pads = is_plane ? i == 1 || i == 2 : random_graph_one_in(r, 2);
            edges[2 * i + side] = pads ? random_graph_range(r, 0, most < 3 ? most : 3) : 0;
        }
        out[i] = in.shape[i] + edges[2 * i] + edges[2 * i + 1];
    }
    if (!random_graph_fits(in.rank, out)) {
        return false;
    }
    const int32_t pairs[2] = {in.rank, 2};
    int32_t inputs[3] = {input, random_graph_integers(r, 2, pairs, edges), -1};
    if (code == SYSTOLE_OP_PADV2) {
        inputs[2] = random_graph_like(r, input, 0, pairs);
        random_graph_fix(r, inputs[2]);
        if (random_graph_one_in(r, 2)) { // a real 0
            random_graph_tensor(r, inputs[2])->data[0] = (uint8_t)in.quantisation.zero_point[0];
        }
    }
    int32_t output = random_graph_like(r, input, in.rank, out);
    random_graph_operator(r, code, code == SYSTOLE_OP_PADV2 ? 3 : 2, inputs, 1, &output)->options.symmetric = symmetric;
    return true;
}

bool random_graph_transpose(struct random_graph *r, int32_t code) {
    int32_t input = random_graph_pick(r, 2, 5), order[SYSTOLE_MAX_RANK] = {0}, out[SYSTOLE_MAX_RANK];
    if (input < 0) {
        return false;
    }
    struct systole_tensor in = *random_graph_tensor(r, input);
    for (int32_t i = 0; i < in.rank; i++) {
        int32_t at = random_graph_range(r, 0, i);
        order[i] = i;
        order[i] = order[at];
        order[at] = i;
    }
    for (int32_t i = 0; i < in.rank; i++) {
        out[i] = in.shape[order[i]];
    }
    const int32_t inputs[2] = {input, random_graph_vector(r, in.rank, order)};
    int32_t output = random_graph_like(r, input, in.rank, out);
    random_graph_operator(r, code, 2, inputs, 1, &output);
    return true;
}

bool random_graph_slice(struct random_graph *r, int32_t code) {
    int32_t input = random_graph_pick(r, 1, 5), start[SYSTOLE_MAX_RANK], size[SYSTOLE_MAX_RANK], out[SYSTOLE_MAX_RANK];
    if (input < 0) {
        return false;
    }
    struct systole_tensor in = *random_graph_tensor(r, input);
    for (int32_t i = 0; i < in.rank; i++) {
        start[i] = random_graph_one_in(r, 2) ? 0 : random_graph_range(r, 0, in.shape[i] - 1);
        bool rest = random_graph_one_in(r, 2);
        out[i] = rest ? in.shape[i] - start[i] : random_graph_range(r, 1, in.shape[i] - start[i]);
        size[i] = rest && random_graph_one_in(r, 2) ? -1 : out[i];
    }
    const int32_t starts = random_graph_vector(r, in.rank, start);
    const int32_t inputs[3] = {input, starts, random_graph_vector(r, in.rank, size)};
    int32_t output = random_graph_like(r, input, in.rank, out);
    random_graph_operator(r, code, 3, inputs, 1, &output);
    return true;
}

bool random_graph_strided_slice(struct random_graph *r, int32_t code) {
    int32_t input = random_graph_pick(r, 1, 5), rank = 0, out[SYSTOLE_MAX_RANK];
    int32_t start[SYSTOLE_MAX_RANK], end[SYSTOLE_MAX_RANK], step[SYSTOLE_MAX_RANK];
    int32_t begin_mask = 0, end_mask = 0, shrink_mask = 0;
    if (input < 0) {
        return false;
    }
    struct systole_tensor in = *random_graph_tensor(r, input);
    for (int32_t i = 0; i < in.rank; i++) {
        int32_t extent = in.shape[i], kind = random_graph_range(r, 0, 7);
        step[i] = kind < 2 ? 2 : kind == 2 ? -1 : kind == 3 ? -3 : 1;
        start[i] = random_graph_range(r, 0, extent - 1);
        if (kind == 7 && in.rank - 1 - i + rank > 0) {
            shrink_mask |= 1 << i;
            end[i] = start[i] + 1;
            start[i] -= random_graph_one_in(r, 2) ? extent : 0;
            end[i] = start[i] < 0 ? start[i] + 1 : end[i];
            continue;
        }
        if (random_graph_one_in(r, 2)) {
            begin_mask |= 1 << i;
            start[i] = step[i] > 0 ? 0 : extent - 1;
        }
        bool to_end = random_graph_one_in(r, 2);
        end[i] = step[i] > 0 ? random_graph_range(r, start[i] + 1, extent) : random_graph_range(r, 0, start[i]);
        if (to_end || end[i] == start[i]) {
            end_mask |= 1 << i;
            end[i] = step[i] > 0 ? extent : -1;
        }
        int32_t span = step[i] > 0 ? end[i] - start[i] : start[i] - end[i], size = step[i] > 0 ? step[i] : -step[i];
        out[rank++] = (span + size - 1) / size;
    }
    int32_t inputs[4] = {input};
    inputs[1] = random_graph_vector(r, in.rank, start);
    inputs[2] = random_graph_vector(r, in.rank, end);
    inputs[3] = random_graph_vector(r, in.rank, step);
    int32_t output = random_graph_like(r, input, rank, out);
    struct systole_operator *op = random_graph_operator(r, code, 4, inputs, 1, &output);
    op->options.begin_mask = begin_mask;
    op->options.end_mask = end_mask;
    op->options.shrink_axis_mask = shrink_mask;
    return true;
}

// SPLIT takes the axis first.
bool random_graph_split(struct random_graph *r, int32_t code) {
    int32_t input = random_graph_pick(r, 1, 5), outputs[4], sizes[4], inputs[3];
    if (input < 0) {
        return false;
    }
    struct systole_tensor in = *random_graph_tensor(r, input);
    int32_t axis = random_graph_range(r, 0, in.rank - 1), parts = random_graph_range(r, 1, 4), left = in.shape[axis];
    if (parts > left || (code == SYSTOLE_OP_SPLIT && left % parts != 0)) {
        return false;
    }
    for (int32_t k = 0; k < parts; k++) {
        sizes[k] = code == SYSTOLE_OP_SPLIT ? in.shape[axis] / parts
                   : k == parts - 1         ? left
                                            : random_graph_range(r, 1, left - (parts - 1 - k));
        left -= sizes[k];
        int32_t shape[SYSTOLE_MAX_RANK];
        memcpy(shape, in.shape, sizeof shape);
        shape[axis] = sizes[k];
        outputs[k] = random_graph_like(r, input, in.rank, shape);
    }
    axis -= random_graph_one_in(r, 3) ? in.rank : 0;
    int32_t constant = random_graph_integers(r, 0, &axis, &axis);
    inputs[0] = code == SYSTOLE_OP_SPLIT ? constant : input;
    inputs[1] = code == SYSTOLE_OP_SPLIT ? input : random_graph_vector(r, parts, sizes);
    inputs[2] = constant;
    random_graph_operator(r, code, code == SYSTOLE_OP_SPLIT ? 2 : 3, inputs, (uint32_t)parts, outputs)->options.count =
        parts;
    return true;
}

bool random_graph_unpack(struct random_graph *r, int32_t code) {
    int32_t input = random_graph_pick(r, 2, 5), outputs[5], shape[SYSTOLE_MAX_RANK], rank = 0;
    if (input < 0) {
        return false;
    }
    struct systole_tensor in = *random_graph_tensor(r, input);
    int32_t axis = random_graph_range(r, 0, in.rank - 1), parts = in.shape[axis];
    if (parts > 5) {
        return false;
    }
    for (int32_t i = 0; i < in.rank; i++) {
        if (i != axis) {
            shape[rank++] = in.shape[i];
        }
    }
    for (int32_t k = 0; k < parts; k++) {
        outputs[k] = random_graph_like(r, input, rank, shape);
    }
    struct systole_operator *op = random_graph_operator(r, code, 1, &input, (uint32_t)parts, outputs);
    op->options.axis = axis;
    op->options.count = parts;
    return true;
}

// CONCATENATION and PACK. uint8 may be concatenated with other scales.
bool random_graph_join(struct random_graph *r, int32_t code) {
    int32_t input = random_graph_pick(r, 1, 4), inputs[4], out[SYSTOLE_MAX_RANK];
    if (input < 0) {
        return false;
    }
    struct systole_tensor in = *random_graph_tensor(r, input);
    bool packs = code == SYSTOLE_OP_PACK, rescales = !packs && in.dtype == SYSTOLE_UINT8 && random_graph_one_in(r, 2);
    int32_t axis = random_graph_range(r, 0, packs ? in.rank : in.rank - 1), parts = random_graph_range(r, 1, 4);
    int32_t along = packs ? 0 : in.shape[axis];
    inputs[0] = input;
    for (int32_t k = 1; k < parts; k++) {
        inputs[k] = -1;
        for (int32_t tries = 0; tries < 5 && inputs[k] < 0; tries++) {
            int32_t second = random_graph_pick(r, in.rank, in.rank);
            const struct systole_tensor *other = random_graph_tensor(r, second);
            bool fits = other->dtype == in.dtype &&
                        (rescales || (other->quantisation.scale[0] == in.quantisation.scale[0] &&
                                      other->quantisation.zero_point[0] == in.quantisation.zero_point[0]));
            for (int32_t i = 0; i < in.rank; i++) {
                fits = fits && ((i == axis && !packs) || other->shape[i] == in.shape[i]);
            }
            inputs[k] = fits ? second : -1;
        }
        if (inputs[k] < 0) {
            inputs[k] = random_graph_like(r, input, in.rank, in.shape);
            random_graph_fix(r, inputs[k]);
        }
        along += packs ? 0 : random_graph_tensor(r, inputs[k])->shape[axis];
    }
    for (int32_t i = 0; i < in.rank + (packs ? 1 : 0); i++) {
        out[i] = i == axis ? (packs ? parts : along) : in.shape[packs && i > axis ? i - 1 : i];
    }
    int32_t rank = in.rank + (packs ? 1 : 0);
    if (!random_graph_fits(rank, out)) {
        return false;
    }
    int32_t output = rescales ? random_graph_scaled(r, in.dtype, rank, out, random_graph_scale(r, input))
                              : random_graph_like(r, input, rank, out);
    struct systole_operator *op = random_graph_operator(r, code, (uint32_t)parts, inputs, 1, &output);
    op->options.axis = axis - (random_graph_one_in(r, 3) ? rank : 0);
    op->options.count = packs ? parts : 0;
    return true;
}

bool random_graph_depth(struct random_graph *r, int32_t code) {
    int32_t input = random_graph_pick(r, 4, 4), block = random_graph_range(r, 2, 3);
    if (input < 0) {
        return false;
    }
    struct systole_tensor in = *random_graph_tensor(r, input);
    bool to_depth = code == SYSTOLE_OP_SPACE_TO_DEPTH;
    int32_t out[4] = {in.shape[0], to_depth ? in.shape[1] / block : in.shape[1] * block,
                      to_depth ? in.shape[2] / block : in.shape[2] * block,
                      to_depth ? in.shape[3] * block * block : in.shape[3] / (block * block)};
    if ((to_depth ? in.shape[1] % block + in.shape[2] % block : in.shape[3] % (block * block)) != 0 ||
        !random_graph_fits(4, out)) {
        return false;
    }
    int32_t output = random_graph_like(r, input, 4, out);
    random_graph_operator(r, code, 1, &input, 1, &output)->options.block_size = block;
    return true;
}

bool random_graph_batch(struct random_graph *r, int32_t code) {
    int32_t input = random_graph_pick(r, 4, 4), block[2], edges[4] = {0};
    if (input < 0) {
        return false;
    }
    struct systole_tensor in = *random_graph_tensor(r, input);
    bool to_batch = code == SYSTOLE_OP_SPACE_TO_BATCH_ND;
    int32_t out[4] = {in.shape[0], 0, 0, in.shape[3]};
    for (int32_t i = 0; i < 2; i++) {
        block[i] = random_graph_range(r, 1, 3);
        int32_t extent = in.shape[i + 1];
        if (to_batch) {
            edges[2 * i] = random_graph_range(r, 0, 2);
            int32_t ragged = (extent + edges[2 * i]) % block[i];
            edges[2 * i + 1] = ragged == 0 ? 0 : block[i] - ragged;
            out[i + 1] = (extent + edges[2 * i] + edges[2 * i + 1]) / block[i];
            out[0] *= block[i];
        } else {
            edges[2 * i] = random_graph_range(r, 0, 1);
            edges[2 * i + 1] = random_graph_range(r, 0, 1);
            out[i + 1] = extent * block[i] - edges[2 * i] - edges[2 * i + 1];
            if (out[0] % block[i] != 0) {
                return false;
            }
            out[0] /= block[i];
        }
    }
    if (!random_graph_fits(4, out)) {
        return false;
    }
    const int32_t pairs[2] = {2, 2};
    int32_t inputs[3] = {input};
    inputs[1] = random_graph_vector(r, 2, block);
    inputs[2] = random_graph_integers(r, 2, pairs, edges);
    int32_t output = random_graph_like(r, input, 4, out);
    random_graph_operator(r, code, 3, inputs, 1, &output);
    return true;
}

bool random_graph_tile(struct random_graph *r, int32_t code) {
    int32_t input = random_graph_pick(r, 1, 5), multiples[SYSTOLE_MAX_RANK], out[SYSTOLE_MAX_RANK];
    if (input < 0) {
        return false;
    }
    struct systole_tensor in = *random_graph_tensor(r, input);
    for (int32_t i = 0; i < in.rank; i++) {
        multiples[i] = random_graph_one_in(r, 3) ? random_graph_range(r, 2, 3) : 1;
        out[i] = in.shape[i] * multiples[i];
    }
    if (!random_graph_fits(in.rank, out)) {
        return false;
    }
    const int32_t inputs[2] = {input, random_graph_vector(r, in.rank, multiples)};
    int32_t output = random_graph_like(r, input, in.rank, out);
    random_graph_operator(r, code, 2, inputs, 1, &output);
    return true;
}

bool random_graph_resize(struct random_graph *r, int32_t code) {
    int32_t input = random_graph_pick(r, 4, 4), size[2];
    if (input < 0) {
        return false;
    }
    struct systole_tensor in = *random_graph_tensor(r, input);
    for (int32_t i = 0; i < 2; i++) {
        int32_t extent = in.shape[i + 1], power = 1 << random_graph_range(r, 1, 4);
        int32_t kind = random_graph_range(r, 0, 3); // ratios that bytes can weigh, with and without aligned corners
        size[i] = kind == 0   ? extent * power
                  : kind == 1 ? (extent - 1) * power + 1
                  : kind == 2 ? extent * 2
                              : random_graph_range(r, 1, 16);
    }
    int32_t out[4] = {in.shape[0], size[0], size[1], in.shape[3]};
    if (!random_graph_fits(4, out)) {
        return false;
    }
    const int32_t inputs[2] = {input, random_graph_vector(r, 2, size)};
    int32_t output = random_graph_like(r, input, 4, out), kind = random_graph_range(r, 0, 2);
    struct systole_operator *op = random_graph_operator(r, code, 2, inputs, 1, &output);
    op->options.align_corners = kind == 1;
    op->options.half_pixel_centers = kind == 2;
    return true;
}

bool random_graph_gather(struct random_graph *r, int32_t code) {
    int32_t input = random_graph_pick(r, 1, 4), picks = random_graph_range(r, 1, 6), out[SYSTOLE_MAX_RANK], rank = 0;
    if (input < 0) {
        return false;
    }
    struct systole_tensor in = *random_graph_tensor(r, input);
    int32_t axis = code == SYSTOLE_OP_GATHER ? random_graph_range(r, 0, in.rank - 1) : 0, values[24];
    int32_t depth = code == SYSTOLE_OP_GATHER ? 1 : random_graph_range(r, 1, in.rank);
    for (int32_t i = 0; i < picks; i++) {
        for (int32_t k = 0; k < depth; k++) {
            values[i * depth + k] = random_graph_range(r, 0, in.shape[axis + k] - 1);
        }
    }
    for (int32_t i = 0; i < axis; i++) {
        out[rank++] = in.shape[i];
    }
    out[rank++] = picks;
    for (int32_t i = axis + depth; i < in.rank; i++) {
        out[rank++] = in.shape[i];
    }
    if (!random_graph_fits(rank, out)) {
        return false;
    }
    const int32_t pairs[2] = {picks, depth};
    const int32_t inputs[2] = {input, code == SYSTOLE_OP_GATHER ? random_graph_vector(r, picks, values)
                                                                : random_graph_integers(r, 2, pairs, values)};
    int32_t output = random_graph_like(r, input, rank, out);
    random_graph_operator(r, code, 2, inputs, 1, &output)->options.axis =
        code != SYSTOLE_OP_GATHER ? 0 : axis - (random_graph_one_in(r, 3) ? in.rank : 0);
    return true;
}

bool random_graph_shape(struct random_graph *r, int32_t code) {
    int32_t input = random_graph_pick(r, 1, 5);
    if (input < 0) {
        return false;
    }
    int32_t rank = random_graph_tensor(r, input)->rank;
    int32_t output = build_tensor(r->graph, SYSTOLE_INT32, 1, &rank);
    random_graph_operator(r, code, 1, &input, 1, &output)->options.output_type = SYSTOLE_INT32;
    return true;
}
