/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/judge/gemm_scales.h"

#include "ref/bounds.h"

#include <math.h>

static void add_block(mp_gemm_scales *s, double a, double w) {
    const double product = a * w;
    s->sum += product, s->sum_a += a, s->sum_w += w;
    s->most = fmax(s->most, product), s->most_a = fmax(s->most_a, a), s->most_w = fmax(s->most_w, w);
    s->least = fmin(s->least, product), s->least_a = fmin(s->least_a, a), s->least_w = fmin(s->least_w, w);
    s->infinite |= !isfinite(a) || !isfinite(w);
}

void mp_gemm_scales_of(const mp_gemm_problem *p, int64_t block, int64_t a_row, int64_t w_row, int64_t n,
                       mp_gemm_scales *of) {
    const double none = INFINITY;
    const mp_gemm_scales empty = {.least = none, .least_a = none, .least_w = none};
    const int64_t a = mp_operand_scale_row(&p->a, a_row);
    int64_t before = -1;
    mp_gemm_scales blocks = empty;
    for (int64_t i = 0; i < n; i++) {
        const int64_t w = mp_operand_scale_row(&p->w, w_row + i);
        if (w != before) blocks = empty;
        for (int64_t k = 0; block > 0 && w != before && k < p->w.codes->dim[2]; k += block)
            add_block(&blocks, fabs(mp_operand_scale(&p->a, a, k)), fabs(mp_operand_scale(&p->w, w, k)));
        before = w;
        of[i] = blocks;
        of[i].sum *= fabs(mp_operand_global(&p->a, a_row) * mp_operand_global(&p->w, w_row + i));
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

/* Where a sum times the one scale is below the normal numbers, 2^-150 of it is lost, half of their distance,
 * and the other scale multiplies that. Where the product of the scales is, mp_scaled_gemm_bound has it. */
double mp_lost_in_scaling(const mp_scaling_steps *steps, const mp_gemm_scales *s) {
    const double lost = steps->parts * 0x1p-150 * (1 + 0x1p-20); /* roundings of what follows */
    return lost * fmax(steps->a_first ? s->sum_w : 0, steps->w_first ? s->sum_a : 0);
}

/* A block's sum of codes is at most `dot`; and times both scales at most the mass. Where all terms have one
 * sign and the sum is beyond float32 too, Inf is what is expected: but a product of scales that is Inf may
 * meet a sum of zero, and an Inf a scale of zero. */
bool mp_may_overflow_in_scaling(const mp_scaling_steps *steps, const mp_gemm_scales *s, double acc,
                                double mass) {
    const double most = MP_FLOAT32_OVERFLOW * (1 - 0x1p-10); /* roundings on the way */
    if (steps->product && s->most >= most) return true;
    if (fabs(acc) == mass && mass * (1 - 0x1p-10) >= MP_FLOAT32_OVERFLOW && s->least > 0) return false;
    return (steps->dot >= most && mass >= most * s->least) ||
           (steps->a_first && steps->dot * s->most_a >= most && mass >= most * s->least_w) ||
           (steps->w_first && steps->dot * s->most_w >= most && mass >= most * s->least_a);
}
