// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The public interface, as a program that links it uses it: nothing but systole.h, and graphs made for the purpose.
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "build_graph.h"
#include "digits.h"
#include "on_virtual_bus.h"
#include "systole.h"
#include "testing.h"

enum { MANY = 8, DEADLINE_POLLS = 2000, POLL_MS = 10 };

#define OK(call) ck_assert_msg((call) == SYSTOLE_OK, "%s: %s (%s)", #call, diagnostic.what, diagnostic.where)

static struct systole_diagnostic diagnostic;
static const char *const kinds[] = {"cpu", "model"};

static uint32_t largest(const int8_t *scores) {
    uint32_t best = 0;
    for (uint32_t i = 1; i < CLASSES; i++) {
        best = scores[i] > scores[best] ? i : best;
    }
    return best;
}

static const char *kernels; // of the CPU

static struct systole_device *open_device(const char *name, bool trace) {
    struct systole_device_options options = {.size = sizeof options, .trace = trace, .kernels = kernels};
    struct systole_device *device = NULL;
    OK(systole_device_open(name, &options, &device, &diagnostic));
    return device;
}

static struct systole_model *load_digits(struct systole_device *device) {
    struct systole_model *model = NULL;
    OK(systole_model_load_file(device, DIGITS, &model, &diagnostic));
    return model;
}

static struct systole_inference *create(struct systole_model *model) {
    struct systole_inference *inference = NULL;
    OK(systole_inference_create(model, &inference, &diagnostic));
    return inference;
}

static void digits_on(uint32_t kind) {
    struct systole_device *device = open_device(kinds[kind], true);
    struct systole_model *model = load_digits(device);
    struct systole_inference *inference = create(model);
    uint8_t pixels[PIXELS];
    int8_t scores[CLASSES];
    struct systole_tensor_info info = {.size = sizeof info};
    ck_assert_str_eq(systole_device_name(device), kinds[kind]);
    ck_assert_str_eq(systole_version(), SYSTOLE_VERSION);
    ck_assert_uint_eq(systole_model_inputs(model), 1);
    ck_assert_int_eq(systole_model_input(model, 0, &info), SYSTOLE_OK);
    ck_assert_str_eq(info.name, "image");
    ck_assert(info.dtype == SYSTOLE_INT8 && info.rank == 4 && info.shape[1] == 8 && info.shape[2] == 8);
    ck_assert(info.bytes == PIXELS && info.is_quantised && info.scale == 0.0625f && info.zero_point == 0);
    ck_assert_int_eq(systole_model_output(model, 1, &info), SYSTOLE_BAD_ARGUMENT);
    ck_assert_int_eq(systole_inference_set_input(inference, 0, pixels, PIXELS), SYSTOLE_OK);
    ck_assert_int_eq(systole_inference_set_output(inference, 0, scores, sizeof scores), SYSTOLE_OK);
    for (uint32_t digit = 0; digit < CLASSES; digit++) {
        read_picture(digit, pixels);
        OK(systole_inference_invoke(inference, &diagnostic));
        ck_assert_uint_eq(largest(scores), digit);
    }
    uint64_t sum = 0;
    uint32_t on_device = 0;
    for (uint32_t i = 0; i < systole_model_operators(model); i++) {
        struct systole_operator_placement placement = {.size = sizeof placement};
        uint64_t cycles = 0;
        ck_assert_int_eq(systole_model_operator(model, i, &placement), SYSTOLE_OK);
        on_device += placement.on_device;
        ck_assert(placement.on_device || placement.reason[0] != '\0');
        enum systole_status status = systole_inference_operator_cycles(inference, i, &cycles);
        ck_assert_int_eq(status, kind == 0 ? SYSTOLE_UNSUPPORTED : SYSTOLE_OK);
        sum += cycles;
    }
    ck_assert_uint_eq(on_device, kind == 0 ? 0 : 9);
    ck_assert_uint_eq(sum, systole_inference_cycles(inference));
    ck_assert(kind == 0 ? sum == 0 : sum != 0);
    systole_device_close(device); // the others keep it
    systole_model_free(model);
    OK(systole_inference_invoke(inference, &diagnostic));
    ck_assert_uint_eq(largest(scores), CLASSES - 1);
    systole_inference_free(inference);
}

