// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The sweep's drawing: cycles over the axis with the most values (both logarithmic), one line for each combination of
// the other axes that vary, one panel a model. Points with operators on the CPU are hollow: their cycles lack that
// work.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sweep.h"

enum { WIDTH = 900, PANEL = 400, LEFT = 76, RIGHT = 250, TOP = 40, BOTTOM = 52, COLOURS = 8 };

static const double largest_cycles = 1e19;

static const char *const colours[COLOURS] = {"#2f6fd6", "#d9822b", "#2a9d74", "#b0489e",
                                             "#cf5547", "#6b7686", "#8a6d1f", "#38a3b8"};

struct sample {
    double cycles; // 0: none
    bool whole;    // nothing that multiplies ran on the CPU
};

struct plot {
    const struct sweep_study *study;
    const struct sample *samples; // of each point
    uint32_t axis;
    double x0, x1, y0, y1; // decades
};

static double x_of(const struct plot *p, double value) {
    return LEFT + (log10(value > 0 ? value : 1) - p->x0) / (p->x1 - p->x0) * (WIDTH - LEFT - RIGHT);
}

static double y_of(const struct plot *p, double cycles) {
    return TOP + (p->y1 - log10(cycles)) / (p->y1 - p->y0) * (PANEL - TOP - BOTTOM);
}

static void put_text(FILE *file, const char *text) {
    for (; *text != '\0'; text++) {
        if (*text == '&' || *text == '<' || *text == '>') {
            fprintf(file, "&#%d;", *text);
        } else {
            fputc((unsigned char)*text < 32 ? ' ' : *text, file);
        }
    }
}

static void put_value(FILE *file, const char *axis, double value) {
    if (strcmp(axis, "scratchpad_bytes") == 0) {
        fprintf(file, value >= 1048576 ? "%g MiB" : "%g KiB", value >= 1048576 ? value / 1048576 : value / 1024);
    } else if (value >= 1e6) {
        fprintf(file, "%gM", value / 1e6);
    } else if (value >= 1e4) {
        fprintf(file, "%gk", value / 1e3);
    } else {
        fprintf(file, "%g", value);
    }
}

static struct sample *read_samples(const char *csv, const struct sweep_study *study,
                                   struct systole_diagnostic *diagnostic) {
    uint8_t *bytes = NULL;
    size_t size;
    struct sample *samples = calloc((size_t)study->point_count + 1, sizeof *samples);
    if (samples == NULL || systole_read_file(csv, &bytes, &size, diagnostic) != SYSTOLE_OK) {
        free(samples);
        return NULL;
    }
    bytes[size] = '\0';
    for (uint32_t i = 0; i < study->point_count; i++) {
        struct sweep_point point;
        char key[SWEEP_LINE];
        sweep_study_point(study, i, &point);
        sweep_point_key(study, &point, key);
        const char *rest = sweep_results_find(bytes, size, key), *comma = rest != NULL ? strchr(rest, ',') : NULL;
        double cycles = comma != NULL ? strtod(comma + 1, NULL) : 0;
        samples[i].whole = rest != NULL && strncmp(rest, "ok,", 3) == 0;
        samples[i].cycles = cycles >= 1 && cycles <= largest_cycles ? cycles : 0; // whatever somebody wrote there
    }
    free(bytes);
    return samples;
}

static bool in_panel(const struct plot *p, uint32_t index, uint32_t model, struct sweep_point *point) {
    sweep_study_point(p->study, index, point);
    return point->model == model && p->samples[index].cycles > 0;
}

