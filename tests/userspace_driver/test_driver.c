// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The driver against the functional model in process, with a transport between them that breaks at chosen transfers.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "driver.h"
#include "faulty_transport.h"
#include "target.h"
#include "testing.h"

enum { COLUMNS = 16, WORDS = 8, BYTES = WORDS * COLUMNS, MANY = 12 };

static const struct systole_target *target;
static struct faulty_transport *bus;
static struct systole_driver *driver;
static struct systole_diagnostic diagnostic;
static uint8_t *firmware;
static size_t firmware_size;
static uint32_t completions;

static enum systole_status open_driver(const struct systole_target *device_target,
                                       const struct systole_driver_options *options) {
    struct systole_accelerator *accelerator = NULL;
    struct systole_transport *inner = NULL;
    ck_assert_int_eq(systole_functional_model_create(device_target, 0, &accelerator, &diagnostic), SYSTOLE_OK);
    struct systole_usb_device *device = systole_usb_device_create(accelerator, device_target);
    ck_assert_ptr_nonnull(device);
    ck_assert_int_eq(systole_in_process_open(device, "model", &inner, &diagnostic), SYSTOLE_OK);
    bus = faulty_transport_create(inner);
    return systole_driver_open(&bus->transport, target, firmware, firmware_size, options, &driver, &diagnostic);
}

static void setup(void) {
    struct systole_driver_options options = {.silence_ms = 300, .chunk_bytes = 4096, .trace_retirements = true};
    target = &systole_presets[0];
    completions = 0;
    ck_assert_int_eq(systole_firmware_build(target, &firmware, &firmware_size), SYSTOLE_OK);
    ck_assert_msg(open_driver(target, &options) == SYSTOLE_OK, "%s: %s", diagnostic.where, diagnostic.what);
}

static void teardown(void) {
    systole_driver_close(driver);
    free(firmware);
}

// ---- Small segments, by hand.

struct fixture {
    struct systole_segment segment;
    struct systole_command commands[4];
    struct systole_segment_io input, output;
    uint8_t parameters[BYTES];
};

static struct systole_placement placement(uint32_t region, uint32_t offset, uint32_t words) {
    return (struct systole_placement){.address = region << 28 | offset,
                                      .height = words,
                                      .width = 1,
                                      .channels = COLUMNS,
                                      .row_stride = 1,
                                      .tile_stride = words,
                                      .pixel_stride = 1,
                                      .layout = SYSTOLE_LAYOUT_TILED};
}

static void finish_fixture(struct fixture *fixture, uint32_t commands) {
    struct systole_segment *segment = &fixture->segment;
    segment->commands = fixture->commands;
    segment->command_count = commands;
    segment->region_words[SYSTOLE_REGION_PROGRAM] = commands * SYSTOLE_COMMAND_BYTES / COLUMNS;
    segment->region_words[SYSTOLE_REGION_INPUT] = WORDS;
    segment->region_words[SYSTOLE_REGION_OUTPUT] = 2 * WORDS;
    segment->inputs = &fixture->input;
    segment->outputs = &fixture->output;
    segment->input_count = segment->output_count = 1;
    segment->predicted_cycles = 1000;
    fixture->input.placement = placement(SYSTOLE_REGION_INPUT, 0, WORDS);
    fixture->output.placement = placement(SYSTOLE_REGION_OUTPUT, 0, WORDS);
}

// Copies the input to the output, int8 unchanged: 2^30 * 2^1 / 2^31 is 1.
static struct systole_command copy_command(uint32_t from, uint32_t to) {
    struct systole_command command;
    memset(&command, 0, sizeof command);
    command.header.opcode = SYSTOLE_OPCODE_REQUANTISE;
    command.header.unit = SYSTOLE_UNIT_ELEMENTWISE;
    struct systole_elementwise *body = &command.body.elementwise;
    body->input_address = from;
    body->output_address = to;
    body->input_row_stride = body->output_row_stride = 1;
    body->input_tile_stride = body->output_tile_stride = WORDS;
    body->input_pixel_stride = body->output_pixel_stride = 1;
    body->height = WORDS;
    body->width = body->tiles = 1;
    body->clamp_min = -128;
    body->clamp_max = 127;
    body->output_multiplier = 1 << 30;
    body->output_shift = 1;
    return command;
}

static void make_copy(struct fixture *fixture) {
    memset(fixture, 0, sizeof *fixture);
    fixture->commands[0] = copy_command(SYSTOLE_REGION_INPUT << 28, SYSTOLE_REGION_OUTPUT << 28);
    finish_fixture(fixture, 1);
}

static struct systole_command transfer_command(uint8_t opcode, uint32_t address, uint32_t host_address) {
    struct systole_command command;
    memset(&command, 0, sizeof command);
    command.header.opcode = opcode;
    command.header.unit = opcode == SYSTOLE_OPCODE_LOAD ? SYSTOLE_UNIT_LOAD : SYSTOLE_UNIT_STORE;
    command.body.transfer.address = address;
    command.body.transfer.words = WORDS;
    command.body.transfer.host_address = host_address;
    return command;
}

