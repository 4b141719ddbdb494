/* SPDX-License-Identifier: Apache-2.0 */
/* Bits of a tensor core's sums that are stored as bf16 or fp16, most of them without its steps.
 *
 * A float32 sum s of the exact products lies within a radius R of what the steps leave in the accumulator.
 * What is done with that, scales, epilogue and rounding, is monotone: where both ends of the bracket s-R ..
 * s+R are stored as the same code, that is the code. The others, some percent, are computed step by step:
 * on AVX-512 as pairs of a row and a column (ref/predict/tensorcore_pairs.h), on AVX2 as sixteen columns of a
 * row (ref/predict/tensorcore_lanes.h).
 *
 * The radius. Let s_j be the float32 sum after step j of J, P a power of two that no product's exponent is
 * above, and X = sum over j = 1 .. J of max(|s_j|, P). A step of L terms and acc
 *   has an exponent e with 2^e <= max(|acc|, P), and cuts L terms by less than 2^(e-F) each: one of the L+1
 *     has that exponent, and no place below 2^(e-24), for products have 20 fraction bits at most and acc has
 *     23. Together less than L * 2^-F * X, for what the first step begins with, P, is at most what the last
 *     one leaves;
 *   cuts its result by less than 2^-23 |acc|: together less than 2^-23 * X.
 * s_j itself is s_j-1 plus a chain of L multiply-adds from zero; for results in fp16, whose codes lie close,
 * plus the sum of two such chains of 8 where L is 16. Products are exact, for they have 16 bits or 22, and so
 * is the first of a chain; every other one rounds by at most 2^-24 of its own result, the i-th by 2^-24 times
 * the first i products' magnitudes, and the sum of two chains by 2^-24 times all of theirs. With c[i] the
 * number of roundings that product i is in and Cauchy-Schwarz, together at most 2^-24 * |a|_c * |w|_c, where
 * |a|_c is sqrt(sum c a^2). The addition to s rounds by 2^-24 * |s_j|, together 2^-24 * X.
 *   R = (1+2^-8) * ((L * 2^-F + 2^-23 + 2^-24) * X + 2^-24 * |a|_c * |w|_c)
 * The ends are rounded to float32, which takes neither past what is left in the accumulator: that is a
 * float32 itself, and rounding is monotone. The factor is for three things. acc is not s_j, but no further
 * than R from it, so that X is too small by J*R at most: a share of J * 2^-19 of R, which is 2^-10 or less
 * for the J that are taken. X, the norms, R and the first products of chains are float32 sums: a share of
 * K * 2^-24 of each. What float32 loses below 2^-126 is nothing beside P, which is 2^-32 or more where it is
 * not 0; where it is 0 all products are.
 *
 * By pairs (mma.sync of e4m3 on sm_90) two steps begin at zero and leave d1 and d2, which is added to acc by
 * an IEEE addition. Then 2^e is at most P in the first step and max(|d1|, P) in the second, the results are
 * cut by 2^-23 |d1| and 2^-23 |d2|, and the addition rounds by 2^-24 |acc|. But for errors that are the
 * factor's, |d1| is at most the sum of the first L products' magnitudes, and |d2| that of all 2L: so each of
 * the first L adds L * 2^-F + 2 * 2^-23 of its magnitude, each of the others 2^-23, which joins
 * 2^-24 * c in the norms, and
 *   R = (1+2^-8) * (2 * 2^-24 * X + J * L * 2^-F * P + 2^-24 * |a|_c * |w|_c). */
#ifndef MP_REF_TENSORCORE_BRACKET_H
#define MP_REF_TENSORCORE_BRACKET_H

#include "ref/predict/gemm_f32.h"
#include "ref/predict/tensorcore_gemm.h"

/* Whether results of the model's sums of K terms are settled by brackets where they are stored as `out`: bf16
 * from bf16, fp16 from fp16, and either from e4m3 in steps of fp16. parts: NULL, k is one, or those that are
 * monotone. */
bool mp_tc_bracket_covers(const mp_tc_model *model, const mp_tc_parts *parts, int64_t K, mp_dtype out);

/* Of scratch for a task; at its beginning 64-byte aligned. */
size_t mp_tc_bracket_bytes(const mp_tc_parts *parts, int64_t K);

/* All results of a task, epilogue and store as mp_gemm_f32 has them. False, and what is stored is to be
 * stored again: some operand is not ordinary (Inf, NaN, a largest exponent beyond +-16), or too many results
 * are left open for this to be quicker than the steps. counts: added to, from several threads at once. */
bool mp_tc_bracket_task(const mp_tc_kernel *kernel, const mp_tc_model *model, const mp_tc_parts *parts,
                        const mp_gemm_f32_call *call, const mp_gemm_task *task, void *scratch,
                        mp_tc_counts *counts);

#endif
