// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The debug registers against a fetch that gives out one command after the other: who is held, by what, until when;
// words of memory; the units' queues.
// Parameters: -GCOLUMNS=16
#include "Vdebug_module.h"
#include "rtl_testing.h"

namespace {

constexpr uint32_t kControl = 0x300, kState = 0x308, kAddress = 0x310, kBreakpoint = 0x320, kData = 0x340,
                   kUnit = 0x380;

struct Bench {
    Vdebug_module m;
    uint32_t command = 0; // at the check
    Bench() {
        m.register_write_i = m.register_read_i = m.launch_i = m.check_valid_i = m.passed_i = m.read_grant_i = 0;
        m.read_parity_i = 0;
        m.retired_i = 0;
        for (uint32_t u = 0; u < 5; u++) {
            m.unit_retired_i[u] = m.unit_queued_i[u] = m.unit_inside_i[u] = m.unit_waiting_i[u] = 0;
        }
        rtl_reset(m);
        m.launch_i = 1;
        rtl_cycle(m);
        m.launch_i = 0;
    }
    uint64_t read(uint32_t address) {
        return rtl_read_register(m, address);
    }
    void write(uint32_t address, uint64_t value) {
        rtl_write_register(m, address, value);
        rtl_cycle(m); // active_q is a cycle behind
    }
    // Fetch: gives out commands, all retired at once, until one is held or `end` is reached. Two commands an operator.
    void run(uint32_t end) {
        while (command < end) {
            m.check_valid_i = 1;
            m.check_index_i = command;
            m.check_operator_i = (SData)(command / 2);
            m.retired_i = command;
            m.eval();
            if (m.hold_o) {
                return;
            }
            m.passed_i = 1;
            rtl_cycle(m);
            m.passed_i = m.check_valid_i = 0;
            command++;
        }
    }
};

void nothing_is_held_by_itself() {
    Bench b;
    b.run(20);
    CHECK_EQ(b.command, 20);
    CHECK_EQ(b.m.still_o, 0);
    CHECK_EQ(b.read(kState), 0);
}

void breakpoints_hold() {
    Bench b;
    b.write(kBreakpoint + 8, 1ULL << 48 | 5);           // command 5
    b.write(kBreakpoint + 24, 1ULL << 49 | 4ULL << 32); // operator 4: commands 8 and 9
    b.run(20);
    CHECK_EQ(b.command, 5);
    CHECK_EQ(b.read(kState), 5ULL << 32 | 2 << 8 | 3);
    b.m.retired_i = 3; // something before it has not retired
    b.m.eval();
    CHECK_EQ(b.m.still_o, 0);
    CHECK_EQ(b.read(kState), 5ULL << 32 | 2 << 8 | 1);
    b.write(kControl, 2);
    b.run(20);
    CHECK_EQ(b.command, 8);
    CHECK_EQ(b.read(kState), 8ULL << 32 | 8 << 8 | 3);
    b.write(kControl, 2);
    b.run(20);
    CHECK_EQ(b.command, 20); // 9 is of the same operator
}

void an_operator_that_comes_again_holds_again() {
    Bench b;
    b.write(kBreakpoint, 1ULL << 49); // operator 0, at the very first command
    b.run(4);
    CHECK_EQ(b.command, 0);
    b.write(kControl, 2);
    b.run(4);
    CHECK_EQ(b.command, 4);
    b.m.launch_i = 1;
    rtl_cycle(b.m);
    b.m.launch_i = 0;
    b.command = 0;
    b.run(4);
    CHECK_EQ(b.command, 0);
}

void steps() {
    Bench b;
    b.write(kControl, 1);
    CHECK_EQ(b.read(kControl), 1);
    for (uint32_t i = 0; i < 6; i++) {
        b.run(20);
        CHECK_EQ(b.command, i);
        CHECK_EQ(b.read(kState), (uint64_t)i << 32 | 3);
        b.write(kControl, 3);
    }
    b.run(20);
    b.write(kControl, 0); // lets go without a step
    b.run(20);
    CHECK_EQ(b.command, 20);
    b.write(kControl, 2); // nobody is held: it does not count for later
    b.write(kControl, 1);
    b.run(21);
    CHECK_EQ(b.command, 20);
    CHECK_EQ(b.m.hold_o, 1);
}

void memory_is_read_when_it_is_free() {
    Bench b;
    b.write(kAddress, 0x1234);
    CHECK_EQ(b.m.read_valid_o, 1);
    CHECK_EQ(b.m.read_address_o, 0x1234);
    CHECK_EQ(b.read(kState), 4);
    b.m.read_grant_i = 1;
    rtl_cycle(b.m);
    b.m.read_grant_i = 0;
    CHECK_EQ(b.m.read_valid_o, 0);
    b.m.read_data_i[0] = 0x11111111;
    b.m.read_data_i[1] = 0x22222222;
    b.m.read_data_i[2] = 0x33333333;
    b.m.read_data_i[3] = 0x44444444;
    b.m.read_parity_i = 1;
    CHECK_EQ(b.read(kState), 8);
    CHECK_EQ(b.read(kData), 0x2222222211111111ULL);
    CHECK_EQ(b.read(kData + 8), 0x4444444433333333ULL);
    CHECK_EQ(b.read(kData + 16), 0);
    CHECK_EQ(b.read(kAddress), 0x1234);
}

void units_are_shown() {
    Bench b;
    for (uint32_t u = 0; u < 5; u++) {
        b.m.unit_retired_i[u] = 1000 + u;
        b.m.unit_queued_i[u] = (CData)(u + 1);
        b.m.unit_inside_i[u] = (CData)(u % 3);
        b.m.unit_waiting_i[u] = u % 2;
    }
    for (uint32_t u = 0; u < 5; u++) {
        CHECK_EQ(b.read(kUnit + 8 * u),
                 (1000 + u) | (uint64_t)(u + 1) << 24 | (uint64_t)(u % 3) << 32 | (uint64_t)(u % 2) << 40);
    }
    CHECK_EQ(b.read(kUnit + 8 * 5), 0);
}

void others_are_not_its_own() {
    Bench b;
    b.write(kBreakpoint + 4, ~0ULL); // no register there
    b.write(0x100, ~0ULL);
    for (uint32_t i = 0; i < 4; i++) {
        CHECK_EQ(b.read(kBreakpoint + 8 * i), 0);
    }
    CHECK_EQ(b.m.selected_o, 1);
    (void)b.read(0x200);
    CHECK_EQ(b.m.selected_o, 0);
    b.write(kBreakpoint, ~0ULL);
    CHECK_EQ(b.read(kBreakpoint), (1ULL << 50) - 1);
    rtl_reset(b.m); // as the soft reset
    CHECK_EQ(b.read(kBreakpoint), 0);
}

} // namespace

int main() {
    return rtl_run("rtl/test_debug_module",
                   {{"nothing_is_held_by_itself", nothing_is_held_by_itself},
                    {"breakpoints_hold", breakpoints_hold},
                    {"an_operator_that_comes_again_holds_again", an_operator_that_comes_again_holds_again},
                    {"steps", steps},
                    {"memory_is_read_when_it_is_free", memory_is_read_when_it_is_free},
                    {"units_are_shown", units_are_shown},
                    {"others_are_not_its_own", others_are_not_its_own}});
}
