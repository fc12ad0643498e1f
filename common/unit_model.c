// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Each unit is its walk and the registers that decide what it asks of memory in a cycle; names are those of the modules
// in rtl/. Pipelines behind the last request never stop there, so here they are a delay (spec/timing.toml). A step
// asks for banks in the scratchpad's order of priority from the state before the step, then changes the state.
#include "unit_model.h"

#include <string.h>

#include "program/command_footprint.h"

#define NEVER UINT64_MAX
#define RECORDS 8u       // channel records that the array holds
#define RECORD_WORDS 12u // of a channel record
#define DEPTHWISE_RECORDS 4u
#define DEPTHWISE_WEIGHTS 2u
#define KEPT_TAPS 32u
#define WRITE 1u // flags of a write of the array
#define WRITE_ENDS_TILE 2u
#define WRITE_ENDS_COMMAND 4u

static uint32_t divide_up(uint32_t a, uint32_t b) {
    return (a + b - 1) / b;
}

static bool grant(struct systole_unit_model *m, uint32_t address) {
    uint64_t *bank = &m->taken[address & m->bank_mask];
    if (*bank == m->now + 1) {
        return false;
    }
    *bank = m->now + 1;
    return true;
}

void systole_unit_model_begin(struct systole_unit_model *m, const struct systole_target *target) {
    memset(m, 0, sizeof *m);
    m->target = target;
    m->bank_mask = target->banks - 1; // a power of two
}

// ---- Results of depthwise and element-wise.

static bool results_full(const struct systole_result_model *r) {
    return r->head - r->tail == SYSTOLE_RESULT_SLOTS;
}

static uint32_t results_allocate(struct systole_result_model *r, uint32_t address, bool last) {
    uint32_t slot = r->head++ % SYSTOLE_RESULT_SLOTS;
    r->address[slot] = address;
    r->ready[slot] = NEVER;
    r->last[slot] = last;
    return slot;
}

static bool results_want(const struct systole_unit_model *m, const struct systole_result_model *r) {
    return r->head != r->tail && r->ready[r->tail % SYSTOLE_RESULT_SLOTS] <= m->now;
}

// True when a word was written.
static bool results_write(struct systole_unit_model *m, const struct systole_result_model *r) {
    return results_want(m, r) && grant(m, r->address[r->tail % SYSTOLE_RESULT_SLOTS]);
}

static void results_pop(struct systole_unit_model *m, struct systole_result_model *r, uint32_t unit) {
    if (r->last[r->tail++ % SYSTOLE_RESULT_SLOTS]) {
        m->retiring |= 1u << unit;
    }
}

// True when a word was granted.
static bool request_ask(struct systole_unit_model *m, struct systole_request_model *r) {
    uint32_t before = r->pending;
    for (uint32_t left = before; left != 0; left &= left - 1) {
        uint32_t port = (uint32_t)__builtin_ctz(left);
        if (grant(m, r->address[port])) {
            r->pending &= ~(1u << port);
        }
    }
    return r->pending != before;
}

// ---- Array: the weight loader.

static uint64_t ports_of(const struct systole_unit_model *m, uint32_t words) {
    uint32_t ports = words < m->target->weight_port_rows ? words : m->target->weight_port_rows;
    return ports == 64 ? UINT64_MAX : (UINT64_C(1) << ports) - 1;
}

static void loader_load_next(const struct systole_unit_model *m, struct systole_loader_model *l) {
    const struct systole_window *w = &l->next;
    l->active = l->in_record = true;
    l->next_valid = false;
    l->base = l->address = w->parameter_address;
    l->tiles = l->next_packed ? divide_up(w->kernel_height, w->segments > 0 ? w->segments : 1u)
                              : (uint32_t)w->kernel_height * w->kernel_width * w->input_tiles;
    l->tiles_left = l->tiles;
    l->output_tiles = l->output_tiles_left = w->output_tiles;
    l->rows_left = w->output_height;
    l->block_rows = w->block_rows;
    l->tile_rows = w->tile_rows;
    l->row = 0;
    l->request = ports_of(m, RECORD_WORDS);
}

