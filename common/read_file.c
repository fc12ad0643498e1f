// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "read_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum systole_status systole_read_file(const char *path, uint8_t **bytes, size_t *size,
                                      struct systole_diagnostic *diagnostic) {
    *bytes = NULL;
    *size = 0;
    struct stat status;
    FILE *file = fopen(path, "rb");
    if (file == NULL || fstat(fileno(file), &status) != 0) {
        int number = errno;
        if (file != NULL) {
            (void)fclose(file);
        }
        return systole_fail(diagnostic, SYSTOLE_BAD_FILE, path, "check the path", "cannot be read: %s",
                            strerror(number));
    }
    enum systole_status result = SYSTOLE_OK;
    uint8_t *data = NULL;
    if (!S_ISREG(status.st_mode) || status.st_size > (1LL << 31)) {
        result =
            systole_fail(diagnostic, SYSTOLE_BAD_FILE, path, "name a regular file of at most 2 GiB", "cannot be read");
        goto done;
    }
    size_t length = (size_t)status.st_size;
    data = malloc(length + 1);
    if (data == NULL) {
        result = systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, path, "", "no memory for %zu bytes", length);
        goto done;
    }
    if (fread(data, 1, length, file) != length) {
        result = systole_fail(diagnostic, SYSTOLE_BAD_FILE, path, "was it cut while it was read?", "cannot be read");
        goto done;
    }
    *bytes = data;
    *size = length;
    data = NULL;
done:
    free(data);
    (void)fclose(file);
    return result;
}
