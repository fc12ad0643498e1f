// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The long runs of `make soak`, and the table of docs/faults.md:
//   soak run MODEL.tflite model|rtl|usb INFERENCES EVERY SEED [SILENCE_MS [DEVICES [THREADS]]]
//   soak table MODEL.tflite
// Each device has THREADS of its own that take turns. Ends with status 1 when a result is wrong, a device is lost or
// memory grows.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault_soak.h"

enum { THREADS = 16, PER_FAULT = 8, GROWTH_KB = 2048 };

struct worker {
    pthread_t thread;
    struct soak_options options;
    char script[128];
    struct soak_result result;
    enum systole_status status;
    struct systole_diagnostic diagnostic;
};

static void *work(void *argument) {
    struct worker *worker = argument;
    worker->status = soak_run(&worker->options, &worker->result, &worker->diagnostic);
    return NULL;
}

static int print(const struct worker *worker) {
    const struct soak_result *result = &worker->result;
    uint32_t errors = 0, faults = 0;
    if (worker->status != SYSTOLE_OK) {
        printf("soak: error: %s (%s)\n", worker->diagnostic.what, worker->diagnostic.where);
        return 1;
    }
    printf("faults:");
    for (uint32_t i = 1; i < SYSTOLE_FAULT_KINDS; i++) {
        printf(" %s %u", systole_fault_name(i), result->faults[i]);
        faults += result->faults[i];
    }
    printf("\nerrors:");
    for (uint32_t i = 1; i < SOAK_STATUSES; i++) {
        errors += result->errors[i];
        if (result->errors[i] != 0) {
            printf(" %s %u", systole_status_name(i), result->errors[i]);
        }
    }
    printf(" (%u)\n", errors);
    printf("%u faults, %u right, %u wrong, %u typed errors, %llu recoveries, %llu spurious interrupts, %u lost; "
           "inference median %.2f ms, longest %.0f ms\n",
           faults, result->right, result->wrong, errors, (unsigned long long)result->statistics.recoveries,
           (unsigned long long)result->statistics.spurious, result->lost, result->median_ms, result->longest_ms);
    return result->wrong != 0 || result->lost != 0 || result->right == 0;
}

static int run(int argc, char **argv) {
    static struct worker workers[THREADS];
    uint32_t inferences = (uint32_t)strtoul(argv[4], NULL, 10), seed = (uint32_t)strtoul(argv[6], NULL, 10);
    uint32_t silence = argc > 7 ? (uint32_t)strtoul(argv[7], NULL, 10) : 100;
    uint32_t sharers = argc > 9 ? (uint32_t)strtoul(argv[9], NULL, 10) : 1;
    uint32_t threads = argc > 8 ? (uint32_t)strtoul(argv[8], NULL, 10) : 1;
    int failed = 0;
    threads = threads < 1 ? 1 : threads > THREADS ? THREADS : threads;
    for (uint32_t i = 0; i < threads; i++) {
        struct worker *worker = &workers[i];
        (void)snprintf(worker->script, sizeof worker->script, "seed %u\nevery %s data any\n", seed + i, argv[5]);
        worker->options = (struct soak_options){
            argv[2], argv[3], "systole16", strcmp(argv[5], "0") == 0 ? NULL : worker->script, inferences, seed + i,
            silence, 0,       sharers};
    }
    for (uint32_t i = 1; i < threads; i++) {
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) {
            printf("soak: error: no thread\n");
            return 1;
        }
    }
    work(&workers[0]);
    for (uint32_t i = 1; i < threads; i++) {
        (void)pthread_join(workers[i].thread, NULL);
    }
    for (uint32_t i = 0; i < threads; i++) {
        failed |= print(&workers[i]);
    }
    long grown = workers[0].result.end_kb - workers[0].result.early_kb;
    printf("resident memory: %ld KiB, %+ld since the first quarter\n", workers[0].result.end_kb, grown);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) // which keep freed memory
    failed |= threads == 1 && grown > GROWTH_KB;
