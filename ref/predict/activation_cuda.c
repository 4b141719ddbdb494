/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/activation_cuda.h"

#include "ref/predict/cuda_math.h"
#include "ref/predict/float32_math.h"

#include <stddef.h>

#define MINUS_LOG2_E -0x1.715476p0f
#define ROOT_1_2 0x1.6a09e6p-1f
#define ROOT_2_PI 0x1.988454p-1f
#define CUBIC 0x1.6e4e26p-5f /* 0.044715 */

static bool is_triton(mp_act_function function) {
    return function == MP_ACT_TRITON || function == MP_ACT_TRITON_QUOTIENT;
}

const char *mp_activation_cuda_unknown(mp_act_function function, mp_activation act) {
    const bool fast = function == MP_ACT_CUDA_FAST_MATH, triton = is_triton(function);
    switch (act) {
    case MP_SILU:
    case MP_SILU_CLAMP:
    case MP_CLAMP_SILU:
    case MP_GELU:
    case MP_RELU2: return NULL;
    case MP_GELU_TANH:
        return fast ? "tanh.approx is not predicted" : triton ? "Triton's tanh is not predicted" : NULL;
    case MP_SWIGLU_OAI: return "published kernels of swiglu_oai differ in the order of their operations";
    case MP_ACTIVATION_COUNT: break;
    }
    return "unknown activation";
}

static float silu(const mp_special_unit *unit, mp_act_function function, float v) {
    switch (function) {
    case MP_ACT_CUDA_MATH: return v / (1.0f + mp_cuda_expf(unit, -v));
    case MP_ACT_CUDA_INTRINSICS: return v / (1.0f + mp_ex2_approx(unit, v * MINUS_LOG2_E));
    case MP_ACT_CUDA_FAST_MATH:
        return mp_div_approx_ftz(unit, v, 1.0f + mp_ex2_approx_ftz(unit, mp_mul_ftz(v, MINUS_LOG2_E)));
    case MP_ACT_TRITON: return v * mp_div_full(unit, 1.0f, 1.0f + mp_ex2_approx(unit, v * MINUS_LOG2_E));
    case MP_ACT_TRITON_QUOTIENT: return mp_div_full(unit, v, 1.0f + mp_ex2_approx(unit, v * MINUS_LOG2_E));
    case MP_ACT_IEEE:
    case MP_ACT_SPECIAL_UNIT:
    case MP_ACT_LIBRARY:
    case MP_ACT_FUNCTION_COUNT: break;
    }
    return NAN;
}

static float gelu(const mp_special_unit *unit, mp_act_function function, float v) {
    if (is_triton(function)) return v * 0.5f * (1.0f + mp_triton_erff(unit, v * ROOT_1_2));
    if (function != MP_ACT_CUDA_FAST_MATH) return v * 0.5f * (1.0f + mp_cuda_erff(unit, v * ROOT_1_2));
    const float erf = mp_cuda_erff_ftz(unit, mp_mul_ftz(v, ROOT_1_2));
    return mp_mul_ftz(mp_mul_ftz(v, 0.5f), 1.0f + erf);
}

static float gelu_tanh(const mp_special_unit *unit, float v) {
    const float inner = ROOT_2_PI * fmaf(v * (v * v), CUBIC, v);
    return v * 0.5f * (1.0f + mp_cuda_tanhf(unit, inner));
}

float mp_activation_cuda_times(mp_act_function function, float a, float up) {
    return function == MP_ACT_CUDA_FAST_MATH ? mp_mul_ftz(a, up) : a * up;
}

float mp_activation_cuda(const mp_special_unit *unit, mp_act_function function, mp_activation act, float v) {
    if (mp_activation_cuda_unknown(function, act)) return NAN;
    switch (act) {
    case MP_SILU:
    case MP_SILU_CLAMP:
    case MP_CLAMP_SILU: return silu(unit, function, v);
    case MP_GELU: return gelu(unit, function, v);
    case MP_GELU_TANH: return gelu_tanh(unit, v);
    case MP_RELU2: v = v < 0.0f ? 0.0f : v; return mp_activation_cuda_times(function, v, v);
    case MP_SWIGLU_OAI:
    case MP_ACTIVATION_COUNT: break;
    }
    return NAN;
}
