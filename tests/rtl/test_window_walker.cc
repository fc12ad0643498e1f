// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The window walker against the loops that it unrolls: tiles, rows, columns, then taps by the kernel's rows in groups
// of TAPS; every address, mask and mark of each group, for commands back to back, groups taken at random.

// Parameters: -GTAPS=3 -GCONTEXT=2
#include "Vwindow_walker.h"

#include <cstring>
#include <deque>

#define _Static_assert static_assert
#include "systole_spec.h"
#undef _Static_assert

#include "rtl_testing.h"

namespace {

constexpr unsigned TAPS = sizeof(Vwindow_walker::tap_valid_o);

struct Group {
    bool valid[TAPS], reused[TAPS];
    uint32_t address[TAPS];
    uint32_t output;
    unsigned index, context;
    bool first, word_last, tile_last, command_last;
};

void append(std::deque<Group> &groups, const systole_window &w, unsigned context) {
    unsigned taps = (unsigned)w.kernel_height * w.kernel_width;
    for (unsigned t = 0; t < w.output_tiles; t++) {
        for (unsigned oy = 0; oy < w.output_height; oy++) {
            for (unsigned ox = 0; ox < w.output_width; ox++) {
                for (unsigned k = 0; k < taps; k += TAPS) {
                    Group group{};
                    for (unsigned j = 0; j < TAPS && k + j < taps; j++) {
                        int y = w.origin_y + (int)(oy * w.stride_y + (k + j) / w.kernel_width * w.dilation_y);
                        int x = w.origin_x + (int)(ox * w.stride_x + (k + j) % w.kernel_width * w.dilation_x);
                        group.valid[j] = y >= 0 && y < w.input_height && x >= 0 && x < w.input_width;
                        // What the word before in the row has read at the same place is not read again.
                        group.reused[j] = group.valid[j] && ox > 0 && w.dilation_x == 1 && taps <= 32 &&
                                          (k + j) % w.kernel_width + w.stride_x < w.kernel_width;
                        group.address[j] = w.input_address + t * w.input_tile_stride +
                                           (uint32_t)y * w.input_row_stride + (uint32_t)x * w.input_pixel_stride;
                    }
                    group.output = w.output_address + t * w.output_tile_stride + oy * w.output_row_stride +
                                   ox * w.output_pixel_stride;
                    group.index = k / TAPS & 0xff;
                    group.context = context;
                    group.first = k == 0;
                    group.word_last = k + TAPS >= taps;
                    group.tile_last = group.word_last && oy + 1 == w.output_height && ox + 1 == w.output_width;
                    group.command_last = group.tile_last && t + 1 == w.output_tiles;
                    groups.push_back(group);
                }
            }
        }
    }
}

uint32_t range(uint32_t &random, uint32_t low, uint32_t high) {
    return low + rtl_random(random) % (high - low + 1);
}

systole_command random_command(uint32_t &random, unsigned kernel, unsigned outputs) {
    systole_command command{};
    command.header.opcode = (uint8_t)range(random, SYSTOLE_OPCODE_DEPTHWISE, SYSTOLE_OPCODE_MIN_POOL);
    systole_window &w = command.body.window;
    w.input_address = range(random, 0, 1u << 28);
    w.input_row_stride = range(random, 0, 0xFFFFFF);
    w.input_tile_stride = range(random, 0, 0xFFFFFF);
    w.input_pixel_stride = (uint16_t)range(random, 1, 0xFFFF);
    w.input_height = (uint16_t)range(random, 1, 40);
    w.input_width = (uint16_t)range(random, 1, 40);
    w.origin_y = (int16_t)((int)range(random, 0, 30) - 20);
    w.origin_x = (int16_t)((int)range(random, 0, 30) - 20);
    w.kernel_height = (uint8_t)range(random, 1, kernel);
    w.kernel_width = (uint8_t)range(random, 1, kernel);
    w.stride_y = (uint8_t)(range(random, 0, 3) != 0 ? range(random, 1, 4) : range(random, 1, 255));
    w.stride_x = (uint8_t)(range(random, 0, 3) != 0 ? range(random, 1, 4) : range(random, 1, 255));
    w.dilation_y = (uint8_t)(range(random, 0, 3) != 0 ? range(random, 1, 3) : range(random, 1, 255));
    w.dilation_x = (uint8_t)(range(random, 0, 3) != 0 ? range(random, 1, 3) : range(random, 1, 255));
    w.output_address = range(random, 0, 1u << 28);
    w.output_row_stride = range(random, 0, 0xFFFFFF);
    w.output_tile_stride = range(random, 0, 0xFFFFFF);
    w.output_pixel_stride = (uint16_t)range(random, 1, 0xFFFF);
    w.output_height = (uint16_t)range(random, 1, outputs);
    w.output_width = (uint16_t)range(random, 1, outputs);
    w.output_tiles = (uint16_t)range(random, 1, 3);
    return command;
}

// What the walk of these commands shows, group by group; returns the cycles from the first group to the last.
unsigned walk(const std::vector<systole_command> &commands, uint32_t random, unsigned refused) {
    Vwindow_walker module;
    module.enable_i = 1;
    module.command_valid_i = 0;
    module.group_ready_i = 0;
    module.input_low_i = module.output_low_i = 0;
    module.input_high_i = module.output_high_i = UINT32_MAX; // windows are the unit test's
    rtl_reset(module);
    std::deque<Group> groups;
    size_t offered = 0;
    unsigned cycles = 0, quiet = 0;
    bool began = false;
    while ((offered < commands.size() || !groups.empty()) && quiet++ < 500) {
        module.command_valid_i = offered < commands.size();
        if (offered < commands.size()) {
            std::memcpy(module.command_i.data(), &commands[offered], sizeof commands[offered]);
            module.context_i = offered & 3;
        }
        module.enable_i = rtl_random(random) % 100 >= refused / 4;
        module.group_ready_i = rtl_random(random) % 100 >= refused;
        module.eval();
        bool taken = module.command_valid_i && module.command_ready_o && module.enable_i;
        if (module.group_valid_o && module.group_ready_i && module.enable_i) {
            CHECK(!groups.empty());
            if (groups.empty()) {
                return cycles;
            }
            const Group &group = groups.front();
            for (unsigned j = 0; j < TAPS; j++) {
                CHECK_EQ(module.tap_valid_o[j], group.valid[j]);
                CHECK_EQ(module.tap_reused_o[j], group.reused[j]);
                CHECK(!group.reused[j] || module.keeps_o);
                if (group.valid[j]) {
                    CHECK_EQ(module.tap_address_o[j], group.address[j]);
                }
            }
            CHECK_EQ(module.group_index_o, group.index);
            CHECK_EQ(module.word_first_o, group.first);
            CHECK_EQ(module.word_last_o, group.word_last);
            CHECK_EQ(module.tile_last_o, group.tile_last);
            CHECK_EQ(module.command_last_o, group.command_last);
            CHECK_EQ(module.output_address_o, group.output);
            CHECK_EQ(module.context_o, group.context);
            groups.pop_front();
            began = true;
            quiet = 0;
        }
        cycles += began;
        rtl_cycle(module);
        if (taken) {
            append(groups, commands[offered].body.window, offered & 3);
            offered++;
        }
        if (rtl_failures != 0) {
            return cycles;
        }
    }
    CHECK(groups.empty());
    return cycles;
}

void random_commands() {
    for (uint32_t seed = 1; seed <= 60; seed++) {
        uint32_t random = seed * 2654435761u;
        std::vector<systole_command> commands;
        for (unsigned i = 0; i < 10; i++) {
            commands.push_back(random_command(random, seed % 5 == 0 ? 1 : 8, 5));
        }
        walk(commands, random, seed % 2 == 0 ? 40 : 0);
    }
}

void largest_kernel() {
    uint32_t random = 7;
    systole_command command = random_command(random, 3, 1);
    systole_window &w = command.body.window;
    w.kernel_height = w.kernel_width = 255;
    w.dilation_y = w.dilation_x = 255;
    w.input_height = w.input_width = 65535;
    w.output_tiles = 1;
    walk({command}, random, 0);
}

// The next command is ready before the present one ends: no cycle without a group.
void no_gap() {
    uint32_t random = 9;
    std::vector<systole_command> commands;
    unsigned groups = 0;
    for (unsigned i = 0; i < 6; i++) {
        systole_command command = random_command(random, 3, 3);
        systole_window &w = command.body.window;
        w.kernel_height = 3;
        w.output_height = w.output_width = 4;
        groups += (unsigned)(w.kernel_height * w.kernel_width + (int)TAPS - 1) / TAPS * 16u * w.output_tiles;
        commands.push_back(command);
    }
    CHECK_EQ(walk(commands, random, 0), groups);
}

} // namespace

int main() {
    return rtl_run("window_walker",
                   {{"random_commands", random_commands}, {"largest_kernel", largest_kernel}, {"no_gap", no_gap}});
}
