// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The arena and what several passes ask of the representation.
#include "ir.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BLOCK ((size_t)1 << 18)

struct arena_block {
    struct arena_block *next;
    size_t used, size;
    max_align_t bytes[];
};

void *ir_allocate(struct compilation *compilation, size_t count, size_t size) {
    if (size != 0 && count > (SIZE_MAX / 2) / size) {
        return NULL;
    }
    size_t wanted = count * size;
    wanted = (wanted + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    struct arena_block *block = compilation->arena;
    if (block == NULL || block->size - block->used < wanted) {
        size_t block_size = wanted > ARENA_BLOCK ? wanted : ARENA_BLOCK;
        block = malloc(sizeof *block + block_size);
        if (block == NULL) {
            return NULL;
        }
        block->used = 0;
        block->size = block_size;
        block->next = compilation->arena;
        compilation->arena = block;
    }
    void *result = (uint8_t *)block->bytes + block->used;
    block->used += wanted;
    memset(result, 0, wanted);
    return result;
}

void ir_free(struct compilation *compilation) {
    while (compilation->arena != NULL) {
        struct arena_block *next = compilation->arena->next;
        free(compilation->arena);
        compilation->arena = next;
    }
}

struct arena_mark ir_mark(const struct compilation *compilation) {
    const struct arena_block *block = compilation->arena;
    return (struct arena_mark){compilation->arena, block != NULL ? block->used : 0};
}

void ir_release(struct compilation *compilation, struct arena_mark mark) {
    while (compilation->arena != mark.block) {
        struct arena_block *next = compilation->arena->next;
        free(compilation->arena);
        compilation->arena = next;
    }
    if (mark.block != NULL) {
        mark.block->used = mark.used;
    }
}

enum systole_status ir_out_of_memory(const struct compilation *compilation) {
    return systole_fail(compilation->diagnostic, SYSTOLE_OUT_OF_MEMORY, compilation->graph->name,
                        "free memory or compile a smaller model", "no memory to compile");
}

enum systole_status ir_internal_error(const struct compilation *compilation, uint32_t operator_index,
                                      const char *what) {
    return systole_fail(compilation->diagnostic, SYSTOLE_UNSUPPORTED, compilation->graph->name,
                        "this is an error of the compiler: please report it with the model",
                        "internal error at operator %u: %s", operator_index, what);
}

bool ir_sees_rows(const struct window *w, uint32_t height, uint32_t width) {
    return w->images * w->input_height == height && w->input_width == width && w->row_pixels == 0;
}

bool ir_fully_connected_window(const struct extents *input, const struct extents *output, uint32_t depth,
                               struct window *window) {
    *window = (struct window){
        .images = 1,
        .input_height = 1,
        .input_channels = input->channels,
        .output_height = 1,
        .output_width = 1,
        .output_channels = output->channels,
        .kernel_height = 1,
        .kernel_width = 1,
        .stride_y = 1,
        .stride_x = 1,
        .dilation_y = 1,
        .dilation_x = 1,
    };
    if (input->channels == depth) { // every pixel by itself
        window->input_height = window->output_height = output->height;
        window->input_width = window->output_width = output->width;
        return (uint64_t)input->height * input->width == (uint64_t)output->height * output->width;
    }
    uint64_t row = (uint64_t)input->width * input->channels;
    if (depth % row != 0 || input->height % (depth / row) != 0) {
        return false;
    }
    window->kernel_height = window->input_height = (uint32_t)(depth / row);
    window->kernel_width = window->input_width = input->width;
    window->images = input->height / window->kernel_height;
    return window->kernel_height <= IR_WINDOW_LIMIT && window->kernel_width <= IR_WINDOW_LIMIT &&
           window->images <= IR_IMAGES_LIMIT && window->images == (uint64_t)output->height * output->width;
}

bool ir_is_box(const struct extents *extents, const struct pixel_box *box) {
    uint32_t x = box->first % extents->width;
    bool rows_keep_column = box->rows == 1 || box->row_step % extents->width == 0;
    bool columns_keep_row =
        box->columns == 1 || (uint64_t)x + (uint64_t)(box->columns - 1) * box->column_step < (uint64_t)extents->width;
    return rows_keep_column && columns_keep_row;
}

bool ir_is_eight_bit(const struct systole_tensor *tensor) {
    return tensor->dtype == SYSTOLE_INT8 || tensor->dtype == SYSTOLE_UINT8;
}

struct extents ir_extents(const struct systole_tensor *tensor) {
    struct extents extents = {1, 1, 1};
    int32_t rank = tensor->rank;
    if (rank >= 1) {
        extents.channels = (uint32_t)tensor->shape[rank - 1];
    }
    if (rank >= 2) {
        extents.width = (uint32_t)tensor->shape[rank - 2];
    }
    for (int32_t i = 0; i < rank - 2; i++) {
        extents.height *= (uint32_t)tensor->shape[i];
    }
    return extents;
}

uint32_t ir_divide_up(uint32_t value, uint32_t divisor) {
    return value / divisor + (value % divisor != 0);
}

uint32_t ir_round_up(uint32_t value, uint32_t multiple) {
    return ir_divide_up(value, multiple) * multiple;
}

const char *ir_kind_name(enum operation_kind kind) {
    static const char *const names[] = {
        "host",       "conv",  "depthwise", "max_pool", "average_pool", "sum_pool",           "min_pool",
        "add",        "sub",   "mul",       "maximum",  "minimum",      "squared_difference", "prelu",
        "requantise", "table", "move",      "reshape",  "pad"};
    return names[kind];
}

bool ir_is_window(enum operation_kind kind) {
    return kind >= OPERATION_CONV && kind <= OPERATION_MIN_POOL;
}

bool ir_is_pair(enum operation_kind kind) {
    return kind >= OPERATION_ADD && kind <= OPERATION_PRELU;
}

uint32_t ir_output_count(const struct operation *operation) {
    return 1 + operation->more_output_count;
}

const struct operand *ir_output(const struct operation *operation, uint32_t index) {
    return index == 0 ? &operation->output : &operation->more_outputs[index - 1];
}

bool ir_reads(const struct operation *operation, int32_t tensor) {
    bool result = false;
    for (uint32_t k = 0; k < operation->input_count && operation->state != STATE_CPU; k++) {
        result = result || operation->inputs[k].tensor == tensor;
    }
    return result;
}

bool ir_writes(const struct operation *operation, int32_t tensor) {
    bool result = false;
    for (uint32_t k = 0; k < ir_output_count(operation) && operation->state == STATE_RUN; k++) {
        result = result || ir_output(operation, k)->tensor == tensor;
    }
    return result;
}

int32_t ir_temporary(struct operation *operation, uint32_t index, const struct extents *extents) {
    operation->temporaries[index] = *extents;
    return -1 - (int32_t)index;
}

int32_t ir_temporary_tensor(const struct operation *operation, int32_t number) {
    return operation->first_temporary + 1 + number;
}

void ir_to_cpu(struct operation *operation, const char *reason, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(operation->detail, sizeof operation->detail, format, arguments);
    va_end(arguments);
    (void)snprintf(operation->reason, sizeof operation->reason, "%s", reason);
    operation->state = STATE_CPU;
    operation->segment = -1;
}

uint32_t ir_find_storage(const struct segment_plan *segment, int32_t tensor) {
    for (uint32_t i = 0; i < segment->storage_count; i++) {
        if (segment->storages[i].tensor == tensor) {
            return i;
        }
    }
    return UINT32_MAX;
}

int32_t ir_root(const struct compilation *compilation, int32_t tensor) {
    for (uint32_t i = compilation->graph->operator_count; i-- > 0;) { // producers lie before their users
        const struct operation *o = &compilation->operations[i];
        if (o->kind == OPERATION_RESHAPE && o->state == STATE_FOLDED && o->output.tensor == tensor) {
            tensor = o->inputs[0].tensor;
        }
    }
    return tensor;
}

bool ir_cpu_reads(const struct compilation *compilation, int32_t tensor) {
    const struct systole_graph *graph = compilation->graph;
    for (uint32_t i = 0; i < graph->operator_count; i++) {
        const struct systole_operator *op = &graph->operators[i];
        for (uint32_t k = 0; k < op->input_count && compilation->operations[i].state == STATE_CPU; k++) {
            if (op->inputs[k] == tensor) {
                return true;
            }
        }
    }
    return false;
}

bool ir_host_reads(const struct compilation *compilation, int32_t tensor) {
    const struct systole_graph *graph = compilation->graph;
    for (uint32_t i = 0; i < graph->output_count; i++) {
        if (graph->outputs[i] == tensor) {
            return true;
        }
    }
    return ir_cpu_reads(compilation, tensor);
}

uint32_t ir_pixel_word(const struct storage *storage, uint32_t pixel) {
    const struct systole_placement *p = &storage->placement;
    return pixel / p->width * p->row_stride + pixel % p->width * p->pixel_stride;
}

uint32_t ir_pixel_stride(const struct storage *storage, uint32_t pixels) {
    const struct systole_placement *p = &storage->placement;
    return pixels % p->width == 0 ? pixels / p->width * p->row_stride : pixels * p->pixel_stride;
}

void dump_operations(const struct compilation *compilation, const char *pass) {
    if (compilation->dump == NULL) {
        return;
    }
    static const char *const states[] = {"cpu", "device", "folded"};
    fprintf(compilation->dump, "== %s\n", pass);
    for (uint32_t i = 0; i < compilation->graph->operator_count; i++) {
        const struct operation *o = &compilation->operations[i];
        const struct window *w = &o->window;
        fprintf(compilation->dump, "%4u %-20s %-7s segment %d", i,
                systole_operator_name(compilation->graph->operators[i].code), states[o->state], o->segment);
        if (o->state == STATE_RUN) {
            fprintf(compilation->dump, " %s %u x %ux%ux%u -> %ux%ux%u kernel %ux%u stride %u,%u pad %d,%d tensors",
                    ir_kind_name(o->kind), w->images, w->input_height, w->input_width, w->input_channels,
                    w->output_height, w->output_width, w->output_channels, w->kernel_height, w->kernel_width,
                    w->stride_y, w->stride_x, w->pad_top, w->pad_left);
            for (uint32_t k = 0; k < o->input_count; k++) {
                fprintf(compilation->dump, " %d", o->inputs[k].tensor);
            }
            fprintf(compilation->dump, " -> %d", o->output.tensor);
        }
        fprintf(compilation->dump, " %s%s%s\n", o->reason, o->detail[0] != 0 ? ": " : "", o->detail);
    }
}

static void dump_header(const struct compilation *compilation, const struct segment_plan *segment, const char *pass) {
    fprintf(compilation->dump, "== %s, segment %u\n", pass, segment->index);
}

void dump_storages(const struct compilation *compilation, const struct segment_plan *segment, const char *pass) {
    if (compilation->dump == NULL) {
        return;
    }
    dump_header(compilation, segment, pass);
    for (uint32_t i = 0; i < segment->storage_count; i++) {
        const struct storage *s = &segment->storages[i];
        const struct systole_placement *p = &s->placement;
        fprintf(compilation->dump, "tensor %d %ux%ux%u %s%s %s+%u words %u row %u tile %u lives %u..%u\n", s->tensor,
                p->height, p->width, p->channels, p->layout == SYSTOLE_LAYOUT_PACKED ? "packed" : "tiled",
                p->is_unsigned ? " uint8" : "", systole_region_name(p->address >> 28), p->address & 0xFFFFFFFu,
                s->words, p->row_stride, p->tile_stride, s->first_operation, s->last_operation);
    }
    for (uint32_t r = 0; r < SYSTOLE_REGIONS; r++) {
        if (segment->region_words[r] > 0) {
            fprintf(compilation->dump, "region %s: %u words\n", systole_region_name(r), segment->region_words[r]);
        }
    }
}

void dump_pieces(const struct compilation *compilation, const struct segment_plan *segment, const char *pass) {
    if (compilation->dump == NULL) {
        return;
    }
    dump_header(compilation, segment, pass);
    for (uint32_t i = 0; i < segment->piece_count; i++) {
        const struct piece *p = &segment->pieces[i];
        fprintf(compilation->dump, "operator %u: image %u rows %u..%u columns %u..%u tiles %u..%u\n",
                segment->operations[p->operation], p->image, p->y0, p->y1, p->x0, p->x1, p->t0, p->t1);
    }
}

void dump_commands(const struct compilation *compilation, const struct segment_plan *segment, const char *pass) {
    if (compilation->dump == NULL) {
        return;
    }
    dump_header(compilation, segment, pass);
    for (uint32_t i = 0; i < segment->command_count; i++) {
        char line[1024];
        (void)systole_disassemble(&segment->commands[i], i, line, sizeof line);
        fprintf(compilation->dump, "%s\n", line);
    }
}

void dump_cycles(const struct compilation *compilation, const struct segment_plan *segment, const char *pass) {
    if (compilation->dump == NULL) {
        return;
    }
    dump_header(compilation, segment, pass);
    for (uint32_t i = 0; i < segment->command_count; i++) {
        fprintf(compilation->dump, "command %u operator %d: %u..%u\n", i, segment->info[i].operator_index,
                segment->info[i].predicted_start, segment->info[i].predicted_end);
    }
    fprintf(compilation->dump, "%u commands, %llu cycles\n", segment->command_count,
            (unsigned long long)segment->cycles);
}
