#include "ref/contract.h"

#include "ref/predict/tensorcore.h"

#include <math.h>
#include <stdio.h>

void mp_contract_text(const mp_contract *contract, char *text, size_t size) {
    static const char *const rounding[] = {"one rounding", "gate rounded"};
    static const char *const combine[] = {"scale then round", "round then scale", "element dtype"};
    char accumulator[64] = "";
    switch (contract->accumulator) {
    case MP_ACC_IEEE_ANY_ORDER: snprintf(accumulator, sizeof accumulator, "IEEE fp32 any order"); break;
    case MP_ACC_TENSOR_CORE:
        snprintf(accumulator, sizeof accumulator, "tensor core L=%d F=%d", contract->group,
                 contract->fraction_bits);
        break;
    case MP_ACC_FLOAT64: snprintf(accumulator, sizeof accumulator, "float64"); break;
    }
    snprintf(text, size, "accumulator: %s; activation: %g ulp, %s; combine: %s; align: %s; %s; %s",
             accumulator, contract->act_ulps, rounding[contract->act_rounding], combine[contract->combine],
             contract->stable_align ? "stable" : "any order",
             contract->deterministic ? "deterministic" : "order of additions not fixed",
             contract->batch_invariant ? "batch invariant" : "may depend on the batch");
}

double mp_contract_step_roundoff(const mp_contract *contract) {
    return contract->float64_steps ? 0x1p-53 : 0x1p-24;
}

/* gamma_n = n*u / (1 - n*u): n roundings in any order change a sum of magnitudes `mass` by at most gamma_n *
 * mass. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1 and 4.2. */
double mp_gamma(double n, double u) {
    return n * u < 1 ? n * u / (1 - n * u) : INFINITY;
}

/* IEEE any order. The K products are exact (16-bit operands) or fused into the addition, or each is rounded
 * once on its own; a sum of K terms has K-1 additions. At most K roundings touch any term: gamma_K. Products
 * and sums that underflow lose at most half the smallest subnormal each: K * 2^-150.
 *
 * Tensor core (specification: truncated fused dot-add over groups of L terms and the accumulator c). In one
 * step
 *   - every one of the L+1 terms is cut to a multiple of 2^(e_max-F): it loses less than 2^(e_max-F).
 *     Products of normal numbers are at least 2^(their exponent), so 2^e_max <= max |term| <= S, S = |c| +
 *     sum |products| of the step: loss < (L+1) 2^-F S;
 *   - the sum is truncated to 24 bits: loss < 2^-23 S (or 2^-149 in the subnormal range).
 * With delta = (L+1) 2^-F + 2^-23, S never exceeds mass (1+delta)^G after G = ceil(K/L) steps, so the total
 * is at most G delta (1+delta)^G mass. A subnormal operand has the exponent emin of its format but a
 * significand below 1, so its product may be smaller than 2^(emin+e): such terms set e_max <= emin +
 * e_largest + 1 and cost at most (L+1) 2^(emin-F) * 2*largest a step. Zero terms count as 2^-133, and an
 * accumulator c that is subnormal in float32 as 2^-126, however small it is: (L+1) 2^-F * 2^-125 a step,
 * twice that, covers both.
 *
 * The float64 value that a subject is compared with is itself a sum of K rounded terms: gamma_K(2^-53) is
 * added in every case. */
mp_sum_bound mp_contract_gemm_bound(const mp_contract *contract, mp_dtype operands, int64_t terms,
                                    double largest) {
    const double k = (double)terms;
    const double reference = mp_gamma(k, 0x1p-53);
    mp_sum_bound bound = {0, 0};
    switch (contract->accumulator) {
    case MP_ACC_IEEE_ANY_ORDER: bound = (mp_sum_bound){mp_gamma(k, 0x1p-24), k * 0x1p-150}; break;
    case MP_ACC_TENSOR_CORE: {
        const double per_step = contract->group + 1.0, steps = ceil(k / contract->group);
        const double unit = ldexp(1.0, -contract->fraction_bits);
        const double delta = per_step * unit + 0x1p-23;
        const double subnormal = ldexp(2 * largest, mp_dtype_format(operands)->emin);
        bound.rel = steps * delta * pow(1 + delta, steps);
        bound.abs = steps * (per_step * unit * (subnormal + 0x1p-125) + 0x1p-149);
        break;
    }
    case MP_ACC_FLOAT64: bound = (mp_sum_bound){reference, 0}; break;
    }
    bound.rel += reference;
    return bound;
}

void mp_contract_set_accumulator(mp_contract *contract, int sm, mp_dtype dtype) {
    contract->accumulator = MP_ACC_IEEE_ANY_ORDER;
    contract->bits = MP_BITS_REQUIRED;
    if (dtype != MP_BF16 && dtype != MP_FP16) return;
    const mp_tc_input operands = dtype == MP_BF16 ? MP_TC_BF16 : MP_TC_FP16;
    mp_tc_model model = {.group = 4, .fraction_bits = 23}; /* sm_70, the coarsest */
    const bool known = mp_tc_find(sm, MP_TC_MMA, operands, operands, &model);
    contract->accumulator = MP_ACC_TENSOR_CORE;
    contract->group = model.group;
    contract->fraction_bits = model.fraction_bits;
    contract->bits = !known ? MP_BITS_NONE : model.measured ? MP_BITS_REQUIRED : MP_BITS_REPORTED;
}
