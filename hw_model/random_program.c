// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Memory is cut into slots; a command reads some and writes one. Per slot the last writer and the readers since then
// are known, and from them follow the tokens of the next command.
#include "random_program.h"

#include <stdlib.h>
#include <string.h>

#include "program/command_footprint.h"

#define SLOTS 20u
#define PARAMETER_WORDS 2048u

struct slot {
    uint32_t region, offset;
    uint32_t written[SYSTOLE_UNITS]; // commands of the unit that must have retired: the last writer
    uint32_t read[SYSTOLE_UNITS];    // readers since then
};

struct generator {
    const struct systole_target *target;
    struct random_program *program;
    struct slot slots[SLOTS];
    uint32_t issued[SYSTOLE_UNITS];
    uint32_t random;
    bool is_strict;
    uint32_t units;      // a bit each
    uint32_t slot_words; // a power of two
    int32_t extent;      // largest height and width of a map
};

static uint32_t next_random(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static int32_t pick(struct generator *g, int32_t low, int32_t high) {
    uint64_t span = (uint64_t)((int64_t)high - low + 1);
    return (int32_t)(low + (int64_t)(next_random(&g->random) % span));
}

static bool chance(struct generator *g, int32_t in) {
    return pick(g, 1, in) == 1;
}

static uint32_t address_of(const struct slot *slot, uint32_t within) {
    return slot->region << 28 | (slot->offset + within);
}

static int16_t zero_point(struct generator *g, bool is_unsigned) {
    return (int16_t)(is_unsigned ? pick(g, 0, 255) : pick(g, -128, 127));
}

// A word of a walk over tiles, rows and columns fits behind the slot's begin.
static uint32_t extent(uint32_t tiles, uint32_t tile_stride, uint32_t rows, uint32_t row_stride, uint32_t columns,
                       uint32_t pixel_stride) {
    return (tiles - 1) * tile_stride + (rows - 1) * row_stride + (columns - 1) * pixel_stride + 1;
}

// ---- Parameters: records that mostly scale to the output's range, some with bytes of any kind.
static void put_32(uint8_t *bytes, uint32_t value) {
    memcpy(bytes, &value, sizeof value);
}

static void write_record(struct generator *g, uint32_t word, int32_t typical_shift) {
    uint32_t columns = g->target->columns;
    uint8_t *record = g->program->image + (size_t)word * columns;
    for (uint32_t lane = 0; lane < columns && !chance(g, 12); lane++) {
        put_32(record + 4 * lane, (uint32_t)pick(g, -30000, 30000));
        put_32(record + 4 * (columns + lane), 0x40000000u | next_random(&g->random) >> 2);
        put_32(record + 4 * (2 * columns + lane), (uint32_t)(typical_shift + pick(g, -2, 2)));
    }
}

static uint32_t place_stream(struct generator *g, uint32_t words) {
    uint32_t port = g->target->weight_port_rows;
    return (uint32_t)pick(g, 0, (int32_t)((PARAMETER_WORDS - words) / port)) * port;
}

// ---- Bodies.
static void shape_window(struct generator *g, struct systole_command *command, const struct slot *input,
                         const struct slot *output, uint32_t tile_limit) {
    struct systole_window *w = &command->body.window;
    bool input_unsigned = chance(g, 2), weight_unsigned = chance(g, 2);
    command->header.flags = (uint16_t)((input_unsigned ? SYSTOLE_FLAG_INPUT_UNSIGNED : 0) |
                                       (weight_unsigned ? SYSTOLE_FLAG_WEIGHT_UNSIGNED : 0) |
                                       (chance(g, 2) ? SYSTOLE_FLAG_OUTPUT_UNSIGNED : 0));
    uint32_t within;
    do {
        w->input_height = (uint16_t)pick(g, 1, g->extent);
        w->input_width = (uint16_t)pick(g, 1, g->extent);
        w->input_tiles = (uint16_t)pick(g, 1, (int32_t)tile_limit);
        w->input_pixel_stride = (uint16_t)(chance(g, 4) ? 2 : 1);
        w->input_row_stride = (uint32_t)(w->input_width * w->input_pixel_stride + pick(g, 0, 1));
        w->input_tile_stride = w->input_height * w->input_row_stride + (uint32_t)pick(g, 0, 1);
        within = extent(w->input_tiles, w->input_tile_stride, w->input_height, w->input_row_stride, w->input_width,
                        w->input_pixel_stride);
    } while (within > g->slot_words);
    w->input_address = address_of(input, (uint32_t)pick(g, 0, (int32_t)(g->slot_words - within)));
    do {
        w->output_height = (uint16_t)pick(g, 1, g->extent);
        w->output_width = (uint16_t)pick(g, 1, g->extent);
        w->output_tiles = (uint16_t)pick(g, 1, (int32_t)tile_limit);
        w->output_pixel_stride = (uint16_t)(chance(g, 4) ? 2 : 1);
        w->output_row_stride = (uint32_t)(w->output_width * w->output_pixel_stride + pick(g, 0, 1));
        w->output_tile_stride = w->output_height * w->output_row_stride + (uint32_t)pick(g, 0, 1);
        within = extent(w->output_tiles, w->output_tile_stride, w->output_height, w->output_row_stride, w->output_width,
                        w->output_pixel_stride);
    } while (within > g->slot_words);
    w->output_address = address_of(output, (uint32_t)pick(g, 0, (int32_t)(g->slot_words - within)));
    w->kernel_height = (uint8_t)pick(g, 1, 3);
    w->kernel_width = (uint8_t)pick(g, 1, 3);
    w->stride_y = (uint8_t)pick(g, 1, chance(g, 6) ? 5 : 2);
    w->stride_x = (uint8_t)pick(g, 1, chance(g, 6) ? 5 : 2);
    w->dilation_y = (uint8_t)(chance(g, 4) ? 2 : 1);
    w->dilation_x = (uint8_t)(chance(g, 4) ? 2 : 1);
    w->origin_y = (int16_t)(chance(g, 10) ? pick(g, -20, 20) : pick(g, -2, 1));
    w->origin_x = (int16_t)(chance(g, 10) ? pick(g, -20, 20) : pick(g, -2, 1));
    w->input_zero_point = zero_point(g, input_unsigned);
    w->weight_zero_point = zero_point(g, weight_unsigned);
    w->output_zero_point = (int16_t)pick(g, -128, 127);
    w->clamp_min = (int16_t)pick(g, -128, -60);
    w->clamp_max = (int16_t)pick(g, 60, 255);
    w->output_shift = (int16_t)pick(g, -6, 1);
    w->output_multiplier = (int32_t)(0x40000000u | next_random(&g->random) >> 2);
}

static void make_packed(struct generator *g, struct systole_command *command) {
    struct systole_window *w = &command->body.window;
    uint32_t columns = g->target->columns, channels, row_words;
    command->header.flags |= SYSTOLE_FLAG_PACKED;
    do {
        channels = (uint32_t)pick(g, 1, 4);
        w->kernel_width = (uint8_t)pick(g, 1, 5);
        row_words = (w->input_width * channels + columns - 1) / columns + (uint32_t)pick(g, 0, 1);
    } while (channels * w->kernel_width > columns ||
             extent(1, 0, w->input_height, row_words, row_words, 1) > g->slot_words);
    w->input_address &= ~(g->slot_words - 1); // slots begin at multiples of their size
    w->input_pixel_stride = (uint16_t)channels;
    w->input_row_stride = row_words;
    w->input_tiles = 1;
    w->dilation_x = 1;
    w->segment_bytes = (uint8_t)(channels * w->kernel_width);
    uint32_t most = columns / w->segment_bytes;
    w->segments = (uint8_t)pick(g, 1, (int32_t)(most < 4 ? most : 4));
    w->kernel_height = (uint8_t)pick(g, 1, 5);
}

static void make_conv(struct generator *g, struct systole_command *command, const struct slot *input,
                      const struct slot *output) {
    struct systole_window *w = &command->body.window;
    uint32_t port = g->target->weight_port_rows, rows = g->target->rows, words, reduction_tiles;
    shape_window(g, command, input, output, 3);
    if (chance(g, 3)) {
        make_packed(g, command);
        uint32_t needed = ((uint32_t)w->segments * w->segment_bytes + port - 1) / port;
        w->tile_rows = (uint16_t)(pick(g, (int32_t)needed, (int32_t)(rows / port)) * (int32_t)port);
    } else {
        w->tile_rows = (uint16_t)(chance(g, 2) ? rows : (uint32_t)pick(g, 1, (int32_t)(rows / port)) * port);
    }
    w->block_rows = (uint16_t)pick(g, 1, w->output_height);
    for (;;) { // shrink until the stream fits
        reduction_tiles = (w->kernel_height + w->segments - 1u) / (w->segments > 0 ? w->segments : 1);
        if ((command->header.flags & SYSTOLE_FLAG_PACKED) == 0) {
            reduction_tiles = (uint32_t)w->kernel_height * w->kernel_width * w->input_tiles;
        }
        words = w->output_tiles * (12 + reduction_tiles * w->tile_rows);
        if (words <= PARAMETER_WORDS) {
            break;
        }
        if (w->output_tiles > 1) {
            w->output_tiles--;
        } else if (w->input_tiles > 1) {
            w->input_tiles--;
        } else {
            w->kernel_height--;
        }
    }
    uint32_t stream = place_stream(g, words);
    for (uint32_t nt = 0; nt < w->output_tiles; nt++) {
        write_record(g, stream + nt * (12 + reduction_tiles * w->tile_rows), -9);
    }
    w->parameter_address = (uint32_t)SYSTOLE_REGION_PARAMETERS << 28 | stream;
}

static void make_window(struct generator *g, struct systole_command *command, const struct slot *input,
                        const struct slot *output) {
    struct systole_window *w = &command->body.window;
    shape_window(g, command, input, output, 3);
    command->header.opcode = (uint8_t)pick(g, SYSTOLE_OPCODE_DEPTHWISE, SYSTOLE_OPCODE_MIN_POOL);
    if (w->output_tiles > w->input_tiles) { // output tile t reads input tile t
        w->output_tiles = w->input_tiles;
    }
    if (chance(g, 3)) {
        w->kernel_height = (uint8_t)pick(g, 1, 7);
        w->kernel_width = (uint8_t)pick(g, 1, 7);
    }
    if (command->header.opcode == SYSTOLE_OPCODE_DEPTHWISE) {
        uint32_t port = g->target->weight_port_rows;
        uint32_t tile_words = (12u + w->kernel_height * w->kernel_width + port - 1) / port * port;
        uint32_t stream = place_stream(g, w->output_tiles * tile_words);
        for (uint32_t t = 0; t < w->output_tiles; t++) {
            write_record(g, stream + t * tile_words, -7);
        }
        w->parameter_address = (uint32_t)SYSTOLE_REGION_PARAMETERS << 28 | stream;
    }
}

static void make_elementwise(struct generator *g, struct systole_command *command, const struct slot *input,
                             const struct slot *input2, const struct slot *output) {
    struct systole_elementwise *e = &command->body.elementwise;
    command->header.opcode =
        (uint8_t)(chance(g, 3) ? SYSTOLE_OPCODE_ADD : pick(g, SYSTOLE_OPCODE_ADD, SYSTOLE_OPCODE_TABLE));
    command->header.flags = (uint16_t)(next_random(&g->random) & 7);
    command->header.flags |= (uint16_t)(chance(g, 5) ? SYSTOLE_FLAG_INPUT_LANE_BROADCAST : 0);
    command->header.flags |= (uint16_t)(chance(g, 5) ? SYSTOLE_FLAG_INPUT2_LANE_BROADCAST : 0);
    uint32_t within, within2;
    do {
        e->height = (uint16_t)pick(g, 1, g->extent);
        e->width = (uint16_t)pick(g, 1, g->extent);
        e->tiles = (uint16_t)pick(g, 1, 3);
        e->output_pixel_stride = (uint16_t)(chance(g, 4) ? 2 : 1);
        e->output_row_stride = (uint32_t)(e->width * e->output_pixel_stride + pick(g, 0, 1));
        e->output_tile_stride = e->height * e->output_row_stride;
        within =
            extent(e->tiles, e->output_tile_stride, e->height, e->output_row_stride, e->width, e->output_pixel_stride);
    } while (within > g->slot_words);
    e->output_address = address_of(output, (uint32_t)pick(g, 0, (int32_t)(g->slot_words - within)));
    e->input_pixel_stride = (uint16_t)pick(g, 0, 1);
    e->input2_pixel_stride = (uint16_t)pick(g, 0, 1);
    e->input_row_stride = chance(g, 4) ? 0 : e->width;
    e->input2_row_stride = chance(g, 4) ? 0 : e->width;
    e->input_tile_stride = chance(g, 4) ? 0 : (uint32_t)e->width * e->height;
    e->input2_tile_stride = chance(g, 4) ? 0 : (uint32_t)e->width * e->height;
    within = extent(e->tiles, e->input_tile_stride, e->height, e->input_row_stride, e->width, e->input_pixel_stride);
    within2 =
        extent(e->tiles, e->input2_tile_stride, e->height, e->input2_row_stride, e->width, e->input2_pixel_stride);
    e->input_address = address_of(input, (uint32_t)pick(g, 0, (int32_t)(g->slot_words - within)));
    e->input2_address = address_of(input2, (uint32_t)pick(g, 0, (int32_t)(g->slot_words - within2)));
    if (command->header.opcode == SYSTOLE_OPCODE_TABLE) {
        uint32_t table = 256 / g->target->columns;
        e->input2_address = address_of(input2, (uint32_t)pick(g, 0, (int32_t)(g->slot_words - table)));
    }
    e->input_zero_point = zero_point(g, (command->header.flags & SYSTOLE_FLAG_INPUT_UNSIGNED) != 0);
    e->input2_zero_point = zero_point(g, (command->header.flags & SYSTOLE_FLAG_INPUT2_UNSIGNED) != 0);
    e->output_zero_point = (int16_t)pick(g, -128, 127);
    e->clamp_min = (int16_t)pick(g, -128, -60);
    e->clamp_max = (int16_t)pick(g, 60, 255);
    e->left_shift = (uint16_t)(chance(g, 5) ? pick(g, 0, 24) : 20);
    e->input_multiplier = (int32_t)(0x40000000u | next_random(&g->random) >> 2);
    e->input2_multiplier = (int32_t)(next_random(&g->random) >> 1);
    e->output_multiplier = (int32_t)(0x40000000u | next_random(&g->random) >> 2);
    e->input_shift = (int16_t)(chance(g, 8) ? pick(g, -31, 30) : pick(g, -2, 0));
    e->input2_shift = (int16_t)pick(g, -2, 0);
    e->output_shift = (int16_t)(command->header.opcode == SYSTOLE_OPCODE_ADD ? pick(g, -20, -17) : pick(g, -2, 1));
}

// ---- Tokens.
static void need(uint32_t needs[SYSTOLE_UNITS], const uint32_t counts[SYSTOLE_UNITS], uint32_t except) {
    for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
        if (u != except && counts[u] > needs[u]) {
            needs[u] = counts[u];
        }
    }
}

