// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Every reason for which an operator stays on the CPU, one row each: check, stable code, text, remedy. Rows are tried
// in order, so that a check may rely on those before it. Rows without a check are raised by later passes by their code.
#include <math.h>
#include <string.h>

#include "movement.h"
#include "quantised_tables.h"

// What violated a row: a tensor (-1: none), and a value with its limit where there is one.
struct finding {
    int32_t tensor;
    int64_t value, limit;
};

struct restriction {
    bool (*violated)(const struct compilation *, const struct systole_operator *, struct finding *);
    const char *code, *text, *remedy;
};

static const struct systole_tensor *tensor_of(const struct compilation *c, int32_t index) {
    return &c->graph->tensors[index];
}

static bool is_weighted(const struct systole_operator *op) {
    return op->code == SYSTOLE_OP_CONV_2D || op->code == SYSTOLE_OP_DEPTHWISE_CONV_2D ||
           op->code == SYSTOLE_OP_FULLY_CONNECTED || op->code == SYSTOLE_OP_TRANSPOSE_CONV;
}

static bool is_transposed(const struct systole_operator *op) {
    return op->code == SYSTOLE_OP_TRANSPOSE_CONV;
}

// The bias of a weighted operator; -1: none.
static int32_t bias_of(const struct systole_operator *op) {
    uint32_t index = is_transposed(op) ? 3 : 2;
    return op->input_count > index ? op->inputs[index] : -1;
}

static bool is_convolution(const struct systole_operator *op) {
    return op->code == SYSTOLE_OP_CONV_2D || op->code == SYSTOLE_OP_DEPTHWISE_CONV_2D;
}

static bool is_pool(const struct systole_operator *op) {
    return op->code == SYSTOLE_OP_AVERAGE_POOL_2D || op->code == SYSTOLE_OP_MAX_POOL_2D;
}

static bool is_rescale(const struct systole_operator *op) {
    return op->code == SYSTOLE_OP_QUANTIZE || op->code == SYSTOLE_OP_RELU || op->code == SYSTOLE_OP_RELU6 ||
           op->code == SYSTOLE_OP_RELU_N1_TO_1;
}

static bool is_pad(const struct systole_operator *op) {
    return op->code == SYSTOLE_OP_PAD || op->code == SYSTOLE_OP_PADV2;
}

static bool is_reduction(const struct systole_operator *op) {
    return op->code == SYSTOLE_OP_MEAN || op->code == SYSTOLE_OP_SUM || op->code == SYSTOLE_OP_REDUCE_MAX ||
           op->code == SYSTOLE_OP_REDUCE_MIN;
}

bool restrictions_is_comparison(const struct systole_operator *op) {
    return op->code == SYSTOLE_OP_LESS || op->code == SYSTOLE_OP_LESS_EQUAL || op->code == SYSTOLE_OP_GREATER ||
           op->code == SYSTOLE_OP_GREATER_EQUAL || op->code == SYSTOLE_OP_NOT_EQUAL;
}

bool restrictions_is_pair(const struct systole_operator *op) {
    return restrictions_is_comparison(op) || op->code == SYSTOLE_OP_ADD || op->code == SYSTOLE_OP_SUB ||
           op->code == SYSTOLE_OP_MUL || op->code == SYSTOLE_OP_MAXIMUM || op->code == SYSTOLE_OP_MINIMUM ||
           op->code == SYSTOLE_OP_SQUARED_DIFFERENCE || op->code == SYSTOLE_OP_PRELU;
}

static bool is_view(const struct systole_operator *op) {
    return op->code == SYSTOLE_OP_RESHAPE || op->code == SYSTOLE_OP_SQUEEZE || op->code == SYSTOLE_OP_EXPAND_DIMS;
}

