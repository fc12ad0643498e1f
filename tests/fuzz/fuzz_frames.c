// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The functional model behind its streams. An input is a list of steps (steps.h): raw bytes, frames whose header the
// harness completes so that their payload is reached, registers, and time.
#include "device.h"
#include "fuzz_input.h"
#include "steps.h"

enum { MOST_CYCLES = 40000, MOST_STEPS = 64 };

static uint64_t cycles_left;

static void run(struct systole_accelerator *device, uint64_t cycles) {
    uint8_t drain[4096];
    struct systole_event event;
    cycles = cycles < cycles_left ? cycles : cycles_left;
    for (uint32_t looks = 0; looks < 256 && !device->functions->idle(device); looks++) {
        uint64_t passed = device->functions->run(device, cycles);
        size_t given = device->functions->pull_stream(device, drain, sizeof drain);
        bool told = device->functions->pull_event(device, &event);
        FUZZ_REQUIRE(passed <= cycles, "time ran on");
        FUZZ_REQUIRE(!told || (event.kind >= SYSTOLE_EVENT_KIND_RUN_COMPLETE && event.kind <= SYSTOLE_EVENT_KIND_FAULT),
                     "an event of no kind");
        cycles -= passed;
        cycles_left -= passed;
        if (passed == 0 && given == 0 && !told) {
            break;
        }
    }
}

static void push(struct systole_accelerator *device, const void *bytes, size_t size) {
    const uint8_t *from = bytes;
    for (uint32_t looks = 0; size > 0 && looks < 16; looks++) {
        size_t taken = device->functions->push_stream(device, from, size);
        from += taken;
        size -= taken;
        if (size > 0) {
            run(device, 4096);
        }
    }
}

static void push_frame(struct systole_accelerator *device, struct fuzz_input *input, uint32_t kind) {
    static const uint8_t zeros[8];
    struct systole_frame_header header = {SYSTOLE_FRAME_MAGIC, (uint8_t)kind, 0, 1, 0, 0};
    size_t taken = 0;
    header.flags = (uint8_t)fuzz_number(input, 1);
    header.address = kind == SYSTOLE_FRAME_RUN ? 0 : fuzz_number(input, 2);
    header.length = fuzz_number(input, 2);
    if (kind == SYSTOLE_FRAME_RUN) {
        header.length = sizeof(struct systole_launch_descriptor);
    }
    push(device, &header, sizeof header);
    if (kind != SYSTOLE_FRAME_READ) {
        const uint8_t *payload = fuzz_take(input, header.length, &taken);
        push(device, payload, taken);
        push(device, zeros, (8 - taken % 8) % 8);
    }
}

static void start(struct systole_accelerator *device) {
    for (uint32_t i = 0; i < 32; i++) {
        uint64_t entries = 0;
        for (uint32_t k = 0; k < 8; k++) {
            const struct systole_opcode_description *opcode = systole_describe_opcode(8 * i + k);
            entries |= (uint64_t)(opcode == NULL ? 0 : 0x80u | opcode->unit) << (8 * k);
        }
        device->functions->write_register(device, SYSTOLE_REGISTER_COMMAND_TABLE + 8 * i, entries);
    }
    device->functions->write_register(device, SYSTOLE_REGISTER_CONTROL, 5);
}

static void step(struct systole_accelerator *device, struct fuzz_input *input) {
    size_t taken = 0;
    switch (fuzz_number(input, 1) % STEP_KINDS) {
    case STEP_RAW: {
        size_t size = fuzz_number(input, 2);
        const uint8_t *bytes = fuzz_take(input, size, &taken);
        push(device, bytes, taken);
        break;
    }
    case STEP_WRITE:
        push_frame(device, input, SYSTOLE_FRAME_WRITE);
        break;
    case STEP_READ:
        push_frame(device, input, SYSTOLE_FRAME_READ);
        break;
    case STEP_LAUNCH:
        push_frame(device, input, SYSTOLE_FRAME_RUN);
        break;
    case STEP_STREAM:
        push_frame(device, input, SYSTOLE_FRAME_STREAM);
        break;
    case STEP_REGISTER: {
        uint32_t address = fuzz_number(input, 2), value = fuzz_number(input, 4);
        device->functions->write_register(device, address, value);
        (void)device->functions->read_register(device, address);
        break;
    }
    case STEP_RUN:
        run(device, fuzz_number(input, 2));
        break;
    default:
        device->functions->reset(device);
        start(device);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct fuzz_input input = {bytes, size};
    struct systole_target target = steps_target();
    struct systole_accelerator *device = NULL;
    struct systole_diagnostic diagnostic = {"", "", ""};
    uint64_t order_seed = fuzz_number(&input, 1); // 0: the clock's order
    FUZZ_REQUIRE(systole_functional_model_create(&target, order_seed, &device, &diagnostic) == SYSTOLE_OK,
                 diagnostic.what);
    cycles_left = MOST_CYCLES;
    start(device);
    for (uint32_t i = 0; i < MOST_STEPS && input.left > 0; i++) {
        step(device, &input);
        run(device, 1024);
    }
    run(device, cycles_left);
    uint64_t status = device->functions->read_register(device, SYSTOLE_REGISTER_STATUS);
    uint64_t error = device->functions->read_register(device, SYSTOLE_REGISTER_ERROR);
    FUZZ_REQUIRE(((status & 4) != 0) == ((error & 0xff) != 0), "status and error disagree");
    device->functions->destroy(device);
    return 0;
}
