// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The page of `run --html`: html_analysis.c finds what to say, html_charts.c draws, html_page.c puts it together.
#ifndef SYSTOLE_HTML_H
#define SYSTOLE_HTML_H

#include <stdio.h>

#include "cli.h"

// What keeps an operator from being faster.
enum html_bound { HTML_COMPUTE, HTML_WEIGHTS, HTML_ACTIVATIONS, HTML_LINK, HTML_BOUNDS };

struct html_layer {
    bool on_device; // has commands
    uint32_t unit;  // that does most of its work
    enum html_bound bound;
    uint64_t cycles;      // of the total
    uint64_t unit_cycles; // of its unit: busy and waiting for memory
    uint64_t macs;
    uint64_t weight_bytes;                  // fetched, with every repetition
    uint64_t compute_cycles, weight_cycles; // what its unit would need for either alone
    double utilisation;                     // of its unit's multipliers while the unit was at it; 0: no multiplications
};

// A tensor's stay in the scratchpad.
struct html_lifetime {
    int32_t tensor;
    uint32_t segment, region, word, words; // absolute word
    uint64_t from, to;
};

struct html_analysis {
    const struct cli_measurement *measurement;
    struct html_layer *layers; // one an operator
    uint32_t layer_count;
    struct html_lifetime *lifetimes;
    uint32_t lifetime_count;
    uint64_t peak_words; // of tensors alive at the same time
};

bool html_analyse(const struct cli_measurement *measurement, struct html_analysis *analysis); // false: no memory
void html_analysis_free(struct html_analysis *analysis);

void html_text(FILE *page, const char *text); // escaped
void html_number(FILE *page, uint64_t value); // with thousands' separators
const char *html_bound_name(enum html_bound bound);

void html_layers_chart(FILE *page, const struct html_analysis *analysis);
void html_roofline(FILE *page, const struct html_analysis *analysis);
void html_units_chart(FILE *page, const struct html_analysis *analysis);
void html_timeline(FILE *page, const struct html_analysis *analysis);
void html_memory_map(FILE *page, const struct html_analysis *analysis);

#endif
