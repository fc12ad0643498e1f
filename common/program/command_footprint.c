// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A walk is three nested loops with a stride each, so what a command touches is a few boxes of words. Two boxes share a
// word when a difference of their offsets is a sum of strides with bounded coefficients; with the strides in falling
// order only a few coefficients of each can still reach it, and a short search decides.
#include "command_footprint.h"

#include <stddef.h>
#include <string.h>

#define CHANNEL_RECORD_WORDS 12u
#define TABLE_BYTES 256u
#define SEARCH_LIMIT 256 // steps after which boxes count as overlapping

bool systole_window_extent(int64_t origin, uint32_t outputs, int64_t stride, uint32_t taps, int64_t dilation,
                           int64_t input, int64_t *first, int64_t *last) {
    bool any = false;
    for (uint32_t tap = 0; tap < taps; tap++) {
        // Positions origin + tap*dilation + o*stride, o = 0 .. outputs-1: the smallest at least 0, the largest below
        // input.
        int64_t start = origin + (int64_t)tap * dilation;
        int64_t skipped = start < 0 ? (-start + stride - 1) / stride : 0;
        int64_t lowest = start + skipped * stride;
        if (skipped >= outputs || lowest >= input) {
            continue;
        }
        int64_t steps = (input - 1 - start) / stride;
        int64_t highest = start + (steps < outputs - 1 ? steps : (int64_t)outputs - 1) * stride;
        *first = any && *first < lowest ? *first : lowest;
        *last = any && *last > highest ? *last : highest;
        any = true;
    }
    return any;
}

uint64_t systole_command_parameter_words(const struct systole_target *target, const struct systole_command *command) {
    const struct systole_window *w = &command->body.window;
    uint64_t taps = (uint64_t)w->kernel_height * w->kernel_width;
    uint64_t tile = CHANNEL_RECORD_WORDS;
    if (command->header.opcode == SYSTOLE_OPCODE_CONV) {
        uint64_t reductions = taps * w->input_tiles;
        if ((command->header.flags & SYSTOLE_FLAG_PACKED) != 0) {
            uint32_t segments = w->segments == 0 ? 1 : w->segments;
            reductions = (w->kernel_height + segments - 1) / segments;
        }
        return w->output_tiles * (tile + reductions * w->tile_rows);
    }
    if (command->header.opcode == SYSTOLE_OPCODE_DEPTHWISE) {
        uint64_t port = target->weight_port_rows;
        tile = (tile + taps + port - 1) / port * port;
        return w->output_tiles * tile;
    }
    return 0;
}

static void add_box(struct systole_footprint *footprint, bool is_write, const char *field, uint32_t address,
                    uint64_t skip, const uint32_t count[3], const uint32_t stride[3]) {
    struct systole_word_box *box = &footprint->boxes[footprint->count++];
    uint64_t offset = (address & 0x0FFFFFFFu) + skip;
    box->region = address >> 28;
    box->offset = offset > UINT32_MAX ? UINT32_MAX : (uint32_t)offset;
    box->is_write = is_write;
    box->field = field;
    box->last = offset;
    for (int i = 0; i < 3; i++) {
        box->count[i] = count[i];
        box->stride[i] = stride[i];
        box->last += (uint64_t)(count[i] - 1) * stride[i];
    }
}

static void add_run(struct systole_footprint *footprint, bool is_write, const char *field, uint32_t address,
                    uint64_t words) {
    if (words > 0) {
        uint32_t length = words > UINT32_MAX ? UINT32_MAX : (uint32_t)words;
        add_box(footprint, is_write, field, address, 0, (const uint32_t[3]){length, 1, 1},
                (const uint32_t[3]){1, 0, 0});
    }
}

// Box of tiles x rows x columns with the extents as they stand in a command, where 0 is not legal but possible.
static void add_map(struct systole_footprint *footprint, bool is_write, const char *field, uint32_t address,
                    const uint32_t extents[3], const uint32_t stride[3]) {
    if (extents[0] > 0 && extents[1] > 0 && extents[2] > 0) {
        add_box(footprint, is_write, field, address, 0, extents, stride);
    }
}

