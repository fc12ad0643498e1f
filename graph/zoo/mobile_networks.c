// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Networks of depthwise separable blocks and inverted bottlenecks, from the layer tables of their publications:
//   MobileNet (arXiv 1704.04861, table 1), MobileNetV2 (1801.04381, table 2), MobileNetEdgeTPU (the table V3_EDGETPU
//   of its reference implementation: full convolutions expand the early blocks), EfficientNet (1905.11946, table 1) in
//   its Lite variant: no squeeze-and-excitation, RELU6, first and last layer not scaled. DS-CNN is the small one of
//   "Hello Edge" (1711.07128) as MLPerf Tiny's keyword spotting uses it.
#include "network_builder.h"

#define CLASSES 1000
#define CLASS_GAIN 3.0f
#define ROWS(table) (sizeof(table) / sizeof(table)[0])

static void classify(struct zoo_network *network, int32_t features) {
    int32_t logits = zoo_fully_connected(network, features, CLASSES, SYSTOLE_ACTIVATION_NONE, CLASS_GAIN);
    zoo_output(network, zoo_softmax(network, logits));
}

void zoo_mobilenet_v1(struct zoo_network *network) {
    static const struct {
        int32_t channels, stride, repeat;
    } blocks[] = {
        {64, 1, 1},  {128, 2, 1}, {128, 1, 1},  {256, 2, 1},  {256, 1, 1},
        {512, 2, 1}, {512, 1, 5}, {1024, 2, 1}, {1024, 1, 1},
    };
    int32_t x = zoo_input(network, 4, (int32_t[]){1, 224, 224, 3});
    x = zoo_conv(network, x, 32, 3, 3, 2, SYSTOLE_ACTIVATION_RELU6);
    for (size_t b = 0; b < ROWS(blocks); b++) {
        for (int32_t i = 0; i < blocks[b].repeat; i++) {
            x = zoo_depthwise(network, x, 3, blocks[b].stride, SYSTOLE_ACTIVATION_RELU6);
            x = zoo_conv(network, x, blocks[b].channels, 1, 1, 1, SYSTOLE_ACTIVATION_RELU6);
        }
    }
    classify(network, zoo_average_pool(network, x));
}

enum residual { RESIDUAL, NO_RESIDUAL };

// Inverted bottlenecks: expansion, depthwise of `size`, linear projection; added to the input where shapes agree.
// `fused` ones have a full convolution of `size` in place of expansion and depthwise. `stride` is the first's.
struct bottleneck {
    int32_t expansion, channels, repeat, stride, size;
    bool fused;
    enum residual residual;
};

static int32_t bottlenecks(struct zoo_network *network, int32_t x, const struct bottleneck *table, size_t rows,
                           enum systole_activation activation) {
    for (size_t b = 0; b < rows; b++) {
        const struct bottleneck *row = &table[b];
        for (int32_t i = 0; i < row->repeat; i++) {
            int32_t stride = i == 0 ? row->stride : 1;
            int32_t input = x, inputs = zoo_channels(network, x);
            if (row->expansion > 1) {
                x = row->fused ? zoo_conv(network, x, inputs * row->expansion, row->size, row->size, stride, activation)
                               : zoo_conv(network, x, inputs * row->expansion, 1, 1, 1, activation);
            }
            if (!row->fused) {
                x = zoo_depthwise(network, x, row->size, stride, activation);
            }
            x = zoo_conv(network, x, row->channels, 1, 1, 1, SYSTOLE_ACTIVATION_NONE);
            if (row->residual == RESIDUAL && stride == 1 && inputs == row->channels) {
                x = zoo_add(network, input, x, SYSTOLE_ACTIVATION_NONE);
            }
        }
    }
    return x;
}

