// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// PNG, JPEG and BMP through Leptonica, stretched to the input's height and width. The resize is separable and bilinear,
// pixel centres at halves; where it reduces, the triangle is as wide as the reduction, so that every pixel of a large
// photograph counts and nothing aliases. At the input's own size it changes nothing.
#include "inputs.h"

#include <fcntl.h>
#include <leptonica/allheaders.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// A small file can claim a huge picture: 64 Mi pixels are 256 MiB.
#define MAX_PIXELS (1LL << 26)

static bool begins(const uint8_t *data, size_t length, const char *magic, size_t size) {
    return length >= size && memcmp(data, magic, size) == 0;
}
static bool is_png(const uint8_t *data, size_t length) {
    return begins(data, length, "\x89PNG\r\n\x1a\n", 8);
}
static bool is_jpeg(const uint8_t *data, size_t length) {
    return begins(data, length, "\xff\xd8\xff", 3);
}

bool cli_is_picture(const uint8_t *data, size_t length) {
    return is_png(data, length) || is_jpeg(data, length) || begins(data, length, "BM", 2);
}

// libpng and libjpeg write their complaints to stderr; the command says what is wrong in one line of its own.
static int silence_stderr(void) {
    (void)fflush(stderr);
    int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (saved >= 0 && nowhere >= 0) {
        (void)dup2(nowhere, STDERR_FILENO);
    }
    if (nowhere >= 0) {
        (void)close(nowhere);
    }
    return saved;
}

static void restore_stderr(int saved) {
    if (saved >= 0) {
        (void)fflush(stderr);
        (void)dup2(saved, STDERR_FILENO);
        (void)close(saved);
    }
}

// 32 bits a pixel, or NULL. *too_large: it was not even tried.
static PIX *decode(const uint8_t *data, size_t length, bool *too_large) {
    l_int32 width = 0, height = 0, a, b, c;
    PIX *read = NULL, *colour = NULL;
    if (is_png(data, length)) {
        bool known = readHeaderMemPng(data, length, &width, &height, &a, &b, &c) == 0;
        *too_large = known && (long long)width * height > MAX_PIXELS;
        read = known && !*too_large ? pixReadMemPng(data, length) : NULL;
    } else if (is_jpeg(data, length)) {
        bool known = readHeaderMemJpeg(data, length, &width, &height, &a, &b, &c) == 0;
        *too_large = known && (long long)width * height > MAX_PIXELS;
        read = known && !*too_large ? pixReadMemJpeg(data, length, 0, 1, NULL, 0) : NULL;
    } else {
        read = pixReadMemBmp(data, length); // not compressed: its size is bounded by the file's
    }
    if (read != NULL) {
        *too_large = (long long)pixGetWidth(read) * pixGetHeight(read) > MAX_PIXELS;
        colour = *too_large ? NULL : pixConvertTo32(read);
    }
    pixDestroy(&read);
    return colour;
}

// Height, width and channels of an input that can hold a picture.
static bool picture_shape(const struct systole_tensor *tensor, uint32_t *height, uint32_t *width, uint32_t *channels) {
    const int32_t *shape = tensor->shape;
    int32_t rank = tensor->rank;
    if (rank == 4 && shape[0] == 1) {
        shape++;
        rank--;
    }
    *channels = rank == 3 ? (uint32_t)shape[2] : 1;
    if (rank == 3 && *channels != 1 && *channels != 3 && shape[0] == 1 && tensor->rank == 3) {
        *channels = 1; // 1 x height x width
        shape++;
        rank--;
    }
    if ((rank != 3 && rank != 2) || (*channels != 1 && *channels != 3) || shape[0] < 1 || shape[1] < 1) {
        return false;
    }
    *height = (uint32_t)shape[0];
    *width = (uint32_t)shape[1];
    return true;
}

// The source positions first .. last of one output position, and the centre and half width of their triangle.
struct taps {
    uint32_t first, last;
    double centre, reach, sum;
};

static double weight(const struct taps *taps, uint32_t position) {
    return fmax(1.0 - fabs(position - taps->centre) / taps->reach, 0.0);
}