// With the reference kernels, the fastest ones, and those in plain C.
START_TEST(digits) {
    static const char *const levels[] = {"reference", NULL, "c"};
    kernels = levels[_i / 2];
    digits_on((uint32_t)_i % 2);
}
END_TEST

// ---- Several in flight.

static uint32_t completed, again;

static void complete(struct systole_inference *inference, void *context) {
    ck_assert(!systole_inference_in_flight(inference));
    completed++;
    *(enum systole_status *)context = systole_inference_status(inference, NULL);
    if (again > 0) {
        again--;
        ck_assert_int_eq(systole_inference_submit(inference, complete, context, NULL), SYSTOLE_OK);
    }
}

static void poll_until(struct systole_device *device, uint32_t count) {
    for (uint32_t i = 0; completed < count; i++) {
        uint32_t timeout_ms = 0;
        struct pollfd descriptor = {.fd = systole_device_descriptor(device, &timeout_ms), .events = POLLIN};
        ck_assert_uint_lt(i, DEADLINE_POLLS);
        ck_assert_uint_ne(timeout_ms, UINT32_MAX); // something is in flight
        (void)poll(&descriptor, 1, timeout_ms < POLL_MS ? (int)timeout_ms : POLL_MS);
        ck_assert_int_eq(systole_device_poll(device, 0), SYSTOLE_OK);
    }
}

START_TEST(several_in_flight) {
    struct systole_device *device = open_device(kinds[_i], false);
    struct systole_model *model = load_digits(device);
    struct systole_inference *inferences[MANY];
    uint8_t pixels[MANY][PIXELS];
    int8_t scores[MANY][CLASSES];
    enum systole_status statuses[MANY];
    uint32_t timeout_ms = 0;
    completed = again = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        inferences[i] = create(model);
        read_picture(i, pixels[i]);
        statuses[i] = SYSTOLE_MISMATCH;
        ck_assert_int_eq(systole_inference_set_input(inferences[i], 0, pixels[i], PIXELS), SYSTOLE_OK);
        ck_assert_int_eq(systole_inference_set_output(inferences[i], 0, scores[i], CLASSES), SYSTOLE_OK);
        OK(systole_inference_submit(inferences[i], complete, &statuses[i], &diagnostic));
        ck_assert_int_eq(systole_inference_submit(inferences[i], NULL, NULL, &diagnostic), SYSTOLE_BAD_ARGUMENT);
        ck_assert_int_eq(systole_inference_set_output(inferences[i], 0, NULL, 0), SYSTOLE_BAD_ARGUMENT);
    }
    ck_assert_uint_eq(completed, 0); // never from submit
    again = 3;
    poll_until(device, MANY + 3);
    (void)systole_device_descriptor(device, &timeout_ms);
    ck_assert_uint_eq(timeout_ms, UINT32_MAX);
    for (uint32_t i = 0; i < MANY; i++) {
        ck_assert_int_eq(statuses[i], SYSTOLE_OK);
        ck_assert_uint_eq(largest(scores[i]), i);
    }
    // One is cancelled, one freed while it is in flight, the others do not notice.
    completed = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        memset(scores[i], 0, CLASSES);
        OK(systole_inference_submit(inferences[i], complete, &statuses[i], &diagnostic));
    }
    (void)systole_device_poll(device, 0);
    uint32_t before = completed;
    systole_inference_cancel(inferences[4]);
    systole_inference_cancel(inferences[4]);
    ck_assert_int_eq(statuses[4], SYSTOLE_CANCELLED);
    ck_assert_uint_eq(completed, before + 1);
    systole_inference_free(inferences[5]);
    poll_until(device, MANY - 1);
    for (uint32_t i = 0; i < MANY; i++) {
        if (i != 4 && i != 5) {
            ck_assert_int_eq(statuses[i], SYSTOLE_OK);
            ck_assert_uint_eq(largest(scores[i]), i);
            systole_inference_free(inferences[i]);
        }
    }
    systole_inference_free(inferences[4]);
    systole_model_free(model);
    systole_device_close(device);
}
END_TEST

