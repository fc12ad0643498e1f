// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// `systole sweep`: sweep_study.c reads a study and measures one point, sweep_results.c keeps the CSV, sweep_plot.c
// draws it, command_sweep.c puts all processors to work.
#ifndef SYSTOLE_SWEEP_H
#define SYSTOLE_SWEEP_H

#include "cli.h"

enum { SWEEP_AXES = 9, SWEEP_VALUES = 64, SWEEP_MODELS = 64, SWEEP_LINE = 1024 };

struct sweep_axis {
    const char *name; // key of the study and column of the CSV
    uint32_t values[SWEEP_VALUES];
    uint32_t count; // at least 1: the base's value
};

struct sweep_study {
    struct systole_target base;
    char *models[SWEEP_MODELS]; // as the study names them
    char *paths[SWEEP_MODELS];  // beside the study, unless absolute
    uint32_t model_count;
    bool on_rtl;
    struct sweep_axis axes[SWEEP_AXES];
    uint32_t point_count;
};

struct sweep_point {
    uint32_t model;
    uint32_t values[SWEEP_AXES];
};

enum systole_status sweep_study_read(const char *path, struct sweep_study *study,
                                     struct systole_diagnostic *diagnostic);
void sweep_study_free(struct sweep_study *study);
void sweep_study_point(const struct sweep_study *study, uint32_t index, struct sweep_point *point);
// The columns that name a point: "model,device,cores,...,"; a line of the CSV begins with it.
void sweep_point_key(const struct sweep_study *study, const struct sweep_point *point, char key[SWEEP_LINE]);
// The rest of its line. What cannot be built or compiled is a result too.
void sweep_measure(const struct sweep_study *study, const struct sweep_point *point, char result[SWEEP_LINE]);

// sweep_results.c. One line a finished point; done[i]: point i has one. Opens (or makes) the file, cuts a line that was
// being written when the sweep before ended; *file is for appending.
enum systole_status sweep_results_open(const char *path, const struct sweep_study *study, bool *done, int *file,
                                       struct systole_diagnostic *diagnostic);
bool sweep_results_append(int file, const char *line); // at once or not at all, also beside other processes
const char *sweep_columns(void);
// How the lines of points `first` to `last` - 1 say that they ended.
enum sweep_ending { SWEEP_OK, SWEEP_PARTIAL, SWEEP_REFUSED, SWEEP_FAILED, SWEEP_ENDINGS };
const char *sweep_ending_name(enum sweep_ending ending);
enum systole_status sweep_results_count(const char *csv, const struct sweep_study *study, uint32_t first, uint32_t last,
                                        uint32_t counts[SWEEP_ENDINGS], struct systole_diagnostic *diagnostic);
// What follows the key in the line that begins with it; NULL: there is none.
const char *sweep_results_find(const uint8_t *text, size_t size, const char *key);

// Cycles over the axis with the most values, a line for each combination of the others, a panel a model.
enum systole_status sweep_plot_text(const char *csv, const struct sweep_study *study, char **svg, size_t *size,
                                    struct systole_diagnostic *diagnostic); // malloc'ed
enum systole_status sweep_plot(const char *csv, const char *svg, const struct sweep_study *study,
                               struct systole_diagnostic *diagnostic);

#endif
