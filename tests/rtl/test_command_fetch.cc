// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Commands from a memory with random grants to queues that have room at random times: each arrives once, in order, at
// its unit, relocated, with its windows; and each thing that fetch refuses, alone.
#include <cstring>
#include <functional>

#define _Static_assert static_assert
#include "Vcommand_fetch.h"
#include "rtl_testing.h"
#include "systole_spec.h"

namespace {

using Command = systole_command;

Command conv() {
    Command c = {};
    c.header.opcode = SYSTOLE_OPCODE_CONV;
    c.header.unit = SYSTOLE_UNIT_ARRAY;
    systole_window &w = c.body.window;
    w.input_address = 0x20000010;
    w.output_address = 0x40000020;
    w.parameter_address = 0x10000030;
    w.input_pixel_stride = w.output_pixel_stride = 1;
    w.input_height = w.input_width = w.output_height = w.output_width = 8;
    w.input_tiles = w.output_tiles = 1;
    w.kernel_height = w.kernel_width = w.stride_y = w.stride_x = w.dilation_y = w.dilation_x = 1;
    w.block_rows = 8;
    w.tile_rows = 16;
    return c;
}

Command add() {
    Command c = {};
    c.header.opcode = SYSTOLE_OPCODE_ADD;
    c.header.unit = SYSTOLE_UNIT_ELEMENTWISE;
    systole_elementwise &e = c.body.elementwise;
    e.input_address = 0x20000001;
    e.input2_address = 0x30000002;
    e.output_address = 0x40000003;
    e.output_pixel_stride = e.height = e.width = e.tiles = 1;
    return c;
}

Command load() {
    Command c = {};
    c.header.opcode = SYSTOLE_OPCODE_LOAD;
    c.header.unit = SYSTOLE_UNIT_LOAD;
    c.body.transfer = {0x20000005, 3, 0x50000000};
    return c;
}

Command nop(uint8_t unit) {
    Command c = {};
    c.header.opcode = SYSTOLE_OPCODE_NOP;
    c.header.unit = unit;
    return c;
}

struct Bench {
    Vcommand_fetch m;
    std::vector<Command> program;
    std::vector<Command> seen;
    std::vector<std::vector<uint32_t>> windows; // low and high of 4
    std::vector<uint32_t> units, indices;
    uint32_t random = 5, base[8], words[8];
    uint8_t table[256] = {};
    bool arriving = false;
    uint32_t arriving_address = 0;

