// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A sample's answer is the order of its classes by score; among equal scores the lower class comes first, as
// TensorFlow's arg max has it. The first output's elements are the classes.
#include "accuracy.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "samples.h"

#define BEST 5

struct labels {
    uint32_t *classes;
    uint32_t count;
};

// One class a line; `text` ends with a NUL behind its `size` bytes.
static enum systole_status parse_labels(const char *path, const char *text, size_t size, struct labels *labels,
                                        struct systole_diagnostic *diagnostic) {
    const char *next = text;
    for (;;) {
        while (isspace((unsigned char)*next)) {
            next++;
        }
        if (next == text + size) {
            return SYSTOLE_OK;
        }
        char *end;
        errno = 0;
        unsigned long value = strtoul(next, &end, 10);
        if (!isdigit((unsigned char)*next) || errno != 0 || value > UINT32_MAX ||
            (*end != '\0' && !isspace((unsigned char)*end))) {
            return systole_fail(diagnostic, SYSTOLE_BAD_FILE, path, "give the number of a class a line",
                                "label %u is no number", labels->count);
        }
        labels->classes[labels->count++] = (uint32_t)value;
        next = end;
    }
}

static enum systole_status read_labels(const char *path, struct labels *labels, struct systole_diagnostic *diagnostic) {
    uint8_t *bytes = NULL;
    size_t size = 0;
    enum systole_status status = systole_read_file(path, &bytes, &size, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    char *text = realloc(bytes, size + 1);
    labels->classes = malloc((size + 1) * sizeof *labels->classes);
    if (text == NULL || labels->classes == NULL) {
        free(text == NULL ? (char *)bytes : text);
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, path, "", "no memory for the labels");
    }
    text[size] = '\0';
    status = parse_labels(path, text, size, labels, diagnostic);
    free(text);
    return status;
}

// A model with its data, and what it has been right about.
struct contestant {
    const char *path, *device;
    struct cli_subject subject;
    bool is_open;
    struct systole_driver *driver;
    struct systole_session *session;
    struct cli_samples data;
    uint8_t **inputs; // the session's
    const struct systole_tensor *scores;
    uint32_t classes, first, among_best; // right answers
    uint32_t best[BEST];                 // of the last sample
};

static enum systole_status check_outputs(struct contestant *c, struct systole_diagnostic *diagnostic) {
    const struct systole_graph *graph = &c->subject.graph;
    if (graph->output_count == 0) {
        return systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, c->path, "", "the model has no output");
    }
    c->scores = &graph->tensors[graph->outputs[0]];
    if (!cli_holds_scores(c->scores)) {
        return systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, c->path, "give a classifier that ends with scores",
                            "scores of type %s", systole_dtype_name(c->scores->dtype));
    }
    c->classes = (uint32_t)systole_tensor_elements(c->scores);
    return SYSTOLE_OK;
}

static enum systole_status find_inputs(struct contestant *c, struct systole_diagnostic *diagnostic) {
    uint32_t count = systole_session_graph(c->session)->input_count;
    size_t size;
    c->inputs = calloc(count + (size_t)1, sizeof *c->inputs);
    if (c->inputs == NULL) {
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, c->path, "", "no memory for the model's inputs");
    }
    for (uint32_t i = 0; i < count; i++) {
        c->inputs[i] = systole_session_input(c->session, i, &size);
    }
    return SYSTOLE_OK;
}

