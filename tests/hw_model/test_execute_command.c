// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Each opcode against a second computation that knows nothing of words, tiles and streams: dense tensors and the
// formulas of the TensorFlow Lite kernels. Shapes, strides, zero points, signedness and layouts are random with seeds.
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "fixed_point.h"
#include "testing.h"

#define MEMORY_WORDS 8192u
#define MAX_ELEMENTS 40000u

struct bench {
    struct systole_target target;
    struct systole_region_window windows[SYSTOLE_REGIONS];
    struct systole_command command;
    uint8_t *memory, *before, *may_write; // may_write: a byte a word
    uint32_t random;
};

static const uint32_t input_base = 64, output_base = 3072, parameter_base = 5120, input2_base = 1536;

static void bench_open(struct bench *bench, uint32_t seed) {
    memset(bench, 0, sizeof *bench);
    bench->random = seed * 2654435761u + 1;
    uint32_t columns = 4u << testing_range(&bench->random, 0, 3);
    bench->target = (struct systole_target){.name = "bench",
                                            .cores = 1,
                                            .rows = columns,
                                            .columns = columns,
                                            .taps = 3,
                                            .scratchpad_bytes = MEMORY_WORDS * columns,
                                            .banks = 16,
                                            .accumulators = 512,
                                            .weight_port_rows = 1u << testing_range(&bench->random, 0, 2),
                                            .link_millibytes_per_cycle = 800,
                                            .clock_hz = 500000000};
    bench->windows[SYSTOLE_REGION_INPUT] = (struct systole_region_window){input_base, 1408};
    bench->windows[SYSTOLE_REGION_ACTIVATIONS] = (struct systole_region_window){input2_base, 1408};
    bench->windows[SYSTOLE_REGION_OUTPUT] = (struct systole_region_window){output_base, 1920};
    bench->windows[SYSTOLE_REGION_PARAMETERS] = (struct systole_region_window){parameter_base, 3072};
    size_t bytes = (size_t)MEMORY_WORDS * columns;
    bench->memory = malloc(bytes);
    bench->before = malloc(bytes);
    bench->may_write = calloc(MEMORY_WORDS, 1);
    ck_assert(bench->memory != NULL && bench->before != NULL && bench->may_write != NULL);
    for (size_t i = 0; i < bytes; i++) {
        bench->memory[i] = (uint8_t)testing_random(&bench->random);
    }
}

static void bench_close(struct bench *bench) {
    free(bench->may_write);
    free(bench->before);
    free(bench->memory);
}

static int32_t pick(struct bench *bench, int32_t low, int32_t high) {
    return testing_range(&bench->random, low, high);
}

static bool flag(const struct bench *bench, uint16_t bit) {
    return (bench->command.header.flags & bit) != 0;
}

static int32_t byte_value(uint8_t byte, bool is_unsigned) {
    return is_unsigned ? byte : (int8_t)byte;
}

static int16_t pick_zero_point(struct bench *bench, bool is_unsigned) {
    return (int16_t)(is_unsigned ? pick(bench, 0, 255) : pick(bench, -128, 127));
}

static void execute(struct bench *bench) {
    uint32_t error = 0, detail = 0;
    memcpy(bench->before, bench->memory, (size_t)MEMORY_WORDS * bench->target.columns);
    bool done =
        systole_execute_command(&bench->target, &bench->command, bench->windows, bench->memory, &error, &detail);
    ck_assert_msg(done, "refused: %s, detail %u", systole_error_name(error), detail);
}

// Nothing but the command's own output words may have changed.
static void check_untouched(struct bench *bench) {
    size_t columns = bench->target.columns;
    for (uint32_t w = 0; w < MEMORY_WORDS; w++) {
        if (!bench->may_write[w]) {
            ck_assert_msg(memcmp(bench->memory + w * columns, bench->before + w * columns, columns) == 0,
                          "word %u changed", w);
        }
    }
}

static uint8_t *word_at(struct bench *bench, uint32_t word) {
    ck_assert_uint_lt(word, MEMORY_WORDS);
    return bench->memory + (size_t)word * bench->target.columns;
}

static void put_32(uint8_t *bytes, int32_t value) {
    for (int i = 0; i < 4; i++) {
        bytes[i] = (uint8_t)((uint32_t)value >> (8 * i));
    }
}

// ---- Window commands: dense tensors, and where they lie.
struct dense {
    uint32_t height, width, channels, outputs;
    uint32_t kernel_height, kernel_width;
    uint8_t input[MAX_ELEMENTS], weights[MAX_ELEMENTS];
    int32_t bias[256], multiplier[256], shift[256];
};

static uint8_t *input_element(struct dense *d, uint32_t y, uint32_t x, uint32_t c) {
    return &d->input[(y * d->width + x) * d->channels + c];
}

