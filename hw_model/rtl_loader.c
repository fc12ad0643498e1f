// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Finds the Verilated model of a target: one shared object a target, named by the target's id, and another one that can
// write waves. They stay loaded.
#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device.h"
#include "target.h"

// Where the models lie, seen from the program, or from the shared library that this is part of: in a build's folder or
// in an installation's, wherever that was moved to. Never a folder of the user's: what lies there is loaded.
static const char *const beside[] = {
    ".",
    "systole",
    "../rtl",
    "../../rtl",
    "../lib/systole",
    "../lib64/systole",
#ifdef SYSTOLE_MULTIARCH
    "../lib/" SYSTOLE_MULTIARCH "/systole",
#endif
};
enum { BESIDE = sizeof beside / sizeof beside[0], FOLDERS = 1 + 2 * BESIDE };

static void find_program(char *path, size_t size) {
    ssize_t length = readlink("/proc/self/exe", path, size - 1);
    path[length < 0 ? 0 : length] = 0;
}

static void find_library(char *path, size_t size) {
    Dl_info info;
    bool found = dladdr(beside, &info) != 0 && info.dli_fname != NULL && strchr(info.dli_fname, '/') != NULL;
    snprintf(path, size, "%s", found ? info.dli_fname : "");
}

static void folder(uint32_t i, char *path, size_t size) {
    char file[PATH_MAX];
    const char *override = getenv("SYSTOLE_RTL_PATH");
    path[0] = 0;
    if (i == 0) {
        snprintf(path, size, "%s", override == NULL ? "" : override);
        return;
    }
    if (i <= BESIDE) {
        find_program(file, sizeof file);
    } else {
        find_library(file, sizeof file);
    }
    if (file[0] != 0) {
        snprintf(path, size, "%s/%s", dirname(file), beside[(i - 1) % BESIDE]);
    }
}

static enum systole_status load(const struct systole_target *target, bool traced,
                                struct systole_accelerator **accelerator, struct systole_diagnostic *diagnostic) {
    char name[PATH_MAX], path[2 * PATH_MAX], file[64];
    char hint[128];
    uint32_t id = systole_target_id(target);
    snprintf(file, sizeof file, "systole_rtl_%s%08x.so", traced ? "trace_" : "", id);
    snprintf(hint, sizeof hint, "make rtl%s TARGET=%s", traced ? "-trace" : "",
             target->name[0] == 0 ? "FILE" : target->name);
    *accelerator = NULL;
    for (uint32_t i = 0; i < FOLDERS; i++) {
        folder(i, name, sizeof name);
        snprintf(path, sizeof path, "%s/%s", name, file);
        if (name[0] == 0 || access(path, R_OK) != 0) {
            continue;
        }
        void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (library == NULL) {
            return systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, path, hint, "the Verilated model does not load: %s",
                                dlerror());
        }
        systole_accelerator_create_function create = NULL;
        void *symbol = dlsym(library, "systole_rtl_create");
        memcpy(&create, &symbol, sizeof create);
        if (create == NULL) {
            return systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, path, hint, "no systole_rtl_create in the library");
        }
        enum systole_status status = create(target, accelerator, diagnostic);
        if (status != SYSTOLE_OK) {
            return status;
        }
        uint64_t found = (*accelerator)->functions->read_register(*accelerator, SYSTOLE_REGISTER_TARGET_ID);
        if (found != id) {
            (*accelerator)->functions->destroy(*accelerator);
            *accelerator = NULL;
            return systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, path, hint,
                                "the Verilated model is of target %08x, not %08x", (unsigned)found, (unsigned)id);
        }
        return SYSTOLE_OK;
    }
    return systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, target->name, hint,
                        "there is no Verilated model of this target%s (%s)", traced ? " that writes waves" : "", file);
}

enum systole_status systole_rtl_create(const struct systole_target *target, struct systole_accelerator **accelerator,
                                       struct systole_diagnostic *diagnostic) {
    return load(target, false, accelerator, diagnostic);
}

enum systole_status systole_rtl_create_traced(const struct systole_target *target, const struct systole_waves *waves,
                                              struct systole_accelerator **accelerator,
                                              struct systole_diagnostic *diagnostic) {
    enum systole_status status = load(target, true, accelerator, diagnostic);
    if (status != SYSTOLE_OK || *accelerator == NULL) {
        return status;
    }
    if ((*accelerator)->functions->trace == NULL) {
        (*accelerator)->functions->destroy(*accelerator);
        *accelerator = NULL;
        return systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, target->name, "make rtl-trace",
                            "this Verilated model was made without waves");
    }
    (*accelerator)->functions->trace(*accelerator, waves);
    return SYSTOLE_OK;
}