bool restrictions_is_movement(const struct systole_operator *op) {
    static const int32_t codes[] = {
        SYSTOLE_OP_CONCATENATION,
        SYSTOLE_OP_PACK,
        SYSTOLE_OP_UNPACK,
        SYSTOLE_OP_SPLIT,
        SYSTOLE_OP_SPLIT_V,
        SYSTOLE_OP_SLICE,
        SYSTOLE_OP_STRIDED_SLICE,
        SYSTOLE_OP_MIRROR_PAD,
        SYSTOLE_OP_TRANSPOSE,
        SYSTOLE_OP_TILE,
        SYSTOLE_OP_SPACE_TO_DEPTH,
        SYSTOLE_OP_DEPTH_TO_SPACE,
        SYSTOLE_OP_SPACE_TO_BATCH_ND,
        SYSTOLE_OP_GATHER,
        SYSTOLE_OP_BATCH_TO_SPACE_ND,
        SYSTOLE_OP_GATHER_ND,
        SYSTOLE_OP_RESIZE_NEAREST_NEIGHBOR,
        SYSTOLE_OP_RESIZE_BILINEAR,
    };
    bool found = is_pad(op) || is_view(op);
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        found = found || op->code == codes[i];
    }
    return found;
}

// Operands that are activations; the others are constants with checks of their own.
static uint32_t activation_count(const struct systole_operator *op) {
    bool all = op->code == SYSTOLE_OP_CONCATENATION || op->code == SYSTOLE_OP_PACK;
    return all ? op->input_count : restrictions_is_pair(op) ? 2 : 1;
}

// An activation's tensor; that of an operator on single elements is what its chain reads.
static int32_t activation(const struct compilation *c, const struct systole_operator *op, uint32_t i) {
    uint32_t chain[IR_CHAIN_LIMIT];
    if (systole_operator_is_unary(op->code) && chain_find(c->graph, (uint32_t)(op - c->graph->operators), chain) > 0) {
        return c->graph->operators[chain[0]].inputs[0];
    }
    return op->inputs[movement_data_input(op) + i];
}

static bool find(struct finding *finding, int32_t tensor, int64_t value, int64_t limit) {
    *finding = (struct finding){tensor, value, limit};
    return true;
}

static bool softmax(const struct compilation *c, const struct systole_operator *op, struct finding *f) {
    (void)c;
    return (op->code == SYSTOLE_OP_SOFTMAX || op->code == SYSTOLE_OP_LOG_SOFTMAX) && op->output_count > 0 &&
           find(f, op->outputs[0], 0, 0);
}

static bool operator_unknown(const struct compilation *c, const struct systole_operator *op, struct finding *f) {
    (void)c;
    bool known = is_weighted(op) || is_pool(op) || is_rescale(op) || is_reduction(op) || restrictions_is_pair(op) ||
                 restrictions_is_movement(op) || systole_operator_is_unary(op->code);
    return !known && find(f, op->output_count > 0 ? op->outputs[0] : -1, 0, 0);
}

static bool operands_missing(const struct compilation *c, const struct systole_operator *op, struct finding *f) {
    (void)c;
    bool two =
        is_weighted(op) || is_pad(op) || restrictions_is_pair(op) || is_reduction(op) || op->code == SYSTOLE_OP_SPLIT;
    uint32_t needed = is_transposed(op) ? 3 : two ? 2 : activation_count(op);
    bool missing = op->output_count < 1 || op->input_count < needed || needed < 1 ||
                   (op->output_count != 1 && !restrictions_is_movement(op));
    for (uint32_t i = 0; i < needed && !missing; i++) {
        missing = op->inputs[i] < 0;
    }
    return missing && find(f, -1, op->input_count, needed);
}

static bool type_other(const struct compilation *c, const struct systole_operator *op, struct finding *f) {
    for (uint32_t i = 0; i < activation_count(op); i++) {
        if (!ir_is_eight_bit(tensor_of(c, activation(c, op, i)))) {
            return find(f, activation(c, op, i), 0, 0);
        }
    }
    for (uint32_t i = 0; i < op->output_count; i++) {
        bool is_truth = restrictions_is_comparison(op) && op->outputs[i] >= 0 &&
                        tensor_of(c, op->outputs[i])->dtype == SYSTOLE_BOOL;
        if (op->outputs[i] < 0 || (!is_truth && !ir_is_eight_bit(tensor_of(c, op->outputs[i])))) {
            return find(f, op->outputs[i], 0, 0);
        }
    }
    return false;
}

static bool types_differ(const struct compilation *c, const struct systole_operator *op, struct finding *f) {
    if (systole_operator_is_unary(op->code)) {
        return false;
    }
    int32_t like = restrictions_is_comparison(op) ? op->inputs[0] : op->outputs[0];
    for (uint32_t i = 0; i < activation_count(op); i++) {
        if (tensor_of(c, activation(c, op, i))->dtype != tensor_of(c, like)->dtype) {
            return find(f, activation(c, op, i), 0, 0);
        }
    }
    return is_weighted(op) && tensor_of(c, op->inputs[1])->dtype != tensor_of(c, op->outputs[0])->dtype &&
           find(f, op->inputs[1], 0, 0);
}

