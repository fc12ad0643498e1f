// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Units of the selftest: random programs of one unit, then of all side by side, on the device and on the functional
// model's arithmetic. Every word of the memory that the program could touch is compared, and every byte that its stores
// sent.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "random_program.h"
#include "selftest.h"

#define PROGRAMS 4u
#define COMMANDS 40u

// What the program makes of memory; *stored receives the words that store commands send.
static bool execute(struct selftest *test, const struct random_program *program, uint8_t *memory, uint8_t *stored) {
    uint32_t columns = test->target->columns, error = 0, detail = 0;
    const uint8_t *stream = program->stream;
    for (uint32_t i = 0; i < program->count; i++) {
        const struct systole_command *command = &program->commands[i];
        const struct systole_transfer *transfer = &command->body.transfer;
        size_t bytes = (size_t)transfer->words * columns;
        uint8_t *at = memory + ((size_t)program->launch.regions[transfer->address >> 28 & 7].base +
                                (transfer->address & 0xfffffff)) *
                                   columns;
        if (command->header.opcode == SYSTOLE_OPCODE_LOAD) {
            memcpy(at, stream, bytes);
            stream += bytes;
        } else if (command->header.opcode == SYSTOLE_OPCODE_STORE) {
            memcpy(stored, at, bytes);
            stored += bytes;
        } else if (!systole_execute_command(test->target, command, program->launch.regions, memory, &error, &detail)) {
            return selftest_found(test, "the functional model refuses command %u: %s", i, systole_error_name(error));
        }
    }
    return true;
}

// "command 7, conv" whose output holds that word, the last one.
static void name_writer(const struct random_program *program, uint32_t word, char *text, size_t size) {
    (void)snprintf(text, size, "no command");
    for (uint32_t i = 0; i < program->count; i++) {
        if (word >= program->output_word[i] && word - program->output_word[i] < program->output_words[i]) {
            const struct systole_opcode_description *opcode =
                systole_describe_opcode(program->commands[i].header.opcode);
            (void)snprintf(text, size, "command %u, %s", i, opcode == NULL ? "?" : opcode->name);
        }
    }
}

static bool receive_stores(struct selftest *test, const struct random_program *program, const uint8_t *stored) {
    uint32_t columns = test->target->columns;
    for (uint32_t i = 0; i < program->count; i++) {
        const struct systole_transfer *transfer = &program->commands[i].body.transfer;
        struct systole_frame_header header;
        if (program->commands[i].header.opcode != SYSTOLE_OPCODE_STORE) {
            continue;
        }
        size_t bytes = (size_t)transfer->words * columns;
        enum systole_status status = systole_probe_receive(test->probe, &header, test->bytes, bytes);
        if (status != SYSTOLE_OK) {
            return selftest_failed(test, status, "the frame of store command %u", i);
        }
        if (header.kind != SYSTOLE_FRAME_STORE || header.tag != program->launch.token ||
            header.address != transfer->host_address || header.length != bytes) {
            return selftest_found(
                test,
                "store command %u: a frame of kind 0x%02x, run %u, address 0x%08x, %u bytes; expected "
                "0x82, %u, 0x%08x, %zu",
                i, header.kind, header.tag, header.address, header.length, program->launch.token,
                transfer->host_address, bytes);
        }
        char what[48];
        (void)snprintf(what, sizeof what, "sent by store command %u", i);
        if (!selftest_compare(test, what, transfer->host_address & 0xfffffff, stored, test->bytes, bytes)) {
            return false;
        }
        stored += bytes;
    }
    return true;
}