#endif
    return failed;
}

// A device that never comes back: one typed error in bounded time, and the driver says that it has given up.
static int table_gone(const char *model) {
    struct soak_options options = {model, "model", "systole16", "at 3 in unplug forever\n", PER_FAULT, 1, 500, 0, 1};
    struct soak_result result;
    struct systole_diagnostic diagnostic = {"", "", ""};
    enum systole_status status = soak_run(&options, &result, &diagnostic);
    uint32_t typed = result.errors[SYSTOLE_DEVICE_GONE] + result.errors[SYSTOLE_DEVICE_TIMEOUT];
    bool fine = status == SYSTOLE_OK && result.wrong == 0 && typed == 1 && result.lost == 1;
    printf("| unplug forever | in | %s: %s | %s | %.0f | not at all |\n", systole_status_name(result.first_failure),
           result.first_diagnostic.what, fine ? "one typed error" : "NOT RIGHT", result.fault_ms);
    return !fine;
}

// One row a fault and endpoint: the fault once, in the midst of inferences.
static int table(const char *model) {
    int failed = 0;
    printf(
        "| fault | endpoint | the driver's verdict | inferences | detection and recovery, ms | of that recovery, ms |\n"
        "|---|---|---|---|---|---|\n");
    for (uint32_t kind = 1; kind < SYSTOLE_FAULT_KINDS; kind++) {
        for (uint32_t endpoint = 0; endpoint < SYSTOLE_FAULT_ENDPOINTS; endpoint++) {
            char script[128];
            // Control transfers of opening come first; boot's are the only ones that can be refused.
            uint32_t at = endpoint == SYSTOLE_FAULT_CONTROL && kind != SYSTOLE_FAULT_REFUSE ? 60
                          : endpoint == SYSTOLE_FAULT_INTERRUPT                             ? 1
                          : kind == SYSTOLE_FAULT_PARITY && endpoint == SYSTOLE_FAULT_OUT ? 9 // not while it is written
                                                                                          : 3;
            if (!systole_fault_applies(kind, endpoint) || systole_fault_is_silent(kind)) {
                continue;
            }
            (void)snprintf(script, sizeof script, "at %u %s %s%s\n", at, systole_fault_endpoint_name(endpoint),
                           systole_fault_name(kind), kind == SYSTOLE_FAULT_PARITY ? " 8" : "");
            struct soak_options options = {model, "model", "systole16", script, PER_FAULT, 1, 500, 0, 1};
            struct soak_result result;
            struct systole_diagnostic diagnostic = {"", "", ""};
            enum systole_status status = soak_run(&options, &result, &diagnostic);
            if (status != SYSTOLE_OK || result.faults[kind] == 0) {
                printf("| %s | %s | %s %s | | | |\n", systole_fault_name(kind), systole_fault_endpoint_name(endpoint),
                       status == SYSTOLE_OK ? "did not happen" : systole_status_name(status), diagnostic.what);
                failed = 1;
                continue;
            }
            bool fine = result.right == PER_FAULT;
            failed |= !fine;
            printf("| %s | %s | %s%s%s | %s | %.0f | %u |\n", systole_fault_name(kind),
                   systole_fault_endpoint_name(endpoint),
                   result.first_failure == SYSTOLE_OK ? "none: it does no harm"
                                                      : systole_status_name(result.first_failure),
                   result.first_failure == SYSTOLE_OK ? "" : ": ", result.first_diagnostic.what,
                   fine ? "all right" : "NOT RIGHT", result.fault_ms, result.first_recovery_ms);
        }
    }
    return table_gone(model) | failed;
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "table") == 0) {
        return table(argv[2]);
    }
    if (argc >= 7 && strcmp(argv[1], "run") == 0) {
        return run(argc, argv);
    }
    (void)fprintf(stderr,
                  "usage: soak table MODEL\n"
                  "       soak run MODEL model|rtl|usb INFERENCES EVERY SEED [SILENCE_MS [DEVICES [THREADS]]]\n");
    return 2;
}
