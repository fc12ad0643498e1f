// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The element-wise unit against the functional model: random commands of all opcodes, back to back, under random
// refusals, with broadcasts by stride and by lane; its rate without refusals; windows, halt and reset.

// Parameters: -GCOLUMNS=16
#include "Velementwise_unit.h"

#include "vector_harness.h"

namespace {

constexpr uint32_t INPUT = SYSTOLE_REGION_ACTIVATIONS << 28, INPUT2 = SYSTOLE_REGION_INPUT << 28,
                   OUTPUT = SYSTOLE_REGION_OUTPUT << 28;
constexpr uint32_t INPUT_WORDS = 4000, OUTPUT_WORDS = 20000;

struct Unit : VectorHarness<Velementwise_unit> {
    explicit Unit(uint32_t seed) : VectorHarness(40000, seed, 3) {
        set_window(SYSTOLE_REGION_ACTIVATIONS, 100, INPUT_WORDS);
        set_window(SYSTOLE_REGION_INPUT, 8000, INPUT_WORDS);
        set_window(SYSTOLE_REGION_OUTPUT, 20000, OUTPUT_WORDS);
    }
};

// A walk's strides, some of them 0.
void random_strides(Unit &h, const systole_elementwise &e, bool broadcast, uint16_t *pixel, uint32_t *row,
                    uint32_t *tile) {
    *pixel = (uint16_t)(h.chance(70) ? 1 : h.range(1, 3));
    *row = (uint32_t)e.width * *pixel + h.range(0, 3);
    *tile = *row * e.height + h.range(0, 5);
    if (broadcast) {
        *pixel = h.chance(30) ? 0 : *pixel;
        *row = h.chance(30) ? 0 : *row;
        *tile = h.chance(30) ? 0 : *tile;
    }
}

uint32_t extent(const systole_elementwise &e, uint32_t pixel, uint32_t row, uint32_t tile) {
    return (e.tiles - 1u) * tile + (e.height - 1u) * row + (e.width - 1u) * pixel;
}

void random_scale(Unit &h, int32_t *multiplier, int16_t *shift, bool plausible, int left) {
    *multiplier = (int32_t)(rtl_random(h.random_state) >> 1) | (plausible ? 1 << 30 : 0);
    *shift = (int16_t)(plausible ? left - (int)h.range(0, 3) : (int)h.range(0, 61) - 31);
}

// A command whose accesses stay in their windows; its output is its own.
const unsigned OPCODES[] = {SYSTOLE_OPCODE_ADD,   SYSTOLE_OPCODE_REQUANTISE, SYSTOLE_OPCODE_SUB,
                            SYSTOLE_OPCODE_MUL,   SYSTOLE_OPCODE_MAXIMUM,    SYSTOLE_OPCODE_MINIMUM,
                            SYSTOLE_OPCODE_PRELU, SYSTOLE_OPCODE_TABLE,      SYSTOLE_OPCODE_SQUARED_DIFFERENCE};
constexpr unsigned OPCODE_COUNT = sizeof OPCODES / sizeof OPCODES[0];

systole_command random_command(Unit &h, uint32_t &bump, unsigned opcode, uint32_t size, bool broadcast) {
    systole_command command{};
    bool add = opcode == SYSTOLE_OPCODE_ADD || opcode == SYSTOLE_OPCODE_SUB, plausible = h.chance(60);
    command.header.opcode = (uint8_t)opcode;
    command.header.unit = SYSTOLE_UNIT_ELEMENTWISE;
    command.header.flags = (uint16_t)(h.range(0, 7) | (broadcast ? h.range(0, 3) << 5 : 0));
    systole_elementwise &e = command.body.elementwise;
    e.height = (uint16_t)h.range(1, size);
    e.width = (uint16_t)h.range(1, size);
    e.tiles = (uint16_t)h.range(1, 3);
    random_strides(h, e, broadcast, &e.input_pixel_stride, &e.input_row_stride, &e.input_tile_stride);
    random_strides(h, e, broadcast, &e.input2_pixel_stride, &e.input2_row_stride, &e.input2_tile_stride);
    random_strides(h, e, false, &e.output_pixel_stride, &e.output_row_stride, &e.output_tile_stride);
    e.input_address =
        INPUT | h.range(0, INPUT_WORDS - 1 - extent(e, e.input_pixel_stride, e.input_row_stride, e.input_tile_stride));
    e.input2_address =
        INPUT2 |
        h.range(0, INPUT_WORDS - 1 - extent(e, e.input2_pixel_stride, e.input2_row_stride, e.input2_tile_stride));
    if (h.chance(20)) { // the same words for both: x + x
        e.input2_address = e.input_address;
        e.input2_pixel_stride = e.input_pixel_stride;
        e.input2_row_stride = e.input_row_stride;
        e.input2_tile_stride = e.input_tile_stride;
    }
    if (opcode == SYSTOLE_OPCODE_TABLE) {
        e.input2_address = INPUT2 | h.range(0, INPUT_WORDS - 256 / h.columns);
    }
    e.output_address = OUTPUT | bump;
    bump += extent(e, e.output_pixel_stride, e.output_row_stride, e.output_tile_stride) + 1;
    e.input_zero_point = (int16_t)((int32_t)h.range(0, 383) - 128);
    e.input2_zero_point = (int16_t)((int32_t)h.range(0, 383) - 128);
    e.output_zero_point = (int16_t)((int32_t)h.range(0, 383) - 128);
    bool is_unsigned = command.header.flags & SYSTOLE_FLAG_OUTPUT_UNSIGNED;
    e.clamp_min = (int16_t)((is_unsigned ? 0 : -128) + (h.chance(30) ? (int)h.range(0, 120) : 0));
    e.clamp_max = (int16_t)((is_unsigned ? 255 : 127) - (h.chance(30) ? (int)h.range(0, 120) : 0));
    e.left_shift = (uint16_t)(plausible ? 20 : h.range(0, 24));
    random_scale(h, &e.input_multiplier, &e.input_shift, plausible, 0);
    random_scale(h, &e.input2_multiplier, &e.input2_shift, plausible, 0);
    random_scale(h, &e.output_multiplier, &e.output_shift, plausible, add ? -18 : 0);
    return command;
}

void random_commands() {
    static const MemoryMood moods[] = {{0, 0, 0, false},   {16, 0, 0, true},    {0, 160, 0, false},
                                       {16, 64, 64, true}, {4, 200, 30, false}, {16, 20, 230, true}};
    for (uint32_t seed = 1; seed <= 90 && rtl_failures == 0; seed++) {
        Unit h(seed * 2654435761u);
        uint32_t bump = 0;
        std::vector<systole_command> commands;
        for (unsigned i = 0; i < 14; i++) {
            commands.push_back(
                random_command(h, bump, OPCODES[h.range(0, OPCODE_COUNT - 1)], seed % 5 == 0 ? 1 : 9, h.chance(40)));
            if (h.chance(5)) {
                commands[i] = {};
                commands[i].header.opcode = SYSTOLE_OPCODE_NOP;
                commands[i].header.unit = SYSTOLE_UNIT_ELEMENTWISE;
            }
        }
        h.execute(commands, moods[seed % 6]);
        if (rtl_failures != 0) {
            printf("seed %u\n", seed);
        }
    }
}

// Saturation and the ends of every field of the arithmetic.
void extremes() {
    Unit h(3);
    uint32_t bump = 0;
    std::vector<systole_command> commands;
    for (unsigned i = 0; i < 512; i++) {
        systole_command command = random_command(h, bump, OPCODES[i % OPCODE_COUNT], 3, false);
        systole_elementwise &e = command.body.elementwise;
        e.input_multiplier = e.input2_multiplier = (i & 2) != 0 ? INT32_MAX : 0;
        e.output_multiplier = (i & 4) != 0 ? INT32_MAX : 1 << 30;
        e.input_shift = e.input2_shift = (int16_t)((i & 8) != 0 ? 30 : -31);
        e.output_shift = (int16_t)((i & 16) != 0 ? 30 : (i & 32) != 0 ? -31 : 0);
        e.left_shift = (i & 64) != 0 ? 24 : 0;
        e.input_zero_point = e.input2_zero_point = (int16_t)((i & 128) != 0 ? 255 : -128);
        commands.push_back(command);
    }
    CHECK(h.execute(commands, {0, 0, 0, false}));
}

// One vector a cycle, over rows, tiles and commands; the rest is the first one's way through.
void full_rate() {
    for (unsigned opcode : OPCODES) {
        Unit h(17);
        uint32_t bump = 0;
        size_t vectors = 0;
        std::vector<systole_command> commands;
        for (unsigned i = 0; i < 30; i++) {
            systole_command command = random_command(h, bump, opcode, 9, true);
            const systole_elementwise &e = command.body.elementwise;
            size_t size = (size_t)e.tiles * e.height * e.width;
            size += opcode == SYSTOLE_OPCODE_TABLE ? 256 / h.columns : 0;
            if (size >= (opcode == SYSTOLE_OPCODE_TABLE ? 20 : 4)) { // a shorter one would wait for a context
                vectors += size;
                commands.push_back(command);
            }
        }
        CHECK(h.execute(commands, {0, 0, 0, false}));
        printf("opcode 0x%02x: %lu cycles for %zu vectors in %zu commands\n", opcode, (unsigned long)h.cycles(),
               vectors, commands.size());
        CHECK(h.cycles() >= vectors);
        CHECK(h.cycles() <= vectors + 18);
        CHECK_EQ(h.stalled_cycles, 0);
    }
}

// Each walk a word too far: the error names the word, nothing is written after it, and reset brings the unit back.
void windows() {
    for (unsigned which = 0; which < 3; which++) {
        Unit h(which + 11);
        uint32_t bump = 0;
        std::vector<systole_command> commands = {random_command(h, bump, SYSTOLE_OPCODE_ADD, 9, false)};
        systole_elementwise &e = commands[0].body.elementwise;
        uint32_t address;
        if (which == 0) {
            e.input_address =
                INPUT | (INPUT_WORDS - extent(e, e.input_pixel_stride, e.input_row_stride, e.input_tile_stride));
            address = h.windows[SYSTOLE_REGION_ACTIVATIONS].base + INPUT_WORDS;
        } else if (which == 1) {
            e.input2_address =
                INPUT2 | (INPUT_WORDS - extent(e, e.input2_pixel_stride, e.input2_row_stride, e.input2_tile_stride));
            address = h.windows[SYSTOLE_REGION_INPUT].base + INPUT_WORDS;
        } else {
            e.output_address =
                OUTPUT | (OUTPUT_WORDS - extent(e, e.output_pixel_stride, e.output_row_stride, e.output_tile_stride));
            address = h.windows[SYSTOLE_REGION_OUTPUT].base + OUTPUT_WORDS;
        }
        CHECK(!h.execute(commands, {16, 25, 25, false}));
        CHECK_EQ(h.unit.error_o, 1);
        CHECK_EQ(h.unit.error_code_o, SYSTOLE_ERROR_REGION);
        CHECK_EQ(h.unit.error_detail_o, address);
        for (unsigned i = 0; i < 50; i++) {
            h.step(); // nothing is written any more
            CHECK_EQ(h.unit.error_o, 1);
        }
        h.reset();
        CHECK_EQ(h.unit.error_o, 0);
        CHECK_EQ(h.unit.busy_o, 0);
        std::vector<systole_command> again = {random_command(h, bump, SYSTOLE_OPCODE_REQUANTISE, 5, false)};
        CHECK(h.execute(again, {16, 0, 0, false}));
    }
}

// An error elsewhere freezes the unit at any moment; reset empties it and it works as before.
void halt() {
    for (unsigned after = 1; after < 40; after++) {
        Unit h(after);
        uint32_t bump = 0;
        h.add(random_command(h, bump, SYSTOLE_OPCODE_ADD, 9, false));
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
        std::vector<systole_command> commands = {random_command(h, bump, SYSTOLE_OPCODE_ADD, 4, true),
                                                 random_command(h, bump, SYSTOLE_OPCODE_REQUANTISE, 4, true)};
        CHECK(h.execute(commands, {0, 0, 0, false}));
    }
}

} // namespace

int main() {
    return rtl_run("elementwise_unit", {{"random_commands", random_commands},
                                        {"extremes", extremes},
                                        {"full_rate", full_rate},
                                        {"windows", windows},
                                        {"halt", halt}});
}
