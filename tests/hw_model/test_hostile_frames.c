// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A hostile host in front of the functional model and of the whole RTL: every error of spec/framing.toml, random bytes,
// plausible frames with nonsense in them, good programs with spoiled commands. The device stops, names the error,
// leaves all memory alone that the launch did not open to it, and after a reset it works as before. Where no run is
// involved both devices must end with the same error and the same memory.
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "frames.h"
#include "random_program.h"
#include "target.h"
#include "testing.h"

#define BYTE_SEEDS 8
#define PROGRAM_SEEDS 10
#define PATTERN_WORDS 512u
#define FIRST_SCRATCH 1000u // windows of the small programs lie behind this word
#define LAST_SCRATCH 2200u

static const struct systole_target *target;
static struct systole_accelerator *devices[2]; // functional model, RTL

// False: there is no Verilated model (said aloud).
static bool open_devices(uint32_t preset) {
    struct systole_diagnostic diagnostic;
    target = &systole_presets[preset];
    if (systole_rtl_create(target, &devices[1], &diagnostic) != SYSTOLE_OK) {
        testing_skip("%s (%s): %s", diagnostic.what, diagnostic.where, diagnostic.hint);
        return false;
    }
    ck_assert_int_eq(systole_functional_model_create(target, 0, &devices[0], &diagnostic), SYSTOLE_OK);
    frames_start(devices[0]);
    frames_start(devices[1]);
    return true;
}

static void close_devices(void) {
    devices[0]->functions->destroy(devices[0]);
    devices[1]->functions->destroy(devices[1]);
}

static void fill(uint8_t *bytes, size_t size, uint32_t seed) {
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)testing_random(&seed);
    }
}

static uint8_t *memory_of(struct systole_accelerator *device) {
    uint8_t *memory = malloc(target->scratchpad_bytes);
    ck_assert_ptr_nonnull(memory);
    device->functions->peek(device, 0, systole_target_words(target), memory);
    return memory;
}

// Words outside [first, end) are what they were.
static void check_untouched(struct systole_accelerator *device, const uint8_t *before, uint32_t first, uint32_t end) {
    uint8_t *now = memory_of(device);
    size_t columns = target->columns;
    ck_assert_msg(memcmp(before, now, first * columns) == 0, "memory below word %u has changed", first);
    ck_assert_msg(memcmp(before + end * columns, now + end * columns, target->scratchpad_bytes - end * columns) == 0,
                  "memory behind word %u has changed", end);
    free(now);
}

static struct systole_command command_of(uint32_t opcode, uint32_t unit) {
    struct systole_command command;
    memset(&command, 0, sizeof command);
    command.header.opcode = (uint8_t)opcode;
    command.header.unit = (uint8_t)unit;
    return command;
}

// Copies `words` words of region activations to region output.
static struct systole_command copy_of(uint32_t words) {
    struct systole_command command = command_of(SYSTOLE_OPCODE_REQUANTISE, SYSTOLE_UNIT_ELEMENTWISE);
    command.body.elementwise = (struct systole_elementwise){
        .input_address = (uint32_t)SYSTOLE_REGION_ACTIVATIONS << 28,
        .output_address = (uint32_t)SYSTOLE_REGION_OUTPUT << 28,
        .input_pixel_stride = 1,
        .output_pixel_stride = 1,
        .height = 1,
        .width = (uint16_t)words,
        .tiles = 1,
        .clamp_min = -128,
        .clamp_max = 127,
        .output_multiplier = 1 << 30,
        .output_shift = 1,
    };
    return command;
}

static struct systole_command transfer_of(uint32_t opcode, uint32_t unit, uint32_t words) {
    struct systole_command command = command_of(opcode, unit);
    command.body.transfer = (struct systole_transfer){(uint32_t)SYSTOLE_REGION_ACTIVATIONS << 28, words, 0x50000000u};
    return command;
}