static bool find_limits(struct plot *p, uint32_t model) {
    double low = 1e300, high = 0, left = 1e300, right = 0;
    for (uint32_t i = 0; i < p->study->point_count; i++) {
        struct sweep_point point;
        if (in_panel(p, i, model, &point)) {
            double value = point.values[p->axis] > 0 ? point.values[p->axis] : 1;
            low = fmin(low, p->samples[i].cycles);
            high = fmax(high, p->samples[i].cycles);
            left = fmin(left, value);
            right = fmax(right, value);
        }
    }
    if (high <= 0 || right <= 0) {
        return false;
    }
    p->x0 = log10(left) - 0.04;
    p->x1 = log10(right) + 0.04;
    p->y0 = log10(low) - 0.06;
    p->y1 = log10(high) + 0.06;
    return true;
}

static void draw_axes(FILE *file, const struct plot *p) {
    const struct sweep_axis *axis = &p->study->axes[p->axis];
    double last = -100;
    for (uint32_t i = 0; i < axis->count; i++) {
        double x = x_of(p, axis->values[i]);
        if (x >= LEFT && x <= WIDTH - RIGHT && fabs(x - last) > 46) {
            fprintf(file, "<path class=\"g\" d=\"M%.1f %dV%d\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">", x,
                    TOP, PANEL - BOTTOM, x, PANEL - BOTTOM + 16);
            put_value(file, axis->name, axis->values[i]);
            fprintf(file, "</text>");
            last = x;
        }
    }
    for (int decade = (int)floor(p->y0); decade <= (int)p->y1; decade++) {
        static const double steps[] = {1, 1.5, 2, 3, 5, 7};
        for (size_t k = 0; k < sizeof steps / sizeof steps[0]; k++) {
            double cycles = steps[k] * pow(10, decade), y = log10(cycles);
            bool dense = p->y1 - p->y0 > 1.2;
            if (y > p->y0 && y < p->y1 && !(dense && (k == 1 || k == 3 || k == 5))) {
                fprintf(file, "<path class=\"g\" d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">",
                        LEFT, y_of(p, cycles), WIDTH - RIGHT, LEFT - 6, y_of(p, cycles) + 4);
                put_value(file, "cycles", cycles);
                fprintf(file, "</text>");
            }
        }
    }
    fprintf(file, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>", (LEFT + WIDTH - RIGHT) / 2,
            PANEL - BOTTOM + 36, axis->name);
}

// A line's points are those whose other values are the same as of `first`, its first point.
static bool same_line(const struct plot *p, const struct sweep_point *a, const struct sweep_point *b) {
    for (uint32_t i = 0; i < SWEEP_AXES; i++) {
        if (i != p->axis && a->values[i] != b->values[i]) {
            return false;
        }
    }
    return a->model == b->model;
}

static int compare_indices(const void *a, const void *b) {
    const uint32_t *x = a, *y = b; // value, point
    return x[0] < y[0] ? -1 : x[0] > y[0];
}

static bool draw_line(FILE *file, const struct plot *p, const struct sweep_point *first, uint32_t line) {
    uint32_t(*list)[2] = calloc(p->study->axes[p->axis].count, sizeof *list), count = 0;
    if (list == NULL) {
        return false;
    }
    const char *colour = colours[line % COLOURS], *dash = line / COLOURS % 2 == 1 ? "5 3" : "none";
    for (uint32_t i = 0; i < p->study->point_count; i++) {
        struct sweep_point point;
        if (in_panel(p, i, first->model, &point) && same_line(p, first, &point)) {
            list[count][0] = point.values[p->axis];
            list[count++][1] = i;
        }
    }
    qsort(list, count, sizeof *list, compare_indices);
    fprintf(file, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"1.8\" stroke-dasharray=\"%s\" d=\"", colour, dash);
    for (uint32_t i = 0; i < count; i++) {
        fprintf(file, "%s%.1f %.1f", i == 0 ? "M" : "L", x_of(p, list[i][0]), y_of(p, p->samples[list[i][1]].cycles));
    }
    fprintf(file, "\"/>");
    for (uint32_t i = 0; i < count; i++) {
        const struct sample *sample = &p->samples[list[i][1]];
        fprintf(file,
                "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.6\" stroke=\"%s\" stroke-width=\"1.6\" fill=\"%s\"><title>%.0f "
                "cycles</title></circle>",
                x_of(p, list[i][0]), y_of(p, sample->cycles), colour, sample->whole ? colour : "#fff", sample->cycles);
    }
    free(list);
    if (line < 20) {
        double y = TOP + 14 + 16 * line;
        fprintf(file,
                "<path fill=\"none\" stroke=\"%s\" stroke-width=\"2.4\" stroke-dasharray=\"%s\" d=\"M%d "
                "%.1fh20\"/><text x=\"%d\" y=\"%.1f\">",
                colour, dash, WIDTH - RIGHT + 16, y - 4, WIDTH - RIGHT + 42, y);
        const char *separator = "";
        for (uint32_t i = 0; i < SWEEP_AXES; i++) {
            if (i != p->axis && p->study->axes[i].count > 1) {
                fprintf(file, "%s%s ", separator, p->study->axes[i].name);
                put_value(file, p->study->axes[i].name, first->values[i]);
                separator = ", ";
            }
        }
        fprintf(file, "%s</text>", *separator == '\0' ? "cycles" : "");
    }
    return true;
}

