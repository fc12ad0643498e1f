// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Types of a tensor's elements. Values are those of the .tflite format's enum TensorType.
#ifndef SYSTOLE_DTYPE_H
#define SYSTOLE_DTYPE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum systole_dtype {
    SYSTOLE_FLOAT32 = 0,
    SYSTOLE_FLOAT16 = 1,
    SYSTOLE_INT32 = 2,
    SYSTOLE_UINT8 = 3,
    SYSTOLE_INT64 = 4,
    SYSTOLE_STRING = 5,
    SYSTOLE_BOOL = 6,
    SYSTOLE_INT16 = 7,
    SYSTOLE_INT8 = 9,
};
const char *systole_dtype_name(enum systole_dtype dtype); // "INT8"
size_t systole_dtype_size(enum systole_dtype dtype);      // bytes; 0: none of fixed size

#ifdef __cplusplus
}
#endif

#endif
