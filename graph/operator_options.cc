// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Operators' options, one table of the schema each. Values are checked as far as they can be without the operator's
// tensors: what kind of table it is, that strides and the like are positive, that enumerations are known.
#include "operator_options.h"

#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace fb = systole::tflite;

namespace systole {

systole_status ModelFile::Fail(systole_status status, const char *hint, const char *format, ...) const {
    char text[200];
    va_list arguments;
    va_start(arguments, format);
    (void)std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return systole_fail(diagnostic_, status, name_, hint, "%s", text);
}

bool IsKnownType(int32_t type) {
    return type >= SYSTOLE_FLOAT32 && type <= SYSTOLE_INT8 && type != fb::TensorType_COMPLEX64;
}

namespace {

// Whether the options name an element type that no tensor of a readable model can have.
bool NamesUnknownType(const fb::Operator &from) {
    if (const fb::CastOptions *o = from.builtin_options_as_CastOptions()) {
        return !IsKnownType(o->in_data_type()) || !IsKnownType(o->out_data_type());
    }
    if (const fb::ArgMaxOptions *o = from.builtin_options_as_ArgMaxOptions()) {
        return !IsKnownType(o->output_type());
    }
    if (const fb::ArgMinOptions *o = from.builtin_options_as_ArgMinOptions()) {
        return !IsKnownType(o->output_type());
    }
    const fb::ShapeOptions *o = from.builtin_options_as_ShapeOptions();
    return o != nullptr && !IsKnownType(o->out_type());
}

// Options of operators that have neither a window nor an activation, and cannot do without them. Numbers are taken as
// they stand: whoever runs the operator holds them against its tensors. NONE: not such an operator.
fb::BuiltinOptions ReadPlainOptions(const fb::Operator &from, int32_t code, systole_options *options) {
    switch (code) {
    case SYSTOLE_OP_RESIZE_BILINEAR:
        if (const fb::ResizeBilinearOptions *o = from.builtin_options_as_ResizeBilinearOptions()) {
            options->align_corners = o->align_corners();
            options->half_pixel_centers = o->half_pixel_centers();
        }
        return fb::BuiltinOptions_ResizeBilinearOptions;
    case SYSTOLE_OP_RESIZE_NEAREST_NEIGHBOR:
        if (const fb::ResizeNearestNeighborOptions *o = from.builtin_options_as_ResizeNearestNeighborOptions()) {
            options->align_corners = o->align_corners();
            options->half_pixel_centers = o->half_pixel_centers();
        }
        return fb::BuiltinOptions_ResizeNearestNeighborOptions;
    case SYSTOLE_OP_SPACE_TO_DEPTH:
        if (const fb::SpaceToDepthOptions *o = from.builtin_options_as_SpaceToDepthOptions()) {
            options->block_size = o->block_size();
        }
        return fb::BuiltinOptions_SpaceToDepthOptions;
    case SYSTOLE_OP_DEPTH_TO_SPACE:
        if (const fb::DepthToSpaceOptions *o = from.builtin_options_as_DepthToSpaceOptions()) {
            options->block_size = o->block_size();
        }
        return fb::BuiltinOptions_DepthToSpaceOptions;
    case SYSTOLE_OP_GATHER:
        if (const fb::GatherOptions *o = from.builtin_options_as_GatherOptions()) {
            options->axis = o->axis();
            options->batch_dims = o->batch_dims();
        }
        return fb::BuiltinOptions_GatherOptions;
    case SYSTOLE_OP_STRIDED_SLICE:
        if (const fb::StridedSliceOptions *o = from.builtin_options_as_StridedSliceOptions()) {
            options->begin_mask = o->begin_mask();
            options->end_mask = o->end_mask();
            options->ellipsis_mask = o->ellipsis_mask();
            options->new_axis_mask = o->new_axis_mask();
            options->shrink_axis_mask = o->shrink_axis_mask();
            options->offset = o->offset();
        }
        return fb::BuiltinOptions_StridedSliceOptions;
    case SYSTOLE_OP_SPLIT:
        if (const fb::SplitOptions *o = from.builtin_options_as_SplitOptions()) {
            options->count = o->num_splits();
        }
        return fb::BuiltinOptions_SplitOptions;
    case SYSTOLE_OP_SPLIT_V:
        if (const fb::SplitVOptions *o = from.builtin_options_as_SplitVOptions()) {
            options->count = o->num_splits();
        }
        return fb::BuiltinOptions_SplitVOptions;
    case SYSTOLE_OP_ARG_MAX:
        if (const fb::ArgMaxOptions *o = from.builtin_options_as_ArgMaxOptions()) {
            options->output_type = static_cast<systole_dtype>(o->output_type());
        }
        return fb::BuiltinOptions_ArgMaxOptions;
    case SYSTOLE_OP_ARG_MIN:
        if (const fb::ArgMinOptions *o = from.builtin_options_as_ArgMinOptions()) {
            options->output_type = static_cast<systole_dtype>(o->output_type());
        }
        return fb::BuiltinOptions_ArgMinOptions;
    case SYSTOLE_OP_SHAPE:
        if (const fb::ShapeOptions *o = from.builtin_options_as_ShapeOptions()) {
            options->output_type = static_cast<systole_dtype>(o->out_type());
        }
        return fb::BuiltinOptions_ShapeOptions;
    case SYSTOLE_OP_PACK:
        if (const fb::PackOptions *o = from.builtin_options_as_PackOptions()) {
            options->count = o->values_count();
            options->axis = o->axis();
        }
        return fb::BuiltinOptions_PackOptions;
    case SYSTOLE_OP_UNPACK:
        if (const fb::UnpackOptions *o = from.builtin_options_as_UnpackOptions()) {
            options->count = o->num();
            options->axis = o->axis();
        }
        return fb::BuiltinOptions_UnpackOptions;
    case SYSTOLE_OP_LEAKY_RELU:
        if (const fb::LeakyReluOptions *o = from.builtin_options_as_LeakyReluOptions()) {
            options->alpha = o->alpha();
        }
        return fb::BuiltinOptions_LeakyReluOptions;
    case SYSTOLE_OP_MIRROR_PAD:
        if (const fb::MirrorPadOptions *o = from.builtin_options_as_MirrorPadOptions()) {
            options->symmetric = o->mode() == fb::MirrorPadMode_SYMMETRIC;
        }
        return fb::BuiltinOptions_MirrorPadOptions;
    default:
        return fb::BuiltinOptions_NONE;
    }
}

} // namespace

// A table without a single field has a vtable of two entries. The verifier did not look into tables of unknown
// options, so every access is bounded here.
bool OptionsReader::IsEmptyTable(const void *table) const {
    if (table == nullptr) {
        return true;
    }
    int64_t at = static_cast<const uint8_t *>(table) - bytes_;
    int32_t back = 0;
    if (at < 0 || at + 4 > static_cast<int64_t>(size_)) {
        return false;
    }
    std::memcpy(&back, bytes_ + at, sizeof back);
    int64_t vtable = at - back;
    uint16_t length = 0;
    if (vtable < 0 || vtable + 2 > static_cast<int64_t>(size_)) {
        return false;
    }
    std::memcpy(&length, bytes_ + vtable, sizeof length);
    return length <= 4;
}

systole_status OptionsReader::ReadWindow(int32_t padding, int32_t activation, systole_options *options,
                                         const char *what) const {
    const int32_t positive[] = {options->stride_h,   options->stride_w, options->dilation_h,
                                options->dilation_w, options->filter_h, options->filter_w};
    if (padding != SYSTOLE_PADDING_SAME && padding != SYSTOLE_PADDING_VALID) {
        return Fail(SYSTOLE_BAD_FILE, kDamaged, "%s has padding %d", what, padding);
    }
    if (activation < SYSTOLE_ACTIVATION_NONE || activation > SYSTOLE_ACTIVATION_TANH) {
        return Fail(SYSTOLE_UNSUPPORTED, "use RELU or RELU6 in the model", "%s has fused activation %d", what,
                    activation);
    }
    for (int32_t value : positive) {
        if (value < 0 || value > INT16_MAX) {
            return Fail(SYSTOLE_BAD_FILE, kDamaged, "%s has %d as a stride, dilation or filter size", what, value);
        }
    }
    options->padding = static_cast<systole_padding>(padding);
    options->activation = static_cast<systole_activation>(activation);
    return SYSTOLE_OK;
}

systole_status OptionsReader::Read(const fb::Operator &from, systole_operator *op, const char *what) const {
    systole_options *options = &op->options;
    options->stride_h = options->stride_w = options->dilation_h = options->dilation_w = 1;
    int32_t padding = 0;
    int32_t activation = 0;
    fb::BuiltinOptions wanted = fb::BuiltinOptions_NONE; // that the operator cannot do without or must not differ from
    bool required = false;
    if (NamesUnknownType(from)) {
        return Fail(SYSTOLE_UNSUPPORTED, "convert the model to 8-bit integers or 32-bit floats",
                    "%s names an element type that Systole does not know", what);
    }
    switch (op->code) {
    case SYSTOLE_OP_CONV_2D:
        wanted = fb::BuiltinOptions_Conv2DOptions;
        required = true;
        if (const fb::Conv2DOptions *o = from.builtin_options_as_Conv2DOptions()) {
            padding = o->padding();
            activation = o->fused_activation_function();
            options->stride_h = o->stride_h();
            options->stride_w = o->stride_w();
            options->dilation_h = o->dilation_h_factor();
            options->dilation_w = o->dilation_w_factor();
        }
        break;
    case SYSTOLE_OP_DEPTHWISE_CONV_2D:
        wanted = fb::BuiltinOptions_DepthwiseConv2DOptions;
        required = true;
        if (const fb::DepthwiseConv2DOptions *o = from.builtin_options_as_DepthwiseConv2DOptions()) {
            padding = o->padding();
            activation = o->fused_activation_function();
            options->stride_h = o->stride_h();
            options->stride_w = o->stride_w();
            options->dilation_h = o->dilation_h_factor();
            options->dilation_w = o->dilation_w_factor();
            options->depth_multiplier = o->depth_multiplier();
        }
        break;
    case SYSTOLE_OP_AVERAGE_POOL_2D:
    case SYSTOLE_OP_MAX_POOL_2D:
        wanted = fb::BuiltinOptions_Pool2DOptions;
        required = true;
        if (const fb::Pool2DOptions *o = from.builtin_options_as_Pool2DOptions()) {
            padding = o->padding();
            activation = o->fused_activation_function();
            options->stride_h = o->stride_h();
            options->stride_w = o->stride_w();
            options->filter_h = o->filter_height();
            options->filter_w = o->filter_width();
            if (options->filter_h < 1 || options->filter_w < 1) {
                return Fail(SYSTOLE_BAD_FILE, kDamaged, "%s has a filter of %d x %d", what, options->filter_h,
                            options->filter_w);
            }
        }
        break;
    case SYSTOLE_OP_FULLY_CONNECTED:
        wanted = fb::BuiltinOptions_FullyConnectedOptions;
        if (const fb::FullyConnectedOptions *o = from.builtin_options_as_FullyConnectedOptions()) {
            activation = o->fused_activation_function();
            options->weights_format = o->weights_format();
            options->keep_dims = o->keep_num_dims();
            options->asymmetric_quantize_inputs = o->asymmetric_quantize_inputs();
        }
        break;
    case SYSTOLE_OP_SOFTMAX:
        wanted = fb::BuiltinOptions_SoftmaxOptions;
        required = true;
        if (const fb::SoftmaxOptions *o = from.builtin_options_as_SoftmaxOptions()) {
            options->beta = o->beta();
            if (!std::isfinite(options->beta)) {
                return Fail(SYSTOLE_BAD_FILE, kDamaged, "%s has a beta that is no number", what);
            }
        }
        break;
    case SYSTOLE_OP_CONCATENATION:
        wanted = fb::BuiltinOptions_ConcatenationOptions;
        required = true;
        if (const fb::ConcatenationOptions *o = from.builtin_options_as_ConcatenationOptions()) {
            activation = o->fused_activation_function();
            options->axis = o->axis();
        }
        break;
    case SYSTOLE_OP_ADD:
        wanted = fb::BuiltinOptions_AddOptions;
        options->pot_scale_int16 = true;
        if (const fb::AddOptions *o = from.builtin_options_as_AddOptions()) {
            activation = o->fused_activation_function();
            options->pot_scale_int16 = o->pot_scale_int16();
        }
        break;
    case SYSTOLE_OP_MUL:
        wanted = fb::BuiltinOptions_MulOptions;
        if (const fb::MulOptions *o = from.builtin_options_as_MulOptions()) {
            activation = o->fused_activation_function();
        }
        break;
    case SYSTOLE_OP_MEAN:
    case SYSTOLE_OP_SUM:
    case SYSTOLE_OP_REDUCE_MAX:
    case SYSTOLE_OP_REDUCE_MIN:
        wanted = fb::BuiltinOptions_ReducerOptions;
        if (const fb::ReducerOptions *o = from.builtin_options_as_ReducerOptions()) {
            options->keep_dims = o->keep_dims();
        }
        break;
    case SYSTOLE_OP_RESHAPE:
        wanted = fb::BuiltinOptions_ReshapeOptions;
        if (const fb::ReshapeOptions *o = from.builtin_options_as_ReshapeOptions()) {
            uint32_t rank = o->new_shape() == nullptr ? 0 : o->new_shape()->size();
            if (rank > SYSTOLE_MAX_RANK) {
                return Fail(SYSTOLE_UNSUPPORTED, "reshape in fewer dimensions", "%s makes %u dimensions", what, rank);
            }
            options->new_rank = static_cast<int32_t>(rank);
            for (uint32_t i = 0; i < rank; i++) {
                options->new_shape[i] = o->new_shape()->Get(i);
            }
        }
        break;
    case SYSTOLE_OP_SVDF:
        wanted = fb::BuiltinOptions_SVDFOptions;
        required = true;
        if (const fb::SVDFOptions *o = from.builtin_options_as_SVDFOptions()) {
            activation = o->fused_activation_function();
            options->svdf_rank = o->rank();
            options->asymmetric_quantize_inputs = o->asymmetric_quantize_inputs();
        }
        break;
    case SYSTOLE_OP_UNIDIRECTIONAL_SEQUENCE_LSTM:
        wanted = fb::BuiltinOptions_UnidirectionalSequenceLSTMOptions;
        required = true;
        if (const fb::UnidirectionalSequenceLSTMOptions *o =
                from.builtin_options_as_UnidirectionalSequenceLSTMOptions()) {
            activation = o->fused_activation_function();
            options->cell_clip = o->cell_clip();
            options->proj_clip = o->proj_clip();
            options->time_major = o->time_major();
            options->asymmetric_quantize_inputs = o->asymmetric_quantize_inputs();
            op->options_unknown = o->diagonal_recurrent_tensors();
            if (!std::isfinite(options->cell_clip) || !std::isfinite(options->proj_clip)) {
                return Fail(SYSTOLE_BAD_FILE, kDamaged, "%s has a clip that is no number", what);
            }
        }
        break;
    case SYSTOLE_OP_BATCH_MATMUL:
        wanted = fb::BuiltinOptions_BatchMatMulOptions;
        if (const fb::BatchMatMulOptions *o = from.builtin_options_as_BatchMatMulOptions()) {
            options->adjoint_x = o->adj_x();
            options->adjoint_y = o->adj_y();
            options->asymmetric_quantize_inputs = o->asymmetric_quantize_inputs();
        }
        break;
    case SYSTOLE_OP_LOG_SOFTMAX:
        wanted = fb::BuiltinOptions_LogSoftmaxOptions;
        break;
    case SYSTOLE_OP_TRANSPOSE_CONV:
        wanted = fb::BuiltinOptions_TransposeConvOptions;
        required = true;
        if (const fb::TransposeConvOptions *o = from.builtin_options_as_TransposeConvOptions()) {
            padding = o->padding();
            activation = o->fused_activation_function();
            options->stride_h = o->stride_h();
            options->stride_w = o->stride_w();
        }
        break;
    case SYSTOLE_OP_SUB:
        wanted = fb::BuiltinOptions_SubOptions;
        options->pot_scale_int16 = true;
        if (const fb::SubOptions *o = from.builtin_options_as_SubOptions()) {
            activation = o->fused_activation_function();
            options->pot_scale_int16 = o->pot_scale_int16();
        }
        break;
    case SYSTOLE_OP_DIV:
        wanted = fb::BuiltinOptions_DivOptions;
        if (const fb::DivOptions *o = from.builtin_options_as_DivOptions()) {
            activation = o->fused_activation_function();
        }
        break;
    case SYSTOLE_OP_L2_NORMALIZATION:
        wanted = fb::BuiltinOptions_L2NormOptions;
        if (const fb::L2NormOptions *o = from.builtin_options_as_L2NormOptions()) {
            activation = o->fused_activation_function();
        }
        break;
    case SYSTOLE_OP_SQUEEZE:
        wanted = fb::BuiltinOptions_SqueezeOptions;
        if (const fb::SqueezeOptions *o = from.builtin_options_as_SqueezeOptions()) {
            uint32_t rank = o->squeeze_dims() == nullptr ? 0 : o->squeeze_dims()->size();
            if (rank > SYSTOLE_MAX_RANK) {
                return Fail(SYSTOLE_UNSUPPORTED, "name each axis once", "%s removes %u axes", what, rank);
            }
            options->new_rank = static_cast<int32_t>(rank);
            for (uint32_t i = 0; i < rank; i++) {
                options->new_shape[i] = o->squeeze_dims()->Get(i);
            }
        }
        break;
    case SYSTOLE_OP_CAST:
        wanted = fb::BuiltinOptions_CastOptions; // real files leave the options out
        if (const fb::CastOptions *o = from.builtin_options_as_CastOptions()) {
            options->input_type = static_cast<systole_dtype>(o->in_data_type());
            options->output_type = static_cast<systole_dtype>(o->out_data_type());
        }
        break;
    case SYSTOLE_OP_PAD:
        wanted = fb::BuiltinOptions_PadOptions;
        break;
    case SYSTOLE_OP_PADV2:
        wanted = fb::BuiltinOptions_PadV2Options;
        break;
    case SYSTOLE_OP_QUANTIZE:
        wanted = fb::BuiltinOptions_QuantizeOptions;
        break;
    case SYSTOLE_OP_DEQUANTIZE:
        wanted = fb::BuiltinOptions_DequantizeOptions;
        break;
    default:
        wanted = ReadPlainOptions(from, op->code, options);
        required = wanted != fb::BuiltinOptions_NONE;
        op->options_unknown = !required && !IsEmptyTable(from.builtin_options());
        break;
    }
    fb::BuiltinOptions type = from.builtin_options_type();
    bool missing = from.builtin_options() == nullptr || type == fb::BuiltinOptions_NONE;
    if (wanted != fb::BuiltinOptions_NONE && !missing && type != wanted) {
        return Fail(SYSTOLE_BAD_FILE, kDamaged, "%s has options of kind %d, needs %d", what, static_cast<int>(type),
                    static_cast<int>(wanted));
    }
    if (required && missing) {
        return Fail(SYSTOLE_BAD_FILE, kDamaged, "%s has no options", what);
    }
    if (options->stride_h < 1 || options->stride_w < 1 || options->dilation_h < 1 || options->dilation_w < 1) {
        return Fail(SYSTOLE_BAD_FILE, kDamaged, "%s has a stride or dilation below 1", what);
    }
    op->options_type = missing ? 0 : static_cast<uint8_t>(type);
    return ReadWindow(padding, activation, options, what);
}

} // namespace systole
