// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Parameters: -GCOLUMNS=16 -GACCUMULATORS=64 -GWEIGHT_PORT_ROWS=4 -GRECORDS=8
// The accumulator bank alone: sums over several reduction tiles with gaps and holds, the last one passing straight
// through with its bias, the same accumulator in consecutive cycles, records written while others are in use.
#include "Vaccumulator_bank.h"

#include "rtl_testing.h"

namespace {

constexpr unsigned columns = 16, accumulators = 64, port_rows = 4, records = 8;

struct Record {
    int32_t bias[columns], multiplier[columns], shift[columns];
    uint32_t common;
};

struct Bench {
    Vaccumulator_bank m;
    uint32_t random;
    int32_t sums[accumulators][columns] = {};
    Record record[records] = {};

    explicit Bench(uint32_t seed) : random(seed) {
        m.hold_i = 0;
        m.valid_i = 0;
        m.record_valid_i = 0;
        rtl_reset(m);
    }
    uint32_t below(uint32_t n) {
        return (rtl_random(random) >> 4) % n;
    }
    void cycle() {
        if (below(8) == 0) { // with everything else as it is
            m.hold_i = 1;
            rtl_cycle(m);
            m.hold_i = 0;
        }
        rtl_cycle(m);
        m.valid_i = 0;
        m.record_valid_i = 0;
    }

    // Words of a record in groups, sometimes one port later than the others.
    void write_record(unsigned index) {
        Record &r = record[index];
        for (unsigned l = 0; l < columns; ++l) {
            r.bias[l] = (int32_t)rtl_random(random);
            r.multiplier[l] = (int32_t)rtl_random(random);
            r.shift[l] = (int32_t)rtl_random(random);
        }
        r.common = rtl_random(random) & 0x7ffffff;
        for (unsigned word = 0; word < 12; word += port_rows) {
            const uint8_t late = below(2) != 0 ? (uint8_t)(1u << below(port_rows)) : 0;
            for (unsigned pass = 0; pass < 2; ++pass) {
                for (unsigned w = 0; w < port_rows; ++w) {
                    memcpy(&m.record_word_i[w], (const uint8_t *)&r + (word + w) * columns, columns);
                }
                m.record_valid_i = (uint8_t)(pass == 0 ? 15 & ~late : late);
                m.record_i = (uint8_t)index;
                m.record_index_i = (uint8_t)word;
                m.record_common_i = r.common;
                cycle();
            }
        }
    }

    void add(unsigned index, bool first, bool last, unsigned record_index) {
        int32_t sum[columns];
        for (unsigned c = 0; c < columns; ++c) {
            sum[c] = (int32_t)rtl_random(random);
            m.sum_i[c] = (uint32_t)sum[c];
        }
        m.valid_i = 1;
        m.first_i = first;
        m.last_i = last;
        m.index_i = (uint16_t)index;
        m.sum_record_i = (uint8_t)record_index;
        cycle();
        CHECK_EQ(m.valid_o, last);
        for (unsigned c = 0; c < columns; ++c) {
            const uint32_t total = (uint32_t)sum[c] + (first ? 0 : (uint32_t)sums[index][c]);
            if (last) {
                CHECK_EQ(m.value_o[c], total + (uint32_t)record[record_index].bias[c]);
                CHECK_EQ(m.multiplier_o[c], (uint32_t)record[record_index].multiplier[c]);
                CHECK_EQ(m.shift_o[c], (uint32_t)record[record_index].shift[c]);
            } else {
                sums[index][c] = (int32_t)total;
            }
        }
        if (last) {
            CHECK_EQ(m.common_o, record[record_index].common);
        }
    }
};

void tiles() {
    Bench bench(7);
    for (unsigned i = 0; i < records; ++i) {
        bench.write_record(i);
    }
    for (unsigned tile = 0; tile < 200 && rtl_failures == 0; ++tile) {
        const unsigned pixels = bench.below(4) == 0 ? 1 : 1 + bench.below(accumulators), depth = 1 + bench.below(4);
        for (unsigned kt = 0; kt < depth; ++kt) {
            for (unsigned p = 0; p < pixels; ++p) {
                bench.add(p, kt == 0, kt == depth - 1, tile % records);
                if (bench.below(8) == 0) {
                    bench.cycle();
                    CHECK_EQ(bench.m.valid_o, 0);
                }
            }
        }
        bench.write_record(tile % records);
    }
}

} // namespace

int main() {
    return rtl_run("test_accumulator_bank", {{"tiles", tiles}});
}
