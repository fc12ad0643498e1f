// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What the driver's files share. Callbacks of the transport only move bytes, note what came and record the first
// failure; all decisions are taken in systole_driver_poll, so nothing here is ever entered twice.
#ifndef SYSTOLE_DRIVER_STATE_H
#define SYSTOLE_DRIVER_STATE_H

#include "clock.h"
#include "driver.h"

enum {
    DRIVER_EVENT_TRANSFERS = 2,
    DRIVER_EVENT_BYTES = 1024,
    DRIVER_FAULT_BYTES = 16,
    DRIVER_REPLAYS = 3,
    DRIVER_SPURIOUS = 64, // interrupts without a cause that a request may see
    // Payload from this size on goes and comes in transfers of its own, straight from and to its owner's memory.
    DRIVER_DIRECT_BYTES = 4096,
};

struct driver_transfer {
    struct systole_usb_transfer transfer; // first
    uint8_t *own;                         // its buffer of chunk_bytes, where it has one
    bool busy;
    const struct driver_request *request; // out, of a direct one: whose caller's memory it is; NULL: a segment's
};

// A frame on its way out: header, payload, zeros up to a beat.
struct driver_frame {
    struct driver_frame *next;
    struct systole_frame_header header;
    struct systole_launch_descriptor launch; // payload of a run frame
    const uint8_t *payload;
    size_t payload_bytes, sent;           // zeros follow what is there, up to header.length and a beat
    const struct driver_request *request; // whose buffers these are; NULL: a segment's
};

// A data frame that has been asked for.
struct driver_read {
    struct driver_read *next;
    uint32_t tag, address, bytes, useful; // useful: bytes that the target has room for
    uint8_t *target;
    struct driver_request *request;
};

// `count` transfers of `length` bytes each that frames will arrive in, in that order, one behind the other in memory
// from `target` on; NULL: in buffers of the driver's.
struct driver_arrival {
    struct driver_arrival *next;
    size_t length, count;
    uint8_t *target;
};

// A load or store command: what it moves, and how many stores must have arrived before a load's bytes are there.
struct driver_exchange {
    uint32_t host_address, words, stores_before;
};

struct driver_loaded {
    const struct systole_segment *segment; // NULL: free
    struct systole_region_window windows[SYSTOLE_REGIONS];
    struct systole_region_window second_input; // no words: there was no room
    bool resident;                             // the windows are reserved
    bool uploaded;
    uint64_t used; // grows with each use
    uint32_t next_input;
    struct driver_exchange *loads, *stores;
    uint32_t load_count, store_count;
};

enum driver_phase {
    DRIVER_QUEUED,  // nothing was sent
    DRIVER_WRITTEN, // inputs are on their way
    DRIVER_RUNNING, // so is the launch
};

struct driver_request {
    struct driver_request *next;
    struct systole_request *request;
    uint32_t loaded;
    enum driver_phase phase;
    bool second_input; // the buffer it would like
    uint32_t attempts;
    uint32_t streams_queued, stores_received, outputs_pending, strikes;
    bool reads_queued, run_complete;
    uint64_t limit; // cycles
    uint8_t *host;  // region host
};

struct systole_driver {
    struct systole_transport *transport;
    struct systole_target target;
    struct systole_driver_options options;
    uint8_t *firmware;
    size_t firmware_size;
    bool ready;    // application personality, transfers posted
    bool released; // shared, and free for others to claim; then it is not ready
    bool in_poll;
    uint32_t holds;
    uint64_t released_ms;
    bool stopping; // transfers are being cancelled: do not post them again
    uint32_t idle_failures;
    enum systole_status failure; // the first since the last recovery
    struct systole_diagnostic failure_diagnostic;
    uint32_t fault_code; // enum systole_error, when the device told one
    struct systole_driver_statistics statistics;
    uint32_t spurious; // since a request was complete
    uint64_t uses;

    struct driver_transfer *out, *in; // queue_depth each
    struct driver_transfer events[DRIVER_EVENT_TRANSFERS], fault;
    uint8_t *buffers;
    uint8_t event_bytes[DRIVER_EVENT_TRANSFERS][DRIVER_EVENT_BYTES], fault_bytes[DRIVER_FAULT_BYTES];

    struct driver_frame *frames_first, *frames_last;
    struct driver_read *reads_first, *reads_last;
    struct systole_frame_header in_header; // of the frame that is arriving
    size_t in_header_bytes;
    uint64_t in_useful, in_padded; // bytes left: of what the target has room for, of payload and padding
    uint8_t *in_target;
    struct driver_arrival *arrivals_first, *arrivals_last;

