/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/judge/flushed.h"

#include "harness/judge/gemm_operands.h"

bool mp_add_flushed(const mp_gemm_contract *contract, const mp_gemm_problem *p, mp_dtype format, bool scaled,
                    bool a_seen, int64_t *in_w, double largest, mp_sum_bound *bound) {
    if (contract->accumulator != MP_ACC_PAIRWISE_FLUSHED) return false;
    const mp_operand a = scaled ? (mp_operand){.codes = p->a.codes} : p->a,
                     w = scaled ? (mp_operand){.codes = p->w.codes} : p->w;
    const int64_t in_a = a_seen ? mp_most_subnormals(&a, format) : p->w.codes->dim[2];
    if (*in_w < 0) *in_w = mp_most_subnormals(&w, format);
    const double lost = mp_flushed_operands(contract, format, (double)in_a, (double)*in_w, largest);
    *(scaled ? &bound->per_scale : &bound->abs) += lost * (1 + bound->rel);
    return lost > 0;
}
