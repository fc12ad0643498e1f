// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The steps of a random graph that compute. Tensors move when one is added: what is needed of them is copied before.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "build_graph.h"
#include "random_graph.h"

static enum systole_activation any_activation(struct random_graph *r) {
    return (enum systole_activation)(random_graph_one_in(r, 2) ? random_graph_range(r, 0, 3) : 0);
}

// Kernel, stride and dilation of one axis such that VALID leaves something.
static void any_axis(struct random_graph *r, int32_t extent, bool dilates, int32_t *kernel, int32_t *stride,
                     int32_t *dilation) {
    int32_t widest = random_graph_one_in(r, 8) ? 9 : 4;
    *kernel = random_graph_range(r, 1, widest);
    *stride = random_graph_one_in(r, 2) ? 1 : random_graph_range(r, 1, 4);
    *dilation = dilates && random_graph_one_in(r, 4) ? random_graph_range(r, 2, 3) : 1;
    if ((*kernel - 1) * *dilation + 1 > extent && random_graph_one_in(r, 2)) {
        *kernel = 1;
    }
}

static bool window_fits(const struct build_window *w, const struct systole_tensor *in) {
    return w->padding == SYSTOLE_PADDING_SAME ||
           ((w->height - 1) * w->dilation_h < in->shape[1] && (w->width - 1) * w->dilation_w < in->shape[2]);
}

// Some accumulators go to the end of 32 bits.
static void strain_bias(struct random_graph *r) {
    const struct systole_operator *op = &r->graph->operators[r->graph->operator_count - 1];
    if (op->input_count > 2 && op->inputs[2] >= 0 && random_graph_one_in(r, 8)) {
        const struct systole_tensor *bias = random_graph_tensor(r, op->inputs[2]);
        int32_t value = random_graph_one_in(r, 2) ? 1 << 30 : -(1 << 30);
        memcpy(bias->data + bias->size - sizeof value, &value, sizeof value);
    }
}

bool random_graph_window(struct random_graph *r, int32_t code) {
    static const int32_t channels[] = {1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 40};
    int32_t input = random_graph_pick(r, 4, 4);
    if (input < 0) {
        return false;
    }
    struct systole_tensor in = *random_graph_tensor(r, input);
    bool pools = code == SYSTOLE_OP_AVERAGE_POOL_2D || code == SYSTOLE_OP_MAX_POOL_2D;
    struct build_window w = {.padding = random_graph_one_in(r, 2) ? SYSTOLE_PADDING_SAME : SYSTOLE_PADDING_VALID,
                             .activation = any_activation(r),
                             .has_bias = !random_graph_one_in(r, 5),
                             .per_channel = !random_graph_one_in(r, 4)};
    any_axis(r, in.shape[1], !pools, &w.height, &w.stride_h, &w.dilation_h);
    any_axis(r, in.shape[2], !pools, &w.width, &w.stride_w, &w.dilation_w);
    if (code != SYSTOLE_OP_DEPTHWISE_CONV_2D && random_graph_one_in(r, 4)) {
        w.height = w.width = w.dilation_h = w.dilation_w = 1;
    }
    w.channels = in.shape[3];
    if (code == SYSTOLE_OP_CONV_2D) {
        w.channels = channels[random_graph_range(r, 0, (int32_t)(sizeof channels / sizeof *channels) - 1)];
    } else if (code == SYSTOLE_OP_DEPTHWISE_CONV_2D && random_graph_one_in(r, 4)) {
        w.channels *= random_graph_range(r, 1, 4);
    }
    int32_t out[4] = {in.shape[0], systole_output_extent(w.padding, in.shape[1], w.height, w.stride_h, w.dilation_h),
                      systole_output_extent(w.padding, in.shape[2], w.width, w.stride_w, w.dilation_w), w.channels};
    if (!window_fits(&w, &in) || !random_graph_fits(4, out)) {
        return false;
    }
    if (code == SYSTOLE_OP_CONV_2D) {
        build_conv(r->graph, input, &w, &r->random);
        strain_bias(r);
    } else if (code == SYSTOLE_OP_DEPTHWISE_CONV_2D) {
        build_depthwise(r->graph, input, &w, &r->random);
        strain_bias(r);
    } else {
        build_pool(r->graph, code, input, &w);
    }
    return true;
}

