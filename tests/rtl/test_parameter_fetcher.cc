// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The fetcher of depthwise parameters: which words it reads, in which order, and where each belongs; that it runs ahead
// by as many tiles as there are sets and no further; its window.

// Parameters: -GTAPS=3 -GWEIGHT_PORT_ROWS=4
#include "Vparameter_fetcher.h"

#include <deque>

#include "rtl_testing.h"

namespace {

constexpr unsigned TAPS = 3, PORT_ROWS = 4, RECORD = 12;

struct Command {
    uint32_t address;
    unsigned tiles, height, width, is_unsigned, zero_point;
};

struct Word {
    uint32_t address;
    unsigned tile, index, taps; // tile: number since reset; index: in the tile
    unsigned is_unsigned, zero_point;
};

void append(std::deque<Word> &words, const Command &command, unsigned &tile) {
    unsigned taps = command.height * command.width;
    for (unsigned t = 0; t < command.tiles; t++, tile++) {
        uint32_t address = command.address + t * ((RECORD + taps + PORT_ROWS - 1) / PORT_ROWS * PORT_ROWS);
        for (unsigned i = 0; i < RECORD + taps; i++) {
            words.push_back({address + i, tile, i, taps, command.is_unsigned, command.zero_point});
        }
    }
}

void check_arrival(Vparameter_fetcher &module, const Word &word) {
    CHECK_EQ(module.word_valid_o, 1);
    CHECK_EQ(module.word_record_o, word.index < RECORD);
    CHECK_EQ(module.word_tile_o, word.tile & 3);
    if (word.index < RECORD) {
        CHECK_EQ(module.word_index_o, word.index);
    } else {
        CHECK_EQ(module.word_group_o, (word.index - RECORD) / TAPS);
        CHECK_EQ(module.word_lane_o, (word.index - RECORD) % TAPS);
        CHECK_EQ(module.word_unsigned_o, word.is_unsigned);
        CHECK_EQ(module.word_zero_point_o, word.zero_point);
    }
}

// Commands back to back; grants and the use of tiles at random. Returns the cycles from the first read to the last.
unsigned fetch(uint32_t seed, unsigned refused, unsigned use) {
    Vparameter_fetcher module;
    uint32_t random = seed * 2654435761u;
    auto range = [&](uint32_t low, uint32_t high) { return low + rtl_random(random) % (high - low + 1); };
    module.enable_i = 1;
    module.command_valid_i = 0;
    module.read_grant_i = 0;
    module.records_done_i = module.weights_done_i = 0;
    module.window_low_i = 0;
    module.window_high_i = UINT32_MAX;
    rtl_reset(module);
    std::vector<Command> commands;
    for (unsigned i = 0; i < 6; i++) {
        commands.push_back({range(0, 1u << 20) * PORT_ROWS, range(1, 4), range(1, seed % 7 == 0 ? 16 : 5),
                            range(1, seed % 7 == 0 ? 16 : 5), range(0, 1), range(0, 511)});
    }
    std::deque<Word> words;
    std::deque<Word> arriving;
    size_t offered = 0;
    unsigned tiles = 0, fetched = 0, records_used = 0, weights_used = 0, cycles = 0, quiet = 0;
    while ((offered < commands.size() || !words.empty() || !arriving.empty()) && quiet++ < 2000) {
        module.enable_i = range(0, 99) >= refused / 4;
        module.command_valid_i = offered < commands.size();
        if (offered < commands.size()) {
            const Command &command = commands[offered];
            module.address_i = command.address;
            module.tiles_i = (uint16_t)command.tiles;
            module.kernel_height_i = (uint8_t)command.height;
            module.kernel_width_i = (uint8_t)command.width;
            module.weight_unsigned_i = (uint8_t)command.is_unsigned;
            module.weight_zero_point_i = (uint16_t)command.zero_point;
        }
        module.read_grant_i = range(0, 99) >= refused;
        module.records_done_i = records_used & 7;
        module.weights_done_i = weights_used & 7;
        module.eval();
        CHECK_EQ(module.fetched_o, fetched & 7);
        bool taken = module.command_valid_i && module.command_ready_o && module.enable_i;
        if (module.enable_i && !arriving.empty()) {
            check_arrival(module, arriving.front());
            arriving.pop_front();
        }
        if (module.read_valid_o && module.read_grant_i) {
            CHECK(!words.empty());
            if (words.empty()) {
                return cycles;
            }
            const Word &word = words.front();
            CHECK_EQ(module.read_address_o, word.address);
            CHECK(word.index < RECORD ? word.tile < records_used + 4 : word.tile < weights_used + 2);
            fetched += word.index + 1 == RECORD + word.taps;
            arriving.push_back(word);
            words.pop_front();
            quiet = 0;
        }
        cycles += fetched != 0 || !arriving.empty();
        rtl_cycle(module);
        if (taken) {
            append(words, commands[offered++], tiles);
        }
        weights_used += weights_used < fetched && range(0, 99) < use;
        records_used += records_used < weights_used && range(0, 99) < use;
        if (rtl_failures != 0) {
            return cycles;
        }
    }
    CHECK(words.empty());
    CHECK_EQ(fetched, tiles);
    return cycles;
}

void random_streams() {
    for (uint32_t seed = 1; seed <= 40; seed++) {
        fetch(seed, seed % 3 == 0 ? 40 : 0, seed % 2 == 0 ? 5 : 60);
    }
}

// The stream that leaves its window is named, and not read.
void window() {
    Vparameter_fetcher module;
    module.enable_i = 1;
    module.records_done_i = module.weights_done_i = 0;
    module.read_grant_i = 1;
    module.window_low_i = 100;
    module.window_high_i = 115;
    module.address_i = 100;
    module.tiles_i = 1;
    module.kernel_height_i = module.kernel_width_i = 2;
    module.command_valid_i = 0;
    rtl_reset(module);
    module.command_valid_i = 1;
    rtl_cycle(module);
    module.command_valid_i = 0;
    unsigned read = 0;
    for (unsigned i = 0; i < 30 && !module.outside_o; i++) {
        module.eval();
        read += module.read_valid_o;
        rtl_cycle(module);
    }
    CHECK_EQ(read, 15);
    CHECK_EQ(module.outside_o, 1);
    CHECK_EQ(module.read_valid_o, 0);
    CHECK_EQ(module.read_address_o, 115);
}

} // namespace

int main() {
    return rtl_run("parameter_fetcher", {{"random_streams", random_streams}, {"window", window}});
}
