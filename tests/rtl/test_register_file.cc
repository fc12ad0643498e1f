// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The register bus: capabilities, control and soft reset, the command table, counters, error latch, interrupt.
#include "Vregister_file.h"
#include "rtl_testing.h"

namespace {

struct Bench {
    Vregister_file m;
    Bench() {
        m.register_write_i = m.register_read_i = m.launch_i = m.running_i = m.still_i = m.error_i = 0;
        m.token_i = 0;
        for (uint32_t u = 0; u < 5; u++) {
            m.kind_i[u] = 4;
            m.retire_i[u] = 0;
        }
        rtl_reset(m);
    }
    uint64_t read(uint32_t address) {
        return rtl_read_register(m, address);
    }
    void write(uint32_t address, uint64_t value) {
        rtl_write_register(m, address, value);
    }
};

void capabilities() {
    Bench b;
    CHECK_EQ(b.read(0x000), 0x153595354ULL);
    CHECK_EQ(b.read(0x010), 3ULL << 48 | 1ULL << 32 | 16 << 16 | 16);
    CHECK_EQ(b.read(0x018), 512ULL << 48 | 16ULL << 32 | 8388608);
    CHECK_EQ(b.read(0x020), 500000000ULL << 32 | 800 << 16 | 4);
    b.write(0x000, 1);
    CHECK_EQ(b.read(0x000), 0x153595354ULL);
    CHECK_EQ(b.read(0x004), 0); // not a register
    CHECK_EQ(b.read(0x7f8), 0);
    b.m.cycle_i = 0x123456789aULL;
    b.m.run_cycles_i = 55;
    b.m.frames_i = 66;
    b.m.token_i = 77;
    b.m.running_i = 1;
    CHECK_EQ(b.read(0x060), 0x123456789aULL);
    CHECK_EQ(b.read(0x068), 55);
    CHECK_EQ(b.read(0x078), 66);
    CHECK_EQ(b.read(0x048), 77ULL << 32 | 2);
}

void command_table() {
    Bench b;
    for (uint32_t i = 0; i < 32; i++) {
        b.write(0x100 + 8 * i, 0x0706050403020100ULL + i * 0x0808080808080808ULL);
    }
    for (uint32_t i = 0; i < 32; i++) {
        CHECK_EQ(b.read(0x100 + 8 * i), 0x0706050403020100ULL + i * 0x0808080808080808ULL);
    }
    for (uint32_t opcode = 0; opcode < 256; opcode++) {
        b.m.opcode_i = (CData)opcode;
        b.m.eval();
        CHECK_EQ(b.m.entry_o, opcode);
    }
}

void soft_reset_keeps_control() {
    Bench b;
    b.write(0x040, 5);
    CHECK_EQ(b.read(0x040), 5);
    CHECK_EQ(b.m.started_o, 1);
    b.write(0x100, 0x1234);
    b.m.error_i = 1;
    b.m.error_code_i = 3;
    rtl_cycle(b.m);
    b.m.error_i = 0;
    CHECK_EQ(b.m.halt_o, 1);
    b.write(0x040, 7);
    CHECK_EQ(b.m.soft_reset_o, 1);
    rtl_cycle(b.m);
    CHECK_EQ(b.m.soft_reset_o, 0);
    CHECK_EQ(b.m.halt_o, 0);
    CHECK_EQ(b.read(0x040), 5);
    CHECK_EQ(b.read(0x050), 0);
    CHECK_EQ(b.read(0x100), 0x1234);
}

void first_error_is_kept() {
    Bench b;
    b.m.error_i = 1;
    b.m.error_code_i = 9;
    b.m.error_unit_i = 2;
    b.m.error_command_i = 1234;
    b.m.error_detail_i = 0xcafe;
    rtl_cycle(b.m);
    CHECK_EQ(b.m.fault_o, 1);
    CHECK_EQ(b.m.halt_o, 1);
    CHECK_EQ(b.m.interrupt_o, 0); // not enabled
    b.m.error_code_i = 10;
    b.m.error_detail_i = 1;
    rtl_cycle(b.m);
    CHECK_EQ(b.m.fault_o, 0);
    CHECK_EQ(b.read(0x050), 1234ULL << 32 | 2 << 8 | 9);
    CHECK_EQ(b.read(0x058), 0xcafe);
    CHECK_EQ(b.read(0x048), 12);
    b.write(0x040, 4);
    CHECK_EQ(b.m.interrupt_o, 1);
    b.write(0x050, 0);
    CHECK_EQ(b.m.interrupt_o, 0);
    CHECK_EQ(b.m.halt_o, 1); // until a reset
    CHECK_EQ(b.read(0x050), 0);
    CHECK_EQ(b.read(0x058), 0);
    CHECK_EQ(b.read(0x048), 0);
    CHECK_EQ(b.m.fault_o, 0); // the error goes on, but was told
}

void counters() {
    Bench b;
    uint32_t random = 3;
    uint64_t expected[25] = {};
    uint32_t shown[25] = {};
    b.m.launch_i = 1;
    rtl_cycle(b.m);
    b.m.launch_i = 0;
    for (int cycle = 0; cycle < 500; cycle++) {
        b.m.running_i = rtl_random(random) % 4 != 0;
        for (uint32_t u = 0; u < 5; u++) {
            b.m.kind_i[u] = (CData)(rtl_random(random) % 5);
            b.m.retire_i[u] = rtl_random(random) % 8 == 0;
            for (uint32_t k = 0; k < 5 && b.m.retire_i[u]; k++) {
                shown[5 * u + k] = (uint32_t)expected[5 * u + k];
            }
            expected[5 * u + b.m.kind_i[u]] += b.m.running_i;
        }
        rtl_cycle(b.m);
        for (uint32_t i = 0; i < 25 && cycle > 100; i++) {
            CHECK_EQ(b.m.retired_count_o[i], shown[i]);
        }
    }
    b.m.running_i = 0;
    for (uint32_t i = 0; i < 25; i++) {
        CHECK_EQ(b.read(0x200 + 8 * i), expected[i]);
    }
    CHECK_EQ(b.read(0x200 + 8 * 25), 0);
    b.m.launch_i = 1;
    rtl_cycle(b.m);
    b.m.launch_i = 0;
    for (uint32_t i = 0; i < 25; i++) {
        CHECK_EQ(b.read(0x200 + 8 * i), 0);
    }
}

void scratch_is_kept() {
    Bench b;
    b.write(0x080, 0x0123456789abcdefULL);
    CHECK_EQ(b.read(0x080), 0x0123456789abcdefULL);
    b.write(0x040, 2); // a soft reset
    rtl_cycle(b.m);
    CHECK_EQ(b.read(0x080), 0x0123456789abcdefULL);
}

// While a debugger holds the run nothing is counted.
void a_still_run_does_not_count() {
    Bench b;
    b.m.launch_i = 1;
    rtl_cycle(b.m);
    b.m.launch_i = 0;
    b.m.running_i = 1;
    for (int cycle = 0; cycle < 20; cycle++) {
        b.m.still_i = cycle % 4 != 0;
        rtl_cycle(b.m);
    }
    b.m.running_i = 0;
    CHECK_EQ(b.read(0x200 + 8 * 4), 5);
}

void parity_flip() {
    Bench b;
    b.write(0x070, 0x1234);
    CHECK_EQ(b.m.flip_valid_o, 1);
    CHECK_EQ(b.m.flip_address_o, 0x1234);
    rtl_cycle(b.m);
    CHECK_EQ(b.m.flip_valid_o, 0);
    CHECK_EQ(b.read(0x070), 0x1234);
    b.write(0x070, 1ULL << 32 | 5);
    CHECK_EQ(b.m.flip_valid_o, 0);
}

} // namespace

int main() {
    return rtl_run("rtl/test_register_file", {{"capabilities", capabilities},
                                              {"command_table", command_table},
                                              {"soft_reset_keeps_control", soft_reset_keeps_control},
                                              {"first_error_is_kept", first_error_is_kept},
                                              {"counters", counters},
                                              {"scratch_is_kept", scratch_is_kept},
                                              {"a_still_run_does_not_count", a_still_run_does_not_count},
                                              {"parity_flip", parity_flip}});
}
