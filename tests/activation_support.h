/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the float64 activation share: cases, contracts, and its formulas in long double. */
#ifndef MP_TESTS_ACTIVATION_SUPPORT_H
#define MP_TESTS_ACTIVATION_SUPPORT_H

#include "ref/activation.h"
#include "ref/predict/activation_f32.h"
#include "tests/ref_support.h"

static inline mp_case activation_case(mp_activation act, bool gated) {
    mp_case c = mp_case_default();
    c.act = act;
    c.gated = gated;
    return c;
}

static const mp_contract float32_contract = {.gate_up = {.accumulator = MP_ACC_IEEE_ANY_ORDER},
                                             .act_ulps = MP_FLOAT32_MATH_ULPS};
static const mp_contract float64_contract = {
    .gate_up = {.accumulator = MP_ACC_FLOAT64}, .act_ulps = 1, .float64_steps = true};

/* Every activation, with and without a gate. */
static const struct {
    mp_activation act;
    bool gated;
    int worse; /* units in the last place beyond a faithful exp, tanh or erf that the bound must notice; 0:
                  there is no such function */
} activations[] = {
    {MP_SILU, true, 3},       {MP_SILU, false, 3},      {MP_GELU, true, 8},
    {MP_GELU, false, 8},      {MP_GELU_TANH, true, 8},  {MP_RELU2, false, 0},
    {MP_SWIGLU_OAI, true, 8}, {MP_SILU_CLAMP, true, 3}, {MP_CLAMP_SILU, true, 3},
};

static const float ups[] = {1, -0.75f, 3.140625f, 7.5f, -9, 0, 0x1p-100f, 0x1.8p100f};

static inline float bf16_gate(uint32_t code) {
    return (float)mp_decode_code(MP_BF16, code);
}

/* Forms without cancellation: sigmoid(v) = e^v/(1+e^v) for v < 0, 1+erf(z) = erfc(-z), (1+tanh(z))/2 =
 * sigmoid(2z). */
static inline long double sigmoid_l(long double v) {
    const long double e = expl(-fabsl(v));
    return (v < 0 ? e : 1) / (1 + e);
}

static inline long double truth(const mp_case *c, double gate, double up) {
    const long double L = (long double)(float)c->limit, alpha = (long double)(float)c->alpha, g = gate,
                      pi = acosl(-1);
    const long double low = fminl(g, L), u = c->gated ? up : 1, inside = fmaxl(-L, fminl(u, L));
    switch (c->act) {
    case MP_SILU: return g * sigmoid_l(g) * u;
    case MP_GELU: return g * erfcl(-g / sqrtl(2)) / 2 * u;
    case MP_GELU_TANH: return g * sigmoid_l(2 * sqrtl(2 / pi) * (g + 0.044715L * g * g * g)) * u;
    case MP_RELU2: return g > 0 ? g * g * u : 0;
    case MP_SWIGLU_OAI: return low * sigmoid_l(alpha * low) * (inside + 1);
    case MP_SILU_CLAMP: return fminl(g * sigmoid_l(g), L) * inside;
    case MP_CLAMP_SILU: return low * sigmoid_l(low) * inside;
    case MP_ACTIVATION_COUNT: break;
    }
    return NAN;
}

#endif
