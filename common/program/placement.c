// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include <string.h>

#include "program.h"

uint32_t systole_placement_words(const struct systole_placement *placement, uint32_t columns) {
    uint64_t last_row = (uint64_t)(placement->height - 1) * placement->row_stride;
    if (placement->layout == SYSTOLE_LAYOUT_PACKED) {
        uint64_t row_bytes = (uint64_t)placement->width * placement->channels;
        return (uint32_t)(last_row + (row_bytes + columns - 1) / columns);
    }
    uint32_t tiles = (placement->channels + columns - 1) / columns;
    return (uint32_t)((uint64_t)(tiles - 1) * placement->tile_stride + last_row +
                      (uint64_t)(placement->width - 1) * placement->pixel_stride + 1);
}

bool systole_placement_is_dense(const struct systole_placement *placement, uint32_t columns) {
    const struct systole_placement *p = placement;
    if (p->layout == SYSTOLE_LAYOUT_PACKED) {
        return p->height == 1 || (uint64_t)p->row_stride * columns == (uint64_t)p->width * p->channels;
    }
    if (p->height == 1 && p->width == 1) {
        return p->channels <= columns || p->tile_stride == 1;
    }
    return p->channels == columns && (p->width == 1 || p->pixel_stride == 1) &&
           (p->height == 1 || p->row_stride == p->width);
}

// Byte of element (y, x, channel 0 of the tile) from the placement's first.
static size_t tile_byte(const struct systole_placement *placement, uint32_t columns, uint32_t tile, uint32_t y,
                        uint32_t x) {
    return ((size_t)tile * placement->tile_stride + (size_t)y * placement->row_stride +
            (size_t)x * placement->pixel_stride) *
           columns;
}

void systole_placement_pack(const struct systole_placement *placement, uint32_t columns, const uint8_t *dense,
                            uint8_t *words) {
    memset(words, 0, (size_t)systole_placement_words(placement, columns) * columns);
    size_t row_bytes = (size_t)placement->width * placement->channels;
    for (uint32_t y = 0; y < placement->height; y++) {
        const uint8_t *row = dense + y * row_bytes;
        if (placement->layout == SYSTOLE_LAYOUT_PACKED) {
            memcpy(words + (size_t)y * placement->row_stride * columns, row, row_bytes);
            continue;
        }
        for (uint32_t x = 0; x < placement->width; x++) {
            const uint8_t *pixel = row + (size_t)x * placement->channels;
            for (uint32_t c = 0; c < placement->channels; c += columns) {
                uint32_t lanes = placement->channels - c < columns ? placement->channels - c : columns;
                memcpy(words + tile_byte(placement, columns, c / columns, y, x), pixel + c, lanes);
            }
        }
    }
}

void systole_placement_unpack(const struct systole_placement *placement, uint32_t columns, const uint8_t *words,
                              uint8_t *dense) {
    size_t row_bytes = (size_t)placement->width * placement->channels;
    for (uint32_t y = 0; y < placement->height; y++) {
        uint8_t *row = dense + y * row_bytes;
        if (placement->layout == SYSTOLE_LAYOUT_PACKED) {
            memcpy(row, words + (size_t)y * placement->row_stride * columns, row_bytes);
            continue;
        }
        for (uint32_t x = 0; x < placement->width; x++) {
            uint8_t *pixel = row + (size_t)x * placement->channels;
            for (uint32_t c = 0; c < placement->channels; c += columns) {
                uint32_t lanes = placement->channels - c < columns ? placement->channels - c : columns;
                memcpy(pixel + c, words + tile_byte(placement, columns, c / columns, y, x), lanes);
            }
        }
    }
}
