/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/blas.h"
#include "ref/gemm_tasks.h"

#include <math.h>
#include <stdlib.h>

/* Inside a task slots go in blocks whose float64 copy stays near the cache: at most BLOCK_ELEMENTS
 * elements. */
enum { BLOCK_SLOTS_MIN = 32, BLOCK_ELEMENTS = 1 << 19 };

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static void absolute(double *to, const double *from, int64_t count) {
    for (int64_t i = 0; i < count; i++) to[i] = fabs(from[i]);
}

/* Buffers of one thread, in float64. */
typedef struct workspace {
    double *a, *w, *w_abs, *value, *mass;
    void *memory;
} workspace;

static bool workspace_create(workspace *s, int64_t block, int64_t columns, int64_t K, bool with_mass) {
    const size_t a = (size_t)(block * K), w = (size_t)(columns * K), c = (size_t)(block * columns);
    double *m = s->memory = malloc((a + c + w + (with_mass ? c + w : 0)) * sizeof(double));
    if (!m) return false;
    s->a = m;
    s->value = s->a + a;
    s->w = s->value + c;
    s->mass = s->w + w;
    s->w_abs = s->mass + c;
    return true;
}

static void run_task(const mp_gemm_problem *p, const mp_gemm_task *job, const int64_t *order, int64_t block,
                     bool with_mass, workspace *s, mp_gemm_visit visit, void *ctx) {
    const int64_t N = p->w.codes->dim[1], K = p->w.codes->dim[2];
    for (int64_t n = 0; n < job->n; n++)
        mp_operand_decode(&p->w, job->expert * N + job->n0 + n, 0, K, s->w + n * K);
    if (with_mass) absolute(s->w_abs, s->w, job->n * K);
    for (int64_t i = 0; i < job->count; i += block) {
        const int64_t rows = min64(block, job->count - i);
        const int64_t *slot = order + job->first + i;
        for (int64_t r = 0; r < rows; r++) mp_operand_decode(&p->a, p->a_row[slot[r]], 0, K, s->a + r * K);
        mp_blas_dgemm_nt(rows, job->n, K, s->a, s->w, s->value);
        if (with_mass) {
            absolute(s->a, s->a, rows * K);
            mp_blas_dgemm_nt(rows, job->n, K, s->a, s->w_abs, s->mass);
        }
        visit(ctx, &(mp_gemm_tile){.expert = job->expert,
                                   .count = rows,
                                   .n0 = job->n0,
                                   .n = job->n,
                                   .slot = slot,
                                   .value = s->value,
                                   .mass = with_mass ? s->mass : NULL});
    }
}

mp_status mp_gemm_float64_blas(const mp_gemm_problem *p, bool with_mass, mp_gemm_visit visit, void *ctx,
                               mp_error *err) {
    mp_gemm_tasks tasks = {0};
    mp_status status = mp_blas_load(err);
    if (status == MP_OK) status = mp_gemm_tasks_create(p, &tasks, err);
    if (status != MP_OK) return status;
    const int64_t K = p->w.codes->dim[2], columns = min64(MP_SLAB_COLUMNS, p->w.codes->dim[1]);
    int64_t block = min64(MP_BLOCK_SLOTS, BLOCK_ELEMENTS / K);
    if (block < BLOCK_SLOTS_MIN) block = BLOCK_SLOTS_MIN;
    bool failed = false;
#pragma omp parallel if (tasks.count > 1)
    {
        workspace s = {0};
        if (!workspace_create(&s, block, columns, K, with_mass)) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < tasks.count; i++)
            if (s.memory) run_task(p, &tasks.task[i], tasks.order, block, with_mass, &s, visit, ctx);
        free(s.memory);
    }
    mp_gemm_tasks_destroy(&tasks);
    return failed ? mp_fail(err, MP_EMEMORY, "gemm: no memory for float64 slabs of %lld by %lld",
                            (long long)columns, (long long)K)
                  : MP_OK;
}
