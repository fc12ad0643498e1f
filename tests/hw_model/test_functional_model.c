// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The functional model at its boundary: registers, frames, every error with what it latches and that a reset brings the
// device back, tokens, streams, parity, watchdog, order.
#include <stdlib.h>
#include <string.h>

#include "cycle_model.h"
#include "device.h"
#include "frames.h"
#include "lockstep.h"
#include "random_program.h"
#include "target.h"
#include "testing.h"

#define SEEDS 12

static struct systole_accelerator *device;
static const struct systole_target *target;

static void open_model(uint32_t preset, uint64_t seed) {
    target = &systole_presets[preset];
    struct systole_diagnostic diagnostic;
    ck_assert_int_eq(systole_functional_model_create(target, seed, &device, &diagnostic), SYSTOLE_OK);
}

static void setup(void) {
    open_model(0, 0);
    frames_start(device);
}

// The same tests on the RTL: the two latch the same errors with the same details.
static void setup_rtl(void) {
    target = &systole_presets[0];
    struct systole_diagnostic diagnostic;
    enum systole_status status = systole_rtl_create(target, &device, &diagnostic);
    ck_assert_msg(status == SYSTOLE_OK, "%s", diagnostic.what);
    frames_start(device);
}

static void teardown(void) {
    device->functions->destroy(device);
}

static uint64_t reg(uint32_t address) {
    return device->functions->read_register(device, address);
}

static void set(uint32_t address, uint64_t value) {
    device->functions->write_register(device, address, value);
}

static void fill(uint8_t *bytes, size_t size, uint32_t seed) {
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)testing_random(&seed);
    }
}

// A stopped device takes frames into its FIFO at most, and answers none; a frame begun before the error may be cut
// short.
static void expect_silence(void) {
    uint8_t byte, rest[256];
    device->functions->run(device, 500);
    while (device->functions->pull_stream(device, rest, sizeof rest) > 0) {
    }
    frames_push(device, SYSTOLE_FRAME_READ, 0, 1, 0, NULL, 16);
    for (int i = 0; i < 3; i++) {
        device->functions->run(device, 500);
    }
    ck_assert_uint_eq(device->functions->pull_stream(device, &byte, 1), 0);
}

// The device has stopped with exactly this, does nothing more, and works again after a reset.
static void expect_fault(uint32_t error, uint32_t unit, uint32_t command, uint32_t detail) {
    struct systole_event event = {0};
    do {
        ck_assert_msg(frames_event(device, &event, 1u << 18), "no fault event");
    } while (event.kind != SYSTOLE_EVENT_KIND_FAULT);
    ck_assert_msg(event.error == error, "error %s, expected %s", systole_error_name(event.error),
                  systole_error_name(error));
    ck_assert_uint_eq(event.unit, unit);
    ck_assert_uint_eq(event.command, command);
    ck_assert_uint_eq(event.detail, detail);
    ck_assert_uint_eq(reg(SYSTOLE_REGISTER_ERROR), error | unit << 8 | (uint64_t)command << 32);
    ck_assert_uint_eq(reg(SYSTOLE_REGISTER_ERROR_DETAIL), detail);
    ck_assert_uint_eq(reg(SYSTOLE_REGISTER_STATUS) >> 2 & 3, 3);
    ck_assert(device->functions->interrupt(device));
    uint8_t bytes[64], back[64];
    expect_silence();
    set(SYSTOLE_REGISTER_ERROR, 1);
    ck_assert_uint_eq(reg(SYSTOLE_REGISTER_ERROR), 0);
    ck_assert_uint_eq(reg(SYSTOLE_REGISTER_STATUS) >> 2 & 3, 0);
    ck_assert(!device->functions->interrupt(device));
    expect_silence(); // still
    set(SYSTOLE_REGISTER_CONTROL, 7);
    ck_assert_uint_eq(reg(SYSTOLE_REGISTER_CONTROL), 5);
    ck_assert_uint_eq(reg(SYSTOLE_REGISTER_FRAMES), 0);
    ck_assert_uint_le(reg(SYSTOLE_REGISTER_CYCLE), 8); // the bus takes some
    ck_assert_uint_eq(reg(SYSTOLE_REGISTER_STATUS), 1);
    fill(bytes, sizeof bytes, 99);
    ck_assert(frames_write(device, 5, bytes, sizeof bytes));
    ck_assert(frames_read(device, 0, 3, 5, back, sizeof back));
    ck_assert_mem_eq(bytes, back, sizeof back);
    ck_assert_uint_eq(reg(SYSTOLE_REGISTER_FRAMES), 2);
}