// The weights and bias of a convolution once more, on another input of the same channels.
bool random_graph_shared_convolution(struct random_graph *r, int32_t code) {
    for (uint32_t o = 0; o < r->graph->operator_count; o++) {
        const struct systole_operator *op = &r->graph->operators[o];
        int32_t input = random_graph_pick(r, 4, 4);
        if (op->code != code || input < 0 || op->inputs[0] == input) {
            continue;
        }
        const struct systole_tensor *in = random_graph_tensor(r, input), *first = random_graph_tensor(r, op->inputs[0]);
        const struct systole_tensor *weights = random_graph_tensor(r, op->inputs[1]);
        const struct systole_options options = op->options;
        const int32_t inputs[3] = {input, op->inputs[1], op->input_count > 2 ? op->inputs[2] : -1};
        uint32_t count = op->input_count;
        int32_t out[4] = {in->shape[0],
                          systole_output_extent(options.padding, in->shape[1], weights->shape[1], options.stride_h,
                                                options.dilation_h),
                          systole_output_extent(options.padding, in->shape[2], weights->shape[2], options.stride_w,
                                                options.dilation_w),
                          weights->shape[0]};
        struct build_window w = {.height = weights->shape[1],
                                 .width = weights->shape[2],
                                 .dilation_h = options.dilation_h,
                                 .dilation_w = options.dilation_w,
                                 .padding = options.padding};
        if (in->dtype != first->dtype || in->shape[3] != first->shape[3] || !window_fits(&w, in) ||
            !random_graph_fits(4, out)) {
            continue;
        }
        float scale =
            random_graph_scale(r, op->outputs[0]) * random_graph_scale(r, input) / random_graph_scale(r, op->inputs[0]);
        int32_t output = random_graph_scaled(r, in->dtype, 4, out, scale);
        random_graph_operator(r, code, count, inputs, 1, &output)->options = options;
        return true;
    }
    return false;
}

bool random_graph_fully_connected(struct random_graph *r, int32_t code) {
    (void)code;
    int32_t input = random_graph_pick(r, 1, 4);
    if (input < 0) {
        return false;
    }
    const struct systole_tensor *in = random_graph_tensor(r, input);
    int32_t last = in->shape[in->rank - 1], elements = (int32_t)systole_tensor_elements(in);
    bool keeps = in->rank > 1 && random_graph_one_in(r, 3);
    int32_t depth = keeps || random_graph_one_in(r, 2) ? last : elements / (in->rank > 1 ? in->shape[0] : 1);
    int32_t units = random_graph_range(r, 1, 40), shape[2] = {elements / depth, units};
    if (!random_graph_fits(2, shape) || depth * units > 40000) {
        return false;
    }
    build_fully_connected(r->graph, input, depth, units, keeps, &r->random);
    struct systole_operator *op = &r->graph->operators[r->graph->operator_count - 1];
    op->options.activation = any_activation(r);
    strain_bias(r);
    return true;
}

bool random_graph_transpose_convolution(struct random_graph *r, int32_t code) {
    int32_t input = random_graph_pick(r, 4, 4);
    if (input < 0) {
        return false;
    }
    struct systole_tensor in = *random_graph_tensor(r, input);
    bool same = random_graph_one_in(r, 2);
    int32_t stride[2], weight_shape[4] = {random_graph_range(r, 1, 18), 1, 1, in.shape[3]};
    int32_t out[4] = {in.shape[0], 1, 1, weight_shape[0]};
    for (int32_t axis = 1; axis <= 2; axis++) {
        stride[axis - 1] = random_graph_range(r, 1, 3);
        weight_shape[axis] = random_graph_range(r, 1, 4);
        int32_t beyond = weight_shape[axis] > stride[axis - 1] ? weight_shape[axis] - stride[axis - 1] : 0;
        out[axis] = in.shape[axis] * stride[axis - 1] + (same ? 0 : beyond);
    }
    if (!random_graph_fits(4, out) || !random_graph_fits(4, weight_shape)) {
        return false;
    }
    int32_t shape = random_graph_vector(r, 4, out);
    int32_t weights = random_graph_exact(r, in.dtype, 4, weight_shape, 0.004F,
                                         in.dtype == SYSTOLE_UINT8 ? random_graph_range(r, 0, 255) : 0);
    random_graph_fix(r, weights);
    int32_t biases[18];
    for (int32_t i = 0; i < weight_shape[0]; i++) {
        biases[i] = random_graph_range(r, -20000, 20000);
    }
    int32_t bias = build_constant(r->graph, SYSTOLE_INT32, 1, &weight_shape[0], biases);
    float depth = (float)(weight_shape[3] * weight_shape[1] * weight_shape[2]);
    int32_t output = random_graph_scaled(r, in.dtype, 4, out, random_graph_scale(r, input) * 0.3F * sqrtf(depth));
    const int32_t inputs[4] = {shape, weights, input, bias};
    struct systole_operator *op = random_graph_operator(r, code, random_graph_one_in(r, 3) ? 3 : 4, inputs, 1, &output);
    op->version = 3;
    op->options.stride_h = stride[0];
    op->options.stride_w = stride[1];
    op->options.padding = same ? SYSTOLE_PADDING_SAME : SYSTOLE_PADDING_VALID;
    op->options.activation = any_activation(r);
    return true;
}

