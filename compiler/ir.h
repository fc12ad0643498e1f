// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What the passes work on. A compilation holds one operation for every operator of the graph (in the same order) and
// grows: legalise fills operations, fuse removes some, place cuts segments, lay_out gives each segment its storages,
// tile its pieces, allocate addresses, emit commands, schedule their order and tokens, estimate their cycles.
// Everything in it lives in one arena, so that there is one thing to free; what becomes the program is malloc'ed.
#ifndef SYSTOLE_IR_H
#define SYSTOLE_IR_H

#include "compiler.h"
#include "quantised_parameters.h"

#define IR_RECORD_WORDS 12u       // a channel record of a parameter stream
#define IR_DEPTHWISE_TAPS 256u    // most taps of a depthwise command
#define IR_WINDOW_LIMIT 255u      // kernel, stride and dilation are bytes
#define IR_EXTENT_LIMIT 32767u    // origins of windows are signed 16-bit
#define IR_TILES_LIMIT 65535u     // channel tiles are 16-bit
#define IR_STRIDE_LIMIT 0xFFFFFFu // words from a channel tile to the next
#define IR_MOVES_LIMIT 256u       // moves of one operation
#define IR_IMAGES_LIMIT 64u       // images of a batch, a command or more each

// A tensor as height x width x channels.
struct extents {
    uint32_t height, width, channels;
};

enum operation_kind {
    OPERATION_HOST, // nothing that the device can do
    OPERATION_CONV,
    OPERATION_DEPTHWISE,
    OPERATION_MAX_POOL,
    OPERATION_AVERAGE_POOL,
    OPERATION_SUM_POOL,
    OPERATION_MIN_POOL,
    OPERATION_ADD,
    OPERATION_SUB,
    OPERATION_MUL,
    OPERATION_MAXIMUM,
    OPERATION_MINIMUM,
    OPERATION_SQUARED_DIFFERENCE,
    OPERATION_PRELU,
    OPERATION_REQUANTISE,
    OPERATION_TABLE,
    OPERATION_MOVE,    // data movement: `moves`
    OPERATION_RESHAPE, // exists only folded
    OPERATION_PAD,     // exists only folded
};

enum operation_state {
    STATE_CPU,
    STATE_RUN,    // has commands
    STATE_FOLDED, // is part of its neighbours
};

// An operand as its bytes lie in memory. Fusing may name another tensor than the operator does.
struct operand {
    int32_t tensor;
    int32_t zero_point;
    bool is_unsigned;
};

// A window that slides over each of `images` feature maps; element-wise operations use the output's extents only.
// Input and output pixels are counted linearly over the whole tensor, so that a tensor of another height and width but
// the same channels serves as well.
struct window {
    uint32_t images;
    uint32_t input_height, input_width, input_channels;
    uint32_t output_height, output_width, output_channels;
    uint32_t kernel_height, kernel_width, stride_y, stride_x, dilation_y, dilation_x;
    int32_t pad_top, pad_left;
    uint32_t image_pixels, row_pixels; // from an input image and row to the next; 0: as the extents say
};

// How an element-wise operand follows the output, in pixels: from an image, row, column to the next. 0: broadcast.
struct pixel_steps {
    uint32_t image, row, column;
    bool lane_broadcast;
};

struct weights {
    const uint8_t *data; // [output][kernel height][kernel width][input], or depthwise [height][width][output]
    const uint8_t *bias; // int32 little endian, or NULL
    bool is_depthwise;   // order of `data`
    bool is_unsigned;
    uint32_t multiplier; // depthwise: outputs of an input channel
    int32_t zero_point;
    struct systole_multiplier *rescale; // one an output channel
};

// How stripes are cut; several schemes are tried.
struct scheme {
    uint32_t stripe_pixels; // at least
    uint32_t stripes;       // aimed at where the map allows
    uint32_t most_stripes;
    uint32_t channel_groups; // where a map is not cut in rows
};

// Every byte to another.
struct lookup {
    uint8_t bytes[256];
    uint32_t parameter_offset;
};

