// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The user-space driver: life cycle of one device behind a transport. One thread a device; nothing here blocks longer
// than the deadline of the call. All calls return a status whose comment in status.h says what a retry needs.
#ifndef SYSTOLE_DRIVER_H
#define SYSTOLE_DRIVER_H

#include "program/program.h"
#include "transport.h"

struct systole_driver;

#define SYSTOLE_NO_REPLAY UINT32_MAX

struct systole_segment;
struct systole_request;
// Who is asked about every run, in the thread that polls; may read and write registers and peek. With a debugger,
// requests must not overlap, and none runs again by itself.
struct systole_debugger {
    // Before the doorbell: the debug registers are empty after each reset.
    void (*launching)(void *context, struct systole_driver *driver, const struct systole_segment *segment,
                      const struct systole_request *request);
    // The device is still before a command (debug_state), or has failed (then `failure` says how, and after this call
    // it is reset). What the call wrote to debug_control says how it goes on.
    void (*stopped)(void *context, struct systole_driver *driver, const struct systole_segment *segment,
                    const struct systole_request *request, const struct systole_diagnostic *failure);
    void *context;
};

struct systole_driver_options {
    uint32_t silence_ms;    // longest silence of the device on any wait; 0: 10,000
    uint64_t cycle_margin;  // a run may take predicted_cycles * this; 0: 16
    size_t chunk_bytes;     // largest bulk transfer; 0: 256 KiB
    uint32_t queue_depth;   // transfers in flight an endpoint; 0: 4
    uint32_t replays;       // how often a request that failed runs again; 0: 3; SYSTOLE_NO_REPLAY: never
    bool trace_retirements; // ask for an event a retired command
    // Others may have the device between requests. It is released whenever none is in flight and it is not held; the
    // next request claims it, waiting at most silence_ms inside systole_driver_poll, resets it and uploads its segment
    // anew.
    bool shared;
    const struct systole_debugger *debugger; // borrowed; NULL: none
};

// Boot personality -> firmware by DFU -> re-enumeration -> application personality -> capabilities read and compared
// with `target` (SYSTOLE_DEVICE_MISMATCH names both). A device already in application personality is reset and used.
// `firmware`/`size`: image as systole_firmware_build makes it. Takes the transport over also when it fails.
enum systole_status systole_driver_open(struct systole_transport *transport, const struct systole_target *target,
                                        const uint8_t *firmware, size_t size,
                                        const struct systole_driver_options *options, struct systole_driver **driver,
                                        struct systole_diagnostic *diagnostic);
void systole_driver_close(struct systole_driver *driver); // NULL is fine

// The firmware image of a target: opcode table with version, target id and CRC. malloc'ed.
enum systole_status systole_firmware_build(const struct systole_target *target, uint8_t **image, size_t *size);

// Puts a segment's program and parameters on the device and reserves its activations, inputs and outputs. The handle
// is the token of what is there: as many segments as the scratchpad holds stay side by side; when another needs the
// room, the one used longest ago leaves whole and comes back by itself with its next request, as all do after a
// recovery. SYSTOLE_UNSUPPORTED: it does not fit even alone. The segment must outlive the handle.
typedef uint32_t systole_loaded;
enum systole_status systole_driver_load(struct systole_driver *driver, const struct systole_segment *segment,
                                        systole_loaded *loaded, struct systole_diagnostic *diagnostic);
enum systole_status systole_driver_unload(struct systole_driver *driver, systole_loaded loaded);
bool systole_driver_resident(const struct systole_driver *driver, systole_loaded loaded); // its windows are reserved

struct systole_retired { // one retired command, when traced
    uint32_t command, unit;
    uint64_t start, cycle;                    // when its unit took it; when it retired
    uint32_t counters[SYSTOLE_COUNTER_KINDS]; // of the unit at `cycle`, low halves
};

// One inference. The caller owns it and all buffers until it is complete.
struct systole_request {
    const uint8_t *const *inputs; // words of each segment input, as systole_placement_pack makes them
    uint8_t *const *outputs;      // words of each segment output
    // How many bytes each of them has; NULL: whole words. Fewer: zeros follow an input, the rest of an output is
    // dropped.
    const size_t *input_bytes, *output_bytes;
    void (*complete)(struct systole_request *request); // may be NULL; called from poll or wait
    void *context;
    // Filled before completion:
    enum systole_status status;
    struct systole_diagnostic diagnostic;
    uint32_t token; // of the last launch, set before its doorbell; observers of retirements see it
    struct systole_region_window windows[SYSTOLE_REGIONS]; // of the last launch, in absolute words
    uint64_t cycles;                                       // doorbell to run_complete, in device cycles
    uint64_t counters[SYSTOLE_UNITS][SYSTOLE_COUNTER_KINDS];
    struct systole_retired *retired; // trace_retirements: in order of retirement; freed by systole_request_clear
    uint32_t retired_count;
    void *detail; // the driver's
};
void systole_request_clear(struct systole_request *request);

