// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What the files of the public interface share. Each object counts who needs it: itself until it is freed, and what was
// made from it.
#ifndef SYSTOLE_LIBRARY_STATE_H
#define SYSTOLE_LIBRARY_STATE_H

#include "driver.h"
#include "session.h"
#include "systole.h"
#include "usb_capture.h"

struct systole_device {
    uint32_t references;
    struct systole_driver *driver;   // NULL: the CPU
    struct systole_capture *capture; // NULL: not recorded
    struct systole_target target;
    enum systole_kernel_level kernels;
    uint32_t threads;
    char name[64];
    // Inferences whose next step is not the device's, and those that are to be told; in that order, oldest first.
    struct systole_inference *waiting_first, *waiting_last;
};

struct systole_model {
    uint32_t references;
    struct systole_device *device;
    struct systole_graph graph;
    struct systole_program program; // nothing in it: on the CPU
    struct systole_session *loaded; // holds what is on the device; NULL on the CPU
};

struct systole_inference {
    struct systole_model *model;
    struct systole_session *session;
    struct systole_inference *next; // in the device's list
    bool is_waiting;
    bool in_flight;
    systole_inference_complete complete;
    void *context;
    uint8_t **given_inputs, **given_outputs; // the caller's, where the session cannot use them in place; else NULL
    enum systole_status status;
    struct systole_diagnostic diagnostic;
};

void device_release(struct systole_device *device);
void model_release(struct systole_model *model);

// inference.c. Advances what waits, until an inference is complete and told (then true), or all that do.
bool inferences_advance(struct systole_device *device, bool all);

#endif