static void window_footprint(const struct systole_target *target, const struct systole_command *command,
                             struct systole_footprint *footprint) {
    const struct systole_window *w = &command->body.window;
    bool is_conv = command->header.opcode == SYSTOLE_OPCODE_CONV;
    bool packed = is_conv && (command->header.flags & SYSTOLE_FLAG_PACKED) != 0;
    uint32_t tiles = packed ? 1 : is_conv ? w->input_tiles : w->output_tiles;
    int64_t y0 = 0;
    int64_t y1 = 0;
    int64_t x0 = 0;
    int64_t x1 = 0;
    bool touches = w->stride_y > 0 && w->stride_x > 0 && tiles > 0 &&
                   systole_window_extent(w->origin_y, w->output_height, w->stride_y, w->kernel_height, w->dilation_y,
                                         w->input_height, &y0, &y1);
    uint32_t column_words = w->input_pixel_stride;
    if (packed) {
        int64_t channels = w->input_pixel_stride;
        touches = touches && channels > 0 &&
                  systole_window_extent(w->origin_x * channels, w->output_width, w->stride_x * channels,
                                        w->segment_bytes, 1, w->input_width * channels, &x0, &x1);
        x0 /= target->columns;
        x1 /= target->columns;
        column_words = 1;
    } else {
        touches = touches && systole_window_extent(w->origin_x, w->output_width, w->stride_x, w->kernel_width,
                                                   w->dilation_x, w->input_width, &x0, &x1);
    }
    if (touches) {
        uint64_t skip = (uint64_t)y0 * w->input_row_stride + (uint64_t)x0 * column_words;
        add_box(footprint, false, "input_address", w->input_address, skip,
                (const uint32_t[3]){(uint32_t)(x1 - x0 + 1), (uint32_t)(y1 - y0 + 1), tiles},
                (const uint32_t[3]){column_words, w->input_row_stride, w->input_tile_stride});
    }
    add_run(footprint, false, "parameter_address", w->parameter_address,
            systole_command_parameter_words(target, command));
    add_map(footprint, true, "output_address", w->output_address,
            (const uint32_t[3]){w->output_width, w->output_height, w->output_tiles},
            (const uint32_t[3]){w->output_pixel_stride, w->output_row_stride, w->output_tile_stride});
}

static void elementwise_footprint(const struct systole_target *target, const struct systole_command *command,
                                  struct systole_footprint *footprint) {
    const struct systole_elementwise *e = &command->body.elementwise;
    const uint32_t extents[3] = {e->width, e->height, e->tiles};
    add_map(footprint, false, "input_address", e->input_address, extents,
            (const uint32_t[3]){e->input_pixel_stride, e->input_row_stride, e->input_tile_stride});
    if (command->header.opcode == SYSTOLE_OPCODE_TABLE) {
        add_run(footprint, false, "input2_address", e->input2_address, TABLE_BYTES / target->columns);
    } else if (systole_opcode_has_second_input(command->header.opcode)) {
        add_map(footprint, false, "input2_address", e->input2_address, extents,
                (const uint32_t[3]){e->input2_pixel_stride, e->input2_row_stride, e->input2_tile_stride});
    }
    add_map(footprint, true, "output_address", e->output_address, extents,
            (const uint32_t[3]){e->output_pixel_stride, e->output_row_stride, e->output_tile_stride});
}

void systole_command_footprint(const struct systole_target *target, const struct systole_command *command,
                               struct systole_footprint *footprint) {
    memset(footprint, 0, sizeof *footprint);
    const struct systole_opcode_description *opcode = systole_describe_opcode(command->header.opcode);
    switch (opcode == NULL ? SYSTOLE_FORMAT_NONE : opcode->format) {
    case SYSTOLE_FORMAT_TRANSFER:
        add_run(footprint, command->header.opcode == SYSTOLE_OPCODE_LOAD, "address", command->body.transfer.address,
                command->body.transfer.words);
        if (command->body.transfer.host_address >> 28 == SYSTOLE_REGION_HOST) { // parameters only are read
            add_run(footprint, command->header.opcode == SYSTOLE_OPCODE_STORE, "host_address",
                    command->body.transfer.host_address, command->body.transfer.words);
        }
        break;
    case SYSTOLE_FORMAT_WINDOW:
        window_footprint(target, command, footprint);
        break;
    case SYSTOLE_FORMAT_ELEMENTWISE:
        elementwise_footprint(target, command, footprint);
        break;
    default:
        break;
    }
}

