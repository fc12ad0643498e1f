// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A unit alone against the functional model: commands go in back to back, a memory with grants that are refused at
// random serves its ports, and at each retirement the words that the command had to write are compared with what
// systole_execute_command makes of the same memory. What no command may touch is compared at the end.
#ifndef SYSTOLE_VECTOR_HARNESS_H
#define SYSTOLE_VECTOR_HARNESS_H

#include <cstring>
#include <deque>

#define _Static_assert static_assert
extern "C" {
#include "device.h"
#include "systole_spec.h"
}
#undef _Static_assert

#include "rtl_testing.h"

struct UnitCommand {
    systole_command command;      // addresses with regions
    std::vector<uint32_t> writes; // absolute words that it writes
};

// How memory answers. Refusals are percentages of the requests of a cycle.
struct UnitMemoryMood {
    unsigned refused_reads, refused_writes;
    unsigned command_gap; // largest number of cycles without a command after one was taken
};

template <class Module, unsigned COLUMNS, unsigned PORTS> struct UnitHarness {
    static constexpr uint32_t WORDS = 1u << 17;

    Module module;
    std::vector<uint8_t> memory, expected;
    systole_target target{};
    systole_region_window windows[SYSTOLE_REGIONS]{};
    uint32_t random;
    uint64_t cycles = 0, busy_cycles = 0, stalled_cycles = 0;
    bool stopped_on_error = false;

    explicit UnitHarness(uint32_t seed, unsigned taps = 3, unsigned weight_port_rows = 4)
        : memory((size_t)WORDS * COLUMNS), expected(memory.size()), random(seed) {
        target.cores = 1;
        target.rows = target.columns = COLUMNS;
        target.taps = taps;
        target.weight_port_rows = weight_port_rows;
        target.scratchpad_bytes = WORDS * COLUMNS;
        target.banks = 16;
        target.accumulators = 512;
        module.halt_i = 0;
        module.command_valid_i = 0;
        module.write_grant_i = 0;
        for (unsigned p = 0; p < PORTS; p++) {
            module.read_grant_i[p] = 0;
        }
        rtl_reset(module);
    }
    ~UnitHarness() {
        module.final();
    }

    uint32_t range(uint32_t low, uint32_t high) {
        return low + rtl_random(random) % (high - low + 1);
    }
    bool chance(unsigned percent) {
        return rtl_random(random) % 100 < percent;
    }

    // The port's view of a command: addresses absolute, windows beside it.
    void offer(const systole_command &command, const std::vector<std::pair<unsigned, uint32_t>> &addresses) {
        uint8_t bytes[SYSTOLE_COMMAND_BYTES];
        std::memcpy(bytes, &command, sizeof bytes);
        for (unsigned i = 0; i < 4; i++) {
            module.window_low_i[i] = 0;
            module.window_high_i[i] = 0;
        }
        for (const auto &[window, offset] : addresses) {
            uint32_t address;
            std::memcpy(&address, bytes + offset, sizeof address);
            const systole_region_window &region = windows[(address >> 28) % SYSTOLE_REGIONS];
            address = (address & 0x0fffffffu) + region.base;
            std::memcpy(bytes + offset, &address, sizeof address);
            module.window_low_i[window] = region.base;
            module.window_high_i[window] = region.base + region.words;
        }
        std::memcpy(module.command_i.data(), bytes, sizeof bytes);
        module.command_valid_i = 1;
    }

    // Runs the commands until all have retired, the unit reports an error, or nothing retires for `limit` cycles.
    void run(const std::vector<UnitCommand> &commands, const std::vector<std::pair<unsigned, uint32_t>> &addresses,
             UnitMemoryMood mood, uint64_t limit = 400000) {
        expected = memory;
        size_t offered = 0, retired = 0;
        unsigned gap = 0;
        uint64_t quiet = 0;
        cycles = busy_cycles = stalled_cycles = 0;
        stopped_on_error = false;
        bool granted[PORTS] = {};
        uint32_t granted_address[PORTS] = {};
        std::vector<uint8_t> delivered((size_t)PORTS * COLUMNS);
        while (retired < commands.size()) {
            if (offered < commands.size() && gap == 0) {
                offer(commands[offered].command, addresses);
            } else {
                module.command_valid_i = 0;
                gap -= gap > 0;
            }
            for (unsigned p = 0; p < PORTS; p++) {
                uint8_t *data = (uint8_t *)&module.read_data_i[p];
                if (granted[p]) {
                    std::memcpy(data, &delivered[(size_t)p * COLUMNS], COLUMNS);
                } else {
                    std::memset(data, (int)(cycles * 37 + p), COLUMNS);
                }
            }
            module.eval();
            // What is asked must not depend on what is granted, so grants may follow the requests here.
            for (unsigned p = 0; p < PORTS; p++) {
                granted[p] = module.read_valid_o[p] && !(mood.refused_reads != 0 && chance(mood.refused_reads));
                granted_address[p] = module.read_address_o[p];
                module.read_grant_i[p] = granted[p];
            }
            bool write = module.write_valid_o && !(mood.refused_writes != 0 && chance(mood.refused_writes));
            module.write_grant_i = write;
            for (unsigned p = 0; p < PORTS; p++) {
                if (granted[p]) {
                    CHECK(granted_address[p] < WORDS);
                    std::memcpy(&delivered[(size_t)p * COLUMNS],
                                &memory[(size_t)(granted_address[p] % WORDS) * COLUMNS], COLUMNS);
                }
            }
            if (write) {
                CHECK(module.write_address_o < WORDS);
                std::memcpy(&memory[(size_t)(module.write_address_o % WORDS) * COLUMNS], &module.write_data_o, COLUMNS);
            }
            module.eval();
            bool taken = module.command_valid_i && module.command_ready_o;
            busy_cycles += module.busy_o;
            stalled_cycles += module.stalled_o;
            module.clk_i = 1;
            module.eval();
            module.clk_i = 0;
            module.eval();
            cycles++;
            if (taken) {
                offered++;
                gap = mood.command_gap != 0 ? range(0, mood.command_gap) : 0;
            }
            quiet = module.retire_o ? 0 : quiet + 1;
            if (module.retire_o) {
                if (retired >= offered) {
                    CHECK(retired < offered);
                    return;
                }
                check_retired(commands[retired++]);
            }
            if (module.error_o) {
                stopped_on_error = true;
                return;
            }
            if (quiet > limit) {
                CHECK(quiet <= limit);
                return;
            }
        }
        module.command_valid_i = 0;
        module.write_grant_i = 0;
        rtl_cycle(module);
        CHECK_EQ(module.busy_o, 0);
        CHECK(memory == expected);
    }

    void check_retired(const UnitCommand &command) {
        uint32_t error = 0, detail = 0;
        CHECK(systole_execute_command(&target, &command.command, windows, expected.data(), &error, &detail));
        CHECK_EQ(error, 0);
        for (uint32_t word : command.writes) {
            if (std::memcmp(&memory[(size_t)word * COLUMNS], &expected[(size_t)word * COLUMNS], COLUMNS) != 0) {
                printf("  word %u of opcode 0x%02x:", word, command.command.header.opcode);
                for (unsigned c = 0; c < COLUMNS; c++) {
                    printf(" %02x/%02x", memory[(size_t)word * COLUMNS + c], expected[(size_t)word * COLUMNS + c]);
                }
                printf(" (unit/model)\n");
                CHECK(!"the unit's word differs from the model's");
                return;
            }
        }
    }
};

#endif
