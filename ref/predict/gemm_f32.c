/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/gemm_f32.h"

#include "base/kept_blocks.h"
#include "base/threads.h"
#include "cases/scheme.h"
#include "ref/gemm_tasks.h"

#include <stdlib.h>
#include <string.h>

/* Blocks that are packed at once. A panel then is in a cache when the next of them meets it: panels of a task
 * together are larger than caches of a core. */
enum { BLOCKS_AT_ONCE = 4 };

/* Buffers of one thread. */
typedef struct workspace {
    char *rows, *panels;    /* packed: rows of BLOCKS_AT_ONCE blocks, a task's columns */
    float *block, *results; /* [rows, columns]; [BLOCKS_AT_ONCE*rows, MP_SLAB_COLUMNS] */
    float *scratch;         /* [k] */
    char *shortcut;         /* the engine's own */
} workspace;

static size_t aligned(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* One allocation for all buffers, as large as any task of the problem needs; the packed rows come first. NULL
 * when there is no memory. Large ones have large pages: slabs are written once and read often, and pages of
 * 4 KiB took a sixth of the time at K=4096. */
static char *workspace_create(const mp_gemm_f32_engine *e, const mp_gemm_problem *p, workspace *s) {
    const int64_t N = p->w.codes->dim[1], K = p->w.codes->dim[2];
    const size_t panels = (size_t)mp_blocks_of(min64(N, MP_SLAB_COLUMNS), e->columns),
                 rows = (size_t)(e->rows * min64(mp_blocks_of(p->slots, e->rows), BLOCKS_AT_ONCE));
    const size_t bytes[] = {aligned(rows * e->row_bytes),
                            aligned(panels * e->panel_bytes),
                            aligned((size_t)(e->rows * e->columns) * sizeof(float)),
                            rows * MP_SLAB_COLUMNS * sizeof(float),
                            aligned((size_t)K * sizeof(float)),
                            e->shortcut ? e->shortcut_bytes : 0};
    char *memory = mp_block_take(bytes[0] + bytes[1] + bytes[2] + bytes[3] + bytes[4] + bytes[5]);
    if (!memory) return NULL;
    memset(memory, 0, bytes[0]); /* rows behind the last slot are computed and dropped */
    s->rows = memory;
    s->panels = s->rows + bytes[0];
    s->block = (float *)(s->panels + bytes[1]);
    s->results = s->block + bytes[2] / sizeof(float);
    s->scratch = s->results + bytes[3] / sizeof(float);
    s->shortcut = (char *)s->scratch + bytes[4];
    return memory;
}

static void finish_row(const mp_gemm_f32_call *call, const mp_gemm_task *job, int64_t slot, float *row) {
    const int64_t at = mp_gemm_f32_out_at(call, slot);
    if (at < 0) return;
    mp_epilogue_row_f32(call->epilogue, job->expert, job->n0, job->n, slot, row);
    mp_encode_row_f32(call->out->dtype, call->out->data, at + job->n0, job->n, row);
}

/* The block at packed row `row` and column `column` of the task, into the results. */
static void run_block(const mp_gemm_f32_engine *e, const mp_gemm_f32_tile *tile, const workspace *s,
                      int64_t row, int64_t column) {
    e->run(e, tile, s->rows + (size_t)row * e->row_bytes,
           s->panels + (size_t)(column / e->columns) * e->panel_bytes, s->block);
    for (int64_t r = 0; r < tile->count; r++)
        memcpy(s->results + (row + r) * MP_SLAB_COLUMNS + column, s->block + r * e->columns,
               (size_t)tile->n * sizeof(float));
}

static void run_task(const mp_gemm_f32_engine *e, const mp_gemm_f32_call *call, const mp_gemm_task *job,
                     const workspace *s) {
    const mp_gemm_problem *p = call->problem;
    if (e->shortcut && e->shortcut(e, call, job, s->shortcut)) return;
    const int64_t columns = e->columns, at_once = (int64_t)e->rows * BLOCKS_AT_ONCE,
                  first = job->expert * p->w.codes->dim[1] + job->n0;
    for (int64_t n = 0; n < job->n; n += columns)
        e->pack_panel(e, p->w.codes, first + n, job->n - n < columns ? job->n - n : columns, s->scratch,
                      s->panels + (size_t)(n / columns) * e->panel_bytes);
    for (int64_t i = 0; i < job->count; i += at_once) {
        const int64_t *slot = call->order + job->first + i,
                      count = job->count - i < at_once ? job->count - i : at_once;
        for (int64_t r = 0; r < count; r++)
            e->pack_row(e, p->a.codes, p->a_row[slot[r]], s->rows + (size_t)r * e->row_bytes);
        for (int64_t n = 0; n < job->n; n += columns)
            for (int64_t r = 0; r < count; r += e->rows) {
                const mp_gemm_f32_tile tile = {.expert = job->expert,
                                               .count = count - r < e->rows ? count - r : e->rows,
                                               .n0 = job->n0 + n,
                                               .n = job->n - n < columns ? job->n - n : columns,
                                               .slot = slot + r};
                run_block(e, &tile, s, r, n);
            }
        for (int64_t r = 0; r < count; r++) finish_row(call, job, slot[r], s->results + r * MP_SLAB_COLUMNS);
    }
}

mp_status mp_gemm_f32(const mp_gemm_f32_engine *e, const mp_gemm_problem *p, const mp_epilogue *epilogue,
                      const int64_t *out_row, const mp_tensor *out, mp_error *err) {
    mp_gemm_tasks tasks;
    if (!mp_operand_is_plain(&p->a) || !mp_operand_is_plain(&p->w))
        return mp_fail(err, MP_EUNSUPPORTED, "%s: operands with scales are not predicted", e->name);
    const mp_status status = mp_gemm_tasks_create(p, &tasks, err);
    if (status != MP_OK) return status;
    mp_gemm_zero_filtered(p, out_row, out);
    const mp_gemm_f32_call call = {p, epilogue, out_row, out, tasks.order};
    bool failed = false;
#pragma omp parallel if (tasks.count > 1 && \
                         mp_worth_threads(p->slots, p->w.codes->dim[1] * p->w.codes->dim[2] / 8))
    {
        workspace s = {0};
        char *memory = workspace_create(e, p, &s);
        if (!memory) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < tasks.count; i++)
            if (memory) run_task(e, &call, &tasks.task[i], &s);
        mp_block_give(memory);
    }
    mp_gemm_tasks_destroy(&tasks);
    return failed ? mp_fail(err, MP_EMEMORY, "%s: no memory for slabs of %d by %lld", e->name,
                            MP_SLAB_COLUMNS, (long long)p->w.codes->dim[2])
                  : MP_OK;
}
