// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Tensors while a run is held: which boxes of them the commands that have retired wrote, where they lie, what they
// hold, and whether that is what the CPU computes. Only elements that were written count; what another tensor has been
// written over since is told.
#include <stdlib.h>
#include <string.h>

#include "debugger.h"

bool debugger_has_retired(const struct debugger *d, uint32_t command) {
    uint32_t unit = d->segment->commands[command].header.unit;
    uint64_t before = 0;
    for (uint32_t i = 0; i < command; i++) {
        before += d->segment->commands[i].header.unit == unit;
    }
    return unit < SYSTOLE_UNITS && before < d->retired[unit];
}

static int32_t find_tensor(struct debugger *d, const char *name) {
    uint64_t number;
    for (uint32_t t = 0; t < d->graph->tensor_count; t++) {
        if (strcmp(d->graph->tensors[t].name, name) == 0) {
            return (int32_t)t;
        }
    }
    if (debugger_number(name, d->graph->tensor_count - 1, &number)) {
        return (int32_t)number;
    }
    debugger_tell(d, "no tensor is called %s; `tensors` lists those of the run", name);
    return -1;
}

bool debugger_find_operator(struct debugger *d, const char *name, uint32_t *index) {
    uint64_t number;
    if (debugger_number(name, d->graph->operator_count - 1, &number)) {
        *index = (uint32_t)number;
        return true;
    }
    for (uint32_t o = 0; o < d->graph->operator_count; o++) {
        for (uint32_t k = 0; k < d->graph->operators[o].output_count; k++) {
            if (strcmp(d->graph->tensors[d->graph->operators[o].outputs[k]].name, name) == 0) {
                *index = o;
                return true;
            }
        }
    }
    return debugger_complain(d, "no operator is %s or makes a tensor of that name; there are 0 to %u", name,
                             d->graph->operator_count - 1);
}

static const struct systole_placement *placement_of(const struct debugger *d, int32_t tensor) {
    const struct systole_segment *s = d->segment;
    for (uint32_t i = 0; i < s->tensor_count; i++) {
        if (s->tensors[i].tensor_index == tensor) {
            return &s->tensors[i].placement;
        }
    }
    for (uint32_t i = 0; i < s->input_count; i++) {
        if (s->inputs[i].tensor_index == tensor) {
            return &s->inputs[i].placement;
        }
    }
    return NULL;
}

static bool is_input(const struct debugger *d, int32_t tensor) {
    for (uint32_t i = 0; i < d->segment->input_count; i++) {
        if (d->segment->inputs[i].tensor_index == tensor) {
            return true;
        }
    }
    return false;
}

// Elements that are there, a byte each; NULL: no memory. *count of them; *last the last command that wrote one.
static uint8_t *find_written(struct debugger *d, int32_t tensor, const struct systole_placement *p, uint64_t *count,
                             uint32_t *last) {
    size_t size = (size_t)p->height * p->width * p->channels;
    uint8_t *written = calloc(size + 1, 1);
    *count = 0;
    *last = 0;
    if (written == NULL) {
        return NULL;
    }
    memset(written, is_input(d, tensor), size);
    for (uint32_t i = 0; i < d->segment->command_count; i++) {
        const struct systole_command_info *b = &d->segment->info[i];
        if (b->tensor_index != tensor || b->y1 > p->height || b->x1 > p->width || b->c1 > p->channels ||
            !debugger_has_retired(d, i)) {
            continue;
        }
        *last = i;
        for (uint32_t y = b->y0; y<b->y1; y += b->y_step> 1 ? b->y_step : 1) {
            for (uint32_t x = b->x0; x<b->x1; x += b->x_step> 1 ? b->x_step : 1) {
                if (b->c0 < b->c1) {
                    memset(written + ((size_t)y * p->width + x) * p->channels + b->c0, 1, b->c1 - b->c0);
                }
            }
        }
    }
    for (size_t i = 0; i < size; i++) {
        *count += written[i];
    }
    return written;
}

// A tensor that lies where this one did and was written later; -1: none.
static int32_t find_successor(const struct debugger *d, int32_t tensor, const struct systole_placement *p,
                              uint32_t last) {
    const struct systole_segment *s = d->segment;
    uint32_t columns = d->program->target.columns;
    for (uint32_t i = last + 1; i < s->command_count; i++) {
        int32_t other = s->info[i].tensor_index;
        const struct systole_placement *q = other < 0 || other == tensor ? NULL : placement_of(d, other);
        if (q != NULL && q->address >> 28 == p->address >> 28 && debugger_has_retired(d, i) &&
            q->address < p->address + systole_placement_words(p, columns) &&
            p->address < q->address + systole_placement_words(q, columns)) {
            return other;
        }
    }
    return -1;
}

