// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The device in software: an accelerator (functional model or Verilated RTL) behind a USB device.
#ifndef SYSTOLE_DEVICE_H
#define SYSTOLE_DEVICE_H

#include "systole_spec.h"
#include "transport.h"

// ---- An accelerator at its boundary: register bus, byte stream in, byte stream out, events, interrupt. One clock.
// Filled by functional_model.c and by the Verilator shim (verilator_shim.cc, one shared object a target, which exports
// `systole_rtl_create` with the signature of systole_accelerator_create_function).
struct systole_accelerator;
// Which waves are written: the run's token, cycles since its doorbell, both ends included. 10 ns in the file are a
// cycle, and time 0 is the doorbell. The file is complete when the window has passed, the run has ended, or the
// accelerator is destroyed; it is never begun when the window does not come.
struct systole_waves {
    const char *path; // copied
    uint32_t token;
    uint64_t first, last;
};
struct systole_accelerator_functions {
    // Runs at most `cycles` cycles; may stop early when an event is ready, the stream out is full or nothing is left to
    // do. Takes bytes from the stream set by push_stream at the link's rate. Returns the cycles that passed.
    uint64_t (*run)(struct systole_accelerator *accelerator, uint64_t cycles);
    // Room-limited FIFOs in front of the link. Return the bytes taken / given.
    size_t (*push_stream)(struct systole_accelerator *accelerator, const uint8_t *bytes, size_t size);
    size_t (*pull_stream)(struct systole_accelerator *accelerator, uint8_t *bytes, size_t size);
    bool (*pull_event)(struct systole_accelerator *accelerator, struct systole_event *event);
    uint64_t (*read_register)(struct systole_accelerator *accelerator, uint32_t address);
    void (*write_register)(struct systole_accelerator *accelerator, uint32_t address, uint64_t value);
    bool (*interrupt)(struct systole_accelerator *accelerator);
    bool (*idle)(struct systole_accelerator *accelerator); // nothing in any stream, queue or unit
    void (*reset)(struct systole_accelerator *accelerator);
    void (*observe)(struct systole_accelerator *accelerator, const struct systole_observer *observer);
    void (*peek)(struct systole_accelerator *accelerator, uint32_t word, uint32_t words, uint8_t *bytes);
    uint64_t (*cycle)(struct systole_accelerator *accelerator); // since creation
    void (*destroy)(struct systole_accelerator *accelerator);
    // NULL where waves cannot be written (see systole_rtl_create_traced).
    void (*trace)(struct systole_accelerator *accelerator, const struct systole_waves *waves);
    // For how many cycles to run it between two looks at its streams; 0: 1,024. More only if run stops by itself at
    // the moment when the stream in has become empty or the stream out full.
    uint64_t slice_cycles;
};
struct systole_accelerator {
    const struct systole_accelerator_functions *functions;
};
typedef enum systole_status (*systole_accelerator_create_function)(const struct systole_target *target,
                                                                   struct systole_accelerator **accelerator,
                                                                   struct systole_diagnostic *diagnostic);

// The functional model. order_seed 0: commands run in the order of the cycle model's clock; otherwise in a random order
// that the tokens allow, so that a missing token shows.
enum systole_status systole_functional_model_create(const struct systole_target *target, uint64_t order_seed,
                                                    struct systole_accelerator **accelerator,
                                                    struct systole_diagnostic *diagnostic);
// Executes one command on memory of `words` words, addresses already resolved through `windows`; pure. False: it
// reached outside a window or a field is bad (*error, *detail as in an event). The lockstep test calls this.
bool systole_execute_command(const struct systole_target *target, const struct systole_command *command,
                             const struct systole_region_window windows[SYSTOLE_REGIONS], uint8_t *memory,
                             uint32_t *error, uint32_t *detail);

// Loads systole_rtl_TARGETID.so (8 hex digits) from $SYSTOLE_RTL_PATH, else from where a build or an installation has
// it, seen from the binary or the shared library, and creates the accelerator. Not there: SYSTOLE_UNSUPPORTED with the
// hint `make rtl TARGET=FILE`.
enum systole_status systole_rtl_create(const struct systole_target *target, struct systole_accelerator **accelerator,
                                       struct systole_diagnostic *diagnostic);

// The same from systole_rtl_trace_TARGETID.so (`make rtl-trace TARGET=FILE`), which writes these waves as FST.
enum systole_status systole_rtl_create_traced(const struct systole_target *target, const struct systole_waves *waves,
                                              struct systole_accelerator **accelerator,
                                              struct systole_diagnostic *diagnostic);