static bool input_constant(const struct compilation *c, const struct systole_operator *op, struct finding *f) {
    bool all = true;
    for (uint32_t i = 0; i < activation_count(op); i++) {
        all = all && tensor_of(c, activation(c, op, i))->data != NULL;
    }
    return all && find(f, activation(c, op, 0), 0, 0);
}

static bool quantisation_missing(const struct compilation *c, const struct systole_operator *op, struct finding *f) {
    if (restrictions_is_movement(op) || systole_operator_is_unary(op->code)) {
        return false; // bytes, or checked with the table
    }
    uint32_t index = (uint32_t)(op - c->graph->operators);
    float scale;
    int32_t zero_point;
    for (uint32_t i = 0; i < activation_count(op); i++) {
        int32_t tensor = activation(c, op, i);
        if (systole_tensor_affine(c->graph, index, tensor, "input", &scale, &zero_point, NULL) != SYSTOLE_OK) {
            return find(f, tensor, tensor_of(c, tensor)->quantisation.count, 1);
        }
    }
    return !restrictions_is_comparison(op) &&
           systole_tensor_affine(c->graph, index, op->outputs[0], "output", &scale, &zero_point, NULL) != SYSTOLE_OK &&
           find(f, op->outputs[0], tensor_of(c, op->outputs[0])->quantisation.count, 1);
}

static bool rank_other(const struct compilation *c, const struct systole_operator *op, struct finding *f) {
    if (!is_convolution(op) && !is_transposed(op) && !is_pool(op)) {
        return false;
    }
    int32_t tensors[3] = {activation(c, op, 0), op->outputs[0], is_pool(op) ? op->outputs[0] : op->inputs[1]};
    for (uint32_t i = 0; i < 3; i++) {
        if (tensor_of(c, tensors[i])->rank != 4) {
            return find(f, tensors[i], tensor_of(c, tensors[i])->rank, 4);
        }
    }
    return false;
}

static bool weights_variable(const struct compilation *c, const struct systole_operator *op, struct finding *f) {
    if (!is_weighted(op)) {
        return false;
    }
    if (tensor_of(c, op->inputs[1])->data == NULL) {
        return find(f, op->inputs[1], 0, 0);
    }
    return bias_of(op) >= 0 && tensor_of(c, bias_of(op))->data == NULL && find(f, bias_of(op), 0, 0);
}

static bool weights_quantised_otherwise(const struct compilation *c, const struct systole_operator *op,
                                        struct finding *f) {
    if (!is_weighted(op)) {
        return false;
    }
    struct systole_convolution_parameters parameters;
    enum systole_status status =
        systole_convolution_parameters_derive(c->graph, (uint32_t)(op - c->graph->operators), &parameters, NULL);
    systole_convolution_parameters_free(&parameters);
    return status != SYSTOLE_OK && find(f, op->inputs[1], tensor_of(c, op->inputs[1])->quantisation.count, 1);
}

static bool bias_other(const struct compilation *c, const struct systole_operator *op, struct finding *f) {
    if (!is_weighted(op) || bias_of(op) < 0) {
        return false;
    }
    const struct systole_tensor *bias = tensor_of(c, bias_of(op));
    const struct systole_tensor *weights = tensor_of(c, op->inputs[1]);
    int32_t channels = weights->shape[op->code == SYSTOLE_OP_DEPTHWISE_CONV_2D ? weights->rank - 1 : 0];
    return (bias->dtype != SYSTOLE_INT32 || systole_tensor_elements(bias) != (size_t)channels) &&
           find(f, bias_of(op), (int64_t)systole_tensor_elements(bias), channels);
}

static bool activation_other(const struct compilation *c, const struct systole_operator *op, struct finding *f) {
    (void)c;
    return op->options.activation == SYSTOLE_ACTIVATION_TANH && find(f, op->outputs[0], 0, 0);
}

