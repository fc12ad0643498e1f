// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Recordings of the driver at work with the functional model: they read back, replay, and every changed byte is found.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device.h"
#include "driver.h"
#include "recording_transport.h"
#include "replay.h"
#include "target.h"
#include "testing.h"

enum { PCAP_HEADER = 24, PACKET_HEADER = 16, USBMON_HEADER = 64, SILENCE_MS = 300, RUNS = 3 };

static const struct systole_target *target;
static struct systole_diagnostic diagnostic;
static uint8_t *firmware, *file;
static size_t firmware_size, file_size;

static struct systole_transport *open_model(void) {
    struct systole_accelerator *accelerator = NULL;
    struct systole_transport *transport = NULL;
    ck_assert_int_eq(systole_functional_model_create(target, 0, &accelerator, &diagnostic), SYSTOLE_OK);
    struct systole_usb_device *device = systole_usb_device_create(accelerator, target);
    ck_assert_ptr_nonnull(device);
    ck_assert_int_eq(systole_in_process_open(device, "model", &transport, &diagnostic), SYSTOLE_OK);
    return transport;
}

// Opens a device, writes and reads registers, resets, closes: no program is needed to have every kind of record but
// frames.
static void record_session(void) {
    char path[] = "/tmp/systole_replay_XXXXXX";
    struct systole_capture *capture = NULL;
    struct systole_transport *transport = NULL;
    struct systole_driver *driver = NULL;
    int descriptor = mkstemp(path);
    ck_assert_int_ge(descriptor, 0);
    close(descriptor);
    ck_assert_int_eq(systole_capture_create(path, &capture, &diagnostic), SYSTOLE_OK);
    ck_assert_int_eq(systole_recording_open(open_model(), capture, &transport, &diagnostic), SYSTOLE_OK);
    ck_assert_ptr_nonnull(transport->functions->peek); // what the model has, the recording has
    ck_assert_int_eq(systole_driver_open(transport, target, firmware, firmware_size, NULL, &driver, &diagnostic),
                     SYSTOLE_OK);
    uint64_t value = 0;
    for (uint32_t i = 0; i < RUNS; i++) {
        ck_assert_int_eq(systole_driver_read_register(driver, SYSTOLE_REGISTER_CYCLE, &value), SYSTOLE_OK);
        ck_assert_int_eq(systole_driver_write_register(driver, SYSTOLE_REGISTER_ERROR, 0), SYSTOLE_OK);
        ck_assert_int_eq(systole_driver_read_register(driver, SYSTOLE_REGISTER_IDENTITY, &value), SYSTOLE_OK);
        ck_assert_int_ne(systole_driver_read_register(driver, 0x7f8, &value), SYSTOLE_OK); // stalls
    }
    ck_assert_int_eq(systole_driver_reset(driver, &diagnostic), SYSTOLE_OK);
    systole_driver_close(driver);
    ck_assert(!systole_capture_failed(capture));
    ck_assert_int_eq(systole_capture_close(capture, &diagnostic), SYSTOLE_OK);
    file = testing_read_file(path, &file_size);
    ck_assert_ptr_nonnull(file);
    unlink(path);
}

static void setup(void) {
    target = &systole_presets[0];
    ck_assert_int_eq(systole_firmware_build(target, &firmware, &firmware_size), SYSTOLE_OK);
    record_session();
}

static void teardown(void) {
    free(file);
    free(firmware);
}

static enum systole_status replay(const uint8_t *bytes, size_t size, struct systole_transport *transport,
                                  struct systole_replayed *replayed) {
    struct systole_replay_options options = {
        .firmware = firmware, .firmware_size = firmware_size, .silence_ms = SILENCE_MS};
    memset(&diagnostic, 0, sizeof diagnostic);
    enum systole_status status = systole_replay(bytes, size, "session", transport, &options, replayed, &diagnostic);
    transport->functions->close(transport);
    return status;
}