bool debugger_show_tensors(struct debugger *d) {
    if (d->segment == NULL) {
        return debugger_complain(d, "nothing has run yet");
    }
    printf("tensor                           shape               place               elements written\n");
    for (uint32_t i = 0; i < d->segment->tensor_count; i++) {
        int32_t tensor = d->segment->tensors[i].tensor_index;
        const struct systole_placement *p = &d->segment->tensors[i].placement;
        const struct systole_tensor *t = &d->graph->tensors[tensor];
        char shape[64], place[64];
        uint64_t count;
        uint32_t last;
        uint8_t *written = find_written(d, tensor, p, &count, &last);
        if (written == NULL) {
            return debugger_complain(d, "no memory");
        }
        free(written);
        cli_format_shape(t, shape, sizeof shape);
        if (p->address >> 28 < SYSTOLE_REGION_HOST) {
            (void)snprintf(place, sizeof place, "%s:%u", systole_region_name(p->address >> 28), p->address & 0xfffffff);
        } else {
            (void)snprintf(place, sizeof place, "in parts");
        }
        printf("%3d %-28.28s %-19s %-19s %llu of %zu", tensor, t->name, shape, place, (unsigned long long)count,
               t->size);
        int32_t successor = count == 0 ? -1 : find_successor(d, tensor, p, last);
        if (successor >= 0) {
            printf(", then %s", d->graph->tensors[successor].name);
        }
        printf("\n");
    }
    return true;
}

struct contents {
    int32_t tensor;
    const struct systole_tensor *about;
    uint8_t *bytes, *written; // dense
    uint64_t count;           // written
    int32_t successor;
};

// Reads the elements that are there from the scratchpad, word by word.
static bool read_words(struct debugger *d, const struct systole_placement *p, struct contents *c) {
    uint32_t columns = d->program->target.columns;
    uint64_t base = (uint64_t)d->windows[p->address >> 28].base + (p->address & 0xfffffff), known = UINT64_MAX;
    uint8_t word[64] = {0};
    size_t element = 0;
    for (uint32_t y = 0; y < p->height; y++) {
        for (uint32_t x = 0; x < p->width; x++) {
            for (uint32_t ch = 0; ch < p->channels; ch++, element++) {
                uint64_t at = base + (uint64_t)y * p->row_stride, lane = ch % columns;
                if (!c->written[element]) {
                    continue;
                }
                if (p->layout == SYSTOLE_LAYOUT_PACKED) {
                    uint64_t byte = (uint64_t)x * p->channels + ch;
                    at += byte / columns;
                    lane = byte % columns;
                } else {
                    at += (uint64_t)(ch / columns) * p->tile_stride + (uint64_t)x * p->pixel_stride;
                }
                if (at != known) {
                    bool parity;
                    enum systole_status status = systole_driver_peek(d->driver, (uint32_t)at, word, &parity);
                    if (status != SYSTOLE_OK) {
                        return debugger_complain(d, "word %llu cannot be read: %s", (unsigned long long)at,
                                                 systole_status_name(status));
                    }
                    known = at;
                }
                c->bytes[element] = word[lane];
            }
        }
    }
    return true;
}

static void free_contents(struct contents *c) {
    free(c->bytes);
    free(c->written);
}

static bool read_contents(struct debugger *d, const char *name, struct contents *c) {
    uint32_t last;
    memset(c, 0, sizeof *c);
    c->tensor = find_tensor(d, name);
    if (c->tensor < 0) {
        return false;
    }
    if (d->segment == NULL) {
        return debugger_complain(d, "nothing has run yet");
    }
    const struct systole_placement *p = placement_of(d, c->tensor);
    c->about = &d->graph->tensors[c->tensor];
    if (p == NULL || p->address >> 28 >= SYSTOLE_REGION_HOST) {
        return debugger_complain(d,
                                 p == NULL ? "%s is not on the device in segment %u"
                                           : "%s is never whole on the device; `box` compares what a command of "
                                             "segment %u wrote",
                                 c->about->name, d->segment_index);
    }
    c->bytes = calloc(c->about->size + 1, 1);
    c->written = find_written(d, c->tensor, p, &c->count, &last);
    c->successor = find_successor(d, c->tensor, p, last);
    if (c->bytes == NULL || c->written == NULL || (size_t)p->height * p->width * p->channels != c->about->size) {
        free_contents(c);
        return debugger_complain(d, "no memory for %s", c->about->name);
    }
    if (!read_words(d, p, c)) {
        free_contents(c);
        return false;
    }
    return true;
}

static int value_of(const struct contents *c, uint8_t byte) {
    return c->about->dtype == SYSTOLE_UINT8 ? byte : (int8_t)byte;
}

