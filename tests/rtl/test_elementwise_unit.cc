// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The element-wise unit against the functional model: random additions and requantisations, back to back, under random
// refusals, with broadcasts by stride and by lane; its rate without refusals; windows, halt and reset.

// Parameters: -GCOLUMNS=16
#include "Velementwise_unit.h"

#include "vector_harness.h"

namespace {

constexpr unsigned COLUMNS = sizeof(Velementwise_unit::write_data_o); // as it was elaborated
using Harness = UnitHarness<Velementwise_unit, COLUMNS, 2>;

const std::vector<std::pair<unsigned, uint32_t>> ADDRESSES = {
    {0, offsetof(systole_command, body.elementwise.input_address)},
    {1, offsetof(systole_command, body.elementwise.input2_address)},
    {2, offsetof(systole_command, body.elementwise.output_address)},
};

constexpr uint32_t INPUT = SYSTOLE_REGION_ACTIVATIONS << 28, INPUT2 = SYSTOLE_REGION_INPUT << 28,
                   OUTPUT = SYSTOLE_REGION_OUTPUT << 28;
constexpr uint32_t INPUT_WORDS = 4000, OUTPUT_WORDS = 20000;

void fill(Harness &h) {
    h.windows[SYSTOLE_REGION_ACTIVATIONS] = {100, INPUT_WORDS};
    h.windows[SYSTOLE_REGION_INPUT] = {8000, INPUT_WORDS};
    h.windows[SYSTOLE_REGION_OUTPUT] = {20000, OUTPUT_WORDS};
    bool extreme = h.chance(30);
    static const uint8_t ends[] = {0x00, 0x7f, 0x80, 0xff};
    for (uint8_t &byte : h.memory) {
        byte = extreme ? ends[h.range(0, 3)] : (uint8_t)h.range(0, 255);
    }
}

// A walk's strides, some of them 0.
void random_strides(Harness &h, const systole_elementwise &e, bool broadcast, uint16_t *pixel, uint32_t *row,
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

void random_scale(Harness &h, int32_t *multiplier, int16_t *shift, bool plausible, int left) {
    *multiplier = (int32_t)(rtl_random(h.random) >> 1) | (plausible ? 1 << 30 : 0);
    *shift = (int16_t)(plausible ? left - (int)h.range(0, 3) : (int)h.range(0, 61) - 31);
}

void list_writes(Harness &h, UnitCommand &unit) {
    const systole_elementwise &e = unit.command.body.elementwise;
    uint32_t base = h.windows[SYSTOLE_REGION_OUTPUT].base + (e.output_address & 0x0fffffff);
    for (uint32_t t = 0; t < e.tiles; t++) {
        for (uint32_t y = 0; y < e.height; y++) {
            for (uint32_t x = 0; x < e.width; x++) {
                unit.writes.push_back(base + t * e.output_tile_stride + y * e.output_row_stride +
                                      x * e.output_pixel_stride);
            }
        }
    }
}

// A command whose accesses stay in their windows; its output is its own.
UnitCommand random_command(Harness &h, uint32_t &bump, unsigned opcode, uint32_t size, bool broadcast) {
    UnitCommand unit{};
    bool add = opcode == SYSTOLE_OPCODE_ADD, plausible = h.chance(60);
    unit.command.header.opcode = (uint8_t)opcode;
    unit.command.header.unit = SYSTOLE_UNIT_ELEMENTWISE;
    unit.command.header.flags = (uint16_t)(h.range(0, 7) | (broadcast ? h.range(0, 3) << 5 : 0));
    systole_elementwise &e = unit.command.body.elementwise;
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
    e.output_address = OUTPUT | bump;
    bump += extent(e, e.output_pixel_stride, e.output_row_stride, e.output_tile_stride) + 1;
    e.input_zero_point = (int16_t)((int32_t)h.range(0, 383) - 128);
    e.input2_zero_point = (int16_t)((int32_t)h.range(0, 383) - 128);
    e.output_zero_point = (int16_t)((int32_t)h.range(0, 383) - 128);
    bool is_unsigned = unit.command.header.flags & SYSTOLE_FLAG_OUTPUT_UNSIGNED;
    e.clamp_min = (int16_t)((is_unsigned ? 0 : -128) + (h.chance(30) ? (int)h.range(0, 120) : 0));
    e.clamp_max = (int16_t)((is_unsigned ? 255 : 127) - (h.chance(30) ? (int)h.range(0, 120) : 0));
    e.left_shift = (uint16_t)(plausible ? 20 : h.range(0, 24));
    random_scale(h, &e.input_multiplier, &e.input_shift, plausible, 0);
    random_scale(h, &e.input2_multiplier, &e.input2_shift, plausible, 0);
    random_scale(h, &e.output_multiplier, &e.output_shift, plausible, add ? -18 : 0);
    list_writes(h, unit);
    return unit;
}

void random_commands() {
    static const UnitMemoryMood moods[] = {{0, 0, 0}, {30, 0, 0}, {0, 60, 0}, {25, 25, 30}, {80, 10, 0}, {10, 90, 0}};
    for (uint32_t seed = 1; seed <= 90 && rtl_failures == 0; seed++) {
        Harness h(seed * 2654435761u);
        fill(h);
        uint32_t bump = 0;
        std::vector<UnitCommand> commands;
        for (unsigned i = 0; i < 14; i++) {
            commands.push_back(random_command(h, bump, h.chance(70) ? SYSTOLE_OPCODE_ADD : SYSTOLE_OPCODE_REQUANTISE,
                                              seed % 3 == 0 ? 1 : 9, h.chance(40)));
        }
        h.run(commands, ADDRESSES, moods[seed % 6]);
        if (rtl_failures != 0) {
            printf("seed %u\n", seed);
        }
    }
}

// Saturation and the ends of every field of the arithmetic.
void extremes() {
    Harness h(3);
    fill(h);
    uint32_t bump = 0;
    std::vector<UnitCommand> commands;
    for (unsigned i = 0; i < 256; i++) {
        UnitCommand unit =
            random_command(h, bump, (i & 1) != 0 ? SYSTOLE_OPCODE_ADD : SYSTOLE_OPCODE_REQUANTISE, 3, false);
        systole_elementwise &e = unit.command.body.elementwise;
        e.input_multiplier = e.input2_multiplier = (i & 2) != 0 ? INT32_MAX : 0;
        e.output_multiplier = (i & 4) != 0 ? INT32_MAX : 1 << 30;
        e.input_shift = e.input2_shift = (int16_t)((i & 8) != 0 ? 30 : -31);
        e.output_shift = (int16_t)((i & 16) != 0 ? 30 : (i & 32) != 0 ? -31 : 0);
        e.left_shift = (i & 64) != 0 ? 24 : 0;
        e.input_zero_point = e.input2_zero_point = (int16_t)((i & 128) != 0 ? 255 : -128);
        commands.push_back(unit);
    }
    h.run(commands, ADDRESSES, {0, 0, 0});
}

// One vector a cycle, over rows, tiles and commands; the rest is the first one's way through.
void full_rate() {
    for (unsigned opcode : {SYSTOLE_OPCODE_ADD, SYSTOLE_OPCODE_REQUANTISE}) {
        Harness h(17);
        fill(h);
        uint32_t bump = 0;
        size_t vectors = 0;
        std::vector<UnitCommand> commands;
        for (unsigned i = 0; i < 30; i++) {
            UnitCommand unit = random_command(h, bump, opcode, 9, true);
            if (unit.writes.size() >= 4) { // a shorter one would wait for a context
                vectors += unit.writes.size();
                commands.push_back(unit);
            }
        }
        h.run(commands, ADDRESSES, {0, 0, 0});
        printf("opcode 0x%02x: %lu cycles for %zu vectors in %zu commands\n", opcode, (unsigned long)h.cycles, vectors,
               commands.size());
        CHECK(h.cycles >= vectors);
        CHECK(h.cycles <= vectors + 18);
        CHECK_EQ(h.stalled_cycles, 0);
    }
}

// Each walk a word too far: the error names the word, nothing is written after it, and reset brings the unit back.
void windows() {
    for (unsigned which = 0; which < 3; which++) {
        Harness h(which + 11);
        fill(h);
        uint32_t bump = 0;
        std::vector<UnitCommand> commands = {random_command(h, bump, SYSTOLE_OPCODE_ADD, 9, false)};
        systole_elementwise &e = commands[0].command.body.elementwise;
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
        h.run(commands, ADDRESSES, {10, 10, 0});
        CHECK(h.stopped_on_error);
        CHECK_EQ(h.module.error_code_o, SYSTOLE_ERROR_REGION);
        CHECK_EQ(h.module.error_detail_o, address);
        for (unsigned i = 0; i < 50; i++) {
            h.module.write_grant_i = 1;
            h.module.eval();
            CHECK_EQ(h.module.write_valid_o, 0);
            rtl_cycle(h.module);
            CHECK_EQ(h.module.error_o, 1);
        }
        rtl_reset(h.module);
        CHECK_EQ(h.module.error_o, 0);
        CHECK_EQ(h.module.busy_o, 0);
        std::vector<UnitCommand> again = {random_command(h, bump, SYSTOLE_OPCODE_REQUANTISE, 5, false)};
        h.run(again, ADDRESSES, {0, 0, 0});
        CHECK(!h.stopped_on_error);
    }
}

// An error elsewhere freezes the unit at any moment; reset empties it and it works as before.
void halt() {
    for (unsigned after = 1; after < 40; after++) {
        Harness h(after);
        fill(h);
        uint32_t bump = 0;
        UnitCommand unit = random_command(h, bump, SYSTOLE_OPCODE_ADD, 9, false);
        h.offer(unit.command, ADDRESSES);
        h.module.read_grant_i[0] = h.module.read_grant_i[1] = 1;
        h.module.write_grant_i = 1;
        for (unsigned i = 0; i < after; i++) {
            rtl_cycle(h.module);
        }
        h.module.halt_i = 1;
        for (unsigned i = 0; i < 60; i++) {
            h.module.eval();
            CHECK_EQ(h.module.write_valid_o, 0);
            CHECK_EQ(h.module.command_ready_o, 0);
            rtl_cycle(h.module);
        }
        h.module.halt_i = 0;
        rtl_reset(h.module);
        CHECK_EQ(h.module.busy_o, 0);
        std::vector<UnitCommand> commands = {random_command(h, bump, SYSTOLE_OPCODE_ADD, 4, true),
                                             random_command(h, bump, SYSTOLE_OPCODE_REQUANTISE, 4, true)};
        h.run(commands, ADDRESSES, {0, 0, 0});
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
