// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Holds a program against what the hardware accepts, before anything is sent.
//
// Order. A command starts when its tokens are there, and units take their commands in order. Waits that only point
// back in the program cannot hang. Of every command we keep a clock: how many commands of each unit have certainly
// retired when it starts. It is the largest of the clock of the command before it on the same unit (starts are in
// order) and, for each wait {unit, count}, of `count` and the clock of that unit's command count-1. A command's clock
// covers an earlier command when it counts it as retired. Each command is held only against those that its clock does
// not cover: they may run at the same time and must not touch the same words.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command_checker.h"
#include "command_footprint.h"
#include "program.h"
#include "target.h"

#define PAIR_LIMIT 8000000u // pairs of unordered commands that are compared; a tidy program needs a few each
#define SCRATCHPAD_REGIONS 5u
#define RECOMPILE "compile the model again"

struct clock {
    uint32_t retired[SYSTOLE_UNITS];
};

struct checker {
    const struct systole_program *program;
    const struct systole_segment *segment;
    uint32_t segment_index;
    struct systole_diagnostic *diagnostic;
    struct systole_footprint *footprints; // one a command
    struct clock *clocks;                 // one a command
    uint32_t *queue[SYSTOLE_UNITS];       // a unit's commands in order
    uint32_t queued[SYSTOLE_UNITS];
    uint64_t pairs;
};

