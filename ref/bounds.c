/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/bounds.h"

#include "ref/combined.h"

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

mp_places mp_places_of(mp_dtype dtype) {
    const mp_format *f = mp_dtype_format(dtype);
    return (mp_places){ldexp(1.0, f->emin), mp_unit_roundoff(dtype), f->max_finite};
}

/* gamma_n = n*u / (1 - n*u): n roundings in any order change a sum of magnitudes `mass` by at most gamma_n *
 * mass. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1 and 4.2. */
double mp_gamma(double n, double u) {
    return mp_gamma_of(n, u);
}

/* AMD's CDNA1 and CDNA2: of a step of L terms a binary tree of neighbours, ceil(log2 L) additions deep, then
 * an addition to the accumulator, G = ceil(K/L) in all. Before the first the accumulator is zero, and the
 * addition exact: its place is that of the rounding of a product, where that is not exact. So no more than
 * ceil(log2 L) + G roundings touch a term. A product that underflows loses half the smallest subnormal.
 * Flushed, every product and every sum, 2K in all, may lose as much as 2^-126; what operands lose is
 * mp_flushed_operands. */
static mp_sum_bound pairwise(const mp_gemm_contract *g, double k) {
    const double steps = ceil(k / g->group), rel = mp_gamma(ceil(log2(g->group)) + steps, 0x1p-24);
    const double flushed = g->accumulator == MP_ACC_PAIRWISE_FLUSHED ? 2 * 0x1p-126 : 0;
    return (mp_sum_bound){.rel = rel, .abs = k * (0x1p-150 + flushed) * (1 + rel)};
}

double mp_flushed_operands(const mp_gemm_contract *g, mp_dtype operands, double a, double w, double largest) {
    if (g->accumulator != MP_ACC_PAIRWISE_FLUSHED) return 0;
    return ldexp((a + w) * largest, mp_dtype_format(operands)->emin);
}

/* AMD's CDNA3. In one step of L products and the accumulator c, with 2^e' <= S = |c| + sum |products|:
 *   - every product is cut to a multiple of 2^(e-F), e <= e', and c rounded down to one of 2^(e'-F): it loses
 *     less than that; by halves each of both sums is rounded down so once more, and a c that is dropped is
 *     smaller than it. L + 1, or L + 3, times 2^-F S;
 *   - the sum of products is rounded down to a multiple of 2^(e'-F-7);
 *   - the result is rounded to nearest: half an ulp of no more than S and what was lost.
 * From here on as of a tensor core: delta for each of the G = ceil(K/L) steps, products of subnormal
 * operands, and zeros and subnormal accumulators, which count as 2^zero_exponent and 2^-126. By halves codes
 * stand for half of OCP's numbers: what is absolute is four times as large among the products of these. */
