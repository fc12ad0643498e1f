// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "fuzz_bus.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    fuzz_bus(&systole_usbip_protocol, bytes, size);
    return 0;
}
