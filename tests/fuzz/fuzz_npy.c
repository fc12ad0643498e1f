// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// NumPy's .npy files as inputs of a model. The first four bytes choose the tensor and what a pixel means, so that a
// file meets every type; the rest is the file.
#include "fuzz_input.h"
#include "inputs.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static const enum systole_dtype types[] = {SYSTOLE_INT8,  SYSTOLE_UINT8, SYSTOLE_INT16,   SYSTOLE_INT32,
                                               SYSTOLE_INT64, SYSTOLE_BOOL,  SYSTOLE_FLOAT32, SYSTOLE_FLOAT16};
    struct fuzz_input input = {bytes, size};
    float scale[1] = {0.0625f};
    int64_t zero_point[1] = {3};
    char name[] = "input";
    struct systole_tensor tensor = {.name = name, .dtype = types[fuzz_number(&input, 1) % 8], .shape = {1, 1, 1, 1}};
    uint32_t form = fuzz_number(&input, 1), meaning = fuzz_number(&input, 1);
    tensor.rank = (int32_t)(form % 5);
    tensor.shape[1] = 1 + (int32_t)(form / 5 % 3);
    tensor.shape[3] = 1 + (int32_t)(form / 15 % 4);
    if ((meaning & 1) != 0) {
        tensor.quantisation.count = 1;
        tensor.quantisation.scale = scale;
        tensor.quantisation.zero_point = zero_point;
    }
    tensor.size = systole_dtype_size(tensor.dtype);
    for (int32_t i = 0; i < tensor.rank; i++) {
        tensor.size *= (size_t)tensor.shape[i];
    }
    const struct cli_normalisation normalisation = {
        .mean_count = meaning >> 1 & 3, .scale_count = meaning >> 3 & 3, .mean = {1, 2, 3}, .scale = {1, 0.5, 1e30}};
    // As large as they are, so that a sanitiser sees the smallest overrun.
    uint8_t *data = malloc(input.left + 1), *file = data + 1, *values = calloc(tensor.size, 1);
    FUZZ_REQUIRE(data != NULL && values != NULL, "no memory");
    if (input.left > 0) {
        memcpy(file, input.bytes, input.left);
    }
    const struct cli_input_file opened = {"input.npy", file, input.left, &tensor, &normalisation, values};
    struct systole_diagnostic diagnostic = {"", "", ""};
    if (cli_is_npy(file, input.left) && cli_read_npy(&opened, &diagnostic) != SYSTOLE_OK) {
        FUZZ_REQUIRE(diagnostic.what[0] != '\0', "refused without a word");
    }
    free(values);
    free(data);
    return 0;
}