static void issue(struct generator *g, struct systole_command *command, const uint32_t needs[SYSTOLE_UNITS],
                  const struct slot *output) {
    uint32_t *waits[SYSTOLE_WAITS] = {&command->header.wait0, &command->header.wait1, &command->header.wait2,
                                      &command->header.wait3};
    struct random_program *program = g->program;
    uint32_t used = 0;
    for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
        if (needs[u] == 0) {
            continue;
        }
        if (used == SYSTOLE_WAITS) { // the first goes to a nop before it, its place to the fifth
            struct systole_command nop = {.header = {.opcode = SYSTOLE_OPCODE_NOP, .unit = command->header.unit}};
            nop.header.wait0 = *waits[0];
            *waits[0] = 0;
            used = 0;
            program->output_words[program->count] = 0;
            program->commands[program->count++] = nop;
            g->issued[command->header.unit]++;
        }
        *waits[used++] = u << 24 | needs[u];
    }
    program->output_word[program->count] =
        output == NULL ? 0 : program->launch.regions[output->region].base + output->offset;
    program->output_words[program->count] = output == NULL ? 0 : g->slot_words;
    command->header.operator_index = (uint16_t)program->count;
    program->commands[program->count++] = *command;
    g->issued[command->header.unit]++;
}

static struct slot *pick_slot(struct generator *g, const struct slot *not_this) {
    struct slot *slot;
    do {
        slot = &g->slots[pick(g, 0, SLOTS - 1)];
    } while (slot == not_this);
    return slot;
}

