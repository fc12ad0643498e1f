// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What the parts of the .tflite reader share, and the part that reads operators' options. In C++, for the reader alone.
#ifndef SYSTOLE_OPERATOR_OPTIONS_H
#define SYSTOLE_OPERATOR_OPTIONS_H

#include "tflite_generated.h"

extern "C" {
#include "graph.h"
}

namespace systole {

inline const char *const kDamaged = "the file is damaged; convert the model again";

// An element type that a tensor may have.
bool IsKnownType(int32_t type);

// The bytes of a model (FlatBuffers' verifier has passed them before anything is read), and where failures go.
class ModelFile {
  public:
    ModelFile(const uint8_t *bytes, size_t size, const char *name, systole_diagnostic *diagnostic)
        : bytes_(bytes), size_(size), name_(name), diagnostic_(diagnostic) {
    }

  protected:
    systole_status Fail(systole_status status, const char *hint, const char *format, ...) const
        __attribute__((format(printf, 4, 5)));

    const uint8_t *bytes_;
    size_t size_;
    const char *name_;
    systole_diagnostic *diagnostic_;
};

class OptionsReader : private ModelFile {
  public:
    explicit OptionsReader(const ModelFile &file) : ModelFile(file) {
    }
    // Fills op->options, options_type and options_unknown; op->code is set. `what` names the operator in failures.
    systole_status Read(const tflite::Operator &from, systole_operator *op, const char *what) const;

  private:
    systole_status ReadWindow(int32_t padding, int32_t activation, systole_options *options, const char *what) const;
    bool IsEmptyTable(const void *table) const;
};

} // namespace systole

#endif
