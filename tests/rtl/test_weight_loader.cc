// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Parameters: -GROWS=16 -GWEIGHT_PORT_ROWS=4 -GSLOTS=10 -GRECORDS=8
// The weight loader alone: every word of the parameter streams of several commands arrives once, where and in the order
// it should, whatever memory refuses; tiles are launched whole and at most two ahead of the operands; nothing is
// overwritten that is in use; one group of words a cycle; windows.
#include "Vweight_loader.h"

#include <deque>

#include "rtl_testing.h"

#define _Static_assert static_assert
#include "systole_spec.h"
#undef _Static_assert

namespace {

constexpr unsigned port_rows = 4, slots = 10, records = 8;

struct Bench {
    Vweight_loader m;
    uint32_t random;
    unsigned refuse_of_8 = 0, record_done_of_8 = 1;
    uint64_t cycle_number = 0, requests = 0;
    std::deque<systole_command> commands;

    struct Group { // of words: what must be read next
        uint32_t address;
        unsigned words, row;
        bool is_record;
        int32_t zero_point;
        bool is_unsigned, ends_unit;
        unsigned tile_rows;
    };
    std::deque<Group> expected;
    unsigned pending = 0; // ports of the first group still to come
    // What was granted in the cycle before.
    Group arriving = {};
    unsigned arriving_ports = 0;

    unsigned tiles_read = 0, tiles_launched = 0, tiles_streamed = 0, records_read = 0, records_done = 0;
    std::deque<unsigned> tile_heights;
    std::deque<std::pair<uint64_t, unsigned>> in_array; // slots to be freed
    bool slot_used[slots] = {};

    explicit Bench(uint32_t seed) : random(seed) {
        m.hold_i = 0;
        m.command_valid_i = 0;
        m.record_done_i = 0;
        m.streamed_i = 0;
        m.slot_done_i = 0;
        rtl_reset(m);
    }
    uint32_t below(uint32_t n) {
        return (rtl_random(random) >> 4) % n;
    }

    void add(unsigned kernel, unsigned tiles, unsigned output_tiles, unsigned height, unsigned block,
             unsigned tile_rows, unsigned segments) {
        systole_command c = {};
        systole_window &w = c.body.window;
        c.header.opcode = SYSTOLE_OPCODE_CONV;
        c.header.flags =
            (uint16_t)((segments != 0 ? SYSTOLE_FLAG_PACKED : 0) | (below(2) != 0 ? SYSTOLE_FLAG_WEIGHT_UNSIGNED : 0));
        w.kernel_height = w.kernel_width = (uint8_t)kernel;
        w.input_tiles = (uint16_t)tiles;
        w.output_tiles = (uint16_t)output_tiles;
        w.output_height = (uint16_t)height;
        w.block_rows = (uint16_t)block;
        w.tile_rows = (uint16_t)tile_rows;
        w.segments = (uint8_t)segments;
        w.parameter_address = 1000 + 4 * below(1000);
        w.weight_zero_point = (int16_t)((int32_t)below(384) - 128);
        commands.push_back(c);
        const unsigned reduction = segments != 0 ? (kernel + segments - 1) / segments : kernel * kernel * tiles;
        for (unsigned row = 0; row < height; row += block) {
            uint32_t address = w.parameter_address;
            for (unsigned nt = 0; nt < output_tiles; ++nt) {
                for (unsigned unit = 0; unit <= reduction; ++unit) {
                    const unsigned words = unit == 0 ? 12 : tile_rows;
                    for (unsigned i = 0; i < words; i += port_rows, address += port_rows) {
                        expected.push_back({address, port_rows, i, unit == 0, w.weight_zero_point,
                                            (c.header.flags & SYSTOLE_FLAG_WEIGHT_UNSIGNED) != 0,
                                            i + port_rows == words, tile_rows});
                    }
                }
            }
        }
    }

    void check_arrivals() {
        CHECK_EQ(m.fill_valid_o, arriving.is_record ? 0 : arriving_ports);
        CHECK_EQ(m.record_valid_o, arriving.is_record ? arriving_ports : 0);
        if (arriving_ports == 0) {
            return;
        }
        if (arriving.is_record) {
            CHECK_EQ(m.record_o, records_read % records);
            CHECK_EQ(m.record_index_o, arriving.row);
            CHECK(records_read < records_done + records);
        } else {
            CHECK_EQ(m.fill_slot_o, tiles_read % slots);
            CHECK_EQ(m.fill_row_o, arriving.row);
            CHECK_EQ(m.fill_zero_point_o, arriving.zero_point & 511);
            CHECK_EQ(m.fill_unsigned_o, arriving.is_unsigned);
            CHECK(!slot_used[tiles_read % slots]);
        }
        if (arriving.ends_unit && pending == 0) { // all of it is there
            if (arriving.is_record) {
                ++records_read;
            } else {
                slot_used[tiles_read % slots] = true;
                tile_heights.push_back(arriving.tile_rows);
                ++tiles_read;
            }
        }
    }