static void add_command(struct generator *g) {
    struct systole_command command;
    memset(&command, 0, sizeof command);
    struct slot *output = pick_slot(g, NULL), *input = pick_slot(g, output), *input2 = pick_slot(g, output);
    uint32_t unit, needs[SYSTOLE_UNITS] = {0};
    do {
        unit = (uint32_t)pick(g, 0, SYSTOLE_UNITS - 1);
    } while ((g->units >> unit & 1) == 0);
    bool reads = unit != SYSTOLE_UNIT_LOAD, writes = unit != SYSTOLE_UNIT_STORE;
    command.header.unit = (uint8_t)unit;
    if (chance(g, 12)) {
        command.header.opcode = SYSTOLE_OPCODE_NOP;
        reads = writes = false;
    } else if (unit == SYSTOLE_UNIT_LOAD || unit == SYSTOLE_UNIT_STORE) {
        struct systole_transfer *transfer = &command.body.transfer;
        transfer->words = (uint32_t)pick(g, 1, 16);
        transfer->address = address_of(writes ? output : input, (uint32_t)pick(g, 0, (int32_t)g->slot_words - 16));
        transfer->host_address =
            (uint32_t)SYSTOLE_REGION_HOST << 28 | (writes ? g->program->stream_words : g->program->store_words);
        *(writes ? &g->program->stream_words : &g->program->store_words) += transfer->words;
        command.header.opcode = writes ? SYSTOLE_OPCODE_LOAD : SYSTOLE_OPCODE_STORE;
    } else if (unit == SYSTOLE_UNIT_ARRAY) {
        command.header.opcode = SYSTOLE_OPCODE_CONV;
        make_conv(g, &command, input, output);
    } else if (unit == SYSTOLE_UNIT_DEPTHWISE) {
        make_window(g, &command, input, output);
    } else {
        make_elementwise(g, &command, input, input2, output);
    }
    bool reads_second =
        systole_opcode_has_second_input(command.header.opcode) || command.header.opcode == SYSTOLE_OPCODE_TABLE;
    if (reads) {
        need(needs, input->written, SYSTOLE_UNIT_NONE);
    }
    if (reads_second) {
        need(needs, input2->written, SYSTOLE_UNIT_NONE);
    }
    if (writes) { // a unit keeps its own order of writes, and of reads before later writes
        need(needs, output->written, g->is_strict ? SYSTOLE_UNIT_NONE : unit);
        need(needs, output->read, g->is_strict ? SYSTOLE_UNIT_NONE : unit);
    }
    if (chance(g, 10)) { // a token nobody needs
        uint32_t other = (uint32_t)pick(g, 0, SYSTOLE_UNITS - 1);
        needs[other] = needs[other] > 0 ? needs[other] : (uint32_t)pick(g, 0, (int32_t)g->issued[other]);
    }
    issue(g, &command, needs, writes ? output : NULL);
    if (reads) {
        input->read[unit] = g->issued[unit];
    }
    if (reads_second) {
        input2->read[unit] = g->issued[unit];
    }
    if (writes) {
        memset(output->read, 0, sizeof output->read);
        memset(output->written, 0, sizeof output->written);
        output->written[unit] = g->issued[unit];
    }
}

