// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The page's drawings: plain SVG whose colours are the style sheet's classes, so that they follow light and dark. What
// has no room as text is in a mark's <title>, which browsers show under the pointer.
#include <math.h>
#include <stdlib.h>

#include "html.h"
#include "target.h"

#define WIDTH 1120
#define LEFT 96 // labels of rows
#define PLOT (WIDTH - LEFT - 24)

static const struct systole_graph *graph_of(const struct html_analysis *a) {
    return &a->measurement->subject->graph;
}

static double total_of(const struct html_analysis *a) {
    return a->measurement->cycles->total > 0 ? (double)a->measurement->cycles->total : 1;
}

static double time_x(const struct html_analysis *a, uint64_t cycle) {
    return LEFT + (double)cycle / total_of(a) * PLOT;
}

static const char *operator_name(const struct html_analysis *a, int32_t index) {
    return index >= 0 && (uint32_t)index < graph_of(a)->operator_count
               ? systole_operator_name(graph_of(a)->operators[index].code)
               : "no operator";
}

// 1, 2 or 5 times a power of ten, with at most `ticks` steps to `largest`.
static uint64_t round_step(uint64_t largest, uint32_t ticks) {
    uint64_t step = 1;
    for (uint32_t i = 0; largest / step > ticks; i++) {
        step = i % 3 == 1 ? step * 5 / 2 : step * 2;
    }
    return step;
}

static void short_number(FILE *page, uint64_t value) {
    if (value >= 1000000 && value % 100000 == 0) {
        fprintf(page, "%gM", (double)value / 1e6);
    } else if (value >= 1000 && value % 100 == 0) {
        fprintf(page, "%gk", (double)value / 1e3);
    } else {
        fprintf(page, "%llu", (unsigned long long)value);
    }
}

static void time_axis(FILE *page, const struct html_analysis *a, int top, int bottom) {
    uint64_t total = a->measurement->cycles->total, step = round_step(total, 10);
    for (uint64_t t = 0; t <= total; t += step) {
        double x = time_x(a, t);
        fprintf(page, "<line class=grid x1=%.1f x2=%.1f y1=%d y2=%d /><text class=tick x=%.1f y=%d>", x, x, top, bottom,
                x, bottom + 14);
        short_number(page, t);
        fprintf(page, "</text>");
    }
    fprintf(page, "<text class=\"tick right\" x=%d y=%d>cycles</text>", WIDTH - 2, bottom + 28);
}