// A second operand for `first`: another tensor that broadcasts with it, or a constant. `out` receives the output's
// rank and shape. `same`: it has the first's quantisation. `narrow`: it may only be a constant broadcast to the first.
static int32_t second_operand(struct random_graph *r, int32_t first, bool same, bool narrow, int32_t *rank,
                              int32_t *out) {
    struct systole_tensor a = *random_graph_tensor(r, first);
    *rank = a.rank;
    memcpy(out, a.shape, sizeof a.shape);
    for (int32_t tries = narrow || random_graph_one_in(r, 4) ? 6 : 0; tries < 6; tries++) {
        int32_t second = random_graph_pick(r, 0, 6);
        const struct systole_tensor *b = random_graph_tensor(r, second);
        bool fits = b->dtype == a.dtype;
        int32_t longest = a.rank > b->rank ? a.rank : b->rank;
        for (int32_t i = 1; i <= longest && fits; i++) {
            int32_t x = i <= a.rank ? a.shape[a.rank - i] : 1, y = i <= b->rank ? b->shape[b->rank - i] : 1;
            fits = x == y || x == 1 || y == 1;
            out[longest - i] = x > y ? x : y;
        }
        *rank = longest;
        bool alike = b->quantisation.scale[0] == a.quantisation.scale[0] &&
                     b->quantisation.zero_point[0] == a.quantisation.zero_point[0];
        if (fits && random_graph_fits(longest, out) && (alike || !same)) {
            return second;
        }
    }
    *rank = a.rank;
    memcpy(out, a.shape, sizeof a.shape);
    int32_t shape[SYSTOLE_MAX_RANK], left = random_graph_one_in(r, 3) ? random_graph_range(r, 0, a.rank) : 0;
    for (int32_t i = 0; i < a.rank; i++) {
        shape[i] = random_graph_one_in(r, 3) ? 1 : a.shape[i];
    }
    int32_t constant = same ? random_graph_like(r, first, a.rank - left, shape + left)
                            : random_graph_scaled(r, a.dtype, a.rank - left, shape + left,
                                                  narrow ? 0.01F : random_graph_scale(r, first));
    random_graph_fix(r, constant);
    return constant;
}

static struct systole_operator *add_binary(struct random_graph *r, int32_t code, int32_t first, int32_t second,
                                           int32_t output) {
    bool swaps = code != SYSTOLE_OP_PRELU && random_graph_one_in(r, 3);
    const int32_t inputs[2] = {swaps ? second : first, swaps ? first : second};
    return random_graph_operator(r, code, 2, inputs, 1, &output);
}

bool random_graph_binary(struct random_graph *r, int32_t code) {
    int32_t first = random_graph_pick(r, 1, 5), rank, out[SYSTOLE_MAX_RANK];
    if (first < 0) {
        return false;
    }
    enum systole_dtype dtype = random_graph_tensor(r, first)->dtype;
    int32_t second = second_operand(r, first, false, code == SYSTOLE_OP_PRELU, &rank, out);
    float a = random_graph_scale(r, first), b = random_graph_scale(r, second), larger = a > b ? a : b;
    float scale = code == SYSTOLE_OP_MUL                  ? a * b * 60.0F
                  : code == SYSTOLE_OP_SQUARED_DIFFERENCE ? larger * larger * 200.0F
                  : code == SYSTOLE_OP_PRELU              ? a
                                                          : larger * 1.5F;
    struct systole_operator *op = add_binary(r, code, first, second, random_graph_scaled(r, dtype, rank, out, scale));
    if (code == SYSTOLE_OP_ADD || code == SYSTOLE_OP_SUB || code == SYSTOLE_OP_MUL) {
        op->options.activation = any_activation(r);
    }
    return true;
}