// The step after this one. True: the command is read.
static bool loader_advance(struct systole_unit_model *m, struct systole_loader_model *l) {
    uint32_t ports = m->target->weight_port_rows;
    uint32_t words = l->in_record ? RECORD_WORDS : l->tile_rows, left = words - l->row;
    if (left > ports) {
        l->address += ports;
        l->row += ports;
        l->request = ports_of(m, left - ports);
        return false;
    }
    l->address += left;
    l->row = 0;
    l->request = ports_of(m, UINT32_MAX);
    if (l->in_record) {
        l->in_record = false;
        l->records++;
        return false;
    }
    l->slot_free[l->fill_slot] = NEVER;
    l->slot_rows[l->fill_slot] = l->tile_rows;
    l->fill_slot = (l->fill_slot + 1) % (2 * ports + 2);
    l->loaded++;
    if (l->tiles_left != 1) {
        l->tiles_left--;
        return false;
    }
    l->in_record = true;
    l->tiles_left = l->tiles;
    l->request = ports_of(m, RECORD_WORDS);
    if (l->output_tiles_left != 1) {
        l->output_tiles_left--;
        return false;
    }
    l->output_tiles_left = l->output_tiles;
    l->rows_left -= l->block_rows;
    l->address = l->base;
    return l->rows_left <= 0;
}

// True when a port was refused.
static bool loader_step(struct systole_unit_model *m) {
    struct systole_loader_model *l = &m->loader;
    bool refused = false, ended = false, launch = l->loaded != l->launched && l->launched - m->feeder.streamed < 2;
    bool can = l->in_record ? l->records < RECORDS : l->slot_free[l->fill_slot] <= m->now;
    if (l->active && can) {
        for (uint64_t left = l->request; left != 0; left &= left - 1) {
            uint32_t port = (uint32_t)__builtin_ctzll(left);
            if (grant(m, l->address + port)) {
                l->request &= ~(UINT64_C(1) << port);
            }
        }
        refused = l->request != 0;
        ended = !refused && loader_advance(m, l);
    }
    if (l->next_valid && (!l->active || ended)) {
        loader_load_next(m, l);
    } else if (ended) {
        l->active = false;
    }
    if (launch) {
        // Free when the wavefront has passed the tile's last row and column.
        l->slot_free[l->launch_slot] = m->now + l->slot_rows[l->launch_slot] + m->target->columns + 1;
        l->launch_slot = (l->launch_slot + 1) % (2 * m->target->weight_port_rows + 2);
        l->launched++;
    }
    return refused;
}

// ---- Array: the operand feeder.

static void feeder_load_next(struct systole_feeder_model *f) {
    f->at = f->next;
    f->next_valid = f->next_ready = false;
    f->active = true;
    f->packed = f->next_packed;
    f->kernel_rows = f->packed ? f->at.segments : 1u;
    f->kernel_columns = f->packed ? 1u : f->at.kernel_width;
    f->input_tiles = f->packed ? 1u : f->at.input_tiles;
    f->rows_left = f->at.output_height;
    f->rows = f->rows_left < f->at.block_rows ? f->rows_left : f->at.block_rows;
    f->row = f->column = f->output_tile = f->input_tile = f->tap_column = f->tap_row = f->block_row = 0;
}