static bool run_on_device(struct selftest *test, const struct random_program *program, const uint8_t *stored) {
    uint32_t columns = test->target->columns;
    struct systole_event event;
    enum systole_status status;
    if (!selftest_write_image(test, program->image, program->image_words)) {
        return false;
    }
    status =
        systole_probe_launch(test->probe, &program->launch, program->stream, (size_t)program->stream_words * columns);
    if (status != SYSTOLE_OK) {
        return selftest_failed(test, status, "a launch with a stream of %u words", program->stream_words);
    }
    if (!receive_stores(test, program, stored)) {
        return false;
    }
    if ((status = systole_probe_event(test->probe, &event)) != SYSTOLE_OK) {
        return selftest_failed(test, status, "the end of a run of %u commands", program->count);
    }
    if (event.kind == SYSTOLE_EVENT_KIND_FAULT) {
        return selftest_found(test, "the run stopped with error %s, unit %s, command %u, detail 0x%x",
                              systole_error_name(event.error), systole_unit_name(event.unit), event.command,
                              event.detail);
    }
    if (event.kind != SYSTOLE_EVENT_KIND_RUN_COMPLETE || event.token != program->launch.token) {
        return selftest_found(test, "event %u of run %u, expected run_complete of run %u", event.kind, event.token,
                              program->launch.token);
    }
    return true;
}

static bool run_program(struct selftest *test, const struct random_program *program, uint8_t *memory, uint8_t *stored) {
    uint32_t columns = test->target->columns, step = SELFTEST_BYTES / 16 / columns;
    char writer[48];
    memcpy(memory, program->image, (size_t)program->image_words * columns);
    if (!execute(test, program, memory, stored) || !run_on_device(test, program, stored)) {
        return false;
    }
    for (uint32_t word = 0; word < program->image_words; word += step) {
        uint32_t words = program->image_words - word < step ? program->image_words - word : step;
        if (!selftest_read(test, word, test->bytes, words)) {
            return false;
        }
        for (size_t i = 0; i < (size_t)words * columns; i++) {
            uint8_t expected = memory[(size_t)word * columns + i];
            if (test->bytes[i] != expected) {
                uint32_t at = word + (uint32_t)(i / columns);
                name_writer(program, at, writer, sizeof writer);
                return selftest_found(test, "word %u lane %zu is %u, expected %u; written by %s", at, i % columns,
                                      test->bytes[i], expected, writer);
            }
        }
    }
    return true;
}

static bool run_programs(struct selftest *test, uint32_t units) {
    uint32_t commands = 0;
    uint8_t *memory = calloc(1, test->target->scratchpad_bytes);
    uint8_t *stored = malloc((size_t)2 * COMMANDS * 16 * test->target->columns);
    bool good = memory != NULL && stored != NULL;
    for (uint32_t i = 0; i < PROGRAMS && good; i++) {
        struct random_program program;
        uint32_t seed = selftest_random(&test->seed);
        if (!random_program_make(&program, test->target, seed, COMMANDS, true, units)) {
            good = selftest_found(test, "no memory, or the scratchpad is too small for the programs of this step");
            break;
        }
        good = run_program(test, &program, memory, stored);
        commands += program.count;
        if (!good) {
            char text[sizeof test->detail];
            (void)snprintf(text, sizeof text, "%s", test->detail);
            (void)snprintf(test->detail, sizeof test->detail, "program %u: %.400s", seed, text);
        }
        random_program_free(&program);
    }
    if (good) {
        selftest_found(test, "%u programs, %u commands, equal to the functional model", PROGRAMS, commands);
    } else if (memory == NULL || stored == NULL) {
        selftest_found(test, "no memory");
    }
    free(stored);
    free(memory);
    return good;
}

bool selftest_unit_load(struct selftest *test) {
    return run_programs(test, 1u << SYSTOLE_UNIT_LOAD);
}

bool selftest_unit_store(struct selftest *test) {
    return run_programs(test, 1u << SYSTOLE_UNIT_STORE);
}

bool selftest_unit_array(struct selftest *test) {
    return run_programs(test, 1u << SYSTOLE_UNIT_ARRAY);
}

bool selftest_unit_depthwise(struct selftest *test) {
    return run_programs(test, 1u << SYSTOLE_UNIT_DEPTHWISE);
}

bool selftest_unit_elementwise(struct selftest *test) {
    return run_programs(test, 1u << SYSTOLE_UNIT_ELEMENTWISE);
}

// With loads and stores side by side the host would have to send and receive at once; those two have been seen.
bool selftest_units_together(struct selftest *test) {
    return run_programs(test, 1u << SYSTOLE_UNIT_ARRAY | 1u << SYSTOLE_UNIT_DEPTHWISE | 1u << SYSTOLE_UNIT_ELEMENTWISE);
}
