// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "graph.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Names of the format's enum BuiltinOperator, by number.
static const char *const operator_names[] = {
    "ADD",
    "AVERAGE_POOL_2D",
    "CONCATENATION",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "DEPTH_TO_SPACE",
    "DEQUANTIZE",
    "EMBEDDING_LOOKUP",
    "FLOOR",
    "FULLY_CONNECTED",
    "HASHTABLE_LOOKUP",
    "L2_NORMALIZATION",
    "L2_POOL_2D",
    "LOCAL_RESPONSE_NORMALIZATION",
    "LOGISTIC",
    "LSH_PROJECTION",
    "LSTM",
    "MAX_POOL_2D",
    "MUL",
    "RELU",
    "RELU_N1_TO_1",
    "RELU6",
    "RESHAPE",
    "RESIZE_BILINEAR",
    "RNN",
    "SOFTMAX",
    "SPACE_TO_DEPTH",
    "SVDF",
    "TANH",
    "CONCAT_EMBEDDINGS",
    "SKIP_GRAM",
    "CALL",
    "CUSTOM",
    "EMBEDDING_LOOKUP_SPARSE",
    "PAD",
    "UNIDIRECTIONAL_SEQUENCE_RNN",
    "GATHER",
    "BATCH_TO_SPACE_ND",
    "SPACE_TO_BATCH_ND",
    "TRANSPOSE",
    "MEAN",
    "SUB",
    "DIV",
    "SQUEEZE",
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "STRIDED_SLICE",
    "BIDIRECTIONAL_SEQUENCE_RNN",
    "EXP",
    "TOPK_V2",
    "SPLIT",
    "LOG_SOFTMAX",
    "DELEGATE",
    "BIDIRECTIONAL_SEQUENCE_LSTM",
    "CAST",
    "PRELU",
    "MAXIMUM",
    "ARG_MAX",
    "MINIMUM",
    "LESS",
    "NEG",
    "PADV2",
    "GREATER",
    "GREATER_EQUAL",
    "LESS_EQUAL",
    "SELECT",
    "SLICE",
    "SIN",
    "TRANSPOSE_CONV",
    "SPARSE_TO_DENSE",
    "TILE",
    "EXPAND_DIMS",
    "EQUAL",
    "NOT_EQUAL",
    "LOG",
    "SUM",
    "SQRT",
    "RSQRT",
    "SHAPE",
    "POW",
    "ARG_MIN",
    "FAKE_QUANT",
    "REDUCE_PROD",
    "REDUCE_MAX",
    "PACK",
    "LOGICAL_OR",
    "ONE_HOT",
    "LOGICAL_AND",
    "LOGICAL_NOT",
    "UNPACK",
    "REDUCE_MIN",
    "FLOOR_DIV",
    "REDUCE_ANY",
    "SQUARE",
    "ZEROS_LIKE",
    "FILL",
    "FLOOR_MOD",
    "RANGE",
    "RESIZE_NEAREST_NEIGHBOR",
    "LEAKY_RELU",
    "SQUARED_DIFFERENCE",
    "MIRROR_PAD",
    "ABS",
    "SPLIT_V",
    "UNIQUE",
    "CEIL",
    "REVERSE_V2",
    "ADD_N",
    "GATHER_ND",
    "COS",
    "WHERE",
    "RANK",
    "ELU",
    "REVERSE_SEQUENCE",
    "MATRIX_DIAG",
    "QUANTIZE",
    "MATRIX_SET_DIAG",
    "ROUND",
    "HARD_SWISH",
    "IF",
    "WHILE",
    "NON_MAX_SUPPRESSION_V4",
    "NON_MAX_SUPPRESSION_V5",
    "SCATTER_ND",
    "SELECT_V2",
    "DENSIFY",
    "SEGMENT_SUM",
    "BATCH_MATMUL",
};

const char *systole_operator_name(int32_t code) {
    static _Thread_local char unlisted[32];
    if (code >= 0 && (size_t)code < sizeof operator_names / sizeof operator_names[0]) {
        return operator_names[code];
    }
    (void)snprintf(unlisted, sizeof unlisted, "OPERATOR_%d", code);
    return unlisted;
}

const char *systole_dtype_name(enum systole_dtype dtype) {
    switch (dtype) {
    case SYSTOLE_FLOAT32:
        return "FLOAT32";
    case SYSTOLE_FLOAT16:
        return "FLOAT16";
    case SYSTOLE_INT32:
        return "INT32";
    case SYSTOLE_UINT8:
        return "UINT8";
    case SYSTOLE_INT64:
        return "INT64";
    case SYSTOLE_STRING:
        return "STRING";
    case SYSTOLE_BOOL:
        return "BOOL";
    case SYSTOLE_INT16:
        return "INT16";
    case SYSTOLE_INT8:
        return "INT8";
    }
    return "UNKNOWN";
}

