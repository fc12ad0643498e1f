// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "scripted_accelerator.h"

#include <stdlib.h>
#include <string.h>

#include "target.h"

static struct scripted_accelerator *scripted(struct systole_accelerator *accelerator) {
    return (struct scripted_accelerator *)accelerator;
}

static uint64_t run(struct systole_accelerator *accelerator, uint64_t cycles) {
    scripted(accelerator)->cycle += cycles;
    scripted(accelerator)->busy_slices--;
    return cycles;
}

static size_t push_stream(struct systole_accelerator *accelerator, const uint8_t *bytes, size_t size) {
    struct scripted_accelerator *this = scripted(accelerator);
    size_t room = this->push_room < size ? this->push_room : size;
    memcpy(this->pushed + this->pushed_size, bytes, room);
    this->pushed_size += room;
    this->push_room -= room;
    return room;
}

static size_t pull_stream(struct systole_accelerator *accelerator, uint8_t *bytes, size_t size) {
    struct scripted_accelerator *this = scripted(accelerator);
    size_t left = this->pulled_size - this->pulled_given, given = left < size ? left : size;
    memcpy(bytes, this->pulled + this->pulled_given, given);
    this->pulled_given += given;
    return given;
}

static bool pull_event(struct systole_accelerator *accelerator, struct systole_event *event) {
    struct scripted_accelerator *this = scripted(accelerator);
    if (this->event_given == this->event_count) {
        return false;
    }
    *event = this->events[this->event_given++];
    return true;
}

static uint64_t read_register(struct systole_accelerator *accelerator, uint32_t address) {
    return scripted(accelerator)->registers[address / 8 % 256];
}

static void write_register(struct systole_accelerator *accelerator, uint32_t address, uint64_t value) {
    scripted(accelerator)->registers[address / 8 % 256] = value;
}

static bool interrupt(struct systole_accelerator *accelerator) {
    return scripted(accelerator)->interrupt;
}

static bool idle(struct systole_accelerator *accelerator) {
    return scripted(accelerator)->busy_slices == 0;
}

static void reset(struct systole_accelerator *accelerator) {
    scripted(accelerator)->resets++;
    scripted(accelerator)->interrupt = false;
}

static void observe(struct systole_accelerator *accelerator, const struct systole_observer *observer) {
    (void)accelerator;
    (void)observer;
}

static void peek(struct systole_accelerator *accelerator, uint32_t word, uint32_t words, uint8_t *bytes) {
    (void)accelerator;
    (void)word;
    (void)words;
    (void)bytes;
}

static uint64_t cycle(struct systole_accelerator *accelerator) {
    return scripted(accelerator)->cycle;
}

static void destroy(struct systole_accelerator *accelerator) {
    if (scripted(accelerator)->destroyed_counter != NULL) {
        *scripted(accelerator)->destroyed_counter += 1;
    }
    free(accelerator);
}

struct scripted_accelerator *scripted_accelerator_create(const struct systole_target *target) {
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
    };
    struct scripted_accelerator *this = calloc(1, sizeof *this);
    if (this == NULL) {
        abort();
    }
    this->accelerator.functions = &functions;
    this->push_room = sizeof this->pushed;
    this->registers[SYSTOLE_REGISTER_IDENTITY / 8] = SYSTOLE_IDENTITY;
    this->registers[SYSTOLE_REGISTER_TARGET_ID / 8] = systole_target_id(target);
    return this;
}
