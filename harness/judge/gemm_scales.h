/* SPDX-License-Identifier: Apache-2.0 */
/* The scales of sums of codes, from where a GEMM has them: ref/scaled_sum.h says what they are for. */
#ifndef MP_HARNESS_GEMM_SCALES_H
#define MP_HARNESS_GEMM_SCALES_H

#include "moeparity/contract.h"
#include "ref/gemm.h"
#include "ref/scaled_sum.h"

/* Of a row of a and n rows of w. block: terms of k that share scales; 0: there are none. */
void mp_gemm_scales_of(const mp_gemm_problem *p, int64_t block, int64_t a_row, int64_t w_row, int64_t n,
                       mp_gemm_scales *of);

/* largest: an upper bound of the magnitudes of what is multiplied. Without blocks, and for units that scale
 * inside, nothing. */
mp_scaling_steps mp_scaling_steps_of(const mp_gemm_contract *contract, int64_t block, double largest);

#endif
