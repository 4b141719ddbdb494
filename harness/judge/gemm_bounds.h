/* SPDX-License-Identifier: Apache-2.0 */
/* Private to harness/judge/: what a contract says of the sums of a GEMM of the case. */
#ifndef MP_HARNESS_GEMM_BOUNDS_H
#define MP_HARNESS_GEMM_BOUNDS_H

#include "moeparity/case.h"
#include "ref/bounds.h"
#include "ref/gemm.h"

/* Terms of k that share scales; 0: numbers are multiplied. */
int64_t mp_scaled_block(const mp_case *c, const mp_gemm_contract *contract, const mp_gemm_problem *problem);
/* The format of what is multiplied. */
mp_dtype mp_multiplied_as(const mp_case *c, const mp_gemm_problem *problem);
/* The largest global scale of an operand; 1: it has none. */
double mp_largest_global(const mp_operand *operand);
/* The error of its sums. given: the global scale of activations that are not the problem's, or 1; largest: of
 * what is multiplied. */
mp_sum_bound mp_accumulation_bound(const mp_case *c, const mp_gemm_contract *contract,
                                   const mp_gemm_problem *problem, double given, double largest);
/* Whether float32's range does not concern the sums. */
bool mp_sums_are_wide(const mp_contract *contract, mp_stage stage);

#endif
