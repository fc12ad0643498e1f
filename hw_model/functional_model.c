// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The functional model at its boundary: register bus, streams, events, clock. It is the RTL's equal in bytes, errors
// and events; its cycles are the common cycle model's.
#include "functional_model.h"

#include <stdlib.h>
#include <string.h>

#include "target.h"

#define SLICE_CYCLES 65536u // about a FIFO's bytes at the link's usual rate

static struct systole_functional_model *model_of(struct systole_accelerator *accelerator) {
    return (struct systole_functional_model *)accelerator;
}

void systole_functional_event(struct systole_functional_model *model, const struct systole_event *event) {
    if (model->event_count < SYSTOLE_EVENT_COUNT) { // run makes none while there is no room
        model->events[(model->event_head + model->event_count) % SYSTOLE_EVENT_COUNT] = *event;
        model->event_count++;
    }
    model->events_made++;
}

void systole_functional_fault(struct systole_functional_model *model, uint32_t error, uint32_t unit, uint32_t core,
                              uint32_t command, uint32_t detail) {
    if (model->halted) {
        return;
    }
    model->halted = true;
    model->interrupt_pending = true;
    model->error = (uint64_t)command << 32 | core << 16 | unit << 8 | error;
    model->error_detail = detail;
    systole_functional_event(model,
                             &(struct systole_event){
                                 .kind = SYSTOLE_EVENT_KIND_FAULT,
                                 .error = (uint8_t)error,
                                 .unit = (uint8_t)unit,
                                 .core = (uint8_t)core,
                                 .token = model->running ? model->launch.token : 0,
                                 .command = command,
                                 .detail = detail,
                                 .cycle = model->running ? model->schedule.now : model->cycle - model->reset_cycle,
                             });
}

static void reset(struct systole_accelerator *accelerator) {
    struct systole_functional_model *model = model_of(accelerator);
    model->reset_cycle = model->cycle;
    model->frames = model->error = 0;
    model->error_detail = 0;
    model->halted = model->interrupt_pending = model->running = model->load_open = model->fetched_valid = false;
    model->in.head = model->in.count = model->out.head = model->out.count = model->out_ready = 0;
    model->in_credit = model->out_credit = 0;
    model->event_head = model->event_count = 0;
    memset(&model->parser, 0, sizeof model->parser);
    memset(&model->launch, 0, sizeof model->launch);
    systole_schedule_begin(&model->schedule, &model->target, true);
    systole_functional_debug_reset(model);
}

static void advance(struct systole_functional_model *model, uint64_t cycles) {
    systole_functional_streams_advance(model, cycles);
    if (model->running && !systole_functional_debug_still(model)) {
        systole_schedule_advance(&model->schedule, model->schedule.now + cycles);
    }
    model->cycle += cycles;
}

static uint64_t run(struct systole_accelerator *accelerator, uint64_t cycles) {
    struct systole_functional_model *model = model_of(accelerator);
    uint64_t passed = 0, made = model->events_made;
    bool had_bytes = model->in.count != 0, had_room = model->out_ready < SYSTOLE_STREAM_BYTES;
    while (!model->halted && model->event_count < SYSTOLE_EVENT_COUNT) {
        bool moved = systole_functional_step(model);
        moved = (!model->halted && systole_functional_parse(model)) || moved;
        moved = systole_functional_send(model) || moved;
        if (model->halted || model->events_made != made) {
            break;
        }
        // The host may have more, or may take some: no time passes before it was asked.
        if ((had_bytes && model->in.count == 0) || (had_room && model->out_ready == SYSTOLE_STREAM_BYTES)) {
            break;
        }
        if (moved) {
            continue;
        }
        uint64_t next = systole_functional_streams_next(model), run_next = systole_functional_run_next(model);
        next = run_next < next ? run_next : next;
        if (next == SYSTOLE_NEVER || passed == cycles) {
            break;
        }
        next = next < cycles - passed ? next : cycles - passed;
        advance(model, next);
        passed += next;
    }
    // What was sent before an error still leaves.
    if (model->halted) {
        model->out_ready = model->out.count < SYSTOLE_STREAM_BYTES ? model->out.count : SYSTOLE_STREAM_BYTES;
    }
    return passed;
}

static size_t push_stream(struct systole_accelerator *accelerator, const uint8_t *bytes, size_t size) {
    struct systole_byte_fifo *in = &model_of(accelerator)->in;
    size_t room = in->capacity - in->count, taken = size < room ? size : room;
    size_t tail = (in->head + in->count) % in->capacity;
    size_t first = taken < in->capacity - tail ? taken : in->capacity - tail;
    memcpy(in->bytes + tail, bytes, first);
    memcpy(in->bytes, bytes + first, taken - first);
    in->count += taken;
    return taken;
}

