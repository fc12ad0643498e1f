// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A device that several programs, or several handles of one, use in turn. Between requests it is released, so that
// others may claim it; what they did to it is not known afterwards, so the accelerator is reset and everything uploaded
// again. Nobody is told when a device is released: who wants it asks every few milliseconds, and who has just had it
// waits a little longer before it asks again.
#include "driver_state.h"

enum { COURTESY_MS = 6, STEP_MS = 1 };

static bool can_share(const struct systole_driver *driver) {
    return driver->options.shared && driver->transport->functions->release != NULL &&
           driver->transport->functions->claim != NULL;
}

enum systole_status driver_claim(struct systole_driver *driver, struct systole_diagnostic *diagnostic) {
    const struct systole_transport_functions *functions = driver->transport->functions;
    struct systole_diagnostic problem = {"", "", ""};
    if (!driver->released) {
        return SYSTOLE_OK;
    }
    while (systole_now_ms() - driver->released_ms < COURTESY_MS) {
        (void)functions->poll(driver->transport, STEP_MS);
    }
    enum systole_status status = functions->claim(driver->transport, driver->options.silence_ms);
    if (status != SYSTOLE_OK) {
        return systole_fail(diagnostic, status, driver->transport->name,
                            status == SYSTOLE_NO_DEVICE ? "another program uses it" : "plug the device in again",
                            "the shared device cannot be claimed within %u ms", driver->options.silence_ms);
    }
    driver->failure = SYSTOLE_OK;
    status = driver_bring_up(driver, false, &problem);
    if (status == SYSTOLE_OK && (status = driver_post_transfers(driver)) != SYSTOLE_OK) {
        problem = driver->failure_diagnostic;
    }
    driver->released = false;
    driver->ready = status == SYSTOLE_OK;
    driver->progress_ms = driver->checked_ms = systole_now_ms();
    if (status != SYSTOLE_OK && diagnostic != NULL) {
        *diagnostic = problem;
    }
    return status;
}

void driver_release_if_idle(struct systole_driver *driver) {
    if (!can_share(driver) || driver->released || driver->holds != 0 || driver->first != NULL) {
        return;
    }
    driver_stop_transfers(driver);
    driver_forget_frames(driver);
    for (uint32_t i = 0; i < driver->loaded_count; i++) {
        driver->loaded[i].uploaded = false;
    }
    driver->ready = false;
    driver->released = driver->transport->functions->release(driver->transport) == SYSTOLE_OK;
    driver->released_ms = systole_now_ms();
}

void systole_driver_hold(struct systole_driver *driver) {
    driver->holds++;
}

enum systole_status systole_driver_claim(struct systole_driver *driver, struct systole_diagnostic *diagnostic) {
    return driver_claim(driver, diagnostic);
}

bool systole_driver_is_released(const struct systole_driver *driver) {
    return driver->released;
}

void systole_driver_let_go(struct systole_driver *driver) {
    driver->holds -= driver->holds != 0;
    if (!driver->in_poll) { // else at its end
        driver_release_if_idle(driver);
    }
}