void html_layers_chart(FILE *page, const struct html_analysis *a) {
    const int row = 18, top = 22, names = 330, plot = WIDTH - names - 210;
    uint64_t largest = 1;
    for (uint32_t i = 0; i < a->layer_count; i++) {
        const struct html_layer *l = &a->layers[i];
        largest = l->cycles > largest ? l->cycles : largest;
        largest = l->unit_cycles > largest ? l->unit_cycles : largest;
    }
    const int height = top + row * (int)a->layer_count + 24;
    fprintf(page, "<svg viewBox=\"0 0 %d %d\" role=img aria-label=\"cycles of each operator\">", WIDTH, height);
    uint64_t step = round_step(largest, 8);
    for (uint64_t t = 0; t <= largest; t += step) {
        double x = names + (double)t / (double)largest * plot;
        fprintf(page, "<line class=grid x1=%.1f x2=%.1f y1=%d y2=%d /><text class=tick x=%.1f y=%d>", x, x, top,
                height - 22, x, height - 8);
        short_number(page, t);
        fprintf(page, "</text>");
    }
    fprintf(page,
            "<text class=\"tick right\" x=%d y=14>cycles</text><text class=\"tick right\" x=%d y=14>utilisation</text>"
            "<text class=\"tick left\" x=%d y=14>bound by</text>",
            WIDTH - 146, WIDTH - 78, WIDTH - 66);
    for (uint32_t i = 0; i < a->layer_count; i++) {
        const struct html_layer *l = &a->layers[i];
        const struct systole_operator *operation = &graph_of(a)->operators[i];
        const struct systole_operator_info *info = &a->measurement->subject->program.operators[i];
        int y = top + row * (int)i;
        char shape[64] = "";
        if (operation->output_count != 0) {
            cli_format_shape(&graph_of(a)->tensors[operation->outputs[0]], shape, sizeof shape);
        }
        fprintf(
            page,
            "<g class=row><rect class=hover x=0 y=%d width=%d height=%d /><text class=\"label right\" x=26 "
            "y=%d>%u</text>"
            "<text class=\"label left\" x=34 y=%d>%.24s</text><text class=\"label muted right\" x=%d y=%d>%.20s</text>",
            y, WIDTH, row, y + 13, i, y + 13, operator_name(a, (int32_t)i), names - 8, y + 13, shape);
        if (!l->on_device) {
            fprintf(page, "<text class=\"label muted left\" x=%d y=%d>", names + 4, y + 13);
            html_text(page, info->place == SYSTOLE_PLACE_CPU ? "on the CPU: " : "");
            html_text(page, info->reason);
            fprintf(page, "</text></g>");
            continue;
        }
        double scale = (double)plot / (double)largest;
        fprintf(page,
                "<rect class=\"b%d\" x=%d y=%d width=%.1f height=9 /><rect class=unit x=%d y=%d width=%.1f height=3 />"
                "<title>%u %s\n%llu cycles of the total\n%llu cycles of unit %s (alone: %llu for multiplying, %llu for "
                "weights)</title>",
                (int)l->bound, names, y + 3, (double)l->cycles * scale, names, y + 13, (double)l->unit_cycles * scale,
                i, operator_name(a, (int32_t)i), (unsigned long long)l->cycles, (unsigned long long)l->unit_cycles,
                systole_unit_name(l->unit), (unsigned long long)l->compute_cycles,
                (unsigned long long)l->weight_cycles);
        fprintf(page, "<text class=\"label right\" x=%d y=%d>", WIDTH - 146, y + 13);
        html_number(page, l->cycles);
        fprintf(page, "</text>");
        if (l->utilisation > 0) {
            fprintf(page, "<text class=\"label right\" x=%d y=%d>%.0f %%</text>", WIDTH - 78, y + 13,
                    100 * l->utilisation);
        }
        fprintf(page, "<text class=\"label left\" x=%d y=%d>%s</text></g>", WIDTH - 66, y + 13,
                html_bound_name(l->bound));
    }
    fprintf(page, "</svg>");
}

struct roof {
    double left, right, bottom, top; // decades
};
#define ROOF_HEIGHT 380
static double roof_x(const struct roof *r, double intensity) {
    return 64 + (log10(intensity) - r->left) / (r->right - r->left) * (WIDTH - 64 - 20);
}
static double roof_y(const struct roof *r, double rate) {
    return 12 + (r->top - log10(rate)) / (r->top - r->bottom) * (ROOF_HEIGHT - 60);
}

// min(peak, bytes a cycle times intensity), from the left edge to the right.
static void roof_line(FILE *page, const struct roof *r, const char *class, double peak, double bytes,
                      const char *text) {
    double from = pow(10, r->left), to = pow(10, r->right), ridge = peak / bytes;
    double low = pow(10, r->bottom);
    from = bytes * from < low ? low / bytes : from;
    ridge = ridge < from ? from : ridge > to ? to : ridge;
    fprintf(page, "<path class=\"%s\" d=\"M%.1f %.1fL%.1f %.1fL%.1f %.1f\" />", class, roof_x(r, from),
            roof_y(r, bytes * from < peak ? bytes * from : peak), roof_x(r, ridge),
            roof_y(r, bytes * ridge < peak ? bytes * ridge : peak), roof_x(r, to),
            roof_y(r, bytes * to < peak ? bytes * to : peak));
    fprintf(page, "<text class=\"label muted right\" x=%.1f y=%.1f>%s</text>", roof_x(r, to) - 6,
            roof_y(r, bytes * to < peak ? bytes * to : peak) - 10, text);
}

