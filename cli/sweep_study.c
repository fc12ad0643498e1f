// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A study: every combination of its values (docs/sweep.md). By default a point is compiled and its schedule's cycles
// are taken: the functional model's clock is that same cycle model, so executing would give the same number. On RTL the
// point is run by another process of this program, with the Verilated model of its target.
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sweep.h"
#include "target.h"

static const struct {
    const char *name;
    size_t offset;
} axes[SWEEP_AXES] = {
    {"cores", offsetof(struct systole_target, cores)},
    {"rows", offsetof(struct systole_target, rows)}, // and columns
    {"taps", offsetof(struct systole_target, taps)},
    {"scratchpad_bytes", offsetof(struct systole_target, scratchpad_bytes)},
    {"banks", offsetof(struct systole_target, banks)},
    {"accumulators", offsetof(struct systole_target, accumulators)},
    {"weight_port_rows", offsetof(struct systole_target, weight_port_rows)},
    {"link_millibytes_per_cycle", offsetof(struct systole_target, link_millibytes_per_cycle)},
    {"clock_hz", offsetof(struct systole_target, clock_hz)},
};

static enum systole_status bad(const char *path, struct systole_diagnostic *diagnostic, const char *what,
                               const char *name) {
    return systole_fail(diagnostic, SYSTOLE_BAD_FILE, path, "docs/sweep.md describes a study", "%s%s", what, name);
}

static enum systole_status read_axis(const char *path, const json_t *value, struct sweep_axis *axis,
                                     struct systole_diagnostic *diagnostic) {
    size_t count = json_is_array(value) ? json_array_size(value) : 1;
    if (count == 0 || count > SWEEP_VALUES) {
        return bad(path, diagnostic, "needs 1 to 64 values: ", axis->name);
    }
    axis->count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_is_array(value) ? json_array_get(value, i) : value;
        json_int_t number = json_integer_value(item);
        if (!json_is_integer(item) || number < 0 || number > UINT32_MAX) {
            return bad(path, diagnostic, "not a number, or a list of them: ", axis->name);
        }
        axis->values[i] = (uint32_t)number;
        for (size_t k = 0; k < i; k++) {
            if (axis->values[k] == axis->values[i]) {
                return bad(path, diagnostic, "names a value twice: ", axis->name);
            }
        }
    }
    return SYSTOLE_OK;
}

static char *beside(const char *study, const char *model) {
    const char *slash = strrchr(study, '/');
    if (model[0] == '/' || slash == NULL) {
        return strdup(model);
    }
    size_t folder = (size_t)(slash - study) + 1, size = folder + strlen(model) + 1;
    char *path = malloc(size);
    if (path != NULL) {
        (void)snprintf(path, size, "%.*s%s", (int)folder, study, model);
    }
    return path;
}

static enum systole_status read_models(const char *path, const json_t *models, struct sweep_study *study,
                                       struct systole_diagnostic *diagnostic) {
    size_t count = json_array_size(models);
    if (count == 0 || count > SWEEP_MODELS) {
        return bad(path, diagnostic, "needs a list of 1 to 64 models", "");
    }
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_array_get(models, i));
        if (name == NULL || strlen(name) > 400 || strpbrk(name, ",\n\r\"") != NULL) {
            return bad(path, diagnostic, "a model is not a file's name (without commas and quotes)", "");
        }
        study->models[i] = strdup(name);
        study->paths[i] = beside(path, name);
        study->model_count++;
        if (study->models[i] == NULL || study->paths[i] == NULL) {
            return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, path, "", "no memory");
        }
    }
    return SYSTOLE_OK;
}