START_TEST(registers) {
    ck_assert_uint_eq(reg(SYSTOLE_REGISTER_IDENTITY) & 0xffffffff, SYSTOLE_IDENTITY);
    ck_assert_uint_eq(reg(SYSTOLE_REGISTER_TARGET_ID), systole_target_id(target));
    ck_assert_uint_eq(reg(SYSTOLE_REGISTER_ARRAY_SHAPE), 16 | 16 << 16 | 1ull << 32 | 3ull << 48);
    ck_assert_uint_eq(reg(SYSTOLE_REGISTER_MEMORY_SHAPE), 8388608 | 16ull << 32 | 512ull << 48);
    ck_assert_uint_eq(reg(SYSTOLE_REGISTER_PORT_SHAPE), 4 | 800 << 16 | 500000000ull << 32);
    ck_assert_uint_eq(reg(SYSTOLE_REGISTER_COMMAND_TABLE + 8 * (SYSTOLE_OPCODE_CONV / 8)) & 0xff,
                      0x80 | SYSTOLE_UNIT_ARRAY);
    set(SYSTOLE_REGISTER_COMMAND_TABLE + 31 * 8, 0x0123456789abcdefu);
    ck_assert_uint_eq(reg(SYSTOLE_REGISTER_COMMAND_TABLE + 31 * 8), 0x0123456789abcdefu);
    set(SYSTOLE_REGISTER_IDENTITY, 0);
    set(0x7f8, 1);
    ck_assert_uint_eq(reg(SYSTOLE_REGISTER_IDENTITY) & 0xffffffff, SYSTOLE_IDENTITY);
    ck_assert_uint_eq(reg(0x7f8), 0);
    ck_assert(device->functions->idle(device));
    ck_assert_uint_eq(device->functions->run(device, 1000), 0);
}
END_TEST

START_TEST(write_and_read) {
    uint32_t random = 5, total = systole_target_words(target), frames = 0;
    for (int i = 0; i < 60; i++) {
        uint32_t words = (uint32_t)testing_range(&random, 1, 300);
        uint32_t word = i % 3 == 0 ? total - words : testing_random(&random) % (total - words);
        uint32_t size = words * target->columns;
        uint8_t *bytes = malloc(size), *back = malloc(size), *peeked = malloc(size);
        fill(bytes, size, (uint32_t)i + 1);
        ck_assert(frames_write(device, word, bytes, size));
        ck_assert(frames_read(device, SYSTOLE_FRAME_FLAG_AFTER_RUN, random, word, back, size));
        device->functions->peek(device, word, words, peeked);
        ck_assert_mem_eq(bytes, back, size);
        ck_assert_mem_eq(bytes, peeked, size);
        free(peeked);
        free(back);
        free(bytes);
        frames += 2;
    }
    ck_assert_uint_eq(reg(SYSTOLE_REGISTER_FRAMES), frames);
}
END_TEST

// 16 bytes of header and 4096 of payload at 0.8 bytes a cycle.
START_TEST(link_rate) {
    static uint8_t bytes[4096];
    uint64_t before = device->functions->cycle(device);
    ck_assert(frames_write(device, 0, bytes, sizeof bytes));
    frames_settle(device, 1u << 20);
    uint64_t cycles = device->functions->cycle(device) - before;
    ck_assert_uint_ge(cycles, 5130);
    ck_assert_uint_le(cycles, 5150);
}
END_TEST

