// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Writes the harnesses' seeds to FOLDER/HARNESS/: small models of every operator, programs, sequences of frames with
// random valid launches, conversations over USB. Target files and fault scripts are text and lie beside this file.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zip.h>

#include "build_graph.h"
#include "compiler.h"
#include "device.h"
#include "driver.h"
#include "random_program.h"
#include "recording_transport.h"
#include "remote_host.h"
#include "sample_program.h"
#include "steps.h"
#include "testing.h"

static const char *folder;

static void write_file(const char *harness, const char *name, const void *bytes, size_t size) {
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", folder, harness);
    (void)mkdir(path, 0777);
    (void)snprintf(path, sizeof path, "%s/%s/%s", folder, harness, name);
    FILE *file = fopen(path, "wb");
    bool written = file != NULL && fwrite(bytes, 1, size, file) == size;
    if ((file != NULL && fclose(file) != 0) || !written) {
        ck_abort_msg("%s cannot be written", path);
    }
}

// ---- Models, and the programs that they compile to.
static void write_model(struct systole_graph *graph, const char *name, bool and_program) {
    uint8_t *bytes = NULL;
    size_t size = 0;
    struct systole_program program;
    struct systole_diagnostic diagnostic;
    if (systole_graph_write(graph, NULL, &bytes, &size, &diagnostic) == SYSTOLE_OK) {
        write_file("model", name, bytes, size);
        free(bytes);
        if (and_program && systole_compile(graph, &systole_presets[0], NULL, &program, &diagnostic) == SYSTOLE_OK) {
            if (systole_program_write(&program, &bytes, &size, &diagnostic) == SYSTOLE_OK) {
                write_file("program", name, bytes, size);
                free(bytes);
            }
            systole_program_free(&program);
        }
    }
    systole_graph_free(graph);
}

static void write_networks(void) {
    struct build_window window = build_square(5, 3, 1);
    window.per_channel = true;
    uint32_t random = 9;
    struct systole_graph graph;
    build_graph(&graph, "network");
    int32_t input = build_map(&graph, SYSTOLE_INT8, 1, 6, 6, 5);
    build_quantise(&graph, input, 0.05f, 3);
    build_input(&graph, input);
    int32_t conv = build_conv(&graph, input, &window, &random);
    int32_t deep = build_depthwise(&graph, conv, &window, &random);
    const int32_t shape[4] = {1, 6, 6, 5};
    int32_t sum = build_add(&graph, conv, deep, 4, shape, &random);
    int32_t mean = build_mean(&graph, sum, true, true, false, &random);
    int32_t dense = build_fully_connected(&graph, mean, 5, 7, false, &random);
    build_output(&graph, build_softmax(&graph, dense));
    write_model(&graph, "network", true);

    build_graph(&graph, "pools");
    input = build_map(&graph, SYSTOLE_INT8, 1, 8, 8, 3);
    build_quantise(&graph, input, 0.1f, -3);
    build_input(&graph, input);
    window = (struct build_window){
        .channels = 3, .height = 2, .width = 2, .stride_h = 2, .stride_w = 2, .padding = SYSTOLE_PADDING_VALID};
    int32_t pool = build_pool(&graph, SYSTOLE_OP_AVERAGE_POOL_2D, input, &window);
    pool = build_pool(&graph, SYSTOLE_OP_MAX_POOL_2D, build_pad(&graph, pool, 1, 1, 1, 1), &window);
    const int32_t flat[2] = {1, 27};
    build_output(&graph, build_reshape(&graph, pool, 2, flat));
    write_model(&graph, "pools", true);
}

// One operator with options at 1 on small tensors: kernels refuse some of these, and a mutation away they do not.
static void write_operator(const char *name, int32_t code, enum systole_dtype dtype, uint32_t constants) {
    static const int32_t numbers[4] = {1, 2, 3, 0}, four[1] = {4};
    struct systole_graph graph;
    char file[96];
    build_graph(&graph, name);
    int32_t input = build_map(&graph, dtype, 1, 4, 4, 2), second = -1;
    build_input(&graph, input);
    if (constants == 0) {
        second = build_map(&graph, dtype, 1, 4, 4, 2);
        build_input(&graph, second);
    } else if (constants == 1) {
        second = build_constant(&graph, SYSTOLE_INT32, 1, four, numbers);
    }
    int32_t output = build_map(&graph, dtype, 1, 4, 4, 2);
    if (dtype == SYSTOLE_INT8 || dtype == SYSTOLE_INT16) {
        build_quantise(&graph, input, 0.03125f, 0);
        build_quantise(&graph, output, 0.0625f, 0);
        if (constants == 0) {
            build_quantise(&graph, second, 0.03125f, 0);
        }
    }
    struct systole_operator *op = build_operator(&graph, code, input, second, -1, output);
    op->options.stride_h = op->options.stride_w = op->options.dilation_h = op->options.dilation_w = 1;
    op->options.filter_h = op->options.filter_w = op->options.block_size = op->options.count = 1;
    build_output(&graph, output);
    (void)snprintf(file, sizeof file, "%s_%s_%u", name, systole_dtype_name(dtype), constants);
    write_model(&graph, file, dtype == SYSTOLE_INT8 && code % 5 == 0);
}

