// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Networks of full convolutions, from the layer tables of their publications: ResNet (arXiv 1512.03385, table 1; in
// ResNet-50 the 3x3 convolution of a block strides, as current implementations have it), the ResNet-8 of MLPerf Tiny's
// image classification, and Inception (GoogLeNet, arXiv 1409.4842, table 1, without local response normalisation).
#include "network_builder.h"

#define CLASSES 1000
#define CLASS_GAIN 3.0f
#define NONE SYSTOLE_ACTIVATION_NONE
#define RELU SYSTOLE_ACTIVATION_RELU

static void classify(struct zoo_network *network, int32_t features, int32_t classes) {
    zoo_output(network, zoo_softmax(network, zoo_fully_connected(network, features, classes, NONE, CLASS_GAIN)));
}

// The way around a block: the input itself, or a 1x1 convolution where its shape changes.
static int32_t shortcut(struct zoo_network *network, int32_t x, int32_t channels, int32_t stride) {
    return stride == 1 && zoo_channels(network, x) == channels ? x : zoo_conv(network, x, channels, 1, 1, stride, NONE);
}

static int32_t basic_block(struct zoo_network *network, int32_t x, int32_t channels, int32_t stride) {
    int32_t y = zoo_conv(network, x, channels, 3, 3, stride, RELU);
    y = zoo_conv(network, y, channels, 3, 3, 1, NONE);
    return zoo_add(network, shortcut(network, x, channels, stride), y, RELU);
}

static int32_t bottleneck_block(struct zoo_network *network, int32_t x, int32_t channels, int32_t stride) {
    int32_t y = zoo_conv(network, x, channels, 1, 1, 1, RELU);
    y = zoo_conv(network, y, channels, 3, 3, stride, RELU);
    y = zoo_conv(network, y, 4 * channels, 1, 1, 1, NONE);
    return zoo_add(network, shortcut(network, x, 4 * channels, stride), y, RELU);
}

void zoo_resnet8(struct zoo_network *network) {
    int32_t x = zoo_input(network, 4, (int32_t[]){1, 32, 32, 3});
    x = zoo_conv(network, x, 16, 3, 3, 1, RELU);
    x = basic_block(network, x, 16, 1);
    x = basic_block(network, x, 32, 2);
    x = basic_block(network, x, 64, 2);
    classify(network, zoo_average_pool(network, x), 10);
}

static void residual_network(struct zoo_network *network, const int32_t depths[4],
                             int32_t (*block)(struct zoo_network *, int32_t, int32_t, int32_t)) {
    int32_t x = zoo_input(network, 4, (int32_t[]){1, 224, 224, 3});
    x = zoo_conv(network, x, 64, 7, 7, 2, RELU);
    x = zoo_max_pool(network, x, 3, 2);
    for (int32_t stage = 0; stage < 4; stage++) {
        for (int32_t i = 0; i < depths[stage]; i++) {
            x = block(network, x, 64 << stage, stage > 0 && i == 0 ? 2 : 1);
        }
    }
    classify(network, zoo_mean(network, x), CLASSES);
}

void zoo_resnet18(struct zoo_network *network) {
    residual_network(network, (const int32_t[]){2, 2, 2, 2}, basic_block);
}

void zoo_resnet50(struct zoo_network *network) {
    residual_network(network, (const int32_t[]){3, 4, 6, 3}, bottleneck_block);
}

void zoo_inception_v1(struct zoo_network *network) {
    static const struct {
        int32_t one, three_reduce, three, five_reduce, five, pool;
        bool pooled_after; // by 3x3, stride 2
    } modules[] = {
        {64, 96, 128, 16, 32, 32, false},    {128, 128, 192, 32, 96, 64, true},    {192, 96, 208, 16, 48, 64, false},
        {160, 112, 224, 24, 64, 64, false},  {128, 128, 256, 24, 64, 64, false},   {112, 144, 288, 32, 64, 64, false},
        {256, 160, 320, 32, 128, 128, true}, {256, 160, 320, 32, 128, 128, false}, {384, 192, 384, 48, 128, 128, false},
    };
    int32_t x = zoo_input(network, 4, (int32_t[]){1, 224, 224, 3});
    x = zoo_max_pool(network, zoo_conv(network, x, 64, 7, 7, 2, RELU), 3, 2);
    x = zoo_conv(network, x, 64, 1, 1, 1, RELU);
    x = zoo_max_pool(network, zoo_conv(network, x, 192, 3, 3, 1, RELU), 3, 2);
    for (size_t m = 0; m < sizeof modules / sizeof modules[0]; m++) {
        int32_t branches[4];
        branches[0] = zoo_conv(network, x, modules[m].one, 1, 1, 1, RELU);
        branches[1] = zoo_conv(network, x, modules[m].three_reduce, 1, 1, 1, RELU);
        branches[1] = zoo_conv(network, branches[1], modules[m].three, 3, 3, 1, RELU);
        branches[2] = zoo_conv(network, x, modules[m].five_reduce, 1, 1, 1, RELU);
        branches[2] = zoo_conv(network, branches[2], modules[m].five, 5, 5, 1, RELU);
        branches[3] = zoo_conv(network, zoo_max_pool(network, x, 3, 1), modules[m].pool, 1, 1, 1, RELU);
        x = zoo_concatenate(network, 4, branches);
        if (modules[m].pooled_after) {
            x = zoo_max_pool(network, x, 3, 2);
        }
    }
    classify(network, zoo_average_pool(network, x), CLASSES);
}