static void print_state(const struct debugger *d, const struct contents *c) {
    char shape[64];
    cli_format_shape(c->about, shape, sizeof shape);
    printf("%s %s: %llu of %zu elements written", c->about->name, shape, (unsigned long long)c->count, c->about->size);
    if (c->successor >= 0) {
        printf("; %s has been written over it since", d->graph->tensors[c->successor].name);
    }
    printf("\n");
}

bool debugger_print_tensor(struct debugger *d, const char *name) {
    struct contents c;
    if (!read_contents(d, name, &c)) {
        return false;
    }
    print_state(d, &c);
    int32_t rank = c.about->rank;
    size_t line = rank > 0 && c.about->shape[rank - 1] > 0 ? (size_t)c.about->shape[rank - 1] : 1;
    for (size_t i = 0; i < c.about->size; i++) {
        if (i % line == 0) {
            printf("%s%8zu:", i == 0 ? "" : "\n", i);
        }
        if (c.written[i]) {
            printf(" %d", value_of(&c, c.bytes[i]));
        } else {
            printf(" .");
        }
    }
    printf("\n");
    free_contents(&c);
    return true;
}

bool debugger_dump_tensor(struct debugger *d, const char *name, const char *path) {
    struct contents c;
    struct systole_diagnostic diagnostic = {.what = ""};
    if (!read_contents(d, name, &c)) {
        return false;
    }
    print_state(d, &c);
    enum systole_status status = cli_write_file(path, c.bytes, c.about->size, &diagnostic);
    free_contents(&c);
    return status == SYSTOLE_OK || debugger_complain(d, "%s: %s", path, diagnostic.what);
}

// The CPU's tensors, for the same inputs.
bool debugger_prepare_reference(struct debugger *d) {
    struct systole_diagnostic diagnostic = {.what = ""};
    if (d->reference == NULL) {
        return debugger_complain(d, "a program holds no constants for the CPU: give the .tflite");
    }
    for (uint32_t i = 0; i < d->graph->input_count && !d->reference_is_fresh; i++) {
        size_t size;
        uint8_t *to = systole_session_input(d->reference, i, &size);
        memcpy(to, systole_session_input(d->session, i, &size), size);
    }
    if (!d->reference_is_fresh && systole_session_invoke(d->reference, &diagnostic) != SYSTOLE_OK) {
        return debugger_complain(d, "the CPU: %s", diagnostic.what);
    }
    d->reference_is_fresh = true;
    return true;
}

bool debugger_compare_tensor(struct debugger *d, const char *name) {
    struct contents c;
    if (!debugger_prepare_reference(d) || !read_contents(d, name, &c)) {
        return false;
    }
    size_t size = 0, different = 0, first = 0;
    const uint8_t *expected = systole_session_tensor(d->reference, c.tensor, &size);
    print_state(d, &c);
    for (size_t i = 0; i < c.about->size && expected != NULL; i++) {
        if (c.written[i] && c.bytes[i] != expected[i]) {
            first = different == 0 ? i : first;
            different++;
        }
    }
    bool good = expected != NULL && different == 0 && c.count != 0;
    if (c.count == 0) {
        debugger_tell(d, "nothing of %s has been written yet", c.about->name);
    } else if (expected == NULL) {
        debugger_tell(d, "the CPU does not keep %s", c.about->name);
    } else if (!good) {
        debugger_tell(d, "%s: %zu elements differ from the CPU's, the first is %zu: %d, expected %d", c.about->name,
                      different, first, value_of(&c, c.bytes[first]), value_of(&c, expected[first]));
    } else {
        printf("equal to the CPU's\n");
    }
    free_contents(&c);
    return good;
}

// The words that a command writes, pixel after pixel of its box; false: its format has no such walk.
struct walk {
    uint32_t address, row_stride, tile_stride, pixel_stride, width;
};

static bool walk_of(const struct debugger *d, uint32_t command, struct walk *walk) {
    const struct systole_command *c = &d->segment->commands[command];
    const struct systole_command_info *b = &d->segment->info[command];
    const struct systole_opcode_description *opcode = systole_describe_opcode(c->header.opcode);
    uint32_t format = opcode != NULL ? opcode->format : SYSTOLE_FORMAT_NONE, height;
    if (format == SYSTOLE_FORMAT_WINDOW) {
        const struct systole_window *w = &c->body.window;
        *walk = (struct walk){w->output_address, w->output_row_stride, w->output_tile_stride, w->output_pixel_stride,
                              w->output_width};
        height = w->output_height;
    } else if (format == SYSTOLE_FORMAT_ELEMENTWISE) {
        const struct systole_elementwise *e = &c->body.elementwise;
        *walk = (struct walk){e->output_address, e->output_row_stride, e->output_tile_stride, e->output_pixel_stride,
                              e->width};
        height = e->height;
    } else {
        return false;
    }
    return (uint64_t)(b->y1 - b->y0) * (b->x1 - b->x0) == (uint64_t)height * walk->width && b->y_step <= 1 &&
           b->x_step <= 1 && b->c0 % d->program->target.columns == 0 && walk->address >> 28 < SYSTOLE_REGIONS;
}

