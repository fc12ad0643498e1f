// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Verification runs the whole model on the CPU first. Then, each time a command retires on an in-process device, the
// box of the tensor that it wrote is read from the scratchpad at that very cycle, before anything can overwrite it, and
// compared with the CPU's; also as a part of other tensors that lie in the same words. What comes back from the device
// is compared once more. A tensor counts as equal only when every element of it was seen.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session_state.h"

enum { CHUNK_WORDS = 256 };

// What is known about one tensor of the graph.
struct tally {
    uint64_t compared; // elements, all commands of all segments
    bool on_device, is_observed, is_different;
    struct systole_finding first; // difference
};

struct session_verification {
    const struct systole_graph *graph;
    struct systole_interpreter *reference;
    struct tally *tallies; // one a tensor
    struct systole_finding *findings;
    uint32_t finding_count;
    struct systole_observer observer;
    struct systole_transport *transport; // NULL: outputs only
    // The segment that runs.
    struct systole_session *session;
    uint32_t segment;
    const struct systole_placement **placements; // one a tensor
    uint32_t *groups;                            // likewise: tensors of one group share words
    bool has_token;
    uint32_t token; // of the last launch that was seen
    enum systole_status peek_status;
    uint8_t *words;
};

static enum systole_status bad_program(const struct systole_session *session, uint32_t segment, const char *what,
                                       uint32_t index, struct systole_diagnostic *diagnostic) {
    return systole_fail(diagnostic, SYSTOLE_BAD_FILE, session->program->model_name, "compile the model again",
                        "segment %u: %s %u does not fit the model", segment, what, index);
}

static bool box_fits(const struct systole_command_info *info, const struct systole_placement *p) {
    return info->y0 <= info->y1 && info->y1 <= p->height && info->x0 <= info->x1 && info->x1 <= p->width &&
           info->c0 <= info->c1 && info->c1 <= p->channels;
}

// A tensor that is not whole in the scratchpad lies where its commands write it.
static bool is_in_parts(const struct systole_placement *p) {
    return p->address >> 28 >= SYSTOLE_REGION_HOST;
}

// The words that a command writes, as its box's pixels and channel tiles in order. A box of one channel tile whose
// command has several: they are `phases` columns side by side.
struct walk {
    uint32_t address, row_stride, tile_stride, pixel_stride, width, phases;
    bool matches; // as many pixels and tiles as the box
};

static struct walk walk_of(const struct systole_command *command, const struct systole_command_info *info,
                           uint32_t columns) {
    const struct systole_opcode_description *opcode = systole_describe_opcode(command->header.opcode);
    uint32_t format = opcode != NULL ? opcode->format : SYSTOLE_FORMAT_NONE, height = 0, tiles = 0;
    struct walk walk = {.matches = false};
    if (format == SYSTOLE_FORMAT_WINDOW) {
        const struct systole_window *w = &command->body.window;
        walk = (struct walk){w->output_address,
                             w->output_row_stride,
                             w->output_tile_stride,
                             w->output_pixel_stride,
                             w->output_width,
                             1,
                             false};
        height = w->output_height;
        tiles = w->output_tiles;
    } else if (format == SYSTOLE_FORMAT_ELEMENTWISE) {
        const struct systole_elementwise *e = &command->body.elementwise;
        walk = (struct walk){
            e->output_address, e->output_row_stride, e->output_tile_stride, e->output_pixel_stride, e->width, 1, false};
        height = e->height;
        tiles = e->tiles;
    }
    uint64_t pixels = (uint64_t)systole_box_rows(info) * systole_box_columns(info);
    uint32_t box_tiles = (info->c1 - info->c0 + columns - 1) / columns;
    if (box_tiles == 1 && tiles > 1 && systole_box_columns(info) == (uint64_t)walk.width * tiles) {
        walk.phases = tiles;
        tiles = 1;
    }
    walk.matches = pixels == (uint64_t)height * walk.width * walk.phases && info->c0 % columns == 0 &&
                   box_tiles == tiles && walk.address >> 28 < SYSTOLE_REGIONS;
    return walk;
}

