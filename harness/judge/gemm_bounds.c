/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/judge/gemm_bounds.h"

#include "cases/scheme.h"
#include "harness/judge/gemm_operands.h"

#include <math.h>

int64_t mp_scaled_block(const mp_case *c, const mp_gemm_contract *contract, const mp_gemm_problem *p) {
    const int64_t K = p->w.codes->dim[2], group = mp_case_group(c);
    if (!p->w.scale) return 0;
    if (contract->accumulator == MP_ACC_BLOCK_SCALED) return group < K ? group : K;
    return mp_case_scaled_terms(c, K);
}

mp_dtype mp_multiplied_as(const mp_case *c, const mp_gemm_problem *p) {
    return p->w.scale ? mp_case_multiplied(c) : p->w.codes->dtype;
}

double mp_largest_global(const mp_operand *o) {
    return o->global ? mp_largest_magnitude(o->global, NULL) : 1;
}

mp_sum_bound mp_accumulation_bound(const mp_case *c, const mp_gemm_contract *contract,
                                   const mp_gemm_problem *p, double given, double largest) {
    const int64_t block = mp_scaled_block(c, contract, p), K = p->w.codes->dim[2];
    const mp_scheme *s = mp_scheme_of(c);
    if (contract->accumulator == MP_ACC_BLOCK_SCALED) {
        const double global = s->global ? mp_largest_global(&p->a) * given * mp_largest_global(&p->w) : 0;
        const mp_scaled_codes codes = {mp_quantiser_codes(s->quantiser), s->weight, s->weight_scale, block,
                                       global};
        return block > 0 && mp_case_fits_block_scaled(c) ? mp_block_scaled_bound(contract, &codes, K, largest)
                                                         : (mp_sum_bound){.rel = (double)INFINITY};
    }
    return block > 0 ? mp_scaled_gemm_bound(contract, mp_multiplied_as(c, p), K, block, largest)
                     : mp_gemm_bound(contract, mp_multiplied_as(c, p), K, largest);
}

bool mp_sums_are_wide(const mp_contract *contract, mp_stage stage) {
    return contract->float64_steps || mp_stage_gemm_contract(contract, stage)->accumulator == MP_ACC_FLOAT64;
}