static mp_sum_bound matrix_core(const mp_gemm_contract *g, mp_dtype operands, double k, double largest) {
    const bool halves = g->accumulator == MP_ACC_MATRIX_CORE_HALVES;
    const double cuts = g->group + (halves ? 3.0 : 1.0), steps = ceil(k / g->group),
                 unit = ldexp(1.0, -g->fraction_bits), cut = cuts * unit + unit / 128,
                 delta = cut + 0x1p-24 * (1 + cut), growth = pow(1 + delta, steps);
    const double smallest = ldexp(1.0, mp_dtype_format(operands)->emin),
                 subnormal = 2 * smallest * fmax(largest, smallest),
                 floor = 2 * fmax(ldexp(1.0, g->zero_exponent), 0x1p-126);
    return (mp_sum_bound){.rel = steps * delta * growth,
                          .abs = steps * growth *
                                 (cut * subnormal + (halves ? 4 : 1) * (cut * floor + 0x1p-149))};
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
    case MP_ACC_PAIRWISE:
    case MP_ACC_PAIRWISE_FLUSHED: bound = pairwise(g, k); break;
    case MP_ACC_MATRIX_CORE:
    case MP_ACC_MATRIX_CORE_HALVES: bound = matrix_core(g, operands, k, largest); break;
    case MP_ACC_BLOCK_SCALED: /* of codes with scales alone */
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

/* A block-scaled unit rounds no scale, and no product. In one step of L terms and the accumulator c, with S =
 * |c| + sum |terms|, terms with their scales, 2^e_max is at most
 *   term by term (L = 32): S, and twice that for each operand of e2m1, whose one subnormal is half of what
 *     its exponent says; or, of products of a subnormal of another format, 2^emin times the largest code
 *     times the scales, as of a tensor core. L + 1 cuts;
 *   sums of 16 (L = 64), exact before they are scaled: S, or 2^(the sum of exponents of a pair of scales),
 *     which counts whatever the sum is: no more than the product of these, 8 times as much for each scale of
 *     e4m3, which may be subnormal, and of the sum of all pairs of scales in the step. 4 + 1 cuts.
 * The result is cut to 23 bits. So a step costs delta S, delta = cuts 2^-F + 2^-23, and cuts 2^-F times what
 * scales say: this for all steps that a block of scales lies in. Then as of a tensor core: growth by (1 +
 * delta)^G in G steps, zeros that count as 2^zero_exponent, subnormal accumulators. Parts of k are added in
 * float32. Global scales that the sum meets round twice, a*w and the product, or one after the other; both
 * may underflow, a*w times a sum of at most K products of the largest code and scales of at most 448. */
mp_sum_bound mp_block_scaled_bound(const mp_gemm_contract *g, const mp_scaled_codes *codes, int64_t terms,
                                   double largest) {
    const mp_dtype formats[] = {codes->a, codes->w};
    const bool sums_first = g->group == 64, fp4 = codes->a == MP_E2M1 && codes->w == MP_E2M1;
    const double k = (double)terms;
    if (!(sums_first && fp4) && !(g->group == 32 && codes->scale == MP_UE8M0)) /* there is no such unit */
        return (mp_sum_bound){.rel = (double)INFINITY};
    double part = ceil(k / g->split_k), halved = 1, subnormal = 0;
    if (g->promotion > 0 && g->promotion < part) part = g->promotion;
    for (int i = 0; i < 2 && !sums_first; i++) {
        const double smallest = ldexp(1.0, mp_dtype_format(formats[i])->emin);
        if (formats[i] == MP_E2M1)
            halved *= 2;
        else
            subnormal = fmax(subnormal, 2 * smallest * fmax(largest, smallest));
    }
    const double parts = ceil(k / part), steps = ceil(part / g->group), additions = mp_gamma(parts, 0x1p-24),
                 steps_of_block = ceil((double)codes->block / g->group) + (parts > 1 ? 1 : 0),
                 cut = (sums_first ? 5 : g->group + 1) * ldexp(1.0, -g->fraction_bits),
                 delta = cut * halved + 0x1p-23, growth = pow(1 + delta, steps),
                 of_scales = sums_first ? (codes->scale == MP_E4M3 ? 64 : 1) : halved * subnormal,
                 floor = 2 * fmax(ldexp(1.0, g->zero_exponent), 0x1p-126),
                 global = codes->global > 0 ? mp_gamma(2, 0x1p-24) : 0,
                 after = (1 + additions) * (1 + global);
    mp_sum_bound bound = {.rel = steps * delta * growth,
                          .abs = parts * (steps * growth * (cut * floor + 0x1p-149) + 0x1p-150) * after,
                          .per_scale = steps_of_block * cut * of_scales * growth * after};
    bound.rel += (after - 1) * (1 + bound.rel) + mp_gamma(k + 2, 0x1p-53);
    if (codes->global > 0)
        bound.abs = bound.abs * codes->global + 0x1p-149 * (1 + k * largest * largest * 0x1p18);
    return bound;
}
