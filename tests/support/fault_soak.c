// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "fault_soak.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "compiler.h"
#include "device.h"
#include "session.h"
#include "target.h"

enum { INPUTS = 8, RESETS = 10, THREADS = 16 };

struct soak {
    const struct soak_options *options;
    struct soak_result *result;
    struct systole_graph graph;
    struct systole_program program;
    struct systole_target target;
    struct systole_driver *driver;
    struct systole_session *session;
    uint8_t *inputs[INPUTS], *expected[INPUTS];
    size_t input_size, output_size;
    uint32_t happened; // faults
    double *times;
    pthread_mutex_t turn; // the driver belongs to one thread at a time
    uint32_t done;
    bool lost;
};

static long resident_kb(void) {
    long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file != NULL) {
        if (fscanf(file, "%ld %ld", &size, &resident) != 2) {
            resident = 0;
        }
        (void)fclose(file);
    }
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static double now_ms(void) {
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return 1e3 * (double)time.tv_sec + 1e-6 * (double)time.tv_nsec;
}

static void count_fault(void *context, const struct systole_fault_told *told) {
    struct soak *soak = context;
    soak->happened++;
    soak->result->faults[told->kind]++;
    soak->result->transfers = told->transfer;
}

static uint32_t next_random(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

// What the CPU makes of some random inputs.
static enum systole_status expect(struct soak *soak, struct systole_diagnostic *diagnostic) {
    struct systole_session *cpu = NULL;
    uint32_t random = soak->options->seed * 2 + 1;
    enum systole_status status = systole_session_create(&soak->graph, NULL, NULL, &cpu, diagnostic);
    for (uint32_t i = 0; i < INPUTS && status == SYSTOLE_OK; i++) {
        uint8_t *input = systole_session_input(cpu, 0, &soak->input_size);
        for (size_t k = 0; k < soak->input_size; k++) {
            input[k] = (uint8_t)(next_random(&random) >> 16);
        }
        soak->inputs[i] = malloc(soak->input_size + 1);
        status = soak->inputs[i] == NULL ? SYSTOLE_OUT_OF_MEMORY : systole_session_invoke(cpu, diagnostic);
        if (status == SYSTOLE_OK) {
            const uint8_t *output = systole_session_output(cpu, 0, &soak->output_size);
            memcpy(soak->inputs[i], systole_session_input(cpu, 0, &soak->input_size), soak->input_size);
            soak->expected[i] = malloc(soak->output_size + 1);
            status = soak->expected[i] == NULL ? SYSTOLE_OUT_OF_MEMORY : SYSTOLE_OK;
            if (status == SYSTOLE_OK) {
                memcpy(soak->expected[i], output, soak->output_size);
            }
        }
    }
    systole_session_free(cpu);
    return status;
}

static enum systole_status open_transport(struct soak *soak, struct systole_transport **transport,
                                          struct systole_diagnostic *diagnostic) {
    const struct soak_options *options = soak->options;
    struct systole_accelerator *accelerator = NULL;
    struct systole_faults *faults = NULL;
    if (strcmp(options->device, "usb") == 0) {
        return systole_libusb_open(0, transport, diagnostic);
    }
    enum systole_status status = strcmp(options->device, "rtl") == 0
                                     ? systole_rtl_create(&soak->target, &accelerator, diagnostic)
                                     : systole_functional_model_create(&soak->target, 0, &accelerator, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct systole_usb_device *device = systole_usb_device_create(accelerator, &soak->target);
    if (device == NULL) {
        return SYSTOLE_OUT_OF_MEMORY;
    }
    if (options->script != NULL) {
        status = systole_faults_parse(options->script, strlen(options->script), "script", &faults, diagnostic);
        if (status != SYSTOLE_OK) {
            systole_usb_device_free(device);
            return status;
        }
        systole_faults_observe(faults, count_fault, soak);
        systole_usb_device_inject(device, faults);
    }
    return systole_in_process_open(device, options->device, transport, diagnostic);
}

static enum systole_status prepare(struct soak *soak, struct systole_diagnostic *diagnostic) {
    const struct soak_options *options = soak->options;
    struct systole_transport *transport = NULL;
    uint8_t *firmware = NULL;
    size_t size = 0;
    enum systole_status status = systole_target_find(options->target, &soak->target, diagnostic);
    status = status == SYSTOLE_OK ? systole_graph_read_file(options->model, &soak->graph, diagnostic) : status;
    status =
        status == SYSTOLE_OK ? systole_compile(&soak->graph, &soak->target, NULL, &soak->program, diagnostic) : status;
    status = status == SYSTOLE_OK ? expect(soak, diagnostic) : status;
    status = status == SYSTOLE_OK ? systole_firmware_build(&soak->target, &firmware, &size) : status;
    status = status == SYSTOLE_OK ? open_transport(soak, &transport, diagnostic) : status;
    if (status == SYSTOLE_OK) {
        struct systole_driver_options chosen = {.silence_ms = options->silence_ms, .replays = options->replays};
        status = systole_driver_open(transport, &soak->target, firmware, size, &chosen, &soak->driver, diagnostic);
    }
    free(firmware);
    if (status == SYSTOLE_OK) {
        struct systole_session_options on_device = {.driver = soak->driver};
        status = systole_session_create(NULL, &soak->program, &on_device, &soak->session, diagnostic);
    }
    return status;
}

static void note_first_failure(struct soak *soak, double ms) {
    struct soak_result *result = soak->result;
    struct systole_driver_statistics statistics;
    if (soak->happened == 0 || result->first_failure != SYSTOLE_OK) {
        return;
    }
    systole_driver_statistics(soak->driver, &statistics);
    if (result->fault_ms != 0 && statistics.last_failure == SYSTOLE_OK) {
        return; // parity shows when the word is read, in a later inference
    }
    result->fault_ms = ms;
    result->first_failure = statistics.last_failure;
    result->first_diagnostic = statistics.last_diagnostic;
    result->first_recovery_ms = statistics.last_recovery_ms;
}

// True: the device is usable, now or again.
static bool infer(struct soak *soak, uint32_t number) {
    struct soak_result *result = soak->result;
    struct systole_diagnostic diagnostic = {"", "", ""};
    uint32_t which = number * 2654435761u % INPUTS;
    size_t size = 0;
    memcpy(systole_session_input(soak->session, 0, &size), soak->inputs[which], soak->input_size);
    double start = now_ms();
    enum systole_status status = systole_session_invoke(soak->session, &diagnostic);
    soak->times[number] = now_ms() - start;
    note_first_failure(soak, soak->times[number]);
    if (status == SYSTOLE_OK) {
        bool right =
            memcmp(systole_session_output(soak->session, 0, &size), soak->expected[which], soak->output_size) == 0;
        result->right += right;
        result->wrong += !right;
        return true;
    }
    result->errors[status]++;
    for (uint32_t i = 0; i < RESETS; i++) {
        if (systole_driver_reset(soak->driver, &diagnostic) == SYSTOLE_OK) {
            return true;
        }
    }
    result->lost++;
    return false;
}

static void *take_turns(void *argument) {
    struct soak *soak = argument;
    bool more = true;
    while (more) {
        (void)pthread_mutex_lock(&soak->turn);
        more = !soak->lost && soak->done < soak->options->inferences;
        if (more && infer(soak, soak->done)) {
            soak->done++;
            soak->result->early_kb =
                soak->done == soak->options->inferences / 4 ? resident_kb() : soak->result->early_kb;
        } else if (more) {
            soak->lost = true;
        }
        (void)pthread_mutex_unlock(&soak->turn);
    }
    return NULL;
}

static void infer_all(struct soak *soak) {
    pthread_t threads[THREADS];
    uint32_t started = 0, wanted = soak->options->threads < THREADS ? soak->options->threads : THREADS;
    (void)pthread_mutex_init(&soak->turn, NULL);
    while (started + 1 < wanted && pthread_create(&threads[started], NULL, take_turns, soak) == 0) {
        started++;
    }
    (void)take_turns(soak);
    while (started > 0) {
        (void)pthread_join(threads[--started], NULL);
    }
    (void)pthread_mutex_destroy(&soak->turn);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

enum systole_status soak_run(const struct soak_options *options, struct soak_result *result,
                             struct systole_diagnostic *diagnostic) {
    struct soak soak = {.options = options, .result = result};
    memset(result, 0, sizeof *result);
    soak.times = calloc((size_t)options->inferences + 1, sizeof *soak.times);
    enum systole_status status = soak.times == NULL ? SYSTOLE_OUT_OF_MEMORY : prepare(&soak, diagnostic);
    if (status == SYSTOLE_OK) {
        infer_all(&soak);
        uint32_t done = soak.done;
        result->end_kb = resident_kb();
        systole_driver_statistics(soak.driver, &result->statistics);
        qsort(soak.times, done, sizeof *soak.times, compare);
        result->longest_ms = done == 0 ? 0 : soak.times[done - 1];
        result->median_ms = soak.times[done / 2];
    }
    systole_session_free(soak.session);
    systole_driver_close(soak.driver);
    for (uint32_t i = 0; i < INPUTS; i++) {
        free(soak.inputs[i]);
        free(soak.expected[i]);
    }
    systole_program_free(&soak.program);
    systole_graph_free(&soak.graph);
    free(soak.times);
    return status;
}
