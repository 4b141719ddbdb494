/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/blas.h"
#include "base/kept_blocks.h"
#include "base/threads.h"
#include "ref/engine.h"
#include "ref/gemm_tasks.h"

#include <math.h>
#include <stdlib.h>

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static void absolute(double *to, const double *from, int64_t count) {
    for (int64_t i = 0; i < count; i++) to[i] = fabs(from[i]);
}

static void square(double *to, const double *from, int64_t count) {
    for (int64_t i = 0; i < count; i++) to[i] = from[i] * from[i];
}

/* Which sums are wanted beside the values. */
typedef struct wanted {
    bool mass, sure, det, random;
} wanted;

/* Buffers of one thread, in float64: NULL what is not wanted. */
typedef struct workspace {
    double *a, *w, *w_abs, *w_square;
    double *value, *mass, *sure, *det, *random;
    void *memory;
} workspace;

static bool workspace_create(workspace *s, int64_t block, int64_t columns, int64_t K, wanted want) {
    const struct {
        double **buffer;
        int64_t count;
    } parts[] = {{&s->a, block * K},
                 {&s->w, columns * K},
                 {&s->w_abs, want.mass || want.sure ? columns * K : 0},
                 {&s->w_square, want.random ? columns * K : 0},
                 {&s->value, block * columns},
                 {&s->mass, want.mass ? block * columns : 0},
                 {&s->sure, want.sure ? block * columns : 0},
                 {&s->det, want.det ? block * columns : 0},
                 {&s->random, want.random ? block * columns : 0}};
    enum { PARTS = sizeof parts / sizeof parts[0] };
    int64_t all = 0;
    for (int i = 0; i < PARTS; i++) all += parts[i].count;
    double *at = s->memory = mp_block_take((size_t)all * sizeof *at);
    for (int i = 0; at && i < PARTS; at += parts[i].count, i++)
        *parts[i].buffer = parts[i].count > 0 ? at : NULL;
    return s->memory != NULL;
}

/* Rows of a radius, which are those of a. */
static void gather(const mp_gemm_problem *p, const mp_tensor *radius, const int64_t *slot, int64_t rows,
                   int64_t K, double *to) {
    for (int64_t r = 0; r < rows; r++)
        mp_decode_row(MP_FP64, radius->data, p->a_row[slot[r]] * K, K, to + r * K);
}

static void sum_radii(const mp_gemm_problem *p, const int64_t *slot, int64_t rows, int64_t n, int64_t K,
                      workspace *s) {
    gather(p, p->radii->sure, slot, rows, K, s->a);
    mp_blas_dgemm_nt(rows, n, K, s->a, s->w_abs, s->sure);
    if (s->det) {
        gather(p, p->radii->det, slot, rows, K, s->a);
        mp_blas_dgemm_nt(rows, n, K, s->a, s->w_abs, s->det);
    }
    if (!s->random) return;
    gather(p, p->radii->random, slot, rows, K, s->a);
    square(s->a, s->a, rows * K);
    mp_blas_dgemm_nt(rows, n, K, s->a, s->w_square, s->random);
}

static void run_task(const mp_gemm_problem *p, const mp_gemm_task *job, const int64_t *order, int64_t block,
                     workspace *s, mp_gemm_visit visit, void *ctx) {
    const int64_t N = p->w.codes->dim[1], K = p->w.codes->dim[2];
    for (int64_t n = 0; n < job->n; n++)
        mp_operand_decode(&p->w, job->expert * N + job->n0 + n, 0, K, s->w + n * K);
    if (s->w_abs) absolute(s->w_abs, s->w, job->n * K);
    if (s->w_square) square(s->w_square, s->w, job->n * K);
    for (int64_t i = 0; i < job->count; i += block) {
        const int64_t rows = min64(block, job->count - i);
        const int64_t *slot = order + job->first + i;
        for (int64_t r = 0; r < rows; r++) mp_operand_decode(&p->a, p->a_row[slot[r]], 0, K, s->a + r * K);
        mp_blas_dgemm_nt(rows, job->n, K, s->a, s->w, s->value);
        if (s->mass) {
            absolute(s->a, s->a, rows * K);
            mp_blas_dgemm_nt(rows, job->n, K, s->a, s->w_abs, s->mass);
        }
        if (s->sure) sum_radii(p, slot, rows, job->n, K, s);
        visit(ctx, &(mp_gemm_tile){.expert = job->expert,
                                   .count = rows,
                                   .n0 = job->n0,
                                   .n = job->n,
                                   .slot = slot,
                                   .value = s->value,
                                   .mass = s->mass,
                                   .sure = s->sure,
                                   .det = s->det,
                                   .random = s->random});
    }
}

static mp_status gemm_blas(const mp_engine *self, const mp_gemm_problem *p, bool with_mass,
                           mp_gemm_visit visit, void *ctx, mp_error *err) {
    mp_gemm_tasks tasks = {0};
    (void)self;
    mp_status status = mp_blas_load(err);
    /* Of few slots more tasks are worth more than large ones. */
    const int64_t K = p->w.codes->dim[2], block = mp_dgemm_rows(K),
                  slab = p->slots < MP_SLAB_SLOTS ? MP_SLAB_COLUMNS : mp_dgemm_columns(K),
                  columns = min64(slab, p->w.codes->dim[1]);
    if (status == MP_OK) status = mp_gemm_tasks_create_wide(p, slab, &tasks, err);
    if (status != MP_OK) return status;
    const mp_gemm_radii *r = p->radii;
    const wanted want = {with_mass, r, r && r->det, r && r->random};
    bool failed = false;
#pragma omp parallel if (tasks.count > 1 && mp_worth_threads(p->slots, p->w.codes->dim[1] * K / 8))
    {
        workspace s = {0};
        if (!workspace_create(&s, block, columns, K, want)) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < tasks.count; i++)
            if (s.memory) run_task(p, &tasks.task[i], tasks.order, block, &s, visit, ctx);
        mp_block_give(s.memory);
    }
    mp_gemm_tasks_destroy(&tasks);
    return failed ? mp_fail(err, MP_EMEMORY, "gemm: no memory for float64 slabs of %lld by %lld",
                            (long long)columns, (long long)K)
                  : MP_OK;
}

static const char *blas_name(const mp_engine *self) {
    (void)self;
    return mp_blas_name();
}

const mp_engine mp_engine_blas = {.name = blas_name, .gemm_float64 = gemm_blas};

const mp_engine *mp_engine_of_cpu(void) {
    return mp_blas_load(NULL) == MP_OK ? &mp_engine_blas : &mp_engine_plain;
}
