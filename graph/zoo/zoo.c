// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The list of networks, and the way from a name to a graph: layers, weights, and for int8 the quantizer
// on random inputs.
#include "zoo.h"

#include <stdio.h>
#include <string.h>

#include "network_builder.h"
#include "quantizer.h"

// Sets that ranges come from; a network runs once on each. Small ones have fewer values in a set.
#define SETS 2
#define SETS_OF_SMALL 6
#define SMALL_MACS ((uint64_t)200 * 1000 * 1000)

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

struct representative_inputs {
    const struct systole_graph *graph;
    uint32_t sets;
};

static enum systole_status read_set(void *context, uint32_t index, uint8_t *const *inputs, bool *end,
                                    struct systole_diagnostic *diagnostic) {
    const struct representative_inputs *data = context;
    (void)diagnostic;
    *end = index >= data->sets;
    if (!*end) {
        const struct systole_tensor *input = &data->graph->tensors[data->graph->inputs[0]];
        zoo_draw_input(data->graph->name, index, (float *)(void *)inputs[0], systole_tensor_elements(input));
    }
    return SYSTOLE_OK;
}

// Replaces the float32 graph by its full-integer form. By reference kernels: others' sums depend on the machine.
static void quantize(struct zoo_network *network) {
    const struct systole_quantize_options options = {.mode = SYSTOLE_QUANTIZE_FULL_INTEGER,
                                                     .calibration = SYSTOLE_CALIBRATION_MIN_MAX,
                                                     .io = SYSTOLE_INT8,
                                                     .strict = true,
                                                     .kernels = SYSTOLE_KERNELS_REFERENCE,
                                                     .skip_comparison = true};
    uint64_t macs = 0;
    for (uint32_t i = 0; i < network->graph.operator_count; i++) {
        macs += systole_operator_macs(&network->graph, i);
    }
    struct representative_inputs data = {&network->graph, macs < SMALL_MACS ? SETS_OF_SMALL : SETS};
    const struct systole_representative representative = {&data, read_set};
    struct systole_graph result;
    struct systole_quantize_report report;
    network->status =
        systole_quantize(&network->graph, &options, &representative, &result, &report, network->diagnostic);
    systole_quantize_report_free(&report);
    if (network->status == SYSTOLE_OK) {
        systole_graph_free(&network->graph);
        network->graph = result;
    }
}

enum systole_status systole_zoo_build(const char *name, bool is_float, struct systole_graph *graph,
                                      struct systole_diagnostic *diagnostic) {
    struct zoo_network network;
    if (add_layers(name, &network, diagnostic) == SYSTOLE_OK) {
        zoo_draw_weights(&network);
    }
    if (network.status == SYSTOLE_OK && !is_float) {
        quantize(&network);
    }
    return finish(&network, graph);
}
