// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// With zero points za and zw, sum (a - za)(w - zw) = sum a w - za sum w - zw sum a + depth za zw: the second and last
// terms go into the bias, the third is computed for each row where zw is not 0. Rows are taken in chunks that stay in
// the second-level cache with what they are multiplied by; a small matrix goes through whole for each tile of rows, a
// large one panel by panel.
#include "matrix.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 128 * 1024, SMALL_MATRIX_BYTES = 256 * 1024 };

static enum systole_status plan_panels(const struct systole_kernel_call *call, uint32_t width, uint32_t most_vectors,
                                       size_t depth_bytes, struct systole_matrix *m,
                                       struct systole_diagnostic *diagnostic) {
    uint32_t vectors = (uint32_t)((m->columns + width - 1) / width);
    m->panel_count = (vectors + most_vectors - 1) / most_vectors;
    m->positions = (size_t)vectors * width;
    m->weight_size = m->positions * depth_bytes;
    m->panels = calloc(m->panel_count, sizeof *m->panels);
    m->weights = systole_aligned_alloc(m->weight_size);
    if (m->panels == NULL || m->weights == NULL) {
        return systole_kernel_no_memory(call, diagnostic);
    }
    uint32_t each = vectors / m->panel_count, more = vectors % m->panel_count, column = 0;
    for (uint32_t p = 0; p < m->panel_count; p++) {
        uint32_t wide = each + (p < more ? 1 : 0), left = (uint32_t)m->columns - column;
        m->panels[p] = (struct systole_panel){
            .column = column, .columns = left < wide * width ? left : wide * width, .vectors = wide};
        m->panels[p].offset = column * depth_bytes;
        column += wide * width;
    }
    return SYSTOLE_OK;
}

static void pack_panel(const struct systole_matrix *m, const struct systole_panel *panel,
                       const struct systole_microkernels *micro, const uint8_t *weights, int32_t zero_point,
                       bool is_unsigned) {
    size_t stride = (size_t)panel->vectors * micro->width;
    int8_t *bytes = (int8_t *)m->weights + panel->offset;
    int16_t *wide = (int16_t *)(void *)(m->weights + panel->offset);
    for (uint32_t n = 0; n < panel->columns; n++) {
        const uint8_t *source = weights + (panel->column + n) * m->depth;
        for (size_t k = 0; k < m->depth; k++) {
            size_t place = (k / micro->group * stride + n) * micro->group + k % micro->group;
            int32_t w = is_unsigned ? source[k] : (int8_t)source[k];
            if (micro->widened) {
                wide[place] = (int16_t)(w - zero_point);
            } else {
                bytes[place] = (int8_t)(is_unsigned ? w - 128 : w);
            }
        }
    }
}

