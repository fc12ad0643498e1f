// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Status codes and diagnostics that every folder shares.
#ifndef SYSTOLE_STATUS_H
#define SYSTOLE_STATUS_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// What went wrong, and through systole_exit_code what the command line answers. 0 is success.
enum systole_status {
    SYSTOLE_OK = 0,
    SYSTOLE_MISMATCH,        // a comparison failed                                    (exit 1)
    SYSTOLE_BAD_ARGUMENT,    // usage, unknown name, wrong size of an input            (exit 2)
    SYSTOLE_BAD_FILE,        // cannot be read or written, or its content is not valid (exit 2)
    SYSTOLE_UNSUPPORTED,     // valid, but not something this software can do          (exit 2)
    SYSTOLE_OUT_OF_MEMORY,   // host memory                                            (exit 2)
    SYSTOLE_NO_DEVICE,       // nothing to open; no device was touched                 (exit 3)
    SYSTOLE_DEVICE_GONE,     // unplugged; open again                                  (exit 3)
    SYSTOLE_DEVICE_STALL,    // an endpoint refused; reset, then a retry is safe       (exit 3)
    SYSTOLE_DEVICE_TIMEOUT,  // silence or too many cycles; reset, then a retry is safe (exit 3)
    SYSTOLE_DEVICE_PROTOCOL, // it answered what the protocol does not know; reset     (exit 3)
    SYSTOLE_DEVICE_FAULT,    // its error latch is set, see the message; reset         (exit 3)
    SYSTOLE_DEVICE_MISMATCH, // another target or firmware than was asked for; nothing ran (exit 3)
    SYSTOLE_CANCELLED,       // by the caller; the device is reset and ready           (exit 3)
};

// A diagnostic in the form the command line prints: `systole: error: WHAT (WHERE): HINT`.
// Callers own it; functions that take one fill it when they do not return SYSTOLE_OK. Pass NULL to do without.
struct systole_diagnostic {
    char what[256];
    char where[256]; // file, operator, tensor, register ...; may be empty
    char hint[256];  // what to do; may be empty
};

const char *systole_status_name(enum systole_status status);
int systole_exit_code(enum systole_status status);

// Fills the diagnostic (if not NULL) and returns `status`, so that a failure is one line:
//   return systole_fail(diagnostic, SYSTOLE_BAD_FILE, path, "make it with ...", "no operator %d", n);
enum systole_status systole_fail(struct systole_diagnostic *diagnostic, enum systole_status status, const char *where,
                                 const char *hint, const char *format, ...) __attribute__((format(printf, 5, 6)));

#ifdef __cplusplus
}
#endif

#endif
