// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The CPU runtime against XNNPACK on the layers of MobileNetV2 1.0 224 (and a few larger ones), in int8 with a scale a
// channel and in float32, one thread. Each layer is a model of one operator here and one operator there. The four take
// turns for many short rounds, so that whatever else the machine does meets all of them; best and median of the rounds
// are printed. Sums are weighted by how often MobileNetV2 has a layer.
//   build/bench/cpu [rounds [part of a layer's name]]
#include <stdio.h>

#if defined(__has_include)
#if __has_include(<xnnpack.h>)
#define HAS_XNNPACK 1
#endif
#endif

#ifdef HAS_XNNPACK
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xnnpack.h>

#include "interpreter.h"

struct layer {
    const char *name;
    int32_t extent, inputs, outputs, kernel, stride;
    bool is_depthwise;
    int count; // in MobileNetV2
};

static const struct layer layers[] = {
    {"conv 3x3 s2 224 3-32", 224, 3, 32, 3, 2, false, 1},     {"depthwise 3x3 112 32", 112, 32, 32, 3, 1, true, 1},
    {"conv 1x1 112 32-16", 112, 32, 16, 1, 1, false, 1},      {"conv 1x1 112 16-96", 112, 16, 96, 1, 1, false, 1},
    {"depthwise 3x3 s2 112 96", 112, 96, 96, 3, 2, true, 1},  {"conv 1x1 56 96-24", 56, 96, 24, 1, 1, false, 1},
    {"conv 1x1 56 24-144", 56, 24, 144, 1, 1, false, 2},      {"depthwise 3x3 56 144", 56, 144, 144, 3, 1, true, 1},
    {"conv 1x1 56 144-24", 56, 144, 24, 1, 1, false, 1},      {"depthwise 3x3 s2 56 144", 56, 144, 144, 3, 2, true, 1},
    {"conv 1x1 28 144-32", 28, 144, 32, 1, 1, false, 1},      {"conv 1x1 28 32-192", 28, 32, 192, 1, 1, false, 3},
    {"depthwise 3x3 28 192", 28, 192, 192, 3, 1, true, 2},    {"conv 1x1 28 192-32", 28, 192, 32, 1, 1, false, 2},
    {"depthwise 3x3 s2 28 192", 28, 192, 192, 3, 2, true, 1}, {"conv 1x1 14 192-64", 14, 192, 64, 1, 1, false, 1},
    {"conv 1x1 14 64-384", 14, 64, 384, 1, 1, false, 4},      {"depthwise 3x3 14 384", 14, 384, 384, 3, 1, true, 4},
    {"conv 1x1 14 384-64", 14, 384, 64, 1, 1, false, 3},      {"conv 1x1 14 384-96", 14, 384, 96, 1, 1, false, 1},
    {"conv 1x1 14 96-576", 14, 96, 576, 1, 1, false, 3},      {"depthwise 3x3 14 576", 14, 576, 576, 3, 1, true, 2},
    {"conv 1x1 14 576-96", 14, 576, 96, 1, 1, false, 2},      {"depthwise 3x3 s2 14 576", 14, 576, 576, 3, 2, true, 1},
    {"conv 1x1 7 576-160", 7, 576, 160, 1, 1, false, 1},      {"conv 1x1 7 160-960", 7, 160, 960, 1, 1, false, 3},
    {"depthwise 3x3 7 960", 7, 960, 960, 3, 1, true, 3},      {"conv 1x1 7 960-160", 7, 960, 160, 1, 1, false, 2},
    {"conv 1x1 7 960-320", 7, 960, 320, 1, 1, false, 1},      {"conv 1x1 7 320-1280", 7, 320, 1280, 1, 1, false, 1},
    {"conv 1x1 1 1280-1001", 1, 1280, 1001, 1, 1, false, 1},  {"conv 3x3 28 128-128", 28, 128, 128, 3, 1, false, 0},
    {"conv 3x3 14 256-256", 14, 256, 256, 3, 1, false, 0},    {"conv 1x1 14 1024-1024", 14, 1024, 1024, 1, 1, false, 0},
};
enum { LAYERS = sizeof layers / sizeof *layers, RUNNERS = 4, MOST_ROUNDS = 4000 };
static const char *const runners[RUNNERS] = {"int8", "XNNPACK int8", "float32", "XNNPACK float32"};

// One layer, four ways.
struct bench {
    struct systole_graph graphs[2]; // int8, float32
    struct systole_interpreter *interpreters[2];
    xnn_operator_t operators[2];
    void *inputs[2], *outputs[2]; // of XNNPACK
    double times[RUNNERS][MOST_ROUNDS];
    double macs;
};

