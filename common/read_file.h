// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#ifndef SYSTOLE_READ_FILE_H
#define SYSTOLE_READ_FILE_H

#include <stdint.h>

#include "status.h"

// The whole of a regular file of at most 2 GiB; malloc'ed, the caller frees it. Else SYSTOLE_BAD_FILE.
enum systole_status systole_read_file(const char *path, uint8_t **bytes, size_t *size,
                                      struct systole_diagnostic *diagnostic);

#endif