START_TEST(frame_errors) {
    uint32_t words = systole_target_words(target), size = 8388608;
    static const uint8_t payload[96];
    switch (_i) {
    case 0:
        frames_push_bytes(device, "SZ\1\0yxwvutsrqpon", 16);
        expect_fault(SYSTOLE_ERROR_FRAME_MAGIC, 255, 0, 0x00015a53);
        break;
    case 1:
        frames_push(device, 5, 0, 0, 0, payload, 16);
        expect_fault(SYSTOLE_ERROR_FRAME_KIND, 255, 0, 5);
        break;
    case 2:
        frames_push(device, SYSTOLE_FRAME_DATA, 0, 0, 0, payload, 16);
        expect_fault(SYSTOLE_ERROR_FRAME_KIND, 255, 0, SYSTOLE_FRAME_DATA);
        break;
    case 3:
        frames_push(device, SYSTOLE_FRAME_WRITE, 0, 0, 0, NULL, 0);
        expect_fault(SYSTOLE_ERROR_FRAME_LENGTH, 255, 0, 0);
        break;
    case 4:
        frames_push(device, SYSTOLE_FRAME_READ, 0, 0, 0, NULL, 17);
        expect_fault(SYSTOLE_ERROR_FRAME_LENGTH, 255, 0, 17);
        break;
    case 5:
        frames_push(device, SYSTOLE_FRAME_WRITE, 0, 0, 0, NULL, size + 16);
        expect_fault(SYSTOLE_ERROR_FRAME_LENGTH, 255, 0, size + 16);
        break;
    case 6:
        frames_push(device, SYSTOLE_FRAME_RUN, 0, 0, 0, payload, 80);
        expect_fault(SYSTOLE_ERROR_FRAME_LENGTH, 255, 0, 80);
        break;
    case 7:
        frames_push(device, SYSTOLE_FRAME_WRITE, 0, 0, words - 1, NULL, 32);
        expect_fault(SYSTOLE_ERROR_FRAME_ADDRESS, 255, 0, words - 1);
        break;
    case 8:
        frames_push(device, SYSTOLE_FRAME_READ, 0, 0, 0xffffffff, NULL, 16);
        expect_fault(SYSTOLE_ERROR_FRAME_ADDRESS, 255, 0, 0xffffffff);
        break;
    case 9:
        set(SYSTOLE_REGISTER_CONTROL, 4);
        frames_push(device, SYSTOLE_FRAME_RUN, 0, 1234, 0, payload, 96);
        expect_fault(SYSTOLE_ERROR_NOT_STARTED, 255, 0, 1234);
        break;
    case 10:
        frames_push(device, SYSTOLE_FRAME_RUN, 0, 0, 0, payload, 96); // no commands
        expect_fault(SYSTOLE_ERROR_LAUNCH, 255, 0, 8);
        break;
    case 11:
        frames_push(device, SYSTOLE_FRAME_STREAM, 0, 0, 0, payload, 64);
        expect_fault(SYSTOLE_ERROR_STREAM, 255, 0, 4);
        break;
    default:
        set(SYSTOLE_REGISTER_PARITY_FLIP, 7);
        frames_push(device, SYSTOLE_FRAME_READ, 0, 0, 6, NULL, 32);
        expect_fault(SYSTOLE_ERROR_PARITY, 255, 0, 7);
        break;
    }
}
END_TEST

// ---- Programs: region program at word 0, others behind.
static struct systole_launch_descriptor launch_of(uint32_t commands) {
    struct systole_launch_descriptor launch = {.token = 42, .commands = commands};
    launch.regions[SYSTOLE_REGION_PROGRAM] = (struct systole_region_window){0, 512};
    launch.regions[SYSTOLE_REGION_ACTIVATIONS] = (struct systole_region_window){1000, 100};
    launch.regions[SYSTOLE_REGION_OUTPUT] = (struct systole_region_window){2000, 100};
    return launch;
}

static struct systole_command simple(uint32_t opcode, uint32_t unit) {
    struct systole_command command;
    memset(&command, 0, sizeof command);
    command.header.opcode = (uint8_t)opcode;
    command.header.unit = (uint8_t)unit;
    return command;
}

static struct systole_command transfer(uint32_t opcode, uint32_t address, uint32_t words) {
    struct systole_command command =
        simple(opcode, opcode == SYSTOLE_OPCODE_LOAD ? SYSTOLE_UNIT_LOAD : SYSTOLE_UNIT_STORE);
    command.body.transfer = (struct systole_transfer){address, words, 0x50000000u | words};
    return command;
}

