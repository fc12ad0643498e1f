// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Target description files. The file lies in memory and has a path, so that what is read is what a user's file is.
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz_input.h"
#include "target.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static int file = -1;
    static char path[64];
    if (file < 0) {
        file = memfd_create("target", MFD_CLOEXEC);
        FUZZ_REQUIRE(file >= 0, "no file in memory");
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    }
    FUZZ_REQUIRE(ftruncate(file, 0) == 0 && pwrite(file, bytes, size, 0) == (ssize_t)size, "the file is not written");
    struct systole_target target;
    struct systole_diagnostic diagnostic = {"", "", ""};
    enum systole_status status = systole_target_find(path, &target, &diagnostic);
    if (status != SYSTOLE_OK) {
        FUZZ_REQUIRE(status == SYSTOLE_BAD_FILE && diagnostic.what[0] != '\0', "refused without a word");
        return 0;
    }
    FUZZ_REQUIRE(systole_target_check(&target, &diagnostic) == SYSTOLE_OK, diagnostic.what);
    FUZZ_REQUIRE(memchr(target.name, '\0', sizeof target.name) != NULL, "the name does not end");
    FUZZ_REQUIRE(systole_target_words(&target) >= target.banks, "no whole row of words");
    (void)systole_target_id(&target);
    (void)systole_target_multipliers(&target);
    (void)systole_target_other_multipliers(&target);
    return 0;
}