static void write_operators(void) {
#define ONE(name, value) {#name, value},
    static const struct {
        const char *name;
        int32_t code;
    } all[] = {SYSTOLE_OPERATOR_LIST(ONE)};
#undef ONE
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        write_operator(all[i].name, all[i].code, SYSTOLE_INT8, (uint32_t)i % 3);
        write_operator(all[i].name, all[i].code, i % 2 == 0 ? SYSTOLE_FLOAT32 : SYSTOLE_INT16, (uint32_t)(i + 1) % 3);
    }
}

static void write_sample(void) {
    struct systole_program program;
    struct systole_diagnostic diagnostic;
    uint8_t *bytes = NULL;
    size_t size = 0;
    sample_program(&program);
    if (systole_program_write(&program, &bytes, &size, &diagnostic) == SYSTOLE_OK) {
        write_file("program", "sample", bytes, size);
    }
    free(bytes);
    systole_program_free(&program);
}

// ---- Steps.
static uint8_t steps[1 << 16];
static size_t steps_size;

static void put(const void *bytes, size_t size) {
    if (size > 0 && size <= sizeof steps - steps_size) {
        memcpy(steps + steps_size, bytes, size);
        steps_size += size;
    }
}

static void put_number(uint32_t value, size_t bytes) {
    put(&value, bytes);
}

static void put_frame(enum step_kind kind, uint32_t address, const void *payload, size_t size) {
    put_number(kind, 1);
    put_number(0, 1);
    put_number(address, 2);
    put_number((uint32_t)size, 2);
    if (kind != STEP_READ) {
        put(payload, size);
    }
}

static void write_frames(void) {
    struct systole_target target = steps_target();
    for (uint32_t seed = 0; seed < 16; seed++) {
        struct random_program program;
        char name[32];
        if (!random_program_make(&program, &target, seed, 2 + seed % 5, false, RANDOM_PROGRAM_ALL_UNITS)) {
            continue; // its maps are larger than this target
        }
        steps_size = 0;
        put_number(seed % 4 == 1 ? seed : 0, 1);
        put_frame(STEP_WRITE, program.launch.regions[SYSTOLE_REGION_PROGRAM].base, program.commands,
                  program.count * sizeof *program.commands);
        put_number(STEP_LAUNCH, 1);
        put_number(0, 3);
        put(&program.launch, sizeof program.launch);
        if (program.stream_words > 0) {
            put_frame(STEP_STREAM, 0, program.stream, (size_t)program.stream_words * target.columns);
        }
        put_number(STEP_RUN, 1);
        put_number(20000, 2);
        put_frame(STEP_READ, program.launch.regions[SYSTOLE_REGION_OUTPUT].base, NULL, 64);
        (void)snprintf(name, sizeof name, "launch_%u", seed);
        write_file("frames", name, steps, steps_size);
        random_program_free(&program);
    }
    struct systole_frame_header header = {SYSTOLE_FRAME_MAGIC, SYSTOLE_FRAME_WRITE, 0, 1, 4, 16};
    steps_size = 0;
    put_number(0, 1);
    put_number(STEP_RAW, 1);
    put_number(sizeof header + 16, 2);
    put(&header, sizeof header);
    put("sixteen bytes...", 16);
    put_number(STEP_REGISTER, 1);
    put_number(SYSTOLE_REGISTER_PARITY_FLIP, 2);
    put_number(5, 4);
    put_frame(STEP_READ, 4, NULL, 64);
    put_number(STEP_RESET, 1);
    put_frame(STEP_READ, 4, NULL, 16);
    write_file("frames", "raw", steps, steps_size);
}

