// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The lanes of the depthwise unit alone: sums of products, sums of bytes and largest bytes over groups of taps whose
// words arrive in different cycles, with the parameters of tile after tile, against plain loops.

// Parameters: -GCOLUMNS=8 -GTAPS=3 -GTAG=4 -GCONTEXT=2
#include "Vtap_datapath.h"

#include <cstring>
#include <deque>

#include "rtl_testing.h"

namespace {

constexpr unsigned COLUMNS = 8, TAPS = 3, RECORD = 12;

struct Result {
    int32_t value[COLUMNS], multiplier[COLUMNS], shift[COLUMNS];
    unsigned count, tag, context;
};

enum Kind { PRODUCTS, SUMS, LARGEST };

struct Bench {
    Vtap_datapath module;
    uint32_t random;
    std::deque<Result> expected;
    unsigned tiles = 0, words = 0; // tiles with parameters; words begun
    int32_t bias[COLUMNS], multiplier[COLUMNS], shift[COLUMNS], weight[256][COLUMNS];

    explicit Bench(uint32_t seed) : random(seed * 2654435761u) {
        module.enable_i = 1;
        module.word_valid_i = 0;
        module.group_valid_i = 0;
        for (unsigned j = 0; j < TAPS; j++) {
            module.operand_valid_i[j] = 0;
        }
        // The command's own multiplier is told by its context.
        module.sum_multiplier_i = module.sum_shift_i = 0;
        rtl_reset(module);
    }
    uint32_t range(uint32_t low, uint32_t high) {
        return low + rtl_random(random) % (high - low + 1);
    }

    void cycle() {
        module.eval();
        module.sum_multiplier_i = 1000u + module.sum_context_o;
        module.sum_shift_i = 7u + module.sum_context_o;
        module.eval();
        if (module.valid_o && module.enable_i) {
            CHECK(!expected.empty());
            if (!expected.empty()) {
                const Result &result = expected.front();
                for (unsigned c = 0; c < COLUMNS; c++) {
                    CHECK_EQ(module.value_o[c], (uint32_t)result.value[c]);
                    CHECK_EQ(module.multiplier_o[c], (uint32_t)result.multiplier[c]);
                    CHECK_EQ(module.shift_o[c], (uint32_t)result.shift[c]);
                }
                CHECK_EQ(module.count_o, result.count);
                CHECK_EQ(module.tag_o, result.tag);
                CHECK_EQ(module.context_o, result.context);
                expected.pop_front();
            }
        }
        rtl_cycle(module);
        module.word_valid_i = 0;
        module.group_valid_i = 0;
        for (unsigned j = 0; j < TAPS; j++) {
            module.operand_valid_i[j] = 0;
        }
    }

    int32_t operand(uint8_t byte, bool is_unsigned, int32_t zero_point) {
        int32_t difference = (is_unsigned ? byte : (int8_t)byte) - zero_point;
        return ((difference + 256) & 511) - 256;
    }

    uint64_t random_word() {
        return ((uint64_t)rtl_random(random) << 32) | rtl_random(random);
    }

    void parameters(unsigned taps) {
        bool is_unsigned = range(0, 1);
        int32_t zero_point = (int32_t)range(0, 383) - 128;
        int32_t *fields[] = {bias, multiplier, shift};
        for (unsigned i = 0; i < RECORD + taps; i++) {
            uint64_t word = random_word();
            module.word_valid_i = 1;
            module.word_record_i = i < RECORD;
            module.word_index_i = (uint8_t)(i & 15);
            module.word_tile_i = tiles & 3;
            module.word_group_i = (uint8_t)((i - RECORD) / TAPS);
            module.word_lane_i = (uint8_t)((i - RECORD) % TAPS);
            module.word_unsigned_i = is_unsigned;
            module.word_zero_point_i = (uint16_t)(zero_point & 511);
            module.word_data_i = word;
            if (i < RECORD) {
                fields[i / 4][2 * (i % 4)] = (int32_t)word;
                fields[i / 4][2 * (i % 4) + 1] = (int32_t)(word >> 32);
            }
            for (unsigned c = 0; i >= RECORD && c < COLUMNS; c++) {
                weight[i - RECORD][c] = operand((uint8_t)(word >> (8 * c)), is_unsigned, zero_point);
            }
            cycle();
        }
        tiles++;
    }

    // What the word before was made of; stride 0: the next one does not follow it in its row.
    bool word_unsigned = false, was_valid[256];
    int32_t word_zero_point = 0, before[256][COLUMNS];
    unsigned context = 0;

