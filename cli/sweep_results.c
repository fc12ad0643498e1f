// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The CSV of a sweep, which is also its memory: a point that has a line is not measured again. Lines are appended under
// a lock, whole; a line without its end was being written when the power went, and is cut.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sweep.h"

#define COLUMNS                                                                                                        \
    "model,device,cores,rows,taps,scratchpad_bytes,banks,accumulators,weight_port_rows,link_millibytes_per_cycle,"     \
    "clock_hz,status,cycles,predicted,macs,utilization,cpu_operators,resident,detail"

const char *sweep_columns(void) {
    return COLUMNS;
}

static bool set_lock(int file, short type) {
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET};
    int result;
    do {
        result = fcntl(file, F_SETLKW, &lock);
    } while (result != 0 && errno == EINTR);
    return result == 0;
}

bool sweep_results_append(int file, const char *line) {
    size_t size = strlen(line);
    if (!set_lock(file, F_WRLCK)) {
        return false;
    }
    bool good = write(file, line, size) == (ssize_t)size;
    (void)set_lock(file, F_UNLCK);
    return good;
}

// Zeros may be among the lines, where a disk lost what was written.
const char *sweep_results_find(const uint8_t *text, size_t size, const char *key) {
    size_t length = strlen(key);
    for (size_t at = 0; size - at >= length;) {
        const uint8_t *end = memchr(text + at, '\n', size - at);
        if (memcmp(text + at, key, length) == 0) {
            return (const char *)text + at + length;
        }
        if (end == NULL) {
            return NULL;
        }
        at = (size_t)(end - text) + 1;
    }
    return NULL;
}

enum systole_status sweep_results_open(const char *path, const struct sweep_study *study, bool *done, int *file,
                                       struct systole_diagnostic *diagnostic) {
    enum systole_status status = SYSTOLE_OK;
    uint8_t *bytes = NULL;
    size_t size = 0, whole = 0;
    memset(done, 0, study->point_count * sizeof *done);
    *file = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (*file < 0 || !set_lock(*file, F_WRLCK)) {
        return systole_fail(diagnostic, SYSTOLE_BAD_FILE, path, "check the folder", "cannot be written: %s",
                            strerror(errno));
    }
    // By this descriptor: closing another one of the same file would give up the lock.
    off_t end = lseek(*file, 0, SEEK_END);
    bytes = end >= 0 ? malloc((size_t)end + 1) : NULL;
    if (bytes == NULL || pread(*file, bytes, (size_t)end, 0) != end) {
        status = systole_fail(diagnostic, SYSTOLE_BAD_FILE, path, "", "cannot be read");
        goto done;
    }
    size = (size_t)end;
    for (size_t i = 0; i < size; i++) {
        whole = bytes[i] == '\n' ? i + 1 : whole;
    }
    bytes[whole] = '\0';
    if (whole == 0 && (size == 0 || strncmp(COLUMNS, (const char *)bytes, size) == 0)) {
        if (ftruncate(*file, 0) != 0 || write(*file, COLUMNS "\n", sizeof COLUMNS) != (ssize_t)sizeof COLUMNS) {
            status = systole_fail(diagnostic, SYSTOLE_BAD_FILE, path, "is the disk full?", "cannot be written");
        }
        goto done;
    }
    if (strncmp((const char *)bytes, COLUMNS "\n", sizeof COLUMNS) != 0) {
        status = systole_fail(diagnostic, SYSTOLE_BAD_FILE, path, "name another file with -o",
                              "holds something else than results of a sweep");
        goto done;
    }
    if (whole != size && ftruncate(*file, (off_t)whole) != 0) {
        status = systole_fail(diagnostic, SYSTOLE_BAD_FILE, path, "", "cannot be repaired: %s", strerror(errno));
        goto done;
    }
    for (uint32_t i = 0; i < study->point_count; i++) {
        struct sweep_point point;
        char key[SWEEP_LINE];
        sweep_study_point(study, i, &point);
        sweep_point_key(study, &point, key);
        done[i] = sweep_results_find(bytes, whole, key) != NULL;
    }
done:
    free(bytes);
    (void)set_lock(*file, F_UNLCK);
    if (status != SYSTOLE_OK) {
        (void)close(*file);
        *file = -1;
    }
    return status;
}

const char *sweep_ending_name(enum sweep_ending ending) {
    static const char *const names[SWEEP_ENDINGS] = {
        [SWEEP_OK] = "ok", [SWEEP_PARTIAL] = "partial", [SWEEP_REFUSED] = "refused", [SWEEP_FAILED] = "failed"};
    return names[ending];
}

enum systole_status sweep_results_count(const char *csv, const struct sweep_study *study, uint32_t first, uint32_t last,
                                        uint32_t counts[SWEEP_ENDINGS], struct systole_diagnostic *diagnostic) {
    uint8_t *bytes = NULL;
    size_t size;
    memset(counts, 0, SWEEP_ENDINGS * sizeof *counts);
    enum systole_status status = systole_read_file(csv, &bytes, &size, diagnostic);
    for (uint32_t i = first; i < last && status == SYSTOLE_OK; i++) {
        struct sweep_point point;
        char key[SWEEP_LINE];
        sweep_study_point(study, i, &point);
        sweep_point_key(study, &point, key);
        const char *rest = sweep_results_find(bytes, size, key);
        for (uint32_t e = 0; e < SWEEP_ENDINGS && rest != NULL; e++) {
            const char *name = sweep_ending_name(e);
            counts[e] += strncmp(rest, name, strlen(name)) == 0 && rest[strlen(name)] == ',';
        }
    }
    free(bytes);
    return status;
}