static void random_window(struct bench *bench, struct dense *d) {
    struct systole_window *w = &bench->command.body.window;
    uint32_t columns = bench->target.columns;
    d->height = (uint32_t)pick(bench, 1, 9);
    d->width = (uint32_t)pick(bench, 1, 9);
    d->kernel_height = (uint32_t)pick(bench, 1, 4);
    d->kernel_width = (uint32_t)pick(bench, 1, 4);
    w->input_height = (uint16_t)d->height;
    w->input_width = (uint16_t)d->width;
    w->origin_y = (int16_t)pick(bench, -3, 2);
    w->origin_x = (int16_t)pick(bench, -3, 2);
    w->kernel_height = (uint8_t)d->kernel_height;
    w->kernel_width = (uint8_t)d->kernel_width;
    w->stride_y = (uint8_t)pick(bench, 1, 3);
    w->stride_x = (uint8_t)pick(bench, 1, 3);
    w->dilation_y = (uint8_t)pick(bench, 1, 3);
    w->dilation_x = (uint8_t)pick(bench, 1, 3);
    w->output_height = (uint16_t)pick(bench, 1, 7);
    w->output_width = (uint16_t)pick(bench, 1, 7);
    uint32_t tiles = (d->channels + columns - 1) / columns;
    w->input_pixel_stride = (uint16_t)pick(bench, 1, 2);
    w->input_row_stride = d->width * w->input_pixel_stride + (uint32_t)pick(bench, 0, 2);
    w->input_tile_stride = d->height * w->input_row_stride + (uint32_t)pick(bench, 0, 2);
    w->input_tiles = (uint16_t)tiles;
    w->output_tiles = (uint16_t)((d->outputs + columns - 1) / columns);
    w->output_pixel_stride = (uint16_t)pick(bench, 1, 3);
    w->output_row_stride = (uint32_t)(w->output_width * w->output_pixel_stride + pick(bench, 0, 2));
    w->output_tile_stride = w->output_height * w->output_row_stride + (uint32_t)pick(bench, 0, 2);
    uint32_t offset = (uint32_t)pick(bench, 0, 8);
    w->input_address = (uint32_t)SYSTOLE_REGION_INPUT << 28 | offset;
    w->output_address = (uint32_t)SYSTOLE_REGION_OUTPUT << 28 | offset;
    w->parameter_address = (uint32_t)SYSTOLE_REGION_PARAMETERS << 28 | bench->target.weight_port_rows * offset;
    bench->command.header.flags =
        (uint16_t)(testing_random(&bench->random) & (SYSTOLE_FLAG_INPUT_UNSIGNED | SYSTOLE_FLAG_WEIGHT_UNSIGNED));
    w->input_zero_point = pick_zero_point(bench, flag(bench, SYSTOLE_FLAG_INPUT_UNSIGNED));
    w->weight_zero_point = pick_zero_point(bench, flag(bench, SYSTOLE_FLAG_WEIGHT_UNSIGNED));
    w->output_zero_point = (int16_t)pick(bench, -128, 127);
    w->clamp_min = (int16_t)pick(bench, -128, -20);
    w->clamp_max = (int16_t)pick(bench, 20, 127);
    for (uint32_t i = 0; i < d->height * d->width * d->channels; i++) {
        d->input[i] = (uint8_t)testing_random(&bench->random);
    }
    for (uint32_t c = 0; c < 256; c++) {
        bool is_extreme = pick(bench, 0, 15) == 0;
        d->bias[c] = is_extreme ? (int32_t)testing_random(&bench->random) : pick(bench, -20000, 20000);
        d->multiplier[c] = (int32_t)(0x40000000u | testing_random(&bench->random) >> 2);
        d->shift[c] = is_extreme ? pick(bench, -31, 30) : pick(bench, -12, -4);
    }
}

static void place_tiled(struct bench *bench, struct dense *d) {
    const struct systole_window *w = &bench->command.body.window;
    uint32_t columns = bench->target.columns, start = input_base + (w->input_address & 0xfffffffu);
    for (uint32_t y = 0; y < d->height; y++) {
        for (uint32_t x = 0; x < d->width; x++) {
            for (uint32_t c = 0; c < d->channels; c++) {
                uint32_t word =
                    start + c / columns * w->input_tile_stride + y * w->input_row_stride + x * w->input_pixel_stride;
                word_at(bench, word)[c % columns] = *input_element(d, y, x, c);
            }
        }
    }
}

static void place_record(struct bench *bench, const struct dense *d, uint32_t word, uint32_t first) {
    for (uint32_t lane = 0; lane < bench->target.columns; lane++) {
        uint32_t columns = bench->target.columns;
        put_32(word_at(bench, word) + 4 * lane, d->bias[(first + lane) & 255]);
        put_32(word_at(bench, word) + 4 * (columns + lane), d->multiplier[(first + lane) & 255]);
        put_32(word_at(bench, word) + 4 * (2 * columns + lane), d->shift[(first + lane) & 255]);
    }
}

static void check_output(struct bench *bench, uint32_t oy, uint32_t ox, uint32_t channel, int32_t expected) {
    const struct systole_window *w = &bench->command.body.window;
    uint32_t columns = bench->target.columns;
    uint32_t word = output_base + (w->output_address & 0xfffffffu) + channel / columns * w->output_tile_stride +
                    oy * w->output_row_stride + ox * w->output_pixel_stride;
    bench->may_write[word] = 1;
    uint8_t actual = word_at(bench, word)[channel % columns];
    ck_assert_msg(actual == (uint8_t)expected, "y %u x %u channel %u: %u, expected %u", oy, ox, channel, actual,
                  (uint8_t)expected);
}