static struct systole_launch_descriptor launch_of(uint32_t commands) {
    struct systole_launch_descriptor launch = {.token = 7, .commands = commands, .watchdog_cycles = 20000};
    launch.regions[SYSTOLE_REGION_PROGRAM] = (struct systole_region_window){0, PATTERN_WORDS};
    launch.regions[SYSTOLE_REGION_ACTIVATIONS] = (struct systole_region_window){FIRST_SCRATCH, 100};
    launch.regions[SYSTOLE_REGION_OUTPUT] = (struct systole_region_window){2000, 100};
    return launch;
}

// After a reset: words come back, and a program runs.
static void check_works(struct systole_accelerator *device, uint32_t seed) {
    uint8_t bytes[4 * 64], back[4 * 64];
    uint32_t size = 4 * target->columns;
    struct systole_command command = copy_of(4);
    struct systole_launch_descriptor launch = launch_of(1);
    struct systole_event event = {0};
    fill(bytes, sizeof bytes, seed | 1);
    device->functions->reset(device);
    frames_start(device);
    ck_assert_uint_eq(device->functions->read_register(device, SYSTOLE_REGISTER_STATUS), 1);
    ck_assert_uint_eq(device->functions->read_register(device, SYSTOLE_REGISTER_ERROR), 0);
    ck_assert(!device->functions->interrupt(device));
    ck_assert(frames_write(device, FIRST_SCRATCH, bytes, size));
    ck_assert(frames_write(device, 0, &command, sizeof command));
    ck_assert(frames_run(device, &launch));
    ck_assert(frames_event(device, &event, 100000));
    ck_assert_msg(event.kind == SYSTOLE_EVENT_KIND_RUN_COMPLETE, "%s", systole_error_name(event.error));
    ck_assert(frames_read(device, 0, 5, 2000, back, size));
    ck_assert_mem_eq(bytes, back, size);
}

static void check_fault(struct systole_accelerator *device, uint32_t error, uint32_t unit, uint32_t command,
                        uint32_t detail) {
    struct systole_event event = {0};
    do {
        ck_assert_msg(frames_event(device, &event, 1u << 20), "no fault event");
    } while (event.kind != SYSTOLE_EVENT_KIND_FAULT);
    ck_assert_msg(event.error == error, "%s, expected %s", systole_error_name(event.error), systole_error_name(error));
    ck_assert_uint_eq(event.unit, unit);
    ck_assert_uint_eq(event.command, command);
    ck_assert_uint_eq(event.detail, detail);
    ck_assert_uint_eq(device->functions->read_register(device, SYSTOLE_REGISTER_ERROR),
                      error | unit << 8 | (uint64_t)command << 32);
    ck_assert_uint_eq(device->functions->read_register(device, SYSTOLE_REGISTER_ERROR_DETAIL), detail);
    ck_assert(device->functions->interrupt(device));
}

// ---- Each error, on each preset.
struct hostility {
    const char *name;
    uint32_t error, unit, command, detail;
};

static void send_frame(struct systole_accelerator *device, uint32_t i) {
    uint32_t words = systole_target_words(target), columns = target->columns;
    uint8_t payload[128] = {0};
    switch (i) {
    case 0:
        frames_push_bytes(device, "SYSTOLE SYSTOLE ", 16); // magic is good, kind is not
        break;
    case 1:
        frames_push_bytes(device, "systole systole ", 16);
        break;
    case 2:
        frames_push(device, SYSTOLE_FRAME_WRITE, 0, 0, 0, NULL, target->scratchpad_bytes + columns);
        break;
    case 3:
        frames_push(device, SYSTOLE_FRAME_WRITE, 0, 0, words - 1, NULL, 2 * columns);
        break;
    case 4:
        device->functions->write_register(device, SYSTOLE_REGISTER_CONTROL, 4);
        frames_push(device, SYSTOLE_FRAME_RUN, 0, 55, 0, payload, 96);
        break;
    case 5:
        frames_push(device, SYSTOLE_FRAME_RUN, 0, 0, 0, payload, 96);
        break;
    default:
        frames_push(device, SYSTOLE_FRAME_STREAM, 0, 0, 0, payload, columns);
        break;
    }
}

