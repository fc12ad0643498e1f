// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// An .npz is a zip archive of .npy files, named NAME.npy; libzip opens it. Everything is in memory: representative data
// are some hundred inputs.
#include "sample_arrays.h"

#include "half.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#define LARGEST_TOTAL ((uint64_t)1 << 31)
#define MOST_ARRAYS 4096

bool sample_arrays_is_npz(const uint8_t *data, size_t length) {
    return length >= 4 && (memcmp(data, "PK\3\4", 4) == 0 || memcmp(data, "PK\5\6", 4) == 0);
}

static enum systole_status no_memory(const char *name, struct systole_diagnostic *diagnostic) {
    return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, name, "", "no memory for the representative data");
}

void sample_arrays_free(struct sample_arrays *arrays) {
    for (uint32_t i = 0; i < arrays->count; i++) {
        free(arrays->arrays[i].bytes);
        free(arrays->arrays[i].name);
    }
    free(arrays->of_input);
    free(arrays->arrays);
    *arrays = (struct sample_arrays){0};
}

// One more array with room for `size` bytes; NULL: no memory.
static struct sample_array *append(struct sample_arrays *arrays, const char *name, size_t size) {
    struct sample_array *grown = realloc(arrays->arrays, (arrays->count + (size_t)1) * sizeof *grown);
    if (grown == NULL) {
        return NULL;
    }
    arrays->arrays = grown;
    struct sample_array *array = &grown[arrays->count++];
    *array = (struct sample_array){.name = strdup(name), .bytes = malloc(size > 0 ? size : 1), .size = size};
    return array->name != NULL && array->bytes != NULL ? array : NULL;
}

static uint64_t elements_of(const struct npy_header *header) {
    uint64_t elements = 1;
    for (int32_t i = 0; i < header->rank; i++) {
        elements = header->shape[i] != 0 && elements > UINT64_MAX / header->shape[i] ? UINT64_MAX
                                                                                     : elements * header->shape[i];
    }
    return elements;
}

static size_t element_size(const char *description) {
    size_t length = strlen(description);
    return length == 3 && description[2] >= '1' && description[2] <= '8' ? (size_t)(description[2] - '0') : 0;
}

static enum systole_status open_array(const char *file, struct sample_array *array,
                                      struct systole_diagnostic *diagnostic) {
    char where[256];
    (void)snprintf(where, sizeof where, "%.150s%s%.100s", file, array->name[0] != '\0' ? ": " : "", array->name);
    const struct npy_header *header = &array->header;
    enum systole_status status = npy_open(where, array->bytes, array->size, &array->header, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    size_t element = element_size(header->description);
    if (element == 0) {
        return systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, where, "convert it with array.astype(numpy.float32)",
                            "arrays of '%s' cannot be read", header->description);
    }
    uint64_t elements = elements_of(header), held = (array->size - header->begin) / element;
    if (elements != held || (array->size - header->begin) % element != 0) {
        return systole_fail(diagnostic, SYSTOLE_BAD_FILE, where, "was it cut?",
                            "%zu bytes follow the .npy header, its array has %llu elements of %zu",
                            array->size - header->begin, (unsigned long long)elements, element);
    }
    return SYSTOLE_OK;
}

static enum systole_status bad_archive(const char *name, const char *what, struct systole_diagnostic *diagnostic) {
    return systole_fail(diagnostic, SYSTOLE_BAD_FILE, name, "write it with numpy.savez", "the .npz cannot be read: %s",
                        what);
}

static enum systole_status read_member(const char *file, zip_t *archive, zip_uint64_t index,
                                       struct sample_arrays *arrays, uint64_t *total,
                                       struct systole_diagnostic *diagnostic) {
    zip_stat_t stat;
    zip_stat_init(&stat);
    if (zip_stat_index(archive, index, 0, &stat) != 0 || (stat.valid & ZIP_STAT_SIZE) == 0 ||
        (stat.valid & ZIP_STAT_NAME) == 0) {
        return bad_archive(file, "a member's entry is damaged", diagnostic);
    }
    if (stat.size > LARGEST_TOTAL - *total) {
        return bad_archive(file, "its arrays have more than 2 GiB", diagnostic);
    }
    *total += stat.size;
    struct sample_array *array = append(arrays, stat.name, (size_t)stat.size);
    if (array == NULL) {
        return no_memory(file, diagnostic);
    }
    size_t length = strlen(array->name);
    if (length > 4 && strcmp(array->name + length - 4, ".npy") == 0) {
        array->name[length - 4] = '\0';
    }
    zip_file_t *member = zip_fopen_index(archive, index, 0);
    if (member == NULL) {
        return bad_archive(file, zip_strerror(archive), diagnostic);
    }
    zip_int64_t read = zip_fread(member, array->bytes, array->size);
    uint8_t beyond;
    // The end is asked for, too: only there libzip compares the checksum.
    bool good = read == (zip_int64_t)array->size && zip_fread(member, &beyond, 1) == 0;
    good = zip_fclose(member) == 0 && good;
    return good ? open_array(file, array, diagnostic) : bad_archive(file, "a member is damaged", diagnostic);
}