static bool grouped(const struct compilation *c, const struct systole_operator *op, struct finding *f) {
    if (op->code != SYSTOLE_OP_CONV_2D) {
        return false;
    }
    int32_t channels = tensor_of(c, op->inputs[0])->shape[3], depth = tensor_of(c, op->inputs[1])->shape[3];
    return channels != depth && find(f, op->inputs[1], depth, channels);
}

// Extents of an axis as the options say against what the file says.
static bool axis_differs(const struct systole_operator *op, int32_t input, int32_t output, int32_t filter,
                         int32_t stride, int32_t dilation) {
    return stride < 1 || dilation < 1 || filter < 1 ||
           output != systole_output_extent(op->options.padding, input, filter, stride, dilation);
}

static bool shape_inconsistent(const struct compilation *c, const struct systole_operator *op, struct finding *f) {
    const struct systole_tensor *in = tensor_of(c, activation(c, op, 0)), *out = tensor_of(c, op->outputs[0]);
    const struct systole_options *o = &op->options;
    bool bad = false;
    if (is_transposed(op)) {
        const struct systole_tensor *w = tensor_of(c, op->inputs[1]);
        bad = in->shape[0] != out->shape[0] || out->shape[3] != w->shape[0] || in->shape[3] != w->shape[3] ||
              w->shape[1] < 1 || w->shape[2] < 1 || o->stride_h < 1 || o->stride_w < 1;
    }
    if (is_convolution(op)) {
        const struct systole_tensor *w = tensor_of(c, op->inputs[1]);
        bool depthwise = op->code == SYSTOLE_OP_DEPTHWISE_CONV_2D;
        bad = in->shape[0] != out->shape[0] || out->shape[3] != w->shape[depthwise ? 3 : 0] ||
              (depthwise && (w->shape[0] != 1 || out->shape[3] % in->shape[3] != 0)) ||
              axis_differs(op, in->shape[1], out->shape[1], w->shape[1], o->stride_h, o->dilation_h) ||
              axis_differs(op, in->shape[2], out->shape[2], w->shape[2], o->stride_w, o->dilation_w);
    } else if (is_pool(op)) {
        bad = in->shape[0] != out->shape[0] || in->shape[3] != out->shape[3] ||
              axis_differs(op, in->shape[1], out->shape[1], o->filter_h, o->stride_h, 1) ||
              axis_differs(op, in->shape[2], out->shape[2], o->filter_w, o->stride_w, 1);
    } else if (is_view(op) || systole_operator_is_unary(op->code)) {
        bad = systole_tensor_elements(in) != systole_tensor_elements(out);
    }
    return bad && find(f, op->outputs[0], 0, 0);
}

static bool window_large(const struct compilation *c, const struct systole_operator *op, struct finding *f) {
    if (!is_convolution(op) && !is_transposed(op) && !is_pool(op)) {
        return false;
    }
    const struct systole_options *o = &op->options;
    const struct systole_tensor *w = is_pool(op) ? NULL : tensor_of(c, op->inputs[1]);
    int32_t sizes[6] = {w != NULL ? w->shape[1] : o->filter_h,
                        w != NULL ? w->shape[2] : o->filter_w,
                        o->stride_h,
                        o->stride_w,
                        o->dilation_h,
                        o->dilation_w};
    for (uint32_t i = 0; i < 6; i++) {
        if (sizes[i] > (int32_t)IR_WINDOW_LIMIT) {
            return find(f, w != NULL ? op->inputs[1] : op->inputs[0], sizes[i], IR_WINDOW_LIMIT);
        }
    }
    return false;
}

static bool extent_large(const struct compilation *c, const struct systole_operator *op, struct finding *f) {
    uint32_t activations = activation_count(op);
    for (uint32_t i = 0; i < activations + op->output_count; i++) {
        int32_t tensor = i < activations ? activation(c, op, i) : op->outputs[i - activations];
        struct extents e = ir_extents(tensor_of(c, tensor));
        uint32_t largest = e.height > e.width ? e.height : e.width;
        if (largest > IR_EXTENT_LIMIT) {
            return find(f, tensor, largest, IR_EXTENT_LIMIT);
        }
        uint64_t tile = (uint64_t)e.height * (e.width + c->target->banks); // rows may be spread over the banks
        if (tile > IR_STRIDE_LIMIT) {
            return find(f, tensor, (int64_t)tile, IR_STRIDE_LIMIT);
        }
        if (ir_divide_up(e.channels, c->target->columns) > IR_TILES_LIMIT) {
            return find(f, tensor, e.channels, (int64_t)IR_TILES_LIMIT * c->target->columns);
        }
    }
    return false;
}