static bool draw_panel(FILE *file, struct plot *p, uint32_t model) {
    fprintf(file, "<g transform=\"translate(0 %u)\"><text x=\"%d\" y=\"24\" font-size=\"15\">", model * PANEL, LEFT);
    put_text(file, p->study->models[model]);
    fprintf(file, ": cycles%s</text>", p->study->on_rtl ? " on RTL" : "");
    bool good = true;
    uint32_t lines = 0;
    if (find_limits(p, model)) {
        draw_axes(file, p);
        for (uint32_t i = 0; i < p->study->point_count && good; i++) {
            struct sweep_point point;
            sweep_study_point(p->study, i, &point);
            if (point.model == model && point.values[p->axis] == p->study->axes[p->axis].values[0]) {
                good = draw_line(file, p, &point, lines++);
            }
        }
    } else {
        fprintf(file, "<text x=\"%d\" y=\"60\">no point could be measured</text>", LEFT);
    }
    fprintf(file, "</g>");
    return good;
}

enum systole_status sweep_plot_text(const char *csv, const struct sweep_study *study, char **svg, size_t *size,
                                    struct systole_diagnostic *diagnostic) {
    struct plot plot = {.study = study};
    for (uint32_t i = 1; i < SWEEP_AXES; i++) {
        plot.axis = study->axes[i].count > study->axes[plot.axis].count ? i : plot.axis;
    }
    struct sample *samples = read_samples(csv, study, diagnostic);
    *svg = NULL;
    FILE *file = samples != NULL ? open_memstream(svg, size) : NULL;
    bool good = file != NULL;
    plot.samples = samples;
    if (file != NULL) {
        fprintf(
            file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %u\" width=\"%d\" height=\"%u\" "
            "font-family=\"system-ui,sans-serif\" font-size=\"12\"><style>.g{stroke:#e0e4e9;fill:none}</style><rect "
            "width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>",
            WIDTH, PANEL * study->model_count, WIDTH, PANEL * study->model_count);
        for (uint32_t model = 0; model < study->model_count && good; model++) {
            good = draw_panel(file, &plot, model);
        }
        fprintf(file, "</svg>\n");
        good = fclose(file) == 0 && good;
    }
    free(samples);
    if (!good) {
        free(*svg);
        *svg = NULL;
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, csv, "", "no memory for the plot");
    }
    return SYSTOLE_OK;
}

enum systole_status sweep_plot(const char *csv, const char *svg, const struct sweep_study *study,
                               struct systole_diagnostic *diagnostic) {
    char *text = NULL;
    size_t size = 0;
    enum systole_status status = sweep_plot_text(csv, study, &text, &size, diagnostic);
    if (status == SYSTOLE_OK) {
        status = cli_write_file(svg, text, size, diagnostic);
    }
    free(text);
    return status;
}