// The naive sum of products of one output element; `only` < 0: over all channels (conv), else that channel (depthwise).
static int32_t naive_sum(struct bench *bench, struct dense *d, uint32_t oy, uint32_t ox, uint32_t output,
                         int32_t only) {
    const struct systole_window *w = &bench->command.body.window;
    uint32_t first = only < 0 ? 0 : (uint32_t)only, last = only < 0 ? d->channels : first + 1, sum = 0;
    for (uint32_t ky = 0; ky < d->kernel_height; ky++) {
        for (uint32_t kx = 0; kx < d->kernel_width; kx++) {
            int32_t y = w->origin_y + (int32_t)(oy * w->stride_y + ky * w->dilation_y);
            int32_t x = w->origin_x + (int32_t)(ox * w->stride_x + kx * w->dilation_x);
            if (y < 0 || x < 0 || y >= (int32_t)d->height || x >= (int32_t)d->width) {
                continue;
            }
            for (uint32_t c = first; c < last; c++) {
                uint32_t tap = ky * d->kernel_width + kx;
                uint32_t at = only < 0 ? (output * d->kernel_height * d->kernel_width + tap) * d->channels + c
                                       : tap * d->channels + c;
                int32_t a = byte_value(*input_element(d, (uint32_t)y, (uint32_t)x, c),
                                       flag(bench, SYSTOLE_FLAG_INPUT_UNSIGNED));
                int32_t b = byte_value(d->weights[at], flag(bench, SYSTOLE_FLAG_WEIGHT_UNSIGNED));
                sum += (uint32_t)((a - w->input_zero_point) * (b - w->weight_zero_point));
            }
        }
    }
    return (int32_t)sum;
}

static int32_t finish(const struct bench *bench, const struct dense *d, int32_t sum, uint32_t output) {
    const struct systole_window *w = &bench->command.body.window;
    int32_t biased = (int32_t)((uint32_t)sum + (uint32_t)d->bias[output & 255]);
    int32_t scaled = systole_requantise(biased, d->multiplier[output & 255], d->shift[output & 255]);
    int32_t value = (int32_t)((uint32_t)scaled + (uint32_t)w->output_zero_point);
    value = value > w->clamp_max ? w->clamp_max : value;
    return value < w->clamp_min ? w->clamp_min : value;
}

static void check_window_outputs(struct bench *bench, struct dense *d, bool is_depthwise) {
    const struct systole_window *w = &bench->command.body.window;
    for (uint32_t oy = 0; oy < w->output_height; oy++) {
        for (uint32_t ox = 0; ox < w->output_width; ox++) {
            for (uint32_t o = 0; o < d->outputs; o++) {
                int32_t sum = naive_sum(bench, d, oy, ox, o, is_depthwise ? (int32_t)o : -1);
                check_output(bench, oy, ox, o, finish(bench, d, sum, o));
            }
        }
    }
    check_untouched(bench);
}

// Byte of weight row r of reduction tile kt for output o; the zero point where there is none.
static uint8_t conv_weight(const struct bench *bench, const struct dense *d, uint32_t o, uint32_t kt, uint32_t r) {
    const struct systole_window *w = &bench->command.body.window;
    uint32_t tap, c;
    bool exists;
    if (flag(bench, SYSTOLE_FLAG_PACKED)) {
        uint32_t s = r / w->segment_bytes, b = r % w->segment_bytes, ky = kt * w->segments + s;
        tap = ky * d->kernel_width + b / d->channels;
        c = b % d->channels;
        exists = s < w->segments && ky < d->kernel_height;
    } else {
        tap = kt / w->input_tiles;
        c = kt % w->input_tiles * bench->target.rows + r;
        exists = c < d->channels;
    }
    exists = exists && o < d->outputs;
    return exists ? d->weights[(o * d->kernel_height * d->kernel_width + tap) * d->channels + c]
                  : (uint8_t)w->weight_zero_point;
}

static void place_conv_stream(struct bench *bench, const struct dense *d, uint32_t reduction_tiles) {
    const struct systole_window *w = &bench->command.body.window;
    uint32_t columns = bench->target.columns, word = parameter_base + (w->parameter_address & 0xfffffffu);
    for (uint32_t nt = 0; nt < w->output_tiles; nt++) {
        place_record(bench, d, word, nt * columns);
        word += 12;
        for (uint32_t kt = 0; kt < reduction_tiles; kt++) {
            for (uint32_t r = 0; r < w->tile_rows; r++, word++) {
                for (uint32_t c = 0; c < columns; c++) {
                    word_at(bench, word)[c] = conv_weight(bench, d, nt * columns + c, kt, r);
                }
            }
        }
    }
}

static void random_weights(struct bench *bench, struct dense *d, uint32_t count) {
    ck_assert_uint_le(count, MAX_ELEMENTS);
    for (uint32_t i = 0; i < count; i++) {
        d->weights[i] = (uint8_t)testing_random(&bench->random);
    }
}

