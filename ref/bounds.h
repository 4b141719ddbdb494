/* SPDX-License-Identifier: Apache-2.0 */
/* How far an accumulation under a contract may be from float64. Each derivation stands in bounds.c. */
#ifndef MP_REF_BOUNDS_H
#define MP_REF_BOUNDS_H

#include "moeparity/contract.h"
#include "ref/measured.h"
#include "ref/scaled_sum.h"

/* Error of an accumulation of `terms` products whose magnitudes sum to mass: |computed - exact| <= rel*mass +
 * abs. rel is Inf where no bound can be had (n*u >= 1): the stage cannot be judged then. */
typedef struct mp_sum_bound {
    double rel, abs;
    double per_scale; /* of codes whose sums are scaled: and that times the sum of |scale_a * scale_w| over
                         the blocks of k */
} mp_sum_bound;

/* operands: their format; largest: an upper bound of every operand's magnitude. */
mp_sum_bound mp_gemm_bound(const mp_gemm_contract *gemm, mp_dtype operands, int64_t terms, double largest);
/* The same of sums of codes that are scaled, in blocks of `block` terms each with scales of its own; mass is
 * that of the scaled numbers. */
mp_sum_bound mp_scaled_gemm_bound(const mp_gemm_contract *gemm, mp_dtype codes, int64_t terms, int64_t block,
                                  double largest);
/* The operands of a block-scaled unit: formats of codes and of their scales, terms that share one. */
typedef struct mp_scaled_codes {
    mp_dtype a, w, scale;
    int64_t block;
    double global; /* the largest magnitude of the product of global scales that the sum meets; 0: none */
} mp_scaled_codes;
/* As mp_scaled_gemm_bound, by a block-scaled unit; per_scale is of all scales, global ones included. */
mp_sum_bound mp_block_scaled_bound(const mp_gemm_contract *gemm, const mp_scaled_codes *codes, int64_t terms,
                                   double largest);
/* What subnormal operands add to the former where the unit takes them for zeros, and 0 elsewhere: a of the
 * activations in a sum, w of its weights. */
double mp_flushed_operands(const mp_gemm_contract *gemm, mp_dtype operands, double a, double w,
                           double largest);
/* The GEMM of a stage: gate_up, down, or one of LoRA's. */
const mp_gemm_contract *mp_stage_gemm_contract(const mp_contract *contract, mp_stage stage);
/* Unit roundoff of the steps between roundings to dtype: 2^-24, or 2^-53 with float64_steps. */
double mp_step_roundoff(const mp_contract *contract);
mp_places mp_places_of(mp_dtype dtype); /* of a float format */
double mp_gamma(double n, double u);    /* n*u/(1-n*u), or Inf when n*u >= 1 */

#endif
