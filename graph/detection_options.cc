// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A FlexBuffer is not trusted either: FlexBuffers' verifier goes first, then each value's kind and range is checked.
// Texts are not converted to numbers here; the locale for it would lie in a library.
#define FLATBUFFERS_LOCALE_INDEPENDENT 0
#include <cmath>
#include <flatbuffers/flexbuffers.h>
#include <new>
#include <vector>

extern "C" {
#include "detection_options.h"
}

namespace {

constexpr int64_t kLargestCount = 1 << 20;

systole_status Refuse(systole_diagnostic *diagnostic, const char *key, const char *problem) {
    return systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, SYSTOLE_DETECTION_OPERATOR, "convert the model again",
                        "the option %s %s", key, problem);
}

systole_status ReadCount(const flexbuffers::Map &map, const char *key, int32_t otherwise, int32_t *count,
                         systole_diagnostic *diagnostic) {
    flexbuffers::Reference value = map[key];
    if (value.IsNull() && otherwise > 0) {
        *count = otherwise;
        return SYSTOLE_OK;
    }
    int64_t number = value.IsIntOrUint() ? value.AsInt64() : 0;
    if (number < 1 || number > kLargestCount) {
        return Refuse(diagnostic, key, "is not a number from 1 to 1048576");
    }
    *count = static_cast<int32_t>(number);
    return SYSTOLE_OK;
}

systole_status ReadFloat(const flexbuffers::Map &map, const char *key, float *number, systole_diagnostic *diagnostic) {
    flexbuffers::Reference value = map[key];
    *number = value.IsNumeric() ? value.AsFloat() : NAN;
    return std::isfinite(*number) ? SYSTOLE_OK : Refuse(diagnostic, key, "is missing or not a finite number");
}

systole_status Read(const systole_operator *op, systole_detection_options *options, systole_diagnostic *diagnostic) {
    if (op->custom_options == nullptr || op->custom_options_size < 3) {
        return Refuse(diagnostic, "buffer", "is missing");
    }
    std::vector<uint8_t> tracker;
    if (!flexbuffers::VerifyBuffer(op->custom_options, op->custom_options_size, &tracker)) {
        return Refuse(diagnostic, "buffer", "is not a valid FlexBuffer");
    }
    flexbuffers::Reference root = flexbuffers::GetRoot(op->custom_options, op->custom_options_size);
    if (!root.IsMap()) {
        return Refuse(diagnostic, "buffer", "is not a map");
    }
    flexbuffers::Map map = root.AsMap();
    *options = {};
    const struct {
        const char *key;
        int32_t otherwise, *to;
    } counts[] = {
        {"max_detections", 0, &options->max_detections},
        {"max_classes_per_detection", 0, &options->max_classes_per_detection},
        {"num_classes", 0, &options->classes},
        {"detections_per_class", 100, &options->detections_per_class},
    };
    const struct {
        const char *key;
        float *to;
        bool divides;
    } numbers[] = {
        {"nms_score_threshold", &options->score_threshold, false},
        {"nms_iou_threshold", &options->iou_threshold, false},
        {"y_scale", &options->y_scale, true},
        {"x_scale", &options->x_scale, true},
        {"h_scale", &options->h_scale, true},
        {"w_scale", &options->w_scale, true},
    };
    systole_status status = SYSTOLE_OK;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0] && status == SYSTOLE_OK; i++) {
        status = ReadCount(map, counts[i].key, counts[i].otherwise, counts[i].to, diagnostic);
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0] && status == SYSTOLE_OK; i++) {
        status = ReadFloat(map, numbers[i].key, numbers[i].to, diagnostic);
        if (status == SYSTOLE_OK && numbers[i].divides && std::fpclassify(*numbers[i].to) == FP_ZERO) {
            status = Refuse(diagnostic, numbers[i].key, "is 0");
        }
    }
    if (status == SYSTOLE_OK && !(options->iou_threshold > 0.0F && options->iou_threshold <= 1.0F)) {
        status = Refuse(diagnostic, "nms_iou_threshold", "is not above 0 and at most 1");
    }
    flexbuffers::Reference regular = map["use_regular_nms"];
    options->use_regular_nms = (regular.IsBool() || regular.IsNumeric()) && regular.AsBool();
    return status;
}

} // namespace

extern "C" systole_status systole_detection_options_read(const systole_operator *op, systole_detection_options *options,
                                                         systole_diagnostic *diagnostic) {
    try {
        return Read(op, options, diagnostic);
    } catch (const std::bad_alloc &) {
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, SYSTOLE_DETECTION_OPERATOR, "", "no memory");
    }
}