// Copies words of activations to output: scale 1.
static struct systole_command copy(uint32_t from, uint32_t to, uint32_t words) {
    struct systole_command command = simple(SYSTOLE_OPCODE_REQUANTISE, SYSTOLE_UNIT_ELEMENTWISE);
    struct systole_elementwise *e = &command.body.elementwise;
    e->input_address = from;
    e->output_address = to;
    e->input_pixel_stride = e->output_pixel_stride = 1;
    e->height = e->tiles = 1;
    e->width = (uint16_t)words;
    e->clamp_min = -128;
    e->clamp_max = 127;
    e->output_multiplier = 1 << 30;
    e->output_shift = 1;
    return command;
}

static const uint32_t activations = (uint32_t)SYSTOLE_REGION_ACTIVATIONS << 28;
static const uint32_t output = (uint32_t)SYSTOLE_REGION_OUTPUT << 28;

static void start(const struct systole_command *commands, uint32_t count, struct systole_launch_descriptor launch) {
    ck_assert(frames_write(device, launch.regions[0].base, commands, (uint32_t)(count * sizeof *commands)));
    ck_assert(frames_run(device, &launch));
}

static uint64_t expect_complete(uint32_t token, uint32_t commands) {
    struct systole_event event = {0};
    ck_assert(frames_event(device, &event, 1u << 20));
    ck_assert_msg(event.kind == SYSTOLE_EVENT_KIND_RUN_COMPLETE, "%s, command %u, detail %u",
                  systole_error_name(event.error), event.command, event.detail);
    ck_assert_uint_eq(event.token, token);
    ck_assert_uint_eq(event.command, commands);
    ck_assert_uint_eq(event.unit, 255);
    uint64_t total = reg(SYSTOLE_REGISTER_RUN_CYCLES);
    ck_assert_uint_eq(event.cycle, total);
    for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
        uint64_t sum = 0;
        for (uint32_t kind = 0; kind < SYSTOLE_COUNTER_KINDS; kind++) {
            sum += reg(SYSTOLE_REGISTER_COUNTERS + 8 * (5 * u + kind));
        }
        ck_assert_uint_eq(sum, total);
    }
    return total;
}

START_TEST(streams) {
    // Two loads from three frames whose borders are elsewhere, a copy, a store that waits for it.
    struct systole_command commands[] = {
        transfer(SYSTOLE_OPCODE_LOAD, activations, 3),
        transfer(SYSTOLE_OPCODE_LOAD, activations + 3, 4),
        copy(activations, output, 7),
        transfer(SYSTOLE_OPCODE_STORE, output, 7),
    };
    commands[2].header.wait0 = (uint32_t)SYSTOLE_UNIT_LOAD << 24 | 2;
    commands[3].header.wait2 = (uint32_t)SYSTOLE_UNIT_ELEMENTWISE << 24 | 1;
    uint8_t bytes[7 * 16], back[7 * 16];
    fill(bytes, sizeof bytes, 3);
    for (uint32_t repeat = 0; repeat < 3; repeat++) {
        bytes[0] = (uint8_t)repeat;
        start(commands, 4, launch_of(4));
        ck_assert(frames_push(device, SYSTOLE_FRAME_STREAM, 0, 0, 0, bytes, 16));
        ck_assert(frames_push(device, SYSTOLE_FRAME_STREAM, 0, 0, 0, bytes + 16, 64));
        ck_assert(frames_push(device, SYSTOLE_FRAME_STREAM, 0, 0, 0, bytes + 80, 32));
        struct systole_frame_header header;
        ck_assert(frames_pull(device, &header, sizeof header));
        ck_assert_uint_eq(header.kind, SYSTOLE_FRAME_STORE);
        ck_assert_uint_eq(header.tag, 42);
        ck_assert_uint_eq(header.address, 0x50000007);
        ck_assert_uint_eq(header.length, sizeof back);
        ck_assert(frames_pull(device, back, sizeof back));
        ck_assert_mem_eq(bytes, back, sizeof back);
        expect_complete(42, 4);
        // A word a cycle is work, 7 words need 140 cycles of the link.
        ck_assert_uint_eq(reg(SYSTOLE_REGISTER_COUNTERS + 8 * (5 * SYSTOLE_UNIT_LOAD + SYSTOLE_COUNTER_BUSY)), 7);
        ck_assert_uint_ge(reg(SYSTOLE_REGISTER_COUNTERS + 8 * (5 * SYSTOLE_UNIT_LOAD + SYSTOLE_COUNTER_WAIT_LINK)),
                          100);
        ck_assert_uint_ge(
            reg(SYSTOLE_REGISTER_COUNTERS + 8 * (5 * SYSTOLE_UNIT_ELEMENTWISE + SYSTOLE_COUNTER_WAIT_DEPENDENCY)), 100);
    }
}
END_TEST