START_TEST(same_device) {
    struct systole_replayed replayed;
    ck_assert_msg(replay(file, file_size, open_model(), &replayed) == SYSTOLE_OK, "%s (%s)", diagnostic.what,
                  diagnostic.where);
    ck_assert_uint_ge(replayed.controls, 3 * RUNS + 10);
    ck_assert_uint_ge(replayed.clocks, RUNS);
    ck_assert_uint_ge(replayed.transfers, 3); // those that waited for events and faults, twice
    ck_assert_uint_eq(replayed.others, 0);
    ck_assert_uint_gt(replayed.bytes_out, firmware_size);
}
END_TEST

START_TEST(device_in_the_other_personality) {
    struct systole_replayed replayed;
    struct systole_transport *transport = open_model();
    struct systole_replay_options options = {
        .firmware = firmware, .firmware_size = firmware_size, .silence_ms = SILENCE_MS};
    for (uint32_t i = 0; i < 2; i++) { // the first leaves it as an application
        ck_assert_msg(systole_replay(file, file_size, "session", transport, &options, &replayed, &diagnostic) ==
                          SYSTOLE_OK,
                      "%s (%s)", diagnostic.what, diagnostic.where);
    }
    transport->functions->close(transport);
}
END_TEST

START_TEST(another_device) {
    struct systole_replayed replayed;
    target = &systole_presets[1];
    ck_assert_int_eq(replay(file, file_size, open_model(), &replayed), SYSTOLE_MISMATCH);
    ck_assert_ptr_nonnull(strstr(diagnostic.where, "record "));
}
END_TEST

static size_t next_packet(size_t at) {
    uint32_t size = 0;
    memcpy(&size, file + at + 8, sizeof size);
    return at + PACKET_HEADER + size;
}

// A byte of each answer is changed in turn: found, unless the register tells the time.
START_TEST(every_changed_answer) {
    struct systole_replayed replayed;
    uint32_t found = 0, index = 0;
    for (size_t at = PCAP_HEADER; at < file_size; at = next_packet(at), index++) {
        uint8_t *usbmon = file + at + PACKET_HEADER;
        uint32_t captured = 0;
        memcpy(&captured, usbmon + 36, sizeof captured);
        if (usbmon[8] != 'C' || captured == 0 || index % 3 != 0) {
            continue;
        }
        file[at + PACKET_HEADER + USBMON_HEADER + captured - 1] ^= 0x10;
        enum systole_status status = replay(file, file_size, open_model(), &replayed);
        file[at + PACKET_HEADER + USBMON_HEADER + captured - 1] ^= 0x10;
        // A descriptor with another product is of another device; here its last byte, the number of configurations.
        ck_assert(status == SYSTOLE_MISMATCH || status == SYSTOLE_OK);
        found += status == SYSTOLE_MISMATCH;
        if (status == SYSTOLE_MISMATCH) {
            ck_assert_uint_eq(replayed.records, index); // found when the request is made: its answer is the next record
            ck_assert_ptr_nonnull(strstr(diagnostic.what, "recorded was"));
        }
    }
    ck_assert_uint_ge(found, 5);
}
END_TEST

static void swap(uint8_t *bytes, uint32_t size) {
    for (uint32_t i = 0; i < size / 2; i++) {
        uint8_t byte = bytes[i];
        bytes[i] = bytes[size - 1 - i];
        bytes[size - 1 - i] = byte;
    }
}

// As a big-endian machine's usbmon writes it.
START_TEST(other_byte_order) {
    static const uint8_t fields[][2] = {{0, 8}, {12, 2}, {16, 8}, {24, 4}, {28, 4}, {32, 4}, {36, 4}};
    struct systole_replayed replayed;
    for (size_t at = PCAP_HEADER, next; at < file_size; at = next) {
        next = next_packet(at);
        for (uint32_t i = 0; i < PACKET_HEADER; i += 4) {
            swap(file + at + i, 4);
        }
        for (uint32_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
            swap(file + at + PACKET_HEADER + fields[i][0], fields[i][1]);
        }
    }
    swap(file, 4);
    swap(file + 4, 2);
    swap(file + 6, 2);
    swap(file + 16, 4);
    swap(file + 20, 4);
    ck_assert_msg(replay(file, file_size, open_model(), &replayed) == SYSTOLE_OK, "%s (%s)", diagnostic.what,
                  diagnostic.where);
    ck_assert_uint_ge(replayed.controls, 3 * RUNS + 10);
}
END_TEST