static void put_control(uint8_t type, uint8_t request, uint32_t value, uint32_t index, const void *data,
                        uint32_t length) {
    put_number(USB_STEP_CONTROL, 1);
    put_number(type, 1);
    put_number(request, 1);
    put_number(value, 2);
    put_number(index, 2);
    put_number(length, 2);
    if ((type & 0x80) == 0) {
        put(data, length);
    }
}

static void put_firmware(void) {
    struct systole_target target = steps_target();
    uint8_t *image = NULL;
    size_t size = 0;
    if (systole_firmware_build(&target, &image, &size) == SYSTOLE_OK) {
        put_number(USB_STEP_FIRMWARE, 1);
        put_number((uint32_t)size, 2);
        put(image, size);
    }
    free(image);
}

static void put_read_back(void) {
    const struct systole_frame_header frames[2] = {{SYSTOLE_FRAME_MAGIC, SYSTOLE_FRAME_READ, 0, 9, 4, 32},
                                                   {SYSTOLE_FRAME_MAGIC, SYSTOLE_FRAME_RUN, 0, 9, 4, 32}};
    for (uint32_t i = 0; i < 2; i++) {
        put_number(USB_STEP_OUT, 1);
        put_number(1, 1);
        put_number(sizeof frames[i], 2);
        put(&frames[i], sizeof frames[i]);
        put_number(USB_STEP_RUN, 1);
        for (uint32_t endpoint = 0x81; endpoint <= 0x83; endpoint++) {
            put_number(USB_STEP_IN, 1);
            put_number(endpoint, 1);
            put_number(1024, 2);
        }
    }
}

static void write_usb(void) {
    static const uint8_t descriptors[] = {1, 2, 3, 15, 0x21};
    const char *const script = "every 2 out corrupt\nevery 2 in length\nevery 3 event duplicate\nevery 9 data any\n";
    steps_size = 0;
    for (size_t i = 0; i < sizeof descriptors; i++) {
        put_control(0x80, 6, (uint32_t)descriptors[i] << 8, 0, NULL, 255);
    }
    put_number(USB_STEP_DESCRIPTORS, 1);
    put_number(200, 1);
    put_control(0x00, 9, 1, 0, NULL, 0);
    put_control(0x80, 8, 0, 0, NULL, 1);
    put_control(0x21, 1, 0, 0, "block", 5);
    put_control(0xa1, 3, 0, 0, NULL, 6);
    put_control(0xa1, 5, 0, 0, NULL, 1);
    put_control(0x21, 6, 0, 0, NULL, 0);
    put_control(0x21, 4, 0, 0, NULL, 0);
    write_file("usb", "boot", steps, steps_size);

    steps_size = 0;
    put_firmware();
    put_control(0xc0, SYSTOLE_USB_REQUEST_READ_REGISTER, SYSTOLE_REGISTER_TARGET_ID, 0, NULL, 8);
    put_control(0x40, SYSTOLE_USB_REQUEST_WRITE_REGISTER, SYSTOLE_REGISTER_CONTROL, 0, "\5\0\0\0\0\0\0\0", 8);
    put_read_back();
    put_control(0x40, SYSTOLE_USB_REQUEST_DEVICE_RESET, 0, 0, NULL, 0);
    put_control(0x02, 3, 0, 0x81, NULL, 0);
    put_control(0x82, 0, 0, 0x81, NULL, 2);
    put_control(0x02, 1, 0, 0x81, NULL, 0);
    put_control(0x21, 0, 0, 1, NULL, 0);
    write_file("usb", "application", steps, steps_size);

    steps_size = 0;
    put_firmware();
    put_number(USB_STEP_FAULTS, 1);
    put_number((uint32_t)strlen(script), 1);
    put(script, strlen(script));
    put_read_back();
    put_read_back();
    put_number(USB_STEP_BUS_RESET, 1);
    put_read_back();
    write_file("usb", "faults", steps, steps_size);
}

