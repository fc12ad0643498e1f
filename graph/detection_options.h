// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Options of the custom operator TFLite_Detection_PostProcess, which lie in a FlexBuffer of their own.
#ifndef SYSTOLE_DETECTION_OPTIONS_H
#define SYSTOLE_DETECTION_OPTIONS_H

#include "graph.h"

#define SYSTOLE_DETECTION_OPERATOR "TFLite_Detection_PostProcess"

struct systole_detection_options {
    int32_t max_detections, max_classes_per_detection, classes;
    int32_t detections_per_class; // of regular suppression
    bool use_regular_nms;         // each class on its own; false: every box by its best class
    float score_threshold, iou_threshold;
    float y_scale, x_scale, h_scale, w_scale;
};

// Checks every value: counts 1 to 2^20, the threshold of intersection over union in (0, 1], scales finite and not 0.
enum systole_status systole_detection_options_read(const struct systole_operator *op,
                                                   struct systole_detection_options *options,
                                                   struct systole_diagnostic *diagnostic);

#endif
