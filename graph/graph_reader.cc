// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Reads a .tflite. The bytes are not trusted: FlatBuffers' verifier makes every table, vector and string lie inside the
// file; what it cannot know (indices, sizes, values) is checked here, once, so that no user of a graph has to. Tables
// and buffers of a FlatBuffer may be shared, so a small file can describe much: what is allocated is held to a budget
// in proportion to the file.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "operator_options.h"

namespace {

using systole::IsKnownType;
using systole::kDamaged;
using systole::ModelFile;
using systole::OptionsReader;
namespace fb = systole::tflite;

constexpr uint32_t kFormatVersion = 3;
constexpr size_t kBudgetBase = size_t{1} << 20;
constexpr size_t kBudgetFactor = 64; // of the file's size
constexpr int64_t kLargestTensor = INT32_MAX;

class Reader : private ModelFile {
  public:
    Reader(const uint8_t *bytes, size_t size, const char *name, systole_graph *graph, systole_diagnostic *diagnostic)
        : ModelFile(bytes, size, name, diagnostic), graph_(graph), budget_(kBudgetBase + kBudgetFactor * size) {
    }

    systole_status Read();

  private:
    template <typename T> systole_status Allocate(size_t count, T **out);
    systole_status CopyString(const flatbuffers::String *from, char **to);
    enum class Entries { kTensors, kOptional, kIntermediates };
    systole_status CopyIndices(const flatbuffers::Vector<int32_t> *from, Entries entries, const char *what,
                               int32_t **to, uint32_t *count);
    bool HasMetadata(const char *key) const;
    systole_status ReadTensor(uint32_t index);
    systole_status ReadQuantisation(uint32_t index, const fb::QuantizationParameters *from);
    systole_status ReadData(uint32_t index, uint32_t buffer);
    systole_status ReadOperator(uint32_t index);
    systole_status CheckOrder();