static void read_placements(struct session_verification *v, const struct systole_segment *segment) {
    memset(v->placements, 0, v->graph->tensor_count * sizeof(struct systole_placement *));
    for (uint32_t i = 0; i < segment->tensor_count; i++) {
        v->placements[segment->tensors[i].tensor_index] = &segment->tensors[i].placement;
    }
    session_verification_groups(v->graph, segment, v->session->program->target.columns, v->placements, v->groups);
}

// Every placement and box is checked here, so that observing need not.
static enum systole_status check_segment(struct systole_session *session, uint32_t index,
                                         struct systole_diagnostic *diagnostic) {
    struct session_verification *v = session->verification;
    const struct systole_segment *segment = &session->program->segments[index];
    for (uint32_t i = 0; i < segment->tensor_count; i++) {
        const struct systole_segment_io *io = &segment->tensors[i];
        if (io->tensor_index < 0 || (uint32_t)io->tensor_index >= v->graph->tensor_count ||
            !session_placement_fits(&v->graph->tensors[io->tensor_index], &io->placement,
                                    session->program->target.columns) ||
            (io->placement.address >> 28 >= SYSTOLE_REGIONS && io->placement.address != SYSTOLE_PLACED_IN_PARTS)) {
            return bad_program(session, index, "tensor", i, diagnostic);
        }
        v->tallies[io->tensor_index].on_device = true;
    }
    read_placements(v, segment);
    for (uint32_t i = 0; i < segment->command_count; i++) {
        const struct systole_command_info *info = &segment->info[i];
        if (info->tensor_index < 0) {
            continue;
        }
        if ((uint32_t)info->tensor_index >= v->graph->tensor_count ||
            (v->placements[info->tensor_index] != NULL &&
             (!box_fits(info, v->placements[info->tensor_index]) ||
              (is_in_parts(v->placements[info->tensor_index]) &&
               !walk_of(&segment->commands[i], info, session->program->target.columns).matches)))) {
            return bad_program(session, index, "command", i, diagnostic);
        }
        bool is_observed = v->transport != NULL && v->placements[info->tensor_index] != NULL;
        v->tallies[info->tensor_index].is_observed |= is_observed;
        for (uint32_t k = 0; k < segment->tensor_count && is_observed; k++) {
            int32_t other = segment->tensors[k].tensor_index;
            v->tallies[other].is_observed |= v->groups[other] == v->groups[info->tensor_index];
        }
    }
    return SYSTOLE_OK;
}

static void observe_retirement(void *context, const struct systole_retirement *retirement);

enum systole_status session_verification_create(struct systole_session *session, const struct systole_graph *graph,
                                                struct systole_diagnostic *diagnostic) {
    struct session_verification *v = calloc(1, sizeof *v);
    if (v == NULL) {
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, graph->name, "", "no memory for verification");
    }
    session->verification = v;
    v->session = session;
    v->graph = graph;
    uint32_t outputs = 0;
    for (uint32_t o = 0; o < graph->operator_count; o++) {
        outputs += graph->operators[o].output_count;
    }
    v->tallies = calloc((size_t)graph->tensor_count + 1, sizeof *v->tallies);
    v->placements = calloc((size_t)graph->tensor_count + 1, sizeof(struct systole_placement *));
    v->groups = calloc((size_t)graph->tensor_count + 1, sizeof *v->groups);
    v->findings = calloc((size_t)outputs + 1, sizeof *v->findings);
    v->words = malloc((size_t)CHUNK_WORDS * session->program->target.columns);
    if (v->tallies == NULL || v->placements == NULL || v->groups == NULL || v->findings == NULL || v->words == NULL) {
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, graph->name, "", "no memory for verification");
    }
    enum systole_status status = systole_interpreter_create(graph, NULL, &v->reference, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct systole_transport *transport = systole_driver_transport(session->options.driver);
    if (transport->functions->observe != NULL && transport->functions->peek != NULL) {
        v->transport = transport;
        v->observer = (struct systole_observer){observe_retirement, v};
        transport->functions->observe(transport, &v->observer);
    }
    for (uint32_t s = 0; s < session->program->segment_count && status == SYSTOLE_OK; s++) {
        status = check_segment(session, s, diagnostic);
    }
    return status;
}

