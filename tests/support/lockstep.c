// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "lockstep.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frames.h"

// Only the first difference is kept.
__attribute__((format(printf, 2, 3))) static void differ(struct lockstep *l, const char *format, ...) {
    if (l->failure[0] == 0) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(l->failure, sizeof l->failure, format, arguments);
        va_end(arguments);
    }
}

static void compare_words(struct lockstep *l, const char *when, uint32_t command, uint32_t first, uint32_t words) {
    uint32_t columns = l->target->columns;
    uint8_t *seen = malloc((size_t)words * columns + 1);
    if (seen == NULL) {
        differ(l, "no memory");
        return;
    }
    l->accelerator->functions->peek(l->accelerator, first, words, seen);
    for (uint32_t i = 0; i < words * columns; i++) {
        uint8_t expected = l->memory[(size_t)first * columns + i];
        if (seen[i] != expected) {
            const struct systole_opcode_description *opcode =
                systole_describe_opcode(l->program->commands[command].header.opcode);
            differ(l, "%s command %u (%s): word %u lane %u is %u, expected %u", when, command,
                   opcode == NULL ? "?" : opcode->name, first + i / columns, i % columns, seen[i], expected);
            break;
        }
    }
    free(seen);
}

static void expect_store(struct lockstep *l, const struct systole_transfer *transfer, uint32_t word) {
    uint32_t length = transfer->words * l->target->columns;
    struct systole_frame_header header = {SYSTOLE_FRAME_MAGIC,      SYSTOLE_FRAME_STORE,    0,
                                          l->program->launch.token, transfer->host_address, length};
    uint8_t *to = l->expected_out + l->expected_out_size;
    memcpy(to, &header, sizeof header);
    memcpy(to + sizeof header, l->memory + (size_t)word * l->target->columns, length);
    l->expected_out_size += (uint32_t)sizeof header + (length + 7) / 8 * 8; // the buffer is zero
}

static void follow(struct lockstep *l, const struct systole_retirement *retirement, bool is_strict) {
    const struct random_program *program = l->program;
    if (retirement->command >= program->count || retirement->token != program->launch.token) {
        differ(l, "retirement of command %u, token %u", retirement->command, retirement->token);
        return;
    }
    const struct systole_command *command = &program->commands[retirement->command];
    const struct systole_transfer *transfer = &command->body.transfer;
    uint32_t error = 0, detail = 0, columns = l->target->columns;
    uint32_t word = program->launch.regions[transfer->address >> 28 & 7].base + (transfer->address & 0xfffffff);
    if (command->header.unit != retirement->unit) {
        differ(l, "command %u retired on unit %u", retirement->command, retirement->unit);
    }
    if (command->header.opcode == SYSTOLE_OPCODE_LOAD) {
        memcpy(l->memory + (size_t)word * columns, program->stream + (size_t)l->next_stream * columns,
               (size_t)transfer->words * columns);
        l->next_stream += transfer->words;
    } else if (command->header.opcode == SYSTOLE_OPCODE_STORE) {
        expect_store(l, transfer, word);
    }
    if (!systole_execute_command(l->target, command, program->launch.regions, l->memory, &error, &detail)) {
        differ(l, "command %u is refused: %s, %u", retirement->command, systole_error_name(error), detail);
    }
    if (is_strict && l->failure[0] == 0) {
        compare_words(l, "at the retirement of", retirement->command, program->output_word[retirement->command],
                      program->output_words[retirement->command]);
    }
    l->retired++;
}

static void follow_strictly(void *context, const struct systole_retirement *retirement) {
    follow(context, retirement, true);
}

static void follow_loosely(void *context, const struct systole_retirement *retirement) {
    follow(context, retirement, false);
}

