// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A script is lines of words. A rule draws at the beginning of each transfer of its endpoints; the fault that is drawn
// stays with the endpoint until the transfer offers the chance for it, which may be in one of the next ones.
#include "fault_injection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RULES = 256, STUCK = 32, WORDS = 8, LINE_BYTES = 256 };

#define BIT(endpoint) (1u << SYSTOLE_FAULT_##endpoint)

static const struct {
    const char *name;
    uint32_t endpoints;
} kinds[SYSTOLE_FAULT_KINDS] = {
    [SYSTOLE_FAULT_NONE] = {"none", 0},
    [SYSTOLE_FAULT_STALL] = {"stall", BIT(OUT) | BIT(IN) | BIT(EVENT) | BIT(INTERRUPT) | BIT(CONTROL)},
    [SYSTOLE_FAULT_SILENCE] = {"silence", BIT(OUT) | BIT(IN) | BIT(EVENT) | BIT(CONTROL)},
    [SYSTOLE_FAULT_SHORT] = {"short", BIT(OUT) | BIT(IN) | BIT(EVENT)},
    [SYSTOLE_FAULT_BABBLE] = {"babble", BIT(IN) | BIT(EVENT)},
    [SYSTOLE_FAULT_CORRUPT] = {"corrupt", BIT(OUT) | BIT(IN) | BIT(EVENT)},
    [SYSTOLE_FAULT_DUPLICATE] = {"duplicate", BIT(EVENT)},
    [SYSTOLE_FAULT_LOSE] = {"lose", BIT(OUT) | BIT(IN) | BIT(EVENT)},
    [SYSTOLE_FAULT_WRONG_TAG] = {"wrong_tag", BIT(IN)},
    [SYSTOLE_FAULT_LENGTH] = {"length", BIT(OUT) | BIT(IN)},
    [SYSTOLE_FAULT_SPURIOUS] = {"spurious", BIT(OUT) | BIT(IN) | BIT(EVENT)},
    [SYSTOLE_FAULT_NAK] = {"nak", BIT(OUT) | BIT(IN) | BIT(EVENT) | BIT(CONTROL)},
    [SYSTOLE_FAULT_UNPLUG] = {"unplug", BIT(OUT) | BIT(IN) | BIT(EVENT) | BIT(CONTROL)},
    [SYSTOLE_FAULT_REFUSE] = {"refuse", BIT(CONTROL)},
    [SYSTOLE_FAULT_HANG] = {"hang", BIT(OUT) | BIT(IN) | BIT(EVENT) | BIT(CONTROL)},
    [SYSTOLE_FAULT_PARITY] = {"parity", BIT(OUT) | BIT(IN) | BIT(EVENT) | BIT(CONTROL)},
    [SYSTOLE_FAULT_FLIP] = {"flip", BIT(OUT)},
};

static const char *const endpoint_names[SYSTOLE_FAULT_ENDPOINTS] = {"out", "in", "event", "interrupt", "control"};

struct rule {
    uint32_t endpoints;
    uint64_t at;                  // the transfer; 0: at random, once in `every`
    uint64_t every, seen;         // `at` counts transfers of all its endpoints together
    enum systole_fault_kind kind; // NONE: any that the endpoint can have
    uint32_t argument;
};

struct stuck {
    bool is_memory;
    uint32_t place, bit; // a register's address or a word
    bool value;
};

struct waiting {
    bool open;
    uint64_t transfers;
    enum systole_fault_kind kind;
    uint32_t argument;
};

struct systole_faults {
    struct rule rules[RULES];
    uint32_t rule_count;
    struct stuck stuck[STUCK];
    uint32_t stuck_count;
    uint64_t random;
    struct waiting endpoints[SYSTOLE_FAULT_ENDPOINTS];
    void (*tell)(void *context, const struct systole_fault_told *told);
    void *context;
};

