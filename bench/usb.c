// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What the USB way costs, through an unmodified libusb on the FUSE bus with the functional model of systole16 (whose
// scratchpad takes a frame of a transfer's size): time from open to ready, firmware included, and throughput of bulk
// transfers of 1 MiB each way, several in flight. Medians of rounds. The program starts itself again as the bus's
// client.
//   usb [ROUNDS]
//   usb client DEVICE [ROUNDS]     on a bus that is there already, or in this process when DEVICE is model
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "device.h"
#include "driver.h"
#include "firmware.h"
#include "target.h"

enum {
    TRANSFER = 1 << 20,
    DEPTH = 4,
    PER_ROUND = 64,
    ROUNDS = 9,
    MOST_ROUNDS = 1000,
    DEADLINE_S = 60,
    HEADER = 16,
    SHORT_TRANSFERS = 200
};

#define TARGET "systole16"

static struct systole_transport *transport;
static struct systole_usb_transfer transfers[DEPTH];
static uint8_t *buffers[DEPTH], *request;
static uint32_t completed;
static bool failed;
static const char *choice = "0"; // which device on the bus

static double now_s(void) {
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, uint32_t count) {
    qsort(values, count, sizeof *values, compare);
    return values[count / 2];
}

static void count(struct systole_usb_transfer *transfer) {
    // A frame of whole packets would be followed by an empty one; so what comes in is a header's length shorter.
    size_t short_by = transfer->endpoint == SYSTOLE_USB_ENDPOINT_BULK_IN ? HEADER : 0;
    failed |= transfer->status != SYSTOLE_OK || transfer->actual != transfer->length - short_by;
    completed++;
    transfer->context = NULL;
}

static void fill_header(uint8_t *bytes, uint8_t kind, uint32_t length) {
    struct systole_frame_header header = {SYSTOLE_FRAME_MAGIC, kind, 0, 1, 0, length};
    memcpy(bytes, &header, sizeof header);
}

static void submit(struct systole_usb_transfer *transfer, uint8_t endpoint, uint8_t *buffer, size_t length) {
    *transfer = (struct systole_usb_transfer){
        .endpoint = endpoint, .buffer = buffer, .length = length, .complete = count, .context = transfer};
    failed |= transport->functions->submit(transport, transfer) != SYSTOLE_OK;
}

// PER_ROUND frames that fill a transfer each; returns bytes a second.
static double move(bool in) {
    struct systole_usb_transfer asks = {0};
    uint32_t submitted = 0;
    double start = now_s();
    completed = 0;
    if (in) { // all questions in one transfer, answered in their order
        for (uint32_t i = 0; i < PER_ROUND; i++) {
            fill_header(request + (size_t)i * HEADER, SYSTOLE_FRAME_READ, TRANSFER - 2 * HEADER);
        }
        submit(&asks, SYSTOLE_USB_ENDPOINT_BULK_OUT, request, (size_t)PER_ROUND * HEADER);
    }
    uint32_t all = PER_ROUND + in;
    while (completed < all && !failed && now_s() < start + DEADLINE_S) {
        for (uint32_t i = 0; i < DEPTH && submitted < PER_ROUND; i++) {
            if (transfers[i].context == NULL) {
                submit(&transfers[i], in ? SYSTOLE_USB_ENDPOINT_BULK_IN : SYSTOLE_USB_ENDPOINT_BULK_OUT, buffers[i],
                       TRANSFER);
                submitted++;
            }
        }
        transport->functions->poll(transport, 100);
    }
    failed |= completed != all;
    return (double)PER_ROUND * TRANSFER / (now_s() - start);
}

// What comes back is what went out.
static bool is_right(void) {
    bool right = true;
    for (uint32_t i = 0; i < DEPTH; i++) {
        for (size_t k = HEADER; k < TRANSFER - HEADER; k++) {
            right = right && buffers[i][k] == (uint8_t)(k * 31 >> 4);
        }
    }
    return right;
}

