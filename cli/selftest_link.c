// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The link of the selftest: bytes there and back in frames of all sizes, bandwidth each way, the interrupt, and frames
// that lie about themselves. Bandwidth is the host's (MB/s of payload) and the device's (bytes a cycle of its clock).
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "selftest.h"

#define INTERRUPTS 16u

static uint32_t words_of(const struct selftest *test, uint32_t bytes) {
    uint32_t words = bytes / test->target->columns;
    words = words == 0 ? 1 : words;
    return words < test->march_words ? words : test->march_words;
}

static void randomise(struct selftest *test, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) {
        test->expected[i] = (uint8_t)(selftest_random(&test->seed) >> 16);
    }
}

bool selftest_loopback(struct selftest *test) {
    static const uint32_t sizes[] = {1, 63, 64, 65, 127, 1000, 1008, 1023, 1024, 4096, 65521, 65536, 1u << 20};
    uint64_t moved = 0;
    for (uint32_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint32_t words = words_of(test, sizes[i]);
        size_t bytes = (size_t)words * test->target->columns;
        uint32_t first = selftest_random(&test->seed) % (test->words - words + 1);
        randomise(test, bytes);
        if (!selftest_write(test, first, test->expected, words) || !selftest_read(test, first, test->bytes, words) ||
            !selftest_compare(test, "loopback", first, test->expected, test->bytes, bytes)) {
            return false;
        }
        moved += bytes;
    }
    selftest_found(test, "%zu sizes, %llu bytes there and back", sizeof sizes / sizeof sizes[0],
                   (unsigned long long)moved);
    return true;
}

static bool measure(struct selftest *test, bool out) {
    uint32_t words = words_of(test, SELFTEST_BYTES), repeats = test->march_words < test->words ? 1 : 16;
    uint64_t before = 0, after = 0, bytes = (uint64_t)repeats * words * test->target->columns;
    randomise(test, (size_t)words * test->target->columns);
    if (!selftest_write(test, 0, test->expected, words) || !selftest_read(test, words - 1, test->bytes, 1) ||
        !selftest_read_register(test, SYSTOLE_REGISTER_CYCLE, &before)) {
        return false;
    }
    double start = cli_seconds();
    for (uint32_t i = 0; i < repeats; i++) {
        if (out ? !selftest_write(test, 0, test->expected, words) : !selftest_read(test, 0, test->bytes, words)) {
            return false;
        }
    }
    // The answer to a read says that all before it is there; the link is free again before and after.
    if (!selftest_read(test, words - 1, test->bytes, 1)) {
        return false;
    }
    double seconds = cli_seconds() - start;
    if (!selftest_read_register(test, SYSTOLE_REGISTER_CYCLE, &after)) {
        return false;
    }
    double rate = (double)bytes / (double)(after > before ? after - before : 1);
    double limit = (double)test->target->link_millibytes_per_cycle / 1000;
    selftest_found(test, "%.1f MB/s; %.3f bytes a cycle, the target's link has %.3f", (double)bytes / seconds / 1e6,
                   rate, limit);
    if (rate > 1.02 * limit) { // the target would promise less than there is
        return selftest_found(test, "%.3f bytes a cycle, more than the target's link has (%.3f): another clock or link",
                              rate, limit);
    }
    return true;
}

bool selftest_bandwidth_out(struct selftest *test) {
    return measure(test, true);
}

bool selftest_bandwidth_in(struct selftest *test) {
    return measure(test, false);
}

