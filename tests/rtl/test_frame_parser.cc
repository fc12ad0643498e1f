// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Parameters: -GCOLUMNS=4 -GSCRATCHPAD_BYTES=4096
// Frames of words of half a beat into the parser: every check of a header and of a launch, payload of writes and
// streams word by word, what a frame waits for.
#include <cstring>
#include <deque>
#include <set>

#include "Vframe_parser.h"
#include "rtl_testing.h"

namespace {

constexpr uint32_t kWords = 1024;
enum { kWrite = 1, kRead = 2, kRun = 3, kStream = 4 };

struct Bench {
    Vframe_parser m;
    std::deque<uint64_t> beats;
    std::vector<std::pair<uint32_t, uint32_t>> writes; // address, word
    std::vector<uint32_t> streamed;
    std::vector<std::vector<uint32_t>> reads; // tag, address, words
    uint32_t launches = 0, random = 7;
    bool stall = false; // words are taken at random times only

    Bench() {
        m.halt_i = m.running_i = m.stream_valid_i = m.writing_i = m.word_ready_i = 0;
        m.started_i = m.room_i = m.read_ready_i = 1;
        rtl_reset(m);
    }
    void header(uint32_t magic, uint32_t kind, uint32_t flags, uint32_t tag, uint32_t address, uint32_t length) {
        beats.push_back(magic | kind << 16 | flags << 24 | (uint64_t)tag << 32);
        beats.push_back(address | (uint64_t)length << 32);
    }
    void payload(uint32_t words, uint32_t first) {
        for (uint32_t w = 0; w < words; w += 2) {
            beats.push_back((first + w) | (uint64_t)(w + 1 < words ? first + w + 1 : 0xbad0bad) << 32);
        }
    }
    void run(const std::vector<uint32_t> &descriptor) {
        header(0x5953, kRun, 0, 5, 0, 96);
        for (uint32_t i = 0; i < 24; i += 2) {
            beats.push_back(descriptor[i] | (uint64_t)descriptor[i + 1] << 32);
        }
    }
    void cycle() {
        m.stream_valid_i = !beats.empty() && (!stall || rtl_random(random) % 2);
        m.stream_data_i = beats.empty() ? 0 : beats.front();
        m.word_ready_i = !stall || rtl_random(random) % 3 == 0;
        m.clk_i = 0;
        m.eval();
        if (m.word_valid_o && m.word_ready_i) {
            if (m.word_stream_o) {
                streamed.push_back(m.word_data_o);
            } else {
                writes.push_back({m.word_address_o, m.word_data_o});
            }
        }
        if (m.read_valid_o && m.read_ready_i) {
            reads.push_back({m.read_tag_o, m.read_address_o, m.read_words_o});
        }
        launches += m.launch_o;
        const bool taken = m.stream_valid_i && m.stream_ready_o;
        rtl_cycle(m);
        if (taken) {
            beats.pop_front();
        }
    }
    void settle(int cycles = 200) {
        for (int i = 0; i < cycles; i++) {
            cycle();
        }
    }
};

std::vector<uint32_t> descriptor_of(uint32_t commands) {
    std::vector<uint32_t> d(24, 0);
    d[0] = 99;
    d[1] = commands;
    d[4] = 8; // region program: 32 words a command of 4 bytes
    d[5] = 32 * 4;
    return d;
}

void writes_and_streams() {
    for (bool stall : {false, true}) {
        Bench b;
        b.stall = stall;
        b.m.running_i = 1;
        std::vector<std::pair<uint32_t, uint32_t>> writes;
        std::vector<uint32_t> streamed;
        uint32_t frames = 0;
        for (uint32_t words = 1; words < 12; words++) {
            b.header(0x5953, kWrite, 0, 0, words * 20, words * 4);
            b.payload(words, words * 1000);
            b.header(0x5953, kStream, 0, 0, 0, words * 4);
            b.payload(words, words * 3000);
            for (uint32_t w = 0; w < words; w++) {
                writes.push_back({words * 20 + w, words * 1000 + w});
                streamed.push_back(words * 3000 + w);
            }
            frames += 2;
        }
        b.settle(2000);
        CHECK(b.writes == writes);
        CHECK(b.streamed == streamed);
        CHECK_EQ(b.m.frames_o, frames);
        CHECK_EQ(b.m.error_o, 0);
        CHECK_EQ(b.m.busy_o, 0);
    }
}

void header_errors() {
    const struct {
        uint32_t magic, kind, address, length, code, detail;
    } cases[] = {
        {0x5952, kWrite, 0, 4, 1, 0x5952 | kWrite << 16 | 1u << 24},
        {0x5953, 0, 0, 4, 2, 0},
        {0x5953, 5, 0, 4, 2, 5},
        {0x5953, 0x81, 0, 4, 2, 0x81},
        {0x5953, kWrite, 0, 0, 3, 0},
        {0x5953, kRead, 0, 6, 3, 6},
        {0x5953, kStream, 0, 4100, 3, 4100},
        {0x5953, kRun, 0, 92, 3, 92},
        {0x5953, kWrite, kWords, 4, 4, kWords},
        {0x5953, kRead, kWords - 1, 8, 4, kWords - 1},
        {0x5953, kRead, 0xffffffff, 4, 4, 0xffffffff},
    };
    for (const auto &c : cases) {
        Bench b;
        b.header(c.magic, c.kind, 1, 3, c.address, c.length);
        b.payload(2, 1);
        b.settle(30);
        CHECK_EQ(b.m.error_o, 1);
        CHECK_EQ(b.m.error_code_o, c.code);
        CHECK_EQ(b.m.error_detail_o, c.detail);
        CHECK_EQ(b.m.frames_o, 0);
        CHECK(b.writes.empty() && b.streamed.empty() && b.reads.empty());
        rtl_reset(b.m); // and it works again
        b.beats.clear();
        b.header(0x5953, kWrite, 0, 3, kWords - 1, 4);
        b.payload(1, 42);
        b.settle(30);
        CHECK_EQ(b.m.error_o, 0);
        CHECK_EQ(b.writes.size(), 1);
    }
}

void launches() {
    {
        Bench b;
        b.run(descriptor_of(4));
        b.settle(60);
        CHECK_EQ(b.launches, 1);
        CHECK_EQ(b.m.descriptor_o[0], 99 | 4ULL << 32);
        CHECK_EQ(b.m.descriptor_o[2], 8 | 128ULL << 32);
    }
    const struct {
        uint32_t index, value, index2, value2, detail;
    } cases[] = {{1, 0, 1, 0, 8},
                 {1, 5, 1, 5, 8},
                 {4, 1000, 5, 128, 0},
                 {18, kWords, 19, 1, 7},
                 {10, 0xffffffff, 11, 2, 3},
                 {1, 0x80000000, 5, 128, 8}};
    for (const auto &c : cases) {
        Bench b;
        std::vector<uint32_t> d = descriptor_of(4);
        d[c.index] = c.value;
        d[c.index2] = c.value2;
        b.run(d);
        b.settle(60);
        CHECK_EQ(b.launches, 0);
        CHECK_EQ(b.m.error_o, 1);
        CHECK_EQ(b.m.error_code_o, 6);
        CHECK_EQ(b.m.error_detail_o, c.detail);
    }
    Bench b;
    b.m.started_i = 0;
    b.run(descriptor_of(4));
    b.settle(60);
    CHECK_EQ(b.m.error_code_o, 5);
    CHECK_EQ(b.m.error_detail_o, 5); // its tag
}

void frames_wait() {
    // After a run.
    for (uint32_t kind : {(uint32_t)kWrite, (uint32_t)kRead, (uint32_t)kRun}) {
        for (uint32_t flag = 0; flag < 2; flag++) {
            Bench b;
            b.m.running_i = 1;
            if (kind == kRun) {
                b.run(descriptor_of(1));
            } else {
                b.header(0x5953, kind, flag, 1, 30, 8);
                if (kind == kWrite) {
                    b.payload(2, 5);
                }
            }
            b.settle(100);
            const size_t done = b.writes.size() / 2 + b.reads.size() + b.launches;
            CHECK_EQ(done, kind != kRun && flag == 0);
            b.m.running_i = 0;
            b.settle(100);
            CHECK_EQ(b.writes.size() / 2 + b.reads.size() + b.launches, 1);
        }
    }
    // A write into what a read has not yet fetched; another one passes.
    Bench b;
    b.header(0x5953, kRead, 0, 1, 30, 40);
    b.settle(30);
    CHECK_EQ(b.reads.size(), 1);
    b.m.read_ready_i = 0;
    b.header(0x5953, kWrite, 0, 1, 40, 4);
    b.payload(1, 5);
    b.header(0x5953, kWrite, 0, 1, 38, 8);
    b.payload(2, 5);
    b.settle(60);
    CHECK_EQ(b.writes.size(), 1);
    b.m.read_ready_i = 1;
    b.settle(60);
    CHECK_EQ(b.writes.size(), 3);
    // The next frame, until the last word of a write is in memory.
    b.m.writing_i = 1;
    b.header(0x5953, kWrite, 0, 1, 40, 4);
    b.payload(1, 5);
    b.header(0x5953, kRead, 0, 1, 40, 4);
    b.settle(60);
    CHECK_EQ(b.reads.size(), 1);
    b.m.writing_i = 0;
    b.settle(60);
    CHECK_EQ(b.reads.size(), 2);
}

void stream_without_a_run() {
    Bench b;
    b.m.running_i = 1;
    b.header(0x5953, kStream, 0, 0, 0, 20);
    b.payload(5, 0);
    b.stall = true;
    while (b.streamed.size() < 3) {
        b.cycle();
    }
    b.m.running_i = 0;
    b.m.word_ready_i = 0;
    for (int i = 0; i < 10; i++) {
        rtl_cycle(b.m);
    }
    CHECK_EQ(b.m.error_o, 1);
    CHECK_EQ(b.m.error_code_o, 12);
    CHECK_EQ(b.m.error_detail_o, 2);
}

} // namespace

int main() {
    return rtl_run("rtl/test_frame_parser", {{"writes_and_streams", writes_and_streams},
                                             {"header_errors", header_errors},
                                             {"launches", launches},
                                             {"frames_wait", frames_wait},
                                             {"stream_without_a_run", stream_without_a_run}});
}
