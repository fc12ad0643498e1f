// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What a device sends to the driver. A device in software behind its transport answers as it should, and the input
// changes that on the way: one instruction for each answer of a control request and each transfer that came in, until
// the input is used up. Two inferences of a small network, which may fail in any way that has a name; untouched
// ones must be right.
#include "compiler.h"
#include "device.h"
#include "driver.h"
#include "fuzz_input.h"
#include "session.h"
#include "steps.h"

#define MODEL "examples/digits/digits_int8.tflite" // from the project's root

enum { HOOKS = 64, SILENCE_MS = 3 };

struct liar {
    struct systole_transport transport; // first
    struct systole_transport *honest;
    struct fuzz_input input;
    bool lied;
    struct {
        struct systole_usb_transfer *transfer; // NULL: free
        void (*complete)(struct systole_usb_transfer *transfer);
    } hooks[HOOKS];
};

static struct liar liar; // one device at a time; hooks find it here

// What becomes of `size` of `room` bytes that came. Each instruction is a byte: what, and what that takes.
static size_t lie(uint8_t *bytes, size_t size, size_t room, enum systole_status *status) {
    static const enum systole_status failures[] = {SYSTOLE_DEVICE_STALL, SYSTOLE_DEVICE_GONE, SYSTOLE_DEVICE_PROTOCOL,
                                                   SYSTOLE_DEVICE_TIMEOUT, SYSTOLE_CANCELLED};
    if (liar.input.left == 0) {
        return size;
    }
    uint32_t what = fuzz_number(&liar.input, 1) % 8, count;
    size_t taken = 0;
    const uint8_t *from;
    liar.lied |= what >= 3; // most of the time it tells the truth
    switch (what) {
    case 3: // other bits
        for (count = fuzz_number(&liar.input, 1) % 8 + 1; count > 0 && size > 0; count--) {
            uint32_t at = fuzz_number(&liar.input, 2);
            bytes[at % size] ^= (uint8_t)fuzz_number(&liar.input, 1);
        }
        return size;
    case 4: // other bytes from a place on
        count = fuzz_number(&liar.input, 1);
        from = fuzz_take(&liar.input, fuzz_number(&liar.input, 1), &taken);
        if (taken > 0 && count < size) {
            memcpy(bytes + count, from, taken < size - count ? taken : size - count);
        }
        return size;
    case 5: // shorter
        count = fuzz_number(&liar.input, 2);
        return count % (size + 1);
    case 6: // longer, with zeros
        count = fuzz_number(&liar.input, 2) % (uint32_t)(room - size + 1);
        memset(bytes + size, 0, count);
        return size + count;
    case 7:
        *status = failures[fuzz_number(&liar.input, 1) % 5];
        return size;
    default:
        return size;
    }
}

static enum systole_status control(struct systole_transport *transport, uint8_t type, uint8_t request, uint16_t value,
                                   uint16_t index, uint8_t *data, uint16_t length, uint32_t timeout_ms,
                                   size_t *actual) {
    (void)transport;
    enum systole_status status =
        liar.honest->functions->control(liar.honest, type, request, value, index, data, length, timeout_ms, actual);
    if (status == SYSTOLE_OK && (type & 0x80) != 0) {
        *actual = lie(data, *actual, length, &status);
    }
    return status;
}

static void completed(struct systole_usb_transfer *transfer) {
    uint32_t i = 0;
    while (i < HOOKS && liar.hooks[i].transfer != transfer) {
        i++;
    }
    FUZZ_REQUIRE(i < HOOKS, "a transfer that nobody submitted");
    liar.hooks[i].transfer = NULL;
    transfer->complete = liar.hooks[i].complete;
    if (transfer->status == SYSTOLE_OK) {
        transfer->actual = lie(transfer->buffer, transfer->actual, transfer->length, &transfer->status);
    }
    transfer->complete(transfer);
}

static enum systole_status submit(struct systole_transport *transport, struct systole_usb_transfer *transfer) {
    (void)transport;
    uint32_t i = 0;
    if ((transfer->endpoint & 0x80) == 0) {
        return liar.honest->functions->submit(liar.honest, transfer);
    }
    while (i < HOOKS && liar.hooks[i].transfer != NULL) {
        i++;
    }
    FUZZ_REQUIRE(i < HOOKS, "too many transfers in flight");
    liar.hooks[i].complete = transfer->complete;
    transfer->complete = completed;
    enum systole_status status = liar.honest->functions->submit(liar.honest, transfer);
    if (status == SYSTOLE_OK) {
        liar.hooks[i].transfer = transfer;
    } else {
        transfer->complete = liar.hooks[i].complete;
    }
    return status;
}

static enum systole_status cancel(struct systole_transport *transport, struct systole_usb_transfer *transfer) {
    (void)transport;
    return liar.honest->functions->cancel(liar.honest, transfer);
}

