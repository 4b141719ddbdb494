/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/gemm_tasks.h"

#include "ref/align.h"

#include <stdlib.h>

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t pieces(int64_t n, int64_t size) {
    return (n + size - 1) / size;
}

static int64_t between(int64_t low, int64_t n, int64_t high) {
    return n < low ? low : min64(n, high);
}

enum { DGEMM_ELEMENTS = 1 << 21, DGEMM_LEAST = 32, DGEMM_USUAL = 512, DGEMM_MOST = 1024 };

int64_t mp_dgemm_rows(int64_t K) {
    const int64_t fit = K > 0 ? DGEMM_ELEMENTS / K : DGEMM_USUAL;
    return between(DGEMM_LEAST, min64(fit, between(DGEMM_USUAL, K / 2, DGEMM_MOST)), DGEMM_MOST);
}

int64_t mp_dgemm_columns(int64_t K) {
    return between(DGEMM_USUAL, K > 0 ? DGEMM_ELEMENTS / K : DGEMM_USUAL, DGEMM_MOST);
}

mp_status mp_gemm_tasks_create(const mp_gemm_problem *p, mp_gemm_tasks *tasks, mp_error *err) {
    return mp_gemm_tasks_create_wide(p, MP_SLAB_COLUMNS, tasks, err);
}

mp_status mp_gemm_tasks_create_wide(const mp_gemm_problem *p, int64_t columns, mp_gemm_tasks *tasks,
                                    mp_error *err) {
    const int64_t E = p->w.codes->dim[0], N = p->w.codes->dim[1];
    *tasks = (mp_gemm_tasks){0};
    mp_status status = MP_EMEMORY;
    int64_t *offsets = malloc((size_t)(E + 2) * sizeof *offsets);
    tasks->order = malloc((size_t)(p->slots > 0 ? p->slots : 1) * sizeof *tasks->order);
    if (!offsets || !tasks->order) goto out;
    mp_group_by_expert(p->topk_ids, p->slots, E, offsets, tasks->order);

    int64_t capacity = 1;
    for (int64_t e = 0; e < E; e++)
        capacity += pieces(N, columns) * pieces(offsets[e + 2] - offsets[e + 1], MP_SLAB_SLOTS);
    tasks->task = malloc((size_t)capacity * sizeof *tasks->task);
    if (!tasks->task) goto out;

    for (int64_t e = 0; e < E; e++) {
        int64_t end = offsets[e + 1]; /* slots that have a row move to the front of the expert's range */
        for (int64_t i = offsets[e + 1]; i < offsets[e + 2]; i++)
            if (p->a_row[tasks->order[i]] >= 0) tasks->order[end++] = tasks->order[i];
        for (int64_t i = offsets[e + 1]; i < end; i += MP_SLAB_SLOTS)
            for (int64_t n0 = 0; n0 < N; n0 += columns)
                tasks->task[tasks->count++] =
                    (mp_gemm_task){e, i, min64(MP_SLAB_SLOTS, end - i), n0, min64(columns, N - n0)};
    }
    status = MP_OK;
out:
    free(offsets);
    if (status == MP_OK) return MP_OK;
    mp_gemm_tasks_destroy(tasks);
    return mp_fail(err, status, "gemm: no memory for the tasks of %lld slots", (long long)p->slots);
}

void mp_gemm_tasks_destroy(mp_gemm_tasks *tasks) {
    free(tasks->task);
    free(tasks->order);
    *tasks = (mp_gemm_tasks){0};
}