static enum systole_status refuse_segment(const struct checker *checker, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static enum systole_status refuse_segment(const struct checker *checker, const char *format, ...) {
    char text[200];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return systole_fail(checker->diagnostic, SYSTOLE_BAD_FILE, checker->program->model_name, RECOMPILE,
                        "segment %u: %s", checker->segment_index, text);
}

static enum systole_status refuse(const struct checker *checker, uint32_t index, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static enum systole_status refuse(const struct checker *checker, uint32_t index, const char *format, ...) {
    const struct systole_command_header *header = &checker->segment->commands[index].header;
    const struct systole_opcode_description *opcode = systole_describe_opcode(header->opcode);
    char text[160];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return refuse_segment(checker, "command %u (%s, operator %u): %s", index, opcode == NULL ? "?" : opcode->name,
                          header->operator_index, text);
}

static enum systole_status check_addresses(const struct checker *checker, uint32_t index) {
    const struct systole_footprint *footprint = &checker->footprints[index];
    const struct systole_command *command = &checker->segment->commands[index];
    for (uint32_t i = 0; i < footprint->count; i++) {
        const struct systole_word_box *box = &footprint->boxes[i];
        uint32_t words = checker->segment->region_words[box->region];
        if (box->region != SYSTOLE_REGION_HOST && box->last >= words) {
            return refuse(checker, index, "field %s reaches word %llu of region %s, which has %u", box->field,
                          (unsigned long long)box->last, systole_region_name(box->region), words);
        }
        if (box->is_write &&
            (box->region == SYSTOLE_REGION_PROGRAM ||
             (box->region == SYSTOLE_REGION_PARAMETERS && command->header.opcode != SYSTOLE_OPCODE_LOAD))) {
            return refuse(checker, index, "field %s writes region %s", box->field, systole_region_name(box->region));
        }
    }
    if (command->header.opcode == SYSTOLE_OPCODE_LOAD || command->header.opcode == SYSTOLE_OPCODE_STORE) {
        uint32_t region = command->body.transfer.host_address >> 28;
        uint64_t end = (uint64_t)(command->body.transfer.host_address & 0x0FFFFFFFu) + command->body.transfer.words;
        bool from_parameters = region == SYSTOLE_REGION_PARAMETERS && command->header.opcode == SYSTOLE_OPCODE_LOAD;
        if (!from_parameters && region != SYSTOLE_REGION_HOST) {
            return refuse(checker, index, "field host_address lies in region %s", systole_region_name(region));
        }
        uint32_t words =
            from_parameters ? checker->segment->parameter_words : checker->segment->region_words[SYSTOLE_REGION_HOST];
        if (end > words) {
            return refuse(checker, index, "field host_address reaches word %llu on the host, which keeps %u",
                          (unsigned long long)end - 1, words);
        }
    }
    return SYSTOLE_OK;
}

// Reads the tokens into the command's clock.
static enum systole_status check_tokens(struct checker *checker, uint32_t index) {
    const struct systole_command_header *header = &checker->segment->commands[index].header;
    struct clock *clock = &checker->clocks[index];
    uint32_t unit = header->unit;
    memset(clock, 0, sizeof *clock);
    if (checker->queued[unit] > 0) {
        *clock = checker->clocks[checker->queue[unit][checker->queued[unit] - 1]];
    }
    const uint32_t waits[SYSTOLE_WAITS] = {header->wait0, header->wait1, header->wait2, header->wait3};
    for (uint32_t i = 0; i < SYSTOLE_WAITS; i++) {
        uint32_t core = waits[i] >> 28;
        uint32_t on = waits[i] >> 24 & 15u;
        uint32_t count = waits[i] & 0x00FFFFFFu;
        if (count == 0) {
            continue;
        }
        if (core >= checker->program->target.cores || on >= SYSTOLE_UNITS) {
            return refuse(checker, index, "field wait%u names unit %u of core %u, which is not there", i, on, core);
        }
        if (count > checker->queued[on]) {
            return refuse(checker, index, "field wait%u waits for %u commands of unit %s, before it are only %u", i,
                          count, systole_unit_name(on), checker->queued[on]);
        }
        const struct clock *other = &checker->clocks[checker->queue[on][count - 1]];
        for (uint32_t u = 0; u < SYSTOLE_UNITS; u++) {
            if (other->retired[u] > clock->retired[u]) {
                clock->retired[u] = other->retired[u];
            }
        }
        if (count > clock->retired[on]) {
            clock->retired[on] = count;
        }
    }
    return SYSTOLE_OK;
}

// An element-wise command may write where it reads when it does so word for word.
static bool is_in_place(const struct systole_word_box *a, const struct systole_word_box *b) {
    return a->offset == b->offset && memcmp(a->count, b->count, sizeof a->count) == 0 &&
           memcmp(a->stride, b->stride, sizeof a->stride) == 0;
}

static enum systole_status check_hazards(struct checker *checker, uint32_t index) {
    const struct systole_command_header *header = &checker->segment->commands[index].header;
    const struct systole_footprint *footprint = &checker->footprints[index];
    const struct systole_opcode_description *opcode = systole_describe_opcode(header->opcode);
    for (uint32_t i = 0; i < footprint->count; i++) {
        for (uint32_t j = 0; j < footprint->count; j++) {
            const struct systole_word_box *read = &footprint->boxes[i];
            const struct systole_word_box *written = &footprint->boxes[j];
            if (read->is_write || !written->is_write || !systole_boxes_overlap(read, written) ||
                (opcode->format == SYSTOLE_FORMAT_ELEMENTWISE && is_in_place(read, written))) {
                continue;
            }
            return refuse(checker, index, "field %s writes words that %s still reads", written->field, read->field);
        }
    }
    for (uint32_t unit = 0; unit < SYSTOLE_UNITS && footprint->count > 0; unit++) {
        for (uint32_t k = checker->clocks[index].retired[unit]; k < checker->queued[unit]; k++) {
            uint32_t earlier = checker->queue[unit][k];
            if (++checker->pairs > PAIR_LIMIT) {
                return refuse_segment(checker, "too many commands that no token orders");
            }
            if (systole_footprints_conflict(&checker->footprints[earlier], footprint, unit == header->unit)) {
                return refuse(checker, index, "touches words of command %u (unit %s) and no token orders them", earlier,
                              systole_unit_name(unit));
            }
        }
    }
    return SYSTOLE_OK;
}

static enum systole_status check_placement(const struct checker *checker, const char *what, uint32_t index,
                                           const struct systole_segment_io *io, bool may_lie_in_parts) {
    const struct systole_placement *p = &io->placement;
    uint64_t columns = checker->program->target.columns;
    uint32_t region = p->address >> 28;
    bool in_parts = may_lie_in_parts && p->address == SYSTOLE_PLACED_IN_PARTS;
    if (io->tensor_index < 0 || p->layout > SYSTOLE_LAYOUT_PACKED || p->is_unsigned > 1 || p->height == 0 ||
        p->width == 0 || p->channels == 0 || (region > SYSTOLE_REGION_HOST && !in_parts)) {
        return refuse_segment(checker, "%s %u (tensor %d) has a placement that is none", what, index, io->tensor_index);
    }
    if (in_parts) {
        return SYSTOLE_OK;
    }
    // Every factor is below 2^32, so sums of two products and a word fit.
    uint64_t row_bytes = (uint64_t)p->width * p->channels;
    uint64_t last = (uint64_t)(p->height - 1) * p->row_stride;
    uint64_t tile = (p->channels - 1) / columns;
    bool too_far = last > UINT32_MAX;
    if (p->layout == SYSTOLE_LAYOUT_PACKED) {
        too_far = too_far || row_bytes > UINT32_MAX;
        last += (row_bytes - 1) / columns;
    } else {
        too_far =
            too_far || tile * p->tile_stride > UINT32_MAX || (uint64_t)(p->width - 1) * p->pixel_stride > UINT32_MAX;
        last += too_far ? 0 : tile * p->tile_stride + (uint64_t)(p->width - 1) * p->pixel_stride;
    }
    if (too_far || (p->address & 0x0FFFFFFFu) + last >= checker->segment->region_words[region]) {
        return refuse_segment(checker, "%s %u (tensor %d) reaches outside region %s, which has %u words", what, index,
                              io->tensor_index, systole_region_name(region), checker->segment->region_words[region]);
    }
    return SYSTOLE_OK;
}

static enum systole_status check_placements(const struct checker *checker) {
    const struct systole_segment *segment = checker->segment;
    enum systole_status status = SYSTOLE_OK;
    for (uint32_t i = 0; i < segment->input_count && status == SYSTOLE_OK; i++) {
        status = check_placement(checker, "input", i, &segment->inputs[i], false);
    }
    for (uint32_t i = 0; i < segment->output_count && status == SYSTOLE_OK; i++) {
        status = check_placement(checker, "output", i, &segment->outputs[i], false);
    }
    for (uint32_t i = 0; i < segment->tensor_count && status == SYSTOLE_OK; i++) {
        status = check_placement(checker, "tensor", i, &segment->tensors[i], true);
    }
    return status;
}

static int compare_io(const void *a, const void *b) {
    const struct systole_segment_io *left = a;
    const struct systole_segment_io *right = b;
    return (left->tensor_index > right->tensor_index) - (left->tensor_index < right->tensor_index);
}

// Every command's box must be a box of a tensor of the segment, for who reads what the command wrote trusts it.
static enum systole_status check_info(const struct checker *checker, struct systole_segment_io *sorted) {
    const struct systole_segment *segment = checker->segment;
    for (uint32_t i = 0; i < segment->tensor_count; i++) {
        sorted[i] = segment->tensors[i];
    }
    qsort(sorted, segment->tensor_count, sizeof *sorted, compare_io);
    for (uint32_t i = 0; i < segment->command_count && segment->info != NULL; i++) {
        const struct systole_command_info *info = &segment->info[i];
        if (info->tensor_index < 0) {
            continue;
        }
        struct systole_segment_io wanted = {.tensor_index = info->tensor_index};
        const struct systole_segment_io *found =
            bsearch(&wanted, sorted, segment->tensor_count, sizeof *sorted, compare_io);
        if (found == NULL) {
            return refuse(checker, i, "writes tensor %d, which is not in the segment", info->tensor_index);
        }
        const struct systole_placement *p = &found->placement;
        if (info->y0 > info->y1 || info->y1 > p->height || info->x0 > info->x1 || info->x1 > p->width ||
            info->c0 > info->c1 || info->c1 > p->channels) {
            return refuse(checker, i, "writes a box outside tensor %d", info->tensor_index);
        }
    }
    return SYSTOLE_OK;
}

static enum systole_status check_regions(const struct checker *checker) {
    const struct systole_segment *segment = checker->segment;
    const struct systole_target *target = &checker->program->target;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < SCRATCHPAD_REGIONS; i++) {
        sum += segment->region_words[i];
    }
    if (sum > systole_target_words(target)) {
        return refuse_segment(checker, "its regions need %llu words, %s has %u", (unsigned long long)sum, target->name,
                              systole_target_words(target));
    }
    uint64_t program_bytes = (uint64_t)segment->command_count * SYSTOLE_COMMAND_BYTES;
    if (segment->command_count == 0 ||
        (uint64_t)segment->region_words[SYSTOLE_REGION_PROGRAM] * target->columns < program_bytes) {
        return refuse_segment(checker, "region program has %u words for %u commands",
                              segment->region_words[SYSTOLE_REGION_PROGRAM], segment->command_count);
    }
    if (segment->resident && segment->parameter_words > segment->region_words[SYSTOLE_REGION_PARAMETERS]) {
        return refuse_segment(checker, "region parameters has %u words for %u",
                              segment->region_words[SYSTOLE_REGION_PARAMETERS], segment->parameter_words);
    }
    return check_placements(checker);
}

static enum systole_status check_commands(struct checker *checker) {
    const struct systole_segment *segment = checker->segment;
    for (uint32_t i = 0; i < segment->command_count; i++) {
        const struct systole_command *command = &segment->commands[i];
        char text[160];
        if (!systole_command_check(&checker->program->target, command, text, sizeof text)) {
            return refuse(checker, i, "%s", text);
        }
        systole_command_footprint(&checker->program->target, command, &checker->footprints[i]);
        enum systole_status status = check_addresses(checker, i);
        if (status == SYSTOLE_OK) {
            status = check_tokens(checker, i);
        }
        if (status == SYSTOLE_OK) {
            status = check_hazards(checker, i);
        }
        if (status != SYSTOLE_OK) {
            return status;
        }
        uint32_t unit = command->header.unit;
        checker->queue[unit][checker->queued[unit]++] = i;
    }
    return SYSTOLE_OK;
}

static enum systole_status verify_segment(const struct systole_program *program, uint32_t index,
                                          struct systole_diagnostic *diagnostic) {
    struct checker checker = {
        .program = program, .segment = &program->segments[index], .segment_index = index, .diagnostic = diagnostic};
    enum systole_status status = check_regions(&checker);
    if (status != SYSTOLE_OK) {
        return status;
    }
    size_t count = checker.segment->command_count;
    uint32_t *queues = calloc(count, SYSTOLE_UNITS * sizeof *queues);
    struct systole_segment_io *sorted = calloc((size_t)checker.segment->tensor_count + 1, sizeof *sorted);
    checker.footprints = calloc(count, sizeof *checker.footprints);
    checker.clocks = calloc(count, sizeof *checker.clocks);
    if (queues == NULL || sorted == NULL || checker.footprints == NULL || checker.clocks == NULL) {
        status = systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, program->model_name, "",
                              "no memory to verify %zu commands", count);
        goto done;
    }
    for (size_t unit = 0; unit < SYSTOLE_UNITS; unit++) {
        checker.queue[unit] = queues + unit * count;
    }
    status = check_info(&checker, sorted);
    if (status == SYSTOLE_OK) {
        status = check_commands(&checker);
    }
done:
    free(checker.clocks);
    free(checker.footprints);
    free(sorted);
    free(queues);
    return status;
}