size_t systole_dtype_size(enum systole_dtype dtype) {
    switch (dtype) {
    case SYSTOLE_UINT8:
    case SYSTOLE_BOOL:
    case SYSTOLE_INT8:
        return 1;
    case SYSTOLE_FLOAT16:
    case SYSTOLE_INT16:
        return 2;
    case SYSTOLE_FLOAT32:
    case SYSTOLE_INT32:
        return 4;
    case SYSTOLE_INT64:
        return 8;
    case SYSTOLE_STRING:
        return 0;
    }
    return 0;
}

size_t systole_tensor_elements(const struct systole_tensor *tensor) {
    size_t elements = 1;
    for (int32_t i = 0; i < tensor->rank; i++) {
        elements *= (size_t)tensor->shape[i];
    }
    return elements;
}

bool systole_tensor_takes_reals(const struct systole_tensor *tensor) {
    return (tensor->dtype == SYSTOLE_INT8 || tensor->dtype == SYSTOLE_UINT8 || tensor->dtype == SYSTOLE_INT16) &&
           tensor->quantisation.count == 1 && tensor->quantisation.scale[0] > 0;
}

void systole_tensor_store_real(const struct systole_tensor *tensor, float value, size_t index, uint8_t *bytes) {
    float low = tensor->dtype == SYSTOLE_INT8 ? INT8_MIN : tensor->dtype == SYSTOLE_UINT8 ? 0 : INT16_MIN;
    float high = tensor->dtype == SYSTOLE_INT8 ? INT8_MAX : tensor->dtype == SYSTOLE_UINT8 ? UINT8_MAX : INT16_MAX;
    float scaled = roundf(value / tensor->quantisation.scale[0]) + (float)tensor->quantisation.zero_point[0];
    int32_t q = (int32_t)fminf(fmaxf(scaled, low), high);
    if (tensor->dtype == SYSTOLE_INT16) {
        int16_t narrow = (int16_t)q;
        memcpy(bytes + 2 * index, &narrow, sizeof narrow);
    } else {
        bytes[index] = (uint8_t)q;
    }
}

int32_t systole_output_extent(enum systole_padding padding, int32_t input, int32_t filter, int32_t stride,
                              int32_t dilation) {
    int64_t covered = ((int64_t)filter - 1) * dilation + 1;
    int64_t extent =
        padding == SYSTOLE_PADDING_SAME ? ((int64_t)input + stride - 1) / stride : (input - covered + stride) / stride;
    return extent < 0 ? 0 : (int32_t)extent;
}

int32_t systole_padding_before(enum systole_padding padding, int32_t input, int32_t filter, int32_t stride,
                               int32_t dilation, int32_t output) {
    if (padding == SYSTOLE_PADDING_VALID) {
        return 0;
    }
    int64_t covered = ((int64_t)filter - 1) * dilation + 1;
    int64_t total = ((int64_t)output - 1) * stride + covered - input;
    return total <= 0 ? 0 : (int32_t)(total / 2);
}

bool systole_operator_is_hybrid(const struct systole_graph *graph, uint32_t operator_index) {
    const struct systole_operator *op = &graph->operators[operator_index];
    bool has_weights = op->code == SYSTOLE_OP_CONV_2D || op->code == SYSTOLE_OP_DEPTHWISE_CONV_2D ||
                       op->code == SYSTOLE_OP_FULLY_CONNECTED;
    return has_weights && op->input_count >= 2 && op->inputs[0] >= 0 && op->inputs[1] >= 0 &&
           graph->tensors[op->inputs[0]].dtype == SYSTOLE_FLOAT32 &&
           graph->tensors[op->inputs[1]].dtype == SYSTOLE_INT8;
}

bool systole_graph_is_hybrid(const struct systole_graph *graph) {
    for (uint32_t i = 0; i < graph->operator_count; i++) {
        if (systole_operator_is_hybrid(graph, i)) {
            return true;
        }
    }
    return false;
}

uint64_t systole_operator_macs(const struct systole_graph *graph, uint32_t operator_index) {
    const struct systole_operator *op = &graph->operators[operator_index];
    if (op->input_count < 2 || op->output_count < 1 || op->inputs[1] < 0) {
        return 0;
    }
    const struct systole_tensor *filter = &graph->tensors[op->inputs[1]];
    uint64_t outputs = systole_tensor_elements(&graph->tensors[op->outputs[0]]);
    switch (op->code) {
    case SYSTOLE_OP_CONV_2D: // filter: output channels, height, width, input channels
        return filter->rank == 4
                   ? outputs * (uint64_t)filter->shape[1] * (uint64_t)filter->shape[2] * (uint64_t)filter->shape[3]
                   : 0;
    case SYSTOLE_OP_DEPTHWISE_CONV_2D: // filter: 1, height, width, channels
        return filter->rank == 4 ? outputs * (uint64_t)filter->shape[1] * (uint64_t)filter->shape[2] : 0;
    case SYSTOLE_OP_FULLY_CONNECTED: // filter: units, depth
        return filter->rank == 2 ? outputs * (uint64_t)filter->shape[1] : 0;
    case SYSTOLE_OP_BATCH_MATMUL: // second factor: ..., depth, columns, or with adjoint_y ..., columns, depth
        return filter->rank >= 2 ? outputs * (uint64_t)filter->shape[filter->rank - (op->options.adjoint_y ? 1 : 2)]
                                 : 0;
    default:
        return 0;
    }
}

