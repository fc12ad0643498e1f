// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The library's public interface: open a device, load a model onto it, run inferences, one after another or several in
// flight. Everything a program needs is in this header and the two that it includes.
//
//   systole_device_open("usb", NULL, &device, &diagnostic)
//   systole_model_load_file(device, "model.tflite", &model, &diagnostic)
//   systole_inference_create(model, &inference, &diagnostic)
//   systole_inference_set_input(inference, 0, pixels, pixels_size)
//   systole_inference_set_output(inference, 0, scores, scores_size)
//   systole_inference_invoke(inference, &diagnostic) as often as you like
//
// Objects. A device makes models, a model makes inferences. Each keeps alive what it was made from: they may be freed
// in any order, and a device really closes when the last of its models and inferences is gone. NULL may be freed.
//
// Threads. A device, its models and their inferences belong to one thread at a time (several take turns behind a lock
// of theirs). Different devices share nothing, each may have its own thread. Callbacks come in the thread that polls.
// Threads of their own have only fast kernels (`threads`) and libusb, and those call nobody. Signals are left alone.
//
// Errors. What can fail returns a status; the text for a person goes to the diagnostic, which may be NULL. On failure
// nothing was made, and pointers to results are NULL. status.h says what each status means and whether a retry is safe.
//
// Time. Nothing waits forever: see `silence_ms`. Memory the caller gives is the caller's; who reads or writes it until
// when stands at each call. Tensors are dense, row-major, little endian.
//
// Stability. Programs built against a version run with every later one of the same soname: functions are only added,
// and structures that begin with `size` only grow at their end.
#ifndef SYSTOLE_H
#define SYSTOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dtype.h"
#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SYSTOLE_VERSION "0.1.0"
const char *systole_version(void); // of the library that is linked, in the same form

struct systole_device;
struct systole_model;
struct systole_inference;

// ---- Devices

// What is on USB, one call a device, in the order in which indices count; nobody who uses one is disturbed. Strings are
// valid during the call. NO_DEVICE: USB cannot be looked at (none at all is OK).
struct systole_device_found {
    const char *name;     // for systole_device_open: "usb:1-2.4"
    const char *serial;   // "": none, or not known
    const char *trouble;  // why it cannot be opened; "": it can
    bool is_application;  // it has its firmware; false: the one who opens it brings it
    bool in_use;          // by this or another program
    uint32_t target_id;   // of an application, as `systole targets` tells them
    uint32_t speed_mbits; // 0: not known
};
typedef void (*systole_device_seen)(const struct systole_device_found *found, void *context);
enum systole_status systole_device_find(systole_device_seen seen, void *context, struct systole_diagnostic *diagnostic);

// Zeros are defaults. Set size to sizeof(struct systole_device_options).
struct systole_device_options {
    size_t size;
    const char *target; // preset's name or path of a description file; NULL: "systole16". A device on USB must be of it
    const char *faults; // model and rtl: path of a fault script, which they follow
    const char *record; // path of a file that receives all USB traffic (docs/driver.md); not with cpu
    uint32_t silence_ms;  // the longest time without a sign of life of the device, on any wait; 0: 10,000
    uint32_t replays;     // how often an inference that the device failed runs again by itself; 0: 3
    bool no_replay;       // ... never
    bool shared;          // usb: others may have the device between inferences (below)
    bool trace;           // systole_inference_operator_cycles; the device then tells of every command
    const char *kernels;  // of what the CPU computes: "reference", "c", "avx2" ... (docs/cpu.md); NULL: "fastest"
    uint32_t threads;     // of those kernels; 0: 1
    uint32_t queue_depth; // bulk transfers in flight, each way; 0: 4
    size_t chunk_bytes;   // of the largest bulk transfer; 0: 256 KiB
};

