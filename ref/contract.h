/* A numerics contract: what a subject promises about its arithmetic. Data, not code paths: the reference and
 * the bounds read it. */
#ifndef MP_REF_CONTRACT_H
#define MP_REF_CONTRACT_H

#include "cases/case.h"

/* How a GEMM accumulates in float32.
 *   IEEE_ANY_ORDER  IEEE float32 additions in any order, products exact, fused or rounded
 *   TENSOR_CORE     truncated fused dot-add over groups of `group` terms, aligned to 2^(e_max -
 *                   fraction_bits), truncated to float32
 *   FLOAT64         float64 accumulation (the reference itself) */
typedef enum mp_accumulator { MP_ACC_IEEE_ANY_ORDER, MP_ACC_TENSOR_CORE, MP_ACC_FLOAT64 } mp_accumulator;

/* ONE_ROUNDING: act(gate)*up is rounded once to dtype; GATE_ROUNDED: act(gate) is rounded to dtype before the
 * multiply. */
typedef enum mp_act_rounding { MP_ACT_ONE_ROUNDING, MP_ACT_GATE_ROUNDED } mp_act_rounding;

/* SCALE_THEN_ROUND: rnd(rsf * sum); ROUND_THEN_SCALE: rnd(rsf * rnd(sum)); ELEMENT_DTYPE: every addition
 * rounds to dtype. */
typedef enum mp_combine_variant {
    MP_COMBINE_SCALE_THEN_ROUND,
    MP_COMBINE_ROUND_THEN_SCALE,
    MP_COMBINE_ELEMENT_DTYPE
} mp_combine_variant;

/* Whether the subject's bits are those of ref/predict/host_stages.h under this contract: NONE: nothing is
 * said; REPORTED: they are compared, differences are counted; REQUIRED: a difference is a failure. */
typedef enum mp_bits_promise { MP_BITS_NONE, MP_BITS_REPORTED, MP_BITS_REQUIRED } mp_bits_promise;

typedef struct mp_contract {
    mp_accumulator accumulator;
    int group, fraction_bits; /* TENSOR_CORE: L and F */
    double act_ulps; /* error of the float32 exp/tanh/erf used, in float32 ulps of the function's result */
    mp_act_rounding act_rounding;
    mp_combine_variant combine;
    bool float64_steps;   /* intermediate steps (activation, epilogue, sum) in float64 instead of float32: the
                             reference */
    bool stable_align;    /* slots of an expert in ascending order; otherwise align is judged as multisets */
    bool deterministic;   /* the same input gives the same bits every time */
    bool batch_invariant; /* a token's bits do not depend on the other tokens in the batch */
    mp_bits_promise bits;
} mp_contract;

/* The arithmetic in words, for `show`, reports and goldens: equal texts promise equal bits. What is done
 * about the prediction (bits) is not part of it. */
void mp_contract_text(const mp_contract *contract, char *text, size_t size);

/* Error of an accumulation of `terms` products whose magnitudes sum to mass: |computed - exact| <= rel*mass +
 * abs. The derivations stand in contract.c. */
typedef struct mp_sum_bound {
    double rel, abs;
} mp_sum_bound;
/* operands: their format; largest: an upper bound of every operand's magnitude. */
mp_sum_bound mp_contract_gemm_bound(const mp_contract *contract, mp_dtype operands, int64_t terms,
                                    double largest);
/* Unit roundoff of the steps between roundings to dtype: 2^-24, or 2^-53 with float64_steps. */
double mp_contract_step_roundoff(const mp_contract *contract);
double mp_gamma(double n, double u); /* n*u/(1-n*u), or Inf when n*u >= 1 */

/* Sets the accumulator for operands of `dtype` on architecture sm (90, ...), and what can be promised of its
 * bits: those of ref/predict/tensorcore.h's table where the architecture was measured (REQUIRED) or is known
 * from the literature (REPORTED). An architecture that the table does not know gets the coarsest parameters
 * in it, a bound for every known tensor core, and NONE. fp32 and fp64 are IEEE everywhere. */
void mp_contract_set_accumulator(mp_contract *contract, int sm, mp_dtype dtype);

#endif