static bool batch_large(const struct compilation *c, const struct systole_operator *op, struct finding *f) {
    if (!is_convolution(op) && !is_pool(op) && !is_reduction(op)) {
        return false;
    }
    const struct systole_tensor *in = tensor_of(c, op->inputs[0]);
    return in->rank == 4 && in->shape[0] > (int32_t)IR_IMAGES_LIMIT &&
           find(f, op->inputs[0], in->shape[0], IR_IMAGES_LIMIT);
}

static bool fully_connected_shape(const struct compilation *c, const struct systole_operator *op, struct finding *f) {
    if (op->code != SYSTOLE_OP_FULLY_CONNECTED) {
        return false;
    }
    const struct systole_tensor *w = tensor_of(c, op->inputs[1]);
    struct extents in = ir_extents(tensor_of(c, op->inputs[0])), out = ir_extents(tensor_of(c, op->outputs[0]));
    struct window window;
    return (w->rank != 2 || op->options.weights_format != 0 || out.channels != (uint32_t)w->shape[0] ||
            !ir_fully_connected_window(&in, &out, (uint32_t)w->shape[1], &window)) &&
           find(f, op->inputs[1], 0, 0);
}

// The dimension of an operand that lies under dimension `axis` (counted from the last, 0) of the output; absent: 1.
static int32_t dimension_from_last(const struct systole_tensor *tensor, int32_t axis) {
    return axis < tensor->rank ? tensor->shape[tensor->rank - 1 - axis] : 1;
}

static bool broadcast_other(const struct compilation *c, const struct systole_operator *op, struct finding *f) {
    if (!restrictions_is_pair(op)) {
        return false;
    }
    const struct systole_tensor *out = tensor_of(c, op->outputs[0]);
    for (uint32_t i = 0; i < 2; i++) {
        const struct systole_tensor *in = tensor_of(c, op->inputs[i]);
        bool same = true;
        for (int32_t axis = 0; axis < SYSTOLE_MAX_RANK; axis++) {
            int32_t have = dimension_from_last(in, axis), want = dimension_from_last(out, axis);
            if (have != want && have != 1) {
                return find(f, op->inputs[i], have, want);
            }
            same = same && have == want;
        }
        if (!same && (out->rank > 4 || (out->rank == 4 && out->shape[0] > (int32_t)IR_IMAGES_LIMIT))) {
            return find(f, op->inputs[i], out->rank, 4);
        }
    }
    return false;
}

static bool add_scale(const struct compilation *c, const struct systole_operator *op, struct finding *f) {
    if (op->code != SYSTOLE_OP_ADD) {
        return false;
    }
    struct systole_add_parameters p;
    if (systole_add_parameters_derive(c->graph, (uint32_t)(op - c->graph->operators), &p, NULL) != SYSTOLE_OK) {
        return find(f, op->outputs[0], 0, 0);
    }
    int32_t largest = p.input.shift > p.input2.shift ? p.input.shift : p.input2.shift;
    largest = p.output.shift > largest ? p.output.shift : largest;
    return largest > 0 && find(f, op->outputs[0], largest, 0);
}

// Differences of what is compared must fit int32; for NOT_EQUAL their squares, too.
static bool comparison_overflows(const struct systole_operator *op, const struct systole_add_parameters *p) {
    double first = ldexp((double)p->input.multiplier, p->input.shift - 31);
    double second = ldexp((double)p->input2.multiplier, p->input2.shift - 31);
    double largest = ldexp(255.0, p->left_shift) * (first + second) + 2.0;
    bool squares = op->code == SYSTOLE_OP_NOT_EQUAL;
    return restrictions_is_comparison(op) && largest > (squares ? 46340.0 : 1073741824.0);
}

static bool pair_parameters(const struct compilation *c, const struct systole_operator *op, struct finding *f) {
    struct systole_add_parameters p;
    return restrictions_is_pair(op) &&
           (systole_binary_parameters_derive(c->graph, (uint32_t)(op - c->graph->operators), &p, NULL) != SYSTOLE_OK ||
            comparison_overflows(op, &p)) &&
           find(f, op->outputs[0], 0, 0);
}