struct operation {
    uint32_t index; // of its operator
    enum operation_kind kind;
    enum operation_state state;
    int32_t segment; // -1: none
    char reason[48]; // as in systole_operator_info
    char detail[256];
    struct operand *inputs; // at least 2
    struct operand output, *more_outputs;
    uint32_t input_count, more_output_count;
    struct window window;
    struct pixel_steps steps[2];
    int32_t clamp_min, clamp_max;
    struct weights weights;                              // conv and depthwise
    struct systole_multiplier input_rescale[2], rescale; // add, requantise and sum_pool
    int32_t left_shift;                                  // add, sub, squared_difference
    struct lookup *tables;                               // table; move: of each input, or none
    uint32_t table_count;
    struct move *moves; // of a move, in order
    struct lane_map *lane_maps;
    struct blend *blends;
    struct phase *phases;
    uint32_t move_count, lane_map_count, blend_count, phase_count;
    int32_t fill;                // what moves fill with
    struct extents *temporaries; // of a move: one an output, one an input; channels 0: not used
    int32_t first_temporary;     // tensor number of the first (below -1)
    struct scheme scheme;        // how tile cuts it
    // Of lay_out:
    bool packed;
    uint32_t segments, segment_bytes; // packed
    uint32_t tile_rows;               // conv
    uint32_t reduction_tiles;         // conv
    uint32_t stream_words;            // parameter words of one output tile
    uint32_t parameter_offset;        // words in region parameters
    bool streamed;                    // its parameters are not resident, load commands bring them
};

// rows x columns pixels of a tensor, counted linearly over it.
struct pixel_box {
    uint32_t first, rows, row_step, columns, column_step;
};

// A tensor that lies in another's words (view.c).
struct storage_view {
    uint32_t parent;             // storage
    uint32_t tile, y, x;         // of the parent, where it begins
    uint32_t row_y, row_x;       // rows and columns of the parent from one of its rows to the next
    uint32_t column_y, column_x; // likewise its columns
    bool is_linear;              // columns of the parent are counted across rows
    struct move *move;           // the copy that it saves
};

// A tensor's bytes on the device during one segment.
struct storage {
    int32_t tensor; // below -1: a temporary of an operation
    struct extents extents;
    struct systole_placement placement;
    uint32_t words;
    uint32_t first_operation, last_operation; // positions in the segment between which it lives
    bool is_input, is_output, is_constant;
    bool in_output;            // a root, in region output: it or a view of it is an output
    bool linear;               // somebody counts its pixels across rows: no gap between rows
    struct storage_view *view; // NULL: it is a root, with words of its own
};

// A box of an operation's output that one command computes. Rows and columns are of one image's output.
struct piece {
    uint32_t operation;      // position in the segment
    const struct move *move; // of which the box is a part, in its rows and columns; NULL: of the output
    uint32_t image, y0, y1, x0, x1, t0, t1;
};

struct segment_io {
    int32_t tensor; // of the model; may be another view of the storage's tensor
    uint32_t storage;
};

struct segment_plan {
    uint32_t index;
    uint32_t *operations; // indices, those that run
    uint32_t operation_count;
    struct storage *storages;
    uint32_t storage_count;
    struct segment_io *inputs, *outputs;
    uint32_t input_count, output_count;
    struct piece *pieces;
    uint32_t piece_count;
    uint8_t *parameters;
    uint32_t parameter_words; // resident ones first, region_words[] says how many
    uint32_t region_words[SYSTOLE_REGIONS];
    struct systole_command *commands;
    struct systole_command_info *info;
    uint32_t command_count;
    struct spill_operation *spill_operations; // of a segment that spills, one an operation
    uint32_t reach, load_reach; // schedule: pieces among which the order may change, loads further; 0: the usual
    uint64_t cycles;
    const struct segment_plan *before;      // estimate: whose replay to resume and not to exceed; NULL: none
    struct systole_schedule_states *states; // of the replay
    uint64_t replayed;                      // cycles that it went through
    bool fits;
    bool spills; // it did not: stripes, loads and stores (spill.h)
};

// An operator that a later pass sent to the CPU; the passes begin again with it there.
struct eviction {
    const char *code; // of a restriction; NULL: none
    int32_t tensor;
    int64_t value, limit;
};

