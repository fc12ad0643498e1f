// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The commands of `systole debug`, and how the device goes on after each. The driver calls when the device is still
// before a command (debugger_stopped); there commands are read until one lets it go on. Breakpoints live here, by
// segment or operator, and are written to the device before every run.
#include <stdlib.h>
#include <string.h>

#include "debugger.h"

// ---- Breakpoints.

static uint64_t register_of(const struct debugger *d, const struct debugger_breakpoint *b) {
    if (!b->is_used || d->quits || (!b->on_operator && b->segment != d->segment_index)) {
        return 0;
    }
    return b->on_operator ? SYSTOLE_BREAKPOINT_ON_OPERATOR | (uint64_t)(b->index & 0xffff) << 32
                          : SYSTOLE_BREAKPOINT_ON_COMMAND | b->index;
}

static bool write_debug(struct debugger *d, uint32_t address, uint64_t value) {
    enum systole_status status = systole_driver_write_register(d->driver, address, value);
    return status == SYSTOLE_OK ||
           debugger_complain(d, "the register at 0x%03x cannot be written: %s", address, systole_status_name(status));
}

static bool write_breakpoints(struct debugger *d) {
    bool good = true;
    for (uint32_t i = 0; i < SYSTOLE_BREAKPOINT_COUNT && good; i++) {
        good = write_debug(d, SYSTOLE_REGISTER_BREAKPOINT + 8 * i, register_of(d, &d->breakpoints[i]));
    }
    return good;
}

static bool show_breakpoints(const struct debugger *d) {
    for (uint32_t i = 0; i < SYSTOLE_BREAKPOINT_COUNT; i++) {
        const struct debugger_breakpoint *b = &d->breakpoints[i];
        if (b->is_used && b->on_operator) {
            printf("%u: operator %u, %s\n", i, b->index, systole_operator_name(d->graph->operators[b->index].code));
        } else if (b->is_used) {
            printf("%u: command %u of segment %u\n", i, b->index, b->segment);
        }
    }
    return true;
}

static bool add_breakpoint(struct debugger *d, bool on_operator, const char *text) {
    struct debugger_breakpoint b = {.is_used = true, .on_operator = on_operator};
    uint64_t segment = d->segment != NULL ? d->segment_index : 0, index = 0;
    const char *colon = strchr(text, ':');
    if (on_operator) {
        if (!debugger_find_operator(d, text, &b.index)) {
            return false;
        }
        const struct systole_operator_info *info = &d->program->operators[b.index];
        bool has_command = false;
        for (uint32_t s = 0; s < d->program->segment_count; s++) {
            for (uint32_t i = 0; i < d->program->segments[s].command_count; i++) {
                has_command |= d->program->segments[s].commands[i].header.operator_index == b.index &&
                               d->program->segments[s].info[i].operator_index == (int32_t)b.index;
            }
        }
        if (!has_command) {
            return debugger_complain(d, "operator %u (%s) has no commands of its own: %s", b.index, info->name,
                                     info->place == SYSTOLE_PLACE_CPU ? "it runs on the CPU" : info->reason);
        }
    } else {
        char number[16] = "";
        if (colon != NULL && (size_t)(colon - text) < sizeof number) {
            memcpy(number, text, (size_t)(colon - text));
        }
        if ((colon != NULL && !debugger_number(number, UINT32_MAX, &segment)) || segment >= d->program->segment_count ||
            !debugger_number(colon != NULL ? colon + 1 : text, d->program->segments[segment].command_count - 1,
                             &index)) {
            return debugger_complain(d, "break command [SEGMENT:]N: there is no command %s", text);
        }
        b.segment = (uint32_t)segment;
        b.index = (uint32_t)index;
    }
    for (uint32_t i = 0; i < SYSTOLE_BREAKPOINT_COUNT; i++) {
        if (!d->breakpoints[i].is_used) {
            d->breakpoints[i] = b;
            printf("breakpoint %u\n", i);
            return !d->is_running || write_breakpoints(d);
        }
    }
    return debugger_complain(d, "the device has %u breakpoints; delete one", SYSTOLE_BREAKPOINT_COUNT);
}

static bool delete_breakpoint(struct debugger *d, const char *text) {
    uint64_t index = 0;
    if (text != NULL &&
        (!debugger_number(text, SYSTOLE_BREAKPOINT_COUNT - 1, &index) || !d->breakpoints[index].is_used)) {
        return debugger_complain(d, "there is no breakpoint %s", text);
    }
    for (uint32_t i = 0; i < SYSTOLE_BREAKPOINT_COUNT; i++) {
        if (text == NULL || i == index) {
            d->breakpoints[i].is_used = false;
        }
    }
    return !d->is_running || write_breakpoints(d);
}

// ---- What the driver calls.

static void note_run(struct debugger *d, const struct systole_segment *segment, const struct systole_request *request) {
    d->segment = segment;
    d->segment_index = (uint32_t)(segment - d->program->segments);
    d->token = request->token;
    memcpy(d->windows, request->windows, sizeof d->windows);
    d->is_running = true;
}

