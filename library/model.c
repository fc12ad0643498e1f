// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Models of the public interface: a graph, the program for the device, and a session that keeps it loaded.
#include <stdlib.h>
#include <string.h>

#include "compiler.h"
#include "library_state.h"
#include "read_file.h"

static bool has_identifier(const uint8_t *bytes, size_t size, const char *identifier) {
    return size >= 8 && memcmp(bytes + 4, identifier, 4) == 0;
}

static enum systole_status read_model(struct systole_model *model, const uint8_t *bytes, size_t size, const char *name,
                                      struct systole_diagnostic *diagnostic) {
    const struct systole_device *device = model->device;
    if (!has_identifier(bytes, size, "SYS1")) {
        enum systole_status status = systole_graph_read(bytes, size, name, &model->graph, diagnostic);
        if (status == SYSTOLE_OK && device->driver != NULL) {
            status = systole_compile(&model->graph, &device->target, NULL, &model->program, diagnostic);
        }
        return status;
    }
    if (device->driver == NULL) {
        return systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, name, "give the .tflite",
                            "a program holds no constants for the CPU");
    }
    enum systole_status status = systole_program_read(bytes, size, name, &model->program, diagnostic);
    return status != SYSTOLE_OK
               ? status
               : systole_graph_read(model->program.model, model->program.model_size, name, &model->graph, diagnostic);
}

enum systole_status systole_model_load(struct systole_device *device, const void *bytes, size_t size, const char *name,
                                       struct systole_model **model, struct systole_diagnostic *diagnostic) {
    *model = NULL;
    struct systole_model *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, name, "", "no memory for a model");
    }
    made->references = 1;
    made->device = device;
    device->references++;
    enum systole_status status = read_model(made, bytes, size, name, diagnostic);
    if (status == SYSTOLE_OK && device->driver != NULL) {
        struct systole_session_options options = {.driver = device->driver};
        status = systole_session_create(NULL, &made->program, &options, &made->loaded, diagnostic);
    }
    if (status != SYSTOLE_OK) {
        model_release(made);
        return status;
    }
    *model = made;
    return SYSTOLE_OK;
}

enum systole_status systole_model_load_file(struct systole_device *device, const char *path,
                                            struct systole_model **model, struct systole_diagnostic *diagnostic) {
    uint8_t *bytes = NULL;
    size_t size = 0;
    *model = NULL;
    enum systole_status status = systole_read_file(path, &bytes, &size, diagnostic);
    if (status == SYSTOLE_OK) {
        status = systole_model_load(device, bytes, size, path, model, diagnostic);
    }
    free(bytes);
    return status;
}

void model_release(struct systole_model *model) {
    if (--model->references == 0) {
        systole_session_free(model->loaded);
        systole_program_free(&model->program);
        systole_graph_free(&model->graph);
        device_release(model->device);
        free(model);
    }
}

void systole_model_free(struct systole_model *model) {
    if (model != NULL) {
        model_release(model);
    }
}

uint32_t systole_model_inputs(const struct systole_model *model) {
    return model->graph.input_count;
}

uint32_t systole_model_outputs(const struct systole_model *model) {
    return model->graph.output_count;
}

static enum systole_status describe(const struct systole_model *model, const int32_t *tensors, uint32_t count,
                                    uint32_t index, struct systole_tensor_info *info) {
    if (index >= count) {
        return SYSTOLE_BAD_ARGUMENT;
    }
    const struct systole_tensor *tensor = &model->graph.tensors[tensors[index]];
    struct systole_tensor_info told = {.size = info->size,
                                       .name = tensor->name,
                                       .dtype = tensor->dtype,
                                       .rank = (uint32_t)tensor->rank,
                                       .bytes = tensor->size,
                                       .is_quantised = tensor->quantisation.count == 1};
    for (int32_t i = 0; i < tensor->rank && i < SYSTOLE_TENSOR_RANK; i++) {
        told.shape[i] = (uint32_t)tensor->shape[i];
    }
    if (told.is_quantised) {
        told.scale = tensor->quantisation.scale[0];
        told.zero_point = (int32_t)tensor->quantisation.zero_point[0];
    }
    memcpy(info, &told, info->size < sizeof told ? info->size : sizeof told);
    return SYSTOLE_OK;
}

enum systole_status systole_model_input(const struct systole_model *model, uint32_t index,
                                        struct systole_tensor_info *info) {
    return describe(model, model->graph.inputs, model->graph.input_count, index, info);
}

enum systole_status systole_model_output(const struct systole_model *model, uint32_t index,
                                         struct systole_tensor_info *info) {
    return describe(model, model->graph.outputs, model->graph.output_count, index, info);
}

uint32_t systole_model_operators(const struct systole_model *model) {
    return model->graph.operator_count;
}

enum systole_status systole_model_operator(const struct systole_model *model, uint32_t index,
                                           struct systole_operator_placement *placement) {
    if (index >= model->graph.operator_count) {
        return SYSTOLE_BAD_ARGUMENT;
    }
    struct systole_operator_placement told = {
        .size = placement->size,
        .name = systole_operator_name(model->graph.operators[index].code),
        .on_device = false,
        .reason = "cpu",
    };
    if (index < model->program.operator_count) {
        const struct systole_operator_info *info = &model->program.operators[index];
        told.on_device = info->place == SYSTOLE_PLACE_DEVICE;
        told.reason = info->reason;
    }
    memcpy(placement, &told, placement->size < sizeof told ? placement->size : sizeof told);
    return SYSTOLE_OK;
}