void session_verification_free(struct systole_session *session) {
    struct session_verification *v = session->verification;
    if (v == NULL) {
        return;
    }
    if (v->transport != NULL) {
        v->transport->functions->observe(v->transport, NULL);
    }
    systole_interpreter_free(v->reference);
    free(v->words);
    free(v->findings);
    free(v->groups);
    free(v->placements);
    free(v->tallies);
    free(v);
    session->verification = NULL;
}

enum systole_status session_verification_begin(struct systole_session *session, struct systole_diagnostic *diagnostic) {
    struct session_verification *v = session->verification;
    v->peek_status = SYSTOLE_OK;
    v->finding_count = 0;
    for (uint32_t t = 0; t < v->graph->tensor_count; t++) {
        v->tallies[t].compared = 0;
        v->tallies[t].is_different = false;
    }
    for (uint32_t i = 0; i < v->graph->input_count; i++) {
        int32_t tensor = v->graph->inputs[i];
        memcpy(systole_interpreter_tensor(v->reference, tensor),
               systole_interpreter_tensor(session->interpreter, tensor), v->graph->tensors[tensor].size);
    }
    return systole_interpreter_run(v->reference, diagnostic);
}

static int32_t value_of(const struct systole_tensor *tensor, uint8_t byte) {
    return tensor->dtype == SYSTOLE_UINT8 ? byte : (int8_t)byte;
}

// Compares `count` elements of a tensor from `element` on with bytes that were found.
static void compare(struct session_verification *v, int32_t tensor, uint64_t element, const uint8_t *found,
                    size_t count, const struct systole_retirement *retirement) {
    const struct systole_tensor *t = &v->graph->tensors[tensor];
    struct tally *tally = &v->tallies[tensor];
    const uint8_t *expected = systole_interpreter_tensor(v->reference, tensor) + element;
    if (tally->is_different || memcmp(expected, found, count) == 0) {
        return;
    }
    size_t i = 0;
    while (expected[i] == found[i]) {
        i++;
    }
    tally->is_different = true;
    tally->first = (struct systole_finding){
        .kind = SYSTOLE_FINDING_DIFFERENT,
        .tensor = tensor,
        .element = element + i,
        .expected = value_of(t, expected[i]),
        .found = value_of(t, found[i]),
        .has_command = retirement != NULL,
        .segment = (int32_t)v->segment,
        .command = retirement != NULL ? retirement->command : 0,
        .cycle = retirement != NULL ? retirement->cycle : 0,
    };
}

static uint32_t step_of(uint32_t step) {
    return step > 1 ? step : 1;
}

static bool peek(struct session_verification *v, uint64_t word, uint32_t words) {
    if (word + words > UINT32_MAX) {
        v->peek_status = SYSTOLE_DEVICE_PROTOCOL;
        return false;
    }
    enum systole_status status = v->transport->functions->peek(v->transport, (uint32_t)word, words, v->words);
    v->peek_status = status != SYSTOLE_OK ? status : v->peek_status;
    return status == SYSTOLE_OK;
}