struct compilation {
    const struct systole_graph *graph;
    const struct systole_target *target;
    FILE *dump;
    struct systole_diagnostic *diagnostic;
    struct arena_block *arena;
    struct operation *operations; // one an operator
    struct eviction *evictions;   // one an operator
    bool *cut_before;             // an operator before which place must begin another segment
    bool is_reordered;            // operators do not run in the graph's order
    bool keeps_order;             // they must: a segment made by reordering did not fit
    bool again;                   // an eviction or a cut was added, or the above: begin again
    struct segment_plan *segments;
    uint32_t segment_count;
    struct systole_step *steps;
    uint32_t step_count;
    int32_t temporary_count; // of all operations
};

// Zeroed memory until the compilation ends; NULL when there is none.
void *ir_allocate(struct compilation *compilation, size_t count, size_t size);
void ir_free(struct compilation *compilation);
// Gives back everything that was allocated since the mark.
struct arena_mark {
    struct arena_block *block;
    size_t used;
};
struct arena_mark ir_mark(const struct compilation *compilation);
void ir_release(struct compilation *compilation, struct arena_mark mark);
enum systole_status ir_out_of_memory(const struct compilation *compilation);
enum systole_status ir_internal_error(const struct compilation *compilation, uint32_t operator_index, const char *what);

struct extents ir_extents(const struct systole_tensor *tensor);

uint32_t ir_divide_up(uint32_t value, uint32_t divisor);
uint32_t ir_round_up(uint32_t value, uint32_t multiple);
const char *ir_kind_name(enum operation_kind kind);
bool ir_is_window(enum operation_kind kind);
// Whether a window sees the rows and columns of a map of these extents as they are.
bool ir_sees_rows(const struct window *window, uint32_t height, uint32_t width);
// The window of a fully connected layer on a map of height x width x channels.
// False: the three do not fit together, or the kernel is too large.
bool ir_fully_connected_window(const struct extents *input, const struct extents *output, uint32_t depth,
                               struct window *window);