// One stride with the bounds of its coefficient, and what the terms behind it can add up to.
struct term {
    int64_t stride, low, high;
    int64_t rest_low, rest_high;
};

// Whether difference = sum of coefficient * stride over terms[0 .. count-1]; true when *steps runs out.
static bool reaches(const struct term *terms, uint32_t count, int64_t difference, int *steps) {
    if (count == 0) {
        return difference == 0;
    }
    const struct term *t = &terms[0];
    if (count == 1) {
        int64_t coefficient = difference / t->stride;
        return difference % t->stride == 0 && coefficient >= t->low && coefficient <= t->high;
    }
    // difference - coefficient*stride must lie in rest_low .. rest_high.
    int64_t most = difference - t->rest_low;
    int64_t least = difference - t->rest_high;
    int64_t high = most >= 0 ? most / t->stride : -((-most + t->stride - 1) / t->stride);
    int64_t low = least >= 0 ? (least + t->stride - 1) / t->stride : -(-least / t->stride);
    high = high < t->high ? high : t->high;
    low = low > t->low ? low : t->low;
    for (int64_t coefficient = low; coefficient <= high; coefficient++) {
        if (--*steps < 0 || reaches(terms + 1, count - 1, difference - coefficient * t->stride, steps)) {
            return true;
        }
    }
    return false;
}

// Adds low .. high times the stride, into the term of the same stride if there is one; keeps the strides falling.
static uint32_t add_term(struct term *terms, uint32_t count, uint32_t stride, int64_t low, int64_t high) {
    if (stride == 0 || low == high) {
        return count;
    }
    uint32_t at = 0;
    while (at < count && terms[at].stride > stride) {
        at++;
    }
    if (at < count && terms[at].stride == stride) {
        terms[at].low += low;
        terms[at].high += high;
        return count;
    }
    memmove(&terms[at + 1], &terms[at], (count - at) * sizeof terms[0]);
    terms[at] = (struct term){stride, low, high, 0, 0};
    return count + 1;
}

bool systole_boxes_overlap(const struct systole_word_box *a, const struct systole_word_box *b) {
    if (a->region != b->region || a->last < b->offset || b->last < a->offset) {
        return false;
    }
    struct term terms[7];
    uint32_t count = 0;
    for (int i = 0; i < 3; i++) {
        count = add_term(terms, count, a->stride[i], 0, (int64_t)a->count[i] - 1);
        count = add_term(terms, count, b->stride[i], -((int64_t)b->count[i] - 1), 0);
    }
    int64_t rest_low = 0;
    int64_t rest_high = 0;
    for (uint32_t i = count; i-- > 0;) {
        terms[i].rest_low = rest_low;
        terms[i].rest_high = rest_high;
        rest_low += terms[i].low * terms[i].stride;
        rest_high += terms[i].high * terms[i].stride;
    }
    int steps = SEARCH_LIMIT;
    return reaches(terms, count, (int64_t)b->offset - a->offset, &steps);
}

bool systole_footprints_conflict(const struct systole_footprint *earlier, const struct systole_footprint *later,
                                 bool same_unit) {
    for (uint32_t i = 0; i < earlier->count; i++) {
        for (uint32_t j = 0; j < later->count; j++) {
            const struct systole_word_box *a = &earlier->boxes[i];
            const struct systole_word_box *b = &later->boxes[j];
            bool matters = same_unit ? a->is_write && !b->is_write : a->is_write || b->is_write;
            if (matters && systole_boxes_overlap(a, b)) {
                return true;
            }
        }
    }
    return false;
}