static uint16_t rounded_rows(const struct bench *bench, uint32_t rows) {
    uint32_t port = bench->target.weight_port_rows;
    return (uint16_t)((rows + port - 1) / port * port);
}

START_TEST(conv_tiled) {
    static struct dense d;
    struct bench bench;
    bench_open(&bench, (uint32_t)_i + 1);
    struct systole_window *w = &bench.command.body.window;
    d.channels = (uint32_t)pick(&bench, 1, (int32_t)(2 * bench.target.columns + 1));
    d.outputs = (uint32_t)pick(&bench, 1, (int32_t)(bench.target.columns + 5));
    random_window(&bench, &d);
    if (d.channels > bench.target.columns) { // keep the stream inside its window
        w->kernel_height = (uint8_t)(d.kernel_height = (uint32_t)pick(&bench, 1, 2));
        w->kernel_width = (uint8_t)(d.kernel_width = (uint32_t)pick(&bench, 1, 2));
    }
    bench.command.header.opcode = SYSTOLE_OPCODE_CONV;
    bench.command.header.unit = SYSTOLE_UNIT_ARRAY;
    w->tile_rows = d.channels >= bench.target.rows ? (uint16_t)bench.target.rows : rounded_rows(&bench, d.channels);
    w->block_rows = (uint16_t)pick(&bench, 1, w->output_height);
    random_weights(&bench, &d, d.outputs * d.kernel_height * d.kernel_width * d.channels);
    place_tiled(&bench, &d);
    place_conv_stream(&bench, &d, d.kernel_height * d.kernel_width * w->input_tiles);
    execute(&bench);
    check_window_outputs(&bench, &d, false);
    bench_close(&bench);
}
END_TEST

START_TEST(conv_packed) {
    static struct dense d;
    struct bench bench;
    bench_open(&bench, (uint32_t)_i + 1000);
    struct systole_window *w = &bench.command.body.window;
    uint32_t columns = bench.target.columns;
    d.channels = (uint32_t)pick(&bench, 1, (int32_t)(columns < 5 ? columns : 5));
    d.outputs = (uint32_t)pick(&bench, 1, (int32_t)(columns + 5));
    random_window(&bench, &d);
    while (d.kernel_width * d.channels > columns) {
        d.kernel_width--;
    }
    w->kernel_width = (uint8_t)d.kernel_width;
    bench.command.header.opcode = SYSTOLE_OPCODE_CONV;
    bench.command.header.unit = SYSTOLE_UNIT_ARRAY;
    bench.command.header.flags |= SYSTOLE_FLAG_PACKED;
    w->dilation_x = 1;
    w->input_tiles = 1;
    w->input_pixel_stride = (uint16_t)d.channels;
    w->input_row_stride = (d.width * d.channels + columns - 1) / columns + (uint32_t)pick(&bench, 0, 2);
    w->segment_bytes = (uint8_t)(d.kernel_width * d.channels);
    uint32_t most = columns / w->segment_bytes;
    w->segments = (uint8_t)pick(&bench, 1, (int32_t)(most < 4 ? most : 4));
    w->tile_rows = rounded_rows(&bench, (uint32_t)w->segments * w->segment_bytes);
    w->block_rows = (uint16_t)pick(&bench, 1, w->output_height);
    random_weights(&bench, &d, d.outputs * d.kernel_height * d.kernel_width * d.channels);
    for (uint32_t y = 0; y < d.height; y++) {
        uint8_t *row = word_at(&bench, input_base + (w->input_address & 0xfffffffu) + y * w->input_row_stride);
        memcpy(row, input_element(&d, y, 0, 0), d.width * d.channels);
    }
    place_conv_stream(&bench, &d, (d.kernel_height + w->segments - 1u) / w->segments);
    execute(&bench);
    check_window_outputs(&bench, &d, false);
    bench_close(&bench);
}
END_TEST

START_TEST(depthwise) {
    static struct dense d;
    struct bench bench;
    bench_open(&bench, (uint32_t)_i + 2000);
    struct systole_window *w = &bench.command.body.window;
    uint32_t columns = bench.target.columns;
    d.channels = d.outputs = (uint32_t)pick(&bench, 1, (int32_t)(3 * columns));
    random_window(&bench, &d);
    bench.command.header.opcode = SYSTOLE_OPCODE_DEPTHWISE;
    bench.command.header.unit = SYSTOLE_UNIT_DEPTHWISE;
    uint32_t taps = d.kernel_height * d.kernel_width;
    random_weights(&bench, &d, taps * d.channels);
    place_tiled(&bench, &d);
    uint32_t word = parameter_base + (w->parameter_address & 0xfffffffu);
    for (uint32_t t = 0; t < w->output_tiles; t++) {
        place_record(&bench, &d, word, t * columns);
        for (uint32_t k = 0; k < taps; k++) {
            for (uint32_t c = 0; c < columns && t * columns + c < d.channels; c++) {
                word_at(&bench, word + 12 + k)[c] = d.weights[k * d.channels + t * columns + c];
            }
        }
        word += rounded_rows(&bench, 12 + taps);
    }
    execute(&bench);
    check_window_outputs(&bench, &d, true);
    bench_close(&bench);
}
END_TEST

