// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Tests whose client is a process of its own with the device on its USB bus: this very program, started again with the
// arguments `client NAME`.
#ifndef SYSTOLE_ON_VIRTUAL_BUS_H
#define SYSTOLE_ON_VIRTUAL_BUS_H

#include "driver.h"

struct bus_client {
    const char *name;
    void (*run)(void); // ends the process with status 1 when something is wrong (CLIENT_CHECK)
};

// Serves a systole16 functional model to the client and asserts that it is content; skips the test aloud where mounting
// is not permitted.
void on_virtual_bus(const char *client);
// Several of them, with serial numbers of their own.
enum { BUS_DEVICES = 4 };
void on_virtual_bus_of(uint32_t count, const char *client);

// For main: true when this process is such a client, which has run; *status is main's.
bool is_bus_client(int argc, char **argv, const struct bus_client *clients, int *status);

#define CLIENT_CHECK(condition, ...) client_check((condition), __FILE__, __LINE__, #condition, __VA_ARGS__)
void client_check(bool condition, const char *file, int line, const char *text, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

#endif
