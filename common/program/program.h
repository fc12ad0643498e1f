// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A compiled model: what the compiler makes, a .systole file holds and the runtime executes. The file is a FlatBuffer
// (common/program/program.fbs, file identifier "SYS1"); this is its form in memory.
#ifndef SYSTOLE_PROGRAM_H
#define SYSTOLE_PROGRAM_H

#include "status.h"
#include "systole_spec.h"

#define SYSTOLE_PROGRAM_VERSION 3u

enum systole_layout {
    SYSTOLE_LAYOUT_TILED,  // element (y, x, c): word tile(c)*tile_stride + y*row_stride + x*pixel_stride, lane c %
                           // columns
    SYSTOLE_LAYOUT_PACKED, // element (y, x, c): byte y*row_stride*columns + x*channels + c
};

// Address of a tensor that never is whole on the device: the commands that write its boxes say where those lie. What is
// in region host lies there whole; its boxes on the device are where their commands write them, too.
#define SYSTOLE_PLACED_IN_PARTS 0xF0000000u

// Where a tensor lies on the device. A tensor of any rank is height x width x channels: channels the last dimension,
// width the one before, height the product of the rest (missing ones are 1). Lanes and bytes that hold no element
// have no defined value and are never used.
struct systole_placement {
    uint32_t address; // region and word
    uint32_t height, width, channels;
    uint32_t row_stride, tile_stride, pixel_stride; // words
    uint8_t layout;
    uint8_t is_unsigned;
};

// What one command computes: a box of one tensor, for verification, traces and errors.
struct systole_command_info {
    int32_t operator_index; // in the model
    int32_t tensor_index;   // tensor whose box it writes; -1: none
    uint32_t y0, y1, x0, x1, c0, c1;
    uint32_t y_step, x_step;                 // rows and columns y0, y0 + y_step ... below y1; 0 counts as 1
    uint32_t predicted_start, predicted_end; // cycles since the doorbell
};

static inline uint32_t systole_box_rows(const struct systole_command_info *info) {
    return info->y_step > 1 ? (info->y1 - info->y0 + info->y_step - 1) / info->y_step : info->y1 - info->y0;
}
static inline uint32_t systole_box_columns(const struct systole_command_info *info) {
    return info->x_step > 1 ? (info->x1 - info->x0 + info->x_step - 1) / info->x_step : info->x1 - info->x0;
}

struct systole_segment_io {
    int32_t tensor_index;
    struct systole_placement placement;
};

// One stretch of operators that runs on the device without the host.
struct systole_segment {
    struct systole_command *commands;
    struct systole_command_info *info; // one a command
    uint32_t command_count;
    uint8_t *parameters; // bytes, a whole number of words
    uint32_t parameter_words;
    uint32_t region_words[SYSTOLE_REGIONS]; // needed size of each region; program and parameters included
    struct systole_segment_io *inputs, *outputs;
    uint32_t input_count, output_count;
    struct systole_segment_io *tensors; // every tensor that exists on the device at some time (outputs included)
    uint32_t tensor_count;
    uint64_t predicted_cycles; // total, as run_complete will report it
    bool resident;             // program and parameters fit beside the activations
};

enum systole_place { SYSTOLE_PLACE_CPU, SYSTOLE_PLACE_DEVICE };

struct systole_operator_info {
    char name[48];    // "CONV_2D"
    uint8_t place;    // enum systole_place
    int32_t segment;  // of the device; -1 on the CPU
    char reason[48];  // stable reason code when on the CPU, or "folded", "fused" ...; empty: plainly on the device
    char detail[256]; // the same for a person: tensor, value against limit, remedy
    uint64_t macs;
    uint64_t predicted_cycles;
};

// Steps in the order of execution: device segments and CPU operators.
struct systole_step {
    uint8_t place;
    uint32_t index; // segment, or operator of the model
};

struct systole_program {
    struct systole_target target;
    struct systole_segment *segments;
    uint32_t segment_count;
    struct systole_step *steps;
    uint32_t step_count;
    struct systole_operator_info *operators; // one an operator of the model
    uint32_t operator_count;
    uint8_t *model; // a .tflite: the same graph, constants that only device operators use emptied
    size_t model_size;
    char model_name[128]; // base name of the source
};

void systole_program_free(struct systole_program *program); // frees the members, not the struct; may be called twice

// Serialises to malloc'ed bytes that the caller frees. The same program gives the same bytes.
enum systole_status systole_program_write(const struct systole_program *program, uint8_t **bytes, size_t *size,
                                          struct systole_diagnostic *diagnostic);
// Reads untrusted bytes: FlatBuffers' verifier, then bounds of every index, then systole_program_verify.
enum systole_status systole_program_read(const uint8_t *bytes, size_t size, const char *path,
                                         struct systole_program *program, struct systole_diagnostic *diagnostic);

// Refuses what hardware would refuse or what could hang: opcodes and fields out of bounds, units of other opcodes,
// waits for commands that come later or never retire (token balance), addresses outside their regions (every extreme
// address of every walk), conv blocks beyond the accumulators, pairs of commands of different units that touch the
// same words with no token chain between them (hazards).
enum systole_status systole_program_verify(const struct systole_program *program,
                                           struct systole_diagnostic *diagnostic);

// One line a command: index, unit, opcode, every field by name, waits as unit>=count.
// Writes at most `size` bytes with the terminator; returns the length it wanted, like snprintf.
int systole_disassemble(const struct systole_command *command, uint32_t index, char *text, size_t size);

// Copies between dense row-major bytes (height x width x channels) and the placement's words. `words` points at the
// placement's first word (word offset 0 of the address). Lanes without an element are written as 0.
void systole_placement_pack(const struct systole_placement *placement, uint32_t columns, const uint8_t *dense,
                            uint8_t *words);
void systole_placement_unpack(const struct systole_placement *placement, uint32_t columns, const uint8_t *words,
                              uint8_t *dense);
// Whether the words' bytes, in order, begin with exactly the dense bytes, so that neither copy is needed.
bool systole_placement_is_dense(const struct systole_placement *placement, uint32_t columns);
// Words from the placement's first to behind its last.
uint32_t systole_placement_words(const struct systole_placement *placement, uint32_t columns);

#endif
