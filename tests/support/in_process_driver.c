// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "in_process_driver.h"

#include <stdlib.h>

#include "device.h"
#include "testing.h"

struct systole_driver *in_process_driver(const struct systole_target *target, uint64_t order_seed,
                                         bool trace_retirements) {
    struct systole_diagnostic diagnostic = {.what = ""};
    struct systole_accelerator *accelerator;
    struct systole_transport *transport;
    struct systole_driver *driver;
    uint8_t *firmware;
    size_t size;
    ck_assert_int_eq(systole_functional_model_create(target, order_seed, &accelerator, &diagnostic), SYSTOLE_OK);
    struct systole_usb_device *device = systole_usb_device_create(accelerator, target);
    ck_assert_ptr_nonnull(device);
    ck_assert_int_eq(systole_in_process_open(device, "model", &transport, &diagnostic), SYSTOLE_OK);
    ck_assert_int_eq(systole_firmware_build(target, &firmware, &size), SYSTOLE_OK);
    struct systole_driver_options options = {.trace_retirements = trace_retirements};
    ck_assert_msg(systole_driver_open(transport, target, firmware, size, &options, &driver, &diagnostic) == SYSTOLE_OK,
                  "%s (%s)", diagnostic.what, diagnostic.where);
    free(firmware);
    return driver;
}
