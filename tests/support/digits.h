// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The digits model and its pictures (examples/digits), for tests that run in the project's folder.
#ifndef DIGITS_H
#define DIGITS_H

#include <stdint.h>

#define DIGITS "examples/digits/digits_int8.tflite"
enum { PIXELS = 64, CLASSES = 10 };

// The PIXELS bytes of a picture of that digit; ends the process with a message when there is none.
void read_picture(uint32_t digit, uint8_t *pixels);

#endif
