// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Talking to an accelerator at its boundary, whichever it is: frames in and out, events, start. Every wait is bounded.
#ifndef SYSTOLE_FRAMES_H
#define SYSTOLE_FRAMES_H

#include "device.h"

// Command table of every opcode, start, interrupt enabled: what firmware does.
void frames_start(struct systole_accelerator *accelerator);

// Raw bytes; false when the device did not take them all in time (it is halted).
bool frames_push_bytes(struct systole_accelerator *accelerator, const void *bytes, size_t size);
// A frame with its padding. `length` is what the header says and what `payload` holds; payload may be NULL.
bool frames_push(struct systole_accelerator *accelerator, uint32_t kind, uint32_t flags, uint32_t tag, uint32_t address,
                 const void *payload, uint32_t length);
// Runs until `size` bytes have come; false when they do not.
bool frames_pull(struct systole_accelerator *accelerator, void *bytes, size_t size);
// Runs until an event is there; false when `cycles` pass without.
bool frames_event(struct systole_accelerator *accelerator, struct systole_event *event, uint64_t cycles);
// Runs until the device is quiet or `cycles` have passed.
void frames_settle(struct systole_accelerator *accelerator, uint64_t cycles);

// Writes words in frames; reads words back and checks the answer's header (false: no answer or another one).
bool frames_write(struct systole_accelerator *accelerator, uint32_t word, const void *bytes, uint32_t length);
bool frames_read(struct systole_accelerator *accelerator, uint32_t flags, uint32_t tag, uint32_t word, void *bytes,
                 uint32_t length);
bool frames_run(struct systole_accelerator *accelerator, const struct systole_launch_descriptor *launch);

#endif
