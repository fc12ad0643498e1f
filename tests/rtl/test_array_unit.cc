// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Parameters: -GROWS=16 -GCOLUMNS=16 -GACCUMULATORS=64 -GWEIGHT_PORT_ROWS=4
// The array unit against the functional model, bit by bit: random convolutions, tiled and packed, alone and back to
// back, with and without refusals; errors; halt; and its timing as docs/rtl.md promises it.
#include "Varray_unit.h"

#include "unit_harness.h"

namespace {

constexpr uint32_t words = 1u << 16, accumulators = 64;
using Unit = Harness<Varray_unit>;
constexpr uint32_t columns = Unit::columns, port_rows = Unit::ports - 8;

systole_target make_target() {
    systole_target target = {};
    target.cores = 1;
    target.rows = target.columns = columns;
    target.accumulators = accumulators;
    target.weight_port_rows = port_rows;
    target.banks = 16;
    target.scratchpad_bytes = words * columns;
    return target;
}

// Regions: parameters and input in the lower half, outputs are given out from the upper.
struct Bench {
    Unit harness;
    uint32_t parameters = 0, inputs = 0, outputs = 0;
    uint32_t &random = harness.random_state;

    explicit Bench(uint32_t seed) : harness(words, seed) {
        harness.fill_random();
        harness.set_window(SYSTOLE_REGION_PARAMETERS, 64, 0x6000);
        harness.set_window(SYSTOLE_REGION_INPUT, 0x6100, 0x1f00);
        harness.set_window(SYSTOLE_REGION_OUTPUT, 0x8000, 0x8000);
    }

    int32_t range(int32_t low, int32_t high) {
        return low + (int32_t)((rtl_random(random) >> 3) % (uint32_t)(high - low + 1));
    }
    bool one_in(int32_t n) {
        return range(1, n) == 1;
    }

    void put32(uint32_t word, uint32_t lane, int32_t value) {
        memcpy(&harness.memory[(size_t)word * columns + (size_t)lane * 4], &value, 4);
    }

    // A record whose results fall into the range of bytes; otherwise it stays random.
    void tame_record(uint32_t word, int32_t terms) {
        int32_t magnitude = 8;
        for (; terms > 1; terms >>= 1) {
            ++magnitude;
        }
        for (uint32_t lane = 0; lane < columns; ++lane) {
            put32(word, lane, range(-20000, 20000));
            put32(word + 4, lane, range(1 << 30, 0x7fffffff));
            put32(word + 8, lane, range(-magnitude, 3 - magnitude));
        }
    }

