// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Faults on purpose: a script says at which transfers of the USB device what goes wrong (docs/faults.md). The device
// asks at each transfer; scripts and random numbers are here, what a fault does to the device is in usb_device.c.
#ifndef SYSTOLE_FAULT_INJECTION_H
#define SYSTOLE_FAULT_INJECTION_H

#include "systole_spec.h"

#include "status.h"

enum systole_fault_kind {
    SYSTOLE_FAULT_NONE,
    SYSTOLE_FAULT_STALL,     // the endpoint halts
    SYSTOLE_FAULT_SILENCE,   // nothing moves until a reset; requests are answered
    SYSTOLE_FAULT_SHORT,     // the transfer ends 8 bytes too early, and they are lost
    SYSTOLE_FAULT_BABBLE,    // more bytes than were asked for
    SYSTOLE_FAULT_CORRUPT,   // a bit of a frame's magic number, or of an event's token
    SYSTOLE_FAULT_DUPLICATE, // an event comes twice
    SYSTOLE_FAULT_LOSE,      // what the transfer brought is gone
    SYSTOLE_FAULT_WRONG_TAG, // a frame answers another question
    SYSTOLE_FAULT_LENGTH,    // a frame's length is not true
    SYSTOLE_FAULT_SPURIOUS,  // an interrupt without a cause
    SYSTOLE_FAULT_NAK,       // not now, for some milliseconds
    SYSTOLE_FAULT_UNPLUG,    // it leaves the bus and comes back, or does not
    SYSTOLE_FAULT_REFUSE,    // the next firmware image is found to be bad
    SYSTOLE_FAULT_HANG,      // nothing is answered until a port reset
    SYSTOLE_FAULT_PARITY,    // a bit of the scratchpad flips
    SYSTOLE_FAULT_FLIP,      // a bit of a payload flips behind the bus's CRC and before the parity: nobody can notice
    SYSTOLE_FAULT_KINDS,
};

enum systole_fault_endpoint {
    SYSTOLE_FAULT_OUT,
    SYSTOLE_FAULT_IN,
    SYSTOLE_FAULT_EVENT,
    SYSTOLE_FAULT_INTERRUPT,
    SYSTOLE_FAULT_CONTROL,
    SYSTOLE_FAULT_ENDPOINTS,
};

#define SYSTOLE_FAULT_FOREVER UINT32_MAX

struct systole_faults;

// What happened, told when it does. `transfer` counts the endpoint's transfers from 1.
struct systole_fault_told {
    enum systole_fault_kind kind;
    enum systole_fault_endpoint endpoint;
    uint64_t transfer;
};

// `name` is where the script comes from, for messages. SYSTOLE_BAD_FILE says which line is wrong, and how.
enum systole_status systole_faults_parse(const char *script, size_t size, const char *name,
                                         struct systole_faults **faults, struct systole_diagnostic *diagnostic);
void systole_faults_free(struct systole_faults *faults);
void systole_faults_observe(struct systole_faults *faults,
                            void (*tell)(void *context, const struct systole_fault_told *told), void *context);
const char *systole_fault_name(enum systole_fault_kind kind);
const char *systole_fault_endpoint_name(enum systole_fault_endpoint endpoint);
bool systole_fault_applies(enum systole_fault_kind kind, enum systole_fault_endpoint endpoint);
// Results become wrong without a word. Such a fault is never one of `any`.
bool systole_fault_is_silent(enum systole_fault_kind kind);

// ---- For the device. `faults` may be NULL everywhere: nothing goes wrong.
// The transfer that is on its way on the endpoint, or a new one: the fault that waits for it to move, or NONE.
enum systole_fault_kind systole_faults_begin(struct systole_faults *faults, enum systole_fault_endpoint endpoint);
// What the fault that waits was given.
uint32_t systole_faults_argument(const struct systole_faults *faults, enum systole_fault_endpoint endpoint);
// The fault has happened; returns its argument (0: none was given).
uint32_t systole_faults_strike(struct systole_faults *faults, enum systole_fault_endpoint endpoint);
// The transfer is complete; what waited for it and did not find the chance waits for the next.
void systole_faults_end(struct systole_faults *faults, enum systole_fault_endpoint endpoint);
// Bits that are stuck for good: what a read of a register, or bytes of memory from `offset` bytes behind a word on,
// become.
uint64_t systole_faults_stuck_register(const struct systole_faults *faults, uint32_t address, uint64_t value);
void systole_faults_stuck_memory(const struct systole_faults *faults, uint32_t columns, uint32_t word, uint64_t offset,
                                 uint8_t *bytes, size_t size);
uint32_t systole_faults_random(struct systole_faults *faults, uint32_t below);

#endif
