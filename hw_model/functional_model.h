// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The functional model's inside: functional_model.c is the boundary and the registers, functional_frames.c the two
// streams, functional_run.c a program's run. Time jumps from one instant at which something happens to the next.
#ifndef SYSTOLE_FUNCTIONAL_MODEL_H
#define SYSTOLE_FUNCTIONAL_MODEL_H

#include "device.h"
#include "execute.h"
#include "schedule.h"

#define SYSTOLE_STREAM_BYTES 65536u // FIFOs in front of the link, each way
#define SYSTOLE_EVENT_COUNT 1024u

struct systole_byte_fifo {
    uint8_t *bytes;
    size_t capacity, head, count;
};

enum systole_parser_state {
    SYSTOLE_PARSER_HEADER,
    SYSTOLE_PARSER_HELD,       // header good, but a run has to end first
    SYSTOLE_PARSER_DESCRIPTOR, // of a run
    SYSTOLE_PARSER_WRITE,
    SYSTOLE_PARSER_READ, // waits for room in the stream out
    SYSTOLE_PARSER_STREAM,
    SYSTOLE_PARSER_PADDING,
};

struct systole_parser {
    enum systole_parser_state state;
    struct systole_frame_header header;
    struct systole_launch_descriptor descriptor;
    uint32_t got;       // bytes of the header, descriptor or word so far
    uint32_t remaining; // words of payload
    uint32_t padding;   // bytes
    uint32_t address;   // next word of a write
    uint8_t word[SYSTOLE_MAX_COLUMNS];
};

// What a debugger set, and the command that fetch holds back for it.
struct systole_debugging {
    bool hold, go;
    uint64_t breakpoints[SYSTOLE_BREAKPOINT_COUNT];
    uint32_t address;
    bool at_check; // fetch has this command ready to be given out
    uint32_t index;
    uint16_t operator_index, last_operator; // the latter of the command before
    bool first;                             // there is none
};

struct systole_functional_model {
    struct systole_accelerator accelerator; // first
    struct systole_target target;
    struct systole_observer observer;
    uint8_t *memory, *flipped;
    uint32_t memory_words;
    uint64_t cycle, reset_cycle; // since creation

    uint64_t control, frames, scratch, error;
    uint32_t parity_flip;
    uint32_t error_detail;
    bool halted, interrupt_pending;
    uint64_t command_table[32];

    struct systole_byte_fifo in, out;
    size_t out_ready;               // bytes at the head of `out` that the link has moved
    uint64_t in_credit, out_credit; // millibytes the link may move
    struct systole_parser parser;

    struct systole_event events[SYSTOLE_EVENT_COUNT];
    uint32_t event_head, event_count;
    uint64_t events_made;

    bool running;
    struct systole_launch_descriptor launch;
    struct systole_schedule schedule;
    struct systole_command fetched; // the command at fetch
    bool fetched_valid;
    uint32_t fetch_index, retired;
    uint64_t last_retired, complete;
    bool load_open; // the load inside still takes words
    uint32_t load_done;
    struct systole_debugging debugging;
    uint64_t random; // state; 0: the clock's order
};

// functional_model.c
void systole_functional_fault(struct systole_functional_model *model, uint32_t error, uint32_t unit, uint32_t core,
                              uint32_t command, uint32_t detail);
void systole_functional_event(struct systole_functional_model *model, const struct systole_event *event);

// functional_frames.c: what can be done at this instant (true: something was), and when something can be done next.
bool systole_functional_parse(struct systole_functional_model *model);
bool systole_functional_send(struct systole_functional_model *model);
uint64_t systole_functional_streams_next(const struct systole_functional_model *model);
void systole_functional_streams_advance(struct systole_functional_model *model, uint64_t cycles);
// A whole frame into the stream out; room for it must have been there (systole_functional_out_room).
bool systole_functional_out_room(const struct systole_functional_model *model);
void systole_functional_put_header(struct systole_functional_model *model, uint32_t kind, uint32_t tag,
                                   uint32_t address, uint32_t length);
void systole_functional_put_bytes(struct systole_functional_model *model, const uint8_t *bytes, size_t size);
void systole_functional_put_padding(struct systole_functional_model *model, uint32_t length);

// functional_debug.c
void systole_functional_debug_reset(struct systole_functional_model *model);
void systole_functional_debug_launch(struct systole_functional_model *model);
// Fetch asks whether it may give out this command. False: a debugger holds it.
bool systole_functional_debug_pass(struct systole_functional_model *model, uint32_t index, uint16_t operator_index);
bool systole_functional_debug_still(const struct systole_functional_model *model); // nothing moves until it lets go
// False: no such register.
bool systole_functional_debug_read(const struct systole_functional_model *model, uint32_t address, uint64_t *value);
bool systole_functional_debug_write(struct systole_functional_model *model, uint32_t address, uint64_t value);

// functional_run.c
void systole_functional_launch(struct systole_functional_model *model);
bool systole_functional_step(struct systole_functional_model *model);
uint64_t systole_functional_run_next(const struct systole_functional_model *model);
// Words that the load inside still takes; and one of them.
uint32_t systole_functional_load_wants(const struct systole_functional_model *model);
void systole_functional_load_word(struct systole_functional_model *model, const uint8_t *word);

#endif