// Half away from zero by the definition, not by the kernel's formula.
static int32_t rounded_quotient(int32_t sum, int32_t count) {
    int32_t magnitude = sum < 0 ? -sum : sum;
    int32_t quotient = magnitude / count, twice = 2 * (magnitude % count);
    quotient += twice >= count ? 1 : 0;
    return sum < 0 ? -quotient : quotient;
}

static int32_t naive_pool(struct bench *bench, struct dense *d, uint32_t oy, uint32_t ox, uint32_t c) {
    const struct systole_window *w = &bench->command.body.window;
    bool is_unsigned = flag(bench, SYSTOLE_FLAG_INPUT_UNSIGNED);
    int32_t largest = is_unsigned ? 0 : -128, smallest = is_unsigned ? 255 : 127, raw = 0, count = 0, value = 0;
    for (uint32_t ky = 0; ky < d->kernel_height; ky++) {
        for (uint32_t kx = 0; kx < d->kernel_width; kx++) {
            int32_t y = w->origin_y + (int32_t)(oy * w->stride_y + ky * w->dilation_y);
            int32_t x = w->origin_x + (int32_t)(ox * w->stride_x + kx * w->dilation_x);
            if (y >= 0 && x >= 0 && y < (int32_t)d->height && x < (int32_t)d->width) {
                int32_t byte = byte_value(*input_element(d, (uint32_t)y, (uint32_t)x, c), is_unsigned);
                largest = byte > largest ? byte : largest;
                smallest = byte < smallest ? byte : smallest;
                raw += byte;
                count++;
            }
        }
    }
    switch (bench->command.header.opcode) {
    case SYSTOLE_OPCODE_MAX_POOL:
        value = largest;
        break;
    case SYSTOLE_OPCODE_MIN_POOL:
        value = smallest;
        break;
    case SYSTOLE_OPCODE_AVERAGE_POOL:
        value = count == 0 ? 0 : rounded_quotient(raw, count);
        break;
    default:
        value = systole_requantise(raw - count * w->input_zero_point, w->output_multiplier, w->output_shift);
        value = (int32_t)((uint32_t)value + (uint32_t)w->output_zero_point);
        break;
    }
    value = value > w->clamp_max ? w->clamp_max : value;
    return value < w->clamp_min ? w->clamp_min : value;
}

START_TEST(pools) {
    static struct dense d;
    struct bench bench;
    bench_open(&bench, (uint32_t)_i + 3000);
    struct systole_window *w = &bench.command.body.window;
    d.channels = d.outputs = (uint32_t)pick(&bench, 1, (int32_t)(3 * bench.target.columns));
    random_window(&bench, &d);
    bench.command.header.opcode = (uint8_t)(SYSTOLE_OPCODE_MAX_POOL + _i % 4);
    bench.command.header.unit = SYSTOLE_UNIT_DEPTHWISE;
    w->output_multiplier = (int32_t)(0x40000000u | testing_random(&bench.random) >> 2);
    w->output_shift = (int16_t)pick(&bench, -6, 2);
    w->clamp_max = flag(&bench, SYSTOLE_FLAG_INPUT_UNSIGNED) ? 250 : 120;
    place_tiled(&bench, &d);
    execute(&bench);
    for (uint32_t oy = 0; oy < w->output_height; oy++) {
        for (uint32_t ox = 0; ox < w->output_width; ox++) {
            for (uint32_t c = 0; c < d.channels; c++) {
                check_output(&bench, oy, ox, c, naive_pool(&bench, &d, oy, ox, c));
            }
        }
    }
    check_untouched(&bench);
    bench_close(&bench);
}
END_TEST

static uint32_t element_word(uint32_t address, uint32_t base, const uint32_t strides[3], uint32_t t, uint32_t y,
                             uint32_t x) {
    return base + (address & 0xfffffffu) + t * strides[0] + y * strides[1] + x * strides[2];
}

static int32_t naive_pair(const struct systole_elementwise *e, uint32_t opcode, int32_t a, int32_t b) {
    if (opcode == SYSTOLE_OPCODE_MUL) {
        return a * b;
    }
    if (opcode == SYSTOLE_OPCODE_PRELU && a >= 0) {
        return systole_requantise(a, e->input_multiplier, e->input_shift);
    }
    if (opcode == SYSTOLE_OPCODE_PRELU) {
        return systole_requantise(a * b, e->input2_multiplier, e->input2_shift);
    }
    int64_t left = systole_requantise((int32_t)((uint32_t)a << e->left_shift), e->input_multiplier, e->input_shift);
    int64_t right = systole_requantise((int32_t)((uint32_t)b << e->left_shift), e->input2_multiplier, e->input2_shift);
    switch (opcode) {
    case SYSTOLE_OPCODE_ADD:
        return (int32_t)(uint32_t)(uint64_t)(left + right);
    case SYSTOLE_OPCODE_SUB:
        return (int32_t)(uint32_t)(uint64_t)(left - right);
    case SYSTOLE_OPCODE_MAXIMUM:
        return (int32_t)(left > right ? left : right);
    case SYSTOLE_OPCODE_MINIMUM:
        return (int32_t)(left < right ? left : right);
    default: {
        int64_t difference = (left - right) & 0x3ffff; // 18 bits
        difference -= difference > 0x1ffff ? 0x40000 : 0;
        return (int32_t)(uint32_t)(uint64_t)(difference * difference);
    }
    }
}

