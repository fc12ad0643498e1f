// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The depthwise unit against the functional model: random commands of its four opcodes, back to back, under random
// refusals; its rate without refusals; the largest kernels; windows, halt and reset.

// Parameters: -GCOLUMNS=16 -GTAPS=3 -GWEIGHT_PORT_ROWS=4
#include "Vdepthwise_unit.h"

#include "vector_harness.h"

namespace {

// As it was elaborated: a word has a byte a column; ports are the taps and the parameters'.
constexpr unsigned COLUMNS = sizeof(Vdepthwise_unit::write_data_o), TAPS = sizeof(Vdepthwise_unit::read_grant_i) - 1,
                   PORT_ROWS = 4;
constexpr uint32_t INPUT = SYSTOLE_REGION_ACTIVATIONS << 28, OUTPUT = SYSTOLE_REGION_OUTPUT << 28,
                   PARAMETERS = SYSTOLE_REGION_PARAMETERS << 28;
constexpr uint32_t PARAMETER_WORDS = 6000, INPUT_WORDS = 70000, OUTPUT_WORDS = 50000;

struct Unit : VectorHarness<Vdepthwise_unit> {
    explicit Unit(uint32_t seed) : VectorHarness(1u << 17, seed, TAPS) {
        set_window(SYSTOLE_REGION_PARAMETERS, 64, PARAMETER_WORDS);
        set_window(SYSTOLE_REGION_ACTIVATIONS, 7000, INPUT_WORDS);
        set_window(SYSTOLE_REGION_OUTPUT, 78000, OUTPUT_WORDS);
    }
};

// A channel record for each of `tiles`; the taps' weights are what memory holds already.
void write_records(Unit &h, uint32_t address, unsigned tiles, unsigned taps) {
    uint32_t tile_words = (12 + taps + PORT_ROWS - 1) / PORT_ROWS * PORT_ROWS;
    bool plausible = h.chance(70);
    for (unsigned tile = 0; tile < tiles; tile++) {
        uint8_t *record = &h.memory[(size_t)(address + tile * tile_words) * COLUMNS];
        for (unsigned lane = 0; lane < COLUMNS; lane++) {
            int32_t bias = plausible ? (int32_t)h.range(0, 20000) - 10000 : (int32_t)rtl_random(h.random_state);
            int32_t multiplier = (int32_t)(rtl_random(h.random_state) >> 1) | (plausible ? 1 << 30 : 0);
            int32_t shift = plausible ? -(int32_t)h.range(4, 12) : (int32_t)h.range(0, 61) - 31;
            std::memcpy(record + 4 * lane, &bias, 4);
            std::memcpy(record + 4 * (COLUMNS + lane), &multiplier, 4);
            std::memcpy(record + 4 * (2 * COLUMNS + lane), &shift, 4);
        }
    }
}

struct Bump {
    uint32_t output = 0, parameters = 0;
};

uint32_t largest(uint32_t tiles, uint32_t tile, uint32_t rows, uint32_t row, uint32_t columns, uint32_t pixel) {
    return (tiles - 1) * tile + (rows - 1) * row + (columns - 1) * pixel;
}

void random_arithmetic(Unit &h, systole_command &command) {
    systole_window &w = command.body.window;
    command.header.flags = (uint16_t)(h.range(0, 15) & (1u << 0 | 1u << 2 | 1u << 3));
    w.input_zero_point = (int16_t)((int32_t)h.range(0, 383) - 128);
    w.weight_zero_point = (int16_t)(h.chance(50) ? 0 : (int32_t)h.range(0, 383) - 128);
    w.output_zero_point = (int16_t)((int32_t)h.range(0, 383) - 128);
    bool is_unsigned = command.header.flags & SYSTOLE_FLAG_OUTPUT_UNSIGNED;
    w.clamp_min = (int16_t)(is_unsigned ? 0 : -128);
    w.clamp_max = (int16_t)(is_unsigned ? 255 : 127);
    if (h.chance(30)) {
        w.clamp_min = (int16_t)(w.clamp_min + (int)h.range(0, 128));
        w.clamp_max = (int16_t)(w.clamp_max - (int)h.range(0, 126));
    }
    w.output_multiplier = (int32_t)(rtl_random(h.random_state) >> 1);
    w.output_shift = (int16_t)(h.chance(70) ? -(int)h.range(0, 10) : (int)h.range(0, 61) - 31);
}

// A command whose reads and writes stay in their windows; its output and parameters are its own.
systole_command random_command(Unit &h, Bump &bump, unsigned opcode, unsigned size) {
    systole_command command{};
    command.header.opcode = (uint8_t)opcode;
    command.header.unit = SYSTOLE_UNIT_DEPTHWISE;
    random_arithmetic(h, command);
    systole_window &w = command.body.window;
    w.kernel_height = (uint8_t)h.range(1, size);
    w.kernel_width = (uint8_t)h.range(1, size);
    w.stride_y = (uint8_t)h.range(1, 3);
    w.stride_x = (uint8_t)h.range(1, 3);
    w.dilation_y = (uint8_t)(h.chance(70) ? 1 : h.range(1, 4));
    w.dilation_x = (uint8_t)(h.chance(70) ? 1 : h.range(1, 4));
    w.input_height = (uint16_t)h.range(1, 12);
    w.input_width = (uint16_t)h.range(1, 12);
    w.input_tiles = w.output_tiles = (uint16_t)h.range(1, 3);
    w.input_pixel_stride = (uint16_t)(h.chance(70) ? 1 : h.range(1, 4));
    w.input_row_stride = h.chance(10) ? h.range(0, 5) : (uint32_t)w.input_width * w.input_pixel_stride + h.range(0, 3);
    w.input_tile_stride = w.input_row_stride * w.input_height + h.range(0, 9);
    w.origin_y = (int16_t)(-(int)h.range(0, (w.kernel_height - 1u) * w.dilation_y) + (int)h.range(0, 2));
    w.origin_x = (int16_t)(-(int)h.range(0, (w.kernel_width - 1u) * w.dilation_x) + (int)h.range(0, 2));
    if (h.chance(5)) {
        w.origin_y = (int16_t)(-40); // nothing but padding
    }
    w.output_height = (uint16_t)h.range(1, 5);
    w.output_width = (uint16_t)h.range(1, 6);
    w.output_pixel_stride = (uint16_t)(h.chance(70) ? 1 : h.range(1, 3));
    w.output_row_stride = (uint32_t)w.output_width * w.output_pixel_stride + h.range(0, 3);
    w.output_tile_stride = w.output_row_stride * w.output_height + h.range(0, 5);
    uint32_t in = largest(w.output_tiles, w.input_tile_stride, w.input_height, w.input_row_stride, w.input_width,
                          w.input_pixel_stride);
    uint32_t out = largest(w.output_tiles, w.output_tile_stride, w.output_height, w.output_row_stride, w.output_width,
                           w.output_pixel_stride);
    w.input_address = INPUT | h.range(0, 3000 - in % 3000);
    w.output_address = OUTPUT | bump.output;
    bump.output += out + 1;
    if (opcode == SYSTOLE_OPCODE_DEPTHWISE) {
        unsigned taps = (unsigned)w.kernel_height * w.kernel_width;
        w.parameter_address = PARAMETERS | bump.parameters;
        write_records(h, h.windows[SYSTOLE_REGION_PARAMETERS].base + bump.parameters, w.output_tiles, taps);
        bump.parameters += w.output_tiles * ((12 + taps + PORT_ROWS - 1) / PORT_ROWS * PORT_ROWS);
    }
    return command;
}

// The plain command whose cycles can be told: everything inside, words one after the other.
systole_command plain_command(Unit &h, Bump &bump, unsigned opcode, unsigned kernel, unsigned rows, unsigned columns,
                              unsigned tiles) {
    systole_command command = random_command(h, bump, opcode, 1);
    systole_window &w = command.body.window;
    w.kernel_height = w.kernel_width = (uint8_t)kernel;
    w.stride_y = w.stride_x = w.dilation_y = w.dilation_x = 1;
    w.origin_y = w.origin_x = 0;
    w.input_pixel_stride = w.output_pixel_stride = 1;
    w.input_width = (uint16_t)(columns + kernel - 1);
    w.input_height = (uint16_t)(rows + kernel - 1);
    w.input_row_stride = w.input_width;
    w.input_tile_stride = w.input_row_stride * w.input_height;
    w.output_width = (uint16_t)columns;
    w.output_height = (uint16_t)rows;
    w.output_tiles = (uint16_t)tiles;
    w.output_row_stride = columns;
    w.output_tile_stride = rows * columns;
    w.input_address = INPUT;
    w.output_address = OUTPUT | bump.output;
    bump.output += rows * columns * tiles;
    if (opcode == SYSTOLE_OPCODE_DEPTHWISE) {
        w.parameter_address = PARAMETERS | bump.parameters;
        write_records(h, h.windows[SYSTOLE_REGION_PARAMETERS].base + bump.parameters, tiles, kernel * kernel);
        bump.parameters += tiles * ((12 + kernel * kernel + PORT_ROWS - 1) / PORT_ROWS * PORT_ROWS);
    }
    return command;
}

const unsigned OPCODES[] = {SYSTOLE_OPCODE_DEPTHWISE, SYSTOLE_OPCODE_MAX_POOL, SYSTOLE_OPCODE_AVERAGE_POOL,
                            SYSTOLE_OPCODE_SUM_POOL, SYSTOLE_OPCODE_MIN_POOL};

void random_commands() {
    static const MemoryMood moods[] = {{0, 0, 0, false},   {16, 0, 0, true},    {0, 160, 0, false},
                                       {16, 64, 64, true}, {4, 200, 30, false}, {16, 20, 230, true}};
    for (uint32_t seed = 1; seed <= 60 && rtl_failures == 0; seed++) {
        Unit h(seed * 2654435761u);
        Bump bump;
        std::vector<systole_command> commands;
        for (unsigned i = 0; i < (seed % 5 == 0 ? 60 : 12); i++) {
            commands.push_back(random_command(h, bump, OPCODES[h.range(0, 3)], seed % 5 == 0 ? 1 : 5));
            if (h.chance(5)) {
                commands[i] = {};
                commands[i].header.opcode = SYSTOLE_OPCODE_NOP;
                commands[i].header.unit = SYSTOLE_UNIT_DEPTHWISE;
            } else if (seed % 5 == 0) { // many commands in the pipeline at a time
                systole_window &w = commands[i].body.window;
                w.output_tiles = w.output_height = w.output_width = 1;
            }
        }
        h.execute(commands, moods[seed % 6]);
        if (rtl_failures != 0) {
            printf("seed %u\n", seed);
        }
    }
}

// Groups of taps follow each other without a gap, over commands too, and over tiles of enough pixels to hide the
// parameters; the rest is the first command's start and the last one's way out.
void full_rate() {
    for (unsigned opcode : OPCODES) {
        Unit h(opcode * 77u);
        unsigned word_groups = (9 + TAPS - 1) / TAPS, rows = 1 + 5 / word_groups;
        Bump bump;
        std::vector<systole_command> commands;
        for (unsigned i = 0; i < 8; i++) {
            commands.push_back(plain_command(h, bump, opcode, 3, rows, 5, 4));
        }
        CHECK(h.execute(commands, {0, 0, 0, false}));
        uint64_t groups = 8 * 4 * rows * 5 * word_groups;
        CHECK(h.cycles() >= groups);
        CHECK(h.cycles() <= groups + (opcode == SYSTOLE_OPCODE_DEPTHWISE ? 40 : 26));
        printf("opcode 0x%02x: %lu cycles for %lu groups of taps in 8 commands of 4 tiles of %u words\n", opcode,
               (unsigned long)h.cycles(), (unsigned long)groups, rows * 5);
        CHECK_EQ(h.stalled_cycles, 0);
    }
}

// A kernel of one tap: one word a cycle; through the divider, which is a cycle longer than the queue of results has
// slots, 16 words in 17 cycles.
void one_tap() {
    for (unsigned opcode : OPCODES) {
        Unit h(opcode * 99u);
        Bump bump;
        std::vector<systole_command> commands = {plain_command(h, bump, opcode, 1, 20, 20, 3)};
        CHECK(h.execute(commands, {0, 0, 0, false}));
        bool divided = opcode == SYSTOLE_OPCODE_MAX_POOL || opcode == SYSTOLE_OPCODE_MIN_POOL ||
                       opcode == SYSTOLE_OPCODE_AVERAGE_POOL;
        CHECK(h.cycles() <= 3 * 400 * (divided ? 17 : 16) / 16 + 36);
    }
}

// 255 x 255 taps, all of them the extreme byte: the largest sum and count that a division meets; padding around.
void largest_kernels() {
    for (unsigned opcode :
         {SYSTOLE_OPCODE_AVERAGE_POOL, SYSTOLE_OPCODE_MAX_POOL, SYSTOLE_OPCODE_SUM_POOL, SYSTOLE_OPCODE_MIN_POOL}) {
        for (int extreme : {0, 255, 128, 1}) {
            Unit h(opcode + (unsigned)extreme);
            std::fill(h.memory.begin(), h.memory.end(), (uint8_t)extreme);
            Bump bump;
            std::vector<systole_command> commands = {plain_command(h, bump, opcode, 255, 1, 1, 1)};
            commands[0].body.window.origin_y = -3;
            commands[0].body.window.origin_x = 7;
            CHECK(h.execute(commands, {0, 0, 0, false}));
        }
    }
    Unit h(5); // the largest depthwise kernel: 256 taps
    Bump bump;
    std::vector<systole_command> commands;
    for (unsigned i = 0; i < 3; i++) {
        commands.push_back(plain_command(h, bump, SYSTOLE_OPCODE_DEPTHWISE, 16, 2, 3, 2));
    }
    CHECK(h.execute(commands, {16, 50, 50, false}));
}

// Each walk one word too far: the error names the word, and nothing is written after it.
void windows() {
    for (unsigned which = 0; which < 3; which++) {
        Unit h(which + 11);
        Bump bump;
        std::vector<systole_command> commands = {plain_command(h, bump, SYSTOLE_OPCODE_DEPTHWISE, 3, 4, 4, 2)};
        systole_window &w = commands[0].body.window;
        uint32_t address = 0;
        if (which == 0) {
            w.input_address = INPUT | (INPUT_WORDS - 2 * 36 + 1); // the last word of the second tile
            address = h.windows[SYSTOLE_REGION_ACTIVATIONS].base + INPUT_WORDS;
        } else if (which == 1) {
            w.output_address = OUTPUT | (OUTPUT_WORDS - 31);
            address = h.windows[SYSTOLE_REGION_OUTPUT].base + OUTPUT_WORDS;
        } else {
            w.parameter_address = PARAMETERS | (PARAMETER_WORDS - 24 - 20);
            address = h.windows[SYSTOLE_REGION_PARAMETERS].base + PARAMETER_WORDS;
        }
        CHECK(!h.execute(commands, {16, 25, 25, false}));
        CHECK_EQ(h.unit.error_o, 1);
        CHECK_EQ(h.unit.error_code_o, SYSTOLE_ERROR_REGION);
        CHECK_EQ(h.unit.error_detail_o, address);
        std::vector<uint8_t> scratch = h.memory;
        uint32_t error = 0, detail = 0;
        CHECK(!systole_execute_command(&h.target, &commands[0], h.windows, scratch.data(), &error, &detail));
        CHECK_EQ(detail, address);
        for (unsigned i = 0; i < 50; i++) {
            h.step(); // nothing is written any more
            CHECK_EQ(h.unit.error_o, 1);
        }
        h.reset();
        CHECK_EQ(h.unit.error_o, 0);
        CHECK_EQ(h.unit.busy_o, 0);
        bump = {};
        std::vector<systole_command> again = {random_command(h, bump, SYSTOLE_OPCODE_DEPTHWISE, 3)};
        CHECK(h.execute(again, {16, 0, 0, false}));
    }
}

// An error elsewhere freezes the unit at any moment; reset empties it and it works as before.
void halt() {
    for (unsigned after = 1; after < 90; after += 4) {
        Unit h(after);
        Bump bump;
        h.add(plain_command(h, bump, SYSTOLE_OPCODE_DEPTHWISE, 3, 3, 3, 2));
        for (unsigned i = 0; i < after; i++) {
            h.step();
        }
        h.unit.halt_i = 1;
        for (unsigned i = 0; i < 60; i++) {
            h.step(); // nothing is written
            CHECK_EQ(h.unit.command_ready_o, 0);
        }
        h.unit.halt_i = 0;
        h.reset();
        CHECK_EQ(h.unit.busy_o, 0);
        bump = {};
        std::vector<systole_command> commands = {random_command(h, bump, SYSTOLE_OPCODE_DEPTHWISE, 4),
                                                 random_command(h, bump, SYSTOLE_OPCODE_AVERAGE_POOL, 4)};
        CHECK(h.execute(commands, {0, 0, 0, false}));
    }
}

} // namespace

int main() {
    return rtl_run("depthwise_unit", {{"random_commands", random_commands},
                                      {"full_rate", full_rate},
                                      {"one_tap", one_tap},
                                      {"largest_kernels", largest_kernels},
                                      {"windows", windows},
                                      {"halt", halt}});
}
