// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What every module test shares: one clock cycle, checks that name their line, reproducible random numbers, the closing
// line. A test function that meets a failed CHECK goes on; testing_run counts it as failed once.
#ifndef SYSTOLE_RTL_TESTING_H
#define SYSTOLE_RTL_TESTING_H

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "verilated.h"

struct RtlTest {
    const char *name;
    void (*function)();
};

inline unsigned rtl_failures; // of the running test

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);                                                     \
            ++rtl_failures;                                                                                            \
        }                                                                                                              \
    } while (0)
#define CHECK_EQ(actual, expected)                                                                                     \
    do {                                                                                                               \
        const uint64_t rtl_actual = (uint64_t)(actual), rtl_expected = (uint64_t)(expected);                           \
        if (rtl_actual != rtl_expected) {                                                                              \
            printf("%s:%d: %s is 0x%" PRIx64 ", not 0x%" PRIx64 "\n", __FILE__, __LINE__, #actual, rtl_actual,         \
                   rtl_expected);                                                                                      \
            ++rtl_failures;                                                                                            \
        }                                                                                                              \
    } while (0)

// Inputs were set while the clock is low; settle them with eval() to read combinational outputs, then one edge.
template <class Module> void rtl_cycle(Module &module) {
    module.clk_i = 0;
    module.eval();
    module.clk_i = 1;
    module.eval();
    module.clk_i = 0;
    module.eval();
}

// Two cycles of synchronous reset.
template <class Module> void rtl_reset(Module &module) {
    module.rst_ni = 0;
    rtl_cycle(module);
    rtl_cycle(module);
    module.rst_ni = 1;
    module.eval();
}

// The register bus, for modules that have one: a read, whose answer stands in the next cycle, and a write.
template <class Module> uint64_t rtl_read_register(Module &module, uint32_t address) {
    module.register_read_i = 1;
    module.register_address_i = (SData)address;
    rtl_cycle(module);
    module.register_read_i = 0;
    return module.register_data_o;
}
template <class Module> void rtl_write_register(Module &module, uint32_t address, uint64_t value) {
    module.register_write_i = 1;
    module.register_address_i = (SData)address;
    module.register_data_i = value;
    rtl_cycle(module);
    module.register_write_i = 0;
}

// xorshift32; state must not be 0.
inline uint32_t rtl_random(uint32_t &state) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

inline int rtl_run(const char *name, const std::vector<RtlTest> &tests) {
    unsigned passed = 0, failed = 0;
    for (const RtlTest &test : tests) {
        rtl_failures = 0;
        test.function();
        if (rtl_failures != 0) {
            printf("%s: failed\n", test.name);
            ++failed;
        } else {
            ++passed;
        }
    }
    printf("%s: %u passed, %u failed, %u skipped\n", name, passed, failed, 0U);
    return failed != 0;
}

#endif