// ---- Whole conversations with the bus servers.
static void write_conversation(const struct systole_bus_protocol *protocol) {
    static struct remote_host host;
    static const uint8_t nonsense[16] = {1};
    struct systole_target target = steps_target();
    struct systole_byte_queue record = {NULL, 0, 0, 0, false};
    struct systole_accelerator *accelerator = NULL;
    ck_assert_int_eq(systole_functional_model_create(&target, 0, &accelerator, NULL), SYSTOLE_OK);
    struct systole_usb_port port = {.device = systole_usb_device_create(accelerator, &target)};
    struct systole_bus bus = {&port, 1};
    struct systole_frame_header question = {SYSTOLE_FRAME_MAGIC, SYSTOLE_FRAME_READ, 0, 9, 4, 32};
    // So few bytes at once that the device keeps up; all messages of USB/IP end on such a boundary.
    systole_byte_queue_append(&record, "\4", 1);
    host.record = &record;
    ck_assert(remote_open(&host, protocol, &bus));
    (void)remote_ask(&host, 0x80, 6, 0x0100, 0, 18, NULL);
    remote_load_firmware(&host, &target);
    write_file(protocol->name, "firmware", record.bytes + record.start, record.count);
    remote_watch_interrupt(&host);
    remote_cancel(&host, remote_transfer(&host, SYSTOLE_USB_ENDPOINT_BULK_IN, NULL, 1024));
    (void)remote_transfer(&host, SYSTOLE_USB_ENDPOINT_BULK_OUT, (const uint8_t *)&question, sizeof question);
    (void)remote_transfer(&host, SYSTOLE_USB_ENDPOINT_BULK_IN, NULL, 1024);
    (void)remote_transfer(&host, SYSTOLE_USB_ENDPOINT_BULK_OUT, nonsense, sizeof nonsense);
    write_file(protocol->name, "application", record.bytes + record.start, record.count);
    remote_close(&host);
    systole_usb_device_free(port.device);
    systole_byte_queue_free(&record);
}

static void write_bus_servers(void) {
    static const uint8_t list[] = {0, 0x01, 0x11, 0x80, 0x05, 0, 0, 0, 0};
    write_conversation(&systole_usbredir_protocol);
    write_conversation(&systole_usbip_protocol);
    write_file("usbip", "list", list, sizeof list);
}

// ---- A client of the bus.
static void put_usbfs(enum usbfs_step_kind kind, uint32_t file) {
    put_number(kind, 1);
    put_number(file, 1);
}

// Requests by their number in the harness's table.
static void put_request(uint32_t request, uint32_t place) {
    put_usbfs(USBFS_STEP_IOCTL, 0);
    put_number(request, 1);
    put_number(place, 2);
}

static void put_value(uint32_t request, uint32_t value) {
    put_request(request, 256);
    put_number(4, 1);
    put_number(value, 4);
}

static void put_client_control(uint8_t type, uint8_t request, uint32_t value, uint32_t length, uint32_t data) {
    put_request(1, 512);
    put_number(type, 1);
    put_number(request, 1);
    put_number(value, 2);
    put_number(0, 2);
    put_number(length, 2);
    put_number(data, 3);
}

static void put_urb(uint8_t type, uint8_t endpoint, uint32_t buffer, uint32_t length, uint32_t place) {
    put_request(0, place);
    put_number(type, 1);
    put_number(endpoint, 1);
    put_number(0, 1);
    put_number(buffer, 3);
    put_number(length, 2);
}

static void write_usbfs(void) {
    enum { CONTROL = 2, BULK = 3, REAP = 2, CLAIM = 5 };
    static const uint8_t setup[] = {0x80, 6, 0, 1, 0, 0, 18, 0};
    struct systole_target target = steps_target();
    uint8_t *image = NULL;
    size_t size = 0;
    steps_size = 0;
    for (uint32_t request = 2; request < 18; request++) {
        put_value(request, 0);
    }
    put_client_control(0x80, 6, 0x100, 18, 4096);
    put_usbfs(USBFS_STEP_FILL, 0);
    put_number(8192, 2);
    put_number(sizeof setup, 2);
    put(setup, sizeof setup);
    put_urb(CONTROL, 0, 8192, 26, 1024);
    put_value(REAP, 0);
    put_usbfs(USBFS_STEP_OPEN, 1);
    put_usbfs(USBFS_STEP_CLOSE, 0);
    write_file("usbfs", "boot", steps, steps_size);

    steps_size = 0;
    if (systole_firmware_build(&target, &image, &size) == SYSTOLE_OK) {
        put_usbfs(USBFS_STEP_FILL, 0);
        put_number(4096, 2);
        put_number((uint32_t)size, 2);
        put(image, size);
        uint32_t block = 0;
        for (size_t at = 0; at < size; at += 1024, block++) {
            put_client_control(0x21, 1, block, (uint32_t)(size - at < 1024 ? size - at : 1024), 4096 + (uint32_t)at);
            put_client_control(0xa1, 3, 0, 6, 128);
        }
        put_client_control(0x21, 1, block, 0, 0);
        put_client_control(0xa1, 3, 0, 6, 128);
    }
    free(image);
    put_usbfs(USBFS_STEP_CLOSE, 0);
    put_usbfs(USBFS_STEP_OPEN, 0);
    put_value(CLAIM, 0);
    put_urb(BULK, 0x81, 16384, 1024, 1024);
    put_urb(BULK, 0x01, 32768, 16, 1152);
    put_urb(BULK, 0x82, 20480, 1024, 1280);
    for (uint32_t i = 0; i < 3; i++) {
        put_usbfs(USBFS_STEP_RUN, 0);
        put_value(REAP, 0);
    }
    put_request(4, 1024); // discard
    put_number(0, 1);
    put_value(REAP, 0);
    write_file("usbfs", "application", steps, steps_size);
}

