// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "testing.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

static int *skipped; // shared with the processes of the tests

int testing_run(Suite *suite, const char *name) {
    skipped = mmap(NULL, sizeof *skipped, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (skipped == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    int passed = srunner_ntests_run(runner) - failed - *skipped;
    srunner_free(runner);
    printf("%s: %d passed, %d failed, %d skipped\n", name, passed, failed, *skipped);
    return failed != 0;
}

void testing_skip(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    printf("skipped: ");
    vprintf(format, arguments);
    printf("\n");
    fflush(stdout);
    va_end(arguments);
    __atomic_add_fetch(skipped, 1, __ATOMIC_SEQ_CST);
}

uint32_t testing_random(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

int32_t testing_range(uint32_t *state, int32_t low, int32_t high) {
    uint64_t span = (uint64_t)((int64_t)high - low + 1);
    return (int32_t)(low + (int64_t)(testing_random(state) % span));
}

const char *testing_shared(void) {
    const char *folder = getenv("SYSTOLE_SHARED");
    struct stat status;
    if (folder == NULL) {
        folder = "../shared";
    }
    return stat(folder, &status) == 0 ? folder : NULL;
}

uint8_t *testing_read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return NULL;
    }
    uint8_t *bytes = NULL;
    if (fseek(file, 0, SEEK_END) == 0) {
        long length = ftell(file);
        rewind(file);
        bytes = length < 0 ? NULL : malloc((size_t)length + 1);
        if (bytes != NULL && fread(bytes, 1, (size_t)length, file) != (size_t)length) {
            free(bytes);
            bytes = NULL;
        }
        *size = length < 0 ? 0 : (size_t)length;
    }
    fclose(file);
    return bytes;
}