static size_t pull_stream(struct systole_accelerator *accelerator, uint8_t *bytes, size_t size) {
    struct systole_functional_model *model = model_of(accelerator);
    size_t given = size < model->out_ready ? size : model->out_ready;
    size_t left = model->out.capacity - model->out.head, first = given < left ? given : left;
    memcpy(bytes, model->out.bytes + model->out.head, first);
    memcpy(bytes + first, model->out.bytes, given - first);
    model->out.head = (model->out.head + given) % model->out.capacity;
    model->out.count -= given;
    model->out_ready -= given;
    return given;
}

static bool pull_event(struct systole_accelerator *accelerator, struct systole_event *event) {
    struct systole_functional_model *model = model_of(accelerator);
    if (model->event_count == 0) {
        return false;
    }
    *event = model->events[model->event_head];
    model->event_head = (model->event_head + 1) % SYSTOLE_EVENT_COUNT;
    model->event_count--;
    return true;
}

static uint64_t read_status(const struct systole_functional_model *model) {
    return (model->control & SYSTOLE_CONTROL_START ? SYSTOLE_STATUS_STARTED : 0) |
           (model->running ? SYSTOLE_STATUS_RUNNING : 0) | ((model->error & 0xff) != 0 ? SYSTOLE_STATUS_ERROR : 0) |
           (model->interrupt_pending ? SYSTOLE_STATUS_INTERRUPT : 0) | (uint64_t)model->launch.token << 32;
}

static uint64_t read_register(struct systole_accelerator *accelerator, uint32_t address) {
    const struct systole_functional_model *model = model_of(accelerator);
    const struct systole_target *target = &model->target;
    uint32_t table = (address - SYSTOLE_REGISTER_COMMAND_TABLE) / 8;
    uint32_t counter = (address - SYSTOLE_REGISTER_COUNTERS) / 8;
    switch (address) {
    case SYSTOLE_REGISTER_IDENTITY:
        return SYSTOLE_IDENTITY | (uint64_t)1 << 32;
    case SYSTOLE_REGISTER_TARGET_ID:
        return systole_target_id(target);
    case SYSTOLE_REGISTER_ARRAY_SHAPE:
        return target->rows | (uint64_t)target->columns << 16 | (uint64_t)target->cores << 32 |
               (uint64_t)target->taps << 48;
    case SYSTOLE_REGISTER_MEMORY_SHAPE:
        return target->scratchpad_bytes | (uint64_t)(target->banks & 0xffff) << 32 |
               (uint64_t)(target->accumulators & 0xffff) << 48;
    case SYSTOLE_REGISTER_PORT_SHAPE:
        return target->weight_port_rows | (uint64_t)(target->link_millibytes_per_cycle & 0xffff) << 16 |
               (uint64_t)target->clock_hz << 32;
    case SYSTOLE_REGISTER_CONTROL:
        return model->control;
    case SYSTOLE_REGISTER_STATUS:
        return read_status(model);
    case SYSTOLE_REGISTER_ERROR:
        return model->error;
    case SYSTOLE_REGISTER_ERROR_DETAIL:
        return model->error_detail;
    case SYSTOLE_REGISTER_CYCLE:
        return model->cycle - model->reset_cycle;
    case SYSTOLE_REGISTER_RUN_CYCLES:
        return model->schedule.now;
    case SYSTOLE_REGISTER_PARITY_FLIP:
        return model->parity_flip;
    case SYSTOLE_REGISTER_FRAMES:
        return model->frames;
    case SYSTOLE_REGISTER_SCRATCH:
        return model->scratch;
    default:
        break;
    }
    uint64_t value;
    if (systole_functional_debug_read(model, address, &value)) {
        return value;
    }
    if (address % 8 == 0 && address >= SYSTOLE_REGISTER_COMMAND_TABLE && table < 32) {
        return model->command_table[table];
    }
    if (address % 8 == 0 && address >= SYSTOLE_REGISTER_COUNTERS && counter < SYSTOLE_UNITS * SYSTOLE_COUNTER_KINDS) {
        return model->schedule.counters[counter / SYSTOLE_COUNTER_KINDS][counter % SYSTOLE_COUNTER_KINDS];
    }
    return 0;
}

