// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>

#include "zoo.h"

static int list(void) {
    printf("%-22s %12s %12s  %s\n", "network", "MACs", "parameters", "");
    for (uint32_t i = 0; i < systole_zoo_count; i++) {
        struct systole_diagnostic diagnostic = {.what = ""};
        struct systole_graph graph;
        enum systole_status status = systole_zoo_layers(systole_zoo_entries[i].name, &graph, &diagnostic);
        if (status != SYSTOLE_OK) {
            return cli_error(status, &diagnostic);
        }
        uint64_t macs = 0, parameters = 0;
        for (uint32_t k = 0; k < graph.operator_count; k++) {
            macs += systole_operator_macs(&graph, k);
        }
        for (uint32_t t = 0; t < graph.tensor_count; t++) {
            const struct systole_tensor *tensor = &graph.tensors[t];
            bool is_parameter = tensor->data != NULL && tensor->dtype == SYSTOLE_FLOAT32;
            parameters += is_parameter ? systole_tensor_elements(tensor) : 0;
        }
        printf("%-22s %12llu %12llu  %s\n", systole_zoo_entries[i].name, (unsigned long long)macs,
               (unsigned long long)parameters, systole_zoo_entries[i].summary);
        systole_graph_free(&graph);
    }
    return 0;
}

static int run(const struct cli_command *command, int argc, char **argv) {
    struct cli_arguments arguments;
    int exit_status;
    if (!cli_parse(command, argc, argv, &arguments, &exit_status)) {
        return exit_status;
    }
    if (arguments.positional_count == 0) {
        return arguments.output != NULL || arguments.is_float ? cli_usage_error(command, "which network?") : list();
    }
    const char *name = arguments.positional[0];
    struct systole_diagnostic diagnostic = {.what = ""};
    struct systole_graph graph;
    uint8_t *bytes = NULL;
    size_t size = 0;
    char path[128];
    (void)snprintf(path, sizeof path, "%s_%s.tflite", name, arguments.is_float ? "float32" : "int8");
    enum systole_status status = systole_zoo_build(name, arguments.is_float, &graph, &diagnostic);
    if (status == SYSTOLE_OK) {
        status = systole_graph_write(&graph, NULL, &bytes, &size, &diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = cli_write_file(arguments.output != NULL ? arguments.output : path, bytes, size, &diagnostic);
    }
    free(bytes);
    systole_graph_free(&graph);
    return status == SYSTOLE_OK ? 0 : cli_error(status, &diagnostic);
}

const struct cli_command cli_zoo = {
    .name = "zoo",
    .summary = "published networks with random weights, as .tflite; without a name lists them",
    .usage = "[NAME [-o FILE.tflite] [--float]]",
    .help = "Writes NAME_int8.tflite (full-integer) or, with --float, NAME_float32.tflite. The same name gives the\n"
            "same file. See docs/zoo.md.\n",
    .options = CLI_OUTPUT | CLI_FLOAT,
    .minimum = 0,
    .maximum = 1,
    .run = run,
};
