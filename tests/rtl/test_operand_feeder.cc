// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Parameters: -GROWS=16 -GCOLUMNS=16 -GPORTS=12 -GRECORDS=8
// The operand feeder alone: the lanes that are not masked and the tags of every vector against the walk that
// docs/architecture.md describes, tiled and packed, under refusals; it reads no word that padding does not need, waits
// for each tile's launch and, granted everything, gives a vector a cycle.
#include "Voperand_feeder.h"

#include <deque>

#include "rtl_testing.h"

#define _Static_assert static_assert
#include "systole_spec.h"
#undef _Static_assert

namespace {

constexpr int32_t columns = 16, feeder_ports = 8;
constexpr uint32_t words = 1u << 14;

struct Vector {
    int32_t lanes[columns]; // -1: masked
    uint64_t tag;
    bool set;
    unsigned reads;
};

struct Bench {
    Voperand_feeder m;
    uint32_t random;
    std::vector<uint8_t> memory;
    std::deque<systole_command> commands;
    std::deque<Vector> expected;
    unsigned refuse_of_8 = 0, tiles = 0, records = 0, vectors = 0;
    uint64_t cycles = 0, reads = 0, expected_reads = 0, first_valid = 0, last_valid = 0;
    bool granted[feeder_ports] = {};
    uint32_t granted_address[feeder_ports] = {};

    explicit Bench(uint32_t seed) : random(seed), memory(words * columns) {
        for (uint8_t &byte : memory) {
            byte = (uint8_t)below(256);
        }
        m.hold_i = 0;
        m.command_valid_i = 0;
        m.launched_i = 0;
        rtl_reset(m);
    }
    uint32_t below(uint32_t n) {
        return (rtl_random(random) >> 4) % n;
    }
    int32_t range(int32_t low, int32_t high) {
        return low + (int32_t)below((uint32_t)(high - low + 1));
    }

    // The vector of a pixel and a reduction tile.
    Vector vector(const systole_command &c, int32_t oy, int32_t ox, int32_t kt) {
        const systole_window &w = c.body.window;
        Vector v = {};
        for (int32_t &lane : v.lanes) {
            lane = -1;
        }
        const int32_t y0 = w.origin_y + oy * w.stride_y, x0 = w.origin_x + ox * w.stride_x;
        if ((c.header.flags & SYSTOLE_FLAG_PACKED) != 0) {
            for (int32_t s = 0; s < w.segments; ++s) {
                const int32_t ky = kt * w.segments + s, y = y0 + ky * w.dilation_y;
                int32_t last_word = -1;
                for (int32_t b = 0; b < w.segment_bytes; ++b) {
                    const int32_t byte = x0 * w.input_pixel_stride + b;
                    if (ky < w.kernel_height && y >= 0 && y < w.input_height && byte >= 0 &&
                        byte < w.input_width * w.input_pixel_stride) {
                        v.lanes[s * w.segment_bytes + b] =
                            memory[(w.input_address + (uint32_t)y * w.input_row_stride) * columns + (uint32_t)byte];
                        v.reads += byte / columns != last_word;
                        last_word = byte / columns;
                    }
                }
            }
            return v;
        }
        const int32_t tile = kt % w.input_tiles, tap = kt / w.input_tiles;
        const int32_t y = y0 + tap / w.kernel_width * w.dilation_y, x = x0 + tap % w.kernel_width * w.dilation_x;
        if (y >= 0 && y < w.input_height && x >= 0 && x < w.input_width) {
            const uint32_t word = w.input_address + (uint32_t)tile * w.input_tile_stride +
                                  (uint32_t)y * w.input_row_stride + (uint32_t)(x * w.input_pixel_stride);
            for (uint32_t lane = 0; lane < w.tile_rows; ++lane) {
                v.lanes[lane] = memory[word * columns + lane];
            }
            v.reads = 1;
        }
        return v;
    }