// The ports of the current vector: bit p, addresses beside. Up to four segments of two words when packed.
static uint32_t feeder_needs(const struct systole_unit_model *m, const struct systole_feeder_model *f,
                             uint32_t address[8]) {
    const struct systole_window *w = &f->at;
    int64_t output_row = (int64_t)f->block_row + f->row;
    int64_t y = w->origin_y + output_row * w->stride_y + (int64_t)f->tap_row * w->dilation_y;
    if (!f->packed) {
        int64_t x = w->origin_x + (int64_t)f->column * w->stride_x + (int64_t)f->tap_column * w->dilation_x;
        address[0] = w->input_address + f->input_tile * w->input_tile_stride + (uint32_t)y * w->input_row_stride +
                     (uint32_t)x * w->input_pixel_stride;
        return y >= 0 && y < w->input_height && x >= 0 && x < w->input_width;
    }
    uint32_t columns = m->target->columns, need = 0;
    int64_t offset = ((int64_t)w->origin_x + (int64_t)f->column * w->stride_x) * w->input_pixel_stride;
    int64_t right = (int64_t)w->input_width * w->input_pixel_stride - offset;
    if (offset <= -64 || right <= 0) {
        return 0;
    }
    uint32_t first = offset < 0 ? (uint32_t)-offset : 0;
    uint32_t end = right < w->segment_bytes ? (uint32_t)right : w->segment_bytes;
    uint32_t byte = (uint32_t)offset & (columns - 1);
    uint32_t word = (uint32_t)((offset - byte) / (int64_t)columns);
    for (uint32_t s = 0; first < end && s < 4 && s < w->segments && s + f->tap_row < w->kernel_height; s++) {
        int64_t segment_y = y + (int64_t)s * w->dilation_y;
        if (segment_y >= 0 && segment_y < w->input_height) {
            need |= (uint32_t)(byte + first < columns) << (2 * s) | (uint32_t)(byte + end > columns) << (2 * s + 1);
        }
        address[2 * s] = w->input_address + (uint32_t)segment_y * w->input_row_stride + word;
        address[2 * s + 1] = address[2 * s] + 1;
    }
    return need;
}

// To the next vector. True: it was the command's last.
static bool feeder_advance(struct systole_feeder_model *f) {
    if (++f->column < f->at.output_width) {
        return false;
    }
    f->column = 0;
    if (++f->row < f->rows) {
        return false;
    }
    f->row = 0;
    f->streamed++;
    if (++f->input_tile < f->input_tiles) {
        return false;
    }
    f->input_tile = 0;
    if (++f->tap_column < f->kernel_columns) {
        return false;
    }
    f->tap_column = 0;
    f->tap_row += f->kernel_rows;
    if (f->tap_row < f->at.kernel_height) {
        return false;
    }
    f->tap_row = 0;
    if (++f->output_tile < f->at.output_tiles) {
        return false;
    }
    f->output_tile = 0;
    f->block_row += f->rows;
    f->rows_left -= f->rows;
    f->rows = f->rows_left < f->at.block_rows ? f->rows_left : f->at.block_rows;
    return f->rows_left == 0;
}

// A vector of the last reduction tile is a word of the output, written behind the array and the requantiser.
static void feeder_write(struct systole_unit_model *m, const struct systole_feeder_model *f) {
    const struct systole_window *w = &f->at;
    if (f->input_tile + 1 < f->input_tiles || f->tap_column + 1 < f->kernel_columns ||
        f->tap_row + f->kernel_rows < w->kernel_height) {
        return;
    }
    bool ends_tile = f->column + 1 == w->output_width && f->row + 1 == f->rows;
    bool ends_command = ends_tile && f->output_tile + 1 == w->output_tiles && f->rows == f->rows_left;
    uint64_t at = m->now + m->target->rows + m->target->columns + SYSTOLE_TIMING_ARRAY_FILL;
    m->last_write = at;
    m->writes[at % SYSTOLE_WRITE_DELAY].address = w->output_address + f->output_tile * w->output_tile_stride +
                                                  (f->block_row + f->row) * w->output_row_stride +
                                                  f->column * w->output_pixel_stride;
    m->writes[at % SYSTOLE_WRITE_DELAY].flags =
        (uint8_t)(WRITE | (ends_tile ? WRITE_ENDS_TILE : 0) | (ends_command ? WRITE_ENDS_COMMAND : 0));
}

// True when a port was refused.
static bool feeder_step(struct systole_unit_model *m, uint32_t launched) {
    struct systole_feeder_model *f = &m->feeder;
    bool ended = false, refused = false, done = false, becomes_ready = f->next_valid && !f->next_ready;
    if (f->active && f->streamed != launched) {
        uint32_t address[8], need = feeder_needs(m, f, address) & ~f->got;
        for (uint32_t left = need; left != 0; left &= left - 1) {
            uint32_t port = (uint32_t)__builtin_ctz(left);
            if (grant(m, address[port])) {
                f->got |= 1u << port;
                need &= ~(1u << port);
            }
        }
        refused = need != 0;
        done = !refused;
        if (done) {
            f->got = 0;
            feeder_write(m, f);
            ended = feeder_advance(f);
        }
    }
    if (f->next_ready && (!f->active || ended)) {
        feeder_load_next(f);
    } else if (ended) {
        f->active = false;
    }
    f->next_ready = f->next_ready || becomes_ready;
    f->done_before[2] = f->done_before[1];
    f->done_before[1] = f->done_before[0];
    f->done_before[0] = done;
    return refused;
}