static void send_program(struct systole_accelerator *device, uint32_t i) {
    struct systole_command commands[] = {command_of(SYSTOLE_OPCODE_NOP, SYSTOLE_UNIT_STORE), copy_of(4)};
    struct systole_launch_descriptor launch = launch_of(2);
    switch (i) {
    case 7:
        commands[1].header.opcode = 0xee;
        break;
    case 8:
        commands[1].body.elementwise.width = 0;
        break;
    case 9:
        commands[1].body.elementwise.output_address = 0x70000000u; // a region without a window
        break;
    case 10:
        commands[1] = transfer_of(SYSTOLE_OPCODE_LOAD, SYSTOLE_UNIT_LOAD, 101);
        break;
    case 11:
        commands[1] = transfer_of(SYSTOLE_OPCODE_STORE, SYSTOLE_UNIT_STORE, 101);
        break;
    case 12:
        device->functions->write_register(device, SYSTOLE_REGISTER_PARITY_FLIP, FIRST_SCRATCH + 2);
        break;
    default:
        commands[1].header.wait0 = (uint32_t)SYSTOLE_UNIT_ARRAY << 24 | 1;
        break;
    }
    ck_assert(frames_write(device, 0, commands, sizeof commands));
    ck_assert(frames_run(device, &launch));
}

static const struct hostility hostilities[] = {
    {"kind", SYSTOLE_ERROR_FRAME_KIND, 255, 0, 'S'},
    {"magic", SYSTOLE_ERROR_FRAME_MAGIC, 255, 0, 's' | 'y' << 8 | 's' << 16 | 't' << 24},
    {"length", SYSTOLE_ERROR_FRAME_LENGTH, 255, 0, 0},
    {"address", SYSTOLE_ERROR_FRAME_ADDRESS, 255, 0, 0},
    {"not started", SYSTOLE_ERROR_NOT_STARTED, 255, 0, 55},
    {"launch", SYSTOLE_ERROR_LAUNCH, 255, 0, 8},
    {"stream", SYSTOLE_ERROR_STREAM, 255, 0, 1},
    {"opcode", SYSTOLE_ERROR_OPCODE, 255, 1, 0xee},
    {"field", SYSTOLE_ERROR_FIELD, 255, 1, SYSTOLE_OPCODE_REQUANTISE},
    {"region", SYSTOLE_ERROR_REGION, SYSTOLE_UNIT_ELEMENTWISE, 1, 0},
    {"load beyond", SYSTOLE_ERROR_REGION, SYSTOLE_UNIT_LOAD, 1, FIRST_SCRATCH + 100},
    {"store beyond", SYSTOLE_ERROR_REGION, SYSTOLE_UNIT_STORE, 1, FIRST_SCRATCH + 100},
    {"parity", SYSTOLE_ERROR_PARITY, SYSTOLE_UNIT_ELEMENTWISE, 1, FIRST_SCRATCH + 2},
    {"watchdog", SYSTOLE_ERROR_WATCHDOG, 255, 1, 20000},
};
enum { HOSTILITIES = sizeof hostilities / sizeof hostilities[0] };

