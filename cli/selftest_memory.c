// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Memory of the selftest, through the bus: every word's own address in it (decoders), March C- with a checkerboard and
// its neighbours' inverse (stuck, transition and coupling faults), parity. A march element reads and writes a block of
// words before it goes to the next block, upwards or downwards; within a block words follow one another upwards, and
// neighbours hold opposite bits. What a word really holds after a parity error is read by the debug registers.
#include <stdio.h>
#include <string.h>

#include "selftest.h"

#define BLOCK_BYTES 16384u

static uint32_t block_words(const struct selftest *test) {
    uint32_t words = BLOCK_BYTES / test->target->columns;
    return words < test->march_words ? words : test->march_words;
}

// Blocks that cover march_words words, spread over the whole memory: the first, the last, and evenly between.
static uint32_t block_count(const struct selftest *test) {
    return test->march_words / block_words(test);
}

static uint32_t block_at(const struct selftest *test, uint32_t index) {
    uint64_t last = test->words - block_words(test), count = block_count(test);
    return count < 2 ? 0 : (uint32_t)(last * index / (count - 1));
}

// A word that cannot be read: is it the word or its parity?
static bool explain(struct selftest *test, const char *when, const uint8_t *expected, uint32_t first) {
    uint64_t error = 0, detail = 0;
    enum systole_status before = test->status;
    if (systole_probe_read_register(test->probe, SYSTOLE_REGISTER_ERROR, &error) != SYSTOLE_OK ||
        (error & 0xff) != SYSTOLE_ERROR_PARITY ||
        systole_probe_read_register(test->probe, SYSTOLE_REGISTER_ERROR_DETAIL, &detail) != SYSTOLE_OK ||
        detail < first || detail >= first + block_words(test)) {
        test->status = before;
        return false;
    }
    uint32_t columns = test->target->columns, word = (uint32_t)detail;
    uint8_t held[64];
    bool wrong = false;
    test->status = SYSTOLE_OK;
    if (systole_probe_peek(test->probe, word, held, &wrong) != SYSTOLE_OK) {
        return selftest_found(test, "%s: word %u has the wrong parity", when, word);
    }
    const uint8_t *should = expected + (size_t)(word - first) * columns;
    for (uint32_t bit = 0; bit < 8 * columns; bit++) {
        if (((held[bit / 8] ^ should[bit / 8]) >> bit % 8 & 1) != 0) {
            return selftest_found(test, "%s: word %u (bank %u), bit %u is %u, expected %u; its parity is wrong", when,
                                  word, word % test->target->banks, bit, held[bit / 8] >> bit % 8 & 1,
                                  should[bit / 8] >> bit % 8 & 1);
        }
    }
    return selftest_found(test, "%s: word %u (bank %u) holds what it should, its parity bit is wrong", when, word,
                          word % test->target->banks);
}

static bool read_block(struct selftest *test, const char *when, uint32_t first) {
    uint32_t words = block_words(test);
    if (!selftest_read(test, first, test->bytes, words)) {
        return explain(test, when, test->expected, first);
    }
    return selftest_compare(test, when, first, test->expected, test->bytes, (size_t)words * test->target->columns);
}

static void address_pattern(const struct selftest *test, uint32_t first, bool inverse) {
    uint32_t columns = test->target->columns;
    for (uint32_t w = 0; w < block_words(test); w++) {
        for (uint32_t lane = 0; lane < columns; lane++) {
            uint8_t byte = (uint8_t)((first + w) >> 8 * (lane % 4));
            test->expected[(size_t)w * columns + lane] = (uint8_t)(inverse ? ~byte : byte);
        }
    }
}

