// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// NumPy's .npy and .npz files as representative data. The last byte chooses the model's inputs and what a byte means.
#include "fuzz_input.h"
#include "sample_arrays.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static const enum systole_dtype types[] = {SYSTOLE_FLOAT32, SYSTOLE_INT32, SYSTOLE_INT8, SYSTOLE_FLOAT16};
    uint8_t choice = size > 0 ? bytes[size - 1] : 0;
    char names[2][2] = {"a", "b"};
    struct systole_tensor tensors[2];
    int32_t inputs[] = {0, 1};
    const struct systole_graph graph = {
        .tensors = tensors, .tensor_count = 2, .inputs = inputs, .input_count = 1 + (choice & 1u)};
    for (uint32_t i = 0; i < 2; i++) {
        tensors[i] = (struct systole_tensor){
            .name = names[i], .dtype = types[choice >> 2 & 3], .rank = 2, .shape = {1 + (choice >> 1 & 1), 3}};
        tensors[i].size = systole_tensor_elements(&tensors[i]) * systole_dtype_size(tensors[i].dtype);
    }
    static const double mean[] = {1, 2, 3}, scale[] = {0.5, 1, 1e30};
    uint32_t given = choice >> 6;
    const struct sample_meaning meaning = {given == 3 ? 3 : given & 1, given, mean, scale};
    struct sample_arrays arrays;
    struct systole_diagnostic diagnostic = {"", "", ""};
    enum systole_status status = sample_arrays_read("data", bytes, size > 0 ? size - 1 : 0, &arrays, &diagnostic);
    if (status == SYSTOLE_OK) {
        status = sample_arrays_bind("data", &arrays, &graph, &meaning, &diagnostic);
    }
    if (status == SYSTOLE_OK) {
        uint8_t *places[2] = {malloc(tensors[0].size), malloc(tensors[1].size)}; // so that an overrun shows
        FUZZ_REQUIRE(arrays.sets > 0 && places[0] != NULL && places[1] != NULL, "no set, or no memory");
        for (uint32_t set = 0; set < arrays.sets; set++) {
            sample_arrays_get(&arrays, &graph, &meaning, set, places);
        }
        free(places[1]);
        free(places[0]);
    } else {
        FUZZ_REQUIRE(diagnostic.what[0] != '\0', "refused without a word");
    }
    sample_arrays_free(&arrays);
    return 0;
}