static int32_t naive_elementwise(struct bench *bench, int32_t a, int32_t b) {
    const struct systole_elementwise *e = &bench->command.body.elementwise;
    uint32_t opcode = bench->command.header.opcode;
    if (opcode == SYSTOLE_OPCODE_TABLE) { // the table lies in the second input's words
        return bench->memory[(size_t)(bench->windows[SYSTOLE_REGION_ACTIVATIONS].base + 1) * bench->target.columns +
                             (uint8_t)a];
    }
    int32_t value = a - e->input_zero_point;
    if (opcode != SYSTOLE_OPCODE_REQUANTISE) {
        value = naive_pair(e, opcode, value, b - e->input2_zero_point);
    }
    value = systole_requantise(value, e->output_multiplier, e->output_shift);
    value = (int32_t)((uint32_t)value + (uint32_t)e->output_zero_point);
    value = value > e->clamp_max ? e->clamp_max : value;
    return value < e->clamp_min ? e->clamp_min : value;
}

static void random_elementwise(struct bench *bench) {
    struct systole_elementwise *e = &bench->command.body.elementwise;
    bench->command.header.opcode = (uint8_t)pick(bench, SYSTOLE_OPCODE_ADD, SYSTOLE_OPCODE_TABLE);
    bench->command.header.unit = SYSTOLE_UNIT_ELEMENTWISE;
    bench->command.header.flags = (uint16_t)(testing_random(&bench->random) & 0x63);
    e->height = (uint16_t)pick(bench, 1, 6);
    e->width = (uint16_t)pick(bench, 1, 6);
    e->tiles = (uint16_t)pick(bench, 1, 3);
    e->input_pixel_stride = (uint16_t)pick(bench, 0, 2);
    e->input2_pixel_stride = (uint16_t)pick(bench, 0, 2);
    e->output_pixel_stride = (uint16_t)pick(bench, 1, 2);
    e->input_row_stride = (uint32_t)pick(bench, 0, 9);
    e->input2_row_stride = (uint32_t)pick(bench, 0, 9);
    e->output_row_stride = (uint32_t)(e->width * e->output_pixel_stride + pick(bench, 0, 2));
    e->input_tile_stride = (uint32_t)pick(bench, 0, 40);
    e->input2_tile_stride = (uint32_t)pick(bench, 0, 40);
    e->output_tile_stride = e->height * e->output_row_stride;
    e->input_address = (uint32_t)SYSTOLE_REGION_INPUT << 28 | 3;
    e->input2_address = (uint32_t)SYSTOLE_REGION_ACTIVATIONS << 28 | 1;
    e->output_address = (uint32_t)SYSTOLE_REGION_OUTPUT << 28 | 2;
    e->input_zero_point = pick_zero_point(bench, flag(bench, SYSTOLE_FLAG_INPUT_UNSIGNED));
    e->input2_zero_point = pick_zero_point(bench, flag(bench, SYSTOLE_FLAG_INPUT2_UNSIGNED));
    e->output_zero_point = (int16_t)pick(bench, -128, 255);
    e->clamp_min = (int16_t)pick(bench, -128, 0);
    e->clamp_max = (int16_t)pick(bench, 1, 255);
    e->left_shift = (uint16_t)pick(bench, 0, 24);
    e->input_multiplier = (int32_t)(testing_random(&bench->random) >> 1);
    e->input2_multiplier = (int32_t)(testing_random(&bench->random) >> 1);
    e->output_multiplier = (int32_t)(testing_random(&bench->random) >> 1);
    e->input_shift = (int16_t)pick(bench, -3, 1);
    e->input2_shift = (int16_t)pick(bench, -31, 30);
    e->output_shift = (int16_t)pick(bench, -(int32_t)e->left_shift, 2);
}

START_TEST(elementwise) {
    struct bench bench;
    bench_open(&bench, (uint32_t)_i + 4000);
    random_elementwise(&bench);
    const struct systole_elementwise *e = &bench.command.body.elementwise;
    execute(&bench);
    const uint32_t from[3] = {e->input_tile_stride, e->input_row_stride, e->input_pixel_stride};
    const uint32_t from2[3] = {e->input2_tile_stride, e->input2_row_stride, e->input2_pixel_stride};
    const uint32_t to[3] = {e->output_tile_stride, e->output_row_stride, e->output_pixel_stride};
    for (uint32_t i = 0; i < (uint32_t)e->tiles * e->height * e->width; i++) {
        uint32_t t = i / (uint32_t)(e->height * e->width), y = i / e->width % e->height, x = i % e->width;
        const uint8_t *a = word_at(&bench, element_word(e->input_address, input_base, from, t, y, x));
        const uint8_t *b = word_at(&bench, element_word(e->input2_address, input2_base, from2, t, y, x));
        uint32_t word = element_word(e->output_address, output_base, to, t, y, x);
        bench.may_write[word] = 1;
        for (uint32_t c = 0; c < bench.target.columns; c++) {
            uint32_t lane = flag(&bench, SYSTOLE_FLAG_INPUT_LANE_BROADCAST) ? 0 : c;
            uint32_t lane2 = flag(&bench, SYSTOLE_FLAG_INPUT2_LANE_BROADCAST) ? 0 : c;
            int32_t expected = naive_elementwise(&bench, byte_value(a[lane], flag(&bench, SYSTOLE_FLAG_INPUT_UNSIGNED)),
                                                 byte_value(b[lane2], flag(&bench, SYSTOLE_FLAG_INPUT2_UNSIGNED)));
            ck_assert_uint_eq(word_at(&bench, word)[c], (uint8_t)expected);
        }
    }
    check_untouched(&bench);
    bench_close(&bench);
}
END_TEST