// ---- .npy files behind the bytes that choose the tensor.
static void write_npy(void) {
    static const struct {
        const char *name, *header;
        uint8_t choice[3], version;
        size_t bytes;
    } all[] = {
        {"bytes", "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, 1, 3), }", {0, 4 + 5 + 30, 9}, 1, 6},
        {"floats", "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1, 3)}\n", {0, 4 + 5 + 30, 1}, 2, 24},
        {"same", "{\"descr\": \"<i2\", \"fortran_order\": True, \"shape\": (3L,)}", {2, 4 + 30, 1}, 3, 6},
        {"scalar", "{'shape': (), 'descr': '<f4', 'fortran_order': False}", {6, 0, 0}, 1, 4},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        uint32_t length = (uint32_t)strlen(all[i].header);
        steps_size = 0;
        put(all[i].choice, sizeof all[i].choice);
        put("\x93NUMPY", 6);
        put_number(all[i].version, 1);
        put_number(0, 1);
        put_number(length, all[i].version == 1 ? 2 : 4);
        put(all[i].header, length);
        for (size_t k = 0; k < all[i].bytes; k++) {
            put_number(63, 1);
        }
        write_file("npy", all[i].name, steps, steps_size);
    }
}

// An .npz of two arrays, stored or deflated. The byte that chooses the model's inputs stands behind the file.
static void write_npz(const char *name, int32_t method) {
    static const char first[] = "\x93NUMPY\1\0\x3d\0{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } \n"
                                "0123456789abcdefghijklmn";
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t *archive = zip_source_buffer_create(NULL, 0, 0, &error);
    ck_assert_ptr_nonnull(archive);
    zip_source_keep(archive);
    zip_t *zip = zip_open_from_source(archive, ZIP_TRUNCATE, &error);
    ck_assert_ptr_nonnull(zip);
    for (int32_t i = 0; i < 2; i++) {
        zip_source_t *member = zip_source_buffer(zip, first, sizeof first - 1, 0);
        zip_int64_t index = zip_file_add(zip, i == 0 ? "a.npy" : "b.npy", member, 0);
        ck_assert(index >= 0 && zip_set_file_compression(zip, (zip_uint64_t)index, method, 0) == 0);
    }
    ck_assert_int_eq(zip_close(zip), 0);
    uint8_t bytes[2048];
    ck_assert_int_eq(zip_source_open(archive), 0);
    zip_int64_t size = zip_source_read(archive, bytes, sizeof bytes - 1);
    ck_assert_int_gt(size, 0);
    bytes[size] = 1; // two inputs of three numbers
    write_file("arrays", name, bytes, (size_t)size + 1);
    zip_source_close(archive);
    zip_source_free(archive);
    zip_error_fini(&error);
}

static void write_arrays(void) {
    static const char one[] = "\x93NUMPY\1\0\x3e\0{'descr': '|u1', 'fortran_order': False, 'shape': (4, 3)}    \n"
                              "0123456789ab\x80";
    write_file("arrays", "bytes", one, sizeof one - 1);
    write_npz("stored", ZIP_CM_STORE);
    write_npz("deflated", ZIP_CM_DEFLATE);
}