// One row of a box in the tiled layout, tile after tile. `word` is the placement's first.
static void compare_tiled_row(struct session_verification *v, const struct systole_command_info *info,
                              const struct systole_placement *p, uint64_t word, uint32_t y,
                              const struct systole_retirement *retirement) {
    uint32_t columns = v->session->program->target.columns;
    for (uint32_t c = info->c0; c < info->c1;) {
        uint32_t tile = c / columns, lane = c % columns;
        uint32_t lanes = info->c1 - c < columns - lane ? info->c1 - c : columns - lane;
        uint64_t row = word + (uint64_t)tile * p->tile_stride + (uint64_t)y * p->row_stride;
        uint32_t chunk = p->pixel_stride == 1 && info->x_step <= 1 ? CHUNK_WORDS : 1;
        for (uint32_t x = info->x0; x<info->x1; x += chunk> 1 ? chunk : step_of(info->x_step)) {
            uint32_t pixels = info->x1 - x < chunk ? info->x1 - x : chunk;
            if (!peek(v, row + (uint64_t)x * p->pixel_stride, pixels)) {
                return;
            }
            for (uint32_t i = 0; i < pixels; i++) {
                uint64_t element = ((uint64_t)y * p->width + x + i) * p->channels + c;
                compare(v, info->tensor_index, element, v->words + (size_t)i * columns + lane, lanes, retirement);
            }
        }
        c += lanes;
    }
}

// A box where its command wrote it.
static void compare_written(struct session_verification *v, const struct systole_command *command,
                            const struct systole_command_info *info, const struct systole_placement *p,
                            const struct systole_region_window *windows, const struct systole_retirement *retirement) {
    uint32_t columns = v->session->program->target.columns, width = systole_box_columns(info);
    struct walk walk = walk_of(command, info, columns);
    if (width == 0 || walk.width == 0) {
        return; // an empty box
    }
    uint64_t base = (uint64_t)windows[walk.address >> 28].base + (walk.address & 0x0FFFFFFFu);
    for (uint32_t c = info->c0; c < info->c1; c += columns) {
        uint32_t lanes = info->c1 - c < columns ? info->c1 - c : columns;
        uint64_t tile = base + (uint64_t)((c - info->c0) / columns) * walk.tile_stride;
        for (uint64_t first = 0, all = (uint64_t)systole_box_rows(info) * width; first < all;) {
            uint32_t of_row = walk.width * walk.phases, x = (uint32_t)(first % of_row), pixels = of_row - x;
            pixels = walk.pixel_stride != 1 ? 1 : pixels < CHUNK_WORDS ? pixels : CHUNK_WORDS;
            uint64_t word = tile + first / of_row * walk.row_stride + (uint64_t)(x / walk.phases) * walk.pixel_stride +
                            (uint64_t)(x % walk.phases) * walk.tile_stride;
            if (!peek(v, word, pixels)) {
                return;
            }
            for (uint32_t i = 0; i < pixels; i++, first++) {
                uint64_t y = info->y0 + first / width * step_of(info->y_step);
                uint64_t column = info->x0 + first % width * step_of(info->x_step);
                compare(v, info->tensor_index, (y * p->width + column) * p->channels + c,
                        v->words + (size_t)i * columns, lanes, retirement);
            }
        }
    }
}

// One row of a box in the packed layout: a run of bytes when the box has all channels.
static void compare_packed_row(struct session_verification *v, const struct systole_command_info *info,
                               const struct systole_placement *p, uint64_t word, uint32_t y,
                               const struct systole_retirement *retirement) {
    uint32_t columns = v->session->program->target.columns;
    for (uint32_t x = info->x0; x < info->x1; x += step_of(info->x_step)) {
        uint64_t byte = (uint64_t)x * p->channels + info->c0;
        uint64_t end = byte + (info->c1 - info->c0);
        while (byte < end) {
            uint64_t lane = byte % columns;
            uint64_t bytes = end - byte < columns - lane ? end - byte : columns - lane;
            if (!peek(v, word + (uint64_t)y * p->row_stride + byte / columns, 1)) {
                return;
            }
            compare(v, info->tensor_index, (uint64_t)y * p->width * p->channels + byte, v->words + lane, (size_t)bytes,
                    retirement);
            byte += bytes;
        }
    }
}

