// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Runs one inference on the RTL and writes what crossed the bus and what the device retired, as text: bus.txt and
// retired.txt. A transport around the in-process one sees every transfer.
// usage: record_walk MODEL.tflite INPUT.bin FOLDER
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"
#include "device.h"
#include "driver.h"
#include "session.h"
#include "target.h"
#include "testing.h"

struct recorder {
    struct systole_transport transport; // first
    struct systole_transport *inner;
    FILE *log;
    uint64_t payload_left; // of the frame that the last OUT transfer began
};

static struct systole_transport *inner_of(struct systole_transport *transport) {
    return ((struct recorder *)transport)->inner;
}

static uint64_t hash(const uint8_t *bytes, size_t size) {
    uint64_t value = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++) {
        value = (value ^ bytes[i]) * 0x100000001b3u;
    }
    return value;
}

static const char *frame_name(uint8_t kind) {
    switch (kind) {
    case SYSTOLE_FRAME_WRITE:
        return "write";
    case SYSTOLE_FRAME_READ:
        return "read";
    case SYSTOLE_FRAME_RUN:
        return "run";
    case SYSTOLE_FRAME_DATA:
        return "data";
    default:
        return "other";
    }
}

static void log_frames(struct recorder *recorder, const char *direction, const uint8_t *bytes, size_t size) {
    fprintf(recorder->log, "%s %zu bytes, fnv1a %016llx\n", direction, size, (unsigned long long)hash(bytes, size));
    size_t at = 0;
    while (at < size) {
        if (recorder->payload_left != 0) {
            size_t part = size - at < recorder->payload_left ? size - at : (size_t)recorder->payload_left;
            recorder->payload_left -= part;
            at += part;
            continue;
        }
        struct systole_frame_header header;
        if (size - at < sizeof header) {
            return;
        }
        memcpy(&header, bytes + at, sizeof header);
        at += sizeof header;
        fprintf(recorder->log, "    frame %-5s tag %u address %u length %u flags %u\n", frame_name(header.kind),
                header.tag, header.address, header.length, header.flags);
        recorder->payload_left = header.kind == SYSTOLE_FRAME_READ ? 0 : (header.length + 7u) / 8 * 8;
    }
}

static enum systole_status control(struct systole_transport *transport, uint8_t type, uint8_t request, uint16_t value,
                                   uint16_t index, uint8_t *data, uint16_t length, uint32_t timeout, size_t *actual) {
    struct recorder *recorder = (struct recorder *)transport;
    size_t moved = 0;
    enum systole_status status = recorder->inner->functions->control(recorder->inner, type, request, value, index, data,
                                                                     length, timeout, &moved);
    fprintf(recorder->log, "control type 0x%02x request 0x%02x value 0x%04x index 0x%04x length %u: %s, %zu bytes",
            type, request, value, index, length, systole_status_name(status), moved);
    if (moved <= 8) {
        for (size_t i = 0; i < moved; i++) {
            fprintf(recorder->log, " %02x", data[i]);
        }
    } else {
        fprintf(recorder->log, ", fnv1a %016llx", (unsigned long long)hash(data, moved));
    }
    fprintf(recorder->log, "\n");
    if (actual != NULL) {
        *actual = moved;
    }
    return status;
}

// An IN transfer is written down when it is complete: who submitted it waits behind this.
struct pending {
    struct recorder *recorder;
    struct systole_usb_transfer *transfer;
    void (*complete)(struct systole_usb_transfer *transfer);
    void *context;
};

static void completed(struct systole_usb_transfer *transfer) {
    struct pending *pending = transfer->context;
    struct recorder *recorder = pending->recorder;
    transfer->complete = pending->complete;
    transfer->context = pending->context;
    free(pending);
    if (transfer->status == SYSTOLE_OK && transfer->actual != 0) {
        if (transfer->endpoint == SYSTOLE_USB_ENDPOINT_BULK_IN) {
            uint64_t out = recorder->payload_left;
            recorder->payload_left = 0;
            log_frames(recorder, "bulk in ", transfer->buffer, transfer->actual);
            recorder->payload_left = out;
        } else {
            for (size_t at = 0; at + sizeof(struct systole_event) <= transfer->actual;
                 at += sizeof(struct systole_event)) {
                struct systole_event event;
                memcpy(&event, transfer->buffer + at, sizeof event);
                if (event.kind != SYSTOLE_EVENT_KIND_RETIRED) {
                    fprintf(recorder->log, "event kind %u error %u token %u cycle %llu\n", event.kind, event.error,
                            event.token, (unsigned long long)event.cycle);
                }
            }
        }
    }
    transfer->complete(transfer);
}

static enum systole_status submit(struct systole_transport *transport, struct systole_usb_transfer *transfer) {
    struct recorder *recorder = (struct recorder *)transport;
    if ((transfer->endpoint & 0x80) == 0) {
        log_frames(recorder, "bulk out", transfer->buffer, transfer->length);
        return recorder->inner->functions->submit(recorder->inner, transfer);
    }
    struct pending *pending = malloc(sizeof *pending);
    if (pending == NULL) {
        return SYSTOLE_OUT_OF_MEMORY;
    }
    *pending = (struct pending){recorder, transfer, transfer->complete, transfer->context};
    transfer->complete = completed;
    transfer->context = pending;
    enum systole_status status = recorder->inner->functions->submit(recorder->inner, transfer);
    if (status != SYSTOLE_OK) {
        transfer->complete = pending->complete;
        transfer->context = pending->context;
        free(pending);
    }
    return status;
}