// Input to the host, from there to the first half of the output; the second half comes from the parameters.
static void make_exchange(struct fixture *fixture, uint32_t seed) {
    uint32_t output = SYSTOLE_REGION_OUTPUT << 28, host = SYSTOLE_REGION_HOST << 28;
    memset(fixture, 0, sizeof *fixture);
    fixture->commands[0] = transfer_command(SYSTOLE_OPCODE_LOAD, output | WORDS, SYSTOLE_REGION_PARAMETERS << 28);
    fixture->commands[1] = transfer_command(SYSTOLE_OPCODE_STORE, SYSTOLE_REGION_INPUT << 28, host | 3);
    fixture->commands[2] = transfer_command(SYSTOLE_OPCODE_LOAD, output, host | 3);
    fixture->commands[2].header.wait0 = SYSTOLE_UNIT_STORE << 24 | 1;
    finish_fixture(fixture, 3);
    fixture->output.placement = placement(SYSTOLE_REGION_OUTPUT, 0, 2 * WORDS);
    fixture->segment.region_words[SYSTOLE_REGION_HOST] = WORDS + 3;
    for (uint32_t i = 0; i < BYTES; i++) {
        fixture->parameters[i] = (uint8_t)testing_random(&seed);
    }
    fixture->segment.parameters = fixture->parameters;
    fixture->segment.parameter_words = WORDS; // none of them resident
}

struct call {
    struct systole_request request; // first
    uint8_t input[BYTES], output[2 * BYTES];
    const uint8_t *inputs[1];
    uint8_t *outputs[1];
};

static void count_completion(struct systole_request *request) {
    ck_assert_ptr_null(request->detail);
    completions++;
}

static void make_call(struct call *call, uint32_t seed) {
    memset(call, 0, sizeof *call);
    for (uint32_t i = 0; i < BYTES; i++) {
        call->input[i] = (uint8_t)testing_random(&seed);
    }
    call->inputs[0] = call->input;
    call->outputs[0] = call->output;
    call->request.inputs = call->inputs;
    call->request.outputs = call->outputs;
    call->request.complete = count_completion;
}

static void check_call(struct call *call) {
    ck_assert_msg(call->request.status == SYSTOLE_OK, "%s: %s (%s)", systole_status_name(call->request.status),
                  call->request.diagnostic.what, call->request.diagnostic.where);
    ck_assert_mem_eq(call->input, call->output, BYTES);
    ck_assert_uint_gt(call->request.cycles, 0);
    for (uint32_t unit = 0; unit < SYSTOLE_UNITS; unit++) {
        uint64_t sum = 0;
        for (uint32_t kind = 0; kind < SYSTOLE_COUNTER_KINDS; kind++) {
            sum += call->request.counters[unit][kind];
        }
        ck_assert_uint_eq(sum, call->request.cycles);
    }
    systole_request_clear(&call->request);
}

static systole_loaded load(const struct fixture *fixture) {
    systole_loaded loaded = 99;
    ck_assert_msg(systole_driver_load(driver, &fixture->segment, &loaded, &diagnostic) == SYSTOLE_OK, "%s",
                  diagnostic.what);
    return loaded;
}

static enum systole_status run_once(systole_loaded loaded, struct call *call) {
    ck_assert_int_eq(systole_driver_submit(driver, loaded, &call->request), SYSTOLE_OK);
    return systole_driver_wait(driver, &call->request);
}

// ---- Without faults.

START_TEST(open_brings_firmware_and_registers_answer) {
    uint64_t value = 0;
    ck_assert_int_eq(systole_driver_read_register(driver, SYSTOLE_REGISTER_IDENTITY, &value), SYSTOLE_OK);
    ck_assert_uint_eq((uint32_t)value, SYSTOLE_IDENTITY);
    ck_assert_int_eq(systole_driver_read_register(driver, SYSTOLE_REGISTER_STATUS, &value), SYSTOLE_OK);
    ck_assert_uint_eq(value & 7, 1);
    ck_assert_int_eq(systole_driver_read_register(driver, SYSTOLE_REGISTER_COMMAND_TABLE + 32, &value), SYSTOLE_OK);
    ck_assert_uint_eq(value & 255, 0x80 | SYSTOLE_UNIT_ARRAY);
    ck_assert_int_eq(systole_driver_read_register(driver, 0x999, &value), SYSTOLE_DEVICE_STALL);
    ck_assert_int_eq(systole_driver_write_register(driver, SYSTOLE_REGISTER_IDENTITY, 1), SYSTOLE_DEVICE_STALL);
    ck_assert_ptr_eq(systole_driver_transport(driver), &bus->transport);
}
END_TEST

START_TEST(frames_go_out_in_order) {
    static const uint8_t kinds[] = {SYSTOLE_FRAME_WRITE, SYSTOLE_FRAME_WRITE, SYSTOLE_FRAME_RUN, SYSTOLE_FRAME_READ};
    struct fixture fixture;
    struct call call;
    make_copy(&fixture);
    make_call(&call, 1);
    ck_assert_int_eq(run_once(load(&fixture), &call), SYSTOLE_OK);
    ck_assert_uint_eq(bus->frame_count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_uint_eq(bus->frames[i].kind, kinds[i]);
    }
    ck_assert_uint_eq(bus->frames[0].length, SYSTOLE_COMMAND_BYTES);
    ck_assert_uint_eq(bus->frames[1].address, call.request.windows[SYSTOLE_REGION_INPUT].base);
    ck_assert_uint_eq(bus->frames[2].tag, call.request.token);
    ck_assert_uint_eq(bus->frames[3].flags, SYSTOLE_FRAME_FLAG_AFTER_RUN);
    ck_assert_uint_eq(bus->frames[3].address, call.request.windows[SYSTOLE_REGION_OUTPUT].base);
    ck_assert_uint_eq(call.request.retired_count, 1);
    ck_assert_uint_eq(call.request.retired[0].unit, SYSTOLE_UNIT_ELEMENTWISE);
    ck_assert_uint_eq(completions, 1);
    check_call(&call);
}
END_TEST