// From a frame that is no frame to the record on the interrupt endpoint.
bool selftest_interrupt(struct selftest *test) {
    double ms[INTERRUPTS];
    for (uint32_t i = 0; i < INTERRUPTS; i++) {
        struct systole_frame_header header = {.magic = (uint16_t)(0x1000 + i), .kind = SYSTOLE_FRAME_READ};
        uint64_t record[2] = {0, 0};
        double start = cli_seconds();
        enum systole_status status = systole_probe_send(test->probe, &header, NULL, 0);
        status = status == SYSTOLE_OK ? systole_probe_interrupt(test->probe, record) : status;
        ms[i] = 1e3 * (cli_seconds() - start);
        if (status != SYSTOLE_OK) {
            return selftest_failed(test, status, "interrupt %u after a bad frame", i);
        }
        uint64_t detail = header.magic | (uint64_t)SYSTOLE_FRAME_READ << 16;
        if ((record[0] & 0xff) != SYSTOLE_ERROR_FRAME_MAGIC || record[1] != detail) {
            return selftest_found(test, "interrupt %u brought error %s, detail 0x%llx, expected frame_magic, 0x%llx", i,
                                  systole_error_name(record[0] & 0xff), (unsigned long long)record[1],
                                  (unsigned long long)detail);
        }
        if (!selftest_expect_fault(test, "a bad magic number", SYSTOLE_ERROR_FRAME_MAGIC, SYSTOLE_UNIT_NONE, 0,
                                   (uint32_t)detail)) {
            return false;
        }
        if (systole_probe_events_left(test->probe) != 0) {
            return selftest_found(test, "another event came beside that of interrupt %u", i);
        }
        if (!selftest_reset(test)) {
            return false;
        }
    }
    qsort(ms, INTERRUPTS, sizeof ms[0], cli_compare_doubles);
    selftest_found(test, "%u interrupts, %.2f ms at best, %.2f median, %.2f at worst", INTERRUPTS, ms[0],
                   ms[INTERRUPTS / 2], ms[INTERRUPTS - 1]);
    return true;
}

bool selftest_hostile_frames(struct selftest *test) {
    const uint32_t columns = test->target->columns, words = test->words;
    const struct {
        const char *what;
        struct systole_frame_header header;
        uint32_t error, detail;
    } frames[] = {
        {"magic 0", {0, SYSTOLE_FRAME_READ, 0, 1, 0, columns}, SYSTOLE_ERROR_FRAME_MAGIC, SYSTOLE_FRAME_READ << 16},
        {"kind 0x7f", {SYSTOLE_FRAME_MAGIC, 0x7f, 0, 1, 0, columns}, SYSTOLE_ERROR_FRAME_KIND, 0x7f},
        {"kind data",
         {SYSTOLE_FRAME_MAGIC, SYSTOLE_FRAME_DATA, 0, 1, 0, columns},
         SYSTOLE_ERROR_FRAME_KIND,
         SYSTOLE_FRAME_DATA},
        {"length 0", {SYSTOLE_FRAME_MAGIC, SYSTOLE_FRAME_READ, 0, 1, 0, 0}, SYSTOLE_ERROR_FRAME_LENGTH, 0},
        {"length of no whole word",
         {SYSTOLE_FRAME_MAGIC, SYSTOLE_FRAME_WRITE, 0, 1, 0, columns + 1},
         SYSTOLE_ERROR_FRAME_LENGTH,
         columns + 1},
        {"length 0xfffffff0",
         {SYSTOLE_FRAME_MAGIC, SYSTOLE_FRAME_WRITE, 0, 1, 0, 0xfffffff0},
         SYSTOLE_ERROR_FRAME_LENGTH,
         0xfffffff0},
        {"length of a run", {SYSTOLE_FRAME_MAGIC, SYSTOLE_FRAME_RUN, 0, 1, 0, 95}, SYSTOLE_ERROR_FRAME_LENGTH, 95},
        {"an address behind the end",
         {SYSTOLE_FRAME_MAGIC, SYSTOLE_FRAME_READ, 0, 1, words, columns},
         SYSTOLE_ERROR_FRAME_ADDRESS,
         words},
        {"a read across the end",
         {SYSTOLE_FRAME_MAGIC, SYSTOLE_FRAME_READ, 0, 1, words - 1, 2 * columns},
         SYSTOLE_ERROR_FRAME_ADDRESS,
         words - 1},
        {"an address that wraps",
         {SYSTOLE_FRAME_MAGIC, SYSTOLE_FRAME_WRITE, 0, 1, 0xffffffff, 2 * columns},
         SYSTOLE_ERROR_FRAME_ADDRESS,
         0xffffffff},
    };
    for (uint32_t i = 0; i < sizeof frames / sizeof frames[0]; i++) {
        enum systole_status status = systole_probe_send(test->probe, &frames[i].header, NULL, 0);
        if (status != SYSTOLE_OK) {
            return selftest_failed(test, status, "a frame with %s", frames[i].what);
        }
        if (!selftest_expect_fault(test, frames[i].what, frames[i].error, SYSTOLE_UNIT_NONE, 0, frames[i].detail) ||
            !selftest_reset(test)) {
            return false;
        }
    }
    selftest_found(test, "%zu frames refused, each by name", sizeof frames / sizeof frames[0]);
    return true;
}