// Never blocks: queues the inputs, the launch and the reads of the outputs. Several may be in flight.
enum systole_status systole_driver_submit(struct systole_driver *driver, systole_loaded loaded,
                                          struct systole_request *request);
// For an event loop: a descriptor that is readable (epoll, poll, select) when systole_driver_poll(driver, 0) has
// something to do; call that also after *timeout_ms without an event, for the deadlines (UINT32_MAX: nothing is in
// flight). The descriptor is the driver's and stays. An in-process device runs only inside poll, so its descriptor is
// always readable. -1: the transport has none.
int systole_driver_descriptor(struct systole_driver *driver, uint32_t *timeout_ms);
// Lets the device work for at most timeout_ms; completes what is complete.
enum systole_status systole_driver_poll(struct systole_driver *driver, uint32_t timeout_ms);
// Polls until the request is complete (or the deadline completes it with DEVICE_TIMEOUT); returns its status.
enum systole_status systole_driver_wait(struct systole_driver *driver, struct systole_request *request);
// Ends a request early: the device is reset, other requests are replayed, this one completes with SYSTOLE_CANCELLED.
enum systole_status systole_driver_cancel(struct systole_driver *driver, struct systole_request *request);
// Reset, firmware, parameters again. Outstanding requests complete with SYSTOLE_CANCELLED.
enum systole_status systole_driver_reset(struct systole_driver *driver, struct systole_diagnostic *diagnostic);

// A shared device that is held is not released between requests, until it is let go as often as it was held. Claiming
// it while it is held, or its next request, keeps it from others; its registers cannot be read before.
// SYSTOLE_NO_DEVICE: another program had it for silence_ms. Nothing happens without `shared`.
void systole_driver_hold(struct systole_driver *driver);
enum systole_status systole_driver_claim(struct systole_driver *driver, struct systole_diagnostic *diagnostic);
void systole_driver_let_go(struct systole_driver *driver);
bool systole_driver_is_released(const struct systole_driver *driver);

enum systole_status systole_driver_read_register(struct systole_driver *driver, uint32_t address, uint64_t *value);
enum systole_status systole_driver_write_register(struct systole_driver *driver, uint32_t address, uint64_t value);
// A word of the scratchpad (the target's columns bytes) by the debug registers: in any state of the device, aside from
// all frames, and with *parity_wrong in place of an error. Slow: some control transfers a word.
enum systole_status systole_driver_peek(struct systole_driver *driver, uint32_t word, uint8_t *bytes,
                                        bool *parity_wrong);
// What went wrong behind the caller's back.
struct systole_driver_statistics {
    uint64_t recoveries;              // the device was brought up again
    uint64_t failed_recoveries;       // ... or not
    uint64_t spurious;                // interrupts without a cause, ignored
    uint64_t uploads, evictions;      // of segments
    uint64_t direct_bytes;            // went or came straight from or to the memory of their owner
    uint64_t copied_bytes;            // ... through a buffer of the driver's
    enum systole_status last_failure; // what the last recovery was for
    struct systole_diagnostic last_diagnostic;
    uint32_t last_recovery_ms; // from the failure's discovery until requests could go on
};
void systole_driver_statistics(const struct systole_driver *driver, struct systole_driver_statistics *statistics);
struct systole_transport *systole_driver_transport(struct systole_driver *driver);

// A transport over libusb-1.0 (libusb_transport.c): a Systole device in either personality, chosen by
//   NULL or "N": its index among those that are there, counted by bus, then by ports,
//   "BUS-PORT.PORT...": its place, as the kernel names it (1-1, 2-1.4),
//   "serial:TEXT": its serial number (devices that are in use are asked, too).
// The device is this transport's alone until it is released or closed: who comes second gets SYSTOLE_NO_DEVICE, after
// it has waited wait_ms for it. Transports of different devices share nothing; each may be used by a thread of its own.
enum systole_status systole_libusb_open_chosen(const char *choice, uint32_t wait_ms,
                                               struct systole_transport **transport,
                                               struct systole_diagnostic *diagnostic);
enum systole_status systole_libusb_open(uint32_t index, struct systole_transport **transport,
                                        struct systole_diagnostic *diagnostic);

// What is on USB, in the order in which indices count: by bus, then by ports. Nobody who uses a device is disturbed.
enum { SYSTOLE_USB_NAME_BYTES = 48 };
struct systole_usb_listing {
    char name[SYSTOLE_USB_NAME_BYTES]; // "usb:1-2.4"
    uint16_t product;                  // SYSTOLE_USB_BOOT_PRODUCT_ID or _APPLICATION_
    uint32_t speed_mbits;              // 0: not known
    char trouble[64];                  // why it cannot be opened; "": it can. What follows is known only then.
    char serial[64];
    uint32_t target_id; // of an application
    bool in_use;        // by this or another program
};
// *listings is malloc'ed, NULL when there are none.
enum systole_status systole_libusb_list(struct systole_usb_listing **listings, uint32_t *count,
                                        struct systole_diagnostic *diagnostic);

#endif