START_TEST(many_requests_of_two_segments) {
    static struct call calls[MANY];
    struct fixture copy, exchange;
    make_copy(&copy);
    make_exchange(&exchange, 5);
    systole_loaded loaded[2] = {load(&copy), load(&exchange)};
    for (uint32_t i = 0; i < MANY; i++) {
        make_call(&calls[i], i + 1);
        ck_assert_int_eq(systole_driver_submit(driver, loaded[i / 2 % 2], &calls[i].request), SYSTOLE_OK);
    }
    for (uint32_t i = MANY; i-- > 0;) {
        ck_assert_int_eq(systole_driver_wait(driver, &calls[i].request), SYSTOLE_OK);
        check_call(&calls[i]);
        if (i / 2 % 2 == 1) {
            ck_assert_mem_eq(calls[i].output + BYTES, exchange.parameters, BYTES);
        }
    }
    ck_assert_uint_eq(completions, MANY);
    // The inputs of the second request were written before the outputs of the first were asked for.
    uint32_t first_read = 0, inputs = 0;
    for (; bus->frames[first_read].kind != SYSTOLE_FRAME_READ; first_read++) {
        inputs += bus->frames[first_read].kind == SYSTOLE_FRAME_WRITE && bus->frames[first_read].length == BYTES;
    }
    ck_assert_uint_eq(inputs, 2);
    ck_assert_int_eq(systole_driver_unload(driver, loaded[0]), SYSTOLE_OK);
    ck_assert_int_eq(systole_driver_unload(driver, loaded[0]), SYSTOLE_BAD_ARGUMENT);
    ck_assert_int_eq(systole_driver_submit(driver, loaded[0], &calls[0].request), SYSTOLE_BAD_ARGUMENT);
}
END_TEST

START_TEST(a_single_input_window_is_not_overwritten) {
    static struct call calls[MANY];
    struct fixture fixture;
    uint32_t total = systole_target_words(target);
    make_copy(&fixture);
    fixture.segment.region_words[SYSTOLE_REGION_ACTIVATIONS] = total - 3 * 16; // no room for a second one
    systole_loaded loaded = load(&fixture);
    for (uint32_t i = 0; i < MANY; i++) {
        make_call(&calls[i], i + 1);
        ck_assert_int_eq(systole_driver_submit(driver, loaded, &calls[i].request), SYSTOLE_OK);
    }
    for (uint32_t i = 0; i < MANY; i++) {
        ck_assert_int_eq(systole_driver_wait(driver, &calls[i].request), SYSTOLE_OK);
        check_call(&calls[i]);
        ck_assert_uint_eq(calls[i].request.windows[SYSTOLE_REGION_INPUT].base,
                          calls[0].request.windows[SYSTOLE_REGION_INPUT].base);
    }
}
END_TEST

// Three segments of which two fit: the one used longest ago leaves, and comes back by itself. Requests may be in
// flight.
START_TEST(segments_are_evicted_whole) {
    static struct fixture fixtures[3];
    struct systole_driver_statistics statistics;
    systole_loaded loaded[3];
    for (uint32_t i = 0; i < 3; i++) {
        make_exchange(&fixtures[i], i + 1);
        fixtures[i].segment.region_words[SYSTOLE_REGION_PARAMETERS] = systole_target_words(target) / 5 * 2;
        loaded[i] = load(&fixtures[i]);
    }
    systole_driver_statistics(driver, &statistics);
    ck_assert_uint_eq(statistics.evictions, 1);
    ck_assert(!systole_driver_resident(driver, loaded[0])); // for the third
    ck_assert(systole_driver_resident(driver, loaded[1]) && systole_driver_resident(driver, loaded[2]));
    static const uint8_t order[] = {1, 2, 1, 0, 1, 2, 0};
    static const uint8_t leaves[] = {9, 9, 9, 2, 9, 0, 1}; // 9: nobody
    struct call call;
    for (uint32_t i = 0; i < sizeof order; i++) {
        make_call(&call, i + 1);
        ck_assert_int_eq(run_once(loaded[order[i]], &call), SYSTOLE_OK);
        check_call(&call);
        ck_assert_mem_eq(call.output + BYTES, fixtures[order[i]].parameters, BYTES);
        ck_assert(systole_driver_resident(driver, loaded[order[i]]));
        ck_assert(leaves[i] == 9 || !systole_driver_resident(driver, loaded[leaves[i]]));
    }
    systole_driver_statistics(driver, &statistics);
    ck_assert_uint_eq(statistics.evictions, 4);
    static struct call calls[MANY];
    for (uint32_t i = 0; i < MANY; i++) {
        make_call(&calls[i], i + 100);
        ck_assert_int_eq(systole_driver_submit(driver, loaded[i * 7 % 3], &calls[i].request), SYSTOLE_OK);
    }
    ck_assert_int_eq(systole_driver_wait(driver, &calls[MANY - 1].request), SYSTOLE_OK);
    for (uint32_t i = 0; i < MANY; i++) {
        check_call(&calls[i]);
        ck_assert_mem_eq(calls[i].output + BYTES, fixtures[i * 7 % 3].parameters, BYTES);
    }
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_int_eq(systole_driver_unload(driver, loaded[i]), SYSTOLE_OK);
        ck_assert(!systole_driver_resident(driver, loaded[i]));
    }
}
END_TEST

