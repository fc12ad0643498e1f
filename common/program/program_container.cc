// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The .systole file: a FlatBuffer with a CRC over itself, so that damage is told from a program that is merely wrong.
// Reading trusts nothing, the CRC least: FlatBuffers' verifier, every count and index, then systole_program_verify.
// Tables of a FlatBuffer may be shared, so what is allocated is held to a budget in proportion to the file.
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include "program_generated.h"

extern "C" {
#include "program.h"
#include "target.h"
}

namespace {

namespace fb = systole::container;
using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;

constexpr size_t kLargestFile = size_t{1} << 30;
constexpr size_t kBudgetBase = size_t{1} << 20;
constexpr size_t kBudgetFactor = 16; // of the file's size
constexpr size_t kAlignment = 16;
constexpr uint32_t kPlaceholder = 0xFFFFFFFF; // keeps the CRC's field from being left out as a default
const char *const kRecompile = "compile the model again";

fb::SegmentIo WriteIo(const systole_segment_io &io) {
    const systole_placement &p = io.placement;
    return fb::SegmentIo(io.tensor_index, p.address, p.height, p.width, p.channels, p.row_stride, p.tile_stride,
                         p.pixel_stride, p.layout, p.is_unsigned);
}

Offset<flatbuffers::Vector<const fb::SegmentIo *>> WriteIos(FlatBufferBuilder &builder, const systole_segment_io *ios,
                                                            uint32_t count) {
    std::vector<fb::SegmentIo> written;
    for (uint32_t i = 0; i < count; i++) {
        written.push_back(WriteIo(ios[i]));
    }
    return builder.CreateVectorOfStructs(written);
}

Offset<flatbuffers::Vector<uint8_t>> WriteBytes(FlatBufferBuilder &builder, const void *bytes, size_t size) {
    builder.ForceVectorAlignment(size, sizeof(uint8_t), kAlignment);
    return builder.CreateVector(static_cast<const uint8_t *>(bytes), size);
}

Offset<fb::Segment> WriteSegment(FlatBufferBuilder &builder, const systole_segment &segment, uint32_t columns) {
    auto commands = WriteBytes(builder, segment.commands, size_t{segment.command_count} * SYSTOLE_COMMAND_BYTES);
    std::vector<fb::CommandInfo> info;
    for (uint32_t i = 0; i < segment.command_count; i++) {
        const systole_command_info &c = segment.info[i];
        info.emplace_back(c.operator_index, c.tensor_index, c.y0, c.y1, c.x0, c.x1, c.c0, c.c1, c.predicted_start,
                          c.predicted_end, c.y_step, c.x_step);
    }
    auto info_vector = builder.CreateVectorOfStructs(info);
    auto parameters = WriteBytes(builder, segment.parameters, size_t{segment.parameter_words} * columns);
    auto regions = builder.CreateVector(segment.region_words, SYSTOLE_REGIONS);
    auto inputs = WriteIos(builder, segment.inputs, segment.input_count);
    auto outputs = WriteIos(builder, segment.outputs, segment.output_count);
    auto tensors = WriteIos(builder, segment.tensors, segment.tensor_count);
    return fb::CreateSegment(builder, commands, info_vector, parameters, regions, inputs, outputs, tensors,
                             segment.predicted_cycles, segment.resident);
}

void WriteProgram(FlatBufferBuilder &builder, const systole_program &program) {
    const systole_target &t = program.target;
    auto target =
        fb::CreateTarget(builder, builder.CreateString(t.name), t.cores, t.rows, t.columns, t.taps, t.scratchpad_bytes,
                         t.banks, t.accumulators, t.weight_port_rows, t.link_millibytes_per_cycle, t.clock_hz);
    std::vector<Offset<fb::Segment>> segments;
    for (uint32_t i = 0; i < program.segment_count; i++) {
        segments.push_back(WriteSegment(builder, program.segments[i], t.columns));
    }
    std::vector<fb::Step> steps;
    for (uint32_t i = 0; i < program.step_count; i++) {
        steps.emplace_back(program.steps[i].place, program.steps[i].index);
    }
    std::vector<Offset<fb::OperatorInfo>> operators;
    for (uint32_t i = 0; i < program.operator_count; i++) {
        const systole_operator_info &o = program.operators[i];
        auto name = builder.CreateString(o.name);
        auto reason = builder.CreateString(o.reason);
        auto detail = builder.CreateString(o.detail);
        operators.push_back(
            fb::CreateOperatorInfo(builder, name, o.place, o.segment, reason, detail, o.macs, o.predicted_cycles));
    }
    auto segment_vector = builder.CreateVector(segments);
    auto step_vector = builder.CreateVectorOfStructs(steps);
    auto operator_vector = builder.CreateVector(operators);
    auto model = WriteBytes(builder, program.model, program.model_size);
    auto model_name = builder.CreateString(program.model_name);
    fb::FinishProgramBuffer(builder,
                            fb::CreateProgram(builder, SYSTOLE_PROGRAM_VERSION, kPlaceholder, target, segment_vector,
                                              step_vector, operator_vector, model, model_name));
}

// CRC of the file with the four bytes at `field` as zero.
uint32_t FileCrc(const uint8_t *bytes, size_t size, size_t field) {
    static const uint8_t zero[4] = {0, 0, 0, 0};
    uint32_t crc = systole_crc32(0, bytes, field);
    crc = systole_crc32(crc, zero, sizeof zero);
    return systole_crc32(crc, bytes + field + sizeof zero, size - field - sizeof zero);
}

// Where the CRC lies in a verified file; 0: it has none.
size_t CrcField(const uint8_t *bytes) {
    const uint8_t *table = reinterpret_cast<const uint8_t *>(fb::GetProgram(bytes));
    auto offset = reinterpret_cast<const flatbuffers::Table *>(table)->GetOptionalFieldOffset(fb::Program::VT_CRC);
    return offset == 0 ? 0 : static_cast<size_t>(table - bytes) + offset;
}

class Reader {
  public:
    Reader(const uint8_t *bytes, size_t size, const char *path, systole_program *program,
           systole_diagnostic *diagnostic)
        : bytes_(bytes), size_(size), path_(path), program_(program), diagnostic_(diagnostic),
          budget_(kBudgetBase + kBudgetFactor * size) {
    }
    systole_status Read();