// ---- The USB device in front of an accelerator: descriptors, boot and application personality, control requests,
// endpoints. Byte-exact at the level of USB transfers; used by the in-process transport and by every bus server.
struct systole_usb_device;
struct systole_usb_device *systole_usb_device_create(struct systole_accelerator *accelerator,
                                                     const struct systole_target *target); // takes it over
void systole_usb_device_free(struct systole_usb_device *device);
// One of several on a bus: the serial number is the target's id in hexadecimal, with -NUMBER behind it from 2 on.
void systole_usb_device_number(struct systole_usb_device *device, uint32_t number);
// Makes it misbehave by a script (fault_injection.h), which it takes over; NULL: no longer. A control request may then
// answer NAK: ask again, until the host's patience ends.
struct systole_faults;
void systole_usb_device_inject(struct systole_usb_device *device, struct systole_faults *faults);

enum systole_usb_result {
    SYSTOLE_USB_DONE,   // *actual bytes moved
    SYSTOLE_USB_NAK,    // nothing now; ask again after systole_usb_device_run
    SYSTOLE_USB_STALL,  // refused
    SYSTOLE_USB_BABBLE, // more came than was asked for (only with faults)
};
// setup: 8 bytes. data: wLength bytes in or out. A device that has just been created, reset or re-enumerated is not
// configured: who plays the host's kernel sends SET_CONFIGURATION(1) when it attaches, else the endpoints stall.
enum systole_usb_result systole_usb_control(struct systole_usb_device *device, const uint8_t *setup, uint8_t *data,
                                            size_t *actual);
// Bulk OUT may take a part (*actual < size: offer the rest later).
enum systole_usb_result systole_usb_out(struct systole_usb_device *device, uint8_t endpoint, const uint8_t *bytes,
                                        size_t size, size_t *actual);
// *short_packet: the transfer ends here although the buffer is not full.
enum systole_usb_result systole_usb_in(struct systole_usb_device *device, uint8_t endpoint, uint8_t *bytes, size_t size,
                                       size_t *actual, bool *short_packet);
// Lets the accelerator run a slice of cycles; false: it was idle.
bool systole_usb_device_run(struct systole_usb_device *device);
void systole_usb_device_bus_reset(struct systole_usb_device *device);
// True once after the device asked to re-enumerate (personality changed), was unplugged or plugged in again; look at
// systole_usb_device_present, then at systole_usb_product.
bool systole_usb_device_reenumerates(struct systole_usb_device *device);
bool systole_usb_device_present(const struct systole_usb_device *device);
uint16_t systole_usb_product(const struct systole_usb_device *device);
// Device descriptor followed by the configuration, as usbfs and sysfs show them; returns the size.
size_t systole_usb_descriptors(const struct systole_usb_device *device, uint8_t *bytes, size_t size);
struct systole_accelerator *systole_usb_accelerator(struct systole_usb_device *device);

// ---- Ways to it.
// In process: the driver's transport straight into the device. Takes the device over.
enum systole_status systole_in_process_open(struct systole_usb_device *device, const char *name,
                                            struct systole_transport **transport,
                                            struct systole_diagnostic *diagnostic);
// Runs `command` (argv, NULL-terminated) with 1 to 16 devices on its USB bus through FUSE on /dev/bus/usb in a private
// namespace, at 1-1, 1-2 and so on; *exit_status receives the command's. UNSUPPORTED where mounting is not permitted.
enum systole_status systole_serve_fuse(struct systole_usb_device *const *devices, uint32_t count, char *const *command,
                                       int *exit_status, struct systole_diagnostic *diagnostic);
// Devices on a socket until SIGINT or SIGTERM, which is success. listen: "HOST:PORT", "PORT" or (socket != NULL) a path
// for a Unix socket; both NULL: the protocol's own port on 127.0.0.1. Nothing is encrypted and nobody asks who a peer
// is. Prints `listening on ADDRESS` when peers may come. Fails with BAD_ARGUMENT where the address cannot be had.
struct systole_listen_address {
    const char *listen, *socket;
};
// For QEMU's device usb-redir; each connection is given the first device that is free.
enum systole_status systole_serve_usbredir(struct systole_usb_device *const *devices, uint32_t count,
                                           const struct systole_listen_address *address,
                                           struct systole_diagnostic *diagnostic);
// USB/IP: `usbip list -r HOST`, `usbip attach -r HOST -b 1-1`, the second device 1-2 and so on.
enum systole_status systole_serve_usbip(struct systole_usb_device *const *devices, uint32_t count,
                                        const struct systole_listen_address *address,
                                        struct systole_diagnostic *diagnostic);

#endif