static enum systole_status open_transport(struct systole_diagnostic *diagnostic) {
    struct systole_target target;
    struct systole_accelerator *accelerator = NULL;
    if (strcmp(choice, "model") != 0) {
        return systole_libusb_open_chosen(choice, 0, &transport, diagnostic);
    }
    enum systole_status status = systole_target_find(TARGET, &target, diagnostic);
    status = status == SYSTOLE_OK ? systole_functional_model_create(&target, 0, &accelerator, diagnostic) : status;
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct systole_usb_device *device = systole_usb_device_create(accelerator, &target);
    return device == NULL ? SYSTOLE_OUT_OF_MEMORY : systole_in_process_open(device, choice, &transport, diagnostic);
}

// As a new one; a device in this process is one, and gets its firmware here.
static bool open_application(const uint8_t *firmware, size_t size) {
    struct systole_diagnostic diagnostic;
    bool opened = open_transport(&diagnostic) == SYSTOLE_OK;
    if (opened && strcmp(choice, "model") == 0) {
        opened = transport->functions->attach(transport, SYSTOLE_USB_BOOT_PRODUCT_ID, 1000) == SYSTOLE_OK &&
                 systole_firmware_download(transport, firmware, size, 1000, &diagnostic) == SYSTOLE_OK &&
                 transport->functions->attach(transport, SYSTOLE_USB_APPLICATION_PRODUCT_ID, 1000) == SYSTOLE_OK;
    }
    return opened;
}

static struct systole_driver *open_driver(const struct systole_target *target, const uint8_t *firmware, size_t size) {
    struct systole_diagnostic diagnostic = {"", "", ""};
    struct systole_driver *driver = NULL;
    enum systole_status status = open_transport(&diagnostic);
    if (status == SYSTOLE_OK) {
        status = systole_driver_open(transport, target, firmware, size, NULL, &driver, &diagnostic);
    }
    if (status != SYSTOLE_OK) {
        (void)fprintf(stderr, "usb: error: %s (%s): %s\n", diagnostic.what, diagnostic.where, diagnostic.hint);
    }
    return driver;
}

// Back to boot, so that the next opening brings firmware.
static void detach(void) {
    size_t actual = 0;
    struct systole_diagnostic diagnostic;
    if (open_transport(&diagnostic) == SYSTOLE_OK) {
        (void)transport->functions->control(transport, 0x21, 0, 1000, 1, NULL, 0, 1000, &actual);
        (void)transport->functions->attach(transport, SYSTOLE_USB_BOOT_PRODUCT_ID, 1000);
        transport->functions->close(transport);
    }
}

// Seconds of one short transfer of each kind, alone: a register read, and a frame of 64 bytes out.
static double read_register(void) {
    uint8_t value[8];
    size_t actual = 0;
    double start = now_s();
    failed |=
        transport->functions->control(transport, 0xc0, SYSTOLE_USB_REQUEST_READ_REGISTER, SYSTOLE_REGISTER_IDENTITY, 0,
                                      value, sizeof value, 1000, &actual) != SYSTOLE_OK;
    return now_s() - start;
}

static double send_short(void) {
    struct systole_usb_transfer transfer;
    uint8_t frame[64] = {0};
    fill_header(frame, SYSTOLE_FRAME_WRITE, sizeof frame - HEADER);
    double start = now_s();
    completed = 0;
    submit(&transfer, SYSTOLE_USB_ENDPOINT_BULK_OUT, frame, sizeof frame);
    while (completed == 0 && !failed && now_s() < start + DEADLINE_S) {
        transport->functions->poll(transport, 100);
    }
    failed |= completed != 1;
    return now_s() - start;
}

static void print_latency(void) {
    double reads[SHORT_TRANSFERS] = {0}, writes[SHORT_TRANSFERS] = {0};
    for (uint32_t i = 0; i < SHORT_TRANSFERS && !failed; i++) {
        reads[i] = read_register();
        writes[i] = send_short();
    }
    if (!failed) {
        printf("register read: median %.0f us; 64 bytes out: median %.0f us\n", 1e6 * median(reads, SHORT_TRANSFERS),
               1e6 * median(writes, SHORT_TRANSFERS));
    }
}

