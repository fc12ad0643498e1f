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

} // namespace

int main() {
    return rtl_run("test_array_unit", {{"random_single", random_single},
                                       {"random_back_to_back", random_back_to_back},
                                       {"random_refused", random_refused}});
}
