/* SPDX-License-Identifier: Apache-2.0 */
/* The work of a grouped GEMM cut into tasks for threads: one expert, at most MP_SLAB_SLOTS slots, at most
 * MP_SLAB_COLUMNS columns. Enough tasks for many threads even when all tokens go to one expert, and few
 * enough conversions of weights: one for 2*MP_SLAB_SLOTS operations on each. */
#ifndef MP_REF_GEMM_TASKS_H
#define MP_REF_GEMM_TASKS_H

#include "ref/gemm.h"

enum { MP_SLAB_COLUMNS = 512, MP_SLAB_SLOTS = 2048 };

typedef struct mp_gemm_task {
    int64_t expert, first, count, n0, n; /* slots order[first .. first+count), columns n0 .. n0+n */
} mp_gemm_task;

typedef struct mp_gemm_tasks {
    mp_gemm_task *task;
    int64_t count;
    int64_t *order; /* slots by expert, ascending within one; filtered slots and slots without a row are in no
                       task */
} mp_gemm_tasks;

mp_status mp_gemm_tasks_create(const mp_gemm_problem *problem, mp_gemm_tasks *tasks, mp_error *err);
/* The same with other slabs than MP_SLAB_COLUMNS. */
mp_status mp_gemm_tasks_create_wide(const mp_gemm_problem *problem, int64_t columns, mp_gemm_tasks *tasks,
                                    mp_error *err);
void mp_gemm_tasks_destroy(mp_gemm_tasks *tasks);

/* Rows and columns of one dgemm of K terms, at most. It copies each of its operands once, for which more
 * rows and columns pay, and goes over its result once for some hundred terms: so results are larger where
 * sums are long. Neither operand has more than 2^21 elements, or 512 columns. */
int64_t mp_dgemm_rows(int64_t K);
int64_t mp_dgemm_columns(int64_t K);

#endif