START_TEST(each_error) {
    uint32_t i = (uint32_t)_i % HOSTILITIES;
    if (!open_devices((uint32_t)_i / HOSTILITIES)) {
        return;
    }
    struct hostility expected = hostilities[i];
    if (i == 2) {
        expected.detail = target->scratchpad_bytes + target->columns;
    } else if (i == 3) {
        expected.detail = systole_target_words(target) - 1;
    }
    static uint8_t pattern[PATTERN_WORDS * 64];
    fill(pattern, sizeof pattern, 77);
    for (uint32_t d = 0; d < 2; d++) {
        struct systole_accelerator *device = devices[d];
        ck_assert(frames_write(device, 600, pattern, 300 * target->columns));
        ck_assert(frames_write(device, LAST_SCRATCH, pattern, PATTERN_WORDS * target->columns));
        frames_settle(device, 1u << 20);
        uint8_t *before = memory_of(device);
        if (i < 7) {
            send_frame(device, i);
        } else {
            send_program(device, i);
        }
        check_fault(device, expected.error, expected.unit, expected.command, expected.detail);
        // What comes now is left where it is; nothing is written.
        frames_push(device, SYSTOLE_FRAME_WRITE, 0, 0, LAST_SCRATCH, pattern + 64, 4 * target->columns);
        frames_settle(device, 100000);
        if (i < 7) {
            check_untouched(device, before, 0, 0);
        } else { // the program was written before it failed; a copy may have got as far as its output
            uint8_t *now = memory_of(device);
            memcpy(before, now, 2 * sizeof(struct systole_command));
            free(now);
            check_untouched(device, before, 2000, 2100);
        }
        free(before);
        check_works(device, (uint32_t)_i + 1);
    }
    close_devices();
}
END_TEST

// ---- Bytes of any kind and headers that look good, without runs: both devices agree in everything.
static size_t hostile_bytes(uint8_t *bytes, size_t size, uint32_t *random) {
    size_t end = 0;
    uint32_t columns = target->columns;
    while (end + sizeof(struct systole_frame_header) < size) {
        struct systole_frame_header header = {SYSTOLE_FRAME_MAGIC,    (uint8_t)testing_range(random, 0, 5), 0,
                                              testing_random(random), testing_random(random) % 4096,        0};
        header.flags = (uint8_t)testing_random(random);
        header.length = (uint32_t)testing_range(random, 0, 12) * columns;
        if (header.kind == SYSTOLE_FRAME_RUN) {
            header.kind = SYSTOLE_FRAME_WRITE;
        }
        switch (testing_range(random, 0, 11)) { // most are good, so that something happens before the error
        case 0:
            header.magic = (uint16_t)testing_random(random);
            break;
        case 1:
            header.length = testing_random(random) % 1000;
            break;
        case 2:
            header.address = testing_random(random);
            break;
        case 3:
            header.kind = (uint8_t)testing_random(random);
            break;
        default:
            header.kind = testing_random(random) % 3 == 0 ? SYSTOLE_FRAME_READ : SYSTOLE_FRAME_WRITE;
            break;
        }
        memcpy(bytes + end, &header, sizeof header);
        end += sizeof header;
        size_t payload = header.kind == SYSTOLE_FRAME_READ ? 0 : (header.length + 7) / 8 * 8;
        if (payload > size - end) {
            break;
        }
        fill(bytes + end, payload, testing_random(random) | 1);
        end += payload;
    }
    return end;
}

START_TEST(any_bytes) {
    uint32_t random = (uint32_t)_i * 7919 + 3;
    if (!open_devices((uint32_t)_i % SYSTOLE_PRESETS)) {
        return;
    }
    for (uint32_t round = 0; round < 30; round++) {
        uint8_t bytes[6000], drain[1024];
        size_t size = sizeof bytes;
        fill(bytes, sizeof bytes, random);
        if (round % 5 != 0) {
            size = hostile_bytes(bytes, sizeof bytes, &random);
        } else {
            size = (size_t)testing_range(&random, 1, 600);
        }
        uint64_t error[2], detail[2], frames[2];
        uint8_t *memory[2];
        for (uint32_t d = 0; d < 2; d++) {
            struct systole_accelerator *device = devices[d];
            frames_push_bytes(device, bytes, size);
            for (uint32_t i = 0; i < 200 && !device->functions->idle(device); i++) {
                struct systole_event event;
                device->functions->run(device, 20000);
                device->functions->pull_stream(device, drain, sizeof drain);
                device->functions->pull_event(device, &event);
            }
            error[d] = device->functions->read_register(device, SYSTOLE_REGISTER_ERROR);
            detail[d] = device->functions->read_register(device, SYSTOLE_REGISTER_ERROR_DETAIL);
            frames[d] = device->functions->read_register(device, SYSTOLE_REGISTER_FRAMES);
            memory[d] = memory_of(device);
        }
        ck_assert_uint_eq(error[0], error[1]);
        ck_assert_uint_eq(detail[0], detail[1]);
        ck_assert_uint_eq(frames[0], frames[1]);
        ck_assert_msg(memcmp(memory[0], memory[1], target->scratchpad_bytes) == 0, "round %u: memories differ", round);
        free(memory[0]);
        free(memory[1]);
        check_works(devices[0], random);
        check_works(devices[1], random);
    }
    close_devices();
}
END_TEST

