/* SPDX-License-Identifier: Apache-2.0 */
/* What the bound of a sum has to allow a unit that takes subnormal operands for zeros. */
#ifndef MP_JUDGE_FLUSHED_H
#define MP_JUDGE_FLUSHED_H

#include "ref/bounds.h"
#include "ref/gemm.h"

/* The operands as they are multiplied: of scaled sums the codes alone, whose error goes to bound->per_scale.
 * a_seen: the activations are the problem's; else any of them may be subnormal. in_w: the most in a row of
 * the weights, looked for and left there where it is negative; largest: as mp_gemm_bound's. True where
 * something is lost. */
bool mp_add_flushed(const mp_gemm_contract *contract, const mp_gemm_problem *problem, mp_dtype format,
                    bool scaled, bool a_seen, int64_t *in_w, double largest, mp_sum_bound *bound);

#endif
