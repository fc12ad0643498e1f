// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Events of one cycle keep their order, none is lost while commands are held back by room_o.
#include <cstring>
#include <deque>

#include "Vevent_queue.h"
#include "rtl_testing.h"

namespace {

struct Event { // as struct systole_event
    uint8_t kind, error, unit, core;
    uint32_t token, command, detail;
    uint64_t cycle, start;
    uint32_t counters[5], reserved[3];
};

void clear(Vevent_queue &m) {
    for (uint32_t u = 0; u < 5; u++) {
        m.retire_i[u] = 0;
    }
    m.complete_i = m.fault_i = m.event_ready_i = 0;
}

Event shown(const Vevent_queue &m) {
    Event event;
    static_assert(sizeof event == sizeof m.event_o);
    memcpy(&event, &m.event_o, sizeof event);
    return event;
}

void order_in_a_cycle() {
    Vevent_queue m;
    clear(m);
    rtl_reset(m);
    m.token_i = 77;
    m.cycle_i = 1000;
    for (uint32_t i = 0; i < 25; i++) {
        m.counters_i[i] = 100 + i;
    }
    m.start_i[0] = 990;
    m.start_i[4] = 0x500000001ULL;
    m.retire_i[0] = m.retire_i[4] = 1;
    m.index_i[0] = 12;
    m.index_i[4] = 13;
    m.complete_i = 1;
    m.complete_cycle_i = 1001;
    m.complete_commands_i = 14;
    m.fault_i = 1;
    m.fault_error_i = 9;
    m.fault_unit_i = 3;
    m.fault_command_i = 5;
    m.fault_detail_i = 0xdeadbeef;
    m.fault_cycle_i = 0x100000002ULL;
    m.fault_token_i = 76;
    rtl_cycle(m);
    clear(m);
    const Event expected[] = {{2, 0, 0, 0, 77, 12, 0, 1000, 990, {100, 101, 102, 103, 104}, {}},
                              {2, 0, 4, 0, 77, 13, 0, 1000, 0x500000001ULL, {120, 121, 122, 123, 124}, {}},
                              {1, 0, 255, 0, 77, 14, 0, 1001, 0, {}, {}},
                              {3, 9, 3, 0, 76, 5, 0xdeadbeef, 0x100000002ULL, 0, {}, {}}};
    for (const Event &e : expected) {
        CHECK_EQ(m.event_valid_o, 1);
        const Event event = shown(m);
        CHECK(memcmp(&event, &e, sizeof e) == 0);
        m.event_ready_i = 0;
        rtl_cycle(m); // stays until it is taken
        CHECK_EQ(m.event_valid_o, 1);
        m.event_ready_i = 1;
        rtl_cycle(m);
    }
    CHECK_EQ(m.event_valid_o, 0);
}

// As the device uses it: at most 4 commands a unit are inside, issued while there is room.
void nothing_is_lost() {
    Vevent_queue m;
    clear(m);
    rtl_reset(m);
    uint32_t random = 3, next[5] = {}, inside[5] = {};
    std::deque<std::pair<uint32_t, uint32_t>> expected;
    unsigned taken = 0, held = 0;
    for (int cycle = 0; cycle < 30000; cycle++) {
        clear(m);
        const bool reader = cycle / 500 % 2 == 0;
        m.event_ready_i = reader && rtl_random(random) % 2;
        if (m.event_valid_o && m.event_ready_i) {
            const Event e = shown(m);
            CHECK(!expected.empty());
            if (!expected.empty()) {
                CHECK_EQ(e.unit, expected.front().first);
                CHECK_EQ(e.command, expected.front().second);
                expected.pop_front();
            }
            taken++;
        }
        for (uint32_t u = 0; u < 5; u++) {
            if (inside[u] > 0 && rtl_random(random) % 3 == 0) {
                inside[u]--;
                m.retire_i[u] = 1;
                m.index_i[u] = next[u];
                expected.push_back({u, next[u]++});
            }
            held += !m.room_o;
            if (m.room_o && inside[u] < 4) {
                inside[u]++;
            }
        }
        rtl_cycle(m);
        if (rtl_failures > 5) {
            return;
        }
    }
    CHECK(taken > 5000);
    CHECK(held > 5000);
}

} // namespace

int main() {
    return rtl_run("rtl/test_event_queue",
                   {{"order_in_a_cycle", order_in_a_cycle}, {"nothing_is_lost", nothing_is_lost}});
}
