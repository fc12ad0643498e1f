// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What a bring-up engineer asks a board first, in the order in which answers depend on one another: registers, memory,
// link, what it refuses, runs, units. A step that fails does not end the test; a device that is gone does.
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "selftest.h"
#include "target.h"
#include "wiring.h"

#define SILENCE_MS 5000u
#define CHUNK_BYTES 65536u           // at a time, where a simulated link would take seconds for all
#define SIMULATED_MARCH_BYTES 65536u // of RTL, unless --memory says more: a pass over all takes minutes

static const struct step {
    const char *group, *name;
    bool (*run)(struct selftest *test);
} steps[] = {
    {"registers", "capabilities", selftest_capabilities},
    {"registers", "reset values", selftest_reset_values},
    {"registers", "read-only", selftest_read_only},
    {"registers", "walking ones", selftest_walking_ones},
    {"registers", "holes", selftest_holes},
    {"link", "loopback", selftest_loopback},
    {"link", "bandwidth out", selftest_bandwidth_out},
    {"link", "bandwidth in", selftest_bandwidth_in},
    {"link", "interrupt", selftest_interrupt},
    {"link", "hostile frames", selftest_hostile_frames},
    {"memory", "addresses", selftest_memory_addresses},
    {"memory", "march", selftest_memory_march},
    {"memory", "parity", selftest_memory_parity},
    {"runs", "counters", selftest_counters},
    {"runs", "regions", selftest_regions},
    {"runs", "watchdog", selftest_watchdog},
    {"runs", "breakpoints", selftest_breakpoints},
    {"units", "load", selftest_unit_load},
    {"units", "store", selftest_unit_store},
    {"units", "array", selftest_unit_array},
    {"units", "depthwise", selftest_unit_depthwise},
    {"units", "elementwise", selftest_unit_elementwise},
    {"units", "side by side", selftest_units_together},
};
#define STEPS (sizeof steps / sizeof steps[0])

bool selftest_found(struct selftest *test, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(test->detail, sizeof test->detail, format, arguments);
    va_end(arguments);
    return false;
}

bool selftest_failed(struct selftest *test, enum systole_status status, const char *format, ...) {
    char what[256];
    uint64_t error = 0, detail = 0;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    test->status = status;
    // A device that stopped says why.
    if (status == SYSTOLE_DEVICE_TIMEOUT &&
        systole_probe_read_register(test->probe, SYSTOLE_REGISTER_ERROR, &error) == SYSTOLE_OK &&
        systole_probe_read_register(test->probe, SYSTOLE_REGISTER_ERROR_DETAIL, &detail) == SYSTOLE_OK &&
        (error & 0xff) != 0) {
        return selftest_found(test, "%s: the device stopped with error %s, detail 0x%" PRIx64, what,
                              systole_error_name(error & 0xff), detail);
    }
    return selftest_found(test, "%s: %s", what, systole_status_name(status));
}

bool selftest_write(struct selftest *test, uint32_t word, const void *bytes, uint32_t words) {
    enum systole_status status = systole_probe_write(test->probe, word, bytes, words);
    return status == SYSTOLE_OK || selftest_failed(test, status, "a write of %u words at word %u", words, word);
}

bool selftest_read(struct selftest *test, uint32_t word, void *bytes, uint32_t words) {
    enum systole_status status = systole_probe_read(test->probe, word, bytes, words);
    return status == SYSTOLE_OK || selftest_failed(test, status, "a read of %u words at word %u", words, word);
}

bool selftest_write_image(struct selftest *test, const uint8_t *image, uint32_t words) {
    uint32_t step = CHUNK_BYTES / test->target->columns;
    for (uint32_t word = 0; word < words; word += step) {
        if (!selftest_write(test, word, image + (size_t)word * test->target->columns,
                            words - word < step ? words - word : step)) {
            return false;
        }
    }
    return true;
}

bool selftest_read_register(struct selftest *test, uint32_t address, uint64_t *value) {
    enum systole_status status = systole_probe_read_register(test->probe, address, value);
    return status == SYSTOLE_OK || selftest_failed(test, status, "a read of the register at 0x%03x", address);
}

bool selftest_write_register(struct selftest *test, uint32_t address, uint64_t value) {
    enum systole_status status = systole_probe_write_register(test->probe, address, value);
    return status == SYSTOLE_OK ||
           selftest_failed(test, status, "a write of 0x%" PRIx64 " to the register at 0x%03x", value, address);
}

bool selftest_reset(struct selftest *test) {
    enum systole_status status = systole_probe_reset(test->probe);
    test->token = 0;
    return status == SYSTOLE_OK || selftest_failed(test, status, "a reset of the accelerator");
}

