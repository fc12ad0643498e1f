// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "sample_program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT(region, offset) ((uint32_t)(region) << 28 | (uint32_t)(offset))
#define SIDE 8u
#define MAP (SIDE * SIDE)

uint32_t sample_wait(enum systole_unit unit, uint32_t count) {
    return (uint32_t)unit << 24 | count;
}

static void *allocate(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (memory == NULL) { // also used outside of tests, where Check's assertions do not work
        perror("calloc");
        exit(2);
    }
    return memory;
}

// A walk over one tile of SIDE x SIDE.
static void window(struct systole_command *command, enum systole_opcode opcode, enum systole_unit unit, uint32_t input,
                   uint32_t output, uint8_t kernel, uint8_t stride) {
    struct systole_window *w = &command->body.window;
    command->header.opcode = (uint8_t)opcode;
    command->header.unit = (uint8_t)unit;
    w->input_address = input;
    w->input_row_stride = SIDE;
    w->input_tile_stride = MAP;
    w->input_pixel_stride = 1;
    w->input_height = SIDE;
    w->input_width = SIDE;
    w->input_tiles = 1;
    w->origin_y = w->origin_x = kernel == 3 ? -1 : 0;
    w->kernel_height = w->kernel_width = kernel;
    w->stride_y = w->stride_x = stride;
    w->dilation_y = w->dilation_x = 1;
    w->output_address = output;
    w->output_row_stride = SIDE / stride;
    w->output_tile_stride = MAP;
    w->output_pixel_stride = 1;
    w->output_height = w->output_width = (uint16_t)(SIDE / stride);
    w->output_tiles = 1;
    w->clamp_min = -128;
    w->clamp_max = 127;
}

static void describe(struct systole_segment_io *io, int32_t tensor, uint32_t address, uint32_t side) {
    io->tensor_index = tensor;
    io->placement = (struct systole_placement){.address = address,
                                               .height = side,
                                               .width = side,
                                               .channels = 16,
                                               .row_stride = side,
                                               .tile_stride = side * side,
                                               .pixel_stride = 1};
}

static void make_commands(struct systole_segment *segment) {
    const uint32_t input = AT(SYSTOLE_REGION_INPUT, 0);
    const uint32_t first = AT(SYSTOLE_REGION_ACTIVATIONS, 0);
    const uint32_t second = AT(SYSTOLE_REGION_ACTIVATIONS, MAP);
    const uint32_t third = AT(SYSTOLE_REGION_ACTIVATIONS, 2 * MAP);
    struct systole_command *c = segment->commands;
    window(&c[0], SYSTOLE_OPCODE_CONV, SYSTOLE_UNIT_ARRAY, input, first, 3, 1);
    c[0].body.window.block_rows = 8;
    c[0].body.window.tile_rows = 16;
    c[0].body.window.parameter_address = AT(SYSTOLE_REGION_PARAMETERS, 0);

    window(&c[1], SYSTOLE_OPCODE_DEPTHWISE, SYSTOLE_UNIT_DEPTHWISE, first, second, 3, 1);
    c[1].header.wait0 = sample_wait(SYSTOLE_UNIT_ARRAY, 1);
    c[1].body.window.parameter_address = AT(SYSTOLE_REGION_PARAMETERS, 12 + 9 * 16);

    struct systole_elementwise *e = &c[2].body.elementwise;
    c[2].header.opcode = SYSTOLE_OPCODE_ADD;
    c[2].header.unit = SYSTOLE_UNIT_ELEMENTWISE;
    c[2].header.wait0 = sample_wait(SYSTOLE_UNIT_DEPTHWISE, 1); // and through it the convolution
    *e = (struct systole_elementwise){.input_address = first,
                                      .input_row_stride = SIDE,
                                      .input2_address = second,
                                      .input2_row_stride = SIDE,
                                      .output_address = AT(SYSTOLE_REGION_OUTPUT, 0),
                                      .output_row_stride = SIDE,
                                      .input_pixel_stride = 1,
                                      .input2_pixel_stride = 1,
                                      .output_pixel_stride = 1,
                                      .height = SIDE,
                                      .width = SIDE,
                                      .tiles = 1,
                                      .clamp_min = -128,
                                      .clamp_max = 127,
                                      .left_shift = 20,
                                      .input_multiplier = 1 << 30,
                                      .input2_multiplier = 1 << 30,
                                      .output_multiplier = 1 << 30,
                                      .output_shift = -18};

    window(&c[3], SYSTOLE_OPCODE_CONV, SYSTOLE_UNIT_ARRAY, second, third, 1, 1);
    c[3].header.wait0 = sample_wait(SYSTOLE_UNIT_DEPTHWISE, 1);
    c[3].body.window.block_rows = 8;
    c[3].body.window.tile_rows = 16;
    c[3].body.window.parameter_address = AT(SYSTOLE_REGION_PARAMETERS, 180);

    window(&c[4], SYSTOLE_OPCODE_MAX_POOL, SYSTOLE_UNIT_DEPTHWISE, third, AT(SYSTOLE_REGION_OUTPUT, MAP), 2, 2);
    c[4].header.wait0 = sample_wait(SYSTOLE_UNIT_ARRAY, 2);
    for (uint32_t i = 0; i < SAMPLE_COMMANDS; i++) {
        uint32_t side = i == 4 ? SIDE / 2 : SIDE;
        c[i].header.operator_index = (uint16_t)i;
        segment->info[i] = (struct systole_command_info){.operator_index = (int32_t)i,
                                                         .tensor_index = (int32_t)i + 1,
                                                         .y1 = side,
                                                         .x1 = side,
                                                         .c1 = 16,
                                                         .predicted_start = i * 100,
                                                         .predicted_end = i * 100 + 90};
    }
}