static void reset_all(struct systole_device *device, struct systole_inference *inference) {
    enum systole_status status = SYSTOLE_OK;
    completed = again = 0;
    OK(systole_inference_submit(inference, complete, &status, &diagnostic));
    OK(systole_device_reset(device, &diagnostic));
    ck_assert_uint_eq(completed, 1);
    ck_assert_int_eq(status, SYSTOLE_CANCELLED);
    OK(systole_inference_invoke(inference, &diagnostic));
}

START_TEST(reset) {
    struct systole_device *device = open_device("model", false);
    struct systole_model *model = load_digits(device);
    struct systole_inference *inference = create(model);
    size_t size = 0;
    read_picture(3, systole_inference_input(inference, 0, &size));
    ck_assert_uint_eq(size, PIXELS);
    reset_all(device, inference);
    ck_assert_uint_eq(largest(systole_inference_output(inference, 0, &size)), 3);
    systole_inference_free(inference);
    systole_inference_free(NULL);
    systole_model_free(model);
    systole_model_free(NULL);
    systole_device_close(device);
    systole_device_close(NULL);
}
END_TEST

// ---- No copies where the layout is the tensor's.

static uint8_t *make_vector_model(int32_t bytes, size_t *size) {
    struct systole_graph graph;
    uint8_t *file = NULL;
    build_graph(&graph, "vector");
    int32_t input = build_map(&graph, SYSTOLE_INT8, 1, 1, 1, bytes);
    build_quantise(&graph, input, 0.05f, 3);
    build_input(&graph, input);
    int32_t output = build_requantise(&graph, input, SYSTOLE_INT8, 0.06f, -5);
    uint32_t random = 5;
    const int32_t shape[4] = {1, 1, 1, bytes};
    build_output(&graph, build_add(&graph, input, output, 4, shape, &random));
    OK(systole_graph_write(&graph, NULL, &file, size, &diagnostic));
    systole_graph_free(&graph);
    return file;
}

START_TEST(straight_into_the_callers_memory) {
    enum { SIDE = 32, CHANNELS = 16, BYTES = SIDE * SIDE * CHANNELS };
    size_t size = 0;
    uint32_t random = 5;
    uint8_t *file = make_vector_model(BYTES, &size);
    uint8_t *in = malloc(BYTES), *out[2] = {malloc(BYTES), malloc(BYTES)};
    for (uint32_t i = 0; i < BYTES; i++) {
        in[i] = (uint8_t)testing_random(&random);
    }
    for (uint32_t k = 0; k < 2; k++) {
        struct systole_device_options options = {.size = sizeof options, .chunk_bytes = 3072, .queue_depth = 2};
        struct systole_device *device = NULL;
        struct systole_model *model = NULL;
        OK(systole_device_open(kinds[k], &options, &device, &diagnostic));
        OK(systole_model_load(device, file, size, "large", &model, &diagnostic));
        struct systole_inference *inference = create(model);
        struct systole_device_statistics before = {.size = sizeof before}, after = {.size = sizeof after};
        struct systole_operator_placement placement = {.size = sizeof placement};
        ck_assert_int_eq(systole_model_operator(model, 1, &placement), SYSTOLE_OK);
        ck_assert_msg(placement.on_device == (k == 1), "%s", placement.reason);
        ck_assert_int_eq(systole_inference_set_input(inference, 0, in, BYTES), SYSTOLE_OK);
        ck_assert_int_eq(systole_inference_set_output(inference, 0, out[k], BYTES), SYSTOLE_OK);
        OK(systole_inference_invoke(inference, &diagnostic)); // brings the program, too
        systole_device_statistics(device, &before);
        OK(systole_inference_invoke(inference, &diagnostic));
        systole_device_statistics(device, &after);
        if (k == 1) { // all but what shares a packet with a header
            ck_assert_uint_ge(after.direct_bytes - before.direct_bytes, 2 * BYTES - 2048);
            ck_assert_uint_le(after.copied_bytes - before.copied_bytes, 2048 + 256);
        }
        systole_inference_free(inference);
        systole_model_free(model);
        systole_device_close(device);
    }
    ck_assert_mem_eq(out[0], out[1], BYTES);
    free(out[1]);
    free(out[0]);
    free(in);
    free(file);
}
END_TEST

