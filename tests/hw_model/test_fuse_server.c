// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// An unmodified libusb, in a process of its own, on the virtual bus: it enumerates the device, gives it firmware, sees
// it leave and arrive, and moves bytes in every way that libusb has.
#include <libusb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "device.h"
#include "on_virtual_bus.h"
#include "testing.h"

enum { DEADLINE_S = 10, MEBIBYTE = 1 << 20 };

static libusb_context *context;
static int arrived[3]; // by product id
static int left[3];

static double now(void) {
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int LIBUSB_CALL count_event(libusb_context *ignored, libusb_device *device, libusb_hotplug_event event,
                                   void *data) {
    struct libusb_device_descriptor descriptor;
    (void)ignored;
    (void)data;
    if (libusb_get_device_descriptor(device, &descriptor) == 0 && descriptor.idProduct < 3) {
        int *count = event == LIBUSB_HOTPLUG_EVENT_DEVICE_ARRIVED ? arrived : left;
        count[descriptor.idProduct]++;
    }
    return 0;
}

static libusb_device_handle *open_product(uint16_t product) {
    libusb_device_handle *handle = libusb_open_device_with_vid_pid(context, SYSTOLE_USB_VENDOR_ID, product);
    CLIENT_CHECK(handle != NULL, "no device with product id %u", product);
    int error = libusb_claim_interface(handle, 0);
    CLIENT_CHECK(error == 0, "%s", libusb_error_name(error));
    return handle;
}

static void start_libusb(void) {
    int error = libusb_init(&context);
    CLIENT_CHECK(error == 0, "%s", libusb_error_name(error));
    CLIENT_CHECK(libusb_has_capability(LIBUSB_CAP_HAS_HOTPLUG), "libusb without hotplug");
    error = libusb_hotplug_register_callback(
        context, LIBUSB_HOTPLUG_EVENT_DEVICE_ARRIVED | LIBUSB_HOTPLUG_EVENT_DEVICE_LEFT, 0, SYSTOLE_USB_VENDOR_ID,
        LIBUSB_HOTPLUG_MATCH_ANY, LIBUSB_HOTPLUG_MATCH_ANY, count_event, NULL, NULL);
    CLIENT_CHECK(error == 0, "%s", libusb_error_name(error));
}

static void wait_for(const int *count, int wanted) {
    double end = now() + DEADLINE_S;
    while (*count < wanted && now() < end) {
        struct timeval time = {0, 20000};
        int error = libusb_handle_events_timeout_completed(context, &time, NULL);
        CLIENT_CHECK(error == 0, "%s", libusb_error_name(error));
    }
    CLIENT_CHECK(*count == wanted, "%d of %d after %d s", *count, wanted, DEADLINE_S);
}

static void download_firmware(libusb_device_handle *handle) {
    uint8_t *image = NULL;
    size_t size = 0;
    uint8_t status[6];
    uint16_t block = 0;
    CLIENT_CHECK(systole_firmware_build(&systole_presets[0], &image, &size) == SYSTOLE_OK, "firmware");
    for (size_t sent = 0; sent <= size; block++) {
        uint16_t length = (uint16_t)(size - sent < 1024 ? size - sent : 1024);
        int moved = libusb_control_transfer(handle, 0x21, 1, block, 0, image + sent, length, 1000);
        CLIENT_CHECK(moved == length, "block %u: %d", block, moved);
        moved = libusb_control_transfer(handle, 0xA1, 3, 0, 0, status, sizeof status, 1000);
        CLIENT_CHECK(moved == 6 && status[0] == 0, "block %u: %d, status %u", block, moved, status[0]);
        sent += length == 0 ? 1 : length;
    }
    free(image);
}

static libusb_device_handle *become_application(void) {
    libusb_device_handle *handle = open_product(SYSTOLE_USB_BOOT_PRODUCT_ID);
    download_firmware(handle);
    wait_for(&arrived[SYSTOLE_USB_APPLICATION_PRODUCT_ID], 1);
    libusb_close(handle);
    return open_product(SYSTOLE_USB_APPLICATION_PRODUCT_ID);
}

// ---- Clients.

static void enumerates(void) {
    libusb_device **devices = NULL;
    struct libusb_device_descriptor descriptor;
    struct libusb_config_descriptor *configuration = NULL;
    unsigned char text[64];
    start_libusb();
    CLIENT_CHECK(libusb_get_device_list(context, &devices) == 1, "not alone on the bus");
    CLIENT_CHECK(libusb_get_device_descriptor(devices[0], &descriptor) == 0, "descriptor");
    CLIENT_CHECK(descriptor.idVendor == 0x1209 && descriptor.idProduct == 1, "%04x:%04x", descriptor.idVendor,
                 descriptor.idProduct);
    CLIENT_CHECK(libusb_get_device_speed(devices[0]) == LIBUSB_SPEED_SUPER, "speed");
    CLIENT_CHECK(libusb_get_bus_number(devices[0]) == 1 && libusb_get_port_number(devices[0]) == 1, "place");
    libusb_free_device_list(devices, 1);

    libusb_device_handle *handle = become_application();
    CLIENT_CHECK(libusb_get_active_config_descriptor(libusb_get_device(handle), &configuration) == 0, "configuration");
    CLIENT_CHECK(configuration->interface[0].altsetting[0].bNumEndpoints == 4, "endpoints");
    libusb_free_config_descriptor(configuration);
    CLIENT_CHECK(libusb_get_device_descriptor(libusb_get_device(handle), &descriptor) == 0, "descriptor");
    CLIENT_CHECK(libusb_get_string_descriptor_ascii(handle, descriptor.iManufacturer, text, sizeof text) > 0, "text");
    CLIENT_CHECK(strcmp((const char *)text, "Systole") == 0, "%s", (const char *)text);
    CLIENT_CHECK(libusb_kernel_driver_active(handle, 0) == 0, "a kernel driver");
    libusb_device_handle *second = NULL;
    CLIENT_CHECK(libusb_open(libusb_get_device(handle), &second) == 0, "second open");
    CLIENT_CHECK(libusb_claim_interface(second, 0) == LIBUSB_ERROR_BUSY, "claimed twice");
    libusb_close(second);
    CLIENT_CHECK(libusb_release_interface(handle, 0) == 0, "release");
    libusb_close(handle);
    libusb_exit(context);
}

static void hotplugs(void) {
    start_libusb();
    libusb_device_handle *handle = become_application();
    wait_for(&left[SYSTOLE_USB_BOOT_PRODUCT_ID], 1);
    uint64_t identity = 0;
    int moved =
        libusb_control_transfer(handle, 0xC0, 1, SYSTOLE_REGISTER_IDENTITY, 0, (unsigned char *)&identity, 8, 1000);
    CLIENT_CHECK(moved == 8 && (uint32_t)identity == SYSTOLE_IDENTITY, "%d %llx", moved, (unsigned long long)identity);
    CLIENT_CHECK(libusb_claim_interface(handle, 1) == 0, "claim");
    CLIENT_CHECK(libusb_control_transfer(handle, 0x21, 0, 1000, 1, NULL, 0, 1000) == 0, "detach");
    wait_for(&left[SYSTOLE_USB_APPLICATION_PRODUCT_ID], 1);
    wait_for(&arrived[SYSTOLE_USB_BOOT_PRODUCT_ID], 1);
    moved = libusb_control_transfer(handle, 0xC0, 1, 0, 0, (unsigned char *)&identity, 8, 1000);
    CLIENT_CHECK(moved == LIBUSB_ERROR_NO_DEVICE, "%d", moved);
    libusb_close(handle);
    libusb_close(open_product(SYSTOLE_USB_BOOT_PRODUCT_ID));
    libusb_exit(context);
}

// A read frame of the words, then the answer; libusb cuts nothing and the device ends each frame.
static void read_back(libusb_device_handle *handle, uint8_t *buffer, uint32_t length) {
    struct systole_frame_header header = {
        .magic = SYSTOLE_FRAME_MAGIC, .kind = SYSTOLE_FRAME_READ, .tag = 5, .length = length};
    int moved = 0;
    int error = libusb_bulk_transfer(handle, 0x01, (unsigned char *)&header, sizeof header, &moved, 5000);
    CLIENT_CHECK(error == 0 && moved == sizeof header, "%s, %d", libusb_error_name(error), moved);
    error = libusb_bulk_transfer(handle, 0x81, buffer, (int)(sizeof header + length + 1024), &moved, 5000);
    CLIENT_CHECK(error == 0 && moved == (int)(sizeof header + length), "%s, %d", libusb_error_name(error), moved);
    memcpy(&header, buffer, sizeof header);
    CLIENT_CHECK(header.kind == SYSTOLE_FRAME_DATA && header.length == length, "%u %u", header.kind, header.length);
}

static void LIBUSB_CALL set_flag(struct libusb_transfer *transfer) {
    *(int *)transfer->user_data = 1;
}

static void moves_bytes(void) {
    static uint8_t out[sizeof(struct systole_frame_header) + 4 * MEBIBYTE];
    static uint8_t in[sizeof out + 1024];
    struct systole_frame_header header = {
        .magic = SYSTOLE_FRAME_MAGIC, .kind = SYSTOLE_FRAME_WRITE, .length = 4 * MEBIBYTE};
    uint32_t seed = 9;
    int moved = 0;
    start_libusb();
    libusb_device_handle *handle = become_application();
    for (size_t i = 0; i < sizeof out; i++) {
        out[i] = (uint8_t)testing_random(&seed);
    }
    memcpy(out, &header, sizeof header);
    int error = libusb_bulk_transfer(handle, 0x01, out, sizeof out, &moved, 20000);
    CLIENT_CHECK(error == 0 && moved == sizeof out, "%s, %d", libusb_error_name(error), moved);
    read_back(handle, in, 4 * MEBIBYTE);
    CLIENT_CHECK(memcmp(in + sizeof header, out + sizeof header, 4 * MEBIBYTE) == 0, "other bytes came back");
    for (uint32_t words = 1; words < 300; words += 7) { // frames that end at all places of a packet
        read_back(handle, in, words * 16);
        CLIENT_CHECK(memcmp(in + sizeof header, out + sizeof header, words * 16) == 0, "%u words", words);
    }

    // Silence: a time-out and a cancellation both come back.
    error = libusb_bulk_transfer(handle, 0x81, in, 1024, &moved, 100);
    CLIENT_CHECK(error == LIBUSB_ERROR_TIMEOUT && moved == 0, "%s, %d", libusb_error_name(error), moved);
    struct libusb_transfer *transfer = libusb_alloc_transfer(0);
    int done = 0;
    libusb_fill_interrupt_transfer(transfer, handle, 0x83, in, 64, set_flag, &done, 0);
    CLIENT_CHECK(libusb_submit_transfer(transfer) == 0, "submit");
    CLIENT_CHECK(libusb_cancel_transfer(transfer) == 0, "cancel");
    wait_for(&done, 1);
    CLIENT_CHECK(transfer->status == LIBUSB_TRANSFER_CANCELLED, "%d", transfer->status);

    // Refusals, and a reset in the middle of a transfer.
    error = libusb_control_transfer(handle, 0xC0, 99, 0, 0, in, 8, 1000);
    CLIENT_CHECK(error == LIBUSB_ERROR_PIPE, "%s", libusb_error_name(error));
    CLIENT_CHECK(libusb_control_transfer(handle, 0x02, 3, 0, 0x81, NULL, 0, 1000) == 0, "halt");
    error = libusb_bulk_transfer(handle, 0x81, in, 1024, &moved, 1000);
    CLIENT_CHECK(error == LIBUSB_ERROR_PIPE, "%s", libusb_error_name(error));
    CLIENT_CHECK(libusb_clear_halt(handle, 0x81) == 0, "clear halt");
    done = 0;
    libusb_fill_bulk_transfer(transfer, handle, 0x82, in, 1024, set_flag, &done, 0);
    CLIENT_CHECK(libusb_submit_transfer(transfer) == 0, "submit");
    error = libusb_reset_device(handle);
    CLIENT_CHECK(error == 0, "%s", libusb_error_name(error));
    wait_for(&done, 1);
    CLIENT_CHECK(transfer->actual_length == 0, "%d bytes without an event", transfer->actual_length);
    libusb_free_transfer(transfer);
    read_back(handle, in, 4 * MEBIBYTE); // the scratchpad keeps
    CLIENT_CHECK(memcmp(in + sizeof header, out + sizeof header, 4 * MEBIBYTE) == 0, "other bytes after a reset");

    // A bad frame: the fault arrives on the interrupt endpoint.
    header.magic = 0x1234;
    header.length = 0;
    error = libusb_bulk_transfer(handle, 0x01, (unsigned char *)&header, sizeof header, &moved, 1000);
    CLIENT_CHECK(error == 0, "%s", libusb_error_name(error));
    error = libusb_interrupt_transfer(handle, 0x83, in, 64, &moved, 2000);
    CLIENT_CHECK(error == 0 && moved == 16 && in[0] == SYSTOLE_ERROR_FRAME_MAGIC, "%s, %d, %u",
                 libusb_error_name(error), moved, in[0]);
    libusb_close(handle);
    libusb_exit(context);
}

// A second process of the same command while the first has the device open.
static void serves_two(void) {
    start_libusb();
    libusb_device_handle *handle = become_application();
    CLIENT_CHECK(system("test \"$(ls /sys/bus/usb/devices)\" = 1-1 && ls /dev/bus/usb/001 | grep -q '^003$' && "
                        "head -c 18 /dev/bus/usb/001/003 | wc -c | grep -q '^18$'") == 0,
                 "the files are not as expected");
    CLIENT_CHECK(system("cat /dev/bus/usb/001/002 2>/dev/null") != 0, "the old device is still there");
    libusb_close(handle);
    libusb_exit(context);
}

static const struct bus_client clients[] = {
    {"enumerates", enumerates}, {"hotplugs", hotplugs}, {"moves_bytes", moves_bytes},
    {"serves_two", serves_two}, {NULL, NULL},
};

START_TEST(libusb_client) {
    on_virtual_bus(clients[_i].name);
}
END_TEST

// ---- Commands that are not about USB.

static enum systole_status serve(char *const *command, int *exit_status, struct systole_diagnostic *diagnostic) {
    struct systole_accelerator *accelerator = NULL;
    ck_assert_int_eq(systole_functional_model_create(&systole_presets[0], 0, &accelerator, NULL), SYSTOLE_OK);
    struct systole_usb_device *device = systole_usb_device_create(accelerator, &systole_presets[0]);
    ck_assert_ptr_nonnull(device);
    enum systole_status status = systole_serve_fuse(&device, 1, command, exit_status, diagnostic);
    systole_usb_device_free(device);
    return status;
}

static void check_exit(const char *script, int wanted) {
    char shell[] = "sh";
    char option[] = "-c";
    char text[128];
    char *command[] = {shell, option, text, NULL};
    struct systole_diagnostic diagnostic;
    int exit_status = -1;
    (void)snprintf(text, sizeof text, "%s", script);
    enum systole_status status = serve(command, &exit_status, &diagnostic);
    if (status == SYSTOLE_UNSUPPORTED) {
        testing_skip("%s: %s", diagnostic.what, diagnostic.hint);
        return;
    }
    ck_assert_int_eq(status, SYSTOLE_OK);
    ck_assert_int_eq(exit_status, wanted);
}

START_TEST(exit_status_is_the_commands) {
    check_exit("exit 7", 7);
}
END_TEST

START_TEST(a_killed_command_shows) {
    check_exit("kill -9 $$", 128 + SIGKILL);
}
END_TEST

START_TEST(nothing_is_left_outside) {
    struct stat before[2];
    struct stat after[2];
    ck_assert_int_eq(stat("/sys", &before[0]), 0);
    bool had_bus = stat("/dev/bus", &before[1]) == 0;
    check_exit("test -d /dev/bus/usb/001", 0);
    ck_assert_int_eq(stat("/sys", &after[0]), 0);
    ck_assert_uint_eq(before[0].st_dev, after[0].st_dev);
    ck_assert_int_eq(stat("/dev/bus", &after[1]) == 0, had_bus);
}
END_TEST

START_TEST(commands_that_cannot_run) {
    char missing[] = "/nonexistent/program";
    char *command[] = {missing, NULL};
    char *none[] = {NULL};
    struct systole_diagnostic diagnostic;
    int exit_status = -1;
    ck_assert_int_eq(serve(none, &exit_status, &diagnostic), SYSTOLE_BAD_ARGUMENT);
    enum systole_status status = serve(command, &exit_status, &diagnostic);
    if (status == SYSTOLE_UNSUPPORTED) {
        testing_skip("%s: %s", diagnostic.what, diagnostic.hint);
        return;
    }
    ck_assert_int_eq(status, SYSTOLE_BAD_ARGUMENT);
    ck_assert_str_eq(diagnostic.where, missing);
}
END_TEST

int main(int argc, char **argv) {
    int status = 0;
    if (is_bus_client(argc, argv, clients, &status)) {
        return status;
    }
    Suite *suite = suite_create("fuse_server");
    TCase *tests = tcase_create("all");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, libusb_client, 0, sizeof clients / sizeof clients[0] - 1);
    tcase_add_test(tests, exit_status_is_the_commands);
    tcase_add_test(tests, a_killed_command_shows);
    tcase_add_test(tests, nothing_is_left_outside);
    tcase_add_test(tests, commands_that_cannot_run);
    suite_add_tcase(suite, tests);
    return testing_run(suite, "hw_model/fuse_server");
}