bool selftest_expect_fault(struct selftest *test, const char *what, uint32_t error, uint32_t unit, uint32_t command,
                           uint32_t detail) {
    struct systole_event event;
    uint64_t latch, latched_detail, expected;
    enum systole_status status = systole_probe_event(test->probe, &event);
    if (status != SYSTOLE_OK) {
        return selftest_failed(test, status, "%s: the event of error %s", what, systole_error_name(error));
    }
    if (event.kind != SYSTOLE_EVENT_KIND_FAULT || event.error != error || event.unit != unit ||
        event.command != command || event.detail != detail || event.token != test->token) {
        return selftest_found(test,
                              "%s: event %u of run %u, error %s, unit %u, command %u, detail 0x%x; expected a fault of "
                              "run %u, %s, %u, %u, 0x%x",
                              what, event.kind, event.token, systole_error_name(event.error), event.unit, event.command,
                              event.detail, test->token, systole_error_name(error), unit, command, detail);
    }
    if (!selftest_read_register(test, SYSTOLE_REGISTER_ERROR, &latch) ||
        !selftest_read_register(test, SYSTOLE_REGISTER_ERROR_DETAIL, &latched_detail)) {
        return false;
    }
    expected = (uint64_t)command << 32 | unit << 8 | error;
    return (latch == expected && latched_detail == detail) ||
           selftest_found(test,
                          "%s: error at 0x%03x is 0x%" PRIx64 " with detail 0x%" PRIx64 ", the event said 0x%" PRIx64
                          " and 0x%x",
                          what, SYSTOLE_REGISTER_ERROR, latch, latched_detail, expected, detail);
}

bool selftest_compare(struct selftest *test, const char *what, uint32_t first_word, const uint8_t *expected,
                      const uint8_t *found, size_t bytes) {
    uint32_t columns = test->target->columns;
    for (size_t i = 0; i < bytes; i++) {
        if (found[i] != expected[i]) {
            uint32_t word = first_word + (uint32_t)(i / columns), bit = 0;
            while (((found[i] ^ expected[i]) >> bit & 1) == 0) {
                bit++;
            }
            return selftest_found(test, "%s: word %u (bank %u), bit %zu is %u, expected %u", what, word,
                                  word % test->target->banks, 8 * (i % columns) + bit, found[i] >> bit & 1,
                                  expected[i] >> bit & 1);
        }
    }
    return true;
}

uint32_t selftest_random(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static enum systole_status open_probe(const struct cli_arguments *arguments, const struct systole_target *target,
                                      struct systole_probe **probe, struct systole_diagnostic *diagnostic) {
    uint8_t *firmware = NULL;
    size_t size = 0;
    struct systole_transport *transport = NULL;
    enum systole_status status = systole_firmware_build(target, &firmware, &size);
    if (status != SYSTOLE_OK) {
        return systole_fail(diagnostic, status, arguments->device, "", "no memory for the firmware");
    }
    struct wiring_options wiring = {.faults = arguments->faults};
    status = wiring_open_transport(arguments->device, target, &wiring, &transport, diagnostic);
    if (status == SYSTOLE_OK) {
        status = systole_probe_open(transport, target, firmware, size, SILENCE_MS, probe, diagnostic);
    }
    free(firmware);
    return status;
}

struct outcome {
    const char *result;
    char detail[512];
    double ms;
};

// Returns how many were run.
static uint32_t run_steps(struct selftest *test, struct outcome *outcomes, uint32_t *failures) {
    bool gone = false;
    uint32_t ran = 0;
    for (size_t i = 0; i < STEPS; i++) {
        double start = cli_seconds();
        test->detail[0] = '\0';
        test->status = SYSTOLE_OK;
        bool good = !gone && selftest_reset(test) && steps[i].run(test);
        if (good && systole_probe_events_left(test->probe) != 0) {
            good = selftest_found(test, "%u events came that nothing was the cause of",
                                  systole_probe_events_left(test->probe));
        }
        outcomes[i].ms = 1e3 * (cli_seconds() - start);
        outcomes[i].result = gone ? "not run" : good ? "ok" : "FAILED";
        (void)snprintf(outcomes[i].detail, sizeof outcomes[i].detail, "%s", gone ? "the device is gone" : test->detail);
        *failures += !gone && !good;
        ran += !gone;
        gone = gone || test->status == SYSTOLE_DEVICE_GONE;
        printf("%-10s %-15s %-7s %9.1f ms  %s\n", steps[i].group, steps[i].name, outcomes[i].result, outcomes[i].ms,
               outcomes[i].detail);
        (void)fflush(stdout);
    }
    return ran;
}

static enum systole_status write_report(const char *path, const struct selftest *test, const char *device,
                                        const struct outcome *outcomes, uint32_t ran, uint32_t failures,
                                        struct systole_diagnostic *diagnostic) {
    char id[16];
    (void)snprintf(id, sizeof id, "%08x", systole_target_id(test->target));
    json_t *list = json_array();
    for (size_t i = 0; i < STEPS; i++) {
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:f}", "group", steps[i].group, "name",
                                              steps[i].name, "result", outcomes[i].result, "detail", outcomes[i].detail,
                                              "ms", outcomes[i].ms));
    }
    json_t *report = json_pack("{s:s, s:s, s:s, s:I, s:i, s:i, s:o}", "device", device, "target", test->target->name,
                               "target_id", id, "memory_bytes", (json_int_t)test->march_words * test->target->columns,
                               "steps_run", (int)ran, "failures", (int)failures, "steps", list);
    enum systole_status status = cli_write_json(path, report, diagnostic);
    json_decref(report);
    return status;
}