static enum systole_status read_archive(const char *name, const uint8_t *data, size_t length,
                                        struct sample_arrays *arrays, struct systole_diagnostic *diagnostic) {
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t *source = zip_source_buffer_create(data, length, 0, &error);
    zip_t *archive = source != NULL ? zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &error) : NULL;
    enum systole_status status = SYSTOLE_OK;
    if (archive == NULL) {
        status = bad_archive(name, zip_error_strerror(&error), diagnostic);
        if (source != NULL) {
            zip_source_free(source);
        }
    }
    zip_int64_t members = archive != NULL ? zip_get_num_entries(archive, 0) : 0;
    if (members > MOST_ARRAYS) {
        status = bad_archive(name, "it has more than 4096 members", diagnostic);
    }
    uint64_t total = 0;
    for (zip_int64_t i = 0; i < members && status == SYSTOLE_OK; i++) {
        status = read_member(name, archive, (zip_uint64_t)i, arrays, &total, diagnostic);
    }
    if (archive != NULL) {
        zip_discard(archive);
    }
    zip_error_fini(&error);
    return status;
}

enum systole_status sample_arrays_read(const char *name, const uint8_t *data, size_t length,
                                       struct sample_arrays *arrays, struct systole_diagnostic *diagnostic) {
    *arrays = (struct sample_arrays){0};
    enum systole_status status;
    if (sample_arrays_is_npz(data, length)) {
        status = read_archive(name, data, length, arrays, diagnostic);
    } else {
        struct sample_array *array = append(arrays, "", length);
        if (array == NULL) {
            status = no_memory(name, diagnostic);
        } else {
            memcpy(array->bytes, data, length);
            status = open_array(name, array, diagnostic);
        }
    }
    if (status != SYSTOLE_OK) {
        sample_arrays_free(arrays);
    }
    return status;
}

// Sets in the array, by its shape; refused if the last extents are not the input's.
static enum systole_status count_sets(const char *file, struct sample_array *array, const struct systole_tensor *tensor,
                                      struct systole_diagnostic *diagnostic) {
    const struct npy_header *header = &array->header;
    int32_t first = 0;
    while (first < tensor->rank && tensor->shape[first] == 1) {
        first++;
    }
    int32_t extents = tensor->rank - first;
    bool fits = header->rank >= extents;
    for (int32_t i = 0; fits && i < extents; i++) {
        fits = header->shape[header->rank - extents + i] == (uint64_t)tensor->shape[first + i];
    }
    if (!fits) {
        char found[128], wanted[128] = "N";
        npy_format_shape(header, found, sizeof found);
        size_t used = 1;
        for (int32_t i = first; i < tensor->rank && used < sizeof wanted - 16; i++) {
            used += (size_t)snprintf(wanted + used, sizeof wanted - used, "x%d", tensor->shape[i]);
        }
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, file,
                            "reshape the array: sets first, then an input's extents",
                            "input %.80s takes arrays of %s, this one is %s", tensor->name, wanted, found);
    }
    array->sets = 1;
    for (int32_t i = 0; i < header->rank - extents; i++) {
        array->sets *= header->shape[i]; // the elements exist, so that it fits
    }
    return SYSTOLE_OK;
}

float sample_real_of_byte(const struct sample_meaning *meaning, uint8_t byte, size_t channel) {
    double mean = meaning->mean_count == 0 ? 0 : meaning->mean[meaning->mean_count == 1 ? 0 : channel];
    double scale = meaning->scale_count == 0 ? 1.0 / 255.0 : meaning->scale[meaning->scale_count == 1 ? 0 : channel];
    return (float)((byte - mean) * scale);
}

// Of '<f8', '<f4' and '<f2'.
static float real_of(const char *description, const uint8_t *bytes, size_t index) {
    if (description[2] == '8') {
        double value;
        memcpy(&value, bytes + index * sizeof value, sizeof value);
        return (float)value; // too large a number becomes infinite, and is refused later
    }
    if (description[2] == '2') {
        uint16_t value;
        memcpy(&value, bytes + index * sizeof value, sizeof value);
        return systole_float_of_half(value);
    }
    float value;
    memcpy(&value, bytes + index * sizeof value, sizeof value);
    return value;
}

// An integer has no NaN.
static enum systole_status check_numbers(const char *file, const struct sample_array *array,
                                         const struct systole_tensor *tensor, struct systole_diagnostic *diagnostic) {
    size_t count = (size_t)array->sets * systole_tensor_elements(tensor);
    for (size_t i = 0; i < count; i++) {
        if (isnan(real_of(array->header.description, array->bytes + array->header.begin, i))) {
            return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, file, "an integer input holds numbers only",
                                "element %zu of the array for input %.80s is not a number", i, tensor->name);
        }
    }
    return SYSTOLE_OK;
}

