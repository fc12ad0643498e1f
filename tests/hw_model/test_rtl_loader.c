// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A target whose Verilated model was not made is refused with the way to make it; a file that is none is named.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device.h"
#include "target.h"
#include "testing.h"

START_TEST(a_missing_model_is_explained) {
    struct systole_target target = systole_presets[0];
    struct systole_accelerator *accelerator = NULL;
    struct systole_diagnostic diagnostic;
    target.clock_hz = 12345; // nobody made this one
    snprintf(target.name, sizeof target.name, "odd.json");
    ck_assert_int_eq(systole_rtl_create(&target, &accelerator, &diagnostic), SYSTOLE_UNSUPPORTED);
    ck_assert_ptr_null(accelerator);
    ck_assert_str_eq(diagnostic.hint, "make rtl TARGET=odd.json");
}
END_TEST

START_TEST(a_broken_model_is_named) {
    struct systole_target target = systole_presets[0];
    struct systole_accelerator *accelerator = NULL;
    struct systole_diagnostic diagnostic;
    char folder[] = "/tmp/systole_rtl_XXXXXX", path[128];
    target.clock_hz = 12346;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/systole_rtl_%08x.so", folder, systole_target_id(&target));
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs("not a library", file);
    fclose(file);
    setenv("SYSTOLE_RTL_PATH", folder, 1);
    ck_assert_int_eq(systole_rtl_create(&target, &accelerator, &diagnostic), SYSTOLE_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(diagnostic.what, "does not load"));
    ck_assert_ptr_nonnull(strstr(diagnostic.where, folder));
    remove(path);
    rmdir(folder);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("rtl_loader");
    TCase *tests = tcase_create("rtl_loader");
    tcase_add_test(tests, a_missing_model_is_explained);
    tcase_add_test(tests, a_broken_model_is_named);
    suite_add_tcase(suite, tests);
    return testing_run(suite, "rtl_loader");
}
