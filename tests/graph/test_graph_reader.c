// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Damaged models: whatever the bytes, the reader answers with a status and leaves nothing behind. Bugs show as signals
// or, in a sanitised build, as reports.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph.h"
#include "testing.h"

static const char *const files[] = {
    "operators/ADD_i8_0",
    "operators/CONV_2D_i8_0",
    "operators/RESHAPE_i8_0",
    "operators/SOFTMAX_i8_0",
    "operators/AVERAGE_POOL_2D_i8_0",
    "operators/MEAN_i8_0",
    "operators/FULLY_CONNECTED_i8_0",
    "operators/SPLIT_i8_0",
    "models/hello_world_int8",
    "models/mnist_lstm_int8",
    "models/kws_int8",
};
#define FILES ((int)(sizeof files / sizeof files[0]))

static uint8_t *read_model(int index, size_t *size) {
    if (testing_shared() == NULL) {
        testing_skip("no conformance models in ../shared");
        return NULL;
    }
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s/model.tflite", testing_shared(), files[index]);
    uint8_t *bytes = testing_read_file(path, size);
    ck_assert_msg(bytes != NULL, "%s cannot be read", path);
    return bytes;
}

// Reads bytes that may be anything. The copy has exactly their size, so that a sanitiser sees the smallest overrun.
static enum systole_status read_anything(const uint8_t *bytes, size_t size) {
    uint8_t *exact = malloc(size == 0 ? 1 : size);
    ck_assert_ptr_nonnull(exact);
    memcpy(exact, bytes, size);
    struct systole_graph graph;
    struct systole_diagnostic diagnostic = {"", "", ""};
    enum systole_status status = systole_graph_read(exact, size, "damaged", &graph, &diagnostic);
    free(exact);
    if (status == SYSTOLE_OK) {
        for (uint32_t i = 0; i < graph.operator_count; i++) {
            (void)systole_operator_macs(&graph, i);
        }
        // Whatever reads must also write, or say why not.
        uint8_t *written = NULL;
        size_t written_size = 0;
        if (systole_graph_write(&graph, NULL, &written, &written_size, NULL) == SYSTOLE_OK) {
            struct systole_graph again;
            enum systole_status second = systole_graph_read(written, written_size, "again", &again, &diagnostic);
            ck_assert_msg(second == SYSTOLE_OK, "%s", diagnostic.what);
            systole_graph_free(&again);
        }
        free(written);
    } else {
        ck_assert(status == SYSTOLE_BAD_FILE || status == SYSTOLE_UNSUPPORTED);
        ck_assert_str_ne(diagnostic.what, "");
        ck_assert_str_eq(diagnostic.where, "damaged");
        ck_assert_uint_eq(graph.tensor_count, 0);
        ck_assert_ptr_null(graph.tensors);
    }
    systole_graph_free(&graph);
    return status;
}

START_TEST(truncated) {
    size_t size = 0;
    uint8_t *bytes = read_model(_i, &size);
    if (bytes == NULL) {
        return;
    }
    ck_assert_int_eq(read_anything(bytes, size), SYSTOLE_OK);
    size_t step = size < 4096 ? 1 : size / 500;
    for (size_t length = 0; length < size - 16; length += step) {
        (void)read_anything(bytes, length);
    }
    ck_assert_int_eq(read_anything(bytes, 0), SYSTOLE_BAD_FILE);
    ck_assert_int_eq(read_anything(bytes, 100), SYSTOLE_BAD_FILE);
    free(bytes);
}
END_TEST

START_TEST(flipped) {
    size_t size = 0;
    uint8_t *bytes = read_model(_i, &size);
    if (bytes == NULL) {
        return;
    }
    uint32_t seed = 4711 + (uint32_t)_i;
    int refused = 0;
    for (int round = 0; round < 3000; round++) {
        int flips = testing_range(&seed, 1, 3);
        size_t where[3];
        uint8_t mask[3];
        for (int i = 0; i < flips; i++) {
            // Most of a large file is weights; half of the flips go to the ends, where the tables are.
            size_t span = size > 4096 && testing_random(&seed) % 2 ? 4096 : size;
            where[i] = size - 1 - testing_random(&seed) % span;
            mask[i] = (uint8_t)(1u << testing_random(&seed) % 8);
            bytes[where[i]] ^= mask[i];
        }
        refused += read_anything(bytes, size) != SYSTOLE_OK;
        for (int i = 0; i < flips; i++) {
            bytes[where[i]] ^= mask[i];
        }
    }
    ck_assert_int_gt(refused, 10);
    free(bytes);
}
END_TEST

START_TEST(overwritten) {
    size_t size = 0;
    uint8_t *bytes = read_model(_i, &size);
    if (bytes == NULL) {
        return;
    }
    uint32_t seed = 815 + (uint32_t)_i;
    static const uint32_t values[] = {0, 1, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x10000, 4, 8};
    for (int round = 0; round < 2000; round++) {
        size_t span = size > 4096 ? 4096 : size;
        size_t at = (size - 1 - testing_random(&seed) % span) & ~(size_t)3;
        uint32_t value = values[testing_random(&seed) % 8];
        uint8_t saved[4];
        if (at + 4 > size) {
            continue;
        }
        memcpy(saved, bytes + at, 4);
        memcpy(bytes + at, &value, 4);
        (void)read_anything(bytes, size);
        memcpy(bytes + at, saved, 4);
    }
    free(bytes);
}
END_TEST

START_TEST(foreign) {
    uint8_t noise[2000];
    uint32_t seed = 5;
    for (int round = 0; round < 2000; round++) {
        for (size_t i = 0; i < sizeof noise; i++) {
            noise[i] = (uint8_t)testing_random(&seed);
        }
        if (round % 2 == 0) {
            memcpy(noise + 4, "TFL3", 4);
            noise[1] = noise[2] = noise[3] = 0;
        }
        ck_assert_int_eq(read_anything(noise, (size_t)testing_range(&seed, 0, sizeof noise)), SYSTOLE_BAD_FILE);
    }
    ck_assert_int_eq(read_anything((const uint8_t *)"PK\3\4 a zip file, for example", 29), SYSTOLE_BAD_FILE);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("graph_reader");
    TCase *tests = tcase_create("all");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, truncated, 0, FILES);
    tcase_add_loop_test(tests, flipped, 0, FILES);
    tcase_add_loop_test(tests, overwritten, 0, FILES);
    tcase_add_test(tests, foreign);
    suite_add_tcase(suite, tests);
    return testing_run(suite, "graph/graph_reader");
}