static enum systole_status open_contestant(struct contestant *c, const struct cli_arguments *arguments,
                                           struct systole_diagnostic *diagnostic) {
    bool cpu = strcmp(c->device, "cpu") == 0;
    enum systole_kernel_level kernels = SYSTOLE_KERNELS_REFERENCE;
    enum systole_status status =
        cli_subject_open(c->path, cpu ? NULL : arguments->target, !cpu, NULL, &c->subject, diagnostic);
    c->is_open = status == SYSTOLE_OK;
    if (status == SYSTOLE_OK && cpu && !c->subject.is_model) {
        status = systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, c->path, "give the .tflite",
                              "a program holds no constants for the CPU");
    }
    if (status == SYSTOLE_OK) {
        status = check_outputs(c, diagnostic);
    }
    if (status == SYSTOLE_OK && !cpu) {
        const struct wiring_options wiring = {.faults = arguments->faults};
        status = wiring_open_driver(c->device, &c->subject.program.target, &wiring, &c->driver, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = cli_kernels(arguments, SYSTOLE_KERNELS_FASTEST, &kernels, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        const struct systole_session_options options = {
            .driver = c->driver, .kernels = kernels, .threads = arguments->threads};
        status = systole_session_create(cpu ? &c->subject.graph : NULL, cpu ? NULL : &c->subject.program, &options,
                                        &c->session, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = cli_samples_open(&c->data, arguments->inputs, arguments->input_count,
                                  systole_session_graph(c->session), &arguments->normalisation, diagnostic);
    }
    return status == SYSTOLE_OK ? find_inputs(c, diagnostic) : status;
}

static void close_contestant(struct contestant *c) {
    free(c->inputs);
    cli_samples_close(&c->data);
    systole_session_free(c->session);
    systole_driver_close(c->driver);
    if (c->is_open) {
        cli_subject_close(&c->subject);
    }
}

static enum systole_status answer(struct contestant *c, uint32_t sample, uint32_t label,
                                  struct systole_diagnostic *diagnostic) {
    size_t size;
    bool end = false;
    enum systole_status status = cli_samples_read(&c->data, sample, c->inputs, &end, diagnostic);
    if (status == SYSTOLE_OK) {
        systole_session_reset_states(c->session);
        status = systole_session_invoke(c->session, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    const uint8_t *bytes = systole_session_output(c->session, 0, &size);
    uint32_t known = 0;
    for (uint32_t k = 0; k < c->classes; k++) {
        double value = cli_stored_number(c->scores, bytes, k);
        uint32_t place = known < BEST ? known++ : BEST;
        while (place > 0 && value > cli_stored_number(c->scores, bytes, c->best[place - 1])) {
            if (place < BEST) {
                c->best[place] = c->best[place - 1];
            }
            place--;
        }
        if (place < BEST) {
            c->best[place] = k;
        }
    }
    c->first += c->best[0] == label;
    for (uint32_t k = 0; k < known; k++) {
        c->among_best += c->best[k] == label;
    }
    return SYSTOLE_OK;
}

static double percent(uint32_t part, uint32_t whole) {
    return 100.0 * part / whole;
}

static json_t *contestant_json(const struct contestant *c, uint32_t samples) {
    return json_pack("{s:o, s:s, s:f, s:f}", "model", cli_json_text(c->path), "device", c->device, "top1",
                     percent(c->first, samples), "top5", percent(c->among_best, samples));
}

static enum systole_status tell(const struct cli_arguments *arguments, const struct contestant *contestants,
                                uint32_t count, uint32_t samples, uint32_t agreed,
                                struct systole_diagnostic *diagnostic) {
    printf("%u samples, %u classes\n%9s %9s\n", samples, contestants[0].classes, "top-1", "top-5");
    for (uint32_t i = 0; i < count; i++) {
        const struct contestant *c = &contestants[i];
        printf("%7.2f %% %7.2f %%  %s on %s\n", percent(c->first, samples), percent(c->among_best, samples), c->path,
               c->device);
    }
    if (count == 2) {
        printf("%7.2f %%            same best class (%u samples differ)\n", percent(agreed, samples), samples - agreed);
    }
    enum systole_status status = SYSTOLE_OK;
    if (arguments->report != NULL) {
        json_t *report = contestant_json(&contestants[0], samples);
        json_object_set_new(report, "samples", json_integer(samples));
        if (count == 2) {
            json_object_set_new(report, "against", contestant_json(&contestants[1], samples));
            json_object_set_new(report, "agreement", json_real(percent(agreed, samples)));
        }
        status = cli_write_json(arguments->report, report, diagnostic);
        json_decref(report);
    }
    double lost = percent(contestants[count - 1].first, samples) - percent(contestants[0].first, samples);
    if (status == SYSTOLE_OK && arguments->within_given && lost > arguments->within) {
        status = systole_fail(diagnostic, SYSTOLE_MISMATCH, contestants[0].path, "",
                              "right %.2f points less often than %s, not within %g", lost, contestants[1].path,
                              arguments->within);
    }
    return status;
}

static enum systole_status count_samples(const struct cli_arguments *arguments, const struct contestant *contestants,
                                         const struct labels *labels, uint32_t *samples,
                                         struct systole_diagnostic *diagnostic) {
    uint64_t sets = contestants[0].data.sets;
    if (labels->count != sets) {
        return systole_fail(diagnostic, SYSTOLE_BAD_FILE, arguments->labels, "give a label for each sample, in order",
                            "%u labels for %" PRIu64 " samples", labels->count, sets);
    }
    *samples = arguments->samples != 0 && arguments->samples < labels->count ? arguments->samples : labels->count;
    for (uint32_t i = 0; i < *samples; i++) {
        if (labels->classes[i] >= contestants[0].classes) {
            return systole_fail(diagnostic, SYSTOLE_BAD_FILE, arguments->labels, "count classes from 0",
                                "label %u is %u, but the model has %u classes", i, labels->classes[i],
                                contestants[0].classes);
        }
    }
    return SYSTOLE_OK;
}

enum systole_status cli_verify_accuracy(const struct cli_arguments *arguments, struct systole_diagnostic *diagnostic) {
    struct labels labels = {NULL, 0};
    struct contestant contestants[2] = {{.path = arguments->positional[0], .device = arguments->device},
                                        {.path = arguments->against, .device = "cpu"}};
    uint32_t count = arguments->against != NULL ? 2 : 1, samples = 0, agreed = 0;
    enum systole_status status = read_labels(arguments->labels, &labels, diagnostic);
    for (uint32_t i = 0; i < count && status == SYSTOLE_OK; i++) {
        status = open_contestant(&contestants[i], arguments, diagnostic);
    }
    if (status == SYSTOLE_OK && count == 2 && contestants[0].classes != contestants[1].classes) {
        status = systole_fail(diagnostic, SYSTOLE_BAD_FILE, arguments->against, "compare models of the same classes",
                              "it has %u classes, %s has %u", contestants[1].classes, contestants[0].path,
                              contestants[0].classes);
    }
    if (status == SYSTOLE_OK) {
        status = count_samples(arguments, contestants, &labels, &samples, diagnostic);
    }
    bool shown = isatty(STDERR_FILENO) != 0;
    for (uint32_t i = 0; i < samples && status == SYSTOLE_OK; i++) {
        for (uint32_t k = 0; k < count && status == SYSTOLE_OK; k++) {
            status = answer(&contestants[k], i, labels.classes[i], diagnostic);
        }
        agreed += count == 2 && contestants[0].best[0] == contestants[1].best[0];
        if (shown && ((i + 1) % 50 == 0 || i + 1 == samples)) {
            fprintf(stderr, "\r%u of %u%s", i + 1, samples, i + 1 == samples ? "\r\x1b[K" : "");
        }
    }
    if (status == SYSTOLE_OK) {
        status = tell(arguments, contestants, count, samples, agreed, diagnostic);
    }
    for (uint32_t i = 0; i < count; i++) {
        close_contestant(&contestants[i]);
    }
    free(labels.classes);
    return status;
}
