// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "digits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "on_virtual_bus.h"
#include "testing.h"

void read_picture(uint32_t digit, uint8_t *pixels) {
    char path[64];
    size_t size = 0;
    (void)snprintf(path, sizeof path, "examples/digits/pictures/%u.pgm", digit);
    uint8_t *bytes = testing_read_file(path, &size);
    CLIENT_CHECK(bytes != NULL && size >= PIXELS, "%s", path);
    memcpy(pixels, bytes + size - PIXELS, PIXELS);
    free(bytes);
}