// ---- Float models behind the two bytes that choose mode and options.
static int32_t float_constant(struct systole_graph *graph, int32_t rank, const int32_t *shape, uint32_t *random) {
    float values[2048];
    size_t count = 1;
    for (int32_t i = 0; i < rank; i++) {
        count *= (size_t)shape[i];
    }
    ck_assert_uint_le(count, sizeof values / sizeof values[0]);
    for (size_t i = 0; i < count; i++) {
        values[i] = (float)testing_range(random, -1000, 1000) * 0.001f;
    }
    return build_constant(graph, SYSTOLE_FLOAT32, rank, shape, values);
}

static void write_float_models(void) {
    const int32_t filter[] = {4, 3, 3, 2}, deep[] = {1, 3, 3, 4}, four = 4, flat[] = {1, 144}, dense[] = {10, 144},
                  ten = 10, scores[] = {1, 10};
    uint32_t random = 5;
    struct systole_graph graph;
    build_graph(&graph, "float");
    int32_t input = build_map(&graph, SYSTOLE_FLOAT32, 1, 6, 6, 2), maps[5];
    for (int32_t i = 0; i < 5; i++) {
        maps[i] = build_map(&graph, SYSTOLE_FLOAT32, 1, 6, 6, 4);
    }
    build_input(&graph, input);
    build_operator(&graph, SYSTOLE_OP_CONV_2D, input, float_constant(&graph, 4, filter, &random),
                   float_constant(&graph, 1, &four, &random), maps[0]);
    build_operator(&graph, SYSTOLE_OP_MUL, maps[0], float_constant(&graph, 1, &four, &random), -1, maps[1]);
    build_operator(&graph, SYSTOLE_OP_RELU, maps[1], -1, -1, maps[2]);
    build_operator(&graph, SYSTOLE_OP_DEPTHWISE_CONV_2D, maps[2], float_constant(&graph, 4, deep, &random),
                   float_constant(&graph, 1, &four, &random), maps[3])
        ->options.depth_multiplier = 1;
    build_operator(&graph, SYSTOLE_OP_ADD, maps[2], maps[3], -1, maps[4]);
    int32_t row = build_tensor(&graph, SYSTOLE_FLOAT32, 2, flat),
            logits = build_tensor(&graph, SYSTOLE_FLOAT32, 2, scores);
    struct systole_operator *reshape = build_operator(&graph, SYSTOLE_OP_RESHAPE, maps[4], -1, -1, row);
    reshape->options.new_rank = 2;
    memcpy(reshape->options.new_shape, flat, sizeof flat);
    build_operator(&graph, SYSTOLE_OP_FULLY_CONNECTED, row, float_constant(&graph, 2, dense, &random),
                   float_constant(&graph, 1, &ten, &random), logits);
    int32_t output = build_tensor(&graph, SYSTOLE_FLOAT32, 2, scores);
    build_operator(&graph, SYSTOLE_OP_SOFTMAX, logits, -1, -1, output)->options.beta = 1.0f;
    build_output(&graph, output);
    uint8_t *bytes = NULL;
    size_t size = 0;
    struct systole_diagnostic diagnostic;
    ck_assert_int_eq(systole_graph_write(&graph, NULL, &bytes, &size, &diagnostic), SYSTOLE_OK);
    for (uint32_t mode = 0; mode < 3; mode++) {
        char name[16];
        (void)snprintf(name, sizeof name, "float%u", mode);
        steps_size = 0;
        put_number(mode, 1);
        put_number(mode == 0 ? 0x35 : 0, 1);
        put(bytes, size);
        write_file("quantize", name, steps, steps_size);
    }
    free(bytes);
    systole_graph_free(&graph);
}

static void write_studies(void) {
    static const char *const all[] = {
        "{\"models\": [\"a.tflite\", \"/b.tflite\"], \"rows\": [8, 16], \"taps\": 3, \"device\": \"rtl\"}",
        "{\"models\": [\"m\"], \"target\": \"systole32\", \"scratchpad_bytes\": [262144, 1048576], \"cores\": 1}",
        ("{\"models\": [\"m\"], \"banks\": [16, 32], \"accumulators\": [256], \"weight_port_rows\": [2, 4], "
         "\"link_millibytes_per_cycle\": [400, 800], \"clock_hz\": [500000000]}"),
    };
    static const char csv[] =
        "model,device,cores,rows,taps,scratchpad_bytes,banks,accumulators,weight_port_rows,link_millibytes_per_cycle,"
        "clock_hz,status,cycles,predicted,macs,utilization,cpu_operators,resident,detail\n"
        "m,model,1,32,3,262144,16,512,4,800,500000000,ok,1,1,1,1,0,1,\nm,model,1,3";
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        char name[32];
        steps_size = 0;
        put(all[i], strlen(all[i]));
        if (i == 1) {
            put_number(0, 1);
            put(csv, sizeof csv - 1);
        }
        (void)snprintf(name, sizeof name, "study_%zu", i);
        write_file("study", name, steps, steps_size);
    }
}

