/* SPDX-License-Identifier: Apache-2.0 */
/* Stages 2 and 4, the grouped GEMM in float64, and its epilogue.
 *
 *   acc[t,n] = sum_k a[a_row(t), k] * w[e(t), n, k]      t a slot with expert e(t) = topk_ids[t] >= 0
 *   mass[t,n] = sum_k |a * w|                            for the bound of any float32 accumulation
 * and, of an a that is known within radii, what those that are there come to in a sum:
 *   sure[t,n] = sum_k sure_a * |w|   det[t,n] = sum_k det_a * |w|   random[t,n] = sum_k (random_a * w)^2
 * gate_up: a = x [M,K], a_row(t) = t div topk, w = w1 [E,2N or N,K].  down: a = cache2 [rows,N], w = w2
 * [E,K,N].
 *
 * Two engines of the CPU compute the same thing and are tested against each other: plain loops (the
 * definition) and OpenBLAS (per expert: its tokens gathered, one dgemm a slab). Neither holds more than a
 * slab of the operands in float64. */
#ifndef MP_REF_GEMM_H
#define MP_REF_GEMM_H

#include "ref/epilogue.h"
#include "ref/operand.h"

/* Beside a, each as a: float64 [rows, k], none negative. det and random may be NULL, each alone. */
typedef struct mp_gemm_radii {
    const mp_tensor *sure, *det, *random;
} mp_gemm_radii;

typedef struct mp_gemm_problem {
    mp_operand a;            /* [rows, k] any float dtype */
    const int64_t *a_row;    /* [slots] row of a for each slot; -1: there is none (the slot is left out) */
    mp_operand w;            /* [E, n, k] */
    const int32_t *topk_ids; /* [slots]; -1: filtered, left out */
    int64_t slots;
    const mp_gemm_radii *radii; /* of a, or NULL */
} mp_gemm_problem;

/* A rectangle of results: `count` slots of one expert by columns n0 .. n0+n, all [count, n]; NULL what was
 * not asked for. figures [count]: of the columns of each slot, as mp_engine's measure_gemm has it; worst is a
 * column of the whole row. */
typedef struct mp_gemm_tile {
    int64_t expert, count, n0, n;
    const int64_t *slot;
    const double *value, *mass, *sure, *det, *random;
    const mp_row_figures *figures;
} mp_gemm_tile;

/* Called from several threads at once; every (slot, column) that is not left out comes exactly once, in no
 * order. */
typedef void (*mp_gemm_visit)(void *ctx, const mp_gemm_tile *tile);

/* What computes it: ref/engine.h. */
typedef struct mp_engine mp_engine;

/* Radii are summed where the problem has them. MP_EMEMORY, or MP_EUNSUPPORTED when the engine is BLAS and
 * OpenBLAS cannot be loaded. */
mp_status mp_gemm_float64(const mp_engine *engine, const mp_gemm_problem *problem, bool with_mass,
                          mp_gemm_visit visit, void *ctx, mp_error *err);

/* [E]: whether a slot is multiplied with that expert; the caller frees it. NULL without memory, which stands
 * for all experts. */
bool *mp_experts_read(const mp_gemm_problem *problem);
/* Makes what is not there yet (mp_tensor_make) of the weights and activations of some slot. */
void mp_gemm_make_operands(const mp_gemm_problem *problem);

/* GEMM, epilogue, one rounding to out's dtype; out_row [slots] gives the row of out (NULL: the slot itself),
 * -1 skips. Slots whose id is -1 get zeros. Other rows of out are not touched. */
mp_status mp_gemm_stage(const mp_engine *engine, const mp_gemm_problem *problem, const mp_epilogue *epilogue,
                        const int64_t *out_row, const mp_tensor *out, mp_error *err);

/* Zeroes the rows of out that belong to slots whose id is -1, as the kernels do for blocks of filtered
 * slots. */
void mp_gemm_zero_filtered(const mp_gemm_problem *problem, const int64_t *out_row, const mp_tensor *out);

#endif
