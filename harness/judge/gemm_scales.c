/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/judge/gemm_scales.h"

#include <math.h>

void mp_gemm_scales_of(const mp_gemm_problem *p, int64_t block, int64_t a_row, int64_t w_row, int64_t n,
                       mp_gemm_scales *of) {
    const int64_t a = mp_operand_scale_row(&p->a, a_row);
    int64_t before = -1;
    mp_gemm_scales blocks = mp_no_scales();
    for (int64_t i = 0; i < n; i++) {
        const int64_t w = mp_operand_scale_row(&p->w, w_row + i);
        if (w != before) blocks = mp_no_scales();
        for (int64_t k = 0; block > 0 && w != before && k < p->w.codes->dim[2]; k += block)
            mp_add_scales(&blocks, mp_operand_scale(&p->a, a, k), mp_operand_scale(&p->w, w, k));
        before = w;
        of[i] = blocks;
        mp_scales_meet(&of[i], mp_operand_global(&p->a, a_row), mp_operand_global(&p->w, w_row + i));
    }
}

mp_scaling_steps mp_scaling_steps_of(const mp_gemm_contract *contract, int64_t block, double largest) {
    mp_scaling_steps steps = {.dot = (double)block * largest * largest,
                              .parts =
                                  contract->promotion > 0 ? ceil((double)block / contract->promotion) : 1};
    if (block == 0 || contract->accumulator == MP_ACC_BLOCK_SCALED) return (mp_scaling_steps){0};
    switch (contract->scaling) {
    case MP_SCALING_PRODUCT:
    case MP_SCALING_PRODUCT_FMA: steps.product = true; break;
    case MP_SCALING_A_THEN_W:
    case MP_SCALING_A_THEN_W_FMA: steps.a_first = true; break;
    case MP_SCALING_W_THEN_A:
    case MP_SCALING_W_THEN_A_FMA: steps.w_first = true; break;
    default: steps.product = steps.a_first = steps.w_first = true;
    }
    return steps;
}