struct box_result {
    uint64_t elements, different;
    size_t first;
    int found, expected;
};

// One pixel of the box, tile after tile.
static bool compare_pixel(struct debugger *d, const struct systole_command_info *b, const struct walk *walk,
                          uint64_t pixel, const uint8_t *expected, struct box_result *result) {
    const struct systole_tensor *t = &d->graph->tensors[b->tensor_index];
    const struct systole_placement *p = placement_of(d, b->tensor_index);
    uint32_t columns = d->program->target.columns, width = b->x1 - b->x0;
    uint64_t base = (uint64_t)d->windows[walk->address >> 28].base + (walk->address & 0xfffffff);
    size_t element = ((size_t)(b->y0 + pixel / width) * p->width + b->x0 + pixel % width) * p->channels + b->c0;
    for (uint32_t c = b->c0; c < b->c1; c += columns) {
        uint8_t word[64] = {0};
        bool parity;
        uint32_t lanes = b->c1 - c < columns ? b->c1 - c : columns;
        uint64_t at = base + (uint64_t)((c - b->c0) / columns) * walk->tile_stride +
                      pixel / walk->width * walk->row_stride + pixel % walk->width * walk->pixel_stride;
        enum systole_status status = systole_driver_peek(d->driver, (uint32_t)at, word, &parity);
        if (status != SYSTOLE_OK) {
            return debugger_complain(d, "word %llu cannot be read: %s", (unsigned long long)at,
                                     systole_status_name(status));
        }
        for (uint32_t lane = 0; lane < lanes; lane++, element++) {
            result->elements++;
            if (word[lane] != expected[element] && result->different++ == 0) {
                result->first = element;
                result->found = t->dtype == SYSTOLE_UINT8 ? word[lane] : (int8_t)word[lane];
                result->expected = t->dtype == SYSTOLE_UINT8 ? expected[element] : (int8_t)expected[element];
            }
        }
    }
    return true;
}

bool debugger_compare_box(struct debugger *d, const char *text) {
    uint64_t command = d->is_running && d->held > 0 ? d->held - 1 : 0;
    struct walk walk;
    struct box_result result = {.elements = 0};
    if (d->segment == NULL) {
        return debugger_complain(d, "nothing has run yet");
    }
    if (text != NULL && !debugger_number(text, d->segment->command_count - 1, &command)) {
        return debugger_complain(d, "the segment has commands 0 to %u", d->segment->command_count - 1);
    }
    const struct systole_command_info *b = &d->segment->info[command];
    const struct systole_placement *p = b->tensor_index < 0 ? NULL : placement_of(d, b->tensor_index);
    if (p == NULL || !walk_of(d, (uint32_t)command, &walk) || b->y1 > p->height || b->x1 > p->width ||
        b->c1 > p->channels) {
        return debugger_complain(d, "command %llu writes no box of a tensor that can be compared by itself",
                                 (unsigned long long)command);
    }
    if (!debugger_has_retired(d, (uint32_t)command)) {
        return debugger_complain(d, "command %llu has not retired", (unsigned long long)command);
    }
    size_t size = 0;
    const uint8_t *expected =
        debugger_prepare_reference(d) ? systole_session_tensor(d->reference, b->tensor_index, &size) : NULL;
    if (expected == NULL) {
        return debugger_complain(d, "the CPU does not keep %s", d->graph->tensors[b->tensor_index].name);
    }
    for (uint64_t pixel = 0; pixel < (uint64_t)(b->y1 - b->y0) * (b->x1 - b->x0); pixel++) {
        if (!compare_pixel(d, b, &walk, pixel, expected, &result)) {
            return false;
        }
    }
    printf("command %llu wrote %s [%u:%u, %u:%u, %u:%u], %llu elements\n", (unsigned long long)command,
           d->graph->tensors[b->tensor_index].name, b->y0, b->y1, b->x0, b->x1, b->c0, b->c1,
           (unsigned long long)result.elements);
    if (result.different != 0) {
        return debugger_complain(d, "%llu differ from the CPU's, the first is element %zu: %d, expected %d",
                                 (unsigned long long)result.different, result.first, result.found, result.expected);
    }
    printf("equal to the CPU's\n");
    return true;
}