    struct driver_loaded *loaded;
    uint32_t loaded_count;
    struct driver_request *first, *last;           // in flight
    struct driver_request *done_first, *done_last; // to be completed

    uint32_t next_tag, next_token;
    uint64_t progress_ms, checked_ms, seen_cycles;
};

// driver.c
void driver_fail(struct systole_driver *driver, enum systole_status status, const char *hint, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
enum systole_status driver_control(struct systole_driver *driver, uint8_t type, uint8_t request, uint16_t value,
                                   uint16_t index, uint8_t *data, uint16_t length);

// frame_stream.c
bool driver_queue_frame(struct systole_driver *driver, struct systole_frame_header header, const uint8_t *payload,
                        size_t bytes, const struct driver_request *request);
bool driver_queue_launch(struct systole_driver *driver, const struct systole_launch_descriptor *launch,
                         const struct driver_request *request);
bool driver_queue_read(struct systole_driver *driver, uint32_t address, uint32_t bytes, uint8_t *target, size_t room,
                       struct driver_request *request);
void driver_send_frames(struct systole_driver *driver);
void driver_frames_sent(struct systole_usb_transfer *ended);
void driver_forget_frames(struct systole_driver *driver); // and what answers were expected
bool driver_has_frames_of(const struct systole_driver *driver, const struct driver_request *request);
// Whether a transfer still reads memory of a request's caller (NULL: of a segment).
bool driver_is_lent(const struct systole_driver *driver, const struct driver_request *request);

// frame_answers.c
bool driver_expect_stores(struct systole_driver *driver, const struct driver_loaded *loaded);
bool driver_expect_data(struct systole_driver *driver, const struct driver_read *read);
void driver_ask_answers(struct systole_driver *driver);
void driver_answer_complete(struct systole_usb_transfer *ended);
void driver_forget_answers(struct systole_driver *driver);

// transfers.c
enum systole_status driver_submit(struct systole_driver *driver, struct driver_transfer *transfer, uint8_t *buffer,
                                  size_t length);
bool driver_note_end(struct systole_driver *driver, struct driver_transfer *transfer); // true: what came is fine
enum systole_status driver_post_transfers(struct systole_driver *driver);
void driver_stop_transfers(struct systole_driver *driver);

// submission.c
void driver_advance(struct systole_driver *driver);
void driver_check_progress(struct systole_driver *driver);
void driver_handle_event(struct systole_driver *driver, const struct systole_event *event);
void driver_fail_fault(struct systole_driver *driver, uint32_t error, uint32_t unit, uint32_t command, uint32_t detail);
bool driver_upload(struct systole_driver *driver, struct driver_loaded *loaded);
void driver_finish(struct systole_driver *driver, struct driver_request *request, enum systole_status status,
                   const struct systole_diagnostic *diagnostic);
bool driver_deliver(struct systole_driver *driver); // true: something was completed

// debugging.c; all do nothing without a debugger
void driver_debug_launching(struct systole_driver *driver, const struct driver_request *request);
void driver_debug_check(struct systole_driver *driver);
void driver_debug_failed(struct systole_driver *driver, const struct systole_diagnostic *failure);

// recovery.c
enum systole_status driver_reset_accelerator(struct systole_driver *driver);
enum systole_status driver_clear_halts(struct systole_driver *driver);
enum systole_status driver_bring_up(struct systole_driver *driver, bool firmware_again,
                                    struct systole_diagnostic *diagnostic);
// Everything from the beginning; requests in flight run again, except `culprit`, which completes with `status`.
enum systole_status driver_recover(struct systole_driver *driver, struct driver_request *culprit,
                                   enum systole_status status, const struct systole_diagnostic *diagnostic);
void driver_handle_failure(struct systole_driver *driver);

// sharing.c
enum systole_status driver_claim(struct systole_driver *driver, struct systole_diagnostic *diagnostic);
void driver_release_if_idle(struct systole_driver *driver);

// device_memory.c
// Reserves the windows of an entry of driver->loaded. With `evict`, segments that no request in flight uses leave
// for it, the one used longest ago first.
bool driver_place(struct systole_driver *driver, struct driver_loaded *loaded);
bool driver_make_resident(struct systole_driver *driver, struct driver_loaded *loaded);
// Whether it fits into an empty device.
enum systole_status driver_check_size(const struct systole_driver *driver, const struct systole_segment *segment,
                                      struct systole_diagnostic *diagnostic);

#endif