START_TEST(what_does_not_fit_is_refused) {
    struct fixture fixture;
    systole_loaded loaded;
    make_copy(&fixture);
    fixture.segment.region_words[SYSTOLE_REGION_ACTIVATIONS] = systole_target_words(target);
    ck_assert_int_eq(systole_driver_load(driver, &fixture.segment, &loaded, &diagnostic), SYSTOLE_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(diagnostic.what, "524288"));
    make_copy(&fixture);
    fixture.input.placement.address += WORDS;
    ck_assert_int_eq(systole_driver_load(driver, &fixture.segment, &loaded, &diagnostic), SYSTOLE_BAD_ARGUMENT);
    make_copy(&fixture);
    fixture.segment.region_words[SYSTOLE_REGION_PROGRAM]--;
    ck_assert_int_eq(systole_driver_load(driver, &fixture.segment, &loaded, &diagnostic), SYSTOLE_BAD_ARGUMENT);
    make_exchange(&fixture, 1);
    fixture.segment.region_words[SYSTOLE_REGION_HOST]--;
    ck_assert_int_eq(systole_driver_load(driver, &fixture.segment, &loaded, &diagnostic), SYSTOLE_BAD_ARGUMENT);
    make_exchange(&fixture, 1);
    load(&fixture);
    ck_assert_uint_eq(bus->frame_count, 1);
}
END_TEST

START_TEST(another_target_is_refused) {
    systole_driver_close(driver);
    ck_assert_int_eq(open_driver(&systole_presets[1], NULL), SYSTOLE_DEVICE_MISMATCH);
    ck_assert_ptr_null(driver);
    free(firmware); // with its own firmware it comes up, and still is another device
    ck_assert_int_eq(systole_firmware_build(&systole_presets[1], &firmware, &firmware_size), SYSTOLE_OK);
    ck_assert_int_eq(open_driver(&systole_presets[1], NULL), SYSTOLE_DEVICE_MISMATCH);
    ck_assert_ptr_nonnull(strstr(diagnostic.what, "32x32"));
    ck_assert_ptr_nonnull(strstr(diagnostic.what, "systole16"));
    firmware[30] ^= 1;
    target = &systole_presets[1];
    ck_assert_int_ne(open_driver(&systole_presets[1], NULL), SYSTOLE_OK);
    firmware[30] ^= 1;
    ck_assert_int_eq(open_driver(&systole_presets[1], NULL), SYSTOLE_OK);
}
END_TEST

// ---- With faults. Each kind at each of the first transfers of an endpoint, once: the answer is right all the same.

static void check_survives(struct faulty_fault fault, const struct fixture *fixture, uint32_t runs) {
    struct call call;
    systole_loaded loaded = load(fixture);
    bus->fault = fault;
    bus->happened = 0;
    for (uint32_t i = 0; i < runs; i++) {
        make_call(&call, 7 + i);
        run_once(loaded, &call);
        check_call(&call);
    }
    bus->fault.kind = FAULTY_NONE;
    ck_assert_int_eq(systole_driver_unload(driver, loaded), SYSTOLE_OK);
}

