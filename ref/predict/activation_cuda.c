/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/activation_cuda.h"

#include "ref/predict/cuda_math.h"
#include "ref/predict/float32_math.h"
#include "ref/predict/special_unit_tanh.h"

#include <stddef.h>

#define MINUS_LOG2_E -0x1.715476p0f
#define ROOT_1_2 0x1.6a09e6p-1f
#define ROOT_2_PI 0x1.988454p-1f
#define CUBIC 0x1.6e4e26p-5f /* 0.044715 */

/* ---- what a function is made of ---- */

typedef enum exponential { LIBRARY, EX2, EX2_FTZ } exponential; /* of exp */
typedef enum division { IEEE, FULL, APPROX_FTZ } division;      /* of div.rn, div.full, div.approx.ftz */
typedef enum form { QUOTIENT, SIGMOID, PRODUCT } form;          /* v/d, v * (1/d), (v*factor)/d */
typedef enum error_function { OF_CUDA, OF_CUDA_FTZ, OF_TRITON } error_function;
typedef enum tangent { TANHF, TANH_APPROX, BY_SIGMOID } tangent;

typedef struct composition {
    exponential exp;
    division division;
    form form;
    error_function erf;
    tangent tanh;
} composition;

static const composition compositions[MP_ACT_FUNCTION_COUNT] = {
    [MP_ACT_CUDA_MATH] = {LIBRARY, IEEE, QUOTIENT, OF_CUDA, TANHF},
    [MP_ACT_CUDA_SIGMOID] = {LIBRARY, IEEE, SIGMOID, OF_CUDA, TANHF},
    [MP_ACT_CUDA_PRODUCT] = {LIBRARY, IEEE, PRODUCT, OF_CUDA, TANHF},
    [MP_ACT_CUDA_INTRINSICS] = {EX2, IEEE, QUOTIENT, OF_CUDA, TANHF},
    [MP_ACT_CUDA_FAST_MATH] = {EX2_FTZ, APPROX_FTZ, QUOTIENT, OF_CUDA_FTZ, TANH_APPROX},
    [MP_ACT_TRITON] = {EX2, FULL, SIGMOID, OF_TRITON, BY_SIGMOID},
    [MP_ACT_TRITON_QUOTIENT] = {EX2, FULL, QUOTIENT, OF_TRITON, BY_SIGMOID},
    [MP_ACT_TORCH_COMPILE] = {LIBRARY, FULL, QUOTIENT, OF_TRITON, TANHF},
};

/* torch's sigmoid is another function than the one in its silu: torch.compile writes it as Triton's. */
static const composition *composition_of(mp_act_function function, mp_activation act) {
    if (function == MP_ACT_TORCH_COMPILE && act == MP_SWIGLU_OAI) function = MP_ACT_TRITON;
    return &compositions[function];
}

static bool is_swish(mp_activation act) {
    return act == MP_SILU || act == MP_SILU_CLAMP || act == MP_CLAMP_SILU || act == MP_SWIGLU_OAI;
}

const char *mp_activation_cuda_unknown(mp_act_function function, mp_activation act) {
    if (!mp_activation_cuda_is(function)) return "exp, tanh and erf are nobody's";
    if (function == MP_ACT_CUDA_PRODUCT && act == MP_SILU_CLAMP)
        return "act(gate) is clamped, but has no value of its own";
    return act < MP_ACTIVATION_COUNT ? NULL : "unknown activation";
}

bool mp_activation_cuda_product_first(mp_act_function function, mp_activation act) {
    return composition_of(function, act)->form == PRODUCT && is_swish(act);
}

/* ---- the functions ---- */

static float divide(const mp_special_unit *unit, division by, float a, float b) {
    switch (by) {
    case FULL: return mp_div_full(unit, a, b);
    case APPROX_FTZ: return mp_div_approx_ftz(unit, a, b);
    case IEEE: break;
    }
    return a / b;
}

