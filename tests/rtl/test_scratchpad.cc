// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Parameters: -GCOLUMNS=8 -GBANKS=8 -GSCRATCHPAD_BYTES=4096 -GARRAY_PORTS=3 -GDEPTHWISE_PORTS=2
// The scratchpad against a memory and an arbiter in a few lines: random requests of all clients, halts, wrong parity.
#include <cstring>

#include "Vscratchpad.h"
#include "rtl_testing.h"

namespace {

constexpr uint32_t kBanks = 8, kWords = 512, kArray = 3, kDepthwise = 2, kElementwise = 2;

struct Write {
    CData *valid;
    IData *address;
    QData *data;
    CData *grant;
};
struct Read {
    CData *valid;
    IData *address;
    CData *grant;
    QData *data;
    unsigned client;
};

struct Bench {
    Vscratchpad m;
    std::vector<Write> writes;
    std::vector<Read> reads;

    Bench() {
        writes = {
            {&m.array_write_valid_i, &m.array_write_address_i, &m.array_write_data_i, &m.array_write_grant_o},
            {&m.depthwise_write_valid_i, &m.depthwise_write_address_i, &m.depthwise_write_data_i,
             &m.depthwise_write_grant_o},
            {&m.elementwise_write_valid_i, &m.elementwise_write_address_i, &m.elementwise_write_data_i,
             &m.elementwise_write_grant_o},
            {&m.load_write_valid_i, &m.load_write_address_i, &m.load_write_data_i, &m.load_write_grant_o},
        };
        for (uint32_t p = 0; p < kArray; p++) {
            reads.push_back({&m.array_read_valid_i[p], &m.array_read_address_i[p], &m.array_read_grant_o[p],
                             &m.array_read_data_o[p], 0});
        }
        for (uint32_t p = 0; p < kDepthwise; p++) {
            reads.push_back({&m.depthwise_read_valid_i[p], &m.depthwise_read_address_i[p], &m.depthwise_read_grant_o[p],
                             &m.depthwise_read_data_o[p], 1});
        }
        for (uint32_t p = 0; p < kElementwise; p++) {
            reads.push_back({&m.elementwise_read_valid_i[p], &m.elementwise_read_address_i[p],
                             &m.elementwise_read_grant_o[p], &m.elementwise_read_data_o[p], 2});
        }
        reads.push_back(
            {&m.store_read_valid_i, &m.store_read_address_i, &m.store_read_grant_o, &m.store_read_data_o, 4});
        reads.push_back(
            {&m.fetch_read_valid_i, &m.fetch_read_address_i, &m.fetch_read_grant_o, &m.fetch_read_data_o, 5});
        quiet();
        rtl_reset(m);
        for (uint32_t w = 0; w < kWords; w++) { // every word has its parity
            put(w, 0);
        }
    }
    void quiet() {
        for (Write &w : writes) {
            *w.valid = 0;
        }
        for (Read &r : reads) {
            *r.valid = 0;
        }
        m.halt_i = m.flip_valid_i = m.debug_read_valid_i = 0;
    }
    void put(uint32_t word, uint64_t value) {
        quiet();
        *writes[3].valid = 1;
        *writes[3].address = word;
        *writes[3].data = value;
        rtl_cycle(m);
        quiet();
    }
};

void arbitrates_and_keeps() {
    Bench b;
    uint32_t random = 17;
    std::vector<uint64_t> memory(kWords, 0);
    unsigned granted = 0;
    for (int cycle = 0; cycle < 20000; cycle++) {
        const uint32_t density = 1 + cycle / 4000;
        for (Write &w : b.writes) {
            *w.valid = rtl_random(random) % 6 < density;
            *w.address = rtl_random(random) % kWords;
            *w.data = (uint64_t)rtl_random(random) << 32 | rtl_random(random);
        }
        for (Read &r : b.reads) {
            *r.valid = rtl_random(random) % 6 < density;
            *r.address = rtl_random(random) % kWords;
        }
        b.m.halt_i = rtl_random(random) % 16 == 0;
        b.m.clk_i = 0;
        b.m.eval();
        bool taken[kBanks] = {};
        std::vector<std::pair<Read *, uint64_t>> expected;
        std::vector<std::pair<uint32_t, uint64_t>> stores;
        for (Write &w : b.writes) {
            const bool grant = *w.valid && !taken[*w.address % kBanks] && !b.m.halt_i;
            CHECK_EQ(*w.grant, grant);
            if (grant) {
                taken[*w.address % kBanks] = true;
                stores.push_back({*w.address, *w.data});
            }
        }
        for (Read &r : b.reads) {
            const bool grant = *r.valid && !taken[*r.address % kBanks] && !b.m.halt_i;
            CHECK_EQ(*r.grant, grant);
            if (grant) {
                taken[*r.address % kBanks] = true;
                expected.push_back({&r, memory[*r.address]});
                granted++;
            }
        }
        rtl_cycle(b.m);
        for (auto &e : expected) {
            CHECK_EQ(*e.first->data, e.second);
        }
        for (auto &s : stores) {
            memory[s.first] = s.second;
        }
        CHECK_EQ(b.m.parity_error_o, 0);
        if (rtl_failures > 5) {
            return;
        }
    }
    CHECK(granted > 20000);
}

void wrong_parity_names_client_and_word() {
    Bench b;
    for (Read &r : b.reads) {
        const uint32_t word = 100 + 37 * r.client;
        b.put(word, 0x123456789abcdefULL + r.client);
        b.m.flip_valid_i = 1;
        b.m.flip_address_i = word;
        rtl_cycle(b.m);
        b.quiet();
        *r.valid = 1;
        *r.address = word + 1;
        rtl_cycle(b.m);
        CHECK_EQ(b.m.parity_error_o, 0);
        *r.address = word;
        rtl_cycle(b.m);
        CHECK_EQ(b.m.parity_error_o, 1);
        CHECK_EQ(b.m.parity_client_o, r.client);
        CHECK_EQ(b.m.parity_address_o, word);
        b.quiet();
        rtl_cycle(b.m);
        CHECK_EQ(b.m.parity_error_o, 0);
        b.put(word, 5); // a write mends it
        *r.valid = 1;
        *r.address = word;
        rtl_cycle(b.m);
        CHECK_EQ(b.m.parity_error_o, 0);
        b.quiet();
    }
    b.m.flip_valid_i = 1; // no such word
    b.m.flip_address_i = kWords + 100;
    rtl_cycle(b.m);
    b.quiet();
    *b.reads[0].valid = 1;
    *b.reads[0].address = 100;
    rtl_cycle(b.m);
    CHECK_EQ(b.m.parity_error_o, 0);
}

// The debug port: behind everyone else, raw, also when halted.
void debug_reads_see_everything() {
    Bench b;
    b.put(77, 0xfeedfacecafebeefULL);
    b.m.debug_read_valid_i = 1;
    b.m.debug_read_address_i = 77;
    Read &other = b.reads[0];
    *other.valid = 1;
    *other.address = 77; // the same bank: the debugger waits
    b.m.eval();
    CHECK_EQ(b.m.debug_read_grant_o, 0);
    rtl_cycle(b.m);
    *other.valid = 0;
    b.m.eval();
    CHECK_EQ(b.m.debug_read_grant_o, 1);
    rtl_cycle(b.m);
    CHECK_EQ(b.m.debug_read_data_o, 0xfeedfacecafebeefULL);
    CHECK_EQ(b.m.debug_read_parity_o, 0);
    b.quiet();
    b.m.flip_valid_i = 1;
    b.m.flip_address_i = 77;
    rtl_cycle(b.m);
    b.quiet();
    b.m.halt_i = 1;
    b.m.debug_read_valid_i = 1;
    rtl_cycle(b.m);
    CHECK_EQ(b.m.debug_read_data_o, 0xfeedfacecafebeefULL);
    CHECK_EQ(b.m.debug_read_parity_o, 1);
    CHECK_EQ(b.m.parity_error_o, 0); // which is no error
    b.m.debug_read_address_i = kWords + 3;
    rtl_cycle(b.m);
    CHECK_EQ(b.m.debug_read_data_o, 0);
    CHECK_EQ(b.m.debug_read_parity_o, 0);
    b.quiet();
}

} // namespace

int main() {
    return rtl_run("rtl/test_scratchpad", {{"arbitrates_and_keeps", arbitrates_and_keeps},
                                           {"wrong_parity_names_client_and_word", wrong_parity_names_client_and_word},
                                           {"debug_reads_see_everything", debug_reads_see_everything}});
}
