// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The debug registers (rtl/debug_module.sv): fetch held before chosen commands, words of memory aside from all frames,
// the units' queues.
#include <string.h>

#include "functional_model.h"

void systole_functional_debug_reset(struct systole_functional_model *model) {
    model->debugging = (struct systole_debugging){.first = true};
}

void systole_functional_debug_launch(struct systole_functional_model *model) {
    model->debugging.go = model->debugging.at_check = false;
    model->debugging.first = true;
}

// Breakpoints that hold the command at the check, a bit each.
static uint32_t matches(const struct systole_debugging *d) {
    uint32_t matched = 0;
    for (uint32_t i = 0; d->at_check && i < SYSTOLE_BREAKPOINT_COUNT; i++) {
        uint64_t breakpoint = d->breakpoints[i];
        bool command = (breakpoint & SYSTOLE_BREAKPOINT_ON_COMMAND) != 0 && (uint32_t)breakpoint == d->index;
        bool operation = (breakpoint & SYSTOLE_BREAKPOINT_ON_OPERATOR) != 0 &&
                         (breakpoint >> 32 & 0xffff) == d->operator_index &&
                         (d->first || d->last_operator != d->operator_index);
        matched |= (uint32_t)(command || operation) << i;
    }
    return matched;
}

static bool is_held(const struct systole_functional_model *model) {
    const struct systole_debugging *d = &model->debugging;
    return d->at_check && !d->go && (d->hold || matches(d) != 0);
}

bool systole_functional_debug_still(const struct systole_functional_model *model) {
    return is_held(model) && model->retired == model->debugging.index;
}

bool systole_functional_debug_pass(struct systole_functional_model *model, uint32_t index, uint16_t operator_index) {
    struct systole_debugging *d = &model->debugging;
    d->at_check = true;
    d->index = index;
    d->operator_index = operator_index;
    if (is_held(model)) {
        return false;
    }
    d->at_check = d->go = d->first = false;
    d->last_operator = operator_index;
    return true;
}

static uint64_t read_state(const struct systole_functional_model *model) {
    const struct systole_debugging *d = &model->debugging;
    uint64_t state = 0;
    if (is_held(model)) {
        state = SYSTOLE_DEBUG_STATE_HELD | (uint64_t)matches(d) << 8 | (uint64_t)d->index << 32;
    }
    if (systole_functional_debug_still(model)) {
        state |= SYSTOLE_DEBUG_STATE_STILL;
    }
    if (d->address < model->memory_words && model->flipped[d->address]) {
        state |= SYSTOLE_DEBUG_STATE_PARITY;
    }
    return state;
}

static uint64_t read_data(const struct systole_functional_model *model, uint32_t piece) {
    uint64_t value = 0;
    uint32_t columns = model->target.columns, first = 8 * piece;
    if (first < columns && model->debugging.address < model->memory_words) {
        size_t size = columns - first < sizeof value ? columns - first : sizeof value;
        memcpy(&value, model->memory + (size_t)model->debugging.address * columns + first, size);
    }
    return value;
}

static uint64_t read_unit(const struct systole_functional_model *model, uint32_t unit) {
    const struct systole_schedule_unit *u = &model->schedule.units[unit];
    bool waiting = u->queue_count != 0 && !u->tokens;
    return (u->retired & 0xffffff) | (uint64_t)(u->queue_count & 0xff) << 24 |
           (uint64_t)(u->inside_count & 0xff) << 32 | (waiting ? SYSTOLE_UNIT_STATE_WAITING : 0);
}

// The register of an array that lies at the address; `count`: none.
static uint32_t element(uint32_t address, uint32_t first, uint32_t count) {
    return address >= first && address < first + 8 * count && address % 8 == 0 ? (address - first) / 8 : count;
}

bool systole_functional_debug_read(const struct systole_functional_model *model, uint32_t address, uint64_t *value) {
    const struct systole_debugging *d = &model->debugging;
    uint32_t breakpoint = element(address, SYSTOLE_REGISTER_BREAKPOINT, SYSTOLE_BREAKPOINT_COUNT);
    uint32_t piece = element(address, SYSTOLE_REGISTER_DEBUG_DATA, SYSTOLE_DEBUG_DATA_COUNT);
    uint32_t unit = element(address, SYSTOLE_REGISTER_UNIT_STATE, SYSTOLE_UNIT_STATE_COUNT);
    if (address == SYSTOLE_REGISTER_DEBUG_CONTROL) {
        *value = d->hold;
    } else if (address == SYSTOLE_REGISTER_DEBUG_STATE) {
        *value = read_state(model);
    } else if (address == SYSTOLE_REGISTER_DEBUG_ADDRESS) {
        *value = d->address;
    } else if (breakpoint < SYSTOLE_BREAKPOINT_COUNT) {
        *value = d->breakpoints[breakpoint];
    } else if (piece < SYSTOLE_DEBUG_DATA_COUNT) {
        *value = read_data(model, piece);
    } else if (unit < SYSTOLE_UNIT_STATE_COUNT) {
        *value = read_unit(model, unit);
    } else {
        return false;
    }
    return true;
}

bool systole_functional_debug_write(struct systole_functional_model *model, uint32_t address, uint64_t value) {
    struct systole_debugging *d = &model->debugging;
    uint32_t breakpoint = element(address, SYSTOLE_REGISTER_BREAKPOINT, SYSTOLE_BREAKPOINT_COUNT);
    if (address == SYSTOLE_REGISTER_DEBUG_CONTROL) {
        d->go = d->go || ((value & SYSTOLE_DEBUG_CONTROL_GO) != 0 && is_held(model));
        d->hold = (value & SYSTOLE_DEBUG_CONTROL_HOLD) != 0;
    } else if (address == SYSTOLE_REGISTER_DEBUG_ADDRESS) {
        d->address = (uint32_t)value;
    } else if (breakpoint < SYSTOLE_BREAKPOINT_COUNT) {
        d->breakpoints[breakpoint] = value & ((UINT64_C(1) << 50) - 1);
    } else {
        return false;
    }
    return true;
}
