// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Writes a graph as a .tflite from what is in memory. A FlatBuffer is built back to front, so children come first; the
// order of everything follows the graph, which makes the bytes a function of it. Constants that are left out are
// marked by the metadata entry "systole.emptied", without which the reader would refuse tensors that nobody computes.
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include "tflite_generated.h"

extern "C" {
#include "graph.h"
}

namespace {

namespace fb = systole::tflite;
using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;

constexpr size_t kLargestFile = size_t{1} << 30; // FlatBuffers end at 2 GiB; what surrounds the constants is small
constexpr size_t kDataAlignment = 16;

struct CodeKey {
    int32_t code;
    int32_t version;
    const char *custom_name;
    bool operator==(const CodeKey &other) const {
        return code == other.code && version == other.version &&
               std::strcmp(custom_name == nullptr ? "" : custom_name,
                           other.custom_name == nullptr ? "" : other.custom_name) == 0;
    }
};

fb::ActivationFunctionType Activation(const systole_options &options) {
    return static_cast<fb::ActivationFunctionType>(options.activation);
}

fb::Padding Padding(const systole_options &options) {
    return static_cast<fb::Padding>(options.padding);
}

// Those of operators without a window or an activation.
Offset<void> WritePlainOptions(FlatBufferBuilder &builder, const systole_operator &op, fb::BuiltinOptions *type) {
    const systole_options &o = op.options;
    switch (op.code) {
    case SYSTOLE_OP_CAST:
        if (op.options_type == 0) {
            return 0;
        }
        *type = fb::BuiltinOptions_CastOptions;
        return fb::CreateCastOptions(builder, static_cast<fb::TensorType>(o.input_type),
                                     static_cast<fb::TensorType>(o.output_type))
            .Union();
    case SYSTOLE_OP_RESIZE_BILINEAR:
        *type = fb::BuiltinOptions_ResizeBilinearOptions;
        return fb::CreateResizeBilinearOptions(builder, o.align_corners, o.half_pixel_centers).Union();
    case SYSTOLE_OP_RESIZE_NEAREST_NEIGHBOR:
        *type = fb::BuiltinOptions_ResizeNearestNeighborOptions;
        return fb::CreateResizeNearestNeighborOptions(builder, o.align_corners, o.half_pixel_centers).Union();
    case SYSTOLE_OP_SPACE_TO_DEPTH:
        *type = fb::BuiltinOptions_SpaceToDepthOptions;
        return fb::CreateSpaceToDepthOptions(builder, o.block_size).Union();
    case SYSTOLE_OP_DEPTH_TO_SPACE:
        *type = fb::BuiltinOptions_DepthToSpaceOptions;
        return fb::CreateDepthToSpaceOptions(builder, o.block_size).Union();
    case SYSTOLE_OP_GATHER:
        *type = fb::BuiltinOptions_GatherOptions;
        return fb::CreateGatherOptions(builder, o.axis, o.batch_dims).Union();
    case SYSTOLE_OP_STRIDED_SLICE:
        *type = fb::BuiltinOptions_StridedSliceOptions;
        return fb::CreateStridedSliceOptions(builder, o.begin_mask, o.end_mask, o.ellipsis_mask, o.new_axis_mask,
                                             o.shrink_axis_mask, o.offset)
            .Union();
    case SYSTOLE_OP_SPLIT:
        *type = fb::BuiltinOptions_SplitOptions;
        return fb::CreateSplitOptions(builder, o.count).Union();
    case SYSTOLE_OP_SPLIT_V:
        *type = fb::BuiltinOptions_SplitVOptions;
        return fb::CreateSplitVOptions(builder, o.count).Union();
    case SYSTOLE_OP_ARG_MAX:
        *type = fb::BuiltinOptions_ArgMaxOptions;
        return fb::CreateArgMaxOptions(builder, static_cast<fb::TensorType>(o.output_type)).Union();
    case SYSTOLE_OP_ARG_MIN:
        *type = fb::BuiltinOptions_ArgMinOptions;
        return fb::CreateArgMinOptions(builder, static_cast<fb::TensorType>(o.output_type)).Union();
    case SYSTOLE_OP_SHAPE:
        *type = fb::BuiltinOptions_ShapeOptions;
        return fb::CreateShapeOptions(builder, static_cast<fb::TensorType>(o.output_type)).Union();
    case SYSTOLE_OP_PACK:
        *type = fb::BuiltinOptions_PackOptions;
        return fb::CreatePackOptions(builder, o.count, o.axis).Union();
    case SYSTOLE_OP_UNPACK:
        *type = fb::BuiltinOptions_UnpackOptions;
        return fb::CreateUnpackOptions(builder, o.count, o.axis).Union();
    case SYSTOLE_OP_LEAKY_RELU:
        *type = fb::BuiltinOptions_LeakyReluOptions;
        return fb::CreateLeakyReluOptions(builder, o.alpha).Union();
    case SYSTOLE_OP_MIRROR_PAD:
        *type = fb::BuiltinOptions_MirrorPadOptions;
        return fb::CreateMirrorPadOptions(builder,
                                          o.symmetric ? fb::MirrorPadMode_SYMMETRIC : fb::MirrorPadMode_REFLECT)
            .Union();
    default:
        if (op.options_type == 0) {
            *type = fb::BuiltinOptions_NONE;
            return 0;
        }
        // Options without a field are alike, whatever their number.
        *type = static_cast<fb::BuiltinOptions>(op.options_type);
        return fb::CreatePadOptions(builder).Union();
    }
}

// The options of one operator; *type receives its number.
Offset<void> WriteOptions(FlatBufferBuilder &builder, const systole_operator &op, fb::BuiltinOptions *type) {
    const systole_options &o = op.options;
    switch (op.code) {
    case SYSTOLE_OP_CONV_2D:
        *type = fb::BuiltinOptions_Conv2DOptions;
        return fb::CreateConv2DOptions(builder, Padding(o), o.stride_w, o.stride_h, Activation(o), o.dilation_w,
                                       o.dilation_h)
            .Union();
    case SYSTOLE_OP_DEPTHWISE_CONV_2D:
        *type = fb::BuiltinOptions_DepthwiseConv2DOptions;
        return fb::CreateDepthwiseConv2DOptions(builder, Padding(o), o.stride_w, o.stride_h, o.depth_multiplier,
                                                Activation(o), o.dilation_w, o.dilation_h)
            .Union();
    case SYSTOLE_OP_AVERAGE_POOL_2D:
    case SYSTOLE_OP_MAX_POOL_2D:
        *type = fb::BuiltinOptions_Pool2DOptions;
        return fb::CreatePool2DOptions(builder, Padding(o), o.stride_w, o.stride_h, o.filter_w, o.filter_h,
                                       Activation(o))
            .Union();
    case SYSTOLE_OP_FULLY_CONNECTED:
        *type = fb::BuiltinOptions_FullyConnectedOptions;
        return fb::CreateFullyConnectedOptions(builder, Activation(o),
                                               static_cast<fb::FullyConnectedOptionsWeightsFormat>(o.weights_format),
                                               o.keep_dims, o.asymmetric_quantize_inputs)
            .Union();
    case SYSTOLE_OP_SOFTMAX:
        *type = fb::BuiltinOptions_SoftmaxOptions;
        return fb::CreateSoftmaxOptions(builder, o.beta).Union();
    case SYSTOLE_OP_CONCATENATION:
        *type = fb::BuiltinOptions_ConcatenationOptions;
        return fb::CreateConcatenationOptions(builder, o.axis, Activation(o)).Union();
    case SYSTOLE_OP_ADD:
        *type = fb::BuiltinOptions_AddOptions;
        return fb::CreateAddOptions(builder, Activation(o), o.pot_scale_int16).Union();
    case SYSTOLE_OP_MUL:
        *type = fb::BuiltinOptions_MulOptions;
        return fb::CreateMulOptions(builder, Activation(o)).Union();
    case SYSTOLE_OP_MEAN:
    case SYSTOLE_OP_SUM:
    case SYSTOLE_OP_REDUCE_MAX:
    case SYSTOLE_OP_REDUCE_MIN:
        *type = fb::BuiltinOptions_ReducerOptions;
        return fb::CreateReducerOptions(builder, o.keep_dims).Union();
    case SYSTOLE_OP_RESHAPE: {
        *type = fb::BuiltinOptions_ReshapeOptions;
        auto shape = o.new_rank > 0 ? builder.CreateVector(o.new_shape, static_cast<size_t>(o.new_rank)) : 0;
        return fb::CreateReshapeOptions(builder, shape).Union();
    }
    case SYSTOLE_OP_SVDF:
        *type = fb::BuiltinOptions_SVDFOptions;
        return fb::CreateSVDFOptions(builder, o.svdf_rank, Activation(o), o.asymmetric_quantize_inputs).Union();
    case SYSTOLE_OP_UNIDIRECTIONAL_SEQUENCE_LSTM:
        *type = fb::BuiltinOptions_UnidirectionalSequenceLSTMOptions;
        return fb::CreateUnidirectionalSequenceLSTMOptions(builder, Activation(o), o.cell_clip, o.proj_clip,
                                                           o.time_major, o.asymmetric_quantize_inputs)
            .Union();
    case SYSTOLE_OP_BATCH_MATMUL:
        *type = fb::BuiltinOptions_BatchMatMulOptions;
        return fb::CreateBatchMatMulOptions(builder, o.adjoint_x, o.adjoint_y, o.asymmetric_quantize_inputs).Union();
    case SYSTOLE_OP_LOG_SOFTMAX:
        *type = fb::BuiltinOptions_LogSoftmaxOptions;
        return fb::CreateLogSoftmaxOptions(builder).Union();
    case SYSTOLE_OP_TRANSPOSE_CONV:
        *type = fb::BuiltinOptions_TransposeConvOptions;
        return fb::CreateTransposeConvOptions(builder, Padding(o), o.stride_w, o.stride_h, Activation(o)).Union();
    case SYSTOLE_OP_SUB:
        *type = fb::BuiltinOptions_SubOptions;
        return fb::CreateSubOptions(builder, Activation(o), o.pot_scale_int16).Union();
    case SYSTOLE_OP_DIV:
        *type = fb::BuiltinOptions_DivOptions;
        return fb::CreateDivOptions(builder, Activation(o)).Union();
    case SYSTOLE_OP_L2_NORMALIZATION:
        *type = fb::BuiltinOptions_L2NormOptions;
        return fb::CreateL2NormOptions(builder, Activation(o)).Union();
    case SYSTOLE_OP_SQUEEZE: {
        *type = fb::BuiltinOptions_SqueezeOptions;
        auto axes = o.new_rank > 0 ? builder.CreateVector(o.new_shape, static_cast<size_t>(o.new_rank)) : 0;
        return fb::CreateSqueezeOptions(builder, axes).Union();
    }
    case SYSTOLE_OP_PAD:
        *type = fb::BuiltinOptions_PadOptions;
        return fb::CreatePadOptions(builder).Union();
    case SYSTOLE_OP_PADV2:
        *type = fb::BuiltinOptions_PadV2Options;
        return fb::CreatePadV2Options(builder).Union();
    case SYSTOLE_OP_QUANTIZE:
        *type = fb::BuiltinOptions_QuantizeOptions;
        return fb::CreateQuantizeOptions(builder).Union();
    case SYSTOLE_OP_DEQUANTIZE:
        *type = fb::BuiltinOptions_DequantizeOptions;
        return fb::CreateDequantizeOptions(builder).Union();
    default:
        return WritePlainOptions(builder, op, type);
    }
}

Offset<fb::Tensor> WriteTensor(FlatBufferBuilder &builder, const systole_tensor &tensor, uint32_t buffer) {
    auto shape = builder.CreateVector(tensor.shape, static_cast<size_t>(tensor.rank));
    auto name = builder.CreateString(tensor.name == nullptr ? "" : tensor.name);
    Offset<fb::QuantizationParameters> quantisation = 0;
    if (tensor.quantisation.count > 0) {
        auto scale = builder.CreateVector(tensor.quantisation.scale, tensor.quantisation.count);
        auto zero_point = builder.CreateVector(tensor.quantisation.zero_point, tensor.quantisation.count);
        quantisation = fb::CreateQuantizationParameters(builder, 0, 0, scale, zero_point, fb::QuantizationDetails_NONE,
                                                        0, tensor.quantisation.dimension);
    }
    return fb::CreateTensor(builder, shape, static_cast<fb::TensorType>(tensor.dtype), buffer, name, quantisation,
                            tensor.is_variable);
}

Offset<fb::Operator> WriteOperator(FlatBufferBuilder &builder, const systole_operator &op, uint32_t code) {
    auto inputs = builder.CreateVector(op.inputs, op.input_count);
    auto outputs = builder.CreateVector(op.outputs, op.output_count);
    fb::BuiltinOptions type = fb::BuiltinOptions_NONE;
    Offset<void> options = WriteOptions(builder, op, &type);
    auto custom = op.custom_options_size > 0 ? builder.CreateVector(op.custom_options, op.custom_options_size) : 0;
    auto intermediates = op.intermediate_count > 0 ? builder.CreateVector(op.intermediates, op.intermediate_count) : 0;
    return fb::CreateOperator(builder, code, inputs, outputs, type, options, custom,
                              fb::CustomOptionsFormat_FLEXBUFFERS, 0, intermediates);
}

void WriteModel(FlatBufferBuilder &builder, const systole_graph &graph, const bool *keep) {
    std::vector<Offset<fb::Buffer>> buffers{fb::CreateBuffer(builder)};
    std::vector<Offset<fb::Tensor>> tensors;
    std::vector<CodeKey> keys;
    std::vector<Offset<fb::Operator>> operators;
    std::vector<Offset<fb::OperatorCode>> codes;
    std::vector<Offset<fb::Metadata>> metadata;
    bool emptied = false;
    for (uint32_t t = 0; t < graph.tensor_count; t++) {
        const systole_tensor &tensor = graph.tensors[t];
        uint32_t buffer = 0;
        if (tensor.data != nullptr && (keep == nullptr || keep[t])) {
            builder.ForceVectorAlignment(tensor.size, sizeof(uint8_t), kDataAlignment);
            auto data = builder.CreateVector(tensor.data, tensor.size);
            buffer = static_cast<uint32_t>(buffers.size());
            buffers.push_back(fb::CreateBuffer(builder, data));
        } else if (tensor.data != nullptr || tensor.was_constant) {
            emptied = true;
        }
        tensors.push_back(WriteTensor(builder, tensor, buffer));
    }
    for (uint32_t i = 0; i < graph.operator_count; i++) {
        const systole_operator &op = graph.operators[i];
        CodeKey key{op.code, op.version, op.custom_name};
        uint32_t code = 0;
        while (code < keys.size() && !(keys[code] == key)) {
            code++;
        }
        if (code == keys.size()) {
            keys.push_back(key);
        }
        operators.push_back(WriteOperator(builder, op, code));
    }
    for (const CodeKey &key : keys) {
        auto name = key.custom_name == nullptr ? 0 : builder.CreateString(key.custom_name);
        auto old_code = static_cast<int8_t>(key.code > INT8_MAX ? INT8_MAX : key.code);
        codes.push_back(fb::CreateOperatorCode(builder, old_code, name, key.version, key.code));
    }
    if (emptied) {
        metadata.push_back(fb::CreateMetadata(builder, builder.CreateString("systole.emptied"), 0));
    }
    auto tensor_vector = builder.CreateVector(tensors);
    auto inputs = builder.CreateVector(graph.inputs, graph.input_count);
    auto outputs = builder.CreateVector(graph.outputs, graph.output_count);
    auto operator_vector = builder.CreateVector(operators);
    auto name = builder.CreateString(graph.name);
    std::vector<Offset<fb::SubGraph>> subgraphs{
        fb::CreateSubGraph(builder, tensor_vector, inputs, outputs, operator_vector, name)};
    auto code_vector = builder.CreateVector(codes);
    auto subgraph_vector = builder.CreateVector(subgraphs);
    auto buffer_vector = builder.CreateVector(buffers);
    auto metadata_vector = metadata.empty() ? 0 : builder.CreateVector(metadata);
    auto description = builder.CreateString("written by Systole");
    fb::FinishModelBuffer(builder, fb::CreateModel(builder, 3, code_vector, subgraph_vector, description, buffer_vector,
                                                   0, metadata_vector));
}

} // namespace

