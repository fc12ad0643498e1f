// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Registers of the selftest: every one that spec/registers.toml lists is read, and written as its access says.
#include <inttypes.h>

#include "selftest.h"
#include "target.h"

static uint64_t mask_of(const struct systole_register_field *field) {
    return (field->width == 64 ? UINT64_MAX : (UINT64_C(1) << field->width) - 1) << field->low;
}

static const char *field_at(const struct systole_register_description *description, uint32_t bit) {
    for (uint32_t f = 0; f < description->field_count; f++) {
        if ((mask_of(&description->fields[f]) >> bit & 1) != 0) {
            return description->fields[f].name;
        }
    }
    return "reserved";
}

static bool differs(struct selftest *test, const struct systole_register_description *description, uint32_t index,
                    const char *when, uint64_t found, uint64_t expected) {
    uint32_t bit = 0;
    while (((found ^ expected) >> bit & 1) == 0) {
        bit++;
    }
    return selftest_found(test, "%s[%u] at 0x%03x, bit %u (%s), %s: 0x%016" PRIx64 ", expected 0x%016" PRIx64,
                          description->name, index, description->offset + 8 * index, bit, field_at(description, bit),
                          when, found, expected);
}

bool selftest_capabilities(struct selftest *test) {
    const struct systole_target *t = test->target;
    const struct {
        uint32_t address;
        uint64_t value;
    } expected[] = {
        {SYSTOLE_REGISTER_IDENTITY, SYSTOLE_IDENTITY | UINT64_C(1) << 32},
        {SYSTOLE_REGISTER_TARGET_ID, systole_target_id(t)},
        {SYSTOLE_REGISTER_ARRAY_SHAPE,
         t->rows | (uint64_t)t->columns << 16 | (uint64_t)t->cores << 32 | (uint64_t)t->taps << 48},
        {SYSTOLE_REGISTER_MEMORY_SHAPE,
         t->scratchpad_bytes | (uint64_t)(t->banks & 0xffff) << 32 | (uint64_t)(t->accumulators & 0xffff) << 48},
        {SYSTOLE_REGISTER_PORT_SHAPE,
         t->weight_port_rows | (uint64_t)(t->link_millibytes_per_cycle & 0xffff) << 16 | (uint64_t)t->clock_hz << 32},
    };
    for (uint32_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        uint64_t value;
        if (!selftest_read_register(test, expected[i].address, &value)) {
            return false;
        }
        for (uint32_t r = 0; r < systole_register_count && value != expected[i].value; r++) {
            if (systole_registers[r].offset == expected[i].address) {
                return differs(test, &systole_registers[r], 0, "read", value, expected[i].value);
            }
        }
    }
    selftest_found(test, "%ux%u array, %u taps, %u KiB in %u banks", t->rows, t->columns, t->taps,
                   t->scratchpad_bytes / 1024, t->banks);
    return true;
}

bool selftest_reset_values(struct selftest *test) {
    uint32_t looked_at = 0;
    for (uint32_t r = 0; r < systole_register_count; r++) {
        const struct systole_register_description *d = &systole_registers[r];
        for (uint32_t i = 0; i < d->count && d->has_reset; i++, looked_at++) {
            uint64_t value;
            if (!selftest_read_register(test, d->offset + 8 * i, &value)) {
                return false;
            }
            if (value != d->reset) {
                return differs(test, d, i, "after reset", value, d->reset);
            }
        }
    }
    selftest_found(test, "%u registers", looked_at);
    return true;
}

// Writes to registers that may only be read are refused, and change nothing.
bool selftest_read_only(struct selftest *test) {
    uint32_t looked_at = 0;
    for (uint32_t r = 0; r < systole_register_count; r++) {
        const struct systole_register_description *d = &systole_registers[r];
        for (uint32_t i = 0; i < d->count && d->access == SYSTOLE_ACCESS_RO; i++, looked_at++) {
            uint32_t address = d->offset + 8 * i;
            uint64_t before, after;
            if (!selftest_read_register(test, address, &before)) {
                return false;
            }
            enum systole_status status = systole_probe_write_register(test->probe, address, ~before);
            if (status == SYSTOLE_OK) {
                return selftest_found(test, "%s[%u] at 0x%03x is read-only, and a write was accepted", d->name, i,
                                      address);
            }
            if (status != SYSTOLE_DEVICE_STALL) {
                return selftest_failed(test, status, "a write to %s[%u] at 0x%03x", d->name, i, address);
            }
            if (!selftest_read_register(test, address, &after)) {
                return false;
            }
            if (after != before && address != SYSTOLE_REGISTER_CYCLE) {
                return differs(test, d, i, "after a write that was refused", after, before);
            }
        }
    }
    selftest_found(test, "%u registers refuse", looked_at);
    return true;
}

static bool write_and_compare(struct selftest *test, const struct systole_register_description *d, uint32_t index,
                              uint64_t writable, uint64_t value) {
    uint32_t address = d->offset + 8 * index;
    uint64_t found;
    // A number in parity_flip inverts a parity bit: the second time puts it right again.
    uint32_t times = address == SYSTOLE_REGISTER_PARITY_FLIP ? 2 : 1;
    for (uint32_t i = 0; i < times; i++) {
        if (!selftest_write_register(test, address, value)) {
            return false;
        }
    }
    if (!selftest_read_register(test, address, &found)) {
        return false;
    }
    return found == (value & writable) || differs(test, d, index, "written and read back", found, value & writable);
}

// A one, then a zero, walks over every bit that can be written; all other bits stay 0.
bool selftest_walking_ones(struct selftest *test) {
    uint32_t bits = 0;
    for (uint32_t r = 0; r < systole_register_count; r++) {
        const struct systole_register_description *d = &systole_registers[r];
        uint64_t writable = 0;
        for (uint32_t f = 0; f < d->field_count; f++) {
            writable |= d->fields[f].access == SYSTOLE_ACCESS_RW ? mask_of(&d->fields[f]) : 0;
        }
        for (uint32_t i = 0; i < d->count && d->access == SYSTOLE_ACCESS_RW; i++) {
            uint64_t before;
            bool good = selftest_read_register(test, d->offset + 8 * i, &before);
            for (uint32_t bit = 0; bit < 64 && good; bit++) {
                if ((writable >> bit & 1) != 0) {
                    good = write_and_compare(test, d, i, writable, UINT64_C(1) << bit) &&
                           write_and_compare(test, d, i, writable, writable & ~(UINT64_C(1) << bit));
                    bits++;
                }
            }
            good = good && write_and_compare(test, d, i, writable, before & writable);
            if (!good) {
                return false;
            }
        }
    }
    selftest_found(test, "%u bits", bits);
    return true;
}

bool selftest_holes(struct selftest *test) {
    static const uint32_t holes[] = {0x004, 0x041, 0x028,  0x2c8,   0x3a8,     0x3f8,
                                     0x400, 0xff8, 0x1000, 0x10000, 0xfffffff8};
    for (uint32_t i = 0; i < sizeof holes / sizeof holes[0]; i++) {
        uint64_t value;
        enum systole_status status = systole_probe_read_register(test->probe, holes[i], &value);
        if (status == SYSTOLE_OK) {
            return selftest_found(test, "address 0x%03x has no register, and a read was answered", holes[i]);
        }
        if (status != SYSTOLE_DEVICE_STALL) {
            return selftest_failed(test, status, "a read of address 0x%03x", holes[i]);
        }
    }
    selftest_found(test, "%zu addresses without a register refuse", sizeof holes / sizeof holes[0]);
    return true;
}
