// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Workers wait for a new round, looking for a short while before they sleep, and take the next task until none is left.
// A round is over when every worker has said that it found no more.
#include "thread_pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

enum { LOOKS = 4000 };

struct worker {
    struct systole_thread_pool *pool;
    uint32_t index;
    pthread_t thread;
};

struct systole_thread_pool {
    uint32_t threads;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    atomic_uint round; // written under the mutex
    atomic_uint next, busy;
    uint32_t count;
    void (*task)(void *context, uint32_t index, uint32_t thread);
    void *context;
    bool ends;
    uint32_t worker_count;
    struct worker workers[];
};

static void take_tasks(struct systole_thread_pool *pool, uint32_t thread) {
    for (;;) {
        uint32_t index = atomic_fetch_add(&pool->next, 1);
        if (index >= pool->count) {
            return;
        }
        pool->task(pool->context, index, thread);
    }
}

static void *work(void *argument) {
    struct worker *worker = argument;
    struct systole_thread_pool *pool = worker->pool;
    unsigned seen = 0;
    for (;;) {
        for (int i = 0; i < LOOKS && atomic_load(&pool->round) == seen; i++) {
        }
        pthread_mutex_lock(&pool->mutex);
        while (atomic_load(&pool->round) == seen) {
            pthread_cond_wait(&pool->changed, &pool->mutex);
        }
        seen = atomic_load(&pool->round);
        bool ends = pool->ends;
        pthread_mutex_unlock(&pool->mutex);
        if (ends) {
            return NULL;
        }
        take_tasks(pool, worker->index);
        pthread_mutex_lock(&pool->mutex);
        if (atomic_fetch_sub(&pool->busy, 1) == 1) {
            pthread_cond_broadcast(&pool->changed);
        }
        pthread_mutex_unlock(&pool->mutex);
    }
}

struct systole_thread_pool *systole_thread_pool_create(uint32_t threads) {
    threads = threads < 1 ? 1 : threads > SYSTOLE_LARGEST_THREADS ? SYSTOLE_LARGEST_THREADS : threads;
    struct systole_thread_pool *pool = calloc(1, sizeof *pool + (threads - 1) * sizeof pool->workers[0]);
    if (pool == NULL) {
        return NULL;
    }
    pool->threads = threads;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->changed, NULL);
    for (uint32_t i = 0; i + 1 < threads; i++) {
        pool->workers[i] = (struct worker){.pool = pool, .index = i + 1};
        if (pthread_create(&pool->workers[i].thread, NULL, work, &pool->workers[i]) != 0) {
            systole_thread_pool_free(pool);
            return NULL;
        }
        pool->worker_count++;
    }
    return pool;
}

static void begin_round(struct systole_thread_pool *pool) {
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->busy, pool->worker_count);
    atomic_fetch_add(&pool->round, 1);
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->mutex);
}

void systole_thread_pool_free(struct systole_thread_pool *pool) {
    if (pool == NULL) {
        return;
    }
    pool->ends = true;
    begin_round(pool);
    for (uint32_t i = 0; i < pool->worker_count; i++) {
        pthread_join(pool->workers[i].thread, NULL);
    }
    pthread_cond_destroy(&pool->changed);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

uint32_t systole_thread_pool_threads(const struct systole_thread_pool *pool) {
    return pool->threads;
}

void systole_thread_pool_run(struct systole_thread_pool *pool, uint32_t count,
                             void (*task)(void *context, uint32_t index, uint32_t thread), void *context) {
    if (pool->worker_count == 0 || count <= 1) {
        for (uint32_t i = 0; i < count; i++) {
            task(context, i, 0);
        }
        return;
    }
    pool->task = task;
    pool->context = context;
    pool->count = count;
    atomic_store(&pool->next, 0);
    begin_round(pool);
    take_tasks(pool, 0);
    for (int i = 0; i < LOOKS && atomic_load(&pool->busy) != 0; i++) {
    }
    pthread_mutex_lock(&pool->mutex);
    while (atomic_load(&pool->busy) != 0) {
        pthread_cond_wait(&pool->changed, &pool->mutex);
    }
    pthread_mutex_unlock(&pool->mutex);
}