bool random_graph_same_scale_binary(struct random_graph *r, int32_t code) {
    int32_t first = random_graph_pick(r, 1, 5), rank, out[SYSTOLE_MAX_RANK];
    if (first < 0) {
        return false;
    }
    int32_t second = second_operand(r, first, true, false, &rank, out);
    add_binary(r, code, first, second, random_graph_like(r, first, rank, out));
    return true;
}

// A comparison, and a choice between two tensors by it.
bool random_graph_compare(struct random_graph *r, int32_t code) {
    int32_t first = random_graph_pick(r, 1, 5), rank, out[SYSTOLE_MAX_RANK], other_rank, other[SYSTOLE_MAX_RANK];
    if (first < 0) {
        return false;
    }
    int32_t second = second_operand(r, first, false, false, &rank, out);
    int32_t condition = build_tensor(r->graph, SYSTOLE_BOOL, rank, out);
    add_binary(r, code, first, second, condition);
    int32_t a = second_operand(r, first, true, true, &other_rank, other);
    if (random_graph_one_in(r, 3)) {
        return true; // the condition is an output
    }
    const int32_t inputs[3] = {condition, first, a};
    int32_t output = random_graph_like(r, first, rank, out);
    random_graph_operator(r, SYSTOLE_OP_SELECT_V2, 3, inputs, 1, &output);
    return true;
}

bool random_graph_unary(struct random_graph *r, int32_t code) {
    int32_t input = random_graph_pick(r, 1, 5);
    if (input < 0) {
        return false;
    }
    struct systole_tensor in = *random_graph_tensor(r, input);
    float scale = random_graph_scale(r, input);
    int32_t output;
    if (code == SYSTOLE_OP_HARD_SWISH) { // the kernel wants at least 1/128 of the input's scale
        output =
            random_graph_exact(r, in.dtype, in.rank, in.shape, scale * (float)random_graph_range(r, 2, 300) / 100.0F,
                               random_graph_range(r, in.dtype == SYSTOLE_UINT8 ? 0 : -128, 127));
    } else {
        output = random_graph_scaled(r, in.dtype, in.rank, in.shape, code == SYSTOLE_OP_RSQRT ? 0.05F : scale);
    }
    struct systole_operator *op = random_graph_operator(r, code, 1, &input, 1, &output);
    if (code == SYSTOLE_OP_LEAKY_RELU) {
        op->options.alpha = (float)random_graph_range(r, -50, 150) / 100.0F;
    }
    return true;
}

// Operators whose output's quantisation is given by the format.
bool random_graph_fixed_unary(struct random_graph *r, int32_t code) {
    int32_t input = random_graph_pick(r, 1, 5);
    if (input < 0 || (code == SYSTOLE_OP_LOG_SOFTMAX && random_graph_tensor(r, input)->dtype != SYSTOLE_INT8)) {
        return false;
    }
    struct systole_tensor in = *random_graph_tensor(r, input);
    bool middle = code == SYSTOLE_OP_TANH || code == SYSTOLE_OP_L2_NORMALIZATION;
    float scale = code == SYSTOLE_OP_LOG_SOFTMAX ? 16.0F / 256.0F : middle ? 1.0F / 128.0F : 1.0F / 256.0F;
    int32_t zero_point = code == SYSTOLE_OP_LOG_SOFTMAX ? 127 : middle ? 0 : -128;
    int32_t output =
        random_graph_exact(r, in.dtype, in.rank, in.shape, scale, zero_point + (in.dtype == SYSTOLE_UINT8 ? 128 : 0));
    struct systole_operator *op = random_graph_operator(r, code, 1, &input, 1, &output);
    op->options.beta = random_graph_one_in(r, 2) ? 1.0F : (float)random_graph_range(r, 1, 300) / 100.0F;
    return true;
}

