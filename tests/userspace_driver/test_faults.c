// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Every fault on every endpoint that can have it: the next results are right, the verdict has the expected type, and
// nothing takes longer than its deadline. Then faults at random.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault_soak.h"
#include "testing.h"

#define MODEL "examples/digits/digits_int8.tflite"

enum { SILENCE_MS = 300, INFERENCES = 6 };

static struct soak_result run(const char *script, uint32_t inferences) {
    struct soak_options options = {MODEL, "model", "systole16", script, inferences, 7, SILENCE_MS, 0, 1};
    struct systole_diagnostic diagnostic = {"", "", ""};
    struct soak_result result;
    enum systole_status status = soak_run(&options, &result, &diagnostic);
    ck_assert_msg(status == SYSTOLE_OK, "%s: %s (%s)", script, diagnostic.what, diagnostic.where);
    return result;
}

static bool expected(enum systole_fault_kind kind, enum systole_fault_endpoint endpoint, enum systole_status failure) {
    switch (kind) {
    case SYSTOLE_FAULT_STALL:
        return failure == SYSTOLE_DEVICE_STALL;
    case SYSTOLE_FAULT_SILENCE:
        return failure == (endpoint == SYSTOLE_FAULT_CONTROL ? SYSTOLE_OK : SYSTOLE_DEVICE_TIMEOUT) ||
               (endpoint == SYSTOLE_FAULT_CONTROL && failure == SYSTOLE_DEVICE_TIMEOUT);
    case SYSTOLE_FAULT_HANG:
        return failure == SYSTOLE_DEVICE_TIMEOUT;
    case SYSTOLE_FAULT_LOSE:
        return failure == SYSTOLE_DEVICE_TIMEOUT || failure == SYSTOLE_DEVICE_PROTOCOL ||
               (endpoint == SYSTOLE_FAULT_OUT && failure == SYSTOLE_DEVICE_FAULT); // what follows is taken for a frame
    case SYSTOLE_FAULT_SHORT:
    case SYSTOLE_FAULT_CORRUPT:
    case SYSTOLE_FAULT_LENGTH:
        return endpoint == SYSTOLE_FAULT_OUT ? failure == SYSTOLE_DEVICE_FAULT || failure == SYSTOLE_DEVICE_TIMEOUT
                                             : failure == SYSTOLE_DEVICE_PROTOCOL;
    case SYSTOLE_FAULT_BABBLE:
    case SYSTOLE_FAULT_DUPLICATE:
    case SYSTOLE_FAULT_WRONG_TAG:
    case SYSTOLE_FAULT_REFUSE:
        return failure == SYSTOLE_DEVICE_PROTOCOL;
    case SYSTOLE_FAULT_UNPLUG:
        return failure == SYSTOLE_DEVICE_GONE;
    case SYSTOLE_FAULT_PARITY:
        return failure == SYSTOLE_DEVICE_FAULT || failure == SYSTOLE_OK; // if nobody reads the word
    default:
        return failure == SYSTOLE_OK; // spurious, nak
    }
}

START_TEST(every_fault) {
    enum systole_fault_kind kind = (enum systole_fault_kind)_i;
    for (uint32_t endpoint = 0; endpoint < SYSTOLE_FAULT_ENDPOINTS; endpoint++) {
        if (!systole_fault_applies(kind, endpoint) || systole_fault_is_silent(kind)) {
            continue;
        }
        char script[64];
        uint32_t at = endpoint == SYSTOLE_FAULT_INTERRUPT                                 ? 1
                      : endpoint == SYSTOLE_FAULT_CONTROL && kind != SYSTOLE_FAULT_REFUSE ? 60
                                                                                          : 2;
        snprintf(script, sizeof script, "at %u %s %s\n", at, systole_fault_endpoint_name(endpoint),
                 systole_fault_name(kind));
        struct soak_result result = run(script, INFERENCES);
        ck_assert_msg(result.faults[kind] == 1, "%s happened %u times", script, result.faults[kind]);
        ck_assert_msg(result.right == INFERENCES, "%s: %u right, %u wrong", script, result.right, result.wrong);
        ck_assert_msg(expected(kind, endpoint, result.first_failure), "%s: %s, %s", script,
                      systole_status_name(result.first_failure), result.first_diagnostic.what);
        // Found within the silence and a look at the clock, brought up again within another one.
        ck_assert_msg(result.longest_ms < 2 * SILENCE_MS + 1500, "%s took %.0f ms", script, result.longest_ms);
    }
}
END_TEST

START_TEST(gone_forever) {
    struct soak_result result = run("at 2 in unplug forever\n", INFERENCES);
    ck_assert_uint_eq(result.lost, 1);
    ck_assert_uint_eq(result.wrong, 0);
    ck_assert_uint_eq(result.errors[SYSTOLE_DEVICE_GONE] + result.errors[SYSTOLE_DEVICE_TIMEOUT], 1);
    ck_assert_msg(result.longest_ms < 2 * SILENCE_MS + 1500, "took %.0f ms", result.longest_ms);
}
END_TEST

// A device that never stops failing: typed error, in bounded time.
START_TEST(always) {
    struct soak_options options = {MODEL, "model", "systole16", "every 1 event stall\n", 1, 7, SILENCE_MS, 0, 1};
    struct systole_diagnostic diagnostic = {"", "", ""};
    struct soak_result result;
    ck_assert_int_eq(soak_run(&options, &result, &diagnostic), SYSTOLE_OK);
    ck_assert_uint_eq(result.errors[SYSTOLE_DEVICE_STALL], 1);
    ck_assert_uint_eq(result.faults[SYSTOLE_FAULT_STALL], 4); // the first and three replays
}
END_TEST

START_TEST(at_random) {
    char script[64];
    snprintf(script, sizeof script, "seed %d\nevery 20 data any\nevery 500 control any\n", _i + 1);
    struct soak_result result = run(script, 150);
    uint32_t errors = 0, faults = 0;
    for (uint32_t i = 0; i < SOAK_STATUSES; i++) {
        errors += result.errors[i];
    }
    for (uint32_t i = 0; i < SYSTOLE_FAULT_KINDS; i++) {
        faults += result.faults[i];
    }
    ck_assert_uint_eq(result.wrong, 0);
    ck_assert_uint_eq(result.lost, 0);
    ck_assert_uint_eq(result.right + errors, 150);
    ck_assert_uint_gt(result.right, 130);
    ck_assert_uint_gt(faults, 5);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("faults");
    TCase *cases = tcase_create("cases");
    tcase_set_timeout(cases, 120);
    tcase_add_loop_test(cases, every_fault, 1, SYSTOLE_FAULT_KINDS);
    tcase_add_test(cases, gone_forever);
    tcase_add_test(cases, always);
    tcase_add_loop_test(cases, at_random, 0, 3);
    suite_add_tcase(suite, cases);
    return testing_run(suite, "userspace_driver/test_faults");
}
