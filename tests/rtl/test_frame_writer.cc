// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Parameters: -GCOLUMNS=4
// Frames of words of half a beat (the shape that needs padding) to a link that is ready at random times.
#include "Vframe_writer.h"
#include "rtl_testing.h"

namespace {

void frames_come_out_whole() {
    Vframe_writer m;
    m.halt_i = m.header_valid_i = m.word_valid_i = m.stream_ready_i = 0;
    rtl_reset(m);
    uint32_t random = 21, frame = 0, words_left = 0, word = 0;
    std::vector<uint64_t> expected, seen;
    uint64_t half = 0;
    bool low = false;
    for (int cycle = 0; cycle < 20000; cycle++) {
        m.header_valid_i = words_left == 0 && rtl_random(random) % 3 == 0;
        const uint32_t words = 1 + frame % 9;
        m.header_kind_i = 0x81 + frame % 2;
        m.header_tag_i = frame * 3;
        m.header_address_i = frame * 7;
        m.header_length_i = words * 4;
        m.word_valid_i = words_left != 0 && rtl_random(random) % 2;
        m.word_data_i = 0xc0000000 + word;
        m.stream_ready_i = rtl_random(random) % 2;
        m.halt_i = cycle % 100 == 50;
        m.clk_i = 0;
        m.eval();
        if (m.stream_valid_o && m.stream_ready_i) {
            seen.push_back(m.stream_data_o);
        }
        if (m.header_valid_i && m.header_ready_o) {
            expected.push_back(0x5953 | (uint64_t)m.header_kind_i << 16 | (uint64_t)m.header_tag_i << 32);
            expected.push_back(m.header_address_i | (uint64_t)m.header_length_i << 32);
            words_left = words;
            low = false;
            frame++;
        }
        if (m.word_valid_i && m.word_ready_o) {
            if (low) {
                expected.push_back(half | (uint64_t)m.word_data_i << 32);
                low = false;
            } else {
                half = m.word_data_i;
                low = true;
            }
            word++;
            if (--words_left == 0 && low) {
                expected.push_back(half);
                low = false;
            }
        }
        if (m.halt_i) { // a beat that is offered may still leave
            CHECK_EQ(m.header_ready_o, 0);
            CHECK_EQ(m.word_ready_o, 0);
        }
        rtl_cycle(m);
    }
    CHECK(frame > 500);
    CHECK(seen.size() + 2 >= expected.size());
    expected.resize(seen.size());
    CHECK(seen == expected);
}

} // namespace

int main() {
    return rtl_run("rtl/test_frame_writer", {{"frames_come_out_whole", frames_come_out_whole}});
}