/* 1 + exp(-z) */
static float denominator(const mp_special_unit *unit, exponential by, float z) {
    switch (by) {
    case EX2: return 1.0f + mp_ex2_approx(unit, z * MINUS_LOG2_E);
    case EX2_FTZ: return 1.0f + mp_ex2_approx_ftz(unit, mp_mul_ftz(z, MINUS_LOG2_E));
    case LIBRARY: break;
    }
    return 1.0f + mp_cuda_expf(unit, -z);
}

static float swish(const mp_special_unit *unit, const composition *of, float v, float z) {
    const float d = denominator(unit, of->exp, z);
    return of->form == SIGMOID ? v * divide(unit, of->division, 1.0f, d) : divide(unit, of->division, v, d);
}

static float gelu(const mp_special_unit *unit, error_function by, float v) {
    switch (by) {
    case OF_TRITON: return v * 0.5f * (1.0f + mp_triton_erff(unit, v * ROOT_1_2));
    case OF_CUDA_FTZ:
        return mp_mul_ftz(mp_mul_ftz(v, 0.5f), 1.0f + mp_cuda_erff_ftz(unit, mp_mul_ftz(v, ROOT_1_2)));
    case OF_CUDA: break;
    }
    return v * 0.5f * (1.0f + mp_cuda_erff(unit, v * ROOT_1_2));
}

/* 2 sigmoid(2x) - 1 */
static float tanh_by_sigmoid(const mp_special_unit *unit, float x) {
    const float sigmoid = mp_div_full(unit, 1.0f, denominator(unit, EX2, 2.0f * x));
    return fmaf(2.0f, sigmoid, -1.0f);
}

static float gelu_tanh(const mp_special_unit *unit, tangent by, float v) {
    if (by == TANH_APPROX) { /* of v, what is subnormal is flushed in the products alone */
        const float cubic = mp_mul_ftz(v, mp_mul_ftz(v, CUBIC)),
                    inner = mp_mul_ftz(ROOT_2_PI, fmaf(v, cubic, v));
        return mp_mul_ftz(v, 0.5f * (1.0f + mp_tanh_approx(inner)));
    }
    if (by == BY_SIGMOID) {
        const float inner = ROOT_2_PI * fmaf(v, v * (v * CUBIC), v);
        return v * 0.5f * (1.0f + tanh_by_sigmoid(unit, inner));
    }
    const float inner = ROOT_2_PI * fmaf(v * (v * v), CUBIC, v);
    return v * 0.5f * (1.0f + mp_cuda_tanhf(unit, inner));
}

/* ---- an element ---- */

float mp_activation_cuda_times(mp_act_function function, float a, float up) {
    return function == MP_ACT_CUDA_FAST_MATH ? mp_mul_ftz(a, up) : a * up;
}

float mp_activation_cuda(const mp_special_unit *unit, mp_act_function function, mp_activation act, float v,
                         float alpha) {
    if (mp_activation_cuda_unknown(function, act)) return NAN;
    const composition *of = composition_of(function, act);
    switch (act) {
    case MP_SILU:
    case MP_SILU_CLAMP:
    case MP_CLAMP_SILU: return swish(unit, of, v, v);
    case MP_SWIGLU_OAI: return swish(unit, of, v, mp_activation_cuda_times(function, v, alpha));
    case MP_GELU: return gelu(unit, of->erf, v);
    case MP_GELU_TANH: return gelu_tanh(unit, of->tanh, v);
    case MP_RELU2: v = v < 0.0f ? 0.0f : v; return mp_activation_cuda_times(function, v, v);
    case MP_ACTIVATION_COUNT: break;
    }
    return NAN;
}

float mp_activation_cuda_gated(const mp_special_unit *unit, mp_act_function function, mp_activation act,
                               float v, float alpha, float factor) {
    if (!mp_activation_cuda_product_first(function, act))
        return mp_activation_cuda_times(function, mp_activation_cuda(unit, function, act, v, alpha), factor);
    const composition *of = composition_of(function, act);
    const float z = act == MP_SWIGLU_OAI ? v * alpha : v;
    return divide(unit, of->division, v * factor, denominator(unit, of->exp, z));
}