    void add(bool packed) {
        systole_command c = {};
        systole_window &w = c.body.window;
        c.header.opcode = SYSTOLE_OPCODE_CONV;
        c.header.flags = packed ? SYSTOLE_FLAG_PACKED : 0;
        w.kernel_height = (uint8_t)range(1, 5);
        w.kernel_width = (uint8_t)range(1, 3);
        w.stride_y = (uint8_t)range(1, 3);
        w.stride_x = (uint8_t)range(1, 3);
        w.dilation_y = (uint8_t)range(1, 3);
        w.dilation_x = (uint8_t)range(1, 3);
        w.origin_y = (int16_t)range(-5, 2);
        w.origin_x = (int16_t)range(-5, 2);
        w.input_height = (uint16_t)range(1, 8);
        w.input_width = (uint16_t)range(1, 10);
        w.input_tiles = (uint16_t)(packed ? 1 : range(1, 3));
        w.input_pixel_stride = (uint16_t)range(1, packed ? 6 : 3);
        w.input_row_stride = (uint32_t)range(30, 40);
        w.input_tile_stride = w.input_row_stride * w.input_height;
        w.input_address = (uint32_t)range(100, 10000);
        w.tile_rows = (uint16_t)(4 * range(1, 4));
        if (packed) {
            w.segments = (uint8_t)range(1, 4);
            w.segment_bytes = (uint8_t)range(1, w.tile_rows / w.segments);
        }
        w.output_height = (uint16_t)range(1, 6);
        w.output_width = (uint16_t)range(1, 6);
        w.output_tiles = (uint16_t)range(1, 3);
        w.output_address = (uint32_t)range(0, 1000);
        w.output_row_stride = (uint32_t)range(0, 50);
        w.output_tile_stride = (uint32_t)range(0, 500);
        w.output_pixel_stride = (uint16_t)range(1, 4);
        w.block_rows = (uint16_t)range(1, 6);
        commands.push_back(c);
        const int32_t reduction =
            packed ? (w.kernel_height + w.segments - 1) / w.segments : w.kernel_height * w.kernel_width * w.input_tiles;
        for (int32_t block = 0; block < w.output_height; block += w.block_rows) {
            const int32_t end = block + w.block_rows < w.output_height ? block + w.block_rows : w.output_height;
            for (int32_t nt = 0; nt < w.output_tiles; ++nt, ++records) {
                for (int32_t kt = 0; kt < reduction; ++kt, ++tiles) {
                    uint32_t index = 0;
                    for (int32_t oy = block; oy < end; ++oy) {
                        for (int32_t ox = 0; ox < w.output_width; ++ox, ++index) {
                            Vector v = vector(c, oy, ox, kt);
                            const bool last_pixel = oy == end - 1 && ox == w.output_width - 1;
                            const bool last = kt == reduction - 1;
                            const bool last_of_command =
                                last && last_pixel && nt == w.output_tiles - 1 && end == w.output_height;
                            const uint32_t address = w.output_address + (uint32_t)nt * w.output_tile_stride +
                                                     (uint32_t)oy * w.output_row_stride +
                                                     (uint32_t)ox * w.output_pixel_stride;
                            v.tag = address | (uint64_t)index << 32 | (uint64_t)(records % 8) << 48 |
                                    (uint64_t)(kt == 0) << 51 | (uint64_t)last << 52 |
                                    (uint64_t)(last && last_pixel) << 53 | (uint64_t)last_of_command << 54;
                            v.set = tiles % 2 != 0;
                            expected_reads += v.reads;
                            expected.push_back(v);
                        }
                    }
                }
            }
        }
    }

    void check_vector() {
        CHECK(!expected.empty());
        if (expected.empty()) {
            return;
        }
        const Vector &v = expected.front();
        uint8_t bytes[columns];
        memcpy(bytes, &m.word_o, columns);
        for (int32_t lane = 0; lane < columns; ++lane) {
            CHECK_EQ(m.mask_o >> lane & 1, v.lanes[lane] >= 0);
            CHECK(v.lanes[lane] < 0 || bytes[lane] == v.lanes[lane]);
        }
        CHECK_EQ(m.set_o, v.set);
        // Behind all but the last reduction tile the address means nothing.
        const uint64_t mask = (v.tag >> 52 & 1) != 0 ? ~UINT64_C(0) : ~UINT64_C(0xffffffff);
        CHECK_EQ(m.tag_o & mask, v.tag & mask);
        expected.pop_front();
        ++vectors;
        if (first_valid == 0) {
            first_valid = cycles;
        }
        last_valid = cycles;
    }

    void cycle() {
        m.command_valid_i = !commands.empty();
        if (!commands.empty()) {
            memcpy(&m.command_i, &commands.front(), sizeof commands.front());
            m.input_low_i = m.output_low_i = 0;
            m.input_high_i = m.output_high_i = words;
        }
        for (int32_t p = 0; p < feeder_ports; ++p) {
            uint8_t data[columns];
            memset(data, (int)below(256), columns);
            if (granted[p]) {
                memcpy(data, &memory[(size_t)granted_address[p] * columns], columns);
            }
            memcpy(&m.read_data_i[p], data, columns);
            m.read_grant_i[p] = 0;
        }
        m.clk_i = 0;
        m.eval();
        CHECK_EQ(m.error_o, 0);
        if (m.valid_o) {
            check_vector();
        }
        for (int32_t p = 0; p < feeder_ports; ++p) {
            granted[p] = m.read_valid_o[p] && below(8) >= refuse_of_8;
            granted_address[p] = m.read_address_o[p];
            m.read_grant_i[p] = granted[p];
            reads += granted[p];
            CHECK(!m.read_valid_o[p] || m.launched_i != m.streamed_o);
        }
        m.eval();
        if (m.command_valid_i && m.command_ready_o) {
            commands.pop_front();
        }
        m.clk_i = 1;
        m.eval();
        ++cycles;
    }
};

// launch_of_8: how often a tile is launched when one may be.
void walk(uint32_t seed, bool packed, unsigned refuse_of_8, unsigned launch_of_8) {
    Bench bench(seed);
    bench.refuse_of_8 = refuse_of_8;
    for (unsigned i = 0; i < 30; ++i) {
        bench.add(packed);
    }
    const size_t total = bench.expected.size();
    while (!bench.expected.empty() && rtl_failures == 0 && bench.cycles < 40 * total) {
        bench.cycle();
        if ((uint8_t)(bench.m.launched_i - bench.m.streamed_o) < 2 && bench.below(8) < launch_of_8) {
            ++bench.m.launched_i;
        }
    }
    CHECK(bench.expected.empty());
    CHECK_EQ(bench.reads, bench.expected_reads);
    if (refuse_of_8 == 0 && launch_of_8 == 8) {
        CHECK_EQ(bench.last_valid - bench.first_valid + 1, total);
    }
}

void tiled() {
    walk(21, false, 0, 8);
    walk(22, false, 4, 2);
}
void packed() {
    walk(23, true, 0, 8);
    walk(24, true, 4, 2);
    walk(25, true, 6, 8);
}

} // namespace

int main() {
    return rtl_run("test_operand_feeder", {{"tiled", tiled}, {"packed", packed}});
}
