// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Studies of `systole sweep`, and the CSV that a sweep goes on from: what precedes the first 0 byte is the study, what
// follows it the CSV, which is completed and drawn. Both lie in memory and have paths.
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz_input.h"
#include "sweep.h"

enum { POINTS = 256, MOST_SVG = 16 << 20 };

static void fill(int *file, const char *name, char path[64], const uint8_t *bytes, size_t size) {
    if (*file < 0) {
        *file = memfd_create(name, MFD_CLOEXEC);
        FUZZ_REQUIRE(*file >= 0, "no file in memory");
    }
    (void)snprintf(path, 64, "/proc/self/fd/%d", *file);
    FUZZ_REQUIRE(ftruncate(*file, 0) == 0 && pwrite(*file, bytes, size, 0) == (ssize_t)size, "the file is not written");
}

static void go_on(const struct sweep_study *study, const char *csv) {
    struct systole_diagnostic diagnostic = {"", "", ""};
    bool done[POINTS], again[POINTS];
    int file = -1;
    if (sweep_results_open(csv, study, done, &file, &diagnostic) != SYSTOLE_OK) {
        FUZZ_REQUIRE(diagnostic.what[0] != '\0', "refused without a word");
        return;
    }
    for (uint32_t i = 0; i < study->point_count; i++) {
        struct sweep_point point;
        char key[SWEEP_LINE], line[SWEEP_LINE + 64];
        sweep_study_point(study, i, &point);
        FUZZ_REQUIRE(point.model < study->model_count, "a point of no model");
        sweep_point_key(study, &point, key);
        (void)snprintf(line, sizeof line, "%sfailed,0,0,0,0,0,0,\n", key);
        FUZZ_REQUIRE(done[i] || sweep_results_append(file, line), "a line is not written");
    }
    (void)close(file);
    char *svg = NULL;
    size_t length = 0;
    FUZZ_REQUIRE(sweep_plot_text(csv, study, &svg, &length, &diagnostic) == SYSTOLE_OK, diagnostic.what);
    FUZZ_REQUIRE(length < MOST_SVG, "a plot without end");
    free(svg);
    // What was repaired and completed is complete.
    FUZZ_REQUIRE(sweep_results_open(csv, study, again, &file, &diagnostic) == SYSTOLE_OK, diagnostic.what);
    for (uint32_t i = 0; i < study->point_count; i++) {
        FUZZ_REQUIRE(again[i], "a point was forgotten");
    }
    (void)close(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static int files[2] = {-1, -1};
    static struct sweep_study study;
    char paths[2][64];
    const uint8_t *end = size > 0 ? memchr(bytes, 0, size) : NULL;
    size_t length = end != NULL ? (size_t)(end - bytes) : size;
    fill(&files[0], "study", paths[0], bytes, length);
    fill(&files[1], "csv", paths[1], end != NULL ? end + 1 : bytes, end != NULL ? size - length - 1 : 0);
    struct systole_diagnostic diagnostic = {"", "", ""};
    if (sweep_study_read(paths[0], &study, &diagnostic) != SYSTOLE_OK) {
        FUZZ_REQUIRE(diagnostic.what[0] != '\0', "refused without a word");
        return 0;
    }
    FUZZ_REQUIRE(study.point_count > 0 && study.model_count > 0, "no points");
    if (study.point_count <= POINTS) {
        go_on(&study, paths[1]);
    }
    sweep_study_free(&study);
    return 0;
}