static double now(void) {
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1.0e-9 * (double)time.tv_nsec;
}

static void require(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "bench/cpu: %s\n", what);
        exit(2);
    }
}

static void *allocate(size_t size) {
    void *memory = calloc(1, size + XNN_EXTRA_BYTES + 64);
    require(memory != NULL, "no memory");
    return memory;
}

static uint32_t next_random(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static void *copy(const void *from, size_t size) {
    return memcpy(allocate(size), from, size);
}

// Tensor t of the graph; data NULL: computed. One scale, or `scales` of them along `dimension`; 0: floats.
static void set_tensor(struct systole_graph *graph, uint32_t t, enum systole_dtype dtype, int32_t rank,
                       const int32_t *shape, const void *data, uint32_t scales, const float *scale, int64_t zero_point,
                       int32_t dimension) {
    struct systole_tensor *tensor = &graph->tensors[t];
    *tensor = (struct systole_tensor){.name = copy("t", 2), .dtype = dtype, .rank = rank};
    tensor->size = systole_dtype_size(dtype);
    for (int32_t i = 0; i < rank; i++) {
        tensor->shape[i] = shape[i];
        tensor->size *= (size_t)shape[i];
    }
    tensor->data = data != NULL ? copy(data, tensor->size) : NULL;
    if (scales > 0) {
        tensor->quantisation = (struct systole_quantisation){.count = scales,
                                                             .scale = copy(scale, scales * sizeof *scale),
                                                             .zero_point = allocate(scales * sizeof(int64_t)),
                                                             .dimension = dimension};
        for (uint32_t i = 0; i < scales; i++) {
            tensor->quantisation.zero_point[i] = zero_point;
        }
    }
}

static void make_systole(struct bench *b, const struct layer *l, bool is_float, const void *weights,
                         const float *scales) {
    struct systole_graph *graph = &b->graphs[is_float];
    int32_t out = (l->extent + l->stride - 1) / l->stride;
    enum systole_dtype dtype = is_float ? SYSTOLE_FLOAT32 : SYSTOLE_INT8;
    const int32_t in_shape[] = {1, l->extent, l->extent, l->inputs}, out_shape[] = {1, out, out, l->outputs};
    const int32_t conv[] = {l->outputs, l->kernel, l->kernel, l->inputs},
                  depthwise[] = {1, l->kernel, l->kernel, l->outputs};
    const int32_t operands[] = {0, 1, 2}, input = 0, output = 3;
    const float input_scale = 0.02f, output_scale = 0.0235f;
    void *zeros = allocate((size_t)l->outputs * 4);
    *graph = (struct systole_graph){.tensors = allocate(4 * sizeof *graph->tensors),
                                    .operators = allocate(sizeof *graph->operators),
                                    .inputs = copy(&input, sizeof input),
                                    .outputs = copy(&output, sizeof output),
                                    .tensor_count = 4,
                                    .operator_count = 1,
                                    .input_count = 1,
                                    .output_count = 1};
    set_tensor(graph, 0, dtype, 4, in_shape, NULL, is_float ? 0 : 1, &input_scale, -1, 0);
    set_tensor(graph, 1, dtype, 4, l->is_depthwise ? depthwise : conv, weights, is_float ? 0 : (uint32_t)l->outputs,
               scales, 0, l->is_depthwise ? 3 : 0);
    set_tensor(graph, 2, is_float ? SYSTOLE_FLOAT32 : SYSTOLE_INT32, 1, &l->outputs, zeros, 0, NULL, 0, 0);
    set_tensor(graph, 3, dtype, 4, out_shape, NULL, is_float ? 0 : 1, &output_scale, -128, 0);
    free(zeros);
    struct systole_operator *op = &graph->operators[0];
    *op = (struct systole_operator){.code = l->is_depthwise ? SYSTOLE_OP_DEPTHWISE_CONV_2D : SYSTOLE_OP_CONV_2D,
                                    .inputs = copy(operands, sizeof operands),
                                    .outputs = copy(&output, sizeof output),
                                    .input_count = 3,
                                    .output_count = 1};
    op->options =
        (struct systole_options){.stride_h = l->stride, .stride_w = l->stride, .dilation_h = 1, .dilation_w = 1};
    op->options.depth_multiplier = l->is_depthwise ? 1 : 0;
    op->options.activation = is_float ? SYSTOLE_ACTIVATION_RELU6 : SYSTOLE_ACTIVATION_NONE;
    struct systole_interpreter_options options = {
        .kernels = SYSTOLE_KERNELS_FASTEST, .threads = 1, .share_memory = true};
    struct systole_diagnostic diagnostic;
    require(systole_interpreter_create_with(graph, NULL, &options, &b->interpreters[is_float], &diagnostic) ==
                SYSTOLE_OK,
            diagnostic.what);
}

static void make_xnnpack(struct bench *b, const struct layer *l, bool is_float, const void *weights,
                         const float *scales) {
    uint32_t kernel = (uint32_t)l->kernel, stride = (uint32_t)l->stride,
             groups = l->is_depthwise ? (uint32_t)l->inputs : 1;
    size_t in = l->is_depthwise ? 1 : (size_t)l->inputs, out = l->is_depthwise ? 1 : (size_t)l->outputs;
    size_t pixels = (size_t)l->extent * (size_t)l->extent, element = is_float ? sizeof(float) : 1;
    void *zeros = allocate((size_t)l->outputs * 4);
    b->inputs[is_float] = allocate(pixels * (size_t)l->inputs * element);
    b->outputs[is_float] = allocate(pixels * (size_t)l->outputs * element);
    uint32_t flags = kernel == 3 ? XNN_FLAG_TENSORFLOW_SAME_PADDING : 0;
    enum xnn_status status =
        is_float ? xnn_create_convolution2d_nhwc_f32(0, 0, 0, 0, kernel, kernel, stride, stride, 1, 1, groups, in, out,
                                                     (size_t)l->inputs, (size_t)l->outputs, weights, zeros, 0.0f, 6.0f,
                                                     flags, &b->operators[1])
                 : xnn_create_convolution2d_nhwc_qc8(0, 0, 0, 0, kernel, kernel, stride, stride, 1, 1, groups, in, out,
                                                     (size_t)l->inputs, (size_t)l->outputs, -1, 0.02f, scales, weights,
                                                     zeros, -128, 0.0235f, -128, 127, flags, &b->operators[0]);
    require(status == xnn_status_success, "XNNPACK refuses the layer");
    size_t extent = (size_t)l->extent;
    status =
        is_float
            ? xnn_setup_convolution2d_nhwc_f32(b->operators[1], 1, extent, extent, b->inputs[1], b->outputs[1], NULL)
            : xnn_setup_convolution2d_nhwc_qc8(b->operators[0], 1, extent, extent, b->inputs[0], b->outputs[0], NULL);
    require(status == xnn_status_success, "XNNPACK does not set the layer up");
    free(zeros);
}

static void make(struct bench *b, const struct layer *l) {
    uint32_t state = 1;
    size_t depth = (size_t)l->kernel * (size_t)l->kernel * (l->is_depthwise ? 1 : (size_t)l->inputs);
    size_t count = depth * (size_t)l->outputs, inputs = (size_t)l->extent * (size_t)l->extent * (size_t)l->inputs;
    size_t out = (size_t)((l->extent + l->stride - 1) / l->stride);
    int8_t *bytes = allocate(count);
    float *floats = allocate(count * sizeof *floats), *scales = allocate((size_t)l->outputs * sizeof *scales);
    for (size_t i = 0; i < count; i++) {
        bytes[i] = (int8_t)((int32_t)(next_random(&state) >> 8) % 255 - 127);
        floats[i] = (float)bytes[i] / 127.0f;
    }
    for (int32_t i = 0; i < l->outputs; i++) {
        scales[i] = 0.002f + 0.00001f * (float)(i % 100);
    }
    b->macs = (double)(out * out * count);
    for (int is_float = 0; is_float < 2; is_float++) {
        make_systole(b, l, is_float, is_float ? (const void *)floats : bytes, scales);
        make_xnnpack(b, l, is_float, is_float ? (const void *)floats : bytes, scales);
    }
    int8_t *int_input = b->inputs[0];
    float *float_input = b->inputs[1];
    for (size_t i = 0; i < inputs; i++) {
        int_input[i] = (int8_t)(next_random(&state) >> 24);
        float_input[i] = (float)int_input[i] / 128.0f;
    }
    for (int k = 0; k < 2; k++) {
        memcpy(systole_interpreter_tensor(b->interpreters[k], b->graphs[k].inputs[0]), b->inputs[k],
               inputs * (k == 0 ? 1 : sizeof(float)));
    }
    free(scales);
    free(floats);
    free(bytes);
}

static void release(struct bench *b) {
    for (int k = 0; k < 2; k++) {
        (void)xnn_delete_operator(b->operators[k]);
        systole_interpreter_free(b->interpreters[k]);
        systole_graph_free(&b->graphs[k]);
        free(b->inputs[k]);
        free(b->outputs[k]);
    }
    free(b);
}

static void run_once(struct bench *b, int runner) {
    bool is_float = runner >= 2;
    if (runner % 2 == 0) {
        require(systole_interpreter_run(b->interpreters[is_float], NULL) == SYSTOLE_OK, "a run fails");
    } else {
        require(xnn_run_operator(b->operators[is_float], NULL) == xnn_status_success, "XNNPACK fails");
    }
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void measure(struct bench *b, int rounds) {
    for (int round = -2; round < rounds; round++) { // two to warm up
        for (int runner = 0; runner < RUNNERS; runner++) {
            double start = now(), end;
            int runs = 0;
            do {
                run_once(b, runner);
                runs++;
                end = now();
            } while (end - start < 1.0e-4);
            if (round >= 0) {
                b->times[runner][round] = (end - start) / runs;
            }
        }
    }
    for (int runner = 0; runner < RUNNERS; runner++) {
        qsort(b->times[runner], (size_t)rounds, sizeof(double), compare);
    }
}

static void print_processor(void) {
    char line[256] = "";
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL && strncmp(line, "model name", 10) != 0) {
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    const char *name = strchr(line, ':');
    enum systole_kernel_level level = SYSTOLE_KERNELS_FASTEST;
    (void)systole_kernel_level_resolve(&level, NULL);
    printf("%s; kernels %s; one thread; microseconds, best and median of rounds in which the four take turns\n\n",
           name != NULL ? strtok(strdup(name + 2), "\n") : "unknown processor", systole_kernel_level_name(level));
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 200;
    require(rounds > 0 && rounds <= MOST_ROUNDS, "rounds are 1 to 4000");
    require(xnn_initialize(NULL) == xnn_status_success, "XNNPACK does not start");
    print_processor();
    printf(
        "| layer | times | int8 best | median | XNNPACK | median | ratio | float32 best | median | XNNPACK | median | "
        "ratio | int8 GMAC/s | float32 / int8 |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n");
    double sums[RUNNERS][2] = {{0}}, macs = 0, worst[2] = {1.0e9, 1.0e9};
    for (int i = 0; i < LAYERS; i++) {
        const struct layer *l = &layers[i];
        if (argc > 2 && strstr(l->name, argv[2]) == NULL) {
            continue;
        }
        struct bench *b = allocate(sizeof *b);
        make(b, l);
        measure(b, rounds);
        double best[RUNNERS], median[RUNNERS];
        for (int r = 0; r < RUNNERS; r++) {
            best[r] = b->times[r][0];
            median[r] = b->times[r][rounds / 2];
            sums[r][0] += l->count * best[r];
            sums[r][1] += l->count * median[r];
        }
        macs += l->count * b->macs;
        printf("| %s | %d |", l->name, l->count);
        for (int k = 0; k < 2; k++) {
            double ratio = best[2 * k + 1] / best[2 * k];
            worst[k] = ratio < worst[k] ? ratio : worst[k];
            printf(" %.1f | %.1f | %.1f | %.1f | %.2f |", 1.0e6 * best[2 * k], 1.0e6 * median[2 * k],
                   1.0e6 * best[2 * k + 1], 1.0e6 * median[2 * k + 1], ratio);
        }
        printf(" %.1f | %.2f |\n", b->macs / best[0] * 1.0e-9, best[2] / best[0]);
        (void)fflush(stdout);
        release(b);
    }
    printf("\nMobileNetV2's layers, %.1f million multiply-accumulates:\n\n| | best ms | median ms | GMAC/s "
           "|\n|---|---|---|---|\n",
           macs * 1.0e-6);
    for (int r = 0; r < RUNNERS; r++) {
        printf("| %s | %.3f | %.3f | %.1f |\n", runners[r], 1.0e3 * sums[r][0], 1.0e3 * sums[r][1],
               macs / sums[r][0] * 1.0e-9);
    }
    printf(
        "\nXNNPACK's time over ours: int8 %.2f, at worst %.2f on a layer; float32 %.2f, at worst %.2f. float32 / int8: "
        "%.2f\n",
        sums[1][0] / sums[0][0], worst[0], sums[3][0] / sums[2][0], worst[1], sums[2][0] / sums[0][0]);
    return 0;
}
#else
int main(void) {
    fprintf(stderr, "bench/cpu was built without XNNPACK: `make bench-cpu` installs Debian's libxnnpack-dev\n");
    return 2;
}
#endif