const char *systole_fault_name(enum systole_fault_kind kind) {
    return kind < SYSTOLE_FAULT_KINDS ? kinds[kind].name : "unknown";
}

const char *systole_fault_endpoint_name(enum systole_fault_endpoint endpoint) {
    return endpoint < SYSTOLE_FAULT_ENDPOINTS ? endpoint_names[endpoint] : "unknown";
}

bool systole_fault_applies(enum systole_fault_kind kind, enum systole_fault_endpoint endpoint) {
    return kind < SYSTOLE_FAULT_KINDS && endpoint < SYSTOLE_FAULT_ENDPOINTS &&
           (kinds[kind].endpoints >> endpoint & 1) != 0;
}

bool systole_fault_is_silent(enum systole_fault_kind kind) {
    return kind == SYSTOLE_FAULT_FLIP;
}

// ---- The script.

static bool parse_number(const char *text, uint64_t limit, uint64_t *value) {
    uint64_t parsed = 0;
    bool good = *text != '\0';
    for (; *text != '\0' && good; text++) {
        good = *text >= '0' && *text <= '9' && parsed <= limit / 10;
        parsed = parsed * 10 + (good ? (uint64_t)(*text - '0') : 0);
    }
    *value = parsed;
    return good && parsed <= limit;
}

static uint32_t find_endpoints(const char *name) {
    if (strcmp(name, "data") == 0) {
        return BIT(OUT) | BIT(IN) | BIT(EVENT);
    }
    for (uint32_t i = 0; i < SYSTOLE_FAULT_ENDPOINTS; i++) {
        if (strcmp(name, endpoint_names[i]) == 0) {
            return 1u << i;
        }
    }
    return 0;
}

static bool find_kind(const char *name, enum systole_fault_kind *kind) {
    *kind = SYSTOLE_FAULT_NONE;
    if (strcmp(name, "any") == 0) {
        return true;
    }
    for (uint32_t i = 1; i < SYSTOLE_FAULT_KINDS; i++) {
        if (strcmp(name, kinds[i].name) == 0) {
            *kind = i;
            return true;
        }
    }
    return false;
}

// stuck register ADDRESS BIT VALUE, stuck memory WORD BIT VALUE; what is wrong, or NULL.
static const char *parse_stuck(struct systole_faults *faults, char *const *words, uint32_t count) {
    bool is_memory = count > 1 && strcmp(words[1], "memory") == 0;
    uint64_t bit = 0, value = 0;
    char *end = NULL;
    if (count != 5 || (!is_memory && strcmp(words[1], "register") != 0)) {
        return "stuck bits are `stuck register ADDRESS BIT VALUE` or `stuck memory WORD BIT VALUE`";
    }
    unsigned long place = strtoul(words[2], &end, 0);
    if (*end != '\0' || place > UINT32_MAX || !parse_number(words[3], is_memory ? 511 : 63, &bit) ||
        !parse_number(words[4], 1, &value)) {
        return "a stuck bit is below 64 in a register, below 512 in memory, and its value 0 or 1";
    }
    if (faults->stuck_count == STUCK) {
        return "there are too many stuck bits";
    }
    faults->stuck[faults->stuck_count++] = (struct stuck){is_memory, (uint32_t)place, (uint32_t)bit, value != 0};
    return NULL;
}