START_TEST(one_fault_is_survived) {
    static const struct faulty_fault faults[] = {
        {FAULTY_STALL, SYSTOLE_USB_ENDPOINT_BULK_OUT, 0, 1, 0},
        {FAULTY_STALL, SYSTOLE_USB_ENDPOINT_BULK_IN, 0, 1, 0},
        {FAULTY_STALL, SYSTOLE_USB_ENDPOINT_EVENT_IN, 0, 1, 0},
        {FAULTY_BABBLE, SYSTOLE_USB_ENDPOINT_BULK_IN, 0, 1, 0},
        {FAULTY_SHORT, SYSTOLE_USB_ENDPOINT_BULK_OUT, 0, 1, 0},
        {FAULTY_SHORT, SYSTOLE_USB_ENDPOINT_BULK_IN, 0, 1, 0},
        {FAULTY_SHORT, SYSTOLE_USB_ENDPOINT_EVENT_IN, 0, 1, 0},
        {FAULTY_LOST, SYSTOLE_USB_ENDPOINT_BULK_IN, 0, 1, 0},
        {FAULTY_LOST, SYSTOLE_USB_ENDPOINT_EVENT_IN, 0, 1, 0},
        {FAULTY_BYTE, SYSTOLE_USB_ENDPOINT_BULK_IN, 0, 1, 0},   // magic
        {FAULTY_BYTE, SYSTOLE_USB_ENDPOINT_BULK_IN, 0, 1, 2},   // kind
        {FAULTY_BYTE, SYSTOLE_USB_ENDPOINT_BULK_IN, 0, 1, 4},   // tag
        {FAULTY_BYTE, SYSTOLE_USB_ENDPOINT_BULK_IN, 0, 1, 8},   // address
        {FAULTY_BYTE, SYSTOLE_USB_ENDPOINT_BULK_IN, 0, 1, 13},  // length
        {FAULTY_BYTE, SYSTOLE_USB_ENDPOINT_EVENT_IN, 0, 1, 0},  // kind
        {FAULTY_BYTE, SYSTOLE_USB_ENDPOINT_EVENT_IN, 0, 1, 4},  // token
        {FAULTY_BYTE, SYSTOLE_USB_ENDPOINT_EVENT_IN, 0, 1, 8},  // command
        {FAULTY_BYTE, SYSTOLE_USB_ENDPOINT_BULK_OUT, 0, 1, 0},  // the device finds a bad magic number
        {FAULTY_BYTE, SYSTOLE_USB_ENDPOINT_BULK_OUT, 0, 1, 2},  // ... kind
        {FAULTY_BYTE, SYSTOLE_USB_ENDPOINT_BULK_OUT, 0, 1, 15}, // ... length
        {FAULTY_SILENT, SYSTOLE_USB_ENDPOINT_BULK_OUT, 0, 1, 0},
        {FAULTY_SILENT, SYSTOLE_USB_ENDPOINT_BULK_IN, 0, 1, 0},
        {FAULTY_SILENT, SYSTOLE_USB_ENDPOINT_EVENT_IN, 0, 1, 0},
        {FAULTY_UNPLUG, SYSTOLE_USB_ENDPOINT_BULK_OUT, 0, 1, 0},
        {FAULTY_UNPLUG, SYSTOLE_USB_ENDPOINT_BULK_IN, 0, 1, 0},
        {FAULTY_UNPLUG, SYSTOLE_USB_ENDPOINT_EVENT_IN, 0, 1, 0},
    };
    struct fixture fixtures[2];
    make_copy(&fixtures[0]);
    make_exchange(&fixtures[1], 3);
    for (uint32_t skip = 0; skip < 3; skip++) {
        struct faulty_fault fault = faults[_i];
        fault.skip = skip;
        if (fault.kind == FAULTY_BYTE && fault.endpoint == SYSTOLE_USB_ENDPOINT_BULK_OUT && skip != 0) {
            break; // only the first transfer begins with a frame for certain
        }
        uint32_t detaches = bus->detaches;
        check_survives(fault, &fixtures[skip % 2], 3);
        ck_assert_msg(bus->happened == 1, "fault %d at %u did not happen", _i, skip);
        ck_assert_uint_gt(bus->detaches + (fault.kind == FAULTY_UNPLUG), detaches);
    }
}
END_TEST

// Faults that do not end: a typed status after three replays, and a device that works when they have ended.
START_TEST(lasting_faults_end_with_a_status) {
    static const struct {
        struct faulty_fault fault;
        enum systole_status status;
    } cases[] = {
        {{FAULTY_STALL, SYSTOLE_USB_ENDPOINT_BULK_OUT, 0, 99, 0}, SYSTOLE_DEVICE_STALL},
        {{FAULTY_BABBLE, SYSTOLE_USB_ENDPOINT_BULK_IN, 0, 99, 0}, SYSTOLE_DEVICE_PROTOCOL},
        {{FAULTY_SHORT, SYSTOLE_USB_ENDPOINT_BULK_IN, 0, 99, 0}, SYSTOLE_DEVICE_PROTOCOL},
        {{FAULTY_BYTE, SYSTOLE_USB_ENDPOINT_BULK_IN, 0, 99, 4}, SYSTOLE_DEVICE_PROTOCOL},
        {{FAULTY_LOST, SYSTOLE_USB_ENDPOINT_EVENT_IN, 0, 99, 0}, SYSTOLE_DEVICE_TIMEOUT},
        {{FAULTY_LOST, SYSTOLE_USB_ENDPOINT_BULK_IN, 0, 99, 0}, SYSTOLE_DEVICE_TIMEOUT},
        {{FAULTY_SILENT, SYSTOLE_USB_ENDPOINT_BULK_OUT, 0, 99, 0}, SYSTOLE_DEVICE_TIMEOUT},
    };
    struct fixture fixture;
    struct call call;
    make_copy(&fixture);
    systole_loaded loaded = load(&fixture);
    make_call(&call, 3);
    ck_assert_int_eq(run_once(loaded, &call), SYSTOLE_OK);
    check_call(&call);
    bus->fault = cases[_i].fault;
    uint32_t detaches = bus->detaches;
    make_call(&call, 4);
    ck_assert_int_eq(run_once(loaded, &call), cases[_i].status);
    ck_assert(call.request.diagnostic.what[0] != 0);
    ck_assert_uint_ge(bus->happened, 4);
    ck_assert_uint_eq(bus->detaches - detaches, 4);
    ck_assert_uint_eq(completions, 2);
    systole_request_clear(&call.request);
    bus->fault.kind = FAULTY_NONE;
    make_call(&call, 5);
    ck_assert_int_eq(run_once(loaded, &call), SYSTOLE_OK);
    check_call(&call);
}
END_TEST