// ---- Refusals.
static void base_conv(struct bench *bench) {
    struct systole_window *w = &bench->command.body.window;
    bench_open(bench, 77);
    memset(&bench->command, 0, sizeof bench->command);
    bench->command.header.opcode = SYSTOLE_OPCODE_CONV;
    bench->command.header.unit = SYSTOLE_UNIT_ARRAY;
    *w = (struct systole_window){
        .input_address = (uint32_t)SYSTOLE_REGION_INPUT << 28,
        .input_row_stride = 4,
        .input_tile_stride = 16,
        .input_pixel_stride = 1,
        .input_height = 4,
        .input_width = 4,
        .input_tiles = 1,
        .kernel_height = 1,
        .kernel_width = 1,
        .stride_y = 1,
        .stride_x = 1,
        .dilation_y = 1,
        .dilation_x = 1,
        .output_address = (uint32_t)SYSTOLE_REGION_OUTPUT << 28,
        .output_row_stride = 4,
        .output_tile_stride = 16,
        .output_pixel_stride = 1,
        .output_height = 4,
        .output_width = 4,
        .output_tiles = 1,
        .block_rows = 4,
        .tile_rows = (uint16_t)bench->target.weight_port_rows,
        .parameter_address = (uint32_t)SYSTOLE_REGION_PARAMETERS << 28,
        .clamp_min = -128,
        .clamp_max = 127,
    };
}

static void expect(struct bench *bench, bool done, uint32_t error, uint32_t detail) {
    uint32_t actual_error = 0, actual_detail = 0;
    ck_assert_int_eq(systole_execute_command(&bench->target, &bench->command, bench->windows, bench->memory,
                                             &actual_error, &actual_detail),
                     done);
    ck_assert_uint_eq(actual_error, error);
    ck_assert_uint_eq(actual_detail, detail);
}

START_TEST(windows_are_exact) {
    struct bench bench;
    base_conv(&bench);
    bench.windows[SYSTOLE_REGION_INPUT].words = 16;
    bench.windows[SYSTOLE_REGION_OUTPUT].words = 16;
    bench.windows[SYSTOLE_REGION_PARAMETERS].words = 12 + bench.command.body.window.tile_rows;
    expect(&bench, true, 0, 0);
    bench.windows[SYSTOLE_REGION_INPUT].words = 15;
    expect(&bench, false, SYSTOLE_ERROR_REGION, input_base + 15);
    bench.windows[SYSTOLE_REGION_INPUT].words = 16;
    bench.windows[SYSTOLE_REGION_OUTPUT].words = 15;
    expect(&bench, false, SYSTOLE_ERROR_REGION, output_base + 15);
    bench.windows[SYSTOLE_REGION_OUTPUT].words = 16;
    bench.windows[SYSTOLE_REGION_PARAMETERS].words--;
    expect(&bench, false, SYSTOLE_ERROR_REGION, parameter_base + bench.windows[SYSTOLE_REGION_PARAMETERS].words);
    bench.command.body.window.parameter_address = 9u << 28 | 5; // no such region
    expect(&bench, false, SYSTOLE_ERROR_REGION, 5);
    bench.command.body.window.parameter_address = (uint32_t)SYSTOLE_REGION_HOST << 28 | 7;
    expect(&bench, false, SYSTOLE_ERROR_REGION, 7);
    bench_close(&bench);
}
END_TEST

START_TEST(padding_is_not_read) {
    struct bench bench;
    base_conv(&bench);
    bench.command.body.window.origin_y = -4; // all rows above the input
    bench.windows[SYSTOLE_REGION_INPUT].words = 0;
    expect(&bench, true, 0, 0);
    bench.command.body.window.origin_y = -3;
    expect(&bench, false, SYSTOLE_ERROR_REGION, input_base);
    bench_close(&bench);
}
END_TEST