static int client(const struct systole_target *target, uint32_t rounds) {
    static double ready[MOST_ROUNDS], out[MOST_ROUNDS], in[MOST_ROUNDS];
    uint8_t *firmware = NULL;
    size_t size = 0;
    struct systole_driver *driver = NULL;
    if (systole_firmware_build(target, &firmware, &size) != SYSTOLE_OK) {
        return 1;
    }
    for (uint32_t i = 0; i < rounds && !failed; i++) {
        detach();
        double start = now_s();
        driver = open_driver(target, firmware, size);
        ready[i] = now_s() - start;
        failed = driver == NULL;
        systole_driver_close(driver);
    }
    // The device stays an application; its streams are used without the driver.
    request = calloc(PER_ROUND, HEADER);
    failed = failed || request == NULL || !open_application(firmware, size);
    free(firmware);
    for (uint32_t i = 0; i < DEPTH && !failed; i++) {
        buffers[i] = calloc(1, TRANSFER);
        failed = buffers[i] == NULL;
    }
    for (uint32_t i = 0; i < rounds && !failed; i++) {
        for (uint32_t k = 0; k < DEPTH; k++) {
            fill_header(buffers[k], SYSTOLE_FRAME_WRITE, TRANSFER - HEADER);
            for (size_t byte = HEADER; byte < TRANSFER; byte++) {
                buffers[k][byte] = (uint8_t)(byte * 31 >> 4);
            }
        }
        out[i] = move(false);
        for (uint32_t k = 0; k < DEPTH; k++) {
            memset(buffers[k], 0, TRANSFER);
        }
        in[i] = failed ? 0 : move(true);
        failed = failed || !is_right();
    }
    if (!failed) {
        print_latency();
    }
    if (failed) {
        (void)fprintf(stderr, "usb: error: a transfer failed or did not end\n");
        return 1;
    }
    transport->functions->close(transport);
    printf("open to ready, firmware included: median %.1f ms of %u\n", 1e3 * median(ready, rounds), rounds);
    printf("bulk out, 1 MiB transfers, %d in flight: median %.0f MB/s of %u rounds of %d\n", DEPTH,
           1e-6 * median(out, rounds), rounds, PER_ROUND);
    printf("bulk in, 1 MiB transfers, %d in flight: median %.0f MB/s of %u rounds of %d\n", DEPTH,
           1e-6 * median(in, rounds), rounds, PER_ROUND);
    return 0;
}

int main(int argc, char **argv) {
    struct systole_diagnostic diagnostic = {"", "", ""};
    struct systole_target target;
    struct systole_accelerator *accelerator = NULL;
    bool is_client = argc > 2 && strcmp(argv[1], "client") == 0;
    const char *text = is_client ? (argc > 3 ? argv[3] : "9") : argc > 1 ? argv[1] : "9";
    unsigned long rounds = strtoul(text, NULL, 10);
    rounds = rounds < 1 ? ROUNDS : rounds > MOST_ROUNDS ? MOST_ROUNDS : rounds;
    enum systole_status status = systole_target_find(TARGET, &target, &diagnostic);
    if (status == SYSTOLE_OK && is_client) {
        choice = argv[2];
        return client(&target, (uint32_t)rounds);
    }
    status = status == SYSTOLE_OK ? systole_functional_model_create(&target, 0, &accelerator, &diagnostic) : status;
    struct systole_usb_device *device = status == SYSTOLE_OK ? systole_usb_device_create(accelerator, &target) : NULL;
    int exit_status = 1;
    if (device != NULL) {
        char self[] = "/proc/self/exe";
        char mode[] = "client";
        char number[16];
        char first[] = "0";
        char *command[] = {self, mode, first, number, NULL};
        (void)snprintf(number, sizeof number, "%lu", rounds);
        status = systole_serve_fuse(&device, 1, command, &exit_status, &diagnostic);
        systole_usb_device_free(device);
    }
    if (status != SYSTOLE_OK) {
        (void)fprintf(stderr, "usb: error: %s (%s): %s\n", diagnostic.what, diagnostic.where, diagnostic.hint);
    }
    return status != SYSTOLE_OK ? systole_exit_code(status) : exit_status;
}
