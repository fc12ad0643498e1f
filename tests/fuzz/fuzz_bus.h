// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A peer of a bus server that says anything. The first byte of the input is how many bytes arrive at once (0: all);
// when the server ends the connection, the rest is said on a new one.
#ifndef SYSTOLE_FUZZ_BUS_H
#define SYSTOLE_FUZZ_BUS_H

#include "bus_server.h"
#include "fuzz_input.h"
#include "steps.h"

enum { FUZZ_CONNECTIONS = 64 };

static inline void fuzz_bus(const struct systole_bus_protocol *protocol, const uint8_t *bytes, size_t size) {
    struct fuzz_input input = {bytes, size};
    struct systole_target target = steps_target();
    struct systole_accelerator *accelerator = NULL;
    FUZZ_REQUIRE(systole_functional_model_create(&target, 0, &accelerator, NULL) == SYSTOLE_OK, "no model");
    struct systole_usb_port port = {.device = systole_usb_device_create(accelerator, &target)};
    FUZZ_REQUIRE(port.device != NULL, "no memory");
    struct systole_bus bus = {&port, 1};
    size_t at_once = fuzz_number(&input, 1);
    for (uint32_t i = 0; i < FUZZ_CONNECTIONS && input.left != 0; i++) {
        struct systole_byte_queue out = {NULL, 0, 0, 0, false};
        void *session = protocol->open(&bus, &out);
        bool goes_on = session != NULL;
        FUZZ_REQUIRE(goes_on, "a free device was refused");
        while (goes_on && input.left != 0) {
            size_t taken = 0;
            const uint8_t *part = fuzz_take(&input, at_once == 0 ? input.left : at_once, &taken);
            // A copy, so that reading past its end shows.
            uint8_t *copy = malloc(taken);
            FUZZ_REQUIRE(copy != NULL, "no memory");
            memcpy(copy, part, taken);
            goes_on = protocol->receive(session, copy, taken);
            free(copy);
            (void)systole_usb_port_run(&port);
            goes_on = protocol->advance(session) && goes_on;
            systole_byte_queue_take(&out, out.count / 2);
        }
        protocol->close(session);
        systole_byte_queue_free(&out);
        FUZZ_REQUIRE(port.waiting == NULL && port.waiting_bytes == 0 && port.waiting_count == 0,
                     "transfers outlive their connection");
    }
    systole_usb_device_free(port.device);
}

#endif