void html_roofline(FILE *page, const struct html_analysis *a) {
    const struct systole_target *target = &a->measurement->subject->program.target;
    double array = (double)target->rows * target->columns, depthwise = (double)target->taps * target->columns;
    struct roof r = {.left = 0, .right = 1, .bottom = floor(log10(depthwise)), .top = ceil(log10(array * 1.2))};
    for (uint32_t i = 0; i < a->layer_count; i++) {
        const struct html_layer *l = &a->layers[i];
        if (l->utilisation > 0 && l->weight_bytes > 0) {
            double intensity = log10((double)l->macs / (double)l->weight_bytes);
            double rate = log10((double)l->macs / (double)l->unit_cycles);
            r.left = floor(intensity) < r.left ? floor(intensity) : r.left;
            r.right = ceil(intensity + 0.01) > r.right ? ceil(intensity + 0.01) : r.right;
            r.bottom = floor(rate) < r.bottom ? floor(rate) : r.bottom;
        }
    }
    fprintf(page, "<svg viewBox=\"0 0 %d %d\" role=img aria-label=roofline>", WIDTH, ROOF_HEIGHT);
    for (int d = (int)r.left; d <= (int)r.right; d++) {
        fprintf(page, "<line class=grid x1=%.1f x2=%.1f y1=12 y2=%d /><text class=tick x=%.1f y=%d>%g</text>",
                roof_x(&r, pow(10, d)), roof_x(&r, pow(10, d)), ROOF_HEIGHT - 48, roof_x(&r, pow(10, d)),
                ROOF_HEIGHT - 32, pow(10, d));
    }
    for (int d = (int)r.bottom; d <= (int)r.top; d++) {
        fprintf(page, "<line class=grid x1=64 x2=%d y1=%.1f y2=%.1f /><text class=\"tick right\" x=58 y=%.1f>%g</text>",
                WIDTH - 20, roof_y(&r, pow(10, d)), roof_y(&r, pow(10, d)), roof_y(&r, pow(10, d)) + 4, pow(10, d));
    }
    fprintf(
        page,
        "<text class=tick x=%d y=%d>multiply-accumulates per byte of weights fetched</text>"
        "<text class=tick transform=\"translate(14 %d) rotate(-90)\">multiply-accumulates per cycle of the unit</text>",
        WIDTH / 2, ROOF_HEIGHT - 12, (ROOF_HEIGHT - 48) / 2 + 6);
    char text[96];
    (void)snprintf(text, sizeof text, "array: %.0f multipliers, weight port %u bytes a cycle", array,
                   target->weight_port_rows * target->columns);
    roof_line(page, &r, "roof", array, (double)target->weight_port_rows * target->columns, text);
    (void)snprintf(text, sizeof text, "depthwise: %.0f multipliers, %u bytes of weights a cycle", depthwise,
                   target->columns);
    roof_line(page, &r, "roof two", depthwise, target->columns, text);
    for (uint32_t i = 0; i < a->layer_count; i++) {
        const struct html_layer *l = &a->layers[i];
        if (l->utilisation > 0 && l->weight_bytes > 0) {
            double intensity = (double)l->macs / (double)l->weight_bytes,
                   rate = (double)l->macs / (double)l->unit_cycles;
            double x = roof_x(&r, intensity), y = roof_y(&r, rate);
            fprintf(page, "<g class=point>");
            if (l->unit == SYSTOLE_UNIT_ARRAY) {
                fprintf(page, "<circle class=\"b%d\" cx=%.1f cy=%.1f r=5 />", (int)l->bound, x, y);
            } else {
                fprintf(page, "<path class=\"b%d\" d=\"M%.1f %.1fl6 10h-12z\" />", (int)l->bound, x, y - 6);
            }
            fprintf(page,
                    "<title>%u %s\n%.1f multiply-accumulates a byte, %.1f a cycle, utilisation %.0f %%</title></g>", i,
                    operator_name(a, (int32_t)i), intensity, rate, 100 * l->utilisation);
        }
    }
    fprintf(page, "</svg>");
}

void html_units_chart(FILE *page, const struct html_analysis *a) {
    const int row = 30;
    fprintf(page, "<svg viewBox=\"0 0 %d %d\" role=img aria-label=\"what each unit did\">", WIDTH,
            row * (int)SYSTOLE_UNITS + 4);
    for (uint32_t unit = 0; unit < SYSTOLE_UNITS; unit++) {
        int y = row * (int)unit;
        uint64_t at = 0;
        fprintf(page, "<text class=\"label right\" x=%d y=%d>%s</text>", LEFT - 8, y + 19, systole_unit_name(unit));
        for (uint32_t kind = 0; kind < SYSTOLE_COUNTER_KINDS; kind++) {
            uint64_t count = a->measurement->cycles->counters[unit][kind];
            double x = time_x(a, at), width = time_x(a, at + count) - x, share = 100 * (double)count / total_of(a);
            fprintf(
                page,
                "<g><rect class=\"k%u\" x=%.1f y=%d width=%.1f height=22 /><title>%s %s: %llu cycles, %.1f %%</title>",
                kind, x, y + 3, width, systole_unit_name(unit), systole_counter_name(kind), (unsigned long long)count,
                share);
            if (width > 44) {
                fprintf(page, "<text class=\"inside i%u\" x=%.1f y=%d>%.1f %%</text>", kind, x + width / 2, y + 18,
                        share);
            }
            fprintf(page, "</g>");
            at += count;
        }
    }
    fprintf(page, "</svg>");
}