    Bench() {
        m.halt_i = m.launch_i = m.read_grant_i = m.hold_i = 0;
        for (uint32_t u = 0; u < 5; u++) {
            m.push_ready_i[u] = 1;
        }
        for (uint32_t opcode : {0x01, 0x10, 0x11, 0x20, 0x30, 0x31, 0x32, 0x33, 0x40, 0x41}) {
            const uint8_t unit[] = {15, 0, 2, 3, 4};
            table[opcode] = (uint8_t)(0x80 | (opcode == 0x11 ? 1 : unit[opcode >> 4]));
        }
        for (uint32_t r = 0; r < 8; r++) {
            base[r] = 1000 * (r + 1);
            words[r] = 100 + r;
        }
        rtl_reset(m);
    }
    void run(int cycles) {
        m.descriptor_i[0] = 7 | (uint64_t)program.size() << 32;
        for (uint32_t r = 0; r < 8; r++) {
            m.descriptor_i[2 + r] = base[r] | (uint64_t)words[r] << 32;
        }
        m.launch_i = 1;
        rtl_cycle(m);
        m.launch_i = 0;
        for (int i = 0; i < cycles; i++) {
            cycle();
        }
    }
    void cycle() {
        for (uint32_t w = 0; w < 4; w++) {
            m.read_data_i[w] = 0xdddddddd;
        }
        if (arriving) {
            memcpy(&m.read_data_i, (const uint8_t *)program.data() + (arriving_address - base[0]) * 16, 16);
        }
        for (uint32_t u = 0; u < 5; u++) {
            m.push_ready_i[u] = rtl_random(random) % 2;
        }
        m.clk_i = 0;
        m.eval();
        m.entry_i = table[m.opcode_o];
        m.read_grant_i = m.read_valid_o && rtl_random(random) % 3 != 0;
        m.eval();
        arriving = m.read_grant_i;
        arriving_address = m.read_address_o;
        if (m.read_valid_o) {
            CHECK(m.read_address_o >= base[0] && m.read_address_o < base[0] + program.size() * 8);
        }
        for (uint32_t u = 0; u < 5; u++) {
            if (m.push_valid_o[u] && m.push_ready_i[u]) {
                Command c;
                static_assert(sizeof c == sizeof m.push_command_o);
                memcpy(&c, &m.push_command_o, sizeof c);
                seen.push_back(c);
                units.push_back(u);
                indices.push_back(m.push_index_o);
                std::vector<uint32_t> w(8);
                memcpy(w.data(), &m.push_windows_o, 32);
                windows.push_back(w);
            }
        }
        rtl_cycle(m);
    }
};

// What a debugger holds stays at the check, whatever room there is; then it goes on as if nothing had been.
void a_held_command_stays() {
    Bench b;
    for (int i = 0; i < 6; i++) {
        b.program.push_back(nop((uint8_t)(i % 5)));
        b.program.back().header.operator_index = (uint16_t)(100 + i);
    }
    b.m.hold_i = 1;
    b.run(300);
    CHECK_EQ(b.seen.size(), 0);
    for (uint32_t i = 0; i < 6; i++) {
        CHECK_EQ(b.m.check_valid_o, 1);
        CHECK_EQ(b.m.check_index_o, i);
        CHECK_EQ(b.m.check_operator_o, 100 + i);
        b.m.hold_i = 0;
        b.m.eval();
        while (!b.m.passed_o) {
            b.cycle();
        }
        b.cycle();
        b.m.hold_i = 1;
        for (int cycle = 0; cycle < 200; cycle++) {
            b.cycle();
        }
        CHECK_EQ(b.seen.size(), i + 1);
    }
    CHECK_EQ(b.m.check_valid_o, 0);
    CHECK_EQ(b.m.error_o, 0);
}

void arrive_relocated() {
    Bench b;
    for (int i = 0; i < 20; i++) {
        b.program.push_back(conv());
        b.program.push_back(add());
        b.program.push_back(load());
        b.program.push_back(nop((uint8_t)(i % 5)));
    }
    b.run(8000);
    CHECK_EQ(b.m.error_o, 0);
    CHECK_EQ(b.seen.size(), 80);
    for (size_t i = 0; i < b.seen.size(); i++) {
        Command expected = b.program[i];
        CHECK_EQ(b.units[i], expected.header.unit);
        CHECK_EQ(b.indices[i], i);
        const std::vector<uint32_t> &w = b.windows[i];
        switch (i % 4) {
        case 0:
            expected.body.window.input_address = 3016;
            expected.body.window.output_address = 5032;
            expected.body.window.parameter_address = 2048;
            CHECK(w[0] == 3000 && w[1] == 3102 && w[4] == 5000 && w[5] == 5104 && w[6] == 2000 && w[7] == 2101);
            break;
        case 1:
            expected.body.elementwise.input_address = 3001;
            expected.body.elementwise.input2_address = 4002;
            expected.body.elementwise.output_address = 5003;
            CHECK(w[0] == 3000 && w[1] == 3102 && w[2] == 4000 && w[3] == 4103 && w[4] == 5000 && w[5] == 5104);
            break;
        case 2:
            expected.body.transfer.address = 3005;
            CHECK(w[0] == 3000 && w[1] == 3102);
            break;
        default:
            break;
        }
        CHECK(memcmp(&expected, &b.seen[i], sizeof expected) == 0);
    }
}

void regions_that_do_not_exist() {
    Bench b;
    b.program = {load()};
    b.program[0].body.transfer.address = 0x90000007;
    b.run(100);
    CHECK_EQ(b.seen.size(), 1);
    if (!b.windows.empty()) {
        CHECK_EQ(b.windows[0][0], 0); // an empty window
        CHECK_EQ(b.windows[0][1], 0);
    }
}

struct Refusal {
    std::function<Command()> make;
    std::function<void(Command &)> spoil;
    uint32_t error;
};

void refusals() {
    const std::vector<Refusal> cases = {
        {conv, [](Command &c) { c.header.opcode = 0; }, 7},
        {conv, [](Command &c) { c.header.opcode = 0x55; }, 7},
        {conv, [](Command &c) { c.header.unit = SYSTOLE_UNIT_DEPTHWISE; }, 7},
        {[] { return nop(5); }, [](Command &) {}, 7},
        {conv, [](Command &c) { c.header.core = 1; }, 8},
        {conv, [](Command &c) { c.header.reserved0 = 1; }, 8},
        {conv, [](Command &c) { c.header.flags = 128; }, 8},
        {conv, [](Command &c) { c.body.window.input_height = 0; }, 8},
        {conv, [](Command &c) { c.body.window.input_row_stride = 1 << 24; }, 8},
        {conv, [](Command &c) { c.body.window.input_zero_point = -129; }, 8},
        {conv, [](Command &c) { c.body.window.clamp_max = 256; }, 8},
        {conv, [](Command &c) { c.body.window.output_shift = 31; }, 8},
        {conv, [](Command &c) { c.body.window.output_multiplier = -1; }, 8},
        {conv, [](Command &c) { c.body.window.segments = 5; }, 8},
        {conv, [](Command &c) { c.body.window.tile_rows = 0; }, 8},
        {conv, [](Command &c) { c.body.window.tile_rows = 20; }, 8},
        {conv, [](Command &c) { c.body.window.tile_rows = 6; }, 8},
        {conv, [](Command &c) { c.body.window.block_rows = 0; }, 8},
        {conv, [](Command &c) { c.body.window.block_rows = 65; }, 8}, // 65 * 8 > 512
        {conv, [](Command &c) { c.header.flags = SYSTOLE_FLAG_PACKED; }, 8},
        {conv,
         [](Command &c) {
             c.header.flags = SYSTOLE_FLAG_PACKED;
             c.body.window.segments = 3;
             c.body.window.segment_bytes = 6; // 18 > 16
         },
         8},
        {conv,
         [](Command &c) {
             c.header.opcode = SYSTOLE_OPCODE_DEPTHWISE;
             c.header.unit = SYSTOLE_UNIT_DEPTHWISE;
             c.body.window.kernel_height = 16;
             c.body.window.kernel_width = 17;
         },
         8},
        {add, [](Command &c) { c.body.elementwise.left_shift = 25; }, 8},
        {add, [](Command &c) { c.body.elementwise.input_shift = -32; }, 8},
        {add, [](Command &c) { c.body.elementwise.tiles = 0; }, 8},
        {load, [](Command &c) { c.body.transfer.words = 0; }, 8},
        {load, [](Command &c) { c.body.transfer.words = 1 << 24; }, 8},
    };
    for (size_t i = 0; i < cases.size(); i++) {
        Bench b;
        b.program = {nop(0), cases[i].make(), nop(1)};
        cases[i].spoil(b.program[1]);
        b.run(300);
        CHECK_EQ(b.m.error_o, 1);
        CHECK_EQ(b.m.error_code_o, cases[i].error);
        CHECK_EQ(b.m.error_command_o, 1);
        CHECK_EQ(b.m.error_detail_o, b.program[1].header.opcode);
        CHECK_EQ(b.seen.size(), 1);
        if (rtl_failures != 0) {
            printf("case %zu\n", i);
            return;
        }
    }
    Bench b; // the firmware does not know it
    b.table[SYSTOLE_OPCODE_ADD] = 0;
    b.program = {add()};
    b.run(100);
    CHECK_EQ(b.m.error_code_o, 7);
}

// What is just inside its bounds passes.
void extremes_pass() {
    Bench b;
    Command c = conv();
    c.header.flags = SYSTOLE_FLAG_PACKED;
    c.body.window.segments = 4;
    c.body.window.segment_bytes = 4;
    c.body.window.block_rows = 64;
    c.body.window.clamp_min = -128;
    c.body.window.clamp_max = 255;
    c.body.window.output_shift = -31;
    c.body.window.input_row_stride = 0xffffff;
    Command d = conv();
    d.header.opcode = SYSTOLE_OPCODE_MAX_POOL;
    d.header.unit = SYSTOLE_UNIT_DEPTHWISE;
    d.body.window.tile_rows = d.body.window.block_rows = 0;
    d.body.window.kernel_height = d.body.window.kernel_width = 255;
    Command e = load();
    e.body.transfer.words = 0xffffff;
    b.program = {c, d, e};
    b.run(300);
    CHECK_EQ(b.m.error_o, 0);
    CHECK_EQ(b.seen.size(), 3);
}

} // namespace

int main() {
    return rtl_run("rtl/test_command_fetch", {{"a_held_command_stays", a_held_command_stays},
                                              {"arrive_relocated", arrive_relocated},
                                              {"regions_that_do_not_exist", regions_that_do_not_exist},
                                              {"refusals", refusals},
                                              {"extremes_pass", extremes_pass}});
}