// Any fault at any transfer, again and again, with several requests in flight: answers are right or failures are told.
START_TEST(random_faults_never_give_a_wrong_answer) {
    static const uint8_t endpoints[] = {SYSTOLE_USB_ENDPOINT_BULK_OUT, SYSTOLE_USB_ENDPOINT_BULK_IN,
                                        SYSTOLE_USB_ENDPOINT_EVENT_IN};
    static struct call calls[4];
    struct fixture fixtures[2];
    uint32_t state = 77 + (uint32_t)_i, right = 0;
    make_copy(&fixtures[0]);
    make_exchange(&fixtures[1], 9);
    systole_loaded loaded[2] = {load(&fixtures[0]), load(&fixtures[1])};
    for (uint32_t round = 0; round < 12; round++) {
        bus->fault = (struct faulty_fault){.kind = (enum faulty_kind)testing_range(&state, FAULTY_NONE, FAULTY_UNPLUG),
                                           .endpoint = endpoints[testing_range(&state, 0, 2)],
                                           .skip = (uint32_t)testing_range(&state, 0, 9),
                                           .times = (uint32_t)testing_range(&state, 1, 6),
                                           .position = (uint32_t)testing_range(&state, 0, 15)};
        if (bus->fault.kind == FAULTY_BYTE && bus->fault.endpoint == SYSTOLE_USB_ENDPOINT_BULK_OUT) {
            bus->fault.skip =
                0; // a byte of an input or a command would change the answer: the bus has CRCs against that
            bus->fault.position = 0;
            bus->fault.times = 1;
            for (uint32_t i = 0; i < 2; i++) {
                ck_assert_int_eq(systole_driver_unload(driver, loaded[i]), SYSTOLE_OK);
                loaded[i] = load(&fixtures[i]);
            }
        }
        for (uint32_t i = 0; i < 4; i++) {
            make_call(&calls[i], round * 4 + i + 1);
            ck_assert_int_eq(systole_driver_submit(driver, loaded[testing_range(&state, 0, 1)], &calls[i].request),
                             SYSTOLE_OK);
        }
        for (uint32_t i = 0; i < 4; i++) {
            if (systole_driver_wait(driver, &calls[i].request) == SYSTOLE_OK) {
                check_call(&calls[i]);
                right++;
            }
            ck_assert(calls[i].request.status == SYSTOLE_OK || calls[i].request.diagnostic.what[0] != 0);
            systole_request_clear(&calls[i].request);
        }
        bus->fault.kind = FAULTY_NONE;
    }
    ck_assert_uint_eq(completions, 48);
    ck_assert_uint_ge(right, 24);
}
END_TEST

// Parameters of many transfers, resident in part, the rest streamed behind them.
START_TEST(large_parameters_arrive_whole) {
    enum { LARGE = 6000, RESIDENT = 4000 };
    struct fixture fixture;
    struct call call;
    uint32_t state = 5;
    uint8_t *parameters = malloc((size_t)LARGE * COLUMNS), *output = malloc((size_t)LARGE * COLUMNS);
    ck_assert_ptr_nonnull(parameters);
    ck_assert_ptr_nonnull(output);
    for (uint32_t i = 0; i < LARGE * COLUMNS; i++) {
        parameters[i] = (uint8_t)testing_random(&state);
    }
    memset(&fixture, 0, sizeof fixture);
    // The resident part goes over the host to the output, the rest comes from the host at once.
    uint32_t output_address = SYSTOLE_REGION_OUTPUT << 28;
    fixture.commands[0] =
        transfer_command(SYSTOLE_OPCODE_STORE, SYSTOLE_REGION_PARAMETERS << 28, SYSTOLE_REGION_HOST << 28);
    fixture.commands[0].body.transfer.words = RESIDENT;
    fixture.commands[1] = transfer_command(SYSTOLE_OPCODE_LOAD, output_address, SYSTOLE_REGION_HOST << 28);
    fixture.commands[1].body.transfer.words = RESIDENT;
    fixture.commands[2] =
        transfer_command(SYSTOLE_OPCODE_LOAD, output_address | RESIDENT, SYSTOLE_REGION_PARAMETERS << 28 | RESIDENT);
    fixture.commands[2].body.transfer.words = LARGE - RESIDENT;
    finish_fixture(&fixture, 3);
    fixture.segment.region_words[SYSTOLE_REGION_PARAMETERS] = RESIDENT;
    fixture.segment.region_words[SYSTOLE_REGION_OUTPUT] = LARGE;
    fixture.segment.region_words[SYSTOLE_REGION_HOST] = RESIDENT;
    fixture.segment.parameters = parameters;
    fixture.segment.parameter_words = LARGE;
    fixture.segment.predicted_cycles = 300000;
    fixture.output.placement = placement(SYSTOLE_REGION_OUTPUT, 0, LARGE);
    make_call(&call, 1);
    call.outputs[0] = output;
    systole_loaded loaded = load(&fixture);
    for (uint32_t i = 0; i < 3; i++) {
        memset(output, 0, (size_t)LARGE * COLUMNS);
        bus->fault = (struct faulty_fault){i == 1 ? FAULTY_SHORT : FAULTY_NONE, SYSTOLE_USB_ENDPOINT_BULK_IN, 9, 1, 0};
        ck_assert_int_eq(run_once(loaded, &call), SYSTOLE_OK);
        ck_assert_mem_eq(output, parameters, (size_t)LARGE * COLUMNS);
    }
    systole_request_clear(&call.request);
    free(output);
    free(parameters);
}
END_TEST