extern "C" systole_status systole_graph_write(const systole_graph *graph, const bool *keep, uint8_t **bytes,
                                              size_t *size, systole_diagnostic *diagnostic) {
    *bytes = nullptr;
    *size = 0;
    size_t constants = 0;
    for (uint32_t t = 0; t < graph->tensor_count; t++) {
        if (graph->tensors[t].data != nullptr && (keep == nullptr || keep[t])) {
            constants += graph->tensors[t].size;
        }
    }
    if (constants > kLargestFile) {
        return systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, graph->name, "split the model",
                            "the model's %zu bytes of constants are too many for one file", constants);
    }
    for (uint32_t i = 0; i < graph->operator_count; i++) {
        if (graph->operators[i].options_unknown) {
            return systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, graph->name, "remove the operator from the model",
                                "operator %u (%s) has options that cannot be written", i,
                                systole_operator_name(graph->operators[i].code));
        }
    }
    try {
        FlatBufferBuilder builder(constants + 4096);
        WriteModel(builder, *graph, keep);
        *bytes = static_cast<uint8_t *>(std::malloc(builder.GetSize()));
        if (*bytes == nullptr) {
            throw std::bad_alloc();
        }
        *size = builder.GetSize();
        std::memcpy(*bytes, builder.GetBufferPointer(), *size);
        return SYSTOLE_OK;
    } catch (const std::bad_alloc &) {
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, graph->name, "", "no memory to write the model");
    }
}