// ---- Good programs with bytes of their commands spoiled: nothing outside the windows of the launch changes.
START_TEST(spoiled_programs) {
    uint32_t random = (uint32_t)_i * 104729 + 11, completed = 0, refused = 0;
    if (!open_devices((uint32_t)_i % SYSTOLE_PRESETS)) {
        return;
    }
    for (uint32_t round = 0; round < 6; round++) {
        struct random_program program;
        ck_assert(
            random_program_make(&program, target, testing_random(&random) | 1, 20, false, RANDOM_PROGRAM_ALL_UNITS));
        uint32_t columns = target->columns, words = systole_target_words(target);
        uint8_t *commands = program.image + (size_t)program.launch.regions[0].base * columns;
        for (int32_t i = testing_range(&random, 0, 3); i > 0; i--) {
            uint32_t byte = (uint32_t)testing_range(&random, 0, 102) + testing_random(&random) % program.count * 128;
            commands[byte] = (uint8_t)(commands[byte] ^ 1u << testing_range(&random, 0, 7));
        }
        program.launch.watchdog_cycles = 20000;
        uint8_t *open = calloc(words, 1); // 1: in a window
        for (uint32_t r = 0; r < SYSTOLE_REGIONS; r++) {
            memset(open + program.launch.regions[r].base, 1, program.launch.regions[r].words);
        }
        for (uint32_t d = 0; d < 2; d++) {
            struct systole_accelerator *device = devices[d];
            uint8_t drain[1024];
            ck_assert(frames_write(device, 0, program.image, program.image_words * columns));
            frames_settle(device, 1u << 24);
            uint8_t *before = memory_of(device);
            ck_assert(frames_run(device, &program.launch));
            if (program.stream_words > 0) {
                frames_push(device, SYSTOLE_FRAME_STREAM, 0, 0, 0, program.stream, program.stream_words * columns);
            }
            struct systole_event event = {0};
            bool heard = false;
            for (uint32_t i = 0; i < 10000 && !heard; i++) {
                device->functions->run(device, 20000);
                device->functions->pull_stream(device, drain, sizeof drain);
                heard = device->functions->pull_event(device, &event);
            }
            ck_assert_msg(heard, "neither an end nor an error");
            completed += event.kind == SYSTOLE_EVENT_KIND_RUN_COMPLETE;
            refused += event.kind == SYSTOLE_EVENT_KIND_FAULT;
            uint8_t *now = memory_of(device);
            for (uint32_t w = 0; w < words; w++) {
                if (!open[w] && memcmp(before + w * columns, now + w * columns, columns) != 0) {
                    ck_abort_msg("device %u, round %u: word %u is outside every window and has changed", d, round, w);
                }
            }
            free(now);
            free(before);
            check_works(device, random);
        }
        free(open);
        random_program_free(&program);
    }
    ck_assert_uint_ge(refused, 1);
    ck_assert_uint_eq(completed + refused, 12);
    close_devices();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("hostile_frames");
    TCase *test = tcase_create("hostile");
    tcase_set_timeout(test, 300);
    tcase_add_loop_test(test, each_error, 0, HOSTILITIES * SYSTOLE_PRESETS);
    tcase_add_loop_test(test, any_bytes, 0, BYTE_SEEDS);
    tcase_add_loop_test(test, spoiled_programs, 0, PROGRAM_SEEDS);
    suite_add_tcase(suite, test);
    return testing_run(suite, "hw_model/test_hostile_frames");
}