static enum systole_status poll(struct systole_transport *transport, uint32_t timeout_ms) {
    (void)transport;
    return liar.honest->functions->poll(liar.honest, timeout_ms);
}

static enum systole_status attach(struct systole_transport *transport, uint16_t product_id, uint32_t timeout_ms) {
    (void)transport;
    return liar.honest->functions->attach(liar.honest, product_id, timeout_ms);
}

static enum systole_status reset(struct systole_transport *transport) {
    (void)transport;
    return liar.honest->functions->reset(liar.honest);
}

static void close_transport(struct systole_transport *transport) {
    (void)transport;
    liar.honest->functions->close(liar.honest);
}

// ---- The network, once for all inputs.
static struct systole_graph graph;
static struct systole_program program;
static uint8_t *firmware, expected[64];
static size_t firmware_size, output_size;

static void fill(struct systole_session *session) {
    size_t size = 0;
    uint8_t *bytes = systole_session_input(session, 0, &size);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(37 * i);
    }
}

static void make_network(const struct systole_target *target) {
    struct systole_diagnostic diagnostic = {"", "", ""};
    struct systole_session *session = NULL;
    FUZZ_REQUIRE(systole_graph_read_file(MODEL, &graph, &diagnostic) == SYSTOLE_OK, diagnostic.what);
    FUZZ_REQUIRE(systole_compile(&graph, target, NULL, &program, &diagnostic) == SYSTOLE_OK, diagnostic.what);
    FUZZ_REQUIRE(program.segment_count > 0, "nothing is on the device");
    FUZZ_REQUIRE(systole_firmware_build(target, &firmware, &firmware_size) == SYSTOLE_OK, "no firmware");
    FUZZ_REQUIRE(systole_session_create(&graph, NULL, NULL, &session, &diagnostic) == SYSTOLE_OK, diagnostic.what);
    fill(session);
    FUZZ_REQUIRE(systole_session_invoke(session, &diagnostic) == SYSTOLE_OK, diagnostic.what);
    const uint8_t *output = systole_session_output(session, 0, &output_size);
    FUZZ_REQUIRE(output_size <= sizeof expected, "the network's output is larger than thought");
    memcpy(expected, output, output_size);
    systole_session_free(session);
}

static void infer(struct systole_driver *driver) {
    struct systole_session_options options = {.driver = driver};
    struct systole_diagnostic diagnostic = {"", "", ""};
    struct systole_session *session = NULL;
    enum systole_status status = systole_session_create(NULL, &program, &options, &session, &diagnostic);
    for (uint32_t i = 0; i < 2 && status == SYSTOLE_OK; i++) {
        fill(session);
        status = systole_session_invoke(session, &diagnostic);
        size_t size = 0;
        if (status == SYSTOLE_OK && !liar.lied) {
            FUZZ_REQUIRE(memcmp(systole_session_output(session, 0, &size), expected, output_size) == 0, "wrong");
        }
    }
    FUZZ_REQUIRE(status == SYSTOLE_OK || diagnostic.what[0] != '\0', "failed without a word");
    systole_session_free(session);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static const struct systole_transport_functions functions = {.control = control,
                                                                 .submit = submit,
                                                                 .cancel = cancel,
                                                                 .poll = poll,
                                                                 .attach = attach,
                                                                 .reset = reset,
                                                                 .close = close_transport};
    struct systole_target target = steps_target();
    struct systole_accelerator *accelerator = NULL;
    struct systole_driver *driver = NULL;
    struct systole_diagnostic diagnostic = {"", "", ""};
    if (firmware == NULL) {
        make_network(&target);
    }
    memset(&liar, 0, sizeof liar);
    liar.transport = (struct systole_transport){&functions, "liar"};
    FUZZ_REQUIRE(systole_functional_model_create(&target, 0, &accelerator, &diagnostic) == SYSTOLE_OK, diagnostic.what);
    struct systole_usb_device *device = systole_usb_device_create(accelerator, &target);
    FUZZ_REQUIRE(device != NULL, "no memory");
    FUZZ_REQUIRE(systole_in_process_open(device, "model", &liar.honest, &diagnostic) == SYSTOLE_OK, diagnostic.what);
    liar.input = (struct fuzz_input){bytes, size};
    struct systole_driver_options options = {
        .silence_ms = SILENCE_MS, .chunk_bytes = 4096, .replays = 1, .trace_retirements = size % 2 != 0};
    enum systole_status status =
        systole_driver_open(&liar.transport, &target, firmware, firmware_size, &options, &driver, &diagnostic);
    if (status == SYSTOLE_OK) {
        infer(driver);
        systole_driver_close(driver);
    } else {
        FUZZ_REQUIRE(diagnostic.what[0] != '\0', "refused without a word");
    }
    return 0;
}
