// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum systole_status cli_write_file(const char *path, const void *bytes, size_t size,
                                   struct systole_diagnostic *diagnostic) {
    struct stat status;
    // Devices and pipes take the bytes as they are.
    bool direct = stat(path, &status) == 0 && !S_ISREG(status.st_mode);
    size_t length = strlen(path) + 32;
    char *temporary = malloc(length);
    if (temporary == NULL) {
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, path, "", "no memory");
    }
    (void)snprintf(temporary, length, direct ? "%s" : "%s.%ld.partial", path, (long)getpid());
    FILE *file = fopen(temporary, "wb");
    bool good = file != NULL;
    if (file != NULL) {
        good = size == 0 || fwrite(bytes, 1, size, file) == size;
        good = fclose(file) == 0 && good;
    }
    good = good && (direct || rename(temporary, path) == 0);
    int number = errno;
    if (!good && file != NULL && !direct) {
        (void)unlink(temporary);
    }
    free(temporary);
    return good ? SYSTOLE_OK
                : systole_fail(diagnostic, SYSTOLE_BAD_FILE, path, "check the folder and the disk's room",
                               "cannot be written: %s", strerror(number));
}

char *cli_join(const char *folder, const char *name) {
    size_t length = strlen(folder) + strlen(name) + 2;
    char *path = malloc(length);
    if (path != NULL) {
        (void)snprintf(path, length, "%s/%s", folder, name);
    }
    return path;
}

uint64_t cli_fnv1a(const uint8_t *bytes, size_t size) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    }
    return hash;
}

double cli_seconds(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
