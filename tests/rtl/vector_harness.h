// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What the tests of the depthwise and the element-wise unit share beside unit_harness.h: commands whose outputs lie
// apart run back to back, and at each retirement the functional model executes the same command, so that what it wrote
// must be in the unit's memory then; what no command may touch is compared at the end.
#ifndef SYSTOLE_VECTOR_HARNESS_H
#define SYSTOLE_VECTOR_HARNESS_H

#include "unit_harness.h"

// Refusals of 256 requests; banks 0: no request meets another one.
struct MemoryMood {
    unsigned banks, refuse_reads, refuse_writes;
    bool drains; // now and then a command waits until those before it have retired
};

template <class Module> struct VectorHarness : Harness<Module> {
    using Base = Harness<Module>;
    systole_target target{};

    VectorHarness(uint32_t words, uint32_t seed, unsigned taps) : Base(words, seed) {
        target.cores = 1;
        target.rows = target.columns = Base::columns;
        target.taps = taps;
        target.weight_port_rows = 4;
        target.scratchpad_bytes = words * Base::columns;
        target.banks = 16;
        target.accumulators = 512;
        static const uint8_t ends[] = {0x00, 0x7f, 0x80, 0xff};
        this->fill_random();
        if (chance(30)) {
            for (uint8_t &byte : this->memory) {
                byte = ends[byte & 3];
            }
        }
    }

    uint32_t range(uint32_t low, uint32_t high) {
        return low + rtl_random(this->random_state) % (high - low + 1);
    }
    bool chance(unsigned percent) {
        return range(0, 99) < percent;
    }
    uint64_t cycles() const { // from the first command's acceptance to the last one's retirement
        return this->retired_at.back() - this->accepted_at.front();
    }

    // False: the unit stopped with an error, or something differs.
    bool execute(const std::vector<systole_command> &commands, MemoryMood mood, uint64_t limit = 400000) {
        this->reset();
        this->banks = mood.banks;
        this->refuse_reads = mood.refuse_reads;
        this->refuse_writes = mood.refuse_writes;
        this->stalled_cycles = 0;
        const uint64_t end = this->cycle + limit;
        for (unsigned i = 0; i < commands.size(); i++) {
            this->add(commands[i], mood.drains && chance(20) ? i : 0);
        }
        std::vector<uint8_t> expected = this->memory, before;
        size_t retired = 0;
        while (retired < commands.size()) {
            this->step();
            if (this->unit.error_o || this->cycle == end) {
                CHECK(this->cycle != end);
                return false;
            }
            if (this->retired_at.size() > retired) {
                before = expected;
                uint32_t error = 0, detail = 0;
                CHECK(systole_execute_command(&target, &commands[retired], this->windows, expected.data(), &error,
                                              &detail));
                if (!written(commands[retired], before, expected)) {
                    return false;
                }
                retired++;
            }
        }
        for (unsigned i = 0; i < 4; i++) { // nothing comes after
            this->step();
        }
        CHECK_EQ(this->unit.busy_o, 0);
        CHECK_EQ(this->retired_at.size(), commands.size());
        CHECK(this->memory == expected);
        return true;
    }

  private:
    bool written(const systole_command &command, const std::vector<uint8_t> &before,
                 const std::vector<uint8_t> &expected) {
        for (size_t i = 0; i < expected.size(); i += Base::columns) {
            if (memcmp(&expected[i], &before[i], Base::columns) != 0 &&
                memcmp(&expected[i], &this->memory[i], Base::columns) != 0) {
                printf("opcode 0x%02x, word 0x%zx, unit/model:", command.header.opcode, i / Base::columns);
                for (unsigned c = 0; c < Base::columns; c++) {
                    printf(" %02x/%02x", this->memory[i + c], expected[i + c]);
                }
                printf("\n");
                CHECK(!"a word differs when its command retires");
                return false;
            }
        }
        return true;
    }
};

#endif