START_TEST(stream_left_over) {
    struct systole_command load = transfer(SYSTOLE_OPCODE_LOAD, activations, 3);
    uint8_t bytes[80];
    fill(bytes, sizeof bytes, 3);
    start(&load, 1, launch_of(1));
    ck_assert(frames_push(device, SYSTOLE_FRAME_STREAM, 0, 0, 0, bytes, 80));
    expect_fault(SYSTOLE_ERROR_STREAM, 255, 0, 2);
}
END_TEST

START_TEST(after_run_waits) {
    // While a load holds the run up, plain reads see the old words; after_run ones come behind the run.
    struct systole_command commands[] = {copy(activations, output, 1), simple(SYSTOLE_OPCODE_NOP, SYSTOLE_UNIT_ARRAY)};
    uint8_t old[16], new[16], back[16];
    fill(old, 16, 1);
    fill(new, 16, 2);
    ck_assert(frames_write(device, 2000, old, 16));
    ck_assert(frames_write(device, 1000, new, 16));
    commands[0].header.wait0 = (uint32_t)SYSTOLE_UNIT_ARRAY << 24 | 1;
    struct systole_launch_descriptor launch = launch_of(2);
    ck_assert(frames_write(device, 0, commands, sizeof commands));
    ck_assert(frames_run(device, &launch));
    ck_assert(frames_push(device, SYSTOLE_FRAME_READ, SYSTOLE_FRAME_FLAG_AFTER_RUN, 9, 2000, NULL, 16));
    struct systole_frame_header header;
    ck_assert(frames_pull(device, &header, sizeof header));
    ck_assert(frames_pull(device, back, sizeof back));
    ck_assert_mem_eq(back, new, 16);
    expect_complete(42, 2);
    ck_assert(frames_run(device, &launch)); // two in a row: the second waits
    ck_assert(frames_run(device, &launch));
    expect_complete(42, 2);
    expect_complete(42, 2);
}
END_TEST

START_TEST(command_errors) {
    struct systole_command commands[] = {simple(SYSTOLE_OPCODE_NOP, SYSTOLE_UNIT_STORE), copy(activations, output, 4)};
    struct systole_launch_descriptor launch = launch_of(2);
    uint32_t error = SYSTOLE_ERROR_FIELD, unit = 255, detail = SYSTOLE_OPCODE_REQUANTISE;
    uint32_t entry = SYSTOLE_REGISTER_COMMAND_TABLE + SYSTOLE_OPCODE_REQUANTISE / 8 * 8;
    switch (_i) {
    case 0:
        commands[1].body.elementwise.width = 0;
        break;
    case 1:
        commands[1].header.core = 1;
        break;
    case 2:
        commands[1].header.flags = 0x80;
        break;
    case 3:
        commands[1].header.reserved0 = 1;
        break;
    case 4:
        commands[1].body.elementwise.left_shift = 25;
        break;
    case 5:
        commands[1].header.unit = SYSTOLE_UNIT_ARRAY;
        error = SYSTOLE_ERROR_OPCODE;
        break;
    case 6:
        commands[1].header.unit = 5;
        error = SYSTOLE_ERROR_OPCODE;
        break;
    case 7:
        commands[1].header.opcode = 0;
        error = SYSTOLE_ERROR_OPCODE;
        detail = 0;
        break;
    case 8:
        set(entry, 0);
        error = SYSTOLE_ERROR_OPCODE;
        break;
    case 9:
        commands[1].body.elementwise.width = 101;
        error = SYSTOLE_ERROR_REGION;
        unit = SYSTOLE_UNIT_ELEMENTWISE;
        detail = 1100;
        break;
    case 10:
        commands[1].body.elementwise.output_address = output + 97;
        error = SYSTOLE_ERROR_REGION;
        unit = SYSTOLE_UNIT_ELEMENTWISE;
        detail = 2100;
        break;
    case 11:
        set(SYSTOLE_REGISTER_PARITY_FLIP, 1002);
        error = SYSTOLE_ERROR_PARITY;
        unit = SYSTOLE_UNIT_ELEMENTWISE;
        detail = 1002;
        break;
    default:
        error = SYSTOLE_ERROR_PARITY;
        detail = 8 + 3; // the second command's fourth word
        break;
    }
    ck_assert(frames_write(device, 0, commands, sizeof commands));
    frames_settle(device, 100000);
    if (_i == 12) {
        set(SYSTOLE_REGISTER_PARITY_FLIP, 11);
    }
    ck_assert(frames_run(device, &launch));
    expect_fault(error, unit, 1, detail);
    // The same program as it should be runs now.
    frames_start(device);
    set(SYSTOLE_REGISTER_PARITY_FLIP, 0xffffffffffffffffu);
    uint8_t bytes[64];
    fill(bytes, sizeof bytes, 8);
    commands[1] = copy(activations, output, 4);
    ck_assert(frames_write(device, 1000, bytes, sizeof bytes));
    start(commands, 2, launch);
    expect_complete(42, 2);
    uint8_t back[64];
    device->functions->peek(device, 2000, 4, back);
    ck_assert_mem_eq(bytes, back, sizeof back);
}
END_TEST

