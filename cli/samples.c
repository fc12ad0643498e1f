// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "samples.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "inputs.h"

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_visible(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

static enum systole_status open_folder(struct cli_samples *samples, struct cli_sample_source *source,
                                       struct systole_diagnostic *diagnostic) {
    if (samples->graph->input_count != 1) {
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, source->path,
                            "give an .npz with an array under each input's name",
                            "a folder is for models with one input, this one has %u", samples->graph->input_count);
    }
    struct dirent **entries = NULL;
    int count = scandir(source->path, &entries, is_visible, by_name);
    if (count < 0) {
        return systole_fail(diagnostic, SYSTOLE_BAD_FILE, source->path, "check the path", "cannot be read: %s",
                            strerror(errno));
    }
    enum systole_status status = SYSTOLE_OK;
    source->files = calloc((size_t)count + 1, sizeof *source->files);
    for (int i = 0; i < count; i++) {
        if (source->files != NULL) {
            source->files[i] = cli_join(source->path, entries[i]->d_name);
            source->sets = (uint32_t)i + 1;
        }
        if (source->files == NULL || source->files[i] == NULL) {
            status = systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, source->path, "", "no memory for a list of files");
        }
        free(entries[i]);
    }
    free(entries);
    return status;
}

static enum systole_status open_arrays(struct cli_samples *samples, struct cli_sample_source *source,
                                       struct systole_diagnostic *diagnostic) {
    uint8_t *bytes = NULL;
    size_t size = 0;
    enum systole_status status = systole_read_file(source->path, &bytes, &size, diagnostic);
    if (status == SYSTOLE_OK && !npy_begins(bytes, size) && !sample_arrays_is_npz(bytes, size)) {
        status = systole_fail(diagnostic, SYSTOLE_BAD_FILE, source->path,
                              "give an .npy or .npz file, or a folder of pictures", "neither .npy nor .npz");
    }
    if (status == SYSTOLE_OK) {
        status = sample_arrays_read(source->path, bytes, size, &source->arrays, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = sample_arrays_bind(source->path, &source->arrays, samples->graph, &samples->meaning, diagnostic);
        source->sets = source->arrays.sets;
    }
    free(bytes);
    return status;
}

enum systole_status cli_samples_open(struct cli_samples *samples, const char *const *paths, uint32_t count,
                                     const struct systole_graph *graph, const struct cli_normalisation *normalisation,
                                     struct systole_diagnostic *diagnostic) {
    *samples = (struct cli_samples){.graph = graph, .normalisation = normalisation};
    samples->meaning = (struct sample_meaning){normalisation->mean_count, normalisation->scale_count,
                                               normalisation->mean, normalisation->scale};
    enum systole_status status = SYSTOLE_OK;
    for (uint32_t i = 0; i < count && status == SYSTOLE_OK; i++) {
        struct stat stat_of;
        struct cli_sample_source *source = &samples->sources[samples->source_count++];
        *source = (struct cli_sample_source){.path = paths[i]};
        bool is_folder = stat(paths[i], &stat_of) == 0 && S_ISDIR(stat_of.st_mode);
        status = (is_folder ? open_folder : open_arrays)(samples, source, diagnostic);
        samples->sets += source->sets;
    }
    if (status == SYSTOLE_OK && count > 0 && samples->sets == 0) {
        status = systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, paths[0], "give inputs such as the model will see",
                              "no set of inputs in it");
    }
    if (status != SYSTOLE_OK) {
        cli_samples_close(samples);
    }
    return status;
}

void cli_samples_close(struct cli_samples *samples) {
    for (uint32_t i = 0; i < samples->source_count; i++) {
        struct cli_sample_source *source = &samples->sources[i];
        for (uint32_t k = 0; source->files != NULL && k < source->sets; k++) {
            free(source->files[k]);
        }
        free(source->files);
        sample_arrays_free(&source->arrays);
    }
    samples->source_count = 0;
}

static enum systole_status read_file(const struct cli_samples *samples, const char *path, uint8_t *bytes,
                                     struct systole_diagnostic *diagnostic) {
    uint8_t *data = NULL;
    size_t length = 0;
    bool normalised;
    enum systole_status status = systole_read_file(path, &data, &length, diagnostic);
    if (status == SYSTOLE_OK) {
        struct cli_input_file file = {
            path, data, length, &samples->graph->tensors[samples->graph->inputs[0]], samples->normalisation, bytes};
        status = cli_fill_from_file(&file, 0, &normalised, diagnostic);
    }
    free(data);
    return status;
}

enum systole_status cli_samples_read(void *context, uint32_t index, uint8_t *const *inputs, bool *end,
                                     struct systole_diagnostic *diagnostic) {
    const struct cli_samples *samples = context;
    for (uint32_t i = 0; i < samples->source_count; i++) {
        const struct cli_sample_source *source = &samples->sources[i];
        if (index < source->sets) {
            if (source->files != NULL) {
                return read_file(samples, source->files[index], inputs[0], diagnostic);
            }
            sample_arrays_get(&source->arrays, samples->graph, &samples->meaning, index, inputs);
            return SYSTOLE_OK;
        }
        index -= source->sets;
    }
    *end = true;
    return SYSTOLE_OK;
}