START_TEST(a_device_that_stays_away_is_gone) {
    struct fixture fixture;
    struct call calls[2];
    make_copy(&fixture);
    systole_loaded loaded = load(&fixture);
    bus->fault = (struct faulty_fault){FAULTY_GONE_FOREVER, SYSTOLE_USB_ENDPOINT_BULK_IN, 0, 1, 0};
    for (uint32_t i = 0; i < 2; i++) {
        make_call(&calls[i], 3 + i);
        ck_assert_int_eq(systole_driver_submit(driver, loaded, &calls[i].request), SYSTOLE_OK);
    }
    ck_assert_int_eq(systole_driver_wait(driver, &calls[0].request), SYSTOLE_DEVICE_GONE);
    ck_assert_int_eq(systole_driver_wait(driver, &calls[1].request), SYSTOLE_DEVICE_GONE);
    ck_assert_int_eq(systole_driver_poll(driver, 1), SYSTOLE_DEVICE_GONE);
    ck_assert_int_eq(systole_driver_submit(driver, loaded, &calls[0].request), SYSTOLE_DEVICE_GONE);
    ck_assert_int_eq(systole_driver_reset(driver, &diagnostic), SYSTOLE_DEVICE_GONE);
    bus->fault.kind = FAULTY_NONE; // it is plugged in again
    ck_assert_int_eq(systole_driver_reset(driver, &diagnostic), SYSTOLE_OK);
    ck_assert_int_eq(run_once(loaded, &calls[0]), SYSTOLE_OK);
    for (uint32_t i = 0; i < 2; i++) {
        systole_request_clear(&calls[i].request);
    }
}
END_TEST

START_TEST(errors_of_a_program_are_final) {
    struct fixture fixture;
    struct call call;
    make_copy(&fixture);
    fixture.commands[0].header.opcode = 0x77;
    fixture.commands[0].header.operator_index = 5;
    uint32_t detaches = bus->detaches;
    make_call(&call, 1);
    ck_assert_int_eq(run_once(load(&fixture), &call), SYSTOLE_DEVICE_FAULT);
    ck_assert_ptr_nonnull(strstr(call.request.diagnostic.what, "opcode"));
    ck_assert_uint_eq(bus->detaches - detaches, 1); // recovered, not replayed
    systole_request_clear(&call.request);
    make_copy(&fixture);
    fixture.commands[0].body.elementwise.height = 3 * WORDS; // reads beyond its window
    make_call(&call, 1);
    ck_assert_int_eq(run_once(load(&fixture), &call), SYSTOLE_DEVICE_FAULT);
    ck_assert_ptr_nonnull(strstr(call.request.diagnostic.what, "region"));
    ck_assert_ptr_nonnull(strstr(call.request.diagnostic.where, "command 0"));
    systole_request_clear(&call.request);
    make_copy(&fixture);
    make_call(&call, 1);
    ck_assert_int_eq(run_once(load(&fixture), &call), SYSTOLE_OK);
    check_call(&call);
}
END_TEST

START_TEST(a_program_that_hangs_is_stopped) {
    struct fixture fixture;
    struct call call;
    make_copy(&fixture);
    fixture.commands[0].header.wait0 = SYSTOLE_UNIT_ARRAY << 24 | 9; // never comes
    make_call(&call, 1);
    ck_assert_int_eq(run_once(load(&fixture), &call), SYSTOLE_DEVICE_TIMEOUT);
    ck_assert_uint_eq(bus->detaches, 4);
    systole_request_clear(&call.request);
    make_copy(&fixture);
    ck_assert_int_eq(run_once(load(&fixture), &call), SYSTOLE_OK);
    check_call(&call);
}
END_TEST

START_TEST(parity_is_reported_and_replayed) {
    struct fixture fixture;
    struct call call;
    make_copy(&fixture);
    systole_loaded loaded = load(&fixture);
    make_call(&call, 1);
    ck_assert_int_eq(run_once(loaded, &call), SYSTOLE_OK);
    uint32_t program = call.request.windows[SYSTOLE_REGION_PROGRAM].base;
    check_call(&call);
    ck_assert_int_eq(systole_driver_write_register(driver, SYSTOLE_REGISTER_PARITY_FLIP, program), SYSTOLE_OK);
    make_call(&call, 2);
    ck_assert_int_eq(run_once(loaded, &call), SYSTOLE_OK); // the program was written again
    ck_assert_uint_eq(bus->detaches, 1);
    check_call(&call);
}
END_TEST

