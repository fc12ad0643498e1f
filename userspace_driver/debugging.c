// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What the driver does for a debugger: asks it before each run, tells it when the device is still at a command and when
// it has failed, and lets no deadline pass meanwhile. Everything else the debugger does itself, by the debug registers.
#include "driver_state.h"

void driver_debug_launching(struct systole_driver *driver, const struct driver_request *request) {
    const struct systole_debugger *debugger = driver->options.debugger;
    if (debugger != NULL) {
        debugger->launching(debugger->context, driver, driver->loaded[request->loaded].segment, request->request);
    }
}

static void tell(struct systole_driver *driver, const struct driver_request *request,
                 const struct systole_diagnostic *failure) {
    const struct systole_debugger *debugger = driver->options.debugger;
    debugger->stopped(debugger->context, driver, driver->loaded[request->loaded].segment, request->request, failure);
    driver->progress_ms = driver->checked_ms = systole_now_ms();
}

void driver_debug_check(struct systole_driver *driver) {
    struct driver_request *head = driver->first;
    uint64_t state = 0, status = 0;
    if (driver->options.debugger == NULL || head == NULL || head->phase != DRIVER_RUNNING || head->run_complete ||
        driver->failure != SYSTOLE_OK || !driver->ready) {
        return;
    }
    enum systole_status result = systole_driver_read_register(driver, SYSTOLE_REGISTER_STATUS, &status);
    bool ours = result == SYSTOLE_OK && status >> 32 == head->request->token &&
                (status & SYSTOLE_STATUS_RUNNING) != 0 && (status & SYSTOLE_STATUS_ERROR) == 0;
    if (ours) {
        result = systole_driver_read_register(driver, SYSTOLE_REGISTER_DEBUG_STATE, &state);
    }
    if (result == SYSTOLE_OK && ours && (state & SYSTOLE_DEBUG_STATE_STILL) != 0) {
        tell(driver, head, NULL);
    }
}

void driver_debug_failed(struct systole_driver *driver, const struct systole_diagnostic *failure) {
    struct driver_request *head = driver->first;
    if (driver->options.debugger != NULL && head != NULL && head->phase == DRIVER_RUNNING) {
        tell(driver, head, failure);
    }
}