  private:
    systole_status Fail(systole_status status, const char *hint, const char *format, ...)
        __attribute__((format(printf, 4, 5)));
    systole_status Damaged(const char *what) {
        return Fail(SYSTOLE_BAD_FILE, kRecompile, "the program is damaged: %s", what);
    }
    template <typename T> systole_status Allocate(size_t count, T **out);
    systole_status CopyText(const flatbuffers::String *from, char *to, size_t size, const char *what);
    systole_status ReadTarget(const fb::Target *from);
    systole_status ReadIos(const flatbuffers::Vector<const fb::SegmentIo *> *from, systole_segment_io **to,
                           uint32_t *count);
    systole_status ReadSegment(const fb::Segment *from, systole_segment *to);
    systole_status ReadOperator(const fb::OperatorInfo *from, systole_operator_info *to);
    systole_status ReadProgram(const fb::Program *from);

    const uint8_t *bytes_;
    size_t size_;
    const char *path_;
    systole_program *program_;
    systole_diagnostic *diagnostic_;
    size_t budget_;
};

systole_status Reader::Fail(systole_status status, const char *hint, const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    (void)std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return systole_fail(diagnostic_, status, path_, hint, "%s", text);
}

// Arrays without elements have an address, too, so that no user has to tell them from missing ones.
template <typename T> systole_status Reader::Allocate(size_t count, T **out) {
    size_t bytes = (count == 0 ? 1 : count) * sizeof(T);
    if (bytes > budget_) {
        return Damaged("it shares its parts so often that it outgrows its file");
    }
    budget_ -= bytes;
    *out = static_cast<T *>(std::calloc(1, bytes));
    return *out != nullptr ? SYSTOLE_OK : Fail(SYSTOLE_OUT_OF_MEMORY, "", "no memory for the program");
}

systole_status Reader::CopyText(const flatbuffers::String *from, char *to, size_t size, const char *what) {
    size_t length = from == nullptr ? 0 : from->size();
    if (length >= size) {
        return Fail(SYSTOLE_BAD_FILE, kRecompile, "the program is damaged: its %s has %zu characters", what, length);
    }
    for (size_t i = 0; i < length; i++) {
        uint8_t c = static_cast<uint8_t>(from->c_str()[i]);
        if (c < 0x20 || c == 0x7F) {
            return Fail(SYSTOLE_BAD_FILE, kRecompile, "the program is damaged: its %s has a control character", what);
        }
        to[i] = from->c_str()[i];
    }
    return SYSTOLE_OK;
}

systole_status Reader::ReadTarget(const fb::Target *from) {
    if (from == nullptr) {
        return Damaged("it names no target");
    }
    systole_target *to = &program_->target;
    to->cores = from->cores();
    to->rows = from->rows();
    to->columns = from->columns();
    to->taps = from->taps();
    to->scratchpad_bytes = from->scratchpad_bytes();
    to->banks = from->banks();
    to->accumulators = from->accumulators();
    to->weight_port_rows = from->weight_port_rows();
    to->link_millibytes_per_cycle = from->link_millibytes_per_cycle();
    to->clock_hz = from->clock_hz();
    systole_status status = CopyText(from->name(), to->name, sizeof to->name, "target's name");
    systole_diagnostic cause;
    if (status == SYSTOLE_OK && systole_target_check(to, &cause) != SYSTOLE_OK) {
        status = Damaged(cause.what);
    }
    return status;
}

systole_status Reader::ReadIos(const flatbuffers::Vector<const fb::SegmentIo *> *from, systole_segment_io **to,
                               uint32_t *count) {
    uint32_t length = from == nullptr ? 0 : from->size();
    systole_status status = Allocate(length, to);
    for (uint32_t i = 0; i < length && status == SYSTOLE_OK; i++) {
        const fb::SegmentIo *io = from->Get(i);
        (*to)[i] = {io->tensor_index(),
                    {io->address(), io->height(), io->width(), io->channels(), io->row_stride(), io->tile_stride(),
                     io->pixel_stride(), io->layout(), io->is_unsigned()}};
    }
    *count = status == SYSTOLE_OK ? length : 0;
    return status;
}

systole_status Reader::ReadSegment(const fb::Segment *from, systole_segment *to) {
    size_t command_bytes = from->commands() == nullptr ? 0 : from->commands()->size();
    size_t parameter_bytes = from->parameters() == nullptr ? 0 : from->parameters()->size();
    size_t count = command_bytes / SYSTOLE_COMMAND_BYTES;
    size_t infos = from->info() == nullptr ? 0 : from->info()->size();
    size_t columns = program_->target.columns;
    if (command_bytes % SYSTOLE_COMMAND_BYTES != 0 || count == 0) {
        return Damaged("a segment's commands are no whole number");
    }
    if (infos != count) {
        return Damaged("a segment does not describe each of its commands");
    }
    if (parameter_bytes % columns != 0) {
        return Damaged("a segment's parameters are no whole number of words");
    }
    if (from->region_words() == nullptr || from->region_words()->size() != SYSTOLE_REGIONS) {
        return Damaged("a segment does not give the size of every region");
    }
    systole_status status = Allocate(count, &to->commands);
    if (status == SYSTOLE_OK) {
        std::memcpy(to->commands, from->commands()->data(), command_bytes);
        to->command_count = static_cast<uint32_t>(count);
        status = Allocate(count, &to->info);
    }
    for (uint32_t i = 0; i < count && status == SYSTOLE_OK; i++) {
        const fb::CommandInfo *c = from->info()->Get(i);
        to->info[i] = {c->operator_index(),
                       c->tensor_index(),
                       c->y0(),
                       c->y1(),
                       c->x0(),
                       c->x1(),
                       c->c0(),
                       c->c1(),
                       c->y_step(),
                       c->x_step(),
                       c->predicted_start(),
                       c->predicted_end()};
    }
    if (status == SYSTOLE_OK) {
        status = Allocate(parameter_bytes, &to->parameters);
    }
    if (status == SYSTOLE_OK) {
        if (parameter_bytes > 0) {
            std::memcpy(to->parameters, from->parameters()->data(), parameter_bytes);
        }
        to->parameter_words = static_cast<uint32_t>(parameter_bytes / columns);
        for (uint32_t i = 0; i < SYSTOLE_REGIONS; i++) {
            to->region_words[i] = from->region_words()->Get(i);
        }
        to->predicted_cycles = from->predicted_cycles();
        to->resident = from->resident();
        status = ReadIos(from->inputs(), &to->inputs, &to->input_count);
    }
    if (status == SYSTOLE_OK) {
        status = ReadIos(from->outputs(), &to->outputs, &to->output_count);
    }
    return status == SYSTOLE_OK ? ReadIos(from->tensors(), &to->tensors, &to->tensor_count) : status;
}

systole_status Reader::ReadOperator(const fb::OperatorInfo *from, systole_operator_info *to) {
    to->place = from->place();
    to->segment = from->segment();
    to->macs = from->macs();
    to->predicted_cycles = from->predicted_cycles();
    systole_status status = CopyText(from->name(), to->name, sizeof to->name, "operator's name");
    if (status == SYSTOLE_OK) {
        status = CopyText(from->reason(), to->reason, sizeof to->reason, "operator's reason");
    }
    return status == SYSTOLE_OK ? CopyText(from->detail(), to->detail, sizeof to->detail, "operator's detail") : status;
}

systole_status Reader::ReadProgram(const fb::Program *from) {
    systole_status status = ReadTarget(from->target());
    if (status == SYSTOLE_OK) {
        status = CopyText(from->model_name(), program_->model_name, sizeof program_->model_name, "model's name");
    }
    uint32_t segments = from->segments() == nullptr ? 0 : from->segments()->size();
    uint32_t steps = from->steps() == nullptr ? 0 : from->steps()->size();
    uint32_t operators = from->operators() == nullptr ? 0 : from->operators()->size();
    size_t model_size = from->model() == nullptr ? 0 : from->model()->size();
    if (status == SYSTOLE_OK) {
        status = Allocate(segments, &program_->segments);
    }
    if (status == SYSTOLE_OK) {
        program_->segment_count = segments;
        status = Allocate(steps, &program_->steps);
    }
    if (status == SYSTOLE_OK) {
        program_->step_count = steps;
        status = Allocate(operators, &program_->operators);
    }
    if (status == SYSTOLE_OK) {
        program_->operator_count = operators;
        status = Allocate(model_size, &program_->model);
    }
    if (status == SYSTOLE_OK && model_size > 0) {
        std::memcpy(program_->model, from->model()->data(), model_size);
        program_->model_size = model_size;
    }
    for (uint32_t i = 0; i < steps && status == SYSTOLE_OK; i++) {
        const fb::Step *step = from->steps()->Get(i);
        if (step->place() > SYSTOLE_PLACE_DEVICE) {
            return Damaged("a step runs nowhere");
        }
        program_->steps[i] = {static_cast<uint8_t>(step->place()), step->index()};
    }
    for (uint32_t i = 0; i < operators && status == SYSTOLE_OK; i++) {
        status = ReadOperator(from->operators()->Get(i), &program_->operators[i]);
    }
    for (uint32_t i = 0; i < segments && status == SYSTOLE_OK; i++) {
        status = ReadSegment(from->segments()->Get(i), &program_->segments[i]);
    }
    return status;
}

systole_status Reader::Read() {
    if (size_ < 8 || std::memcmp(bytes_ + 4, fb::ProgramIdentifier(), 4) != 0) {
        return Fail(SYSTOLE_BAD_FILE, "make one with `systole compile`", "not a compiled Systole program");
    }
    if (size_ > kLargestFile) {
        return Fail(SYSTOLE_UNSUPPORTED, kRecompile, "the program is larger than 1 GiB");
    }
    flatbuffers::Verifier verifier(bytes_, size_, 64, 1000000);
    if (!fb::VerifyProgramBuffer(verifier)) {
        return Damaged("its FlatBuffer is not valid");
    }
    const fb::Program *from = fb::GetProgram(bytes_);
    if (from->version() != SYSTOLE_PROGRAM_VERSION) {
        return Fail(SYSTOLE_UNSUPPORTED, kRecompile, "the program has version %u, this software knows %u",
                    from->version(), SYSTOLE_PROGRAM_VERSION);
    }
    size_t field = CrcField(bytes_);
    if (field == 0 || FileCrc(bytes_, size_, field) != from->crc()) {
        return Damaged("its CRC does not match");
    }
    systole_status status = ReadProgram(from);
    systole_diagnostic cause;
    if (status == SYSTOLE_OK) {
        status = systole_program_verify(program_, &cause);
        if (status != SYSTOLE_OK) {
            status = Fail(status == SYSTOLE_OUT_OF_MEMORY ? status : SYSTOLE_BAD_FILE, cause.hint, "%s", cause.what);
        }
    }
    return status;
}

} // namespace

