// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Where segments lie in the scratchpad. What must stay (program, parameters, inputs, outputs) is placed first fit from
// the bottom; activations live only while a run does and only one run does at a time, so all segments share one
// area at the top, as large as the largest needs. Windows begin in bank 0, where the compiler assumed them.
#include <string.h>

#include "driver_state.h"
#include "target.h"

static uint64_t round_up(const struct systole_driver *driver, uint32_t words) {
    uint64_t banks = driver->target.banks;
    return (words + banks - 1) / banks * banks;
}

// The end of a resident window that overlaps [base, base + words), rounded up; 0: none does.
static uint64_t overlap_end(const struct systole_driver *driver, uint64_t base, uint64_t words) {
    for (uint32_t i = 0; i < driver->loaded_count; i++) {
        const struct driver_loaded *loaded = &driver->loaded[i];
        for (uint32_t r = 0; loaded->segment != NULL && loaded->resident && r <= SYSTOLE_REGIONS; r++) {
            const struct systole_region_window *window =
                r == SYSTOLE_REGIONS ? &loaded->second_input : &loaded->windows[r];
            uint64_t end = window->base + round_up(driver, window->words);
            if (r != SYSTOLE_REGION_ACTIVATIONS && window->words != 0 && window->base < base + words && base < end) {
                return end;
            }
        }
    }
    return 0;
}

static bool place(const struct systole_driver *driver, uint32_t words, uint64_t limit,
                  struct systole_region_window *window) {
    uint64_t base = 0, size = round_up(driver, words), next;
    while ((next = overlap_end(driver, base, size)) != 0) {
        base = next;
    }
    if (base + size > limit) {
        return false;
    }
    window->base = (uint32_t)base;
    window->words = words;
    return true;
}

// `loaded` is an entry of driver->loaded with its segment set.
bool driver_place(struct systole_driver *driver, struct driver_loaded *loaded) {
    static const uint8_t order[] = {SYSTOLE_REGION_PARAMETERS, SYSTOLE_REGION_PROGRAM, SYSTOLE_REGION_OUTPUT,
                                    SYSTOLE_REGION_INPUT};
    const uint32_t *needed = loaded->segment->region_words;
    uint64_t total = systole_target_words(&driver->target), shared = 0;
    memset(loaded->windows, 0, sizeof loaded->windows);
    loaded->second_input = (struct systole_region_window){0, 0};
    loaded->resident = true; // its own windows count from here
    for (uint32_t i = 0; i < driver->loaded_count; i++) {
        if (driver->loaded[i].segment != NULL && driver->loaded[i].resident) {
            uint64_t words = round_up(driver, driver->loaded[i].segment->region_words[SYSTOLE_REGION_ACTIVATIONS]);
            shared = words > shared ? words : shared;
        }
    }
    bool fits = shared <= total && overlap_end(driver, total - shared, shared) == 0;
    uint64_t limit = fits ? total - shared : 0;
    for (uint32_t i = 0; i < sizeof order && fits; i++) {
        fits = place(driver, needed[order[i]], limit, &loaded->windows[order[i]]);
    }
    if (!fits) {
        memset(loaded->windows, 0, sizeof loaded->windows);
        loaded->resident = false;
        return false;
    }
    loaded->windows[SYSTOLE_REGION_ACTIVATIONS].base = (uint32_t)limit;
    loaded->windows[SYSTOLE_REGION_ACTIVATIONS].words = needed[SYSTOLE_REGION_ACTIVATIONS];
    if (needed[SYSTOLE_REGION_INPUT] == 0 ||
        !place(driver, needed[SYSTOLE_REGION_INPUT], limit, &loaded->second_input)) {
        loaded->second_input.words = 0;
    }
    return true;
}

// A request holds its segment from the moment its inputs are on their way.
static bool in_use(const struct systole_driver *driver, uint32_t index) {
    const struct driver_request *request = driver->first;
    while (request != NULL && (request->loaded != index || request->phase == DRIVER_QUEUED)) {
        request = request->next;
    }
    return request != NULL;
}

static struct driver_loaded *find_victim(struct systole_driver *driver, const struct driver_loaded *for_whom) {
    struct driver_loaded *victim = NULL;
    for (uint32_t i = 0; i < driver->loaded_count; i++) {
        struct driver_loaded *loaded = &driver->loaded[i];
        if (loaded->segment != NULL && loaded->resident && loaded != for_whom && !in_use(driver, i) &&
            (victim == NULL || loaded->used < victim->used)) {
            victim = loaded;
        }
    }
    return victim;
}

bool driver_make_resident(struct systole_driver *driver, struct driver_loaded *loaded) {
    struct driver_loaded *victim;
    loaded->used = ++driver->uses;
    while (!loaded->resident && !driver_place(driver, loaded) && (victim = find_victim(driver, loaded)) != NULL) {
        // Frames that still bring it lie before those of what takes its place.
        victim->resident = victim->uploaded = false;
        memset(victim->windows, 0, sizeof victim->windows);
        victim->second_input = (struct systole_region_window){0, 0};
        driver->statistics.evictions++;
    }
    return loaded->resident;
}

enum systole_status driver_check_size(const struct systole_driver *driver, const struct systole_segment *segment,
                                      struct systole_diagnostic *diagnostic) {
    static const uint8_t regions[] = {SYSTOLE_REGION_PARAMETERS, SYSTOLE_REGION_PROGRAM, SYSTOLE_REGION_OUTPUT,
                                      SYSTOLE_REGION_INPUT, SYSTOLE_REGION_ACTIVATIONS};
    const uint32_t *needed = segment->region_words;
    uint64_t total = systole_target_words(&driver->target), sum = 0;
    for (uint32_t i = 0; i < sizeof regions; i++) {
        sum += round_up(driver, needed[regions[i]]);
    }
    return sum <= total
               ? SYSTOLE_OK
               : systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, driver->target.name,
                              "compile for a target with a larger scratchpad",
                              "no room: program %u, parameters %u, activations %u, inputs %u and outputs %u words in a "
                              "scratchpad of %llu",
                              needed[SYSTOLE_REGION_PROGRAM], needed[SYSTOLE_REGION_PARAMETERS],
                              needed[SYSTOLE_REGION_ACTIVATIONS], needed[SYSTOLE_REGION_INPUT],
                              needed[SYSTOLE_REGION_OUTPUT], (unsigned long long)total);
}