static enum systole_status cancel(struct systole_transport *transport, struct systole_usb_transfer *transfer) {
    return inner_of(transport)->functions->cancel(inner_of(transport), transfer);
}
static enum systole_status poll_inner(struct systole_transport *transport, uint32_t timeout) {
    return inner_of(transport)->functions->poll(inner_of(transport), timeout);
}
static enum systole_status attach(struct systole_transport *transport, uint16_t product, uint32_t timeout) {
    fprintf(((struct recorder *)transport)->log, "attach to product 0x%04x\n", product);
    return inner_of(transport)->functions->attach(inner_of(transport), product, timeout);
}
static enum systole_status reset(struct systole_transport *transport) {
    fprintf(((struct recorder *)transport)->log, "port reset\n");
    return inner_of(transport)->functions->reset(inner_of(transport));
}
static void close_inner(struct systole_transport *transport) {
    inner_of(transport)->functions->close(inner_of(transport));
}

static const struct systole_transport_functions functions = {
    .control = control,
    .submit = submit,
    .cancel = cancel,
    .poll = poll_inner,
    .attach = attach,
    .reset = reset,
    .close = close_inner,
};

static FILE *open_in(const char *folder, const char *name) {
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return fopen(path, "w");
}

static enum systole_status run(const struct systole_program *program, const uint8_t *input, size_t size,
                               struct recorder *recorder, FILE *retired, struct systole_diagnostic *diagnostic) {
    const struct systole_segment *segment = &program->segments[0];
    uint32_t columns = program->target.columns;
    uint8_t *firmware = NULL, *words_in = NULL, *words_out = NULL;
    size_t firmware_size;
    struct systole_driver *driver = NULL;
    struct systole_request request = {.complete = NULL};
    systole_loaded loaded;
    enum systole_status status = systole_firmware_build(&program->target, &firmware, &firmware_size);
    const struct systole_driver_options options = {.trace_retirements = true};
    if (status == SYSTOLE_OK) {
        status = systole_driver_open(&recorder->transport, &program->target, firmware, firmware_size, &options, &driver,
                                     diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = systole_driver_load(driver, segment, &loaded, diagnostic);
    }
    const struct systole_placement *in = &segment->inputs[0].placement, *out = &segment->outputs[0].placement;
    words_in = calloc(systole_placement_words(in, columns), columns);
    words_out = calloc(systole_placement_words(out, columns), columns);
    if (words_in == NULL || words_out == NULL || (size_t)in->height * in->width * in->channels != size) {
        status = SYSTOLE_BAD_ARGUMENT;
    }
    if (status == SYSTOLE_OK) {
        systole_placement_pack(in, columns, input, words_in);
        const uint8_t *inputs[] = {words_in};
        uint8_t *outputs[] = {words_out};
        request.inputs = inputs;
        request.outputs = outputs;
        status = systole_driver_submit(driver, loaded, &request);
        if (status == SYSTOLE_OK) {
            status = systole_driver_wait(driver, &request);
        }
    }
    for (uint32_t i = 0; status == SYSTOLE_OK && i < request.retired_count; i++) {
        const struct systole_retired *r = &request.retired[i];
        const struct systole_command_info *info = &segment->info[r->command];
        fprintf(retired, "cycle %5llu  %-11s command %2u  operator %d tensor %d [%u:%u, %u:%u, %u:%u]\n",
                (unsigned long long)r->cycle, systole_unit_name(r->unit), r->command, info->operator_index,
                info->tensor_index, info->y0, info->y1, info->x0, info->x1, info->c0, info->c1);
    }
    systole_request_clear(&request);
    systole_driver_close(driver);
    free(words_out);
    free(words_in);
    free(firmware);
    return status;
}

int main(int argc, char **argv) {
    struct systole_diagnostic diagnostic = {.what = ""};
    struct systole_graph graph = {.tensors = NULL};
    struct systole_program program = {.segments = NULL};
    struct systole_target target;
    struct systole_accelerator *accelerator = NULL;
    size_t size = 0;
    if (argc != 4) {
        fprintf(stderr, "usage: record_walk MODEL.tflite INPUT.bin FOLDER\n");
        return 2;
    }
    uint8_t *input = testing_read_file(argv[2], &size);
    FILE *bus = open_in(argv[3], "bus.txt"), *retired = open_in(argv[3], "retired.txt");
    struct recorder recorder = {.transport = {.functions = &functions, .name = "recorded"}, .log = bus};
    enum systole_status status = input != NULL && bus != NULL && retired != NULL ? SYSTOLE_OK : SYSTOLE_BAD_FILE;
    if (status == SYSTOLE_OK) {
        status = systole_target_find("systole16", &target, &diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = systole_graph_read_file(argv[1], &graph, &diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status =
            systole_compile(&graph, &target, &(struct systole_compile_options){.dump = NULL}, &program, &diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = systole_rtl_create(&target, &accelerator, &diagnostic);
    }
    if (status == SYSTOLE_OK) {
        struct systole_usb_device *device = systole_usb_device_create(accelerator, &target);
        status = device != NULL ? systole_in_process_open(device, "rtl", &recorder.inner, &diagnostic)
                                : SYSTOLE_OUT_OF_MEMORY;
    }
    if (status == SYSTOLE_OK) {
        status = run(&program, input, size, &recorder, retired, &diagnostic);
    }
    if (status != SYSTOLE_OK) {
        fprintf(stderr, "record_walk: %s: %s (%s): %s\n", systole_status_name(status), diagnostic.what,
                diagnostic.where, diagnostic.hint);
    }
    systole_program_free(&program);
    systole_graph_free(&graph);
    if (bus != NULL) {
        (void)fclose(bus);
    }
    if (retired != NULL) {
        (void)fclose(retired);
    }
    free(input);
    return systole_exit_code(status);
}