// ---- Depthwise and pooling.

static bool is_divided(uint32_t opcode) {
    return opcode == SYSTOLE_OPCODE_MAX_POOL || opcode == SYSTOLE_OPCODE_MIN_POOL ||
           opcode == SYSTOLE_OPCODE_AVERAGE_POOL;
}

// A word of parameters was granted.
static bool parameters_advance(const struct systole_unit_model *m, struct systole_depthwise_model *d) {
    uint32_t ports = m->target->weight_port_rows;
    d->address++;
    if (++d->index < d->words) {
        return false;
    }
    d->index = 0;
    d->fetched++;
    d->tile_address += (d->words + ports - 1) / ports * ports;
    d->address = d->tile_address;
    return --d->tiles_left == 0;
}

static bool parameters_wanted(const struct systole_depthwise_model *d) {
    return d->fetching && (d->index < RECORD_WORDS ? d->fetched - d->records_done < DEPTHWISE_RECORDS
                                                   : d->fetched - d->weights_done < DEPTHWISE_WEIGHTS);
}

static void parameters_step(const struct systole_unit_model *m, struct systole_depthwise_model *d, bool granted) {
    bool ended = granted && parameters_advance(m, d);
    if (d->waiting && (!d->fetching || ended)) {
        d->waiting = false;
        d->fetching = true;
        d->address = d->tile_address = d->waiting_address;
        d->tiles_left = d->waiting_tiles;
        d->words = d->waiting_words;
        d->index = 0;
    } else if (ended) {
        d->fetching = false;
    }
    while (d->weights_done != d->ended && d->tile_end[d->weights_done % 8] + 2 <= m->now) {
        d->weights_done++;
    }
    while (d->records_done != d->ended && d->tile_end[d->records_done % 8] + 3 <= m->now) {
        d->records_done++;
    }
}

// The current group of taps into the request.
static void depthwise_group(const struct systole_unit_model *m, struct systole_depthwise_model *d) {
    const struct systole_window *w = &d->at;
    struct systole_request_model *r = &d->request;
    int64_t y0 = w->origin_y + (int64_t)d->row * w->stride_y, x0 = w->origin_x + (int64_t)d->column * w->stride_x;
    uint32_t tile = w->input_address + d->tile * w->input_tile_stride;
    // Taps that the word before in the row has read are kept.
    bool keeps = d->column > 0 && w->dilation_x == 1 && (uint32_t)w->kernel_height * w->kernel_width <= KEPT_TAPS;
    uint32_t read_from = keeps && w->stride_x < w->kernel_width ? (uint32_t)w->kernel_width - w->stride_x : 0;
    r->valid = true;
    r->pending = 0;
    for (uint32_t j = 0; j < m->target->taps && d->tap_row < w->kernel_height; j++) {
        int64_t y = y0 + (int64_t)d->tap_row * w->dilation_y, x = x0 + (int64_t)d->tap_column * w->dilation_x;
        if (d->tap_column >= read_from && y >= 0 && y < w->input_height && x >= 0 && x < w->input_width) {
            r->pending |= 1u << j;
            r->address[j] = tile + (uint32_t)y * w->input_row_stride + (uint32_t)x * w->input_pixel_stride;
        }
        if (++d->tap_column == w->kernel_width) {
            d->tap_column = 0;
            d->tap_row++;
        }
    }
}