static bool table_other(const struct compilation *c, const struct systole_operator *op, struct finding *f) {
    uint32_t chain[IR_CHAIN_LIMIT], count = 0;
    uint8_t table[256];
    if (!systole_operator_is_unary(op->code)) {
        return false;
    }
    count = chain_find(c->graph, (uint32_t)(op - c->graph->operators), chain);
    return (count == 0 || systole_unary_table_derive(c->graph, chain, count, table, NULL) != SYSTOLE_OK) &&
           find(f, op->outputs[0], 0, 0);
}

// REDUCE_MAX and REDUCE_MIN compare bytes.
static bool scales_differ(const struct compilation *c, const struct systole_operator *op, struct finding *f) {
    if (op->code != SYSTOLE_OP_REDUCE_MAX && op->code != SYSTOLE_OP_REDUCE_MIN) {
        return false;
    }
    const struct systole_tensor *in = tensor_of(c, op->inputs[0]), *out = tensor_of(c, op->outputs[0]);
    return (in->quantisation.scale[0] != out->quantisation.scale[0] ||
            in->quantisation.zero_point[0] != out->quantisation.zero_point[0]) &&
           find(f, op->outputs[0], 0, 0);
}

// uint8 is defined in float32, whose roundings the device does not know.
static bool resize_float(const struct compilation *c, const struct systole_operator *op, struct finding *f) {
    return op->code == SYSTOLE_OP_RESIZE_BILINEAR && tensor_of(c, op->outputs[0])->dtype == SYSTOLE_UINT8 &&
           !resize_copies(c, op) && !resize_is_exact(c, op) && find(f, op->outputs[0], 0, 0);
}

static bool arg_max(const struct compilation *c, const struct systole_operator *op, struct finding *f) {
    (void)c;
    return (op->code == SYSTOLE_OP_ARG_MAX || op->code == SYSTOLE_OP_ARG_MIN) && op->output_count > 0 &&
           find(f, op->outputs[0], 0, 0);
}

static bool normalisation(const struct compilation *c, const struct systole_operator *op, struct finding *f) {
    (void)c;
    return op->code == SYSTOLE_OP_L2_NORMALIZATION && op->output_count > 0 && find(f, op->outputs[0], 0, 0);
}

static bool concatenation_scales(const struct compilation *c, const struct systole_operator *op, struct finding *f) {
    uint8_t table[256];
    for (uint32_t i = 0; op->code == SYSTOLE_OP_CONCATENATION && i < op->input_count; i++) {
        if (systole_concatenation_table_derive(c->graph, (uint32_t)(op - c->graph->operators), i, table, NULL) !=
            SYSTOLE_OK) {
            return find(f, op->inputs[i], 0, 0);
        }
    }
    return false;
}

static bool mean_axes(const struct compilation *c, const struct systole_operator *op, struct finding *f) {
    return is_reduction(op) && !reduce_is_possible(c, op) && find(f, op->inputs[1], 0, 0);
}