// TensorFlow Lite Quantize (kernels/kernel_util.cc): the division is done in single precision.
static int32_t quantise_bound(const struct systole_tensor *tensor, float real) {
    float steps = roundf(real / tensor->quantisation.scale[0]);
    double sum = (double)steps + (double)tensor->quantisation.zero_point[0];
    return sum < INT32_MIN ? INT32_MIN : sum > INT32_MAX ? INT32_MAX : (int32_t)sum;
}

void systole_activation_range(const struct systole_tensor *output, enum systole_activation activation, int32_t *low,
                              int32_t *high) {
    int32_t type_low = INT32_MIN;
    int32_t type_high = INT32_MAX;
    switch (output->dtype) {
    case SYSTOLE_UINT8:
        type_low = 0;
        type_high = UINT8_MAX;
        break;
    case SYSTOLE_INT8:
        type_low = INT8_MIN;
        type_high = INT8_MAX;
        break;
    case SYSTOLE_INT16:
        type_low = INT16_MIN;
        type_high = INT16_MAX;
        break;
    default:
        break;
    }
    *low = type_low;
    *high = type_high;
    if (output->quantisation.count == 0) {
        return;
    }
    if (activation == SYSTOLE_ACTIVATION_RELU || activation == SYSTOLE_ACTIVATION_RELU6) {
        int32_t zero = quantise_bound(output, 0.0F);
        *low = zero > type_low ? zero : type_low;
    }
    if (activation == SYSTOLE_ACTIVATION_RELU6) {
        int32_t six = quantise_bound(output, 6.0F);
        *high = six < type_high ? six : type_high;
    }
    if (activation == SYSTOLE_ACTIVATION_RELU_N1_TO_1) {
        int32_t minus_one = quantise_bound(output, -1.0F);
        int32_t one = quantise_bound(output, 1.0F);
        *low = minus_one > type_low ? minus_one : type_low;
        *high = one < type_high ? one : type_high;
    }
}

void systole_operator_free(struct systole_operator *op) {
    free(op->custom_options);
    free(op->custom_name);
    free(op->intermediates);
    free(op->inputs);
    free(op->outputs);
}

void systole_tensor_free(struct systole_tensor *tensor) {
    free(tensor->data);
    free(tensor->quantisation.scale);
    free(tensor->quantisation.zero_point);
    free(tensor->name);
}

void systole_graph_free(struct systole_graph *graph) {
    for (uint32_t i = 0; i < graph->operator_count; i++) {
        systole_operator_free(&graph->operators[i]);
    }
    for (uint32_t i = 0; i < graph->tensor_count; i++) {
        systole_tensor_free(&graph->tensors[i]);
    }
    free(graph->outputs);
    free(graph->inputs);
    free(graph->operators);
    free(graph->tensors);
    memset(graph, 0, sizeof *graph);
}

enum systole_status systole_graph_read_file(const char *path, struct systole_graph *graph,
                                            struct systole_diagnostic *diagnostic) {
    memset(graph, 0, sizeof *graph);
    enum systole_status status = SYSTOLE_OK;
    uint8_t *bytes = NULL;
    long length = -1;
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0 || (length = ftell(file)) < 0 || length == LONG_MAX ||
        fseek(file, 0, SEEK_SET) != 0) {
        status = systole_fail(diagnostic, SYSTOLE_BAD_FILE, path, "give a readable .tflite file", "cannot read: %s",
                              strerror(errno));
        goto done;
    }
    bytes = malloc((size_t)length + 1);
    if (bytes == NULL) {
        status = systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, path, "", "no memory for %ld bytes", length);
        goto done;
    }
    if (fread(bytes, 1, (size_t)length, file) != (size_t)length) {
        status = systole_fail(diagnostic, SYSTOLE_BAD_FILE, path, "give a readable .tflite file", "cannot read: %s",
                              ferror(file) ? strerror(errno) : "it ends early");
        goto done;
    }
    status = systole_graph_read(bytes, (size_t)length, path, graph, diagnostic);
done:
    free(bytes);
    if (file != NULL) {
        (void)fclose(file);
    }
    return status;
}
