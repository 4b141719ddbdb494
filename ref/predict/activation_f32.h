/* SPDX-License-Identifier: Apache-2.0 */
/* Stage 3 in float32: one element of cache2 before its rounding to dtype. The same source, and so the same
 * bits, on CPU and GPU.
 *
 * g, u: gate and up of the element, exact in float32; L = limit; every operation below is one float32
 * operation, in the order of the parentheses; 1+exp etc. never contract. ref/activation.h has the same
 * formulas in float64.
 *   swish(v,b) = v / (1 + exp(-(b*v)))
 *   silu(v)    = swish(v,1): 1*v is exact
 *   gelu(v)    = (v*0.5) * (1 + erf(v*sqrt(1/2)))
 *   gelu_tanh(v) = (v*0.5) * (1 + tanh(sqrt(2/pi) * (v + 0.044715*((v*v)*v))))
 *   relu2(v)   = max(v,0) * max(v,0)
 *   silu, gelu, gelu_tanh, relu2     act(g), times u when gated
 *   swiglu_oai                       swish(min(g,L), alpha) * (clamp(u,-L,L) + 1)
 *   silu_clamp                       min(silu(g),L) * clamp(u,-L,L)
 *   clamp_silu                       silu(min(g,L)) * clamp(u,-L,L)
 * min, max and clamp let NaN through (fminf would return the other operand and hide it). Inf follows the
 * formulas: swish(-Inf) is -Inf/Inf = NaN. Where exp overflows, below v = -88.7, silu gives -0 instead of a
 * value under 2^-121 in magnitude. Source: the public fused-MoE kernels and the GPT-OSS model definition.
 */
#ifndef MP_REF_ACTIVATION_F32_H
#define MP_REF_ACTIVATION_F32_H

#ifndef __CUDACC_RTC__ /* on the device float32_math.h stands in front of this text */
#include "moeparity/case.h"
#include "ref/predict/float32_math.h"
#endif

/* Numbers of mp_activation, which device code does not see. */
#define MP_ACT_SILU 0
#define MP_ACT_GELU 1
#define MP_ACT_GELU_TANH 2
#define MP_ACT_RELU2 3
#define MP_ACT_SWIGLU_OAI 4
#define MP_ACT_SILU_CLAMP 5
#define MP_ACT_CLAMP_SILU 6

#ifndef __CUDACC_RTC__
_Static_assert(MP_ACT_SILU == MP_SILU && MP_ACT_GELU == MP_GELU && MP_ACT_GELU_TANH == MP_GELU_TANH &&
                   MP_ACT_RELU2 == MP_RELU2 && MP_ACT_SWIGLU_OAI == MP_SWIGLU_OAI &&
                   MP_ACT_SILU_CLAMP == MP_SILU_CLAMP && MP_ACT_CLAMP_SILU == MP_CLAMP_SILU &&
                   MP_ACTIVATION_COUNT == 7,
               "device and host number the activations alike");
#endif

MP_HD float mp_at_most(float v, float limit) {
    return v > limit ? limit : v;
}

MP_HD float mp_clamp(float v, float limit) {
    return mp_at_most(v < -limit ? -limit : v, limit);
}

MP_HD float mp_swish(float v, float beta) {
    return v / (1.0f + mp_expf(-(beta * v)));
}

MP_HD float mp_gelu(float v) {
    return v * 0.5f * (1.0f + mp_erff(v * 0x1.6a09e6p-1f));
}

MP_HD float mp_gelu_tanh(float v) {
    float cube = v * v * v;
    return v * 0.5f * (1.0f + mp_tanhf(0x1.988454p-1f * (v + 0.044715f * cube)));
}

/* act(gate). act: an MP_ACT_ number, in device code a constant. */
MP_HD float mp_gate_f32(int act, float gate, float alpha, float limit) {
    float a = gate;
    switch (act) {
    case MP_ACT_SILU: a = mp_swish(gate, 1.0f); break;
    case MP_ACT_GELU: a = mp_gelu(gate); break;
    case MP_ACT_GELU_TANH: a = mp_gelu_tanh(gate); break;
    case MP_ACT_RELU2:
        a = gate < 0.0f ? 0.0f : gate;
        a = a * a;
        break;
    case MP_ACT_SWIGLU_OAI: a = mp_swish(mp_at_most(gate, limit), alpha); break;
    case MP_ACT_SILU_CLAMP: a = mp_at_most(mp_swish(gate, 1.0f), limit); break;
    case MP_ACT_CLAMP_SILU: a = mp_swish(mp_at_most(gate, limit), 1.0f); break;
    }
    return a;
}

/* The factor of act(gate). */
MP_HD float mp_up_f32(int act, float up, float limit) {
    switch (act) {
    case MP_ACT_SWIGLU_OAI: return mp_clamp(up, limit) + 1.0f;
    case MP_ACT_SILU_CLAMP:
    case MP_ACT_CLAMP_SILU: return mp_clamp(up, limit);
    }
    return up;
}

/* up is not read when gated is 0. */
MP_HD float mp_activate_f32(int act, int gated, float gate, float up, float alpha, float limit) {
    const float a = mp_gate_f32(act, gate, alpha, limit);
    return gated ? a * mp_up_f32(act, up, limit) : a;
}

#endif
