// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Random graphs, differentially: the CPU's interpreter is right; a graph written and read again, and its program on the
// functional model in the clock's order, in a random one that the tokens allow, and on RTL, must compute the same. By
// default a fixed number from a fixed seed; SYSTOLE_FUZZ_SECONDS and SYSTOLE_FUZZ_SEED make it go on from any other.
// What differs is left as random_SEED.tflite in SYSTOLE_FUZZ_FOLDER, or in the current folder.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "check_compile.h"
#include "compiler.h"
#include "device.h"
#include "in_process_driver.h"
#include "interpreter.h"
#include "random_graph.h"
#include "session.h"
#include "target.h"
#include "testing.h"

#define GRAPHS 500u // at most, and for SECONDS at most
#define SECONDS 20
#define CODES 256

enum { ON_MODEL_CLOCK, ON_MODEL_RANDOM, ON_RTL, DEVICES };
static const char *const device_names[DEVICES] = {"the model", "the model in random order", "RTL"};

static struct {
    uint32_t graphs, operators, on_device, segments, mismatches, rtl;
    uint32_t of_code[CODES], of_code_on_device[CODES];
    bool without_rtl;
} tally;

// What runs just now, for a crash.
static char running[128];
static void tell_crash(int signal_number) {
    ssize_t written = write(STDOUT_FILENO, running, strlen(running));
    (void)written;
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number);
}

// One graph with all that it is compared by.
struct trial {
    uint32_t seed, random;
    struct systole_target target;
    struct systole_graph made, graph; // as built; as read again
    struct systole_program program;
    struct systole_interpreter *expected;
    uint8_t *bytes;
    size_t size;
};

static struct systole_target any_target(uint32_t *random) {
    if (testing_range(random, 0, 2) == 0) {
        return systole_presets[testing_range(random, 0, (int32_t)SYSTOLE_PRESETS - 1)];
    }
    struct systole_target target = systole_presets[0];
    (void)snprintf(target.name, sizeof target.name, "odd");
    target.rows = target.columns = 4u << testing_range(random, 0, 3);
    target.weight_port_rows = 1u << testing_range(random, 0, 2);
    target.banks = 8u << testing_range(random, 0, 2);
    target.taps = (uint32_t)testing_range(random, 1, 5);
    target.accumulators = (uint32_t)testing_range(random, 16, testing_range(random, 0, 1) == 0 ? 40 : 600);
    uint32_t row = target.banks * target.columns;
    uint32_t bytes = 2048u << testing_range(random, 0, 7);
    target.scratchpad_bytes = (bytes / row + 1) * row;
    target.link_millibytes_per_cycle = (uint32_t)testing_range(random, 100, 5000);
    return target;
}

// "operator 3 CONV_2D, tensor 7 (t7), element 12: expected 5, found 6"; false: all equal.
static bool differs(const struct systole_graph *graph, int32_t tensor, const uint8_t *expected, const uint8_t *found,
                    char *text, size_t size) {
    const struct systole_tensor *t = &graph->tensors[tensor];
    size_t element = systole_dtype_size(t->dtype), at = 0;
    if (memcmp(expected, found, t->size) == 0) {
        return false;
    }
    while (expected[at] == found[at]) {
        at++;
    }
    const char *producer = "an input";
    uint32_t index = 0;
    for (uint32_t o = 0; o < graph->operator_count; o++) {
        for (uint32_t k = 0; k < graph->operators[o].output_count; k++) {
            if (graph->operators[o].outputs[k] == tensor) {
                index = o;
                producer = systole_operator_name(graph->operators[o].code);
            }
        }
    }
    bool is_signed = t->dtype == SYSTOLE_INT8;
    (void)snprintf(text, size, "operator %u %s, tensor %d (%s), element %zu: expected %d, found %d", index, producer,
                   tensor, t->name, at / element, is_signed ? (int8_t)expected[at] : expected[at],
                   is_signed ? (int8_t)found[at] : found[at]);
    return true;
}