void sample_program(struct systole_program *program) {
    memset(program, 0, sizeof *program);
    program->target = systole_presets[0];
    program->segment_count = 1;
    program->segments = allocate(1, sizeof *program->segments);
    program->step_count = 2;
    program->steps = allocate(2, sizeof *program->steps);
    program->steps[0] = (struct systole_step){SYSTOLE_PLACE_DEVICE, 0};
    program->steps[1] = (struct systole_step){SYSTOLE_PLACE_CPU, 5};
    program->operator_count = 6;
    program->operators = allocate(program->operator_count, sizeof *program->operators);
    for (uint32_t i = 0; i < program->operator_count; i++) {
        struct systole_operator_info *info = &program->operators[i];
        (void)snprintf(info->name, sizeof info->name, "OPERATOR_%u", i);
        info->place = i < 5 ? SYSTOLE_PLACE_DEVICE : SYSTOLE_PLACE_CPU;
        info->segment = i < 5 ? 0 : -1;
        info->macs = 1000 * i;
        info->predicted_cycles = 100 * i;
    }
    strcpy(program->operators[5].reason, "no-device-kernel");
    strcpy(program->operators[5].detail, "SOFTMAX runs on the CPU");
    program->model_size = 5;
    program->model = allocate(program->model_size, 1);
    memcpy(program->model, "model", 5);
    strcpy(program->model_name, "sample.tflite");

    struct systole_segment *segment = &program->segments[0];
    segment->command_count = SAMPLE_COMMANDS;
    segment->commands = allocate(SAMPLE_COMMANDS, sizeof *segment->commands);
    segment->info = allocate(SAMPLE_COMMANDS, sizeof *segment->info);
    segment->parameter_words = 208;
    segment->parameters = allocate(segment->parameter_words, program->target.columns);
    for (uint32_t i = 0; i < segment->parameter_words * program->target.columns; i++) {
        segment->parameters[i] = (uint8_t)(i * 7);
    }
    segment->region_words[SYSTOLE_REGION_PROGRAM] = SAMPLE_COMMANDS * 8;
    segment->region_words[SYSTOLE_REGION_PARAMETERS] = segment->parameter_words;
    segment->region_words[SYSTOLE_REGION_ACTIVATIONS] = 3 * MAP;
    segment->region_words[SYSTOLE_REGION_INPUT] = MAP;
    segment->region_words[SYSTOLE_REGION_OUTPUT] = MAP + MAP / 4;
    segment->predicted_cycles = 490;
    segment->resident = true;
    segment->input_count = 1;
    segment->inputs = allocate(1, sizeof *segment->inputs);
    describe(&segment->inputs[0], 0, AT(SYSTOLE_REGION_INPUT, 0), SIDE);
    segment->output_count = 2;
    segment->outputs = allocate(2, sizeof *segment->outputs);
    describe(&segment->outputs[0], 3, AT(SYSTOLE_REGION_OUTPUT, 0), SIDE);
    describe(&segment->outputs[1], 5, AT(SYSTOLE_REGION_OUTPUT, MAP), SIDE / 2);
    segment->tensor_count = 5;
    segment->tensors = allocate(5, sizeof *segment->tensors);
    describe(&segment->tensors[0], 1, AT(SYSTOLE_REGION_ACTIVATIONS, 0), SIDE);
    describe(&segment->tensors[1], 2, AT(SYSTOLE_REGION_ACTIVATIONS, MAP), SIDE);
    describe(&segment->tensors[2], 4, AT(SYSTOLE_REGION_ACTIVATIONS, 2 * MAP), SIDE);
    segment->tensors[3] = segment->outputs[0];
    segment->tensors[4] = segment->outputs[1];
    make_commands(segment);
}