bool selftest_memory_addresses(struct selftest *test) {
    for (uint32_t inverse = 0; inverse < 2; inverse++) {
        for (uint32_t i = 0; i < block_count(test); i++) {
            address_pattern(test, block_at(test, i), inverse != 0);
            if (!selftest_write(test, block_at(test, i), test->expected, block_words(test))) {
                return false;
            }
        }
        for (uint32_t i = 0; i < block_count(test); i++) {
            address_pattern(test, block_at(test, i), inverse != 0);
            if (!read_block(test, inverse != 0 ? "its own address, inverse" : "its own address", block_at(test, i))) {
                return false;
            }
        }
    }
    selftest_found(test, "%u of %u words", block_count(test) * block_words(test), test->words);
    return true;
}

static void fill(const struct selftest *test, uint8_t background, bool one) {
    uint32_t columns = test->target->columns;
    for (uint32_t w = 0; w < block_words(test); w++) {
        memset(test->expected + (size_t)w * columns, (w % 2 != 0) != one ? (uint8_t)~background : background, columns);
    }
}

bool selftest_memory_march(struct selftest *test) {
    static const struct {
        const char *name;
        bool down, reads, expects, writes, value;
    } elements[] = {
        {"up w0", false, false, false, true, false},   {"up r0 w1", false, true, false, true, true},
        {"up r1 w0", false, true, true, true, false},  {"down r0 w1", true, true, false, true, true},
        {"down r1 w0", true, true, true, true, false}, {"up r0", false, true, false, false, false},
    };
    static const uint8_t backgrounds[] = {0x00, 0x55};
    char when[64];
    for (uint32_t b = 0; b < sizeof backgrounds; b++) {
        for (uint32_t e = 0; e < sizeof elements / sizeof elements[0]; e++) {
            (void)snprintf(when, sizeof when, "march %s of 0x%02x", elements[e].name, backgrounds[b]);
            for (uint32_t i = 0; i < block_count(test); i++) {
                uint32_t block = block_at(test, elements[e].down ? block_count(test) - 1 - i : i);
                fill(test, backgrounds[b], elements[e].expects);
                if (elements[e].reads && !read_block(test, when, block)) {
                    return false;
                }
                fill(test, backgrounds[b], elements[e].value);
                if (elements[e].writes && !selftest_write(test, block, test->expected, block_words(test))) {
                    return false;
                }
            }
        }
    }
    selftest_found(test, "March C-, %u of %u words, two backgrounds", block_count(test) * block_words(test),
                   test->words);
    return true;
}

// The first and last word of every bank: a flip is an error that names the word, and a second flip takes it away.
bool selftest_memory_parity(struct selftest *test) {
    uint32_t banks = test->target->banks, tried = 0;
    for (uint32_t i = 0; i < 2 * banks; i++, tried++) {
        uint32_t word = i < banks ? i : test->words - 2 * banks + i;
        memset(test->expected, (int)i, test->target->columns);
        if (!selftest_write(test, word, test->expected, 1) || !selftest_read(test, word, test->bytes, 1) ||
            !selftest_write_register(test, SYSTOLE_REGISTER_PARITY_FLIP, word)) {
            return false;
        }
        struct systole_frame_header header = {
            .magic = SYSTOLE_FRAME_MAGIC, .kind = SYSTOLE_FRAME_READ, .address = word, .length = test->target->columns};
        char what[64];
        (void)snprintf(what, sizeof what, "a read of word %u with flipped parity", word);
        enum systole_status status = systole_probe_send(test->probe, &header, NULL, 0);
        if (status != SYSTOLE_OK) {
            return selftest_failed(test, status, "%s", what);
        }
        if (!selftest_expect_fault(test, what, SYSTOLE_ERROR_PARITY, SYSTOLE_UNIT_NONE, 0, word) ||
            !selftest_reset(test) || !selftest_write_register(test, SYSTOLE_REGISTER_PARITY_FLIP, word) ||
            !selftest_read(test, word, test->bytes, 1) ||
            !selftest_compare(test, "after the second flip", word, test->expected, test->bytes,
                              test->target->columns)) {
            return false;
        }
    }
    selftest_found(test, "%u words in %u banks: each flip found and named", tried, banks);
    return true;
}