enum systole_status systole_matrix_make_integer(const struct systole_kernel_call *call, const uint8_t *weights,
                                                bool is_unsigned, int32_t weight_zero_point, int32_t input_zero_point,
                                                const int32_t *bias, size_t columns, size_t depth, bool is_hybrid,
                                                struct systole_matrix *matrix, struct systole_diagnostic *diagnostic) {
    const struct systole_microkernels *micro = call->fast->micro;
    *matrix = (struct systole_matrix){.columns = columns, .depth = depth};
    matrix->groups = (depth + micro->group - 1) / micro->group;
    enum systole_status status =
        plan_panels(call, micro->width, micro->vectors,
                    matrix->groups * micro->group * (micro->widened ? sizeof(int16_t) : 1), matrix, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    matrix->bias = systole_aligned_alloc(matrix->positions * sizeof *matrix->bias);
    matrix->column_sums = systole_aligned_alloc(matrix->positions * sizeof *matrix->column_sums);
    if (matrix->bias == NULL || matrix->column_sums == NULL) {
        return systole_kernel_no_memory(call, diagnostic);
    }
    for (uint32_t p = 0; p < matrix->panel_count; p++) {
        pack_panel(matrix, &matrix->panels[p], micro, weights, weight_zero_point, is_unsigned);
    }
    int32_t packed_zero_point = micro->widened ? 0 : weight_zero_point - (is_unsigned ? 128 : 0);
    bool input_is_signed = is_hybrid || systole_kernel_input(call, 0)->dtype == SYSTOLE_INT8;
    int32_t packed_input = micro->widened || is_hybrid ? 0 : input_zero_point + (input_is_signed ? 128 : 0);
    for (size_t n = 0; n < columns; n++) {
        uint32_t sum = 0;
        for (size_t k = 0; k < depth; k++) {
            int32_t w = is_unsigned ? weights[n * depth + k] : (int8_t)weights[n * depth + k];
            sum += (uint32_t)(micro->widened ? w - weight_zero_point : is_unsigned ? w - 128 : w);
        }
        matrix->column_sums[n] = (int32_t)sum;
        uint32_t start = bias != NULL ? (uint32_t)bias[n] : 0;
        matrix->bias[n] = (int32_t)(start - (uint32_t)packed_input * sum +
                                    (uint32_t)depth * (uint32_t)packed_input * (uint32_t)packed_zero_point);
    }
    matrix->row_zero_point = packed_zero_point;
    return SYSTOLE_OK;
}

enum systole_status systole_matrix_make_float(const struct systole_kernel_call *call, const float *weights,
                                              const float *bias, size_t columns, size_t depth,
                                              struct systole_matrix *matrix, struct systole_diagnostic *diagnostic) {
    const struct systole_microkernels *micro = call->fast->micro;
    *matrix = (struct systole_matrix){.is_float = true, .columns = columns, .depth = depth, .groups = depth};
    enum systole_status status =
        plan_panels(call, micro->float_width, micro->float_vectors, depth * sizeof(float), matrix, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    matrix->float_bias = systole_aligned_alloc(matrix->positions * sizeof *matrix->float_bias);
    if (matrix->float_bias == NULL) {
        return systole_kernel_no_memory(call, diagnostic);
    }
    for (uint32_t p = 0; p < matrix->panel_count; p++) {
        const struct systole_panel *panel = &matrix->panels[p];
        float *packed = (float *)(void *)(matrix->weights + panel->offset);
        for (uint32_t n = 0; n < panel->columns; n++) {
            for (size_t k = 0; k < depth; k++) {
                packed[k * panel->vectors * micro->float_width + n] = weights[(panel->column + n) * depth + k];
            }
        }
    }
    if (bias != NULL) {
        memcpy(matrix->float_bias, bias, columns * sizeof *bias);
    }
    return SYSTOLE_OK;
}

void systole_matrix_free(struct systole_matrix *matrix) {
    free(matrix->column_sums);
    free(matrix->float_bias);
    free(matrix->bias);
    free(matrix->weights);
    free(matrix->panels);
    *matrix = (struct systole_matrix){0};
}

size_t systole_matrix_row_size(const struct systole_matrix *matrix, const struct systole_microkernels *micro) {
    if (matrix->is_float) {
        return matrix->depth * sizeof(float);
    }
    return matrix->groups * micro->group * (micro->widened ? sizeof(int16_t) : 1);
}

// Rows that one task takes: a multiple of the tile's, but at the end.
static size_t chunk_rows(const struct systole_fast_context *context, const struct systole_matrix *m, size_t rows) {
    size_t tile = m->is_float ? context->micro->float_rows : context->micro->rows;
    size_t chunk = CHUNK_BYTES / systole_matrix_row_size(m, context->micro);
    size_t share = (rows + context->threads - 1) / context->threads;
    chunk = chunk < 32 * tile ? chunk : 32 * tile;
    chunk = chunk < share ? chunk : share;
    return systole_round_up(chunk > 0 ? chunk : 1, tile);
}

size_t systole_matrix_scratch(struct systole_fast_context *context, const struct systole_matrix *matrix, size_t rows,
                              size_t *used) {
    return systole_fast_scratch(
        context, used, chunk_rows(context, matrix, rows) * systole_matrix_row_size(matrix, context->micro) + 64,
        context->threads);
}

struct plan {
    const struct systole_matrix_job *job;
    size_t chunk, room; // rows; bytes of scratch a thread
    uint32_t parts;     // of the panels
};

static int32_t sum_bytes(const uint8_t *bytes, size_t count, uint8_t flip) {
    uint32_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (uint32_t)(bytes[i] ^ flip);
    }
    return (int32_t)sum;
}

static void run_integer_tile(const struct systole_matrix_job *job, const struct systole_panel *panel,
                             const uint8_t *rows, size_t stride, size_t first, uint32_t count,
                             const int32_t *row_terms) {
    const struct systole_matrix *m = job->matrix;
    int32_t sums[SYSTOLE_LARGEST_TILE_ROWS * SYSTOLE_LARGEST_TILE_COLUMNS];
    bool direct = job->rescale != NULL && job->rescale->is_bounded;
    struct systole_gemm_tile tile = {
        .rows = rows,
        .row_stride = stride,
        .row_count = count,
        .vectors = panel->vectors,
        .groups = m->groups,
        .weights = m->weights + panel->offset,
        .bias = m->bias + panel->column,
        .row_terms = row_terms,
        .flip = job->is_signed ? 0x80 : 0,
        .columns = panel->columns,
        .requantiser = direct ? &job->rescale->requantiser : NULL,
        .position = panel->column,
        .output = direct ? job->output + first * m->columns + panel->column : NULL,
        .sums = sums,
        .output_stride = direct ? m->columns : panel->columns,
    };
    job->context->micro->gemm(&tile);
    for (uint32_t r = 0; !direct && r < count; r++) {
        const int32_t *row = sums + r * panel->columns;
        if (job->rescale != NULL) {
            systole_rescale_sums(job->rescale, row, panel->column, panel->columns,
                                 job->output + (first + r) * m->columns + panel->column);
        } else {
            job->finish(job->owner, row, first + r, panel->column, panel->columns);
        }
    }
}

static void run_float_tile(const struct systole_matrix_job *job, const struct systole_panel *panel, const uint8_t *rows,
                           size_t stride, size_t first, uint32_t count) {
    const struct systole_matrix *m = job->matrix;
    struct systole_float_tile tile = {
        .rows = (const float *)(const void *)rows,
        .row_stride = stride / sizeof(float),
        .row_count = count,
        .vectors = panel->vectors,
        .columns = panel->columns,
        .depth = m->depth,
        .weights = (const float *)(const void *)(m->weights + panel->offset),
        .bias = m->float_bias + panel->column,
        .low = job->low,
        .high = job->high,
        .output = (float *)(void *)job->output + first * m->columns + panel->column,
        .output_stride = m->columns,
    };
    job->context->micro->gemm_float(&tile);
}

static void run_tile(const struct systole_matrix_job *job, uint32_t first_panel, uint32_t end_panel,
                     const uint8_t *rows, size_t stride, size_t first, uint32_t count) {
    const struct systole_matrix *m = job->matrix;
    int32_t row_terms[SYSTOLE_LARGEST_TILE_ROWS];
    bool has_terms = !m->is_float && m->row_zero_point != 0;
    for (uint32_t r = 0; has_terms && r < count; r++) {
        int32_t sum = sum_bytes(rows + r * stride, m->depth, job->is_signed ? 0x80 : 0);
        row_terms[r] = (int32_t)(0u - (uint32_t)m->row_zero_point * (uint32_t)sum);
    }
    for (uint32_t p = first_panel; p < end_panel; p++) {
        if (m->is_float) {
            run_float_tile(job, &m->panels[p], rows, stride, first, count);
        } else {
            run_integer_tile(job, &m->panels[p], rows, stride, first, count, has_terms ? row_terms : NULL);
        }
    }
}

static void run_task(void *context, uint32_t index, uint32_t thread) {
    const struct plan *plan = context;
    const struct systole_matrix_job *job = plan->job;
    const struct systole_matrix *m = job->matrix;
    const struct systole_microkernels *micro = job->context->micro;
    size_t first = index / plan->parts * plan->chunk, stride = 0;
    size_t count = job->rows - first < plan->chunk ? job->rows - first : plan->chunk;
    uint32_t part = index % plan->parts;
    uint32_t begin = (uint32_t)((uint64_t)m->panel_count * part / plan->parts);
    uint32_t end = (uint32_t)((uint64_t)m->panel_count * (part + 1) / plan->parts);
    const uint8_t *rows =
        job->gather(job->owner, first, count, job->context->scratch + job->scratch + thread * plan->room, &stride);
    // Tiles of almost the same height, so that none is left with one row.
    size_t most = m->is_float ? micro->float_rows : micro->rows, tiles = (count + most - 1) / most;
    uint32_t step = m->weight_size / plan->parts <= SMALL_MATRIX_BYTES ? end - begin : 1;
    for (uint32_t p = begin; p < end; p += step) {
        size_t row = 0;
        for (size_t t = 0; t < tiles; t++) {
            uint32_t height = (uint32_t)(count / tiles + (t < count % tiles ? 1 : 0));
            run_tile(job, p, p + step, rows + row * stride, stride, first + row, height);
            row += height;
        }
    }
}

void systole_matrix_run(const struct systole_matrix_job *job) {
    struct plan plan = {.job = job, .chunk = chunk_rows(job->context, job->matrix, job->rows)};
    plan.room = systole_round_up(plan.chunk * systole_matrix_row_size(job->matrix, job->context->micro) + 64, 64);
    uint32_t chunks = (uint32_t)((job->rows + plan.chunk - 1) / plan.chunk);
    uint32_t parts = (job->context->threads + chunks - 1) / chunks;
    plan.parts = parts < 1 ? 1 : parts < job->matrix->panel_count ? parts : job->matrix->panel_count;
    systole_thread_pool_run(job->context->pool, chunks * plan.parts, run_task, &plan);
}
