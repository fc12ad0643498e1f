// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// RTL and functional model in lockstep: random programs of all units on the Verilated accelerator of each preset that
// is built; every word that a command writes is compared when the command retires. The functional model runs the same
// programs.
#include <stdio.h>
#include <stdlib.h>

#include "cycle_model.h"
#include "frames.h"
#include "lockstep.h"
#include "testing.h"

#define COMMANDS 80u

static int programs = 6; // a preset; $SYSTOLE_LOCKSTEP_PROGRAMS asks for more

static void run_seed(const struct systole_target *target, struct systole_accelerator *accelerator, uint32_t seed,
                     const char *name) {
    struct random_program program;
    struct lockstep lockstep;
    bool is_strict = seed % 3 != 0;
    ck_assert(random_program_make(&program, target, seed, COMMANDS, is_strict, RANDOM_PROGRAM_ALL_UNITS));
    bool equal = lockstep_run(&lockstep, target, &program, accelerator, is_strict);
    if (getenv("SYSTOLE_LOCKSTEP_PRINT") != NULL) {
        printf("%s %s seed %u: %u commands, %lu cycles, %lu predicted\n", name, target->name, seed, program.count,
               (unsigned long)lockstep.cycles,
               (unsigned long)systole_schedule_cycles(target, program.commands, program.count, NULL, NULL, NULL));
    }
    ck_assert_msg(equal, "%s %s, seed %u: %s", name, target->name, seed, lockstep.failure);
    lockstep_free(&lockstep);
    random_program_free(&program);
}

static void run_presets(int preset, bool is_rtl) {
    const struct systole_target *target = &systole_presets[preset];
    struct systole_accelerator *accelerator;
    struct systole_diagnostic diagnostic;
    enum systole_status status = is_rtl ? systole_rtl_create(target, &accelerator, &diagnostic)
                                        : systole_functional_model_create(target, 0, &accelerator, &diagnostic);
    if (is_rtl && status == SYSTOLE_UNSUPPORTED) {
        testing_skip("lockstep on %s: %s (%s)", target->name, diagnostic.what, diagnostic.hint);
        return;
    }
    ck_assert_msg(status == SYSTOLE_OK, "%s", diagnostic.what);
    frames_start(accelerator);
    // One device, one program after the other: what one leaves behind must not matter to the next.
    for (int i = 0; i < programs; i++) {
        run_seed(target, accelerator, (uint32_t)(1 + i + 100 * preset), is_rtl ? "rtl" : "model");
    }
    accelerator->functions->destroy(accelerator);
}

START_TEST(rtl) {
    run_presets(_i, true);
}
END_TEST

START_TEST(model) {
    run_presets(_i, false);
}
END_TEST

int main(void) {
    const char *more = getenv("SYSTOLE_LOCKSTEP_PROGRAMS");
    programs = more != NULL && atoi(more) > 0 ? atoi(more) : programs;
    Suite *suite = suite_create("lockstep");
    TCase *all = tcase_create("all");
    tcase_set_timeout(all, 600);
    tcase_add_loop_test(all, model, 0, (int)SYSTOLE_PRESETS);
    tcase_add_loop_test(all, rtl, 0, (int)SYSTOLE_PRESETS);
    suite_add_tcase(suite, all);
    return testing_run(suite, "hw_model/test_lockstep");
}
