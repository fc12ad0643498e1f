// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A transport around any other that writes what passes to a capture.
#ifndef SYSTOLE_RECORDING_TRANSPORT_H
#define SYSTOLE_RECORDING_TRANSPORT_H

#include "transport.h"
#include "usb_capture.h"

// Takes `inner` over, also when it fails; borrows the capture until it is closed. Each device that is attached gets an
// address of its own, from 2 on, and its descriptor is asked for, as a host does when it enumerates; a port reset is
// recorded as the root hub's request. So a recording tells all that `systole replay` needs.
enum systole_status systole_recording_open(struct systole_transport *inner, struct systole_capture *capture,
                                           struct systole_transport **transport, struct systole_diagnostic *diagnostic);

#endif