void html_timeline(FILE *page, const struct html_analysis *a) {
    const struct cli_measurement *m = a->measurement;
    const int row = 26, bottom = row * ((int)SYSTOLE_UNITS + 1) + 2;
    fprintf(page, "<svg viewBox=\"0 0 %d %d\" role=img aria-label=timeline>", WIDTH, bottom + 34);
    time_axis(page, a, 0, bottom);
    fprintf(page, "<text class=\"label right\" x=%d y=17>operators</text>", LEFT - 8);
    uint64_t now = 0;
    for (uint32_t o = 0; o < a->layer_count; o++) {
        uint64_t cycles = a->layers[o].cycles;
        if (cycles > 0) {
            double x = time_x(a, now), width = time_x(a, now + cycles) - x;
            fprintf(page,
                    "<g><rect class=\"b%d cell\" x=%.2f y=3 width=%.2f height=20 /><title>%u %s: %llu cycles</title>",
                    (int)a->layers[o].bound, x, width, o, operator_name(a, (int32_t)o), (unsigned long long)cycles);
            if (width > 16) {
                fprintf(page, "<text class=\"inside\" x=%.1f y=17>%u</text>", x + width / 2, o);
            }
            fprintf(page, "</g>");
        }
        now += cycles;
    }
    for (uint32_t unit = 0; unit < SYSTOLE_UNITS; unit++) {
        fprintf(page, "<text class=\"label right\" x=%d y=%d>%s</text>", LEFT - 8, row * ((int)unit + 1) + 17,
                systole_unit_name(unit));
    }
    uint64_t free[SYSTOLE_UNITS] = {0};
    for (uint32_t i = 0; i < m->cycles->trace_count; i++) {
        const struct systole_traced *t = &m->cycles->trace[i];
        int32_t owner = m->subject->program.segments[t->segment].info[t->command].operator_index;
        uint64_t from = t->start > free[t->unit] ? t->start : free[t->unit];
        double x = time_x(a, from), width = time_x(a, t->end) - x;
        free[t->unit] = t->end;
        fprintf(page,
                "<rect class=\"b%d cell\" x=%.2f y=%d width=%.2f height=20><title>%d %s, command %u: %llu to "
                "%llu</title></rect>",
                owner >= 0 && (uint32_t)owner < a->layer_count ? (int)a->layers[owner].bound : (int)HTML_ACTIVATIONS, x,
                row * ((int)t->unit + 1) + 3, width, owner, operator_name(a, owner), t->command,
                (unsigned long long)t->start, (unsigned long long)t->end);
    }
    fprintf(page, "</svg>");
}

// Where words are drawn: stretches that some tensor ever takes, one above the other, with a break between them.
struct stretch {
    uint64_t first, end;
    double y; // of its first word
};