START_TEST(damaged_files) {
    struct systole_replayed replayed;
    ck_assert_int_eq(replay(file, PCAP_HEADER, open_model(), &replayed), SYSTOLE_BAD_FILE); // nothing in it
    ck_assert_int_eq(replay(file, PCAP_HEADER - 1, open_model(), &replayed), SYSTOLE_BAD_FILE);
    ck_assert_int_eq(replay(file, PCAP_HEADER + 10, open_model(), &replayed), SYSTOLE_BAD_FILE);
    ck_assert_int_eq(replay(file, file_size - 1, open_model(), &replayed), SYSTOLE_BAD_FILE);
    file[20] = 189; // usbmon's text-like interface
    ck_assert_int_eq(replay(file, file_size, open_model(), &replayed), SYSTOLE_BAD_FILE);
    ck_assert_ptr_nonnull(strstr(diagnostic.what, "189"));
    file[20] = 220;
    memset(file + PCAP_HEADER + PACKET_HEADER + 36, 0xff, 4); // more data than the packet has
    ck_assert_int_eq(replay(file, file_size, open_model(), &replayed), SYSTOLE_BAD_FILE);
    ck_assert_int_eq(replay((const uint8_t *)"", 0, open_model(), &replayed), SYSTOLE_BAD_FILE);
}
END_TEST

// Other devices on the bus are nobody's business.
START_TEST(other_devices) {
    struct systole_replayed replayed;
    uint8_t *two = malloc(2 * file_size);
    ck_assert_ptr_nonnull(two);
    memcpy(two, file, file_size);
    memcpy(two + file_size, file + PCAP_HEADER, file_size - PCAP_HEADER);
    for (size_t at = PCAP_HEADER; at < file_size; at = next_packet(at)) {
        two[at + PACKET_HEADER + 11] = (uint8_t)(two[at + PACKET_HEADER + 11] + 50);
        uint32_t captured = 0;
        memcpy(&captured, two + at + PACKET_HEADER + 36, sizeof captured);
        if (captured == 18) { // a descriptor: of another vendor
            two[at + PACKET_HEADER + USBMON_HEADER + 8] ^= 1;
        }
    }
    ck_assert_msg(replay(two, 2 * file_size - PCAP_HEADER, open_model(), &replayed) == SYSTOLE_OK, "%s (%s)",
                  diagnostic.what, diagnostic.where);
    ck_assert_uint_gt(replayed.others, 20);
    free(two);
}
END_TEST

START_TEST(no_room_on_disk) {
    struct systole_capture *capture = NULL;
    struct systole_usb_record record = {.type = 'S', .length = 1};
    if (systole_capture_create("/dev/full", &capture, &diagnostic) != SYSTOLE_OK) {
        testing_skip("there is no /dev/full");
        return;
    }
    for (uint32_t i = 0; i < 1000; i++) {
        systole_capture_write(capture, &record);
    }
    ck_assert(systole_capture_failed(capture));
    ck_assert_int_eq(systole_capture_close(capture, &diagnostic), SYSTOLE_BAD_FILE);
    ck_assert_int_eq(systole_capture_create("/no/such/folder/file", &capture, &diagnostic), SYSTOLE_BAD_FILE);
    ck_assert_ptr_null(capture);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("replay");
    TCase *cases = tcase_create("cases");
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, same_device);
    tcase_add_test(cases, device_in_the_other_personality);
    tcase_add_test(cases, another_device);
    tcase_add_test(cases, every_changed_answer);
    tcase_add_test(cases, other_byte_order);
    tcase_add_test(cases, damaged_files);
    tcase_add_test(cases, other_devices);
    tcase_add_test(cases, no_room_on_disk);
    suite_add_tcase(suite, cases);
    return testing_run(suite, "userspace_driver/test_replay");
}