static void run_vector(const char *kind, const struct systole_device_options *options, const uint8_t *file, size_t size,
                       const uint8_t *in, uint8_t *out, size_t bytes) {
    struct systole_device *device = NULL;
    struct systole_model *model = NULL;
    OK(systole_device_open(kind, options, &device, &diagnostic));
    OK(systole_model_load(device, file, size, "vector", &model, &diagnostic));
    struct systole_inference *inference = create(model);
    memset(out, 0xee, bytes + 1);
    ck_assert_int_eq(systole_inference_set_input(inference, 0, in, bytes), SYSTOLE_OK);
    ck_assert_int_eq(systole_inference_set_output(inference, 0, out, bytes), SYSTOLE_OK);
    OK(systole_inference_invoke(inference, &diagnostic));
    ck_assert_uint_eq(out[bytes], 0xee);
    systole_inference_free(inference);
    systole_model_free(model);
    systole_device_close(device);
}

// Around every border: what is direct, packets, the first packet's share, chunks.
START_TEST(every_size) {
    static const int32_t sizes[] = {1,    15,   1008, 1009, 4095, 4096, 4097, 5103,
                                    5104, 5105, 5120, 6127, 6128, 9201, 20000};
    static const size_t chunks[] = {1024, 2048, 3072, 0};
    static const uint32_t depths[] = {1, 2, 4};
    int32_t bytes = sizes[_i];
    size_t size = 0;
    uint32_t random = 77;
    uint8_t *file = make_vector_model(bytes, &size);
    uint8_t *in = malloc((size_t)bytes), *wanted = malloc((size_t)bytes + 1), *out = malloc((size_t)bytes + 1);
    ck_assert(in != NULL && wanted != NULL && out != NULL);
    for (int32_t i = 0; i < bytes; i++) {
        in[i] = (uint8_t)testing_random(&random);
    }
    run_vector("cpu", NULL, file, size, in, wanted, (size_t)bytes);
    for (uint32_t c = 0; c < sizeof chunks / sizeof chunks[0]; c++) {
        for (uint32_t d = 0; d < sizeof depths / sizeof depths[0]; d++) {
            struct systole_device_options options = {
                .size = sizeof options, .chunk_bytes = chunks[c], .queue_depth = depths[d], .no_replay = true};
            run_vector("model", &options, file, size, in, out, (size_t)bytes);
            ck_assert_mem_eq(out, wanted, (size_t)bytes);
        }
    }
    free(out);
    free(wanted);
    free(in);
    free(file);
}
END_TEST

