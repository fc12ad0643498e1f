// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The list of networks, and the way from a name to a graph: layers, calibration, quantisation.
#include "zoo.h"

#include <stdio.h>
#include <string.h>

#include "network_builder.h"

const struct systole_zoo_entry systole_zoo_entries[] = {
    {"mobilenet_v1", "MobileNet 1.0, 224x224"},
    {"mobilenet_v2", "MobileNetV2 1.0, 224x224"},
    {"mobilenet_v3_edgetpu", "MobileNetEdgeTPU 1.0, 224x224: fused inverted bottlenecks"},
    {"efficientnet_lite0", "EfficientNet-Lite0, 224x224"},
    {"resnet8", "ResNet-8 of MLPerf Tiny, 32x32"},
    {"resnet18", "ResNet-18, 224x224"},
    {"resnet50", "ResNet-50, 224x224"},
    {"ds_cnn", "DS-CNN of MLPerf Tiny, 49x10 keyword spectrograms"},
    {"inception_v1", "Inception (GoogLeNet), 224x224: concatenated branches"},
    {"transformer_block", "transformer encoder block, 128 vectors of 256, 4 heads"},
};
const uint32_t systole_zoo_count = sizeof systole_zoo_entries / sizeof systole_zoo_entries[0];

// In the order of the entries.
static void (*const builders[])(struct zoo_network *) = {
    zoo_mobilenet_v1, zoo_mobilenet_v2, zoo_mobilenet_v3_edgetpu, zoo_efficientnet_lite0, zoo_resnet8, zoo_resnet18,
    zoo_resnet50,     zoo_ds_cnn,       zoo_inception_v1,         zoo_transformer_block,
};
_Static_assert(sizeof builders / sizeof builders[0] == sizeof systole_zoo_entries / sizeof systole_zoo_entries[0],
               "a builder for each entry");

static enum systole_status add_layers(const char *name, struct zoo_network *network,
                                      struct systole_diagnostic *diagnostic) {
    *network = (struct zoo_network){.status = SYSTOLE_OK, .diagnostic = diagnostic};
    for (uint32_t i = 0; i < systole_zoo_count; i++) {
        if (strcmp(name, systole_zoo_entries[i].name) == 0) {
            (void)snprintf(network->graph.name, sizeof network->graph.name, "%s", name);
            builders[i](network);
            return network->status;
        }
    }
    network->status =
        systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, name, "`systole zoo` lists them", "unknown network");
    return network->status;
}

static enum systole_status finish(struct zoo_network *network, struct systole_graph *graph) {
    *graph = (struct systole_graph){.tensors = NULL};
    if (network->status == SYSTOLE_OK) {
        *graph = network->graph;
        network->graph = (struct systole_graph){.tensors = NULL};
    }
    zoo_network_free(network);
    return network->status;
}

enum systole_status systole_zoo_layers(const char *name, struct systole_graph *graph,
                                       struct systole_diagnostic *diagnostic) {
    struct zoo_network network;
    (void)add_layers(name, &network, diagnostic);
    return finish(&network, graph);
}

enum systole_status systole_zoo_build(const char *name, bool is_float, struct systole_graph *graph,
                                      struct systole_diagnostic *diagnostic) {
    struct zoo_network network;
    if (add_layers(name, &network, diagnostic) == SYSTOLE_OK) {
        zoo_calibrate(&network);
    }
    if (network.status == SYSTOLE_OK && !is_float) {
        zoo_quantise(&network);
    }
    return finish(&network, graph);
}