extern "C" systole_status systole_program_write(const systole_program *program, uint8_t **bytes, size_t *size,
                                                systole_diagnostic *diagnostic) {
    *bytes = nullptr;
    *size = 0;
    size_t estimate = program->model_size + 4096;
    for (uint32_t i = 0; i < program->segment_count; i++) {
        const systole_segment &segment = program->segments[i];
        estimate += size_t{segment.parameter_words} * program->target.columns +
                    size_t{segment.command_count} * (SYSTOLE_COMMAND_BYTES + sizeof(systole_command_info));
    }
    if (estimate > kLargestFile) {
        return systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, program->model_name, "split the model",
                            "a program of %zu bytes is too large for one file", estimate);
    }
    try {
        FlatBufferBuilder builder(estimate);
        WriteProgram(builder, *program);
        uint8_t *written = builder.GetBufferPointer();
        uint32_t crc = FileCrc(written, builder.GetSize(), CrcField(written));
        (void)fb::GetMutableProgram(written)->mutate_crc(crc);
        *bytes = static_cast<uint8_t *>(std::malloc(builder.GetSize()));
        if (*bytes == nullptr) {
            throw std::bad_alloc();
        }
        *size = builder.GetSize();
        std::memcpy(*bytes, written, *size);
        return SYSTOLE_OK;
    } catch (const std::bad_alloc &) {
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, program->model_name, "",
                            "no memory to write the program");
    }
}

