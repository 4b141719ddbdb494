/* SPDX-License-Identifier: Apache-2.0 */
/* GEMMs of quantised cases, with the bits of a contract. */
#ifndef MP_PREDICT_SCALING_H
#define MP_PREDICT_SCALING_H

#include "cases/scheme.h"
#include "moeparity/contract.h"
#include "ref/gemm.h"

/* Why the case's GEMM over K terms is not predicted, for its accumulator or the way in which it is scaled, or
 * NULL. */
const char *mp_unpredictable_scaled_gemm(const mp_gemm_contract *contract, const mp_case *c, int64_t K);

/* A sum that meets the scales a and w, by itself. */
static inline float mp_scaled_sum(mp_scaling how, float sum, float a, float w) {
    switch (how) {
    case MP_SCALING_A_THEN_W:
    case MP_SCALING_A_THEN_W_FMA: return sum * a * w;
    case MP_SCALING_W_THEN_A:
    case MP_SCALING_W_THEN_A_FMA: return sum * w * a;
    default: return sum * (a * w);
    }
}

/* Whether none is below zero, or infinite: of sums of numbers times such scales none becomes smaller when the
 * numbers grow. NaN is one, for what it meets is NaN. scales: of an operand, or NULL, all 1. */
bool mp_scales_keep_order(const mp_tensor *scales);

/* What a tensor core or a matrix core multiplies of operands with scales, and where the scales enter. */
typedef struct mp_multiplied {
    mp_gemm_problem plain; /* without scales */
    mp_tensor a, w;        /* numbers that were made for it, where they were */
    bool scaled;           /* sums meet scales: those of the original problem; the rest is about them */
    bool per_tile;         /* every part's, else the last part is followed by the scaling of the whole */
    int64_t terms;         /* of a part of k */
} mp_multiplied;

/* *m points into the problem, and is to be destroyed, after an error too. A scheme without quantised experts,
 * that of MP_SCHEME_NONE, leaves everything as it is. */
mp_status mp_multiplied_create(const mp_gemm_contract *contract, const mp_scheme *scheme, mp_dtype dtype,
                               const mp_gemm_problem *problem, mp_multiplied *m, mp_error *err);
void mp_multiplied_destroy(mp_multiplied *m);
/* Arguments as mp_predict_scaled_gemm, whose operands are m: of slots of m->plain, or of some of them. */
mp_status mp_predict_multiplied(const mp_gemm_contract *contract, const mp_multiplied *m,
                                const mp_gemm_problem *problem, const mp_epilogue *epilogue,
                                const int64_t *out_row, const mp_tensor *out, mp_error *err);

/* Arguments as mp_gemm_stage. Sums of codes over tiles of contract->promotion terms, or all of k, meet their
 * scales as the scheme and contract->scaling say; or numbers of the model's format, `dtype`, are made of
 * codes and multiplied; or the unit takes codes and scales as they are. */
mp_status mp_predict_scaled_gemm(const mp_gemm_contract *contract, const mp_scheme *scheme, mp_dtype dtype,
                                 const mp_gemm_problem *problem, const mp_epilogue *epilogue,
                                 const int64_t *out_row, const mp_tensor *out, mp_error *err);

#endif