START_TEST(conv_fields) {
    struct bench bench;
    base_conv(&bench);
    struct systole_window *w = &bench.command.body.window, good = *w;
#define REFUSED(change)                                                                                                \
    *w = good;                                                                                                         \
    change;                                                                                                            \
    expect(&bench, false, SYSTOLE_ERROR_FIELD, SYSTOLE_OPCODE_CONV)
    expect(&bench, true, 0, 0);
    REFUSED(w->tile_rows = 0);
    REFUSED(w->tile_rows = (uint16_t)(bench.target.rows + bench.target.weight_port_rows));
    REFUSED(w->block_rows = 0);
    REFUSED(w->block_rows = (uint16_t)(bench.target.accumulators / 4 + 1));
    REFUSED(w->input_pixel_stride = 0);
    REFUSED(w->input_zero_point = 256);
    REFUSED(w->clamp_min = -129);
    REFUSED(w->segments = 5);
    REFUSED(w->output_multiplier = -1);
    REFUSED(w->output_shift = 31);
    REFUSED(w->input_row_stride = 1u << 24);
    *w = good;
    bench.command.header.flags = SYSTOLE_FLAG_PACKED;
    expect(&bench, false, SYSTOLE_ERROR_FIELD, SYSTOLE_OPCODE_CONV); // no segments
    w->segments = 1;
    w->segment_bytes = 1;
    expect(&bench, true, 0, 0);
    w->segment_bytes = (uint8_t)(w->tile_rows + 1);
    expect(&bench, false, SYSTOLE_ERROR_FIELD, SYSTOLE_OPCODE_CONV);
    *w = good;
    bench.command.header.flags = 1u << 7;
    expect(&bench, false, SYSTOLE_ERROR_FIELD, SYSTOLE_OPCODE_CONV);
    bench.command.header.flags = 0;
    bench.command.header.core = 1;
    expect(&bench, false, SYSTOLE_ERROR_FIELD, SYSTOLE_OPCODE_CONV);
    bench.command.header.core = 0;
    bench.command.header.opcode = SYSTOLE_OPCODE_DEPTHWISE;
    w->kernel_height = 16;
    w->kernel_width = 17;
    expect(&bench, false, SYSTOLE_ERROR_FIELD, SYSTOLE_OPCODE_DEPTHWISE);
    bench.command.header.opcode = 0;
    expect(&bench, false, SYSTOLE_ERROR_OPCODE, 0);
    bench_close(&bench);
}
END_TEST

// The weights' stream may hold any bytes in the shift's word: six bits count.
START_TEST(record_shifts) {
    struct bench bench;
    base_conv(&bench);
    struct systole_window *w = &bench.command.body.window;
    static const int32_t words[] = {0, 5, -5, -31, 30, 31, -32, 64, 0x7fffffff, -2147483647 - 1, 0x40, -64};
    static const int32_t shifts[] = {0, 5, -5, -31, 30, 31, 0, 0, -1, 0, 0, 0};
    w->origin_y = -4; // sums are the bias alone
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        for (uint32_t lane = 0; lane < bench.target.columns; lane++) {
            put_32(word_at(&bench, parameter_base) + 4 * lane, 1234567);
            put_32(word_at(&bench, parameter_base) + 4 * (bench.target.columns + lane), -0x7654321);
            put_32(word_at(&bench, parameter_base) + 4 * (2 * bench.target.columns + lane), words[i]);
        }
        expect(&bench, true, 0, 0);
        int32_t value = systole_requantise(1234567, -0x7654321, shifts[i]);
        value = value < -128 ? -128 : value > 127 ? 127 : value;
        ck_assert_uint_eq(word_at(&bench, output_base)[0], (uint8_t)value);
    }
    bench_close(&bench);
}
END_TEST

START_TEST(transfers_and_nop) {
    struct bench bench;
    base_conv(&bench);
    memset(&bench.command, 0, sizeof bench.command);
    bench.command.header.opcode = SYSTOLE_OPCODE_NOP;
    bench.command.header.unit = SYSTOLE_UNIT_STORE;
    expect(&bench, true, 0, 0);
    bench.command.header.opcode = SYSTOLE_OPCODE_LOAD;
    bench.command.header.unit = SYSTOLE_UNIT_LOAD;
    expect(&bench, false, SYSTOLE_ERROR_FIELD, SYSTOLE_OPCODE_LOAD); // no words
    bench.command.body.transfer.address = (uint32_t)SYSTOLE_REGION_INPUT << 28 | 1400;
    bench.command.body.transfer.words = 8;
    expect(&bench, true, 0, 0);
    bench.command.body.transfer.words = 9;
    expect(&bench, false, SYSTOLE_ERROR_REGION, input_base + 1408);
    bench_close(&bench);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("execute_command");
    TCase *random = tcase_create("random");
    tcase_set_timeout(random, 60);
    tcase_add_loop_test(random, conv_tiled, 0, 150);
    tcase_add_loop_test(random, conv_packed, 0, 150);
    tcase_add_loop_test(random, depthwise, 0, 100);
    tcase_add_loop_test(random, pools, 0, 150);
    tcase_add_loop_test(random, elementwise, 0, 150);
    suite_add_tcase(suite, random);
    TCase *refusals = tcase_create("refusals");
    tcase_add_test(refusals, windows_are_exact);
    tcase_add_test(refusals, padding_is_not_read);
    tcase_add_test(refusals, conv_fields);
    tcase_add_test(refusals, record_shifts);
    tcase_add_test(refusals, transfers_and_nop);
    suite_add_tcase(suite, refusals);
    return testing_run(suite, "hw_model/test_execute_command");
}
