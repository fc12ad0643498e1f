// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// TFLite_Detection_PostProcess (detection_postprocess.cc): boxes are decoded against their anchors, those with a score
// under the threshold dropped, and of boxes that overlap only the best is kept: by each box's best class ("fast"), or
// class by class ("regular"). Equal scores keep the order of the boxes. Outputs behind the last detection are 0.
#include "detection_options.h"
#include "kernel.h"
#include "quantised_parameters.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ENCODINGS = 0, SCORES = 1, ANCHORS = 2 };
enum { BOXES = 0, CLASSES = 1, BEST_SCORES = 2, COUNT = 3, OUTPUTS = 4 };

struct box {
    float ymin, xmin, ymax, xmax;
};

struct candidate {
    float score;
    uint32_t box, class_index;
};

struct detection {
    struct systole_detection_options options;
    size_t boxes, coordinates, score_columns; // columns: classes and perhaps the background before them
    size_t label_offset, classes_kept;        // a box
    float scale[3];
    int32_t zero_point[3]; // of inputs that are quantised
};

// Working memory of one run.
struct work {
    struct box *boxes;
    float *scores;                    // of all boxes in one class, or in their best
    uint32_t *best;                   // classes_kept a box, in falling order
    struct candidate *candidates;     // that are above the threshold
    struct candidate *selected, *all; // of one pass, of all passes
    struct candidate *ranking;        // of one box's classes; `box` is the class
    bool *dropped;
};

static enum systole_status check_input(const struct systole_kernel_call *call, uint32_t place, int32_t rank,
                                       struct detection *d, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *tensor = systole_kernel_input(call, place);
    if (tensor == NULL || tensor->rank != rank) {
        return systole_kernel_refuse(call, diagnostic, "", "input %u does not have %d dimensions", place, rank);
    }
    if (tensor->dtype == SYSTOLE_FLOAT32) {
        return SYSTOLE_OK;
    }
    return systole_tensor_affine(call->graph, call->operator_index, call->op->inputs[place], "input", &d->scale[place],
                                 &d->zero_point[place], diagnostic);
}

static enum systole_status check_outputs(const struct systole_kernel_call *call, size_t detections,
                                         struct systole_diagnostic *diagnostic) {
    const size_t elements[OUTPUTS] = {4 * detections, detections, detections, 1};
    if (call->op->output_count != OUTPUTS) {
        return systole_kernel_refuse(call, diagnostic, "", "there are %u outputs, not 4", call->op->output_count);
    }
    for (uint32_t i = 0; i < OUTPUTS; i++) {
        int32_t index = call->op->outputs[i];
        if (index < 0 || call->graph->tensors[index].dtype != SYSTOLE_FLOAT32 ||
            systole_tensor_elements(&call->graph->tensors[index]) != elements[i]) {
            return systole_kernel_refuse(call, diagnostic, "", "output %u is not %zu elements of FLOAT32", i,
                                         elements[i]);
        }
    }
    return SYSTOLE_OK;
}