static enum systole_status read_keys(const char *path, const json_t *root, struct sweep_study *study,
                                     struct systole_diagnostic *diagnostic) {
    const char *key, *base = "systole16";
    json_t *value;
    void *iterator;
    if (json_object_get(root, "target") != NULL) {
        base = json_string_value(json_object_get(root, "target"));
        if (base == NULL) {
            return bad(path, diagnostic, "not a target's name or file: ", "target");
        }
    }
    enum systole_status status = systole_target_find(base, &study->base, diagnostic);
    for (uint32_t i = 0; i < SWEEP_AXES; i++) {
        study->axes[i].name = axes[i].name;
        study->axes[i].count = 1;
        memcpy(&study->axes[i].values[0], (const char *)&study->base + axes[i].offset, sizeof(uint32_t));
    }
    if (status == SYSTOLE_OK) {
        status = read_models(path, json_object_get(root, "models"), study, diagnostic);
    }
    for (iterator = json_object_iter((json_t *)(uintptr_t)root); iterator != NULL && status == SYSTOLE_OK;
         iterator = json_object_iter_next((json_t *)(uintptr_t)root, iterator)) {
        key = json_object_iter_key(iterator);
        value = json_object_iter_value(iterator);
        uint32_t axis = 0;
        while (axis < SWEEP_AXES && strcmp(axes[axis].name, key) != 0) {
            axis++;
        }
        if (axis < SWEEP_AXES) {
            status = read_axis(path, value, &study->axes[axis], diagnostic);
        } else if (strcmp(key, "device") == 0) {
            const char *device = json_string_value(value);
            study->on_rtl = device != NULL && strcmp(device, "rtl") == 0;
            if (device == NULL || (!study->on_rtl && strcmp(device, "model") != 0)) {
                status = bad(path, diagnostic, "must be \"model\" or \"rtl\": ", key);
            }
        } else if (strcmp(key, "target") != 0 && strcmp(key, "models") != 0) {
            status = bad(path, diagnostic, "unknown key: ", key);
        }
    }
    uint64_t points = study->model_count;
    for (uint32_t i = 0; i < SWEEP_AXES && points <= 1000000; i++) {
        points *= study->axes[i].count;
    }
    if (status == SYSTOLE_OK && points > 1000000) {
        status = bad(path, diagnostic, "more than 1,000,000 points", "");
    }
    study->point_count = (uint32_t)points;
    return status;
}