// The words of a box as elements of another tensor of its group. `base` is the placements' region's first word.
static void compare_shared(struct session_verification *v, const struct systole_command_info *info, int32_t tensor,
                           uint64_t base, const struct systole_retirement *retirement) {
    uint32_t columns = v->session->program->target.columns, at[3];
    const struct systole_placement *own = v->placements[info->tensor_index], *p = v->placements[tensor];
    for (uint32_t c = info->c0; c < info->c1; c += columns - c % columns) {
        uint32_t lane = c % columns, end = info->c1 - c < columns - lane ? lane + info->c1 - c : columns;
        for (uint64_t y = info->y0; y < info->y1; y += step_of(info->y_step)) {
            for (uint64_t x = info->x0; x < info->x1; x += step_of(info->x_step)) {
                uint64_t word = own->address + (uint64_t)(c / columns) * own->tile_stride + y * own->row_stride +
                                x * own->pixel_stride;
                if (!session_verification_locate(p, columns, word, at)) {
                    continue;
                }
                uint32_t left = p->channels - at[0] * columns, last = end < left ? end : left;
                if (last <= lane) {
                    continue;
                }
                if (!peek(v, base + (word & 0x0FFFFFFFu), 1)) {
                    return;
                }
                uint64_t element = ((uint64_t)at[1] * p->width + at[2]) * p->channels + at[0] * columns + lane;
                compare(v, tensor, element, v->words + lane, last - lane, retirement);
                v->tallies[tensor].compared += last - lane;
            }
        }
    }
}

static void observe_retirement(void *context, const struct systole_retirement *retirement) {
    struct session_verification *v = context;
    const struct session_segment *running = &v->session->segments[v->segment];
    const struct systole_segment *segment = running->segment;
    if (retirement->token != running->request.token || retirement->command >= segment->command_count) {
        return;
    }
    if (!v->has_token || retirement->token != v->token) { // a launch, perhaps the same request again after a fault
        v->has_token = true;
        v->token = retirement->token;
        for (uint32_t i = 0; i < segment->tensor_count; i++) {
            v->tallies[segment->tensors[i].tensor_index].compared = 0;
        }
    }
    const struct systole_command_info *info = &segment->info[retirement->command];
    const struct systole_placement *p = info->tensor_index >= 0 ? v->placements[info->tensor_index] : NULL;
    if (p == NULL) {
        return;
    }
    bool in_parts = is_in_parts(p);
    uint64_t word =
        in_parts ? 0 : (uint64_t)running->request.windows[p->address >> 28].base + (p->address & 0x0FFFFFFFu);
    if (in_parts) {
        compare_written(v, &segment->commands[retirement->command], info, p, running->request.windows, retirement);
    }
    for (uint64_t y64 = info->y0; y64 < info->y1 && !in_parts; y64 += step_of(info->y_step)) {
        uint32_t y = (uint32_t)y64;
        if (p->layout == SYSTOLE_LAYOUT_PACKED) {
            compare_packed_row(v, info, p, word, y, retirement);
        } else {
            compare_tiled_row(v, info, p, word, y, retirement);
        }
    }
    v->tallies[info->tensor_index].compared +=
        (uint64_t)systole_box_rows(info) * systole_box_columns(info) * (info->c1 - info->c0);
    for (uint32_t i = 0; i < segment->tensor_count && !in_parts; i++) {
        int32_t other = segment->tensors[i].tensor_index;
        if (other != info->tensor_index && v->groups[other] == v->groups[info->tensor_index]) {
            compare_shared(v, info, other, running->request.windows[p->address >> 28].base, retirement);
        }
    }
}

void session_verification_watch(struct systole_session *session, uint32_t segment) {
    struct session_verification *v = session->verification;
    v->segment = segment;
    v->has_token = false;
    read_placements(v, &session->program->segments[segment]);
}