static void launching(void *context, struct systole_driver *driver, const struct systole_segment *segment,
                      const struct systole_request *request) {
    struct debugger *d = context;
    (void)driver;
    note_run(d, segment, request);
    d->has_failed = false;
    memset(d->retired, 0, sizeof d->retired);
    (void)write_breakpoints(d);
    bool hold = !d->quits && (d->steps != 0 || d->step_operator);
    (void)write_debug(d, SYSTOLE_REGISTER_DEBUG_CONTROL, hold ? SYSTOLE_DEBUG_CONTROL_HOLD : 0);
}

static void print_stop(struct debugger *d) {
    uint64_t state = 0, cycles = 0;
    (void)systole_driver_read_register(d->driver, SYSTOLE_REGISTER_DEBUG_STATE, &state);
    (void)systole_driver_read_register(d->driver, SYSTOLE_REGISTER_RUN_CYCLES, &cycles);
    uint32_t operation = d->segment->commands[d->held].header.operator_index;
    printf("stopped in segment %u before command %u of %u, operator %u %s, %llu cycles", d->segment_index, d->held,
           d->segment->command_count, operation,
           operation < d->program->operator_count ? d->program->operators[operation].name : "?",
           (unsigned long long)cycles);
    for (uint32_t i = 0; i < SYSTOLE_BREAKPOINT_COUNT; i++) {
        if ((state >> (8 + i) & 1) != 0) {
            printf(", breakpoint %u", i);
        }
    }
    printf("\n");
    debugger_print_command(d, d->held, "=> ");
}

static void go_on(struct debugger *d) {
    bool hold = !d->quits && (d->steps != 0 || d->step_operator);
    (void)write_debug(d, SYSTOLE_REGISTER_DEBUG_CONTROL,
                      SYSTOLE_DEBUG_CONTROL_GO | (hold ? SYSTOLE_DEBUG_CONTROL_HOLD : 0));
}

static void stopped(void *context, struct systole_driver *driver, const struct systole_segment *segment,
                    const struct systole_request *request, const struct systole_diagnostic *failure) {
    struct debugger *d = context;
    uint64_t state = 0;
    note_run(d, segment, request);
    if (failure != NULL) {
        printf("the device has failed: %s (%s)\n", failure->what, failure->where);
        d->has_failed = true;
        d->is_running = false;
        d->steps = 0;
        d->step_operator = false;
        (void)debugger_look(d);
        if (!d->quits) {
            (void)debugger_read_commands(d);
        }
        return;
    }
    if (systole_driver_read_register(driver, SYSTOLE_REGISTER_DEBUG_STATE, &state) != SYSTOLE_OK ||
        (state & SYSTOLE_DEBUG_STATE_STILL) == 0) {
        return; // the driver will find out why
    }
    d->held = (uint32_t)(state >> 32);
    bool at_breakpoint = (state & 0xf00) != 0;
    if (d->held >= segment->command_count || !debugger_look(d)) {
        d->quits = true;
    }
    if (d->steps > 1 && !at_breakpoint && !d->is_interrupted) {
        d->steps--;
    } else if (d->step_operator && !at_breakpoint && !d->is_interrupted &&
               segment->info[d->held].operator_index == d->last_operator) {
        // go on within the operator
    } else if (!d->quits) {
        d->steps = 0;
        d->step_operator = false;
        d->is_interrupted = false;
        print_stop(d);
        (void)debugger_read_commands(d);
    }
    go_on(d);
}

// ---- Commands.

static bool step(struct debugger *d, const char *count) {
    uint64_t steps = 1;
    if (count != NULL && (!debugger_number(count, UINT32_MAX, &steps) || steps == 0)) {
        return debugger_complain(d, "%s is no number of commands", count);
    }
    d->steps = steps;
    return true;
}

static void help(void) {
    printf(
        "run                          an inference, up to a breakpoint; with `step` or `next` before it, held at once\n"
        "break command [SEGMENT:]N    hold before that command (b N)\n"
        "break operator O             hold before the first command of an operator, by index or name of its tensor\n"
        "breakpoints, delete [N]      list them; delete one or all\n"
        "continue, step [N], next     go on; N commands; up to the next operator (c, s, n)\n"
        "where, list [FIRST [COUNT]]  the command that is held; commands around it (* has retired)\n"
        "units                        queues, tokens, and the next command of each unit\n"
        "tensors                      where the run's tensors lie, and how much of them is written\n"
        "print T, dump T FILE         a tensor's elements; . is not written yet\n"
        "compare T, box [N]           T with what the CPU computes; what command N wrote (before the held one)\n"
        "memory PLACE [COUNT]         words; PLACE is a word or REGION:OFFSET (x)\n"
        "registers [NAME[[N]]]        registers with their fields (reg)\n"
        "set NAME[[N]] VALUE          writes a register\n"
        "output                       the inference's outputs against the CPU's\n"
        "source FILE, help, quit      a file of commands; this; let the run end and leave\n");
}

static uint32_t split(char *line, char **words) {
    uint32_t count = 0;
    char *rest = NULL;
    line[strcspn(line, "#\r\n")] = '\0';
    for (char *word = strtok_r(line, " \t", &rest); word != NULL && count < DEBUGGER_WORDS;
         word = strtok_r(NULL, " \t", &rest)) {
        words[count++] = word;
    }
    return count;
}

