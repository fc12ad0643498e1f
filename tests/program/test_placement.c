// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include <stdlib.h>
#include <string.h>

#include "program/program.h"
#include "testing.h"

static uint8_t dense_at(uint32_t y, uint32_t x, uint32_t c) {
    return (uint8_t)(y * 31 + x * 7 + c * 3 + 1);
}

// Packs a map, looks for every element where program.h says it lies, and unpacks it again.
static void check(struct systole_placement placement, uint32_t columns) {
    const struct systole_placement *p = &placement;
    size_t elements = (size_t)p->height * p->width * p->channels;
    size_t size = (size_t)systole_placement_words(p, columns) * columns;
    uint8_t *dense = malloc(elements);
    uint8_t *back = malloc(elements);
    uint8_t *words = malloc(size);
    bool *used = calloc(size, sizeof *used);
    ck_assert(dense != NULL && back != NULL && words != NULL && used != NULL);
    memset(words, 0xEE, size);
    for (size_t i = 0; i < elements; i++) {
        size_t pixel = i / p->channels;
        dense[i] = dense_at((uint32_t)(pixel / p->width), (uint32_t)(pixel % p->width), (uint32_t)(i % p->channels));
    }
    systole_placement_pack(p, columns, dense, words);
    for (uint32_t y = 0; y < p->height; y++) {
        for (uint32_t x = 0; x < p->width; x++) {
            for (uint32_t c = 0; c < p->channels; c++) {
                size_t at = p->layout == SYSTOLE_LAYOUT_PACKED
                                ? (size_t)y * p->row_stride * columns + (size_t)x * p->channels + c
                                : ((size_t)(c / columns) * p->tile_stride + (size_t)y * p->row_stride +
                                   (size_t)x * p->pixel_stride) *
                                          columns +
                                      c % columns;
                ck_assert_uint_lt(at, size);
                ck_assert_uint_eq(words[at], dense_at(y, x, c));
                used[at] = true;
            }
        }
    }
    for (size_t i = 0; i < size; i++) {
        ck_assert(used[i] || words[i] == 0);
        words[i] = used[i] ? words[i] : 0xEE; // what has no defined value must not come back
    }
    systole_placement_unpack(p, columns, words, back);
    ck_assert_mem_eq(dense, back, elements);
    free(used);
    free(words);
    free(back);
    free(dense);
}

START_TEST(tiled) {
    check((struct systole_placement){0, 3, 5, 20, 6, 18, 1, SYSTOLE_LAYOUT_TILED, 0}, 16);
    check((struct systole_placement){0, 1, 1, 1, 1, 1, 1, SYSTOLE_LAYOUT_TILED, 0}, 16);
    check((struct systole_placement){0, 1, 1, 64, 1, 1, 1, SYSTOLE_LAYOUT_TILED, 1}, 16);
    check((struct systole_placement){0, 2, 3, 33, 12, 24, 3, SYSTOLE_LAYOUT_TILED, 0}, 8);
    check((struct systole_placement){0, 4, 2, 10, 1, 40, 4, SYSTOLE_LAYOUT_TILED, 0}, 4); // columns outside rows
}
END_TEST

START_TEST(packed) {
    check((struct systole_placement){0, 3, 5, 3, 1, 0, 0, SYSTOLE_LAYOUT_PACKED, 0}, 16);
    check((struct systole_placement){0, 4, 11, 3, 4, 0, 0, SYSTOLE_LAYOUT_PACKED, 0}, 16);
    check((struct systole_placement){0, 1, 64, 1, 1, 0, 0, SYSTOLE_LAYOUT_PACKED, 1}, 64);
}
END_TEST

START_TEST(words) {
    struct systole_placement map = {0, 3, 5, 20, 6, 18, 1, SYSTOLE_LAYOUT_TILED, 0};
    ck_assert_uint_eq(systole_placement_words(&map, 16), 18 + 12 + 4 + 1);
    struct systole_placement rows = {0, 3, 11, 3, 4, 0, 0, SYSTOLE_LAYOUT_PACKED, 0};
    ck_assert_uint_eq(systole_placement_words(&rows, 16), 8 + 3);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("placement");
    TCase *tests = tcase_create("all");
    tcase_add_test(tests, tiled);
    tcase_add_test(tests, packed);
    tcase_add_test(tests, words);
    suite_add_tcase(suite, tests);
    return testing_run(suite, "program/placement");
}
