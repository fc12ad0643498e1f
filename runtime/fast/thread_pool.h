// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A few threads that share out numbered tasks. Which thread takes a task is left open; results must not depend on it.
#ifndef SYSTOLE_THREAD_POOL_H
#define SYSTOLE_THREAD_POOL_H

#include <stdint.h>

#include "fast/kernel_level.h"

struct systole_thread_pool;

// `threads` (1 to SYSTOLE_LARGEST_THREADS) counts the caller; with 1 nothing is created but the object. NULL: no memory
// or no thread.
struct systole_thread_pool *systole_thread_pool_create(uint32_t threads);
void systole_thread_pool_free(struct systole_thread_pool *pool);
uint32_t systole_thread_pool_threads(const struct systole_thread_pool *pool);

// Calls task(context, i, thread) for i below `count`, each once, and returns when all are done. `thread` is below the
// pool's threads and no two calls at a time have the same. One caller at a time.
void systole_thread_pool_run(struct systole_thread_pool *pool, uint32_t count,
                             void (*task)(void *context, uint32_t index, uint32_t thread), void *context);

#endif
