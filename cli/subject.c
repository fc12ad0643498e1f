// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Tells models from programs by their FlatBuffers identifier and brings either into memory.
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"
#include "target.h"

#define DEFAULT_TARGET "systole16"

static bool has_identifier(const uint8_t *bytes, size_t size, const char *identifier) {
    return size >= 8 && memcmp(bytes + 4, identifier, 4) == 0;
}

static enum systole_status compile(const char *target_name, const char *dump, struct cli_subject *subject,
                                   struct systole_diagnostic *diagnostic) {
    struct systole_target target;
    enum systole_status status =
        systole_target_find(target_name != NULL ? target_name : DEFAULT_TARGET, &target, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct systole_compile_options options = {.dump = NULL};
    if (dump != NULL) {
        options.dump = fopen(dump, "w");
        if (options.dump == NULL) {
            return systole_fail(diagnostic, SYSTOLE_BAD_FILE, dump, "check the folder", "cannot be written");
        }
    }
    status = systole_compile(&subject->graph, &target, &options, &subject->program, diagnostic);
    if (options.dump != NULL && fclose(options.dump) != 0 && status == SYSTOLE_OK) {
        status = systole_fail(diagnostic, SYSTOLE_BAD_FILE, dump, "is the disk full?", "cannot be written");
    }
    subject->has_program = status == SYSTOLE_OK;
    return status;
}

static enum systole_status read_program(const uint8_t *bytes, size_t size, const char *path, const char *target_name,
                                        struct cli_subject *subject, struct systole_diagnostic *diagnostic) {
    enum systole_status status = systole_program_read(bytes, size, path, &subject->program, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    subject->has_program = true;
    if (target_name != NULL) {
        struct systole_target target;
        status = systole_target_find(target_name, &target, diagnostic);
        if (status != SYSTOLE_OK) {
            return status;
        }
        if (systole_target_id(&target) != systole_target_id(&subject->program.target)) {
            return systole_fail(diagnostic, SYSTOLE_BAD_FILE, path, "compile the model for that target",
                                "the program was compiled for %s, not for %s", subject->program.target.name,
                                target.name);
        }
    }
    return systole_graph_read(subject->program.model, subject->program.model_size, path, &subject->graph, diagnostic);
}

enum systole_status cli_subject_open(const char *path, const char *target, bool compile_it, const char *dump,
                                     struct cli_subject *subject, struct systole_diagnostic *diagnostic) {
    memset(subject, 0, sizeof *subject);
    uint8_t *bytes;
    size_t size;
    enum systole_status status = systole_read_file(path, &bytes, &size, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    if (has_identifier(bytes, size, "SYS1")) {
        status = read_program(bytes, size, path, target, subject, diagnostic);
    } else {
        subject->is_model = true;
        status = systole_graph_read(bytes, size, path, &subject->graph, diagnostic);
        if (status == SYSTOLE_OK && compile_it) {
            status = compile(target, dump, subject, diagnostic);
        }
    }
    free(bytes);
    if (status != SYSTOLE_OK) {
        cli_subject_close(subject);
    }
    return status;
}

enum systole_status cli_subject_compile(const char *path, const struct systole_target *target,
                                        struct cli_subject *subject, struct systole_diagnostic *diagnostic) {
    enum systole_status status = cli_subject_open(path, NULL, false, NULL, subject, diagnostic);
    if (status == SYSTOLE_OK && !subject->is_model) {
        status = systole_fail(diagnostic, SYSTOLE_BAD_FILE, path, "give the .tflite", "is a compiled program");
        cli_subject_close(subject);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct systole_compile_options options = {.dump = NULL};
    status = systole_compile(&subject->graph, target, &options, &subject->program, diagnostic);
    subject->has_program = status == SYSTOLE_OK;
    if (status != SYSTOLE_OK) {
        cli_subject_close(subject);
    }
    return status;
}

void cli_subject_close(struct cli_subject *subject) {
    systole_program_free(&subject->program);
    systole_graph_free(&subject->graph);
    memset(subject, 0, sizeof *subject);
}
