// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Frames in and out (spec/framing.toml; docs/architecture.md, "Frames"). Bytes cross the link at its rate: a credit
// of millibytes grows with the clock while there is something to move.
#include <string.h>

#include "functional_model.h"

#define BEAT 8u
#define STEP 1024u // bytes moved at an instant at most, so that time goes on in small steps

static uint32_t padding_of(uint32_t length) {
    return (BEAT - length % BEAT) % BEAT;
}

static void take(struct systole_functional_model *model, void *to, size_t size) {
    uint8_t *bytes = to;
    size_t left = model->in.capacity - model->in.head, first = size < left ? size : left;
    memcpy(bytes, model->in.bytes + model->in.head, first);
    memcpy(bytes + first, model->in.bytes, size - first);
    model->in.head = (model->in.head + size) % model->in.capacity;
    model->in.count -= size;
    model->in_credit -= size * 1000;
}

// Bytes the parser could take now if they were there.
static size_t wanted(const struct systole_functional_model *model) {
    const struct systole_parser *p = &model->parser;
    uint64_t words = 0;
    switch (p->state) {
    case SYSTOLE_PARSER_HEADER:
        return sizeof p->header - p->got;
    case SYSTOLE_PARSER_DESCRIPTOR:
        return sizeof p->descriptor - p->got;
    case SYSTOLE_PARSER_PADDING:
        return p->padding;
    case SYSTOLE_PARSER_WRITE:
        words = p->remaining;
        break;
    case SYSTOLE_PARSER_STREAM: {
        uint32_t load = systole_functional_load_wants(model);
        words = load < p->remaining ? load : p->remaining;
        break;
    }
    default:
        break;
    }
    uint64_t bytes = words == 0 ? 0 : words * model->target.columns - p->got;
    return bytes < STEP ? (size_t)bytes : STEP;
}

static size_t takable(const struct systole_functional_model *model) {
    size_t size = wanted(model);
    size = size < model->in.count ? size : model->in.count;
    uint64_t credit = model->in_credit / 1000;
    return credit < size ? (size_t)credit : size;
}

static void enter(struct systole_functional_model *model, enum systole_parser_state state) {
    model->parser.state = state;
    model->parser.got = 0;
}

static void fault(struct systole_functional_model *model, uint32_t error, uint32_t detail) {
    systole_functional_fault(model, error, SYSTOLE_UNIT_NONE, 0, 0, detail);
}

static void check_header(struct systole_functional_model *model) {
    const struct systole_frame_header *h = &model->parser.header;
    uint32_t columns = model->target.columns, words = h->length / columns;
    bool moves = h->kind == SYSTOLE_FRAME_WRITE || h->kind == SYSTOLE_FRAME_READ;
    if (h->magic != SYSTOLE_FRAME_MAGIC) {
        fault(model, SYSTOLE_ERROR_FRAME_MAGIC, h->magic | (uint32_t)h->kind << 16 | (uint32_t)h->flags << 24);
    } else if (!moves && h->kind != SYSTOLE_FRAME_RUN && h->kind != SYSTOLE_FRAME_STREAM) {
        fault(model, SYSTOLE_ERROR_FRAME_KIND, h->kind);
    } else if (h->kind == SYSTOLE_FRAME_RUN
                   ? h->length != sizeof(struct systole_launch_descriptor)
                   : h->length == 0 || h->length % columns != 0 || words > model->memory_words) {
        fault(model, SYSTOLE_ERROR_FRAME_LENGTH, h->length);
    } else if (moves && (h->address >= model->memory_words || words > model->memory_words - h->address)) {
        fault(model, SYSTOLE_ERROR_FRAME_ADDRESS, h->address);
    } else if (h->kind == SYSTOLE_FRAME_RUN && (model->control & 1) == 0) {
        fault(model, SYSTOLE_ERROR_NOT_STARTED, h->tag);
    } else {
        model->frames++;
        model->parser.remaining = h->kind == SYSTOLE_FRAME_RUN ? 0 : words;
        model->parser.padding = h->kind == SYSTOLE_FRAME_READ ? 0 : padding_of(h->length);
        model->parser.address = h->address;
        enter(model, SYSTOLE_PARSER_HELD);
    }
}