// name: "cpu" (kernels of the CPU, in this process), "model" (the functional model of the device), "rtl" (its
// Verilog, Verilated; slow), "usb" (the first on USB), "usb:N" (by index), "usb:BUS-PORT" (by place: usb:1-1,
// usb:2-1.4), "usb:serial:TEXT". All but cpu are brought up here: firmware, capabilities. A device on USB is this
// handle's alone, unless `shared`: then several programs, or handles, that all open it so take turns. Each claims the
// device when inferences are submitted and none was in flight, and releases it when none is any more. Whoever claims
// it resets it and brings the model again; waiting for the others, within silence_ms, happens in poll, invoke, open and
// load. NO_DEVICE after that.
//   BAD_ARGUMENT  unknown name, or an option that does not go with it
//   UNSUPPORTED   no Verilated model of the target
//   NO_DEVICE     nothing there, or in use by another program
//   DEVICE_*      it does not come up; DEVICE_MISMATCH: it is of another target
enum systole_status systole_device_open(const char *name, const struct systole_device_options *options,
                                        struct systole_device **device, struct systole_diagnostic *diagnostic);
void systole_device_close(struct systole_device *device);
const char *systole_device_name(const struct systole_device *device); // "cpu", "model", "rtl", "usb:1-1"

// Lets the device and the inferences that were submitted work for at most timeout_ms, or until one is complete; calls
// back for those that are. OK, or DEVICE_GONE: plug it in, then systole_device_reset.
enum systole_status systole_device_poll(struct systole_device *device, uint32_t timeout_ms);
// For an event loop: a descriptor that is readable (poll, select, epoll) when systole_device_poll(device, 0) has
// something to do; call that also when *timeout_ms have passed without an event (UINT32_MAX: nothing is in flight). The
// descriptor is the device's. -1: there is none, poll every *timeout_ms.
int systole_device_descriptor(struct systole_device *device, uint32_t *timeout_ms);
// From the beginning: bus reset, firmware, models again. Inferences that are on the device complete with CANCELLED.
enum systole_status systole_device_reset(struct systole_device *device, struct systole_diagnostic *diagnostic);

struct systole_device_statistics {
    size_t size;                 // set it to sizeof(struct systole_device_statistics)
    uint64_t recoveries;         // the device was brought up again after a failure, and what was in flight replayed
    uint64_t failed_recoveries;  // ... or could not be
    uint64_t uploads, evictions; // of parts of models, to the device and from it to make room
    uint64_t direct_bytes;       // moved straight from and to the memory of their owner
    uint64_t copied_bytes;       // ... through buffers of the driver's
    enum systole_status last_failure; // what the last recovery was for
    bool recording_failed;            // `record` could not be written whole
};
void systole_device_statistics(const struct systole_device *device, struct systole_device_statistics *statistics);

// ---- Models

// A .tflite, compiled here for the device's target, or a program that `systole compile` made. The bytes are read before
// this returns. As many models as the device's memory holds stay on it side by side; the one used longest ago makes
// room.
//   BAD_FILE      neither of the two, or damaged
//   UNSUPPORTED   an operator that neither device nor CPU has; a program on cpu
//   DEVICE_MISMATCH  a program for another target
enum systole_status systole_model_load(struct systole_device *device, const void *bytes, size_t size, const char *name,
                                       struct systole_model **model, struct systole_diagnostic *diagnostic);
enum systole_status systole_model_load_file(struct systole_device *device, const char *path,
                                            struct systole_model **model, struct systole_diagnostic *diagnostic);
void systole_model_free(struct systole_model *model);

#define SYSTOLE_TENSOR_RANK 8
struct systole_tensor_info {
    size_t size;      // set it to sizeof(struct systole_tensor_info)
    const char *name; // the model's, as long as the model lives
    enum systole_dtype dtype;
    uint32_t rank;
    uint32_t shape[SYSTOLE_TENSOR_RANK];
    size_t bytes;
    bool is_quantised; // one scale: real = scale * (value - zero_point)
    float scale;
    int32_t zero_point;
};
uint32_t systole_model_inputs(const struct systole_model *model); // how many
uint32_t systole_model_outputs(const struct systole_model *model);
// BAD_ARGUMENT: there is no such input or output.
enum systole_status systole_model_input(const struct systole_model *model, uint32_t index,
                                        struct systole_tensor_info *info);