    systole_graph *graph_;
    size_t budget_;
    const fb::Model *model_ = nullptr;
    const fb::SubGraph *subgraph_ = nullptr;
};

template <typename T> systole_status Reader::Allocate(size_t count, T **out) {
    size_t bytes = (count == 0 ? 1 : count) * sizeof(T);
    if (bytes > budget_) {
        return Fail(SYSTOLE_BAD_FILE, kDamaged, "the model shares its parts so often that it outgrows its file");
    }
    budget_ -= bytes;
    *out = static_cast<T *>(std::calloc(1, bytes));
    return *out != nullptr ? SYSTOLE_OK : Fail(SYSTOLE_OUT_OF_MEMORY, "", "no memory for the model");
}

// Names go to terminals, reports and programs; none of them is to take orders from a file.
void ReplaceControls(char *text) {
    for (; *text != '\0'; text++) {
        uint8_t c = static_cast<uint8_t>(*text);
        if (c < 0x20 || c == 0x7F) {
            *text = '?';
        }
    }
}

systole_status Reader::CopyString(const flatbuffers::String *from, char **to) {
    size_t length = from == nullptr ? 0 : from->size();
    systole_status status = Allocate(length + 1, to);
    if (status == SYSTOLE_OK && length > 0) {
        std::memcpy(*to, from->data(), length);
        ReplaceControls(*to);
    }
    return status;
}

systole_status Reader::CopyIndices(const flatbuffers::Vector<int32_t> *from, Entries entries, const char *what,
                                   int32_t **to, uint32_t *count) {
    uint32_t length = from == nullptr ? 0 : from->size();
    systole_status status = Allocate(length, to);
    if (status != SYSTOLE_OK) {
        return status;
    }
    for (uint32_t i = 0; i < length; i++) {
        int32_t tensor = from->Get(i);
        if (tensor < (entries == Entries::kTensors ? 0 : -1) || tensor >= static_cast<int64_t>(graph_->tensor_count)) {
            return Fail(SYSTOLE_BAD_FILE, kDamaged, "%s %u is tensor %d of %u", what, i, tensor, graph_->tensor_count);
        }
        // Converters leave empty tensors in a file (an LSTM's intermediates), but nothing may compute with one.
        if (entries != Entries::kIntermediates && tensor >= 0 &&
            systole_tensor_elements(&graph_->tensors[tensor]) == 0) {
            return Fail(SYSTOLE_BAD_FILE, "convert the model with a fixed, non-empty input shape",
                        "%s %u is tensor %d, which has no elements", what, i, tensor);
        }
        (*to)[i] = tensor;
    }
    *count = length;
    return SYSTOLE_OK;
}

bool Reader::HasMetadata(const char *key) const {
    for (uint32_t i = 0; model_->metadata() != nullptr && i < model_->metadata()->size(); i++) {
        const flatbuffers::String *entry = model_->metadata()->Get(i)->name();
        if (entry != nullptr && entry->string_view() == key) {
            return true;
        }
    }
    return false;
}

systole_status Reader::ReadQuantisation(uint32_t index, const fb::QuantizationParameters *from) {
    systole_tensor *tensor = &graph_->tensors[index];
    if (from == nullptr) {
        return SYSTOLE_OK;
    }
    if (from->details_type() != fb::QuantizationDetails_NONE) {
        return Fail(SYSTOLE_UNSUPPORTED, "convert the model with affine quantisation",
                    "tensor %u has a quantisation of its own kind", index);
    }
    uint32_t count = from->scale() == nullptr ? 0 : from->scale()->size();
    if (count == 0) {
        return SYSTOLE_OK; // only a range, kept by some converters beside floats
    }
    uint32_t zero_points = from->zero_point() == nullptr ? 0 : from->zero_point()->size();
    // Some converters give a bias the dimension of its filter.
    int32_t dimension = tensor->rank == 1 ? 0 : from->quantized_dimension();
    if (zero_points != 1 && zero_points != count) {
        return Fail(SYSTOLE_BAD_FILE, kDamaged, "tensor %u has %u scales and %u zero points", index, count,
                    zero_points);
    }
    if (count > 1 && (dimension < 0 || dimension >= tensor->rank)) {
        return Fail(SYSTOLE_BAD_FILE, kDamaged, "tensor %u is quantised along dimension %d of %d", index, dimension,
                    tensor->rank);
    }
    if (count > 1 && static_cast<int64_t>(count) != tensor->shape[dimension]) {
        return Fail(SYSTOLE_BAD_FILE, kDamaged, "tensor %u has %u scales for %d elements of dimension %d", index, count,
                    tensor->shape[dimension], dimension);
    }
    int64_t low = INT32_MIN;
    int64_t high = INT32_MAX;
    if (tensor->dtype == SYSTOLE_INT8) {
        low = INT8_MIN;
        high = INT8_MAX;
    } else if (tensor->dtype == SYSTOLE_UINT8) {
        low = 0;
        high = UINT8_MAX;
    } else if (tensor->dtype == SYSTOLE_INT16) {
        low = INT16_MIN;
        high = INT16_MAX;
    }
    systole_quantisation *to = &tensor->quantisation;
    systole_status status = Allocate(count, &to->scale);
    if (status == SYSTOLE_OK) {
        status = Allocate(count, &to->zero_point);
    }
    for (uint32_t i = 0; i < count && status == SYSTOLE_OK; i++) {
        to->scale[i] = from->scale()->Get(i);
        // The verifier aligns a vector's length, not elements that are wider than it.
        int64_t zero_point;
        std::memcpy(&zero_point, from->zero_point()->Data() + (zero_points == 1 ? 0 : i) * sizeof zero_point,
                    sizeof zero_point);
        to->zero_point[i] = flatbuffers::EndianScalar(zero_point);
        if (!std::isfinite(to->scale[i]) || to->scale[i] <= 0) {
            status = Fail(SYSTOLE_BAD_FILE, kDamaged, "scale %u of tensor %u is %g, must be positive", i, index,
                          static_cast<double>(to->scale[i]));
        } else if (to->zero_point[i] < low || to->zero_point[i] > high) {
            status = Fail(SYSTOLE_BAD_FILE, kDamaged, "zero point %u of tensor %u is %lld, which its type cannot hold",
                          i, index, static_cast<long long>(to->zero_point[i]));
        }
    }
    to->count = count;
    to->dimension = count > 1 ? dimension : 0;
    return status;
}

systole_status Reader::ReadData(uint32_t index, uint32_t buffer) {
    systole_tensor *tensor = &graph_->tensors[index];
    uint32_t buffers = model_->buffers() == nullptr ? 0 : model_->buffers()->size();
    if (buffer >= buffers && buffer != 0) {
        return Fail(SYSTOLE_BAD_FILE, kDamaged, "tensor %u lies in buffer %u of %u", index, buffer, buffers);
    }
    const fb::Buffer *from = buffer == 0 ? nullptr : model_->buffers()->Get(buffer);
    if (from == nullptr) {
        return SYSTOLE_OK;
    }
    if (from->offset() > 1) {
        return Fail(SYSTOLE_UNSUPPORTED, "convert the model to a file below 2 GiB",
                    "tensor %u has its data outside the FlatBuffer", index);
    }
    size_t size = from->data() == nullptr ? 0 : from->data()->size();
    if (size == 0) {
        return SYSTOLE_OK;
    }
    if (tensor->dtype == SYSTOLE_STRING) {
        tensor->size = size;
    } else if (size != tensor->size) {
        return Fail(SYSTOLE_BAD_FILE, kDamaged, "tensor %u has %zu bytes of data, its shape says %zu", index, size,
                    tensor->size);
    }
    systole_status status = Allocate(size, &tensor->data);
    if (status == SYSTOLE_OK) {
        std::memcpy(tensor->data, from->data()->data(), size);
    }
    return status;
}

systole_status Reader::ReadTensor(uint32_t index) {
    const fb::Tensor *from = subgraph_->tensors()->Get(index);
    systole_tensor *tensor = &graph_->tensors[index];
    systole_status status = CopyString(from->name(), &tensor->name);
    if (status != SYSTOLE_OK) {
        return status;
    }
    int32_t type = from->type();
    if (!IsKnownType(type)) {
        return Fail(SYSTOLE_UNSUPPORTED, "convert the model to 8-bit integers or 32-bit floats",
                    "tensor %u has element type %d, which Systole does not know", index, type);
    }
    tensor->dtype = static_cast<systole_dtype>(type);
    if (from->sparsity() != nullptr) {
        return Fail(SYSTOLE_UNSUPPORTED, "convert the model without sparse tensors", "tensor %u is sparse", index);
    }
    uint32_t rank = from->shape() == nullptr ? 0 : from->shape()->size();
    if (rank > SYSTOLE_MAX_RANK) {
        return Fail(SYSTOLE_UNSUPPORTED, "reshape it in the model", "tensor %u has %u dimensions, at most %d are known",
                    index, rank, SYSTOLE_MAX_RANK);
    }
    tensor->rank = static_cast<int32_t>(rank);
    int64_t bytes = static_cast<int64_t>(systole_dtype_size(tensor->dtype));
    int64_t elements = 1;
    for (uint32_t i = 0; i < rank; i++) {
        tensor->shape[i] = from->shape()->Get(i);
        if (tensor->shape[i] < 0) {
            return Fail(SYSTOLE_BAD_FILE, "convert the model with a fixed input shape",
                        "dimension %u of tensor %u is %d", i, index, tensor->shape[i]);
        }
        elements *= tensor->shape[i];
        if (elements * (bytes == 0 ? 1 : bytes) > kLargestTensor) {
            return Fail(SYSTOLE_UNSUPPORTED, "split it in the model", "tensor %u is larger than 2 GiB", index);
        }
    }
    tensor->size = static_cast<size_t>(elements * bytes);
    tensor->is_variable = from->is_variable();
    status = ReadQuantisation(index, from->quantization());
    return status == SYSTOLE_OK ? ReadData(index, from->buffer()) : status;
}

systole_status Reader::ReadOperator(uint32_t index) {
    const fb::Operator *from = subgraph_->operators()->Get(index);
    systole_operator *op = &graph_->operators[index];
    uint32_t codes = model_->operator_codes() == nullptr ? 0 : model_->operator_codes()->size();
    if (from->opcode_index() >= codes) {
        return Fail(SYSTOLE_BAD_FILE, kDamaged, "operator %u has code %u of %u", index, from->opcode_index(), codes);
    }
    const fb::OperatorCode *code = model_->operator_codes()->Get(from->opcode_index());
    int32_t old_code = code->deprecated_builtin_code();
    op->code = code->builtin_code() > old_code ? code->builtin_code() : old_code;
    op->version = code->version();
    if (op->code < 0) {
        return Fail(SYSTOLE_BAD_FILE, kDamaged, "operator %u has builtin code %d", index, op->code);
    }
    char what[80];
    (void)std::snprintf(what, sizeof what, "operator %u (%s)", index, systole_operator_name(op->code));
    systole_status status = SYSTOLE_OK;
    if (op->code == SYSTOLE_OP_CUSTOM) {
        const flatbuffers::Vector<uint8_t> *options = from->custom_options();
        status = CopyString(code->custom_code(), &op->custom_name);
        if (status == SYSTOLE_OK && options != nullptr && options->size() > 0) {
            status = Allocate(options->size(), &op->custom_options);
            if (status == SYSTOLE_OK) {
                std::memcpy(op->custom_options, options->data(), options->size());
                op->custom_options_size = options->size();
            }
        }
    }
    char part[100];
    (void)std::snprintf(part, sizeof part, "%s: input", what);
    if (status == SYSTOLE_OK) {
        status = CopyIndices(from->inputs(), Entries::kOptional, part, &op->inputs, &op->input_count);
    }
    (void)std::snprintf(part, sizeof part, "%s: output", what);
    if (status == SYSTOLE_OK) {
        status = CopyIndices(from->outputs(), Entries::kTensors, part, &op->outputs, &op->output_count);
    }
    (void)std::snprintf(part, sizeof part, "%s: intermediate", what);
    if (status == SYSTOLE_OK) {
        status = CopyIndices(from->intermediates(), Entries::kIntermediates, part, &op->intermediates,
                             &op->intermediate_count);
    }
    if (status == SYSTOLE_OK) {
        status = OptionsReader(*this).Read(*from, op, what);
    }
    return status;
}

// Each tensor is a constant, a variable, an input, or computed by exactly one operator before it is used.
systole_status Reader::CheckOrder() {
    bool emptied = HasMetadata("systole.emptied");
    bool *ready = nullptr;
    bool *computed = nullptr;
    systole_status status = Allocate(graph_->tensor_count, &ready);
    if (status == SYSTOLE_OK) {
        status = Allocate(graph_->tensor_count, &computed);
    }
    for (uint32_t i = 0; i < graph_->tensor_count && status == SYSTOLE_OK; i++) {
        ready[i] = graph_->tensors[i].data != nullptr || graph_->tensors[i].is_variable;
    }
    for (uint32_t i = 0; i < graph_->input_count && status == SYSTOLE_OK; i++) {
        if (graph_->tensors[graph_->inputs[i]].data != nullptr) {
            status = Fail(SYSTOLE_BAD_FILE, kDamaged, "input %u is tensor %d, a constant", i, graph_->inputs[i]);
        }
        ready[graph_->inputs[i]] = true;
    }
    for (uint32_t o = 0; o < graph_->operator_count && status == SYSTOLE_OK; o++) {
        const systole_operator *op = &graph_->operators[o];
        for (uint32_t i = 0; i < op->output_count; i++) {
            computed[op->outputs[i]] = true;
        }
    }
    for (uint32_t o = 0; o < graph_->operator_count && status == SYSTOLE_OK; o++) {
        const systole_operator *op = &graph_->operators[o];
        for (uint32_t i = 0; i < op->input_count && status == SYSTOLE_OK; i++) {
            int32_t tensor = op->inputs[i];
            if (tensor < 0 || ready[tensor]) {
                continue;
            }
            if (!emptied || computed[tensor]) {
                status = Fail(SYSTOLE_BAD_FILE, kDamaged, "operator %u (%s) reads tensor %d before it has a value", o,
                              systole_operator_name(op->code), tensor);
            } else {
                graph_->tensors[tensor].was_constant = true;
                ready[tensor] = true;
            }
        }
        for (uint32_t i = 0; i < op->output_count && status == SYSTOLE_OK; i++) {
            int32_t tensor = op->outputs[i];
            if (ready[tensor]) {
                status = Fail(SYSTOLE_BAD_FILE, kDamaged, "operator %u (%s) writes tensor %d, which has a value", o,
                              systole_operator_name(op->code), tensor);
            }
            ready[tensor] = true;
        }
    }
    for (uint32_t i = 0; i < graph_->output_count && status == SYSTOLE_OK; i++) {
        if (!ready[graph_->outputs[i]]) {
            status =
                Fail(SYSTOLE_BAD_FILE, kDamaged, "output %u, tensor %d, never gets a value", i, graph_->outputs[i]);
        }
    }
    std::free(computed);
    std::free(ready);
    return status;
}

systole_status Reader::Read() {
    if (size_ < 8 || std::memcmp(bytes_ + 4, fb::ModelIdentifier(), 4) != 0) {
        return Fail(SYSTOLE_BAD_FILE, "give a .tflite file", "not a TensorFlow Lite model");
    }
    if (size_ >= FLATBUFFERS_MAX_BUFFER_SIZE) {
        return Fail(SYSTOLE_UNSUPPORTED, "give a file below 2 GiB", "the model is too large");
    }
    flatbuffers::Verifier verifier(bytes_, size_, 64, 1000000);
    if (!fb::VerifyModelBuffer(verifier)) {
        return Fail(SYSTOLE_BAD_FILE, kDamaged, "the model's FlatBuffer is not valid");
    }
    model_ = fb::GetModel(bytes_);
    if (model_->version() != kFormatVersion) {
        return Fail(SYSTOLE_UNSUPPORTED, "convert the model with a current converter",
                    "the model has format version %u, 3 is known", model_->version());
    }
    uint32_t subgraphs = model_->subgraphs() == nullptr ? 0 : model_->subgraphs()->size();
    if (subgraphs == 0) {
        return Fail(SYSTOLE_BAD_FILE, kDamaged, "the model has no subgraph");
    }
    if (subgraphs > 1) {
        return Fail(SYSTOLE_UNSUPPORTED, "export it without control flow and with one signature",
                    "the model has %u subgraphs, one is supported", subgraphs);
    }
    subgraph_ = model_->subgraphs()->Get(0);
    (void)std::snprintf(graph_->name, sizeof graph_->name, "%s",
                        subgraph_->name() == nullptr ? "" : subgraph_->name()->c_str());
    ReplaceControls(graph_->name);

    uint32_t tensors = subgraph_->tensors() == nullptr ? 0 : subgraph_->tensors()->size();
    uint32_t operators = subgraph_->operators() == nullptr ? 0 : subgraph_->operators()->size();
    systole_status status = Allocate(tensors, &graph_->tensors);
    if (status == SYSTOLE_OK) {
        graph_->tensor_count = tensors;
        status = Allocate(operators, &graph_->operators);
    }
    if (status == SYSTOLE_OK) {
        graph_->operator_count = operators;
    }
    for (uint32_t i = 0; i < tensors && status == SYSTOLE_OK; i++) {
        status = ReadTensor(i);
    }
    if (status == SYSTOLE_OK) {
        status =
            CopyIndices(subgraph_->inputs(), Entries::kTensors, "model input", &graph_->inputs, &graph_->input_count);
    }
    if (status == SYSTOLE_OK) {
        status = CopyIndices(subgraph_->outputs(), Entries::kTensors, "model output", &graph_->outputs,
                             &graph_->output_count);
    }
    if (status == SYSTOLE_OK && (graph_->output_count == 0 || operators == 0)) {
        status = Fail(SYSTOLE_BAD_FILE, kDamaged, "the model computes nothing");
    }
    for (uint32_t i = 0; i < operators && status == SYSTOLE_OK; i++) {
        status = ReadOperator(i);
    }
    return status == SYSTOLE_OK ? CheckOrder() : status;
}

} // namespace

extern "C" systole_status systole_graph_read(const uint8_t *bytes, size_t size, const char *name, systole_graph *graph,
                                             systole_diagnostic *diagnostic) {
    std::memset(graph, 0, sizeof *graph);
    // FlatBuffers' accesses are aligned relative to the first byte; only malloc promises that it is.
    uint8_t *aligned = static_cast<uint8_t *>(std::malloc(size == 0 ? 1 : size));
    if (aligned == nullptr) {
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, name, "", "no memory for the model");
    }
    if (size > 0) {
        std::memcpy(aligned, bytes, size);
    }
    systole_status status = Reader(aligned, size, name, graph, diagnostic).Read();
    if (status != SYSTOLE_OK) {
        systole_graph_free(graph);
    }
    std::free(aligned);
    return status;
}
