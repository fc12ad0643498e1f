// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "golden.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

uint64_t golden_hash(const uint8_t *bytes, size_t size) {
    uint64_t hash = 0xCBF29CE484222325u;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * 0x100000001B3u;
    }
    return hash;
}

bool golden_read(const char *folder, const char *kind, uint32_t n, uint8_t *bytes, size_t size) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s%u.bin", folder, kind, n);
    size_t length = 0;
    uint8_t *content = testing_read_file(path, &length);
    bool good = content != NULL && length == size;
    if (good) {
        memcpy(bytes, content, size);
    }
    free(content);
    return good;
}

static bool equal_float(const uint8_t *expected, const uint8_t *found, size_t count, size_t *element) {
    float largest = 0.0f;
    float e, f;
    for (size_t i = 0; i < count; i++) {
        memcpy(&e, expected + i * sizeof e, sizeof e);
        largest = fabsf(e) > largest ? fabsf(e) : largest;
    }
    for (size_t i = 0; i < count; i++) {
        memcpy(&e, expected + i * sizeof e, sizeof e);
        memcpy(&f, found + i * sizeof f, sizeof f);
        if (!(fabsf(e - f) <= 1.0e-5f * largest)) {
            *element = i;
            return false;
        }
    }
    return true;
}

bool golden_equal(const struct systole_tensor *tensor, const uint8_t *expected, const uint8_t *found, size_t *element) {
    if (tensor->dtype == SYSTOLE_FLOAT32) {
        return equal_float(expected, found, systole_tensor_elements(tensor), element);
    }
    for (size_t i = 0; i < tensor->size; i++) {
        if (expected[i] != found[i]) {
            *element = i / systole_dtype_size(tensor->dtype);
            return false;
        }
    }
    return true;
}

double golden_ratio_db(const uint8_t *expected, const uint8_t *found, size_t elements) {
    double signal = 0.0, noise = 0.0;
    float e, f;
    for (size_t i = 0; i < elements; i++) {
        memcpy(&e, expected + i * sizeof e, sizeof e);
        memcpy(&f, found + i * sizeof f, sizeof f);
        signal += (double)e * (double)e;
        noise += ((double)e - (double)f) * ((double)e - (double)f);
    }
    return 10.0 * log10(signal / noise);
}

bool golden_layers(const char *folder,
                   bool (*layer)(void *context, int32_t op, int32_t tensor, size_t bytes, uint64_t hash),
                   void *context) {
    char line[1024];
    snprintf(line, sizeof line, "%s/layers.tsv", folder);
    FILE *file = fopen(line, "r");
    if (file == NULL) {
        return false;
    }
    while (fgets(line, sizeof line, file) != NULL) {
        int32_t op, tensor;
        size_t bytes;
        uint64_t hash;
        if (sscanf(line, "%" SCNd32 "\t%*s\t%" SCNd32 "\t%zu\t%" SCNx64, &op, &tensor, &bytes, &hash) == 4 &&
            !layer(context, op, tensor, bytes, hash)) {
            break;
        }
    }
    fclose(file);
    return true;
}