// Whether every pixel of the box is as many rows and columns of the tensor from the one before as the steps say.
bool ir_is_box(const struct extents *extents, const struct pixel_box *box);
bool ir_is_eight_bit(const struct systole_tensor *tensor); // int8 or uint8
bool ir_is_pair(enum operation_kind kind);                 // element-wise on two maps
uint32_t ir_output_count(const struct operation *operation);
const struct operand *ir_output(const struct operation *operation, uint32_t index);
bool ir_reads(const struct operation *operation, int32_t tensor);
bool ir_writes(const struct operation *operation, int32_t tensor);
// Marks the temporary of a move as used and returns its number in moves (negative).
int32_t ir_temporary(struct operation *operation, uint32_t index, const struct extents *extents);
// The tensor number of a temporary of moves.
int32_t ir_temporary_tensor(const struct operation *operation, int32_t number);
// Keeps an operation on the CPU.
void ir_to_cpu(struct operation *operation, const char *reason, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// Position of a tensor's storage in a segment; UINT32_MAX: none.
uint32_t ir_find_storage(const struct segment_plan *segment, int32_t tensor);
// The tensor whose bytes a folded RESHAPE's output shows (through several); others are their own.
int32_t ir_root(const struct compilation *compilation, int32_t tensor);
// Whether the host reads a tensor: an output of the graph, or an input of an operator on the CPU.
bool ir_cpu_reads(const struct compilation *compilation, int32_t tensor); // an operator on the CPU does
bool ir_host_reads(const struct compilation *compilation, int32_t tensor);
// Word of a pixel counted linearly over the storage, tile 0.
uint32_t ir_pixel_word(const struct storage *storage, uint32_t pixel);
// Words between two pixels `pixels` apart that are in the same column of some view.
uint32_t ir_pixel_stride(const struct storage *storage, uint32_t pixels);

// Restrictions (restrictions.c): true, and the operation on the CPU with its reason, when a row of the table forbids
// it.
bool restrictions_forbid(const struct compilation *compilation, struct operation *operation);
// Reasons that arise later than legalisation.
void restrictions_apply(const struct compilation *compilation, struct operation *operation,
                        const struct eviction *eviction);

// Words from a row of a storage to the next: at least `stride`, and such that rows that ports read at once lie in
// different banks.
uint32_t lay_out_spread_rows(const struct compilation *c, const struct segment_plan *segment, const struct storage *s,
                             uint32_t stride);
// The order of execution (sequence.c). Operators in it: those on the CPU have segment -1, those on the device the
// number of their segment, in order.
struct sequence_entry {
    uint32_t operator_index;
    int32_t segment;
};
enum systole_status sequence_operators(struct compilation *compilation, struct sequence_entry *sequence,
                                       uint32_t *count);
// Cycles of a launch and of the link for bytes that cross it.
uint64_t sequence_way(const struct systole_target *target, uint64_t bytes);

// Views (view.c). Finds them and marks the moves that they save; gives all up (true: there were some).
enum systole_status views_find(struct compilation *compilation, struct segment_plan *segment);
bool views_drop(const struct compilation *compilation, struct segment_plan *segment);
// For lay_out. Roots live as long as their views, and have rows without gaps where those must. Strides of views, when
// the roots have theirs; false: one had to be given up, so that lay_out must begin again.
void views_share_lives(struct segment_plan *segment);
void views_share_rows(struct segment_plan *segment);
bool views_lay_out(const struct compilation *compilation, struct segment_plan *segment);
// Whether a tensor is `whole`, or a view of it with the same rows.
bool views_line_up(const struct segment_plan *segment, int32_t tensor, const struct storage *whole);
// Their addresses, when the roots have theirs.
void views_place(struct segment_plan *segment);

// The command of a piece and its box; false: that is none. Addresses follow from the storages' placements.
bool emit_piece(const struct compilation *c, const struct segment_plan *segment, const struct piece *piece,
                struct systole_command *command, struct systole_command_info *info);

// Offsets of all parameters, resident ones first (words of those: region_words); their bytes.
void parameters_assign(struct compilation *compilation, struct segment_plan *segment);
enum systole_status parameters_fill(struct compilation *compilation, struct segment_plan *segment);

// Element-wise on two maps, comparisons among them.
bool restrictions_is_pair(const struct systole_operator *op);
bool restrictions_is_comparison(const struct systole_operator *op);
// Moves data and nothing else.
bool restrictions_is_movement(const struct systole_operator *op);

// Operators on single elements one behind the other, of which only the first reads and only the last (given) writes
// bytes (chain.c): their number, 0 when this is none.
#define IR_CHAIN_LIMIT 16u
uint32_t chain_find(const struct systole_graph *graph, uint32_t last, uint32_t chain[IR_CHAIN_LIMIT]);
// Makes an operation a move (fuse: what could not be folded).
enum systole_status legalise_movement(struct compilation *compilation, struct operation *operation);
// MEAN, SUM, REDUCE_MAX, REDUCE_MIN (reduce.c); legalise only what is possible.
bool reduce_is_possible(const struct compilation *compilation, const struct systole_operator *op);
bool reduce_is_movement(const struct compilation *compilation, const struct systole_operator *op); // not by a window
enum systole_status reduce_legalise(struct compilation *compilation, struct operation *operation);

// The passes, in order. Those on a segment are run for each, some for each scheme.
enum systole_status pass_legalise(struct compilation *compilation);
enum systole_status pass_fuse(struct compilation *compilation);
enum systole_status pass_place(struct compilation *compilation);
enum systole_status pass_lay_out(struct compilation *compilation, struct segment_plan *segment);
enum systole_status pass_parameters(struct compilation *compilation, struct segment_plan *segment);
enum systole_status pass_allocate(struct compilation *compilation, struct segment_plan *segment);
enum systole_status pass_tile(struct compilation *compilation, struct segment_plan *segment);
enum systole_status pass_emit(struct compilation *compilation, struct segment_plan *segment);
enum systole_status pass_schedule(struct compilation *compilation, struct segment_plan *segment);
enum systole_status pass_estimate(struct compilation *compilation, struct segment_plan *segment);
enum systole_status pass_assemble(struct compilation *compilation, struct systole_program *program);

// What the passes made, when the options ask for it.
void dump_operations(const struct compilation *compilation, const char *pass);
void dump_storages(const struct compilation *compilation, const struct segment_plan *segment, const char *pass);
void dump_pieces(const struct compilation *compilation, const struct segment_plan *segment, const char *pass);
void dump_commands(const struct compilation *compilation, const struct segment_plan *segment, const char *pass);
void dump_cycles(const struct compilation *compilation, const struct segment_plan *segment, const char *pass);

#endif