// What is wrong with the line, or NULL.
static const char *parse_line(struct systole_faults *faults, char *const *words, uint32_t count) {
    struct rule rule = {.argument = 0};
    uint64_t number = 0, argument = 0;
    if (count == 2 && strcmp(words[0], "seed") == 0) {
        if (!parse_number(words[1], UINT32_MAX, &number)) {
            return "a seed is a number below 2^32";
        }
        faults->random = number * 0x9e3779b97f4a7c15u + 0x9e3779b97f4a7c15u;
        return NULL;
    }
    if (strcmp(words[0], "stuck") == 0) {
        return parse_stuck(faults, words, count);
    }
    bool at = count > 0 && strcmp(words[0], "at") == 0;
    if (count < 4 || (!at && strcmp(words[0], "every") != 0)) {
        return "a line is `seed N`, `at N ENDPOINT KIND [ARGUMENT]`, `every N ENDPOINT KIND [ARGUMENT]` or `stuck ...`";
    }
    if (!parse_number(words[1], UINT32_MAX, &number) || number == 0) {
        return "transfers are counted from 1";
    }
    rule.at = at ? number : 0;
    rule.every = number;
    rule.endpoints = find_endpoints(words[2]);
    if (rule.endpoints == 0) {
        return "an endpoint is out, in, event, interrupt, control or data (the first three)";
    }
    if (!find_kind(words[3], &rule.kind)) {
        return "this kind of fault is not known";
    }
    if (rule.kind != SYSTOLE_FAULT_NONE && (kinds[rule.kind].endpoints & rule.endpoints) == 0) {
        return "this endpoint cannot have such a fault";
    }
    if (count == 5 && strcmp(words[4], "forever") == 0 && rule.kind == SYSTOLE_FAULT_UNPLUG) {
        argument = SYSTOLE_FAULT_FOREVER;
    } else if (count > 5 || (count == 5 && !parse_number(words[4], 100000000, &argument))) {
        return "the argument is one number below 100000000 (for unplug also `forever`)";
    }
    rule.argument = (uint32_t)argument;
    if (faults->rule_count == RULES) {
        return "there are too many lines";
    }
    faults->rules[faults->rule_count++] = rule;
    return NULL;
}

static uint32_t split(char *line, char **words) {
    uint32_t count = 0;
    char *rest = NULL;
    line[strcspn(line, "#")] = '\0';
    for (char *word = strtok_r(line, " \t\r", &rest); word != NULL && count < WORDS;
         word = strtok_r(NULL, " \t\r", &rest)) {
        words[count++] = word;
    }
    return count;
}

enum systole_status systole_faults_parse(const char *script, size_t size, const char *name,
                                         struct systole_faults **faults, struct systole_diagnostic *diagnostic) {
    struct systole_faults *made = calloc(1, sizeof *made);
    const char *wrong = NULL;
    uint32_t number = 0;
    *faults = NULL;
    if (made == NULL) {
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, name, "", "no memory for a fault script");
    }
    made->random = 0x9e3779b97f4a7c15u;
    for (size_t at = 0; at < size && wrong == NULL;) {
        const char *end = memchr(script + at, '\n', size - at);
        size_t length = end == NULL ? size - at : (size_t)(end - script) - at;
        char line[LINE_BYTES];
        char *words[WORDS];
        number++;
        if (length >= sizeof line || memchr(script + at, '\0', length) != NULL) {
            wrong = "this is not a line of text";
        } else {
            memcpy(line, script + at, length);
            line[length] = '\0';
            uint32_t count = split(line, words);
            wrong = count == 0 ? NULL : parse_line(made, words, count);
        }
        at += length + 1;
    }
    if (wrong != NULL) {
        free(made);
        return systole_fail(diagnostic, SYSTOLE_BAD_FILE, name, "docs/faults.md has the format", "line %u: %s", number,
                            wrong);
    }
    *faults = made;
    return SYSTOLE_OK;
}

void systole_faults_free(struct systole_faults *faults) {
    free(faults);
}

void systole_faults_observe(struct systole_faults *faults,
                            void (*tell)(void *context, const struct systole_fault_told *told), void *context) {
    faults->tell = tell;
    faults->context = context;
}

// ---- Transfers.

uint64_t systole_faults_stuck_register(const struct systole_faults *faults, uint32_t address, uint64_t value) {
    for (uint32_t i = 0; faults != NULL && i < faults->stuck_count; i++) {
        const struct stuck *stuck = &faults->stuck[i];
        if (!stuck->is_memory && stuck->place == address) {
            value = (value & ~(UINT64_C(1) << stuck->bit)) | (uint64_t)stuck->value << stuck->bit;
        }
    }
    return value;
}