static int compare_stretches(const void *a, const void *b) {
    const struct stretch *x = a, *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

#define MAP_HEIGHT 300
#define MAP_BREAK 10.0
// Returns their number and the height of a word.
static uint32_t find_stretches(const struct html_analysis *a, struct stretch *list, double *scale) {
    uint32_t count = 0;
    uint64_t words = 0;
    for (uint32_t i = 0; i < a->lifetime_count; i++) {
        const struct html_lifetime *life = &a->lifetimes[i];
        list[i] = (struct stretch){life->word, (uint64_t)life->word + life->words, 0};
    }
    qsort(list, a->lifetime_count, sizeof *list, compare_stretches);
    for (uint32_t i = 0; i < a->lifetime_count; i++) {
        if (count > 0 && list[i].first <= list[count - 1].end + 64) {
            list[count - 1].end = list[i].end > list[count - 1].end ? list[i].end : list[count - 1].end;
        } else {
            list[count++] = list[i];
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        words += list[i].end - list[i].first;
    }
    *scale = words > 0 ? (MAP_HEIGHT - MAP_BREAK * (count - 1)) / (double)words : 1;
    double y = MAP_HEIGHT;
    for (uint32_t i = 0; i < count; i++) {
        list[i].y = y;
        y -= (double)(list[i].end - list[i].first) * *scale + MAP_BREAK;
    }
    return count;
}

static void word_tick(FILE *page, uint64_t word, double y, double *last) {
    if (*last - y >= 13) {
        fprintf(page, "<text class=\"tick right\" x=%d y=%.1f>", LEFT - 6, y + 4 > 10 ? y + 4 : 10);
        html_number(page, word);
        fprintf(page, "</text>");
        *last = y;
    }
}

void html_memory_map(FILE *page, const struct html_analysis *a) {
    const uint32_t columns = a->measurement->subject->program.target.columns;
    struct stretch *list = calloc((size_t)a->lifetime_count + 1, sizeof *list);
    double scale = 1, tick = 2 * MAP_HEIGHT;
    if (list == NULL || a->lifetime_count == 0 || a->lifetime_count > 4096) {
        fprintf(page, "<p>No tensors to show.</p>");
        free(list);
        return;
    }
    uint32_t count = find_stretches(a, list, &scale);
    fprintf(page, "<svg viewBox=\"0 0 %d %d\" role=img aria-label=\"memory over time\">", WIDTH, MAP_HEIGHT + 36);
    time_axis(page, a, 0, MAP_HEIGHT);
    fprintf(page, "<text class=tick transform=\"translate(14 %d) rotate(-90)\">scratchpad words of %u bytes</text>",
            MAP_HEIGHT / 2, columns);
    for (uint32_t i = 0; i < count; i++) {
        double top = list[i].y - (double)(list[i].end - list[i].first) * scale;
        fprintf(page, "<line class=grid x1=%d x2=%d y1=%.1f y2=%.1f />", LEFT, WIDTH - 24, list[i].y, list[i].y);
        fprintf(page, "<line class=grid x1=%d x2=%d y1=%.1f y2=%.1f />", LEFT, WIDTH - 24, top, top);
        word_tick(page, list[i].first, list[i].y, &tick);
        for (uint64_t step = round_step(list[i].end - list[i].first, 5), w = (list[i].first / step + 1) * step;
             w < list[i].end; w += step) {
            double y = list[i].y - (double)(w - list[i].first) * scale;
            if (y - top >= 13) {
                word_tick(page, w, y, &tick);
            }
        }
        word_tick(page, list[i].end, top, &tick);
    }
    for (uint32_t i = 0; i < a->lifetime_count; i++) {
        const struct html_lifetime *life = &a->lifetimes[i];
        uint32_t at = 0;
        while (at + 1 < count && life->word >= list[at].end) {
            at++;
        }
        double x = time_x(a, life->from), width = time_x(a, life->to) - x, tall = (double)life->words * scale;
        double y = list[at].y - (double)(life->word - list[at].first) * scale - tall;
        fprintf(page, "<g><rect class=\"t%u\" x=%.1f y=%.1f width=%.1f height=%.1f /><title>tensor %d, %s: ",
                life->region == SYSTOLE_REGION_ACTIVATIONS ? 0u : 1u, x, y, width > 0.7 ? width : 0.7,
                tall > 0.7 ? tall : 0.7, life->tensor, systole_region_name(life->region));
        if (life->tensor >= 0 && (uint32_t)life->tensor < graph_of(a)->tensor_count) {
            html_text(page, graph_of(a)->tensors[life->tensor].name);
        }
        fprintf(page, "\n%u words at %u, cycles %llu to %llu</title>", life->words, life->word,
                (unsigned long long)life->from, (unsigned long long)life->to);
        if (width > 30 && tall > 13) {
            fprintf(page, "<text class=inside x=%.1f y=%.1f>%d</text>", x + width / 2, y + tall / 2 + 4, life->tensor);
        }
        fprintf(page, "</g>");
    }
    fprintf(page, "</svg>");
    free(list);
}
