// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A device taken in hand: frames, events and interrupts one by one, without replay and without recovery, so that what
// a device does can be looked at as it is. For bring-up and tests of hardware; programs are run through driver.h. One
// thread. Every call ends after the probe's silence_ms at the latest, with SYSTOLE_DEVICE_TIMEOUT.
#ifndef SYSTOLE_PROBE_H
#define SYSTOLE_PROBE_H

#include "driver.h"

struct systole_probe;

// Brings the device up as systole_driver_open does. Takes the transport over also when it fails.
enum systole_status systole_probe_open(struct systole_transport *transport, const struct systole_target *target,
                                       const uint8_t *firmware, size_t size, uint32_t silence_ms,
                                       struct systole_probe **probe, struct systole_diagnostic *diagnostic);
void systole_probe_close(struct systole_probe *probe); // NULL is fine
struct systole_transport *systole_probe_transport(struct systole_probe *probe);

enum systole_status systole_probe_read_register(struct systole_probe *probe, uint32_t address, uint64_t *value);
enum systole_status systole_probe_write_register(struct systole_probe *probe, uint32_t address, uint64_t value);

// Takes all transfers back, resets the accelerator, clears halts and forgets what came; memory keeps. With a
// port reset, if it takes one.
enum systole_status systole_probe_reset(struct systole_probe *probe);

// A frame as the header says, true or not; `bytes` of payload and zeros up to a beat follow it.
enum systole_status systole_probe_send(struct systole_probe *probe, const struct systole_frame_header *header,
                                       const void *payload, size_t bytes);
// The next frame of the device, of at most `capacity` bytes of payload (DEVICE_PROTOCOL: longer, or cut short).
enum systole_status systole_probe_receive(struct systole_probe *probe, struct systole_frame_header *header,
                                          void *payload, size_t capacity);
enum systole_status systole_probe_event(struct systole_probe *probe, struct systole_event *event);
uint32_t systole_probe_events_left(const struct systole_probe *probe); // came, and nobody asked for them
// The registers error and error_detail, as the interrupt brought them.
enum systole_status systole_probe_interrupt(struct systole_probe *probe, uint64_t record[2]);

// Lets the device work for some milliseconds.
enum systole_status systole_probe_poll(struct systole_probe *probe);

// Words by write and read frames; `words` of the target's columns bytes, at most 1 MiB at a time.
enum systole_status systole_probe_write(struct systole_probe *probe, uint32_t word, const void *bytes, uint32_t words);
enum systole_status systole_probe_read(struct systole_probe *probe, uint32_t word, void *bytes, uint32_t words);
// The doorbell and, in the same transfer, the bytes for the program's loads (a run's watchdog does not wait for a
// host).
enum systole_status systole_probe_launch(struct systole_probe *probe, const struct systole_launch_descriptor *launch,
                                         const void *stream, size_t bytes);
// A word by the debug registers: in any state of the device, with *parity_wrong in place of an error.
enum systole_status systole_probe_peek(struct systole_probe *probe, uint32_t word, uint8_t *bytes, bool *parity_wrong);

#endif