// ---- Instructions to a device that lies: nothing, then one of each kind after some truths.
static void write_lies(void) {
    write_file("driver", "honest", "", 0);
    write_file("driver", "traced", "\0", 1);
    for (uint32_t truths = 0; truths < 40; truths += 3) {
        for (uint32_t what = 3; what < 8; what++) {
            char name[32];
            steps_size = 0;
            for (uint32_t i = 0; i < truths; i++) {
                put_number(0, 1);
            }
            put_number(what, 1);
            put("\2\4\0\1\20\0\200\1\0\7", 10);
            (void)snprintf(name, sizeof name, "lie_%u_%u", truths, what);
            write_file("driver", name, steps, steps_size);
        }
    }
}

// A device that is opened, looked at and closed; the recorder writes the file.
static void write_capture(void) {
    const struct systole_target *target = &systole_presets[0];
    struct systole_diagnostic diagnostic;
    struct systole_accelerator *accelerator = NULL;
    struct systole_capture *capture = NULL;
    struct systole_transport *inner = NULL, *transport = NULL;
    struct systole_driver *driver = NULL;
    uint8_t *firmware = NULL;
    uint64_t value;
    size_t size = 0;
    char path[512];
    write_file("capture", "empty", "", 0);
    (void)snprintf(path, sizeof path, "%s/capture/session", folder);
    ck_assert_int_eq(systole_firmware_build(target, &firmware, &size), SYSTOLE_OK);
    ck_assert_int_eq(systole_functional_model_create(target, 0, &accelerator, &diagnostic), SYSTOLE_OK);
    struct systole_usb_device *device = systole_usb_device_create(accelerator, target);
    ck_assert_int_eq(systole_in_process_open(device, "model", &inner, &diagnostic), SYSTOLE_OK);
    ck_assert_int_eq(systole_capture_create(path, &capture, &diagnostic), SYSTOLE_OK);
    ck_assert_int_eq(systole_recording_open(inner, capture, &transport, &diagnostic), SYSTOLE_OK);
    ck_assert_int_eq(systole_driver_open(transport, target, firmware, size, NULL, &driver, &diagnostic), SYSTOLE_OK);
    ck_assert_int_eq(systole_driver_read_register(driver, SYSTOLE_REGISTER_CYCLE, &value), SYSTOLE_OK);
    systole_driver_close(driver);
    ck_assert_int_eq(systole_capture_close(capture, &diagnostic), SYSTOLE_OK);
    free(firmware);
    // The same with zeros for answers, as the harness's bus gives them.
    uint8_t *file = testing_read_file(path, &size);
    ck_assert_ptr_nonnull(file);
    for (size_t at = 24, packet; at < size; at += 16 + packet) {
        packet = file[at + 8] | (size_t)file[at + 9] << 8;
        uint8_t *data = file + at + 80;
        if (file[at + 24] == 'C') {
            bool descriptor = packet == 64 + 18;
            uint8_t ids[4] = {descriptor ? data[8] : 0, descriptor ? data[9] : 0, descriptor ? data[10] : 0, 0};
            memset(data, 0, packet - 64);
            if (descriptor) {
                memcpy(data + 8, ids, sizeof ids);
            }
        }
    }
    write_file("capture", "zeros", file, size);
    free(file);
}

// The builders of tests/support assert, which needs a test around them.
START_TEST(corpus) {
    write_networks();
    write_operators();
    write_sample();
    write_frames();
    write_usb();
    write_bus_servers();
    write_usbfs();
    write_npy();
    write_arrays();
    write_float_models();
    write_studies();
    write_lies();
    write_capture();
}
END_TEST

int main(int argument_count, char **arguments) {
    if (argument_count != 2) {
        (void)fprintf(stderr, "usage: %s FOLDER\n", arguments[0]);
        return 2;
    }
    folder = arguments[1];
    Suite *suite = suite_create("corpus");
    TCase *tcase = tcase_create("corpus");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, corpus);
    suite_add_tcase(suite, tcase);
    return testing_run(suite, "fuzz/write_corpus");
}