extern "C" systole_status systole_program_read(const uint8_t *bytes, size_t size, const char *path,
                                               systole_program *program, systole_diagnostic *diagnostic) {
    std::memset(program, 0, sizeof *program);
    // FlatBuffers' accesses are aligned relative to the first byte; only malloc promises that it is.
    uint8_t *aligned = static_cast<uint8_t *>(std::malloc(size == 0 ? 1 : size));
    if (aligned == nullptr) {
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, path, "", "no memory for the program");
    }
    if (size > 0) {
        std::memcpy(aligned, bytes, size);
    }
    systole_status status = Reader(aligned, size, path, program, diagnostic).Read();
    if (status != SYSTOLE_OK) {
        systole_program_free(program);
    }
    std::free(aligned);
    return status;
}

extern "C" void systole_program_free(systole_program *program) {
    for (uint32_t i = 0; i < program->segment_count; i++) {
        systole_segment *segment = &program->segments[i];
        std::free(segment->tensors);
        std::free(segment->outputs);
        std::free(segment->inputs);
        std::free(segment->parameters);
        std::free(segment->info);
        std::free(segment->commands);
    }
    std::free(program->model);
    std::free(program->operators);
    std::free(program->steps);
    std::free(program->segments);
    std::memset(program, 0, sizeof *program);
}
