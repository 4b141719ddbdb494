/* SPDX-License-Identifier: Apache-2.0 */
/* Stage 3, the activation, in float64: cache2[r,n] from gate and up of row r of cache1.
 *
 *   silu              silu(g)*u, silu(v) = v/(1+exp(-v))           not gated: silu(v)
 *   gelu              gelu(g)*u, gelu(v) = v/2*(1+erf(v/sqrt 2))   not gated: gelu(v)
 *   gelu_tanh         g/2*(1+tanh(sqrt(2/pi)*(g+0.044715 g^3)))*u
 *   relu2             not gated: max(v,0)^2
 *   swiglu_oai        g=min(g,L), u=clamp(u,-L,L): g*sigmoid(alpha*g)*(u+1)
 *   silu_clamp        s=min(silu(g),L), u=clamp(u,-L,L): s*u
 *   clamp_silu        g=min(g,L), u=clamp(u,-L,L): silu(g)*u
 * gate g and up u of element n are columns n and N+n of cache1 (halves) or 2n and 2n+1 (interleaved). alpha
 * and L are fp32 values. NaN stays NaN in every clamp, unless the contract says otherwise (mp_clamped_nan).
 * Source: the public fused-MoE kernels and the GPT-OSS
 * model definition. */
#ifndef MP_REF_ACTIVATION_H
#define MP_REF_ACTIVATION_H

#include "cases/graph_tables.h"
#include "moeparity/case.h"
#include "moeparity/contract.h"
#include "moeparity/tensor.h"
#include "ref/activated_ball.h"

#include <math.h>

/* One element. gate_dtype: if not NULL, act(gate) is rounded to it before the multiply (contract
 * MP_ACT_GATE_ROUNDED). up is not read when not gated. */
double mp_activate(const mp_case *c, double gate, double up, const mp_dtype *gate_dtype);

/* Whether the activation clamps gate and up. */
static inline bool mp_act_clamps(mp_activation act) {
    return act == MP_SWIGLU_OAI || act == MP_SILU_CLAMP || act == MP_CLAMP_SILU;
}

/* What becomes of a NaN in gate and up of the case's activation. */
mp_nan_clamping mp_nan_clamping_of(const mp_case *c, const mp_contract *contract);

/* Bound of |subject - mp_activate(...)| before the store's rounding; derived in activated.h. It covers the
 * float64 value's own error too: act(gate) is within 4 * 2^-53 of the exact value, relatively. */
double mp_activation_bound(const mp_case *c, const mp_contract *contract, double gate, double up);
/* What both are made of: the case's activation, and a contract's of it. */
mp_act_form mp_act_form_of(const mp_case *c);
mp_act_rule mp_act_rule_of(const mp_case *c, const mp_contract *contract);
/* mp_activate, and that bound beside it: act(gate) is computed once. */
double mp_activate_within(const mp_act_rule *rule, double gate, double up, const mp_dtype *gate_dtype,
                          double *bound);

/* Whether act(gate) may come out as zero within its bound: times an infinite up it is then NaN instead of
 * Inf, and both are right. */
bool mp_activation_may_vanish(const mp_case *c, const mp_contract *contract, double gate);

/* What the case's activation is at a gate. */
mp_act_point mp_activation_at(const mp_act_rule *rule, double gate);

/* The activation of inputs that are known up to an error, for judging spans of stages: what a subject makes
 * of its own gate and up, before the store's rounding, against float64 values of both.
 *
 * The subject's gate is gate + s + r with |s| <= gate_sure, deterministic errors, and |r| <= gate_random, the
 * radius of roundings that are independent and have mean zero; up likewise. Then its result is within
 * sure + R of `value`, with R the random part: first-order in r, which has the radius `random` when the
 * random parts of gate and up are independent (as roundings of different columns are), and is at most
 * |act'(gate) f(up)| gate_random + |act(gate) f'(up)| up_random in any case. Everything else is in `sure`:
 * the first-order parts of s, second-order terms and the product of both deviations, clamps within reach, and
 * the subject's own evaluation error, the worst in the intervals.
 *
 * value is act(gate)*f(up) in float64; MP_ACT_GATE_ROUNDED rounds nothing in it, one rounding of the gate is
 * in `sure`. Where an input, a radius or the result is not finite, value is what the formula gives (NaN, Inf,
 * or a number), sure is INFINITY and random 0: callers compare the class (NaN, Inf, finite) instead. Not
 * gated: up and its radii are not read. Radii are >= 0. */
typedef struct mp_activation_span {
    double value, sure, random;
} mp_activation_span;
void mp_activation_propagate(const mp_act_rule *rule, const mp_act_point *gate, double gate_sure,
                             double gate_random, double up, double up_sure, double up_random,
                             mp_activation_span *result);

/* A stored activation that an engine is to measure by itself: of each slot what measured.h says of its
 * elements, of which `passed` are plain, of a finite gate and up, and within their bound; of a filtered slot
 * none. */
typedef struct mp_act_screen {
    const mp_tensor *cache1;
    const int32_t *topk_ids; /* [slots] */
    const int64_t *row;      /* [slots] of both tensors */
    int64_t slots;
    bool interleaved;     /* gate and up of element n are columns 2n and 2n+1, else n and N+n */
    bool rounds_gate;     /* act(gate) is rounded to got's dtype */
    const mp_tensor *got; /* [rows, N] */
    mp_stored stored;
    mp_act_rule rule;
} mp_act_screen;

/* A stored activation that is predicted to the bit: in the arithmetic of a contract. */
typedef struct mp_act_bits {
    const mp_case *c;         /* its form; tensors have the sizes */
    mp_act_function function; /* of act(gate) */
    bool rounds_gate;         /* act(gate) is rounded to the dtype of the result */
    bool exact_product;       /* of act(gate) and up: both have 16 bits, so that nothing is flushed */
    bool clamps_nan;          /* in gate and up, to the limit */
    float added;              /* to what becomes of up: 0, or -0, which changes nothing */
    const mp_tensor *cache1;
    const int32_t *topk_ids; /* [slots] */
    const int64_t *row;      /* [slots] of both tensors; -1: there is none */
    int64_t slots;
} mp_act_bits;

/* The stage over the rows listed in `row` [slots] (-1 skips), for slots whose id is not -1: the rows of
 * filtered slots keep their old contents. Rounded once to cache2's dtype. */
void mp_activation_stage(const mp_case *c, const int32_t *topk_ids, const int64_t *row, int64_t slots,
                         mp_act_rounding rounding, const mp_tensor *cache1, const mp_tensor *cache2);

#endif