static void lay_out(struct generator *g, uint32_t commands) {
    static const uint32_t regions[] = {SYSTOLE_REGION_ACTIVATIONS, SYSTOLE_REGION_INPUT, SYSTOLE_REGION_OUTPUT};
    struct systole_region_window *windows = g->program->launch.regions;
    uint32_t base = 0;
    for (uint32_t i = 0; i < SLOTS; i++) {
        uint32_t region = regions[i * 3 / SLOTS];
        if (windows[region].words == 0) {
            windows[region].base = base;
        }
        g->slots[i].region = region;
        g->slots[i].offset = windows[region].words;
        windows[region].words += g->slot_words;
        base += g->slot_words;
    }
    windows[SYSTOLE_REGION_PARAMETERS] = (struct systole_region_window){base, PARAMETER_WORDS};
    base += PARAMETER_WORDS;
    uint32_t columns = g->target->columns;
    uint32_t words = (commands * 2 * SYSTOLE_COMMAND_BYTES + columns - 1) / columns; // room for nops
    windows[SYSTOLE_REGION_PROGRAM] = (struct systole_region_window){base, words};
    g->program->image_words = base + words;
}

bool random_program_make(struct random_program *program, const struct systole_target *target, uint32_t seed,
                         uint32_t commands, bool is_strict, uint32_t units) {
    memset(program, 0, sizeof *program);
    struct generator g = {
        .target = target, .program = program, .random = seed * 2654435761u | 1, .is_strict = is_strict, .units = units};
    g.slot_words = seed % 4 == 3 ? 512 : 128; // few large maps among the small ones
    g.extent = seed % 4 == 3 ? 40 : 9;
    for (int i = 0; i < 8; i++) {
        next_random(&g.random);
    }
    lay_out(&g, commands);
    size_t image_bytes = (size_t)program->image_words * target->columns;
    program->commands = calloc(2 * (size_t)commands, sizeof *program->commands);
    program->output_word = calloc(2 * (size_t)commands, sizeof *program->output_word);
    program->output_words = calloc(2 * (size_t)commands, sizeof *program->output_words);
    program->image = malloc(image_bytes);
    program->stream = malloc((size_t)commands * 16 * target->columns);
    if (program->commands == NULL || program->output_word == NULL || program->output_words == NULL ||
        program->image == NULL || program->stream == NULL ||
        program->image_words > target->scratchpad_bytes / target->columns) {
        random_program_free(program);
        return false;
    }
    for (size_t i = 0; i < image_bytes; i++) {
        program->image[i] = (uint8_t)next_random(&g.random);
    }
    for (size_t i = 0; i < (size_t)commands * 16 * target->columns; i++) {
        program->stream[i] = (uint8_t)next_random(&g.random);
    }
    while (program->count < commands) {
        add_command(&g);
    }
    memcpy(program->image + (size_t)program->launch.regions[SYSTOLE_REGION_PROGRAM].base * target->columns,
           program->commands, program->count * sizeof *program->commands);
    program->launch.token = seed;
    program->launch.commands = program->count;
    program->launch.watchdog_cycles = 2000000;
    return true;
}

void random_program_free(struct random_program *program) {
    free(program->stream);
    free(program->image);
    free(program->output_words);
    free(program->output_word);
    free(program->commands);
    memset(program, 0, sizeof *program);
}