enum systole_status systole_model_output(const struct systole_model *model, uint32_t index,
                                         struct systole_tensor_info *info);

struct systole_operator_placement {
    size_t size;        // set it to sizeof(struct systole_operator_placement)
    const char *name;   // "CONV_2D"
    bool on_device;     // else on the CPU, or folded into others
    const char *reason; // why not, as docs/operators.md lists it; "" on the device
};
uint32_t systole_model_operators(const struct systole_model *model);
enum systole_status systole_model_operator(const struct systole_model *model, uint32_t index,
                                           struct systole_operator_placement *placement);

// ---- Inferences

// Room for one run of a model: intermediate tensors, and states (LSTM, SVDF), which begin as zero and stay from run to
// run. Several inferences of a model run at the same time, overlapping their transfers, and do not see each other's
// states.
enum systole_status systole_inference_create(struct systole_model *model, struct systole_inference **inference,
                                             struct systole_diagnostic *diagnostic);
// In flight: it is cancelled first, and its callback is not called.
void systole_inference_free(struct systole_inference *inference);

// The caller's memory for an input or output, for all runs until it is set again; NULL: the inference's own. Input
// bytes are read, output bytes written, from submit until completion. It is done in place: no copy is made where the
// device's layout is the tensor's, but that fast kernels of the CPU read a copy. Output bytes have no defined value
// before a run has succeeded. BAD_ARGUMENT: no such input or output, another size than the tensor's, or in flight.
enum systole_status systole_inference_set_input(struct systole_inference *inference, uint32_t index, const void *bytes,
                                                size_t size);
enum systole_status systole_inference_set_output(struct systole_inference *inference, uint32_t index, void *bytes,
                                                 size_t size);
// Where the bytes are now: set ones, or the inference's own. NULL: there is no such input or output. Input bytes that
// are the inference's own may be written while it is not in flight.
void *systole_inference_input(struct systole_inference *inference, uint32_t index, size_t *size);
const void *systole_inference_output(struct systole_inference *inference, uint32_t index, size_t *size);

// Runs once; others that are in flight go on meanwhile and may call back. After a status of a device (DEVICE_STALL ...
// DEVICE_FAULT) the device has been brought up again and a retry is safe; DEVICE_GONE: plug it in,
// systole_device_reset. BAD_ARGUMENT: it is in flight already.
enum systole_status systole_inference_invoke(struct systole_inference *inference,
                                             struct systole_diagnostic *diagnostic);
// Begins a run and returns at once, without computing anything. `complete` (may be NULL) is called once, from
// systole_device_poll or _reset, from an invocation or cancellation of another inference of the device, never from
// here; it may submit again, or free the inference.
typedef void (*systole_inference_complete)(struct systole_inference *inference, void *context);
enum systole_status systole_inference_submit(struct systole_inference *inference, systole_inference_complete complete,
                                             void *context, struct systole_diagnostic *diagnostic);
bool systole_inference_in_flight(const struct systole_inference *inference);
// Ends a run early with CANCELLED. The device is reset if it had begun; other inferences run again by themselves.
// `complete` is called before this returns. Not in flight: nothing happens.
void systole_inference_cancel(struct systole_inference *inference);
// Of the last run; before any: OK.
enum systole_status systole_inference_status(const struct systole_inference *inference,
                                             struct systole_diagnostic *diagnostic);
// States become zero again. BAD_ARGUMENT: in flight.
enum systole_status systole_inference_reset_states(struct systole_inference *inference);

// Device cycles of the last run, doorbell to completion, summed over the parts on the device; 0 on cpu.
uint64_t systole_inference_cycles(const struct systole_inference *inference);
// Of one operator: the cycles in which it was the oldest not complete, so they sum to the total. UNSUPPORTED: the
// device was opened without `trace`. BAD_ARGUMENT: no such operator.
enum systole_status systole_inference_operator_cycles(const struct systole_inference *inference, uint32_t index,
                                                      uint64_t *cycles);

#ifdef __cplusplus
}
#endif

#endif