// Takes the group, if there is one and room for it. `was_full`, `fetched`: before this cycle.
static bool depthwise_take(const struct systole_unit_model *m, struct systole_depthwise_model *d, bool was_full,
                           uint32_t fetched) {
    const struct systole_window *w = &d->at;
    uint32_t taps = (uint32_t)w->kernel_height * w->kernel_width;
    bool weighted = d->opcode == SYSTOLE_OPCODE_DEPTHWISE;
    bool word_last = d->tap_row * w->kernel_width + d->tap_column + m->target->taps >= taps;
    if (d->request.valid || (word_last && was_full) || (weighted && fetched == d->walked)) {
        return false;
    }
    depthwise_group(m, d);
    d->request_last = word_last;
    d->request_tile_last = false;
    d->request_weighted = weighted;
    d->request_delay = SYSTOLE_TIMING_DEPTHWISE_FILL + (is_divided(d->opcode) ? SYSTOLE_TIMING_AVERAGE_FILL : 0);
    if (!word_last) {
        return true;
    }
    d->tap_row = d->tap_column = 0;
    bool row_ends = d->column + 1 == w->output_width, tile_ends = row_ends && d->row + 1 == w->output_height;
    bool command_ends = tile_ends && d->tile + 1 == w->output_tiles;
    uint32_t output = w->output_address + d->tile * w->output_tile_stride + d->row * w->output_row_stride +
                      d->column * w->output_pixel_stride;
    d->request_slot = results_allocate(&d->results, output, command_ends);
    d->request_tile_last = tile_ends;
    d->column = row_ends ? 0 : d->column + 1;
    d->row = tile_ends ? 0 : d->row + row_ends;
    d->tile += tile_ends;
    d->walked += tile_ends && weighted;
    d->active = !command_ends;
    return true;
}

static void depthwise_step(struct systole_unit_model *m, bool wrote) {
    struct systole_depthwise_model *d = &m->depthwise;
    bool was_full = results_full(&d->results), wanted = parameters_wanted(d);
    bool wrote_refused = !wrote && results_want(m, &d->results);
    uint32_t fetched = d->fetched;
    bool moved = request_ask(m, &d->request) || wrote;
    bool granted = wanted && grant(m, d->address);
    bool is_last = false;
    if (d->request.valid && d->request.pending == 0) {
        d->request.valid = false;
        if (d->request_last) {
            d->results.ready[d->request_slot] = m->now + d->request_delay;
        }
        if (d->request_tile_last && d->request_weighted) {
            d->tile_end[d->ended++ % 8] = m->now;
        }
    }
    if (d->active) {
        moved = depthwise_take(m, d, was_full, fetched) || moved;
        is_last = !d->active;
    }
    // The next command takes the place of one that ends.
    if (d->next_valid && d->next_ready <= m->now && (!d->active || is_last)) {
        d->at = d->next;
        d->opcode = d->next_opcode;
        d->active = true;
        d->next_valid = false;
        d->tile = d->row = d->column = d->tap_row = d->tap_column = 0;
    }
    parameters_step(m, d, granted);
    if (wrote) {
        results_pop(m, &d->results, SYSTOLE_UNIT_DEPTHWISE);
    }
    if (!moved && !granted && (d->request.pending != 0 || wanted || wrote_refused)) {
        m->stalled |= 1u << SYSTOLE_UNIT_DEPTHWISE;
    }
}

// ---- Element-wise.

static void elementwise_take(struct systole_elementwise_model *e) {
    const struct systole_elementwise *w = &e->at;
    struct systole_request_model *r = &e->request;
    r->valid = true;
    e->request_fills = e->fill_left > 0;
    if (e->request_fills) {
        r->pending = 2;
        r->address[1] = w->input2_address + e->fill_words - e->fill_left--;
        return;
    }
    r->pending = e->pair ? 3 : 1;
    r->address[0] = w->input_address + e->tile * w->input_tile_stride + e->row * w->input_row_stride +
                    e->column * w->input_pixel_stride;
    r->address[1] = w->input2_address + e->tile * w->input2_tile_stride + e->row * w->input2_row_stride +
                    e->column * w->input2_pixel_stride;
    uint32_t output = w->output_address + e->tile * w->output_tile_stride + e->row * w->output_row_stride +
                      e->column * w->output_pixel_stride;
    bool row_ends = e->column + 1 == w->width, tile_ends = row_ends && e->row + 1 == w->height;
    bool command_ends = tile_ends && e->tile + 1 == w->tiles;
    e->request_slot = results_allocate(&e->results, output, command_ends);
    e->column = row_ends ? 0 : e->column + 1;
    e->row = tile_ends ? 0 : e->row + row_ends;
    e->tile += tile_ends;
    e->active = !command_ends;
}