static void write_register(struct systole_accelerator *accelerator, uint32_t address, uint64_t value) {
    struct systole_functional_model *model = model_of(accelerator);
    uint32_t table = (address - SYSTOLE_REGISTER_COMMAND_TABLE) / 8;
    switch (address) {
    case SYSTOLE_REGISTER_CONTROL:
        model->control = value & (SYSTOLE_CONTROL_START | SYSTOLE_CONTROL_INTERRUPT_ENABLE);
        if ((value & SYSTOLE_CONTROL_SOFT_RESET) != 0) {
            reset(accelerator);
        }
        break;
    case SYSTOLE_REGISTER_ERROR:
        model->error = 0;
        model->error_detail = 0;
        model->interrupt_pending = false;
        break;
    case SYSTOLE_REGISTER_PARITY_FLIP:
        model->parity_flip = (uint32_t)value;
        if (value < model->memory_words) {
            model->flipped[value] ^= 1;
        }
        break;
    case SYSTOLE_REGISTER_SCRATCH:
        model->scratch = value;
        break;
    default:
        if (systole_functional_debug_write(model, address, value)) {
            break;
        }
        if (address % 8 == 0 && address >= SYSTOLE_REGISTER_COMMAND_TABLE && table < 32) {
            model->command_table[table] = value;
        }
        break;
    }
}

static bool interrupt(struct systole_accelerator *accelerator) {
    const struct systole_functional_model *model = model_of(accelerator);
    return model->interrupt_pending && (model->control & SYSTOLE_CONTROL_INTERRUPT_ENABLE) != 0;
}

// A frame whose header is in may have work left although no byte waits.
static bool parser_waits_for_bytes(const struct systole_parser *parser) {
    return parser->state == SYSTOLE_PARSER_HEADER || parser->state == SYSTOLE_PARSER_DESCRIPTOR ||
           parser->state == SYSTOLE_PARSER_WRITE || (parser->state == SYSTOLE_PARSER_PADDING && parser->padding != 0);
}

static bool idle(struct systole_accelerator *accelerator) {
    const struct systole_functional_model *model = model_of(accelerator);
    bool quiet = (!model->running || systole_functional_debug_still(model)) && model->in.count == 0 &&
                 parser_waits_for_bytes(&model->parser);
    return model->event_count == 0 && model->out.count == 0 && (model->halted || quiet);
}

static void observe(struct systole_accelerator *accelerator, const struct systole_observer *observer) {
    struct systole_functional_model *model = model_of(accelerator);
    model->observer = observer != NULL ? *observer : (struct systole_observer){NULL, NULL};
}

static void peek(struct systole_accelerator *accelerator, uint32_t word, uint32_t words, uint8_t *bytes) {
    const struct systole_functional_model *model = model_of(accelerator);
    size_t columns = model->target.columns;
    for (uint32_t i = 0; i < words; i++) {
        if (word < model->memory_words && i < model->memory_words - word) {
            memcpy(bytes + i * columns, model->memory + ((size_t)word + i) * columns, columns);
        } else {
            memset(bytes + i * columns, 0, columns);
        }
    }
}

static uint64_t cycle(struct systole_accelerator *accelerator) {
    return model_of(accelerator)->cycle;
}

static void destroy(struct systole_accelerator *accelerator) {
    struct systole_functional_model *model = model_of(accelerator);
    if (model != NULL) {
        free(model->out.bytes);
        free(model->in.bytes);
        free(model->flipped);
        free(model->memory);
        free(model);
    }
}

static const struct systole_accelerator_functions functions = {
    .run = run,
    .push_stream = push_stream,
    .pull_stream = pull_stream,
    .pull_event = pull_event,
    .read_register = read_register,
    .write_register = write_register,
    .interrupt = interrupt,
    .idle = idle,
    .reset = reset,
    .observe = observe,
    .peek = peek,
    .cycle = cycle,
    .destroy = destroy,
    .slice_cycles = SLICE_CYCLES,
};

enum systole_status systole_functional_model_create(const struct systole_target *target, uint64_t order_seed,
                                                    struct systole_accelerator **accelerator,
                                                    struct systole_diagnostic *diagnostic) {
    *accelerator = NULL;
    enum systole_status status = systole_target_check(target, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct systole_functional_model *model = calloc(1, sizeof *model);
    if (model == NULL) {
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, target->name, "free some memory",
                            "no memory for the functional model");
    }
    model->accelerator.functions = &functions;
    model->target = *target;
    model->random = order_seed;
    model->memory_words = systole_target_words(target);
    model->memory = calloc(model->memory_words, target->columns);
    model->flipped = calloc(model->memory_words, 1);
    model->in.capacity = SYSTOLE_STREAM_BYTES;
    model->in.bytes = malloc(model->in.capacity);
    // A frame is put in whole when less than SYSTOLE_STREAM_BYTES are waiting.
    model->out.capacity = (size_t)target->scratchpad_bytes + SYSTOLE_STREAM_BYTES + 64;
    model->out.bytes = malloc(model->out.capacity);
    if (model->memory == NULL || model->flipped == NULL || model->in.bytes == NULL || model->out.bytes == NULL) {
        destroy(&model->accelerator);
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, target->name, "free some memory",
                            "no memory for a scratchpad of %u bytes", target->scratchpad_bytes);
    }
    reset(&model->accelerator);
    *accelerator = &model->accelerator;
    return SYSTOLE_OK;
}