START_TEST(cancel_and_reset) {
    static struct call calls[4];
    struct fixture fixture, hanging;
    make_copy(&fixture);
    make_copy(&hanging);
    hanging.commands[0].header.wait0 = SYSTOLE_UNIT_ARRAY << 24 | 9;
    systole_loaded loaded = load(&fixture), hangs = load(&hanging);
    for (uint32_t i = 0; i < 4; i++) {
        make_call(&calls[i], i + 1);
        ck_assert_int_eq(systole_driver_submit(driver, i == 0 ? hangs : loaded, &calls[i].request), SYSTOLE_OK);
    }
    ck_assert_int_eq(systole_driver_unload(driver, loaded), SYSTOLE_BAD_ARGUMENT);
    ck_assert_int_eq(systole_driver_cancel(driver, &calls[3].request), SYSTOLE_OK); // not yet begun
    ck_assert_uint_eq(bus->detaches, 0);
    ck_assert_int_eq(systole_driver_cancel(driver, &calls[0].request), SYSTOLE_OK);
    ck_assert_uint_eq(bus->detaches, 1);
    ck_assert_int_eq(calls[0].request.status, SYSTOLE_CANCELLED);
    ck_assert_int_eq(calls[3].request.status, SYSTOLE_CANCELLED);
    ck_assert_uint_eq(completions, 2);
    for (uint32_t i = 1; i < 3; i++) {
        ck_assert_int_eq(systole_driver_wait(driver, &calls[i].request), SYSTOLE_OK);
        check_call(&calls[i]);
    }
    ck_assert_int_eq(systole_driver_cancel(driver, &calls[1].request), SYSTOLE_OK); // too late, harmless
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert_int_eq(systole_driver_submit(driver, loaded, &calls[i].request), SYSTOLE_OK);
    }
    ck_assert_int_eq(systole_driver_reset(driver, &diagnostic), SYSTOLE_OK);
    ck_assert_int_eq(calls[0].request.status, SYSTOLE_CANCELLED);
    ck_assert_int_eq(calls[1].request.status, SYSTOLE_CANCELLED);
    ck_assert_int_eq(run_once(loaded, &calls[2]), SYSTOLE_OK);
    check_call(&calls[2]);
    ck_assert_int_eq(systole_driver_submit(driver, loaded, &calls[1].request), SYSTOLE_OK);
    systole_driver_close(driver); // with a request in flight
    driver = NULL;
    ck_assert_int_eq(calls[1].request.status, SYSTOLE_CANCELLED);
    for (uint32_t i = 0; i < 4; i++) {
        systole_request_clear(&calls[i].request);
    }
}
END_TEST

START_TEST(an_open_device_is_taken_over) {
    struct systole_transport *inner = NULL;
    struct systole_accelerator *accelerator = NULL;
    struct fixture fixture;
    struct call call;
    uint8_t reset_latch[8] = {0};
    size_t actual;
    systole_driver_close(driver);
    ck_assert_int_eq(systole_functional_model_create(target, 0, &accelerator, &diagnostic), SYSTOLE_OK);
    struct systole_usb_device *device = systole_usb_device_create(accelerator, target);
    ck_assert_int_eq(systole_in_process_open(device, "model", &inner, &diagnostic), SYSTOLE_OK);
    // Somebody else brought it up, left an endpoint halted and half a frame in the stream.
    struct faulty_transport *first = faulty_transport_create(inner);
    ck_assert_int_eq(
        systole_driver_open(&first->transport, target, firmware, firmware_size, NULL, &driver, &diagnostic),
        SYSTOLE_OK);
    ck_assert_int_eq(inner->functions->control(inner, 0x02, 3, 0, 0x81, reset_latch, 0, 100, &actual), SYSTOLE_OK);
    systole_usb_out(device, 0x01, (const uint8_t *)"SY", 2, &actual);
    ck_assert_int_eq(systole_driver_reset(driver, &diagnostic), SYSTOLE_OK);
    bus = first;
    make_copy(&fixture);
    make_call(&call, 1);
    ck_assert_int_eq(run_once(load(&fixture), &call), SYSTOLE_OK);
    systole_request_clear(&call.request);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("driver");
    TCase *tests = tcase_create("driver");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, open_brings_firmware_and_registers_answer);
    tcase_add_test(tests, frames_go_out_in_order);
    tcase_add_test(tests, many_requests_of_two_segments);
    tcase_add_test(tests, a_single_input_window_is_not_overwritten);
    tcase_add_test(tests, segments_are_evicted_whole);
    tcase_add_test(tests, what_does_not_fit_is_refused);
    tcase_add_test(tests, another_target_is_refused);
    tcase_add_loop_test(tests, one_fault_is_survived, 0, 26);
    tcase_add_loop_test(tests, lasting_faults_end_with_a_status, 0, 7);
    tcase_add_loop_test(tests, random_faults_never_give_a_wrong_answer, 0, 4);
    tcase_add_test(tests, large_parameters_arrive_whole);
    tcase_add_test(tests, a_device_that_stays_away_is_gone);
    tcase_add_test(tests, errors_of_a_program_are_final);
    tcase_add_test(tests, a_program_that_hangs_is_stopped);
    tcase_add_test(tests, parity_is_reported_and_replayed);
    tcase_add_test(tests, cancel_and_reset);
    tcase_add_test(tests, an_open_device_is_taken_over);
    suite_add_tcase(suite, tests);
    return testing_run(suite, "driver");
}