// Runs until the end, taking what comes out.
static void drive(struct lockstep *l, uint32_t out_capacity) {
    struct systole_accelerator *a = l->accelerator;
    struct systole_event event = {0};
    const uint8_t *stream = l->program->stream;
    size_t left = (size_t)l->program->stream_words * l->target->columns;
    bool complete = false;
    for (uint32_t looks = 0; looks < 20000; looks++) {
        size_t taken = a->functions->push_stream(a, stream, left);
        stream += taken;
        left -= taken;
        uint64_t cycles = a->functions->run(a, 2000);
        size_t given = a->functions->pull_stream(a, l->out + l->out_size, out_capacity - l->out_size);
        l->out_size += (uint32_t)given;
        if (a->functions->pull_event(a, &event)) {
            if (event.kind == SYSTOLE_EVENT_KIND_FAULT) {
                differ(l, "fault %s, unit %s, command %u, detail %u", systole_error_name(event.error),
                       systole_unit_name(event.unit), event.command, event.detail);
                return;
            }
            l->cycles = event.cycle;
            complete = event.kind == SYSTOLE_EVENT_KIND_RUN_COMPLETE;
        }
        if (complete && given == 0 && taken == 0 && (a->functions->idle(a) || cycles == 0)) {
            return;
        }
    }
    differ(l, "no end after %u of %u commands", l->retired, l->program->count);
}

static void check_counters(struct lockstep *l) {
    struct systole_accelerator *a = l->accelerator;
    uint64_t total = a->functions->read_register(a, SYSTOLE_REGISTER_RUN_CYCLES);
    if (total != l->cycles) {
        differ(l, "run_cycles %lu, event %lu", (unsigned long)total, (unsigned long)l->cycles);
    }
    for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
        uint64_t sum = 0;
        for (uint32_t kind = 0; kind < SYSTOLE_COUNTER_KINDS; kind++) {
            sum += a->functions->read_register(a, SYSTOLE_REGISTER_COUNTERS + 8 * (SYSTOLE_COUNTER_KINDS * u + kind));
        }
        if (sum != total) {
            differ(l, "counters of unit %s sum to %lu of %lu", systole_unit_name(u), (unsigned long)sum,
                   (unsigned long)total);
        }
    }
}

bool lockstep_run(struct lockstep *l, const struct systole_target *target, const struct random_program *program,
                  struct systole_accelerator *accelerator, bool is_strict) {
    uint32_t columns = target->columns, stream_bytes = program->stream_words * columns;
    uint32_t out_capacity = program->count * 32 + program->store_words * columns;
    *l = (struct lockstep){.target = target, .program = program, .accelerator = accelerator};
    l->memory = calloc(target->scratchpad_bytes, 1);
    l->expected_out = calloc(out_capacity, 1);
    l->out = calloc(out_capacity, 1);
    if (l->memory == NULL || l->expected_out == NULL || l->out == NULL) {
        differ(l, "no memory");
        return false;
    }
    struct systole_observer observer = {is_strict ? follow_strictly : follow_loosely, l};
    memcpy(l->memory, program->image, (size_t)program->image_words * columns);
    accelerator->functions->observe(accelerator, &observer);
    struct systole_frame_header stream = {SYSTOLE_FRAME_MAGIC, SYSTOLE_FRAME_STREAM, 0, 0, 0, stream_bytes};
    if (!frames_write(accelerator, 0, program->image, program->image_words * columns) ||
        !frames_run(accelerator, &program->launch) ||
        (stream_bytes > 0 && !frames_push_bytes(accelerator, &stream, sizeof stream))) {
        differ(l, "the device does not take the program");
    } else {
        drive(l, out_capacity);
    }
    accelerator->functions->observe(accelerator, NULL);
    if (l->failure[0] == 0) {
        if (l->retired != program->count) {
            differ(l, "%u of %u commands retired", l->retired, program->count);
        }
        if (l->out_size != l->expected_out_size || memcmp(l->out, l->expected_out, l->out_size) != 0) {
            differ(l, "store frames differ (%u bytes, %u expected)", l->out_size, l->expected_out_size);
        }
        compare_words(l, "after the run, last", program->count - 1, 0, program->image_words);
        check_counters(l);
    }
    return l->failure[0] == 0;
}

void lockstep_free(struct lockstep *l) {
    free(l->out);
    free(l->expected_out);
    free(l->memory);
    *l = (struct lockstep){0};
}
