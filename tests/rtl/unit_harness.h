// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A unit of the accelerator alone, between a command queue and a scratchpad: runs commands on the Verilated unit and on
// the functional model and compares all of memory.
//
//   Harness<Varray_unit> harness(words, seed);          // COLUMNS and PORTS follow from the module's ports
//   harness.fill_random(); harness.set_window(region, base, words);
//   harness.add(command, wait); ...                     // wait: begins after that many commands have retired
//   harness.run(limit); harness.compare_with_model(target);
//
// The scratchpad serves one access a bank and cycle, writes first, then read ports in their order, and refuses further
// requests at random: refuse_reads, refuse_writes (of 256; 0 to begin with); with 0 banks no request meets another.
// Data that was not asked for is random. What a unit may not do is checked every cycle: requests outside memory, writes
// when halted or after its error, requests that depend on grants, more retirements than commands.
#ifndef SYSTOLE_UNIT_HARNESS_H
#define SYSTOLE_UNIT_HARNESS_H

#include <cassert>
#include <cstring>
#include <deque>

#include "rtl_testing.h"

#define _Static_assert static_assert
extern "C" {
#include "device.h"
}
#undef _Static_assert

template <class Module> class Harness {
  public:
    using Word = std::remove_reference_t<decltype(std::declval<Module>().write_data_o)>;
    static constexpr unsigned columns = sizeof(Word);
    static constexpr unsigned ports = sizeof(Module::read_valid_o) / sizeof(std::declval<Module>().read_valid_o[0]);

    Module unit;
    std::vector<uint8_t> memory, initial;
    systole_region_window windows[SYSTOLE_REGIONS] = {};
    unsigned banks = 16, refuse_reads = 0, refuse_writes = 0;
    bool compare_grants = true; // evaluate twice to see that requests do not depend on grants; costs time
    uint64_t cycle = 0, busy_cycles = 0, stalled_cycles = 0;
    std::vector<uint64_t> accepted_at, retired_at;
    uint32_t random_state;

    Harness(uint32_t words, uint32_t seed) : memory((size_t)words * columns), random_state(seed) {
        unit.halt_i = 0;
        unit.command_valid_i = 0;
        reset();
    }

    void reset() {
        commands_.clear();
        accepted_at.clear();
        retired_at.clear();
        memset(granted_, 0, sizeof granted_);
        unit.command_valid_i = 0;
        rtl_reset(unit);
    }

    uint32_t words() const {
        return (uint32_t)(memory.size() / columns);
    }

    void fill_random() {
        for (uint8_t &byte : memory) {
            byte = (uint8_t)(rtl_random(random_state) >> 11);
        }
    }

    void set_window(unsigned region, uint32_t base, uint32_t count) {
        windows[region] = {base, count};
    }

    void add(const systole_command &command, unsigned wait = 0) {
        commands_.push_back({command, wait});
    }

    // Until every command has retired, an error or `limit` cycles; true: all retired.
    bool run(uint64_t limit) {
        initial = memory;
        const uint64_t end = cycle + limit;
        while (retired_at.size() < commands_.size() && !unit.error_o && cycle < end) {
            step();
        }
        CHECK(unit.error_o || retired_at.size() == commands_.size());
        if (unit.error_o || retired_at.size() != commands_.size()) {
            return false;
        }
        for (unsigned i = 0; i < 4; ++i) { // nothing comes after
            step();
        }
        CHECK_EQ(unit.busy_o, 0);
        CHECK_EQ(retired_at.size(), commands_.size());
        return true;
    }

    // The model executes the same commands in their order on what memory held before.
    void compare_with_model(const systole_target &target) {
        std::vector<uint8_t> expected = initial;
        for (size_t i = 0; i < commands_.size(); ++i) {
            uint32_t error = 0, detail = 0;
            const bool done =
                commands_[i].command.header.opcode == SYSTOLE_OPCODE_NOP ||
                systole_execute_command(&target, &commands_[i].command, windows, expected.data(), &error, &detail);
            if (!done) {
                printf("command %zu: the model reports error %u at 0x%x\n", i, error, detail);
            }
            CHECK(done);
        }
        unsigned different = 0;
        for (size_t i = 0; i < memory.size() && different < 4; ++i) {
            if (memory[i] != expected[i]) {
                printf("word 0x%zx lane %zu is %u, not %u\n", i / columns, i % columns, memory[i], expected[i]);
                ++different;
            }
        }
        CHECK_EQ(different, 0);
    }

    // One cycle.
    void step() {
        offer_command();
        deliver_data();
        for (unsigned p = 0; p < ports; ++p) {
            unit.read_grant_i[p] = 0;
        }
        unit.write_grant_i = 1;
        unit.clk_i = 0;
        unit.eval();
        if (compare_grants) {
            check_requests();
        }
        arbitrate();
        unit.eval();
        busy_cycles += unit.busy_o;
        stalled_cycles += unit.stalled_o;
        CHECK(!unit.stalled_o || unit.busy_o);
        if (unit.command_valid_i && unit.command_ready_o) {
            accepted_at.push_back(cycle);
        }
        if (unit.retire_o) {
            retired_at.push_back(cycle);
            CHECK(retired_at.size() <= accepted_at.size());
        }
        if (unit.write_valid_o && unit.write_grant_i) {
            write();
        }
        unit.clk_i = 1;
        unit.eval();
        ++cycle;
    }

  private:
    struct Entry {
        systole_command command;
        unsigned wait;
    };
    std::deque<Entry> commands_;
    bool granted_[ports];
    uint8_t data_[ports][columns];

    bool refuses(unsigned of_256) {
        return of_256 != 0 && (rtl_random(random_state) >> 9) % 256 < of_256;
    }

    // Region and offset to an absolute word, window to its bounds, as command_fetch does it.
    void relocate(uint32_t &address, unsigned slot) {
        const systole_region_window &window = windows[(address >> 28) % SYSTOLE_REGIONS];
        address = (address & 0x0fffffff) + window.base;
        unit.window_low_i[slot] = window.base;
        unit.window_high_i[slot] = window.base + window.words;
    }

    void offer_command() {
        const size_t next = accepted_at.size();
        unit.command_valid_i = next < commands_.size() && retired_at.size() >= commands_[next].wait;
        if (!unit.command_valid_i) {
            return;
        }
        systole_command command = commands_[next].command;
        switch (command.header.opcode) {
        case SYSTOLE_OPCODE_NOP:
            break;
        case SYSTOLE_OPCODE_ADD:
        case SYSTOLE_OPCODE_REQUANTISE:
        case SYSTOLE_OPCODE_SUB:
        case SYSTOLE_OPCODE_MUL:
        case SYSTOLE_OPCODE_MAXIMUM:
        case SYSTOLE_OPCODE_MINIMUM:
        case SYSTOLE_OPCODE_SQUARED_DIFFERENCE:
        case SYSTOLE_OPCODE_PRELU:
        case SYSTOLE_OPCODE_TABLE:
            relocate(command.body.elementwise.input_address, 0);
            relocate(command.body.elementwise.input2_address, 1);
            relocate(command.body.elementwise.output_address, 2);
            break;
        default:
            relocate(command.body.window.input_address, 0);
            relocate(command.body.window.output_address, 2);
            relocate(command.body.window.parameter_address, 3);
        }
        static_assert(sizeof command == sizeof unit.command_i, "a command is 1024 bits");
        memcpy(&unit.command_i, &command, sizeof command);
    }

    void deliver_data() {
        for (unsigned p = 0; p < ports; ++p) {
            if (!granted_[p]) {
                const uint32_t garbage = rtl_random(random_state);
                memset(data_[p], (int)(garbage >> 7 & 0xff), columns);
            }
            memcpy(&unit.read_data_i[p], data_[p], columns);
        }
    }

    void check_requests() {
        bool valid[ports];
        uint32_t addresses[ports];
        for (unsigned p = 0; p < ports; ++p) {
            valid[p] = unit.read_valid_o[p];
            addresses[p] = unit.read_address_o[p];
            unit.read_grant_i[p] = 1;
        }
        unit.eval();
        for (unsigned p = 0; p < ports; ++p) {
            CHECK_EQ(unit.read_valid_o[p], valid[p]);
            CHECK(!valid[p] || unit.read_address_o[p] == addresses[p]);
        }
    }

    uint64_t bank_of(uint32_t address) const {
        return banks == 0 ? 0 : UINT64_C(1) << address % banks;
    }

    void arbitrate() {
        uint64_t taken = 0;
        CHECK(!((unit.halt_i || unit.error_o) && unit.write_valid_o));
        unit.write_grant_i = unit.write_valid_o && !refuses(refuse_writes);
        if (unit.write_grant_i) {
            taken |= bank_of(unit.write_address_o);
        }
        for (unsigned p = 0; p < ports; ++p) {
            granted_[p] = false;
            if (unit.read_valid_o[p]) {
                const uint32_t address = unit.read_address_o[p];
                const uint64_t bank = bank_of(address);
                if (address >= words()) {
                    printf("port %u reads word 0x%x\n", p, address);
                    CHECK(address < words());
                } else if ((taken & bank) == 0 && !refuses(refuse_reads)) {
                    taken |= bank;
                    granted_[p] = true;
                    memcpy(data_[p], &memory[(size_t)address * columns], columns);
                }
            }
            unit.read_grant_i[p] = granted_[p];
        }
    }

    void write() {
        if (unit.write_address_o >= words()) {
            printf("a write to word 0x%x\n", unit.write_address_o);
            CHECK(unit.write_address_o < words());
            return;
        }
        memcpy(&memory[(size_t)unit.write_address_o * columns], &unit.write_data_o, columns);
    }
};

#endif
