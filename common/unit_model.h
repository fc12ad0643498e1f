// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The three computing units and the scratchpad's banks, cycle by cycle, without data: what each unit asks of memory,
// what arbitration grants, when the last word of a command is written. The clock of schedule.h runs on it.
#ifndef SYSTOLE_UNIT_MODEL_H
#define SYSTOLE_UNIT_MODEL_H

#include <stdbool.h>

#include "systole_spec.h"

#define SYSTOLE_MOST_BANKS 256
#define SYSTOLE_MOST_TAPS 16
#define SYSTOLE_MOST_SLOTS 130 // weight tiles in the array's buffer: 2 * weight_port_rows + 2
#define SYSTOLE_WRITE_DELAY 1024
#define SYSTOLE_RESULT_SLOTS 16

// Words asked for together; those refused ask again.
struct systole_request_model {
    uint32_t address[SYSTOLE_MOST_TAPS];
    uint32_t pending; // bit a port
    bool valid;
};

// rtl/result_queue.sv: a word's slot from its request to its write.
struct systole_result_model {
    uint32_t address[SYSTOLE_RESULT_SLOTS];
    uint64_t ready[SYSTOLE_RESULT_SLOTS]; // cycle from which the write is asked for
    bool last[SYSTOLE_RESULT_SLOTS];
    uint32_t head, tail;
};

// rtl/weight_loader.sv.
struct systole_loader_model {
    struct systole_window next;
    bool next_valid, next_packed, active, in_record;
    uint32_t base, address, tiles, tiles_left, output_tiles, output_tiles_left, tile_rows, row;
    int64_t rows_left, block_rows;
    uint64_t request; // bit a port
    uint64_t slot_free[SYSTOLE_MOST_SLOTS];
    uint32_t slot_rows[SYSTOLE_MOST_SLOTS];
    uint32_t fill_slot, launch_slot, loaded, launched, records;
};

// rtl/operand_feeder.sv.
struct systole_feeder_model {
    struct systole_window next, at;
    bool next_valid, next_ready, next_packed, active, packed;
    uint32_t kernel_rows, kernel_columns, input_tiles; // of a reduction step, of the walk
    uint32_t rows_left, rows, row, column, output_tile, input_tile, tap_column, tap_row;
    uint32_t block_row; // output row of the block's first
    uint32_t streamed, got;
    int64_t x_step;
    uint32_t output; // address of the word
    bool done_before[3], refused_before;
};

// rtl/window_walker.sv, rtl/parameter_fetcher.sv and the request of rtl/depthwise_unit.sv.
struct systole_depthwise_model {
    struct systole_window next, at;
    uint8_t next_opcode, opcode;
    bool next_valid, active;
    uint64_t next_ready;
    uint32_t tile, row, column, tap_row, tap_column;
    struct systole_request_model request;
    bool request_last, request_tile_last, request_weighted;
    uint32_t request_slot, request_delay;
    struct systole_result_model results;
    // parameters
    bool waiting, fetching;
    uint32_t waiting_address, waiting_tiles, waiting_words;
    uint32_t address, tile_address, tiles_left, words, index;
    uint32_t fetched, walked, ended, weights_done, records_done; // tiles
    uint64_t tile_end[8];
    uint32_t inside;
};

struct systole_elementwise_model {
    struct systole_elementwise next, at;
    bool next_valid, next_pair, active, pair;
    uint32_t next_fill, fill_words, fill_left; // words of a table
    bool request_fills;
    uint32_t tile, row, column;
    struct systole_request_model request;
    uint32_t request_slot;
    struct systole_result_model results;
    uint32_t inside;
};

struct systole_fetch_model {
    uint32_t address, requested;
    uint64_t complete;   // the words of a command are together; 0: not yet
    uint64_t checked[2]; // commands behind the check, from when they may enter a queue
    uint32_t count;
};

struct systole_unit_model {
    const struct systole_target *target;
    uint64_t now;
    uint32_t bank_mask;
    uint64_t taken[SYSTOLE_MOST_BANKS]; // 1 + cycle in which the bank was given last
    struct systole_loader_model loader;
    struct systole_feeder_model feeder;
    struct {
        uint32_t address;
        uint8_t flags;
    } writes[SYSTOLE_WRITE_DELAY]; // of the array, by cycle
    uint64_t last_write;           // of the array, in the future or past
    uint32_t array_inside;
    struct systole_depthwise_model depthwise;
    struct systole_elementwise_model elementwise;
    struct systole_fetch_model fetch;
    const struct systole_command *accepted[SYSTOLE_UNITS]; // in this cycle
    uint32_t retiring;                                     // bit a unit: the last word was written in the step before
    uint32_t stalled;                                      // bit a unit: nothing moved because a bank was taken
};

void systole_unit_model_begin(struct systole_unit_model *model, const struct systole_target *target);
// True when the unit (array, depthwise, elementwise) takes a command in this cycle. A nop never comes here.
bool systole_unit_model_ready(const struct systole_unit_model *model, uint32_t unit);
// The command must live until the step.
void systole_unit_model_accept(struct systole_unit_model *model, uint32_t unit, const struct systole_command *command);
// When the next command may enter its queue; UINT64_MAX: not known yet.
uint64_t systole_unit_model_fetched(const struct systole_unit_model *model);
void systole_unit_model_take_fetched(struct systole_unit_model *model);
// True when a step changes nothing but the time.
bool systole_unit_model_quiet(const struct systole_unit_model *model);
void systole_unit_model_step(struct systole_unit_model *model);

#endif