// DEQUANTIZE, one or two operators in float32, QUANTIZE; or a cast there and back.
bool random_graph_float_chain(struct random_graph *r, int32_t code) {
    int32_t input = random_graph_pick(r, 1, 5);
    if (input < 0) {
        return false;
    }
    struct systole_tensor in = *random_graph_tensor(r, input);
    int32_t real = build_tensor(r->graph, SYSTOLE_FLOAT32, in.rank, in.shape);
    random_graph_operator(r, SYSTOLE_OP_DEQUANTIZE, 1, &input, 1, &real);
    int32_t middle =
        build_tensor(r->graph, code == SYSTOLE_OP_CAST ? SYSTOLE_INT32 : SYSTOLE_FLOAT32, in.rank, in.shape);
    struct systole_operator *op = random_graph_operator(r, code, 1, &real, 1, &middle);
    if (code == SYSTOLE_OP_CAST) {
        op->options.input_type = SYSTOLE_FLOAT32;
        op->options.output_type = SYSTOLE_INT32;
        op->options_type = 37; // BuiltinOptions_CastOptions
        int32_t back = build_tensor(r->graph, SYSTOLE_FLOAT32, in.rank, in.shape);
        op = random_graph_operator(r, code, 1, &middle, 1, &back);
        op->options.input_type = SYSTOLE_INT32;
        op->options.output_type = SYSTOLE_FLOAT32;
        op->options_type = 37;
        middle = back;
    }
    int32_t output = random_graph_scaled(r, in.dtype, in.rank, in.shape, random_graph_scale(r, input));
    random_graph_operator(r, SYSTOLE_OP_QUANTIZE, 1, &middle, 1, &output);
    return true;
}

bool random_graph_quantise(struct random_graph *r, int32_t code) {
    int32_t input = random_graph_pick(r, 1, 5);
    if (input < 0) {
        return false;
    }
    struct systole_tensor in = *random_graph_tensor(r, input);
    enum systole_dtype dtype = !random_graph_one_in(r, 3)  ? in.dtype
                               : in.dtype == SYSTOLE_UINT8 ? SYSTOLE_INT8
                                                           : SYSTOLE_UINT8;
    int32_t output = random_graph_scaled(r, dtype, in.rank, in.shape, random_graph_scale(r, input));
    random_graph_operator(r, code, 1, &input, 1, &output);
    return true;
}

bool random_graph_reduce(struct random_graph *r, int32_t code) {
    int32_t input = random_graph_pick(r, 2, 4);
    if (input < 0) {
        return false;
    }
    struct systole_tensor in = *random_graph_tensor(r, input);
    bool keeps = random_graph_one_in(r, 2), is_plane = in.rank == 4 && !random_graph_one_in(r, 3);
    int32_t axes[SYSTOLE_MAX_RANK], count = 0, rank = 0, out[SYSTOLE_MAX_RANK];
    for (int32_t i = 0; i < in.rank; i++) {
        bool reduced = is_plane ? (i == 1 || i == 2) && !random_graph_one_in(r, 5) : random_graph_one_in(r, 2);
        if (reduced) {
            axes[count++] = random_graph_one_in(r, 4) ? i - in.rank : i;
        }
        if (!reduced || keeps) {
            out[rank++] = reduced ? 1 : in.shape[i];
        }
    }
    if (count == 0 || rank == 0) {
        return false;
    }
    bool same = code == SYSTOLE_OP_REDUCE_MAX || code == SYSTOLE_OP_REDUCE_MIN;
    const int32_t inputs[2] = {input, random_graph_vector(r, count, axes)};
    int32_t output = same ? random_graph_like(r, input, rank, out)
                          : random_graph_scaled(r, in.dtype, rank, out,
                                                random_graph_scale(r, input) * (code == SYSTOLE_OP_SUM ? 3.0F : 0.7F));
    random_graph_operator(r, code, 2, inputs, 1, &output)->options.keep_dims = keeps;
    return true;
}

bool random_graph_matmul(struct random_graph *r, int32_t code) {
    int32_t input = random_graph_pick(r, 2, 4);
    if (input < 0 || random_graph_tensor(r, input)->dtype != SYSTOLE_INT8) {
        return false;
    }
    struct systole_tensor in = *random_graph_tensor(r, input);
    bool adjoint_x = random_graph_one_in(r, 3), adjoint_y = random_graph_one_in(r, 3);
    int32_t rows = in.shape[in.rank - (adjoint_x ? 1 : 2)], depth = in.shape[in.rank - (adjoint_x ? 2 : 1)];
    int32_t columns = random_graph_range(r, 1, 12), out[SYSTOLE_MAX_RANK], y_shape[SYSTOLE_MAX_RANK];
    for (int32_t i = 0; i < in.rank; i++) {
        out[i] = in.shape[i];
        y_shape[i] = random_graph_one_in(r, 2) ? 1 : in.shape[i];
    }
    out[in.rank - 2] = rows;
    out[in.rank - 1] = columns;
    y_shape[in.rank - 2] = adjoint_y ? columns : depth;
    y_shape[in.rank - 1] = adjoint_y ? depth : columns;
    if (!random_graph_fits(in.rank, out) || !random_graph_fits(in.rank, y_shape)) {
        return false;
    }
    int32_t y = random_graph_scaled(r, in.dtype, in.rank, y_shape, 0.02F);
    if (random_graph_one_in(r, 2)) {
        random_graph_fix(r, y);
    } else {
        build_input(r->graph, y);
    }
    float scale = random_graph_scale(r, input) * random_graph_scale(r, y) * 60.0F * sqrtf((float)depth);
    int32_t output = random_graph_scaled(r, in.dtype, in.rank, out, scale);
    const int32_t inputs[2] = {input, y};
    struct systole_operator *op = random_graph_operator(r, code, 2, inputs, 1, &output);
    op->options.adjoint_x = adjoint_x;
    op->options.adjoint_y = adjoint_y;
    return true;
}

