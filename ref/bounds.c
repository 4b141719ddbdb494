/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/bounds.h"

#include <assert.h>
#include <math.h>

enum { MOST_PARTS = 64 }; /* of k, with an accumulator each, where nobody says how many */

double mp_step_roundoff(const mp_contract *contract) {
    return contract->float64_steps ? 0x1p-53 : 0x1p-24;
}

const mp_gemm_contract *mp_stage_gemm_contract(const mp_contract *contract, mp_stage stage) {
    switch (stage) {
    case MP_GATE_UP: return &contract->gate_up;
    case MP_SHRINK_GATE_UP:
    case MP_SHRINK_DOWN: return &contract->shrink;
    case MP_EXPAND_GATE_UP:
    case MP_EXPAND_DOWN: return &contract->expand;
    default: break;
    }
    assert(stage == MP_DOWN);
    return &contract->down;
}

/* gamma_n = n*u / (1 - n*u): n roundings in any order change a sum of magnitudes `mass` by at most gamma_n *
 * mass. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1 and 4.2. */
double mp_gamma(double n, double u) {
    return n * u < 1 ? n * u / (1 - n * u) : (double)INFINITY;
}

/* IEEE, any order or fma over ascending k. The K products are exact (16-bit operands) or fused into the
 * addition, or each is rounded once on its own; a sum of K terms has K-1 additions. At most K roundings touch
 * any term: gamma_K. Products and sums that underflow lose at most half the smallest subnormal each: K *
 * 2^-150.
 *
 * Tensor core (specification: truncated fused dot-add over groups of L terms and the accumulator c). In one
 * step
 *   - every one of the L+1 terms is cut to a multiple of 2^(e_max-F): it loses less than 2^(e_max-F).
 *     Products of normal numbers are at least 2^(their exponent), so 2^e_max <= max |term| <= S, S = |c| +
 *     sum |products| of the step: loss < (L+1) 2^-F S;
 *   - the sum is truncated to R fraction bits (23, or fewer): loss < 2^-R S (or 2^-149 in the subnormal
 *     range).
 * With delta = (L+1) 2^-F + 2^-R, S never exceeds mass (1+delta)^G after G = ceil(K/L) steps, so the total is
 * at most G delta (1+delta)^G mass. A subnormal operand has the exponent emin of its format but a significand
 * below 1, so its product may be smaller than 2^(emin+e): such terms set e_max <= emin + e_largest + 1 and
 * cost at most (L+1) 2^(emin-F) * 2*largest a step. By pairs a step is two from zero, and an IEEE addition.
 * Permuted, k is filled up to a multiple of 32, all of whose steps may have terms; one that has none loses
 * nothing of a normal c of R <= F bits, so that no more than K count. Zero terms count as 2^-133, and an
 * accumulator c that is subnormal in float32 as 2^-126, however small it is: (L+1) 2^-F * 2^-125 a step,
 * twice that, covers both, and what steps without terms then cut off c: less than 2^(-126-F), once.
 *
 * Any: the larger of IEEE's and that of the coarsest tensor core known. In units of 2^-24 a term, a step of L
 * costs (L+1) 2^(24-F) + 2^(24-R) over L: 3 on sm_70 (L 4, F 23), 1.4 on sm_80 (8, 24), 0.7 on sm_90 (16,
 * 25); for fp8 sm_90 is the coarsest (32, 13, 13). All of it in up to 64 parts of k, added in float32:
 * a part has no more steps than all of k, filled up to 32s, and loses at most so much of its own mass; what
 * is lost absolutely is lost in each step of every part. */