static enum systole_status prepare(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    if (call->op->custom_name == NULL || strcmp(call->op->custom_name, SYSTOLE_DETECTION_OPERATOR) != 0) {
        return systole_kernel_refuse(call, diagnostic, "", "there is no kernel for the custom operator %.60s",
                                     call->op->custom_name != NULL ? call->op->custom_name : "without a name");
    }
    enum systole_status status = systole_kernel_state(call, sizeof(struct detection), diagnostic);
    struct detection *d = call->state;
    if (status == SYSTOLE_OK) {
        status = systole_detection_options_read(call->op, &d->options, diagnostic);
    }
    for (uint32_t i = 0; i < 3 && status == SYSTOLE_OK; i++) {
        status = check_input(call, i, i == ANCHORS ? 2 : 3, d, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    const struct systole_tensor *encodings = systole_kernel_input(call, ENCODINGS);
    const struct systole_tensor *scores = systole_kernel_input(call, SCORES);
    const struct systole_tensor *anchors = systole_kernel_input(call, ANCHORS);
    int32_t background = scores->shape[2] - d->options.classes;
    if (encodings->shape[0] != 1 || scores->shape[0] != 1 || encodings->shape[1] != scores->shape[1] ||
        anchors->shape[0] != scores->shape[1] || encodings->shape[2] < 4 || anchors->shape[1] != 4 ||
        (background != 0 && background != 1)) {
        return systole_kernel_refuse(call, diagnostic, "", "boxes, scores of %d classes and anchors do not fit",
                                     d->options.classes);
    }
    d->boxes = (size_t)scores->shape[1];
    d->coordinates = (size_t)encodings->shape[2];
    d->score_columns = (size_t)scores->shape[2];
    d->label_offset = (size_t)background;
    int32_t kept = d->options.max_classes_per_detection;
    if (d->options.use_regular_nms) {
        kept = 1;
    }
    d->classes_kept = (size_t)(kept < d->options.classes ? kept : d->options.classes);
    return check_outputs(call, (size_t)d->options.max_detections * (size_t)d->options.max_classes_per_detection,
                         diagnostic);
}

static float value(const struct systole_kernel_call *call, uint32_t place, size_t i) {
    const struct detection *d = call->state;
    const uint8_t *bytes = systole_kernel_input_bytes(call, place);
    switch (systole_kernel_input(call, place)->dtype) {
    case SYSTOLE_UINT8:
        return (float)(bytes[i] - d->zero_point[place]) * d->scale[place];
    case SYSTOLE_INT8:
        return (float)((int8_t)bytes[i] - d->zero_point[place]) * d->scale[place];
    default:
        return ((const float *)(const void *)bytes)[i];
    }
}

static float score(const struct systole_kernel_call *call, size_t box, size_t class_index) {
    const struct detection *d = call->state;
    return value(call, SCORES, box * d->score_columns + d->label_offset + class_index);
}

static struct box decode(const struct systole_kernel_call *call, size_t i) {
    const struct detection *d = call->state;
    double code[4], anchor[4]; // centre y, x, height, width
    for (size_t k = 0; k < 4; k++) {
        code[k] = (double)value(call, ENCODINGS, i * d->coordinates + k);
        anchor[k] = (double)value(call, ANCHORS, i * 4 + k);
    }
    float y = (float)(code[0] / (double)d->options.y_scale * anchor[2] + anchor[0]);
    float x = (float)(code[1] / (double)d->options.x_scale * anchor[3] + anchor[1]);
    float half_height = (float)(0.5 * exp(code[2] / (double)d->options.h_scale) * anchor[2]);
    float half_width = (float)(0.5 * exp(code[3] / (double)d->options.w_scale) * anchor[3]);
    return (struct box){y - half_height, x - half_width, y + half_height, x + half_width};
}

static float area(const struct box *b) {
    return (b->ymax - b->ymin) * (b->xmax - b->xmin);
}

static float intersection_over_union(const struct box *a, const struct box *b) {
    float area_a = area(a), area_b = area(b);
    if (!(area_a > 0.0f) || !(area_b > 0.0f)) {
        return 0.0f;
    }
    float height = fminf(a->ymax, b->ymax) - fmaxf(a->ymin, b->ymin);
    float width = fminf(a->xmax, b->xmax) - fmaxf(a->xmin, b->xmin);
    float common = fmaxf(height, 0.0f) * fmaxf(width, 0.0f);
    return common / (area_a + area_b - common);
}

static int by_falling_score(const void *left, const void *right) {
    const struct candidate *a = left, *b = right;
    if (a->score > b->score || a->score < b->score) {
        return a->score > b->score ? -1 : 1;
    }
    return a->box < b->box ? -1 : a->box > b->box;
}

// Non-maximum suppression over w->scores into w->selected; returns how many.
static size_t suppress(const struct detection *d, const struct work *w, size_t most) {
    size_t count = 0, selected = 0;
    for (size_t i = 0; i < d->boxes; i++) {
        if (w->scores[i] >= d->options.score_threshold) {
            w->dropped[count] = false;
            w->candidates[count++] = (struct candidate){w->scores[i], (uint32_t)i, 0};
        }
    }
    qsort(w->candidates, count, sizeof *w->candidates, by_falling_score);
    for (size_t i = 0; i < count && selected < most; i++) {
        if (w->dropped[i]) {
            continue;
        }
        w->selected[selected++] = w->candidates[i];
        for (size_t k = i + 1; k < count; k++) {
            if (!w->dropped[k]) {
                w->dropped[k] = intersection_over_union(&w->boxes[w->candidates[i].box],
                                                        &w->boxes[w->candidates[k].box]) > d->options.iou_threshold;
            }
        }
    }
    return selected;
}

static float *output(const struct systole_kernel_call *call, uint32_t i) {
    return (float *)(void *)call->tensors[call->op->outputs[i]];
}

static void write(const struct systole_kernel_call *call, size_t slot, const struct box *box, size_t class_index,
                  float best) {
    float corners[4] = {box->ymin, box->xmin, box->ymax, box->xmax};
    memcpy(output(call, BOXES) + 4 * slot, corners, sizeof corners);
    output(call, CLASSES)[slot] = (float)class_index;
    output(call, BEST_SCORES)[slot] = best;
}

static void run_fast(const struct systole_kernel_call *call, const struct work *w) {
    const struct detection *d = call->state;
    size_t classes = (size_t)d->options.classes;
    for (size_t i = 0; i < d->boxes; i++) {
        uint32_t *best = w->best + i * d->classes_kept;
        for (size_t c = 0; c < classes; c++) {
            float s = score(call, i, c);
            w->ranking[c] = (struct candidate){s == s ? s : -INFINITY, (uint32_t)c, 0}; // the order must be total
        }
        qsort(w->ranking, classes, sizeof *w->ranking, by_falling_score);
        for (size_t k = 0; k < d->classes_kept; k++) {
            best[k] = w->ranking[k].box;
        }
        w->scores[i] = score(call, i, best[0]);
    }
    size_t count = suppress(d, w, (size_t)d->options.max_detections);
    for (size_t i = 0; i < count; i++) {
        size_t box = w->selected[i].box;
        for (size_t k = 0; k < d->classes_kept; k++) {
            size_t class_index = w->best[box * d->classes_kept + k];
            write(call, i * (size_t)d->options.max_classes_per_detection + k, &w->boxes[box], class_index,
                  score(call, box, class_index));
        }
    }
    output(call, COUNT)[0] = (float)count;
}

static void run_regular(const struct systole_kernel_call *call, const struct work *w) {
    const struct detection *d = call->state;
    size_t most = (size_t)d->options.max_detections, per_class = (size_t)d->options.detections_per_class, count = 0;
    for (size_t c = 0; c < (size_t)d->options.classes; c++) {
        for (size_t i = 0; i < d->boxes; i++) {
            w->scores[i] = score(call, i, c);
        }
        size_t found = suppress(d, w, per_class < most ? per_class : most);
        // Both lists fall: they are merged from their ends, earlier classes first among equals, and cut.
        size_t total = count + found, from_all = count, from_new = found;
        for (size_t slot = total; slot-- > 0;) {
            bool takes_new =
                from_new > 0 && (from_all == 0 || !(w->selected[from_new - 1].score > w->all[from_all - 1].score));
            w->all[slot] = takes_new ? w->selected[--from_new] : w->all[--from_all];
            if (takes_new) {
                w->all[slot].class_index = (uint32_t)c;
            }
        }
        count = total < most ? total : most;
    }
    for (size_t i = 0; i < count; i++) {
        write(call, i, &w->boxes[w->all[i].box], w->all[i].class_index, w->all[i].score);
    }
    output(call, COUNT)[0] = (float)count;
}

static enum systole_status run(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct detection *d = call->state;
    size_t most = (size_t)d->options.max_detections;
    struct work w = {
        .boxes = malloc(d->boxes * sizeof *w.boxes),
        .scores = malloc(d->boxes * sizeof *w.scores),
        .best = malloc(d->boxes * d->classes_kept * sizeof *w.best),
        .candidates = malloc(d->boxes * sizeof *w.candidates),
        .selected = malloc(most * sizeof *w.selected),
        .all = malloc(2 * most * sizeof *w.all),
        .ranking = malloc((size_t)d->options.classes * sizeof *w.ranking),
        .dropped = malloc(d->boxes * sizeof *w.dropped),
    };
    enum systole_status status = SYSTOLE_OK;
    if (w.boxes == NULL || w.scores == NULL || w.best == NULL || w.candidates == NULL || w.selected == NULL ||
        w.all == NULL || w.ranking == NULL || w.dropped == NULL) {
        status = systole_kernel_no_memory(call, diagnostic);
        goto out;
    }
    for (uint32_t i = 0; i < OUTPUTS; i++) {
        memset(output(call, i), 0, call->graph->tensors[call->op->outputs[i]].size);
    }
    for (size_t i = 0; i < d->boxes; i++) {
        w.boxes[i] = decode(call, i);
    }
    (d->options.use_regular_nms ? run_regular : run_fast)(call, &w);
out:
    free(w.dropped);
    free(w.ranking);
    free(w.all);
    free(w.selected);
    free(w.candidates);
    free(w.best);
    free(w.scores);
    free(w.boxes);
    return status;
}

const struct systole_kernel systole_detection_kernels[] = {
    {SYSTOLE_OP_CUSTOM, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare, run, NULL},
    {SYSTOLE_OP_CUSTOM, SYSTOLE_UINT8, SYSTOLE_FLOAT32, prepare, run, NULL},
    {SYSTOLE_OP_CUSTOM, SYSTOLE_INT8, SYSTOLE_FLOAT32, prepare, run, NULL},
    {0},
};