static void report(const struct trial *trial, const char *where, const char *text) {
    const struct systole_target *t = &trial->target;
    const char *folder = getenv("SYSTOLE_FUZZ_FOLDER");
    char path[512];
    (void)snprintf(path, sizeof path, "%s/random_%u.tflite", folder != NULL ? folder : ".", trial->seed);
    FILE *file = fopen(path, "wb");
    bool written = file != NULL && fwrite(trial->bytes, 1, trial->size, file) == trial->size;
    written = file != NULL && fclose(file) == 0 && written;
    printf("seed %u, %s, %s\n    target %s: rows %u, taps %u, banks %u, weight_port_rows %u, accumulators %u, "
           "scratchpad_bytes %u, link %u\n    model %s\n",
           trial->seed, where, text, t->name, t->rows, t->taps, t->banks, t->weight_port_rows, t->accumulators,
           t->scratchpad_bytes, t->link_millibytes_per_cycle, written ? path : "could not be written");
    (void)fflush(stdout);
    tally.mismatches++;
}

static void report_failure(const struct trial *trial, const char *where, const struct systole_diagnostic *diagnostic) {
    char text[1200];
    (void)snprintf(text, sizeof text, "%s (%s)", diagnostic->what, diagnostic->where);
    report(trial, where, text);
}

static void fill(const struct trial *trial, uint32_t round, uint32_t input, uint8_t *bytes) {
    uint32_t random = ((trial->seed * 31u + input) * 2u + round) * 2246822519u | 1u;
    random_graph_fill(bytes, trial->graph.tensors[trial->graph.inputs[input]].size, &random);
}

