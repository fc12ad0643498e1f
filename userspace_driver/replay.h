// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Makes a recorded session a test.
#ifndef SYSTOLE_REPLAY_H
#define SYSTOLE_REPLAY_H

#include "transport.h"

struct systole_replay_options {
    const uint8_t *firmware; // for a device in boot, when the recording begins with an application
    size_t firmware_size;
    uint32_t silence_ms; // the longest wait for anything; 0: 10,000
};

struct systole_replayed {
    uint64_t records;             // of the file, up to the end or the difference
    uint64_t controls, transfers; // compared
    uint64_t bytes_out, bytes_in; // ... and moved
    uint64_t clocks;              // reads of registers that tell the time: not compared
    uint64_t others;              // records of other devices: not replayed
};

// Sends what a recording (usb_capture.h) says was sent, in its order, and compares what comes back, byte for byte, when
// the recording says it came. The registers status, cycle and run_cycles tell of time, and are read but not compared. A
// device that the recording saw enumerating is attached to then; the transport is only borrowed, and has no transfer
// at the end. Bytes from outside: nothing of them is trusted.
//   MISMATCH  the first difference, with its record and byte
//   BAD_FILE  not a recording, damaged, or of no Systole device
enum systole_status systole_replay(const uint8_t *bytes, size_t size, const char *name,
                                   struct systole_transport *transport, const struct systole_replay_options *options,
                                   struct systole_replayed *replayed, struct systole_diagnostic *diagnostic);

#endif
