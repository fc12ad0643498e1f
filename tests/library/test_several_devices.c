// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Several devices on one bus through the public interface: each by index, place and serial number, exclusive, and used
// by threads at the same time.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "digits.h"
#include "driver.h"
#include "on_virtual_bus.h"
#include "systole.h"
#include "testing.h"

enum { DEVICES = 2, THREADS = 4, ROUNDS = 40 };

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        struct systole_diagnostic diagnostic = {"", "", ""};                                                           \
        CLIENT_CHECK((call) == SYSTOLE_OK, "%s (%s)", diagnostic.what, diagnostic.where);                              \
    } while (0)

static struct systole_device *open_device(const char *name) {
    struct systole_device *device = NULL;
    OK(systole_device_open(name, NULL, &device, &diagnostic));
    return device;
}

static struct systole_inference *create(struct systole_device *device) {
    struct systole_model *model = NULL;
    struct systole_inference *inference = NULL;
    OK(systole_model_load_file(device, DIGITS, &model, &diagnostic));
    OK(systole_inference_create(model, &inference, &diagnostic));
    systole_model_free(model);
    return inference;
}

static void run(struct systole_inference *inference, const uint8_t *pixels, int8_t *scores) {
    OK(systole_inference_set_input(inference, 0, pixels, PIXELS));
    OK(systole_inference_set_output(inference, 0, scores, CLASSES));
    OK(systole_inference_invoke(inference, &diagnostic));
}

// ---- Threads.

struct lane {
    pthread_mutex_t lock; // of the device and all that was made from it
    struct systole_device *device;
};
struct worker {
    pthread_t thread;
    struct lane *lane;
    uint32_t first_digit;
};
static uint8_t pictures[CLASSES][PIXELS];
static int8_t right[CLASSES][CLASSES];

static void *work(void *argument) {
    struct worker *worker = argument;
    (void)pthread_mutex_lock(&worker->lane->lock);
    struct systole_inference *inference = create(worker->lane->device);
    (void)pthread_mutex_unlock(&worker->lane->lock);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t digit = (worker->first_digit + i) % CLASSES;
        int8_t scores[CLASSES] = {0};
        (void)pthread_mutex_lock(&worker->lane->lock);
        run(inference, pictures[digit], scores);
        (void)pthread_mutex_unlock(&worker->lane->lock);
        CLIENT_CHECK(memcmp(scores, right[digit], sizeof scores) == 0, "digit %u in round %u", digit, i);
    }
    (void)pthread_mutex_lock(&worker->lane->lock);
    systole_inference_free(inference);
    (void)pthread_mutex_unlock(&worker->lane->lock);
    return NULL;
}

static void four_threads(void) {
    static const char *const names[DEVICES] = {"usb:1", "usb:1-1"};
    struct lane lanes[DEVICES];
    struct worker workers[THREADS];
    struct systole_device *cpu = open_device("cpu");
    struct systole_inference *judge = create(cpu);
    for (uint32_t digit = 0; digit < CLASSES; digit++) {
        read_picture(digit, pictures[digit]);
        run(judge, pictures[digit], right[digit]);
    }
    systole_inference_free(judge);
    systole_device_close(cpu);
    for (uint32_t i = 0; i < DEVICES; i++) {
        (void)pthread_mutex_init(&lanes[i].lock, NULL);
        lanes[i].device = open_device(names[i]);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        workers[i].lane = &lanes[i % DEVICES];
        workers[i].first_digit = 3 * i;
        CLIENT_CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0, "thread %u", i);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        (void)pthread_join(workers[i].thread, NULL);
    }
    for (uint32_t i = 0; i < DEVICES; i++) {
        systole_device_close(lanes[i].device);
        (void)pthread_mutex_destroy(&lanes[i].lock);
    }
}

// ---- Names.