static struct taps taps_of(uint32_t position, uint32_t from, uint32_t to) {
    double ratio = (double)from / to;
    struct taps taps = {.centre = (position + 0.5) * ratio - 0.5, .reach = fmax(ratio, 1.0)};
    taps.first = (uint32_t)fmax(ceil(taps.centre - taps.reach), 0);
    taps.last = (uint32_t)fmin(floor(taps.centre + taps.reach), from - 1.0);
    for (uint32_t i = taps.first; i <= taps.last; i++) {
        taps.sum += weight(&taps, i);
    }
    return taps;
}

// Adds one row of the picture, weighted, to `sums`. Leptonica keeps a pixel in a word, red in its highest byte.
static void add_row(const l_uint32 *row, uint32_t width, uint32_t channels, double factor, double *sums) {
    for (uint32_t x = 0; x < width; x++) {
        double red = row[x] >> 24, green = row[x] >> 16 & 255, blue = row[x] >> 8 & 255;
        if (channels == 1) {
            sums[x] += factor * (0.299 * red + 0.587 * green + 0.114 * blue); // ITU-R BT.601
        } else {
            sums[3 * x] += factor * red;
            sums[3 * x + 1] += factor * green;
            sums[3 * x + 2] += factor * blue;
        }
    }
}

// Down the columns first, one output row at a time, then along it.
static void resize(PIX *picture, uint32_t height, uint32_t width, uint32_t channels, double *sums, uint8_t *pixels) {
    uint32_t from_width = (uint32_t)pixGetWidth(picture), from_height = (uint32_t)pixGetHeight(picture);
    const l_uint32 *words = pixGetData(picture);
    size_t stride = (size_t)pixGetWpl(picture);
    for (uint32_t y = 0; y < height; y++) {
        struct taps down = taps_of(y, from_height, height);
        memset(sums, 0, sizeof *sums * from_width * channels);
        for (uint32_t i = down.first; i <= down.last; i++) {
            add_row(words + i * stride, from_width, channels, weight(&down, i) / down.sum, sums);
        }
        for (uint32_t x = 0; x < width; x++) {
            struct taps along = taps_of(x, from_width, width);
            for (uint32_t c = 0; c < channels; c++) {
                double value = 0;
                for (uint32_t i = along.first; i <= along.last; i++) {
                    value += sums[(size_t)i * channels + c] * weight(&along, i);
                }
                // The small number: a half that was summed from rounded weights is still a half.
                *pixels++ = (uint8_t)fmin(floor(value / along.sum + 0.5 + 1e-9), 255);
            }
        }
    }
}

enum systole_status cli_read_picture(const struct cli_input_file *file, struct systole_diagnostic *diagnostic) {
    uint32_t height, width, channels;
    if (!picture_shape(file->tensor, &height, &width, &channels)) {
        char shape[64];
        cli_format_shape(file->tensor, shape, sizeof shape);
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, file->path, "give the raw tensor or an .npy file",
                            "input %s is %s, not height x width x 1 or 3: it takes no picture", file->tensor->name,
                            shape);
    }
    enum systole_status status = SYSTOLE_OK;
    uint8_t *pixels = NULL;
    double *sums = NULL;
    bool too_large = false;
    int saved = silence_stderr();
    PIX *picture = decode(file->data, file->length, &too_large);
    restore_stderr(saved);
    if (picture == NULL) {
        status = systole_fail(diagnostic, SYSTOLE_BAD_FILE, file->path,
                              too_large ? "make it smaller first" : "PNG, JPEG and uncompressed BMP can be read",
                              too_large ? "the picture has more than 64 Mi pixels" : "the picture is damaged");
        goto done;
    }
    pixels = malloc((size_t)height * width * channels);
    sums = malloc(sizeof *sums * (size_t)pixGetWidth(picture) * channels);
    if (pixels == NULL || sums == NULL) {
        status = systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, file->path, "", "no memory for the picture");
        goto done;
    }
    resize(picture, height, width, channels, sums, pixels);
    status = cli_store_pixels(file, pixels, channels, diagnostic);
done:
    free(sums);
    free(pixels);
    pixDestroy(&picture);
    return status;
}