START_TEST(launch_errors) {
    struct systole_launch_descriptor launch = launch_of(1);
    uint32_t detail = 8, words = systole_target_words(target);
    if (_i == 0) {
        launch.commands = 65; // 512 words hold 64
    } else if (_i == 1) {
        launch.regions[5] = (struct systole_region_window){words - 3, 4};
        detail = 5;
    } else {
        launch.regions[7] = (struct systole_region_window){0xffffffff, 2}; // the sum is beyond 32 bits
        detail = 7;
    }
    ck_assert(frames_run(device, &launch));
    expect_fault(SYSTOLE_ERROR_LAUNCH, 255, 0, detail);
}
END_TEST

START_TEST(watchdog) {
    struct systole_command commands[] = {simple(SYSTOLE_OPCODE_NOP, SYSTOLE_UNIT_STORE),
                                         simple(SYSTOLE_OPCODE_NOP, SYSTOLE_UNIT_ARRAY)};
    // A token of its own unit that never comes; of a unit, of a core that are not there; a load without data.
    static const uint32_t waits[] = {(uint32_t)SYSTOLE_UNIT_ARRAY << 24 | 1, 9u << 24 | 1, 1u << 28 | 1};
    struct systole_launch_descriptor launch = launch_of(2);
    launch.watchdog_cycles = 5000;
    if (_i < 3) {
        commands[1].header.wait3 = waits[_i];
    } else {
        commands[1] = transfer(SYSTOLE_OPCODE_LOAD, activations, 2);
    }
    start(commands, 2, launch);
    expect_fault(SYSTOLE_ERROR_WATCHDOG, 255, 1, 5000);
}
END_TEST

START_TEST(retirements_are_told) {
    struct systole_command commands[30];
    for (uint32_t i = 0; i < 30; i++) {
        commands[i] = simple(SYSTOLE_OPCODE_NOP, i % SYSTOLE_UNITS);
    }
    struct systole_launch_descriptor launch = launch_of(30);
    launch.flags = 1;
    start(commands, 30, launch);
    uint64_t seen = 0, last = 0;
    for (uint32_t i = 0; i < 30; i++) {
        struct systole_event event = {0};
        ck_assert(frames_event(device, &event, 100000));
        ck_assert_uint_eq(event.kind, SYSTOLE_EVENT_KIND_RETIRED);
        ck_assert_uint_eq(event.unit, event.command % SYSTOLE_UNITS);
        ck_assert_uint_ge(event.cycle, last);
        last = event.cycle;
        seen |= 1ull << event.command;
    }
    ck_assert_uint_eq(seen, (1ull << 30) - 1);
    expect_complete(42, 30);
}
END_TEST