static void elementwise_step(struct systole_unit_model *m, bool wrote) {
    struct systole_elementwise_model *e = &m->elementwise;
    bool was_full = results_full(&e->results), wrote_refused = !wrote && results_want(m, &e->results);
    bool moved = request_ask(m, &e->request) || wrote, was_active = e->active;
    if (e->request.valid && e->request.pending == 0) {
        e->request.valid = false;
        if (!e->request_fills) {
            e->results.ready[e->request_slot] = m->now + SYSTOLE_TIMING_ELEMENTWISE_FILL;
        }
    }
    if (e->active && (!was_full || e->fill_left > 0) && !e->request.valid) {
        elementwise_take(e);
        moved = true;
    }
    if (e->next_valid && (!was_active || !e->active)) {
        e->at = e->next;
        e->pair = e->next_pair;
        e->fill_left = e->fill_words = e->next_fill;
        e->active = true;
        e->next_valid = false;
        e->tile = e->row = e->column = 0;
    }
    if (wrote) {
        results_pop(m, &e->results, SYSTOLE_UNIT_ELEMENTWISE);
    }
    if (!moved && (e->request.pending != 0 || wrote_refused)) {
        m->stalled |= 1u << SYSTOLE_UNIT_ELEMENTWISE;
    }
}

// ---- Fetch: rtl/command_fetch.sv.

uint64_t systole_unit_model_fetched(const struct systole_unit_model *m) {
    return m->fetch.count > 0 ? m->fetch.checked[0] : NEVER;
}

void systole_unit_model_take_fetched(struct systole_unit_model *m) {
    struct systole_fetch_model *f = &m->fetch;
    f->checked[0] = f->checked[1] > m->now ? f->checked[1] : m->now + 1;
    f->count--;
}

static void fetch_step(struct systole_unit_model *m) {
    struct systole_fetch_model *f = &m->fetch;
    uint32_t words = SYSTOLE_COMMAND_BYTES / m->target->columns;
    words = words > 0 ? words : 1;
    if (f->requested < words) {
        if (grant(m, f->address)) {
            f->address++;
            f->requested++;
            f->complete = m->now + 2;
        }
    } else if (f->complete <= m->now && f->count < 2) {
        f->checked[f->count++] = m->now + 2;
        f->requested = 0;
    }
}

// ---- All of them.

static uint32_t inside(const struct systole_unit_model *m) {
    return m->array_inside + m->depthwise.inside + m->elementwise.inside;
}

bool systole_unit_model_ready(const struct systole_unit_model *m, uint32_t unit) {
    if (m->accepted[unit] != NULL) {
        return false;
    }
    switch (unit) {
    case SYSTOLE_UNIT_ARRAY:
        return !m->loader.next_valid && !m->feeder.next_valid;
    case SYSTOLE_UNIT_DEPTHWISE:
        return !m->depthwise.next_valid && !m->depthwise.waiting;
    case SYSTOLE_UNIT_ELEMENTWISE:
        return !m->elementwise.next_valid;
    default:
        return false;
    }
}

void systole_unit_model_accept(struct systole_unit_model *m, uint32_t unit, const struct systole_command *command) {
    m->accepted[unit] = command;
}