// After the header, or when the run that held the frame has ended.
static bool leave_held(struct systole_functional_model *model) {
    const struct systole_frame_header *h = &model->parser.header;
    bool waits = h->kind == SYSTOLE_FRAME_RUN ||
                 (h->kind != SYSTOLE_FRAME_STREAM && (h->flags & SYSTOLE_FRAME_FLAG_AFTER_RUN) != 0);
    if (waits && model->running) {
        return false;
    }
    switch (h->kind) {
    case SYSTOLE_FRAME_WRITE:
        enter(model, SYSTOLE_PARSER_WRITE);
        break;
    case SYSTOLE_FRAME_READ:
        enter(model, SYSTOLE_PARSER_READ);
        break;
    case SYSTOLE_FRAME_RUN:
        enter(model, SYSTOLE_PARSER_DESCRIPTOR);
        break;
    default:
        enter(model, SYSTOLE_PARSER_STREAM);
        break;
    }
    return true;
}

static void accept_word(struct systole_functional_model *model) {
    struct systole_parser *p = &model->parser;
    p->got = 0;
    p->remaining--;
    if (p->state == SYSTOLE_PARSER_WRITE) {
        memcpy(model->memory + (size_t)p->address * model->target.columns, p->word, model->target.columns);
        model->flipped[p->address] = 0;
        p->address++;
    } else {
        systole_functional_load_word(model, p->word);
    }
}

static bool take_words(struct systole_functional_model *model) {
    struct systole_parser *p = &model->parser;
    if (p->state == SYSTOLE_PARSER_STREAM && !model->running) {
        fault(model, SYSTOLE_ERROR_STREAM, p->remaining);
        return true;
    }
    size_t size = takable(model);
    for (size_t left = size; left > 0 && !model->halted;) {
        uint32_t whole = (uint32_t)(left / model->target.columns);
        if (p->state == SYSTOLE_PARSER_WRITE && p->got == 0 && whole != 0) {
            take(model, model->memory + (size_t)p->address * model->target.columns,
                 (size_t)whole * model->target.columns);
            memset(model->flipped + p->address, 0, whole);
            p->address += whole;
            p->remaining -= whole;
            left -= (size_t)whole * model->target.columns;
            continue;
        }
        size_t part = model->target.columns - p->got;
        part = part < left ? part : left;
        take(model, p->word + p->got, part);
        p->got += (uint32_t)part;
        left -= part;
        if (p->got == model->target.columns) {
            accept_word(model);
        }
    }
    if (p->remaining == 0) {
        enter(model, SYSTOLE_PARSER_PADDING);
        return true;
    }
    return size > 0;
}

static bool answer_read(struct systole_functional_model *model) {
    struct systole_parser *p = &model->parser;
    size_t columns = model->target.columns;
    if (!systole_functional_out_room(model)) {
        return false;
    }
    for (uint32_t i = 0; i < p->remaining; i++) {
        if (model->flipped[p->address + i]) {
            fault(model, SYSTOLE_ERROR_PARITY, p->address + i);
            return true;
        }
    }
    systole_functional_put_header(model, SYSTOLE_FRAME_DATA, p->header.tag, p->header.address, p->header.length);
    systole_functional_put_bytes(model, model->memory + p->address * columns, p->remaining * columns);
    systole_functional_put_padding(model, p->header.length);
    enter(model, SYSTOLE_PARSER_HEADER);
    return true;
}

// Fills `to` as far as bytes are there; true when something moved.
static bool take_into(struct systole_functional_model *model, void *to) {
    size_t size = takable(model);
    take(model, (uint8_t *)to + model->parser.got, size);
    model->parser.got += (uint32_t)size;
    return size > 0;
}