static uint8_t *run_random(uint32_t preset, uint64_t order, uint32_t seed, bool drop_tokens, size_t *size) {
    struct random_program program;
    struct lockstep lockstep;
    open_model(preset, order);
    frames_start(device);
    ck_assert(random_program_make(&program, target, seed, 60, true, RANDOM_PROGRAM_ALL_UNITS));
    for (uint32_t i = 0; drop_tokens && i < program.count; i++) {
        struct systole_command_header *header = &program.commands[i].header;
        header->wait0 = header->wait1 = header->wait2 = header->wait3 = 0;
    }
    memcpy(program.image + (size_t)program.launch.regions[0].base * target->columns, program.commands,
           program.count * sizeof *program.commands);
    bool equal = lockstep_run(&lockstep, target, &program, device, !drop_tokens);
    ck_assert_msg(equal || drop_tokens, "preset %u order %lu seed %u: %s", preset, (unsigned long)order, seed,
                  lockstep.failure);
    *size = (size_t)program.image_words * target->columns;
    uint8_t *memory = malloc(*size);
    device->functions->peek(device, 0, program.image_words, memory);
    lockstep_free(&lockstep);
    random_program_free(&program);
    device->functions->destroy(device);
    return memory;
}

// With tokens every order gives the same memory.
START_TEST(any_order_same_bits) {
    size_t size, size2;
    uint32_t seed = (uint32_t)_i + 1;
    uint8_t *memory = run_random((uint32_t)_i % SYSTOLE_PRESETS, 0, seed, false, &size);
    for (uint64_t order = 1; order < 4; order++) {
        uint8_t *other = run_random((uint32_t)_i % SYSTOLE_PRESETS, order * 7919, seed, false, &size2);
        ck_assert_uint_eq(size, size2);
        ck_assert_mem_eq(memory, other, size);
        free(other);
    }
    free(memory);
}
END_TEST

// Without them some order shows it.
START_TEST(missing_tokens_show) {
    uint32_t shown = 0;
    for (uint32_t seed = 1; seed <= 4; seed++) {
        size_t size;
        uint8_t *memory = run_random(0, 0, seed, false, &size);
        for (uint64_t order = 1; order <= 3; order++) {
            uint8_t *other = run_random(0, order, seed, true, &size);
            // The program's own words differ; it is the last region of the image.
            shown += memcmp(memory, other, size - 2 * 60 * SYSTOLE_COMMAND_BYTES) != 0;
            free(other);
        }
        free(memory);
    }
    ck_assert_uint_ge(shown, 10);
}
END_TEST

// Without transfers a run takes what the compiler's estimate says, to the cycle.
START_TEST(cycles_as_predicted) {
    struct random_program program;
    open_model((uint32_t)_i % SYSTOLE_PRESETS, 0);
    frames_start(device);
    ck_assert(random_program_make(&program, target, 100 + (uint32_t)_i, 50, true, RANDOM_PROGRAM_ALL_UNITS));
    uint32_t columns = target->columns;
    for (uint32_t i = 0; i < program.count; i++) { // transfers become nops of their unit
        struct systole_command *command = &program.commands[i];
        if (command->header.opcode == SYSTOLE_OPCODE_LOAD || command->header.opcode == SYSTOLE_OPCODE_STORE) {
            command->header.opcode = SYSTOLE_OPCODE_NOP;
        }
    }
    memcpy(program.image + (size_t)program.launch.regions[0].base * columns, program.commands,
           program.count * sizeof *program.commands);
    ck_assert(frames_write(device, 0, program.image, program.image_words * columns));
    ck_assert(frames_run(device, &program.launch));
    uint64_t counters[SYSTOLE_UNITS][SYSTOLE_COUNTER_KINDS];
    uint64_t predicted = systole_schedule_cycles(target, program.commands, program.count, NULL, NULL, counters);
    ck_assert_uint_eq(expect_complete(program.launch.token, program.count), predicted);
    for (uint32_t i = 0; i < SYSTOLE_UNITS * SYSTOLE_COUNTER_KINDS; i++) {
        ck_assert_uint_eq(reg(SYSTOLE_REGISTER_COUNTERS + 8 * i), counters[i / 5][i % 5]);
    }
    random_program_free(&program);
    device->functions->destroy(device);
}
END_TEST