static void take_accepted(struct systole_unit_model *m) {
    const struct systole_command *c = m->accepted[SYSTOLE_UNIT_ARRAY];
    if (c != NULL) {
        m->loader.next = m->feeder.next = c->body.window;
        m->loader.next_valid = m->feeder.next_valid = true;
        m->loader.next_packed = m->feeder.next_packed = (c->header.flags & SYSTOLE_FLAG_PACKED) != 0;
        m->array_inside++;
    }
    c = m->accepted[SYSTOLE_UNIT_DEPTHWISE];
    if (c != NULL) {
        struct systole_depthwise_model *d = &m->depthwise;
        d->next = c->body.window;
        d->next_opcode = c->header.opcode;
        d->next_valid = true;
        d->next_ready = m->now + m->target->taps + 3;
        d->inside++;
        if (d->next_opcode == SYSTOLE_OPCODE_DEPTHWISE) {
            d->waiting = true;
            d->waiting_address = d->next.parameter_address;
            d->waiting_tiles = d->next.output_tiles;
            d->waiting_words = RECORD_WORDS + (uint32_t)d->next.kernel_height * d->next.kernel_width;
        }
    }
    c = m->accepted[SYSTOLE_UNIT_ELEMENTWISE];
    if (c != NULL) {
        m->elementwise.next = c->body.elementwise;
        m->elementwise.next_pair = systole_opcode_has_second_input(c->header.opcode);
        m->elementwise.next_fill = c->header.opcode == SYSTOLE_OPCODE_TABLE ? 256 / m->target->columns : 0;
        m->elementwise.next_valid = true;
        m->elementwise.inside++;
    }
    memset(m->accepted, 0, sizeof m->accepted);
}

bool systole_unit_model_quiet(const struct systole_unit_model *m) {
    return inside(m) == 0 && m->fetch.count == 2 && m->accepted[SYSTOLE_UNIT_ARRAY] == NULL &&
           m->accepted[SYSTOLE_UNIT_DEPTHWISE] == NULL && m->accepted[SYSTOLE_UNIT_ELEMENTWISE] == NULL;
}

void systole_unit_model_step(struct systole_unit_model *m) {
    m->retiring = m->stalled = 0;
    uint32_t launched = m->loader.launched;
    // Writes first, the array's before all others.
    uint8_t *write = &m->writes[m->now % SYSTOLE_WRITE_DELAY].flags;
    if (*write != 0) {
        grant(m, m->writes[m->now % SYSTOLE_WRITE_DELAY].address);
        m->retiring |= (*write & WRITE_ENDS_COMMAND) != 0 ? 1u << SYSTOLE_UNIT_ARRAY : 0;
        *write = 0;
    }
    bool depthwise_wrote = m->depthwise.inside > 0 && results_write(m, &m->depthwise.results);
    bool elementwise_wrote = m->elementwise.inside > 0 && results_write(m, &m->elementwise.results);
    if (m->array_inside > 0) {
        // Launches look at what was streamed before this cycle, reading at what was launched.
        uint32_t streamed = m->feeder.streamed;
        bool refused = feeder_step(m, launched);
        uint32_t after = m->feeder.streamed;
        m->feeder.streamed = streamed;
        refused = loader_step(m) || refused;
        m->feeder.streamed = after;
        // A record is free five cycles before its last word is written.
        uint64_t due = m->now + 5;
        if ((m->writes[due % SYSTOLE_WRITE_DELAY].flags & WRITE_ENDS_TILE) != 0) {
            m->loader.records--;
        }
        bool writing = false;
        for (uint64_t at = m->now; m->feeder.refused_before && at < m->now + 4; at++) {
            writing = writing || m->writes[at % SYSTOLE_WRITE_DELAY].flags != 0;
        }
        if (m->feeder.refused_before && !m->feeder.done_before[2] && !writing) {
            m->stalled |= 1u << SYSTOLE_UNIT_ARRAY;
        }
        m->feeder.refused_before = refused;
    }
    if (m->depthwise.inside > 0) {
        depthwise_step(m, depthwise_wrote);
    }
    if (m->elementwise.inside > 0) {
        elementwise_step(m, elementwise_wrote);
    }
    fetch_step(m);
    m->array_inside -= m->retiring >> SYSTOLE_UNIT_ARRAY & 1;
    m->depthwise.inside -= m->retiring >> SYSTOLE_UNIT_DEPTHWISE & 1;
    m->elementwise.inside -= m->retiring >> SYSTOLE_UNIT_ELEMENTWISE & 1;
    take_accepted(m);
    m->now++;
}