void session_verification_outputs(struct systole_session *session, uint32_t segment) {
    struct session_verification *v = session->verification;
    const struct systole_segment *s = &session->program->segments[segment];
    for (uint32_t i = 0; i < s->output_count; i++) {
        int32_t tensor = s->outputs[i].tensor_index;
        struct tally *tally = &v->tallies[tensor];
        tally->on_device = true;
        compare(v, tensor, 0, systole_interpreter_tensor(session->interpreter, tensor), v->graph->tensors[tensor].size,
                NULL);
        if (!tally->is_observed) {
            tally->compared = v->graph->tensors[tensor].size;
        }
    }
}

static struct systole_finding finding_of(const struct session_verification *v, int32_t tensor) {
    const struct tally *tally = &v->tallies[tensor];
    struct systole_finding finding = {.tensor = tensor, .kind = SYSTOLE_FINDING_NOT_ON_DEVICE, .segment = -1};
    if (tally->is_different) {
        finding = tally->first;
    } else if (tally->on_device && tally->compared > 0) {
        finding.kind = SYSTOLE_FINDING_EQUAL;
        if (tally->is_observed && tally->compared < v->graph->tensors[tensor].size) {
            finding.kind = SYSTOLE_FINDING_DIFFERENT; // some elements were never written
            finding.element = tally->compared;
        }
    }
    return finding;
}

static enum systole_status mismatch(const struct session_verification *v, const struct systole_finding *f,
                                    struct systole_diagnostic *diagnostic) {
    char where[160];
    const struct systole_tensor *tensor = &v->graph->tensors[f->tensor];
    snprintf(where, sizeof where, "operator %d %s, tensor %d %.80s", f->operator_index,
             systole_operator_name(v->graph->operators[f->operator_index].code), f->tensor, tensor->name);
    if (!v->tallies[f->tensor].is_different) {
        return systole_fail(diagnostic, SYSTOLE_MISMATCH, where, "the program leaves a part out",
                            "only %llu of %zu elements were written on the device", (unsigned long long)f->element,
                            tensor->size);
    }
    if (!f->has_command) {
        return systole_fail(diagnostic, SYSTOLE_MISMATCH, where, "verify in process names the command, too",
                            "element %llu is %d on the device and %d on the CPU, in what segment %d gave back",
                            (unsigned long long)f->element, f->found, f->expected, f->segment);
    }
    return systole_fail(diagnostic, SYSTOLE_MISMATCH, where, "",
                        "element %llu is %d on the device and %d on the CPU (segment %d, command %u, cycle %llu)",
                        (unsigned long long)f->element, f->found, f->expected, f->segment, f->command,
                        (unsigned long long)f->cycle);
}

enum systole_status session_verification_end(struct systole_session *session, struct systole_diagnostic *diagnostic) {
    struct session_verification *v = session->verification;
    const struct systole_finding *first = NULL;
    for (uint32_t o = 0; o < v->graph->operator_count; o++) {
        const struct systole_operator *op = &v->graph->operators[o];
        for (uint32_t i = 0; i < op->output_count; i++) {
            int32_t tensor = op->outputs[i];
            if (tensor < 0 ||
                (v->transport == NULL && v->tallies[tensor].on_device && v->tallies[tensor].compared == 0)) {
                continue; // over a bus nobody can look at it
            }
            struct systole_finding *finding = &v->findings[v->finding_count++];
            *finding = finding_of(v, tensor);
            finding->operator_index = (int32_t)o;
            if (first == NULL && finding->kind == SYSTOLE_FINDING_DIFFERENT) {
                first = finding;
            }
        }
    }
    if (v->peek_status != SYSTOLE_OK) {
        return systole_fail(diagnostic, v->peek_status, v->graph->name, "", "the device's memory could not be read");
    }
    return first == NULL ? SYSTOLE_OK : mismatch(v, first, diagnostic);
}

const struct systole_finding *systole_session_findings(const struct systole_session *session, uint32_t *count) {
    *count = session->verification != NULL ? session->verification->finding_count : 0;
    return session->verification != NULL ? session->verification->findings : NULL;
}
