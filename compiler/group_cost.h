// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What a group of operations takes: memory, cycles of its units, words over the link, commands.
#ifndef SYSTOLE_GROUP_COST_H
#define SYSTOLE_GROUP_COST_H

#include "spill.h"

#define LONGEST_GROUP 24u

struct geometry; // group_cost.c
// By height, roomy and lean.
struct known_group {
    struct geometry *heights;
};

struct planner {
    struct compilation *c;
    struct segment_plan *segment;
    uint32_t *producer, *reader; // positions of a storage's producer and last reader; producer SPILL_NONE: none inside
    uint32_t whole_limit;        // larger maps are not whole between groups
    uint32_t resident_words;     // of parameters
    uint32_t budget;             // words for maps and streamed parameters
    uint32_t chunk_words;
    uint32_t fixed_words;      // of inputs and outputs
    uint32_t known_limit;      // whole_limit of `known`
    struct known_group *known; // by first operation and length: for each height, roomy and lean
};

// What a group costs.
struct estimate {
    bool fits, is_lean;
    uint32_t stripes;
    uint64_t cycles, link_in, link_out, commands, memory;
    uint64_t local; // the longest of cycles and of the link's with maps, which do not wait for other groups
};

bool group_is_fixed(const struct planner *p, const struct storage *s);
// Where a storage is when operations first .. last-1 are a group.
uint8_t group_home_of(const struct planner *p, uint32_t storage, uint32_t first, uint32_t last);
// Whether a group keeps an operation's parameters from its first stripe to its last.
bool group_holds(const struct planner *p, uint32_t first, uint32_t last, uint32_t stripes, uint32_t position);
// The group in the fewest stripes with which it fits.
struct estimate group_estimate(struct planner *p, uint32_t first, uint32_t last);
uint64_t group_cost_of(const struct estimate *e);

#endif