// The expectation from the graph as built; then all tensors of the graph as read.
static bool run_on_cpu(struct trial *trial) {
    struct systole_diagnostic diagnostic = {.what = ""};
    struct systole_interpreter *again = NULL;
    char text[400];
    enum systole_status status = systole_interpreter_create(&trial->made, NULL, &trial->expected, &diagnostic);
    if (status == SYSTOLE_OK) {
        status = systole_interpreter_create(&trial->graph, NULL, &again, &diagnostic);
    }
    for (uint32_t i = 0; i < trial->graph.input_count && status == SYSTOLE_OK; i++) {
        fill(trial, 0, i, systole_interpreter_tensor(trial->expected, trial->made.inputs[i]));
        fill(trial, 0, i, systole_interpreter_tensor(again, trial->graph.inputs[i]));
    }
    if (status == SYSTOLE_OK) {
        status = systole_interpreter_run(trial->expected, &diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = systole_interpreter_run(again, &diagnostic);
    }
    bool fine = status == SYSTOLE_OK;
    if (!fine) {
        report_failure(trial, "CPU", &diagnostic);
    }
    for (int32_t t = 0; fine && t < (int32_t)trial->graph.tensor_count; t++) {
        if (differs(&trial->graph, t, systole_interpreter_tensor(trial->expected, t),
                    systole_interpreter_tensor(again, t), text, sizeof text)) {
            report(trial, "CPU after writing and reading", text);
            fine = false;
        }
    }
    systole_interpreter_free(again);
    return fine;
}

static struct systole_driver *open_rtl(const struct systole_target *target, struct systole_diagnostic *diagnostic) {
    struct systole_accelerator *accelerator;
    struct systole_transport *transport;
    struct systole_driver *driver = NULL;
    const struct systole_driver_options options = {.trace_retirements = true};
    uint8_t *firmware = NULL;
    size_t size;
    enum systole_status status = systole_rtl_create(target, &accelerator, diagnostic);
    if (status == SYSTOLE_OK) {
        struct systole_usb_device *device = systole_usb_device_create(accelerator, target);
        ck_assert_ptr_nonnull(device);
        status = systole_in_process_open(device, "rtl", &transport, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        ck_assert_int_eq(systole_firmware_build(target, &firmware, &size), SYSTOLE_OK);
        status = systole_driver_open(transport, target, firmware, size, &options, &driver, diagnostic);
    }
    free(firmware);
    return status == SYSTOLE_OK ? driver : NULL;
}

static void run_on_device(struct trial *trial, uint32_t device) {
    struct systole_diagnostic diagnostic = {.what = ""};
    struct systole_session *session = NULL;
    size_t size = 0;
    char text[400];
    struct systole_driver *driver =
        device == ON_RTL ? open_rtl(&trial->target, &diagnostic)
                         : in_process_driver(&trial->target, device == ON_MODEL_RANDOM ? trial->seed + 1 : 0, true);
    if (driver == NULL) {
        report_failure(trial, device_names[device], &diagnostic);
        return;
    }
    const struct systole_session_options options = {.driver = driver, .verify = true};
    enum systole_status status =
        systole_session_create(&trial->graph, &trial->program, &options, &session, &diagnostic);
    // Every fourth runs other inputs before, which verification looks at, so that what they left could be seen; a state
    // must be new.
    bool has_state = false;
    for (uint32_t t = 0; t < trial->graph.tensor_count; t++) {
        has_state = has_state || trial->graph.tensors[t].is_variable;
    }
    for (uint32_t round = trial->seed % 4 == 1 && !has_state ? 2 : 1; round-- > 0 && status == SYSTOLE_OK;) {
        for (uint32_t i = 0; i < trial->graph.input_count; i++) {
            fill(trial, round, i, systole_session_input(session, i, &size));
        }
        status = systole_session_invoke(session, &diagnostic);
    }
    if (status != SYSTOLE_OK) {
        report_failure(trial, device_names[device], &diagnostic);
    }
    for (uint32_t i = 0; i < trial->graph.output_count && status == SYSTOLE_OK; i++) {
        int32_t tensor = trial->graph.outputs[i];
        if (differs(&trial->graph, tensor, systole_interpreter_tensor(trial->expected, tensor),
                    systole_session_output(session, i, &size), text, sizeof text)) {
            report(trial, device_names[device], text);
            status = SYSTOLE_MISMATCH;
        }
    }
    systole_session_free(session);
    systole_driver_close(driver);
}

static void count(const struct trial *trial) {
    tally.segments += trial->program.segment_count;
    for (uint32_t o = 0; o < trial->program.operator_count; o++) {
        uint32_t code = (uint32_t)trial->graph.operators[o].code % CODES;
        bool on_device = trial->program.operators[o].place == SYSTOLE_PLACE_DEVICE;
        tally.operators++;
        tally.of_code[code]++;
        tally.on_device += on_device;
        tally.of_code_on_device[code] += on_device;
    }
}

static void run_graph(uint32_t seed, uint32_t rtl_one_in) {
    struct trial trial = {.seed = seed, .random = (seed + 7u) * 3266489917u | 1u};
    struct systole_diagnostic diagnostic = {.what = ""};
    (void)testing_random(&trial.random);
    bool for_rtl = (uint32_t)testing_range(&trial.random, 1, (int32_t)rtl_one_in) == 1;
    bool on_rtl = for_rtl && !tally.without_rtl;
    trial.target = for_rtl ? check_target("systole16") : any_target(&trial.random);
    (void)snprintf(running, sizeof running, "seed %u ended the process\n", seed);
    random_graph_make(&trial.made, seed, seed % 4 == 0 ? 20 : 8);
    enum systole_status status = systole_target_check(&trial.target, &diagnostic);
    if (status == SYSTOLE_OK) {
        status = systole_graph_write(&trial.made, NULL, &trial.bytes, &trial.size, &diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = systole_graph_read(trial.bytes, trial.size, trial.made.name, &trial.graph, &diagnostic);
    }
    if (status != SYSTOLE_OK) {
        report_failure(&trial, "writing and reading", &diagnostic);
    } else if (run_on_cpu(&trial)) {
        status = systole_compile(&trial.graph, &trial.target, NULL, &trial.program, &diagnostic);
        if (status == SYSTOLE_OK) {
            status = systole_program_verify(&trial.program, &diagnostic);
        }
        if (status != SYSTOLE_OK) {
            report_failure(&trial, "compiling", &diagnostic);
        }
        for (uint32_t device = 0; device < (on_rtl ? DEVICES : ON_RTL) && status == SYSTOLE_OK; device++) {
            run_on_device(&trial, device);
        }
        tally.rtl += on_rtl;
        count(&trial);
    }
    tally.graphs++;
    systole_program_free(&trial.program);
    systole_interpreter_free(trial.expected);
    systole_graph_free(&trial.graph);
    systole_graph_free(&trial.made);
    free(trial.bytes);
}

static void print_tally(void) {
    printf("%u graphs (%u on RTL too), %u operators, %u of them in %u device segments, %u mismatches\n", tally.graphs,
           tally.rtl, tally.operators, tally.on_device, tally.segments, tally.mismatches);
    for (int32_t code = 0; code < CODES; code++) {
        if (tally.of_code[code] > 0) {
            printf("    %-26s %6u, on the device %6u\n", systole_operator_name(code), tally.of_code[code],
                   tally.of_code_on_device[code]);
        }
    }
}

static double now(void) {
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

// Seeds whose graphs once differed: views and copies that share words (70290), more temporaries in a move than in the
// next.
static const uint32_t past_findings[] = {70290, 901711, 902962};

START_TEST(random_graphs) {
    const char *seconds_text = getenv("SYSTOLE_FUZZ_SECONDS"), *seed_text = getenv("SYSTOLE_FUZZ_SEED");
    double seconds = seconds_text != NULL ? strtod(seconds_text, NULL) : SECONDS, begin = now(), said = begin;
    uint32_t first = seed_text != NULL ? (uint32_t)strtoul(seed_text, NULL, 10) : 1;
    uint32_t limit = seconds_text != NULL ? UINT32_MAX : GRAPHS;
    struct systole_target target = check_target("systole16");
    struct systole_accelerator *accelerator = NULL;
    struct systole_diagnostic diagnostic = {.what = ""};
    if (systole_rtl_create(&target, &accelerator, &diagnostic) == SYSTOLE_OK) {
        accelerator->functions->destroy(accelerator);
    } else {
        testing_skip("RTL: %s", diagnostic.what);
        tally.without_rtl = true;
    }
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGABRT, SIGILL, SIGTERM};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        (void)signal(signals[i], tell_crash);
    }
    for (size_t i = 0; i < sizeof past_findings / sizeof *past_findings; i++) {
        run_graph(past_findings[i], 1);
    }
    for (uint32_t i = 0; i < limit && now() - begin < seconds; i++) {
        run_graph(first + i, 16);
        if (now() - said > 1.0 && isatty(STDOUT_FILENO)) {
            said = now();
            printf("\r%u graphs, %u mismatches, %.0f of %.0f s ", tally.graphs, tally.mismatches, said - begin,
                   seconds);
            (void)fflush(stdout);
        }
    }
    uint32_t others = (uint32_t)(sizeof past_findings / sizeof *past_findings);
    printf("%sseeds %u to %u, and %u of old: ", isatty(STDOUT_FILENO) ? "\r" : "", first,
           first + tally.graphs - others - 1, others);
    print_tally();
    ck_assert_uint_gt(tally.graphs, 0);
    ck_assert_uint_eq(tally.mismatches, 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("random_graphs");
    TCase *cases = tcase_create("cases");
    const char *seconds = getenv("SYSTOLE_FUZZ_SECONDS");
    tcase_set_timeout(cases, seconds != NULL ? strtod(seconds, NULL) + 600.0 : 300.0);
    tcase_add_test(cases, random_graphs);
    suite_add_tcase(suite, cases);
    return testing_run(suite, "differential/test_random_graphs");
}