// With a state, which begins at 0.
bool random_graph_svdf(struct random_graph *r, int32_t code) {
    int32_t input = random_graph_pick(r, 2, 2);
    if (input < 0 || random_graph_tensor(r, input)->dtype != SYSTOLE_INT8) {
        return false;
    }
    struct systole_tensor in = *random_graph_tensor(r, input);
    int32_t rank = random_graph_range(r, 1, 3), units = random_graph_range(r, 1, 9), filters = units * rank;
    int32_t memory = random_graph_range(r, 1, 5), features_shape[2] = {filters, in.shape[1]};
    int32_t time_shape[2] = {filters, memory}, state_shape[2] = {in.shape[0], filters * memory};
    int32_t out[2] = {in.shape[0], units}, biases[9];
    if (!random_graph_fits(2, features_shape) || !random_graph_fits(2, state_shape)) {
        return false;
    }
    enum systole_dtype dtype = random_graph_one_in(r, 2) ? SYSTOLE_INT16 : SYSTOLE_INT8;
    int32_t features = random_graph_exact(r, SYSTOLE_INT8, 2, features_shape, 0.004F, 0);
    random_graph_fix(r, features);
    int32_t time = random_graph_exact(r, dtype, 2, time_shape, dtype == SYSTOLE_INT16 ? 0.0001F : 0.01F, 0);
    random_graph_fix(r, time);
    float scale = random_graph_scale(r, input) * (dtype == SYSTOLE_INT16 ? 0.01F : 1.0F);
    int32_t state = random_graph_exact(r, dtype, 2, state_shape, scale, 0);
    r->graph->tensors[state].is_variable = true;
    for (int32_t i = 0; i < units; i++) {
        biases[i] = random_graph_range(r, -20000, 20000);
    }
    int32_t bias = random_graph_one_in(r, 3) ? -1 : random_graph_vector(r, units, biases);
    int32_t output = random_graph_scaled(r, SYSTOLE_INT8, 2, out, random_graph_scale(r, input));
    const int32_t inputs[5] = {input, features, time, bias, state};
    struct systole_operator *op = random_graph_operator(r, code, 5, inputs, 1, &output);
    op->options.svdf_rank = rank;
    bool from_least = random_graph_tensor(r, output)->quantisation.zero_point[0] == -128;
    op->options.activation = from_least ? SYSTOLE_ACTIVATION_RELU : SYSTOLE_ACTIVATION_NONE;
    return true;
}

bool random_graph_best(struct random_graph *r, int32_t code) {
    int32_t input = random_graph_pick(r, 2, 5);
    if (input < 0) {
        return false;
    }
    struct systole_tensor in = *random_graph_tensor(r, input);
    int32_t axis = random_graph_one_in(r, 2) ? in.rank - 1 : random_graph_range(r, 0, in.rank - 1), rank = 0;
    int32_t out[SYSTOLE_MAX_RANK];
    for (int32_t i = 0; i < in.rank; i++) {
        if (i != axis) {
            out[rank++] = in.shape[i];
        }
    }
    const int32_t inputs[2] = {input, random_graph_integers(r, 0, &axis, &axis)};
    int32_t output = build_tensor(r->graph, random_graph_one_in(r, 3) ? SYSTOLE_INT64 : SYSTOLE_INT32, rank, out);
    enum systole_dtype dtype = random_graph_tensor(r, output)->dtype;
    random_graph_operator(r, code, 2, inputs, 1, &output)->options.output_type = dtype;
    return true;
}
