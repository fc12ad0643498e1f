// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What the harnesses share: taking an input apart from its front, and claims that must hold whatever the bytes are.
#ifndef SYSTOLE_FUZZ_INPUT_H
#define SYSTOLE_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FUZZ_REQUIRE(claim, text)                                                                                      \
    do {                                                                                                               \
        if (!(claim)) {                                                                                                \
            (void)fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #claim, text);                                \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

struct fuzz_input {
    const uint8_t *bytes;
    size_t left;
};

// At most `size` bytes from the front; *taken of them are left. Never NULL when *taken is above 0.
static inline const uint8_t *fuzz_take(struct fuzz_input *input, size_t size, size_t *taken) {
    const uint8_t *from = input->bytes;
    *taken = size < input->left ? size : input->left;
    input->bytes += *taken;
    input->left -= *taken;
    return from;
}

// Little endian; bytes that are missing are 0.
static inline uint32_t fuzz_number(struct fuzz_input *input, size_t bytes) {
    size_t taken = 0;
    const uint8_t *from = fuzz_take(input, bytes, &taken);
    uint32_t value = 0;
    for (size_t i = 0; i < taken; i++) {
        value |= (uint32_t)from[i] << (8 * i);
    }
    return value;
}

#endif