// An output that is an input, and the same one twice: nothing can be bound, everything is right.
START_TEST(tensors_that_cannot_be_bound) {
    enum { BYTES = 48 };
    struct systole_graph graph;
    uint8_t *file = NULL;
    size_t size = 0;
    build_graph(&graph, "shared");
    int32_t input = build_map(&graph, SYSTOLE_INT8, 1, 1, 1, BYTES);
    build_quantise(&graph, input, 0.05f, 3);
    build_input(&graph, input);
    int32_t output = build_requantise(&graph, input, SYSTOLE_INT8, 0.05f, 3);
    build_output(&graph, input);
    build_output(&graph, output);
    build_output(&graph, output);
    OK(systole_graph_write(&graph, NULL, &file, &size, &diagnostic));
    systole_graph_free(&graph);
    struct systole_device *device = open_device(kinds[_i], false);
    struct systole_model *model = NULL;
    OK(systole_model_load(device, file, size, "shared", &model, &diagnostic));
    struct systole_inference *inference = create(model);
    uint8_t in[BYTES], out[3][BYTES];
    for (uint32_t i = 0; i < BYTES; i++) {
        in[i] = (uint8_t)i;
    }
    memset(out, 0xee, sizeof out);
    ck_assert_int_eq(systole_inference_set_input(inference, 0, in, BYTES), SYSTOLE_OK);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_int_eq(systole_inference_set_output(inference, i, out[i], BYTES), SYSTOLE_OK);
    }
    OK(systole_inference_invoke(inference, &diagnostic));
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_mem_eq(out[i], in, BYTES);
        ck_assert_ptr_eq(systole_inference_output(inference, i, &size), out[i]);
    }
    systole_inference_free(inference);
    systole_model_free(model);
    systole_device_close(device);
    free(file);
}
END_TEST

START_TEST(recording) {
    static const uint8_t magic[4] = {0xd4, 0xc3, 0xb2, 0xa1};
    char path[] = "/tmp/systole_library_XXXXXX";
    struct systole_device_options options = {.size = sizeof options, .record = path};
    struct systole_device_statistics statistics = {.size = sizeof statistics};
    struct systole_device *device = NULL;
    size_t size = 0;
    int descriptor = mkstemp(path);
    ck_assert_int_ge(descriptor, 0);
    close(descriptor);
    OK(systole_device_open("model", &options, &device, &diagnostic));
    struct systole_model *model = load_digits(device);
    struct systole_inference *inference = create(model);
    OK(systole_inference_invoke(inference, &diagnostic));
    systole_device_statistics(device, &statistics);
    ck_assert(!statistics.recording_failed && statistics.uploads == 1);
    systole_inference_free(inference);
    systole_model_free(model);
    systole_device_close(device);
    uint8_t *bytes = testing_read_file(path, &size);
    unlink(path);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_uint_gt(size, 10000); // program and parameters went over the bus
    ck_assert_mem_eq(bytes, magic, sizeof magic);
    free(bytes);
    options.record = "/no/such/folder/file";
    ck_assert_int_eq(systole_device_open("model", &options, &device, &diagnostic), SYSTOLE_BAD_FILE);
    ck_assert_int_eq(systole_device_open("cpu", &options, &device, &diagnostic), SYSTOLE_BAD_ARGUMENT);
}
END_TEST