static bool is(const char *word, const char *full, const char *abbreviation) {
    return strcmp(word, full) == 0 || strcmp(word, abbreviation) == 0;
}

static void where(struct debugger *d) {
    if (d->segment == NULL) {
        printf("nothing has run yet\n");
    } else if (d->is_running) {
        print_stop(d);
    } else {
        printf("%s; the last was segment %u\n", d->has_failed ? "a run has failed" : "no run is held",
               d->segment_index);
    }
}

// Everything that shows or sets something; false: not known.
static bool look(struct debugger *d, char **words, uint32_t count) {
    const char *first = count > 1 ? words[1] : NULL, *second = count > 2 ? words[2] : NULL;
    if (is(words[0], "registers", "reg")) {
        (void)debugger_show_registers(d, first);
    } else if (strcmp(words[0], "set") == 0 && second != NULL) {
        (void)debugger_set_register(d, first, second);
    } else if (is(words[0], "memory", "x") && first != NULL) {
        (void)debugger_show_memory(d, first, second);
    } else if (strcmp(words[0], "units") == 0) {
        (void)debugger_show_units(d);
    } else if (is(words[0], "list", "l")) {
        (void)debugger_list(d, first, second);
    } else if (strcmp(words[0], "tensors") == 0) {
        (void)debugger_show_tensors(d);
    } else if (is(words[0], "print", "p") && first != NULL) {
        (void)debugger_print_tensor(d, first);
    } else if (strcmp(words[0], "dump") == 0 && second != NULL) {
        (void)debugger_dump_tensor(d, first, second);
    } else if (strcmp(words[0], "compare") == 0 && first != NULL) {
        (void)debugger_compare_tensor(d, first);
    } else if (strcmp(words[0], "box") == 0) {
        (void)debugger_compare_box(d, first);
    } else if (strcmp(words[0], "where") == 0) {
        where(d);
    } else if (strcmp(words[0], "output") == 0) {
        (void)debugger_compare_outputs(d);
    } else if (strcmp(words[0], "help") == 0) {
        help();
    } else {
        return false;
    }
    return true;
}

// What lets the device go on.
static enum debugger_next go(struct debugger *d, const char *word, const char *count) {
    bool steps = is(word, "step", "s"), next = is(word, "next", "n"), runs = strcmp(word, "run") == 0;
    if (!steps && !next && !runs && !is(word, "continue", "c")) {
        debugger_tell(d, "%s: not known, or an argument is missing; `help` lists the commands", word);
        return DEBUGGER_READ;
    }
    if (runs && d->is_running) {
        debugger_tell(d, "a run is held; `continue` lets it go on");
        return DEBUGGER_READ;
    }
    if (!d->is_running && !d->has_failed && is(word, "continue", "c")) {
        debugger_tell(d, "no run is held; `run` begins an inference");
        return DEBUGGER_READ;
    }
    if (steps && !step(d, count)) {
        return DEBUGGER_READ;
    }
    if (next) {
        d->step_operator = true;
        d->last_operator = d->is_running ? d->segment->info[d->held].operator_index : -1;
    }
    return d->is_running || d->has_failed ? DEBUGGER_RESUME : DEBUGGER_RUN;
}

enum debugger_next debugger_execute(struct debugger *d, char *line) {
    char *words[DEBUGGER_WORDS];
    uint32_t count = split(line, words);
    const char *first = count > 1 ? words[1] : NULL, *second = count > 2 ? words[2] : NULL;
    if (count == 0 || look(d, words, count)) {
        return DEBUGGER_READ;
    }
    if (is(words[0], "quit", "q")) {
        d->quits = true;
        if (d->is_running) {
            (void)write_breakpoints(d); // none
        }
        return DEBUGGER_QUIT;
    }
    if (is(words[0], "break", "b") && first != NULL) {
        bool on_operator = strcmp(first, "operator") == 0, on_command = strcmp(first, "command") == 0;
        const char *what = on_operator || on_command ? second : first;
        if (what == NULL) {
            debugger_tell(d, "break %s WHICH?", first);
        } else {
            (void)add_breakpoint(d, on_operator, what);
        }
    } else if (strcmp(words[0], "breakpoints") == 0) {
        (void)show_breakpoints(d);
    } else if (strcmp(words[0], "delete") == 0) {
        (void)delete_breakpoint(d, first);
    } else if (strcmp(words[0], "source") == 0 && first != NULL) {
        debugger_source(d, first);
    } else {
        return go(d, words[0], first);
    }
    return DEBUGGER_READ;
}

void debugger_hold(struct debugger *d) {
    if (d->is_running && !d->is_interrupted) {
        d->is_interrupted = true;
        (void)write_debug(d, SYSTOLE_REGISTER_DEBUG_CONTROL, SYSTOLE_DEBUG_CONTROL_HOLD);
    }
}

void debugger_hooks(struct debugger *d, struct systole_debugger *hooks) {
    *hooks = (struct systole_debugger){.launching = launching, .stopped = stopped, .context = d};
}