void systole_faults_stuck_memory(const struct systole_faults *faults, uint32_t columns, uint32_t word, uint64_t offset,
                                 uint8_t *bytes, size_t size) {
    for (uint32_t i = 0; faults != NULL && i < faults->stuck_count; i++) {
        const struct stuck *stuck = &faults->stuck[i];
        uint64_t at = (uint64_t)stuck->place * columns + stuck->bit / 8, first = (uint64_t)word * columns + offset;
        if (stuck->is_memory && stuck->bit < 8 * columns && at >= first && at - first < size) {
            uint8_t mask = (uint8_t)(1u << stuck->bit % 8);
            bytes[at - first] = (uint8_t)((bytes[at - first] & ~mask) | (stuck->value ? mask : 0));
        }
    }
}

uint32_t systole_faults_random(struct systole_faults *faults, uint32_t below) {
    faults->random ^= faults->random << 13;
    faults->random ^= faults->random >> 7;
    faults->random ^= faults->random << 17;
    return (uint32_t)((faults->random >> 32) % below);
}

static enum systole_fault_kind any_kind(struct systole_faults *faults, enum systole_fault_endpoint endpoint) {
    enum systole_fault_kind able[SYSTOLE_FAULT_KINDS] = {SYSTOLE_FAULT_NONE};
    uint32_t count = 0;
    for (uint32_t i = 1; i < SYSTOLE_FAULT_KINDS; i++) {
        if (systole_fault_applies(i, endpoint) && !systole_fault_is_silent(i)) {
            able[count++] = i;
        }
    }
    return count == 0 ? SYSTOLE_FAULT_NONE : able[systole_faults_random(faults, count)];
}

enum systole_fault_kind systole_faults_begin(struct systole_faults *faults, enum systole_fault_endpoint endpoint) {
    if (faults == NULL) {
        return SYSTOLE_FAULT_NONE;
    }
    struct waiting *waiting = &faults->endpoints[endpoint];
    if (waiting->open) {
        return waiting->kind;
    }
    waiting->open = true;
    waiting->transfers++;
    for (uint32_t i = 0; i < faults->rule_count; i++) {
        struct rule *rule = &faults->rules[i];
        if ((rule->endpoints >> endpoint & 1) == 0) {
            continue;
        }
        bool drawn =
            rule->at != 0 ? ++rule->seen == rule->at : systole_faults_random(faults, (uint32_t)rule->every) == 0;
        bool able = rule->kind == SYSTOLE_FAULT_NONE || systole_fault_applies(rule->kind, endpoint);
        if (drawn && able && waiting->kind == SYSTOLE_FAULT_NONE) {
            waiting->kind = rule->kind == SYSTOLE_FAULT_NONE ? any_kind(faults, endpoint) : rule->kind;
            waiting->argument = rule->argument;
        }
    }
    return waiting->kind;
}

uint32_t systole_faults_argument(const struct systole_faults *faults, enum systole_fault_endpoint endpoint) {
    return faults->endpoints[endpoint].argument;
}

uint32_t systole_faults_strike(struct systole_faults *faults, enum systole_fault_endpoint endpoint) {
    struct waiting *waiting = &faults->endpoints[endpoint];
    uint32_t argument = waiting->argument;
    struct systole_fault_told told = {waiting->kind, endpoint, waiting->transfers};
    waiting->kind = SYSTOLE_FAULT_NONE;
    waiting->argument = 0;
    if (faults->tell != NULL) {
        faults->tell(faults->context, &told);
    }
    return argument;
}

void systole_faults_end(struct systole_faults *faults, enum systole_fault_endpoint endpoint) {
    if (faults != NULL) {
        faults->endpoints[endpoint].open = false;
    }
}