static void check_listing(uint32_t index, const char *name, uint16_t product, bool in_use, const char *end_of_serial) {
    struct systole_usb_listing *listings = NULL;
    uint32_t count = 0;
    OK(systole_libusb_list(&listings, &count, &diagnostic));
    CLIENT_CHECK(count == 3, "%u devices", count);
    const struct systole_usb_listing *listing = &listings[index];
    const char *dash = strchr(listing->serial, '-');
    CLIENT_CHECK(strcmp(listing->name, name) == 0, "%s", listing->name);
    CLIENT_CHECK(listing->product == product, "%s: %04x", name, listing->product);
    CLIENT_CHECK(listing->in_use == in_use, "%s in use: %d", name, listing->in_use);
    CLIENT_CHECK(strcmp(dash == NULL ? "" : dash, end_of_serial) == 0, "%s", listing->serial);
    CLIENT_CHECK(listing->speed_mbits == 5000 && listing->trouble[0] == '\0', "%s", listing->trouble);
    free(listings);
}

// Which device a name means does not change while devices re-enumerate.
static void each_by_its_names(void) {
    char serial[96];
    struct systole_usb_listing *listings = NULL;
    uint32_t count = 0;
    check_listing(0, "usb:1-1", SYSTOLE_USB_BOOT_PRODUCT_ID, false, "");
    check_listing(1, "usb:1-2", SYSTOLE_USB_BOOT_PRODUCT_ID, false, "-2");
    struct systole_device *first = open_device("usb");
    CLIENT_CHECK(strcmp(systole_device_name(first), "usb:1-1") == 0, "%s", systole_device_name(first));
    check_listing(0, "usb:1-1", SYSTOLE_USB_APPLICATION_PRODUCT_ID, true, "");
    struct systole_device *second = open_device("usb:1");
    CLIENT_CHECK(strcmp(systole_device_name(second), "usb:1-2") == 0, "%s", systole_device_name(second));
    OK(systole_libusb_list(&listings, &count, &diagnostic));
    (void)snprintf(serial, sizeof serial, "usb:serial:%s", listings[2].serial);
    free(listings);
    struct systole_device *third = open_device(serial);
    CLIENT_CHECK(strcmp(systole_device_name(third), "usb:1-3") == 0, "%s", systole_device_name(third));
    // Each is its opener's alone.
    struct systole_device *again = NULL;
    struct systole_diagnostic diagnostic;
    CLIENT_CHECK(systole_device_open("usb:1-2", NULL, &again, &diagnostic) == SYSTOLE_NO_DEVICE, "opened twice");
    CLIENT_CHECK(systole_device_open("usb:3", NULL, &again, &diagnostic) == SYSTOLE_NO_DEVICE, "a fourth one");
    CLIENT_CHECK(systole_device_open("usb:serial:none", NULL, &again, &diagnostic) == SYSTOLE_NO_DEVICE, "no serial");
    systole_device_close(second);
    check_listing(1, "usb:1-2", SYSTOLE_USB_APPLICATION_PRODUCT_ID, false, "-2");
    second = open_device("usb:1-2");
    systole_device_close(third);
    systole_device_close(second);
    systole_device_close(first);
}

static const struct bus_client clients[] = {
    {"four_threads", four_threads}, {"each_by_its_names", each_by_its_names}, {NULL, NULL}};

START_TEST(four_threads_on_two_devices) {
    on_virtual_bus_of(DEVICES, "four_threads");
}
END_TEST

START_TEST(names) {
    on_virtual_bus_of(3, "each_by_its_names");
}
END_TEST

static Suite *suite(void) {
    Suite *made = suite_create("several_devices");
    TCase *tcase = tcase_create("bus");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, four_threads_on_two_devices);
    tcase_add_test(tcase, names);
    suite_add_tcase(made, tcase);
    return made;
}

int main(int argc, char **argv) {
    int status;
    return is_bus_client(argc, argv, clients, &status) ? status : testing_run(suite(), "library/test_several_devices");
}
