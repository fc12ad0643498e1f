// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "on_virtual_bus.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "testing.h"

void client_check(bool condition, const char *file, int line, const char *text, const char *format, ...) {
    if (condition) {
        return;
    }
    va_list arguments;
    fprintf(stderr, "%s:%d: %s: ", file, line, text);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n");
    exit(1);
}

bool is_bus_client(int argc, char **argv, const struct bus_client *clients, int *status) {
    if (argc != 3 || strcmp(argv[1], "client") != 0) {
        return false;
    }
    *status = 2;
    for (; clients->name != NULL; clients++) {
        if (strcmp(clients->name, argv[2]) == 0) {
            clients->run();
            *status = 0;
        }
    }
    return true;
}

void on_virtual_bus_of(uint32_t count, const char *client) {
    char self[] = "/proc/self/exe";
    char mode[] = "client";
    char name[64];
    char *command[] = {self, mode, name, NULL};
    struct systole_usb_device *devices[BUS_DEVICES] = {NULL};
    struct systole_diagnostic diagnostic = {"", "", ""};
    int exit_status = -1;
    ck_assert_uint_le(count, BUS_DEVICES);
    (void)snprintf(name, sizeof name, "%s", client);
    for (uint32_t i = 0; i < count; i++) {
        struct systole_accelerator *accelerator = NULL;
        ck_assert_int_eq(systole_functional_model_create(&systole_presets[0], 0, &accelerator, NULL), SYSTOLE_OK);
        devices[i] = systole_usb_device_create(accelerator, &systole_presets[0]);
        ck_assert_ptr_nonnull(devices[i]);
        systole_usb_device_number(devices[i], i + 1);
    }
    enum systole_status status = systole_serve_fuse(devices, count, command, &exit_status, &diagnostic);
    for (uint32_t i = 0; i < count; i++) {
        systole_usb_device_free(devices[i]);
    }
    if (status == SYSTOLE_UNSUPPORTED) {
        testing_skip("%s: %s", diagnostic.what, diagnostic.hint);
        return;
    }
    ck_assert_msg(status == SYSTOLE_OK, "%s", diagnostic.what);
    ck_assert_int_eq(exit_status, 0);
}

void on_virtual_bus(const char *client) {
    on_virtual_bus_of(1, client);
}
