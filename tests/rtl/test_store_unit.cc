// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// `store` commands and `read` frames between a memory with random grants and a writer that is ready at random times:
// each is one header with its words behind it, whole, and they take turns.
#include <cstring>
#include <deque>

#include "Vstore_unit.h"
#include "rtl_testing.h"

namespace {

constexpr uint32_t kStore = 0x82, kData = 0x81;

void quiet(Vstore_unit &m) {
    m.halt_i = m.command_valid_i = m.read_frame_valid_i = m.header_ready_i = m.word_ready_i = m.read_grant_i = 0;
    m.token_i = 77;
    for (uint32_t w = 0; w < 32; w++) {
        m.command_i[w] = 0;
    }
    m.window_low_i[0] = 0;
    m.window_high_i[0] = 1u << 30;
}

void random_jobs() {
    Vstore_unit m;
    quiet(m);
    rtl_reset(m);
    uint32_t random = 9, kind = 0, address = 0, left = 0, commands = 0, frames = 0, retired = 0, turns = 0;
    bool arriving = false;
    uint32_t arriving_address = 0;
    bool due = false;
    for (int cycle = 0; cycle < 40000; cycle++) {
        const bool busy_phase = cycle > 20000; // both always wait: they must alternate
        m.command_valid_i = busy_phase || rtl_random(random) % 50 == 0;
        m.command_i[6] = 1000 + 100 * commands;
        m.command_i[7] = 1 + commands % 7;
        m.command_i[8] = 0x50000000 + commands;
        m.read_frame_valid_i = m.read_frame_ready_o && (busy_phase || rtl_random(random) % 50 == 0);
        m.read_frame_address_i = 0x100000 + 100 * frames;
        m.read_frame_words_i = 1 + frames % 5;
        m.read_frame_tag_i = 0xabc000 + frames;
        m.header_ready_i = left == 0 && rtl_random(random) % 2;
        m.word_ready_i = left != 0 && rtl_random(random) % 2;
        for (uint32_t w = 0; w < 4; w++) {
            m.read_data_i[w] = arriving ? arriving_address * 4 + w : 0xeeeeeeee;
        }
        m.clk_i = 0;
        m.eval();
        m.read_grant_i = m.read_valid_o && rtl_random(random) % 3 != 0;
        m.eval();
        CHECK_EQ(m.retire_o, due);
        retired += m.retire_o;
        due = false;
        if (m.word_valid_o && m.word_ready_i) {
            CHECK_EQ(m.word_data_o[0], address * 4);
            CHECK_EQ(m.word_data_o[3], address * 4 + 3);
            address++;
            left--;
            due = left == 0 && kind == kStore;
        }
        if (m.header_valid_o && m.header_ready_i) {
            if (busy_phase && cycle > 21000) {
                CHECK(kind != m.header_kind_o);
                turns++;
            }
            kind = m.header_kind_o;
            left = m.header_length_o / 16;
            if (kind == kStore) {
                CHECK_EQ(m.header_tag_o, 77);
                CHECK_EQ(m.header_address_o, 0x50000000 + commands - 1);
                CHECK_EQ(left, 1 + (commands - 1) % 7);
                address = 1000 + 100 * (commands - 1);
            } else {
                CHECK_EQ(kind, kData);
                address = m.header_address_o;
                CHECK_EQ(address % 100, 0x100000 % 100);
                CHECK_EQ(left, 1 + (m.header_tag_o - 0xabc000) % 5);
            }
        }
        arriving = m.read_grant_i;
        arriving_address = m.read_address_o;
        commands += m.command_valid_i && m.command_ready_o;
        frames += m.read_frame_valid_i && m.read_frame_ready_o;
        CHECK_EQ(m.error_o, 0);
        rtl_cycle(m);
        if (rtl_failures > 5) {
            return;
        }
    }
    CHECK(retired > 500);
    CHECK(frames > 500);
    CHECK(turns > 500);
}

void outside_its_window() {
    Vstore_unit m;
    quiet(m);
    rtl_reset(m);
    m.command_i[6] = 60;
    m.command_i[7] = 5;
    m.window_low_i[0] = 60;
    m.window_high_i[0] = 64;
    m.command_valid_i = 1;
    m.header_ready_i = m.word_ready_i = 1;
    rtl_cycle(m);
    m.command_valid_i = 0;
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(m.error_o, 1);
        CHECK_EQ(m.error_code_o, 9);
        CHECK_EQ(m.error_detail_o, 64);
        CHECK_EQ(m.header_valid_o, 0);
        CHECK_EQ(m.read_valid_o, 0);
        rtl_cycle(m);
    }
}

} // namespace

int main() {
    return rtl_run("rtl/test_store_unit", {{"random_jobs", random_jobs}, {"outside_its_window", outside_its_window}});
}