enum systole_status sweep_study_read(const char *path, struct sweep_study *study,
                                     struct systole_diagnostic *diagnostic) {
    memset(study, 0, sizeof *study);
    uint8_t *bytes;
    size_t size;
    enum systole_status status = systole_read_file(path, &bytes, &size, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    json_error_t error;
    json_t *root = json_loadb((const char *)bytes, size, JSON_REJECT_DUPLICATES, &error);
    free(bytes);
    if (!json_is_object(root)) {
        status = bad(path, diagnostic, "no JSON object: ", root == NULL ? error.text : "");
    } else {
        status = read_keys(path, root, study, diagnostic);
    }
    json_decref(root);
    if (status != SYSTOLE_OK) {
        sweep_study_free(study);
    }
    return status;
}

void sweep_study_free(struct sweep_study *study) {
    for (uint32_t i = 0; i < study->model_count; i++) {
        free(study->models[i]);
        free(study->paths[i]);
    }
    study->model_count = 0;
}

void sweep_study_point(const struct sweep_study *study, uint32_t index, struct sweep_point *point) {
    for (uint32_t i = SWEEP_AXES; i-- > 0;) {
        point->values[i] = study->axes[i].values[index % study->axes[i].count];
        index /= study->axes[i].count;
    }
    point->model = index;
}

void sweep_point_key(const struct sweep_study *study, const struct sweep_point *point, char key[SWEEP_LINE]) {
    int used = snprintf(key, SWEEP_LINE, "%s,%s,", study->models[point->model], study->on_rtl ? "rtl" : "model");
    for (uint32_t i = 0; i < SWEEP_AXES; i++) {
        used += snprintf(key + used, SWEEP_LINE - (size_t)used, "%u,", point->values[i]);
    }
}

struct outcome {
    enum sweep_ending ending; // partial: operators on the CPU for want of memory
    uint64_t cycles, predicted, macs;
    uint32_t on_cpu;
    bool resident;
};

static void write_result(char result[SWEEP_LINE], const struct outcome *o, const struct systole_target *target,
                         const char *detail) {
    double available = (double)systole_target_multipliers(target) * (double)o->cycles;
    double utilization = available > 0 ? (double)o->macs / available : 0;
    char clean[400];
    size_t n = 0;
    for (; detail[n] != '\0' && n + 1 < sizeof clean; n++) {
        clean[n] = strchr(",\n\r\"", detail[n]) != NULL ? ';' : detail[n];
    }
    clean[n] = '\0';
    (void)snprintf(result, SWEEP_LINE, "%s,%llu,%llu,%llu,%.4f,%u,%s,%s", sweep_ending_name(o->ending),
                   (unsigned long long)o->cycles, (unsigned long long)o->predicted, (unsigned long long)o->macs,
                   utilization, o->on_cpu, o->resident ? "true" : "false", clean);
}

static void summarise(const struct systole_program *program, struct outcome *o, char *detail, size_t size) {
    o->resident = true;
    for (uint32_t s = 0; s < program->segment_count; s++) {
        o->predicted += program->segments[s].predicted_cycles;
        o->resident = o->resident && program->segments[s].resident;
    }
    for (uint32_t i = 0; i < program->operator_count; i++) {
        const struct systole_operator_info *info = &program->operators[i];
        if (info->place == SYSTOLE_PLACE_DEVICE) {
            o->macs += info->macs;
            continue;
        }
        o->on_cpu++;
        if (info->macs > 0 && o->ending == SWEEP_OK) { // that work is missing from the cycles
            o->ending = SWEEP_PARTIAL;
            (void)snprintf(detail, size, "operator %u %s on the CPU: %s: %s", i, info->name, info->reason,
                           info->detail);
        }
    }
}

// Runs `systole run --device rtl` and takes cycles.total from its report.
static bool run_rtl(const char *model, const struct systole_target *target, struct outcome *o, char *detail,
                    size_t size) {
    char folder[] = "/tmp/systole-sweep-XXXXXX", description[64], report[64], errors[64];
    if (mkdtemp(folder) == NULL) {
        (void)snprintf(detail, size, "no folder under /tmp");
        return false;
    }
    (void)snprintf(description, sizeof description, "%s/target.json", folder);
    (void)snprintf(report, sizeof report, "%s/report.json", folder);
    (void)snprintf(errors, sizeof errors, "%s/errors", folder);
    json_t *json = json_pack("{s:s, s:i}", "name", "sweep", "columns", (int)target->columns);
    for (uint32_t i = 0; i < SWEEP_AXES; i++) {
        uint32_t value;
        memcpy(&value, (const char *)target + axes[i].offset, sizeof value);
        json_object_set_new(json, axes[i].name, json_integer(value));
    }
    bool good = json_dump_file(json, description, 0) == 0;
    json_decref(json);
    pid_t child = good ? fork() : -1;
    if (child == 0) {
        if (freopen("/dev/null", "w", stdout) != NULL && freopen(errors, "w", stderr) != NULL) {
            execl("/proc/self/exe", "systole", "run", model, "--device", "rtl", "--target", description, "--report",
                  report, (char *)NULL);
        }
        _exit(127);
    }
    int state = 0;
    good = child > 0 && waitpid(child, &state, 0) == child && WIFEXITED(state) && WEXITSTATUS(state) == 0;
    json_error_t error;
    json_t *root = good ? json_load_file(report, 0, &error) : NULL;
    o->cycles = (uint64_t)json_integer_value(json_object_get(json_object_get(root, "cycles"), "total"));
    good = root != NULL;
    json_decref(root);
    if (!good) {
        FILE *file = fopen(errors, "r");
        (void)snprintf(detail, size, "the run failed");
        if (file != NULL) {
            if (fgets(detail, (int)size, file) != NULL) {
                detail[strcspn(detail, "\n")] = '\0';
            }
            (void)fclose(file);
        }
    }
    (void)unlink(description);
    (void)unlink(report);
    (void)unlink(errors);
    (void)rmdir(folder);
    return good;
}

void sweep_measure(const struct sweep_study *study, const struct sweep_point *point, char result[SWEEP_LINE]) {
    struct systole_target target = study->base;
    struct systole_diagnostic diagnostic = {.what = ""};
    struct outcome outcome = {.ending = SWEEP_OK};
    struct cli_subject subject;
    char detail[400] = "";
    for (uint32_t i = 0; i < SWEEP_AXES; i++) {
        memcpy((char *)&target + axes[i].offset, &point->values[i], sizeof(uint32_t));
    }
    target.columns = target.rows;
    (void)snprintf(target.name, sizeof target.name, "sweep");
    enum systole_status status = systole_target_check(&target, &diagnostic);
    if (status == SYSTOLE_OK) {
        status = cli_subject_compile(study->paths[point->model], &target, &subject, &diagnostic);
    }
    if (status != SYSTOLE_OK) {
        bool refused = status == SYSTOLE_UNSUPPORTED || status == SYSTOLE_BAD_ARGUMENT;
        outcome.ending = refused ? SWEEP_REFUSED : SWEEP_FAILED;
        write_result(result, &outcome, &target, diagnostic.what);
        return;
    }
    summarise(&subject.program, &outcome, detail, sizeof detail);
    outcome.cycles = outcome.predicted;
    if (study->on_rtl && !run_rtl(study->paths[point->model], &target, &outcome, detail, sizeof detail)) {
        outcome.ending = SWEEP_FAILED;
        outcome.cycles = 0;
    }
    write_result(result, &outcome, &target, detail);
    cli_subject_close(&subject);
}
