// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A queue between a fetch that pushes at random times and a unit that takes and retires at random times: order, depth,
// tokens, nops, windows, indices.
#include <cstring>
#include <deque>

#include "Vunit_queue.h"
#include "rtl_testing.h"

namespace {

void idle(Vunit_queue &m) {
    m.halt_i = m.start_i = m.push_valid_i = m.command_ready_i = m.retire_i = 0;
    m.room_i = 1;
    for (uint32_t u = 0; u < 5; u++) {
        m.retired_i[u] = 0;
    }
}

void set_command(Vunit_queue &m, uint32_t opcode, uint32_t index) {
    for (uint32_t w = 0; w < 32; w++) {
        m.push_command_i[w] = w < 6 ? 0 : index * 1000 + w;
    }
    m.push_command_i[0] = opcode;
    for (uint32_t w = 0; w < 8; w++) {
        m.push_windows_i[w] = index * 10 + w;
    }
    m.push_index_i = index;
}

void tokens_hold_the_head() {
    // Each of the four tokens alone: unit u, count 3.
    for (uint32_t t = 0; t < 4; t++) {
        for (uint32_t unit = 0; unit < 5; unit++) {
            Vunit_queue m;
            idle(m);
            rtl_reset(m);
            set_command(m, 0x20, 7);
            m.push_command_i[2 + t] = unit << 24 | 3;
            m.push_valid_i = 1;
            rtl_cycle(m);
            m.push_valid_i = 0;
            for (uint32_t count = 0; count < 4; count++) {
                m.retired_i[unit] = count;
                for (uint32_t other = 0; other < 5; other++) {
                    if (other != unit) {
                        m.retired_i[other] = 100;
                    }
                }
                rtl_cycle(m);
                rtl_cycle(m);
                CHECK_EQ(m.command_valid_o, count == 3);
                CHECK_EQ(m.waiting_o, count != 3);
            }
        }
    }
    // What does not exist never comes; count 0 waits for nothing.
    const uint32_t tokens[] = {5u << 24 | 1, 15u << 24 | 1, 1u << 28 | 1, 1u << 28 | 9u << 24, 0};
    for (uint32_t token : tokens) {
        Vunit_queue m;
        idle(m);
        rtl_reset(m);
        set_command(m, 0x20, 1);
        m.push_command_i[5] = token;
        m.push_valid_i = 1;
        for (uint32_t u = 0; u < 5; u++) {
            m.retired_i[u] = 0xffffff;
        }
        rtl_cycle(m);
        m.push_valid_i = 0;
        rtl_cycle(m);
        CHECK_EQ(m.command_valid_o, (token & 0xffffff) == 0);
    }
}

void halt_and_room_hold() {
    Vunit_queue m;
    idle(m);
    rtl_reset(m);
    set_command(m, 0x20, 1);
    m.push_valid_i = 1;
    rtl_cycle(m);
    m.push_valid_i = 0;
    rtl_cycle(m);
    CHECK_EQ(m.command_valid_o, 1);
    m.room_i = 0;
    m.eval();
    CHECK_EQ(m.command_valid_o, 0);
    m.room_i = 1;
    m.halt_i = 1;
    m.eval();
    CHECK_EQ(m.command_valid_o, 0);
    m.halt_i = 0;
    rtl_reset(m);
    CHECK_EQ(m.command_valid_o, 0);
}

void random_traffic() {
    Vunit_queue m;
    idle(m);
    rtl_reset(m);
    uint32_t random = 11, pushed = 0, taken = 0, retired = 0, inside = 0;
    std::deque<bool> nops; // of what has not retired, from the oldest
    std::vector<bool> is_nop;
    std::vector<uint32_t> starts; // of what was taken
    unsigned deepest = 0, most = 0;
    for (int cycle = 0; cycle < 40000; cycle++) {
        m.command_ready_i = rtl_random(random) % 3 == 0;
        m.retire_i = inside > 0 && rtl_random(random) % (cycle / 10000 + 2) == 0;
        m.push_valid_i = rtl_random(random) % 2;
        const bool nop = rtl_random(random) % 4 == 0;
        set_command(m, nop ? 1 : 0x20, pushed);
        m.cycle_i = (uint32_t)cycle;
        m.clk_i = 0;
        m.eval();
        const bool push = m.push_valid_i && m.push_ready_o;
        const bool take = m.command_valid_o && m.command_ready_i;
        if (m.command_valid_o) {
            while (taken < pushed && is_nop[taken]) {
                taken++;
            }
            CHECK_EQ(m.command_o[10], taken * 1000 + 10);
            CHECK_EQ(m.command_o[31], taken * 1000 + 31);
            for (uint32_t i = 0; i < 4; i++) {
                CHECK_EQ(m.window_low_o[i], taken * 10 + 2 * i);
                CHECK_EQ(m.window_high_o[i], taken * 10 + 2 * i + 1);
            }
            CHECK(inside < 4);
        }
        if (m.retire_o) {
            CHECK_EQ(m.index_o, retired);
            CHECK(m.retire_i || is_nop[retired]);
            CHECK_EQ(m.start_o, is_nop[retired] ? (uint32_t)cycle : starts[retired]);
            CHECK(!(is_nop[retired] && inside > 0)); // a nop retires when all before it have
            retired++;
        } else {
            CHECK(!m.retire_i);
        }
        inside += take;
        inside -= m.retire_i;
        if (take) {
            starts.resize(taken + 1);
            starts[taken] = (uint32_t)cycle;
        }
        taken += take;
        if (push) {
            is_nop.push_back(nop);
            pushed++;
        }
        deepest = pushed - retired > deepest ? pushed - retired : deepest;
        most = inside > most ? inside : most;
        rtl_cycle(m);
        CHECK_EQ(m.retired_o, retired & 0xffffff);
        if (rtl_failures > 5) {
            return;
        }
    }
    CHECK(retired > 3000);
    CHECK(deepest >= 9); // 8 behind the head
    CHECK_EQ(most, 4);
    idle(m);
    m.start_i = 1;
    rtl_cycle(m);
    CHECK_EQ(m.retired_o, 0);
}

} // namespace

int main() {
    return rtl_run("rtl/test_unit_queue", {{"tokens_hold_the_head", tokens_hold_the_head},
                                           {"halt_and_room_hold", halt_and_room_hold},
                                           {"random_traffic", random_traffic}});
}