static mp_sum_bound one_accumulator(const mp_gemm_contract *g, mp_dtype operands, double k, double largest) {
    mp_sum_bound bound = {0};
    switch (g->accumulator) {
    case MP_ACC_IEEE_ANY_ORDER:
    case MP_ACC_FMA_ASCENDING:
        bound = (mp_sum_bound){.rel = mp_gamma(k, 0x1p-24), .abs = k * 0x1p-150};
        break;
    case MP_ACC_TENSOR_CORE: {
        if (mp_dtype_is_integer(operands)) { /* exact; one conversion to float32 */
            bound.rel = 0x1p-24;
            break;
        }
        const bool permuted = g->k_order == MP_K_PERMUTED;
        const double per_step = g->group + 1.0, whole = ceil((permuted ? ceil(k / 32) * 32 : k) / g->group);
        const double steps = g->result_fraction_bits <= g->fraction_bits ? fmin(whole, k) : whole;
        const double unit = ldexp(1.0, -g->fraction_bits);
        const bool pairs = g->k_order == MP_K_BY_PAIRS;
        const double cut = per_step * unit + ldexp(1.0, -g->result_fraction_bits),
                     delta = pairs ? 2 * cut + 0x1p-24 : cut;
        const double subnormal = ldexp(2 * largest, mp_dtype_format(operands)->emin);
        bound.rel = steps * delta * pow(1 + delta, steps);
        bound.abs = steps * (per_step * unit * (subnormal + 0x1p-125) + 0x1p-149);
        break;
    }
    case MP_ACC_ANY: {
        const bool fp8 = operands == MP_E4M3 || operands == MP_E5M2;
        const double parts = fmin(k, MOST_PARTS), additions = mp_gamma(parts, 0x1p-24);
        const mp_gemm_contract ieee = {.accumulator = MP_ACC_IEEE_ANY_ORDER},
                               coarsest = {.accumulator = MP_ACC_TENSOR_CORE,
                                           .group = fp8 ? 32 : 4,
                                           .fraction_bits = fp8 ? 13 : 23,
                                           .result_fraction_bits = fp8 ? 13 : 23};
        const double padded = k + coarsest.group * (parts - 1); /* the last step of a part may be short */
        const mp_sum_bound core = one_accumulator(&coarsest, operands, ceil(k / 32) * 32, largest),
                           parts_of_core = one_accumulator(&coarsest, operands, padded, largest);
        bound = one_accumulator(&ieee, operands, k, largest);
        bound = (mp_sum_bound){.rel = fmax(bound.rel, core.rel), .abs = fmax(bound.abs, parts_of_core.abs)};
        bound.rel += additions * (1 + bound.rel);
        bound.abs = bound.abs * (1 + additions) + parts * 0x1p-150;
        break;
    }
    case MP_ACC_FLOAT64: bound.rel = mp_gamma(k, 0x1p-53); break;
    case MP_ACC_COUNT: bound.rel = (double)INFINITY; break;
    }
    return bound;
}

/* Promotion every P terms and split_k cut k into parts with accumulators of their own, each within its bound
 * of its own mass; the parts' results, at most (1 + rel) of their masses, are then added in float32:
 * gamma_parts.
 *
 * The float64 value that a subject is compared with is itself a sum of K rounded terms: gamma_K(2^-53) is
 * added in every case. */
mp_sum_bound mp_gemm_bound(const mp_gemm_contract *g, mp_dtype operands, int64_t terms, double largest) {
    const double k = (double)terms;
    double part = ceil(k / g->split_k);
    if (g->promotion > 0 && g->promotion < part) part = g->promotion;
    const double parts = ceil(k / part);
    mp_sum_bound bound = one_accumulator(g, operands, part, largest);
    if (parts > 1) {
        const double additions = mp_gamma(parts, 0x1p-24);
        bound.rel += additions * (1 + bound.rel);
        bound.abs = parts * (bound.abs * (1 + additions) + 0x1p-150);
    }
    bound.rel += mp_gamma(k, 0x1p-53);
    return bound;
}

/* Codes of a block are summed in parts of at most `block` terms; the sum of one is within rel*mass + abs of
 * its codes. Scaled, and added to the others', it meets two roundings of the scaling at most (a*w and the
 * product, or the sum times the one and then the other) and one for each addition: gamma of parts + 2 in all.
 * Where a*w or a scaled sum underflows, 2^-150 is lost: of a*w times the part's sum, which is at most its
 * terms times largest^2. */
mp_sum_bound mp_scaled_gemm_bound(const mp_gemm_contract *g, mp_dtype codes, int64_t terms, int64_t block,
                                  double largest) {
    const double k = (double)terms, whole = (double)block;
    const double part = g->promotion > 0 ? fmin(whole, (double)g->promotion) : whole,
                 in_block = ceil(whole / part), parts = in_block * ceil(k / whole);
    const mp_sum_bound one = one_accumulator(g, codes, part, largest);
    const double steps = mp_gamma(parts + 2, 0x1p-24);
    return (mp_sum_bound){.rel = one.rel + steps * (1 + one.rel) + mp_gamma(k + 2, 0x1p-53),
                          .abs = parts * 0x1p-150 * (part * largest * largest + 2) * (1 + steps),
                          .per_scale = in_block * one.abs * (1 + steps)};
}