START_TEST(refusals) {
    struct systole_device *device = (void *)1;
    struct systole_model *model = (void *)1;
    struct systole_device_options options = {.size = sizeof options, .target = "systole1"};
    static const char *const unknown[] = {"", "gpu", "usb:", "usb:x", "usb:serial:", "modelx"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        ck_assert_int_eq(systole_device_open(unknown[i], NULL, &device, &diagnostic), SYSTOLE_BAD_ARGUMENT);
        ck_assert_ptr_null(device);
        ck_assert_str_ne(diagnostic.what, "");
    }
    ck_assert_int_eq(systole_device_open("model", &options, &device, &diagnostic), SYSTOLE_BAD_ARGUMENT);
    options = (struct systole_device_options){.size = sizeof options, .kernels = "quick"};
    ck_assert_int_eq(systole_device_open("cpu", &options, &device, &diagnostic), SYSTOLE_BAD_ARGUMENT);
    options = (struct systole_device_options){.size = sizeof options, .threads = 1000};
    ck_assert_int_eq(systole_device_open("cpu", &options, &device, &diagnostic), SYSTOLE_BAD_ARGUMENT);
    options = (struct systole_device_options){.size = sizeof options, .faults = "examples"};
    ck_assert_int_eq(systole_device_open("cpu", &options, &device, &diagnostic), SYSTOLE_BAD_ARGUMENT);
    ck_assert_int_eq(systole_device_open("model", &options, &device, &diagnostic), SYSTOLE_BAD_FILE);
    options.size = offsetof(struct systole_device_options, faults); // an older caller has no such option
    OK(systole_device_open("model", &options, &device, &diagnostic));
    ck_assert_int_eq(systole_model_load_file(device, "no/such/file", &model, &diagnostic), SYSTOLE_BAD_FILE);
    ck_assert_ptr_null(model);
    ck_assert_int_eq(systole_model_load(device, "abcdTFL3", 8, "short", &model, NULL), SYSTOLE_BAD_FILE);
    ck_assert_int_eq(systole_model_load(device, "abcdSYS1", 8, "short", &model, NULL), SYSTOLE_BAD_FILE);
    model = load_digits(device);
    struct systole_inference *inference = create(model);
    uint8_t bytes[PIXELS];
    size_t size = 1;
    ck_assert_int_eq(systole_inference_set_input(inference, 0, bytes, PIXELS - 1), SYSTOLE_BAD_ARGUMENT);
    ck_assert_int_eq(systole_inference_set_input(inference, 1, bytes, PIXELS), SYSTOLE_BAD_ARGUMENT);
    ck_assert_int_eq(systole_inference_set_output(inference, 0, bytes, CLASSES + 1), SYSTOLE_BAD_ARGUMENT);
    ck_assert_ptr_null(systole_inference_input(inference, 1, &size));
    ck_assert_uint_eq(size, 0);
    ck_assert_ptr_null(systole_inference_output(inference, 1, &size));
    systole_inference_free(inference);
    systole_model_free(model);
    systole_device_close(device);
}
END_TEST

// ---- On a bus.

enum { HANDLES = 3, TURNS = 4, SHORT_MS = 300 };

struct seen {
    uint32_t count, applications, in_use;
    char name[BUS_DEVICES][48];
};

static void see(const struct systole_device_found *found, void *context) {
    struct seen *seen = context;
    CLIENT_CHECK(seen->count < BUS_DEVICES && found->trouble[0] == '\0', "%s", found->trouble);
    (void)snprintf(seen->name[seen->count], sizeof seen->name[0], "%s", found->name);
    seen->count++;
    seen->applications += found->is_application;
    seen->in_use += found->in_use;
}

static struct seen find(void) {
    struct seen seen = {0};
    CLIENT_CHECK(systole_device_find(see, &seen, &diagnostic) == SYSTOLE_OK, "%s", diagnostic.what);
    return seen;
}

static struct systole_device *open_usb(const char *name, bool shared, enum systole_status wanted) {
    struct systole_device_options options = {.size = sizeof options, .shared = shared, .silence_ms = SHORT_MS};
    struct systole_device *device = NULL;
    enum systole_status status = systole_device_open(name, &options, &device, &diagnostic);
    CLIENT_CHECK(status == wanted, "%s: %s", systole_status_name(status), diagnostic.what);
    return device;
}

static void invoke(struct systole_device *device, struct systole_inference **inference, uint32_t digit,
                   enum systole_status wanted) {
    struct systole_model *model = NULL;
    size_t size = 0;
    if (*inference == NULL) {
        CLIENT_CHECK(systole_model_load_file(device, DIGITS, &model, &diagnostic) == SYSTOLE_OK, "%s", diagnostic.what);
        CLIENT_CHECK(systole_inference_create(model, inference, &diagnostic) == SYSTOLE_OK, "%s", diagnostic.what);
        systole_model_free(model);
    }
    read_picture(digit, systole_inference_input(*inference, 0, &size));
    enum systole_status status = systole_inference_invoke(*inference, &diagnostic);
    CLIENT_CHECK(status == wanted, "%s: %s", systole_status_name(status), diagnostic.what);
    const int8_t *scores = systole_inference_output(*inference, 0, &size);
    CLIENT_CHECK(wanted != SYSTOLE_OK || largest(scores) == digit, "a %u for a %u", largest(scores), digit);
}

