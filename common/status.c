// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "status.h"

#include <stdarg.h>
#include <stdio.h>

const char *systole_status_name(enum systole_status status) {
    switch (status) {
    case SYSTOLE_OK:
        return "ok";
    case SYSTOLE_MISMATCH:
        return "mismatch";
    case SYSTOLE_BAD_ARGUMENT:
        return "bad argument";
    case SYSTOLE_BAD_FILE:
        return "bad file";
    case SYSTOLE_UNSUPPORTED:
        return "unsupported";
    case SYSTOLE_OUT_OF_MEMORY:
        return "out of memory";
    case SYSTOLE_NO_DEVICE:
        return "no device";
    case SYSTOLE_DEVICE_GONE:
        return "device gone";
    case SYSTOLE_DEVICE_STALL:
        return "device stall";
    case SYSTOLE_DEVICE_TIMEOUT:
        return "device timeout";
    case SYSTOLE_DEVICE_PROTOCOL:
        return "device protocol";
    case SYSTOLE_DEVICE_FAULT:
        return "device fault";
    case SYSTOLE_DEVICE_MISMATCH:
        return "device mismatch";
    case SYSTOLE_CANCELLED:
        return "cancelled";
    }
    return "unknown status";
}

int systole_exit_code(enum systole_status status) {
    switch (status) {
    case SYSTOLE_OK:
        return 0;
    case SYSTOLE_MISMATCH:
        return 1;
    case SYSTOLE_BAD_ARGUMENT:
    case SYSTOLE_BAD_FILE:
    case SYSTOLE_UNSUPPORTED:
    case SYSTOLE_OUT_OF_MEMORY:
        return 2;
    case SYSTOLE_NO_DEVICE:
    case SYSTOLE_DEVICE_GONE:
    case SYSTOLE_DEVICE_STALL:
    case SYSTOLE_DEVICE_TIMEOUT:
    case SYSTOLE_DEVICE_PROTOCOL:
    case SYSTOLE_DEVICE_FAULT:
    case SYSTOLE_DEVICE_MISMATCH:
    case SYSTOLE_CANCELLED:
        return 3;
    }
    return 2;
}

enum systole_status systole_fail(struct systole_diagnostic *diagnostic, enum systole_status status, const char *where,
                                 const char *hint, const char *format, ...) {
    if (diagnostic != NULL) {
        // Built aside, for the arguments may point into the diagnostic that is filled (a cause that is wrapped).
        struct systole_diagnostic made;
        va_list arguments;
        va_start(arguments, format);
        (void)vsnprintf(made.what, sizeof made.what, format, arguments);
        va_end(arguments);
        (void)snprintf(made.where, sizeof made.where, "%s", where == NULL ? "" : where);
        (void)snprintf(made.hint, sizeof made.hint, "%s", hint == NULL ? "" : hint);
        *diagnostic = made;
    }
    return status;
}
