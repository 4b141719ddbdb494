/* SPDX-License-Identifier: Apache-2.0 */
/* Private to harness/judge/: what the operands of a GEMM hold, looked at for its bound. How large their
 * numbers are, and whether their sums are exact. */
#ifndef MP_HARNESS_GEMM_OPERANDS_H
#define MP_HARNESS_GEMM_OPERANDS_H

#include "moeparity/case.h"
#include "ref/gemm.h"

/* The largest finite magnitude in a tensor of any format; of weights in the experts that are read
 * (mp_experts_read), where these are not NULL; of weights that are not there yet the largest that can be. 0
 * where nothing is finite. */
double mp_largest_magnitude(const mp_tensor *tensor, const bool *experts);

/* At least the magnitude of every finite number that an operand stands for: the largest code, or zero point,
 * there is times the largest scales there are, wherever these lie. */
double mp_largest_number(const mp_operand *operand, const bool *experts);

/* The most numbers in a row that are not zero and below the smallest normal number of the format. */
int64_t mp_most_subnormals(const mp_operand *operand, mp_dtype format);

/* Whether all sums of the GEMM are exact in float32 whatever the order, as far as the operands tell: a single
 * term each (onehot), or integers, whose sums are exact where their magnitudes sum to less than 2^24, which
 * is to be asked of each. The family of data says what to look for, and no more: in a sequence the weights
 * may be of another one. Of other families: false. */
bool mp_sums_are_exact(const mp_case *c, const mp_gemm_problem *problem, const bool *experts);

#endif