void zoo_mobilenet_v2(struct zoo_network *network) {
    static const struct bottleneck table[] = {
        {1, 16, 1, 1, 3, false, RESIDUAL},  {6, 24, 2, 2, 3, false, RESIDUAL}, {6, 32, 3, 2, 3, false, RESIDUAL},
        {6, 64, 4, 2, 3, false, RESIDUAL},  {6, 96, 3, 1, 3, false, RESIDUAL}, {6, 160, 3, 2, 3, false, RESIDUAL},
        {6, 320, 1, 1, 3, false, RESIDUAL},
    };
    int32_t x = zoo_input(network, 4, (int32_t[]){1, 224, 224, 3});
    x = zoo_conv(network, x, 32, 3, 3, 2, SYSTOLE_ACTIVATION_RELU6);
    x = bottlenecks(network, x, table, ROWS(table), SYSTOLE_ACTIVATION_RELU6);
    x = zoo_conv(network, x, 1280, 1, 1, 1, SYSTOLE_ACTIVATION_RELU6);
    classify(network, zoo_mean(network, x));
}

void zoo_mobilenet_v3_edgetpu(struct zoo_network *network) {
    static const struct bottleneck table[] = {
        {1, 16, 1, 1, 3, true, RESIDUAL},   {8, 32, 1, 2, 3, true, RESIDUAL},     {4, 32, 3, 1, 3, true, RESIDUAL},
        {8, 48, 1, 2, 3, true, RESIDUAL},   {4, 48, 3, 1, 3, true, RESIDUAL},     {8, 96, 1, 2, 3, false, RESIDUAL},
        {4, 96, 3, 1, 3, false, RESIDUAL},  {8, 96, 1, 1, 3, false, NO_RESIDUAL}, {4, 96, 3, 1, 3, false, RESIDUAL},
        {8, 160, 1, 2, 5, false, RESIDUAL}, {4, 160, 3, 1, 5, false, RESIDUAL},   {8, 192, 1, 1, 3, false, RESIDUAL},
    };
    int32_t x = zoo_input(network, 4, (int32_t[]){1, 224, 224, 3});
    x = zoo_conv(network, x, 32, 3, 3, 2, SYSTOLE_ACTIVATION_RELU);
    x = bottlenecks(network, x, table, ROWS(table), SYSTOLE_ACTIVATION_RELU);
    x = zoo_conv(network, x, 1280, 1, 1, 1, SYSTOLE_ACTIVATION_RELU);
    classify(network, zoo_mean(network, x));
}

void zoo_efficientnet_lite0(struct zoo_network *network) {
    static const struct bottleneck table[] = {
        {1, 16, 1, 1, 3, false, RESIDUAL},  {6, 24, 2, 2, 3, false, RESIDUAL},  {6, 40, 2, 2, 5, false, RESIDUAL},
        {6, 80, 3, 2, 3, false, RESIDUAL},  {6, 112, 3, 1, 5, false, RESIDUAL}, {6, 192, 4, 2, 5, false, RESIDUAL},
        {6, 320, 1, 1, 3, false, RESIDUAL},
    };
    int32_t x = zoo_input(network, 4, (int32_t[]){1, 224, 224, 3});
    x = zoo_conv(network, x, 32, 3, 3, 2, SYSTOLE_ACTIVATION_RELU6);
    x = bottlenecks(network, x, table, ROWS(table), SYSTOLE_ACTIVATION_RELU6);
    x = zoo_conv(network, x, 1280, 1, 1, 1, SYSTOLE_ACTIVATION_RELU6);
    classify(network, zoo_average_pool(network, x));
}

void zoo_ds_cnn(struct zoo_network *network) {
    int32_t x = zoo_input(network, 4, (int32_t[]){1, 49, 10, 1}); // 49 frames of 10 cepstral coefficients
    x = zoo_conv(network, x, 64, 10, 4, 2, SYSTOLE_ACTIVATION_RELU);
    for (int32_t i = 0; i < 4; i++) {
        x = zoo_depthwise(network, x, 3, 1, SYSTOLE_ACTIVATION_RELU);
        x = zoo_conv(network, x, 64, 1, 1, 1, SYSTOLE_ACTIVATION_RELU);
    }
    x = zoo_fully_connected(network, zoo_average_pool(network, x), 12, SYSTOLE_ACTIVATION_NONE, CLASS_GAIN);
    zoo_output(network, zoo_softmax(network, x));
}