static enum systole_status summarise(const struct outcome *outcomes, uint32_t failures, const char *device,
                                     struct systole_diagnostic *diagnostic) {
    char names[160] = "";
    for (size_t i = 0; i < STEPS; i++) {
        size_t used = strlen(names);
        if (strcmp(outcomes[i].result, "FAILED") == 0 && used + 40 < sizeof names) {
            (void)snprintf(names + used, sizeof names - used, "%s%s %s", used == 0 ? "" : ", ", steps[i].group,
                           steps[i].name);
        }
    }
    return systole_fail(diagnostic, SYSTOLE_DEVICE_FAULT, device, "docs/bring-up.md tells what each means",
                        "%u of %zu steps of the selftest failed: %s", failures, STEPS, names);
}

static int run(const struct cli_command *command, int argc, char **argv) {
    struct cli_arguments arguments;
    int exit_status;
    if (!cli_parse(command, argc, argv, &arguments, &exit_status)) {
        return exit_status;
    }
    struct systole_diagnostic diagnostic = {.what = ""};
    struct systole_target target;
    struct selftest test = {.target = &target, .seed = arguments.seed | 1};
    enum systole_status status =
        systole_target_find(arguments.target != NULL ? arguments.target : "systole16", &target, &diagnostic);
    status = status == SYSTOLE_OK ? open_probe(&arguments, &target, &test.probe, &diagnostic) : status;
    if (status != SYSTOLE_OK) {
        return cli_error(status, &diagnostic);
    }
    uint32_t march = strcmp(arguments.device, "rtl") == 0 ? SIMULATED_MARCH_BYTES : target.scratchpad_bytes;
    march = arguments.memory != 0 ? arguments.memory : march;
    march = march < target.scratchpad_bytes ? march : target.scratchpad_bytes;
    test.words = systole_target_words(&target);
    test.march_words = march / target.columns < 1 ? 1 : march / target.columns;
    test.bytes = malloc(SELFTEST_BYTES);
    test.expected = malloc(SELFTEST_BYTES);
    struct outcome outcomes[STEPS];
    uint32_t failures = 0;
    if (test.bytes == NULL || test.expected == NULL) {
        status = systole_fail(&diagnostic, SYSTOLE_OUT_OF_MEMORY, arguments.device, "", "no memory for the selftest");
    } else {
        printf("%s, %s, seed %u\n", systole_probe_transport(test.probe)->name, target.name, arguments.seed);
        uint32_t ran = run_steps(&test, outcomes, &failures);
        printf("%u of %u steps failed\n", failures, ran);
        if (ran < STEPS) {
            printf("%zu steps were not run\n", STEPS - ran);
        }
        if (arguments.report != NULL) {
            status = write_report(arguments.report, &test, arguments.device, outcomes, ran, failures, &diagnostic);
        }
    }
    systole_probe_close(test.probe);
    free(test.expected);
    free(test.bytes);
    if (status == SYSTOLE_OK && failures != 0) {
        status = summarise(outcomes, failures, arguments.device, &diagnostic);
    }
    return status != SYSTOLE_OK ? cli_error(status, &diagnostic) : 0;
}

const struct cli_command cli_selftest = {
    .name = "selftest",
    .summary = "is a device all right? registers, memory, link, runs, units",
    .usage = "[--device model|rtl|usb[:N]] [--target NAME|FILE]",
    .help =
        "Brings the device up and looks at everything that can be seen from the host: registers, the link's loopback\n"
        "and bandwidth, frames that lie, a march test of the memory and its parity, counters, regions, watchdog,\n"
        "breakpoints, and each unit against the functional model. A step that fails names the register, word or bit.\n"
        "Exit status 3 when one did. docs/bring-up.md tells what to make of it.\n",
    .options = CLI_DEVICE | CLI_TARGET | CLI_REPORT | CLI_FAULTS | CLI_SEED | CLI_MEMORY,
    .minimum = 0,
    .maximum = 0,
    .run = run,
};