    void cycle() {
        m.command_valid_i = !commands.empty();
        if (!commands.empty()) {
            memcpy(&m.command_i, &commands.front(), sizeof commands.front());
            m.window_low_i = 0;
            m.window_high_i = 1u << 20;
        }
        m.streamed_i = (uint8_t)tiles_streamed;
        m.slot_done_i = 0;
        while (!in_array.empty() && in_array.front().first <= cycle_number) {
            m.slot_done_i |= (uint16_t)(1u << in_array.front().second);
            slot_used[in_array.front().second] = false;
            in_array.pop_front();
        }
        m.record_done_i = records_done < records_read && below(8) < record_done_of_8;
        m.clk_i = 0;
        for (unsigned w = 0; w < port_rows; ++w) {
            m.read_grant_i[w] = 0;
        }
        m.eval();
        check_arrivals();
        if (m.launch_o) {
            CHECK(tiles_launched < tiles_read);
            CHECK(tiles_launched < tiles_streamed + 2);
            CHECK_EQ(m.launch_slot_o, tiles_launched % slots);
            CHECK_EQ(m.launch_set_o, tiles_launched % 2);
            CHECK_EQ(m.launch_rows_o, tile_heights.front());
            tile_heights.pop_front();
            in_array.push_back({cycle_number + 30, tiles_launched % slots});
            ++tiles_launched;
        }
        arriving_ports = 0;
        for (unsigned w = 0; w < port_rows; ++w) {
            if (m.read_valid_o[w]) {
                CHECK(!expected.empty());
                if (expected.empty()) {
                    return;
                }
                if (pending == 0) {
                    pending = (1u << port_rows) - 1;
                }
                CHECK(pending >> w & 1);
                CHECK_EQ(m.read_address_o[w], expected.front().address + w);
                ++requests;
                if (below(8) >= refuse_of_8) {
                    m.read_grant_i[w] = 1;
                    arriving_ports |= 1u << w;
                }
            }
        }
        if (arriving_ports != 0) {
            arriving = expected.front();
            pending &= ~arriving_ports;
            if (pending == 0) {
                expected.pop_front();
            }
        }
        m.eval();
        CHECK_EQ(m.error_o, 0);
        if (m.command_valid_i && m.command_ready_o) {
            commands.pop_front();
        }
        if (m.record_done_i) {
            ++records_done;
        }
        m.clk_i = 1;
        m.eval();
        ++cycle_number;
    }
};

void streams(uint32_t seed, unsigned refuse_of_8) {
    Bench bench(seed);
    bench.refuse_of_8 = refuse_of_8;
    for (unsigned i = 0; i < 20; ++i) {
        const unsigned segments = bench.below(2) * (1 + bench.below(4)), height = 1 + bench.below(5);
        bench.add(1 + bench.below(4), segments != 0 ? 1 : 1 + bench.below(3), 1 + bench.below(4), height,
                  1 + bench.below(height), port_rows * (1 + bench.below(4)), segments);
    }
    while (bench.cycle_number < 200000 && rtl_failures == 0 &&
           (!bench.expected.empty() || bench.tiles_launched < bench.tiles_read || !bench.commands.empty())) {
        bench.cycle();
        if (bench.tiles_streamed < bench.tiles_launched && bench.below(20) == 0) {
            ++bench.tiles_streamed;
        }
    }
    CHECK(bench.expected.empty() && bench.commands.empty());
    CHECK_EQ(bench.tiles_launched, bench.tiles_read);
}

void granted() {
    streams(11, 0);
}
void refused() {
    streams(12, 3);
    streams(13, 7);
}

// With room in the rings a group is read every cycle, from command to command.
void rate() {
    Bench bench(14);
    bench.record_done_of_8 = 8;
    for (unsigned i = 0; i < 6; ++i) {
        bench.add(1, 5, 2, 1, 1, 16, 0);
    }
    uint64_t first = 0, cycles = 0;
    while (!bench.expected.empty() && cycles < 5000) {
        bench.cycle();
        ++cycles;
        if (bench.requests != 0 && first == 0) {
            first = cycles;
        }
        if (bench.tiles_streamed < bench.tiles_launched) {
            ++bench.tiles_streamed;
        }
    }
    CHECK_EQ(bench.requests, (uint64_t)6 * 2 * (12 + 5 * 16));
    CHECK(cycles - first + 1 <= bench.requests / port_rows + 2);
}

void window() {
    Vweight_loader m;
    m.hold_i = 0;
    m.record_done_i = 0;
    m.streamed_i = 0;
    m.slot_done_i = 0;
    m.command_valid_i = 0;
    rtl_reset(m);
    systole_command c = {};
    systole_window &w = c.body.window;
    w.kernel_height = w.kernel_width = 1;
    w.input_tiles = w.output_tiles = w.output_height = w.block_rows = 1;
    w.tile_rows = 16;
    w.parameter_address = 100;
    memcpy(&m.command_i, &c, sizeof c);
    m.window_low_i = 100;
    m.window_high_i = 100 + 12 + 10; // ends in the third group of the tile
    m.command_valid_i = 1;
    for (unsigned p = 0; p < port_rows; ++p) {
        m.read_grant_i[p] = 1;
    }
    rtl_cycle(m);
    m.command_valid_i = 0;
    for (unsigned i = 0; i < 40 && !m.error_o; ++i) {
        for (unsigned p = 0; p < port_rows; ++p) {
            CHECK(!m.read_valid_o[p] || (m.read_address_o[p] >= 100 && m.read_address_o[p] < 122));
        }
        rtl_cycle(m);
    }
    CHECK_EQ(m.error_o, 1);
    CHECK_EQ(m.error_address_o, 122);
}

} // namespace

int main() {
    return rtl_run("test_weight_loader",
                   {{"granted", granted}, {"refused", refused}, {"rate", rate}, {"window", window}});
}