// Rows without a check come last; restrictions_apply finds them by code.
static const struct restriction table[] = {
    {softmax, "softmax", "the device has no exponential", "none needed: the CPU computes it"},
    {arg_max, "arg_max", "the device does not compare positions; the CPU reads each byte once", "none needed"},
    {normalisation, "l2_normalization", "the device has no root of a sum over channels", "none needed"},
    {operator_unknown, "operator", "the device has no such operation", "use an operator that it has"},
    {operands_missing, "operands", "an input or output is left out", "give it all of them"},
    {type_other, "type", "a tensor is neither int8 nor uint8", "quantise the model to 8 bits"},
    {types_differ, "types_differ", "an operand's type is not the output's", "quantise all of it alike"},
    {input_constant, "constant", "all operands are constants", "fold the operator before"},
    {quantisation_missing, "quantisation", "a tensor lacks one valid scale and zero point", "quantise it per tensor"},
    {rank_other, "rank", "a tensor has another rank", "reshape it to four dimensions"},
    {weights_variable, "weights_variable", "weights or bias are no constants", "freeze the model"},
    {weights_quantised_otherwise, "weights_quantisation", "weights are quantised in a way the device does not know",
     "quantise them per tensor or per output channel, int8 with zero point 0"},
    {bias_other, "bias", "the bias is not one int32 an output channel", "quantise it to int32"},
    {activation_other, "activation", "the fused activation has no clamp", "use RELU or RELU6"},
    {grouped, "grouped_convolution", "weights see only a part of the input's channels", "split it into convolutions"},
    {shape_inconsistent, "shape", "shapes do not follow from the options", "export the model again"},
    {window_large, "window", "kernel, stride or dilation is too large", "use a smaller one"},
    {extent_large, "extent", "a dimension is too large", "use smaller maps"},
    {batch_large, "batch", "too many images in a batch", "use a smaller batch"},
    {fully_connected_shape, "fully_connected_shape", "input, weights and output do not fit in a way the device knows",
     "flatten whole images, use plain weights"},
    {broadcast_other, "broadcast", "operands are broadcast in a way the strides cannot express",
     "reshape them to four dimensions"},
    {add_scale, "add_scale", "the output's scale is too small beside the inputs'", "quantise with a larger one"},
    {pair_parameters, "operands_quantisation", "operands are quantised in a way the device does not know",
     "quantise both per tensor"},
    {table_other, "table", "it is not a function of single bytes with known scales", "quantise it per tensor"},
    {concatenation_scales, "concatenation_scales", "inputs have other scales than the output", "quantise them alike"},
    {resize_float, "resize_float", "bilinear interpolation of uint8 is defined in float32, which rounds at this ratio",
     "resize by a power of two or quantise to int8"},
    {scales_differ, "scales_differ", "input and output have different scales", "quantise them alike"},
    {mean_axes, "mean_axes", "the axes are too long",
     "reduce at most 255 rows and columns at once, the largest or least of few channels"},
    {NULL, "movement", "it would be too many moves, or indices and shapes are not constant",
     "move whole rows, columns or channels with constant indices"},
    {NULL, "resize_ratio", "interpolation weights of this ratio are not exact in a byte, or differ too often",
     "resize by 2, 4 or 8"},
    {NULL, "fill_variable", "the value to fill with is not constant", "use a constant"},
    {NULL, "reshape_on_host", "the bytes come from the CPU, where a reshape is free", "none needed"},
    {NULL, "scratchpad", "it does not fit into the scratchpad, in words", "use a target with a larger one"},
    {NULL, "small_island", "its way over the link takes more cycles than the CPU would", "none needed"},
};

static void apply(const struct compilation *compilation, struct operation *operation, const struct restriction *row,
                  const struct finding *finding) {
    char tensor[128] = "", values[64] = "";
    if (finding->tensor >= 0) {
        const char *name = compilation->graph->tensors[finding->tensor].name;
        (void)snprintf(tensor, sizeof tensor, "tensor %.100s: ", name != NULL ? name : "");
    }
    if (finding->value != finding->limit) {
        (void)snprintf(values, sizeof values, " (%lld, limit %lld)", (long long)finding->value,
                       (long long)finding->limit);
    }
    ir_to_cpu(operation, row->code, "%s%s%s: %s", tensor, row->text, values, row->remedy);
}

bool restrictions_forbid(const struct compilation *compilation, struct operation *operation) {
    const struct systole_operator *op = &compilation->graph->operators[operation->index];
    if (compilation->evictions[operation->index].code != NULL) {
        restrictions_apply(compilation, operation, &compilation->evictions[operation->index]);
        return true;
    }
    for (size_t i = 0; i < sizeof table / sizeof table[0] && table[i].violated != NULL; i++) {
        struct finding finding = {-1, 0, 0};
        if (table[i].violated(compilation, op, &finding)) {
            apply(compilation, operation, &table[i], &finding);
            return true;
        }
    }
    return false;
}

void restrictions_apply(const struct compilation *compilation, struct operation *operation,
                        const struct eviction *eviction) {
    struct finding finding = {eviction->tensor, eviction->value, eviction->limit};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (strcmp(table[i].code, eviction->code) == 0) {
            apply(compilation, operation, &table[i], &finding);
        }
    }
}

bool systole_restriction_describe(uint32_t index, struct systole_restriction_text *text) {
    if (index >= sizeof table / sizeof table[0]) {
        return false;
    }
    *text = (struct systole_restriction_text){table[index].code, table[index].text, table[index].remedy};
    return true;
}