static enum systole_status check_type(const char *file, const struct sample_array *array,
                                      const struct systole_tensor *tensor, const struct sample_meaning *meaning,
                                      struct systole_diagnostic *diagnostic) {
    const char *description = array->header.description;
    bool given = meaning->mean_count != 0 || meaning->scale_count != 0;
    uint32_t channels = tensor->rank > 0 ? (uint32_t)tensor->shape[tensor->rank - 1] : 1;
    if (npy_same_description(description, npy_description_of(tensor->dtype))) {
        return SYSTOLE_OK;
    }
    bool is_float = tensor->dtype == SYSTOLE_FLOAT32 || systole_tensor_takes_reals(tensor);
    if (is_float &&
        (strcmp(description, "<f8") == 0 || strcmp(description, "<f4") == 0 || strcmp(description, "<f2") == 0)) {
        return tensor->dtype == SYSTOLE_FLOAT32 ? SYSTOLE_OK : check_numbers(file, array, tensor, diagnostic);
    }
    if (!is_float || !npy_same_description(description, "|u1")) {
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, file, "convert it with array.astype first",
                            "input %.80s is %s and takes '%s'%s, the array is '%s'", tensor->name,
                            systole_dtype_name(tensor->dtype), npy_description_of(tensor->dtype),
                            is_float ? ", real numbers ('<f4', '<f8', '<f2') and '|u1'" : "", description);
    }
    if (!given) {
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, file, "say so with --mean and --scale",
                            "bytes have no one meaning for input %.80s, which is %s", tensor->name,
                            systole_dtype_name(tensor->dtype));
    }
    if ((meaning->mean_count > 1 && meaning->mean_count != channels) ||
        (meaning->scale_count > 1 && meaning->scale_count != channels)) {
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, file, "give one number, or one for each channel",
                            "--mean or --scale has not the %u channels of input %.80s", channels, tensor->name);
    }
    return SYSTOLE_OK;
}

// The only array of a model with one input may have any name.
static int64_t find_array(const struct sample_arrays *arrays, const struct systole_graph *graph, uint32_t input) {
    const char *name = graph->tensors[graph->inputs[input]].name;
    for (uint32_t i = 0; i < arrays->count; i++) {
        if (name != NULL && strcmp(arrays->arrays[i].name, name) == 0) {
            return i;
        }
    }
    return arrays->count == 1 && graph->input_count == 1 ? 0 : -1;
}

enum systole_status sample_arrays_bind(const char *name, struct sample_arrays *arrays,
                                       const struct systole_graph *graph, const struct sample_meaning *meaning,
                                       struct systole_diagnostic *diagnostic) {
    free(arrays->of_input);
    arrays->of_input = calloc(graph->input_count + (size_t)1, sizeof *arrays->of_input);
    if (arrays->of_input == NULL) {
        return no_memory(name, diagnostic);
    }
    for (uint32_t i = 0; i < graph->input_count; i++) {
        const struct systole_tensor *tensor = &graph->tensors[graph->inputs[i]];
        int64_t found = find_array(arrays, graph, i);
        if (found < 0) {
            return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, name,
                                "save them all with numpy.savez(file, **{name: array})",
                                "no array for input %.100s; the file has %u, the model %u inputs", tensor->name,
                                arrays->count, graph->input_count);
        }
        struct sample_array *array = &arrays->arrays[found];
        arrays->of_input[i] = (uint32_t)found;
        enum systole_status status = count_sets(name, array, tensor, diagnostic);
        if (status == SYSTOLE_OK) {
            status = check_type(name, array, tensor, meaning, diagnostic);
        }
        if (status != SYSTOLE_OK) {
            return status;
        }
        uint64_t sets = array->sets;
        if (sets == 0 || sets > UINT32_MAX || (i > 0 && sets != arrays->sets)) {
            return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, name, "give every input the same number of sets",
                                "the array for input %.100s has %llu sets%s", tensor->name, (unsigned long long)sets,
                                sets == 0 ? ": it is empty" : "");
        }
        arrays->sets = (uint32_t)sets;
    }
    return SYSTOLE_OK;
}

void sample_arrays_get(const struct sample_arrays *arrays, const struct systole_graph *graph,
                       const struct sample_meaning *meaning, uint32_t index, uint8_t *const *inputs) {
    for (uint32_t i = 0; i < graph->input_count; i++) {
        const struct systole_tensor *tensor = &graph->tensors[graph->inputs[i]];
        const struct sample_array *array = &arrays->arrays[arrays->of_input[i]];
        const char *description = array->header.description;
        size_t count = systole_tensor_elements(tensor), element = element_size(description);
        const uint8_t *from = array->bytes + array->header.begin + (size_t)index * count * element;
        if (npy_same_description(description, npy_description_of(tensor->dtype))) {
            memcpy(inputs[i], from, tensor->size);
            continue;
        }
        size_t channels = tensor->rank > 0 ? (size_t)tensor->shape[tensor->rank - 1] : 1;
        bool is_byte = description[1] == 'u';
        for (size_t k = 0; k < count; k++) {
            float value = is_byte ? sample_real_of_byte(meaning, from[k], k % channels) : real_of(description, from, k);
            if (tensor->dtype == SYSTOLE_FLOAT32) {
                memcpy(inputs[i] + k * sizeof value, &value, sizeof value);
            } else {
                systole_tensor_store_real(tensor, value, k, inputs[i]);
            }
        }
    }
}