    void one_word(Kind kind, unsigned taps, bool last_of_tile, unsigned stride = 0) {
        if (stride == 0) {
            word_unsigned = range(0, 1);
            word_zero_point = kind == LARGEST ? 0 : (int32_t)range(0, 383) - 128;
            context = range(0, 3);
        }
        unsigned tag = words++ & 15;
        bool valid[256];
        int32_t operands[256][COLUMNS];
        memset(valid, 0, sizeof valid);
        Result result{};
        for (unsigned c = 0; c < COLUMNS; c++) {
            result.value[c] = kind == LARGEST && !word_unsigned ? -128 : 0;
            result.multiplier[c] = kind == PRODUCTS ? multiplier[c] : (int32_t)(1000 + context);
            result.shift[c] = kind == PRODUCTS ? shift[c] : (int32_t)(7 + context);
        }
        result.tag = tag;
        result.context = context;
        for (unsigned k = 0; k < taps; k += TAPS) {
            unsigned mask = range(0, 7) & (taps - k >= TAPS ? 7u : (1u << (taps - k)) - 1);
            unsigned waiting = mask, reused = 0;
            for (unsigned j = 0; j < TAPS; j++) {
                bool can = stride != 0 && (mask >> j & 1) != 0 && k + j + stride < taps && was_valid[k + j + stride];
                reused |= (unsigned)(can && range(0, 3) != 0) << j;
                valid[k + j] = mask >> j & 1;
                for (unsigned c = 0; (reused >> j & 1) != 0 && c < COLUMNS; c++) {
                    operands[k + j][c] = before[k + j + stride][c];
                }
            }
            waiting &= ~reused;
            do { // words arrive in any order, the last ones with the group
                unsigned now = waiting & (range(0, 1) != 0 ? 7 : range(0, 7));
                bool ends = (waiting & ~now) == 0;
                for (unsigned j = 0; j < TAPS; j++) {
                    uint64_t word = random_word();
                    module.operand_data_i[j] = word;
                    module.operand_valid_i[j] = now >> j & 1;
                    for (unsigned c = 0; (now >> j & 1) != 0 && c < COLUMNS; c++) {
                        operands[k + j][c] = operand((uint8_t)(word >> (8 * c)), word_unsigned, word_zero_point);
                    }
                    bool counts = (now >> j & 1) != 0 || (ends && (reused >> j & 1) != 0);
                    for (unsigned c = 0; counts && c < COLUMNS; c++) {
                        int32_t value = operands[k + j][c];
                        if (kind == LARGEST) {
                            result.value[c] = value > result.value[c] ? value : result.value[c];
                        } else {
                            value *= kind == PRODUCTS ? weight[k + j][c] : 1;
                            result.value[c] = (int32_t)((uint32_t)result.value[c] + (uint32_t)value);
                        }
                    }
                    result.count += counts;
                }
                waiting &= ~now;
                module.input_unsigned_i = word_unsigned;
                module.input_zero_point_i = (uint16_t)(word_zero_point & 511);
                module.group_valid_i = waiting == 0;
                module.group_mask_i = (uint8_t)mask;
                module.group_reused_i = (uint8_t)reused;
                module.stride_i = (uint8_t)stride;
                module.keeps_i = taps <= 32;
                module.group_index_i = (uint8_t)(k / TAPS);
                module.group_first_i = k == 0;
                module.group_last_i = k + TAPS >= taps;
                module.tile_last_i = last_of_tile && k + TAPS >= taps;
                module.weighted_i = kind == PRODUCTS;
                module.largest_i = kind == LARGEST;
                module.smallest_i = 0;
                module.context_i = (uint8_t)context;
                module.tag_i = (uint8_t)tag;
                if (waiting == 0 && k + TAPS >= taps) {
                    for (unsigned c = 0; kind == PRODUCTS && c < COLUMNS; c++) {
                        result.value[c] = (int32_t)((uint32_t)result.value[c] + (uint32_t)bias[c]);
                    }
                    result.count = kind == LARGEST ? 1 : result.count;
                    expected.push_back(result);
                }
                cycle();
            } while (waiting != 0);
        }
        memcpy(was_valid, valid, sizeof valid);
        memcpy(before, operands, sizeof before);
    }
};

void random_words() {
    for (uint32_t seed = 1; seed <= 30; seed++) {
        Bench bench(seed);
        for (unsigned tile = 0; tile < 12; tile++) {
            unsigned taps = seed % 10 == 0 ? bench.range(200, 256) : bench.range(1, 12), words = bench.range(1, 4);
            if (bench.range(0, 1) != 0) {
                bench.parameters(taps);
                for (unsigned w = 0; w < words; w++) {
                    unsigned stride = w > 0 && taps <= 32 ? bench.range(0, 3) : 0;
                    bench.one_word(PRODUCTS, taps, w + 1 == words, stride);
                }
            } else {
                Kind kind = bench.range(0, 1) != 0 ? SUMS : LARGEST;
                for (unsigned w = 0; w < words; w++) {
                    bench.one_word(kind, taps, w + 1 == words, w > 0 && taps <= 32 ? bench.range(0, 3) : 0);
                }
            }
        }
        for (unsigned i = 0; i < 5; i++) {
            bench.cycle();
        }
        CHECK(bench.expected.empty());
        CHECK_EQ(bench.module.weights_done_o, bench.tiles & 7);
        CHECK_EQ(bench.module.records_done_o, bench.tiles & 7);
    }
}

// While it is frozen nothing moves and nothing is taken.
void frozen() {
    Bench bench(99);
    bench.parameters(9);
    bench.one_word(PRODUCTS, 9, false);
    bench.module.enable_i = 0;
    for (unsigned i = 0; i < 10; i++) {
        bench.module.word_valid_i = 1;
        bench.module.group_valid_i = 1;
        for (unsigned j = 0; j < TAPS; j++) {
            bench.module.operand_valid_i[j] = 1;
        }
        bench.cycle();
    }
    bench.module.enable_i = 1;
    bench.one_word(PRODUCTS, 9, true);
    for (unsigned i = 0; i < 5; i++) {
        bench.cycle();
    }
    CHECK(bench.expected.empty());
}

} // namespace

int main() {
    return rtl_run("tap_datapath", {{"random_words", random_words}, {"frozen", frozen}});
}