// Bytes of any kind: it stops with an error or goes on, never hangs, and a reset brings it back.
START_TEST(hostile_bytes) {
    uint32_t random = (uint32_t)_i * 7 + 1;
    for (int round = 0; round < 40; round++) {
        uint8_t bytes[600];
        fill(bytes, sizeof bytes, random += 77);
        struct systole_frame_header *header = (struct systole_frame_header *)(void *)bytes;
        if (round % 4 != 0) {
            header->magic = SYSTOLE_FRAME_MAGIC;
            header->kind = (uint8_t)testing_range(&random, 0, 5);
            header->length = (uint32_t)testing_range(&random, 0, 40) * 16;
            header->address &= 0xffff;
        }
        if (header->kind == SYSTOLE_FRAME_RUN && round % 2 == 0) {
            struct systole_launch_descriptor *launch = (struct systole_launch_descriptor *)(void *)(bytes + 16);
            header->length = sizeof *launch;
            launch->commands = 3;
            launch->watchdog_cycles &= 0xffff;
            for (uint32_t i = 0; i < SYSTOLE_REGIONS; i++) {
                launch->regions[i].base &= 0xffff;
                launch->regions[i].words &= 0xffff;
            }
        }
        frames_push_bytes(device, bytes, (size_t)testing_range(&random, 1, sizeof bytes));
        frames_settle(device, 2000);
        if (round % 3 == 0) {
            device->functions->reset(device);
            uint8_t word[16], back[16];
            fill(word, 16, random);
            ck_assert(frames_write(device, 3, word, 16));
            ck_assert(frames_read(device, 0, 1, 3, back, 16));
            ck_assert_mem_eq(word, back, 16);
        }
    }
}
END_TEST

static bool has_rtl(void) {
    struct systole_accelerator *accelerator;
    struct systole_diagnostic diagnostic;
    if (systole_rtl_create(&systole_presets[0], &accelerator, &diagnostic) != SYSTOLE_OK) {
        return false;
    }
    accelerator->functions->destroy(accelerator);
    return true;
}

START_TEST(rtl_is_missing) {
    testing_skip("the boundary's tests on RTL: no Verilated model of %s (make rtl)", systole_presets[0].name);
}
END_TEST

static TCase *boundary_tests(const char *name, void (*open_device)(void)) {
    TCase *boundary = tcase_create(name);
    tcase_add_checked_fixture(boundary, open_device, teardown);
    tcase_set_timeout(boundary, 60);
    tcase_add_test(boundary, registers);
    tcase_add_test(boundary, write_and_read);
    tcase_add_test(boundary, link_rate);
    tcase_add_loop_test(boundary, frame_errors, 0, 13);
    tcase_add_test(boundary, streams);
    tcase_add_test(boundary, stream_left_over);
    tcase_add_test(boundary, after_run_waits);
    tcase_add_loop_test(boundary, command_errors, 0, 13);
    tcase_add_loop_test(boundary, launch_errors, 0, 3);
    tcase_add_loop_test(boundary, watchdog, 0, 4);
    tcase_add_test(boundary, retirements_are_told);
    tcase_add_loop_test(boundary, hostile_bytes, 0, SEEDS);
    return boundary;
}

int main(void) {
    Suite *suite = suite_create("functional_model");
    suite_add_tcase(suite, boundary_tests("boundary", setup));
    if (has_rtl()) {
        suite_add_tcase(suite, boundary_tests("boundary of the RTL", setup_rtl));
    } else {
        TCase *missing = tcase_create("missing");
        tcase_add_test(missing, rtl_is_missing);
        suite_add_tcase(suite, missing);
    }
    TCase *programs = tcase_create("programs");
    tcase_set_timeout(programs, 120);
    tcase_add_loop_test(programs, any_order_same_bits, 0, SEEDS);
    tcase_add_test(programs, missing_tokens_show);
    tcase_add_loop_test(programs, cycles_as_predicted, 0, SEEDS);
    suite_add_tcase(suite, programs);
    return testing_run(suite, "hw_model/test_functional_model");
}
