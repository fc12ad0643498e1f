// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Words of `write` frames and of `stream` frames under random grants: each lands once, at its address, in order; a
// command takes exactly its words and retires the cycle after the last one; outside its window it stops.
#include <cstring>

#include "Vload_unit.h"
#include "rtl_testing.h"

namespace {

void quiet(Vload_unit &m) {
    m.halt_i = m.command_valid_i = m.word_valid_i = m.word_stream_i = m.write_grant_i = 0;
    for (uint32_t w = 0; w < 32; w++) {
        m.command_i[w] = 0;
    }
}

void set_command(Vload_unit &m, uint32_t address, uint32_t words, uint32_t low, uint32_t high) {
    m.command_i[6] = address;
    m.command_i[7] = words;
    m.window_low_i[0] = low;
    m.window_high_i[0] = high;
}

void random_words() {
    Vload_unit m;
    quiet(m);
    rtl_reset(m);
    uint32_t random = 5;
    std::vector<std::pair<uint32_t, uint32_t>> expected, written; // address, first 32 bits
    uint32_t address = 0, left = 0, sent = 0, commands = 0, retired = 0, last_writes = 0;
    std::vector<size_t> ends; // number of words written when a command is done
    bool retire_due = false;
    for (int cycle = 0; cycle < 20000; cycle++) {
        m.command_valid_i = left == 0 && rtl_random(random) % 4 == 0;
        const uint32_t words = 1 + rtl_random(random) % 5;
        set_command(m, 100 + commands * 8, words, 100, 1000000);
        m.word_valid_i = rtl_random(random) % 2;
        m.word_stream_i = rtl_random(random) % 3 != 0;
        m.word_address_i = 0x800000 + sent;
        for (uint32_t w = 0; w < 4; w++) {
            m.word_data_i[w] = sent * 4 + w;
        }
        m.write_grant_i = 0;
        m.clk_i = 0;
        m.eval();
        m.write_grant_i = m.write_valid_o && rtl_random(random) % 2;
        m.eval();
        CHECK_EQ(m.retire_o, retire_due);
        retired += m.retire_o;
        CHECK(!(m.stalled_o && m.write_grant_i));
        retire_due = false;
        if (m.write_grant_i) {
            written.push_back({m.write_address_o, m.write_data_o[0]});
            CHECK_EQ(m.write_data_o[3], m.write_data_o[0] + 3);
            if (last_writes < ends.size() && ends[last_writes] == written.size()) {
                retire_due = true;
                last_writes++;
            }
        }
        if (m.word_valid_i && m.word_ready_o) {
            if (m.word_stream_i) {
                CHECK(left > 0);
                expected.push_back({address++, sent * 4});
                if (--left == 0) {
                    ends.push_back(expected.size());
                }
            } else {
                expected.push_back({m.word_address_i, sent * 4});
            }
            sent++;
        }
        if (m.command_valid_i && m.command_ready_o) {
            address = m.command_i[6];
            left = words;
            commands++;
        }
        CHECK_EQ(m.error_o, 0);
        rtl_cycle(m);
        if (rtl_failures > 5) {
            return;
        }
    }
    written.resize(written.size() < expected.size() ? written.size() : expected.size());
    expected.resize(written.size());
    CHECK(written == expected);
    CHECK(retired > 300);
    CHECK(written.size() > 3000);
}

void outside_its_window() {
    const struct {
        uint32_t address, words, low, high, bad, detail;
    } cases[] = {{10, 5, 10, 15, 0, 0},  {10, 6, 10, 15, 1, 15}, {15, 1, 10, 15, 1, 15},
                 {99, 2, 10, 15, 1, 99}, {20, 1, 0, 0, 1, 20},   {14, 1, 10, 15, 0, 0}};
    for (const auto &c : cases) {
        Vload_unit m;
        quiet(m);
        rtl_reset(m);
        set_command(m, c.address, c.words, c.low, c.high);
        m.command_valid_i = 1;
        m.word_valid_i = m.word_stream_i = 1;
        rtl_cycle(m);
        m.command_valid_i = 0;
        CHECK_EQ(m.error_o, c.bad);
        for (int i = 0; i < 4; i++) {
            rtl_cycle(m);
            if (c.bad) {
                CHECK_EQ(m.error_o, 1);
                CHECK_EQ(m.error_code_o, 9);
                CHECK_EQ(m.error_detail_o, c.detail);
                CHECK_EQ(m.write_valid_o, 0);
            }
        }
    }
}

void halted_takes_nothing() {
    Vload_unit m;
    quiet(m);
    rtl_reset(m);
    m.halt_i = 1;
    m.word_valid_i = 1;
    for (int i = 0; i < 5; i++) {
        rtl_cycle(m);
        CHECK_EQ(m.word_ready_o, 0);
        CHECK_EQ(m.write_valid_o, 0);
    }
}

} // namespace

int main() {
    return rtl_run("rtl/test_load_unit", {{"random_words", random_words},
                                          {"outside_its_window", outside_its_window},
                                          {"halted_takes_nothing", halted_takes_nothing}});
}