// Handles of one process in turn; one that has the device alone keeps the others out, within their time.
static void handles_share(void) {
    struct systole_device *devices[HANDLES];
    struct systole_inference *inferences[HANDLES] = {NULL}, *alone = NULL;
    struct seen seen = find();
    CLIENT_CHECK(seen.count == 1 && seen.applications == 0 && seen.in_use == 0, "%u devices", seen.count);
    for (uint32_t i = 0; i < HANDLES; i++) {
        devices[i] = open_usb(i == 0 ? "usb" : seen.name[0], true, SYSTOLE_OK);
        CLIENT_CHECK(strcmp(systole_device_name(devices[i]), seen.name[0]) == 0, "%s", systole_device_name(devices[i]));
    }
    for (uint32_t turn = 0; turn < TURNS; turn++) {
        for (uint32_t i = 0; i < HANDLES; i++) {
            invoke(devices[i], &inferences[i], (turn * HANDLES + i) % CLASSES, SYSTOLE_OK);
        }
    }
    seen = find();
    CLIENT_CHECK(seen.count == 1 && seen.applications == 1 && seen.in_use == 0, "released %u", seen.in_use);
    struct systole_device *exclusive = open_usb("usb", false, SYSTOLE_OK);
    CLIENT_CHECK(find().in_use == 1, "not in use");
    invoke(exclusive, &alone, 8, SYSTOLE_OK);
    invoke(devices[0], &inferences[0], 3, SYSTOLE_NO_DEVICE);
    open_usb("usb", false, SYSTOLE_NO_DEVICE);
    invoke(exclusive, &alone, 7, SYSTOLE_OK);
    systole_inference_free(alone);
    systole_device_close(exclusive);
    invoke(devices[0], &inferences[0], 3, SYSTOLE_OK);
    for (uint32_t i = 0; i < HANDLES; i++) {
        systole_inference_free(inferences[i]);
        systole_device_close(devices[i]);
    }
}

static void several_devices(void) {
    struct systole_device *devices[BUS_DEVICES];
    struct systole_inference *inferences[BUS_DEVICES] = {NULL};
    struct seen seen = find();
    CLIENT_CHECK(seen.count == BUS_DEVICES, "%u devices", seen.count);
    for (uint32_t i = 0; i < BUS_DEVICES; i++) {
        devices[i] = open_usb(seen.name[i], false, SYSTOLE_OK);
        invoke(devices[i], &inferences[i], i, SYSTOLE_OK);
    }
    for (uint32_t i = 0; i < BUS_DEVICES; i++) {
        systole_inference_free(inferences[i]);
        systole_device_close(devices[i]);
    }
}

static const struct bus_client clients[] = {
    {"handles_share", handles_share}, {"several_devices", several_devices}, {NULL, NULL}};

START_TEST(on_a_bus) {
    on_virtual_bus_of(_i == 0 ? 1 : BUS_DEVICES, clients[_i].name);
}
END_TEST

int main(int argc, char **argv) {
    int status = 0;
    if (is_bus_client(argc, argv, clients, &status)) {
        return status;
    }
    Suite *suite = suite_create("library");
    TCase *cases = tcase_create("cases");
    tcase_set_timeout(cases, 60);
    tcase_add_loop_test(cases, digits, 0, 6);
    tcase_add_loop_test(cases, several_in_flight, 0, 2);
    tcase_add_test(cases, reset);
    tcase_add_test(cases, straight_into_the_callers_memory);
    tcase_add_loop_test(cases, every_size, 0, 15);
    tcase_add_loop_test(cases, tensors_that_cannot_be_bound, 0, 2);
    tcase_add_test(cases, recording);
    tcase_add_test(cases, refusals);
    tcase_add_loop_test(cases, on_a_bus, 0, 2);
    suite_add_tcase(suite, cases);
    return testing_run(suite, "library/test_library");
}
