// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "frames.h"

#define SLICE 20000u // cycles between looks
#define PATIENCE 60u // looks without any progress

void frames_start(struct systole_accelerator *accelerator) {
    for (uint32_t i = 0; i < 32; i++) {
        uint64_t entries = 0;
        for (uint32_t k = 0; k < 8; k++) {
            const struct systole_opcode_description *opcode = systole_describe_opcode(8 * i + k);
            uint64_t entry = opcode == NULL ? 0 : 0x80u | opcode->unit;
            entries |= entry << (8 * k);
        }
        accelerator->functions->write_register(accelerator, SYSTOLE_REGISTER_COMMAND_TABLE + 8 * i, entries);
    }
    accelerator->functions->write_register(accelerator, SYSTOLE_REGISTER_CONTROL, 5);
}

bool frames_push_bytes(struct systole_accelerator *accelerator, const void *bytes, size_t size) {
    const uint8_t *from = bytes;
    for (uint32_t looks = 0; size > 0 && looks < PATIENCE; looks++) {
        size_t taken = accelerator->functions->push_stream(accelerator, from, size);
        from += taken;
        size -= taken;
        if (taken > 0) {
            looks = 0;
        }
        if (size > 0 && accelerator->functions->run(accelerator, SLICE) == 0 && taken == 0) {
            break;
        }
    }
    return size == 0;
}

bool frames_push(struct systole_accelerator *accelerator, uint32_t kind, uint32_t flags, uint32_t tag, uint32_t address,
                 const void *payload, uint32_t length) {
    static const uint8_t zeros[8];
    struct systole_frame_header header = {SYSTOLE_FRAME_MAGIC, (uint8_t)kind, (uint8_t)flags, tag, address, length};
    if (!frames_push_bytes(accelerator, &header, sizeof header)) {
        return false;
    }
    return payload == NULL || (frames_push_bytes(accelerator, payload, length) &&
                               frames_push_bytes(accelerator, zeros, (8 - length % 8) % 8));
}

bool frames_pull(struct systole_accelerator *accelerator, void *bytes, size_t size) {
    uint8_t *to = bytes;
    for (uint32_t looks = 0; size > 0 && looks < PATIENCE; looks++) {
        size_t given = accelerator->functions->pull_stream(accelerator, to, size);
        to += given;
        size -= given;
        if (given > 0) {
            looks = 0;
        } else if (accelerator->functions->run(accelerator, SLICE) == 0 && accelerator->functions->idle(accelerator)) {
            break;
        }
    }
    return size == 0;
}

bool frames_event(struct systole_accelerator *accelerator, struct systole_event *event, uint64_t cycles) {
    uint64_t passed = 0;
    for (uint32_t looks = 0; looks < PATIENCE; looks++) {
        if (accelerator->functions->pull_event(accelerator, event)) {
            return true;
        }
        if (passed >= cycles) {
            break;
        }
        uint64_t slice = cycles - passed < SLICE ? cycles - passed : SLICE;
        uint64_t went = accelerator->functions->run(accelerator, slice);
        passed += went;
        looks = went > 0 ? 0 : looks;
        if (went == 0 && accelerator->functions->idle(accelerator)) {
            break;
        }
    }
    return accelerator->functions->pull_event(accelerator, event);
}

void frames_settle(struct systole_accelerator *accelerator, uint64_t cycles) {
    uint64_t passed = 0;
    for (uint32_t looks = 0; passed < cycles && looks < PATIENCE && !accelerator->functions->idle(accelerator);
         looks++) {
        uint64_t went = accelerator->functions->run(accelerator, cycles - passed < SLICE ? cycles - passed : SLICE);
        passed += went;
        looks = went > 0 ? 0 : looks;
    }
}

bool frames_write(struct systole_accelerator *accelerator, uint32_t word, const void *bytes, uint32_t length) {
    return frames_push(accelerator, SYSTOLE_FRAME_WRITE, 0, 0, word, bytes, length);
}

bool frames_read(struct systole_accelerator *accelerator, uint32_t flags, uint32_t tag, uint32_t word, void *bytes,
                 uint32_t length) {
    struct systole_frame_header header;
    uint8_t padding[8];
    return frames_push(accelerator, SYSTOLE_FRAME_READ, flags, tag, word, NULL, length) &&
           frames_pull(accelerator, &header, sizeof header) && header.magic == SYSTOLE_FRAME_MAGIC &&
           header.kind == SYSTOLE_FRAME_DATA && header.tag == tag && header.address == word &&
           header.length == length && frames_pull(accelerator, bytes, length) &&
           frames_pull(accelerator, padding, (8 - length % 8) % 8);
}

bool frames_run(struct systole_accelerator *accelerator, const struct systole_launch_descriptor *launch) {
    return frames_push(accelerator, SYSTOLE_FRAME_RUN, 0, launch->token, 0, launch, sizeof *launch);
}
