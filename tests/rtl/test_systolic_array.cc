// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Parameters: -GROWS=8 -GCOLUMNS=8 -GWEIGHT_PORT_ROWS=2 -GSLOTS=6 -GTAG=55
// The systolic array alone: sums against products in software, with weight sets that change at the earliest moment the
// module allows, tiles of every height, gaps, masks, both kinds of bytes and all zero points, holds.
#include "Vsystolic_array.h"

#include <deque>

#include "rtl_testing.h"

namespace {

constexpr unsigned rows = 8, columns = 8, port_rows = 2, slots = 6, latency = rows + columns - 1;

int32_t operand(uint8_t byte, bool is_unsigned, int32_t zero_point) {
    const int32_t difference = (is_unsigned ? (int32_t)byte : (int32_t)(int8_t)byte) - zero_point;
    return ((difference + 256) & 511) - 256;
}

struct Tile {
    unsigned height;
    bool is_unsigned;
    int32_t zero_point;
    uint8_t bytes[rows][columns];
};

struct Expected {
    uint64_t cycle, tag;
    int32_t sums[columns];
};

struct Bench {
    Vsystolic_array m;
    uint32_t random;
    uint64_t moves = 0;
    std::deque<Expected> expected;
    unsigned hold_of_8 = 0, done_slots = 0;

    explicit Bench(uint32_t seed) : random(seed) {
        m.hold_i = 0;
        m.valid_i = 0;
        m.launch_i = 0;
        m.fill_valid_i = 0;
        rtl_reset(m);
    }
    uint32_t below(uint32_t n) {
        return (rtl_random(random) >> 4) % n;
    }

    // One move of the array; held cycles before it change nothing.
    void cycle() {
        while (hold_of_8 != 0 && below(8) < hold_of_8) {
            m.hold_i = 1;
            rtl_cycle(m);
            m.hold_i = 0;
        }
        m.clk_i = 0;
        m.eval();
        const bool due = !expected.empty() && expected.front().cycle + latency == moves;
        CHECK_EQ(m.valid_o, due);
        if (due) {
            CHECK_EQ(m.tag_o, expected.front().tag);
            for (unsigned c = 0; c < columns; ++c) {
                CHECK_EQ((int32_t)m.sum_o[c], expected.front().sums[c]);
            }
            expected.pop_front();
        }
        m.clk_i = 1;
        m.eval();
        done_slots |= m.slot_done_o;
        ++moves;
        m.valid_i = 0;
        m.launch_i = 0;
        m.fill_valid_i = 0;
    }

    void send(const Tile &tile, bool set) {
        Expected e = {moves, (uint64_t)rtl_random(random) << 20, {}};
        const bool is_unsigned = below(2) != 0;
        const int32_t zero_point = (int32_t)below(384) - 128;
        uint8_t bytes[rows];
        uint32_t mask = below(4) == 0 ? below(256) : 255;
        mask &= (1u << tile.height) - 1;
        for (unsigned r = 0; r < rows; ++r) {
            bytes[r] = (uint8_t)below(256);
            const int32_t a = (mask >> r & 1) != 0 ? operand(bytes[r], is_unsigned, zero_point) : 0;
            for (unsigned c = 0; c < columns; ++c) {
                e.sums[c] += a * operand(tile.bytes[r][c], tile.is_unsigned, tile.zero_point);
            }
        }
        memcpy(&m.word_i, bytes, rows);
        m.mask_i = (uint8_t)mask;
        m.unsigned_i = is_unsigned;
        m.zero_point_i = (uint16_t)(zero_point & 511);
        m.set_i = set;
        m.tag_i = e.tag;
        m.valid_i = 1;
        expected.push_back(e);
    }
};

// Tiles of `vectors` vectors each; the weights of a tile are launched as late as possible or as early.
void tiles(uint32_t seed, unsigned vectors, unsigned gaps_of_8, unsigned hold_of_8) {
    Bench bench(seed);
    bench.hold_of_8 = hold_of_8;
    Vsystolic_array &m = bench.m;
    std::deque<Tile> loaded;                                    // in the buffer or launched, from the one that streams
    unsigned filled = 0, launched = 0, streaming = 0, sent = 0; // tiles; vectors of the one that streams
    unsigned fill_row = 0, count = 60;
    uint64_t launch_cycle[2] = {0, 0}, last_cycle[2] = {0, 0};
    bool slot_busy[slots] = {};
    Tile next = {};
    for (unsigned limit = 0; limit < 60000 && (streaming < count || !bench.expected.empty()); ++limit) {
        for (unsigned s = 0; s < slots; ++s) {
            slot_busy[s] = slot_busy[s] && (bench.done_slots >> s & 1) == 0;
        }
        bench.done_slots = 0;
        unsigned launch_limit = filled; // what was whole before this cycle
        if (filled < count && !slot_busy[filled % slots]) {
            if (fill_row == 0) {
                next.height = port_rows * (1 + bench.below(rows / port_rows));
                next.is_unsigned = bench.below(2) != 0;
                next.zero_point = (int32_t)bench.below(384) - 128;
                for (auto &row : next.bytes) {
                    for (uint8_t &byte : row) {
                        byte = (uint8_t)bench.below(256);
                    }
                }
            }
            for (unsigned w = 0; w < port_rows; ++w) {
                memcpy(&m.fill_word_i[w], next.bytes[fill_row + w], columns);
            }
            m.fill_valid_i = (1u << port_rows) - 1;
            m.fill_slot_i = (uint8_t)(filled % slots);
            m.fill_row_i = (uint8_t)fill_row;
            m.fill_unsigned_i = next.is_unsigned;
            m.fill_zero_point_i = (uint16_t)(next.zero_point & 511);
            fill_row += port_rows;
            if (fill_row == next.height) {
                slot_busy[filled % slots] = true;
                loaded.push_back(next);
                ++filled;
                fill_row = 0;
            }
        }
        // Tile k enters its set when k - 2 has streamed: its last vector no later than the cycle after the launch.
        if (launched < launch_limit && launched < streaming + 2 &&
            (launched < 2 || last_cycle[launched % 2] <= bench.moves + 1)) {
            m.launch_i = 1;
            m.launch_slot_i = (uint8_t)(launched % slots);
            m.launch_set_i = launched % 2;
            m.launch_rows_i = (uint8_t)loaded[launched - streaming].height;
            launch_cycle[launched % 2] = bench.moves;
            ++launched;
        }
        if (streaming < launched && bench.moves >= launch_cycle[streaming % 2] + 2 && bench.below(8) >= gaps_of_8) {
            bench.send(loaded.front(), streaming % 2 != 0);
            if (++sent == vectors) {
                last_cycle[streaming % 2] = bench.moves;
                loaded.pop_front();
                ++streaming;
                sent = 0;
            }
        }
        bench.cycle();
    }
    CHECK_EQ(streaming, count);
    CHECK(bench.expected.empty());
}

void one_vector() {
    tiles(1, 1, 0, 0);
}
void few_vectors() {
    tiles(2, 3, 0, 0);
    tiles(3, 5, 3, 0);
}
void many_vectors() {
    tiles(4, 40, 0, 0);
}
void held() {
    tiles(5, 4, 2, 3);
}

} // namespace

int main() {
    return rtl_run(
        "test_systolic_array",
        {{"one_vector", one_vector}, {"few_vectors", few_vectors}, {"many_vectors", many_vectors}, {"held", held}});
}