    // False: it does not fit.
    bool make(systole_command &command) {
        memset(&command, 0, sizeof command);
        command.header.opcode = SYSTOLE_OPCODE_CONV;
        command.header.unit = SYSTOLE_UNIT_ARRAY;
        systole_window &w = command.body.window;
        const bool packed = columns >= 8 && one_in(3);
        command.header.flags =
            (uint16_t)((one_in(2) ? SYSTOLE_FLAG_INPUT_UNSIGNED : 0) | (one_in(2) ? SYSTOLE_FLAG_WEIGHT_UNSIGNED : 0) |
                       (one_in(2) ? SYSTOLE_FLAG_OUTPUT_UNSIGNED : 0));
        w.kernel_height = (uint8_t)range(1, one_in(4) ? 7 : 3);
        w.kernel_width = (uint8_t)range(1, 3);
        w.stride_y = (uint8_t)range(1, 3);
        w.stride_x = (uint8_t)range(1, 3);
        w.dilation_y = (uint8_t)range(1, 2);
        w.dilation_x = (uint8_t)range(1, 2);
        w.input_height = (uint16_t)range(1, 12);
        w.input_width = (uint16_t)range(1, 12);
        w.input_tiles = (uint16_t)range(1, 3);
        w.origin_y = (int16_t)range(-4, 2);
        w.origin_x = (int16_t)range(-4, 2);
        w.input_pixel_stride = (uint16_t)range(1, 2);
        w.input_row_stride = (uint32_t)(w.input_width * w.input_pixel_stride + range(0, 3));
        w.tile_rows = (uint16_t)(one_in(2) ? columns : port_rows * (uint32_t)range(1, (int32_t)(columns / port_rows)));
        if (packed) {
            command.header.flags |= SYSTOLE_FLAG_PACKED;
            w.segments = (uint8_t)range(1, 4);
            w.segment_bytes = (uint8_t)range(1, w.tile_rows / w.segments < 1 ? 1 : w.tile_rows / w.segments);
            if (w.segments * w.segment_bytes > w.tile_rows) {
                w.segments = 1;
            }
            w.input_pixel_stride = (uint16_t)range(1, 5);
            w.input_width = (uint16_t)range(1, 40);
            w.origin_x = (int16_t)range(-70 / w.input_pixel_stride, 3);
            w.origin_x = (int16_t)(one_in(2) ? range(-3, 3) : w.origin_x);
            w.input_row_stride = (uint32_t)(w.input_width * w.input_pixel_stride) / columns + 1 + (uint32_t)range(0, 1);
            w.input_tiles = 1;
            w.dilation_x = 1;
        }
        w.input_tile_stride = w.input_row_stride * w.input_height + (uint32_t)range(0, 5);
        w.output_height = (uint16_t)range(1, 9);
        w.output_width = (uint16_t)range(1, one_in(4) ? 30 : 9);
        w.output_tiles = (uint16_t)range(1, 3);
        w.output_pixel_stride = (uint16_t)range(1, 2);
        w.output_row_stride = (uint32_t)(w.output_width * w.output_pixel_stride + range(0, 3));
        w.output_tile_stride = w.output_row_stride * w.output_height + (uint32_t)range(0, 3);
        w.block_rows = (uint16_t)range(1, (int32_t)(accumulators / w.output_width));
        const int32_t zero_points[] = {0, -128, 127, 255, 128, range(-128, 255)};
        w.input_zero_point = (int16_t)zero_points[range(0, 5)];
        w.weight_zero_point = (int16_t)zero_points[range(0, 5)];
        w.output_zero_point = (int16_t)zero_points[range(0, 5)];
        w.clamp_min = (int16_t)(one_in(3) ? range(-128, 20) : -128);
        w.clamp_max = (int16_t)(one_in(3) ? range(20, 255) : 255);

        const uint32_t reduction = packed ? (uint32_t)(w.kernel_height + w.segments - 1) / w.segments
                                          : (uint32_t)w.kernel_height * w.kernel_width * w.input_tiles;
        const uint32_t stream = w.output_tiles * (12 + reduction * w.tile_rows);
        const uint32_t input = w.input_tile_stride * w.input_tiles + 64, output = w.output_tile_stride * w.output_tiles;
        if (parameters + stream > 0x6000 || outputs + output > 0x8000) {
            return false;
        }
        w.parameter_address = SYSTOLE_REGION_PARAMETERS << 28 | parameters;
        w.output_address = SYSTOLE_REGION_OUTPUT << 28 | outputs;
        w.input_address = SYSTOLE_REGION_INPUT << 28 | (uint32_t)range(0, (int32_t)(0x1f00 - input));
        for (uint32_t tile = 0; tile < w.output_tiles; ++tile) {
            if (!one_in(4)) {
                tame_record(64 + parameters + tile * (12 + reduction * w.tile_rows),
                            (int32_t)(reduction * w.tile_rows));
            }
        }
        parameters += (stream + port_rows - 1) / port_rows * port_rows;
        outputs += output;
        return true;
    }
};

void run_random(uint32_t seed, unsigned count, unsigned refuse) {
    Bench bench(seed);
    bench.harness.refuse_reads = refuse;
    systole_command command;
    unsigned made = 0;
    for (unsigned i = 0; i < count && bench.make(command); ++i) {
        bench.harness.add(command, bench.one_in(4) ? made : 0);
        ++made;
        if (bench.one_in(6)) {
            systole_command nop = {};
            nop.header.opcode = SYSTOLE_OPCODE_NOP;
            nop.header.unit = SYSTOLE_UNIT_ARRAY;
            bench.harness.add(nop);
            ++made;
        }
    }
    const unsigned before = rtl_failures;
    CHECK(bench.harness.run(4000000));
    bench.harness.compare_with_model(make_target());
    if (rtl_failures != before) {
        printf("seed %u\n", seed);
    }
}

void random_single() {
    for (uint32_t seed = 1; seed <= 150 && rtl_failures == 0; ++seed) {
        run_random(seed, 1, 0);
    }
}
void random_back_to_back() {
    for (uint32_t seed = 1001; seed <= 1040 && rtl_failures == 0; ++seed) {
        run_random(seed, 12, 0);
    }
}
void random_refused() {
    for (uint32_t seed = 2001; seed <= 2040 && rtl_failures == 0; ++seed) {
        run_random(seed, 12, seed % 2 == 0 ? 60 : 200);
    }
}

// One command whose window of one region is cut: the unit must stop where the model does, and be usable after a reset.
void windows() {
    unsigned errors = 0;
    for (uint32_t seed = 3001; seed <= 3120 && rtl_failures == 0; ++seed) {
        Bench bench(seed);
        systole_command command;
        CHECK(bench.make(command));
        systole_window &w = command.body.window;
        if ((uint32_t)w.output_height * w.output_width > accumulators) {
            continue;
        }
        w.block_rows = w.output_height; // the order of the model
        Unit &harness = bench.harness;
        const unsigned regions[] = {SYSTOLE_REGION_PARAMETERS, SYSTOLE_REGION_INPUT, SYSTOLE_REGION_OUTPUT};
        systole_region_window &window = harness.windows[regions[seed % 3]];
        const systole_region_window whole = window;
        const uint32_t start = seed % 3 == 0 ? w.parameter_address : seed % 3 == 1 ? w.input_address : w.output_address;
        if (bench.one_in(4)) { // the lower end
            window.base += (start & 0x0fffffff) + (uint32_t)bench.range(0, 20);
            window.words -= 100;
            (seed % 3 == 0   ? w.parameter_address
             : seed % 3 == 1 ? w.input_address
                             : w.output_address) =
                regions[seed % 3] << 28 | (0x0fffffff & (start - (window.base - whole.base)));
        } else {
            window.words = (start & 0x0fffffff) + (uint32_t)bench.range(0, 60);
        }
        std::vector<uint8_t> model = harness.memory;
        uint32_t error = 0, detail = 0;
        const systole_target target = make_target();
        const bool done = systole_execute_command(&target, &command, harness.windows, model.data(), &error, &detail);
        harness.add(command);
        const bool finished = harness.run(100000);
        CHECK_EQ(finished, done);
        if (!done) {
            ++errors;
            CHECK_EQ(harness.unit.error_code_o, error);
            CHECK_EQ(harness.unit.error_detail_o, detail);
            const std::vector<uint8_t> before = harness.memory;
            for (unsigned i = 0; i < 200; ++i) {
                harness.step();
                CHECK_EQ(harness.unit.error_o, 1);
                CHECK_EQ(harness.unit.retire_o, 0);
            }
            CHECK(harness.memory == before);
            harness.reset();
            CHECK_EQ(harness.unit.error_o, 0);
            window = whole;
            CHECK(bench.make(command));
            harness.add(command);
            CHECK(harness.run(100000));
            harness.compare_with_model(target);
        } else {
            CHECK(harness.memory == model);
        }
        if (rtl_failures != 0) {
            printf("seed %u\n", seed);
        }
    }
    CHECK(errors > 40);
}

// Halted, the unit asks for nothing and writes nothing.
void halt() {
    for (uint32_t seed = 4001; seed <= 4010; ++seed) {
        Bench bench(seed);
        systole_command command;
        for (unsigned i = 0; i < 4 && bench.make(command); ++i) {
            bench.harness.add(command);
        }
        Unit &harness = bench.harness;
        for (int32_t i = bench.range(1, 400); i > 0; --i) {
            harness.step();
        }
        harness.unit.halt_i = 1;
        const std::vector<uint8_t> before = harness.memory;
        const size_t retired = harness.retired_at.size();
        for (unsigned i = 0; i < 300; ++i) {
            harness.step();
            for (unsigned p = 0; p < Unit::ports; ++p) {
                CHECK_EQ(harness.unit.read_valid_o[p], 0);
            }
        }
        CHECK(harness.memory == before);
        CHECK(harness.retired_at.size() <= retired + 1); // the pulse that was on its way
        harness.unit.halt_i = 0;
        harness.reset();
        CHECK_EQ(harness.unit.busy_o, 0);
    }
}

systole_command pointwise(uint16_t height, uint16_t width, uint16_t input_tiles, uint16_t output_tiles) {
    systole_command command = {};
    command.header.opcode = SYSTOLE_OPCODE_CONV;
    command.header.unit = SYSTOLE_UNIT_ARRAY;
    systole_window &w = command.body.window;
    w.kernel_height = w.kernel_width = w.stride_y = w.stride_x = w.dilation_y = w.dilation_x = 1;
    w.input_height = w.output_height = w.block_rows = height;
    w.input_width = w.output_width = width;
    w.input_pixel_stride = w.output_pixel_stride = 1;
    w.input_row_stride = w.output_row_stride = width;
    w.input_tile_stride = w.output_tile_stride = (uint32_t)height * width;
    w.input_tiles = input_tiles;
    w.output_tiles = output_tiles;
    w.tile_rows = columns;
    w.parameter_address = SYSTOLE_REGION_PARAMETERS << 28;
    w.input_address = SYSTOLE_REGION_INPUT << 28;
    w.output_address = SYSTOLE_REGION_OUTPUT << 28;
    w.clamp_min = -128;
    w.clamp_max = 127;
    return command;
}

// docs/rtl.md, "Cycles of the array": alone, and a command after the other.
void cycles() {
    const uint64_t load = columns / port_rows, record = (12 + port_rows - 1) / port_rows;
    const uint64_t fill = 2 * columns + 9 + record + load;
    struct {
        uint16_t height, width, input_tiles, output_tiles;
        uint64_t tile; // cycles of one reduction tile
    } const cases[] = {{1, 1, 1, 1, load}, {7, 7, 8, 4, 49}, {8, 8, 1, 1, 64}, {1, 1, 40, 4, load}, {6, 6, 3, 2, 36}};
    for (const auto &c : cases) {
        const uint64_t pixels = (uint64_t)c.height * c.width, tiles = (uint64_t)c.input_tiles * c.output_tiles;
        // Operands and weights may meet in a bank: at most a cycle a tile.
        const uint64_t slack = pixels >= load + record ? 0 : tiles;
        uint64_t streaming = 0;
        for (uint64_t nt = 0; nt < c.output_tiles; ++nt) {
            streaming += (c.input_tiles - 1) * c.tile + (pixels > load + record ? pixels : load + record);
        }
        Bench bench(5);
        const systole_command command = pointwise(c.height, c.width, c.input_tiles, c.output_tiles);
        constexpr unsigned count = 5;
        for (unsigned i = 0; i < count; ++i) {
            bench.harness.add(command);
        }
        CHECK(bench.harness.run(100000));
        bench.harness.compare_with_model(make_target());
        const std::vector<uint64_t> &retired = bench.harness.retired_at;
        const uint64_t first = retired[0] - bench.harness.accepted_at[0];
        const uint64_t rest = retired[count - 1] - retired[0];
        // Alone: the last tile's pixels are what is left when the last weights are there.
        const uint64_t alone =
            c.tile >= load && pixels >= load ? fill + pixels * tiles : fill + streaming - load - record + pixels;
        CHECK(first >= alone && first <= alone + slack);
        streaming = streaming < 3 ? 3 : streaming; // the set-up of a command
        CHECK(rest >= (count - 1) * streaming && rest <= (count - 1) * (streaming + slack));
        if (rtl_failures != 0) {
            printf("%u x %u, %u tiles into %u: first %" PRIu64 " (%" PRIu64 "), then %" PRIu64 " (%" PRIu64 ")\n",
                   c.height, c.width, c.input_tiles, c.output_tiles, first, alone, rest / (count - 1), streaming);
        }
    }
}

} // namespace

int main() {
    return rtl_run("test_array_unit", {{"random_single", random_single},
                                       {"random_back_to_back", random_back_to_back},
                                       {"random_refused", random_refused},
                                       {"windows", windows},
                                       {"halt", halt},
                                       {"cycles", cycles}});
}