enum systole_status systole_program_verify(const struct systole_program *program,
                                           struct systole_diagnostic *diagnostic) {
    enum systole_status status = SYSTOLE_OK;
    struct systole_diagnostic cause;
    if (systole_target_check(&program->target, &cause) != SYSTOLE_OK) {
        status = systole_fail(diagnostic, SYSTOLE_BAD_FILE, program->model_name, RECOMPILE, "%s", cause.what);
    }
    for (uint32_t i = 0; i < program->step_count && status == SYSTOLE_OK; i++) {
        const struct systole_step *step = &program->steps[i];
        uint32_t limit = step->place == SYSTOLE_PLACE_DEVICE ? program->segment_count : program->operator_count;
        if (step->place > SYSTOLE_PLACE_DEVICE || step->index >= limit) {
            status = systole_fail(diagnostic, SYSTOLE_BAD_FILE, program->model_name, RECOMPILE,
                                  "step %u runs %s %u, which is not there", i,
                                  step->place == SYSTOLE_PLACE_DEVICE ? "segment" : "operator", step->index);
        }
    }
    for (uint32_t i = 0; i < program->operator_count && status == SYSTOLE_OK; i++) {
        const struct systole_operator_info *info = &program->operators[i];
        if (info->place > SYSTOLE_PLACE_DEVICE || info->segment < -1 ||
            info->segment >= (int64_t)program->segment_count) {
            status = systole_fail(diagnostic, SYSTOLE_BAD_FILE, program->model_name, RECOMPILE,
                                  "operator %u is in segment %d, which is not there", i, info->segment);
        }
    }
    for (uint32_t i = 0; i < program->segment_count && status == SYSTOLE_OK; i++) {
        status = verify_segment(program, i, diagnostic);
    }
    return status;
}