bool systole_functional_parse(struct systole_functional_model *model) {
    struct systole_parser *p = &model->parser;
    bool moved = false;
    switch (p->state) {
    case SYSTOLE_PARSER_HEADER:
        moved = take_into(model, &p->header);
        if (p->got == sizeof p->header) {
            check_header(model);
        }
        break;
    case SYSTOLE_PARSER_HELD:
        moved = leave_held(model);
        break;
    case SYSTOLE_PARSER_DESCRIPTOR:
        moved = take_into(model, &p->descriptor);
        if (p->got == sizeof p->descriptor) {
            systole_functional_launch(model);
            enter(model, SYSTOLE_PARSER_HEADER);
        }
        break;
    case SYSTOLE_PARSER_READ:
        moved = answer_read(model);
        break;
    case SYSTOLE_PARSER_WRITE:
    case SYSTOLE_PARSER_STREAM:
        moved = take_words(model);
        break;
    case SYSTOLE_PARSER_PADDING: {
        uint8_t ignored[BEAT];
        size_t size = takable(model);
        take(model, ignored, size);
        p->padding -= (uint32_t)size;
        moved = size > 0 || p->padding == 0;
        if (p->padding == 0) {
            enter(model, SYSTOLE_PARSER_HEADER);
        }
        break;
    }
    }
    return moved;
}

bool systole_functional_out_room(const struct systole_functional_model *model) {
    return model->out.count < SYSTOLE_STREAM_BYTES;
}

void systole_functional_put_bytes(struct systole_functional_model *model, const uint8_t *bytes, size_t size) {
    struct systole_byte_fifo *out = &model->out;
    size_t tail = (out->head + out->count) % out->capacity;
    size_t first = size < out->capacity - tail ? size : out->capacity - tail;
    memcpy(out->bytes + tail, bytes, first);
    memcpy(out->bytes, bytes + first, size - first);
    out->count += size;
}

void systole_functional_put_header(struct systole_functional_model *model, uint32_t kind, uint32_t tag,
                                   uint32_t address, uint32_t length) {
    struct systole_frame_header header = {SYSTOLE_FRAME_MAGIC, (uint8_t)kind, 0, tag, address, length};
    uint8_t bytes[sizeof header];
    memcpy(bytes, &header, sizeof header);
    systole_functional_put_bytes(model, bytes, sizeof bytes);
}

void systole_functional_put_padding(struct systole_functional_model *model, uint32_t length) {
    static const uint8_t zeros[BEAT];
    systole_functional_put_bytes(model, zeros, padding_of(length));
}

// Bytes the link could move out now if it had time.
static size_t sendable(const struct systole_functional_model *model) {
    size_t waiting = model->out.count - model->out_ready;
    size_t room = model->out_ready < SYSTOLE_STREAM_BYTES ? SYSTOLE_STREAM_BYTES - model->out_ready : 0;
    waiting = waiting < room ? waiting : room;
    return waiting < STEP ? waiting : STEP;
}

bool systole_functional_send(struct systole_functional_model *model) {
    size_t size = sendable(model);
    uint64_t credit = model->out_credit / 1000;
    size = credit < size ? (size_t)credit : size;
    model->out_ready += size;
    model->out_credit -= size * 1000;
    return size > 0;
}

static uint64_t link_cycles(const struct systole_functional_model *model, uint64_t bytes, uint64_t credit) {
    uint64_t rate = model->target.link_millibytes_per_cycle;
    return bytes * 1000 <= credit ? 1 : (bytes * 1000 - credit + rate - 1) / rate;
}

uint64_t systole_functional_streams_next(const struct systole_functional_model *model) {
    size_t in = wanted(model), out = sendable(model);
    in = in < model->in.count ? in : model->in.count;
    uint64_t next = in > 0 ? link_cycles(model, in, model->in_credit) : SYSTOLE_NEVER;
    uint64_t next_out = out > 0 ? link_cycles(model, out, model->out_credit) : SYSTOLE_NEVER;
    return next_out < next ? next_out : next;
}

// A link that has nothing to move, or nobody to take it, keeps credit for one beat.
static uint64_t grow(const struct systole_functional_model *model, uint64_t credit, uint64_t cycles, size_t bytes) {
    uint64_t rate = model->target.link_millibytes_per_cycle, limit = (bytes > BEAT ? bytes : BEAT) * 1000;
    return cycles >= limit || credit + cycles * rate > limit ? limit : credit + cycles * rate;
}

void systole_functional_streams_advance(struct systole_functional_model *model, uint64_t cycles) {
    size_t in = wanted(model);
    in = in < model->in.count ? in : model->in.count;
    model->in_credit = grow(model, model->in_credit, cycles, in);
    model->out_credit = grow(model, model->out_credit, cycles, sendable(model));
}
