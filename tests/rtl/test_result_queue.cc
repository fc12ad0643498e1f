// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The queue of results: words are allocated, finished in any order by two sources, and must leave in order with their
// own bytes; retirements follow the last word of each command by one cycle; nothing leaves while it is frozen.

// Parameters: -GWORD=64 -GSLOTS=16 -GSOURCES=2
#include "Vresult_queue.h"

#include <deque>

#include "rtl_testing.h"

namespace {

struct Entry {
    uint32_t address;
    uint64_t data;
    bool last, done;
    unsigned slot;
};

void random_order() {
    for (uint32_t seed = 1; seed <= 20; seed++) {
        Vresult_queue module;
        uint32_t random = seed * 2654435761u;
        auto chance = [&](unsigned percent) { return rtl_random(random) % 100 < percent; };
        module.enable_i = 1;
        module.allocate_i = 0;
        module.write_grant_i = 0;
        module.done_i[0] = module.done_i[1] = 0;
        rtl_reset(module);
        std::deque<Entry> entries; // allocated and not yet written
        bool retires = false;
        unsigned written = 0, freeze = seed % 3 == 0 ? 20 : 0, grant = seed % 4 == 0 ? 100 : 40;
        for (unsigned cycle = 0; cycle < 3000; cycle++) {
            CHECK_EQ(module.retire_o, retires);
            CHECK_EQ(module.empty_o, entries.empty());
            CHECK_EQ(module.full_o, entries.size() == 16);
            module.enable_i = !chance(freeze);
            module.allocate_i = !module.full_o && chance(60);
            module.allocate_address_i = rtl_random(random);
            module.allocate_last_i = chance(20);
            module.done_i[0] = module.done_i[1] = 0;
            for (unsigned source = 0; source < 2; source++) {
                for (Entry &entry : entries) {
                    if (module.enable_i && !entry.done && chance(30)) {
                        module.done_i[source] = 1;
                        module.done_slot_i[source] = (uint8_t)entry.slot;
                        module.done_data_i[source] = entry.data;
                        break;
                    }
                }
                if (module.done_i[0] && module.done_i[1] && module.done_slot_i[0] == module.done_slot_i[1]) {
                    module.done_i[1] = 0;
                }
            }
            module.write_grant_i = chance(grant);
            module.eval();
            bool valid = module.enable_i && !entries.empty() && entries.front().done;
            CHECK_EQ(module.write_valid_o, valid);
            retires = false;
            if (valid) {
                CHECK_EQ(module.write_address_o, entries.front().address);
                CHECK_EQ(module.write_data_o, entries.front().data);
                if (module.write_grant_i) {
                    retires = entries.front().last;
                    entries.pop_front();
                    written++;
                }
            }
            for (unsigned source = 0; source < 2; source++) {
                for (Entry &entry : entries) {
                    entry.done |= module.done_i[source] && entry.slot == module.done_slot_i[source];
                }
            }
            if (module.allocate_i && module.enable_i) {
                uint64_t data = ((uint64_t)rtl_random(random) << 32) | rtl_random(random);
                entries.push_back(
                    {module.allocate_address_i, data, (bool)module.allocate_last_i, false, module.slot_o});
            }
            rtl_cycle(module);
        }
        CHECK(written > 500);
    }
}

} // namespace

int main() {
    return rtl_run("result_queue", {{"random_order", random_order}});
}
